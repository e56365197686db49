/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence.pml - one instance, one session: never two, and never destroyed under one.
 *
 * MODELLED. Three sessions, two instances, one that trims and reconciles. Which instance a session asks for is
 * anybody's guess, for the store may lie: any that it was not refused yet. A claim (pool.c: ask(), settle_pending();
 * assign.c: ask_provider()): the fence, with a token of the session; then the instance is looked at; then the answer;
 * then the mark "assigned" with the session's name. An answer that is lost, or a call that never arrived, is
 * "unknown": the same instance again. A worker and its manager may die (claim.c: find_ask(), assign.c:
 * persona_session_find(): the next one begins with what the fences say). A session that ends retires its own
 * instance (state.c: persona_entry_retire(), owner is the session). Trim, refresh, drain and dead verdicts are one
 * process (plan.c: retire_some(); retire.c: step_fence() to step_unfence()); after a death it goes on from what the
 * provider says (reconcile.c: meet(), job_refence(), job_stray_fence()). libvirtd restarts: a call under way loses
 * its answer, or never arrives, and that is all, for secrets are on disk (libvirt_secret.c) and stay.
 *
 * LEFT OUT. The line and its tickets, the lease (lease.pml), homes. That a session whose claim died does not come back
 * within PERSONA_ATTACH_TIMEOUT and its instance is retired: such an instance stays here. Faults are counted:
 * LOST is that of lost answers, lost calls, restarts and deaths; instances live once, for
 * their uuids are never used again.
 *
 * BROKEN. NO_FENCE: assign looks at the state only. EPHEMERAL: fences are lost at libvirtd's restart. TRIM_UNFENCED:
 * the trimmer goes by what it read. NEXT_AFTER_UNKNOWN: the next ticket after an unknown answer.
 */
#define SESSIONS  3
#define INSTANCES 2
#define NOBODY    0                /* sessions are 1 to SESSIONS */
#define TRIMMER   (SESSIONS + 1)   /* retire:<manager> */
#define NONE      INSTANCES        /* no instance */
#ifndef LOST
#define LOST 1
#endif

mtype = { READY, ASSIGNED, RETIRING, GONE };
mtype state[INSTANCES] = READY;    /* the metadata */
byte meta[INSTANCES];              /* whose it is, in the metadata */
byte fence[INSTANCES];             /* whose it is: the secret */
byte user[INSTANCES];              /* ghost: who was told that it is theirs and has not left */
byte lost = LOST;
byte begun;                        /* sessions are alike: they begin in their order, which loses no behaviour */

/* Defining the secret is one call, and libvirtd does one at a time. */
#define try_fence(i, who) fence[i] = (fence[i] == NOBODY -> who : fence[i])
/* mark_domain(): a state never goes back. Its reading and writing are apart in lease.pml. */
#define mark_assigned(i, who) \
    state[i] = (state[i] == READY -> ASSIGNED : state[i]); \
    meta[i] = (state[i] == ASSIGNED -> who : meta[i])

inline got(me, i)
{
    /* the answer is yes: a session has one instance, an instance one session, and it is there */
    assert(user[i] == NOBODY || user[i] == me);
    assert(state[i] != GONE);
    assert(!(fence[1 - i] == me && (state[1 - i] == READY || state[1 - i] == ASSIGNED)));
    user[i] = me
}

active [SESSIONS] proctype session()
{
    byte me = _pid + 1;
    byte i = NONE;             /* the instance that is asked for */
    bool refused[INSTANCES];

    atomic { begun == me - 1 -> begun++ };
next:
    /* A claim begins with what the fences say. Choosing is nobody else's business, so it is one step with the call. */
    atomic {
        if
        :: fence[0] == me && !refused[0] -> i = 0
        :: fence[1] == me && !refused[1] -> i = 1
        :: else ->
any:
           if
           :: !refused[0] -> i = 0
           :: !refused[1] -> i = 1
           :: refused[0] && refused[1] -> goto stay
           fi
        fi;
again:
#ifdef NO_FENCE
        skip
#else
        if
        :: try_fence(i, me);
           if
           :: fence[i] != me -> refused[i] = true; goto next
           :: fence[i] == me
           fi
        :: lost > 0 -> lost--; try_fence(i, me); goto unknown /* done, and not answered */
        :: lost > 0 -> lost--; goto unknown                   /* not done */
        fi
#endif
    };
    /* looked at after the fence is held; the yes is sent for what was read, a moment later */
    atomic {
        if
#ifdef NO_FENCE
        :: state[i] != READY -> refused[i] = true; goto next
        :: state[i] == READY
#else
        :: state[i] == RETIRING || state[i] == GONE -> refused[i] = true; goto next
        :: state[i] == READY || state[i] == ASSIGNED
        :: lost > 0 -> lost--; goto unknown
#endif
        fi
    };
    atomic { got(me, i) };
    atomic {
        if
        :: mark_assigned(i, me)
        :: lost > 0 -> lost-- /* the manager dies before it writes the metadata, or it is not answered */
        fi
    };
    /* the session may end: its user is out, and its own fence retires the instance */
    atomic {
        if
        :: skip
        :: user[i] = NOBODY; state[i] = (state[i] == GONE -> GONE : RETIRING)
        fi;
        goto stay
    };

unknown:
    atomic {
        if
#ifdef NEXT_AFTER_UNKNOWN
        :: refused[i] = true; goto any
#else
        :: goto again
        :: goto next /* the worker died: its successor knows nothing but the session */
#endif
        fi
    };
stay:
    atomic { i = 0; refused[0] = false; refused[1] = false }
}

inline destroy(i)
{
    assert(user[i] == NOBODY);
    meta[i] = NOBODY;
    state[i] = GONE
}

/* One round for one instance: the readings, and what follows from them. */
active proctype reconciler()
{
    byte i, seen; /* seen: the fence as it was read, before the state */

    do
    :: atomic { fence[0] == NOBODY && fence[1] == NOBODY && state[0] == GONE && state[1] == GONE -> break }
    :: atomic { i = 0; seen = fence[i] };
       goto round
    :: atomic { i = 1; seen = fence[i] };
round:
       if
       :: state[i] == GONE ->
          /* inspected once more: gone is for ever. The fence goes last, and only the pair that was read. */
          atomic { fence[i] = (fence[i] == seen -> NOBODY : fence[i]) }
       :: state[i] == RETIRING -> atomic { destroy(i) }
       :: state[i] == ASSIGNED && seen == NOBODY ->
          atomic { try_fence(i, meta[i]) }
       :: state[i] == ASSIGNED && seen != NOBODY
       :: state[i] == READY ->
          if
          :: seen == NOBODY || seen == TRIMMER ->
#ifdef TRIM_UNFENCED
             skip;
#elif defined(NO_FENCE)
             skip;
#else
             if
             :: atomic { try_fence(i, TRIMMER) };
                if
                :: fence[i] != TRIMMER -> goto done /* hands off */
                :: fence[i] == TRIMMER
                fi
             :: atomic { lost > 0 -> lost--; try_fence(i, TRIMMER) } -> goto done
             fi;
#endif
             if
             :: state[i] = RETIRING
             :: atomic { lost > 0 -> lost-- } /* dies: the next reading shows its own fence */
             fi
          :: seen != NOBODY && seen != TRIMMER /* somebody's, whose mark is to come */
          fi
       fi;
done:
       atomic { seen = 0; i = 0 }
    od;
    atomic { seen = 0; i = 0 }
}

#ifdef EPHEMERAL
active proctype libvirtd()
{
    atomic { fence[0] = NOBODY; fence[1] = NOBODY }
}
#endif

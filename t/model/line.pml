/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line.pml - the waiting line: an instance goes to one session, and nobody waits for ever while an instance is ready.
 *
 * MODELLED. People who poll, two instances, two managers that plan at once, for the planner's lease only saves work.
 * A poll (pool.c: go_through_line()): what the fences say (assign.c: persona_session_find()), a ticket by incr of head
 * (ticket_take()), its slot and tail (slot_read()); an instance: the fence (ask()); a dead slot: the next ticket;
 * empty: stand in line, or, where tail has passed it, `left` by add (slot_leave()). A planner (manager/plan.c:
 * to_publish(), publish(); pool/plan.c: persona_pool_publish()): for an instance that it knows to be ready and
 * unfenced, and that has no slot in this generation or one behind head, incr of tail, then add of the slot, the next
 * slot where that fails. Each manager goes by where it published an instance itself (e->generation, e->slot). `skipped`
 * for a ticket that nobody holds (slot_skip()). A manager that was told "unknown" about an instance does not publish
 * it (e->unsure), until a reading finds no fence and its session has stopped asking (reconcile.c: meet_unfenced()).
 *
 * FAULTS, together FAULTS of them, at any step: the generation is lost (flush, a lost counter; pool/plan.c:
 * persona_pool_queue()); a slot is lost; a planner dies between incr and add, and its successor knows nothing; a worker
 * dies with a new ticket; the fence's answer is lost, with the fence taken or not, and its worker lives or not;
 * somebody slow is taken for dead: a waiter is skipped though it polls, or `left` is added before a planner that is
 * about to write that slot. Without such a fault 2 s without a slot and 6 s without a heartbeat are those of somebody
 * who is gone. Beside that one person may go away, with or without saying so, and one manager may stop planning.
 *
 * LEFT OUT. Values that are forged or replayed: such a slot is dead, and whose an instance is only the fence decides
 * (fence.pml). Claims through the manager when the index does not answer: here such a poll gets nothing. That a poll
 * asks at most 3 times: its successor begins with the same ticket. That a worker dies with a later ticket than the one
 * in the store: its successor finds the old slot as dead as it was. That slot and tail are read, and `left` added, one
 * after the other: where something came between, add fails. That an instance is still in slots when it has been taken:
 * it is refused there, as if the slot were dead. What is done in a generation that is over: nobody reads it. A poll
 * that finds nothing new changes nothing, so it is a step only when nobody else has one (`timeout`): no fairness has
 * to be assumed, for whoever waits for ever does so in the end beside others that all stand still. Slots are counted
 * from the first that may still be read, so that states which differ in what is past are one.
 *
 * BROKEN. NO_FENCE: assign goes by what is in the slot. NEXT_AFTER_UNKNOWN: the next ticket after an unknown answer.
 * NO_TOMBSTONE: who sees tail pass waits on, so a hole is for ever. NO_REPUBLISH: an instance whose ticket died stays
 * where it is. UNSURE_FOR_EVER: an instance whose answer was lost is not published again. TICKET_KEPT: a ticket of a
 * lost generation is used in the next.
 */
#define PEOPLE    2
#ifndef FAULTS
#define FAULTS    1
#endif
#define INSTANCES 2
#define SLOTS     12
#define NOBODY    0    /* people are 1 to PEOPLE */
#define NONE      255  /* no slot, no ticket */
#define BEHIND    254  /* a slot behind head */

/* What a slot holds: nothing, an instance by its number and 1, or a tombstone. */
#define EMPTY 0
#define DEAD  (INSTANCES + 1)

bool line;                   /* there is a generation */
byte head, tail;
byte slot[SLOTS];
byte ticket[PEOPLE] = NONE;  /* of the generation in force */
byte fence[INSTANCES];
byte writing[2] = NONE;      /* the slot that a planner has drawn and not written yet */
byte at[4] = NONE;           /* where each manager published an instance: 2 * manager + instance */
bool unsure[4];              /* what each manager was told "unknown" about */
byte faults = FAULTS;

#define ready(i)   (fence[i] == NOBODY)
#define anyone     (ready(0) || ready(1))
#define held(n)    (ticket[0] == n || ticket[1] == n)
#define written(n) (writing[0] == n || writing[1] == n)
#define down(x)    x = (x < BEHIND -> x - 1 : x)
#define behind(x)  x = (x < head -> BEHIND : x)

/* Forget what nobody will read again. */
inline tidy()
{
    d_step {
        behind(at[0]); behind(at[1]); behind(at[2]); behind(at[3]);
        do
        :: head > 0 && tail > 0 && !held(0) && !written(0) ->
           head--; tail--;
           z = 0;
           do
           :: z < SLOTS - 1 -> slot[z] = slot[z + 1]; z++
           :: else -> break
           od;
           slot[SLOTS - 1] = EMPTY;
           down(at[0]); down(at[1]); down(at[2]); down(at[3]);
           down(ticket[0]); down(ticket[1]);
           down(writing[0]); down(writing[1])
        :: else -> break
        od;
        z = 1;
        do /* further on too, what is in it makes no difference */
        :: z < head && z < tail -> slot[z] = (held(z) || written(z) -> slot[z] : DEAD); z++
        :: else -> break
        od;
        z = 0
    }
}

inline take(i, who)
{
    assert(fence[1 - i] != who);
    fence[i] = who;
    at[i] = NONE; at[2 + i] = NONE; unsure[i] = false; unsure[2 + i] = false;
    z = 0;
    do
    :: z < tail -> slot[z] = (slot[z] == i + 1 -> DEAD : slot[z]); z++
    :: else -> break
    od;
    z = 0
}

#define me        (_pid + 1)
#define mine      ticket[_pid]
#define here      slot[ticket[_pid]]
#define got       (fence[0] == me || fence[1] == me)
#define waits     (!got && anyone)
#ifdef NO_TOMBSTONE
#define LEAVE     false
#else
#define LEAVE     (!written(mine) || faults > 0)
#endif

/* The ticket is used: another at the next poll. */
inline next()
{
    mine = NONE; i = 0; tidy();
    goto acceptpoll
}

active [PEOPLE] proctype person()
{
    byte i, z;

acceptpoll: /* time and again, while an instance is ready: one who waits for ever */
    atomic {
        if
        :: got || !anyone -> goto stay
        :: waits && me == 1 -> goto stay /* goes away */
        :: waits && me == 1 && mine != NONE && here == EMPTY -> here = DEAD; goto stay /* and says so */
        :: waits && line && mine == NONE -> mine = head; head++; assert(head < SLOTS); tidy(); goto acceptpoll
        :: waits && line && mine == NONE && faults > 0 -> faults--; head++; tidy(); goto acceptpoll
        :: waits && mine != NONE && here != EMPTY ->
           if
           :: here == DEAD -> next()
           :: here != DEAD -> i = here - 1
           fi
        :: waits && mine != NONE && here == EMPTY && mine < tail && LEAVE ->
           if
           :: !written(mine) -> here = DEAD; next()
           :: written(mine) && faults > 0 -> faults--; here = DEAD; next()
           fi
        :: waits && timeout -> goto acceptpoll /* polls change nothing, and nobody else does */
        fi
    };
ask:
    atomic {
        if
#ifdef NO_FENCE
        :: assert(ready(i)); take(i, me); goto stay
#else
        :: ready(i) -> take(i, me); goto stay
        :: fence[i] == me -> goto stay
        :: !ready(i) && fence[i] != me -> next()
        :: faults > 0 -> /* no answer, of one manager or the other */
           faults--;
           if
           :: ready(i) -> unsure[i] = true
           :: ready(i) -> unsure[2 + i] = true
           :: ready(i) -> take(i, me)
           :: !ready(i)
           fi
#endif
        fi
    };
    atomic {
        if
#ifdef NEXT_AFTER_UNKNOWN
        :: mine = head; head++;
           if
           :: here == EMPTY || here == DEAD -> next()
           :: here != EMPTY && here != DEAD -> i = here - 1; goto ask
           fi
#else
        :: goto ask
        :: next() /* its worker died: who comes next begins with the fences */
#endif
        fi
    };
stay:
    atomic { mine = NONE; i = 0; tidy() }
}

#define m        (_pid - PEOPLE)
#define open(n)  (line && n < head && slot[n] == EMPTY)
#ifdef NO_REPUBLISH
#define wants(i) (line && ready(i) && !unsure[2 * m + i] && at[2 * m + i] == NONE)
#else
#define wants(i) (line && ready(i) && !unsure[2 * m + i] && at[2 * m + i] >= BEHIND)
#endif

inline draw()
{
    writing[m] = tail; tail++;
    assert(tail < SLOTS);
    tidy()
}

active [2] proctype planner()
{
    byte i, z;

endturn: /* nothing to do */
    if
    :: atomic { !line && anyone -> line = true; goto endturn }
    :: atomic { wants(0) -> i = 0; draw() }
    :: atomic { wants(1) -> i = 1; draw() }
#ifndef UNSURE_FOR_EVER
    :: atomic { unsure[2 * m] -> unsure[2 * m] = false; goto endturn }
    :: atomic { unsure[2 * m + 1] -> unsure[2 * m + 1] = false; goto endturn }
#endif
    :: atomic { open(tail) && !held(tail) -> slot[tail] = DEAD; goto endturn }
    :: atomic { open((tail + 1)) && !held((tail + 1)) -> slot[tail + 1] = DEAD; goto endturn }
    :: atomic { writing[1 - m] != NONE && open(writing[1 - m]) && !held(writing[1 - m]) -> slot[writing[1 - m]] = DEAD;
                goto endturn }
    :: atomic { open(tail) && held(tail) && faults > 0 -> faults--; slot[tail] = DEAD; goto endturn }
    :: m == 1 -> goto over /* from now on the other plans alone */
    :: !anyone -> goto over
    fi;
write:
    atomic {
        if
        :: writing[m] == NONE /* written where nobody reads it */
        :: writing[m] != NONE && slot[writing[m]] == EMPTY ->
           slot[writing[m]] = (ready(i) -> i + 1 : DEAD);
           at[2 * m + i] = (ready(i) -> writing[m] : NONE)
        :: writing[m] != NONE && slot[writing[m]] == EMPTY && faults > 0 -> /* written, and lost before it is read */
           faults--;
           at[2 * m + i] = (ready(i) -> writing[m] : NONE)
        :: writing[m] != NONE && slot[writing[m]] != EMPTY -> draw(); goto write
        :: writing[m] != NONE && faults > 0 -> /* dies; who comes next knows nothing */
           faults--;
           at[2 * m] = NONE; at[2 * m + 1] = NONE; unsure[2 * m] = false; unsure[2 * m + 1] = false
        fi;
        writing[m] = NONE; i = 0; tidy(); goto endturn
    };
over:
    skip
}

/* What the store forgets. */
active proctype store()
{
    byte z;

    do
    :: d_step {
           line && faults > 0 ->
           faults--;
           line = false; head = 0; tail = 0;
           do
           :: z < SLOTS -> slot[z] = EMPTY; z++
           :: else -> break
           od;
           z = 0;
           at[0] = NONE; at[1] = NONE; at[2] = NONE; at[3] = NONE;
           writing[0] = NONE; writing[1] = NONE;
#ifndef TICKET_KEPT
           ticket[0] = NONE; ticket[1] = NONE;
#endif
       }
    :: faults == 0 || !anyone -> break
    od
}

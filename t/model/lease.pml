/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.pml - the record of a session is a lease: nobody is connected to an address that is another's by now.
 *
 * MODELLED. One instance of session A, its address, and session B, whose instance gets that address as soon as it is
 * free. Two managers renew A's record (sessions.c: renew(); the record that assign.c: settle() gives out is the same
 * thing): stamp the time, look at the provider, and later, as often as they like, write a record that expires L after
 * the stamp (state.c: read_at, pool.h: expires). One retires A's instance (retire.c: step_mark(), step_forget(),
 * PERSONA_RETIRE_LEASE, step_destroy()); it may die after any step, and a reader goes on from what the provider says
 * (reconcile.c: adopt_retiring()). Another reads "retiring", waits with a clock of its own and destroys too: each
 * destroys only what still carries the mark that it waited for. A mark "assigned" that was under way lands over
 * "retiring" (libvirt_read.c: mark_domain() reads, then writes), at most LATE after it read: the retirer must see it
 * and begin the lease anew. The store may lie, replay and forget: a worker that holds A's cookie can have every
 * record that was ever written, so only the one that expires last is kept here (gateway/claim.c: record_take());
 * child caches are part of that. Clocks differ by up to SKEW: a worker's is as late as it may be, so a record lives L
 * + SKEW of the retirer's time.
 *
 * LEFT OUT. The fence (fence.pml). That a worker connects a moment after it has compared the clock. Time is counted
 * in ticks that come at any moment; all clocks run at one speed.
 *
 * BROKEN. FROM_WRITE: the lease is counted from the write. NO_WAIT: the retirer does not wait the lease out.
 * NO_EXPIRY: workers do not look at the expiry. NO_SECOND_LOOK: the retirer destroys without inspecting again.
 * ANY_MARK: a retirer destroys whatever says "retiring", whoever marked it when.
 */
#define L    3
#define SKEW 1
#define LATE 2
#define DIES 2 /* so many times the retiring manager dies */

mtype = { ASSIGNED, RETIRING, GONE };
mtype state = ASSIGNED; /* what the provider says of A's instance */
bool reused;            /* its address is that of B's instance */
bool over;              /* nothing can happen any more */

byte record = L + SKEW; /* ticks for which some worker takes the best record that was ever written */
byte stamp[2];          /* ticks for which a record made from a manager's last reading is good */
byte mark;              /* which mark "retiring" it carries, with its state; 0: none */
byte marks;             /* marks made so far */
byte wait[2];           /* ticks the retirers still wait */
byte window;            /* ticks until a mark that is under way must have landed; 0: none is */
byte stopped;           /* renewers and retirers that have nothing more to do */

#define lower(x) x = (x > 0 -> x - 1 : 0)

/* One tick is one moment for all: it is time, not a step of anybody. */
active proctype clock()
{
    do
    :: d_step {
           !over && window != 1 ->
           lower(record); lower(stamp[0]); lower(stamp[1]); lower(wait[0]); lower(wait[1]);
           window = (window > 0 -> window - 1 : 0)
       }
    :: over -> break
    od
}

active [2] proctype renewer()
{
    byte me = _pid - 1, fresh;

    do
    :: /* the time is taken before the call is made */
       stamp[me] = L + SKEW;
       if
       :: state == ASSIGNED -> skip
       :: state != ASSIGNED -> break /* it retires, as this manager knows from now on */
       fi
    :: /* one write, of what was read before: how long ago does not matter */
       d_step {
#ifdef FROM_WRITE
           fresh = L + SKEW;
#else
           fresh = stamp[me];
#endif
           record = (fresh > record -> fresh : record);
           fresh = 0
       }
    od;
    stamp[me] = 0;
    stopped++
}

/* mark_domain(): it read "assigned"; what it writes lands later. */
active proctype marker()
{
    byte had;

    if
    :: d_step { state == ASSIGNED -> window = LATE + 1; had = mark };
       d_step { window > 0 -> window = 0; mark = had; state = (state == GONE -> GONE : ASSIGNED) }
    :: state != ASSIGNED -> skip /* a state never goes back: refused */
    fi
}

/* step_mark(): each mark is a new one, its time tells it from others. */
#define MARK d_step { state != GONE -> marks++; mark = marks; mine = marks; state = RETIRING }

active proctype retirer()
{
    byte deaths, mine;

again:
    if
    :: MARK
    :: state == GONE -> goto gone
    fi;
lease:
    /* the lease begins after the mark has succeeded, or after it was read that somebody made it */
    wait[0] = L + SKEW;
    do
    :: deaths < DIES -> /* another begins with what the provider says */
       deaths++;
       wait[0] = 0;
       if
       :: d_step { state == RETIRING -> mine = mark }; goto lease
       :: state == ASSIGNED -> goto again
       :: state == GONE -> goto gone
       fi
#ifdef NO_WAIT
    :: break
#else
    :: wait[0] == 0 -> break
#endif
    od;
#ifndef NO_SECOND_LOOK
    if
    :: state == ASSIGNED -> goto again
    :: d_step { state == RETIRING && mark != mine -> mine = mark };
#ifndef ANY_MARK
       goto lease /* marked again, so it was something else in between */
#endif
    :: state == RETIRING && mark == mine -> skip
    :: state == GONE -> goto gone
    fi;
#endif
    /* the instance ends, then its address is free; B's instance may have it at once */
    state = GONE;
    reused = true;
gone:
    /* the end, for the model: nobody renews or retires, no record is left */
    (stopped == 3 && record == 0 && window == 0) -> over = true
}

/* Another manager, which read that somebody marked it. */
active proctype second()
{
    byte mine;

    if
    :: d_step { state == RETIRING -> mine = mark }; goto lease
    :: state == GONE -> goto gone
    fi;
again:
    if
    :: MARK
    :: state == GONE -> goto gone
    fi;
lease:
    wait[1] = L + SKEW;
    wait[1] == 0;
#ifndef NO_SECOND_LOOK
    if
    :: state == ASSIGNED -> goto again
    :: d_step { state == RETIRING && mark != mine -> mine = mark };
#ifndef ANY_MARK
       goto lease /* marked again, so it was something else in between */
#endif
    :: state == RETIRING && mark == mine -> skip
    :: state == GONE -> goto gone
    fi;
#endif
    /* the instance ends, then its address is free; B's instance may have it at once */
    state = GONE;
    reused = true;
gone:
    stopped++
}

/* Looking at the clock and connecting are one step: see LEFT OUT. */
active proctype worker()
{
    do
#ifdef NO_EXPIRY
    :: d_step { !over -> assert(!reused) }
#else
    :: d_step { record > 0 -> assert(!reused) }
#endif
    :: over -> break
    od
}

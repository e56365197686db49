/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file fault.h
 * @brief Fault points, for tests only: the places at which a process can be made to die, to hang, or to fail.
 *
 * Only a build configured with --enable-fault-points has any of this; in any other the macros are their arguments, and
 * t/check_faults proves that nothing is left.
 *
 * Whoever runs such a build arms a point from outside: a file with the point's name in the folder $PERSONA_FAULTS,
 * which holds one of these words. The first process that comes by takes it, so it strikes once, and leaves
 * NAME.fired.PID.
 *
 *   kill          the process is killed, as by kill -9
 *   hang SECONDS  nothing happens for so long, at most 30; then it goes on
 *   fail          a call is not made, and fails
 *   lose          a call is made, and its answer is lost: APR_TIMEUP
 *   after         a call is made, and the process is killed then
 *
 * A STEP lies between two calls, so only `kill` and `hang` mean something there.
 */
#ifndef PERSONA_FAULT_H
#define PERSONA_FAULT_H

/** Every point: its kind, its name, and where it lies. */
#define PERSONA_FAULT_POINTS(STEP, CALL)                                                                               \
    /* a worker claims */                                                                                              \
    CALL(claim_load, "the worker reads generation and place of a waiter")                                              \
    CALL(claim_ticket, "the worker draws a ticket")                                                                    \
    STEP(claim_ticket_drawn, "the worker has a ticket, and has not read its slot")                                     \
    CALL(claim_slot, "the worker reads the slot of its ticket")                                                        \
    CALL(claim_beat, "the worker says that somebody waits with this ticket")                                           \
    CALL(claim_wait, "the worker keeps the place of somebody who waits")                                               \
    CALL(claim_ask, "the worker asks the manager for the fence of an instance")                                        \
    STEP(claim_fenced, "the worker has an instance, and the session has no record yet")                                \
    CALL(claim_record, "the worker adds the record of a session")                                                      \
    STEP(claim_recorded, "the session has its record, and the user has no entry yet")                                  \
    CALL(claim_user, "the worker adds the entry of user and application")                                              \
    STEP(claim_done, "the worker has the session, and nobody was told")                                                \
    CALL(claim_find, "the worker asks the manager for a session")                                                      \
    CALL(claim_demand, "the worker tells the manager that somebody waits")                                             \
    /* the manager assigns */                                                                                          \
    CALL(assign_fence, "the manager takes the fence for a session")                                                    \
    STEP(assign_fenced, "the fence is taken, and the instance was not looked at")                                      \
    CALL(assign_inspect, "the manager looks at the instance that it has fenced")                                       \
    STEP(assign_settled, "the manager knows that the instance is the session's, and has told nobody")                  \
    CALL(assign_mark, "the manager writes beside the instance whose it is")                                            \
    CALL(assign_renew, "the manager renews the record of a session")                                                   \
    /* the worker and the manager end a session */                                                                     \
    CALL(release_ask, "the worker asks the manager to end a session")                                                  \
    STEP(release_begun, "the manager has begun to end a session, and its record is still there")                       \
    CALL(release_forget, "the manager removes the record of a session that is over")                                   \
    /* the planner tends the line */                                                                                   \
    CALL(publish_lease, "the manager takes or renews the planner's lease")                                             \
    CALL(publish_read, "the planner reads the counters of the line")                                                   \
    STEP(publish_counted, "a generation has counters, and no name yet")                                                \
    CALL(publish_name, "the planner gives a generation its name")                                                      \
    CALL(publish_number, "the planner draws the number of a slot")                                                     \
    STEP(publish_numbered, "a slot has a number, and nothing is in it")                                                \
    CALL(publish_slot, "the planner puts an instance into its slot")                                                   \
    STEP(publish_published, "an instance is in its slot, and the planner has not noted it")                            \
    CALL(publish_skip, "the planner closes the slot of somebody who is gone")                                          \
    /* the manager refills the pool */                                                                                 \
    CALL(refill_count, "the manager counts the instances before it makes one")                                         \
    CALL(refill_create, "the manager makes an instance")                                                               \
    STEP(refill_intended, "the provider knows that an instance is to be made, and nothing else")                       \
    STEP(refill_booted, "the machine runs, and the provider has not noted it")                                         \
    STEP(refill_created, "an instance was made, and the manager has not noted it")                                     \
    CALL(refill_ready, "the manager marks an instance ready")                                                          \
    STEP(refill_readied, "an instance is marked ready, and the manager has not noted it")                              \
    /* the manager retires an instance */                                                                              \
    CALL(retire_fence, "the manager takes the fence of what it retires")                                               \
    CALL(retire_mark, "the manager marks an instance as retiring")                                                     \
    STEP(retire_marked, "an instance is marked as retiring, and its record is still there")                            \
    CALL(retire_look, "the manager looks at an instance before it destroys it")                                        \
    CALL(retire_destroy, "the manager destroys an instance")                                                           \
    STEP(retire_unmaking, "the provider knows that an instance goes, and it still runs")                               \
    STEP(retire_stopped, "the machine is gone, and its address is not free")                                           \
    CALL(retire_verify, "the manager looks whether an instance is gone")                                               \
    CALL(retire_unfence, "the manager removes the fence of what is gone")                                              \
    STEP(retire_unfenced, "the fence is gone, and the manager has not noted it")                                       \
    /* the manager reads */                                                                                            \
    CALL(read_fences, "the manager reads all fences")                                                                  \
    CALL(read_list, "the manager reads all instances")

#ifdef PERSONA_WITH_FAULTS

#include <apr_errno.h>

#define PERSONA_FAULT_ENUM(name, where) PERSONA_FAULT_##name,
typedef enum { PERSONA_FAULT_POINTS(PERSONA_FAULT_ENUM, PERSONA_FAULT_ENUM) PERSONA_FAULT_COUNT } persona_fault_e;

/** What a call is told by its point. */
typedef enum { PERSONA_FAULT_NOTHING, PERSONA_FAULT_FAIL, PERSONA_FAULT_LOSE, PERSONA_FAULT_AFTER } persona_fault_do_e;

/** Whoever comes by here: nothing, unless the point is armed. Kills and hangs by itself. */
persona_fault_do_e persona_fault_here(persona_fault_e point);
/** What becomes of the status of a call that was made. */
apr_status_t persona_fault_made(persona_fault_do_e what, apr_status_t status);

#define PERSONA_FAULT(name) ((void)persona_fault_here(PERSONA_FAULT_##name))
#define PERSONA_FAULT_CALL(name, call)                                                                                 \
    __extension__({                                                                                                    \
        persona_fault_do_e fault_ = persona_fault_here(PERSONA_FAULT_##name);                                          \
        fault_ == PERSONA_FAULT_FAIL ? APR_EGENERAL : persona_fault_made(fault_, (call));                              \
    })

#else

#define PERSONA_FAULT(name) ((void)0)
#define PERSONA_FAULT_CALL(name, call) (call)

#endif
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file crew.h
 * @brief A fixed number of threads that work off a queue of jobs.
 *
 * Each compute has crews of its own: a compute that hangs holds up its own threads and nobody else's.
 * Threads are never joined: the process ends with _exit() while a provider call may still hang.
 */
#ifndef PERSONA_MANAGER_CREW_H
#define PERSONA_MANAGER_CREW_H

#include <apr_pools.h>
#include <apr_time.h>

typedef struct persona_crew_t persona_crew_t;

/** `arg` is the job's own; `p` is scratch memory of the running thread, cleared after the job. */
typedef void persona_job_fn(void *arg, apr_pool_t *p);

/** `threads` 0: persona_crew_push() runs the job before it returns (tests). */
apr_status_t persona_crew_create(persona_crew_t **crew, int threads, apr_pool_t *p);
/** Takes the job over. MUST NOT be called with the manager's lock held. */
void persona_crew_push(persona_crew_t *crew, persona_job_fn *run, void *arg);
/** No job begins any more; those that run are waited for, at most for `limit`. How many run still. */
int persona_crew_rest(persona_crew_t *crew, apr_interval_time_t limit);

/** A detached thread with all signals as they are. */
apr_status_t persona_thread_start(void *(*run)(void *), void *arg);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file assign.h
 * @brief From a request to a fenced instance, and what concerns a session that has one.
 */
#ifndef PERSONA_MANAGER_ASSIGN_H
#define PERSONA_MANAGER_ASSIGN_H

#include "state.h"

/** Who asks for which instance. All strings were checked. */
typedef struct persona_ask_t {
    const char *instance, *compute, *persona_id;
    const char *session, *user, *app;
    json_t *roles; /**< borrowed; NULL: none */
    int cold;
    apr_time_t arrived; /**< 0: unknown */
    apr_int64_t ticket; /**< drawn in the line; < 0: none was */
} persona_ask_t;

/** Take the fence for the session, look at the instance, say yes or no. YES: *entry is a copy of the entry that
 * holds the session, which may be on another instance than was asked for (one session, one instance). NO,
 * SKIP and UNKNOWN: `reason` says why. Blocks until `deadline` at most; a provider call that is not over by then
 * goes on, and the same question finds its result. Without the lock. */
persona_assign_e persona_assign(persona_manager_t *m, const persona_ask_t *ask, apr_time_t deadline,
                                persona_entry_t *entry, char reason[PERSONA_REASON_MAX],
                                apr_pool_t *p);

/** Find the session's entry; where its fence names nobody yet, ask the fences whether they are this session's.
 * APR_SUCCESS and a copy; APR_NOTFOUND: this session has none; any other: it may have one, and its compute did not say.
 * Without the lock. */
apr_status_t persona_session_find(persona_manager_t *m, const char *session, persona_entry_t *entry,
                                  apr_pool_t *p);

/** A session that another manager assigned since the compute was last read here: `record` is what the index has of it.
 * The provider is asked. APR_SUCCESS and a copy; APR_NOTFOUND: the session does not have that instance; any other: the
 * provider did not say. Without the lock. */
apr_status_t persona_session_learn(persona_manager_t *m, const persona_record_t *record, persona_entry_t *entry,
                                   apr_pool_t *p);

/** Job (persona_task_t): write session, user, app beside an assigned instance. */
void persona_job_mark_assigned(void *arg, apr_pool_t *p);

/** Start attaching the home of an entry with a session, where its persona has one. With the lock: adds tasks. */
void persona_home_start(persona_manager_t *m, persona_entry_t *e, json_t *roles,
                        persona_tasks_t *tasks);
/** The name of the fence that keeps a user's exclusive home for one session. */
const char *persona_home_fence(const char *user, apr_pool_t *p);
/** The compute that keeps the fences of homes: the same for every manager of the site. */
persona_site_t *persona_home_site(persona_manager_t *m);
/** The one-time password of a session's home, under key `which`; NULL: there is no such key. */
const char *persona_home_password(const persona_manager_t *m, int which, const char *session,
                                  const char *user, apr_pool_t *p);
/** Blocks: tell the instance that the session is over, so that it writes the home back. */
void persona_home_release(persona_manager_t *m, const persona_entry_t *copy, apr_pool_t *p);

#endif

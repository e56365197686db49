/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file arbiter.h
 * @brief What several managers must decide alike, though each may know something else.
 *
 * Their indexes may differ (two memcacheds, a flush), their readings are of different moments, and metadata is no
 * test-and-set. So the rare decisions that end an instance which may be somebody's are taken by a fence of their own:
 *
 *   session:<S>     which of several instances the session S keeps; held "by" that instance's uuid
 *   named:<uuid>    whose an instance is that is fenced for a session that neither metadata nor fence name: held by the
 *                   session that came back, or by "retire", as any manager that gives it up
 *
 * They stay as long as the instance does, and are swept with the fences of homes, see persona_job_strays(). No function
 * here may be called with the lock held.
 */
#ifndef PERSONA_MANAGER_ARBITER_H
#define PERSONA_MANAGER_ARBITER_H

#include "state.h"

#define PERSONA_ARBITER_SESSION "session:"
#define PERSONA_ARBITER_NAMED   "named:"
/** In place of a session: an instance that nobody can name is given up. */
#define PERSONA_ARBITER_RETIRE "retire"

/** Which of two instances the session keeps: `first`, unless it was decided otherwise before. One of the two, or NULL:
 * the compute did not say, or the decision was about another one; ask again. */
const char *persona_arbiter_keep(persona_manager_t *m, const char *session, const char *first, const char *second,
                                 apr_pool_t *p);

/** Take the instance for `who`, a session that holds its fence or PERSONA_ARBITER_RETIRE. APR_SUCCESS: taken, now or
 * before; APR_EEXIST: it is another's; any other: unknown. */
apr_status_t persona_arbiter_name(persona_site_t *site, const char *uuid, const char *who, apr_pool_t *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file reconcile.h
 * @brief From what a provider says to what the manager knows: every instance in one state, or on its way out.
 */
#ifndef PERSONA_MANAGER_RECONCILE_H
#define PERSONA_MANAGER_RECONCILE_H

#include "state.h"

/** Read one compute and bring the tables in line with it. Keeps the compute's breaker. Without the lock. */
apr_status_t persona_reconcile(persona_site_t *site, apr_pool_t *p);
/** The thread of one compute: reads it on schedule, at events, and after a pause when it failed. */
void *persona_reconcile_thread(void *site);
/** Job (persona_task_t without an instance): remove the fences of homes and of the arbiter that belong to no session or
 * instance any more. */
void persona_job_strays(void *arg, apr_pool_t *p);

#endif

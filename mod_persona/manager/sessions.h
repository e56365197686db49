/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file sessions.h
 * @brief Sessions while they last: their leases are renewed, their time limits enforced.
 */
#ifndef PERSONA_MANAGER_SESSIONS_H
#define PERSONA_MANAGER_SESSIONS_H

#include "state.h"

/** Renew the records of the sessions, retire those whose time is over. By the ticking thread, without the lock. */
void persona_sessions_tick(persona_manager_t *m, apr_pool_t *p);
/** With the lock: a gateway child's heartbeat for this session. */
void persona_sessions_beat(persona_manager_t *m, persona_entry_t *e, pid_t pid, int streams,
                           apr_time_t last_input);

#endif

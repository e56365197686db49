/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file events.h
 * @brief What the manager does, told to the history.
 *
 * All but persona_events_admin() and persona_events_tick() are called with the manager's lock, at the place where the
 * thing is done; without a trail they do nothing.
 */
#ifndef PERSONA_MANAGER_EVENTS_H
#define PERSONA_MANAGER_EVENTS_H

#include "assign.h"
#include "pool/ipc.h"
#include "trail.h"

/** A session got this instance at e->assigned_at. `arrived` 0: it is not known whether it had to wait. */
void persona_events_claim(persona_manager_t *m, const persona_entry_t *e, const json_t *roles, apr_int64_t ticket,
                          apr_time_t arrived);
/** A session that got its instance before this manager started: whoever gave it may have died before that was written.
 * Where it was, this is not heard. */
void persona_events_adopted(persona_manager_t *m, const persona_entry_t *e);
/** Its session is over: e->reason. Whoever says it first is heard, also of several managers. */
void persona_events_end(persona_manager_t *m, const persona_entry_t *e);
/** The provider has made it. */
void persona_events_create(persona_manager_t *m, const persona_entry_t *e, const char *reason,
                           apr_interval_time_t took);
void persona_events_ready(persona_manager_t *m, const persona_entry_t *e, apr_interval_time_t boot);
void persona_events_fail(persona_manager_t *m, const persona_entry_t *e, const char *reason);
/** Its retirement is under way: e->reason. Heard once, as the end. */
void persona_events_retire(persona_manager_t *m, const persona_entry_t *e);
void persona_events_gone(persona_manager_t *m, const persona_entry_t *e);
/** A page of the portal was seen. Of one person it is written once a minute; after half an hour without any it is a
 * sign-in. */
void persona_events_visit(persona_manager_t *m, const char *user, const json_t *roles, const char *app);
/** Without the lock. `peer`: who asked over the control socket. */
void persona_events_admin(persona_manager_t *m, const persona_ipc_peer_t *peer, const char *what);
/** Without the lock, about once a second: how many sessions there are at once, and what the log must be told. */
void persona_events_tick(persona_manager_t *m);

#endif

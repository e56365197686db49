/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file status.h
 * @brief The status document: what the status page, personactl and the metrics show.
 *
 * {"manager": id, "version": package, "started": us, "now": us, "ticked": us, "schedule_ms": n,
 *  "index": "ok" | "down", "drained": bool, "history": object (see persona_trail_status()) | null,
 *  "catalog_version": hex, "errors": [sentence...], "stale": [file...],
 *  "personas": [{"id", "app", "title", "compute", "target", "expected", "target_reason", "min", "max", "planner": bool,
 *    "ready", "creating", "assigned", "stale", "retiring", "waiting", "claims", "cold_claims", "drained": bool,
 *    "state": "ok" | "failing" | "no-capacity" | "compute-down", "problem": text | null,
 *    "boot": {"count", "p10", "p50", "p90"} (seconds) | null,
 *    "model": {"target", "expected", "reason", "rules": bool}, "feedback": {of the last seven days
 *      "forecasts", "claims", "model", "seasonal_naive": {"coverage" (of 90 %), "pinball", "log_score", "bias",
 *      "hit_rate", "idle_hours", "cost_hours"}, "buffer": {"hit_rate", "idle_hours", "cost_hours"},
 *      "fallen": bool, "turned": us, "buffer_size"}; both only where there is a model}...],
 *  "computes": [{"name", "provider", "address", "up": bool, "problem": text | null, "down_since": us | 0,
 *    "read": us, "instances", "booting", "boots_max", "drained": bool}...],
 *  "sessions": [{"session", "user", "app", "persona", "instance", "compute", "host", "started", "streams",
 *    "last_input", "attached", "home": 0-3, "home_problem", "ends", "cold": bool}...],
 *  "instances": [{"instance", "persona", "compute", "host", "state", "session", "created", "ready_at", "address",
 *    "port", "step", "reason"}...]}
 * Times are microseconds since the epoch. With a user, `sessions` has only that user's, and `instances` is absent.
 */
#ifndef PERSONA_MANAGER_STATUS_H
#define PERSONA_MANAGER_STATUS_H

#include "state.h"
#include "wait.h"

/** A new reference. `user` NULL: everybody. Without the lock. */
json_t *persona_status_document(persona_manager_t *m, const char *user, apr_pool_t *p);
/** How far the next instance of the persona is: see `progress` in ipc.h, but for its place and eta. With the lock. */
json_t *persona_status_progress(persona_manager_t *m, const persona_t *persona);
/** All that is known of the wait at this place in the persona's line. `boots` holds what wait->boots points to. 0: too
 * little is known. With the lock. */
int persona_status_wait(persona_manager_t *m, const persona_t *persona, int place, double boots[PERSONA_BOOTS_KEPT],
                        persona_wait_t *wait);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file explain.h
 * @brief Why a pool is as large as it is: {"persona": id, ["at": us]}.
 *
 * Now or later: {"status": "ok", "persona", "at": us, "now": us, "policy": "model" | "pattern" | "buffer" (what rules),
 *  "target", "reason": (now only, what is in force), "waiting", "drained": bool, "min", "max",
 *  "model": {"target", "ahead": bool, "usage": word of the persona for that hour, "learned": arrivals, "season",
 *    "lately", "people", "others", "rate" (an hour; the product of the four before), "lead": seconds, "measured": bool,
 *    "expected", "spread", "burst": bool, "price": "persona" | "site" | "hit-rate", "wait_cost", "hit_rate", "kappa",
 *    "worth_last": number | null (without bound), "worth_next": number | null, "wish", "announced", "event": title,
 *    "held", "fallen": bool, "buffer"} | null}
 * Earlier: {"status": "ok", "persona", "at", "now", "since": us, "target", "expected", "reason"}: of the last changes
 * of the target since this manager began.
 */
#ifndef PERSONA_MANAGER_EXPLAIN_H
#define PERSONA_MANAGER_EXPLAIN_H

#include "state.h"

/** The answer on the control socket. Without the lock. */
json_t *persona_explain(persona_manager_t *m, const json_t *request, apr_pool_t *p);

#endif

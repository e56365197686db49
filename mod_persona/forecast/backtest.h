/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file backtest.h
 * @brief Replays a site's history through the code that serves it, and tells every change of a target.
 *
 * Pure, as all of this room: the caller reads events and writes targets. Events are given in order of time. A target
 * depends on events strictly before its own time; the next one after an event is a millisecond later.
 */
#ifndef PERSONA_FORECAST_BACKTEST_H
#define PERSONA_FORECAST_BACKTEST_H

#include "forecast/learned.h"
#include "forecast/shadow.h"

typedef struct persona_backtest_t persona_backtest_t;

typedef void persona_backtest_target_cb(void *baton, double at, const char *persona, int target);

/** `kappa` > 0: that price; else `hit_rate` is kept. `lead` in seconds. `told` may be NULL. */
persona_backtest_t *persona_backtest_create(double lead, double kappa, double hit_rate,
                                            persona_backtest_target_cb *told, void *baton, apr_pool_t *p);
/** An arrival at `at` whose session lasts `duration` seconds (0: unknown). APR_EINVAL: earlier than the last one. */
apr_status_t persona_backtest_event(persona_backtest_t *backtest, double at, const char *persona,
                                    const char *user, double duration);
/** Go on until `at` without arrivals. */
void persona_backtest_run(persona_backtest_t *backtest, double at);

/** What the pools of all personas would have done since persona_backtest_count() was last called. */
typedef struct persona_backtest_sum_t {
    long claims, hits;
    double idle;        /**< instance-seconds, with what was thrown away */
} persona_backtest_sum_t;
void persona_backtest_sum(persona_backtest_t *backtest, persona_backtest_sum_t *sum);
void persona_backtest_count(persona_backtest_t *backtest);

#endif

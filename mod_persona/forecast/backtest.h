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
#include "forecast/rival.h"
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

/* ---- beside others, and for a report ---- */

/** Rivals run beside the model, and what happens is kept for a report. To be said before the first event. */
void persona_backtest_compare(persona_backtest_t *backtest);

/** What the model has done until now, of persona `k` in the order of their first arrivals; < 0: of all together. */
void persona_backtest_model(persona_backtest_t *backtest, int k, persona_outcome_t *outcome);
/** The same of a rival, each persona with the setting of its own that costs least. `price` > 0: of a wait, in idle
 * seconds; else the least price at which all together keep `hit_rate`, or the highest there is where none does. */
void persona_backtest_rival(persona_backtest_t *backtest, int k, persona_rival_e kind, double price, double hit_rate,
                            persona_outcome_t *outcome);
/** The price of a wait in idle seconds that the model goes by now; for a promised hit rate, the one it has found. */
double persona_backtest_price(const persona_backtest_t *backtest);

/** A quarter of an hour. */
typedef struct persona_backtest_quarter_t {
    double at;                   /**< its begin; 0: there is none */
    float low, expected, high;   /**< arrivals foretold at its begin: 5 %, mean, 95 % */
    int target, ready;           /**< at its begin */
    int arrivals, misses;
} persona_backtest_quarter_t;

typedef struct persona_backtest_day_t {
    double at;
    int arrivals, misses;
    double idle;                 /**< instance-seconds */
} persona_backtest_day_t;

/** Quarter hours that are kept: the last week. */
#define PERSONA_BACKTEST_QUARTERS 672

typedef struct persona_backtest_series_t {
    const char *id;
    const apr_array_header_t *days;                                     /**< of persona_backtest_day_t */
    persona_backtest_quarter_t quarter[PERSONA_BACKTEST_QUARTERS];      /**< in order of time */
    int quarters;
} persona_backtest_series_t;

int persona_backtest_personas(const persona_backtest_t *backtest);
/** What was kept of persona `k`. */
void persona_backtest_series(const persona_backtest_t *backtest, int k, persona_backtest_series_t *series);

#endif

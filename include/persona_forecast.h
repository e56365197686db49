/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file persona_forecast.h
 * @brief From what was seen to how many instances should be ready: the seam between manager and model.
 *
 * Pure: no I/O, no clock, no threads; time is an argument (microseconds since the epoch, never going
 * back). One forecast object serves all personas of a site and is used by one thread at a time.
 */
#ifndef PERSONA_FORECAST_H
#define PERSONA_FORECAST_H

#include "persona.h"

typedef struct persona_forecast_t persona_forecast_t;

/** What one persona's pool should hold now, and why. */
typedef struct persona_target_t {
    int ready;             /**< ready + creating that the pool should hold */
    double expected;       /**< arrivals expected within the lead time */
    char reason[128];      /**< for the audit trail and the status page: "pattern high at 13h Mon", ... */
    int fallen;            /**< the policy has done worse than a buffer lately: hold `buffer` instead */
    int buffer;            /**< how many that buffer holds; < 0: the policy has none */
} persona_target_t;

/** Forecasts that are compared: the policy's, and what came a week ago. */
enum { PERSONA_FORECAST_MODEL, PERSONA_FORECAST_NAIVE, PERSONA_FORECASTS };
/** Pools on paper that are compared: of the policy's targets, of a buffer, of the forecast from a week ago. */
enum { PERSONA_POOL_MODEL, PERSONA_POOL_BUFFER, PERSONA_POOL_NAIVE, PERSONA_POOLS };

/** Sums over the forecasts whose time has passed. */
typedef struct persona_forecast_score_t {
    float expected;        /**< arrivals */
    float covered;         /**< how often the arrivals were between the 5 % and the 95 % quantile */
    float pinball;         /**< loss at 50, 90 and 99 %, mean of the three, in arrivals */
    float log;             /**< minus the log of the probability of what came */
} persona_forecast_score_t;

/** Sums over arrivals and time. */
typedef struct persona_pool_score_t {
    float hits;
    float idle;            /**< instance-seconds nobody used, with what was thrown away */
    float cost;            /**< these, and the price of each wait in idle seconds */
} persona_pool_score_t;

/** How a persona's forecast has done over some time. */
typedef struct persona_scores_t {
    float windows, seen;   /**< forecasts, each for a lead time, and the arrivals in these */
    float claims;          /**< arrivals that the pools were asked for */
    persona_forecast_score_t forecast[PERSONA_FORECASTS];
    persona_pool_score_t pool[PERSONA_POOLS];
} persona_scores_t;

typedef struct persona_feedback_view_t {
    persona_scores_t week; /**< the last seven days */
    int fallen;            /**< it has done worse than the buffer */
    double turned;         /**< since when, or since when no more; seconds since the epoch, 0: always */
    int buffer;            /**< how many the buffer holds */
} persona_feedback_view_t;

/** A policy by name: "pattern" (pool.min and the low/medium/high pattern), "model" (learned). */
apr_status_t persona_forecast_create(persona_forecast_t **forecast, const char *policy, apr_pool_t *p);
/** A person asked for this persona at `at`. */
void persona_forecast_arrival(persona_forecast_t *forecast, const char *persona_id, const char *user,
                              const char *role, apr_time_t at);
/** A session of this persona ended. */
void persona_forecast_end(persona_forecast_t *forecast, const char *persona_id, apr_time_t at);
/** What the site pays for one wait, in idle instance-minutes; < 0: not set, then `hit_rate` is kept (< 0: 0.99). */
void persona_forecast_price(persona_forecast_t *forecast, double wait_cost, double hit_rate);
/** Known dates of the site, of persona_date_t, NULL: none; they stay the caller's, until others take their place. */
void persona_forecast_dates(persona_forecast_t *forecast, const apr_array_header_t *events);
/** An instance of this persona took `boot` from creation to ready. */
void persona_forecast_boot(persona_forecast_t *forecast, const char *persona_id, apr_interval_time_t boot);
/** What was learned, to be kept by the caller; `*len` is 0 where a policy learns nothing. */
void persona_forecast_save(persona_forecast_t *forecast, char **data, apr_size_t *len, apr_pool_t *p);
/** Go on from what was saved. APR_EINVAL: damaged, or of another version; nothing is changed then. */
apr_status_t persona_forecast_load(persona_forecast_t *forecast, const char *data, apr_size_t len);
/** The target for `at`, within the persona's pool.min and pool.max. */
void persona_forecast_target(persona_forecast_t *forecast, const persona_t *persona, apr_time_t at,
                             persona_target_t *target);

/** Where the price of a wait comes from. */
typedef enum { PERSONA_PRICE_PERSONA, PERSONA_PRICE_SITE, PERSONA_PRICE_HIT_RATE } persona_price_e;

/** Why a target is what it is. Rates are arrivals an hour; marginal values are as in forecast/plan.h. */
typedef struct persona_explanation_t {
    apr_time_t at;
    int ahead;                     /**< it is yet to come: people are taken to come as the season says until then */
    persona_usage_e usage;         /**< the administrator's word for that hour */
    double learned;                /**< arrivals that it has learned from */
    double season, lately, people, others; /**< a rate, and what it is multiplied by */
    double rate;
    double lead;                   /**< seconds that a boot is expected to take */
    int measured;                  /**< boots of this persona have been measured */
    double expected, spread;       /**< arrivals within the lead time: mean, inverse size of a negative binomial */
    int burst;                     /**< it counts as a burst */
    persona_price_e price;
    double wait_cost;              /**< of a wait, in idle instance-minutes, by whichever rule */
    double hit_rate;               /**< that is kept, where that is the rule */
    double kappa;
    double worth_last, worth_next; /**< marginal value of the last instance wished for, and of one more */
    int wish;                      /**< how many are worth their place */
    int announced;                 /**< people of known dates who are still to come: as many more */
    char event[128];               /**< title of such a date; "": it has none */
    int held;                      /**< more than that, which are kept a little in the hope of a claim */
    int min, max;
    int target;                    /**< the policy's */
    int fallen, buffer;            /**< as in persona_target_t */
} persona_explanation_t;

/** Explains the target for `at`, now or in the future; nothing is learned or changed by it. `p` is scratch memory.
 * APR_ENOTIMPL: the policy has no more to say than its reason. */
apr_status_t persona_forecast_explain(persona_forecast_t *forecast, const persona_t *persona, apr_time_t at,
                                      persona_explanation_t *explanation, apr_pool_t *p);
/** What the first `n` instances beside those that are announced are worth: of each, its marginal value over the price
 * of keeping it (forecast/plan.h), not rising. Of the target that was made last. */
void persona_forecast_worth(persona_forecast_t *forecast, const persona_t *persona, int n, double *worth);
/** How it has done until `at`. APR_NOTFOUND: the policy keeps no scores of this persona. */
apr_status_t persona_forecast_feedback(persona_forecast_t *forecast, const persona_t *persona, apr_time_t at,
                                       persona_feedback_view_t *view);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file feedback.h
 * @brief Every forecast is held against what came, and its pool against simpler ones on the same arrivals.
 *
 * Two things are scored, both over the last seven days. The distribution that was forecast for each lead time, when
 * that time has passed, beside seasonal naive's (past.h). And three pools on paper (shadow.h): one that follows the
 * model's targets, one that follows seasonal naive at the same price, and the buffer, which always holds the same
 * number: of a row of numbers, the one that would have cost least lately. What a pool costs is its idle time and, for
 * each arrival that had to wait, the price of a wait in idle time.
 *
 * A model that costs over a twentieth more than the buffer, on a hundred claims or more, has fallen: the buffer is to
 * be followed until that holds no more. It goes on learning and being scored meanwhile.
 */
#ifndef PERSONA_FORECAST_FEEDBACK_H
#define PERSONA_FORECAST_FEEDBACK_H

#include <apr_pools.h>

#include "forecast/past.h"
#include "forecast/shadow.h"
#include "forecast/tail.h"
#include "persona_forecast.h"

#define PERSONA_FEEDBACK_SIZES 12
/** Parts of a day that are summed, and how many of them are seven days. */
#define PERSONA_FEEDBACK_BUCKET 21600
#define PERSONA_FEEDBACK_BUCKETS 28

typedef struct persona_feedback_t {
    persona_past_t past;
    persona_scores_t bucket[PERSONA_FEEDBACK_BUCKETS];
    apr_int64_t bucket_at;                  /**< buckets since the epoch: the one that is being filled; 0: none yet */
    float tried[PERSONA_FEEDBACK_SIZES];    /**< what each size of the buffer has cost lately */
    double decided;                         /**< when size and verdict were last looked at; 0: never */
    double turned;                          /**< when it last fell or rose; 0: never */
    apr_int32_t fallen, size;               /**< size: index of the buffer's */
    apr_int32_t target[PERSONA_POOLS];
    /* The forecast whose time runs; `until` 0: none. */
    double until;
    float mean, spread, naive;
    apr_int32_t seen;
    /* The pools themselves are not kept over restarts: they begin full. */
    double last;                            /**< 0: there are none */
    persona_shadow_t pool[PERSONA_POOLS];
    persona_shadow_t sized[PERSONA_FEEDBACK_SIZES];
} persona_feedback_t;

/** What is known of a persona when its target is made. */
typedef struct persona_feedback_now_t {
    const persona_demand_t *demand;
    int target, min, max;     /**< the model's, and the persona's limits */
    double lead;              /**< seconds */
    double kappa;             /**< see plan.h; HUGE_VAL: a wait costs nothing */
} persona_feedback_now_t;

/** A target was made at `at` (seconds since the epoch). Memory of the pools is of `p`. A silence of a quarter hour or
 * more was not watched. */
void persona_feedback_tick(persona_feedback_t *feedback, const persona_feedback_now_t *now, double at, apr_pool_t *p);
/** Somebody came; a wait costs `price` seconds of idling. `surprise` 0: it was announced, and no forecast's to know. */
void persona_feedback_arrival(persona_feedback_t *feedback, double price, int surprise, double at);
/** All fields that are kept were read: nothing in them may lead out of a table. */
void persona_feedback_restored(persona_feedback_t *feedback);
/** How many the buffer holds, within the limits. */
int persona_feedback_buffer(const persona_feedback_t *feedback, int min, int max);
/** The scores of the last seven days until `at`. */
void persona_feedback_sum(const persona_feedback_t *feedback, double at, persona_scores_t *sum);
/** Whether such scores speak against the model. */
int persona_feedback_rule(const persona_scores_t *sum);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file rival.h
 * @brief What products do, on paper, beside the model in a backtest: each with many settings at once.
 *
 *   static          the same number at any time
 *   schedule        one number in some hours of each day or working day, another one outside of them
 *   buffer          a number, or a share of the sessions that run, whichever is more
 *   reactive        what came in the last minutes, and some standard deviations
 *   seasonal naive  what came a day or a week ago, and some standard deviations
 *
 * The best setting is found when all is over: they are tuned in hindsight, on the very history that they are scored on,
 * which the model is not.
 */
#ifndef PERSONA_FORECAST_RIVAL_H
#define PERSONA_FORECAST_RIVAL_H

#include <apr_pools.h>

typedef enum {
    PERSONA_RIVAL_STATIC, PERSONA_RIVAL_SCHEDULE, PERSONA_RIVAL_BUFFER, PERSONA_RIVAL_REACTIVE, PERSONA_RIVAL_NAIVE,
    PERSONA_RIVALS
} persona_rival_e;

/** Seconds between two ticks. */
#define PERSONA_RIVAL_TICK 300
/** A session of unknown length is taken to last so many seconds. */
#define PERSONA_RIVAL_SESSION 1800.0

typedef struct persona_rivals_t persona_rivals_t;

/** What a pool on paper has done. */
typedef struct persona_outcome_t {
    char setting[80];     /**< in words; of several personas "" */
    long claims, hits;
    double idle;          /**< instance-seconds, with what was thrown away */
    double waited, longest;   /**< seconds: of all who waited together, and the longest */
} persona_outcome_t;

/** All rivals of one persona, from `at` (seconds since the epoch) on. */
persona_rivals_t *persona_rivals_create(double lead, double at, apr_pool_t *p);
void persona_rivals_arrival(persona_rivals_t *rivals, double at);
/** A session ended. */
void persona_rivals_end(persona_rivals_t *rivals, double at);
/** Every PERSONA_RIVAL_TICK seconds. */
void persona_rivals_tick(persona_rivals_t *rivals, double at);
/** The setting of one kind that costs least until `at`, when a wait costs `price` seconds of idling. */
void persona_rivals_best(persona_rivals_t *rivals, persona_rival_e kind, double price, double at,
                         persona_outcome_t *outcome);
/** "static", "schedule", ... */
const char *persona_rival_name(persona_rival_e kind);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file past.h
 * @brief What a product without a model remembers of a persona: arrivals by quarter hour of the last week.
 *
 * Seasonal naive is the yardstick of every forecast: what comes now is what came a week ago. Until a week has passed it
 * is the mean rate so far.
 */
#ifndef PERSONA_FORECAST_PAST_H
#define PERSONA_FORECAST_PAST_H

#include <apr.h>

/** A week of quarter hours, and some that a forecast may look ahead. */
#define PERSONA_PAST_BINS 704

typedef struct persona_past_t {
    apr_int64_t origin, bin;                /**< first and present quarter hour since the epoch; bin 0: none yet */
    apr_uint32_t count[PERSONA_PAST_BINS];  /**< by quarter hour modulo their number */
} persona_past_t;

/** Time has gone on to `at`, in seconds since the epoch. */
void persona_past_advance(persona_past_t *past, double at);
void persona_past_arrival(persona_past_t *past, double at);
/** Arrivals expected in the `seconds` after `at`, at most some hours, by what came so many `days` before: 1 to 7. `at`
 * is not before the last call. */
double persona_past_expected(const persona_past_t *past, double at, double seconds, int days);

#endif

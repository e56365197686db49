/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file profile.h
 * @brief When a persona is wanted: seasonal rates by quarter hour of the week, of the kind of day, and overall.
 *
 * Counts and exposure are kept per quarter hour of local time and forgotten exponentially. A rate is Gamma-Poisson:
 * each level is shrunk towards the next coarser one by a few pseudo events (week -> kind of day -> overall rate
 * shaped by the administrator's low, medium, high), which is empirical Bayes (Efron and Morris, 1975): the more was
 * seen the less is borrowed. Week (slow, fast) and kind of day are smoothed over an hour or so; the last two experts
 * are kind of day and week all but unsmoothed, shrunk towards the smooth ones. Rates of a day are computed once,
 * when the day begins, from what was seen before it. Exposure is counted, so hours in which nobody watched are not
 * hours without arrivals.
 */
#ifndef PERSONA_FORECAST_PROFILE_H
#define PERSONA_FORECAST_PROFILE_H

#include <apr.h>

#define PERSONA_PROFILE_BINS 96
#define PERSONA_PROFILE_EXPERTS 5

typedef struct persona_profile_t {
    float week_count[2][7 * PERSONA_PROFILE_BINS];  /**< slow and fast forgetting */
    float week_seen[2][7 * PERSONA_PROFILE_BINS];   /**< minutes */
    float type_count[2][PERSONA_PROFILE_BINS];      /**< working days, weekend */
    float type_seen[2][PERSONA_PROFILE_BINS];
    float all_count, all_seen;
    float now_count, now_seen;                      /**< of today, when the rates were last computed */
    float today_count[PERSONA_PROFILE_BINS];
    float today_seen[PERSONA_PROFILE_BINS];
    /** Per minute, at bin centres; [0] is yesterday's last bin, the last one tomorrow's first. */
    float log_rate[PERSONA_PROFILE_EXPERTS][PERSONA_PROFILE_BINS + 2];
    float base[PERSONA_PROFILE_BINS + 2];           /**< mean of the experts, per minute */
    float shape[7][24];                             /**< the administrator's word, mean 1 */
    apr_int64_t day;                                /**< local day that `today` and the rates are of */
    int weekday;
} persona_profile_t;

/** Begin on local `day`; `shape` NULL: flat. */
void persona_profile_begin(persona_profile_t *profile, apr_int64_t day, int weekday, const float shape[7][24]);
/** Compute the rates of the day again, with today's overall rate: `shape` has changed, or much was seen. */
void persona_profile_reshape(persona_profile_t *profile);
/** The local calendar has moved to `day`: learn the day that ended, compute the rates of the new one. */
void persona_profile_roll(persona_profile_t *profile, apr_int64_t day, int weekday);
/** `count` arrivals and `minutes` watched at local `second` of the day. */
void persona_profile_add(persona_profile_t *profile, int second, double count, double minutes);
/** Log rates per minute of the experts at `second` of the day (may exceed the day by half an hour or so). */
void persona_profile_rates(const persona_profile_t *profile, double second, float *log_rate);
/** Mean of the experts, per minute. */
double persona_profile_base(const persona_profile_t *profile, double second);

#endif

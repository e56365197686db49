/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file tail.h
 * @brief How demand scatters around its expected value, and what one more instance is really worth.
 *
 * Two things are learned, both per regime (size of the expected demand, calm or burst), for a persona and for the
 * whole site. The spread of a negative binomial, by the likelihood of past windows. And the calibration of the
 * marginal value: an instance at level s is worth v(s) = (s+1) P(N = s+1) hits per lead time, which is the rate of
 * arrivals that find s others before them. Arrivals tell how often that happened; seen over predicted, by octave of
 * v / P(N <= s), corrects the value where the family of distributions is wrong, and it is wrong in the tail.
 */
#ifndef PERSONA_FORECAST_TAIL_H
#define PERSONA_FORECAST_TAIL_H

#define PERSONA_TAIL_SIZES 6
#define PERSONA_TAIL_REGIMES (2 * PERSONA_TAIL_SIZES)
#define PERSONA_TAIL_SPREADS 14
#define PERSONA_TAIL_OCTAVES 20

/** Demand within the lead time: negative binomial with this mean and inverse size (0: Poisson). */
typedef struct persona_demand_t {
    double mean;
    double spread;
    int regime;
    const float *worth;   /**< PERSONA_TAIL_OCTAVES corrections of the marginal value; NULL: none */
} persona_demand_t;

/** What was learned, by a persona or by the site. */
typedef struct persona_tail_t {
    float likelihood[PERSONA_TAIL_REGIMES][PERSONA_TAIL_SPREADS];
    float predicted[PERSONA_TAIL_REGIMES][PERSONA_TAIL_OCTAVES];
    float seen[PERSONA_TAIL_REGIMES][PERSONA_TAIL_OCTAVES];
} persona_tail_t;

/** What follows from it for one persona; refreshed now and then, a regime at a time. */
typedef struct persona_tail_view_t {
    float spread[PERSONA_TAIL_REGIMES];
    float worth[PERSONA_TAIL_REGIMES][PERSONA_TAIL_OCTAVES];
} persona_tail_view_t;

/** Walks the levels of a demand upwards. */
typedef struct persona_walk_t {
    const persona_demand_t *demand;
    double p, below, ratio, shift;
    double least;
    int level;            /**< of the next step */
} persona_walk_t;

void persona_walk_begin(persona_walk_t *walk, const persona_demand_t *demand);
/** The marginal value of one more instance at this level over P(N <= level), corrected, never rising with the level,
 * and without bound up to the expected demand; then goes to the next level. `raw`, `value` (may be NULL): the ratio
 * and the value as predicted. */
double persona_walk_step(persona_walk_t *walk, double *raw, double *value);

/** The regime of an expected demand. */
int persona_tail_regime(double mean, int burst);
/** A window in which `mean` were expected saw `count`. */
void persona_tail_window(persona_tail_t *tail, int regime, double count, double mean);
/** For a `part` of a lead time the demand was `demand`. */
void persona_tail_predict(persona_tail_t *const tails[2], const persona_demand_t *demand, double part);
/** An arrival that `rank` others preceded within the lead time, when the demand at its begin was `demand`. Gives the
 * price at which it would just have been served. */
double persona_tail_arrival(persona_tail_t *const tails[2], const persona_demand_t *demand, int rank);
/** The least levels with at least the shares `quantile` (rising, `n` of them) of a demand below or at them; and minus
 * the log of the probability of exactly `count`. Uncorrected; a mean next to nothing counts as a thousandth. */
void persona_tail_levels(double mean, double spread, const double *quantile, int n, int *level);
double persona_tail_surprise(double mean, double spread, int count);
void persona_tail_forget(persona_tail_t *tail, double days);
void persona_tail_refresh(persona_tail_view_t *view, int regime, const persona_tail_t *own,
                          const persona_tail_t *site);

#endif

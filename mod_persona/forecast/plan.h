/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file plan.h
 * @brief From demand and price to a target.
 *
 * kappa = idle price x lead time / price of one wait. One more instance at level S is worth its place while
 * (S+1) P(N = S+1) > kappa P(N <= S), N being the demand within the lead time: the hits it adds against the time
 * it stands idle. One kappa for all personas of a site gives the least idle time for a total hit rate: marginal
 * analysis of a separable concave problem (Fox, "Discrete Optimization Via Marginal Analysis", 1966).
 *
 * A target that falls is followed with patience: claims lower it for nothing, throwing an instance away costs its
 * creation.
 */
#ifndef PERSONA_FORECAST_PLAN_H
#define PERSONA_FORECAST_PLAN_H

#include "forecast/tail.h"

#define PERSONA_PLAN_MAX 2000

typedef struct persona_plan_t {
    int target;
    int peak;            /**< largest wish since it fell below the target */
    double below;        /**< since when it has been below the target; 0: it is not */
} persona_plan_t;

/** How many instances are worth their place, for each of `n` falling kappas. */
void persona_plan_size(const persona_demand_t *demand, const double *kappa, int n, int *size);
/** The target at `at` when `wish` instances are worth their place, `claims` were taken since the last call, and an
 * unwanted instance is kept for `patience` seconds. */
int persona_plan_follow(persona_plan_t *plan, int wish, int claims, double at, double patience);

#endif

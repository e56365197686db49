/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file share.h
 * @brief What a compute has room for, shared by marginal value where it does not suffice for all.
 *
 * Each persona wants a number of instances, of which each is worth less than the one before: so many times what it
 * costs to keep it (plan.h: its marginal value over kappa). The next place goes to the instance that is worth most for
 * the largest part that it takes of anything there is: marginal analysis with a weight (Fox, "Discrete Optimization Via
 * Marginal Analysis", 1966), the weight being the dominant share (Ghodsi et al., "Dominant Resource Fairness", 2011).
 * Floors come first, one for each in turn.
 */
#ifndef PERSONA_FORECAST_SHARE_H
#define PERSONA_FORECAST_SHARE_H

#include "persona.h"

typedef struct persona_share_t {
    double need[PERSONA_LIMITS];   /**< of one instance */
    int least;                     /**< so many come before anybody's worth */
    int wish;                      /**< in all */
    int held;                      /**< of these, there are so many: they count a little more, or places would wander */
    const double *worth;           /**< `wish` values, not rising */
    int granted;                   /**< the answer */
} persona_share_t;

/** `room`: what there is of each, for them together; < 0: no limit. 1: not everybody gets what they wish. */
int persona_share(persona_share_t *shares, int n, const double *room);

#endif

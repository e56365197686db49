/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizing by marginal value, and the patience before an instance is thrown away.
 */
#include "forecast/plan.h"

#include <stddef.h>

void persona_plan_size(const persona_demand_t *demand, const double *kappa, int n, int *size)
{
    persona_walk_t walk;
    int s, k = 0;

    persona_walk_begin(&walk, demand);
    for (s = 0; s < PERSONA_PLAN_MAX && k < n; s++) {
        double worth = persona_walk_step(&walk, NULL, NULL);

        while (k < n && worth <= kappa[k]) {
            size[k++] = s;
        }
    }
    while (k < n) {
        size[k++] = s;
    }
}

int persona_plan_follow(persona_plan_t *plan, int wish, int claims, double at, double patience)
{
    if (wish >= plan->target) {
        plan->target = wish;
        plan->below = 0;
        return plan->target;
    }
    if (plan->below <= 0) {
        plan->below = at;
        plan->peak = wish;
    }
    plan->peak = wish > plan->peak ? wish : plan->peak;
    plan->target -= claims;
    if (at - plan->below >= patience) {
        plan->target = plan->peak < plan->target ? plan->peak : plan->target;
        plan->below = at;
        plan->peak = wish;
    }
    if (plan->target <= wish) {
        plan->target = wish;
        plan->below = 0;
    }
    return plan->target;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam between manager and model: picks a policy by name and passes on. A forecast lives in the pool it was
 * created in and is used by one thread at a time.
 */
#include "forecast/policy.h"

#include <string.h>

struct persona_forecast_t {
    const persona_policy_t *policy;
    void *baton;
};

static const persona_policy_t *const policies[] = { &persona_policy_pattern, &persona_policy_model };

apr_status_t persona_forecast_create(persona_forecast_t **forecast, const char *policy, apr_pool_t *p)
{
    apr_size_t k;

    for (k = 0; k < sizeof(policies) / sizeof(policies[0]); k++) {
        if (strcmp(policies[k]->name, policy) == 0) {
            *forecast = apr_palloc(p, sizeof(**forecast));
            (*forecast)->policy = policies[k];
            (*forecast)->baton = policies[k]->create(p);
            return APR_SUCCESS;
        }
    }
    return APR_ENOTIMPL;
}

void persona_forecast_arrival(persona_forecast_t *forecast, const char *persona_id, const char *user,
                              const char *role, apr_time_t at)
{
    if (forecast->policy->arrival) {
        forecast->policy->arrival(forecast->baton, persona_id, user, role, at);
    }
}

void persona_forecast_end(persona_forecast_t *forecast, const char *persona_id, apr_time_t at)
{
    if (forecast->policy->end) {
        forecast->policy->end(forecast->baton, persona_id, at);
    }
}

void persona_forecast_price(persona_forecast_t *forecast, double wait_cost, double hit_rate)
{
    if (forecast->policy->price) {
        forecast->policy->price(forecast->baton, wait_cost, hit_rate);
    }
}

void persona_forecast_dates(persona_forecast_t *forecast, const apr_array_header_t *events)
{
    if (forecast->policy->events) {
        forecast->policy->events(forecast->baton, events);
    }
}

void persona_forecast_boot(persona_forecast_t *forecast, const char *persona_id, apr_interval_time_t boot)
{
    if (forecast->policy->boot) {
        forecast->policy->boot(forecast->baton, persona_id, boot);
    }
}

void persona_forecast_save(persona_forecast_t *forecast, char **data, apr_size_t *len, apr_pool_t *p)
{
    *len = 0;
    if (forecast->policy->save) {
        forecast->policy->save(forecast->baton, data, len, p);
    }
}

apr_status_t persona_forecast_load(persona_forecast_t *forecast, const char *data, apr_size_t len)
{
    return forecast->policy->load ? forecast->policy->load(forecast->baton, data, len) : APR_ENOTIMPL;
}

void persona_forecast_target(persona_forecast_t *forecast, const persona_t *persona, apr_time_t at,
                             persona_target_t *target)
{
    target->fallen = 0;
    target->buffer = -1;
    forecast->policy->target(forecast->baton, persona, at, target);
}

apr_status_t persona_forecast_feedback(persona_forecast_t *forecast, const persona_t *persona, apr_time_t at,
                                       persona_feedback_view_t *view)
{
    return forecast->policy->feedback ? forecast->policy->feedback(forecast->baton, persona, at, view) : APR_NOTFOUND;
}

apr_status_t persona_forecast_explain(persona_forecast_t *forecast, const persona_t *persona, apr_time_t at,
                                      persona_explanation_t *explanation, apr_pool_t *p)
{
    return forecast->policy->explain ? forecast->policy->explain(forecast->baton, persona, at, explanation, p)
                                     : APR_ENOTIMPL;
}

void persona_forecast_worth(persona_forecast_t *forecast, const persona_t *persona, int n, double *worth)
{
    int k;

    if (forecast->policy->worth) {
        forecast->policy->worth(forecast->baton, persona, n, worth);
        return;
    }
    /* The next one is worth less than the one before; more is not known. */
    for (k = 0; k < n; k++) {
        worth[k] = 1.0 / (k + 1);
    }
}

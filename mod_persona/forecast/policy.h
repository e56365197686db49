/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file policy.h
 * @brief A forecast policy as a table of functions; forecast.c picks one by name.
 *
 * All but `create` and `target` may be NULL where a policy learns nothing.
 */
#ifndef PERSONA_FORECAST_POLICY_H
#define PERSONA_FORECAST_POLICY_H

#include "persona_forecast.h"

typedef struct persona_policy_t {
    const char *name;
    void *(*create)(apr_pool_t *p);
    void (*arrival)(void *baton, const char *persona_id, const char *user, const char *role, apr_time_t at);
    void (*end)(void *baton, const char *persona_id, apr_time_t at);
    void (*boot)(void *baton, const char *persona_id, apr_interval_time_t boot);
    void (*price)(void *baton, double wait_cost, double hit_rate);
    void (*save)(void *baton, char **data, apr_size_t *len, apr_pool_t *p);
    apr_status_t (*load)(void *baton, const char *data, apr_size_t len);
    void (*target)(void *baton, const persona_t *persona, apr_time_t at, persona_target_t *target);
    apr_status_t (*feedback)(void *baton, const persona_t *persona, apr_time_t at, persona_feedback_view_t *view);
    apr_status_t (*explain)(void *baton, const persona_t *persona, apr_time_t at, persona_explanation_t *explanation,
                            apr_pool_t *p);
    void (*events)(void *baton, const apr_array_header_t *events);
    void (*worth)(void *baton, const persona_t *persona, int n, double *worth);
} persona_policy_t;

extern const persona_policy_t persona_policy_pattern;
extern const persona_policy_t persona_policy_model;

/** The administrator's word for a local hour of a weekday (0 is Sunday): the hour's level, moved one step by the
 * day's; an hour that is low stays low. */
persona_usage_e persona_pattern_level_of(const persona_usage_t *usage, int hour, int weekday);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file learned.h
 * @brief The policy "model": the models of a site, its price, and the targets that follow.
 */
#ifndef PERSONA_FORECAST_LEARNED_H
#define PERSONA_FORECAST_LEARNED_H

#include <apr_hash.h>

#include "forecast/agenda.h"
#include "forecast/control.h"
#include "forecast/feedback.h"
#include "forecast/model.h"
#include "forecast/plan.h"
#include "forecast/policy.h"

/** One persona, known by arrivals or by its file. */
typedef struct persona_learned_entry_t {
    const char *id;
    persona_model_t model;
    persona_plan_t plan;
    double boot_mean, boot_square;   /**< seconds, of measured boots; 0: none yet */
    double wait_cost;                /**< the persona's own, in idle minutes; < 0: the site's */
    int claims;                      /**< since the last target */
    int shaped;                      /**< the administrator's pattern has been given */
    int announced;                   /**< people who are still to come, beside the forecast's */
    persona_agenda_t agenda;
    persona_feedback_t feedback;     /**< of a manager's personas; a backtest keeps its own account */
} persona_learned_entry_t;

typedef struct persona_learned_t {
    apr_pool_t *p;
    apr_hash_t *entries;             /**< persona_learned_entry_t by id */
    persona_model_site_t site;
    persona_control_t control;
    double kappa;                    /**< > 0: fixed, whatever the lead time */
    double wait_cost;                /**< idle minutes; < 0: hit_rate is kept */
    double hit_rate;
    const apr_array_header_t *events; /**< of the site; NULL: none */
} persona_learned_t;

persona_learned_t *persona_learned_create(apr_pool_t *p);
/** Hash of a user's name, never 0; 0 for NULL, "" and "-". */
apr_uint32_t persona_learned_user(const char *user);
persona_learned_entry_t *persona_learned_entry(persona_learned_t *learned, const char *id, double at);
void persona_learned_arrival(persona_learned_t *learned, persona_learned_entry_t *entry, apr_uint32_t user,
                             double at);
void persona_learned_end(persona_learned_t *learned, persona_learned_entry_t *entry, double at);
/** The target within [min, max]; `demand` is filled. */
int persona_learned_target(persona_learned_t *learned, persona_learned_entry_t *entry, int min, int max, double at,
                           persona_demand_t *demand);
/** The price that holds for `entry` now. */
double persona_learned_kappa(const persona_learned_t *learned, const persona_learned_entry_t *entry);

#endif

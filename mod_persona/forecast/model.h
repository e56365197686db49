/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file model.h
 * @brief The learned model: how many people will ask for a persona within its lead time.
 *
 * A site holds one model per persona and what they share. Each model walks a grid of short steps and looks at
 * events in between: seasonal profiles, levels of demand over seconds to days against what the profiles expected,
 * the people who come back and the sessions that run and end, what the other personas see. A Poisson regression
 * stacks them; tail.h learns the rest of the distribution. Nothing here depends on prices: plan.h does.
 *
 * Time is seconds since the epoch as double. Events come in order; a moment before the last step counts as it.
 */
#ifndef PERSONA_FORECAST_MODEL_H
#define PERSONA_FORECAST_MODEL_H

#include "forecast/glm.h"
#include "forecast/profile.h"
#include "forecast/tail.h"

#define PERSONA_MODEL_STEP 30
#define PERSONA_MODEL_LEVELS 8
#define PERSONA_MODEL_SITE_LEVELS 3
#define PERSONA_MODEL_RECENCY 4
#define PERSONA_MODEL_ENDS 3
#define PERSONA_MODEL_USERS 512
#define PERSONA_MODEL_RING 64

typedef struct persona_model_user_t {
    apr_uint32_t hash;   /**< 0: free */
    float last;          /**< seconds since the model's origin */
} persona_model_user_t;

/** What was expected at a step of the grid, and the target that was in force. */
typedef struct persona_moment_t {
    float mean, spread;
    apr_int32_t regime, target;
    apr_uint32_t arrivals;   /**< until then */
} persona_moment_t;

typedef struct persona_model_t {
    apr_int64_t origin, step;           /**< first and last step of the grid, in steps since the epoch */
    double now;                         /**< last step or event */
    double lead;                        /**< seconds */
    double offset;                      /**< local clock minus UTC */
    double last_arrival;
    double total, grown;                /**< arrivals, and at the last time a young model learned between days */
    apr_int32_t active, ends_known;     /**< running sessions, and whether anybody tells of their end */
    persona_profile_t profile;
    float seen[PERSONA_MODEL_LEVELS], expected[PERSONA_MODEL_LEVELS];
    float recency[PERSONA_MODEL_RECENCY];
    float ends[PERSONA_MODEL_ENDS];
    persona_model_user_t users[PERSONA_MODEL_USERS];
    persona_glm_t glm;
    persona_tail_t tail;
    persona_tail_view_t view;
    float sample[PERSONA_GLM_MAX];      /**< features at the begin of the window that is being watched */
    float sample_mean;
    apr_int32_t sample_regime, sample_count, sample_steps; /**< sample_steps < 0: none yet */
    persona_moment_t ring[PERSONA_MODEL_RING];
    apr_uint32_t ring_at, arrivals;
    apr_int32_t target;                 /**< now in force */
    apr_int32_t rate_known;             /**< nothing has happened since `rate` was computed at the last step */
    double rate;                        /**< arrivals a minute */
    apr_int64_t like_day;               /**< local day which, as the next one, may be like another weekday */
    apr_int32_t like[2];                /**< as which, 0 is Sunday; < 0: as itself; only with a like_day */
} persona_model_t;

typedef struct persona_model_site_t {
    apr_int64_t step;
    float seen[PERSONA_MODEL_SITE_LEVELS], expected[PERSONA_MODEL_SITE_LEVELS];
    persona_tail_t tail;
    persona_glm_t glm;                  /**< of all personas together: where each one's own is pulled to */
    apr_int64_t origin;                 /**< first step; 0: none yet */
    float fade_level[PERSONA_MODEL_LEVELS], fade_site[PERSONA_MODEL_SITE_LEVELS];
    float fade_recency[PERSONA_MODEL_RECENCY], fade_ends[PERSONA_MODEL_ENDS];
} persona_model_site_t;

/** The outcome of one arrival. */
typedef struct persona_verdict_t {
    double price;        /**< kappa at which it would just have been served; < 0: not known yet */
    int served;          /**< by the target that was in force when its instance had to be begun */
} persona_verdict_t;

void persona_model_site_begin(persona_model_site_t *site);
/** `shape`: the administrator's low, medium, high as factors around 1; NULL: flat. `offset`: local clock - UTC. */
void persona_model_begin(persona_model_t *model, const float shape[7][24], double offset, double lead, double at);
/** All fields but the view and what is of the current window have been filled in from a saved state. */
void persona_model_restored(persona_model_t *model, const persona_model_site_t *site);
/** Walk the grid up to `at`. A gap of a quarter hour or more was not watched: nothing is learned from it. */
void persona_model_advance(persona_model_t *model, persona_model_site_t *site, double at);
/** `user`: hash of the name, 0: unknown. `verdict` may be NULL. */
void persona_model_arrival(persona_model_t *model, persona_model_site_t *site, apr_uint32_t user, double at,
                           persona_verdict_t *verdict);
/** Somebody came who was announced: a session begins, and nothing is learned from it. */
void persona_model_announced(persona_model_t *model, persona_model_site_t *site, double at);
/** Local `day` (since 1970-01-01) and the next one are like these weekdays (0 is Sunday; < 0: like themselves). */
void persona_model_like(persona_model_t *model, apr_int64_t day, int today, int tomorrow);
/** A session ended. */
void persona_model_end(persona_model_t *model, persona_model_site_t *site, double at);
/** What is expected within the lead time from the last event or step on. `demand` points into the model. */
void persona_model_demand(const persona_model_t *model, const persona_model_site_t *site,
                          persona_demand_t *demand);
/** Why the rate is what it is: the season's, and by what it is multiplied. The product of all is the rate. */
typedef struct persona_model_parts_t {
    double season;       /**< arrivals a minute that hour and day lead to expect */
    double lately;       /**< for how much more or less came within seconds to days */
    double people;       /**< for who came before, whose sessions run, and whose ended */
    double others;       /**< for what the site's other personas see */
} persona_model_parts_t;
void persona_model_explain(const persona_model_t *model, const persona_model_site_t *site,
                           persona_model_parts_t *parts);
/** Go to `at` in the future as if arrivals came as the season says. For a copy that is thrown away. */
void persona_model_ahead(persona_model_t *model, persona_model_site_t *site, double at);
/** The target now in force. */
void persona_model_target(persona_model_t *model, int target);

#endif

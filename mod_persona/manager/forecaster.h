/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file forecaster.h
 * @brief What the manager tells the forecast, what it asks of it, and how what was learned outlives the manager.
 *
 * By PersonaForecast: `off` knows the pattern of the persona files alone; `on` asks the learned model; `shadow` teaches
 * the model and asks the pattern. The model learns from what goes through this manager. Where it rules and has done
 * worse than a buffer, the buffer is asked (forecast/feedback.h).
 */
#ifndef PERSONA_MANAGER_FORECASTER_H
#define PERSONA_MANAGER_FORECASTER_H

#include "state.h"

/** Make m->pattern and m->model, and read what was learned. A state that cannot be read is logged and begun anew. */
apr_status_t persona_forecaster_open(persona_manager_t *m, apr_pool_t *p);
/** With the lock, from any thread: somebody asked for this persona; a session of it ended. */
void persona_forecaster_arrived(persona_manager_t *m, const char *persona_id, const char *user, const char *role);
void persona_forecaster_ended(persona_manager_t *m, const char *persona_id);
/** By the ticking thread, without the lock, as are the next two: pass on what was noted since. */
void persona_forecaster_feed(persona_manager_t *m, apr_pool_t *p);
/** The target that rules now; `model` is what the model says (reason "": there is none). */
void persona_forecaster_target(persona_manager_t *m, const persona_t *persona, persona_target_t *target,
                               persona_target_t *model);
/** What the first `n` instances of the pool are worth, by whoever's target rules. */
void persona_forecaster_worth(persona_manager_t *m, const persona_t *persona, int n, double *worth);
/** Read PersonaEventFile if it has changed. One that is wrong is told, and leaves in force what was. */
void persona_forecaster_dates(persona_manager_t *m);
/** By any thread, without the lock: why the model's target for `at`, now or later, is what it is. APR_ENOTIMPL: there
 * is no model. */
apr_status_t persona_forecaster_explain(persona_manager_t *m, const persona_t *persona, apr_time_t at,
                                        persona_explanation_t *explanation, apr_pool_t *p);
/** Keep what was learned; at most once in ten minutes unless `now`. */
void persona_forecaster_save(persona_manager_t *m, int now, apr_pool_t *p);

#endif

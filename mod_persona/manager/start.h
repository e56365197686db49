/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file start.h
 * @brief Make a manager, and one round of its tick: what persona_manager_main() and the unit tests share.
 */
#ifndef PERSONA_MANAGER_START_H
#define PERSONA_MANAGER_START_H

#include "state.h"

/** A manager with its computes open and its catalog read; no thread exists yet. `store` is borrowed. `threads` 0: jobs
 * run at once in the thread that gives them (tests). */
apr_status_t persona_manager_create(persona_manager_t **manager, const persona_settings_t *settings,
                                    persona_store_t *store, int threads, apr_pool_t *p);
/** One round: catalog, sessions, plan, retirements. `full`: with the forecast. By one thread. */
void persona_manager_tick(persona_manager_t *m, int full, apr_pool_t *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file plan.h
 * @brief From targets and waiting people to instances made, published and trimmed.
 */
#ifndef PERSONA_MANAGER_PLAN_H
#define PERSONA_MANAGER_PLAN_H

#include "state.h"

/** The site's own round: who plans for which persona, who waits, what is published, made, trimmed. `full`: ask
 * the forecast too. By the ticking thread, without the lock. */
void persona_plan(persona_manager_t *m, const persona_catalog_t *catalog, int full, apr_pool_t *p);

#endif

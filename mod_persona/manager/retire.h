/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file retire.h
 * @brief The end of an instance, step by step, each of which may be repeated by whoever finds it undone.
 */
#ifndef PERSONA_MANAGER_RETIRE_H
#define PERSONA_MANAGER_RETIRE_H

#include "state.h"

/** With the lock: add a task for each retirement that can go on now. */
void persona_retire_due(persona_manager_t *m, persona_tasks_t *tasks);

#endif

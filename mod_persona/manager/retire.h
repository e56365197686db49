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

/** Remove the record of its session from the index and leave the reason there, unless the session is on another
 * instance by now. Anything but APR_SUCCESS: the index does not say whether it did. `e` is a copy, the caller does not
 * hold the lock. */
apr_status_t persona_retire_forget(persona_manager_t *m, const persona_entry_t *e, apr_pool_t *p);

/** Whether another manager ended the session of this instance: then it is retired here too, before the compute was
 * read again. 1: it did, 0: it did not, -1: the index does not say. Without the lock. */
int persona_retire_if_over(persona_manager_t *m, const char *uuid, apr_pool_t *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file boot.h
 * @brief From a planned instance to a ready one: create, probe, mark; and what a failure costs.
 */
#ifndef PERSONA_MANAGER_BOOT_H
#define PERSONA_MANAGER_BOOT_H

#include "state.h"

/** With the lock: a new instance of the persona in state creating, and the task that makes it. */
persona_entry_t *persona_boot_start(persona_manager_t *m, persona_site_t *site,
                                    const persona_t *persona, const char *reason,
                                    persona_tasks_t *tasks, apr_pool_t *p);
/** With the lock: what this boot took, for the stock; once. `fresh`: this manager saw it, so the model is told. */
void persona_boot_measured(persona_manager_t *m, persona_entry_t *e, apr_interval_time_t took, int fresh);
/** With the lock: a boot failed. The instance is retired and the persona's next boot waits a while. */
void persona_boot_failed(persona_manager_t *m, persona_entry_t *e, const char *reason);
/** With the lock: give the prober what is to be probed now: booting instances, and ready ones now and then. */
void persona_boot_probe(persona_manager_t *m, const persona_catalog_t *catalog);
/** persona_probe_cb: the prober has an answer. */
void persona_boot_probed(void *manager, const char *uuid, int answers, const char *problem);

#endif

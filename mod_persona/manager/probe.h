/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file probe.h
 * @brief Whether the stream of an instance answers: HTTP status, RFB banner, or TCP.
 *
 * One thread serves all probes without blocking. An instance may be hostile: what is read from it is at most
 * 1 KiB an attempt, an attempt ends after 2 s whatever it sends, and nothing of it is shown but printable text.
 */
#ifndef PERSONA_MANAGER_PROBE_H
#define PERSONA_MANAGER_PROBE_H

#include "persona.h"

typedef struct persona_prober_t persona_prober_t;

typedef struct persona_probe_t {
    char uuid[PERSONA_UUID_LEN];
    char address[64]; /**< numeric */
    int port;
    persona_ready_e kind;
    char path[256];               /**< HTTP */
    apr_interval_time_t patience; /**< attempts are repeated for so long, from the first one */
} persona_probe_t;

/** Called by the prober's thread; MUST NOT block. `problem` is "" when it answers. */
typedef void persona_probe_cb(void *baton, const char *uuid, int answers, const char *problem);

apr_status_t persona_prober_create(persona_prober_t **prober, persona_probe_cb *done, void *baton,
                                   apr_pool_t *p);
/** Begin; the probe is copied. Any thread, also with the manager's lock held. */
void persona_prober_add(persona_prober_t *prober, const persona_probe_t *probe);

#endif

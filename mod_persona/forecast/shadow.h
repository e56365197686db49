/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file shadow.h
 * @brief A pool that exists on paper: what a sequence of targets would have cost.
 *
 * The pool holds ready + creating = target at all times; a claim takes a ready instance (a hit), else the oldest
 * that is being created, else one made for it; creations take exactly the lead time. Lowering the target cancels
 * the youngest creations first, then retires ready instances. Idle time is that of ready instances, plus the
 * creation time of what was thrown away.
 */
#ifndef PERSONA_FORECAST_SHADOW_H
#define PERSONA_FORECAST_SHADOW_H

#include <apr_pools.h>

#define PERSONA_SHADOW_MAX 2048

typedef struct persona_shadow_t {
    double lead, last;
    int ready, target;
    int head, creating;          /**< ring of the moments at which creations finish */
    int ring_size;
    double *ring;
    double idle, waste;          /**< seconds */
    long claims, hits;
    double waited, longest;      /**< seconds, of those who found none ready: all together, and the longest */
} persona_shadow_t;

/** `ring` holds `ring_size` doubles and outlives the shadow pool. */
void persona_shadow_begin(persona_shadow_t *shadow, double lead, double at, double *ring, int ring_size);
/** Before its target is raised to `target`: a larger ring, of `p`, where it needs one. */
void persona_shadow_room(persona_shadow_t *shadow, int target, apr_pool_t *p);
void persona_shadow_advance(persona_shadow_t *shadow, double at);
void persona_shadow_target(persona_shadow_t *shadow, int target, double at);
/** A pool that nobody has watched for a while: all of `target` is ready. */
void persona_shadow_settle(persona_shadow_t *shadow, int target);
/** 1: hit. */
int persona_shadow_claim(persona_shadow_t *shadow, double at);

#endif

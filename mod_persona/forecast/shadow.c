/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shadow pools: a pool on paper. Invariant after each call: ready + creating == target, unless the ring is full.
 */
#include "forecast/shadow.h"

#include <string.h>

void persona_shadow_begin(persona_shadow_t *s, double lead, double at, double *ring, int ring_size)
{
    memset(s, 0, sizeof(*s));
    s->lead = lead;
    s->last = at;
    s->ring = ring;
    s->ring_size = ring_size;
}

void persona_shadow_advance(persona_shadow_t *s, double at)
{
    while (s->creating && s->ring[s->head] <= at) {
        double done = s->ring[s->head];

        s->head = s->head + 1 == s->ring_size ? 0 : s->head + 1;
        s->creating--;
        s->idle += s->ready * (done - s->last);
        s->last = done;
        s->ready++;
    }
    s->idle += s->ready * (at - s->last);
    s->last = at;
}

static void refill(persona_shadow_t *s, double at)
{
    while (s->ready + s->creating < s->target && s->creating < s->ring_size) {
        s->ring[(s->head + s->creating) % s->ring_size] = at + s->lead;
        s->creating++;
    }
}

void persona_shadow_target(persona_shadow_t *s, int target, double at)
{
    persona_shadow_advance(s, at);
    s->target = target;
    while (s->ready + s->creating > target && s->creating) {
        double spent = s->lead - (s->ring[(s->head + --s->creating) % s->ring_size] - at);

        s->waste += spent > 0 ? spent : 0;    /* less than nothing: the lead time has become shorter since */
    }
    while (s->ready > target) {
        s->ready--;
        s->waste += s->lead;
    }
    refill(s, at);
}

void persona_shadow_room(persona_shadow_t *s, int target, apr_pool_t *p)
{
    int size = s->ring_size ? s->ring_size : 8, k;
    double *ring;

    if (target <= s->ring_size) {
        return;
    }
    while (size < target) {
        size *= 2;
    }
    ring = apr_palloc(p, (apr_size_t)size * sizeof(*ring));
    for (k = 0; k < s->creating; k++) {
        ring[k] = s->ring[(s->head + k) % s->ring_size];
    }
    s->ring = ring;
    s->ring_size = size;
    s->head = 0;
}

void persona_shadow_settle(persona_shadow_t *s, int target)
{
    s->target = s->ready = target;
    s->creating = 0;
}

int persona_shadow_claim(persona_shadow_t *s, double at)
{
    double wait = s->lead;
    int hit;

    persona_shadow_advance(s, at);
    s->claims++;
    hit = s->ready > 0;
    if (hit) {
        s->ready--;
        s->hits++;
    }
    else if (s->creating) {
        wait = s->ring[s->head] - at;
        s->head = s->head + 1 == s->ring_size ? 0 : s->head + 1;
        s->creating--;
    }
    if (!hit) {
        s->waited += wait;
        s->longest = wait > s->longest ? wait : s->longest;
    }
    refill(s, at);
    return hit;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The replay. Everything lives in the pool of the backtest; ends of sessions wait in a heap.
 */
#include "forecast/backtest.h"

#include <apr_tables.h>
#include <math.h>

/* After an event, its effect is told so much later. */
#define AFTER .001

typedef struct place_t {
    persona_learned_entry_t *entry;
    persona_shadow_t shadow;
    int target;
} place_t;

typedef struct end_t {
    double at;
    place_t *place;
} end_t;

struct persona_backtest_t {
    apr_pool_t *p;
    persona_learned_t *learned;
    double lead, now, next_tick;
    persona_backtest_target_cb *told;
    void *baton;
    apr_hash_t *by_id;
    apr_array_header_t *places;   /* of place_t *, in order of appearance */
    apr_array_header_t *ends;     /* of end_t, a heap */
};

persona_backtest_t *persona_backtest_create(double lead, double kappa, double hit_rate,
                                            persona_backtest_target_cb *told, void *baton, apr_pool_t *p)
{
    persona_backtest_t *b = apr_pcalloc(p, sizeof(*b));

    b->p = p;
    b->learned = persona_learned_create(p);
    b->learned->kappa = kappa;
    if (kappa <= 0) {
        b->learned->hit_rate = hit_rate;
        persona_control_begin(&b->learned->control, hit_rate);
    }
    b->lead = lead;
    b->told = told;
    b->baton = baton;
    b->by_id = apr_hash_make(p);
    b->places = apr_array_make(p, 16, sizeof(place_t *));
    b->ends = apr_array_make(p, 1024, sizeof(end_t));
    return b;
}

static void push_end(persona_backtest_t *b, double at, place_t *place)
{
    end_t *heap;
    int k;

    APR_ARRAY_PUSH(b->ends, end_t) = (end_t){at, place};
    heap = (end_t *)b->ends->elts;
    for (k = b->ends->nelts - 1; k && heap[(k - 1) / 2].at > at; k = (k - 1) / 2) {
        heap[k] = heap[(k - 1) / 2];
    }
    heap[k] = (end_t){at, place};
}

static end_t pop_end(persona_backtest_t *b)
{
    end_t *heap = (end_t *)b->ends->elts, first = heap[0], last = heap[--b->ends->nelts];
    int n = b->ends->nelts, k = 0, child;

    while ((child = 2 * k + 1) < n) {
        child += child + 1 < n && heap[child + 1].at < heap[child].at;
        if (heap[child].at >= last.at) {
            break;
        }
        heap[k] = heap[child];
        k = child;
    }
    heap[k] = last;
    return first;
}

static void decide(persona_backtest_t *b, place_t *place, double at)
{
    persona_demand_t demand;
    int target = persona_learned_target(b->learned, place->entry, 0, PERSONA_PLAN_MAX, at, &demand);

    if (target != place->target) {
        place->target = target;
        persona_shadow_target(&place->shadow, target, at);
        if (b->told) {
            b->told(b->baton, at, place->entry->id, target);
        }
    }
}

void persona_backtest_run(persona_backtest_t *b, double at)
{
    int k;

    for (;;) {
        int ends = b->ends->nelts > 0 && APR_ARRAY_IDX(b->ends, 0, end_t).at < b->next_tick;

        if ((ends ? APR_ARRAY_IDX(b->ends, 0, end_t).at : b->next_tick) > at) {
            break;
        }
        if (ends) {
            end_t end = pop_end(b);

            persona_learned_end(b->learned, end.place->entry, end.at);
            continue;
        }
        for (k = 0; k < b->places->nelts; k++) {
            decide(b, APR_ARRAY_IDX(b->places, k, place_t *), b->next_tick);
        }
        b->next_tick += PERSONA_MODEL_STEP;
    }
    b->now = at;
}

static place_t *place_of(persona_backtest_t *b, const char *persona, double at)
{
    place_t *place = apr_hash_get(b->by_id, persona, APR_HASH_KEY_STRING);

    if (!place) {
        place = apr_pcalloc(b->p, sizeof(*place));
        place->entry = persona_learned_entry(b->learned, persona, at);
        place->entry->model.lead = b->lead;
        persona_shadow_begin(&place->shadow, b->lead, at, apr_palloc(b->p, PERSONA_SHADOW_MAX * sizeof(double)),
                             PERSONA_SHADOW_MAX);
        APR_ARRAY_PUSH(b->places, place_t *) = place;
        apr_hash_set(b->by_id, place->entry->id, APR_HASH_KEY_STRING, place);
    }
    return place;
}

apr_status_t persona_backtest_event(persona_backtest_t *b, double at, const char *persona, const char *user,
                                    double duration)
{
    place_t *place;

    if (at < b->now) {
        return APR_EINVAL;
    }
    if (b->next_tick <= 0) {
        b->next_tick = (floor(at / PERSONA_MODEL_STEP) + 1) * PERSONA_MODEL_STEP;
    }
    persona_backtest_run(b, at);
    place = place_of(b, persona, at);
    persona_shadow_claim(&place->shadow, at);
    persona_learned_arrival(b->learned, place->entry, persona_learned_user(user), at);
    if (duration > 0) {
        push_end(b, at + duration, place);
    }
    decide(b, place, at + AFTER);
    return APR_SUCCESS;
}

void persona_backtest_sum(persona_backtest_t *b, persona_backtest_sum_t *sum)
{
    int k;

    *sum = (persona_backtest_sum_t){0, 0, 0};
    for (k = 0; k < b->places->nelts; k++) {
        persona_shadow_t *shadow = &APR_ARRAY_IDX(b->places, k, place_t *)->shadow;

        persona_shadow_advance(shadow, b->now);
        sum->claims += shadow->claims;
        sum->hits += shadow->hits;
        sum->idle += shadow->idle + shadow->waste;
    }
}

void persona_backtest_count(persona_backtest_t *b)
{
    int k;

    for (k = 0; k < b->places->nelts; k++) {
        persona_shadow_t *shadow = &APR_ARRAY_IDX(b->places, k, place_t *)->shadow;

        persona_shadow_advance(shadow, b->now);
        shadow->claims = shadow->hits = 0;
        shadow->idle = shadow->waste = 0;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The replay. Everything lives in the pool of the backtest; ends of sessions wait in a heap.
 */
#include "forecast/backtest.h"

#include <apr_tables.h>
#include <math.h>
#include <string.h>

/* After an event, its effect is told so much later. */
#define AFTER .001
#define QUARTER 900.0
/* A price of a wait in seconds of idling is looked for between 1 and 2 to the power of this, in so many halvings. */
#define PRICE_OCTAVES 40.0
#define PRICE_ROUNDS 16

typedef struct place_t {
    persona_learned_entry_t *entry;
    persona_shadow_t shadow;
    int target;
    /* only where it is compared */
    persona_rivals_t *rivals;
    persona_backtest_quarter_t *quarter;  /* ring */
    apr_array_header_t *days;             /* of persona_backtest_day_t; the last one is today */
    double idle_before;                   /* of the days before today */
} place_t;

typedef struct end_t {
    double at;
    place_t *place;
    int known;        /* to the model too: else nobody has told the length */
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
    int compare;
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

static void push_end(persona_backtest_t *b, double at, place_t *place, int known)
{
    end_t *heap;
    int k;

    APR_ARRAY_PUSH(b->ends, end_t) = (end_t){at, place, known};
    heap = (end_t *)b->ends->elts;
    for (k = b->ends->nelts - 1; k && heap[(k - 1) / 2].at > at; k = (k - 1) / 2) {
        heap[k] = heap[(k - 1) / 2];
    }
    heap[k] = (end_t){at, place, known};
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

/* The forecast of the quarter hour that begins, and the pool as it is. */
static void begin_quarter(persona_backtest_t *b, place_t *place, const persona_demand_t *demand, double at)
{
    static const double edges[] = {.05, .95};
    persona_backtest_quarter_t *q = &place->quarter[(apr_int64_t)(at / QUARTER) % PERSONA_BACKTEST_QUARTERS];
    double mean = demand->mean * QUARTER / b->lead;
    int level[2];

    persona_tail_levels(mean, demand->spread, edges, 2, level);
    persona_shadow_advance(&place->shadow, at);
    *q = (persona_backtest_quarter_t){at, (float)level[0], (float)mean, (float)level[1], place->target,
                                      place->shadow.ready, 0, 0};
}

/* The day of `at` is today from now on. */
static persona_backtest_day_t *today(place_t *place, double at)
{
    double day = floor(at / 86400) * 86400, idle;
    persona_backtest_day_t *last = place->days->nelts
                                       ? &APR_ARRAY_IDX(place->days, place->days->nelts - 1, persona_backtest_day_t)
                                       : NULL;

    if (last && last->at >= day) {
        return last;
    }
    if (last) {
        persona_shadow_advance(&place->shadow, day);
        idle = place->shadow.idle + place->shadow.waste;
        last->idle = idle - place->idle_before;
        place->idle_before = idle;
    }
    last = apr_array_push(place->days);
    *last = (persona_backtest_day_t){day, 0, 0, 0};
    return last;
}

/* An arrival at `at`, which found an instance or did not. */
static void keep(place_t *place, double at, int hit)
{
    persona_backtest_quarter_t *q = &place->quarter[(apr_int64_t)(at / QUARTER) % PERSONA_BACKTEST_QUARTERS];
    persona_backtest_day_t *day = today(place, at);

    if (q->at > at - QUARTER) {
        q->arrivals++;
        q->misses += !hit;
    }
    day->arrivals++;
    day->misses += !hit;
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
    if (b->compare && fmod(at, QUARTER) == 0) {
        begin_quarter(b, place, &demand, at);
    }
}

static void end_session(persona_backtest_t *b, const end_t *end)
{
    if (end->known) {
        persona_learned_end(b->learned, end->place->entry, end->at);
    }
    if (b->compare) {
        persona_rivals_end(end->place->rivals, end->at);
    }
}

static void tick(persona_backtest_t *b, double at)
{
    int k;

    for (k = 0; k < b->places->nelts; k++) {
        place_t *place = APR_ARRAY_IDX(b->places, k, place_t *);

        decide(b, place, at);
        if (b->compare && fmod(at, PERSONA_RIVAL_TICK) == 0) {
            today(place, at);
            persona_rivals_tick(place->rivals, at);
        }
    }
}

void persona_backtest_run(persona_backtest_t *b, double at)
{
    for (;;) {
        int ends = b->ends->nelts > 0 && APR_ARRAY_IDX(b->ends, 0, end_t).at < b->next_tick;

        if ((ends ? APR_ARRAY_IDX(b->ends, 0, end_t).at : b->next_tick) > at) {
            break;
        }
        if (ends) {
            end_t end = pop_end(b);

            end_session(b, &end);
            continue;
        }
        tick(b, b->next_tick);
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
        if (b->compare) {
            place->rivals = persona_rivals_create(b->lead, at, b->p);
            place->quarter = apr_pcalloc(b->p, PERSONA_BACKTEST_QUARTERS * sizeof(*place->quarter));
            place->days = apr_array_make(b->p, 64, sizeof(persona_backtest_day_t));
        }
        APR_ARRAY_PUSH(b->places, place_t *) = place;
        apr_hash_set(b->by_id, place->entry->id, APR_HASH_KEY_STRING, place);
    }
    return place;
}

apr_status_t persona_backtest_event(persona_backtest_t *b, double at, const char *persona, const char *user,
                                    double duration)
{
    place_t *place;
    int hit;

    if (at < b->now) {
        return APR_EINVAL;
    }
    if (b->next_tick <= 0) {
        b->next_tick = (floor(at / PERSONA_MODEL_STEP) + 1) * PERSONA_MODEL_STEP;
    }
    persona_backtest_run(b, at);
    place = place_of(b, persona, at);
    hit = persona_shadow_claim(&place->shadow, at);
    if (b->compare) {
        keep(place, at, hit);
        persona_rivals_arrival(place->rivals, at);
    }
    persona_learned_arrival(b->learned, place->entry, persona_learned_user(user), at);
    if (duration > 0 || b->compare) {
        push_end(b, at + (duration > 0 ? duration : PERSONA_RIVAL_SESSION), place, duration > 0);
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

void persona_backtest_compare(persona_backtest_t *b)
{
    b->compare = 1;
}

double persona_backtest_price(const persona_backtest_t *b)
{
    double kappa = b->learned->kappa > 0 ? b->learned->kappa : b->learned->control.kappa;

    return b->lead / kappa;
}

static void add_outcome(persona_outcome_t *sum, const persona_outcome_t *one)
{
    sum->claims += one->claims;
    sum->hits += one->hits;
    sum->idle += one->idle;
    sum->waited += one->waited;
    sum->longest = one->longest > sum->longest ? one->longest : sum->longest;
}

void persona_backtest_model(persona_backtest_t *b, int k, persona_outcome_t *outcome)
{
    persona_outcome_t one;
    persona_shadow_t *s;

    memset(outcome, 0, sizeof(*outcome));
    if (k < 0) {
        for (k = 0; k < b->places->nelts; k++) {
            persona_backtest_model(b, k, &one);
            add_outcome(outcome, &one);
        }
        return;
    }
    s = &APR_ARRAY_IDX(b->places, k, place_t *)->shadow;
    persona_shadow_advance(s, b->now);
    outcome->claims = s->claims;
    outcome->hits = s->hits;
    outcome->idle = s->idle + s->waste;
    outcome->waited = s->waited;
    outcome->longest = s->longest;
}

/* Rivals of one kind at one price; `k` < 0: all personas. */
static void rival_at(persona_backtest_t *b, int k, persona_rival_e kind, double price, persona_outcome_t *outcome)
{
    persona_outcome_t one;

    memset(outcome, 0, sizeof(*outcome));
    if (k >= 0) {
        persona_rivals_best(APR_ARRAY_IDX(b->places, k, place_t *)->rivals, kind, price, b->now, outcome);
        return;
    }
    for (k = 0; k < b->places->nelts; k++) {
        persona_rivals_best(APR_ARRAY_IDX(b->places, k, place_t *)->rivals, kind, price, b->now, &one);
        add_outcome(outcome, &one);
    }
}

void persona_backtest_rival(persona_backtest_t *b, int k, persona_rival_e kind, double price, double hit_rate,
                            persona_outcome_t *outcome)
{
    double low = 0, high = PRICE_OCTAVES;
    int round;

    if (price > 0) {
        rival_at(b, k, kind, price, outcome);
        return;
    }
    for (round = 0; round < PRICE_ROUNDS; round++) {
        double middle = (low + high) / 2;

        rival_at(b, k, kind, exp2(middle), outcome);
        if ((double)outcome->hits >= hit_rate * (double)outcome->claims) {
            high = middle;
        }
        else {
            low = middle;
        }
    }
    rival_at(b, k, kind, exp2(high), outcome);
}

int persona_backtest_personas(const persona_backtest_t *b)
{
    return b->places->nelts;
}

void persona_backtest_series(const persona_backtest_t *b, int k, persona_backtest_series_t *series)
{
    const place_t *place = APR_ARRAY_IDX(b->places, k, place_t *);
    apr_int64_t now = (apr_int64_t)floor(b->now / QUARTER), q;

    series->id = place->entry->id;
    series->days = place->days;
    series->quarters = 0;
    for (q = now - PERSONA_BACKTEST_QUARTERS + 1; q <= now; q++) {
        const persona_backtest_quarter_t *quarter = &place->quarter[q % PERSONA_BACKTEST_QUARTERS];

        if (quarter->at == (double)q * QUARTER) {
            series->quarter[series->quarters++] = *quarter;
        }
    }
}

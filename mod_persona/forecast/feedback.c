/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scores. The state is part of the persona's entry and is used by the thread that owns the forecast.
 */
#include "forecast/feedback.h"

#include <math.h>
#include <string.h>

#include "forecast/plan.h"

#define SIZES PERSONA_FEEDBACK_SIZES
#define BUCKETS PERSONA_FEEDBACK_BUCKETS
/* A longer silence was not watched, as in model.c. */
#define UNWATCHED 900.0
/* How often size and verdict are looked at, in seconds, and the half-life of what sizes cost, in days. */
#define DECIDE_EVERY 3600.0
#define HALF_TRIED 7.0
/* The verdict. */
#define TOO_DEAR 1.05
#define CLAIMS_LEAST 100
#define WINDOW_LEAST 30.0

static const int sizes[SIZES] = {0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144};
#define SIZE_START 1

static int within(int n, int min, int max)
{
    return n > max ? max : n < min ? min : n;
}

/* ---- the forecast's distribution ---- */

typedef struct judgement_t {
    double pinball, log;
    int covered;
} judgement_t;

/* How a negative binomial (spread 0: Poisson) with this mean foretold `n`. */
static void judge(double mean, double spread, int n, judgement_t *j)
{
    static const double quantile[] = {.05, .5, .9, .95, .99};
    static const int pinball[] = {1, 2, 4};
    int level[5], q;

    persona_tail_levels(mean, spread, quantile, 5, level);
    j->log = persona_tail_surprise(mean, spread, n);
    j->covered = n >= level[0] && n <= level[3];
    j->pinball = 0;
    for (q = 0; q < 3; q++) {
        double share = quantile[pinball[q]], miss = n - level[pinball[q]];

        j->pinball += (miss > 0 ? share * miss : (share - 1) * miss) / 3;
    }
}

/* ---- buckets ---- */

static persona_scores_t *bucket_of(persona_feedback_t *f, double at)
{
    apr_int64_t now = (apr_int64_t)floor(at / PERSONA_FEEDBACK_BUCKET), k;

    if (now > f->bucket_at) {
        k = now - f->bucket_at > BUCKETS ? now - BUCKETS : f->bucket_at;
        while (k < now) {
            memset(&f->bucket[++k % BUCKETS], 0, sizeof(f->bucket[0]));
        }
        f->bucket_at = now;
    }
    return &f->bucket[f->bucket_at % BUCKETS];
}

static void add_pool(persona_pool_score_t *to, const persona_pool_score_t *from)
{
    to->hits += from->hits;
    to->idle += from->idle;
    to->cost += from->cost;
}

void persona_feedback_sum(const persona_feedback_t *f, double at, persona_scores_t *sum)
{
    apr_int64_t now = (apr_int64_t)floor(at / PERSONA_FEEDBACK_BUCKET), k;
    int i;

    memset(sum, 0, sizeof(*sum));
    for (k = now - BUCKETS + 1; k <= f->bucket_at; k++) {
        const persona_scores_t *b = &f->bucket[k % BUCKETS];

        sum->windows += b->windows;
        sum->seen += b->seen;
        sum->claims += b->claims;
        for (i = 0; i < PERSONA_FORECASTS; i++) {
            sum->forecast[i].expected += b->forecast[i].expected;
            sum->forecast[i].covered += b->forecast[i].covered;
            sum->forecast[i].pinball += b->forecast[i].pinball;
            sum->forecast[i].log += b->forecast[i].log;
        }
        for (i = 0; i < PERSONA_POOLS; i++) {
            add_pool(&sum->pool[i], &b->pool[i]);
        }
    }
}

int persona_feedback_rule(const persona_scores_t *sum)
{
    return sum->claims >= CLAIMS_LEAST
           && sum->pool[PERSONA_POOL_MODEL].cost > TOO_DEAR * sum->pool[PERSONA_POOL_BUFFER].cost;
}

/* ---- pools ---- */

static void set_target(persona_shadow_t *s, int target, double lead, double at, apr_pool_t *p)
{
    s->lead = lead;
    if (target != s->target) {
        persona_shadow_room(s, target, p);
        persona_shadow_target(s, target, at);
    }
}

static void begin_pool(persona_shadow_t *s, int target, double lead, double at, apr_pool_t *p)
{
    persona_shadow_room(s, target, p);
    persona_shadow_begin(s, lead, at, s->ring, s->ring_size);
    persona_shadow_settle(s, target);
}

/* Pools that were never made, or not watched for a while, are full. */
static void begin_pools(persona_feedback_t *f, const persona_feedback_now_t *now, double at, apr_pool_t *p)
{
    int k;

    for (k = 0; k < PERSONA_POOLS; k++) {
        f->target[k] = within(f->target[k], now->min, now->max);
        begin_pool(&f->pool[k], f->target[k], now->lead, at, p);
    }
    for (k = 0; k < SIZES; k++) {
        begin_pool(&f->sized[k], within(sizes[k], now->min, now->max), now->lead, at, p);
    }
    f->until = 0;
}

/* What a pool has idled since the last time, in seconds. */
static double take_idle(persona_shadow_t *s, double at)
{
    double idle;

    persona_shadow_advance(s, at);
    idle = s->idle + s->waste;
    s->idle = s->waste = 0;
    return idle;
}

static void account(persona_feedback_t *f, double at)
{
    persona_scores_t *b = bucket_of(f, f->last);
    int k;

    for (k = 0; k < PERSONA_POOLS; k++) {
        double idle = take_idle(&f->pool[k], at);

        b->pool[k].idle += (float)idle;
        b->pool[k].cost += (float)idle;
    }
    for (k = 0; k < SIZES; k++) {
        f->tried[k] += (float)take_idle(&f->sized[k], at);
    }
    f->last = at;
}

static void decide(persona_feedback_t *f, double at)
{
    float keep = (float)exp2(-(f->decided > 0 ? at - f->decided : 0) / 86400 / HALF_TRIED);
    persona_scores_t sum;
    int k, fallen;

    if (f->decided <= 0) {
        f->size = SIZE_START;
    }
    for (k = 0; k < SIZES; k++) {
        f->tried[k] *= keep;
        if (f->tried[k] < f->tried[f->size]) {
            f->size = k;
        }
    }
    persona_feedback_sum(f, at, &sum);
    fallen = persona_feedback_rule(&sum);
    if (fallen != f->fallen) {
        f->fallen = fallen;
        f->turned = at;
    }
    f->decided = at;
}

void persona_feedback_restored(persona_feedback_t *f)
{
    f->size = within(f->size, 0, SIZES - 1);
    f->bucket_at = f->bucket_at > 0 ? f->bucket_at : 0;
    f->past.bin = f->past.bin > 0 ? f->past.bin : 0;
    f->last = f->until = 0;
}

int persona_feedback_buffer(const persona_feedback_t *f, int min, int max)
{
    return within(sizes[f->size], min, max);
}

/* ---- */

static void score(persona_feedback_t *f, double at)
{
    persona_scores_t *b = bucket_of(f, at);
    const float mean[PERSONA_FORECASTS] = {f->mean, f->naive}, spread[PERSONA_FORECASTS] = {f->spread, 0};
    judgement_t j;
    int k;

    b->windows += 1;
    b->seen += (float)f->seen;
    for (k = 0; k < PERSONA_FORECASTS; k++) {
        judge(mean[k], spread[k], f->seen, &j);
        b->forecast[k].expected += mean[k];
        b->forecast[k].covered += (float)j.covered;
        b->forecast[k].pinball += (float)j.pinball;
        b->forecast[k].log += (float)j.log;
    }
}

static void begin_window(persona_feedback_t *f, const persona_feedback_now_t *now, double naive, double at)
{
    double length = now->lead > WINDOW_LEAST ? now->lead : WINDOW_LEAST;

    f->mean = (float)(now->demand->mean * length / now->lead);
    f->spread = (float)now->demand->spread;
    f->naive = (float)(naive * length / now->lead);
    f->seen = 0;
    f->until = at + length;
}

void persona_feedback_tick(persona_feedback_t *f, const persona_feedback_now_t *now, double at, apr_pool_t *p)
{
    persona_demand_t naive = {0, 0, 0, NULL};
    int k;

    persona_past_advance(&f->past, at);
    if (f->last <= 0 || at - f->last >= UNWATCHED) {
        begin_pools(f, now, at, p);
        f->last = at;
    }
    account(f, at);
    if (at - f->decided >= DECIDE_EVERY) {
        decide(f, at);
    }
    naive.mean = persona_past_expected(&f->past, at, now->lead, 7);
    persona_plan_size(&naive, &now->kappa, 1, &k);
    f->target[PERSONA_POOL_MODEL] = now->target;
    f->target[PERSONA_POOL_NAIVE] = within(k, now->min, now->max);
    f->target[PERSONA_POOL_BUFFER] = persona_feedback_buffer(f, now->min, now->max);
    for (k = 0; k < PERSONA_POOLS; k++) {
        set_target(&f->pool[k], f->target[k], now->lead, at, p);
    }
    for (k = 0; k < SIZES; k++) {
        set_target(&f->sized[k], within(sizes[k], now->min, now->max), now->lead, at, p);
    }
    if (f->until > 0 && at >= f->until) {
        score(f, at);
        f->until = 0;
    }
    if (f->until <= 0) {
        begin_window(f, now, naive.mean, at);
    }
}

void persona_feedback_arrival(persona_feedback_t *f, double price, int surprise, double at)
{
    persona_scores_t *b;
    int k;

    persona_past_arrival(&f->past, at);
    if (f->last <= 0 || at - f->last >= UNWATCHED) {
        return;
    }
    at = at > f->last ? at : f->last;
    account(f, at);
    b = bucket_of(f, at);
    b->claims += 1;
    for (k = 0; k < PERSONA_POOLS; k++) {
        int hit = persona_shadow_claim(&f->pool[k], at);

        b->pool[k].hits += (float)hit;
        b->pool[k].cost += hit ? 0 : (float)price;
    }
    for (k = 0; k < SIZES; k++) {
        f->tried[k] += persona_shadow_claim(&f->sized[k], at) ? 0 : (float)price;
    }
    f->seen += surprise && (f->until <= 0 || at < f->until);
}

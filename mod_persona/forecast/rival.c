/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products on paper. A rival is a shadow pool and three numbers that say how its target is made.
 */
#include "forecast/rival.h"

#include <apr_strings.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "forecast/past.h"
#include "forecast/shadow.h"

#define MINUTES 64
#define SCHEDULE_HOURS 10

typedef struct rival_t {
    persona_shadow_t pool;
    short kind, a, b, c, d;
} rival_t;

struct persona_rivals_t {
    apr_pool_t *p;
    double lead;
    rival_t *rival;
    int count, first[PERSONA_RIVALS + 1];
    persona_past_t past;
    int minute[MINUTES];        /* arrivals by minute */
    apr_int64_t now_minute;
    int active, hour;           /* sessions that run; hour since the epoch of the last schedule */
};

static const short statics[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,   9,   10,  12,
                                14, 17, 20, 25, 30, 40, 50, 70, 100, 140, 200, 300};
static const short schedule_high[] = {1, 2, 3, 5, 9, 16, 28, 50};
static const short shares[] = {0, 5, 10, 20, 30, 50};
static const short buffers[] = {0, 1, 2, 4, 9};
static const short windows[] = {5, 15, 60};
static const short deviations[] = {0, 1, 2, 3, 4};
static const short more[] = {0, 1, 2, 4};
#define EACH(k, list) for (k = 0; k < (int)(sizeof(list) / sizeof((list)[0])); k++)

static void add(persona_rivals_t *r, int kind, int a, int b, int c, int d)
{
    if (r->rival) {
        rival_t *rival = &r->rival[r->count];

        rival->kind = (short)kind;
        rival->a = (short)a;
        rival->b = (short)b;
        rival->c = (short)c;
        rival->d = (short)d;
    }
    r->count++;
}

/* Counts them all, and where there is room for them, makes them. */
static void add_all(persona_rivals_t *r)
{
    int i, j, k, days;

    r->count = r->first[PERSONA_RIVAL_STATIC] = 0;
    EACH(i, statics) {
        add(r, PERSONA_RIVAL_STATIC, statics[i], 0, 0, 0);
    }
    r->first[PERSONA_RIVAL_SCHEDULE] = r->count;
    for (days = 5; days <= 7; days += 2) {
        for (i = 0; i < 24; i += 2) {
            EACH(j, schedule_high) {
                add(r, PERSONA_RIVAL_SCHEDULE, i, schedule_high[j], 0, days);
                if (schedule_high[j] > 1) {
                    add(r, PERSONA_RIVAL_SCHEDULE, i, schedule_high[j], 1, days);
                }
                if (schedule_high[j] > 7) {
                    add(r, PERSONA_RIVAL_SCHEDULE, i, schedule_high[j], schedule_high[j] / 4, days);
                }
            }
        }
    }
    r->first[PERSONA_RIVAL_BUFFER] = r->count;
    EACH(i, shares) {
        EACH(j, buffers) {
            add(r, PERSONA_RIVAL_BUFFER, shares[i], buffers[j], 0, 0);
        }
    }
    for (k = PERSONA_RIVAL_REACTIVE; k <= PERSONA_RIVAL_NAIVE; k++) {
        r->first[k] = r->count;
        for (i = 0; i < (k == PERSONA_RIVAL_REACTIVE ? 3 : 2); i++) {
            EACH(j, deviations) {
                int n;

                EACH(n, more) {
                    add(r, k, k == PERSONA_RIVAL_REACTIVE ? windows[i] : 1 + 6 * i, deviations[j], more[n], 0);
                }
            }
        }
    }
    r->first[PERSONA_RIVALS] = r->count;
}

static int scheduled(const rival_t *rival, double at)
{
    apr_int64_t hours = (apr_int64_t)floor(at / 3600), day = hours / 24;
    int hour = (int)(hours % 24), weekday = (int)((day + 4) % 7);
    int into = (hour - rival->a + 24) % 24;

    /* Hours after midnight are of the day before. */
    if (hour < rival->a) {
        weekday = (weekday + 6) % 7;
    }
    return into < SCHEDULE_HOURS && (rival->d == 7 || (weekday >= 1 && weekday <= 5)) ? rival->b : rival->c;
}

static int recent(const persona_rivals_t *r, int minutes)
{
    int k, sum = 0;

    for (k = 0; k < minutes; k++) {
        sum += r->minute[(r->now_minute - k + MINUTES) % MINUTES];
    }
    return sum;
}

static int sized(double mean, const rival_t *rival)
{
    return (int)(floor(mean + rival->b * sqrt(mean) + .5) + rival->c);
}

static void follow(persona_rivals_t *r, rival_t *rival, int target, double at)
{
    if (target != rival->pool.target) {
        persona_shadow_room(&rival->pool, target, r->p);
        persona_shadow_target(&rival->pool, target, at);
    }
}

/* Those of `kind`, of which each makes its target by what is known at `at`. */
static void decide(persona_rivals_t *r, persona_rival_e kind, double at)
{
    double level[3] = {0};
    int k;

    for (k = 0; k < 3 && kind == PERSONA_RIVAL_REACTIVE; k++) {
        level[k] = recent(r, windows[k]) * r->lead / (60.0 * windows[k]);
    }
    for (k = 0; k < 2 && kind == PERSONA_RIVAL_NAIVE; k++) {
        level[k] = persona_past_expected(&r->past, at, r->lead, 1 + 6 * k);
    }
    for (k = r->first[kind]; k < r->first[kind + 1]; k++) {
        rival_t *rival = &r->rival[k];
        int target = rival->a;

        if (kind == PERSONA_RIVAL_SCHEDULE) {
            target = scheduled(rival, at);
        }
        else if (kind == PERSONA_RIVAL_BUFFER) {
            target = (r->active * rival->a + 99 - rival->a) / (100 - rival->a);
            target = target > rival->b ? target : rival->b;
        }
        else if (kind == PERSONA_RIVAL_REACTIVE) {
            target = sized(level[rival->a == windows[0] ? 0 : rival->a == windows[1] ? 1 : 2], rival);
        }
        else if (kind == PERSONA_RIVAL_NAIVE) {
            target = sized(level[rival->a == 7], rival);
        }
        follow(r, rival, target, at);
    }
}

persona_rivals_t *persona_rivals_create(double lead, double at, apr_pool_t *p)
{
    persona_rivals_t *r = apr_pcalloc(p, sizeof(*r));
    int k;

    r->p = p;
    r->lead = lead;
    add_all(r);
    r->rival = apr_pcalloc(p, (apr_size_t)r->count * sizeof(*r->rival));
    add_all(r);
    for (k = 0; k < r->count; k++) {
        persona_shadow_begin(&r->rival[k].pool, lead, at, NULL, 0);
    }
    persona_past_advance(&r->past, at);
    r->now_minute = (apr_int64_t)floor(at / 60);
    for (k = 0; k < PERSONA_RIVALS; k++) {
        decide(r, (persona_rival_e)k, at);
    }
    return r;
}

static void advance(persona_rivals_t *r, double at)
{
    apr_int64_t minute = (apr_int64_t)floor(at / 60);

    persona_past_advance(&r->past, at);
    if (minute - r->now_minute > MINUTES) {
        memset(r->minute, 0, sizeof(r->minute));
        r->now_minute = minute;
    }
    while (r->now_minute < minute) {
        r->minute[++r->now_minute % MINUTES] = 0;
    }
}

void persona_rivals_arrival(persona_rivals_t *r, double at)
{
    int k;

    advance(r, at);
    for (k = 0; k < r->count; k++) {
        persona_shadow_claim(&r->rival[k].pool, at);
    }
    persona_past_arrival(&r->past, at);
    r->minute[r->now_minute % MINUTES]++;
    r->active++;
    decide(r, PERSONA_RIVAL_BUFFER, at);
    decide(r, PERSONA_RIVAL_REACTIVE, at);
}

void persona_rivals_end(persona_rivals_t *r, double at)
{
    advance(r, at);
    r->active -= r->active > 0;
}

void persona_rivals_tick(persona_rivals_t *r, double at)
{
    int hour = (int)floor(at / 3600);

    advance(r, at);
    if (hour != r->hour) {
        r->hour = hour;
        decide(r, PERSONA_RIVAL_SCHEDULE, at);
    }
    decide(r, PERSONA_RIVAL_BUFFER, at);
    decide(r, PERSONA_RIVAL_REACTIVE, at);
    decide(r, PERSONA_RIVAL_NAIVE, at);
}

const char *persona_rival_name(persona_rival_e kind)
{
    static const char *const names[] = {"static", "schedule", "buffer", "reactive", "seasonal naive"};

    return names[kind];
}

static void describe(const rival_t *rival, char *text, apr_size_t size)
{
    switch (rival->kind) {
    case PERSONA_RIVAL_STATIC:
        snprintf(text, size, "%d", rival->a);
        break;
    case PERSONA_RIVAL_SCHEDULE:
        snprintf(text, size, "%d from %02d to %02d h UTC %s, else %d", rival->b, rival->a,
                 (rival->a + SCHEDULE_HOURS) % 24, rival->d == 7 ? "daily" : "Mon-Fri", rival->c);
        break;
    case PERSONA_RIVAL_BUFFER:
        snprintf(text, size, "%d %%, at least %d", rival->a, rival->b);
        break;
    case PERSONA_RIVAL_REACTIVE:
        snprintf(text, size, "last %d min + %d deviations + %d", rival->a, rival->b, rival->c);
        break;
    default:
        snprintf(text, size, "%s + %d deviations + %d", rival->a == 7 ? "a week ago" : "a day ago", rival->b, rival->c);
    }
}

void persona_rivals_best(persona_rivals_t *r, persona_rival_e kind, double price, double at,
                         persona_outcome_t *outcome)
{
    double best = HUGE_VAL;
    int k, chosen = r->first[kind];

    for (k = r->first[kind]; k < r->first[kind + 1]; k++) {
        persona_shadow_t *s = &r->rival[k].pool;
        double cost;

        persona_shadow_advance(s, at);
        cost = s->idle + s->waste + price * (double)(s->claims - s->hits);
        if (cost < best) {
            best = cost;
            chosen = k;
        }
    }
    describe(&r->rival[chosen], outcome->setting, sizeof(outcome->setting));
    outcome->claims = r->rival[chosen].pool.claims;
    outcome->hits = r->rival[chosen].pool.hits;
    outcome->idle = r->rival[chosen].pool.idle + r->rival[chosen].pool.waste;
    outcome->waited = r->rival[chosen].pool.waited;
    outcome->longest = r->rival[chosen].pool.longest;
}

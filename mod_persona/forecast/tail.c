/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spread and calibration of demand. The state belongs to a persona's model or to the site.
 */
#include "forecast/tail.h"

#include <math.h>
#include <stddef.h>

#define OCTAVES PERSONA_TAIL_OCTAVES
#define REGIMES PERSONA_TAIL_REGIMES
#define SPREADS PERSONA_TAIL_SPREADS

/* Half-life in days of all that is learned here. */
#define HALF 28.0
/* Pseudo arrivals with which the next coarser level corrects: everybody, the site's regime, the persona's. */
#define PSEUDO_ALL 10.0
#define PSEUDO_SITE 4.0
#define PSEUDO_OWN 4.0
/* What the windows of all personas say about the spread of one. */
#define SITE_SHARE .05
/* The first octave ends at a ratio of 2^TOP. */
#define TOP 4.0
/* How much of its neighbours an octave believes. */
#define NEIGHBOUR .5
/* Below this ratio nothing is worth its place at any price. */
#define NOTHING 2e-5

/* Of distributions as such: the least mean, for one of nothing would be infinitely surprised; and where to stop. */
#define MEAN_LEAST .001
#define LEVELS_MOST 20000

static const float spreads[SPREADS] = {0,    .01f, .02f, .05f, .1f, .2f, .35f,
                                       .6f,  1,    1.6f, 2.5f, 4,   7,   12};
static const float edges[PERSONA_TAIL_SIZES - 1] = {.03f, .2f, 1, 4, 16};

/* The octave of a ratio, and how far it is to the next one. */
static int octave_of(double ratio, double *part)
{
    double x = TOP - log2f((float)(ratio > 1e-12 ? ratio : 1e-12));
    int k;

    x = x < 0 ? 0 : x > OCTAVES - 1.001 ? OCTAVES - 1.001 : x;
    k = (int)x;
    *part = x - k;
    return k;
}

void persona_walk_begin(persona_walk_t *walk, const persona_demand_t *demand)
{
    double m = demand->mean > 1e-9 ? demand->mean : 1e-9;

    walk->demand = demand;
    if (demand->spread > 0) {
        double r = 1 / demand->spread;

        walk->p = exp(-r * log(1 + m * demand->spread));
        walk->ratio = m / (r + m);
        walk->shift = r;
    }
    else {
        walk->p = exp(-m);
        walk->ratio = m;
        walk->shift = 0;
    }
    walk->p = walk->p > 1e-300 ? walk->p : 1e-300;
    walk->below = walk->p;
    walk->least = HUGE_VAL;
    walk->level = 0;
}

double persona_walk_step(persona_walk_t *walk, double *raw, double *value)
{
    double next = walk->p * walk->ratio * (walk->shift > 0 ? walk->level + walk->shift : 1);
    double ratio = next / walk->below, corrected = ratio, part;
    const float *worth = walk->demand->worth;

    if (raw) {
        *raw = ratio;
        *value = next;
    }
    if (worth) {
        int k = octave_of(ratio, &part);

        corrected *= worth[k] + part * (worth[k + 1] - worth[k]);
    }
    walk->level++;
    walk->p = next / walk->level;
    walk->below += walk->p;
    if (corrected < walk->least) {
        walk->least = corrected;
    }
    return walk->level > walk->demand->mean ? walk->least : HUGE_VAL;
}

int persona_tail_regime(double mean, int burst)
{
    int k = 0;

    while (k < PERSONA_TAIL_SIZES - 1 && mean > edges[k]) {
        k++;
    }
    return burst ? PERSONA_TAIL_SIZES + k : k;
}

void persona_tail_window(persona_tail_t *tail, int regime, double count, double mean)
{
    double log_mean = log(mean);
    int k;

    for (k = 0; k < SPREADS; k++) {
        double l = count * log_mean - mean;

        if (spreads[k] > 0) {
            double r = 1 / spreads[k];

            l = -r * log(1 + spreads[k] * mean);
            if (count > 0) {
                l += count * (log_mean - log(mean + r)) + lgamma(count + r) - lgamma(r);
            }
        }
        tail->likelihood[regime][k] += (float)l;
    }
}

void persona_tail_predict(persona_tail_t *const tails[2], const persona_demand_t *demand, double part)
{
    persona_walk_t walk;
    int r = demand->regime, t;

    persona_walk_begin(&walk, demand);
    for (;;) {
        double raw, value, share;
        int k;

        persona_walk_step(&walk, &raw, &value);
        if (walk.level > demand->mean && raw < NOTHING) {
            return;
        }
        k = octave_of(raw, &share);
        for (t = 0; t < 2; t++) {
            tails[t]->predicted[r][k] += (float)(value * part * (1 - share));
            tails[t]->predicted[r][k + 1] += (float)(value * part * share);
        }
    }
}

double persona_tail_arrival(persona_tail_t *const tails[2], const persona_demand_t *demand, int rank)
{
    double raw = 1, value, share, price = 0;
    persona_walk_t walk;
    int r = demand->regime, k, t;

    persona_walk_begin(&walk, demand);
    for (k = 0; k <= rank; k++) {
        price = persona_walk_step(&walk, &raw, &value);
        if (raw < 1e-12) {
            break;
        }
    }
    k = octave_of(raw, &share);
    for (t = 0; t < 2; t++) {
        tails[t]->seen[r][k] += (float)(1 - share);
        tails[t]->seen[r][k + 1] += (float)share;
    }
    return price;
}

/* The log of the probability of nobody, and by what that of `k` is multiplied for one more. */
static double log_nobody(double mean, double spread)
{
    return spread > 0 ? -log(1 + mean * spread) / spread : -mean;
}

static double one_more(double mean, double spread, int k)
{
    return spread > 0 ? (k * spread + 1) / (k + 1) * mean / (1 + mean * spread) : mean / (k + 1);
}

void persona_tail_levels(double mean, double spread, const double *quantile, int n, int *level)
{
    double m = mean > MEAN_LEAST ? mean : MEAN_LEAST, p = log_nobody(m, spread), below = exp(p);
    int k, q = 0;

    for (k = 0; k < LEVELS_MOST; k++) {
        while (q < n && below >= quantile[q]) {
            level[q++] = k;
        }
        if (q == n) {
            return;
        }
        p += log(one_more(m, spread, k));
        below += exp(p);
    }
    while (q < n) {
        level[q++] = k;
    }
}

double persona_tail_surprise(double mean, double spread, int count)
{
    double m = mean > MEAN_LEAST ? mean : MEAN_LEAST, p = log_nobody(m, spread);
    int k;

    for (k = 0; k < count; k++) {
        p += log(one_more(m, spread, k));
    }
    return -p;
}

void persona_tail_forget(persona_tail_t *tail, double days)
{
    float keep = (float)exp2(-days / HALF);
    int r, k;

    for (r = 0; r < REGIMES; r++) {
        for (k = 0; k < SPREADS; k++) {
            tail->likelihood[r][k] *= keep;
        }
        for (k = 0; k < OCTAVES; k++) {
            tail->predicted[r][k] *= keep;
            tail->seen[r][k] *= keep;
        }
    }
}

static double with_neighbours(const float *v, int k)
{
    return v[k] + NEIGHBOUR * ((k > 0 ? v[k - 1] : 0) + (k + 1 < OCTAVES ? v[k + 1] : 0));
}

static double corrected(double before, double pseudo, const float *seen, const float *predicted, int k)
{
    return (with_neighbours(seen, k) + pseudo * before) / (with_neighbours(predicted, k) + pseudo);
}

/* Little is known at first: spreads near .15 are likelier, by half of how far log(spread + .05) is from log(.2). */
static const float doubt[SPREADS] = {.693f, .602f, .525f, .347f, .144f, .112f, .347f,
                                     .589f, .829f, 1.055f, 1.273f, 1.503f, 1.780f, 2.049f};

static float best_spread(const float *own, const float *site)
{
    double best = 0;
    int at = 0, k;

    for (k = 0; k < SPREADS; k++) {
        double l = own[k] + SITE_SHARE * site[k] - doubt[k];

        if (k == 0 || l > best) {
            best = l;
            at = k;
        }
    }
    return spreads[at];
}

void persona_tail_refresh(persona_tail_view_t *view, int regime, const persona_tail_t *own, const persona_tail_t *site)
{
    float seen[OCTAVES] = {0}, predicted[OCTAVES] = {0};
    int r, k;

    for (r = 0; r < REGIMES; r++) {
        for (k = 0; k < OCTAVES; k++) {
            seen[k] += site->seen[r][k];
            predicted[k] += site->predicted[r][k];
        }
    }
    for (k = 0; k < OCTAVES; k++) {
        double c = corrected(1, PSEUDO_ALL, seen, predicted, k);

        c = corrected(c, PSEUDO_SITE, site->seen[regime], site->predicted[regime], k);
        view->worth[regime][k] = (float)corrected(c, PSEUDO_OWN, own->seen[regime], own->predicted[regime], k);
    }
    view->spread[regime] = best_spread(own->likelihood[regime], site->likelihood[regime]);
}

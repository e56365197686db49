/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller of a promised hit rate. One for a site; the state belongs to the policy.
 */
#include "forecast/control.h"

#include <math.h>
#include <string.h>

#define BINS PERSONA_CONTROL_BINS
#define BINS_AN_OCTAVE 4.0
/* Bin 0 is for prices of 2^TOP and more. */
#define TOP 3.0
/* Beside what is known, for ever: so many arrivals, of which the share that waits at kappa is (kappa / scale)^power. */
#define PRIOR_ARRIVALS 100.0
#define PRIOR_POWER 1.2
#define PRIOR_SCALE .15
/* Half-lives in days: what arrivals told (less while all is young, and days more each day, for models that know little
 * ask extreme prices), how many there are, and what outcomes have moved. */
#define HALF_TOLD 28.0
#define HALF_YOUNG 1.0
#define HALF_GROWTH .25
#define HALF_COUNT 10.0
#define HALF_TRIM 28.0
/* Octaves that kappa moves by when misses are twice the promised ones for as long as they are counted; so many misses
 * are expected at least. */
#define TRIM_GAIN 3.0
#define MISSES_LEAST 4.0
/* The most that all outcomes may move it by. */
#define TRIM_MOST 6.0

static double price_of(double bin)
{
    return exp2(TOP - bin / BINS_AN_OCTAVE);
}

static int bin_of(double price)
{
    double bin = (TOP - log2(price > 1e-12 ? price : 1e-12)) * BINS_AN_OCTAVE;

    return bin < 0 ? 0 : bin >= BINS ? BINS - 1 : (int)bin;
}

/* The kappa that lets a share of `miss` wait. */
static double quantile(const persona_control_t *control, double miss)
{
    double total = 0, sum = 0;
    int k;

    for (k = 0; k < BINS; k++) {
        total += control->told[k];
    }
    for (k = BINS - 1; k > 0; k--) {
        double next = sum + control->told[k];

        if (next > miss * total) {
            return price_of(k + 1 - (miss * total - sum) / control->told[k]);
        }
        sum = next;
    }
    return price_of(0);
}

/* The prior share of arrivals in bin `k` or beyond. */
static double prior_share(int k)
{
    double share = k ? pow(price_of(k) / PRIOR_SCALE, PRIOR_POWER) : 1;

    return share < 1 ? share : 1;
}

/* Keeps this part of what was told; the prior makes up for the rest. */
static void keep_told(persona_control_t *control, double keep)
{
    double below = prior_share(0);
    int k;

    for (k = 0; k < BINS; k++) {
        double next = k + 1 < BINS ? prior_share(k + 1) : 0;

        control->told[k] = (float)(keep * control->told[k] + (1 - keep) * PRIOR_ARRIVALS * (below - next));
        below = next;
    }
}

void persona_control_begin(persona_control_t *control, double hit_rate)
{
    memset(control, 0, sizeof(*control));
    keep_told(control, 0);
    control->kappa = quantile(control, 1 - hit_rate);
}

static void forget(persona_control_t *control, double at)
{
    double days = (at - control->day) / 86400.0;
    double half = HALF_YOUNG + HALF_GROWTH * (at - control->first) / 86400.0;

    keep_told(control, exp2(-days / (half < HALF_TOLD ? half : HALF_TOLD)));
    control->count *= exp2(-days / HALF_COUNT);
    control->trim *= exp2(-days / HALF_TRIM);
    control->day = at;
}

void persona_control_arrival(persona_control_t *control, double hit_rate, double price, int served, double at)
{
    if (control->day <= 0) {
        control->first = control->day = at;
    }
    if (at - control->day >= 3600) {
        forget(control, at);
    }
    if (price < 0) {
        return;
    }
    control->told[bin_of(price)] += 1;
    control->count += 1;
    control->trim += TRIM_GAIN / (MISSES_LEAST + (1 - hit_rate) * control->count)
                     * (served ? 1 - hit_rate : -hit_rate);
    control->trim = control->trim > TRIM_MOST ? TRIM_MOST : control->trim < -TRIM_MOST ? -TRIM_MOST : control->trim;
    control->kappa = quantile(control, 1 - hit_rate) * exp2(control->trim);
}

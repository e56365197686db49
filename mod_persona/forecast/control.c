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
/* Before anything is known: so many arrivals, of which the share that waits at kappa is (kappa / scale)^power. */
#define PRIOR_ARRIVALS 60.0
#define PRIOR_POWER 1.2
#define PRIOR_SCALE .15
/* Half-lives in days: what arrivals told, and what outcomes have moved. */
#define HALF_TOLD 14.0
#define HALF_TRIM 28.0
/* Octaves that one miss moves kappa by, and the most that all outcomes may. */
#define TRIM_A_MISS .25
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

void persona_control_begin(persona_control_t *control, double hit_rate)
{
    int k;

    memset(control, 0, sizeof(*control));
    for (k = 0; k < BINS; k++) {
        double high = k ? pow(price_of(k) / PRIOR_SCALE, PRIOR_POWER) : 1;
        double low = k + 1 < BINS ? pow(price_of(k + 1) / PRIOR_SCALE, PRIOR_POWER) : 0;

        control->told[k] = (float)(PRIOR_ARRIVALS * ((high < 1 ? high : 1) - (low < 1 ? low : 1)));
    }
    control->kappa = quantile(control, 1 - hit_rate);
}

static void forget(persona_control_t *control, double at)
{
    double days = (at - control->day) / 86400.0;
    float keep = (float)exp2(-days / HALF_TOLD);
    int k;

    for (k = 0; k < BINS; k++) {
        control->told[k] *= keep;
    }
    control->trim *= exp2(-days / HALF_TRIM);
    control->day = at;
}

void persona_control_arrival(persona_control_t *control, double hit_rate, double price, int served, double at)
{
    if (control->day <= 0) {
        control->day = at;
    }
    if (at - control->day >= 3600) {
        forget(control, at);
    }
    if (price < 0) {
        return;
    }
    control->told[bin_of(price)] += 1;
    control->trim += TRIM_A_MISS * (served ? 1 - hit_rate : -hit_rate);
    control->trim = control->trim > TRIM_MOST ? TRIM_MOST : control->trim < -TRIM_MOST ? -TRIM_MOST : control->trim;
    control->kappa = quantile(control, 1 - hit_rate) * exp2(control->trim);
}

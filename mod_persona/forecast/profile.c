/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seasonal profiles. The state belongs to one persona's model; nothing here allocates.
 */
#include "forecast/profile.h"

#include <math.h>
#include <string.h>

#define BINS PERSONA_PROFILE_BINS
#define BIN_MINUTES 15.0
#define BIN_SECONDS 900.0

/* Half-lives in days: week slow, week fast, kind of day. */
#define HALF_SLOW 60.0
#define HALF_FAST 14.0
#define HALF_TYPE 10.0
/* Pseudo events of the coarser level. */
#define PSEUDO_TYPE 3.0
#define PSEUDO_WEEK 4.0
#define PSEUDO_SHARP 8.0
/* How much a kind of day without data of its own takes from the other kind. */
#define OTHER_TYPE 0.3

/* Gaussian weights, standard deviation two bins. */
#define REACH 9
static const float kernel[REACH + 1] = {
    .1994712f, .1760327f, .1209854f, .0647588f, .0269955f, .0087642f, .0022159f, .0004363f, .0000669f, .0000080f
};

static int is_weekend(int weekday)
{
    return weekday == 0 || weekday == 6;
}

/* Smoothed value of `v`, a circle of `n` bins, at bin `at`. */
static double smooth(const float *v, int n, int at)
{
    double sum = kernel[0] * v[at];
    int k, a = at, b = at;

    for (k = 1; k <= REACH; k++) {
        a = a + 1 == n ? 0 : a + 1;
        b = b == 0 ? n - 1 : b - 1;
        sum += kernel[k] * (v[a] + v[b]);
    }
    return sum;
}

/* The same over next to nothing: half the bin, a quarter of each neighbour; a lecture begins in a minute. */
static double sharp(const float *v, int n, int at)
{
    return .5 * v[at] + .25 * (v[at == 0 ? n - 1 : at - 1] + v[at + 1 == n ? 0 : at + 1]);
}

/* Rates per minute of the experts for bin `bin` of `weekday`. */
static void rates_of(const persona_profile_t *f, int weekday, int bin, double *rate)
{
    int type = is_weekend(weekday), k;
    double overall = (f->all_count + f->now_count + .5) / (f->all_seen + f->now_seen + 60.0)
                     * f->shape[weekday][bin / 4];
    double count = smooth(f->type_count[type], BINS, bin), seen = smooth(f->type_seen[type], BINS, bin);

    if (seen < BIN_MINUTES) {
        count += OTHER_TYPE * smooth(f->type_count[!type], BINS, bin);
        seen += OTHER_TYPE * smooth(f->type_seen[!type], BINS, bin);
    }
    rate[2] = (count + PSEUDO_TYPE) / (seen + PSEUDO_TYPE / overall);
    count = sharp(f->type_count[type], BINS, bin);
    seen = sharp(f->type_seen[type], BINS, bin);
    rate[3] = (count + PSEUDO_SHARP) / (seen + PSEUDO_SHARP / rate[2]);
    for (k = 0; k < 2; k++) {
        count = smooth(f->week_count[k], 7 * BINS, weekday * BINS + bin);
        seen = smooth(f->week_seen[k], 7 * BINS, weekday * BINS + bin);
        rate[k] = (count + PSEUDO_WEEK) / (seen + PSEUDO_WEEK / rate[2]);
    }
    count = sharp(f->week_count[0], 7 * BINS, weekday * BINS + bin);
    seen = sharp(f->week_seen[0], 7 * BINS, weekday * BINS + bin);
    rate[4] = (count + PSEUDO_SHARP) / (seen + PSEUDO_SHARP / rate[0]);
}

static void compute_day(persona_profile_t *f)
{
    int k, e;

    for (k = 0; k < BINS + 2; k++) {
        int shift = k == 0 ? -1 : k == BINS + 1;
        double rate[PERSONA_PROFILE_EXPERTS], sum = 0;

        rates_of(f, (f->weekday + shift + 7) % 7, (k - 1 + BINS) % BINS, rate);
        for (e = 0; e < PERSONA_PROFILE_EXPERTS; e++) {
            f->log_rate[e][k] = logf((float)(rate[e] > 1e-6 ? rate[e] : 1e-6));
            sum += rate[e];
        }
        f->base[k] = (float)(sum / PERSONA_PROFILE_EXPERTS);
    }
}

void persona_profile_begin(persona_profile_t *f, apr_int64_t day, int weekday, const float shape[7][24])
{
    int d, h;

    memset(f, 0, sizeof(*f));
    for (d = 0; d < 7; d++) {
        for (h = 0; h < 24; h++) {
            f->shape[d][h] = shape ? shape[d][h] : 1.0f;
        }
    }
    f->day = day;
    f->weekday = weekday;
    compute_day(f);
}

void persona_profile_reshape(persona_profile_t *f)
{
    int k;

    f->now_count = f->now_seen = 0;
    for (k = 0; k < BINS; k++) {
        f->now_count += f->today_count[k];
        f->now_seen += f->today_seen[k];
    }
    compute_day(f);
}

static void forget(float *v, int n, double factor)
{
    int k;

    for (k = 0; k < n; k++) {
        v[k] *= (float)factor;
    }
}

/* Forgets over `days`; what is of the other kind of day is forgotten half as fast. */
static void age(persona_profile_t *f, double days, int type)
{
    int k;

    for (k = 0; k < 2; k++) {
        double week = exp2(-days / (k ? HALF_FAST : HALF_SLOW));
        double kind = exp2(-days / (k == type ? HALF_TYPE : 2 * HALF_TYPE));

        forget(f->week_count[k], 7 * BINS, week);
        forget(f->week_seen[k], 7 * BINS, week);
        forget(f->type_count[k], BINS, kind);
        forget(f->type_seen[k], BINS, kind);
    }
    f->all_count *= (float)exp2(-days / HALF_TYPE);
    f->all_seen *= (float)exp2(-days / HALF_TYPE);
}

void persona_profile_roll(persona_profile_t *f, apr_int64_t day, int weekday)
{
    int type = is_weekend(f->weekday), at = f->weekday * BINS, k, e;

    age(f, (double)(day - f->day), type);
    for (k = 0; k < BINS; k++) {
        for (e = 0; e < 2; e++) {
            f->week_count[e][at + k] += f->today_count[k];
            f->week_seen[e][at + k] += f->today_seen[k];
        }
        f->type_count[type][k] += f->today_count[k];
        f->type_seen[type][k] += f->today_seen[k];
        f->all_count += f->today_count[k];
        f->all_seen += f->today_seen[k];
    }
    memset(f->today_count, 0, sizeof(f->today_count));
    memset(f->today_seen, 0, sizeof(f->today_seen));
    f->now_count = f->now_seen = 0;
    f->day = day;
    f->weekday = weekday;
    compute_day(f);
}

void persona_profile_add(persona_profile_t *f, int second, double count, double minutes)
{
    int bin = second / (int)BIN_SECONDS;

    bin = bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
    f->today_count[bin] += (float)count;
    f->today_seen[bin] += (float)minutes;
}

/* Position of `second` between the bin centres. */
static int locate(double second, float *part)
{
    double x = second / BIN_SECONDS + .5;
    int k = (int)x;

    k = k < 0 ? 0 : k > BINS ? BINS : k;
    x -= k;
    *part = (float)(x < 0 ? 0 : x > 1 ? 1 : x);
    return k;
}

void persona_profile_rates(const persona_profile_t *f, double second, float *log_rate)
{
    float part;
    int k = locate(second, &part), e;

    for (e = 0; e < PERSONA_PROFILE_EXPERTS; e++) {
        log_rate[e] = f->log_rate[e][k] + part * (f->log_rate[e][k + 1] - f->log_rate[e][k]);
    }
}

double persona_profile_base(const persona_profile_t *f, double second)
{
    float part;
    int k = locate(second, &part);

    return f->base[k] + part * (f->base[k + 1] - f->base[k]);
}

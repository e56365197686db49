/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrivals of the last week. The ring holds more than a week, so last week's place of a moment is not yet taken.
 */
#include "forecast/past.h"

#include <math.h>

#define BINS PERSONA_PAST_BINS
#define BIN_SECONDS 900.0
#define DAY_BINS 96
/* Before that many days have passed, and for a persona that nobody has asked for yet: pseudo arrivals in a day. */
#define PSEUDO_A_DAY .5

void persona_past_advance(persona_past_t *past, double at)
{
    apr_int64_t bin = (apr_int64_t)floor(at / BIN_SECONDS), from;

    if (!past->bin) {
        past->origin = past->bin = bin;
    }
    from = bin - past->bin > BINS ? bin - BINS : past->bin;
    while (from < bin) {
        past->count[++from % BINS] = 0;
    }
    past->bin = bin > past->bin ? bin : past->bin;
}

void persona_past_arrival(persona_past_t *past, double at)
{
    persona_past_advance(past, at);
    past->count[past->bin % BINS]++;
}

double persona_past_expected(const persona_past_t *past, double at, double seconds, int days)
{
    apr_int64_t bin = (apr_int64_t)floor((at + seconds / 2) / BIN_SECONDS) - days * DAY_BINS, k;
    double sum = 0;

    if (bin - 1 >= past->origin && bin + 1 <= past->bin && bin - 1 > past->bin - BINS) {
        for (k = bin - 1; k <= bin + 1; k++) {
            sum += past->count[k % BINS];
        }
        return sum * seconds / (3 * BIN_SECONDS);
    }
    for (k = past->origin > past->bin - BINS ? past->origin : past->bin - BINS + 1; k <= past->bin; k++) {
        sum += past->count[k % BINS];
    }
    return (sum + PSEUDO_A_DAY) * seconds / (86400 + at - (double)past->origin * BIN_SECONDS);
}

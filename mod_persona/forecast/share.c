/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sharing what does not suffice.
 */
#include "forecast/share.h"

/* An instance that is there is worth so much more than one that has to be made in its stead. */
#define HELD_MORE 1.25

static int fits(const persona_share_t *share, const double *left)
{
    int k;

    for (k = 0; k < PERSONA_LIMITS; k++) {
        if (left[k] >= 0 && share->need[k] > left[k]) {
            return 0;
        }
    }
    return 1;
}

static void grant(persona_share_t *share, double *left)
{
    int k;

    share->granted++;
    for (k = 0; k < PERSONA_LIMITS; k++) {
        if (left[k] >= 0) {
            left[k] -= share->need[k];
            left[k] = left[k] > 0 ? left[k] : 0;
        }
    }
}

/* The largest part of anything limited that one instance takes. */
static double weight(const persona_share_t *share, const double *room)
{
    double most = 0;
    int k;

    for (k = 0; k < PERSONA_LIMITS; k++) {
        if (room[k] > 0 && share->need[k] / room[k] > most) {
            most = share->need[k] / room[k];
        }
    }
    return most > 1e-9 ? most : 1e-9;
}

static void grant_floors(persona_share_t *shares, int n, double *left)
{
    int given, k;

    do {
        for (given = k = 0; k < n; k++) {
            persona_share_t *share = &shares[k];

            if (share->granted < share->least && share->granted < share->wish && fits(share, left)) {
                grant(share, left);
                given = 1;
            }
        }
    } while (given);
}

int persona_share(persona_share_t *shares, int n, const double *room)
{
    double left[PERSONA_LIMITS];
    int k, short_of = 0;

    for (k = 0; k < PERSONA_LIMITS; k++) {
        left[k] = room[k];
    }
    for (k = 0; k < n; k++) {
        shares[k].granted = 0;
    }
    grant_floors(shares, n, left);
    for (;;) {
        persona_share_t *best = 0;
        double most = 0;

        for (k = 0; k < n; k++) {
            persona_share_t *share = &shares[k];
            double value;

            if (share->granted >= share->wish || !fits(share, left)) {
                continue;
            }
            value = share->worth[share->granted] / weight(share, room)
                    * (share->granted < share->held ? HELD_MORE : 1);
            if (!best || value > most) {
                best = share;
                most = value;
            }
        }
        if (!best) {
            break;
        }
        grant(best, left);
    }
    for (k = 0; k < n; k++) {
        short_of |= shares[k].granted < shares[k].wish;
    }
    return short_of;
}

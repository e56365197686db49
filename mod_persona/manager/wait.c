/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file wait.c
 * @brief The wait in line, by playing the boots that it waits for.
 *
 * Pure: no clock, no state, its own random numbers from a fixed seed.
 *
 * A boot takes about as long as one of the measured ones: their logarithms, smoothed (Silverman, Density Estimation,
 * 1986, section 6.4.1), half of what that adds to their spread taken back. The spread is drawn towards PRIOR_SPREAD
 * while there are few, for a handful of boots that happened to be alike say little. How well so many boots tell the
 * mean is played too: in each play all boots are longer or shorter by one factor, or the far end of a line would seem
 * surer than it is. A boot under way takes as long as one of those that took longer than its age; where none did, as
 * much longer as an exponential of OVERDUE times its age.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wait.h"

#define TABLE        256
#define PLAYS        300
#define PLACE_MAX    1000
#define PRIOR_SPREAD 0.2
#define PRIOR_WEIGHT 3.0
#define OVERDUE      0.5
/** Boots that follow each other are alike more than chance would have it: so much less do they tell of the mean. */
#define UNSURE       1.5
/** A page asks once a second, and an instance that is ready is in the line a moment later. */
#define POLL         1.0
#define PUBLISHING   0.2
/** An instance that is ready and that nobody before has taken is given to the line anew after this. */
#define READY_MAX    2.0

typedef struct play_t {
    uint64_t random;
    double table[TABLE]; /**< how long a boot takes, ascending, each as likely */
    double unsure;       /**< standard deviation of the logarithm of their mean */
    double factor;       /**< of this play */
    double ends[PERSONA_WAIT_SLOTS];
    int ours[PERSONA_WAIT_SLOTS];
    int busy;
} play_t;

/** Uniform in (0, 1): xorshift64* (Vigna, An experimental exploration of Marsaglia's xorshift generators, 2016). */
static double uniform(play_t *play)
{
    play->random ^= play->random >> 12;
    play->random ^= play->random << 25;
    play->random ^= play->random >> 27;
    return ((double)((play->random * 0x2545F4914F6CDD1DULL) >> 11) + 0.5) / 9007199254740992.0;
}

/** Standard normal: Box and Muller, 1958. */
static double normal(play_t *play)
{
    return sqrt(-2 * log(uniform(play))) * cos(6.283185307179586 * uniform(play));
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double log_of(double seconds)
{
    return log(seconds > 0.001 ? seconds : 0.001);
}

static void table_make(play_t *play, const persona_wait_t *wait)
{
    const int n = wait->boot_count;
    double mean = 0, squares = 0, spread, width, keep;
    int i;

    for (i = 0; i < n; i++) {
        mean += log_of(wait->boots[i]) / n;
    }
    for (i = 0; i < n; i++) {
        squares += pow(log_of(wait->boots[i]) - mean, 2);
    }
    spread = sqrt((squares + PRIOR_WEIGHT * PRIOR_SPREAD * PRIOR_SPREAD) / (n - 1 + PRIOR_WEIGHT));
    width = 1.06 * spread * pow(n, -0.2);
    keep = sqrt(spread / sqrt(squares / n + width * width));
    for (i = 0; i < TABLE; i++) {
        play->table[i] = exp(mean + keep * (log_of(wait->boots[i % n]) - mean + width * normal(play)));
    }
    play->unsure = UNSURE * spread / sqrt(n);
    qsort(play->table, TABLE, sizeof(play->table[0]), by_size);
}

static double boot_new(play_t *play)
{
    return play->factor * play->table[(int)(uniform(play) * TABLE)];
}

/** How much longer a boot of this age takes. */
static double boot_rest(play_t *play, double age)
{
    int low = 0, high = TABLE;

    while (low < high) {
        int middle = (low + high) / 2;

        if (play->factor * play->table[middle] > age) {
            high = middle;
        }
        else {
            low = middle + 1;
        }
    }
    if (low == TABLE) {
        return -log(uniform(play)) * OVERDUE * age;
    }
    return play->factor * play->table[low + (int)(uniform(play) * (TABLE - low))] - age;
}

static void slot_fill(play_t *play, double end, int ours)
{
    if (play->busy < PERSONA_WAIT_SLOTS) {
        play->ends[play->busy] = end;
        play->ours[play->busy++] = ours;
    }
}

/** Seconds until the `needed`th boot from now is over; < 0: there are not so many. */
static double play_once(play_t *play, const persona_wait_t *wait, int needed)
{
    const int slots = wait->slots < PERSONA_WAIT_SLOTS ? wait->slots : PERSONA_WAIT_SLOTS;
    int more = wait->more, i;
    double delay = wait->delay > 0 ? wait->delay : 0;

    play->busy = 0;
    play->factor = exp(play->unsure * normal(play));
    for (i = 0; i < wait->booting; i++) {
        slot_fill(play, boot_rest(play, wait->ages[i]), 1);
    }
    for (i = 0; i < wait->others; i++) {
        slot_fill(play, boot_new(play) * uniform(play), 0); /* somewhere in a boot like ours, for want of more */
    }
    while (more > 0 && play->busy < slots) {
        slot_fill(play, delay + boot_new(play), 1);
        more--;
    }
    while (play->busy > 0) {
        int first = 0, ours;
        double end;

        for (i = 1; i < play->busy; i++) {
            first = play->ends[i] < play->ends[first] ? i : first;
        }
        end = play->ends[first];
        ours = play->ours[first];
        if (ours && --needed == 0) {
            return end;
        }
        play->busy--;
        play->ends[first] = play->ends[play->busy];
        play->ours[first] = play->ours[play->busy];
        if (more > 0 && play->busy < slots) {
            slot_fill(play, (end > delay ? end : delay) + boot_new(play), 1);
            more--;
        }
    }
    return -1;
}

int persona_wait_marks(const persona_wait_t *wait, persona_marks_t *marks)
{
    const int needed = wait->place - wait->ready;
    double outcomes[PLAYS];
    play_t play = {.random = 0x9E3779B97F4A7C15ULL};
    int i;

    if (wait->place < 1 || wait->place > PLACE_MAX || (needed > 0 && wait->boot_count < 1)) {
        return 0;
    }
    if (needed > 0) {
        table_make(&play, wait);
    }
    for (i = 0; i < PLAYS; i++) {
        double end = needed > 0 ? play_once(&play, wait, needed) : uniform(&play) * READY_MAX;

        if (end < 0) {
            return 0;
        }
        outcomes[i] = end + PUBLISHING + POLL * uniform(&play);
    }
    qsort(outcomes, PLAYS, sizeof(outcomes[0]), by_size);
    marks->p10 = outcomes[PLAYS / 10];
    marks->p50 = outcomes[PLAYS / 2];
    marks->p90 = outcomes[PLAYS - 1 - PLAYS / 10];
    return 1;
}

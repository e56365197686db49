/* SPDX-License-Identifier: Apache-2.0 */
/* forecast_tick PERSONAS: what one tick of the learned model takes, for so many personas, over some days. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <apr_general.h>

#include "forecast/learned.h"

#define DAYS 3
#define TICKS (DAYS * 86400 / PERSONA_MODEL_STEP)

static double tick_ms[TICKS];

static double thread_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 0, tick, k;
    persona_learned_entry_t **entries;
    persona_learned_t *learned;
    unsigned long long seed = 3;
    double at = 1700006400;
    apr_pool_t *pool;

    if (n <= 0) {
        fprintf(stderr, "usage: forecast_tick PERSONAS\n");
        return 2;
    }
    apr_initialize();
    apr_pool_create(&pool, NULL);
    learned = persona_learned_create(pool);
    entries = apr_pcalloc(pool, (apr_size_t)n * sizeof(*entries));
    for (k = 0; k < n; k++) {
        char id[32];

        snprintf(id, sizeof(id), "p%d", k);
        entries[k] = persona_learned_entry(learned, id, at);
    }
    for (tick = 0; tick < TICKS; tick++) {
        persona_demand_t demand;
        double began;

        /* One persona in so many sees somebody in this step: from several an hour to one a week. */
        for (k = 0; k < n; k++) {
            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
            if ((seed >> 33) % (unsigned)(20 + 20 * (k % 1000)) == 0) {
                persona_learned_arrival(learned, entries[k], (apr_uint32_t)(seed >> 50) + 1, at + 1);
            }
        }
        at += PERSONA_MODEL_STEP;
        began = thread_ms();
        for (k = 0; k < n; k++) {
            persona_learned_target(learned, entries[k], 0, 100, at, &demand);
        }
        tick_ms[tick] = thread_ms() - began;
    }
    qsort(tick_ms, TICKS, sizeof(*tick_ms), by_size);
    printf("{\"ticks\": %d, \"median_ms\": %.3f, \"p99_ms\": %.3f, \"worst_ms\": %.3f, \"state_bytes\": %zu}\n", TICKS,
           tick_ms[TICKS / 2], tick_ms[TICKS / 100 * 99], tick_ms[TICKS - 1], sizeof(persona_learned_entry_t));
    apr_terminate();
    return 0;
}

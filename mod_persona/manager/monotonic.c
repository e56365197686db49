/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file monotonic.c
 * @brief CLOCK_MONOTONIC in APR's units, and conditions that go by it.
 */
#include "monotonic.h"

apr_time_t persona_monotonic_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (apr_time_t)t.tv_sec * APR_USEC_PER_SEC + t.tv_nsec / 1000;
}

void persona_monotonic_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

struct timespec persona_monotonic_in(apr_interval_time_t pause)
{
    apr_time_t at = persona_monotonic_now() + pause;
    struct timespec until = {(time_t)apr_time_sec(at), (long)apr_time_usec(at) * 1000};

    return until;
}

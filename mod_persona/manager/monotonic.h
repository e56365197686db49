/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file monotonic.h
 * @brief The clock that nobody sets, for how long the manager's threads wait; the time of day is persona_manager_now().
 */
#ifndef PERSONA_MANAGER_MONOTONIC_H
#define PERSONA_MANAGER_MONOTONIC_H

#include <pthread.h>
#include <time.h>

#include <apr_time.h>

/** Microseconds since some fixed moment. */
apr_time_t persona_monotonic_now(void);
/** A condition whose timed waits end at times of this clock. */
void persona_monotonic_cond(pthread_cond_t *cond);
/** `pause` from now, for pthread_cond_timedwait() with such a condition. */
struct timespec persona_monotonic_in(apr_interval_time_t pause);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file crew.c
 * @brief Threads that work off a queue of jobs, first come first.
 *
 * A crew lives as long as the process. All but `threads` is guarded by `lock`; a job belongs to the thread that took
 * it off the queue.
 */
#include <pthread.h>
#include <stdlib.h>

#include "crew.h"
#include "monotonic.h"
#include "persona.h"

typedef struct crew_job_t {
    struct crew_job_t *next;
    persona_job_fn *run;
    void *arg;
} crew_job_t;

struct persona_crew_t {
    int threads;
    pthread_mutex_t lock;
    pthread_cond_t work, rest;
    crew_job_t *first, *last;
    int running, resting;
};

static void *crew_thread(void *arg)
{
    persona_crew_t *crew = arg;
    apr_pool_t *p;

    if (apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return NULL;
    }
    for (;;) {
        crew_job_t *job;

        pthread_mutex_lock(&crew->lock);
        while (!crew->first || crew->resting) {
            pthread_cond_wait(&crew->work, &crew->lock);
        }
        job = crew->first;
        crew->first = job->next;
        if (!crew->first) {
            crew->last = NULL;
        }
        crew->running++;
        pthread_mutex_unlock(&crew->lock);
        job->run(job->arg, p);
        free(job);
        apr_pool_clear(p);
        pthread_mutex_lock(&crew->lock);
        crew->running--;
        pthread_cond_signal(&crew->rest);
        pthread_mutex_unlock(&crew->lock);
    }
    return NULL;
}

apr_status_t persona_thread_start(void *(*run)(void *), void *arg)
{
    pthread_attr_t attr;
    pthread_t thread;
    int rc;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    rc = pthread_create(&thread, &attr, run, arg);
    pthread_attr_destroy(&attr);
    return rc;
}

apr_status_t persona_crew_create(persona_crew_t **crew, int threads, apr_pool_t *p)
{
    persona_crew_t *c = apr_pcalloc(p, sizeof(*c));
    int i;

    c->threads = threads;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
    persona_monotonic_cond(&c->rest);
    *crew = c;
    for (i = 0; i < threads; i++) {
        apr_status_t status = persona_thread_start(crew_thread, c);

        if (status != APR_SUCCESS) {
            return status;
        }
    }
    return APR_SUCCESS;
}

void persona_crew_push(persona_crew_t *crew, persona_job_fn *run, void *arg)
{
    crew_job_t *job;

    if (!crew->threads) {
        apr_pool_t *p;

        if (apr_pool_create(&p, NULL) == APR_SUCCESS) {
            run(arg, p);
            apr_pool_destroy(p);
        }
        return;
    }
    job = calloc(1, sizeof(*job));
    if (!job) {
        abort();
    }
    job->run = run;
    job->arg = arg;
    pthread_mutex_lock(&crew->lock);
    if (crew->last) {
        crew->last->next = job;
    }
    else {
        crew->first = job;
    }
    crew->last = job;
    pthread_cond_signal(&crew->work);
    pthread_mutex_unlock(&crew->lock);
}

int persona_crew_rest(persona_crew_t *crew, apr_interval_time_t limit)
{
    struct timespec until = persona_monotonic_in(limit);
    int running, rc = 0;

    pthread_mutex_lock(&crew->lock);
    crew->resting = 1;
    while (crew->running && rc == 0) {
        rc = pthread_cond_timedwait(&crew->rest, &crew->lock, &until);
    }
    running = crew->running;
    pthread_mutex_unlock(&crew->lock);
    return running;
}

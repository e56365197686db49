/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file docker_events.c
 * @brief The thread that hears of what happens to containers, so that a death is known at once.
 *
 * One thread per compute, from open to close, reads the engine's events of our containers and calls the callback. When
 * the engine goes away it tries again every half second. What happened meanwhile the next reading of the list tells.
 *
 * dockerd tells of a death before its list does: whoever reads the list at once finds the dead one running. So the
 * callback comes when the list has it.
 */
#include <string.h>

#include <apr_strings.h>

#include "compute/docker/docker.h"
#include "persona/digest.h"

#define RETRY apr_time_from_msec(500)
/** How long a death that was told of is looked for in the list. */
#define SETTLE apr_time_from_sec(2)

static int closing(docker_t *d)
{
    int result;

    pthread_mutex_lock(&d->mutex);
    result = d->closing;
    pthread_mutex_unlock(&d->mutex);
    return result;
}

static void await_end(docker_t *d, const char *uuid)
{
    docker_container_t *container;
    docker_call_t call;
    apr_pool_t *p;
    int runs;

    apr_pool_create_unmanaged(&p);
    if (docker_begin(&call, &d->head, NULL, p) == APR_SUCCESS) {
        call.until = docker_now() + SETTLE;
        do {
            runs = docker_container_find(&call, uuid, &container) == APR_SUCCESS && container->instance.running;
            if (runs) {
                apr_sleep(apr_time_from_msec(20));
            }
        } while (runs && docker_now() < call.until && !closing(d));
    }
    apr_pool_destroy(p);
}

/* The mutex is not held over the callback, which takes locks of the manager; docker_events_stop() joins. */
static void on_line(docker_t *d, char *text, apr_size_t len)
{
    json_t *event = json_loadb(text, len, 0, NULL);
    const json_t *attributes = json_object_get(json_object_get(event, "Actor"), "Attributes");
    const char *uuid = json_string_value(json_object_get(attributes, "persona.uuid"));
    const char *ns = json_string_value(json_object_get(attributes, "persona.ns"));
    const char *what = json_string_value(json_object_get(event, "Action"));
    persona_compute_event_cb *cb;
    void *baton;

    if (uuid && ns && !strcmp(ns, d->head.ns) && persona_uuid_valid(uuid)) {
        if (what && !strcmp(what, "die")) {
            await_end(d, uuid);
        }
        pthread_mutex_lock(&d->mutex);
        cb = d->cb;
        baton = d->baton;
        pthread_mutex_unlock(&d->mutex);
        if (cb) {
            cb(baton, &d->head, uuid);
        }
    }
    json_decref(event);
}

/* Podman knows no filter by label, so on_line() looks again. */
static const char *events_path(docker_t *d, apr_pool_t *p)
{
    return apr_pstrcat(p, "/events?filters=", docker_filters(p, "type", "container", "event", "die", "event", "destroy",
                       "event", "start", "label", apr_pstrcat(p, "persona.ns=", d->head.ns, NULL), NULL), NULL);
}

static void *run(void *data)
{
    docker_t *d = data;
    apr_pool_t *p;

    apr_pool_create_unmanaged(&p);
    while (!closing(d)) {
        docker_call_t call;

        apr_pool_clear(p);
        if (docker_begin(&call, &d->head, NULL, p) == APR_SUCCESS) {
            docker_http_events(d, events_path(d, p), on_line);
        }
        for (int i = 0; i < 10 && !closing(d); ++i) {
            apr_sleep(RETRY / 10);
        }
    }
    apr_pool_destroy(p);
    return NULL;
}

apr_status_t docker_events_start(docker_t *d)
{
    return pthread_create(&d->thread, NULL, run, d) ? APR_EGENERAL : APR_SUCCESS;
}

void docker_events_stop(docker_t *d)
{
    pthread_mutex_lock(&d->mutex);
    d->closing = 1;
    pthread_mutex_unlock(&d->mutex);
    pthread_join(d->thread, NULL);
}

void docker_watch(persona_compute_t *c, persona_compute_event_cb *cb, void *baton)
{
    docker_t *d = (docker_t *)c;

    pthread_mutex_lock(&d->mutex);
    d->cb = cb;
    d->baton = baton;
    pthread_mutex_unlock(&d->mutex);
}

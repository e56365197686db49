/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file state.c
 * @brief The manager's tables: instances and their sessions, stocks, ended sessions.
 *
 * Entries are made by calloc() and freed when the instance is gone; stocks live as long as the manager.
 * An entry with a session is in `sessions` under it, and only there; where it has a user too, it is among that
 * person's. `unnamed` holds every entry that is fenced by nobody knows whom; what has got a session since leaves it
 * when it is next looked through. All tables are under one lock.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

#include "state.h"

typedef struct ended_t {
    char session[PERSONA_SESSION_LEN];
    char reason[PERSONA_REASON_MAX];
    apr_time_t at;
} ended_t;

/** Whose sessions are held by which entries; at least one. */
typedef struct person_t {
    char user[PERSONA_USER_MAX + 1];
    int count, size;
    persona_entry_t *held[];
} person_t;

typedef struct dropped_t {
    char uuid[PERSONA_UUID_LEN];
    apr_time_t at;
} dropped_t;

/** Longer than any reading of a compute lasts. */
#define DROPPED_KEPT apr_time_from_sec(600)

typedef struct queued_t {
    persona_crew_t *crew;
    persona_job_fn *run;
    void *arg;
} queued_t;

static void *allocate(apr_size_t size)
{
    void *memory = calloc(1, size);

    if (!memory) {
        abort();
    }
    return memory;
}

apr_time_t persona_manager_now(const persona_manager_t *m)
{
    return m->clock ? m->clock(m->clock_baton) : apr_time_now();
}

void persona_manager_lock(persona_manager_t *m)
{
    pthread_mutex_lock(&m->lock);
}

void persona_manager_unlock(persona_manager_t *m)
{
    pthread_mutex_unlock(&m->lock);
}

persona_catalog_t *persona_manager_catalog(persona_manager_t *m)
{
    persona_catalog_t *catalog;

    persona_manager_lock(m);
    catalog = m->catalog;
    persona_catalog_hold(catalog);
    persona_manager_unlock(m);
    return catalog;
}

void persona_manager_wake(persona_manager_t *m)
{
    uint64_t one = 1;

    if (m->wake_fd >= 0 && write(m->wake_fd, &one, sizeof(one)) < 0) {
        return; /* the counter is full: it is awake */
    }
}

int persona_manager_index_usable(persona_manager_t *m)
{
    int usable;

    persona_manager_lock(m);
    usable = m->index_retry <= persona_manager_now(m);
    persona_manager_unlock(m);
    return usable;
}

apr_status_t persona_manager_index(persona_manager_t *m, apr_status_t status)
{
    int failed = status != APR_SUCCESS && status != APR_NOTFOUND && status != APR_EEXIST &&
                 status != APR_EACCES;
    int news;

    persona_manager_lock(m);
    news = failed != m->index_failed;
    m->index_failed = failed;
    m->index_retry = failed ? persona_manager_now(m) + apr_time_from_sec(1) : 0;
    persona_manager_unlock(m);
    if (news && failed) {
        persona_log(PERSONA_LOG_WARNING, status,
                    "memcached %s does not answer; sessions go on, claims are "
                    "served by this manager until it does",
                    m->settings->memcached ? m->settings->memcached : "");
    }
    else if (news) {
        persona_log(PERSONA_LOG_NOTICE, 0, "memcached answers again");
    }
    return status;
}

/* ---- entries ---- */

persona_entry_t *persona_entry_find(persona_manager_t *m, const char *uuid)
{
    return apr_hash_get(m->entries, uuid, APR_HASH_KEY_STRING);
}

persona_entry_t *persona_entry_make(persona_manager_t *m, const char *uuid)
{
    persona_entry_t *e = allocate(sizeof(*e));

    persona_copy(e->uuid, uuid);
    apr_cpystrn(e->path, "/", sizeof(e->path));
    e->disconnect_timeout = apr_time_from_sec(15 * 60);
    e->idle_timeout = apr_time_from_sec(30 * 60);
    e->max_session = apr_time_from_sec(12 * 3600);
    apr_hash_set(m->entries, e->uuid, APR_HASH_KEY_STRING, e);
    return e;
}

static person_t *person_of(persona_manager_t *m, const char *user)
{
    return apr_hash_get(m->users, user, APR_HASH_KEY_STRING);
}

static void person_loses(persona_manager_t *m, const persona_entry_t *e)
{
    person_t *person = person_of(m, e->user);
    int i;

    for (i = 0; person && i < person->count; i++) {
        if (person->held[i] == e) {
            person->held[i] = person->held[--person->count];
            break;
        }
    }
    if (person && person->count == 0) {
        apr_hash_set(m->users, person->user, APR_HASH_KEY_STRING, NULL);
        free(person);
    }
}

static void person_gets(persona_manager_t *m, persona_entry_t *e)
{
    person_t *before = person_of(m, e->user), *person = before;

    if (!person || person->count == person->size) {
        int size = person ? person->size * 2 : 2;

        person = allocate(sizeof(*person) + sizeof(person->held[0]) * (apr_size_t)size);
        if (before) {
            memcpy(person, before, sizeof(*before) + sizeof(before->held[0]) * (apr_size_t)before->count);
            apr_hash_set(m->users, before->user, APR_HASH_KEY_STRING, NULL);
            free(before);
        }
        persona_copy(person->user, e->user);
        person->size = size;
        apr_hash_set(m->users, person->user, APR_HASH_KEY_STRING, person);
    }
    person->held[person->count++] = e;
}

void persona_entry_unbind(persona_manager_t *m, persona_entry_t *e)
{
    person_loses(m, e);
    if (*e->session && apr_hash_get(m->sessions, e->session, APR_HASH_KEY_STRING) == e) {
        apr_hash_set(m->sessions, e->session, APR_HASH_KEY_STRING, NULL);
    }
}

void persona_entry_drop(persona_manager_t *m, persona_entry_t *e)
{
    dropped_t *dropped = apr_hash_get(m->dropped, e->uuid, APR_HASH_KEY_STRING);

    if (!dropped) {
        dropped = allocate(sizeof(*dropped));
        persona_copy(dropped->uuid, e->uuid);
        apr_hash_set(m->dropped, dropped->uuid, APR_HASH_KEY_STRING, dropped);
    }
    dropped->at = persona_manager_now(m);
    persona_entry_unbind(m, e);
    apr_hash_set(m->unnamed, e->uuid, APR_HASH_KEY_STRING, NULL);
    apr_hash_set(m->entries, e->uuid, APR_HASH_KEY_STRING, NULL);
    free(e);
}

int persona_entry_dropped(persona_manager_t *m, const char *uuid, apr_time_t since)
{
    const dropped_t *dropped = apr_hash_get(m->dropped, uuid, APR_HASH_KEY_STRING);

    return dropped && dropped->at >= since;
}

void persona_dropped_prune(persona_manager_t *m)
{
    apr_time_t now = persona_manager_now(m);
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, m->dropped); hi; hi = apr_hash_next(hi)) {
        dropped_t *dropped = apr_hash_this_val(hi);

        if (now - dropped->at > DROPPED_KEPT) {
            apr_hash_set(m->dropped, dropped->uuid, APR_HASH_KEY_STRING, NULL);
            free(dropped);
        }
    }
}

persona_entry_t *persona_entry_of_session(persona_manager_t *m, const char *session)
{
    return apr_hash_get(m->sessions, session, APR_HASH_KEY_STRING);
}

persona_entry_t *const *persona_entries_of_user(persona_manager_t *m, const char *user, int *count)
{
    const person_t *person = person_of(m, user);

    *count = person ? person->count : 0;
    return person ? person->held : NULL;
}

persona_entry_t *persona_entry_of_user(persona_manager_t *m, const char *user, const char *app)
{
    int i, count;
    persona_entry_t *const *held = persona_entries_of_user(m, user, &count);

    for (i = 0; i < count; i++) {
        if (held[i]->retire == PERSONA_RETIRE_NONE && !strcmp(held[i]->app, app)) {
            return held[i];
        }
    }
    return NULL;
}

void persona_entry_unnamed(persona_manager_t *m, persona_entry_t *e)
{
    apr_hash_set(m->unnamed, e->uuid, APR_HASH_KEY_STRING, e);
}

persona_entry_t *persona_entry_unnamed_of(persona_manager_t *m, const char *session, apr_pool_t *p)
{
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, m->unnamed); hi; hi = apr_hash_next(hi)) {
        persona_entry_t *e = apr_hash_this_val(hi);

        if (*e->session || !*e->token) {
            apr_hash_set(m->unnamed, e->uuid, APR_HASH_KEY_STRING, NULL);
        }
        else if (e->retire == PERSONA_RETIRE_NONE && persona_entry_held_by(e, session, p)) {
            return e;
        }
    }
    return NULL;
}

void persona_entry_bind(persona_manager_t *m, persona_entry_t *e, const char *session,
                        const char *user, const char *app)
{
    persona_entry_t *before = persona_entry_of_session(m, session);

    if (before && before != e) {
        person_loses(m, before);
    }
    persona_entry_unbind(m, e);
    if (session != e->session) {
        persona_copy(e->session, session);
    }
    if (user && *user && user != e->user) {
        persona_copy(e->user, user);
    }
    if (app && *app && app != e->app) {
        persona_copy(e->app, app);
    }
    e->unsure[0] = '\0';
    e->orphan_since = 0;
    /* The key is the entry's own memory: drop an old key before the new one is set. */
    apr_hash_set(m->sessions, e->session, APR_HASH_KEY_STRING, NULL);
    apr_hash_set(m->sessions, e->session, APR_HASH_KEY_STRING, e);
    if (*e->user) {
        person_gets(m, e);
    }
}

void persona_entry_shape(persona_entry_t *e, const persona_t *persona)
{
    int own = !strcmp(e->fingerprint, persona->fingerprint);

    /* An instance made before its persona was edited keeps the stream it was made with. */
    if (own || !e->shaped) {
        e->stream = persona->environment.stream;
        persona_copy(e->path,
                     persona->environment.stream_path ? persona->environment.stream_path : "/");
        e->pass_user = persona->environment.pass_user;
        persona_copy(e->hook_path, persona->environment.home_hook);
        e->hook_port = persona->environment.home_port;
        e->home_exclusive = persona->environment.home_exclusive;
        e->shaped = own;
    }
    e->disconnect_timeout = persona->pool.disconnect_timeout;
    e->idle_timeout = persona->pool.idle_timeout;
    e->max_session = persona->pool.max_session;
}

void persona_entry_record(const persona_entry_t *e, persona_record_t *record)
{
    memset(record, 0, sizeof(*record));
    record->instance = e->uuid;
    record->persona_id = e->persona_id;
    record->app = e->app;
    record->compute = e->compute;
    record->fingerprint = e->fingerprint;
    record->session = e->session;
    record->user = e->user;
    record->address = e->address;
    record->port = e->port;
    record->stream = e->stream;
    record->path = e->path;
    record->pass_user = e->pass_user;
    record->home = e->home;
    record->cold = e->cold;
    record->started = e->assigned_at;
    record->expires = e->read_at + PERSONA_LEASE;
    record->ends = e->assigned_at + e->max_session;
    record->idle_timeout = e->idle_timeout;
    record->disconnect_timeout = e->disconnect_timeout;
}

int persona_entry_streams(const persona_entry_t *e, apr_time_t now)
{
    int i, streams = 0;

    for (i = 0; i < PERSONA_BEATS_MAX; i++) {
        if (e->beats[i].pid && now - e->beats[i].at < PERSONA_BEAT_TIMEOUT) {
            streams += e->beats[i].streams;
        }
    }
    return streams;
}

int persona_entry_held_by(const persona_entry_t *e, const char *session, apr_pool_t *p)
{
    return *e->token && !strcmp(e->token, persona_fence_token(session, e->uuid, p));
}

void persona_entry_retire(persona_manager_t *m, persona_entry_t *e, const char *reason)
{
    if (e->retire != PERSONA_RETIRE_NONE || e->hands_off > persona_manager_now(m)) {
        return;
    }
    persona_copy(e->reason, reason);
    if (*e->session) {
        persona_copy(e->retire_owner, e->session);
        if (persona_entry_of_session(m, e->session) == e) {
            persona_ended_note(m, e->session, reason);
        }
    }
    else if (e->orphan_since) {
        e->retire_owner[0] = '\0'; /* held by somebody who is gone: asking again would be refused */
    }
    else {
        persona_copy(e->retire_owner, m->retire_name);
    }
    e->retire = PERSONA_RETIRE_FENCE;
    e->retry_at = 0;
    e->retries = 0;
    e->changed = persona_manager_now(m);
    persona_manager_wake(m);
}

/* ---- sites ---- */

persona_site_t *persona_site_find(persona_manager_t *m, const char *compute)
{
    int i;

    for (i = 0; compute && i < m->site_count; i++) {
        if (!strcmp(m->sites[i].conf->name, compute)) {
            return &m->sites[i];
        }
    }
    return NULL;
}

int persona_site_usable(const persona_site_t *site)
{
    return !site->down_since;
}

void persona_site_wake(persona_site_t *site)
{
    site->woken = 1;
    pthread_cond_signal(&site->wake);
}

/* ---- stocks ---- */

persona_stock_t *persona_stock_of(persona_manager_t *m, const char *persona_id)
{
    persona_stock_t *stock = apr_hash_get(m->stocks, persona_id, APR_HASH_KEY_STRING);

    if (!stock) {
        stock = allocate(sizeof(*stock));
        persona_copy(stock->persona_id, persona_id);
        apr_hash_set(m->stocks, stock->persona_id, APR_HASH_KEY_STRING, stock);
    }
    return stock;
}

apr_time_t persona_stock_demand(persona_stock_t *stock, const char *session, apr_time_t arrived,
                                apr_time_t now)
{
    int i, oldest = 0;

    for (i = 0; i < stock->demand_count; i++) {
        persona_demand_t *d = &stock->demands[i];

        if (!strcmp(d->session, session)) {
            d->seen = now;
            d->arrived = arrived && arrived < d->arrived ? arrived : d->arrived;
            return d->arrived;
        }
        if (d->seen < stock->demands[oldest].seen) {
            oldest = i;
        }
    }
    if (stock->demand_count < PERSONA_DEMANDS_MAX) {
        oldest = stock->demand_count++;
    }
    persona_copy(stock->demands[oldest].session, session);
    stock->demands[oldest].arrived = arrived && arrived < now ? arrived : now;
    stock->demands[oldest].seen = now;
    return stock->demands[oldest].arrived;
}

int persona_stock_place(const persona_stock_t *stock, const char *session, apr_time_t now)
{
    const persona_demand_t *own = NULL;
    int i, place = 1;

    for (i = 0; i < stock->demand_count && !own; i++) {
        own = strcmp(stock->demands[i].session, session) ? NULL : &stock->demands[i];
    }
    for (i = 0; own && i < stock->demand_count; i++) {
        const persona_demand_t *d = &stock->demands[i];

        place += d != own && d->arrived < own->arrived && now - d->seen < PERSONA_DEMAND_FRESH;
    }
    return own ? place : 0;
}

void persona_stock_satisfied(persona_stock_t *stock, const char *session)
{
    int i;

    for (i = 0; i < stock->demand_count; i++) {
        if (!strcmp(stock->demands[i].session, session)) {
            stock->demands[i] = stock->demands[--stock->demand_count];
            return;
        }
    }
}

/* ---- ended sessions ---- */

void persona_ended_note(persona_manager_t *m, const char *session, const char *reason)
{
    ended_t *ended = apr_hash_get(m->ended, session, APR_HASH_KEY_STRING);

    if (!ended) {
        ended = allocate(sizeof(*ended));
        persona_copy(ended->session, session);
        apr_hash_set(m->ended, ended->session, APR_HASH_KEY_STRING, ended);
    }
    persona_copy(ended->reason, reason);
    ended->at = persona_manager_now(m);
}

const char *persona_ended_reason(persona_manager_t *m, const char *session)
{
    ended_t *ended = apr_hash_get(m->ended, session, APR_HASH_KEY_STRING);

    return ended ? ended->reason : NULL;
}

void persona_ended_prune(persona_manager_t *m)
{
    apr_hash_index_t *hi;
    apr_time_t now = persona_manager_now(m);

    for (hi = apr_hash_first(NULL, m->ended); hi; hi = apr_hash_next(hi)) {
        ended_t *ended = apr_hash_this_val(hi);

        if (now - ended->at > PERSONA_ENDED_KEPT) {
            apr_hash_set(m->ended, ended->session, APR_HASH_KEY_STRING, NULL);
            free(ended);
        }
    }
}

/* ---- tasks ---- */

void persona_tasks_init(persona_tasks_t *tasks, apr_pool_t *p)
{
    tasks->list = apr_array_make(p, 8, sizeof(queued_t));
}

void persona_tasks_add_arg(persona_tasks_t *tasks, persona_crew_t *crew, persona_job_fn *run,
                           void *arg)
{
    queued_t *queued = apr_array_push(tasks->list);

    queued->crew = crew;
    queued->run = run;
    queued->arg = arg;
}

void persona_tasks_add(persona_tasks_t *tasks, persona_manager_t *m, persona_site_t *site,
                       persona_crew_t *crew, persona_job_fn *run, const char *uuid,
                       const char *text)
{
    persona_task_t *task = allocate(sizeof(*task));

    task->manager = m;
    task->site = site;
    persona_copy(task->uuid, uuid);
    persona_copy(task->text, text);
    persona_tasks_add_arg(tasks, crew ? crew : site->work, run, task);
}

void persona_tasks_push(persona_tasks_t *tasks)
{
    int i;

    for (i = 0; i < tasks->list->nelts; i++) {
        queued_t *queued = &APR_ARRAY_IDX(tasks->list, i, queued_t);

        persona_crew_push(queued->crew, queued->run, queued->arg);
    }
    apr_array_clear(tasks->list);
}

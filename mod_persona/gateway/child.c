/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file child.c
 * @brief What one worker process has: its connection to the manager, the index, the catalog, and its open streams.
 *
 * One child_t in each process, made after fork. `lock` guards the catalog pointer, the known version, the cache and
 * the table of sessions; nobody waits for the manager or for memcached while holding it. One thread (heartbeat)
 * tells the manager which sessions are attached here and who has looked at the portal, and hears from it which
 * sessions are over; it ends with the process, so the streams of an old generation stay attached for as long as they
 * last.
 */
#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include "gateway.h"
#include "persona_store.h"

#define BEAT apr_time_from_sec(5)         /**< between two reports of an attached session */
#define LINGER apr_time_from_sec(30)      /**< a session without WebSocket is attached for so long after a request */
#define RECALL apr_time_from_sec(3)       /**< how long a record is used without asking the index again */
#define RECALL_MAX 4096
#define CALL_MAX apr_time_from_sec(2)
#define VISITS_MAX 256                    /**< told to the manager at once; a visit more is not told */
#define VISIT_CALL_MAX apr_time_from_msec(500)

typedef struct remembered_t {
    json_t *record;
    apr_time_t until;
} remembered_t;

/** One session with something open or recent in this process. */
typedef struct session_t {
    char id[PERSONA_SESSION_LEN], instance[PERSONA_UUID_LEN];
    int open, ended;
    apr_time_t last_input, last_seen;
    persona_attached_t *first;
} session_t;

/** Somebody looked at the portal. */
typedef struct visit_t {
    char user[PERSONA_USER_MAX + 1];
    json_t *roles;
} visit_t;

struct persona_attached_t {
    session_t *session;
    apr_socket_t *socket;
    persona_attached_t *next;
};

static struct child_t {
    server_rec *server;
    const persona_conf_t *conf;
    apr_pool_t *pool;             /**< of the tables; used under the lock */
    persona_ipc_t *ipc;
    persona_index_t *index;
    apr_thread_mutex_t *lock, *fetch;
    apr_thread_cond_t *wake;
    apr_thread_t *heartbeat;
    int stop;
    persona_catalog_t *catalog;
    char have[PERSONA_SESSION_LEN], known[PERSONA_SESSION_LEN]; /**< versions: ours, and the manager's */
    apr_hash_t *remembered, *sessions;
    visit_t *visits[VISITS_MAX];
    int visit_count;
} child;

int persona_child_ready(void)
{
    return child.ipc != NULL;
}

persona_index_t *persona_child_index(void)
{
    return child.index;
}

apr_status_t persona_child_call(const json_t *request, json_t **answer, apr_time_t deadline)
{
    apr_status_t status;
    const char *version;

    *answer = NULL;
    if (!child.ipc) {
        return APR_ENOTIMPL;
    }
    status = persona_ipc_call(child.ipc, request, answer, deadline);
    if (status != APR_SUCCESS) {
        return status;
    }
    version = json_string_value(json_object_get(*answer, "catalog"));
    if (version) {
        apr_thread_mutex_lock(child.lock);
        apr_cpystrn(child.known, version, sizeof(child.known));
        apr_thread_mutex_unlock(child.lock);
    }
    return APR_SUCCESS;
}

/* ---- catalog ---- */

/** Hold what we have; *current tells whether it is the manager's version. */
static persona_catalog_t *catalog_hold(int *current)
{
    persona_catalog_t *catalog;

    apr_thread_mutex_lock(child.lock);
    catalog = child.catalog;
    if (catalog) {
        persona_catalog_hold(catalog);
    }
    *current = catalog && !strcmp(child.have, child.known);
    apr_thread_mutex_unlock(child.lock);
    return catalog;
}

static void catalog_fetch(apr_time_t deadline)
{
    json_t *request = json_pack("{s:s}", "op", "catalog"), *answer = NULL;
    persona_catalog_t *catalog = NULL, *old;
    const char *version;

    if (persona_child_call(request, &answer, deadline) == APR_SUCCESS &&
        persona_catalog_from_json(&catalog, json_object_get(answer, "catalog_json")) == APR_SUCCESS) {
        version = json_string_value(json_object_get(answer, "catalog"));
        apr_thread_mutex_lock(child.lock);
        old = child.catalog;
        child.catalog = catalog;
        apr_cpystrn(child.have, version ? version : "", sizeof(child.have));
        apr_thread_mutex_unlock(child.lock);
        if (old) {
            persona_catalog_release(old);
        }
    }
    json_decref(answer);
    json_decref(request);
}

static apr_status_t catalog_let_go(void *catalog)
{
    persona_catalog_release(catalog);
    return APR_SUCCESS;
}

static persona_catalog_t *catalog_until(persona_catalog_t *catalog, apr_pool_t *p)
{
    if (catalog) {
        apr_pool_cleanup_register(p, catalog, catalog_let_go, apr_pool_cleanup_null);
    }
    return catalog;
}

persona_catalog_t *persona_child_peek(apr_pool_t *p)
{
    int current;

    return child.ipc ? catalog_until(catalog_hold(&current), p) : NULL;
}

persona_catalog_t *persona_child_catalog(apr_time_t deadline, apr_pool_t *p)
{
    persona_catalog_t *catalog;
    int current;

    if (!child.ipc) {
        return NULL;
    }
    catalog = catalog_until(catalog_hold(&current), p);
    if (current) {
        return catalog;
    }
    apr_thread_mutex_lock(child.fetch);
    catalog = catalog_until(catalog_hold(&current), p);
    if (!current) {
        catalog_fetch(deadline);
        catalog = catalog_until(catalog_hold(&current), p);
    }
    apr_thread_mutex_unlock(child.fetch);
    return catalog;
}

/* ---- records seen lately ---- */

static void forget_all(void)
{
    apr_hash_index_t *i;

    for (i = apr_hash_first(NULL, child.remembered); i; i = apr_hash_next(i)) {
        remembered_t *one = apr_hash_this_val(i);

        json_decref(one->record);
        free((void *)(apr_uintptr_t)apr_hash_this_key(i));
        free(one);
    }
    apr_hash_clear(child.remembered);
}

const persona_record_t *persona_child_recall(const char *key, apr_pool_t *p)
{
    persona_record_t *record = NULL;
    remembered_t *one;
    json_t *json = NULL;

    apr_thread_mutex_lock(child.lock);
    one = apr_hash_get(child.remembered, key, APR_HASH_KEY_STRING);
    if (one && one->until > apr_time_now()) {
        json = json_incref(one->record);
    }
    apr_thread_mutex_unlock(child.lock);
    if (json && persona_record_from_json(&record, json, p) != APR_SUCCESS) {
        record = NULL;
    }
    json_decref(json);
    return record && record->expires > apr_time_now() ? record : NULL;
}

void persona_child_remember(const char *key, const persona_record_t *record)
{
    json_t *json = persona_record_to_json(record);
    remembered_t *one;

    apr_thread_mutex_lock(child.lock);
    one = apr_hash_get(child.remembered, key, APR_HASH_KEY_STRING);
    if (!one) {
        if (apr_hash_count(child.remembered) >= RECALL_MAX) {
            forget_all();
        }
        one = calloc(1, sizeof(*one));
        apr_hash_set(child.remembered, strdup(key), APR_HASH_KEY_STRING, one);
    }
    json_decref(one->record);
    one->record = json;
    one->until = apr_time_now() + RECALL;
    apr_thread_mutex_unlock(child.lock);
}

static void forget_session(const char *session)
{
    apr_hash_index_t *i;

    for (i = apr_hash_first(NULL, child.remembered); i; i = apr_hash_next(i)) {
        remembered_t *one = apr_hash_this_val(i);
        const char *id = json_string_value(json_object_get(one->record, "session"));

        if (id && !strcmp(id, session)) {
            one->until = 0;
        }
    }
}

void persona_child_forget(const persona_record_t *record)
{
    apr_thread_mutex_lock(child.lock);
    forget_session(record->session);
    apr_thread_mutex_unlock(child.lock);
}

/* ---- attached sessions ---- */

persona_attached_t *persona_attach(const persona_record_t *record, apr_socket_t *socket)
{
    persona_attached_t *attached = calloc(1, sizeof(*attached));
    session_t *session;
    int first = 0;

    apr_thread_mutex_lock(child.lock);
    session = apr_hash_get(child.sessions, record->session, APR_HASH_KEY_STRING);
    if (!session) {
        session = calloc(1, sizeof(*session));
        apr_cpystrn(session->id, record->session, sizeof(session->id));
        apr_cpystrn(session->instance, record->instance, sizeof(session->instance));
        apr_hash_set(child.sessions, session->id, APR_HASH_KEY_STRING, session);
        first = 1;
    }
    else if (session->open == 0) {
        /* the same session id may come back with another instance: an API client has always the same */
        apr_cpystrn(session->instance, record->instance, sizeof(session->instance));
        session->ended = 0;
    }
    session->open++;
    session->last_input = session->last_seen = apr_time_now();
    attached->session = session;
    attached->socket = socket;
    attached->next = session->first;
    session->first = attached;
    if (first) {
        apr_thread_cond_signal(child.wake);
    }
    apr_thread_mutex_unlock(child.lock);
    return attached;
}

void persona_attach_input(persona_attached_t *attached)
{
    apr_thread_mutex_lock(child.lock);
    attached->session->last_input = apr_time_now();
    apr_thread_mutex_unlock(child.lock);
}

int persona_attach_ended(const persona_attached_t *attached)
{
    int ended;

    apr_thread_mutex_lock(child.lock);
    ended = attached->session->ended;
    apr_thread_mutex_unlock(child.lock);
    return ended;
}

void persona_detach(persona_attached_t *attached)
{
    persona_attached_t **at;

    apr_thread_mutex_lock(child.lock);
    for (at = &attached->session->first; *at; at = &(*at)->next) {
        if (*at == attached) {
            *at = attached->next;
            break;
        }
    }
    attached->session->open--;
    attached->session->last_seen = apr_time_now();
    apr_thread_mutex_unlock(child.lock);
    free(attached);
}

/** What one report needs, copied out of the table. */
typedef struct report_t {
    char session[PERSONA_SESSION_LEN], instance[PERSONA_UUID_LEN];
    int streams;
    apr_time_t last_input;
} report_t;

/** The sessions to report; those that were left long ago are taken out of the table, with a last report. */
static apr_array_header_t *reports_collect(apr_pool_t *p)
{
    apr_array_header_t *reports = apr_array_make(p, 16, sizeof(report_t));
    apr_time_t now = apr_time_now();
    apr_hash_index_t *i;

    apr_thread_mutex_lock(child.lock);
    for (i = apr_hash_first(p, child.sessions); i; i = apr_hash_next(i)) {
        session_t *session = apr_hash_this_val(i);
        report_t *report = apr_array_push(reports);

        apr_cpystrn(report->session, session->id, sizeof(report->session));
        apr_cpystrn(report->instance, session->instance, sizeof(report->instance));
        report->last_input = session->last_input;
        report->streams = session->open ? session->open : now - session->last_seen < LINGER;
        if (!report->streams) {
            apr_hash_set(child.sessions, session->id, APR_HASH_KEY_STRING, NULL);
            free(session);
        }
    }
    apr_thread_mutex_unlock(child.lock);
    return reports;
}

/** The manager says that it is over: cached records go, and sockets of relayed streams are shut. */
static void session_over(const report_t *report)
{
    persona_attached_t *attached;
    session_t *session;

    apr_thread_mutex_lock(child.lock);
    forget_session(report->session);
    session = apr_hash_get(child.sessions, report->session, APR_HASH_KEY_STRING);
    if (session && !strcmp(session->instance, report->instance)) {
        session->ended = 1;
        for (attached = session->first; attached; attached = attached->next) {
            if (attached->socket) {
                apr_socket_shutdown(attached->socket, APR_SHUTDOWN_READWRITE);
            }
        }
    }
    apr_thread_mutex_unlock(child.lock);
}

static void report_send(const report_t *report)
{
    json_t *answer = NULL, *request = json_pack("{s:s, s:s, s:s, s:i, s:I, s:i}", "op", "attach", "session",
                                                report->session, "instance", report->instance, "streams",
                                                report->streams, "last_input", (json_int_t)report->last_input,
                                                "pid", (int)getpid());
    const char *status;

    if (persona_child_call(request, &answer, apr_time_now() + CALL_MAX) == APR_SUCCESS) {
        status = json_string_value(json_object_get(answer, "status"));
        if (status && !strcmp(status, "none")) {
            session_over(report);
        }
    }
    json_decref(answer);
    json_decref(request);
}

void persona_child_visit(const char *user, json_t *roles)
{
    visit_t *visit = NULL;
    int i;

    if (!child.ipc) {
        json_decref(roles);
        return;
    }
    apr_thread_mutex_lock(child.lock);
    for (i = 0; i < child.visit_count && strcmp(child.visits[i]->user, user); i++) {
    }
    if (i == child.visit_count && i < VISITS_MAX) {
        visit = calloc(1, sizeof(*visit));
    }
    if (visit) {
        apr_cpystrn(visit->user, user, sizeof(visit->user));
        visit->roles = roles;
        child.visits[child.visit_count++] = visit;
        apr_thread_cond_signal(child.wake);
    }
    apr_thread_mutex_unlock(child.lock);
    if (!visit) {
        json_decref(roles);
    }
}

/** With the lock: what was not told yet. */
static int visits_take(visit_t *visits[VISITS_MAX])
{
    int count = child.visit_count;

    memcpy(visits, child.visits, sizeof(visits[0]) * (size_t)count);
    child.visit_count = 0;
    return count;
}

/** Once the manager does not answer, the others are not worth the wait: reports of sessions come next. */
static void visits_send(visit_t *const visits[VISITS_MAX], int count, int stop)
{
    int i;

    for (i = 0; i < count; i++) {
        json_t *answer = NULL, *request = json_pack("{s:s, s:s, s:o}", "op", "visit", "user", visits[i]->user, "roles",
                                                    visits[i]->roles);

        if (request && !stop) {
            stop = persona_child_call(request, &answer, apr_time_now() + VISIT_CALL_MAX) != APR_SUCCESS;
        }
        json_decref(answer);
        json_decref(request);
        free(visits[i]);
    }
}

static void *APR_THREAD_FUNC heartbeat_run(apr_thread_t *thread, void *unused)
{
    apr_time_t next = apr_time_now() + BEAT;
    visit_t *visits[VISITS_MAX];
    apr_pool_t *p;

    (void)unused;
    apr_pool_create(&p, NULL);
    for (;;) {
        apr_array_header_t *reports;
        apr_interval_time_t left;
        int stop, count, i;

        apr_thread_mutex_lock(child.lock);
        left = next - apr_time_now();
        left = left < BEAT ? left : BEAT; /* the clock may have been set back */
        if (!child.stop && !child.visit_count && left > 0) {
            apr_thread_cond_timedwait(child.wake, child.lock, left);
        }
        stop = child.stop;
        count = visits_take(visits);
        apr_thread_mutex_unlock(child.lock);
        visits_send(visits, count, stop);
        if (stop) {
            break;
        }
        left = next - apr_time_now();
        if (left > 0 && left <= BEAT) {
            continue;
        }
        next = apr_time_now() + BEAT;
        reports = reports_collect(p);
        for (i = 0; i < reports->nelts; i++) {
            report_send(&APR_ARRAY_IDX(reports, i, report_t));
        }
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    apr_thread_exit(thread, APR_SUCCESS);
    return NULL;
}

static apr_status_t child_leave(void *unused)
{
    apr_status_t status;

    (void)unused;
    apr_thread_mutex_lock(child.lock);
    child.stop = 1;
    apr_thread_cond_signal(child.wake);
    apr_thread_mutex_unlock(child.lock);
    apr_thread_join(&status, child.heartbeat);
    return APR_SUCCESS;
}

void persona_child_init(apr_pool_t *pchild, server_rec *s)
{
    const char *socket = persona_supervise_socket();
    persona_store_t *store;
    apr_status_t status;

    child.server = s;
    child.conf = persona_conf(s);
    if (!socket) {
        return;
    }
    apr_pool_create(&child.pool, pchild);
    child.remembered = apr_hash_make(child.pool);
    child.sessions = apr_hash_make(child.pool);
    apr_thread_mutex_create(&child.lock, APR_THREAD_MUTEX_DEFAULT, pchild);
    apr_thread_mutex_create(&child.fetch, APR_THREAD_MUTEX_DEFAULT, pchild);
    apr_thread_cond_create(&child.wake, pchild);
    if (child.conf->memcached) {
        status = persona_store_memcached_open(&store, child.conf->memcached, child.conf->timeout / 10, pchild);
        if (status == APR_SUCCESS) {
            status = persona_index_create(&child.index, store, persona_supervise_namespace(),
                                          persona_supervise_record_keys(), pchild);
        }
        if (status != APR_SUCCESS) {
            child.index = NULL;
            ap_log_error(APLOG_MARK, APLOG_WARNING, status, s, "PersonaMemcached %s cannot be used; this worker asks "
                         "the manager for everything", child.conf->memcached);
        }
    }
    status = persona_ipc_create(&child.ipc, socket, persona_supervise_secret(), pchild);
    if (status != APR_SUCCESS) {
        child.ipc = NULL;
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, s, "no way to the persona manager");
        return;
    }
    status = apr_thread_create(&child.heartbeat, NULL, heartbeat_run, NULL, pchild);
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, s, "no thread that reports sessions: they would be ended as "
                     "unused");
        return;
    }
    apr_pool_pre_cleanup_register(pchild, NULL, child_leave);
}

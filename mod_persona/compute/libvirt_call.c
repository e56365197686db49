/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file libvirt_call.c
 * @brief Connections to libvirt, and calls that cannot take longer than they may.
 *
 * A libvirt call has no timeout. So every call of the provider is a job that a thread of a lane works
 * off, and the caller waits for it with a clock in its hand. A job that is late is abandoned: it belongs to
 * the lane from then on, which frees it when it has ended. For that a job owns all memory that its work
 * touches.
 *
 * A lane is at most five threads, each with a connection of its own: libvirt's client before 10.3 reads a stack
 * frame that is gone when one thread wakes another that waits on the same connection (CVE-2024-4418), and the
 * process dies of it. For the same reason a connection to this host has no keepalive, which wakes as well: there
 * the callers' clock tells that a daemon hangs, and its end ends the connection. Threads are started on demand and
 * end with the lane. After a failure a lane does not connect again within half a second. One live connection of
 * the quick lane receives the events; when it dies, the next thread that needs one takes them over.
 *
 * libvirt's event loop runs in one thread of the process, started with the first connection and never ended:
 * it has no end in libvirt's interface either. A process that forks must do so before.
 *
 * The lane's mutex guards all of the lane and the states of its jobs; it is never held over a call.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <apr_strings.h>
#include <libvirt/virterror.h>

#include "compute/libvirt.h"

#define THREADS_MAX 5
#define RECONNECT_AFTER apr_time_from_msec(500)

struct libvirt_lane_t {
    libvirt_t *lv;
    int events;                 /**< one of this lane's connections receives them */
    pthread_mutex_t mutex;
    pthread_cond_t changed;     /**< a job was queued or finished, the connection came or went */
    libvirt_job_t *queue;       /**< waiting, first come first */
    libvirt_job_t *active[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    int started, idle, ended, closing;
    virConnectPtr conns[THREADS_MAX]; /**< each used by the thread of that number alone */
    int callbacks[THREADS_MAX]; /**< registration of the events with that connection; -1: none */
    apr_time_t failed_at;       /**< monotonic; 0: the last attempt was good */
    char failure[256];
};

static apr_time_t monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return apr_time_from_sec(now.tv_sec) + now.tv_nsec / 1000;
}

static struct timespec timespec_of(apr_time_t at)
{
    return (struct timespec){.tv_sec = apr_time_sec(at), .tv_nsec = apr_time_usec(at) * 1000};
}

static void condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* ---- errors ---- */

static void silence(void *baton, virErrorPtr error)
{
    (void)baton;
    (void)error;
}

int libvirt_error_code(void)
{
    virErrorPtr error = virGetLastError();

    return error ? error->code : VIR_ERR_OK;
}

apr_status_t libvirt_failed(virConnectPtr conn, persona_result_t *res, const char *problem, const char *what)
{
    const char *last = virGetLastErrorMessage();
    apr_status_t status = APR_EGENERAL;
    char words[400];

    /* The next call of libvirt, whichever it is, forgets the error. */
    apr_cpystrn(words, last, sizeof(words));
    switch (libvirt_error_code()) {
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_NO_SECRET:
    case VIR_ERR_NO_STORAGE_VOL:
    case VIR_ERR_NO_STORAGE_POOL:
    case VIR_ERR_NO_NETWORK:
    case VIR_ERR_NO_NWFILTER:
    case VIR_ERR_NO_NODE_DEVICE:
        status = APR_ENOENT;
        break;
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_AUTH_UNAVAILABLE:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED:
        status = APR_EACCES;
        break;
    case VIR_ERR_OPERATION_TIMEOUT:
        status = APR_TIMEUP;
        break;
    default:
        break;
    }
    /* Whatever was asked may have been done before the connection broke. */
    if (conn && virConnectIsAlive(conn) != 1) {
        status = APR_TIMEUP;
        problem = "connection-lost";
    }
    return persona_result_set(res, status, problem, "%s: %s", what, words);
}

/* ---- the event loop ---- */

static pthread_once_t process_once = PTHREAD_ONCE_INIT;
static int process_ready;

static void *run_events(void *unused)
{
    (void)unused;
    for (;;) {
        if (virEventRunDefaultImpl() < 0) {
            persona_log(PERSONA_LOG_ERR, 0, "libvirt's event loop failed: %s", virGetLastErrorMessage());
            struct timespec pause = {.tv_sec = 1};
            nanosleep(&pause, NULL);
        }
    }
    return NULL;
}

static void process_start(void)
{
    pthread_t thread;

    if (virInitialize() < 0) {
        return;
    }
    virSetErrorFunc(NULL, silence);
    if (virEventRegisterDefaultImpl() < 0 || pthread_create(&thread, NULL, run_events, NULL)) {
        return;
    }
    pthread_detach(thread);
    process_ready = 1;
}

/* Where libvirt's events go. libvirt keeps a registration, and so this, for longer than the connection and perhaps
 * the compute: it is freed with its last holder, and from the close on it leads nowhere. */
struct libvirt_listener_t {
    pthread_mutex_t mutex;
    libvirt_t *lv;   /**< NULL: closed */
    persona_compute_event_cb *cb;
    void *baton;
    int holders;
};

static void listener_release(void *data)
{
    libvirt_listener_t *listener = data;
    int left;

    pthread_mutex_lock(&listener->mutex);
    left = --listener->holders;
    pthread_mutex_unlock(&listener->mutex);
    if (!left) {
        pthread_mutex_destroy(&listener->mutex);
        free(listener);
    }
}

void libvirt_watch(persona_compute_t *c, persona_compute_event_cb *cb, void *baton)
{
    libvirt_listener_t *listener = ((libvirt_t *)c)->listener;

    pthread_mutex_lock(&listener->mutex);
    listener->cb = cb;
    listener->baton = baton;
    pthread_mutex_unlock(&listener->mutex);
}

/* The mutex is held over the callback, so that none is under way any more when the compute has been closed. */
static int on_lifecycle(virConnectPtr conn, virDomainPtr domain, int event, int detail, void *data)
{
    libvirt_listener_t *listener = data;
    const char *name = virDomainGetName(domain);

    (void)conn;
    (void)event;
    (void)detail;
    if (!name || strncmp(name, LIBVIRT_NAME_PREFIX, strlen(LIBVIRT_NAME_PREFIX))) {
        return 0;
    }
    pthread_mutex_lock(&listener->mutex);
    if (listener->lv && listener->cb) {
        listener->cb(listener->baton, &listener->lv->head, name + strlen(LIBVIRT_NAME_PREFIX));
    }
    pthread_mutex_unlock(&listener->mutex);
    return 0;
}

/* ---- the connections ---- */

static void listen_to(libvirt_lane_t *lane, int slot, virConnectPtr conn)
{
    int callback;

    libvirt_listener_t *listener = lane->lv->listener;

    pthread_mutex_lock(&listener->mutex);
    ++listener->holders;
    pthread_mutex_unlock(&listener->mutex);
    callback = virConnectDomainEventRegisterAny(conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                                VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), listener, listener_release);
    pthread_mutex_lock(&lane->mutex);
    lane->callbacks[slot] = callback;
    pthread_mutex_unlock(&lane->mutex);
    if (callback < 0) {
        persona_log(PERSONA_LOG_WARNING, 0, "compute %s: libvirt sends no events: %s", lane->lv->head.conf->name,
                    virGetLastErrorMessage());
        listener_release(listener);
    }
}

/* Blocks for as long as the daemon likes. */
static virConnectPtr connect_now(libvirt_lane_t *lane)
{
    apr_int64_t seconds = apr_time_sec(lane->lv->head.timeout);
    virConnectPtr conn = virConnectOpenAuth(lane->lv->head.conf->address, virConnectAuthPtrDefault, 0);

    /* Closed after count + 1 silent seconds: before the callers' time is over, where that is long enough. */
    if (conn && !lane->lv->options->local) {
        virConnectSetKeepAlive(conn, 1, seconds > 3 ? (unsigned)seconds - 2 : 1);
    }
    return conn;
}

static void disconnect(virConnectPtr conn, int callback)
{
    /* A registration keeps its connection alive. */
    if (callback >= 0) {
        virConnectDomainEventDeregisterAny(conn, callback);
    }
    virConnectClose(conn);
}

/* Whether no live connection of the lane receives events. The lane's mutex is held; asking whether a connection of
 * another thread is alive sends nothing and wakes nobody. */
static int deaf(const libvirt_lane_t *lane)
{
    for (int i = 0; i < THREADS_MAX; ++i) {
        if (lane->conns[i] && lane->callbacks[i] >= 0 && virConnectIsAlive(lane->conns[i]) == 1) {
            return 0;
        }
    }
    return 1;
}

/* What connect_now() gave is the slot's; it failed where `conn` is NULL. The lane's mutex is held. */
static void connected(libvirt_lane_t *lane, int slot, virConnectPtr conn)
{
    const persona_compute_conf_t *conf = lane->lv->head.conf;

    lane->conns[slot] = conn;
    if (conn) {
        if (lane->failed_at) {
            persona_log(PERSONA_LOG_NOTICE, 0, "compute %s: libvirt at %s answers again", conf->name, conf->address);
        }
        lane->failed_at = 0;
        return;
    }
    if (!lane->failed_at) {
        persona_log(PERSONA_LOG_WARNING, 0, "compute %s: cannot connect to libvirt at %s: %s", conf->name,
                    conf->address, virGetLastErrorMessage());
    }
    lane->failed_at = monotonic();
    apr_cpystrn(lane->failure, virGetLastErrorMessage(), sizeof(lane->failure));
}

/* The connection of this thread, which is opened where there is none; NULL: it cannot be. */
static virConnectPtr connection(libvirt_lane_t *lane, int slot, persona_result_t *res)
{
    virConnectPtr conn, dead = NULL;
    int callback = -1, listen;

    pthread_mutex_lock(&lane->mutex);
    if (lane->conns[slot] && virConnectIsAlive(lane->conns[slot]) != 1) {
        dead = lane->conns[slot];
        callback = lane->callbacks[slot];
        lane->conns[slot] = NULL;
        lane->callbacks[slot] = -1;
    }
    if (!lane->conns[slot] && !lane->closing
        && (!lane->failed_at || monotonic() - lane->failed_at >= RECONNECT_AFTER)) {
        pthread_mutex_unlock(&lane->mutex);
        conn = connect_now(lane);
        pthread_mutex_lock(&lane->mutex);
        connected(lane, slot, conn);
    }
    conn = lane->conns[slot];
    listen = conn && lane->events && deaf(lane);
    if (!conn) {
        persona_result_set(res, APR_ECONNREFUSED, "engine-down", "libvirt at %s does not answer: %s",
                           lane->lv->head.conf->address, lane->failure);
    }
    pthread_mutex_unlock(&lane->mutex);
    if (dead) {
        disconnect(dead, callback);
    }
    if (listen) {
        listen_to(lane, slot, conn);
    }
    return conn;
}

/* ---- jobs ---- */

libvirt_job_t *libvirt_job_make(libvirt_t *lv, libvirt_lane_e lane, const char *key, libvirt_work_fn *work,
                                apr_size_t args_size)
{
    apr_pool_t *pool;
    libvirt_job_t *job;

    /* Not below APR's root pool: who frees it first at the end of the process would not be known. */
    apr_pool_create_unmanaged(&pool);
    job = apr_pcalloc(pool, sizeof(*job));
    job->pool = pool;
    job->args = apr_pcalloc(pool, args_size);
    job->lv = lv;
    job->lane = lv->lanes[lane];
    job->work = work;
    job->key = key ? apr_pstrdup(pool, key) : NULL;
    condition_init(&job->finished);
    return job;
}

static apr_status_t job_free(void *data)
{
    libvirt_job_t *job = data;

    pthread_cond_destroy(&job->finished);
    apr_pool_destroy(job->pool);
    return APR_SUCCESS;
}

void libvirt_job_drop(libvirt_job_t *job)
{
    job_free(job);
}

static int is_abandoned(libvirt_job_t *job)
{
    int abandoned;

    pthread_mutex_lock(&job->lane->mutex);
    abandoned = job->abandoned && !job->detached;
    pthread_mutex_unlock(&job->lane->mutex);
    return abandoned;
}

/* The first job in the queue whose key nobody is working on; taken out. */
static libvirt_job_t *next_job(libvirt_lane_t *lane)
{
    for (libvirt_job_t **at = &lane->queue; *at; at = &(*at)->next) {
        libvirt_job_t *job = *at;
        int busy = 0;

        for (int i = 0; job->key && i < THREADS_MAX; ++i) {
            busy |= lane->active[i] && lane->active[i]->key && !strcmp(lane->active[i]->key, job->key);
        }
        if (!busy) {
            *at = job->next;
            return job;
        }
    }
    return NULL;
}

static void run_job(libvirt_job_t *job, int slot)
{
    for (int attempt = 0; attempt < 2; ++attempt) {
        virConnectPtr conn = connection(job->lane, slot, &job->result);
        int alive;

        if (!conn) {
            job->status = APR_ECONNREFUSED;
            return;
        }
        memset(&job->result, 0, sizeof(job->result));
        virResetLastError();
        job->status = job->work(job->lv, conn, job->args, &job->result, job->pool);
        alive = virConnectIsAlive(conn) == 1;
        /* Lost on the way, most often because libvirt was restarted since the last call: once more. */
        if (alive || job->status != APR_TIMEUP || is_abandoned(job)) {
            return;
        }
    }
}

static void *run_thread(void *data)
{
    libvirt_lane_t *lane = data;
    int slot = -1;

    pthread_mutex_lock(&lane->mutex);
    for (int i = 0; i < lane->started; ++i) {
        if (pthread_equal(lane->threads[i], pthread_self())) {
            slot = i;
        }
    }
    while (!lane->closing) {
        libvirt_job_t *job = next_job(lane);

        if (!job) {
            lane->idle++;
            pthread_cond_wait(&lane->changed, &lane->mutex);
            lane->idle--;
            continue;
        }
        lane->active[slot] = job;
        job->running = 1;
        pthread_mutex_unlock(&lane->mutex);
        run_job(job, slot);
        pthread_mutex_lock(&lane->mutex);
        lane->active[slot] = NULL;
        job->done = 1;
        if (job->abandoned) {
            pthread_mutex_unlock(&lane->mutex);
            job_free(job);
            pthread_mutex_lock(&lane->mutex);
        }
        else {
            pthread_cond_signal(&job->finished);
        }
        pthread_cond_broadcast(&lane->changed);
    }
    lane->ended++;
    pthread_cond_broadcast(&lane->changed);
    pthread_mutex_unlock(&lane->mutex);
    return NULL;
}

/* Queue the job and wait for it. Whether it is done; if not, it belongs to the lane. */
static int wait_for(libvirt_job_t *job, apr_interval_time_t wait)
{
    libvirt_lane_t *lane = job->lane;
    const struct timespec until = timespec_of(monotonic() + wait);
    libvirt_job_t **at;
    int waiting = 1, drop = 0;

    pthread_mutex_lock(&lane->mutex);
    for (at = &lane->queue; *at; at = &(*at)->next) {
        ++waiting;
    }
    *at = job;
    if (lane->idle < waiting && lane->started < THREADS_MAX
        && !pthread_create(&lane->threads[lane->started], NULL, run_thread, lane)) {
        lane->started++;
    }
    pthread_cond_broadcast(&lane->changed);
    while (!job->done && pthread_cond_timedwait(&job->finished, &lane->mutex, &until) != ETIMEDOUT) {
    }
    if (job->done) {
        pthread_mutex_unlock(&lane->mutex);
        return 1;
    }
    job->abandoned = 1;
    for (at = &lane->queue; !job->running && !job->detached && *at; at = &(*at)->next) {
        if (*at == job) {
            *at = job->next;
            drop = 1;
            break;
        }
    }
    pthread_mutex_unlock(&lane->mutex);
    if (drop) {
        job_free(job);
    }
    return 0;
}

static apr_status_t outcome(libvirt_job_t *job, persona_result_t *res, apr_pool_t *p)
{
    apr_pool_cleanup_register(p, job, job_free, apr_pool_cleanup_null);
    if (res) {
        *res = job->result;
    }
    return job->status;
}

apr_status_t libvirt_job_run(libvirt_job_t *job, persona_result_t *res, apr_pool_t *p)
{
    libvirt_t *lv = job->lv;

    if (wait_for(job, lv->head.timeout)) {
        return outcome(job, res, p);
    }
    return persona_result_set(res, APR_TIMEUP, "engine-slow", "libvirt at %s did not answer within %" APR_INT64_T_FMT
                              " ms", lv->head.conf->address, apr_time_as_msec(lv->head.timeout));
}

apr_status_t libvirt_job_start(libvirt_job_t *job, apr_interval_time_t wait, persona_result_t *res, apr_pool_t *p)
{
    job->detached = 1;
    return wait_for(job, wait) ? outcome(job, res, p) : APR_SUCCESS;
}

/* ---- lanes ---- */

apr_status_t libvirt_lanes_open(libvirt_t *lv)
{
    pthread_once(&process_once, process_start);
    if (!process_ready || !(lv->listener = calloc(1, sizeof(*lv->listener)))) {
        return APR_EGENERAL;
    }
    pthread_mutex_init(&lv->listener->mutex, NULL);
    lv->listener->lv = lv;
    lv->listener->holders = 1;
    for (int i = 0; i < LIBVIRT_LANES; ++i) {
        libvirt_lane_t *lane = apr_pcalloc(lv->pool, sizeof(*lane));

        lane->lv = lv;
        lane->events = i == LIBVIRT_QUICK;
        for (int slot = 0; slot < THREADS_MAX; ++slot) {
            lane->callbacks[slot] = -1;
        }
        pthread_mutex_init(&lane->mutex, NULL);
        condition_init(&lane->changed);
        lv->lanes[i] = lane;
    }
    return APR_SUCCESS;
}

static int lane_close(libvirt_lane_t *lane)
{
    const struct timespec until = timespec_of(monotonic() + lane->lv->head.timeout);
    int late = 0;

    pthread_mutex_lock(&lane->mutex);
    lane->closing = 1;
    pthread_cond_broadcast(&lane->changed);
    while (lane->ended < lane->started && !late) {
        late = pthread_cond_timedwait(&lane->changed, &lane->mutex, &until) == ETIMEDOUT;
    }
    pthread_mutex_unlock(&lane->mutex);
    for (int i = 0; i < lane->started; ++i) {
        if (late) {
            pthread_detach(lane->threads[i]);
        }
        else {
            pthread_join(lane->threads[i], NULL);
        }
    }
    for (int i = 0; i < THREADS_MAX && !late; ++i) {
        if (lane->conns[i]) {
            disconnect(lane->conns[i], lane->callbacks[i]);
        }
    }
    if (!late) {
        pthread_cond_destroy(&lane->changed);
        pthread_mutex_destroy(&lane->mutex);
    }
    return !late;
}

int libvirt_lanes_close(libvirt_t *lv)
{
    int clean = 1;

    pthread_mutex_lock(&lv->listener->mutex);
    lv->listener->lv = NULL;
    pthread_mutex_unlock(&lv->listener->mutex);
    for (int i = 0; i < LIBVIRT_LANES; ++i) {
        clean &= lane_close(lv->lanes[i]);
    }
    listener_release(lv->listener);
    return clean;
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file manager.c
 * @brief The process: sockets, threads, and the loop that ticks.
 *
 * The calling thread is the ticking thread. It wakes every second (planner leases last two), at a wake
 * from another thread, and when a signal or the end of the lifeline says stop; the forecast is asked on schedule.
 * Nothing in the loop waits for a provider: each compute is read by its own thread, and jobs go to its crew.
 * What may wait is the index, and its breaker lets it fail once a second.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "boot.h"
#include "events.h"
#include "forecaster.h"
#include "hook.h"
#include "manager.h"
#include "monotonic.h"
#include "ops.h"
#include "probe.h"
#include "reconcile.h"
#include "start.h"

#define BEAT apr_time_from_sec(1)
/** A burst of wakes is one round. */
#define BURST           apr_time_from_msec(15)
/** A round looks at every instance, and each claim asks for one: between two lies so many times as long as one took. */
#define REST            4
#define REST_MAX        apr_time_from_msec(500)
#define STORE_TIMEOUT   apr_time_from_msec(500)
#define WORKER_THREADS  24
#define CONTROL_THREADS 4
#define STOP_GRACE      apr_time_from_msec(500)

static void on_event(void *baton, persona_compute_t *c, const char *uuid)
{
    persona_site_t *site = baton;

    (void)c;
    (void)uuid;
    persona_manager_lock(site->manager);
    persona_site_wake(site);
    persona_manager_unlock(site->manager);
}

static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/** What woke the loop. */
typedef enum { WOKE_TIME, WOKE_WORK, WOKE_RELOAD, WOKE_STOP } woke_e;

static woke_e wait_for_work(persona_manager_t *m, int signals, apr_interval_time_t left)
{
    struct pollfd fds[3] = {
        {signals, POLLIN, 0}, {m->settings->lifeline_fd, POLLIN, 0}, {m->wake_fd, POLLIN, 0}};
    struct signalfd_siginfo info;
    uint64_t count;
    char byte;

    if (poll(fds, 3, left > 0 ? (int)apr_time_as_msec(left) + 1 : 0) <= 0) {
        return WOKE_TIME;
    }
    if ((fds[0].revents & POLLIN) && read(signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGHUP) {
            return WOKE_RELOAD;
        }
        persona_log(PERSONA_LOG_NOTICE, 0, "signal %u: stopping; instances stay", info.ssi_signo);
        return WOKE_STOP;
    }
    if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) &&
        read(m->settings->lifeline_fd, &byte, 1) <= 0) {
        persona_log(PERSONA_LOG_NOTICE, 0, "httpd is gone: stopping; instances stay");
        return WOKE_STOP;
    }
    if ((fds[2].revents & POLLIN) && read(m->wake_fd, &count, sizeof(count)) < 0) {
        return WOKE_TIME;
    }
    return WOKE_WORK;
}

static void loop(persona_manager_t *m, int signals, apr_pool_t *p)
{
    apr_time_t next_full = 0, last = 0;
    apr_interval_time_t pause;
    apr_pool_t *round;

    apr_pool_create(&round, p);
    for (;;) {
        apr_time_t now = persona_monotonic_now();
        int full = now >= next_full;
        woke_e woke;

        if (full) {
            next_full = now + m->settings->schedule;
        }
        persona_manager_tick(m, full, round);
        apr_pool_clear(round);
        last = persona_monotonic_now();
        pause = (last - now) * REST;
        pause = pause < BURST ? BURST : pause > REST_MAX ? REST_MAX : pause;
        do {
            now = persona_monotonic_now();
            woke = wait_for_work(m, signals,
                                 (next_full < last + BEAT ? next_full : last + BEAT) - now);
            if (woke == WOKE_STOP) {
                return;
            }
        } while (woke == WOKE_TIME && persona_monotonic_now() < next_full && persona_monotonic_now() < last + BEAT);
        if (woke == WOKE_RELOAD) {
            persona_manager_lock(m);
            m->reload = 1;
            persona_manager_unlock(m);
        }
        persona_manager_lock(m);
        next_full = m->reload ? 0 : next_full;
        persona_manager_unlock(m);
        if (woke == WOKE_WORK) {
            apr_sleep(pause);
        }
    }
}

/** The history is never a reason not to start. */
static void start_trail(persona_manager_t *m, apr_pool_t *p)
{
    const persona_settings_t *settings = m->settings;
    persona_trail_conf_t conf = {settings->database, settings->database_params, m->id, settings->history, {NULL, NULL},
                                 0};
    apr_status_t status;
    int i;

    if (!settings->database || !settings->database_params) {
        return;
    }
    for (i = 0; settings->pseudonyms && i < 2; i++) {
        conf.pseudonym_keys[i] = persona_settings_key(settings, i, "pseudonym", p);
    }
    status = persona_trail_create(&m->trail, &conf, p);
    if (status != APR_SUCCESS) {
        const char *problem = persona_database_driver_check(settings->database, p);

        persona_log(PERSONA_LOG_ERR, problem ? 0 : status, "no history is written: %s",
                    problem ? problem : "its thread cannot be started");
    }
}

static apr_status_t start_threads(persona_manager_t *m, apr_pool_t *p)
{
    apr_status_t status = persona_prober_create(&m->prober, persona_boot_probed, m, p);
    int i;

    for (i = 0; status == APR_SUCCESS && i < m->site_count; i++) {
        persona_site_t *site = &m->sites[i];

        site->compute->provider->watch(site->compute, on_event, site);
        status = persona_thread_start(persona_reconcile_thread, site);
    }
    return status;
}

/** What has been asked of the computes is waited for, as long as a call may last: a boot that is cut short would be
 * thrown away by the next manager, and made anew while somebody waits for it. */
static void finish(persona_manager_t *m)
{
    apr_time_t until = persona_monotonic_now() + m->settings->timeout;
    apr_interval_time_t pause;
    int i, left = 0;

    for (i = 0; i < m->site_count; i++) {
        persona_crew_rest(m->sites[i].claims, 0);
        persona_crew_rest(m->sites[i].work, 0);
        persona_crew_rest(m->sites[i].retires, 0);
    }
    for (i = 0; i < m->site_count; i++) {
        pause = until - persona_monotonic_now();
        left += persona_crew_rest(m->sites[i].claims, pause > 0 ? pause : 0);
        pause = until - persona_monotonic_now();
        left += persona_crew_rest(m->sites[i].work, pause > 0 ? pause : 0);
        pause = until - persona_monotonic_now();
        left += persona_crew_rest(m->sites[i].retires, pause > 0 ? pause : 0);
    }
    if (left) {
        persona_log(PERSONA_LOG_WARNING, 0, "%d calls to computes did not end in time; the next manager finds out "
                    "what came of them", left);
    }
}

int persona_manager_main(const persona_settings_t *settings)
{
    persona_ipc_server_t *workers = NULL, *control = NULL;
    persona_store_t *store = NULL;
    persona_manager_t *m;
    apr_pool_t *p, *scratch;
    apr_status_t status;
    apr_int64_t lost;
    int signals = open_signals();

    persona_hook_init();
    if (signals < 0 || apr_pool_create(&p, NULL) != APR_SUCCESS ||
        apr_pool_create(&scratch, NULL) != APR_SUCCESS) {
        return PERSONA_EXIT_START;
    }
    status = settings->memcached
                 ? persona_store_memcached_open(&store, settings->memcached, STORE_TIMEOUT, p)
                 : persona_store_memory_open(&store, p);
    if (status != APR_SUCCESS) {
        persona_log(PERSONA_LOG_ERR, status, "the index %s cannot be opened",
                    settings->memcached ? settings->memcached : "in memory");
        return PERSONA_EXIT_START;
    }
    status = persona_manager_create(&m, settings, store, 1, p);
    if (status != APR_SUCCESS) {
        persona_log(PERSONA_LOG_ERR, status, "the manager cannot start");
        return PERSONA_EXIT_START;
    }
    start_trail(m, p);
    m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    status = m->wake_fd < 0 ? errno : start_threads(m, p);
    if (status == APR_SUCCESS) {
        status = persona_ipc_serve(&workers, settings->listen_fd, settings->secret,
                                   settings->web_uid, WORKER_THREADS, persona_ops_answer, m, p);
    }
    if (status == APR_SUCCESS && settings->control_fd >= 0) {
        status = persona_ipc_serve(&control, settings->control_fd, NULL, geteuid(), CONTROL_THREADS,
                                   persona_ops_answer, m, p);
    }
    if (status != APR_SUCCESS) {
        persona_log(PERSONA_LOG_ERR, status, "the manager's sockets cannot be served");
        return PERSONA_EXIT_START;
    }
    persona_log(PERSONA_LOG_NOTICE, 0, "the persona manager serves: %d personas, %d computes",
                m->catalog->personas->nelts, m->site_count);
    loop(m, signals, scratch);
    persona_forecaster_save(m, 1, scratch);
    persona_ipc_stop(workers, STOP_GRACE);
    if (control) {
        persona_ipc_stop(control, STOP_GRACE);
    }
    finish(m);
    lost = persona_trail_stop(m->trail, STOP_GRACE);
    if (lost) {
        persona_log(PERSONA_LOG_WARNING, 0, "%" APR_INT64_T_FMT " events did not get into the history", lost);
    }
    return PERSONA_EXIT_OK;
}

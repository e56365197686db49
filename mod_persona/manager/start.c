/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file start.c
 * @brief A manager from its settings, and the round that its tick repeats.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_file_io.h>
#include <apr_strings.h>

#include "boot.h"
#include "events.h"
#include "forecaster.h"
#include "maker.h"
#include "monotonic.h"
#include "persona/digest.h"
#include "plan.h"
#include "reconcile.h"
#include "retire.h"
#include "sessions.h"
#include "start.h"

#define BOOTS_DEFAULT 4
#define CLAIM_THREADS 6
#define RETIRE_THREADS 3
#define HOOK_THREADS  8
#define HOMES_EVERY   apr_time_from_sec(60)

/** The name under which this manager takes fences to retire: it must be the same after a crash. */
static const char *stable_id(const persona_settings_t *settings, apr_pool_t *p)
{
    const char *path = apr_pstrcat(p, settings->state_dir, "/manager-id", NULL);
    char *id = persona_random_hex(16, p);
    char kept[33] = "";
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd >= 0) {
        n = read(fd, kept, 32);
        close(fd);
        if (n == 32 && strspn(kept, "0123456789abcdef") == 32) {
            return apr_pstrdup(p, kept);
        }
    }
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, id, 32) != 32 || fsync(fd) != 0) {
        persona_log(PERSONA_LOG_WARNING, errno,
                    "%s cannot be written: a retirement that a crash interrupts will be "
                    "finished two minutes later",
                    path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return id;
}

static apr_status_t open_site(persona_manager_t *m, persona_site_t *site,
                              const persona_compute_conf_t *conf, int threads)
{
    const persona_settings_t *settings = m->settings;
    const persona_compute_provider_t *provider = persona_compute_provider(conf->provider);
    const char *boots = conf->options ? apr_table_get(conf->options, "boots") : NULL;
    persona_result_t res = {0};
    const char *wrong;
    apr_status_t status;

    if (!provider) {
        persona_log(PERSONA_LOG_ERR, 0, "compute %s: there is no provider %s; this build has %s",
                    conf->name, conf->provider, persona_compute_names(m->pool));
        return APR_ENOTIMPL;
    }
    site->manager = m;
    site->conf = conf;
    site->boots_max = boots ? atoi(boots) : BOOTS_DEFAULT;
    if (site->boots_max < 1) {
        site->boots_max = 1;
    }
    wrong = persona_compute_limits(conf, site->limits, m->pool);
    if (wrong) {
        persona_log(PERSONA_LOG_ERR, 0, "compute %s: %s; it goes without such limits", conf->name, wrong);
    }
    persona_monotonic_cond(&site->wake);
    status = provider->open(&site->compute, conf, settings->ns, settings->timeout, &res, m->pool);
    if (status != APR_SUCCESS) {
        persona_log(PERSONA_LOG_ERR, status, "compute %s (%s) cannot be used: %s", conf->name,
                    conf->address, res.detail);
        return status;
    }
    status = persona_crew_create(&site->claims, threads ? CLAIM_THREADS : 0, m->pool);
    if (status == APR_SUCCESS) {
        status = persona_crew_create(&site->work, threads ? site->boots_max + 2 : 0, m->pool);
    }
    if (status == APR_SUCCESS) {
        status = persona_crew_create(&site->retires, threads ? RETIRE_THREADS : 0, m->pool);
    }
    return status;
}

static void log_catalog(const persona_catalog_t *catalog, apr_pool_t *p)
{
    int i;

    for (i = 0; i < catalog->errors->nelts; i++) {
        persona_log(PERSONA_LOG_ERR, 0, "%s",
                    persona_error_text(&APR_ARRAY_IDX(catalog->errors, i, persona_error_t), p));
    }
    for (i = 0; i < catalog->stale->nelts; i++) {
        persona_log(PERSONA_LOG_WARNING, 0, "%s: its last good version stays in force",
                    APR_ARRAY_IDX(catalog->stale, i, const char *));
    }
}

static apr_status_t read_catalog(persona_manager_t *m, persona_catalog_t **catalog, apr_pool_t *p)
{
    const char *lastgood = apr_pstrcat(p, m->settings->state_dir, "/lastgood", NULL);
    apr_status_t status =
        apr_dir_make(lastgood, APR_FPROT_UREAD | APR_FPROT_UWRITE | APR_FPROT_UEXECUTE, p);

    if (status != APR_SUCCESS && !APR_STATUS_IS_EEXIST(status)) {
        persona_log(PERSONA_LOG_WARNING, status,
                    "%s cannot be made: the last good personas are not kept", lastgood);
        lastgood = NULL;
    }
    status = persona_catalog_read(catalog, m->settings->directory, lastgood);
    if (status == APR_SUCCESS) {
        log_catalog(*catalog, p);
    }
    return status;
}

apr_status_t persona_manager_create(persona_manager_t **manager, const persona_settings_t *settings,
                                    persona_store_t *store, int threads, apr_pool_t *p)
{
    persona_manager_t *m = apr_pcalloc(p, sizeof(*m));
    const char *keys[2];
    apr_status_t status;
    int i;

    m->settings = settings;
    m->pool = p;
    m->wake_fd = -1;
    m->store = store;
    m->id = stable_id(settings, p);
    m->retire_name = apr_pstrcat(p, "retire:", m->id, NULL);
    m->maker = persona_maker_name(m->id, p);
    for (i = 0; i < 2; i++) {
        m->hook_keys[i] = persona_settings_key(settings, i, "hook", p);
        m->share_keys[i] = persona_settings_key(settings, i, "attached", p);
        m->home_keys[i] = persona_settings_key(settings, i, "home", p);
        keys[i] = persona_settings_key(settings, i, "record", p);
    }
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->model_lock, NULL);
    persona_monotonic_cond(&m->changed);
    m->entries = apr_hash_make(p);
    m->sessions = apr_hash_make(p);
    m->users = apr_hash_make(p);
    m->unnamed = apr_hash_make(p);
    m->assigning = apr_hash_make(p);
    m->ended = apr_hash_make(p);
    m->dropped = apr_hash_make(p);
    m->visitors = apr_hash_make(p);
    m->stocks = apr_hash_make(p);
    m->strays = apr_hash_make(p);
    m->started = apr_time_now();
    status = persona_index_create(&m->index, store, settings->ns, keys, p);
    if (status == APR_SUCCESS) {
        status = persona_forecaster_open(m, p);
    }
    if (status == APR_SUCCESS) {
        m->catalog_stamp = persona_catalog_stamp(settings->directory, p);
        status = read_catalog(m, &m->catalog, p);
    }
    if (status == APR_SUCCESS) {
        status = persona_crew_create(&m->hooks, threads ? HOOK_THREADS : 0, p);
    }
    m->sites = apr_pcalloc(p, sizeof(*m->sites) * (apr_size_t)(settings->computes->nelts + 1));
    for (i = 0; status == APR_SUCCESS && i < settings->computes->nelts; i++) {
        if (open_site(m, &m->sites[m->site_count],
                      &APR_ARRAY_IDX(settings->computes, i, persona_compute_conf_t),
                      threads) == APR_SUCCESS) {
            m->site_count++;
        }
    }
    *manager = m;
    return status;
}

/** Errors are logged when a file changed, not at each tick. */
static void refresh_catalog(persona_manager_t *m, apr_pool_t *p)
{
    apr_uint64_t stamp = persona_catalog_stamp(m->settings->directory, p);
    persona_catalog_t *catalog, *old;
    int reload;

    persona_manager_lock(m);
    reload = m->reload || stamp != m->catalog_stamp;
    m->reload = 0;
    m->catalog_stamp = stamp;
    persona_manager_unlock(m);
    if (!reload || read_catalog(m, &catalog, p) != APR_SUCCESS) {
        return;
    }
    persona_manager_lock(m);
    old = m->catalog;
    m->catalog = catalog;
    m->catalogs_read++;
    pthread_cond_broadcast(&m->changed);
    persona_manager_unlock(m);
    persona_log(PERSONA_LOG_NOTICE, 0, "%d personas are in force, %d errors (%s)",
                catalog->personas->nelts, catalog->errors->nelts, m->settings->directory);
    persona_catalog_release(old);
}

void persona_manager_tick(persona_manager_t *m, int full, apr_pool_t *p)
{
    persona_catalog_t *catalog;
    persona_tasks_t tasks;
    int homes, i;

    if (full) {
        refresh_catalog(m, p);
        persona_forecaster_dates(m);
        persona_forecaster_feed(m, p);
        persona_forecaster_save(m, 0, p);
    }
    catalog = persona_manager_catalog(m);
    persona_sessions_tick(m, p);
    persona_plan(m, catalog, full, p);
    persona_tasks_init(&tasks, p);
    persona_manager_lock(m);
    persona_boot_probe(m, catalog);
    persona_retire_due(m, &tasks);
    if (full) {
        persona_ended_prune(m);
        persona_dropped_prune(m);
        homes = persona_manager_now(m) - m->homes_checked > HOMES_EVERY && m->site_count;
        if (homes) {
            m->homes_checked = persona_manager_now(m);
            for (i = 0; i < m->site_count; i++) {
                persona_tasks_add(&tasks, m, &m->sites[i], NULL, persona_job_strays, NULL, NULL);
            }
        }
    }
    m->ticked = persona_manager_now(m);
    persona_manager_unlock(m);
    persona_tasks_push(&tasks);
    persona_events_tick(m);
    persona_catalog_release(catalog);
}

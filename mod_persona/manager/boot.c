/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file boot.c
 * @brief Create an instance, wait until its stream answers, mark it ready.
 *
 * Failures are bounded: after each the persona waits 1, 2, 4 ... 60 s; after five in a row it is "failing", with the
 * reason in its stock, and is tried every five minutes. One success ends that. In a row means one after the other: what
 * had begun before the last failure tells nothing new, as when a compute that is away for a moment fails all at once.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "boot.h"
#include "events.h"
#include "persona/digest.h"
#include "persona/fault.h"
#include "probe.h"

#define FAILURES_MAX  5
#define PAUSE_MAX     apr_time_from_sec(60)
#define FAILING_PAUSE apr_time_from_sec(300)
/** How often a ready instance is asked whether its stream still answers, and how many silences are too many. */
#define CHECK_EVERY    apr_time_from_sec(30)
#define CHECK_PATIENCE apr_time_from_sec(4)
#define CHECK_FAILURES 2

static void note_failure(persona_manager_t *m, persona_stock_t *stock, apr_time_t began, const char *reason)
{
    apr_interval_time_t pause = apr_time_from_sec(1) << (stock->failures < 6 ? stock->failures : 6);

    persona_copy(stock->problem, reason);
    if (stock->failures && began <= stock->failed_at) {
        return;
    }
    stock->failed_at = persona_manager_now(m);
    stock->failures++;
    if (stock->failures >= FAILURES_MAX) {
        pause = FAILING_PAUSE;
    }
    else if (pause > PAUSE_MAX) {
        pause = PAUSE_MAX;
    }
    stock->next_boot = stock->failed_at + pause;
}

void persona_boot_failed(persona_manager_t *m, persona_entry_t *e, const char *reason)
{
    if (e->retire != PERSONA_RETIRE_NONE) {
        return;
    }
    note_failure(m, persona_stock_of(m, e->persona_id), e->created, reason);
    persona_events_fail(m, e, reason);
    persona_entry_retire(m, e, reason);
}

void persona_boot_measured(persona_manager_t *m, persona_entry_t *e, apr_interval_time_t took, int fresh)
{
    persona_stock_t *stock = persona_stock_of(m, e->persona_id);

    if (e->measured || took <= 0) {
        return;
    }
    e->measured = 1;
    if (!fresh && stock->boots_told == stock->boot_count) {
        stock->boots_told++; /* it was told before this manager started, or another manager tells its own model */
    }
    stock->boots[stock->boot_count++ % PERSONA_BOOTS_KEPT] = took;
}

/* ---- create ---- */

typedef struct count_t {
    int all, waiting;
} count_t;

/** What the provider itself says of this persona: planners may be several, and each looks before it makes one. */
static count_t count_instances(const apr_array_header_t *instances, const persona_t *persona,
                               const char *but)
{
    count_t count = {0, 0};
    int i;

    for (i = 0; i < instances->nelts; i++) {
        const persona_instance_t *in = APR_ARRAY_IDX(instances, i, persona_instance_t *);

        if (!in->persona_id || strcmp(in->persona_id, persona->id) || !strcmp(in->uuid, but) ||
            in->state == PERSONA_INSTANCE_RETIRING || in->state == PERSONA_INSTANCE_GONE) {
            continue;
        }
        count.all++;
        if ((in->state == PERSONA_INSTANCE_READY || in->state == PERSONA_INSTANCE_CREATING) &&
            in->fingerprint && !strcmp(in->fingerprint, persona->fingerprint)) {
            count.waiting++;
        }
    }
    return count;
}

/** APR_SUCCESS: make it. APR_EEXIST: not needed any more. */
static apr_status_t check_caps(persona_manager_t *m, persona_site_t *site, const persona_t *persona,
                               const char *uuid, persona_result_t *res, apr_pool_t *p)
{
    apr_array_header_t *instances;
    persona_stock_t *stock;
    apr_status_t status = PERSONA_FAULT_CALL(refill_count,
                                             site->compute->provider->list(site->compute, &instances, res, p));
    count_t count;
    int wanted;

    if (status != APR_SUCCESS) {
        return status;
    }
    count = count_instances(instances, persona, uuid);
    persona_manager_lock(m);
    stock = persona_stock_of(m, persona->id);
    wanted = stock->target.ready > stock->waiting ? stock->target.ready : stock->waiting;
    persona_manager_unlock(m);
    if (count.all >= persona->pool.max) {
        return persona_result_set(res, APR_EEXIST, "pool-max", "pool.max (%d) is reached",
                                  persona->pool.max);
    }
    /* Fenced ones may still say ready: one too many now is one too few never. */
    if (count.waiting >= wanted + site->boots_max) {
        return persona_result_set(res, APR_EEXIST, "target", "%d wait already", count.waiting);
    }
    return APR_SUCCESS;
}

/** *left: it failed, and something of it may still be there. */
static apr_status_t make_instance(persona_manager_t *m, persona_site_t *site,
                                  const persona_t *persona, const persona_task_t *task,
                                  int *left, persona_result_t *res, apr_pool_t *p)
{
    persona_compute_t *c = site->compute;
    char key[PERSONA_HEX256_LEN];
    persona_create_t how = {task->uuid, key, task->text, m->maker};
    persona_result_t ignored = {0};
    apr_status_t status = check_caps(m, site, persona, task->uuid, res, p);

    if (status != APR_SUCCESS) {
        return status;
    }
    persona_hmac(m->hook_keys[0], strlen(m->hook_keys[0]), task->uuid, strlen(task->uuid), key);
    status = PERSONA_FAULT_CALL(refill_create, c->provider->create(c, persona, &how, res, p));
    if (status != APR_SUCCESS) {
        *left = c->provider->destroy(c, task->uuid, &ignored, p) != APR_SUCCESS;
    }
    return status;
}

static void create_job(void *arg, apr_pool_t *p)
{
    persona_task_t *task = arg;
    persona_manager_t *m = task->manager;
    persona_site_t *site = task->site;
    persona_catalog_t *catalog = persona_manager_catalog(m);
    persona_result_t res = {0};
    persona_instance_t *made = NULL;
    const persona_t *persona;
    persona_entry_t *e;
    apr_status_t status = APR_ENOENT;
    apr_time_t began = persona_manager_now(m);
    int left = 0;
    char persona_id[PERSONA_NAME_MAX + 1] = "";

    persona_manager_lock(m);
    e = persona_entry_find(m, task->uuid);
    if (e) {
        persona_copy(persona_id, e->persona_id);
    }
    persona_manager_unlock(m);
    persona = persona_catalog_find(catalog, persona_id);
    if (persona) {
        status = make_instance(m, site, persona, task, &left, &res, p);
    }
    PERSONA_FAULT(refill_created);
    if (status == APR_SUCCESS && site->compute->provider->inspect(site->compute, task->uuid, &made,
                                                                  &res, p) != APR_SUCCESS) {
        made = NULL; /* the next reading has it */
    }
    persona_manager_lock(m);
    e = persona_entry_find(m, task->uuid);
    if (e && status == APR_SUCCESS) {
        e->busy = 0;
        e->running = 1;
        e->created = persona_manager_now(m);
        e->changed = e->created;
        persona_copy(e->fingerprint, persona->fingerprint);
        if (made) {
            persona_copy(e->address, made->address);
            persona_copy(e->hook_address, made->hook_address);
            persona_copy(e->host, made->host);
            e->port = made->port;
            e->read_at = made->read_at;
        }
        persona_events_create(m, e, task->text, e->created - began);
    }
    else if (e) {
        if (status == APR_EEXIST) {
            /* The compute has what the tables do not know yet: not before they were read again. */
            persona_stock_of(m, persona_id)->next_boot = persona_manager_now(m) + apr_time_from_sec(1);
        }
        else if (persona) {
            note_failure(m, persona_stock_of(m, persona_id), e->created, res.detail);
            persona_events_fail(m, e, res.detail);
        }
        if (left) {
            e->busy = 0;
            persona_entry_retire(m, e, res.detail);
        }
        else {
            persona_entry_drop(m, e);
        }
    }
    persona_site_wake(site);
    persona_manager_unlock(m);
    persona_catalog_release(catalog);
    if (status != APR_SUCCESS && status != APR_EEXIST && persona) {
        persona_log(PERSONA_LOG_ERR, status,
                    "persona %s: an instance could not be created on compute %s: %s", persona_id,
                    site->conf->name, res.detail);
    }
    free(task);
    persona_manager_wake(m);
}

persona_entry_t *persona_boot_start(persona_manager_t *m, persona_site_t *site,
                                    const persona_t *persona, const char *reason,
                                    persona_tasks_t *tasks, apr_pool_t *p)
{
    persona_entry_t *e = persona_entry_make(m, persona_uuid_random(p));

    persona_copy(e->persona_id, persona->id);
    persona_copy(e->compute, site->conf->name);
    persona_copy(e->fingerprint, persona->fingerprint);
    persona_entry_shape(e, persona);
    e->state = PERSONA_INSTANCE_CREATING;
    e->begun = persona_manager_now(m);
    e->created = e->begun;
    e->changed = e->created;
    e->busy = 1;
    persona_tasks_add(tasks, m, site, NULL, create_job, e->uuid, reason);
    return e;
}

/* ---- probe, mark ready ---- */

static void ready_job(void *arg, apr_pool_t *p)
{
    persona_task_t *task = arg;
    persona_manager_t *m = task->manager;
    persona_compute_t *c = task->site->compute;
    persona_mark_t mark = {PERSONA_INSTANCE_READY, NULL, NULL, NULL, NULL, 0, 0, 0};
    persona_result_t res = {0};
    persona_stock_t *stock;
    persona_entry_t *e;
    apr_interval_time_t boot = 0;
    apr_status_t status;
    int failures = 0;

    mark.ready_at = persona_manager_now(m);
    status = PERSONA_FAULT_CALL(refill_ready, c->provider->mark(c, task->uuid, &mark, &res, p));
    PERSONA_FAULT(refill_readied);
    persona_manager_lock(m);
    e = persona_entry_find(m, task->uuid);
    if (e) {
        e->busy = 0;
        e->probing = 0;
        e->changed = persona_manager_now(m);
        if (status == APR_SUCCESS && e->state == PERSONA_INSTANCE_CREATING) {
            e->state = PERSONA_INSTANCE_READY;
            e->ready_at = mark.ready_at;
            e->probed = mark.ready_at;
            boot = e->ready_at - e->begun;
            persona_boot_measured(m, e, boot, 1);
            stock = persona_stock_of(m, e->persona_id);
            persona_events_ready(m, e, boot);
            stock->failures = 0;
            stock->next_boot = 0;
            stock->problem[0] = '\0';
        }
        else if (status != APR_SUCCESS) {
            e->retry_at = e->changed + (apr_time_from_sec(1) << (e->retries < 3 ? e->retries : 3));
            failures = ++e->retries;
        }
    }
    persona_manager_unlock(m);
    if (status != APR_SUCCESS) {
        persona_log(failures == 1 ? PERSONA_LOG_WARNING : PERSONA_LOG_DEBUG, status,
                    "instance %s answers, but could not be marked ready: %s", task->uuid,
                    res.detail);
    }
    else {
        persona_log(PERSONA_LOG_DEBUG, 0, "instance %s is ready after %" APR_TIME_T_FMT " ms",
                    task->uuid, apr_time_as_msec(boot));
    }
    free(task);
    persona_manager_wake(m);
}

static void probed_booting(persona_manager_t *m, persona_entry_t *e, int answers,
                           const char *problem, persona_tasks_t *tasks)
{
    char reason[PERSONA_REASON_MAX];
    persona_site_t *site = persona_site_find(m, e->compute);

    if (answers && e->retry_at > persona_manager_now(m)) {
        e->probing = 0; /* it could not be marked just now */
        return;
    }
    if (answers && site) {
        e->busy = 1;
        persona_tasks_add(tasks, m, site, NULL, ready_job, e->uuid, NULL);
        return;
    }
    e->probing = 0;
    apr_snprintf(reason, sizeof(reason), "its stream did not answer in time: %s", problem);
    persona_boot_failed(m, e, reason);
}

void persona_boot_probed(void *manager, const char *uuid, int answers, const char *problem)
{
    persona_manager_t *m = manager;
    persona_tasks_t tasks;
    persona_entry_t *e;
    apr_pool_t *p;

    if (apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return;
    }
    persona_tasks_init(&tasks, p);
    persona_manager_lock(m);
    e = persona_entry_find(m, uuid);
    if (e && e->state == PERSONA_INSTANCE_CREATING && !e->busy &&
        e->retire == PERSONA_RETIRE_NONE) {
        probed_booting(m, e, answers, problem, &tasks);
    }
    else if (e) {
        e->probing = 0;
        e->probed = persona_manager_now(m);
        e->probe_failures = answers ? 0 : e->probe_failures + 1;
        if (answers) {
            e->condemned = 0;
        }
        else if (e->probe_failures >= CHECK_FAILURES) {
            persona_entry_retire(m, e,
                                 *e->session ? "its desktop stopped answering"
                                             : "its stream stopped answering while it was ready");
        }
    }
    persona_manager_unlock(m);
    persona_tasks_push(&tasks);
    apr_pool_destroy(p);
}

static void probe_add(persona_manager_t *m, persona_entry_t *e, const persona_t *persona,
                      apr_interval_time_t patience)
{
    persona_probe_t probe = {0};

    persona_copy(probe.uuid, e->uuid);
    persona_copy(probe.address, e->address);
    probe.port = e->port;
    probe.kind = persona->environment.ready;
    persona_copy(probe.path,
                 persona->environment.ready_path ? persona->environment.ready_path : "/");
    probe.patience = patience;
    e->probing = 1;
    persona_prober_add(m->prober, &probe);
}

void persona_boot_probe(persona_manager_t *m, const persona_catalog_t *catalog)
{
    apr_time_t now = persona_manager_now(m);
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        persona_entry_t *e = apr_hash_this_val(hi);
        const persona_t *persona = persona_catalog_find(catalog, e->persona_id);
        apr_time_t limit;

        if (e->probing || e->busy || e->retire != PERSONA_RETIRE_NONE || !persona) {
            continue;
        }
        if (e->state == PERSONA_INSTANCE_CREATING && e->retry_at > now) {
            continue;
        }
        limit = e->created + persona->environment.ready_timeout;
        if (e->state == PERSONA_INSTANCE_CREATING && limit <= now) {
            persona_boot_failed(m, e,
                                *e->address ? "its stream did not answer in time"
                                            : "it got no address in time");
        }
        else if (!m->prober || !*e->address || !e->port) {
            continue;
        }
        else if (e->state == PERSONA_INSTANCE_CREATING) {
            probe_add(m, e, persona, limit - now);
        }
        else if ((e->state == PERSONA_INSTANCE_READY || e->condemned) &&
                 now - e->probed > (e->probe_failures ? apr_time_from_sec(1) : CHECK_EVERY)) {
            probe_add(m, e, persona, CHECK_PATIENCE);
        }
    }
}

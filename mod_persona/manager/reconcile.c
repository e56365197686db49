/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file reconcile.c
 * @brief Observe a compute, adopt what is there, mend what a crash left half done.
 *
 * Fences are read before the list: a fence in the first reading whose instance is not in the second belongs to an
 * instance that is gone. A state that this manager changed after the reading began is not touched by it. Each
 * instance of the namespace comes out of a reading in one of these: creating and probed; ready; assigned to a
 * session; assigned to a holder that nobody can name (retired after a while); retiring.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "arbiter.h"
#include "assign.h"
#include "boot.h"
#include "events.h"
#include "maker.h"
#include "monotonic.h"
#include "persona/digest.h"
#include "persona/fault.h"
#include "pool/session.h"
#include "reconcile.h"

/** So many readings in a row may be late while the compute answers other questions. */
#define BUSY_MAX  4
#define PAUSE_MAX apr_time_from_sec(5)
/** Crashed between define and start: never running, and nobody works on it. */
#define STILLBORN apr_time_from_sec(60)
/** So many instances are met without letting others have the lock, and then for how long they may. */
#define AT_ONCE    128
#define LET_OTHERS 100
/** What a manager asked for with its last breath has happened by now. */
#define LAST_BREATH apr_time_from_sec(2)
/** Rest after a reading, as long as the reading took. */
#define REST_MIN apr_time_from_msec(20)
#define REST_MAX apr_time_from_sec(1)
/** Who began to retire an instance finishes that, if it lives: the others come later, not all at once. */
#define OTHERS_FIRST apr_time_from_sec(5)

typedef struct reading_t {
    persona_manager_t *m;
    persona_site_t *site;
    apr_time_t started;
    apr_array_header_t *fences, *instances;
    apr_hash_t *tokens; /**< instance uuid -> token */
    persona_catalog_t *catalog;
    persona_tasks_t tasks;
    apr_pool_t *p;
} reading_t;

/** A fence of a home or of the arbiter that nobody is known to hold. */
typedef struct stray_t {
    char name[80];
    apr_time_t since;
} stray_t;

/* ---- jobs ---- */

/** With the lock: is `e` the one to keep, going by the time of assignment? */
static int came_first(const persona_entry_t *e, const persona_entry_t *other)
{
    if (!e->assigned_at || e->assigned_at == other->assigned_at) {
        return strcmp(e->uuid, other->uuid) < 0;
    }
    return e->assigned_at < other->assigned_at;
}

/** Two instances of one session: the one in the record stays, without a record the one assigned first. Other managers
 * may see another record, or none; so what one of them has decided is what all do. */
static void job_duplicate(void *arg, apr_pool_t *p)
{
    persona_task_t *task = arg;
    persona_manager_t *m = task->manager;
    persona_entry_t *e, *other;
    persona_record_t *record = NULL;
    const char *kept = NULL, *session = "", *rival = NULL;

    persona_manager_lock(m);
    e = persona_entry_find(m, task->uuid);
    session = e ? apr_pstrdup(p, e->session) : "";
    persona_manager_unlock(m);
    if (*session && persona_manager_index_usable(m) &&
        persona_manager_index(m, persona_session_get(m->index, session, &record, p)) != APR_SUCCESS) {
        record = NULL;
    }
    persona_manager_lock(m);
    e = persona_entry_find(m, task->uuid);
    other = *session ? persona_entry_of_session(m, session) : NULL;
    if (e && other && e != other && !strcmp(e->session, session)) {
        rival = apr_pstrdup(p, other->uuid);
        kept = record ? record->instance : came_first(e, other) ? task->uuid : rival;
    }
    persona_manager_unlock(m);
    if (rival) {
        kept = !strcmp(kept, task->uuid) ? persona_arbiter_keep(m, session, task->uuid, rival, p)
                                         : persona_arbiter_keep(m, session, rival, task->uuid, p);
    }
    persona_manager_lock(m);
    e = persona_entry_find(m, task->uuid);
    other = kept ? persona_entry_of_session(m, session) : NULL;
    if (e && other && e != other && !strcmp(e->session, session) && !strcmp(other->uuid, rival)) {
        if (!strcmp(kept, e->uuid)) {
            persona_entry_bind(m, e, session, NULL, NULL);
            persona_entry_retire(m, other, "its session has another instance");
        }
        else {
            persona_entry_retire(m, e, "its session has another instance");
        }
    }
    persona_manager_unlock(m);
    free(task);
}

/** The fence of an instance that the list does not have: gone for sure only when the provider says so. */
static void job_stray_fence(void *arg, apr_pool_t *p)
{
    persona_task_t *task = arg;
    persona_compute_t *c = task->site->compute;
    persona_instance_t *i = NULL;
    persona_result_t res = {0};

    if (c->provider->inspect(c, task->uuid, &i, &res, p) == APR_ENOENT &&
        c->provider->destroy(c, task->uuid, &res, p) == APR_SUCCESS) {
        c->provider->unfence(c, task->uuid, task->text, &res, p);
    }
    free(task);
}

/** The metadata names a session and the reading had no fence. Mostly it was set while fences and list were read; one
 * that is really missing (swept by an administrator) is taken again for the session. */
static void job_refence(void *arg, apr_pool_t *p)
{
    persona_task_t *task = arg;
    persona_manager_t *m = task->manager;
    persona_compute_t *c = task->site->compute;
    persona_result_t res = {0};
    const char *token = NULL;
    /* It may only have been set after the fences were read, by another manager's claim. */
    int missing = c->provider->fence_holder(c, task->uuid, &token, &res, p) == APR_ENOENT;
    apr_status_t status = c->provider->fence(c, task->uuid, task->text, &res, p);
    persona_entry_t *e;

    persona_manager_lock(m);
    e = persona_entry_find(m, task->uuid);
    if (e) {
        e->busy = 0;
        if (status == APR_SUCCESS) {
            persona_copy(e->token, persona_fence_token(task->text, e->uuid, p));
        }
    }
    persona_site_wake(task->site);
    persona_manager_unlock(m);
    if (missing) {
        persona_log(PERSONA_LOG_WARNING, status,
                    "the fence of assigned instance %s was missing; it was set again", task->uuid);
    }
    free(task);
}

/** Fenced, and the metadata does not say for whom, as when a manager was killed between the two: the fence says it.
 * Whose name has a colon is no session but a manager that retires. */
static void job_name_session(void *arg, apr_pool_t *p)
{
    persona_task_t *task = arg;
    persona_manager_t *m = task->manager;
    persona_compute_t *c = task->site->compute;
    const char *session = NULL;
    persona_result_t res = {0};
    persona_entry_t *e, *other;
    int open, aged = 0;

    persona_manager_lock(m);
    e = persona_entry_find(m, task->uuid);
    open = e && e->orphan_since && e->retire == PERSONA_RETIRE_NONE;
    if (open) { /* another manager may be about to give it up */
        aged = persona_manager_now(m) - e->orphan_since > PERSONA_ATTACH_TIMEOUT / 2;
    }
    persona_manager_unlock(m);
    if (open && c->provider->fence_session(c, task->uuid, &session, &res, p) == APR_SUCCESS &&
        strlen(session) < PERSONA_SESSION_LEN && *session && !strchr(session, ':') &&
        (!aged || persona_arbiter_name(task->site, task->uuid, session, p) == APR_SUCCESS)) {
        persona_manager_lock(m);
        e = persona_entry_find(m, task->uuid);
        other = persona_entry_of_session(m, session);
        if (e && e->orphan_since && e->retire == PERSONA_RETIRE_NONE && persona_entry_held_by(e, session, p)) {
            if (other && other->retire == PERSONA_RETIRE_NONE) {
                persona_copy(e->session, session); /* the next reading finds both, and the managers decide */
                e->orphan_since = 0;
                persona_site_wake(task->site);
            }
            else {
                persona_entry_bind(m, e, session, NULL, NULL);
                e->home = *e->hook_path ? 1 : 0;
                e->assigned_at = persona_manager_now(m);
                e->changed = e->assigned_at;
                persona_site_wake(task->site);
            }
        }
        persona_manager_unlock(m);
    }
    free(task);
}

/* ---- one instance ---- */

static const char *token_of(reading_t *r, const char *uuid)
{
    return apr_hash_get(r->tokens, uuid, APR_HASH_KEY_STRING);
}

static int holds(const char *token, const char *session, const char *uuid, apr_pool_t *p)
{
    return token && session && *session && !strcmp(token, persona_fence_token(session, uuid, p));
}

/** Somebody began to retire it, perhaps this manager before it died. */
static void adopt_retiring(reading_t *r, persona_entry_t *e, const persona_instance_t *i,
                           const char *token)
{
    persona_copy(e->reason, i->reason ? i->reason : "retired before this manager started");
    if (i->session && !*e->session) {
        persona_entry_unbind(r->m, e);
        persona_copy(e->session, i->session);
        persona_copy(e->user, i->user);
        persona_copy(e->app, i->app);
        e->home = *e->hook_path ? 2 : 0;
    }
    e->state = PERSONA_INSTANCE_RETIRING;
    e->retire = PERSONA_RETIRE_FORGET;
    e->marked_at = i->retiring_at;
    e->lease_until = 0;
    if (!holds(token, r->m->retire_name, e->uuid, r->p)) {
        e->lease_until = persona_manager_now(r->m) + PERSONA_LEASE + PERSONA_CLOCK_SKEW + OTHERS_FIRST;
    }
    e->retry_at = 0;
}

static void adopt_session(reading_t *r, persona_entry_t *e, const persona_instance_t *i)
{
    persona_manager_t *m = r->m;
    persona_entry_t *other = persona_entry_of_session(m, i->session);

    if (other && other != e && other->retire == PERSONA_RETIRE_NONE) {
        if (strcmp(e->session, i->session)) {
            persona_entry_unbind(m, e);
            persona_copy(e->session, i->session);
            persona_copy(e->user, i->user);
            persona_copy(e->app, i->app);
            e->assigned_at = i->assigned_at;
        }
        e->state = PERSONA_INSTANCE_ASSIGNED;
        persona_tasks_add(&r->tasks, m, r->site, m->hooks, job_duplicate, e->uuid, NULL);
        return;
    }
    if (strcmp(e->session, i->session) || other != e) {
        persona_entry_bind(m, e, i->session, i->user, i->app);
        e->assigned_at = i->assigned_at ? i->assigned_at : persona_manager_now(m);
        e->home = *e->hook_path ? 1 : 0; /* what came of it is in the record: see renew */
        persona_events_adopted(m, e);
    }
    e->state = PERSONA_INSTANCE_ASSIGNED;
    e->marked = i->state == PERSONA_INSTANCE_ASSIGNED;
}

static void meet_fenced(reading_t *r, persona_entry_t *e, const persona_instance_t *i,
                        const char *token)
{
    persona_manager_t *m = r->m;

    persona_copy(e->token, token);
    if (holds(token, e->session, e->uuid, r->p)) {
        if (i->state != PERSONA_INSTANCE_ASSIGNED || !i->session ||
            strcmp(i->session, e->session)) {
            persona_tasks_add(&r->tasks, m, r->site, NULL, persona_job_mark_assigned, e->uuid,
                              NULL);
        }
        else {
            e->marked = 1;
            if (persona_entry_of_session(m, e->session) != e) {
                adopt_session(r, e, i);
            }
            else if (!*e->user && i->user) {
                persona_entry_bind(m, e, e->session, i->user, i->app);
            }
        }
        e->state = PERSONA_INSTANCE_ASSIGNED;
    }
    else if (holds(token, i->session, e->uuid, r->p)) {
        adopt_session(r, e, i);
    }
    else if (holds(token, m->retire_name, e->uuid, r->p)) {
        persona_entry_retire(m, e, *e->reason ? e->reason : "its retirement was interrupted");
    }
    else {
        /* Fenced, and no metadata says for whom: it is still to come, or never will. */
        e->state = PERSONA_INSTANCE_ASSIGNED;
        persona_entry_unnamed(m, e);
        if (!e->orphan_since) {
            e->orphan_since = persona_manager_now(m);
        }
        if (persona_manager_now(m) - e->orphan_since > PERSONA_ATTACH_TIMEOUT) {
            persona_entry_retire(m, e, "it was assigned and nobody connected");
        }
        else if (r->site->compute->provider->fence_session) {
            persona_tasks_add(&r->tasks, m, r->site, NULL, job_name_session, e->uuid, NULL);
        }
    }
}

static void meet_unfenced(reading_t *r, persona_entry_t *e, const persona_instance_t *i)
{
    persona_manager_t *m = r->m;
    apr_time_t now = persona_manager_now(m);

    e->token[0] = '\0';
    e->orphan_since = 0;
    if (*e->unsure && r->started - e->unsure_at > PERSONA_DEMAND_AGE) {
        e->unsure[0] = '\0'; /* its session has no fence and has stopped asking: it is anybody's again */
    }
    switch (i->state) {
    case PERSONA_INSTANCE_ASSIGNED:
        if (i->session && *i->session) {
            e->busy = 1;
            persona_tasks_add(&r->tasks, m, r->site, NULL, job_refence, e->uuid, i->session);
            adopt_session(r, e, i);
        }
        else {
            persona_entry_retire(m, e, "it says that it is assigned, and to nobody");
        }
        break;
    case PERSONA_INSTANCE_READY:
        e->state = PERSONA_INSTANCE_READY;
        e->ready_at = i->ready_at ? i->ready_at : e->ready_at;
        if (!i->running) {
            persona_entry_retire(m, e, "its machine stopped while it was ready");
        }
        break;
    case PERSONA_INSTANCE_CREATING:
        e->state = PERSONA_INSTANCE_CREATING;
        if (!i->running && now - e->created > LAST_BREATH && persona_maker_gone(i->maker, m->id)) {
            /* no failure of the persona's: the next one is made at once */
            persona_entry_retire(m, e, "the manager that was making it ended");
        }
        else if (!i->running && now - e->created > STILLBORN) {
            persona_boot_failed(m, e, "its machine does not run");
        }
        break;
    case PERSONA_INSTANCE_GONE:
        if (e->state == PERSONA_INSTANCE_CREATING) {
            persona_boot_failed(m, e, i->reason ? i->reason : "its machine could not be made");
        }
        else {
            persona_entry_retire(m, e, i->reason ? i->reason : "its machine is gone");
        }
        break;
    case PERSONA_INSTANCE_RETIRING:
        break;
    }
}

static void meet(reading_t *r, const persona_instance_t *i)
{
    persona_manager_t *m = r->m;
    persona_entry_t *e = persona_entry_find(m, i->uuid);
    const persona_t *persona = persona_catalog_find(r->catalog, i->persona_id ? i->persona_id : "");
    const char *token = token_of(r, i->uuid);

    if (!e) {
        if (persona_entry_dropped(m, i->uuid, r->started)) {
            return;
        }
        e = persona_entry_make(m, i->uuid);
        e->adopted = persona_manager_now(m);
        e->created = i->created ? i->created : e->adopted;
        e->begun = e->created;
    }
    persona_copy(e->persona_id, i->persona_id);
    persona_copy(e->compute, r->site->conf->name);
    persona_copy(e->fingerprint, i->fingerprint);
    persona_copy(e->host, i->host);
    if (i->address) {
        persona_copy(e->address, i->address);
        e->port = i->port;
    }
    if (i->hook_address) {
        persona_copy(e->hook_address, i->hook_address);
    }
    e->running = i->running;
    e->seen = r->started;
    if (i->state != PERSONA_INSTANCE_RETIRING && i->read_at > e->read_at) {
        e->read_at = i->read_at; /* a retiring instance's lease is never renewed */
    }
    if (persona) {
        persona_entry_shape(e, persona);
    }
    if (e->busy || e->retire != PERSONA_RETIRE_NONE || e->changed >= r->started) {
        return;
    }
    if (i->ready_at && i->created) {
        persona_boot_measured(m, e, i->ready_at - i->created, 0);
    }
    if (i->state == PERSONA_INSTANCE_RETIRING) {
        adopt_retiring(r, e, i, token);
    }
    else if (token) {
        meet_fenced(r, e, i, token);
    }
    else {
        meet_unfenced(r, e, i);
    }
    if (e->state == PERSONA_INSTANCE_ASSIGNED && !i->running) {
        persona_entry_retire(m, e, "its machine stopped");
    }
}

/** It was there, and the provider does not list it any more. */
static void miss(reading_t *r, persona_entry_t *e)
{
    persona_manager_t *m = r->m;

    /* What another manager was making, its successor may have given up: that says nothing of the persona. */
    if (e->state == PERSONA_INSTANCE_CREATING && !e->adopted) {
        persona_boot_failed(m, e, "its machine vanished while it was booting");
    }
    e->hands_off = 0; /* there is nothing left to keep hands off */
    persona_entry_retire(m, e, "its machine vanished");
    if (e->retire == PERSONA_RETIRE_FENCE) {
        /* Nothing is left to fence or mark; the address stays reserved until the lease is over. */
        e->retire = PERSONA_RETIRE_FORGET;
        e->lease_until = *e->session || e->orphan_since
                             ? persona_manager_now(m) + PERSONA_LEASE + PERSONA_CLOCK_SKEW
                             : 0;
    }
}

/* ---- a whole reading ---- */

/** With the lock, and again when it returns: whoever waits for it, a claim most of all, has it in between. */
static void let_others(persona_manager_t *m)
{
    persona_manager_unlock(m);
    apr_sleep(LET_OTHERS);
    persona_manager_lock(m);
}

/** With the lock, but not all the time: each instance is met as a whole, and what changed since the reading began
 * is left as it is. */
static void apply(reading_t *r)
{
    persona_manager_t *m = r->m;
    apr_hash_index_t *hi;
    int i;

    for (i = 0; i < r->fences->nelts; i++) {
        persona_fence_t *f = APR_ARRAY_IDX(r->fences, i, persona_fence_t *);

        apr_hash_set(r->tokens, f->name, APR_HASH_KEY_STRING, f->token);
    }
    for (i = 0; i < r->instances->nelts; i++) {
        if (i % AT_ONCE == AT_ONCE - 1) {
            let_others(m);
        }
        meet(r, APR_ARRAY_IDX(r->instances, i, persona_instance_t *));
    }
    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        persona_entry_t *e = apr_hash_this_val(hi);

        if (!strcmp(e->compute, r->site->conf->name) && e->seen < r->started &&
            e->changed < r->started && !e->busy && e->retire == PERSONA_RETIRE_NONE) {
            miss(r, e);
        }
    }
    for (i = 0; i < r->fences->nelts; i++) {
        persona_fence_t *f = APR_ARRAY_IDX(r->fences, i, persona_fence_t *);

        if (persona_uuid_valid(f->name) && !persona_entry_find(m, f->name)) {
            persona_tasks_add(&r->tasks, m, r->site, NULL, job_stray_fence, f->name, f->token);
        }
    }
}

/** `busy`: it answers, but not about its instances, as an engine does that is booting some. */
static void note_failure(persona_site_t *site, apr_status_t status, int busy,
                         const persona_result_t *res)
{
    persona_manager_t *m = site->manager;
    apr_interval_time_t pause;
    int news;

    persona_manager_lock(m);
    news = !site->down_since && (!busy || site->failures >= BUSY_MAX);
    pause = apr_time_from_sec(1) << (site->failures < 3 ? site->failures : 3);
    site->failures++;
    site->retry_at = persona_manager_now(m) + (pause < PAUSE_MAX ? pause : PAUSE_MAX);
    if (news) {
        site->down_since = persona_manager_now(m);
    }
    persona_copy(site->problem, res->detail);
    persona_manager_unlock(m);
    if (news) {
        persona_log(PERSONA_LOG_ERR, status,
                    "compute %s (%s) does not answer: %s; its instances are left as they "
                    "are until it does",
                    site->conf->name, site->conf->address, res->detail);
    }
}

apr_status_t persona_reconcile(persona_site_t *site, apr_pool_t *p)
{
    persona_manager_t *m = site->manager;
    persona_compute_t *c = site->compute;
    persona_result_t res = {0};
    reading_t r = {0};
    apr_status_t status;
    int was_down, first, answers;

    r.m = m;
    r.site = site;
    r.p = p;
    r.started = persona_manager_now(m);
    r.tokens = apr_hash_make(p);
    persona_tasks_init(&r.tasks, p);
    status = PERSONA_FAULT_CALL(read_fences, c->provider->fences(c, &r.fences, &res, p));
    answers = status == APR_SUCCESS;
    if (answers) {
        status = PERSONA_FAULT_CALL(read_list, c->provider->list(c, &r.instances, &res, p));
    }
    if (status != APR_SUCCESS) {
        note_failure(site, status, answers && status == APR_TIMEUP, &res);
        return status;
    }
    r.catalog = persona_manager_catalog(m);
    persona_manager_lock(m);
    was_down = site->down_since != 0;
    first = !site->observed;
    site->down_since = 0;
    site->failures = 0;
    site->problem[0] = '\0';
    site->read_at = r.started;
    apply(&r);
    site->observed = 1;
    pthread_cond_broadcast(&m->changed);
    persona_manager_unlock(m);
    persona_catalog_release(r.catalog);
    persona_tasks_push(&r.tasks);
    if (was_down || first) {
        persona_log(PERSONA_LOG_NOTICE, 0, "compute %s answers: %d instances", site->conf->name,
                    r.instances->nelts);
    }
    persona_manager_wake(m);
    return APR_SUCCESS;
}

/** With the lock: how long until the next reading. */
static apr_interval_time_t next_reading(persona_site_t *site)
{
    persona_manager_t *m = site->manager;
    apr_time_t now = persona_manager_now(m);
    apr_interval_time_t pause = m->settings->schedule;
    apr_hash_index_t *hi;

    if (site->failures) {
        return site->retry_at > now ? site->retry_at - now : 0;
    }
    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        persona_entry_t *e = apr_hash_this_val(hi);

        if (e->state == PERSONA_INSTANCE_CREATING && !*e->address &&
            e->retire == PERSONA_RETIRE_NONE && !strcmp(e->compute, site->conf->name)) {
            return pause < apr_time_from_msec(500) ? pause : apr_time_from_msec(500);
        }
    }
    return pause;
}

void *persona_reconcile_thread(void *arg)
{
    persona_site_t *site = arg;
    persona_manager_t *m = site->manager;
    apr_pool_t *p;

    if (apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return NULL;
    }
    for (;;) {
        struct timespec until;
        apr_interval_time_t pause;
        apr_time_t began;

        began = persona_monotonic_now();
        persona_reconcile(site, p);
        apr_pool_clear(p);
        /* A burst of events is one reading; and a compute that has much to do is not kept busy by being asked. */
        pause = persona_monotonic_now() - began;
        apr_sleep(pause < REST_MIN ? REST_MIN : pause > REST_MAX ? REST_MAX : pause);
        persona_manager_lock(m);
        pause = next_reading(site);
        until = persona_monotonic_in(pause);
        while ((!site->woken || site->failures) &&
               pthread_cond_timedwait(&site->wake, &m->lock, &until) == 0) {
        }
        site->woken = 0;
        persona_manager_unlock(m);
    }
    return NULL;
}

/* ---- fences of homes and of the arbiter ---- */

/** The instance that a fence of the arbiter is about, or NULL. */
static const char *instance_in(const persona_fence_t *f)
{
    const apr_size_t len = sizeof(PERSONA_ARBITER_NAMED) - 1;

    return strncmp(f->name, PERSONA_ARBITER_NAMED, len) ? NULL : f->name + len;
}

static int may_stray(const persona_fence_t *f)
{
    return strlen(f->name) < sizeof(((stray_t *)0)->name) &&
           (instance_in(f) || !strncmp(f->name, "home:", 5) ||
            !strncmp(f->name, PERSONA_ARBITER_SESSION, strlen(PERSONA_ARBITER_SESSION)));
}

/** With the lock: whether some session or instance known here may hold this fence. */
static int is_wanted(persona_manager_t *m, const persona_fence_t *f, apr_pool_t *p)
{
    const char *instance = instance_in(f);
    apr_hash_index_t *hi;
    int i;

    for (i = 0; i < m->site_count; i++) {
        if (!m->sites[i].observed || m->sites[i].down_since) {
            return 1; /* its session may be there */
        }
    }
    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        persona_entry_t *e = apr_hash_this_val(hi);

        if (instance ? !strcmp(e->uuid, instance)
                     : e->orphan_since || holds(f->token, e->session, f->name, p) ||
                           holds(f->token, e->uuid, f->name, p)) {
            return 1;
        }
    }
    return 0;
}

/** With the lock: for how long nobody was seen to want it. */
static apr_interval_time_t stray_for(persona_manager_t *m, const persona_fence_t *f, apr_pool_t *p)
{
    stray_t *stray = apr_hash_get(m->strays, f->name, APR_HASH_KEY_STRING);

    if (is_wanted(m, f, p)) {
        if (stray) {
            apr_hash_set(m->strays, stray->name, APR_HASH_KEY_STRING, NULL);
            free(stray);
        }
        return 0;
    }
    if (!stray) {
        stray = calloc(1, sizeof(*stray));
        if (!stray) {
            abort();
        }
        persona_copy(stray->name, f->name);
        stray->since = persona_manager_now(m);
        apr_hash_set(m->strays, stray->name, APR_HASH_KEY_STRING, stray);
    }
    return persona_manager_now(m) - stray->since;
}

void persona_job_strays(void *arg, apr_pool_t *p)
{
    persona_task_t *task = arg;
    persona_manager_t *m = task->manager;
    persona_compute_t *c = task->site->compute;
    persona_result_t res = {0};
    apr_array_header_t *fences;
    int i;

    free(task);
    if (c->provider->fences(c, &fences, &res, p) != APR_SUCCESS) {
        return;
    }
    for (i = 0; i < fences->nelts; i++) {
        persona_fence_t *f = APR_ARRAY_IDX(fences, i, persona_fence_t *);
        int stray;

        if (!may_stray(f)) {
            continue;
        }
        persona_manager_lock(m);
        stray = stray_for(m, f, p) > PERSONA_ATTACH_TIMEOUT;
        persona_manager_unlock(m);
        if (stray) {
            persona_log(strncmp(f->name, "home:", 5) ? PERSONA_LOG_INFO : PERSONA_LOG_WARNING, 0,
                        "the fence %s belongs to no session any more; it is removed", f->name);
            c->provider->unfence(c, f->name, f->token, &res, p);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file assign.c
 * @brief Assign: take the persistent fence, then look at the instance, then answer, then write it down.
 *
 * The order is the promise. The fence comes first: from then on nobody else can have the instance and nobody
 * can destroy it under the session. Only then is it looked at: it must exist, run, not retire, and have
 * the fingerprint of its persona. If it fails that, the session's own fence retires it; it is never given
 * back. The metadata is written after the answer: it is information, and the reconciler repeats it.
 *
 * One question a session at a time: `assigning` has it from the first call until its outcome is known. A caller
 * whose time is over leaves it there and answers "unknown"; the next one waits for the same call.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "arbiter.h"
#include "assign.h"
#include "events.h"
#include "monotonic.h"
#include "persona/fault.h"

/** Guarded by the manager's lock; freed with its last reference. */
typedef struct assign_t {
    persona_manager_t *manager;
    persona_site_t *site;
    int references;
    int done;
    pthread_cond_t over;
    persona_assign_e outcome;
    persona_entry_t entry;
    char reason[PERSONA_REASON_MAX];
    /* the question */
    char instance[PERSONA_UUID_LEN], persona_id[PERSONA_NAME_MAX + 1];
    char session[PERSONA_SESSION_LEN], user[PERSONA_USER_MAX + 1], app[PERSONA_NAME_MAX + 1];
    json_t *roles;
    int cold;
    apr_time_t arrived;
    apr_int64_t ticket;
} assign_t;

static void assign_release(assign_t *a)
{
    if (--a->references == 0) {
        json_decref(a->roles);
        pthread_cond_destroy(&a->over);
        free(a);
    }
}

static assign_t *assign_make(persona_manager_t *m, persona_site_t *site, const persona_ask_t *ask)
{
    assign_t *a = calloc(1, sizeof(*a));

    if (!a) {
        abort();
    }
    persona_monotonic_cond(&a->over);
    a->manager = m;
    a->site = site;
    a->references = 2; /* the asker's and the job's */
    persona_copy(a->instance, ask->instance);
    persona_copy(a->persona_id, ask->persona_id);
    persona_copy(a->session, ask->session);
    persona_copy(a->user, ask->user);
    persona_copy(a->app, ask->app);
    a->roles = json_incref(ask->roles);
    a->cold = ask->cold;
    a->arrived = ask->arrived;
    a->ticket = ask->ticket;
    return a;
}

/** With the lock: wait until it is over or `deadline` (of the manager's clock) has passed. */
static void assign_wait(persona_manager_t *m, assign_t *a, apr_time_t deadline)
{
    apr_interval_time_t left = deadline - persona_manager_now(m);
    struct timespec until;

    if (a->done || left <= 0) {
        return;
    }
    until = persona_monotonic_in(left);
    while (!a->done && pthread_cond_timedwait(&a->over, &m->lock, &until) == 0) {
    }
}

/** What the provider says of it, once the fence is ours. NULL: it may be handed out. */
static const char *unfit(const persona_instance_t *i, const persona_t *persona)
{
    if (i->state == PERSONA_INSTANCE_RETIRING || i->state == PERSONA_INSTANCE_GONE) {
        return "it is being retired";
    }
    if (!i->running) {
        return "its machine does not run";
    }
    if (!i->address || !i->port) {
        return "it has no address";
    }
    if (!persona) {
        return "its persona does not exist any more";
    }
    if (strcmp(i->fingerprint, persona->fingerprint)) {
        return "its persona was changed since it was made";
    }
    return NULL;
}

/** With the lock: the entry of an instance that the provider has, with its facts. */
static persona_entry_t *note_instance(persona_manager_t *m, const persona_instance_t *i)
{
    persona_entry_t *e = persona_entry_find(m, i->uuid);

    if (!e) {
        e = persona_entry_make(m, i->uuid);
        e->adopted = persona_manager_now(m);
        e->created = i->created;
        e->begun = i->created;
    }
    persona_copy(e->persona_id, i->persona_id);
    persona_copy(e->compute, i->compute);
    persona_copy(e->fingerprint, i->fingerprint);
    persona_copy(e->host, i->host);
    persona_copy(e->address, i->address);
    persona_copy(e->hook_address, i->hook_address);
    e->port = i->port;
    e->running = i->running;
    if (i->read_at > e->read_at) {
        e->read_at = i->read_at;
    }
    return e;
}

static void say(assign_t *a, persona_assign_e outcome, const char *reason)
{
    a->outcome = outcome;
    persona_copy(a->reason, reason);
}

/** With the lock: the session is told "unknown" about it. */
static void note_unsure(persona_manager_t *m, persona_entry_t *e, const char *session)
{
    persona_copy(e->unsure, session);
    e->unsure_at = persona_manager_now(m);
}

/** With the lock: the fence is this session's and the instance is fit. */
static void settle(persona_manager_t *m, assign_t *a, const persona_instance_t *i,
                   const persona_t *persona, persona_tasks_t *tasks, apr_pool_t *p)
{
    persona_entry_t *e = note_instance(m, i);
    persona_stock_t *stock = persona_stock_of(m, e->persona_id);

    persona_entry_shape(e, persona);
    if (strcmp(e->session, a->session)) {
        persona_entry_bind(m, e, a->session, a->user, a->app);
        e->assigned_at = i->assigned_at && i->session && !strcmp(i->session, a->session)
                             ? i->assigned_at
                             : persona_manager_now(m);
        e->cold = a->cold;
        stock->claims++;
        stock->cold_claims += a->cold ? 1 : 0;
        persona_events_claim(m, e, a->roles, a->ticket, a->arrived);
        if (*e->hook_path) {
            persona_home_start(m, e, a->roles, tasks);
        }
    }
    e->state = PERSONA_INSTANCE_ASSIGNED;
    e->changed = persona_manager_now(m);
    e->local = 1;
    e->unsure[0] = '\0';
    persona_copy(e->token, persona_fence_token(a->session, e->uuid, p));
    persona_stock_satisfied(stock, a->session);
    a->entry = *e;
    say(a, PERSONA_ASSIGN_YES, "");
}

/** Fenced before this manager asked, by nobody that could be named: another may be giving it up. */
static int was_orphan(persona_manager_t *m, const char *uuid)
{
    const persona_entry_t *e;
    int orphan;

    persona_manager_lock(m);
    e = persona_entry_find(m, uuid);
    orphan = e && e->orphan_since;
    persona_manager_unlock(m);
    return orphan;
}

/** Ask the provider. Fills outcome and reason; the tasks that follow are added. */
static void ask_provider(assign_t *a, persona_catalog_t *catalog, persona_tasks_t *tasks,
                         apr_pool_t *p)
{
    persona_manager_t *m = a->manager;
    persona_compute_t *c = a->site->compute;
    persona_instance_t *instance = NULL;
    persona_result_t res = {0};
    const persona_t *persona = persona_catalog_find(catalog, a->persona_id);
    const char *flaw;
    persona_entry_t *e;
    apr_status_t status;

    status = PERSONA_FAULT_CALL(assign_fence, c->provider->fence(c, a->instance, a->session, &res, p));
    if (status == APR_EEXIST) {
        persona_manager_lock(m);
        e = persona_entry_find(m, a->instance);
        if (e && !*e->session && !*e->token) {
            /* Another manager's: the next reading tells whose. It is nobody's to publish until then. */
            apr_cpystrn(e->token, "another", sizeof(e->token));
            persona_entry_unnamed(m, e);
            persona_site_wake(a->site);
        }
        say(a, PERSONA_ASSIGN_NO, "another session has it");
        persona_manager_unlock(m);
        return;
    }
    if (status != APR_SUCCESS) {
        persona_manager_lock(m);
        e = persona_entry_find(m, a->instance);
        if (status == APR_TIMEUP && e) {
            note_unsure(m, e, a->session);
        }
        say(a, status == APR_TIMEUP ? PERSONA_ASSIGN_UNKNOWN : PERSONA_ASSIGN_NO, res.detail);
        persona_manager_unlock(m);
        return;
    }

    PERSONA_FAULT(assign_fenced);
    if (was_orphan(m, a->instance)) {
        status = persona_arbiter_name(a->site, a->instance, a->session, p);
        if (status != APR_SUCCESS) {
            persona_manager_lock(m);
            say(a, status == APR_EEXIST ? PERSONA_ASSIGN_NO : PERSONA_ASSIGN_UNKNOWN, "it is being retired");
            persona_manager_unlock(m);
            return;
        }
    }
    status = PERSONA_FAULT_CALL(assign_inspect, c->provider->inspect(c, a->instance, &instance, &res, p));
    flaw = status == APR_SUCCESS ? unfit(instance, persona) : NULL;
    persona_manager_lock(m);
    if (status == APR_ENOENT) {
        say(a, PERSONA_ASSIGN_NO, "it does not exist any more");
    }
    else if (status != APR_SUCCESS) {
        e = persona_entry_find(m, a->instance);
        if (e) {
            note_unsure(m, e, a->session);
        }
        say(a, PERSONA_ASSIGN_UNKNOWN, res.detail);
    }
    else if (flaw) {
        say(a, PERSONA_ASSIGN_NO, flaw);
        e = note_instance(m, instance);
        if (e->retire == PERSONA_RETIRE_NONE && !*e->session) {
            persona_entry_retire(m, e, flaw);
            persona_copy(e->retire_owner, a->session);
        }
    }
    else {
        e = persona_entry_find(m, a->instance);
        if (e && e->retire != PERSONA_RETIRE_NONE) {
            say(a, PERSONA_ASSIGN_NO, "it is being retired");
        }
        else {
            settle(m, a, instance, persona, tasks, p);
            persona_tasks_add(tasks, m, a->site, NULL, persona_job_mark_assigned, a->instance,
                              NULL);
        }
    }
    persona_manager_unlock(m);
}

static void assign_job(void *arg, apr_pool_t *p)
{
    assign_t *a = arg;
    persona_manager_t *m = a->manager;
    persona_catalog_t *catalog = persona_manager_catalog(m);
    persona_tasks_t tasks;

    persona_tasks_init(&tasks, p);
    ask_provider(a, catalog, &tasks, p);
    persona_catalog_release(catalog);
    PERSONA_FAULT(assign_settled);

    persona_manager_lock(m);
    a->done = 1;
    apr_hash_set(m->assigning, a->session, APR_HASH_KEY_STRING, NULL);
    pthread_cond_broadcast(&a->over);
    assign_release(a);
    persona_manager_unlock(m);
    persona_tasks_push(&tasks);
}

/** With the lock: what the tables say already, without a call. 1: that is the answer. */
static int known(persona_manager_t *m, const persona_ask_t *ask, persona_site_t *site,
                 persona_assign_e *outcome, persona_entry_t *entry, char reason[PERSONA_REASON_MAX])
{
    persona_entry_t *e = persona_entry_of_session(m, ask->session);
    int asked;

    if (e && e->retire == PERSONA_RETIRE_NONE) {
        if (e->read_at + PERSONA_LEASE <= persona_manager_now(m)) {
            /* Its provider was not read for a minute: only a new reading can tell of a new lease. */
            *outcome = PERSONA_ASSIGN_UNKNOWN;
            apr_cpystrn(reason, "the compute of this session does not answer", PERSONA_REASON_MAX);
            return 1;
        }
        e->local = 1;
        *entry = *e;
        *outcome = PERSONA_ASSIGN_YES;
        return 1;
    }
    e = persona_entry_find(m, ask->instance);
    /* A session that was told "unknown" about this instance needs an answer about it, not the next slot. */
    asked = e && !strcmp(e->unsure, ask->session);
    *outcome = asked ? PERSONA_ASSIGN_NO : PERSONA_ASSIGN_SKIP;
    if (e && e->retire != PERSONA_RETIRE_NONE) {
        apr_cpystrn(reason, "it is being retired", PERSONA_REASON_MAX);
        return 1;
    }
    if (e && *e->session && strcmp(e->session, ask->session)) {
        apr_cpystrn(reason, "another session has it", PERSONA_REASON_MAX);
        return 1;
    }
    if (!persona_site_usable(site)) {
        *outcome = asked ? PERSONA_ASSIGN_UNKNOWN : PERSONA_ASSIGN_SKIP;
        apr_snprintf(reason, PERSONA_REASON_MAX, "compute %s does not answer", site->conf->name);
        return 1;
    }
    return 0;
}

persona_assign_e persona_assign(persona_manager_t *m, const persona_ask_t *ask, apr_time_t deadline,
                                persona_entry_t *entry, char reason[PERSONA_REASON_MAX],
                                apr_pool_t *p)
{
    persona_site_t *site = persona_site_find(m, ask->compute);
    persona_assign_e outcome = PERSONA_ASSIGN_UNKNOWN;
    assign_t *a;

    (void)p;
    reason[0] = '\0';
    if (!site) {
        apr_snprintf(reason, PERSONA_REASON_MAX, "there is no compute %s", ask->compute);
        return PERSONA_ASSIGN_NO;
    }
    persona_manager_lock(m);
    while ((a = apr_hash_get(m->assigning, ask->session, APR_HASH_KEY_STRING)) != NULL) {
        a->references++;
        assign_wait(m, a, deadline);
        if (!a->done) {
            assign_release(a);
            persona_manager_unlock(m);
            apr_cpystrn(reason, "the compute has not answered yet", PERSONA_REASON_MAX);
            return PERSONA_ASSIGN_UNKNOWN;
        }
        assign_release(a);
    }
    if (known(m, ask, site, &outcome, entry, reason)) {
        persona_manager_unlock(m);
        return outcome;
    }
    a = assign_make(m, site, ask);
    apr_hash_set(m->assigning, a->session, APR_HASH_KEY_STRING, a);
    persona_manager_unlock(m);

    persona_crew_push(site->claims, assign_job, a);

    persona_manager_lock(m);
    assign_wait(m, a, deadline);
    if (a->done) {
        outcome = a->outcome;
        *entry = a->entry;
        apr_cpystrn(reason, a->reason, PERSONA_REASON_MAX);
    }
    else {
        outcome = PERSONA_ASSIGN_UNKNOWN;
        apr_cpystrn(reason, "the compute has not answered yet", PERSONA_REASON_MAX);
    }
    assign_release(a);
    persona_manager_unlock(m);
    if (outcome == PERSONA_ASSIGN_YES) {
        persona_manager_wake(m); /* the pool has one less */
    }
    return outcome;
}

void persona_job_mark_assigned(void *arg, apr_pool_t *p)
{
    persona_task_t *task = arg;
    persona_manager_t *m = task->manager;
    persona_compute_t *c = task->site->compute;
    persona_result_t res = {0};
    persona_mark_t mark = {PERSONA_INSTANCE_ASSIGNED, NULL, NULL, NULL, NULL, 0, 0, 0};
    persona_entry_t *e;
    apr_status_t status;
    int go = 0;

    persona_manager_lock(m);
    e = persona_entry_find(m, task->uuid);
    if (e && *e->session && e->retire == PERSONA_RETIRE_NONE && !e->busy) {
        mark.session = apr_pstrdup(p, e->session);
        mark.user = *e->user ? apr_pstrdup(p, e->user) : NULL;
        mark.app = *e->app ? apr_pstrdup(p, e->app) : NULL;
        mark.assigned_at = e->assigned_at;
        e->busy = 1;
        go = 1;
    }
    persona_manager_unlock(m);
    if (go) {
        status = PERSONA_FAULT_CALL(assign_mark, c->provider->mark(c, task->uuid, &mark, &res, p));
        persona_manager_lock(m);
        e = persona_entry_find(m, task->uuid);
        if (e) {
            e->busy = 0;
            e->marked = status == APR_SUCCESS;
        }
        persona_manager_unlock(m);
        if (status != APR_SUCCESS) {
            persona_log(PERSONA_LOG_WARNING, status,
                        "instance %s is assigned, but its metadata could not be "
                        "written: %s",
                        task->uuid, res.detail);
        }
    }
    free(task);
}

apr_status_t persona_session_find(persona_manager_t *m, const char *session, persona_entry_t *entry,
                                  apr_pool_t *p)
{
    persona_entry_t *e, *found = NULL;
    char unnamed[PERSONA_UUID_LEN] = "", compute[PERSONA_NAME_MAX + 1];
    apr_status_t status = APR_NOTFOUND;
    assign_t *a;

    persona_manager_lock(m);
    a = apr_hash_get(m->assigning, session, APR_HASH_KEY_STRING);
    if (a) {
        a->references++;
        assign_wait(m, a, persona_manager_now(m) + apr_time_from_sec(1));
        assign_release(a);
    }
    e = persona_entry_of_session(m, session);
    if (e) {
        found = e->retire == PERSONA_RETIRE_NONE ? e : NULL;
    }
    else {
        /* A fence whose metadata was never written says only whether a given session is the one. */
        e = persona_entry_unnamed_of(m, session, p);
        if (e) {
            persona_copy(unnamed, e->uuid);
            persona_copy(compute, e->compute);
        }
    }
    if (*unnamed) {
        persona_manager_unlock(m);
        status = persona_arbiter_name(persona_site_find(m, compute), unnamed, session, p);
        persona_manager_lock(m);
        e = persona_entry_find(m, unnamed);
        if (status == APR_SUCCESS && e && e->retire == PERSONA_RETIRE_NONE &&
            (!*e->session || !strcmp(e->session, session))) {
            found = e;
            if (!*e->session) {
                persona_entry_bind(m, e, session, NULL, NULL);
                e->assigned_at = persona_manager_now(m);
            }
            e->state = PERSONA_INSTANCE_ASSIGNED;
            e->changed = persona_manager_now(m);
        }
        status = status == APR_SUCCESS || status == APR_EEXIST ? APR_NOTFOUND : status;
    }
    if (found) {
        found->local = 1;
        *entry = *found;
    }
    persona_manager_unlock(m);
    return found ? APR_SUCCESS : status;
}

/** With the lock: what the index and the provider say of a session that was not known here. */
static persona_entry_t *take_in(persona_manager_t *m, const persona_record_t *record, const persona_instance_t *i,
                                const char *token)
{
    persona_entry_t *e = persona_entry_find(m, record->instance),
                    *other = persona_entry_of_session(m, record->session);

    if ((e && e->retire != PERSONA_RETIRE_NONE) || (other && other != e)) {
        return NULL;
    }
    e = note_instance(m, i);
    if (other != e) {
        persona_entry_bind(m, e, record->session, record->user, record->app);
        e->assigned_at = i->assigned_at ? i->assigned_at : record->started;
        e->home = record->home;
        e->cold = record->cold;
    }
    if (!e->shaped) {
        e->stream = record->stream;
        e->pass_user = record->pass_user;
        persona_copy(e->path, record->path);
    }
    e->state = PERSONA_INSTANCE_ASSIGNED;
    e->changed = persona_manager_now(m);
    e->local = 1;
    persona_copy(e->token, token);
    return e;
}

apr_status_t persona_session_learn(persona_manager_t *m, const persona_record_t *record, persona_entry_t *entry,
                                   apr_pool_t *p)
{
    persona_site_t *site = persona_site_find(m, record->compute);
    persona_instance_t *i = NULL;
    persona_result_t res = {0};
    const char *token = NULL;
    persona_entry_t *e;
    apr_status_t status;

    if (!site) {
        return APR_NOTFOUND;
    }
    status = site->compute->provider->fence_holder(site->compute, record->instance, &token, &res, p);
    if (status == APR_SUCCESS) {
        if (strcmp(token, persona_fence_token(record->session, record->instance, p))) {
            return APR_NOTFOUND;
        }
        status = site->compute->provider->inspect(site->compute, record->instance, &i, &res, p);
    }
    if (status != APR_SUCCESS) {
        return status == APR_ENOENT ? APR_NOTFOUND : status;
    }
    if (i->state == PERSONA_INSTANCE_RETIRING || i->state == PERSONA_INSTANCE_GONE || !i->running) {
        return APR_NOTFOUND;
    }
    persona_manager_lock(m);
    e = take_in(m, record, i, token);
    if (e) {
        *entry = *e;
    }
    persona_manager_unlock(m);
    return e ? APR_SUCCESS : APR_NOTFOUND;
}

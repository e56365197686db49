/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file retire.c
 * @brief fence -> mark retiring -> forget the record -> home written back -> lease over -> destroy -> gone -> unfence.
 *
 * The fence first: a desktop that somebody has is never destroyed under them. The mark second: from then on
 * no manager renews a lease. The lease is waited out before anything that holds the address goes, because a
 * worker may act on a record until it expires; a mark that is not the one it was waited out for begins it anew.
 * The fence goes last, when the provider says that the instance does not exist: a fence of an existing
 * instance is never removed. A manager that dies between two steps leaves `retiring` at the
 * provider (or its own fence), and whoever reads that goes on from there.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "arbiter.h"
#include "assign.h"
#include "events.h"
#include "forecaster.h"
#include "persona/fault.h"
#include "pool/session.h"
#include "retire.h"

#define RETRY_MAX apr_time_from_sec(30)
/** How often an ended session's record is looked for, and how soon again when the index did not answer. */
#define FORGET_CHECK apr_time_from_sec(5)
#define FORGET_AGAIN apr_time_from_sec(1)

/** What a step came to. */
typedef enum { STEP_NEXT, STEP_AGAIN, STEP_WAIT, STEP_OVER } step_e;

/** The job's copy of the entry, and where it is. */
typedef struct retirement_t {
    persona_manager_t *m;
    persona_site_t *site;
    persona_entry_t e;
    persona_retire_e next;
    apr_time_t lease_until;
    int forgotten;
    persona_result_t res;
} retirement_t;

static step_e step_fence(retirement_t *r, apr_pool_t *p)
{
    persona_compute_t *c = r->site->compute;
    apr_status_t status;

    r->next = PERSONA_RETIRE_MARK;
    status = *r->e.retire_owner
             ? PERSONA_FAULT_CALL(retire_fence, c->provider->fence(c, r->e.uuid, r->e.retire_owner, &r->res, p))
             /* Its fence has a holder that nobody can name: who may come back at this moment, elsewhere. */
             : persona_arbiter_name(r->site, r->e.uuid, PERSONA_ARBITER_RETIRE, p);
    if (status == APR_EEXIST) {
        return STEP_OVER; /* somebody has it: hands off */
    }
    return status == APR_SUCCESS ? STEP_NEXT : STEP_AGAIN;
}

static step_e step_mark(retirement_t *r, apr_pool_t *p)
{
    persona_compute_t *c = r->site->compute;
    persona_mark_t mark = {PERSONA_INSTANCE_RETIRING, NULL, NULL, NULL, r->e.reason, 0, 0, 0};
    apr_status_t status;

    mark.retiring_at = persona_manager_now(r->m);
    status = PERSONA_FAULT_CALL(retire_mark, c->provider->mark(c, r->e.uuid, &mark, &r->res, p));
    PERSONA_FAULT(retire_marked);
    if (status != APR_SUCCESS && status != APR_ENOENT) {
        return STEP_AGAIN;
    }
    r->e.marked_at = mark.retiring_at;
    /* Nobody was ever given a record of an instance that was fenced straight from the pool. */
    if (*r->e.session || !*r->e.retire_owner) {
        r->lease_until = persona_manager_now(r->m) + PERSONA_LEASE + PERSONA_CLOCK_SKEW;
    }
    r->next = PERSONA_RETIRE_FORGET;
    return STEP_NEXT;
}

apr_status_t persona_retire_forget(persona_manager_t *m, const persona_entry_t *e, apr_pool_t *p)
{
    persona_record_t *found = NULL, own;
    apr_status_t status;

    if (!persona_manager_index_usable(m)) {
        return APR_EGENERAL;
    }
    status = persona_manager_index(m, persona_session_get(m->index, e->session, &found, p));
    if (status != APR_SUCCESS && status != APR_NOTFOUND && status != APR_EACCES) {
        return status;
    }
    if ((status == APR_SUCCESS && strcmp(found->instance, e->uuid)) || (status == APR_NOTFOUND && e->forgotten)) {
        return APR_SUCCESS;
    }
    persona_entry_record(e, &own);
    return persona_manager_index(m, persona_session_remove(m->index, &own, e->reason, p));
}

int persona_retire_if_over(persona_manager_t *m, const char *uuid, apr_pool_t *p)
{
    const char *reason = NULL;
    persona_entry_t *e;
    apr_status_t status;

    if (!persona_manager_index_usable(m)) {
        return -1;
    }
    status = persona_manager_index(m, persona_session_instance_over(m->index, uuid, &reason, p));
    if (status != APR_SUCCESS) {
        return status == APR_NOTFOUND || status == APR_EACCES ? 0 : -1;
    }
    persona_manager_lock(m);
    e = persona_entry_find(m, uuid);
    if (e && *e->session) {
        e->hands_off = 0;
        persona_entry_retire(m, e, reason);
    }
    persona_manager_unlock(m);
    return 1;
}

static step_e step_forget(retirement_t *r, apr_pool_t *p)
{
    persona_entry_t *e;
    int own = 0;

    r->next = PERSONA_RETIRE_RELEASE;
    persona_manager_lock(r->m);
    persona_events_retire(r->m, &r->e);
    if (!*r->e.session) {
        persona_manager_unlock(r->m);
        return STEP_NEXT;
    }
    e = persona_entry_of_session(r->m, r->e.session);
    own = !e || !strcmp(e->uuid, r->e.uuid);
    if (own) {
        persona_ended_note(r->m, r->e.session, r->e.reason);
        persona_forecaster_ended(r->m, r->e.persona_id);
        persona_events_end(r->m, &r->e);
    }
    persona_manager_unlock(r->m);
    if (own) {
        r->forgotten = persona_retire_forget(r->m, &r->e, p) == APR_SUCCESS;
        persona_log(PERSONA_LOG_INFO, 0, "session of user %s on instance %s (%s) ended: %s",
                    r->e.user, r->e.uuid, r->e.persona_id, r->e.reason);
    }
    return STEP_NEXT;
}

/** The record may come back meanwhile: by an index that did not answer when it was removed, or that was frozen with
 * somebody's renewal in it. So it is looked at again and again, as long as anybody may come by it. */
static step_e step_lease(retirement_t *r, apr_pool_t *p)
{
    persona_entry_t *e;
    int own;

    r->next = PERSONA_RETIRE_DESTROY;
    if (*r->e.session) {
        persona_manager_lock(r->m);
        e = persona_entry_of_session(r->m, r->e.session);
        own = !e || !strcmp(e->uuid, r->e.uuid);
        persona_manager_unlock(r->m);
        if (own) {
            r->forgotten = persona_retire_forget(r->m, &r->e, p) == APR_SUCCESS || r->forgotten;
        }
    }
    return persona_manager_now(r->m) >= r->lease_until ? STEP_NEXT : STEP_WAIT;
}

static step_e step_destroy(retirement_t *r, apr_pool_t *p)
{
    persona_compute_t *c = r->site->compute;
    persona_instance_t *i = NULL;
    apr_status_t status = PERSONA_FAULT_CALL(retire_look, c->provider->inspect(c, r->e.uuid, &i, &r->res, p));

    if (status != APR_SUCCESS && status != APR_ENOENT) {
        return STEP_AGAIN;
    }
    /* "creating" is no mark: it has nothing yet that could carry one, and nobody was given it. */
    if (status == APR_SUCCESS &&
        (i->state == PERSONA_INSTANCE_READY || i->state == PERSONA_INSTANCE_ASSIGNED)) {
        r->next = PERSONA_RETIRE_MARK; /* a late mark of another manager: the lease begins anew */
        return STEP_NEXT;
    }
    if (status == APR_SUCCESS && i->state == PERSONA_INSTANCE_RETIRING && r->lease_until &&
        i->retiring_at != r->e.marked_at) {
        /* It was something else in between, and another manager marked it again: somebody may have renewed. */
        r->e.marked_at = i->retiring_at;
        r->lease_until = persona_manager_now(r->m) + PERSONA_LEASE + PERSONA_CLOCK_SKEW;
        r->next = PERSONA_RETIRE_LEASE;
        return STEP_NEXT;
    }
    /* Also for one that is gone already: its addresses and devices are freed by this. */
    if (PERSONA_FAULT_CALL(retire_destroy, c->provider->destroy(c, r->e.uuid, &r->res, p)) != APR_SUCCESS) {
        return STEP_AGAIN;
    }
    r->next = PERSONA_RETIRE_VERIFY;
    return STEP_NEXT;
}

static step_e step_verify(retirement_t *r, apr_pool_t *p)
{
    persona_compute_t *c = r->site->compute;
    persona_instance_t *i = NULL;
    apr_status_t status = PERSONA_FAULT_CALL(retire_verify, c->provider->inspect(c, r->e.uuid, &i, &r->res, p));

    if (status == APR_ENOENT) {
        r->next = PERSONA_RETIRE_UNFENCE;
        return STEP_NEXT;
    }
    if (status == APR_SUCCESS) {
        persona_result_set(&r->res, APR_EBUSY, "destroy", "the provider still has it");
        r->next = PERSONA_RETIRE_DESTROY;
    }
    return STEP_AGAIN;
}

/** The user's exclusive home, unless the same session has it on another instance. */
static apr_status_t unfence_home(retirement_t *r, apr_pool_t *p)
{
    persona_site_t *site = persona_home_site(r->m);
    const char *name;
    persona_entry_t *e;
    int elsewhere;

    if (!r->e.home_exclusive || !*r->e.hook_path || !*r->e.session || !*r->e.user) {
        return APR_SUCCESS;
    }
    persona_manager_lock(r->m);
    e = persona_entry_of_session(r->m, r->e.session);
    elsewhere = e && strcmp(e->uuid, r->e.uuid);
    persona_manager_unlock(r->m);
    if (elsewhere) {
        return APR_SUCCESS;
    }
    name = persona_home_fence(r->e.user, p);
    return site->compute->provider->unfence(site->compute, name,
                                            persona_fence_token(r->e.session, name, p), &r->res, p);
}

static step_e step_unfence(retirement_t *r, apr_pool_t *p)
{
    persona_compute_t *c = r->site->compute;
    const char *token = NULL;
    apr_status_t status = c->provider->fence_holder(c, r->e.uuid, &token, &r->res, p);

    if (status == APR_SUCCESS) {
        status = PERSONA_FAULT_CALL(retire_unfence, c->provider->unfence(c, r->e.uuid, token, &r->res, p));
        PERSONA_FAULT(retire_unfenced);
    }
    if (status == APR_SUCCESS || status == APR_ENOENT) {
        status = unfence_home(r, p);
    }
    if (status != APR_SUCCESS && status != APR_ENOENT) {
        return STEP_AGAIN;
    }
    persona_manager_lock(r->m);
    persona_events_gone(r->m, &r->e);
    persona_manager_unlock(r->m);
    persona_log(PERSONA_LOG_INFO, 0, "instance %s (%s) is gone: %s", r->e.uuid, r->e.persona_id,
                r->e.reason);
    r->next = PERSONA_RETIRE_NONE;
    return STEP_OVER;
}

static step_e step_run(retirement_t *r, apr_pool_t *p)
{
    switch (r->e.retire) {
    case PERSONA_RETIRE_FENCE:
        return step_fence(r, p);
    case PERSONA_RETIRE_MARK:
        return step_mark(r, p);
    case PERSONA_RETIRE_FORGET:
        return step_forget(r, p);
    case PERSONA_RETIRE_RELEASE:
        r->next = PERSONA_RETIRE_LEASE;
        if (r->e.home == 1 || r->e.home == 2) {
            persona_home_release(r->m, &r->e, p);
        }
        return STEP_NEXT;
    case PERSONA_RETIRE_LEASE:
        return step_lease(r, p);
    case PERSONA_RETIRE_DESTROY:
        return step_destroy(r, p);
    case PERSONA_RETIRE_VERIFY:
        return step_verify(r, p);
    case PERSONA_RETIRE_UNFENCE:
        return step_unfence(r, p);
    case PERSONA_RETIRE_NONE:
        break;
    }
    return STEP_OVER;
}

/** Write the outcome of a step back. 1: the same job goes on with the next step. */
static int step_note(retirement_t *r, step_e outcome)
{
    persona_manager_t *m = r->m;
    apr_time_t now = persona_manager_now(m);
    apr_interval_time_t pause;
    persona_entry_t *e;
    int on = 0;

    persona_manager_lock(m);
    e = persona_entry_find(m, r->e.uuid);
    if (!e) {
        persona_manager_unlock(m);
        return 0;
    }
    e->changed = now;
    e->forgotten = r->forgotten;
    switch (outcome) {
    case STEP_NEXT:
        e->retire = r->next;
        e->state = e->retire > PERSONA_RETIRE_MARK ? PERSONA_INSTANCE_RETIRING : e->state;
        e->lease_until = r->lease_until;
        e->marked_at = r->e.marked_at;
        e->retries = 0;
        /* The home is written back, and the machine stopped, by crews that may be kept waiting by an instance. */
        on = (e->retire != PERSONA_RETIRE_RELEASE || (e->home != 1 && e->home != 2)) &&
             (e->retire != PERSONA_RETIRE_DESTROY || r->e.retire != PERSONA_RETIRE_LEASE);
        break;
    case STEP_AGAIN:
        e->retire = r->next == PERSONA_RETIRE_DESTROY ? r->next : e->retire;
        pause = apr_time_from_sec(1) << (e->retries < 5 ? e->retries : 5);
        e->retries++;
        e->retry_at = now + (pause < RETRY_MAX ? pause : RETRY_MAX);
        break;
    case STEP_WAIT:
        e->retry_at = now + (*e->session && !e->forgotten ? FORGET_AGAIN : FORGET_CHECK);
        e->retry_at = *e->session && e->retry_at < e->lease_until ? e->retry_at : e->lease_until;
        break;
    case STEP_OVER:
        if (r->e.retire == PERSONA_RETIRE_UNFENCE) {
            persona_entry_drop(m, e);
            e = NULL;
        }
        else {
            e->retire = PERSONA_RETIRE_NONE;
            e->hands_off = now + apr_time_from_sec(60);
            apr_cpystrn(e->token, "another", sizeof(e->token));
            persona_entry_unnamed(m, e);
        }
        break;
    }
    if (e) {
        e->busy = on;
        r->e = *e;
    }
    persona_manager_unlock(m);
    return on;
}

static void retire_job(void *arg, apr_pool_t *p)
{
    persona_task_t *task = arg;
    persona_manager_t *m = task->manager;
    retirement_t *r = apr_pcalloc(p, sizeof(*r));
    persona_entry_t *e;
    step_e outcome;

    r->m = m;
    r->site = task->site;
    persona_manager_lock(m);
    e = persona_entry_find(m, task->uuid);
    if (e) {
        r->e = *e;
    }
    persona_manager_unlock(m);
    free(task);
    if (!e) {
        return;
    }
    do {
        r->lease_until = r->e.lease_until;
        r->forgotten = r->e.forgotten;
        r->next = r->e.retire;
        outcome = step_run(r, p);
        if (outcome == STEP_AGAIN && r->e.retries == 0) {
            persona_log(PERSONA_LOG_WARNING, r->res.status,
                        "instance %s (%s) cannot be retired now, to be tried again: "
                        "%s",
                        r->e.uuid, r->e.persona_id, r->res.detail);
        }
    } while (step_note(r, outcome));
    persona_manager_wake(m);
}

void persona_retire_due(persona_manager_t *m, persona_tasks_t *tasks)
{
    apr_time_t now = persona_manager_now(m);
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        persona_entry_t *e = apr_hash_this_val(hi);
        persona_site_t *site = persona_site_find(m, e->compute);
        int here = e->retire == PERSONA_RETIRE_FORGET || e->retire == PERSONA_RETIRE_RELEASE ||
                   e->retire == PERSONA_RETIRE_LEASE;
        persona_crew_t *crew;

        if (e->retire == PERSONA_RETIRE_NONE || e->busy || e->retry_at > now || !site) {
            continue;
        }
        if (!here && !persona_site_usable(site)) {
            continue;
        }
        e->busy = 1;
        crew = e->retire == PERSONA_RETIRE_RELEASE    ? m->hooks
               : e->retire >= PERSONA_RETIRE_DESTROY ? site->retires
                                                     : NULL;
        persona_tasks_add(tasks, m, site, crew, retire_job, e->uuid, NULL);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file plan.c
 * @brief Who plans, who waits, what to publish, make, trim and replace.
 *
 * Only the planner of a persona makes, trims and publishes; without the index every manager plans for all,
 * and the provider's own list, read again before each creation, keeps them from making more than one
 * each too many. People who wait come before the forecast. An instance that is stale (its persona was edited) is
 * never published; a few are replaced at a time, and only as current ones take their place.
 */
#include <math.h>
#include <string.h>

#include <apr_strings.h>

#include "boot.h"
#include "forecast/share.h"
#include "forecaster.h"
#include "plan.h"

#define WAITER_AGE      apr_time_from_sec(6)
#define REPLACE_AT_ONCE 2
#define TRIM_AT_ONCE    4
#define START_PATIENCE  apr_time_from_sec(10)

typedef struct census_t {
    int ready, stale, creating, assigned;
} census_t;

/** Ready, unfenced, current: may be handed out. */
static int fit(const persona_entry_t *e, const persona_t *persona)
{
    return e->state == PERSONA_INSTANCE_READY && e->retire == PERSONA_RETIRE_NONE && !*e->token &&
           !*e->session && !*e->unsure && *e->address &&
           !strcmp(e->fingerprint, persona->fingerprint);
}

static int is_of(const persona_entry_t *e, const persona_t *persona)
{
    return !strcmp(e->persona_id, persona->id);
}

static census_t take_census(persona_manager_t *m, const persona_t *persona)
{
    census_t census = {0, 0, 0, 0};
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        const persona_entry_t *e = apr_hash_this_val(hi);

        if (!is_of(e, persona) || e->retire != PERSONA_RETIRE_NONE) {
            continue;
        }
        if (*e->session || *e->token || *e->unsure || e->state == PERSONA_INSTANCE_ASSIGNED) {
            census.assigned++;
        }
        else if (strcmp(e->fingerprint, persona->fingerprint) || e->outdated) {
            census.stale++;
        }
        else if (e->state == PERSONA_INSTANCE_READY) {
            census.ready++;
        }
        else {
            census.creating++;
        }
    }
    return census;
}

static int has_limits(const persona_site_t *site)
{
    int k;

    for (k = 0; k < PERSONA_LIMITS; k++) {
        if (site->limits[k] >= 0) {
            return 1;
        }
    }
    return 0;
}

/** What an instance of the persona takes. */
static void need_of(const persona_t *persona, double *need)
{
    need[PERSONA_LIMIT_CPUS] = persona->resources.cpu;
    need[PERSONA_LIMIT_MEMORY] = (double)persona->resources.memory;
    need[PERSONA_LIMIT_GPUS] = persona->resources.gpu_count;
    need[PERSONA_LIMIT_INSTANCES] = 1;
}

static int boots_under_way(persona_manager_t *m, const persona_site_t *site)
{
    apr_hash_index_t *hi;
    int count = 0;

    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        const persona_entry_t *e = apr_hash_this_val(hi);

        /* One that does not even run by now is being made by nobody, and goes when its time is over. */
        count += e->state == PERSONA_INSTANCE_CREATING && e->retire == PERSONA_RETIRE_NONE &&
                 !strcmp(e->compute, site->conf->name) &&
                 (e->running || e->busy || persona_manager_now(m) - e->created < START_PATIENCE);
    }
    return count;
}

/** Retire up to `count` unassigned instances; those that would be handed out last go first. */
static void retire_some(persona_manager_t *m, const persona_t *persona, int stale, int count,
                        const char *reason)
{
    while (count-- > 0) {
        persona_entry_t *chosen = NULL;
        apr_hash_index_t *hi;

        for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
            persona_entry_t *e = apr_hash_this_val(hi);
            int is_stale = strcmp(e->fingerprint, persona->fingerprint) || e->outdated;

            if (!is_of(e, persona) || e->retire != PERSONA_RETIRE_NONE || *e->session ||
                *e->token || *e->unsure || e->busy || e->state == PERSONA_INSTANCE_ASSIGNED ||
                is_stale != stale || (!stale && e->state != PERSONA_INSTANCE_READY)) {
                continue;
            }
            if (!chosen || e->slot > chosen->slot) {
                chosen = e;
            }
        }
        if (!chosen) {
            return;
        }
        persona_entry_retire(m, chosen, reason);
        if (chosen->retire == PERSONA_RETIRE_NONE) {
            return;
        }
    }
}

static void replace_stale(persona_manager_t *m, const persona_t *persona, const census_t *c,
                          int wanted, int room)
{
    int keep = wanted > c->ready ? wanted - c->ready : 0;
    int excess = c->stale - keep;

    if (c->stale && room <= 0 && excess < 1) {
        excess = 1; /* the cap leaves no room for its successor */
    }
    if (excess > REPLACE_AT_ONCE && wanted) {
        excess = REPLACE_AT_ONCE;
    }
    retire_some(m, persona, 1, excess, "it was made before its persona was edited or refreshed");
}

static void make_more(persona_manager_t *m, const persona_t *persona, persona_stock_t *stock,
                      const census_t *c, int wanted, int room, persona_tasks_t *tasks,
                      apr_pool_t *p)
{
    persona_site_t *site = persona_site_find(m, persona->environment.compute);
    int deficit = wanted - c->ready - c->creating;
    int slots, i;

    stock->no_capacity = 0;
    if (deficit <= 0) {
        return;
    }
    if (!site) {
        apr_snprintf(stock->problem, sizeof(stock->problem), "there is no PersonaCompute %s",
                     persona->environment.compute);
        return;
    }
    if (!site->observed || !persona_site_usable(site) || site->drained ||
        stock->next_boot > persona_manager_now(m)) {
        return;
    }
    if (stock->failures && c->creating) {
        return; /* after a failure one at a time, until one succeeds */
    }
    slots = site->boots_max - boots_under_way(m, site);
    stock->no_capacity = room <= 0;
    deficit = deficit < slots ? deficit : slots;
    deficit = deficit < room ? deficit : room;
    deficit = stock->failures && deficit > 1 ? 1 : deficit;
    for (i = 0; i < deficit; i++) {
        persona_boot_start(m, site, persona,
                           stock->waiting ? "somebody waits" : stock->target.reason, tasks, p);
    }
}

static void trim(persona_manager_t *m, const persona_t *persona, persona_stock_t *stock,
                 const census_t *c, int wanted)
{
    apr_time_t now = persona_manager_now(m);
    int surplus = c->ready + c->creating - wanted;

    surplus = surplus < c->ready ? surplus : c->ready;
    if (surplus <= 0) {
        stock->surplus_since = 0;
        return;
    }
    if (!stock->surplus_since) {
        stock->surplus_since = now;
    }
    /* A target that falls for a moment costs no boots. */
    if (stock->drained || m->drained || now - stock->surplus_since >= 2 * m->settings->schedule) {
        retire_some(m, persona, 0, surplus < TRIM_AT_ONCE ? surplus : TRIM_AT_ONCE,
                    "the pool needs fewer");
    }
}

/** With the lock: what the instances of a compute take, by what their personas say now; one of a persona that is gone
 * counts as an instance alone. */
static void taken_of(persona_manager_t *m, const persona_catalog_t *catalog, const persona_site_t *site,
                     int sessions_only, double *taken)
{
    apr_hash_index_t *hi;
    int k;

    memset(taken, 0, PERSONA_LIMITS * sizeof(*taken));
    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        const persona_entry_t *e = apr_hash_this_val(hi);
        const persona_t *persona;
        double need[PERSONA_LIMITS] = {0, 0, 0, 1};

        if (strcmp(e->compute, site->conf->name) ||
            (sessions_only && !*e->session && !*e->token && !*e->unsure && e->state != PERSONA_INSTANCE_ASSIGNED)) {
            continue;
        }
        persona = persona_catalog_find(catalog, e->persona_id);
        if (persona) {
            need_of(persona, need);
        }
        for (k = 0; k < PERSONA_LIMITS; k++) {
            taken[k] += need[k];
        }
    }
}

/** With the lock: how many more of this persona its compute has room for. */
static int room_of(persona_manager_t *m, const persona_catalog_t *catalog, const persona_t *persona, int room)
{
    const persona_site_t *site = persona_site_find(m, persona->environment.compute);
    double taken[PERSONA_LIMITS], need[PERSONA_LIMITS];
    int k;

    if (!site || !has_limits(site)) {
        return room;
    }
    taken_of(m, catalog, site, 0, taken);
    need_of(persona, need);
    for (k = 0; k < PERSONA_LIMITS; k++) {
        if (site->limits[k] >= 0 && need[k] > 0) {
            double more = floor((site->limits[k] - taken[k]) / need[k] + 1e-9);

            room = more < room ? (int)(more > 0 ? more : 0) : room;
        }
    }
    return room;
}

/** With the lock. */
static void decide(persona_manager_t *m, const persona_catalog_t *catalog, const persona_t *persona,
                   persona_stock_t *stock, persona_tasks_t *tasks, apr_pool_t *p)
{
    census_t c = take_census(m, persona);
    int wanted = stock->target.ready > stock->waiting ? stock->target.ready : stock->waiting;
    int room = persona->pool.max - (c.ready + c.stale + c.creating + c.assigned);

    if (stock->drained || m->drained) {
        wanted = 0;
    }
    room = room_of(m, catalog, persona, room);
    make_more(m, persona, stock, &c, wanted, room, tasks, p);
    replace_stale(m, persona, &c, wanted, room);
    trim(m, persona, stock, &c, wanted);
}

/* ---- the line ---- */

/** Must it be given a (new) slot? */
static int to_publish(persona_entry_t *e, const persona_t *persona, const persona_queue_t *queue,
                      apr_time_t now)
{
    if (!is_of(e, persona) || !fit(e, persona) || e->outdated) {
        return 0;
    }
    if (strcmp(e->generation, queue->generation)) {
        return 1;
    }
    if (!persona_pool_drawn(queue, e->slot)) {
        e->passed = 0;
        return 0;
    }
    if (!e->passed) {
        e->passed = now;
    }
    return now - e->passed >= PERSONA_REPUBLISH_AFTER;
}

static void publish(persona_manager_t *m, const persona_t *persona, const persona_queue_t *queue,
                    apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 8, sizeof(persona_entry_t *));
    apr_hash_index_t *hi;
    int i;

    persona_manager_lock(m);
    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        persona_entry_t *e = apr_hash_this_val(hi);

        if (to_publish(e, persona, queue, persona_manager_now(m))) {
            APR_ARRAY_PUSH(list, persona_entry_t *) = apr_pmemdup(p, e, sizeof(*e));
        }
    }
    persona_manager_unlock(m);
    for (i = 0; i < list->nelts; i++) {
        persona_entry_t *copy = APR_ARRAY_IDX(list, i, persona_entry_t *), *e;
        persona_record_t record;
        apr_uint64_t slot = 0;

        persona_entry_record(copy, &record);
        record.app = persona->app_id;
        record.session = record.user = "";
        record.started = record.expires = record.ends = 0;
        if (persona_manager_index(m, persona_pool_publish(m->index, queue, &record, &slot, p)) !=
            APR_SUCCESS) {
            return;
        }
        persona_manager_lock(m);
        e = persona_entry_find(m, copy->uuid);
        if (e) {
            persona_copy(e->generation, queue->generation);
            e->slot = slot;
            e->passed = 0;
        }
        persona_manager_unlock(m);
    }
}

/** People who told this manager that they wait. */
static int local_waiters(persona_stock_t *stock, apr_time_t now)
{
    int i, count = 0;

    for (i = 0; i < stock->demand_count; i++) {
        count += now - stock->demands[i].seen < PERSONA_DEMAND_AGE;
    }
    return count;
}

/** Whether this manager plans for the persona now, and the line as it is. 0 in *line: there is none to be seen. */
static int take_turn(persona_manager_t *m, const persona_t *persona, persona_queue_t *queue,
                     int *line, apr_pool_t *p)
{
    apr_uint64_t limit = (apr_uint64_t)persona->pool.max * 4 + 1024;
    int created = 0, planner;
    apr_status_t status;

    *line = 0;
    if (!persona_manager_index_usable(m)) {
        return 1;
    }
    planner = persona_pool_plan(m->index, persona->id, m->settings->gateway_id, p);
    status = persona_manager_index(
        m, persona_pool_queue(m->index, persona->id, planner, limit, queue, &created, p));
    *line = status == APR_SUCCESS;
    if (created) {
        persona_log(PERSONA_LOG_INFO, 0,
                    "persona %s: a new line was begun; its ready instances are published anew",
                    persona->id);
    }
    /* A refusal by an index that cannot be read either says nothing. */
    return planner || (status != APR_SUCCESS && status != APR_NOTFOUND);
}

static void tend_line(persona_manager_t *m, const persona_t *persona, persona_stock_t *stock,
                      apr_pool_t *p)
{
    apr_array_header_t *waiters = NULL;
    persona_queue_t queue;
    int line, waiting, planner = take_turn(m, persona, &queue, &line, p);

    if (planner && line) {
        publish(m, persona, &queue, p);
        if (persona_manager_index(m, persona_pool_waiters(m->index, &queue, persona->id, WAITER_AGE,
                                                          &waiters, p)) != APR_SUCCESS) {
            waiters = NULL;
        }
    }
    persona_manager_lock(m);
    waiting = local_waiters(stock, persona_manager_now(m));
    stock->planner = planner;
    stock->waiting = waiters && waiters->nelts > waiting ? waiters->nelts : waiting;
    persona_manager_unlock(m);
}

/** Ready instances of a persona that is in force nowhere: retired by who may plan for it. */
static void drop_removed(persona_manager_t *m, const persona_catalog_t *catalog, apr_pool_t *p)
{
    apr_hash_t *unknown = apr_hash_make(p);
    apr_hash_index_t *hi;

    if (!catalog->personas->nelts && catalog->errors->nelts) {
        return; /* the folder cannot be read: nothing was removed */
    }
    persona_manager_lock(m);
    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        persona_entry_t *e = apr_hash_this_val(hi);

        if (e->retire == PERSONA_RETIRE_NONE && !persona_catalog_find(catalog, e->persona_id)) {
            const char *id = apr_pstrdup(p, e->persona_id);

            apr_hash_set(unknown, id, APR_HASH_KEY_STRING, id);
        }
    }
    persona_manager_unlock(m);
    for (hi = apr_hash_first(p, unknown); hi; hi = apr_hash_next(hi)) {
        const char *id = apr_hash_this_val(hi);
        apr_hash_index_t *ei;

        if (persona_manager_index_usable(m) &&
            !persona_pool_plan(m->index, id, m->settings->gateway_id, p)) {
            continue;
        }
        persona_manager_lock(m);
        for (ei = apr_hash_first(NULL, m->entries); ei; ei = apr_hash_next(ei)) {
            persona_entry_t *e = apr_hash_this_val(ei);

            if (!strcmp(e->persona_id, id) && !*e->session && !*e->token && !*e->unsure &&
                !e->busy && e->state != PERSONA_INSTANCE_ASSIGNED) {
                persona_entry_retire(m, e, "its persona was removed");
            }
        }
        persona_manager_unlock(m);
    }
}

/** With the lock. */
static void set_target(persona_manager_t *m, persona_stock_t *stock, const persona_target_t *target)
{
    persona_decision_t *decision;

    if (!stock->decision_count || target->ready != stock->target.ready) {
        decision = &stock->decisions[stock->decision_count++ % PERSONA_DECISIONS_KEPT];
        decision->at = persona_manager_now(m);
        decision->ready = target->ready;
        decision->expected = target->expected;
        persona_copy(decision->reason, target->reason);
    }
    stock->target = *target;
}

/** Targets that are asked of one compute, and do not fit together, are cut to what it has room for. */
static void share_site(persona_manager_t *m, const persona_catalog_t *catalog, const persona_site_t *site,
                       persona_target_t *targets, apr_pool_t *p)
{
    int n = catalog->personas->nelts, count = 0, i, k;
    persona_share_t *shares = apr_pcalloc(p, (apr_size_t)(n + 1) * sizeof(*shares));
    int *whose = apr_pcalloc(p, (apr_size_t)(n + 1) * sizeof(*whose));
    double room[PERSONA_LIMITS], taken[PERSONA_LIMITS], *worth;

    for (i = 0; i < n; i++) {
        const persona_t *persona = APR_ARRAY_IDX(catalog->personas, i, const persona_t *);
        persona_share_t *share = &shares[count];
        census_t c;

        if (strcmp(persona->environment.compute, site->conf->name)) {
            continue;
        }
        worth = apr_palloc(p, (apr_size_t)(targets[i].ready + 1) * sizeof(*worth));
        persona_forecaster_worth(m, persona, targets[i].ready, worth);
        persona_manager_lock(m);
        c = take_census(m, persona);
        share->least = persona_stock_of(m, persona->id)->waiting;
        persona_manager_unlock(m);
        share->least = share->least > persona->pool.min ? share->least : persona->pool.min;
        share->wish = targets[i].ready;
        share->held = c.ready + c.creating + c.stale;
        share->worth = worth;
        need_of(persona, share->need);
        whose[count++] = i;
    }
    persona_manager_lock(m);
    taken_of(m, catalog, site, 1, taken);
    persona_manager_unlock(m);
    for (k = 0; k < PERSONA_LIMITS; k++) {
        room[k] = site->limits[k] < 0 ? -1 : site->limits[k] > taken[k] ? site->limits[k] - taken[k] : 0;
    }
    if (!persona_share(shares, count, room)) {
        return;
    }
    for (i = 0; i < count; i++) {
        persona_target_t *target = &targets[whose[i]];

        if (shares[i].granted < target->ready) {
            apr_snprintf(target->reason, sizeof(target->reason), "shared: %d would be worth their place, compute %.40s "
                         "has room for %d", target->ready, site->conf->name, shares[i].granted);
            target->ready = shares[i].granted;
        }
    }
}

/** The targets of all personas, within what their computes have room for. */
static void make_targets(persona_manager_t *m, const persona_catalog_t *catalog, persona_target_t *targets,
                         persona_target_t *models, apr_pool_t *p)
{
    int i;

    for (i = 0; i < catalog->personas->nelts; i++) {
        persona_forecaster_target(m, APR_ARRAY_IDX(catalog->personas, i, const persona_t *), &targets[i], &models[i]);
    }
    for (i = 0; i < m->site_count; i++) {
        if (has_limits(&m->sites[i])) {
            share_site(m, catalog, &m->sites[i], targets, p);
        }
    }
}

void persona_plan(persona_manager_t *m, const persona_catalog_t *catalog, int full, apr_pool_t *p)
{
    apr_size_t size = (apr_size_t)(catalog->personas->nelts + 1) * sizeof(persona_target_t);
    persona_target_t *targets = full ? apr_pcalloc(p, size) : NULL, *models = full ? apr_pcalloc(p, size) : NULL;
    persona_tasks_t tasks;
    int i;

    if (full) {
        make_targets(m, catalog, targets, models, p);
    }
    persona_tasks_init(&tasks, p);
    for (i = 0; i < catalog->personas->nelts; i++) {
        const persona_t *persona = APR_ARRAY_IDX(catalog->personas, i, const persona_t *);
        persona_stock_t *stock;
        persona_target_t target, model;

        persona_manager_lock(m);
        stock = persona_stock_of(m, persona->id);
        target = stock->target;
        model = stock->model;
        persona_manager_unlock(m);
        if (full) {
            target = targets[i];
            model = models[i];
        }
        tend_line(m, persona, stock, p);
        persona_manager_lock(m);
        set_target(m, stock, &target);
        stock->model = model;
        if (stock->planner) {
            decide(m, catalog, persona, stock, &tasks, p);
        }
        persona_manager_unlock(m);
        persona_tasks_push(&tasks);
    }
    if (full) {
        drop_removed(m, catalog, p);
    }
}

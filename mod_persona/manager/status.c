/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file status.c
 * @brief The status document and the progress of a boot, from the tables.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "status.h"
#include "trail.h"

#define FAILING_FROM 5

typedef struct counts_t {
    int ready, creating, assigned, stale, retiring;
    int probing;       /**< of the creating: have an address */
    apr_time_t oldest; /**< begin of the oldest that is creating; 0: none */
} counts_t;

static counts_t count(persona_manager_t *m, const persona_t *persona)
{
    counts_t c = {0, 0, 0, 0, 0, 0, 0};
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        const persona_entry_t *e = apr_hash_this_val(hi);

        if (strcmp(e->persona_id, persona->id)) {
            continue;
        }
        if (e->retire != PERSONA_RETIRE_NONE) {
            c.retiring++;
        }
        else if (*e->session || *e->token || e->state == PERSONA_INSTANCE_ASSIGNED) {
            c.assigned++;
        }
        else if (strcmp(e->fingerprint, persona->fingerprint) || e->outdated) {
            c.stale++;
        }
        else if (e->state == PERSONA_INSTANCE_READY) {
            c.ready++;
        }
        else {
            c.creating++;
            c.probing += *e->address != '\0';
            c.oldest = c.oldest && c.oldest < e->begun ? c.oldest : e->begun;
        }
    }
    return c;
}

static int compare_times(const void *a, const void *b)
{
    apr_interval_time_t x = *(const apr_interval_time_t *)a, y = *(const apr_interval_time_t *)b;

    return (x > y) - (x < y);
}

/** Quantile of the last boots (nearest rank), in seconds. */
static double boot_quantile(const persona_stock_t *stock, double q)
{
    apr_interval_time_t sorted[PERSONA_BOOTS_KEPT];
    unsigned n = stock->boot_count < PERSONA_BOOTS_KEPT ? stock->boot_count : PERSONA_BOOTS_KEPT;
    unsigned rank = (unsigned)(q * (n - 1) + 0.5);

    memcpy(sorted, stock->boots, n * sizeof(sorted[0]));
    qsort(sorted, n, sizeof(sorted[0]), compare_times);
    return (double)sorted[rank] / APR_USEC_PER_SEC;
}

static json_t *text_or_null(const char *text)
{
    json_t *json = text && *text ? json_string(text) : NULL;

    return json ? json : json_null();
}

static const char *stock_state(persona_manager_t *m, const persona_t *persona,
                               const persona_stock_t *stock)
{
    const persona_site_t *site = persona_site_find(m, persona->environment.compute);

    if (!site || !persona_site_usable(site)) {
        return "compute-down";
    }
    if (stock->failures >= FAILING_FROM) {
        return "failing";
    }
    return stock->no_capacity ? "no-capacity" : "ok";
}

static const char *stock_problem(persona_manager_t *m, const persona_t *persona,
                                 const persona_stock_t *stock)
{
    const persona_site_t *site = persona_site_find(m, persona->environment.compute);

    if (site && site->down_since) {
        return site->problem;
    }
    if (stock->no_capacity) {
        return "pool.max is reached, or the limits of its PersonaCompute";
    }
    return stock->problem;
}

int persona_status_wait(persona_manager_t *m, const persona_t *persona, int place, double boots[PERSONA_BOOTS_KEPT],
                        persona_wait_t *wait)
{
    const persona_stock_t *stock = persona_stock_of(m, persona->id);
    const persona_site_t *site = persona_site_find(m, persona->environment.compute);
    const apr_time_t now = persona_manager_now(m);
    counts_t c = count(m, persona);
    int wanted = stock->target.ready, room = persona->pool.max - (c.ready + c.stale + c.creating + c.assigned);
    apr_hash_index_t *hi;
    unsigned i;

    if (place < 1 || !site || !persona_site_usable(site) || site->drained || stock->drained || m->drained ||
        stock->failures >= FAILING_FROM) {
        return 0;
    }
    memset(wait, 0, sizeof(*wait));
    wait->boots = boots;
    wait->boot_count = (int)(stock->boot_count < PERSONA_BOOTS_KEPT ? stock->boot_count : PERSONA_BOOTS_KEPT);
    for (i = 0; i < (unsigned)wait->boot_count; i++) {
        boots[i] = (double)stock->boots[i] / APR_USEC_PER_SEC;
    }
    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        const persona_entry_t *e = apr_hash_this_val(hi);

        if (e->state != PERSONA_INSTANCE_CREATING || e->retire != PERSONA_RETIRE_NONE ||
            strcmp(e->compute, site->conf->name)) {
            continue;
        }
        if (strcmp(e->persona_id, persona->id) || strcmp(e->fingerprint, persona->fingerprint) || e->outdated) {
            wait->others++;
        }
        else if (wait->booting < PERSONA_WAIT_SLOTS) {
            wait->ages[wait->booting++] = (double)(now - e->begun) / APR_USEC_PER_SEC;
        }
    }
    wanted = stock->waiting > wanted ? stock->waiting : wanted;
    wanted = place > wanted ? place : wanted;
    wait->more = wanted - c.ready - c.creating;
    wait->more = wait->more < room ? wait->more : room;
    wait->delay = (double)(stock->next_boot - now) / APR_USEC_PER_SEC;
    /* after a failure one at a time, until one succeeds */
    wait->slots = stock->failures ? wait->booting + wait->others + !wait->booting : site->boots_max;
    wait->ready = c.ready;
    wait->place = place;
    return 1;
}

json_t *persona_status_progress(persona_manager_t *m, const persona_t *persona)
{
    const persona_stock_t *stock = persona_stock_of(m, persona->id);
    counts_t c = count(m, persona);
    const char *state = stock_state(m, persona, stock);
    const char *stage = "queued";
    double elapsed = c.oldest ? (double)(persona_manager_now(m) - c.oldest) / APR_USEC_PER_SEC : 0;

    if (c.creating) {
        stage = c.probing == c.creating ? "probing" : elapsed < 1 ? "creating" : "booting";
    }
    else if (!strcmp(state, "no-capacity")) {
        stage = state;
    }
    else if (strcmp(state, "ok")) {
        stage = "failing";
    }
    return json_pack("{s:s, s:i, s:i, s:o}", "stage", stage, "ready", c.ready, "creating",
                     c.creating, "reason",
                     text_or_null(stock_problem(m, persona, stock)));
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static json_t *forecast_json(const persona_scores_t *week, int which)
{
    const persona_forecast_score_t *f = &week->forecast[which];

    return json_pack("{s:f, s:f, s:f, s:f}", "coverage", ratio(f->covered, week->windows), "pinball",
                     ratio(f->pinball, week->windows), "log_score", ratio(f->log, week->windows), "bias",
                     ratio(f->expected - week->seen, week->windows));
}

static json_t *pool_json(const persona_scores_t *week, int which)
{
    const persona_pool_score_t *pool = &week->pool[which];

    return json_pack("{s:f, s:f, s:f}", "hit_rate", ratio(pool->hits, week->claims), "idle_hours",
                     pool->idle / 3600.0, "cost_hours", pool->cost / 3600.0);
}

static json_t *feedback_json(const persona_feedback_view_t *view)
{
    const persona_scores_t *week = &view->week;
    json_t *model = forecast_json(week, PERSONA_FORECAST_MODEL), *naive = forecast_json(week, PERSONA_FORECAST_NAIVE);

    json_object_update_new(model, pool_json(week, PERSONA_POOL_MODEL));
    json_object_update_new(naive, pool_json(week, PERSONA_POOL_NAIVE));
    return json_pack("{s:i, s:i, s:o, s:o, s:o, s:b, s:I, s:i}", "forecasts", (int)week->windows, "claims",
                     (int)week->claims, "model", model, "seasonal_naive", naive, "buffer",
                     pool_json(week, PERSONA_POOL_BUFFER), "fallen", view->fallen, "turned",
                     (json_int_t)(view->turned * APR_USEC_PER_SEC), "buffer_size", view->buffer);
}

static json_t *persona_json(persona_manager_t *m, const persona_t *persona)
{
    const persona_stock_t *stock = persona_stock_of(m, persona->id);
    counts_t c = count(m, persona);
    json_t *json, *boot = NULL;

    if (stock->boot_count) {
        boot = json_pack("{s:i, s:f, s:f, s:f}", "count", (int)stock->boot_count, "p10",
                         boot_quantile(stock, 0.1), "p50", boot_quantile(stock, 0.5), "p90",
                         boot_quantile(stock, 0.9));
    }
    json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:f, s:s, s:i, s:i, s:b}", "id", persona->id, "app",
                     persona->app_id, "title", persona->title ? persona->title : persona->app_id,
                     "compute", persona->environment.compute, "target", stock->target.ready,
                     "expected", stock->target.expected, "target_reason", stock->target.reason,
                     "min", persona->pool.min, "max", persona->pool.max, "planner", stock->planner);
    json_object_update_new(
        json, json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:s}", "ready", c.ready,
                        "creating", c.creating, "assigned", c.assigned, "stale", c.stale,
                        "retiring", c.retiring, "waiting", stock->waiting, "claims",
                        (int)stock->claims, "cold_claims", (int)stock->cold_claims, "drained",
                        stock->drained || m->drained, "state", stock_state(m, persona, stock)));
    if (*stock->model.reason) {
        json_object_set_new(json, "model", json_pack("{s:i, s:f, s:s, s:b}", "target", stock->model.ready, "expected",
                                                     stock->model.expected, "reason", stock->model.reason, "rules",
                                                     m->model_rules && !stock->feedback.fallen));
        json_object_set_new(json, "feedback", feedback_json(&stock->feedback));
    }
    json_object_set_new(json, "problem", text_or_null(stock_problem(m, persona, stock)));
    json_object_set_new(json, "boot", boot ? boot : json_null());
    return json;
}

static json_t *computes_json(persona_manager_t *m)
{
    json_t *list = json_array();
    int i;

    for (i = 0; i < m->site_count; i++) {
        const persona_site_t *site = &m->sites[i];
        int instances = 0, booting = 0;
        apr_hash_index_t *hi;

        for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
            const persona_entry_t *e = apr_hash_this_val(hi);

            if (!strcmp(e->compute, site->conf->name)) {
                instances++;
                booting +=
                    e->state == PERSONA_INSTANCE_CREATING && e->retire == PERSONA_RETIRE_NONE;
            }
        }
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:b, s:o, s:I, s:I, s:i, s:i, s:i, s:b}", "name",
                      site->conf->name, "provider", site->conf->provider, "address",
                      site->conf->address, "up", site->observed && !site->down_since, "problem",
                      text_or_null(site->problem), "down_since", (json_int_t)site->down_since,
                      "read", (json_int_t)site->read_at, "instances", instances, "booting", booting,
                      "boots_max", site->boots_max, "drained", site->drained));
    }
    return list;
}

static json_t *sessions_json(persona_manager_t *m, const char *user)
{
    apr_time_t now = persona_manager_now(m);
    json_t *list = json_array();
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, m->sessions); hi; hi = apr_hash_next(hi)) {
        const persona_entry_t *e = apr_hash_this_val(hi);
        json_t *json;

        if (e->retire != PERSONA_RETIRE_NONE || (user && strcmp(user, e->user))) {
            continue;
        }
        json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "session", e->session, "user",
                         e->user, "app", e->app, "persona", e->persona_id, "instance", e->uuid,
                         "compute", e->compute, "host", e->host);
        json_object_update_new(
            json,
            json_pack("{s:I, s:i, s:I, s:I, s:i, s:o, s:I, s:b}", "started",
                      (json_int_t)e->assigned_at, "streams", persona_entry_streams(e, now),
                      "last_input", (json_int_t)e->last_input, "attached", (json_int_t)e->attached,
                      "home", e->home, "home_problem", text_or_null(e->home_problem), "ends",
                      (json_int_t)(e->assigned_at + e->max_session), "cold", e->cold));
        json_array_append_new(list, json);
    }
    return list;
}

static json_t *instances_json(persona_manager_t *m)
{
    static const char *const steps[] = {"",      "fence",   "mark",   "forget", "release",
                                        "lease", "destroy", "verify", "unfence"};
    json_t *list = json_array();
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        const persona_entry_t *e = apr_hash_this_val(hi);
        json_t *json =
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "instance", e->uuid, "persona",
                      e->persona_id, "compute", e->compute, "host", e->host, "state",
                      persona_instance_state_name(
                          e->retire != PERSONA_RETIRE_NONE ? PERSONA_INSTANCE_RETIRING : e->state),
                      "address", e->address);

        json_object_update_new(
            json, json_pack("{s:o, s:I, s:I, s:i, s:o, s:o}", "session", text_or_null(e->session),
                            "created", (json_int_t)e->created, "ready_at", (json_int_t)e->ready_at,
                            "port", e->port, "step", text_or_null(steps[e->retire]), "reason",
                            text_or_null(e->reason)));
        json_array_append_new(list, json);
    }
    return list;
}

json_t *persona_status_document(persona_manager_t *m, const char *user, apr_pool_t *p)
{
    persona_catalog_t *catalog = persona_manager_catalog(m);
    json_t *json, *personas = json_array(), *errors = json_array(), *stale = json_array();
    int i;

    for (i = 0; i < catalog->errors->nelts; i++) {
        const persona_error_t *error = &APR_ARRAY_IDX(catalog->errors, i, persona_error_t);

        json_array_append_new(errors, json_string(persona_error_text(error, p)));
    }
    for (i = 0; i < catalog->stale->nelts; i++) {
        json_array_append_new(stale, json_string(APR_ARRAY_IDX(catalog->stale, i, const char *)));
    }
    persona_manager_lock(m);
    json_array_extend(errors, m->events_errors);
    for (i = 0; i < catalog->personas->nelts; i++) {
        json_array_append_new(
            personas, persona_json(m, APR_ARRAY_IDX(catalog->personas, i, const persona_t *)));
    }
    json = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:b, s:s, s:o, s:o, s:o}", "manager",
                     m->id, "version", PACKAGE_VERSION, "started", (json_int_t)m->started, "now",
                     (json_int_t)persona_manager_now(m), "ticked", (json_int_t)m->ticked,
                     "schedule_ms", (json_int_t)apr_time_as_msec(m->settings->schedule), "index",
                     m->index_failed ? "down" : "ok", "drained", m->drained, "catalog_version",
                     catalog->version, "errors", errors, "stale", stale, "personas", personas);
    json_object_set_new(json, "computes", computes_json(m));
    json_object_set_new(json, "sessions", sessions_json(m, user));
    if (!user) {
        json_object_set_new(json, "instances", instances_json(m));
    }
    persona_manager_unlock(m);
    json_object_set_new(json, "history", m->trail ? persona_trail_status(m->trail) : json_null());
    persona_catalog_release(catalog);
    return json;
}

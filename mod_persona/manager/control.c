/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file control.c
 * @brief The operations of the control socket: drain, refresh, retire, reload, audit, history, explain.
 */
#include <string.h>

#include <apr_strings.h>

#include "audit.h"
#include "events.h"
#include "explain.h"
#include "monotonic.h"
#include "ops.h"

/** Between the two looks of an audit: longer than a claim or a step of a retirement takes. */
#define AUDIT_PAUSE apr_time_from_sec(2)

static int is_true(const json_t *request, const char *name)
{
    return json_is_true(json_object_get(request, name));
}

/** With the lock: retire what `persona` or `compute` (NULL: any) has. Returns how many. */
static int retire_matching(persona_manager_t *m, const char *persona, const char *compute,
                           int sessions, const char *reason)
{
    apr_hash_index_t *hi;
    int count = 0;

    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        persona_entry_t *e = apr_hash_this_val(hi);
        int held = *e->session || *e->token || e->state == PERSONA_INSTANCE_ASSIGNED;

        if ((persona && strcmp(e->persona_id, persona)) ||
            (compute && strcmp(e->compute, compute)) || e->retire != PERSONA_RETIRE_NONE ||
            (held && !sessions)) {
            continue;
        }
        persona_entry_retire(m, e, reason);
        count += e->retire != PERSONA_RETIRE_NONE;
    }
    return count;
}

static json_t *op_drain(persona_manager_t *m, const json_t *request, apr_pool_t *p)
{
    const char *persona = persona_ops_text(request, "persona", PERSONA_NAME_MAX);
    const char *compute = persona_ops_text(request, "compute", PERSONA_NAME_MAX);
    int all = is_true(request, "all"), on = !is_true(request, "off"), retired = 0;
    persona_site_t *site = NULL;

    (void)p;
    if (!persona && !compute && !all) {
        return persona_ops_status("bad", "drain needs \"persona\", \"compute\" or \"all\"");
    }
    persona_manager_lock(m);
    site = persona_site_find(m, compute);
    if (compute && !site) {
        persona_manager_unlock(m);
        return persona_ops_status("none", "there is no such compute");
    }
    if (persona) {
        persona_stock_of(m, persona)->drained = on;
    }
    if (site) {
        site->drained = on;
    }
    if (all) {
        m->drained = on;
    }
    if (on) {
        retired = retire_matching(m, persona, compute, all || is_true(request, "sessions"),
                                  "drained by an administrator");
    }
    persona_manager_unlock(m);
    persona_manager_wake(m);
    persona_log(PERSONA_LOG_NOTICE, 0, "drain %s of %s: %d instances are retired",
                on ? "begins" : "ends",
                persona   ? persona
                : compute ? compute
                          : "everything",
                retired);
    return json_pack("{s:s, s:i}", "status", "ok", "retired", retired);
}

static json_t *op_refresh(persona_manager_t *m, const json_t *request, apr_pool_t *p)
{
    const char *persona = persona_ops_text(request, "persona", PERSONA_NAME_MAX);
    apr_hash_index_t *hi;
    int count = 0;

    (void)p;
    if (!persona) {
        return persona_ops_status("bad", "refresh needs \"persona\"");
    }
    persona_manager_lock(m);
    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        persona_entry_t *e = apr_hash_this_val(hi);

        if (!strcmp(e->persona_id, persona) && e->retire == PERSONA_RETIRE_NONE && !*e->session) {
            e->outdated = 1;
            count++;
        }
    }
    persona_manager_unlock(m);
    persona_manager_wake(m);
    return json_pack("{s:s, s:i}", "status", "ok", "refreshed", count);
}

static json_t *op_retire(persona_manager_t *m, const json_t *request, apr_pool_t *p)
{
    const char *uuid = persona_ops_text(request, "instance", PERSONA_UUID_LEN - 1);
    persona_entry_t *e;
    json_t *answer;

    (void)p;
    if (!uuid) {
        return persona_ops_status("bad", "retire needs \"instance\"");
    }
    persona_manager_lock(m);
    e = persona_entry_find(m, uuid);
    if (!e) {
        answer = persona_ops_status("none", "there is no such instance");
    }
    else if ((*e->session || *e->token) && !is_true(request, "force")) {
        answer =
            persona_ops_status("no", "a session has it; retire it with force to end that session");
    }
    else {
        persona_entry_retire(m, e, "retired by an administrator");
        answer = persona_ops_status("ok", NULL);
    }
    persona_manager_unlock(m);
    return answer;
}

/** Answers when the folder was read. The tick does that within milliseconds; so long is waited for it. */
static json_t *op_reload(persona_manager_t *m, const json_t *request, apr_pool_t *p)
{
    struct timespec until = persona_monotonic_in(apr_time_from_sec(5));
    persona_catalog_t *catalog;
    json_t *errors = json_array(), *answer;
    unsigned before;
    int i, rc = 0;

    (void)request;
    persona_manager_lock(m);
    before = m->catalogs_read;
    m->reload = 1;
    persona_manager_unlock(m);
    persona_manager_wake(m);
    persona_manager_lock(m);
    while (m->catalogs_read == before && m->wake_fd >= 0 && rc == 0) {
        rc = pthread_cond_timedwait(&m->changed, &m->lock, &until);
    }
    persona_manager_unlock(m);
    catalog = persona_manager_catalog(m);
    for (i = 0; i < catalog->errors->nelts; i++) {
        json_array_append_new(
            errors, json_string(persona_error_text(
                        &APR_ARRAY_IDX(catalog->errors, i, persona_error_t), p)));
    }
    answer = json_pack("{s:s, s:i, s:o}", "status", "ok", "personas", catalog->personas->nelts,
                       "errors", errors);
    persona_catalog_release(catalog);
    return answer;
}

static json_t *op_audit(persona_manager_t *m, const json_t *request, apr_pool_t *p)
{
    json_t *answer = persona_audit(m, is_true(request, "repair"), AUDIT_PAUSE, p);

    json_object_set_new(answer, "status", json_string("ok"));
    return answer;
}

static json_t *op_history(persona_manager_t *m, const json_t *request, apr_pool_t *p)
{
    persona_history_query_t query = {{NULL, NULL}, NULL, NULL, 0, 0, 0, 0};
    persona_result_t res = {0};
    json_t *rows = NULL;
    apr_status_t status;
    int more = 0;

    if (!m->trail) {
        return persona_ops_status("none", "no history is written here; the error log says why");
    }
    query.users[0] = persona_ops_text(request, "user", PERSONA_USER_MAX);
    query.persona = persona_ops_text(request, "persona", PERSONA_NAME_MAX);
    query.instance = persona_ops_text(request, "instance", PERSONA_UUID_LEN - 1);
    query.since = json_integer_value(json_object_get(request, "since"));
    query.before = json_integer_value(json_object_get(request, "before"));
    query.limit = (int)json_integer_value(json_object_get(request, "limit"));
    query.hours = is_true(request, "hours");
    status = persona_trail_read(m->trail, &query, &rows, &more, &res, p);
    if (status == APR_EBUSY) {
        return persona_ops_status("no", "the history is being read by somebody else; try again");
    }
    if (status != APR_SUCCESS) {
        return persona_ops_status("no", apr_pstrcat(p, "the history cannot be read: ", res.detail, NULL));
    }
    return json_pack("{s:s, s:o, s:b}", "status", "ok", "rows", rows, "more", more);
}

/** What was asked for, in words for the history; NULL: it changes nothing. */
static const char *deed(const char *op, const json_t *request, apr_pool_t *p)
{
    static const char *const names[] = {"persona", "compute", "instance", NULL};
    static const char *const flags[] = {"all", "off", "sessions", "force", "repair", NULL};
    const char *words = op;
    int i;

    if (!strcmp(op, "history") || !strcmp(op, "explain") || (!strcmp(op, "audit") && !is_true(request, "repair"))) {
        return NULL;
    }
    for (i = 0; names[i]; i++) {
        const char *name = persona_ops_text(request, names[i], PERSONA_NAME_MAX);

        words = name ? apr_pstrcat(p, words, " ", names[i], " ", name, NULL) : words;
    }
    for (i = 0; flags[i]; i++) {
        words = is_true(request, flags[i]) ? apr_pstrcat(p, words, " --", flags[i], NULL) : words;
    }
    return words;
}

static const struct {
    const char *name;
    json_t *(*run)(persona_manager_t *m, const json_t *request, apr_pool_t *p);
} operations[] = {
    {"drain", op_drain},   {"refresh", op_refresh}, {"retire", op_retire},
    {"reload", op_reload}, {"audit", op_audit},     {"history", op_history},
    {"explain", persona_explain},
};

json_t *persona_ops_control(persona_manager_t *m, const persona_ipc_peer_t *peer, const char *op,
                            const json_t *request, apr_pool_t *p)
{
    const char *words, *status;
    json_t *answer;
    size_t i;

    for (i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        if (strcmp(operations[i].name, op)) {
            continue;
        }
        answer = operations[i].run(m, request, p);
        words = deed(op, request, p);
        status = json_string_value(json_object_get(answer, "status"));
        if (words && status) {
            persona_events_admin(m, peer, strcmp(status, "ok") ? apr_pstrcat(p, words, ": ", status, NULL) : words);
        }
        return answer;
    }
    return NULL;
}

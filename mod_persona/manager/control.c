/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file control.c
 * @brief The operations of the control socket: drain, refresh, retire, reload, audit.
 */
#include <string.h>

#include "audit.h"
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

json_t *persona_ops_control(persona_manager_t *m, const char *op, const json_t *request,
                            apr_pool_t *p)
{
    if (!strcmp(op, "drain")) {
        return op_drain(m, request, p);
    }
    if (!strcmp(op, "refresh")) {
        return op_refresh(m, request, p);
    }
    if (!strcmp(op, "retire")) {
        return op_retire(m, request, p);
    }
    if (!strcmp(op, "reload")) {
        return op_reload(m, request, p);
    }
    if (!strcmp(op, "audit")) {
        return op_audit(m, request, p);
    }
    return NULL;
}

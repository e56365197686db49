/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file audit.c
 * @brief `personactl audit`.
 *
 * A look reads fences, instances and fences again at each compute: an instance whose fence changed in between is being
 * claimed or retired and is left out of that look. Then it compares, under the lock, with what the manager knows, and
 * without it with the index. What two looks find alike is a finding.
 */
#include <string.h>

#include <apr_strings.h>

#include "audit.h"
#include "persona/digest.h"
#include "pool/session.h"

/** A manager has written the record of a session so long after the claim, whatever became of the worker. */
#define RECORD_DUE apr_time_from_sec(10)

/** What can be done about it. */
typedef enum {
    MEND_NOTHING,
    MEND_FENCE,   /**< take the fence for the session that the instance says it has */
    MEND_SWEEP,   /**< remove the fence of an instance that is not there */
    MEND_RECORD,  /**< write the session's record */
    MEND_RETIRE,  /**< retire what nobody has */
    MEND_READ     /**< read the compute */
} mend_e;

typedef struct finding_t {
    const char *key;     /**< the same in both looks, if it is the same thing */
    const char *promise; /**< "I1" */
    const char *uuid, *text, *session, *token;
    persona_site_t *site;
    mend_e mend;
} finding_t;

typedef struct look_t {
    persona_manager_t *m;
    apr_array_header_t *findings; /**< of finding_t */
    apr_array_header_t *unknown;  /**< of const char * */
    apr_hash_t *by_session;       /**< S -> uuid of an assigned instance, over all computes */
    apr_time_t began;
    int instances, sessions;
    apr_pool_t *p;
} look_t;

/** What one compute says. */
typedef struct reading_t {
    persona_site_t *site;
    apr_array_header_t *instances;
    apr_hash_t *tokens; /**< uuid -> token, where both readings of the fences agree; "": they do not */
} reading_t;

static void found(look_t *look, persona_site_t *site, const char *promise, const char *uuid, mend_e mend,
                  const char *session, const char *token, const char *text)
{
    finding_t *f = apr_array_push(look->findings);

    f->promise = promise;
    f->uuid = apr_pstrdup(look->p, uuid);
    f->text = apr_pstrdup(look->p, text);
    f->session = session ? apr_pstrdup(look->p, session) : NULL;
    f->token = token ? apr_pstrdup(look->p, token) : NULL;
    f->site = site;
    f->mend = mend;
    f->key = apr_pstrcat(look->p, promise, " ", uuid, " ", text, NULL);
}

/* ---- one look at one compute ---- */

static apr_hash_t *stable_tokens(const apr_array_header_t *before, const apr_array_header_t *after, apr_pool_t *p)
{
    apr_hash_t *tokens = apr_hash_make(p);
    int i;

    for (i = 0; i < before->nelts; i++) {
        const persona_fence_t *f = APR_ARRAY_IDX(before, i, const persona_fence_t *);

        apr_hash_set(tokens, f->name, APR_HASH_KEY_STRING, "");
    }
    for (i = 0; i < after->nelts; i++) {
        const persona_fence_t *f = APR_ARRAY_IDX(after, i, const persona_fence_t *);
        int same = 0, j;

        for (j = 0; j < before->nelts && !same; j++) {
            const persona_fence_t *b = APR_ARRAY_IDX(before, j, const persona_fence_t *);

            same = !strcmp(b->name, f->name) && !strcmp(b->token, f->token);
        }
        apr_hash_set(tokens, f->name, APR_HASH_KEY_STRING, same ? f->token : "");
    }
    return tokens;
}

static int read_site(look_t *look, reading_t *r)
{
    persona_compute_t *c = r->site->compute;
    apr_array_header_t *before, *after;
    persona_result_t res = {0};

    if (c->provider->fences(c, &before, &res, look->p) != APR_SUCCESS ||
        c->provider->list(c, &r->instances, &res, look->p) != APR_SUCCESS ||
        c->provider->fences(c, &after, &res, look->p) != APR_SUCCESS) {
        APR_ARRAY_PUSH(look->unknown, const char *) =
            apr_psprintf(look->p, "compute %s: %s", r->site->conf->name, res.detail);
        return 0;
    }
    r->tokens = stable_tokens(before, after, look->p);
    return 1;
}

static void look_at_assigned(look_t *look, const reading_t *r, const persona_instance_t *i, const char *token)
{
    const char *other = apr_hash_get(look->by_session, i->session, APR_HASH_KEY_STRING);

    look->sessions++;
    if (!token) {
        found(look, r->site, "I1", i->uuid, MEND_FENCE, i->session, NULL, "it is assigned and has no fence");
    }
    else if (*token && strcmp(token, persona_fence_token(i->session, i->uuid, look->p))) {
        found(look, r->site, "I1", i->uuid, MEND_NOTHING, i->session, token,
              "it says that one session has it, and its fence that another has");
    }
    if (other) {
        found(look, r->site, "I5", i->uuid, MEND_NOTHING, i->session, NULL,
              apr_pstrcat(look->p, "its session has instance ", other, " too", NULL));
    }
    apr_hash_set(look->by_session, i->session, APR_HASH_KEY_STRING, i->uuid);
    if (!i->running) {
        found(look, r->site, "I3", i->uuid, MEND_READ, i->session, NULL, "a session has it and it does not run");
    }
}

/** With the lock. */
static void look_at_instance(look_t *look, const reading_t *r, const persona_instance_t *i)
{
    const persona_entry_t *e = persona_entry_find(look->m, i->uuid);
    const char *token = apr_hash_get(r->tokens, i->uuid, APR_HASH_KEY_STRING);

    look->instances++;
    if (!e) {
        if (!persona_entry_dropped(look->m, i->uuid, look->began)) {
            found(look, r->site, "I2", i->uuid, MEND_READ, NULL, NULL, "the manager does not know it");
        }
        return;
    }
    if (e->busy || e->retire != PERSONA_RETIRE_NONE) {
        return; /* on its way */
    }
    if (i->state == PERSONA_INSTANCE_ASSIGNED && i->session && *i->session) {
        look_at_assigned(look, r, i, token);
    }
    else if (token && *token && i->state != PERSONA_INSTANCE_RETIRING && !*e->session) {
        found(look, r->site, "I2", i->uuid, MEND_RETIRE, NULL, token, "it is fenced and no session has it");
    }
}

/** With the lock: fences of nothing, and what the manager believes to be there and is not. */
static void look_at_rest(look_t *look, const reading_t *r)
{
    apr_hash_t *listed = apr_hash_make(look->p);
    apr_hash_index_t *hi;
    int i;

    for (i = 0; i < r->instances->nelts; i++) {
        const persona_instance_t *in = APR_ARRAY_IDX(r->instances, i, const persona_instance_t *);

        apr_hash_set(listed, in->uuid, APR_HASH_KEY_STRING, in);
    }
    for (hi = apr_hash_first(look->p, r->tokens); hi; hi = apr_hash_next(hi)) {
        const char *name = apr_hash_this_key(hi), *token = apr_hash_this_val(hi);

        if (persona_uuid_valid(name) && *token && !apr_hash_get(listed, name, APR_HASH_KEY_STRING) &&
            !persona_entry_find(look->m, name)) {
            found(look, r->site, "I2", name, MEND_SWEEP, NULL, token, "a fence of an instance that is not there");
        }
    }
    for (hi = apr_hash_first(look->p, look->m->entries); hi; hi = apr_hash_next(hi)) {
        const persona_entry_t *e = apr_hash_this_val(hi);

        if (!strcmp(e->compute, r->site->conf->name) && !e->busy && e->retire == PERSONA_RETIRE_NONE &&
            e->changed < look->began && !apr_hash_get(listed, e->uuid, APR_HASH_KEY_STRING)) {
            found(look, r->site, "I2", e->uuid, MEND_READ, NULL, NULL,
                  "the manager knows it and its provider does not have it");
        }
    }
}

/** Without the lock: where the index leads the user of each assigned instance. */
static void look_at_records(look_t *look, const reading_t *r)
{
    apr_status_t silent = APR_SUCCESS;
    int i;

    for (i = 0; i < r->instances->nelts; i++) {
        const persona_instance_t *in = APR_ARRAY_IDX(r->instances, i, const persona_instance_t *);
        persona_record_t *record = NULL;
        apr_status_t status;

        if (in->state != PERSONA_INSTANCE_ASSIGNED || !in->session || !*in->session ||
            look->began - in->assigned_at < RECORD_DUE || silent != APR_SUCCESS) {
            continue;
        }
        status = persona_manager_index(look->m, persona_session_get(look->m->index, in->session, &record, look->p));
        if (status == APR_NOTFOUND || status == APR_EACCES) {
            found(look, r->site, "I3", in->uuid, MEND_RECORD, in->session, NULL, "no record leads its user to it");
        }
        else if (status == APR_SUCCESS && strcmp(record->instance, in->uuid)) {
            found(look, r->site, "I5", in->uuid, MEND_RECORD, in->session, NULL,
                  "the record of its session leads to another instance");
        }
        else if (status != APR_SUCCESS) {
            silent = status;
        }
    }
    if (silent != APR_SUCCESS) {
        APR_ARRAY_PUSH(look->unknown, const char *) = "memcached does not answer: records were not looked at";
    }
}

static look_t *look_around(persona_manager_t *m, apr_pool_t *p)
{
    look_t *look = apr_pcalloc(p, sizeof(*look));
    int s, i;

    look->m = m;
    look->p = p;
    look->began = persona_manager_now(m);
    look->findings = apr_array_make(p, 8, sizeof(finding_t));
    look->unknown = apr_array_make(p, 2, sizeof(const char *));
    look->by_session = apr_hash_make(p);
    for (s = 0; s < m->site_count; s++) {
        reading_t r = {&m->sites[s], NULL, NULL};

        if (!read_site(look, &r)) {
            continue;
        }
        persona_manager_lock(m);
        for (i = 0; i < r.instances->nelts; i++) {
            look_at_instance(look, &r, APR_ARRAY_IDX(r.instances, i, const persona_instance_t *));
        }
        look_at_rest(look, &r);
        persona_manager_unlock(m);
        look_at_records(look, &r);
    }
    return look;
}

/* ---- repair ---- */

static int mend_at_provider(const finding_t *f, apr_pool_t *p)
{
    persona_compute_t *c = f->site->compute;
    persona_instance_t *i = NULL;
    persona_result_t res = {0};

    if (f->mend == MEND_FENCE) {
        return c->provider->fence(c, f->uuid, f->session, &res, p) == APR_SUCCESS;
    }
    return c->provider->inspect(c, f->uuid, &i, &res, p) == APR_ENOENT &&
           c->provider->destroy(c, f->uuid, &res, p) == APR_SUCCESS &&
           c->provider->unfence(c, f->uuid, f->token, &res, p) == APR_SUCCESS;
}

static int mend(persona_manager_t *m, const finding_t *f, apr_pool_t *p)
{
    persona_entry_t *e;
    int done = 0;

    if (f->mend == MEND_FENCE || f->mend == MEND_SWEEP) {
        done = mend_at_provider(f, p);
    }
    persona_manager_lock(m);
    e = persona_entry_find(m, f->uuid);
    if (f->mend == MEND_READ) {
        done = 1;
    }
    else if (f->mend == MEND_RECORD && e && !strcmp(e->session, f->session)) {
        e->dirty = 1;
        done = 1;
    }
    else if (f->mend == MEND_RETIRE && e && !persona_entry_streams(e, persona_manager_now(m))) {
        e->orphan_since = e->orphan_since ? e->orphan_since : persona_manager_now(m);
        e->hands_off = 0;
        persona_entry_retire(m, e, "an audit found it fenced, and no session has it");
        done = e->retire != PERSONA_RETIRE_NONE;
    }
    persona_site_wake(f->site);
    persona_manager_unlock(m);
    persona_manager_wake(m);
    return done;
}

/* ---- both looks ---- */

static const finding_t *again(const look_t *look, const finding_t *f)
{
    int i;

    for (i = 0; i < look->findings->nelts; i++) {
        const finding_t *other = &APR_ARRAY_IDX(look->findings, i, finding_t);

        if (!strcmp(other->key, f->key)) {
            return other;
        }
    }
    return NULL;
}

json_t *persona_audit(persona_manager_t *m, int repair, apr_interval_time_t pause, apr_pool_t *p)
{
    look_t *first = look_around(m, p), *second = first;
    json_t *findings = json_array(), *unknown = json_array();
    int i;

    if (first->findings->nelts) {
        apr_sleep(pause);
        second = look_around(m, p);
    }
    for (i = 0; i < second->findings->nelts; i++) {
        const finding_t *f = &APR_ARRAY_IDX(second->findings, i, finding_t);

        if (again(first, f)) {
            int repaired = repair && mend(m, f, p);

            persona_log(PERSONA_LOG_WARNING, 0, "audit: %s, instance %s: %s%s", f->promise, f->uuid, f->text,
                        repaired ? "; repaired" : "");
            json_array_append_new(findings, json_pack("{s:s, s:s, s:s, s:b}", "promise", f->promise, "instance",
                                                      f->uuid, "text", f->text, "repaired", repaired));
        }
    }
    for (i = 0; i < second->unknown->nelts; i++) {
        json_array_append_new(unknown, json_string(APR_ARRAY_IDX(second->unknown, i, const char *)));
    }
    return json_pack("{s:b, s:i, s:i, s:o, s:o}", "holds", !json_array_size(findings) && !json_array_size(unknown),
                     "instances", second->instances, "sessions", second->sessions, "unknown", unknown, "findings",
                     findings);
}

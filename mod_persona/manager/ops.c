/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file ops.c
 * @brief The operations of the worker socket.
 *
 * A request comes from a web worker, which may be under somebody else's control: every member is checked for type
 * and length before it is used, and nothing it says makes an instance anybody's but the fence.
 */
#include <string.h>

#include <apr_strings.h>

#include "arbiter.h"
#include "assign.h"
#include "events.h"
#include "forecaster.h"
#include "monotonic.h"
#include "ops.h"
#include "persona/digest.h"
#include "persona/fault.h"
#include "pool/session.h"
#include "retire.h"
#include "sessions.h"
#include "status.h"

/** A manager that has not read its computes yet knows of no session: so long a question waits for that. */
#define START_PATIENCE apr_time_from_sec(3)
#define CLAIM_TRIES    3
#define FORGET_TRIES   3
#define FORGET_PAUSE   apr_time_from_msec(200)
/** Who got a desktop within that did not wait for it. */
#define INSTANT apr_time_from_msec(100)
#define ROLES_MAX      256

typedef json_t *op_fn(persona_manager_t *m, const persona_ipc_peer_t *peer, const json_t *request,
                      apr_pool_t *p);

json_t *persona_ops_status(const char *status, const char *reason)
{
    return json_pack("{s:s, s:s*}", "status", status, "reason", reason);
}

const char *persona_ops_text(const json_t *request, const char *name, size_t max)
{
    const json_t *value = json_object_get(request, name);
    const char *text = json_string_value(value);

    return text && json_string_length(value) <= max && strlen(text) == json_string_length(value)
               ? text
               : NULL;
}

static json_t *bad(const char *what)
{
    return persona_ops_status("bad", what);
}

static const char *session_of(const json_t *request)
{
    const char *session = persona_ops_text(request, "session", PERSONA_SESSION_LEN - 1);

    return session && strlen(session) == PERSONA_SESSION_LEN - 1 &&
                   strspn(session, "0123456789abcdef") == PERSONA_SESSION_LEN - 1
               ? session
               : NULL;
}

static const char *instance_of(const json_t *request)
{
    const char *uuid = persona_ops_text(request, "instance", PERSONA_UUID_LEN - 1);

    return uuid && persona_uuid_valid(uuid) ? uuid : NULL;
}

static json_t *record_answer(const persona_entry_t *entry)
{
    persona_record_t record;
    json_t *answer;

    persona_entry_record(entry, &record);
    answer = json_pack("{s:s, s:o}", "status", "ok", "record", persona_record_to_json(&record));
    if (*entry->home_problem) {
        json_object_set_new(answer, "home_problem", json_string(entry->home_problem));
    }
    return answer;
}

/** Wait, if this manager has just started, until every compute was tried once. */
static void wait_for_start(persona_manager_t *m)
{
    struct timespec until = persona_monotonic_in(START_PATIENCE);
    int i, rc = 0;

    persona_manager_lock(m);
    for (i = 0; i < m->site_count; i++) {
        while (!m->sites[i].observed && !m->sites[i].down_since && rc == 0) {
            rc = pthread_cond_timedwait(&m->changed, &m->lock, &until);
        }
    }
    persona_manager_unlock(m);
}

static void note_arrival(persona_manager_t *m, const char *persona_id, const char *user,
                         const json_t *roles)
{
    persona_manager_lock(m);
    persona_forecaster_arrived(m, persona_id, user, json_string_value(json_array_get(roles, 0)));
    persona_manager_unlock(m);
}

/* ---- find ---- */

/** The compute of a session may be down: the index still has the record. `looked`: the caller saw that it has not. */
static json_t *find_in_index(persona_manager_t *m, const char *session, int looked, apr_pool_t *p)
{
    persona_record_t *record = NULL;
    const char *ended = NULL;
    json_t *answer = NULL;
    persona_site_t *site;
    char local[PERSONA_REASON_MAX] = "";
    int unknown = 0;

    persona_manager_lock(m);
    persona_copy(local, persona_ended_reason(m, session));
    persona_manager_unlock(m);
    if (looked) {
        return json_pack("{s:s, s:s*}", "status", "none", "ended", *local ? local : NULL);
    }
    if (!*local && persona_manager_index_usable(m) &&
        persona_manager_index(m, persona_session_get(m->index, session, &record, p)) ==
            APR_SUCCESS) {
        persona_manager_lock(m);
        site = persona_site_find(m, record->compute);
        unknown = site && site->down_since != 0;
        persona_manager_unlock(m);
    }
    if (unknown) {
        answer = json_pack("{s:s, s:o}", "status", "ok", "record", persona_record_to_json(record));
    }
    else {
        if (!*local && persona_manager_index_usable(m) &&
            persona_manager_index(m, persona_session_ended(m->index, session, &ended, p)) ==
                APR_SUCCESS) {
            persona_copy(local, ended);
        }
        answer = json_pack("{s:s, s:s*}", "status", "none", "ended", *local ? local : NULL);
    }
    return answer;
}

/** The session's entry, also if another manager assigned it since the compute was last read here. Neither APR_SUCCESS
 * nor APR_NOTFOUND: the index has *record, and the compute does not say whether it is true. `looked`: the caller saw
 * that the index has none. */
static apr_status_t find_session(persona_manager_t *m, const char *session, int looked, persona_entry_t *entry,
                                 persona_record_t **record, apr_pool_t *p)
{
    apr_status_t status = persona_session_find(m, session, entry, p);

    *record = NULL;
    if (status != APR_NOTFOUND || looked || !persona_manager_index_usable(m) ||
        persona_manager_index(m, persona_session_get(m->index, session, record, p)) != APR_SUCCESS) {
        *record = NULL;
        return status;
    }
    return persona_session_learn(m, *record, entry, p);
}

/** A session of which nothing was left but the fence has the user and app of whoever knows its S. */
static void name_user(persona_manager_t *m, const char *user, const char *app, persona_entry_t *entry)
{
    persona_entry_t *e;

    if (*entry->user || !user || !app) {
        return;
    }
    persona_manager_lock(m);
    e = persona_entry_of_session(m, entry->session);
    if (e && !strcmp(e->uuid, entry->uuid) && !*e->user) {
        persona_entry_bind(m, e, e->session, user, app);
        e->dirty = 1;
        *entry = *e;
        if (persona_site_find(m, e->compute)) {
            persona_site_wake(persona_site_find(m, e->compute)); /* writes the metadata */
        }
    }
    persona_manager_unlock(m);
}

/** With the lock. */
static int sessions_of_user(persona_manager_t *m, const char *user)
{
    int i, count, live = 0;
    persona_entry_t *const *held = persona_entries_of_user(m, user, &count);

    for (i = 0; i < count; i++) {
        live += held[i]->retire == PERSONA_RETIRE_NONE;
    }
    return live;
}

static json_t *op_find(persona_manager_t *m, const persona_ipc_peer_t *peer, const json_t *request,
                       apr_pool_t *p)
{
    const char *session = session_of(request);
    const char *user = persona_ops_text(request, "user", PERSONA_USER_MAX);
    const char *app = persona_ops_text(request, "app", PERSONA_NAME_MAX);
    int looked = json_is_true(json_object_get(request, "looked")), sessions = 0;
    persona_entry_t *entry = apr_pcalloc(p, sizeof(*entry)), *e = NULL;
    persona_record_t *record;
    json_t *answer = NULL;
    apr_status_t status;

    (void)peer;
    user = user && *user && app ? user : NULL;
    if (!session && !user) {
        return bad("find needs \"session\" (64 hexadecimal digits), or \"user\" and \"app\"");
    }
    wait_for_start(m);
    if (session) {
        status = find_session(m, session, looked, entry, &record, p);
        if (status == APR_SUCCESS && persona_retire_if_over(m, entry->uuid, p) <= 0) {
            name_user(m, user, app, entry);
            return record_answer(entry);
        }
        if (status != APR_SUCCESS && status != APR_NOTFOUND) {
            return record ? json_pack("{s:s, s:o}", "status", "ok", "record", persona_record_to_json(record))
                          : persona_ops_status("unknown", "the compute of this session does not answer");
        }
        answer = find_in_index(m, session, looked, p);
        if (json_object_get(answer, "record")) {
            return answer;
        }
    }
    if (user) {
        persona_manager_lock(m);
        e = persona_entry_of_user(m, user, app);
        if (e) {
            e->local = 1;
            *entry = *e;
        }
        sessions = sessions_of_user(m, user);
        persona_manager_unlock(m);
    }
    if (e && persona_retire_if_over(m, entry->uuid, p) <= 0) {
        json_decref(answer);
        return record_answer(entry);
    }
    answer = answer ? answer : persona_ops_status("none", NULL);
    if (user) {
        json_object_set_new(answer, "sessions", json_integer(sessions));
    }
    return answer;
}

/* ---- assign, claim, demand ---- */

static const char *read_ask(const json_t *request, persona_ask_t *ask)
{
    memset(ask, 0, sizeof(*ask));
    ask->session = session_of(request);
    ask->persona_id = persona_ops_text(request, "persona", PERSONA_NAME_MAX);
    ask->user = persona_ops_text(request, "user", PERSONA_USER_MAX);
    ask->app = persona_ops_text(request, "app", PERSONA_NAME_MAX);
    ask->roles = json_object_get(request, "roles");
    ask->cold = json_is_true(json_object_get(request, "cold")) ||
                json_integer_value(json_object_get(request, "cold")) != 0;
    ask->arrived = json_integer_value(json_object_get(request, "arrived"));
    ask->ticket = json_is_integer(json_object_get(request, "ticket"))
                      ? json_integer_value(json_object_get(request, "ticket"))
                      : -1;
    if (!ask->session || !ask->persona_id || !ask->user || !ask->app) {
        return "\"session\", \"persona\", \"user\" and \"app\" are needed";
    }
    if (ask->roles && (!json_is_array(ask->roles) || json_array_size(ask->roles) > ROLES_MAX)) {
        return "\"roles\" is an array of at most 256 strings";
    }
    return NULL;
}

static json_t *assign_answer(persona_assign_e outcome, const persona_entry_t *entry,
                             const char *reason)
{
    json_t *answer;

    switch (outcome) {
    case PERSONA_ASSIGN_YES:
        return record_answer(entry);
    case PERSONA_ASSIGN_NO:
        return persona_ops_status("no", reason);
    case PERSONA_ASSIGN_SKIP:
        answer = persona_ops_status("no", reason);
        json_object_set_new(answer, "asked", json_false());
        return answer;
    default:
        return persona_ops_status("unknown", reason);
    }
}

static json_t *op_assign(persona_manager_t *m, const persona_ipc_peer_t *peer,
                         const json_t *request, apr_pool_t *p)
{
    apr_time_t deadline = persona_manager_now(m) + PERSONA_ASSIGN_TIMEOUT;
    persona_entry_t *entry = apr_pcalloc(p, sizeof(*entry));
    char reason[PERSONA_REASON_MAX];
    persona_assign_e outcome;
    persona_ask_t ask;
    const char *flaw = read_ask(request, &ask);

    (void)peer;
    ask.instance = instance_of(request);
    ask.compute = persona_ops_text(request, "compute", PERSONA_NAME_MAX);
    if (flaw || !ask.instance || !ask.compute) {
        return bad(flaw ? flaw : "\"instance\" (a uuid) and \"compute\" are needed");
    }
    outcome = persona_assign(m, &ask, deadline, entry, reason, p);
    if (outcome == PERSONA_ASSIGN_YES) {
        note_arrival(m, ask.persona_id, ask.user, ask.roles);
    }
    return assign_answer(outcome, entry, reason);
}

/** With the lock: the next instance for this session, unless earlier arrivals will need all of them. */
static int pick(persona_manager_t *m, const persona_t *persona, const char *session,
                apr_time_t arrived, char uuid[PERSONA_UUID_LEN], char compute[PERSONA_NAME_MAX + 1])
{
    persona_stock_t *stock = persona_stock_of(m, persona->id);
    apr_time_t now = persona_manager_now(m);
    persona_entry_t *chosen = NULL;
    apr_hash_index_t *hi;
    int i, ready = 0, before = 0;

    for (i = 0; i < stock->demand_count; i++) {
        const persona_demand_t *d = &stock->demands[i];

        before += strcmp(d->session, session) && d->arrived < arrived &&
                  now - d->seen < PERSONA_DEMAND_FRESH;
    }
    for (hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        persona_entry_t *e = apr_hash_this_val(hi);
        persona_site_t *site = persona_site_find(m, e->compute);

        if (strcmp(e->persona_id, persona->id) || e->state != PERSONA_INSTANCE_READY || *e->token ||
            *e->session || e->retire != PERSONA_RETIRE_NONE ||
            strcmp(e->fingerprint, persona->fingerprint) || !site || !persona_site_usable(site) ||
            (*e->unsure && strcmp(e->unsure, session))) {
            continue;
        }
        ready++;
        if (!chosen || !strcmp(e->unsure, session) ||
            (!*chosen->unsure && e->ready_at < chosen->ready_at)) {
            chosen = e;
        }
    }
    if (!chosen || (before >= ready && strcmp(chosen->unsure, session))) {
        return 0;
    }
    apr_cpystrn(uuid, chosen->uuid, PERSONA_UUID_LEN);
    apr_cpystrn(compute, chosen->compute, PERSONA_NAME_MAX + 1);
    return 1;
}

/** `place` in the line; < 0: that among those who told this manager; 0: not known. */
static json_t *progress_answer(persona_manager_t *m, const persona_t *persona, const char *session, json_int_t place,
                               const char *status)
{
    double boots[PERSONA_BOOTS_KEPT];
    persona_marks_t marks;
    persona_wait_t wait;
    json_t *progress;
    int known;

    persona_manager_lock(m);
    if (place < 0) {
        place = persona_stock_place(persona_stock_of(m, persona->id), session, persona_manager_now(m));
    }
    progress = persona_status_progress(m, persona);
    known = persona_status_wait(m, persona, place < APR_INT32_MAX ? (int)place : APR_INT32_MAX, boots, &wait);
    persona_manager_unlock(m);
    if (place > 0) {
        json_object_set_new(progress, "place", json_integer(place));
    }
    json_object_set_new(progress, "eta", known && persona_wait_marks(&wait, &marks)
                                             ? json_pack("{s:f, s:f, s:f}", "p10", marks.p10, "p50", marks.p50, "p90",
                                                         marks.p90)
                                             : json_null());
    return json_pack("{s:s, s:o}", "status", status, "progress", progress);
}

static json_t *claim(persona_manager_t *m, const persona_t *persona, persona_ask_t *ask,
                     apr_pool_t *p)
{
    apr_time_t deadline = persona_manager_now(m) + PERSONA_ASSIGN_TIMEOUT;
    persona_entry_t *entry = apr_pcalloc(p, sizeof(*entry));
    char uuid[PERSONA_UUID_LEN], compute[PERSONA_NAME_MAX + 1], reason[PERSONA_REASON_MAX];
    apr_time_t now = persona_manager_now(m);
    apr_status_t status;
    int i;

    if (ask->arrived <= 0 || ask->arrived > now) {
        ask->arrived = now;
    }
    status = persona_session_find(m, ask->session, entry, p);
    if (status == APR_SUCCESS) {
        return record_answer(entry);
    }
    if (status != APR_NOTFOUND) {
        return progress_answer(m, persona, ask->session, -1, "wait"); /* it may have one, and must not get another */
    }
    persona_manager_lock(m);
    /* Whoever polls came when they first asked, and who has waited is not served warm. */
    ask->arrived = persona_stock_demand(persona_stock_of(m, persona->id), ask->session, ask->arrived, now);
    ask->cold |= now - ask->arrived > INSTANT;
    persona_manager_unlock(m);
    ask->instance = uuid;
    ask->compute = compute;
    for (i = 0; i < CLAIM_TRIES && persona_manager_now(m) < deadline; i++) {
        persona_assign_e outcome;
        int found;

        persona_manager_lock(m);
        found = pick(m, persona, ask->session, ask->arrived, uuid, compute);
        persona_manager_unlock(m);
        if (!found) {
            break;
        }
        outcome = persona_assign(m, ask, deadline, entry, reason, p);
        if (outcome == PERSONA_ASSIGN_YES) {
            note_arrival(m, persona->id, ask->user, ask->roles);
            return record_answer(entry);
        }
        if (outcome == PERSONA_ASSIGN_UNKNOWN) {
            break; /* the next claim of this session asks for the same one */
        }
    }
    persona_manager_wake(m);
    return progress_answer(m, persona, ask->session, -1, "wait");
}

static json_t *op_claim(persona_manager_t *m, const persona_ipc_peer_t *peer, const json_t *request,
                        apr_pool_t *p)
{
    persona_ask_t ask;
    const char *flaw = read_ask(request, &ask);
    persona_catalog_t *catalog;
    const persona_t *persona;
    json_t *answer;

    (void)peer;
    if (flaw) {
        return bad(flaw);
    }
    wait_for_start(m);
    catalog = persona_manager_catalog(m);
    persona = persona_catalog_find(catalog, ask.persona_id);
    answer =
        persona ? claim(m, persona, &ask, p) : persona_ops_status("no", "there is no such persona");
    persona_catalog_release(catalog);
    return answer;
}

static json_t *op_demand(persona_manager_t *m, const persona_ipc_peer_t *peer,
                         const json_t *request, apr_pool_t *p)
{
    const char *session = session_of(request);
    const char *persona_id = persona_ops_text(request, "persona", PERSONA_NAME_MAX);
    const json_t *place = json_object_get(request, "place");
    persona_catalog_t *catalog;
    const persona_t *persona;
    json_t *answer;

    (void)peer;
    (void)p;
    if (!session || !persona_id) {
        return bad("demand needs \"persona\" and \"session\"");
    }
    catalog = persona_manager_catalog(m);
    persona = persona_catalog_find(catalog, persona_id);
    if (persona) {
        persona_manager_lock(m);
        if (!persona_entry_of_session(m, session)) {
            persona_stock_demand(persona_stock_of(m, persona_id), session, 0,
                                 persona_manager_now(m));
        }
        persona_manager_unlock(m);
        persona_manager_wake(m);
        answer = progress_answer(m, persona, session, json_is_integer(place) ? json_integer_value(place) : -1, "ok");
    }
    else {
        answer = persona_ops_status("no", "there is no such persona");
    }
    persona_catalog_release(catalog);
    return answer;
}

/* ---- a session's life ---- */

static json_t *op_attach(persona_manager_t *m, const persona_ipc_peer_t *peer,
                         const json_t *request, apr_pool_t *p)
{
    const char *session = session_of(request), *instance = instance_of(request);
    json_int_t streams = json_integer_value(json_object_get(request, "streams"));
    persona_entry_t *entry = apr_pcalloc(p, sizeof(*entry)), *e;
    persona_record_t *record;
    apr_status_t status;
    int ok = 0;

    if (!session || !instance || streams < 0 || streams > 100000) {
        return bad("attach needs \"session\", \"instance\" and \"streams\"");
    }
    wait_for_start(m);
    status = find_session(m, session, 0, entry, &record, p);
    if (status != APR_SUCCESS && status != APR_NOTFOUND) {
        return persona_ops_status("unknown", "the compute of this session does not answer");
    }
    if (status == APR_SUCCESS && !strcmp(entry->uuid, instance)) {
        persona_manager_lock(m);
        e = persona_entry_of_session(m, session);
        if (e && !strcmp(e->uuid, instance)) {
            persona_sessions_beat(m, e, peer->pid, (int)streams,
                                  json_integer_value(json_object_get(request, "last_input")));
            ok = 1;
        }
        persona_manager_unlock(m);
    }
    return ok ? persona_ops_status("ok", NULL) : find_in_index(m, session, 0, p);
}

static json_t *op_end(persona_manager_t *m, const persona_ipc_peer_t *peer, const json_t *request,
                      apr_pool_t *p)
{
    const char *session = session_of(request),
               *reason = persona_ops_text(request, "reason", PERSONA_REASON_MAX - 1);
    const char *user = persona_ops_text(request, "user", PERSONA_USER_MAX);
    persona_entry_t *entry = apr_pcalloc(p, sizeof(*entry)), *e;
    persona_record_t *record;
    apr_status_t status;
    int done = 0, tries;

    if (!session || (!peer->control && !user)) {
        return bad("end needs \"session\" and \"user\"");
    }
    wait_for_start(m);
    status = find_session(m, session, 0, entry, &record, p);
    if (status != APR_SUCCESS && status != APR_NOTFOUND) {
        return persona_ops_status("unknown", "the compute of this session does not answer");
    }
    if (status == APR_SUCCESS) {
        persona_manager_lock(m);
        e = persona_entry_of_session(m, session);
        if (e && (peer->control || !*e->user || !strcmp(e->user, user))) {
            e->hands_off = 0; /* that was for those who retire what may be somebody's */
            persona_entry_retire(m, e,
                                 reason          ? reason
                                 : peer->control ? "ended by an administrator"
                                                 : "ended by its user");
            *entry = *e;
            done = 1;
        }
        persona_manager_unlock(m);
    }
    if (done) {
        PERSONA_FAULT(release_begun);
        /* Before the answer: the user's next click must not find the session that is going. */
        for (tries = 0; tries < FORGET_TRIES && persona_retire_forget(m, entry, p) != APR_SUCCESS; tries++) {
            apr_sleep(FORGET_PAUSE); /* later the retirement tries on, but other gateways do not know until then */
        }
        if (peer->control) {
            persona_events_admin(m, peer, apr_psprintf(p, "end session %.12s", session));
        }
    }
    return persona_ops_status(done ? "ok" : "none", NULL);
}

static json_t *op_condemn(persona_manager_t *m, const persona_ipc_peer_t *peer,
                          const json_t *request, apr_pool_t *p)
{
    const char *instance = instance_of(request);
    persona_entry_t *e;

    (void)peer;
    (void)p;
    if (!instance) {
        return bad("condemn needs \"instance\"");
    }
    persona_manager_lock(m);
    e = persona_entry_find(m, instance);
    if (e && e->retire == PERSONA_RETIRE_NONE) {
        e->probed = 0; /* asked again at once; a dead machine shows in the next reading */
        e->condemned = 1;
        if (persona_site_find(m, e->compute)) {
            persona_site_wake(persona_site_find(m, e->compute));
        }
    }
    persona_manager_unlock(m);
    persona_manager_wake(m);
    return persona_ops_status("ok", NULL);
}

/** A claim lost by add(). The manager's own view and the index must agree that the session has another. */
static json_t *op_duplicate(persona_manager_t *m, const persona_ipc_peer_t *peer,
                            const json_t *request, apr_pool_t *p)
{
    const char *session = session_of(request), *instance = instance_of(request);
    persona_record_t *record = NULL;
    persona_entry_t *e, *other;
    const char *kept;

    (void)peer;
    if (!session || !instance) {
        return bad("duplicate needs \"session\" and \"instance\"");
    }
    if (!persona_manager_index_usable(m) ||
        persona_manager_index(m, persona_session_get(m->index, session, &record, p)) !=
            APR_SUCCESS ||
        !strcmp(record->instance, instance)) {
        return persona_ops_status("ok", NULL);
    }
    kept = persona_arbiter_keep(m, session, record->instance, instance, p);
    if (!kept || strcmp(kept, record->instance)) {
        return persona_ops_status("ok", NULL); /* decided otherwise, or not yet: the next readings see both */
    }
    persona_manager_lock(m);
    e = persona_entry_find(m, instance);
    other = persona_entry_find(m, record->instance);
    if (e && !strcmp(e->session, session)) {
        persona_entry_retire(m, e, "its session has another instance");
        if (other && !strcmp(other->session, session)) {
            persona_entry_bind(m, other, session, NULL, NULL);
        }
    }
    persona_manager_unlock(m);
    return persona_ops_status("ok", NULL);
}

static json_t *op_home(persona_manager_t *m, const persona_ipc_peer_t *peer, const json_t *request,
                       apr_pool_t *p)
{
    const char *session = session_of(request),
               *user = persona_ops_text(request, "user", PERSONA_USER_MAX);
    const char *credential = persona_ops_text(request, "credential", PERSONA_HEX256_LEN - 1);
    persona_entry_t *e;
    int theirs, i;

    (void)peer;
    if (!session || !user || !*user || !credential ||
        strlen(credential) != PERSONA_HEX256_LEN - 1) {
        return persona_ops_status("no", NULL);
    }
    wait_for_start(m);
    persona_manager_lock(m);
    e = persona_entry_of_session(m, session);
    /* Also while the instance writes its files back before it ends. */
    theirs = e && !strcmp(e->user, user) && e->home != 3 && e->retire <= PERSONA_RETIRE_RELEASE;
    persona_manager_unlock(m);
    for (i = 0; theirs && i < 2; i++) {
        const char *password = persona_home_password(m, i, session, user, p);

        if (password && persona_hex_equal(password, credential)) {
            return persona_ops_status("ok", NULL);
        }
    }
    return persona_ops_status("no", NULL);
}

static json_t *op_wait(persona_manager_t *m, const persona_ipc_peer_t *peer, const json_t *request,
                       apr_pool_t *p)
{
    const char *session = session_of(request);
    persona_entry_t *entry = apr_pcalloc(p, sizeof(*entry)), *e;
    struct timespec until;
    int rc = 0;

    (void)peer;
    if (!session) {
        return bad("wait needs \"session\"");
    }
    until = persona_monotonic_in(apr_time_from_sec(2));
    persona_manager_lock(m);
    while ((e = persona_entry_of_session(m, session)) != NULL && e->home == 1 &&
           e->retire == PERSONA_RETIRE_NONE && rc == 0) {
        rc = pthread_cond_timedwait(&m->changed, &m->lock, &until);
    }
    if (e && e->retire == PERSONA_RETIRE_NONE) {
        *entry = *e;
    }
    else {
        e = NULL;
    }
    persona_manager_unlock(m);
    return e ? record_answer(entry) : persona_ops_status("none", NULL);
}

static json_t *op_visit(persona_manager_t *m, const persona_ipc_peer_t *peer, const json_t *request,
                        apr_pool_t *p)
{
    const char *user = persona_ops_text(request, "user", PERSONA_USER_MAX);
    const json_t *roles = json_object_get(request, "roles");

    (void)peer;
    (void)p;
    if (user && json_is_array(roles) && json_array_size(roles) <= ROLES_MAX) {
        persona_manager_lock(m);
        persona_events_visit(m, user, roles, persona_ops_text(request, "app", PERSONA_NAME_MAX));
        persona_manager_unlock(m);
    }
    return persona_ops_status("ok", NULL);
}

static void list_session(json_t *list, const persona_entry_t *e)
{
    persona_record_t record;

    if (e->retire == PERSONA_RETIRE_NONE) {
        persona_entry_record(e, &record);
        json_array_append_new(list, persona_record_to_json(&record));
    }
}

static json_t *op_sessions(persona_manager_t *m, const persona_ipc_peer_t *peer,
                           const json_t *request, apr_pool_t *p)
{
    const char *user = persona_ops_text(request, "user", PERSONA_USER_MAX);
    persona_entry_t *const *held;
    json_t *list = json_array();
    apr_hash_index_t *hi;
    int i, count;

    (void)p;
    if (!user && !peer->control) {
        json_decref(list);
        return bad("sessions needs \"user\"");
    }
    wait_for_start(m);
    persona_manager_lock(m);
    if (user) {
        held = persona_entries_of_user(m, user, &count);
        for (i = 0; i < count; i++) {
            list_session(list, held[i]);
        }
    }
    else {
        for (hi = apr_hash_first(NULL, m->sessions); hi; hi = apr_hash_next(hi)) {
            list_session(list, apr_hash_this_val(hi));
        }
    }
    persona_manager_unlock(m);
    return json_pack("{s:s, s:o}", "status", "ok", "sessions", list);
}

static json_t *op_catalog(persona_manager_t *m, const persona_ipc_peer_t *peer,
                          const json_t *request, apr_pool_t *p)
{
    persona_catalog_t *catalog = persona_manager_catalog(m);
    json_t *errors = json_array(), *stale = json_array(), *answer;
    int i;

    (void)peer;
    (void)request;
    for (i = 0; i < catalog->errors->nelts; i++) {
        json_array_append_new(errors, json_string(persona_error_text(
                                          &APR_ARRAY_IDX(catalog->errors, i, persona_error_t), p)));
    }
    for (i = 0; i < catalog->stale->nelts; i++) {
        json_array_append_new(stale, json_string(APR_ARRAY_IDX(catalog->stale, i, const char *)));
    }
    answer = json_pack("{s:s, s:o, s:o, s:o}", "status", "ok", "catalog_json",
                       persona_catalog_to_json(catalog), "errors", errors, "stale", stale);
    persona_catalog_release(catalog);
    return answer;
}

static json_t *op_status(persona_manager_t *m, const persona_ipc_peer_t *peer,
                         const json_t *request, apr_pool_t *p)
{
    json_t *document =
        persona_status_document(m, persona_ops_text(request, "user", PERSONA_USER_MAX), p);

    (void)peer;
    json_object_set_new(document, "status", json_string("ok"));
    return document;
}

static const struct {
    const char *name;
    op_fn *run;
} ops[] = {
    {"find", op_find},       {"assign", op_assign},       {"claim", op_claim},
    {"demand", op_demand},   {"attach", op_attach},       {"end", op_end},
    {"condemn", op_condemn}, {"duplicate", op_duplicate}, {"home", op_home},
    {"wait", op_wait},       {"visit", op_visit},         {"sessions", op_sessions},
    {"catalog", op_catalog}, {"status", op_status},
};

static json_t *dispatch(persona_manager_t *m, const persona_ipc_peer_t *peer, const json_t *request,
                        apr_pool_t *p)
{
    const char *op = persona_ops_text(request, "op", 32);
    json_t *answer = NULL;
    size_t i;

    if (!op) {
        return bad("\"op\" is missing");
    }
    for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (!strcmp(ops[i].name, op)) {
            return ops[i].run(m, peer, request, p);
        }
    }
    if (peer->control) {
        answer = persona_ops_control(m, peer, op, request, p);
    }
    return answer ? answer : bad("this operation is not known here");
}

json_t *persona_ops_answer(void *manager, const persona_ipc_peer_t *peer, const json_t *request)
{
    persona_manager_t *m = manager;
    json_t *answer;
    apr_pool_t *p;

    if (apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return NULL;
    }
    answer = dispatch(m, peer, request, p);
    persona_manager_lock(m);
    json_object_set_new(answer, "catalog", json_string(m->catalog->version));
    persona_manager_unlock(m);
    apr_pool_destroy(p);
    return answer;
}

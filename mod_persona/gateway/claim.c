/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file claim.c
 * @brief From a person and an application to a session's record: find it, or claim an instance for it.
 *
 * No state of its own. The order is the promise: a session is looked up before anything is claimed (the child's
 * cache, the index, then the manager, whose word is the fence's), by the browser's own S and then by user and app,
 * so that a second tab and a second browser find what the first one has. A record is used only for the user and app
 * that it names, and only within its lease.
 */
#include <apr_strings.h>

#include "gateway.h"
#include "persona/fault.h"
#include "persona/match.h"

#define CALL_MAX apr_time_from_sec(2)
#define WAIT_MAX apr_time_from_sec(2)
#define INSTANT apr_time_from_msec(100)

static apr_time_t call_deadline(const persona_visit_t *visit, apr_interval_time_t most)
{
    apr_time_t until = apr_time_now() + most;

    return until < visit->deadline ? until : visit->deadline;
}

static const char *text_of(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static int status_is(const json_t *answer, const char *word)
{
    const char *status = text_of(answer, "status");

    return status && !strcmp(status, word);
}

static const char *user_key(const persona_visit_t *visit)
{
    return apr_pstrcat(visit->r->pool, visit->user, "\n", visit->app, NULL);
}

/** Take the record as this visit's, if it is. */
static int record_take(persona_visit_t *visit, const persona_record_t *record)
{
    if (!record) {
        return 0;
    }
    if (strcmp(record->app, visit->app) || strcmp(record->user, visit->user)) {
        visit->foreign |= !strcmp(record->session, visit->session);
        return 0;
    }
    if (record->expires <= apr_time_now()) {
        return 0;
    }
    visit->record = record;
    apr_cpystrn(visit->session, record->session, sizeof(visit->session));
    return 1;
}

static void record_remember(persona_visit_t *visit)
{
    persona_child_remember(visit->record->session, visit->record);
    if (*visit->user) {
        persona_child_remember(user_key(visit), visit->record);
    }
}

static int find_in_child(persona_visit_t *visit)
{
    apr_pool_t *p = visit->r->pool;

    return (*visit->session && record_take(visit, persona_child_recall(visit->session, p))) ||
           (*visit->user && record_take(visit, persona_child_recall(user_key(visit), p)));
}

/** A record may outlive its session in the index, by a late or a replayed write; the note of the end stays. */
static int record_over(persona_index_t *index, const persona_record_t *record, apr_pool_t *p)
{
    const char *reason;

    return persona_session_instance_over(index, record->instance, &reason, p) == APR_SUCCESS;
}

/** *looked: the index has nothing of the session, but perhaps a note of why it *ended. */
static int find_in_index(persona_visit_t *visit, int *looked, const char **ended)
{
    persona_index_t *index = persona_child_index();
    apr_pool_t *p = visit->r->pool;
    persona_record_t *record;
    const char *session;

    if (!index) {
        return 0;
    }
    if (*visit->session && persona_session_look(index, visit->session, &record, ended, p) == APR_SUCCESS) {
        if (record && !record_over(index, record, p) && record_take(visit, record)) {
            return 1;
        }
        *looked = record == NULL;
    }
    return *visit->user && persona_session_of_user(index, visit->user, visit->app, &session, p) == APR_SUCCESS &&
           persona_session_get(index, session, &record, p) == APR_SUCCESS && !record_over(index, record, p) &&
           record_take(visit, record);
}

/** One `find`: READY, ENDED, NONE or DOWN. Takes the request's reference. */
static persona_visit_e find_ask(persona_visit_t *visit, json_t *request)
{
    persona_visit_e outcome = PERSONA_VISIT_NONE;
    persona_record_t *record = NULL;
    json_t *answer = NULL, *json;

    if (PERSONA_FAULT_CALL(claim_find, persona_child_call(request, &answer, call_deadline(visit, CALL_MAX))) !=
        APR_SUCCESS) {
        json_decref(answer);
        json_decref(request);
        return PERSONA_VISIT_DOWN;
    }
    json = json_object_get(answer, "sessions");
    if (json_is_integer(json)) {
        visit->sessions = (int)json_integer_value(json);
    }
    json = json_object_get(answer, "record");
    if (json && persona_record_from_json(&record, json, visit->r->pool) == APR_SUCCESS &&
        record_take(visit, record)) {
        outcome = PERSONA_VISIT_READY;
    }
    else if (status_is(answer, "unknown")) {
        outcome = PERSONA_VISIT_DOWN;
    }
    else if (text_of(answer, "ended")) {
        visit->reason = apr_pstrdup(visit->r->pool, text_of(answer, "ended"));
        outcome = PERSONA_VISIT_ENDED;
    }
    json_decref(answer);
    json_decref(request);
    return outcome;
}

static persona_visit_e find_at_manager(persona_visit_t *visit, int looked)
{
    const char *user = *visit->user ? visit->user : NULL;
    persona_visit_e outcome = PERSONA_VISIT_NONE;

    if (*visit->session) {
        outcome = find_ask(visit, json_pack("{s:s, s:s, s:s*, s:s, s:b}", "op", "find", "session", visit->session,
                                            "user", user, "app", visit->app, "looked", looked));
    }
    /* A session that is another user's hides the one that this user has. */
    if (user && outcome == PERSONA_VISIT_NONE && (!*visit->session || visit->foreign)) {
        outcome = find_ask(visit, json_pack("{s:s, s:s, s:s}", "op", "find", "user", user, "app", visit->app));
    }
    return outcome;
}

persona_visit_e persona_visit_find(persona_visit_t *visit)
{
    const char *ended = NULL;
    persona_visit_e outcome;
    int looked = 0;

    /* Another child may have ended the session since: what this one remembers is for what comes in numbers. */
    if (!visit->fresh && find_in_child(visit)) {
        return PERSONA_VISIT_READY;
    }
    if (find_in_index(visit, &looked, &ended)) {
        record_remember(visit);
        return PERSONA_VISIT_READY;
    }
    outcome = find_at_manager(visit, looked);
    if (outcome == PERSONA_VISIT_READY) {
        record_remember(visit);
    }
    if (outcome == PERSONA_VISIT_NONE && ended) {
        visit->reason = ended;
        outcome = PERSONA_VISIT_ENDED;
    }
    /* such a client has the same S for ever: it may simply begin again */
    return outcome == PERSONA_VISIT_ENDED && visit->api ? PERSONA_VISIT_NONE : outcome;
}

/* ---- claiming ---- */

apr_array_header_t *persona_visit_roles(request_rec *r, const persona_dir_t *dir)
{
    const char *error = NULL, *list = "";

    if (dir->roles) {
        list = ap_expr_str_exec(r, dir->roles, &error);
        if (error) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "PersonaRoles cannot be evaluated: %s", error);
            list = "";
        }
    }
    return persona_roles_parse(list, r->pool);
}

static json_t *roles_json(persona_visit_t *visit)
{
    apr_array_header_t *roles = persona_visit_roles(visit->r, visit->dir);
    json_t *json = json_array();
    int i;

    for (i = 0; i < roles->nelts; i++) {
        json_array_append_new(json, json_string(APR_ARRAY_IDX(roles, i, const char *)));
    }
    return json;
}

static double number_of(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);

    return json_is_number(value) ? json_number_value(value) : -1;
}

/** progress of `claim` and `demand`. */
static void progress_take(persona_visit_t *visit, const json_t *answer)
{
    const json_t *progress = json_object_get(answer, "progress"), *eta;
    apr_pool_t *p = visit->r->pool;

    if (!progress) {
        progress = answer;
    }
    if (text_of(progress, "stage")) {
        visit->stage = apr_pstrdup(p, text_of(progress, "stage"));
    }
    if (text_of(progress, "reason")) {
        visit->reason = apr_pstrdup(p, text_of(progress, "reason"));
    }
    if (json_is_integer(json_object_get(progress, "place"))) {
        visit->place = json_integer_value(json_object_get(progress, "place"));
    }
    visit->ready = (int)json_integer_value(json_object_get(progress, "ready"));
    eta = json_object_get(progress, "eta");
    visit->eta_low = number_of(eta, "p10");
    visit->eta_typical = number_of(eta, "p50");
    visit->eta_high = number_of(eta, "p90");
}

typedef struct assign_t {
    persona_visit_t *visit;
    const persona_claim_t *claim;
    apr_time_t began;
} assign_t;

static persona_assign_e assign(void *baton, const persona_record_t *slot, const char *session, apr_uint64_t ticket,
                               apr_time_t deadline, persona_record_t **record, apr_pool_t *p)
{
    assign_t *ask = baton;
    persona_assign_e outcome = PERSONA_ASSIGN_UNKNOWN;
    json_t *answer = NULL, *request = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:I, s:I, s:b}", "op", "assign", "instance", slot->instance,
        "compute", slot->compute, "persona", slot->persona_id, "session", session, "user", ask->visit->user, "roles",
        roles_json(ask->visit), "app", ask->visit->app, "ticket", (json_int_t)ticket, "arrived",
        (json_int_t)ask->claim->arrived, "cold", ask->claim->arrived + INSTANT < ask->began);

    if (PERSONA_FAULT_CALL(claim_ask, persona_child_call(request, &answer, deadline)) == APR_SUCCESS) {
        if (status_is(answer, "no")) {
            outcome = json_is_false(json_object_get(answer, "asked")) ? PERSONA_ASSIGN_SKIP : PERSONA_ASSIGN_NO;
        }
        else if (status_is(answer, "ok") && persona_record_from_json(record, json_object_get(answer, "record"), p) ==
                 APR_SUCCESS) {
            outcome = PERSONA_ASSIGN_YES;
        }
    }
    json_decref(answer);
    json_decref(request);
    return outcome;
}

/** The instance is fenced for us: make it the session, unless another tab or gateway came first. */
static persona_visit_e claimed(persona_visit_t *visit, const persona_record_t *record)
{
    persona_index_t *index = persona_child_index();
    persona_record_t *winner = NULL;
    json_t *answer = NULL, *request;

    PERSONA_FAULT(claim_fenced);
    if (index && persona_session_add(index, record, &winner, visit->r->pool) == APR_EEXIST && winner &&
        strcmp(winner->instance, record->instance) && record_take(visit, winner)) {
        request = json_pack("{s:s, s:s, s:s}", "op", "duplicate", "session", record->session, "instance",
                            record->instance);
        persona_child_call(request, &answer, call_deadline(visit, CALL_MAX));
        json_decref(answer);
        json_decref(request);
    }
    else if (!record_take(visit, record)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, visit->r, "the manager gave a record for another user or app, or one "
                      "whose lease is over");
        return PERSONA_VISIT_DOWN;
    }
    PERSONA_FAULT(claim_done);
    record_remember(visit);
    return PERSONA_VISIT_READY;
}

/** The index does not answer: the manager claims for us. */
static persona_visit_e claim_at_manager(persona_visit_t *visit)
{
    persona_visit_e outcome = PERSONA_VISIT_DOWN;
    persona_record_t *record = NULL;
    json_t *answer = NULL, *request = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:s, s:I}", "op", "claim", "persona", visit->persona->id, "session", visit->session,
        "user", visit->user, "roles", roles_json(visit), "app", visit->app, "arrived", (json_int_t)visit->arrived);

    if (persona_child_call(request, &answer, call_deadline(visit, CALL_MAX)) == APR_SUCCESS) {
        if (status_is(answer, "ok") && persona_record_from_json(&record, json_object_get(answer, "record"),
                                                                visit->r->pool) == APR_SUCCESS) {
            outcome = claimed(visit, record);
        }
        else if (status_is(answer, "wait")) {
            progress_take(visit, answer);
            outcome = PERSONA_VISIT_WAIT;
        }
    }
    json_decref(answer);
    json_decref(request);
    return outcome;
}

/** Tell the manager that somebody waits, and hear how far it is. */
static persona_visit_e demand(persona_visit_t *visit)
{
    json_t *answer = NULL, *request = json_pack("{s:s, s:s, s:s, s:I}", "op", "demand", "persona", visit->persona->id,
                                                "session", visit->session, "place", (json_int_t)visit->place);
    apr_status_t status = PERSONA_FAULT_CALL(
        claim_demand, persona_child_call(request, &answer, call_deadline(visit, CALL_MAX)));

    if (status == APR_SUCCESS) {
        apr_int64_t place = visit->place;

        progress_take(visit, answer);
        visit->place = place;
    }
    json_decref(answer);
    json_decref(request);
    return status == APR_SUCCESS ? PERSONA_VISIT_WAIT : PERSONA_VISIT_DOWN;
}

static persona_visit_e claim_in_index(persona_visit_t *visit)
{
    persona_claim_t claim = {.persona_id = visit->persona->id, .session = visit->session};
    assign_t ask = {.visit = visit, .claim = &claim, .began = apr_time_now()};
    persona_record_t *record = NULL;

    switch (persona_pool_claim(persona_child_index(), &claim, assign, &ask, call_deadline(visit, CALL_MAX), &record,
                               visit->r->pool)) {
    case PERSONA_CLAIM_GOT:
        visit->arrived = claim.arrived;
        return claimed(visit, record);
    case PERSONA_CLAIM_WAIT:
        visit->place = claim.place;
        visit->arrived = claim.arrived;
        return demand(visit);
    case PERSONA_CLAIM_NO_INDEX:
    default:
        return claim_at_manager(visit);
    }
}

/** Whether the user has as many sessions as PersonaMaxSessions allows. -1: the manager does not answer. */
static int limit_reached(persona_visit_t *visit)
{
    json_t *answer = NULL, *request;
    int reached = -1;

    if (visit->dir->max_sessions <= 0 || !*visit->user) {
        return 0;
    }
    if (visit->sessions >= 0) {
        return visit->sessions >= visit->dir->max_sessions;
    }
    request = json_pack("{s:s, s:s}", "op", "sessions", "user", visit->user);
    if (persona_child_call(request, &answer, call_deadline(visit, CALL_MAX)) == APR_SUCCESS) {
        reached = (int)json_array_size(json_object_get(answer, "sessions")) >= visit->dir->max_sessions;
    }
    json_decref(answer);
    json_decref(request);
    return reached;
}

persona_visit_e persona_visit_claim(persona_visit_t *visit)
{
    persona_visit_e outcome = persona_visit_find(visit);
    int limit;

    if (outcome != PERSONA_VISIT_NONE) {
        return outcome;
    }
    if (visit->foreign) {
        return PERSONA_VISIT_FOREIGN;
    }
    visit->catalog = persona_child_catalog(call_deadline(visit, CALL_MAX), visit->r->pool);
    if (!visit->catalog) {
        return PERSONA_VISIT_DOWN;
    }
    visit->persona = persona_match(visit->catalog, visit->app, persona_visit_roles(visit->r, visit->dir), NULL,
                                   visit->r->pool);
    if (!visit->persona) {
        return PERSONA_VISIT_UNKNOWN;
    }
    limit = limit_reached(visit);
    if (limit) {
        return limit < 0 ? PERSONA_VISIT_DOWN : PERSONA_VISIT_LIMIT;
    }
    visit->arrived = apr_time_now();
    return persona_child_index() ? claim_in_index(visit) : claim_at_manager(visit);
}

/* ---- after the claim ---- */

/** One `wait` for the home: READY (the record was read again), ENDED or DOWN. */
static persona_visit_e home_ask(persona_visit_t *visit)
{
    json_t *answer = NULL, *json, *request = json_pack("{s:s, s:s, s:s}", "op", "wait", "session", visit->session,
                                                       "for", "home");
    persona_visit_e outcome = PERSONA_VISIT_DOWN;
    persona_record_t *record = NULL;

    if (persona_child_call(request, &answer, call_deadline(visit, WAIT_MAX + INSTANT)) == APR_SUCCESS) {
        outcome = status_is(answer, "none") ? PERSONA_VISIT_ENDED : PERSONA_VISIT_READY;
        json = json_object_get(answer, "record");
        if (json && persona_record_from_json(&record, json, visit->r->pool) == APR_SUCCESS &&
            record_take(visit, record)) {
            record_remember(visit);
        }
        if (text_of(answer, "home_problem")) {
            visit->reason = apr_pstrdup(visit->r->pool, text_of(answer, "home_problem"));
        }
    }
    json_decref(answer);
    json_decref(request);
    return outcome;
}

persona_visit_e persona_visit_home(persona_visit_t *visit)
{
    while (visit->record->home == 1) {
        apr_time_t before = apr_time_now();
        persona_visit_e outcome;

        if (visit->deadline - before < INSTANT) {
            visit->stage = "home";
            return PERSONA_VISIT_WAIT;
        }
        outcome = home_ask(visit);
        if (outcome != PERSONA_VISIT_READY) {
            return outcome;
        }
        if (visit->record->home == 1 && apr_time_now() - before < INSTANT) {
            apr_sleep(INSTANT / 2);
        }
    }
    if (visit->record->home != 3) {
        return PERSONA_VISIT_READY;
    }
    if (!visit->reason) {
        home_ask(visit); /* a record says that it failed, not why */
    }
    return PERSONA_VISIT_HOME;
}

void persona_visit_condemn(persona_visit_t *visit, const char *reason)
{
    json_t *answer = NULL, *request = json_pack("{s:s, s:s, s:s, s:s}", "op", "condemn", "session", visit->session,
                                                "instance", visit->record->instance, "reason", reason);

    persona_child_forget(visit->record);
    persona_child_call(request, &answer, apr_time_now() + CALL_MAX);
    json_decref(answer);
    json_decref(request);
}

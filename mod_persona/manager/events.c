/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file events.c
 * @brief From the manager's tables to events of the history.
 *
 * Marks make an event of an instance or a session one event, though several managers see it: of the managers that
 * finish a retirement, or that a client asked for the same session, the first to write is the one that is kept.
 * Sessions are told by the first characters of their id, as everywhere for people; tokens are never known here.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "events.h"

#define SESSION_SHOWN 12
#define ROLES_SIZE    600
#define VISIT_EVERY   apr_time_from_sec(60)
#define SIGNIN_AFTER  apr_time_from_sec(1800)
/** More people than that at once are not told apart: visits of others are not written. */
#define VISITORS_MAX 16384
#define WAIT_MAX     apr_time_from_sec(86400)
/** What a manager that was killed had not written yet was not older than that. */
#define UNWRITTEN apr_time_from_sec(60)

typedef struct visitor_t {
    char user[PERSONA_USER_MAX + 1];
    apr_time_t seen, told;
} visitor_t;

/** An event about an instance; `mark` is memory for its mark, made of `kind`, the instance and the session. */
typedef struct about_t {
    persona_event_t event;
    char session[SESSION_SHOWN + 1];
    char mark[128];
} about_t;

static persona_event_t *about(persona_manager_t *m, about_t *a, persona_event_e kind, const persona_entry_t *e)
{
    static const persona_event_t none = PERSONA_EVENT_NONE;

    a->event = none;
    a->event.kind = kind;
    a->event.at = persona_manager_now(m);
    a->event.persona = e->persona_id;
    a->event.instance = e->uuid;
    a->event.compute = e->compute;
    a->event.host = e->host;
    apr_cpystrn(a->session, e->session, sizeof(a->session));
    a->event.session = a->session;
    a->event.user = e->user;
    a->event.app = e->app;
    apr_snprintf(a->mark, sizeof(a->mark), "%s/%s/%s", persona_event_name(kind), e->uuid, a->session);
    a->event.mark = a->mark;
    return &a->event;
}

/** "a, b, c", as far as there is room. */
static const char *roles_text(const json_t *roles, char text[ROLES_SIZE])
{
    apr_size_t len = 0, i;
    const json_t *role;

    text[0] = '\0';
    json_array_foreach(roles, i, role)
    {
        const char *name = json_string_value(role);

        if (name && len + strlen(name) + 3 < ROLES_SIZE) {
            len += (apr_size_t)apr_snprintf(text + len, ROLES_SIZE - len, "%s%s", len ? ", " : "", name);
        }
    }
    return text;
}

void persona_events_claim(persona_manager_t *m, const persona_entry_t *e, const json_t *roles, apr_int64_t ticket,
                          apr_time_t arrived)
{
    char text[ROLES_SIZE];
    persona_event_t *event;
    about_t a;

    if (!m->trail) {
        return;
    }
    event = about(m, &a, PERSONA_EVENT_CLAIM, e);
    event->at = e->assigned_at && e->assigned_at < event->at ? e->assigned_at : event->at;
    event->roles = roles_text(roles, text);
    event->cold = arrived > 0 ? e->cold : -1;
    event->ticket = ticket;
    /* a worker's word: no more than it can be */
    if (arrived > 0 && arrived <= event->at && event->at - arrived < WAIT_MAX) {
        event->wait = apr_time_as_msec(event->at - arrived);
    }
    persona_trail_push(m->trail, event);
}

void persona_events_adopted(persona_manager_t *m, const persona_entry_t *e)
{
    if (e->assigned_at <= m->started && m->started - e->assigned_at < UNWRITTEN) {
        persona_events_claim(m, e, NULL, -1, 0);
    }
}

void persona_events_end(persona_manager_t *m, const persona_entry_t *e)
{
    persona_event_t *event;
    about_t a;

    if (!m->trail) {
        return;
    }
    event = about(m, &a, PERSONA_EVENT_END, e);
    event->reason = e->reason;
    if (e->assigned_at && e->assigned_at <= event->at) {
        event->took = apr_time_as_msec(event->at - e->assigned_at);
    }
    persona_trail_push(m->trail, event);
}

/** Nothing but the instance: whose it was is said elsewhere. */
static void push_instance(persona_manager_t *m, persona_event_e kind, const persona_entry_t *e, const char *reason,
                          apr_int64_t took)
{
    persona_event_t *event;
    about_t a;

    if (!m->trail) {
        return;
    }
    event = about(m, &a, kind, e);
    event->user = event->app = event->session = NULL;
    apr_snprintf(a.mark, sizeof(a.mark), "%s/%s", persona_event_name(kind), e->uuid);
    event->reason = reason;
    event->took = took;
    persona_trail_push(m->trail, event);
}

void persona_events_create(persona_manager_t *m, const persona_entry_t *e, const char *reason,
                           apr_interval_time_t took)
{
    push_instance(m, PERSONA_EVENT_CREATE, e, reason, apr_time_as_msec(took));
}

void persona_events_ready(persona_manager_t *m, const persona_entry_t *e, apr_interval_time_t boot)
{
    push_instance(m, PERSONA_EVENT_READY, e, NULL, apr_time_as_msec(boot));
}

void persona_events_fail(persona_manager_t *m, const persona_entry_t *e, const char *reason)
{
    apr_time_t now = persona_manager_now(m);

    push_instance(m, PERSONA_EVENT_FAIL, e, reason,
                  e->created && e->created <= now ? apr_time_as_msec(now - e->created) : -1);
}

void persona_events_retire(persona_manager_t *m, const persona_entry_t *e)
{
    push_instance(m, PERSONA_EVENT_RETIRE, e, e->reason, -1);
}

void persona_events_gone(persona_manager_t *m, const persona_entry_t *e)
{
    push_instance(m, PERSONA_EVENT_GONE, e, NULL, -1);
}

void persona_events_admin(persona_manager_t *m, const persona_ipc_peer_t *peer, const char *what)
{
    persona_event_t event = PERSONA_EVENT_NONE;
    char who[32];

    apr_snprintf(who, sizeof(who), "uid %ld", (long)peer->uid);
    event.kind = PERSONA_EVENT_ADMIN;
    event.at = persona_manager_now(m);
    event.user = who;
    event.reason = what;
    persona_trail_push(m->trail, &event);
}

/* ---- the portal ---- */

static visitor_t *visitor_of(persona_manager_t *m, const char *user)
{
    visitor_t *visitor = apr_hash_get(m->visitors, user, APR_HASH_KEY_STRING);

    if (!visitor && apr_hash_count(m->visitors) < VISITORS_MAX) {
        visitor = calloc(1, sizeof(*visitor));
        if (!visitor) {
            abort();
        }
        persona_copy(visitor->user, user);
        apr_hash_set(m->visitors, visitor->user, APR_HASH_KEY_STRING, visitor);
    }
    return visitor;
}

void persona_events_visit(persona_manager_t *m, const char *user, const json_t *roles, const char *app)
{
    persona_event_t event = PERSONA_EVENT_NONE;
    char text[ROLES_SIZE];
    visitor_t *visitor;

    visitor = m->trail ? visitor_of(m, user) : NULL;
    if (!visitor) {
        return;
    }
    event.at = persona_manager_now(m);
    event.kind = event.at - visitor->seen > SIGNIN_AFTER ? PERSONA_EVENT_SIGNIN : PERSONA_EVENT_VISIT;
    visitor->seen = event.at;
    if (event.at - visitor->told < VISIT_EVERY) {
        return;
    }
    visitor->told = event.at;
    event.user = user;
    event.roles = roles_text(roles, text);
    event.app = app;
    persona_trail_push(m->trail, &event);
}

static void forget_visitors(persona_manager_t *m)
{
    apr_time_t now = persona_manager_now(m);
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, m->visitors); hi; hi = apr_hash_next(hi)) {
        visitor_t *visitor = apr_hash_this_val(hi);

        if (now - visitor->seen > SIGNIN_AFTER) {
            apr_hash_set(m->visitors, visitor->user, APR_HASH_KEY_STRING, NULL);
            free(visitor);
        }
    }
}

/* ---- sessions at once ---- */

/** With the lock. Each hour has the most that this manager saw at one of its ticks. */
static void note_high(persona_manager_t *m)
{
    apr_int64_t hour = apr_time_sec(persona_manager_now(m)) / 3600;
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, m->stocks); hi; hi = apr_hash_next(hi)) {
        persona_stock_t *stock = apr_hash_this_val(hi);

        stock->sessions = 0;
    }
    for (hi = apr_hash_first(NULL, m->sessions); hi; hi = apr_hash_next(hi)) {
        const persona_entry_t *e = apr_hash_this_val(hi);

        if (e->retire == PERSONA_RETIRE_NONE) {
            persona_stock_of(m, e->persona_id)->sessions++;
        }
    }
    for (hi = apr_hash_first(NULL, m->stocks); hi; hi = apr_hash_next(hi)) {
        persona_stock_t *stock = apr_hash_this_val(hi);
        persona_event_t event = PERSONA_EVENT_NONE;

        if (stock->high_hour != hour) {
            stock->high_hour = hour;
            stock->sessions_high = 0;
        }
        if (stock->sessions > stock->sessions_high) {
            stock->sessions_high = stock->sessions;
            event.kind = PERSONA_EVENT_HIGH;
            event.at = persona_manager_now(m);
            event.persona = stock->persona_id;
            event.high = stock->sessions;
            persona_trail_push(m->trail, &event);
        }
    }
}

void persona_events_tick(persona_manager_t *m)
{
    if (!m->trail) {
        return;
    }
    persona_manager_lock(m);
    note_high(m);
    forget_visitors(m);
    persona_manager_unlock(m);
    persona_trail_tend(m->trail);
}

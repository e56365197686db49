/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file sessions.c
 * @brief Leases, heartbeats and time limits of the sessions.
 *
 * A record is renewed every few seconds, always from the time at which the provider was last read: a provider
 * that does not answer lets the leases run out. What another manager ended is not renewed, though the provider may not
 * have been read since. Which streams are open is known to the manager of the gateway that
 * relays them; it shares that through the index (signed), and another manager ends nobody's session for being
 * alone before it has looked there. Only max_session needs nobody's word.
 */
#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#include "assign.h"
#include "events.h"
#include "persona/digest.h"
#include "pool/session.h"
#include "retire.h"
#include "sessions.h"

#define RENEW_EVERY apr_time_from_sec(5)
/** Another manager renews it as long as its lease has so much left. */
#define FOREIGN_LEFT apr_time_from_sec(30)
#define SHARE_TTL    (24 * 3600)

/* ---- heartbeats, and what managers tell each other ---- */

void persona_sessions_beat(persona_manager_t *m, persona_entry_t *e, pid_t pid, int streams,
                           apr_time_t last_input)
{
    apr_time_t now = persona_manager_now(m);
    int i, chosen = 0;

    for (i = 0; i < PERSONA_BEATS_MAX; i++) {
        if (e->beats[i].pid == pid) {
            chosen = i;
            break;
        }
        if (e->beats[i].at < e->beats[chosen].at) {
            chosen = i;
        }
    }
    e->beats[chosen].pid = pid;
    e->beats[chosen].streams = streams;
    e->beats[chosen].at = now;
    e->local = 1;
    if (streams > 0) {
        e->attached = now;
    }
    if (last_input > e->last_input && last_input <= now + PERSONA_CLOCK_SKEW) {
        e->last_input = last_input;
    }
}

static const char *share_key(const persona_manager_t *m, const char *session, apr_pool_t *p)
{
    return apr_pstrcat(p, m->settings->ns, ":attached:", session, NULL);
}

static void share_sign(const persona_manager_t *m, int which, const char *session, const char *text,
                       char mac[PERSONA_HEX256_LEN], apr_pool_t *p)
{
    const char *all = apr_pstrcat(p, session, "\n", text, NULL);

    persona_hmac(m->share_keys[which], strlen(m->share_keys[which]), all, strlen(all), mac);
}

static void share_write(persona_manager_t *m, const persona_entry_t *e, apr_pool_t *p)
{
    const char *text =
        apr_psprintf(p, "%" APR_TIME_T_FMT " %" APR_TIME_T_FMT, e->attached, e->last_input);
    char mac[PERSONA_HEX256_LEN];

    share_sign(m, 0, e->session, text, mac, p);
    persona_manager_index(m, m->store->set(m->store, e->session, share_key(m, e->session, p),
                                           apr_pstrcat(p, mac, " ", text, NULL), SHARE_TTL));
}

/** What another manager saw. Anything but APR_SUCCESS and APR_NOTFOUND: it cannot be known now. */
static apr_status_t share_read(persona_manager_t *m, const char *session, apr_time_t *attached,
                               apr_time_t *last_input, apr_pool_t *p)
{
    const char *value = NULL;
    char mac[PERSONA_HEX256_LEN], *given;
    apr_status_t status;
    long long a, b;
    int i, good = 0;

    if (!persona_manager_index_usable(m)) {
        return APR_EGENERAL;
    }
    status = persona_manager_index(
        m, m->store->get(m->store, session, share_key(m, session, p), &value, p));
    if (status != APR_SUCCESS) {
        return status;
    }
    if (strlen(value) < PERSONA_HEX256_LEN || value[PERSONA_HEX256_LEN - 1] != ' ') {
        return APR_NOTFOUND;
    }
    given = apr_pstrndup(p, value, PERSONA_HEX256_LEN - 1);
    for (i = 0; i < 2 && m->share_keys[i] && !good; i++) {
        share_sign(m, i, session, value + PERSONA_HEX256_LEN, mac, p);
        good = persona_hex_equal(given, mac);
    }
    if (!good ||
        sscanf(value + PERSONA_HEX256_LEN, "%lld %lld", &a, &b) != 2) {
        return APR_NOTFOUND;
    }
    *attached = a;
    *last_input = b;
    return APR_SUCCESS;
}

/* ---- limits ---- */

static const char *duration_words(apr_interval_time_t d, apr_pool_t *p)
{
    apr_int64_t seconds = apr_time_sec(d);

    if (seconds >= 7200 && seconds % 3600 == 0) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " hours", seconds / 3600);
    }
    if (seconds >= 120) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " minutes", seconds / 60);
    }
    return apr_psprintf(p, "%" APR_INT64_T_FMT " seconds", seconds);
}

static apr_time_t later(apr_time_t a, apr_time_t b)
{
    return a > b ? a : b;
}

/** Why the session's time is over, or NULL. *absolute: nobody else's word can change that. */
static const char *verdict(const persona_entry_t *e, apr_time_t now, int *absolute, apr_pool_t *p)
{
    apr_time_t since = later(e->adopted, e->assigned_at);

    *absolute = 0;
    if (e->max_session > 0 && now - e->assigned_at > e->max_session) {
        *absolute = 1;
        return apr_psprintf(p, "the session lasted %s, the longest that is allowed",
                            duration_words(e->max_session, p));
    }
    if (!persona_entry_streams(e, now)) {
        if (!e->attached && !e->adopted && now - e->assigned_at > PERSONA_ATTACH_TIMEOUT) {
            return apr_psprintf(p, "nobody connected to it within %s",
                                duration_words(PERSONA_ATTACH_TIMEOUT, p));
        }
        if (e->disconnect_timeout > 0 && now - later(e->attached, since) > e->disconnect_timeout) {
            return apr_psprintf(p, "no browser was connected to it for %s",
                                duration_words(e->disconnect_timeout, p));
        }
    }
    if (e->idle_timeout > 0 && now - later(e->last_input, since) > e->idle_timeout) {
        return apr_psprintf(p, "nobody used it for %s", duration_words(e->idle_timeout, p));
    }
    return NULL;
}

/** Before somebody's session ends for being alone: what do the other managers see? */
static int confirm_over(persona_manager_t *m, persona_entry_t *copy, apr_pool_t *p)
{
    apr_time_t attached = 0, last_input = 0;
    apr_status_t status = share_read(m, copy->session, &attached, &last_input, p);
    persona_entry_t *e;
    int absolute, over;

    if (status != APR_SUCCESS && status != APR_NOTFOUND) {
        return copy->local;
    }
    if (status == APR_SUCCESS) {
        copy->attached = later(copy->attached, attached);
        copy->last_input = later(copy->last_input, last_input);
    }
    over = verdict(copy, persona_manager_now(m), &absolute, p) != NULL;
    persona_manager_lock(m);
    e = persona_entry_find(m, copy->uuid);
    if (e) {
        e->attached = later(e->attached, copy->attached);
        e->last_input = later(e->last_input, copy->last_input);
    }
    persona_manager_unlock(m);
    return over;
}

static void enforce(persona_manager_t *m, persona_entry_t *copy, apr_pool_t *p)
{
    int absolute;
    const char *reason = verdict(copy, persona_manager_now(m), &absolute, p);
    persona_entry_t *e;

    if (!reason || (!absolute && !confirm_over(m, copy, p))) {
        return;
    }
    persona_manager_lock(m);
    e = persona_entry_find(m, copy->uuid);
    if (e && !strcmp(e->session, copy->session) &&
        verdict(e, persona_manager_now(m), &absolute, p)) {
        persona_entry_retire(m, e, reason);
    }
    persona_manager_unlock(m);
}

/* ---- leases ---- */

/** What the index knows of a session that this manager adopted. */
static void merge(persona_manager_t *m, persona_entry_t *copy, const persona_record_t *record,
                  persona_tasks_t *tasks)
{
    persona_entry_t *e;

    persona_manager_lock(m);
    e = persona_entry_find(m, copy->uuid);
    if (e && !strcmp(e->session, copy->session)) {
        if (record && !strcmp(record->instance, e->uuid)) {
            if (!*e->user) {
                persona_entry_bind(m, e, e->session, record->user, record->app);
                if (*e->user) {
                    persona_events_claim(m, e, NULL, -1, 0); /* it was the fence alone that told of it */
                }
            }
            if (!e->merged) {
                e->home = record->home;
                e->cold = record->cold;
            }
            if (!e->shaped) {
                e->stream = record->stream;
                e->pass_user = record->pass_user;
                persona_copy(e->path, record->path);
            }
        }
        if (!e->merged && e->home == 1 && *e->user) {
            persona_home_start(m, e, NULL, tasks); /* the same session is told yes at once */
        }
        e->merged = e->home != 1 || *e->user;
        *copy = *e;
    }
    persona_manager_unlock(m);
}

/** Another manager keeps its record: that is looked at again when this one would renew its own. */
static void looked(persona_manager_t *m, const persona_entry_t *copy, apr_time_t now)
{
    persona_entry_t *e;

    persona_manager_lock(m);
    e = persona_entry_find(m, copy->uuid);
    if (e && !strcmp(e->session, copy->session)) {
        e->renewed = now;
    }
    persona_manager_unlock(m);
}

static void renew(persona_manager_t *m, persona_entry_t *copy, persona_tasks_t *tasks,
                  apr_pool_t *p)
{
    apr_time_t now = persona_manager_now(m);
    persona_record_t record, *found = NULL;
    persona_entry_t *e;
    apr_status_t status;

    if (copy->read_at + PERSONA_LEASE <= now || !persona_manager_index_usable(m)) {
        return;
    }
    if ((copy->adopted && !copy->merged) || !copy->local) {
        status = persona_manager_index(m, persona_session_get(m->index, copy->session, &found, p));
        if (status != APR_SUCCESS && status != APR_NOTFOUND && status != APR_EACCES) {
            return;
        }
        merge(m, copy, status == APR_SUCCESS ? found : NULL, tasks);
        /* While the site has two keys nobody's record may stay signed with the one that goes. */
        if (!copy->local && !m->share_keys[1] && status == APR_SUCCESS && !strcmp(found->instance, copy->uuid) &&
            found->expires > now + FOREIGN_LEFT) {
            looked(m, copy, now);
            return;
        }
    }
    if (persona_retire_if_over(m, copy->uuid, p)) {
        return; /* also if that is not known now: the lease has time for another try */
    }
    persona_entry_record(copy, &record);
    status = persona_manager_index(m, persona_session_renew(m->index, &record, p));
    persona_manager_lock(m);
    e = persona_entry_find(m, copy->uuid);
    if (e && status == APR_SUCCESS) {
        e->renewed = now;
        e->dirty = e->dirty && e->home != copy->home;
    }
    persona_manager_unlock(m);
    if (status == APR_SUCCESS && persona_entry_streams(copy, now)) {
        share_write(m, copy, p);
    }
}

/** The worker adds the record of a new session itself; a second later it is the manager's to renew. */
static int renewal_due(const persona_entry_t *e, apr_time_t now)
{
    return now - e->assigned_at > apr_time_from_sec(1) && (e->dirty || now - e->renewed >= RENEW_EVERY);
}

void persona_sessions_tick(persona_manager_t *m, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 16, sizeof(persona_entry_t *));
    apr_time_t now = persona_manager_now(m);
    persona_tasks_t tasks;
    apr_hash_index_t *hi;
    int i, absolute;

    persona_tasks_init(&tasks, p);
    persona_manager_lock(m);
    for (hi = apr_hash_first(NULL, m->sessions); hi; hi = apr_hash_next(hi)) {
        persona_entry_t *e = apr_hash_this_val(hi);

        if (e->retire == PERSONA_RETIRE_NONE) {
            if (persona_entry_streams(e, now)) {
                e->attached = now;
            }
            if (renewal_due(e, now) || verdict(e, now, &absolute, p)) {
                APR_ARRAY_PUSH(list, persona_entry_t *) = apr_pmemdup(p, e, sizeof(*e));
            }
        }
    }
    persona_manager_unlock(m);
    for (i = 0; i < list->nelts; i++) {
        persona_entry_t *copy = APR_ARRAY_IDX(list, i, persona_entry_t *);

        if (renewal_due(copy, now)) {
            renew(m, copy, &tasks, p);
        }
        enforce(m, copy, p);
    }
    persona_tasks_push(&tasks);
}

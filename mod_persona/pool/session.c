/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file session.c
 * @brief Sessions in the shared index: one record for each S, one S for each user and app.
 *
 * THE ORDER OF add(): the record of S first, then the entry of (user, app). So an entry whose record is not there
 * is a leftover or the record was evicted; it is never one that is just being made. Who finds a leftover takes
 * it over by add() of a key that names the leftover's S: of several that find it at once one wins, and the
 * others follow the chain to the winner's record. The store may forget any of this: then the managers, who
 * know from the fences which session has which instance, write it again and retire what is double.
 */
#include <string.h>

#include <apr_strings.h>

#include "index.h"
#include "persona/fault.h"
#include "session.h"

/** Seconds. A record outlives its lease by far, because `expires` is in it; managers renew it until the session
 * ends. The entry of a user is written once. */
#define RECORD_TTL 600
#define USER_TTL (7 * 86400)
#define TAKEOVER_TTL 60
#define ENDED_TTL 3600
/** Takeovers that one add() follows. */
#define CHAIN_MAX 8

void persona_session_id(const char *token, char session[PERSONA_SESSION_LEN])
{
    persona_sha256(token, strlen(token), session);
}

void persona_session_api_id(const persona_index_t *index, const char *user, const char *app,
                            char session[PERSONA_SESSION_LEN])
{
    char key[PERSONA_HEX256_LEN], mac[PERSONA_HEX256_LEN];

    /* User and app are two messages, so no pair of them can be read as another. The site's keys come and go; its name
     * stays, so a client has one S whichever of them a gateway signs with. */
    persona_hmac(index->ns, strlen(index->ns), user, strlen(user), key);
    persona_hmac(key, sizeof(key) - 1, app, strlen(app), mac);
    persona_session_id(mac, session);
}

/* ---- the entry of a user ---- */

/** Hash of user and app, the same whatever key the site has now. */
static const char *user_part(const persona_index_t *index, const char *user, const char *app, apr_pool_t *p)
{
    char session[PERSONA_SESSION_LEN];

    persona_session_api_id(index, user, app, session);
    return apr_pstrdup(p, session);
}

static const char *user_key(const persona_index_t *index, const char *part, apr_pool_t *p)
{
    return apr_pstrcat(p, index->ns, ":user:", part, NULL);
}

static const char *takeover_key(const persona_index_t *index, const char *part, const char *leftover, apr_pool_t *p)
{
    return apr_pstrcat(p, index->ns, ":over:", part, ":", leftover, NULL);
}

static int is_session(const char *text)
{
    return strlen(text) == PERSONA_SESSION_LEN - 1 && strspn(text, "0123456789abcdef") == PERSONA_SESSION_LEN - 1;
}

/** The S that a signed entry names. */
static apr_status_t entry_get(persona_index_t *index, const char *group, const char *key, const char **session,
                              apr_pool_t *p)
{
    const char *value, *text;
    apr_status_t rv = index->store->get(index->store, group, key, &value, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    text = persona_index_verify(index, value, key, PERSONA_NO_GENERATION);
    if (!text || !is_session(text)) {
        return APR_EACCES;
    }
    *session = text;
    return APR_SUCCESS;
}

static apr_status_t entry_add(persona_index_t *index, const char *group, const char *key, const char *session,
                              int ttl, apr_pool_t *p)
{
    return index->store->add(index->store, group, key,
                             persona_index_sign(index, session, key, PERSONA_NO_GENERATION, p), ttl);
}

static apr_status_t entry_set(persona_index_t *index, const char *group, const char *key, const char *session,
                              int ttl, apr_pool_t *p)
{
    return index->store->set(index->store, group, key,
                             persona_index_sign(index, session, key, PERSONA_NO_GENERATION, p), ttl);
}

/** The entry is there. While the site has two keys it is signed anew, so that it is still valid when one goes. */
static apr_status_t entry_keep(persona_index_t *index, const char *group, const char *key, const char *session,
                               apr_pool_t *p)
{
    const char *value, *text;
    apr_status_t rv;

    if (!index->keys[1]) {
        return APR_SUCCESS;
    }
    rv = index->store->get(index->store, group, key, &value, p);
    if (rv != APR_SUCCESS) {
        return rv == APR_NOTFOUND ? APR_SUCCESS : rv;
    }
    text = persona_index_verify(index, value, key, PERSONA_NO_GENERATION);
    if (text && !strcmp(text, session) && !persona_index_current(index, value, key, PERSONA_NO_GENERATION, p)) {
        return entry_set(index, group, key, session, USER_TTL, p);
    }
    return APR_SUCCESS;
}

/* ---- records ---- */

static apr_status_t session_read(persona_index_t *index, const char *session, const char *key, const char *value,
                                 persona_record_t **record, apr_pool_t *p)
{
    apr_status_t rv = persona_record_read(index, record, value, key, PERSONA_NO_GENERATION, p);

    return rv == APR_SUCCESS && strcmp((*record)->session, session) != 0 ? APR_EACCES : rv;
}

apr_status_t persona_session_get(persona_index_t *index, const char *session, persona_record_t **record,
                                 apr_pool_t *p)
{
    const char *key = persona_key_session(index, session, p), *value;
    apr_status_t rv = index->store->get(index->store, persona_index_part(session, p), key, &value, p);

    return rv == APR_SUCCESS ? session_read(index, session, key, value, record, p) : rv;
}

apr_status_t persona_session_look(persona_index_t *index, const char *session, persona_record_t **record,
                                  const char **ended, apr_pool_t *p)
{
    const char *keys[2], *values[2];
    apr_status_t rv;

    *record = NULL;
    *ended = NULL;
    keys[0] = persona_key_session(index, session, p);
    keys[1] = persona_key_ended(index, session, p);
    rv = index->store->get_many(index->store, persona_index_part(session, p), keys, 2, values, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (values[0] && session_read(index, session, keys[0], values[0], record, p) != APR_SUCCESS) {
        *record = NULL;
    }
    if (values[1]) {
        *ended = persona_index_verify(index, values[1], keys[1], PERSONA_NO_GENERATION);
    }
    return APR_SUCCESS;
}

apr_status_t persona_session_of_user(persona_index_t *index, const char *user, const char *app,
                                     const char **session, apr_pool_t *p)
{
    const char *part = user_part(index, user, app, p);

    return entry_get(index, part, user_key(index, part, p), session, p);
}

/** Add the record of S. APR_EEXIST: S has another instance, *winner. A forged record is replaced. */
static apr_status_t record_add(persona_index_t *index, const persona_record_t *record, persona_record_t **winner,
                               apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *group = persona_index_part(record->session, p);
    const char *key = persona_key_session(index, record->session, p);
    const char *value = persona_record_write(index, record, key, PERSONA_NO_GENERATION, p);
    apr_status_t rv;
    int tries;

    if (!value) {
        return APR_EINVAL;
    }
    for (tries = 0; tries < 3; tries++) {
        rv = PERSONA_FAULT_CALL(claim_record, store->add(store, group, key, value, RECORD_TTL));
        if (rv != APR_EEXIST) {
            return rv;
        }
        rv = persona_session_get(index, record->session, winner, p);
        if (rv == APR_EACCES || rv == APR_EINVAL) {
            return store->set(store, group, key, value, RECORD_TTL);
        }
        if (rv != APR_NOTFOUND) {
            break;
        }
    }
    if (rv != APR_SUCCESS || strcmp((*winner)->instance, record->instance) == 0) {
        return rv;
    }
    return APR_EEXIST;
}

/** The record of an S that an entry of this user named; APR_NOTFOUND: the entry is a leftover. */
static apr_status_t user_record(persona_index_t *index, const char *session, const persona_record_t *of,
                                persona_record_t **record, apr_pool_t *p)
{
    apr_status_t rv = persona_session_get(index, session, record, p);

    if (rv == APR_SUCCESS && (strcmp((*record)->user, of->user) != 0 || strcmp((*record)->app, of->app) != 0)) {
        rv = APR_NOTFOUND;
    }
    return rv == APR_EACCES || rv == APR_EINVAL ? APR_NOTFOUND : rv;
}

/** Make S the user's session. APR_EEXIST: the user has another, *winner. */
static apr_status_t user_add(persona_index_t *index, const persona_record_t *record, persona_record_t **winner,
                             apr_pool_t *p)
{
    const char *part = user_part(index, record->user, record->app, p);
    const char *key = user_key(index, part, p), *session = NULL;
    apr_status_t rv = APR_NOTFOUND;
    int hops, tries;

    for (tries = 0; rv == APR_NOTFOUND && tries < 3; tries++) {
        rv = PERSONA_FAULT_CALL(claim_user, entry_add(index, part, key, record->session, USER_TTL, p));
        if (rv != APR_EEXIST) {
            return rv;
        }
        rv = entry_get(index, part, key, &session, p);
    }
    for (hops = 0; rv == APR_SUCCESS && hops < CHAIN_MAX; hops++) {
        const char *over;

        if (strcmp(session, record->session) == 0) {
            return APR_SUCCESS;
        }
        rv = user_record(index, session, record, winner, p);
        if (rv != APR_NOTFOUND) {
            return rv == APR_SUCCESS ? APR_EEXIST : rv;
        }
        over = takeover_key(index, part, session, p);
        rv = entry_add(index, part, over, record->session, TAKEOVER_TTL, p);
        if (rv == APR_SUCCESS) {
            break;
        }
        if (rv == APR_EEXIST) {
            rv = entry_get(index, part, over, &session, p);
        }
    }
    if (rv == APR_SUCCESS || rv == APR_NOTFOUND || rv == APR_EACCES) {
        return entry_set(index, part, key, record->session, USER_TTL, p);
    }
    return rv;
}

apr_status_t persona_session_add(persona_index_t *index, const persona_record_t *record,
                                 persona_record_t **winner, apr_pool_t *p)
{
    persona_store_t *store = index->store;
    apr_status_t rv = record_add(index, record, winner, p);

    if (rv != APR_SUCCESS || !record->user || !*record->user) {
        return rv;
    }
    PERSONA_FAULT(claim_recorded);
    rv = user_add(index, record, winner, p);
    if (rv == APR_EEXIST) {
        /* The winner's session is the user's; ours would only mislead who still has this S. */
        store->remove(store, persona_index_part(record->session, p), persona_key_session(index, record->session, p));
    }
    return rv;
}

apr_status_t persona_session_renew(persona_index_t *index, const persona_record_t *record, apr_pool_t *p)
{
    const char *key = persona_key_session(index, record->session, p);
    const char *value = persona_record_write(index, record, key, PERSONA_NO_GENERATION, p);
    apr_status_t rv;

    if (!value) {
        return APR_EINVAL;
    }
    rv = PERSONA_FAULT_CALL(assign_renew, index->store->set(index->store, persona_index_part(record->session, p), key,
                                                            value, RECORD_TTL));
    if (rv == APR_SUCCESS && record->user && *record->user) {
        const char *part = user_part(index, record->user, record->app, p);

        rv = entry_add(index, part, user_key(index, part, p), record->session, USER_TTL, p);
        rv = rv == APR_EEXIST ? entry_keep(index, part, user_key(index, part, p), record->session, p) : rv;
    }
    return rv;
}

apr_status_t persona_session_remove(persona_index_t *index, const persona_record_t *record, const char *reason,
                                    apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *group = persona_index_part(record->session, p);
    const char *key = persona_key_ended(index, record->session, p), *session;
    apr_status_t rv = store->set(store, group, key,
                                 persona_index_sign(index, reason, key, PERSONA_NO_GENERATION, p), ENDED_TTL);
    apr_status_t removed, noted = APR_SUCCESS;

    /* Of the instance too: S may have another one next, and it is the instance that nobody may come back to. */
    if (*record->instance) {
        const char *over = persona_key_ended(index, record->instance, p);

        noted = store->set(store, persona_index_part(record->instance, p), over,
                           persona_index_sign(index, reason, over, PERSONA_NO_GENERATION, p), ENDED_TTL);
    }
    removed = PERSONA_FAULT_CALL(release_forget,
                                 store->remove(store, group, persona_key_session(index, record->session, p)));

    if (record->user && *record->user) {
        const char *part = user_part(index, record->user, record->app, p);
        const char *entry = user_key(index, part, p);

        if (entry_get(index, part, entry, &session, p) == APR_SUCCESS && strcmp(session, record->session) == 0) {
            store->remove(store, part, entry);
        }
    }
    rv = rv == APR_SUCCESS ? noted : rv;
    return removed == APR_SUCCESS || removed == APR_NOTFOUND ? rv : removed;
}

apr_status_t persona_session_ended(persona_index_t *index, const char *session, const char **reason, apr_pool_t *p)
{
    const char *key = persona_key_ended(index, session, p), *value;
    apr_status_t rv = index->store->get(index->store, persona_index_part(session, p), key, &value, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    *reason = persona_index_verify(index, value, key, PERSONA_NO_GENERATION);
    return *reason ? APR_SUCCESS : APR_EACCES;
}

apr_status_t persona_session_instance_over(persona_index_t *index, const char *instance, const char **reason,
                                           apr_pool_t *p)
{
    return persona_session_ended(index, instance, reason, p);
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file session.c
 * @brief Sessions in the shared index.
 *
 * Three kinds of keys: the record of S, the entry that leads from (user, app) to S, and the note of why S ended. The
 * record and the entry live a little longer than the lease, so that an ended site leaves nothing behind; managers
 * renew both.
 */
#include <string.h>

#include <apr_strings.h>

#include "persona/digest.h"
#include "pool/index.h"
#include "pool/session.h"

#define RECORD_TTL 180
#define NOTE_TTL 3600

void persona_session_id(const char *token, char session[PERSONA_SESSION_LEN])
{
    persona_sha256(token, strlen(token), session);
}

void persona_session_api_id(const persona_index_t *index, const char *user, const char *app,
                            char session[PERSONA_SESSION_LEN])
{
    char text[PERSONA_USER_MAX + PERSONA_NAME_MAX + 8];
    int n = apr_snprintf(text, sizeof(text), "api\n%s\n%s", app, user);

    persona_hmac(index->keys[0], strlen(index->keys[0]), text, (apr_size_t)n, session);
}

static const char *record_key(const persona_index_t *index, const char *session, apr_pool_t *p)
{
    return apr_pstrcat(p, "p:", index->ns, ":s:", session, NULL);
}

static const char *note_key(const persona_index_t *index, const char *session, apr_pool_t *p)
{
    return apr_pstrcat(p, "p:", index->ns, ":e:", session, NULL);
}

static const char *user_key(const persona_index_t *index, const char *user, const char *app, apr_pool_t *p)
{
    const char *text = apr_pstrcat(p, app, "\n", user, NULL);
    char hex[PERSONA_HEX256_LEN];

    persona_sha256(text, strlen(text), hex);
    return apr_pstrcat(p, "p:", index->ns, ":u:", hex, NULL);
}

/** A session id is 64 hexadecimal digits; anything else never becomes part of a key. */
static int is_session(const char *session)
{
    return strlen(session) == PERSONA_SESSION_LEN - 1 &&
           strspn(session, "0123456789abcdef") == PERSONA_SESSION_LEN - 1;
}

apr_status_t persona_session_get(persona_index_t *index, const char *session, persona_record_t **record,
                                 apr_pool_t *p)
{
    const char *key, *text;
    apr_status_t rv;

    *record = NULL;
    if (!is_session(session)) {
        return APR_NOTFOUND;
    }
    key = record_key(index, session, p);
    rv = index->store->get(index->store, key, key, &text, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = persona_record_read(index, record, text, key, PERSONA_NO_GENERATION, p);
    if (rv == APR_SUCCESS && strcmp((*record)->session, session)) {
        *record = NULL;
        rv = APR_EACCES;
    }
    if (rv != APR_SUCCESS) {
        persona_log(PERSONA_LOG_WARNING, 0, "memcached has a session record that this site did not sign");
        return APR_EACCES;
    }
    return APR_SUCCESS;
}

apr_status_t persona_session_of_user(persona_index_t *index, const char *user, const char *app,
                                     const char **session, apr_pool_t *p)
{
    const char *key = user_key(index, user, app, p);
    apr_status_t rv = persona_index_get(index, key, key, PERSONA_NO_GENERATION, session, p);

    return rv == APR_SUCCESS && !is_session(*session) ? APR_EACCES : rv;
}

/** Put the entry of (user, app). APR_EEXIST: it leads to another session that has a record, *winner. */
static apr_status_t add_user(persona_index_t *index, const persona_record_t *record, persona_record_t **winner,
                             apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *key = user_key(index, record->user, record->app, p);
    const char *value = persona_index_seal(index, key, PERSONA_NO_GENERATION, record->session, p);
    apr_status_t rv = store->add(store, key, key, value, RECORD_TTL);
    const char *session;

    if (rv != APR_EEXIST) {
        return rv;
    }
    rv = persona_session_of_user(index, record->user, record->app, &session, p);
    if (rv == APR_SUCCESS && !strcmp(session, record->session)) {
        return APR_SUCCESS;
    }
    if (rv == APR_SUCCESS && persona_session_get(index, session, winner, p) == APR_SUCCESS) {
        return APR_EEXIST;
    }
    /* Forged, gone meanwhile, or of a session that has no record: it leads nowhere. */
    return rv == APR_SUCCESS || rv == APR_EACCES || rv == APR_NOTFOUND
               ? store->set(store, key, key, value, RECORD_TTL)
               : rv;
}

apr_status_t persona_session_add(persona_index_t *index, const persona_record_t *record,
                                 persona_record_t **winner, apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *key, *value;
    apr_status_t rv;

    *winner = NULL;
    if (!is_session(record->session)) {
        return APR_EINVAL;
    }
    if (*record->user) {
        rv = add_user(index, record, winner, p);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    key = record_key(index, record->session, p);
    value = persona_record_write(index, record, key, PERSONA_NO_GENERATION, p);
    rv = store->add(store, key, key, value, RECORD_TTL);
    if (rv != APR_EEXIST) {
        return rv;
    }
    rv = persona_session_get(index, record->session, winner, p);
    if (rv == APR_SUCCESS && strcmp((*winner)->instance, record->instance)) {
        return APR_EEXIST;
    }
    *winner = NULL;
    return rv == APR_SUCCESS || rv == APR_EACCES || rv == APR_NOTFOUND
               ? store->set(store, key, key, value, RECORD_TTL)
               : rv;
}

apr_status_t persona_session_renew(persona_index_t *index, const persona_record_t *record, apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *key = record_key(index, record->session, p);
    apr_status_t rv = store->set(store, key, key,
                                 persona_record_write(index, record, key, PERSONA_NO_GENERATION, p), RECORD_TTL);

    if (rv == APR_SUCCESS && *record->user) {
        key = user_key(index, record->user, record->app, p);
        rv = store->set(store, key, key,
                        persona_index_seal(index, key, PERSONA_NO_GENERATION, record->session, p), RECORD_TTL);
    }
    return rv;
}

apr_status_t persona_session_remove(persona_index_t *index, const persona_record_t *record, const char *reason,
                                    apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *key = note_key(index, record->session, p), *session;
    apr_status_t rv, first;

    first = store->set(store, key, key,
                       persona_index_seal(index, key, PERSONA_NO_GENERATION, reason ? reason : "", p), NOTE_TTL);
    key = record_key(index, record->session, p);
    rv = store->remove(store, key, key);
    if (first == APR_SUCCESS && rv != APR_NOTFOUND) {
        first = rv;
    }
    if (record->user && *record->user &&
        persona_session_of_user(index, record->user, record->app, &session, p) == APR_SUCCESS &&
        !strcmp(session, record->session)) {
        key = user_key(index, record->user, record->app, p);
        rv = store->remove(store, key, key);
        if (first == APR_SUCCESS && rv != APR_NOTFOUND) {
            first = rv;
        }
    }
    return first;
}

apr_status_t persona_session_ended(persona_index_t *index, const char *session, const char **reason,
                                   apr_pool_t *p)
{
    const char *key;

    *reason = NULL;
    if (!is_session(session)) {
        return APR_NOTFOUND;
    }
    key = note_key(index, session, p);
    return persona_index_get(index, key, key, PERSONA_NO_GENERATION, reason, p);
}

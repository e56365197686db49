/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file index.c
 * @brief Keys and signed values of the shared index.
 */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "index.h"

#define COMPLAIN_EVERY apr_time_from_sec(60)
#define MAC_LEN (PERSONA_HEX256_LEN - 1)

apr_status_t persona_index_create(persona_index_t **out, persona_store_t *store, const char *ns,
                                  const char *const keys[2], apr_pool_t *p)
{
    persona_index_t *index;
    apr_status_t rv;

    if (!keys[0] || !*keys[0] || strlen(ns) > 32) {
        return APR_EINVAL;
    }
    index = apr_pcalloc(p, sizeof(*index));
    index->store = store;
    index->ns = apr_pstrdup(p, ns);
    index->keys[0] = apr_pstrdup(p, keys[0]);
    index->keys[1] = keys[1] && *keys[1] ? apr_pstrdup(p, keys[1]) : NULL;
    index->looks = apr_hash_make(p);
    index->pool = p;
    rv = apr_thread_mutex_create(&index->mutex, APR_THREAD_MUTEX_DEFAULT, p);
    *out = index;
    return rv;
}

/* ---- signed values ---- */

static void mac_of(const char *site_key, const char *text, const char *key, const char *generation, char *mac,
                   apr_pool_t *p)
{
    /* Neither keys nor generations hold a line feed, so the three cannot be shifted against each other. */
    const char *all = apr_pstrcat(p, key, "\n", generation, "\n", text, NULL);

    persona_hmac(site_key, strlen(site_key), all, strlen(all), mac);
}

const char *persona_index_sign(const persona_index_t *index, const char *text, const char *key,
                               const char *generation, apr_pool_t *p)
{
    char mac[PERSONA_HEX256_LEN];

    mac_of(index->keys[0], text, key, generation, mac, p);
    return apr_pstrcat(p, mac, " ", text, NULL);
}

int persona_index_current(const persona_index_t *index, const char *value, const char *key, const char *generation,
                          apr_pool_t *p)
{
    const apr_size_t len = strlen(value);

    return len > MAC_LEN
           && strcmp(persona_index_sign(index, value + MAC_LEN + 1, key, generation, p), value) == 0;
}

static void complain(const persona_index_t *index, const char *key)
{
    persona_index_t *remembering = (persona_index_t *)index;
    apr_time_t now = apr_time_now();
    int due;

    apr_thread_mutex_lock(index->mutex);
    due = now - index->complained >= COMPLAIN_EVERY;
    if (due) {
        remembering->complained = now;
    }
    apr_thread_mutex_unlock(index->mutex);
    if (due) {
        persona_log(PERSONA_LOG_WARNING, 0, "memcached: the value of \"%s\" was not written by this site, or for "
                    "another key; it is ignored. Do all gateways have the same PersonaSecretFile?", key);
    }
}

const char *persona_index_verify(const persona_index_t *index, const char *value, const char *key,
                                 const char *generation)
{
    char mac[PERSONA_HEX256_LEN], given[PERSONA_HEX256_LEN];
    const char *text = NULL;
    apr_pool_t *scratch;
    int i;

    if (strlen(value) > MAC_LEN && value[MAC_LEN] == ' '
        && apr_pool_create(&scratch, NULL) == APR_SUCCESS) {
        apr_cpystrn(given, value, sizeof(given));
        for (i = 0; i < 2 && !text; i++) {
            if (index->keys[i]) {
                mac_of(index->keys[i], value + MAC_LEN + 1, key, generation, mac, scratch);
                text = persona_hex_equal(mac, given) ? value + MAC_LEN + 1 : NULL;
            }
        }
        apr_pool_destroy(scratch);
    }
    if (!text) {
        complain(index, key);
    }
    return text;
}

const char *persona_index_generation(const persona_index_t *index, const char *value, const char *key)
{
    const char *text = value ? persona_index_verify(index, value, key, PERSONA_NO_GENERATION) : NULL;

    return text && strlen(text) == PERSONA_GENERATION_LEN - 1
               && strspn(text, "0123456789abcdef") == PERSONA_GENERATION_LEN - 1 ? text : NULL;
}

persona_slot_e persona_index_slot(const persona_index_t *index, const char *value, const char *key,
                                  const char *generation, persona_record_t **record, apr_pool_t *p)
{
    const char *text;
    json_t *json;
    apr_status_t rv;

    *record = NULL;
    if (!value) {
        return PERSONA_SLOT_EMPTY;
    }
    text = persona_index_verify(index, value, key, generation);
    if (!text || *text != '{') {
        return PERSONA_SLOT_DEAD;
    }
    json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    rv = persona_record_from_json(record, json, p);
    json_decref(json);
    return rv == APR_SUCCESS ? PERSONA_SLOT_INSTANCE : PERSONA_SLOT_DEAD;
}

/* ---- heartbeats ---- */

const char *persona_beat_write(const persona_index_t *index, const persona_waiter_t *waiter, const char *key,
                               const char *generation, apr_pool_t *p)
{
    const char *text = apr_psprintf(p, "%s %" APR_TIME_T_FMT " %" APR_TIME_T_FMT, waiter->session, waiter->arrived,
                                    waiter->seen);

    return persona_index_sign(index, text, key, generation, p);
}

apr_status_t persona_beat_read(const persona_index_t *index, persona_waiter_t *waiter, const char *value,
                               const char *key, const char *generation, apr_pool_t *p)
{
    const char *text = persona_index_verify(index, value, key, generation);
    char *session, *arrived, *seen;

    if (!text) {
        return APR_EACCES;
    }
    session = apr_pstrdup(p, text);
    arrived = strchr(session, ' ');
    seen = arrived ? strchr(arrived + 1, ' ') : NULL;
    if (!seen) {
        return APR_EINVAL;
    }
    *arrived++ = '\0';
    *seen++ = '\0';
    waiter->session = session;
    waiter->arrived = apr_strtoi64(arrived, NULL, 10);
    waiter->seen = apr_strtoi64(seen, NULL, 10);
    return APR_SUCCESS;
}

/* ---- keys ---- */

const char *persona_index_part(const char *id, apr_pool_t *p)
{
    char hex[PERSONA_HEX256_LEN];
    const char *c;

    for (c = id; *c && c - id <= PERSONA_SESSION_LEN; c++) {
        if (!apr_isalnum(*c) && *c != '.' && *c != '_' && *c != '-') {
            break;
        }
    }
    if (*c == '\0' && c > id) {
        return id;
    }
    persona_sha256(id, strlen(id), hex);
    return apr_pstrcat(p, "=", hex, NULL);
}

const char *persona_index_group(const persona_index_t *index, const char *persona_id, apr_pool_t *p)
{
    return apr_pstrcat(p, index->ns, ":", persona_index_part(persona_id, p), NULL);
}

static const char *key_of(const persona_index_t *index, const char *kind, const char *id, const char *more,
                          apr_pool_t *p)
{
    return apr_pstrcat(p, index->ns, ":", kind, ":", persona_index_part(id, p), more ? ":" : NULL, more, NULL);
}

const char *persona_key_generation(const persona_index_t *index, const char *persona_id, apr_pool_t *p)
{
    return key_of(index, "generation", persona_id, NULL, p);
}

const char *persona_key_planner(const persona_index_t *index, const char *persona_id, apr_pool_t *p)
{
    return key_of(index, "planner", persona_id, NULL, p);
}

const char *persona_key_head(const persona_index_t *index, const char *persona_id, const char *generation,
                             apr_pool_t *p)
{
    return key_of(index, "head", persona_id, generation, p);
}

const char *persona_key_tail(const persona_index_t *index, const char *persona_id, const char *generation,
                             apr_pool_t *p)
{
    return key_of(index, "tail", persona_id, generation, p);
}

const char *persona_key_slot(const persona_index_t *index, const char *persona_id, const char *generation,
                             apr_uint64_t ticket, apr_pool_t *p)
{
    return key_of(index, "slot", persona_id, apr_psprintf(p, "%s:%" APR_UINT64_T_FMT, generation, ticket), p);
}

const char *persona_key_beat(const persona_index_t *index, const char *persona_id, const char *generation,
                             apr_uint64_t ticket, apr_pool_t *p)
{
    return key_of(index, "beat", persona_id, apr_psprintf(p, "%s:%" APR_UINT64_T_FMT, generation, ticket), p);
}

const char *persona_key_wait(const persona_index_t *index, const char *persona_id, const char *session,
                             apr_pool_t *p)
{
    return key_of(index, "wait", persona_id, persona_index_part(session, p), p);
}

const char *persona_key_session(const persona_index_t *index, const char *session, apr_pool_t *p)
{
    return key_of(index, "session", session, NULL, p);
}

const char *persona_key_ended(const persona_index_t *index, const char *session, apr_pool_t *p)
{
    return key_of(index, "ended", session, NULL, p);
}

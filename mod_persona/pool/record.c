/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file record.c
 * @brief Records as signed JSON, and the sealing of everything that is put into the shared index.
 */
#include <string.h>

#include <apr_strings.h>

#include "persona/digest.h"
#include "pool/index.h"

#define MAC_LEN (PERSONA_HEX256_LEN - 1)

apr_status_t persona_index_create(persona_index_t **index, persona_store_t *store, const char *ns,
                                  const char *const keys[2], apr_pool_t *p)
{
    persona_index_t *ix;

    *index = NULL;
    if (!ns || !*ns || !keys[0]) {
        return APR_EINVAL;
    }
    ix = apr_pcalloc(p, sizeof(*ix));
    ix->store = store;
    ix->ns = apr_pstrdup(p, ns);
    ix->keys[0] = apr_pstrdup(p, keys[0]);
    ix->keys[1] = keys[1] ? apr_pstrdup(p, keys[1]) : NULL;
    ix->pool = p;
    ix->missing = apr_hash_make(p);
    *index = ix;
    return apr_thread_mutex_create(&ix->lock, APR_THREAD_MUTEX_DEFAULT, p);
}

typedef struct missing_t {
    apr_uint64_t ticket;
    apr_time_t since;
} missing_t;

int persona_index_missing(persona_index_t *index, const char *persona_id, apr_uint64_t n, apr_time_t now,
                          apr_interval_time_t patience)
{
    missing_t *missing;
    int gone;

    apr_thread_mutex_lock(index->lock);
    missing = apr_hash_get(index->missing, persona_id, APR_HASH_KEY_STRING);
    if (!missing) {
        missing = apr_pcalloc(index->pool, sizeof(*missing));
        apr_hash_set(index->missing, apr_pstrdup(index->pool, persona_id), APR_HASH_KEY_STRING, missing);
    }
    if (missing->ticket != n) {
        missing->ticket = n;
        missing->since = now;
    }
    gone = now - missing->since >= patience;
    apr_thread_mutex_unlock(index->lock);
    return gone;
}

static void mac_of(const char *site_key, const char *key, const char *generation, const char *body,
                   char mac[PERSONA_HEX256_LEN], apr_pool_t *p)
{
    const char *text = apr_pstrcat(p, key, "\n", generation, "\n", body, NULL);

    persona_hmac(site_key, strlen(site_key), text, strlen(text), mac);
}

const char *persona_index_seal(const persona_index_t *index, const char *key, const char *generation,
                               const char *body, apr_pool_t *p)
{
    char mac[PERSONA_HEX256_LEN];

    mac_of(index->keys[0], key, generation, body, mac, p);
    return apr_pstrcat(p, mac, " ", body, NULL);
}

const char *persona_index_open(const persona_index_t *index, const char *text, const char *key,
                               const char *generation, apr_pool_t *p)
{
    char mac[PERSONA_HEX256_LEN], given[PERSONA_HEX256_LEN];
    const char *body;
    int i;

    if (strlen(text) <= MAC_LEN || text[MAC_LEN] != ' ') {
        return NULL;
    }
    apr_cpystrn(given, text, sizeof(given));
    body = text + MAC_LEN + 1;
    for (i = 0; i < 2 && index->keys[i]; i++) {
        mac_of(index->keys[i], key, generation, body, mac, p);
        if (persona_hex_equal(mac, given)) {
            return body;
        }
    }
    return NULL;
}

apr_status_t persona_index_get(const persona_index_t *index, const char *group, const char *key,
                               const char *generation, const char **body, apr_pool_t *p)
{
    const char *text;
    apr_status_t rv = index->store->get(index->store, group, key, &text, p);

    *body = NULL;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    *body = persona_index_open(index, text, key, generation, p);
    if (!*body) {
        persona_log(PERSONA_LOG_WARNING, 0, "memcached has a value for %s that this site did not sign", key);
        return APR_EACCES;
    }
    return APR_SUCCESS;
}

json_t *persona_record_to_json(const persona_record_t *r)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:b, s:i, s:b, s:I, s:I, s:I, s:I, s:I}",
                     "instance", r->instance, "persona", r->persona_id, "app", r->app ? r->app : "", "compute",
                     r->compute, "fingerprint", r->fingerprint ? r->fingerprint : "", "session",
                     r->session ? r->session : "", "user", r->user ? r->user : "", "address",
                     r->address ? r->address : "", "port", r->port, "stream", (int)r->stream, "path",
                     r->path ? r->path : "", "pass_user", r->pass_user, "home", r->home, "cold", r->cold,
                     "started", (json_int_t)r->started, "expires", (json_int_t)r->expires, "ends",
                     (json_int_t)r->ends, "idle_timeout", (json_int_t)r->idle_timeout, "disconnect_timeout",
                     (json_int_t)r->disconnect_timeout);
}

apr_status_t persona_record_from_json(persona_record_t **record, const json_t *json, apr_pool_t *p)
{
    const char *instance, *persona, *app, *compute, *fingerprint, *session, *user, *address, *path;
    json_int_t started, expires, ends, idle, disconnect;
    int port, stream, pass_user, home, cold;
    persona_record_t *r;

    *record = NULL;
    if (json_unpack((json_t *)(uintptr_t)json,
                    "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:b, s:i, s:b, s:I, s:I, s:I, s:I, s:I}",
                    "instance", &instance, "persona", &persona, "app", &app, "compute", &compute, "fingerprint",
                    &fingerprint, "session", &session, "user", &user, "address", &address, "port", &port, "stream",
                    &stream, "path", &path, "pass_user", &pass_user, "home", &home, "cold", &cold, "started",
                    &started, "expires", &expires, "ends", &ends, "idle_timeout", &idle, "disconnect_timeout",
                    &disconnect) != 0) {
        return APR_EINVAL;
    }
    if (!persona_uuid_valid(instance) || port < 0 || port > 65535 || strlen(user) > PERSONA_USER_MAX ||
        (stream != PERSONA_STREAM_HTTP && stream != PERSONA_STREAM_VNC)) {
        return APR_EINVAL;
    }
    r = apr_pcalloc(p, sizeof(*r));
    r->instance = apr_pstrdup(p, instance);
    r->persona_id = apr_pstrdup(p, persona);
    r->app = apr_pstrdup(p, app);
    r->compute = apr_pstrdup(p, compute);
    r->fingerprint = apr_pstrdup(p, fingerprint);
    r->session = apr_pstrdup(p, session);
    r->user = apr_pstrdup(p, user);
    r->address = apr_pstrdup(p, address);
    r->path = apr_pstrdup(p, path);
    r->port = port;
    r->stream = (persona_stream_e)stream;
    r->pass_user = pass_user;
    r->home = home;
    r->cold = cold;
    r->started = started;
    r->expires = expires;
    r->ends = ends;
    r->idle_timeout = idle;
    r->disconnect_timeout = disconnect;
    *record = r;
    return APR_SUCCESS;
}

const char *persona_record_write(const persona_index_t *index, const persona_record_t *record, const char *key,
                                 const char *generation, apr_pool_t *p)
{
    json_t *json = persona_record_to_json(record);
    char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;
    const char *text = body ? persona_index_seal(index, key, generation, body, p) : NULL;

    free(body);
    json_decref(json);
    return text;
}

apr_status_t persona_record_read(const persona_index_t *index, persona_record_t **record, const char *text,
                                 const char *key, const char *generation, apr_pool_t *p)
{
    const char *body = persona_index_open(index, text, key, generation, p);
    json_t *json;
    apr_status_t rv;

    *record = NULL;
    if (!body) {
        return APR_EACCES;
    }
    json = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    rv = json ? persona_record_from_json(record, json, p) : APR_EINVAL;
    json_decref(json);
    return rv;
}

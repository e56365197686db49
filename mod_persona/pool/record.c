/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file record.c
 * @brief The record of an instance or a session, as JSON and as a signed text of the shared index.
 *
 * A record that was read is complete and within its limits: strings are never NULL, the address is numeric, the
 * instance is a uuid, the session is "" or 64 hexadecimal digits. Address and path may be "", where they are not
 * known or not needed.
 */
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include <apr_strings.h>

#include "index.h"

json_t *persona_record_to_json(const persona_record_t *r)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:b, s:i, s:b, s:I, s:I, s:I, s:I, s:I}",
                     "instance", r->instance, "persona", r->persona_id, "app", r->app ? r->app : "",
                     "compute", r->compute, "fingerprint", r->fingerprint ? r->fingerprint : "",
                     "session", r->session ? r->session : "", "user", r->user ? r->user : "",
                     "address", r->address ? r->address : "", "port", r->port, "stream", (int)r->stream,
                     "path", r->path ? r->path : "", "pass_user", r->pass_user, "home", r->home, "cold", r->cold,
                     "started", (json_int_t)r->started, "expires", (json_int_t)r->expires,
                     "ends", (json_int_t)r->ends, "idle_timeout", (json_int_t)r->idle_timeout,
                     "disconnect_timeout", (json_int_t)r->disconnect_timeout);
}

static int numeric_address(const char *address)
{
    struct in6_addr six;
    struct in_addr four;

    return *address == '\0' || inet_pton(AF_INET, address, &four) == 1 || inet_pton(AF_INET6, address, &six) == 1;
}

static int session_valid(const char *session)
{
    return *session == '\0' || (strlen(session) == PERSONA_SESSION_LEN - 1
                                && strspn(session, "0123456789abcdef") == PERSONA_SESSION_LEN - 1);
}

static int record_valid(const persona_record_t *r)
{
    return persona_uuid_valid(r->instance) && strlen(r->persona_id) <= PERSONA_NAME_MAX && *r->persona_id
           && strlen(r->app) <= PERSONA_NAME_MAX && strlen(r->compute) <= PERSONA_NAME_MAX
           && strlen(r->fingerprint) < PERSONA_SESSION_LEN && session_valid(r->session)
           && strlen(r->user) <= PERSONA_USER_MAX && numeric_address(r->address) && r->port >= 0 && r->port <= 65535
           && (r->stream == PERSONA_STREAM_HTTP || r->stream == PERSONA_STREAM_VNC) && (r->path[0] == '/' || !*r->path)
           && strlen(r->path) <= 1024 && r->home >= 0 && r->home <= 3;
}

apr_status_t persona_record_from_json(persona_record_t **record, const json_t *json, apr_pool_t *p)
{
    persona_record_t *r = apr_pcalloc(p, sizeof(*r));
    json_int_t started, expires, ends, idle, disconnect;
    int stream;

    /* json_unpack reads and does not keep or change the object. */
    if (!json || json_unpack((json_t *)json,
                             "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:b, s:i, s:b, s:I, s:I, s:I, "
                             "s:I, s:I}",
                             "instance", &r->instance, "persona", &r->persona_id, "app", &r->app,
                             "compute", &r->compute, "fingerprint", &r->fingerprint, "session", &r->session,
                             "user", &r->user, "address", &r->address, "port", &r->port, "stream", &stream,
                             "path", &r->path, "pass_user", &r->pass_user, "home", &r->home, "cold", &r->cold,
                             "started", &started, "expires", &expires, "ends", &ends, "idle_timeout", &idle,
                             "disconnect_timeout", &disconnect) != 0) {
        return APR_EINVAL;
    }
    r->stream = (persona_stream_e)stream;
    r->started = started;
    r->expires = expires;
    r->ends = ends;
    r->idle_timeout = idle;
    r->disconnect_timeout = disconnect;
    if (!record_valid(r)) {
        return APR_EINVAL;
    }
    r->instance = apr_pstrdup(p, r->instance);
    r->persona_id = apr_pstrdup(p, r->persona_id);
    r->app = apr_pstrdup(p, r->app);
    r->compute = apr_pstrdup(p, r->compute);
    r->fingerprint = apr_pstrdup(p, r->fingerprint);
    r->session = apr_pstrdup(p, r->session);
    r->user = apr_pstrdup(p, r->user);
    r->address = apr_pstrdup(p, r->address);
    r->path = apr_pstrdup(p, r->path);
    *record = r;
    return APR_SUCCESS;
}

const char *persona_record_write(const persona_index_t *index, const persona_record_t *record, const char *key,
                                 const char *generation, apr_pool_t *p)
{
    json_t *json = persona_record_to_json(record);
    char *dump = json ? json_dumps(json, JSON_COMPACT) : NULL;
    const char *text = dump ? persona_index_sign(index, dump, key, generation, p) : NULL;

    free(dump);
    json_decref(json);
    return text;
}

apr_status_t persona_record_read(const persona_index_t *index, persona_record_t **record, const char *text,
                                 const char *key, const char *generation, apr_pool_t *p)
{
    const char *body = persona_index_verify(index, text, key, generation);
    json_t *json;
    apr_status_t rv;

    if (!body) {
        return APR_EACCES;
    }
    json = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    rv = persona_record_from_json(record, json, p);
    json_decref(json);
    return rv;
}

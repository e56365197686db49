/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file memcached.c
 * @brief The shared index in memcached, over libmemcached.
 *
 * A memcached_st serves one thread at a time, so each call takes one from a memcached_pool_st and gives it back.
 * `mutex` guards the count of those taken and the breakers; no network call is made under it.
 *
 * A server that failed or did not answer has its breaker open for RETRY_AFTER: calls for its keys fail at once
 * with the same status, and then one call at a time tries again. So a frozen server costs one caller one timeout in
 * a while, and not each caller its whole time. The ASCII protocol is used, and no server is ever ejected: keys
 * that move to another server would be a second truth.
 */
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <libmemcached/memcached.h>
#include <libmemcachedutil-1.0/pool.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>

#include "persona.h"
#include "store.h"

#define DEFAULT_PORT 11211
#define SERVERS_MAX 32
#define HANDLES_MAX 64
#define UNIX_PATH_MAX 107
/** Keys of one get_many() on the wire at once. */
#define BATCH 64
#define RETRY_AFTER apr_time_from_sec(1)

/** One server as PersonaMemcached names it. */
typedef struct server_name_t {
    const char *name; /**< as written */
    const char *host; /**< or the path of a unix socket */
    int port;         /**< 0: unix socket */
} server_name_t;

typedef struct breaker_t {
    apr_status_t status;  /**< APR_SUCCESS: closed */
    apr_time_t until;     /**< no call before */
} breaker_t;

typedef struct memcached_store_t {
    persona_store_t store; /**< first, so that a persona_store_t * is one of these */
    apr_pool_t *pool;
    apr_interval_time_t timeout;
    memcached_pool_st *handles;
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *returned;
    int taken;
    int server_count;
    server_name_t servers[SERVERS_MAX];
    breaker_t breakers[SERVERS_MAX];
} memcached_store_t;

/* ---- PersonaMemcached ---- */

static int host_valid(const char *host)
{
    struct in6_addr address;
    const char *c;

    if (strchr(host, ':')) {
        return inet_pton(AF_INET6, host, &address) == 1;
    }
    for (c = host; *c; c++) {
        if (!apr_isalnum(*c) && *c != '.' && *c != '-' && *c != '_') {
            return 0;
        }
    }
    return c > host && c - host <= 255;
}

/** "host:port", "[address]:port"; NULL, or what is wrong. */
static const char *parse_server(const char *text, server_name_t *server, apr_pool_t *p)
{
    char *host = apr_pstrdup(p, text);
    char *colon = strrchr(host, ':');
    char *end;
    int bracketed = host[0] == '[';
    apr_int64_t port;

    if (!colon || (bracketed && colon[-1] != ']')) {
        return apr_psprintf(p, "\"%s\" has no port: write \"%s:%d\"", text, text, DEFAULT_PORT);
    }
    *colon = '\0';
    if (bracketed) {
        host++;
        colon[-1] = '\0';
    }
    else if (strchr(host, ':')) {
        return apr_psprintf(p, "\"%s\": an IPv6 address stands in brackets, as in \"[::1]:%d\"", text, DEFAULT_PORT);
    }
    if (!host_valid(host) || (bracketed && !strchr(host, ':'))) {
        return apr_psprintf(p, "\"%s\": \"%s\" is neither a host name nor an address", text, host);
    }
    port = apr_isdigit(colon[1]) ? apr_strtoi64(colon + 1, &end, 10) : 0;
    if (port < 1 || port > 65535 || *end != '\0') {
        return apr_psprintf(p, "\"%s\": the port must be a number from 1 to 65535, as in \"%s:%d\"", text, host,
                            DEFAULT_PORT);
    }
    server->name = text;
    server->host = host;
    server->port = (int)port;
    return NULL;
}

/** All servers; NULL, or what is wrong with the first that is. */
static const char *parse_servers(const char *text, server_name_t *servers, int *count, apr_pool_t *p)
{
    char *rest = apr_pstrdup(p, text ? text : "");

    *count = 0;
    if (rest[0] == '/') {
        if (strlen(rest) > UNIX_PATH_MAX) {
            return apr_psprintf(p, "the path of a unix socket has at most %d bytes, this one has %" APR_SIZE_T_FMT,
                                UNIX_PATH_MAX, strlen(rest));
        }
        servers[0].name = servers[0].host = rest;
        servers[0].port = 0;
        *count = 1;
        return NULL;
    }
    while (rest) {
        char *comma = strchr(rest, ',');
        const char *error;

        if (comma) {
            *comma = '\0';
        }
        if (rest[0] == '\0') {
            return "a server is missing: write \"host:port\", \"host:port,host:port\" or \"/path/of/a/socket\"";
        }
        if (rest[0] == '/') {
            return "a unix socket stands alone: several servers are named as \"host:port,host:port\"";
        }
        if (*count == SERVERS_MAX) {
            return apr_psprintf(p, "more than %d servers", SERVERS_MAX);
        }
        error = parse_server(rest, &servers[*count], p);
        if (error) {
            return error;
        }
        ++*count;
        rest = comma ? comma + 1 : NULL;
    }
    return NULL;
}

const char *persona_store_memcached_check(const char *servers, apr_pool_t *p)
{
    server_name_t names[SERVERS_MAX];
    int count;

    return parse_servers(servers, names, &count, p);
}

/* ---- handles and breakers ---- */

/** What a libmemcached result means; *server_fault tells whether the server failed, not the request. */
static apr_status_t status_of(memcached_return_t rc, int *server_fault)
{
    *server_fault = 0;
    switch (rc) {
    case MEMCACHED_SUCCESS:
    case MEMCACHED_STORED:
    case MEMCACHED_DELETED:
    case MEMCACHED_END:
        return APR_SUCCESS;
    case MEMCACHED_NOTFOUND:
        return APR_NOTFOUND;
    case MEMCACHED_NOTSTORED:
    case MEMCACHED_DATA_EXISTS:
        return APR_EEXIST;
    case MEMCACHED_BAD_KEY_PROVIDED:
    case MEMCACHED_KEY_TOO_BIG:
    case MEMCACHED_E2BIG:
    case MEMCACHED_INVALID_ARGUMENTS:
        return APR_EINVAL;
    case MEMCACHED_SERVER_MEMORY_ALLOCATION_FAILURE:
        return APR_ENOMEM;
    case MEMCACHED_CLIENT_ERROR:
    case MEMCACHED_SERVER_ERROR:
        return APR_EGENERAL;
    case MEMCACHED_TIMEOUT:
    case MEMCACHED_IN_PROGRESS:
        *server_fault = 1;
        return APR_TIMEUP;
    default:
        *server_fault = 1;
        return APR_ECONNREFUSED;
    }
}

/** Take a handle and the right to call the group's server. */
static apr_status_t call_begin(memcached_store_t *m, const char *group, memcached_st **handle, int *server)
{
    apr_time_t now = apr_time_now();
    apr_time_t deadline = now + m->timeout / 2;
    memcached_return_t rc;
    breaker_t *breaker;
    apr_status_t rv = APR_SUCCESS;

    apr_thread_mutex_lock(m->mutex);
    while (m->taken >= HANDLES_MAX && (now = apr_time_now()) < deadline) {
        apr_thread_cond_timedwait(m->returned, m->mutex, deadline - now);
    }
    *handle = m->taken < HANDLES_MAX ? memcached_pool_fetch(m->handles, NULL, &rc) : NULL;
    if (!*handle) {
        apr_thread_mutex_unlock(m->mutex);
        return APR_TIMEUP;
    }
    *server = m->server_count > 1 ? (int)memcached_generate_hash(*handle, group, strlen(group)) : 0;
    breaker = &m->breakers[*server];
    now = apr_time_now();
    if (breaker->status != APR_SUCCESS && now < breaker->until) {
        rv = breaker->status;
        memcached_pool_release(m->handles, *handle);
    }
    else {
        if (breaker->status != APR_SUCCESS) {
            breaker->until = now + m->timeout; /* this call tries; others wait for what it finds */
        }
        m->taken++;
    }
    apr_thread_mutex_unlock(m->mutex);
    return rv;
}

/** Give the handle back, with the outcome: sets the server's breaker, and logs where it changed. */
static apr_status_t call_end(memcached_store_t *m, memcached_st *handle, int server, memcached_return_t rc)
{
    breaker_t *breaker = &m->breakers[server];
    int fault;
    apr_status_t rv = status_of(rc, &fault), before;

    apr_thread_mutex_lock(m->mutex);
    before = breaker->status;
    breaker->status = fault ? rv : APR_SUCCESS;
    if (fault) {
        breaker->until = apr_time_now() + RETRY_AFTER;
    }
    memcached_pool_release(m->handles, handle);
    m->taken--;
    apr_thread_cond_signal(m->returned);
    apr_thread_mutex_unlock(m->mutex);
    if (fault && before == APR_SUCCESS) {
        persona_log(PERSONA_LOG_ERR, rv, "memcached %s cannot be used (%s): claims of its personas go to the "
                    "persona manager until it answers", m->servers[server].name, memcached_strerror(NULL, rc));
    }
    else if (!fault && before != APR_SUCCESS) {
        persona_log(PERSONA_LOG_NOTICE, 0, "memcached %s answers again", m->servers[server].name);
    }
    return rv;
}

/* ---- the store's functions ---- */

static apr_status_t mc_get_batch(memcached_store_t *m, const char *group, const char *const *keys, int count,
                                 const char **values, apr_pool_t *p)
{
    size_t lengths[BATCH];
    memcached_result_st result;
    memcached_st *handle;
    memcached_return_t rc;
    int i, server;
    apr_status_t rv = call_begin(m, group, &handle, &server);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (i = 0; i < count; i++) {
        lengths[i] = strlen(keys[i]);
        values[i] = NULL;
    }
    rc = memcached_mget_by_key(handle, group, strlen(group), keys, lengths, (size_t)count);
    memcached_result_create(handle, &result);
    while (rc == MEMCACHED_SUCCESS && memcached_fetch_result(handle, &result, &rc)) {
        const char *key = memcached_result_key_value(&result);
        size_t key_len = memcached_result_key_length(&result);
        size_t len = memcached_result_length(&result);

        for (i = 0; i < count; i++) {
            if (lengths[i] == key_len && memcmp(keys[i], key, key_len) == 0) {
                /* What no one of us wrote is no value, and is not worth a copy. */
                values[i] = len > PERSONA_STORE_VALUE_MAX ? ""
                                                          : apr_pstrmemdup(p, memcached_result_value(&result), len);
            }
        }
    }
    memcached_result_free(&result);
    return call_end(m, handle, server, rc == MEMCACHED_NOTFOUND ? MEMCACHED_END : rc);
}

static apr_status_t mc_get_many(persona_store_t *s, const char *group, const char *const *keys, int count,
                                const char **values, apr_pool_t *p)
{
    memcached_store_t *m = (memcached_store_t *)s;
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; rv == APR_SUCCESS && i < count; i++) {
        rv = persona_store_check(group, keys[i], NULL);
    }
    for (i = 0; rv == APR_SUCCESS && i < count; i += BATCH) {
        rv = mc_get_batch(m, group, keys + i, count - i < BATCH ? count - i : BATCH, values + i, p);
    }
    return rv;
}

static apr_status_t mc_get(persona_store_t *s, const char *group, const char *key, const char **value, apr_pool_t *p)
{
    apr_status_t rv = mc_get_many(s, group, &key, 1, value, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    return *value ? APR_SUCCESS : APR_NOTFOUND;
}

typedef memcached_return_t store_fn(memcached_st *, const char *, size_t, const char *, size_t, const char *, size_t,
                                    time_t, uint32_t);

static apr_status_t mc_store(persona_store_t *s, store_fn *fn, const char *group, const char *key, const char *value,
                             int ttl)
{
    memcached_store_t *m = (memcached_store_t *)s;
    memcached_st *handle;
    int server;
    apr_status_t rv = persona_store_check(group, key, value);

    if (rv == APR_SUCCESS) {
        rv = call_begin(m, group, &handle, &server);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    return call_end(m, handle, server,
                    fn(handle, group, strlen(group), key, strlen(key), value, strlen(value), ttl, 0));
}

static apr_status_t mc_add(persona_store_t *s, const char *group, const char *key, const char *value, int ttl)
{
    return mc_store(s, memcached_add_by_key, group, key, value, ttl);
}

static apr_status_t mc_set(persona_store_t *s, const char *group, const char *key, const char *value, int ttl)
{
    return mc_store(s, memcached_set_by_key, group, key, value, ttl);
}

static apr_status_t mc_incr(persona_store_t *s, const char *group, const char *key, apr_uint64_t *value)
{
    memcached_store_t *m = (memcached_store_t *)s;
    memcached_st *handle;
    memcached_return_t rc;
    uint64_t number = 0;
    int server;
    apr_status_t rv = persona_store_check(group, key, NULL);

    if (rv == APR_SUCCESS) {
        rv = call_begin(m, group, &handle, &server);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rc = memcached_increment_by_key(handle, group, strlen(group), key, strlen(key), 1, &number);
    *value = number;
    return call_end(m, handle, server, rc);
}

static apr_status_t mc_remove(persona_store_t *s, const char *group, const char *key)
{
    memcached_store_t *m = (memcached_store_t *)s;
    memcached_st *handle;
    int server;
    apr_status_t rv = persona_store_check(group, key, NULL);

    if (rv == APR_SUCCESS) {
        rv = call_begin(m, group, &handle, &server);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    return call_end(m, handle, server, memcached_delete_by_key(handle, group, strlen(group), key, strlen(key), 0));
}

/* ---- open and close ---- */

static apr_status_t mc_cleanup(void *data)
{
    memcached_store_t *m = data;

    memcached_free(memcached_pool_destroy(m->handles));
    return APR_SUCCESS;
}

static void mc_close(persona_store_t *s)
{
    apr_pool_destroy(((memcached_store_t *)s)->pool);
}

/** The handle that all others are copied from; NULL: libmemcached refuses. */
static memcached_st *master_handle(const memcached_store_t *m)
{
    apr_interval_time_t half = apr_time_as_msec(m->timeout) / 2;
    uint64_t wait = half > 1 ? (uint64_t)half : 1;
    memcached_st *master = memcached_create(NULL);
    memcached_return_t rc = master ? MEMCACHED_SUCCESS : MEMCACHED_MEMORY_ALLOCATION_FAILURE;
    int i;

    for (i = 0; rc == MEMCACHED_SUCCESS && i < m->server_count; i++) {
        rc = m->servers[i].port ? memcached_server_add(master, m->servers[i].host, (in_port_t)m->servers[i].port)
                                : memcached_server_add_unix_socket(master, m->servers[i].host);
    }
    if (rc == MEMCACHED_SUCCESS) {
        memcached_behavior_set(master, MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, 0);
        memcached_behavior_set(master, MEMCACHED_BEHAVIOR_AUTO_EJECT_HOSTS, 0);
        memcached_behavior_set(master, MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
        memcached_behavior_set(master, MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, wait);
        memcached_behavior_set(master, MEMCACHED_BEHAVIOR_POLL_TIMEOUT, wait);
        /* The breakers here decide when a server is tried again, the same for all handles. */
        memcached_behavior_set(master, MEMCACHED_BEHAVIOR_RETRY_TIMEOUT, 0);
        memcached_behavior_set(master, MEMCACHED_BEHAVIOR_KETAMA, m->server_count > 1);
        return master;
    }
    if (master) {
        memcached_free(master);
    }
    return NULL;
}

apr_status_t persona_store_memcached_open(persona_store_t **s, const char *servers, apr_interval_time_t timeout,
                                          apr_pool_t *p)
{
    static const persona_store_t functions = {
        "memcached", mc_get, mc_add, mc_set, mc_incr, mc_remove, mc_get_many, mc_close
    };
    memcached_store_t *m;
    memcached_st *master;
    apr_pool_t *pool;
    apr_status_t rv = apr_pool_create(&pool, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    m = apr_pcalloc(pool, sizeof(*m));
    m->store = functions;
    m->pool = pool;
    m->timeout = timeout;
    if (parse_servers(servers, m->servers, &m->server_count, pool)) {
        rv = APR_EINVAL;
    }
    if (rv == APR_SUCCESS) {
        rv = apr_thread_mutex_create(&m->mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_thread_cond_create(&m->returned, pool);
    }
    if (rv == APR_SUCCESS) {
        master = master_handle(m);
        m->handles = master ? memcached_pool_create(master, 1, HANDLES_MAX) : NULL;
        rv = m->handles ? APR_SUCCESS : APR_EGENERAL;
    }
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return rv;
    }
    apr_pool_cleanup_register(pool, m, mc_cleanup, apr_pool_cleanup_null);
    *s = &m->store;
    return APR_SUCCESS;
}

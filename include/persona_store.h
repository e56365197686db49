/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file persona_store.h
 * @brief The shared index: a small evictable key-value store with memcached's semantics.
 *
 * Everything in it may vanish, be old, or be forged at any time; nothing depends on it for safety.
 * All keys that belong together (one persona's pool) are given the same `group`, so that they live on
 * one server. Keys are printable ASCII without blanks, at most 200 bytes; values at most 8 KiB.
 *
 * THREADS: all functions may be called by any thread of the process that opened the store; open it
 * after fork. No call lasts longer than the timeout given at open.
 *
 * STATUS: APR_SUCCESS; APR_NOTFOUND: no such key; APR_EEXIST: add() lost; APR_TIMEUP: no answer
 * in time; any other: the server cannot be used now.
 */
#ifndef PERSONA_STORE_H
#define PERSONA_STORE_H

#include <apr_pools.h>
#include <apr_time.h>

typedef struct persona_store_t persona_store_t;

struct persona_store_t {
    const char *name;
    /** The value, NUL-terminated, in p. */
    apr_status_t (*get)(persona_store_t *s, const char *group, const char *key, const char **value, apr_pool_t *p);
    /** ttl in whole seconds; 0: never expires. */
    apr_status_t (*add)(persona_store_t *s, const char *group, const char *key, const char *value, int ttl);
    apr_status_t (*set)(persona_store_t *s, const char *group, const char *key, const char *value, int ttl);
    /** Plain increment: APR_NOTFOUND where the counter does not exist; never creates it. */
    apr_status_t (*incr)(persona_store_t *s, const char *group, const char *key, apr_uint64_t *value);
    apr_status_t (*remove)(persona_store_t *s, const char *group, const char *key);
    /** Reads many at once: values[i] is NULL where there is none. */
    apr_status_t (*get_many)(persona_store_t *s, const char *group, const char *const *keys, int count,
                             const char **values, apr_pool_t *p);
    void (*close)(persona_store_t *s);
};

/** `servers` as in PersonaMemcached: "host:port[,host:port...]" or a unix socket's path. NULL, or what is
 * wrong with it and what would be right. */
const char *persona_store_memcached_check(const char *servers, apr_pool_t *p);
apr_status_t persona_store_memcached_open(persona_store_t **s, const char *servers, apr_interval_time_t timeout,
                                          apr_pool_t *p);
/** In this process only; for unit tests and for a single gateway without memcached. */
apr_status_t persona_store_memory_open(persona_store_t **s, apr_pool_t *p);

#endif

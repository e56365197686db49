/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file memory.c
 * @brief A store in this process alone: for unit tests, and for one gateway without memcached.
 *
 * Keys and values are malloc'ed, because they come and go for as long as the process lives; `mutex` guards all.
 * Keys are unique over all groups by the way they are made, so the group says nothing here.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>

#include "persona_store.h"
#include "store.h"

typedef struct memory_item_t {
    char *key, *value;
    apr_time_t expires; /**< 0: never */
} memory_item_t;

typedef struct memory_store_t {
    persona_store_t store; /**< first, so that a persona_store_t * is one of these */
    apr_pool_t *pool;      /**< the mutex and the hash live in it */
    apr_thread_mutex_t *mutex;
    apr_hash_t *items;
} memory_store_t;

static void item_drop(memory_store_t *m, memory_item_t *item)
{
    apr_hash_set(m->items, item->key, APR_HASH_KEY_STRING, NULL);
    free(item->key);
    free(item->value);
    free(item);
}

/** The living item, or NULL; under the mutex, as all item functions. */
static memory_item_t *item_find(memory_store_t *m, const char *key)
{
    memory_item_t *item = apr_hash_get(m->items, key, APR_HASH_KEY_STRING);

    if (item && item->expires && item->expires <= apr_time_now()) {
        item_drop(m, item);
        item = NULL;
    }
    return item;
}

static apr_status_t item_put(memory_store_t *m, const char *key, const char *value, int ttl)
{
    memory_item_t *item = item_find(m, key);
    char *copy = strdup(value);

    if (!copy) {
        return APR_ENOMEM;
    }
    if (!item) {
        item = calloc(1, sizeof(*item));
        if (!item || !(item->key = strdup(key))) {
            free(item);
            free(copy);
            return APR_ENOMEM;
        }
        apr_hash_set(m->items, item->key, APR_HASH_KEY_STRING, item);
    }
    free(item->value);
    item->value = copy;
    item->expires = ttl > 0 ? apr_time_now() + apr_time_from_sec(ttl) : 0;
    return APR_SUCCESS;
}

static apr_status_t memory_get_many(persona_store_t *s, const char *group, const char *const *keys, int count,
                                    const char **values, apr_pool_t *p)
{
    memory_store_t *m = (memory_store_t *)s;
    int i;

    (void)group;
    apr_thread_mutex_lock(m->mutex);
    for (i = 0; i < count; i++) {
        const memory_item_t *item = item_find(m, keys[i]);

        values[i] = item ? apr_pstrdup(p, item->value) : NULL;
    }
    apr_thread_mutex_unlock(m->mutex);
    return APR_SUCCESS;
}

static apr_status_t memory_get(persona_store_t *s, const char *group, const char *key, const char **value,
                               apr_pool_t *p)
{
    memory_get_many(s, group, &key, 1, value, p);
    return *value ? APR_SUCCESS : APR_NOTFOUND;
}

static apr_status_t memory_add(persona_store_t *s, const char *group, const char *key, const char *value, int ttl)
{
    memory_store_t *m = (memory_store_t *)s;
    apr_status_t rv = persona_store_check(group, key, value);

    if (rv == APR_SUCCESS) {
        apr_thread_mutex_lock(m->mutex);
        rv = item_find(m, key) ? APR_EEXIST : item_put(m, key, value, ttl);
        apr_thread_mutex_unlock(m->mutex);
    }
    return rv;
}

static apr_status_t memory_set(persona_store_t *s, const char *group, const char *key, const char *value, int ttl)
{
    memory_store_t *m = (memory_store_t *)s;
    apr_status_t rv = persona_store_check(group, key, value);

    if (rv == APR_SUCCESS) {
        apr_thread_mutex_lock(m->mutex);
        rv = item_put(m, key, value, ttl);
        apr_thread_mutex_unlock(m->mutex);
    }
    return rv;
}

static apr_status_t memory_incr(persona_store_t *s, const char *group, const char *key, apr_uint64_t *value)
{
    memory_store_t *m = (memory_store_t *)s;
    memory_item_t *item;
    apr_status_t rv = APR_NOTFOUND;

    (void)group;
    apr_thread_mutex_lock(m->mutex);
    item = item_find(m, key);
    if (item) {
        rv = persona_store_counter(item->value, value);
        if (rv == APR_SUCCESS) {
            char text[32];
            int ttl = item->expires ? (int)apr_time_sec(item->expires - apr_time_now()) + 1 : 0;

            apr_snprintf(text, sizeof(text), "%" APR_UINT64_T_FMT, ++*value);
            rv = item_put(m, key, text, ttl);
        }
    }
    apr_thread_mutex_unlock(m->mutex);
    return rv;
}

static apr_status_t memory_remove(persona_store_t *s, const char *group, const char *key)
{
    memory_store_t *m = (memory_store_t *)s;
    memory_item_t *item;

    (void)group;
    apr_thread_mutex_lock(m->mutex);
    item = item_find(m, key);
    if (item) {
        item_drop(m, item);
    }
    apr_thread_mutex_unlock(m->mutex);
    return item ? APR_SUCCESS : APR_NOTFOUND;
}

static apr_status_t memory_cleanup(void *data)
{
    memory_store_t *m = data;
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, m->items); hi; hi = apr_hash_next(hi)) {
        item_drop(m, apr_hash_this_val(hi));
    }
    return APR_SUCCESS;
}

static void memory_close(persona_store_t *s)
{
    apr_pool_destroy(((memory_store_t *)s)->pool);
}

apr_status_t persona_store_memory_open(persona_store_t **s, apr_pool_t *p)
{
    static const persona_store_t functions = {
        "memory", memory_get, memory_add, memory_set, memory_incr, memory_remove, memory_get_many, memory_close
    };
    apr_pool_t *pool;
    memory_store_t *m;
    apr_status_t rv = apr_pool_create(&pool, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    m = apr_pcalloc(pool, sizeof(*m));
    m->store = functions;
    m->pool = pool;
    m->items = apr_hash_make(pool);
    rv = apr_thread_mutex_create(&m->mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return rv;
    }
    apr_pool_cleanup_register(pool, m, memory_cleanup, apr_pool_cleanup_null);
    *s = &m->store;
    return APR_SUCCESS;
}

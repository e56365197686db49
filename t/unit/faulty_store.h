/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file faulty_store.h
 * @brief A store of this process whose faults a test chooses: it forgets at the n-th call, answers nothing, or has a
 * value replaced behind everybody's back.
 *
 * calls counts every call. before (may be NULL) is called ahead of each, so a test may flush, evict or let another
 * claimer act between any two steps of what is tested.
 */
#ifndef PERSONA_FAULTY_STORE_H
#define PERSONA_FAULTY_STORE_H

#include "unit.h"

#include <apr_strings.h>

#include "persona_store.h"

typedef struct faulty_store_t {
    persona_store_t store; /**< first */
    persona_store_t *below;
    int calls;
    int fail_at;           /**< the call of this number answers `status`; 0: none */
    int fail_from;         /**< and so does every call from this number; 0: none */
    int lose_at;           /**< the call of this number is carried out and answers APR_TIMEUP; 0: none */
    apr_status_t status;
    void (*before)(struct faulty_store_t *store, int call);
} faulty_store_t;

/** Where calls go; *lost: the answer is not to be given. APR_SUCCESS, or the injected status. */
static apr_status_t enter(persona_store_t *s, persona_store_t **below, int *lost)
{
    faulty_store_t *store = (faulty_store_t *)s;
    int call = __atomic_add_fetch(&store->calls, 1, __ATOMIC_SEQ_CST);

    if (store->before) {
        store->before(store, call);
    }
    *below = store->below;
    *lost = store->lose_at && call == store->lose_at;
    if ((store->fail_at && call == store->fail_at) || (store->fail_from && call >= store->fail_from)) {
        return store->status ? store->status : APR_TIMEUP;
    }
    return APR_SUCCESS;
}

#define FAULTY(args)                                                                                                   \
    do {                                                                                                               \
        persona_store_t *below;                                                                                        \
        int lost;                                                                                                      \
        apr_status_t rv = enter(s, &below, &lost);                                                                     \
                                                                                                                       \
        if (rv == APR_SUCCESS) {                                                                                       \
            rv = below->args;                                                                                          \
        }                                                                                                              \
        return lost ? APR_TIMEUP : rv;                                                                                 \
    } while (0)

static apr_status_t faulty_get(persona_store_t *s, const char *group, const char *key, const char **value,
                               apr_pool_t *p)
{
    FAULTY(get(below, group, key, value, p));
}

static apr_status_t faulty_add(persona_store_t *s, const char *group, const char *key, const char *value, int ttl)
{
    FAULTY(add(below, group, key, value, ttl));
}

static apr_status_t faulty_set(persona_store_t *s, const char *group, const char *key, const char *value, int ttl)
{
    FAULTY(set(below, group, key, value, ttl));
}

static apr_status_t faulty_incr(persona_store_t *s, const char *group, const char *key, apr_uint64_t *value)
{
    FAULTY(incr(below, group, key, value));
}

static apr_status_t faulty_remove(persona_store_t *s, const char *group, const char *key)
{
    FAULTY(remove(below, group, key));
}

static apr_status_t faulty_get_many(persona_store_t *s, const char *group, const char *const *keys, int count,
                                    const char **values, apr_pool_t *p)
{
    FAULTY(get_many(below, group, keys, count, values, p));
}

static void faulty_close(persona_store_t *s)
{
    faulty_store_t *store = (faulty_store_t *)s;

    store->below->close(store->below);
}

/** Forget everything. */
static inline void faulty_flush(faulty_store_t *store)
{
    assert_int_equal(persona_store_memory_open(&store->below, unit_pool), APR_SUCCESS);
}

/** A new one, empty, in the test's pool. */
static inline faulty_store_t *faulty_store(void)
{
    static const persona_store_t functions = {
        "faulty", faulty_get, faulty_add, faulty_set, faulty_incr, faulty_remove, faulty_get_many, faulty_close
    };
    faulty_store_t *store = apr_pcalloc(unit_pool, sizeof(*store));

    store->store = functions;
    faulty_flush(store);
    return store;
}

#endif

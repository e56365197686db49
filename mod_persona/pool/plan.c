/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file plan.c
 * @brief The planner's side of the line: generations, slots for instances, waiters that are gone.
 *
 * Several managers may do all of this at once. A generation is made by add(), a slot is written by add(): where
 * two do the same, one of them is late and reads what the other did. The lease only saves work.
 *
 * A generation's counters exist before its name can be read, for the name is in their keys and is random; so
 * nobody ever finds a generation without counters unless the store has lost them, and then a new generation begins.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "index.h"
#include "persona/fault.h"
#include "store.h"

/** Seconds; with a look every second, another manager plans at most three after the last one died. */
#define PLANNER_LEASE 2
/** Slots that one publish() passes over. */
#define PASSED_MAX 4096
/** Tickets that one look at the waiters covers. */
#define WAITERS_MAX 1024

/* ---- the lease ---- */

/** "until manager"; 0: not a lease, or of somebody whose time is over. */
static int lease_stands(const persona_index_t *index, const char *value, const char *key, const char *manager,
                        int *own)
{
    const char *text = persona_index_verify(index, value, key, PERSONA_NO_GENERATION);
    char *name;
    apr_time_t until;

    *own = 0;
    if (!text) {
        return 0;
    }
    until = apr_strtoi64(text, &name, 10);
    *own = *name == ' ' && strcmp(name + 1, manager) == 0;
    return until > apr_time_now();
}

int persona_pool_plan(persona_index_t *index, const char *persona_id, const char *manager, apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *group = persona_index_group(index, persona_id, p);
    const char *key = persona_key_planner(index, persona_id, p);
    const char *text = apr_psprintf(p, "%" APR_TIME_T_FMT " %s",
                                    apr_time_now() + apr_time_from_sec(PLANNER_LEASE), manager);
    const char *lease = persona_index_sign(index, text, key, PERSONA_NO_GENERATION, p), *value;
    apr_status_t rv = PERSONA_FAULT_CALL(publish_lease, store->add(store, group, key, lease, PLANNER_LEASE));
    int own;

    if (rv != APR_EEXIST) {
        return rv == APR_SUCCESS;
    }
    rv = store->get(store, group, key, &value, p);
    if (rv == APR_NOTFOUND) {
        return store->add(store, group, key, lease, PLANNER_LEASE) == APR_SUCCESS;
    }
    if (rv != APR_SUCCESS || (lease_stands(index, value, key, manager, &own) && !own)) {
        return 0;
    }
    return store->set(store, group, key, lease, PLANNER_LEASE) == APR_SUCCESS;
}

/* ---- the generation ---- */

/** Read a generation's counters. APR_NOTFOUND: lost, or no numbers, or too far apart. */
static apr_status_t counters_read(persona_index_t *index, const char *persona_id, apr_uint64_t limit,
                                  persona_queue_t *queue, apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *keys[2], *values[2];
    apr_uint64_t distance;
    apr_status_t rv;

    keys[0] = persona_key_head(index, persona_id, queue->generation, p);
    keys[1] = persona_key_tail(index, persona_id, queue->generation, p);
    rv = PERSONA_FAULT_CALL(publish_read, store->get_many(store, persona_index_group(index, persona_id, p), keys, 2,
                                                          values, p));
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!values[0] || !values[1] || persona_store_counter(values[0], &queue->head) != APR_SUCCESS
        || persona_store_counter(values[1], &queue->tail) != APR_SUCCESS) {
        return APR_NOTFOUND;
    }
    distance = queue->head > queue->tail ? queue->head - queue->tail : queue->tail - queue->head;
    if (limit && distance > limit) {
        persona_log(PERSONA_LOG_WARNING, 0, "persona %s: head %" APR_UINT64_T_FMT " and tail %" APR_UINT64_T_FMT
                    " of its line cannot be true: a new line is begun", persona_id, queue->head, queue->tail);
        return APR_NOTFOUND;
    }
    return APR_SUCCESS;
}

/** The generation in force and its counters. APR_NOTFOUND: none that can be used; *value is what stands there. */
static apr_status_t queue_read(persona_index_t *index, const char *persona_id, apr_uint64_t limit,
                               persona_queue_t *queue, const char **value, apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *key = persona_key_generation(index, persona_id, p), *generation;
    apr_status_t rv = store->get(store, persona_index_group(index, persona_id, p), key, value, p);

    if (rv != APR_SUCCESS) {
        *value = NULL;
        return rv;
    }
    generation = persona_index_generation(index, *value, key);
    if (!generation) {
        return APR_NOTFOUND;
    }
    apr_cpystrn(queue->generation, generation, sizeof(queue->generation));
    return counters_read(index, persona_id, limit, queue, p);
}

/** Begin a generation: counters first, then its name, by add(). APR_EEXIST: another began one. */
static apr_status_t generation_begin(persona_index_t *index, const char *persona_id, persona_queue_t *queue,
                                     apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *group = persona_index_group(index, persona_id, p);
    const char *key = persona_key_generation(index, persona_id, p);
    const char *generation = persona_random_hex((PERSONA_GENERATION_LEN - 1) / 2, p);
    const char *head = persona_key_head(index, persona_id, generation, p);
    const char *tail = persona_key_tail(index, persona_id, generation, p);
    apr_status_t rv = store->add(store, group, head, "0", 0);

    if (rv == APR_SUCCESS) {
        rv = store->add(store, group, tail, "0", 0);
    }
    if (rv == APR_SUCCESS) {
        PERSONA_FAULT(publish_counted);
        rv = PERSONA_FAULT_CALL(publish_name, store->add(store, group, key,
                                                         persona_index_sign(index, generation, key,
                                                                            PERSONA_NO_GENERATION, p), 0));
    }
    if (rv != APR_SUCCESS) {
        store->remove(store, group, head);
        store->remove(store, group, tail);
        return rv;
    }
    apr_cpystrn(queue->generation, generation, sizeof(queue->generation));
    queue->head = queue->tail = 0;
    return APR_SUCCESS;
}

apr_status_t persona_pool_queue(persona_index_t *index, const char *persona_id, int create, apr_uint64_t limit,
                                persona_queue_t *queue, int *created, apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *group = persona_index_group(index, persona_id, p);
    const char *key = persona_key_generation(index, persona_id, p), *dead, *now;
    apr_status_t rv;

    *created = 0;
    memset(queue, 0, sizeof(*queue));
    rv = queue_read(index, persona_id, limit, queue, &dead, p);
    if (rv == APR_SUCCESS && create && !persona_index_current(index, dead, key, PERSONA_NO_GENERATION, p)) {
        /* Its name was signed with the site's other key, which may soon be gone: a new line, for all gateways. */
        rv = APR_NOTFOUND;
    }
    if (rv != APR_NOTFOUND || !create) {
        return rv;
    }
    /* What stands there is useless: make room, unless another planner has done so meanwhile. */
    if (dead && store->get(store, group, key, &now, p) == APR_SUCCESS && strcmp(dead, now) == 0) {
        store->remove(store, group, key);
    }
    rv = generation_begin(index, persona_id, queue, p);
    if (rv == APR_SUCCESS) {
        *created = 1;
        return rv;
    }
    return rv == APR_EEXIST ? queue_read(index, persona_id, limit, queue, &dead, p) : rv;
}

/* ---- slots ---- */

int persona_pool_drawn(const persona_queue_t *queue, apr_uint64_t slot)
{
    return slot < queue->head;
}

apr_status_t persona_pool_publish(persona_index_t *index, const persona_queue_t *queue,
                                  const persona_record_t *instance, apr_uint64_t *slot, apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *group = persona_index_group(index, instance->persona_id, p);
    const char *tail = persona_key_tail(index, instance->persona_id, queue->generation, p);
    apr_uint64_t count;
    int tries;

    for (tries = 0; tries < PASSED_MAX; tries++) {
        const char *key, *value;
        apr_status_t rv = PERSONA_FAULT_CALL(publish_number, store->incr(store, group, tail, &count));

        if (rv != APR_SUCCESS || count == 0) {
            return rv == APR_SUCCESS ? APR_EGENERAL : rv;
        }
        key = persona_key_slot(index, instance->persona_id, queue->generation, count - 1, p);
        value = persona_record_write(index, instance, key, queue->generation, p);
        if (!value) {
            return APR_EINVAL;
        }
        PERSONA_FAULT(publish_numbered);
        rv = PERSONA_FAULT_CALL(publish_slot, store->add(store, group, key, value, 0));
        if (rv != APR_EEXIST) {
            PERSONA_FAULT(publish_published);
            *slot = count - 1;
            return rv;
        }
    }
    return APR_EGENERAL;
}

/* ---- waiters ---- */

/** Remember this look at head. Returns how many tickets had been handed out at least `age` ago. */
static apr_uint64_t tickets_older_than(persona_index_t *index, const char *persona_id, const persona_queue_t *queue,
                                       apr_interval_time_t age)
{
    apr_time_t now = apr_time_now();
    apr_uint64_t old = 0;
    persona_look_t *look;

    apr_thread_mutex_lock(index->mutex);
    look = apr_hash_get(index->looks, persona_id, APR_HASH_KEY_STRING);
    if (!look) {
        look = apr_pcalloc(index->pool, sizeof(*look));
        apr_hash_set(index->looks, apr_pstrdup(index->pool, persona_id), APR_HASH_KEY_STRING, look);
    }
    if (strcmp(look->generation, queue->generation) != 0) {
        apr_cpystrn(look->generation, queue->generation, sizeof(look->generation));
        look->old_head = 0;
        look->head = queue->head;
        look->old_at = look->at = now;
    }
    if (now - look->at >= age) {
        look->old_head = look->head;
        look->old_at = look->at;
        look->head = queue->head;
        look->at = now;
    }
    if (now - look->old_at >= age) {
        old = look->old_head;
    }
    apr_thread_mutex_unlock(index->mutex);
    return old;
}

static int by_arrival(const void *a, const void *b)
{
    const persona_waiter_t *x = a, *y = b;

    if (x->arrived != y->arrived) {
        return x->arrived < y->arrived ? -1 : 1;
    }
    return x->ticket < y->ticket ? -1 : x->ticket > y->ticket;
}

/** Close the slot of a waiter that is gone, so that the next instance goes to the next one. */
static void slot_skip(persona_index_t *index, const char *persona_id, const persona_queue_t *queue,
                      apr_uint64_t ticket, apr_pool_t *p)
{
    persona_store_t *store = index->store;
    const char *key = persona_key_slot(index, persona_id, queue->generation, ticket, p);

    (void)PERSONA_FAULT_CALL(
        publish_skip, store->add(store, persona_index_group(index, persona_id, p), key,
                                 persona_index_sign(index, PERSONA_SLOT_SKIPPED, key, queue->generation, p), 0));
}

apr_status_t persona_pool_waiters(persona_index_t *index, persona_queue_t *queue, const char *persona_id,
                                  apr_interval_time_t age, apr_array_header_t **out, apr_pool_t *p)
{
    persona_store_t *store = index->store;
    apr_array_header_t *waiters = apr_array_make(p, 8, sizeof(persona_waiter_t));
    const char **keys, **values;
    apr_uint64_t old;
    apr_time_t now = apr_time_now();
    apr_status_t rv;
    int i, count;

    *out = waiters;
    rv = counters_read(index, persona_id, 0, queue, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    old = tickets_older_than(index, persona_id, queue, age);
    if (queue->head <= queue->tail) {
        return APR_SUCCESS;
    }
    count = queue->head - queue->tail < WAITERS_MAX ? (int)(queue->head - queue->tail) : WAITERS_MAX;
    keys = apr_palloc(p, sizeof(*keys) * (apr_size_t)count * 2);
    values = apr_pcalloc(p, sizeof(*values) * (apr_size_t)count * 2);
    for (i = 0; i < count; i++) {
        keys[2 * i] = persona_key_beat(index, persona_id, queue->generation, queue->tail + (apr_uint64_t)i, p);
        keys[2 * i + 1] = persona_key_slot(index, persona_id, queue->generation, queue->tail + (apr_uint64_t)i, p);
    }
    rv = store->get_many(store, persona_index_group(index, persona_id, p), keys, count * 2, values, p);
    for (i = 0; rv == APR_SUCCESS && i < count; i++) {
        persona_waiter_t waiter = {.ticket = queue->tail + (apr_uint64_t)i};
        int beats = values[2 * i] && persona_beat_read(index, &waiter, values[2 * i], keys[2 * i], queue->generation,
                                                       p) == APR_SUCCESS;

        if (values[2 * i + 1]) {
            continue; /* skipped or left already: no instance will come there */
        }
        if (beats && now - waiter.seen < age) {
            APR_ARRAY_PUSH(waiters, persona_waiter_t) = waiter;
        }
        else if (beats || waiter.ticket < old) {
            slot_skip(index, persona_id, queue, waiter.ticket, p);
        }
    }
    if (waiters->nelts > 1) {
        qsort(waiters->elts, (apr_size_t)waiters->nelts, sizeof(persona_waiter_t), by_arrival);
    }
    return rv;
}

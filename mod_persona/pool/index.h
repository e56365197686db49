/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file index.h
 * @brief The index behind its handle: keys, signed values, and what a process remembers of a line. Private to
 * record.c, pool.c, plan.c and session.c.
 *
 * A signed value is `HMAC text`, the HMAC in hexadecimal over key, generation and text, under the record key. So
 * no value can be moved to another key or generation, nor made without the key. It can be old.
 */
#ifndef PERSONA_POOL_INDEX_H
#define PERSONA_POOL_INDEX_H

#include <apr_hash.h>
#include <apr_thread_mutex.h>

#include "persona/digest.h"
#include "pool.h"

/** Hexadecimal digits of a generation, with the terminating NUL. */
#define PERSONA_GENERATION_LEN 33
/** A generation in place of one: for values that belong to none. */
#define PERSONA_NO_GENERATION "-"

/** Two looks at head, so that a ticket can be told to be older than a waiter's first heartbeat takes. */
typedef struct persona_look_t {
    char generation[PERSONA_GENERATION_LEN];
    apr_uint64_t old_head, head;
    apr_time_t old_at, at;
} persona_look_t;

struct persona_index_t {
    persona_store_t *store;
    const char *ns;
    const char *keys[2];         /**< the one that signs, and another that is valid too, or NULL */
    apr_pool_t *pool;
    apr_thread_mutex_t *mutex;   /**< guards looks and complained */
    apr_hash_t *looks;           /**< persona id -> persona_look_t */
    apr_time_t complained;       /**< when a bad value was last logged */
};

/** `text` signed for key and generation. */
const char *persona_index_sign(const persona_index_t *index, const char *text, const char *key,
                               const char *generation, apr_pool_t *p);
/** The text of a signed value; NULL: forged, malformed, or for another key or generation. One log line in a
 * while says so. */
const char *persona_index_verify(const persona_index_t *index, const char *value, const char *key,
                                 const char *generation);

/** Whether a value that verifies was signed with the key that signs now. */
int persona_index_current(const persona_index_t *index, const char *value, const char *key, const char *generation,
                          apr_pool_t *p);

/** A part of a key: the id itself where it is a name as personas have them, else its hash. */
const char *persona_index_part(const char *id, apr_pool_t *p);
/** The group of a persona's keys: they live on one server. */
const char *persona_index_group(const persona_index_t *index, const char *persona_id, apr_pool_t *p);

const char *persona_key_generation(const persona_index_t *index, const char *persona_id, apr_pool_t *p);
const char *persona_key_planner(const persona_index_t *index, const char *persona_id, apr_pool_t *p);
const char *persona_key_head(const persona_index_t *index, const char *persona_id, const char *generation,
                             apr_pool_t *p);
const char *persona_key_tail(const persona_index_t *index, const char *persona_id, const char *generation,
                             apr_pool_t *p);
const char *persona_key_slot(const persona_index_t *index, const char *persona_id, const char *generation,
                             apr_uint64_t ticket, apr_pool_t *p);
/** Heartbeat of the waiter with this ticket. */
const char *persona_key_beat(const persona_index_t *index, const char *persona_id, const char *generation,
                             apr_uint64_t ticket, apr_pool_t *p);
/** Where the session stands in the persona's line. */
const char *persona_key_wait(const persona_index_t *index, const char *persona_id, const char *session,
                             apr_pool_t *p);
const char *persona_key_session(const persona_index_t *index, const char *session, apr_pool_t *p);
const char *persona_key_ended(const persona_index_t *index, const char *session, apr_pool_t *p);

/** The generation in a value of the generation's key; NULL: none, or forged. */
const char *persona_index_generation(const persona_index_t *index, const char *value, const char *key);

/** What stands in a slot that no instance can take any more. */
#define PERSONA_SLOT_SKIPPED "skipped"
#define PERSONA_SLOT_LEFT "left"

/** What a slot holds. */
typedef enum { PERSONA_SLOT_EMPTY, PERSONA_SLOT_INSTANCE, PERSONA_SLOT_DEAD } persona_slot_e;
/** Reads a slot's value (NULL: empty). A value that is not ours makes the slot dead: nothing can replace it. */
persona_slot_e persona_index_slot(const persona_index_t *index, const char *value, const char *key,
                                  const char *generation, persona_record_t **record, apr_pool_t *p);

/** A waiter's heartbeat. */
const char *persona_beat_write(const persona_index_t *index, const persona_waiter_t *waiter, const char *key,
                               const char *generation, apr_pool_t *p);
apr_status_t persona_beat_read(const persona_index_t *index, persona_waiter_t *waiter, const char *value,
                               const char *key, const char *generation, apr_pool_t *p);

#endif

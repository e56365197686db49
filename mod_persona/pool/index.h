/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file index.h
 * @brief The shared index from inside the pool room: its keys, and values that carry a MAC.
 *
 * A sealed value is 64 hexadecimal digits, a blank, and the body. The digits are HMAC-SHA256 under the record key of
 * key, generation and body, so that a value is good under the key and in the generation it was written for only.
 */
#ifndef PERSONA_POOL_INDEX_H
#define PERSONA_POOL_INDEX_H

#include <apr_hash.h>
#include <apr_thread_mutex.h>

#include "pool/pool.h"

struct persona_index_t {
    persona_store_t *store;
    const char *ns;
    const char *keys[2];   /**< record keys: current, and previous or NULL */
    apr_thread_mutex_t *lock;
    apr_hash_t *missing;   /**< under lock: persona -> the front ticket that has no heartbeat, and since when */
    apr_pool_t *pool;
};

/** Generation of values that belong to none. */
#define PERSONA_NO_GENERATION "-"

const char *persona_index_seal(const persona_index_t *index, const char *key, const char *generation,
                               const char *body, apr_pool_t *p);
/** The body (within `text`), or NULL: forged, or for another key or generation. */
const char *persona_index_open(const persona_index_t *index, const char *text, const char *key,
                               const char *generation, apr_pool_t *p);
/** Read and open: APR_EACCES where what is stored is not ours. */
apr_status_t persona_index_get(const persona_index_t *index, const char *group, const char *key,
                               const char *generation, const char **body, apr_pool_t *p);
/** Whether ticket n at the front of the line has been without a heartbeat for `patience`, as this process saw it: a
 * worker takes the ticket first and writes the heartbeat right after. */
int persona_index_missing(persona_index_t *index, const char *persona_id, apr_uint64_t n, apr_time_t now,
                          apr_interval_time_t patience);

#endif

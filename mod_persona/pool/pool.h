/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file pool.h
 * @brief The claim protocol over the shared index: who takes which ready instance, in which order.
 *
 * One persona's pool is a queue in a store. `head` counts tickets, `tail` counts published slots; ticket n
 * takes slot n, both numbered from 0, so a slot below head has had its ticket. All of it belongs to a
 * generation, 128 random bits: when the store forgets, a new generation begins. Slots are written with add()
 * only, and one of three things wins: an instance, `skipped` (by the planner, when the waiter's heartbeat is
 * gone) or `left` (by a waiter that saw tail pass it for 2 s).
 *
 * Nothing here is trusted: each value carries an HMAC bound to its key and generation, and an instance is
 * a session's only when the provider's fence says so (assign).
 *
 * Invariants kept here: a ticket is used once; a slot is written once; a plain incr() never creates a
 * counter; only who won the add() of a generation creates head and tail, before anybody can read it.
 */
#ifndef PERSONA_POOL_POOL_H
#define PERSONA_POOL_POOL_H

#include "persona.h"
#include "persona_store.h"

/** The record: all a worker needs to relay a session, and the content of a slot (session empty there). A
 * session's record is a lease: no backend connection may be opened after `expires`. */
typedef struct persona_record_t {
    const char *instance, *persona_id, *app, *compute, *fingerprint;
    const char *session, *user;  /**< "" in a slot */
    const char *address;
    int port;
    persona_stream_e stream;
    const char *path;            /**< stream_path */
    int pass_user;
    int home;                    /**< 0: no home; 1: being attached; 2: attached; 3: failed */
    int cold;                    /**< the claim had to wait */
    apr_time_t started;          /**< of the session */
    apr_time_t expires;          /**< absolute: time at which the provider was read + PERSONA_LEASE */
    apr_time_t ends;             /**< max_session; absolute */
    apr_interval_time_t idle_timeout, disconnect_timeout;
} persona_record_t;

#define PERSONA_LEASE apr_time_from_sec(60)

/** A shared index of one site, for any thread. */
typedef struct persona_index_t persona_index_t;

/** `keys`: the record keys (purpose "record"), the one that signs, and another that is valid too, or
 * NULL. `ns`: the site's name. The store is borrowed. */
apr_status_t persona_index_create(persona_index_t **index, persona_store_t *store, const char *ns,
                                  const char *const keys[2], apr_pool_t *p);

/** Signed text of a record for key and generation ("-" for sessions), and back: APR_EACCES: forged, or for
 * another key. */
const char *persona_record_write(const persona_index_t *index, const persona_record_t *record, const char *key,
                                 const char *generation, apr_pool_t *p);
apr_status_t persona_record_read(const persona_index_t *index, persona_record_t **record, const char *text,
                                 const char *key, const char *generation, apr_pool_t *p);
json_t *persona_record_to_json(const persona_record_t *record);
apr_status_t persona_record_from_json(persona_record_t **record, const json_t *json, apr_pool_t *p);

/* ---- claiming: by workers ---- */

typedef enum {
    PERSONA_ASSIGN_YES,      /**< fenced for this session: *record is the session's */
    PERSONA_ASSIGN_NO,       /**< it is another's, or gone, stale, retiring */
    PERSONA_ASSIGN_UNKNOWN,  /**< no answer: it must be asked again about the same instance */
    PERSONA_ASSIGN_SKIP      /**< its compute is known to be down: nobody was asked, the next slot please */
} persona_assign_e;

/** Ask for the fence. Called for at most 3 different instances in one claim that it does not skip. claim->arrived,
 * ticket and generation are set when it is called. */
typedef persona_assign_e persona_assign_cb(void *baton, const persona_record_t *slot, const char *session,
                                           apr_uint64_t ticket, apr_time_t deadline, persona_record_t **record,
                                           apr_pool_t *p);

typedef enum {
    PERSONA_CLAIM_GOT,       /**< *record is the session's */
    PERSONA_CLAIM_WAIT,      /**< in line, at `place` */
    PERSONA_CLAIM_NO_INDEX   /**< the store does not answer, or has no pool yet: ask the manager */
} persona_claim_e;

typedef struct persona_claim_t {
    const char *persona_id, *session;
    /* in the line; kept in the store under the session between the polls of a waiting page */
    char generation[33];
    apr_uint64_t ticket;
    apr_time_t arrived;       /**< when the person first came: kept over new tickets */
    apr_int64_t place;        /**< 1: next; 0: not in line */
    int provider_calls;
    const char *pending;      /**< instance whose assign has an unknown outcome, or NULL */
} persona_claim_t;

/** One claim, or one poll of a waiting one: resumes the session's ticket from the store where it has one, so the
 * caller fills in persona_id, session and, where it knows it, arrived. Renews the waiter's heartbeat: poll at least
 * once a second. Returns before `deadline`, give or take one call of the store. WAIT with place 0: an assign has an
 * unknown outcome, and only the same instance will be asked about at the next poll. */
persona_claim_e persona_pool_claim(persona_index_t *index, persona_claim_t *claim, persona_assign_cb *assign,
                                   void *baton, apr_time_t deadline, persona_record_t **record, apr_pool_t *p);
/** The waiting person left: the place is given up. */
void persona_pool_leave(persona_index_t *index, persona_claim_t *claim, apr_pool_t *p);

/* ---- planning: by managers ---- */

typedef struct persona_queue_t {
    char generation[33];
    apr_uint64_t head, tail;
} persona_queue_t;

/** Whether this manager plans for the persona now: takes or renews a lease of 2 s; call it once a second to
 * keep it. 0 also where the store does not answer. */
int persona_pool_plan(persona_index_t *index, const char *persona_id, const char *manager, apr_pool_t *p);
/** The queue as it is. `create`: make a generation where there is none, or where head and tail do not belong
 * to it, or where |head - tail| is above `limit`; *created tells, then everything must be published again. */
apr_status_t persona_pool_queue(persona_index_t *index, const char *persona_id, int create, apr_uint64_t limit,
                                persona_queue_t *queue, int *created, apr_pool_t *p);
/** Whether the ticket of this slot has been drawn, going by the counters in `queue`. */
int persona_pool_drawn(const persona_queue_t *queue, apr_uint64_t slot);
/** Give the instance a slot; *slot is its number. Passes over slots that `skipped` or `left` have taken.
 * APR_NOTFOUND: the generation is gone, read the queue again. */
apr_status_t persona_pool_publish(persona_index_t *index, const persona_queue_t *queue,
                                  const persona_record_t *instance, apr_uint64_t *slot, apr_pool_t *p);
/** Waiters now in line whose heartbeat is younger than `age`: array of persona_waiter_t, first come first. Those
 * whose heartbeat is older, or that took a ticket so long ago and never had one, are skipped. Reads head and tail
 * of the queue's generation anew. */
typedef struct persona_waiter_t {
    apr_uint64_t ticket;
    apr_time_t arrived, seen;
    const char *session;
} persona_waiter_t;
apr_status_t persona_pool_waiters(persona_index_t *index, persona_queue_t *queue, const char *persona_id,
                                  apr_interval_time_t age, apr_array_header_t **waiters, apr_pool_t *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file trail.h
 * @brief What happens, on its way into the history: a bounded queue, and one thread that writes.
 *
 * Nobody waits for the database. persona_trail_push() copies the event and returns; it may be called with the manager's
 * lock held. While the database is locked, full, down or silent the queue fills up; what does not fit is counted, the
 * count is logged and, when the database is back, written into the history.
 */
#ifndef PERSONA_MANAGER_TRAIL_H
#define PERSONA_MANAGER_TRAIL_H

#include "history.h"

/** Events that wait for the database at most, beside those being written. */
#define PERSONA_TRAIL_QUEUE 16384

typedef struct persona_trail_t persona_trail_t;

/** All borrowed for as long as the process lives. */
typedef struct persona_trail_conf_t {
    const char *driver, *params;
    const char *gateway;         /**< who writes: the manager's id */
    apr_interval_time_t keep;    /**< rows of events are deleted after so long; 0: never */
    const char *pseudonym_keys[2]; /**< users' names become HMACs under the first; NULL: they are written as they are */
    int queue;                   /**< 0: PERSONA_TRAIL_QUEUE */
} persona_trail_conf_t;

/** Start the writer. The database need not be there yet. APR_ENOTIMPL: apr-util's driver is not installed. */
apr_status_t persona_trail_create(persona_trail_t **trail, const persona_trail_conf_t *conf, apr_pool_t *p);
/** Take a copy of the event; does not block. Texts that are too long are cut, bytes that are no UTF-8 are replaced. */
void persona_trail_push(persona_trail_t *trail, const persona_event_t *event);
/** From time to time, without a lock: say in the log what is wrong, once, then with a count each minute. */
void persona_trail_tend(persona_trail_t *trail);
/** For the status document: {"database", "state": "ok" | "starting" | "down", ["problem"], "scope", "queued",
 * "written", "lost"}. A new reference. */
json_t *persona_trail_status(persona_trail_t *trail);
/** Rows of the history as persona_history_read() gives them, and *more. Blocks as long as the database does, but only
 * one caller at a time: another gets APR_EBUSY. `users` of the query are names, whatever is written of them. Any other
 * status: res->detail says why not. */
apr_status_t persona_trail_read(persona_trail_t *trail, const persona_history_query_t *query, json_t **rows, int *more,
                                persona_result_t *res, apr_pool_t *p);
/** Write what is queued, at most for `grace`, and take no more. Returns how many events were not written. The thread
 * may still be inside the database then: the caller MUST end the process. 0: it has ended. */
apr_int64_t persona_trail_stop(persona_trail_t *trail, apr_interval_time_t grace);
/** The name that is written for the user where names are pseudonymised, in p. */
const char *persona_trail_pseudonym(const char *key, const char *user, apr_pool_t *p);

#endif

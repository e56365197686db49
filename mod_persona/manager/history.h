/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file history.h
 * @brief The history in SQL: its tables, what is written into them, and what is read.
 *
 * persona_events has a row for each thing that happened, as long as PersonaHistory says. Its `mark` names the event:
 * an event that two managers saw, or that is written again because the answer to a commit was lost, is there once.
 * persona_hours has sums by hour, gateway and persona ('' for the portal), for ever; an event counts when its row was
 * new, in the same transaction. persona_gateways has who writes. Times are microseconds since the epoch (hours:
 * seconds), UTC.
 *
 * All of it belongs to one thread, and any call may block as long as the database does.
 */
#ifndef PERSONA_MANAGER_HISTORY_H
#define PERSONA_MANAGER_HISTORY_H

#include "database.h"

/** The version of the tables that this code reads and writes. */
#define PERSONA_HISTORY_SCHEMA 1

typedef enum {
    PERSONA_EVENT_CLAIM,  /**< a session got an instance */
    PERSONA_EVENT_END,    /**< a session ended: reason */
    PERSONA_EVENT_CREATE, /**< a machine was asked for, and made: reason */
    PERSONA_EVENT_READY,  /**< it answers: took */
    PERSONA_EVENT_FAIL,   /**< it could not be made, or did not come up: reason, took */
    PERSONA_EVENT_RETIRE, /**< its retirement began: reason */
    PERSONA_EVENT_GONE,   /**< it does not exist any more */
    PERSONA_EVENT_ADMIN,  /**< an administrator did something: reason */
    PERSONA_EVENT_VISIT,  /**< somebody looked at the portal */
    PERSONA_EVENT_SIGNIN, /**< somebody came to the portal who was not there lately */
    PERSONA_EVENT_START,  /**< a manager began to write */
    PERSONA_EVENT_LOST,   /**< some events could not be written: reason */
    PERSONA_EVENT_HIGH    /**< so many sessions at once: counts in the hours, has no row */
} persona_event_e;

/** One event. Texts may be NULL; all are borrowed. */
typedef struct persona_event_t {
    persona_event_e kind;
    apr_time_t at;
    const char *user, *roles, *app, *persona, *session, *instance, *compute, *host, *reason;
    int cold;           /**< CLAIM: had to wait for its creation; < 0: unknown */
    apr_int64_t ticket; /**< CLAIM: < 0: none was drawn */
    apr_int64_t wait;   /**< CLAIM: ms since the person came; < 0: unknown */
    apr_int64_t took;   /**< ms; < 0: unknown */
    int high;           /**< HIGH */
    const char *mark;   /**< what makes it the same event as another; NULL: nothing does */
} persona_event_t;

#define PERSONA_EVENT_NONE                                                                                         \
    {                                                                                                              \
        PERSONA_EVENT_START, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, -1, -1, -1, -1, 0, NULL      \
    }

/** What is asked for; what is NULL or 0 does not count. */
typedef struct persona_history_query_t {
    const char *users[2]; /**< either of them */
    const char *persona, *instance;
    apr_time_t since;
    apr_int64_t before; /**< only rows whose id is lower */
    int limit;          /**< at most so many, the newest */
    int hours;          /**< sums by hour instead of events */
} persona_history_query_t;

typedef struct persona_history_t persona_history_t;

const char *persona_event_name(persona_event_e kind);

/** Connect, and make or bring up to date the tables. FAILED also where they are newer than this code. */
persona_database_e persona_history_open(persona_history_t **history, const char *driver, const char *params,
                                        const char *gateway, persona_result_t *res, apr_pool_t *p);
void persona_history_close(persona_history_t *history);
persona_database_t *persona_history_database(persona_history_t *history);
/** All of them, or none. Each `mark` must be set, but for HIGH. */
persona_database_e persona_history_write(persona_history_t *history, const persona_event_t *const *events, int count,
                                         persona_result_t *res, apr_pool_t *p);
/** Whether a row can be written at all now: tells an event that cannot be from a database that cannot. */
persona_database_e persona_history_touch(persona_history_t *history, persona_result_t *res, apr_pool_t *p);
/** Delete a few hundred rows from before `time`; *more: there may be others. */
persona_database_e persona_history_trim(persona_history_t *history, apr_time_t time, int *more, persona_result_t *res,
                                        apr_pool_t *p);
/** An array of objects, newest first; a new reference. Ends early, with *more, where it would be a long message. */
persona_database_e persona_history_read(persona_history_t *history, const persona_history_query_t *query,
                                        json_t **rows, int *more, persona_result_t *res, apr_pool_t *p);
/** How many gateways have ever written here. */
persona_database_e persona_history_gateways(persona_history_t *history, int *count, persona_result_t *res,
                                            apr_pool_t *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file database.h
 * @brief One connection to the site's database, SQLite or PostgreSQL, through apr_dbd.
 *
 * A connection is of one thread. Any call may block: for about 2 s on a locked SQLite file, and as long as it likes on
 * a PostgreSQL server that is frozen. After a failure the connection is of no use: close it, and open another.
 * Every value is bound, never printed into a statement; all are passed as text, numbers in decimal.
 */
#ifndef PERSONA_MANAGER_DATABASE_H
#define PERSONA_MANAGER_DATABASE_H

#include <apr_pools.h>
#include <apr_tables.h>

#include "persona.h"

typedef struct persona_database_t persona_database_t;
typedef struct persona_statement_t persona_statement_t;

typedef enum {
    PERSONA_DATABASE_OK,
    PERSONA_DATABASE_FAILED,   /**< cannot be reached, locked, full: worth trying again */
    PERSONA_DATABASE_REFUSED,  /**< these values are not taken, whatever the state of the database */
    PERSONA_DATABASE_DAMAGED,  /**< SQLite: what is in the file is no database, or not a whole one */
    PERSONA_DATABASE_NO_DRIVER /**< apr-util's driver for it is not installed */
} persona_database_e;

/** NULL, or what is wrong with "DRIVER PARAMS" of PersonaDatabase, what would be right, and where to get it. `user`
 * (NULL: this process's) is who will use it; the folder `made` (NULL: none) will be made for them before that. Connects
 * to nothing. */
const char *persona_database_check(const char *driver, const char *params, const char *user, const char *made,
                                   apr_pool_t *p);
/** NULL, or that the driver is not installed and which Debian package has it. */
const char *persona_database_driver_check(const char *driver, apr_pool_t *p);

/** Connect; an SQLite file that is not there is made. res->detail says what went wrong. */
persona_database_e persona_database_open(persona_database_t **db, const char *driver, const char *params,
                                         persona_result_t *res, apr_pool_t *p);
void persona_database_close(persona_database_t *db);
int persona_database_is_sqlite(const char *driver);
/** SQLite: the file at its path is not the one that was opened. */
int persona_database_replaced(const persona_database_t *db);
/** SQLite: look at all of the file. OK, DAMAGED, or FAILED: it cannot be told. */
persona_database_e persona_database_examine(persona_database_t *db, persona_result_t *res, apr_pool_t *p);
/** SQLite: give the file at this path another name, which is put into *aside. Nobody may have it open. */
apr_status_t persona_database_set_aside(const char *path, const char **aside, apr_pool_t *p);

/** A fixed statement that returns no rows. */
persona_database_e persona_database_run(persona_database_t *db, const char *sql, persona_result_t *res);
/** Prepare, with apr_dbd's formats: %s for text, %lld for numbers. Lives as long as the connection. */
persona_database_e persona_database_prepare(persona_database_t *db, persona_statement_t **statement, const char *sql,
                                            persona_result_t *res);
/** *rows: how many it changed. A value may be NULL. */
persona_database_e persona_database_execute(persona_database_t *db, const persona_statement_t *statement,
                                            const char *const *values, int *rows, persona_result_t *res,
                                            apr_pool_t *p);
/** *rows: of const char *[columns], NULL for NULL, in p. */
persona_database_e persona_database_select(persona_database_t *db, const persona_statement_t *statement,
                                           const char *const *values, int columns, apr_array_header_t **rows,
                                           persona_result_t *res, apr_pool_t *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file catalog.h
 * @brief The persona directory: every *.json of one folder, read, checked and kept.
 *
 * A catalog is one immutable reading of the folder. A file that is wrong does not take the good
 * ones down: its errors are in `errors`, and where the last good version of that file is known
 * (kept in `lastgood`, on disk), the catalog has that version and says so in `stale`. `personactl
 * check`, `httpd -t` and a running reload all call persona_catalog_read() and so cannot disagree.
 *
 * A catalog owns its pool. persona_catalog_hold() and persona_catalog_release() count references
 * atomically; the pool goes with the last one.
 */
#ifndef PERSONA_CATALOG_H
#define PERSONA_CATALOG_H

#include "persona.h"

typedef struct persona_error_t {
    const char *file;
    int line, column;    /**< from 1; 0: the file as a whole */
    const char *path;    /**< JSON path, "$.pool.max" */
    const char *message; /**< what is wrong, and what would be right */
} persona_error_t;

typedef struct persona_catalog_t {
    apr_array_header_t *personas; /**< of persona_t *, sorted by app_id, order, id */
    const persona_t *fallback;    /**< default.json; NULL: none */
    apr_array_header_t *errors;   /**< of persona_error_t */
    apr_array_header_t *stale;    /**< of const char *: files whose last good version is in force */
    char version[PERSONA_SESSION_LEN]; /**< SHA-256 over all that is in force */
    apr_pool_t *pool;
    volatile apr_uint32_t references;
} persona_catalog_t;

/** Read `dir`. `lastgood`: a directory that the caller may write, or NULL (then nothing is kept
 * and nothing is restored). Succeeds whenever memory suffices: what is wrong, also with the
 * folder itself, is in errors. The caller holds one reference. */
apr_status_t persona_catalog_read(persona_catalog_t **catalog, const char *dir,
                                  const char *lastgood);
/** Cheap: changes whenever a file of the folder was added, removed, replaced or written. */
apr_uint64_t persona_catalog_stamp(const char *dir, apr_pool_t *p);
void persona_catalog_hold(persona_catalog_t *catalog);
void persona_catalog_release(persona_catalog_t *catalog);
const persona_t *persona_catalog_find(const persona_catalog_t *catalog, const char *persona_id);
/** All personas in force as one JSON document, for the workers (over IPC); and back. */
json_t *persona_catalog_to_json(const persona_catalog_t *catalog);
apr_status_t persona_catalog_from_json(persona_catalog_t **catalog, const json_t *json);
/** "file:line:column: $.path: message", one line, control bytes escaped. */
const char *persona_error_text(const persona_error_t *error, apr_pool_t *p);

#endif

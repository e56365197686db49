/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file parse.h
 * @brief From the text of one persona file to a persona.
 */
#ifndef PERSONA_PARSE_H
#define PERSONA_PARSE_H

#include <apr_hash.h>

#include "catalog.h"

/** Largest persona file, in bytes. */
#define PERSONA_FILE_MAX (256 * 1024)
/** The name of the file that has the fallback profile. */
#define PERSONA_DEFAULT_FILE "default.json"

/** Parse `text`, which stood in `file` (a name without a folder). Everything wrong with it is
 * added to `errors` (of persona_error_t). `ids`: of personas that are in force already
 * (persona_id -> persona_t *): none of them may come again. `lenient`: keys that this version
 * does not know are passed over. NULL: there was an error. The persona and all it points to
 * live in p. */
persona_t *persona_parse(const char *file, const char *text, apr_size_t len, apr_hash_t *ids,
                         int lenient, apr_array_header_t *errors, apr_pool_t *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file folder.h
 * @brief Files of one folder, read without being led out of it or held up: and kept, so that they
 * survive a crash.
 */
#ifndef PERSONA_FOLDER_H
#define PERSONA_FOLDER_H

#include "persona.h"

/** Names of the persona files in `dir`, sorted: *.json, but no hidden file, no events.json and
 * no *.schema.json. NULL: `*wrong` says why the folder cannot be read. */
apr_array_header_t *persona_folder_list(const char *dir, const char **wrong, apr_pool_t *p);
/** The text of a regular file of at most `max` bytes, NUL-terminated; a symbolic link must lead
 * to a place within `dir`. Never blocks on what is no file. NULL: `*wrong` says why. */
const char *persona_folder_read(const char *dir, const char *name, apr_size_t max, apr_size_t *len,
                                const char **wrong, apr_pool_t *p);
/** Write a file of `dir` so that after a crash it has its old or its new content, never less.
 * Mode 0600. */
apr_status_t persona_folder_write(const char *dir, const char *name, const char *text,
                                  apr_size_t len, apr_pool_t *p);
/** Changes whenever a persona file was added, removed, replaced or written. */
apr_uint64_t persona_folder_stamp(const char *dir, apr_pool_t *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file dates.h
 * @brief Dates that are known beforehand: holidays, courses. Of a persona ("events" in its file) or of a site
 * (PersonaEventFile), with one table of keys.
 *
 * On a day "like" a weekday that weekday's habits are expected, and what is seen is learned as that weekday's. "people"
 * at a "time" have instances ready before it, beside what is forecast, until they have come or "within" is over.
 */
#ifndef PERSONA_DATES_H
#define PERSONA_DATES_H

#include "reader.h"

/** Largest file of events, in bytes. */
#define PERSONA_DATES_FILE_MAX (1024 * 1024)

/** The keys of an event of a persona, and reader of a list of them: `to` is a const apr_array_header_t *. */
extern const persona_key_t persona_date_keys[];
void persona_dates_read(persona_reader_t *reader, const persona_key_t *key, json_t *json, const persona_node_t *node,
                         void *to);

/** The events of a site, from the text of `file`: of persona_date_t, in p. Everything wrong with it is added to
 * `errors` (of persona_error_t); then NULL. */
apr_array_header_t *persona_dates_parse(const char *file, const char *text, apr_size_t len, apr_array_header_t *errors,
                                         apr_pool_t *p);
/** The same from the file `path`; an error of reading is one with the file as a whole. */
apr_array_header_t *persona_dates_load(const char *path, apr_array_header_t *errors, apr_pool_t *p);
/** Changes whenever the file was added, removed, replaced or written. */
apr_uint64_t persona_dates_stamp(const char *path);

/** Whether the event is of this persona, and takes place on this day. */
int persona_date_on(const persona_date_t *event, const persona_t *persona, apr_int64_t day);

#endif

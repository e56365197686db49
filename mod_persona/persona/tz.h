/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file tz.h
 * @brief A time zone as a table of offsets, so that asking for the local hour needs no I/O and no lock.
 *
 * libc keeps one time zone per process; a site has one per persona. persona_tz_load() reads the zone's TZif
 * file (RFC 8536) once, expands the rule in its footer, and the table answers for any thread from then on.
 */
#ifndef PERSONA_TZ_H
#define PERSONA_TZ_H

#include "persona.h"

typedef struct persona_tz_t persona_tz_t;

/** Where a moment falls on the clock and calendar of a zone. */
typedef struct persona_tz_local_t {
    apr_int64_t seconds;   /**< seconds since 1970-01-01 00:00 of that clock */
    apr_int64_t day;       /**< days since 1970-01-01 of that calendar */
    int second;            /**< of the day, 0 .. 86399 */
    int hour;              /**< 0 .. 23 */
    int weekday;           /**< 0 is Sunday, as in struct tm */
} persona_tz_local_t;

/** Read zone `name` (IANA) from `directory` (NULL: the system's). APR_EINVAL: no such name or not a TZif file. */
apr_status_t persona_tz_load(const persona_tz_t **tz, const char *directory, const char *name, apr_pool_t *p);
/** The same from the bytes of a TZif file. */
apr_status_t persona_tz_parse(const persona_tz_t **tz, const char *data, apr_size_t len, apr_pool_t *p);
/** Seconds east of UTC at `at`; `tz` NULL is UTC. */
int persona_tz_offset(const persona_tz_t *tz, apr_time_t at);
/** The local clock at `at`; `tz` NULL is UTC. */
void persona_tz_local(const persona_tz_t *tz, apr_time_t at, persona_tz_local_t *local);

#endif

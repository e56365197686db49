/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file store.h
 * @brief Limits that every store keeps, whatever it stores in. Private to the stores and the pool.
 */
#ifndef PERSONA_POOL_STORE_H
#define PERSONA_POOL_STORE_H

#include "persona_store.h"

#define PERSONA_STORE_KEY_MAX 200
#define PERSONA_STORE_VALUE_MAX 8192

/** APR_EINVAL where group or key are not printable ASCII of at most PERSONA_STORE_KEY_MAX bytes, or the
 * value (may be NULL) is longer than PERSONA_STORE_VALUE_MAX. */
apr_status_t persona_store_check(const char *group, const char *key, const char *value);
/** A counter's text, decimal digits (memcached may leave blanks behind); APR_EGENERAL: it is none. */
apr_status_t persona_store_counter(const char *text, apr_uint64_t *value);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file digest.h
 * @brief Hashes, MACs, random identifiers. libcrypto does the work: apr-util 1.6 has no HMAC.
 */
#ifndef PERSONA_DIGEST_H
#define PERSONA_DIGEST_H

#include "persona.h"

#define PERSONA_HEX256_LEN 65

/** hex of SHA-256 (FIPS 180-4). */
void persona_sha256(const void *data, apr_size_t len, char hex[PERSONA_HEX256_LEN]);
/** hex of HMAC-SHA256 (RFC 2104) under `key`. */
void persona_hmac(const void *key, apr_size_t key_len, const void *data, apr_size_t len,
                  char hex[PERSONA_HEX256_LEN]);
/** Equal, in a time that does not depend on where they differ. */
int persona_hex_equal(const char *a, const char *b);
/** `bytes` random bytes in hexadecimal; aborts the process where the system has no randomness. */
char *persona_random_hex(apr_size_t bytes, apr_pool_t *p);
/** A random uuid (RFC 4122 version 4). */
char *persona_uuid_random(apr_pool_t *p);
/** RFC 4122 version 5 of `name` in the space of `space`, a uuid in text form. NULL: `space` is
 * none. */
char *persona_uuid_v5(const char *space, const char *name, apr_pool_t *p);
/** Whether it is a uuid in lower-case text form. */
int persona_uuid_valid(const char *text);

#endif

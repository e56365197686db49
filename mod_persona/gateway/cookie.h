/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file cookie.h
 * @brief Cookies: ours, and those of instances, which live in a name space of their own.
 *
 * A browser sends one header with the cookies of every path that fits, and does not say which is whose. So the
 * cookies of an instance travel under a prefix that the gateway puts on and takes off: what has no prefix is
 * the gateway's or its neighbour's and never reaches an instance.
 */
#ifndef PERSONA_GATEWAY_COOKIE_H
#define PERSONA_GATEWAY_COOKIE_H

#include <apr_pools.h>

#define PERSONA_COOKIE "persona_session"
#define PERSONA_COOKIE_PREFIX "persona_i."
/** Length of T: 32 random bytes in hexadecimal. */
#define PERSONA_TOKEN_LEN 64

/** T from a Cookie header (NULL: none); NULL where it is missing or has not the form of one. The first wins. */
const char *persona_cookie_token(const char *header, apr_pool_t *p);
/** The Cookie header that the instance gets; NULL: none. */
const char *persona_cookie_inward(const char *header, apr_pool_t *p);
/** An instance's Set-Cookie as the browser gets it: prefixed, without Domain, its Path moved from `path` (the
 * application's place in the instance, ends with '/') under `prefix` ("/apps/app/"). NULL: to be dropped. */
const char *persona_cookie_outward(const char *set_cookie, const char *path, const char *prefix, apr_pool_t *p);
/** Our Set-Cookie. */
const char *persona_cookie_set(const char *token, const char *prefix, int secure, apr_pool_t *p);
/** A path of the instance in the gateway's URL space: what is under `path` moves under `prefix`; what is not
 * is put there as it is. */
const char *persona_path_outward(const char *location, const char *path, const char *prefix, apr_pool_t *p);

#endif

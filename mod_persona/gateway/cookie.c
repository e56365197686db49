/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file cookie.c
 * @brief Cookies: ours, and those of instances, which live in a name space of their own.
 */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "cookie.h"

/** The next `name=value` of a Cookie header; advances *header. Returns 0 at the end. */
static int next_pair(const char **header, const char **pair, apr_size_t *len)
{
    const char *at = *header, *end;

    while (*at == ' ' || *at == '\t' || *at == ';') {
        at++;
    }
    if (!*at) {
        return 0;
    }
    end = strchr(at, ';');
    if (!end) {
        end = at + strlen(at);
    }
    *header = end;
    while (end > at && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    *pair = at;
    *len = (apr_size_t)(end - at);
    return 1;
}

static int token_valid(const char *token, apr_size_t len)
{
    apr_size_t i;

    if (len != PERSONA_TOKEN_LEN) {
        return 0;
    }
    for (i = 0; i < len; i++) {
        if (!(token[i] >= '0' && token[i] <= '9') && !(token[i] >= 'a' && token[i] <= 'f')) {
            return 0;
        }
    }
    return 1;
}

const char *persona_cookie_token(const char *header, apr_pool_t *p)
{
    const apr_size_t name = sizeof(PERSONA_COOKIE "=") - 1;
    const char *pair;
    apr_size_t len;

    while (header && next_pair(&header, &pair, &len)) {
        if (len > name && !memcmp(pair, PERSONA_COOKIE "=", name)) {
            return token_valid(pair + name, len - name) ? apr_pstrmemdup(p, pair + name, len - name) : NULL;
        }
    }
    return NULL;
}

const char *persona_cookie_inward(const char *header, apr_pool_t *p)
{
    const apr_size_t prefix = sizeof(PERSONA_COOKIE_PREFIX) - 1;
    const char *pair, *inward = NULL;
    apr_size_t len;

    while (header && next_pair(&header, &pair, &len)) {
        if (len > prefix && !memcmp(pair, PERSONA_COOKIE_PREFIX, prefix)) {
            const char *one = apr_pstrmemdup(p, pair + prefix, len - prefix);

            inward = inward ? apr_pstrcat(p, inward, "; ", one, NULL) : one;
        }
    }
    return inward;
}

const char *persona_path_outward(const char *location, const char *path, const char *prefix, apr_pool_t *p)
{
    apr_size_t len = strlen(path);

    if (!strncmp(location, path, len)) {
        return apr_pstrcat(p, prefix, location + len, NULL);
    }
    /* "/app" for an application at "/app/" */
    if (len > 1 && strlen(location) == len - 1 && !strncmp(location, path, len - 1)) {
        return prefix;
    }
    return apr_pstrcat(p, prefix, location + (*location == '/'), NULL);
}

/** Whether `attribute` has this name, with or without a value. */
static int attribute_is(const char *attribute, apr_size_t len, const char *name)
{
    apr_size_t n = strlen(name);

    return len >= n && !strncasecmp(attribute, name, n) && (len == n || attribute[n] == '=' || attribute[n] == ' ');
}

static const char *cookie_path(const char *attributes, const char *path, const char *prefix, apr_pool_t *p)
{
    const char *pair, *found = NULL;
    apr_size_t len;

    while (next_pair(&attributes, &pair, &len)) {
        if (len > 5 && !strncasecmp(pair, "Path=", 5) && pair[5] == '/') {
            found = apr_pstrmemdup(p, pair + 5, len - 5);
        }
    }
    if (!found || !strcmp(found, "/")) {
        return prefix;
    }
    return persona_path_outward(found, path, prefix, p);
}

const char *persona_cookie_outward(const char *set_cookie, const char *path, const char *prefix, apr_pool_t *p)
{
    const char *pair, *result, *attributes;
    apr_size_t len;

    if (!next_pair(&set_cookie, &pair, &len) || !memchr(pair, '=', len) || *pair == '=') {
        return NULL;
    }
    result = apr_pstrcat(p, PERSONA_COOKIE_PREFIX, apr_pstrmemdup(p, pair, len), NULL);
    attributes = set_cookie;
    while (next_pair(&set_cookie, &pair, &len)) {
        if (!attribute_is(pair, len, "Path") && !attribute_is(pair, len, "Domain")) {
            result = apr_pstrcat(p, result, "; ", apr_pstrmemdup(p, pair, len), NULL);
        }
    }
    return apr_pstrcat(p, result, "; Path=", cookie_path(attributes, path, prefix, p), NULL);
}

const char *persona_cookie_set(const char *token, const char *prefix, int secure, apr_pool_t *p)
{
    return apr_pstrcat(p, PERSONA_COOKIE "=", token, "; Path=", prefix, "; HttpOnly; SameSite=Lax",
                       secure ? "; Secure" : "", NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file store.c
 * @brief Limits that every store keeps.
 */
#include <string.h>

#include "store.h"

static int printable(const char *text)
{
    const char *c;

    for (c = text; *c; c++) {
        if (*c <= ' ' || *c > '~' || c - text >= PERSONA_STORE_KEY_MAX) {
            return 0;
        }
    }
    return c > text;
}

apr_status_t persona_store_check(const char *group, const char *key, const char *value)
{
    if (!printable(group) || !printable(key) || (value && strlen(value) > PERSONA_STORE_VALUE_MAX)) {
        return APR_EINVAL;
    }
    return APR_SUCCESS;
}

apr_status_t persona_store_counter(const char *text, apr_uint64_t *value)
{
    apr_uint64_t n = 0;
    const char *c = text;

    for (; *c >= '0' && *c <= '9'; c++) {
        apr_uint64_t digit = (apr_uint64_t)(*c - '0');

        if (n > (APR_UINT64_MAX - digit) / 10) {
            return APR_EGENERAL;
        }
        n = n * 10 + digit;
    }
    if (c == text || c[strspn(c, " ")] != '\0') {
        return APR_EGENERAL;
    }
    *value = n;
    return APR_SUCCESS;
}

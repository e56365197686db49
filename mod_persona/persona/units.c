/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file units.c
 * @brief Durations and sizes as people write them.
 */
#include <string.h>

#include <apr_strings.h>

#include "settings.h"
#include "text.h"

typedef struct unit_t {
    const char *name;
    apr_int64_t factor;
} unit_t;

static const unit_t duration_units[] = {
    {"", APR_USEC_PER_SEC},
    {"ms", 1000},
    {"s", APR_USEC_PER_SEC},
    {"m", 60 * (apr_int64_t)APR_USEC_PER_SEC},
    {"min", 60 * (apr_int64_t)APR_USEC_PER_SEC},
    {"h", 3600 * (apr_int64_t)APR_USEC_PER_SEC},
    {"d", 86400 * (apr_int64_t)APR_USEC_PER_SEC},
    {NULL, 0},
};

static const unit_t size_units[] = {
    {"", 1},
    {"B", 1},
    {"KiB", (apr_int64_t)1 << 10},
    {"MiB", (apr_int64_t)1 << 20},
    {"GiB", (apr_int64_t)1 << 30},
    {"TiB", (apr_int64_t)1 << 40},
    {"kB", 1000},
    {"KB", 1000},
    {"MB", 1000 * 1000},
    {"GB", 1000 * 1000 * 1000},
    {"TB", (apr_int64_t)1000 * 1000 * 1000 * 1000},
    {NULL, 0},
};

static const char *quantity_parse(const char *text, const unit_t *units, const char *right,
                                  apr_int64_t *value, apr_pool_t *p)
{
    apr_size_t digits = strspn(text, "0123456789");
    apr_int64_t number = 0;

    if (digits == 0) {
        return apr_psprintf(p, "%s does not begin with a whole number; write %s",
                            persona_text_quote(text, p), right);
    }
    while (units->name && strcmp(units->name, text + digits) != 0) {
        units++;
    }
    if (!units->name) {
        return apr_psprintf(p, "%s has the unknown unit %s; write %s", persona_text_quote(text, p),
                            persona_text_quote(text + digits, p), right);
    }
    for (apr_size_t i = 0; i < digits; i++) {
        int digit = text[i] - '0';

        if (number > (APR_INT64_MAX / units->factor - digit) / 10) {
            return apr_psprintf(p, "%s is too large; write %s", persona_text_quote(text, p), right);
        }
        number = 10 * number + digit;
    }
    *value = number * units->factor;
    return NULL;
}

const char *persona_duration_parse(const char *text, apr_interval_time_t *value, apr_pool_t *p)
{
    return quantity_parse(text, duration_units,
                          "a whole number with ms, s, m, h or d, such as \"90s\" or \"15m\"", value,
                          p);
}

const char *persona_size_parse(const char *text, apr_int64_t *value, apr_pool_t *p)
{
    return quantity_parse(
        text, size_units,
        "a whole number with KiB, MiB, GiB, TiB, kB, MB, GB or TB, such as \"512MiB\" or \"8GiB\"",
        value, p);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include "persona/settings.h"

typedef struct case_t {
    const char *text;
    apr_int64_t value;
} case_t;

static void bad_durations(void **state)
{
    static const case_t cases[] = {
        {"", 0},
        {" 5s", 0},
        {"5 s", 0},
        {"-5s", 0},
        {"+5s", 0},
        {"5S", 0},
        {"5sec", 0},
        {"1.5h", 0},
        {"five", 0},
        {"0x10s", 0},
        {"5s ", 0},
        {"s", 0},
        {"5us", 0},
        {"9223372036854775808", 0},
        {"99999999999999999999d", 0},
        {"106751992d", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        apr_interval_time_t value = 42;
        const char *wrong = persona_duration_parse(cases[i].text, &value, unit_pool);

        if (!wrong || value != 42) {
            fail_msg("accepted: \"%s\"", cases[i].text);
        }
        assert_non_null(strstr(wrong, "\"15m\""));
    }
}

static void good_durations(void **state)
{
    static const case_t cases[] = {
        {"0", 0},
        {"250ms", 250000},
        {"5s", 5000000},
        {"90", 90000000},
        {"15m", 900000000},
        {"15min", 900000000},
        {"12h", 43200000000},
        {"1d", 86400000000},
        {"007s", 7000000},
        {"106751991d", APR_INT64_C(9223372022400000000)},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        apr_interval_time_t value = -1;

        assert_null(persona_duration_parse(cases[i].text, &value, unit_pool));
        assert_true(value == cases[i].value);
    }
}

static void bad_sizes(void **state)
{
    static const case_t cases[] = {
        {"", 0},
        {"8 GiB", 0},
        {"8gib", 0},
        {"8G", 0},
        {"8Gi", 0},
        {"-8GiB", 0},
        {"1.5GiB", 0},
        {"GiB", 0},
        {"8GiBB", 0},
        {"8388608TiB", 0},
        {"9223372036854775808", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        apr_int64_t value = 42;
        const char *wrong = persona_size_parse(cases[i].text, &value, unit_pool);

        if (!wrong || value != 42) {
            fail_msg("accepted: \"%s\"", cases[i].text);
        }
        assert_non_null(strstr(wrong, "\"8GiB\""));
    }
}

static void good_sizes(void **state)
{
    static const case_t cases[] = {
        {"0", 0},
        {"1", 1},
        {"7B", 7},
        {"1KiB", 1024},
        {"512MiB", 536870912},
        {"8GiB", APR_INT64_C(8589934592)},
        {"2TiB", APR_INT64_C(2199023255552)},
        {"3kB", 3000},
        {"3KB", 3000},
        {"40MB", 40000000},
        {"40GB", APR_INT64_C(40000000000)},
        {"1TB", APR_INT64_C(1000000000000)},
        {"9223372036854775807", APR_INT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        apr_int64_t value = -1;

        assert_null(persona_size_parse(cases[i].text, &value, unit_pool));
        assert_true(value == cases[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(bad_durations),
        UNIT_TEST(good_durations),
        UNIT_TEST(bad_sizes),
        UNIT_TEST(good_sizes),
    };

    return UNIT_RUN(tests);
}

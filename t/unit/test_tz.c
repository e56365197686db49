/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones: bad files first, then the hours around the changes of daylight saving. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include <apr_general.h>

#include "persona/tz.h"

static apr_pool_t *pool;

#define AT(seconds) apr_time_from_sec((apr_int64_t)(seconds))

static const persona_tz_t *zone(const char *name)
{
    const persona_tz_t *tz = NULL;

    assert_int_equal(persona_tz_load(&tz, NULL, name, pool), APR_SUCCESS);
    return tz;
}

static void check(const persona_tz_t *tz, apr_int64_t at, int hour, int weekday)
{
    persona_tz_local_t local;

    persona_tz_local(tz, AT(at), &local);
    assert_int_equal(local.hour, hour);
    assert_int_equal(local.weekday, weekday);
}

static void refuses_bad_names(void **state)
{
    static const char *const bad[] = { "", "/etc/passwd", "../../../etc/passwd", "Europe/../UTC", "Europe",
        "Europe/Nowhere", "a b", "Europe/Berlin\n", "tzdata.zi",
        "Europe/Berlinxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" };
    const persona_tz_t *tz;
    apr_size_t k;

    (void)state;
    for (k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
        assert_int_equal(persona_tz_load(&tz, NULL, bad[k], pool), APR_EINVAL);
    }
}

/* A version 2 file with one type and the given footer. */
static apr_size_t make_file(char *out, const char *footer, unsigned type_count)
{
    char head[44] = "TZif2";
    apr_size_t n = 0;
    int round;

    head[39] = (char)type_count;
    for (round = 0; round < 2; round++) {
        memcpy(out + n, head, 44);
        n += 44;
        memset(out + n, 0, 6 * type_count);
        n += 6 * type_count;
    }
    memcpy(out + n, footer, strlen(footer));
    return n + strlen(footer);
}

static void refuses_bad_files(void **state)
{
    static const char *const footers[] = { "", "\n", "\nCET", "\nC\n", "\nCET-1CEST\n", "\nCET-1CEST,M3.5.0\n",
        "\nCET-1CEST,M13.5.0,M10.5.0\n", "\nCET-1CEST,M3.6.0,M10.5.0\n", "\nCET-1CEST,M3.5.0,M10.5.0x\n",
        "\nCET-1CEST,M3.5.7,M10.5.0\n", "\nCET-x\n", "\n<+03\n" };
    const persona_tz_t *tz;
    char file[256];
    apr_size_t k, len;

    (void)state;
    for (k = 0; k < sizeof(footers) / sizeof(footers[0]); k++) {
        len = make_file(file, footers[k], 1);
        assert_int_equal(persona_tz_parse(&tz, file, len, pool), APR_EINVAL);
    }
    len = make_file(file, "\nUTC0\n", 0);
    assert_int_equal(persona_tz_parse(&tz, file, len, pool), APR_EINVAL);
    len = make_file(file, "\n<+0330>-3:30\n", 1);
    assert_int_equal(persona_tz_parse(&tz, file, len, pool), APR_SUCCESS);
    for (k = 0; k < len; k++) {
        assert_int_equal(persona_tz_parse(&tz, file, k, pool), APR_EINVAL);
    }
    file[0] = 'X';
    assert_int_equal(persona_tz_parse(&tz, file, len, pool), APR_EINVAL);
}

static void berlin_around_the_changes(void **state)
{
    const persona_tz_t *tz = zone("Europe/Berlin");

    (void)state;
    check(tz, 1774745999, 1, 0);           /* 2026-03-29 00:59:59 UTC, Sunday: 01:59:59 */
    check(tz, 1774746000, 3, 0);           /* one second later it is 03:00 */
    assert_int_equal(persona_tz_offset(tz, AT(1774746000)), 7200);
    check(tz, 1792886400, 2, 0);           /* 2026-10-25 00:00 UTC: 02:00 summer time */
    check(tz, 1792889999, 2, 0);
    check(tz, 1792890000, 2, 0);           /* 01:00 UTC: 02:00 again */
    check(tz, 1792893600, 3, 0);
    assert_int_equal(persona_tz_offset(tz, AT(1792889999)), 7200);
    assert_int_equal(persona_tz_offset(tz, AT(1792890000)), 3600);
}

static void zones_without_saving_and_half_hours(void **state)
{
    (void)state;
    check(NULL, 0, 0, 4);                  /* 1970-01-01 was a Thursday */
    check(zone("UTC"), 1774746000, 1, 0);
    check(zone("Asia/Kolkata"), 1774746000, 6, 0);
    check(zone("America/New_York"), 1774746000, 21, 6);
    check(zone("Pacific/Chatham"), 1774746000, 14, 0);
}

/* Files may end at the last change of the law: the footer's rule carries on, far into the future. */
static void footers_carry_on(void **state)
{
    const persona_tz_t *tz;
    char file[256];
    apr_size_t len = make_file(file, "\nCET-1CEST,M3.5.0,M10.5.0/3\n", 1);

    (void)state;
    assert_int_equal(persona_tz_parse(&tz, file, len, pool), APR_SUCCESS);
    check(tz, 1774745999, 1, 0);
    check(tz, 1774746000, 3, 0);
    assert_int_equal(persona_tz_offset(tz, AT(1792889999)), 7200);
    assert_int_equal(persona_tz_offset(tz, AT(1792890000)), 3600);
    assert_int_equal(persona_tz_offset(tz, AT(4118083200)), 7200);            /* 2100-07-01 */
    len = make_file(file, "\nAEST-10AEDT,M10.1.0,M4.1.0/3\n", 1);
    assert_int_equal(persona_tz_parse(&tz, file, len, pool), APR_SUCCESS);
    assert_int_equal(persona_tz_offset(tz, AT(1767225600)), 39600);           /* 2026-01-01: summer there */
    assert_int_equal(persona_tz_offset(tz, AT(1782864000)), 36000);           /* 2026-07-01 */
    len = make_file(file, "\n<-02>2<-01>,J60/-1,300/2\n", 1);
    assert_int_equal(persona_tz_parse(&tz, file, len, pool), APR_SUCCESS);
    assert_int_equal(persona_tz_offset(tz, AT(1782864000)), -3600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_bad_names),
        cmocka_unit_test(refuses_bad_files),
        cmocka_unit_test(berlin_around_the_changes),
        cmocka_unit_test(zones_without_saving_and_half_hours),
        cmocka_unit_test(footers_carry_on)
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}

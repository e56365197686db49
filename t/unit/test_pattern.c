/* SPDX-License-Identifier: Apache-2.0 */
/* The policy "pattern": limits first, then what each level means and when it holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include <apr_general.h>

#include "persona/tz.h"
#include "persona_forecast.h"

static apr_pool_t *pool;
static persona_forecast_t *forecast;

/* Low until 8, medium until 12, high until 18, low after; Sunday low, Monday high. 2026-03-23 is a Monday. */
static persona_t *make_persona(int min, int max)
{
    persona_t *persona = apr_pcalloc(pool, sizeof(*persona));
    int k;

    persona->id = "p";
    persona->pool.min = min;
    persona->pool.max = max;
    for (k = 0; k < 24; k++) {
        persona->usage.hourly[k] = k < 8 || k >= 18 ? PERSONA_USAGE_LOW
                                                    : k < 12 ? PERSONA_USAGE_MEDIUM : PERSONA_USAGE_HIGH;
    }
    for (k = 0; k < 7; k++) {
        persona->usage.daily[k] = PERSONA_USAGE_MEDIUM;
    }
    persona->usage.daily[0] = PERSONA_USAGE_LOW;
    persona->usage.daily[1] = PERSONA_USAGE_HIGH;
    return persona;
}

#define MONDAY 1774224000
#define AT(day, hour) apr_time_from_sec(MONDAY + (day) * 86400 + (hour) * 3600)

static int target(const persona_t *persona, apr_time_t at)
{
    persona_target_t out;

    persona_forecast_target(forecast, persona, at, &out);
    assert_true(out.reason[0] != '\0');
    return out.ready;
}

static void unknown_policy(void **state)
{
    persona_forecast_t *none;

    (void)state;
    assert_int_equal(persona_forecast_create(&none, "crystal ball", pool), APR_ENOTIMPL);
}

static void stays_within_the_limits(void **state)
{
    (void)state;
    assert_int_equal(target(make_persona(0, 0), AT(1, 14)), 0);
    assert_int_equal(target(make_persona(3, 3), AT(1, 14)), 3);
    assert_int_equal(target(make_persona(0, 1), AT(1, 14)), 1);
    assert_int_equal(target(make_persona(2, 100000), AT(1, 14)), 12);
}

static void levels_by_hour(void **state)
{
    const persona_t *persona = make_persona(1, 21);

    (void)state;
    assert_int_equal(target(persona, AT(1, 7)), 1);
    assert_int_equal(target(persona, AT(1, 8)), 3);
    assert_int_equal(target(persona, AT(1, 12)), 6);
    assert_int_equal(target(persona, AT(1, 18)), 1);
}

static void days_move_the_level(void **state)
{
    const persona_t *persona = make_persona(1, 21);

    (void)state;
    assert_int_equal(target(persona, AT(0, 9)), 6);     /* Monday: medium becomes high */
    assert_int_equal(target(persona, AT(0, 3)), 1);     /* but the night stays low */
    assert_int_equal(target(persona, AT(6, 9)), 1);     /* Sunday: medium becomes low */
    assert_int_equal(target(persona, AT(6, 14)), 3);
}

static void hours_are_local(void **state)
{
    persona_t *persona = make_persona(1, 21);
    persona_target_t out;

    (void)state;
    assert_int_equal(persona_tz_load(&persona->usage.zone, NULL, "Europe/Berlin", pool), APR_SUCCESS);
    assert_int_equal(target(persona, AT(1, 6)), 1);     /* 07:00 in winter */
    assert_int_equal(target(persona, AT(1, 7)), 3);
    assert_int_equal(target(persona, AT(8, 6)), 3);     /* a week later, in summer: 08:00 */
    persona_forecast_target(forecast, persona, AT(8, 6), &out);
    assert_string_equal(out.reason, "pattern medium at 8h Tue");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_policy),
        cmocka_unit_test(stays_within_the_limits),
        cmocka_unit_test(levels_by_hour),
        cmocka_unit_test(days_move_the_level),
        cmocka_unit_test(hours_are_local)
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    if (persona_forecast_create(&forecast, "pattern", pool) != APR_SUCCESS) {
        return 1;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}

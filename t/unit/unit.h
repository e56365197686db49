/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file unit.h
 * @brief What every unit test includes: cmocka with what it needs, and one APR pool for each test.
 */
#ifndef PERSONA_UNIT_H
#define PERSONA_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <apr_general.h>
#include <apr_pools.h>

#include <cmocka.h>

/** The pool of the running test: made by unit_setup(), gone with unit_teardown(). */
static apr_pool_t *unit_pool;

static int unit_setup(void **state)
{
    (void)state;
    return apr_pool_create(&unit_pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int unit_teardown(void **state)
{
    (void)state;
    apr_pool_destroy(unit_pool);
    return 0;
}

#define UNIT_TEST(f) cmocka_unit_test_setup_teardown(f, unit_setup, unit_teardown)

/** The body of main(). */
#define UNIT_RUN(tests)                                                                            \
    (apr_initialize() == APR_SUCCESS ? cmocka_run_group_tests(tests, NULL, NULL) : 1)

#endif

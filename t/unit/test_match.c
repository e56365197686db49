/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include "persona/match.h"

/** A catalog made by hand: match looks at app, order, id and affinity only. */
static persona_catalog_t catalog;

static persona_t *add(const char *id, const char *app, const char *role, double weight)
{
    persona_t *persona = apr_pcalloc(unit_pool, sizeof(*persona));
    apr_array_header_t *affinity = apr_array_make(unit_pool, 2, sizeof(persona_affinity_t));

    persona->id = id;
    persona->app_id = app;
    persona->affinity = affinity;
    if (role) {
        APR_ARRAY_PUSH(affinity, persona_affinity_t) = (persona_affinity_t){role, weight};
    }
    APR_ARRAY_PUSH(catalog.personas, persona_t *) = persona;
    return persona;
}

static int setup(void **state)
{
    unit_setup(state);
    memset(&catalog, 0, sizeof(catalog));
    catalog.personas = apr_array_make(unit_pool, 8, sizeof(persona_t *));
    return 0;
}

static const char *match(const char *app, const char *roles)
{
    const char *why = NULL;
    const persona_t *persona =
        persona_match(&catalog, app, persona_roles_parse(roles, unit_pool), &why, unit_pool);

    assert_non_null(why);
    return persona ? persona->id : "none";
}

static void roles_of_a_list(void **state)
{
    char longest[PERSONA_USER_MAX + 2];
    apr_array_header_t *roles =
        persona_roles_parse(" graphic designer ,,\tengineer, ,x", unit_pool);

    (void)state;
    assert_int_equal(roles->nelts, 3);
    assert_string_equal(APR_ARRAY_IDX(roles, 0, const char *), "graphic designer");
    assert_string_equal(APR_ARRAY_IDX(roles, 1, const char *), "engineer");
    assert_string_equal(APR_ARRAY_IDX(roles, 2, const char *), "x");
    assert_int_equal(persona_roles_parse(NULL, unit_pool)->nelts, 0);
    assert_int_equal(persona_roles_parse("", unit_pool)->nelts, 0);
    assert_int_equal(persona_roles_parse(" , ", unit_pool)->nelts, 0);
    memset(longest, 'r', sizeof(longest));
    longest[PERSONA_USER_MAX + 1] = '\0';
    assert_int_equal(persona_roles_parse(longest, unit_pool)->nelts, 0);
    longest[PERSONA_USER_MAX] = '\0';
    assert_int_equal(persona_roles_parse(longest, unit_pool)->nelts, 1);
}

static void nothing_there(void **state)
{
    (void)state;
    assert_string_equal(match("cad", "engineer"), "none");
    add("other", "office", "engineer", 1);
    assert_string_equal(match("cad", "engineer"), "none");
}

static void another_role(void **state)
{
    (void)state;
    add("a", "cad", "engineer", 1);
    assert_string_equal(match("cad", NULL), "none");
    assert_string_equal(match("cad", "Engineer"), "none");
    assert_string_equal(match("cad", "engineers"), "none");
    assert_string_equal(match("cad", "chief engineer"), "none");
    assert_string_equal(match("cad", "x, engineer"), "a");
}

static void highest_affinity_wins(void **state)
{
    (void)state;
    add("low", "cad", "engineer", 0.4);
    add("high", "cad", "engineer", 0.5);
    add("designer", "cad", "designer", 1);
    add("open", "cad", NULL, 0);
    assert_string_equal(match("cad", "engineer"), "high");
    assert_string_equal(match("cad", "engineer,designer"), "designer");
    assert_string_equal(match("cad", "student"), "open");
}

static void order_decides_among_equals(void **state)
{
    (void)state;
    /* The catalog has them in their own order. */
    add("first", "cad", "engineer", 0.5);
    add("second", "cad", "engineer", 0.5);
    add("open-first", "cad", NULL, 0);
    add("open-second", "cad", NULL, 0);
    assert_string_equal(match("cad", "engineer"), "first");
    assert_string_equal(match("cad", ""), "open-first");
}

static void best_of_several_roles_of_one_persona(void **state)
{
    persona_t *both = add("both", "cad", "viewer", 0.1);

    (void)state;
    APR_ARRAY_PUSH((apr_array_header_t *)(uintptr_t)both->affinity, persona_affinity_t) =
        (persona_affinity_t){"engineer", 0.9};
    add("one", "cad", "viewer", 0.5);
    assert_string_equal(match("cad", "viewer,engineer"), "both");
    assert_string_equal(match("cad", "viewer"), "one");
}

static void default_profile_comes_last(void **state)
{
    persona_t *fallback = add("default", "cad", NULL, 0);

    (void)state;
    fallback->is_default = 1;
    catalog.fallback = fallback;
    add("open", "cad", NULL, 0);
    add("office", "office", "clerk", 1);
    assert_string_equal(match("cad", ""), "open");
    assert_string_equal(match("office", "engineer"), "default");
    assert_string_equal(match("unknown", "engineer"), "default");
}

static void explanation(void **state)
{
    const char *text;

    (void)state;
    add("high", "cad", "engineer", 0.5);
    add("open", "cad", NULL, 0);
    add("other", "cad", "designer", 1);
    text = persona_match_explain(&catalog, "cad", persona_roles_parse("engineer", unit_pool),
                                 unit_pool);
    assert_string_equal(text,
                        "* high: affinity 0.5 by role \"engineer\", order 0\n"
                        "  open: suits anybody, order 0\n"
                        "  other: no role of the user has an affinity\n"
                        "high: its affinity with the role \"engineer\" is the highest (0.5)\n");
    text = persona_match_explain(&catalog, "x", persona_roles_parse("", unit_pool), unit_pool);
    assert_non_null(strstr(text, "none: no persona of the application suits"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(roles_of_a_list),
        TEST(nothing_there),
        TEST(another_role),
        TEST(highest_affinity_wins),
        TEST(order_decides_among_equals),
        TEST(best_of_several_roles_of_one_persona),
        TEST(default_profile_comes_last),
        TEST(explanation),
    };

    return UNIT_RUN(tests);
}

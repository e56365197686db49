/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include "persona/text.h"

static void quote(void **state)
{
    char longest[200];

    (void)state;
    assert_string_equal(persona_text_quote("", unit_pool), "\"\"");
    assert_string_equal(persona_text_quote("a\nb\x7f", unit_pool), "\"a\\x0ab\\x7f\"");
    memset(longest, 'x', sizeof(longest));
    longest[199] = '\0';
    assert_int_equal(strlen(persona_text_quote(longest, unit_pool)), 60 + 5);
    /* A character of two bytes lies over the cut. */
    memcpy(longest + 59, "\xc3\xa9", 2);
    assert_int_equal(strlen(persona_text_quote(longest, unit_pool)), 59 + 5);
}

static void nearest(void **state)
{
    static const char *const words[] = {
        "application_source", "cpu", "memory", "metric", "min", "max", NULL};
    static const struct {
        const char *text, *meant;
    } cases[] = {
        {"", NULL},
        {"x", NULL},
        {"title", NULL},
        {"gpu", "cpu"},
        {"CPU", "cpu"},
        {"mermoy", "memory"},
        {"metrics", "metric"},
        {"aplication_source", "application_source"},
        {"mni", "min"},
        {"minimum", "min"},
        {"app", NULL},
        {"memroy", "memory"},
        {"applicationSource", "application_source"},
        {"0123456789012345678901234567890123456789012345678901234567890", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *found = persona_text_nearest(cases[i].text, words);

        if (cases[i].meant ? !found || strcmp(found, cases[i].meant) != 0 : found != NULL) {
            fail_msg("\"%s\": found %s", cases[i].text, found ? found : "none");
        }
    }
}

static void choices(void **state)
{
    static const char *const one[] = {"a", NULL}, *const three[] = {"a", "b", "c", NULL};

    (void)state;
    assert_string_equal(persona_text_choices(one, unit_pool), "\"a\"");
    assert_string_equal(persona_text_choices(three, unit_pool), "\"a\", \"b\" or \"c\"");
}

static void names(void **state)
{
    static const char *const bad[] = {"",    ".",   "..", "-a",       "_a", "A",
                                      "a b", "a/b", "a*", "\xc3\xa9", "a\n"};
    char longest[PERSONA_NAME_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (persona_text_name_valid(bad[i])) {
            fail_msg("accepted: \"%s\"", bad[i]);
        }
    }
    memset(longest, 'a', sizeof(longest));
    longest[PERSONA_NAME_MAX + 1] = '\0';
    assert_false(persona_text_name_valid(longest));
    longest[PERSONA_NAME_MAX] = '\0';
    assert_true(persona_text_name_valid(longest));
    assert_true(persona_text_name_valid("0a.b_c-d"));
}

static void folders(void **state)
{
    static const char *const odd[] = {"",   ".",  "..",  ".locks",   "a/b", "a b",
                                      "=a", "_a", "%61", "\xc3\xa9", "a\n"};
    char longest[66];

    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        const char *folder = persona_text_folder(odd[i], unit_pool);

        if (folder[0] != '=' || strlen(folder) != 65 ||
            strspn(folder + 1, "0123456789abcdef") != 64) {
            fail_msg("\"%s\" is the folder of \"%s\"", folder, odd[i]);
        }
    }
    memset(longest, 'a', sizeof(longest));
    longest[65] = '\0';
    assert_int_equal(*persona_text_folder(longest, unit_pool), '=');
    longest[64] = '\0';
    assert_string_equal(persona_text_folder(longest, unit_pool), longest);
    assert_string_equal(persona_text_folder("Ann.O-1_x@example.org", unit_pool),
                        "Ann.O-1_x@example.org");
}

int main(void)
{
    const struct CMUnitTest tests[] = {UNIT_TEST(quote), UNIT_TEST(nearest), UNIT_TEST(choices),
                                       UNIT_TEST(names), UNIT_TEST(folders)};

    return UNIT_RUN(tests);
}

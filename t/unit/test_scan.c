/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include <apr_strings.h>

#include "persona/scan.h"

static int duplicates;

static void on_duplicate(void *baton, const persona_node_t *node, const persona_node_t *first)
{
    const persona_node_t **last = baton;

    duplicates++;
    assert_string_equal(node->key, first->key);
    *last = node;
}

static persona_node_t *scan(const char *text)
{
    return persona_scan(text, strlen(text), NULL, NULL, unit_pool);
}

static void what_is_no_json(void **state)
{
    static const char *const bad[] = {
        "",      "{",    "[",        "\"", "\"a\\", "{\"a\"",     "{1:2}",  "{\"a\" 1}",
        "[1 2]", "[1,]", "{\"a\":}", "]",  "1 2",   "{\"a\":1,}", "{\"a\\", "{\"\\ud800\": 1}"};
    char deep[5000];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (scan(bad[i])) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    assert_null(scan(deep));
}

static void places(void **state)
{
    /* The umlaut is two bytes and one column. */
    persona_node_t *root = scan("{\"\xc3\xbc\": 1, \"b\":\n  [10,\t{\"c\\u0064\": null}]}");
    const persona_node_t *list, *inner;

    (void)state;
    assert_non_null(root);
    assert_int_equal(root->line, 1);
    assert_int_equal(root->column, 1);
    assert_int_equal(persona_node_key(root, "\xc3\xbc")->column, 7);
    list = persona_node_key(root, "b");
    assert_int_equal(list->key_line, 1);
    assert_int_equal(list->key_column, 10);
    assert_int_equal(list->line, 2);
    assert_int_equal(list->column, 3);
    assert_int_equal(list->children->next->index, 1);
    inner = persona_node_key(list->children->next, "cd");
    assert_non_null(inner);
    assert_string_equal(persona_node_path(inner, unit_pool), "$.b[1].cd");
    assert_null(persona_node_key(root, "c"));
    assert_null(persona_node_key(list, "b"));
}

static void paths(void **state)
{
    persona_node_t *root = scan("{\"a b\": {\"\": 1}, \"[[\": 2}");
    const persona_node_t *node = persona_node_key(root, "a b");
    char deep[200];

    (void)state;
    assert_string_equal(persona_node_path(root, unit_pool), "$");
    assert_string_equal(persona_node_path(persona_node_key(node, ""), unit_pool),
                        "$[\"a b\"][\"\"]");
    memset(deep, '[', 60);
    memset(deep + 60, ']', 60);
    deep[120] = '\0';
    node = scan(deep);
    while (node->children) {
        node = node->children;
    }
    assert_non_null(strstr(persona_node_path(node, unit_pool), "$...[0]"));
}

static void keys_that_stand_twice(void **state)
{
    static const char text[] = "{\"a\": 1, \"b\": {\"a\": 2},\n \"\\u0061\": 3, \"a\": 4}";
    const persona_node_t *last = NULL;
    persona_node_t *root;

    (void)state;
    duplicates = 0;
    root = persona_scan(text, sizeof(text) - 1, on_duplicate, &last, unit_pool);
    assert_non_null(root);
    assert_int_equal(duplicates, 2);
    assert_int_equal(last->key_line, 2);
    assert_int_equal(last->key_column, 15);
    assert_ptr_equal(persona_node_key(root, "a"), last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {UNIT_TEST(what_is_no_json), UNIT_TEST(places),
                                       UNIT_TEST(paths), UNIT_TEST(keys_that_stand_twice)};

    return UNIT_RUN(tests);
}

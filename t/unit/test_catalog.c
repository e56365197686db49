/* SPDX-License-Identifier: Apache-2.0 */
#include "scratch.h"

#include "persona/catalog.h"
#include "persona_good.h"

#define ROLES "[\"engineer\"]"

static persona_catalog_t *catalog;

static void read_with(const char *lastgood)
{
    persona_catalog_release(catalog);
    assert_int_equal(persona_catalog_read(&catalog, scratch_path("d"), lastgood), APR_SUCCESS);
}

static void read_all(void)
{
    read_with(scratch_path("good"));
}

static int setup(void **state)
{
    catalog = NULL;
    return scratch_setup(state) || mkdir(scratch_path("d"), 0755);
}

static int teardown(void **state)
{
    persona_catalog_release(catalog);
    return scratch_teardown(state);
}

static const char *said(void)
{
    const char *text = "";

    for (int i = 0; i < catalog->errors->nelts; i++) {
        const char *line =
            persona_error_text(&APR_ARRAY_IDX(catalog->errors, i, persona_error_t), unit_pool);

        text = apr_pstrcat(unit_pool, text, line, "\n", NULL);
    }
    return text;
}

static void says(const char *what)
{
    if (!strstr(said(), what)) {
        fail_msg("says\n%snot \"%s\"", said(), what);
    }
}

static int exists(const char *name)
{
    return access(scratch_path(name), F_OK) == 0;
}

static void no_folder(void **state)
{
    (void)state;
    assert_int_equal(persona_catalog_read(&catalog, scratch_path("absent"), NULL), APR_SUCCESS);
    assert_int_equal(catalog->personas->nelts, 0);
    assert_int_equal(catalog->errors->nelts, 1);
    says("absent: the folder does not exist");
    assert_null(catalog->fallback);
    assert_null(persona_catalog_find(catalog, "cad"));
}

static void no_file(void **state)
{
    (void)state;
    read_all();
    says("d: has no persona file");
}

static void a_bad_file_does_not_take_good_ones_down(void **state)
{
    (void)state;
    scratch_file("d/a.json", "{");
    scratch_file("d/cad.json", PERSONA_GOOD("cad", "freecad", ROLES));
    scratch_file("d/z.json", "{\"persona_id\": 1}");
    assert_int_equal(mkfifo(scratch_path("d/pipe.json"), 0644), 0);
    read_all();
    assert_int_equal(catalog->personas->nelts, 1);
    assert_non_null(persona_catalog_find(catalog, "cad"));
    assert_int_equal(catalog->stale->nelts, 0);
    says("a.json:1:1: $: ");
    says("pipe.json: is a pipe");
    says("z.json:1:16: $.persona_id: must be a string");
}

static void one_id_twice(void **state)
{
    (void)state;
    scratch_file("d/a.json", PERSONA_GOOD("cad", "freecad", ROLES));
    scratch_file("d/b.json", PERSONA_GOOD("cad", "office", ROLES));
    read_all();
    assert_int_equal(catalog->errors->nelts, 1);
    says("b.json:1:16: $.persona_id: \"cad\" is the persona_id of a.json already");
    assert_string_equal(persona_catalog_find(catalog, "cad")->app_id, "freecad");
}

static void in_their_own_order(void **state)
{
    (void)state;
    scratch_file("d/1.json", PERSONA_GOOD("b", "freecad", ROLES));
    scratch_file("d/2.json", PERSONA_GOOD("a", "freecad", ROLES));
    scratch_file("d/3.json", PERSONA_GOOD("z", "apps", ROLES));
    scratch_file("d/default.json", PERSONA_GOOD("default", "*", "[]"));
    read_all();
    assert_string_equal(said(), "");
    assert_int_equal(catalog->personas->nelts, 4);
    assert_string_equal(APR_ARRAY_IDX(catalog->personas, 1, persona_t *)->id, "z");
    assert_string_equal(APR_ARRAY_IDX(catalog->personas, 2, persona_t *)->id, "a");
    assert_string_equal(APR_ARRAY_IDX(catalog->personas, 3, persona_t *)->id, "b");
    assert_string_equal(catalog->fallback->id, "default");
}

static void last_good_versions(void **state)
{
    struct stat st;

    (void)state;
    scratch_file("d/cad.json", PERSONA_GOOD("cad", "freecad", ROLES));
    scratch_file("d/office.json", PERSONA_GOOD("office", "office", ROLES));
    read_all();
    assert_int_equal(stat(scratch_path("good/cad.json"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(scratch_path("good"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);

    /* Broken, and read by a process that knows nothing but the disk. */
    scratch_file("d/cad.json", "{\"persona_id\": \"cad\"");
    read_all();
    assert_int_equal(catalog->personas->nelts, 2);
    assert_int_equal(catalog->stale->nelts, 1);
    assert_string_equal(APR_ARRAY_IDX(catalog->stale, 0, const char *), "cad.json");
    assert_string_equal(persona_catalog_find(catalog, "cad")->app_id, "freecad");
    says("cad.json:1:");

    /* Nothing is restored where nobody asks for it. */
    read_with(NULL);
    assert_null(persona_catalog_find(catalog, "cad"));

    /* Mended with other content. */
    scratch_file("d/cad.json", PERSONA_GOOD("cad", "newcad", ROLES));
    read_all();
    assert_int_equal(catalog->stale->nelts, 0);
    scratch_file("d/cad.json", "");
    read_all();
    assert_string_equal(persona_catalog_find(catalog, "cad")->app_id, "newcad");
}

static void removed_files_are_forgotten(void **state)
{
    (void)state;
    scratch_file("d/cad.json", PERSONA_GOOD("cad", "freecad", ROLES));
    scratch_file("d/office.json", PERSONA_GOOD("office", "office", ROLES));
    read_all();
    assert_int_equal(unlink(scratch_path("d/cad.json")), 0);
    read_all();
    assert_null(persona_catalog_find(catalog, "cad"));
    assert_int_equal(catalog->errors->nelts, 0);
    assert_false(exists("good/cad.json"));
    assert_true(exists("good/office.json"));
}

static void a_lost_folder_keeps_all(void **state)
{
    (void)state;
    scratch_file("d/cad.json", PERSONA_GOOD("cad", "freecad", ROLES));
    scratch_file("d/default.json", PERSONA_GOOD("default", "*", "[]"));
    read_all();
    assert_int_equal(rename(scratch_path("d"), scratch_path("gone")), 0);
    read_all();
    assert_int_equal(catalog->personas->nelts, 2);
    assert_int_equal(catalog->stale->nelts, 2);
    assert_non_null(catalog->fallback);
    assert_int_equal(mkdir(scratch_path("d"), 0755), 0);
    read_all();
    assert_int_equal(catalog->personas->nelts, 2);
    assert_true(exists("good/cad.json"));
}

static void an_old_version_takes_no_id_from_a_good_file(void **state)
{
    (void)state;
    scratch_file("d/a.json", PERSONA_GOOD("cad", "old", ROLES));
    read_all();
    scratch_file("d/a.json", "{}");
    scratch_file("d/b.json", PERSONA_GOOD("cad", "new", ROLES));
    read_all();
    assert_string_equal(persona_catalog_find(catalog, "cad")->app_id, "new");
    assert_int_equal(catalog->stale->nelts, 0);
}

static void spoilt_copies_are_not_restored(void **state)
{
    (void)state;
    scratch_file("d/a.json", PERSONA_GOOD("cad", "freecad", ROLES));
    read_all();
    scratch_file("d/a.json", "{}");
    scratch_file("good/a.json", "{");
    read_all();
    assert_int_equal(catalog->personas->nelts, 0);
}

static void a_version_tells_content_apart(void **state)
{
    char version[PERSONA_SESSION_LEN];

    (void)state;
    scratch_file("d/a.json", PERSONA_GOOD("cad", "freecad", ROLES));
    read_all();
    memcpy(version, catalog->version, sizeof(version));
    assert_int_equal(strlen(version), 64);
    scratch_file("d/a.json", "\n" PERSONA_GOOD("cad", "freecad", ROLES));
    read_all();
    assert_string_equal(catalog->version, version);
    scratch_file("d/a.json", PERSONA_GOOD("cad", "freecad", "[]"));
    read_all();
    assert_string_not_equal(catalog->version, version);
}

static void what_is_no_catalog(void **state)
{
    static const char *const bad[] = {
        "{}",
        "[]",
        "null",
        "{\"version\": 1, \"personas\": []}",
        "{\"version\": \"ab\", \"personas\": []}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *json = json_loads(bad[i], JSON_DECODE_ANY, NULL);

        assert_int_equal(persona_catalog_from_json(&catalog, json), APR_EINVAL);
        assert_null(catalog);
        json_decref(json);
    }
}

static void over_the_wire_and_back(void **state)
{
    persona_catalog_t *back;
    const persona_t *persona;
    json_t *json, *again, *first;

    (void)state;
    scratch_file("d/cad.json", PERSONA_GOOD("cad", "freecad", ROLES));
    scratch_file("d/default.json", PERSONA_GOOD("default", "*", "[]"));
    read_all();
    json = persona_catalog_to_json(catalog);
    assert_int_equal(persona_catalog_from_json(&back, json), APR_SUCCESS);
    again = persona_catalog_to_json(back);
    assert_true(json_equal(json, again));
    json_decref(again);
    assert_string_equal(back->version, catalog->version);
    assert_string_equal(back->fallback->id, "default");
    persona = persona_catalog_find(back, "cad");
    assert_string_equal(persona->fingerprint, persona_catalog_find(catalog, "cad")->fingerprint);
    assert_string_equal(persona->file, "cad.json");
    persona_catalog_release(back);

    /* A newer manager: a key of its own is passed over; what cannot be read at all is left out. */
    again = json_deep_copy(json);
    json_decref(json);
    first = json_array_get(json_object_get(again, "personas"), 1);
    assert_string_equal(json_string_value(json_object_get(first, "file")), "cad.json");
    json_object_set_new(json_object_get(first, "document"), "newer", json_true());
    json_array_append_new(json_object_get(again, "personas"), json_pack("{s:s}", "file", "x.json"));
    json_array_append_new(
        json_object_get(again, "personas"),
        json_pack("{s:s, s:{s:s}}", "file", "y.json", "document", "persona_id", "y"));
    assert_int_equal(persona_catalog_from_json(&back, again), APR_SUCCESS);
    json_decref(again);
    assert_int_equal(back->personas->nelts, 2);
    assert_non_null(persona_catalog_find(back, "cad"));
    persona_catalog_release(back);
}

static void references(void **state)
{
    persona_catalog_t *held;

    (void)state;
    scratch_file("d/cad.json", PERSONA_GOOD("cad", "freecad", ROLES));
    read_all();
    held = catalog;
    persona_catalog_hold(held);
    persona_catalog_release(catalog);
    catalog = NULL;
    assert_non_null(persona_catalog_find(held, "cad"));
    persona_catalog_release(held);
    persona_catalog_release(NULL);
}

static void errors_are_one_line(void **state)
{
    persona_error_t error = {"a\nb.json", 3, 4, "$.x", "bad\x1b[31m"};

    (void)state;
    assert_string_equal(persona_error_text(&error, unit_pool),
                        "a\\x0ab.json:3:4: $.x: bad\\x1b[31m");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_folder),
        TEST(no_file),
        TEST(a_bad_file_does_not_take_good_ones_down),
        TEST(one_id_twice),
        TEST(in_their_own_order),
        TEST(last_good_versions),
        TEST(removed_files_are_forgotten),
        TEST(a_lost_folder_keeps_all),
        TEST(an_old_version_takes_no_id_from_a_good_file),
        TEST(spoilt_copies_are_not_restored),
        TEST(a_version_tells_content_apart),
        TEST(what_is_no_catalog),
        TEST(over_the_wire_and_back),
        TEST(references),
        TEST(errors_are_one_line),
    };

    return UNIT_RUN(tests);
}

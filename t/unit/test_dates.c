/* SPDX-License-Identifier: Apache-2.0 */
/* Known dates: what is wrong with them is told as with personas, and when they are. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

#include "persona/dates.h"
#include "persona/parse.h"
#include "persona_good.h"

static apr_array_header_t *errors;

static apr_array_header_t *parse(const char *text)
{
    errors = apr_array_make(unit_pool, 4, sizeof(persona_error_t));
    return persona_dates_parse("events.json", text, strlen(text), errors, unit_pool);
}

static const char *said(void)
{
    const char *text = "";

    for (int i = 0; i < errors->nelts; i++) {
        text = apr_pstrcat(unit_pool, text,
                           persona_error_text(&APR_ARRAY_IDX(errors, i, persona_error_t), unit_pool), "\n", NULL);
    }
    return text;
}

static void expect(const char *text, const char *says)
{
    if (parse(text)) {
        fail_msg("accepted: %s", text);
    }
    if (!strstr(said(), says)) {
        fail_msg("%s: says\n%snot \"%s\"", text, said(), says);
    }
}

#define SITE(events) "{\"timezone\": \"Europe/Berlin\",\n \"events\": [" events "]}"

static void what_is_wrong_is_told_with_its_place(void **state)
{
    static const struct {
        const char *event, *says;
    } cases[] = {
        {"{\"date\": \"2026-13-01\", \"like\": \"sun\"}", "events.json:2:22: $.events[0].date: must be a date of the "
         "calendar as YYYY-MM-DD, such as \"2026-12-24\"; found the string \"2026-13-01\""},
        {"{\"date\": \"2026-02-29\", \"like\": \"sun\"}", "$.events[0].date: must be a date"},
        {"{\"date\": 20261224, \"like\": \"sun\"}", "found the number 20261224"},
        {"{\"date\": \"2026-12-24\"}", "$.events[0]: says nothing: add \"like\""},
        {"{\"like\": \"sun\"}", "$.events[0]: when is it? Add \"date\""},
        {"{\"date\": \"2026-12-24\", \"like\": \"sunday\"}", "$.events[0].like: must be"},
        {"{\"date\": \"2026-12-24\", \"until\": \"2026-12-23\", \"like\": \"sun\"}", "$.events[0].until: lies before"},
        {"{\"weekday\": \"tue\", \"people\": 30, \"personas\": [\"cad\"]}", "belong together: add \"time\""},
        {"{\"weekday\": \"tue\", \"time\": \"13:00\", \"personas\": [\"cad\"]}", "belong together: add \"people\""},
        {"{\"weekday\": \"tue\", \"time\": \"25:00\", \"people\": 3, \"personas\": [\"cad\"]}", "$.events[0].time: "
         "must be a time of day as HH:MM from 00:00 to 23:59, such as \"13:00\"; found the string \"25:00\""},
        {"{\"weekday\": \"tue\", \"time\": \"9:00\", \"people\": 3, \"personas\": [\"cad\"]}", "must be a time of day"},
        {"{\"weekday\": \"tue\", \"time\": \"13:00\", \"people\": 0, \"personas\": [\"cad\"]}", "from 1 to 10000"},
        {"{\"weekday\": \"tue\", \"time\": \"13:00\", \"people\": 30}", "which persona do these people want?"},
        {"{\"weekday\": \"tue\", \"time\": \"13:00\", \"people\": 30, \"personas\": [\"CAD\"]}",
         "$.events[0].personas[0]"},
        {"{\"date\": \"2026-12-24\", \"like\": \"sun\", \"within\": \"5m\"}", "$.events[0].within: is of \"people\""},
        {"{\"weekday\": \"tue\", \"time\": \"13:00\", \"people\": 3, \"within\": \"13h\", \"personas\": [\"cad\"]}",
         "must be from 60s to 12h"},
        {"{\"date\": \"2026-12-24\", \"peple\": 3}", "events.json:2:36: $.events[0].peple: unknown key \"peple\"; did "
         "you mean \"people\"?"},
        {"\"Christmas\"", "$.events[0]: must be an object"},
        {"{\"date\": \"2026-12-24\", \"like\": \"sun\"},", "the file must be JSON"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect(apr_psprintf(unit_pool, SITE("%s"), cases[i].event), cases[i].says);
    }
    expect("{\"events\": []}", "$: \"timezone\" is missing; add it, such as \"Europe/Berlin\"");
    expect("{\"timezone\": \"Europe/Berlln\", \"events\": []}", "$.timezone: \"Europe/Berlln\" is no time zone");
    expect("{\"timezone\": \"UTC\", \"events\": {}}", "$.events: must be an array of at most 512 events");
    expect("[]", "must be an object");
}

static void days_are_those_of_the_calendar(void **state)
{
    apr_array_header_t *events = parse(SITE(
        "{\"date\": \"1970-01-01\", \"like\": \"sun\"},"
        "{\"date\": \"2024-02-28\", \"until\": \"2024-03-01\", \"like\": \"sat\"},"
        "{\"weekday\": \"tue\", \"date\": \"2026-11-25\", \"until\": \"2026-12-08\", \"time\": \"13:30\", "
        "\"people\": 30, \"within\": \"20m\", \"personas\": [\"cad\", \"cam\"], \"title\": \"Course\"},"
        "{\"weekday\": \"sun\", \"like\": \"mon\"}"));
    const persona_date_t *event = events ? (const persona_date_t *)events->elts : NULL;
    persona_t cad = {.id = "cad"}, other = {.id = "other"};

    (void)state;
    if (!events) {
        fail_msg("%s", said());
    }
    assert_int_equal(events->nelts, 4);
    assert_true(persona_date_on(&event[0], &other, 0) && !persona_date_on(&event[0], &other, 1));
    /* 2024-02-28 is day 19781; a leap year has a day between */
    assert_int_equal(event[1].first, 19781);
    assert_int_equal(event[1].last, 19783);
    assert_int_equal(event[1].like, 6);
    assert_non_null(event[1].zone);
    /* 2026-12-01 is a Tuesday, day 20788 */
    assert_true(persona_date_on(&event[2], &cad, 20788) && persona_date_on(&event[2], &cad, 20795));
    assert_false(persona_date_on(&event[2], &cad, 20789));
    assert_false(persona_date_on(&event[2], &cad, 20781));
    assert_false(persona_date_on(&event[2], &cad, 20802));
    assert_false(persona_date_on(&event[2], &other, 20788));
    assert_int_equal(event[2].second, 13 * 3600 + 1800);
    assert_int_equal(event[2].within, 1200 * (apr_int64_t)APR_USEC_PER_SEC);
    assert_string_equal(event[2].title, "Course");
    assert_true(persona_date_on(&event[3], &other, 20786 + 7 * 1000));
}

static persona_t *persona_with(const char *list)
{
    const char *good = PERSONA_GOOD("cad", "freecad", "[]");
    char *text = apr_psprintf(unit_pool, "%s, \"events\": %s}", good, list), *end = strstr(text, "90}}\n,");

    assert_non_null(end);
    memcpy(end, "90} \n,", 6);
    errors = apr_array_make(unit_pool, 4, sizeof(persona_error_t));
    return persona_parse("cad.json", text, strlen(text), apr_hash_make(unit_pool), 0, errors, unit_pool);
}

static void a_persona_has_its_own(void **state)
{
    persona_t *persona = persona_with("[{\"date\": \"2026-12-01\", \"time\": \"13:00\", \"people\": 30}]");

    (void)state;
    if (!persona) {
        fail_msg("%s", said());
    }
    assert_int_equal(persona->events->nelts, 1);
    assert_int_equal(APR_ARRAY_IDX(persona->events, 0, persona_date_t).within,
                     900 * (apr_int64_t)APR_USEC_PER_SEC);
    assert_true(persona_date_on(&APR_ARRAY_IDX(persona->events, 0, persona_date_t), persona, 20788));
    assert_null(persona_with("[{\"date\": \"2026-12-01\", \"like\": \"sun\", \"personas\": [\"cad\"]}]"));
    assert_non_null(strstr(said(), "$.events[0].personas: unknown key"));
    assert_null(persona_with("[{\"date\": \"2026-12-32\", \"like\": \"sun\"}]"));
    assert_non_null(strstr(said(), "$.events[0].date: must be a date"));
}

static void a_file_is_read(void **state)
{
    char path[] = "/tmp/persona-events.XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");
    apr_uint64_t stamp;

    (void)state;
    fputs(SITE("{\"date\": \"2026-12-24\", \"like\": \"sun\"}"), file);
    fclose(file);
    errors = apr_array_make(unit_pool, 4, sizeof(persona_error_t));
    assert_int_equal(persona_dates_load(path, errors, unit_pool)->nelts, 1);
    stamp = persona_dates_stamp(path);
    assert_true(stamp == persona_dates_stamp(path));
    assert_int_equal(truncate(path, 20), 0);
    assert_true(stamp != persona_dates_stamp(path));
    assert_null(persona_dates_load(path, errors, unit_pool));
    assert_int_equal(errors->nelts, 1);
    unlink(path);
    assert_null(persona_dates_load(path, errors, unit_pool));
    assert_non_null(strstr(said(), "cannot be read: No such file"));
    assert_null(persona_dates_load("/tmp", errors, unit_pool));
    assert_non_null(strstr(said(), "/tmp: must be a regular file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(what_is_wrong_is_told_with_its_place),
        UNIT_TEST(days_are_those_of_the_calendar),
        UNIT_TEST(a_persona_has_its_own),
        UNIT_TEST(a_file_is_read),
    };

    return UNIT_RUN(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a manager does, and what of it is found in the history afterwards. */
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "manager/trail.h"
#include "manager_site.h"

#define PATIENCE SECONDS(60)

static persona_trail_t *trail;

static int setup(void **state)
{
    persona_trail_conf_t *conf;

    if (site_setup(state)) {
        return -1;
    }
    conf = apr_pcalloc(unit_pool, sizeof(*conf));
    conf->driver = "sqlite3";
    conf->params = apr_pstrcat(unit_pool, site.state_dir, "/history.db", NULL);
    conf->gateway = "0123456789abcdef0123456789abcdef";
    return persona_trail_create(&trail, conf, unit_pool) == APR_SUCCESS ? 0 : -1;
}

static int teardown(void **state)
{
    persona_trail_stop(trail, PATIENCE);
    return site_teardown(state);
}

#define HISTORY_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static persona_manager_t *with_history(int ready)
{
    persona_manager_t *m;

    site_persona("one", ready, 10, "image");
    m = site_manager(0);
    m->trail = trail;
    site_settle(m);
    return m;
}

static void wait_written(void)
{
    for (apr_time_t until = apr_time_now() + PATIENCE;;) {
        json_t *status = persona_trail_status(trail);
        int done = !json_integer_value(json_object_get(status, "queued")) &&
                   json_integer_value(json_object_get(status, "written"));

        json_decref(status);
        if (done) {
            return;
        }
        assert_true(apr_time_now() < until);
        apr_sleep(10000);
    }
}

/** The rows of one kind about an instance ("": about any), oldest first. A new reference. */
static json_t *rows_about(persona_manager_t *m, const char *kind, const char *instance)
{
    json_t *answer, *found = json_array(), *row;
    size_t i;

    wait_written();
    answer = *instance ? site_ask_control(m, "{'op': 'history', 'instance': '%s'}", instance)
                       : site_ask_control(m, "{'op': 'history'}");
    assert_string_equal(json_string_value(json_object_get(answer, "status")), "ok");
    json_array_foreach(json_object_get(answer, "rows"), i, row)
    {
        if (!strcmp(json_string_value(json_object_get(row, "kind")), kind)) {
            json_array_insert(found, 0, row);
        }
    }
    json_decref(answer);
    return found;
}

static const char *cell(const json_t *rows, int i, const char *name)
{
    const char *value = json_string_value(json_object_get(json_array_get(rows, (size_t)i), name));

    return value ? apr_pstrdup(unit_pool, value) : "";
}

static apr_int64_t number(const json_t *rows, int i, const char *name)
{
    const json_t *value = json_object_get(json_array_get(rows, (size_t)i), name);

    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static json_t *rows_of(persona_manager_t *m, const char *kind)
{
    return rows_about(m, kind, "");
}

static int count_of(persona_manager_t *m, const char *kind, const char *instance)
{
    json_t *rows = rows_about(m, kind, instance);
    int n = (int)json_array_size(rows);

    json_decref(rows);
    return n;
}

static void the_life_of_a_session_is_told(void **state)
{
    persona_manager_t *m = with_history(1);
    const char *a = site_uuid(0);
    json_t *rows;

    (void)state;
    rows = rows_of(m, "create");
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(cell(rows, 0, "instance"), a);
    assert_string_equal(cell(rows, 0, "persona"), "one");
    assert_string_equal(cell(rows, 0, "compute"), "lab");
    assert_true(strlen(cell(rows, 0, "reason")) > 0);
    json_decref(rows);
    rows = rows_of(m, "ready");
    assert_int_equal(json_array_size(rows), 1);
    assert_true(number(rows, 0, "took_ms") >= 0);
    json_decref(rows);

    assert_string_equal(site_status_of(site_ask(m, "{'op': 'assign', 'instance': '%s', 'compute': 'lab', "
                                                   "'persona': 'one', 'session': '%s', 'user': 'ada', "
                                                   "'roles': ['engineer', 'graphic designer'], 'app': 'app', "
                                                   "'ticket': 12, 'arrived': %" APR_TIME_T_FMT ", 'cold': true}", a,
                                                site_session(1), site_now - SECONDS(3))), "ok");
    /* asked again, it is the same claim */
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'assign', 'instance': '%s', 'compute': 'lab', "
                                                   "'persona': 'one', 'session': '%s', 'user': 'ada', 'app': 'app'}",
                                                a, site_session(1))), "ok");
    rows = rows_of(m, "claim");
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(cell(rows, 0, "user"), "ada");
    assert_string_equal(cell(rows, 0, "roles"), "engineer, graphic designer");
    assert_string_equal(cell(rows, 0, "app"), "app");
    assert_string_equal(cell(rows, 0, "start"), "cold");
    assert_string_equal(cell(rows, 0, "session"), apr_pstrndup(unit_pool, site_session(1), 12));
    assert_int_equal(number(rows, 0, "ticket"), 12);
    assert_int_equal(number(rows, 0, "wait_ms"), 3000);
    json_decref(rows);

    site_pass(m, 5);
    site_status_of(site_ask(m, "{'op': 'end', 'session': '%s', 'user': 'ada', 'reason': 'o\\u0027er'}",
                            site_session(1)));
    site_pass(m, 80);
    rows = rows_of(m, "end");
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(cell(rows, 0, "user"), "ada");
    assert_string_equal(cell(rows, 0, "reason"), "o'er");
    assert_true(number(rows, 0, "took_ms") >= 5000);
    json_decref(rows);
    rows = rows_about(m, "retire", a);
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(cell(rows, 0, "reason"), "o'er");
    assert_string_equal(cell(rows, 0, "user"), "");
    json_decref(rows);
    assert_int_equal(count_of(m, "gone", a), 1);
}

static void two_managers_tell_one_story(void **state)
{
    persona_manager_t *m = with_history(1), *second = site_manager(0);
    const char *a = site_uuid(0);

    (void)state;
    second->trail = trail;
    site_round(second);
    assert_string_equal(site_assign(m, a, 1), "ok");
    assert_string_equal(site_assign(second, a, 1), "ok");
    site_round(second);
    assert_int_equal(count_of(m, "claim", a), 1);
    site_status_of(site_ask(m, "{'op': 'end', 'session': '%s', 'user': 'user1'}", site_session(1)));
    for (int i = 0; i < 80; i++) {
        site_round(m);
        site_round(second);
    }
    assert_int_equal(count_of(m, "end", a), 1);
    assert_int_equal(count_of(second, "gone", a), 1);
}

static void a_claim_whose_manager_died_is_told_by_the_next(void **state)
{
    persona_manager_t *m, *next;
    json_t *rows;

    (void)state;
    m = site_with_pool(2); /* it has no trail: what it does is never written */
    assert_string_equal(site_assign(m, site_uuid(0), 1), "ok");
    site_now += SECONDS(300);
    assert_string_equal(site_assign(m, site_uuid(1), 2), "ok");
    site_now += SECONDS(1);
    for (int i = 0; i < 2; i++) {
        next = site_manager(0);
        next->trail = trail;
        next->started = site_now;
        site_round(next);
        rows = rows_of(next, "claim");
        assert_int_equal(json_array_size(rows), 1);
        assert_string_equal(cell(rows, 0, "instance"), site_uuid(1));
        assert_string_equal(cell(rows, 0, "user"), "user2");
        assert_string_equal(cell(rows, 0, "start"), "");
        json_decref(rows);
    }
}

static void a_claim_that_only_its_fence_tells_of_is_told(void **state)
{
    persona_manager_t *m = site_with_pool(1), *next;
    persona_record_t record, *winner = NULL;
    const char *a = site_uuid(0);
    json_t *rows;

    (void)state;
    fake.fail[FAKE_MARK] = APR_TIMEUP;
    assert_string_equal(site_assign(m, a, 1), "ok");
    fake.fail[FAKE_MARK] = APR_SUCCESS;
    persona_entry_record(persona_entry_find(m, a), &record); /* as the worker does, before anybody dies */
    assert_int_equal(persona_session_add(m->index, &record, &winner, unit_pool), APR_SUCCESS);
    next = site_manager(0);
    next->trail = trail;
    site_pass(next, 10);
    rows = rows_about(next, "claim", a);
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(cell(rows, 0, "user"), "user1");
    json_decref(rows);
}

static void reasons_of_retirements_are_told(void **state)
{
    persona_manager_t *m = with_history(3);
    const char *a = site_uuid(0);
    json_t *rows;

    (void)state;
    assert_string_equal(site_status_of(site_ask_control(m, "{'op': 'retire', 'instance': '%s'}", a)), "ok");
    site_pass(m, 3);
    rows = rows_of(m, "retire");
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(cell(rows, 0, "reason"), "retired by an administrator");
    json_decref(rows);
    site_persona("one", 1, 10, "image");
    site_pass(m, 30);
    rows = rows_of(m, "retire");
    assert_true(json_array_size(rows) >= 2);
    assert_string_equal(cell(rows, 1, "reason"), "the pool needs fewer");
    json_decref(rows);
}

static void failed_boots_are_told(void **state)
{
    persona_manager_t *m;
    json_t *rows;

    (void)state;
    site_persona("one", 1, 2, "image");
    m = site_manager(0);
    m->trail = trail;
    site_pass(m, 70); /* its stream never answers */
    rows = rows_of(m, "fail");
    assert_true(json_array_size(rows) >= 1);
    assert_true(number(rows, 0, "took_ms") >= 60000);
    assert_true(strlen(cell(rows, 0, "reason")) > 0);
    json_decref(rows);
}

static void administrators_are_told(void **state)
{
    persona_manager_t *m = with_history(1);
    json_t *rows;

    (void)state;
    site_status_of(site_ask_control(m, "{'op': 'refresh', 'persona': 'one'}"));
    site_status_of(site_ask_control(m, "{'op': 'drain', 'persona': 'one', 'sessions': true}"));
    site_status_of(site_ask_control(m, "{'op': 'drain', 'compute': 'nowhere'}"));
    site_status_of(site_ask_control(m, "{'op': 'history', 'limit': 1}"));
    rows = rows_of(m, "admin");
    assert_int_equal(json_array_size(rows), 3);
    assert_string_equal(cell(rows, 0, "reason"), "refresh persona one");
    assert_string_equal(cell(rows, 0, "user"), "uid 33");
    assert_string_equal(cell(rows, 1, "reason"), "drain persona one --sessions");
    assert_string_equal(cell(rows, 2, "reason"), "drain compute nowhere: none");
    json_decref(rows);
}

static void visit(persona_manager_t *m, const char *user)
{
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'visit', 'user': '%s', 'roles': ['r']}", user)), "ok");
}

static void visits_are_told_once_a_minute(void **state)
{
    persona_manager_t *m = with_history(0);
    json_t *rows;

    (void)state;
    for (int i = 0; i < 90; i++) {
        visit(m, "ada");
        site_now += SECONDS(1);
    }
    visit(m, "bob");
    rows = rows_of(m, "signin");
    assert_int_equal(json_array_size(rows), 2);
    assert_string_equal(cell(rows, 0, "user"), "ada");
    assert_string_equal(cell(rows, 0, "roles"), "r");
    assert_string_equal(cell(rows, 1, "user"), "bob");
    json_decref(rows);
    assert_int_equal(count_of(m, "visit", ""), 1);
    site_now += SECONDS(3600);
    visit(m, "ada");
    assert_int_equal(count_of(m, "signin", ""), 3);
    /* what is no visit is none */
    site_status_of(site_ask(m, "{'op': 'visit'}"));
    site_status_of(site_ask(m, "{'op': 'visit', 'user': 'a\\u0000b', 'roles': []}"));
    site_status_of(site_ask(m, "{'op': 'visit', 'user': 'eve', 'roles': 7}"));
    assert_int_equal(count_of(m, "signin", ""), 3);
}

static void the_most_sessions_at_once_are_counted(void **state)
{
    persona_manager_t *m = with_history(3);
    json_t *answer;
    apr_int64_t high = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_string_equal(site_assign(m, site_uuid(i), i + 1), "ok");
    }
    site_round(m);
    wait_written();
    answer = site_ask_control(m, "{'op': 'history', 'hours': true, 'persona': 'one'}");
    for (size_t i = 0; i < json_array_size(json_object_get(answer, "rows")); i++) {
        apr_int64_t n = number(json_object_get(answer, "rows"), (int)i, "high");

        high = n > high ? n : high;
    }
    json_decref(answer);
    assert_int_equal(high, 3);
}

static void a_manager_without_history_says_so(void **state)
{
    persona_manager_t *m;
    json_t *answer;

    (void)state;
    site_persona("one", 1, 2, "image");
    m = site_manager(0);
    site_settle(m);
    visit(m, "ada");
    assert_string_equal(site_assign(m, site_uuid(0), 1), "ok");
    assert_string_equal(site_status_of(site_ask_control(m, "{'op': 'history'}")), "none");
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'history'}")), "bad");
    answer = site_ask(m, "{'op': 'status'}");
    assert_true(json_is_null(json_object_get(answer, "history")));
    json_decref(answer);
    m->trail = trail;
    site_round(m);
    answer = site_ask(m, "{'op': 'status'}");
    assert_string_equal(json_string_value(json_object_get(json_object_get(answer, "history"), "scope")),
                        "this gateway's only");
    json_decref(answer);
}

static const char *claim(persona_manager_t *m, const char *user, int session, apr_time_t arrived)
{
    return site_status_of(site_ask(m, "{'op': 'claim', 'persona': 'one', 'session': '%s', 'user': '%s', 'roles': [], "
                                      "'app': 'app', 'arrived': %" APR_TIME_T_FMT "}",
                                   site_session(session), user, arrived));
}

/** Two people wait at a manager without an index, and their pages ask again each second, as of now. */
static void who_came_first_is_served_first(void **state)
{
    persona_manager_t *m;
    const char *early;
    json_t *rows;

    (void)state;
    site.index_down = 1;
    site_persona("one", 0, 1, "image");
    m = site_manager(0);
    m->trail = trail;
    assert_string_equal(claim(m, "early", 1, site_now), "wait");
    site_now += SECONDS(1);
    for (int i = 0; i < 20; i++) {
        assert_string_equal(claim(m, "late", 2, site_now), "wait");
        early = claim(m, "early", 1, site_now);
        if (!strcmp(early, "ok")) {
            break;
        }
        site_round(m);
        for (int k = 0; k < FAKE_MAX; k++) {
            if (fake.instances[k].exists && fake.instances[k].state == PERSONA_INSTANCE_CREATING) {
                persona_boot_probed(m, fake.instances[k].uuid, 1, "");
            }
        }
    }
    assert_string_equal(early, "ok");
    rows = rows_of(m, "claim");
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(cell(rows, 0, "user"), "early");
    assert_string_equal(cell(rows, 0, "start"), "cold");
    assert_true(number(rows, 0, "wait_ms") >= 1000);
    json_decref(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HISTORY_TEST(the_life_of_a_session_is_told),
        HISTORY_TEST(two_managers_tell_one_story),
        HISTORY_TEST(a_claim_whose_manager_died_is_told_by_the_next),
        HISTORY_TEST(a_claim_that_only_its_fence_tells_of_is_told),
        HISTORY_TEST(reasons_of_retirements_are_told),
        HISTORY_TEST(failed_boots_are_told),
        HISTORY_TEST(administrators_are_told),
        HISTORY_TEST(visits_are_told_once_a_minute),
        HISTORY_TEST(the_most_sessions_at_once_are_counted),
        HISTORY_TEST(a_manager_without_history_says_so),
        HISTORY_TEST(who_came_first_is_served_first),
    };

    return apr_initialize() == APR_SUCCESS ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}

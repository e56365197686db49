/* SPDX-License-Identifier: Apache-2.0 */
/* Retirement: the order, the hands that are kept off, and a crash after every step. */
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "manager_site.h"

static void end(persona_manager_t *m, int session)
{
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'end', 'session': '%s', 'user': 'user%d'}",
                                                site_session(session), session)), "ok");
}

static void a_session_is_retired_in_order(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);
    persona_record_t *record;

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 8);
    site_persona("one", 0, 10, "image");
    fake.trace[0] = '\0';
    end(m, 1);
    assert_string_equal(site_found(m, 1), "none");
    assert_int_equal(persona_session_get(m->index, site_session(1), &record, unit_pool), APR_NOTFOUND);
    site_pass(m, 2);
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_RETIRING);
    site_pass(m, 55);
    assert_non_null(fake_find(a)); /* a worker may still hold the lease */
    site_pass(m, 10);
    assert_null(fake_find(a));
    assert_null(fake_token(a));
    assert_non_null(strstr(fake.trace, "F"));
    assert_true(strchr(fake.trace, 'M') < strchr(fake.trace, 'D'));
    assert_true(strchr(fake.trace, 'D') < strchr(fake.trace, 'U'));
    assert_int_equal(fake.unfenced_alive, 0);
    assert_int_equal(fake.destroyed_fenced, 0);
}

static void only_its_user_ends_a_session(void **state)
{
    persona_manager_t *m = site_with_pool(1);

    (void)state;
    assert_string_equal(site_assign(m, site_uuid(0), 1), "ok");
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'end', 'session': '%s', 'user': 'mallory'}",
                                                site_session(1))), "none");
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'end', 'session': '%s'}", site_session(1))), "bad");
    assert_string_not_equal(site_found(m, 1), "none");
}

static void its_user_ends_a_session_that_was_left_alone(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 5);
    persona_entry_find(m, a)->hands_off = site_now + SECONDS(600);
    end(m, 1);
    assert_int_not_equal(persona_entry_find(m, a)->retire, PERSONA_RETIRE_NONE);
    site_pass(m, 70);
    assert_null(fake_find(a));
}

/** The balancer leads the next click to a gateway that has not read the compute since. */
static void a_session_that_another_gateway_ended_is_over(void **state)
{
    persona_manager_t *m = site_with_pool(2), *other = site_manager(0);
    const char *a = site_uuid(0), *b = site_uuid(1);
    persona_record_t *record;
    json_t *answer;

    (void)state;
    site_persona("one", 1, 10, "image");
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 3);
    site_pass(other, 3);
    assert_string_equal(site_found(other, 1), a);
    end(m, 1);
    for (int i = 0; i < 10; i++) {
        persona_manager_tick(other, 1, unit_pool); /* leases are renewed without a new reading */
        site_now += SECONDS(1);
    }
    assert_int_equal(persona_session_get(m->index, site_session(1), &record, unit_pool), APR_NOTFOUND);
    assert_string_equal(site_found(other, 1), "none");
    answer = site_ask(other, "{'op': 'find', 'user': 'user1', 'app': 'app'}");
    assert_string_equal(site_status_of(answer), "none");
    /* A program has the same session for ever: what it has next is its own again. */
    assert_string_equal(site_assign(m, b, 1), "ok");
    site_pass(m, 3);
    site_pass(other, 10);
    assert_string_equal(site_found(other, 1), b);
    site_pass(m, 80);
    site_pass(other, 10);
    assert_null(fake_find(a));
    assert_string_equal(site_found(other, 1), b);
}

/** The index is away when the session ends, or a late write brings its record back. */
static void a_record_is_forgotten_though_the_index_was_away(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0), *reason;
    persona_record_t *record, *late;

    (void)state;
    site_persona("one", 0, 10, "image");
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 3);
    assert_int_equal(persona_session_get(m->index, site_session(1), &late, unit_pool), APR_SUCCESS);
    site.index_down = 1;
    end(m, 1);
    site_pass(m, 5);
    site.index_down = 0;
    assert_int_equal(persona_session_get(m->index, site_session(1), &record, unit_pool), APR_SUCCESS);
    site_pass(m, 4);
    assert_int_equal(persona_session_get(m->index, site_session(1), &record, unit_pool), APR_NOTFOUND);
    assert_int_equal(persona_session_instance_over(m->index, a, &reason, unit_pool), APR_SUCCESS);
    assert_int_equal(persona_session_renew(m->index, late, unit_pool), APR_SUCCESS);
    site_pass(m, 8);
    assert_int_equal(persona_session_get(m->index, site_session(1), &record, unit_pool), APR_NOTFOUND);
    site_pass(m, 60);
    assert_null(fake_find(a));
}

static void find_alone_tells_that_another_gateway_ended_it(void **state)
{
    persona_manager_t *m = site_with_pool(1), *other = site_manager(0);
    const char *a = site_uuid(0);
    json_t *answer;

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 3);
    site_pass(other, 3);
    end(m, 1);
    answer = site_ask(other, "{'op': 'find', 'user': 'user1', 'app': 'app'}");
    assert_string_equal(site_status_of(answer), "none");
    assert_string_equal(site_found(other, 1), "none");
}

/** A click, and the end a second later, through two gateways: the second has not read the compute in between. */
static void a_session_that_was_not_met_yet_is_known_by_its_record(void **state)
{
    persona_manager_t *m = site_with_pool(1), *other = site_manager(0);
    const char *a = site_uuid(0);
    persona_record_t *record;

    (void)state;
    site_round(other);
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 3);
    assert_int_equal(persona_session_get(m->index, site_session(1), &record, unit_pool), APR_SUCCESS);
    /* its streams are not cut */
    assert_string_equal(site_status_of(site_ask(other, "{'op': 'attach', 'session': '%s', 'instance': '%s', "
                                                "'streams': 1}", site_session(1), a)), "ok");
    fake.fail[FAKE_INSPECT] = APR_TIMEUP;
    persona_entry_drop(other, persona_entry_find(other, a));
    assert_string_equal(site_status_of(site_ask(other, "{'op': 'attach', 'session': '%s', 'instance': '%s', "
                                                "'streams': 1}", site_session(1), a)), "unknown");
    assert_string_equal(site_status_of(site_ask(other, "{'op': 'end', 'session': '%s', 'user': 'user1'}",
                                                site_session(1))), "unknown");
    assert_string_equal(site_found(other, 1), a);
    fake.fail[FAKE_INSPECT] = APR_SUCCESS;
    assert_string_equal(site_status_of(site_ask(other, "{'op': 'end', 'session': '%s', 'user': 'mallory'}",
                                                site_session(1))), "none");
    end(other, 1);
    assert_int_equal(persona_session_get(m->index, site_session(1), &record, unit_pool), APR_NOTFOUND);
    site_persona("one", 0, 10, "image");
    site_pass(other, 3);
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_RETIRING);
}

static void trim_keeps_its_hands_off_an_assigned_one(void **state)
{
    persona_manager_t *m = site_with_pool(2), *other = site_manager(0);
    const char *a = site_uuid(0), *b = site_uuid(1);
    apr_pool_t *p = unit_pool;

    (void)state;
    site_round(other);
    assert_string_equal(site_assign(other, a, 1), "ok");
    assert_string_equal(site_assign(other, b, 2), "ok");
    /* m has not read since, and is told to empty the pool. */
    site_status_of(site_ask_control(m, "{'op': 'drain', 'persona': 'one'}"));
    persona_manager_tick(m, 1, p);
    persona_manager_tick(m, 1, p);
    site_pass(m, 80);
    assert_non_null(fake_find(a));
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_ASSIGNED);
    assert_non_null(fake_find(b));
    assert_string_equal(site_found(other, 1), a);
}

static void a_ready_one_goes_without_waiting(void **state)
{
    persona_manager_t *m = site_with_pool(2);

    (void)state;
    site_persona("one", 1, 10, "image");
    site_pass(m, 16);
    assert_int_equal(fake_count(PERSONA_INSTANCE_GONE), 1);
    assert_int_equal(fake_fence_count(), 0);
}

static void one_that_dies_is_replaced(void **state)
{
    persona_manager_t *m = site_with_pool(2);
    const char *a = site_uuid(0);

    (void)state;
    fake_find(a)->running = 0;
    site_settle(m);
    site_pass(m, 3);
    assert_null(fake_find(a));
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 2);
    fake_nth(0)->exists = 0;
    site_settle(m);
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 2);
}

static void a_desktop_that_dies_ends_its_session(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);
    json_t *answer;

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    fake_find(a)->running = 0;
    site_pass(m, 3);
    answer = site_ask(m, "{'op': 'find', 'session': '%s'}", site_session(1));
    assert_string_equal(json_string_value(json_object_get(answer, "ended")), "its machine stopped");
    json_decref(answer);
}

/** The manager dies before its n-th change at the provider; a new one finds whatever that left. */
static void a_crash_after_each_step_is_finished(void **state)
{
    (void)state;
    for (int step = 1; step < 12; step++) {
        persona_manager_t *m;
        const char *a;

        fake_reset(site_clock);
        m = site_with_pool(1);
        a = site_uuid(0);
        assert_string_equal(site_assign(m, a, step), "ok");
        site_pass(m, 3);
        fake.die_at = fake.changes + step;
        end(m, step);
        site_pass(m, 70);
        fake.die_at = 0;
        m = site_manager(0);
        site_settle(m);
        /* What was not even begun: the session is still there and ends now. */
        if (strcmp(site_found(m, step), "none")) {
            end(m, step);
        }
        site_pass(m, 200);
        assert_null(fake_find(a));
        assert_null(fake_token(a));
        assert_int_equal(fake.unfenced_alive, 0);
        assert_int_equal(fake.destroyed_fenced, 0);
        site_settle(m);
        assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 1);
        assert_int_equal(fake_count(PERSONA_INSTANCE_GONE), 1);
    }
}

static void a_crash_while_an_instance_is_made_leaks_nothing(void **state)
{
    (void)state;
    for (int step = 1; step < 8; step++) {
        persona_manager_t *m;

        fake_reset(site_clock);
        site_persona("one", 2, 10, "image");
        m = site_manager(0);
        fake.die_at = step;
        site_settle(m);
        fake.die_at = 0;
        m = site_manager(0);
        site_settle(m);
        site_pass(m, 70);
        site_settle(m);
        assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 2);
        assert_int_equal(fake_count(PERSONA_INSTANCE_GONE), 2);
        assert_int_equal(fake_fence_count(), 0);
    }
}

static persona_manager_t *reading;

static void retire_all(void)
{
    site_status_of(site_ask_control(reading, "{'op': 'drain', 'persona': 'one'}"));
    for (int i = 0; i < 4; i++) {
        persona_manager_tick(reading, 1, unit_pool);
    }
    assert_int_equal(fake_count(PERSONA_INSTANCE_GONE), 0);
}

static void a_reading_that_began_before_its_end_does_not_bring_it_back(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    reading = m;
    fake.listed = retire_all;
    persona_reconcile(&m->sites[0], unit_pool);
    assert_null(persona_entry_find(m, a));
}

static void one_that_vanishes_goes_though_it_was_left_alone(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    persona_entry_find(m, a)->hands_off = site_now + SECONDS(600);
    fake_find(a)->exists = 0;
    site_pass(m, 3);
    assert_null(persona_entry_find(m, a));
}

static void one_that_cannot_be_marked_ready_is_not_tried_in_a_loop(void **state)
{
    persona_manager_t *m;
    const char *a;

    (void)state;
    site_persona("one", 1, 10, "image");
    m = site_manager(0);
    site_round(m);
    site_round(m);
    a = site_uuid(0);
    fake.fail[FAKE_MARK] = APR_ENOENT;
    fake.calls[FAKE_MARK] = 0;
    for (int i = 0; i < 20; i++) {
        persona_boot_probed(m, a, 1, NULL);
    }
    assert_int_equal(fake.calls[FAKE_MARK], 1);
    site_now += SECONDS(2);
    persona_boot_probed(m, a, 1, NULL);
    assert_int_equal(fake.calls[FAKE_MARK], 2);
    fake.fail[FAKE_MARK] = APR_SUCCESS;
    site_now += SECONDS(9);
    persona_boot_probed(m, a, 1, NULL);
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_READY);
}

static void the_fence_of_nothing_is_removed(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *name = "5e8f3a53-0d5a-4a0c-9d4e-0a1b2c3d4e5f";

    (void)state;
    fake_set_fence(name, "token");
    site_pass(m, 2);
    assert_null(fake_token(name));
    assert_int_equal(fake.unfenced_alive, 0);
}

static void a_late_mark_of_another_manager_restarts_the_lease(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    site_persona("one", 0, 10, "image");
    assert_string_equal(site_assign(m, a, 1), "ok");
    end(m, 1);
    site_pass(m, 40);
    fake_find(a)->state = PERSONA_INSTANCE_ASSIGNED;
    site_pass(m, 30);
    assert_non_null(fake_find(a));
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_RETIRING);
    site_pass(m, 70);
    assert_null(fake_find(a));
}

static void a_mark_that_another_manager_made_anew_restarts_the_lease_of_all(void **state)
{
    persona_manager_t *m = site_with_pool(1), *other = site_manager(0);
    const char *a = site_uuid(0);

    (void)state;
    site_persona("one", 0, 10, "image");
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 5);
    site_round(other);
    end(m, 1);
    site_pass(m, 3);
    site_round(other); /* it reads "retiring", and waits too */
    assert_int_equal(persona_entry_find(other, a)->state, PERSONA_INSTANCE_RETIRING);
    /* A late write makes it assigned, and a record is renewed; the first manager marks it again when it looks. */
    fake_find(a)->state = PERSONA_INSTANCE_ASSIGNED;
    site_pass(m, 62);
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_RETIRING);
    site_pass(other, 30);
    assert_non_null(fake_find(a)); /* the other's time is over, the record's is not */
    site_pass(other, 70);
    assert_null(fake_find(a));
}

/** As an engine tells of it: its remains are there, its metadata is not. */
static void dies(const char *uuid)
{
    fake_instance_t *f = fake_find(uuid);

    f->state = PERSONA_INSTANCE_GONE;
    f->running = 0;
    f->session[0] = f->user[0] = f->app[0] = '\0';
}

static void what_is_gone_is_waited_for_through_one_lease(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    site_persona("one", 0, 10, "image");
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 3);
    dies(a);
    m = site_manager(0);
    site_pass(m, 55);
    assert_non_null(fake_find(a));
    site_pass(m, 15);
    assert_null(fake_find(a));
    assert_null(fake_token(a));
}

static void what_is_gone_takes_no_place_in_the_pool(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    site_persona("one", 1, 1, "image");
    site_pass(m, 3);
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 3);
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 0);
    dies(a);
    site_pass(m, 5);
    assert_int_equal(fake_count(PERSONA_INSTANCE_CREATING) + fake_count(PERSONA_INSTANCE_READY), 1);
    assert_non_null(fake_find(a));
}

static void drain_all_empties(void **state)
{
    persona_manager_t *m = site_with_pool(3);

    (void)state;
    assert_string_equal(site_assign(m, site_uuid(0), 1), "ok");
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'drain', 'all': true}")), "bad");
    assert_string_equal(site_status_of(site_ask_control(m, "{'op': 'drain', 'all': true}")), "ok");
    site_pass(m, 80);
    assert_int_equal(fake_count(PERSONA_INSTANCE_GONE), 0);
    assert_int_equal(fake_fence_count(), 0);
    assert_string_equal(site_status_of(site_ask_control(m, "{'op': 'drain', 'all': true, 'off': true}")), "ok");
    site_settle(m);
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 3);
}

static void a_session_is_retired_by_force_only(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    assert_string_equal(site_status_of(site_ask_control(m, "{'op': 'retire', 'instance': '%s'}", a)), "no");
    assert_string_equal(site_status_of(site_ask_control(m, "{'op': 'retire', 'instance': '%s', 'force': true}", a)),
                        "ok");
    site_pass(m, 2);
    assert_string_equal(site_found(m, 1), "none");
}

static void an_exclusive_home_is_fenced_and_freed(void **state)
{
    persona_manager_t *m;
    const char *fence;

    (void)state;
    site_persona_home("one", 2, 10, 1);
    m = site_manager(0);
    site.settings.home_url = NULL; /* no call to an instance: only the fence matters here */
    site_settle(m);
    fence = persona_home_fence("user1", unit_pool);
    fake_set_fence(fence, persona_fence_token(site_session(1), fence, unit_pool));
    assert_string_equal(site_assign(m, site_uuid(0), 1), "ok");
    site_pass(m, 100);
    assert_non_null(fake_token(fence));
    end(m, 1);
    site_pass(m, 70);
    assert_null(fake_token(fence));
    /* One whose session is nowhere goes after a while. */
    fake_set_fence(fence, persona_fence_token(site_session(1), fence, unit_pool));
    site_pass(m, 60);
    assert_non_null(fake_token(fence));
    site_pass(m, 200);
    assert_null(fake_token(fence));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITE_TEST(a_session_is_retired_in_order),
        SITE_TEST(only_its_user_ends_a_session),
        SITE_TEST(its_user_ends_a_session_that_was_left_alone),
        SITE_TEST(a_session_that_another_gateway_ended_is_over),
        SITE_TEST(a_record_is_forgotten_though_the_index_was_away),
        SITE_TEST(find_alone_tells_that_another_gateway_ended_it),
        SITE_TEST(a_session_that_was_not_met_yet_is_known_by_its_record),
        SITE_TEST(trim_keeps_its_hands_off_an_assigned_one),
        SITE_TEST(a_ready_one_goes_without_waiting),
        SITE_TEST(one_that_dies_is_replaced),
        SITE_TEST(a_desktop_that_dies_ends_its_session),
        SITE_TEST(a_crash_after_each_step_is_finished),
        SITE_TEST(a_crash_while_an_instance_is_made_leaks_nothing),
        SITE_TEST(a_reading_that_began_before_its_end_does_not_bring_it_back),
        SITE_TEST(one_that_vanishes_goes_though_it_was_left_alone),
        SITE_TEST(one_that_cannot_be_marked_ready_is_not_tried_in_a_loop),
        SITE_TEST(the_fence_of_nothing_is_removed),
        SITE_TEST(a_late_mark_of_another_manager_restarts_the_lease),
        SITE_TEST(what_is_gone_is_waited_for_through_one_lease),
        SITE_TEST(what_is_gone_takes_no_place_in_the_pool),
        SITE_TEST(a_mark_that_another_manager_made_anew_restarts_the_lease_of_all),
        SITE_TEST(drain_all_empties),
        SITE_TEST(a_session_is_retired_by_force_only),
        SITE_TEST(an_exclusive_home_is_fenced_and_freed),
    };

    return apr_initialize() == APR_SUCCESS ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}

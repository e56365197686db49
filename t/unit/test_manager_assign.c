/* SPDX-License-Identifier: Apache-2.0 */
/* Assign and the life of a session: who gets what, what a lost answer does, what a restart brings back. */
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "manager_site.h"

static void one_winner(void **state)
{
    persona_manager_t *m = site_with_pool(2), *other = site_manager(0);
    const char *a = site_uuid(0);

    (void)state;
    site_round(other);
    assert_string_equal(site_assign(m, a, 1), "ok");
    assert_string_equal(site_assign(m, a, 2), "no");
    assert_string_equal(site_assign(other, a, 3), "no");
    assert_string_equal(site_assign(m, a, 1), "ok");
    assert_string_equal(site_found(m, 1), a);
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_ASSIGNED);
    assert_string_equal(fake_find(a)->user, "user1");
}

static void one_session_has_one_instance(void **state)
{
    persona_manager_t *m = site_with_pool(2);
    const char *a = site_uuid(0), *b = site_uuid(1);

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    assert_string_equal(site_assign(m, b, 1), "ok");
    assert_string_equal(site_found(m, 1), a);
    assert_null(fake_token(b));
}

static void the_lease_counts_from_the_reading(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);
    json_t *answer;
    apr_time_t read_at = site_now, expires;

    (void)state;
    answer = site_ask(m, "{'op': 'assign', 'instance': '%s', 'compute': 'lab', 'persona': 'one', 'session': '%s', "
                         "'user': 'u', 'app': 'app'}", a, site_session(1));
    expires = json_integer_value(json_object_get(json_object_get(answer, "record"), "expires"));
    json_decref(answer);
    assert_true(expires == read_at + PERSONA_LEASE);

    /* While the compute does not answer the lease is not renewed, and in the end not given. */
    fake.fail[FAKE_LIST] = APR_TIMEUP;
    site_pass(m, 10);
    answer = site_ask(m, "{'op': 'find', 'session': '%s'}", site_session(1));
    assert_true(json_integer_value(json_object_get(json_object_get(answer, "record"), "expires")) == expires);
    json_decref(answer);
    site_pass(m, 60);
    assert_string_equal(site_assign(m, a, 1), "unknown");
}

static void a_lost_answer_is_asked_again(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    fake.fail[FAKE_FENCE] = APR_TIMEUP;
    fake.fail_times[FAKE_FENCE] = 1;
    fake.fail_after = 1;
    assert_string_equal(site_assign(m, a, 1), "unknown");
    assert_non_null(fake_token(a));
    assert_string_equal(site_assign(m, a, 2), "no");
    assert_string_equal(site_assign(m, a, 1), "ok");
}

/** Whether the manager has published it in the line that there is now. */
static int in_line(persona_manager_t *m, const char *uuid)
{
    persona_queue_t queue;
    int created;

    assert_int_equal(persona_pool_queue(m->index, "one", 0, 0, &queue, &created, unit_pool), APR_SUCCESS);
    return !strcmp(persona_entry_find(m, uuid)->generation, queue.generation);
}

/** Its call does not arrive at the provider. */
static void assign_in_vain(persona_manager_t *m, const char *uuid, int session)
{
    fake.fail[FAKE_FENCE] = APR_TIMEUP;
    fake.fail_times[FAKE_FENCE] = 1;
    assert_string_equal(site_assign(m, uuid, session), "unknown");
    assert_null(fake_token(uuid));
}

static void who_asks_no_more_keeps_nothing(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    fake.fail[FAKE_CREATE] = APR_EGENERAL; /* there is no other */
    assign_in_vain(m, a, 1);
    site_flush(); /* what may be handed out is published anew */
    site_pass(m, 8);
    assert_false(in_line(m, a));
    assign_in_vain(m, a, 1);
    site_pass(m, 8);
    assert_false(in_line(m, a));
    site_pass(m, 4); /* the session went away */
    assert_true(in_line(m, a));
    assert_string_equal(site_assign(m, a, 2), "ok");
    assert_string_equal(site_assign(m, a, 1), "no");
}

static void an_unfit_instance_is_refused_and_never_given_back(void **state)
{
    persona_manager_t *m = site_with_pool(2);
    const char *a = site_uuid(0), *b = site_uuid(1);

    (void)state;
    apr_cpystrn(fake_find(a)->fingerprint, "stale", 20);
    fake_find(b)->running = 0;
    assert_string_equal(site_assign(m, a, 1), "no");
    assert_string_equal(site_assign(m, b, 2), "no");
    assert_string_equal(site_assign(m, a, 3), "no");
    site_pass(m, 5);
    assert_null(fake_find(a));
    assert_null(fake_find(b));
}

static void slow_metadata_does_not_fail_a_claim(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    fake.fail[FAKE_MARK] = APR_TIMEUP;
    assert_string_equal(site_assign(m, a, 1), "ok");
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_READY);
    site_pass(m, 3);
    fake.fail[FAKE_MARK] = APR_SUCCESS;
    site_pass(m, 3);
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_ASSIGNED);
    assert_string_equal(fake_find(a)->session, site_session(1));
}

static void a_restart_has_the_session_again(void **state)
{
    persona_manager_t *m = site_with_pool(2);
    const char *a = site_uuid(0);

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    m = site_manager(0);
    site_round(m);
    assert_string_equal(site_found(m, 1), a);
    assert_string_equal(site_found(m, 2), "none");
    site_settle(m);
    assert_int_equal(fake_count(PERSONA_INSTANCE_ASSIGNED), 1);
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 2);
}

static void a_change_of_the_key_loses_no_session(void **state)
{
    static const char *const old = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
                     *const new = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
    const char *const steps[3][2] = {{old, new}, {new, old}, {new, NULL}};
    persona_manager_t *m = site_with_pool(2), *before;
    const char *a = site_uuid(0);
    int i;

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    for (i = 0; i < 3; i++) {
        before = m;
        site.settings.keys[0] = steps[i][0];
        site.settings.keys[1] = steps[i][1];
        m = site_manager(0); /* beside it the other gateway goes on as before */
        site_round(m);
        site_pass(before, 7);
        site_pass(m, 7);
        assert_string_equal(site_found(m, 1), a);
        assert_string_equal(site_found(before, 1), a);
    }
    site_settle(m);
    assert_int_equal(fake_count(PERSONA_INSTANCE_ASSIGNED), 1);
    assert_int_equal(fake_count(PERSONA_INSTANCE_GONE), 3);
}

static void a_restart_before_the_metadata_has_the_session_too(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    fake.fail[FAKE_MARK] = APR_TIMEUP;
    assert_string_equal(site_assign(m, a, 1), "ok");
    fake.fail[FAKE_MARK] = APR_SUCCESS;
    m = site_manager(0);
    site_round(m);
    assert_string_equal(site_found(m, 2), "none");
    assert_string_equal(site_found(m, 1), a);
    site_pass(m, 3);
    assert_string_equal(fake_find(a)->session, site_session(1));
    site_pass(m, 200);
    assert_non_null(fake_find(a));
}

static void a_restart_before_the_metadata_learns_the_session_from_the_fence(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    fake.fail[FAKE_MARK] = APR_TIMEUP;
    assert_string_equal(site_assign(m, a, 1), "ok");
    fake.fail[FAKE_MARK] = APR_SUCCESS;
    m = site_manager(0);
    site_pass(m, 3);
    assert_string_equal(fake_find(a)->session, site_session(1));
    site_pass(m, 200);
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_ASSIGNED);
    assert_string_equal(site_found(m, 1), a);
}

/** A manager fenced it for the session, and was killed before it wrote down which. */
static void fenced_and_killed(const char *uuid, int session)
{
    fake_set_fence(uuid, persona_fence_token(site_session(session), uuid, unit_pool));
}

static void a_fence_that_nobody_can_name_is_retired_in_time(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    fenced_and_killed(a, 1);
    m = site_manager(0);
    site_pass(m, 115);
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_READY);
    site_pass(m, 15);
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_RETIRING);
    site_pass(m, 70);
    assert_null(fake_find(a));
    assert_null(fake_token(a));
}

static persona_manager_t *other_gateway(void)
{
    persona_manager_t *m = site_manager(0);

    m->id = "other";
    m->retire_name = "retire:other";
    return m;
}

/** A fence without a name: one gateway gives it up while its user comes back through the other. */
static void who_is_given_up_is_not_let_in_again(void **state)
{
    persona_manager_t *m = site_with_pool(1), *other;
    const char *a = site_uuid(0);

    (void)state;
    fenced_and_killed(a, 1);
    m = site_manager(0);
    other = other_gateway();
    site_round(other);
    site_pass(m, 125);
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_RETIRING);
    assert_string_equal(site_found(other, 1), "none");
    site_pass(m, 70);
    site_pass(other, 5);
    assert_null(fake_find(a));
    site_pass(m, 300);
    assert_null(fake_token(a));
    assert_int_equal(fake_fence_count(), 0);
}

static void who_came_back_is_not_given_up(void **state)
{
    persona_manager_t *m = site_with_pool(1), *other;
    const char *a = site_uuid(0);

    (void)state;
    fenced_and_killed(a, 1);
    fake.fail[FAKE_MARK] = APR_TIMEUP;
    m = site_manager(0);
    other = other_gateway();
    site_round(other);
    site_pass(m, 100);
    assert_string_equal(site_found(other, 1), a);
    site_pass(m, 100);
    assert_int_not_equal(fake_find(a)->state, PERSONA_INSTANCE_RETIRING);
    fake.fail[FAKE_MARK] = APR_SUCCESS;
    for (int i = 0; i < 5; i++) {
        assert_string_equal(site_status_of(site_ask(other, "{'op': 'attach', 'session': '%s', 'instance': '%s', "
                                                    "'streams': 1}", site_session(1), a)), "ok");
        site_round(other);
    }
    site_pass(m, 200);
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_ASSIGNED);
    assert_string_equal(fake_find(a)->session, site_session(1));
}

/** The metadata cannot be written: another manager knows all the same whose it is, also after the first has died. */
static void one_whose_metadata_cannot_be_written_is_kept(void **state)
{
    persona_manager_t *m = site_with_pool(1), *other;
    const char *a = site_uuid(0);

    (void)state;
    fake.fail[FAKE_MARK] = APR_EGENERAL;
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_round(m);
    other = other_gateway();
    site_pass(other, 200);
    assert_int_not_equal(fake_find(a)->state, PERSONA_INSTANCE_RETIRING);
    assert_string_equal(site_found(other, 1), a);
    assert_string_equal(site_found(other, 2), "none");
}

/** Its user comes back with the S that the browser has, and it is theirs with name and application. */
static void who_knows_its_session_has_it_with_name(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0), *user, *app;
    json_t *answer;

    (void)state;
    fenced_and_killed(a, 1);
    m = site_manager(0);
    site_round(m);
    answer = site_ask(m, "{'op': 'find', 'session': '%s', 'user': 'ada', 'app': 'app'}", site_session(1));
    assert_int_equal(json_unpack(json_object_get(answer, "record"), "{s:s, s:s}", "user", &user, "app", &app), 0);
    assert_string_equal(user, "ada");
    assert_string_equal(app, "app");
    json_decref(answer);
    site_pass(m, 3);
    assert_string_equal(fake_find(a)->user, "ada");
    /* and nobody's else */
    answer = site_ask(m, "{'op': 'find', 'session': '%s', 'user': 'mallory', 'app': 'app'}", site_session(1));
    assert_int_equal(json_unpack(json_object_get(answer, "record"), "{s:s}", "user", &user), 0);
    assert_string_equal(user, "ada");
    json_decref(answer);
}

static void the_record_comes_back_after_a_flush(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);
    persona_record_t *record;

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    assert_int_equal(persona_session_get(m->index, site_session(1), &record, unit_pool), APR_NOTFOUND);
    site_pass(m, 8);
    assert_int_equal(persona_session_get(m->index, site_session(1), &record, unit_pool), APR_SUCCESS);
    assert_string_equal(record->instance, a);
    assert_true(record->expires <= site_now + PERSONA_LEASE);
    assert_true(record->expires > site_now + SECONDS(45));
}

static void nobody_attached(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 115);
    assert_string_equal(site_found(m, 1), a);
    site_pass(m, 10);
    assert_string_equal(site_found(m, 1), "none");
    assert_int_equal(fake_find(a)->state, PERSONA_INSTANCE_RETIRING);
}

static const char *attach(persona_manager_t *m, const char *instance, int session, int streams, apr_time_t input)
{
    return site_status_of(site_ask(m, "{'op': 'attach', 'session': '%s', 'instance': '%s', 'streams': %d, "
                                      "'last_input': %" APR_TIME_T_FMT "}", site_session(session), instance, streams,
                                   input));
}

static void limits_are_enforced_in_words(void **state)
{
    persona_manager_t *m = site_with_pool(3);
    const char *a = site_uuid(0), *b = site_uuid(1), *c = site_uuid(2);
    int minute;
    json_t *answer;

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok"); /* leaves after 10 s */
    assert_string_equal(site_assign(m, b, 2), "ok"); /* stays and touches nothing */
    assert_string_equal(site_assign(m, c, 3), "ok"); /* works all day */
    assert_string_equal(attach(m, a, 1, 1, site_now), "ok");
    assert_string_equal(attach(m, a, 1, 0, site_now), "ok");
    for (minute = 0; minute < 119; minute++) {
        for (int k = 0; k < 6; k++) {
            attach(m, b, 2, 1, 0);
            attach(m, c, 3, 2, site_now);
            site_now += SECONDS(8);
            site_round(m);
            site_now += SECONDS(1);
        }
        if (minute == 14) {
            assert_string_equal(site_found(m, 1), a);
        }
        if (minute == 17) {
            assert_string_equal(site_found(m, 1), "none");
            answer = site_ask(m, "{'op': 'find', 'session': '%s'}", site_session(1));
            assert_string_equal(json_string_value(json_object_get(answer, "ended")),
                                "no browser was connected to it for 15 minutes");
            json_decref(answer);
            assert_string_equal(site_found(m, 2), b);
        }
        if (minute == 35) {
            assert_string_equal(site_found(m, 2), "none");
        }
    }
    assert_string_equal(site_found(m, 3), c);
    for (int k = 0; k < 20; k++) {
        attach(m, c, 3, 2, site_now);
        site_now += SECONDS(8);
        site_round(m);
    }
    assert_string_equal(site_found(m, 3), "none");
    answer = site_ask(m, "{'op': 'attach', 'session': '%s', 'instance': '%s', 'streams': 1}", site_session(3), c);
    assert_string_equal(json_string_value(json_object_get(answer, "status")), "none");
    assert_string_equal(json_string_value(json_object_get(answer, "ended")),
                        "the session lasted 2 hours, the longest that is allowed");
    json_decref(answer);
}

static void another_managers_streams_count(void **state)
{
    persona_manager_t *m = site_with_pool(1), *other = site_manager(0);
    const char *a = site_uuid(0);

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    for (int k = 0; k < 200; k++) {
        attach(m, a, 1, 1, site_now);
        site_now += SECONDS(8);
        site_round(m);
        site_round(other);
    }
    assert_string_equal(site_found(m, 1), a);
    /* Its manager dies; nobody is connected any more, and the other one ends the session. */
    for (int k = 0; k < 100; k++) {
        site_now += SECONDS(10);
        site_round(other);
    }
    assert_string_equal(site_found(other, 1), "none");
}

static void two_instances_of_one_session(void **state)
{
    persona_manager_t *m = site_with_pool(2), *other = site_manager(0);
    const char *a = site_uuid(0), *b = site_uuid(1);

    (void)state;
    site_round(other);
    assert_string_equal(site_assign(m, a, 1), "ok");
    assert_string_equal(site_assign(other, b, 1), "ok");
    site_pass(m, 3);
    site_pass(other, 3);
    site_pass(m, 70);
    site_pass(other, 70);
    assert_int_equal((fake_find(a) != NULL) + (fake_find(b) != NULL), 1);
    assert_string_equal(site_found(m, 1), site_found(other, 1));
}

/** Two gateways that see two memcacheds: each has a record of its own of the session, and they say different things. */
static void two_records_of_one_session_leave_one_instance(void **state)
{
    persona_manager_t *m = site_with_pool(2), *other;
    persona_store_t *store = site.store, *second;
    const char *a = site_uuid(0), *b = site_uuid(1);

    (void)state;
    assert_int_equal(persona_store_memory_open(&second, unit_pool), APR_SUCCESS);
    site.store = second;
    other = site_manager(0);
    site.store = store;
    site_persona("one", 0, 10, "image");
    site_round(other);
    assert_string_equal(site_assign(m, a, 1), "ok");
    assert_string_equal(site_assign(other, b, 1), "ok");
    for (int i = 0; i < 3; i++) {
        persona_manager_tick(m, 1, unit_pool);
        persona_manager_tick(other, 1, unit_pool);
        site_now += SECONDS(1);
    }
    for (int i = 0; i < 40; i++) {
        site_round(m);
        site_round(other);
    }
    assert_int_equal((fake_find(a) != NULL) + (fake_find(b) != NULL), 1);
    assert_string_equal(site_found(m, 1), fake_find(a) ? a : b);
    assert_string_equal(site_found(m, 1), site_found(other, 1));
    /* What they agreed on goes with the instance. */
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'end', 'session': '%s', 'user': 'user1'}",
                                                site_session(1))), "ok");
    for (int i = 0; i < 300; i++) {
        site_round(m);
        site_round(other);
    }
    assert_int_equal(fake_count(PERSONA_INSTANCE_GONE), 0);
    assert_int_equal(fake_fence_count(), 0);
}

static void duplicate_retires_only_the_other_one(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 3);
    site_status_of(site_ask(m, "{'op': 'duplicate', 'session': '%s', 'instance': '%s'}", site_session(1), a));
    site_pass(m, 3);
    assert_string_equal(site_found(m, 1), a);
}

static void claims_without_the_index(void **state)
{
    persona_manager_t *m = site_with_pool(2);
    const char *first, *second;
    json_t *answer;
    const char *claim = "{'op': 'claim', 'persona': 'one', 'session': '%s', 'user': 'u', 'app': 'app'}";

    (void)state;
    site.index_down = 1;
    site_pass(m, 3);
    assert_string_equal(site_status_of(site_ask(m, claim, site_session(1))), "ok");
    assert_string_equal(site_status_of(site_ask(m, claim, site_session(2))), "ok");
    first = site_found(m, 1);
    second = site_found(m, 2);
    assert_string_not_equal(first, second);
    assert_string_equal(site_status_of(site_ask(m, claim, site_session(1))), "ok");
    assert_string_equal(site_found(m, 1), first);
    answer = site_ask(m, claim, site_session(3));
    assert_string_equal(json_string_value(json_object_get(answer, "status")), "wait");
    assert_true(json_is_object(json_object_get(answer, "progress")));
    json_decref(answer);
    site_settle(m);
    assert_string_equal(site_status_of(site_ask(m, claim, site_session(3))), "ok");
}

static void a_dead_compute_is_not_asked(void **state)
{
    persona_manager_t *m = site_with_pool(3);
    const char *a = site_uuid(0), *b = site_uuid(1);
    int calls;

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    for (int op = 0; op < FAKE_OPS; op++) {
        fake.fail[op] = APR_TIMEUP;
    }
    site_round(m);
    calls = fake.calls[FAKE_FENCE];
    assert_string_equal(site_assign(m, b, 2), "no");
    assert_int_equal(fake.calls[FAKE_FENCE], calls);
    assert_string_equal(site_found(m, 1), a);
    for (int op = 0; op < FAKE_OPS; op++) {
        fake.fail[op] = APR_SUCCESS;
    }
    site_pass(m, 40);
    assert_string_equal(site_assign(m, b, 2), "ok");
    assert_string_equal(site_found(m, 1), a);
}

static void a_swept_fence_is_set_again(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 2);
    memset(fake.fences, 0, sizeof(fake.fences));
    site_pass(m, 3);
    assert_string_equal(fake_token(a), persona_fence_token(site_session(1), a, unit_pool));
    assert_string_equal(site_found(m, 1), a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITE_TEST(one_winner),
        SITE_TEST(one_session_has_one_instance),
        SITE_TEST(the_lease_counts_from_the_reading),
        SITE_TEST(a_lost_answer_is_asked_again),
        SITE_TEST(who_asks_no_more_keeps_nothing),
        SITE_TEST(an_unfit_instance_is_refused_and_never_given_back),
        SITE_TEST(slow_metadata_does_not_fail_a_claim),
        SITE_TEST(a_restart_has_the_session_again),
        SITE_TEST(a_change_of_the_key_loses_no_session),
        SITE_TEST(a_restart_before_the_metadata_has_the_session_too),
        SITE_TEST(a_restart_before_the_metadata_learns_the_session_from_the_fence),
        SITE_TEST(a_fence_that_nobody_can_name_is_retired_in_time),
        SITE_TEST(who_is_given_up_is_not_let_in_again),
        SITE_TEST(who_came_back_is_not_given_up),
        SITE_TEST(one_whose_metadata_cannot_be_written_is_kept),
        SITE_TEST(who_knows_its_session_has_it_with_name),
        SITE_TEST(the_record_comes_back_after_a_flush),
        SITE_TEST(nobody_attached),
        SITE_TEST(limits_are_enforced_in_words),
        SITE_TEST(another_managers_streams_count),
        SITE_TEST(two_instances_of_one_session),
        SITE_TEST(two_records_of_one_session_leave_one_instance),
        SITE_TEST(duplicate_retires_only_the_other_one),
        SITE_TEST(claims_without_the_index),
        SITE_TEST(a_dead_compute_is_not_asked),
        SITE_TEST(a_swept_fence_is_set_again),
    };

    return apr_initialize() == APR_SUCCESS ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file test_session.c
 * @brief Records and sessions: one session for a user and app, whatever the store does and whoever comes at once.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "faulty_store.h"
#include "persona/digest.h"
#include "pool/index.h"
#include "pool/session.h"

static faulty_store_t *store;
static persona_index_t *ours;
static const char *const keys[2] = {"current key", NULL};

static const char *session_of(int n)
{
    char *session = apr_palloc(unit_pool, PERSONA_SESSION_LEN);

    persona_sha256(&n, sizeof(n), session);
    return session;
}

static persona_record_t *record_of(int n, const char *user)
{
    persona_record_t *r = apr_pcalloc(unit_pool, sizeof(*r));

    r->instance = persona_uuid_random(unit_pool);
    r->persona_id = "cad";
    r->app = "freecad";
    r->compute = "kvm";
    r->fingerprint = "f";
    r->session = session_of(n);
    r->user = user;
    r->address = "10.0.0.1";
    r->port = 6080;
    r->path = "/";
    r->expires = apr_time_now() + PERSONA_LEASE;
    return r;
}

static int setup(void **state)
{
    if (unit_setup(state) != 0) {
        return -1;
    }
    store = faulty_store();
    return persona_index_create(&ours, &store->store, "ns", keys, unit_pool);
}

static void raw_set(const char *key, const char *value)
{
    store->below->set(store->below, "any", key, value, 0);
}

static const char *raw_get(const char *key)
{
    const char *value = NULL;

    store->below->get(store->below, "any", key, &value, unit_pool);
    return value;
}

static apr_status_t add(const persona_record_t *record, persona_record_t **winner)
{
    *winner = NULL;
    return persona_session_add(ours, record, winner, unit_pool);
}

/* ---- records ---- */

static void a_record_comes_back_as_it_was(void **state)
{
    persona_record_t *one = record_of(1, "J\xc3\xbcrgen \"the\" \\ user"), *two;
    const char *text;

    (void)state;
    one->stream = PERSONA_STREAM_VNC;
    one->pass_user = one->home = one->cold = 1;
    one->started = 1790000000123456;
    one->ends = one->started + 7;
    one->idle_timeout = 9;
    one->disconnect_timeout = 10;
    one->address = "fd00::1";
    text = persona_record_write(ours, one, "k", "g", unit_pool);
    assert_int_equal(persona_record_read(ours, &two, text, "k", "g", unit_pool), APR_SUCCESS);
    assert_string_equal(one->instance, two->instance);
    assert_string_equal(one->user, two->user);
    assert_string_equal(one->session, two->session);
    assert_string_equal(one->address, two->address);
    assert_int_equal(one->started, two->started);
    assert_int_equal(one->expires, two->expires);
    assert_int_equal(one->ends, two->ends);
    assert_int_equal(two->idle_timeout + two->disconnect_timeout, 19);
    assert_int_equal(two->pass_user + two->home + two->cold, 3);
    assert_int_equal(persona_record_read(ours, &two, text, "k2", "g", unit_pool), APR_EACCES);
    assert_int_equal(persona_record_read(ours, &two, text, "k", "g2", unit_pool), APR_EACCES);
}

static void each_changed_byte_is_seen(void **state)
{
    char *text = apr_pstrdup(unit_pool, persona_record_write(ours, record_of(1, "u"), "k", "-", unit_pool));
    persona_record_t *record;
    size_t i;

    (void)state;
    for (i = 0; text[i]; i++) {
        text[i] ^= 1;
        assert_int_equal(persona_record_read(ours, &record, text, "k", "-", unit_pool), APR_EACCES);
        text[i] ^= 1;
    }
}

static void a_record_within_no_limits_is_none(void **state)
{
    static const char *const bad[][2] = {{"instance", "x"}, {"address", "localhost"}, {"address", "10.0.0.1; rm"},
                                         {"session", "short"}, {"path", "relative"}, {"persona", ""}};
    size_t i;
    persona_record_t *record;
    json_t *json;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json = persona_record_to_json(record_of(1, "u"));
        json_object_set_new(json, bad[i][0], json_string(bad[i][1]));
        assert_int_equal(persona_record_from_json(&record, json, unit_pool), APR_EINVAL);
        json_decref(json);
    }
    json = persona_record_to_json(record_of(1, "u"));
    json_object_set_new(json, "port", json_integer(70000));
    assert_int_equal(persona_record_from_json(&record, json, unit_pool), APR_EINVAL);
    json_object_del(json, "port");
    assert_int_equal(persona_record_from_json(&record, json, unit_pool), APR_EINVAL);
    json_decref(json);
    assert_int_equal(persona_record_from_json(&record, NULL, unit_pool), APR_EINVAL);
}

/* ---- ids ---- */

static void an_api_clients_id_is_the_sites(void **state)
{
    static const char *const other_keys[2] = {"other", NULL};
    char a[PERSONA_SESSION_LEN], b[PERSONA_SESSION_LEN];
    persona_index_t *other;

    (void)state;
    persona_session_api_id(ours, "u", "app", a);
    persona_session_api_id(ours, "u", "app", b);
    assert_string_equal(a, b);
    persona_session_api_id(ours, "ua", "pp", b);
    assert_string_not_equal(a, b);
    /* with another key: the gateways get a new one, one after the other */
    persona_index_create(&other, &store->store, "ns", other_keys, unit_pool);
    persona_session_api_id(other, "u", "app", b);
    assert_string_equal(a, b);
    persona_index_create(&other, &store->store, "others", other_keys, unit_pool);
    persona_session_api_id(other, "u", "app", b);
    assert_string_not_equal(a, b);
}

/* ---- two keys ---- */

/** Gateways while the key is exchanged, one after the other: each signs with its first. */
static void sessions_outlive_a_change_of_the_key(void **state)
{
    static const char *const steps[4][2] = {
        {"old", NULL}, {"old", "new"}, {"new", "old"}, {"new", NULL}};
    persona_record_t *record = record_of(1, "u"), *other = record_of(2, "u"), *got, *winner;
    persona_index_t *gateways[4];
    const char *session;
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        persona_index_create(&gateways[i], &store->store, "ns", steps[i], unit_pool);
    }
    assert_int_equal(persona_session_add(gateways[0], record, &winner, unit_pool), APR_SUCCESS);
    for (i = 0; i < 3; i++) { /* of two neighbours each reads what the other signs */
        assert_int_equal(persona_session_renew(gateways[i], record, unit_pool), APR_SUCCESS);
        assert_int_equal(persona_session_get(gateways[i + 1], record->session, &got, unit_pool), APR_SUCCESS);
        assert_int_equal(persona_session_of_user(gateways[i + 1], "u", "freecad", &session, unit_pool), APR_SUCCESS);
        assert_string_equal(session, record->session);
        assert_int_equal(persona_session_add(gateways[i + 1], other, &winner, unit_pool), APR_EEXIST);
        assert_int_equal(persona_session_renew(gateways[i + 1], record, unit_pool), APR_SUCCESS);
        assert_int_equal(persona_session_get(gateways[i], record->session, &got, unit_pool), APR_SUCCESS);
        assert_int_equal(persona_session_of_user(gateways[i], "u", "freecad", &session, unit_pool), APR_SUCCESS);
    }
    assert_int_equal(persona_session_get(gateways[1], record->session, &got, unit_pool), APR_SUCCESS);
    assert_int_equal(persona_session_get(gateways[0], record->session, &got, unit_pool), APR_EACCES);
}

/* ---- one session, one instance ---- */

static void the_second_tab_gets_the_first_ones(void **state)
{
    persona_record_t *first = record_of(1, "u"), *second = record_of(1, "u"), *winner;

    (void)state;
    assert_int_equal(add(first, &winner), APR_SUCCESS);
    assert_int_equal(add(first, &winner), APR_SUCCESS); /* again: a lost answer */
    assert_int_equal(add(second, &winner), APR_EEXIST);
    assert_string_equal(winner->instance, first->instance);
}

static void the_second_browser_gets_the_first_ones(void **state)
{
    persona_record_t *first = record_of(1, "u"), *second = record_of(2, "u"), *winner, *left;
    const char *session;

    (void)state;
    assert_int_equal(add(first, &winner), APR_SUCCESS);
    assert_int_equal(add(second, &winner), APR_EEXIST);
    assert_string_equal(winner->session, first->session);
    assert_int_equal(persona_session_get(ours, second->session, &left, unit_pool), APR_NOTFOUND);
    assert_int_equal(persona_session_of_user(ours, "u", "freecad", &session, unit_pool), APR_SUCCESS);
    assert_string_equal(session, first->session);
    /* Other users, and users that are not known, are nobody's second. */
    assert_int_equal(add(record_of(3, "v"), &winner), APR_SUCCESS);
    assert_int_equal(add(record_of(4, ""), &winner), APR_SUCCESS);
    assert_int_equal(add(record_of(5, ""), &winner), APR_SUCCESS);
}

static void a_leftover_is_taken_over_by_one(void **state)
{
    persona_record_t *old = record_of(1, "u"), *second = record_of(2, "u"), *third = record_of(3, "u"), *winner;

    (void)state;
    assert_int_equal(add(old, &winner), APR_SUCCESS);
    store->below->remove(store->below, "any", persona_key_session(ours, old->session, unit_pool));
    assert_int_equal(add(second, &winner), APR_SUCCESS);
    assert_int_equal(add(third, &winner), APR_EEXIST);
    assert_string_equal(winner->instance, second->instance);
}

/* The other tab acts between two steps of the first. */
static persona_record_t *rival;
static apr_status_t rival_rv;
static persona_record_t *rival_winner;
static int rival_at;

static void rival_acts(faulty_store_t *s, int call)
{
    if (call == rival_at) {
        s->before = NULL;
        rival_rv = add(rival, &rival_winner);
    }
}

static void two_browsers_at_once_have_one_winner(void **state)
{
    int at, leftover, won = 0;

    (void)state;
    for (leftover = 0; leftover < 2; leftover++) {
        for (at = 1; at <= 10; at++) {
            persona_record_t *first, *winner, *old;
            apr_status_t rv;

            setup(state);
            if (leftover) {
                old = record_of(9, "u");
                add(old, &winner);
                store->below->remove(store->below, "any", persona_key_session(ours, old->session, unit_pool));
            }
            first = record_of(1, "u");
            rival = record_of(2, "u");
            rival_rv = APR_EGENERAL;
            rival_at = store->calls + at;
            store->before = rival_acts;
            rv = add(first, &winner);
            if (rival_rv == APR_EGENERAL) {
                break; /* the first was done before its at-th call */
            }
            if ((rv == APR_SUCCESS) == (rival_rv == APR_SUCCESS)) {
                fail_msg("rival at call %d, leftover %d: first %d, rival %d", at, leftover, rv, rival_rv);
            }
            if (rv == APR_SUCCESS) {
                assert_string_equal(rival_winner->instance, first->instance);
            }
            else {
                assert_string_equal(winner->instance, rival->instance);
            }
            won++;
            apr_pool_destroy(unit_pool);
        }
        apr_pool_destroy(unit_pool);
    }
    setup(state);
    assert_true(won >= 5);
}

/* ---- lies and losses ---- */

static void a_forged_record_is_told_and_replaced(void **state)
{
    persona_record_t *record = record_of(1, "u"), *read, *winner;
    const char *key = persona_key_session(ours, record->session, unit_pool);

    (void)state;
    raw_set(key, "forged");
    assert_int_equal(persona_session_get(ours, record->session, &read, unit_pool), APR_EACCES);
    assert_int_equal(add(record, &winner), APR_SUCCESS);
    assert_int_equal(persona_session_get(ours, record->session, &read, unit_pool), APR_SUCCESS);
    /* Another session's record under this key. */
    add(record_of(2, ""), &winner);
    raw_set(key, raw_get(persona_key_session(ours, session_of(2), unit_pool)));
    assert_int_equal(persona_session_get(ours, record->session, &read, unit_pool), APR_EACCES);
}

static void an_ended_session_leaves_a_note(void **state)
{
    persona_record_t *record = record_of(1, "u"), *winner;
    const char *reason, *session;

    (void)state;
    add(record, &winner);
    assert_int_equal(persona_session_ended(ours, record->session, &reason, unit_pool), APR_NOTFOUND);
    assert_int_equal(persona_session_remove(ours, record, "12 hours are over", unit_pool), APR_SUCCESS);
    assert_int_equal(persona_session_get(ours, record->session, &winner, unit_pool), APR_NOTFOUND);
    assert_int_equal(persona_session_of_user(ours, "u", "freecad", &session, unit_pool), APR_NOTFOUND);
    assert_int_equal(persona_session_ended(ours, record->session, &reason, unit_pool), APR_SUCCESS);
    assert_string_equal(reason, "12 hours are over");
    assert_int_equal(persona_session_remove(ours, record, "again", unit_pool), APR_SUCCESS);
}

/** Where one of the calls fails, it is not said that all is done: who ends a session would believe it. */
static void removed_means_noted(void **state)
{
    persona_record_t *read, *winner;
    const char *reason;
    int call, failed = 0;

    (void)state;
    for (call = 1; call <= 8; call++) {
        persona_record_t *record = record_of(call, "");
        apr_status_t rv;

        add(record, &winner);
        store->calls = 0;
        store->fail_at = call;
        rv = persona_session_remove(ours, record, "over", unit_pool);
        store->fail_at = 0;
        failed += rv != APR_SUCCESS;
        if (rv == APR_SUCCESS) {
            assert_int_equal(persona_session_get(ours, record->session, &read, unit_pool), APR_NOTFOUND);
            assert_int_equal(persona_session_ended(ours, record->session, &reason, unit_pool), APR_SUCCESS);
            assert_int_equal(persona_session_instance_over(ours, record->instance, &reason, unit_pool), APR_SUCCESS);
        }
    }
    assert_int_equal(failed, 3);
}

static void removing_an_old_one_leaves_the_new_one(void **state)
{
    persona_record_t *old = record_of(1, "u"), *now = record_of(2, "u"), *winner;
    const char *session;

    (void)state;
    add(old, &winner);
    store->below->remove(store->below, "any", persona_key_session(ours, old->session, unit_pool));
    add(now, &winner);
    persona_session_remove(ours, old, "late", unit_pool);
    assert_int_equal(persona_session_of_user(ours, "u", "freecad", &session, unit_pool), APR_SUCCESS);
    assert_string_equal(session, now->session);
}

static void after_a_flush_renewal_brings_it_back(void **state)
{
    persona_record_t *record = record_of(1, "u"), *read, *winner;
    const char *session;

    (void)state;
    add(record, &winner);
    faulty_flush(store);
    assert_int_equal(persona_session_renew(ours, record, unit_pool), APR_SUCCESS);
    assert_int_equal(persona_session_get(ours, record->session, &read, unit_pool), APR_SUCCESS);
    assert_int_equal(persona_session_of_user(ours, "u", "freecad", &session, unit_pool), APR_SUCCESS);
    assert_string_equal(session, record->session);
}

static void without_an_answer_nothing_is_claimed_to_be(void **state)
{
    persona_record_t *record = record_of(1, "u"), *winner;
    int at;

    (void)state;
    for (at = 1; at <= 2; at++) {
        store->fail_at = store->calls + at;
        assert_int_equal(add(record, &winner), APR_TIMEUP);
    }
    assert_int_equal(add(record, &winner), APR_SUCCESS);
}

#define SESSION_TEST(f) cmocka_unit_test_setup_teardown(f, setup, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SESSION_TEST(a_record_comes_back_as_it_was),
        SESSION_TEST(each_changed_byte_is_seen),
        SESSION_TEST(a_record_within_no_limits_is_none),
        SESSION_TEST(an_api_clients_id_is_the_sites),
        SESSION_TEST(sessions_outlive_a_change_of_the_key),
        SESSION_TEST(the_second_tab_gets_the_first_ones),
        SESSION_TEST(the_second_browser_gets_the_first_ones),
        SESSION_TEST(a_leftover_is_taken_over_by_one),
        SESSION_TEST(two_browsers_at_once_have_one_winner),
        SESSION_TEST(a_forged_record_is_told_and_replaced),
        SESSION_TEST(an_ended_session_leaves_a_note),
        SESSION_TEST(removed_means_noted),
        SESSION_TEST(removing_an_old_one_leaves_the_new_one),
        SESSION_TEST(after_a_flush_renewal_brings_it_back),
        SESSION_TEST(without_an_answer_nothing_is_claimed_to_be),
    };

    return UNIT_RUN(tests);
}

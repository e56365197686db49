/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file test_pool.c
 * @brief The claim and the line: a store that forgets, repeats and lies; providers that refuse, hang and lose answers.
 *
 * The fence is an array here: the first session that asks for an instance has it for ever. No test may end with an
 * instance of two sessions or a session with two instances; fence_take() watches it.
 */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "faulty_store.h"
#include "persona/digest.h"
#include "pool/index.h"
#include "pool/pool.h"

#define P "cad"
#define INSTANCES 1024

static faulty_store_t *store;
static persona_index_t *ours;
static const char *const keys[2] = {"current key", NULL};

/* ---- the fence ---- */

static char uuids[INSTANCES][PERSONA_UUID_LEN];
static char owners[INSTANCES][PERSONA_SESSION_LEN];
static int instances;
static int asked, asked_unknown;
static int unknown_next, lose_next, refuse_all;
static const char *down; /* this compute is known to be down */
static pthread_mutex_t fence_mutex = PTHREAD_MUTEX_INITIALIZER;

static int instance_number(const char *uuid)
{
    int i;

    for (i = 0; i < instances; i++) {
        if (strcmp(uuids[i], uuid) == 0) {
            return i;
        }
    }
    return -1;
}

static int owned_by(const char *session)
{
    int i, n = 0;

    for (i = 0; i < instances; i++) {
        n += strcmp(owners[i], session) == 0;
    }
    return n;
}

static persona_assign_e assign(void *baton, const persona_record_t *slot, const char *session, apr_uint64_t ticket,
                               apr_time_t deadline, persona_record_t **record, apr_pool_t *p)
{
    persona_record_t *own = apr_pmemdup(p, slot, sizeof(*slot));
    persona_assign_e outcome = PERSONA_ASSIGN_NO;
    int i;

    (void)baton;
    (void)ticket;
    (void)deadline;
    if (down && strcmp(slot->compute, down) == 0) {
        return PERSONA_ASSIGN_SKIP;
    }
    pthread_mutex_lock(&fence_mutex);
    asked++;
    i = instance_number(slot->instance);
    if (unknown_next > 0) {
        unknown_next--;
        asked_unknown++;
        outcome = PERSONA_ASSIGN_UNKNOWN;
    }
    else if (i >= 0 && !refuse_all) {
        if (!*owners[i]) {
            apr_cpystrn(owners[i], session, PERSONA_SESSION_LEN);
        }
        if (strcmp(owners[i], session) == 0) {
            own->session = session;
            *record = own;
            outcome = PERSONA_ASSIGN_YES;
            if (lose_next > 0) {
                lose_next--;
                outcome = PERSONA_ASSIGN_UNKNOWN;
            }
        }
    }
    pthread_mutex_unlock(&fence_mutex);
    return outcome;
}

/* ---- the planner ---- */

static persona_record_t *instance_new(const char *compute)
{
    persona_record_t *r = apr_pcalloc(unit_pool, sizeof(*r));

    assert_true(instances < INSTANCES);
    apr_cpystrn(uuids[instances], persona_uuid_random(unit_pool), PERSONA_UUID_LEN);
    owners[instances][0] = '\0';
    r->instance = uuids[instances++];
    r->persona_id = P;
    r->app = "freecad";
    r->compute = compute;
    r->fingerprint = "f";
    r->address = "10.0.0.1";
    r->port = 6080;
    r->path = "/";
    return r;
}

static persona_queue_t queue_now(void)
{
    persona_queue_t queue;
    int created;

    assert_int_equal(persona_pool_queue(ours, P, 1, 1000, &queue, &created, unit_pool), APR_SUCCESS);
    return queue;
}

static apr_uint64_t publish(persona_record_t *instance)
{
    persona_queue_t queue = queue_now();
    apr_uint64_t slot = 0;

    assert_int_equal(persona_pool_publish(ours, &queue, instance, &slot, unit_pool), APR_SUCCESS);
    return slot;
}

static void publish_new(int count)
{
    while (count-- > 0) {
        publish(instance_new("kvm"));
    }
}

/** After anything: every instance without an owner gets a slot again. */
static void publish_free(void)
{
    int i;

    for (i = 0; i < instances; i++) {
        if (!*owners[i]) {
            persona_record_t r = {.instance = uuids[i], .persona_id = P, .app = "freecad", .compute = "kvm",
                                  .fingerprint = "f", .address = "10.0.0.1", .port = 6080, .path = "/"};

            publish(&r);
        }
    }
}

static int waiters_now(apr_interval_time_t age, apr_array_header_t **waiters)
{
    persona_queue_t queue = queue_now();

    assert_int_equal(persona_pool_waiters(ours, &queue, P, age, waiters, unit_pool), APR_SUCCESS);
    return (*waiters)->nelts;
}

/* ---- claimers ---- */

static const char *session_of(int n)
{
    char *session = apr_palloc(unit_pool, PERSONA_SESSION_LEN);

    persona_sha256(&n, sizeof(n), session);
    return session;
}

static persona_claim_t claim_of(int n)
{
    persona_claim_t claim = {.persona_id = P, .session = session_of(n)};

    return claim;
}

/** One poll that keeps nothing but the session, as a waiting page does. */
static persona_claim_e poll_claim(int n, persona_claim_t *claim, persona_record_t **record)
{
    *claim = claim_of(n);
    return persona_pool_claim(ours, claim, assign, NULL, apr_time_now() + apr_time_from_msec(300), record, unit_pool);
}

static persona_claim_e poll_once(int n)
{
    persona_record_t *record;
    persona_claim_t claim;

    return poll_claim(n, &claim, &record);
}

static int setup(void **state)
{
    if (unit_setup(state) != 0) {
        return -1;
    }
    store = faulty_store();
    instances = asked = asked_unknown = unknown_next = lose_next = refuse_all = 0;
    down = NULL;
    return persona_index_create(&ours, &store->store, "ns", keys, unit_pool);
}

/* ---- a claim ---- */

static void without_a_pool_the_manager_is_asked(void **state)
{
    (void)state;
    assert_int_equal(poll_once(1), PERSONA_CLAIM_NO_INDEX);
    publish_new(1);
    store->fail_from = store->calls + 1;
    assert_int_equal(poll_once(1), PERSONA_CLAIM_NO_INDEX);
    assert_int_equal(asked, 0);
}

static void a_ready_instance_costs_three_looks_at_the_store(void **state)
{
    persona_record_t *record;
    persona_claim_t claim;
    int before;

    (void)state;
    publish_new(1);
    before = store->calls;
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_GOT);
    assert_int_equal(store->calls - before, 3);
    assert_string_equal(record->instance, uuids[0]);
    assert_string_equal(record->session, session_of(1));
    assert_true(claim.arrived > 0);
}

static void refused_ones_are_passed_by_three_at_a_time(void **state)
{
    persona_record_t *record;
    persona_claim_t claim;
    int i;

    (void)state;
    publish_new(5);
    for (i = 0; i < 4; i++) {
        apr_cpystrn(owners[i], session_of(100 + i), PERSONA_SESSION_LEN);
    }
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_WAIT);
    assert_int_equal(asked, 3);
    assert_int_equal(claim.provider_calls, 3);
    assert_int_equal(claim.place, 1);
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_GOT);
    assert_int_equal(asked, 5);
    assert_string_equal(record->instance, uuids[4]);
}

static void a_dead_host_burns_nobody(void **state)
{
    persona_record_t *record;
    persona_claim_t claim;
    int i;

    (void)state;
    for (i = 0; i < 100; i++) {
        publish(instance_new("dead"));
    }
    publish_new(1);
    down = "dead";
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_GOT);
    assert_int_equal(asked, 1);
    assert_string_equal(record->compute, "kvm");
}

/* ---- answers that are not known ---- */

static void an_unknown_answer_is_asked_again_about_the_same(void **state)
{
    persona_record_t *record;
    persona_claim_t claim;

    (void)state;
    publish_new(3);
    unknown_next = 2;
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_GOT);
    assert_int_equal(asked, 3);
    assert_string_equal(record->instance, uuids[0]);
    assert_null(claim.pending);
}

static void it_is_remembered_over_polls(void **state)
{
    persona_record_t *record;
    persona_claim_t claim;
    int i;

    (void)state;
    publish_new(3);
    unknown_next = 1000;
    for (i = 0; i < 3; i++) {
        assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_WAIT);
        assert_string_equal(claim.pending, uuids[0]);
        assert_int_equal(claim.place, 0);
    }
    unknown_next = 0;
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_GOT);
    assert_string_equal(record->instance, uuids[0]);
    assert_int_equal(poll_claim(2, &claim, &record), PERSONA_CLAIM_GOT);
    assert_string_equal(record->instance, uuids[1]);
}

static void a_lost_answer_costs_no_second_instance(void **state)
{
    persona_record_t *record;
    persona_claim_t claim;

    (void)state;
    publish_new(3);
    lose_next = 1;
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_GOT);
    assert_int_equal(owned_by(session_of(1)), 1);
}

static void after_a_no_the_next_one_is_asked(void **state)
{
    persona_record_t *record;
    persona_claim_t claim;

    (void)state;
    publish_new(2);
    unknown_next = 1000;
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_WAIT);
    unknown_next = 0;
    apr_cpystrn(owners[0], session_of(9), PERSONA_SESSION_LEN);
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_GOT);
    assert_string_equal(record->instance, uuids[1]);
}

/** The store forgets while the outcome is unknown; the pool is built anew with the same instance in it. */
static void a_host_that_goes_down_keeps_the_question_open(void **state)
{
    persona_record_t *record;
    persona_claim_t claim;

    (void)state;
    publish_new(2);
    unknown_next = 1000;
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_WAIT);
    unknown_next = 0;
    down = "kvm";
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_WAIT);
    assert_string_equal(claim.pending, uuids[0]);
    down = NULL;
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_GOT);
    assert_string_equal(record->instance, uuids[0]);
}

/* ---- the line ---- */

static void first_come_first_served(void **state)
{
    persona_record_t *record;
    persona_claim_t claim;
    apr_array_header_t *waiters;
    int n;

    (void)state;
    queue_now();
    for (n = 1; n <= 3; n++) {
        assert_int_equal(poll_claim(n, &claim, &record), PERSONA_CLAIM_WAIT);
        assert_int_equal(claim.place, n);
    }
    assert_int_equal(waiters_now(apr_time_from_sec(5), &waiters), 3);
    for (n = 1; n <= 3; n++) {
        assert_string_equal(APR_ARRAY_IDX(waiters, n - 1, persona_waiter_t).session, session_of(n));
    }
    publish_new(1);
    assert_int_equal(poll_claim(3, &claim, &record), PERSONA_CLAIM_WAIT);
    assert_int_equal(claim.place, 2);
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_GOT);
    assert_int_equal(poll_claim(2, &claim, &record), PERSONA_CLAIM_WAIT);
    assert_int_equal(claim.place, 1);
    assert_int_equal(poll_claim(2, &claim, &record), PERSONA_CLAIM_WAIT);
    assert_int_equal(waiters_now(apr_time_from_sec(5), &waiters), 2);
}

static void who_left_is_passed_over(void **state)
{
    persona_record_t *record;
    persona_claim_t claim;
    apr_array_header_t *waiters;

    (void)state;
    queue_now();
    poll_once(1);
    poll_once(2);
    claim = claim_of(1);
    persona_pool_leave(ours, &claim, unit_pool);
    assert_int_equal(poll_claim(2, &claim, &record), PERSONA_CLAIM_WAIT);
    assert_int_equal(claim.place, 1);
    assert_int_equal(waiters_now(apr_time_from_sec(5), &waiters), 1);
    publish_new(1);
    assert_int_equal(poll_claim(2, &claim, &record), PERSONA_CLAIM_GOT);
}

static void who_polls_no_more_is_skipped_and_may_come_back(void **state)
{
    persona_record_t *record;
    persona_claim_t claim;
    apr_array_header_t *waiters;
    apr_time_t arrived;
    apr_interval_time_t age = apr_time_from_msec(200);

    (void)state;
    queue_now();
    poll_claim(1, &claim, &record);
    arrived = claim.arrived;
    apr_sleep(age + 1000);
    poll_once(2);
    assert_int_equal(waiters_now(age, &waiters), 1);
    publish_new(1);
    assert_int_equal(poll_once(2), PERSONA_CLAIM_GOT);
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_WAIT);
    assert_int_equal(claim.arrived, arrived);
    assert_int_equal(claim.place, 1);
    publish_new(1);
    assert_int_equal(poll_once(1), PERSONA_CLAIM_GOT);
}

/** A worker died between its ticket and its first heartbeat. */
static void a_ticket_without_a_waiter_is_skipped(void **state)
{
    persona_queue_t queue = queue_now();
    apr_array_header_t *waiters;
    apr_interval_time_t age = apr_time_from_msec(200);
    apr_uint64_t ticket;

    (void)state;
    store->store.incr(&store->store, "any", persona_key_head(ours, P, queue.generation, unit_pool), &ticket);
    assert_int_equal(waiters_now(age, &waiters), 0);
    poll_once(2);
    /* Not at once: the heartbeat may be on its way. */
    publish_new(1);
    assert_int_equal(poll_once(2), PERSONA_CLAIM_WAIT);
    apr_sleep(age + 1000);
    poll_once(2);
    waiters_now(age, &waiters);
    publish_free();
    assert_int_equal(poll_once(2), PERSONA_CLAIM_GOT);
}

/** The planner took a number and died: tail has passed the first waiter, whose slot stays empty. */
static void a_hole_is_left_after_two_seconds(void **state)
{
    persona_queue_t queue = queue_now();
    persona_record_t *record;
    persona_claim_t claim;
    apr_time_t arrived;
    apr_uint64_t tail;

    (void)state;
    poll_claim(1, &claim, &record);
    arrived = claim.arrived;
    store->store.incr(&store->store, "any", persona_key_tail(ours, P, queue.generation, unit_pool), &tail);
    publish_new(1);
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_WAIT);
    assert_int_equal(claim.ticket, 0);
    apr_sleep(apr_time_from_msec(2050));
    assert_int_equal(poll_claim(1, &claim, &record), PERSONA_CLAIM_GOT);
    assert_int_equal(claim.arrived, arrived);
    /* The planner wakes up: its add() has lost, so the instance goes to a later slot. */
    assert_int_equal(store->store.add(&store->store, "any", persona_key_slot(ours, P, queue.generation, 0, unit_pool),
                                      "late", 0), APR_EEXIST);
}

static void a_dead_ticket_takes_no_instance_along(void **state)
{
    persona_queue_t queue = queue_now();
    apr_uint64_t ticket, slot;
    persona_record_t *instance = instance_new("kvm");

    (void)state;
    slot = publish(instance);
    assert_false(persona_pool_drawn(&queue, slot));
    store->store.incr(&store->store, "any", persona_key_head(ours, P, queue.generation, unit_pool), &ticket);
    queue = queue_now();
    assert_true(persona_pool_drawn(&queue, slot));
    publish(instance);
    publish(instance); /* twice does no harm */
    assert_int_equal(poll_once(1), PERSONA_CLAIM_GOT);
    assert_int_equal(poll_once(2), PERSONA_CLAIM_WAIT);
    assert_int_equal(owned_by(session_of(1)), 1);
}

/* ---- lies ---- */

static const char *slot_key(apr_uint64_t n)
{
    persona_queue_t queue = queue_now();

    return persona_key_slot(ours, P, queue.generation, n, unit_pool);
}

static const char *raw_get(const char *key)
{
    const char *value = NULL;

    store->below->get(store->below, "any", key, &value, unit_pool);
    return value;
}

static void raw_set(const char *key, const char *value)
{
    store->below->set(store->below, "any", key, value, 0);
}

static void a_forged_slot_is_never_asked_about(void **state)
{
    static const char *const bad[] = {"", " ", "garbage", "{}", "skipped", "left",
        "0000000000000000000000000000000000000000000000000000000000000000 {}"};
    size_t i;

    (void)state;
    publish_new(1);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        raw_set(slot_key(i), bad[i]);
    }
    assert_int_equal(poll_once(1), PERSONA_CLAIM_WAIT);
    assert_int_equal(asked, 0);
    publish_free(); /* passes over what stands there */
    assert_int_equal(poll_once(1), PERSONA_CLAIM_GOT);
}

static void a_slot_of_another_key_site_or_generation_is_dead(void **state)
{
    static const char *const other_keys[2] = {"other site", NULL};
    persona_index_t *other;
    persona_record_t *instance = instance_new("kvm");
    persona_queue_t old;
    const char *replay, *before;

    (void)state;
    publish(instance);
    replay = raw_get(slot_key(0));
    raw_set(slot_key(1), replay);
    raw_set(slot_key(0), "x");
    assert_int_equal(poll_once(1), PERSONA_CLAIM_WAIT);
    assert_int_equal(asked, 0);
    /* The same number in a later generation. */
    old = queue_now();
    before = old.generation;
    store->below->remove(store->below, "any", persona_key_generation(ours, P, unit_pool));
    assert_string_not_equal(queue_now().generation, before);
    raw_set(slot_key(0), replay);
    assert_int_equal(poll_once(2), PERSONA_CLAIM_WAIT);
    assert_int_equal(asked, 0);
    /* Another site's key. */
    assert_int_equal(persona_index_create(&other, &store->store, "ns", other_keys, unit_pool), APR_SUCCESS);
    raw_set(slot_key(0), persona_record_write(other, instance, slot_key(0), queue_now().generation, unit_pool));
    raw_set(slot_key(1), persona_record_write(other, instance, slot_key(1), queue_now().generation, unit_pool));
    assert_int_equal(poll_once(3), PERSONA_CLAIM_WAIT);
    assert_int_equal(asked, 0);
}

static void the_previous_key_is_still_good(void **state)
{
    static const char *const rotated[2] = {"new key", "current key"};
    persona_queue_t queue;
    int created;

    (void)state;
    publish_new(1);
    assert_int_equal(persona_index_create(&ours, &store->store, "ns", rotated, unit_pool), APR_SUCCESS);
    assert_int_equal(poll_once(1), PERSONA_CLAIM_GOT);
    /* Only until the planner sees it: the line goes on under a name that the new key signs. */
    assert_int_equal(persona_pool_queue(ours, P, 0, 0, &queue, &created, unit_pool), APR_SUCCESS);
    assert_false(created);
    assert_int_equal(persona_pool_queue(ours, P, 1, 0, &queue, &created, unit_pool), APR_SUCCESS);
    assert_true(created);
    assert_int_equal(persona_pool_queue(ours, P, 1, 0, &queue, &created, unit_pool), APR_SUCCESS);
    assert_false(created);
    publish_free();
    assert_int_equal(poll_once(2), PERSONA_CLAIM_WAIT);
}

static void garbage_counters_begin_a_new_generation(void **state)
{
    static const char *const bad[] = {"", "x", "-1", "99999999999999999999999", "18446744073709551615", "5000", "1x"};
    persona_queue_t queue;
    int created;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]) * 2; i++) {
        queue = queue_now();
        publish_new(1);
        raw_set((i % 2 ? persona_key_head : persona_key_tail)(ours, P, queue.generation, unit_pool), bad[i / 2]);
        poll_once(1000 + (int)i);
        assert_int_equal(persona_pool_queue(ours, P, 1, 1000, &queue, &created, unit_pool), APR_SUCCESS);
        publish_free();
        publish_new(1);
        assert_int_equal(poll_once((int)i), PERSONA_CLAIM_GOT);
    }
}

static void a_forged_generation_is_replaced(void **state)
{
    persona_queue_t queue;
    int created;

    (void)state;
    publish_new(1);
    raw_set(persona_key_generation(ours, P, unit_pool), "0123456789abcdef0123456789abcdef");
    assert_int_equal(poll_once(1), PERSONA_CLAIM_NO_INDEX);
    assert_int_equal(persona_pool_queue(ours, P, 0, 1000, &queue, &created, unit_pool), APR_NOTFOUND);
    assert_int_equal(persona_pool_queue(ours, P, 1, 1000, &queue, &created, unit_pool), APR_SUCCESS);
    assert_true(created);
}

static void another_sessions_place_cannot_be_had(void **state)
{
    persona_record_t *record;
    persona_claim_t claim;

    (void)state;
    queue_now();
    poll_once(1);
    poll_once(2);
    raw_set(persona_key_wait(ours, P, session_of(2), unit_pool),
            raw_get(persona_key_wait(ours, P, session_of(1), unit_pool)));
    assert_int_equal(poll_claim(2, &claim, &record), PERSONA_CLAIM_WAIT);
    assert_int_equal(claim.ticket, 2);
}

/* ---- generations ---- */

static void a_generation_that_another_makes_is_taken(void **state)
{
    persona_queue_t one, two;
    int created;

    (void)state;
    one = queue_now();
    assert_int_equal(persona_pool_queue(ours, P, 1, 1000, &two, &created, unit_pool), APR_SUCCESS);
    assert_false(created);
    assert_string_equal(one.generation, two.generation);
}

static void nobody_creates_a_counter(void **state)
{
    persona_queue_t queue = queue_now();
    apr_uint64_t slot;

    (void)state;
    faulty_flush(store);
    assert_int_equal(persona_pool_publish(ours, &queue, instance_new("kvm"), &slot, unit_pool), APR_NOTFOUND);
    assert_int_equal(poll_once(1), PERSONA_CLAIM_NO_INDEX);
    assert_null(raw_get(persona_key_head(ours, P, queue.generation, unit_pool)));
    assert_null(raw_get(persona_key_tail(ours, P, queue.generation, unit_pool)));
}

/* ---- faults at every step ---- */

static int fault_call;

static void flush_before(faulty_store_t *s, int call)
{
    if (call == fault_call) {
        faulty_flush(s);
    }
}

typedef enum { FAULT_FLUSH, FAULT_FAIL, FAULT_LOSE, FAULTS } fault_e;

static void inject(fault_e fault, int at)
{
    store->before = fault == FAULT_FLUSH ? flush_before : NULL;
    fault_call = store->fail_at = store->lose_at = 0;
    if (fault == FAULT_FLUSH) {
        fault_call = at;
    }
    else if (fault == FAULT_FAIL) {
        store->fail_at = at;
    }
    else {
        store->lose_at = at;
    }
}

/** Planner and claimers as they run, with one fault at the n-th call of the store, for every n: in the end every
 * session has one instance. */
static void one_fault_at_every_step_loses_nobody(void **state)
{
    int step, fault, n;

    (void)state;
    for (fault = 0; fault < FAULTS; fault++) {
        for (step = 1; step <= 36; step++) {
            int round, got[4] = {0};

            setup(state);
            inject((fault_e)fault, step);
            for (round = 0; round < 12 && got[1] + got[2] + got[3] < 3; round++) {
                persona_queue_t queue;
                apr_uint64_t slot;
                int created, i;

                if (round == 6) {
                    apr_sleep(apr_time_from_msec(2050)); /* somebody waits at a hole */
                }
                if (persona_pool_queue(ours, P, 1, 1000, &queue, &created, unit_pool) == APR_SUCCESS) {
                    if (instances < 3) {
                        persona_pool_publish(ours, &queue, instance_new("kvm"), &slot, unit_pool);
                    }
                    for (i = 0; i < instances; i++) {
                        persona_record_t r = {.instance = uuids[i], .persona_id = P, .app = "freecad",
                                              .compute = "kvm", .fingerprint = "f", .address = "10.0.0.1",
                                              .port = 6080, .path = "/"};

                        if (round >= 3 && !*owners[i]) {
                            persona_pool_publish(ours, &queue, &r, &slot, unit_pool);
                        }
                    }
                }
                for (n = 1; n <= 3; n++) {
                    got[n] = got[n] || poll_once(n) == PERSONA_CLAIM_GOT;
                }
            }
            for (n = 1; n <= 3; n++) {
                if (!got[n] || owned_by(session_of(n)) != 1) {
                    fail_msg("fault %d at call %d: session %d got %d, owns %d", fault, step, n, got[n],
                             owned_by(session_of(n)));
                }
            }
            apr_pool_destroy(unit_pool);
        }
    }
    setup(state);
}

/* ---- the planner's lease ---- */

static void one_manager_plans_and_another_takes_over(void **state)
{
    const char *old;

    (void)state;
    assert_true(persona_pool_plan(ours, P, "A", unit_pool));
    assert_false(persona_pool_plan(ours, P, "B", unit_pool));
    assert_true(persona_pool_plan(ours, P, "A", unit_pool));
    assert_true(persona_pool_plan(ours, "other", "B", unit_pool));
    old = raw_get(persona_key_planner(ours, P, unit_pool));
    apr_sleep(apr_time_from_msec(2050));
    assert_true(persona_pool_plan(ours, P, "B", unit_pool));
    assert_false(persona_pool_plan(ours, P, "A", unit_pool));
    /* A's old lease played again holds nobody, and neither does nonsense. */
    raw_set(persona_key_planner(ours, P, unit_pool), old);
    assert_true(persona_pool_plan(ours, P, "C", unit_pool));
    raw_set(persona_key_planner(ours, P, unit_pool), "nonsense");
    assert_true(persona_pool_plan(ours, P, "D", unit_pool));
}

/* ---- many at once ---- */

#define THREADS 8
#define PER_THREAD 64

static void *claimer(void *data)
{
    int base = (int)(intptr_t)data, i, got = 0;
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    for (i = 0; i < PER_THREAD; i++) {
        char session[PERSONA_SESSION_LEN];
        persona_claim_t claim = {.persona_id = P, .session = session};
        persona_record_t *record;
        int n = base * PER_THREAD + i;

        persona_sha256(&n, sizeof(n), session);
        got += persona_pool_claim(ours, &claim, assign, NULL, apr_time_now() + apr_time_from_sec(5), &record, p)
               == PERSONA_CLAIM_GOT;
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return (void *)(intptr_t)got;
}

static void many_threads_share_one_line(void **state)
{
    pthread_t threads[THREADS];
    int i, got = 0;

    (void)state;
    publish_new(THREADS * PER_THREAD);
    for (i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, claimer, (void *)(intptr_t)i);
    }
    for (i = 0; i < THREADS; i++) {
        void *n;

        pthread_join(threads[i], &n);
        got += (int)(intptr_t)n;
    }
    assert_int_equal(got, THREADS * PER_THREAD);
    for (i = 0; i < THREADS * PER_THREAD; i++) {
        assert_int_equal(owned_by(session_of(i)), 1);
    }
}

#define POOL_TEST(f) cmocka_unit_test_setup_teardown(f, setup, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(without_a_pool_the_manager_is_asked),
        POOL_TEST(a_ready_instance_costs_three_looks_at_the_store),
        POOL_TEST(refused_ones_are_passed_by_three_at_a_time),
        POOL_TEST(a_dead_host_burns_nobody),
        POOL_TEST(an_unknown_answer_is_asked_again_about_the_same),
        POOL_TEST(it_is_remembered_over_polls),
        POOL_TEST(a_lost_answer_costs_no_second_instance),
        POOL_TEST(after_a_no_the_next_one_is_asked),
        POOL_TEST(a_host_that_goes_down_keeps_the_question_open),
        POOL_TEST(first_come_first_served),
        POOL_TEST(who_left_is_passed_over),
        POOL_TEST(who_polls_no_more_is_skipped_and_may_come_back),
        POOL_TEST(a_ticket_without_a_waiter_is_skipped),
        POOL_TEST(a_hole_is_left_after_two_seconds),
        POOL_TEST(a_dead_ticket_takes_no_instance_along),
        POOL_TEST(a_forged_slot_is_never_asked_about),
        POOL_TEST(a_slot_of_another_key_site_or_generation_is_dead),
        POOL_TEST(the_previous_key_is_still_good),
        POOL_TEST(garbage_counters_begin_a_new_generation),
        POOL_TEST(a_forged_generation_is_replaced),
        POOL_TEST(another_sessions_place_cannot_be_had),
        POOL_TEST(a_generation_that_another_makes_is_taken),
        POOL_TEST(nobody_creates_a_counter),
        POOL_TEST(one_fault_at_every_step_loses_nobody),
        POOL_TEST(one_manager_plans_and_another_takes_over),
        POOL_TEST(many_threads_share_one_line),
    };

    return UNIT_RUN(tests);
}

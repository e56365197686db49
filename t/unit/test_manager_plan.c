/* SPDX-License-Identifier: Apache-2.0 */
/* The pool's size: caps, failures, edits, people who wait, several planners, an index that forgets. */
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "manager/maker.h"
#include "manager/status.h"
#include "manager_site.h"

static json_t *stock(persona_manager_t *m)
{
    json_t *document = persona_status_document(m, NULL, unit_pool);
    json_t *persona = json_incref(json_array_get(json_object_get(document, "personas"), 0));

    json_decref(document);
    return persona;
}

static const char *stock_text(persona_manager_t *m, const char *member)
{
    json_t *json = stock(m);
    const char *text = json_string_value(json_object_get(json, member));

    text = text ? apr_pstrdup(unit_pool, text) : "";
    json_decref(json);
    return text;
}

static int stock_number(persona_manager_t *m, const char *member)
{
    json_t *json = stock(m);
    int n = (int)json_integer_value(json_object_get(json, member));

    json_decref(json);
    return n;
}

static void the_cap_holds(void **state)
{
    persona_manager_t *m;

    (void)state;
    site_persona("one", 2, 3, "image");
    m = site_manager(0);
    site_settle(m);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(site_assign(m, apr_pstrdup(unit_pool, fake_nth(i)->uuid), i + 1), "ok");
        site_settle(m);
    }
    assert_int_equal(fake_count(PERSONA_INSTANCE_GONE), 3);
    site_status_of(site_ask(m, "{'op': 'demand', 'persona': 'one', 'session': '%s'}", site_session(9)));
    site_settle(m);
    assert_int_equal(fake_count(PERSONA_INSTANCE_GONE), 3);
    assert_string_equal(stock_text(m, "state"), "no-capacity");
}

static void two_planners_do_not_add_up(void **state)
{
    persona_manager_t *a, *b;

    (void)state;
    site_persona("one", 4, 8, "image");
    site.index_down = 1;
    a = site_manager(0);
    b = site_manager(0);
    for (int i = 0; i < 10; i++) {
        site_round(a);
        site_round(b);
        for (int k = 0; k < FAKE_MAX; k++) {
            if (fake.instances[k].exists && fake.instances[k].state == PERSONA_INSTANCE_CREATING) {
                persona_boot_probed(a, fake.instances[k].uuid, 1, "");
                persona_boot_probed(b, fake.instances[k].uuid, 1, "");
            }
        }
    }
    assert_true(fake_count(PERSONA_INSTANCE_GONE) <= 5);
    assert_true(fake_count(PERSONA_INSTANCE_READY) >= 4);
}

static void boots_at_once_are_bounded(void **state)
{
    persona_manager_t *m;

    (void)state;
    site_persona("one", 50, 60, "image");
    m = site_manager(0);
    site_pass(m, 10);
    assert_int_equal(fake_count(PERSONA_INSTANCE_CREATING), 4);
    site_settle(m);
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 50);
}

static void failures_are_bounded_and_told(void **state)
{
    persona_manager_t *m;
    int calls;

    (void)state;
    site_persona("one", 2, 5, "image");
    m = site_manager(0);
    fake.fail[FAKE_CREATE] = APR_EGENERAL;
    site_pass(m, 3);
    assert_string_equal(stock_text(m, "problem"), "the fake was told to fail");
    site_pass(m, 117);
    assert_true(fake.calls[FAKE_CREATE] >= 5);
    assert_true(fake.calls[FAKE_CREATE] <= 12);
    assert_string_equal(stock_text(m, "state"), "failing");
    calls = fake.calls[FAKE_CREATE];
    site_pass(m, 200);
    assert_true(fake.calls[FAKE_CREATE] <= calls + 1);
    fake.fail[FAKE_CREATE] = APR_SUCCESS;
    site_pass(m, 310);
    site_settle(m);
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 2);
    assert_string_equal(stock_text(m, "state"), "ok");
}

static void one_whose_stream_never_answers(void **state)
{
    persona_manager_t *m;

    (void)state;
    site_persona("one", 1, 5, "image");
    m = site_manager(0);
    site_pass(m, 3);
    assert_int_equal(fake_count(PERSONA_INSTANCE_CREATING), 1);
    site_pass(m, 70);
    assert_true(strstr(stock_text(m, "problem"), "did not answer in time") != NULL);
    assert_true(fake_count(PERSONA_INSTANCE_GONE) <= 1);
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 0);
}

static void an_edit_replaces_without_emptying(void **state)
{
    persona_manager_t *m;
    int least = 99;

    (void)state;
    site_persona("one", 6, 12, "image");
    m = site_manager(0);
    site_settle(m);
    site_persona("one", 6, 12, "another-image");
    for (int i = 0; i < 40; i++) {
        int ready;

        site_round(m);
        for (int k = 0; k < FAKE_MAX; k++) {
            if (fake.instances[k].exists && fake.instances[k].state == PERSONA_INSTANCE_CREATING) {
                persona_boot_probed(m, fake.instances[k].uuid, 1, "");
            }
        }
        ready = fake_count(PERSONA_INSTANCE_READY);
        least = ready < least ? ready : least;
    }
    assert_true(least >= 5);
    assert_int_equal(stock_number(m, "stale"), 0);
    assert_int_equal(stock_number(m, "ready"), 6);
    assert_int_equal(fake_count(PERSONA_INSTANCE_GONE), 6);
}

static void an_edit_at_the_cap_finds_room(void **state)
{
    persona_manager_t *m;

    (void)state;
    site_persona("one", 3, 3, "image");
    m = site_manager(0);
    site_settle(m);
    site_persona("one", 3, 3, "another-image");
    for (int i = 0; i < 30; i++) {
        site_settle(m);
    }
    assert_int_equal(stock_number(m, "stale"), 0);
    assert_int_equal(stock_number(m, "ready"), 3);
}

static void refresh_replaces_all(void **state)
{
    persona_manager_t *m;
    char old[40];

    (void)state;
    site_persona("one", 2, 6, "image");
    m = site_manager(0);
    site_settle(m);
    apr_cpystrn(old, fake_nth(0)->uuid, sizeof(old));
    assert_string_equal(site_status_of(site_ask_control(m, "{'op': 'refresh', 'persona': 'one'}")), "ok");
    for (int i = 0; i < 20; i++) {
        site_settle(m);
    }
    assert_null(fake_find(old));
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 2);
}

static void a_broken_edit_changes_nothing(void **state)
{
    persona_manager_t *m;
    FILE *f;

    (void)state;
    site_persona("one", 2, 6, "image");
    m = site_manager(0);
    site_settle(m);
    f = fopen(apr_pstrcat(unit_pool, site.dir, "/one.json", NULL), "w");
    fputs("{\"persona_id\": ", f);
    fclose(f);
    site_pass(m, 30);
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 2);
    assert_int_equal(fake.calls[FAKE_CREATE], 2);
    /* Also after a restart: the last good version is on disk. */
    m = site_manager(0);
    site_pass(m, 30);
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 2);
}

static void a_removed_persona_is_emptied(void **state)
{
    persona_manager_t *m;

    (void)state;
    site_persona("one", 2, 6, "image");
    site_persona("two", 0, 6, "image");
    m = site_manager(0);
    site_settle(m);
    assert_string_equal(site_assign(m, apr_pstrdup(unit_pool, fake_nth(0)->uuid), 1), "ok");
    remove(apr_pstrcat(unit_pool, site.dir, "/one.json", NULL));
    site_pass(m, 10);
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 0);
    assert_string_not_equal(site_found(m, 1), "none");
}

static void waiting_people_come_before_the_forecast(void **state)
{
    persona_manager_t *m;

    (void)state;
    site_persona("one", 0, 6, "image");
    m = site_manager(0);
    site_settle(m);
    assert_int_equal(fake_count(PERSONA_INSTANCE_GONE), 0);
    for (int i = 1; i <= 3; i++) {
        json_t *answer = site_ask(m, "{'op': 'demand', 'persona': 'one', 'session': '%s'}", site_session(i));

        assert_true(json_is_object(json_object_get(answer, "progress")));
        json_decref(answer);
    }
    site_pass(m, 2);
    assert_int_equal(fake_count(PERSONA_INSTANCE_CREATING), 3);
}

static persona_assign_e never_answers(void *baton, const persona_record_t *slot, const char *session,
                                      apr_uint64_t ticket, apr_time_t deadline, persona_record_t **record,
                                      apr_pool_t *p)
{
    (void)baton;
    (void)slot;
    (void)session;
    (void)ticket;
    (void)deadline;
    (void)record;
    (void)p;
    return PERSONA_ASSIGN_UNKNOWN;
}

static void a_passed_slot_is_published_again(void **state)
{
    persona_claim_t claim = {.persona_id = "one", .session = site_session(1)};
    persona_record_t *record;
    persona_manager_t *m;
    persona_entry_t *e;
    apr_uint64_t slot;

    (void)state;
    site_persona("one", 1, 6, "image");
    m = site_manager(0);
    site_settle(m);
    e = persona_entry_find(m, fake_nth(0)->uuid);
    assert_int_equal(strlen(e->generation), 32);
    slot = e->slot;
    site_pass(m, 4);
    assert_true(e->slot == slot);
    /* Whoever drew its ticket dies: head is beyond its slot. */
    persona_pool_claim(m->index, &claim, never_answers, NULL, apr_time_now() + apr_time_from_msec(100), &record,
                       unit_pool);
    site_round(m);
    assert_true(e->slot == slot);
    site_pass(m, 4);
    assert_true(e->slot > slot);
}

static void a_flushed_index_is_filled_again(void **state)
{
    persona_manager_t *m;
    persona_entry_t *e;
    char generation[33];

    (void)state;
    site_persona("one", 1, 6, "image");
    m = site_manager(0);
    site_settle(m);
    e = persona_entry_find(m, fake_nth(0)->uuid);
    apr_cpystrn(generation, e->generation, sizeof(generation));
    site_flush();
    site_pass(m, 2);
    assert_string_not_equal(e->generation, generation);
    assert_int_equal(strlen(e->generation), 32);
}

static void a_dead_index_stops_nothing(void **state)
{
    persona_manager_t *m;
    int calls;

    (void)state;
    site.index_down = 1;
    site_persona("one", 3, 6, "image");
    m = site_manager(0);
    site_settle(m);
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 3);
    /* And it is asked about once a second, not once for each persona and session. */
    for (int i = 0; i < 3; i++) {
        assert_string_equal(site_assign(m, apr_pstrdup(unit_pool, fake_nth(i)->uuid), i + 1), "ok");
    }
    calls = site.index_calls;
    site_pass(m, 20);
    assert_true(site.index_calls - calls <= 60);
}

static void makers_are_told_apart(void **state)
{
    const char *me = persona_maker_name("id", unit_pool);

    (void)state;
    assert_false(persona_maker_gone(me, "id"));
    assert_true(persona_maker_gone(apr_pstrcat(unit_pool, me, "9", NULL), "id"));
    assert_true(persona_maker_gone("id.999999999.1", "id"));
    assert_false(persona_maker_gone("other.999999999.1", "id"));
    assert_false(persona_maker_gone("identity.999999999.1", "id"));
    assert_false(persona_maker_gone("id", "id"));
    assert_false(persona_maker_gone(NULL, "id"));
}

/** Two boots whose managers are gone; one was another gateway's, of which nothing is known here. */
static void what_a_dead_manager_was_making_is_made_anew(void **state)
{
    persona_manager_t *m;
    char dead[40], other[40];

    (void)state;
    site_persona("one", 2, 4, "image");
    m = site_manager(0);
    site_round(m);
    assert_int_equal(fake_count(PERSONA_INSTANCE_CREATING), 2);
    for (int i = 0; i < 2; i++) {
        fake_nth(i)->running = 0;
        fake_nth(i)->port = 0;
        apr_snprintf(fake_nth(i)->maker, sizeof(fake_nth(i)->maker), "%s.999999999.1", i ? "another" : m->id);
    }
    apr_cpystrn(dead, fake_nth(0)->uuid, sizeof(dead));
    apr_cpystrn(other, fake_nth(1)->uuid, sizeof(other));
    /* Nothing is there yet that could be marked, and the provider says "creating" until it is destroyed. */
    fake.fail[FAKE_MARK] = APR_ENOENT;
    m = site_manager(0);
    site_pass(m, 5);
    assert_null(fake_find(dead));
    assert_non_null(fake_find(other));
    assert_int_equal(fake_count(PERSONA_INSTANCE_CREATING), 2);
    assert_string_equal(stock_text(m, "state"), "ok");
    assert_string_equal(stock_text(m, "problem"), "");
}

/** Its manager was killed, and the next one of that gateway takes away what was half made. */
static void what_another_gateway_gives_up_is_no_failure_here(void **state)
{
    persona_manager_t *m;

    (void)state;
    site_persona("one", 8, 10, "image");
    m = site_manager(0);
    for (int i = 0; i < 3; i++) {
        site_round(m);
    }
    m = site_manager(0);
    site_round(m);
    for (int i = 0; i < FAKE_MAX; i++) {
        fake.instances[i].exists = 0;
    }
    site_pass(m, 2);
    assert_string_equal(stock_text(m, "state"), "ok");
    assert_true(fake_count(PERSONA_INSTANCE_CREATING) > 0);
}

/** A compute that is away for a moment fails all that is being made there, and that is one failure. */
static void boots_that_fail_together_are_one_failure(void **state)
{
    persona_manager_t *m;

    (void)state;
    site_persona("one", 10, 10, "image");
    m = site_manager(0);
    m->sites[0].boots_max = 10;
    fake.fail[FAKE_CREATE] = APR_ECONNREFUSED;
    site_round(m);
    fake.fail[FAKE_CREATE] = APR_SUCCESS;
    assert_string_not_equal(stock_text(m, "state"), "failing");
    site_pass(m, 3);
    assert_true(fake_count(PERSONA_INSTANCE_CREATING) > 0);
}

/** Another gateway's boots stopped half way, and its manager is not there to take them back. */
static void boots_that_never_start_hold_no_slots(void **state)
{
    persona_manager_t *m;

    (void)state;
    site_persona("one", 10, 10, "image");
    m = site_manager(0);
    m->sites[0].boots_max = 4;
    site_round(m);
    assert_int_equal(fake_count(PERSONA_INSTANCE_CREATING), 4);
    for (int i = 0; i < 4; i++) {
        fake_nth(i)->running = fake_nth(i)->port = 0;
        apr_cpystrn(fake_nth(i)->maker, "another.999999999.1", sizeof(fake_nth(i)->maker));
    }
    m = site_manager(0);
    m->sites[0].boots_max = 4;
    site_pass(m, 5);
    assert_int_equal(fake_count(PERSONA_INSTANCE_CREATING), 4);
    site_pass(m, 10);
    assert_int_equal(fake_count(PERSONA_INSTANCE_CREATING), 8);
}

/** The compute goes away while it makes one, and half of it stays: that must not hold a boot slot for a minute. */
static void what_was_given_up_half_made_goes_at_once(void **state)
{
    persona_manager_t *m;
    char half[40];

    (void)state;
    site_persona("one", 1, 10, "image");
    m = site_manager(0);
    fake.fail[FAKE_CREATE] = APR_ECONNREFUSED;
    fake.fail_times[FAKE_CREATE] = 1;
    fake.fail_after = 1;
    fake.fail[FAKE_DESTROY] = APR_ECONNREFUSED;
    site_round(m);
    fake.fail_after = 0;
    fake.fail[FAKE_DESTROY] = APR_SUCCESS;
    fake.instances[0].exists = 1; /* the fake has destroyed it, and only the answer was lost */
    fake.instances[0].running = fake.instances[0].port = 0;
    apr_cpystrn(half, fake.instances[0].uuid, sizeof(half));
    site_pass(m, 10);
    assert_null(fake_find(half));
    assert_int_equal(fake_count(PERSONA_INSTANCE_CREATING), 1);
}

static int count_of(persona_manager_t *m, const char *id)
{
    int n = 0;

    for (apr_hash_index_t *hi = apr_hash_first(NULL, m->entries); hi; hi = apr_hash_next(hi)) {
        const persona_entry_t *e = apr_hash_this_val(hi);

        n += !strcmp(e->persona_id, id) && e->retire == PERSONA_RETIRE_NONE;
    }
    return n;
}

/* Three and four are to be ready, and a compute has room for five; then one has a session for ever. */
static void a_compute_that_does_not_suffice_is_shared(void **state)
{
    persona_compute_conf_t *conf = &APR_ARRAY_IDX(site.settings.computes, 0, persona_compute_conf_t);
    apr_table_t *options = apr_table_make(unit_pool, 1);
    persona_manager_t *m;

    (void)state;
    apr_table_set(options, "instances", "5");
    conf->options = options;
    site_persona("one", 3, 10, "image");
    site_persona("two", 4, 10, "image");
    m = site_manager(0);
    site_settle(m);
    assert_int_equal(count_of(m, "one"), 3);
    assert_int_equal(count_of(m, "two"), 2);
    assert_non_null(strstr(persona_stock_of(m, "two")->target.reason, "compute lab has room for 2"));
    site_assign(m, site_uuid(0), 1);
    site_pass(m, 30);
    site_settle(m);
    assert_int_equal(count_of(m, "one") + count_of(m, "two"), 5);
    /* memory is what limits: of 512 MiB each */
    apr_table_clear(options);
    apr_table_set(options, "memory", "1GiB");
    m = site_manager(0);
    site_pass(m, 30);
    site_settle(m);
    assert_int_equal(count_of(m, "one") + count_of(m, "two"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITE_TEST(the_cap_holds),
        SITE_TEST(two_planners_do_not_add_up),
        SITE_TEST(boots_at_once_are_bounded),
        SITE_TEST(failures_are_bounded_and_told),
        SITE_TEST(one_whose_stream_never_answers),
        SITE_TEST(an_edit_replaces_without_emptying),
        SITE_TEST(an_edit_at_the_cap_finds_room),
        SITE_TEST(refresh_replaces_all),
        SITE_TEST(a_broken_edit_changes_nothing),
        SITE_TEST(a_removed_persona_is_emptied),
        SITE_TEST(waiting_people_come_before_the_forecast),
        SITE_TEST(a_passed_slot_is_published_again),
        SITE_TEST(a_flushed_index_is_filled_again),
        SITE_TEST(a_dead_index_stops_nothing),
        SITE_TEST(makers_are_told_apart),
        SITE_TEST(what_a_dead_manager_was_making_is_made_anew),
        SITE_TEST(what_another_gateway_gives_up_is_no_failure_here),
        SITE_TEST(boots_that_fail_together_are_one_failure),
        SITE_TEST(what_was_given_up_half_made_goes_at_once),
        SITE_TEST(boots_that_never_start_hold_no_slots),
        SITE_TEST(a_compute_that_does_not_suffice_is_shared),
    };

    return apr_initialize() == APR_SUCCESS ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}

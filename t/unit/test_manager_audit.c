/* SPDX-License-Identifier: Apache-2.0 */
/* The audit: what it finds, what it must not take for a fault, and what it puts right. */
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "manager/audit.h"
#include "manager_site.h"

/** "holds", or the promises and texts of its findings. */
static const char *audited(persona_manager_t *m, int repair)
{
    json_t *answer = persona_audit(m, repair, 1000, unit_pool);
    const char *all = "";
    const json_t *one;
    size_t i;

    json_array_foreach(json_object_get(answer, "findings"), i, one)
    {
        all = apr_pstrcat(unit_pool, all, json_string_value(json_object_get(one, "promise")), " ",
                          json_string_value(json_object_get(one, "text")), "\n", NULL);
    }
    json_array_foreach(json_object_get(answer, "unknown"), i, one)
    {
        all = apr_pstrcat(unit_pool, all, "unknown ", json_string_value(one), "\n", NULL);
    }
    assert_int_equal(json_is_true(json_object_get(answer, "holds")), !*all);
    json_decref(answer);
    return *all ? all : "holds";
}

static void what_is_right_holds(void **state)
{
    persona_manager_t *m = site_with_pool(3);

    (void)state;
    assert_string_equal(audited(m, 0), "holds");
    assert_string_equal(site_assign(m, site_uuid(0), 1), "ok");
    site_pass(m, 5);
    assert_string_equal(audited(m, 0), "holds");
    site_status_of(site_ask(m, "{'op': 'end', 'session': '%s', 'user': 'user1'}", site_session(1)));
    for (int i = 0; i < 70; i++) {
        assert_string_equal(audited(m, 0), "holds");
        site_round(m);
    }
}

static void a_missing_fence_is_found_and_taken(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 5);
    for (int i = 0; i < FAKE_MAX; i++) {
        fake.fences[i].exists = 0;
    }
    assert_non_null(strstr(audited(m, 0), "I1 it is assigned and has no fence"));
    assert_null(fake_token(a));
    audited(m, 1);
    assert_string_equal(fake_token(a), persona_fence_token(site_session(1), a, unit_pool));
    assert_string_equal(audited(m, 0), "holds");
}

static void two_owners_are_found(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);

    (void)state;
    assert_string_equal(site_assign(m, a, 1), "ok");
    site_pass(m, 5);
    apr_cpystrn(fake_find(a)->session, site_session(2), sizeof(fake_find(a)->session));
    assert_non_null(strstr(audited(m, 0), "I1 it says that one session has it"));
}

static void two_instances_of_a_session_are_found(void **state)
{
    persona_manager_t *m = site_with_pool(2);

    (void)state;
    assert_string_equal(site_assign(m, site_uuid(0), 1), "ok");
    assert_string_equal(site_assign(m, site_uuid(1), 2), "ok");
    site_pass(m, 5);
    for (int n = 0; n < 2; n++) {
        apr_cpystrn(fake_nth(n)->session, site_session(1), sizeof(fake_nth(n)->session));
    }
    assert_non_null(strstr(audited(m, 0), "I5 its session has instance"));
}

static void a_lost_record_is_found_and_written(void **state)
{
    persona_manager_t *m = site_with_pool(1);

    (void)state;
    assert_string_equal(site_assign(m, site_uuid(0), 1), "ok");
    site_pass(m, 12);
    assert_string_equal(audited(m, 0), "holds");
    site_flush();
    assert_non_null(strstr(audited(m, 1), "I3 no record leads its user to it"));
    site_pass(m, 1);
    assert_string_equal(audited(m, 0), "holds");
}

static void a_fence_of_nothing_is_found_and_swept(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *name = "5e8f3a53-0d5a-4a0c-9d4e-0a1b2c3d4e5f";

    (void)state;
    fake_set_fence(name, "token");
    assert_non_null(strstr(audited(m, 0), "I2 a fence of an instance that is not there"));
    assert_non_null(fake_token(name));
    audited(m, 1);
    assert_null(fake_token(name));
    assert_string_equal(audited(m, 0), "holds");
}

static void what_nobody_has_is_retired_unless_it_is_used(void **state)
{
    persona_manager_t *m = site_with_pool(1);
    const char *a = site_uuid(0);
    persona_entry_t *e;

    (void)state;
    fake_set_fence(a, "somebody");
    e = persona_entry_find(m, a);
    e->beats[0] = (persona_beat_t){.pid = 1, .streams = 1, .at = site_now};
    assert_non_null(strstr(audited(m, 1), "I2 it is fenced and no session has it"));
    assert_int_equal(e->retire, PERSONA_RETIRE_NONE);
    e->beats[0].streams = 0;
    audited(m, 1);
    assert_int_not_equal(e->retire, PERSONA_RETIRE_NONE);
}

static void what_the_manager_does_not_know_is_found(void **state)
{
    persona_manager_t *m = site_with_pool(1);

    (void)state;
    persona_entry_drop(m, persona_entry_find(m, site_uuid(0)));
    site_now += SECONDS(1);
    assert_non_null(strstr(audited(m, 0), "I2 the manager does not know it"));
    site_pass(m, 1);
    assert_string_equal(audited(m, 0), "holds");
    fake_nth(0)->exists = 0;
    assert_non_null(strstr(audited(m, 0), "its provider does not have it"));
}

static void what_cannot_be_looked_at_is_not_called_good(void **state)
{
    persona_manager_t *m = site_with_pool(1);

    (void)state;
    fake.fail[FAKE_LIST] = APR_TIMEUP;
    assert_non_null(strstr(audited(m, 0), "unknown compute"));
    fake.fail[FAKE_LIST] = APR_SUCCESS;
    assert_string_equal(audited(m, 0), "holds");
}

static persona_manager_t *claiming;

static void claim_now(void)
{
    assert_string_equal(site_assign(claiming, site_uuid(0), 9), "ok");
}

static void a_claim_in_between_is_no_finding(void **state)
{
    persona_manager_t *m = site_with_pool(2);

    (void)state;
    claiming = m;
    fake.listed = claim_now;
    assert_string_equal(audited(m, 0), "holds");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITE_TEST(what_is_right_holds),
        SITE_TEST(a_missing_fence_is_found_and_taken),
        SITE_TEST(two_owners_are_found),
        SITE_TEST(two_instances_of_a_session_are_found),
        SITE_TEST(a_lost_record_is_found_and_written),
        SITE_TEST(a_fence_of_nothing_is_found_and_swept),
        SITE_TEST(what_nobody_has_is_retired_unless_it_is_used),
        SITE_TEST(what_the_manager_does_not_know_is_found),
        SITE_TEST(what_cannot_be_looked_at_is_not_called_good),
        SITE_TEST(a_claim_in_between_is_no_finding),
    };

    return apr_initialize() == APR_SUCCESS ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}

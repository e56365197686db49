/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker under somebody else's control may say, and what it gets for it. */
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "manager/status.h"
#include "manager_site.h"

static void nonsense_is_answered(void **state)
{
    static const char *const requests[] = {
        "{}", "{'op': 1}", "{'op': null}", "{'op': ''}", "{'op': 'findfindfindfindfindfindfindfindfindfind'}",
        "{'op': 'find'}", "{'op': 'find', 'session': 7}", "{'op': 'find', 'session': 'abc'}",
        "{'op': 'find', 'session': 'XX00000000000000000000000000000000000000000000000000000000000000'}",
        "{'op': 'find', 'user': '', 'app': 'a'}", "{'op': 'find', 'user': ['u'], 'app': 'a'}",
        "{'op': 'assign'}", "{'op': 'assign', 'instance': '../../etc/passwd', 'compute': 'lab'}",
        "{'op': 'claim', 'persona': {}}", "{'op': 'demand', 'persona': 'one'}",
        "{'op': 'attach', 'streams': -1}", "{'op': 'condemn', 'instance': 'x'}", "{'op': 'duplicate'}",
        "{'op': 'wait'}", "{'op': 'end'}", "{'op': 'sessions'}", "{'op': 'drain', 'all': true}",
        "{'op': 'refresh', 'persona': 'one'}", "{'op': 'retire', 'instance': 'x'}", "{'op': 'reload'}",
        "{'op': 'audit'}",
    };
    persona_manager_t *m;

    (void)state;
    site_persona("one", 1, 2, "image");
    m = site_manager(0);
    site_settle(m);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        assert_string_equal(site_status_of(site_ask(m, "%s", requests[i])), "bad");
    }
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), 1);
}

static void long_members_are_refused(void **state)
{
    persona_manager_t *m;
    char *user = apr_pcalloc(unit_pool, PERSONA_USER_MAX + 2);

    (void)state;
    site_persona("one", 1, 2, "image");
    m = site_manager(0);
    site_settle(m);
    memset(user, 'u', PERSONA_USER_MAX + 1);
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'assign', 'instance': '%s', 'compute': 'lab', "
                                                   "'persona': 'one', 'session': '%s', 'user': '%s', 'app': 'app'}",
                                                fake_nth(0)->uuid, site_session(1), user)), "bad");
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'assign', 'instance': '%s', 'compute': 'lab', "
                                                   "'persona': 'one', 'session': '%s', 'user': 'a\\u0000b', "
                                                   "'app': 'app'}", fake_nth(0)->uuid, site_session(1))), "bad");
    assert_int_equal(fake_fence_count(), 0);
}

static void somebody_elses_instance_is_not_to_be_had(void **state)
{
    persona_manager_t *m;
    const char *a;

    (void)state;
    site_persona("one", 1, 2, "image");
    m = site_manager(0);
    site_settle(m);
    a = apr_pstrdup(unit_pool, fake_nth(0)->uuid);
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'assign', 'instance': '%s', 'compute': 'elsewhere', "
                                                   "'persona': 'one', 'session': '%s', 'user': 'u', 'app': 'app'}",
                                                a, site_session(1))), "no");
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'assign', 'instance': "
                                                   "'00000000-0000-4000-8000-000000000000', 'compute': 'lab', "
                                                   "'persona': 'one', 'session': '%s', 'user': 'u', 'app': 'app'}",
                                                site_session(1))), "no");
    assert_string_equal(site_assign(m, a, 1), "ok");
    assert_string_equal(site_status_of(site_ask(m, "{'op': 'attach', 'session': '%s', 'instance': '%s', "
                                                   "'streams': 1}", site_session(2), a)), "none");
    site_pass(m, 3);
    /* The fence of an instance that never was is not left behind. */
    assert_null(fake_token("00000000-0000-4000-8000-000000000000"));
}

static const char *home(persona_manager_t *m, int session, const char *user, const char *password)
{
    return site_status_of(site_ask(m, "{'op': 'home', 'session': '%s', 'user': '%s', 'credential': '%s'}",
                                   site_session(session), user, password));
}

static void a_home_opens_to_its_session_only(void **state)
{
    persona_manager_t *m;
    const char *password, *other;

    (void)state;
    site_persona("one", 2, 2, "image");
    m = site_manager(0);
    site_settle(m);
    password = persona_home_password(m, 0, site_session(1), "user1", unit_pool);
    other = persona_home_password(m, 0, site_session(1), "user2", unit_pool);
    assert_string_equal(home(m, 1, "user1", password), "no");
    assert_string_equal(site_assign(m, apr_pstrdup(unit_pool, fake_nth(0)->uuid), 1), "ok");
    assert_string_equal(home(m, 1, "user1", password), "ok");
    assert_string_equal(home(m, 1, "user2", other), "no");
    assert_string_equal(home(m, 1, "user1", other), "no");
    assert_string_equal(home(m, 1, "user1", ""), "no");
    assert_string_equal(home(m, 2, "user1", password), "no");
    site_status_of(site_ask(m, "{'op': 'end', 'session': '%s', 'user': 'user1'}", site_session(1)));
    site_pass(m, 3);
    assert_string_equal(home(m, 1, "user1", password), "no");
}

static void an_unreachable_home_is_told(void **state)
{
    persona_manager_t *m;
    json_t *answer;

    (void)state;
    site.settings.home_url = NULL;
    site_persona_home("one", 1, 2, 0);
    m = site_manager(0);
    site_settle(m);
    assert_string_equal(site_assign(m, apr_pstrdup(unit_pool, fake_nth(0)->uuid), 1), "ok");
    answer = site_ask(m, "{'op': 'wait', 'session': '%s', 'for': 'home'}", site_session(1));
    assert_string_equal(json_string_value(json_object_get(answer, "status")), "ok");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(answer, "record"), "home")), 3);
    assert_string_equal(json_string_value(json_object_get(answer, "home_problem")),
                        "the site has no PersonaHomeURL, so there is no home to attach");
    json_decref(answer);
}

static void the_document_shows_only_ones_own(void **state)
{
    persona_manager_t *m;
    json_t *answer;

    (void)state;
    site_persona("one", 2, 4, "image");
    m = site_manager(0);
    site_settle(m);
    assert_string_equal(site_assign(m, apr_pstrdup(unit_pool, fake_nth(0)->uuid), 1), "ok");
    assert_string_equal(site_assign(m, apr_pstrdup(unit_pool, fake_nth(1)->uuid), 2), "ok");
    answer = site_ask(m, "{'op': 'status', 'user': 'user1'}");
    assert_int_equal(json_array_size(json_object_get(answer, "sessions")), 1);
    assert_null(json_object_get(answer, "instances"));
    json_decref(answer);
    answer = site_ask(m, "{'op': 'status'}");
    assert_int_equal(json_array_size(json_object_get(answer, "sessions")), 2);
    assert_int_equal(json_array_size(json_object_get(answer, "computes")), 1);
    assert_true(json_is_true(json_object_get(json_array_get(json_object_get(answer, "computes"), 0), "up")));
    json_decref(answer);
    answer = site_ask(m, "{'op': 'sessions', 'user': 'user2'}");
    assert_int_equal(json_array_size(json_object_get(answer, "sessions")), 1);
    json_decref(answer);
    answer = site_ask(m, "{'op': 'find', 'user': 'user2', 'app': 'app'}");
    assert_string_equal(json_string_value(json_object_get(json_object_get(answer, "record"), "session")),
                        site_session(2));
    json_decref(answer);
    answer = site_ask(m, "{'op': 'catalog'}");
    assert_true(json_is_object(json_object_get(answer, "catalog_json")));
    json_decref(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITE_TEST(nonsense_is_answered),
        SITE_TEST(long_members_are_refused),
        SITE_TEST(somebody_elses_instance_is_not_to_be_had),
        SITE_TEST(a_home_opens_to_its_session_only),
        SITE_TEST(an_unreachable_home_is_told),
        SITE_TEST(the_document_shows_only_ones_own),
    };

    return apr_initialize() == APR_SUCCESS ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}

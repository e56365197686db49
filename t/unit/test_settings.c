/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include "persona/settings.h"

#define GOOD                                                                                                  \
    "{\"directory\": \"/p\", \"ns\": \"n\", \"schedule\": 5000000, \"timeout\": 5000000, \"keys\": [\"ab\"]," \
    " \"computes\": []}"

/** GOOD with one member set to the JSON text `value`, or removed where that is NULL. */
static json_t *variant(const char *member, const char *value)
{
    json_t *json = json_loads(GOOD, 0, NULL);

    assert_non_null(json);
    if (value) {
        json_t *part = json_loads(value, JSON_DECODE_ANY, NULL);

        assert_non_null(part);
        json_object_set_new(json, member, part);
    }
    else {
        json_object_del(json, member);
    }
    return json;
}

static void bad_settings(void **state)
{
    static const struct {
        const char *member, *value, *says;
    } cases[] = {
        {"directory", NULL, "\"directory\" is missing"},
        {"directory", "1", "\"directory\" must be a string"},
        {"schedule", "\"5s\"", "\"schedule\" must be a number of microseconds"},
        {"schedule", "-1", "\"schedule\" must be a number of microseconds"},
        {"listen_fd", "4294967296", "\"listen_fd\" must be an integer"},
        {"wait_cost", "\"1\"", "\"wait_cost\" must be a number"},
        {"keys", NULL, "\"keys\" must be an array of one or two"},
        {"keys", "[]", "\"keys\" must be an array of one or two"},
        {"keys", "[\"a\", \"b\", \"c\"]", "\"keys\" must be an array of one or two"},
        {"keys", "[\"a\", \"xyz\"]", "keys[1] must be hexadecimal"},
        {"keys", "[\"\"]", "keys[0] must be hexadecimal"},
        {"keys", "[1]", "keys[0] must be hexadecimal"},
        {"computes", NULL, "\"computes\" must be an array"},
        {"computes", "[{\"name\": \"kvm\"}]", "computes[0] must have"},
        {"computes", "[7]", "computes[0] must have"},
        {"computes", "[{\"name\": \"a\", \"provider\": \"b\", \"options\": {\"k\": 1}}]",
         "option \"k\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *json = variant(cases[i].member, cases[i].value);
        persona_settings_t *settings;
        const char *error;

        assert_int_equal(persona_settings_from_json(&settings, json, &error, unit_pool),
                         APR_EINVAL);
        assert_null(settings);
        if (!strstr(error, cases[i].says)) {
            fail_msg("says \"%s\", not \"%s\"", error, cases[i].says);
        }
        json_decref(json);
    }
}

static void not_an_object(void **state)
{
    json_t *json = json_array();
    persona_settings_t *settings;
    const char *error;

    (void)state;
    assert_int_equal(persona_settings_from_json(&settings, json, &error, unit_pool), APR_EINVAL);
    assert_string_equal(error, "settings: must be a JSON object");
    json_decref(json);
}

static void what_is_absent_has_a_default(void **state)
{
    json_t *json = variant("member_of_a_newer_module", "{\"x\": 1}");
    persona_settings_t *s;
    const char *error;

    (void)state;
    assert_int_equal(persona_settings_from_json(&s, json, &error, unit_pool), APR_SUCCESS);
    json_decref(json);
    assert_null(error);
    assert_string_equal(s->forecast, "shadow");
    assert_true(s->wait_cost < 0 && s->hit_rate < 0);
    assert_int_equal(s->listen_fd, -1);
    assert_int_equal(s->lifeline_fd, -1);
    assert_int_equal(s->control_fd, -1);
    assert_int_equal(s->log_level, PERSONA_LOG_INFO);
    assert_string_equal(s->keys[0], "ab");
    assert_null(s->keys[1]);
}

static void round_trip(void **state)
{
    persona_settings_t full = {
        .directory = "/etc/personas",
        .state_dir = "/var/lib/persona",
        .event_file = "/etc/events.json",
        .memcached = "127.0.0.1:11211",
        .ns = "0123456789ab",
        .keys = {"00ff", "ee"},
        .manager_user = "persona",
        .forecast = "shadow",
        .home_url = "http://192.0.2.1/home",
        .session_host = ".desk.example.org",
        .control = "/run/c",
        .wait_cost = 2.5,
        .hit_rate = 0.99,
        .schedule = 5000000,
        .timeout = APR_INT64_C(5000000000),
        .log_level = PERSONA_LOG_DEBUG,
        .secret = "aa",
        .listen_fd = 3,
        .lifeline_fd = 4,
        .control_fd = 5,
        .gateway_id = "g",
    };
    persona_compute_conf_t kvm = {"kvm", "libvirt", "qemu:///system", NULL},
                           lab = {"lab", "docker", NULL, NULL};
    persona_settings_t *back;
    apr_table_t *options = apr_table_make(unit_pool, 1);
    json_t *json, *again;
    const char *error;

    (void)state;
    apr_table_set(options, "images", "/i");
    kvm.options = options;
    full.computes = apr_array_make(unit_pool, 2, sizeof(persona_compute_conf_t));
    APR_ARRAY_PUSH(full.computes, persona_compute_conf_t) = kvm;
    APR_ARRAY_PUSH(full.computes, persona_compute_conf_t) = lab;
    json = persona_settings_to_json(&full);
    assert_int_equal(persona_settings_from_json(&back, json, &error, unit_pool), APR_SUCCESS);
    again = persona_settings_to_json(back);
    assert_true(json_equal(json, again));
    json_decref(json);
    json_decref(again);
    assert_string_equal(back->keys[1], "ee");
    assert_true(back->timeout == full.timeout);
    assert_true(back->hit_rate > 0.98 && back->wait_cost > 2.4);
    assert_int_equal(back->computes->nelts, 2);
    assert_string_equal(
        apr_table_get(APR_ARRAY_IDX(back->computes, 0, persona_compute_conf_t).options, "images"),
        "/i");
    assert_null(APR_ARRAY_IDX(back->computes, 1, persona_compute_conf_t).address);
}

static void keys(void **state)
{
    persona_settings_t settings = {.keys = {"00ff", NULL}};
    const char *ns = persona_settings_namespace("00ff", unit_pool);

    (void)state;
    assert_null(persona_settings_key(&settings, 1, "record", unit_pool));
    /* printf record | openssl dgst -sha256 -hmac 00ff */
    assert_string_equal(persona_settings_key(&settings, 0, "record", unit_pool),
                        "98600ac8b2687692ec58c12398cbb2c029bdb33ee96cd7dee622b2552e89ab35");
    assert_string_not_equal(persona_settings_key(&settings, 0, "record", unit_pool),
                            persona_settings_key(&settings, 0, "hook", unit_pool));
    assert_int_equal(strlen(ns), 12);
    assert_string_equal(ns, persona_settings_namespace("00ff", unit_pool));
    assert_string_not_equal(ns, persona_settings_namespace("00fe", unit_pool));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(bad_settings), UNIT_TEST(not_an_object), UNIT_TEST(what_is_absent_has_a_default),
        UNIT_TEST(round_trip),   UNIT_TEST(keys),
    };

    return UNIT_RUN(tests);
}

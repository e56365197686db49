/* SPDX-License-Identifier: Apache-2.0 */
/* The learned model in the manager: who rules, what it hears, and what outlives a restart. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "manager/forecaster.h"
#include "manager/status.h"
#include "manager_site.h"

/** Of a Tuesday. */
#define MIDNIGHT SECONDS(20788 * 86400LL)

static persona_manager_t *begin(const char *mode)
{
    persona_manager_t *m;

    site_persona("one", 0, 200, "image");
    site.settings.forecast = mode;
    site.settings.hit_rate = -1;
    site.settings.wait_cost = -1;
    m = site_manager(0);
    site_round(m);
    return m;
}

/** People who come every ten seconds, for so many minutes. */
static void people(persona_manager_t *m, int minutes)
{
    for (int i = 0; i < minutes * 6; i++) {
        persona_manager_lock(m);
        persona_forecaster_arrived(m, "one", apr_psprintf(unit_pool, "user%d", i), NULL);
        persona_manager_unlock(m);
        site_now += SECONDS(10);
        persona_forecaster_feed(m, unit_pool);
    }
}

static persona_target_t target_of(persona_manager_t *m, persona_target_t *model)
{
    persona_catalog_t *catalog = persona_manager_catalog(m);
    persona_target_t target = {0};

    persona_forecaster_target(m, persona_catalog_find(catalog, "one"), &target, model);
    persona_catalog_release(catalog);
    return target;
}

static const char *state_file(void)
{
    return apr_psprintf(unit_pool, "%s/forecast", site.state_dir);
}

static void what_is_learned_rules(void **state)
{
    persona_manager_t *m = begin("on");
    persona_target_t model, before = target_of(m, &model), after;

    (void)state;
    people(m, 60);
    after = target_of(m, &model);
    assert_true(after.ready > before.ready);
    assert_true(after.ready <= 200);
    assert_int_equal(after.ready, model.ready);
    assert_non_null(strstr(after.reason, "forecast"));
}

static void in_the_shadow_the_pattern_rules(void **state)
{
    persona_manager_t *m = begin("shadow");
    persona_target_t model, target;

    (void)state;
    people(m, 60);
    target = target_of(m, &model);
    assert_non_null(strstr(target.reason, "pattern"));
    assert_non_null(strstr(model.reason, "forecast"));
    assert_true(model.ready > 0);
}

static void off_knows_no_model(void **state)
{
    persona_manager_t *m = begin("off");
    persona_target_t model, target = target_of(m, &model);

    (void)state;
    people(m, 1);
    persona_forecaster_save(m, 1, unit_pool);
    assert_non_null(strstr(target.reason, "pattern"));
    assert_string_equal(model.reason, "");
}

static void it_goes_on_after_a_restart(void **state)
{
    persona_manager_t *m = begin("on");
    persona_target_t model, before, after;
    struct stat st;

    (void)state;
    people(m, 60);
    before = target_of(m, &model);
    persona_forecaster_save(m, 1, unit_pool);
    assert_int_equal(stat(state_file(), &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    m = site_manager(0);
    after = target_of(m, &model);
    assert_true(before.expected > 1);
    assert_float_equal(after.expected, before.expected, 0.1);
}

static void a_broken_state_is_begun_anew(void **state)
{
    persona_manager_t *m;
    persona_target_t model;
    FILE *file = fopen(state_file(), "w");

    (void)state;
    fputs("not what was learned", file);
    fclose(file);
    m = begin("on");
    target_of(m, &model);
    assert_true(model.ready >= 0);
    people(m, 60);
    persona_forecaster_save(m, 1, unit_pool);
    target_of(m, &model);
    assert_true(model.ready > 0);
}

static void a_state_that_cannot_be_kept_is_no_harm(void **state)
{
    persona_manager_t *m = begin("on");
    persona_target_t model;

    (void)state;
    people(m, 60);
    site.settings.state_dir = "/nonexistent";
    persona_forecaster_save(m, 1, unit_pool);
    assert_true(m->model_unsaved);
    assert_true(target_of(m, &model).ready > 0);
    site.settings.state_dir = site.state_dir;
    persona_forecaster_save(m, 1, unit_pool);
    assert_false(m->model_unsaved);
}

/** Nobody for so many hours, and then so many people at once, as no model of a quiet day expects. */
static void crowds(persona_manager_t *m, int days, int size)
{
    persona_target_t model;

    for (int hour = 0; hour < days * 24; hour++) {
        for (int minute = 0; minute < 60; minute++) {
            for (int i = 0; minute == 30 && i < size; i++) {
                persona_manager_lock(m);
                persona_forecaster_arrived(m, "one", NULL, NULL);
                persona_manager_unlock(m);
            }
            persona_forecaster_feed(m, unit_pool);
            site_now += SECONDS(60);
            target_of(m, &model);
        }
    }
}

static json_t *feedback_of(persona_manager_t *m)
{
    json_t *document = persona_status_document(m, NULL, unit_pool), *persona, *feedback;

    persona = json_array_get(json_object_get(document, "personas"), 0);
    feedback = json_deep_copy(json_object_get(persona, "feedback"));
    json_object_set_new(feedback, "rules",
                        json_incref(json_object_get(json_object_get(persona, "model"), "rules")));
    json_decref(document);
    return feedback;
}

static double number_at(json_t *json, const char *pool, const char *name)
{
    return json_real_value(json_object_get(json_object_get(json, pool), name));
}

/* A crowd each hour, sharp: no rate of the quarter hour knows of it, and a constant number of instances serves it. */
static void a_model_that_does_worse_gives_way_to_a_buffer(void **state)
{
    persona_target_t model, target;
    persona_manager_t *m;
    json_t *feedback;

    (void)state;
    site_now = apr_time_from_sec(1700006400);
    m = begin("on");
    crowds(m, 2, 6);
    feedback = feedback_of(m);
    assert_int_equal(json_integer_value(json_object_get(feedback, "claims")), 2 * 24 * 6);
    assert_true(json_integer_value(json_object_get(feedback, "forecasts")) > 500);
    assert_true(number_at(feedback, "model", "coverage") > .5);
    assert_true(number_at(feedback, "seasonal_naive", "log_score") > number_at(feedback, "model", "log_score"));
    assert_true(number_at(feedback, "model", "cost_hours") > 1.05 * number_at(feedback, "buffer", "cost_hours"));
    assert_true(json_is_true(json_object_get(feedback, "fallen")));
    assert_true(json_is_false(json_object_get(feedback, "rules")));
    json_decref(feedback);
    target = target_of(m, &model);
    assert_true(model.fallen && target.ready == model.buffer);
    assert_non_null(strstr(model.reason, "expected"));
    assert_non_null(strstr(target.reason, "buffer: the forecast cost"));
    persona_forecaster_save(m, 1, unit_pool);
    m = site_manager(0);
    target = target_of(m, &model);
    assert_true(model.fallen);
    assert_non_null(strstr(target.reason, "buffer: the forecast cost"));
}

static double real_at(json_t *json, const char *name)
{
    return json_number_value(json_object_get(json, name));
}

static void a_target_is_explained(void **state)
{
    persona_manager_t *m = begin("on");
    json_t *answer, *model, *later;

    (void)state;
    people(m, 60);
    site_round(m);
    answer = site_ask_control(m, "{'op': 'explain', 'persona': 'one'}");
    model = json_object_get(answer, "model");
    assert_string_equal(json_string_value(json_object_get(answer, "policy")), "model");
    assert_int_equal(real_at(answer, "target"), real_at(model, "target"));
    assert_int_equal(real_at(model, "target"), real_at(model, "wish") + real_at(model, "held"));
    assert_non_null(strstr(json_string_value(json_object_get(answer, "reason")), "forecast"));
    assert_int_equal(real_at(model, "learned"), 360);
    assert_true(real_at(model, "worth_next") <= real_at(model, "kappa"));
    assert_true(json_is_null(json_object_get(model, "worth_last")) ||
                real_at(model, "worth_last") > real_at(model, "kappa"));
    assert_float_equal(real_at(model, "rate") * real_at(model, "lead") / 3600, real_at(model, "expected"), 1e-3);
    assert_float_equal(real_at(model, "season") * real_at(model, "lately") * real_at(model, "people") *
                       real_at(model, "others"), real_at(model, "rate"), 1e-6);
    assert_true(real_at(model, "rate") > 100 && json_is_false(json_object_get(model, "ahead")));

    /* tomorrow at this hour nothing is left of what came lately; asking has changed nothing */
    later = site_ask_control(m, "{'op': 'explain', 'persona': 'one', 'at': %" APR_TIME_T_FMT "}",
                             site_now + SECONDS(86400));
    assert_true(json_is_true(json_object_get(json_object_get(later, "model"), "ahead")));
    assert_true(real_at(model, "lately") > real_at(json_object_get(later, "model"), "lately"));
    assert_float_equal(real_at(json_object_get(later, "model"), "lately"), 1, .1);
    json_decref(later);
    later = site_ask_control(m, "{'op': 'explain', 'persona': 'one'}");
    assert_true(json_equal(answer, later));
    json_decref(later);

    /* what was decided before */
    later = site_ask_control(m, "{'op': 'explain', 'persona': 'one', 'at': %" APR_TIME_T_FMT "}",
                             site_now - SECONDS(1800));
    assert_true(json_integer_value(json_object_get(later, "since")) <= site_now - SECONDS(1800));
    assert_true(real_at(later, "target") < real_at(answer, "target"));
    json_decref(later);
    json_decref(answer);
    assert_string_equal(site_status_of(site_ask_control(m, "{'op': 'explain', 'persona': 'one', 'at': 5}")), "none");
    assert_string_equal(site_status_of(site_ask_control(m, "{'op': 'explain', 'persona': 'two'}")), "none");
    assert_string_equal(site_status_of(site_ask_control(m, "{'op': 'explain'}")), "bad");
}

static void write_events(const char *path, const char *events)
{
    FILE *file = fopen(path, "w");

    fprintf(file, "{\"timezone\": \"UTC\", \"events\": [%s]}", events);
    fclose(file);
}

/* A file of known dates comes, becomes wrong, and goes on. */
static void known_dates_are_read(void **state)
{
    persona_manager_t *m;
    persona_target_t model;
    json_t *document;

    (void)state;
    site_now = MIDNIGHT + SECONDS(12 * 3600 + 3500);
    site.settings.event_file = apr_psprintf(unit_pool, "%s/events.json", site.dir);
    write_events(site.settings.event_file,
                 "{\"weekday\": \"tue\", \"time\": \"13:00\", \"people\": 30, \"personas\": [\"one\"]}");
    m = begin("on");
    assert_true(target_of(m, &model).ready >= 30);
    write_events(site.settings.event_file, "{\"weekday\": \"tue\"}");
    site_round(m);
    assert_true(target_of(m, &model).ready >= 30);
    document = persona_status_document(m, NULL, unit_pool);
    assert_int_equal(json_array_size(json_object_get(document, "errors")), 1);
    assert_non_null(strstr(json_string_value(json_array_get(json_object_get(document, "errors"), 0)),
                           "events.json:1:32: $.events[0]: says nothing"));
    json_decref(document);
    write_events(site.settings.event_file, "");
    site_round(m);
    document = persona_status_document(m, NULL, unit_pool);
    assert_int_equal(json_array_size(json_object_get(document, "errors")), 0);
    json_decref(document);
    site_now += SECONDS(3600);
    site_round(m);
    assert_true(target_of(m, &model).ready < 30);
}

static void boots_are_told_once(void **state)
{
    persona_manager_t *m = begin("on");
    persona_stock_t *stock;

    (void)state;
    persona_manager_lock(m);
    stock = persona_stock_of(m, "one");
    for (unsigned i = 0; i < PERSONA_BOOTS_KEPT + 5; i++) {
        stock->boots[stock->boot_count++ % PERSONA_BOOTS_KEPT] = SECONDS(9);
    }
    persona_manager_unlock(m);
    persona_forecaster_feed(m, unit_pool);
    assert_int_equal(stock->boots_told, stock->boot_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITE_TEST(what_is_learned_rules),
        SITE_TEST(in_the_shadow_the_pattern_rules),
        SITE_TEST(off_knows_no_model),
        SITE_TEST(it_goes_on_after_a_restart),
        SITE_TEST(a_broken_state_is_begun_anew),
        SITE_TEST(a_state_that_cannot_be_kept_is_no_harm),
        SITE_TEST(a_model_that_does_worse_gives_way_to_a_buffer),
        SITE_TEST(a_target_is_explained),
        SITE_TEST(known_dates_are_read),
        SITE_TEST(boots_are_told_once),
    };

    return apr_initialize() == APR_SUCCESS ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The learned model: its parts against known answers, then the whole on arrivals with a known rate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <apr_general.h>

#include "forecast/backtest.h"
#include "persona_forecast.h"

static apr_pool_t *pool;
static unsigned long long seed;

/* Uniform in (0, 1), the same in every run. */
static double uniform(void)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return ((double)(seed >> 11) + .5) / 9007199254740992.0;
}

static void sizing_is_the_marginal_rule(void **state)
{
    static const double kappa[] = {1e3, .5, .1, .01, 1e-4};
    persona_demand_t demand = {.mean = 3};
    int size[5], k;

    (void)state;
    persona_plan_size(&demand, kappa, 5, size);
    for (k = 0; k < 5; k++) {
        double p = exp(-3.0), below = p;
        int s = 0;

        /* (S+1) P(S+1) > kappa P(N <= S), and never less than the whole part of the expected demand */
        while (3 * p > kappa[k] * below || s + 1 <= 3) {
            s++;
            p *= 3.0 / s;
            below += p;
        }
        assert_int_equal(size[k], s);
    }
    demand.mean = 0;
    persona_plan_size(&demand, kappa, 5, size);
    assert_int_equal(size[4], 0);
    demand.mean = 3;
    demand.spread = 1;
    persona_plan_size(&demand, kappa, 5, size);
    assert_true(size[4] > 20);    /* a heavy tail is worth more at a low price */
}

static void a_target_that_falls_is_followed_with_patience(void **state)
{
    persona_plan_t plan = {0};

    (void)state;
    assert_int_equal(persona_plan_follow(&plan, 5, 0, 100, 60), 5);
    assert_int_equal(persona_plan_follow(&plan, 2, 0, 110, 60), 5);
    assert_int_equal(persona_plan_follow(&plan, 3, 0, 120, 60), 5);
    assert_int_equal(persona_plan_follow(&plan, 2, 1, 130, 60), 4);    /* a claim lowers it for nothing */
    assert_int_equal(persona_plan_follow(&plan, 2, 0, 170, 60), 3);    /* the largest wish meanwhile */
    assert_int_equal(persona_plan_follow(&plan, 2, 4, 180, 60), 2);
    assert_int_equal(persona_plan_follow(&plan, 0, 9, 190, 60), 0);
}

static void regression_finds_the_rate(void **state)
{
    static const float start[2] = {0, 0}, ridge[2] = {.1f, .1f};
    persona_glm_t glm;
    int round, k;

    (void)state;
    persona_glm_begin(&glm, 2, start);
    for (round = 0; round < 40; round++) {
        for (k = 0; k < 100; k++) {
            float x[2] = {1, (float)(k % 2)};
            double mean = exp(persona_glm_score(&glm, x));

            persona_glm_learn(&glm, x, k % 2 ? 6 : 2, mean, 1);
        }
        persona_glm_absorb(&glm, .9);
        assert_int_equal(persona_glm_step(&glm, start, ridge, .5), 1);
    }
    assert_true(fabs(glm.weight[0] - log(2)) < .01);
    assert_true(fabs(glm.weight[1] - log(3)) < .01);
}

/* Two that are alike, each seen for half as long, teach the shared weights as much as one that is seen throughout. */
static void regression_learns_from_several(void **state)
{
    static const float zero[2] = {0, 0}, ridge[2] = {.1f, .1f};
    persona_glm_t all, own[2], one;
    int k, t;

    (void)state;
    persona_glm_begin(&all, 2, zero);
    persona_glm_begin(&one, 2, zero);
    for (k = 0; k < 2; k++) {
        persona_glm_begin(&own[k], 2, zero);
    }
    for (t = 0; t < 400; t++) {
        float x[2] = {1, t % 2 ? 1.0f : -1.0f};
        double count = t % 2 ? 3 : 1;

        persona_glm_learn(&own[t / 200], x, count, exp(persona_glm_score(&own[t / 200], x)), 1);
        persona_glm_learn(&one, x, count, exp(persona_glm_score(&one, x)), 1);
    }
    for (k = 0; k < 2; k++) {
        persona_glm_share(&all, &own[k]);
    }
    persona_glm_absorb(&all, 1);
    persona_glm_absorb(&one, 1);
    assert_int_equal(persona_glm_step(&all, zero, ridge, 10), 1);
    assert_int_equal(persona_glm_step(&one, zero, ridge, 10), 1);
    for (k = 0; k < 2; k++) {
        assert_true(fabs(all.weight[k] - one.weight[k]) < 1e-3 && fabs(all.weight[k]) > .1);
    }
    /* what was shared is still the own model's to learn */
    persona_glm_absorb(&own[0], 1);
    assert_int_equal(persona_glm_step(&own[0], all.weight, ridge, 10), 1);
    assert_true(fabs(own[0].weight[1] - all.weight[1]) < .1);
}

/* A bad hour of a busy site moves the price little; one that is bad for weeks gets what it was promised. */
static void price_moves_by_what_is_expected(void **state)
{
    persona_control_t busy, quiet;
    double before[2], at = 1e9;
    int k;

    (void)state;
    persona_control_begin(&busy, .99);
    persona_control_begin(&quiet, .99);
    for (k = 0; k < 40000; k++, at += 20) {
        persona_control_arrival(&busy, .99, .5 * uniform(), k % 100 != 0, at);
        if (k % 100 == 0) {
            persona_control_arrival(&quiet, .99, .5 * uniform(), 1, at);
        }
    }
    assert_true(fabs(busy.trim) < .5);    /* one in a hundred missed: as promised */
    assert_true(busy.kappa > .003 && busy.kappa < .03);
    before[0] = busy.trim;
    before[1] = quiet.trim;
    for (k = 0; k < 10; k++) {
        persona_control_arrival(&busy, .99, .5 * uniform(), 0, at);
        persona_control_arrival(&quiet, .99, .5 * uniform(), 0, at);
        persona_control_arrival(&quiet, .99, -1, 0, at);    /* of unknown price: tells nothing */
    }
    before[0] -= busy.trim;
    before[1] -= quiet.trim;
    assert_true(before[0] > 0 && before[0] < .3 && before[1] > 5 * before[0]);
    for (k = 0; k < 4000; k++, at += 200) {
        persona_control_arrival(&busy, .99, .5 * uniform(), k % 20 != 0, at);
    }
    assert_true(busy.trim < -1);
}

/* No promise is worth an instance that nobody wants for weeks. */
static void a_promise_has_its_limits(void **state)
{
    persona_learned_t *learned = persona_learned_create(pool);
    persona_learned_entry_t *entry = persona_learned_entry(learned, "p", 1e9);

    (void)state;
    learned->control.kappa = 1e-9;
    assert_true(fabs(persona_learned_kappa(learned, entry) - entry->model.lead / 864000) < 1e-12);
    learned->control.kappa = .25;
    assert_true(persona_learned_kappa(learned, entry) == .25);
    learned->kappa = 1e-9;    /* a price that was set is obeyed */
    assert_true(persona_learned_kappa(learned, entry) == 1e-9);
}

static void regression_refuses_nonsense(void **state)
{
    static const float start[1] = {1}, ridge[1] = {-5};
    persona_glm_t glm;

    (void)state;
    persona_glm_begin(&glm, 1, start);
    assert_int_equal(persona_glm_step(&glm, start, ridge, .5), 0);
    assert_true(glm.weight[0] == 1);
}

static void profile_learns_the_hour_and_the_day(void **state)
{
    static persona_profile_t profile;
    float rate[PERSONA_PROFILE_EXPERTS];
    int day, bin;

    (void)state;
    persona_profile_begin(&profile, 4, 1, NULL);       /* 1970-01-05 was a Monday */
    for (day = 0; day < 56; day++) {
        for (bin = 0; bin < 96; bin++) {
            int work = day % 7 < 5 && bin >= 36 && bin < 68;

            persona_profile_add(&profile, bin * 900, work ? 5 : 0, 15);
        }
        persona_profile_roll(&profile, 5 + day, (day + 2) % 7);
    }
    persona_profile_rates(&profile, 13 * 3600, rate);  /* Monday noon: 5 in 15 minutes */
    assert_true(fabs(exp(rate[0]) - 1 / 3.0) < .03 && exp(rate[2]) > .25);
    persona_profile_rates(&profile, 3 * 3600, rate);
    assert_true(exp(rate[0]) < .02);
}

/* Thirty people at 13:00 sharp on each day, few else: the sharp experts know the quarter, the smooth ones the hour. */
static void profile_learns_a_sharp_hour(void **state)
{
    persona_profile_t profile;
    float peak[PERSONA_PROFILE_EXPERTS], before[PERSONA_PROFILE_EXPERTS];
    int day, bin;

    (void)state;
    persona_profile_begin(&profile, 20000, 1, NULL);
    for (day = 0; day < 28; day++) {
        for (bin = 0; bin < PERSONA_PROFILE_BINS; bin++) {
            persona_profile_add(&profile, bin * 900 + 450, bin == 52 ? 30 : .1, 15);
        }
        persona_profile_roll(&profile, 20001 + day, (2 + day) % 7);
    }
    persona_profile_rates(&profile, 52 * 900 + 450, peak);
    persona_profile_rates(&profile, 50 * 900 + 450, before);
    assert_true(exp(peak[3]) > .75 && exp(peak[3]) < 1.05);    /* half of 30 in 15 minutes, shrunk a little */
    assert_true(exp(peak[3]) > 2 * exp(peak[2]) && exp(peak[4]) > 2 * exp(peak[0]));
    assert_true(exp(before[3]) < .5 * exp(before[2]) && exp(before[4]) < .9 * exp(before[0]));
}

static void unwatched_hours_are_not_quiet_hours(void **state)
{
    static persona_model_site_t site;
    static persona_model_t model;
    double at, before;
    persona_demand_t demand;

    (void)state;
    persona_model_site_begin(&site);
    persona_model_begin(&model, NULL, 0, 120, 1e9);
    seed = 3;
    for (at = 1e9; at < 1e9 + 3 * 86400; at -= log(uniform()) * 300) {
        persona_model_arrival(&model, &site, 0, at, NULL);
    }
    persona_model_demand(&model, &site, &demand);
    before = demand.mean;
    assert_true(before > .15 && before < 1);
    persona_model_advance(&model, &site, at + 86400);
    persona_model_demand(&model, &site, &demand);
    assert_true(demand.mean > before / 3);
}

/* A busy day and a quiet night, arrivals at random: the promise must hold on what was not yet seen. */
static void promised_hit_rate_is_kept(void **state)
{
    static const double promise[] = {.95, .99};
    persona_backtest_sum_t sum;
    int k;

    (void)state;
    for (k = 0; k < 2; k++) {
        persona_backtest_t *backtest = persona_backtest_create(120, 0, promise[k], NULL, NULL, pool);
        double at = 1e9, rate;
        int counted = 0;

        seed = 7;
        while (at < 1e9 + 40 * 86400) {
            double hour = fmod(at / 3600, 24);

            at -= log(uniform()) * 60 / (hour > 8 && hour < 18 ? 1.0 : .05);
            if (!counted && at > 1e9 + 14 * 86400) {
                persona_backtest_run(backtest, at);
                persona_backtest_count(backtest);
                counted = 1;
            }
            assert_int_equal(persona_backtest_event(backtest, at, "p", NULL, 0), APR_SUCCESS);
        }
        persona_backtest_sum(backtest, &sum);
        rate = (double)sum.hits / (double)sum.claims;
        assert_true(sum.claims > 10000);
        assert_true(fabs(rate - promise[k]) < (1 - promise[k]) * .5);
    }
}

typedef struct trail_t {
    double at[20000];
    int target[20000], n;
} trail_t;

static void note(void *baton, double at, const char *persona, int target)
{
    trail_t *trail = baton;

    assert_string_equal(persona, "p");
    assert_true(trail->n < 20000);
    trail->at[trail->n] = at;
    trail->target[trail->n++] = target;
}

static void targets_know_nothing_of_the_future(void **state)
{
    static trail_t trail[2];
    double cut = 1e9 + 3 * 86400;
    int round, k;

    (void)state;
    for (round = 0; round < 2; round++) {
        persona_backtest_t *backtest = persona_backtest_create(120, .01, 0, note, &trail[round], pool);
        double at = 1e9;

        seed = 11;
        while (at < (round ? 1e9 + 4 * 86400 : cut)) {
            at -= log(uniform()) * 200;
            if (round || at < cut) {
                persona_backtest_event(backtest, at, "p", NULL, 600);
            }
        }
        persona_backtest_run(backtest, 1e9 + 4 * 86400);
        assert_int_equal(persona_backtest_event(backtest, 1e9, "p", NULL, 0), APR_EINVAL);
    }
    for (k = 0; k < trail[0].n && trail[0].at[k] < cut; k++) {
        assert_true(trail[0].at[k] == trail[1].at[k] && trail[0].target[k] == trail[1].target[k]);
    }
    assert_true(k > 50);
}

static void shadow_pool_by_hand(void **state)
{
    double ring[8];
    persona_shadow_t shadow;

    (void)state;
    persona_shadow_begin(&shadow, 100, 0, ring, 8);
    persona_shadow_target(&shadow, 2, 0);               /* ready at 100 */
    assert_int_equal(persona_shadow_claim(&shadow, 50), 0);   /* takes one that boots; its successor at 150 */
    persona_shadow_advance(&shadow, 100);
    assert_int_equal(shadow.ready, 1);
    assert_int_equal(persona_shadow_claim(&shadow, 120), 1);
    assert_true(fabs(shadow.idle - 20) < 1e-9);
    persona_shadow_target(&shadow, 0, 160);             /* one ready since 150, one that boots since 120 */
    assert_true(fabs(shadow.idle - 30) < 1e-9 && fabs(shadow.waste - 140) < 1e-9);
    assert_int_equal(shadow.claims, 2);
    assert_int_equal(shadow.hits, 1);
}

/* Ten minutes apart, in the same working hours of each day for two weeks; each rival's best setting is known. */
static void rivals_do_what_they_say(void **state)
{
    static const char *const said[] = {"1", "from", "at least 1", "last", "ago"};
    double begin = 1700438400;    /* a Monday at 0:00 */
    persona_rivals_t *rivals = persona_rivals_create(60, begin, pool);
    persona_outcome_t o[PERSONA_RIVALS];
    int day, k, minute;

    (void)state;
    for (day = 0; day < 14; day++) {
        for (minute = 0; minute < 1440; minute += 5) {
            double at = begin + day * 86400.0 + minute * 60.0;

            persona_rivals_tick(rivals, at);
            if (day % 7 < 5 && minute >= 480 && minute < 1080 && minute % 10 == 0) {
                persona_rivals_arrival(rivals, at + 30);
                persona_rivals_end(rivals, at + 200);
            }
        }
    }
    for (k = 0; k < PERSONA_RIVALS; k++) {
        persona_rivals_best(rivals, (persona_rival_e)k, 1e5, begin + 14 * 86400.0, &o[k]);
        assert_int_equal(o[k].claims, 600);
        assert_non_null(strstr(o[k].setting, said[k]));
    }
    assert_string_equal(o[PERSONA_RIVAL_STATIC].setting, "1");
    assert_int_equal(o[PERSONA_RIVAL_STATIC].hits, 600);
    /* all the time, but for the boots: the first and one for each arrival */
    assert_float_equal(o[PERSONA_RIVAL_STATIC].idle, 14 * 86400.0 - 601 * 60, 1);
    assert_string_equal(o[PERSONA_RIVAL_SCHEDULE].setting, "1 from 08 to 18 h UTC Mon-Fri, else 0");
    /* the first of each day comes before the pool is made */
    assert_int_equal(o[PERSONA_RIVAL_SCHEDULE].hits, 590);
    assert_true(o[PERSONA_RIVAL_SCHEDULE].idle < 10 * 36000.0);
    assert_float_equal(o[PERSONA_RIVAL_SCHEDULE].waited, 10 * 30, .1);
    assert_float_equal(o[PERSONA_RIVAL_SCHEDULE].longest, 30, .01);
    assert_int_equal(o[PERSONA_RIVAL_BUFFER].hits, 600);
    assert_true(o[PERSONA_RIVAL_REACTIVE].hits > 580);
    assert_true(o[PERSONA_RIVAL_NAIVE].hits > 290);
    /* at no price nobody is waited for */
    persona_rivals_best(rivals, PERSONA_RIVAL_STATIC, 1e-3, begin + 14 * 86400.0, &o[0]);
    assert_int_equal(o[0].hits, 0);
    assert_float_equal(o[0].waited, 600 * 60, 1);
}

static void policy_through_the_seam(void **state)
{
    persona_forecast_t *forecast;
    persona_t persona = {.id = "p", .pool = {.min = 1, .max = 3, .wait_cost = -1}};
    persona_target_t target;
    apr_time_t at = apr_time_from_sec(1000000000);
    int k;

    (void)state;
    assert_int_equal(persona_forecast_create(&forecast, "model", pool), APR_SUCCESS);
    persona_forecast_price(forecast, 60, -1);
    persona_forecast_target(forecast, &persona, at, &target);
    assert_int_equal(target.ready, 1);
    persona_forecast_boot(forecast, "p", apr_time_from_sec(30));
    for (k = 0; k < 500; k++) {
        at += apr_time_from_sec(5);
        persona_forecast_arrival(forecast, "p", "u", NULL, at);
        persona_forecast_target(forecast, &persona, at, &target);
        assert_true(target.ready >= 1 && target.ready <= 3);
    }
    assert_int_equal(target.ready, 3);
    assert_non_null(strstr(target.reason, "ceiling"));
    persona_forecast_end(forecast, "p", at);
}

/* A model that was saved and one that went on give the same targets; damaged bytes are refused. */
static void state_survives_and_damage_is_refused(void **state)
{
    persona_forecast_t *forecast[2];
    persona_t persona = {.id = "p", .pool = {.min = 0, .max = 99, .wait_cost = -1}};
    persona_target_t target[2];
    double at = 1e9, next = at;
    apr_size_t len, k;
    char *data, *again;

    (void)state;
    assert_int_equal(persona_forecast_create(&forecast[0], "model", pool), APR_SUCCESS);
    assert_int_equal(persona_forecast_create(&forecast[1], "model", pool), APR_SUCCESS);
    seed = 5;
    for (; at < 1e9 + 5 * 86400; at += 30) {
        for (; next < at; next -= log(uniform()) * 100) {
            persona_forecast_arrival(forecast[0], "p", "someone", NULL, (apr_time_t)(next * 1e6));
        }
        persona_forecast_target(forecast[0], &persona, (apr_time_t)(at * 1e6), &target[0]);
    }
    persona_forecast_save(forecast[0], &data, &len, pool);
    assert_true(len > 1000 && len < 64 * 1024);
    for (k = 0; k < len; k += 97) {
        data[k] ^= 0x10;
        assert_int_equal(persona_forecast_load(forecast[1], data, len), APR_EINVAL);
        data[k] ^= 0x10;
        assert_int_equal(persona_forecast_load(forecast[1], data, k), APR_EINVAL);
    }
    assert_int_equal(persona_forecast_load(forecast[1], data, len), APR_SUCCESS);
    persona_forecast_save(forecast[1], &again, &k, pool);
    assert_int_equal(k, len);
    assert_memory_equal(data, again, len);
    for (k = 0; k < 100; k++, at += 30) {
        persona_forecast_target(forecast[0], &persona, (apr_time_t)(at * 1e6), &target[0]);
        persona_forecast_target(forecast[1], &persona, (apr_time_t)(at * 1e6), &target[1]);
    }
    assert_true(target[0].ready > 0 && target[0].ready == target[1].ready);
    assert_true(fabs(target[0].expected - target[1].expected) < .05 * target[0].expected);
}

static apr_array_header_t *events_of(const persona_date_t *event)
{
    apr_array_header_t *list = apr_array_make(pool, 1, sizeof(persona_date_t));

    APR_ARRAY_PUSH(list, persona_date_t) = *event;
    return list;
}

#define TUESDAY 20788    /* 2026-12-01 */
#define MOMENT(day, hour, minute) apr_time_from_sec(((apr_int64_t)(day)*24 + (hour)) * 3600 + (minute)*60)

/* "30 people, Tuesday 13:00": as many are ready in time, fewer as they come, and none when it is over. */
static void the_announced_are_made_ready_for(void **state)
{
    persona_date_t course = {"Course", 0, 1 << 20, 2, -1, 30, 13 * 3600, apr_time_from_sec(900), NULL, NULL};
    persona_t persona = {.id = "p", .pool = {.min = 0, .max = 100, .wait_cost = -1}};
    persona_target_t before, target;
    persona_forecast_t *forecast;
    apr_size_t len;
    char *data;
    int k;

    (void)state;
    persona.events = events_of(&course);
    persona_forecast_create(&forecast, "model", pool);
    persona_forecast_boot(forecast, "p", apr_time_from_sec(60));
    persona_forecast_target(forecast, &persona, MOMENT(TUESDAY, 12, 40), &before);
    persona_forecast_target(forecast, &persona, MOMENT(TUESDAY, 12, 50), &target);
    assert_int_equal(target.ready, before.ready);
    persona_forecast_target(forecast, &persona, MOMENT(TUESDAY, 12, 54), &target);
    assert_int_equal(target.ready, before.ready + 30);
    assert_non_null(strstr(target.reason, "30 to come for Course"));
    for (k = 0; k < 12; k++) {
        persona_forecast_arrival(forecast, "p", "u", NULL, MOMENT(TUESDAY, 12, 58) + k);
    }
    persona_forecast_target(forecast, &persona, MOMENT(TUESDAY, 12, 59), &target);
    assert_int_equal(target.ready, before.ready + 18);
    /* who came is not forgotten with the manager */
    persona_forecast_save(forecast, &data, &len, pool);
    persona_forecast_create(&forecast, "model", pool);
    assert_int_equal(persona_forecast_load(forecast, data, len), APR_SUCCESS);
    for (k = 0; k < 18; k++) {
        persona_forecast_target(forecast, &persona, MOMENT(TUESDAY, 13, 1) + apr_time_from_sec(5 * k), &target);
        assert_int_equal(target.ready, before.ready + 18 - k);
        persona_forecast_arrival(forecast, "p", "u", NULL, MOMENT(TUESDAY, 13, 1) + apr_time_from_sec(5 * k + 1));
    }
    persona_forecast_target(forecast, &persona, MOMENT(TUESDAY, 13, 5), &target);
    assert_int_equal(target.ready, before.ready);
    /* and the crowd has taught nothing: neither does it go on, nor will it come by itself next week */
    assert_true(target.expected <= before.expected * 1.01);
    /* nobody came the next time */
    persona_forecast_target(forecast, &persona, MOMENT(TUESDAY + 7, 12, 56), &target);
    assert_true(target.ready >= 30);
    for (k = 15; k < 30; k++) {
        persona_forecast_target(forecast, &persona, MOMENT(TUESDAY + 7, 13, k), &target);
    }
    assert_true(target.ready < 5);
    persona_forecast_target(forecast, &persona, MOMENT(TUESDAY + 8, 12, 56), &target);
    assert_true(target.ready < 5);
}

/* Of the site, for one persona, in the site's time zone (none here: UTC), within pool.max. */
static void a_site_has_dates_too(void **state)
{
    persona_date_t course = {NULL, TUESDAY, TUESDAY, -1, -1, 30, 0, apr_time_from_sec(900), NULL, NULL};
    apr_array_header_t *ids = apr_array_make(pool, 1, sizeof(const char *));
    persona_t p = {.id = "p", .pool = {.min = 0, .max = 20, .wait_cost = -1}};
    persona_t q = {.id = "q", .pool = {.min = 0, .max = 20, .wait_cost = -1}};
    persona_forecast_t *forecast;
    persona_explanation_t why;
    persona_target_t target;

    (void)state;
    APR_ARRAY_PUSH(ids, const char *) = "p";
    course.personas = ids;
    persona_forecast_create(&forecast, "model", pool);
    persona_forecast_dates(forecast, events_of(&course));
    persona_forecast_target(forecast, &p, MOMENT(TUESDAY - 1, 23, 57), &target);
    assert_int_equal(target.ready, 20);
    assert_non_null(strstr(target.reason, "ceiling: 30 to come for an event"));
    persona_forecast_target(forecast, &q, MOMENT(TUESDAY - 1, 23, 57), &target);
    assert_true(target.ready < 5);
    persona_forecast_dates(forecast, NULL);
    persona_forecast_target(forecast, &p, MOMENT(TUESDAY - 1, 23, 58), &target);
    persona_forecast_target(forecast, &p, MOMENT(TUESDAY, 0, 4), &target);
    assert_true(target.ready < 5);
    /* what will be said tomorrow is known today */
    persona_forecast_dates(forecast, events_of(&course));
    persona_forecast_explain(forecast, &p, MOMENT(TUESDAY - 3, 23, 58), &why, pool);
    assert_int_equal(why.announced, 0);
    persona_forecast_explain(forecast, &p, MOMENT(TUESDAY - 1, 23, 58), &why, pool);
    assert_int_equal(why.announced, 30);
    assert_int_equal(why.target, 20);
}

/* Two models see the same working days and quiet Sundays; one knows that a Tuesday is a holiday. */
static void a_holiday_goes_like_a_sunday(void **state)
{
    persona_date_t holiday = {"Holiday", TUESDAY + 28, TUESDAY + 28, -1, 0, 0, -1, 0, NULL, NULL};
    persona_t persona = {.id = "p", .pool = {.min = 0, .max = 500, .wait_cost = -1}};
    persona_forecast_t *forecast[2];
    persona_target_t target[2];
    double season[2][3], ahead[2];
    persona_explanation_t why;
    int k, day, step;

    (void)state;
    for (k = 0; k < 2; k++) {
        persona.events = k ? events_of(&holiday) : NULL;
        persona_forecast_create(&forecast[k], "model", pool);
        seed = 17;
        for (day = TUESDAY; day < TUESDAY + 36; day++) {
            int busy = (day + 4) % 7 != 0 && day != TUESDAY + 28;

            for (step = 0; step < 720; step++) {
                apr_time_t at = MOMENT(day, 0, 0) + apr_time_from_sec(step * 120);

                if (step >= 240 && step < 540 && uniform() < (busy ? .8 : .02)) {
                    persona_forecast_arrival(forecast[k], "p", NULL, NULL, at + 1);
                }
                persona_forecast_target(forecast[k], &persona, at + 2, &target[k]);
                if (step == 300 && day >= TUESDAY + 27 && day < TUESDAY + 30) {
                    persona_forecast_explain(forecast[k], &persona, at + 2, &why, pool);
                    season[k][day - TUESDAY - 27] = why.season;
                }
                if (step == 0 && day == TUESDAY + 27) {
                    persona_forecast_explain(forecast[k], &persona, MOMENT(TUESDAY + 28, 10, 0), &why, pool);
                    ahead[k] = why.season;
                }
            }
        }
    }
    printf("# arrivals an hour on a working day, the holiday, the next day: %.2f %.2f %.2f unknown, "
           "%.2f %.2f %.2f known\n",
           season[0][0], season[0][1], season[0][2], season[1][0], season[1][1], season[1][2]);
    assert_float_equal(season[0][0], season[1][0], .01);
    assert_true(season[0][1] > 3 && season[1][1] < .3 * season[0][1]);
    assert_true(season[1][2] > season[0][2]);    /* not mistaken for a working day's habit */
    assert_true(ahead[0] > 3 && ahead[1] < .3 * ahead[0]);
}

static void a_persona_stays_small(void **state)
{
    (void)state;
    assert_true(sizeof(persona_learned_entry_t) <= 64 * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regression_refuses_nonsense),
        cmocka_unit_test(regression_finds_the_rate),
        cmocka_unit_test(regression_learns_from_several),
        cmocka_unit_test(price_moves_by_what_is_expected),
        cmocka_unit_test(a_promise_has_its_limits),
        cmocka_unit_test(sizing_is_the_marginal_rule),
        cmocka_unit_test(a_target_that_falls_is_followed_with_patience),
        cmocka_unit_test(profile_learns_the_hour_and_the_day),
        cmocka_unit_test(profile_learns_a_sharp_hour),
        cmocka_unit_test(unwatched_hours_are_not_quiet_hours),
        cmocka_unit_test(shadow_pool_by_hand),
        cmocka_unit_test(targets_know_nothing_of_the_future),
        cmocka_unit_test(promised_hit_rate_is_kept),
        cmocka_unit_test(rivals_do_what_they_say),
        cmocka_unit_test(policy_through_the_seam),
        cmocka_unit_test(state_survives_and_damage_is_refused),
        cmocka_unit_test(the_announced_are_made_ready_for),
        cmocka_unit_test(a_site_has_dates_too),
        cmocka_unit_test(a_holiday_goes_like_a_sunday),
        cmocka_unit_test(a_persona_stays_small)
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}

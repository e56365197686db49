/* SPDX-License-Identifier: Apache-2.0 */
/* Scores of forecasts against known answers, and the fall to the buffer and back, on a simulated clock. */
#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forecast/feedback.h"
#include "forecast/plan.h"

#define BEGIN 1700006400.0
#define DAY 86400.0
#define LEAD 60.0

static unsigned long long seed;

/* Uniform in (0, 1), the same in every run. */
static double uniform(void)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return ((double)(seed >> 11) + .5) / 9007199254740992.0;
}

typedef struct sim_t {
    persona_feedback_t *feedback;
    double at, next;
    double every;            /* mean seconds between arrivals; 0: nobody comes */
    persona_demand_t demand; /* what the model says */
    int target;
    double kappa;
} sim_t;

static sim_t sim_begin(double every)
{
    sim_t sim = {apr_pcalloc(unit_pool, sizeof(persona_feedback_t)), BEGIN, BEGIN, every, {0, 0, 0, NULL}, 0, .05};

    seed = 11;
    sim.demand.mean = every > 0 ? LEAD / every : 0;
    return sim;
}

static void sim_run(sim_t *sim, double until)
{
    while (sim->at < until) {
        persona_feedback_now_t now = {&sim->demand, sim->target, 0, 200, LEAD, sim->kappa};

        persona_feedback_tick(sim->feedback, &now, sim->at, unit_pool);
        sim->at += 5;
        while (sim->every > 0 && sim->next < sim->at) {
            persona_feedback_arrival(sim->feedback, LEAD / sim->kappa, 1, sim->next);
            sim->next -= log(uniform()) * sim->every;
        }
    }
}

static int right_size(const sim_t *sim)
{
    int size;

    persona_plan_size(&sim->demand, &sim->kappa, 1, &size);
    return size;
}

static void a_true_forecast_scores_as_it_must(void **state)
{
    sim_t sim = sim_begin(20);
    persona_scores_t week;
    const persona_forecast_score_t *model = &week.forecast[PERSONA_FORECAST_MODEL];
    double entropy = 0, p = exp(-3.0);
    int k;

    (void)state;
    for (k = 0; k < 40; k++) {
        entropy -= p * log(p);
        p *= 3.0 / (k + 1);
    }
    sim.target = right_size(&sim);
    sim_run(&sim, BEGIN + 6 * DAY);
    persona_feedback_sum(sim.feedback, sim.at, &week);
    assert_true(week.windows > 6 * 1400 && week.windows < 6 * 1441);
    assert_true(fabs(model->log / week.windows - entropy) < .03);
    /* between the quantiles of Poisson(3), 1 and 6: P(1 <= N <= 6) = 0.917 */
    assert_true(fabs(model->covered / week.windows - .917) < .01);
    assert_true(fabs((model->expected - week.seen) / week.windows) < .06);
    assert_true(model->pinball / week.windows > .2 && model->pinball / week.windows < .4);
}

static void a_wrong_forecast_scores_worse(void **state)
{
    sim_t sim = sim_begin(20);
    persona_scores_t good, bad;

    (void)state;
    sim_run(&sim, BEGIN + DAY);
    persona_feedback_sum(sim.feedback, sim.at, &good);
    sim = sim_begin(20);
    sim.demand.mean = 9;
    sim_run(&sim, BEGIN + DAY);
    persona_feedback_sum(sim.feedback, sim.at, &bad);
    assert_true(bad.forecast[0].log > 1.5 * good.forecast[0].log);
    assert_true(bad.forecast[0].pinball > 1.5 * good.forecast[0].pinball);
    assert_true(bad.forecast[0].covered < .5 * good.forecast[0].covered);
    assert_true(fabs((bad.forecast[0].expected - bad.seen) / bad.windows - 6) < .2);
    assert_float_equal(bad.forecast[PERSONA_FORECAST_NAIVE].log, good.forecast[PERSONA_FORECAST_NAIVE].log, 1e-3);
}

/* What came a week ago: nothing is known of it in the first week, the daily rush is in the second. */
static void seasonal_naive_knows_last_week(void **state)
{
    persona_past_t past;
    int day, k;

    (void)state;
    memset(&past, 0, sizeof(past));
    persona_past_advance(&past, BEGIN);
    for (day = 0; day < 8; day++) {
        for (k = 0; k < 90; k++) {
            persona_past_arrival(&past, BEGIN + day * DAY + 9 * 3600 + k * 30);
        }
    }
    assert_true(fabs(persona_past_expected(&past, BEGIN + 8 * DAY + 9 * 3600 + 1200, 300, 7) - 10) < .01);
    assert_true(fabs(persona_past_expected(&past, BEGIN + 8 * DAY + 9 * 3600 + 1200, 300, 1) - 10) < .01);
    assert_true(persona_past_expected(&past, BEGIN + 8 * DAY + 15 * 3600, 300, 7) < .01);
    memset(&past, 0, sizeof(past));
    persona_past_arrival(&past, BEGIN);
    persona_past_arrival(&past, BEGIN + DAY);
    assert_true(fabs(persona_past_expected(&past, BEGIN + DAY, DAY / 2, 7) - .625) < .02);
}

static void idle_time_and_hits_are_counted(void **state)
{
    sim_t sim = sim_begin(0);
    persona_scores_t week;

    (void)state;
    sim.target = 4;
    sim_run(&sim, BEGIN + 3600);
    persona_feedback_sum(sim.feedback, sim.at, &week);
    /* four that were created in the first minute, until the last tick */
    assert_float_equal(week.pool[PERSONA_POOL_MODEL].idle, 4 * (3595 - 60), 1);
    assert_float_equal(week.pool[PERSONA_POOL_BUFFER].idle, 1 * (3595 - 60), 1);
    assert_float_equal(week.claims, 0, 0);
    persona_feedback_arrival(sim.feedback, 1000, 1, sim.at);
    persona_feedback_arrival(sim.feedback, 1000, 1, sim.at);
    persona_feedback_sum(sim.feedback, sim.at, &week);
    assert_float_equal(week.claims, 2, 0);
    assert_float_equal(week.pool[PERSONA_POOL_MODEL].hits, 2, 0);
    assert_float_equal(week.pool[PERSONA_POOL_BUFFER].hits, 1, 0);
    assert_float_equal(week.pool[PERSONA_POOL_BUFFER].cost - week.pool[PERSONA_POOL_BUFFER].idle, 1000, .5);
}

/* Boots that become shorter are so on paper too, though the target stays. */
static void pools_learn_the_lead_time(void **state)
{
    persona_demand_t demand = {1, 0, 0, NULL};
    persona_feedback_now_t now = {&demand, 1, 0, 10, 600, .05};
    persona_feedback_t *f = apr_pcalloc(unit_pool, sizeof(*f));
    persona_scores_t week;
    double at;

    (void)state;
    for (at = BEGIN; at < BEGIN + 700; at += 5) {
        persona_feedback_tick(f, &now, at, unit_pool);
    }
    now.lead = 20;
    persona_feedback_tick(f, &now, at, unit_pool);
    persona_feedback_arrival(f, 1000, 1, at);
    persona_feedback_tick(f, &now, at + 30, unit_pool);
    persona_feedback_arrival(f, 1000, 1, at + 31);
    persona_feedback_sum(f, at + 31, &week);
    assert_float_equal(week.claims, 2, 0);
    assert_float_equal(week.pool[PERSONA_POOL_MODEL].hits, 2, 0);
}

static void seven_days_are_remembered(void **state)
{
    sim_t sim = sim_begin(600);
    persona_scores_t week;
    double claims;

    (void)state;
    sim_run(&sim, BEGIN + 7 * DAY);
    persona_feedback_sum(sim.feedback, sim.at, &week);
    claims = week.claims;
    assert_true(claims > 800 && claims < 1200);
    sim.every = 0;
    sim_run(&sim, BEGIN + 10 * DAY);
    persona_feedback_sum(sim.feedback, sim.at, &week);
    assert_true(week.claims > claims * .4 && week.claims < claims * .7);
    sim_run(&sim, BEGIN + 15 * DAY);
    persona_feedback_sum(sim.feedback, sim.at, &week);
    assert_float_equal(week.claims, 0, 0);
    assert_true(week.windows > 7000);
}

static void the_rule_is_a_twentieth_on_a_hundred_claims(void **state)
{
    persona_scores_t sum = {.claims = 100};

    (void)state;
    sum.pool[PERSONA_POOL_BUFFER].cost = 1000;
    sum.pool[PERSONA_POOL_MODEL].cost = 1051;
    assert_true(persona_feedback_rule(&sum));
    sum.pool[PERSONA_POOL_MODEL].cost = 1049;
    assert_false(persona_feedback_rule(&sum));
    sum.pool[PERSONA_POOL_MODEL].cost = 9000;
    sum.claims = 99;
    assert_false(persona_feedback_rule(&sum));
}

/* A model that wants far too few falls; it rises when it has been good for long enough. */
static void a_bad_model_falls_and_comes_back(void **state)
{
    sim_t sim = sim_begin(60);
    persona_scores_t week;
    double fell;

    (void)state;
    sim.target = 0;
    sim_run(&sim, BEGIN + DAY);
    assert_true(sim.feedback->fallen);
    fell = sim.feedback->turned;
    assert_true(fell > BEGIN && fell <= BEGIN + 6 * 3600);
    /* the buffer that costs least at this price */
    assert_true(abs(persona_feedback_buffer(sim.feedback, 0, 200) - right_size(&sim)) <= 2);
    assert_int_equal(persona_feedback_buffer(sim.feedback, 0, 2), 2);
    assert_int_equal(persona_feedback_buffer(sim.feedback, 90, 200), 90);
    sim.target = right_size(&sim);
    sim_run(&sim, BEGIN + 3 * DAY);
    assert_true(sim.feedback->fallen);
    sim_run(&sim, BEGIN + 9 * DAY);
    assert_false(sim.feedback->fallen);
    assert_true(sim.feedback->turned > fell + 2 * DAY);
    persona_feedback_sum(sim.feedback, sim.at, &week);
    assert_true(week.pool[PERSONA_POOL_MODEL].cost < 1.05 * week.pool[PERSONA_POOL_BUFFER].cost);
}

static void a_night_that_nobody_watched_costs_nothing(void **state)
{
    sim_t sim = sim_begin(60);
    persona_scores_t before, after;

    (void)state;
    sim.target = 5;
    sim_run(&sim, BEGIN + DAY);
    persona_feedback_sum(sim.feedback, sim.at, &before);
    sim.at = sim.next = BEGIN + 1.5 * DAY;
    sim_run(&sim, sim.at + 10);
    persona_feedback_sum(sim.feedback, sim.at, &after);
    assert_true(after.pool[0].idle - before.pool[0].idle < 5 * 11);
    assert_true(after.windows <= before.windows + 1);
}

/* Who was announced is a claim of the pools and no surprise to the forecasts. */
static void the_announced_are_no_surprise(void **state)
{
    sim_t sim = sim_begin(0);
    persona_scores_t week;
    int k;

    (void)state;
    sim.target = 30;
    sim_run(&sim, BEGIN + 600);
    for (k = 0; k < 20; k++) {
        persona_feedback_arrival(sim.feedback, 1000, 0, sim.at);
    }
    sim_run(&sim, BEGIN + 900);
    persona_feedback_sum(sim.feedback, sim.at, &week);
    assert_float_equal(week.claims, 20, 0);
    assert_float_equal(week.seen, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(a_true_forecast_scores_as_it_must),
        UNIT_TEST(a_wrong_forecast_scores_worse),
        UNIT_TEST(seasonal_naive_knows_last_week),
        UNIT_TEST(idle_time_and_hits_are_counted),
        UNIT_TEST(pools_learn_the_lead_time),
        UNIT_TEST(seven_days_are_remembered),
        UNIT_TEST(the_rule_is_a_twentieth_on_a_hundred_claims),
        UNIT_TEST(a_bad_model_falls_and_comes_back),
        UNIT_TEST(a_night_that_nobody_watched_costs_nothing),
        UNIT_TEST(the_announced_are_no_surprise),
    };

    return UNIT_RUN(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Waits at a whole manager whose clock is set by hand: people come, stand in line, and are told how long it takes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "manager_site.h"

#define PEOPLE 160
#define STEP   apr_time_from_msec(200)
#define POLL   SECONDS(1)

typedef struct waiter_t {
    apr_time_t came, asks, told, served; /**< 0: not yet */
    double low, high;                    /**< as told first; < 0: nothing was */
} waiter_t;

static waiter_t people[PEOPLE];
static apr_time_t boot_ends[FAKE_MAX];

static double uniform(void)
{
    return (random() + 0.5) / 2147483648.0;
}

static apr_interval_time_t boot(void)
{
    double z = sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());

    return (apr_interval_time_t)(12e6 * exp(0.25 * z));
}

static json_t *claim(persona_manager_t *m, int n)
{
    return site_ask(m, "{'op': 'claim', 'persona': 'one', 'session': '%s', 'user': 'u%d', 'roles': [], 'app': 'app', "
                       "'arrived': %" APR_TIME_T_FMT "}", site_session(n), n, people[n].came);
}

/** One poll of a page. */
static void ask(persona_manager_t *m, int n)
{
    json_t *answer = claim(m, n), *eta = json_object_get(json_object_get(answer, "progress"), "eta");

    people[n].asks = site_now + POLL;
    if (!strcmp(json_string_value(json_object_get(answer, "status")), "ok")) {
        people[n].served = site_now;
    }
    else if (people[n].low < 0 && json_is_object(eta)) {
        /* what the page makes of it */
        people[n].low = floor(json_number_value(json_object_get(eta, "p10")));
        people[n].high = floor(json_number_value(json_object_get(eta, "p90"))) + 1;
        people[n].told = site_now;
    }
    json_decref(answer);
}

/** The boots whose time has come are over. */
static void boot_all(persona_manager_t *m)
{
    int i;

    for (i = 0; i < FAKE_MAX; i++) {
        fake_instance_t *in = &fake.instances[i];

        if (!in->exists || in->state != PERSONA_INSTANCE_CREATING) {
            boot_ends[i] = 0;
        }
        else if (!boot_ends[i]) {
            boot_ends[i] = in->created + boot();
        }
        else if (boot_ends[i] <= site_now) {
            persona_boot_probed(m, in->uuid, 1, "");
        }
    }
}

static void step(persona_manager_t *m)
{
    apr_time_t next = site_now + STEP;

    boot_all(m);
    site_round(m);
    site_now = next;
}

static void waits_are_between_the_marks(void **state)
{
    int n, done = 0, below = 0, above = 0, told = 0, silent = 0;
    persona_manager_t *m;

    (void)state;
    srandom(7);
    site.index_down = 1; /* the manager keeps the line */
    site_persona("one", 0, 240, "image");
    m = site_manager(0);
    /* Alone at first, later in crowds that come at once. */
    for (n = 0; n < PEOPLE; n++) {
        people[n] = (waiter_t){.low = -1, .high = -1,
                               .came = site_now + (n < 20 ? SECONDS(20 * n) : SECONDS(400 + n / 10 * 20) + n)};
        people[n].asks = people[n].came;
    }
    while (done < PEOPLE) {
        done = 0;
        for (n = 0; n < PEOPLE; n++) {
            if (!people[n].served && people[n].asks <= site_now) {
                ask(m, n);
            }
            done += people[n].served != 0;
        }
        step(m);
    }
    for (n = 0; n < PEOPLE; n++) {
        double wait = (double)(people[n].served - people[n].told) / APR_USEC_PER_SEC;

        if (people[n].low < 0) {
            silent++;
            continue;
        }
        told++;
        below += wait < people[n].low;
        above += wait > people[n].high;
    }
    printf("# %d waits: %d below, %d between, %d above the marks, %d were told nothing\n", PEOPLE, below,
           told - below - above, above, silent);
    assert_true(silent <= 3); /* the first, until its boot is measured */
    assert_true(told - below - above >= told * 7 / 10);
}

static void nothing_is_told_that_is_not_known(void **state)
{
    persona_manager_t *m;
    json_t *answer, *progress;
    int n;

    (void)state;
    site_persona("one", 0, 1, "image");
    m = site_manager(0);
    site_round(m);
    for (n = 1; n <= 2; n++) {
        answer = site_ask(m, "{'op': 'demand', 'persona': 'one', 'session': '%s', 'place': %d}", site_session(n), n);
        progress = json_object_get(answer, "progress");
        assert_true(json_is_null(json_object_get(progress, "eta"))); /* no boot was measured */
        assert_int_equal(json_integer_value(json_object_get(progress, "place")), n);
        json_decref(answer);
    }
    site_settle(m);
    assert_string_equal(site_assign(m, site_uuid(0), 1), "ok");
    answer = site_ask(m, "{'op': 'demand', 'persona': 'one', 'session': '%s', 'place': 1}", site_session(2));
    progress = json_object_get(answer, "progress");
    assert_true(json_is_null(json_object_get(progress, "eta"))); /* there is no room for another */
    json_decref(answer);
    answer = site_ask(m, "{'op': 'demand', 'persona': 'one', 'session': '%s', 'place': 0}", site_session(2));
    assert_null(json_object_get(json_object_get(answer, "progress"), "place"));
    json_decref(answer);
}

static void another_managers_boots_are_known(void **state)
{
    persona_manager_t *m = site_with_pool(2), *other = site_manager(0);
    json_t *answer;

    (void)state;
    fake_nth(0)->ready_at = fake_nth(0)->created + SECONDS(9);
    fake_nth(1)->ready_at = fake_nth(1)->created + SECONDS(10);
    site_round(m);
    site_round(other);
    answer = site_ask(other, "{'op': 'demand', 'persona': 'one', 'session': '%s', 'place': 3}", site_session(1));
    assert_true(json_number_value(json_object_get(json_object_get(json_object_get(answer, "progress"), "eta"), "p10")) >
                5);
    json_decref(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITE_TEST(waits_are_between_the_marks),
        SITE_TEST(nothing_is_told_that_is_not_known),
        SITE_TEST(another_managers_boots_are_known),
    };

    return apr_initialize() == APR_SUCCESS ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}

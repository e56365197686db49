/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a wait, against many waits that are played by other means: how often the real one is between the
 * marks. */
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/wait.h"

#define WAITS 1500

/** Boots of one kind: log-normal, or two humps. */
typedef struct kind_t {
    const char *name;
    double typical, spread;
    double slow;   /**< part of the boots that take four times as long */
    int measured, slots, ahead, others;
} kind_t;

static double uniform(void)
{
    return (random() + 0.5) / 2147483648.0;
}

static double boot(const kind_t *kind)
{
    double z = sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());

    return kind->typical * exp(kind->spread * z) * (uniform() < kind->slow ? 4 : 1);
}

/** The real thing: `count` boots, at most `slots` at a time, all begun as soon as may be; when the place-th is over. */
static double real_wait(const kind_t *kind, const double *took, int count, int place)
{
    double ends[256], busy[PERSONA_WAIT_SLOTS] = {0};
    int i, j;

    for (i = 0; i < count; i++) {
        int free = 0;

        for (j = 1; j < kind->slots - kind->others; j++) {
            free = busy[j] < busy[free] ? j : free;
        }
        busy[free] += took[i];
        ends[i] = busy[free];
    }
    for (i = 0; i < place; i++) { /* the place-th smallest */
        int least = i;

        for (j = i + 1; j < count; j++) {
            least = ends[j] < ends[least] ? j : least;
        }
        double swap = ends[i];
        ends[i] = ends[least];
        ends[least] = swap;
    }
    return ends[place - 1];
}

/** Somebody comes to place ahead + 1 of a line whose boots began `since` seconds ago. Shares below, between, above. */
static void play(const kind_t *kind, double share[3])
{
    int n;

    memset(share, 0, 3 * sizeof(*share));
    for (n = 0; n < WAITS; n++) {
        double boots[32], took[256], end, since = uniform() * kind->typical;
        persona_wait_t wait = {.boots = boots, .boot_count = kind->measured, .slots = kind->slots,
                               .place = kind->ahead + 1};
        persona_marks_t marks;
        int i, count = kind->ahead + 1, free = kind->slots - kind->others, begun = count < free ? count : free;

        for (i = 0; i < kind->measured; i++) {
            boots[i] = boot(kind);
        }
        for (i = 0; i < count; i++) {
            took[i] = i < begun ? since : 0; /* those under way are not over yet */
            do {
                took[i] = boot(kind);
            } while (i < begun && took[i] <= since);
        }
        for (i = 0; i < begun; i++) {
            wait.ages[wait.booting++] = since;
        }
        wait.more = count - begun;
        wait.others = 0;
        wait.slots = free;
        assert_true(persona_wait_marks(&wait, &marks));
        assert_true(marks.p10 >= 0 && marks.p10 <= marks.p50 && marks.p50 <= marks.p90);
        /* until it is in the line, and the page asks again */
        end = real_wait(kind, took, count, kind->ahead + 1) - since + 0.2 + uniform();
        share[end < marks.p10 ? 0 : end <= marks.p90 ? 1 : 2] += 1.0 / WAITS;
    }
}

static void eight_of_ten_waits_are_between_the_marks(void **state)
{
    static const kind_t kinds[] = {
        {"containers, next in line", 1, 0.2, 0, 32, 4, 0, 0},
        {"machines, next in line", 20, 0.15, 0, 32, 4, 0, 0},
        {"machines, few were measured", 20, 0.15, 0, 3, 4, 0, 0},
        {"machines of very different boots", 20, 0.6, 0, 32, 4, 0, 0},
        {"some boots take four times as long", 10, 0.15, 0.2, 32, 4, 0, 0},
        {"third, two boot at a time", 20, 0.15, 0, 32, 2, 2, 0},
        {"twelfth, four boot at a time", 10, 0.3, 0, 32, 4, 11, 0},
        {"fortieth, four boot at a time", 2, 0.3, 0, 32, 4, 39, 0},
        {"sixth, one at a time", 5, 0.3, 0, 32, 1, 5, 0},
    };
    size_t i;

    (void)state;
    srandom(20250101);
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        double share[3];

        play(&kinds[i], share);
        printf("# %-36s %4.1f %% below, %4.1f %% between, %4.1f %% above\n", kinds[i].name, 100 * share[0],
               100 * share[1], 100 * share[2]);
        assert_true(share[1] >= 0.72 && share[1] <= 0.96);
        assert_true(share[0] <= 0.2 && share[2] <= 0.2);
    }
}

static void nothing_is_said_that_is_not_known(void **state)
{
    double boots[] = {10, 11, 12};
    persona_wait_t wait = {.boots = boots, .boot_count = 3, .slots = 4, .place = 2, .more = 2}, other;
    persona_marks_t marks, again;

    (void)state;
    assert_true(persona_wait_marks(&wait, &marks));
    assert_true(persona_wait_marks(&wait, &again));
    assert_memory_equal(&marks, &again, sizeof(marks));
    other = wait;
    other.boot_count = 0; /* no boot was measured */
    assert_false(persona_wait_marks(&other, &marks));
    other.ready = 2; /* none is needed */
    assert_true(persona_wait_marks(&other, &marks));
    assert_true(marks.p90 < 4);
    other = wait;
    other.more = 1; /* there is no room for the second */
    assert_false(persona_wait_marks(&other, &marks));
    other.ready = 1;
    assert_true(persona_wait_marks(&other, &marks));
    other = wait;
    other.place = 0;
    assert_false(persona_wait_marks(&other, &marks));
    other.place = 1000000;
    assert_false(persona_wait_marks(&other, &marks));
}

static void what_makes_a_wait_longer(void **state)
{
    double boots[] = {10, 10.5, 11, 11.5, 12};
    persona_wait_t wait = {.boots = boots, .boot_count = 5, .slots = 2, .place = 1, .booting = 2, .more = 6,
                           .ages = {5, 5}}, other;
    persona_marks_t first, marks;

    (void)state;
    assert_true(persona_wait_marks(&wait, &first));
    assert_true(first.p10 > 2 && first.p90 < 10);
    other = wait;
    other.place = 5; /* two rounds later */
    assert_true(persona_wait_marks(&other, &marks));
    assert_true(marks.p10 > first.p90 + 10);
    other.slots = 6; /* more boots at a time */
    assert_true(persona_wait_marks(&other, &marks));
    assert_true(marks.p90 < 16);
    other = wait;
    other.booting = 0;
    other.delay = 30; /* after a failure */
    assert_true(persona_wait_marks(&other, &marks));
    assert_true(marks.p10 > 35);
    other.delay = 0;
    other.others = 2; /* other personas have both slots */
    assert_true(persona_wait_marks(&other, &marks));
    assert_true(marks.p10 > 9 && marks.p50 > first.p50 + 8);
    other = wait;
    other.ages[0] = other.ages[1] = 60; /* longer than any was: it may still take long */
    assert_true(persona_wait_marks(&other, &marks));
    assert_true(marks.p90 > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(eight_of_ten_waits_are_between_the_marks),
        UNIT_TEST(nothing_is_said_that_is_not_known),
        UNIT_TEST(what_makes_a_wait_longer),
    };

    return UNIT_RUN(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A compute that does not suffice for all: who gets its places. */
#include "unit.h"

#include <string.h>

#include "forecast/share.h"

static const double none[PERSONA_LIMITS] = {-1, -1, -1, -1};
static const double steep[] = {64, 32, 16, 8, 4, 2}, flat[] = {9, 9, 9, 9, 9, 9};

static persona_share_t want(double cpus, double memory, double gpus, int wish, const double *worth)
{
    persona_share_t share = {{cpus, memory, gpus, 1}, 0, wish, 0, worth, -1};

    return share;
}

static void where_there_is_room_everybody_gets_what_they_wish(void **state)
{
    persona_share_t shares[2] = {want(1, 1, 0, 6, steep), want(4, 8, 1, 3, flat)};
    double room[PERSONA_LIMITS] = {18, 30, 3, 9};

    (void)state;
    assert_int_equal(persona_share(shares, 2, none), 0);
    assert_int_equal(shares[0].granted, 6);
    assert_int_equal(shares[1].granted, 3);
    assert_int_equal(persona_share(shares, 2, room), 0);
    assert_int_equal(shares[0].granted + shares[1].granted, 9);
    assert_int_equal(persona_share(shares, 0, none), 0);
}

static void the_most_worth_comes_first(void **state)
{
    persona_share_t shares[2] = {want(1, 1, 0, 6, steep), want(1, 1, 0, 6, flat)};
    double room[PERSONA_LIMITS] = {-1, 5, -1, -1};

    (void)state;
    /* 64, 32, 16, then 9, 9 */
    assert_int_equal(persona_share(shares, 2, room), 1);
    assert_int_equal(shares[0].granted, 3);
    assert_int_equal(shares[1].granted, 2);
    room[PERSONA_LIMIT_MEMORY] = 11;
    persona_share(shares, 2, room);
    assert_int_equal(shares[0].granted, 5);
    assert_int_equal(shares[1].granted, 6);
}

/* What takes much of what is scarce must be worth as much more. */
static void worth_is_for_what_it_takes(void **state)
{
    persona_share_t shares[2] = {want(1, 1, 0, 6, flat), want(1, 4, 0, 2, steep)};
    double room[PERSONA_LIMITS] = {-1, 8, -1, -1};

    (void)state;
    /* per part of the memory: 72 each, against 128 and 64 */
    persona_share(shares, 2, room);
    assert_int_equal(shares[0].granted, 4);
    assert_int_equal(shares[1].granted, 1);
    /* where only their number is limited, size is nothing */
    room[PERSONA_LIMIT_MEMORY] = -1;
    room[PERSONA_LIMIT_INSTANCES] = 3;
    persona_share(shares, 2, room);
    assert_int_equal(shares[0].granted, 1);
    assert_int_equal(shares[1].granted, 2);
}

static void what_does_not_fit_leaves_room_to_others(void **state)
{
    persona_share_t shares[2] = {want(1, 1, 1, 3, steep), want(1, 1, 0, 6, flat)};
    double room[PERSONA_LIMITS] = {6, 100, 1, -1};

    (void)state;
    assert_int_equal(persona_share(shares, 2, room), 1);
    assert_int_equal(shares[0].granted, 1);
    assert_int_equal(shares[1].granted, 5);
    room[PERSONA_LIMIT_GPUS] = 0;
    persona_share(shares, 2, room);
    assert_int_equal(shares[0].granted, 0);
    assert_int_equal(shares[1].granted, 6);
}

static void floors_come_before_worth(void **state)
{
    persona_share_t shares[3] = {want(1, 1, 0, 6, steep), want(1, 1, 0, 6, flat), want(1, 1, 0, 6, flat)};
    double room[PERSONA_LIMITS] = {-1, -1, -1, 5};

    (void)state;
    shares[1].least = shares[2].least = 2;
    persona_share(shares, 3, room);
    assert_int_equal(shares[0].granted, 1);
    assert_int_equal(shares[1].granted, 2);
    assert_int_equal(shares[2].granted, 2);
    /* if not even these suffice, each has its turn */
    room[PERSONA_LIMIT_INSTANCES] = 3;
    persona_share(shares, 3, room);
    assert_int_equal(shares[1].granted, 2);
    assert_int_equal(shares[2].granted, 1);
    assert_int_equal(shares[0].granted, 0);
}

static void places_do_not_wander(void **state)
{
    static const double a[] = {10, 10}, b[] = {11, 11}, c[] = {13, 13};
    persona_share_t shares[2] = {want(1, 1, 0, 2, a), want(1, 1, 0, 2, b)};
    double room[PERSONA_LIMITS] = {-1, -1, -1, 2};

    (void)state;
    shares[0].held = 2;
    persona_share(shares, 2, room);
    assert_int_equal(shares[0].granted, 2);
    shares[1].worth = c;
    persona_share(shares, 2, room);
    assert_int_equal(shares[1].granted, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(where_there_is_room_everybody_gets_what_they_wish),
        UNIT_TEST(the_most_worth_comes_first),
        UNIT_TEST(worth_is_for_what_it_takes),
        UNIT_TEST(what_does_not_fit_leaves_room_to_others),
        UNIT_TEST(floors_come_before_worth),
        UNIT_TEST(places_do_not_wander),
    };

    return UNIT_RUN(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy "pattern": what an administrator wrote, and nothing learned. It is what a pool holds before there
 * is any history, and what the learned model falls back to.
 *
 *   low     pool.min
 *   medium  pool.min + a tenth of the room up to pool.max, at least 1 and at most 5 more
 *   high    pool.min + a quarter of that room, at least 2 and at most 10 more
 *
 * never above pool.max. The level is that of the hour in the persona's time zone, moved by that of the weekday.
 */
#include "forecast/policy.h"

#include <apr_strings.h>

#include "persona/tz.h"

static const struct {
    const char *name;
    int part, least, most;   /* room / part, between least and most */
} levels[] = {
    [PERSONA_USAGE_LOW] = { "low", 0, 0, 0 },
    [PERSONA_USAGE_MEDIUM] = { "medium", 10, 1, 5 },
    [PERSONA_USAGE_HIGH] = { "high", 4, 2, 10 }
};

persona_usage_e persona_pattern_level_of(const persona_usage_t *usage, int hour, int weekday)
{
    int level = usage->hourly[hour];

    if (level == PERSONA_USAGE_LOW) {
        return PERSONA_USAGE_LOW;
    }
    level += (int)usage->daily[weekday] - (int)PERSONA_USAGE_MEDIUM;
    if (level > PERSONA_USAGE_HIGH) {
        return PERSONA_USAGE_HIGH;
    }
    return level < PERSONA_USAGE_LOW ? PERSONA_USAGE_LOW : (persona_usage_e)level;
}

static void *pattern_create(apr_pool_t *p)
{
    (void)p;
    return NULL;
}

static void pattern_target(void *baton, const persona_t *persona, apr_time_t at, persona_target_t *target)
{
    static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    int room = persona->pool.max - persona->pool.min, more = 0;
    persona_tz_local_t local;
    persona_usage_e level;

    (void)baton;
    persona_tz_local(persona->usage.zone, at, &local);
    level = persona_pattern_level_of(&persona->usage, local.hour, local.weekday);
    if (levels[level].part) {
        more = (room + levels[level].part - 1) / levels[level].part;
        more = more < levels[level].least ? levels[level].least : more;
        more = more > levels[level].most ? levels[level].most : more;
        more = more > room ? room : more;
    }
    target->ready = persona->pool.min + (more > 0 ? more : 0);
    target->expected = more > 0 ? more : 0;
    apr_snprintf(target->reason, sizeof(target->reason), "pattern %s at %dh %s", levels[level].name, local.hour,
                 days[local.weekday]);
}

const persona_policy_t persona_policy_pattern = {
    .name = "pattern", .create = pattern_create, .target = pattern_target
};

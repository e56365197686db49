/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The announced. The state is part of the persona's entry.
 */
#include "forecast/agenda.h"

#include <math.h>
#include <string.h>

#include "persona/dates.h"
#include "persona/tz.h"

#define PLACES PERSONA_AGENDA_PLACES
/* Some come before the time: all is ready so many seconds earlier. */
#define EARLY 300.0

static const apr_array_header_t *list_of(const persona_t *persona, const apr_array_header_t *site, int which)
{
    return which ? site : persona->events;
}

int persona_agenda_like(const persona_t *persona, const apr_array_header_t *site, apr_int64_t day)
{
    int which, k;

    for (which = 0; which < 2; which++) {
        const apr_array_header_t *list = list_of(persona, site, which);

        for (k = 0; list && k < list->nelts; k++) {
            const persona_date_t *event = &APR_ARRAY_IDX(list, k, persona_date_t);

            if (event->like >= 0 && persona_date_on(event, persona, day)) {
                return event->like;
            }
        }
    }
    return -1;
}

/* When the clock of the zone shows this second of this day. */
static double moment_of(const persona_tz_t *zone, apr_int64_t day, int second)
{
    apr_int64_t local = day * 86400 + second;
    int offset = persona_tz_offset(zone, apr_time_from_sec(local));

    /* Near a change of the clock the first guess may be on its other side. */
    offset = persona_tz_offset(zone, apr_time_from_sec(local - offset));
    return (double)(local - offset);
}

static apr_uint64_t key_of(const persona_date_t *event, double start)
{
    apr_uint64_t key = 14695981039346656037ULL ^ (apr_uint64_t)start;
    const char *c;

    for (c = event->title ? event->title : "-"; *c; c++) {
        key = (key ^ (unsigned char)*c) * 1099511628211ULL;
    }
    return key ? key : 1;
}

/* The place of a gathering that is on; the first that is over makes room. NULL: there is none. */
static persona_gathering_t *place_of(persona_agenda_t *agenda, apr_uint64_t key, double at)
{
    persona_gathering_t *free_one = NULL;
    int k;

    for (k = 0; k < PLACES; k++) {
        persona_gathering_t *g = &agenda->place[k];

        if (g->key == key) {
            return g;
        }
        if (!free_one && (!g->key || g->closes <= at)) {
            free_one = g;
        }
    }
    if (free_one) {
        memset(free_one, 0, sizeof(*free_one));
        free_one->key = key;
    }
    return free_one;
}

/* How many of the event's people are still to come, of those of local `day`. */
static int look_at(persona_agenda_t *agenda, const persona_date_t *event, double start, double at, double lead)
{
    double closes = start + (double)event->within / APR_USEC_PER_SEC;
    persona_gathering_t *g;

    if (at < start - EARLY - lead || at >= closes) {
        return 0;
    }
    g = place_of(agenda, key_of(event, start), at);
    if (!g) {
        return 0;
    }
    g->closes = closes;
    g->people = event->people;
    if (g->came < g->people && !agenda->title) {
        agenda->title = event->title;
    }
    return g->came < g->people ? (int)(g->people - g->came) : 0;
}

int persona_agenda_look(persona_agenda_t *agenda, const persona_t *persona, const apr_array_header_t *site, double at,
                        double lead)
{
    int which, k, sum = 0;

    agenda->title = NULL;
    for (which = 0; which < 2; which++) {
        const apr_array_header_t *list = list_of(persona, site, which);

        for (k = 0; list && k < list->nelts; k++) {
            const persona_date_t *event = &APR_ARRAY_IDX(list, k, persona_date_t);
            const persona_tz_t *zone = event->zone ? event->zone : persona->usage.zone;
            persona_tz_local_t local;
            apr_int64_t day;

            if (!event->people) {
                continue;
            }
            persona_tz_local(zone, (apr_time_t)(at * 1e6), &local);
            for (day = local.day - 1; day <= local.day + 1; day++) {
                if (persona_date_on(event, persona, day)) {
                    sum += look_at(agenda, event, moment_of(zone, day, event->second), at, lead);
                }
            }
        }
    }
    return sum;
}

int persona_agenda_arrival(persona_agenda_t *agenda, double at)
{
    int k;

    for (k = 0; k < PLACES; k++) {
        persona_gathering_t *g = &agenda->place[k];

        if (g->key && at < g->closes && g->came < g->people) {
            g->came++;
            return 1;
        }
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file agenda.h
 * @brief People who were announced (persona/dates.h): who of them is still to come, and which weekday a day is like.
 *
 * From a boot time and some minutes before an event begins until it is over, as many instances are kept beside the
 * forecast's as are still to come. Who comes meanwhile is taken for one of them, until all have come: the model is not
 * told, for it would expect the crowd to go on, and expect it again in a week, when it may be announced anew.
 */
#ifndef PERSONA_FORECAST_AGENDA_H
#define PERSONA_FORECAST_AGENDA_H

#include <apr_tables.h>

#include "persona.h"

/** Events of one persona that are on at the same time; more are forgotten. */
#define PERSONA_AGENDA_PLACES 8

/** An event that is on. */
typedef struct persona_gathering_t {
    apr_uint64_t key;            /**< of this event on this day; 0: free */
    double closes;               /**< seconds since the epoch */
    apr_int64_t people, came;
} persona_gathering_t;

typedef struct persona_agenda_t {
    persona_gathering_t place[PERSONA_AGENDA_PLACES];
    const char *title;           /**< of one with somebody still to come; NULL: it has none; as long as the event */
} persona_agenda_t;

/** What is on at `at`, of the persona's events and the site's (either may be NULL). How many are still to come. */
int persona_agenda_look(persona_agenda_t *agenda, const persona_t *persona, const apr_array_header_t *site, double at,
                        double lead);
/** Somebody came: 1 if that was one of those announced. */
int persona_agenda_arrival(persona_agenda_t *agenda, double at);
/** The weekday that a local day (since 1970-01-01) is like; -1: its own. The persona's events go before the site's. */
int persona_agenda_like(const persona_t *persona, const apr_array_header_t *site, apr_int64_t day);

#endif

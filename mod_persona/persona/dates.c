/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file dates.c
 * @brief Reads events, and tells everything wrong with them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "document.h"
#include "dates.h"
#include "keys.h"
#include "text.h"
#include "tz.h"

#define EVENTS_MAX   512
#define PEOPLE_MAX   10000
#define TITLE_MAX    255
#define SECOND       ((apr_int64_t)APR_USEC_PER_SEC)
#define WITHIN_START (900 * SECOND)
#define WITHIN_MOST  (43200 * SECOND)
/** An event without an end; no day is later. */
#define NEVER        ((apr_int64_t)1 << 40)
#define NO_DAY       (-NEVER)

#define EVENT(member) offsetof(persona_date_t, member)

/** Days from 1970-01-01 to a date of the Gregorian calendar: counted in years that begin in March. */
static apr_int64_t day_of(int year, int month, int day)
{
    int y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;

    return (apr_int64_t)y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static int month_length(int year, int month)
{
    static const int length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : length[month - 1];
}

/** Two or four digits; -1: they are none. */
static int digits(const char *text, int count)
{
    int value = 0;

    for (int i = 0; i < count; i++) {
        if (!apr_isdigit(text[i])) {
            return -1;
        }
        value = 10 * value + text[i] - '0';
    }
    return value;
}

static void wrong(persona_reader_t *reader, const json_t *json, const persona_node_t *node, const char *right)
{
    persona_reader_error(reader, node, "must be %s; found %s", right, persona_reader_found(json, reader->scratch));
}

static void read_date(persona_reader_t *reader, const persona_key_t *key, json_t *json, const persona_node_t *node,
                      void *to)
{
    const char *text = json_string_value(json);
    int year, month, day;

    (void)key;
    if (!text || strlen(text) != 10 || text[4] != '-' || text[7] != '-' || (year = digits(text, 4)) < 1970 ||
        (month = digits(text + 5, 2)) < 1 || month > 12 || (day = digits(text + 8, 2)) < 1 ||
        day > month_length(year, month)) {
        wrong(reader, json, node, "a date of the calendar as YYYY-MM-DD, such as \"2026-12-24\"");
        return;
    }
    *(apr_int64_t *)to = day_of(year, month, day);
}

static void read_time(persona_reader_t *reader, const persona_key_t *key, json_t *json, const persona_node_t *node,
                      void *to)
{
    const char *text = json_string_value(json);
    int hour, minute;

    (void)key;
    if (!text || strlen(text) != 5 || text[2] != ':' || (hour = digits(text, 2)) < 0 || hour > 23 ||
        (minute = digits(text + 3, 2)) < 0 || minute > 59) {
        wrong(reader, json, node, "a time of day as HH:MM from 00:00 to 23:59, such as \"13:00\"");
        return;
    }
    *(int *)to = hour * 3600 + minute * 60;
}

/* In the order of struct tm: the word's position is the weekday. */
static const char *const weekday_words[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

#define COMMON_KEYS                                                                                                    \
    {.name = "title", .type = PERSONA_KEY_TEXT, .offset = EVENT(title), .max = TITLE_MAX, .right = "\"Christmas\""},   \
        {.name = "date", .type = PERSONA_KEY_OTHER, .offset = EVENT(first), .read = read_date,                         \
         .right = "\"2026-12-24\""},                                                                                   \
        {.name = "until", .type = PERSONA_KEY_OTHER, .offset = EVENT(last), .read = read_date,                         \
         .right = "\"2026-12-26\""},                                                                                   \
        {.name = "weekday", .type = PERSONA_KEY_WORD, .offset = EVENT(weekday), .words = weekday_words,                \
         .right = "\"tue\""},                                                                                          \
        {.name = "like", .type = PERSONA_KEY_WORD, .offset = EVENT(like), .words = weekday_words,                      \
         .right = "\"sun\""},                                                                                          \
        {.name = "people", .type = PERSONA_KEY_INT, .offset = EVENT(people), .min = 1, .max = PEOPLE_MAX,              \
         .right = "30"},                                                                                               \
        {.name = "time", .type = PERSONA_KEY_OTHER, .offset = EVENT(second), .read = read_time,                        \
         .right = "\"13:00\""},                                                                                        \
        {.name = "within", .type = PERSONA_KEY_DURATION, .offset = EVENT(within), .min = 60 * SECOND,                  \
         .max = WITHIN_MOST, .right = "\"15m\""}

const persona_key_t persona_date_keys[] = {COMMON_KEYS, {.name = NULL}};

static const persona_key_t site_event_keys[] = {
    COMMON_KEYS,
    {.name = "personas", .type = PERSONA_KEY_TEXTS, .offset = EVENT(personas), .max = PERSONA_NAME_MAX,
     .check = persona_check_name, .right = "[\"cad-designer\"]"},
    {.name = NULL},
};

/** What must hold between the values of an event, of which all are good. */
static void check_event(persona_reader_t *reader, persona_date_t *event, const persona_node_t *node, int of_site)
{
    if (event->first == NO_DAY && event->weekday < 0) {
        persona_reader_error(reader, node, "when is it? Add \"date\", such as \"2026-12-24\", or \"weekday\", such as "
                                           "\"tue\" for each week");
    }
    if (event->last != NEVER && event->last < event->first) {
        persona_reader_error(reader, persona_node_key(node, "until"),
                             "lies before \"date\"; write the last day of the event");
    }
    if ((event->people > 0) != (event->second >= 0)) {
        persona_reader_error(reader, node, "\"people\" and \"time\" belong together: add \"%s\", such as %s",
                             event->people ? "time" : "people", event->people ? "\"13:00\"" : "30");
    }
    else if (!event->people && event->like < 0) {
        persona_reader_error(reader, node, "says nothing: add \"like\", such as \"sun\" for a holiday, or \"people\" "
                                           "and \"time\"");
    }
    if (!event->people && persona_node_key(node, "within")) {
        persona_reader_error(reader, persona_node_key(node, "within"), "is of \"people\" who come; take it out");
    }
    if (of_site && event->people && (!event->personas || !event->personas->nelts)) {
        persona_reader_error(reader, node, "which persona do these people want? Add \"personas\", such as "
                                           "[\"cad-designer\"]");
    }
}

/** A list of at most EVENTS_MAX events; NULL: it is none, and that was noted. */
static apr_array_header_t *read_list(persona_reader_t *reader, json_t *json, const persona_node_t *node, int of_site)
{
    apr_array_header_t *list = apr_array_make(reader->p, 4, sizeof(persona_date_t));
    const persona_node_t *child = node->children;

    if (!json_is_array(json) || json_array_size(json) > EVENTS_MAX) {
        wrong(reader, json, node,
              apr_psprintf(reader->scratch, "an array of at most %d events, such as "
                                            "[{\"date\": \"2026-12-24\", \"like\": \"sun\"}]", EVENTS_MAX));
        return NULL;
    }
    for (apr_size_t i = 0; i < json_array_size(json) && child; i++, child = child->next) {
        persona_date_t *event = apr_array_push(list);
        int errors = reader->count;

        *event = (persona_date_t){NULL, NO_DAY, NEVER, -1, -1, 0, -1, WITHIN_START, NULL, NULL};
        persona_reader_object(reader, of_site ? site_event_keys : persona_date_keys, json_array_get(json, i), child,
                              event);
        if (reader->count == errors) {
            check_event(reader, event, child, of_site);
        }
        if (event->last == NEVER && event->weekday < 0) {
            event->last = event->first;
        }
    }
    return list;
}

void persona_dates_read(persona_reader_t *reader, const persona_key_t *key, json_t *json, const persona_node_t *node,
                         void *to)
{
    (void)key;
    *(const apr_array_header_t **)to = read_list(reader, json, node, 0);
}

/* ---- the site's file ---- */

typedef struct site_events_t {
    persona_usage_t usage;      /**< for its zone */
    apr_array_header_t *events;
} site_events_t;

static void read_site_events(persona_reader_t *reader, const persona_key_t *key, json_t *json,
                             const persona_node_t *node, void *to)
{
    (void)key;
    *(apr_array_header_t **)to = read_list(reader, json, node, 1);
}

static void pass_over(persona_reader_t *reader, const persona_key_t *key, json_t *json, const persona_node_t *node,
                      void *to)
{
    (void)key;
    (void)to;
    if (!json_is_string(json)) {
        wrong(reader, json, node, "a string, such as \"events.schema.json\"");
    }
}

static const persona_key_t site_keys[] = {
    {.name = "$schema", .type = PERSONA_KEY_OTHER, .read = pass_over},
    {.name = "timezone", .type = PERSONA_KEY_OTHER, .required = 1, .offset = offsetof(site_events_t, usage.timezone),
     .read = persona_keys_read_zone, .right = "\"Europe/Berlin\""},
    {.name = "events", .type = PERSONA_KEY_OTHER, .required = 1, .offset = offsetof(site_events_t, events),
     .read = read_site_events, .keys = site_event_keys, .right = "[{\"date\": \"2026-12-24\", \"like\": \"sun\"}]"},
    {.name = NULL},
};

apr_array_header_t *persona_dates_parse(const char *file, const char *text, apr_size_t len, apr_array_header_t *errors,
                                         apr_pool_t *p)
{
    persona_reader_t reader = {apr_pstrdup(p, file), errors, 0, 0, NULL, p};
    site_events_t site;
    const persona_node_t *root;
    json_t *json;

    memset(&site, 0, sizeof(site));
    apr_pool_create(&reader.scratch, p);
    json = persona_document_parse(&reader, text, len, &root);
    if (json) {
        persona_reader_object(&reader, site_keys, json, root, &site);
    }
    apr_pool_destroy(reader.scratch);
    if (!json || reader.count) {
        return NULL;
    }
    for (int i = 0; i < site.events->nelts; i++) {
        APR_ARRAY_IDX(site.events, i, persona_date_t).zone = site.usage.zone;
    }
    return site.events;
}

static apr_array_header_t *unreadable(const char *path, const char *why, apr_array_header_t *errors, apr_pool_t *p)
{
    persona_error_t *error = apr_array_push(errors);

    *error = (persona_error_t){apr_pstrdup(p, path), 0, 0, NULL, apr_pstrdup(p, why)};
    return NULL;
}

apr_array_header_t *persona_dates_load(const char *path, apr_array_header_t *errors, apr_pool_t *p)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    apr_array_header_t *events;
    apr_size_t len = 0;
    struct stat st;
    ssize_t n = 1;
    char *text, reason[128];

    if (fd < 0) {
        return unreadable(path, apr_psprintf(p, "cannot be read: %s", apr_strerror(errno, reason, sizeof(reason))),
                          errors, p);
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > PERSONA_DATES_FILE_MAX) {
        close(fd);
        return unreadable(path, "must be a regular file of at most 1024 KiB", errors, p);
    }
    text = apr_palloc(p, (apr_size_t)st.st_size + 1);
    while (n > 0 && len < (apr_size_t)st.st_size) {
        n = read(fd, text + len, (apr_size_t)st.st_size - len);
        len += n > 0 ? (apr_size_t)n : 0;
        n = n < 0 && errno == EINTR ? 1 : n;
    }
    text[len] = '\0';
    events = n < 0 ? unreadable(path, "cannot be read", errors, p) : persona_dates_parse(path, text, len, errors, p);
    close(fd);
    return events;
}

apr_uint64_t persona_dates_stamp(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        return (apr_uint64_t)errno;
    }
    return ((apr_uint64_t)st.st_ino * 1000003u + (apr_uint64_t)st.st_size) * 1000003u +
           (apr_uint64_t)st.st_mtim.tv_sec * 1000000007u + (apr_uint64_t)st.st_mtim.tv_nsec +
           (apr_uint64_t)st.st_ctim.tv_nsec * 31u + (apr_uint64_t)st.st_mode;
}

int persona_date_on(const persona_date_t *event, const persona_t *persona, apr_int64_t day)
{
    if (day < event->first || day > event->last || (event->weekday >= 0 && (day + 4) % 7 != event->weekday)) {
        return 0;
    }
    for (int i = 0; event->personas && i < event->personas->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(event->personas, i, const char *), persona->id)) {
            return 1;
        }
    }
    return !event->personas;
}

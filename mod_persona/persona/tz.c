/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time zones as offset tables: reads TZif (RFC 8536). A table is immutable once made and lives in the pool it
 * was made in. Its transitions are in ascending order; the first entry holds for all time before the second.
 */
#include "persona/tz.h"

#include <apr_file_io.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

#define ZONEINFO "/usr/share/zoneinfo"
#define TZIF_MAX (256 * 1024)
#define HEADER_LEN 44
/* The footer's rule is expanded up to this year; later moments use the last offset. */
#define LAST_YEAR 2120

typedef struct transition_t {
    apr_int64_t at;    /* seconds since the epoch, UTC */
    int offset;        /* seconds east of UTC from then on */
} transition_t;

struct persona_tz_t {
    int count;
    const transition_t *transitions;
};

/* One day-of-year rule of a POSIX TZ string. */
typedef struct rule_t {
    enum { RULE_MONTH, RULE_JULIAN, RULE_DAY } kind;
    int month, week, day;
    int seconds;       /* of the day, on the clock that is left */
} rule_t;

static apr_uint32_t read32(const unsigned char *b)
{
    return (apr_uint32_t)b[0] << 24 | (apr_uint32_t)b[1] << 16 | (apr_uint32_t)b[2] << 8 | b[3];
}

static apr_int64_t read64(const unsigned char *b)
{
    return (apr_int64_t)((apr_uint64_t)read32(b) << 32 | read32(b + 4));
}

static int is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days since 1970-01-01 of a Gregorian date. */
static apr_int64_t days_of(int year, int month, int day)
{
    static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    apr_int64_t y = year - 1;

    return y * 365 + y / 4 - y / 100 + y / 400 - 719162 + before[month - 1] + (month > 2 && is_leap(year)) + day
           - 1;
}

static int month_length(int year, int month)
{
    static const int length[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    return length[month - 1] + (month == 2 && is_leap(year));
}

static int parse_number(const char **s, int max)
{
    int n = 0, digits = 0;

    while (apr_isdigit(**s) && digits < 4) {
        n = n * 10 + (**s - '0');
        (*s)++;
        digits++;
    }
    return digits && n <= max ? n : -1;
}

/* [+-]hh[:mm[:ss]] in seconds; 1 when it is well formed. */
static int parse_hms(const char **s, int *seconds)
{
    int sign = 1, part, unit = 3600;

    if (**s == '+' || **s == '-') {
        sign = *(*s)++ == '-' ? -1 : 1;
    }
    part = parse_number(s, 167);
    if (part < 0) {
        return 0;
    }
    *seconds = part * unit;
    while (**s == ':' && unit > 1) {
        (*s)++;
        unit /= 60;
        part = parse_number(s, 59);
        if (part < 0) {
            return 0;
        }
        *seconds += part * unit;
    }
    *seconds *= sign;
    return 1;
}

static int parse_abbreviation(const char **s)
{
    const char *start = *s;

    if (**s == '<') {
        while (**s && **s != '>') {
            (*s)++;
        }
        return *(*s) ? (*s)++, 1 : 0;
    }
    while (apr_isalpha(**s)) {
        (*s)++;
    }
    return *s - start >= 3;
}

static int parse_rule(const char **s, rule_t *rule)
{
    if (*(*s)++ != ',') {
        return 0;
    }
    rule->month = rule->week = 0;
    if (**s == 'M') {
        (*s)++;
        rule->kind = RULE_MONTH;
        rule->month = parse_number(s, 12);
        if (rule->month < 1 || *(*s)++ != '.') {
            return 0;
        }
        rule->week = parse_number(s, 5);
        if (rule->week < 1 || *(*s)++ != '.') {
            return 0;
        }
        rule->day = parse_number(s, 6);
    }
    else {
        rule->kind = **s == 'J' ? RULE_JULIAN : RULE_DAY;
        *s += **s == 'J';
        rule->day = parse_number(s, 365);
    }
    rule->seconds = 7200;
    if (rule->day < 0) {
        return 0;
    }
    if (**s == '/') {
        (*s)++;
        return parse_hms(s, &rule->seconds);
    }
    return 1;
}

/* The moment of `rule` in `year` for a clock that is `offset` east of UTC until then. */
static apr_int64_t rule_moment(const rule_t *rule, int year, int offset)
{
    apr_int64_t day = days_of(year, 1, 1);

    if (rule->kind == RULE_DAY) {
        day += rule->day;
    }
    else if (rule->kind == RULE_JULIAN) {
        day += rule->day - 1 + (is_leap(year) && rule->day > 59);
    }
    else {
        apr_int64_t first = days_of(year, rule->month, 1);
        int skip = (int)((rule->day - (first + 4) % 7 + 7) % 7);

        day = first + skip + 7 * (rule->week - 1);
        while (day - first >= month_length(year, rule->month)) {
            day -= 7;
        }
    }
    return day * 86400 + rule->seconds - offset;
}

/* Appends what the footer's rule adds after the last transition of the file. */
static int expand_footer(apr_array_header_t *table, const char *s)
{
    int standard, summer, year;
    rule_t to_summer, to_standard;

    if (!*s) {
        return 1;
    }
    if (!parse_abbreviation(&s) || !parse_hms(&s, &standard)) {
        return 0;
    }
    standard = -standard;
    if (!*s) {
        return 1;
    }
    if (!parse_abbreviation(&s)) {
        return 0;
    }
    summer = standard + 3600;
    if (*s != ',') {
        if (!parse_hms(&s, &summer)) {
            return 0;
        }
        summer = -summer;
    }
    if (!parse_rule(&s, &to_summer) || !parse_rule(&s, &to_standard) || *s) {
        return 0;
    }
    for (year = 1970; year <= LAST_YEAR; year++) {
        transition_t a = { rule_moment(&to_summer, year, standard), summer };
        transition_t b = { rule_moment(&to_standard, year, summer), standard };
        int k;

        if (b.at < a.at) {
            transition_t swap = a;

            a = b;
            b = swap;
        }
        for (k = 0; k < 2; k++) {
            const transition_t *next = k ? &b : &a;

            if (next->at > APR_ARRAY_IDX(table, table->nelts - 1, transition_t).at) {
                APR_ARRAY_PUSH(table, transition_t) = *next;
            }
        }
    }
    return 1;
}

/* The six counts of a TZif header, checked against what is left of the file. */
typedef struct header_t {
    apr_size_t isut, isstd, leap, time, type, chars;
    char version;
} header_t;

static apr_size_t read_header(header_t *h, const unsigned char *b, apr_size_t len, int width)
{
    apr_size_t body;

    if (len < HEADER_LEN || memcmp(b, "TZif", 4) != 0) {
        return 0;
    }
    h->version = (char)b[4];
    h->isut = read32(b + 20);
    h->isstd = read32(b + 24);
    h->leap = read32(b + 28);
    h->time = read32(b + 32);
    h->type = read32(b + 36);
    h->chars = read32(b + 40);
    if (h->isut > 256 || h->isstd > 256 || h->leap > 4096 || h->time > 8192 || h->type > 256 || !h->type
        || h->chars > 4096) {
        return 0;
    }
    body = h->time * (width + 1) + h->type * 6 + h->chars + h->leap * (width + 4) + h->isstd + h->isut;
    return len - HEADER_LEN < body ? 0 : HEADER_LEN + body;
}

apr_status_t persona_tz_parse(const persona_tz_t **tz, const char *data, apr_size_t len, apr_pool_t *p)
{
    const unsigned char *b = (const unsigned char *)data, *times, *kinds, *types;
    apr_array_header_t *table;
    persona_tz_t *made;
    transition_t first;
    apr_size_t k, block;
    header_t h;
    int width = 4;

    block = read_header(&h, b, len, 4);
    if (!block) {
        return APR_EINVAL;
    }
    if (h.version >= '2') {
        b += block;
        len -= block;
        width = 8;
        block = read_header(&h, b, len, 8);
        if (!block) {
            return APR_EINVAL;
        }
    }
    times = b + HEADER_LEN;
    kinds = times + h.time * width;
    types = kinds + h.time;
    table = apr_array_make(p, (int)h.time + 400, sizeof(transition_t));
    first.at = APR_INT64_MIN;
    first.offset = (int)read32(types);
    APR_ARRAY_PUSH(table, transition_t) = first;
    for (k = 0; k < h.time; k++) {
        transition_t t;

        if (kinds[k] >= h.type) {
            return APR_EINVAL;
        }
        t.at = width == 8 ? read64(times + k * 8) : (apr_int32_t)read32(times + k * 4);
        t.offset = (int)read32(types + kinds[k] * 6);
        if (t.offset < -90000 || t.offset > 90000
            || (k && t.at <= APR_ARRAY_IDX(table, table->nelts - 1, transition_t).at)) {
            return APR_EINVAL;
        }
        APR_ARRAY_PUSH(table, transition_t) = t;
    }
    if (width == 8) {
        const char *footer = (const char *)b + block;
        apr_size_t left = len - block;
        const char *end = left > 1 && footer[0] == '\n' ? memchr(footer + 1, '\n', left - 1) : NULL;

        if (!end || !expand_footer(table, apr_pstrmemdup(p, footer + 1, end - footer - 1))) {
            return APR_EINVAL;
        }
    }
    made = apr_palloc(p, sizeof(*made));
    made->count = table->nelts;
    made->transitions = (const transition_t *)table->elts;
    *tz = made;
    return APR_SUCCESS;
}

/* Names come from persona files: only what an IANA name may hold, and no way out of the directory. */
static int name_ok(const char *name)
{
    const char *s;

    if (!*name || *name == '/' || strlen(name) > PERSONA_NAME_MAX || strstr(name, "..")) {
        return 0;
    }
    for (s = name; *s; s++) {
        if (!apr_isalnum(*s) && !strchr("/_+-", *s)) {
            return 0;
        }
    }
    return 1;
}

apr_status_t persona_tz_load(const persona_tz_t **tz, const char *directory, const char *name, apr_pool_t *p)
{
    const char *path;
    apr_file_t *file;
    apr_finfo_t info;
    apr_size_t len;
    apr_status_t rv;
    char *data;

    if (!name_ok(name)) {
        return APR_EINVAL;
    }
    path = apr_pstrcat(p, directory ? directory : ZONEINFO, "/", name, NULL);
    rv = apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_OS_DEFAULT, p);
    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_ENOENT(rv) || APR_STATUS_IS_ENOTDIR(rv) ? APR_EINVAL : rv;
    }
    rv = apr_file_info_get(&info, APR_FINFO_SIZE | APR_FINFO_TYPE, file);
    if (rv != APR_SUCCESS || info.filetype != APR_REG || info.size > TZIF_MAX) {
        rv = rv != APR_SUCCESS ? rv : APR_EINVAL;
        goto leave;
    }
    len = (apr_size_t)info.size;
    data = apr_palloc(p, len + 1);
    rv = apr_file_read_full(file, data, len, &len);
    if (rv == APR_SUCCESS) {
        rv = persona_tz_parse(tz, data, len, p);
    }
leave:
    apr_file_close(file);
    return rv;
}

int persona_tz_offset(const persona_tz_t *tz, apr_time_t at)
{
    apr_int64_t seconds = at / APR_USEC_PER_SEC - (at % APR_USEC_PER_SEC < 0);
    int low = 0, high;

    if (!tz) {
        return 0;
    }
    high = tz->count;
    while (high - low > 1) {
        int mid = low + (high - low) / 2;

        if (tz->transitions[mid].at <= seconds) {
            low = mid;
        }
        else {
            high = mid;
        }
    }
    return tz->transitions[low].offset;
}

void persona_tz_local(const persona_tz_t *tz, apr_time_t at, persona_tz_local_t *local)
{
    apr_int64_t seconds = at / APR_USEC_PER_SEC - (at % APR_USEC_PER_SEC < 0);

    seconds += persona_tz_offset(tz, at);
    local->seconds = seconds;
    local->day = seconds / 86400 - (seconds % 86400 < 0);
    local->second = (int)(seconds - local->day * 86400);
    local->hour = local->second / 3600;
    local->weekday = (int)(((local->day + 4) % 7 + 7) % 7);
}

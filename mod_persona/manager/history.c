/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file history.c
 * @brief Tables and statements of the history, the same for SQLite and PostgreSQL but for how a row is numbered.
 *
 * The tables are made if they are not there, each time a connection is opened: two gateways may do that at once, and
 * one waits for the other. A later version of the tables is reached step by step from the one that is found.
 */
#include <string.h>
#include <unistd.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include "history.h"

#define TRIM_AT_ONCE 500
#define READ_AT_ONCE 1000
/** A message between manager and personactl has at most 1 MiB, and a byte of a text becomes up to six in JSON. */
#define READ_BYTES_MAX (96 * 1024)
#define HOUR           3600

struct persona_history_t {
    persona_database_t *db;
    const char *gateway;
    int sqlite;
    persona_statement_t *event, *hour, *touch, *trim;
    apr_pool_t *pool;
};

static const char *const names[] = {"claim", "end",    "create", "ready", "fail", "retire", "gone",
                                    "admin", "visit",  "signin", "start", "lost", "high"};

const char *persona_event_name(persona_event_e kind)
{
    return names[kind];
}

/* ---- tables ---- */

static const char events_columns[] =
    "mark TEXT NOT NULL UNIQUE, at BIGINT NOT NULL, gateway TEXT NOT NULL, kind TEXT NOT NULL, username TEXT, "
    "roles TEXT, app TEXT, persona TEXT, session TEXT, instance TEXT, compute TEXT, host TEXT, start TEXT, "
    "ticket BIGINT, wait_ms BIGINT, took_ms BIGINT, reason TEXT)";

static const char *const tables[] = {
    "CREATE INDEX IF NOT EXISTS persona_events_at ON persona_events (at)",
    "CREATE INDEX IF NOT EXISTS persona_events_username ON persona_events (username, id)",
    "CREATE INDEX IF NOT EXISTS persona_events_persona ON persona_events (persona, id)",
    "CREATE INDEX IF NOT EXISTS persona_events_instance ON persona_events (instance)",
    "CREATE TABLE IF NOT EXISTS persona_hours (hour BIGINT NOT NULL, gateway TEXT NOT NULL, persona TEXT NOT NULL, "
    "claims BIGINT NOT NULL, warm BIGINT NOT NULL, cold BIGINT NOT NULL, wait_ms BIGINT NOT NULL, "
    "wait_max_ms BIGINT NOT NULL, ends BIGINT NOT NULL, visits BIGINT NOT NULL, signins BIGINT NOT NULL, "
    "created BIGINT NOT NULL, booted BIGINT NOT NULL, boot_ms BIGINT NOT NULL, failed BIGINT NOT NULL, "
    "retired BIGINT NOT NULL, high BIGINT NOT NULL, PRIMARY KEY (hour, gateway, persona))",
    "CREATE TABLE IF NOT EXISTS persona_gateways (gateway TEXT NOT NULL PRIMARY KEY, host TEXT NOT NULL, "
    "seen BIGINT NOT NULL)",
    NULL};

static const char meta_table[] =
    "CREATE TABLE IF NOT EXISTS persona_meta (name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL)";

static persona_database_e run_all(persona_history_t *h, const char *const *statements, persona_result_t *res)
{
    persona_database_e outcome = PERSONA_DATABASE_OK;

    for (; *statements && outcome == PERSONA_DATABASE_OK; statements++) {
        outcome = persona_database_run(h->db, *statements, res);
    }
    return outcome;
}

/** One number by a statement; 0 where there is no row. */
static persona_database_e number(persona_history_t *h, const char *sql, apr_int64_t *value, persona_result_t *res,
                                 apr_pool_t *p)
{
    const char *const none[] = {NULL};
    persona_statement_t *statement;
    apr_array_header_t *rows = NULL;
    persona_database_e outcome = persona_database_prepare(h->db, &statement, sql, res);

    *value = 0;
    if (outcome == PERSONA_DATABASE_OK) {
        outcome = persona_database_select(h->db, statement, none, 1, &rows, res, p);
    }
    if (outcome == PERSONA_DATABASE_OK && rows->nelts && APR_ARRAY_IDX(rows, 0, const char **)[0]) {
        *value = apr_atoi64(APR_ARRAY_IDX(rows, 0, const char **)[0]);
    }
    return outcome;
}

static persona_database_e make_tables(persona_history_t *h, persona_result_t *res, apr_pool_t *p)
{
    apr_int64_t version;
    persona_database_e outcome = persona_database_run(h->db, meta_table, res);
    const char *events = apr_pstrcat(p, "CREATE TABLE IF NOT EXISTS persona_events (id ",
                                     h->sqlite ? "INTEGER PRIMARY KEY AUTOINCREMENT, " : "BIGSERIAL PRIMARY KEY, ",
                                     events_columns, NULL);

    if (outcome == PERSONA_DATABASE_OK) {
        outcome = number(h, "SELECT value FROM persona_meta WHERE name = 'schema'", &version, res, p);
    }
    if (outcome != PERSONA_DATABASE_OK) {
        return outcome;
    }
    if (version > PERSONA_HISTORY_SCHEMA) {
        persona_result_set(res, APR_EMISMATCH, "newer",
                           "its tables are of version %d, and this manager knows version %d: upgrade it",
                           (int)version, PERSONA_HISTORY_SCHEMA);
        return PERSONA_DATABASE_FAILED;
    }
    outcome = persona_database_run(h->db, events, res);
    if (outcome == PERSONA_DATABASE_OK) {
        outcome = run_all(h, tables, res);
    }
    if (outcome == PERSONA_DATABASE_OK && version < PERSONA_HISTORY_SCHEMA) {
        outcome = persona_database_run(h->db, "INSERT INTO persona_meta (name, value) VALUES ('schema', "
                                              APR_STRINGIFY(PERSONA_HISTORY_SCHEMA) ") ON CONFLICT (name) DO UPDATE "
                                              "SET value = excluded.value", res);
    }
    return outcome;
}

static persona_database_e begin(persona_history_t *h, persona_result_t *res)
{
    return persona_database_run(h->db, h->sqlite ? "BEGIN IMMEDIATE" : "BEGIN", res);
}

/** COMMIT, or ROLLBACK of what has failed. */
static persona_database_e finish(persona_history_t *h, persona_database_e outcome, persona_result_t *res)
{
    persona_result_t ignored = {0};

    if (outcome == PERSONA_DATABASE_OK) {
        outcome = persona_database_run(h->db, "COMMIT", res);
    }
    if (outcome != PERSONA_DATABASE_OK) {
        persona_database_run(h->db, "ROLLBACK", &ignored);
    }
    return outcome;
}

static persona_database_e bring_up(persona_history_t *h, persona_result_t *res, apr_pool_t *p)
{
    apr_int64_t ignored;
    persona_database_e outcome = begin(h, res);

    if (outcome != PERSONA_DATABASE_OK) {
        return outcome;
    }
    if (!h->sqlite) {
        /* "IF NOT EXISTS" alone fails where two make the same table at the same time. */
        outcome = number(h, "SELECT 1 FROM (SELECT pg_advisory_xact_lock(7237128888997146477)) AS taken", &ignored,
                         res, p);
    }
    if (outcome == PERSONA_DATABASE_OK) {
        outcome = make_tables(h, res, p);
    }
    return finish(h, outcome, res);
}

static const char event_sql[] =
    "INSERT INTO persona_events (mark, at, gateway, kind, username, roles, app, persona, session, instance, compute, "
    "host, start, ticket, wait_ms, took_ms, reason) VALUES (%s, %lld, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
    "%lld, %lld, %lld, %s) ON CONFLICT (mark) DO NOTHING";

#define GREATER(column)                                                                                            \
    #column " = CASE WHEN excluded." #column " > persona_hours." #column " THEN excluded." #column                 \
            " ELSE persona_hours." #column " END"
#define MORE(column) #column " = persona_hours." #column " + excluded." #column

static const char hour_sql[] =
    "INSERT INTO persona_hours (hour, gateway, persona, claims, warm, cold, wait_ms, wait_max_ms, ends, visits, "
    "signins, created, booted, boot_ms, failed, retired, high) VALUES (%lld, %s, %s, %lld, %lld, %lld, %lld, %lld, "
    "%lld, %lld, %lld, %lld, %lld, %lld, %lld, %lld, %lld) ON CONFLICT (hour, gateway, persona) DO UPDATE SET "
    MORE(claims) ", " MORE(warm) ", " MORE(cold) ", " MORE(wait_ms) ", " GREATER(wait_max_ms) ", " MORE(ends) ", "
    MORE(visits) ", " MORE(signins) ", " MORE(created) ", " MORE(booted) ", " MORE(boot_ms) ", " MORE(failed) ", "
    MORE(retired) ", " GREATER(high);

static const char touch_sql[] =
    "INSERT INTO persona_gateways (gateway, host, seen) VALUES (%s, %s, %lld) ON CONFLICT (gateway) DO UPDATE SET "
    "host = excluded.host, seen = excluded.seen";

static const char trim_sql[] = "DELETE FROM persona_events WHERE id IN (SELECT id FROM persona_events WHERE at < %lld "
                               "ORDER BY at LIMIT " APR_STRINGIFY(TRIM_AT_ONCE) ")";

static persona_database_e prepare_all(persona_history_t *h, persona_result_t *res)
{
    persona_database_e outcome = persona_database_prepare(h->db, &h->event, event_sql, res);

    if (outcome == PERSONA_DATABASE_OK) {
        outcome = persona_database_prepare(h->db, &h->hour, hour_sql, res);
    }
    if (outcome == PERSONA_DATABASE_OK) {
        outcome = persona_database_prepare(h->db, &h->touch, touch_sql, res);
    }
    if (outcome == PERSONA_DATABASE_OK) {
        outcome = persona_database_prepare(h->db, &h->trim, trim_sql, res);
    }
    return outcome;
}

persona_database_e persona_history_open(persona_history_t **history, const char *driver, const char *params,
                                        const char *gateway, persona_result_t *res, apr_pool_t *parent)
{
    persona_database_e outcome;
    persona_history_t *h;
    apr_pool_t *p;

    *history = NULL;
    if (apr_pool_create(&p, parent) != APR_SUCCESS) {
        return PERSONA_DATABASE_FAILED;
    }
    h = apr_pcalloc(p, sizeof(*h));
    h->pool = p;
    h->gateway = apr_pstrdup(p, gateway);
    h->sqlite = persona_database_is_sqlite(driver);
    outcome = persona_database_open(&h->db, driver, params, res, p);
    if (outcome == PERSONA_DATABASE_OK) {
        outcome = bring_up(h, res, p);
    }
    if (outcome == PERSONA_DATABASE_OK) {
        outcome = prepare_all(h, res);
    }
    if (outcome != PERSONA_DATABASE_OK) {
        persona_history_close(h);
        return outcome;
    }
    *history = h;
    return PERSONA_DATABASE_OK;
}

void persona_history_close(persona_history_t *h)
{
    if (h) {
        persona_database_close(h->db);
        apr_pool_destroy(h->pool);
    }
}

persona_database_t *persona_history_database(persona_history_t *h)
{
    return h->db;
}

/* ---- writing ---- */

/** What a batch adds to one row of persona_hours. */
typedef struct tally_t {
    apr_int64_t hour;
    const char *persona;
    apr_int64_t claims, warm, cold, wait, wait_max, ends, visits, signins, created, booted, boot, failed, retired, high;
} tally_t;

static tally_t *tally_of(apr_hash_t *tallies, const persona_event_t *e, apr_pool_t *p)
{
    apr_int64_t hour = apr_time_sec(e->at) / HOUR * HOUR;
    const char *key = apr_psprintf(p, "%" APR_INT64_T_FMT "/%s", hour, e->persona ? e->persona : "");
    tally_t *tally = apr_hash_get(tallies, key, APR_HASH_KEY_STRING);

    if (!tally) {
        tally = apr_pcalloc(p, sizeof(*tally));
        tally->hour = hour;
        tally->persona = e->persona ? e->persona : "";
        apr_hash_set(tallies, key, APR_HASH_KEY_STRING, tally);
    }
    return tally;
}

static void count_event(apr_hash_t *tallies, const persona_event_t *e, apr_pool_t *p)
{
    tally_t *tally = tally_of(tallies, e, p);

    switch (e->kind) {
    case PERSONA_EVENT_CLAIM:
        tally->claims++;
        tally->cold += e->cold > 0;
        tally->warm += e->cold == 0;
        if (e->wait > 0) {
            tally->wait += e->wait;
            tally->wait_max = e->wait > tally->wait_max ? e->wait : tally->wait_max;
        }
        break;
    case PERSONA_EVENT_END:
        tally->ends++;
        break;
    case PERSONA_EVENT_CREATE:
        tally->created++;
        break;
    case PERSONA_EVENT_READY:
        tally->booted++;
        tally->boot += e->took > 0 ? e->took : 0;
        break;
    case PERSONA_EVENT_FAIL:
        tally->failed++;
        break;
    case PERSONA_EVENT_RETIRE:
        tally->retired++;
        break;
    case PERSONA_EVENT_SIGNIN:
        tally->signins++;
        tally->visits++;
        break;
    case PERSONA_EVENT_VISIT:
        tally->visits++;
        break;
    case PERSONA_EVENT_HIGH:
        tally->high = e->high > tally->high ? e->high : tally->high;
        break;
    case PERSONA_EVENT_GONE:
    case PERSONA_EVENT_ADMIN:
    case PERSONA_EVENT_START:
    case PERSONA_EVENT_LOST:
        break;
    }
}

static const char *decimal(apr_int64_t n, apr_pool_t *p)
{
    return apr_psprintf(p, "%" APR_INT64_T_FMT, n);
}

static const char *decimal_or_null(apr_int64_t n, apr_pool_t *p)
{
    return n < 0 ? NULL : decimal(n, p);
}

/** NULL for an empty text too. */
static const char *text(const char *value)
{
    return value && *value ? value : NULL;
}

/** *fresh: nobody had written it before. */
static persona_database_e insert_event(persona_history_t *h, const persona_event_t *e, int *fresh,
                                       persona_result_t *res, apr_pool_t *p)
{
    const char *const values[] = {
        e->mark, decimal(e->at, p), h->gateway, names[e->kind], text(e->user), text(e->roles), text(e->app),
        text(e->persona), text(e->session), text(e->instance), text(e->compute), text(e->host),
        e->cold < 0 ? NULL : e->cold ? "cold" : "warm", decimal_or_null(e->ticket, p), decimal_or_null(e->wait, p),
        decimal_or_null(e->took, p), text(e->reason)};

    return persona_database_execute(h->db, h->event, values, fresh, res, p);
}

static persona_database_e add_hours(persona_history_t *h, const tally_t *t, persona_result_t *res, apr_pool_t *p)
{
    const char *const values[] = {
        decimal(t->hour, p), h->gateway, t->persona, decimal(t->claims, p), decimal(t->warm, p), decimal(t->cold, p),
        decimal(t->wait, p), decimal(t->wait_max, p), decimal(t->ends, p), decimal(t->visits, p),
        decimal(t->signins, p), decimal(t->created, p), decimal(t->booted, p), decimal(t->boot, p),
        decimal(t->failed, p), decimal(t->retired, p), decimal(t->high, p)};
    int rows;

    return persona_database_execute(h->db, h->hour, values, &rows, res, p);
}

persona_database_e persona_history_write(persona_history_t *h, const persona_event_t *const *events, int count,
                                         persona_result_t *res, apr_pool_t *p)
{
    apr_hash_t *tallies = apr_hash_make(p);
    persona_database_e outcome = begin(h, res);
    apr_hash_index_t *hi;
    int i;

    if (outcome != PERSONA_DATABASE_OK) {
        return outcome;
    }
    for (i = 0; i < count && outcome == PERSONA_DATABASE_OK; i++) {
        int fresh = 1;

        if (events[i]->kind != PERSONA_EVENT_HIGH) {
            outcome = insert_event(h, events[i], &fresh, res, p);
        }
        if (outcome == PERSONA_DATABASE_OK && fresh > 0) {
            count_event(tallies, events[i], p);
        }
    }
    for (hi = apr_hash_first(p, tallies); hi && outcome == PERSONA_DATABASE_OK; hi = apr_hash_next(hi)) {
        outcome = add_hours(h, apr_hash_this_val(hi), res, p);
    }
    return finish(h, outcome, res);
}

persona_database_e persona_history_touch(persona_history_t *h, persona_result_t *res, apr_pool_t *p)
{
    char host[256] = "";
    const char *values[3];
    int rows;

    gethostname(host, sizeof(host) - 1);
    values[0] = h->gateway;
    values[1] = host;
    values[2] = decimal(apr_time_now(), p);
    return persona_database_execute(h->db, h->touch, values, &rows, res, p);
}

persona_database_e persona_history_trim(persona_history_t *h, apr_time_t time, int *more, persona_result_t *res,
                                        apr_pool_t *p)
{
    const char *const values[] = {decimal(time, p)};
    int rows = 0;
    persona_database_e outcome = persona_database_execute(h->db, h->trim, values, &rows, res, p);

    *more = outcome == PERSONA_DATABASE_OK && rows >= TRIM_AT_ONCE;
    return outcome;
}

/* ---- reading ---- */

static const struct {
    const char *name;
    int number;
} event_members[] = {{"id", 1},       {"at", 1},       {"gateway", 0}, {"kind", 0},    {"username", 0}, {"roles", 0},
                     {"app", 0},      {"persona", 0},  {"session", 0}, {"instance", 0}, {"compute", 0}, {"host", 0},
                     {"start", 0},    {"ticket", 1},   {"wait_ms", 1}, {"took_ms", 1}, {"reason", 0}},
  hour_members[] = {{"hour", 1},   {"gateway", 0}, {"persona", 0}, {"claims", 1},  {"warm", 1},   {"cold", 1},
                    {"wait_ms", 1}, {"wait_max_ms", 1}, {"ends", 1}, {"visits", 1}, {"signins", 1}, {"created", 1},
                    {"booted", 1}, {"boot_ms", 1}, {"failed", 1},  {"retired", 1}, {"high", 1}};

#define EVENT_COLUMNS ((int)(sizeof(event_members) / sizeof(event_members[0])))
#define HOUR_COLUMNS  ((int)(sizeof(hour_members) / sizeof(hour_members[0])))

/** The query in SQL, and its values. Only fixed words are put together; what was asked for is bound. */
static const char *query_sql(const persona_history_query_t *q, const char **values, apr_pool_t *p)
{
    const char *sql = q->hours ? "SELECT hour" : "SELECT id", *and = " WHERE ";
    int i, n = 0;

    for (i = 1; i < (q->hours ? HOUR_COLUMNS : EVENT_COLUMNS); i++) {
        sql = apr_pstrcat(p, sql, ", ", q->hours ? hour_members[i].name : event_members[i].name, NULL);
    }
    sql = apr_pstrcat(p, sql, q->hours ? " FROM persona_hours" : " FROM persona_events", NULL);
    if (q->users[0] && !q->hours) {
        sql = apr_pstrcat(p, sql, and, "(username = %s OR username = %s)", NULL);
        values[n++] = q->users[0];
        values[n++] = q->users[1] ? q->users[1] : q->users[0];
        and = " AND ";
    }
    if (q->persona) {
        sql = apr_pstrcat(p, sql, and, "persona = %s", NULL);
        values[n++] = q->persona;
        and = " AND ";
    }
    if (q->instance && !q->hours) {
        sql = apr_pstrcat(p, sql, and, "instance = %s", NULL);
        values[n++] = q->instance;
        and = " AND ";
    }
    if (q->since) {
        sql = apr_pstrcat(p, sql, and, q->hours ? "hour >= %lld" : "at >= %lld", NULL);
        values[n++] = decimal(q->hours ? apr_time_sec(q->since) / HOUR * HOUR : q->since, p);
        and = " AND ";
    }
    if (q->before) {
        sql = apr_pstrcat(p, sql, and, q->hours ? "hour < %lld" : "id < %lld", NULL);
        values[n++] = decimal(q->before, p);
    }
    /* A row more than is wanted tells whether there are others. */
    values[n++] = decimal((q->limit > 0 && q->limit < READ_AT_ONCE ? q->limit : READ_AT_ONCE) + 1, p);
    return apr_pstrcat(p, sql, q->hours ? " ORDER BY hour DESC, persona, gateway" : " ORDER BY id DESC",
                       " LIMIT %lld", NULL);
}

static json_t *row_json(const char **cells, int hours, apr_size_t *bytes)
{
    json_t *row = json_object();
    int i;

    for (i = 0; i < (hours ? HOUR_COLUMNS : EVENT_COLUMNS); i++) {
        const char *name = hours ? hour_members[i].name : event_members[i].name;

        if (cells[i]) {
            *bytes += strlen(name) + strlen(cells[i]) + 8;
            json_object_set_new(row, !strcmp(name, "username") ? "user" : name,
                                (hours ? hour_members[i].number : event_members[i].number)
                                    ? json_integer(apr_atoi64(cells[i]))
                                    : json_string(cells[i]));
        }
    }
    return row;
}

/** How many of at most `wanted` rows there are without the last hour, where that goes on beyond them: who asks for
 * what is before it must miss nothing. */
static int whole_hours(const apr_array_header_t *found, int wanted)
{
    const char *next;
    int n = wanted;

    if (found->nelts <= wanted) {
        return found->nelts;
    }
    next = APR_ARRAY_IDX(found, wanted, const char **)[0];
    while (n > 0 && !strcmp(APR_ARRAY_IDX(found, n - 1, const char **)[0], next)) {
        n--;
    }
    return n > 0 ? n : wanted;
}

persona_database_e persona_history_read(persona_history_t *h, const persona_history_query_t *q, json_t **rows,
                                        int *more, persona_result_t *res, apr_pool_t *p)
{
    const char *values[8] = {NULL}, *sql = query_sql(q, values, p);
    int wanted = q->limit > 0 && q->limit < READ_AT_ONCE ? q->limit : READ_AT_ONCE, i;
    persona_statement_t *statement;
    apr_array_header_t *found = NULL;
    apr_size_t bytes = 0;
    persona_database_e outcome = persona_database_prepare(h->db, &statement, sql, res);

    if (outcome == PERSONA_DATABASE_OK) {
        outcome = persona_database_select(h->db, statement, values, q->hours ? HOUR_COLUMNS : EVENT_COLUMNS, &found,
                                          res, p);
    }
    if (outcome != PERSONA_DATABASE_OK) {
        return outcome;
    }
    wanted = q->hours ? whole_hours(found, wanted) : wanted;
    *rows = json_array();
    for (i = 0; i < found->nelts && i < wanted && (q->hours || bytes < READ_BYTES_MAX); i++) {
        json_array_append_new(*rows, row_json(APR_ARRAY_IDX(found, i, const char **), q->hours, &bytes));
    }
    *more = i < found->nelts;
    return PERSONA_DATABASE_OK;
}

persona_database_e persona_history_gateways(persona_history_t *h, int *count, persona_result_t *res, apr_pool_t *p)
{
    apr_int64_t value = 0;
    persona_database_e outcome = number(h, "SELECT COUNT(*) FROM persona_gateways", &value, res, p);

    *count = (int)value;
    return outcome;
}

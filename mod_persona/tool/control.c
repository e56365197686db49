/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file control.c
 * @brief personactl status, sessions, history, drain, refresh, retire, end, reload and audit: asked of the running
 * manager.
 *
 * The manager answers root and its own user on its control socket, which lies beside the workers' socket.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

#include "persona/settings.h"
#include "pool/ipc.h"
#include "tool.h"

#define ANSWER_TIMEOUT apr_time_from_sec(60)
#define TABLE_COLUMNS  10
#define CELL_MAX       48
#define REASON_MAX     200
#define HISTORY_SHOWN  100

static const char *const places[] = {
    "/run/apache2/persona.sock.control",
    "/run/httpd/persona.sock.control",
    PERSONA_RUNDIR "/apache2/persona.sock.control",
    PERSONA_RUNDIR "/httpd/persona.sock.control",
    PERSONA_RUNDIR "/persona.sock.control",
};

static const char *socket_path(const persona_tool_args_t *args)
{
    const char *path = apr_table_get(args->options, "socket");

    if (!path || !*path) {
        path = getenv("PERSONA_CONTROL");
    }
    for (size_t i = 0; !path && i < sizeof(places) / sizeof(places[0]); i++) {
        if (access(places[i], F_OK) == 0) {
            path = places[i];
        }
    }
    return path ? path : places[0];
}

json_t *persona_tool_ask(const persona_tool_args_t *args, json_t *request, apr_pool_t *p)
{
    const char *path = socket_path(args);
    json_t *answer = NULL;
    persona_ipc_t *ipc;
    apr_status_t status = persona_ipc_create(&ipc, path, NULL, p);
    const char *word;
    char text[120];

    if (status == APR_SUCCESS) {
        status = persona_ipc_call(ipc, request, &answer, apr_time_now() + ANSWER_TIMEOUT);
    }
    json_decref(request);
    if (status != APR_SUCCESS) {
        fprintf(stderr,
                "personactl: no manager answers at %s: %s\n"
                "Is httpd running, are you root or its PersonaManagerUser, and is --socket the "
                "PersonaSocket with \".control\" behind it?\n",
                path, apr_strerror(status, text, sizeof(text)));
        return NULL;
    }
    word = json_string_value(json_object_get(answer, "status"));
    if (!word || strcmp(word, "ok")) {
        const char *reason = json_string_value(json_object_get(answer, "reason"));

        fprintf(stderr, "personactl: the manager refuses (%s)%s%s\n", word ? word : "?",
                reason ? ": " : "", reason ? reason : "");
        json_decref(answer);
        return NULL;
    }
    return answer;
}

static const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));

    return text ? text : "";
}

static int number_of(const json_t *json, const char *name)
{
    return (int)json_integer_value(json_object_get(json, name));
}

/* ---- tables ---- */

/** Rows of cells, printed with columns as wide as they must be. */
typedef struct table_t {
    apr_array_header_t *cells; /**< of const char * */
    int columns;
    apr_pool_t *p;
} table_t;

static table_t table_make(apr_pool_t *p, int columns)
{
    table_t table = {apr_array_make(p, 64, sizeof(const char *)), columns, p};

    return table;
}

/** What came from elsewhere cannot move the cursor. */
static void cell_cut(table_t *table, const char *text, apr_size_t max)
{
    char *copy = apr_pstrndup(table->p, text, max);

    for (char *c = copy; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    APR_ARRAY_PUSH(table->cells, const char *) = copy;
}

static void cell(table_t *table, const char *text)
{
    cell_cut(table, text, CELL_MAX);
}

static void cell_number(table_t *table, int n)
{
    cell(table, apr_itoa(table->p, n));
}

static void table_print(const table_t *table)
{
    size_t width[TABLE_COLUMNS] = {0};

    for (int i = 0; i < table->cells->nelts; i++) {
        size_t len = strlen(APR_ARRAY_IDX(table->cells, i, const char *));

        width[i % table->columns] =
            len > width[i % table->columns] ? len : width[i % table->columns];
    }
    for (int i = 0; i < table->cells->nelts; i++) {
        int last = i % table->columns == table->columns - 1;

        printf("%-*s%s", last ? 0 : (int)width[i % table->columns],
               APR_ARRAY_IDX(table->cells, i, const char *), last ? "\n" : "  ");
    }
}

static void heads(table_t *table, const char *const *names)
{
    for (int i = 0; i < table->columns; i++) {
        cell(table, names[i]);
    }
}

static const char *ago(json_int_t now, json_int_t then, apr_pool_t *p)
{
    json_int_t s = (now - then) / APR_USEC_PER_SEC;

    if (!then) {
        return "-";
    }
    if (s < 120) {
        return apr_psprintf(p, "%ds", (int)s);
    }
    return s < 7200 ? apr_psprintf(p, "%dm", (int)(s / 60))
                    : apr_psprintf(p, "%dh", (int)(s / 3600));
}

static void print_personas(const json_t *document, apr_pool_t *p)
{
    static const char *const names[] = {"PERSONA", "TARGET",   "READY", "CREATING", "ASSIGNED",
                                        "WAITING", "RETIRING", "BOOT",  "STATE",    "PROBLEM"};
    table_t table = table_make(p, 10);
    const json_t *persona;
    size_t i;

    heads(&table, names);
    json_array_foreach(json_object_get(document, "personas"), i, persona)
    {
        const json_t *boot = json_object_get(persona, "boot");

        cell(&table, text_of(persona, "id"));
        cell_number(&table, number_of(persona, "target"));
        cell_number(&table, number_of(persona, "ready"));
        cell_number(&table, number_of(persona, "creating"));
        cell_number(&table, number_of(persona, "assigned"));
        cell_number(&table, number_of(persona, "waiting"));
        cell_number(&table, number_of(persona, "retiring"));
        cell(&table, json_is_object(boot)
                         ? apr_psprintf(p, "%.1fs", json_real_value(json_object_get(boot, "p50")))
                         : "-");
        cell(&table, json_is_true(json_object_get(persona, "drained")) ? "drained"
                                                                       : text_of(persona, "state"));
        cell(&table, text_of(persona, "problem"));
    }
    table_print(&table);
}

static void print_computes(const json_t *document, apr_pool_t *p)
{
    static const char *const names[] = {"COMPUTE",   "PROVIDER", "ADDRESS", "UP",
                                        "INSTANCES", "BOOTING",  "PROBLEM"};
    table_t table = table_make(p, 7);
    const json_t *compute;
    size_t i;

    heads(&table, names);
    json_array_foreach(json_object_get(document, "computes"), i, compute)
    {
        cell(&table, text_of(compute, "name"));
        cell(&table, text_of(compute, "provider"));
        cell(&table, text_of(compute, "address"));
        cell(&table, json_is_true(json_object_get(compute, "up")) ? "yes" : "no");
        cell_number(&table, number_of(compute, "instances"));
        cell(&table, apr_psprintf(p, "%d/%d", number_of(compute, "booting"),
                                  number_of(compute, "boots_max")));
        cell(&table, text_of(compute, "problem"));
    }
    table_print(&table);
}

static void print_sessions(const json_t *document, apr_pool_t *p)
{
    static const char *const names[] = {"SESSION", "USER", "APP",     "PERSONA", "INSTANCE",
                                        "HOST",    "AGE",  "STREAMS", "IDLE"};
    json_int_t now = json_integer_value(json_object_get(document, "now"));
    table_t table = table_make(p, 9);
    const json_t *session;
    size_t i;

    heads(&table, names);
    json_array_foreach(json_object_get(document, "sessions"), i, session)
    {
        cell(&table, apr_pstrndup(p, text_of(session, "session"), 12));
        cell(&table, text_of(session, "user"));
        cell(&table, text_of(session, "app"));
        cell(&table, text_of(session, "persona"));
        cell(&table, text_of(session, "instance"));
        cell(&table, text_of(session, "host"));
        cell(&table, ago(now, json_integer_value(json_object_get(session, "started")), p));
        cell_number(&table, number_of(session, "streams"));
        cell(&table, ago(now, json_integer_value(json_object_get(session, "last_input")), p));
    }
    table_print(&table);
}

/* ---- commands ---- */

static int status(const persona_tool_args_t *args, apr_pool_t *p)
{
    json_t *document = persona_tool_ask(args, json_pack("{s:s}", "op", "status"), p);
    const json_t *error;
    size_t i;

    if (!document) {
        return PERSONA_TOOL_PROBLEMS;
    }
    if (args->json) {
        persona_tool_print(document);
        return PERSONA_TOOL_OK;
    }
    printf("manager %s, up %s, index %s\n\n", text_of(document, "version"),
           ago(json_integer_value(json_object_get(document, "now")),
               json_integer_value(json_object_get(document, "started")), p),
           text_of(document, "index"));
    print_personas(document, p);
    putchar('\n');
    print_computes(document, p);
    printf("\n%d sessions\n", (int)json_array_size(json_object_get(document, "sessions")));
    json_array_foreach(json_object_get(document, "errors"), i, error)
    {
        printf("%s%s\n", i ? "" : "\n", json_string_value(error));
    }
    json_decref(document);
    return PERSONA_TOOL_OK;
}

static int sessions(const persona_tool_args_t *args, apr_pool_t *p)
{
    json_t *document = persona_tool_ask(args, json_pack("{s:s}", "op", "status"), p);

    if (!document) {
        return PERSONA_TOOL_PROBLEMS;
    }
    if (args->json) {
        persona_tool_print(json_incref(json_object_get(document, "sessions")));
    }
    else {
        print_sessions(document, p);
    }
    json_decref(document);
    return PERSONA_TOOL_OK;
}

/** Ask, and print the answer's number `count` with its words, or the answer. */
static int ask_and_tell(const persona_tool_args_t *args, json_t *request, const char *count,
                        const char *words, apr_pool_t *p)
{
    json_t *answer = persona_tool_ask(args, request, p);

    if (!answer) {
        return PERSONA_TOOL_PROBLEMS;
    }
    if (args->json) {
        persona_tool_print(answer);
        return PERSONA_TOOL_OK;
    }
    if (count) {
        printf("%d %s\n", number_of(answer, count), words);
    }
    json_decref(answer);
    return PERSONA_TOOL_OK;
}

static int has(const persona_tool_args_t *args, const char *option)
{
    return apr_table_get(args->options, option) != NULL;
}

static int drain(const persona_tool_args_t *args, apr_pool_t *p)
{
    const char *persona = args->words->nelts ? APR_ARRAY_IDX(args->words, 0, const char *) : NULL;
    const char *compute = apr_table_get(args->options, "compute");
    json_t *request;

    if ((persona != NULL) + (compute != NULL) + has(args, "all") != 1) {
        return persona_tool_usage("drain needs one of a PERSONA, --compute NAME, and --all");
    }
    request = json_pack("{s:s, s:s*, s:s*, s:b, s:b, s:b}", "op", "drain", "persona", persona,
                        "compute", compute, "all", has(args, "all"), "off", has(args, "off"),
                        "sessions", has(args, "sessions"));
    return ask_and_tell(args, request, "retired", "instances are being retired", p);
}

static int refresh(const persona_tool_args_t *args, apr_pool_t *p)
{
    return ask_and_tell(args,
                        json_pack("{s:s, s:s}", "op", "refresh", "persona",
                                  APR_ARRAY_IDX(args->words, 0, const char *)),
                        "refreshed", "instances are being replaced", p);
}

static int retire(const persona_tool_args_t *args, apr_pool_t *p)
{
    return ask_and_tell(args,
                        json_pack("{s:s, s:s, s:b}", "op", "retire", "instance",
                                  APR_ARRAY_IDX(args->words, 0, const char *), "force",
                                  has(args, "force")),
                        NULL, NULL, p);
}

/** The whole session id from what `sessions` shows of it; NULL, and said: none or several. */
static const char *whole_session(const persona_tool_args_t *args, const char *start, apr_pool_t *p)
{
    json_t *document = persona_tool_ask(args, json_pack("{s:s}", "op", "status"), p);
    const char *found = NULL;
    const json_t *session;
    int count = 0;
    size_t i;

    if (!document) {
        return NULL;
    }
    json_array_foreach(json_object_get(document, "sessions"), i, session)
    {
        if (!strncmp(text_of(session, "session"), start, strlen(start))) {
            found = apr_pstrdup(p, text_of(session, "session"));
            count++;
        }
    }
    json_decref(document);
    if (count != 1) {
        fprintf(stderr,
                "personactl: %s sessions begin with \"%s\"; \"personactl sessions\" lists them\n",
                count ? "several" : "no", start);
        return NULL;
    }
    return found;
}

static int end(const persona_tool_args_t *args, apr_pool_t *p)
{
    const char *session = whole_session(args, APR_ARRAY_IDX(args->words, 0, const char *), p);

    if (!session) {
        return PERSONA_TOOL_PROBLEMS;
    }
    return ask_and_tell(args,
                        json_pack("{s:s, s:s, s:s*}", "op", "end", "session", session, "reason",
                                  apr_table_get(args->options, "reason")),
                        NULL, NULL, p);
}

static int reload(const persona_tool_args_t *args, apr_pool_t *p)
{
    json_t *answer = persona_tool_ask(args, json_pack("{s:s}", "op", "reload"), p);
    const json_t *error;
    int problems;
    size_t i;

    if (!answer) {
        return PERSONA_TOOL_PROBLEMS;
    }
    problems = (int)json_array_size(json_object_get(answer, "errors"));
    if (args->json) {
        persona_tool_print(answer);
        return problems ? PERSONA_TOOL_PROBLEMS : PERSONA_TOOL_OK;
    }
    json_array_foreach(json_object_get(answer, "errors"), i, error)
    {
        fprintf(stderr, "%s\n", json_string_value(error));
    }
    printf("%d personas are in force\n", number_of(answer, "personas"));
    json_decref(answer);
    return problems ? PERSONA_TOOL_PROBLEMS : PERSONA_TOOL_OK;
}

static int audit(const persona_tool_args_t *args, apr_pool_t *p)
{
    json_t *answer = persona_tool_ask(args, json_pack("{s:s, s:b}", "op", "audit", "repair", has(args, "repair")), p);
    const json_t *one;
    int holds;
    size_t i;

    if (!answer) {
        return PERSONA_TOOL_PROBLEMS;
    }
    holds = json_is_true(json_object_get(answer, "holds"));
    if (args->json) {
        persona_tool_print(answer);
        return holds ? PERSONA_TOOL_OK : PERSONA_TOOL_PROBLEMS;
    }
    json_array_foreach(json_object_get(answer, "findings"), i, one)
    {
        printf("%s  instance %s: %s%s\n", text_of(one, "promise"), text_of(one, "instance"), text_of(one, "text"),
               json_is_true(json_object_get(one, "repaired")) ? " (repaired)" : "");
    }
    json_array_foreach(json_object_get(answer, "unknown"), i, one)
    {
        printf("not known: %s\n", json_string_value(one));
    }
    printf("%d instances, %d sessions: %s\n", number_of(answer, "instances"), number_of(answer, "sessions"),
           holds ? "every promise holds" : "not every promise holds");
    json_decref(answer);
    return holds ? PERSONA_TOOL_OK : PERSONA_TOOL_PROBLEMS;
}

/* ---- history ---- */

static const char *utc(apr_time_t at, int seconds, apr_pool_t *p)
{
    apr_time_exp_t t;

    apr_time_exp_gmt(&t, at);
    return apr_psprintf(p, seconds ? "%04d-%02d-%02d %02d:%02d:%02d" : "%04d-%02d-%02d %02d:%02d", t.tm_year + 1900,
                        t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

/** "2h" ago, or "2026-11-24", "2026-11-24T10:30", UTC. 0: it is neither. */
static apr_time_t since_of(const char *text, apr_pool_t *p)
{
    apr_time_exp_t t = {0};
    apr_interval_time_t ago_us;
    apr_time_t at = 0;
    int day = 0, whole = 0, hour = 0, minute = 0;

    if (sscanf(text, "%4d-%2d-%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday, &day) == 3) {
        if (text[day] && (sscanf(text + day, "%*[T ]%2d:%2d%n", &hour, &minute, &whole) != 2 || text[day + whole])) {
            return 0;
        }
        t.tm_year -= 1900;
        t.tm_mon -= 1;
        t.tm_hour = hour;
        t.tm_min = minute;
        if (t.tm_mon < 0 || t.tm_mon > 11 || t.tm_mday < 1 || t.tm_mday > 31 || hour > 23 || minute > 59) {
            return 0;
        }
        return apr_time_exp_get(&at, &t) == APR_SUCCESS ? at : 0;
    }
    return persona_duration_parse(text, &ago_us, p) ? 0 : apr_time_now() - ago_us;
}

static const char *milliseconds(const json_t *row, const char *name, apr_pool_t *p)
{
    const json_t *value = json_object_get(row, name);

    return json_is_integer(value) ? apr_psprintf(p, "%.1fs", (double)json_integer_value(value) / 1000) : "";
}

static void print_events(const json_t *rows, apr_pool_t *p)
{
    static const char *const names[] = {"TIME (UTC)", "EVENT", "USER", "PERSONA", "SESSION",
                                        "INSTANCE",   "START", "WAIT", "TOOK",    "REASON"};
    table_t table = table_make(p, 10);
    const json_t *row;
    size_t i;

    heads(&table, names);
    json_array_foreach(rows, i, row)
    {
        cell(&table, utc(json_integer_value(json_object_get(row, "at")), 1, p));
        cell(&table, text_of(row, "kind"));
        cell(&table, text_of(row, "user"));
        cell(&table, text_of(row, "persona"));
        cell(&table, text_of(row, "session"));
        cell(&table, text_of(row, "instance"));
        cell(&table, text_of(row, "start"));
        cell(&table, milliseconds(row, "wait_ms", p));
        cell(&table, milliseconds(row, "took_ms", p));
        cell_cut(&table, text_of(row, "reason"), REASON_MAX);
    }
    table_print(&table);
}

static void print_hours(const json_t *rows, apr_pool_t *p)
{
    static const char *const names[] = {"HOUR (UTC)", "PERSONA", "CLAIMS", "COLD",   "WAIT MEAN",
                                        "WAIT MAX",   "HIGH",    "BOOTS",  "FAILED", "VISITS"};
    table_t table = table_make(p, 10);
    const json_t *row;
    size_t i;

    heads(&table, names);
    json_array_foreach(rows, i, row)
    {
        int claims = number_of(row, "claims");

        cell(&table, utc(apr_time_from_sec(json_integer_value(json_object_get(row, "hour"))), 0, p));
        cell(&table, text_of(row, "persona"));
        cell_number(&table, claims);
        cell_number(&table, number_of(row, "cold"));
        cell(&table, claims ? apr_psprintf(p, "%.1fs", (double)json_integer_value(json_object_get(row, "wait_ms")) /
                                                           1000 / claims)
                            : "");
        cell(&table, milliseconds(row, "wait_max_ms", p));
        cell_number(&table, number_of(row, "high"));
        cell_number(&table, number_of(row, "booted"));
        cell_number(&table, number_of(row, "failed"));
        cell_number(&table, number_of(row, "visits"));
    }
    table_print(&table);
}

/** Page by page, so that no answer is longer than a message may be. Oldest first; NULL: it has been said why not. */
static json_t *history_rows(const persona_tool_args_t *args, apr_time_t since, int limit, int *more, apr_pool_t *p)
{
    const char *cursor = has(args, "hours") ? "hour" : "id";
    json_int_t before = 0;
    json_t *all = json_array(), *oldest_first;
    size_t n;

    *more = 1;
    while (*more && (!limit || (int)json_array_size(all) < limit)) {
        json_t *request = json_pack("{s:s, s:s*, s:s*, s:s*, s:I, s:I, s:i, s:b}", "op", "history", "user",
                                    apr_table_get(args->options, "user"), "persona",
                                    apr_table_get(args->options, "persona"), "instance",
                                    apr_table_get(args->options, "instance"), "since", (json_int_t)since,
                                    "before", before, "limit",
                                    limit ? limit - (int)json_array_size(all) : 0, "hours",
                                    has(args, "hours"));
        json_t *answer = persona_tool_ask(args, request, p);
        json_t *rows = json_object_get(answer, "rows");
        size_t count = json_array_size(rows);

        if (!answer) {
            json_decref(all);
            return NULL;
        }
        json_array_extend(all, rows);
        before = json_integer_value(json_object_get(json_array_get(rows, count ? count - 1 : 0), cursor));
        *more = count && json_is_true(json_object_get(answer, "more"));
        json_decref(answer);
    }
    oldest_first = json_array();
    for (n = json_array_size(all); n > 0; n--) {
        json_array_append(oldest_first, json_array_get(all, n - 1));
    }
    json_decref(all);
    return oldest_first;
}

static int history(const persona_tool_args_t *args, apr_pool_t *p)
{
    const char *from = apr_table_get(args->options, "since"), *most = apr_table_get(args->options, "limit");
    apr_time_t since = from ? since_of(from, p) : 0;
    apr_int64_t limit = from ? 0 : HISTORY_SHOWN;
    json_t *rows;
    char *end = NULL;
    int more = 0;

    if (from && since <= 0) {
        return persona_tool_usage("--since takes a duration such as 2h or 3d, or a time of UTC such as 2026-11-24 or "
                                  "2026-11-24T10:30");
    }
    if (most) {
        limit = apr_strtoi64(most, &end, 10);
        if (end == most || *end || limit < 0 || limit > APR_INT32_MAX) {
            return persona_tool_usage("--limit takes a number; 0 is all");
        }
    }
    rows = history_rows(args, since, (int)limit, &more, p);
    if (!rows) {
        return PERSONA_TOOL_PROBLEMS;
    }
    if (args->json) {
        persona_tool_print(rows);
        return PERSONA_TOOL_OK;
    }
    if (has(args, "hours")) {
        print_hours(rows, p);
    }
    else {
        print_events(rows, p);
    }
    if (more) {
        fprintf(stderr, "personactl: there is more; ask with --since or --limit\n");
    }
    json_decref(rows);
    return PERSONA_TOOL_OK;
}

#define END_OF_OPTIONS                                                                             \
    {                                                                                              \
        NULL, 0, 0, NULL                                                                           \
    }

static const apr_getopt_option_t plain_options[] = {PERSONA_TOOL_SOCKET, PERSONA_TOOL_JSON,
                                                    END_OF_OPTIONS};
static const apr_getopt_option_t drain_options[] = {
    PERSONA_TOOL_SOCKET,
    {"compute", 'c', 1, "drain this PersonaCompute: nothing more is made there"},
    {"all", 'a', 0, "drain everything, sessions too"},
    {"sessions", 'S', 0, "end the sessions too"},
    {"off", 'o', 0, "end the drain: the pools are filled again"},
    PERSONA_TOOL_JSON,
    END_OF_OPTIONS};
static const apr_getopt_option_t retire_options[] = {
    PERSONA_TOOL_SOCKET,
    {"force", 'f', 0, "also when a session has it: that session ends"},
    PERSONA_TOOL_JSON,
    END_OF_OPTIONS};
static const apr_getopt_option_t audit_options[] = {
    PERSONA_TOOL_SOCKET,
    {"repair", 'R', 0, "put right what can be; nothing with an open stream is touched"},
    PERSONA_TOOL_JSON,
    END_OF_OPTIONS};
static const apr_getopt_option_t history_options[] = {
    PERSONA_TOOL_SOCKET,
    {"user", 'u', 1, "of this user only"},
    {"persona", 'p', 1, "of this persona only"},
    {"instance", 'i', 1, "of this instance only"},
    {"since", 'S', 1, "from then on: 2h, 3d, 2026-11-24, 2026-11-24T10:30 (UTC)"},
    {"limit", 'l', 1, "the newest so many, 0: all (default 100, with --since all)"},
    {"hours", 'H', 0, "sums by hour, which are kept for ever, instead of events"},
    PERSONA_TOOL_JSON,
    END_OF_OPTIONS};
static const apr_getopt_option_t end_options[] = {
    PERSONA_TOOL_SOCKET, {"reason", 'r', 1, "what its user is told"}, PERSONA_TOOL_JSON, END_OF_OPTIONS};

const persona_command_t persona_commands_control[] = {
    {"status", "", "Show the pools, computes and problems of the running manager.", NULL, 0, 0, plain_options,
     0, status},
    {"sessions", "", "Show who has which instance.", NULL, 0, 0, plain_options, 0, sessions},
    {"history", "", "Show who got which instance when and why, and what became of it.",
     "Times are UTC, the newest comes last. What is shown is of all gateways that use the same PersonaDatabase; a\n"
     "local file has this gateway's only.",
     0, 0, history_options, 0, history},
    {"drain", "[PERSONA]", "Empty a pool, a compute, or everything.",
     "The pool stays empty until \"drain --off\" or the manager's next start. Sessions go on, unless --sessions\n"
     "or --all is given. To take everything down: personactl drain --all, wait until status shows nothing, then\n"
     "stop httpd.",
     0, 1, drain_options, 0, drain},
    {"refresh", "PERSONA", "Replace all unassigned instances of a persona, a few at a time.", NULL,
     1, 1, plain_options, 0, refresh},
    {"retire", "INSTANCE", "Retire one instance.", NULL, 1, 1, retire_options, 0, retire},
    {"end", "SESSION", "End one session; the first characters of its id are enough.", NULL, 1, 1,
     end_options, 0, end},
    {"reload", "", "Read the persona folder again, now.", NULL, 0, 0, plain_options, 0, reload},
    {"audit", "", "Check that no promise is broken: one session an instance, one instance a session, none lost.",
     "Compares providers, index and manager while claims go on. I1: an instance is one session's; I2: no instance or\n"
     "fence is lost sight of; I3: no session is lost; I5: a session has one instance. Exit status 1: something is\n"
     "broken, or could not be looked at.",
     0, 0, audit_options, 0, audit},
    {NULL, NULL, NULL, NULL, 0, 0, NULL, 0, NULL}};

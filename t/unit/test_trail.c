/* SPDX-License-Identifier: Apache-2.0 */
/* The history in SQLite: what is written and once, and what a locked, full, damaged or vanished database costs. */
#include "scratch.h"

#include <pwd.h>
#include <sched.h>
#include <sys/mount.h>

#include "manager/trail.h"

#define PATIENCE apr_time_from_sec(60)

static persona_trail_t *trail;
static persona_trail_conf_t conf;
static persona_database_t *other; /* somebody else's connection */

static void silent(void *baton, const char *file, int line, persona_log_level_e level, apr_status_t status,
                   const char *message)
{
    char *said = baton;

    if (level <= PERSONA_LOG_NOTICE) {
        apr_cpystrn(said + strlen(said), message, 8192 - strlen(said));
    }
    if (getenv("PERSONA_TEST_LOG")) {
        fprintf(stderr, "# %s:%d %d (%d) %s\n", file, line, level, status, message);
    }
}

static char said[8192]; /* by the log */

static int setup(void **state)
{
    said[0] = '\0';
    persona_log_set(silent, said, PERSONA_LOG_DEBUG);
    memset(&conf, 0, sizeof(conf));
    trail = NULL;
    other = NULL;
    if (scratch_setup(state)) {
        return -1;
    }
    conf.driver = "sqlite3";
    conf.params = scratch_path("history.db");
    conf.gateway = "0123456789abcdef0123456789abcdef";
    return 0;
}

static int teardown(void **state)
{
    persona_database_close(other);
    persona_trail_stop(trail, PATIENCE);
    return scratch_teardown(state);
}

#define TRAIL_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void start(void)
{
    assert_int_equal(persona_trail_create(&trail, &conf, unit_pool), APR_SUCCESS);
}

static void end(void)
{
    assert_int_equal(persona_trail_stop(trail, PATIENCE), 0);
    trail = NULL;
}

static void push(persona_event_e kind, const char *user, const char *persona)
{
    persona_event_t e = PERSONA_EVENT_NONE;

    e.kind = kind;
    e.at = apr_time_now();
    e.user = user;
    e.persona = persona;
    persona_trail_push(trail, &e);
}

static apr_int64_t status_number(const char *name)
{
    json_t *status = persona_trail_status(trail);
    apr_int64_t n = json_integer_value(json_object_get(status, name));

    json_decref(status);
    return n;
}

static const char *status_text(const char *name)
{
    json_t *status = persona_trail_status(trail);
    const char *text = json_string_value(json_object_get(status, name));

    text = apr_pstrdup(unit_pool, text ? text : "");
    json_decref(status);
    return text;
}

static void wait_state(const char *wanted)
{
    for (apr_time_t until = apr_time_now() + PATIENCE; strcmp(status_text("state"), wanted);) {
        assert_true(apr_time_now() < until);
        apr_sleep(apr_time_from_msec(20));
    }
}

/** Until nothing waits to be written. */
static void settle(void)
{
    for (apr_time_t until = apr_time_now() + PATIENCE; status_number("queued") || strcmp(status_text("state"), "ok");) {
        assert_true(apr_time_now() < until);
        apr_sleep(apr_time_from_msec(10));
    }
}

static json_t *read_query(const persona_history_query_t *query, int *more)
{
    persona_result_t res = {0};
    json_t *rows = NULL;

    if (persona_trail_read(trail, query, &rows, more, &res, unit_pool) != APR_SUCCESS) {
        fail_msg("cannot be read: %s", res.detail);
    }
    return rows;
}

/** What is in the history but for "start", newest first. */
static json_t *read_all(void)
{
    persona_history_query_t query = {{NULL, NULL}, NULL, NULL, 0, 0, 0, 0};
    json_t *rows, *row;
    size_t i;
    int more;

    rows = read_query(&query, &more);
    for (i = json_array_size(rows); i-- > 0;) {
        row = json_array_get(rows, i);
        if (!strcmp(json_string_value(json_object_get(row, "kind")), "start")) {
            json_array_remove(rows, i);
        }
    }
    return rows;
}

static int count_rows(void)
{
    json_t *rows = read_all();
    int n = (int)json_array_size(rows);

    json_decref(rows);
    return n;
}

static const char *cell(const json_t *rows, int i, const char *name)
{
    const json_t *value = json_object_get(json_array_get(rows, (size_t)i), name);

    if (json_is_integer(value)) {
        return apr_psprintf(unit_pool, "%" APR_INT64_T_FMT, (apr_int64_t)json_integer_value(value));
    }
    return json_string_value(value) ? apr_pstrdup(unit_pool, json_string_value(value)) : "";
}

/** The sums of a persona over all hours. */
static apr_int64_t hours(const char *persona, const char *column)
{
    persona_history_query_t query = {{NULL, NULL}, persona, NULL, 0, 0, 0, 1};
    apr_int64_t sum = 0;
    json_t *rows;
    int more;

    rows = read_query(&query, &more);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        sum += json_integer_value(json_object_get(json_array_get(rows, i), column));
    }
    json_decref(rows);
    return sum;
}

static void run_other(const char *sql)
{
    persona_result_t res = {0};

    if (!other) {
        assert_int_equal(persona_database_open(&other, "sqlite3", conf.params, &res, unit_pool), PERSONA_DATABASE_OK);
    }
    if (persona_database_run(other, sql, &res) != PERSONA_DATABASE_OK) {
        fail_msg("%s: %s", sql, res.detail);
    }
}

static void what_happened_is_told(void **state)
{
    persona_event_t e = PERSONA_EVENT_NONE;
    json_t *rows;

    (void)state;
    start();
    e.kind = PERSONA_EVENT_CLAIM;
    e.at = apr_time_now();
    e.user = "ada";
    e.roles = "engineer, graphic designer";
    e.app = "cad";
    e.persona = "cad-designer";
    e.session = "0123456789ab";
    e.instance = "00000000-0000-4000-8000-000000000001";
    e.compute = "kvm";
    e.host = "h1";
    e.cold = 1;
    e.ticket = 7;
    e.wait = 1234;
    persona_trail_push(trail, &e);
    e.cold = 0;
    e.wait = 10;
    persona_trail_push(trail, &e);
    push(PERSONA_EVENT_SIGNIN, "ada", NULL);
    settle();
    rows = read_all();
    assert_int_equal(json_array_size(rows), 3);
    assert_string_equal(cell(rows, 2, "kind"), "claim");
    assert_string_equal(cell(rows, 2, "user"), "ada");
    assert_string_equal(cell(rows, 2, "roles"), "engineer, graphic designer");
    assert_string_equal(cell(rows, 2, "app"), "cad");
    assert_string_equal(cell(rows, 2, "persona"), "cad-designer");
    assert_string_equal(cell(rows, 2, "session"), "0123456789ab");
    assert_string_equal(cell(rows, 2, "instance"), "00000000-0000-4000-8000-000000000001");
    assert_string_equal(cell(rows, 2, "compute"), "kvm");
    assert_string_equal(cell(rows, 2, "host"), "h1");
    assert_string_equal(cell(rows, 2, "start"), "cold");
    assert_string_equal(cell(rows, 2, "ticket"), "7");
    assert_string_equal(cell(rows, 2, "wait_ms"), "1234");
    assert_string_equal(cell(rows, 2, "gateway"), conf.gateway);
    assert_string_equal(cell(rows, 2, "at"), apr_psprintf(unit_pool, "%" APR_TIME_T_FMT, e.at));
    assert_string_equal(cell(rows, 1, "start"), "warm");
    assert_string_equal(cell(rows, 0, "kind"), "signin");
    assert_string_equal(cell(rows, 0, "ticket"), "");
    json_decref(rows);
    assert_int_equal(hours("cad-designer", "claims"), 2);
    assert_int_equal(hours("cad-designer", "cold"), 1);
    assert_int_equal(hours("cad-designer", "warm"), 1);
    assert_int_equal(hours("cad-designer", "wait_ms"), 1244);
    assert_int_equal(hours("cad-designer", "wait_max_ms"), 1234);
    assert_int_equal(hours("", "signins"), 1);
    assert_non_null(strstr(said, "this gateway's only"));
}

static void the_most_sessions_of_an_hour_are_kept(void **state)
{
    static const int highs[] = {3, 10, 9};
    persona_event_t e = PERSONA_EVENT_NONE;

    (void)state;
    start();
    e.kind = PERSONA_EVENT_HIGH;
    e.at = apr_time_now();
    e.persona = "one";
    for (int i = 0; i < 3; i++) {
        e.high = highs[i];
        persona_trail_push(trail, &e);
        settle();
    }
    assert_int_equal(hours("one", "high"), 10);
    assert_int_equal(count_rows(), 0);
}

static void one_event_is_written_once(void **state)
{
    persona_trail_conf_t second;
    persona_trail_t *first;
    persona_event_t e = PERSONA_EVENT_NONE;
    json_t *rows;

    (void)state;
    start();
    first = trail;
    second = conf;
    second.gateway = "fedcba9876543210fedcba9876543210";
    e.kind = PERSONA_EVENT_END;
    e.at = apr_time_now();
    e.persona = "one";
    e.mark = "end/x/y";
    for (int i = 0; i < 3; i++) {
        persona_trail_push(first, &e);
    }
    settle();
    assert_int_equal(persona_trail_create(&trail, &second, unit_pool), APR_SUCCESS);
    persona_trail_push(trail, &e);
    settle();
    rows = read_all();
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(cell(rows, 0, "gateway"), conf.gateway);
    json_decref(rows);
    assert_int_equal(hours("one", "ends"), 1);
    end();
    trail = first;
}

static void hostile_names_are_only_names(void **state)
{
    char *endless = apr_palloc(unit_pool, 100001);
    static const char *const names[][2] = {
        {"o'brien \"the\" user; DROP TABLE persona_events; --", "o'brien \"the\" user; DROP TABLE persona_events; --"},
        {"%s%n%lld?$1", "%s%n%lld?$1"},
        {"\xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x8e\xb7", "\xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x8e\xb7"},
        {"\xff\xfe\xc0\xaf\xed\xa0\x80", "???????"},
        {"a\nb\tc\x7f", "a?b?c?"},
    };
    persona_history_query_t query = {{NULL, NULL}, NULL, NULL, 0, 0, 0, 0};
    json_t *rows;
    int more;

    (void)state;
    start();
    for (int i = 0; i < 5; i++) {
        push(PERSONA_EVENT_VISIT, names[i][0], NULL);
    }
    /* cut between characters, not in one: 255 bytes are 127 and a half of two */
    for (int i = 0; i < 100000; i += 2) {
        memcpy(endless + i, "\xc3\xa4", 2);
    }
    endless[100000] = '\0';
    push(PERSONA_EVENT_VISIT, endless, NULL);
    settle();
    rows = read_all();
    assert_int_equal(json_array_size(rows), 6);
    for (int i = 0; i < 5; i++) {
        assert_string_equal(cell(rows, 5 - i, "user"), names[i][1]);
    }
    assert_int_equal(strlen(cell(rows, 0, "user")), 254);
    json_decref(rows);
    query.users[0] = names[0][0];
    rows = read_query(&query, &more);
    assert_int_equal(json_array_size(rows), 1);
    json_decref(rows);
    query.users[0] = "' OR '1'='1";
    rows = read_query(&query, &more);
    assert_int_equal(json_array_size(rows), 0);
    json_decref(rows);
}

static void queries_narrow_and_page(void **state)
{
    persona_history_query_t query = {{NULL, NULL}, NULL, NULL, 0, 0, 10, 0};
    apr_time_t middle = 0;
    int seen = 0, more = 1;
    json_t *rows;

    (void)state;
    start();
    settle();
    for (apr_time_t until = apr_time_now() + PATIENCE; !status_number("written");) {
        assert_true(apr_time_now() < until);
        apr_sleep(apr_time_from_msec(10));
    }
    for (int i = 0; i < 35; i++) {
        push(PERSONA_EVENT_CLAIM, i % 2 ? "ada" : "bob", i % 5 ? "one" : "two");
        apr_sleep(1000);
        middle = i == 19 ? apr_time_now() : middle;
    }
    settle();
    while (more) {
        rows = read_query(&query, &more);
        seen += (int)json_array_size(rows);
        query.before = atoi(cell(rows, (int)json_array_size(rows) - 1, "id"));
        json_decref(rows);
    }
    assert_int_equal(seen, 36); /* with the start of the writer */
    query.before = 0;
    query.limit = 0;
    query.users[0] = "ada";
    rows = read_query(&query, &more);
    assert_int_equal(json_array_size(rows), 17);
    json_decref(rows);
    query.persona = "two";
    rows = read_query(&query, &more);
    assert_int_equal(json_array_size(rows), 3);
    json_decref(rows);
    query.users[0] = query.persona = NULL;
    query.since = middle;
    rows = read_query(&query, &more);
    assert_int_equal(json_array_size(rows), 15);
    json_decref(rows);
}

static void nobody_waits_for_a_locked_database(void **state)
{
    apr_time_t began, slowest = 0;

    (void)state;
    start();
    settle();
    run_other("BEGIN EXCLUSIVE");
    for (int i = 0; i < 2000; i++) {
        began = apr_time_now();
        push(PERSONA_EVENT_CLAIM, "ada", "one");
        began = apr_time_now() - began;
        slowest = began > slowest ? began : slowest;
    }
    wait_state("down");
    assert_non_null(strstr(status_text("problem"), "locked"));
    print_message("# the slowest of 2000 pushes took %d us\n", (int)slowest);
    assert_true(slowest < apr_time_from_sec(1)); /* the lock lasts longer */
    run_other("ROLLBACK");
    settle();
    assert_int_equal(hours("one", "claims"), 2000);
    assert_int_equal(status_number("lost"), 0);
    assert_non_null(strstr(said, "cannot be written"));
    assert_non_null(strstr(said, "written again"));
}

static void a_full_queue_is_counted_and_told(void **state)
{
    json_t *rows;
    apr_int64_t lost;

    (void)state;
    conf.queue = 50;
    start();
    settle();
    run_other("BEGIN EXCLUSIVE");
    push(PERSONA_EVENT_CLAIM, "ada", "one");
    wait_state("down");
    for (int i = 0; i < 1000; i++) {
        push(PERSONA_EVENT_CLAIM, "ada", "one");
    }
    lost = status_number("lost");
    assert_true(lost >= 1000 - 50 && lost < 1000);
    assert_true(status_number("queued") <= 51);
    persona_trail_tend(trail);
    persona_trail_tend(trail);
    assert_non_null(strstr(said, "were not kept for the history"));
    assert_null(strstr(strstr(said, "were not kept for the history") + 1, "were not kept for the history"));
    run_other("ROLLBACK");
    settle();
    push(PERSONA_EVENT_CLAIM, "ada", "one");
    settle();
    assert_int_equal(hours("one", "claims"), 1002 - lost);
    rows = read_all();
    for (size_t i = 0; i < json_array_size(rows); i++) {
        if (!strcmp(cell(rows, (int)i, "kind"), "lost")) {
            assert_string_equal(cell(rows, (int)i, "reason"),
                                apr_psprintf(unit_pool, "%d events could not be written", (int)lost));
            json_decref(rows);
            return;
        }
    }
    fail_msg("the history does not tell what it lacks");
}

static void what_is_left_at_the_end_is_counted(void **state)
{
    (void)state;
    start();
    settle();
    run_other("BEGIN EXCLUSIVE");
    for (int i = 0; i < 7; i++) {
        push(PERSONA_EVENT_CLAIM, "ada", "one");
    }
    assert_int_equal(persona_trail_stop(trail, PATIENCE), 7);
    trail = NULL;
}

static void a_full_disk_loses_nothing_that_fits_the_queue(void **state)
{
    const char *filler = scratch_path("filler");
    static const char block[4096];
    FILE *f;

    (void)state;
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", scratch, "tmpfs", 0, "size=4m")) {
        print_message("# SKIP needs to be root\n");
        skip();
    }
    start();
    settle();
    f = fopen(filler, "w");
    assert_non_null(f);
    setvbuf(f, NULL, _IONBF, 0);
    while (fwrite(block, sizeof(block), 1, f) == 1 || fputc('x', f) != EOF) {
    }
    fclose(f);
    for (int i = 0; i < 3000; i++) {
        push(PERSONA_EVENT_CLAIM, "ada", "one");
    }
    wait_state("down");
    assert_int_equal(unlink(filler), 0);
    assert_true(strlen(status_text("problem")) > 0);
    assert_int_equal(status_number("lost"), 0);
    end();
    assert_int_equal(umount2(scratch, MNT_DETACH), 0);
}

static int damaged_files(void)
{
    DIR *d = opendir(scratch);
    struct dirent *entry;
    int n = 0;

    while (d && (entry = readdir(d)) != NULL) {
        n += strstr(entry->d_name, ".damaged-") && !strstr(entry->d_name, "-wal") && !strstr(entry->d_name, "-shm");
    }
    closedir(d);
    return n;
}

static void what_is_no_database_is_set_aside(void **state)
{
    (void)state;
    scratch_file("history.db", "this was a history once, and somebody has written something else over all of it\n");
    start();
    push(PERSONA_EVENT_CLAIM, "ada", "one");
    settle();
    assert_int_equal(count_rows(), 1);
    assert_int_equal(damaged_files(), 1);
    assert_non_null(strstr(said, "is damaged"));
}

static void a_damaged_database_is_set_aside(void **state)
{
    char junk[4096];
    FILE *f;

    (void)state;
    start();
    for (int i = 0; i < 500; i++) {
        push(PERSONA_EVENT_CLAIM, "ada", "one");
    }
    settle();
    end();
    f = fopen(conf.params, "r+");
    assert_non_null(f);
    memset(junk, 0xa5, sizeof(junk));
    /* all but the page with the list of tables */
    fseek(f, 0, SEEK_END);
    for (long pages = ftell(f) / 4096; pages > 1; pages--) {
        fseek(f, (pages - 1) * 4096, SEEK_SET);
        assert_int_equal(fwrite(junk, 1, sizeof(junk), f), sizeof(junk));
    }
    fclose(f);
    start();
    push(PERSONA_EVENT_CLAIM, "bob", "one");
    settle();
    assert_int_equal(count_rows(), 1);
    assert_int_equal(damaged_files(), 1);
}

static void damage_under_a_running_writer_is_met(void **state)
{
    persona_history_query_t query = {{NULL, NULL}, NULL, NULL, 0, 0, 0, 0};
    persona_result_t res = {0};
    json_t *rows = NULL;
    FILE *f;
    int more;

    (void)state;
    start();
    push(PERSONA_EVENT_CLAIM, "ada", "one");
    settle();
    f = fopen(conf.params, "w"); /* the same file, another content */
    assert_non_null(f);
    for (int i = 0; i < 5000; i++) {
        fputs("nonsense", f);
    }
    fclose(f);
    unlink(scratch_path("history.db-wal"));
    /* Who reads it meets the damage first; the writer looks closer. What it still has in hand may mend the file. */
    assert_int_equal(persona_trail_read(trail, &query, &rows, &more, &res, unit_pool), APR_EGENERAL);
    for (apr_time_t until = apr_time_now() + PATIENCE;
         persona_trail_read(trail, &query, &rows, &more, &res, unit_pool) != APR_SUCCESS;) {
        assert_true(apr_time_now() < until);
        apr_sleep(apr_time_from_msec(50));
    }
    json_decref(rows);
    push(PERSONA_EVENT_CLAIM, "bob", "two");
    settle();
    assert_int_equal(hours("two", "claims"), 1);
}

static void a_vanished_database_is_begun_anew(void **state)
{
    (void)state;
    start();
    push(PERSONA_EVENT_CLAIM, "ada", "one");
    settle();
    unlink(conf.params);
    push(PERSONA_EVENT_CLAIM, "bob", "one");
    settle();
    assert_int_equal(access(conf.params, F_OK), 0);
    assert_int_equal(count_rows(), 1);
    assert_int_equal(status_number("lost"), 0);
}

static void a_dropped_table_is_made_again(void **state)
{
    (void)state;
    start();
    push(PERSONA_EVENT_CLAIM, "ada", "one");
    settle();
    run_other("DROP TABLE persona_events");
    push(PERSONA_EVENT_CLAIM, "bob", "one");
    settle();
    assert_int_equal(count_rows(), 1);
    assert_int_equal(hours("one", "claims"), 2);
    assert_int_equal(status_number("lost"), 0);
}

static void one_event_that_is_refused_holds_up_no_other(void **state)
{
    (void)state;
    start();
    settle();
    run_other("CREATE TRIGGER no BEFORE INSERT ON persona_events WHEN NEW.persona = 'bad' BEGIN "
              "SELECT RAISE(ABORT, 'not this one'); END");
    for (int i = 0; i < 50; i++) {
        push(PERSONA_EVENT_CLAIM, "ada", i == 20 ? "bad" : "one");
    }
    settle();
    assert_int_equal(hours("one", "claims"), 49);
    assert_int_equal(status_number("lost"), 1);
    assert_non_null(strstr(said, "not this one"));
}

static void old_rows_go_and_sums_stay(void **state)
{
    persona_event_t e = PERSONA_EVENT_NONE;

    (void)state;
    conf.keep = apr_time_from_sec(86400);
    start();
    e.kind = PERSONA_EVENT_CLAIM;
    e.persona = "one";
    e.at = apr_time_now() - apr_time_from_sec(10 * 86400);
    for (int i = 0; i < 1300; i++) {
        persona_trail_push(trail, &e);
    }
    push(PERSONA_EVENT_CLAIM, "ada", "one");
    settle();
    end();
    start(); /* it looks at once */
    for (apr_time_t until = apr_time_now() + PATIENCE; count_rows() > 1;) {
        assert_true(apr_time_now() < until);
        apr_sleep(apr_time_from_msec(50));
    }
    assert_int_equal(count_rows(), 1);
    assert_int_equal(hours("one", "claims"), 1301);
}

static void names_can_be_pseudonyms(void **state)
{
    persona_history_query_t query = {{"grace.hopper", NULL}, NULL, NULL, 0, 0, 0, 0};
    const char *pseudonym;
    char *file;
    size_t len;
    json_t *rows;
    FILE *f;
    int more;

    (void)state;
    conf.pseudonym_keys[0] = "00112233";
    start();
    push(PERSONA_EVENT_VISIT, "grace.hopper", NULL);
    push(PERSONA_EVENT_CLAIM, "grace.hopper", "one");
    push(PERSONA_EVENT_CLAIM, "ada", "one");
    push(PERSONA_EVENT_ADMIN, "uid 0", NULL);
    settle();
    rows = read_query(&query, &more);
    assert_int_equal(json_array_size(rows), 2);
    pseudonym = cell(rows, 0, "user");
    assert_string_equal(pseudonym, cell(rows, 1, "user"));
    assert_string_equal(pseudonym, persona_trail_pseudonym("00112233", "grace.hopper", unit_pool));
    assert_string_not_equal(pseudonym, persona_trail_pseudonym("00112234", "grace.hopper", unit_pool));
    json_decref(rows);
    end();
    f = fopen(conf.params, "r");
    file = apr_pcalloc(unit_pool, 1 << 20);
    len = fread(file, 1, (1 << 20) - 1, f);
    fclose(f);
    assert_non_null(memmem(file, len, pseudonym, strlen(pseudonym)));
    assert_null(memmem(file, len, "grace", 5));
    assert_non_null(memmem(file, len, "uid 0", 5));
    /* who changes the key is still found by the old one */
    conf.pseudonym_keys[0] = "44556677";
    conf.pseudonym_keys[1] = "00112233";
    start();
    push(PERSONA_EVENT_VISIT, "grace.hopper", NULL);
    settle();
    rows = read_query(&query, &more);
    assert_int_equal(json_array_size(rows), 3);
    json_decref(rows);
}

static void newer_tables_are_left_alone(void **state)
{
    (void)state;
    start();
    settle();
    end();
    run_other("UPDATE persona_meta SET value = 99 WHERE name = 'schema'");
    start();
    push(PERSONA_EVENT_CLAIM, "ada", "one");
    wait_state("down");
    assert_non_null(strstr(status_text("problem"), "version 99"));
    run_other("UPDATE persona_meta SET value = 1 WHERE name = 'schema'");
    settle();
    assert_int_equal(hours("one", "claims"), 1);
}

static void one_reader_at_a_time(void **state)
{
    persona_history_query_t query = {{NULL, NULL}, NULL, NULL, 0, 0, 0, 0};
    persona_result_t res = {0};
    json_t *rows = NULL;
    int more;

    (void)state;
    conf.params = scratch_path("nowhere/history.db");
    start();
    wait_state("down");
    assert_int_equal(persona_trail_read(trail, &query, &rows, &more, &res, unit_pool), APR_EGENERAL);
    assert_non_null(strstr(res.detail, "nowhere"));
    /* and the next one is not refused for that */
    assert_int_equal(persona_trail_read(trail, &query, &rows, &more, &res, unit_pool), APR_EGENERAL);
}

static void says(const char *driver, const char *params, const char *words)
{
    const char *problem = persona_database_check(driver, params, NULL, scratch_path("made"), unit_pool);

    if (!words) {
        assert_null(problem);
    }
    else if (!problem || !strstr(problem, words)) {
        fail_msg("%s %s: says \"%s\", not \"%s\"", driver, params, problem ? problem : "nothing", words);
    }
}

static void what_is_configured_is_checked(void **state)
{
    const char *me = getpwuid(geteuid())->pw_name, *passfile = scratch_path("pass");

    (void)state;
    says("mysql", "x", "is not one of sqlite3, pgsql");
    says("sqlite3", "history.db", "not an absolute path");
    says("sqlite3", conf.params, NULL);
    says("sqlite3", scratch, "is not a file");
    says("sqlite3", scratch_path("made/x.db"), NULL);
    says("sqlite3", scratch_path("nowhere/x.db"), apr_psprintf(unit_pool, "install -d -o %s", me));
    if (geteuid() == 0) {
        assert_non_null(strstr(persona_database_check("sqlite3", conf.params, "nobody", NULL, unit_pool),
                               "chown nobody"));
    }
    if (persona_database_driver_check("pgsql", unit_pool)) {
        says("pgsql", "dbname=x", "apt-get install libaprutil1-dbd-pgsql");
        return;
    }
    says("pgsql", "dbname=x host=/run/postgresql", NULL);
    says("pgsql", "postgresql://u:p@h/x", "passfile=");
    says("pgsql", "x", "passfile=");
    says("pgsql", "dbname=x password=secret", "does not belong into the configuration");
    says("pgsql", "dbname='x y' password = 'se cret'", "does not belong into the configuration");
    says("pgsql", "dbname='password=x'", NULL);
    says("pgsql", "dbname=x passfile=pass", "not an absolute path");
    says("pgsql", apr_pstrcat(unit_pool, "dbname=x passfile=", passfile, NULL), "host:port:database:user:password");
    scratch_file("pass", "*:*:*:*:secret\n");
    chmod(passfile, 0644);
    says("pgsql", apr_pstrcat(unit_pool, "dbname=x passfile=", passfile, NULL), "chmod 0600");
    chmod(passfile, 0600);
    says("pgsql", apr_pstrcat(unit_pool, "dbname=x passfile=", passfile, NULL), NULL);
    if (geteuid() == 0) {
        assert_non_null(strstr(persona_database_check("pgsql", apr_pstrcat(unit_pool, "dbname=x passfile=", passfile,
                                                                           NULL), "nobody", NULL, unit_pool),
                               "chown nobody"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRAIL_TEST(what_happened_is_told),
        TRAIL_TEST(the_most_sessions_of_an_hour_are_kept),
        TRAIL_TEST(one_event_is_written_once),
        TRAIL_TEST(hostile_names_are_only_names),
        TRAIL_TEST(queries_narrow_and_page),
        TRAIL_TEST(nobody_waits_for_a_locked_database),
        TRAIL_TEST(a_full_queue_is_counted_and_told),
        TRAIL_TEST(what_is_left_at_the_end_is_counted),
        TRAIL_TEST(what_is_no_database_is_set_aside),
        TRAIL_TEST(a_damaged_database_is_set_aside),
        TRAIL_TEST(damage_under_a_running_writer_is_met),
        TRAIL_TEST(a_vanished_database_is_begun_anew),
        TRAIL_TEST(a_dropped_table_is_made_again),
        TRAIL_TEST(one_event_that_is_refused_holds_up_no_other),
        TRAIL_TEST(old_rows_go_and_sums_stay),
        TRAIL_TEST(names_can_be_pseudonyms),
        TRAIL_TEST(newer_tables_are_left_alone),
        TRAIL_TEST(one_reader_at_a_time),
        TRAIL_TEST(what_is_configured_is_checked),
        TRAIL_TEST(a_full_disk_loses_nothing_that_fits_the_queue),
    };

    return UNIT_RUN(tests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file database.c
 * @brief SQLite and PostgreSQL behind one interface.
 *
 * What apr_dbd's drivers do not tell is read from their words: its SQLite driver loses the error code, so a damaged
 * file is known by the message. A transaction is begun and ended by plain statements, because after a failure the
 * drivers' own transactions go on in a way that differs between them.
 */
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_dbd.h>
#include <apr_strings.h>

#include "database.h"

#define SQLITE "sqlite3"
#define PGSQL  "pgsql"
/** What an administrator writes comes after these, and goes before them. The last two end a connection whose network
 * has gone silent. */
#define PGSQL_DEFAULTS "connect_timeout=5 client_encoding=UTF8 application_name=personad keepalives_idle=10 " \
                       "keepalives_interval=5 keepalives_count=2 tcp_user_timeout=15000 "
#define GROUPS_MAX 256

struct persona_database_t {
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
    apr_pool_t *pool;
    const char *path; /**< of SQLite's file, or NULL */
    dev_t device;
    ino_t inode;
    int statements;
};

struct persona_statement_t {
    apr_dbd_prepared_t *prepared;
};

int persona_database_is_sqlite(const char *driver)
{
    return !strcmp(driver, SQLITE);
}

/* ---- what is configured ---- */

static const apr_dbd_driver_t *driver_load(const char *name, apr_pool_t *p)
{
    const apr_dbd_driver_t *driver = NULL;

    if (apr_dbd_init(p) != APR_SUCCESS || apr_dbd_get_driver(p, name, &driver) != APR_SUCCESS) {
        return NULL;
    }
    return driver;
}

const char *persona_database_driver_check(const char *name, apr_pool_t *p)
{
    if (driver_load(name, p)) {
        return NULL;
    }
    return apr_psprintf(p, "apr-util's driver %s is not installed: apt-get install libaprutil1-dbd-%s", name, name);
}

/** Who will use the database. */
static const struct passwd *user_of(const char *user)
{
    return user ? getpwnam(user) : getpwuid(geteuid());
}

static int may_write(const struct stat *st, const struct passwd *pw)
{
    gid_t groups[GROUPS_MAX];
    int count = GROUPS_MAX, i;

    if (pw->pw_uid == 0) {
        return 1;
    }
    if (st->st_uid == pw->pw_uid) {
        return (st->st_mode & 0300) == 0300;
    }
    if (getgrouplist(pw->pw_name, pw->pw_gid, groups, &count) < 0) {
        count = 0;
    }
    for (i = 0; i < count; i++) {
        if (groups[i] == st->st_gid) {
            return (st->st_mode & 0030) == 0030;
        }
    }
    return (st->st_mode & 0003) == 0003;
}

static const char *check_sqlite(const char *path, const struct passwd *pw, const char *made, apr_pool_t *p)
{
    const char *slash = strrchr(path, '/');
    const char *dir = slash == path ? "/" : slash ? apr_pstrmemdup(p, path, (apr_size_t)(slash - path)) : ".";
    struct stat st;

    if (*path != '/') {
        return apr_psprintf(p, "\"%s\" is not an absolute path; write the path of a file, such as "
                            "/var/lib/persona/persona.db", path);
    }
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        return apr_psprintf(p, "%s is not a file; name one in a folder of user %s", path, pw->pw_name);
    }
    if (stat(dir, &st) != 0 && errno == ENOENT && made && !strcmp(dir, made)) {
        return NULL;
    }
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return apr_psprintf(p, "there is no folder %s: make it with: install -d -o %s -m 0700 %s", dir, pw->pw_name,
                            dir);
    }
    if (!may_write(&st, pw)) {
        return apr_psprintf(p, "user %s cannot write in %s, where SQLite keeps files beside %s: chown %s %s",
                            pw->pw_name, dir, slash + 1, pw->pw_name, dir);
    }
    return NULL;
}

/** The value of a word in "word=value word='va\'lue' ...", or NULL. */
static const char *conninfo_value(const char *params, const char *word, apr_pool_t *p)
{
    const char *found = NULL, *c = params;

    while (*c) {
        const char *name;
        apr_size_t len;
        char *value, *out;
        int quoted;

        c += strspn(c, " \t");
        name = c;
        c += strcspn(c, "= \t");
        len = (apr_size_t)(c - name);
        c += strspn(c, " \t");
        if (*c != '=') {
            break;
        }
        c++;
        c += strspn(c, " \t");
        quoted = *c == '\'';
        c += quoted;
        out = value = apr_palloc(p, strlen(c) + 1);
        while (*c && (quoted ? *c != '\'' : !isspace((unsigned char)*c))) {
            c += *c == '\\' && c[1];
            *out++ = *c++;
        }
        *out = '\0';
        c += quoted && *c;
        if (len == strlen(word) && !strncmp(name, word, len)) {
            found = value;
        }
    }
    return found;
}

static const char *check_passfile(const char *path, const struct passwd *pw, apr_pool_t *p)
{
    struct stat st;

    if (*path != '/') {
        return apr_psprintf(p, "passfile=%s is not an absolute path", path);
    }
    if (stat(path, &st) != 0) {
        return apr_psprintf(p, "passfile=%s: %s; it is a line host:port:database:user:password, of user %s, with mode "
                            "0600", path, strerror(errno), pw->pw_name);
    }
    if (!S_ISREG(st.st_mode) || (st.st_mode & 077)) {
        return apr_psprintf(p, "passfile=%s can be read by others (mode %04o), and PostgreSQL passes over such a file: "
                            "chmod 0600 %s", path, (unsigned)(st.st_mode & 07777), path);
    }
    if (st.st_uid != pw->pw_uid) {
        return apr_psprintf(p, "passfile=%s cannot be read by the manager: chown %s %s", path, pw->pw_name, path);
    }
    return NULL;
}

static const char *check_pgsql(const char *params, const struct passwd *pw, apr_pool_t *p)
{
    const char *passfile;

    if (!strncmp(params, "postgresql:", 11) || !strncmp(params, "postgres:", 9) || !strchr(params, '=')) {
        return "the connection must be words, such as \"host=db.example.org dbname=persona user=persona "
               "passfile=/etc/apache2/persona.pgpass\"";
    }
    if (conninfo_value(params, "password", p)) {
        return "a password does not belong into the configuration: write it into a file of the manager's user with "
               "mode 0600, as host:port:database:user:password, and name that with passfile=";
    }
    passfile = conninfo_value(params, "passfile", p);
    return passfile ? check_passfile(passfile, pw, p) : NULL;
}

const char *persona_database_check(const char *driver, const char *params, const char *user, const char *made,
                                   apr_pool_t *p)
{
    const struct passwd *pw = user_of(user);
    const char *problem;

    if (strcmp(driver, SQLITE) && strcmp(driver, PGSQL)) {
        return apr_psprintf(p, "\"%s\" is not one of " SQLITE ", " PGSQL, driver);
    }
    problem = persona_database_driver_check(driver, p);
    if (problem || !pw) {
        return problem; /* a user who does not exist is told elsewhere */
    }
    return persona_database_is_sqlite(driver) ? check_sqlite(params, pw, made, p) : check_pgsql(params, pw, p);
}

/* ---- failures ---- */

/** Words of a database that would take the same values at another time. */
static int passing(const char *words)
{
    static const char *const signs[] = {"full",      "space",   "locked",   "busy",        "I/O",      "readonly",
                                        "read-only", "timeout", "shutting", "terminating", "recovery", "starting up",
                                        "connection", "closed", "unable to open", "no reason"};
    size_t i;

    for (i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
        if (strstr(words, signs[i])) {
            return 1;
        }
    }
    return 0;
}

/** The connection's last words. */
static persona_database_e failed(persona_database_t *db, int code, const char *what, persona_result_t *res)
{
    const char *words = apr_dbd_error(db->driver, db->handle, code);
    persona_database_e outcome = PERSONA_DATABASE_FAILED;

    words = words && *words ? words : "it says no reason";
    if (db->path && (strstr(words, "malformed") || strstr(words, "not a database"))) {
        outcome = PERSONA_DATABASE_DAMAGED;
    }
    persona_result_set(res, APR_EGENERAL, what, "%.*s", (int)strcspn(words, "\n"), words);
    return outcome;
}

/* ---- connections ---- */

/** A PRAGMA answers with a row, which the driver's query() takes for a failure. */
static persona_database_e pragma(persona_database_t *db, const char *sql, const char **answer, persona_result_t *res,
                                 apr_pool_t *p)
{
    apr_dbd_results_t *results = NULL;
    apr_dbd_row_t *row = NULL;
    int code = apr_dbd_select(db->driver, p, db->handle, &results, sql, 1);

    if (code) {
        return failed(db, code, "pragma", res);
    }
    *answer = "";
    while (apr_dbd_get_row(db->driver, p, results, &row, -1) == 0) {
        const char *value = apr_dbd_get_entry(db->driver, row, 0);

        *answer = value ? value : "";
    }
    return PERSONA_DATABASE_OK;
}

/** Readers and the writer do not wait for each other, and what was committed survives a power cut. */
static persona_database_e sqlite_begin(persona_database_t *db, persona_result_t *res)
{
    const char *answer;
    persona_database_e outcome = pragma(db, "PRAGMA journal_mode=WAL", &answer, res, db->pool);
    struct stat st;

    if (outcome == PERSONA_DATABASE_OK) {
        outcome = persona_database_run(db, "PRAGMA synchronous=FULL", res);
    }
    if (outcome == PERSONA_DATABASE_OK && stat(db->path, &st) == 0) {
        db->device = st.st_dev;
        db->inode = st.st_ino;
    }
    return outcome;
}

persona_database_e persona_database_open(persona_database_t **out, const char *name, const char *params,
                                         persona_result_t *res, apr_pool_t *parent)
{
    persona_database_e outcome = PERSONA_DATABASE_OK;
    persona_database_t *db;
    const char *error = NULL;
    apr_pool_t *p;

    *out = NULL;
    if (apr_pool_create(&p, parent) != APR_SUCCESS) {
        return PERSONA_DATABASE_FAILED;
    }
    db = apr_pcalloc(p, sizeof(*db));
    db->pool = p;
    db->driver = driver_load(name, p);
    if (!db->driver) {
        persona_result_set(res, APR_ENOTIMPL, "no-driver", "%s", persona_database_driver_check(name, p));
        apr_pool_destroy(p);
        return PERSONA_DATABASE_NO_DRIVER;
    }
    if (persona_database_is_sqlite(name)) {
        db->path = apr_pstrdup(p, params);
    }
    else {
        params = apr_pstrcat(p, PGSQL_DEFAULTS, params, NULL);
    }
    if (apr_dbd_open_ex(db->driver, p, params, &db->handle, &error) != APR_SUCCESS) {
        error = error && *error ? error : "it cannot be opened";
        persona_result_set(res, APR_EGENERAL, "open", "%.*s", (int)strcspn(error, "\n"), error);
        apr_pool_destroy(p);
        return PERSONA_DATABASE_FAILED;
    }
    if (db->path) {
        outcome = sqlite_begin(db, res);
    }
    else {
        outcome = persona_database_run(db, "SET statement_timeout = '30s'", res);
    }
    if (outcome != PERSONA_DATABASE_OK) {
        persona_database_close(db);
        return outcome;
    }
    *out = db;
    return PERSONA_DATABASE_OK;
}

void persona_database_close(persona_database_t *db)
{
    if (db) {
        apr_dbd_close(db->driver, db->handle);
        apr_pool_destroy(db->pool);
    }
}

int persona_database_replaced(const persona_database_t *db)
{
    struct stat st;

    return db->path && (stat(db->path, &st) != 0 || st.st_dev != db->device || st.st_ino != db->inode);
}

persona_database_e persona_database_examine(persona_database_t *db, persona_result_t *res, apr_pool_t *p)
{
    const char *answer;
    persona_database_e outcome = pragma(db, "PRAGMA quick_check(1)", &answer, res, p);

    if (outcome == PERSONA_DATABASE_OK && strcmp(answer, "ok")) {
        persona_result_set(res, APR_EGENERAL, "damaged", "%.*s", (int)strcspn(answer, "\n"), answer);
        return PERSONA_DATABASE_DAMAGED;
    }
    return outcome;
}

apr_status_t persona_database_set_aside(const char *path, const char **aside, apr_pool_t *p)
{
    static const char *const beside[] = {"-wal", "-shm", "-journal"};
    apr_time_exp_t t;
    struct stat st;
    const char *name;
    size_t i;
    int n;

    apr_time_exp_gmt(&t, apr_time_now());
    name = apr_psprintf(p, "%s.damaged-%04d%02d%02dT%02d%02d%02dZ", path, t.tm_year + 1900, t.tm_mon + 1, t.tm_mday,
                        t.tm_hour, t.tm_min, t.tm_sec);
    *aside = name;
    for (n = 2; lstat(*aside, &st) == 0; n++) {
        *aside = apr_psprintf(p, "%s-%d", name, n);
    }
    if (rename(path, *aside) != 0) {
        return errno;
    }
    for (i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
        const char *from = apr_pstrcat(p, path, beside[i], NULL);

        /* What is left would be taken for the new file's. */
        if (rename(from, apr_pstrcat(p, *aside, beside[i], NULL)) != 0 && errno != ENOENT) {
            unlink(from);
        }
    }
    return APR_SUCCESS;
}

/* ---- statements ---- */

persona_database_e persona_database_run(persona_database_t *db, const char *sql, persona_result_t *res)
{
    int rows, code = apr_dbd_query(db->driver, db->handle, &rows, sql);

    return code ? failed(db, code, "run", res) : PERSONA_DATABASE_OK;
}

persona_database_e persona_database_prepare(persona_database_t *db, persona_statement_t **statement, const char *sql,
                                            persona_result_t *res)
{
    const char *label = apr_psprintf(db->pool, "persona%d", ++db->statements);
    int code;

    *statement = apr_pcalloc(db->pool, sizeof(**statement));
    code = apr_dbd_prepare(db->driver, db->pool, db->handle, sql, label, &(*statement)->prepared);
    return code ? failed(db, code, "prepare", res) : PERSONA_DATABASE_OK;
}

/** apr_dbd wants a pointer to pointers that it may change, and changes none. */
static const char **arguments(const char *const *values)
{
    return (const char **)(apr_uintptr_t)values;
}

persona_database_e persona_database_execute(persona_database_t *db, const persona_statement_t *statement,
                                            const char *const *values, int *rows, persona_result_t *res,
                                            apr_pool_t *p)
{
    int changed = 0, code = apr_dbd_pquery(db->driver, p, db->handle, &changed, statement->prepared, 0,
                                           arguments(values));

    persona_database_e outcome;

    *rows = changed;
    if (!code) {
        return PERSONA_DATABASE_OK;
    }
    outcome = failed(db, code, "execute", res);
    return outcome == PERSONA_DATABASE_FAILED && !passing(res->detail) ? PERSONA_DATABASE_REFUSED : outcome;
}

persona_database_e persona_database_select(persona_database_t *db, const persona_statement_t *statement,
                                           const char *const *values, int columns, apr_array_header_t **rows,
                                           persona_result_t *res, apr_pool_t *p)
{
    apr_dbd_results_t *results = NULL;
    apr_dbd_row_t *row = NULL;
    int i, code = apr_dbd_pselect(db->driver, p, db->handle, &results, statement->prepared, 1, 0, arguments(values));

    if (code) {
        return failed(db, code, "select", res);
    }
    *rows = apr_array_make(p, 64, sizeof(const char **));
    while (apr_dbd_get_row(db->driver, p, results, &row, -1) == 0) {
        const char **cells = apr_pcalloc(p, sizeof(*cells) * (apr_size_t)columns);

        for (i = 0; i < columns; i++) {
            char *value = NULL;

            if (apr_dbd_datum_get(db->driver, row, i, APR_DBD_TYPE_STRING, &value) == APR_SUCCESS) {
                cells[i] = apr_pstrdup(p, value);
            }
        }
        APR_ARRAY_PUSH(*rows, const char **) = cells;
    }
    return PERSONA_DATABASE_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file config.c
 * @brief The directives: parsing, merging, and what is checked before anything starts.
 *
 * One persona_conf_t belongs to the main server and is shared by all virtual hosts. What is wrong here stops
 * `httpd -t` and the very first start; a running server is never stopped by it (supervise.c goes on with what it has).
 */
#include "gateway.h"

#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ap_mpm.h>
#include <apr_file_io.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <unixd.h>

#include "persona/digest.h"
#include "persona_store.h"

#define MAKE_KEY "make one with: (umask 077; openssl rand -hex 32 >%s)"
#define KEY_MIN  64
#define KEY_MAX  1024
#define DAY      apr_time_from_sec(86400)
#define HISTORY_DEFAULT (400 * DAY)
#define HISTORY_MAX     (36500 * DAY)
#define SITE_MAX 32

void *persona_conf_create(apr_pool_t *p, server_rec *s)
{
    persona_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    (void)s;
    conf->computes = apr_array_make(p, 4, sizeof(persona_compute_conf_t));
    conf->state_dir = PERSONA_STATEDIR;
    conf->manager = PERSONA_LIBEXECDIR "/personad";
    conf->assets = PERSONA_DATADIR "/web";
    conf->forecast = "shadow";
    conf->schedule = apr_time_from_sec(5);
    conf->timeout = apr_time_from_sec(5);
    conf->wait_cost = -1;
    conf->hit_rate = -1;
    conf->history = HISTORY_DEFAULT;
    return conf;
}

/** All of it is of the whole server: a virtual host has the main server's. */
void *persona_conf_merge(apr_pool_t *p, void *base, void *add)
{
    (void)p;
    (void)add;
    return base;
}

void *persona_dir_create(apr_pool_t *p, char *path)
{
    persona_dir_t *dir = apr_pcalloc(p, sizeof(*dir));

    (void)path;
    dir->gateway = -1;
    dir->max_sessions = -1;
    return dir;
}

void *persona_dir_merge(apr_pool_t *p, void *base, void *add)
{
    persona_dir_t *below = base, *above = add, *dir = apr_pcalloc(p, sizeof(*dir));

    dir->gateway = above->gateway >= 0 ? above->gateway : below->gateway;
    dir->base = above->gateway >= 0 ? above->base : below->base;
    dir->roles = above->roles ? above->roles : below->roles;
    dir->max_sessions = above->max_sessions >= 0 ? above->max_sessions : below->max_sessions;
    return dir;
}

persona_conf_t *persona_conf(server_rec *s)
{
    return ap_get_module_config(s->module_config, &persona_module);
}

persona_dir_t *persona_dir(request_rec *r)
{
    return ap_get_module_config(r->per_dir_config, &persona_module);
}

/* ---- directives of the whole server ---- */

/** A string; cmd->info is its offset in persona_conf_t. */
static const char *set_string(cmd_parms *cmd, void *unused, const char *value)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)unused;
    if (error) {
        return error;
    }
    *(const char **)((char *)persona_conf(cmd->server) + (apr_size_t)cmd->info) = value;
    return NULL;
}

/** A path, relative to ServerRoot. */
static const char *set_path(cmd_parms *cmd, void *unused, const char *value)
{
    const char *path = ap_server_root_relative(cmd->pool, value);

    if (!path) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, ": \"", value, "\" is not a valid path",
                           NULL);
    }
    return set_string(cmd, unused, path);
}

static const char *set_duration(cmd_parms *cmd, void *unused, const char *value)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    apr_interval_time_t *duration =
        (void *)((char *)persona_conf(cmd->server) + (apr_size_t)cmd->info);

    (void)unused;
    if (error) {
        return error;
    }
    error = persona_duration_parse(value, duration, cmd->pool);
    if (error) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", error, NULL);
    }
    if (*duration < apr_time_from_msec(100) || *duration > apr_time_from_sec(3600)) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", value,
                           " is out of range; write 100ms to 1h", NULL);
    }
    return NULL;
}

/** What else is wrong with it is found by the manager's own code, see check.c there. */
static const char *set_database(cmd_parms *cmd, void *unused, const char *driver, const char *params)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    persona_conf_t *conf = persona_conf(cmd->server);

    (void)unused;
    if (error) {
        return error;
    }
    if (strcmp(driver, "sqlite3") && strcmp(driver, "pgsql")) {
        return apr_pstrcat(cmd->pool, "PersonaDatabase: \"", driver, "\" is not one of sqlite3, pgsql", NULL);
    }
    conf->database = driver;
    conf->database_params = strcmp(driver, "sqlite3") ? params : ap_server_root_relative(cmd->pool, params);
    if (!conf->database_params) {
        return apr_pstrcat(cmd->pool, "PersonaDatabase: \"", params, "\" is not a valid path", NULL);
    }
    return NULL;
}

static const char *set_history(cmd_parms *cmd, void *unused, const char *value)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    persona_conf_t *conf = persona_conf(cmd->server);

    (void)unused;
    if (error) {
        return error;
    }
    error = persona_duration_parse(value, &conf->history, cmd->pool);
    if (error) {
        return apr_pstrcat(cmd->pool, "PersonaHistory: ", error, NULL);
    }
    if (conf->history < apr_time_from_sec(3600) || conf->history > HISTORY_MAX) {
        return apr_pstrcat(cmd->pool, "PersonaHistory: ", value, " is out of range; write 1h to 36500d", NULL);
    }
    return NULL;
}

static const char *set_pseudonyms(cmd_parms *cmd, void *unused, int on)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)unused;
    persona_conf(cmd->server)->pseudonyms = on;
    return error;
}

static const char *set_number(cmd_parms *cmd, void *unused, const char *value)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    int rate = (apr_size_t)cmd->info == offsetof(persona_conf_t, hit_rate);
    double number;
    char *end;

    (void)unused;
    if (error) {
        return error;
    }
    number = strtod(value, &end);
    if (end == value || *end || !(number > 0) || number > (rate ? 0.9999 : 1e6)) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, ": \"", value, "\" is not ",
                           rate ? "a fraction above 0 and at most 0.9999, such as 0.99"
                                : "a number above 0 and at most 1000000, such as 20",
                           NULL);
    }
    *(double *)((char *)persona_conf(cmd->server) + (apr_size_t)cmd->info) = number;
    return NULL;
}

static const char *set_memcached(cmd_parms *cmd, void *unused, const char *value)
{
    const char *error = persona_store_memcached_check(value, cmd->pool);

    return error ? apr_pstrcat(cmd->pool, "PersonaMemcached: ", error, NULL)
                 : set_string(cmd, unused, value);
}

static const char *set_session_host(cmd_parms *cmd, void *unused, const char *value)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)unused;
    if (!error) {
        error = persona_host_check(value, &persona_conf(cmd->server)->session_host, cmd->pool);
        error = error ? apr_pstrcat(cmd->pool, "PersonaSessionHost: \"", value, "\": ", error, NULL) : NULL;
    }
    return error;
}

static const char *set_forecast(cmd_parms *cmd, void *unused, const char *value)
{
    char *lower = apr_pstrdup(cmd->pool, value);

    if (strcasecmp(value, "on") && strcasecmp(value, "shadow") && strcasecmp(value, "off")) {
        return apr_pstrcat(cmd->pool, "PersonaForecast: \"", value,
                           "\" is not one of on, shadow, off", NULL);
    }
    ap_str_tolower(lower);
    return set_string(cmd, unused, lower);
}

static int name_valid(const char *name)
{
    apr_size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-");

    return len > 0 && !name[len] && len <= PERSONA_NAME_MAX && apr_isalnum(*name);
}

static const char *set_compute(cmd_parms *cmd, void *unused, int argc, char *const argv[])
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    persona_conf_t *conf = persona_conf(cmd->server);
    persona_compute_conf_t *compute;
    apr_table_t *options;
    int i;

    (void)unused;
    if (error) {
        return error;
    }
    if (argc < 3) {
        return "PersonaCompute takes a name, a provider, an address and options, such as: "
               "PersonaCompute kvm libvirt qemu:///system";
    }
    if (!name_valid(argv[0])) {
        return apr_psprintf(
            cmd->pool,
            "PersonaCompute: the name \"%s\" must be of a-z, 0-9, '.', '_', '-', begin with "
            "a letter or digit and have at most %d characters",
            argv[0], PERSONA_NAME_MAX);
    }
    for (i = 0; i < conf->computes->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(conf->computes, i, persona_compute_conf_t).name, argv[0])) {
            return apr_pstrcat(cmd->pool, "PersonaCompute: the name \"", argv[0],
                               "\" is used twice", NULL);
        }
    }
    options = apr_table_make(cmd->pool, 4);
    for (i = 3; i < argc; i++) {
        const char *equal = strchr(argv[i], '=');

        if (!equal || equal == argv[i]) {
            return apr_pstrcat(cmd->pool, "PersonaCompute ", argv[0], ": the option \"", argv[i],
                               "\" is not of the form name=value", NULL);
        }
        apr_table_set(options, apr_pstrmemdup(cmd->pool, argv[i], (apr_size_t)(equal - argv[i])),
                      equal + 1);
    }
    compute = apr_array_push(conf->computes);
    compute->name = argv[0];
    compute->provider = argv[1];
    compute->address = argv[2];
    compute->options = options;
    return NULL;
}

/* ---- directives of a <Location> ---- */

static const char *set_gateway(cmd_parms *cmd, void *config, int on)
{
    persona_dir_t *dir = config;
    const ap_directive_t *parent = cmd->directive->parent;

    if (!parent || strcasecmp(parent->directive, "<Location") || !cmd->path ||
        cmd->path[0] != '/' || strpbrk(cmd->path, "*?[")) {
        return "PersonaGateway belongs into a <Location> with a plain path, such as <Location \"/apps/\">";
    }
    dir->gateway = on;
    dir->base = cmd->path[strlen(cmd->path) - 1] == '/'
                    ? cmd->path
                    : apr_pstrcat(cmd->pool, cmd->path, "/", NULL);
    if (on) {
        persona_conf(cmd->server)->gateways = 1;
    }
    return NULL;
}

static const char *set_roles(cmd_parms *cmd, void *config, const char *value)
{
    persona_dir_t *dir = config;
    const char *error = NULL;

    dir->roles = ap_expr_parse_cmd(cmd, value, AP_EXPR_FLAG_STRING_RESULT, &error, NULL);
    return error ? apr_pstrcat(cmd->pool, "PersonaRoles: ", error, NULL) : NULL;
}

static const char *set_max_sessions(cmd_parms *cmd, void *config, const char *value)
{
    persona_dir_t *dir = config;
    char *end;
    apr_int64_t number = apr_strtoi64(value, &end, 10);

    if (end == value || *end || number < 0 || number > 1000) {
        return apr_pstrcat(cmd->pool, "PersonaMaxSessions: \"", value,
                           "\" is not a number from 0 (no limit) to 1000", NULL);
    }
    dir->max_sessions = (int)number;
    return NULL;
}

#define AT(member) ((void *)offsetof(persona_conf_t, member))

const command_rec persona_commands[] = {
    AP_INIT_TAKE1("PersonaDirectory", set_path, AT(directory), RSRC_CONF,
                  "Directory with the persona files, *.json; default.json is the fallback profile"),
    AP_INIT_TAKE_ARGV(
        "PersonaCompute", set_compute, NULL, RSRC_CONF,
        "Where instances run: a name, a provider, an address, and options as name=value"),
    AP_INIT_TAKE1("PersonaMemcached", set_memcached, AT(memcached), RSRC_CONF,
                  "Servers of the shared index: host:port[,host:port...], or the path of a socket"),
    AP_INIT_TAKE1(
        "PersonaSecretFile", set_path, AT(key_file), RSRC_CONF,
        "File with the site key, hexadecimal; perhaps a second key, and the site's name; only root may read it"),
    AP_INIT_TAKE1("PersonaManagerUser", set_string, AT(manager_user), RSRC_CONF,
                  "User that the manager runs as; it needs the groups of the compute engines"),
    AP_INIT_TAKE1("PersonaManager", set_path, AT(manager), RSRC_CONF,
                  "Program of the manager (default " PERSONA_LIBEXECDIR "/personad)"),
    AP_INIT_TAKE1("PersonaStateDirectory", set_path, AT(state_dir), RSRC_CONF,
                  "Where the manager keeps what must survive it (default " PERSONA_STATEDIR ")"),
    AP_INIT_TAKE1(
        "PersonaSocket", set_path, AT(socket), RSRC_CONF,
        "Socket between web workers and manager (default persona.sock in DefaultRuntimeDir)"),
    AP_INIT_TAKE1("PersonaAssets", set_path, AT(assets), RSRC_CONF,
                  "Directory of the viewer's and portal's files (default " PERSONA_DATADIR "/web)"),
    AP_INIT_TAKE2("PersonaDatabase", set_database, NULL, RSRC_CONF,
                  "Where the history is kept: sqlite3 and a file (default persona.db in PersonaStateDirectory), or "
                  "pgsql and how to connect"),
    AP_INIT_TAKE1("PersonaHistory", set_history, NULL, RSRC_CONF,
                  "How long each event is kept in the history (default 400d); sums by hour are kept for ever"),
    AP_INIT_FLAG("PersonaPseudonyms", set_pseudonyms, NULL, RSRC_CONF,
                 "On: the history has pseudonyms instead of users' names"),
    AP_INIT_TAKE1("PersonaSchedule", set_duration, AT(schedule), RSRC_CONF,
                  "Interval of the manager's tick (default 5s)"),
    AP_INIT_TAKE1(
        "PersonaTimeout", set_duration, AT(timeout), RSRC_CONF,
        "Longest time until a request is answered with a desktop, a waiting page or an error (default 5s)"),
    AP_INIT_TAKE1(
        "PersonaForecast", set_forecast, AT(forecast), RSRC_CONF,
        "on: pools are as large as the learned forecast says; shadow (default): it learns and the pattern rules; "
        "off: the pattern"),
    AP_INIT_TAKE1("PersonaWaitCost", set_number, AT(wait_cost), RSRC_CONF,
                  "Price of one waiting user, in idle instance-minutes"),
    AP_INIT_TAKE1("PersonaHitRate", set_number, AT(hit_rate), RSRC_CONF,
                  "Instead of a price: the share of clicks that must find a ready instance"),
    AP_INIT_TAKE1("PersonaEventFile", set_path, AT(event_file), RSRC_CONF,
                  "File of known dates, JSON: holidays, courses"),
    AP_INIT_TAKE1(
        "PersonaHomeURL", set_string, AT(home_url), RSRC_CONF,
        "WebDAV folder of this server, as instances reach it, with one home for each user"),
    AP_INIT_TAKE1("PersonaSessionHost", set_session_host, NULL, RSRC_CONF,
                  "Hosts for sessions that speak HTTP, one each, such as *.desk.example.org, a ServerAlias"),
    AP_INIT_FLAG("PersonaGateway", set_gateway, NULL, ACCESS_CONF,
                 "On: this <Location> is the portal, and an application's sessions are below it"),
    AP_INIT_TAKE1("PersonaRoles", set_roles, NULL, ACCESS_CONF,
                  "Expression that gives the user's roles, separated by commas"),
    AP_INIT_TAKE1("PersonaMaxSessions", set_max_sessions, NULL, ACCESS_CONF,
                  "How many sessions one user may have at once; 0: any number"),
    {NULL}};

/* ---- the key ---- */

static const char *key_file_problem(const persona_conf_t *conf, const struct stat *st,
                                    apr_pool_t *p)
{
    if (!S_ISREG(st->st_mode)) {
        return apr_pstrcat(p, "PersonaSecretFile ", conf->key_file, " is not a regular file", NULL);
    }
    if (st->st_mode & 077) {
        return apr_psprintf(p,
                            "PersonaSecretFile %s can be read by others (mode %04o): chmod 0400 %s",
                            conf->key_file, (unsigned)(st->st_mode & 07777), conf->key_file);
    }
    if (st->st_uid != geteuid()) {
        return apr_psprintf(p, "PersonaSecretFile %s belongs to uid %ld: chown %s %s",
                            conf->key_file, (long)st->st_uid,
                            geteuid() == 0 ? "root" : "it to this user", conf->key_file);
    }
    if (st->st_size > KEY_MAX) {
        return apr_pstrcat(
            p, "PersonaSecretFile ", conf->key_file,
            " is too long: one line of 64 hexadecimal digits, and perhaps another key and the site's name", NULL);
    }
    return NULL;
}

/** The name in a line "site NAME"; NULL: it is none. */
static const char *site_name(const char *line)
{
    const char *name;

    if (strncmp(line, "site", 4) || !apr_isspace(line[4])) {
        return NULL;
    }
    for (name = line + 4; apr_isspace(*name); name++) {
    }
    return *name && strlen(name) <= SITE_MAX && !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] ? name
                                                                                                             : NULL;
}

/** Cuts `text` into its lines, in place. */
static const char *keys_parse(char *text, const char *keys[2], const char **ns, const char *file, apr_pool_t *p)
{
    int count = 0;
    char *line, *next;

    for (line = text; line; line = next) {
        apr_size_t len;

        next = strchr(line, '\n');
        if (next) {
            *next++ = '\0';
        }
        len = strlen(line);
        while (len && apr_isspace(line[len - 1])) {
            line[--len] = '\0';
        }
        if (!len || *line == '#') {
            continue;
        }
        if (!*ns && site_name(line)) {
            *ns = apr_pstrdup(p, site_name(line));
            continue;
        }
        if (count == 2 || len < KEY_MIN || len % 2 || line[strspn(line, "0123456789abcdef")]) {
            return apr_psprintf(
                p,
                "PersonaSecretFile %s: each of at most two keys is a line of at least %d lower-case "
                "hexadecimal digits, and perhaps there is one line \"site NAME\"; " MAKE_KEY,
                file, KEY_MIN, file);
        }
        keys[count++] = line;
    }
    if (!count) {
        return apr_psprintf(p, "PersonaSecretFile %s is empty; " MAKE_KEY, file, file);
    }
    if (!*ns && count == 2) {
        return apr_psprintf(p,
                            "PersonaSecretFile %s: with two keys the site needs a name that stays when they are "
                            "exchanged; add the line \"site %s\", if its instances were made with the first key, or "
                            "\"site %s\", if with the second",
                            file, persona_settings_namespace(keys[0], p), persona_settings_namespace(keys[1], p));
    }
    if (!*ns) {
        *ns = persona_settings_namespace(keys[0], p);
    }
    return NULL;
}

const char *persona_config_keys(const persona_conf_t *conf, const char *keys[2], const char **ns, apr_pool_t *p)
{
    apr_file_t *file;
    apr_os_file_t fd;
    apr_size_t len = 0;
    apr_status_t status;
    struct stat st;
    const char *error;
    char *text, reason[128];

    keys[0] = keys[1] = *ns = NULL;
    if (!conf->key_file) {
        return apr_psprintf(p, "PersonaSecretFile is not set; " MAKE_KEY " and name it there",
                            "/etc/apache2/persona.key");
    }
    status = apr_file_open(&file, conf->key_file, APR_FOPEN_READ, 0, p);
    if (status != APR_SUCCESS) {
        return apr_psprintf(p, "PersonaSecretFile %s: %s; " MAKE_KEY, conf->key_file,
                            apr_strerror(status, reason, sizeof(reason)), conf->key_file);
    }
    apr_os_file_get(&fd, file);
    error = fstat(fd, &st)
                ? apr_pstrcat(p, "PersonaSecretFile ", conf->key_file, " cannot be examined", NULL)
                : key_file_problem(conf, &st, p);
    if (!error) {
        text = apr_pcalloc(p, KEY_MAX + 1);
        status = apr_file_read_full(file, text, KEY_MAX, &len);
        error = status == APR_SUCCESS || APR_STATUS_IS_EOF(status)
                    ? keys_parse(text, keys, ns, conf->key_file, p)
                    : apr_pstrcat(p, "PersonaSecretFile ", conf->key_file, " cannot be read", NULL);
    }
    apr_file_close(file);
    return error;
}

void persona_config_settings(const persona_conf_t *conf, server_rec *s,
                             persona_settings_t *settings, apr_pool_t *p)
{
    int level = ap_get_server_module_loglevel(s, APLOG_MODULE_INDEX);

    settings->directory = conf->directory;
    settings->state_dir = conf->state_dir;
    settings->computes = conf->computes;
    settings->memcached = conf->memcached;
    settings->manager_user = conf->manager_user;
    settings->forecast = conf->forecast;
    settings->event_file = conf->event_file;
    settings->home_url = conf->home_url;
    settings->session_host = conf->session_host;
    settings->wait_cost = conf->wait_cost;
    settings->hit_rate = conf->hit_rate;
    settings->schedule = conf->schedule;
    settings->timeout = conf->timeout;
    settings->database_chosen = conf->database != NULL;
    settings->database = conf->database ? conf->database : "sqlite3";
    settings->database_params =
        conf->database ? conf->database_params : apr_pstrcat(p, conf->state_dir, "/persona.db", NULL);
    settings->history = conf->history;
    settings->pseudonyms = conf->pseudonyms;
    settings->log_level = level < PERSONA_LOG_ERR     ? PERSONA_LOG_ERR
                          : level > PERSONA_LOG_DEBUG ? PERSONA_LOG_DEBUG
                                                      : level;
}

/* ---- checking ---- */

static const char *check_manager(const persona_conf_t *conf, apr_pool_t *p)
{
    apr_uid_t uid;
    apr_gid_t gid;

    if (access(conf->manager, X_OK)) {
        return apr_pstrcat(p, "PersonaManager: ", conf->manager,
                           " is missing or cannot be executed", NULL);
    }
    if (geteuid() != 0) {
        if (conf->manager_user &&
            (apr_uid_get(&uid, &gid, conf->manager_user, p) != APR_SUCCESS || uid != geteuid())) {
            return apr_pstrcat(
                p, "PersonaManagerUser ", conf->manager_user,
                ": httpd is not started as root, so the manager can only run as the same user",
                NULL);
        }
        return NULL;
    }
    if (!conf->manager_user) {
        return "PersonaManagerUser is not set: the manager must not run as root; "
               "make a user with: adduser --system --group --home /var/lib/persona persona";
    }
    if (apr_uid_get(&uid, &gid, conf->manager_user, p) != APR_SUCCESS) {
        return apr_pstrcat(p, "PersonaManagerUser: there is no user \"", conf->manager_user, "\"",
                           NULL);
    }
    if (uid == 0) {
        return "PersonaManagerUser: the manager must not run as root";
    }
    if (uid == ap_unixd_config.user_id) {
        return apr_pstrcat(p, "PersonaManagerUser: \"", conf->manager_user,
                           "\" is the web server's own user; web "
                           "scripts would hold the keys to the compute engines",
                           NULL);
    }
    return NULL;
}

static void say_lines(server_rec *s, const char *lines, apr_pool_t *p)
{
    char *state, *line = apr_strtok(apr_pstrdup(p, lines), "\n", &state);

    for (; line; line = apr_strtok(NULL, "\n", &state)) {
        if (!strncmp(line, PERSONA_CHECK_WARNING, strlen(PERSONA_CHECK_WARNING))) {
            ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_NOERRNO, 0, s, "%s",
                         line + strlen(PERSONA_CHECK_WARNING));
        }
        else {
            ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_NOERRNO, 0, s, "%s", line);
        }
    }
}

/** What only httpd -t may fail for: the persona files and the compute lines, by the manager's own code. */
static int test_personas(const persona_conf_t *conf, server_rec *s, const char *const keys[2], const char *ns,
                         apr_pool_t *p)
{
    persona_settings_t settings = {0};
    int good;

    persona_config_settings(conf, s, &settings, p);
    settings.keys[0] = keys[0];
    settings.keys[1] = keys[1];
    settings.ns = ns;
    say_lines(s, persona_supervise_test(conf, &settings, &good, p), p);
    return good ? OK : !OK;
}

static void warn_of_slots(server_rec *s)
{
    int threads = 0, servers = 0, daemons = 0;

    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &servers);
    ap_mpm_query(AP_MPMQ_HARD_LIMIT_THREADS, &threads);
    ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &daemons);
    if (threads > 0 && servers > 0 && daemons > 0 && servers < 4 * daemons) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, s,
            "ServerLimit %d is small for desktops: a stream keeps its child "
            "process over graceful restarts; set ServerLimit to at least %d (4 x MaxRequestWorkers / "
            "ThreadsPerChild), or a few graceful restarts will leave no process for new requests",
            servers, 4 * daemons);
    }
}

int persona_config_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    const persona_conf_t *conf = persona_conf(s);
    int test = ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST, mpm_threads = 0,
        generation = 0;
    const char *keys[2], *ns, *error = NULL;

    (void)pconf;
    (void)plog;
    if (!conf->directory) {
        if (!conf->gateways) {
            return OK;
        }
        error = "PersonaGateway is on, but PersonaDirectory is not set";
    }
    if (!error && !conf->computes->nelts) {
        error =
            "no PersonaCompute is set: where shall instances run? Such as: PersonaCompute kvm libvirt "
            "qemu:///system";
    }
    if (!error) {
        error = persona_config_keys(conf, keys, &ns, ptemp);
    }
    if (!error) {
        error = check_manager(conf, ptemp);
    }
    if (!error && ap_find_linked_module("mpm_itk.c")) {
        error = "mpm_itk gives each worker another user, who could not use the manager's socket";
    }
    if (error) {
        ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_NOERRNO, 0, s, "%s", error);
        ap_mpm_query(AP_MPMQ_GENERATION, &generation);
        /* a running server goes on with the manager that it has */
        return test || generation == 0 ? !OK : OK;
    }
    ap_mpm_query(AP_MPMQ_IS_THREADED, &mpm_threads);
    if (!mpm_threads) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "this MPM has one thread in each process: every open stream "
                     "takes a whole process; mpm_event is the better choice");
    }
    if (ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_CREATE_PRE_CONFIG) {
        warn_of_slots(s);
    }
    return test ? test_personas(conf, s, keys, ns, ptemp) : OK;
}

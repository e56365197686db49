/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file supervise.c
 * @brief Starting personad from the httpd parent, and keeping it running.
 *
 * All state is in one supervisor_t that httpd keeps for us over restarts, because this module is unloaded between
 * two readings of the configuration. The parent owns it; workers have the copy that they inherited and only read it.
 *
 * What must hold: the two sockets are bound and listened on once in the life of a parent, so a connect waits in the
 * backlog while a manager is replaced; the secret and the gateway's id stay the same as long, so workers of an
 * older generation are served by newer managers; the site key is in the parent only while a manager is started;
 * no process but the parent holds the sockets or the write end of the lifeline, whoever forks it and whether or not it
 * executes anything: a manager would outlive httpd for as long as that process lives; nothing here sleeps, for the
 * restart runs inside the MPM's loop.
 */
#include "gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ap_mpm.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <http_main.h>
#include <unixd.h>

#include "persona/digest.h"

#define RETAINED "mod_persona supervisor"
#define LEAVING_MAX 8
#define BACKLOG 511
#define BACKOFF_MAX 30
/** A manager that lived so long did not crash at its start; tests kill it more often than that. */
#ifdef PERSONA_WITH_FAULTS
#define STEADY apr_time_from_sec(1)
#else
#define STEADY apr_time_from_sec(5)
#endif
#define TEST_TIMEOUT 60000           /**< ms for personad --check */
#define EXIT_EXEC 127                /**< exit codes 3, 7 and 15 of a child mean something to httpd */
#define EXIT_OWN 64                  /**< the first of personad's own, above all signals */

typedef struct supervisor_t {
    int listening;
    int listen_fd, control_fd;
    char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char control[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char secret[PERSONA_HEX256_LEN], gateway_id[33];
    char record_keys[2][PERSONA_HEX256_LEN];
    char ns[33];
    const char *keys[2];         /**< into record_keys; NULL: none */
    pid_t pid;                   /**< the manager in force; 0: none */
    int lifeline;                /**< write end; the manager stops when it closes */
    apr_time_t started;          /**< when the manager begins, after its pause */
    int crashes;
    pid_t leaving[LEAVING_MAX];  /**< told to stop, not yet gone */
} supervisor_t;

static supervisor_t *supervisor;
static server_rec *main_server;
static apr_pool_t *generation_pool;
static int forking; /**< this fork is a manager's: it is handed what others must not have */

static void watch(pid_t pid);

/* ---- what a fork inherits ---- */

static void let_go(int *fd)
{
    if (*fd > 0) {
        close(*fd);
    }
    *fd = -1;
}

/** In every child of this process: workers, and daemons that other modules fork without executing a program, such as
 * mod_cgid's, for which close-on-exec would come to nothing. Only async-signal-safe calls. */
static void forked(void)
{
    if (supervisor && !forking) {
        let_go(&supervisor->listen_fd);
        let_go(&supervisor->control_fd);
        let_go(&supervisor->lifeline);
    }
}

int persona_supervise_guard(void)
{
    static int guarded;

    supervisor = ap_retained_data_get(RETAINED);
    if (!guarded && pthread_atfork(NULL, NULL, forked) == 0) {
        guarded = 1;
    }
    return guarded ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

/* ---- sockets ---- */

static const char *socket_open(const char *path, uid_t owner, int *fd, apr_pool_t *p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    mode_t before;
    int status;

    if (strlen(path) >= sizeof(address.sun_path)) {
        return apr_psprintf(p, "PersonaSocket: %s is longer than the %d bytes a socket's path may have", path,
                            (int)sizeof(address.sun_path) - 1);
    }
    apr_cpystrn(address.sun_path, path, sizeof(address.sun_path));
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0) {
        return apr_psprintf(p, "PersonaSocket: no socket: %s", strerror(errno));
    }
    unlink(path);
    before = umask(0177);
    status = bind(*fd, (struct sockaddr *)&address, sizeof(address));
    umask(before);
    if (status || (geteuid() == 0 && chown(path, owner, (gid_t)-1)) || listen(*fd, BACKLOG)) {
        const char *error = apr_psprintf(p, "PersonaSocket: %s: %s", path, strerror(errno));

        close(*fd);
        return error;
    }
    return NULL;
}

static const char *sockets_open(const persona_conf_t *conf, apr_pool_t *p)
{
    const char *path = conf->socket ? conf->socket : ap_runtime_dir_relative(p, "persona.sock"), *control, *error;
    apr_uid_t uid = geteuid();
    apr_gid_t gid;

    control = apr_pstrcat(p, path, ".control", NULL);
    if (geteuid() == 0 && apr_uid_get(&uid, &gid, conf->manager_user, p) != APR_SUCCESS) {
        return apr_pstrcat(p, "PersonaManagerUser: there is no user \"", conf->manager_user, "\"", NULL);
    }
    error = socket_open(path, ap_unixd_config.user_id, &supervisor->listen_fd, p);
    if (error) {
        return error;
    }
    error = socket_open(control, uid, &supervisor->control_fd, p);
    if (error) {
        close(supervisor->listen_fd);
        return error;
    }
    apr_cpystrn(supervisor->socket, path, sizeof(supervisor->socket));
    apr_cpystrn(supervisor->control, control, sizeof(supervisor->control));
    apr_cpystrn(supervisor->secret, persona_random_hex(32, p), sizeof(supervisor->secret));
    apr_cpystrn(supervisor->gateway_id, persona_random_hex(16, p), sizeof(supervisor->gateway_id));
    supervisor->listening = 1;
    return NULL;
}

/* ---- handing over the settings ---- */

static void wipe(const char *secret)
{
    if (secret) {
        explicit_bzero((char *)(apr_uintptr_t)secret, strlen(secret));
    }
}

/** The settings in a file without a name. -1 and errno on failure. Every copy of the keys made here is wiped. */
static int settings_file(const persona_settings_t *settings)
{
    json_t *json = persona_settings_to_json(settings), *key;
    char *text = json_dumps(json, JSON_COMPACT);
    size_t i, len = text ? strlen(text) : 0, done = 0;
    int fd = text ? memfd_create("persona settings", MFD_CLOEXEC) : -1;

    while (fd >= 0 && done < len) {
        ssize_t n = write(fd, text + done, len - done);

        if (n < 0 && errno != EINTR) {
            close(fd);
            fd = -1;
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0) {
        lseek(fd, 0, SEEK_SET);
    }
    json_array_foreach(json_object_get(json, "keys"), i, key) {
        wipe(json_string_value(key));
    }
    json_decref(json);
    if (text) {
        explicit_bzero(text, len);
        free(text);
    }
    return fd;
}

/** The keys of this site; derived ones stay for the workers. NULL, or what is wrong. */
static const char *keys_read(const persona_conf_t *conf, const char *keys[2], apr_pool_t *p)
{
    const char *ns, *error = persona_config_keys(conf, keys, &ns, p);
    persona_settings_t settings = {0};
    int i;

    if (error) {
        return error;
    }
    settings.keys[0] = keys[0];
    settings.keys[1] = keys[1];
    for (i = 0; i < 2; i++) {
        const char *derived = persona_settings_key(&settings, i, "record", p);

        supervisor->keys[i] = NULL;
        if (derived) {
            apr_cpystrn(supervisor->record_keys[i], derived, sizeof(supervisor->record_keys[i]));
            supervisor->keys[i] = supervisor->record_keys[i];
        }
    }
    apr_cpystrn(supervisor->ns, ns, sizeof(supervisor->ns));
    return NULL;
}

/* ---- the new process ---- */

/** In the child: as if httpd had never been here. Only async-signal-safe calls. */
static void forget_httpd(const int *keep, int count)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;
    int i, fd, null;
    long max = sysconf(_SC_OPEN_MAX);

    for (i = 1; i < NSIG; i++) {
        sigaction(i, &action, NULL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    null = open("/dev/null", O_RDONLY);
    if (null > 0) {
        dup2(null, 0);
    }
    dup2(2, 1);
    if (max < 0 || max > 1048576) {
        max = 1048576;
    }
    for (fd = 3; fd < max; fd++) {
        int kept = 0;

        for (i = 0; i < count; i++) {
            kept |= keep[i] == fd;
        }
        if (kept) {
            fcntl(fd, F_SETFD, 0);
        }
        else {
            close(fd);
        }
    }
}

/** Waits out the back-off in the child; a parent that ends meanwhile ends it. */
static void back_off(int lifeline, int seconds)
{
    struct pollfd pfd = {.fd = lifeline, .events = POLLIN};

    if (seconds > 0 && poll(&pfd, 1, seconds * 1000) > 0) {
        _exit(0);
    }
}

static pid_t manager_fork(const persona_conf_t *conf, persona_settings_t *settings, int seconds, apr_pool_t *p)
{
    int lifeline[2], file, keep[4];
    const char *argv[4];
    pid_t pid;

    if (pipe2(lifeline, O_CLOEXEC)) {
        return -1;
    }
    settings->listen_fd = supervisor->listen_fd;
    settings->control_fd = supervisor->control_fd;
    settings->lifeline_fd = lifeline[0];
    file = settings_file(settings);
    if (file < 0) {
        close(lifeline[0]);
        close(lifeline[1]);
        return -1;
    }
    argv[0] = "personad";
    argv[1] = "--settings-fd";
    argv[2] = apr_itoa(p, file);
    argv[3] = NULL;
    forking = 1;
    pid = fork();
    forking = 0;
    if (pid == 0) {
        keep[0] = supervisor->listen_fd;
        keep[1] = supervisor->control_fd;
        keep[2] = lifeline[0];
        keep[3] = file;
        forget_httpd(keep, 4);
        back_off(lifeline[0], seconds);
        execv(conf->manager, (char *const *)(apr_uintptr_t)argv);
        _exit(EXIT_EXEC);
    }
    close(file);
    close(lifeline[0]);
    if (pid < 0) {
        close(lifeline[1]);
        return -1;
    }
    let_go(&supervisor->lifeline);
    supervisor->lifeline = lifeline[1];
    return pid;
}

/** Start a manager after `seconds`. NULL, or why not; then the one that runs, if any, goes on. */
static const char *manager_start(const persona_conf_t *conf, int seconds, apr_pool_t *p)
{
    persona_settings_t settings = {0};
    const char *keys[2], *error = keys_read(conf, keys, p);
    pid_t pid;

    if (error) {
        return error;
    }
    persona_config_settings(conf, main_server, &settings, p);
    settings.ns = supervisor->ns;
    settings.keys[0] = keys[0];
    settings.keys[1] = keys[1];
    settings.secret = supervisor->secret;
    settings.gateway_id = supervisor->gateway_id;
    settings.control = supervisor->control;
    settings.web_uid = (int)ap_unixd_config.user_id;
    pid = manager_fork(conf, &settings, seconds, p);
    if (pid < 0) {
        error = apr_psprintf(p, "%s cannot be started: %s", conf->manager, strerror(errno));
    }
    wipe(keys[0]);
    wipe(keys[1]);
    if (pid > 0) {
        supervisor->pid = pid;
        supervisor->started = apr_time_now() + apr_time_from_sec(seconds);
        watch(pid);
    }
    return error;
}

/* ---- watching ---- */

typedef struct watched_t {
    pid_t pid;
    apr_proc_t proc;
} watched_t;

/** How it ended, from what httpd tells: the exit status or the number of the signal, and not which of them. httpd
 * itself logs a signal. */
static const char *ending(int status, apr_pool_t *p)
{
    if (status == EXIT_EXEC) {
        return "could not be executed";
    }
    return apr_psprintf(p, "ended with %s %d", status < EXIT_OWN ? "status or signal" : "status", status);
}

/** Without a process there is no end to wait for: persona_supervise_monitor() tries again. */
static void manager_try(int seconds, apr_pool_t *p)
{
    const char *error = manager_start(persona_conf(main_server), seconds, p);

    if (error) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, main_server, "no persona manager is running: %s", error);
    }
}

static void manager_restart(pid_t pid, int status)
{
    apr_pool_t *p;
    int seconds = 0, state = AP_MPMQ_STOPPING;

    supervisor->pid = 0;
    ap_mpm_query(AP_MPMQ_MPM_STATE, &state);
    if (state == AP_MPMQ_STOPPING) {
        return;
    }
    if (apr_time_now() - supervisor->started > STEADY) {
        supervisor->crashes = 0;
    }
    if (supervisor->crashes > 0) {
        seconds = supervisor->crashes > 5 ? BACKOFF_MAX : 1 << (supervisor->crashes - 1);
    }
    supervisor->crashes++;
    apr_pool_create(&p, generation_pool);
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, main_server, "the persona manager (pid %ld) %s; the next one starts %s",
                 (long)pid, ending(status, p), seconds ? apr_psprintf(p, "in %d s", seconds) : "at once");
    manager_try(seconds, p);
    apr_pool_destroy(p);
}

void persona_supervise_monitor(void)
{
    int state = AP_MPMQ_STOPPING;
    apr_pool_t *p;

    ap_mpm_query(AP_MPMQ_MPM_STATE, &state);
    if (main_server && supervisor->listening && !supervisor->pid && state == AP_MPMQ_RUNNING) {
        apr_pool_create(&p, generation_pool);
        manager_try(0, p);
        apr_pool_destroy(p);
    }
}

static void maintain(int reason, void *data, int status)
{
    watched_t *watched = data;
    int i;

    switch (reason) {
    case APR_OC_REASON_DEATH:
    case APR_OC_REASON_LOST:
        apr_proc_other_child_unregister(data);
        for (i = 0; i < LEAVING_MAX; i++) {
            if (supervisor->leaving[i] == watched->pid) {
                supervisor->leaving[i] = 0;
            }
        }
        if (watched->pid == supervisor->pid) {
            manager_restart(watched->pid, status);
        }
        break;
    case APR_OC_REASON_RESTART:
        apr_proc_other_child_unregister(data);
        break;
    default:
        break;
    }
}

static void watch(pid_t pid)
{
    watched_t *watched = apr_pcalloc(generation_pool, sizeof(*watched));

    watched->pid = pid;
    watched->proc.pid = pid;
    apr_proc_other_child_register(&watched->proc, maintain, watched, NULL, generation_pool);
}

/** The old manager finishes what it does; its successor already serves. */
static void manager_leave(pid_t pid)
{
    int i;

    kill(pid, SIGTERM);
    for (i = 0; i < LEAVING_MAX; i++) {
        if (!supervisor->leaving[i]) {
            supervisor->leaving[i] = pid;
            return;
        }
    }
}

int persona_supervise_start(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    const persona_conf_t *conf = persona_conf(s);
    const char *error = NULL;
    pid_t old;
    int i, generation = 0;

    (void)plog;
    supervisor = ap_retained_data_get(RETAINED);
    if (!supervisor) {
        supervisor = ap_retained_data_create(RETAINED, sizeof(*supervisor));
    }
    main_server = s;
    generation_pool = pconf;
    if (!supervisor->listening) {
        error = sockets_open(conf, ptemp);
    }
    else if (conf->socket && strcmp(conf->socket, supervisor->socket)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "PersonaSocket stays %s until httpd is stopped and started",
                     supervisor->socket);
    }
    old = supervisor->pid;
    for (i = 0; i < LEAVING_MAX; i++) {
        if (supervisor->leaving[i]) {
            watch(supervisor->leaving[i]);
        }
    }
    if (!error) {
        error = manager_start(conf, 0, ptemp);
    }
    if (error) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "%s%s", error, old ? "; the running manager goes on" : "");
        if (old) {
            watch(old);
        }
        ap_mpm_query(AP_MPMQ_GENERATION, &generation);
        /* a running server goes on without: it also serves what needs no manager */
        return generation > 0 ? OK : HTTP_INTERNAL_SERVER_ERROR;
    }
    supervisor->crashes = 0;
    if (old) {
        manager_leave(old);
        watch(old);
    }
    if (ap_exists_config_define("DEBUG") || ap_exists_config_define("ONE_PROCESS")) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "httpd runs as one process (-X): nobody restarts the persona "
                     "manager if it ends");
    }
    return OK;
}

const char *persona_supervise_socket(void)
{
    return supervisor && supervisor->listening ? supervisor->socket : NULL;
}

const char *persona_supervise_secret(void)
{
    return supervisor->secret;
}

const char *const *persona_supervise_record_keys(void)
{
    return supervisor->keys;
}

const char *persona_supervise_namespace(void)
{
    return supervisor->ns;
}

/* ---- configtest ---- */

/** Reads what `pid` says until it closes its end; one that stays silent for too long is ended. */
static const char *read_all(int fd, pid_t pid, apr_pool_t *p)
{
    persona_html_t *text = persona_html_create(p);
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    char buffer[4096];
    ssize_t n = 1;

    while (n > 0) {
        if (poll(&pfd, 1, TEST_TIMEOUT) <= 0) {
            kill(pid, SIGKILL);
            break;
        }
        n = read(fd, buffer, sizeof(buffer) - 1);
        if (n > 0) {
            buffer[n] = '\0';
            persona_html_add(text, "%h", buffer);
        }
    }
    return persona_html_text(text);
}

const char *persona_supervise_test(const persona_conf_t *conf, const persona_settings_t *settings, int *good,
                                   apr_pool_t *p)
{
    int out[2], file = settings_file(settings), status = 0;
    const char *argv[] = {"personad", "--check", "--settings-fd", apr_itoa(p, file), NULL}, *said;
    pid_t pid;

    *good = 0;
    if (file < 0 || pipe2(out, O_CLOEXEC)) {
        return apr_psprintf(p, "%s cannot be asked: %s", conf->manager, strerror(errno));
    }
    pid = fork();
    if (pid == 0) {
        dup2(out[1], 2);
        forget_httpd(&file, 1);
        execv(conf->manager, (char *const *)(apr_uintptr_t)argv);
        _exit(EXIT_EXEC);
    }
    close(file);
    close(out[1]);
    if (pid < 0) {
        close(out[0]);
        return apr_psprintf(p, "%s cannot be started: %s", conf->manager, strerror(errno));
    }
    said = read_all(out[0], pid, p);
    close(out[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        continue;
    }
    *good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (*good) {
        return said;
    }
    if (WIFSIGNALED(status) || !*said) {
        return apr_psprintf(p, "%s%s --check ended with %s %d", said, conf->manager,
                            WIFSIGNALED(status) ? "signal" : "status",
                            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    return said;
}

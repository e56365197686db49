/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file main.c
 * @brief personad: settings from an inherited descriptor, the user it runs as, and the manager.
 *
 * It is exec'ed by httpd's parent, at start as root or later from inside the parent's loop: so the signal
 * handlers and the mask of whoever forked are undone first. It gives up every privilege before it parses
 * anything that comes from a compute, and ends with _exit() and a status that httpd does not take for its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "check.h"
#include "manager.h"

#define SETTINGS_MAX (4 * 1024 * 1024)

static void reset_signals(void)
{
    sigset_t none;
    int i;

    for (i = 1; i < NSIG; i++) {
        signal(i, SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void log_line(void *baton, const char *file, int line, persona_log_level_e level,
                     apr_status_t status, const char *message)
{
    static const char *const names[] = {"emerg", "alert",  "crit", "error",
                                        "warn",  "notice", "info", "debug"};
    char when[APR_CTIME_LEN], words[160] = "";
    const char *base = strrchr(file, '/');
    apr_time_t now = apr_time_now();

    (void)baton;
    apr_ctime(when, now);
    if (status != APR_SUCCESS) {
        char text[120];

        apr_strerror(status, text, sizeof(text));
        apr_snprintf(words, sizeof(words), "(%d)%s: ", status, text);
    }
    /* As httpd's own lines: "Tue Nov 24 04:04:55.123456 2026". */
    fprintf(stderr, "[%.19s.%06d %s] [persona:%s] [pid %d] %s(%d): %smanager: %s\n", when,
            (int)apr_time_usec(now), when + 20, level <= PERSONA_LOG_DEBUG ? names[level] : "debug",
            (int)getpid(), base ? base + 1 : file, line, words, message);
}

static json_t *read_settings(int fd)
{
    char *text = malloc(SETTINGS_MAX);
    size_t len = 0;
    json_t *json;
    ssize_t n;

    if (!text) {
        return NULL;
    }
    while (len < SETTINGS_MAX &&
           ((n = read(fd, text + len, SETTINGS_MAX - len)) > 0 || (n < 0 && errno == EINTR))) {
        len += n > 0 ? (size_t)n : 0;
    }
    json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    explicit_bzero(text, len);
    free(text);
    close(fd);
    return json;
}

/** Everything but the standard descriptors and the three that were meant for us. */
static void close_others(const persona_settings_t *settings)
{
    int keep[3] = {settings->listen_fd, settings->control_fd, settings->lifeline_fd};
    unsigned first = 3;
    int i, j;

    for (i = 0; i < 3; i++) {
        for (j = i + 1; j < 3; j++) {
            if (keep[j] < keep[i]) {
                int swap = keep[i];

                keep[i] = keep[j];
                keep[j] = swap;
            }
        }
        if (keep[i] >= (int)first) {
            if (keep[i] > (int)first) {
                close_range(first, (unsigned)keep[i] - 1, 0);
            }
            fcntl(keep[i], F_SETFD, FD_CLOEXEC);
            first = (unsigned)keep[i] + 1;
        }
    }
    close_range(first, ~0U, 0);
}

/** The state directory belongs to the manager's user; httpd's parent may have made its parents only. */
static void make_state_dir(const persona_settings_t *settings, const struct passwd *pw)
{
    if (mkdir(settings->state_dir, 0700) == 0 && geteuid() == 0 &&
        lchown(settings->state_dir, pw->pw_uid, pw->pw_gid) != 0) {
        persona_log(PERSONA_LOG_ERR, errno, "%s cannot be given to user %s", settings->state_dir,
                    pw->pw_name);
    }
}

static void set_home(const struct passwd *pw)
{
    static const char *const gone[] = {"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME",
                                       "XDG_RUNTIME_DIR", "LD_PRELOAD",     "LD_LIBRARY_PATH"};
    size_t i;

    for (i = 0; i < sizeof(gone) / sizeof(gone[0]) - (geteuid() == pw->pw_uid ? 2 : 0); i++) {
        unsetenv(gone[i]);
    }
    setenv("HOME", pw->pw_dir, 1);
    setenv("USER", pw->pw_name, 1);
    setenv("LOGNAME", pw->pw_name, 1);
}

/** 1: this process is the manager's user for good. */
static int drop_privileges(const persona_settings_t *settings)
{
    const struct passwd *pw =
        settings->manager_user ? getpwnam(settings->manager_user) : getpwuid(geteuid());
    int was_root = geteuid() == 0;

    if (!pw) {
        persona_log(PERSONA_LOG_ERR, 0, "PersonaManagerUser %s: there is no such user",
                    settings->manager_user ? settings->manager_user : "(not set)");
        return 0;
    }
    make_state_dir(settings, pw);
    set_home(pw);
    if (was_root) {
        if (setgid(pw->pw_gid) != 0 || initgroups(pw->pw_name, pw->pw_gid) != 0 ||
            setuid(pw->pw_uid) != 0) {
            persona_log(PERSONA_LOG_ERR, errno, "personad cannot become user %s", pw->pw_name);
            return 0;
        }
    }
    else if (geteuid() != pw->pw_uid) {
        persona_log(PERSONA_LOG_ERR, 0,
                    "PersonaManagerUser is %s, but httpd was not started as root and runs as "
                    "user %d",
                    pw->pw_name, (int)geteuid());
        return 0;
    }
    if (pw->pw_uid != 0 && setuid(0) == 0) {
        persona_log(PERSONA_LOG_ERR, 0, "after becoming user %s, personad could become root again",
                    pw->pw_name);
        return 0;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        persona_log(PERSONA_LOG_ERR, errno, "NO_NEW_PRIVS and undumpable cannot be set");
        return 0;
    }
    umask(077);
    return 1;
}

/** Wait before the start, as long as httpd lives; a signal ends the process by its default. */
static int delay_start(const persona_settings_t *settings, int seconds)
{
    struct pollfd fd = {settings->lifeline_fd, POLLIN, 0};
    char byte;

    return seconds <= 0 || poll(&fd, 1, seconds * 1000) <= 0 ||
           read(settings->lifeline_fd, &byte, 1) > 0;
}

/** What the command line asks for. */
typedef struct arguments_t {
    int settings_fd, delay, check;
} arguments_t;

static persona_settings_t *load_settings(int fd, apr_pool_t *p)
{
    persona_settings_t *settings = NULL;
    const char *error = "it is not JSON";
    json_t *json = read_settings(fd);

    if (!json || persona_settings_from_json(&settings, json, &error, p) != APR_SUCCESS) {
        persona_log(PERSONA_LOG_ERR, 0, "the settings that httpd sent cannot be used: %s", error);
        settings = NULL;
    }
    json_decref(json);
    return settings;
}

static int run(const arguments_t *arguments, pid_t parent)
{
    const persona_settings_t *settings;
    apr_pool_t *p;

    if (apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return PERSONA_EXIT_START;
    }
    settings = load_settings(arguments->settings_fd, p);
    if (!settings) {
        return PERSONA_EXIT_SETTINGS;
    }
    if (arguments->check) {
        return persona_manager_check(settings, stderr, p) ? PERSONA_EXIT_PROBLEMS : PERSONA_EXIT_OK;
    }
    persona_log_set(log_line, NULL, (persona_log_level_e)settings->log_level);
    close_others(settings);
    if (!drop_privileges(settings)) {
        return PERSONA_EXIT_PRIVILEGES;
    }
    /* setuid() clears it, so it comes after; a parent that died meanwhile sends nothing. */
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    if (getppid() != parent) {
        return PERSONA_EXIT_OK;
    }
    if (!delay_start(settings, arguments->delay)) {
        return PERSONA_EXIT_OK;
    }
    return persona_manager_main(settings);
}

/** 0: it cannot be understood. */
static int read_arguments(int argc, char **argv, arguments_t *arguments)
{
    int i;

    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--check")) {
            arguments->check = 1;
        }
        else if (!strcmp(argv[i], "--settings-fd") && i + 1 < argc) {
            arguments->settings_fd = atoi(argv[++i]);
        }
        else if (!strcmp(argv[i], "--delay") && i + 1 < argc) {
            arguments->delay = atoi(argv[++i]);
        }
        else {
            return 0;
        }
    }
    return arguments->settings_fd >= 0;
}

int main(int argc, char **argv)
{
    arguments_t arguments = {-1, 0, 0};
    pid_t parent = getppid();
    int status;

    reset_signals();
    if (!read_arguments(argc, argv, &arguments)) {
        fprintf(stderr, "usage: personad --settings-fd N [--delay SECONDS | --check]\n"
                        "personad is started by mod_persona, not by hand.\n");
        _exit(PERSONA_EXIT_USAGE);
    }
    apr_initialize();
    status = run(&arguments, parent);
    fflush(stderr);
    _exit(status);
}

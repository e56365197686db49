/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file log.c
 * @brief The log sink of this process, and the result of a job in words.
 *
 * One sink per process, bound by whoever owns the process (httpd glue, personad, personactl) before
 * any thread is made; after that it is only read.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

#include "persona.h"

#define MESSAGE_MAX 2048

static void log_to_stderr(void *baton, const char *file, int line, persona_log_level_e level,
                          apr_status_t status, const char *message);

static struct {
    persona_log_cb *sink;
    void *baton;
    persona_log_level_e level;
} log_to = {log_to_stderr, NULL, PERSONA_LOG_INFO};

static void log_to_stderr(void *baton, const char *file, int line, persona_log_level_e level,
                          apr_status_t status, const char *message)
{
    static const char *const names[] = {"", "", "", "error", "warning", "notice", "info", "debug"};
    char text[256];
    const char *base = strrchr(file, '/');

    (void)baton;
    if (status != APR_SUCCESS) {
        apr_strerror(status, text, sizeof(text));
        fprintf(stderr, "[%s] %s:%d: %s (%d: %s)\n", names[level], base ? base + 1 : file, line,
                message, status, text);
    }
    else {
        fprintf(stderr, "[%s] %s:%d: %s\n", names[level], base ? base + 1 : file, line, message);
    }
}

/** Control bytes become \xNN, in place of a copy that is cut at `size`. */
static void escape_control(char *to, apr_size_t size, const char *from)
{
    apr_size_t n = 0;

    for (; *from && n + 5 < size; from++) {
        unsigned char c = (unsigned char)*from;

        if (c < 0x20 || c == 0x7f) {
            n += (apr_size_t)apr_snprintf(to + n, size - n, "\\x%02x", c);
        }
        else {
            to[n++] = (char)c;
        }
    }
    to[n] = '\0';
}

void persona_log_set(persona_log_cb *sink, void *baton, persona_log_level_e level)
{
    log_to.sink = sink ? sink : log_to_stderr;
    log_to.baton = baton;
    log_to.level = level;
}

void persona_log_at(const char *file, int line, persona_log_level_e level, apr_status_t status,
                    const char *fmt, ...)
{
    char raw[MESSAGE_MAX], text[MESSAGE_MAX];
    va_list ap;

    if (level > log_to.level) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(raw, sizeof(raw), fmt, ap);
    va_end(ap);
    escape_control(text, sizeof(text), raw);
    log_to.sink(log_to.baton, file, line, level, status, text);
}

apr_status_t persona_result_set(persona_result_t *res, apr_status_t status, const char *problem,
                                const char *fmt, ...)
{
    char raw[sizeof(res->detail)];
    va_list ap;

    if (res) {
        va_start(ap, fmt);
        vsnprintf(raw, sizeof(raw), fmt, ap);
        va_end(ap);
        res->status = status;
        apr_cpystrn(res->problem, problem ? problem : "", sizeof(res->problem));
        escape_control(res->detail, sizeof(res->detail), raw);
    }
    return status;
}

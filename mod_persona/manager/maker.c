/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file maker.c
 * @brief Names of makers, from /proc.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

#include "maker.h"

#define STARTTIME 20 /**< field of /proc/PID/stat, counted from the one behind the name, which may hold anything */

/** When the process started, in the kernel's ticks; 0: there is none. */
static unsigned long long start_time(long pid)
{
    char path[64], text[1024], *at;
    ssize_t n;
    int fd, field;

    apr_snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    at = strrchr(text, ')');
    /* a zombie makes nothing any more */
    if (!at || !strncmp(at, ") Z", 3)) {
        return 0;
    }
    for (field = 0; at && field < STARTTIME; field++) {
        at = strchr(at + 1, ' ');
    }
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

const char *persona_maker_name(const char *id, apr_pool_t *p)
{
    char start[32];

    snprintf(start, sizeof(start), "%llu", start_time((long)getpid()));
    return apr_psprintf(p, "%s.%ld.%s", id, (long)getpid(), start);
}

int persona_maker_gone(const char *maker, const char *id)
{
    size_t len = strlen(id);
    char *rest;
    long pid;

    if (!maker || strncmp(maker, id, len) || maker[len] != '.') {
        return 0;
    }
    pid = strtol(maker + len + 1, &rest, 10);
    return pid > 0 && *rest == '.' && strtoull(rest + 1, NULL, 10) != start_time(pid);
}

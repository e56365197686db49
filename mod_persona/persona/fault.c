/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file fault.c
 * @brief Fault points at work: only in a build configured with --enable-fault-points.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_time.h>

#include "persona/fault.h"

#define HANG_MAX 30

#define NAME_OF(name, where) #name,
static const char *const names[] = {PERSONA_FAULT_POINTS(NAME_OF, NAME_OF)};

/** Who renames the file first has it. */
static int take(const char *name, char *word, size_t size)
{
    const char *folder = getenv("PERSONA_FAULTS");
    char armed[512], fired[560];
    ssize_t n;
    int fd;

    if (!folder || snprintf(armed, sizeof(armed), "%s/%s", folder, name) >= (int)sizeof(armed)) {
        return 0;
    }
    snprintf(fired, sizeof(fired), "%s.fired.%ld", armed, (long)getpid());
    if (access(armed, F_OK) || rename(armed, fired)) {
        return 0;
    }
    fd = open(fired, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, word, size - 1);
    if (fd >= 0) {
        close(fd);
    }
    word[n > 0 ? n : 0] = '\0';
    return 1;
}

persona_fault_do_e persona_fault_here(persona_fault_e point)
{
    char word[32];
    int seconds;

    if (!take(names[point], word, sizeof(word))) {
        return PERSONA_FAULT_NOTHING;
    }
    if (!strncmp(word, "kill", 4)) {
        raise(SIGKILL);
    }
    if (sscanf(word, "hang %d", &seconds) == 1) {
        apr_sleep(apr_time_from_sec(seconds < HANG_MAX ? seconds : HANG_MAX));
    }
    return !strncmp(word, "fail", 4)    ? PERSONA_FAULT_FAIL
           : !strncmp(word, "lose", 4)  ? PERSONA_FAULT_LOSE
           : !strncmp(word, "after", 5) ? PERSONA_FAULT_AFTER
                                        : PERSONA_FAULT_NOTHING;
}

apr_status_t persona_fault_made(persona_fault_do_e what, apr_status_t status)
{
    if (what == PERSONA_FAULT_AFTER) {
        raise(SIGKILL);
    }
    return what == PERSONA_FAULT_LOSE ? APR_TIMEUP : status;
}

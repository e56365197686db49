/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file manager.h
 * @brief The persona manager as a function: what personad runs once it has its settings and its user.
 */
#ifndef PERSONA_MANAGER_MANAGER_H
#define PERSONA_MANAGER_MANAGER_H

#include "persona/settings.h"

/** Exit statuses of personad. 3, 7 and 15 make httpd's parent throttle or shut down: never used. */
#define PERSONA_EXIT_OK         0
#define PERSONA_EXIT_PROBLEMS   1 /**< --check found some */
#define PERSONA_EXIT_USAGE      64
#define PERSONA_EXIT_SETTINGS   65
#define PERSONA_EXIT_PRIVILEGES 66
#define PERSONA_EXIT_START      67

/** Serve both sockets and keep all pools until SIGTERM, SIGINT or the end of the lifeline. Instances
 * stay. Returns the exit status; threads may still be inside provider calls then, so the caller MUST
 * end the process with _exit(). Call it before the process has a second thread: it blocks signals. */
int persona_manager_main(const persona_settings_t *settings);

#endif

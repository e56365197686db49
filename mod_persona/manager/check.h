/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file check.h
 * @brief `personad --check`: what `httpd -t` wants to know and cannot find out without the providers.
 */
#ifndef PERSONA_MANAGER_CHECK_H
#define PERSONA_MANAGER_CHECK_H

#include <stdio.h>

#include "persona/settings.h"

/** Writes what is wrong with the computes, the persona folder and each persona on its compute, one a line. No
 * network, nothing is changed. Returns how many lines it wrote. */
int persona_manager_check(const persona_settings_t *settings, FILE *out, apr_pool_t *p);

#endif

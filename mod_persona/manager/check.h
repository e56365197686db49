/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file check.h
 * @brief `personad --check`: what `httpd -t` wants to know and cannot find out without the providers.
 */
#ifndef PERSONA_MANAGER_CHECK_H
#define PERSONA_MANAGER_CHECK_H

#include <stdio.h>

#include "persona/settings.h"

/** Writes what is wrong with the computes, the persona folder and each persona on its compute, one a line, and as
 * lines that begin with PERSONA_CHECK_WARNING what an administrator should know of good personas. No network, nothing
 * is changed. Returns how many things are wrong; warnings do not count. */
int persona_manager_check(const persona_settings_t *settings, FILE *out, apr_pool_t *p);

#endif

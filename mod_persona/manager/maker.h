/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file maker.h
 * @brief Which process is making an instance, and whether it still can.
 *
 * What is being made looks the same whether somebody is at work on it or was killed over it. So each instance names
 * its maker: "<manager id>.<pid>.<start time of that process>". Of another gateway's processes nothing is known here;
 * of this gateway's own, the kernel tells.
 */
#ifndef PERSONA_MANAGER_MAKER_H
#define PERSONA_MANAGER_MAKER_H

#include <apr_pools.h>

/** The name of this process as a maker. `id`: the manager's, the same over restarts. */
const char *persona_maker_name(const char *id, apr_pool_t *p);
/** Whether `maker` (NULL: nobody knows) was a process of the manager `id`, and is no more. */
int persona_maker_gone(const char *maker, const char *id);

#endif

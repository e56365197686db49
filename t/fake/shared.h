/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file shared.h
 * @brief A compute in a process of its own, for tests and benchmarks: what its server and its provider say to each
 * other.
 *
 * `t/fake/server SOCKET` keeps instances and fences as a hypervisor does, for as long as it runs, whatever becomes of
 * those who use it. The provider "fake" (shared.c) asks it over the unix socket that PersonaCompute names as the
 * address. Only t/fake/personad and the programs of t/race have that provider; nothing here is ever installed.
 *
 * Each question is one shared_ask_t; each answer a shared_answer_t and `length` bytes: instances (fake_instance_t) of
 * LIST and INSPECT, fences (fake_fence_t) of FENCES and HOLDER, text of TELL. Both ends are of one build on one
 * machine. `t/fake/server --tell SOCKET WORDS` sets what the server does, see server.c.
 */
#ifndef PERSONA_FAKE_SHARED_H
#define PERSONA_FAKE_SHARED_H

#include "../unit/fake_compute.h"

/** Beside the operations of fake_op_e. */
#define SHARED_TELL FAKE_OPS

typedef struct shared_ask_t {
    apr_uint32_t op;
    fake_fence_t fence;       /**< FENCE, HOLDER, UNFENCE; its name is the uuid for INSPECT and DESTROY */
    fake_instance_t instance; /**< CREATE, MARK; text of TELL in `reason` */
} shared_ask_t;

typedef struct shared_answer_t {
    apr_int32_t status; /**< APR_SUCCESS, APR_ENOENT, APR_EEXIST, APR_TIMEUP, APR_EGENERAL */
    apr_uint32_t length;
} shared_answer_t;

extern const persona_compute_provider_t shared_provider;

/** Tell the server at `socket`; its words, or NULL: it did not understand or does not answer. */
const char *shared_tell(const char *socket, const char *words, apr_pool_t *p);

#endif

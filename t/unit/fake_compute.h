/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file fake_compute.h
 * @brief A compute provider in memory, for unit tests: it keeps what a real one keeps, and fails when told to.
 *
 * All persona_compute_t opened on it share one set of instances and fences, as two managers share a host.
 */
#ifndef PERSONA_FAKE_COMPUTE_H
#define PERSONA_FAKE_COMPUTE_H

#include "persona_compute.h"

#define FAKE_MAX 256

typedef enum {
    FAKE_LIST, FAKE_FENCES, FAKE_INSPECT, FAKE_CREATE, FAKE_MARK, FAKE_FENCE, FAKE_HOLDER, FAKE_UNFENCE,
    FAKE_DESTROY, FAKE_OPS
} fake_op_e;

typedef struct fake_instance_t {
    char uuid[40], persona_id[64], fingerprint[72], session[72], user[260], app[64], reason[260], maker[96];
    persona_instance_e state;
    int running, exists;
    int port;                /**< 0: no address yet */
    apr_time_t created, ready_at, assigned_at, retiring_at;
} fake_instance_t;

typedef struct fake_fence_t {
    char name[128], token[40], session[72];
    int exists;
} fake_fence_t;

/** Everything the fake has; guarded by its own lock, free to be read between calls of a one-threaded test. */
typedef struct fake_world_t {
    fake_instance_t instances[FAKE_MAX];
    fake_fence_t fences[FAKE_MAX];
    apr_status_t fail[FAKE_OPS]; /**< what the operation answers; APR_SUCCESS: it works */
    int fail_after;              /**< the operation is done all the same: a lost answer */
    int fail_times[FAKE_OPS];    /**< so often, then it works again; 0: for ever */
    int calls[FAKE_OPS];
    int die_at;                  /**< the n-th changing call and all after it fail without effect; 0: none */
    int changes;                 /**< changing calls so far */
    int nameless;                /**< fences do not tell for which session they were taken */
    int port;                    /**< what new instances get */
    apr_interval_time_t delay;   /**< of each fence */
    char trace[4096];            /**< changing calls that worked, by first letters: "F M D U " */
    int destroyed_fenced;        /**< destroyed while fenced by a session that was not retired first */
    int unfenced_alive;          /**< fences removed from existing instances */
    void (*listed)(void);        /**< called once, when a list is made and not yet answered */
    apr_time_t (*clock)(void *baton);
} fake_world_t;

extern fake_world_t fake;
extern const persona_compute_provider_t fake_provider;

void fake_reset(apr_time_t (*clock)(void *baton));
fake_instance_t *fake_find(const char *uuid);
/** Existing instances in that state; GONE: in any. */
int fake_count(persona_instance_e state);
/** The n-th existing instance, from 0; NULL: there are fewer. */
fake_instance_t *fake_nth(int n);
/** The token of a fence, or NULL. */
const char *fake_token(const char *name);
int fake_fence_count(void);
/** A fence that somebody set, beside the manager. */
void fake_set_fence(const char *name, const char *token);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file persona_compute.h
 * @brief Where instances run: the contract between the persona manager and a compute provider.
 *
 * A provider (libvirt, docker, kubernetes) creates, lists, marks, fences and destroys instances.
 * It keeps, beside each instance and across restarts of everything else, all that must survive:
 * namespace, persona, fingerprint, state, and the fence that says which session owns it. The
 * provider's word is the truth; memcached is only an index of it.
 *
 * THE FENCE. fence() is a persistent, atomic, idempotent test-and-set on an instance's uuid (or on
 * another name, such as an address): the first session wins; the same session may ask again and is
 * told yes again; any other is told no, for as long as the fence stands, whatever restarts. It does
 * not look at the instance. A fence of an existing instance MUST NOT be removed.
 *
 * STATES: creating -> ready -> assigned -> retiring -> gone. An instance is single-use: it never
 * goes back. `state` is what the metadata says; where a fence exists, the fence decides.
 *
 * THREADS: every function may be called by any thread at any time, also concurrently on the same
 * persona_compute_t, but only in the process that opened it. No call MUST last longer than the
 * timeout given at open; a call whose outcome is not known returns APR_TIMEUP, never success or a
 * refusal. Strings in results live in the pool passed last.
 */
#ifndef PERSONA_COMPUTE_H
#define PERSONA_COMPUTE_H

#include "persona.h"

typedef enum {
    PERSONA_INSTANCE_CREATING, PERSONA_INSTANCE_READY, PERSONA_INSTANCE_ASSIGNED,
    PERSONA_INSTANCE_RETIRING, PERSONA_INSTANCE_GONE
} persona_instance_e;

/** An instance as its provider tells of it. */
typedef struct persona_instance_t {
    const char *uuid;        /**< random, ours, never reused */
    const char *persona_id;
    const char *fingerprint; /**< of the persona it was made from */
    const char *compute;     /**< name of the PersonaCompute that has it */
    const char *host;        /**< where it runs, for people */
    persona_instance_e state;
    int running;             /**< the domain or container runs; says nothing of the stream */
    const char *session;     /**< S, from the metadata; NULL: none. The fence decides */
    const char *user, *app;  /**< from the metadata; NULL: none */
    apr_time_t created, ready_at, assigned_at; /**< 0: not yet */
    apr_time_t retiring_at;  /**< of the last mark "retiring": tells one such mark from the next; 0: none */
    const char *address;     /**< of the stream, numeric; NULL: not known yet */
    int port;
    const char *hook_address; /**< of the instance itself, for the assign hook; NULL: not known yet */
    const char *reason;      /**< why it was created or retired */
    const char *maker;       /**< while it is being made: as create() was told; NULL: unknown */
    apr_time_t read_at;      /**< when the provider was read, before the call was made */
} persona_instance_t;

/** What mark() writes beside the instance. NULL and 0 leave a value as it is. */
typedef struct persona_mark_t {
    persona_instance_e state;
    const char *session, *user, *app, *reason;
    apr_time_t ready_at, assigned_at, retiring_at;
} persona_mark_t;

typedef struct persona_fence_t {
    const char *name;      /**< instance uuid, or what else was fenced */
    const char *token;     /**< identifies the winner: equal to persona_fence_token(session, name) */
} persona_fence_t;

/** One PersonaCompute line. */
typedef struct persona_compute_conf_t {
    const char *name;      /**< as personas say it */
    const char *provider;  /**< "libvirt", ... */
    const char *address;
    const apr_table_t *options;
} persona_compute_conf_t;

/** What create() is told beside the persona. */
typedef struct persona_create_t {
    const char *uuid;
    const char *hook_key;  /**< hexadecimal secret for the signature of the assign hook; NULL: none */
    const char *reason;
    const char *maker;     /**< who makes it, without blanks; NULL: nobody asks */
} persona_create_t;

/** What all instances of a compute may take together, by the options of its PersonaCompute that every provider has:
 * cpus=, memory=, gpus=, instances=. -1: no limit. NULL, or what is wrong. */
const char *persona_compute_limits(const persona_compute_conf_t *conf, double limits[PERSONA_LIMITS], apr_pool_t *p);
/** Whether an option is one of these: it is not the provider's to know. */
int persona_compute_limit(const char *option);

typedef struct persona_capacity_t {
    int cpus;              /**< of all hosts of this compute */
    apr_int64_t memory;    /**< bytes */
    int cpus_used;         /**< by instances of any namespace */
    apr_int64_t memory_used;
} persona_capacity_t;

typedef struct persona_usage_sample_t {
    apr_int64_t cpu_time;      /**< nanoseconds since start */
    apr_int64_t memory, memory_limit; /**< bytes */
    apr_int64_t rx, tx, read, written; /**< bytes since start; -1: unknown */
    int cpus;
} persona_usage_sample_t;

typedef struct persona_compute_t persona_compute_t;

/** Called from a thread of the provider when an instance (uuid) changed or died; MUST NOT block. */
typedef void persona_compute_event_cb(void *baton, persona_compute_t *c, const char *uuid);

typedef struct persona_compute_provider_t {
    const char *name;
    /** At configtest: NULL, or what is wrong with this line and what would be right. No network. */
    const char *(*check_conf)(const persona_compute_conf_t *conf, apr_pool_t *p);
    /** NULL, or why this persona cannot run on such a compute at all. No network. */
    const char *(*check_persona)(const persona_compute_conf_t *conf, const persona_t *persona, apr_pool_t *p);
    /** Connect. APR_SUCCESS also when the engine does not answer yet: calls then fail until it does,
     * and reconnect by themselves. `ns` is the namespace, [a-z0-9-]{1,32}. */
    apr_status_t (*open)(persona_compute_t **c, const persona_compute_conf_t *conf, const char *ns,
                         apr_interval_time_t timeout, persona_result_t *res, apr_pool_t *p);
    void (*close)(persona_compute_t *c);
    /** Events, from now on, for every instance of the namespace. */
    void (*watch)(persona_compute_t *c, persona_compute_event_cb *cb, void *baton);
    apr_status_t (*capacity)(persona_compute_t *c, persona_capacity_t *cap, persona_result_t *res, apr_pool_t *p);
    /** All instances of the namespace, in any state, also those that died: array of persona_instance_t *. */
    apr_status_t (*list)(persona_compute_t *c, apr_array_header_t **instances, persona_result_t *res, apr_pool_t *p);
    /** One instance; APR_ENOENT: the provider says that it does not exist. */
    apr_status_t (*inspect)(persona_compute_t *c, const char *uuid, persona_instance_t **instance,
                            persona_result_t *res, apr_pool_t *p);
    /** Begin to boot; returns when the engine has accepted it, not when the stream answers.
     * After any error, destroy(uuid) cleans up whatever was made. */
    apr_status_t (*create)(persona_compute_t *c, const persona_t *persona, const persona_create_t *how,
                           persona_result_t *res, apr_pool_t *p);
    apr_status_t (*mark)(persona_compute_t *c, const char *uuid, const persona_mark_t *mark,
                         persona_result_t *res, apr_pool_t *p);
    /** APR_SUCCESS: yours, now or already. APR_EEXIST: another's. APR_TIMEUP: unknown, ask again. */
    apr_status_t (*fence)(persona_compute_t *c, const char *name, const char *session, persona_result_t *res,
                          apr_pool_t *p);
    /** Who holds it: APR_SUCCESS and *token, or APR_ENOENT. */
    apr_status_t (*fence_holder)(persona_compute_t *c, const char *name, const char **token,
                                 persona_result_t *res, apr_pool_t *p);
    /** For which session it was taken, kept with the fence: APR_SUCCESS and *session, or APR_ENOENT. What it says
     * counts only with the fence's token. NULL: the provider cannot tell. */
    apr_status_t (*fence_session)(persona_compute_t *c, const char *name, const char **session,
                                  persona_result_t *res, apr_pool_t *p);
    /** All fences of the namespace: array of persona_fence_t *. */
    apr_status_t (*fences)(persona_compute_t *c, apr_array_header_t **fences, persona_result_t *res, apr_pool_t *p);
    /** Remove the fence if it still has this token; only for names that do not exist any more. */
    apr_status_t (*unfence)(persona_compute_t *c, const char *name, const char *token, persona_result_t *res,
                            apr_pool_t *p);
    /** Stop at once and remove with its storage. APR_SUCCESS also when there is none. Does not touch the
     * instance's fence; frees fenced addresses and devices of this instance. */
    apr_status_t (*destroy)(persona_compute_t *c, const char *uuid, persona_result_t *res, apr_pool_t *p);
    apr_status_t (*stats)(persona_compute_t *c, const char *uuid, persona_usage_sample_t *sample,
                          persona_result_t *res, apr_pool_t *p);
    /** Change a running instance; 0 leaves a value. Verified inside: returns what was reached. */
    apr_status_t (*resize)(persona_compute_t *c, const char *uuid, int *cpus, apr_int64_t *memory,
                           persona_result_t *res, apr_pool_t *p);
} persona_compute_provider_t;

/** The head of every provider's own struct. */
struct persona_compute_t {
    const persona_compute_provider_t *provider;
    const persona_compute_conf_t *conf;
    const char *ns;
    apr_interval_time_t timeout;
};

/** The provider of that name, or NULL. The table is in mod_persona/compute/compute.c. */
const persona_compute_provider_t *persona_compute_provider(const char *name);
/** Names of all providers that this build has, for messages: "docker, libvirt". */
const char *persona_compute_names(apr_pool_t *p);

/** Add a provider to the table; for tests, before any thread exists. */
void persona_compute_register(const persona_compute_provider_t *provider);

const char *persona_instance_state_name(persona_instance_e state);
/** APR_SUCCESS, or APR_EINVAL for an unknown word. */
apr_status_t persona_instance_state_parse(const char *word, persona_instance_e *state);

/** The winner's mark on a fence: UUIDv5 (RFC 4122, SHA-1) of the session in the name's uuid space; for a
 * name that is not a uuid, of the session in the space UUIDv5(name). */
const char *persona_fence_token(const char *session, const char *name, apr_pool_t *p);

#endif

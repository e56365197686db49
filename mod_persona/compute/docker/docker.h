/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file docker.h
 * @brief What the files of the Docker provider share. Outside compute/ only persona_docker_provider is used.
 *
 * docker.c          the vtable: options, open, capacity
 * docker_http.c     one request to the engine, bounded by the time of the call that needs it
 * docker_request.c  what is sent: paths, filters, the container of a persona; pure
 * docker_create.c   create and destroy
 * docker_read.c     list, inspect, stats, resize
 * docker_mark.c     marks: what is noted beside an instance
 * docker_fence.c    fences
 * docker_events.c   the thread that hears of deaths
 *
 * Podman answers on the same interface; where it differs, `podman` of the engine says so.
 */
#ifndef PERSONA_COMPUTE_DOCKER_H
#define PERSONA_COMPUTE_DOCKER_H

#include <pthread.h>

#include <apr_hash.h>
#include <jansson.h>

#include "persona_compute.h"

extern const persona_compute_provider_t persona_docker_provider;

/** Names of containers begin with it; the uuid follows. */
#define DOCKER_NAME "persona-"
/** Of a container that somebody has: the uuid, a dash and the winner's token follow. */
#define DOCKER_ASSIGNED "persona-assigned-"
/** Volumes that are fences: the namespace, a dash, and the uuid or the hash of another name follow. */
#define DOCKER_FENCE "persona-fence-"
/** Volumes that are marks: the uuid, a dot and a number follow. */
#define DOCKER_MARK "persona-mark-"
/** A container that was created longer ago and never started is a leftover. */
#define DOCKER_CREATE_MAX apr_time_from_sec(90)
/** Longest text that is kept beside an instance, in bytes. */
#define DOCKER_TEXT_MAX 8192
/** Connections that are kept open between calls. */
#define DOCKER_IDLE_MAX 16

/** The options of one PersonaCompute line. */
typedef struct docker_options_t {
    const char *socket;      /**< path of the unix socket; NULL: TLS */
    const char *base;        /**< of every URL, without a slash at its end */
    const char *ca, *cert, *key; /**< files, for TLS; NULL: none */
    const apr_array_header_t *caps; /**< of const char *: capabilities that an instance keeps */
    int pids;                /**< most processes and threads of an instance */
    const char *gpu;         /**< model of the engine's GPUs; NULL: not told */
} docker_options_t;

/** What the engine says of itself; asked once, and again after it was away. */
typedef struct docker_engine_t {
    int known, podman;
    char version[16];        /**< prefix of paths, "/v1.41" */
    char libpod[24];         /**< Podman: prefix of its own interface, "/v4.3.1/libpod" */
    char host[128];
} docker_engine_t;

typedef struct docker_t {
    persona_compute_t head;  /**< must be first */
    apr_pool_t *pool;
    const docker_options_t *options;
    pthread_mutex_t mutex;   /**< guards all below */
    void *idle[DOCKER_IDLE_MAX]; /**< CURL handles with their connections, used by nobody */
    int idle_count;
    docker_engine_t engine;
    int warned;              /**< that it has no live-restore */
    int no_quota;            /**< its storage driver cannot limit a writable layer */
    apr_table_t *checked;    /**< image ids and the libraries that were found in them */
    persona_compute_event_cb *cb;
    void *baton;
    pthread_t thread;        /**< of the events */
    int closing;             /**< read by the thread's transfers, too */
} docker_t;

/** One call of the vtable: all its requests share its time. */
typedef struct docker_call_t {
    docker_t *d;
    apr_time_t until;        /**< monotonic */
    persona_result_t *res;
    apr_pool_t *p;
} docker_call_t;

/** What the engine answered. */
typedef struct docker_answer_t {
    long code;               /**< HTTP status */
    json_t *json;            /**< NULL: no JSON; lives as long as the call's pool */
    const char *body;        /**< NUL-terminated */
    apr_size_t len;
} docker_answer_t;

/* ---- docker_http.c ---- */

apr_time_t docker_now(void);
/** A call that has the compute's timeout; `res` may be NULL. Asks the engine who it is where that is not known. */
apr_status_t docker_begin(docker_call_t *call, persona_compute_t *c, persona_result_t *res, apr_pool_t *p);
/** `method` on `path` (of docker_path()), with `body` (NULL: none; stolen). APR_SUCCESS: 2xx or 304. APR_ENOENT: 404.
 * APR_EEXIST: 409. APR_EINVAL: 400. APR_ECONNREFUSED: nobody is there, nothing was done. APR_TIMEUP: unknown. Any
 * failure is in the call's result as "what: the engine's words". */
apr_status_t docker_request(docker_call_t *call, const char *method, const char *path, json_t *body,
                            docker_answer_t *answer, const char *what);
/** Read /events until the compute is closed or the connection ends; each line goes to `line`. */
void docker_http_events(docker_t *d, const char *path, void (*line)(docker_t *d, char *text, apr_size_t len));
int docker_is_podman(docker_t *d);
/** A connection for each of the idle handles is closed. */
void docker_http_close(docker_t *d);

/* ---- docker_request.c ---- */

/** Percent-encoded, but for unreserved characters (RFC 3986). */
const char *docker_encode(const char *text, apr_pool_t *p);
/** Name and value pairs, up to NULL, as the engine's filters: {"name":["value",...]}, encoded for a query. */
const char *docker_filters(apr_pool_t *p, ...);
/** UTF-8, without control characters, not above DOCKER_TEXT_MAX. */
int docker_text_valid(const char *text);
/** Whether it can be an image reference or id. */
int docker_image_valid(const char *name);

/** All that a container is made from. */
typedef struct docker_plan_t {
    const persona_t *persona;
    const docker_options_t *options;
    const char *ns, *uuid, *hook_key, *reason, *maker;
    apr_time_t created;
    const char *image;       /**< id */
    int has_command;         /**< the image says what to start */
    int quota;               /**< limit the writable layer */
} docker_plan_t;

/** NULL, or why this persona cannot be a container. */
const char *docker_plan_check(const docker_options_t *options, const persona_t *persona, apr_pool_t *p);
/** The body of POST /containers/create. */
json_t *docker_plan_body(const docker_plan_t *plan, apr_pool_t *p);
/** The one regular file in a tar archive, as the engine sends it; NULL: there is none. */
const char *docker_tar_file(const char *tar, apr_size_t len, apr_size_t *size);
/** Whether a list of packages (one a line, or dpkg's status file) has `name`. */
int docker_packages_have(const char *list, apr_size_t len, const char *name);

/* ---- docker_read.c ---- */

/** A container as the engine lists it. */
typedef struct docker_container_t {
    const char *id, *name;
    persona_instance_t instance; /**< as the engine has it, without its marks */
    int cpus, max_cpus;      /**< it was made with */
    apr_int64_t memory, max_memory;
} docker_container_t;

/** The container of an instance. APR_ENOENT: the engine has none. */
apr_status_t docker_container_find(docker_call_t *call, const char *uuid, docker_container_t **container);
/** All containers of the namespace, with one more filter where `filter` is not NULL: array of docker_container_t *. */
apr_status_t docker_container_list(docker_call_t *call, const char *filter, const char *value,
                                   apr_array_header_t **containers);
/** The token in the name of a container that somebody has; NULL: nobody. */
const char *docker_container_token(const docker_container_t *container);

apr_status_t docker_list(persona_compute_t *c, apr_array_header_t **instances, persona_result_t *res, apr_pool_t *p);
apr_status_t docker_inspect(persona_compute_t *c, const char *uuid, persona_instance_t **instance,
                            persona_result_t *res, apr_pool_t *p);
apr_status_t docker_stats(persona_compute_t *c, const char *uuid, persona_usage_sample_t *sample,
                          persona_result_t *res, apr_pool_t *p);
apr_status_t docker_resize(persona_compute_t *c, const char *uuid, int *cpus, apr_int64_t *memory,
                           persona_result_t *res, apr_pool_t *p);

/* ---- docker_mark.c ---- */

/** What the newest mark of an instance says. */
typedef struct docker_mark_t {
    const char *uuid, *persona_id;
    long number;             /**< of the newest; 0: there is none */
    persona_mark_t mark;
    int cpus;                /**< what it was resized to; 0: never */
    apr_int64_t memory;
    const apr_array_header_t *names; /**< of const char *: volumes of all its marks */
} docker_mark_t;

/** Marks of the namespace, of one instance where `uuid` is not NULL: uuid -> docker_mark_t *. */
apr_status_t docker_marks_read(docker_call_t *call, const char *uuid, apr_hash_t **marks);
/** Write what of `change` is not NULL and not 0. APR_EINVAL: its state would go back. */
apr_status_t docker_mark_change(docker_call_t *call, const char *uuid, const docker_mark_t *change);
/** Remove all marks of an instance. */
apr_status_t docker_marks_drop(docker_call_t *call, const char *uuid);
apr_status_t docker_mark(persona_compute_t *c, const char *uuid, const persona_mark_t *mark, persona_result_t *res,
                         apr_pool_t *p);

/* ---- docker_fence.c ---- */

/** Test-and-set: a volume of that name with these labels (stolen). APR_SUCCESS and the labels that it has, of ours or
 * of whoever was first, as long as the call's pool lives. */
apr_status_t docker_volume_take(docker_call_t *call, const char *name, json_t *labels, json_t **holder,
                                const char *what);
apr_status_t docker_fence(persona_compute_t *c, const char *name, const char *session, persona_result_t *res,
                          apr_pool_t *p);
apr_status_t docker_fence_holder(persona_compute_t *c, const char *name, const char **token, persona_result_t *res,
                                 apr_pool_t *p);
apr_status_t docker_fence_session(persona_compute_t *c, const char *name, const char **session, persona_result_t *res,
                                  apr_pool_t *p);
apr_status_t docker_fences(persona_compute_t *c, apr_array_header_t **fences, persona_result_t *res, apr_pool_t *p);
apr_status_t docker_unfence(persona_compute_t *c, const char *name, const char *token, persona_result_t *res,
                            apr_pool_t *p);

/* ---- docker_create.c ---- */

apr_status_t docker_create(persona_compute_t *c, const persona_t *persona, const persona_create_t *how,
                           persona_result_t *res, apr_pool_t *p);
apr_status_t docker_destroy(persona_compute_t *c, const char *uuid, persona_result_t *res, apr_pool_t *p);

/* ---- docker_events.c ---- */

apr_status_t docker_events_start(docker_t *d);
void docker_events_stop(docker_t *d);
void docker_watch(persona_compute_t *c, persona_compute_event_cb *cb, void *baton);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file persona.h
 * @brief What a persona is once its JSON file has been read and found valid.
 *
 * A persona is one application for one kind of user: what it needs (resources), where it runs
 * (execution environment), when it is wanted (usage pattern), whom it suits (role affinity) and
 * how it scales (rules, pool). A persona_t is immutable after it has been parsed; it lives in the
 * pool of the catalog generation that read it, and everybody holds it by a reference to that
 * generation (see mod_persona/persona/catalog.h).
 *
 * Units: bytes for sizes, microseconds (apr_interval_time_t) for durations, fractions for weights.
 */
#ifndef PERSONA_H
#define PERSONA_H

#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>
#include <jansson.h>

/** Longest persona_id, app_id and compute name; they are `[a-z0-9][a-z0-9._-]*`. */
#define PERSONA_NAME_MAX 63
/** Longest user name and role that is accepted from httpd, in bytes. */
#define PERSONA_USER_MAX 255
/** Instance uuids in text form, with the terminating NUL. */
#define PERSONA_UUID_LEN 37
/** A session id S, the hexadecimal SHA-256 of the browser's token, with the terminating NUL. */
#define PERSONA_SESSION_LEN 65

/** Expected load, as an administrator writes it. */
typedef enum { PERSONA_USAGE_LOW, PERSONA_USAGE_MEDIUM, PERSONA_USAGE_HIGH } persona_usage_e;

/** What the pixel stream of an instance speaks on its port. */
typedef enum {
    PERSONA_STREAM_HTTP, /**< HTTP and WebSocket, relayed at the session's own URL space */
    PERSONA_STREAM_VNC   /**< RFB over plain TCP; the gateway's viewer page speaks to it */
} persona_stream_e;

/** How readiness is probed. */
typedef enum {
    PERSONA_READY_HTTP, /**< GET of ready.path answers with a status below 400 */
    PERSONA_READY_RFB,  /**< the peer sends an `RFB ` banner */
    PERSONA_READY_TCP   /**< the port accepts a connection */
} persona_ready_e;

typedef struct persona_affinity_t {
    const char *role;
    double weight; /**< 0 < weight <= 1 */
} persona_affinity_t;

/** What there is a limited number of: cpus, bytes of memory, GPUs, instances. */
enum { PERSONA_LIMIT_CPUS, PERSONA_LIMIT_MEMORY, PERSONA_LIMIT_GPUS, PERSONA_LIMIT_INSTANCES, PERSONA_LIMITS };

typedef struct persona_resources_t {
    int cpu;                /**< virtual cpus at boot */
    apr_int64_t memory;     /**< bytes at boot */
    apr_int64_t storage;    /**< bytes of root storage; 0: the image's own size */
    int gpu_count;          /**< 0: none */
    const char *gpu_model;  /**< NULL: any */
    int max_cpu;            /**< room to grow live, >= cpu */
    apr_int64_t max_memory; /**< room to grow live, >= memory */
} persona_resources_t;

/** How a container's root is made from its base image. */
typedef enum { PERSONA_ROOT_OVERLAY, PERSONA_ROOT_COPY } persona_root_e;

typedef struct persona_environment_t {
    const char *compute;   /**< name of a PersonaCompute */
    const char *os_image;  /**< image name, relative to that compute's images; NULL: application_source */
    persona_root_e root;
    const apr_array_header_t *libraries; /**< of const char *: packages the image must carry */
    const apr_array_header_t *command; /**< argv (of const char *) that the image's desktop starts; NULL: none */
    const char *network;   /**< the provider's name of the network */
    int isolated;          /**< nothing but the gateway (and the home server) is reachable */
    const apr_table_t *env;
    persona_stream_e stream;
    int stream_port;       /**< 0 with VNC on a VM: the hypervisor's own VNC server */
    const char *stream_path; /**< HTTP: path of the application inside the instance, begins with '/' */
    int pass_user;         /**< send X-Persona-User */
    persona_ready_e ready;
    const char *ready_path;
    apr_interval_time_t ready_timeout;
    const char *home_hook; /**< path of the assign hook; NULL: the persona has no home */
    int home_port;
    int home_exclusive;    /**< one session of a user at a time may hold the home */
} persona_environment_t;

typedef struct persona_usage_t {
    const char *timezone;      /**< IANA name */
    const struct persona_tz_t *zone; /**< its offsets (mod_persona/persona/tz.h); NULL: UTC */
    persona_usage_e hourly[24];
    persona_usage_e daily[7];  /**< 0 is Sunday, as in struct tm */
} persona_usage_t;

typedef enum { PERSONA_RULE_INSTANCE, PERSONA_RULE_POOL } persona_rule_scope_e;
typedef enum {
    PERSONA_METRIC_CPU, PERSONA_METRIC_MEMORY, PERSONA_METRIC_READY, PERSONA_METRIC_WAITING,
    PERSONA_METRIC_HIT_RATE, PERSONA_METRIC_SESSIONS, PERSONA_METRIC_GPU
} persona_metric_e;

typedef struct persona_rule_t {
    persona_rule_scope_e scope;
    persona_metric_e metric;
    int has_above, has_below;      /**< one of them, or both: then the value must lie between */
    double above, below;           /**< cpu, memory, gpu: percent; hit_rate: fraction; others: a number */
    apr_interval_time_t duration;  /**< "for" */
    apr_interval_time_t cooldown;
    int add_cpu;                   /**< instance scope: signed, in cpus */
    apr_int64_t add_memory;        /**< instance scope: signed, in bytes */
    int add_ready;                 /**< pool scope: signed, in instances */
    int max;                       /**< pool scope: ceiling of the target, 0: pool.max */
} persona_rule_t;

/** A date that is known beforehand. Days are those of the calendar of its zone, since 1970-01-01. */
typedef struct persona_date_t {
    const char *title;          /**< NULL: none */
    apr_int64_t first, last;    /**< its days */
    int weekday;                /**< on that one only, 0 is Sunday; -1: on each of its days */
    int like;                   /**< such a day goes like this weekday: a holiday like a Sunday; -1: it does not */
    int people;                 /**< how many come; 0: nobody in particular */
    int second;                 /**< of the day, when they come; -1: nobody comes */
    apr_interval_time_t within; /**< so long after that they are expected still */
    const apr_array_header_t *personas; /**< of const char *, ids; NULL: the persona that has it, or all of a site */
    const struct persona_tz_t *zone;    /**< NULL: the persona's */
} persona_date_t;

typedef struct persona_pool_t {
    int min, max;
    double wait_cost;                       /**< idle instance-minutes; < 0: the site's */
    apr_interval_time_t disconnect_timeout; /**< no stream attached for so long: end */
    apr_interval_time_t idle_timeout;       /**< nobody touches it for so long: end */
    apr_interval_time_t max_session;        /**< end at the latest */
} persona_pool_t;

typedef struct persona_t {
    const char *id, *app_id;
    const char *title, *description, *icon; /**< title falls back to app_id; others may be NULL */
    const char *source;                     /**< application_source */
    int order;                              /**< the persona's own order: position among equals, low first */
    persona_resources_t resources;
    persona_environment_t environment;
    persona_usage_t usage;
    const apr_array_header_t *affinity;     /**< of persona_affinity_t; empty: suits anybody */
    const apr_array_header_t *rules;        /**< of persona_rule_t */
    const apr_array_header_t *events;       /**< of persona_date_t; NULL: none */
    persona_pool_t pool;
    int is_default;                         /**< from default.json: serves any app; its app_id may be "*" */
    const char *file;                       /**< its name in the folder */
    json_t *document;                       /**< the file as read; owned by the catalog */
    char fingerprint[PERSONA_SESSION_LEN];  /**< SHA-256 of all that shapes an instance */
} persona_t;

/** What a job was doing when it failed, in words for the status page and the log. */
typedef struct persona_result_t {
    apr_status_t status;
    char problem[64];   /**< one of the stable words, such as "image-missing"; empty: none */
    char detail[512];   /**< one sentence for a person */
} persona_result_t;

/** Fill `res` (may be NULL) and return `status`. `fmt` makes the sentence; control bytes are escaped. */
apr_status_t persona_result_set(persona_result_t *res, apr_status_t status, const char *problem,
                                const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/** Log levels are httpd's (APLOG_ERR 3, WARNING 4, NOTICE 5, INFO 6, DEBUG 7). */
typedef enum {
    PERSONA_LOG_ERR = 3, PERSONA_LOG_WARNING, PERSONA_LOG_NOTICE, PERSONA_LOG_INFO, PERSONA_LOG_DEBUG
} persona_log_level_e;
typedef void persona_log_cb(void *baton, const char *file, int line, persona_log_level_e level,
                            apr_status_t status, const char *message);
/** Bind the sink of this process; before it is bound, messages go to stderr. Not thread-safe: call once. */
void persona_log_set(persona_log_cb *sink, void *baton, persona_log_level_e level);
void persona_log_at(const char *file, int line, persona_log_level_e level, apr_status_t status,
                    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/** One log line; bytes that are not printable are escaped, so a message is always one line. */
#define persona_log(level, status, ...) persona_log_at(__FILE__, __LINE__, level, status, __VA_ARGS__)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file libvirt.h
 * @brief What the files of the libvirt provider share. Outside compute/ only persona_libvirt_provider is used.
 *
 * libvirt.c          the vtable: options, create, destroy
 * libvirt_call.c     connections, bounded calls, libvirt's errors in our words
 * libvirt_read.c     list, inspect, mark, stats, resize, capacity
 * libvirt_secret.c   fences, reservations and intents: persistent secrets
 * libvirt_xml.c      domain XML, both ways
 * libvirt_net.c      addresses and isolation
 * libvirt_storage.c  images and volumes
 * libvirt_device.c   GPUs
 */
#ifndef PERSONA_COMPUTE_LIBVIRT_H
#define PERSONA_COMPUTE_LIBVIRT_H

#include <pthread.h>

#include <libvirt/libvirt.h>
#include <libxml/tree.h>

#include "persona_compute.h"

extern const persona_compute_provider_t persona_libvirt_provider;

/** Names of domains begin with it; the rest is the instance's uuid. */
#define LIBVIRT_NAME_PREFIX "persona-"
/** The namespace of our element in a domain's metadata. */
#define LIBVIRT_METADATA_URI "urn:mod_persona:instance:1"
/** Where disks lie, below the images directory, in a pool that the provider defines itself. */
#define LIBVIRT_POOL_DIR "instances"
/** An instance whose creation began longer ago and has no domain is a leftover. */
#define LIBVIRT_CREATE_MAX apr_time_from_sec(90)

typedef enum { LIBVIRT_QEMU, LIBVIRT_LXC, LIBVIRT_TEST } libvirt_driver_e;

/** AUTO: KVM where it works, else TCG. */
typedef enum { LIBVIRT_ACCEL_AUTO, LIBVIRT_ACCEL_KVM, LIBVIRT_ACCEL_TCG } libvirt_accel_e;

/** The options of one PersonaCompute line. */
typedef struct libvirt_options_t {
    libvirt_driver_e driver;
    int local;               /**< the hypervisor is this host: images can be looked at */
    const char *images;
    const char *pool;
    const char *listen;
    unsigned idmap_start, idmap_count;
    const apr_array_header_t *allow; /**< of libvirt_target_t */
    int filter;
    libvirt_accel_e accel;
} libvirt_options_t;

/** ADDR:PORT that isolated instances may reach. */
typedef struct libvirt_target_t {
    const char *address;
    int port;
} libvirt_target_t;

/** Calls that take milliseconds, and calls that boot or kill, each with threads and connections of its own: a
 * fence must not wait behind five boots. */
typedef enum { LIBVIRT_QUICK, LIBVIRT_SLOW, LIBVIRT_LANES } libvirt_lane_e;

typedef struct libvirt_job_t libvirt_job_t;
typedef struct libvirt_lane_t libvirt_lane_t;
typedef struct libvirt_listener_t libvirt_listener_t;

typedef struct libvirt_t {
    persona_compute_t head;  /**< must be first */
    apr_pool_t *pool;
    const libvirt_options_t *options;
    libvirt_lane_t *lanes[LIBVIRT_LANES];
    libvirt_listener_t *listener;
    pthread_mutex_t mutex;   /**< guards filters */
    volatile apr_uint32_t kvm; /**< 0: not known, 1: no, 2: yes */
    apr_table_t *filters;    /**< network filters that this process has defined: name and XML */
} libvirt_t;

/* ---- libvirt_call.c ---- */

/** The work of one call, on a thread of the lane. May run twice when the connection was lost: it must be
 * idempotent. `args` and all that it points to live in the job's pool. */
typedef apr_status_t libvirt_work_fn(libvirt_t *lv, virConnectPtr conn, void *args, persona_result_t *res,
                                     apr_pool_t *p);

struct libvirt_job_t {
    apr_pool_t *pool;        /**< the job's own */
    void *args;              /**< zeroed, of the size asked for */
    libvirt_t *lv;
    libvirt_lane_t *lane;
    libvirt_work_fn *work;
    const char *key;
    libvirt_job_t *next;
    int running, done, abandoned, detached; /**< guarded by the lane's mutex */
    pthread_cond_t finished;
    apr_status_t status;
    persona_result_t result;
};

apr_status_t libvirt_lanes_open(libvirt_t *lv);
/** Waits at most the timeout for calls under way; what hangs longer is left behind, with its memory. Returns
 * whether nothing is left. */
int libvirt_lanes_close(libvirt_t *lv);
/** A job; two of the same `key` (NULL: none) do not run at the same time. */
libvirt_job_t *libvirt_job_make(libvirt_t *lv, libvirt_lane_e lane, const char *key, libvirt_work_fn *work,
                                apr_size_t args_size);
/** Run it, at most for the timeout: then APR_TIMEUP, and the job (with its args) belongs to the lane. Otherwise
 * the job's pool lives as long as `p`. */
apr_status_t libvirt_job_run(libvirt_job_t *job, persona_result_t *res, apr_pool_t *p);
/** The vtable's watch(). */
void libvirt_watch(persona_compute_t *c, persona_compute_event_cb *cb, void *baton);
/** Free a job that was not run. */
void libvirt_job_drop(libvirt_job_t *job);
/** Run it also when nobody waits any more. APR_SUCCESS: done, or not yet after `wait`. */
apr_status_t libvirt_job_start(libvirt_job_t *job, apr_interval_time_t wait, persona_result_t *res, apr_pool_t *p);
/** The last error of this thread as a status, with its words in `res`: "what: libvirt's words". */
apr_status_t libvirt_failed(virConnectPtr conn, persona_result_t *res, const char *problem, const char *what);
/** The code of this thread's last error, VIR_ERR_OK: none. */
int libvirt_error_code(void);

/* ---- libvirt_secret.c ---- */

typedef enum {
    LIBVIRT_MAKING,
    LIBVIRT_MADE,     /**< the engine has accepted the domain */
    LIBVIRT_FAILED,
    LIBVIRT_UNMAKING  /**< destroy() is at it, or was when it was interrupted */
} libvirt_stage_e;

/** What an intent says: an instance is being, or was, made. Written before anything else of it exists, removed
 * after all else is gone: so that no volume, address or device can be lost sight of. */
typedef struct libvirt_intent_t {
    const char *uuid, *persona_id, *fingerprint;
    const char *maker;       /**< NULL: unknown */
    apr_time_t created;
    libvirt_stage_e stage;
    const char *reason;      /**< why it failed; NULL: no reason given */
} libvirt_intent_t;

/** One secret of ours. */
typedef struct libvirt_secret_t {
    const char *usage;       /**< all of it */
    const char *token;       /**< its uuid */
} libvirt_secret_t;

/** Test-and-set of a usage name: as fence(). */
apr_status_t libvirt_secret_take(virConnectPtr conn, const char *usage, const char *token, const char *about,
                                 persona_result_t *res, apr_pool_t *p);
/** The token of who has it, or APR_ENOENT. */
apr_status_t libvirt_secret_holder(virConnectPtr conn, const char *usage, const char **token,
                                   persona_result_t *res, apr_pool_t *p);
/** Remove the secret of that usage if it has that token. */
apr_status_t libvirt_secret_drop(virConnectPtr conn, const char *usage, const char *token, persona_result_t *res);
/** All secrets whose usage begins with `prefix`: array of libvirt_secret_t. */
apr_status_t libvirt_secret_list(virConnectPtr conn, const char *prefix, apr_array_header_t **secrets,
                                 persona_result_t *res, apr_pool_t *p);

apr_status_t libvirt_intent_write(libvirt_t *lv, virConnectPtr conn, const libvirt_intent_t *intent,
                                  persona_result_t *res, apr_pool_t *p);
apr_status_t libvirt_intent_read(libvirt_t *lv, virConnectPtr conn, const char *uuid, libvirt_intent_t **intent,
                                 persona_result_t *res, apr_pool_t *p);
/** Uuids of all intents of the namespace: array of const char *. */
apr_status_t libvirt_intent_list(libvirt_t *lv, virConnectPtr conn, apr_array_header_t **uuids,
                                 persona_result_t *res, apr_pool_t *p);
apr_status_t libvirt_intent_drop(libvirt_t *lv, virConnectPtr conn, const char *uuid, persona_result_t *res,
                                 apr_pool_t *p);

/** Reserve `name` of `kind` ("address", "device") for an instance: whatever namespace asks, one wins. */
apr_status_t libvirt_reserve(virConnectPtr conn, const char *kind, const char *name, const char *uuid,
                             persona_result_t *res, apr_pool_t *p);
/** Names of `kind` that somebody has reserved, and which this instance has: arrays of const char *. */
apr_status_t libvirt_reserved(virConnectPtr conn, const char *kind, const char *uuid, apr_array_header_t **all,
                              apr_array_header_t **own, persona_result_t *res, apr_pool_t *p);
/** Give back whatever this instance has reserved. */
apr_status_t libvirt_release_all(virConnectPtr conn, const char *uuid, persona_result_t *res, apr_pool_t *p);

/* ---- libvirt_net.c ---- */

/** A libvirt network, as far as instances need it. */
typedef struct libvirt_net_t {
    const char *name;
    apr_uint32_t gateway, mask;      /**< IPv4, host order; 0: the network has none of its own */
    int prefix;
    int dhcp;
    const apr_array_header_t *taken; /**< of libvirt_range_t: what DHCP may give away */
} libvirt_net_t;

typedef struct libvirt_range_t {
    apr_uint32_t first, last;
} libvirt_range_t;

/** Read a network's XML. NULL, or what is wrong with it. */
const char *libvirt_net_parse(const char *xml, libvirt_net_t **net, apr_pool_t *p);
apr_status_t libvirt_net_read(virConnectPtr conn, const char *name, libvirt_net_t **net, persona_result_t *res,
                              apr_pool_t *p);
/** The n-th candidate address of an instance, from 0; NULL: no more. Outside of what DHCP gives away. */
const char *libvirt_net_candidate(const libvirt_net_t *net, const char *uuid, apr_uint32_t n, apr_pool_t *p);
/** Reserve an address for the instance; the one it has already, if any. */
apr_status_t libvirt_net_allocate(virConnectPtr conn, const libvirt_net_t *net, const char *uuid,
                                  const char **address, persona_result_t *res, apr_pool_t *p);
const char *libvirt_net_text(apr_uint32_t address, apr_pool_t *p);
/** Name and XML of the filter that instances of this compute get on that network. */
const char *libvirt_filter_name(const libvirt_t *lv, const libvirt_net_t *net, int isolated, apr_pool_t *p);
const char *libvirt_filter_xml(const libvirt_t *lv, const libvirt_net_t *net, int isolated, apr_pool_t *p);
/** Define it where it is not as it should be. */
apr_status_t libvirt_filter_ensure(libvirt_t *lv, virConnectPtr conn, const libvirt_net_t *net, int isolated,
                                   persona_result_t *res, apr_pool_t *p);
/** The MAC address of an instance: from the address we gave it, so that the host's neighbour table is right when the
 * address has its next owner; from its uuid where DHCP will give it one (`ip` NULL). */
const char *libvirt_mac(const char *uuid, const char *ip, apr_pool_t *p);
/** The host's interface name of an instance, from its uuid. */
const char *libvirt_interface(const char *uuid, apr_pool_t *p);
/** The address that the network's DHCP gave to a MAC; NULL: none yet. */
const char *libvirt_lease(virConnectPtr conn, const char *network, const char *mac, apr_pool_t *p);

/* ---- libvirt_storage.c ---- */

/** What an image consists of on the disk. */
typedef struct libvirt_image_t {
    const char *path;        /**< the directory, or the qcow2 file */
    const char *packages;    /**< its list of packages */
    const char *kernel, *initrd, *cmdline; /**< direct boot; NULL: the disk's own loader */
    apr_int64_t capacity;    /**< qcow2: bytes of the virtual disk; 0: not known */
} libvirt_image_t;

/** Find the image of a persona and check that it has the persona's libraries. NULL, or what is wrong; *problem
 * is then the stable word. Only looks at names where the hypervisor is another host. */
const char *libvirt_image_find(const libvirt_options_t *options, const persona_t *persona,
                               libvirt_image_t **image, const char **problem, apr_pool_t *p);
struct libvirt_plan_t;
/** Make the disk over the image and the file with the environment; what is there already is kept. Fills in volume
 * and env of the plan. */
apr_status_t libvirt_volume_create(libvirt_t *lv, virConnectPtr conn, struct libvirt_plan_t *plan,
                                   persona_result_t *res, apr_pool_t *p);
apr_status_t libvirt_volume_delete(libvirt_t *lv, virConnectPtr conn, const char *uuid, persona_result_t *res,
                                   apr_pool_t *p);
/** Uuids of instances of the namespace that have a volume: array of const char *. */
apr_status_t libvirt_volume_list(libvirt_t *lv, virConnectPtr conn, apr_array_header_t **uuids,
                                 persona_result_t *res, apr_pool_t *p);

/* ---- libvirt_device.c ---- */

/** A PCI or mediated device for one instance. */
typedef struct libvirt_device_t {
    const char *name;        /**< libvirt's node device name */
    const char *mdev;        /**< uuid of a mediated device; NULL: PCI */
    unsigned domain, bus, slot, function;
} libvirt_device_t;

/** Whether this node device is a GPU of that model (NULL: any) which may be given away; `types` is the XML of
 * a mediated device's parent (NULL: none). */
int libvirt_device_parse(const char *xml, const char *types, const char *model, libvirt_device_t *device,
                         apr_pool_t *p);
/** Reserve `count` free ones: array of libvirt_device_t. */
apr_status_t libvirt_devices_allocate(virConnectPtr conn, const char *uuid, int count, const char *model,
                                      apr_array_header_t **devices, persona_result_t *res, apr_pool_t *p);

/* ---- libvirt_xml.c ---- */

/** All that a domain is made from. */
typedef struct libvirt_plan_t {
    const persona_t *persona;
    const libvirt_options_t *options;
    const char *ns, *uuid, *hook_key, *reason, *maker;
    apr_time_t created;
    const char *type;        /**< "lxc", "kvm", "qemu", "test" */
    int x86;
    const libvirt_image_t *image;
    const char *volume, *env; /**< virtual machines: paths of the disk and of the file with the environment */
    const libvirt_net_t *net;
    const char *address;     /**< reserved; NULL: DHCP gives one */
    const char *filter;      /**< NULL: none */
    int fuse;                /**< pass /dev/fuse */
    const apr_array_header_t *devices; /**< of libvirt_device_t */
} libvirt_plan_t;

/** What a live domain's XML tells. */
typedef struct libvirt_domain_t {
    persona_instance_t instance;
    const char *ns;
    const char *network, *mac;
    int stream_port, hook;   /**< stream_port 0: the hypervisor's VNC server has the stream */
    const char *vnc_address;
    int vnc_port;
    int max_cpus;
} libvirt_domain_t;

/** Whether libxml2 can write it and libvirt read it back as it is: UTF-8 without control characters. */
int libvirt_text_valid(const char *text);
/** NULL, or why this persona cannot be written as a domain. */
const char *libvirt_plan_check(const libvirt_options_t *options, const persona_t *persona, apr_pool_t *p);
/** The environment of an instance as lines KEY=VALUE. */
const char *libvirt_plan_env(const libvirt_plan_t *plan, apr_pool_t *p);
const char *libvirt_domain_xml(const libvirt_plan_t *plan, apr_pool_t *p);
/** PERSONA_COMMAND: argv as a JSON array. */
const char *libvirt_command_text(const apr_array_header_t *command, apr_pool_t *p);
/** The metadata element of an instance. `prefix` as libvirt wants it in a domain's XML, "": none. */
const char *libvirt_metadata_xml(const libvirt_domain_t *domain, apr_pool_t *p);
/** APR_ENOENT: not one of ours. */
apr_status_t libvirt_domain_parse(const char *xml, libvirt_domain_t **domain, apr_pool_t *p);

/* ---- libvirt_read.c: the vtable's entries ---- */
apr_status_t libvirt_list(persona_compute_t *c, apr_array_header_t **instances, persona_result_t *res,
                          apr_pool_t *p);
apr_status_t libvirt_inspect(persona_compute_t *c, const char *uuid, persona_instance_t **instance,
                             persona_result_t *res, apr_pool_t *p);
apr_status_t libvirt_mark(persona_compute_t *c, const char *uuid, const persona_mark_t *mark,
                          persona_result_t *res, apr_pool_t *p);
apr_status_t libvirt_stats(persona_compute_t *c, const char *uuid, persona_usage_sample_t *sample,
                           persona_result_t *res, apr_pool_t *p);
apr_status_t libvirt_resize(persona_compute_t *c, const char *uuid, int *cpus, apr_int64_t *memory,
                            persona_result_t *res, apr_pool_t *p);
apr_status_t libvirt_capacity(persona_compute_t *c, persona_capacity_t *cap, persona_result_t *res,
                              apr_pool_t *p);
/* ---- libvirt_secret.c: the vtable's entries ---- */
apr_status_t libvirt_fence(persona_compute_t *c, const char *name, const char *session, persona_result_t *res,
                           apr_pool_t *p);
apr_status_t libvirt_fence_holder(persona_compute_t *c, const char *name, const char **token,
                                  persona_result_t *res, apr_pool_t *p);
apr_status_t libvirt_fence_session(persona_compute_t *c, const char *name, const char **session,
                                   persona_result_t *res, apr_pool_t *p);
apr_status_t libvirt_fences(persona_compute_t *c, apr_array_header_t **fences, persona_result_t *res,
                            apr_pool_t *p);
apr_status_t libvirt_unfence(persona_compute_t *c, const char *name, const char *token, persona_result_t *res,
                             apr_pool_t *p);

#endif

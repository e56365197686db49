/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file libvirt.c
 * @brief The libvirt provider: its options, making an instance and taking it away.
 *
 *     PersonaCompute NAME libvirt URI [OPTION=VALUE ...]
 *
 * The URI decides the driver: qemu:///system (KVM where it can be used, else emulation), lxc:/// (containers),
 * test:///default (libvirt's mock). personad needs nothing but libvirt's socket (group libvirt): whatever
 * is written on the host, libvirt writes.
 *
 * | option   | default                      | meaning |
 * | -------- | ---------------------------- | ------- |
 * | images=  | /var/lib/persona/images      | directory of the base images (libvirt_storage.c says which files) |
 * | pool=    | persona                      | storage pool for the disks of VMs; defined if absent |
 * | listen=  | 127.0.0.1                    | address at which the hypervisor serves the screens of VMs |
 * | idmap=   | 100000:65536                 | START:COUNT, the host's ids that containers run as |
 * | allow=   | (none)                       | ADDR:PORT[;...], what isolated instances may reach (home server) |
 * | filter=  | on                           | off: no network filter (hosts without iptables) |
 * | accel=   | auto                         | kvm or tcg: how VMs run; auto is KVM where it works, else TCG |
 * | boots=   | 4                            | how many instances boot at a time (the manager's doing) |
 *
 * THE LIFE OF AN INSTANCE. Its domain is transient: it vanishes when it ends, and with it nothing that matters.
 *   create:  intent -> address, devices, disk -> domain -> the intent is "made"
 *   destroy: the intent is "unmaking" -> domain -> disk -> reservations -> intent
 * A crash after any step leaves the intent, so list() tells of it and destroy() finishes the job. create() is done
 * when the intent is written; it waits for the rest as long as a call may last, to tell of an early failure, and a
 * later one is noted in the intent: list() then has the instance as gone, with the reason.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_atomic.h>
#include <apr_file_info.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <libvirt/virterror.h>

#include "compute/libvirt.h"
#include "persona/digest.h"
#include "persona/fault.h"
#include "persona/text.h"

#define IMAGES_DEFAULT "/var/lib/persona/images"
#define POOL_DEFAULT "persona"

static const char *const option_names[] = {"images", "pool", "listen", "idmap", "allow", "filter", "accel", "boots",
                                            "cpus", "memory", "gpus", "instances", NULL};
static const char *const accel_names[] = {"auto", "kvm", "tcg", NULL};

/* ---- options ---- */

static int address_valid(const char *text)
{
    unsigned part[4];
    char rest;

    return sscanf(text, "%3u.%3u.%3u.%3u%c", &part[0], &part[1], &part[2], &part[3], &rest) == 4 && part[0] < 256
           && part[1] < 256 && part[2] < 256 && part[3] < 256;
}

static const char *parse_idmap(libvirt_options_t *options, const char *text, apr_pool_t *p)
{
    char rest;

    if (sscanf(text, "%9u:%9u%c", &options->idmap_start, &options->idmap_count, &rest) != 2
        || !options->idmap_start || options->idmap_count < 65536) {
        return apr_psprintf(p, "idmap=%s: must be START:COUNT with START above 0 (root inside must be nobody outside) "
                            "and COUNT at least 65536, such as 100000:65536", text);
    }
    return NULL;
}

static const char *parse_allow(libvirt_options_t *options, const char *text, apr_pool_t *p)
{
    apr_array_header_t *allow = apr_array_make(p, 4, sizeof(libvirt_target_t));
    char *last, *word, *copy = apr_pstrdup(p, text);

    for (word = apr_strtok(copy, ";", &last); word; word = apr_strtok(NULL, ";", &last)) {
        char *colon = strrchr(word, ':'), *end = NULL;
        long port = colon ? strtol(colon + 1, &end, 10) : 0;

        if (colon) {
            *colon = '\0';
        }
        if (!colon || !end || end == colon + 1 || *end || port < 1 || port > 65535 || !address_valid(word)) {
            return apr_psprintf(p, "allow=%s: must be IPv4 addresses with ports, such as 192.0.2.7:2049;192.0.2.8:80",
                                text);
        }
        APR_ARRAY_PUSH(allow, libvirt_target_t) = (libvirt_target_t){.address = word, .port = (int)port};
    }
    options->allow = allow;
    return NULL;
}

static const char *parse_uri(libvirt_options_t *options, const char *uri, apr_pool_t *p)
{
    const char *host = strstr(uri, "://");

    if (!strncmp(uri, "qemu", 4)) {
        options->driver = LIBVIRT_QEMU;
    }
    else if (!strncmp(uri, "lxc", 3)) {
        options->driver = LIBVIRT_LXC;
    }
    else if (!strncmp(uri, "test:", 5)) {
        options->driver = LIBVIRT_TEST;
    }
    else {
        host = NULL;
    }
    if (!host) {
        return apr_psprintf(p, "%s is not a libvirt URI of a driver that can be used: qemu:///system, lxc:///, or "
                            "test:///default", persona_text_quote(uri, p));
    }
    options->local = host[3] == '/';
    return NULL;
}

static const char *parse_accel(libvirt_options_t *options, const char *value, apr_pool_t *p)
{
    for (int i = 0; accel_names[i]; ++i) {
        if (!strcmp(value, accel_names[i])) {
            options->accel = (libvirt_accel_e)i;
            return options->accel == LIBVIRT_ACCEL_AUTO || options->driver == LIBVIRT_QEMU
                       ? NULL : apr_psprintf(p, "accel=%s: only virtual machines (qemu:///system) are accelerated",
                                             value);
        }
    }
    return apr_psprintf(p, "accel=%s: must be auto, kvm or tcg", value);
}

static const char *parse_option(libvirt_options_t *options, const char *name, const char *value, apr_pool_t *p)
{
    if (!libvirt_text_valid(value)) {
        return apr_psprintf(p, "%s=: control characters, or not UTF-8", name);
    }
    if (!strcmp(name, "images")) {
        options->images = value;
        return *value == '/' ? NULL : apr_psprintf(p, "images=%s: must be an absolute path", value);
    }
    if (!strcmp(name, "pool")) {
        options->pool = value;
        return *value ? NULL : "pool=: must be the name of a storage pool";
    }
    if (!strcmp(name, "listen")) {
        options->listen = value;
        return address_valid(value) && strcmp(value, "0.0.0.0")
                   ? NULL : apr_psprintf(p, "listen=%s: must be an IPv4 address of the hypervisor at which the gateway "
                                         "reaches it, such as 127.0.0.1", value);
    }
    if (!strcmp(name, "idmap")) {
        return parse_idmap(options, value, p);
    }
    if (!strcmp(name, "allow")) {
        return parse_allow(options, value, p);
    }
    if (!strcmp(name, "filter")) {
        options->filter = strcmp(value, "off") != 0;
        return !strcmp(value, "off") || !strcmp(value, "on") ? NULL
                                                             : apr_psprintf(p, "filter=%s: must be on or off", value);
    }
    if (!strcmp(name, "accel")) {
        return parse_accel(options, value, p);
    }
    if (persona_compute_limit(name)) {
        return NULL; /* looked at for every provider */
    }
    if (!strcmp(name, "boots")) {
        return strspn(value, "0123456789") == strlen(value) && atoi(value) >= 1 && atoi(value) <= 64
                   ? NULL : apr_psprintf(p, "boots=%s: must be a number from 1 to 64", value);
    }
    const char *near = persona_text_nearest(name, option_names);
    return near ? apr_psprintf(p, "unknown option %s; did you mean %s=?", persona_text_quote(name, p), near)
                : apr_psprintf(p, "unknown option %s; known are %s", persona_text_quote(name, p),
                               persona_text_choices(option_names, p));
}

static const char *parse_conf(const persona_compute_conf_t *conf, libvirt_options_t **result, apr_pool_t *p)
{
    libvirt_options_t *options = apr_pcalloc(p, sizeof(*options));
    const apr_array_header_t *entries = conf->options ? apr_table_elts(conf->options) : NULL;
    const char *wrong = parse_uri(options, conf->address ? conf->address : "", p);

    options->images = IMAGES_DEFAULT;
    options->pool = POOL_DEFAULT;
    options->listen = "127.0.0.1";
    options->idmap_start = 100000;
    options->idmap_count = 65536;
    options->allow = apr_array_make(p, 1, sizeof(libvirt_target_t));
    options->filter = 1;
    for (int i = 0; !wrong && entries && i < entries->nelts; ++i) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(entries, i, apr_table_entry_t);
        wrong = parse_option(options, entry->key, entry->val, p);
    }
    *result = options;
    return wrong;
}

static const char *check_conf(const persona_compute_conf_t *conf, apr_pool_t *p)
{
    libvirt_options_t *options;

    return parse_conf(conf, &options, p);
}

static const char *check_persona(const persona_compute_conf_t *conf, const persona_t *persona, apr_pool_t *p)
{
    libvirt_options_t *options;
    libvirt_image_t *image;
    const char *problem, *wrong = parse_conf(conf, &options, p);

    if (!wrong) {
        wrong = libvirt_plan_check(options, persona, p);
    }
    return wrong ? wrong : libvirt_image_find(options, persona, &image, &problem, p);
}

/* ---- open and close ---- */

/* With accel=auto, KVM where libvirt has it. The first answer takes seconds: libvirt asks its emulators. */
static const char *machine_type(libvirt_t *lv, virConnectPtr conn)
{
    if (lv->options->accel != LIBVIRT_ACCEL_AUTO) {
        return lv->options->accel == LIBVIRT_ACCEL_KVM ? "kvm" : "qemu";
    }
    if (!apr_atomic_read32(&lv->kvm)) {
        char *capabilities = virConnectGetDomainCapabilities(conn, NULL, NULL, NULL, "kvm", 0);

        apr_atomic_set32(&lv->kvm, capabilities ? 2 : 1);
        free(capabilities);
    }
    return apr_atomic_read32(&lv->kvm) == 2 ? "kvm" : "qemu";
}

static apr_status_t warm_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res, apr_pool_t *p)
{
    (void)data;
    (void)res;
    (void)p;
    if (lv->options->driver == LIBVIRT_QEMU) {
        machine_type(lv, conn);
    }
    return APR_SUCCESS;
}

static apr_status_t open_compute(persona_compute_t **c, const persona_compute_conf_t *conf, const char *ns,
                                 apr_interval_time_t timeout, persona_result_t *res, apr_pool_t *parent)
{
    libvirt_options_t *options;
    apr_pool_t *p;
    libvirt_t *lv;
    const char *wrong;

    /* Not below the caller's pool: a call that hangs may outlive it. */
    apr_pool_create_unmanaged(&p);
    lv = apr_pcalloc(p, sizeof(*lv));
    persona_compute_conf_t *copy = apr_pmemdup(p, conf, sizeof(*conf));
    copy->name = apr_pstrdup(p, conf->name);
    copy->provider = apr_pstrdup(p, conf->provider);
    copy->address = apr_pstrdup(p, conf->address);
    copy->options = conf->options ? apr_table_clone(p, conf->options) : NULL;
    wrong = parse_conf(copy, &options, p);
    if (wrong) {
        persona_result_set(res, APR_EINVAL, "configuration", "%s", wrong);
        apr_pool_destroy(p);
        return APR_EINVAL;
    }
    lv->head.provider = &persona_libvirt_provider;
    lv->head.conf = copy;
    lv->head.ns = apr_pstrdup(p, ns);
    lv->head.timeout = timeout;
    lv->pool = p;
    lv->options = options;
    lv->filters = apr_table_make(p, 4);
    pthread_mutex_init(&lv->mutex, NULL);
    if (libvirt_lanes_open(lv) != APR_SUCCESS) {
        persona_result_set(res, APR_EGENERAL, "engine", "libvirt cannot be initialised");
        apr_pool_destroy(p);
        return APR_EGENERAL;
    }
    /* Nobody waits for it, but the first call need not connect and find out about KVM. */
    for (int lane = 0; lane < LIBVIRT_LANES; ++lane) {
        libvirt_job_start(libvirt_job_make(lv, lane, NULL, warm_work, 0), 0, NULL, parent);
    }
    *c = &lv->head;
    return APR_SUCCESS;
}

static void close_compute(persona_compute_t *c)
{
    libvirt_t *lv = (libvirt_t *)c;

    if (libvirt_lanes_close(lv)) {
        pthread_mutex_destroy(&lv->mutex);
        apr_pool_destroy(lv->pool);
    }
}

/* ---- create ---- */

static apr_array_header_t *copy_words(const apr_array_header_t *words, apr_pool_t *p)
{
    apr_array_header_t *copy = apr_array_make(p, words ? words->nelts + 1 : 1, sizeof(const char *));

    for (int i = 0; words && i < words->nelts; ++i) {
        APR_ARRAY_PUSH(copy, const char *) = apr_pstrdup(p, APR_ARRAY_IDX(words, i, const char *));
    }
    return copy;
}

/* What creation needs of a persona, so that a late call does not depend on the caller's catalog. */
static persona_t *copy_persona(const persona_t *persona, apr_pool_t *p)
{
    persona_t *copy = apr_pcalloc(p, sizeof(*copy));
    persona_environment_t *environment = &copy->environment;

    copy->id = apr_pstrdup(p, persona->id);
    copy->app_id = apr_pstrdup(p, persona->app_id);
    copy->title = apr_pstrdup(p, persona->title);
    copy->source = apr_pstrdup(p, persona->source);
    memcpy(copy->fingerprint, persona->fingerprint, sizeof(copy->fingerprint));
    copy->resources = persona->resources;
    copy->resources.gpu_model = apr_pstrdup(p, persona->resources.gpu_model);
    *environment = persona->environment;
    environment->compute = apr_pstrdup(p, environment->compute);
    environment->os_image = apr_pstrdup(p, environment->os_image);
    environment->network = apr_pstrdup(p, environment->network);
    environment->stream_path = apr_pstrdup(p, environment->stream_path);
    environment->ready_path = apr_pstrdup(p, environment->ready_path);
    environment->home_hook = apr_pstrdup(p, environment->home_hook);
    environment->libraries = copy_words(environment->libraries, p);
    environment->command = copy_words(environment->command, p);
    environment->env = environment->env ? apr_table_clone(p, environment->env) : NULL;
    return copy;
}

static int has_fuse(const libvirt_options_t *options, apr_pool_t *p)
{
    apr_finfo_t info;

    return options->local && apr_stat(&info, "/dev/fuse", APR_FINFO_TYPE, p) == APR_SUCCESS
           && info.filetype == APR_CHR;
}

/* Everything that the domain's XML refers to: its address and filter, its disk, its devices. */
static apr_status_t prepare(libvirt_t *lv, virConnectPtr conn, libvirt_plan_t *plan, persona_result_t *res,
                            apr_pool_t *p)
{
    const persona_t *persona = plan->persona;
    libvirt_net_t *net;
    virNodeInfo node;
    apr_status_t status = libvirt_net_read(conn, persona->environment.network, &net, res, p);

    if (status != APR_SUCCESS) {
        return status;
    }
    plan->net = net;
    switch (lv->options->driver) {
    case LIBVIRT_LXC: plan->type = "lxc"; break;
    case LIBVIRT_TEST: plan->type = "test"; break;
    case LIBVIRT_QEMU: plan->type = machine_type(lv, conn); break;
    }
    plan->x86 = virNodeGetInfo(conn, &node) == 0 && !strcmp(node.model, "x86_64");
    plan->fuse = persona->environment.home_hook && has_fuse(lv->options, p);
    if (lv->options->driver == LIBVIRT_LXC) {
        status = libvirt_net_allocate(conn, net, plan->uuid, &plan->address, res, p);
    }
    if (status == APR_SUCCESS && lv->options->filter && lv->options->driver != LIBVIRT_TEST) {
        plan->filter = libvirt_filter_name(lv, net, persona->environment.isolated, p);
        status = libvirt_filter_ensure(lv, conn, net, persona->environment.isolated, res, p);
    }
    if (status == APR_SUCCESS && persona->resources.gpu_count) {
        apr_array_header_t *devices;

        status = libvirt_devices_allocate(conn, plan->uuid, persona->resources.gpu_count,
                                          persona->resources.gpu_model, &devices, res, p);
        plan->devices = devices;
    }
    if (status == APR_SUCCESS && lv->options->driver == LIBVIRT_QEMU) {
        status = libvirt_volume_create(lv, conn, plan, res, p);
    }
    return status;
}

static apr_status_t write_intent(libvirt_t *lv, virConnectPtr conn, const libvirt_plan_t *plan, libvirt_stage_e stage,
                                 const char *reason, persona_result_t *res, apr_pool_t *p)
{
    libvirt_intent_t intent = {.uuid = plan->uuid, .persona_id = plan->persona->id,
                               .fingerprint = plan->persona->fingerprint, .maker = plan->maker,
                               .created = plan->created,
                               .stage = stage, .reason = reason};

    return libvirt_intent_write(lv, conn, &intent, res, p);
}

static apr_status_t intent_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res,
                                apr_pool_t *p)
{
    return write_intent(lv, conn, data, LIBVIRT_MAKING, NULL, res, p);
}

/* libvirt lists a /dev/kvm that the emulator may be unable to use: of another user, or of a host that is a machine
 * itself. What does not start with it and starts without is the proof; the error's words alone may be a file's name. */
static virDomainPtr boot_emulated(libvirt_t *lv, virConnectPtr conn, libvirt_plan_t *plan, const char *detail,
                                  apr_pool_t *p)
{
    virDomainPtr domain;

    if (lv->options->accel != LIBVIRT_ACCEL_AUTO || strcmp(plan->type, "kvm") || !strcasestr(detail, "kvm")) {
        return NULL;
    }
    plan->type = "qemu";
    domain = virDomainCreateXML(conn, libvirt_domain_xml(plan, p), 0);
    if (domain) {
        apr_atomic_set32(&lv->kvm, 1);
        persona_log(PERSONA_LOG_WARNING, 0, "compute %s: KVM cannot be used, virtual machines are emulated, slowly "
                    "(accel=kvm would refuse instead): %s", lv->head.conf->name, detail);
    }
    return domain;
}

static apr_status_t boot(libvirt_t *lv, virConnectPtr conn, libvirt_plan_t *plan, persona_result_t *res, apr_pool_t *p)
{
    virDomainPtr domain = virDomainCreateXML(conn, libvirt_domain_xml(plan, p), 0);
    apr_status_t status = APR_SUCCESS;

    if (!domain) {
        status = libvirt_failed(conn, res, "boot", "libvirt cannot start the instance");
        domain = status == APR_TIMEUP ? NULL : boot_emulated(lv, conn, plan, res->detail, p);
    }
    if (!domain) {
        domain = status == APR_TIMEUP ? NULL : virDomainLookupByUUIDString(conn, plan->uuid);
    }
    if (domain) {
        /* Also when an earlier attempt made it and only its answer was lost. */
        virDomainFree(domain);
        return persona_result_set(res, APR_SUCCESS, NULL, "%s", "");
    }
    return status;
}

static apr_status_t create_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res,
                                apr_pool_t *p)
{
    libvirt_plan_t *plan = data;
    persona_result_t ignored;
    apr_status_t status;

    PERSONA_FAULT(refill_intended);
    status = prepare(lv, conn, plan, res, p);
    if (status == APR_SUCCESS) {
        status = boot(lv, conn, plan, res, p);
    }
    PERSONA_FAULT(refill_booted);
    if (status == APR_SUCCESS) {
        return write_intent(lv, conn, plan, LIBVIRT_MADE, NULL, res, p);
    }
    write_intent(lv, conn, plan, LIBVIRT_FAILED, res->detail, &ignored, p);
    return status;
}

static const char *check_create(const persona_create_t *how)
{
    if (!persona_uuid_valid(how->uuid)) {
        return "an instance needs a uuid";
    }
    if ((how->reason && !libvirt_text_valid(how->reason)) || (how->hook_key && !libvirt_text_valid(how->hook_key))) {
        return "the reason and the key of an instance cannot hold control characters";
    }
    if (how->maker && (!libvirt_text_valid(how->maker) || !*how->maker || strchr(how->maker, ' '))) {
        return "the maker of an instance is one word";
    }
    return NULL;
}

static apr_status_t create(persona_compute_t *c, const persona_t *persona, const persona_create_t *how,
                           persona_result_t *res, apr_pool_t *p)
{
    libvirt_t *lv = (libvirt_t *)c;
    const char *wrong = check_create(how), *problem = "persona";
    const apr_time_t began = apr_time_now();
    libvirt_job_t *intent, *job;
    libvirt_plan_t *plan;
    libvirt_image_t *image;
    apr_interval_time_t left;
    apr_status_t status;

    wrong = wrong ? wrong : libvirt_plan_check(lv->options, persona, p);
    if (wrong) {
        return persona_result_set(res, APR_EINVAL, problem, "%s", wrong);
    }
    job = libvirt_job_make(lv, LIBVIRT_SLOW, how->uuid, create_work, sizeof(libvirt_plan_t));
    wrong = libvirt_image_find(lv->options, persona, &image, &problem, job->pool);
    if (wrong) {
        persona_result_set(res, APR_EINVAL, problem, "%s", wrong);
        libvirt_job_drop(job);
        return APR_EINVAL;
    }
    plan = job->args;
    plan->persona = copy_persona(persona, job->pool);
    plan->options = lv->options;
    plan->ns = lv->head.ns;
    plan->uuid = apr_pstrdup(job->pool, how->uuid);
    plan->hook_key = apr_pstrdup(job->pool, how->hook_key);
    plan->reason = apr_pstrdup(job->pool, how->reason);
    plan->maker = apr_pstrdup(job->pool, how->maker);
    plan->created = began;
    plan->image = image;

    intent = libvirt_job_make(lv, LIBVIRT_QUICK, how->uuid, intent_work, sizeof(libvirt_plan_t));
    *(libvirt_plan_t *)intent->args = (libvirt_plan_t){
        .uuid = apr_pstrdup(intent->pool, how->uuid), .persona = copy_persona(persona, intent->pool),
        .maker = apr_pstrdup(intent->pool, how->maker), .created = began};
    status = libvirt_job_run(intent, res, p);
    if (status != APR_SUCCESS) {
        libvirt_job_drop(job);
        return status;
    }
    left = lv->head.timeout - (apr_time_now() - began);
    return libvirt_job_start(job, left < 0 || left > lv->head.timeout ? 0 : left, res, p);
}

/* ---- destroy ---- */

typedef struct destroy_args_t {
    const char *uuid;
} destroy_args_t;

static apr_status_t destroy_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res,
                                 apr_pool_t *p)
{
    const char *uuid = ((destroy_args_t *)data)->uuid;
    libvirt_intent_t *intent;
    virDomainPtr domain;
    apr_status_t status = libvirt_intent_read(lv, conn, uuid, &intent, res, p);

    if (status == APR_SUCCESS && intent->stage != LIBVIRT_UNMAKING) {
        intent->stage = LIBVIRT_UNMAKING;
        status = libvirt_intent_write(lv, conn, intent, res, p);
    }
    if (status != APR_SUCCESS && status != APR_ENOENT) {
        return status;
    }
    PERSONA_FAULT(retire_unmaking);
    domain = virDomainLookupByUUIDString(conn, uuid);
    if (!domain && libvirt_error_code() != VIR_ERR_NO_DOMAIN) {
        return libvirt_failed(conn, res, "engine", "cannot look for the instance");
    }
    if (domain) {
        const int failed = virDomainDestroy(domain) < 0 && libvirt_error_code() != VIR_ERR_NO_DOMAIN
                           && libvirt_error_code() != VIR_ERR_OPERATION_INVALID;

        status = failed ? libvirt_failed(conn, res, "destroy", "cannot stop the instance") : APR_SUCCESS;
        virDomainFree(domain);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    PERSONA_FAULT(retire_stopped);
    persona_result_set(res, APR_SUCCESS, NULL, "%s", "");
    status = libvirt_volume_delete(lv, conn, uuid, res, p);
    if (status == APR_SUCCESS) {
        status = libvirt_release_all(conn, uuid, res, p);
    }
    return status == APR_SUCCESS ? libvirt_intent_drop(lv, conn, uuid, res, p) : status;
}

static apr_status_t destroy(persona_compute_t *c, const char *uuid, persona_result_t *res, apr_pool_t *p)
{
    libvirt_job_t *job;

    if (!uuid || !persona_uuid_valid(uuid)) {
        return APR_SUCCESS;
    }
    job = libvirt_job_make((libvirt_t *)c, LIBVIRT_SLOW, uuid, destroy_work, sizeof(destroy_args_t));
    ((destroy_args_t *)job->args)->uuid = apr_pstrdup(job->pool, uuid);
    return libvirt_job_run(job, res, p);
}

const persona_compute_provider_t persona_libvirt_provider = {
    .name = "libvirt",
    .check_conf = check_conf,
    .check_persona = check_persona,
    .open = open_compute,
    .close = close_compute,
    .watch = libvirt_watch,
    .capacity = libvirt_capacity,
    .list = libvirt_list,
    .inspect = libvirt_inspect,
    .create = create,
    .mark = libvirt_mark,
    .fence = libvirt_fence,
    .fence_holder = libvirt_fence_holder,
    .fence_session = libvirt_fence_session,
    .fences = libvirt_fences,
    .unfence = libvirt_unfence,
    .destroy = destroy,
    .stats = libvirt_stats,
    .resize = libvirt_resize,
};

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file libvirt_read.c
 * @brief Instances as libvirt tells of them, and the small changes of a running one: mark, stats, resize.
 *
 * An instance is a domain with our metadata, or what is left of one: an intent or a volume without a domain. Volumes
 * are read first, then intents, then domains: the other way round, what appeared in between would look like a leftover.
 *
 * While libvirt starts or stops a domain it holds that domain's lock, for seconds on a busy host, and whoever looks
 * at the domain or lists all domains waits. So what is being made or unmade is told from its intent alone, and all
 * domains are listed, to find any that has lost its intent, only while nothing of ours is in such a state.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>
#include <libvirt/virterror.h>

#include "compute/libvirt.h"
#include "persona/digest.h"

typedef struct read_args_t {
    const char *uuid;
    apr_array_header_t *instances;
    persona_instance_t *instance;
    persona_mark_t mark;
    persona_usage_sample_t sample;
    persona_capacity_t capacity;
    int cpus;
    apr_int64_t memory;
} read_args_t;

static libvirt_work_fn mark_work, resize_work;

static libvirt_job_t *make_job(persona_compute_t *c, libvirt_lane_e lane, const char *uuid, libvirt_work_fn *work)
{
    /* A change reads before it writes: one at a time for each instance. */
    const char *key = work == mark_work || work == resize_work ? uuid : NULL;
    libvirt_job_t *job = libvirt_job_make((libvirt_t *)c, lane, key, work, sizeof(read_args_t));

    ((read_args_t *)job->args)->uuid = apr_pstrdup(job->pool, uuid);
    return job;
}

static int uuid_ok(const char *uuid)
{
    return uuid && persona_uuid_valid(uuid);
}

/* ---- one instance ---- */

/* Fill in what the metadata does not have: who it is for this compute, and where its stream is now. */
static void complete(libvirt_t *lv, virConnectPtr conn, libvirt_domain_t *domain, apr_time_t read_at, apr_pool_t *p)
{
    persona_instance_t *instance = &domain->instance;
    char *host;

    instance->compute = lv->head.conf->name;
    instance->read_at = read_at;
    host = virConnectGetHostname(conn);
    instance->host = host ? apr_pstrdup(p, host) : "";
    free(host);
    if (!instance->hook_address && domain->network && domain->mac) {
        instance->hook_address = libvirt_lease(conn, domain->network, domain->mac, p);
    }
    if (domain->stream_port) {
        instance->address = instance->hook_address;
        instance->port = domain->stream_port;
    }
    else if (domain->vnc_port > 0) {
        instance->address = domain->vnc_address;
        instance->port = domain->vnc_port;
    }
}

/* APR_ENOENT: the domain is not one of ours, or has just gone. */
static apr_status_t read_domain(libvirt_t *lv, virConnectPtr conn, virDomainPtr handle, apr_time_t read_at,
                                libvirt_domain_t **domain, persona_result_t *res, apr_pool_t *p)
{
    char *xml = virDomainGetXMLDesc(handle, 0);
    apr_status_t status;
    int state, reason;

    if (!xml) {
        return libvirt_failed(conn, res, "gone", "cannot read the domain");
    }
    status = libvirt_domain_parse(xml, domain, p);
    free(xml);
    if (status != APR_SUCCESS || strcmp((*domain)->ns, lv->head.ns)) {
        return APR_ENOENT;
    }
    if (virDomainGetState(handle, &state, &reason, 0) < 0) {
        return libvirt_failed(conn, res, "gone", "cannot read the domain's state");
    }
    (*domain)->instance.running = state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED
                                  || state == VIR_DOMAIN_PAUSED || state == VIR_DOMAIN_PMSUSPENDED;
    if (!(*domain)->instance.running) {
        (*domain)->instance.state = PERSONA_INSTANCE_GONE;
    }
    complete(lv, conn, *domain, read_at, p);
    return APR_SUCCESS;
}

/* An instance that has no domain which could be looked at; `intent` may be NULL. */
static persona_instance_t *from_intent(libvirt_t *lv, const char *uuid, const libvirt_intent_t *intent,
                                       persona_instance_e state, apr_time_t read_at, apr_pool_t *p)
{
    persona_instance_t *instance = apr_pcalloc(p, sizeof(*instance));

    instance->uuid = uuid;
    instance->persona_id = intent ? intent->persona_id : "";
    instance->fingerprint = intent ? intent->fingerprint : "";
    instance->created = intent ? intent->created : 0;
    instance->reason = intent ? intent->reason : NULL;
    instance->maker = intent ? intent->maker : NULL;
    instance->compute = lv->head.conf->name;
    instance->host = "";
    instance->read_at = read_at;
    instance->state = state;
    return instance;
}

static int in_flux(const libvirt_intent_t *intent, apr_time_t now)
{
    return intent->stage == LIBVIRT_UNMAKING
           || (intent->stage == LIBVIRT_MAKING && now - intent->created < LIBVIRT_CREATE_MAX);
}

/* What is known of the instance `uuid`. APR_ENOENT: nothing. */
static apr_status_t read_instance(libvirt_t *lv, virConnectPtr conn, const char *uuid,
                                  const libvirt_intent_t *intent, persona_instance_t **instance,
                                  persona_result_t *res, apr_pool_t *p)
{
    const apr_time_t read_at = apr_time_now();
    libvirt_domain_t *domain;
    virDomainPtr handle;
    apr_status_t status;

    if (intent && in_flux(intent, read_at)) {
        *instance = from_intent(lv, uuid, intent, intent->stage == LIBVIRT_MAKING ? PERSONA_INSTANCE_CREATING
                                : PERSONA_INSTANCE_GONE, read_at, p);
        return APR_SUCCESS;
    }
    handle = virDomainLookupByUUIDString(conn, uuid);
    if (handle) {
        status = read_domain(lv, conn, handle, read_at, &domain, res, p);
        virDomainFree(handle);
        if (status == APR_SUCCESS) {
            *instance = &domain->instance;
        }
        if (status != APR_ENOENT) {
            return status;
        }
    }
    else if (libvirt_error_code() != VIR_ERR_NO_DOMAIN) {
        return libvirt_failed(conn, res, "engine", "cannot look for the instance");
    }
    if (!intent) {
        return APR_ENOENT;
    }
    *instance = from_intent(lv, uuid, intent, PERSONA_INSTANCE_GONE, read_at, p);
    return APR_SUCCESS;
}

static int array_has(const apr_array_header_t *names, const char *name)
{
    for (int i = 0; i < names->nelts; ++i) {
        if (!strcmp(APR_ARRAY_IDX(names, i, const char *), name)) {
            return 1;
        }
    }
    return 0;
}

static apr_status_t inspect_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res,
                                 apr_pool_t *p)
{
    read_args_t *args = data;
    libvirt_intent_t *intent = NULL;
    apr_array_header_t *volumes;
    apr_status_t status = libvirt_intent_read(lv, conn, args->uuid, &intent, res, p);

    if (status == APR_SUCCESS || status == APR_ENOENT) {
        status = read_instance(lv, conn, args->uuid, intent, &args->instance, res, p);
    }
    if (status != APR_ENOENT) {
        return status;
    }
    status = libvirt_volume_list(lv, conn, &volumes, res, p);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (!array_has(volumes, args->uuid)) {
        return persona_result_set(res, APR_ENOENT, "gone", "there is no instance %s", args->uuid);
    }
    args->instance = from_intent(lv, args->uuid, NULL, PERSONA_INSTANCE_GONE, apr_time_now(), p);
    return APR_SUCCESS;
}

apr_status_t libvirt_inspect(persona_compute_t *c, const char *uuid, persona_instance_t **instance,
                             persona_result_t *res, apr_pool_t *p)
{
    libvirt_job_t *job;
    read_args_t *args;
    apr_status_t status;

    if (!uuid_ok(uuid)) {
        return persona_result_set(res, APR_ENOENT, "gone", "%s is no instance's uuid", uuid ? uuid : "(none)");
    }
    job = make_job(c, LIBVIRT_QUICK, uuid, inspect_work);
    args = job->args;
    status = libvirt_job_run(job, res, p);
    if (status == APR_SUCCESS) {
        *instance = args->instance;
    }
    return status;
}

/* ---- all instances ---- */

typedef struct list_t {
    apr_array_header_t *instances;
    apr_hash_t *seen;
    int flux;   /* something is being made or unmade */
} list_t;

static void list_add(list_t *list, persona_instance_t *instance)
{
    apr_hash_set(list->seen, instance->uuid, APR_HASH_KEY_STRING, instance);
    APR_ARRAY_PUSH(list->instances, persona_instance_t *) = instance;
}

static apr_status_t list_intents(libvirt_t *lv, virConnectPtr conn, list_t *list, persona_result_t *res,
                                 apr_pool_t *p)
{
    apr_array_header_t *uuids;
    apr_status_t status = libvirt_intent_list(lv, conn, &uuids, res, p);

    for (int i = 0; status == APR_SUCCESS && i < uuids->nelts; ++i) {
        const char *uuid = APR_ARRAY_IDX(uuids, i, const char *);
        persona_instance_t *instance = NULL;
        libvirt_intent_t *intent;

        if (!persona_uuid_valid(uuid)) {
            continue;
        }
        status = libvirt_intent_read(lv, conn, uuid, &intent, res, p);
        if (status == APR_SUCCESS) {
            list->flux |= in_flux(intent, apr_time_now());
            status = read_instance(lv, conn, uuid, intent, &instance, res, p);
        }
        if (status == APR_SUCCESS) {
            list_add(list, instance);
        }
        status = status == APR_ENOENT ? APR_SUCCESS : status;
    }
    return status;
}

static void list_volumes(libvirt_t *lv, const apr_array_header_t *uuids, list_t *list, apr_pool_t *p)
{
    for (int i = 0; i < uuids->nelts; ++i) {
        const char *uuid = APR_ARRAY_IDX(uuids, i, const char *);

        if (!apr_hash_get(list->seen, uuid, APR_HASH_KEY_STRING)) {
            list_add(list, from_intent(lv, uuid, NULL, PERSONA_INSTANCE_GONE, apr_time_now(), p));
        }
    }
}

static apr_status_t list_domains(libvirt_t *lv, virConnectPtr conn, list_t *list, persona_result_t *res,
                                 apr_pool_t *p)
{
    virDomainPtr *handles;
    apr_status_t status = APR_SUCCESS;
    const int count = virConnectListAllDomains(conn, &handles, 0);

    if (count < 0) {
        return libvirt_failed(conn, res, "engine", "cannot list domains");
    }
    for (int i = 0; i < count; ++i) {
        const char *name = virDomainGetName(handles[i]);
        const char *uuid = name && !strncmp(name, LIBVIRT_NAME_PREFIX, strlen(LIBVIRT_NAME_PREFIX))
                               ? name + strlen(LIBVIRT_NAME_PREFIX) : NULL;
        libvirt_domain_t *domain;

        if (status == APR_SUCCESS && uuid && !apr_hash_get(list->seen, uuid, APR_HASH_KEY_STRING)) {
            status = read_domain(lv, conn, handles[i], apr_time_now(), &domain, res, p);
            if (status == APR_SUCCESS) {
                list_add(list, &domain->instance);
            }
            status = status == APR_ENOENT ? APR_SUCCESS : status;
        }
        virDomainFree(handles[i]);
    }
    free(handles);
    return status;
}

static apr_status_t list_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res, apr_pool_t *p)
{
    list_t list = {.instances = apr_array_make(p, 32, sizeof(persona_instance_t *)), .seen = apr_hash_make(p)};
    apr_array_header_t *volumes;
    apr_status_t status = libvirt_volume_list(lv, conn, &volumes, res, p);

    if (status == APR_SUCCESS) {
        status = list_intents(lv, conn, &list, res, p);
    }
    if (status == APR_SUCCESS && !list.flux) {
        status = list_domains(lv, conn, &list, res, p);
    }
    if (status == APR_SUCCESS) {
        list_volumes(lv, volumes, &list, p);
    }
    ((read_args_t *)data)->instances = list.instances;
    return status;
}

apr_status_t libvirt_list(persona_compute_t *c, apr_array_header_t **instances, persona_result_t *res,
                          apr_pool_t *p)
{
    libvirt_job_t *job = make_job(c, LIBVIRT_QUICK, "", list_work);
    read_args_t *args = job->args;
    apr_status_t status = libvirt_job_run(job, res, p);

    if (status == APR_SUCCESS) {
        *instances = args->instances;
    }
    return status;
}

/* ---- mark ---- */

static apr_status_t mark_domain(libvirt_t *lv, virConnectPtr conn, virDomainPtr handle, const persona_mark_t *mark,
                                persona_result_t *res, apr_pool_t *p)
{
    libvirt_domain_t *domain;
    persona_instance_t *instance;
    const char *address;
    char *xml = virDomainGetXMLDesc(handle, 0);
    apr_status_t status;

    if (!xml) {
        return libvirt_failed(conn, res, "gone", "cannot read the domain");
    }
    status = libvirt_domain_parse(xml, &domain, p);
    free(xml);
    if (status != APR_SUCCESS || strcmp(domain->ns, lv->head.ns)) {
        return persona_result_set(res, APR_ENOENT, "gone", "this domain is not an instance of ours");
    }
    instance = &domain->instance;
    if (mark->state && mark->state < instance->state) {
        return persona_result_set(res, APR_EINVAL, "state", "instance %s is %s and cannot become %s",
                                  instance->uuid, persona_instance_state_name(instance->state),
                                  persona_instance_state_name(mark->state));
    }
    instance->state = mark->state ? mark->state : instance->state;
    instance->session = mark->session ? mark->session : instance->session;
    instance->user = mark->user ? mark->user : instance->user;
    instance->app = mark->app ? mark->app : instance->app;
    instance->reason = mark->reason ? mark->reason : instance->reason;
    instance->ready_at = mark->ready_at ? mark->ready_at : instance->ready_at;
    instance->assigned_at = mark->assigned_at ? mark->assigned_at : instance->assigned_at;
    instance->retiring_at = mark->retiring_at ? mark->retiring_at : instance->retiring_at;
    /* A lease may be gone from DHCP's memory while the machine still has the address. */
    if (!instance->hook_address && domain->network && domain->mac
        && (address = libvirt_lease(conn, domain->network, domain->mac, p))) {
        instance->hook_address = address;
    }
    if (virDomainSetMetadata(handle, VIR_DOMAIN_METADATA_ELEMENT, libvirt_metadata_xml(domain, p), "persona",
                             LIBVIRT_METADATA_URI, VIR_DOMAIN_AFFECT_LIVE) < 0) {
        return libvirt_failed(conn, res, "mark", "cannot write the metadata");
    }
    return APR_SUCCESS;
}

static apr_status_t mark_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res, apr_pool_t *p)
{
    read_args_t *args = data;
    virDomainPtr handle = virDomainLookupByUUIDString(conn, args->uuid);
    apr_status_t status;

    if (!handle) {
        return libvirt_failed(conn, res, "gone", "cannot mark the instance");
    }
    status = mark_domain(lv, conn, handle, &args->mark, res, p);
    virDomainFree(handle);
    return status;
}

apr_status_t libvirt_mark(persona_compute_t *c, const char *uuid, const persona_mark_t *mark,
                          persona_result_t *res, apr_pool_t *p)
{
    const char *const words[] = {mark->session, mark->user, mark->app, mark->reason};
    libvirt_job_t *job;
    persona_mark_t *copy;

    if (!uuid_ok(uuid)) {
        return persona_result_set(res, APR_ENOENT, "gone", "%s is no instance's uuid", uuid ? uuid : "(none)");
    }
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); ++i) {
        if (words[i] && !libvirt_text_valid(words[i])) {
            return persona_result_set(res, APR_EINVAL, "mark",
                                      "\"%s\" cannot be kept beside an instance: control characters or not UTF-8",
                                      words[i]);
        }
    }
    job = make_job(c, LIBVIRT_QUICK, uuid, mark_work);
    copy = &((read_args_t *)job->args)->mark;
    *copy = *mark;
    copy->session = apr_pstrdup(job->pool, mark->session);
    copy->user = apr_pstrdup(job->pool, mark->user);
    copy->app = apr_pstrdup(job->pool, mark->app);
    copy->reason = apr_pstrdup(job->pool, mark->reason);
    return libvirt_job_run(job, res, p);
}

/* ---- stats and resize ---- */

/* One scheduler parameter of a domain; `fallback` where it has none. */
static long long scheduler_value(virDomainPtr handle, const char *name, long long fallback)
{
    virTypedParameterPtr params;
    long long value = fallback, wide;
    unsigned long long unsigned_value;
    int count = 0;
    char *type = virDomainGetSchedulerType(handle, &count);

    free(type);
    if (!type || count <= 0 || !(params = calloc((size_t)count, sizeof(*params)))) {
        return fallback;
    }
    if (virDomainGetSchedulerParameters(handle, params, &count) == 0) {
        if (virTypedParamsGetLLong(params, count, name, &wide) == 1) {
            value = wide;
        }
        else if (virTypedParamsGetULLong(params, count, name, &unsigned_value) == 1) {
            value = (long long)unsigned_value;
        }
    }
    virTypedParamsFree(params, count);
    return value;
}

static int cpus_of(libvirt_t *lv, virDomainPtr handle, const virDomainInfo *info)
{
    long long period, quota;

    if (lv->options->driver != LIBVIRT_LXC) {
        return info->nrVirtCpu;
    }
    period = scheduler_value(handle, VIR_DOMAIN_SCHEDULER_VCPU_PERIOD, 0);
    quota = scheduler_value(handle, VIR_DOMAIN_SCHEDULER_VCPU_QUOTA, 0);
    return period > 0 && quota > 0 ? (int)((quota + period - 1) / period) : info->nrVirtCpu;
}

static void sample_memory(virDomainPtr handle, const virDomainInfo *info, persona_usage_sample_t *sample)
{
    virDomainMemoryStatStruct stats[VIR_DOMAIN_MEMORY_STAT_NR];
    apr_int64_t actual = 0, rss = 0, unused = -1, available = -1, usable = -1;
    int count = virDomainMemoryStats(handle, stats, VIR_DOMAIN_MEMORY_STAT_NR, 0);

    for (int i = 0; i < count; ++i) {
        const apr_int64_t bytes = (apr_int64_t)stats[i].val * 1024;

        switch (stats[i].tag) {
        case VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON: actual = bytes; break;
        case VIR_DOMAIN_MEMORY_STAT_RSS: rss = bytes; break;
        case VIR_DOMAIN_MEMORY_STAT_UNUSED: unused = bytes; break;
        case VIR_DOMAIN_MEMORY_STAT_AVAILABLE: available = bytes; break;
        case VIR_DOMAIN_MEMORY_STAT_USABLE: usable = bytes; break;
        default: break;
        }
    }
    sample->memory_limit = actual ? actual : (apr_int64_t)info->memory * 1024;
    /* What the guest says of itself, where it says so; else what the host has given it. */
    if (available > 0 && (usable >= 0 || unused >= 0)) {
        sample->memory = available - (usable >= 0 ? usable : unused);
    }
    else {
        sample->memory = rss;
    }
}

static apr_status_t stats_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res, apr_pool_t *p)
{
    read_args_t *args = data;
    persona_usage_sample_t *sample = &args->sample;
    virDomainPtr handle = virDomainLookupByUUIDString(conn, args->uuid);
    virDomainInterfaceStatsStruct net;
    virDomainBlockStatsStruct block;
    virDomainInfo info;
    apr_status_t status = APR_SUCCESS;

    if (!handle || virDomainGetInfo(handle, &info) < 0) {
        status = libvirt_failed(conn, res, "gone", "cannot measure the instance");
    }
    else {
        sample->cpu_time = (apr_int64_t)info.cpuTime;
        sample->cpus = cpus_of(lv, handle, &info);
        sample->rx = sample->tx = sample->read = sample->written = -1;
        sample_memory(handle, &info, sample);
        if (virDomainInterfaceStats(handle, libvirt_interface(args->uuid, p), &net, sizeof(net)) == 0) {
            /* Seen from the host's end of the wire: what it sends, the instance receives. */
            sample->rx = net.tx_bytes;
            sample->tx = net.rx_bytes;
        }
        if (lv->options->driver == LIBVIRT_QEMU && virDomainBlockStats(handle, "vda", &block, sizeof(block)) == 0) {
            sample->read = block.rd_bytes;
            sample->written = block.wr_bytes;
        }
    }
    if (handle) {
        virDomainFree(handle);
    }
    return status;
}

apr_status_t libvirt_stats(persona_compute_t *c, const char *uuid, persona_usage_sample_t *sample,
                           persona_result_t *res, apr_pool_t *p)
{
    libvirt_job_t *job;
    apr_status_t status;

    if (!uuid_ok(uuid)) {
        return persona_result_set(res, APR_ENOENT, "gone", "%s is no instance's uuid", uuid ? uuid : "(none)");
    }
    job = make_job(c, LIBVIRT_QUICK, uuid, stats_work);
    status = libvirt_job_run(job, res, p);
    if (status == APR_SUCCESS) {
        *sample = ((read_args_t *)job->args)->sample;
    }
    return status;
}

/* The most that this domain was made for. A container's quota could be set to anything. */
static int cpus_max(virDomainPtr handle, const virDomainInfo *info)
{
    const int max = virDomainGetVcpusFlags(handle, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_VCPU_MAXIMUM);

    return max > 0 ? max : info->nrVirtCpu;
}

static int set_cpus(libvirt_t *lv, virDomainPtr handle, int cpus)
{
    virTypedParameterPtr params = NULL;
    long long period;
    int count = 0, size = 0, failed;

    if (lv->options->driver != LIBVIRT_LXC) {
        return virDomainSetVcpusFlags(handle, (unsigned)cpus, VIR_DOMAIN_VCPU_LIVE);
    }
    period = scheduler_value(handle, VIR_DOMAIN_SCHEDULER_VCPU_PERIOD, 100000);
    virTypedParamsAddLLong(&params, &count, &size, VIR_DOMAIN_SCHEDULER_VCPU_QUOTA, period * cpus);
    failed = virDomainSetSchedulerParametersFlags(handle, params, count, VIR_DOMAIN_AFFECT_LIVE);
    virTypedParamsFree(params, count);
    return failed;
}

/* The memory limit in KiB. A container's info tells what it uses, not what it may use. */
static unsigned long long memory_limit(libvirt_t *lv, virDomainPtr handle, const virDomainInfo *info)
{
    virTypedParameterPtr params;
    unsigned long long limit = info->memory;
    int count = 0;

    if (lv->options->driver != LIBVIRT_LXC || virDomainGetMemoryParameters(handle, NULL, &count, 0) < 0
        || !(params = calloc((size_t)count, sizeof(*params)))) {
        return limit;
    }
    if (virDomainGetMemoryParameters(handle, params, &count, 0) == 0) {
        virTypedParamsGetULLong(params, count, VIR_DOMAIN_MEMORY_HARD_LIMIT, &limit);
    }
    virTypedParamsFree(params, count);
    return limit;
}

static apr_status_t resize_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res,
                                apr_pool_t *p)
{
    read_args_t *args = data;
    virDomainPtr handle = virDomainLookupByUUIDString(conn, args->uuid);
    virDomainInfo info;
    apr_status_t status = APR_SUCCESS;
    int max;

    (void)p;
    if (!handle || virDomainGetInfo(handle, &info) < 0) {
        status = libvirt_failed(conn, res, "gone", "cannot resize the instance");
        if (handle) {
            virDomainFree(handle);
        }
        return status;
    }
    max = cpus_max(handle, &info);
    if (args->cpus > max) {
        status = persona_result_set(res, APR_EINVAL, "resize", "the instance was made for %d cpus at most", max);
        args->cpus = 0;
    }
    if (args->memory &&
        virDomainSetMemoryFlags(handle, (unsigned long)(args->memory / 1024), VIR_DOMAIN_MEM_LIVE) < 0) {
        status = libvirt_failed(conn, res, "resize", "cannot change the memory");
    }
    if (args->cpus && set_cpus(lv, handle, args->cpus) < 0 && status == APR_SUCCESS) {
        status = libvirt_failed(conn, res, "resize", "cannot change the cpus");
    }
    if (virDomainGetInfo(handle, &info) < 0) {
        status = libvirt_failed(conn, res, "gone", "cannot read the instance after the change");
    }
    else {
        args->cpus = cpus_of(lv, handle, &info);
        args->memory = (apr_int64_t)memory_limit(lv, handle, &info) * 1024;
    }
    virDomainFree(handle);
    return status;
}

apr_status_t libvirt_resize(persona_compute_t *c, const char *uuid, int *cpus, apr_int64_t *memory,
                            persona_result_t *res, apr_pool_t *p)
{
    libvirt_job_t *job;
    read_args_t *args;
    apr_status_t status;

    if (!uuid_ok(uuid)) {
        return persona_result_set(res, APR_ENOENT, "gone", "%s is no instance's uuid", uuid ? uuid : "(none)");
    }
    job = make_job(c, LIBVIRT_SLOW, uuid, resize_work);
    args = job->args;
    args->cpus = *cpus;
    args->memory = *memory;
    status = libvirt_job_run(job, res, p);
    if (status != APR_TIMEUP) {
        *cpus = args->cpus;
        *memory = args->memory;
    }
    return status;
}

/* ---- capacity ---- */

static apr_status_t capacity_work(libvirt_t *lv, virConnectPtr conn, void *data, persona_result_t *res,
                                  apr_pool_t *p)
{
    persona_capacity_t *capacity = &((read_args_t *)data)->capacity;
    virNodeInfo node;
    virDomainPtr *handles;
    int count;

    (void)p;
    memset(capacity, 0, sizeof(*capacity));
    if (virNodeGetInfo(conn, &node) < 0
        || (count = virConnectListAllDomains(conn, &handles, VIR_CONNECT_LIST_DOMAINS_ACTIVE)) < 0) {
        return libvirt_failed(conn, res, "engine", "cannot read the host's capacity");
    }
    capacity->cpus = (int)node.cpus;
    capacity->memory = (apr_int64_t)node.memory * 1024;
    for (int i = 0; i < count; ++i) {
        virDomainInfo info;

        if (virDomainGetInfo(handles[i], &info) == 0) {
            capacity->cpus_used += cpus_of(lv, handles[i], &info);
            capacity->memory_used += (apr_int64_t)memory_limit(lv, handles[i], &info) * 1024;
        }
        virDomainFree(handles[i]);
    }
    free(handles);
    return APR_SUCCESS;
}

apr_status_t libvirt_capacity(persona_compute_t *c, persona_capacity_t *capacity, persona_result_t *res,
                              apr_pool_t *p)
{
    libvirt_job_t *job = make_job(c, LIBVIRT_QUICK, "", capacity_work);
    apr_status_t status = libvirt_job_run(job, res, p);

    if (status == APR_SUCCESS) {
        *capacity = ((read_args_t *)job->args)->capacity;
    }
    return status;
}

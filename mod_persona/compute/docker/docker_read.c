/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file docker_read.c
 * @brief Instances as the engine tells of them: list, inspect; and what changes none of their state: stats, resize.
 *
 * An instance is a container with our labels and its marks, or what is left of one: marks without a container. Marks
 * are read first: the other way round, those of an instance that is destroyed in between would be missing, and it would
 * look as if it had never been ready.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "compute/docker/docker.h"
#include "persona/digest.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static apr_int64_t number_of(const json_t *labels, const char *name)
{
    return apr_atoi64(text_of(labels, name));
}

static const char *optional(const json_t *labels, const char *name, apr_pool_t *p)
{
    return apr_pstrdup(p, json_string_value(json_object_get(labels, name)));
}

/* ---- one container ---- */

/* The address in the persona's network; where the engine calls that by another name, in the only one it is in. */
static const char *address_of(const json_t *container, const char *network)
{
    json_t *networks = json_object_get(json_object_get(container, "NetworkSettings"), "Networks"), *entry;
    const char *address = text_of(json_object_get(networks, network), "IPAddress"), *key;

    if (*address) {
        return address;
    }
    json_object_foreach(networks, key, entry) {
        if (*text_of(entry, "IPAddress")) {
            return text_of(entry, "IPAddress");
        }
    }
    return NULL;
}

static int is_one_of(const char *word, const char *const *words)
{
    for (; *words; ++words) {
        if (!strcmp(word, *words)) {
            return 1;
        }
    }
    return 0;
}

static void read_state(persona_instance_t *instance, const json_t *container, apr_pool_t *p)
{
    /* The second and the following words are Podman's. */
    static const char *const made[] = {"created", "configured", "initialized", NULL};
    static const char *const runs[] = {"running", "paused", "restarting", "stopping", NULL};
    const char *state = text_of(container, "State");

    instance->running = is_one_of(state, runs);
    instance->state = PERSONA_INSTANCE_CREATING;
    if (is_one_of(state, made)) {
        if (apr_time_now() - instance->created > DOCKER_CREATE_MAX) {
            instance->state = PERSONA_INSTANCE_GONE;
            instance->reason = "it was never started";
        }
    }
    else if (!instance->running) {
        instance->state = PERSONA_INSTANCE_GONE;
        instance->reason = apr_pstrcat(p, "it ended: ", text_of(container, "Status"), NULL);
    }
}

/* NULL: not one of ours. */
static docker_container_t *read_container(docker_call_t *call, const json_t *json, apr_time_t read_at)
{
    const json_t *labels = json_object_get(json, "Labels");
    const char *uuid = text_of(labels, "persona.uuid"), *ns = text_of(labels, "persona.ns"), *name, *address;
    docker_container_t *container;
    persona_instance_t *instance;

    if (!persona_uuid_valid(uuid) || strcmp(ns, call->d->head.ns) || !*text_of(json, "Id")) {
        return NULL;
    }
    container = apr_pcalloc(call->p, sizeof(*container));
    instance = &container->instance;
    name = json_string_value(json_array_get(json_object_get(json, "Names"), 0));
    container->id = apr_pstrdup(call->p, text_of(json, "Id"));
    container->name = apr_pstrdup(call->p, !name ? "" : *name == '/' ? name + 1 : name);
    container->cpus = (int)number_of(labels, "persona.cpus");
    container->memory = number_of(labels, "persona.memory");
    container->max_cpus = (int)number_of(labels, "persona.max-cpus");
    container->max_memory = number_of(labels, "persona.max-memory");
    instance->uuid = apr_pstrdup(call->p, uuid);
    instance->persona_id = apr_pstrdup(call->p, text_of(labels, "persona.id"));
    instance->fingerprint = apr_pstrdup(call->p, text_of(labels, "persona.fingerprint"));
    instance->reason = optional(labels, "persona.reason", call->p);
    instance->maker = optional(labels, "persona.maker", call->p);
    instance->created = number_of(labels, "persona.created");
    instance->compute = call->d->head.conf->name;
    pthread_mutex_lock(&call->d->mutex);
    instance->host = apr_pstrdup(call->p, call->d->engine.host);
    pthread_mutex_unlock(&call->d->mutex);
    instance->read_at = read_at;
    read_state(instance, json, call->p);
    address = instance->running ? address_of(json, text_of(labels, "persona.network")) : NULL;
    instance->address = instance->hook_address = apr_pstrdup(call->p, address);
    instance->port = (int)number_of(labels, "persona.port");
    return container;
}

const char *docker_container_token(const docker_container_t *container)
{
    const apr_size_t prefix = strlen(DOCKER_ASSIGNED), uuid = PERSONA_UUID_LEN - 1;

    if (strncmp(container->name, DOCKER_ASSIGNED, prefix) || strlen(container->name) != prefix + 2 * uuid + 1) {
        return NULL;
    }
    return container->name + prefix + uuid + 1;
}

apr_status_t docker_container_list(docker_call_t *call, const char *filter, const char *value,
                                   apr_array_header_t **containers)
{
    const apr_time_t read_at = apr_time_now();
    const char *ns = apr_pstrcat(call->p, "persona.ns=", call->d->head.ns, NULL);
    const char *path = apr_pstrcat(call->p, "/containers/json?all=1&filters=",
                                   docker_filters(call->p, "label", ns, filter, value, NULL), NULL);
    docker_answer_t answer;
    size_t i;
    json_t *json;
    apr_status_t status = docker_request(call, "GET", path, NULL, &answer, "cannot list containers");

    if (status != APR_SUCCESS) {
        return status;
    }
    if (!json_is_array(answer.json)) {
        return persona_result_set(call->res, APR_EGENERAL, "engine", "the engine's list of containers is none");
    }
    *containers = apr_array_make(call->p, 32, sizeof(docker_container_t *));
    json_array_foreach(answer.json, i, json) {
        docker_container_t *container = read_container(call, json, read_at);

        if (container) {
            APR_ARRAY_PUSH(*containers, docker_container_t *) = container;
        }
    }
    return APR_SUCCESS;
}

apr_status_t docker_container_find(docker_call_t *call, const char *uuid, docker_container_t **container)
{
    apr_array_header_t *containers;
    apr_status_t status = docker_container_list(call, "label", apr_pstrcat(call->p, "persona.uuid=", uuid, NULL),
                                                &containers);

    if (status != APR_SUCCESS) {
        return status;
    }
    for (int i = 0; i < containers->nelts; ++i) {
        *container = APR_ARRAY_IDX(containers, i, docker_container_t *);
        if (!strcmp((*container)->instance.uuid, uuid)) {
            return APR_SUCCESS;
        }
    }
    return persona_result_set(call->res, APR_ENOENT, "gone", "there is no instance %s", uuid);
}

/* ---- instances ---- */

static void add_mark(persona_instance_t *instance, const docker_mark_t *mark)
{
    if (!mark) {
        return;
    }
    instance->session = mark->mark.session;
    instance->user = mark->mark.user;
    instance->app = mark->mark.app;
    instance->ready_at = mark->mark.ready_at;
    instance->assigned_at = mark->mark.assigned_at;
    instance->retiring_at = mark->mark.retiring_at;
    if (instance->state != PERSONA_INSTANCE_GONE) {
        instance->state = mark->mark.state;
        instance->reason = mark->mark.reason ? mark->mark.reason : instance->reason;
    }
}

/* Marks of a container that is not there. */
static persona_instance_t *leftover(docker_call_t *call, const docker_mark_t *mark, apr_time_t read_at)
{
    persona_instance_t *instance = apr_pcalloc(call->p, sizeof(*instance));

    instance->uuid = mark->uuid;
    instance->persona_id = mark->persona_id ? mark->persona_id : "";
    instance->fingerprint = instance->host = "";
    instance->compute = call->d->head.conf->name;
    instance->state = PERSONA_INSTANCE_GONE;
    instance->read_at = read_at;
    add_mark(instance, mark);
    return instance;
}

apr_status_t docker_list(persona_compute_t *c, apr_array_header_t **instances, persona_result_t *res, apr_pool_t *p)
{
    apr_array_header_t *containers;
    apr_hash_t *marks;
    docker_call_t call;
    apr_time_t read_at = apr_time_now();
    apr_status_t status = docker_begin(&call, c, res, p);

    status = status == APR_SUCCESS ? docker_marks_read(&call, NULL, &marks) : status;
    status = status == APR_SUCCESS ? docker_container_list(&call, NULL, NULL, &containers) : status;
    if (status != APR_SUCCESS) {
        return status;
    }
    *instances = apr_array_make(p, containers->nelts + 1, sizeof(persona_instance_t *));
    for (int i = 0; i < containers->nelts; ++i) {
        persona_instance_t *instance = &APR_ARRAY_IDX(containers, i, docker_container_t *)->instance;

        add_mark(instance, apr_hash_get(marks, instance->uuid, APR_HASH_KEY_STRING));
        apr_hash_set(marks, instance->uuid, APR_HASH_KEY_STRING, NULL);
        instance->read_at = read_at;
        APR_ARRAY_PUSH(*instances, persona_instance_t *) = instance;
    }
    for (apr_hash_index_t *hi = apr_hash_first(p, marks); hi; hi = apr_hash_next(hi)) {
        APR_ARRAY_PUSH(*instances, persona_instance_t *) = leftover(&call, apr_hash_this_val(hi), read_at);
    }
    return APR_SUCCESS;
}

static int uuid_ok(const char *uuid, persona_result_t *res)
{
    if (uuid && persona_uuid_valid(uuid)) {
        return 1;
    }
    persona_result_set(res, APR_ENOENT, "gone", "%s is no instance's uuid", uuid ? uuid : "(none)");
    return 0;
}

/* Why it ended, better than the list tells it. */
static void explain_end(docker_call_t *call, const docker_container_t *container, persona_instance_t *instance)
{
    docker_answer_t answer;
    docker_call_t own = *call;
    const json_t *state;

    own.res = NULL;
    if (docker_request(&own, "GET", apr_pstrcat(call->p, "/containers/", container->id, "/json", NULL), NULL, &answer,
                       "") != APR_SUCCESS) {
        return;
    }
    state = json_object_get(answer.json, "State");
    if (json_is_true(json_object_get(state, "OOMKilled"))) {
        instance->reason = "it was killed: it used all of its memory";
    }
    else if (*text_of(state, "Error")) {
        instance->reason = apr_pstrdup(call->p, text_of(state, "Error"));
    }
}

apr_status_t docker_inspect(persona_compute_t *c, const char *uuid, persona_instance_t **instance,
                            persona_result_t *res, apr_pool_t *p)
{
    const apr_time_t read_at = apr_time_now();
    docker_container_t *container = NULL;
    docker_mark_t *mark;
    apr_hash_t *marks;
    docker_call_t call;
    apr_status_t status;

    if (!uuid_ok(uuid, res)) {
        return APR_ENOENT;
    }
    status = docker_begin(&call, c, res, p);
    status = status == APR_SUCCESS ? docker_marks_read(&call, uuid, &marks) : status;
    if (status != APR_SUCCESS) {
        return status;
    }
    mark = apr_hash_get(marks, uuid, APR_HASH_KEY_STRING);
    status = docker_container_find(&call, uuid, &container);
    if (status == APR_ENOENT && mark) {
        *instance = leftover(&call, mark, read_at);
        return persona_result_set(res, APR_SUCCESS, NULL, "%s", "");
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    *instance = &container->instance;
    (*instance)->read_at = read_at;
    add_mark(*instance, mark);
    if ((*instance)->state == PERSONA_INSTANCE_GONE) {
        explain_end(&call, container, *instance);
    }
    return APR_SUCCESS;
}

/* ---- stats and resize ---- */

static apr_int64_t integer_at(const json_t *object, const char *a, const char *b, apr_int64_t fallback)
{
    const json_t *value = json_object_get(json_object_get(object, a), b);

    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

/* Podman's update reaches the control group and nothing that Podman tells of afterwards: what was set is what we noted
 * when Podman had said that it was. */
static apr_status_t podman_limits(docker_call_t *call, const docker_container_t *container, int *cpus,
                                  apr_int64_t *memory)
{
    const docker_mark_t *mark;
    apr_hash_t *marks;
    apr_status_t status = docker_marks_read(call, container->instance.uuid, &marks);

    if (status == APR_SUCCESS) {
        mark = apr_hash_get(marks, container->instance.uuid, APR_HASH_KEY_STRING);
        *cpus = mark && mark->cpus ? mark->cpus : container->cpus;
        *memory = mark && mark->memory ? mark->memory : container->memory;
    }
    return status;
}

/* What is set now: cpus rounded up, memory in bytes. APR_ENOENT: it does not run. */
static apr_status_t read_limits(docker_call_t *call, const docker_container_t *container, int *cpus,
                                apr_int64_t *memory)
{
    docker_answer_t answer;
    const json_t *host;
    apr_status_t status;

    if (!container->instance.running) {
        return persona_result_set(call->res, APR_ENOENT, "gone", "instance %s does not run", container->instance.uuid);
    }
    if (docker_is_podman(call->d)) {
        return podman_limits(call, container, cpus, memory);
    }
    status = docker_request(call, "GET", apr_pstrcat(call->p, "/containers/", container->id, "/json", NULL), NULL,
                            &answer, "cannot look at the container");
    if (status == APR_SUCCESS) {
        host = json_object_get(answer.json, "HostConfig");
        *cpus = (int)((json_integer_value(json_object_get(host, "NanoCpus")) + 999999999) / 1000000000);
        *memory = json_integer_value(json_object_get(host, "Memory"));
    }
    return status;
}

static void read_sample(const json_t *json, persona_usage_sample_t *sample)
{
    json_t *stats = json_object_get(json_object_get(json, "memory_stats"), "stats"), *entry;
    json_t *networks = json_object_get(json, "networks");
    json_t *blocks = json_object_get(json_object_get(json, "blkio_stats"), "io_service_bytes_recursive");
    const json_t *cache = json_object_get(stats, "total_inactive_file"); /* cgroups of version 1 */
    const char *name;
    size_t i;

    sample->cpu_time = integer_at(json_object_get(json, "cpu_stats"), "cpu_usage", "total_usage", 0);
    sample->memory = integer_at(json, "memory_stats", "usage", 0);
    /* Pages that the kernel would give back at once are not what the instance needs. */
    cache = cache ? cache : json_object_get(stats, "inactive_file");
    if (json_integer_value(cache) < sample->memory) {
        sample->memory -= json_integer_value(cache);
    }
    sample->rx = sample->tx = json_object_size(networks) ? 0 : -1;
    json_object_foreach(networks, name, entry) {
        sample->rx += json_integer_value(json_object_get(entry, "rx_bytes"));
        sample->tx += json_integer_value(json_object_get(entry, "tx_bytes"));
    }
    sample->read = sample->written = json_array_size(blocks) ? 0 : -1;
    json_array_foreach(blocks, i, entry) {
        const char *op = text_of(entry, "op");
        const apr_int64_t bytes = json_integer_value(json_object_get(entry, "value"));

        sample->read += !strcasecmp(op, "read") ? bytes : 0;
        sample->written += !strcasecmp(op, "write") ? bytes : 0;
    }
}

apr_status_t docker_stats(persona_compute_t *c, const char *uuid, persona_usage_sample_t *sample,
                          persona_result_t *res, apr_pool_t *p)
{
    docker_container_t *container;
    docker_answer_t answer;
    docker_call_t call;
    apr_status_t status;

    if (!uuid_ok(uuid, res)) {
        return APR_ENOENT;
    }
    memset(sample, 0, sizeof(*sample));
    status = docker_begin(&call, c, res, p);
    status = status == APR_SUCCESS ? docker_container_find(&call, uuid, &container) : status;
    status = status == APR_SUCCESS ? read_limits(&call, container, &sample->cpus, &sample->memory_limit) : status;
    if (status != APR_SUCCESS) {
        return status;
    }
    status = docker_request(&call, "GET", apr_pstrcat(p, "/containers/", container->id,
                                                      "/stats?stream=false&one-shot=true", NULL),
                            NULL, &answer, "cannot measure the instance");
    if (status == APR_SUCCESS) {
        read_sample(answer.json, sample);
    }
    return status;
}

static apr_status_t update(docker_call_t *call, const docker_container_t *container, int cpus, apr_int64_t memory)
{
    docker_answer_t answer;
    char libpod[sizeof(call->d->engine.libpod)];
    const char *path;
    json_t *body = json_object();

    if (docker_is_podman(call->d)) {
        /* Its own interface alone has it, with the resources of an OCI runtime as the body. */
        pthread_mutex_lock(&call->d->mutex);
        apr_cpystrn(libpod, call->d->engine.libpod, sizeof(libpod));
        pthread_mutex_unlock(&call->d->mutex);
        path = apr_pstrcat(call->p, libpod, "/containers/", container->id, "/update", NULL);
        if (cpus) {
            json_object_set_new(body, "cpu", json_pack("{s:I, s:i}", "quota", (json_int_t)cpus * 100000, "period",
                                                       100000));
        }
        if (memory) {
            json_object_set_new(body, "memory", json_pack("{s:I, s:I}", "limit", (json_int_t)memory, "swap",
                                                          (json_int_t)memory));
        }
        return docker_request(call, "POST", path, body, &answer, "cannot resize the instance");
    }
    path = apr_pstrcat(call->p, "/containers/", container->id, "/update", NULL);
    if (cpus) {
        json_object_set_new(body, "NanoCpus", json_integer((json_int_t)cpus * 1000000000));
    }
    if (memory) {
        json_object_set_new(body, "Memory", json_integer(memory));
        json_object_set_new(body, "MemorySwap", json_integer(memory));
    }
    return docker_request(call, "POST", path, body, &answer, "cannot resize the instance");
}

apr_status_t docker_resize(persona_compute_t *c, const char *uuid, int *cpus, apr_int64_t *memory,
                           persona_result_t *res, apr_pool_t *p)
{
    docker_container_t *container;
    docker_call_t call, quiet;
    docker_mark_t change = {.cpus = *cpus, .memory = *memory};
    apr_status_t status, read;

    if (!uuid_ok(uuid, res)) {
        return APR_ENOENT;
    }
    status = docker_begin(&call, c, res, p);
    status = status == APR_SUCCESS ? docker_container_find(&call, uuid, &container) : status;
    if (status != APR_SUCCESS) {
        return status;
    }
    if (change.cpus > container->max_cpus || change.memory > container->max_memory) {
        status = persona_result_set(res, APR_EINVAL, "resize", "the instance was made for %d cpus and %" APR_INT64_T_FMT
                                    " bytes at most", container->max_cpus, container->max_memory);
    }
    else if (change.cpus || change.memory) {
        status = update(&call, container, change.cpus, change.memory);
        status = status == APR_SUCCESS ? docker_mark_change(&call, uuid, &change) : status;
    }
    if (status == APR_TIMEUP) {
        return status;
    }
    quiet = call;
    quiet.res = status == APR_SUCCESS ? res : NULL;
    read = read_limits(&quiet, container, cpus, memory);
    return status == APR_SUCCESS ? read : status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file docker_request.c
 * @brief What is sent to the engine: paths, filters, and a persona as a container. No I/O.
 *
 * All text goes into JSON by jansson, into paths by docker_encode(); what an environment or a label cannot hold
 * (control characters, bytes that are not UTF-8, more than DOCKER_TEXT_MAX) is refused by docker_plan_check() before
 * anything is made.
 *
 * WHAT A CONTAINER IS by default: no capability but those of caps=, no new privileges, a root that cannot be written
 * with memory over /run, /tmp, /var/tmp and /home ("root": "copy" has a writable layer instead), no swap, an end to the
 * number of its processes and to its log, nothing of the host mounted. What it is told is in image/README.md; its
 * address is the engine's to give, so it is not told that.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "compute/docker/docker.h"
#include "persona/text.h"

#define WRITABLE_DEFAULT ((apr_int64_t)1 << 30)
#define LOG_MAX "1m"
#define TAR_BLOCK 512

const char *docker_encode(const char *text, apr_pool_t *p)
{
    char *encoded = apr_palloc(p, 3 * strlen(text) + 1), *to = encoded;

    for (; *text; ++text) {
        const unsigned char byte = (unsigned char)*text;

        if (apr_isalnum(byte) || strchr("-._~", byte)) {
            *to++ = (char)byte;
        }
        else {
            to += apr_snprintf(to, 4, "%%%02X", byte);
        }
    }
    *to = '\0';
    return encoded;
}

const char *docker_filters(apr_pool_t *p, ...)
{
    json_t *filters = json_object();
    const char *name, *encoded;
    char *text;
    va_list ap;

    va_start(ap, p);
    while ((name = va_arg(ap, const char *))) {
        json_t *values = json_object_get(filters, name);

        if (!values) {
            values = json_array();
            json_object_set_new(filters, name, values);
        }
        json_array_append_new(values, json_string(va_arg(ap, const char *)));
    }
    va_end(ap);
    text = json_dumps(filters, JSON_COMPACT);
    encoded = docker_encode(text ? text : "{}", p);
    free(text);
    json_decref(filters);
    return encoded;
}

int docker_text_valid(const char *text)
{
    json_t *string = strlen(text) <= DOCKER_TEXT_MAX ? json_string(text) : NULL;

    if (!string) {
        return 0; /* jansson takes UTF-8 only */
    }
    json_decref(string);
    for (; *text; ++text) {
        if (apr_iscntrl((unsigned char)*text)) {
            return 0;
        }
    }
    return 1;
}

/* [HOST[:PORT]/]PATH[:TAG][@DIGEST], or an id. No way up: the engine's client sends it as a path. */
int docker_image_valid(const char *name)
{
    const apr_size_t len = strlen(name);

    if (!len || len > 255 || !apr_isalnum(*name) || strstr(name, "..") || strstr(name, "//") || name[len - 1] == '/') {
        return 0;
    }
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@") == len;
}

/* ---- check ---- */

static int env_name_valid(const char *name)
{
    if (!apr_isalpha(*name) && *name != '_') {
        return 0;
    }
    while (apr_isalnum(*name) || *name == '_') {
        ++name;
    }
    return !*name;
}

static const char *check_env(const apr_table_t *env, apr_pool_t *p)
{
    const apr_array_header_t *entries = env ? apr_table_elts(env) : NULL;

    for (int i = 0; entries && i < entries->nelts; ++i) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(entries, i, apr_table_entry_t);

        if (!env_name_valid(entry->key)) {
            return apr_psprintf(p, "the environment variable name %s is not [A-Za-z_][A-Za-z0-9_]*",
                                persona_text_quote(entry->key, p));
        }
        if (!docker_text_valid(entry->val)) {
            return apr_psprintf(p, "the value of the environment variable %s holds control characters, is not UTF-8 or "
                                "is too long", entry->key);
        }
    }
    return NULL;
}

static const char *image_of(const persona_t *persona)
{
    return persona->environment.os_image ? persona->environment.os_image : persona->source;
}

const char *docker_plan_check(const docker_options_t *options, const persona_t *persona, apr_pool_t *p)
{
    const persona_environment_t *environment = &persona->environment;
    const char *image = image_of(persona), *wrong = check_env(environment->env, p);

    if (wrong) {
        return wrong;
    }
    if (!image || !docker_image_valid(image)) {
        return apr_psprintf(p, "%s is not the name or id of a container image, such as cad/freecad:0.21",
                            persona_text_quote(image ? image : "", p));
    }
    for (int i = 0; environment->command && i < environment->command->nelts; ++i) {
        if (!docker_text_valid(APR_ARRAY_IDX(environment->command, i, const char *))) {
            return "a word of the command holds control characters, is not UTF-8 or is too long";
        }
    }
    if ((persona->title && !docker_text_valid(persona->title))
        || (environment->home_hook && !docker_text_valid(environment->home_hook))) {
        return "the title or the path of the assign hook holds control characters, is not UTF-8 or is too long";
    }
    if (!environment->network || !*environment->network || !strcmp(environment->network, "host")
        || !strcmp(environment->network, "none") || !docker_text_valid(environment->network)) {
        return "a network of the engine is needed, not \"host\" or \"none\": execution_environment.network.name";
    }
    if (!environment->stream_port) {
        return "a container has no screen of a hypervisor: give the port of its stream";
    }
    if (persona->resources.gpu_count && persona->resources.gpu_model
        && (!options->gpu || strcmp(options->gpu, persona->resources.gpu_model))) {
        return apr_psprintf(p, "the engine cannot choose a GPU by its model: say gpu=%s on the PersonaCompute line of "
                            "an engine that has nothing else", persona->resources.gpu_model);
    }
    return NULL;
}

/* ---- the container ---- */

static void add_variable(json_t *env, const char *name, const char *value, apr_pool_t *p)
{
    if (value) {
        json_array_append_new(env, json_string(apr_pstrcat(p, name, "=", value, NULL)));
    }
}

static char *command_text(const apr_array_header_t *command, apr_pool_t *p)
{
    json_t *words = json_array();
    char *text, *copy;

    for (int i = 0; i < command->nelts; ++i) {
        json_array_append_new(words, json_string(APR_ARRAY_IDX(command, i, const char *)));
    }
    text = json_dumps(words, JSON_COMPACT);
    copy = apr_pstrdup(p, text ? text : "[]");
    free(text);
    json_decref(words);
    return copy;
}

static json_t *env_of(const docker_plan_t *plan, apr_pool_t *p)
{
    const persona_environment_t *environment = &plan->persona->environment;
    const apr_array_header_t *entries = environment->env ? apr_table_elts(environment->env) : NULL;
    json_t *env = json_array();

    for (int i = 0; entries && i < entries->nelts; ++i) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(entries, i, apr_table_entry_t);

        if (strncmp(entry->key, "PERSONA_", 8) && strcmp(entry->key, "container")) {
            add_variable(env, entry->key, entry->val, p);
        }
    }
    add_variable(env, "container", "docker", p);
    add_variable(env, "PERSONA_INSTANCE", plan->uuid, p);
    add_variable(env, "PERSONA_ID", plan->persona->id, p);
    add_variable(env, "PERSONA_STREAM_PORT", apr_itoa(p, environment->stream_port), p);
    add_variable(env, "PERSONA_TITLE", plan->persona->title ? plan->persona->title : plan->persona->app_id, p);
    add_variable(env, "PERSONA_HOOK_KEY", plan->hook_key, p);
    if (environment->home_hook) {
        add_variable(env, "PERSONA_HOOK_PORT", apr_itoa(p, environment->home_port), p);
        add_variable(env, "PERSONA_HOOK_PATH", environment->home_hook, p);
    }
    if (environment->command && environment->command->nelts) {
        add_variable(env, "PERSONA_COMMAND", command_text(environment->command, p), p);
    }
    return env;
}

static void label_number(json_t *labels, const char *name, apr_int64_t value, apr_pool_t *p)
{
    json_object_set_new(labels, name, json_string(apr_psprintf(p, "%" APR_INT64_T_FMT, value)));
}

static void label(json_t *labels, const char *name, const char *value)
{
    if (value) {
        json_object_set_new(labels, name, json_string(value));
    }
}

static json_t *labels_of(const docker_plan_t *plan, apr_pool_t *p)
{
    const persona_t *persona = plan->persona;
    json_t *labels = json_object();

    label(labels, "persona.ns", plan->ns);
    label(labels, "persona.uuid", plan->uuid);
    label(labels, "persona.id", persona->id);
    label(labels, "persona.fingerprint", persona->fingerprint);
    label(labels, "persona.reason", plan->reason);
    label(labels, "persona.maker", plan->maker);
    label(labels, "persona.network", persona->environment.network);
    label_number(labels, "persona.created", plan->created, p);
    label_number(labels, "persona.port", persona->environment.stream_port, p);
    label_number(labels, "persona.cpus", persona->resources.cpu, p);
    label_number(labels, "persona.memory", persona->resources.memory, p);
    label_number(labels, "persona.max-cpus", persona->resources.max_cpu, p);
    label_number(labels, "persona.max-memory", persona->resources.max_memory, p);
    return labels;
}

static apr_int64_t writable(const persona_t *persona)
{
    return persona->resources.storage ? persona->resources.storage : WRITABLE_DEFAULT;
}

static json_t *words_of(const apr_array_header_t *words)
{
    json_t *array = json_array();

    for (int i = 0; i < words->nelts; ++i) {
        json_array_append_new(array, json_string(APR_ARRAY_IDX(words, i, const char *)));
    }
    return array;
}

/* Where it may write: in memory, which counts as its own, or a layer of its own on the engine's disk. */
static void set_root(json_t *host, const docker_plan_t *plan, apr_pool_t *p)
{
    const char *size = apr_psprintf(p, "%" APR_INT64_T_FMT, writable(plan->persona));
    json_t *memory;

    if (plan->persona->environment.root == PERSONA_ROOT_COPY) {
        if (plan->quota && plan->persona->resources.storage) {
            json_object_set_new(host, "StorageOpt", json_pack("{s:s}", "size", size));
        }
        return;
    }
    json_object_set_new(host, "ReadonlyRootfs", json_true());
    memory = json_object();
    label(memory, "/run", apr_pstrcat(p, "rw,nosuid,nodev,exec,mode=755,size=", size, NULL));
    label(memory, "/tmp", apr_pstrcat(p, "rw,nosuid,nodev,exec,mode=1777,size=", size, NULL));
    label(memory, "/var/tmp", apr_pstrcat(p, "rw,nosuid,nodev,exec,mode=1777,size=", size, NULL));
    label(memory, "/home", apr_pstrcat(p, "rw,nosuid,nodev,exec,mode=755,size=", size, NULL));
    json_object_set_new(host, "Tmpfs", memory);
}

static json_t *host_of(const docker_plan_t *plan, apr_pool_t *p)
{
    const persona_resources_t *resources = &plan->persona->resources;
    json_t *host = json_pack("{s:I, s:I, s:I, s:i, s:s, s:[s], s:[s], s:o, s:{s:s, s:{s:s, s:s}}, s:{s:s}}",
                             "NanoCpus", (json_int_t)resources->cpu * 1000000000,
                             "Memory", (json_int_t)resources->memory,
                             "MemorySwap", (json_int_t)resources->memory,
                             "PidsLimit", plan->options->pids,
                             "NetworkMode", plan->persona->environment.network,
                             "SecurityOpt", "no-new-privileges",
                             "CapDrop", "ALL",
                             "CapAdd", words_of(plan->options->caps),
                             "LogConfig", "Type", "json-file", "Config", "max-size", LOG_MAX, "max-file", "1",
                             "RestartPolicy", "Name", "no");

    set_root(host, plan, p);
    if (plan->persona->environment.isolated) {
        /* The engine's own resolver answers inside, and asks the host's name servers for the rest. */
        json_object_set_new(host, "Dns", json_pack("[s]", "127.0.0.1"));
    }
    if (resources->gpu_count) {
        json_object_set_new(host, "DeviceRequests", json_pack("[{s:s, s:i, s:[[s]]}]", "Driver", "nvidia", "Count",
                                                              resources->gpu_count, "Capabilities", "gpu"));
    }
    return host;
}

json_t *docker_plan_body(const docker_plan_t *plan, apr_pool_t *p)
{
    const char *network = plan->persona->environment.network;
    json_t *body = json_pack("{s:s, s:s, s:o, s:o, s:o, s:{s:{s:{}}}}",
                             "Image", plan->image,
                             "Hostname", apr_pstrcat(p, "persona-", apr_pstrndup(p, plan->uuid, 8), NULL),
                             "Env", env_of(plan, p),
                             "Labels", labels_of(plan, p),
                             "HostConfig", host_of(plan, p),
                             "NetworkingConfig", "EndpointsConfig", network);

    if (body && !plan->has_command) {
        json_object_set_new(body, "Cmd", json_pack("[s]", "/sbin/persona-init"));
    }
    return body;
}

/* ---- what comes out of an image ---- */

const char *docker_tar_file(const char *tar, apr_size_t len, apr_size_t *size)
{
    apr_size_t at = 0;

    while (len - at >= TAR_BLOCK && tar[at]) {
        char octal[12 + 1], type = tar[at + 156];
        char *end;
        unsigned long long bytes;

        memcpy(octal, tar + at + 124, 12);
        octal[12] = '\0';
        bytes = strtoull(octal, &end, 8);
        at += TAR_BLOCK;
        if ((*end && *end != ' ') || end == octal || bytes > len - at) {
            return NULL;
        }
        if (type == '0' || !type) {
            *size = (apr_size_t)bytes;
            return tar + at;
        }
        bytes = (bytes + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
        if (bytes > len - at) {
            return NULL;
        }
        at += (apr_size_t)bytes;
    }
    return NULL;
}

int docker_packages_have(const char *list, apr_size_t len, const char *name)
{
    static const char field[] = "Package: ";
    const apr_size_t name_len = strlen(name);
    const char *end = list + len;

    for (const char *line = list, *next; line < end; line = next + 1) {
        const char *word = line;

        next = memchr(line, '\n', (apr_size_t)(end - line));
        next = next ? next : end;
        if (next - word > (ptrdiff_t)sizeof(field) - 1 && !memcmp(word, field, sizeof(field) - 1)) {
            word += sizeof(field) - 1;
        }
        if (next - word == (ptrdiff_t)name_len && !memcmp(word, name, name_len)) {
            return 1;
        }
    }
    return 0;
}

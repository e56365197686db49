/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file docker.c
 * @brief The Docker provider: its options, opening it, what the engine has. Podman answers on the same interface.
 *
 *     PersonaCompute NAME docker unix:///run/docker.sock [OPTION=VALUE ...]
 *     PersonaCompute NAME docker https://host:2376 ca=FILE cert=FILE key=FILE [OPTION=VALUE ...]
 *
 * | option | default  | meaning |
 * | ------ | -------- | ------- |
 * | ca=    | the system's | file with the certificate authority of the engine |
 * | cert=, key= | (none) | files with our certificate and its key, with which the engine knows us |
 * | caps=  | CHOWN;DAC_OVERRIDE;FOWNER;KILL;SETGID;SETUID | capabilities that root inside keeps; none: not one |
 * | pids=  | 4096     | most processes and threads of an instance |
 * | gpu=   | (none)   | model of the engine's GPUs, which all are the same |
 * | boots= | 4        | how many instances boot at a time (the manager's doing) |
 *
 * Several engines are several PersonaCompute lines. No call needs a thread: each is a few requests with a time.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <curl/curl.h>

#include "compute/docker/docker.h"
#include "persona/text.h"

#define CAPS_DEFAULT "CHOWN;DAC_OVERRIDE;FOWNER;KILL;SETGID;SETUID"
#define PIDS_DEFAULT 4096
#define PIDS_MAX 4194304

static const char *const option_names[] = {"ca", "cert", "key", "caps", "pids", "gpu", "boots", NULL};

/* ---- options ---- */

static const char *parse_caps(docker_options_t *options, const char *text, apr_pool_t *p)
{
    apr_array_header_t *caps = apr_array_make(p, 8, sizeof(const char *));
    char *last, *word, *copy = apr_pstrdup(p, strcmp(text, "none") ? text : "");

    for (word = apr_strtok(copy, ";", &last); word; word = apr_strtok(NULL, ";", &last)) {
        if (strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != strlen(word) || !strncmp(word, "CAP_", 4)) {
            return apr_psprintf(p, "caps=%s: must be names of capabilities without CAP_, such as " CAPS_DEFAULT
                                ", or none", text);
        }
        APR_ARRAY_PUSH(caps, const char *) = word;
    }
    options->caps = caps;
    return NULL;
}

static const char *parse_number(const char *name, const char *text, int max, int *result, apr_pool_t *p)
{
    const apr_size_t len = strlen(text);

    if (len < 1 || len > 7 || strspn(text, "0123456789") != len || atoi(text) < 1 || atoi(text) > max) {
        return apr_psprintf(p, "%s=%s: must be a number from 1 to %d", name, text, max);
    }
    *result = atoi(text);
    return NULL;
}

/* Neither a path nor anything else behind host and port. */
static int authority_valid(const char *text)
{
    const char *colon = strrchr(text, ':');
    const apr_size_t len = strlen(text);

    if (!len || len > 255 || (*text != '[' && !apr_isalnum(*text))) {
        return 0;
    }
    if (colon && !strchr(colon, ']')
        && (!colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) || atoi(colon + 1) > 65535)) {
        return 0;
    }
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") == len;
}

static const char *parse_address(docker_options_t *options, const char *address, apr_pool_t *p)
{
    if (!strncmp(address, "unix:///", 8) && address[8] && docker_text_valid(address) && strlen(address + 7) < 108) {
        options->socket = address + 7;
        options->base = "http://engine";
        return NULL;
    }
    if (!strncmp(address, "https://", 8) && authority_valid(address + 8)) {
        options->base = address;
        return NULL;
    }
    if (!strncmp(address, "tcp://", 6) || !strncmp(address, "http://", 7)) {
        return apr_psprintf(p, "%s: whoever can read along can be root on that host: use https:// with ca=, cert= and "
                            "key=", persona_text_quote(address, p));
    }
    return apr_psprintf(p, "%s is not the address of a Docker engine: unix:///run/docker.sock or https://HOST:2376",
                        persona_text_quote(address, p));
}

static const char *parse_option(docker_options_t *options, const char *name, const char *value, apr_pool_t *p)
{
    const char *near;
    int ignored;

    if (!docker_text_valid(value)) {
        return apr_psprintf(p, "%s=: control characters, or not UTF-8", name);
    }
    if (!strcmp(name, "ca") || !strcmp(name, "cert") || !strcmp(name, "key")) {
        *(!strcmp(name, "ca") ? &options->ca : !strcmp(name, "cert") ? &options->cert : &options->key) = value;
        return *value == '/' ? NULL : apr_psprintf(p, "%s=%s: must be an absolute path", name, value);
    }
    if (!strcmp(name, "caps")) {
        return parse_caps(options, value, p);
    }
    if (!strcmp(name, "pids")) {
        return parse_number(name, value, PIDS_MAX, &options->pids, p);
    }
    if (persona_compute_limit(name)) {
        return NULL; /* looked at for every provider */
    }
    if (!strcmp(name, "boots")) {
        return parse_number(name, value, 64, &ignored, p);
    }
    if (!strcmp(name, "gpu")) {
        options->gpu = value;
        return *value ? NULL : "gpu=: must be the model of the engine's GPUs";
    }
    near = persona_text_nearest(name, option_names);
    return near ? apr_psprintf(p, "unknown option %s; did you mean %s=?", persona_text_quote(name, p), near)
                : apr_psprintf(p, "unknown option %s; known are %s", persona_text_quote(name, p),
                               persona_text_choices(option_names, p));
}

static const char *parse_conf(const persona_compute_conf_t *conf, docker_options_t **result, apr_pool_t *p)
{
    docker_options_t *options = apr_pcalloc(p, sizeof(*options));
    const apr_array_header_t *entries = conf->options ? apr_table_elts(conf->options) : NULL;
    const char *wrong = parse_address(options, conf->address ? conf->address : "", p);

    options->pids = PIDS_DEFAULT;
    parse_caps(options, CAPS_DEFAULT, p);
    for (int i = 0; !wrong && entries && i < entries->nelts; ++i) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(entries, i, apr_table_entry_t);

        wrong = parse_option(options, entry->key, entry->val, p);
    }
    if (!wrong && options->socket && (options->ca || options->cert || options->key)) {
        wrong = "ca=, cert= and key= are for https://";
    }
    if (!wrong && !options->cert != !options->key) {
        wrong = "cert= and key= go together";
    }
    *result = options;
    return wrong;
}

static const char *check_conf(const persona_compute_conf_t *conf, apr_pool_t *p)
{
    docker_options_t *options;

    return parse_conf(conf, &options, p);
}

static const char *check_persona(const persona_compute_conf_t *conf, const persona_t *persona, apr_pool_t *p)
{
    docker_options_t *options;
    const char *wrong = parse_conf(conf, &options, p);

    return wrong ? wrong : docker_plan_check(options, persona, p);
}

/* ---- open and close ---- */

static pthread_once_t process_once = PTHREAD_ONCE_INIT;

static void process_start(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static apr_status_t open_compute(persona_compute_t **c, const persona_compute_conf_t *conf, const char *ns,
                                 apr_interval_time_t timeout, persona_result_t *res, apr_pool_t *parent)
{
    docker_options_t *options;
    persona_compute_conf_t *copy;
    const char *wrong;
    apr_pool_t *p;
    docker_t *d;

    (void)parent;
    pthread_once(&process_once, process_start);
    apr_pool_create_unmanaged(&p);
    d = apr_pcalloc(p, sizeof(*d));
    copy = apr_pmemdup(p, conf, sizeof(*conf));
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
    d->head.provider = &persona_docker_provider;
    d->head.conf = copy;
    d->head.ns = apr_pstrdup(p, ns);
    d->head.timeout = timeout;
    d->pool = p;
    d->options = options;
    d->checked = apr_table_make(p, 4);
    pthread_mutex_init(&d->mutex, NULL);
    if (docker_events_start(d) != APR_SUCCESS) {
        pthread_mutex_destroy(&d->mutex);
        apr_pool_destroy(p);
        return persona_result_set(res, APR_EGENERAL, "engine", "the thread of the events cannot be started");
    }
    *c = &d->head;
    return APR_SUCCESS;
}

static void close_compute(persona_compute_t *c)
{
    docker_t *d = (docker_t *)c;

    docker_events_stop(d);
    docker_http_close(d);
    pthread_mutex_destroy(&d->mutex);
    apr_pool_destroy(d->pool);
}

/* ---- capacity ---- */

/* Of the namespace as they are now; of others, whose marks are not ours to read, as they were made. */
static apr_status_t capacity(persona_compute_t *c, persona_capacity_t *cap, persona_result_t *res, apr_pool_t *p)
{
    docker_answer_t answer;
    docker_call_t call;
    apr_hash_t *marks;
    json_t *container;
    size_t i;
    apr_status_t status = docker_begin(&call, c, res, p);

    memset(cap, 0, sizeof(*cap));
    status = status == APR_SUCCESS ? docker_request(&call, "GET", "/info", NULL, &answer, "cannot ask for the capacity")
                                   : status;
    if (status != APR_SUCCESS) {
        return status;
    }
    cap->cpus = (int)json_integer_value(json_object_get(answer.json, "NCPU"));
    cap->memory = json_integer_value(json_object_get(answer.json, "MemTotal"));
    status = docker_marks_read(&call, NULL, &marks);
    status = status == APR_SUCCESS ? docker_request(&call, "GET", apr_pstrcat(p, "/containers/json?filters=",
                                     docker_filters(p, "label", "persona.ns", NULL), NULL), NULL, &answer,
                                     "cannot list containers")
                                   : status;
    if (status != APR_SUCCESS) {
        return status;
    }
    json_array_foreach(answer.json, i, container) {
        const json_t *labels = json_object_get(container, "Labels");
        const char *uuid = json_string_value(json_object_get(labels, "persona.uuid"));
        const char *cpus = json_string_value(json_object_get(labels, "persona.cpus"));
        const char *memory = json_string_value(json_object_get(labels, "persona.memory"));
        const docker_mark_t *mark = uuid ? apr_hash_get(marks, uuid, APR_HASH_KEY_STRING) : NULL;

        cap->cpus_used += mark && mark->cpus ? mark->cpus : cpus ? atoi(cpus) : 0;
        cap->memory_used += mark && mark->memory ? mark->memory : memory ? apr_atoi64(memory) : 0;
    }
    return APR_SUCCESS;
}

const persona_compute_provider_t persona_docker_provider = {
    .name = "docker",
    .check_conf = check_conf,
    .check_persona = check_persona,
    .open = open_compute,
    .close = close_compute,
    .watch = docker_watch,
    .capacity = capacity,
    .list = docker_list,
    .inspect = docker_inspect,
    .create = docker_create,
    .mark = docker_mark,
    .fence = docker_fence,
    .fence_holder = docker_fence_holder,
    .fence_session = docker_fence_session,
    .fences = docker_fences,
    .unfence = docker_unfence,
    .destroy = docker_destroy,
    .stats = docker_stats,
    .resize = docker_resize,
};

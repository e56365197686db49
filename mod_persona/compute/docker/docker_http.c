/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file docker_http.c
 * @brief One request to the engine: over its unix socket, or by TLS with a client certificate.
 *
 * Every call of the provider has a time, and each of its requests what is left of it. Handles are kept with their
 * connections and used by one thread at a time. A kept connection that the engine has closed meanwhile is replaced by
 * libcurl, which sends the request once more: every request may be sent twice.
 *
 * A request that failed after it was sent may have been done: that is APR_TIMEUP, "unknown", as when no answer came in
 * time. The engine's answers are bounded; proxies of the environment are not asked.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <curl/curl.h>

#include "compute/docker/docker.h"

/** Largest answer: some 20000 containers. */
#define ANSWER_MAX ((apr_size_t)32 << 20)
/** Longest line of /events. */
#define LINE_MAX_BYTES ((apr_size_t)1 << 20)
/** The newest version of the interface that this provider was written for; an older engine is asked in its own. */
#define VERSION_MINOR 41

typedef struct buffer_t {
    char *data;
    apr_size_t len, size, max;
} buffer_t;

apr_time_t docker_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return apr_time_from_sec(now.tv_sec) + now.tv_nsec / 1000;
}

static size_t buffer_write(char *data, size_t size, size_t count, void *baton)
{
    buffer_t *buffer = baton;
    const apr_size_t len = size * count;

    if (len > buffer->max - buffer->len) {
        return 0;
    }
    if (buffer->len + len + 1 > buffer->size) {
        const apr_size_t room = 2 * (buffer->len + len) + 4096;
        char *grown = realloc(buffer->data, room);

        if (!grown) {
            return 0;
        }
        buffer->data = grown;
        buffer->size = room;
    }
    memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
    buffer->data[buffer->len] = '\0';
    return len;
}

/* ---- handles ---- */

static CURL *handle_get(docker_t *d)
{
    CURL *curl = NULL;

    pthread_mutex_lock(&d->mutex);
    if (d->idle_count) {
        curl = d->idle[--d->idle_count];
    }
    pthread_mutex_unlock(&d->mutex);
    return curl ? curl : curl_easy_init();
}

static void handle_put(docker_t *d, CURL *curl)
{
    pthread_mutex_lock(&d->mutex);
    if (d->idle_count < DOCKER_IDLE_MAX && !d->closing) {
        d->idle[d->idle_count++] = curl;
        curl = NULL;
    }
    pthread_mutex_unlock(&d->mutex);
    if (curl) {
        curl_easy_cleanup(curl);
    }
}

void docker_http_close(docker_t *d)
{
    while (d->idle_count) {
        curl_easy_cleanup(d->idle[--d->idle_count]);
    }
}

static void handle_prepare(const docker_t *d, CURL *curl, const char *url, char *error)
{
    const docker_options_t *options = d->options;

    curl_easy_reset(curl); /* keeps its connection */
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    if (options->socket) {
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, options->socket);
        return;
    }
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, 10L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPINTVL, 5L);
    if (options->ca) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca);
    }
    if (options->cert) {
        curl_easy_setopt(curl, CURLOPT_SSLCERT, options->cert);
        curl_easy_setopt(curl, CURLOPT_SSLKEY, options->key);
    }
}

/* ---- one request ---- */

static apr_status_t json_free(void *data)
{
    json_decref(data);
    return APR_SUCCESS;
}

/* The transfer did not end well. What was certainly not sent was certainly not done. */
static apr_status_t not_answered(docker_call_t *call, CURLcode code, const char *error, const char *what)
{
    const char *address = call->d->head.conf->address, *words = *error ? error : curl_easy_strerror(code);

    /* With TLS 1.3 a server refuses the client's certificate when the client has done its part already. */
    if (!call->d->options->socket && (code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR) && strstr(error, "alert")) {
        code = CURLE_SSL_CERTPROBLEM;
    }
    switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return persona_result_set(call->res, APR_ECONNREFUSED, "engine-down", "the engine at %s does not answer: %s",
                                  address, words);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return persona_result_set(call->res, APR_EACCES, "engine-tls", "the engine at %s cannot be trusted, or does "
                                  "not trust us: %s", address, words);
    case CURLE_OPERATION_TIMEDOUT:
        return persona_result_set(call->res, APR_TIMEUP, "engine-slow", "%s: the engine at %s did not answer within "
                                  "%" APR_INT64_T_FMT " ms", what, address, apr_time_as_msec(call->d->head.timeout));
    case CURLE_WRITE_ERROR:
        return persona_result_set(call->res, APR_TIMEUP, "engine", "%s: the answer of the engine at %s is too long",
                                  what, address);
    default:
        return persona_result_set(call->res, APR_TIMEUP, "connection-lost", "%s: %s", what, words);
    }
}

/* Podman says {"message","cause"}, Docker {"message"}; a proxy in between may say anything. */
static apr_status_t refused(docker_call_t *call, const docker_answer_t *answer, const char *what)
{
    const char *words = json_string_value(json_object_get(answer->json, "message"));
    apr_status_t status = APR_EGENERAL;
    const char *problem = "engine";

    switch (answer->code) {
    case 400: status = APR_EINVAL; problem = "refused"; break;
    case 401:
    case 403: status = APR_EACCES; problem = "denied"; break;
    case 404: status = APR_ENOENT; problem = "gone"; break;
    case 409: status = APR_EEXIST; problem = "conflict"; break;
    default: break;
    }
    return persona_result_set(call->res, status, problem, "%s: %s (HTTP status %ld)", what, words ? words : "no reason",
                              answer->code);
}

static apr_status_t take_answer(docker_call_t *call, CURL *curl, buffer_t *buffer, docker_answer_t *answer)
{
    memset(answer, 0, sizeof(*answer));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->code);
    answer->len = buffer->len;
    answer->body = buffer->len ? apr_pstrmemdup(call->p, buffer->data, buffer->len) : "";
    if (buffer->len && (*buffer->data == '{' || *buffer->data == '[')) {
        answer->json = json_loadb(buffer->data, buffer->len, 0, NULL);
        apr_pool_cleanup_register(call->p, answer->json, json_free, apr_pool_cleanup_null);
    }
    return (answer->code >= 200 && answer->code < 300) || answer->code == 304 ? APR_SUCCESS : APR_EGENERAL;
}

/* The body's text belongs to the caller, who frees it after the transfer. */
static struct curl_slist *set_body(CURL *curl, const char *method, const char *text)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");

    if (text) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
    }
    else if (!strcmp(method, "POST")) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    return headers;
}

static apr_status_t send_request(docker_call_t *call, const char *method, const char *url, char *text,
                                 docker_answer_t *answer, const char *what)
{
    const apr_interval_time_t left = call->until - docker_now();
    buffer_t buffer = {.max = ANSWER_MAX};
    char error[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers;
    apr_status_t status;
    CURLcode code = CURLE_OPERATION_TIMEDOUT;
    CURL *curl;

    if (left < apr_time_from_msec(1)) {
        return not_answered(call, code, "", what);
    }
    if (!(curl = handle_get(call->d))) {
        return persona_result_set(call->res, APR_ENOMEM, "engine", "libcurl cannot be used");
    }
    handle_prepare(call->d, curl, url, error);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)apr_time_as_msec(left));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, buffer_write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &buffer);
    headers = set_body(curl, method, text);
    code = curl_easy_perform(curl);
    if (code != CURLE_OK) {
        status = not_answered(call, code, error, what);
    }
    else {
        status = take_answer(call, curl, &buffer, answer);
        status = status == APR_SUCCESS ? status : refused(call, answer, what);
    }
    curl_slist_free_all(headers);
    handle_put(call->d, curl);
    free(buffer.data);
    return status;
}

static const char *version_of(docker_t *d, apr_pool_t *p)
{
    const char *version;

    pthread_mutex_lock(&d->mutex);
    version = apr_pstrdup(p, d->engine.version);
    pthread_mutex_unlock(&d->mutex);
    return version;
}

int docker_is_podman(docker_t *d)
{
    int podman;

    pthread_mutex_lock(&d->mutex);
    podman = d->engine.podman;
    pthread_mutex_unlock(&d->mutex);
    return podman;
}

static void engine_forget(docker_t *d)
{
    pthread_mutex_lock(&d->mutex);
    d->engine.known = 0;
    pthread_mutex_unlock(&d->mutex);
}

apr_status_t docker_request(docker_call_t *call, const char *method, const char *path, json_t *body,
                            docker_answer_t *answer, const char *what)
{
    const int versioned = path[1] == 'v' && apr_isdigit(path[2]);
    const char *url = apr_pstrcat(call->p, call->d->options->base, versioned ? "" : version_of(call->d, call->p), path,
                                  NULL);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    apr_status_t status;

    if (body && !text) {
        json_decref(body);
        return persona_result_set(call->res, APR_EINVAL, "engine", "%s: it cannot be written as JSON", what);
    }
    json_decref(body);
    status = send_request(call, method, url, text, answer, what);
    free(text);
    if (status == APR_ECONNREFUSED) {
        engine_forget(call->d);
    }
    return status;
}

/* ---- who the engine is ---- */

static int is_podman(const json_t *version)
{
    const json_t *components = json_object_get(version, "Components"), *component;
    size_t i;

    json_array_foreach(components, i, component) {
        const char *name = json_string_value(json_object_get(component, "Name"));

        if (name && !strncmp(name, "Podman", 6)) {
            return 1;
        }
    }
    return 0;
}

/* Sessions live through a restart of dockerd only where it leaves containers alone. Podman has no daemon that could
 * take them with it. */
static void warn_of_restarts(docker_t *d, const json_t *info)
{
    int warn;

    pthread_mutex_lock(&d->mutex);
    warn = !d->warned && !json_is_true(json_object_get(info, "LiveRestoreEnabled"));
    d->warned |= warn;
    pthread_mutex_unlock(&d->mutex);
    if (warn) {
        persona_log(PERSONA_LOG_WARNING, 0, "compute %s: this dockerd has no live-restore: a restart of it ends every "
                    "session; set \"live-restore\": true in /etc/docker/daemon.json", d->head.conf->name);
    }
}

/* The version of its interface that we use: ours, or the nearest that it has. 0: it is no Docker engine. */
static int choose_version(docker_engine_t *engine, const json_t *version)
{
    const char *least = json_string_value(json_object_get(version, "MinAPIVersion"));
    const char *most = json_string_value(json_object_get(version, "ApiVersion"));
    unsigned major, minor;

    if (!most || sscanf(most, "%3u.%5u", &major, &minor) != 2 || major != 1) {
        return 0;
    }
    minor = minor < VERSION_MINOR ? minor : VERSION_MINOR;
    if (least && sscanf(least, "1.%5u", &major) == 1 && major > minor) {
        minor = major;
    }
    apr_snprintf(engine->version, sizeof(engine->version), "/v1.%u", minor);
    return 1;
}

static apr_status_t engine_ask(docker_call_t *call)
{
    const char *base = call->d->options->base, *text;
    docker_engine_t engine = {.known = 1};
    docker_answer_t answer;
    apr_status_t status = send_request(call, "GET", apr_pstrcat(call->p, base, "/version", NULL), NULL, &answer,
                                       "cannot ask the engine for its version");

    if (status != APR_SUCCESS) {
        return status;
    }
    if (!choose_version(&engine, answer.json)) {
        return persona_result_set(call->res, APR_EGENERAL, "engine", "what answers at %s is no Docker engine",
                                  call->d->head.conf->address);
    }
    engine.podman = is_podman(answer.json);
    text = json_string_value(json_object_get(answer.json, "Version"));
    if (engine.podman && text && strspn(text, "0123456789.") == strlen(text)) {
        apr_snprintf(engine.libpod, sizeof(engine.libpod), "/v%.10s/libpod", text);
    }
    apr_cpystrn(engine.host, call->d->head.conf->address, sizeof(engine.host));
    /* Podman runs other programs for this, which takes a busy host seconds, and says nothing that is wanted. */
    if (!engine.podman) {
        status = send_request(call, "GET", apr_pstrcat(call->p, base, engine.version, "/info", NULL), NULL, &answer,
                              "cannot ask the engine for its state");
        if (status != APR_SUCCESS) {
            return status;
        }
        text = json_string_value(json_object_get(answer.json, "Name"));
        apr_cpystrn(engine.host, text ? text : "", sizeof(engine.host));
        warn_of_restarts(call->d, answer.json);
    }
    pthread_mutex_lock(&call->d->mutex);
    call->d->engine = engine;
    pthread_mutex_unlock(&call->d->mutex);
    return APR_SUCCESS;
}

apr_status_t docker_begin(docker_call_t *call, persona_compute_t *c, persona_result_t *res, apr_pool_t *p)
{
    docker_t *d = (docker_t *)c;
    int known;

    *call = (docker_call_t){.d = d, .until = docker_now() + c->timeout, .res = res, .p = p};
    pthread_mutex_lock(&d->mutex);
    known = d->engine.known;
    pthread_mutex_unlock(&d->mutex);
    return known ? APR_SUCCESS : engine_ask(call);
}

/* ---- events ---- */

typedef struct stream_t {
    docker_t *d;
    buffer_t line;
    void (*cb)(docker_t *d, char *text, apr_size_t len);
} stream_t;

/* Each event is a line of JSON. */
static size_t stream_write(char *data, size_t size, size_t count, void *baton)
{
    stream_t *stream = baton;
    char *end;

    if (buffer_write(data, size, count, &stream->line) != size * count) {
        return 0;
    }
    while ((end = memchr(stream->line.data, '\n', stream->line.len))) {
        const apr_size_t len = (apr_size_t)(end - stream->line.data);

        *end = '\0';
        stream->cb(stream->d, stream->line.data, len);
        stream->line.len -= len + 1;
        memmove(stream->line.data, end + 1, stream->line.len + 1);
    }
    return size * count;
}

static int stream_closing(void *baton, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t e)
{
    docker_t *d = baton;
    int closing;

    (void)a;
    (void)b;
    (void)c;
    (void)e;
    pthread_mutex_lock(&d->mutex);
    closing = d->closing;
    pthread_mutex_unlock(&d->mutex);
    return closing;
}

void docker_http_events(docker_t *d, const char *path, void (*line)(docker_t *d, char *text, apr_size_t len))
{
    stream_t stream = {.d = d, .line = {.max = LINE_MAX_BYTES}, .cb = line};
    char error[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    apr_pool_t *p;

    if (!curl || apr_pool_create_unmanaged(&p) != APR_SUCCESS) {
        curl_easy_cleanup(curl);
        return;
    }
    handle_prepare(d, curl, apr_pstrcat(p, d->options->base, version_of(d, p), path, NULL), error);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)apr_time_as_msec(d->head.timeout));
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, stream_write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &stream);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, stream_closing);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, d);
    curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    free(stream.line.data);
    apr_pool_destroy(p);
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file shared.c
 * @brief The provider "fake": every operation is one question to the server of shared.h.
 *
 * A connection belongs to the call that took it; between calls it lies in `idle`, under `lock`. Whoever links
 * this file has the provider in the table before main() begins.
 */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <apr_strings.h>

#include "shared.h"

#define IDLE_MAX 128
#define COPY(to, from) apr_cpystrn((to), (from) ? (from) : "", sizeof(to))
#define TEXT(from) (*(from) ? apr_pstrdup(p, (from)) : NULL)

typedef struct shared_compute_t {
    persona_compute_t head;
    pthread_mutex_t lock;
    int idle[IDLE_MAX], idle_count;
} shared_compute_t;

/* ---- the wire ---- */

static int connect_to(const char *path, apr_interval_time_t timeout)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {(time_t)apr_time_sec(timeout), (suseconds_t)apr_time_usec(timeout)};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    apr_cpystrn(address.sun_path, path, sizeof(address.sun_path));
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int receive(int fd, void *data, size_t length)
{
    char *at = data;

    while (length > 0) {
        ssize_t n = recv(fd, at, length, 0);

        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return 0;
        }
        at += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
    return 1;
}

/** One question and its answer. 0: the connection is good for nothing any more. */
static int exchange(int fd, const shared_ask_t *ask, shared_answer_t *answer, void **data, apr_pool_t *p)
{
    if (send(fd, ask, sizeof(*ask), MSG_NOSIGNAL) != (ssize_t)sizeof(*ask) || !receive(fd, answer, sizeof(*answer))) {
        return 0;
    }
    *data = apr_palloc(p, answer->length + 1);
    ((char *)*data)[answer->length] = '\0';
    return receive(fd, *data, answer->length);
}

/** APR_TIMEUP: asked, and not answered. */
static apr_status_t call(persona_compute_t *c, const shared_ask_t *ask, void **data, apr_uint32_t *length,
                         persona_result_t *res, apr_pool_t *p)
{
    shared_compute_t *shared = (shared_compute_t *)c;
    shared_answer_t answer = {APR_TIMEUP, 0};
    void *unused;
    int fd = -1;

    pthread_mutex_lock(&shared->lock);
    if (shared->idle_count > 0) {
        fd = shared->idle[--shared->idle_count];
    }
    pthread_mutex_unlock(&shared->lock);
    if (fd < 0) {
        fd = connect_to(c->conf->address, c->timeout);
    }
    if (fd < 0) {
        return persona_result_set(res, APR_ECONNREFUSED, "fake", "the fake compute does not answer");
    }
    if (!exchange(fd, ask, &answer, data ? data : &unused, p)) {
        close(fd);
        return persona_result_set(res, APR_TIMEUP, "fake", "the fake compute did not answer in time");
    }
    if (length) {
        *length = answer.length;
    }
    pthread_mutex_lock(&shared->lock);
    if (shared->idle_count < IDLE_MAX) {
        shared->idle[shared->idle_count++] = fd;
        fd = -1;
    }
    pthread_mutex_unlock(&shared->lock);
    if (fd >= 0) {
        close(fd);
    }
    return answer.status == APR_SUCCESS || answer.status == APR_ENOENT || answer.status == APR_EEXIST
               ? answer.status
               : persona_result_set(res, answer.status, "fake", "the fake compute was told to fail");
}

const char *shared_tell(const char *socket, const char *words, apr_pool_t *p)
{
    shared_ask_t ask = {.op = SHARED_TELL};
    shared_answer_t answer = {0, 0};
    void *text = NULL;
    int fd = connect_to(socket, apr_time_from_sec(30)), good;

    if (fd < 0) {
        return NULL;
    }
    COPY(ask.instance.reason, words);
    good = exchange(fd, &ask, &answer, &text, p) && answer.status == APR_SUCCESS;
    close(fd);
    return good ? text : NULL;
}

/* ---- the provider ---- */

static apr_status_t shared_open(persona_compute_t **c, const persona_compute_conf_t *conf, const char *ns,
                                apr_interval_time_t timeout, persona_result_t *res, apr_pool_t *p)
{
    shared_compute_t *shared = apr_pcalloc(p, sizeof(*shared));

    (void)res;
    pthread_mutex_init(&shared->lock, NULL);
    shared->head.provider = &shared_provider;
    shared->head.conf = conf;
    shared->head.ns = ns;
    shared->head.timeout = timeout;
    *c = &shared->head;
    return APR_SUCCESS;
}

static void shared_close(persona_compute_t *c)
{
    shared_compute_t *shared = (shared_compute_t *)c;

    while (shared->idle_count > 0) {
        close(shared->idle[--shared->idle_count]);
    }
}

static void shared_watch(persona_compute_t *c, persona_compute_event_cb *cb, void *baton)
{
    (void)c;
    (void)cb;
    (void)baton;
}

/** Each has an address of its own on the loopback, as far as 24 bits of its uuid tell them apart. */
static const char *address_of(const char *uuid, apr_pool_t *p)
{
    unsigned long n = strtoul(uuid + 30, NULL, 16) + 1;

    return apr_psprintf(p, "127.%lu.%lu.%lu", n >> 16 & 127, n >> 8 & 255, n & 255);
}

static persona_instance_t *view(persona_compute_t *c, const fake_instance_t *f, apr_time_t read_at, apr_pool_t *p)
{
    persona_instance_t *i = apr_pcalloc(p, sizeof(*i));

    i->uuid = apr_pstrdup(p, f->uuid);
    i->persona_id = apr_pstrdup(p, f->persona_id);
    i->fingerprint = apr_pstrdup(p, f->fingerprint);
    i->compute = c->conf->name;
    i->host = "fake";
    i->state = f->state;
    i->running = f->running;
    i->session = TEXT(f->session);
    i->user = TEXT(f->user);
    i->app = TEXT(f->app);
    i->reason = TEXT(f->reason);
    i->maker = TEXT(f->maker);
    i->created = f->created;
    i->ready_at = f->ready_at;
    i->assigned_at = f->assigned_at;
    i->retiring_at = f->retiring_at;
    i->address = f->port ? address_of(f->uuid, p) : NULL;
    i->hook_address = i->address;
    i->port = f->port;
    i->read_at = read_at;
    return i;
}

static apr_status_t shared_list(persona_compute_t *c, apr_array_header_t **instances, persona_result_t *res,
                                apr_pool_t *p)
{
    shared_ask_t ask = {.op = FAKE_LIST};
    apr_time_t read_at = apr_time_now();
    apr_uint32_t length = 0, n;
    void *data = NULL;
    apr_status_t status = call(c, &ask, &data, &length, res, p);

    *instances = apr_array_make(p, 8, sizeof(persona_instance_t *));
    for (n = 0; status == APR_SUCCESS && n < length / sizeof(fake_instance_t); n++) {
        APR_ARRAY_PUSH(*instances, persona_instance_t *) = view(c, (fake_instance_t *)data + n, read_at, p);
    }
    return status;
}

static apr_status_t shared_inspect(persona_compute_t *c, const char *uuid, persona_instance_t **instance,
                                   persona_result_t *res, apr_pool_t *p)
{
    shared_ask_t ask = {.op = FAKE_INSPECT};
    apr_time_t read_at = apr_time_now();
    void *data = NULL;
    apr_status_t status;

    COPY(ask.fence.name, uuid);
    status = call(c, &ask, &data, NULL, res, p);
    if (status == APR_SUCCESS) {
        *instance = view(c, data, read_at, p);
    }
    return status;
}

static apr_status_t shared_create(persona_compute_t *c, const persona_t *persona, const persona_create_t *how,
                                  persona_result_t *res, apr_pool_t *p)
{
    shared_ask_t ask = {.op = FAKE_CREATE};
    fake_instance_t *f = &ask.instance;

    COPY(f->uuid, how->uuid);
    COPY(f->persona_id, persona->id);
    COPY(f->fingerprint, persona->fingerprint);
    COPY(f->reason, how->reason);
    COPY(f->maker, how->maker);
    return call(c, &ask, NULL, NULL, res, p);
}

static apr_status_t shared_mark(persona_compute_t *c, const char *uuid, const persona_mark_t *mark,
                                persona_result_t *res, apr_pool_t *p)
{
    shared_ask_t ask = {.op = FAKE_MARK};
    fake_instance_t *f = &ask.instance;

    COPY(f->uuid, uuid);
    f->state = mark->state;
    COPY(f->session, mark->session);
    COPY(f->user, mark->user);
    COPY(f->app, mark->app);
    COPY(f->reason, mark->reason);
    f->ready_at = mark->ready_at;
    f->assigned_at = mark->assigned_at;
    f->retiring_at = mark->retiring_at;
    return call(c, &ask, NULL, NULL, res, p);
}

static apr_status_t shared_fence(persona_compute_t *c, const char *name, const char *session, persona_result_t *res,
                                 apr_pool_t *p)
{
    shared_ask_t ask = {.op = FAKE_FENCE};

    COPY(ask.fence.name, name);
    COPY(ask.fence.token, persona_fence_token(session, name, p));
    return call(c, &ask, NULL, NULL, res, p);
}

static apr_status_t shared_holder(persona_compute_t *c, const char *name, const char **token, persona_result_t *res,
                                  apr_pool_t *p)
{
    shared_ask_t ask = {.op = FAKE_HOLDER};
    void *data = NULL;
    apr_status_t status;

    COPY(ask.fence.name, name);
    status = call(c, &ask, &data, NULL, res, p);
    if (status == APR_SUCCESS) {
        *token = ((fake_fence_t *)data)->token;
    }
    return status;
}

static apr_status_t shared_fences(persona_compute_t *c, apr_array_header_t **fences, persona_result_t *res,
                                  apr_pool_t *p)
{
    shared_ask_t ask = {.op = FAKE_FENCES};
    apr_uint32_t length = 0, n;
    void *data = NULL;
    apr_status_t status = call(c, &ask, &data, &length, res, p);

    *fences = apr_array_make(p, 8, sizeof(persona_fence_t *));
    for (n = 0; status == APR_SUCCESS && n < length / sizeof(fake_fence_t); n++) {
        const fake_fence_t *from = (fake_fence_t *)data + n;
        persona_fence_t *f = apr_pcalloc(p, sizeof(*f));

        f->name = from->name;
        f->token = from->token;
        APR_ARRAY_PUSH(*fences, persona_fence_t *) = f;
    }
    return status;
}

static apr_status_t shared_unfence(persona_compute_t *c, const char *name, const char *token, persona_result_t *res,
                                   apr_pool_t *p)
{
    shared_ask_t ask = {.op = FAKE_UNFENCE};

    COPY(ask.fence.name, name);
    COPY(ask.fence.token, token);
    return call(c, &ask, NULL, NULL, res, p);
}

static apr_status_t shared_destroy(persona_compute_t *c, const char *uuid, persona_result_t *res, apr_pool_t *p)
{
    shared_ask_t ask = {.op = FAKE_DESTROY};

    COPY(ask.fence.name, uuid);
    return call(c, &ask, NULL, NULL, res, p);
}

const persona_compute_provider_t shared_provider = {
    .name = "fake",
    .open = shared_open,
    .close = shared_close,
    .watch = shared_watch,
    .list = shared_list,
    .inspect = shared_inspect,
    .create = shared_create,
    .mark = shared_mark,
    .fence = shared_fence,
    .fence_holder = shared_holder,
    .fences = shared_fences,
    .unfence = shared_unfence,
    .destroy = shared_destroy,
};

__attribute__((constructor)) static void add_to_the_table(void)
{
    persona_compute_register(&shared_provider);
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file ipc_server.c
 * @brief The manager's end of its socket: one thread moves bytes, a bounded number of threads answer requests.
 *
 * A connection is owned by one thread at a time. The poller owns it while it reads a message (HELLO, READING) or
 * writes the rest of an answer (WRITING); with a whole request it goes to the queue (QUEUED), from where a
 * worker takes it, calls the handler, sends what the kernel takes at once, and gives it back by `returned`.
 * Only the poller opens, closes, lists and frees connections. `mutex` guards the two queues, the counts of
 * workers and `stopping`; handlers run without it.
 *
 * What must hold whatever a peer does: a worker never waits for a peer; memory grows only with bytes that came,
 * never with an announced length; a message that stays incomplete, a hello that does not come and an answer that is
 * not read end after MESSAGE_TIMEOUT; peers without proof send at most PERSONA_IPC_HELLO_MAX bytes, and give way
 * to new ones when there are CONNECTIONS_MAX connections.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_ring.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include "ipc_wire.h"

#define CONNECTIONS_MAX 2048
#define MESSAGE_TIMEOUT apr_time_from_sec(10)
/** How often overdue connections are looked for. */
#define SWEEP_EVERY apr_time_from_msec(500)
#define COMPLAIN_EVERY apr_time_from_sec(10)
#define EVENTS 64
#define READ_CHUNK 16384
/** Pause of accept() when the process has no descriptor left. */
#define ACCEPT_PAUSE apr_time_from_msec(100)

typedef enum { IPC_HELLO, IPC_READING, IPC_QUEUED, IPC_WRITING } ipc_state_e;

typedef struct ipc_connection_t ipc_connection_t;
struct ipc_connection_t {
    APR_RING_ENTRY(ipc_connection_t) link;  /**< in `all` of the server, oldest first */
    APR_RING_ENTRY(ipc_connection_t) queue; /**< in `waiting` or `returned` */
    persona_ipc_peer_t peer;
    ipc_state_e state;
    int fd;
    char nonce[PERSONA_HEX256_LEN];
    apr_time_t overdue;     /**< when to close it; 0: it may lie idle */
    char *in;               /**< prefix and message as far as they came */
    size_t in_len, in_size;
    char *out;
    size_t out_len, out_sent;
    int broken;             /**< a worker found nothing to answer, or nobody */
};
APR_RING_HEAD(ipc_ring_t, ipc_connection_t);

struct persona_ipc_server_t {
    int listen_fd, epoll_fd, wake_fd;
    const char *secret;
    uid_t uid;
    persona_ipc_handler_cb *handler;
    void *baton;
    apr_thread_t *poller;
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *work;      /**< `waiting` has grown, or `stopping` */
    apr_thread_cond_t *gone;      /**< `workers` or `busy` has shrunk */
    struct ipc_ring_t waiting, returned;
    int workers, busy, stopping;
    /* the poller's own */
    struct ipc_ring_t all;
    int connections;
    int accepting;
    apr_time_t accept_again;      /**< 0: no pause */
    apr_time_t complained;
};

static void wake_poller(persona_ipc_server_t *server)
{
    apr_uint64_t one = 1;
    ssize_t n = write(server->wake_fd, &one, sizeof(one));

    (void)n; /* a full counter wakes as well */
}

/** A peer's fault: at most one line in COMPLAIN_EVERY, for anybody can cause it. */
static void complain(persona_ipc_server_t *server, const ipc_connection_t *c, const char *what)
{
    apr_time_t now = apr_time_now();

    if (now - server->complained >= COMPLAIN_EVERY) {
        server->complained = now;
        persona_log(PERSONA_LOG_WARNING, 0, "manager's %s socket: closed the connection of process %ld (uid %ld): %s",
                    server->secret ? "worker" : "control", (long)c->peer.pid, (long)c->peer.uid, what);
    }
}

/* ---- the poller: connections ---- */

/** Wait for these events. A queued connection that hung up was taken out, and comes in again. */
static void watch(persona_ipc_server_t *server, ipc_connection_t *c, unsigned events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};

    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) != 0 && errno == ENOENT) {
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev);
    }
}

static void close_connection(persona_ipc_server_t *server, ipc_connection_t *c)
{
    APR_RING_REMOVE(c, link);
    server->connections--;
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}

static void watch_listener(persona_ipc_server_t *server, int on)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = server};

    if (on != server->accepting) {
        epoll_ctl(server->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, server->listen_fd, &ev);
        server->accepting = on;
    }
}

/** Make room by closing the oldest peer that has not proven itself; 0: there is none. */
static int evict_stranger(persona_ipc_server_t *server)
{
    ipc_connection_t *c;

    APR_RING_FOREACH(c, &server->all, ipc_connection_t, link) {
        if (c->state == IPC_HELLO) {
            complain(server, c, "it said no hello and others wait");
            close_connection(server, c);
            return 1;
        }
    }
    return 0;
}

static int peer_allowed(persona_ipc_server_t *server, ipc_connection_t *c)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0) {
        return 0;
    }
    c->peer.pid = cred.pid;
    c->peer.uid = cred.uid;
    c->peer.control = server->secret == NULL;
    return cred.uid == 0 || cred.uid == server->uid;
}

/** Send the greeting; it is far smaller than a socket's buffer, so one send takes it. */
static int greet(ipc_connection_t *c)
{
    unsigned char random[32];
    json_t *hello;
    char *frame;
    size_t len;
    ssize_t sent;
    int v;
    json_t *versions = json_array();

    if (apr_generate_random_bytes(random, sizeof(random)) != APR_SUCCESS) {
        json_decref(versions);
        return 0;
    }
    persona_sha256(random, sizeof(random), c->nonce);
    for (v = PERSONA_IPC_VERSION_MIN; v <= PERSONA_IPC_VERSION; v++) {
        json_array_append_new(versions, json_integer(v));
    }
    hello = json_pack("{s:i, s:o, s:s}", "hello", 1, "versions", versions, "nonce", c->nonce);
    frame = hello ? persona_ipc_frame(hello, PERSONA_IPC_HELLO_MAX, &len) : NULL;
    json_decref(hello);
    if (!frame) {
        return 0;
    }
    sent = send(c->fd, frame, len, MSG_NOSIGNAL);
    free(frame);
    return sent == (ssize_t)len;
}

static void accept_one(persona_ipc_server_t *server, int fd)
{
    ipc_connection_t *c = calloc(1, sizeof(*c));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

    if (!c) {
        close(fd);
        return;
    }
    c->fd = fd;
    c->state = IPC_HELLO;
    c->overdue = apr_time_now() + MESSAGE_TIMEOUT;
    APR_RING_ELEM_INIT(c, queue);
    APR_RING_INSERT_TAIL(&server->all, c, ipc_connection_t, link);
    server->connections++;
    if (!peer_allowed(server, c)) {
        complain(server, c, "this user may not use it");
        close_connection(server, c);
    }
    else if (!greet(c) || epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
        close_connection(server, c);
    }
}

static void accept_some(persona_ipc_server_t *server)
{
    int i;

    for (i = 0; i < EVENTS; i++) {
        int fd;

        if (server->connections >= CONNECTIONS_MAX && !evict_stranger(server)) {
            watch_listener(server, 0);
            return;
        }
        fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            accept_one(server, fd);
        }
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            persona_log(PERSONA_LOG_ERR, errno, "manager's socket: cannot accept; raise the limit of open files");
            watch_listener(server, 0);
            server->accept_again = apr_time_now() + ACCEPT_PAUSE;
            return;
        }
        else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

/* ---- the poller: messages ---- */

/** Whole message in the buffer: its length without the prefix; 0: not yet; -1: it can never be one. */
static long whole_message(const ipc_connection_t *c)
{
    size_t limit = c->state == IPC_HELLO ? PERSONA_IPC_HELLO_MAX : PERSONA_IPC_MESSAGE_MAX;
    size_t len;

    if (c->in_len < PERSONA_IPC_PREFIX) {
        return 0;
    }
    len = persona_ipc_length(c->in);
    if (len == 0 || len > limit) {
        return -1;
    }
    return c->in_len >= PERSONA_IPC_PREFIX + len ? (long)len : 0;
}

/** Drop the first message from the buffer; a large buffer is given back. */
static void consume(ipc_connection_t *c, size_t len)
{
    c->in_len -= PERSONA_IPC_PREFIX + len;
    if (c->in_len > 0) {
        memmove(c->in, c->in + PERSONA_IPC_PREFIX + len, c->in_len);
    }
    else if (c->in_size > READ_CHUNK) {
        free(c->in);
        c->in = NULL;
        c->in_size = 0;
    }
}

static int proven(persona_ipc_server_t *server, ipc_connection_t *c, const json_t *answer)
{
    json_int_t version = json_integer_value(json_object_get(answer, "version"));
    const char *mac = json_string_value(json_object_get(answer, "mac"));
    char expected[PERSONA_HEX256_LEN];

    if (server->secret) {
        persona_ipc_mac(server->secret, c->nonce, expected);
        if (!mac || strlen(mac) != PERSONA_HEX256_LEN - 1 || !persona_hex_equal(mac, expected)) {
            complain(server, c, "it does not know this start's secret");
            return 0;
        }
    }
    if (version < PERSONA_IPC_VERSION_MIN || version > PERSONA_IPC_VERSION) {
        complain(server, c, "it wants a version of the protocol that was not offered");
        return 0;
    }
    c->peer.version = (int)version;
    return 1;
}

/** Go on with what the buffer holds: a hello's answer, a request, or the wait for more. 0: close it. */
static int advance(persona_ipc_server_t *server, ipc_connection_t *c)
{
    long len = whole_message(c);

    if (len > 0 && c->state == IPC_HELLO) {
        json_t *answer = persona_ipc_parse(c->in + PERSONA_IPC_PREFIX, (size_t)len);
        int ok = answer && proven(server, c, answer);

        json_decref(answer);
        if (!ok) {
            return 0;
        }
        consume(c, (size_t)len);
        c->state = IPC_READING;
        len = whole_message(c);
    }
    if (len < 0) {
        complain(server, c, "it announced a message longer than allowed");
        return 0;
    }
    if (len > 0) {
        c->state = IPC_QUEUED;
        c->overdue = 0;
        watch(server, c, 0);
        apr_thread_mutex_lock(server->mutex);
        APR_RING_INSERT_TAIL(&server->waiting, c, ipc_connection_t, queue);
        apr_thread_cond_signal(server->work);
        apr_thread_mutex_unlock(server->mutex);
        return 1;
    }
    if (c->state == IPC_READING) {
        if (c->in_len == 0) {
            c->overdue = 0;
        }
        else if (c->overdue == 0) {
            c->overdue = apr_time_now() + MESSAGE_TIMEOUT;
        }
    }
    return 1;
}

/** Room for one more chunk. */
static int grow(ipc_connection_t *c)
{
    size_t size = c->in_size ? c->in_size : 1024;
    char *in;

    while (size < c->in_len + 512) {
        size *= 2;
    }
    if (size == c->in_size) {
        return 1;
    }
    in = realloc(c->in, size);
    if (!in) {
        return 0;
    }
    c->in = in;
    c->in_size = size;
    return 1;
}

/** Take one chunk and go on: other peers have their turn between two chunks. 0: close it. */
static int read_some(persona_ipc_server_t *server, ipc_connection_t *c)
{
    ssize_t n;
    size_t room;

    if (!grow(c)) {
        return 0;
    }
    room = c->in_size - c->in_len;
    n = recv(c->fd, c->in + c->in_len, room < READ_CHUNK ? room : READ_CHUNK, 0);
    if (n > 0) {
        c->in_len += (size_t)n;
        return advance(server, c);
    }
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

/** Send what the kernel takes. 1: all has left; 0: not yet; -1: broken. Called by the connection's owner. */
static int write_some(ipc_connection_t *c)
{
    while (c->out_sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);

        if (n >= 0) {
            c->out_sent += (size_t)n;
        }
        else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return 0;
        }
        else if (errno != EINTR) {
            return -1;
        }
    }
    free(c->out);
    c->out = NULL;
    c->out_len = c->out_sent = 0;
    return 1;
}

/** The answer has left, or has begun to: read the next request, or wait until the rest can be written. */
static void after_answer(persona_ipc_server_t *server, ipc_connection_t *c)
{
    int done = c->broken ? -1 : write_some(c);

    if (done == 0) {
        if (c->state != IPC_WRITING) {
            c->state = IPC_WRITING;
            c->overdue = apr_time_now() + MESSAGE_TIMEOUT;
        }
        watch(server, c, EPOLLOUT);
        return;
    }
    if (done > 0) {
        c->state = IPC_READING;
        c->overdue = 0;
        watch(server, c, EPOLLIN);
        if (advance(server, c)) {
            return;
        }
    }
    close_connection(server, c);
}

static void take_returned(persona_ipc_server_t *server)
{
    apr_uint64_t count;
    ssize_t n = read(server->wake_fd, &count, sizeof(count));

    (void)n;
    for (;;) {
        ipc_connection_t *c = NULL;

        apr_thread_mutex_lock(server->mutex);
        if (!APR_RING_EMPTY(&server->returned, ipc_connection_t, queue)) {
            c = APR_RING_FIRST(&server->returned);
            APR_RING_REMOVE(c, queue);
        }
        apr_thread_mutex_unlock(server->mutex);
        if (!c) {
            return;
        }
        after_answer(server, c);
    }
}

static void on_event(persona_ipc_server_t *server, ipc_connection_t *c, unsigned events)
{
    switch (c->state) {
    case IPC_HELLO:
    case IPC_READING:
        if (!read_some(server, c)) {
            close_connection(server, c);
        }
        break;
    case IPC_WRITING:
        after_answer(server, c);
        break;
    case IPC_QUEUED:
        /* A worker's. EPOLLHUP cannot be masked: take it out until it comes back, see watch(). */
        if (events & (EPOLLHUP | EPOLLERR)) {
            epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
        }
        break;
    }
}

static void sweep(persona_ipc_server_t *server, apr_time_t now)
{
    ipc_connection_t *c, *next;

    for (c = APR_RING_FIRST(&server->all); c != APR_RING_SENTINEL(&server->all, ipc_connection_t, link); c = next) {
        next = APR_RING_NEXT(c, link);
        if (c->overdue && c->overdue < now) {
            complain(server, c, c->state == IPC_HELLO ? "it said no hello in time"
                              : c->state == IPC_WRITING ? "it does not read its answer"
                                                        : "its request does not end");
            close_connection(server, c);
        }
    }
}

/** Whether the poller may end: told to stop, and nothing is under way or past saving. */
static int finished(persona_ipc_server_t *server)
{
    int stopping, busy;

    apr_thread_mutex_lock(server->mutex);
    stopping = server->stopping;
    busy = server->busy > 0 || !APR_RING_EMPTY(&server->returned, ipc_connection_t, queue);
    apr_thread_mutex_unlock(server->mutex);
    if (!stopping) {
        return 0;
    }
    watch_listener(server, 0);
    return !busy || stopping > 1;
}

static void *APR_THREAD_FUNC poller_main(apr_thread_t *thread, void *data)
{
    persona_ipc_server_t *server = data;
    struct epoll_event events[EVENTS];
    apr_time_t swept = apr_time_now();
    ipc_connection_t *c;

    (void)thread;
    watch_listener(server, 1);
    while (!finished(server)) {
        int i, listener = 0;
        int n = epoll_wait(server->epoll_fd, events, EVENTS, (int)apr_time_as_msec(SWEEP_EVERY));
        apr_time_t now = apr_time_now();

        /* A connection is closed by its own event or after this loop, so no later event can name a freed one. */
        for (i = 0; i < n; i++) {
            if (events[i].data.ptr == server) {
                listener = 1;
            }
            else if (events[i].data.ptr) {
                on_event(server, events[i].data.ptr, events[i].events);
            }
        }
        take_returned(server);
        if (listener) {
            accept_some(server);
        }
        if (now - swept >= SWEEP_EVERY) {
            swept = now;
            sweep(server, now);
        }
        if (!server->accepting && server->connections < CONNECTIONS_MAX && now >= server->accept_again) {
            watch_listener(server, 1);
        }
    }
    while (!APR_RING_EMPTY(&server->all, ipc_connection_t, link)) {
        c = APR_RING_FIRST(&server->all);
        if (c->state == IPC_QUEUED && server->busy > 0) {
            APR_RING_REMOVE(c, link); /* a handler that outlives its grace holds it */
            continue;
        }
        close_connection(server, c);
    }
    return NULL;
}

/* ---- workers ---- */

/** Call the handler and leave its answer in c->out. */
static void answer(persona_ipc_server_t *server, ipc_connection_t *c)
{
    size_t len = persona_ipc_length(c->in);
    json_t *request = persona_ipc_parse(c->in + PERSONA_IPC_PREFIX, len);
    json_t *reply = NULL;

    if (request && json_is_string(json_object_get(request, "op"))) {
        reply = server->handler(server->baton, &c->peer, request);
    }
    else {
        persona_log(PERSONA_LOG_WARNING, 0, "manager's socket: process %ld sent a request that is not a JSON object "
                    "with \"op\": connection closed", (long)c->peer.pid);
    }
    json_decref(request);
    if (reply) {
        c->out = persona_ipc_frame(reply, PERSONA_IPC_ANSWER_MAX, &c->out_len);
        if (!c->out) {
            persona_log(PERSONA_LOG_ERR, 0, "manager's socket: an answer was longer than %d bytes: connection closed",
                        PERSONA_IPC_ANSWER_MAX);
        }
        json_decref(reply);
    }
    consume(c, len);
    c->broken = !c->out || write_some(c) < 0;
}

static void *APR_THREAD_FUNC worker_main(apr_thread_t *thread, void *data)
{
    persona_ipc_server_t *server = data;

    (void)thread;
    apr_thread_mutex_lock(server->mutex);
    for (;;) {
        ipc_connection_t *c;

        while (!server->stopping && APR_RING_EMPTY(&server->waiting, ipc_connection_t, queue)) {
            apr_thread_cond_wait(server->work, server->mutex);
        }
        if (server->stopping) {
            break;
        }
        c = APR_RING_FIRST(&server->waiting);
        APR_RING_REMOVE(c, queue);
        server->busy++;
        apr_thread_mutex_unlock(server->mutex);
        answer(server, c);
        apr_thread_mutex_lock(server->mutex);
        server->busy--;
        APR_RING_INSERT_TAIL(&server->returned, c, ipc_connection_t, queue);
        wake_poller(server);
        apr_thread_cond_broadcast(server->gone);
    }
    server->workers--;
    apr_thread_cond_broadcast(server->gone);
    apr_thread_mutex_unlock(server->mutex);
    return NULL;
}

/* ---- start and stop ---- */

static apr_status_t start_threads(persona_ipc_server_t *server, int threads, apr_pool_t *p)
{
    apr_threadattr_t *attr;
    apr_status_t rv = apr_threadattr_create(&attr, p);
    int i;

    if (rv == APR_SUCCESS) {
        rv = apr_thread_create(&server->poller, NULL, poller_main, server, p);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_threadattr_detach_set(attr, 1);
    }
    for (i = 0; rv == APR_SUCCESS && i < threads; i++) {
        apr_thread_t *thread;

        apr_thread_mutex_lock(server->mutex);
        server->workers++;
        apr_thread_mutex_unlock(server->mutex);
        rv = apr_thread_create(&thread, attr, worker_main, server, p);
        if (rv != APR_SUCCESS) {
            apr_thread_mutex_lock(server->mutex);
            server->workers--;
            apr_thread_mutex_unlock(server->mutex);
        }
    }
    return rv;
}

apr_status_t persona_ipc_serve(persona_ipc_server_t **out, int listen_fd, const char *secret, uid_t uid,
                               int threads, persona_ipc_handler_cb *handler, void *baton, apr_pool_t *p)
{
    persona_ipc_server_t *server = apr_pcalloc(p, sizeof(*server));
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = NULL};
    int flags = fcntl(listen_fd, F_GETFL);
    apr_status_t rv;

    if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        return errno;
    }
    server->listen_fd = listen_fd;
    server->secret = secret ? apr_pstrdup(p, secret) : NULL;
    server->uid = uid;
    server->handler = handler;
    server->baton = baton;
    APR_RING_INIT(&server->all, ipc_connection_t, link);
    APR_RING_INIT(&server->waiting, ipc_connection_t, queue);
    APR_RING_INIT(&server->returned, ipc_connection_t, queue);
    if ((rv = apr_thread_mutex_create(&server->mutex, APR_THREAD_MUTEX_DEFAULT, p)) != APR_SUCCESS
        || (rv = apr_thread_cond_create(&server->work, p)) != APR_SUCCESS
        || (rv = apr_thread_cond_create(&server->gone, p)) != APR_SUCCESS) {
        return rv;
    }
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->epoll_fd < 0 || server->wake_fd < 0
        || epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->wake_fd, &wake) != 0) {
        rv = errno;
        goto failed;
    }
    rv = start_threads(server, threads > 0 ? threads : 1, p);
    if (rv != APR_SUCCESS) {
        goto failed;
    }
    *out = server;
    return APR_SUCCESS;
failed:
    if (server->poller) {
        persona_ipc_stop(server, 0);
    }
    else {
        close(server->epoll_fd);
        close(server->wake_fd);
    }
    return rv;
}

apr_status_t persona_ipc_stop(persona_ipc_server_t *server, apr_interval_time_t grace)
{
    apr_time_t until = apr_time_now() + grace;
    apr_interval_time_t left;
    apr_status_t ignored;
    int workers;

    apr_thread_mutex_lock(server->mutex);
    server->stopping = 1;
    apr_thread_cond_broadcast(server->work);
    while (server->workers > 0 && (left = until - apr_time_now()) > 0) {
        apr_thread_cond_timedwait(server->gone, server->mutex, left);
    }
    workers = server->workers;
    if (workers > 0) {
        server->stopping = 2;
    }
    apr_thread_mutex_unlock(server->mutex);
    wake_poller(server);
    apr_thread_join(&ignored, server->poller);
    if (workers > 0) {
        persona_log(PERSONA_LOG_WARNING, 0, "manager's socket: %d requests still ran when it stopped", workers);
        return APR_TIMEUP;
    }
    close(server->epoll_fd);
    close(server->wake_fd);
    return APR_SUCCESS;
}

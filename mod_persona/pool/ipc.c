/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file ipc.c
 * @brief The worker's end of the manager's socket: connections kept between calls, and a deadline on each step.
 *
 * One persona_ipc_t per process, made after fork, used by all of its threads. A connection belongs to the one
 * call that took it; between calls it lies in `idle`, at the boundary between two messages. `mutex` guards
 * `idle`, `idle_count` and `open`; no system call that can block is made under it.
 *
 * A request is written at most once in full. Where the connection breaks before that, the manager cannot have
 * seen a whole message, and the call goes on with another connection.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>

#include "ipc_wire.h"

#define CONNECTIONS_MAX 64
/** Pause before a refused or full socket is tried again. */
#define RECONNECT_PAUSE apr_time_from_msec(20)

struct persona_ipc_t {
    struct sockaddr_un address;
    const char *secret;
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *freed;   /**< `open` or `idle_count` has changed for the better */
    int idle[CONNECTIONS_MAX];
    int idle_count;
    int open;                   /**< idle ones and those in calls */
};

static apr_status_t ipc_cleanup(void *data)
{
    persona_ipc_t *ipc = data;

    while (ipc->idle_count > 0) {
        close(ipc->idle[--ipc->idle_count]);
    }
    return APR_SUCCESS;
}

apr_status_t persona_ipc_create(persona_ipc_t **out, const char *path, const char *secret, apr_pool_t *p)
{
    persona_ipc_t *ipc = apr_pcalloc(p, sizeof(*ipc));
    apr_status_t rv;

    if (strlen(path) >= sizeof(ipc->address.sun_path)) {
        return APR_ENAMETOOLONG;
    }
    ipc->address.sun_family = AF_UNIX;
    apr_cpystrn(ipc->address.sun_path, path, sizeof(ipc->address.sun_path));
    ipc->secret = secret ? apr_pstrdup(p, secret) : NULL;
    rv = apr_thread_mutex_create(&ipc->mutex, APR_THREAD_MUTEX_DEFAULT, p);
    if (rv == APR_SUCCESS) {
        rv = apr_thread_cond_create(&ipc->freed, p);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_cleanup_register(p, ipc, ipc_cleanup, apr_pool_cleanup_null);
    *out = ipc;
    return APR_SUCCESS;
}

/** Milliseconds to the deadline for poll(), at least 1 while it lies ahead; 0: it has passed. */
static int poll_timeout(apr_time_t deadline)
{
    apr_interval_time_t left = deadline - apr_time_now();

    if (left <= 0) {
        return 0;
    }
    left = (left + 999) / 1000;
    return left > 60000 ? 60000 : (int)left;
}

/** Wait for the descriptor, or for the deadline: APR_TIMEUP. */
static apr_status_t wait_for(int fd, short events, apr_time_t deadline)
{
    for (;;) {
        struct pollfd pfd = {fd, events, 0};
        int timeout = poll_timeout(deadline);
        int n;

        if (timeout == 0) {
            return APR_TIMEUP;
        }
        n = poll(&pfd, 1, timeout);
        if (n > 0) {
            return APR_SUCCESS;
        }
        if (n < 0 && errno != EINTR) {
            return errno;
        }
    }
}

/** *sent tells how many bytes the kernel took, also after an error. */
static apr_status_t send_all(int fd, const char *data, size_t len, size_t *sent, apr_time_t deadline)
{
    *sent = 0;
    while (*sent < len) {
        ssize_t n = send(fd, data + *sent, len - *sent, MSG_NOSIGNAL);

        if (n >= 0) {
            *sent += (size_t)n;
        }
        else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            apr_status_t rv = wait_for(fd, POLLOUT, deadline);

            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
        else if (errno != EINTR) {
            return errno;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t receive_all(int fd, char *data, size_t len, apr_time_t deadline)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n = recv(fd, data + got, len - got, 0);

        if (n > 0) {
            got += (size_t)n;
        }
        else if (n == 0) {
            return APR_EOF;
        }
        else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            apr_status_t rv = wait_for(fd, POLLIN, deadline);

            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
        else if (errno != EINTR) {
            return errno;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t receive_message(int fd, json_t **message, size_t limit, apr_time_t deadline)
{
    char prefix[PERSONA_IPC_PREFIX];
    size_t len;
    char *bytes;
    apr_status_t rv = receive_all(fd, prefix, sizeof(prefix), deadline);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    len = persona_ipc_length(prefix);
    if (len == 0 || len > limit) {
        persona_log(PERSONA_LOG_ERR, 0, "the persona manager announced a message of %" APR_SIZE_T_FMT
                    " bytes, at most %" APR_SIZE_T_FMT " are allowed: connection dropped", len, limit);
        return APR_EINVAL;
    }
    bytes = malloc(len);
    if (!bytes) {
        return APR_ENOMEM;
    }
    rv = receive_all(fd, bytes, len, deadline);
    if (rv == APR_SUCCESS) {
        *message = persona_ipc_parse(bytes, len);
        if (!*message) {
            persona_log(PERSONA_LOG_ERR, 0, "the persona manager sent something that is not a JSON object: "
                        "connection dropped");
            rv = APR_EINVAL;
        }
    }
    free(bytes);
    return rv;
}

/** The highest version that both ends speak; 0: none. */
static int common_version(const json_t *versions)
{
    int best = 0;
    size_t i;
    json_t *version;

    json_array_foreach(versions, i, version) {
        json_int_t v = json_integer_value(version);

        if (v >= PERSONA_IPC_VERSION_MIN && v <= PERSONA_IPC_VERSION && v > best) {
            best = (int)v;
        }
    }
    return best;
}

static apr_status_t hello(const persona_ipc_t *ipc, int fd, apr_time_t deadline)
{
    json_t *greeting = NULL, *answer = NULL;
    const char *nonce;
    char *frame = NULL;
    size_t len, sent;
    int version;
    apr_status_t rv = receive_message(fd, &greeting, PERSONA_IPC_HELLO_MAX, deadline);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    nonce = json_string_value(json_object_get(greeting, "nonce"));
    version = common_version(json_object_get(greeting, "versions"));
    if (version == 0 || !nonce) {
        persona_log(PERSONA_LOG_ERR, 0, "the persona manager speaks no version of the protocol between %d "
                    "and %d: restart httpd after an upgrade", PERSONA_IPC_VERSION_MIN, PERSONA_IPC_VERSION);
        rv = APR_ENOTIMPL;
        goto leave;
    }
    answer = json_pack("{s:i}", "version", version);
    if (ipc->secret) {
        char mac[PERSONA_HEX256_LEN];

        persona_ipc_mac(ipc->secret, nonce, mac);
        json_object_set_new(answer, "mac", json_string(mac));
    }
    frame = persona_ipc_frame(answer, PERSONA_IPC_HELLO_MAX, &len);
    rv = frame ? send_all(fd, frame, len, &sent, deadline) : APR_ENOMEM;
leave:
    free(frame);
    json_decref(answer);
    json_decref(greeting);
    return rv;
}

/** Whether a connection that lay idle is still at a message boundary with a living peer. */
static int still_good(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

/** A connected descriptor that has said hello. */
static apr_status_t open_connection(const persona_ipc_t *ipc, int *out, apr_time_t deadline)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    apr_status_t rv;

    if (fd < 0) {
        return errno;
    }
    do {
        rv = connect(fd, (const struct sockaddr *)&ipc->address, sizeof(ipc->address)) == 0 ? APR_SUCCESS
                                                                                            : errno;
    } while (rv == EINTR);
    if (rv == APR_SUCCESS) {
        rv = hello(ipc, fd, deadline);
    }
    if (rv != APR_SUCCESS) {
        close(fd);
        return rv;
    }
    *out = fd;
    return APR_SUCCESS;
}

static void connection_closed(persona_ipc_t *ipc, int fd)
{
    if (fd >= 0) {
        close(fd);
    }
    apr_thread_mutex_lock(ipc->mutex);
    ipc->open--;
    apr_thread_cond_signal(ipc->freed);
    apr_thread_mutex_unlock(ipc->mutex);
}

/** The right to use one connection: *fd is an idle one, or -1: open one. */
static apr_status_t take_connection(persona_ipc_t *ipc, int *fd, apr_time_t deadline)
{
    apr_status_t rv = APR_SUCCESS;

    apr_thread_mutex_lock(ipc->mutex);
    while (ipc->idle_count == 0 && ipc->open >= CONNECTIONS_MAX) {
        apr_interval_time_t left = deadline - apr_time_now();

        if (left <= 0) {
            rv = APR_TIMEUP;
            break;
        }
        apr_thread_cond_timedwait(ipc->freed, ipc->mutex, left);
    }
    if (rv == APR_SUCCESS) {
        if (ipc->idle_count > 0) {
            *fd = ipc->idle[--ipc->idle_count];
        }
        else {
            *fd = -1;
            ipc->open++;
        }
    }
    apr_thread_mutex_unlock(ipc->mutex);
    return rv;
}

static void return_connection(persona_ipc_t *ipc, int fd)
{
    apr_thread_mutex_lock(ipc->mutex);
    ipc->idle[ipc->idle_count++] = fd;
    apr_thread_cond_signal(ipc->freed);
    apr_thread_mutex_unlock(ipc->mutex);
}

/** Whether nothing can have reached the manager, and a later try may. */
static int worth_another_try(apr_status_t rv)
{
    return rv == ECONNREFUSED || rv == ENOENT || rv == EAGAIN || rv == EPIPE || rv == ECONNRESET || rv == APR_EOF;
}

/** Write the request on a connection that takes it in full. */
static apr_status_t send_request(persona_ipc_t *ipc, const char *frame, size_t len, int *out,
                                 apr_time_t deadline)
{
    for (;;) {
        int fd, was_idle;
        size_t sent = 0;
        apr_status_t rv = take_connection(ipc, &fd, deadline);

        if (rv != APR_SUCCESS) {
            return rv;
        }
        was_idle = fd >= 0;
        if (was_idle && !still_good(fd)) {
            rv = APR_EOF;
        }
        if (!was_idle) {
            rv = open_connection(ipc, &fd, deadline);
        }
        if (rv == APR_SUCCESS) {
            rv = send_all(fd, frame, len, &sent, deadline);
        }
        if (rv == APR_SUCCESS) {
            *out = fd;
            return APR_SUCCESS;
        }
        connection_closed(ipc, fd);
        if (!worth_another_try(rv)) {
            return rv;
        }
        if (!was_idle) {
            if (apr_time_now() + RECONNECT_PAUSE >= deadline) {
                return rv;
            }
            apr_sleep(RECONNECT_PAUSE);
        }
    }
}

apr_status_t persona_ipc_call(persona_ipc_t *ipc, const json_t *request, json_t **answer, apr_time_t deadline)
{
    size_t len;
    char *frame = persona_ipc_frame(request, PERSONA_IPC_MESSAGE_MAX, &len);
    int fd;
    apr_status_t rv;

    *answer = NULL;
    if (!frame) {
        return APR_EINVAL;
    }
    rv = send_request(ipc, frame, len, &fd, deadline);
    free(frame);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = receive_message(fd, answer, PERSONA_IPC_ANSWER_MAX, deadline);
    if (rv == APR_SUCCESS) {
        return_connection(ipc, fd);
        return APR_SUCCESS;
    }
    connection_closed(ipc, fd);
    return rv == APR_TIMEUP ? APR_TIMEUP : APR_INCOMPLETE;
}

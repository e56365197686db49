/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file probe.c
 * @brief Non-blocking probes of many instances by one thread.
 *
 * `first` and `last`, the queue of those that have not begun, are guarded by `lock` and all that other threads touch;
 * the list of running probes belongs to the prober's thread. A running probe is idle (waiting for its next attempt),
 * connecting, or reading. At most RUNNING_MAX run: the patience of the others begins with their turn.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_strings.h>

#include "crew.h"
#include "monotonic.h"
#include "probe.h"

#define ATTEMPT_TIMEOUT apr_time_from_sec(2)
#define ATTEMPT_PAUSE   apr_time_from_msec(150)
#define READ_MAX        1024
#define RUNNING_MAX     512

typedef struct running_t {
    struct running_t *next;
    persona_probe_t probe;
    int fd; /* -1: idle */
    int connected;
    apr_time_t due; /* idle: of the next attempt; else: end of this one */
    apr_time_t give_up;
    char text[READ_MAX + 1];
    size_t len;
    char problem[128];
} running_t;

struct persona_prober_t {
    persona_probe_cb *done;
    void *baton;
    pthread_mutex_t lock;
    running_t *first, *last;
    int wake;
};

static void attempt_fail(running_t *r, const char *problem)
{
    if (r->fd >= 0) {
        close(r->fd);
        r->fd = -1;
    }
    apr_cpystrn(r->problem, problem, sizeof(r->problem));
    r->due = persona_monotonic_now() + ATTEMPT_PAUSE;
}

static void attempt_start(running_t *r)
{
    struct addrinfo hints = {0}, *ai = NULL;
    char port[16];

    r->len = 0;
    r->connected = 0;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    apr_snprintf(port, sizeof(port), "%d", r->probe.port);
    if (getaddrinfo(r->probe.address, port, &hints, &ai) != 0) {
        attempt_fail(r, "its address is not numeric");
        return;
    }
    r->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->fd < 0 || (connect(r->fd, ai->ai_addr, ai->ai_addrlen) < 0 && errno != EINPROGRESS)) {
        attempt_fail(r, strerror(errno));
    }
    else {
        r->due = persona_monotonic_now() + ATTEMPT_TIMEOUT;
    }
    freeaddrinfo(ai);
}

/** Connected: 1 when nothing has to be read. */
static int attempt_greet(running_t *r)
{
    char request[512];
    int error = 0, n;
    socklen_t size = sizeof(error);

    if (getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) {
        attempt_fail(r, strerror(error ? error : errno));
        return 0;
    }
    r->connected = 1;
    if (r->probe.kind == PERSONA_READY_TCP) {
        return 1;
    }
    if (r->probe.kind == PERSONA_READY_HTTP) {
        n = apr_snprintf(request, sizeof(request),
                         "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", r->probe.path,
                         r->probe.address);
        if (send(r->fd, request, (size_t)n, MSG_NOSIGNAL) != n) {
            attempt_fail(r, "it closed the connection");
        }
    }
    return 0;
}

/** 1: it answers; 0: not yet, or the attempt failed. */
static int attempt_judge(running_t *r, int ended)
{
    char problem[128];
    int code;

    r->text[r->len] = '\0';
    if (r->probe.kind == PERSONA_READY_RFB) {
        if (r->len >= 4 && !memcmp(r->text, "RFB ", 4)) {
            return 1;
        }
        if (r->len >= 4 || ended) {
            attempt_fail(r, "no RFB banner came");
        }
        return 0;
    }
    if (r->len >= 13 && !memcmp(r->text, "HTTP/1.", 7)) {
        code = atoi(r->text + 9);
        if (code >= 200 && code < 400) {
            return 1;
        }
        apr_snprintf(problem, sizeof(problem), "GET %.60s: HTTP status %d", r->probe.path, code);
        attempt_fail(r, problem);
    }
    else if (r->len >= 13 || ended) {
        attempt_fail(r, "what came is not HTTP");
    }
    return 0;
}

static int attempt_read(running_t *r)
{
    ssize_t n = recv(r->fd, r->text + r->len, READ_MAX - r->len, 0);

    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            attempt_fail(r, strerror(errno));
        }
        return 0;
    }
    r->len += (size_t)n;
    return attempt_judge(r, n == 0 || r->len == READ_MAX);
}

/** One look at a probe. 1: it is over and *answers tells how. */
static int running_step(running_t *r, short events, int *answers)
{
    apr_time_t now = persona_monotonic_now();

    *answers = 0;
    if (r->fd >= 0 && events) {
        *answers = r->connected ? attempt_read(r) : attempt_greet(r);
        if (*answers) {
            return 1;
        }
    }
    if (r->fd >= 0 && now >= r->due) {
        attempt_fail(r, r->connected ? "it accepts a connection and does not answer"
                                     : "nothing answers");
    }
    if (r->fd < 0) {
        if (now >= r->give_up) {
            return 1;
        }
        if (now >= r->due) {
            attempt_start(r);
        }
    }
    return 0;
}

/** First come, first served, as long as there is room. How many run. */
static int take_incoming(persona_prober_t *prober, running_t **list)
{
    apr_time_t now = persona_monotonic_now();
    int count = 0;
    running_t *r;

    for (r = *list; r; r = r->next) {
        count++;
    }
    pthread_mutex_lock(&prober->lock);
    while (count < RUNNING_MAX && (r = prober->first) != NULL) {
        prober->first = r->next;
        r->due = now;
        r->give_up = now + r->probe.patience;
        r->next = *list;
        *list = r;
        count++;
    }
    pthread_mutex_unlock(&prober->lock);
    return count;
}

static void *prober_thread(void *arg)
{
    persona_prober_t *prober = arg;
    struct pollfd *fds = calloc(RUNNING_MAX + 1, sizeof(*fds));
    running_t *list = NULL, *r, **link;

    if (!fds) {
        abort();
    }
    for (;;) {
        int n = 1, timeout = take_incoming(prober, &list) ? 50 : -1;
        uint64_t count;

        fds[0].fd = prober->wake;
        fds[0].events = POLLIN;
        for (r = list; r; r = r->next, n++) {
            fds[n].fd = r->fd; /* poll() ignores -1 */
            fds[n].events = r->connected ? POLLIN : POLLOUT;
            fds[n].revents = 0;
        }
        if (poll(fds, (nfds_t)n, timeout) > 0 && (fds[0].revents & POLLIN) &&
            read(prober->wake, &count, sizeof(count)) < 0) {
            continue;
        }
        for (link = &list, n = 1; (r = *link) != NULL; n++) {
            int answers;

            if (!running_step(r, fds[n].revents, &answers)) {
                link = &r->next;
                continue;
            }
            *link = r->next;
            if (r->fd >= 0) {
                close(r->fd);
            }
            prober->done(prober->baton, r->probe.uuid, answers, answers ? "" : r->problem);
            free(r);
        }
    }
    return NULL;
}

apr_status_t persona_prober_create(persona_prober_t **prober, persona_probe_cb *done, void *baton,
                                   apr_pool_t *p)
{
    persona_prober_t *pr = apr_pcalloc(p, sizeof(*pr));

    pr->done = done;
    pr->baton = baton;
    pthread_mutex_init(&pr->lock, NULL);
    pr->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pr->wake < 0) {
        return errno;
    }
    *prober = pr;
    return persona_thread_start(prober_thread, pr);
}

void persona_prober_add(persona_prober_t *prober, const persona_probe_t *probe)
{
    running_t *r = calloc(1, sizeof(*r));
    uint64_t one = 1;

    if (!r) {
        abort();
    }
    r->probe = *probe;
    r->fd = -1;
    apr_cpystrn(r->problem, "nothing answers", sizeof(r->problem));
    pthread_mutex_lock(&prober->lock);
    if (prober->first) {
        prober->last->next = r;
    }
    else {
        prober->first = r;
    }
    prober->last = r;
    pthread_mutex_unlock(&prober->lock);
    if (write(prober->wake, &one, sizeof(one)) < 0) {
        return; /* the counter is full: it is awake */
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file load.c
 * @brief Claims over HTTP: each request is a user's first, and must be answered with an instance that nobody else got.
 *
 *   load RATE COUNT CONNECTIONS FIRST PATH ADDRESS:PORT [ADDRESS:PORT...]
 *
 * RATE a second, or 0: each connection asks again as soon as it has its answer. Connections are kept and shared out
 * over the addresses. Users are u<FIRST>, u<FIRST+1> ...; a time counts from when the request was due, not from when a
 * connection was free for it. One thread. Prints "got N doubled N other N seconds S p50 MS p99 MS max MS".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <netinet/tcp.h>

#include <apr_base64.h>

#define UUID 36

typedef struct connection_t {
    const char *target;
    int fd, busy;
    double due;
    char request[512];
    int request_length;
    size_t length;
    char in[8192];
} connection_t;

static const char *path;
static int poller;
static long count, first, asked, answered, got, other;
static double *times;
static char (*instances)[UUID + 1];

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void open_connection(connection_t *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    struct sockaddr_in to = {.sin_family = AF_INET};
    const char *colon = strrchr(c->target, ':');
    char host[64];
    int one = 1;

    snprintf(host, sizeof(host), "%.*s", (int)(colon - c->target), c->target);
    to.sin_port = htons((unsigned short)atoi(colon + 1));
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        die(c->target);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
}

static void send_request(connection_t *c)
{
    c->length = 0;
    if (send(c->fd, c->request, (size_t)c->request_length, MSG_NOSIGNAL) != c->request_length && errno != EPIPE &&
        errno != ECONNRESET) {
        die("a request could not be sent");
    }
}

static void ask(connection_t *c, double due)
{
    char who[64], basic[128];
    int length = snprintf(who, sizeof(who), "u%ld:x", first + asked++);

    apr_base64_encode(basic, who, length);
    c->request_length = snprintf(c->request, sizeof(c->request), "GET %s HTTP/1.1\r\nHost: localhost\r\n"
                                 "Authorization: Basic %s\r\nAccept: application/json\r\n\r\n", path, basic);
    c->busy = 1;
    c->due = due;
    send_request(c);
}

static void take(connection_t *c, const char *body)
{
    const char *uuid = strstr(body, "\"instance\": \"");

    if (!uuid) {
        uuid = strstr(body, "\"instance\":\"");
    }
    times[answered++] = now() - c->due;
    c->busy = 0;
    if (strstr(body, "\"ready\"") && uuid) {
        snprintf(instances[got++], UUID + 1, "%s", strchr(uuid + 11, '"') + 1);
    }
    else if (other++ == 0) {
        fprintf(stderr, "# an answer without an instance: %.400s\n", c->in);
    }
}

static void receive(connection_t *c)
{
    const char *body, *header;
    ssize_t n = recv(c->fd, c->in + c->length, sizeof(c->in) - 1 - c->length, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        /* A server may close a connection between two requests. */
        if (c->length > 0 && c->busy) {
            die("an answer was cut");
        }
        close(c->fd);
        open_connection(c);
        if (c->busy) {
            send_request(c);
        }
        return;
    }
    c->length += (size_t)n;
    c->in[c->length] = '\0';
    body = strstr(c->in, "\r\n\r\n");
    header = strstr(c->in, "Content-Length: ");
    if (body && header && c->length - (size_t)(body + 4 - c->in) >= (size_t)atol(header + 16)) {
        take(c, body + 4);
    }
}

static int compare_times(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void tell(double took)
{
    long i, doubled = 0;

    qsort(times, (size_t)answered, sizeof(*times), compare_times);
    qsort(instances, (size_t)got, sizeof(*instances), compare_names);
    for (i = 1; i < got; i++) {
        doubled += !strcmp(instances[i - 1], instances[i]);
    }
    printf("got %ld doubled %ld other %ld seconds %.3f p50 %.2f p99 %.2f max %.2f\n", got, doubled, other, took,
           times[answered / 2] * 1e3, times[answered * 99 / 100] * 1e3, times[answered - 1] * 1e3);
}

int main(int argc, char **argv)
{
    connection_t *connections;
    struct epoll_event events[64];
    int many, i, next = 0;
    double began, rate;

    if (argc < 7) {
        fprintf(stderr, "usage: load RATE COUNT CONNECTIONS FIRST PATH ADDRESS:PORT...\n");
        return 2;
    }
    rate = atof(argv[1]);
    count = atol(argv[2]);
    many = atoi(argv[3]);
    first = atol(argv[4]);
    path = argv[5];
    times = calloc((size_t)count, sizeof(*times));
    instances = calloc((size_t)count, sizeof(*instances));
    connections = calloc((size_t)many, sizeof(*connections));
    poller = epoll_create1(0);
    for (i = 0; i < many; i++) {
        connections[i].target = argv[6 + i % (argc - 6)];
        open_connection(&connections[i]);
    }
    began = now();
    while (answered < count) {
        double wait = 1;
        int n;

        for (i = 0; i < many && asked < count; i++) {
            double due = rate > 0 ? began + (double)asked / rate : now();
            connection_t *c = &connections[next];

            if (due > now()) {
                wait = due - now();
                break;
            }
            next = (next + 1) % many;
            if (!c->busy) {
                ask(c, due);
            }
        }
        n = epoll_wait(poller, events, 64, wait < 1 ? (int)(wait * 1000) : 1000);
        for (i = 0; i < n; i++) {
            receive(events[i].data.ptr);
        }
    }
    tell(now() - began);
    return 0;
}

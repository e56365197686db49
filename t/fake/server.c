/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file server.c
 * @brief The fake compute of shared.h: `server SOCKET [PORT]` serves until it is killed, and answers every connection
 * to PORT as the streams of all its instances with an empty page; `server --tell SOCKET WORDS...` tells the one that
 * serves there, and prints what it says.
 *
 *   fence on|off              off: everybody is told yes, as if there were no fence
 *   delay OP MICROSECONDS     before OP is done; 0: none
 *   fault OP KIND EVERY       each EVERY-th OP from now on (0: none): fail (not done, APR_EGENERAL), refuse (not
 *                             done, APR_TIMEUP), lose (done, APR_TIMEUP), hang (not done, nor answered for a minute)
 *   port N                    of instances created from now on; 0: they have no address
 *   fill PERSONA FINGERPRINT COUNT   ready instances; the last 12 digits of their uuids count from 0
 *   reset                     no instances, no fences
 *   stats                     "ready N assigned N instances N fences N won N again N refused N doubled N
 *                             visits N" (to streams)
 *
 * OP: list fences inspect create mark fence holder unfence destroy.
 *
 * One thread for each connection. `lock` guards the world; delays and hangs are waited out without it.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/time.h>
#include <unistd.h>

#include <netinet/in.h>

#include <apr_general.h>
#include <apr_hash.h>
#include <apr_strings.h>

#include "persona/digest.h"
#include "shared.h"

#define HANG apr_time_from_sec(60)
#define COPY(to, from) apr_cpystrn((to), (from), sizeof(to))

static const char *const op_names[FAKE_OPS] = {"list", "fences", "inspect", "create", "mark",
                                               "fence", "holder", "unfence", "destroy"};

typedef enum { FAULT_NONE, FAULT_FAIL, FAULT_REFUSE, FAULT_LOSE, FAULT_HANG } fault_e;

static const char *const fault_names[] = {"none", "fail", "refuse", "lose", "hang"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct world_t {
    apr_pool_t *pool;
    apr_hash_t *instances, *fences;
    int open; /**< the fence is off */
    int port;
    apr_interval_time_t delay[FAKE_OPS];
    fault_e fault[FAKE_OPS];
    long every[FAKE_OPS], calls[FAKE_OPS];
    long won, again, refused;
    long visits;  /**< to streams */
    long doubled; /**< a second session was told yes: only with the fence off */
} world;

/** What an operation answers. */
typedef struct reply_t {
    apr_status_t status;
    char *data;
    apr_size_t length, size;
} reply_t;

static void *allocate(apr_size_t size)
{
    void *memory = calloc(1, size);

    if (!memory) {
        abort();
    }
    return memory;
}

static void put(reply_t *reply, const void *data, apr_size_t length)
{
    if (reply->length + length > reply->size) {
        reply->size = (reply->length + length) * 2;
        reply->data = realloc(reply->data, reply->size);
        if (!reply->data) {
            abort();
        }
    }
    memcpy(reply->data + reply->length, data, length);
    reply->length += length;
}

/* ---- the world; all with the lock ---- */

static void free_all(apr_hash_t *table)
{
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, table); hi; hi = apr_hash_next(hi)) {
        free(apr_hash_this_val(hi));
    }
}

static void reset(void)
{
    if (world.pool) {
        free_all(world.instances);
        free_all(world.fences);
        apr_pool_destroy(world.pool);
    }
    apr_pool_create(&world.pool, NULL);
    world.instances = apr_hash_make(world.pool);
    world.fences = apr_hash_make(world.pool);
}

static fake_instance_t *find(const char *uuid)
{
    return apr_hash_get(world.instances, uuid, APR_HASH_KEY_STRING);
}

static fake_instance_t *make(const fake_instance_t *like)
{
    fake_instance_t *f = allocate(sizeof(*f));

    *f = *like;
    f->exists = f->running = 1;
    f->created = apr_time_now();
    apr_hash_set(world.instances, f->uuid, APR_HASH_KEY_STRING, f);
    return f;
}

static void fill(const char *persona_id, const char *fingerprint, int count)
{
    apr_pool_t *p;
    int i;

    apr_pool_create(&p, NULL);
    for (i = 0; i < count; i++) {
        fake_instance_t like = {.state = PERSONA_INSTANCE_READY, .port = world.port ? world.port : 5900,
                                .ready_at = apr_time_now()};

        COPY(like.uuid, persona_uuid_random(p));
        apr_snprintf(like.uuid + 24, sizeof(like.uuid) - 24, "%012x", (unsigned)i);
        COPY(like.persona_id, persona_id);
        COPY(like.fingerprint, fingerprint);
        make(&like);
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
}

static void do_list(reply_t *reply)
{
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, world.instances); hi; hi = apr_hash_next(hi)) {
        put(reply, apr_hash_this_val(hi), sizeof(fake_instance_t));
    }
}

static void do_fences(reply_t *reply)
{
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, world.fences); hi; hi = apr_hash_next(hi)) {
        put(reply, apr_hash_this_val(hi), sizeof(fake_fence_t));
    }
}

static void do_mark(const fake_instance_t *mark, reply_t *reply)
{
    fake_instance_t *f = find(mark->uuid);

    if (!f) {
        reply->status = APR_ENOENT;
        return;
    }
    f->state = mark->state;
    COPY(f->session, *mark->session ? mark->session : f->session);
    COPY(f->user, *mark->user ? mark->user : f->user);
    COPY(f->app, *mark->app ? mark->app : f->app);
    COPY(f->reason, *mark->reason ? mark->reason : f->reason);
    f->ready_at = mark->ready_at ? mark->ready_at : f->ready_at;
    f->assigned_at = mark->assigned_at ? mark->assigned_at : f->assigned_at;
    f->retiring_at = mark->retiring_at ? mark->retiring_at : f->retiring_at;
}

static void do_fence(const fake_fence_t *ask, reply_t *reply)
{
    fake_fence_t *f = apr_hash_get(world.fences, ask->name, APR_HASH_KEY_STRING);

    if (!f) {
        f = allocate(sizeof(*f));
        *f = *ask;
        f->exists = 1;
        apr_hash_set(world.fences, f->name, APR_HASH_KEY_STRING, f);
        world.won++;
    }
    else if (!strcmp(f->token, ask->token)) {
        world.again++;
    }
    else if (world.open) {
        COPY(f->token, ask->token);
        world.doubled++;
    }
    else {
        world.refused++;
        reply->status = APR_EEXIST;
    }
}

static void do_unfence(const fake_fence_t *ask)
{
    fake_fence_t *f = apr_hash_get(world.fences, ask->name, APR_HASH_KEY_STRING);

    if (f && !strcmp(f->token, ask->token)) {
        apr_hash_set(world.fences, f->name, APR_HASH_KEY_STRING, NULL);
        free(f);
    }
}

static void do_destroy(const char *uuid)
{
    fake_instance_t *f = find(uuid);

    if (f) {
        apr_hash_set(world.instances, f->uuid, APR_HASH_KEY_STRING, NULL);
        free(f);
    }
}

static void do_create(const fake_instance_t *ask, reply_t *reply)
{
    fake_instance_t *f;

    if (find(ask->uuid)) {
        reply->status = APR_EEXIST;
        return;
    }
    f = make(ask);
    f->state = PERSONA_INSTANCE_CREATING;
    f->port = world.port;
}

static void look_up(apr_hash_t *table, const char *name, apr_size_t size, reply_t *reply)
{
    const void *found = apr_hash_get(table, name, APR_HASH_KEY_STRING);

    if (found) {
        put(reply, found, size);
    }
    else {
        reply->status = APR_ENOENT;
    }
}

static void perform(const shared_ask_t *ask, reply_t *reply)
{
    switch ((fake_op_e)ask->op) {
    case FAKE_LIST:
        do_list(reply);
        break;
    case FAKE_FENCES:
        do_fences(reply);
        break;
    case FAKE_INSPECT:
        look_up(world.instances, ask->fence.name, sizeof(fake_instance_t), reply);
        break;
    case FAKE_CREATE:
        do_create(&ask->instance, reply);
        break;
    case FAKE_MARK:
        do_mark(&ask->instance, reply);
        break;
    case FAKE_FENCE:
        do_fence(&ask->fence, reply);
        break;
    case FAKE_HOLDER:
        look_up(world.fences, ask->fence.name, sizeof(fake_fence_t), reply);
        break;
    case FAKE_UNFENCE:
        do_unfence(&ask->fence);
        break;
    case FAKE_DESTROY:
        do_destroy(ask->fence.name);
        break;
    case FAKE_OPS:
        break;
    }
}

/* ---- being told ---- */

static int op_of(const char *name)
{
    int op;

    for (op = 0; op < FAKE_OPS && strcmp(op_names[op], name); op++) {
    }
    return op;
}

static int tell_fault(const char *name, const char *kind, long every)
{
    int op = op_of(name), k;

    for (k = 0; k <= FAULT_HANG && strcmp(fault_names[k], kind); k++) {
    }
    if (op == FAKE_OPS || k > FAULT_HANG || every < 0) {
        return 0;
    }
    world.fault[op] = every ? (fault_e)k : FAULT_NONE;
    world.every[op] = every;
    world.calls[op] = 0;
    return 1;
}

static void stats(reply_t *reply)
{
    char text[256];
    apr_hash_index_t *hi;
    int ready = 0, assigned = 0;

    for (hi = apr_hash_first(NULL, world.instances); hi; hi = apr_hash_next(hi)) {
        const fake_instance_t *f = apr_hash_this_val(hi);

        ready += f->state == PERSONA_INSTANCE_READY;
        assigned += f->state == PERSONA_INSTANCE_ASSIGNED;
    }
    apr_snprintf(text, sizeof(text),
                 "ready %d assigned %d instances %u fences %u won %ld again %ld refused %ld doubled %ld visits %ld",
                 ready, assigned, apr_hash_count(world.instances), apr_hash_count(world.fences), world.won, world.again,
                 world.refused, world.doubled, world.visits);
    put(reply, text, strlen(text));
}

static void be_told(const char *words, reply_t *reply)
{
    char a[128] = "", b[128] = "", c[128] = "", d[128] = "";
    int n = sscanf(words, "%127s %127s %127s %127s", a, b, c, d);

    if (n == 2 && !strcmp(a, "fence") && (!strcmp(b, "on") || !strcmp(b, "off"))) {
        world.open = !strcmp(b, "off");
    }
    else if (n == 3 && !strcmp(a, "delay") && op_of(b) < FAKE_OPS) {
        world.delay[op_of(b)] = atol(c);
    }
    else if (n == 4 && !strcmp(a, "fault") && tell_fault(b, c, atol(d))) {
        return;
    }
    else if (n == 2 && !strcmp(a, "port")) {
        world.port = atoi(b);
    }
    else if (n == 4 && !strcmp(a, "fill")) {
        fill(b, c, atoi(d));
    }
    else if (n == 1 && !strcmp(a, "reset")) {
        reset();
    }
    else if (n == 1 && !strcmp(a, "stats")) {
        stats(reply);
    }
    else {
        reply->status = APR_EINVAL;
    }
}

/* ---- connections ---- */

static void answer(const shared_ask_t *ask, reply_t *reply)
{
    apr_interval_time_t delay;
    fault_e fault;

    pthread_mutex_lock(&lock);
    world.calls[ask->op]++;
    delay = world.delay[ask->op];
    fault = world.every[ask->op] && world.calls[ask->op] % world.every[ask->op] == 0 ? world.fault[ask->op]
                                                                                      : FAULT_NONE;
    pthread_mutex_unlock(&lock);
    if (delay || fault == FAULT_HANG) {
        apr_sleep(fault == FAULT_HANG ? HANG : delay);
    }
    if (fault == FAULT_NONE || fault == FAULT_LOSE) {
        pthread_mutex_lock(&lock);
        perform(ask, reply);
        pthread_mutex_unlock(&lock);
    }
    if (fault != FAULT_NONE) {
        reply->status = fault == FAULT_FAIL ? APR_EGENERAL : APR_TIMEUP;
        reply->length = 0;
    }
}

static int send_all(int fd, const void *data, apr_size_t length)
{
    const char *at = data;

    while (length > 0) {
        ssize_t n = send(fd, at, length, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR) {
            return 0;
        }
        at += n > 0 ? n : 0;
        length -= n > 0 ? (apr_size_t)n : 0;
    }
    return 1;
}

static int send_reply(int fd, const reply_t *reply)
{
    char small[sizeof(shared_answer_t) + sizeof(fake_instance_t)];
    shared_answer_t head = {reply->status, (apr_uint32_t)reply->length};

    if (reply->length <= sizeof(fake_instance_t)) {
        memcpy(small, &head, sizeof(head));
        memcpy(small + sizeof(head), reply->length ? reply->data : "", reply->length);
        return send_all(fd, small, sizeof(head) + reply->length);
    }
    return send_all(fd, &head, sizeof(head)) && send_all(fd, reply->data, reply->length);
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    reply_t reply = {0, NULL, 0, 0};
    shared_ask_t ask;

    while (recv(fd, &ask, sizeof(ask), MSG_WAITALL) == (ssize_t)sizeof(ask) && ask.op <= SHARED_TELL) {
        reply.status = APR_SUCCESS;
        reply.length = 0;
        if (ask.op == SHARED_TELL) {
            pthread_mutex_lock(&lock);
            be_told(ask.instance.reason, &reply);
            pthread_mutex_unlock(&lock);
        }
        else {
            answer(&ask, &reply);
        }
        if (!send_reply(fd, &reply)) {
            break;
        }
    }
    free(reply.data);
    close(fd);
    return NULL;
}

/** The streams of all instances: what connects is told "200" when it has said something. */
static void *answer_streams(void *arg)
{
    static const char page[] = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
    int listener = (int)(intptr_t)arg;
    struct timeval limit = {1, 0};
    char request[4096];

    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        if (fd >= 0 && recv(fd, request, sizeof(request), 0) > 0) {
            send_all(fd, page, sizeof(page) - 1);
            pthread_mutex_lock(&lock);
            world.visits++;
            pthread_mutex_unlock(&lock);
        }
        close(fd);
    }
    return NULL;
}

static int open_streams(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port),
                                  .sin_addr.s_addr = htonl(INADDR_ANY)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t thread;

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 511) != 0 ||
        pthread_create(&thread, NULL, answer_streams, (void *)(intptr_t)listener) != 0) {
        perror("the port of the streams");
        return 0;
    }
    world.port = port;
    return 1;
}

static int serve_all(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_attr_t attr;

    COPY(address.sun_path, path);
    unlink(path);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 511) != 0) {
        perror(path);
        return 1;
    }
    chmod(path, 0666);
    reset();
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        pthread_t thread;

        if (fd >= 0 && pthread_create(&thread, &attr, serve, (void *)(intptr_t)fd) != 0) {
            close(fd);
        }
    }
}

int main(int argc, char **argv)
{
    const char *words = "", *said;
    apr_pool_t *p;
    int i;

    apr_initialize();
    apr_pool_create(&p, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (argc == 2 || (argc == 3 && atoi(argv[2]) > 0)) {
        return argc == 3 && !open_streams(atoi(argv[2])) ? 1 : serve_all(argv[1]);
    }
    if (argc < 4 || strcmp(argv[1], "--tell")) {
        fprintf(stderr, "usage: server SOCKET [PORT] | server --tell SOCKET WORDS...\n");
        return 2;
    }
    for (i = 3; i < argc; i++) {
        words = apr_pstrcat(p, words, i > 3 ? " " : "", argv[i], NULL);
    }
    said = shared_tell(argv[2], words, p);
    if (!said) {
        fprintf(stderr, "%s: it does not answer, or does not understand \"%s\"\n", argv[2], words);
        return 1;
    }
    puts(said);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file test_ipc.c
 * @brief The manager's socket: strangers, hostile frames, frozen and dying peers, many threads.
 *
 * The server runs in this process or, where it must freeze or die, in a child. A raw client speaks the wire
 * protocol byte by byte.
 */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_strings.h>

#include "pool/ipc.h"
#include "pool/ipc_wire.h"

#define SECRET "5ec3e7"
/** Of an answer: the status of thousands of instances. */
#define LARGE (5 * 1024 * 1024)

static char directory[64];
static struct sockaddr_un address;
static int listener = -1;
static persona_ipc_server_t *server;
static int handled;

static apr_time_t in(int ms)
{
    return apr_time_now() + apr_time_from_msec(ms);
}

static json_t *echo(void *baton, const persona_ipc_peer_t *peer, const json_t *request)
{
    const char *op = json_string_value(json_object_get(request, "op"));

    (void)baton;
    __atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST);
    if (strcmp(op, "close") == 0) {
        return NULL;
    }
    if (strcmp(op, "die") == 0) {
        _exit(0);
    }
    if (strcmp(op, "sleep") == 0) {
        apr_sleep(apr_time_from_msec(300));
    }
    if (strcmp(op, "big") == 0) {
        char *text = malloc(LARGE + 1);
        json_t *answer;

        memset(text, 'x', LARGE);
        text[LARGE] = '\0';
        answer = json_pack("{s:s, s:s}", "status", "ok", "text", text);
        free(text);
        return answer;
    }
    return json_pack("{s:s, s:O, s:i, s:i, s:b}", "status", "ok", "echo", request, "version", peer->version,
                     "pid", (int)peer->pid, "control", peer->control);
}

static void listen_here(void)
{
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(address.sun_path);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 64), 0);
}

static void serve(const char *secret, uid_t uid, int threads)
{
    assert_int_equal(persona_ipc_serve(&server, listener, secret, uid, threads, echo, NULL, unit_pool), APR_SUCCESS);
}

static int setup(void **state)
{
    if (unit_setup(state) != 0) {
        return -1;
    }
    apr_snprintf(directory, sizeof(directory), "/tmp/persona-ipc.XXXXXX");
    if (!mkdtemp(directory)) {
        return -1;
    }
    address.sun_family = AF_UNIX;
    apr_snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
    server = NULL;
    handled = 0;
    listen_here();
    return 0;
}

static int teardown(void **state)
{
    if (server) {
        persona_ipc_stop(server, apr_time_from_sec(2));
    }
    close(listener);
    unlink(address.sun_path);
    rmdir(directory);
    return unit_teardown(state);
}

static persona_ipc_t *client(const char *secret)
{
    persona_ipc_t *ipc;

    assert_int_equal(persona_ipc_create(&ipc, address.sun_path, secret, unit_pool), APR_SUCCESS);
    return ipc;
}

static apr_status_t call(persona_ipc_t *ipc, const char *op, json_t **answer, int ms)
{
    json_t *request = json_pack("{s:s}", "op", op);
    apr_status_t rv = persona_ipc_call(ipc, request, answer, in(ms));

    json_decref(request);
    return rv;
}

static void assert_ok(persona_ipc_t *ipc, const char *op)
{
    json_t *answer;

    assert_int_equal(call(ipc, op, &answer, 5000), APR_SUCCESS);
    assert_string_equal(json_string_value(json_object_get(answer, "status")), "ok");
    json_decref(answer);
}

/* ---- a raw client ---- */

static int raw_connect(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval wait = {15, 0};

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    return fd;
}

static json_t *raw_read(int fd)
{
    char prefix[PERSONA_IPC_PREFIX], *bytes;
    size_t len;
    json_t *message;

    if (recv(fd, prefix, sizeof(prefix), MSG_WAITALL) != (ssize_t)sizeof(prefix)) {
        return NULL;
    }
    len = persona_ipc_length(prefix);
    bytes = malloc(len);
    assert_int_equal(recv(fd, bytes, len, MSG_WAITALL), (ssize_t)len);
    message = persona_ipc_parse(bytes, len);
    free(bytes);
    return message;
}

static void raw_send(int fd, json_t *message)
{
    size_t len;
    char *frame = persona_ipc_frame(message, PERSONA_IPC_MESSAGE_MAX, &len);

    assert_int_equal(send(fd, frame, len, MSG_NOSIGNAL), (ssize_t)len);
    free(frame);
    json_decref(message);
}

static int raw_hello(const char *secret, int version)
{
    int fd = raw_connect();
    json_t *hello = raw_read(fd), *answer = json_pack("{s:i}", "version", version);
    char mac[PERSONA_HEX256_LEN];

    assert_non_null(hello);
    persona_ipc_mac(secret, json_string_value(json_object_get(hello, "nonce")), mac);
    json_object_set_new(answer, "mac", json_string(mac));
    json_decref(hello);
    raw_send(fd, answer);
    return fd;
}

/** The server closes: recv() sees the end, or a reset. */
static void assert_closed(int fd)
{
    char byte;

    assert_true(recv(fd, &byte, 1, 0) <= 0 && errno != EAGAIN);
    close(fd);
}

/* ---- strangers ---- */

static void a_wrong_secret_is_closed_without_a_word(void **state)
{
    int fd;

    (void)state;
    serve(SECRET, getuid(), 2);
    fd = raw_hello("wrong", PERSONA_IPC_VERSION);
    assert_closed(fd);
    assert_int_equal(handled, 0);
}

static void a_request_instead_of_a_hello_is_not_answered(void **state)
{
    int fd;
    json_t *hello;

    (void)state;
    serve(SECRET, getuid(), 2);
    fd = raw_connect();
    hello = raw_read(fd);
    json_decref(hello);
    raw_send(fd, json_pack("{s:s}", "op", "status"));
    assert_closed(fd);
    assert_int_equal(handled, 0);
}

static void an_answer_cannot_be_played_again(void **state)
{
    int first, second;
    json_t *one, *two;

    (void)state;
    serve(SECRET, getuid(), 2);
    first = raw_connect();
    second = raw_connect();
    one = raw_read(first);
    two = raw_read(second);
    assert_string_not_equal(json_string_value(json_object_get(one, "nonce")),
                            json_string_value(json_object_get(two, "nonce")));
    {
        char mac[PERSONA_HEX256_LEN];

        persona_ipc_mac(SECRET, json_string_value(json_object_get(one, "nonce")), mac);
        raw_send(second, json_pack("{s:i, s:s}", "version", PERSONA_IPC_VERSION, "mac", mac));
    }
    assert_closed(second);
    close(first);
    json_decref(one);
    json_decref(two);
}

static void another_uid_is_closed(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (getuid() != 0) {
        skip();
    }
    serve(SECRET, 33, 2);
    chmod(directory, 0755);
    chmod(address.sun_path, 0777);
    pid = fork();
    if (pid == 0) {
        char byte;
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        if (setgid(65534) != 0 || setuid(65534) != 0
            || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
            _exit(2);
        }
        _exit(recv(fd, &byte, 1, 0) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_ok(client(SECRET), "hello");
}

static void a_version_that_was_not_offered_is_closed(void **state)
{
    (void)state;
    serve(SECRET, getuid(), 2);
    assert_closed(raw_hello(SECRET, PERSONA_IPC_VERSION + 1));
    assert_closed(raw_hello(SECRET, 0));
}

/** A newer manager offers more than we know, an older one less. */
static void the_highest_common_version_is_spoken(void **state)
{
    persona_ipc_t *ipc = client(SECRET);
    json_t *request = json_pack("{s:s}", "op", "status"), *answer, *hello;
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0) {
        int fd = accept(listener, NULL, NULL);

        raw_send(fd, json_pack("{s:i, s:[i,i], s:s}", "hello", 1, "versions", PERSONA_IPC_VERSION,
                               PERSONA_IPC_VERSION + 1, "nonce", "00"));
        hello = raw_read(fd);
        if (json_integer_value(json_object_get(hello, "version")) != PERSONA_IPC_VERSION) {
            _exit(1);
        }
        json_decref(raw_read(fd));
        raw_send(fd, json_pack("{s:s}", "status", "ok"));
        fd = accept(listener, NULL, NULL);
        raw_send(fd, json_pack("{s:i, s:[i], s:s}", "hello", 1, "versions", PERSONA_IPC_VERSION + 1, "nonce", "00"));
        _exit(raw_read(fd) == NULL ? 0 : 1);
    }
    assert_int_equal(persona_ipc_call(ipc, request, &answer, in(3000)), APR_SUCCESS);
    json_decref(answer);
    assert_int_equal(persona_ipc_call(client(SECRET), request, &answer, in(3000)), APR_ENOTIMPL);
    json_decref(request);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- hostile frames ---- */

static void hostile_lengths_are_closed(void **state)
{
    static const char lengths[][4] = {{0, 0, 0, 0}, {0x7f, -1, -1, -1}, {-1, -1, -1, -1}, {0, 0x10, 0, 1}};
    size_t i;

    (void)state;
    serve(SECRET, getuid(), 2);
    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        int fd = raw_connect();

        json_decref(raw_read(fd));
        assert_int_equal(send(fd, lengths[i], 4, MSG_NOSIGNAL), 4);
        assert_closed(fd);
        fd = raw_hello(SECRET, PERSONA_IPC_VERSION);
        assert_int_equal(send(fd, lengths[i], 4, MSG_NOSIGNAL), 4);
        assert_closed(fd);
    }
    assert_ok(client(SECRET), "after");
}

static void what_is_no_request_is_closed(void **state)
{
    static const char *const bodies[] = {"[]", "{", "nonsense", "\"op\"", "{}", "{\"op\":1}",
                                         "{\"op\":\"a\",\"op\":\"b\"}", "{\"op\":\"\xff\"}"};
    size_t i;

    (void)state;
    serve(SECRET, getuid(), 2);
    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        int fd = raw_hello(SECRET, PERSONA_IPC_VERSION);
        char frame[64] = {0, 0, 0, (char)strlen(bodies[i])};

        memcpy(frame + 4, bodies[i], strlen(bodies[i]));
        assert_int_equal(send(fd, frame, 4 + strlen(bodies[i]), MSG_NOSIGNAL), (ssize_t)(4 + strlen(bodies[i])));
        assert_closed(fd);
    }
    assert_int_equal(handled, 0);
}

static void a_message_may_come_byte_by_byte(void **state)
{
    int fd;
    size_t len, i;
    char *frame;
    json_t *request = json_pack("{s:s}", "op", "slowly"), *answer;

    (void)state;
    serve(SECRET, getuid(), 1);
    fd = raw_hello(SECRET, PERSONA_IPC_VERSION);
    frame = persona_ipc_frame(request, PERSONA_IPC_MESSAGE_MAX, &len);
    for (i = 0; i < len; i++) {
        assert_int_equal(send(fd, frame + i, 1, MSG_NOSIGNAL), 1);
        apr_sleep(2000);
    }
    answer = raw_read(fd);
    assert_non_null(answer);
    /* Two requests at once are answered in turn. */
    assert_int_equal(send(fd, frame, len, MSG_NOSIGNAL), (ssize_t)len);
    assert_int_equal(send(fd, frame, len, MSG_NOSIGNAL), (ssize_t)len);
    json_decref(answer);
    answer = raw_read(fd);
    assert_non_null(answer);
    json_decref(answer);
    answer = raw_read(fd);
    assert_non_null(answer);
    json_decref(answer);
    json_decref(request);
    free(frame);
    close(fd);
}

/** One thread, and 50 peers that begin and do not end: others are answered at once, and the 50 are closed. */
static void a_slow_peer_holds_nobody(void **state)
{
    int fds[50], i;
    apr_time_t began;
    persona_ipc_t *ipc = client(SECRET);

    (void)state;
    serve(SECRET, getuid(), 1);
    for (i = 0; i < 50; i++) {
        fds[i] = i % 2 ? raw_connect() : raw_hello(SECRET, PERSONA_IPC_VERSION);
        assert_int_equal(send(fds[i], "\0\0\1", 3, MSG_NOSIGNAL), 3);
    }
    began = apr_time_now();
    for (i = 0; i < 20; i++) {
        assert_ok(ipc, "quick");
    }
    assert_true(apr_time_now() - began < apr_time_from_sec(2));
    for (i = 0; i < 50; i++) {
        if (i % 2) {
            json_decref(raw_read(fds[i]));
        }
        assert_closed(fds[i]);
    }
    assert_ok(ipc, "still");
}

/** A peer that asks for much and reads nothing. */
static void an_answer_nobody_reads_holds_no_thread(void **state)
{
    int fd, i;

    (void)state;
    serve(SECRET, getuid(), 1);
    fd = raw_hello(SECRET, PERSONA_IPC_VERSION);
    for (i = 0; i < 5; i++) {
        raw_send(fd, json_pack("{s:s}", "op", "big"));
    }
    assert_ok(client(SECRET), "quick");
    close(fd);
    assert_ok(client(SECRET), "quick");
}

/* ---- calls ---- */

static void large_messages_pass_and_larger_ones_do_not(void **state)
{
    persona_ipc_t *ipc = client(SECRET);
    char *text = malloc(1100 * 1024);
    json_t *request, *answer;

    (void)state;
    serve(SECRET, getuid(), 2);
    assert_ok(ipc, "big");
    memset(text, 'y', 500 * 1024);
    text[500 * 1024] = '\0';
    request = json_pack("{s:s, s:s}", "op", "x", "text", text);
    assert_int_equal(persona_ipc_call(ipc, request, &answer, in(5000)), APR_SUCCESS);
    json_decref(answer);
    json_decref(request);
    memset(text, 'y', 1100 * 1024 - 1);
    text[1100 * 1024 - 1] = '\0';
    request = json_pack("{s:s, s:s}", "op", "x", "text", text);
    assert_int_equal(persona_ipc_call(ipc, request, &answer, in(5000)), APR_EINVAL);
    assert_null(answer);
    json_decref(request);
    free(text);
}

static void a_handler_may_close(void **state)
{
    persona_ipc_t *ipc = client(SECRET);
    json_t *answer;

    (void)state;
    serve(SECRET, getuid(), 2);
    assert_int_equal(call(ipc, "close", &answer, 2000), APR_INCOMPLETE);
    assert_int_equal(__atomic_load_n(&handled, __ATOMIC_SEQ_CST), 1);
    assert_ok(ipc, "again");
}

static void a_late_answer_ends_at_the_deadline(void **state)
{
    persona_ipc_t *ipc = client(SECRET);
    apr_time_t began = apr_time_now();
    json_t *answer;

    (void)state;
    serve(SECRET, getuid(), 2);
    assert_int_equal(call(ipc, "sleep", &answer, 100), APR_TIMEUP);
    assert_true(apr_time_now() - began < apr_time_from_msec(290));
    /* Its answer is not taken for that of the next. */
    assert_int_equal(call(ipc, "next", &answer, 2000), APR_SUCCESS);
    assert_string_equal(json_string_value(json_object_get(json_object_get(answer, "echo"), "op")), "next");
    json_decref(answer);
}

static void the_control_socket_needs_no_secret(void **state)
{
    persona_ipc_t *ipc = client(NULL);
    json_t *answer;

    (void)state;
    serve(NULL, getuid(), 2);
    assert_int_equal(call(ipc, "audit", &answer, 2000), APR_SUCCESS);
    assert_true(json_is_true(json_object_get(answer, "control")));
    assert_int_equal(json_integer_value(json_object_get(answer, "pid")), getpid());
    json_decref(answer);
}

static void nobody_listens(void **state)
{
    persona_ipc_t *ipc = client(SECRET);
    apr_time_t began = apr_time_now();
    json_t *answer;

    (void)state;
    close(listener);
    assert_int_equal(call(ipc, "x", &answer, 200), ECONNREFUSED);
    assert_true(apr_time_now() - began >= apr_time_from_msec(150));
    assert_true(apr_time_now() - began < apr_time_from_msec(400));
    unlink(address.sun_path);
    assert_int_equal(call(ipc, "x", &answer, 100), ENOENT);
    listen_here();
}

/* ---- a manager that dies or freezes ---- */

static pid_t manager_start(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        serve(SECRET, getuid(), 4);
        for (;;) {
            pause();
        }
    }
    return pid;
}

static void manager_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void a_frozen_manager_ends_a_call_at_its_deadline(void **state)
{
    persona_ipc_t *ipc = client(SECRET);
    json_t *answer;
    apr_time_t began;
    int i;
    pid_t pid = manager_start();

    (void)state;
    assert_ok(ipc, "warm");
    kill(pid, SIGSTOP);
    waitpid(pid, &i, WUNTRACED);
    for (i = 0; i < 3; i++) { /* on a connection that has said hello, and on new ones */
        began = apr_time_now();
        assert_int_equal(call(ipc, "x", &answer, 200), APR_TIMEUP);
        assert_in_range(apr_time_now() - began, apr_time_from_msec(190), apr_time_from_msec(600));
    }
    kill(pid, SIGCONT);
    assert_ok(ipc, "thawed");
    manager_kill(pid);
}

static void a_killed_manager_is_met_again_by_its_successor(void **state)
{
    persona_ipc_t *ipc = client(SECRET);
    json_t *answer;
    pid_t pid = manager_start();

    (void)state;
    assert_ok(ipc, "first");
    /* It dies while it works: the request was sent in full, so the caller decides. */
    assert_int_equal(call(ipc, "die", &answer, 2000), APR_INCOMPLETE);
    waitpid(pid, NULL, 0);
    /* It dies while the connection is idle: nothing was sent, so the call goes on with the successor. */
    pid = manager_start();
    assert_ok(ipc, "second");
    manager_kill(pid);
    pid = manager_start();
    assert_ok(ipc, "third");
    manager_kill(pid);
}

/** Nobody accepts yet, but the socket listens: the call waits in the backlog. */
static void a_call_waits_in_the_backlog(void **state)
{
    persona_ipc_t *ipc = client(SECRET);
    pid_t pid = fork(), manager;

    (void)state;
    if (pid == 0) {
        json_t *answer;

        _exit(call(ipc, "early", &answer, 5000) == APR_SUCCESS ? 0 : 1);
    }
    apr_sleep(apr_time_from_msec(200));
    manager = manager_start();
    {
        int status;

        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    manager_kill(manager);
}

/* ---- many threads ---- */

#define THREADS 100
#define CALLS 50

static void *caller(void *data)
{
    persona_ipc_t *ipc = data;
    int i;
    apr_size_t wrong = 0;

    for (i = 0; i < CALLS; i++) {
        json_t *request = json_pack("{s:s, s:I}", "op", "n", "n", (json_int_t)(intptr_t)&i + i), *answer;

        if (persona_ipc_call(ipc, request, &answer, in(10000)) != APR_SUCCESS
            || !json_equal(json_object_get(answer, "echo"), request)) {
            wrong++;
        }
        json_decref(answer);
        json_decref(request);
    }
    return (void *)wrong;
}

static void every_thread_gets_its_own_answers(void **state)
{
    pthread_t threads[THREADS];
    persona_ipc_t *ipc = client(SECRET);
    int i;

    (void)state;
    serve(SECRET, getuid(), 4);
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, caller, ipc), 0);
    }
    for (i = 0; i < THREADS; i++) {
        void *wrong;

        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_int_equal(handled, THREADS * CALLS);
}

static void *sleeper(void *data)
{
    json_t *answer = NULL;
    apr_status_t rv = call(data, "sleep", &answer, 5000);

    json_decref(answer);
    return (void *)(intptr_t)rv;
}

static void a_stop_lets_requests_finish(void **state)
{
    pthread_t thread;
    persona_ipc_t *ipc = client(SECRET);
    void *rv;

    (void)state;
    serve(SECRET, getuid(), 2);
    pthread_create(&thread, NULL, sleeper, ipc);
    while (__atomic_load_n(&handled, __ATOMIC_SEQ_CST) == 0) {
        apr_sleep(1000);
    }
    assert_int_equal(persona_ipc_stop(server, apr_time_from_sec(2)), APR_SUCCESS);
    server = NULL;
    pthread_join(thread, &rv);
    assert_null(rv);
}

#define IPC_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IPC_TEST(a_wrong_secret_is_closed_without_a_word),
        IPC_TEST(a_request_instead_of_a_hello_is_not_answered),
        IPC_TEST(an_answer_cannot_be_played_again),
        IPC_TEST(another_uid_is_closed),
        IPC_TEST(a_version_that_was_not_offered_is_closed),
        IPC_TEST(the_highest_common_version_is_spoken),
        IPC_TEST(hostile_lengths_are_closed),
        IPC_TEST(what_is_no_request_is_closed),
        IPC_TEST(a_message_may_come_byte_by_byte),
        IPC_TEST(a_slow_peer_holds_nobody),
        IPC_TEST(an_answer_nobody_reads_holds_no_thread),
        IPC_TEST(large_messages_pass_and_larger_ones_do_not),
        IPC_TEST(a_handler_may_close),
        IPC_TEST(a_late_answer_ends_at_the_deadline),
        IPC_TEST(the_control_socket_needs_no_secret),
        IPC_TEST(nobody_listens),
        IPC_TEST(a_frozen_manager_ends_a_call_at_its_deadline),
        IPC_TEST(a_killed_manager_is_met_again_by_its_successor),
        IPC_TEST(a_call_waits_in_the_backlog),
        IPC_TEST(every_thread_gets_its_own_answers),
        IPC_TEST(a_stop_lets_requests_finish),
    };

    return UNIT_RUN(tests);
}

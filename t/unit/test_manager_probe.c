/* SPDX-License-Identifier: Apache-2.0 */
/* Probes against real sockets: peers that answer, refuse, say nothing, say too much, or talk for ever. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_strings.h>

#include "manager/probe.h"
#include "unit.h"

/** What a peer says to each connection; NULL: nothing. */
typedef struct peer_t {
    int fd, port;
    const char *says;
    int slow;               /**< takes half a millisecond for each connection */
    int drips;              /**< repeats one byte for as long as it is read */
    int silent_times;       /**< connections that are closed without a word first */
    char request[512];
    pthread_t thread;
} peer_t;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t over;
    int count, answers;
    char problem[160];
    apr_time_t at;
} outcome = {.lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER};

static persona_prober_t *prober;

static void done(void *baton, const char *uuid, int answers, const char *problem)
{
    (void)baton;
    (void)uuid;
    pthread_mutex_lock(&outcome.lock);
    outcome.count++;
    outcome.answers += answers;
    apr_cpystrn(outcome.problem, problem, sizeof(outcome.problem));
    outcome.at = apr_time_now();
    pthread_cond_broadcast(&outcome.over);
    pthread_mutex_unlock(&outcome.lock);
}

static void *peer_thread(void *arg)
{
    peer_t *peer = arg;
    int c;

    while ((c = accept(peer->fd, NULL, NULL)) >= 0) {
        if (peer->slow) {
            usleep(500);
        }
        if (peer->silent_times > 0) {
            peer->silent_times--;
        }
        else if (peer->drips) {
            while (send(c, "x", 1, MSG_NOSIGNAL) == 1) {
                usleep(1000);
            }
        }
        else if (peer->says) {
            if (!strncmp(peer->says, "HTTP", 4) && recv(c, peer->request, sizeof(peer->request) - 1, 0) < 0) {
                peer->request[0] = '\0';
            }
            (void)!send(c, peer->says, strlen(peer->says), MSG_NOSIGNAL);
        }
        else {
            usleep(2500000);
        }
        close(c);
    }
    return NULL;
}

static void peer_open(peer_t *peer)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);

    peer->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(peer->fd, (struct sockaddr *)&a, sizeof(a)), 0);
    /* One listener stands in for many instances: its queue must hold all of them, or the kernel drops connections. */
    assert_int_equal(listen(peer->fd, 1024), 0);
    assert_int_equal(getsockname(peer->fd, (struct sockaddr *)&a, &size), 0);
    peer->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&peer->thread, NULL, peer_thread, peer), 0);
}

static void peer_close(peer_t *peer)
{
    shutdown(peer->fd, SHUT_RDWR);
    close(peer->fd);
    pthread_join(peer->thread, NULL);
}

/** Probe and wait for the outcome. Returns whether it answers. */
static int probe(int port, persona_ready_e kind, apr_interval_time_t patience)
{
    persona_probe_t p = {"", "127.0.0.1", port, kind, "/there", patience};
    int answers;

    pthread_mutex_lock(&outcome.lock);
    outcome.count = outcome.answers = 0;
    persona_prober_add(prober, &p);
    while (!outcome.count) {
        pthread_cond_wait(&outcome.over, &outcome.lock);
    }
    answers = outcome.answers;
    pthread_mutex_unlock(&outcome.lock);
    return answers;
}

static int probe_peer(const char *says, persona_ready_e kind)
{
    peer_t peer = {.says = says};
    int answers;

    peer_open(&peer);
    answers = probe(peer.port, kind, apr_time_from_msec(300));
    peer_close(&peer);
    return answers;
}

static void refused(void **state)
{
    apr_time_t start = apr_time_now();

    (void)state;
    assert_false(probe(1, PERSONA_READY_TCP, apr_time_from_msec(500)));
    assert_true(apr_time_now() - start >= apr_time_from_msec(400));
    assert_string_equal(outcome.problem, "Connection refused");
}

static void not_an_address(void **state)
{
    persona_probe_t p = {"", "localhost; rm", 80, PERSONA_READY_TCP, "/", 0};

    (void)state;
    pthread_mutex_lock(&outcome.lock);
    outcome.count = 0;
    persona_prober_add(prober, &p);
    while (!outcome.count) {
        pthread_cond_wait(&outcome.over, &outcome.lock);
    }
    assert_int_equal(outcome.answers, 0);
    pthread_mutex_unlock(&outcome.lock);
}

static void a_silent_peer_does_not_hold_it_up(void **state)
{
    peer_t peer = {.says = NULL};
    apr_time_t start = apr_time_now();

    (void)state;
    peer_open(&peer);
    assert_false(probe(peer.port, PERSONA_READY_RFB, apr_time_from_msec(100)));
    assert_true(apr_time_now() - start < apr_time_from_sec(4));
    assert_string_equal(outcome.problem, "it accepts a connection and does not answer");
    peer_close(&peer);
}

static void a_peer_that_talks_for_ever_is_cut_off(void **state)
{
    peer_t peer = {.drips = 1};
    apr_time_t start = apr_time_now();

    (void)state;
    peer_open(&peer);
    assert_false(probe(peer.port, PERSONA_READY_HTTP, apr_time_from_msec(100)));
    assert_true(apr_time_now() - start < apr_time_from_sec(4));
    peer_close(&peer);
}

static void answers_that_are_none(void **state)
{
    (void)state;
    assert_false(probe_peer("SSH-2.0-OpenSSH\r\n", PERSONA_READY_RFB));
    assert_false(probe_peer("RF", PERSONA_READY_RFB));
    assert_false(probe_peer("HTTP/1.1 503 no\r\n\r\n", PERSONA_READY_HTTP));
    assert_string_equal(outcome.problem, "GET /there: HTTP status 503");
    assert_false(probe_peer("HTTP/1.1 404 no\r\n\r\n", PERSONA_READY_HTTP));
    assert_false(probe_peer("HTTP/1.1 -99 no\r\n\r\n", PERSONA_READY_HTTP));
    assert_false(probe_peer("HTTP/1.1", PERSONA_READY_HTTP));
    assert_false(probe_peer("220 smtp.example.org ESMTP\r\n", PERSONA_READY_HTTP));
}

static void answers(void **state)
{
    (void)state;
    assert_true(probe_peer("RFB 003.008\n", PERSONA_READY_RFB));
    assert_true(probe_peer("HTTP/1.1 200 OK\r\n\r\n", PERSONA_READY_HTTP));
    assert_true(probe_peer("HTTP/1.0 302 Found\r\nLocation: /x\r\n\r\n", PERSONA_READY_HTTP));
    assert_true(probe_peer("anything", PERSONA_READY_TCP));
}

static void it_tries_until_the_peer_is_up(void **state)
{
    peer_t peer = {.says = "RFB 003.008\n", .silent_times = 3};

    (void)state;
    peer_open(&peer);
    assert_true(probe(peer.port, PERSONA_READY_RFB, apr_time_from_sec(5)));
    peer_close(&peer);
}

static void many_at_once(void **state)
{
    persona_probe_t p = {"", "127.0.0.1", 0, PERSONA_READY_RFB, "/", apr_time_from_sec(10)};
    peer_t peer = {.says = "RFB 003.008\n"}, mute = {.says = NULL};
    apr_time_t start = apr_time_now();

    (void)state;
    peer_open(&peer);
    peer_open(&mute);
    pthread_mutex_lock(&outcome.lock);
    outcome.count = outcome.answers = 0;
    for (int i = 0; i < 700; i++) {
        p.port = i % 100 ? peer.port : mute.port;
        p.patience = i % 100 ? apr_time_from_sec(10) : apr_time_from_msec(100);
        persona_prober_add(prober, &p);
    }
    while (outcome.count < 700) {
        pthread_cond_wait(&outcome.over, &outcome.lock);
    }
    assert_int_equal(outcome.answers, 693);
    pthread_mutex_unlock(&outcome.lock);
    assert_true(apr_time_now() - start < apr_time_from_sec(10));
    peer_close(&peer);
    peer_close(&mute);
}

/** A pool of thousands: who waits for a turn is not taken for one that does not answer. */
static void more_than_can_run_wait_for_their_turn(void **state)
{
    peer_t peer = {.says = "RFB 003.008\n", .slow = 1};

    (void)state;
    peer_open(&peer);
    pthread_mutex_lock(&outcome.lock);
    outcome.count = outcome.answers = 0;
    for (int i = 0; i < 8000; i++) {
        persona_probe_t p = {"", "127.0.0.1", peer.port, PERSONA_READY_RFB, "/", apr_time_from_sec(3)};

        persona_prober_add(prober, &p);
    }
    while (outcome.count < 8000) {
        pthread_cond_wait(&outcome.over, &outcome.lock);
    }
    assert_int_equal(outcome.answers, 8000);
    pthread_mutex_unlock(&outcome.lock);
    peer_close(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(refused),
        UNIT_TEST(not_an_address),
        UNIT_TEST(a_silent_peer_does_not_hold_it_up),
        UNIT_TEST(a_peer_that_talks_for_ever_is_cut_off),
        UNIT_TEST(answers_that_are_none),
        UNIT_TEST(answers),
        UNIT_TEST(it_tries_until_the_peer_is_up),
        UNIT_TEST(many_at_once),
        UNIT_TEST(more_than_can_run_wait_for_their_turn),
    };
    apr_pool_t *p;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&p, NULL) != APR_SUCCESS
        || persona_prober_create(&prober, done, NULL, p) != APR_SUCCESS) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

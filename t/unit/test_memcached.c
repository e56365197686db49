/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file test_memcached.c
 * @brief The memcached store against real memcacheds that are killed, frozen, flushed and too small.
 *
 * Each test starts its own memcached, on a socket in a folder of its own or on a free port, and ends it by its pid.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_strings.h>

#include "persona/digest.h"
#include "persona_store.h"
#include "pool/pool.h"

#define TIMEOUT apr_time_from_msec(200)
/** A loaded machine schedules late. */
#define SLACK apr_time_from_msec(300)
#define GROUP "group"

static char directory[64], path[96];
static pid_t pids[2];
static persona_store_t *store;

/* ---- memcached ---- */

static int ready(const struct sockaddr *address, socklen_t len)
{
    int i;

    for (i = 0; i < 200; i++) {
        int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int rc = connect(fd, address, len);

        close(fd);
        if (rc == 0) {
            return 1;
        }
        apr_sleep(apr_time_from_msec(25));
    }
    return 0;
}

static pid_t spawn(const char *option, const char *value, const char *megabytes)
{
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("memcached", "memcached", "-u", "nobody", "-m", megabytes, "-I", "512k", "-t", "2", option, value,
               option[1] == 's' ? NULL : "-l", "127.0.0.1", NULL);
        _exit(127);
    }
    return pid;
}

static void start_unix(const char *megabytes)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    unlink(path);
    apr_cpystrn(address.sun_path, path, sizeof(address.sun_path));
    pids[0] = spawn("-s", path, megabytes);
    assert_true(ready((struct sockaddr *)&address, sizeof(address)));
}

/** On a port that was free a moment ago. */
static int start_tcp(int n)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    pids[n] = spawn("-p", apr_itoa(unit_pool, ntohs(address.sin_port)), "16");
    assert_true(ready((struct sockaddr *)&address, sizeof(address)));
    return ntohs(address.sin_port);
}

static void stop(int n)
{
    if (pids[n] > 0) {
        kill(pids[n], SIGKILL);
        waitpid(pids[n], NULL, 0);
        pids[n] = 0;
    }
}

static void freeze(int n)
{
    int status;

    kill(pids[n], SIGSTOP);
    assert_int_equal(waitpid(pids[n], &status, WUNTRACED), pids[n]);
    assert_true(WIFSTOPPED(status));
}

/** Say something to the memcached behind the store's back. */
static void say(const char *text, size_t len)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char answer[64];

    apr_cpystrn(address.sun_path, path, sizeof(address.sun_path));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, text, len, 0), (ssize_t)len);
    assert_true(recv(fd, answer, sizeof(answer), 0) > 0);
    close(fd);
}

static void flush_all(void)
{
    say("flush_all\r\n", 11);
}

static int setup(void **state)
{
    if (unit_setup(state) != 0) {
        return -1;
    }
    apr_snprintf(directory, sizeof(directory), "/tmp/persona-mc.XXXXXX");
    if (!mkdtemp(directory) || chmod(directory, 0777) != 0) {
        return -1;
    }
    apr_snprintf(path, sizeof(path), "%s/s", directory);
    store = NULL;
    return 0;
}

static int teardown(void **state)
{
    if (store) {
        store->close(store);
    }
    stop(0);
    stop(1);
    unlink(path);
    rmdir(directory);
    return unit_teardown(state);
}

static void open_store(const char *servers)
{
    assert_int_equal(persona_store_memcached_open(&store, servers, TIMEOUT, unit_pool), APR_SUCCESS);
}

static void open_unix(void)
{
    start_unix("16");
    open_store(path);
}

static apr_status_t get(const char *key, const char **value)
{
    return store->get(store, GROUP, key, value, unit_pool);
}

static void assert_value(const char *key, const char *expected)
{
    const char *value;

    assert_int_equal(get(key, &value), APR_SUCCESS);
    assert_string_equal(value, expected);
}

/* ---- PersonaMemcached ---- */

static void bad_servers_are_told(void **state)
{
    static const char *const bad[][2] = {
        {"", "missing"}, {NULL, "missing"}, {"localhost", "no port"}, {"127.0.0.1:", "port must"},
        {"127.0.0.1:0", "port must"}, {"127.0.0.1:65536", "port must"}, {"127.0.0.1:11211x", "port must"},
        {"127.0.0.1:-1", "port must"}, {":11211", "neither"}, {"a b:1", "neither"}, {"::1:11211", "brackets"},
        {"[::1]", "no port"}, {"[zz]:1", "neither"}, {"a:1,,b:2", "missing"}, {"a:1,", "missing"},
        {"a:1,/run/x", "alone"}};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *error = persona_store_memcached_check(bad[i][0], unit_pool);

        if (!error || !strstr(error, bad[i][1])) {
            fail_msg("\"%s\": %s", bad[i][0], error);
        }
    }
    assert_int_equal(persona_store_memcached_open(&store, "a:", TIMEOUT, unit_pool), APR_EINVAL);
    store = NULL;
    assert_null(persona_store_memcached_check("127.0.0.1:11211", unit_pool));
    assert_null(persona_store_memcached_check("[::1]:11211,cache-1.example.org:11212", unit_pool));
    assert_null(persona_store_memcached_check("/run/memcached/memcached.sock", unit_pool));
}

/* ---- semantics ---- */

static void it_does_what_the_contract_says(void **state)
{
    const char *const names[] = {"k", "none", "n"};
    const char *value, *values[3];
    apr_uint64_t n;

    (void)state;
    open_unix();
    assert_int_equal(get("k", &value), APR_NOTFOUND);
    assert_int_equal(store->add(store, GROUP, "k", "one", 0), APR_SUCCESS);
    assert_int_equal(store->add(store, GROUP, "k", "two", 0), APR_EEXIST);
    assert_value("k", "one");
    assert_int_equal(store->set(store, GROUP, "k", "", 0), APR_SUCCESS);
    assert_value("k", "");
    assert_int_equal(store->incr(store, GROUP, "n", &n), APR_NOTFOUND);
    assert_int_equal(get("n", &value), APR_NOTFOUND);
    assert_int_equal(store->add(store, GROUP, "n", "9", 0), APR_SUCCESS);
    assert_int_equal(store->incr(store, GROUP, "n", &n), APR_SUCCESS);
    assert_int_equal(n, 10);
    assert_int_equal(store->incr(store, GROUP, "k", &n), APR_EGENERAL);
    assert_int_equal(store->get_many(store, GROUP, names, 3, values, unit_pool), APR_SUCCESS);
    assert_string_equal(values[0], "");
    assert_null(values[1]);
    assert_string_equal(values[2], "10");
    assert_int_equal(store->remove(store, GROUP, "k"), APR_SUCCESS);
    assert_int_equal(store->remove(store, GROUP, "k"), APR_NOTFOUND);
    assert_int_equal(store->add(store, GROUP, "short", "x", 1), APR_SUCCESS);
    apr_sleep(apr_time_from_msec(2100));
    assert_int_equal(get("short", &value), APR_NOTFOUND);
}

static void limits_are_kept(void **state)
{
    char key[256], *text = apr_palloc(unit_pool, 20000);
    const char *value;
    const char *keys[150], *values[150];
    int i;

    (void)state;
    open_unix();
    memset(key, 'k', sizeof(key));
    key[200] = '\0';
    assert_int_equal(store->set(store, GROUP, key, "x", 0), APR_SUCCESS);
    assert_value(key, "x");
    key[200] = 'k';
    key[201] = '\0';
    assert_int_equal(store->set(store, GROUP, key, "x", 0), APR_EINVAL);
    assert_int_equal(get("a\r\nflush_all", &value), APR_EINVAL);
    assert_int_equal(get("a b", &value), APR_EINVAL);
    assert_int_equal(get("", &value), APR_EINVAL);
    assert_int_equal(get("\xc3\xa4", &value), APR_EINVAL);
    memset(text, 'v', 20000);
    text[8192] = '\0';
    assert_int_equal(store->set(store, GROUP, "big", text, 0), APR_SUCCESS);
    assert_value("big", text);
    text[8192] = 'v';
    text[8193] = '\0';
    assert_int_equal(store->set(store, GROUP, "big", text, 0), APR_EINVAL);
    /* What somebody else put there is no value of ours. */
    i = apr_snprintf(text, 100, "set huge 0 0 19000\r\n");
    memset(text + i, 'v', 19000);
    memcpy(text + i + 19000, "\r\n", 2);
    say(text, (size_t)i + 19002);
    assert_value("huge", "");
    for (i = 0; i < 150; i++) {
        keys[i] = apr_psprintf(unit_pool, "many%d", i);
        assert_int_equal(i % 3 ? store->set(store, GROUP, keys[i], keys[i], 0) : APR_SUCCESS, APR_SUCCESS);
    }
    assert_int_equal(store->get_many(store, GROUP, keys, 150, values, unit_pool), APR_SUCCESS);
    for (i = 0; i < 150; i++) {
        assert_true(i % 3 ? strcmp(values[i], keys[i]) == 0 : !values[i]);
    }
}

#define THREADS 80
#define CALLS 100

static void *counter(void *data)
{
    apr_pool_t *p;
    const char *key = data, *value;
    apr_uint64_t n;
    intptr_t wrong = 0;
    char own[32];
    int i;

    apr_pool_create(&p, NULL);
    for (i = 0; i < CALLS; i++) {
        wrong += store->incr(store, GROUP, key, &n) != APR_SUCCESS;
        apr_snprintf(own, sizeof(own), "t%" APR_UINT64_T_FMT, n);
        wrong += store->add(store, GROUP, own, own, 0) != APR_SUCCESS;
        wrong += store->get(store, GROUP, own, &value, p) != APR_SUCCESS || strcmp(value, own) != 0;
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return (void *)wrong;
}

static void many_threads_get_each_number_once(void **state)
{
    pthread_t threads[THREADS];
    int i;

    (void)state;
    start_unix("16");
    assert_int_equal(persona_store_memcached_open(&store, path, apr_time_from_sec(10), unit_pool), APR_SUCCESS);
    store->add(store, GROUP, "n", "0", 0);
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, counter, (void *)"n"), 0);
    }
    for (i = 0; i < THREADS; i++) {
        void *wrong;

        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_value("n", apr_itoa(unit_pool, THREADS * CALLS));
}

/* ---- frozen and killed ---- */

static apr_interval_time_t time_of_get(apr_status_t *rv)
{
    apr_time_t began = apr_time_now();
    const char *value;

    *rv = get("a", &value);
    return apr_time_now() - began;
}

static void recovered(const char *key, const char *expected)
{
    const char *value = NULL;
    apr_status_t rv = APR_EGENERAL;
    int i;

    for (i = 0; i < 60; i++) {
        rv = get(key, &value);
        if (rv == APR_SUCCESS || rv == APR_NOTFOUND) {
            break;
        }
        apr_sleep(apr_time_from_msec(50));
    }
    assert_int_equal(rv, expected ? APR_SUCCESS : APR_NOTFOUND);
    assert_true(!expected || strcmp(value, expected) == 0);
}

static void a_frozen_one_costs_one_timeout(void **state)
{
    apr_status_t rv;
    apr_uint64_t n;
    int i;

    (void)state;
    open_unix();
    store->set(store, GROUP, "a", "A", 0);
    store->set(store, GROUP, "b", "B", 0);
    freeze(0);
    assert_true(time_of_get(&rv) < TIMEOUT + SLACK);
    assert_int_equal(rv, APR_TIMEUP);
    for (i = 0; i < 10; i++) {
        assert_true(time_of_get(&rv) < apr_time_from_msec(50));
        assert_int_equal(rv, APR_TIMEUP);
    }
    assert_int_equal(store->incr(store, GROUP, "n", &n), APR_TIMEUP);
    assert_int_equal(store->add(store, GROUP, "c", "C", 0), APR_TIMEUP);
    apr_sleep(apr_time_from_msec(1100));
    assert_true(time_of_get(&rv) < TIMEOUT + SLACK); /* tried again */
    assert_int_equal(rv, APR_TIMEUP);
    kill(pids[0], SIGCONT);
    recovered("a", "A");
    for (i = 0; i < 20; i++) { /* late answers are not taken for those of other questions */
        assert_value("b", "B");
        assert_value("a", "A");
    }
}

static void a_killed_one_is_used_again_after_its_start(void **state)
{
    apr_status_t rv;

    (void)state;
    open_unix();
    store->set(store, GROUP, "a", "A", 0);
    stop(0);
    assert_true(time_of_get(&rv) < TIMEOUT + SLACK);
    assert_true(rv != APR_SUCCESS && rv != APR_NOTFOUND && rv != APR_TIMEUP);
    start_unix("16");
    recovered("a", NULL);
    assert_int_equal(store->set(store, GROUP, "a", "A2", 0), APR_SUCCESS);
    assert_value("a", "A2");
}

static void one_that_was_never_there_is_found_when_it_comes(void **state)
{
    apr_status_t rv;

    (void)state;
    open_store(path);
    time_of_get(&rv);
    assert_true(rv != APR_SUCCESS && rv != APR_NOTFOUND);
    start_unix("16");
    recovered("a", NULL);
}

static void a_flush_is_no_error(void **state)
{
    apr_uint64_t n;

    (void)state;
    open_unix();
    store->add(store, GROUP, "n", "0", 0);
    flush_all();
    assert_int_equal(store->incr(store, GROUP, "n", &n), APR_NOTFOUND);
    assert_int_equal(store->add(store, GROUP, "n", "0", 0), APR_SUCCESS);
}

/** Of two servers one freezes: groups on the other do not notice, and none moves. */
static void the_other_server_does_not_notice(void **state)
{
    char group[16];
    const char *value;
    int one = start_tcp(0), two = start_tcp(1), i, good = 0, bad = 0;
    apr_time_t began;

    (void)state;
    open_store(apr_psprintf(unit_pool, "127.0.0.1:%d,127.0.0.1:%d", one, two));
    for (i = 0; i < 100; i++) {
        apr_snprintf(group, sizeof(group), "g%d", i);
        assert_int_equal(store->set(store, group, "x", "v", 0), APR_SUCCESS);
        assert_int_equal(store->set(store, group, apr_psprintf(unit_pool, "y%d", i), "v", 0), APR_SUCCESS);
    }
    freeze(1);
    began = apr_time_now();
    for (i = 0; i < 100; i++) {
        apr_status_t x, y;

        apr_snprintf(group, sizeof(group), "g%d", i);
        x = store->get(store, group, "x", &value, unit_pool);
        y = store->get(store, group, apr_psprintf(unit_pool, "y%d", i), &value, unit_pool);
        assert_int_equal(x == APR_SUCCESS, y == APR_SUCCESS); /* a group is on one server */
        good += x == APR_SUCCESS;
        bad += x == APR_TIMEUP;
    }
    assert_true(apr_time_now() - began < 2 * TIMEOUT + SLACK);
    assert_true(good > 10 && bad > 10 && good + bad == 100);
    kill(pids[1], SIGCONT);
}

/* ---- the claim over it ---- */

#define SESSIONS 60

static char uuids[SESSIONS][PERSONA_UUID_LEN], owners[SESSIONS][PERSONA_SESSION_LEN];

static persona_assign_e assign(void *baton, const persona_record_t *slot, const char *session, apr_uint64_t ticket,
                               apr_time_t deadline, persona_record_t **record, apr_pool_t *p)
{
    int i;

    (void)baton;
    (void)ticket;
    (void)deadline;
    for (i = 0; i < SESSIONS; i++) {
        if (strcmp(uuids[i], slot->instance) == 0 && (!*owners[i] || strcmp(owners[i], session) == 0)) {
            apr_cpystrn(owners[i], session, PERSONA_SESSION_LEN);
            *record = apr_pmemdup(p, slot, sizeof(*slot));
            return PERSONA_ASSIGN_YES;
        }
    }
    return PERSONA_ASSIGN_NO;
}

static void publish(persona_index_t *index, int create, apr_pool_t *p)
{
    static char generation[33];
    persona_queue_t queue;
    apr_uint64_t slot;
    int created, i;

    if (persona_pool_queue(index, "cad", create, 4096, &queue, &created, p) != APR_SUCCESS) {
        return;
    }
    for (i = 0; i < SESSIONS && (queue.head >= queue.tail || strcmp(generation, queue.generation) != 0); i++) {
        persona_record_t r = {.instance = uuids[i], .persona_id = "cad", .app = "a", .compute = "kvm",
                              .fingerprint = "f", .address = "10.0.0.1", .port = 1, .path = "/"};

        if (!*owners[i]) {
            persona_pool_publish(index, &queue, &r, &slot, p);
        }
    }
    apr_cpystrn(generation, queue.generation, sizeof(generation));
}

/** Evictions, flushes and junk between any two claims; in the end everybody has one instance. */
static void a_memcached_that_forgets_loses_nobody(void **state)
{
    static const char *const keys[2] = {"key", NULL};
    char sessions[SESSIONS][PERSONA_SESSION_LEN], *junk = apr_palloc(unit_pool, 8001);
    int got[SESSIONS] = {0}, i, round, have = 0;
    persona_index_t *index;
    apr_pool_t *p;

    (void)state;
    start_unix("1");
    open_store(path);
    memset(junk, 'j', 8000);
    junk[8000] = '\0';
    assert_int_equal(persona_index_create(&index, store, "ns", keys, unit_pool), APR_SUCCESS);
    for (i = 0; i < SESSIONS; i++) {
        apr_cpystrn(uuids[i], persona_uuid_random(unit_pool), PERSONA_UUID_LEN);
        owners[i][0] = '\0';
        persona_sha256(&i, sizeof(i), sessions[i]);
    }
    apr_pool_create(&p, unit_pool);
    for (round = 0; round < 200 && have < SESSIONS; round++) {
        publish(index, 1, p);
        for (i = 0; i < SESSIONS; i++) {
            persona_claim_t claim = {.persona_id = "cad", .session = sessions[i]};
            persona_record_t *record;
            int j;

            if (got[i] || (i + round) % 7 == 0) {
                continue;
            }
            if (persona_pool_claim(index, &claim, assign, NULL, apr_time_now() + apr_time_from_sec(1), &record, p)
                == PERSONA_CLAIM_GOT) {
                got[i] = 1;
                have++;
            }
            for (j = 0; j < 4; j++) {
                store->set(store, GROUP, apr_psprintf(p, "junk%d", (round * 31 + i * 4 + j) % 1000), junk, 0);
            }
            if ((round * SESSIONS + i) % 41 == 0) {
                flush_all();
                break;
            }
            apr_pool_clear(p);
        }
        if (have == round) {
            apr_sleep(apr_time_from_msec(50));
        }
    }
    assert_int_equal(have, SESSIONS);
    for (i = 0; i < SESSIONS; i++) {
        int j, owned = 0;

        for (j = 0; j < SESSIONS; j++) {
            owned += strcmp(owners[j], sessions[i]) == 0;
        }
        assert_int_equal(owned, 1);
    }
}

#define MEMCACHED_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEMCACHED_TEST(bad_servers_are_told),
        MEMCACHED_TEST(it_does_what_the_contract_says),
        MEMCACHED_TEST(limits_are_kept),
        MEMCACHED_TEST(many_threads_get_each_number_once),
        MEMCACHED_TEST(a_frozen_one_costs_one_timeout),
        MEMCACHED_TEST(a_killed_one_is_used_again_after_its_start),
        MEMCACHED_TEST(one_that_was_never_there_is_found_when_it_comes),
        MEMCACHED_TEST(a_flush_is_no_error),
        MEMCACHED_TEST(the_other_server_does_not_notice),
        MEMCACHED_TEST(a_memcached_that_forgets_loses_nobody),
    };

    if (access("/usr/bin/memcached", X_OK) != 0) {
        printf("1..0 # SKIP memcached is not installed\n");
        return 0;
    }
    return UNIT_RUN(tests);
}

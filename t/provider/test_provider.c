/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file test_provider.c
 * @brief The contract of persona_compute.h, asked of a real engine. Any provider must pass.
 *
 *   test_provider [OPTION]... PROVIDER ADDRESS
 *     --conf NAME=VALUE  option of the PersonaCompute line (again for more)
 *     --image NAME       os_image: what t/provider/image makes, for this engine
 *     --network NAME     network.name
 *     --gateway ADDR     an address of the host that instances could reach, were they not isolated
 *     --allowed PORT     port at ADDR that the configuration allows isolated instances
 *     --machine          instances are virtual machines: allow them longer
 *     --open NAME        network.name of those that are not isolated, where that is another network (--network's)
 *     --at-engine        images are at the engine: only creating tells whether there is one
 *     --only PART        run one part: refusal, fence, life, crowd, sweep, death,
 *                        measure, isolation, outage (again for more)
 *     --restart COMMAND  restarts the engine; instances live on
 *     --mortal           they do not: a restart of the engine ends them
 *     --freeze COMMAND --thaw COMMAND   stop and continue the engine
 *     --sweep COMMAND    removes what nobody seems to use, as administrators do
 *     --beside START --beside-end STOP   bench: the engine's own client starts and ends such an instance at --beside-at
 *     --beside-at ADDR   (--only bench alone; measures nothing else)
 *     --distrust         the engine must be refused, or refuse us; nothing else is tested
 *     --rounds N         rounds of the fence race (200)
 *     --leaks COMMAND    prints whatever is left at the engine; run at the end
 *
 * Prints TAP. The instances run t/provider/image's "probe", whose web server tells what it is like inside.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <jansson.h>

#include "persona/digest.h"
#include "persona_compute.h"

#define TIMEOUT apr_time_from_sec(5)
#define MIB ((apr_int64_t)1 << 20)
#define RACERS 64
#define ODD "'q' \"d\" $HOME %s \\n \xc3\xa9 ;|`x`"
#define HOSTILE "<a href=\"x\">&amp; 'q' $HOME %s \\n \xc3\xa9]]>"

static struct {
    const char *image, *network, *open, *gateway, *restart, *freeze, *thaw, *leaks, *only, *sweep, *beside, *beside_end,
        *beside_at;
    int allowed, machine, at_engine, mortal, distrust, rounds;
    apr_interval_time_t boot;
} setup = {.image = "probe", .network = "persona", .rounds = 200, .boot = apr_time_from_sec(30)};

static apr_pool_t *p;
static const persona_compute_provider_t *provider;
static persona_compute_conf_t conf;
static persona_compute_t *one, *two; /* two managers of one site */
static int tests, failures;

static int ok(int good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int ok(int good, const char *fmt, ...)
{
    va_list ap;

    printf("%sok %d - ", good ? "" : "not ", ++tests);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
    failures += !good;
    return good;
}

static int succeeded(apr_status_t status, const persona_result_t *res, const char *what)
{
    if (!ok(status == APR_SUCCESS, "%s", what)) {
        printf("# status %d, %s: %s\n", status, res->problem, res->detail);
    }
    return status == APR_SUCCESS;
}

static void run(const char *command)
{
    pid_t child = fork();
    int status = 0;

    if (!child) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status) {
        printf("Bail out! \"%s\" failed with %d\n", command, status);
        exit(1);
    }
}

/* ---- an instance's inside ---- */

static int dial(const char *address, int port, int ms)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *info;
    struct pollfd poller;
    int fd, error = 0;
    socklen_t size = sizeof(error);

    if (getaddrinfo(address, apr_itoa(p, port), &hints, &info)) {
        return -1;
    }
    fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connect(fd, info->ai_addr, info->ai_addrlen) && errno != EINPROGRESS) {
        error = errno;
    }
    freeaddrinfo(info);
    poller = (struct pollfd){.fd = fd, .events = POLLOUT};
    if (error || poll(&poller, 1, ms) != 1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) || error) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The body of a page of the instance; NULL: none. */
static const char *ask(const persona_instance_t *instance, const char *path)
{
    const char *request = apr_psprintf(p, "GET /cgi-bin/%s HTTP/1.0\r\n\r\n", path), *body;
    const int fd = instance->address ? dial(instance->address, instance->port, 1000) : -1;
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    char *answer = apr_pcalloc(p, 65536);
    size_t len = 0;
    ssize_t got = 1;

    if (fd < 0) {
        return NULL;
    }
    if (write(fd, request, strlen(request)) != (ssize_t)strlen(request)) {
        got = -1;
    }
    while (got > 0 && len < 65535 && poll(&poller, 1, 10000) == 1) {
        got = read(fd, answer + len, 65535 - len);
        len += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    body = strstr(answer, "\r\n\r\n");
    return body && !strncmp(answer, "HTTP/1.", 7) && !strncmp(answer + 8, " 200", 4) ? body + 4 : NULL;
}

static int reaches(const persona_instance_t *from, const char *address, int port)
{
    const char *answer = ask(from, apr_psprintf(p, "connect?%s+%d", address, port));

    if (!answer) {
        printf("# the instance did not answer\n");
        return -1;
    }
    return !strncmp(answer, "open", 4);
}

/* ---- instances ---- */

static persona_t *make_persona(const char *id)
{
    persona_t *persona = apr_pcalloc(p, sizeof(*persona));
    apr_table_t *env = apr_table_make(p, 4);
    apr_array_header_t *command = apr_array_make(p, 2, sizeof(const char *));

    apr_table_set(env, "LANG", "C.UTF-8");
    apr_table_set(env, "ODD", ODD);
    apr_table_set(env, "PERSONA_INSTANCE", "forged");
    APR_ARRAY_PUSH(command, const char *) = "sh";
    APR_ARRAY_PUSH(command, const char *) = "it's \"a\" <word>";
    *persona = (persona_t){.id = id, .app_id = "probe", .title = HOSTILE, .source = "probe", .order = 1};
    persona->resources = (persona_resources_t){.cpu = 1, .memory = setup.machine ? 160 * MIB : 48 * MIB,
                                               .max_cpu = 2, .max_memory = setup.machine ? 256 * MIB : 96 * MIB};
    persona->environment = (persona_environment_t){
        .compute = conf.name, .os_image = setup.image, .command = command, .network = setup.network, .isolated = 1,
        .env = env, .stream = PERSONA_STREAM_HTTP, .stream_port = 5900, .stream_path = "/",
        .ready = PERSONA_READY_TCP, .ready_timeout = setup.boot};
    memset(persona->fingerprint, 'f', PERSONA_SESSION_LEN - 1);
    return persona;
}

static const char *begin(const persona_t *persona, const char *what)
{
    persona_create_t how = {.uuid = persona_uuid_random(p), .hook_key = "0123456789abcdef", .reason = "a test"};
    persona_result_t res = {0};

    succeeded(provider->create(one, persona, &how, &res, p), &res, what);
    return how.uuid;
}

/* Wait until the instance's web server answers. */
static persona_instance_t *boot(const char *uuid)
{
    const apr_time_t until = apr_time_now() + setup.boot;
    persona_instance_t *instance = NULL;
    persona_result_t res = {0};

    do {
        if (provider->inspect(one, uuid, &instance, &res, p) != APR_SUCCESS) {
            printf("# %s\n", res.detail);
            return NULL;
        }
        if (ask(instance, "run?id")) {
            return instance;
        }
        usleep(200000);
    } while (apr_time_now() < until && instance->state != PERSONA_INSTANCE_GONE);
    printf("# no answer from %s port %d, running %d, %s\n", instance->address ? instance->address : "(no address)",
           instance->port, instance->running, instance->reason);
    return NULL;
}

static persona_instance_t *find(const char *uuid)
{
    apr_array_header_t *instances;
    persona_result_t res = {0};

    if (provider->list(two, &instances, &res, p) != APR_SUCCESS) {
        printf("# list: %s\n", res.detail);
        return NULL;
    }
    for (int i = 0; i < instances->nelts; ++i) {
        persona_instance_t *instance = APR_ARRAY_IDX(instances, i, persona_instance_t *);
        if (!strcmp(instance->uuid, uuid)) {
            return instance;
        }
    }
    return NULL;
}

static int count_instances(persona_compute_t *c)
{
    apr_array_header_t *instances;

    return provider->list(c, &instances, NULL, p) == APR_SUCCESS ? instances->nelts : -1;
}

static void end(const char *uuid, const char *what)
{
    persona_result_t res = {0};
    apr_status_t status = provider->destroy(one, uuid, &res, p);

    /* A slow engine may take longer than a call: then it is asked again. */
    for (int i = 0; i < 6 && status == APR_TIMEUP; ++i) {
        status = provider->destroy(one, uuid, &res, p);
    }
    succeeded(status, &res, what);
}

static int same(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

/* ---- the tests ---- */

static void refusals(void)
{
    persona_compute_conf_t bad = conf;
    apr_table_t *options = apr_table_make(p, 1);
    persona_create_t how = {.uuid = persona_uuid_random(p), .reason = "a test"};
    persona_result_t res = {0};
    persona_instance_t *instance;
    persona_t *persona = make_persona("bad");
    apr_array_header_t *libraries = apr_array_make(p, 2, sizeof(const char *));
    const char *wrong;

    printf("# What is wrong is said before anything is made\n");
    apr_table_set(options, "nonsense", "1");
    bad.options = options;
    wrong = provider->check_conf(&bad, p);
    ok(wrong && strstr(wrong, "nonsense"), "an unknown option is named: %s", wrong ? wrong : "nothing");
    ok(!provider->check_conf(&conf, p), "the configuration is good");
    ok(!provider->check_persona(&conf, persona, p), "the persona is good");

    persona->environment.os_image = "no-such-image";
    if (!setup.at_engine) {
        wrong = provider->check_persona(&conf, persona, p);
        ok(wrong && strstr(wrong, "no-such-image"), "a missing image is named: %s", wrong ? wrong : "nothing");
    }
    ok(provider->create(one, persona, &how, &res, p) != APR_SUCCESS && same(res.problem, "image-missing")
       && strstr(res.detail, "no-such-image"), "and cannot be created: %s", res.detail);
    persona->environment.os_image = "../../etc/passwd";
    ok(provider->check_persona(&conf, persona, p) != NULL, "an image outside of the images is refused");

    persona = make_persona("bad");
    APR_ARRAY_PUSH(libraries, const char *) = "probe-library";
    persona->environment.libraries = libraries;
    ok(!provider->check_persona(&conf, persona, p), "an image that has the library is good");
    APR_ARRAY_PUSH(libraries, const char *) = "libabsent7";
    if (!setup.at_engine) {
        wrong = provider->check_persona(&conf, persona, p);
        ok(wrong && strstr(wrong, "libabsent7"), "a missing library is named: %s", wrong ? wrong : "nothing");
    }
    ok(provider->create(one, persona, &how, &res, p) != APR_SUCCESS && same(res.problem, "image-lacks-library")
       && strstr(res.detail, "libabsent7") && !strstr(res.detail, "probe-library"), "and cannot be created: %s",
       res.detail);
    end(how.uuid, "what was begun is swept");

    persona = make_persona("bad");
    persona->environment.network = "no-such-network";
    ok(provider->create(one, persona, &how, &res, p) != APR_SUCCESS && strstr(res.detail, "no-such-network"),
       "a missing network is named: %s", res.detail);
    end(how.uuid, "what was begun is swept");
    ok(provider->inspect(one, how.uuid, &instance, &res, p) == APR_ENOENT, "and is known no more");

    persona = make_persona("bad");
    apr_table_set((apr_table_t *)persona->environment.env, "BAD", "bell\aline\nfeed");
    ok(provider->check_persona(&conf, persona, p) != NULL, "control characters in a value are refused");
    persona = make_persona("bad");
    apr_table_set((apr_table_t *)persona->environment.env, "BAD NAME", "x");
    ok(provider->check_persona(&conf, persona, p) != NULL, "a bad name of a variable is refused");
    ok(provider->inspect(one, "'; rm -rf /", &instance, &res, p) == APR_ENOENT, "a uuid that is none does not exist");
    ok(provider->destroy(one, "../x", &res, p) == APR_SUCCESS, "and destroying it does nothing");
}

/* The line is JSON; how it escapes is the provider's business. */
static int command_arrived(const char *env)
{
    const char *line = strstr(env, "PERSONA_COMMAND="), *first, *second;
    json_t *words = line ? json_loads(line + strlen("PERSONA_COMMAND="), JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    int good;

    first = json_string_value(json_array_get(words, 0));
    second = json_string_value(json_array_get(words, 1));
    good = json_array_size(words) == 2 && same(first, "sh") && same(second, "it's \"a\" <word>");
    json_decref(words);
    return good;
}

/* A container of an engine shares the host's root and kernel: it has little of the one's power over the other. */
static void check_rights(const persona_instance_t *instance)
{
    const char *rights = ask(instance, "run?rights"), *root = ask(instance, "run?root");

    ok(rights && strstr(rights, "NoNewPrivs:\t1\n"), "it can gain no privileges");
    /* CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID */
    ok(rights && strstr(rights, "CapBnd:\t00000000000000eb\n"), "and has only those that log somebody in");
    ok(rights && !strstr(rights, ".sock"), "no socket of the host is inside");
    ok(root && strstr(root, "Read-only"), "its root cannot be written: %s", root ? root : "no answer");
}

static void check_inside(const persona_instance_t *instance, const char *uuid)
{
    const char *env = ask(instance, "env");

    ok(env && strstr(env, apr_pstrcat(p, "PERSONA_INSTANCE=", uuid, "\n", NULL)), "it knows its uuid");
    ok(env && strstr(env, "PERSONA_HOOK_KEY=0123456789abcdef\n") && strstr(env, "PERSONA_ID=probe-one\n"),
       "it has its hook key and its persona");
    ok(env && strstr(env, "ODD=" ODD "\n"), "a value arrives as it was written");
    ok(env && command_arrived(env), "its command is JSON");
    ok(env && !strstr(env, "forged"), "a persona cannot override what we say");
    if (!setup.machine) {
        ok(ask(instance, "run?root") && access("/written", F_OK), "what it writes is not written here");
    }
    if (setup.at_engine) {
        check_rights(instance);
    }
}

static void lifecycle(void)
{
    const apr_time_t began = apr_time_now();
    persona_t *persona = make_persona("probe-one");
    const char *session = "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed";
    persona_mark_t ready = {.state = PERSONA_INSTANCE_READY, .ready_at = began + 1};
    persona_mark_t assigned = {.state = PERSONA_INSTANCE_ASSIGNED, .session = session, .user = HOSTILE,
                               .app = "probe", .assigned_at = began + 2};
    persona_mark_t retiring = {.state = PERSONA_INSTANCE_RETIRING, .reason = "idle", .retiring_at = began + 3};
    persona_result_t res = {0};
    persona_instance_t *instance;
    const char *uuid;

    printf("# The life of an instance\n");
    uuid = begin(persona, "an instance is created");
    instance = find(uuid);
    ok(instance && instance->state == PERSONA_INSTANCE_CREATING, "it is listed as creating");
    ok(instance && same(instance->persona_id, "probe-one") && same(instance->fingerprint, persona->fingerprint)
       && same(instance->compute, conf.name) && instance->created >= began,
       "with its persona, fingerprint, compute and time");
    ok(instance && instance->read_at >= began && instance->read_at <= apr_time_now(), "and when it was read");
    instance = boot(uuid);
    if (ok(instance != NULL, "its stream answers")) {
        printf("# after %" APR_INT64_T_FMT " ms\n", apr_time_as_msec(apr_time_now() - began));
        ok(same(instance->hook_address, instance->address) && instance->port == 5900, "at its own address");
        ok(instance->running && same(instance->reason, "a test"), "it runs, and why it was made is known");
        check_inside(instance, uuid);
    }
    succeeded(provider->mark(one, uuid, &ready, &res, p), &res, "it is marked ready");
    succeeded(provider->mark(one, uuid, &assigned, &res, p), &res, "it is marked assigned");
    instance = find(uuid);
    ok(instance && instance->state == PERSONA_INSTANCE_ASSIGNED && same(instance->session, session)
       && same(instance->user, HOSTILE) && same(instance->app, "probe") && instance->ready_at == began + 1
       && instance->assigned_at == began + 2, "all of it is read back, and nothing was lost");
    ok(provider->mark(one, uuid, &ready, &res, p) != APR_SUCCESS, "no state goes back");
    assigned.user = "bell\a";
    ok(provider->mark(one, uuid, &assigned, &res, p) == APR_EINVAL, "control characters are refused");
    succeeded(provider->mark(one, uuid, &retiring, &res, p), &res, "it is marked retiring");
    instance = find(uuid);
    ok(instance && instance->state == PERSONA_INSTANCE_RETIRING && same(instance->reason, "idle")
       && same(instance->session, session) && instance->retiring_at == began + 3, "with the reason and the time");
    end(uuid, "it is destroyed");
    ok(provider->inspect(one, uuid, &instance, &res, p) == APR_ENOENT && !find(uuid), "and does not exist");
    ok(provider->mark(one, uuid, &ready, &res, p) == APR_ENOENT, "it cannot be marked");
    end(uuid, "destroying it again is no error");
}

/* Eight threads that create at once get eight addresses. */
static void *create_one(void *data)
{
    apr_pool_t *own;
    persona_result_t res = {0};
    char *uuid = data;
    persona_create_t how = {.uuid = uuid, .reason = "a crowd"};
    static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
    persona_t *persona;
    apr_status_t status;

    apr_pool_create(&own, NULL);
    pthread_mutex_lock(&turn);
    persona = make_persona("crowd");
    pthread_mutex_unlock(&turn);
    status = provider->create(uuid[0] & 1 ? one : two, persona, &how, &res, own);
    apr_pool_destroy(own);
    return status == APR_SUCCESS || status == APR_TIMEUP ? NULL : data;
}

static void crowd(void)
{
    enum { CROWD = 4 };
    pthread_t threads[CROWD];
    char *uuids[CROWD];
    const char *addresses[CROWD];
    int failed = 0, clashes = 0, seen = 0;

    if (setup.machine) {
        return;
    }
    printf("# Many are created at once, by two managers\n");
    for (int i = 0; i < CROWD; ++i) {
        uuids[i] = persona_uuid_random(p);
        pthread_create(&threads[i], NULL, create_one, uuids[i]);
    }
    for (int i = 0; i < CROWD; ++i) {
        void *bad;

        pthread_join(threads[i], &bad);
        failed += bad != NULL;
    }
    ok(!failed, "%d creations failed", failed);
    for (int i = 0; i < CROWD; ++i) {
        persona_instance_t *instance = boot(uuids[i]);

        addresses[i] = instance ? instance->address : NULL;
        seen += instance != NULL;
        for (int j = 0; j < i; ++j) {
            clashes += addresses[i] && same(addresses[i], addresses[j]);
        }
    }
    ok(seen == CROWD && !clashes, "%d of %d answer, %d clashes", seen, CROWD, clashes);
    for (int i = 0; i < CROWD; ++i) {
        end(uuids[i], "one of the crowd is destroyed");
    }
}

/* ---- the fence ---- */

typedef struct racer_t {
    int number;
    const char *name;
    pthread_barrier_t *start;
    apr_status_t status;
    apr_interval_time_t took;
} racer_t;

static const char *session_of(int number, apr_pool_t *pool)
{
    return apr_psprintf(pool, "%064x", number);
}

static void *race(void *data)
{
    racer_t *racer = data;
    apr_pool_t *own;
    apr_time_t began;

    apr_pool_create(&own, NULL);
    pthread_barrier_wait(racer->start);
    began = apr_time_now();
    racer->status = provider->fence(racer->number & 1 ? one : two, racer->name, session_of(racer->number, own), NULL,
                                    own);
    racer->took = apr_time_now() - began;
    apr_pool_destroy(own);
    return NULL;
}

/* -1: a tie, nobody, or an answer that was neither yes nor no. */
static int race_once(const char *name, apr_interval_time_t *longest)
{
    racer_t racers[RACERS];
    pthread_t threads[RACERS];
    pthread_barrier_t start;
    int winner = -1, bad = 0;

    pthread_barrier_init(&start, NULL, RACERS);
    for (int i = 0; i < RACERS; ++i) {
        racers[i] = (racer_t){.number = i, .name = name, .start = &start};
        pthread_create(&threads[i], NULL, race, &racers[i]);
    }
    for (int i = 0; i < RACERS; ++i) {
        pthread_join(threads[i], NULL);
        bad += racers[i].status != APR_SUCCESS && racers[i].status != APR_EEXIST;
        bad += racers[i].status == APR_SUCCESS && winner >= 0;
        winner = racers[i].status == APR_SUCCESS ? i : winner;
        *longest = racers[i].took > *longest ? racers[i].took : *longest;
    }
    pthread_barrier_destroy(&start);
    return bad ? -1 : winner;
}

static void fence_race(void)
{
    int good = 0, repeats = 0, holders = 0;
    apr_interval_time_t longest = 0;
    const apr_time_t began = apr_time_now();
    apr_pool_t *all = p;

    printf("# %d sessions want the same instance, %d times\n", RACERS, setup.rounds);
    for (int round = 0; round < setup.rounds; ++round) {
        const char *name, *token, *mine;
        int winner;

        apr_pool_create(&p, NULL);
        name = persona_uuid_random(p);
        winner = race_once(name, &longest);
        mine = persona_fence_token(session_of(winner, p), name, p);
        good += winner >= 0;
        repeats += provider->fence(two, name, session_of(winner, p), NULL, p) == APR_SUCCESS;
        holders += provider->fence_holder(two, name, &token, NULL, p) == APR_SUCCESS && same(token, mine);
        provider->unfence(one, name, mine, NULL, p);
        apr_pool_destroy(p);
        p = all;
    }
    printf("# %" APR_INT64_T_FMT " ms in all, slowest answer %" APR_INT64_T_FMT " ms\n",
           apr_time_as_msec(apr_time_now() - began), apr_time_as_msec(longest));
    ok(good == setup.rounds, "exactly one won in %d of %d rounds", good, setup.rounds);
    ok(repeats == setup.rounds, "the winner asked again and was told yes %d times", repeats);
    ok(holders == setup.rounds, "and was named as the holder %d times", holders);
}

static void fence_rules(void)
{
    const char *name = "address:net<&'\"w>:10.0.0.1", *a = session_of(1, p), *b = session_of(2, p);
    const char *token, *session;
    apr_array_header_t *fences;
    persona_result_t res = {0};
    persona_compute_t *other;
    int found = 0;

    printf("# A fence stands until its own token is given back\n");
    ok(provider->fence_holder(one, name, &token, &res, p) == APR_ENOENT
       && provider->fence_session(one, name, &session, &res, p) == APR_ENOENT, "nobody has it");
    succeeded(provider->fence(one, name, a, &res, p), &res, "one takes it");
    ok(provider->fence(two, name, b, &res, p) == APR_EEXIST, "another does not get it");
    ok(provider->fence_session(two, name, &session, &res, p) == APR_SUCCESS && same(session, a),
       "the fence tells for which session it was taken");
    ok(provider->unfence(two, name, persona_fence_token(b, name, p), &res, p) == APR_SUCCESS
       && provider->fence_holder(one, name, &token, &res, p) == APR_SUCCESS
       && same(token, persona_fence_token(a, name, p)), "the loser's token removes nothing");
    if (provider->fences(two, &fences, &res, p) == APR_SUCCESS) {
        for (int i = 0; i < fences->nelts; ++i) {
            const persona_fence_t *fence = APR_ARRAY_IDX(fences, i, persona_fence_t *);
            found += same(fence->name, name) && same(fence->token, token);
        }
        ok(found == 1 && fences->nelts == 1, "it is the one fence listed");
    }
    succeeded(provider->open(&other, &conf, "another", TIMEOUT, &res, p), &res, "another namespace is opened");
    ok(provider->fences(other, &fences, &res, p) == APR_SUCCESS && !fences->nelts, "and sees no fence");
    ok(provider->fence(other, name, b, &res, p) == APR_SUCCESS, "and has its own");
    provider->unfence(other, name, persona_fence_token(b, name, p), &res, p);
    provider->close(other);
    succeeded(provider->unfence(one, name, token, &res, p), &res, "its own token removes it");
    ok(provider->fence(two, name, b, &res, p) == APR_SUCCESS, "then another can have it");
    provider->unfence(two, name, persona_fence_token(b, name, p), &res, p);
}

/* An administrator's tidying takes no instance from its session. */
static void sweeping(void)
{
    const char *session = session_of(9, p), *other = session_of(10, p), *uuid, *token, *mine;
    persona_mark_t ready = {.state = PERSONA_INSTANCE_READY, .ready_at = 5};
    apr_array_header_t *fences;
    persona_result_t res = {0};
    int found = 0;

    if (!setup.sweep) {
        return;
    }
    printf("# What nobody seems to use is swept\n");
    uuid = begin(make_persona("probe-swept"), "an instance is created");
    mine = persona_fence_token(session, uuid, p);
    succeeded(provider->mark(one, uuid, &ready, &res, p), &res, "it is marked");
    succeeded(provider->fence(one, uuid, session, &res, p), &res, "a session has it");
    run(setup.sweep);
    ok(provider->fence(two, uuid, other, &res, p) == APR_EEXIST, "another session still does not get it: %s",
       res.detail);
    ok(provider->fence_holder(two, uuid, &token, &res, p) == APR_SUCCESS && same(token, mine), "its holder is known");
    if (provider->fences(two, &fences, &res, p) == APR_SUCCESS) {
        for (int i = 0; i < fences->nelts; ++i) {
            const persona_fence_t *fence = APR_ARRAY_IDX(fences, i, persona_fence_t *);
            found += same(fence->name, uuid) && same(fence->token, mine);
        }
    }
    ok(found == 1, "and listed, once");
    ok(provider->fence(two, uuid, session, &res, p) == APR_SUCCESS, "its own session is told yes: %s", res.detail);
    ok(find(uuid) != NULL, "the instance is there");
    end(uuid, "it is destroyed");
    succeeded(provider->unfence(one, uuid, mine, &res, p), &res, "and its fence removed");
}

/* ---- the engine stops ---- */

static int survived(const char *uuid, const char *session)
{
    const apr_time_t began = apr_time_now();
    persona_instance_t *instance = NULL;

    /* How long an engine takes to come back, with all its rules, is not the provider's to say. */
    while (!instance && apr_time_now() - began < apr_time_from_sec(60)) {
        if (provider->inspect(one, uuid, &instance, NULL, p) != APR_SUCCESS) {
            instance = NULL;
            usleep(100000);
        }
    }
    printf("# it answered after %" APR_INT64_T_FMT " ms\n", apr_time_as_msec(apr_time_now() - began));
    return instance && instance->running && instance->state == PERSONA_INSTANCE_ASSIGNED
           && same(instance->session, session) && same(instance->persona_id, "probe-two") && ask(instance, "run?id");
}

static int died(const char *uuid)
{
    const apr_time_t began = apr_time_now();
    persona_instance_t *instance = NULL;

    while (apr_time_now() - began < apr_time_from_sec(60)) {
        instance = find(uuid);
        if (instance && instance->state == PERSONA_INSTANCE_GONE) {
            printf("# %s\n", instance->reason);
            return 1;
        }
        usleep(100000);
    }
    return 0;
}

static void outages(void)
{
    const char *session = session_of(7, p), *other = session_of(8, p), *uuid;
    persona_mark_t assigned = {.state = PERSONA_INSTANCE_ASSIGNED, .session = session, .assigned_at = 5};
    persona_result_t res = {0};
    persona_instance_t *instance;
    apr_time_t began;
    apr_status_t status;

    printf("# The engine is restarted, and freezes\n");
    uuid = begin(make_persona("probe-two"), "an instance is created");
    ok(boot(uuid) != NULL, "its stream answers");
    succeeded(provider->fence(one, uuid, session, &res, p), &res, "a session has it");
    succeeded(provider->mark(one, uuid, &assigned, &res, p), &res, "and is noted beside it");
    if (setup.restart && setup.mortal) {
        run(setup.restart);
        ok(died(uuid), "after a restart of the engine it is listed as gone");
        ok(provider->fence(two, uuid, other, &res, p) == APR_EEXIST, "another session still does not get it: %s",
           res.detail);
    }
    else if (setup.restart) {
        run(setup.restart);
        ok(survived(uuid, session), "after a restart of the engine it runs, and is still assigned");
        ok(provider->fence(two, uuid, other, &res, p) == APR_EEXIST, "another session still does not get it: %s",
           res.detail);
        ok(provider->fence(two, uuid, session, &res, p) == APR_SUCCESS, "its own is told yes: %s", res.detail);
    }
    if (setup.freeze) {
        run(setup.freeze);
        for (int i = 0; i < 3; ++i) {
            began = apr_time_now();
            status = i == 1 ? provider->fence(one, uuid, other, &res, p)
                            : provider->inspect(one, uuid, &instance, &res, p);
            ok(apr_time_now() - began < TIMEOUT + apr_time_from_msec(300) && status != APR_SUCCESS
               && status != APR_EEXIST && status != APR_ENOENT,
               "while it is frozen a call ends after %" APR_INT64_T_FMT " ms, undecided (%s)",
               apr_time_as_msec(apr_time_now() - began), res.problem);
        }
        run(setup.thaw);
        ok(survived(uuid, session), "when it thaws, all is as it was");
        ok(provider->fence(two, uuid, other, &res, p) == APR_EEXIST, "and the fence holds");
    }
    end(uuid, "it is destroyed");
    provider->unfence(one, uuid, persona_fence_token(session, uuid, p), &res, p);
}

static volatile int events;

static void on_event(void *baton, persona_compute_t *c, const char *uuid)
{
    events += same(baton, uuid) && c == one;
}

/** Whether an event told of it: where the engine's stream of events was just beginning anew, only a reading does. */
static int death(void)
{
    persona_result_t res = {0};
    const char *uuid = begin(make_persona("probe-three"), "an instance is created");
    persona_instance_t *instance = boot(uuid);
    apr_time_t began, until;
    int heard;

    printf("# An instance dies by itself\n");
    events = 0;
    ok(instance != NULL, "its stream answers");
    provider->watch(one, on_event, (void *)uuid);
    if (instance) {
        ask(instance, setup.machine ? "run?off" : "run?die");
    }
    began = apr_time_now();
    until = began + apr_time_from_sec(20);
    while (!events && apr_time_now() < until) {
        usleep(5000);
    }
    until += apr_time_from_sec(60);
    printf("# it was heard of after %" APR_INT64_T_FMT " ms\n", apr_time_as_msec(apr_time_now() - began));
    do {
        usleep(100000);
        instance = find(uuid);
    } while (instance && instance->state != PERSONA_INSTANCE_GONE && apr_time_now() < until);
    ok(instance && instance->state == PERSONA_INSTANCE_GONE && !instance->running, "it is listed as gone");
    ok(instance && same(instance->persona_id, "probe-three") && instance->created, "and whose it was is known");
    for (int i = 0; !events && i < 50; ++i) {
        usleep(100000);
    }
    heard = events > 0;
    provider->watch(one, NULL, NULL);
    end(uuid, "what is left of it is destroyed");
    ok(!find(uuid) && provider->inspect(one, uuid, &instance, &res, p) == APR_ENOENT, "and nothing is left");
    return heard;
}

static void deaths(void)
{
    int heard = 0;

    for (int i = 0; i < 3 && !heard; ++i) {
        heard = death();
    }
    ok(heard, "an event told of it");
}

static void measure(void)
{
    persona_t *persona = make_persona("probe-four");
    const char *uuid = begin(persona, "an instance is created"), *inside;
    persona_instance_t *instance = boot(uuid);
    persona_usage_sample_t before = {0}, after = {0};
    persona_capacity_t capacity = {0};
    persona_result_t res = {0};
    int cpus = 2;
    apr_int64_t memory = persona->resources.max_memory;

    printf("# Measuring and resizing\n");
    ok(instance != NULL, "its stream answers");
    succeeded(provider->capacity(one, &capacity, &res, p), &res, "the engine tells its capacity");
    ok(capacity.cpus > 0 && capacity.memory > 0 && capacity.cpus_used >= 1
       && capacity.memory_used >= persona->resources.memory && capacity.memory_used < capacity.memory,
       "%d of %d cpus, %" APR_INT64_T_FMT " of %" APR_INT64_T_FMT " MiB", capacity.cpus_used, capacity.cpus,
       capacity.memory_used / MIB, capacity.memory / MIB);
    succeeded(provider->stats(one, uuid, &before, &res, p), &res, "it is measured");
    ok(before.cpus == 1 && before.memory > 0 && before.memory_limit == persona->resources.memory,
       "%d cpus, %" APR_INT64_T_FMT " of %" APR_INT64_T_FMT " KiB", before.cpus, before.memory / 1024,
       before.memory_limit / 1024);
    for (int i = 0; instance && i < 20; ++i) {
        ask(instance, "env");
    }
    succeeded(provider->stats(one, uuid, &after, &res, p), &res, "again");
    ok(after.cpu_time > before.cpu_time && (before.rx < 0 || (after.rx > before.rx && after.tx > before.tx)),
       "it has worked %" APR_INT64_T_FMT " ms, received %" APR_INT64_T_FMT " and sent %" APR_INT64_T_FMT " bytes",
       (after.cpu_time - before.cpu_time) / 1000000, after.rx - before.rx, after.tx - before.tx);
    succeeded(provider->resize(one, uuid, &cpus, &memory, &res, p), &res, "it is made larger");
    ok(cpus == 2 && memory > persona->resources.memory, "%d cpus, %" APR_INT64_T_FMT " MiB", cpus, memory / MIB);
    usleep(setup.machine ? 3000000 : 0);
    provider->stats(one, uuid, &after, &res, p);
    ok(after.cpus == 2 && after.memory_limit == persona->resources.max_memory, "which is measured: %d cpus, %"
       APR_INT64_T_FMT " MiB", after.cpus, after.memory_limit / MIB);
    inside = instance ? ask(instance, setup.machine ? "run?nproc" : "run?free") : NULL;
    printf("# inside: %s", inside ? inside : "no answer\n");
    cpus = 0;
    memory = persona->resources.memory;
    succeeded(provider->resize(one, uuid, &cpus, &memory, &res, p), &res, "its memory is taken back");
    cpus = 99;
    memory = 0;
    ok(provider->resize(one, uuid, &cpus, &memory, &res, p) != APR_SUCCESS, "it cannot grow without bounds: %s",
       res.detail);
    ok(cpus == 2, "and is told what it has: %d cpus", cpus);
    end(uuid, "it is destroyed");
    ok(provider->stats(one, uuid, &after, &res, p) == APR_ENOENT, "and cannot be measured");
}

/* ---- isolation ---- */

/* A service that accepts and hangs up, until it is closed. */
static void *serve(void *data)
{
    const int fd = (int)(intptr_t)data;
    int peer;

    while ((peer = accept(fd, NULL, NULL)) >= 0) {
        close(peer);
    }
    return NULL;
}

static int listen_at(const char *address, int port)
{
    pthread_t thread;
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *info;
    const int yes = 1;
    int fd;

    if (getaddrinfo(address, apr_itoa(p, port), &hints, &info)) {
        return -1;
    }
    fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, info->ai_addr, info->ai_addrlen) || listen(fd, 16)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(info);
    if (fd >= 0 && !pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd)) {
        pthread_detach(thread);
    }
    return fd;
}

static void theft(const persona_instance_t *thief, const persona_instance_t *victim)
{
    const char *name = apr_pstrcat(p, "PERSONA_INSTANCE=", victim->uuid, "\n", NULL), *env;
    int wrong = 0;

    ask(thief, apr_pstrcat(p, "run?steal+", victim->address, NULL));
    for (int i = 0; i < 5; ++i) {
        env = ask(victim, "env");
        wrong += !env || !strstr(env, name);
    }
    ok(!wrong, "one that claims another's address does not get its connections (%d went astray)", wrong);
}

static void isolation(void)
{
    const int service = setup.gateway ? listen_at(setup.gateway, 18080) : -1;
    const int allowed = setup.gateway && setup.allowed ? listen_at(setup.gateway, setup.allowed) : -1;
    persona_t *open_persona = make_persona("probe-open");
    const char *a = begin(make_persona("probe-a"), "an isolated instance is created"), *c;
    const char *b = begin(make_persona("probe-b"), "and another");
    persona_instance_t *from = boot(a), *to = boot(b), *third;

    printf("# What an instance can reach\n");
    open_persona->environment.isolated = 0;
    open_persona->environment.network = setup.open ? setup.open : setup.network;
    c = begin(open_persona, "and one that is not isolated");
    third = boot(c);
    if (!ok(from && to && third, "all their streams answer the host")) {
        return;
    }
    ok(reaches(from, from->address, 5900) == 1, "the probe can tell: its own port is open");
    ok(reaches(from, to->address, 5900) == 0, "not the other's stream");
    ok(reaches(from, to->address, 5901) == 0, "nor another port of it");
    ok(reaches(from, third->address, 5900) == 0, "nor the stream of one that is not isolated");
    ok(reaches(third, to->address, 5900) == 0, "which does not reach an isolated one's either");
    if (service >= 0) {
        ok(reaches(from, setup.gateway, 18080) == 0, "not a service of the host");
        ok(reaches(from, setup.gateway, 53) == 0, "nor its name server");
        ok(reaches(third, setup.gateway, 18080) == 1, "one that is not isolated reaches the host");
    }
    if (allowed >= 0) {
        ok(reaches(from, setup.gateway, setup.allowed) == 1, "what is allowed is reached");
    }
    theft(from, to);
    ok(ask(to, "run?id") && ask(from, "run?id"), "the host still reaches both");
    shutdown(service, SHUT_RDWR);
    shutdown(allowed, SHUT_RDWR);
    end(a, "one is destroyed");
    end(b, "the other is destroyed");
    end(c, "the third is destroyed");
}

/* ---- how long an instance takes ---- */

/* Until the port of the stream answers, as the manager's probe asks for it. */
static int answers(const char *address)
{
    const apr_time_t until = apr_time_now() + setup.boot;

    while (apr_time_now() < until) {
        const int fd = dial(address, 5900, 1000);

        if (fd >= 0) {
            close(fd);
            return 1;
        }
        usleep(5000);
    }
    return 0;
}

static int by_time(const void *a, const void *b)
{
    const apr_interval_time_t x = *(const apr_interval_time_t *)a, y = *(const apr_interval_time_t *)b;

    return (x > y) - (x < y);
}

static int boot_ours(apr_interval_time_t *took)
{
    const apr_time_t began = apr_time_now();
    persona_create_t how = {.uuid = persona_uuid_random(p), .reason = "a measurement"};
    persona_instance_t *instance = NULL;
    persona_result_t res = {0};
    int good = provider->create(one, make_persona("bench"), &how, &res, p) == APR_SUCCESS
               && provider->inspect(one, how.uuid, &instance, &res, p) == APR_SUCCESS && instance->address
               && answers(instance->address);

    *took = apr_time_now() - began;
    return provider->destroy(one, how.uuid, &res, p) == APR_SUCCESS && good;
}

static int boot_theirs(apr_interval_time_t *took)
{
    const apr_time_t began = apr_time_now();
    int good;

    run(setup.beside);
    good = answers(setup.beside_at);
    *took = apr_time_now() - began;
    run(setup.beside_end);
    return good;
}

static void bench(void)
{
    enum { ROUNDS = 20 };
    apr_interval_time_t ours[ROUNDS], theirs[ROUNDS];
    int good = 0;
    double ratio;

    if (!setup.beside) {
        return;
    }
    printf("# From create to an answer, beside the engine's own client\n");
    for (int i = 0; i < ROUNDS; ++i) {
        good += i & 1 ? boot_ours(&ours[i]) && boot_theirs(&theirs[i]) : boot_theirs(&theirs[i]) && boot_ours(&ours[i]);
    }
    ok(good == ROUNDS, "%d of %d pairs answered", good, ROUNDS);
    qsort(ours, ROUNDS, sizeof(ours[0]), by_time);
    qsort(theirs, ROUNDS, sizeof(theirs[0]), by_time);
    ratio = (double)ours[ROUNDS / 2] / (double)theirs[ROUNDS / 2];
    printf("# ours: min %" APR_INT64_T_FMT ", median %" APR_INT64_T_FMT ", max %" APR_INT64_T_FMT " ms; theirs: min %"
           APR_INT64_T_FMT ", median %" APR_INT64_T_FMT ", max %" APR_INT64_T_FMT " ms\n", apr_time_as_msec(ours[0]),
           apr_time_as_msec(ours[ROUNDS / 2]), apr_time_as_msec(ours[ROUNDS - 1]), apr_time_as_msec(theirs[0]),
           apr_time_as_msec(theirs[ROUNDS / 2]), apr_time_as_msec(theirs[ROUNDS - 1]));
    ok(ratio <= 1.3, "the median is %.2f times theirs, at most 1.3", ratio);
}

/* ---- how much a reading costs ---- */

static apr_interval_time_t cpu_time(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return apr_time_from_sec(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + usage.ru_utime.tv_usec
           + usage.ru_stime.tv_usec;
}

/* What a manager reads each tick, of as many instances as the engine has. */
static void ticks(void)
{
    enum { ROUNDS = 50 };
    apr_array_header_t *fences = NULL, *instances = NULL;
    persona_result_t res = {0};
    apr_interval_time_t began, each;
    apr_pool_t *own;
    int good = 0, count = 0, fenced = 0;

    if (!setup.only) {
        return;
    }
    apr_pool_create(&own, NULL);
    provider->list(one, &instances, &res, own); /* connects */
    began = cpu_time();
    for (int i = 0; i < ROUNDS; ++i) {
        apr_pool_clear(own);
        good += provider->fences(one, &fences, &res, own) == APR_SUCCESS
                && provider->list(one, &instances, &res, own) == APR_SUCCESS;
        count = instances->nelts;
        fenced = fences->nelts;
    }
    each = (cpu_time() - began) / ROUNDS;
    apr_pool_destroy(own);
    ok(good == ROUNDS && count > 0, "%d readings of %d instances and %d fences", good, count, fenced);
    ok(each <= apr_time_from_msec(100), "each took %.1f ms of CPU, at most 100", (double)each / 1000);
}

static void leaks(void)
{
    apr_array_header_t *fences;
    persona_result_t res = {0};

    printf("# Nothing is left\n");
    ok(count_instances(one) == 0, "no instance is listed");
    ok(provider->fences(one, &fences, &res, p) == APR_SUCCESS && !fences->nelts, "no fence is listed");
    if (setup.leaks) {
        FILE *left;
        char line[256];
        int lines = 0;

        run(apr_pstrcat(p, "{ ", setup.leaks, "; } > \"$TMPDIR/leaks\"", NULL));
        left = fopen(apr_pstrcat(p, getenv("TMPDIR"), "/leaks", NULL), "r");
        while (left && fgets(line, sizeof(line), left)) {
            printf("# left: %s", line);
            ++lines;
        }
        ok(left && !lines, "the engine has nothing of ours");
        if (left) {
            fclose(left);
        }
    }
}

static void distrust(void)
{
    apr_array_header_t *instances;
    persona_result_t res = {0};

    ok(provider->list(one, &instances, &res, p) == APR_EACCES && same(res.problem, "engine-tls"),
       "no word is exchanged: %s", res.detail);
}

static const char *argument(int *argc, char ***argv)
{
    if (*argc < 2) {
        fprintf(stderr, "test_provider: %s needs a value\n", **argv);
        exit(2);
    }
    --*argc;
    return *++*argv;
}

static void parse(int argc, char **argv)
{
    apr_table_t *options = apr_table_make(p, 4);

    for (; argc > 0 && !strncmp(*argv, "--", 2); --argc, ++argv) {
        const char *name = *argv;

        if (!strcmp(name, "--machine")) {
            setup.machine = 1;
            setup.boot = apr_time_from_sec(180);
            continue;
        }
        if (!strcmp(name, "--at-engine") || !strcmp(name, "--mortal") || !strcmp(name, "--distrust")) {
            setup.at_engine |= !strcmp(name, "--at-engine");
            setup.mortal |= !strcmp(name, "--mortal");
            setup.distrust |= !strcmp(name, "--distrust");
            continue;
        }
        const char *value = argument(&argc, &argv);
        if (!strcmp(name, "--conf")) {
            char *copy = apr_pstrdup(p, value), *equals = strchr(copy, '=');
            if (equals) {
                *equals = '\0';
            }
            apr_table_set(options, copy, equals ? equals + 1 : "");
        }
        setup.image = strcmp(name, "--image") ? setup.image : value;
        setup.network = strcmp(name, "--network") ? setup.network : value;
        setup.open = strcmp(name, "--open") ? setup.open : value;
        if (!strcmp(name, "--only")) {
            setup.only = apr_pstrcat(p, setup.only ? setup.only : " ", value, " ", NULL);
        }
        setup.gateway = strcmp(name, "--gateway") ? setup.gateway : value;
        setup.allowed = strcmp(name, "--allowed") ? setup.allowed : atoi(value);
        setup.restart = strcmp(name, "--restart") ? setup.restart : value;
        setup.freeze = strcmp(name, "--freeze") ? setup.freeze : value;
        setup.thaw = strcmp(name, "--thaw") ? setup.thaw : value;
        setup.beside = strcmp(name, "--beside") ? setup.beside : value;
        setup.beside_end = strcmp(name, "--beside-end") ? setup.beside_end : value;
        setup.beside_at = strcmp(name, "--beside-at") ? setup.beside_at : value;
        setup.sweep = strcmp(name, "--sweep") ? setup.sweep : value;
        setup.leaks = strcmp(name, "--leaks") ? setup.leaks : value;
        setup.rounds = strcmp(name, "--rounds") ? setup.rounds : atoi(value);
    }
    if (argc != 2) {
        fprintf(stderr, "usage: test_provider [OPTION]... PROVIDER ADDRESS\n");
        exit(2);
    }
    conf = (persona_compute_conf_t){.name = "test", .provider = argv[0], .address = argv[1], .options = options};
}

static const struct {
    const char *name;
    void (*run)(void);
} parts[] = {{"refusal", refusals}, {"fence", fence_rules}, {"fence", fence_race}, {"life", lifecycle},
             {"crowd", crowd}, {"sweep", sweeping}, {"death", deaths}, {"measure", measure},
             {"isolation", isolation}, {"outage", outages}, {"bench", bench},
             {"tick", ticks}};

int main(int argc, char **argv)
{
    persona_result_t res = {0};

    setvbuf(stdout, NULL, _IOLBF, 0); /* progress is seen as it is made */
    apr_initialize();
    apr_pool_create(&p, NULL);
    parse(argc - 1, argv + 1);
    provider = persona_compute_provider(conf.provider);
    if (!provider) {
        printf("Bail out! there is no provider %s, only %s\n", conf.provider, persona_compute_names(p));
        return 1;
    }
    if (provider->open(&one, &conf, "t-1", TIMEOUT, &res, p) || provider->open(&two, &conf, "t-1", TIMEOUT, &res, p)) {
        printf("Bail out! cannot open: %s\n", res.detail);
        return 1;
    }
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); ++i) {
        if (!setup.distrust && (!setup.only || strstr(setup.only, apr_pstrcat(p, " ", parts[i].name, " ", NULL)))) {
            parts[i].run();
        }
    }
    if (setup.distrust) {
        distrust();
    }
    else if (!setup.only || !strstr(setup.only, " tick ")) {
        leaks();
    }
    provider->close(one);
    provider->close(two);
    printf("1..%d\n", tests);
    apr_terminate();
    return failures ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file race.c
 * @brief Claims by the hundred thousand, from several processes at once, and a board that tells who got what.
 *
 *   race [--no-fence] [--claims N] [--processes N] [--threads N] SERVER MEMCACHED
 *
 * Each process is what a gateway is without httpd: its threads claim as workers do (pool/pool.c, over memcached), and
 * ask a manager of the process for the fence (manager/assign.c), which asks the compute that all share (t/fake).
 * Everything that may go wrong beside the fence does: each instance is published twice, as by two planners, so that
 * neighbours in the line are offered the same one; in every other round memcached is flushed when half have claimed
 * and all instances are published again, taken or not; some answers of the fence are lost.
 *
 * A round's processes are forked when its line stands and end with it. The board is memory that they share; it
 * belongs to the test, and neither the compute nor the claim code knows of it.
 */
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "../fake/shared.h"
#include "manager/assign.h"
#include "manager/start.h"
#include "persona/digest.h"

#define PERSONA "one"
#define ROUND 25000               /**< claims of one round */
#define SPARE 500                 /**< instances that a round has beside those */
#define STUCK apr_time_from_sec(2) /**< the line did not move for so long: what is left is published again */
#define PATIENCE apr_time_from_sec(90)
#define LOST_EVERY "1009"

/** What all processes of a round share. */
typedef struct board_t {
    _Atomic apr_uint32_t owner[ROUND + SPARE]; /**< number of the session that got the instance, from 1; 0: nobody */
    _Atomic long got, doubled, unserved, polls, calls;
} board_t;

typedef struct options_t {
    const char *server, *memcached;
    int fence, processes, threads;
    long claims;
} options_t;

/** One thread of one process. */
typedef struct claimer_t {
    pthread_t thread;
    persona_manager_t *manager;
    long first, step, end; /**< numbers of its sessions */
} claimer_t;

static options_t options = {NULL, NULL, 1, 2, 4, 100000};
static board_t *board;
static persona_settings_t settings;
static char dir[64];

static void die(const char *what)
{
    printf("Bail out! %s\n", what);
    exit(1);
}

/* ---- a claim, as mod_persona.so makes it ---- */

static persona_assign_e assign(void *baton, const persona_record_t *slot, const char *session, apr_uint64_t ticket,
                               apr_time_t deadline, persona_record_t **record, apr_pool_t *p)
{
    claimer_t *c = baton;
    persona_ask_t ask = {slot->instance, slot->compute, slot->persona_id, session, session, "app", NULL,
                         0, 0, (apr_int64_t)ticket};
    persona_entry_t *entry = apr_pcalloc(p, sizeof(*entry));
    char reason[PERSONA_REASON_MAX];
    persona_assign_e outcome = persona_assign(c->manager, &ask, deadline, entry, reason, p);

    atomic_fetch_add(&board->calls, 1);
    if (outcome == PERSONA_ASSIGN_YES) {
        *record = apr_palloc(p, sizeof(**record));
        persona_entry_record(entry, *record);
    }
    return outcome;
}

static void note(const persona_record_t *record, long number)
{
    unsigned long place = strtoul(record->instance + 24, NULL, 16);
    apr_uint32_t before;

    if (place >= ROUND + SPARE) {
        fprintf(stderr, "# instance %s is none of this round\n", record->instance);
        atomic_fetch_add(&board->doubled, 1);
        return;
    }
    before = atomic_exchange(&board->owner[place], (apr_uint32_t)(number + 1));
    atomic_fetch_add(&board->got, 1);
    if (before) {
        atomic_fetch_add(&board->doubled, 1);
    }
}

static void *claiming(void *arg)
{
    claimer_t *c = arg;
    apr_pool_t *p;
    long n;

    apr_pool_create(&p, NULL);
    for (n = c->first; n < c->end; n += c->step) {
        const char *name = apr_psprintf(p, "session %ld", n);
        char session[PERSONA_SESSION_LEN];
        apr_time_t until = apr_time_now() + PATIENCE;
        persona_record_t *record = NULL;

        persona_sha256(name, strlen(name), session);
        for (;;) {
            persona_claim_t claim = {.persona_id = PERSONA, .session = session};

            atomic_fetch_add(&board->polls, 1);
            if (persona_pool_claim(c->manager->index, &claim, assign, c, apr_time_now() + PERSONA_ASSIGN_TIMEOUT,
                                   &record, p) == PERSONA_CLAIM_GOT) {
                note(record, n);
                break;
            }
            if (apr_time_now() > until) {
                atomic_fetch_add(&board->unserved, 1);
                break;
            }
            apr_sleep(apr_time_from_msec(5));
        }
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return NULL;
}

/** A process of its own: never returns. */
static void gateway(int number, long first, long end)
{
    claimer_t *claimers = calloc((size_t)options.threads, sizeof(*claimers));
    persona_manager_t *m = NULL;
    persona_store_t *store;
    apr_pool_t *p;
    int i;

    apr_pool_create(&p, NULL);
    settings.state_dir = apr_psprintf(p, "%s/state-%d", dir, number);
    mkdir(settings.state_dir, 0700);
    if (persona_store_memcached_open(&store, options.memcached, apr_time_from_msec(500), p) != APR_SUCCESS ||
        persona_manager_create(&m, &settings, store, 1, p) != APR_SUCCESS) {
        _exit(1);
    }
    for (i = 0; i < options.threads; i++) {
        claimers[i] = (claimer_t){.manager = m, .end = end,
                                  .first = first + number + (long)i * options.processes,
                                  .step = (long)options.threads * options.processes};
        if (pthread_create(&claimers[i].thread, NULL, claiming, &claimers[i]) != 0) {
            _exit(1);
        }
    }
    for (i = 0; i < options.threads; i++) {
        pthread_join(claimers[i].thread, NULL);
    }
    _exit(0);
}

/* ---- the line, as two planners fill it that know nothing of each other ---- */

typedef struct line_t {
    persona_compute_t *compute;
    persona_index_t *index;
    const persona_t *persona;
    apr_array_header_t *instances;
} line_t;

static void tell(const char *words, apr_pool_t *p)
{
    if (!shared_tell(options.server, words, p)) {
        die(apr_psprintf(p, "the fake compute does not do \"%s\"", words));
    }
}

/** memcached forgets everything. */
static void flush(void)
{
    static const char words[] = "flush_all\r\n";
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *address;
    char host[64], answer[8];
    char *port;
    int fd;

    apr_cpystrn(host, options.memcached, sizeof(host));
    port = strrchr(host, ':');
    if (!port) {
        die("MEMCACHED is HOST:PORT");
    }
    *port++ = '\0';
    if (getaddrinfo(host, port, &hints, &address) != 0) {
        die("MEMCACHED is no address");
    }
    fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, address->ai_addr, address->ai_addrlen) != 0 ||
        write(fd, words, sizeof(words) - 1) < 0 || read(fd, answer, sizeof(answer)) < 2) {
        die("memcached does not flush");
    }
    close(fd);
    freeaddrinfo(address);
}

static void publish_one(line_t *line, const persona_queue_t *queue, const persona_instance_t *i, apr_pool_t *p)
{
    persona_record_t record = {.instance = i->uuid, .persona_id = PERSONA, .app = "app", .compute = i->compute,
                               .fingerprint = i->fingerprint, .session = "", .user = "", .address = i->address,
                               .port = i->port, .stream = PERSONA_STREAM_VNC, .path = "/"};
    apr_uint64_t slot;

    if (persona_pool_publish(line->index, queue, &record, &slot, p) != APR_SUCCESS) {
        die("an instance cannot be published");
    }
}

/** Each twice, with its neighbour between. `left`: only those that nobody has. */
static void publish(line_t *line, int left)
{
    const persona_instance_t *last = NULL;
    persona_queue_t queue;
    apr_pool_t *p;
    int created, i;

    apr_pool_create(&p, NULL);
    if (persona_pool_queue(line->index, PERSONA, 1, (apr_uint64_t)1 << 40, &queue, &created, p) != APR_SUCCESS) {
        die("there is no line");
    }
    for (i = 0; i < line->instances->nelts; i++) {
        const persona_instance_t *one = APR_ARRAY_IDX(line->instances, i, persona_instance_t *);

        if (left && atomic_load(&board->owner[strtoul(one->uuid + 24, NULL, 16)])) {
            continue;
        }
        publish_one(line, &queue, one, p);
        if (last) {
            publish_one(line, &queue, last, p);
        }
        last = one;
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
}

/** Until all processes of the round have ended. 0: one failed. */
static int attend(line_t *line, long claims, int flushes)
{
    long before = atomic_load(&board->got), seen = before;
    apr_time_t moved = apr_time_now();
    int ended = 0, good = 1, status;

    while (ended < options.processes) {
        pid_t pid = waitpid(-1, &status, WNOHANG);
        long got = atomic_load(&board->got);

        if (pid > 0) {
            ended++;
            good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
            continue;
        }
        if (got != seen) {
            seen = got;
            moved = apr_time_now();
        }
        if (flushes && got - before > claims / 2) {
            flushes = 0;
            flush();
            publish(line, 0);
        }
        else if (apr_time_now() - moved > STUCK) {
            publish(line, 1);
            moved = apr_time_now();
        }
        apr_sleep(apr_time_from_msec(5));
    }
    return good;
}

static void round_run(line_t *line, long first, long claims, int number)
{
    persona_result_t res = {0};
    apr_pool_t *p;
    int i;

    apr_pool_create(&p, NULL);
    for (i = 0; i < ROUND + SPARE; i++) {
        atomic_store(&board->owner[i], 0);
    }
    tell("reset", p);
    tell(apr_psprintf(p, "fill " PERSONA " %s %ld", line->persona->fingerprint, claims + SPARE), p);
    if (line->compute->provider->list(line->compute, &line->instances, &res, p) != APR_SUCCESS) {
        die(res.detail);
    }
    flush();
    publish(line, 0);
    fflush(stdout);
    for (i = 0; i < options.processes; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            gateway(i, first, first + claims);
        }
        if (pid < 0) {
            die("no fork");
        }
    }
    if (!attend(line, claims, number % 2)) {
        die("a process failed");
    }
    apr_pool_destroy(p);
}

/* ---- the site ---- */

static void write_persona(void)
{
    char path[96];
    FILE *f;
    int i;

    apr_snprintf(path, sizeof(path), "%s/personas/" PERSONA ".json", dir);
    f = fopen(path, "w");
    if (!f) {
        die(path);
    }
    fputs("{\"persona_id\": \"" PERSONA "\", \"app_id\": \"app\", \"application_source\": \"desktop\",\n"
          "\"resource_profile\": {\"cpu\": 1, \"memory\": \"512MiB\"},\n"
          "\"execution_environment\": {\"compute\": \"shared\", \"os_image\": \"image\", \"libraries\": [],\n"
          "  \"network\": {\"name\": \"persona\", \"isolated\": true},\n"
          "  \"stream\": {\"protocol\": \"vnc\", \"port\": 5900}, \"ready\": {\"timeout\": \"60s\"}},\n"
          "\"predicted_usage_pattern\": {\"timezone\": \"UTC\", \"hourly\": [\"low\"", f);
    for (i = 1; i < 24; i++) {
        fputs(", \"low\"", f);
    }
    fputs("]},\n\"user_role_affinity\": [], \"auto_scale_rules\": [], \"pool\": {\"min\": 0, \"max\": 10}}\n", f);
    fclose(f);
}

static void quiet(void *baton, const char *file, int line, persona_log_level_e level, apr_status_t status,
                  const char *message)
{
    (void)baton;
    if (level <= PERSONA_LOG_ERR) {
        fprintf(stderr, "# %s:%d (%d) %s\n", file, line, status, message);
    }
}

static void site_make(line_t *line, apr_pool_t *p)
{
    static const persona_compute_conf_t *conf;
    const char *keys[2] = {NULL, NULL};
    persona_catalog_t *catalog;
    persona_store_t *store;
    persona_compute_conf_t *added;

    apr_cpystrn(dir, "/tmp/persona-race.XXXXXX", sizeof(dir));
    if (!mkdtemp(dir) || mkdir(apr_pstrcat(p, dir, "/personas", NULL), 0700) != 0) {
        die("no folder");
    }
    write_persona();
    settings.directory = apr_pstrcat(p, dir, "/personas", NULL);
    settings.computes = apr_array_make(p, 1, sizeof(persona_compute_conf_t));
    added = apr_array_push(settings.computes);
    added->name = "shared";
    added->provider = "fake";
    added->address = options.server;
    conf = added;
    settings.ns = "0123456789ab";
    settings.keys[0] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    settings.memcached = options.memcached;
    settings.schedule = settings.timeout = apr_time_from_sec(5);
    settings.forecast = "off";
    settings.gateway_id = "gateway";
    keys[0] = persona_settings_key(&settings, 0, "record", p);
    if (persona_store_memcached_open(&store, options.memcached, apr_time_from_msec(500), p) != APR_SUCCESS ||
        persona_index_create(&line->index, store, settings.ns, keys, p) != APR_SUCCESS ||
        persona_catalog_read(&catalog, settings.directory, NULL) != APR_SUCCESS ||
        shared_provider.open(&line->compute, conf, settings.ns, settings.timeout, NULL, p) != APR_SUCCESS) {
        die("no site");
    }
    line->persona = persona_catalog_find(catalog, PERSONA);
    if (!line->persona) {
        die("the persona is not good");
    }
}

static void site_remove(void)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--one-file-system", dir, (char *)NULL);
        _exit(1);
    }
    waitpid(pid, &status, 0);
}

static void run(void)
{
    apr_time_t began;
    line_t line = {0};
    apr_pool_t *p;
    double took;
    long done;
    int number = 0, failed;

    apr_pool_create(&p, NULL);
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        die("no memory");
    }
    persona_log_set(quiet, NULL, PERSONA_LOG_ERR);
    site_make(&line, p);
    tell("reset", p);
    tell(options.fence ? "fence on" : "fence off", p);
    tell("fault fence lose " LOST_EVERY, p);
    began = apr_time_now();
    for (done = 0; done < options.claims; done += ROUND) {
        long claims = options.claims - done < ROUND ? options.claims - done : ROUND;

        round_run(&line, done, claims, number++);
    }
    took = (double)(apr_time_now() - began) / APR_USEC_PER_SEC;
    printf("# %ld claims from %d processes with %d threads each, fence %s: %.0f s, %.0f a second; %ld polls, %ld "
           "questions to managers, %ld instances handed out twice\n", options.claims, options.processes,
           options.threads, options.fence ? "on" : "off", took, (double)options.claims / took,
           atomic_load(&board->polls), atomic_load(&board->calls), atomic_load(&board->doubled));
    printf("# the compute: %s\n", shared_tell(options.server, "stats", p));
    failed = atomic_load(&board->unserved) != 0 || atomic_load(&board->got) != options.claims;
    printf("%sok 1 - every one of %ld claims got an instance\n", failed ? "not " : "", options.claims);
    if (options.fence) {
        printf("%sok 2 - no instance was handed out twice\n", atomic_load(&board->doubled) ? "not " : "");
        failed |= atomic_load(&board->doubled) != 0;
    }
    else {
        printf("%sok 2 - without the fence some were, and the board tells\n",
               atomic_load(&board->doubled) ? "" : "not ");
        failed |= atomic_load(&board->doubled) == 0;
    }
    puts("1..2");
    tell("fence on", p);
    site_remove();
    exit(failed);
}

int main(int argc, char **argv)
{
    int i;

    apr_initialize();
    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--no-fence")) {
            options.fence = 0;
        }
        else if (!strcmp(argv[i], "--claims") && i + 1 < argc) {
            options.claims = atol(argv[++i]);
        }
        else if (!strcmp(argv[i], "--processes") && i + 1 < argc) {
            options.processes = atoi(argv[++i]);
        }
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc) {
            options.threads = atoi(argv[++i]);
        }
        else if (!options.server) {
            options.server = argv[i];
        }
        else {
            options.memcached = argv[i];
        }
    }
    if (!options.memcached || options.claims < 1 || options.processes < 1 || options.threads < 1) {
        fprintf(stderr, "usage: race [--no-fence] [--claims N] [--processes N] [--threads N] SERVER MEMCACHED\n");
        return 2;
    }
    run();
}

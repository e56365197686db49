/* SPDX-License-Identifier: Apache-2.0 */
/* The manager with all its threads: races for the same instances, and a provider that keeps everybody waiting. */
#include <pthread.h>
#include <string.h>

#include <apr_atomic.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "manager_site.h"
#include "persona/digest.h"

#define READY 60
#define CLAIMERS 8
#define CLAIMS 40

static persona_manager_t *m;
static volatile apr_uint32_t running;

/** Ready instances that somebody else made. */
static void stock_up(int count)
{
    persona_catalog_t *catalog = persona_manager_catalog(m);
    const persona_t *persona = persona_catalog_find(catalog, "one");

    for (int i = 0; i < count; i++) {
        fake_instance_t *f = &fake.instances[i];

        f->exists = f->running = 1;
        f->state = PERSONA_INSTANCE_READY;
        f->port = 5900;
        f->created = f->ready_at = apr_time_now();
        apr_cpystrn(f->uuid, persona_uuid_random(unit_pool), sizeof(f->uuid));
        apr_cpystrn(f->persona_id, "one", sizeof(f->persona_id));
        apr_cpystrn(f->fingerprint, persona->fingerprint, sizeof(f->fingerprint));
    }
    persona_catalog_release(catalog);
}

static void start(int count)
{
    apr_pool_t *p;

    fake_reset(NULL);
    site_persona("one", count / 2, 200, "image");
    m = site_manager(1);
    m->clock = NULL;
    stock_up(count);
    apr_pool_create(&p, unit_pool);
    persona_reconcile(&m->sites[0], p);
}

/** No job runs any more, and none begins: what they worked on may go. */
static void come_to_rest(void)
{
    persona_crew_rest(m->sites[0].claims, apr_time_from_sec(60));
    persona_crew_rest(m->sites[0].work, apr_time_from_sec(60));
    persona_crew_rest(m->hooks, apr_time_from_sec(60));
}

/** What the process does all the time: read, tick, show. */
static void *background(void *arg)
{
    persona_ipc_peer_t peer = {1, PERSONA_IPC_VERSION, 1, 0};
    json_t *request = json_pack("{s:s}", "op", "status");
    apr_pool_t *p;

    (void)arg;
    apr_pool_create(&p, NULL);
    while (apr_atomic_read32(&running)) {
        persona_reconcile(&m->sites[0], p);
        apr_pool_clear(p);
        json_decref(persona_ops_answer(m, &peer, request));
        apr_sleep(apr_time_from_msec(5));
    }
    json_decref(request);
    apr_pool_destroy(p);
    return NULL;
}

static void *ticking(void *arg)
{
    apr_pool_t *p;

    (void)arg;
    apr_pool_create(&p, NULL);
    while (apr_atomic_read32(&running)) {
        persona_manager_tick(m, 1, p);
        apr_pool_clear(p);
        apr_sleep(apr_time_from_msec(5));
    }
    apr_pool_destroy(p);
    return NULL;
}

typedef struct claimer_t {
    pthread_t thread;
    int number;
    char got[CLAIMS][PERSONA_UUID_LEN]; /**< instance of each of its sessions; "": none */
} claimer_t;

static const char *claim(apr_pool_t *p, const char *instance, const char *session)
{
    persona_ask_t ask = {instance, "lab", "one", session, "u", "app", NULL, 0, 0, -1};
    char reason[PERSONA_REASON_MAX];
    persona_entry_t *entry = apr_pcalloc(p, sizeof(*entry));
    persona_assign_e outcome = persona_assign(m, &ask, apr_time_now() + PERSONA_ASSIGN_TIMEOUT, entry, reason, p);

    return outcome == PERSONA_ASSIGN_YES ? apr_pstrdup(p, entry->uuid) : NULL;
}

static void *claiming(void *arg)
{
    claimer_t *c = arg;
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    for (int i = 0; i < CLAIMS; i++) {
        char session[PERSONA_SESSION_LEN];
        const char *got = NULL;

        /* Two claimers share each session: two tabs. */
        apr_snprintf(session, sizeof(session), "%064x", (c->number / 2 + 1) * 1000 + i);
        for (int k = 0; !got && k < READY; k++) {
            got = claim(p, fake.instances[(c->number * 7 + i + k) % READY].uuid, session);
        }
        apr_cpystrn(c->got[i], got ? got : "", PERSONA_UUID_LEN);
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return NULL;
}

static void a_race_has_one_winner_for_each(void **state)
{
    static claimer_t claimers[CLAIMERS];
    pthread_t others[2];
    int got = 0;

    (void)state;
    start(READY);
    apr_atomic_set32(&running, 1);
    pthread_create(&others[0], NULL, background, NULL);
    pthread_create(&others[1], NULL, ticking, NULL);
    for (int i = 0; i < CLAIMERS; i++) {
        claimers[i].number = i;
        pthread_create(&claimers[i].thread, NULL, claiming, &claimers[i]);
    }
    for (int i = 0; i < CLAIMERS; i++) {
        pthread_join(claimers[i].thread, NULL);
    }
    apr_atomic_set32(&running, 0);
    pthread_join(others[0], NULL);
    pthread_join(others[1], NULL);
    for (int a = 0; a < CLAIMERS; a++) {
        for (int i = 0; i < CLAIMS; i++) {
            const char *mine = claimers[a].got[i];

            got += *mine != '\0';
            /* Another session has never the same one; the same session never another one. */
            for (int b = 0; *mine && b < CLAIMERS; b++) {
                for (int k = 0; k < CLAIMS; k++) {
                    const char *theirs = claimers[b].got[k];

                    if (a / 2 == b / 2 && i == k) {
                        assert_true(!*theirs || !strcmp(mine, theirs));
                    }
                    else {
                        assert_string_not_equal(mine, theirs);
                    }
                }
            }
        }
    }
    assert_true(got >= READY);
    assert_int_equal(fake.unfenced_alive, 0);
    assert_int_equal(fake.destroyed_fenced, 0);
    come_to_rest();
}

static void a_slow_fence_is_unknown_in_time_and_goes_on(void **state)
{
    apr_time_t begin;
    const char *got = NULL;

    (void)state;
    start(2);
    fake.delay = apr_time_from_msec(3200);
    begin = apr_time_now();
    assert_null(claim(unit_pool, fake.instances[0].uuid, site_session(1)));
    assert_true(apr_time_now() - begin < apr_time_from_msec(2300));
    /* The same question finds the same call. */
    got = claim(unit_pool, fake.instances[1].uuid, site_session(1));
    assert_non_null(got);
    assert_string_equal(got, fake.instances[0].uuid);
    assert_int_equal(fake.calls[FAKE_FENCE], 1);
    assert_true(apr_time_now() - begin < apr_time_from_msec(3800));
    come_to_rest();
}

static apr_uint32_t begun, done;

static void short_job(void *unused, apr_pool_t *p)
{
    (void)unused;
    (void)p;
    apr_atomic_inc32(&begun);
    apr_sleep(apr_time_from_msec(200));
    apr_atomic_inc32(&done);
}

static void a_crew_that_rests_finishes_and_begins_nothing(void **state)
{
    persona_crew_t *crew;
    apr_pool_t *p;

    (void)state;
    apr_pool_create(&p, NULL); /* its threads live as long as the process */
    assert_int_equal(persona_crew_create(&crew, 2, p), APR_SUCCESS);
    for (int i = 0; i < 4; i++) {
        persona_crew_push(crew, short_job, NULL);
    }
    while (apr_atomic_read32(&begun) < 2) {
        apr_sleep(apr_time_from_msec(1));
    }
    assert_int_equal(persona_crew_rest(crew, 0), 2);
    assert_int_equal(persona_crew_rest(crew, apr_time_from_sec(5)), 0);
    assert_int_equal(apr_atomic_read32(&done), 2);
    apr_sleep(apr_time_from_msec(50));
    assert_int_equal(apr_atomic_read32(&begun), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITE_TEST(a_race_has_one_winner_for_each),
        SITE_TEST(a_slow_fence_is_unknown_in_time_and_goes_on),
        SITE_TEST(a_crew_that_rests_finishes_and_begins_nothing),
    };

    return apr_initialize() == APR_SUCCESS ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}

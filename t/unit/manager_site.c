/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file manager_site.c
 * @brief The site of the manager's unit tests.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "manager_site.h"

apr_pool_t *unit_pool;
apr_time_t site_now;
test_site_t site;

apr_time_t site_clock(void *baton)
{
    (void)baton;
    return site_now;
}

/* ---- an index that can be cut off ---- */

static persona_store_t front;
static persona_store_t *memory;

void site_flush(void)
{
    assert_int_equal(persona_store_memory_open(&memory, unit_pool), APR_SUCCESS);
}

static int cut(void)
{
    site.index_calls++;
    return site.index_down;
}

static apr_status_t front_get(persona_store_t *s, const char *group, const char *key, const char **value, apr_pool_t *p)
{
    (void)s;
    return cut() ? APR_TIMEUP : memory->get(memory, group, key, value, p);
}

static apr_status_t front_add(persona_store_t *s, const char *group, const char *key, const char *value, int ttl)
{
    (void)s;
    return cut() ? APR_TIMEUP : memory->add(memory, group, key, value, ttl);
}

static apr_status_t front_set(persona_store_t *s, const char *group, const char *key, const char *value, int ttl)
{
    (void)s;
    return cut() ? APR_TIMEUP : memory->set(memory, group, key, value, ttl);
}

static apr_status_t front_incr(persona_store_t *s, const char *group, const char *key, apr_uint64_t *value)
{
    (void)s;
    return cut() ? APR_TIMEUP : memory->incr(memory, group, key, value);
}

static apr_status_t front_remove(persona_store_t *s, const char *group, const char *key)
{
    (void)s;
    return cut() ? APR_TIMEUP : memory->remove(memory, group, key);
}

static apr_status_t front_get_many(persona_store_t *s, const char *group, const char *const *keys, int count,
                                   const char **values, apr_pool_t *p)
{
    (void)s;
    return cut() ? APR_TIMEUP : memory->get_many(memory, group, keys, count, values, p);
}

static void front_close(persona_store_t *s)
{
    (void)s;
}

/* ---- the site ---- */

static void silent(void *baton, const char *file, int line, persona_log_level_e level, apr_status_t status,
                   const char *message)
{
    (void)baton;
    if (getenv("PERSONA_TEST_LOG")) {
        fprintf(stderr, "# %s:%d %d (%d) %s\n", file, line, level, status, message);
    }
}

int site_setup(void **state)
{
    static const persona_compute_conf_t conf = {"lab", "fake", "here", NULL};

    (void)state;
    if (apr_pool_create(&unit_pool, NULL) != APR_SUCCESS) {
        return -1;
    }
    persona_log_set(silent, NULL, PERSONA_LOG_DEBUG);
    persona_compute_register(&fake_provider);
    site_now = apr_time_now();
    fake_reset(site_clock);
    memset(&site, 0, sizeof(site));
    apr_cpystrn(site.dir, "/tmp/persona-unit.XXXXXX", sizeof(site.dir));
    if (!mkdtemp(site.dir) || persona_store_memory_open(&memory, unit_pool) != APR_SUCCESS) {
        return -1;
    }
    apr_snprintf(site.state_dir, sizeof(site.state_dir), "%s.state", site.dir);
    mkdir(site.state_dir, 0700);
    front = (persona_store_t){"front", front_get, front_add, front_set, front_incr, front_remove, front_get_many,
                              front_close};
    site.store = &front;
    site.settings.directory = site.dir;
    site.settings.state_dir = site.state_dir;
    site.settings.computes = apr_array_make(unit_pool, 1, sizeof(persona_compute_conf_t));
    APR_ARRAY_PUSH(site.settings.computes, persona_compute_conf_t) = conf;
    site.settings.ns = "0123456789ab";
    site.settings.keys[0] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    site.settings.schedule = SECONDS(5);
    site.settings.timeout = SECONDS(5);
    site.settings.forecast = "off";
    site.settings.gateway_id = "gateway-1";
    site.settings.home_url = "http://192.0.2.1/home";
    return 0;
}

static void remove_tree(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *entry;

    while (d && (entry = readdir(d)) != NULL) {
        const char *path = apr_pstrcat(unit_pool, dir, "/", entry->d_name, NULL);

        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) {
            continue;
        }
        if (entry->d_type == DT_DIR) {
            remove_tree(path);
        }
        else {
            unlink(path);
        }
    }
    if (d) {
        closedir(d);
    }
    rmdir(dir);
}

static void write_persona(const char *id, int min, int max, const char *os_image, const char *home)
{
    const char *path = apr_psprintf(unit_pool, "%s/%s.json", site.dir, id);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fprintf(f, "{\"persona_id\": \"%s\", \"app_id\": \"app\", \"application_source\": \"desktop\",\n"
               "\"resource_profile\": {\"cpu\": 1, \"memory\": \"512MiB\"},\n"
               "\"execution_environment\": {\"compute\": \"lab\", \"os_image\": \"%s\", \"libraries\": [],\n"
               "  \"network\": {\"name\": \"persona\", \"isolated\": true},\n"
               "  \"stream\": {\"protocol\": \"vnc\", \"port\": 5900}, \"ready\": {\"timeout\": \"60s\"}%s},\n"
               "\"predicted_usage_pattern\": {\"timezone\": \"UTC\", \"hourly\": [\"low\"", id, os_image, home);
    for (int i = 1; i < 24; i++) {
        fputs(", \"low\"", f);
    }
    fprintf(f, "]},\n\"user_role_affinity\": [], \"auto_scale_rules\": [],\n"
               "\"pool\": {\"min\": %d, \"max\": %d, \"disconnect_timeout\": \"15m\", \"idle_timeout\": \"30m\", "
               "\"max_session\": \"2h\"}}\n", min, max);
    fclose(f);
}

void site_persona(const char *id, int min, int max, const char *os_image)
{
    write_persona(id, min, max, os_image, "");
}

void site_persona_home(const char *id, int min, int max, int exclusive)
{
    write_persona(id, min, max, "image", exclusive
                  ? ", \"home\": {\"hook\": \"/assign\", \"port\": 1, \"exclusive\": true}"
                  : ", \"home\": {\"hook\": \"/assign\", \"port\": 1}");
}

static persona_manager_t *managers[64];
static int manager_count;
static int threaded; /* the running test has a manager whose threads never end */

static void free_all(apr_hash_t *table)
{
    for (apr_hash_index_t *hi = apr_hash_first(NULL, table); hi; hi = apr_hash_next(hi)) {
        free(apr_hash_this_val(hi));
    }
}

/** A manager lives as long as its process; a test has many, and leaves no leaks to look through. */
static void forget_managers(void)
{
    while (manager_count) {
        persona_manager_t *m = managers[--manager_count];

        free_all(m->entries);
        free_all(m->users);
        free_all(m->stocks);
        free_all(m->ended);
        free_all(m->strays);
        free_all(m->visitors);
        free_all(m->dropped);
        persona_catalog_release(m->catalog);
    }
}

persona_manager_t *site_manager(int threads)
{
    persona_manager_t *m = NULL;
    apr_pool_t *p;

    assert_int_equal(apr_pool_create(&p, unit_pool), APR_SUCCESS);
    assert_int_equal(persona_manager_create(&m, &site.settings, site.store, threads, p), APR_SUCCESS);
    m->clock = site_clock;
    assert_true(manager_count < 64);
    managers[manager_count++] = m;
    threaded |= threads;
    return m;
}

int site_teardown(void **state)
{
    (void)state;
    remove_tree(site.dir);
    remove_tree(site.state_dir);
    if (threaded) {
        manager_count = threaded = 0; /* what they may still use stays */
        return 0;
    }
    forget_managers();
    apr_pool_destroy(unit_pool);
    return 0;
}

void site_round(persona_manager_t *m)
{
    apr_pool_t *p;

    apr_pool_create(&p, unit_pool);
    for (int i = 0; i < m->site_count; i++) {
        persona_reconcile(&m->sites[i], p);
    }
    persona_manager_tick(m, 1, p);
    apr_pool_destroy(p);
    site_now += SECONDS(1);
}

void site_settle(persona_manager_t *m)
{
    for (int round = 0; round < 50; round++) {
        int booting = 0;

        site_round(m);
        for (int i = 0; i < FAKE_MAX; i++) {
            if (fake.instances[i].exists && fake.instances[i].state == PERSONA_INSTANCE_CREATING) {
                booting++;
                persona_boot_probed(m, fake.instances[i].uuid, 1, "");
            }
        }
        site_round(m);
        if (!booting) {
            return;
        }
    }
}

persona_manager_t *site_with_pool(int ready)
{
    persona_manager_t *m;

    site_persona("one", ready, 10, "image");
    m = site_manager(0);
    site_settle(m);
    assert_int_equal(fake_count(PERSONA_INSTANCE_READY), ready);
    return m;
}

const char *site_uuid(int n)
{
    return apr_pstrdup(unit_pool, fake_nth(n)->uuid);
}

void site_pass(persona_manager_t *m, int seconds)
{
    while (seconds-- > 0) {
        site_round(m);
    }
}

const char *site_session(int n)
{
    char *session = apr_palloc(unit_pool, PERSONA_SESSION_LEN);

    apr_snprintf(session, PERSONA_SESSION_LEN, "%064x", n);
    return session;
}

static json_t *ask(persona_manager_t *m, int control, const char *fmt, va_list ap)
{
    persona_ipc_peer_t peer = {control, PERSONA_IPC_VERSION, 4711, 33};
    char *text = apr_pvsprintf(unit_pool, fmt, ap);
    json_t *request, *answer;

    for (char *c = text; *c; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    request = json_loads(text, JSON_ALLOW_NUL, NULL);
    assert_non_null(request);
    answer = persona_ops_answer(m, &peer, request);
    json_decref(request);
    assert_non_null(answer);
    assert_non_null(json_string_value(json_object_get(answer, "status")));
    assert_non_null(json_string_value(json_object_get(answer, "catalog")));
    return answer;
}

json_t *site_ask(persona_manager_t *m, const char *fmt, ...)
{
    json_t *answer;
    va_list ap;

    va_start(ap, fmt);
    answer = ask(m, 0, fmt, ap);
    va_end(ap);
    return answer;
}

json_t *site_ask_control(persona_manager_t *m, const char *fmt, ...)
{
    json_t *answer;
    va_list ap;

    va_start(ap, fmt);
    answer = ask(m, 1, fmt, ap);
    va_end(ap);
    return answer;
}

const char *site_status_of(json_t *answer)
{
    const char *status = apr_pstrdup(unit_pool, json_string_value(json_object_get(answer, "status")));

    json_decref(answer);
    return status;
}

const char *site_assign(persona_manager_t *m, const char *instance, int session)
{
    return site_status_of(site_ask(m, "{'op': 'assign', 'instance': '%s', 'compute': 'lab', 'persona': 'one', "
                                      "'session': '%s', 'user': 'user%d', 'roles': ['r'], 'app': 'app'}", instance,
                                   site_session(session), session));
}

const char *site_found(persona_manager_t *m, int session)
{
    json_t *answer = site_ask(m, "{'op': 'find', 'session': '%s'}", site_session(session));
    const char *instance = json_string_value(json_object_get(json_object_get(answer, "record"), "instance"));

    instance = instance ? apr_pstrdup(unit_pool, instance) : "none";
    json_decref(answer);
    return instance;
}

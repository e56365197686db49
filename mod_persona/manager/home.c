/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file home.c
 * @brief The person's files: the assign hook after a claim, the release hook before the end.
 *
 * A session with a home starts at home 1; a thread of the `hooks` crew brings it to 2 or 3 and nothing
 * ever brings it back. An exclusive home is kept by a fence of its own, named after the user: two sessions
 * of a user cannot both have it, whichever gateway they came through. That fence goes with the
 * session's instance, after it is gone.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "assign.h"
#include "hook.h"
#include "persona/digest.h"
#include "persona/text.h"

/** The hook's server may come up a little after the stream. */
#define HOME_PATIENCE   apr_time_from_sec(15)
#define HOME_TIMEOUT    apr_time_from_sec(30)
#define RELEASE_TIMEOUT apr_time_from_sec(10)

typedef struct home_t {
    persona_manager_t *manager;
    persona_entry_t entry; /**< as it was when the hook was called for */
    json_t *roles;
} home_t;

const char *persona_home_fence(const char *user, apr_pool_t *p)
{
    char hex[PERSONA_HEX256_LEN];

    persona_sha256(user, strlen(user), hex);
    return apr_pstrcat(p, "home:", hex, NULL);
}

persona_site_t *persona_home_site(persona_manager_t *m)
{
    return m->site_count ? &m->sites[0] : NULL;
}

const char *persona_home_password(const persona_manager_t *m, int which, const char *session,
                                  const char *user, apr_pool_t *p)
{
    const char *key = m->home_keys[which], *text;
    char *password;

    if (!key) {
        return NULL;
    }
    password = apr_palloc(p, PERSONA_HEX256_LEN);
    text = apr_pstrcat(p, session, "\n", user, NULL);
    persona_hmac(key, strlen(key), text, strlen(text), password);
    return password;
}

/** NULL: the site has no such key. */
static const char *instance_key(const persona_manager_t *m, int which, const char *uuid, apr_pool_t *p)
{
    char *key;

    if (!m->hook_keys[which]) {
        return NULL;
    }
    key = apr_palloc(p, PERSONA_HEX256_LEN);
    persona_hmac(m->hook_keys[which], strlen(m->hook_keys[which]), uuid, strlen(uuid), key);
    return key;
}

static void hook_of(const persona_manager_t *m, const persona_entry_t *e, persona_hook_t *hook,
                    apr_pool_t *p)
{
    memset(hook, 0, sizeof(*hook));
    hook->address = e->hook_address;
    hook->port = e->hook_port;
    hook->path = e->hook_path;
    hook->keys[0] = instance_key(m, 0, e->uuid, p);
    hook->keys[1] = instance_key(m, 1, e->uuid, p);
    hook->instance = e->uuid;
    hook->session = e->session;
    hook->user = e->user;
    hook->app = e->app;
}

static apr_array_header_t *roles_of(const json_t *roles, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 4, sizeof(const char *));
    size_t i;

    for (i = 0; i < json_array_size(roles); i++) {
        const char *role = json_string_value(json_array_get(roles, i));

        if (role) {
            APR_ARRAY_PUSH(list, const char *) = role;
        }
    }
    return list;
}

/** Keep the user's home for this session. A fence whose answer is lost is asked for again. */
static apr_status_t home_reserve(home_t *home, persona_result_t *res, apr_pool_t *p)
{
    persona_site_t *site = persona_home_site(home->manager);
    const char *name = persona_home_fence(home->entry.user, p);
    apr_status_t status = APR_TIMEUP;
    int i;

    for (i = 0; i < 3 && status == APR_TIMEUP; i++) {
        status = site->compute->provider->fence(site->compute, name, home->entry.session, res, p);
    }
    if (status == APR_EEXIST) {
        persona_result_set(res, status, "home-in-use",
                           "your files are in use by another session of yours; end "
                           "that session first");
    }
    return status;
}

/** The person's own folder below PersonaHomeURL. */
static const char *home_url(const char *base, const char *user, apr_pool_t *p)
{
    const apr_size_t len = strlen(base);

    return apr_pstrcat(p, base, len && base[len - 1] == '/' ? "" : "/", persona_text_folder(user, p), "/", NULL);
}

static apr_status_t home_attach(home_t *home, persona_result_t *res, apr_pool_t *p)
{
    persona_manager_t *m = home->manager;
    persona_site_t *site = persona_site_find(m, home->entry.compute);
    apr_time_t patience = apr_time_now() + HOME_PATIENCE;
    persona_hook_t hook;
    apr_status_t status;

    if (!m->settings->home_url) {
        return persona_result_set(res, APR_ENOTIMPL, "home",
                                  "the site has no PersonaHomeURL, so there is no home "
                                  "to attach");
    }
    if (home->entry.home_exclusive) {
        status = home_reserve(home, res, p);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    hook_of(m, &home->entry, &hook, p);
    hook.roles = roles_of(home->roles, p);
    hook.home_url = home_url(m->settings->home_url, home->entry.user, p);
    hook.home_password = persona_home_password(m, 0, home->entry.session, home->entry.user, p);
    for (;;) {
        if (!*home->entry.hook_address) {
            persona_instance_t *i;

            status = site->compute->provider->inspect(site->compute, home->entry.uuid, &i, res, p);
            if (status == APR_SUCCESS) {
                persona_copy(home->entry.hook_address, i->hook_address);
            }
        }
        status = *home->entry.hook_address
                     ? persona_hook_call(&hook, HOME_TIMEOUT, res, p)
                     : persona_result_set(res, APR_EGENERAL, "hook",
                                          "the instance has no address of its own");
        if (status == APR_SUCCESS || status == APR_EEXIST || apr_time_now() > patience) {
            return status;
        }
        apr_sleep(apr_time_from_msec(300));
    }
}

static void home_job(void *arg, apr_pool_t *p)
{
    home_t *home = arg;
    persona_manager_t *m = home->manager;
    persona_result_t res = {0};
    apr_status_t status = home_attach(home, &res, p);
    persona_entry_t *e;

    persona_manager_lock(m);
    e = persona_entry_find(m, home->entry.uuid);
    if (e && !strcmp(e->session, home->entry.session)) {
        e->home = status == APR_SUCCESS ? 2 : 3;
        e->dirty = 1;
        persona_copy(e->home_problem, status == APR_SUCCESS ? "" : res.detail);
        persona_copy(e->hook_address, home->entry.hook_address);
    }
    pthread_cond_broadcast(&m->changed);
    persona_manager_unlock(m);
    if (status != APR_SUCCESS) {
        persona_log(PERSONA_LOG_WARNING, status,
                    "the home of user %s was not attached to instance %s: %s", home->entry.user,
                    home->entry.uuid, res.detail);
    }
    json_decref(home->roles);
    free(home);
    persona_manager_wake(m);
}

void persona_home_start(persona_manager_t *m, persona_entry_t *e, json_t *roles,
                        persona_tasks_t *tasks)
{
    home_t *home = calloc(1, sizeof(*home));

    if (!home) {
        abort();
    }
    e->home = 1;
    home->manager = m;
    home->entry = *e;
    home->roles = json_incref(roles);
    persona_tasks_add_arg(tasks, m->hooks, home_job, home);
}

void persona_home_release(persona_manager_t *m, const persona_entry_t *copy, apr_pool_t *p)
{
    persona_result_t res = {0};
    persona_hook_t hook;

    if (!*copy->hook_path || !*copy->hook_address || !*copy->session || !*copy->user) {
        return;
    }
    hook_of(m, copy, &hook, p);
    if (persona_hook_call(&hook, RELEASE_TIMEOUT, &res, p) != APR_SUCCESS) {
        persona_log(PERSONA_LOG_WARNING, res.status,
                    "instance %s did not write back the home of user %s: %s", copy->uuid,
                    copy->user, res.detail);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file fake_compute.c
 * @brief The provider of fake_compute.h.
 */
#include <pthread.h>
#include <string.h>

#include <apr_strings.h>

#include "fake_compute.h"

#define COPY(to, from) apr_cpystrn((to), (from) ? (from) : "", sizeof(to))

fake_world_t fake;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void fake_reset(apr_time_t (*clock)(void *baton))
{
    memset(&fake, 0, sizeof(fake));
    fake.clock = clock;
    fake.port = 5900;
}

fake_instance_t *fake_find(const char *uuid)
{
    for (int i = 0; i < FAKE_MAX; i++) {
        if (fake.instances[i].exists && !strcmp(fake.instances[i].uuid, uuid)) {
            return &fake.instances[i];
        }
    }
    return NULL;
}

fake_instance_t *fake_nth(int n)
{
    for (int i = 0; i < FAKE_MAX; i++) {
        if (fake.instances[i].exists && n-- == 0) {
            return &fake.instances[i];
        }
    }
    return NULL;
}

int fake_count(persona_instance_e state)
{
    int count = 0;

    for (int i = 0; i < FAKE_MAX; i++) {
        count += fake.instances[i].exists
                 && (state == PERSONA_INSTANCE_GONE || fake.instances[i].state == state);
    }
    return count;
}

static fake_fence_t *find_fence(const char *name)
{
    for (int i = 0; i < FAKE_MAX; i++) {
        if (fake.fences[i].exists && !strcmp(fake.fences[i].name, name)) {
            return &fake.fences[i];
        }
    }
    return NULL;
}

const char *fake_token(const char *name)
{
    fake_fence_t *f = find_fence(name);

    return f ? f->token : NULL;
}

int fake_fence_count(void)
{
    int count = 0;

    for (int i = 0; i < FAKE_MAX; i++) {
        count += fake.fences[i].exists;
    }
    return count;
}

void fake_set_fence(const char *name, const char *token)
{
    for (int i = 0; i < FAKE_MAX; i++) {
        fake_fence_t *f = &fake.fences[i];

        if (!f->exists) {
            f->exists = 1;
            apr_cpystrn(f->name, name, sizeof(f->name));
            apr_cpystrn(f->token, token, sizeof(f->token));
            f->session[0] = '\0';
            return;
        }
    }
}

static apr_time_t now(void)
{
    return fake.clock ? fake.clock(NULL) : apr_time_now();
}

/** With the lock. What the operation is to answer instead of being done; *after: once it was done. */
static apr_status_t begin(fake_op_e op, persona_result_t *res, apr_status_t *after)
{
    int changing = op == FAKE_CREATE || op == FAKE_MARK || op == FAKE_FENCE || op == FAKE_UNFENCE || op == FAKE_DESTROY;
    apr_status_t status = fake.fail[op];

    fake.calls[op]++;
    *after = APR_SUCCESS;
    fake.changes += changing;
    if (fake.die_at && fake.changes >= fake.die_at) {
        return persona_result_set(res, APR_EGENERAL, "dead", "the caller died here");
    }
    if (status != APR_SUCCESS) {
        persona_result_set(res, status, "fake", "the fake was told to fail");
        if (fake.fail_times[op] && --fake.fail_times[op] == 0) {
            fake.fail[op] = APR_SUCCESS;
        }
        if (fake.fail_after) {
            *after = status;
            status = APR_SUCCESS;
        }
    }
    return status;
}

static void trace(const char *letter)
{
    apr_size_t len = strlen(fake.trace);

    apr_cpystrn(fake.trace + len, letter, sizeof(fake.trace) - len);
}

static apr_status_t fake_open(persona_compute_t **c, const persona_compute_conf_t *conf, const char *ns,
                              apr_interval_time_t timeout, persona_result_t *res, apr_pool_t *p)
{
    (void)res;
    *c = apr_pcalloc(p, sizeof(**c));
    (*c)->provider = &fake_provider;
    (*c)->conf = conf;
    (*c)->ns = ns;
    (*c)->timeout = timeout;
    return APR_SUCCESS;
}

static void fake_watch(persona_compute_t *c, persona_compute_event_cb *cb, void *baton)
{
    (void)c;
    (void)cb;
    (void)baton;
}

static persona_instance_t *view(persona_compute_t *c, const fake_instance_t *f, apr_time_t read_at, apr_pool_t *p)
{
    persona_instance_t *i = apr_pcalloc(p, sizeof(*i));

    i->uuid = apr_pstrdup(p, f->uuid);
    i->persona_id = apr_pstrdup(p, f->persona_id);
    i->fingerprint = apr_pstrdup(p, f->fingerprint);
    i->compute = c->conf->name;
    i->host = "fake";
    i->state = f->state;
    i->running = f->running;
    i->session = *f->session ? apr_pstrdup(p, f->session) : NULL;
    i->user = *f->user ? apr_pstrdup(p, f->user) : NULL;
    i->app = *f->app ? apr_pstrdup(p, f->app) : NULL;
    i->reason = *f->reason ? apr_pstrdup(p, f->reason) : NULL;
    i->maker = *f->maker ? apr_pstrdup(p, f->maker) : NULL;
    i->created = f->created;
    i->ready_at = f->ready_at;
    i->assigned_at = f->assigned_at;
    i->retiring_at = f->retiring_at;
    i->address = f->port ? "127.0.0.1" : NULL;
    i->hook_address = i->address;
    i->port = f->port;
    i->read_at = read_at;
    return i;
}

static apr_status_t fake_list(persona_compute_t *c, apr_array_header_t **instances, persona_result_t *res,
                              apr_pool_t *p)
{
    apr_status_t status, after;
    apr_time_t read_at = now();

    pthread_mutex_lock(&lock);
    status = begin(FAKE_LIST, res, &after);
    *instances = apr_array_make(p, 8, sizeof(persona_instance_t *));
    for (int i = 0; status == APR_SUCCESS && i < FAKE_MAX; i++) {
        if (fake.instances[i].exists) {
            APR_ARRAY_PUSH(*instances, persona_instance_t *) = view(c, &fake.instances[i], read_at, p);
        }
    }
    pthread_mutex_unlock(&lock);
    if (fake.listed) {
        void (*listed)(void) = fake.listed;

        fake.listed = NULL;
        listed();
    }
    return status ? status : after;
}

static apr_status_t fake_inspect(persona_compute_t *c, const char *uuid, persona_instance_t **instance,
                                 persona_result_t *res, apr_pool_t *p)
{
    apr_status_t status, after;
    apr_time_t read_at = now();
    fake_instance_t *f;

    pthread_mutex_lock(&lock);
    status = begin(FAKE_INSPECT, res, &after);
    f = fake_find(uuid);
    if (status == APR_SUCCESS && !f) {
        status = APR_ENOENT;
    }
    if (status == APR_SUCCESS) {
        *instance = view(c, f, read_at, p);
    }
    pthread_mutex_unlock(&lock);
    return status ? status : after;
}

static apr_status_t fake_create(persona_compute_t *c, const persona_t *persona, const persona_create_t *how,
                                persona_result_t *res, apr_pool_t *p)
{
    apr_status_t status, after;

    (void)c;
    (void)p;
    pthread_mutex_lock(&lock);
    status = begin(FAKE_CREATE, res, &after);
    for (int i = 0; status == APR_SUCCESS && i < FAKE_MAX; i++) {
        fake_instance_t *f = &fake.instances[i];

        if (!f->exists) {
            memset(f, 0, sizeof(*f));
            f->exists = f->running = 1;
            COPY(f->uuid, how->uuid);
            COPY(f->persona_id, persona->id);
            COPY(f->fingerprint, persona->fingerprint);
            COPY(f->reason, how->reason);
            COPY(f->maker, how->maker);
            f->state = PERSONA_INSTANCE_CREATING;
            f->created = now();
            f->port = fake.port;
            trace("C");
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return status ? status : after;
}

static apr_status_t fake_mark(persona_compute_t *c, const char *uuid, const persona_mark_t *mark, persona_result_t *res,
                              apr_pool_t *p)
{
    apr_status_t status, after;
    fake_instance_t *f;

    (void)c;
    (void)p;
    pthread_mutex_lock(&lock);
    status = begin(FAKE_MARK, res, &after);
    f = fake_find(uuid);
    if (status == APR_SUCCESS && (!f || f->state == PERSONA_INSTANCE_GONE)) {
        status = APR_ENOENT; /* what is gone has nothing that could be marked */
    }
    if (status == APR_SUCCESS) {
        f->state = mark->state;
        if (mark->session) {
            COPY(f->session, mark->session);
        }
        if (mark->user) {
            COPY(f->user, mark->user);
        }
        if (mark->app) {
            COPY(f->app, mark->app);
        }
        if (mark->reason) {
            COPY(f->reason, mark->reason);
        }
        f->ready_at = mark->ready_at ? mark->ready_at : f->ready_at;
        f->assigned_at = mark->assigned_at ? mark->assigned_at : f->assigned_at;
        f->retiring_at = mark->retiring_at ? mark->retiring_at : f->retiring_at;
        trace(mark->state == PERSONA_INSTANCE_RETIRING ? "M" : "m");
    }
    pthread_mutex_unlock(&lock);
    return status ? status : after;
}

static apr_status_t fake_fence(persona_compute_t *c, const char *name, const char *session, persona_result_t *res,
                               apr_pool_t *p)
{
    const char *token = persona_fence_token(session, name, p);
    apr_status_t status, after;
    fake_fence_t *f;

    (void)c;
    if (fake.delay) {
        apr_sleep(fake.delay);
    }
    pthread_mutex_lock(&lock);
    status = begin(FAKE_FENCE, res, &after);
    f = find_fence(name);
    if (status == APR_SUCCESS && f && strcmp(f->token, token)) {
        status = APR_EEXIST;
    }
    for (int i = 0; status == APR_SUCCESS && !f && i < FAKE_MAX; i++) {
        if (!fake.fences[i].exists) {
            f = &fake.fences[i];
            f->exists = 1;
            COPY(f->name, name);
            COPY(f->token, token);
            COPY(f->session, session);
        }
    }
    if (status == APR_SUCCESS) {
        trace("F");
    }
    pthread_mutex_unlock(&lock);
    return status ? status : after;
}

static apr_status_t fake_holder(persona_compute_t *c, const char *name, const char **token, persona_result_t *res,
                                apr_pool_t *p)
{
    apr_status_t status, after;
    fake_fence_t *f;

    (void)c;
    pthread_mutex_lock(&lock);
    status = begin(FAKE_HOLDER, res, &after);
    f = find_fence(name);
    if (status == APR_SUCCESS && !f) {
        status = APR_ENOENT;
    }
    if (status == APR_SUCCESS) {
        *token = apr_pstrdup(p, f->token);
    }
    pthread_mutex_unlock(&lock);
    return status ? status : after;
}

static apr_status_t fake_session(persona_compute_t *c, const char *name, const char **session, persona_result_t *res,
                                 apr_pool_t *p)
{
    apr_status_t status, after;
    fake_fence_t *f;

    (void)c;
    pthread_mutex_lock(&lock);
    status = begin(FAKE_HOLDER, res, &after);
    f = find_fence(name);
    if (status == APR_SUCCESS && !f) {
        status = APR_ENOENT;
    }
    if (status == APR_SUCCESS) {
        *session = fake.nameless ? "" : apr_pstrdup(p, f->session);
    }
    pthread_mutex_unlock(&lock);
    return status ? status : after;
}

static apr_status_t fake_fences(persona_compute_t *c, apr_array_header_t **fences, persona_result_t *res, apr_pool_t *p)
{
    apr_status_t status, after;

    (void)c;
    pthread_mutex_lock(&lock);
    status = begin(FAKE_FENCES, res, &after);
    *fences = apr_array_make(p, 8, sizeof(persona_fence_t *));
    for (int i = 0; status == APR_SUCCESS && i < FAKE_MAX; i++) {
        if (fake.fences[i].exists) {
            persona_fence_t *f = apr_pcalloc(p, sizeof(*f));

            f->name = apr_pstrdup(p, fake.fences[i].name);
            f->token = apr_pstrdup(p, fake.fences[i].token);
            APR_ARRAY_PUSH(*fences, persona_fence_t *) = f;
        }
    }
    pthread_mutex_unlock(&lock);
    return status ? status : after;
}

static apr_status_t fake_unfence(persona_compute_t *c, const char *name, const char *token, persona_result_t *res,
                                 apr_pool_t *p)
{
    apr_status_t status, after;
    fake_fence_t *f;

    (void)c;
    (void)p;
    pthread_mutex_lock(&lock);
    status = begin(FAKE_UNFENCE, res, &after);
    f = find_fence(name);
    if (status == APR_SUCCESS && f && !strcmp(f->token, token)) {
        fake.unfenced_alive += fake_find(name) != NULL;
        f->exists = 0;
        trace("U");
    }
    pthread_mutex_unlock(&lock);
    return status ? status : after;
}

static apr_status_t fake_destroy(persona_compute_t *c, const char *uuid, persona_result_t *res, apr_pool_t *p)
{
    apr_status_t status, after;
    fake_instance_t *f;

    (void)c;
    (void)p;
    pthread_mutex_lock(&lock);
    status = begin(FAKE_DESTROY, res, &after);
    f = fake_find(uuid);
    if (status == APR_SUCCESS && f) {
        fake.destroyed_fenced += find_fence(uuid) && f->state != PERSONA_INSTANCE_RETIRING;
        f->exists = 0;
        trace("D");
    }
    pthread_mutex_unlock(&lock);
    return status ? status : after;
}

static void fake_close(persona_compute_t *c)
{
    (void)c;
}

const persona_compute_provider_t fake_provider = {
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .watch = fake_watch,
    .list = fake_list,
    .inspect = fake_inspect,
    .create = fake_create,
    .mark = fake_mark,
    .fence = fake_fence,
    .fence_holder = fake_holder,
    .fence_session = fake_session,
    .fences = fake_fences,
    .unfence = fake_unfence,
    .destroy = fake_destroy,
};

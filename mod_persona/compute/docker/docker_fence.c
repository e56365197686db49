/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file docker_fence.c
 * @brief Fences: a volume that only one can make, and the name of the container.
 *
 * The engine makes a volume of a name once; whoever asks for it again is given the first one's labels. So the volume
 * persona-fence-NS-UUID with the winner's token as a label is an atomic and idempotent test-and-set, which survives
 * every restart. But `docker volume prune` sweeps volumes that no container uses. So the winner also renames the
 * container, to persona-assigned-UUID-TOKEN, and whoever asks looks at that name first: a name that is taken stays,
 * and tells whose the instance is, for as long as the container exists. The renaming is asked for by the container's
 * first name, which is gone after it: of two who both won because a prune fell between them, the second finds no such
 * container, looks again, and learns who has it.
 *
 * A fence of another name (a person's home) is a volume alone, named by the name's hash. Removing it is: take the
 * volume ...-removing, look whose the fence is, remove it, remove ...-removing; so nobody removes what another has
 * taken since he looked. One that was left by a crash is swept after a while longer than any call lasts.
 */
#include <string.h>

#include <apr_strings.h>

#include "compute/docker/docker.h"
#include "persona/digest.h"

#define REMOVING "-removing"
#define REMOVING_MAX apr_time_from_sec(120)

static const char *label_of(const json_t *labels, const char *name)
{
    return json_string_value(json_object_get(labels, name));
}

static const char *volume_name(const docker_t *d, const char *name, apr_pool_t *p)
{
    char hex[PERSONA_HEX256_LEN];

    if (persona_uuid_valid(name)) {
        return apr_pstrcat(p, DOCKER_FENCE, d->head.ns, "-", name, NULL);
    }
    persona_sha256(name, strlen(name), hex);
    return apr_pstrcat(p, DOCKER_FENCE, d->head.ns, "-", hex, NULL);
}

static apr_status_t volume_read(docker_call_t *call, const char *volume, json_t **labels)
{
    docker_answer_t answer;
    apr_status_t status = docker_request(call, "GET", apr_pstrcat(call->p, "/volumes/", volume, NULL), NULL, &answer,
                                         "cannot look at the fence");

    if (status == APR_SUCCESS) {
        *labels = json_object_get(answer.json, "Labels");
    }
    return status;
}

static apr_status_t volume_remove(docker_call_t *call, const char *volume)
{
    docker_answer_t answer;
    apr_status_t status = docker_request(call, "DELETE", apr_pstrcat(call->p, "/volumes/", volume, NULL), NULL, &answer,
                                         "cannot remove the fence");

    return status == APR_ENOENT ? APR_SUCCESS : status;
}

apr_status_t docker_volume_take(docker_call_t *call, const char *name, json_t *labels, json_t **holder,
                                const char *what)
{
    docker_answer_t answer;
    json_t *body = json_pack("{s:s, s:o}", "Name", name, "Labels", labels);
    apr_status_t status = docker_request(call, "POST", "/volumes/create", body, &answer, what);

    *holder = NULL;
    if (status == APR_SUCCESS) {
        *holder = json_object_get(answer.json, "Labels");
        return APR_SUCCESS;
    }
    /* Podman may refuse the second of two that come at once; then there is one to be read. */
    if (status == APR_EGENERAL || status == APR_EEXIST) {
        docker_call_t quiet = *call;

        quiet.res = NULL;
        if (volume_read(&quiet, name, holder) == APR_SUCCESS) {
            return persona_result_set(call->res, APR_SUCCESS, NULL, "%s", "");
        }
    }
    return status;
}

/* ---- taking ---- */

static apr_status_t taken(docker_call_t *call, const char *name)
{
    return persona_result_set(call->res, APR_EEXIST, "fenced", "%s belongs to another", name);
}

/* The container of the instance, NULL where there is none; *token is NULL where nobody has it. */
static apr_status_t look(docker_call_t *call, const char *uuid, const docker_container_t **result, const char **token)
{
    docker_container_t *container = NULL;
    apr_status_t status = docker_container_find(call, uuid, &container);

    *token = NULL;
    *result = NULL;
    if (status == APR_SUCCESS) {
        *token = docker_container_token(container);
        *result = container;
    }
    return status == APR_ENOENT ? APR_SUCCESS : status;
}

/* By its first name: who comes second finds no such container. */
static apr_status_t rename_container(docker_call_t *call, const char *uuid, const char *token)
{
    docker_answer_t answer;
    const char *path = apr_pstrcat(call->p, "/containers/" DOCKER_NAME, uuid, "/rename?name=" DOCKER_ASSIGNED, uuid,
                                   "-", token, NULL);
    const docker_container_t *container;
    const char *found;
    apr_status_t status = docker_request(call, "POST", path, NULL, &answer, "cannot rename the container"), again;

    if (status == APR_SUCCESS || status == APR_TIMEUP) {
        return status;
    }
    again = look(call, uuid, &container, &found);
    if (again != APR_SUCCESS) {
        return again;
    }
    if (!container || (found && !strcmp(found, token))) {
        return APR_SUCCESS;
    }
    return found ? taken(call, uuid) : status;
}

static apr_status_t take_volume(docker_call_t *call, const char *name, const char *session, const char *token)
{
    json_t *holder, *labels = json_pack("{s:s, s:s, s:s, s:s, s:s}", "persona.ns", call->d->head.ns, "persona.kind",
                                        "fence", "persona.name", name, "persona.session", session, "persona.token",
                                        token);
    const char *found;
    apr_status_t status = docker_volume_take(call, volume_name(call->d, name, call->p), labels, &holder,
                                             "cannot take the fence");

    if (status != APR_SUCCESS) {
        return status;
    }
    found = label_of(holder, "persona.token");
    return found && !strcmp(found, token) ? APR_SUCCESS : taken(call, name);
}

static apr_status_t fence(docker_call_t *call, const char *name, const char *session)
{
    const char *token = persona_fence_token(session, name, call->p), *found = NULL;
    const docker_container_t *container = NULL;
    apr_status_t status = APR_SUCCESS;

    if (persona_uuid_valid(name)) {
        status = look(call, name, &container, &found);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    if (found && strcmp(found, token)) {
        return taken(call, name);
    }
    status = take_volume(call, name, session, token);
    if (found) {
        /* It is ours by its name; the volume may have been swept, and whoever made it anew does not have it. */
        return status == APR_EEXIST ? APR_SUCCESS : status;
    }
    return status == APR_SUCCESS && container ? rename_container(call, name, token) : status;
}

apr_status_t docker_fence(persona_compute_t *c, const char *name, const char *session, persona_result_t *res,
                          apr_pool_t *p)
{
    docker_call_t call;
    apr_status_t status;

    if (!docker_text_valid(name) || !docker_text_valid(session)) {
        return persona_result_set(res, APR_EINVAL, "fence", "the name or the session cannot be a label");
    }
    status = docker_begin(&call, c, res, p);
    if (status == APR_SUCCESS) {
        status = fence(&call, name, session);
    }
    if (status == APR_SUCCESS) {
        persona_result_set(res, APR_SUCCESS, NULL, "%s", "");
    }
    return status == APR_ENOENT ? APR_EGENERAL : status;
}

/* ---- reading ---- */

apr_status_t docker_fence_holder(persona_compute_t *c, const char *name, const char **token, persona_result_t *res,
                                 apr_pool_t *p)
{
    const docker_container_t *container;
    const char *found = NULL;
    docker_call_t call;
    json_t *labels;
    apr_status_t status = docker_begin(&call, c, res, p);

    if (status == APR_SUCCESS && persona_uuid_valid(name)) {
        status = look(&call, name, &container, &found);
    }
    if (status == APR_SUCCESS && !found) {
        status = volume_read(&call, volume_name(call.d, name, p), &labels);
        found = status == APR_SUCCESS ? label_of(labels, "persona.token") : NULL;
        status = status == APR_SUCCESS && !found ? APR_ENOENT : status;
    }
    *token = apr_pstrdup(p, found);
    return status;
}

apr_status_t docker_fence_session(persona_compute_t *c, const char *name, const char **session, persona_result_t *res,
                                  apr_pool_t *p)
{
    docker_call_t call;
    json_t *labels = NULL;
    apr_status_t status = docker_begin(&call, c, res, p);

    status = status == APR_SUCCESS ? volume_read(&call, volume_name(call.d, name, p), &labels) : status;
    *session = apr_pstrdup(p, label_of(labels, "persona.session"));
    return status == APR_SUCCESS && !*session ? APR_ENOENT : status;
}

static void add_fence(apr_array_header_t *fences, apr_hash_t *seen, const char *name, const char *token, apr_pool_t *p)
{
    persona_fence_t *fence;

    if (apr_hash_get(seen, name, APR_HASH_KEY_STRING)) {
        return;
    }
    fence = apr_pcalloc(p, sizeof(*fence));
    fence->name = apr_pstrdup(p, name);
    fence->token = apr_pstrdup(p, token);
    apr_hash_set(seen, fence->name, APR_HASH_KEY_STRING, fence);
    APR_ARRAY_PUSH(fences, persona_fence_t *) = fence;
}

apr_status_t docker_fences(persona_compute_t *c, apr_array_header_t **fences, persona_result_t *res, apr_pool_t *p)
{
    apr_array_header_t *containers;
    apr_hash_t *seen = apr_hash_make(p);
    docker_answer_t answer;
    docker_call_t call;
    json_t *volume;
    size_t i;
    apr_status_t status = docker_begin(&call, c, res, p);

    /* Names first: a container that is named since has its volume already. */
    status = status == APR_SUCCESS ? docker_container_list(&call, "name", DOCKER_ASSIGNED, &containers) : status;
    if (status == APR_SUCCESS) {
        const char *ns = apr_pstrcat(p, "persona.ns=", c->ns, NULL);

        status = docker_request(&call, "GET", apr_pstrcat(p, "/volumes?filters=",
                                docker_filters(p, "label", ns, "label", "persona.kind=fence", NULL), NULL), NULL,
                                &answer, "cannot list fences");
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    *fences = apr_array_make(p, 32, sizeof(persona_fence_t *));
    for (int k = 0; k < containers->nelts; ++k) {
        const docker_container_t *container = APR_ARRAY_IDX(containers, k, docker_container_t *);
        const char *token = docker_container_token(container);

        if (token) {
            add_fence(*fences, seen, container->instance.uuid, token, p);
        }
    }
    json_array_foreach(json_object_get(answer.json, "Volumes"), i, volume) {
        const json_t *labels = json_object_get(volume, "Labels");
        const char *name = label_of(labels, "persona.name"), *token = label_of(labels, "persona.token");
        const char *ns = label_of(labels, "persona.ns");

        if (name && token && ns && !strcmp(ns, c->ns)) {
            add_fence(*fences, seen, name, token, p);
        }
    }
    return APR_SUCCESS;
}

/* ---- removing ---- */

static apr_status_t remove_own(docker_call_t *call, const char *volume, const char *token)
{
    json_t *labels;
    const char *found;
    apr_status_t status = volume_read(call, volume, &labels);

    if (status != APR_SUCCESS) {
        return status == APR_ENOENT ? APR_SUCCESS : status;
    }
    found = label_of(labels, "persona.token");
    return found && !strcmp(found, token) ? volume_remove(call, volume) : APR_SUCCESS;
}

/* With the right to remove this fence, which one has at a time. */
static apr_status_t remove_alone(docker_call_t *call, const char *volume, const char *token)
{
    const char *lock = apr_pstrcat(call->p, volume, REMOVING, NULL), *nonce = persona_random_hex(16, call->p), *found;
    json_t *holder, *labels = json_pack("{s:s, s:s, s:s, s:s}", "persona.ns", call->d->head.ns, "persona.kind",
                                        "removing", "persona.nonce", nonce, "persona.since",
                                        apr_psprintf(call->p, "%" APR_TIME_T_FMT, apr_time_now()));
    apr_status_t status = docker_volume_take(call, lock, labels, &holder, "cannot remove the fence");

    if (status != APR_SUCCESS) {
        return status;
    }
    found = label_of(holder, "persona.nonce");
    if (!found || strcmp(found, nonce)) {
        const char *since = label_of(holder, "persona.since");

        if (since && apr_time_now() - apr_atoi64(since) > REMOVING_MAX) {
            volume_remove(call, lock);
        }
        return persona_result_set(call->res, APR_TIMEUP, "unfence", "another removes this fence just now");
    }
    status = remove_own(call, volume, token);
    if (status == APR_SUCCESS) {
        status = volume_remove(call, lock);
    }
    else {
        docker_call_t quiet = *call;

        quiet.res = NULL;
        volume_remove(&quiet, lock);
    }
    return status;
}

apr_status_t docker_unfence(persona_compute_t *c, const char *name, const char *token, persona_result_t *res,
                            apr_pool_t *p)
{
    docker_call_t call;
    const char *volume;
    apr_status_t status = docker_begin(&call, c, res, p);

    if (status != APR_SUCCESS) {
        return status;
    }
    volume = volume_name(call.d, name, p);
    /* A uuid is never used again, so nobody takes its fence anew. */
    status = persona_uuid_valid(name) ? remove_own(&call, volume, token) : remove_alone(&call, volume, token);
    return status == APR_SUCCESS ? persona_result_set(res, APR_SUCCESS, NULL, "%s", "") : status;
}

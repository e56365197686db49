/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file docker_create.c
 * @brief Making an instance and taking it away.
 *
 *   create:  look at the image and the network -> create the container -> its libraries -> start it
 *   destroy: remove the container -> remove its marks
 * A crash after any step leaves a container that list() tells of, as "creating" and after a while as gone, or marks
 * without one; destroy() finishes the job. A start whose answer does not come in time is the engine's to finish.
 */
#include <string.h>

#include <apr_strings.h>

#include "compute/docker/docker.h"
#include "persona/digest.h"

/** On it a network says that what is in it reaches the gateways only. Nobody else could tell: it is the host's firewall
 * that decides what the host itself answers. */
#define ISOLATED_LABEL "persona.isolated"

/* ---- what must be there ---- */

static apr_status_t find_image(docker_call_t *call, docker_plan_t *plan)
{
    const persona_environment_t *environment = &plan->persona->environment;
    const char *name = environment->os_image ? environment->os_image : plan->persona->source;
    docker_answer_t answer;
    const json_t *config;
    const char *id;
    apr_status_t status = docker_request(call, "GET", apr_pstrcat(call->p, "/images/", name, "/json", NULL), NULL,
                                         &answer, "cannot look at the image");

    if (status == APR_ENOENT || status == APR_EINVAL) {
        return persona_result_set(call->res, APR_EINVAL, "image-missing", "the engine at %s has no image %s: load or "
                                  "pull it there", call->d->head.conf->address, name);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    id = json_string_value(json_object_get(answer.json, "Id"));
    config = json_object_get(answer.json, "Config");
    plan->image = apr_pstrdup(call->p, id ? id : name);
    plan->has_command = json_array_size(json_object_get(config, "Entrypoint"))
                        || json_array_size(json_object_get(config, "Cmd"));
    return APR_SUCCESS;
}

static apr_status_t find_network(docker_call_t *call, const docker_plan_t *plan)
{
    const char *name = plan->persona->environment.network, *isolated;
    docker_answer_t answer;
    apr_status_t status = docker_request(call, "GET", apr_pstrcat(call->p, "/networks/", docker_encode(name, call->p),
                                         NULL), NULL, &answer, "cannot look at the network");

    if (status == APR_ENOENT) {
        return persona_result_set(call->res, APR_EINVAL, "network", "the engine at %s has no network %s",
                                  call->d->head.conf->address, name);
    }
    if (status != APR_SUCCESS || !plan->persona->environment.isolated) {
        return status;
    }
    isolated = json_string_value(json_object_get(json_object_get(answer.json, "Labels"), ISOLATED_LABEL));
    if (!isolated || strcmp(isolated, "true")) {
        return persona_result_set(call->res, APR_EINVAL, "isolation", "network %s is not labelled " ISOLATED_LABEL
                                  "=true, so nobody says that its instances are kept apart: make it with "
                                  "persona-network", name);
    }
    return APR_SUCCESS;
}

/* ---- libraries ---- */

static const char *libraries_key(const docker_plan_t *plan, apr_pool_t *p)
{
    const apr_array_header_t *libraries = plan->persona->environment.libraries;

    return apr_pstrcat(p, plan->image, " ", apr_array_pstrcat(p, libraries, ' '), NULL);
}

/* The list of packages of the image, out of the container that was made from it. */
static apr_status_t read_packages(docker_call_t *call, const char *id, const char **list, apr_size_t *len)
{
    static const char *const files[] = {"/etc/persona/packages", "/var/lib/dpkg/status", NULL};
    docker_answer_t answer;
    apr_status_t status = APR_ENOENT;

    for (int i = 0; files[i] && status == APR_ENOENT; ++i) {
        const char *path = apr_pstrcat(call->p, "/containers/", id, "/archive?path=", docker_encode(files[i], call->p),
                                       NULL);

        status = docker_request(call, "GET", path, NULL, &answer, "cannot read the image's packages");
        *list = status == APR_SUCCESS ? docker_tar_file(answer.body, answer.len, len) : NULL;
        if (status == APR_SUCCESS && !*list) {
            status = APR_ENOENT;
        }
    }
    return status;
}

static apr_status_t check_libraries(docker_call_t *call, const docker_plan_t *plan, const char *id)
{
    const apr_array_header_t *libraries = plan->persona->environment.libraries;
    const char *list, *missing = NULL, *key;
    apr_size_t len;
    apr_status_t status;
    int known;

    if (!libraries || !libraries->nelts) {
        return APR_SUCCESS;
    }
    key = libraries_key(plan, call->p);
    pthread_mutex_lock(&call->d->mutex);
    known = apr_table_get(call->d->checked, key) != NULL;
    pthread_mutex_unlock(&call->d->mutex);
    if (known) {
        return APR_SUCCESS;
    }
    status = read_packages(call, id, &list, &len);
    if (status == APR_ENOENT) {
        return persona_result_set(call->res, APR_EINVAL, "image-lacks-library", "the image %s has no list of its "
                                  "packages, so its libraries cannot be checked", plan->image);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    for (int i = 0; i < libraries->nelts; ++i) {
        const char *library = APR_ARRAY_IDX(libraries, i, const char *);

        if (!docker_packages_have(list, len, library)) {
            missing = missing ? apr_pstrcat(call->p, missing, ", ", library, NULL) : library;
        }
    }
    if (missing) {
        return persona_result_set(call->res, APR_EINVAL, "image-lacks-library", "the image %s lacks %s", plan->image,
                                  missing);
    }
    pthread_mutex_lock(&call->d->mutex);
    apr_table_set(call->d->checked, key, "");
    pthread_mutex_unlock(&call->d->mutex);
    return APR_SUCCESS;
}

/* ---- create ---- */

static int quota_usable(docker_t *d)
{
    int usable;

    pthread_mutex_lock(&d->mutex);
    usable = !d->no_quota;
    pthread_mutex_unlock(&d->mutex);
    return usable;
}

static void forget_quota(docker_t *d, const char *words)
{
    int news;

    pthread_mutex_lock(&d->mutex);
    news = !d->no_quota;
    d->no_quota = 1;
    pthread_mutex_unlock(&d->mutex);
    if (news) {
        persona_log(PERSONA_LOG_WARNING, 0, "compute %s: the engine's storage cannot limit what a container writes, so "
                    "resource_profile.storage has no effect with \"root\": \"copy\": %s", d->head.conf->name, words);
    }
}

/* The container's id. One of that name which is there already is ours, of an attempt whose answer was lost. */
static apr_status_t make_container(docker_call_t *call, docker_plan_t *plan, const char **id)
{
    const char *path = apr_pstrcat(call->p, "/containers/create?name=" DOCKER_NAME, plan->uuid, NULL), *made;
    persona_result_t failure = {0};
    docker_call_t own = *call;
    docker_container_t *container;
    docker_answer_t answer;
    apr_status_t status;

    own.res = &failure;
    plan->quota = quota_usable(call->d);
    status = docker_request(&own, "POST", path, docker_plan_body(plan, call->p), &answer,
                            "cannot create the container");
    if (status != APR_SUCCESS && status != APR_EEXIST && status != APR_TIMEUP && plan->quota
        && plan->persona->environment.root == PERSONA_ROOT_COPY && plan->persona->resources.storage
        && (strstr(failure.detail, "storage-opt") || strstr(failure.detail, "quota"))) {
        forget_quota(call->d, failure.detail);
        plan->quota = 0;
        status = docker_request(&own, "POST", path, docker_plan_body(plan, call->p), &answer,
                                "cannot create the container");
    }
    if (status == APR_EEXIST && docker_container_find(&own, plan->uuid, &container) == APR_SUCCESS) {
        *id = container->id;
        return APR_SUCCESS;
    }
    if (call->res) {
        *call->res = failure;
    }
    if (status != APR_SUCCESS) {
        return status == APR_ENOENT ? APR_EGENERAL : status;
    }
    made = json_string_value(json_object_get(answer.json, "Id"));
    *id = apr_pstrdup(call->p, made ? made : "");
    return made ? APR_SUCCESS : persona_result_set(call->res, APR_EGENERAL, "engine", "the engine gave no id");
}

static apr_status_t start_container(docker_call_t *call, const char *id)
{
    docker_answer_t answer;
    apr_status_t status = docker_request(call, "POST", apr_pstrcat(call->p, "/containers/", id, "/start", NULL), NULL,
                                         &answer, "cannot start the container");

    if (status == APR_TIMEUP) {
        return persona_result_set(call->res, APR_SUCCESS, NULL, "%s", "");
    }
    return status == APR_ENOENT ? APR_EGENERAL : status;
}

static const char *check_create(const persona_create_t *how)
{
    if (!persona_uuid_valid(how->uuid)) {
        return "an instance needs a uuid";
    }
    if ((how->reason && !docker_text_valid(how->reason)) || (how->hook_key && !docker_text_valid(how->hook_key))) {
        return "the reason and the key of an instance cannot hold control characters";
    }
    if (how->maker && (!docker_text_valid(how->maker) || !*how->maker || strchr(how->maker, ' '))) {
        return "the maker of an instance is one word";
    }
    return NULL;
}

apr_status_t docker_create(persona_compute_t *c, const persona_t *persona, const persona_create_t *how,
                           persona_result_t *res, apr_pool_t *p)
{
    docker_t *d = (docker_t *)c;
    docker_plan_t plan = {.persona = persona, .options = d->options, .ns = c->ns, .uuid = how->uuid,
                          .hook_key = how->hook_key, .reason = how->reason, .maker = how->maker,
                          .created = apr_time_now()};
    const char *wrong = check_create(how), *id;
    docker_call_t call;
    apr_status_t status;

    wrong = wrong ? wrong : docker_plan_check(d->options, persona, p);
    if (wrong) {
        return persona_result_set(res, APR_EINVAL, "persona", "%s", wrong);
    }
    status = docker_begin(&call, c, res, p);
    status = status == APR_SUCCESS ? find_image(&call, &plan) : status;
    status = status == APR_SUCCESS ? find_network(&call, &plan) : status;
    status = status == APR_SUCCESS ? make_container(&call, &plan, &id) : status;
    status = status == APR_SUCCESS ? check_libraries(&call, &plan, id) : status;
    return status == APR_SUCCESS ? start_container(&call, id) : status;
}

/* ---- destroy ---- */

static apr_status_t remove_container(docker_call_t *call, const docker_container_t *container)
{
    const char *path = apr_pstrcat(call->p, "/containers/", container->id, NULL);
    docker_answer_t answer;
    docker_container_t *left;
    apr_status_t status;

    if (container->instance.running) {
        /* At once: removing by force alone, Podman would wait for it to end by itself. */
        docker_call_t quiet = *call;

        quiet.res = NULL;
        docker_request(&quiet, "POST", apr_pstrcat(call->p, path, "/kill", NULL), NULL, &answer, "");
    }
    status = docker_request(call, "DELETE", apr_pstrcat(call->p, path, "?force=1&v=1", NULL), NULL, &answer,
                            "cannot remove the container");
    /* Another is at it already: it ends soon. */
    while (status == APR_EEXIST && docker_now() < call->until) {
        apr_sleep(apr_time_from_msec(50));
        status = docker_container_find(call, container->instance.uuid, &left);
        status = status == APR_SUCCESS ? APR_EEXIST : status;
    }
    if (status == APR_EEXIST) {
        return persona_result_set(call->res, APR_TIMEUP, "destroy", "the engine is removing instance %s still",
                                  container->instance.uuid);
    }
    return status == APR_ENOENT ? APR_SUCCESS : status;
}

apr_status_t docker_destroy(persona_compute_t *c, const char *uuid, persona_result_t *res, apr_pool_t *p)
{
    docker_container_t *container;
    docker_call_t call;
    apr_status_t status;

    if (!uuid || !persona_uuid_valid(uuid)) {
        return APR_SUCCESS;
    }
    status = docker_begin(&call, c, res, p);
    status = status == APR_SUCCESS ? docker_container_find(&call, uuid, &container) : status;
    if (status == APR_SUCCESS) {
        status = remove_container(&call, container);
    }
    if (status == APR_SUCCESS || status == APR_ENOENT) {
        status = docker_marks_drop(&call, uuid);
    }
    return status == APR_SUCCESS ? persona_result_set(res, APR_SUCCESS, NULL, "%s", "") : status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file docker_mark.c
 * @brief What is noted beside an instance: its state, its session, its times.
 *
 * An engine does not change the labels of anything. So each mark is a new volume, with all that is known by then in its
 * label: persona-mark-UUID.1, .2 and so on. Who makes the next number first has written it, for creating a volume that
 * exists gives back the first one's labels; who was second reads again and writes the number after. The newest counts,
 * older ones are removed. A `volume prune` can sweep marks; then the instance looks as if it had just been made, and
 * the name of the container still tells whether somebody has it.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "compute/docker/docker.h"
#include "persona/digest.h"

static const char *string_at(const json_t *object, const char *key, apr_pool_t *p)
{
    return apr_pstrdup(p, json_string_value(json_object_get(object, key)));
}

static apr_int64_t number_at(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void set_text(json_t *object, const char *key, const char *value)
{
    if (value) {
        json_object_set_new(object, key, json_string(value));
    }
}

static void set_number(json_t *object, const char *key, apr_int64_t value)
{
    if (value) {
        json_object_set_new(object, key, json_integer(value));
    }
}

static const char *mark_text(const docker_mark_t *all, apr_pool_t *p)
{
    const persona_mark_t *mark = &all->mark;
    json_t *object = json_object();
    const char *copy;
    char *text;

    set_text(object, "state", persona_instance_state_name(mark->state));
    set_text(object, "session", mark->session);
    set_text(object, "user", mark->user);
    set_text(object, "app", mark->app);
    set_text(object, "reason", mark->reason);
    set_number(object, "ready_at", mark->ready_at);
    set_number(object, "assigned_at", mark->assigned_at);
    set_number(object, "retiring_at", mark->retiring_at);
    set_number(object, "cpus", all->cpus);
    set_number(object, "memory", all->memory);
    text = json_dumps(object, JSON_COMPACT);
    copy = apr_pstrdup(p, text ? text : "{}");
    free(text);
    json_decref(object);
    return copy;
}

static void mark_parse(const char *text, docker_mark_t *all, apr_pool_t *p)
{
    persona_mark_t *mark = &all->mark;
    json_t *object = text ? json_loads(text, 0, NULL) : NULL;
    const char *state = json_string_value(json_object_get(object, "state"));

    memset(mark, 0, sizeof(*mark));
    if (state) {
        persona_instance_state_parse(state, &mark->state);
    }
    mark->session = string_at(object, "session", p);
    mark->user = string_at(object, "user", p);
    mark->app = string_at(object, "app", p);
    mark->reason = string_at(object, "reason", p);
    mark->ready_at = number_at(object, "ready_at");
    mark->assigned_at = number_at(object, "assigned_at");
    mark->retiring_at = number_at(object, "retiring_at");
    all->cpus = (int)number_at(object, "cpus");
    all->memory = number_at(object, "memory");
    json_decref(object);
}

/* ---- reading ---- */

static void add_volume(docker_call_t *call, const json_t *volume, apr_hash_t *marks)
{
    const json_t *labels = json_object_get(volume, "Labels");
    const char *name = json_string_value(json_object_get(volume, "Name"));
    const char *uuid = json_string_value(json_object_get(labels, "persona.uuid"));
    const char *ns = json_string_value(json_object_get(labels, "persona.ns"));
    const apr_size_t prefix = strlen(DOCKER_MARK);
    docker_mark_t *mark;
    long number;

    if (!name || !uuid || !ns || strcmp(ns, call->d->head.ns) || !persona_uuid_valid(uuid)
        || strncmp(name, DOCKER_MARK, prefix) || strncmp(name + prefix, uuid, PERSONA_UUID_LEN - 1)
        || name[prefix + PERSONA_UUID_LEN - 1] != '.') {
        return;
    }
    number = strtol(name + prefix + PERSONA_UUID_LEN, NULL, 10);
    mark = apr_hash_get(marks, uuid, APR_HASH_KEY_STRING);
    if (!mark) {
        mark = apr_pcalloc(call->p, sizeof(*mark));
        mark->uuid = apr_pstrdup(call->p, uuid);
        mark->names = apr_array_make(call->p, 2, sizeof(const char *));
        apr_hash_set(marks, mark->uuid, APR_HASH_KEY_STRING, mark);
    }
    APR_ARRAY_PUSH((apr_array_header_t *)mark->names, const char *) = apr_pstrdup(call->p, name);
    if (number > mark->number) {
        mark->number = number;
        mark->persona_id = string_at(labels, "persona.id", call->p);
        mark_parse(json_string_value(json_object_get(labels, "persona.mark")), mark, call->p);
    }
}

apr_status_t docker_marks_read(docker_call_t *call, const char *uuid, apr_hash_t **marks)
{
    const char *which = uuid ? apr_pstrcat(call->p, "persona.uuid=", uuid, NULL)
                             : apr_pstrcat(call->p, "persona.ns=", call->d->head.ns, NULL);
    const char *filters = docker_filters(call->p, "label", which, "label", "persona.kind=mark", NULL);
    docker_answer_t answer;
    json_t *volume;
    size_t i;
    apr_status_t status = docker_request(call, "GET", apr_pstrcat(call->p, "/volumes?filters=", filters, NULL), NULL,
                                         &answer, "cannot list volumes");

    if (status != APR_SUCCESS) {
        return status;
    }
    *marks = apr_hash_make(call->p);
    json_array_foreach(json_object_get(answer.json, "Volumes"), i, volume) {
        add_volume(call, volume, *marks);
    }
    return APR_SUCCESS;
}

static apr_status_t drop_names(docker_call_t *call, const apr_array_header_t *names)
{
    docker_answer_t answer;

    for (int i = 0; names && i < names->nelts; ++i) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        apr_status_t status = docker_request(call, "DELETE", apr_pstrcat(call->p, "/volumes/", name, NULL), NULL,
                                             &answer, "cannot remove a mark");

        if (status != APR_SUCCESS && status != APR_ENOENT) {
            return status;
        }
    }
    return persona_result_set(call->res, APR_SUCCESS, NULL, "%s", "");
}

apr_status_t docker_marks_drop(docker_call_t *call, const char *uuid)
{
    apr_hash_t *marks;
    docker_mark_t *mark;
    apr_status_t status = docker_marks_read(call, uuid, &marks);

    if (status != APR_SUCCESS) {
        return status;
    }
    mark = apr_hash_get(marks, uuid, APR_HASH_KEY_STRING);
    return mark ? drop_names(call, mark->names) : APR_SUCCESS;
}

/* ---- writing ---- */

/* APR_EEXIST: somebody else wrote this number. */
static apr_status_t write_number(docker_call_t *call, const char *uuid, long number, const docker_mark_t *mark)
{
    const char *nonce = persona_random_hex(16, call->p), *found;
    json_t *holder, *labels = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "persona.ns", call->d->head.ns,
                                        "persona.kind", "mark", "persona.uuid", uuid, "persona.id", mark->persona_id,
                                        "persona.nonce", nonce, "persona.mark", mark_text(mark, call->p));
    apr_status_t status = docker_volume_take(call, apr_psprintf(call->p, DOCKER_MARK "%s.%ld", uuid, number), labels,
                                             &holder, "cannot mark the instance");

    if (status != APR_SUCCESS) {
        return status;
    }
    found = json_string_value(json_object_get(holder, "persona.nonce"));
    return found && !strcmp(found, nonce) ? APR_SUCCESS : APR_EEXIST;
}

static void merge(docker_mark_t *all, const docker_mark_t *change)
{
    persona_mark_t *to = &all->mark;
    const persona_mark_t *from = &change->mark;

    all->cpus = change->cpus ? change->cpus : all->cpus;
    all->memory = change->memory ? change->memory : all->memory;
    to->state = from->state ? from->state : to->state;
    to->session = from->session ? from->session : to->session;
    to->user = from->user ? from->user : to->user;
    to->app = from->app ? from->app : to->app;
    to->reason = from->reason ? from->reason : to->reason;
    to->ready_at = from->ready_at ? from->ready_at : to->ready_at;
    to->assigned_at = from->assigned_at ? from->assigned_at : to->assigned_at;
    to->retiring_at = from->retiring_at ? from->retiring_at : to->retiring_at;
}

/* One attempt. APR_EEXIST: another mark came between. */
static apr_status_t try_change(docker_call_t *call, const char *uuid, const docker_mark_t *change)
{
    const persona_instance_e state = change->mark.state;
    docker_container_t *container;
    docker_call_t quiet = *call;
    docker_mark_t all = {0}, *last;
    apr_hash_t *marks;
    apr_status_t status = docker_marks_read(call, uuid, &marks);

    status = status == APR_SUCCESS ? docker_container_find(call, uuid, &container) : status;
    if (status != APR_SUCCESS) {
        return status;
    }
    last = apr_hash_get(marks, uuid, APR_HASH_KEY_STRING);
    if (last) {
        all = *last;
    }
    if (state && state < all.mark.state) {
        return persona_result_set(call->res, APR_EINVAL, "state", "instance %s is %s and cannot become %s", uuid,
                                  persona_instance_state_name(all.mark.state), persona_instance_state_name(state));
    }
    merge(&all, change);
    all.persona_id = container->instance.persona_id;
    status = write_number(call, uuid, last ? last->number + 1 : 1, &all);
    if (status == APR_SUCCESS && last) {
        /* It is written: whoever reads takes the newest, and the next mark sweeps again. */
        quiet.res = NULL;
        drop_names(&quiet, last->names);
    }
    return status;
}

apr_status_t docker_mark_change(docker_call_t *call, const char *uuid, const docker_mark_t *change)
{
    apr_status_t status;

    do {
        status = try_change(call, uuid, change);
    } while (status == APR_EEXIST && docker_now() < call->until);
    return status == APR_EEXIST ? persona_result_set(call->res, APR_TIMEUP, "mark", "others mark instance %s all the "
                                                     "time", uuid)
                                : status;
}

apr_status_t docker_mark(persona_compute_t *c, const char *uuid, const persona_mark_t *mark, persona_result_t *res,
                         apr_pool_t *p)
{
    const char *const words[] = {mark->session, mark->user, mark->app, mark->reason};
    docker_mark_t change = {.mark = *mark};
    docker_call_t call;
    apr_status_t status;

    if (!uuid || !persona_uuid_valid(uuid)) {
        return persona_result_set(res, APR_ENOENT, "gone", "%s is no instance's uuid", uuid ? uuid : "(none)");
    }
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); ++i) {
        if (words[i] && !docker_text_valid(words[i])) {
            return persona_result_set(res, APR_EINVAL, "mark", "%s cannot be kept beside an instance: control "
                                      "characters, not UTF-8 or too long", words[i]);
        }
    }
    status = docker_begin(&call, c, res, p);
    return status == APR_SUCCESS ? docker_mark_change(&call, uuid, &change) : status;
}

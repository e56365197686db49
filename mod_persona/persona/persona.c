/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file persona.c
 * @brief From the text of one persona file to a persona: keys, values, and how they fit each other.
 */
#include <string.h>

#include <apr_strings.h>

#include "digest.h"
#include "document.h"
#include "keys.h"
#include "parse.h"

static json_t *strings_to_json(const apr_array_header_t *list)
{
    json_t *json = json_array();

    for (int i = 0; list && i < list->nelts; i++) {
        json_array_append_new(json, json_string(APR_ARRAY_IDX(list, i, const char *)));
    }
    return json;
}

static json_t *env_to_json(const apr_table_t *env)
{
    json_t *json = json_object();
    const apr_array_header_t *list = env ? apr_table_elts(env) : NULL;

    for (int i = 0; list && i < list->nelts; i++) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(list, i, apr_table_entry_t);

        json_object_set_new(json, entry->key, json_string(entry->val));
    }
    return json;
}

/** SHA-256 of the canonical JSON of what an instance is made from, with defaults filled in and
 * units resolved: what only the gateway or the pool acts on (titles, roles, stream path,
 * readiness, pool, rules) is not in it. */
static void fingerprint(persona_t *persona)
{
    const persona_resources_t *r = &persona->resources;
    const persona_environment_t *e = &persona->environment;
    json_t *json = json_pack(
        "{s:s, s:i, s:I, s:I, s:i, s:s?, s:i, s:I, s:s, s:s?, "
        "s:i, s:o, s:o, s:s, s:b, s:o, s:i, s:i, s:s?, s:i}",
        "source", persona->source, "cpu", r->cpu, "memory", (json_int_t)r->memory, "storage",
        (json_int_t)r->storage, "gpu_count", r->gpu_count, "gpu_model", r->gpu_model, "max_cpu",
        r->max_cpu, "max_memory", (json_int_t)r->max_memory, "compute", e->compute, "os_image",
        e->os_image, "root", (int)e->root, "libraries", strings_to_json(e->libraries), "command",
        strings_to_json(e->command), "network", e->network, "isolated", e->isolated, "env",
        env_to_json(e->env), "stream", (int)e->stream, "stream_port", e->stream_port, "home_hook",
        e->home_hook, "home_port", e->home_port);
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);

    persona_sha256(text ? text : "", text ? strlen(text) : 0, persona->fingerprint);
    free(text);
    json_decref(json);
}

static persona_t *build(persona_reader_t *reader, json_t *json, const persona_node_t *root)
{
    persona_t *persona = apr_pcalloc(reader->p, sizeof(*persona));

    persona->file = reader->file;
    persona->is_default = strcmp(reader->file, PERSONA_DEFAULT_FILE) == 0;
    persona_keys_defaults(persona);
    persona_reader_object(reader, persona_keys, json, root, persona);
    if (json_is_object(json)) {
        persona_check(reader, persona, root);
    }
    if (!persona->title) {
        persona->title = persona->app_id;
    }
    return persona;
}

/** No two personas have one id. */
static void check_id(persona_reader_t *reader, const persona_t *persona, apr_hash_t *ids,
                     const persona_node_t *root)
{
    const persona_t *other =
        persona->id ? apr_hash_get(ids, persona->id, APR_HASH_KEY_STRING) : NULL;

    if (other) {
        persona_reader_error(reader, persona_node_key(root, "persona_id"),
                             "\"%s\" is the persona_id of %s already; give another one",
                             persona->id, other->file);
    }
}

persona_t *persona_parse(const char *file, const char *text, apr_size_t len, apr_hash_t *ids,
                         int lenient, apr_array_header_t *errors, apr_pool_t *p)
{
    persona_reader_t reader = {apr_pstrdup(p, file), errors, 0, lenient, NULL, p};
    persona_t *persona = NULL;
    const persona_node_t *root;
    json_t *json;

    apr_pool_create(&reader.scratch, p);
    json = persona_document_parse(&reader, text, len, &root);
    if (!json) {
        goto leave;
    }
    persona = build(&reader, json, root);
    check_id(&reader, persona, ids, root);
    if (reader.count > 0) {
        persona = NULL;
        goto leave;
    }
    persona->document = json;
    fingerprint(persona);

leave:
    apr_pool_destroy(reader.scratch);
    return persona;
}

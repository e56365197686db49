/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file persona.c
 * @brief From the text of one persona file to a persona: syntax, keys, values, and how they fit
 * each other.
 */
#include <string.h>

#include <apr_strings.h>

#include "digest.h"
#include "keys.h"
#include "parse.h"
#include "scan.h"
#include "text.h"

static void syntax_error(persona_reader_t *reader, int line, int column, const char *message)
{
    persona_node_t place = {.line = line, .column = column};

    persona_reader_error(reader, &place, "%s", message);
}

/** Line and column of the byte at `offset`. */
static void locate(const char *text, apr_size_t offset, int *line, int *column)
{
    *line = *column = 1;
    for (apr_size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            ++*line;
            *column = 1;
        }
        else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            ++*column;
        }
    }
}

/** What to do about a syntax error of jansson's. */
static const char *syntax_hint(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_invalid_utf8:
        return "; save the file as UTF-8";
    case json_error_stack_overflow:
        return "; a persona needs no more than 6 levels";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "; leave the NUL out";
    case json_error_end_of_input_expected:
        return "; a file has one object and nothing after it";
    case json_error_premature_end_of_input:
        return "; the file ends too early: close every string, ] and }";
    case json_error_numeric_overflow:
        return "; the number is too large";
    default:
        return "; the file must be JSON: keys and strings in double quotes, a comma between "
               "members, none after the last, and no comments";
    }
}

static int is_blank(const char *text, apr_size_t len)
{
    while (len > 0 && (*text == ' ' || *text == '\t' || *text == '\r' || *text == '\n')) {
        text++;
        len--;
    }
    return len == 0;
}

/** The document of a text that is JSON; else that is noted. */
static json_t *load(persona_reader_t *reader, const char *text, apr_size_t len)
{
    const char *nul = memchr(text, '\0', len);
    json_error_t error;
    json_t *json;
    int line, column;

    if (is_blank(text, len)) {
        syntax_error(reader, 0, 0, "the file is empty; it must have one JSON object");
        return NULL;
    }
    if (nul) {
        locate(text, (apr_size_t)(nul - text), &line, &column);
        syntax_error(reader, line, column, "a NUL byte; the file must be JSON text in UTF-8");
        return NULL;
    }
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        syntax_error(reader, 1, 1,
                     "the file begins with a byte order mark; save it as UTF-8 without one");
        return NULL;
    }
    json = json_loadb(text, len, JSON_DECODE_ANY, &error);
    if (!json) {
        syntax_error(reader, error.line, error.column > 0 ? error.column : 1,
                     apr_pstrcat(reader->scratch, error.text, syntax_hint(&error), NULL));
    }
    return json;
}

static void duplicate(void *baton, const persona_node_t *node, const persona_node_t *first)
{
    persona_node_t place = *node;

    place.line = node->key_line;
    place.column = node->key_column;
    persona_reader_error(baton, &place,
                         "the key stands twice in this object, first in line %d; keep one of them",
                         first->key_line);
}

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

static apr_status_t document_free(void *json)
{
    json_decref(json);
    return APR_SUCCESS;
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
    json = load(&reader, text, len);
    if (!json) {
        goto leave;
    }
    apr_pool_cleanup_register(p, json, document_free, apr_pool_cleanup_null);
    root = persona_scan(text, len, duplicate, &reader, reader.scratch);
    if (!root) {
        syntax_error(&reader, 0, 0, "the file cannot be read as JSON");
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

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file catalog.c
 * @brief The persona directory: every file read and checked, the last good version of each kept.
 *
 * A catalog never changes after persona_catalog_read() or persona_catalog_from_json() returned it,
 * but for its count of references. Files are read in the order of their names, so of two files with
 * one persona_id it is always the same that is refused.
 *
 * The last good version of NAME is the file NAME in the `lastgood` directory, byte for byte. It is
 * written when a file was found good with another content, used while the file is there but bad,
 * and removed with the file. Where the folder cannot be read, or has no persona at all, all are
 * kept and used.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_atomic.h>
#include <apr_strings.h>

#include "catalog.h"
#include "digest.h"
#include "folder.h"
#include "parse.h"

typedef struct reading_t {
    persona_catalog_t *catalog;
    const char *dir, *lastgood;
    apr_hash_t *ids;     /**< persona_id -> persona_t *, of all that is in force */
    apr_pool_t *scratch; /**< of the whole reading */
    apr_pool_t *round;   /**< cleared for each file */
} reading_t;

static void file_error(reading_t *reading, const char *file, const char *message)
{
    persona_error_t *error = apr_array_push(reading->catalog->errors);
    apr_pool_t *p = reading->catalog->pool;

    error->file = apr_pstrdup(p, file);
    error->line = error->column = 0;
    error->path = NULL;
    error->message = apr_pstrdup(p, message);
}

static apr_status_t catalog_make(persona_catalog_t **catalog)
{
    apr_pool_t *p;
    apr_status_t status = apr_pool_create_unmanaged_ex(&p, NULL, NULL);

    if (status != APR_SUCCESS) {
        return status;
    }
    apr_pool_tag(p, "persona_catalog");
    *catalog = apr_pcalloc(p, sizeof(**catalog));
    (*catalog)->pool = p;
    (*catalog)->personas = apr_array_make(p, 16, sizeof(persona_t *));
    (*catalog)->errors = apr_array_make(p, 4, sizeof(persona_error_t));
    (*catalog)->stale = apr_array_make(p, 4, sizeof(const char *));
    (*catalog)->references = 1;
    return APR_SUCCESS;
}

static int by_app_order_id(const void *a, const void *b)
{
    const persona_t *x = *(persona_t *const *)a, *y = *(persona_t *const *)b;
    int differ = strcmp(x->app_id, y->app_id);

    if (!differ) {
        differ = (x->order > y->order) - (x->order < y->order);
    }
    return differ ? differ : strcmp(x->id, y->id);
}

/** Sort, find the fallback, and name the whole by its content. */
static void catalog_finish(persona_catalog_t *catalog)
{
    json_t *json = json_array();
    char *text;

    qsort(catalog->personas->elts, (size_t)catalog->personas->nelts, sizeof(persona_t *),
          by_app_order_id);
    for (int i = 0; i < catalog->personas->nelts; i++) {
        const persona_t *persona = APR_ARRAY_IDX(catalog->personas, i, const persona_t *);

        if (persona->is_default) {
            catalog->fallback = persona;
        }
        json_array_append_new(json, json_string(persona->file));
        json_array_append(json, persona->document);
    }
    text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    persona_sha256(text ? text : "", text ? strlen(text) : 0, catalog->version);
    free(text);
    json_decref(json);
}

static void persona_add(reading_t *reading, persona_t *persona)
{
    APR_ARRAY_PUSH(reading->catalog->personas, persona_t *) = persona;
    apr_hash_set(reading->ids, persona->id, APR_HASH_KEY_STRING, persona);
}

/** Put the last good version of `name` in force, if there is one. */
static void restore(reading_t *reading, const char *name)
{
    persona_catalog_t *catalog = reading->catalog;
    apr_array_header_t *ignored = apr_array_make(reading->round, 4, sizeof(persona_error_t));
    const char *text, *wrong;
    persona_t *persona;
    apr_size_t len;

    if (!reading->lastgood) {
        return;
    }
    text = persona_folder_read(reading->lastgood, name, PERSONA_FILE_MAX, &len, &wrong,
                               reading->round);
    persona = text ? persona_parse(name, text, len, reading->ids, 1, ignored, catalog->pool) : NULL;
    if (persona) {
        persona_add(reading, persona);
        APR_ARRAY_PUSH(catalog->stale, const char *) = persona->file;
    }
}

/** Keep a good file, unless it is there already. */
static void keep(reading_t *reading, const char *name, const char *text, apr_size_t len)
{
    const char *kept, *wrong;
    apr_size_t kept_len;
    apr_status_t status;

    if (!reading->lastgood) {
        return;
    }
    kept = persona_folder_read(reading->lastgood, name, PERSONA_FILE_MAX, &kept_len, &wrong,
                               reading->round);
    if (kept && kept_len == len && memcmp(kept, text, len) == 0) {
        return;
    }
    status = persona_folder_write(reading->lastgood, name, text, len, reading->round);
    if (status != APR_SUCCESS) {
        persona_log(PERSONA_LOG_WARNING, status,
                    "cannot keep the good version of persona file %s in %s", name,
                    reading->lastgood);
    }
}

/** 0: the file is bad, which is noted, and its id may be needed by another. */
static int read_file(reading_t *reading, const char *name)
{
    persona_catalog_t *catalog = reading->catalog;
    const char *wrong = NULL, *text;
    persona_t *persona;
    apr_size_t len;

    text = persona_folder_read(reading->dir, name, PERSONA_FILE_MAX, &len, &wrong, reading->round);
    if (!text) {
        file_error(reading, name, wrong);
        return 0;
    }
    persona = persona_parse(name, text, len, reading->ids, 0, catalog->errors, catalog->pool);
    if (!persona) {
        return 0;
    }
    persona_add(reading, persona);
    keep(reading, name, text, len);
    return 1;
}

/** Forget the last good versions of files that were removed. */
static void forget(reading_t *reading, const apr_array_header_t *names)
{
    const char *wrong;
    const apr_array_header_t *kept =
        persona_folder_list(reading->lastgood, &wrong, reading->scratch);

    for (int i = 0, n = 0; kept && i < kept->nelts; i++) {
        const char *name = APR_ARRAY_IDX(kept, i, const char *);

        while (n < names->nelts && strcmp(APR_ARRAY_IDX(names, n, const char *), name) < 0) {
            n++;
        }
        if (n == names->nelts || strcmp(APR_ARRAY_IDX(names, n, const char *), name) != 0) {
            unlink(apr_pstrcat(reading->scratch, reading->lastgood, "/", name, NULL));
        }
    }
}

static void read_folder(reading_t *reading)
{
    const char *wrong = NULL;
    apr_array_header_t *names = persona_folder_list(reading->dir, &wrong, reading->scratch);
    apr_array_header_t *bad = apr_array_make(reading->scratch, 4, sizeof(const char *));

    if (!names || names->nelts == 0) {
        file_error(reading, reading->dir,
                   names ? "has no persona file; put one into it, such as default.json" : wrong);
        bad = reading->lastgood ? persona_folder_list(reading->lastgood, &wrong, reading->scratch)
                                : NULL;
    }
    else {
        for (int i = 0; i < names->nelts; i++) {
            const char *name = APR_ARRAY_IDX(names, i, const char *);

            if (!read_file(reading, name)) {
                APR_ARRAY_PUSH(bad, const char *) = name;
            }
            apr_pool_clear(reading->round);
        }
        if (reading->lastgood) {
            forget(reading, names);
        }
    }
    /* After all good files, so that an old version never takes an id from one of them. */
    for (int i = 0; bad && i < bad->nelts; i++) {
        restore(reading, APR_ARRAY_IDX(bad, i, const char *));
        apr_pool_clear(reading->round);
    }
}

static int by_place(const void *a, const void *b)
{
    const persona_error_t *x = a, *y = b;
    int differ = strcmp(x->file, y->file);

    if (!differ) {
        differ = (x->line > y->line) - (x->line < y->line);
    }
    if (!differ) {
        differ = (x->column > y->column) - (x->column < y->column);
    }
    return differ ? differ : strcmp(x->message, y->message);
}

apr_status_t persona_catalog_read(persona_catalog_t **catalog, const char *dir,
                                  const char *lastgood)
{
    reading_t reading = {NULL, dir, lastgood, NULL, NULL, NULL};
    apr_status_t status = catalog_make(catalog);

    if (status != APR_SUCCESS) {
        return status;
    }
    reading.catalog = *catalog;
    status = apr_pool_create(&reading.scratch, (*catalog)->pool);
    if (status == APR_SUCCESS) {
        status = apr_pool_create(&reading.round, reading.scratch);
    }
    if (status != APR_SUCCESS) {
        persona_catalog_release(*catalog);
        *catalog = NULL;
        return status;
    }
    if (lastgood && mkdir(lastgood, 0700) != 0 && errno != EEXIST) {
        persona_log(PERSONA_LOG_WARNING, errno,
                    "cannot make %s, so good persona files are not kept", lastgood);
        reading.lastgood = NULL;
    }
    reading.ids = apr_hash_make(reading.scratch);
    read_folder(&reading);
    apr_pool_destroy(reading.scratch);
    qsort((*catalog)->errors->elts, (size_t)(*catalog)->errors->nelts, sizeof(persona_error_t),
          by_place);
    catalog_finish(*catalog);
    return APR_SUCCESS;
}

apr_uint64_t persona_catalog_stamp(const char *dir, apr_pool_t *p)
{
    apr_pool_t *scratch;
    apr_uint64_t stamp;

    if (apr_pool_create(&scratch, p) != APR_SUCCESS) {
        return 0;
    }
    stamp = persona_folder_stamp(dir, scratch);
    apr_pool_destroy(scratch);
    return stamp;
}

void persona_catalog_hold(persona_catalog_t *catalog)
{
    apr_atomic_inc32(&catalog->references);
}

void persona_catalog_release(persona_catalog_t *catalog)
{
    if (catalog && apr_atomic_dec32(&catalog->references) == 0) {
        apr_pool_destroy(catalog->pool);
    }
}

const persona_t *persona_catalog_find(const persona_catalog_t *catalog, const char *persona_id)
{
    for (int i = 0; i < catalog->personas->nelts; i++) {
        const persona_t *persona = APR_ARRAY_IDX(catalog->personas, i, const persona_t *);

        if (strcmp(persona->id, persona_id) == 0) {
            return persona;
        }
    }
    return NULL;
}

json_t *persona_catalog_to_json(const persona_catalog_t *catalog)
{
    json_t *personas = json_array();

    for (int i = 0; i < catalog->personas->nelts; i++) {
        const persona_t *persona = APR_ARRAY_IDX(catalog->personas, i, const persona_t *);

        json_array_append_new(personas, json_pack("{s:s, s:O}", "file", persona->file, "document",
                                                  persona->document));
    }
    return json_pack("{s:s, s:o}", "version", catalog->version, "personas", personas);
}

/** One element of "personas". A persona that this process cannot read is left out: its writer
 * may be newer. */
static void wire_read(reading_t *reading, json_t *json)
{
    const char *file = json_string_value(json_object_get(json, "file"));
    json_t *document = json_object_get(json, "document");
    apr_array_header_t *errors = reading->catalog->errors;
    char *text = document ? json_dumps(document, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    persona_t *persona;

    if (!file || !text) {
        file_error(reading, file ? file : "catalog", "must have \"file\" and \"document\"");
    }
    else {
        persona = persona_parse(file, text, strlen(text), reading->ids, 1, errors,
                                reading->catalog->pool);
        if (persona) {
            persona_add(reading, persona);
        }
    }
    free(text);
}

apr_status_t persona_catalog_from_json(persona_catalog_t **catalog, const json_t *json)
{
    const char *version = json_string_value(json_object_get(json, "version"));
    const json_t *personas = json_object_get(json, "personas");
    reading_t reading = {NULL, NULL, NULL, NULL, NULL, NULL};
    apr_status_t status;

    *catalog = NULL;
    if (!version || strlen(version) != PERSONA_SESSION_LEN - 1 || !json_is_array(personas)) {
        return APR_EINVAL;
    }
    status = catalog_make(catalog);
    if (status != APR_SUCCESS) {
        return status;
    }
    reading.catalog = *catalog;
    reading.ids = apr_hash_make((*catalog)->pool);
    for (apr_size_t i = 0; i < json_array_size(personas); i++) {
        wire_read(&reading, json_array_get(personas, i));
    }
    catalog_finish(*catalog);
    apr_cpystrn((*catalog)->version, version, sizeof((*catalog)->version));
    return APR_SUCCESS;
}

/** Control bytes as \xNN. */
static const char *one_line(const char *text, apr_pool_t *p)
{
    char *line = apr_palloc(p, 4 * strlen(text) + 1), *to = line;

    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            to += apr_snprintf(to, 5, "\\x%02x", (unsigned char)*text);
        }
        else {
            *to++ = *text;
        }
    }
    *to = '\0';
    return line;
}

const char *persona_error_text(const persona_error_t *error, apr_pool_t *p)
{
    const char *file = one_line(error->file, p), *message = one_line(error->message, p);

    if (error->line == 0) {
        return apr_pstrcat(p, file, ": ", message, NULL);
    }
    return apr_psprintf(p, "%s:%d:%d: %s: %s", file, error->line, error->column,
                        error->path ? one_line(error->path, p) : "$", message);
}

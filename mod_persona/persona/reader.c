/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file reader.c
 * @brief Reads a JSON document into a struct as tables of keys describe it.
 *
 * A value that is wrong is noted and left out, and reading goes on, so that one reading tells all
 * errors.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#include "reader.h"
#include "settings.h"
#include "text.h"

/** No file has more to tell than somebody would read. */
#define ERRORS_MAX  200
#define MESSAGE_MAX 1024

static void error_add(persona_reader_t *reader, int line, int column, const char *path,
                      const char *message)
{
    persona_error_t *error;

    if (++reader->count > ERRORS_MAX) {
        return;
    }
    error = apr_array_push(reader->errors);
    error->file = reader->file;
    error->line = line;
    error->column = column;
    error->path = path;
    error->message = reader->count < ERRORS_MAX ? message : "and more that is not shown";
}

int persona_reader_good(const persona_reader_t *reader, const char *path)
{
    apr_size_t len = strlen(path);
    int own = reader->count < ERRORS_MAX ? reader->count : ERRORS_MAX;

    for (int i = reader->errors->nelts - own; i < reader->errors->nelts; i++) {
        const char *other = APR_ARRAY_IDX(reader->errors, i, persona_error_t).path;

        if (strncmp(other, path, len) == 0 && strchr(".[", other[len])) {
            return 0;
        }
    }
    return 1;
}

void persona_reader_error(persona_reader_t *reader, const persona_node_t *node, const char *fmt,
                          ...)
{
    char message[MESSAGE_MAX];
    va_list ap;

    if (reader->count >= ERRORS_MAX) {
        reader->count++;
        return;
    }
    /* Not apr_pvsprintf(): it writes 0.5 as .5. */
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    error_add(reader, node ? node->line : 0, node ? node->column : 0,
              node ? persona_node_path(node, reader->p) : "$", apr_pstrdup(reader->p, message));
}

const char *persona_reader_found(const json_t *json, apr_pool_t *p)
{
    switch (json_typeof(json)) {
    case JSON_STRING:
        return apr_pstrcat(p, "the string ", persona_text_quote(json_string_value(json), p), NULL);
    case JSON_INTEGER:
        return apr_psprintf(p, "the number %" APR_INT64_T_FMT,
                            (apr_int64_t)json_integer_value(json));
    case JSON_REAL:
        return apr_pstrcat(p, "the number ", persona_text_number(json_real_value(json), p), NULL);
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
        return "null";
    }
    return "nothing";
}

static void wrong_type(persona_reader_t *reader, const persona_key_t *key, const json_t *json,
                       const persona_node_t *node, const char *what)
{
    persona_reader_error(reader, node, "must be %s%s%s; found %s", what,
                         key->right ? ", such as " : "", key->right ? key->right : "",
                         persona_reader_found(json, reader->scratch));
}

static const char *text_wrong(const persona_key_t *key, const char *text, apr_pool_t *p)
{
    apr_size_t len = strlen(text);

    if (len == 0) {
        return "must not be empty";
    }
    if ((apr_int64_t)len > key->max) {
        return apr_psprintf(
            p, "is %" APR_SIZE_T_FMT " bytes long; at most %" APR_INT64_T_FMT " are allowed", len,
            key->max);
    }
    for (apr_size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            return "must be one line without control characters";
        }
    }
    return key->check ? key->check(text) : NULL;
}

static void read_text(persona_reader_t *reader, const persona_key_t *key, const json_t *json,
                      const persona_node_t *node, const char **to)
{
    const char *wrong;

    if (!json_is_string(json)) {
        wrong_type(reader, key, json, node, "a string");
        return;
    }
    wrong = text_wrong(key, json_string_value(json), reader->scratch);
    if (wrong) {
        persona_reader_error(reader, node, "%s %s%s%s",
                             persona_text_quote(json_string_value(json), reader->scratch), wrong,
                             key->right ? ", such as " : "", key->right ? key->right : "");
        return;
    }
    *to = apr_pstrdup(reader->p, json_string_value(json));
}

static void read_texts(persona_reader_t *reader, const persona_key_t *key, const json_t *json,
                       const persona_node_t *node, const apr_array_header_t **to)
{
    apr_array_header_t *list = apr_array_make(reader->p, 4, sizeof(const char *));
    const persona_node_t *child = node->children;

    if (!json_is_array(json)) {
        wrong_type(reader, key, json, node, "an array of strings");
        return;
    }
    for (apr_size_t i = 0; i < json_array_size(json) && child; i++, child = child->next) {
        persona_key_t one = {.max = key->max, .check = key->check};
        const char *text = NULL;

        read_text(reader, &one, json_array_get(json, i), child, &text);
        if (text) {
            APR_ARRAY_PUSH(list, const char *) = text;
        }
    }
    *to = list;
}

static void read_word(persona_reader_t *reader, const persona_key_t *key, const json_t *json,
                      const persona_node_t *node, int *to)
{
    const char *word = json_string_value(json), *nearest;

    for (int i = 0; word && key->words[i]; i++) {
        if (strcmp(word, key->words[i]) == 0) {
            *to = i;
            return;
        }
    }
    nearest = word ? persona_text_nearest(word, key->words) : NULL;
    persona_reader_error(reader, node, "must be %s; found %s%s%s%s",
                         persona_text_choices(key->words, reader->scratch),
                         persona_reader_found(json, reader->scratch),
                         nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                         nearest ? "\"?" : "");
}

static void read_int(persona_reader_t *reader, const persona_key_t *key, const json_t *json,
                     const persona_node_t *node, int *to)
{
    json_int_t value = json_integer_value(json);

    if (!json_is_integer(json) || value < key->min || value > key->max) {
        wrong_type(reader, key, json, node,
                   apr_psprintf(reader->scratch,
                                "a whole number from %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT,
                                key->min, key->max));
        return;
    }
    *to = (int)value;
}

static void read_real(persona_reader_t *reader, const persona_key_t *key, const json_t *json,
                      const persona_node_t *node, double *to)
{
    double value = json_number_value(json);

    if (!json_is_number(json) || !(value >= (double)key->min && value <= (double)key->max)) {
        wrong_type(reader, key, json, node,
                   apr_psprintf(reader->scratch,
                                "a number from %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT, key->min,
                                key->max));
        return;
    }
    *to = value;
}

/** The number of a size or duration, in a string with its unit or as a bare number. 0: wrong,
 * and noted. */
static int read_quantity(persona_reader_t *reader, const persona_key_t *key, const json_t *json,
                         const persona_node_t *node, apr_int64_t *value)
{
    int size = key->type != PERSONA_KEY_DURATION;
    const char *text = json_string_value(json), *wrong;

    if (json_is_integer(json) && json_integer_value(json) >= 0) {
        text = apr_psprintf(reader->scratch, "%" APR_INT64_T_FMT,
                            (apr_int64_t)json_integer_value(json));
    }
    if (!text) {
        wrong_type(reader, key, json, node, size ? "a size in a string" : "a duration in a string");
        return 0;
    }
    wrong = size ? persona_size_parse(text, value, reader->scratch)
                 : persona_duration_parse(text, value, reader->scratch);
    if (wrong) {
        persona_reader_error(reader, node, "%s", wrong);
        return 0;
    }
    return 1;
}

/** A bound in words: bytes or microseconds with the largest unit that divides them. */
static const char *bound(const persona_key_t *key, apr_int64_t value, apr_pool_t *p)
{
    static const struct {
        const char *name;
        apr_int64_t factor;
    } sizes[] = {{"TiB", (apr_int64_t)1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {" bytes", 1}},
      durations[] = {{"d", APR_INT64_C(86400000000)},
                     {"h", APR_INT64_C(3600000000)},
                     {"s", 1000000},
                     {"us", 1}};
    int size = key->type != PERSONA_KEY_DURATION, i = 0;

    while (value % (size ? sizes[i].factor : durations[i].factor) != 0) {
        i++;
    }
    return apr_psprintf(p, "%" APR_INT64_T_FMT "%s",
                        value / (size ? sizes[i].factor : durations[i].factor),
                        size ? sizes[i].name : durations[i].name);
}

static void read_bounded(persona_reader_t *reader, const persona_key_t *key, const json_t *json,
                         const persona_node_t *node, apr_int64_t *to)
{
    apr_int64_t value;

    if (!read_quantity(reader, key, json, node, &value)) {
        return;
    }
    if (value < key->min || value > key->max) {
        const char *top = bound(key, key->max, reader->scratch);
        const char *range =
            key->min ? apr_pstrcat(reader->scratch, "from ", bound(key, key->min, reader->scratch),
                                   " to ", top, NULL)
                     : apr_pstrcat(reader->scratch, "at most ", top, NULL);

        persona_reader_error(reader, node, "must be %s, such as %s; found %s", range, key->right,
                             persona_reader_found(json, reader->scratch));
        return;
    }
    *to = value;
}

/** A signed amount: "+1GiB", "-1", 2. */
static void read_change(persona_reader_t *reader, const persona_key_t *key, const json_t *json,
                        const persona_node_t *node, apr_int64_t *to)
{
    const char *text = json_string_value(json);
    apr_int64_t value = 0;
    int minus;

    if (json_is_integer(json)) {
        text = apr_psprintf(reader->scratch, "%+" APR_INT64_T_FMT,
                            (apr_int64_t)json_integer_value(json));
    }
    if (!text || (text[0] != '+' && text[0] != '-')) {
        wrong_type(reader, key, json, node, "a change with its sign");
        return;
    }
    minus = text[0] == '-';
    if (key->type == PERSONA_KEY_CHANGE && text[1 + strspn(text + 1, "0123456789")] != '\0') {
        wrong_type(reader, key, json, node, "a whole number with its sign");
        return;
    }
    else {
        const char *wrong = persona_size_parse(text + 1, &value, reader->scratch);

        if (wrong) {
            persona_reader_error(reader, node, "%s, with a + or - before it", wrong);
            return;
        }
    }
    if (value == 0 || value > key->max) {
        persona_reader_error(reader, node, "must change something, and by at most %s; found %s",
                             key->type == PERSONA_KEY_CHANGE
                                 ? apr_psprintf(reader->scratch, "%" APR_INT64_T_FMT, key->max)
                                 : bound(key, key->max, reader->scratch),
                             persona_reader_found(json, reader->scratch));
        return;
    }
    *to = minus ? -value : value;
}

void persona_reader_value(persona_reader_t *reader, const persona_key_t *key, json_t *json,
                          const persona_node_t *node, void *to)
{
    apr_int64_t change = 0;

    switch (key->type) {
    case PERSONA_KEY_TEXT:
        read_text(reader, key, json, node, to);
        break;
    case PERSONA_KEY_WORD:
        read_word(reader, key, json, node, to);
        break;
    case PERSONA_KEY_BOOL:
        if (json_is_boolean(json)) {
            *(int *)to = json_is_true(json);
        }
        else {
            wrong_type(reader, key, json, node, "true or false");
        }
        break;
    case PERSONA_KEY_INT:
        read_int(reader, key, json, node, to);
        break;
    case PERSONA_KEY_REAL:
        read_real(reader, key, json, node, to);
        break;
    case PERSONA_KEY_SIZE:
    case PERSONA_KEY_DURATION:
        read_bounded(reader, key, json, node, to);
        break;
    case PERSONA_KEY_CHANGE:
        read_change(reader, key, json, node, &change);
        *(int *)to = (int)change;
        break;
    case PERSONA_KEY_RESIZE:
        read_change(reader, key, json, node, to);
        break;
    case PERSONA_KEY_TEXTS:
        read_texts(reader, key, json, node, to);
        break;
    case PERSONA_KEY_OBJECT:
        persona_reader_object(reader, key->keys, json, node, to);
        break;
    case PERSONA_KEY_OTHER:
        key->read(reader, key, json, node, to);
        break;
    }
}

static const persona_key_t *key_find(const persona_key_t *keys, const char *name)
{
    while (keys->name && strcmp(keys->name, name) != 0) {
        keys++;
    }
    return keys->name ? keys : NULL;
}

static void unknown_key(persona_reader_t *reader, const persona_key_t *keys,
                        const persona_node_t *node)
{
    const char *words[64], *nearest, *hint;
    int n = 0;

    /* Words cost time: a hostile file has ten thousand unknown keys. */
    if (reader->count >= ERRORS_MAX) {
        reader->count++;
        return;
    }
    for (const persona_key_t *key = keys; key->name && n < 63; key++) {
        words[n++] = key->name;
    }
    words[n] = NULL;
    nearest = persona_text_nearest(node->key, words);
    hint = nearest ? apr_psprintf(reader->scratch, "did you mean \"%s\"?", nearest)
                   : apr_psprintf(reader->scratch,
                                  "known here are %s; keys of your own begin with \"x-\"",
                                  persona_text_choices(words, reader->scratch));
    error_add(reader, node->key_line, node->key_column, persona_node_path(node, reader->p),
              apr_psprintf(reader->p, "unknown key %s; %s",
                           persona_text_quote(node->key, reader->scratch), hint));
}

void persona_reader_object(persona_reader_t *reader, const persona_key_t *keys, json_t *json,
                           const persona_node_t *node, void *to)
{
    if (!json_is_object(json)) {
        persona_reader_error(reader, node, "must be an object {...}; found %s",
                             persona_reader_found(json, reader->scratch));
        return;
    }
    for (const persona_node_t *child = node->children; child; child = child->next) {
        const persona_key_t *key = key_find(keys, child->key);

        /* Of a key that stands twice only the last is in `json`; the other was noted by the
         * scan. */
        if (persona_node_key(node, child->key) != child) {
            continue;
        }
        if (key) {
            persona_reader_value(reader, key, json_object_get(json, child->key), child,
                                 (char *)to + key->offset);
        }
        else if (!reader->lenient && strncmp(child->key, "x-", 2) != 0) {
            unknown_key(reader, keys, child);
        }
    }
    for (; keys->name; keys++) {
        if (keys->required && !persona_node_key(node, keys->name)) {
            persona_reader_error(reader, node, "\"%s\" is missing%s%s", keys->name,
                                 keys->right ? "; add it, such as " : "",
                                 keys->right ? keys->right : "");
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file document.c
 * @brief Whether a text is JSON, and if not, what to do about it.
 */
#include <string.h>

#include <apr_strings.h>

#include "document.h"

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

static apr_status_t document_free(void *json)
{
    json_decref(json);
    return APR_SUCCESS;
}

json_t *persona_document_parse(persona_reader_t *reader, const char *text, apr_size_t len,
                               const persona_node_t **root)
{
    json_t *json = load(reader, text, len);

    if (!json) {
        return NULL;
    }
    apr_pool_cleanup_register(reader->p, json, document_free, apr_pool_cleanup_null);
    *root = persona_scan(text, len, duplicate, reader, reader->scratch);
    if (!*root) {
        syntax_error(reader, 0, 0, "the file cannot be read as JSON");
        return NULL;
    }
    return json;
}

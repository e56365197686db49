/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file scan.c
 * @brief Where each value of a JSON text stands.
 *
 * The text was accepted by jansson before, which also bounds its depth; what is checked here again
 * is only what memory safety needs.
 */
#include <string.h>

#include <apr_strings.h>

#include "scan.h"
#include "text.h"

#define DEPTH_MAX      (JSON_PARSER_MAX_DEPTH + 1)
#define PATH_PARTS_MAX 24

typedef struct scan_t {
    const char *at, *end;
    int line, column;
    int depth;
    persona_scan_duplicate_cb *duplicate;
    void *baton;
    apr_pool_t *p;
} scan_t;

static void step(scan_t *scan)
{
    if (*scan->at == '\n') {
        scan->line++;
        scan->column = 1;
    }
    else if (((unsigned char)*scan->at & 0xc0) != 0x80) {
        scan->column++;
    }
    scan->at++;
}

/** The next byte that is no blank; 0 at the end. */
static char peek(scan_t *scan)
{
    while (scan->at < scan->end && strchr(" \t\r\n", *scan->at) && *scan->at) {
        step(scan);
    }
    return scan->at < scan->end ? *scan->at : '\0';
}

/** Steps over a string with its quotes; 0: it does not end. */
static int skip_string(scan_t *scan)
{
    step(scan);
    while (scan->at < scan->end && *scan->at != '"') {
        if (*scan->at == '\\' && scan->end - scan->at > 1) {
            step(scan);
        }
        step(scan);
    }
    if (scan->at >= scan->end) {
        return 0;
    }
    step(scan);
    return 1;
}

/** Steps over a key and gives it decoded; NULL: there is none. */
static const char *scan_key(scan_t *scan)
{
    const char *start = scan->at;
    apr_size_t len;
    json_t *string;
    const char *key;

    if (peek(scan) != '"') {
        return NULL;
    }
    start = scan->at;
    if (!skip_string(scan)) {
        return NULL;
    }
    len = (apr_size_t)(scan->at - start);
    if (!memchr(start, '\\', len)) {
        return apr_pstrmemdup(scan->p, start + 1, len - 2);
    }
    string = json_loadb(start, len, JSON_DECODE_ANY, NULL);
    key = string ? apr_pstrdup(scan->p, json_string_value(string)) : NULL;
    json_decref(string);
    return key;
}

static persona_node_t *node_add(scan_t *scan, persona_node_t *parent)
{
    persona_node_t *node = apr_pcalloc(scan->p, sizeof(*node));

    node->parent = parent;
    if (parent && parent->last) {
        node->index = parent->last->index + 1;
        parent->last->next = node;
    }
    else if (parent) {
        parent->children = node;
    }
    if (parent) {
        parent->last = node;
    }
    return node;
}

/** Reads the key of a new member up to its value; 0: not JSON. */
static int scan_member(scan_t *scan, persona_node_t *node, persona_node_t *parent)
{
    const persona_node_t *first;

    peek(scan);
    node->key_line = scan->line;
    node->key_column = scan->column;
    node->key = scan_key(scan);
    if (!node->key || peek(scan) != ':') {
        return 0;
    }
    step(scan);
    if (!parent->keys) {
        parent->keys = apr_hash_make(scan->p);
    }
    first = apr_hash_get(parent->keys, node->key, APR_HASH_KEY_STRING);
    if (first && scan->duplicate) {
        scan->duplicate(scan->baton, node, first);
    }
    apr_hash_set(parent->keys, node->key, APR_HASH_KEY_STRING, node);
    return 1;
}

static int scan_value(scan_t *scan, persona_node_t *node);

static int scan_container(scan_t *scan, persona_node_t *node, char close)
{
    step(scan);
    if (peek(scan) == close) {
        step(scan);
        return 1;
    }
    for (;;) {
        persona_node_t *child = node_add(scan, node);
        char next;

        if ((close == '}' && !scan_member(scan, child, node)) || !scan_value(scan, child)) {
            return 0;
        }
        next = peek(scan);
        if (next != ',' && next != close) {
            return 0;
        }
        step(scan);
        if (next == close) {
            return 1;
        }
    }
}

static int scan_value(scan_t *scan, persona_node_t *node)
{
    char first = peek(scan);
    int good;

    node->line = scan->line;
    node->column = scan->column;
    if (first == '{' || first == '[') {
        if (scan->depth >= DEPTH_MAX) {
            return 0;
        }
        scan->depth++;
        good = scan_container(scan, node, first == '{' ? '}' : ']');
        scan->depth--;
        return good;
    }
    if (first == '"') {
        return skip_string(scan);
    }
    if (!first || strchr(",:]}", first)) {
        return 0;
    }
    while (scan->at < scan->end && *scan->at && !strchr(" \t\r\n,:]}", *scan->at)) {
        step(scan);
    }
    return 1;
}

persona_node_t *persona_scan(const char *text, apr_size_t len, persona_scan_duplicate_cb *duplicate,
                             void *baton, apr_pool_t *p)
{
    scan_t scan = {text, text + len, 1, 1, 0, duplicate, baton, p};
    persona_node_t *root = node_add(&scan, NULL);

    return scan_value(&scan, root) && peek(&scan) == '\0' ? root : NULL;
}

const persona_node_t *persona_node_key(const persona_node_t *node, const char *key)
{
    return node->keys ? apr_hash_get(node->keys, key, APR_HASH_KEY_STRING) : NULL;
}

static const char *path_part(const persona_node_t *node, apr_pool_t *p)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    const char *key = node->key;

    if (!key) {
        return apr_psprintf(p, "[%d]", node->index);
    }
    if (*key && strlen(key) <= PERSONA_NAME_MAX && !key[strspn(key, word)]) {
        return apr_pstrcat(p, ".", key, NULL);
    }
    return apr_pstrcat(p, "[", persona_text_quote(key, p), "]", NULL);
}

const char *persona_node_path(const persona_node_t *node, apr_pool_t *p)
{
    const char *path = "";
    int parts = 0;

    for (; node->parent; node = node->parent) {
        if (++parts > PATH_PARTS_MAX) {
            return apr_pstrcat(p, "$...", path, NULL);
        }
        path = apr_pstrcat(p, path_part(node, p), path, NULL);
    }
    return apr_pstrcat(p, "$", path, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file scan.h
 * @brief Where each value of a JSON text stands: jansson tells the place of a syntax error, but of
 * no value.
 *
 * A tree of nodes, one for each value, made by one pass over a text that jansson has accepted. It
 * also finds what jansson passes over: a key that stands twice in one object.
 */
#ifndef PERSONA_SCAN_H
#define PERSONA_SCAN_H

#include <apr_hash.h>

#include "persona.h"

typedef struct persona_node_t persona_node_t;
struct persona_node_t {
    const persona_node_t *parent; /**< NULL: the root */
    const char *key;              /**< in its parent, decoded; NULL: by index, or the root */
    int index;                    /**< in its parent */
    int line, column;             /**< of the value, from 1; columns count characters */
    int key_line, key_column;     /**< of the key; 0: none */
    persona_node_t *children, *last, *next;
    apr_hash_t *keys; /**< of children by key: the last one of each name */
};

/** Called for a key that its object has already; `first` is the one that was there. */
typedef void persona_scan_duplicate_cb(void *baton, const persona_node_t *node,
                                       const persona_node_t *first);

/** The root of the tree, in p; NULL: `text` is not JSON. */
persona_node_t *persona_scan(const char *text, apr_size_t len, persona_scan_duplicate_cb *duplicate,
                             void *baton, apr_pool_t *p);
/** Child of an object; NULL: none. */
const persona_node_t *persona_node_key(const persona_node_t *node, const char *key);
/** Where it is: "$.pool.max". Long keys are cut, deep paths lose their middle. */
const char *persona_node_path(const persona_node_t *node, apr_pool_t *p);

#endif

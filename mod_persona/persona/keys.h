/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file keys.h
 * @brief The keys of a persona file, and what must hold within and between their values.
 */
#ifndef PERSONA_KEYS_H
#define PERSONA_KEYS_H

#include "reader.h"

/** The top level of a persona file; the struct is a persona_t. */
extern const persona_key_t persona_keys[];
/** Reads a time zone; `to` is the timezone of a persona_usage_t, and its zone is filled, too. */
void persona_keys_read_zone(persona_reader_t *reader, const persona_key_t *key, json_t *json,
                            const persona_node_t *node, void *to);
/** What a persona has where its file is silent. */
void persona_keys_defaults(persona_t *persona);
/** Call `each` for every key of a persona file, depth first: "auto_scale_rules[].action.cpu". */
void persona_keys_walk(void (*each)(void *baton, const char *path, const persona_key_t *key),
                       void *baton, apr_pool_t *p);

/** The words of metric and scope, by position. */
extern const char *const persona_metric_words[];
extern const char *const persona_scope_words[];

/** What no table can say: that values fit each other. Passes over values that were found wrong. */
void persona_check(persona_reader_t *reader, persona_t *persona, const persona_node_t *root);

/* NULL, or what is wrong with one value, to be read after the value itself. */
const char *persona_check_name(const char *text);
const char *persona_check_app(const char *text);
const char *persona_check_image(const char *text);
const char *persona_check_word(const char *text);
const char *persona_check_package(const char *text);
const char *persona_check_path(const char *text);
const char *persona_check_icon(const char *text);
const char *persona_check_role(const char *text);

#endif

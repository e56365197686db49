/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file reader.h
 * @brief Reads a JSON document into a struct as tables of keys describe it, and tells everything
 * wrong with it.
 *
 * A table has one row for each key of an object: its type, its bounds, and where its value goes.
 * The tables of a persona are in keys.c; nothing else in the project knows a persona's keys.
 */
#ifndef PERSONA_READER_H
#define PERSONA_READER_H

#include "catalog.h"
#include "scan.h"

typedef enum {
    PERSONA_KEY_TEXT,     /**< string -> const char *; max: bytes; check: what it must look like */
    PERSONA_KEY_WORD,     /**< one of words -> enum, by position */
    PERSONA_KEY_BOOL,     /**< true or false -> int */
    PERSONA_KEY_INT,      /**< whole number from min to max -> int */
    PERSONA_KEY_REAL,     /**< number from min to max -> double */
    PERSONA_KEY_SIZE,     /**< "8GiB", or bytes, from min to max -> apr_int64_t */
    PERSONA_KEY_DURATION, /**< "15m", or seconds, from min to max -> apr_interval_time_t */
    PERSONA_KEY_CHANGE,   /**< "+1", "-1" or a number, at most max either way, not 0 -> int */
    PERSONA_KEY_RESIZE,   /**< "+1GiB", "-512MiB", at most max either way, not 0 -> apr_int64_t */
    PERSONA_KEY_TEXTS, /**< array of strings -> apr_array_header_t *; max: bytes of one */
    PERSONA_KEY_OBJECT, /**< object with its own table, into the struct at offset */
    PERSONA_KEY_OTHER   /**< read() knows */
} persona_key_e;

typedef struct persona_reader_t {
    const char *file;
    apr_array_header_t *errors; /**< of persona_error_t, of this and other files */
    int count;                  /**< errors of this file */
    int lenient; /**< unknown keys are passed over: the writer may be newer than the reader */
    apr_pool_t *scratch; /**< of this reading; nodes live in it */
    apr_pool_t *p;       /**< of what is read, and of errors */
} persona_reader_t;

typedef struct persona_key_t persona_key_t;
struct persona_key_t {
    const char *name;
    persona_key_e type;
    int required;
    apr_size_t offset;
    apr_int64_t min, max;
    const char *right; /**< an example, as it stands in JSON */
    /** TEXT, TEXTS: NULL, or what it must be ("must be ..."). */
    const char *(*check)(const char *text);
    const char *const *words;  /**< WORD */
    const persona_key_t *keys; /**< OBJECT, and the keys below an OTHER for those who list keys */
    void (*read)(persona_reader_t *reader, const persona_key_t *key, json_t *json,
                 const persona_node_t *node, void *to); /**< OTHER; `to` is the struct's member */
};

/** Note an error at the value of `node`, or with the file as a whole where that is NULL. */
void persona_reader_error(persona_reader_t *reader, const persona_node_t *node, const char *fmt,
                          ...) __attribute__((format(printf, 3, 4)));
/** Whether nothing was found wrong at or below the JSON path. */
int persona_reader_good(const persona_reader_t *reader, const char *path);
/** Read the object `json` into the struct `to`. Keys that are absent leave their members as they
 * are. */
void persona_reader_object(persona_reader_t *reader, const persona_key_t *keys, json_t *json,
                           const persona_node_t *node, void *to);
/** Read one value of any type into `to`. */
void persona_reader_value(persona_reader_t *reader, const persona_key_t *key, json_t *json,
                          const persona_node_t *node, void *to);
/** "string "4"", "null", "array": what stands there, for messages. */
const char *persona_reader_found(const json_t *json, apr_pool_t *p);

#endif

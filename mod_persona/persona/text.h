/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file text.h
 * @brief Words for messages: quoted values, and the known word that somebody may have meant.
 */
#ifndef PERSONA_TEXT_H
#define PERSONA_TEXT_H

#include "persona.h"

/** `text` in double quotes, cut to about 60 bytes between characters, control bytes as \xNN. */
const char *persona_text_quote(const char *text, apr_pool_t *p);
/** The one of `words` (NULL-terminated) that `text` most likely means, or NULL where none is
 * near. */
const char *persona_text_nearest(const char *text, const char *const *words);
/** "a, b or c" of `words` (NULL-terminated), each in double quotes. */
const char *persona_text_choices(const char *const *words, apr_pool_t *p);
/** Whether it is a name: [a-z0-9][a-z0-9._-]*, at most PERSONA_NAME_MAX bytes. */
int persona_text_name_valid(const char *text);

#endif

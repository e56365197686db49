/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file text.h
 * @brief Words for messages and names: quoted values, the known word that somebody may have meant, folders.
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
/** The shortest usual form of a number, "0.5"; apr_psprintf() would leave out the 0. */
const char *persona_text_number(double number, apr_pool_t *p);
/** Whether it is a name: [a-z0-9][a-z0-9._-]*, at most PERSONA_NAME_MAX bytes. */
int persona_text_name_valid(const char *text);
/** The name of a person's folder, safe as a file's name and in a URL as it stands: `user` where it is at most 64 of
 * letters, digits and ._@- and begins with a letter or digit; else "=" and its SHA-256. */
const char *persona_text_folder(const char *user, apr_pool_t *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file document.h
 * @brief From the text of a file to a JSON document and the places of its values.
 */
#ifndef PERSONA_DOCUMENT_H
#define PERSONA_DOCUMENT_H

#include "reader.h"

/** The document, which lives as long as reader->p, and its tree of places, in reader->scratch. A key that stands twice
 * is noted. NULL: it is no JSON, and that was noted. */
json_t *persona_document_parse(persona_reader_t *reader, const char *text, apr_size_t len,
                               const persona_node_t **root);

#endif

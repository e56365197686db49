/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file html.h
 * @brief Building a page so that escaping is what happens when nobody thinks of it.
 */
#ifndef PERSONA_GATEWAY_HTML_H
#define PERSONA_GATEWAY_HTML_H

#include <apr_buckets.h>
#include <apr_pools.h>

/** A page that grows; lives in its pool. */
typedef struct persona_html_t {
    apr_pool_t *pool;
    char *text;
    apr_size_t len, size;
} persona_html_t;

persona_html_t *persona_html_create(apr_pool_t *p);
/** `fmt` is markup. %s is a string (NULL: nothing), escaped for text and for quoted attributes; %d an int; %l an
 * apr_int64_t; %u a string percent-encoded as one path segment; %h markup made by persona_html_text(); %% a percent
 * sign. Any other conversion aborts. */
void persona_html_add(persona_html_t *h, const char *fmt, ...);
/** What was built, NUL-terminated. */
const char *persona_html_text(const persona_html_t *h);
/** Escaped for text and quoted attributes. Control bytes but tab and newline become U+FFFD. */
const char *persona_html_escape(const char *text, apr_pool_t *p);
/** Percent-encoded as one path segment: only unreserved characters stay. */
const char *persona_html_segment(const char *text, apr_pool_t *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file html.c
 * @brief Building a page so that escaping is what happens when nobody thinks of it.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "html.h"

#define FIRST_SIZE 4096

persona_html_t *persona_html_create(apr_pool_t *p)
{
    persona_html_t *h = apr_pcalloc(p, sizeof(*h));

    h->pool = p;
    h->size = FIRST_SIZE;
    h->text = apr_palloc(p, h->size);
    h->text[0] = '\0';
    return h;
}

static void append(persona_html_t *h, const char *text, apr_size_t len)
{
    if (h->len + len + 1 > h->size) {
        apr_size_t size = (h->len + len + 1) * 2;
        char *grown = apr_palloc(h->pool, size);

        memcpy(grown, h->text, h->len);
        h->text = grown;
        h->size = size;
    }
    memcpy(h->text + h->len, text, len);
    h->len += len;
    h->text[h->len] = '\0';
}

static const char *entity(unsigned char c)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: break;
    }
    if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f) {
        return "\xef\xbf\xbd";
    }
    return NULL;
}

static void append_escaped(persona_html_t *h, const char *text)
{
    const char *from = text;

    for (; *text; text++) {
        const char *instead = entity((unsigned char)*text);

        if (instead) {
            append(h, from, (apr_size_t)(text - from));
            append(h, instead, strlen(instead));
            from = text + 1;
        }
    }
    append(h, from, (apr_size_t)(text - from));
}

void persona_html_add(persona_html_t *h, const char *fmt, ...)
{
    char number[32];
    const char *s;
    va_list ap;

    va_start(ap, fmt);
    for (; *fmt; fmt++) {
        const char *end = strchr(fmt, '%');

        if (!end) {
            append(h, fmt, strlen(fmt));
            break;
        }
        append(h, fmt, (apr_size_t)(end - fmt));
        fmt = end + 1;
        switch (*fmt) {
        case 's':
            s = va_arg(ap, const char *);
            append_escaped(h, s ? s : "");
            break;
        case 'u':
            s = persona_html_segment(va_arg(ap, const char *), h->pool);
            append(h, s, strlen(s));
            break;
        case 'h':
            s = va_arg(ap, const char *);
            append(h, s, strlen(s));
            break;
        case 'd':
            apr_snprintf(number, sizeof(number), "%d", va_arg(ap, int));
            append(h, number, strlen(number));
            break;
        case 'l':
            apr_snprintf(number, sizeof(number), "%" APR_INT64_T_FMT, va_arg(ap, apr_int64_t));
            append(h, number, strlen(number));
            break;
        case '%':
            append(h, "%", 1);
            break;
        default:
            abort();
        }
    }
    va_end(ap);
}

const char *persona_html_text(const persona_html_t *h)
{
    return h->text;
}

const char *persona_html_escape(const char *text, apr_pool_t *p)
{
    persona_html_t *h = persona_html_create(p);

    append_escaped(h, text);
    return h->text;
}

const char *persona_html_segment(const char *text, apr_pool_t *p)
{
    static const char hex[] = "0123456789ABCDEF";
    char *to = apr_palloc(p, strlen(text) * 3 + 1), *out = to;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if ((c < 0x80 && apr_isalnum(c)) || strchr("-._~", c)) {
            *out++ = (char)c;
        }
        else {
            *out++ = '%';
            *out++ = hex[c >> 4];
            *out++ = hex[c & 15];
        }
    }
    *out = '\0';
    return to;
}

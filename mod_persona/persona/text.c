/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file text.c
 * @brief Words for messages.
 */
#include <stdio.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "digest.h"
#include "text.h"

#define QUOTE_MAX 60
#define WORD_MAX  48

const char *persona_text_quote(const char *text, apr_pool_t *p)
{
    apr_size_t len = strlen(text), n = 0;
    int cut = len > QUOTE_MAX;
    char *quoted;

    if (cut) {
        len = QUOTE_MAX;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    quoted = apr_palloc(p, 4 * len + 6);
    quoted[n++] = '"';
    for (apr_size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < 0x20 || c == 0x7f) {
            n += (apr_size_t)apr_snprintf(quoted + n, 5, "\\x%02x", c);
        }
        else {
            quoted[n++] = (char)c;
        }
    }
    apr_cpystrn(quoted + n, cut ? "...\"" : "\"", 5);
    return quoted;
}

/** Optimal string alignment: insertions, deletions, replacements, and swaps of neighbours cost
 * one each. */
static apr_size_t distance(const char *a, apr_size_t a_len, const char *b, apr_size_t b_len)
{
    apr_size_t rows[3][WORD_MAX + 1];
    apr_size_t *before = rows[0], *last = rows[1], *row = rows[2];

    for (apr_size_t j = 0; j <= b_len; j++) {
        last[j] = j;
        before[j] = 0;
    }
    for (apr_size_t i = 1; i <= a_len; i++) {
        apr_size_t *spare = before;

        row[0] = i;
        for (apr_size_t j = 1; j <= b_len; j++) {
            int x = apr_tolower(a[i - 1]), y = apr_tolower(b[j - 1]);
            apr_size_t best = last[j - 1] + (x != y);

            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && x == apr_tolower(b[j - 2]) && y == apr_tolower(a[i - 2]) &&
                before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            row[j] = best;
        }
        before = last;
        last = row;
        row = spare;
    }
    return last[b_len];
}

const char *persona_text_nearest(const char *text, const char *const *words)
{
    apr_size_t len = strlen(text), best = WORD_MAX;
    const char *nearest = NULL;

    if (len == 0 || len > WORD_MAX) {
        return NULL;
    }
    for (; *words; words++) {
        apr_size_t word_len = strlen(*words), d;

        if (word_len > WORD_MAX) {
            continue;
        }
        d = distance(text, len, *words, word_len);
        /* "monday" is "mon", "app" is not "application_source". */
        if (word_len >= 3 && len > word_len && strncmp(text, *words, word_len) == 0) {
            d = 1;
        }
        /* One slip in three characters is a slip; more is another word. */
        if (d < best && d <= (1 + (len < word_len ? len : word_len)) / 3) {
            best = d;
            nearest = *words;
        }
    }
    return nearest;
}

const char *persona_text_choices(const char *const *words, apr_pool_t *p)
{
    const char *list = "";

    for (const char *const *word = words; *word; word++) {
        const char *join = word == words ? "" : word[1] ? ", " : " or ";

        list = apr_pstrcat(p, list, join, "\"", *word, "\"", NULL);
    }
    return list;
}

const char *persona_text_number(double number, apr_pool_t *p)
{
    char text[32];

    snprintf(text, sizeof(text), "%g", number);
    return apr_pstrdup(p, text);
}

int persona_text_name_valid(const char *text)
{
    apr_size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-");

    return len > 0 && len <= PERSONA_NAME_MAX && text[len] == '\0' && !strchr("._-", text[0]);
}

const char *persona_text_folder(const char *user, apr_pool_t *p)
{
    const apr_size_t len =
        strspn(user, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-");
    char hash[PERSONA_HEX256_LEN];

    if (len && !user[len] && len <= 64 && apr_isalnum(*user)) {
        return apr_pstrdup(p, user);
    }
    persona_sha256(user, strlen(user), hash);
    return apr_pstrcat(p, "=", hash, NULL);
}

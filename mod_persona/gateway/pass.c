/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file pass.c
 * @brief What lets a browser into the host of one session.
 *
 * The word is PURPOSE.UNTIL.SESSION.USER.PORTAL.PLACE.MAC: the time in seconds, the last three texts in base64url, and
 * HMAC-SHA256 of all before it.
 */
#include <string.h>

#include <apr_encode.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "pass.h"
#include "persona/digest.h"

#define PARTS 7

static const struct {
    const char *word;
    apr_interval_time_t life;
} purposes[] = {{"ticket", apr_time_from_sec(60)}, {"host", apr_time_from_sec(12 * 3600)}};

void persona_pass_label(const char *session, char label[PERSONA_LABEL_LEN])
{
    char text[PERSONA_SESSION_LEN + 8], hex[PERSONA_HEX256_LEN];

    apr_snprintf(text, sizeof(text), "label:%s", session);
    persona_sha256(text, strlen(text), hex);
    apr_cpystrn(label, hex, PERSONA_LABEL_LEN);
}

static const char *text_out(const char *text, apr_pool_t *p)
{
    return apr_pencode_base64(p, text, APR_ENCODE_STRING, APR_ENCODE_BASE64URL, NULL);
}

/** NULL: it is not base64url, or holds a control character. */
static const char *text_in(const char *word, apr_pool_t *p)
{
    const char *text = apr_pdecode_base64(p, word, APR_ENCODE_STRING, APR_ENCODE_BASE64URL, NULL), *at;

    for (at = text; at && *at; at++) {
        if (apr_iscntrl(*at)) {
            return NULL;
        }
    }
    return text;
}

/** The MAC has a purpose of its own, so that no record of the index can pass for a pass. */
static void sign(const char *key, const char *text, char mac[PERSONA_HEX256_LEN], apr_pool_t *p)
{
    const char *all = apr_pstrcat(p, "pass\n", text, NULL);

    persona_hmac(key, strlen(key), all, strlen(all), mac);
}

const char *persona_pass_make(persona_pass_e purpose, const persona_pass_t *pass, const char *key, apr_time_t now,
                              apr_pool_t *p)
{
    const char *head = apr_psprintf(p, "%s.%" APR_TIME_T_FMT ".%s.%s.%s.", purposes[purpose].word,
                                    apr_time_sec(now + purposes[purpose].life), pass->session,
                                    text_out(pass->user, p), text_out(pass->portal, p));
    const char *place = text_out(pass->place ? pass->place : "", p), *text;
    char mac[PERSONA_HEX256_LEN];

    if (strlen(head) + strlen(place) + sizeof(mac) > PERSONA_PASS_MAX) {
        place = "";
    }
    text = apr_pstrcat(p, head, place, NULL);
    sign(key, text, mac, p);
    return apr_pstrcat(p, text, ".", mac, NULL);
}

static int signed_with(const char *const keys[2], const char *text, const char *mac, apr_pool_t *p)
{
    char right[PERSONA_HEX256_LEN];
    int i;

    for (i = 0; i < 2; i++) {
        if (keys[i]) {
            sign(keys[i], text, right, p);
            if (persona_hex_equal(right, mac)) {
                return 1;
            }
        }
    }
    return 0;
}

persona_pass_t *persona_pass_read(persona_pass_e purpose, const char *word, const char *label,
                                  const char *const keys[2], apr_time_t now, apr_pool_t *p)
{
    persona_pass_t *pass = apr_pcalloc(p, sizeof(*pass));
    char *part[PARTS], *at, own[PERSONA_LABEL_LEN];
    int i;

    if (strlen(word) > PERSONA_PASS_MAX || !strrchr(word, '.')) {
        return NULL;
    }
    if (!signed_with(keys, apr_pstrmemdup(p, word, (apr_size_t)(strrchr(word, '.') - word)), strrchr(word, '.') + 1,
                     p)) {
        return NULL;
    }
    at = apr_pstrdup(p, word);
    for (i = 0; i < PARTS; i++) {
        part[i] = at;
        at = at ? strchr(at, '.') : NULL;
        if (at) {
            *at++ = '\0';
        }
    }
    if (at || !part[PARTS - 1] || strcmp(part[0], purposes[purpose].word) ||
        apr_time_from_sec(apr_atoi64(part[1])) <= now || strlen(part[2]) >= PERSONA_SESSION_LEN) {
        return NULL;
    }
    persona_pass_label(part[2], own);
    if (strcmp(own, label)) {
        return NULL;
    }
    pass->session = part[2];
    pass->user = text_in(part[3], p);
    pass->portal = text_in(part[4], p);
    pass->place = text_in(part[5], p);
    return pass->user && pass->portal && pass->place ? pass : NULL;
}

persona_pass_t *persona_pass_of_cookies(const char *header, const char *label, const char *const keys[2],
                                        apr_time_t now, apr_pool_t *p)
{
    const apr_size_t len = sizeof(PERSONA_PASS_COOKIE "=") - 1;
    char *pair, *last, *rest = apr_pstrdup(p, header);
    persona_pass_t *pass = NULL;

    for (pair = rest ? apr_strtok(rest, "; \t", &last) : NULL; pair && !pass; pair = apr_strtok(NULL, "; \t", &last)) {
        if (!strncmp(pair, PERSONA_PASS_COOKIE "=", len)) {
            pass = persona_pass_read(PERSONA_PASS_HOST, pair + len, label, keys, now, p);
        }
    }
    return pass;
}

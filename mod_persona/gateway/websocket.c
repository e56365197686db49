/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file websocket.c
 * @brief The opening handshake of RFC 6455, as a server needs it.
 */
#include <string.h>

#include <apr_base64.h>
#include <apr_sha1.h>
#include <apr_strings.h>

#include "websocket.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, section 1.3 */
#define KEY_LEN 24

const char *persona_websocket_accept(const char *key, apr_pool_t *p)
{
    unsigned char digest[APR_SHA1_DIGESTSIZE];
    apr_sha1_ctx_t sha1;
    char *accept;

    if (strlen(key) != KEY_LEN || strcmp(key + KEY_LEN - 2, "==") ||
        strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") != KEY_LEN - 2) {
        return NULL;
    }
    apr_sha1_init(&sha1);
    apr_sha1_update(&sha1, key, KEY_LEN);
    apr_sha1_update(&sha1, GUID, sizeof(GUID) - 1);
    apr_sha1_final(digest, &sha1);
    accept = apr_palloc(p, (apr_size_t)apr_base64_encode_len(sizeof(digest)));
    apr_base64_encode_binary(accept, digest, sizeof(digest));
    return accept;
}

int persona_websocket_offers(const char *header, const char *token)
{
    apr_size_t len = strlen(token);

    while (header && *header) {
        apr_size_t n;

        header += strspn(header, " \t,");
        n = strcspn(header, ",");
        while (n && (header[n - 1] == ' ' || header[n - 1] == '\t')) {
            n--;
        }
        if (n == len && !strncasecmp(header, token, len)) {
            return 1;
        }
        header = strchr(header, ',');
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file digest.c
 * @brief Hashes, MACs and random identifiers, by libcrypto.
 *
 * No state. A digest that cannot be computed leaves nothing to go on with: sessions, fences and
 * records are named by digests, so the process ends with a message and is started again by its
 * supervisor.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "digest.h"

#define SHA256_BYTES 32
#define UUID_BYTES   16

static const char HEX[] = "0123456789abcdef";

static void to_hex(char *hex, const unsigned char *bytes, apr_size_t len)
{
    for (apr_size_t i = 0; i < len; i++) {
        hex[2 * i] = HEX[bytes[i] >> 4];
        hex[2 * i + 1] = HEX[bytes[i] & 15];
    }
    hex[2 * len] = '\0';
}

static void give_up(const char *what)
{
    persona_log(PERSONA_LOG_ERR, APR_EGENERAL, "libcrypto cannot compute %s; stopping", what);
    abort();
}

void persona_sha256(const void *data, apr_size_t len, char hex[PERSONA_HEX256_LEN])
{
    unsigned char digest[SHA256_BYTES];
    unsigned int size = 0;

    if (EVP_Digest(len ? data : "", len, digest, &size, EVP_sha256(), NULL) != 1 ||
        size != sizeof(digest)) {
        give_up("SHA-256");
    }
    to_hex(hex, digest, sizeof(digest));
}

void persona_hmac(const void *key, apr_size_t key_len, const void *data, apr_size_t len,
                  char hex[PERSONA_HEX256_LEN])
{
    unsigned char digest[SHA256_BYTES];
    unsigned int size = 0;

    /* A NULL key would mean "the key of last time" to libcrypto. */
    if (!HMAC(EVP_sha256(), key_len ? key : "", (int)key_len, len ? data : (const void *)"", len,
              digest, &size) ||
        size != sizeof(digest)) {
        give_up("HMAC-SHA256");
    }
    to_hex(hex, digest, sizeof(digest));
}

int persona_hex_equal(const char *a, const char *b)
{
    apr_size_t len = strlen(a);

    /* The length of a digest is no secret, its bytes are. */
    return len == strlen(b) && CRYPTO_memcmp(a, b, len) == 0;
}

static void random_bytes(unsigned char *bytes, apr_size_t len)
{
    if (RAND_bytes(bytes, (int)len) != 1) {
        give_up("random bytes");
    }
}

char *persona_random_hex(apr_size_t bytes, apr_pool_t *p)
{
    unsigned char *raw = apr_palloc(p, bytes + 1);
    char *hex = apr_palloc(p, 2 * bytes + 1);

    random_bytes(raw, bytes);
    to_hex(hex, raw, bytes);
    OPENSSL_cleanse(raw, bytes);
    return hex;
}

/** Text form of `bytes` after setting version and variant. */
static char *uuid_text(unsigned char bytes[UUID_BYTES], int version, apr_pool_t *p)
{
    char *text = apr_palloc(p, PERSONA_UUID_LEN), *to = text;

    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | (version << 4));
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    for (int i = 0; i < UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *to++ = '-';
        }
        *to++ = HEX[bytes[i] >> 4];
        *to++ = HEX[bytes[i] & 15];
    }
    *to = '\0';
    return text;
}

char *persona_uuid_random(apr_pool_t *p)
{
    unsigned char bytes[UUID_BYTES];

    random_bytes(bytes, sizeof(bytes));
    return uuid_text(bytes, 4, p);
}

int persona_uuid_valid(const char *text)
{
    for (int i = 0; i < PERSONA_UUID_LEN - 1; i++) {
        int dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? text[i] != '-' : !text[i] || !strchr(HEX, text[i])) {
            return 0;
        }
    }
    return text[PERSONA_UUID_LEN - 1] == '\0';
}

char *persona_uuid_v5(const char *space, const char *name, apr_pool_t *p)
{
    apr_size_t len = strlen(name);
    unsigned char *input, digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    int n = 0;

    if (!persona_uuid_valid(space)) {
        return NULL;
    }
    input = apr_pcalloc(p, UUID_BYTES + len);
    for (const char *c = space; *c; c++) {
        if (*c != '-') {
            input[n / 2] = (unsigned char)((input[n / 2] << 4) | (strchr(HEX, *c) - HEX));
            n++;
        }
    }
    memcpy(input + UUID_BYTES, name, len);
    if (EVP_Digest(input, UUID_BYTES + len, digest, &size, EVP_sha1(), NULL) != 1 ||
        size < UUID_BYTES) {
        give_up("SHA-1");
    }
    return uuid_text(digest, 5, p);
}

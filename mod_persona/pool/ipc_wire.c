/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file ipc_wire.c
 * @brief Frames of the manager's socket.
 */
#include <stdlib.h>
#include <string.h>

#include "ipc_wire.h"

char *persona_ipc_frame(const json_t *message, size_t limit, size_t *len)
{
    char most[4096]; /* nearly every message fits, and need not be made twice */
    size_t size = json_dumpb(message, most, sizeof(most), JSON_COMPACT);
    char *frame;

    if (size == 0 || size > limit) {
        return NULL;
    }
    frame = malloc(PERSONA_IPC_PREFIX + size);
    if (!frame) {
        return NULL;
    }
    if (size <= sizeof(most)) {
        memcpy(frame + PERSONA_IPC_PREFIX, most, size);
    }
    else if (json_dumpb(message, frame + PERSONA_IPC_PREFIX, size, JSON_COMPACT) != size) {
        free(frame);
        return NULL;
    }
    frame[0] = (char)(size >> 24);
    frame[1] = (char)(size >> 16);
    frame[2] = (char)(size >> 8);
    frame[3] = (char)size;
    *len = PERSONA_IPC_PREFIX + size;
    return frame;
}

size_t persona_ipc_length(const char prefix[PERSONA_IPC_PREFIX])
{
    const unsigned char *b = (const unsigned char *)prefix;

    return ((size_t)b[0] << 24) | ((size_t)b[1] << 16) | ((size_t)b[2] << 8) | b[3];
}

json_t *persona_ipc_parse(const char *bytes, size_t len)
{
    json_t *message = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, NULL);

    if (message && !json_is_object(message)) {
        json_decref(message);
        message = NULL;
    }
    return message;
}

void persona_ipc_mac(const char *secret, const char *nonce, char mac[PERSONA_HEX256_LEN])
{
    persona_hmac(secret, strlen(secret), nonce, strlen(nonce), mac);
}

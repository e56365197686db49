/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file rfb.h
 * @brief Which bytes of a VNC client are a person's doing.
 *
 * A viewer asks for screen updates all the time; only keys, pointer and pasted text mean that somebody is there. This
 * follows what the client sends (RFC 6143, section 7, and the extensions that noVNC uses) closely enough to tell
 * them apart. It sees each byte once, in order, in pieces of any size, and keeps no payload.
 */
#ifndef PERSONA_GATEWAY_RFB_H
#define PERSONA_GATEWAY_RFB_H

#include <apr.h>

typedef enum {
    PERSONA_RFB_VERSION, PERSONA_RFB_SECURITY, PERSONA_RFB_CHALLENGE, PERSONA_RFB_INIT, PERSONA_RFB_TYPE,
    PERSONA_RFB_HEAD, PERSONA_RFB_SKIP,
    PERSONA_RFB_OPAQUE /**< something unknown was met: from now on every byte counts */
} persona_rfb_e;

typedef struct persona_rfb_t {
    persona_rfb_e state;
    unsigned char head[16];
    unsigned have, need;
    apr_uint64_t skip;
    int minor;
} persona_rfb_t;

void persona_rfb_start(persona_rfb_t *rfb);
/** How many acts of a person (keys, pointer events, texts) began in these bytes. */
unsigned persona_rfb_client(persona_rfb_t *rfb, const unsigned char *data, apr_size_t len);

#endif

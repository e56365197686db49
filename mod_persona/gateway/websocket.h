/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file websocket.h
 * @brief The opening handshake of RFC 6455, as a server needs it.
 */
#ifndef PERSONA_GATEWAY_WEBSOCKET_H
#define PERSONA_GATEWAY_WEBSOCKET_H

#include <apr_pools.h>

/** Sec-WebSocket-Accept for a client's Sec-WebSocket-Key (section 4.2.2); NULL where the key is not the base64 of 16
 * bytes. */
const char *persona_websocket_accept(const char *key, apr_pool_t *p);
/** Whether a comma-separated header offers `token`, ignoring case. */
int persona_websocket_offers(const char *header, const char *token);

#endif

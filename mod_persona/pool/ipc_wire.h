/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file ipc_wire.h
 * @brief What the two ends of the manager's socket share: frames, limits and the hello's proof. Private to
 * ipc.c and ipc_server.c; the protocol itself is described in ipc.h.
 */
#ifndef PERSONA_POOL_IPC_WIRE_H
#define PERSONA_POOL_IPC_WIRE_H

#include <stddef.h>

#include "ipc.h"
#include "persona/digest.h"

/** Bytes of the big-endian length before each message. */
#define PERSONA_IPC_PREFIX 4
/** Longest message of a peer that has not proven itself. */
#define PERSONA_IPC_HELLO_MAX 1024

/** A message as it goes over the wire, malloc'ed; NULL where it would be longer than `limit`. */
char *persona_ipc_frame(const json_t *message, size_t limit, size_t *len);
/** Length in a prefix. */
size_t persona_ipc_length(const char prefix[PERSONA_IPC_PREFIX]);
/** An object from the bytes of a message; NULL: they are none. */
json_t *persona_ipc_parse(const char *bytes, size_t len);
/** The client's proof that it knows the secret. */
void persona_ipc_mac(const char *secret, const char *nonce, char mac[PERSONA_HEX256_LEN]);

#endif

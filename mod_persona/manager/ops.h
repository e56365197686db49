/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file ops.h
 * @brief What is answered on the two sockets; the operations are in pool/ipc.h.
 *
 * On the control socket, beside those: `drain` takes {"persona": id} or {"compute": name} or {"all": true}, and
 * {"off": true} to fill the pools again, {"sessions": true} to end the sessions too (`all` implies it);
 * `refresh` {"persona": id}; `retire` {"instance": uuid, ["force": true]}; `end` {"session": S}; `reload`;
 * `history` {["user"], ["persona"], ["instance"], ["since": us], ["before": id, or with hours an hour],
 * ["limit": n], ["hours": true]} -> rows (as persona_history_read() gives them), more: bool, scope;
 * `explain` {"persona": id, ["at": us]}, see explain.h.
 */
#ifndef PERSONA_MANAGER_OPS_H
#define PERSONA_MANAGER_OPS_H

#include "pool/ipc.h"
#include "state.h"

/** persona_ipc_handler_cb; the baton is the manager. */
json_t *persona_ops_answer(void *manager, const persona_ipc_peer_t *peer, const json_t *request);

/** control.c: operations of the control socket, or NULL where it is none of them. */
json_t *persona_ops_control(persona_manager_t *m, const persona_ipc_peer_t *peer, const char *op,
                            const json_t *request, apr_pool_t *p);

/** Answers; `catalog` is added by persona_ops_answer(). */
json_t *persona_ops_status(const char *status, const char *reason);
/** A member that is a string of at most `max` bytes; NULL otherwise. */
const char *persona_ops_text(const json_t *request, const char *name, size_t max);

#endif

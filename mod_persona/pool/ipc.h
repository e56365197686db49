/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file ipc.h
 * @brief Worker <-> personad: JSON messages over a unix socket.
 *
 * Wire: each message is a 4-byte big-endian length and so many bytes of JSON (an object), at most 1 MiB, or 64 MiB
 * for an answer, which may tell of ten thousand instances. The server speaks first: {"hello": 1, "versions": [MIN
 * ... N], "nonce": hex}. The client answers {"version": the highest that both speak, "mac": HMAC-SHA256(secret,
 * nonce)}, both in hexadecimal as they stand; a wrong mac, a version that was not offered, or a peer whose uid is
 * neither root nor the one that the server was told, is closed without a word. Then requests and answers alternate.
 * A request has "op"; an answer has "status": "ok" or a word, and "catalog": the version of the catalog in force.
 *
 * EVERY OPERATION IS IDEMPOTENT: the same request twice has the effect of one. So a caller that does not know
 * whether its request arrived may ask again; the client itself never repeats one that it has sent in full.
 *
 * Operations of the worker socket (members beside "op"; [x] may be absent):
 *   find     session | user, app | all  -> record, of the session or else of user and app | status "none",
 *            [looked]                      [ended: reason], with user: sessions: number of the user's. "looked": true:
 *                                          the index was asked for the session and has nothing of it
 *   assign   instance, compute, persona, session, user, roles, app, ticket, arrived, cold
 *                                       -> status "ok" + record | "no" + reason | "unknown"; "no" with "asked": false:
 *                                          no provider was called (PERSONA_ASSIGN_SKIP)
 *   claim    persona, session, user, roles, app, arrived      (the index does not answer)
 *                                       -> status "ok" + record | "wait" + progress
 *   demand   persona, session, [place]  -> status "ok" + progress: somebody waits; boot at once
 *   attach   session, instance, streams (number now open here), last_input (us, absolute), gateway child pid
 *                                       -> status "ok" | "none": ended. Sent at least every 10 s while attached
 *   end      session, user, reason      -> status "ok" | "none"
 *   condemn  session, instance, reason  -> status "ok": the manager looks itself and retires it if it is dead
 *   duplicate session, instance         -> status "ok": this claim lost by add(): retire the instance
 *   home     user, session, credential  -> status "ok" | "no": may this client read that user's home
 *   wait     session, for: "home"       -> status "ok" + record, when home is 2 or 3, at most 2 s
 *   visit    user, roles, [app]         -> status "ok": a page of the portal was seen
 *   sessions user                       -> sessions: [record...]
 *   catalog                             -> catalog_json (persona_catalog_to_json), stale, errors
 *   status   [user]                     -> the status document (see status.h of the manager)
 * progress: {"stage": "queued"|"creating"|"booting"|"probing"|"failing"|"no-capacity", "ready": n, "creating": n,
 *   "place": n (in line, from 1; absent: not known), "eta": {"p10": s, "p50": s, "p90": s} | null,
 *   "reason": text | null}
 *   `eta`: the rest of the wait is below these in 10, 50 and 90 of 100 cases; null: nothing is known of it. `place` of
 *   `demand`: that in the index, 0: not known; without it that among those who told this manager.
 * The control socket (personactl; root or the manager's user, by SO_PEERCRED, no mac) has also:
 *   drain {persona|compute|all}, refresh {persona}, retire {instance, [force]}, end {session}, audit, reload,
 *   history (see ops.h of the manager)
 */
#ifndef PERSONA_POOL_IPC_H
#define PERSONA_POOL_IPC_H

#include <sys/types.h>

#include "persona.h"

#define PERSONA_IPC_VERSION 1
/** Oldest version that is served: the one before, once there is one. Workers outlive a graceful by hours. */
#define PERSONA_IPC_VERSION_MIN (PERSONA_IPC_VERSION > 1 ? PERSONA_IPC_VERSION - 1 : 1)
#define PERSONA_IPC_MESSAGE_MAX (1024 * 1024)
#define PERSONA_IPC_ANSWER_MAX (64 * 1024 * 1024)

/* ---- client ---- */

typedef struct persona_ipc_t persona_ipc_t;

/** A client for all threads of a process: keeps idle connections and opens more as needed (at most 64).
 * `secret` is hexadecimal; NULL: the control socket. */
apr_status_t persona_ipc_create(persona_ipc_t **ipc, const char *path, const char *secret, apr_pool_t *p);
/** Ask and wait for the answer, at most until the deadline (absolute). The request's reference is kept by the
 * caller; *answer is a new reference. A connection that broke before the whole request was written, and a
 * refused connect, are tried again until the deadline. APR_TIMEUP: no answer in time; APR_INCOMPLETE: the
 * connection broke after the request was sent, before the deadline: in both cases it may have been carried out.
 * APR_EINVAL: the request is longer than a message may be. Any other: it was not carried out. */
apr_status_t persona_ipc_call(persona_ipc_t *ipc, const json_t *request, json_t **answer, apr_time_t deadline);

/* ---- server ---- */

typedef struct persona_ipc_peer_t {
    int control;   /**< came over the control socket */
    int version;   /**< that was agreed on in the hello */
    pid_t pid;
    uid_t uid;
} persona_ipc_peer_t;

/** Answers one request: returns a new reference; NULL closes the connection. Called by many threads. `peer` is
 * valid during the call. */
typedef json_t *persona_ipc_handler_cb(void *baton, const persona_ipc_peer_t *peer, const json_t *request);

typedef struct persona_ipc_server_t persona_ipc_server_t;

/** Serve a listening socket with at most `threads` requests under way at once; the socket stays the caller's and
 * becomes non-blocking. `uid`: who may connect beside root. `secret` NULL: control socket. No peer can hold a
 * thread: messages are read and written as bytes come, and one that stays incomplete for 10 s is closed. */
apr_status_t persona_ipc_serve(persona_ipc_server_t **server, int listen_fd, const char *secret, uid_t uid,
                               int threads, persona_ipc_handler_cb *handler, void *baton, apr_pool_t *p);
/** Stop accepting, let running requests finish and their answers leave (at most `grace`), close. Call it once,
 * and before the pool goes; returns APR_TIMEUP where handlers still ran: then the pool MUST outlive the process. */
apr_status_t persona_ipc_stop(persona_ipc_server_t *server, apr_interval_time_t grace);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file hook.h
 * @brief The assign hook: how an instance learns whose it is.
 *
 * Wire: POST http://INSTANCE:home_port<home_hook>, Content-Type application/json, body
 *   {"version": 1, "op": "assign" | "release", "instance": uuid, "session": S, "user": name, "roles": [..],
 *    "app": id, "issued": seconds, "home": {"url": .., "username": S, "password": ..}}     (home: op assign only)
 * and the header X-Persona-Signature: sha256=HEX, HMAC-SHA256 of the body under the instance's own hook key. That
 * key is HMAC(site key for purpose "hook", instance uuid), hexadecimal; the instance gets it at its creation as
 * PERSONA_HOOK_KEY beside PERSONA_INSTANCE. An instance answers 403 to another signature; while the site has two keys
 * it is then asked with the other one. The instance answers 200 when the home is there (assign; again for
 * the same session: 200 at once; another session: 409) or written back (release), else 4xx/5xx and
 * {"error": sentence}. The home's password is HMAC(site key for purpose "home", S + "\n" + user): the manager
 * says yes to it only while S is assigned to that user. home.url is the folder of this one person: PersonaHomeURL,
 * persona_text_folder(user), and "/".
 */
#ifndef PERSONA_MANAGER_HOOK_H
#define PERSONA_MANAGER_HOOK_H

#include "persona.h"

typedef struct persona_hook_t {
    const char *address; /**< numeric */
    int port;
    const char *path;
    const char *keys[2]; /**< hook key of the instance, made with the one site key or the other; [1] may be NULL */
    const char *instance, *session, *user, *app;
    const apr_array_header_t *roles;
    const char *home_url, *home_password; /**< NULL: op release */
} persona_hook_t;

/** Once in the process, before there is a second thread. */
void persona_hook_init(void);
/** Blocks until the instance answered, at most `timeout`. */
apr_status_t persona_hook_call(const persona_hook_t *hook, apr_interval_time_t timeout,
                               persona_result_t *res, apr_pool_t *p);

#endif

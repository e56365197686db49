/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file pass.h
 * @brief What lets a browser into the host of one session: a signed word that names user, session and portal.
 *
 * The portal hands out a ticket in a redirect, good for a minute; the session's host takes it for a cookie of its own,
 * good for half a day. Both are the same word with another purpose. Neither is the session's token, which stays with
 * the portal's host. A pass opens nothing by itself: the session must exist, and be this user's.
 */
#ifndef PERSONA_GATEWAY_PASS_H
#define PERSONA_GATEWAY_PASS_H

#include "persona.h"

#define PERSONA_PASS_COOKIE "persona_pass"
/** Longest that is read, and that is made: a cookie and a URL must hold it. */
#define PERSONA_PASS_MAX 3500
#define PERSONA_LABEL_LEN 33

typedef enum { PERSONA_PASS_TICKET, PERSONA_PASS_HOST } persona_pass_e;

typedef struct persona_pass_t {
    const char *session; /**< S */
    const char *user;    /**< "": httpd knows nobody */
    const char *portal;  /**< URL of the portal, such as "https://gw.example.org/apps/" */
    const char *place;   /**< where in the application to go first, with its query; "": its start */
} persona_pass_t;

/** The label of a session's host: what stands for the `*` of PersonaSessionHost. Tells nothing of S. */
void persona_pass_label(const char *session, char label[PERSONA_LABEL_LEN]);
/** The word, of characters that a cookie and a query may hold; signed under `key` (hexadecimal). `place` is left out
 * where it would become too long. */
const char *persona_pass_make(persona_pass_e purpose, const persona_pass_t *pass, const char *key, apr_time_t now,
                              apr_pool_t *p);
/** What a word says if it was signed with one of two keys (either may be NULL), for this purpose and this label, and
 * its time is not over. NULL otherwise. */
persona_pass_t *persona_pass_read(persona_pass_e purpose, const char *word, const char *label,
                                  const char *const keys[2], apr_time_t now, apr_pool_t *p);
/** The same of a Cookie header (NULL: none): the first cookie that is good counts, since pages of the host can add
 * others of its name. */
persona_pass_t *persona_pass_of_cookies(const char *header, const char *label, const char *const keys[2],
                                        apr_time_t now, apr_pool_t *p);

#endif

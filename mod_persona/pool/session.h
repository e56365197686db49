/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file session.h
 * @brief Sessions in the shared index: the record of a session, and who has which.
 *
 * The browser holds T; S = SHA-256(T) is the session everywhere else. For an authenticated user a second
 * entry leads from (user, app) to S, so that a second browser of the same user finds the same session.
 */
#ifndef PERSONA_POOL_SESSION_H
#define PERSONA_POOL_SESSION_H

#include "pool.h"

/** S of a token. */
void persona_session_id(const char *token, char session[PERSONA_SESSION_LEN]);
/** S of an API client that keeps no cookie: keyed by user and app, and by a nonce of the site's record key so
 * that nobody can compute it from outside. */
void persona_session_api_id(const persona_index_t *index, const char *user, const char *app,
                            char session[PERSONA_SESSION_LEN]);

/** The record of S. APR_NOTFOUND; APR_EACCES: there is one, but it was forged. An expired lease is returned
 * as it is: look at `expires`. */
apr_status_t persona_session_get(persona_index_t *index, const char *session, persona_record_t **record,
                                 apr_pool_t *p);
/** The record of S and the note of why S ended in one question; NULL: there is none, or it was forged. */
apr_status_t persona_session_look(persona_index_t *index, const char *session, persona_record_t **record,
                                  const char **ended, apr_pool_t *p);
/** S of (user, app), or APR_NOTFOUND. */
apr_status_t persona_session_of_user(persona_index_t *index, const char *user, const char *app,
                                     const char **session, apr_pool_t *p);
/** Add the record, and the entry of (user, app) where user is not "". APR_EEXIST: another came first, *winner
 * is its record (of this S, or of the same user and app). */
apr_status_t persona_session_add(persona_index_t *index, const persona_record_t *record,
                                 persona_record_t **winner, apr_pool_t *p);
/** Write the record with its new lease; by managers. */
apr_status_t persona_session_renew(persona_index_t *index, const persona_record_t *record, apr_pool_t *p);
/** Remove the record and the user's entry, and leave a note of why for an hour, of the session and of the instance:
 * by managers. */
apr_status_t persona_session_remove(persona_index_t *index, const persona_record_t *record, const char *reason,
                                    apr_pool_t *p);
/** Why S ended, or APR_NOTFOUND. */
apr_status_t persona_session_ended(persona_index_t *index, const char *session, const char **reason,
                                   apr_pool_t *p);
/** Why the session that had this instance ended, or APR_NOTFOUND. */
apr_status_t persona_session_instance_over(persona_index_t *index, const char *instance, const char **reason,
                                           apr_pool_t *p);

#endif

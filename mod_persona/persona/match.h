/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file match.h
 * @brief Which persona is best for this user and this application.
 *
 * Of the app's personas: the highest affinity with one of the user's roles wins, then the persona's
 * own order. Where no role has an affinity: the app's first persona without roles. None: the
 * default profile.
 */
#ifndef PERSONA_MATCH_H
#define PERSONA_MATCH_H

#include "catalog.h"

/** The roles in a comma-separated list; blanks around a role are dropped, blanks inside belong
 * to it. */
apr_array_header_t *persona_roles_parse(const char *list, apr_pool_t *p);
/** The persona, or NULL where not even a default exists. `why` (may be NULL) gets one sentence. */
const persona_t *persona_match(const persona_catalog_t *catalog, const char *app_id,
                               const apr_array_header_t *roles, const char **why, apr_pool_t *p);
/** One line for each candidate with its score and what came of it: for `personactl match`. */
const char *persona_match_explain(const persona_catalog_t *catalog, const char *app_id,
                                  const apr_array_header_t *roles, apr_pool_t *p);

#endif

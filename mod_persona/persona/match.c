/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file match.c
 * @brief Which persona is best for this user and this application.
 */
#include <string.h>

#include <apr_strings.h>

#include "match.h"
#include "text.h"

/** More roles than this are passed over: a user has a handful. */
#define ROLES_MAX 256

apr_array_header_t *persona_roles_parse(const char *list, apr_pool_t *p)
{
    apr_array_header_t *roles = apr_array_make(p, 8, sizeof(const char *));

    while (list && roles->nelts < ROLES_MAX) {
        const char *comma = strchr(list, ','), *end = comma ? comma : list + strlen(list);

        while (list < end && strchr(" \t", *list)) {
            list++;
        }
        while (end > list && strchr(" \t", end[-1])) {
            end--;
        }
        if (end > list && end - list <= PERSONA_USER_MAX) {
            APR_ARRAY_PUSH(roles, const char *) = apr_pstrmemdup(p, list, (apr_size_t)(end - list));
        }
        list = comma ? comma + 1 : NULL;
    }
    return roles;
}

/** The affinity of highest weight with one of the roles; NULL: none. */
static const persona_affinity_t *best_affinity(const persona_t *persona,
                                               const apr_array_header_t *roles)
{
    const persona_affinity_t *best = NULL;

    for (int i = 0; i < persona->affinity->nelts; i++) {
        const persona_affinity_t *affinity =
            &APR_ARRAY_IDX(persona->affinity, i, persona_affinity_t);

        if (best && affinity->weight <= best->weight) {
            continue;
        }
        for (int r = 0; r < roles->nelts; r++) {
            if (strcmp(APR_ARRAY_IDX(roles, r, const char *), affinity->role) == 0) {
                best = affinity;
                break;
            }
        }
    }
    return best;
}

static int is_candidate(const persona_t *persona, const char *app_id)
{
    return !persona->is_default && strcmp(persona->app_id, app_id) == 0;
}

const persona_t *persona_match(const persona_catalog_t *catalog, const char *app_id,
                               const apr_array_header_t *roles, const char **why, apr_pool_t *p)
{
    const persona_t *best = NULL, *open = NULL;
    const persona_affinity_t *affinity = NULL;
    const char *reason;

    /* Personas of one app stand in their own order, so the first of equals wins. */
    for (int i = 0; i < catalog->personas->nelts; i++) {
        const persona_t *persona = APR_ARRAY_IDX(catalog->personas, i, const persona_t *);
        const persona_affinity_t *found;

        if (!is_candidate(persona, app_id)) {
            continue;
        }
        found = best_affinity(persona, roles);
        if (found && (!affinity || found->weight > affinity->weight)) {
            best = persona;
            affinity = found;
        }
        if (!open && persona->affinity->nelts == 0) {
            open = persona;
        }
    }
    if (best) {
        reason = apr_psprintf(p, "its affinity with the role %s is the highest (%s)",
                              persona_text_quote(affinity->role, p),
                              persona_text_number(affinity->weight, p));
    }
    else if ((best = open)) {
        reason = "no role of the user has an affinity, and this persona suits anybody";
    }
    else if ((best = catalog->fallback)) {
        reason = "no persona of the application suits the user, so the default profile serves";
    }
    else {
        reason = "no persona of the application suits the user, and there is no default.json";
    }
    if (why) {
        *why = reason;
    }
    return best;
}

static const char *candidate_line(const persona_t *persona, const apr_array_header_t *roles,
                                  const persona_t *chosen, apr_pool_t *p)
{
    const persona_affinity_t *affinity = best_affinity(persona, roles);
    const char *score;

    if (persona->is_default) {
        score = "default profile: for whom nothing else suits";
    }
    else if (affinity) {
        score = apr_psprintf(p, "affinity %s by role %s, order %d",
                             persona_text_number(affinity->weight, p),
                             persona_text_quote(affinity->role, p), persona->order);
    }
    else if (persona->affinity->nelts == 0) {
        score = apr_psprintf(p, "suits anybody, order %d", persona->order);
    }
    else {
        score = "no role of the user has an affinity";
    }
    return apr_psprintf(p, "%s %s: %s", persona == chosen ? "*" : " ", persona->id, score);
}

const char *persona_match_explain(const persona_catalog_t *catalog, const char *app_id,
                                  const apr_array_header_t *roles, apr_pool_t *p)
{
    const char *why, *text = "";
    const persona_t *chosen = persona_match(catalog, app_id, roles, &why, p);

    for (int i = 0; i < catalog->personas->nelts; i++) {
        const persona_t *persona = APR_ARRAY_IDX(catalog->personas, i, const persona_t *);

        if (is_candidate(persona, app_id)) {
            text = apr_pstrcat(p, text, candidate_line(persona, roles, chosen, p), "\n", NULL);
        }
    }
    if (catalog->fallback) {
        text =
            apr_pstrcat(p, text, candidate_line(catalog->fallback, roles, chosen, p), "\n", NULL);
    }
    return apr_pstrcat(p, text, chosen ? chosen->id : "none", ": ", why, "\n", NULL);
}

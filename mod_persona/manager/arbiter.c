/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file arbiter.c
 * @brief Decisions of all managers, kept by fences.
 */
#include <string.h>

#include <apr_strings.h>

#include "arbiter.h"
#include "assign.h"

/** With the lock: does some instance of this session hold the decision? */
static int is_of_one(persona_manager_t *m, const char *session, const char *name, const char *token, apr_pool_t *p)
{
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(p, m->entries); hi; hi = apr_hash_next(hi)) {
        const persona_entry_t *e = apr_hash_this_val(hi);

        if (!strcmp(e->session, session) && !strcmp(token, persona_fence_token(e->uuid, name, p))) {
            return 1;
        }
    }
    return 0;
}

const char *persona_arbiter_keep(persona_manager_t *m, const char *session, const char *first, const char *second,
                                 apr_pool_t *p)
{
    const char *name = apr_pstrcat(p, PERSONA_ARBITER_SESSION, session, NULL), *token = NULL;
    persona_compute_t *c = persona_home_site(m)->compute; /* of no instance: the two may be at different computes */
    persona_result_t res = {0};
    apr_status_t status = c->provider->fence(c, name, first, &res, p);
    int known;

    if (status == APR_SUCCESS) {
        return first;
    }
    if (status != APR_EEXIST || c->provider->fence_holder(c, name, &token, &res, p) != APR_SUCCESS) {
        return NULL;
    }
    if (!strcmp(token, persona_fence_token(second, name, p))) {
        return second;
    }
    persona_manager_lock(m);
    known = is_of_one(m, session, name, token, p);
    persona_manager_unlock(m);
    if (!known) {
        c->provider->unfence(c, name, token, &res, p); /* of an instance that the session had long ago */
    }
    return NULL;
}

apr_status_t persona_arbiter_name(persona_site_t *site, const char *uuid, const char *who, apr_pool_t *p)
{
    persona_result_t res = {0};

    return site->compute->provider->fence(site->compute, apr_pstrcat(p, PERSONA_ARBITER_NAMED, uuid, NULL), who, &res,
                                          p);
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file compute.c
 * @brief The table of compute providers, and what all of them share: the words for an instance's state, and
 * the token by which a fence names its winner.
 *
 * The table is written before the first thread exists (persona_compute_register() is for tests) and only
 * read after that.
 */
#include <string.h>

#include <apr_strings.h>

#include "compute/docker/docker.h"
#include "compute/libvirt.h"
#include "persona/digest.h"
#include "persona/settings.h"
#include "persona_compute.h"

#define PROVIDERS_MAX 8

static const persona_compute_provider_t *providers[PROVIDERS_MAX + 1] = {&persona_docker_provider,
                                                                         &persona_libvirt_provider};

static const char *const state_names[] = {"creating", "ready", "assigned", "retiring", "gone"};

const persona_compute_provider_t *persona_compute_provider(const char *name)
{
    for (int i = 0; providers[i]; ++i) {
        if (!strcmp(providers[i]->name, name)) {
            return providers[i];
        }
    }
    return NULL;
}

const char *persona_compute_names(apr_pool_t *p)
{
    const char *text = "";

    for (int i = 0; providers[i]; ++i) {
        text = apr_pstrcat(p, text, i ? ", " : "", providers[i]->name, NULL);
    }
    return text;
}

void persona_compute_register(const persona_compute_provider_t *provider)
{
    for (int i = 0; i < PROVIDERS_MAX; ++i) {
        if (!providers[i] || !strcmp(providers[i]->name, provider->name)) {
            providers[i] = provider;
            return;
        }
    }
}

static const char *const limit_names[PERSONA_LIMITS] = {"cpus", "memory", "gpus", "instances"};

int persona_compute_limit(const char *option)
{
    for (int i = 0; i < PERSONA_LIMITS; ++i) {
        if (!strcmp(option, limit_names[i])) {
            return 1;
        }
    }
    return 0;
}

const char *persona_compute_limits(const persona_compute_conf_t *conf, double limits[PERSONA_LIMITS], apr_pool_t *p)
{
    for (int i = 0; i < PERSONA_LIMITS; ++i) {
        const char *text = conf->options ? apr_table_get(conf->options, limit_names[i]) : NULL, *wrong;
        apr_int64_t value = 0;

        limits[i] = -1;
        if (!text) {
            continue;
        }
        wrong = persona_size_parse(text, &value, p);
        if (i != PERSONA_LIMIT_MEMORY && (wrong || strspn(text, "0123456789") != strlen(text) || value > 1000000)) {
            return apr_psprintf(p, "%s=%s: must be a whole number up to 1000000, such as %s=16", limit_names[i], text,
                                limit_names[i]);
        }
        if (wrong) {
            return apr_psprintf(p, "%s=%s: %s", limit_names[i], text, wrong);
        }
        limits[i] = (double)value;
    }
    return NULL;
}

const char *persona_instance_state_name(persona_instance_e state)
{
    return (unsigned)state < sizeof(state_names) / sizeof(state_names[0]) ? state_names[state] : "unknown";
}

apr_status_t persona_instance_state_parse(const char *word, persona_instance_e *state)
{
    for (unsigned i = 0; i < sizeof(state_names) / sizeof(state_names[0]); ++i) {
        if (!strcmp(word, state_names[i])) {
            *state = (persona_instance_e)i;
            return APR_SUCCESS;
        }
    }
    return APR_EINVAL;
}

const char *persona_fence_token(const char *session, const char *name, apr_pool_t *p)
{
    /* The space of names that are not uuids themselves. Random, fixed for ever. */
    static const char names_space[] = "c2356a78-3d37-48b9-b603-e09e73018a9d";
    const char *space = persona_uuid_valid(name) ? name : persona_uuid_v5(names_space, name, p);

    return persona_uuid_v5(space, session, p);
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file check.c
 * @brief Settings and personas held against the providers, before anything runs.
 */
#include <string.h>

#include <apr_strings.h>

#include "check.h"
#include "database.h"
#include "persona/catalog.h"
#include "persona/dates.h"

static const persona_compute_conf_t *find_compute(const persona_settings_t *settings,
                                                  const char *name)
{
    int i;

    for (i = 0; i < settings->computes->nelts; i++) {
        const persona_compute_conf_t *conf =
            &APR_ARRAY_IDX(settings->computes, i, persona_compute_conf_t);

        if (!strcmp(conf->name, name)) {
            return conf;
        }
    }
    return NULL;
}

static const char *compute_names(const persona_settings_t *settings, apr_pool_t *p)
{
    const char *names = "";
    int i;

    for (i = 0; i < settings->computes->nelts; i++) {
        names =
            apr_pstrcat(p, names, i ? ", " : "",
                        APR_ARRAY_IDX(settings->computes, i, persona_compute_conf_t).name, NULL);
    }
    return *names ? names : "none";
}

static const char *check_compute(const persona_compute_conf_t *conf, apr_pool_t *p)
{
    const persona_compute_provider_t *provider = persona_compute_provider(conf->provider);
    double limits[PERSONA_LIMITS];
    const char *wrong;

    if (!provider) {
        return apr_psprintf(p, "there is no provider \"%s\"; this build has %s", conf->provider,
                            persona_compute_names(p));
    }
    wrong = persona_compute_limits(conf, limits, p);
    return !wrong && provider->check_conf ? provider->check_conf(conf, p) : wrong;
}

static const char *check_persona(const persona_settings_t *settings, const persona_t *persona,
                                 apr_pool_t *p)
{
    const persona_compute_conf_t *conf = find_compute(settings, persona->environment.compute);
    const persona_compute_provider_t *provider;

    if (!conf) {
        return apr_psprintf(p,
                            "$.execution_environment.compute: there is no PersonaCompute \"%s\"; "
                            "the configuration has %s",
                            persona->environment.compute, compute_names(settings, p));
    }
    provider = persona_compute_provider(conf->provider);
    return provider && provider->check_persona ? provider->check_persona(conf, persona, p) : NULL;
}

/** Without PersonaSessionHost a browser takes the pages of an http stream for the portal's. */
static void warn_of_origin(const persona_t *persona, FILE *out)
{
    if (persona->environment.stream == PERSONA_STREAM_HTTP) {
        fprintf(out,
                PERSONA_CHECK_WARNING
                "%s: persona \"%s\" has an http stream, which is served from the portal's own origin: "
                "a page of its instances can act as its user at this gateway; set PersonaSessionHost, give it a "
                "vnc stream, or only applications that you trust as the portal itself\n",
                persona->file, persona->id);
    }
}

/** A directive that somebody wrote must be right; where nobody did, a site goes on without a history. */
static int check_database(const persona_settings_t *settings, FILE *out, apr_pool_t *p)
{
    const char *problem;

    if (!settings->database || !settings->database_params) {
        return 0;
    }
    if (!settings->database_chosen) {
        problem = persona_database_driver_check(settings->database, p);
        if (problem) {
            fprintf(out, PERSONA_CHECK_WARNING "no history will be written: %s\n", problem);
        }
        return 0;
    }
    problem = persona_database_check(settings->database, settings->database_params, settings->manager_user,
                                     settings->state_dir, p);
    if (problem) {
        fprintf(out, "PersonaDatabase: %s\n", problem);
    }
    return problem != NULL;
}

/** The site's known dates: the file itself, and the personas that it names. */
static int check_events(const persona_settings_t *settings, const persona_catalog_t *catalog, FILE *out, apr_pool_t *p)
{
    apr_array_header_t *errors = apr_array_make(p, 4, sizeof(persona_error_t)), *events;
    int i, k, count;

    events = persona_dates_load(settings->event_file, errors, p);
    count = errors->nelts;
    for (i = 0; i < errors->nelts; i++) {
        fprintf(out, "PersonaEventFile %s\n", persona_error_text(&APR_ARRAY_IDX(errors, i, persona_error_t), p));
    }
    for (i = 0; events && i < events->nelts; i++) {
        const apr_array_header_t *ids = APR_ARRAY_IDX(events, i, persona_date_t).personas;

        for (k = 0; ids && k < ids->nelts; k++) {
            const char *id = APR_ARRAY_IDX(ids, k, const char *);

            if (!persona_catalog_find(catalog, id)) {
                fprintf(out, "PersonaEventFile %s: $.events[%d].personas[%d]: there is no persona \"%s\"; give the "
                             "persona_id of a file in %s\n", settings->event_file, i, k, id, settings->directory);
                count++;
            }
        }
    }
    return count;
}

int persona_manager_check(const persona_settings_t *settings, FILE *out, apr_pool_t *p)
{
    persona_catalog_t *catalog;
    const char *problem;
    int i, count = check_database(settings, out, p);

    for (i = 0; i < settings->computes->nelts; i++) {
        const persona_compute_conf_t *conf =
            &APR_ARRAY_IDX(settings->computes, i, persona_compute_conf_t);

        problem = check_compute(conf, p);
        if (problem) {
            fprintf(out, "PersonaCompute %s: %s\n", conf->name, problem);
            count++;
        }
    }
    if (persona_catalog_read(&catalog, settings->directory, NULL) != APR_SUCCESS) {
        fprintf(out, "%s cannot be read\n", settings->directory);
        return count + 1;
    }
    for (i = 0; i < catalog->errors->nelts; i++) {
        fprintf(out, "%s\n",
                persona_error_text(&APR_ARRAY_IDX(catalog->errors, i, persona_error_t), p));
    }
    count += catalog->errors->nelts;
    for (i = 0; i < catalog->personas->nelts; i++) {
        const persona_t *persona = APR_ARRAY_IDX(catalog->personas, i, const persona_t *);

        problem = check_persona(settings, persona, p);
        if (problem) {
            fprintf(out, "%s: %s\n", persona->file, problem);
            count++;
        }
        if (!settings->session_host) {
            warn_of_origin(persona, out);
        }
    }
    if (settings->event_file) {
        count += check_events(settings, catalog, out, p);
    }
    persona_catalog_release(catalog);
    return count;
}

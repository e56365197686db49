/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file catalog.c
 * @brief personactl check, match and keys: what a persona folder says.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

#include "persona/catalog.h"
#include "persona/dates.h"
#include "persona/keys.h"
#include "persona/match.h"
#include "persona/text.h"
#include "tool.h"

static void print_errors(const persona_catalog_t *catalog, const char *dir, apr_pool_t *p)
{
    for (int i = 0; i < catalog->errors->nelts; i++) {
        persona_error_t error = APR_ARRAY_IDX(catalog->errors, i, persona_error_t);

        if (strcmp(error.file, dir) != 0) {
            error.file = apr_pstrcat(p, dir, "/", error.file, NULL);
        }
        fprintf(stderr, "%s\n", persona_error_text(&error, p));
    }
}

/** The site's known dates, where they lie in the folder: their errors are added to the catalog's. */
static void check_events(persona_catalog_t *catalog, const char *dir, apr_pool_t *p)
{
    const char *path = apr_pstrcat(p, dir, "/events.json", NULL);
    apr_array_header_t *errors = apr_array_make(p, 4, sizeof(persona_error_t));

    if (access(path, F_OK) != 0) {
        return;
    }
    persona_dates_load(path, errors, p);
    for (int i = 0; i < errors->nelts; i++) {
        persona_error_t *error = &APR_ARRAY_IDX(errors, i, persona_error_t);

        error->file = "events.json";
        APR_ARRAY_PUSH(catalog->errors, persona_error_t) = *error;
    }
}

static json_t *errors_to_json(const persona_catalog_t *catalog)
{
    json_t *list = json_array();

    for (int i = 0; i < catalog->errors->nelts; i++) {
        const persona_error_t *error = &APR_ARRAY_IDX(catalog->errors, i, persona_error_t);

        json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:s?, s:s}", "file", error->file,
                                              "line", error->line, "column", error->column, "path",
                                              error->path, "message", error->message));
    }
    return list;
}

static json_t *personas_to_json(const persona_catalog_t *catalog)
{
    json_t *list = json_array();

    for (int i = 0; i < catalog->personas->nelts; i++) {
        const persona_t *persona = APR_ARRAY_IDX(catalog->personas, i, const persona_t *);

        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "persona_id", persona->id,
                                              "app_id", persona->app_id, "file", persona->file,
                                              "fingerprint", persona->fingerprint));
    }
    return list;
}

static int check(const persona_tool_args_t *args, apr_pool_t *p)
{
    const char *dir = APR_ARRAY_IDX(args->words, 0, const char *);
    persona_catalog_t *catalog;
    int problems;

    if (persona_catalog_read(&catalog, dir, NULL) != APR_SUCCESS) {
        fputs("personactl: out of memory\n", stderr);
        return PERSONA_TOOL_PROBLEMS;
    }
    check_events(catalog, dir, p);
    problems = catalog->errors->nelts;
    if (args->json) {
        persona_tool_print(json_pack("{s:o, s:o}", "personas", personas_to_json(catalog), "errors",
                                     errors_to_json(catalog)));
    }
    else {
        print_errors(catalog, dir, p);
        printf("%s: %d persona%s good, %d problem%s\n", dir, catalog->personas->nelts,
               catalog->personas->nelts == 1 ? "" : "s", problems, problems == 1 ? "" : "s");
        if (problems == 0 && !catalog->fallback) {
            puts("note: there is no default.json, so a user whom no persona suits is turned away");
        }
    }
    persona_catalog_release(catalog);
    return problems ? PERSONA_TOOL_PROBLEMS : PERSONA_TOOL_OK;
}

/** A hint where no persona has this app_id. */
static void hint_app(const persona_catalog_t *catalog, const char *app, apr_pool_t *p)
{
    apr_array_header_t *apps = apr_array_make(p, 16, sizeof(const char *));
    const char *nearest;

    for (int i = 0; i < catalog->personas->nelts; i++) {
        APR_ARRAY_PUSH(apps, const char *) =
            APR_ARRAY_IDX(catalog->personas, i, const persona_t *)->app_id;
        if (strcmp(APR_ARRAY_IDX(apps, i, const char *), app) == 0) {
            return;
        }
    }
    APR_ARRAY_PUSH(apps, const char *) = NULL;
    nearest = persona_text_nearest(app, (const char *const *)apps->elts);
    fprintf(stderr, "note: no persona has the app_id %s%s%s%s\n", persona_text_quote(app, p),
            nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

static int match(const persona_tool_args_t *args, apr_pool_t *p)
{
    const char *dir = apr_table_get(args->options, "dir"),
               *app = apr_table_get(args->options, "app");
    const char *user = apr_table_get(args->options, "user"), *why;
    const apr_array_header_t *roles = persona_roles_parse(apr_table_get(args->options, "roles"), p);
    persona_catalog_t *catalog;
    const persona_t *chosen;

    if (!dir || !app) {
        return persona_tool_usage("match needs --dir and --app; --help tells more");
    }
    if (persona_catalog_read(&catalog, dir, NULL) != APR_SUCCESS) {
        fputs("personactl: out of memory\n", stderr);
        return PERSONA_TOOL_PROBLEMS;
    }
    print_errors(catalog, dir, p);
    hint_app(catalog, app, p);
    chosen = persona_match(catalog, app, roles, &why, p);
    if (args->json) {
        persona_tool_print(json_pack("{s:s?, s:s, s:s?, s:s}", "user", user, "app_id", app,
                                     "persona_id", chosen ? chosen->id : NULL, "why", why));
    }
    else {
        printf("user %s with %d role%s, application %s:\n%s",
               user ? persona_text_quote(user, p) : "(any)", roles->nelts,
               roles->nelts == 1 ? "" : "s", persona_text_quote(app, p),
               persona_match_explain(catalog, app, roles, p));
    }
    persona_catalog_release(catalog);
    return chosen ? PERSONA_TOOL_OK : PERSONA_TOOL_PROBLEMS;
}

static void print_key(void *baton, const char *path, const persona_key_t *key)
{
    (void)baton;
    printf("%s%s\n", path, key->required ? " required" : "");
}

static int keys(const persona_tool_args_t *args, apr_pool_t *p)
{
    (void)args;
    persona_keys_walk(print_key, NULL, p);
    return PERSONA_TOOL_OK;
}

static const apr_getopt_option_t check_options[] = {PERSONA_TOOL_JSON, {NULL, 0, 0, NULL}};
static const apr_getopt_option_t match_options[] = {
    {"dir", 'd', 1, "DIR: the folder with the personas"},
    {"app", 'a', 1, "APP: the app_id that is asked for"},
    {"user", 'u', 1, "USER: for whom; only shown, since roles decide"},
    {"roles", 'r', 1, "LIST: the user's roles, separated by commas"},
    PERSONA_TOOL_JSON,
    {NULL, 0, 0, NULL},
};
static const apr_getopt_option_t no_options[] = {{NULL, 0, 0, NULL}};

const persona_command_t persona_commands_catalog[] = {
    {"check", "DIR", "Check every persona file of a folder, and tell everything wrong with it.",
     "Problems go to standard error as FILE:LINE:COLUMN: JSON-PATH: what is wrong, and what would\n"
     "be right. httpd -t and a running gateway find the same.",
     1, 1, check_options, 0, check},
    {"match", "", "Explain which persona a user gets for an application.",
     "Prints each persona of the application with its score, the best one marked with *, and why\n"
     "it was chosen.",
     0, 0, match_options, 0, match},
    {"keys", "", "List every key of a persona file.", NULL, 0, 0, no_options, 1, keys},
    {NULL, NULL, NULL, NULL, 0, 0, NULL, 0, NULL},
};

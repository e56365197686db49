/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file image.c
 * @brief personactl image build: has the image of a persona made from Debian packages.
 *
 * Several personas may share one os_image; its packages are those of all of them, so that building for one never
 * takes from another. The work is done by image/build, which this file only tells what to make.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_file_info.h>
#include <apr_strings.h>

#include "persona/catalog.h"
#include "persona/text.h"
#include "tool.h"

#define BUILDER PERSONA_DATADIR "/image/build"
#define PERSONAS_DEFAULT "/etc/apache2/personas"
#define IMAGES_DEFAULT "/var/lib/persona/images"
#define SOURCE_PREFIX "apt:"

static const apr_getopt_option_t build_options[] = {
    {"dir", 'd', 1, "the persona folder (default " PERSONAS_DEFAULT ")"},
    {"images", 'i', 1, "where images go: images= of the PersonaCompute (default " IMAGES_DEFAULT ")"},
    {"force", 'f', 0, "build also where nothing has changed, to take in Debian's updates"},
    {NULL, 0, 0, NULL}};

static void package_add(apr_array_header_t *argv, const char *name)
{
    for (int i = 0; i < argv->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(argv, i, const char *), name)) {
            return;
        }
    }
    APR_ARRAY_PUSH(argv, const char *) = name;
}

/** A Debian package name (Debian Policy 5.6.1); so it is no option either. */
static int package_valid(const char *name)
{
    if (!islower((unsigned char)*name) && !isdigit((unsigned char)*name)) {
        return 0;
    }
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789+-.")] == '\0';
}

/** The packages of `persona`; NULL, or what is wrong. */
static const char *packages_of(const persona_t *persona, apr_array_header_t *argv, apr_pool_t *p)
{
    apr_array_header_t *all = apr_array_copy(p, persona->environment.libraries);

    if (persona->source && !strncmp(persona->source, SOURCE_PREFIX, strlen(SOURCE_PREFIX))) {
        char *state, *list = apr_pstrdup(p, persona->source + strlen(SOURCE_PREFIX));

        for (char *name = apr_strtok(list, ", ", &state); name; name = apr_strtok(NULL, ", ", &state)) {
            APR_ARRAY_PUSH(all, const char *) = name;
        }
    }
    for (int i = 0; i < all->nelts; i++) {
        const char *name = APR_ARRAY_IDX(all, i, const char *);

        if (!package_valid(name)) {
            return apr_psprintf(p, "%s: %s is not the name of a Debian package", persona->file,
                                persona_text_quote(name, p));
        }
        package_add(argv, name);
    }
    return NULL;
}

/** Run argv in a process of its own; its exit status, or -1. */
static int run(const apr_array_header_t *argv)
{
    int status;
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        execv(APR_ARRAY_IDX(argv, 0, const char *), (char *const *)argv->elts);
        fprintf(stderr, "personactl: cannot run %s: %s\n", APR_ARRAY_IDX(argv, 0, const char *), strerror(errno));
        _exit(127);
    }
    if (child < 0) {
        return -1;
    }
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            return -1;
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const persona_t *find(const persona_catalog_t *catalog, const char *id)
{
    const persona_t *persona = persona_catalog_find(catalog, id);

    if (!persona && catalog->fallback && !strcmp(catalog->fallback->id, id)) {
        return catalog->fallback;
    }
    return persona;
}

static const char *image_of(const persona_t *persona)
{
    return persona->environment.os_image ? persona->environment.os_image : "";
}

/** The packages of every persona that has this image. */
static const char *packages_of_all(const persona_catalog_t *catalog, const char *image, apr_array_header_t *argv,
                                   apr_pool_t *p)
{
    const char *wrong = NULL;

    for (int i = 0; i < catalog->personas->nelts && !wrong; i++) {
        const persona_t *persona = APR_ARRAY_IDX(catalog->personas, i, const persona_t *);

        if (!strcmp(image_of(persona), image)) {
            wrong = packages_of(persona, argv, p);
        }
    }
    if (!wrong && catalog->fallback && !strcmp(image_of(catalog->fallback), image)) {
        wrong = packages_of(catalog->fallback, argv, p);
    }
    return wrong;
}

static int build_with(const persona_catalog_t *catalog, const persona_tool_args_t *args, const char *dir,
                      apr_pool_t *p)
{
    const char *id = APR_ARRAY_IDX(args->words, 0, const char *);
    const char *images = apr_table_get(args->options, "images"), *wrong;
    const persona_t *persona = find(catalog, id);
    apr_array_header_t *argv = apr_array_make(p, 32, sizeof(const char *));
    apr_array_header_t *packages = apr_array_make(p, 32, sizeof(const char *));

    if (!persona) {
        return persona_tool_usage("there is no good persona %s in %s; \"personactl check %s\" tells of the bad ones",
                                  persona_text_quote(id, p), dir, dir);
    }
    if (!persona->environment.os_image) {
        fprintf(stderr, "personactl: %s has no os_image: its instances run the image %s of its registry\n",
                persona->file, persona_text_quote(persona->source, p));
        return PERSONA_TOOL_PROBLEMS;
    }
    wrong = packages_of_all(catalog, persona->environment.os_image, packages, p);
    if (wrong) {
        fprintf(stderr, "personactl: %s\n", wrong);
        return PERSONA_TOOL_PROBLEMS;
    }
    APR_ARRAY_PUSH(argv, const char *) = BUILDER;
    APR_ARRAY_PUSH(argv, const char *) = "--images";
    APR_ARRAY_PUSH(argv, const char *) = images ? images : IMAGES_DEFAULT;
    if (apr_table_get(args->options, "force")) {
        APR_ARRAY_PUSH(argv, const char *) = "--force";
    }
    APR_ARRAY_PUSH(argv, const char *) = "--";
    APR_ARRAY_PUSH(argv, const char *) = persona->environment.os_image;
    apr_array_cat(argv, packages);
    APR_ARRAY_PUSH(argv, const char *) = NULL;
    return run(argv) == 0 ? PERSONA_TOOL_OK : PERSONA_TOOL_PROBLEMS;
}

static int build(const persona_tool_args_t *args, apr_pool_t *p)
{
    const char *dir = apr_table_get(args->options, "dir");
    persona_catalog_t *catalog;
    int status;

    dir = dir ? dir : PERSONAS_DEFAULT;
    if (persona_catalog_read(&catalog, dir, NULL) != APR_SUCCESS) {
        fputs("personactl: out of memory\n", stderr);
        return PERSONA_TOOL_PROBLEMS;
    }
    status = build_with(catalog, args, dir, p);
    persona_catalog_release(catalog);
    return status;
}

const persona_command_t persona_commands_image[] = {
    {.name = "image build", .words = "PERSONA", .summary = "make the image of a persona from Debian packages",
     .help = "The image has the packages in \"libraries\", and those in \"application_source\" where that says\n"
             "\"apt:PACKAGE,...\", of all personas that share its os_image. A name that ends in .qcow2 makes a\n"
             "virtual machine's image, any other a container's root. Where nothing has changed, nothing is done.",
     .words_min = 1, .words_max = 1, .options = build_options, .run = build},
    {.name = NULL}};

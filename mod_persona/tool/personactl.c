/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file personactl.c
 * @brief The shell's way to a persona gateway: finds the command, reads its options, and calls it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "persona/text.h"
#include "tool.h"

#define OPTION_HELP 'h'
#define OPTIONS_MAX 16

static const persona_command_t *const groups[] = {persona_commands_backtest, persona_commands_catalog,
                                                  persona_commands_control, persona_commands_explain,
                                                  persona_commands_image};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

int persona_tool_usage(const char *fmt, ...)
{
    va_list ap;

    fputs("personactl: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return PERSONA_TOOL_USAGE;
}

void persona_tool_print(json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(json);
}

static void help_all(void)
{
    puts("usage: personactl COMMAND [OPTION...]\n");
    for (apr_size_t g = 0; g < GROUPS; g++) {
        for (const persona_command_t *command = groups[g]; command->name; command++) {
            if (!command->hidden) {
                printf("  %-14s %s\n", command->name, command->summary);
            }
        }
    }
    puts("\n\"personactl COMMAND --help\" tells more.\n"
         "Exit status: 0 good, 1 problems found, 2 called wrongly.");
}

static void help_one(const persona_command_t *command)
{
    printf("usage: personactl %s%s%s [OPTION...]\n\n%s\n", command->name,
           *command->words ? " " : "", command->words, command->summary);
    if (command->help) {
        printf("\n%s\n", command->help);
    }
    puts("\noptions:");
    for (const apr_getopt_option_t *option = command->options; option->name; option++) {
        printf("  --%-12s %s\n", option->name, option->description);
    }
    puts("  --help         print this");
}

/** How many of argv[1..] the command's name takes; 0: it is another command. */
static int name_words(const persona_command_t *command, int argc, const char *const *argv)
{
    const char *blank = strchr(command->name, ' ');
    apr_size_t len = blank ? (apr_size_t)(blank - command->name) : strlen(command->name);

    if (argc < 2 || strncmp(argv[1], command->name, len) != 0 || argv[1][len]) {
        return 0;
    }
    if (!blank) {
        return 1;
    }
    return argc > 2 && strcmp(argv[2], blank + 1) == 0 ? 2 : 0;
}

static const persona_command_t *command_find(int argc, const char *const *argv, int *used)
{
    for (apr_size_t g = 0; g < GROUPS; g++) {
        for (const persona_command_t *command = groups[g]; command->name; command++) {
            *used = name_words(command, argc, argv);
            if (*used) {
                return command;
            }
        }
    }
    return NULL;
}

static int unknown_command(const char *name, apr_pool_t *p)
{
    const char *nearest;
    apr_array_header_t *names = apr_array_make(p, 16, sizeof(const char *));

    for (apr_size_t g = 0; g < GROUPS; g++) {
        for (const persona_command_t *command = groups[g]; command->name; command++) {
            if (!command->hidden) {
                APR_ARRAY_PUSH(names, const char *) = command->name;
            }
        }
    }
    APR_ARRAY_PUSH(names, const char *) = NULL;
    nearest = persona_text_nearest(name, (const char *const *)names->elts);
    return persona_tool_usage("unknown command %s; %s%s%s", persona_text_quote(name, p),
                              nearest ? "did you mean \"" : "\"personactl --help\" lists all",
                              nearest ? nearest : "", nearest ? "\"?" : "");
}

static void on_getopt_error(void *baton, const char *fmt, ...)
{
    va_list ap;

    (void)baton;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
}

/** 0: read; else *status is to be the exit status. */
static int read_args(const persona_command_t *command, int argc, const char *const *argv,
                     persona_tool_args_t *args, int *status, apr_pool_t *p)
{
    apr_getopt_option_t options[OPTIONS_MAX + 2];
    apr_getopt_t *getopt;
    const char *value;
    int n = 0, found;
    apr_status_t result;

    while (command->options[n].name && n < OPTIONS_MAX) {
        options[n] = command->options[n];
        n++;
    }
    options[n++] = (apr_getopt_option_t){"help", OPTION_HELP, 0, "print this"};
    options[n] = (apr_getopt_option_t){NULL, 0, 0, NULL};
    apr_getopt_init(&getopt, p, argc, argv);
    getopt->interleave = 1;
    getopt->errfn = on_getopt_error;
    while ((result = apr_getopt_long(getopt, options, &found, &value)) == APR_SUCCESS) {
        if (found == OPTION_HELP) {
            help_one(command);
            *status = PERSONA_TOOL_OK;
            return 1;
        }
        for (int i = 0; i < n; i++) {
            if (options[i].optch == found) {
                apr_table_set(args->options, options[i].name, value ? value : "");
            }
        }
    }
    while (getopt->ind < argc) {
        APR_ARRAY_PUSH(args->words, const char *) = getopt->argv[getopt->ind++];
    }
    if (result != APR_EOF || args->words->nelts < command->words_min ||
        args->words->nelts > command->words_max) {
        fprintf(stderr, "usage: personactl %s%s%s [OPTION...]; --help tells more\n", command->name,
                *command->words ? " " : "", command->words);
        *status = PERSONA_TOOL_USAGE;
        return 1;
    }
    args->json = apr_table_get(args->options, "json") != NULL;
    return 0;
}

static int run(int argc, const char *const *argv, apr_pool_t *p)
{
    persona_tool_args_t args = {apr_table_make(p, 4), apr_array_make(p, 4, sizeof(const char *)),
                                0};
    const persona_command_t *command;
    int used = 0, status = PERSONA_TOOL_OK;

    if (argc < 2) {
        help_all();
        return PERSONA_TOOL_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        help_all();
        return PERSONA_TOOL_OK;
    }
    command = command_find(argc, argv, &used);
    if (!command) {
        return unknown_command(argv[1], p);
    }
    if (read_args(command, argc - used, argv + used, &args, &status, p)) {
        return status;
    }
    return command->run(&args, p);
}

int main(int argc, const char *const *argv)
{
    apr_pool_t *p;
    int status;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return PERSONA_TOOL_PROBLEMS;
    }
    status = run(argc, argv, p);
    if (fflush(stdout) != 0 && status == PERSONA_TOOL_OK) {
        status = PERSONA_TOOL_PROBLEMS;
    }
    apr_terminate();
    return status;
}

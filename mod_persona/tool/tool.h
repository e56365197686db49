/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file tool.h
 * @brief personactl's commands: one file for each group of them, and a table of what they take.
 *
 * personactl.c finds the command, reads its options, answers --help, and calls run(). A new group
 * exports its own table, which is named in personactl.c.
 */
#ifndef PERSONA_TOOL_H
#define PERSONA_TOOL_H

#include <apr_getopt.h>

#include "persona.h"

/** Exit codes of every command. */
#define PERSONA_TOOL_OK       0
#define PERSONA_TOOL_PROBLEMS 1 /**< the command worked, and found or met problems */
#define PERSONA_TOOL_USAGE    2 /**< it was called wrongly */

typedef struct persona_tool_args_t {
    apr_table_t *options;      /**< by long name; "" for those without a value */
    apr_array_header_t *words; /**< of const char *: what is no option */
    int json;                  /**< --json was given */
} persona_tool_args_t;

typedef struct persona_command_t {
    const char *name;    /**< one word or two: "check", "image build". NULL ends the table */
    const char *words;   /**< what comes after it: "DIR" */
    const char *summary; /**< one line, for the list of commands */
    const char *help;    /**< more, for its own --help; NULL: none */
    int words_min, words_max;
    const apr_getopt_option_t *options; /**< beside --help; ends with a NULL name */
    int hidden;                         /**< not listed: for scripts of this project */
    int (*run)(const persona_tool_args_t *args, apr_pool_t *p);
} persona_command_t;

/** The option every command with JSON output has in its table. */
#define PERSONA_TOOL_JSON                                                                          \
    {                                                                                              \
        "json", 'j', 0, "print JSON"                                                               \
    }

/** The option of every command that asks the manager. */
#define PERSONA_TOOL_SOCKET                                                                        \
    {                                                                                              \
        "socket", 's', 1,                                                                          \
            "the manager's control socket: PersonaSocket with \".control\" behind it"              \
    }

/** The running manager's answer, or NULL: then it has been said what is wrong. Gives the request up. */
json_t *persona_tool_ask(const persona_tool_args_t *args, json_t *request, apr_pool_t *p);
/** Says on stderr that the command was called wrongly; gives PERSONA_TOOL_USAGE. */
int persona_tool_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** Prints `json` with a newline and gives it up. */
void persona_tool_print(json_t *json);

/* The groups. */
extern const persona_command_t persona_commands_backtest[];
extern const persona_command_t persona_commands_catalog[];
extern const persona_command_t persona_commands_control[];
extern const persona_command_t persona_commands_explain[];
extern const persona_command_t persona_commands_image[];

#endif

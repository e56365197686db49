/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file checks.c
 * @brief What single values must look like, and what must hold between the values of a persona.
 */
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "keys.h"
#include "text.h"

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/** Begins with a letter or digit, and has none but these and `more`. */
static int is_plain(const char *text, const char *more)
{
    if (!apr_isalnum(*text)) {
        return 0;
    }
    while (*text && (strchr(ALNUM, *text) || strchr(more, *text))) {
        text++;
    }
    return *text == '\0';
}

/** Whether one of the parts between slashes is "", "." or "..". */
static int has_odd_part(const char *text)
{
    for (;;) {
        apr_size_t len = strcspn(text, "/");

        if (len == 0 || (len <= 2 && strspn(text, ".") >= len)) {
            return 1;
        }
        if (!text[len]) {
            return 0;
        }
        text += len + 1;
    }
}

const char *persona_check_name(const char *text)
{
    return persona_text_name_valid(text)
               ? NULL
               : "must be a name of at most 63 lower-case letters, digits, '.', '_' and '-' that "
                 "begins with a letter or digit";
}

const char *persona_check_app(const char *text)
{
    return strcmp(text, "*") == 0 ? NULL : persona_check_name(text);
}

const char *persona_check_image(const char *text)
{
    return is_plain(text, "._-/:@+,") && !has_odd_part(text)
               ? NULL
               : "must be a relative name of letters, digits and any of ._-/:@+, and have no \"..\" part";
}

const char *persona_check_word(const char *text)
{
    return is_plain(text, "._-")
               ? NULL
               : "must have only letters, digits, '.', '_' and '-', a letter or digit first";
}

const char *persona_check_package(const char *text)
{
    return is_plain(text, "+.-:") ? NULL : "must be the name of a package";
}

const char *persona_check_path(const char *text)
{
    if (text[0] != '/' || text[1] == '/') {
        return "must be a path that begins with one '/'";
    }
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f || strchr("\"<>\\^`{|}#", *c)) {
            return "must be a path as it stands in a URL: blanks and special characters as %XX";
        }
    }
    return strstr(text, "/../") ||
                   (strlen(text) >= 3 && strcmp(text + strlen(text) - 3, "/..") == 0)
               ? "must not have a \"..\" part"
               : NULL;
}

const char *persona_check_icon(const char *text)
{
    return is_plain(text, "._-") ? NULL : "must be the name of a file, without a folder";
}

const char *persona_check_role(const char *text)
{
    if (strchr(text, ',')) {
        return "must not have a comma: roles come in a list separated by commas";
    }
    return text[0] == ' ' || text[strlen(text) - 1] == ' ' ? "must not begin or end with a blank"
                                                           : NULL;
}

/** The node at a path of keys from `node`, or the deepest one there is. */
static const persona_node_t *at(const persona_node_t *node, const char *key, const char *below)
{
    const persona_node_t *child = persona_node_key(node, key), *deeper;

    if (!child) {
        return node;
    }
    deeper = below ? persona_node_key(child, below) : NULL;
    return deeper ? deeper : child;
}

static const persona_node_t *nth(const persona_node_t *list, int i)
{
    const persona_node_t *child = list->children;

    while (child && child->next && child->index < i) {
        child = child->next;
    }
    return child ? child : list;
}

static void check_resources(persona_reader_t *reader, persona_t *persona,
                            const persona_node_t *root)
{
    persona_resources_t *resources = &persona->resources;
    const persona_node_t *max = at(root, "resource_profile", "max");

    resources->max_cpu = resources->max_cpu ? resources->max_cpu : resources->cpu;
    resources->max_memory = resources->max_memory ? resources->max_memory : resources->memory;
    if (resources->max_cpu < resources->cpu) {
        persona_reader_error(
            reader, at(max, "cpu", NULL),
            "%d is below resource_profile.cpu, which is %d; give the same or more, or leave it out",
            resources->max_cpu, resources->cpu);
    }
    if (resources->max_memory < resources->memory) {
        persona_reader_error(
            reader, at(max, "memory", NULL),
            "is below resource_profile.memory; give the same or more, or leave it out");
    }
}

static void check_environment(persona_reader_t *reader, persona_t *persona,
                              const persona_node_t *root)
{
    persona_environment_t *environment = &persona->environment;
    const persona_node_t *node = at(root, "execution_environment", NULL),
                         *stream = at(node, "stream", NULL);

    if (environment->stream_port < 0) {
        environment->stream_port = 0;
    }
    if (environment->stream == PERSONA_STREAM_HTTP && environment->stream_port == 0) {
        persona_reader_error(reader, at(stream, "port", NULL),
                             "an http stream needs \"port\", from 1 to 65535, such as 6080");
    }
    if (environment->stream == PERSONA_STREAM_VNC &&
        (persona_node_key(stream, "path") || environment->pass_user)) {
        persona_reader_error(
            reader, stream,
            "\"path\" and \"pass_user\" belong to http streams; a vnc stream has none");
    }
    if ((int)environment->ready < 0) {
        environment->ready =
            environment->stream == PERSONA_STREAM_HTTP ? PERSONA_READY_HTTP : PERSONA_READY_RFB;
    }
    if (environment->ready_path && environment->ready != PERSONA_READY_HTTP) {
        persona_reader_error(reader, at(node, "ready", "path"),
                             "is asked for only where \"kind\" is \"http\"; leave it out");
    }
    if (!environment->ready_path && environment->ready == PERSONA_READY_HTTP) {
        environment->ready_path = environment->stream_path;
    }
    if (environment->command && environment->command->nelts == 0) {
        persona_reader_error(reader, at(node, "command", NULL),
                             "must name a program, or be left out");
    }
}

/** The largest value that the metric can have. */
static double metric_top(persona_metric_e metric)
{
    switch (metric) {
    case PERSONA_METRIC_CPU:
    case PERSONA_METRIC_MEMORY:
    case PERSONA_METRIC_GPU:
        return 100;
    case PERSONA_METRIC_HIT_RATE:
        return 1;
    default:
        return 1000000;
    }
}

static void check_condition(persona_reader_t *reader, const persona_rule_t *rule,
                            const persona_node_t *node)
{
    const char *metric = persona_metric_words[rule->metric];
    int of_instance = rule->metric == PERSONA_METRIC_CPU || rule->metric == PERSONA_METRIC_MEMORY ||
                      rule->metric == PERSONA_METRIC_GPU;
    double top = metric_top(rule->metric);

    if (of_instance != (rule->scope == PERSONA_RULE_INSTANCE)) {
        persona_reader_error(
            reader, at(node, "metric", NULL), "\"%s\" is not measured for scope \"%s\"; use %s",
            metric, persona_scope_words[rule->scope],
            of_instance
                ? "\"ready\", \"waiting\", \"hit_rate\" or \"sessions\", or scope \"instance\""
                : "\"cpu\", \"memory\" or \"gpu\", or scope \"pool\"");
        return;
    }
    if (!rule->has_above && !rule->has_below) {
        persona_reader_error(reader, node, "says nowhere when; add \"above\" or \"below\"");
    }
    if (rule->has_above && rule->above >= top) {
        persona_reader_error(reader, at(node, "above", NULL),
                             "%s is never above %g; give less than %g", metric, rule->above, top);
    }
    if (rule->has_below && (rule->below <= 0 || rule->below > top)) {
        persona_reader_error(reader, at(node, "below", NULL),
                             rule->below <= 0
                                 ? "%s is never below %g; give more than 0 and at most %g"
                                 : "%s is always below %g; give more than 0 and at most %g",
                             metric, rule->below, top);
    }
    if (rule->has_above && rule->has_below && rule->above >= rule->below) {
        persona_reader_error(
            reader, at(node, "above", NULL),
            "with both, the value must lie between, but %g is not less than \"below\", %g",
            rule->above, rule->below);
    }
}

static void check_action(persona_reader_t *reader, const persona_rule_t *rule,
                         const persona_node_t *node)
{
    const persona_node_t *action = at(node, "action", NULL);

    if (!rule->add_cpu && !rule->add_memory && !rule->add_ready) {
        persona_reader_error(reader, action, "does nothing; add %s",
                             rule->scope == PERSONA_RULE_POOL ? "\"ready\""
                                                              : "\"cpu\" or \"memory\"");
    }
    if (rule->scope == PERSONA_RULE_POOL && (rule->add_cpu || rule->add_memory)) {
        persona_reader_error(
            reader, action,
            "\"cpu\" and \"memory\" belong to scope \"instance\"; a pool has \"ready\"");
    }
    if (rule->scope == PERSONA_RULE_INSTANCE && rule->add_ready) {
        persona_reader_error(reader, at(action, "ready", NULL),
                             "belongs to scope \"pool\"; an instance has \"cpu\" and \"memory\"");
    }
    if (rule->max && rule->scope == PERSONA_RULE_INSTANCE) {
        persona_reader_error(
            reader, at(node, "max", NULL),
            "belongs to scope \"pool\"; an instance grows up to resource_profile.max");
    }
}

/** Whether the resources give the rule what it needs. */
static void check_room(persona_reader_t *reader, const persona_t *persona,
                       const persona_rule_t *rule, const persona_node_t *node)
{
    const persona_resources_t *resources = &persona->resources;
    const persona_node_t *action = at(node, "action", NULL);
    int room = resources->max_cpu - resources->cpu;

    if (rule->metric == PERSONA_METRIC_GPU && persona->resources.gpu_count == 0) {
        persona_reader_error(
            reader, at(node, "metric", NULL),
            "measures a GPU, but resource_profile.gpu gives none; add one, or use another metric");
    }
    if (rule->scope == PERSONA_RULE_INSTANCE && rule->add_cpu > room) {
        persona_reader_error(
            reader, at(action, "cpu", NULL),
            "can never be done: resource_profile.max.cpu leaves room for %d more; raise it to %d",
            room, resources->cpu + rule->add_cpu);
    }
    if (rule->scope == PERSONA_RULE_INSTANCE &&
        rule->add_memory > resources->max_memory - resources->memory) {
        persona_reader_error(
            reader, at(action, "memory", NULL),
            "can never be done: resource_profile.max.memory leaves room for %" APR_INT64_T_FMT
            " MiB more; raise it",
            (resources->max_memory - resources->memory) >> 20);
    }
}

static void check_pool(persona_reader_t *reader, const persona_t *persona,
                       const persona_node_t *root)
{
    if (persona->pool.min > persona->pool.max) {
        persona_reader_error(reader, at(root, "pool", "min"),
                             "%d is above pool.max, which is %d; lower it, or raise that",
                             persona->pool.min, persona->pool.max);
    }
}

static void check_rules(persona_reader_t *reader, const persona_t *persona,
                        const persona_node_t *rules)
{
    int has_room = persona_reader_good(reader, "$.resource_profile") && persona->resources.cpu;
    int has_pool = persona_reader_good(reader, "$.pool");

    for (int i = 0; i < persona->rules->nelts; i++) {
        const persona_rule_t *rule = &APR_ARRAY_IDX(persona->rules, i, persona_rule_t);
        const persona_node_t *node = nth(rules, i);

        if (!persona_reader_good(reader, persona_node_path(node, reader->scratch))) {
            continue;
        }
        check_condition(reader, rule, node);
        check_action(reader, rule, node);
        if (has_room) {
            check_room(reader, persona, rule, node);
        }
        if (has_pool && rule->max > persona->pool.max) {
            persona_reader_error(reader, at(node, "max", NULL),
                                 "is above pool.max, which is %d; lower it, or raise that",
                                 persona->pool.max);
        }
    }
}

void persona_check(persona_reader_t *reader, persona_t *persona, const persona_node_t *root)
{
    if (persona->app_id && strcmp(persona->app_id, "*") == 0 && !persona->is_default) {
        persona_reader_error(
            reader, at(root, "app_id", NULL),
            "\"*\" stands for any application, which only default.json serves; name one");
    }
    if (persona_reader_good(reader, "$.resource_profile") && persona->resources.cpu) {
        check_resources(reader, persona, root);
    }
    if (persona_reader_good(reader, "$.execution_environment") && persona->environment.compute) {
        check_environment(reader, persona, root);
    }
    if (persona_reader_good(reader, "$.pool")) {
        check_pool(reader, persona, root);
    }
    if (persona->rules) {
        check_rules(reader, persona, at(root, "auto_scale_rules", NULL));
    }
}

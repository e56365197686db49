/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file keys.c
 * @brief The keys of a persona file, as tables.
 *
 * personas/persona.schema.json and the reference in docs/reference.md list the same keys; t/check_keys
 * compares them.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "dates.h"
#include "keys.h"
#include "text.h"
#include "tz.h"

#define TEXT_MAX   255
#define VALUE_MAX  4096
#define LIST_MAX   512
#define MIB        ((apr_int64_t)1 << 20)
#define TIB        ((apr_int64_t)1 << 40)
#define SECOND     ((apr_int64_t)APR_USEC_PER_SEC)
#define MINUTE     (60 * SECOND)
#define DAY        (86400 * SECOND)
#define CPUS_MAX   1024
#define MEMORY_MIN (16 * MIB)
#define MEMORY_MAX (64 * TIB)
#define POOL_MAX   10000
#define ORDER_MAX  1000000

#define OF(type, member) offsetof(type, member)
#define RESOURCE(member) offsetof(persona_resources_t, member)
#define ENVIRON(member)  offsetof(persona_environment_t, member)
#define RULE(member)     offsetof(persona_rule_t, member)
#define POOL(member)     offsetof(persona_pool_t, member)
#define TEXT(key, must, where, limit, checker, example)                                            \
    {                                                                                              \
        .name = key, .type = PERSONA_KEY_TEXT, .required = must, .offset = where, .max = limit,    \
        .check = checker, .right = example                                                         \
    }
#define WORD(key, must, where, list)                                                               \
    {                                                                                              \
        .name = key, .type = PERSONA_KEY_WORD, .required = must, .offset = where, .words = list    \
    }
#define BOOL(key, where)                                                                           \
    {                                                                                              \
        .name = key, .type = PERSONA_KEY_BOOL, .offset = where                                     \
    }
#define NUMBER(kind, key, must, where, low, high, example)                                         \
    {                                                                                              \
        .name = key, .type = kind, .required = must, .offset = where, .min = low, .max = high,     \
        .right = example                                                                           \
    }
#define TEXTS(key, where, limit, checker, example)                                                 \
    {                                                                                              \
        .name = key, .type = PERSONA_KEY_TEXTS, .offset = where, .max = limit, .check = checker,   \
        .right = example                                                                           \
    }
#define OBJECT(key, must, where, table)                                                            \
    {                                                                                              \
        .name = key, .type = PERSONA_KEY_OBJECT, .required = must, .offset = where, .keys = table  \
    }
#define OTHER(key, must, where, reading, table, example)                                           \
    {                                                                                              \
        .name = key, .type = PERSONA_KEY_OTHER, .required = must, .offset = where,                 \
        .read = reading, .keys = table, .right = example                                           \
    }
#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

const char *const persona_metric_words[] = {"cpu",      "memory",   "ready", "waiting",
                                            "hit_rate", "sessions", "gpu",   NULL};
const char *const persona_scope_words[] = {"instance", "pool", NULL};
static const char *const usage_words[] = {"low", "medium", "high", NULL};
static const char *const stream_words[] = {"http", "vnc", NULL};
static const char *const ready_words[] = {"http", "rfb", "tcp", NULL};
static const char *const root_words[] = {"overlay", "copy", NULL};

static void must_be(persona_reader_t *reader, const persona_key_t *key, const json_t *json,
                    const persona_node_t *node, const char *what)
{
    persona_reader_error(reader, node, "must be %s, such as %s; found %s", what, key->right,
                         persona_reader_found(json, reader->scratch));
}

/** Whether `json` is an array of at most LIST_MAX elements; else that is noted. */
static int is_list(persona_reader_t *reader, const persona_key_t *key, const json_t *json,
                   const persona_node_t *node)
{
    if (!json_is_array(json)) {
        must_be(reader, key, json, node, "an array");
        return 0;
    }
    if (json_array_size(json) > LIST_MAX) {
        persona_reader_error(reader, node, "has %d elements; at most %d are allowed",
                             (int)json_array_size(json), LIST_MAX);
        return 0;
    }
    return 1;
}

static const persona_key_t usage_key = {.type = PERSONA_KEY_WORD, .words = usage_words};

static void read_hourly(persona_reader_t *reader, const persona_key_t *key, json_t *json,
                        const persona_node_t *node, void *to)
{
    persona_usage_e *hours = to;
    const persona_node_t *child = node->children;

    if (!json_is_array(json) || json_array_size(json) != 24) {
        persona_reader_error(
            reader, node, "must be an array of 24 words, one for each hour from 0 to 23; found %s",
            json_is_array(json) ? apr_psprintf(reader->scratch, "%d", (int)json_array_size(json))
                                : persona_reader_found(json, reader->scratch));
        return;
    }
    (void)key;
    for (apr_size_t hour = 0; hour < 24 && child; hour++, child = child->next) {
        persona_reader_value(reader, &usage_key, json_array_get(json, hour), child, &hours[hour]);
    }
}

#define DAY_KEY(key, number) WORD(key, 0, (number) * sizeof(persona_usage_e), usage_words)
static const persona_key_t daily_keys[] = {
    DAY_KEY("mon", 1), DAY_KEY("tue", 2), DAY_KEY("wed", 3), DAY_KEY("thu", 4),
    DAY_KEY("fri", 5), DAY_KEY("sat", 6), DAY_KEY("sun", 0), END,
};

void persona_keys_read_zone(persona_reader_t *reader, const persona_key_t *key, json_t *json,
                            const persona_node_t *node, void *to)
{
    persona_key_t text = {.type = PERSONA_KEY_TEXT, .max = PERSONA_NAME_MAX, .right = key->right};
    const char **zone = to;
    persona_usage_t *usage = (persona_usage_t *)((char *)to - offsetof(persona_usage_t, timezone));
    const persona_tz_t *tz;

    persona_reader_value(reader, &text, json, node, zone);
    /* A system without zone files knows none but UTC; then the name is taken on trust. */
    if (*zone && persona_tz_load(&usage->zone, NULL, *zone, reader->p) != APR_SUCCESS &&
        persona_tz_load(&tz, NULL, "Europe/Berlin", reader->scratch) == APR_SUCCESS) {
        persona_reader_error(reader, node, "%s is no time zone that this system knows, such as %s",
                             persona_text_quote(*zone, reader->scratch), key->right);
    }
}

static const persona_key_t usage_keys[] = {
    OTHER("timezone", 1, OF(persona_usage_t, timezone), persona_keys_read_zone, NULL, "\"Europe/Berlin\""),
    OTHER("hourly", 1, OF(persona_usage_t, hourly), read_hourly, NULL,
          "24 of \"low\", \"medium\" or \"high\""),
    OBJECT("daily", 0, OF(persona_usage_t, daily), daily_keys),
    END,
};

static const persona_key_t max_keys[] = {
    NUMBER(PERSONA_KEY_INT, "cpu", 0, RESOURCE(max_cpu), 1, CPUS_MAX, "8"),
    NUMBER(PERSONA_KEY_SIZE, "memory", 0, RESOURCE(max_memory), MEMORY_MIN, MEMORY_MAX,
           "\"16GiB\""),
    END,
};

static const persona_key_t gpu_keys[] = {
    NUMBER(PERSONA_KEY_INT, "count", 1, RESOURCE(gpu_count), 0, 64, "1"),
    TEXT("model", 0, RESOURCE(gpu_model), PERSONA_NAME_MAX, persona_check_word,
         "\"nvidia-a16-2q\""),
    END,
};

/* "gpu" and "max" are objects in the file and members of persona_resources_t in the struct:
 * offset 0. */
static const persona_key_t resource_keys[] = {
    NUMBER(PERSONA_KEY_INT, "cpu", 1, RESOURCE(cpu), 1, CPUS_MAX, "4"),
    NUMBER(PERSONA_KEY_SIZE, "memory", 1, RESOURCE(memory), MEMORY_MIN, MEMORY_MAX, "\"8GiB\""),
    OBJECT("gpu", 0, 0, gpu_keys),
    NUMBER(PERSONA_KEY_SIZE, "storage", 0, RESOURCE(storage), MIB, 1024 * TIB, "\"40GiB\""),
    OBJECT("max", 0, 0, max_keys),
    END,
};

static const persona_key_t network_keys[] = {
    TEXT("name", 1, ENVIRON(network), PERSONA_NAME_MAX, persona_check_word, "\"persona\""),
    BOOL("isolated", ENVIRON(isolated)),
    END,
};

static const persona_key_t stream_keys[] = {
    WORD("protocol", 1, ENVIRON(stream), stream_words),
    NUMBER(PERSONA_KEY_INT, "port", 0, ENVIRON(stream_port), 0, 65535, "6080"),
    TEXT("path", 0, ENVIRON(stream_path), TEXT_MAX, persona_check_path, "\"/\""),
    BOOL("pass_user", ENVIRON(pass_user)),
    END,
};

static const persona_key_t ready_keys[] = {
    WORD("kind", 0, ENVIRON(ready), ready_words),
    TEXT("path", 0, ENVIRON(ready_path), TEXT_MAX, persona_check_path, "\"/\""),
    NUMBER(PERSONA_KEY_DURATION, "timeout", 0, ENVIRON(ready_timeout), SECOND, DAY, "\"120s\""),
    END,
};

static const persona_key_t home_keys[] = {
    TEXT("hook", 1, ENVIRON(home_hook), TEXT_MAX, persona_check_path, "\"/assign\""),
    NUMBER(PERSONA_KEY_INT, "port", 1, ENVIRON(home_port), 1, 65535, "6081"),
    BOOL("exclusive", ENVIRON(home_exclusive)),
    END,
};

static int is_env_name(const char *name)
{
    apr_size_t len =
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

    return len > 0 && len <= PERSONA_NAME_MAX && !name[len] && !apr_isdigit(name[0]);
}

static void read_env(persona_reader_t *reader, const persona_key_t *key, json_t *json,
                     const persona_node_t *node, void *to)
{
    apr_table_t *table = apr_table_make(reader->p, 8);

    if (!json_is_object(json)) {
        must_be(reader, key, json, node, "an object of strings");
        return;
    }
    for (const persona_node_t *child = node->children; child; child = child->next) {
        const char *value = json_string_value(json_object_get(json, child->key));

        if (!is_env_name(child->key)) {
            persona_reader_error(reader, child,
                                 "the name of a variable has letters, digits and _, such as LANG");
        }
        else if (strncmp(child->key, "PERSONA_", 8) == 0) {
            persona_reader_error(reader, child,
                                 "names that begin with PERSONA_ are set by the manager");
        }
        else if (!value || strlen(value) > VALUE_MAX || strpbrk(value, "\r\n")) {
            persona_reader_error(
                reader, child, "must be a string of one line and at most %d bytes; found %s",
                VALUE_MAX,
                persona_reader_found(json_object_get(json, child->key), reader->scratch));
        }
        else if (persona_node_key(node, child->key) == child) {
            /* Not set: a table takes names that differ in case for the same, an environment does
             * not. */
            apr_table_addn(table, apr_pstrdup(reader->p, child->key),
                           apr_pstrdup(reader->p, value));
        }
    }
    *(const apr_table_t **)to = table;
}

/* The objects are members of persona_environment_t itself: offset 0. */
static const persona_key_t environment_keys[] = {
    TEXT("compute", 1, ENVIRON(compute), PERSONA_NAME_MAX, persona_check_name, "\"kvm\""),
    TEXT("os_image", 0, ENVIRON(os_image), TEXT_MAX, persona_check_image, "\"debian12-cad.qcow2\""),
    WORD("root", 0, ENVIRON(root), root_words),
    TEXTS("libraries", ENVIRON(libraries), TEXT_MAX, persona_check_package, "[\"libcairo2\"]"),
    TEXTS("command", ENVIRON(command), VALUE_MAX, NULL, "[\"freecad\", \"--single-instance\"]"),
    OBJECT("network", 1, 0, network_keys),
    OTHER("env", 0, ENVIRON(env), read_env, NULL, "{\"LANG\": \"en_GB.UTF-8\"}"),
    OBJECT("stream", 1, 0, stream_keys),
    OBJECT("ready", 0, 0, ready_keys),
    OBJECT("home", 0, 0, home_keys),
    END,
};

static const persona_key_t role_key = TEXT("role", 1, OF(persona_affinity_t, role),
                                           PERSONA_USER_MAX, persona_check_role, "\"engineer\"");
static const persona_key_t affinity_keys[] = {
    TEXT("role", 1, OF(persona_affinity_t, role), PERSONA_USER_MAX, persona_check_role,
         "\"engineer\""),
    NUMBER(PERSONA_KEY_REAL, "weight", 0, OF(persona_affinity_t, weight), 0, 1, "0.5"),
    END,
};

static void read_affinity(persona_reader_t *reader, const persona_key_t *key, json_t *json,
                          const persona_node_t *node, void *to)
{
    apr_array_header_t *list = apr_array_make(reader->p, 4, sizeof(persona_affinity_t));
    const persona_node_t *child = node->children;

    if (!is_list(reader, key, json, node)) {
        return;
    }
    for (apr_size_t i = 0; i < json_array_size(json) && child; i++, child = child->next) {
        persona_affinity_t affinity = {NULL, 1};
        json_t *element = json_array_get(json, i);

        if (json_is_object(element)) {
            persona_reader_object(reader, affinity_keys, element, child, &affinity);
        }
        else {
            persona_reader_value(reader, &role_key, element, child, &affinity.role);
        }
        for (int other = 0; affinity.role && other < list->nelts; other++) {
            if (strcmp(APR_ARRAY_IDX(list, other, persona_affinity_t).role, affinity.role) == 0) {
                persona_reader_error(reader, child,
                                     "the role %s stands here twice; keep one of them",
                                     persona_text_quote(affinity.role, reader->scratch));
                affinity.role = NULL;
            }
        }
        if (affinity.role) {
            APR_ARRAY_PUSH(list, persona_affinity_t) = affinity;
        }
        if (!(affinity.weight > 0)) {
            persona_reader_error(reader, child,
                                 "a weight of 0 never matches; leave the role out, or write 0.1");
        }
    }
    *(const apr_array_header_t **)to = list;
}

static const persona_key_t action_keys[] = {
    NUMBER(PERSONA_KEY_CHANGE, "cpu", 0, RULE(add_cpu), 0, CPUS_MAX, "\"+1\""),
    NUMBER(PERSONA_KEY_RESIZE, "memory", 0, RULE(add_memory), 0, MEMORY_MAX, "\"+1GiB\""),
    NUMBER(PERSONA_KEY_CHANGE, "ready", 0, RULE(add_ready), 0, POOL_MAX, "\"+2\""),
    END,
};

static const persona_key_t rule_keys[] = {
    WORD("scope", 1, RULE(scope), persona_scope_words),
    WORD("metric", 1, RULE(metric), persona_metric_words),
    NUMBER(PERSONA_KEY_REAL, "above", 0, RULE(above), 0, 1000000, "85"),
    NUMBER(PERSONA_KEY_REAL, "below", 0, RULE(below), 0, 1000000, "2"),
    NUMBER(PERSONA_KEY_DURATION, "for", 0, RULE(duration), 0, DAY, "\"60s\""),
    OBJECT("action", 1, 0, action_keys),
    NUMBER(PERSONA_KEY_DURATION, "cooldown", 0, RULE(cooldown), 0, DAY, "\"120s\""),
    NUMBER(PERSONA_KEY_INT, "max", 0, RULE(max), 1, POOL_MAX, "20"),
    END,
};

static void read_rules(persona_reader_t *reader, const persona_key_t *key, json_t *json,
                       const persona_node_t *node, void *to)
{
    apr_array_header_t *list = apr_array_make(reader->p, 4, sizeof(persona_rule_t));
    const persona_node_t *child = node->children;

    if (!is_list(reader, key, json, node)) {
        return;
    }
    for (apr_size_t i = 0; i < json_array_size(json) && child; i++, child = child->next) {
        persona_rule_t *rule = apr_array_push(list);

        memset(rule, 0, sizeof(*rule));
        rule->cooldown = 2 * MINUTE;
        rule->above = rule->below = NAN;
        persona_reader_object(reader, rule_keys, json_array_get(json, i), child, rule);
        rule->has_above = !isnan(rule->above);
        rule->has_below = !isnan(rule->below);
    }
    *(const apr_array_header_t **)to = list;
}

static const persona_key_t pool_keys[] = {
    NUMBER(PERSONA_KEY_INT, "min", 0, POOL(min), 0, POOL_MAX, "1"),
    NUMBER(PERSONA_KEY_INT, "max", 0, POOL(max), 1, POOL_MAX, "50"),
    NUMBER(PERSONA_KEY_REAL, "wait_cost", 0, POOL(wait_cost), 0, 1000000, "20"),
    NUMBER(PERSONA_KEY_DURATION, "disconnect_timeout", 0, POOL(disconnect_timeout), SECOND,
           365 * DAY, "\"15m\""),
    NUMBER(PERSONA_KEY_DURATION, "idle_timeout", 0, POOL(idle_timeout), SECOND, 365 * DAY,
           "\"30m\""),
    NUMBER(PERSONA_KEY_DURATION, "max_session", 0, POOL(max_session), SECOND, 365 * DAY, "\"12h\""),
    END,
};

/** For editors: which schema the file follows. */
static void read_schema(persona_reader_t *reader, const persona_key_t *key, json_t *json,
                        const persona_node_t *node, void *to)
{
    (void)to;
    if (!json_is_string(json)) {
        must_be(reader, key, json, node, "a string");
    }
}

const persona_key_t persona_keys[] = {
    OTHER("$schema", 0, 0, read_schema, NULL, "\"persona.schema.json\""),
    TEXT("persona_id", 1, OF(persona_t, id), TEXT_MAX, persona_check_name, "\"cad-designer\""),
    TEXT("app_id", 1, OF(persona_t, app_id), TEXT_MAX, persona_check_app, "\"freecad\""),
    TEXT("title", 0, OF(persona_t, title), TEXT_MAX, NULL, "\"FreeCAD\""),
    TEXT("description", 0, OF(persona_t, description), VALUE_MAX, NULL, "\"3D modelling\""),
    TEXT("icon", 0, OF(persona_t, icon), TEXT_MAX, persona_check_icon, "\"freecad.svg\""),
    NUMBER(PERSONA_KEY_INT, "order", 0, OF(persona_t, order), -ORDER_MAX, ORDER_MAX, "10"),
    TEXT("application_source", 1, OF(persona_t, source), TEXT_MAX, persona_check_image,
         "\"cad/freecad:0.21\""),
    OBJECT("resource_profile", 1, OF(persona_t, resources), resource_keys),
    OBJECT("execution_environment", 1, OF(persona_t, environment), environment_keys),
    OBJECT("predicted_usage_pattern", 1, OF(persona_t, usage), usage_keys),
    OTHER("user_role_affinity", 1, OF(persona_t, affinity), read_affinity, affinity_keys,
          "[\"engineer\"]"),
    OTHER("auto_scale_rules", 1, OF(persona_t, rules), read_rules, rule_keys, "[]"),
    OTHER("events", 0, OF(persona_t, events), persona_dates_read, persona_date_keys,
          "[{\"date\": \"2026-12-24\", \"like\": \"sun\"}]"),
    OBJECT("pool", 0, OF(persona_t, pool), pool_keys),
    END,
};

void persona_keys_defaults(persona_t *persona)
{
    persona->environment.isolated = 1;
    persona->environment.stream_port = -1;
    persona->environment.stream_path = "/";
    persona->environment.ready = (persona_ready_e)-1;
    persona->environment.ready_timeout = 2 * MINUTE;
    for (int i = 0; i < 7; i++) {
        persona->usage.daily[i] = PERSONA_USAGE_MEDIUM;
    }
    persona->pool.max = 10;
    persona->pool.wait_cost = -1;
    persona->pool.disconnect_timeout = 15 * MINUTE;
    persona->pool.idle_timeout = 30 * MINUTE;
    persona->pool.max_session = 720 * MINUTE;
}

static void walk(const persona_key_t *keys, const char *prefix,
                 void (*each)(void *baton, const char *path, const persona_key_t *key), void *baton,
                 apr_pool_t *p)
{
    for (; keys->name; keys++) {
        const char *path = apr_pstrcat(p, prefix, keys->name, NULL);

        each(baton, path, keys);
        if (keys->keys) {
            walk(keys->keys,
                 apr_pstrcat(p, path, keys->type == PERSONA_KEY_OBJECT ? "." : "[].", NULL), each,
                 baton, p);
        }
    }
}

void persona_keys_walk(void (*each)(void *baton, const char *path, const persona_key_t *key),
                       void *baton, apr_pool_t *p)
{
    walk(persona_keys, "", each, baton, p);
}

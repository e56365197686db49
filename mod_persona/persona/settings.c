/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file settings.c
 * @brief The site's settings as JSON, both ways, and the keys derived from the site key.
 */
#include <stddef.h>
#include <string.h>

#include <apr_strings.h>

#include "digest.h"
#include "settings.h"
#include "text.h"

typedef enum { FIELD_STRING, FIELD_INT, FIELD_INTERVAL, FIELD_REAL } field_e;

typedef struct field_t {
    const char *name;
    field_e type;
    int required;
    apr_size_t offset;
} field_t;

#define FIELD(member, type, required)                                                              \
    {                                                                                              \
#member, type, required, offsetof(persona_settings_t, member)                              \
    }
#define AT(settings, field, type) ((type *)(void *)((char *)(settings) + (field)->offset))
#define AT_CONST(settings, field, type)                                                            \
    ((const type *)(const void *)((const char *)(settings) + (field)->offset))

static const field_t fields[] = {
    FIELD(directory, FIELD_STRING, 1),  FIELD(state_dir, FIELD_STRING, 0),
    FIELD(memcached, FIELD_STRING, 0),  FIELD(ns, FIELD_STRING, 1),
    FIELD(manager_user, FIELD_STRING, 0), FIELD(forecast, FIELD_STRING, 0),
    FIELD(home_url, FIELD_STRING, 0),   FIELD(control, FIELD_STRING, 0),
    FIELD(session_host, FIELD_STRING, 0), FIELD(event_file, FIELD_STRING, 0),
    FIELD(wait_cost, FIELD_REAL, 0),    FIELD(hit_rate, FIELD_REAL, 0),
    FIELD(schedule, FIELD_INTERVAL, 1), FIELD(timeout, FIELD_INTERVAL, 1),
    FIELD(log_level, FIELD_INT, 0),     FIELD(secret, FIELD_STRING, 0),
    FIELD(listen_fd, FIELD_INT, 0),     FIELD(lifeline_fd, FIELD_INT, 0),
    FIELD(control_fd, FIELD_INT, 0),    FIELD(gateway_id, FIELD_STRING, 0),
    FIELD(web_uid, FIELD_INT, 0),       FIELD(database, FIELD_STRING, 0),
    FIELD(database_params, FIELD_STRING, 0), FIELD(database_chosen, FIELD_INT, 0),
    FIELD(history, FIELD_INTERVAL, 0),  FIELD(pseudonyms, FIELD_INT, 0),
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

static json_t *options_to_json(const apr_table_t *options)
{
    json_t *json = json_object();

    if (options) {
        const apr_array_header_t *list = apr_table_elts(options);

        for (int i = 0; i < list->nelts; i++) {
            const apr_table_entry_t *entry = &APR_ARRAY_IDX(list, i, apr_table_entry_t);

            json_object_set_new(json, entry->key, json_string(entry->val));
        }
    }
    return json;
}

static json_t *computes_to_json(const apr_array_header_t *computes)
{
    json_t *json = json_array();

    for (int i = 0; computes && i < computes->nelts; i++) {
        const persona_compute_conf_t *conf = &APR_ARRAY_IDX(computes, i, persona_compute_conf_t);

        json_array_append_new(json, json_pack("{s:s, s:s, s:s?, s:o}", "name", conf->name,
                                              "provider", conf->provider, "address", conf->address,
                                              "options", options_to_json(conf->options)));
    }
    return json;
}

json_t *persona_settings_to_json(const persona_settings_t *settings)
{
    json_t *json = json_object(), *keys = json_array();

    for (apr_size_t i = 0; i < FIELDS; i++) {
        const field_t *field = &fields[i];
        const char *text;
        json_t *value = NULL;

        switch (field->type) {
        case FIELD_STRING:
            text = *AT_CONST(settings, field, char *);
            value = text ? json_string(text) : NULL;
            break;
        case FIELD_INT:
            value = json_integer(*AT_CONST(settings, field, int));
            break;
        case FIELD_INTERVAL:
            value = json_integer(*AT_CONST(settings, field, apr_interval_time_t));
            break;
        case FIELD_REAL:
            value = json_real(*AT_CONST(settings, field, double));
            break;
        }
        if (value) {
            json_object_set_new(json, field->name, value);
        }
    }
    for (int i = 0; i < 2 && settings->keys[i]; i++) {
        json_array_append_new(keys, json_string(settings->keys[i]));
    }
    json_object_set_new(json, "keys", keys);
    json_object_set_new(json, "computes", computes_to_json(settings->computes));
    return json;
}

/** NULL, or what is wrong. */
static const char *field_from_json(persona_settings_t *settings, const field_t *field,
                                   const json_t *value, apr_pool_t *p)
{
    switch (field->type) {
    case FIELD_STRING:
        if (!json_is_string(value)) {
            return apr_psprintf(p, "settings: \"%s\" must be a string", field->name);
        }
        *AT(settings, field, const char *) = apr_pstrdup(p, json_string_value(value));
        return NULL;
    case FIELD_INT:
        if (!json_is_integer(value) || json_integer_value(value) < APR_INT32_MIN ||
            json_integer_value(value) > APR_INT32_MAX) {
            return apr_psprintf(p, "settings: \"%s\" must be an integer of 32 bits", field->name);
        }
        *AT(settings, field, int) = (int)json_integer_value(value);
        return NULL;
    case FIELD_INTERVAL:
        if (!json_is_integer(value) || json_integer_value(value) < 0) {
            return apr_psprintf(p, "settings: \"%s\" must be a number of microseconds",
                                field->name);
        }
        *AT(settings, field, apr_interval_time_t) = json_integer_value(value);
        return NULL;
    case FIELD_REAL:
        if (!json_is_number(value)) {
            return apr_psprintf(p, "settings: \"%s\" must be a number", field->name);
        }
        *AT(settings, field, double) = json_number_value(value);
        return NULL;
    }
    return NULL;
}

static const char *keys_from_json(persona_settings_t *settings, const json_t *keys, apr_pool_t *p)
{
    apr_size_t n = json_array_size(keys);

    if (n < 1 || n > 2) {
        return "settings: \"keys\" must be an array of one or two site keys";
    }
    for (apr_size_t i = 0; i < n; i++) {
        const char *key = json_string_value(json_array_get(keys, i));

        if (!key || !*key || key[strspn(key, "0123456789abcdef")]) {
            return apr_psprintf(p, "settings: keys[%d] must be hexadecimal", (int)i);
        }
        settings->keys[i] = apr_pstrdup(p, key);
    }
    return NULL;
}

static const char *compute_from_json(persona_compute_conf_t *conf, json_t *json, int i,
                                     apr_pool_t *p)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *provider = json_string_value(json_object_get(json, "provider"));
    const char *address = json_string_value(json_object_get(json, "address")), *key;
    apr_table_t *options = apr_table_make(p, 4);
    json_t *value;

    if (!name || !provider) {
        return apr_psprintf(
            p, "settings: computes[%d] must have the strings \"name\" and \"provider\"", i);
    }
    json_object_foreach(json_object_get(json, "options"), key, value)
    {
        if (!json_is_string(value)) {
            return apr_psprintf(p, "settings: option \"%s\" of computes[%d] must be a string", key,
                                i);
        }
        apr_table_set(options, key, json_string_value(value));
    }
    conf->name = apr_pstrdup(p, name);
    conf->provider = apr_pstrdup(p, provider);
    conf->address = address ? apr_pstrdup(p, address) : NULL;
    conf->options = options;
    return NULL;
}

static const char *computes_from_json(persona_settings_t *settings, const json_t *computes,
                                      apr_pool_t *p)
{
    settings->computes = apr_array_make(p, 4, sizeof(persona_compute_conf_t));
    if (!json_is_array(computes)) {
        return "settings: \"computes\" must be an array";
    }
    for (apr_size_t i = 0; i < json_array_size(computes); i++) {
        persona_compute_conf_t conf;
        const char *wrong = compute_from_json(&conf, json_array_get(computes, i), (int)i, p);

        if (wrong) {
            return wrong;
        }
        APR_ARRAY_PUSH(settings->computes, persona_compute_conf_t) = conf;
    }
    return NULL;
}

static const char *settings_read(persona_settings_t *settings, const json_t *json, apr_pool_t *p)
{
    const char *wrong;

    if (!json_is_object(json)) {
        return "settings: must be a JSON object";
    }
    for (apr_size_t i = 0; i < FIELDS; i++) {
        const json_t *value = json_object_get(json, fields[i].name);

        if (!value && fields[i].required) {
            return apr_psprintf(p, "settings: \"%s\" is missing", fields[i].name);
        }
        wrong = value ? field_from_json(settings, &fields[i], value, p) : NULL;
        if (wrong) {
            return wrong;
        }
    }
    wrong = keys_from_json(settings, json_object_get(json, "keys"), p);
    return wrong ? wrong : computes_from_json(settings, json_object_get(json, "computes"), p);
}

apr_status_t persona_settings_from_json(persona_settings_t **settings, const json_t *json,
                                        const char **error, apr_pool_t *p)
{
    persona_settings_t *s = apr_pcalloc(p, sizeof(*s));

    s->forecast = "shadow";
    s->wait_cost = s->hit_rate = -1;
    s->log_level = PERSONA_LOG_INFO;
    s->listen_fd = s->lifeline_fd = s->control_fd = -1;
    *error = settings_read(s, json, p);
    *settings = *error ? NULL : s;
    return *error ? APR_EINVAL : APR_SUCCESS;
}

const char *persona_settings_key(const persona_settings_t *settings, int which, const char *purpose,
                                 apr_pool_t *p)
{
    const char *key = settings->keys[which == 0 ? 0 : 1];
    char *hex;

    if (!key) {
        return NULL;
    }
    hex = apr_palloc(p, PERSONA_HEX256_LEN);
    persona_hmac(key, strlen(key), purpose, strlen(purpose), hex);
    return hex;
}

const char *persona_settings_namespace(const char *key, apr_pool_t *p)
{
    char hex[PERSONA_HEX256_LEN];

    persona_hmac(key, strlen(key), "namespace", 9, hex);
    return apr_pstrmemdup(p, hex, 12);
}

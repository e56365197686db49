/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file settings.h
 * @brief What the directives say, as the module hands it to personad over an inherited descriptor.
 */
#ifndef PERSONA_SETTINGS_H
#define PERSONA_SETTINGS_H

#include "persona_compute.h"

/** What `personad --check` says is wrong, but for lines that begin so: they are advice. */
#define PERSONA_CHECK_WARNING "warning: "

/** The site's keys. Purposes get their own key: persona_settings_key(). */
typedef struct persona_settings_t {
    const char *directory;        /**< PersonaDirectory */
    const char *state_dir;        /**< PersonaStateDirectory: last good personas, model */
    apr_array_header_t *computes; /**< of persona_compute_conf_t */
    const char *memcached;        /**< PersonaMemcached */
    const char *ns;      /**< namespace at the providers and in memcached: the site's name, which outlives its keys */
    const char *keys[2]; /**< site keys, hexadecimal: the one that signs, and another that is valid too, or NULL */
    const char *manager_user;   /**< PersonaManagerUser */
    const char *forecast;       /**< PersonaForecast: on, shadow, off */
    const char *event_file;     /**< PersonaEventFile: known dates of the site, NULL: none */
    const char *session_host;   /**< PersonaSessionHost without its '*', NULL: none */
    const char *home_url;       /**< PersonaHomeURL: where instances mount homes from, NULL: none */
    const char *control;        /**< path of the control socket of personactl */
    const char *database;       /**< PersonaDatabase: sqlite3, pgsql; NULL: no history is written */
    const char *database_params; /**< path of the file, or how to connect */
    int database_chosen;        /**< somebody wrote the directive: what is wrong with it is an error */
    apr_interval_time_t history; /**< PersonaHistory: how long rows of events are kept */
    int pseudonyms;             /**< PersonaPseudonyms */
    double wait_cost, hit_rate; /**< < 0: not set */
    apr_interval_time_t schedule; /**< PersonaSchedule */
    apr_interval_time_t timeout;  /**< PersonaTimeout */
    int log_level;                /**< persona_log_level_e */
    const char *secret;           /**< hexadecimal: the IPC hello's secret of this start */
    int listen_fd, lifeline_fd;   /**< inherited */
    int control_fd;               /**< inherited: the listening control socket */
    int web_uid;                  /**< uid of the web workers: who may use the worker socket */
    const char *gateway_id;       /**< random, of this start: names the manager in leases */
} persona_settings_t;

json_t *persona_settings_to_json(const persona_settings_t *settings);
/** Unknown members are ignored (an older module may start a newer personad). `*error` says what
 * is wrong. */
apr_status_t persona_settings_from_json(persona_settings_t **settings, const json_t *json,
                                        const char **error, apr_pool_t *p);
/** The key for one purpose ("record", "hook", ...), hexadecimal: HMAC(site key, purpose).
 * `which`: 0 signs, 1 is valid too (NULL where there is none). Wherever a key is used, its bytes
 * are those of its hexadecimal text. */
const char *persona_settings_key(const persona_settings_t *settings, int which, const char *purpose,
                                 apr_pool_t *p);
/** The name of a site that has no other: 12 hexadecimal digits that tell nothing of the key. */
const char *persona_settings_namespace(const char *key, apr_pool_t *p);
/** "5s", "15m", "12h", "250ms", "1d" or bare seconds; NULL, or what is wrong and what would be
 * right. */
const char *persona_duration_parse(const char *text, apr_interval_time_t *value, apr_pool_t *p);
/** "8GiB", "512MiB", "40GB" or bare bytes; likewise. */
const char *persona_size_parse(const char *text, apr_int64_t *value, apr_pool_t *p);

#endif

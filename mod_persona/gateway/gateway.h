/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file gateway.h
 * @brief What the files of the httpd module share: configuration, the child's state, one request's view.
 *
 * Three lifetimes. Configuration lives in the pool of one configuration generation and is read-only after
 * post_config. The child (child.c) is made once in every worker process after fork and is shared by its threads.
 * A visit is one request, on one thread, in r->pool.
 */
#ifndef PERSONA_GATEWAY_H
#define PERSONA_GATEWAY_H

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <ap_expr.h>

#include "persona/catalog.h"
#include "persona/settings.h"
#include "pool/ipc.h"
#include "pool/pool.h"
#include "pool/session.h"

#include "html.h"

extern module AP_MODULE_DECLARE_DATA persona_module;
#ifndef PERSONA_MODULE_DEFINITION /* mod_persona.c declares it itself */
APLOG_USE_MODULE(persona);
#endif

/* ---- config.c ---- */

/** The directives of the main server; every virtual host sees the same. */
typedef struct persona_conf_t {
    const char *directory;      /**< PersonaDirectory; NULL: the module does nothing */
    const char *state_dir, *key_file, *manager_user, *manager, *assets, *socket;
    const char *memcached, *forecast, *home_url, *event_file;
    const char *session_host;   /**< PersonaSessionHost without its '*': ".desk.example.org"; NULL: none */
    apr_array_header_t *computes; /**< of persona_compute_conf_t */
    apr_interval_time_t schedule, timeout;
    double wait_cost, hit_rate; /**< < 0: not set */
    const char *database, *database_params; /**< PersonaDatabase; NULL: not set */
    apr_interval_time_t history;            /**< PersonaHistory */
    int pseudonyms;                         /**< PersonaPseudonyms */
    int gateways;               /**< a PersonaGateway On was seen */
} persona_conf_t;

/** The directives of one <Location>. */
typedef struct persona_dir_t {
    int gateway;                /**< -1: not set */
    const char *base;           /**< path of the <Location> with PersonaGateway On, ends with '/' */
    ap_expr_info_t *roles;      /**< PersonaRoles, NULL: no roles */
    int max_sessions;           /**< -1: not set; 0: no limit */
} persona_dir_t;

extern const command_rec persona_commands[];
void *persona_conf_create(apr_pool_t *p, server_rec *s);
void *persona_conf_merge(apr_pool_t *p, void *base, void *add);
void *persona_dir_create(apr_pool_t *p, char *path);
void *persona_dir_merge(apr_pool_t *p, void *base, void *add);
persona_conf_t *persona_conf(server_rec *s);
persona_dir_t *persona_dir(request_rec *r);
/** Everything that makes httpd -t, or the very first start, fail. */
int persona_config_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
/** The site keys of PersonaSecretFile into keys[2] (hexadecimal, in p), and the site's name: its line "site NAME", or,
 * where there is one key only, what that says. NULL, or what is wrong. */
const char *persona_config_keys(const persona_conf_t *conf, const char *keys[2], const char **ns, apr_pool_t *p);
/** What personad is given. */
void persona_config_settings(const persona_conf_t *conf, server_rec *s, persona_settings_t *settings,
                             apr_pool_t *p);

/* ---- supervise.c ---- */

/** Before anything may fork, at each reading of the configuration: from now on no child inherits what only the parent
 * may hold. OK, or an error. */
int persona_supervise_guard(void);
int persona_supervise_start(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
/** In the parent, from time to time: starts the manager that could not be started when it was due. */
void persona_supervise_monitor(void);
/** For workers: the socket's path, the hello's secret, and the derived record keys. NULL: no manager. */
const char *persona_supervise_socket(void);
const char *persona_supervise_secret(void);
const char *const *persona_supervise_record_keys(void);
const char *persona_supervise_namespace(void);
/** `personad --check` with these settings: what it says, one a line, warnings (PERSONA_CHECK_WARNING) among it.
 * `*good`: nothing is wrong. */
const char *persona_supervise_test(const persona_conf_t *conf, const persona_settings_t *settings, int *good,
                                   apr_pool_t *p);

/* ---- child.c ---- */

/** One open stream (WebSocket) or a session's recent requests, as reported to the manager. */
typedef struct persona_attached_t persona_attached_t;

void persona_child_init(apr_pool_t *pchild, server_rec *s);
/** Whether this process can reach a manager at all. */
int persona_child_ready(void);
/** The index, or NULL where there is none or memcached could not be opened. */
persona_index_t *persona_child_index(void);
/** persona_ipc_call; notes the version of the catalog that each answer tells. Steals nothing. */
apr_status_t persona_child_call(const json_t *request, json_t **answer, apr_time_t deadline);
/** The catalog in force, held until `p` is cleared, or NULL. Asks the manager when its version changed. */
persona_catalog_t *persona_child_catalog(apr_time_t deadline, apr_pool_t *p);
/** What this process has, without asking anybody; held until `p` is cleared. NULL: nothing yet. */
persona_catalog_t *persona_child_peek(apr_pool_t *p);
/** A short-lived copy of a session's record, by S or by "user\napp": NULL when unknown or its lease is over. */
const persona_record_t *persona_child_recall(const char *key, apr_pool_t *p);
void persona_child_remember(const char *key, const persona_record_t *record);
void persona_child_forget(const persona_record_t *record);
/** A page of the portal was shown: the manager is told soon, and nobody waits for that. Takes the roles' reference. */
void persona_child_visit(const char *user, json_t *roles);
/** A request or a stream of this session begins. `socket` (may be NULL) is shut down when the session ends. */
persona_attached_t *persona_attach(const persona_record_t *record, apr_socket_t *socket);
void persona_attach_input(persona_attached_t *attached);
/** Whether the manager said that the session is over. */
int persona_attach_ended(const persona_attached_t *attached);
void persona_detach(persona_attached_t *attached);

/* ---- gateway.c, claim.c ---- */

/** How a visit wants its answers. */
typedef enum { PERSONA_WANTS_PAGE, PERSONA_WANTS_JSON } persona_wants_e;

typedef enum {
    PERSONA_VISIT_READY,    /**< record is the session's, its lease is good */
    PERSONA_VISIT_WAIT,     /**< in line, or the home is being attached: see the progress members */
    PERSONA_VISIT_ENDED,    /**< this session is over: reason */
    PERSONA_VISIT_NONE,     /**< there is no session (only where no claim was asked for) */
    PERSONA_VISIT_FOREIGN,  /**< the cookie is another user's session: a new one is needed */
    PERSONA_VISIT_UNKNOWN,  /**< no such application */
    PERSONA_VISIT_LIMIT,    /**< PersonaMaxSessions */
    PERSONA_VISIT_COOKIE,   /**< nobody is signed in and the client keeps no cookie: nothing tells it from others */
    PERSONA_VISIT_HOME,     /**< the person's files cannot be reached: reason */
    PERSONA_VISIT_BROKEN,   /**< the instance does not answer; the manager was told */
    PERSONA_VISIT_DOWN      /**< the manager does not answer */
} persona_visit_e;

typedef struct persona_visit_t {
    request_rec *r;
    const persona_conf_t *conf;
    const persona_dir_t *dir;
    const char *base;       /**< "/apps/" */
    const char *app;        /**< valid app_id */
    const char *path;       /**< what follows base + app + "/", decoded */
    const char *raw;        /**< the same as it was sent, still encoded */
    const char *user;       /**< "" when httpd knows nobody */
    const char *token;      /**< of the cookie, valid form; NULL: none */
    char session[PERSONA_SESSION_LEN]; /**< S; "" while there is none */
    int api;                /**< keeps no cookie: keyed by user and app */
    int foreign;            /**< S has a record, of another user */
    persona_wants_e wants;
    int fresh;              /**< look into the index, not at what this process remembers */
    apr_time_t deadline;
    persona_catalog_t *catalog;
    const persona_t *persona; /**< matched; may be NULL with a running session */
    const persona_record_t *record;
    /* progress */
    apr_int64_t place;
    apr_time_t arrived;
    const char *stage, *reason;
    double eta_low, eta_typical, eta_high; /**< seconds; < 0: unknown */
    int ready;              /**< instances ready now */
    int sessions;           /**< of this user, as the manager counts them; -1: it was not asked */
} persona_visit_t;

int persona_gateway_pre_translate(request_rec *r);
int persona_gateway_translate(request_rec *r);
int persona_gateway_map(request_rec *r);
int persona_gateway_fixup(request_rec *r);
int persona_gateway_handler(request_rec *r);

/** Find the running session; claims nothing. READY, ENDED, NONE, DOWN. */
persona_visit_e persona_visit_find(persona_visit_t *visit);
/** Find the session, or claim an instance for it. */
persona_visit_e persona_visit_claim(persona_visit_t *visit);
/** Wait for the person's files until the deadline: READY, WAIT, HOME, ENDED. */
persona_visit_e persona_visit_home(persona_visit_t *visit);
/** The user's roles: array of const char *. */
apr_array_header_t *persona_visit_roles(request_rec *r, const persona_dir_t *dir);
/** Ask the manager to look whether the instance still lives. */
void persona_visit_condemn(persona_visit_t *visit, const char *reason);

/* ---- host.c ---- */

/** The suffix of a PersonaSessionHost. NULL, or what would be right. */
const char *persona_host_check(const char *pattern, const char **suffix, apr_pool_t *p);
/** What stands for the '*' where the request is for the host of a session; NULL: it is not. */
const char *persona_host_label(request_rec *r);
/** The ready session of an http persona: to its own host. */
int persona_host_send(persona_visit_t *visit);
/** Who it is at a session's host: the pass says it, and nobody is asked to sign in. */
int persona_host_authn(request_rec *r);
/** A request at a session's host; `visit->app` is "" for the portal. */
int persona_host_handler(persona_visit_t *visit, const char *label);

/* ---- pages.c ---- */

/** Headers of every page that is ours: type, caching, policy. */
void persona_page_headers(request_rec *r, const char *type);
/** Begin a page: `body` names its class; `script` (may be NULL) and the style sheet are our assets. */
void persona_page_open(persona_html_t *h, const persona_conf_t *conf, const char *base, const char *title,
                       const char *body, const char *script);
void persona_page_close(persona_html_t *h);
/** Send with `status`; returns OK. */
int persona_page_send(request_rec *r, int status, const persona_html_t *h);
int persona_page_json(request_rec *r, int status, json_t *json);
/** Whatever is not READY, as a page or as JSON, as the visit wants it. */
int persona_page_outcome(persona_visit_t *visit, persona_visit_e outcome);
/** The outcome in JSON; a new reference. */
json_t *persona_page_state(persona_visit_t *visit, persona_visit_e outcome);
/** The application's name for people. */
const char *persona_page_title(const persona_visit_t *visit);
/** The page around the screen of a VNC session. */
int persona_page_viewer(persona_visit_t *visit);

/* ---- assets.c ---- */

/** Read and hash the web files once for this configuration. NULL, or which is missing. */
const char *persona_assets_load(const persona_conf_t *conf, apr_pool_t *p);
/** URL of one of our files, relative to `base`, with its content hash. */
const char *persona_asset_url(const char *base, const char *name, apr_pool_t *p);
/** base + ".persona/" + `path` was asked for. */
int persona_asset_handler(request_rec *r, const persona_conf_t *conf, const char *path);

/* ---- the rest ---- */

int persona_portal_handler(request_rec *r, const persona_conf_t *conf, const persona_dir_t *dir);
int persona_relay(persona_visit_t *visit);
void persona_relay_register(apr_pool_t *p);
/** post_config: our own worker in every server's mod_proxy. NULL, or what is missing. */
const char *persona_relay_config(apr_pool_t *p, server_rec *s);
int persona_stream_handler(persona_visit_t *visit);
int persona_status_handler(request_rec *r);
void persona_home_register(apr_pool_t *p);
int persona_home_fixup(request_rec *r);
/** Whether a request that changes something, or a WebSocket, comes from a page of this very host. */
int persona_same_origin(request_rec *r);

#endif

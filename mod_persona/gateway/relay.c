/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file relay.c
 * @brief Personas that speak HTTP: the request goes on to mod_proxy, with a URL, headers and cookies that are the
 * instance's, and comes back with those that are the gateway's.
 *
 * mod_proxy does the moving of bytes over one worker of our own (its default one may wait for ever for a connection).
 * Connections to instances are not kept: an address may belong to another session when its lease is over. The
 * functions of mod_proxy are looked up by name, so that it may be loaded before or after this module.
 */
#include <dlfcn.h>

#include "cookie.h"
#include "gateway.h"

#include <apr_lib.h>
#include <apr_optional_hooks.h>
#include <apr_strings.h>
#include <mod_proxy.h>
#include <util_filter.h>

#define ACQUIRE      apr_time_from_sec(2)
#define RELAYED      "persona-relayed"
#define FILTER_OUT   "PERSONA_RELAY_OUT"
#define FILTER_COUNT "PERSONA_RELAY_COUNT"

static proxy_worker *relay_worker;
static ap_filter_rec_t *filter_out, *filter_count;

/** What the filters and hooks of one relayed request need. */
typedef struct relayed_t {
    persona_visit_t *visit;
    persona_attached_t *attached;
    const char *prefix;  /**< "/apps/app/" */
    const char *place;   /**< stream_path, ends with '/' */
    const char *address; /**< "10.0.0.5:6080", IPv6 in brackets */
} relayed_t;

static relayed_t *relayed_of(request_rec *r)
{
    void *relayed = NULL;

    apr_pool_userdata_get(&relayed, RELAYED, r->pool);
    return relayed;
}

/* ---- to the instance ---- */

/** Headers that name the person, the gateway's cookies or its client: only the gateway says them. */
static int header_private(const char *name)
{
    static const char *const names[] = {"Authorization", "Proxy-Authorization", "Cookie",
                                        "Forwarded",     "X-Real-IP",           "X-Remote-User",
                                        "Remote-User",   "X-Auth-Request-User", NULL};
    int i;

    if (!ap_cstr_casecmpn(name, "X-Persona-", 10) || !ap_cstr_casecmpn(name, "X-Forwarded-", 12)) {
        return 1;
    }
    for (i = 0; names[i]; i++) {
        if (!ap_cstr_casecmp(name, names[i])) {
            return 1;
        }
    }
    return 0;
}

static int header_keep(void *kept, const char *name, const char *value)
{
    if (!header_private(name)) {
        apr_table_addn(kept, name, value);
    }
    return 1;
}

/** The gateway's own origin in Origin and Referer becomes the instance's, which knows no other. */
static void origin_inward(request_rec *r, const relayed_t *relayed)
{
    const char *origin = apr_table_get(r->headers_in, "Origin"),
               *referer = apr_table_get(r->headers_in, "Referer");
    const char *host = apr_table_get(r->headers_in, "Host");
    const char *mine = host ? apr_pstrcat(r->pool, ap_http_scheme(r), "://", host, NULL) : "";
    const char *theirs = apr_pstrcat(r->pool, "http://", relayed->address, NULL), *under;

    if (origin && !ap_cstr_casecmp(origin, mine)) {
        apr_table_setn(r->headers_in, "Origin", theirs);
    }
    under = apr_pstrcat(r->pool, mine, relayed->prefix, NULL);
    if (referer && !strncmp(referer, under, strlen(under))) {
        apr_table_setn(r->headers_in, "Referer",
                       apr_pstrcat(r->pool, theirs, relayed->place, referer + strlen(under), NULL));
    }
    else if (referer) {
        apr_table_unset(r->headers_in, "Referer");
    }
}

static void headers_inward(request_rec *r, const relayed_t *relayed)
{
    const persona_record_t *record = relayed->visit->record;
    const char *cookie = persona_cookie_inward(apr_table_get(r->headers_in, "Cookie"), r->pool);
    apr_table_t *kept = apr_table_make(r->pool, 16);

    apr_table_do(header_keep, kept, r->headers_in, NULL);
    r->headers_in = kept;
    if (cookie) {
        apr_table_setn(kept, "Cookie", cookie);
    }
    origin_inward(r, relayed);
    apr_table_setn(kept, "X-Forwarded-Proto", ap_http_scheme(r));
    apr_table_setn(kept, "X-Forwarded-Prefix",
                   apr_pstrndup(r->pool, relayed->prefix, strlen(relayed->prefix) - 1));
    if (record->pass_user && *relayed->visit->user) {
        apr_table_setn(kept, "X-Persona-User", relayed->visit->user);
    }
}

/* ---- from the instance ---- */

static const char *location_outward(const relayed_t *relayed, const char *location, request_rec *r)
{
    const char *host = apr_table_get(r->headers_in, "Host"), *const schemes[] = {"http://",
                                                                                 "https://", NULL};
    int i;

    if (*location == '/' && location[1] != '/') {
        return persona_path_outward(location, relayed->place, relayed->prefix, r->pool);
    }
    for (i = 0; schemes[i]; i++) {
        apr_size_t len = strlen(schemes[i]);
        const char *rest = location + len, *slash;
        apr_size_t authority;

        if (ap_cstr_casecmpn(location, schemes[i], len)) {
            continue;
        }
        slash = strchr(rest, '/');
        authority = slash ? (apr_size_t)(slash - rest) : strlen(rest);
        if ((authority == strlen(relayed->address) &&
             !strncmp(rest, relayed->address, authority)) ||
            (host && authority == strlen(host) && !ap_cstr_casecmpn(rest, host, authority))) {
            return persona_path_outward(slash ? slash : "/", relayed->place, relayed->prefix,
                                        r->pool);
        }
    }
    return location;
}

typedef struct outward_t {
    const relayed_t *relayed;
    request_rec *r;
    apr_table_t *table;
} outward_t;

static int header_outward(void *baton, const char *name, const char *value)
{
    static const char *const dropped[] = {"Service-Worker-Allowed",    "Clear-Site-Data", "Alt-Svc",
                                          "Strict-Transport-Security", "Public-Key-Pins", NULL};
    outward_t *out = baton;
    const char *moved = value;
    int i;

    for (i = 0; dropped[i]; i++) {
        if (!ap_cstr_casecmp(name, dropped[i])) {
            return 1;
        }
    }
    if (!ap_cstr_casecmp(name, "Set-Cookie")) {
        moved =
            persona_cookie_outward(value, out->relayed->place, out->relayed->prefix, out->r->pool);
    }
    else if (!ap_cstr_casecmp(name, "Location") || !ap_cstr_casecmp(name, "Content-Location")) {
        moved = location_outward(out->relayed, value, out->r);
    }
    if (moved) {
        apr_table_addn(out->table, name, moved);
    }
    return 1;
}

/** Before the first byte of the answer: its headers. */
static apr_status_t relay_out(ap_filter_t *f, apr_bucket_brigade *bb)
{
    request_rec *r = f->r;
    outward_t out = {.relayed = f->ctx, .r = r, .table = apr_table_make(r->pool, 16)};
    ap_filter_t *next = f->next;

    apr_table_do(header_outward, &out, r->headers_out, NULL);
    r->headers_out = out.table;
    ap_remove_output_filter(f);
    return ap_pass_brigade(next, bb);
}

/** On an upgraded connection: whatever the client sends is a sign of life. */
static apr_status_t relay_count(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode,
                                apr_read_type_e block, apr_off_t bytes)
{
    apr_status_t status = ap_get_brigade(f->next, bb, mode, block, bytes);

    if (status == APR_SUCCESS && mode != AP_MODE_INIT && !APR_BRIGADE_EMPTY(bb)) {
        persona_attach_input(((relayed_t *)f->ctx)->attached);
    }
    return status;
}

/* ---- one request ---- */

static apr_status_t relayed_leave(void *baton)
{
    persona_detach(((relayed_t *)baton)->attached);
    return APR_SUCCESS;
}

static int is_websocket(request_rec *r)
{
    const char *upgrade = apr_table_get(r->headers_in, "Upgrade"),
               *connection = apr_table_get(r->headers_in, "Connection");

    return upgrade && !ap_cstr_casecmp(upgrade, "websocket") && connection &&
           ap_find_token(r->pool, connection, "upgrade");
}

static const char *place_of(const char *path, apr_pool_t *p)
{
    if (!path || !*path) {
        return "/";
    }
    return path[strlen(path) - 1] == '/' ? path : apr_pstrcat(p, path, "/", NULL);
}

/** An upgraded connection may be silent for as long as the session may last; the kernel notices dead peers. */
static void socket_prepare(persona_visit_t *visit, apr_socket_t *socket)
{
    apr_interval_time_t left =
        visit->record->ends ? visit->record->ends - apr_time_now() : apr_time_from_sec(86400);

    apr_socket_timeout_set(socket, left > apr_time_from_sec(1) ? left : apr_time_from_sec(1));
    apr_socket_opt_set(socket, APR_SO_KEEPALIVE, 1);
}

int persona_relay(persona_visit_t *visit)
{
    request_rec *r = visit->r;
    const persona_record_t *record = visit->record;
    relayed_t *relayed = apr_pcalloc(r->pool, sizeof(*relayed));
    apr_socket_t *socket = NULL;
    int websocket = is_websocket(r);

    if (!relay_worker) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "mod_proxy and mod_proxy_http are not loaded: a2enmod proxy_http");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (websocket && !persona_same_origin(r)) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "a page of another site asked for a WebSocket");
        return HTTP_FORBIDDEN;
    }
    relayed->visit = visit;
    relayed->prefix = apr_pstrcat(r->pool, visit->base, visit->app, "/", NULL);
    relayed->place = place_of(record->path, r->pool);
    relayed->address = apr_psprintf(r->pool, strchr(record->address, ':') ? "[%s]:%d" : "%s:%d",
                                    record->address, record->port);
    headers_inward(r, relayed);
    if (websocket) {
        socket = ap_get_conn_socket(r->connection);
        socket_prepare(visit, socket);
    }
    relayed->attached = persona_attach(record, socket);
    apr_pool_cleanup_register(r->pool, relayed, relayed_leave, apr_pool_cleanup_null);
    apr_pool_userdata_setn(relayed, RELAYED, NULL, r->pool);
    if (websocket) {
        ap_add_input_filter_handle(filter_count, relayed, NULL, r->connection);
    }
    ap_add_output_filter_handle(filter_out, relayed, r, r->connection);
    r->filename = apr_pstrcat(r->pool, "proxy:", websocket ? "ws://" : "http://", relayed->address,
                              relayed->place, visit->raw, r->args ? "?" : NULL, r->args, NULL);
    r->handler = "proxy-server";
    r->proxyreq = PROXYREQ_REVERSE;
    return DECLINED;
}

/* ---- hooks of mod_proxy ---- */

static int pre_request(proxy_worker **worker, proxy_balancer **balancer, request_rec *r,
                       proxy_server_conf *conf, char **url)
{
    (void)conf;
    (void)url;
    if (!relayed_of(r)) {
        return DECLINED;
    }
    *worker = relay_worker;
    *balancer = NULL;
    return OK;
}

/** mod_proxy could not reach the instance: have the manager look, and tell the person. */
static int request_status(int *status, request_rec *r)
{
    relayed_t *relayed = relayed_of(r);

    if (!relayed || (*status != HTTP_SERVICE_UNAVAILABLE && *status != HTTP_BAD_GATEWAY)) {
        return DECLINED;
    }
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                  "instance %s of session %.16s does not answer at %s",
                  relayed->visit->record->instance, relayed->visit->session, relayed->address);
    persona_visit_condemn(relayed->visit, "stream does not answer");
    if (r->sent_bodyct || r->bytes_sent) {
        return DECLINED;
    }
    ap_remove_output_filter_byhandle(r->output_filters, FILTER_OUT);
    r->proxyreq = PROXYREQ_NONE;
    *status = persona_page_outcome(relayed->visit, PERSONA_VISIT_BROKEN);
    return OK;
}

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    __typeof__(&proxy_hook_pre_request) hook =
        (__typeof__(hook))dlsym(RTLD_DEFAULT, "proxy_hook_pre_request");

    (void)pconf;
    (void)plog;
    (void)ptemp;
    if (hook) {
        hook(pre_request, NULL, NULL, APR_HOOK_FIRST);
    }
    return OK;
}

void persona_relay_register(apr_pool_t *p)
{
    (void)p;
    relay_worker = NULL;
    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(proxy, request_status, request_status, NULL, NULL, APR_HOOK_MIDDLE);
    filter_out = ap_register_output_filter(FILTER_OUT, relay_out, NULL, AP_FTYPE_CONTENT_SET);
    filter_count = ap_register_input_filter(FILTER_COUNT, relay_count, NULL, AP_FTYPE_CONNECTION);
}

const char *persona_relay_config(apr_pool_t *p, server_rec *s)
{
    __typeof__(&ap_proxy_define_worker) define =
        (__typeof__(define))dlsym(RTLD_DEFAULT, "ap_proxy_define_worker");
    module *proxy = ap_find_linked_module("mod_proxy.c");
    const char *error;

    if (!define || !proxy || !ap_find_linked_module("mod_proxy_http.c")) {
        return "mod_proxy and mod_proxy_http are not loaded: a2enmod proxy_http";
    }
    error = define(p, &relay_worker, NULL, ap_get_module_config(s->module_config, proxy),
                   "persona://instances", 0);
    if (error) {
        relay_worker = NULL;
        return error;
    }
    relay_worker->s->acquire = ACQUIRE;
    relay_worker->s->acquire_set = 1;
    relay_worker->s->is_address_reusable = 0;
    relay_worker->s->disablereuse = 1;
    relay_worker->s->conn_timeout = persona_conf(s)->timeout / 2;
    relay_worker->s->conn_timeout_set = 1;
    return NULL;
}

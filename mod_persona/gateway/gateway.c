/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file gateway.c
 * @brief What a URL below a <Location> with PersonaGateway On means, and who answers it.
 *
 *   BASE                      the portal
 *   BASE.persona/FILE         style sheets, scripts, icons
 *   BASE APP/                 the session: the viewer's page, or the instance's own URL space
 *   BASE APP/.persona/OP      wait, state, stream, end, new: below the application, so its own Require rules hold
 * host.c has what another host of a session makes of them.
 *
 * The work is done in the handler and not in a fixup, so that a subrequest that only asks whether this user may
 * open an application claims nothing.
 */
#include <apr_lib.h>
#include <apr_strings.h>

#include "cookie.h"
#include "gateway.h"
#include "persona/digest.h"
#include "persona/fault.h"

#define HANDLER "persona-gateway"
#define OWN     ".persona/"
/** Argument of the URL to which a browser without a cookie is sent with one: who comes back without it keeps none. */
#define ASKED "persona-cookie"

/** Remembered from pre_translate: the path before httpd decodes it. */
static const char *raw_path(request_rec *r)
{
    const char *raw = ap_get_module_config(r->request_config, &persona_module);

    return raw ? raw : r->uri;
}

int persona_gateway_pre_translate(request_rec *r)
{
    if (r->parsed_uri.path && persona_dir(r)->gateway > 0) {
        ap_set_module_config(r->request_config, &persona_module,
                             apr_pstrdup(r->pool, r->parsed_uri.path));
    }
    return DECLINED;
}

static int is_ours(request_rec *r)
{
    const persona_dir_t *dir = persona_dir(r);

    return dir->gateway > 0 && dir->base && persona_conf(r->server)->directory;
}

/** No file is behind these URLs: rules for the file system do not apply to them. */
int persona_gateway_translate(request_rec *r)
{
    if (!is_ours(r)) {
        /* The host of a session serves that session, and nothing else of this server. */
        return persona_host_label(r) ? HTTP_NOT_FOUND : DECLINED;
    }
    r->filename = apr_pstrcat(r->pool, "persona:", r->uri, NULL);
    return OK;
}

int persona_gateway_map(request_rec *r)
{
    return r->filename && !strncmp(r->filename, "persona:", 8) ? OK : DECLINED;
}

int persona_gateway_fixup(request_rec *r)
{
    if (!is_ours(r) || !r->filename || strncmp(r->filename, "persona:", 8)) {
        return DECLINED;
    }
    r->handler = HANDLER;
    return OK;
}

/* ---- who asks, and how ---- */

static int app_valid(const char *app)
{
    apr_size_t len = strspn(app, "abcdefghijklmnopqrstuvwxyz0123456789._-");

    return len && !app[len] && len <= PERSONA_NAME_MAX && apr_isalnum(*app);
}

/** Browsers name HTML; programs mostly do not. */
static persona_wants_e wants(request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept"),
               *dest = apr_table_get(r->headers_in, "Sec-Fetch-Dest");

    if (dest && strcmp(dest, "document") && strcmp(dest, "iframe") && strcmp(dest, "frame")) {
        return PERSONA_WANTS_JSON;
    }
    return accept && strstr(accept, "text/html") ? PERSONA_WANTS_PAGE : PERSONA_WANTS_JSON;
}

int persona_same_origin(request_rec *r)
{
    const char *site = apr_table_get(r->headers_in, "Sec-Fetch-Site"),
               *origin = apr_table_get(r->headers_in, "Origin");
    const char *host = apr_table_get(r->headers_in, "Host"), *mine;

    if (site && strcmp(site, "same-origin") && strcmp(site, "none")) {
        return 0;
    }
    if (!origin) {
        return 1;
    }
    if (!host) {
        return 0;
    }
    mine = apr_pstrcat(r->pool, ap_http_scheme(r), "://", host, NULL);
    return !ap_cstr_casecmp(origin, mine);
}

static int is_secure(request_rec *r)
{
    return !strcmp(ap_http_scheme(r), "https");
}

static const char *app_prefix(const persona_visit_t *visit)
{
    return apr_pstrcat(visit->r->pool, visit->base, visit->app, "/", NULL);
}

static void token_take(persona_visit_t *visit)
{
    visit->token =
        persona_cookie_token(apr_table_get(visit->r->headers_in, "Cookie"), visit->r->pool);
    if (visit->token) {
        persona_session_id(visit->token, visit->session);
    }
}

/** Give the browser a token; it claims only when it comes back with it. */
static void token_give(persona_visit_t *visit)
{
    apr_table_addn(visit->r->err_headers_out, "Set-Cookie",
                   persona_cookie_set(persona_random_hex(PERSONA_TOKEN_LEN / 2, visit->r->pool),
                                      app_prefix(visit), is_secure(visit->r), visit->r->pool));
}

static int redirect(request_rec *r, const char *url)
{
    apr_table_setn(r->headers_out, "Location", url);
    apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
    return HTTP_SEE_OTHER;
}

/** The visit's own URL, with its query and ASKED. */
static const char *self(const persona_visit_t *visit)
{
    const char *args = visit->r->args;

    return apr_pstrcat(visit->r->pool, app_prefix(visit), visit->raw, "?", args ? args : "",
                       args && *args ? "&" : "", ASKED, NULL);
}

/** Whether the browser was sent here with a cookie. The mark is taken off: it is none of the instance's business. */
static int was_asked(request_rec *r)
{
    apr_size_t len = r->args ? strlen(r->args) : 0, mark = sizeof(ASKED) - 1;

    if (len < mark || strcmp(r->args + len - mark, ASKED) || (len > mark && r->args[len - mark - 1] != '&')) {
        return 0;
    }
    r->args = len == mark ? NULL : apr_pstrmemdup(r->pool, r->args, len - mark - 1);
    return 1;
}

static void tell_log(const persona_visit_t *visit)
{
    apr_table_t *env = visit->r->subprocess_env;
    const persona_record_t *record = visit->record;

    apr_table_setn(env, "PERSONA_SESSION", visit->session);
    apr_table_setn(env, "PERSONA_ID", record->persona_id);
    apr_table_setn(env, "PERSONA_INSTANCE", record->instance);
    apr_table_setn(env, "PERSONA_START", record->cold ? "cold" : "warm");
    if (visit->arrived) {
        apr_table_setn(env, "PERSONA_WAIT_MS",
                       apr_psprintf(visit->r->pool, "%" APR_TIME_T_FMT,
                                    apr_time_as_msec(apr_time_now() - visit->arrived)));
    }
}

/* ---- what is below an application ---- */

/** A client without a cookie: a browser is given one first; a program, and a browser that keeps none, is keyed by
 * user and app if the user is known. 0: go on; else what to return. */
static int identify(persona_visit_t *visit, int claims)
{
    request_rec *r = visit->r;
    int asked = was_asked(r), gives = !asked && visit->wants == PERSONA_WANTS_PAGE && r->method_number == M_GET;

    token_take(visit);
    if (visit->token) {
        return 0;
    }
    if (claims && !gives && *visit->user && persona_child_index()) {
        persona_session_api_id(persona_child_index(), visit->user, visit->app, visit->session);
        visit->api = 1;
        return 0;
    }
    if (*visit->user && persona_visit_find(visit) == PERSONA_VISIT_READY) {
        return 0;
    }
    if (!claims) {
        return 0;
    }
    if (gives) {
        token_give(visit);
        return redirect(r, self(visit));
    }
    token_give(visit);
    return persona_page_outcome(visit, PERSONA_VISIT_COOKIE);
}

static persona_visit_e obtain(persona_visit_t *visit)
{
    persona_visit_e outcome = persona_visit_claim(visit);

    if (outcome == PERSONA_VISIT_READY) {
        outcome = persona_visit_home(visit);
    }
    if (visit->record) {
        tell_log(visit);
    }
    return outcome;
}

static int do_session(persona_visit_t *visit)
{
    persona_visit_e outcome;
    int status = identify(visit, 1);

    if (status) {
        return status;
    }
    outcome = obtain(visit);
    if (outcome == PERSONA_VISIT_FOREIGN) {
        token_give(visit);
        return visit->wants == PERSONA_WANTS_PAGE ? redirect(visit->r, self(visit))
                                                  : HTTP_FORBIDDEN;
    }
    if (outcome != PERSONA_VISIT_READY) {
        return persona_page_outcome(visit, outcome);
    }
    if (visit->record->stream == PERSONA_STREAM_HTTP) {
        return visit->conf->session_host ? persona_host_send(visit) : persona_relay(visit);
    }
    if (*visit->path) {
        return HTTP_NOT_FOUND;
    }
    return persona_page_viewer(visit);
}

static int do_wait(persona_visit_t *visit)
{
    int status;

    visit->wants = PERSONA_WANTS_JSON;
    status = identify(visit, 1);
    return status ? status
                  : persona_page_json(visit->r, HTTP_OK, persona_page_state(visit, obtain(visit)));
}

static int do_state(persona_visit_t *visit)
{
    persona_visit_e outcome;

    identify(visit, 0);
    outcome = visit->record ? PERSONA_VISIT_READY : persona_visit_find(visit);
    return persona_page_json(visit->r, HTTP_OK, persona_page_state(visit, outcome));
}

static int do_end(persona_visit_t *visit)
{
    json_t *request, *answer = NULL;
    persona_visit_e outcome;
    request_rec *r = visit->r;
    apr_status_t status;
    const char *said;
    int over;

    if (r->method_number != M_POST) {
        apr_table_setn(r->err_headers_out, "Allow", "POST");
        return HTTP_METHOD_NOT_ALLOWED;
    }
    if (!persona_same_origin(r)) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "a page of another site asked to end a session");
        return HTTP_FORBIDDEN;
    }
    identify(visit, 0);
    outcome = visit->record ? PERSONA_VISIT_READY : persona_visit_find(visit);
    if (outcome == PERSONA_VISIT_READY) {
        request = json_pack("{s:s, s:s, s:s, s:s}", "op", "end", "session", visit->session, "user",
                            visit->user, "reason", "user");
        status = PERSONA_FAULT_CALL(release_ask, persona_child_call(request, &answer, visit->deadline));
        said = json_string_value(json_object_get(answer, "status"));
        over = status == APR_SUCCESS && said && strcmp(said, "unknown");
        json_decref(request);
        json_decref(answer);
        persona_child_forget(visit->record);
        if (!over) {
            return persona_page_outcome(visit, PERSONA_VISIT_DOWN);
        }
        /* Who ended it knows: the next click begins anew, without meeting the note of why it ended. */
        if (visit->token) {
            token_give(visit);
        }
    }
    else if (outcome == PERSONA_VISIT_DOWN) {
        return persona_page_outcome(visit, outcome);
    }
    if (visit->wants == PERSONA_WANTS_JSON) {
        return persona_page_json(r, HTTP_OK, json_pack("{s:s}", "state", "ended"));
    }
    return redirect(r, visit->base);
}

/** Begin again after a session has ended: a new token, so that the note of the old one is not met again. */
static int do_new(persona_visit_t *visit)
{
    token_give(visit);
    return redirect(visit->r, app_prefix(visit));
}

static int do_control(persona_visit_t *visit, const char *what)
{
    if (!strcmp(what, "wait")) {
        return do_wait(visit);
    }
    if (!strcmp(what, "state")) {
        return do_state(visit);
    }
    if (!strcmp(what, "stream")) {
        identify(visit, 0);
        return persona_stream_handler(visit);
    }
    if (!strcmp(what, "end")) {
        return do_end(visit);
    }
    if (!strcmp(what, "new")) {
        return do_new(visit);
    }
    return HTTP_NOT_FOUND;
}

/** What follows base and application in the path as it was sent: both hold only characters that need no encoding. */
static const char *raw_rest(const persona_visit_t *visit)
{
    const char *raw = raw_path(visit->r), *prefix = app_prefix(visit);
    apr_size_t len = strlen(prefix);

    return strncmp(raw, prefix, len) ? ap_os_escape_path(visit->r->pool, visit->path, 1)
                                     : raw + len;
}

int persona_gateway_handler(request_rec *r)
{
    persona_visit_t *visit;
    const persona_dir_t *dir;
    const char *rest, *slash, *label;

    if (!r->handler || strcmp(r->handler, HANDLER)) {
        return DECLINED;
    }
    dir = persona_dir(r);
    if (strncmp(r->uri, dir->base, strlen(dir->base))) {
        /* <Location "/apps"> and a request for just that */
        return redirect(r, dir->base);
    }
    rest = r->uri + strlen(dir->base);
    label = persona_host_label(r);
    if (!*rest && !label) {
        return persona_portal_handler(r, persona_conf(r->server), dir);
    }
    if (!strncmp(rest, OWN, sizeof(OWN) - 1)) {
        return persona_asset_handler(r, persona_conf(r->server), rest + sizeof(OWN) - 1);
    }
    slash = strchr(rest, '/');
    visit = apr_pcalloc(r->pool, sizeof(*visit));
    visit->r = r;
    visit->conf = persona_conf(r->server);
    visit->dir = dir;
    visit->base = dir->base;
    visit->app = slash ? apr_pstrmemdup(r->pool, rest, (apr_size_t)(slash - rest)) : rest;
    visit->path = slash ? slash + 1 : "";
    visit->user = r->user ? r->user : "";
    visit->wants = wants(r);
    visit->fresh = visit->wants == PERSONA_WANTS_PAGE || !strncmp(visit->path, OWN, sizeof(OWN) - 1);
    visit->deadline = r->request_time + visit->conf->timeout;
    visit->sessions = -1;
    visit->eta_low = visit->eta_typical = visit->eta_high = -1;
    if (!app_valid(visit->app) && !(label && !*rest)) {
        return HTTP_NOT_FOUND;
    }
    if (strlen(visit->user) > PERSONA_USER_MAX) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "the user's name is longer than %d bytes",
                      PERSONA_USER_MAX);
        return HTTP_FORBIDDEN;
    }
    if (!slash && *rest) {
        return redirect(
            r, apr_pstrcat(r->pool, app_prefix(visit), r->args ? "?" : NULL, r->args, NULL));
    }
    visit->raw = raw_rest(visit);
    if (label) {
        return persona_host_handler(visit, label);
    }
    if (!strncmp(visit->path, OWN, sizeof(OWN) - 1)) {
        return do_control(visit, visit->path + sizeof(OWN) - 1);
    }
    return do_session(visit);
}

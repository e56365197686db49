/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file host.c
 * @brief PersonaSessionHost: each session that speaks HTTP has a host, and so an origin, of its own.
 *
 *   portal's host    BASE APP/                   finds or claims the session, then sends the browser over
 *   session's host   BASE APP/.persona/enter     takes the ticket, gives the cookie
 *                    BASE APP/...                the instance's own URL space
 *
 * A page of an instance is foreign code. On its own host it finds nothing of the portal: no cookie, no sign-in, no
 * other handler of this server. Nobody signs in there either; the pass says who it is.
 */
#include <apr_lib.h>
#include <apr_strings.h>

#include "gateway.h"
#include "pass.h"

#define ENTER ".persona/enter"

const char *persona_host_check(const char *pattern, const char **suffix, apr_pool_t *p)
{
    char *lower = apr_pstrdup(p, pattern);
    apr_size_t i, len = strlen(pattern);

    ap_str_tolower(lower);
    if (strncmp(lower, "*.", 2) || len < 4 || len > 180 || lower[len - 1] == '.' || strstr(lower, "..")) {
        return "write *. and a domain, such as *.desk.example.org";
    }
    for (i = 2; lower[i]; i++) {
        if (!apr_isalnum(lower[i]) && !strchr(".-", lower[i])) {
            return "write *. and a domain, such as *.desk.example.org, without a port";
        }
    }
    *suffix = lower + 1;
    return NULL;
}

const char *persona_host_label(request_rec *r)
{
    const char *suffix = persona_conf(r->server)->session_host, *host = r->hostname;
    apr_size_t len, end;

    if (!suffix || !host) {
        return NULL;
    }
    len = strlen(host);
    end = strlen(suffix);
    if (len <= end || ap_cstr_casecmp(host + len - end, suffix)) {
        return NULL;
    }
    return apr_pstrmemdup(r->pool, host, len - end);
}

/** ":8443" of the request's Host, "" for a default port. */
static const char *port_of(request_rec *r)
{
    const char *host = apr_table_get(r->headers_in, "Host"), *colon = host ? strrchr(host, ':') : NULL;

    return colon && !strchr(colon, ']') ? colon : "";
}

/** A URL with a ticket is for this browser alone. */
static int redirect(request_rec *r, const char *url)
{
    apr_table_setn(r->headers_out, "Location", url);
    apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->err_headers_out, "Referrer-Policy", "no-referrer");
    return HTTP_SEE_OTHER;
}

/* ---- at the portal ---- */

int persona_host_send(persona_visit_t *visit)
{
    request_rec *r = visit->r;
    const char *key = persona_supervise_record_keys()[0], *host = apr_table_get(r->headers_in, "Host");
    char label[PERSONA_LABEL_LEN];
    persona_pass_t pass;

    if (r->method_number != M_GET || apr_table_get(r->headers_in, "Upgrade") || !key || !host) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "only the session's own host takes such a request");
        return HTTP_MISDIRECTED_REQUEST;
    }
    persona_pass_label(visit->session, label);
    pass.session = visit->session;
    pass.user = visit->user;
    pass.portal = apr_pstrcat(r->pool, ap_http_scheme(r), "://", host, visit->base, NULL);
    pass.place = apr_pstrcat(r->pool, visit->raw, r->args ? "?" : "", r->args, NULL);
    return redirect(r, apr_pstrcat(r->pool, ap_http_scheme(r), "://", label, visit->conf->session_host, port_of(r),
                                   visit->base, visit->app, "/" ENTER "?",
                                   persona_pass_make(PERSONA_PASS_TICKET, &pass, key, apr_time_now(), r->pool), NULL));
}

/* ---- at the session's host ---- */

/** Whether this is the one request that brings a ticket instead of the cookie. */
static int is_enter(request_rec *r)
{
    apr_size_t len = strlen(r->uri), end = sizeof("/" ENTER) - 1;

    return len > end && !strcmp(r->uri + len - end, "/" ENTER);
}

static persona_pass_t *pass_of(request_rec *r, const char *label)
{
    const char *const *keys = persona_supervise_record_keys();

    if (is_enter(r)) {
        return r->args ? persona_pass_read(PERSONA_PASS_TICKET, r->args, label, keys, apr_time_now(), r->pool) : NULL;
    }
    return persona_pass_of_cookies(apr_table_get(r->headers_in, "Cookie"), label, keys, apr_time_now(), r->pool);
}

static int refuse(request_rec *r)
{
    ap_custom_response(r, HTTP_FORBIDDEN, "\"This address belongs to one session, and this browser has not come here "
                                          "from the portal. Open the application there.");
    return HTTP_FORBIDDEN;
}

int persona_host_authn(request_rec *r)
{
    const char *label = persona_host_label(r);
    const persona_pass_t *pass = label ? pass_of(r, label) : NULL;

    if (!label) {
        return DECLINED;
    }
    if (!pass) {
        return refuse(r);
    }
    r->user = *pass->user ? apr_pstrdup(r->pool, pass->user) : NULL;
    r->ap_auth_type = apr_pstrdup(r->pool, "persona");
    return OK;
}

static int enter(persona_visit_t *visit, const persona_pass_t *pass)
{
    request_rec *r = visit->r;
    persona_pass_t host = *pass;
    int secure = !strcmp(ap_http_scheme(r), "https");

    host.place = "";
    apr_table_addn(r->err_headers_out, "Set-Cookie",
                   apr_pstrcat(r->pool, PERSONA_PASS_COOKIE "=",
                               persona_pass_make(PERSONA_PASS_HOST, &host, persona_supervise_record_keys()[0],
                                                 apr_time_now(), r->pool),
                               "; Path=", visit->base, "; HttpOnly; SameSite=Lax", secure ? "; Secure" : "", NULL));
    return redirect(r, apr_pstrcat(r->pool, visit->base, visit->app, "/", pass->place, NULL));
}

/** What is not ready is the portal's to show. */
static int to_portal(persona_visit_t *visit, const persona_pass_t *pass, const char *app)
{
    return redirect(visit->r, apr_pstrcat(visit->r->pool, pass->portal, app, *app ? "/" : "", NULL));
}

int persona_host_handler(persona_visit_t *visit, const char *label)
{
    request_rec *r = visit->r;
    const persona_pass_t *pass = pass_of(r, label);
    persona_visit_e outcome;
    char own[PERSONA_LABEL_LEN];

    if (!pass || strcmp(pass->user, visit->user)) {
        return refuse(r);
    }
    if (!*visit->app) {
        return to_portal(visit, pass, "");
    }
    if (!strcmp(visit->path, ENTER)) {
        return enter(visit, pass);
    }
    if (!strncmp(visit->path, ".persona/", 9)) {
        return HTTP_NOT_FOUND;
    }
    apr_cpystrn(visit->session, pass->session, sizeof(visit->session));
    outcome = persona_visit_find(visit);
    if (outcome == PERSONA_VISIT_READY) {
        persona_pass_label(visit->session, own);
        if (!strcmp(own, label) && visit->record->stream == PERSONA_STREAM_HTTP) {
            return persona_relay(visit);
        }
        outcome = PERSONA_VISIT_ENDED; /* this user has another one by now, which has another host */
    }
    return visit->wants == PERSONA_WANTS_PAGE && r->method_number == M_GET ? to_portal(visit, pass, visit->app)
                                                                           : persona_page_outcome(visit, outcome);
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file portal.c
 * @brief BASE: the applications that this user may open, what is ready now, and the user's running sessions.
 *
 * An application is shown when a subrequest to it passes the same authentication and Require rules that a click
 * would meet; the subrequest never reaches a handler, so it claims nothing.
 */
#include <apr_strings.h>

#include "gateway.h"
#include "persona/match.h"

#define CALL_MAX apr_time_from_sec(2)

typedef struct app_t {
    const char *id;
    const persona_t *persona; /**< the one that a click would choose */
    int ready;                /**< < 0: unknown */
    const json_t *session;    /**< the user's running one, or NULL */
} app_t;

typedef struct portal_t {
    request_rec *r;
    const persona_conf_t *conf;
    const persona_dir_t *dir;
    const char *user;
    persona_catalog_t *catalog;
    apr_array_header_t *apps; /**< of app_t */
    json_t *status, *sessions;
    int down;
} portal_t;

static apr_status_t answer_let_go(void *answer)
{
    json_decref(answer);
    return APR_SUCCESS;
}

/** Ask; the answer lives as long as the request. Takes the request's reference. */
static json_t *ask(portal_t *portal, json_t *request)
{
    json_t *answer = NULL;

    if (persona_child_call(request, &answer, apr_time_now() + CALL_MAX) != APR_SUCCESS) {
        portal->down = 1;
    }
    json_decref(request);
    if (answer) {
        apr_pool_cleanup_register(portal->r->pool, answer, answer_let_go, apr_pool_cleanup_null);
    }
    return answer;
}

static json_t *roles_json(const apr_array_header_t *roles)
{
    json_t *json = json_array();
    int i;

    for (i = 0; i < roles->nelts; i++) {
        json_array_append_new(json, json_string(APR_ARRAY_IDX(roles, i, const char *)));
    }
    return json;
}

static int may_open(const portal_t *portal, const char *app)
{
    request_rec *sub = ap_sub_req_method_uri(
        "GET", apr_pstrcat(portal->r->pool, portal->dir->base, app, "/", NULL), portal->r, NULL);
    int allowed = sub->status == HTTP_OK;

    ap_destroy_sub_req(sub);
    return allowed;
}

/** Ready instances of a persona, from the manager's status document; -1: it does not tell. */
static int ready_of(const portal_t *portal, const char *persona_id)
{
    const json_t *personas = json_object_get(portal->status, "personas"), *one, *ready;
    size_t i;

    json_array_foreach(personas, i, one)
    {
        const char *id = json_string_value(json_object_get(one, "id"));

        if (id && !strcmp(id, persona_id)) {
            ready = json_object_get(one, "ready");
            return json_is_integer(ready) ? (int)json_integer_value(ready) : -1;
        }
    }
    return -1;
}

static const json_t *session_of(const portal_t *portal, const char *app)
{
    const json_t *list = json_object_get(portal->sessions, "sessions"), *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const char *id = json_string_value(json_object_get(one, "app"));

        if (id && !strcmp(id, app)) {
            return one;
        }
    }
    return NULL;
}

static void apps_collect(portal_t *portal, const apr_array_header_t *roles)
{
    const char *last = "";
    int i;

    for (i = 0; i < portal->catalog->personas->nelts; i++) {
        const persona_t *persona = APR_ARRAY_IDX(portal->catalog->personas, i, const persona_t *);
        app_t *app;

        /* sorted by app: each application once */
        if (persona->is_default || !strcmp(persona->app_id, last)) {
            continue;
        }
        last = persona->app_id;
        if (!may_open(portal, last)) {
            continue;
        }
        app = apr_array_push(portal->apps);
        app->id = last;
        app->persona = persona_match(portal->catalog, last, roles, NULL, portal->r->pool);
        app->persona = app->persona ? app->persona : persona;
        app->ready = ready_of(portal, app->persona->id);
        app->session = session_of(portal, last);
    }
}

/* ---- the page ---- */

static const char *since(const json_t *session, apr_pool_t *p)
{
    apr_time_t started = json_integer_value(json_object_get(session, "started"));
    apr_int64_t minutes = started ? apr_time_sec(apr_time_now() - started) / 60 : 0;

    if (minutes < 1) {
        return "started just now";
    }
    if (minutes < 120) {
        return apr_psprintf(p, "running for %d minute%s", (int)minutes, minutes == 1 ? "" : "s");
    }
    return apr_psprintf(p, "running for %d hours", (int)(minutes / 60));
}

static const char *title_of(const app_t *app)
{
    return app->persona->is_default || !app->persona->title ? app->id : app->persona->title;
}

static void app_show(persona_html_t *h, const portal_t *portal, const app_t *app)
{
    const char *base = portal->dir->base;

    persona_html_add(
        h,
        "<li class=\"app%h\"><a class=\"open\" href=\"%s%u/\"><img src=\"%s.persona/icon/%u\" alt=\"\" "
        "width=\"56\" height=\"56\"><span class=\"words\"><b>%s</b>",
        app->session ? " running" : "", base, app->id, base, app->id, title_of(app));
    if (app->persona->description) {
        persona_html_add(h, "<span class=\"quiet\">%s</span>", app->persona->description);
    }
    if (app->session) {
        persona_html_add(h, "<span class=\"badge on\">%s</span>", since(app->session, h->pool));
    }
    else if (app->ready > 0) {
        persona_html_add(h, "<span class=\"badge ready\">ready now</span>");
    }
    else if (app->ready == 0) {
        persona_html_add(h, "<span class=\"badge\">takes a moment to start</span>");
    }
    persona_html_add(h, "</span></a>");
    if (app->session) {
        persona_html_add(
            h,
            "<form method=\"post\" action=\"%s%u/.persona/end\" class=\"row\"><a class=\"button main\" "
            "href=\"%s%u/\">Resume</a><button class=\"button danger\" aria-label=\"End %s\">End</button></form>",
            base, app->id, base, app->id, title_of(app));
    }
    persona_html_add(h, "</li>\n");
}

static int page_show(const portal_t *portal)
{
    persona_html_t *h = persona_html_create(portal->r->pool);
    int i, running = 0;

    for (i = 0; i < portal->apps->nelts; i++) {
        running += APR_ARRAY_IDX(portal->apps, i, app_t).session != NULL;
    }
    persona_page_open(h, portal->conf, portal->dir->base, "Applications", "portal", "portal.js");
    persona_html_add(h, "<link rel=\"prefetch\" href=\"%s\">\n",
                     persona_asset_url(portal->dir->base, "viewer.js", h->pool));
    persona_html_add(h, "<header><h1>Applications</h1>");
    if (*portal->user) {
        persona_html_add(h, "<p class=\"quiet\">Signed in as <b>%s</b></p>", portal->user);
    }
    persona_html_add(h, "</header>\n<main>\n");
    if (portal->down) {
        persona_html_add(
            h,
            "<p class=\"alert\" role=\"alert\">The service that prepares desktops does not answer at the "
            "moment. Running sessions go on; try again in a few seconds.</p>\n");
    }
    if (running) {
        persona_html_add(h, "<h2>Running</h2>\n<ul class=\"apps\">\n");
        for (i = 0; i < portal->apps->nelts; i++) {
            if (APR_ARRAY_IDX(portal->apps, i, app_t).session) {
                app_show(h, portal, &APR_ARRAY_IDX(portal->apps, i, app_t));
            }
        }
        persona_html_add(h, "</ul>\n<h2>Start</h2>\n");
    }
    persona_html_add(h, "<ul class=\"apps\" id=\"apps\">\n");
    for (i = 0; i < portal->apps->nelts; i++) {
        if (!APR_ARRAY_IDX(portal->apps, i, app_t).session) {
            app_show(h, portal, &APR_ARRAY_IDX(portal->apps, i, app_t));
        }
    }
    persona_html_add(h, "</ul>\n");
    if (!portal->apps->nelts && !portal->down) {
        persona_html_add(h, "<p>There is no application that you may open.</p>\n");
    }
    persona_html_add(h, "</main>\n");
    persona_page_close(h);
    return persona_page_send(portal->r, HTTP_OK, h);
}

static int json_show(const portal_t *portal)
{
    json_t *list = json_array();
    int i;

    for (i = 0; i < portal->apps->nelts; i++) {
        const app_t *app = &APR_ARRAY_IDX(portal->apps, i, app_t);

        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:i, s:b}", "app", app->id, "title", title_of(app), "url",
                      apr_pstrcat(portal->r->pool, portal->dir->base, app->id, "/", NULL), "ready",
                      app->ready, "running", app->session != NULL));
    }
    return persona_page_json(portal->r, HTTP_OK,
                             json_pack("{s:o, s:b}", "apps", list, "down", portal->down));
}

int persona_portal_handler(request_rec *r, const persona_conf_t *conf, const persona_dir_t *dir)
{
    portal_t portal = {.r = r, .conf = conf, .dir = dir, .user = r->user ? r->user : ""};
    const char *accept = apr_table_get(r->headers_in, "Accept");
    apr_array_header_t *roles;

    if (r->method_number != M_GET) {
        apr_table_setn(r->err_headers_out, "Allow", "GET, HEAD");
        return HTTP_METHOD_NOT_ALLOWED;
    }
    if (strlen(portal.user) > PERSONA_USER_MAX) {
        return HTTP_FORBIDDEN;
    }
    roles = persona_visit_roles(r, dir);
    portal.apps = apr_array_make(r->pool, 16, sizeof(app_t));
    persona_child_visit(portal.user, roles_json(roles));
    portal.catalog = persona_child_catalog(apr_time_now() + CALL_MAX, r->pool);
    if (!portal.down) {
        portal.status = ask(&portal, json_pack("{s:s, s:s}", "op", "status", "user", portal.user));
    }
    if (!portal.down && *portal.user) {
        portal.sessions =
            ask(&portal, json_pack("{s:s, s:s}", "op", "sessions", "user", portal.user));
    }
    if (portal.catalog) {
        apps_collect(&portal, roles);
    }
    else {
        portal.down = 1;
    }
    return accept && strstr(accept, "application/json") && !strstr(accept, "text/html")
               ? json_show(&portal)
               : page_show(&portal);
}

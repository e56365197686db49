/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file pages.c
 * @brief The pages around a session: waiting, ended, refused, out of order, and the one that holds the screen; and
 * the same outcomes as JSON.
 *
 * Every page works without scripts; scripts and styles are files of ours, so the policy sent with each page allows
 * nothing inline and nothing from elsewhere.
 */
#include <apr_strings.h>

#include "gateway.h"

#define POLICY                                                                                                  \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; " \
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
#define RETRY_MAX 30

void persona_page_headers(request_rec *r, const char *type)
{
    ap_set_content_type(r, type);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "Content-Security-Policy", POLICY);
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    apr_table_setn(r->headers_out, "Referrer-Policy", "same-origin");
}

void persona_page_open(persona_html_t *h, const persona_conf_t *conf, const char *base,
                       const char *title, const char *body, const char *script)
{
    (void)conf;
    persona_html_add(h,
                     "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                     "<meta name=\"color-scheme\" content=\"light dark\">\n<title>%s</title>\n"
                     "<link rel=\"icon\" href=\"%s\" type=\"image/svg+xml\">\n"
                     "<link rel=\"stylesheet\" href=\"%s\">\n",
                     title, persona_asset_url(base, "persona.svg", h->pool),
                     persona_asset_url(base, "persona.css", h->pool));
    if (script) {
        persona_html_add(h, "<script defer src=\"%s\"></script>\n",
                         persona_asset_url(base, script, h->pool));
    }
    persona_html_add(h, "</head>\n<body class=\"%s\">\n", body);
}

void persona_page_close(persona_html_t *h)
{
    persona_html_add(h, "</body>\n</html>\n");
}

int persona_page_send(request_rec *r, int status, const persona_html_t *h)
{
    persona_page_headers(r, "text/html;charset=utf-8");
    r->status = status;
    ap_set_content_length(r, (apr_off_t)h->len);
    if (!r->header_only) {
        ap_rwrite(h->text, (int)h->len, r);
    }
    return OK;
}

int persona_page_json(request_rec *r, int status, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);

    persona_page_headers(r, "application/json");
    r->status = status;
    if (text) {
        ap_set_content_length(r, (apr_off_t)strlen(text));
        if (!r->header_only) {
            ap_rputs(text, r);
        }
    }
    free(text);
    json_decref(json);
    return OK;
}

const char *persona_page_title(const persona_visit_t *visit)
{
    const persona_t *persona = visit->persona;
    int i;

    if (!persona && visit->record && visit->catalog) {
        persona = persona_catalog_find(visit->catalog, visit->record->persona_id);
    }
    if (persona && !persona->is_default && persona->title) {
        return persona->title;
    }
    for (i = 0; visit->catalog && i < visit->catalog->personas->nelts; i++) {
        const persona_t *one = APR_ARRAY_IDX(visit->catalog->personas, i, const persona_t *);

        if (!strcmp(one->app_id, visit->app)) {
            return one->title;
        }
    }
    return visit->app;
}

/* ---- words ---- */

typedef struct words_t {
    const char *state, *title, *text;
    int status;
} words_t;

static words_t words_of(persona_visit_e outcome)
{
    switch (outcome) {
    case PERSONA_VISIT_READY:
        return (words_t){"ready", "Ready", "Your desktop is ready.", HTTP_OK};
    case PERSONA_VISIT_WAIT:
        return (words_t){"waiting", "Getting ready",
                         "Your desktop is being prepared. This page opens it by itself.", HTTP_OK};
    case PERSONA_VISIT_ENDED:
        return (words_t){"ended", "This session has ended",
                         "It can be started again; it begins with a fresh machine.", HTTP_GONE};
    case PERSONA_VISIT_NONE:
        return (words_t){"none", "No session", "There is no running session of this application.",
                         HTTP_NOT_FOUND};
    case PERSONA_VISIT_FOREIGN:
        return (words_t){"foreign", "Not your session", "This session belongs to another user.",
                         HTTP_FORBIDDEN};
    case PERSONA_VISIT_UNKNOWN:
        return (words_t){"unknown", "No such application",
                         "There is no application of this name here.", HTTP_NOT_FOUND};
    case PERSONA_VISIT_LIMIT:
        return (words_t){
            "limit", "Too many sessions",
            "You have as many sessions as you may have at once. End one of them to open another.",
            HTTP_FORBIDDEN};
    case PERSONA_VISIT_COOKIE:
        return (words_t){"cookie", "Cookies are needed",
                         "A cookie tells your desktop from those of others: allow cookies for this site, or keep "
                         "the one of this answer and ask again.",
                         HTTP_SERVICE_UNAVAILABLE};
    case PERSONA_VISIT_HOME:
        return (words_t){
            "home", "Your files cannot be reached",
            "The desktop is not opened without them, so that nothing you save is lost. Try again in a few "
            "minutes.",
            HTTP_SERVICE_UNAVAILABLE};
    case PERSONA_VISIT_BROKEN:
        return (words_t){"broken", "Your desktop does not answer",
                         "It is being looked at. If its machine is gone you get a new one.",
                         HTTP_SERVICE_UNAVAILABLE};
    case PERSONA_VISIT_DOWN:
    default:
        break;
    }
    return (words_t){
        "down", "Out of order for a moment",
        "The service that prepares desktops does not answer. This page tries again by itself.",
        HTTP_SERVICE_UNAVAILABLE};
}

/** What is written in a session's note, for people. */
static const char *ended_words(const char *reason)
{
    static const struct {
        const char *reason, *words;
    } known[] = {
        {"user", "You ended it."},
        {"idle", "Nobody used it for a while."},
        {"idle_timeout", "Nobody used it for a while."},
        {"disconnected", "Nobody was connected to it for a while."},
        {"disconnect_timeout", "Nobody was connected to it for a while."},
        {"max_session", "It reached the longest time that a session may last."},
        {"died", "Its machine stopped unexpectedly."},
        {"dead", "Its machine stopped unexpectedly."},
    };
    apr_size_t i;

    for (i = 0; reason && i < sizeof(known) / sizeof(known[0]); i++) {
        if (!strcmp(reason, known[i].reason)) {
            return known[i].words;
        }
    }
    return reason ? reason : "";
}

static const char *stage_words(const char *stage)
{
    static const struct {
        const char *stage, *words;
    } known[] = {
        {"queued", "Waiting for a machine"},
        {"creating", "A machine is being made"},
        {"booting", "The machine is starting"},
        {"probing", "The application is starting"},
        {"home", "Your files are being attached"},
        {"failing", "This application does not start at the moment"},
        {"no-capacity", "All machines are in use"},
    };
    apr_size_t i;

    for (i = 0; stage && i < sizeof(known) / sizeof(known[0]); i++) {
        if (!strcmp(stage, known[i].stage)) {
            return known[i].words;
        }
    }
    return "Preparing";
}

static int retry_after(const persona_visit_t *visit, persona_visit_e outcome)
{
    int seconds = outcome == PERSONA_VISIT_WAIT ? (int)visit->eta_typical : 5;

    if (seconds < 1) {
        seconds = 1;
    }
    return seconds > RETRY_MAX ? RETRY_MAX : seconds;
}

/** The marks as they are shown: whole seconds, rounded away from each other. */
static int mark_low(const persona_visit_t *visit)
{
    return (int)visit->eta_low;
}

static int mark_high(const persona_visit_t *visit)
{
    return visit->eta_high < 86400 ? (int)visit->eta_high + 1 : 86400;
}

/* ---- JSON ---- */

json_t *persona_page_state(persona_visit_t *visit, persona_visit_e outcome)
{
    words_t words = words_of(outcome);
    json_t *json = json_pack("{s:s, s:s, s:s}", "state", words.state, "title", words.title,
                             "message", words.text);
    apr_time_t now = apr_time_now();

    if (outcome == PERSONA_VISIT_WAIT) {
        json_object_set_new(json, "stage", json_string(visit->stage ? visit->stage : "queued"));
        json_object_set_new(json, "stage_text", json_string(stage_words(visit->stage)));
        json_object_set_new(json, "place", json_integer(visit->place));
        if (visit->eta_low >= 0 && visit->eta_high >= 0) {
            json_object_set_new(json, "eta",
                                json_pack("{s:i, s:f, s:i}", "low", mark_low(visit), "typical",
                                          visit->eta_typical, "high", mark_high(visit)));
        }
        if (visit->arrived) {
            json_object_set_new(json, "waited",
                                json_real((double)(now - visit->arrived) / APR_USEC_PER_SEC));
        }
    }
    if (visit->reason) {
        json_object_set_new(json, "reason",
                            json_string(outcome == PERSONA_VISIT_ENDED ? ended_words(visit->reason)
                                                                       : visit->reason));
    }
    if (outcome == PERSONA_VISIT_READY && visit->record->ends) {
        json_object_set_new(json, "remaining",
                            json_integer(apr_time_sec(visit->record->ends - now)));
        json_object_set_new(json, "instance", json_string(visit->record->instance));
    }
    return json;
}

/* ---- pages ---- */

static void page_head(persona_html_t *h, const persona_visit_t *visit, const char *title)
{
    persona_html_add(
        h,
        "<main class=\"card\">\n<img class=\"tile\" src=\"%s.persona/icon/%u\" alt=\"\" width=\"72\" "
        "height=\"72\">\n<p class=\"app\">%s</p>\n<h1 id=\"title\">%s</h1>\n",
        visit->base, visit->app, persona_page_title(visit), title);
}

static void page_waiting(persona_html_t *h, persona_visit_t *visit, const words_t *words)
{
    persona_html_add(h, "<noscript><meta http-equiv=\"refresh\" content=\"2\"></noscript>\n");
    page_head(h, visit, words->title);
    persona_html_add(
        h,
        "<div id=\"progress\" class=\"progress\" role=\"progressbar\" aria-labelledby=\"stage\"><span>"
        "</span></div>\n<p id=\"stage\" class=\"stage\" role=\"status\">%s</p>\n",
        stage_words(visit->stage));
    persona_html_add(
        h, "<p id=\"place\" class=\"quiet\"%h>Place in line: <b id=\"number\">%l</b></p>\n",
        visit->place > 0 ? "" : " hidden", visit->place);
    persona_html_add(h, "<p id=\"eta\" class=\"quiet\">");
    if (visit->eta_low >= 0 && visit->eta_high >= 0) {
        persona_html_add(h, "In 8 of 10 cases between %d and %d more seconds.", mark_low(visit), mark_high(visit));
    }
    persona_html_add(h, "</p>\n<p id=\"reason\" class=\"alert\"%h>%s</p>\n",
                     visit->reason ? "" : " hidden", visit->reason);
    persona_html_add(
        h,
        "<p class=\"quiet\">%s</p>\n<p><a class=\"button\" href=\"%s\">All applications</a></p>\n</main>\n",
        words->text, visit->base);
}

static void page_message(persona_html_t *h, persona_visit_t *visit, persona_visit_e outcome,
                         const words_t *words)
{
    if (outcome == PERSONA_VISIT_DOWN || outcome == PERSONA_VISIT_BROKEN) {
        persona_html_add(h, "<meta http-equiv=\"refresh\" content=\"5\">\n");
    }
    page_head(h, visit, words->title);
    if (visit->reason) {
        persona_html_add(h, "<p class=\"alert\">%s</p>\n",
                         outcome == PERSONA_VISIT_ENDED ? ended_words(visit->reason)
                                                        : visit->reason);
    }
    persona_html_add(h, "<p>%s</p>\n<p class=\"row\">", words->text);
    if (outcome == PERSONA_VISIT_ENDED) {
        persona_html_add(h, "<a class=\"button main\" href=\"%s%u/.persona/new\">Start again</a> ",
                         visit->base, visit->app);
    }
    else if (outcome == PERSONA_VISIT_HOME || outcome == PERSONA_VISIT_DOWN ||
             outcome == PERSONA_VISIT_BROKEN || outcome == PERSONA_VISIT_COOKIE) {
        persona_html_add(h, "<a class=\"button main\" href=\"\">Try again</a> ");
    }
    persona_html_add(h, "<a class=\"button\" href=\"%s\">All applications</a></p>\n</main>\n",
                     visit->base);
}

int persona_page_outcome(persona_visit_t *visit, persona_visit_e outcome)
{
    words_t words = words_of(outcome);
    request_rec *r = visit->r;
    persona_html_t *h;

    if (!visit->catalog) {
        visit->catalog = persona_child_peek(r->pool);
    }
    if (visit->wants == PERSONA_WANTS_JSON) {
        int status = outcome == PERSONA_VISIT_WAIT ? HTTP_SERVICE_UNAVAILABLE : words.status;

        if (status == HTTP_SERVICE_UNAVAILABLE) {
            apr_table_setn(r->headers_out, "Retry-After",
                           apr_itoa(r->pool, retry_after(visit, outcome)));
        }
        return persona_page_json(r, status, persona_page_state(visit, outcome));
    }
    h = persona_html_create(r->pool);
    persona_page_open(h, visit->conf, visit->base, persona_page_title(visit), "narrow",
                      outcome == PERSONA_VISIT_WAIT ? "wait.js" : NULL);
    if (outcome == PERSONA_VISIT_WAIT) {
        page_waiting(h, visit, &words);
    }
    else {
        page_message(h, visit, outcome, &words);
    }
    persona_page_close(h);
    if (words.status == HTTP_SERVICE_UNAVAILABLE) {
        apr_table_setn(r->headers_out, "Retry-After",
                       apr_itoa(r->pool, retry_after(visit, outcome)));
    }
    return persona_page_send(r, words.status, h);
}

int persona_page_viewer(persona_visit_t *visit)
{
    persona_html_t *h = persona_html_create(visit->r->pool);
    const char *title;

    if (!visit->catalog) {
        visit->catalog = persona_child_peek(visit->r->pool);
    }
    title = persona_page_title(visit);
    persona_page_open(h, visit->conf, visit->base, title, "viewer", "viewer.js");
    persona_html_add(
        h,
        "<div id=\"bar\" role=\"toolbar\" aria-label=\"Session\">\n"
        "<a id=\"home\" href=\"%s\" title=\"All applications\" aria-label=\"All applications\">&#8592;</a>\n"
        "<span id=\"name\">%s</span>\n<span id=\"status\" role=\"status\">Connecting</span>\n"
        "<span id=\"left\" hidden></span>\n"
        "<button id=\"keys\" type=\"button\" title=\"Send Ctrl+Alt+Del\">Ctrl+Alt+Del</button>\n"
        "<button id=\"full\" type=\"button\" title=\"Full screen\">Full screen</button>\n"
        "<button id=\"end\" type=\"button\" class=\"danger\">End</button>\n</div>\n",
        visit->base, title);
    persona_html_add(
        h,
        "<div id=\"screen\" tabindex=\"-1\" aria-label=\"Screen of %s\"></div>\n"
        "<div id=\"veil\" class=\"veil\"><div class=\"card\"><h1 id=\"veil-title\">Connecting</h1>\n"
        "<p id=\"veil-text\">Opening %s.</p>\n<p class=\"row\"><a id=\"again\" class=\"button main\" "
        "href=\".persona/new\" hidden>Start again</a> <a class=\"button\" href=\"%s\">All applications</a></p>"
        "</div></div>\n<noscript><p class=\"alert\">The screen is drawn by a script: allow scripts for this "
        "site.</p></noscript>\n",
        title, title, visit->base);
    persona_page_close(h);
    return persona_page_send(visit->r, HTTP_OK, h);
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file status.c
 * @brief The handler persona-status: the manager's status document for people, or as it is for programs.
 */
#include <apr_strings.h>

#include "gateway.h"


/** Any value of the document, in words. */
static const char *words(const json_t *value, apr_pool_t *p)
{
    if (json_is_string(value)) {
        return json_string_value(value);
    }
    if (json_is_integer(value)) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT, (apr_int64_t)json_integer_value(value));
    }
    if (json_is_real(value)) {
        return apr_psprintf(p, "%.3g", json_real_value(value));
    }
    if (json_is_boolean(value)) {
        return json_is_true(value) ? "yes" : "no";
    }
    if (json_is_null(value) || !value) {
        return "";
    }
    if (json_is_object(value)) {
        const char *text = "", *name;
        const json_t *member;

        json_object_foreach((json_t *)(apr_uintptr_t)value, name, member) {
            text = apr_pstrcat(p, text, *text ? "; " : "", name, " ", words(member, p), NULL);
        }
        return text;
    }
    {
        char *text = json_dumps(value, JSON_COMPACT);
        const char *copy = apr_pstrdup(p, text ? text : "");

        free(text);
        return copy;
    }
}

/** An array of objects as a table; its columns are the members of the first row. */
static void table_show(persona_html_t *h, const char *name, const json_t *rows)
{
    const json_t *row, *value, *first = json_array_get(rows, 0);
    const char *column;
    size_t i;

    persona_html_add(h, "<section><h2>%s</h2>\n", name);
    if (!first) {
        persona_html_add(h, "<p class=\"quiet\">none</p></section>\n");
        return;
    }
    if (!json_is_object(first)) {
        persona_html_add(h, "<ul>");
        json_array_foreach(rows, i, row) {
            persona_html_add(h, "<li>%s</li>", words(row, h->pool));
        }
        persona_html_add(h, "</ul></section>\n");
        return;
    }
    persona_html_add(h, "<div class=\"wide\"><table><thead><tr>");
    json_object_foreach((json_t *)(apr_uintptr_t)first, column, value) {
        persona_html_add(h, "<th scope=\"col\">%s</th>", column);
    }
    persona_html_add(h, "</tr></thead><tbody>\n");
    json_array_foreach(rows, i, row) {
        persona_html_add(h, "<tr>");
        json_object_foreach((json_t *)(apr_uintptr_t)first, column, value) {
            persona_html_add(h, "<td>%s</td>", words(json_object_get(row, column), h->pool));
        }
        persona_html_add(h, "</tr>\n");
    }
    persona_html_add(h, "</tbody></table></div></section>\n");
}

static int page_show(request_rec *r, json_t *status)
{
    persona_html_t *h = persona_html_create(r->pool);
    const json_t *value;
    const char *name;

    persona_html_add(h, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Persona status</title>"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                     "<meta name=\"color-scheme\" content=\"light dark\"></head><body>\n<h1>Persona status</h1>\n<dl>");
    json_object_foreach(status, name, value) {
        if (!json_is_array(value) && strcmp(name, "status")) {
            persona_html_add(h, "<dt>%s</dt><dd>%s</dd>", name, words(value, h->pool));
        }
    }
    persona_html_add(h, "</dl>\n");
    json_object_foreach(status, name, value) {
        if (json_is_array(value)) {
            table_show(h, name, value);
        }
    }
    persona_html_add(h, "</body></html>\n");
    return persona_page_send(r, HTTP_OK, h);
}

int persona_status_handler(request_rec *r)
{
    const persona_conf_t *conf = persona_conf(r->server);
    const char *accept = apr_table_get(r->headers_in, "Accept");
    json_t *answer = NULL, *request;
    apr_status_t status;
    int json, result;

    if (!r->handler || strcmp(r->handler, "persona-status")) {
        return DECLINED;
    }
    if (r->method_number != M_GET) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    json = (accept && strstr(accept, "application/json")) || (r->args && !strcmp(r->args, "json"));
    request = json_pack("{s:s}", "op", "status");
    status = persona_child_call(request, &answer, r->request_time + conf->timeout);
    json_decref(request);
    if (status != APR_SUCCESS) {
        json_decref(answer);
        ap_log_rerror(APLOG_MARK, APLOG_ERR, status, r, "the persona manager does not answer");
        return persona_page_json(r, HTTP_SERVICE_UNAVAILABLE, json_pack("{s:s}", "error",
                                 "the persona manager does not answer"));
    }
    if (json) {
        return persona_page_json(r, HTTP_OK, answer);
    }
    result = page_show(r, answer);
    json_decref(answer);
    return result;
}

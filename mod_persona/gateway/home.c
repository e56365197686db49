/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file home.c
 * @brief The people's homes, as their desktops mount them: who may read which.
 *
 * A desktop signs in to the WebDAV folder of PersonaHomeURL with its session S as name and the one-time credential
 * that the manager gave it; the authentication provider "persona-home" asks the manager, and the request goes on as
 * the person. Whatever the Require rules say, such a request sees only what is below that person's own folder,
 * which is made at the first visit.
 */
#include "gateway.h"

#include <errno.h>
#include <sys/stat.h>

#include <ap_provider.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_uri.h>
#include <mod_auth.h>

#include "persona/text.h"

#define NOTE "persona-home"

static int is_session(const char *name)
{
    return strlen(name) == PERSONA_SESSION_LEN - 1 &&
           strspn(name, "0123456789abcdef") == PERSONA_SESSION_LEN - 1;
}

/** Whose session this is, as the manager knows it; NULL: nobody's. */
static const char *user_of(const char *session, apr_time_t deadline, apr_pool_t *p)
{
    json_t *answer = NULL, *request = json_pack("{s:s, s:s}", "op", "find", "session", session);
    const char *user = NULL;

    if (persona_child_call(request, &answer, deadline) == APR_SUCCESS) {
        user = apr_pstrdup(
            p, json_string_value(json_object_get(json_object_get(answer, "record"), "user")));
    }
    json_decref(answer);
    json_decref(request);
    return user && *user ? user : NULL;
}

static authn_status check_password(request_rec *r, const char *session, const char *credential)
{
    apr_time_t deadline = apr_time_now() + persona_conf(r->server)->timeout;
    json_t *answer = NULL, *request;
    const char *user, *word;
    authn_status outcome = AUTH_GENERAL_ERROR;

    if (!is_session(session)) {
        return AUTH_USER_NOT_FOUND;
    }
    user = user_of(session, deadline, r->pool);
    if (!user) {
        return AUTH_USER_NOT_FOUND;
    }
    request = json_pack("{s:s, s:s, s:s, s:s}", "op", "home", "user", user, "session", session,
                        "credential", credential);
    if (request && persona_child_call(request, &answer, deadline) == APR_SUCCESS) {
        word = json_string_value(json_object_get(answer, "status"));
        outcome = word && !strcmp(word, "ok") ? AUTH_GRANTED : AUTH_DENIED;
    }
    json_decref(answer);
    json_decref(request);
    if (outcome == AUTH_GRANTED) {
        r->user = apr_pstrdup(r->pool, user);
        apr_table_setn(r->notes, NOTE, user);
    }
    return outcome;
}

static const authn_provider provider = {check_password, NULL};

void persona_home_register(apr_pool_t *p)
{
    ap_register_auth_provider(p, AUTHN_PROVIDER_GROUP, NOTE, AUTHN_PROVIDER_VERSION, &provider,
                              AP_AUTH_INTERNAL_PER_CONF);
}

/** The path of PersonaHomeURL, ends with '/'. */
static const char *home_base(const persona_conf_t *conf, apr_pool_t *p)
{
    apr_uri_t uri;

    if (!conf->home_url || apr_uri_parse(p, conf->home_url, &uri) != APR_SUCCESS || !uri.path) {
        return NULL;
    }
    return uri.path[strlen(uri.path) - 1] == '/' ? uri.path : apr_pstrcat(p, uri.path, "/", NULL);
}

/** The person's folder at its first use, then the request as if it had been there. */
static int folder_make(request_rec *r, const char *rest)
{
    char *whole = apr_pstrcat(r->pool, r->filename, r->path_info, NULL);
    apr_size_t len = strlen(whole), below = strlen(rest);

    while (len && whole[len - 1] == '/') {
        whole[--len] = '\0';
    }
    while (below && rest[below - 1] == '/') {
        below--;
    }
    if (below >= len) {
        return HTTP_FORBIDDEN;
    }
    if (mkdir(apr_pstrmemdup(r->pool, whole, len - below), 0700) && errno != EEXIST) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, errno, r, "the home %s cannot be made",
                      apr_pstrmemdup(r->pool, whole, len - below));
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (r->finfo.filetype == APR_NOFILE) {
        r->filename = whole;
        r->path_info = apr_pstrdup(r->pool, "");
        apr_stat(&r->finfo, whole, APR_FINFO_MIN, r->pool);
    }
    return OK;
}

int persona_home_fixup(request_rec *r)
{
    const char *user = apr_table_get(r->notes, NOTE), *base, *folder, *rest, *to;
    apr_size_t len;
    apr_uri_t uri;

    if (!user) {
        return DECLINED;
    }
    base = home_base(persona_conf(r->server), r->pool);
    if (!base || strncmp(r->uri, base, strlen(base))) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "a desktop's credential is good only below PersonaHomeURL");
        return HTTP_FORBIDDEN;
    }
    folder = persona_text_folder(user, r->pool);
    len = strlen(folder);
    rest = r->uri + strlen(base);
    if (strncmp(rest, folder, len) || (rest[len] && rest[len] != '/')) {
        return HTTP_FORBIDDEN;
    }
    /* COPY and MOVE name a second resource */
    to = apr_table_get(r->headers_in, "Destination");
    if (to) {
        char *path;

        if (apr_uri_parse(r->pool, to, &uri) != APR_SUCCESS || !uri.path) {
            return HTTP_BAD_REQUEST;
        }
        path = uri.path;
        if (ap_unescape_url(path) != OK ||
            !ap_normalize_path(path, AP_NORMALIZE_NOT_ABOVE_ROOT | AP_NORMALIZE_MERGE_SLASHES)) {
            return HTTP_BAD_REQUEST;
        }
        if (strncmp(path, base, strlen(base)) || strncmp(path + strlen(base), folder, len) ||
            path[strlen(base) + len] != '/') {
            return HTTP_FORBIDDEN;
        }
    }
    return folder_make(r, rest + len);
}

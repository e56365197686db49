/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file hook.c
 * @brief One signed POST to an instance. The instance is not trusted: what it sends is bounded, and a redirect,
 * a proxy, cookies or another protocol are never followed.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <curl/curl.h>

#include "hook.h"
#include "persona/digest.h"

#define ANSWER_MAX 4096

typedef struct answer_t {
    char text[ANSWER_MAX + 1];
    apr_size_t len;
} answer_t;

static size_t answer_write(char *data, size_t size, size_t count, void *baton)
{
    answer_t *answer = baton;
    size_t n = size * count;
    size_t room = ANSWER_MAX - answer->len;

    memcpy(answer->text + answer->len, data, n < room ? n : room);
    answer->len += n < room ? n : room;
    return n <= room ? n : 0; /* more than that ends the transfer */
}

static char *hook_body(const persona_hook_t *hook, apr_pool_t *p)
{
    json_t *body = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:I}", "version", 1, "op",
                             hook->home_password ? "assign" : "release", "instance", hook->instance,
                             "session", hook->session, "user", hook->user, "app", hook->app,
                             "issued", (json_int_t)apr_time_sec(apr_time_now()));
    json_t *roles = json_array();
    char *text, *copy = NULL;
    int i;

    for (i = 0; hook->roles && i < hook->roles->nelts; i++) {
        json_array_append_new(roles, json_string(APR_ARRAY_IDX(hook->roles, i, const char *)));
    }
    json_object_set_new(body, "roles", roles);
    if (hook->home_password) {
        json_object_set_new(body, "home",
                            json_pack("{s:s*, s:s, s:s}", "url", hook->home_url, "username",
                                      hook->session, "password", hook->home_password));
    }
    text = json_dumps(body, JSON_COMPACT);
    if (text) {
        copy = apr_pstrdup(p, text);
        memset(text, 0, strlen(text));
        free(text);
    }
    json_decref(body);
    return copy;
}

/** The instance's own words, if it has some. */
static const char *answer_error(const answer_t *answer, apr_pool_t *p)
{
    json_t *json = json_loadb(answer->text, answer->len, JSON_REJECT_DUPLICATES, NULL);
    const char *error = json_string_value(json_object_get(json, "error"));
    char *copy = error ? apr_pstrndup(p, error, 200) : NULL;

    json_decref(json);
    return copy;
}

void persona_hook_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/** `*code`: of the answer; 0: there was none. */
static apr_status_t post(const persona_hook_t *hook, const char *key, const char *body, apr_interval_time_t timeout,
                         long *code, persona_result_t *res, apr_pool_t *p)
{
    char signature[PERSONA_HEX256_LEN];
    answer_t *answer = apr_pcalloc(p, sizeof(*answer));
    struct curl_slist *headers = NULL;
    const char *url, *words;
    apr_status_t status = APR_SUCCESS;
    CURLcode rc;
    CURL *curl = curl_easy_init();

    *code = 0;
    if (!curl) {
        return persona_result_set(res, APR_ENOMEM, "hook", "curl could not be started");
    }
    persona_hmac(key, strlen(key), body, strlen(body), signature);
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers =
        curl_slist_append(headers, apr_pstrcat(p, "X-Persona-Signature: sha256=", signature, NULL));
    headers = curl_slist_append(headers, "Expect:");
    url = apr_psprintf(p, strchr(hook->address, ':') ? "http://[%s]:%d%s" : "http://%s:%d%s",
                       hook->address, hook->port, hook->path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 3000L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)apr_time_as_msec(timeout));
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, answer_write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    rc = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, code);
    if (rc != CURLE_OK) {
        status = persona_result_set(res, rc == CURLE_OPERATION_TIMEDOUT ? APR_TIMEUP : APR_EGENERAL,
                                    "hook", "the assign hook %s: %s", url, curl_easy_strerror(rc));
    }
    else if (*code != 200) {
        words = answer_error(answer, p);
        status = persona_result_set(res, *code == 409 ? APR_EEXIST : APR_EGENERAL, "hook",
                                    "%s (HTTP %ld of %s)", words ? words : "the instance refused",
                                    *code, url);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return status;
}

apr_status_t persona_hook_call(const persona_hook_t *hook, apr_interval_time_t timeout,
                               persona_result_t *res, apr_pool_t *p)
{
    const char *body = hook_body(hook, p);
    apr_status_t status;
    long code;

    if (!body) {
        return persona_result_set(res, APR_EINVAL, "hook",
                                  "the assign hook's message is not valid UTF-8");
    }
    status = post(hook, hook->keys[0], body, timeout, &code, res, p);
    if (code == 403 && hook->keys[1]) {
        status = post(hook, hook->keys[1], body, timeout, &code, res, p);
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The assign hook's client against instances that cannot be trusted, and the signature that an instance checks. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_strings.h>

#include "manager/hook.h"
#include "persona/digest.h"
#include "unit.h"

static struct {
    int fd, port;
    const char *answer;      /**< NULL: never */
    int flood;               /**< the body has no end */
    int connections;
    char request[8192];
    pthread_t thread;
} peer;

static void *serve(void *arg)
{
    int c;

    (void)arg;
    while ((c = accept(peer.fd, NULL, NULL)) >= 0) {
        size_t len = 0;
        ssize_t n;
        char *body;

        peer.connections++;
        memset(peer.request, 0, sizeof(peer.request));
        while ((n = recv(c, peer.request + len, sizeof(peer.request) - 1 - len, 0)) > 0) {
            const char *length = strcasestr(peer.request, "Content-Length:");

            len += (size_t)n;
            body = strstr(peer.request, "\r\n\r\n");
            if (body && length && strlen(body + 4) >= (size_t)atoi(length + 15)) {
                break;
            }
        }
        if (peer.answer) {
            (void)!send(c, peer.answer, strlen(peer.answer), MSG_NOSIGNAL);
            while (peer.flood && send(c, peer.request, sizeof(peer.request), MSG_NOSIGNAL) > 0) {
            }
        }
        else {
            usleep(1200000);
        }
        close(c);
    }
    return NULL;
}

static int start(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);

    memset(&peer, 0, sizeof(peer));
    peer.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(peer.fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(peer.fd, 8) != 0
        || getsockname(peer.fd, (struct sockaddr *)&a, &size) != 0) {
        return -1;
    }
    peer.port = ntohs(a.sin_port);
    return pthread_create(&peer.thread, NULL, serve, NULL) == 0 ? unit_setup(state) : -1;
}

static int stop(void **state)
{
    shutdown(peer.fd, SHUT_RDWR);
    close(peer.fd);
    pthread_join(peer.thread, NULL);
    return unit_teardown(state);
}

static apr_status_t call(const char *answer, const char *password, persona_result_t *res)
{
    persona_hook_t hook = {"127.0.0.1", peer.port, "/assign", {"6b6579", NULL}, "instance-uuid", "S",
                           "J\xc3\xb6rg \"x\"", "app", NULL, "http://192.0.2.1/home/x/", password};
    apr_array_header_t *roles = apr_array_make(unit_pool, 2, sizeof(const char *));

    APR_ARRAY_PUSH(roles, const char *) = "graphic designer";
    hook.roles = roles;
    memset(res, 0, sizeof(*res));
    peer.answer = answer;
    return persona_hook_call(&hook, apr_time_from_msec(700), res, unit_pool);
}

static void the_sites_other_key_is_tried(void **state)
{
    persona_hook_t hook = {"127.0.0.1", peer.port, "/assign", {"new", "old"}, "instance-uuid", "S", "u", "app", NULL,
                           NULL, NULL};
    char signature[PERSONA_HEX256_LEN];
    persona_result_t res = {0};
    const char *body;

    (void)state;
    peer.answer = "HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(persona_hook_call(&hook, apr_time_from_msec(700), &res, unit_pool), APR_EGENERAL);
    assert_int_equal(peer.connections, 2);
    body = strstr(peer.request, "\r\n\r\n") + 4;
    persona_hmac("old", 3, body, strlen(body), signature);
    assert_non_null(strstr(peer.request, signature));
    peer.answer = "HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n";
    persona_hook_call(&hook, apr_time_from_msec(700), &res, unit_pool);
    assert_int_equal(peer.connections, 3);
}

static void refusals_are_told_in_the_instances_words(void **state)
{
    persona_result_t res;

    (void)state;
    assert_int_equal(call("HTTP/1.1 500 no\r\nContent-Length: 25\r\n\r\n{\"error\":\"disk \\u0007up\"}", "pw", &res),
                     APR_EGENERAL);
    assert_non_null(strstr(res.detail, "disk \\x07up"));
    assert_int_equal(call("HTTP/1.1 409 no\r\nContent-Length: 0\r\n\r\n", "pw", &res), APR_EEXIST);
    assert_int_equal(call("HTTP/1.1 404 no\r\nContent-Length: 5\r\n\r\n<html", "pw", &res), APR_EGENERAL);
    assert_int_equal(call("HTTP/1.1 204 hm\r\n\r\n", "pw", &res), APR_EGENERAL);
    assert_int_not_equal(call("garbage\r\n\r\n", "pw", &res), APR_SUCCESS);
}

static void a_redirect_is_not_followed(void **state)
{
    persona_result_t res;
    const char *answer = apr_psprintf(unit_pool, "HTTP/1.1 307 go\r\nLocation: http://127.0.0.1:%d/x\r\n"
                                                 "Content-Length: 0\r\n\r\n", peer.port);

    (void)state;
    assert_int_equal(call(answer, "pw", &res), APR_EGENERAL);
    assert_int_equal(peer.connections, 1);
}

static void a_flood_ends(void **state)
{
    persona_result_t res;
    apr_time_t began = apr_time_now();

    (void)state;
    peer.flood = 1;
    assert_int_not_equal(call("HTTP/1.1 200 OK\r\n\r\n", "pw", &res), APR_SUCCESS);
    assert_true(apr_time_now() - began < apr_time_from_sec(1));
}

static void silence_ends(void **state)
{
    persona_result_t res;
    apr_time_t began = apr_time_now();

    (void)state;
    assert_int_equal(call(NULL, "pw", &res), APR_TIMEUP);
    assert_true(apr_time_now() - began < apr_time_from_sec(2));
}

static void the_message_is_signed(void **state)
{
    persona_result_t res;
    char mac[PERSONA_HEX256_LEN];
    const char *header, *body;
    json_t *json;

    (void)state;
    assert_int_equal(call("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "secret", &res), APR_SUCCESS);
    body = strstr(peer.request, "\r\n\r\n");
    header = strstr(peer.request, "X-Persona-Signature: sha256=");
    assert_non_null(body);
    assert_non_null(header);
    body += 4;
    persona_hmac("6b6579", 6, body, strlen(body), mac);
    assert_memory_equal(header + strlen("X-Persona-Signature: sha256="), mac, 64);
    assert_non_null(strstr(peer.request, "POST /assign HTTP/1.1\r\n"));
    json = json_loads(body, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "op")), "assign");
    assert_string_equal(json_string_value(json_object_get(json, "user")), "J\xc3\xb6rg \"x\"");
    assert_string_equal(json_string_value(json_array_get(json_object_get(json, "roles"), 0)), "graphic designer");
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "home"), "password")), "secret");
    json_decref(json);
}

static void release_carries_no_password(void **state)
{
    persona_result_t res;
    json_t *json;

    (void)state;
    assert_int_equal(call("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", NULL, &res), APR_SUCCESS);
    json = json_loads(strstr(peer.request, "\r\n\r\n") + 4, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "op")), "release");
    assert_null(json_object_get(json, "home"));
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_sites_other_key_is_tried, start, stop),
        cmocka_unit_test_setup_teardown(refusals_are_told_in_the_instances_words, start, stop),
        cmocka_unit_test_setup_teardown(a_redirect_is_not_followed, start, stop),
        cmocka_unit_test_setup_teardown(a_flood_ends, start, stop),
        cmocka_unit_test_setup_teardown(silence_ends, start, stop),
        cmocka_unit_test_setup_teardown(the_message_is_signed, start, stop),
        cmocka_unit_test_setup_teardown(release_carries_no_password, start, stop),
    };

    persona_hook_init();
    return UNIT_RUN(tests);
}

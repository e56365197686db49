/* SPDX-License-Identifier: Apache-2.0 */
/* What the Docker provider sends, and what it takes from an image; which PersonaCompute lines and personas are good. */
#include <string.h>

#include "unit.h"

#include <apr_strings.h>

#include "compute/docker/docker.h"

#define UUID "c2177883-f1bb-47f0-914d-32a22e3a8804"

static const char *conf_wrong(const char *address, const char *option, const char *value)
{
    apr_table_t *options = apr_table_make(unit_pool, 2);
    persona_compute_conf_t conf = {.name = "lab", .provider = "docker", .address = address, .options = options};

    if (option) {
        apr_table_set(options, option, value);
    }
    return persona_docker_provider.check_conf(&conf, unit_pool);
}

static persona_t *make_persona(void)
{
    persona_t *persona = apr_pcalloc(unit_pool, sizeof(*persona));

    *persona = (persona_t){.id = "desk", .app_id = "calc", .title = "Calc", .source = "office/calc:7"};
    persona->resources = (persona_resources_t){.cpu = 2, .memory = 1 << 30, .max_cpu = 4, .max_memory = 1ll << 32};
    persona->environment = (persona_environment_t){.network = "persona", .isolated = 1, .stream_port = 5900,
                                                   .env = apr_table_make(unit_pool, 2)};
    return persona;
}

static docker_options_t *make_options(void)
{
    docker_options_t *options = apr_pcalloc(unit_pool, sizeof(*options));
    apr_array_header_t *caps = apr_array_make(unit_pool, 1, sizeof(const char *));

    APR_ARRAY_PUSH(caps, const char *) = "SETUID";
    options->caps = caps;
    options->pids = 100;
    return options;
}

static json_t *body_of(const persona_t *persona)
{
    docker_plan_t plan = {.persona = persona, .options = make_options(), .ns = "ns", .uuid = UUID, .image = "sha256:1",
                          .quota = 1};

    return docker_plan_body(&plan, unit_pool);
}

static const char *text_at(const json_t *body, const char *a, const char *b)
{
    const json_t *object = b ? json_object_get(body, a) : body;

    return json_string_value(json_object_get(object, b ? b : a));
}

static int array_has(const json_t *array, const char *text)
{
    const json_t *value;
    size_t i;

    json_array_foreach(array, i, value) {
        if (!strcmp(json_string_value(value), text)) {
            return 1;
        }
    }
    return 0;
}

static void test_addresses(void **state)
{
    static const char *const good[] = {"unix:///run/docker.sock", "https://10.0.0.1:2376", "https://[::1]:2376",
                                       "https://engine.example.org"};
    static const char *const bad[] = {"", "unix://", "unix:///", "unix://run/docker.sock", "/run/docker.sock",
                                      "tcp://10.0.0.1:2375", "http://10.0.0.1", "https://", "https://a b",
                                      "https://a/b", "https://u@h", "https://h:x", "https://h:99999", "unix:///a\nb"};

    (void)state;
    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); ++i) {
        assert_null(conf_wrong(good[i], NULL, NULL));
    }
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); ++i) {
        assert_non_null(conf_wrong(bad[i], NULL, NULL));
    }
    /* A path that does not fit into a socket's address. */
    assert_non_null(conf_wrong(apr_psprintf(unit_pool, "unix:///%0120d", 0), NULL, NULL));
    assert_non_null(strstr(conf_wrong("tcp://10.0.0.1:2375", NULL, NULL), "https://"));
}

static void test_options(void **state)
{
    const char *address = "unix:///run/docker.sock";

    (void)state;
    assert_null(conf_wrong(address, "caps", "NET_BIND_SERVICE;SETUID"));
    assert_null(conf_wrong(address, "caps", "none"));
    assert_null(conf_wrong(address, "pids", "100"));
    assert_null(conf_wrong("https://h:2376", "ca", "/etc/ca.pem"));
    assert_non_null(conf_wrong(address, "caps", "CAP_SETUID"));
    assert_non_null(conf_wrong(address, "caps", "setuid"));
    assert_non_null(conf_wrong(address, "pids", "0"));
    assert_non_null(conf_wrong(address, "pids", "1e3"));
    assert_non_null(conf_wrong(address, "pids", "99999999"));
    assert_non_null(conf_wrong(address, "ca", "/etc/ca.pem"));
    assert_non_null(conf_wrong("https://h:2376", "ca", "ca.pem"));
    assert_non_null(conf_wrong("https://h:2376", "cert", "/etc/c.pem"));
    assert_non_null(strstr(conf_wrong(address, "pid", "1"), "pids="));
    assert_null(conf_wrong(address, "cpus", "16")); /* as of every compute */
}

static void test_encoding(void **state)
{
    (void)state;
    assert_string_equal(docker_encode("aZ0-._~", unit_pool), "aZ0-._~");
    assert_string_equal(docker_encode("a/b?c&d %\"\n\xc3\xa9", unit_pool), "a%2Fb%3Fc%26d%20%25%22%0A%C3%A9");
    assert_string_equal(docker_filters(unit_pool, "label", "a=\"", "label", "b", NULL),
                        docker_encode("{\"label\":[\"a=\\\"\",\"b\"]}", unit_pool));
}

static void test_images(void **state)
{
    static const char *const good[] = {"probe", "probe:1", "host:5000/a/b:t", "a@sha256:00", "sha256:00ff"};
    static const char *const bad[] = {"", "/a", "../../etc/passwd", "a/../b", "a//b", "a?b", "a b", "a%2f", "a/", "-a",
                                      "a\n"};

    (void)state;
    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); ++i) {
        assert_true(docker_image_valid(good[i]));
    }
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); ++i) {
        assert_false(docker_image_valid(bad[i]));
    }
    assert_false(docker_image_valid(apr_psprintf(unit_pool, "%0256d", 0)));
}

static void test_personas(void **state)
{
    docker_options_t *options = make_options();
    persona_t *persona = make_persona();

    (void)state;
    assert_null(docker_plan_check(options, persona, unit_pool));
    persona->resources.gpu_count = 1;
    assert_null(docker_plan_check(options, persona, unit_pool));
    persona->resources.gpu_model = "a16";
    assert_non_null(strstr(docker_plan_check(options, persona, unit_pool), "gpu=a16"));
    options->gpu = "a16";
    assert_null(docker_plan_check(options, persona, unit_pool));
    persona->environment.network = "host";
    assert_non_null(docker_plan_check(options, persona, unit_pool));
    persona->environment.network = "persona";
    persona->environment.stream_port = 0;
    assert_non_null(docker_plan_check(options, persona, unit_pool));
    persona->environment.stream_port = 5900;
    apr_table_set((apr_table_t *)persona->environment.env, "A", "\xff");
    assert_non_null(docker_plan_check(options, persona, unit_pool));
    apr_table_set((apr_table_t *)persona->environment.env, "A",
                  apr_psprintf(unit_pool, "%0*d", DOCKER_TEXT_MAX + 1, 0));
    assert_non_null(docker_plan_check(options, persona, unit_pool));
    apr_table_set((apr_table_t *)persona->environment.env, "A", "<&'\"$`");
    assert_null(docker_plan_check(options, persona, unit_pool));
}

static void test_container(void **state)
{
    persona_t *persona = make_persona();
    json_t *body = body_of(persona), *host = json_object_get(body, "HostConfig");

    (void)state;
    assert_int_equal(json_integer_value(json_object_get(host, "NanoCpus")), 2000000000);
    assert_int_equal(json_integer_value(json_object_get(host, "Memory")), 1 << 30);
    assert_int_equal(json_integer_value(json_object_get(host, "MemorySwap")), 1 << 30);
    assert_int_equal(json_integer_value(json_object_get(host, "PidsLimit")), 100);
    assert_true(json_is_true(json_object_get(host, "ReadonlyRootfs")));
    assert_true(array_has(json_object_get(host, "CapDrop"), "ALL"));
    assert_int_equal(json_array_size(json_object_get(host, "CapAdd")), 1);
    assert_true(array_has(json_object_get(host, "SecurityOpt"), "no-new-privileges"));
    assert_null(json_object_get(host, "Binds"));
    assert_null(json_object_get(host, "Mounts"));
    assert_null(json_object_get(host, "Privileged"));
    assert_null(json_object_get(host, "DeviceRequests"));
    assert_string_equal(text_at(host, "NetworkMode", NULL), "persona");
    assert_string_equal(text_at(body, "Labels", "persona.uuid"), UUID);
    assert_true(array_has(json_object_get(body, "Cmd"), "/sbin/persona-init"));
    json_decref(body);
}

static void test_container_of_its_own(void **state)
{
    persona_t *persona = make_persona();
    json_t *body, *host;

    (void)state;
    persona->environment.root = PERSONA_ROOT_COPY;
    persona->environment.isolated = 0;
    persona->resources.storage = 5000;
    persona->resources.gpu_count = 2;
    body = body_of(persona);
    host = json_object_get(body, "HostConfig");
    assert_null(json_object_get(host, "ReadonlyRootfs"));
    assert_null(json_object_get(host, "Tmpfs"));
    assert_null(json_object_get(host, "Dns"));
    assert_string_equal(text_at(host, "StorageOpt", "size"), "5000");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(host, "DeviceRequests"), 0),
                                                        "Count")), 2);
    json_decref(body);
}

static void test_environment(void **state)
{
    persona_t *persona = make_persona();
    apr_table_t *env = (apr_table_t *)persona->environment.env;
    json_t *body;

    (void)state;
    apr_table_set(env, "PERSONA_INSTANCE", "forged");
    apr_table_set(env, "container", "forged");
    apr_table_set(env, "ODD", "a=b \"c\" \xc3\xa9");
    body = body_of(persona);
    assert_true(array_has(json_object_get(body, "Env"), "ODD=a=b \"c\" \xc3\xa9"));
    assert_true(array_has(json_object_get(body, "Env"), "PERSONA_INSTANCE=" UUID));
    assert_true(array_has(json_object_get(body, "Env"), "container=docker"));
    assert_false(array_has(json_object_get(body, "Env"), "PERSONA_INSTANCE=forged"));
    assert_false(array_has(json_object_get(body, "Env"), "container=forged"));
    json_decref(body);
}

/* A header with that size and type; what follows is zero. */
static char *tar_of(const char *size, char type, apr_size_t len)
{
    char *tar = apr_pcalloc(unit_pool, len);

    tar[0] = 'f';
    memcpy(tar + 124, size, strlen(size));
    tar[156] = type;
    return tar;
}

static void test_archive(void **state)
{
    char *tar = tar_of("00000000005", '0', 1536);
    apr_size_t size = 0;

    (void)state;
    memcpy(tar + 512, "a\nbc\n", 5);
    assert_ptr_equal(docker_tar_file(tar, 1536, &size), tar + 512);
    assert_int_equal(size, 5);
    assert_null(docker_tar_file(tar, 511, &size));
    assert_null(docker_tar_file(tar, 516, &size));
    assert_null(docker_tar_file(tar_of("77777777777", '0', 1024), 1024, &size));
    assert_null(docker_tar_file(tar_of("x", '0', 1024), 1024, &size));
    assert_null(docker_tar_file(tar_of("00000000777", '5', 1024), 1024, &size));
    assert_null(docker_tar_file(tar_of("00000000000", '2', 1024), 1024, &size));
    assert_null(docker_tar_file("", 0, &size));
}

static void test_packages(void **state)
{
    static const char status[] = "Package: libc6\nStatus: install\n\nPackage: libcairo2\nlibfake1\n";

    (void)state;
    assert_true(docker_packages_have("a\nbc\nd", 6, "bc"));
    assert_true(docker_packages_have("a\nbc\nd", 6, "d"));
    assert_false(docker_packages_have("a\nbc\nd", 6, "b"));
    assert_false(docker_packages_have("a\nbc\nd", 6, ""));
    assert_false(docker_packages_have("", 0, "a"));
    assert_true(docker_packages_have(status, strlen(status), "libcairo2"));
    assert_false(docker_packages_have(status, strlen(status), "libcairo"));
}

static void test_names(void **state)
{
    docker_container_t container = {.name = "persona-" UUID};

    (void)state;
    assert_null(docker_container_token(&container));
    container.name = "persona-assigned-" UUID "-" UUID;
    assert_string_equal(docker_container_token(&container), UUID);
    container.name = "persona-assigned-" UUID;
    assert_null(docker_container_token(&container));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(test_addresses), UNIT_TEST(test_options), UNIT_TEST(test_encoding), UNIT_TEST(test_images),
        UNIT_TEST(test_personas), UNIT_TEST(test_container), UNIT_TEST(test_container_of_its_own),
        UNIT_TEST(test_environment), UNIT_TEST(test_archive), UNIT_TEST(test_packages), UNIT_TEST(test_names),
    };

    return UNIT_RUN(tests);
}

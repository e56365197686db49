/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "persona/keys.h"
#include "persona/parse.h"
#include "persona_good.h"

#define GOOD                                                                                       \
    PERSONA_GOOD("cad", "freecad", "[\"engineer\", {\"role\": \"designer\", \"weight\": 0.5}]")

static apr_array_header_t *errors;

static persona_t *parse_as(const char *file, const char *text, apr_size_t len, int lenient)
{
    errors = apr_array_make(unit_pool, 4, sizeof(persona_error_t));
    return persona_parse(file, text, len, apr_hash_make(unit_pool), lenient, errors, unit_pool);
}

static persona_t *parse(const char *text)
{
    return parse_as("cad.json", text, strlen(text), 0);
}

/** The errors as lines of "line:column: path: message". */
static const char *said(void)
{
    const char *text = "";

    for (int i = 0; i < errors->nelts; i++) {
        const char *line =
            persona_error_text(&APR_ARRAY_IDX(errors, i, persona_error_t), unit_pool);

        text = apr_pstrcat(unit_pool, text, line, "\n", NULL);
    }
    return text;
}

static void expect(const char *text, const char *what, const char *says)
{
    if (parse(text)) {
        fail_msg("%s: accepted", what);
    }
    if (!strstr(said(), says)) {
        fail_msg("%s: says\n%snot \"%s\"", what, said(), says);
    }
}

static void not_json(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "cad.json: the file is empty"},
        {" \n", "cad.json: the file is empty"},
        {"\xef\xbb\xbf{}", "cad.json:1:1: $: the file begins with a byte order mark"},
        {"{\n \"a\": 'b'}", "cad.json:2:"},
        {"{\"a\": 1,}", "none after the last"},
        {"{\"a\": 1", "the file ends too early"},
        {"{} {}", "nothing after it"},
        {"{\"a\": \"\xff\"}", "save the file as UTF-8"},
        {"{\"a\": \"\\u0000\"}", "leave the NUL out"},
        {"{\"a\": 99999999999999999999}", "the number is too large"},
        {"7", "cad.json:1:1: $: must be an object {...}; found the number 7"},
        {"[]", "must be an object"},
    };
    char deep[PERSONA_FILE_MAX / 2];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect(cases[i].text, cases[i].text, cases[i].says);
    }
    assert_null(parse_as("cad.json", "{\n  \0}", 6, 0));
    assert_non_null(strstr(said(), "cad.json:2:3: $: a NUL byte"));
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    expect(deep, "depth bomb", "needs no more than 6 levels");
}

/** `base` with the value at `path` (keys and indexes, separated by dots) replaced, or removed where it is NULL. */
static const char *variant_of(const char *base, const char *path, const char *value)
{
    json_t *root = json_loads(base, 0, NULL), *at = root, *part = NULL;
    char *copy = apr_pstrdup(unit_pool, path), *dot, *text;
    const char *result;

    assert_non_null(root);
    if (value) {
        part = json_loads(value, JSON_DECODE_ANY, NULL);
        assert_non_null(part);
    }
    while ((dot = strchr(copy, '.'))) {
        *dot = '\0';
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(copy)) : json_object_get(at, copy);
        assert_non_null(at);
        copy = dot + 1;
    }
    if (json_is_array(at)) {
        json_array_set_new(at, (size_t)atoi(copy), part);
    }
    else if (part) {
        json_object_set_new(at, copy, part);
    }
    else {
        json_object_del(at, copy);
    }
    text = json_dumps(root, JSON_COMPACT);
    result = apr_pstrdup(unit_pool, text);
    free(text);
    json_decref(root);
    return result;
}

static const char *variant(const char *path, const char *value)
{
    return variant_of(GOOD, path, value);
}

typedef struct case_t {
    const char *path, *value, *says;
} case_t;

static void run_cases(const case_t *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        expect(variant(cases[i].path, cases[i].value),
               apr_pstrcat(unit_pool, cases[i].path, " = ", cases[i].value, NULL), cases[i].says);
        if (errors->nelts != 1) {
            fail_msg("%s: says more:\n%s", cases[i].path, said());
        }
    }
}

#define RUN(cases) run_cases(cases, sizeof(cases) / sizeof(cases[0]))
#define ENV        "execution_environment."
#define RULE       "auto_scale_rules.0."

static void bad_values(void **state)
{
    static const case_t cases[] = {
        {"persona_id", NULL, "$: \"persona_id\" is missing; add it, such as \"cad-designer\""},
        {"persona_id", "\"CAD\"", "$.persona_id: \"CAD\" must be a name"},
        {"persona_id", "\"\"", "must not be empty"},
        {"persona_id", "\"-a\"", "must be a name"},
        {"persona_id", "7", "must be a string, such as \"cad-designer\"; found the number 7"},
        {"app_id", NULL, "\"app_id\" is missing"},
        {"app_id", "\"*\"", "only default.json serves"},
        {"titel", "\"x\"", "$.titel: unknown key \"titel\"; did you mean \"title\"?"},
        {"zzz", "1", "unknown key \"zzz\"; known here are \"$schema\", "},
        {"title", "\"a\\nb\"", "must be one line"},
        {"icon", "\"../../etc/passwd\"", "without a folder"},
        {"order", "1.5", "must be a whole number from -1000000 to 1000000"},
        {"application_source", NULL, "\"application_source\" is missing"},
        {"application_source", "\"/abs\"", "must be a relative name"},
        {"application_source", "\"a/../b\"", "no \"..\" part"},
        {"application_source", "\"a//b\"", "must be a relative name"},
        {"resource_profile", "[]", "must be an object"},
        {"resource_profile", NULL, "\"resource_profile\" is missing"},
        {"resource_profile.cpu", "0", "must be a whole number from 1 to 1024"},
        {"resource_profile.cpu", "\"4\"", "such as 4; found the string \"4\""},
        {"resource_profile.memory", "\"8 GiB\"", "unknown unit \" GiB\""},
        {"resource_profile.memory", "\"8G\"", "unknown unit \"G\""},
        {"resource_profile.memory", "\"1MiB\"", "must be from 16MiB to 64TiB"},
        {"resource_profile.memory", "-1", "must be a size"},
        {"resource_profile.storage", "true",
         "must be a size in a string, such as \"40GiB\"; found true"},
        {"resource_profile.gpu", "1", "must be an object"},
        {"resource_profile.gpu.count", "65", "from 0 to 64"},
        {"resource_profile.gpu.count", NULL, "\"count\" is missing"},
        {"resource_profile.max.cpu", "3", "$.resource_profile.max.cpu: 3 is below"},
        {"resource_profile.max.memory", "\"1GiB\"", "$.resource_profile.max.memory: is below"},
        {ENV "compute", NULL, "\"compute\" is missing"},
        {ENV "compute", "\"k v m\"", "must be a name"},
        {ENV "os_image", "\"../x\"", "must be a relative name"},
        {ENV "root", "\"overly\"", "did you mean \"overlay\"?"},
        {ENV "libraries", "\"x\"", "must be an array of strings"},
        {ENV "libraries", "[\"a\", \"-oProxy=x\"]",
         "libraries[1]: \"-oProxy=x\" must be the name of a package"},
        {ENV "command", "[]", "must name a program"},
        {ENV "command", "[\"\"]", "$.execution_environment.command[0]: \"\" must not be empty"},
        {ENV "network", NULL, "\"network\" is missing"},
        {ENV "network.name", "\"a b\"", "must have only letters"},
        {ENV "network.isolated", "1", "must be true or false; found the number 1"},
        {ENV "env.PERSONA_KEY", "\"x\"", "are set by the manager"},
        {ENV "env.1X", "\"x\"", "the name of a variable"},
        {ENV "env.X", "\"a\\nb\"", "must be a string of one line"},
        {ENV "env.X", "null", "found null"},
        {ENV "env", "[]", "must be an object of strings"},
        {ENV "stream", NULL, "\"stream\" is missing"},
        {ENV "stream.protocol", "\"rdp\"", "must be \"http\" or \"vnc\""},
        {ENV "stream.protocol", "\"vnc\"", "belong to http streams"},
        {ENV "stream.port", NULL, "needs \"port\""},
        {ENV "stream.port", "0", "needs \"port\""},
        {ENV "stream.port", "65536", "from 0 to 65535"},
        {ENV "stream.path", "\"x\"", "must be a path"},
        {ENV "stream.path", "\"//evil.example/\"", "begins with one '/'"},
        {ENV "stream.path", "\"/a b\"", "as %XX"},
        {ENV "stream.path", "\"/a/..\"", "must not have a \"..\" part"},
        {ENV "ready.kind", "\"ping\"", "must be \"http\", \"rfb\" or \"tcp\""},
        {ENV "ready.timeout", "\"0s\"", "must be from 1s to 1d"},
        {ENV "ready.timeout", "\"5 min\"", "unknown unit"},
        {ENV "ready", "{\"kind\": \"tcp\", \"path\": \"/\"}", "only where \"kind\" is \"http\""},
        {ENV "home.hook", NULL, "\"hook\" is missing"},
        {ENV "home.port", "0", "from 1 to 65535"},
        {"predicted_usage_pattern", NULL, "\"predicted_usage_pattern\" is missing"},
        {"predicted_usage_pattern.timezone", "\"../../etc/passwd\"", "no time zone"},
        {"predicted_usage_pattern.timezone", "\"/etc/localtime\"", "no time zone"},
        {"predicted_usage_pattern.timezone", "\"Europe/Brelin\"", "no time zone"},
        {"predicted_usage_pattern.timezone", "\"Europe\"", "no time zone"},
        {"predicted_usage_pattern.hourly", "[\"low\"]",
         "24 words, one for each hour from 0 to 23; found 1"},
        {"predicted_usage_pattern.hourly", "\"low\"", "found the string \"low\""},
        {"predicted_usage_pattern.hourly.23", "\"hgih\"",
         "hourly[23]: must be \"low\", \"medium\" or \"high\""},
        {"predicted_usage_pattern.daily.mon", "1", "must be \"low\""},
        {"predicted_usage_pattern.daily.monday", "\"low\"", "did you mean \"mon\"?"},
        {"user_role_affinity", NULL, "\"user_role_affinity\" is missing"},
        {"user_role_affinity", "\"engineer\"", "must be an array"},
        {"user_role_affinity.0", "\"a,b\"", "must not have a comma"},
        {"user_role_affinity.0", "\" a\"", "must not begin or end with a blank"},
        {"user_role_affinity.0", "\"designer\"", "[1]: the role \"designer\" stands here twice"},
        {"user_role_affinity.1.weight", "0", "a weight of 0 never matches"},
        {"user_role_affinity.1.weight", "1.01", "must be a number from 0 to 1"},
        {"user_role_affinity.1.role", NULL, "$.user_role_affinity[1]: \"role\" is missing"},
        {"auto_scale_rules", NULL, "\"auto_scale_rules\" is missing"},
        {"auto_scale_rules", "{}", "must be an array"},
        {RULE "scope", "\"vm\"", "$.auto_scale_rules[0].scope: must be \"instance\" or \"pool\""},
        {RULE "scope", NULL, "\"scope\" is missing"},
        {RULE "metric", "\"ready\"", "is not measured for scope \"instance\""},
        {RULE "above", NULL, "add \"above\" or \"below\""},
        {RULE "above", "100", "cpu is never above 100"},
        {RULE "below", "80", "80"},
        {RULE "for", "\"2d\"", "must be at most 1d, such as \"60s\""},
        {RULE "action", NULL, "\"action\" is missing"},
        {RULE "action", "{}", "does nothing; add \"cpu\" or \"memory\""},
        {RULE "action.cpu", "\"1\"", "must be a change with its sign, such as \"+1\""},
        {RULE "action.cpu", "\"+1.5\"", "a whole number with its sign"},
        {RULE "action.cpu", "\"+0\"", "must change something"},
        {RULE "action.cpu", "\"+5\"", "leaves room for 4 more; raise it to 9"},
        {RULE "action.memory", "\"+9GiB\"", "leaves room for 8192 MiB more"},
        {RULE "action.memory", "\"+9\xc2\xb5\"", "with a + or - before it"},
        {RULE "action.ready", "1", "belongs to scope \"pool\""},
        {RULE "max", "5", "belongs to scope \"pool\""},
        {"auto_scale_rules.1.max", "51", "is above pool.max, which is 50"},
        {"auto_scale_rules.1.below", "0", "ready is never below 0"},
        {"auto_scale_rules.1.action.cpu", "1", "belong to scope \"instance\""},
        {"pool.min", "51", "$.pool.min: 51 is above pool.max"},
        {"pool.max", "0", "from 1 to 10000"},
        {"pool.wait_cost", "-1", "from 0 to 1000000"},
        {"pool.max_session", "\"400d\"", "must be from 1s to 365d"},
    };

    (void)state;
    RUN(cases);
}

static void room_and_gpu_must_be_there(void **state)
{
    static const case_t cases[] = {
        {"resource_profile.max", NULL, "leaves room for 0 more; raise it to 5"},
    };
    const char *text = variant("auto_scale_rules.0.metric", "\"gpu\"");

    (void)state;
    RUN(cases);
    assert_non_null(parse(text));
    expect(variant_of(text, "resource_profile.gpu", NULL), "no gpu", "measures a GPU");
}

static void all_errors_at_once(void **state)
{
    /* One of each kind: syntax of a value, unknown key, range, missing key, and values that do not fit. */
    static const char text[] =
        "{\n"
        "  \"persona_id\": \"X\", \"app_id\": \"a\", \"app_id\": \"b\",\n"
        "  \"titel\": 1,\n"
        "  \"resource_profile\": {\"cpu\": 4, \"memory\": \"8GiB\", \"max\": {\"cpu\": 2}},\n"
        "  \"pool\": {\"min\": 9, \"max\": 3},\n"
        "  \"user_role_affinity\": [\"a\", 3]\n"
        "}\n";

    (void)state;
    assert_null(parse(text));
    assert_non_null(strstr(
        said(), "cad.json:2:37: $.app_id: the key stands twice in this object, first in line 2"));
    assert_non_null(strstr(said(), "cad.json:2:17: $.persona_id: "));
    assert_non_null(strstr(said(), "cad.json:3:3: $.titel: "));
    assert_non_null(strstr(said(), "cad.json:4:67: $.resource_profile.max.cpu: "));
    assert_non_null(strstr(said(), "cad.json:5:19: $.pool.min: "));
    assert_non_null(strstr(said(), "cad.json:6:31: $.user_role_affinity[1]: "));
    assert_non_null(strstr(said(), "cad.json:1:1: $: \"auto_scale_rules\" is missing"));
    assert_int_equal(errors->nelts, 10);
}

static void errors_have_an_end(void **state)
{
    char *text = apr_palloc(unit_pool, 20001), *to = text;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        to += apr_snprintf(to, 20, "%c\"k%d\": 1", i ? ',' : '{', i);
    }
    apr_cpystrn(to, "}", 2);
    assert_null(parse(text));
    assert_int_equal(errors->nelts, 200);
    assert_string_equal(APR_ARRAY_IDX(errors, 199, persona_error_t).message,
                        "and more that is not shown");
    /* Another file with the same list of errors is still found bad. */
    assert_null(persona_parse("b.json", "{}", 2, apr_hash_make(unit_pool), 0, errors, unit_pool));
    assert_true(errors->nelts > 200);
}

static void good(void **state)
{
    persona_t *persona = parse(GOOD);
    const persona_rule_t *rule;

    (void)state;
    if (!persona) {
        fail_msg("%s", said());
    }
    assert_string_equal(persona->id, "cad");
    assert_string_equal(persona->title, "freecad");
    assert_string_equal(persona->source, "cad:1");
    assert_int_equal(persona->resources.cpu, 4);
    assert_true(persona->resources.memory == APR_INT64_C(8) << 30);
    assert_int_equal(persona->resources.gpu_count, 1);
    assert_int_equal(persona->resources.max_cpu, 8);
    assert_int_equal(persona->environment.isolated, 0);
    assert_int_equal(apr_table_elts(persona->environment.env)->nelts, 2);
    assert_int_equal(persona->environment.ready, PERSONA_READY_HTTP);
    assert_string_equal(persona->environment.ready_path, "/app/");
    assert_true(persona->environment.ready_timeout == apr_time_from_sec(60));
    assert_int_equal(persona->usage.hourly[5], PERSONA_USAGE_HIGH);
    assert_int_equal(persona->usage.daily[0], PERSONA_USAGE_LOW);
    assert_int_equal(persona->usage.daily[1], PERSONA_USAGE_HIGH);
    assert_int_equal(persona->usage.daily[2], PERSONA_USAGE_MEDIUM);
    assert_int_equal(persona->affinity->nelts, 2);
    assert_true(APR_ARRAY_IDX(persona->affinity, 0, persona_affinity_t).weight == 1);
    assert_true(APR_ARRAY_IDX(persona->affinity, 1, persona_affinity_t).weight == 0.5);
    rule = &APR_ARRAY_IDX(persona->rules, 0, persona_rule_t);
    assert_true(rule->has_above && !rule->has_below && rule->above == 85 && rule->add_cpu == 1);
    rule = &APR_ARRAY_IDX(persona->rules, 1, persona_rule_t);
    assert_true(rule->scope == PERSONA_RULE_POOL && rule->add_ready == 2 && !rule->has_above);
    assert_int_equal(persona->pool.max, 50);
    assert_true(persona->pool.idle_timeout == apr_time_from_sec(90));
    assert_true(persona->pool.max_session == apr_time_from_sec(12 * 3600));
    assert_int_equal(persona->is_default, 0);
}

static void what_is_absent_has_a_default(void **state)
{
    persona_t *persona = parse(variant("pool", NULL));

    (void)state;
    assert_non_null(persona);
    assert_int_equal(persona->pool.min, 0);
    assert_int_equal(persona->pool.max, 10);
    assert_true(persona->pool.wait_cost < 0);
    persona = parse(variant("execution_environment.stream", "{\"protocol\": \"vnc\"}"));
    assert_non_null(persona);
    assert_int_equal(persona->environment.stream_port, 0);
    assert_int_equal(persona->environment.ready, PERSONA_READY_RFB);
    assert_null(persona->environment.ready_path);
    persona = parse(
        variant("resource_profile", "{\"cpu\": 9, \"memory\": \"1GiB\", \"max\": {\"cpu\": 10}}"));
    assert_non_null(persona);
    assert_true(persona->resources.max_memory == persona->resources.memory);
}

static void keys_of_ones_own(void **state)
{
    (void)state;
    assert_non_null(parse(variant("x-note", "{\"anything\": [1]}")));
    assert_non_null(parse(variant("pool.x-note", "null")));
    assert_null(parse(variant("xnote", "1")));
    assert_null(parse(variant("X-note", "1")));
    /* From a newer writer. */
    assert_non_null(parse_as("cad.json", variant("newer", "1"), strlen(variant("newer", "1")), 1));
}

static void default_profile(void **state)
{
    const char *text = variant("app_id", "\"*\"");
    persona_t *persona = parse_as("default.json", text, strlen(text), 0);

    (void)state;
    assert_non_null(persona);
    assert_int_equal(persona->is_default, 1);
}

static void ids_are_unique(void **state)
{
    apr_hash_t *ids = apr_hash_make(unit_pool);
    persona_t *persona = parse(GOOD);

    (void)state;
    apr_hash_set(ids, persona->id, APR_HASH_KEY_STRING, persona);
    assert_null(persona_parse("b.json", GOOD, strlen(GOOD), ids, 0, errors, unit_pool));
    assert_non_null(
        strstr(said(), "b.json:1:16: $.persona_id: \"cad\" is the persona_id of cad.json already"));
}

static void fingerprint(void **state)
{
    static const char *const same[][2] = {
        {"title", "\"New\""},
        {"pool.max", "49"},
        {"predicted_usage_pattern.timezone", "\"UTC\""},
        {"user_role_affinity", "[]"},
        {"resource_profile.memory", "\"8192MiB\""},
        {"execution_environment.ready.timeout", "\"90s\""},
        {"x-note", "1"},
    };
    static const char *const other[][2] = {
        {"application_source", "\"cad:2\""},
        {"resource_profile.memory", "\"9GiB\""},
        {"resource_profile.max.cpu", "9"},
        {"resource_profile.gpu.model", "\"a40\""},
        {"execution_environment.env.LANG", "\"D\""},
        {"execution_environment.libraries", "[\"libcairo2\", \"x11-apps\"]"},
        {"execution_environment.command", "[\"freecad\", \"-x\"]"},
        {"execution_environment.network.isolated", "true"},
        {"execution_environment.home.port", "6082"},
        {"execution_environment.root", "\"copy\""},
    };
    persona_t *persona = parse(GOOD), *changed;

    (void)state;
    assert_int_equal(strlen(persona->fingerprint), 64);
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        changed = parse(variant(same[i][0], same[i][1]));
        assert_non_null(changed);
        assert_string_equal(changed->fingerprint, persona->fingerprint);
    }
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        changed = parse(variant(other[i][0], other[i][1]));
        assert_non_null(changed);
        assert_string_not_equal(changed->fingerprint, persona->fingerprint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(not_json),
        UNIT_TEST(bad_values),
        UNIT_TEST(room_and_gpu_must_be_there),
        UNIT_TEST(all_errors_at_once),
        UNIT_TEST(errors_have_an_end),
        UNIT_TEST(good),
        UNIT_TEST(what_is_absent_has_a_default),
        UNIT_TEST(keys_of_ones_own),
        UNIT_TEST(default_profile),
        UNIT_TEST(ids_are_unique),
        UNIT_TEST(fingerprint),
    };

    return UNIT_RUN(tests);
}

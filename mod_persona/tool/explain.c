/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file explain.c
 * @brief personactl explain: why a pool is as large as it is, was, or will be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <apr_strings.h>

#include "persona/settings.h"
#include "persona/text.h"
#include "tool.h"

static double real_of(const json_t *json, const char *name)
{
    return json_number_value(json_object_get(json, name));
}

static int int_of(const json_t *json, const char *name)
{
    return (int)json_integer_value(json_object_get(json, name));
}

static const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));

    return text ? text : "";
}

static int is_true(const json_t *json, const char *name)
{
    return json_is_true(json_object_get(json, name));
}

static const char *clock_text(json_int_t at, apr_pool_t *p)
{
    time_t seconds = (time_t)(at / APR_USEC_PER_SEC);
    struct tm tm;
    char text[64];

    localtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%a %Y-%m-%d %H:%M:%S %Z", &tm);
    return apr_pstrdup(p, text);
}

/** A moment as a person writes it; 0: `text` is none. */
static int parse_time(const char *text, apr_time_t now, apr_time_t *at, apr_pool_t *p)
{
    static const char *const formats[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"};
    char *end;
    long long seconds = strtoll(text, &end, 10);

    if ((*text == '+' || *text == '-') && !persona_duration_parse(text + 1, at, p)) {
        *at = *text == '+' ? now + *at : now - *at;
        return 1;
    }
    if (*text >= '0' && *text <= '9' && !*end && seconds < 1000000000000LL) {
        *at = apr_time_from_sec(seconds);
        return 1;
    }
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *rest = strptime(text, formats[i], &tm);

        if (rest && !*rest) {
            tm.tm_isdst = -1;
            *at = apr_time_from_sec(mktime(&tm));
            return 1;
        }
    }
    return 0;
}

static void print_price(const json_t *model)
{
    const char *price = text_of(model, "price");

    if (json_is_null(json_object_get(model, "kappa"))) {
        puts("  price      a wait costs nothing (wait_cost is 0): nothing is kept ready for it");
        return;
    }
    printf("  price      a wait costs %.3g idle minutes", real_of(model, "wait_cost"));
    if (!strcmp(price, "hit-rate")) {
        printf(", found so that %g of the clicks find an instance", real_of(model, "hit_rate"));
    }
    else {
        printf(" (%s)", !strcmp(price, "persona") ? "pool.wait_cost" : "PersonaWaitCost");
    }
    printf(": kappa %.4g\n", real_of(model, "kappa"));
}

static void print_worth(const json_t *model)
{
    const json_t *last = json_object_get(model, "worth_last");
    int wish = int_of(model, "wish");

    if (wish) {
        printf("  worth      instance %d is worth ", wish);
        if (json_is_real(last)) {
            printf("%.4g, more than kappa; ", json_real_value(last));
        }
        else {
            printf("its place, as all up to what is expected; ");
        }
    }
    else {
        printf("  worth      ");
    }
    printf("one more would be worth %.4g, no more than kappa\n", real_of(model, "worth_next"));
}

static void print_model(const json_t *answer)
{
    const json_t *model = json_object_get(answer, "model");
    int ahead = is_true(model, "ahead"), wish = int_of(model, "wish") + int_of(model, "announced");
    int min = int_of(answer, "min");

    printf("  season     %.3g arrivals an hour at this hour and day (its file says \"%s\"; %.0f arrivals learned)\n",
           real_of(model, "season"), text_of(model, "usage"), real_of(model, "learned"));
    printf("  lately     x %.2f for what came in the last seconds to days%s\n", real_of(model, "lately"),
           ahead ? ", as far as that matters then" : "");
    printf("  people     x %.2f for those who came before, and sessions that run or ended\n", real_of(model, "people"));
    printf("  others     x %.2f for what other personas see\n", real_of(model, "others"));
    printf("  rate       %.3g arrivals an hour\n", real_of(model, "rate"));
    printf("  lead time  %.1f s until an instance is ready, %s\n", real_of(model, "lead"),
           is_true(model, "measured") ? "by measured boots" : "assumed: no boot was measured yet");
    printf("  expected   %.3g arrivals within that, scattering with a spread of %.2g%s%s\n",
           real_of(model, "expected"), real_of(model, "spread"), real_of(model, "spread") > 0 ? "" : " (Poisson)",
           is_true(model, "burst") ? "; this is a burst" : "");
    print_price(model);
    print_worth(model);
    printf("  wish       %d\n", int_of(model, "wish"));
    if (int_of(model, "announced")) {
        printf("  announced  %d people are still to come%s%s: as many more\n", int_of(model, "announced"),
               *text_of(model, "event") ? " for " : "", text_of(model, "event"));
    }
    if (int_of(model, "held")) {
        printf("  held       %d more for a moment, in the hope of a claim\n", int_of(model, "held"));
    }
    printf("  limits     pool.min %d, pool.max %d%s\n", min, int_of(answer, "max"),
           wish < min                    ? ": the floor holds"
           : wish > int_of(answer, "max") ? ": the ceiling holds"
                                         : "");
    if (is_true(model, "fallen")) {
        printf("  fallback   the forecast cost more than a buffer in the last seven days: the buffer holds %d\n",
               int_of(model, "buffer"));
    }
}

static void print_now(const json_t *answer, apr_pool_t *p)
{
    const json_t *model = json_object_get(answer, "model");
    const char *policy = text_of(answer, "policy");

    printf("%s, %s: %d ready, by the %s\n", text_of(answer, "persona"),
           clock_text(json_integer_value(json_object_get(answer, "at")), p), int_of(answer, "target"),
           !strcmp(policy, "model") ? "forecast" : policy);
    if (*text_of(answer, "reason")) {
        printf("  in force   %s\n", text_of(answer, "reason"));
    }
    if (is_true(answer, "drained")) {
        puts("  drained    an administrator keeps it empty");
    }
    if (int_of(answer, "waiting")) {
        printf("  waiting    %d people: as many are made at least\n", int_of(answer, "waiting"));
    }
    if (json_is_object(model)) {
        if (strcmp(policy, "model")) {
            printf("The forecast would say %d:\n", int_of(model, "target"));
        }
        print_model(answer);
    }
    else {
        puts("  forecast   none: PersonaForecast is off");
    }
}

static int explain(const persona_tool_args_t *args, apr_pool_t *p)
{
    const char *when = apr_table_get(args->options, "at");
    apr_time_t at = 0;
    json_t *request, *answer;

    if (when && !parse_time(when, apr_time_now(), &at, p)) {
        return persona_tool_usage("--at %s is no moment; write \"2026-11-24 13:00\" (local time), +2h, -15m, or "
                                  "seconds since the epoch", persona_text_quote(when, p));
    }
    request = json_pack("{s:s, s:s}", "op", "explain", "persona", APR_ARRAY_IDX(args->words, 0, const char *));
    if (when) {
        json_object_set_new(request, "at", json_integer(at));
    }
    answer = persona_tool_ask(args, request, p);
    if (!answer) {
        return PERSONA_TOOL_PROBLEMS;
    }
    if (args->json) {
        persona_tool_print(answer);
        return PERSONA_TOOL_OK;
    }
    if (json_object_get(answer, "since")) {
        printf("%s, %s: %d ready since %s\n  reason     %s\n", text_of(answer, "persona"),
               clock_text(json_integer_value(json_object_get(answer, "at")), p), int_of(answer, "target"),
               clock_text(json_integer_value(json_object_get(answer, "since")), p), text_of(answer, "reason"));
    }
    else {
        print_now(answer, p);
    }
    json_decref(answer);
    return PERSONA_TOOL_OK;
}

static const apr_getopt_option_t explain_options[] = {
    PERSONA_TOOL_SOCKET,
    {"at", 't', 1, "TIME: \"2026-11-24 13:00\" (local), +2h, -15m, or seconds since the epoch; now if not given"},
    PERSONA_TOOL_JSON,
    {NULL, 0, 0, NULL},
};

const persona_command_t persona_commands_explain[] = {
    {"explain", "PERSONA", "Tell why its pool is as large as it is, was, or will be.",
     "Of the future: what the forecast would say if people came until then as the season leads to expect. Of the\n"
     "past: the last 64 changes since the manager began.",
     1, 1, explain_options, 0, explain},
    {NULL, NULL, NULL, NULL, 0, 0, NULL, 0, NULL},
};

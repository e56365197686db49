/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file explain.c
 * @brief Why a pool is as large as it is, was, or will be.
 */
#include <math.h>
#include <string.h>

#include <apr_strings.h>

#include "explain.h"
#include "forecaster.h"
#include "ops.h"

/** Nobody asks for more than a year ahead; each step of it costs time. */
#define AHEAD_MOST apr_time_from_sec(366 * 86400)
/** A tick or so later is now. */
#define NOW_IS apr_time_from_sec(60)

static json_t *finite_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *model_json(const persona_explanation_t *e)
{
    static const char *const words[] = {"low", "medium", "high"}, *const prices[] = {"persona", "site", "hit-rate"};
    json_t *json = json_pack("{s:i, s:b, s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:b}", "target", e->target, "ahead",
                             e->ahead, "usage", words[e->usage], "learned", e->learned, "season", e->season, "lately",
                             e->lately, "people", e->people, "others", e->others, "rate", e->rate, "lead", e->lead,
                             "measured", e->measured);

    json_object_update_new(json, json_pack("{s:i, s:s}", "announced", e->announced, "event", e->event));
    json_object_update_new(
        json, json_pack("{s:f, s:f, s:b, s:s, s:f, s:f, s:o, s:o, s:o, s:i, s:i, s:b, s:i}", "expected", e->expected,
                        "spread", e->spread, "burst", e->burst, "price", prices[e->price], "wait_cost", e->wait_cost,
                        "hit_rate", e->hit_rate, "kappa", finite_or_null(e->kappa), "worth_last",
                        finite_or_null(e->worth_last), "worth_next", finite_or_null(e->worth_next), "wish", e->wish,
                        "held", e->held, "fallen", e->fallen, "buffer", e->buffer));
    return json;
}

/** What was decided last before `at`. */
static json_t *explain_past(persona_manager_t *m, const char *id, apr_time_t at)
{
    const persona_decision_t *decision = NULL;
    persona_stock_t *stock;
    json_t *answer;
    unsigned k;

    persona_manager_lock(m);
    stock = persona_stock_of(m, id);
    for (k = stock->decision_count; k > 0 && stock->decision_count - k < PERSONA_DECISIONS_KEPT; k--) {
        decision = &stock->decisions[(k - 1) % PERSONA_DECISIONS_KEPT];
        if (decision->at <= at) {
            break;
        }
        decision = NULL;
    }
    answer = decision ? json_pack("{s:s, s:s, s:I, s:I, s:I, s:i, s:f, s:s}", "status", "ok", "persona", id, "at",
                                  (json_int_t)at, "now", (json_int_t)persona_manager_now(m), "since",
                                  (json_int_t)decision->at, "target", decision->ready, "expected", decision->expected,
                                  "reason", decision->reason)
                      : persona_ops_status("none", "this manager remembers only the last changes of a target since it "
                                                   "began, and none before that moment");
    persona_manager_unlock(m);
    return answer;
}

/** The pattern's word where no model is asked. */
static void pattern_target(persona_manager_t *m, const persona_t *persona, apr_time_t at, persona_target_t *target)
{
    pthread_mutex_lock(&m->model_lock);
    persona_forecast_target(m->pattern, persona, at, target);
    pthread_mutex_unlock(&m->model_lock);
}

static json_t *explain_persona(persona_manager_t *m, const persona_t *persona, apr_time_t at, apr_pool_t *p)
{
    apr_time_t now = persona_manager_now(m);
    int later = at > now + NOW_IS, modelled;
    const char *policy = "pattern";
    persona_explanation_t e;
    persona_target_t target;
    persona_stock_t *stock;
    json_t *answer;

    memset(&e, 0, sizeof(e));
    modelled = persona_forecaster_explain(m, persona, at, &e, p) == APR_SUCCESS;
    pattern_target(m, persona, at, &target);
    if (modelled && m->model_rules) {
        policy = e.fallen ? "buffer" : "model";
        target.ready = e.fallen ? e.buffer : e.target;
        persona_copy(target.reason, "");
    }
    persona_manager_lock(m);
    stock = persona_stock_of(m, persona->id);
    if (!later && stock->decision_count) {
        target = stock->target;
    }
    answer = json_pack("{s:s, s:s, s:I, s:I, s:s, s:i, s:s, s:i, s:b, s:i, s:i, s:o}", "status", "ok", "persona",
                       persona->id, "at", (json_int_t)at, "now", (json_int_t)now, "policy", policy, "target",
                       target.ready, "reason", target.reason, "waiting", stock->waiting, "drained",
                       stock->drained || m->drained, "min", persona->pool.min, "max", persona->pool.max, "model",
                       modelled ? model_json(&e) : json_null());
    persona_manager_unlock(m);
    return answer;
}

json_t *persona_explain(persona_manager_t *m, const json_t *request, apr_pool_t *p)
{
    const char *id = persona_ops_text(request, "persona", PERSONA_NAME_MAX);
    const json_t *when = json_object_get(request, "at");
    apr_time_t now = persona_manager_now(m), at = when ? (apr_time_t)json_integer_value(when) : now;
    persona_catalog_t *catalog;
    const persona_t *persona;
    json_t *answer;

    if (!id || (when && !json_is_integer(when)) || at < 0 || at > now + AHEAD_MOST) {
        return persona_ops_status("bad", "explain needs \"persona\", and \"at\" no later than in a year");
    }
    catalog = persona_manager_catalog(m);
    persona = persona_catalog_find(catalog, id);
    if (!persona) {
        answer = persona_ops_status("none", "there is no such persona");
    }
    else {
        answer = at < now - NOW_IS ? explain_past(m, id, at) : explain_persona(m, persona, at > now ? at : now, p);
    }
    persona_catalog_release(catalog);
    return answer;
}

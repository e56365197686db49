/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy "model": entries by persona, the site's price, targets. All of it lives in the pool of the forecast and
 * is used by one thread at a time.
 */
#include "forecast/learned.h"

#include <apr_strings.h>
#include <math.h>
#include <string.h>

#include "forecast/state.h"
#include "persona/tz.h"

/* What a boot takes before one was measured, and the limits of what is believed, in seconds. */
#define LEAD_START 120.0
#define LEAD_LEAST 2.0
#define LEAD_MOST 1800.0
/* How much of a measured boot is learned. */
#define LEAD_LEARN .1
/* A lead time holds for most boots: mean and so many deviations. */
#define LEAD_DEVIATIONS 1.0
/* An unwanted instance is kept for this part of a lead time, in the hope of a claim. */
#define PATIENCE .5
/* No promise is kept with instances that stand idle for longer than this between two claims, in seconds. */
#define LONGEST_IDLE (10 * 86400.0)
#define HIT_RATE_START .99
/* What is expected for certain is worth more than anything. */
#define WORTH_MOST 1e6
/* low, medium and high as expected load. */
static const float usage_factor[] = {.25f, 1, 2.5f};

persona_learned_t *persona_learned_create(apr_pool_t *p)
{
    persona_learned_t *learned = apr_pcalloc(p, sizeof(*learned));

    learned->p = p;
    learned->entries = apr_hash_make(p);
    learned->wait_cost = -1;
    learned->hit_rate = HIT_RATE_START;
    persona_model_site_begin(&learned->site);
    persona_control_begin(&learned->control, learned->hit_rate);
    return learned;
}

apr_uint32_t persona_learned_user(const char *user)
{
    apr_uint32_t hash = 2166136261u;

    if (!user || !*user || strcmp(user, "-") == 0) {
        return 0;
    }
    for (; *user; user++) {
        hash = (hash ^ (unsigned char)*user) * 16777619u;
    }
    return hash ? hash : 1;
}

persona_learned_entry_t *persona_learned_entry(persona_learned_t *learned, const char *id, double at)
{
    persona_learned_entry_t *entry = apr_hash_get(learned->entries, id, APR_HASH_KEY_STRING);

    if (!entry) {
        entry = apr_pcalloc(learned->p, sizeof(*entry));
        entry->id = apr_pstrdup(learned->p, id);
        entry->wait_cost = -1;
        persona_model_begin(&entry->model, NULL, 0, LEAD_START, at);
        apr_hash_set(learned->entries, entry->id, APR_HASH_KEY_STRING, entry);
    }
    return entry;
}

void persona_learned_arrival(persona_learned_t *learned, persona_learned_entry_t *entry, apr_uint32_t user,
                             double at)
{
    persona_verdict_t verdict;

    persona_model_arrival(&entry->model, &learned->site, user, at, &verdict);
    persona_control_arrival(&learned->control, learned->hit_rate, verdict.price, verdict.served, at);
    entry->claims++;
}

void persona_learned_end(persona_learned_t *learned, persona_learned_entry_t *entry, double at)
{
    persona_model_end(&entry->model, &learned->site, at);
}

double persona_learned_kappa(const persona_learned_t *learned, const persona_learned_entry_t *entry)
{
    double cost = entry->wait_cost >= 0 ? entry->wait_cost : learned->wait_cost;

    if (learned->kappa > 0) {
        return learned->kappa;
    }
    if (cost > 0) {
        return entry->model.lead / 60.0 / cost;
    }
    if (cost < 0) {
        double least = entry->model.lead / LONGEST_IDLE;

        return learned->control.kappa > least ? learned->control.kappa : least;
    }
    return HUGE_VAL;
}

int persona_learned_target(persona_learned_t *learned, persona_learned_entry_t *entry, int min, int max, double at,
                           persona_demand_t *demand)
{
    double kappa = persona_learned_kappa(learned, entry);
    int wish;

    persona_model_advance(&entry->model, &learned->site, at);
    persona_model_demand(&entry->model, &learned->site, demand);
    persona_plan_size(demand, &kappa, 1, &wish);
    wish += entry->announced;
    wish = wish > max ? max : wish < min ? min : wish;
    wish = persona_plan_follow(&entry->plan, wish, entry->claims, at, PATIENCE * entry->model.lead);
    entry->claims = 0;
    persona_model_target(&entry->model, wish);
    return wish;
}

static void *model_create(apr_pool_t *p)
{
    return persona_learned_create(p);
}

static void model_arrival(void *baton, const char *id, const char *user, const char *role, apr_time_t at)
{
    persona_learned_t *learned = baton;

    persona_learned_entry_t *entry = persona_learned_entry(learned, id, at / 1e6);
    double kappa = persona_learned_kappa(learned, entry);
    int announced = persona_agenda_arrival(&entry->agenda, at / 1e6);

    (void)role;
    persona_feedback_arrival(&entry->feedback, isinf(kappa) ? 0 : entry->model.lead / kappa, !announced, at / 1e6);
    if (announced) {
        persona_model_announced(&entry->model, &learned->site, at / 1e6);
        entry->announced -= entry->announced > 0;
        entry->claims++;
        return;
    }
    persona_learned_arrival(learned, entry, persona_learned_user(user), at / 1e6);
}

static void model_end(void *baton, const char *id, apr_time_t at)
{
    persona_learned_t *learned = baton;

    persona_learned_end(learned, persona_learned_entry(learned, id, at / 1e6), at / 1e6);
}

/* Boots are measured one by one; their mean and deviation are learned at once from the first. */
static void model_boot(void *baton, const char *id, apr_interval_time_t boot)
{
    persona_learned_entry_t *entry = apr_hash_get(((persona_learned_t *)baton)->entries, id, APR_HASH_KEY_STRING);
    double seconds = boot / 1e6, learn = LEAD_LEARN, spread;

    if (!entry || boot <= 0) {
        return;
    }
    if (entry->boot_mean <= 0) {
        learn = 1;
    }
    entry->boot_mean += learn * (seconds - entry->boot_mean);
    entry->boot_square += learn * (seconds * seconds - entry->boot_square);
    spread = entry->boot_square - entry->boot_mean * entry->boot_mean;
    seconds = entry->boot_mean + LEAD_DEVIATIONS * sqrt(spread > 0 ? spread : 0);
    entry->model.lead = seconds < LEAD_LEAST ? LEAD_LEAST : seconds > LEAD_MOST ? LEAD_MOST : seconds;
}

static void model_price(void *baton, double wait_cost, double hit_rate)
{
    persona_learned_t *learned = baton;

    learned->wait_cost = wait_cost;
    if (hit_rate > 0 && hit_rate < 1 && hit_rate != learned->hit_rate) {
        learned->hit_rate = hit_rate;
        persona_control_begin(&learned->control, hit_rate);
    }
}

static void model_events(void *baton, const apr_array_header_t *events)
{
    ((persona_learned_t *)baton)->events = events;
}

static void model_save(void *baton, char **data, apr_size_t *len, apr_pool_t *p)
{
    persona_state_save(baton, data, len, p);
}

static apr_status_t model_load(void *baton, const char *data, apr_size_t len)
{
    return persona_state_load(baton, data, len);
}

/* The administrator's words as factors with mean 1. */
static void shape_of(const persona_usage_t *usage, float shape[7][24])
{
    float sum = 0;
    int d, h;

    for (d = 0; d < 7; d++) {
        for (h = 0; h < 24; h++) {
            shape[d][h] = usage_factor[persona_pattern_level_of(usage, h, d)];
            sum += shape[d][h];
        }
    }
    for (d = 0; d < 7; d++) {
        for (h = 0; h < 24; h++) {
            shape[d][h] *= 7 * 24 / sum;
        }
    }
}

/* Calendar: the days' habits, and who is still to come. */
static void look_at_agenda(const persona_learned_t *learned, persona_learned_entry_t *entry, const persona_t *persona,
                           apr_time_t at)
{
    persona_tz_local_t local;

    if (!persona->events && !learned->events && !entry->model.like_day) {
        entry->announced = 0;
        return;
    }
    persona_tz_local(persona->usage.zone, at, &local);
    persona_model_like(&entry->model, local.day, persona_agenda_like(persona, learned->events, local.day),
                       persona_agenda_like(persona, learned->events, local.day + 1));
    entry->announced = persona_agenda_look(&entry->agenda, persona, learned->events, at / 1e6, entry->model.lead);
}

static void say_why(const persona_learned_t *learned, const persona_learned_entry_t *entry, const persona_t *persona,
                    const persona_demand_t *demand, persona_target_t *target)
{
    char event[48] = "";

    if (entry->announced) {
        apr_snprintf(event, sizeof(event), "%d to come for %.24s, ", entry->announced,
                     entry->agenda.title ? entry->agenda.title : "an event");
    }
    apr_snprintf(target->reason, sizeof(target->reason), "%s: %s%.2f expected in %.0f s at %.4f a wait",
                 target->ready <= persona->pool.min   ? "floor"
                 : target->ready >= persona->pool.max ? "ceiling"
                                                      : "forecast",
                 event, demand->mean, entry->model.lead, persona_learned_kappa(learned, entry));
}

static void model_target(void *baton, const persona_t *persona, apr_time_t at, persona_target_t *target)
{
    persona_learned_t *learned = baton;
    persona_learned_entry_t *entry = persona_learned_entry(learned, persona->id, at / 1e6);
    persona_feedback_now_t now = {.min = persona->pool.min, .max = persona->pool.max};
    persona_demand_t demand;

    entry->model.offset = persona_tz_offset(persona->usage.zone, at);
    entry->wait_cost = persona->pool.wait_cost;
    shape_of(&persona->usage, entry->model.profile.shape);
    if (!entry->shaped) {
        persona_profile_reshape(&entry->model.profile);
        entry->shaped = 1;
    }
    look_at_agenda(learned, entry, persona, at);
    target->ready = persona_learned_target(learned, entry, persona->pool.min, persona->pool.max, at / 1e6, &demand);
    target->expected = demand.mean;
    say_why(learned, entry, persona, &demand, target);
    now.demand = &demand;
    now.target = target->ready;
    now.lead = entry->model.lead;
    now.kappa = persona_learned_kappa(learned, entry);
    persona_feedback_tick(&entry->feedback, &now, at / 1e6, learned->p);
    target->fallen = entry->feedback.fallen;
    target->buffer = persona_feedback_buffer(&entry->feedback, persona->pool.min, persona->pool.max);
}

static apr_status_t model_feedback(void *baton, const persona_t *persona, apr_time_t at, persona_feedback_view_t *view)
{
    persona_learned_entry_t *entry = apr_hash_get(((persona_learned_t *)baton)->entries, persona->id,
                                                  APR_HASH_KEY_STRING);

    if (!entry) {
        return APR_NOTFOUND;
    }
    persona_feedback_sum(&entry->feedback, at / 1e6, &view->week);
    view->fallen = entry->feedback.fallen;
    view->turned = entry->feedback.turned;
    view->buffer = persona_feedback_buffer(&entry->feedback, persona->pool.min, persona->pool.max);
    return APR_SUCCESS;
}

/* Marginal values on both sides of `size`. */
static void worth_around(const persona_demand_t *demand, int size, double *last, double *next)
{
    persona_walk_t walk;
    int s;

    *last = *next = HUGE_VAL;
    persona_walk_begin(&walk, demand);
    for (s = 0; s <= size; s++) {
        *last = *next;
        *next = persona_walk_step(&walk, NULL, NULL);
    }
}

/* A copy of the persona's model, and of what the site shares, goes to `at`. */
static persona_learned_entry_t *copy_at(const persona_learned_t *learned, const persona_t *persona, apr_time_t at,
                                        persona_model_site_t **site, int *ahead, apr_pool_t *p)
{
    const persona_learned_entry_t *known = apr_hash_get(learned->entries, persona->id, APR_HASH_KEY_STRING);
    persona_learned_entry_t *entry = known ? apr_pmemdup(p, known, sizeof(*known)) : NULL;

    *site = apr_pmemdup(p, &learned->site, sizeof(learned->site));
    if (!entry) {
        entry = apr_pcalloc(p, sizeof(*entry));
        persona_model_begin(&entry->model, NULL, 0, LEAD_START, at / 1e6);
        shape_of(&persona->usage, entry->model.profile.shape);
        persona_profile_reshape(&entry->model.profile);
    }
    entry->wait_cost = persona->pool.wait_cost;
    *ahead = at / 1e6 >= entry->model.now + PERSONA_MODEL_STEP;
    entry->model.offset = persona_tz_offset(persona->usage.zone, at);
    look_at_agenda(learned, entry, persona, at);
    if (*ahead) {
        persona_model_ahead(&entry->model, *site, at / 1e6);
    }
    return entry;
}

static apr_status_t model_explain(void *baton, const persona_t *persona, apr_time_t at, persona_explanation_t *e,
                                  apr_pool_t *p)
{
    persona_learned_t *learned = baton;
    persona_model_site_t *site;
    persona_learned_entry_t *entry = copy_at(learned, persona, at, &site, &e->ahead, p);
    persona_model_parts_t parts;
    persona_demand_t demand;
    persona_tz_local_t local;

    persona_tz_local(persona->usage.zone, at, &local);
    persona_model_explain(&entry->model, site, &parts);
    persona_model_demand(&entry->model, site, &demand);
    e->at = at;
    e->usage = persona_pattern_level_of(&persona->usage, local.hour, local.weekday);
    e->learned = entry->model.total;
    e->season = parts.season * 60;
    e->lately = parts.lately;
    e->people = parts.people;
    e->others = parts.others;
    e->rate = e->season * parts.lately * parts.people * parts.others;
    e->lead = entry->model.lead;
    e->measured = entry->boot_mean > 0;
    e->expected = demand.mean;
    e->spread = demand.spread;
    e->burst = demand.regime >= PERSONA_TAIL_SIZES;
    e->price = entry->wait_cost >= 0     ? PERSONA_PRICE_PERSONA
               : learned->wait_cost >= 0 ? PERSONA_PRICE_SITE
                                         : PERSONA_PRICE_HIT_RATE;
    e->hit_rate = learned->hit_rate;
    e->kappa = persona_learned_kappa(learned, entry);
    e->wait_cost = isinf(e->kappa) ? 0 : e->lead / 60 / e->kappa;
    e->announced = entry->announced;
    apr_cpystrn(e->event, entry->announced && entry->agenda.title ? entry->agenda.title : "", sizeof(e->event));
    persona_plan_size(&demand, &e->kappa, 1, &e->wish);
    worth_around(&demand, e->wish, &e->worth_last, &e->worth_next);
    e->min = persona->pool.min;
    e->max = persona->pool.max;
    e->target = e->wish + e->announced;
    e->target = e->target > e->max ? e->max : e->target < e->min ? e->min : e->target;
    e->held = !e->ahead && entry->plan.target > e->target ? entry->plan.target - e->target : 0;
    e->target += e->held;
    e->fallen = entry->feedback.fallen;
    e->buffer = persona_feedback_buffer(&entry->feedback, e->min, e->max);
    return APR_SUCCESS;
}

/* Who was announced is as good as there. */
static void model_worth(void *baton, const persona_t *persona, int n, double *worth)
{
    persona_learned_t *learned = baton;
    const persona_learned_entry_t *entry = apr_hash_get(learned->entries, persona->id, APR_HASH_KEY_STRING);
    persona_demand_t demand;
    persona_walk_t walk;
    double kappa, value;
    int k;

    for (k = 0; k < n; k++) {
        worth[k] = 0;
    }
    if (!entry) {
        return;
    }
    kappa = persona_learned_kappa(learned, entry);
    persona_model_demand(&entry->model, &learned->site, &demand);
    persona_walk_begin(&walk, &demand);
    for (k = 0; k < n; k++) {
        value = k < entry->announced ? HUGE_VAL : persona_walk_step(&walk, NULL, NULL);
        value = isinf(kappa) ? 0 : value / kappa;
        worth[k] = value < WORTH_MOST ? value : WORTH_MOST;
    }
}

const persona_policy_t persona_policy_model = {
    "model", model_create, model_arrival, model_end, model_boot, model_price, model_save, model_load, model_target,
    model_feedback, model_explain, model_events, model_worth
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The learned model of one persona, and what the personas of a site share. Nothing here allocates.
 */
#include "forecast/model.h"

#include <math.h>
#include <string.h>

#define STEP ((double)PERSONA_MODEL_STEP)
#define STEP_MINUTES (STEP / 60.0)
#define STEPS_A_QUARTER (900 / PERSONA_MODEL_STEP)
#define STEPS_A_DAY (86400 / PERSONA_MODEL_STEP)
#define LEVELS PERSONA_MODEL_LEVELS
#define SITE_LEVELS PERSONA_MODEL_SITE_LEVELS
/* A longer silence of the caller was not watched. */
#define UNWATCHED 900.0

/* Half-lives in minutes, and the own level that a level of the site contains. */
static const float level_half[LEVELS] = {0.7f, 2, 6, 20, 60, 240, 1440, 10080};
static const float site_half[SITE_LEVELS] = {6, 60, 1440};
static const int site_own[SITE_LEVELS] = {2, 4, 6};
static const float ends_half[PERSONA_MODEL_ENDS] = {3, 15, 60};
/* Time constants in minutes. */
static const float recency_time[PERSONA_MODEL_RECENCY] = {10, 45, 240, 1440};
static const float since_time[3] = {3, 15, 120};
/* Pseudo events in the ratio of seen to expected. */
#define LEVEL_PSEUDO .7f
/* Beyond so many times the expected (its log) a level counts otherwise: a crowd goes on, or has come and gone. These
 * are hinges as in multivariate adaptive regression splines (Friedman, 1991). */
#define HOTS 2
#define HOT_FROM 1.0f
static const int hot_level[HOTS] = {1, 4};
/* The levels that tell a burst: minutes against the hour. */
#define LEVEL_MINUTES 1
#define LEVEL_HOUR 4

enum {
    F_ONE,
    F_PROFILE,
    F_LEVEL = F_PROFILE + PERSONA_PROFILE_EXPERTS,
    F_SINCE = F_LEVEL + LEVELS,
    F_RECENCY = F_SINCE + 3,
    F_ACTIVE = F_RECENCY + PERSONA_MODEL_RECENCY,
    F_ENDS,
    F_SITE = F_ENDS + PERSONA_MODEL_ENDS,
    F_HOT = F_SITE + SITE_LEVELS,
    F_COUNT = F_HOT + HOTS
};

/* Where the site starts, and what its ridge pulls towards; each persona's pulls towards the site's weights. */
static const float start_weight[F_COUNT] = {
    0,
    .35f, .16f, .1f, .3f, .15f,
    .02f, .4f, .33f, .15f, .6f, .8f, 1.05f, .83f,
    .15f, -.3f, .7f,
    -.4f, -.07f, .28f, .05f,
    -.28f,
    0, .1f, .1f,
    .2f, .2f, 0,
    0, 0
};

#define RIDGE 12.0f
#define RIDGE_SITE 24.0f
#define RIDGE_ONE 2.0f
/* Half-life of what the regression knows, in days; how often it is solved; the least arrivals to start with. */
#define HALF_REGRESSION 28.0
/* A young model forgets faster, for what its profiles expected was wrong: days, and days more each day. */
#define HALF_YOUNG 1.0
#define HALF_GROWTH .5
#define UPDATES_A_DAY 4
#define ARRIVALS_TO_LEARN 5
/* A young model also learns whenever its arrivals have grown by this factor, until there are so many. */
#define YOUNG_GROWTH 1.5
#define YOUNG_ARRIVALS 200
#define LONGEST_STEP .5

void persona_model_site_begin(persona_model_site_t *site)
{
    int k;

    memset(site, 0, sizeof(*site));
    persona_glm_begin(&site->glm, F_COUNT, start_weight);
    for (k = 0; k < LEVELS; k++) {
        site->fade_level[k] = exp2f(-(float)STEP_MINUTES / level_half[k]);
    }
    for (k = 0; k < SITE_LEVELS; k++) {
        site->fade_site[k] = exp2f(-(float)STEP_MINUTES / site_half[k]);
    }
    for (k = 0; k < PERSONA_MODEL_RECENCY; k++) {
        site->fade_recency[k] = expf(-(float)STEP_MINUTES / recency_time[k]);
    }
    for (k = 0; k < PERSONA_MODEL_ENDS; k++) {
        site->fade_ends[k] = exp2f(-(float)STEP_MINUTES / ends_half[k]);
    }
}

static void refresh_all(persona_model_t *m, const persona_tail_t *shared)
{
    int r;

    for (r = 0; r < PERSONA_TAIL_REGIMES; r++) {
        persona_tail_refresh(&m->view, r, &m->tail, shared);
    }
}

static apr_int64_t local_day(const persona_model_t *m, double at)
{
    return (apr_int64_t)floor((at + m->offset) / 86400.0);
}

static int weekday_of(apr_int64_t day)
{
    return (int)(((day + 4) % 7 + 7) % 7);
}

/* The weekday whose habits a local day has. */
static int habit_of(const persona_model_t *m, apr_int64_t day)
{
    apr_int64_t k = day - m->like_day;

    return m->like_day && (k == 0 || k == 1) && m->like[k] >= 0 ? m->like[k] : weekday_of(day);
}

static double second_of_day(const persona_model_t *m, double at)
{
    return at + m->offset - (double)m->profile.day * 86400.0;
}

void persona_model_begin(persona_model_t *m, const float shape[7][24], double offset, double lead, double at)
{
    apr_int64_t day;

    memset(m, 0, sizeof(*m));
    m->lead = lead;
    m->offset = offset;
    m->origin = m->step = (apr_int64_t)floor(at / STEP);
    m->now = at;
    m->last_arrival = at - 86400;
    day = local_day(m, at);
    persona_profile_begin(&m->profile, day, weekday_of(day), shape);
    persona_glm_begin(&m->glm, F_COUNT, start_weight);
    refresh_all(m, &m->tail);
    m->sample_steps = -1;
}

void persona_model_restored(persona_model_t *m, const persona_model_site_t *site)
{
    m->glm.size = F_COUNT;
    m->sample_steps = -1;
    m->ring_at = 0;
    m->rate_known = 0;
    refresh_all(m, &site->tail);
}

/* log(1 + x) of what has faded to almost nothing, or has not. */
static float log_more(float x)
{
    return x < 1e-4f ? x : logf(1 + x);
}

/* Fades, and ends at nothing: numbers next to it are slow to compute with. */
static void fade(float *value, float factor)
{
    *value *= factor;
    if (*value < 1e-12f) {
        *value = 0;
    }
}

static void features(const persona_model_t *m, const persona_model_site_t *site, double at, float *x)
{
    float ratio[LEVELS + 1], since = (float)((at - m->last_arrival) / 60.0);
    int k;

    x[F_ONE] = 1;
    persona_profile_rates(&m->profile, second_of_day(m, at) + m->lead / 2, x + F_PROFILE);
    ratio[LEVELS] = 0;
    for (k = 0; k < LEVELS; k++) {
        ratio[k] = logf((m->seen[k] + LEVEL_PSEUDO) / (m->expected[k] + LEVEL_PSEUDO));
    }
    for (k = 0; k < LEVELS; k++) {
        x[F_LEVEL + k] = ratio[k] - ratio[k + 1];
    }
    for (k = 0; k < HOTS; k++) {
        float over = ratio[hot_level[k]] - HOT_FROM;

        x[F_HOT + k] = over > 0 ? over : 0;
    }
    for (k = 0; k < 3; k++) {
        x[F_SINCE + k] = expf(-since / since_time[k]);
    }
    for (k = 0; k < PERSONA_MODEL_RECENCY; k++) {
        x[F_RECENCY + k] = log_more(m->recency[k]);
    }
    x[F_ACTIVE] = m->ends_known ? log_more((float)m->active) : 0;
    for (k = 0; k < PERSONA_MODEL_ENDS; k++) {
        x[F_ENDS + k] = log_more(m->ends[k]);
    }
    for (k = 0; k < SITE_LEVELS; k++) {
        float others = site->seen[k] - m->seen[site_own[k]];
        float expected = site->expected[k] - m->expected[site_own[k]];

        x[F_SITE + k] = logf(((others > 0 ? others : 0) + LEVEL_PSEUDO)
                             / ((expected > 0 ? expected : 0) + LEVEL_PSEUDO));
    }
}

/* Arrivals a minute. */
static double rate_of(const persona_model_t *m, const float *x)
{
    double score = persona_glm_score(&m->glm, x);

    return exp(score < -14 ? -14 : score > 7 ? 7 : score);
}

static int regime_of(const persona_model_t *m, double mean)
{
    float per_minute = m->seen[LEVEL_HOUR] / level_half[LEVEL_HOUR];

    return persona_tail_regime(mean, m->seen[LEVEL_MINUTES] > 1.2f + level_half[LEVEL_MINUTES] * 2 * per_minute);
}

static void demand_of(const persona_model_t *m, double rate, persona_demand_t *demand)
{
    demand->mean = rate * m->lead / 60.0;
    demand->regime = regime_of(m, demand->mean);
    demand->spread = m->view.spread[demand->regime];
    demand->worth = m->view.worth[demand->regime];
}

void persona_model_demand(const persona_model_t *m, const persona_model_site_t *site, persona_demand_t *demand)
{
    float x[PERSONA_GLM_MAX];

    if (m->rate_known) {
        demand_of(m, m->rate, demand);
        return;
    }
    features(m, site, m->now, x);
    demand_of(m, rate_of(m, x), demand);
}

void persona_model_explain(const persona_model_t *m, const persona_model_site_t *site, persona_model_parts_t *parts)
{
    static const int until[] = {F_LEVEL, F_SINCE, F_SITE, F_HOT, F_COUNT};
    double sum[5] = {0}, all = 0, rate;
    float x[PERSONA_GLM_MAX];
    int k, part = 0;

    features(m, site, m->now, x);
    for (k = 0; k < F_COUNT; k++) {
        part += k == until[part];
        sum[part] += (double)m->glm.weight[k] * x[k];
        all += (double)m->glm.weight[k] * x[k];
    }
    rate = rate_of(m, x);
    parts->lately = exp(sum[1] + sum[4]);
    parts->people = exp(sum[2]);
    parts->others = exp(sum[3]);
    parts->season = exp(sum[0]) * rate / exp(all);
}

static int window_steps(const persona_model_t *m)
{
    int n = (int)floor(m->lead / STEP + .5);

    return n < 1 ? 1 : n;
}

/* One update of weights that have been learning since step `origin`, towards `prior`. */
static void update_weights(persona_glm_t *glm, const float *prior, float ridge, apr_int64_t age)
{
    double half = HALF_YOUNG + HALF_GROWTH * (double)age / STEPS_A_DAY;
    float ridges[F_COUNT];
    int k;

    half = half < HALF_REGRESSION ? half : HALF_REGRESSION;
    for (k = 0; k < F_COUNT; k++) {
        ridges[k] = ridge;
    }
    ridges[F_ONE] = RIDGE_ONE;
    persona_glm_absorb(glm, exp2(-1.0 / UPDATES_A_DAY / half));
    persona_glm_step(glm, prior, ridges, LONGEST_STEP);
}

static void update_own(persona_model_t *m, persona_model_site_t *site)
{
    persona_glm_share(&site->glm, &m->glm);
    if (m->total >= ARRIVALS_TO_LEARN) {
        update_weights(&m->glm, site->glm.weight, RIDGE, m->step - m->origin);
    }
}

/* The window that was watched is over: learn from it, and begin the next with features `x` of this step. */
static void turn_window(persona_model_t *m, persona_model_site_t *site, const float *x)
{
    if (m->sample_steps >= 0) {
        persona_glm_learn(&m->glm, m->sample, m->sample_count, m->sample_mean, 1);
        persona_tail_window(&m->tail, m->sample_regime, m->sample_count, m->sample_mean);
        persona_tail_window(&site->tail, m->sample_regime, m->sample_count, m->sample_mean);
        if (m->step / (STEPS_A_DAY / UPDATES_A_DAY) != (m->step - m->sample_steps) / (STEPS_A_DAY / UPDATES_A_DAY)) {
            update_own(m, site);
        }
    }
    memcpy(m->sample, x, F_COUNT * sizeof(float));
    m->sample_mean = (float)(rate_of(m, x) * window_steps(m) * STEP_MINUTES);
    m->sample_regime = regime_of(m, m->sample_mean);
    m->sample_count = 0;
    m->sample_steps = 0;
}

/* Note what is expected now, so that arrivals of a lead time later can be judged by it. */
static void remember(persona_model_t *m, persona_model_site_t *site, const float *x)
{
    persona_moment_t *moment = &m->ring[m->ring_at++ % PERSONA_MODEL_RING];
    persona_tail_t *const tails[2] = {&m->tail, &site->tail};
    persona_demand_t demand;

    m->rate = rate_of(m, x);
    m->rate_known = 1;
    demand_of(m, m->rate, &demand);
    moment->target = m->target;
    moment->mean = (float)demand.mean;
    moment->spread = (float)demand.spread;
    moment->regime = demand.regime;
    moment->arrivals = m->arrivals;
    persona_tail_predict(tails, &demand, STEP / m->lead);
}

/* What is known has grown by much: do not wait for the end of the day. The levels' expectation moves along. */
static void grow_up(persona_model_t *m)
{
    double middle = second_of_day(m, m->now), before = persona_profile_base(&m->profile, middle);
    float factor;
    int k;

    persona_profile_reshape(&m->profile);
    factor = (float)(persona_profile_base(&m->profile, middle) / before);
    for (k = 0; k < LEVELS; k++) {
        m->expected[k] *= factor;
    }
    m->grown = m->total;
}

static void roll_day(persona_model_t *m, apr_int64_t day)
{
    persona_tail_forget(&m->tail, (double)(day - m->profile.day));
    persona_profile_roll(&m->profile, day, habit_of(m, day));
}

static void step_site(persona_model_site_t *site, apr_int64_t step)
{
    double behind = (double)(step - site->step);
    int k;

    if (behind <= 0) {
        return;
    }
    for (k = 0; k < SITE_LEVELS; k++) {
        float fade = behind == 1 ? site->fade_site[k] : powf(site->fade_site[k], (float)behind);

        site->seen[k] *= fade;
        site->expected[k] *= fade;
    }
    if (!site->step) {
        site->origin = step;
    }
    else if (step / STEPS_A_DAY != site->step / STEPS_A_DAY) {
        persona_tail_forget(&site->tail, 1);
    }
    if (site->step && step / (STEPS_A_DAY / UPDATES_A_DAY) != site->step / (STEPS_A_DAY / UPDATES_A_DAY)) {
        update_weights(&site->glm, start_weight, RIDGE_SITE, step - site->origin);
    }
    site->step = step;
}

static void step(persona_model_t *m, persona_model_site_t *site)
{
    double middle = second_of_day(m, (m->step + .5) * STEP);
    float base = (float)(persona_profile_base(&m->profile, middle) * STEP_MINUTES), x[PERSONA_GLM_MAX];
    apr_int64_t day;
    int k;

    persona_profile_add(&m->profile, (int)middle, 0, STEP_MINUTES);
    m->step++;
    m->now = m->step * STEP;
    step_site(site, m->step);
    for (k = 0; k < LEVELS; k++) {
        fade(&m->seen[k], site->fade_level[k]);
        m->expected[k] = m->expected[k] * site->fade_level[k] + base;
    }
    for (k = 0; k < PERSONA_MODEL_RECENCY; k++) {
        fade(&m->recency[k], site->fade_recency[k]);
    }
    for (k = 0; k < PERSONA_MODEL_ENDS; k++) {
        fade(&m->ends[k], site->fade_ends[k]);
    }
    for (k = 0; k < SITE_LEVELS; k++) {
        site->expected[k] += base;
    }
    day = local_day(m, m->now);
    if (day > m->profile.day) {
        roll_day(m, day);
    }
    if (m->step % STEPS_A_QUARTER == 0) {
        persona_tail_refresh(&m->view, m->ring[(m->ring_at - 1) % PERSONA_MODEL_RING].regime, &m->tail, &site->tail);
        persona_tail_refresh(&m->view, (int)(m->step / STEPS_A_QUARTER % PERSONA_TAIL_REGIMES), &m->tail,
                             &site->tail);
    }
    if (m->total < YOUNG_ARRIVALS && m->total >= ARRIVALS_TO_LEARN && m->total >= YOUNG_GROWTH * m->grown) {
        grow_up(m);
    }
    features(m, site, m->now, x);
    if (m->sample_steps < 0 || ++m->sample_steps >= window_steps(m)) {
        turn_window(m, site, x);
    }
    remember(m, site, x);
}

/* Time passed that nobody watched. */
static void skip(persona_model_t *m, persona_model_site_t *site, apr_int64_t to)
{
    float steps = (float)(to - m->step);
    apr_int64_t day;
    int k;

    for (k = 0; k < LEVELS; k++) {
        m->seen[k] *= powf(site->fade_level[k], steps);
        m->expected[k] *= powf(site->fade_level[k], steps);
    }
    for (k = 0; k < PERSONA_MODEL_RECENCY; k++) {
        m->recency[k] *= powf(site->fade_recency[k], steps);
    }
    for (k = 0; k < PERSONA_MODEL_ENDS; k++) {
        m->ends[k] *= powf(site->fade_ends[k], steps);
    }
    m->step = to;
    m->now = to * STEP;
    day = local_day(m, m->now);
    if (day > m->profile.day) {
        roll_day(m, day);
    }
    step_site(site, to);
    m->sample_steps = -1;
    m->ring_at = 0;
    m->rate_known = 0;
}

void persona_model_ahead(persona_model_t *m, persona_model_site_t *site, double at)
{
    apr_int64_t to = (apr_int64_t)floor(at / STEP), day;
    int k;

    while (m->step < to) {
        float base = (float)(persona_profile_base(&m->profile, second_of_day(m, (m->step + .5) * STEP)) * STEP_MINUTES);

        m->step++;
        m->now = m->step * STEP;
        for (k = 0; k < LEVELS; k++) {
            m->seen[k] = m->seen[k] * site->fade_level[k] + base;
            m->expected[k] = m->expected[k] * site->fade_level[k] + base;
        }
        for (k = 0; k < PERSONA_MODEL_RECENCY; k++) {
            fade(&m->recency[k], site->fade_recency[k]);
        }
        for (k = 0; k < PERSONA_MODEL_ENDS; k++) {
            fade(&m->ends[k], site->fade_ends[k]);
        }
        for (k = 0; k < SITE_LEVELS; k++) {
            site->seen[k] *= site->fade_site[k];
            site->expected[k] *= site->fade_site[k];
        }
        day = local_day(m, m->now);
        if (day > m->profile.day) {
            persona_profile_roll(&m->profile, day, habit_of(m, day));
        }
    }
    m->now = at > m->now ? at : m->now;
    m->rate_known = 0;
}

void persona_model_advance(persona_model_t *m, persona_model_site_t *site, double at)
{
    apr_int64_t to = (apr_int64_t)floor(at / STEP);

    if (at - m->now >= UNWATCHED) {
        skip(m, site, to);
    }
    while (m->step < to) {
        step(m, site);
    }
    if (at > m->now) {
        m->now = at;
        m->rate_known = 0;
    }
}

/* Seconds since the user's last start, < 0: none known. The oldest of a few places makes room. */
static double touch_user(persona_model_t *m, apr_uint32_t user, double at)
{
    float now = (float)(at - (double)m->origin * STEP);
    persona_model_user_t *place = NULL;
    int k;

    for (k = 0; k < 8; k++) {
        persona_model_user_t *u = &m->users[(user + (apr_uint32_t)k * 61) % PERSONA_MODEL_USERS];

        if (u->hash == user) {
            double ago = now - u->last;

            u->last = now;
            return ago > 0 ? ago : 0;
        }
        if (!place || (place->hash && (!u->hash || u->last < place->last))) {
            place = u;
        }
    }
    place->hash = user;
    place->last = now;
    return -1;
}

/* How the arrival at `at` fared, by what was expected when its instance had to be begun. */
static void judge(persona_model_t *m, persona_model_site_t *site, double at, persona_verdict_t *verdict)
{
    persona_tail_t *const tails[2] = {&m->tail, &site->tail};
    double steps = (m->lead - (at - m->step * STEP)) / STEP + .5;
    apr_uint32_t back = steps > 0 ? (apr_uint32_t)steps : 0;
    const persona_moment_t *then;
    persona_demand_t demand;
    int rank;

    verdict->price = -1;
    verdict->served = 0;
    if (back >= m->ring_at || back >= PERSONA_MODEL_RING) {
        return;
    }
    then = &m->ring[(m->ring_at - 1 - back) % PERSONA_MODEL_RING];
    rank = (int)(m->arrivals - then->arrivals);
    demand.mean = then->mean;
    demand.spread = then->spread;
    demand.regime = then->regime;
    demand.worth = m->view.worth[then->regime];
    verdict->price = persona_tail_arrival(tails, &demand, rank);
    verdict->served = rank < then->target;
}

void persona_model_arrival(persona_model_t *m, persona_model_site_t *site, apr_uint32_t user, double at,
                           persona_verdict_t *verdict)
{
    persona_verdict_t unused;
    int k;

    persona_model_advance(m, site, at);
    judge(m, site, m->now, verdict ? verdict : &unused);
    persona_profile_add(&m->profile, (int)second_of_day(m, m->now), 1, 0);
    for (k = 0; k < LEVELS; k++) {
        m->seen[k] += 1;
    }
    for (k = 0; k < SITE_LEVELS; k++) {
        site->seen[k] += 1;
    }
    if (user) {
        double ago = touch_user(m, user, m->now);

        for (k = 0; k < PERSONA_MODEL_RECENCY; k++) {
            m->recency[k] += ago < 0 ? 1 : 1 - expf(-(float)ago / 60 / recency_time[k]);
        }
    }
    m->rate_known = 0;
    m->last_arrival = m->now;
    m->active++;
    m->arrivals++;
    m->sample_count++;
    m->total += 1;
}

void persona_model_announced(persona_model_t *m, persona_model_site_t *site, double at)
{
    persona_model_advance(m, site, at);
    m->rate_known = 0;
    m->active++;
}

void persona_model_like(persona_model_t *m, apr_int64_t day, int today, int tomorrow)
{
    int habit;

    m->like_day = today >= 0 || tomorrow >= 0 ? day : 0;
    m->like[0] = today;
    m->like[1] = tomorrow;
    habit = habit_of(m, m->profile.day);
    if (habit != m->profile.weekday) {
        m->profile.weekday = habit;
        persona_profile_reshape(&m->profile);
        m->rate_known = 0;
    }
}

void persona_model_end(persona_model_t *m, persona_model_site_t *site, double at)
{
    int k;

    persona_model_advance(m, site, at);
    m->rate_known = 0;
    m->ends_known = 1;
    m->active -= m->active > 0;
    for (k = 0; k < PERSONA_MODEL_ENDS; k++) {
        m->ends[k] += 1;
    }
}

void persona_model_target(persona_model_t *m, int target)
{
    persona_moment_t *moment = &m->ring[(m->ring_at - 1) % PERSONA_MODEL_RING];

    m->target = target;
    if (m->ring_at && moment->arrivals == m->arrivals) {
        moment->target = target;
    }
}

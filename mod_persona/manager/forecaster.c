/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file forecaster.c
 * @brief Feeds the learned model and keeps its state in PersonaStateDirectory/forecast.
 *
 * The file is replaced as a whole: written beside, flushed, renamed. A full disk costs what was learned since the last
 * time, and is said once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <apr_file_io.h>
#include <apr_strings.h>

#include "forecaster.h"
#include "persona/dates.h"

#define SAVE_EVERY  apr_time_from_sec(600)
#define NOTES_MAX   4096
#define STATE_MAX   (256 * 1024 * 1024)

static const char *state_path(const persona_manager_t *m, apr_pool_t *p)
{
    return apr_pstrcat(p, m->settings->state_dir, "/forecast", NULL);
}

static void load(persona_manager_t *m, apr_pool_t *p)
{
    const char *path = state_path(m, p);
    apr_finfo_t info;
    apr_file_t *file;
    apr_size_t len = 0;
    char *data;
    apr_status_t status = apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, 0, p);

    if (APR_STATUS_IS_ENOENT(status)) {
        return;
    }
    if (status == APR_SUCCESS) {
        status = apr_file_info_get(&info, APR_FINFO_SIZE, file);
        if (status == APR_SUCCESS && info.size <= STATE_MAX) {
            data = apr_palloc(p, (apr_size_t)info.size + 1);
            status = apr_file_read_full(file, data, (apr_size_t)info.size, &len);
            if (status == APR_SUCCESS || APR_STATUS_IS_EOF(status)) {
                status = persona_forecast_load(m->model, data, len);
            }
        }
        else if (status == APR_SUCCESS) {
            status = APR_EINVAL;
        }
        apr_file_close(file);
    }
    if (status != APR_SUCCESS) {
        persona_log(PERSONA_LOG_WARNING, status, "what the forecast has learned cannot be read from %s: it begins anew",
                    path);
    }
}

apr_status_t persona_forecaster_open(persona_manager_t *m, apr_pool_t *p)
{
    const char *mode = m->settings->forecast ? m->settings->forecast : "shadow";
    apr_pool_t *scratch, *own;
    apr_status_t status;

    /* Of its own: the ticking thread allocates from it without the lock. */
    apr_pool_create(&own, p);
    status = persona_forecast_create(&m->pattern, "pattern", own);

    m->notes = apr_array_make(p, 64, sizeof(persona_note_t));
    if (status != APR_SUCCESS || !strcmp(mode, "off")) {
        return status;
    }
    status = persona_forecast_create(&m->model, "model", own);
    if (status == APR_SUCCESS) {
        m->model_rules = !strcmp(mode, "on");
        m->model_saved = persona_manager_now(m);
        persona_forecast_price(m->model, m->settings->wait_cost, m->settings->hit_rate);
        apr_pool_create(&scratch, p);
        load(m, scratch);
        apr_pool_destroy(scratch);
    }
    return status;
}

static void note(persona_manager_t *m, const char *persona_id, const char *user, const char *role, int ended)
{
    persona_note_t *n;

    if (m->model && m->notes->nelts < NOTES_MAX) {
        n = apr_array_push(m->notes);
        persona_copy(n->persona_id, persona_id);
        persona_copy(n->user, user);
        persona_copy(n->role, role);
        n->ended = ended;
        n->at = persona_manager_now(m);
    }
}

void persona_forecaster_arrived(persona_manager_t *m, const char *persona_id, const char *user, const char *role)
{
    note(m, persona_id, user, role, 0);
}

void persona_forecaster_ended(persona_manager_t *m, const char *persona_id)
{
    note(m, persona_id, NULL, NULL, 1);
}

static json_t *errors_json(const apr_array_header_t *errors, apr_pool_t *p)
{
    json_t *list = errors->nelts ? json_array() : NULL;
    int i;

    for (i = 0; i < errors->nelts; i++) {
        const char *text = persona_error_text(&APR_ARRAY_IDX(errors, i, persona_error_t), p);

        persona_log(PERSONA_LOG_ERR, 0, "%s", text);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

void persona_forecaster_dates(persona_manager_t *m)
{
    const char *path = m->settings->event_file;
    apr_uint64_t stamp = path ? persona_dates_stamp(path) : 0;
    apr_array_header_t *errors, *events;
    apr_pool_t *p, *old = NULL;
    json_t *said;

    if (!path || stamp == m->events_stamp) {
        return;
    }
    m->events_stamp = stamp;
    apr_pool_create(&p, NULL);
    errors = apr_array_make(p, 4, sizeof(persona_error_t));
    events = persona_dates_load(path, errors, p);
    if (events) {
        pthread_mutex_lock(&m->model_lock);
        if (m->model) {
            persona_forecast_dates(m->model, events);
        }
        old = m->events_pool;
        m->events_pool = p;
        pthread_mutex_unlock(&m->model_lock);
        persona_log(PERSONA_LOG_INFO, 0, "%d events are in force (%s)", events->nelts, path);
    }
    else {
        persona_log(PERSONA_LOG_WARNING, 0, "%s: %s", path,
                    m->events_pool ? "the events it had before stay in force" : "no event of it is in force");
    }
    said = errors_json(errors, p);
    persona_manager_lock(m);
    json_decref(m->events_errors);
    m->events_errors = said;
    persona_manager_unlock(m);
    if (!events) {
        apr_pool_destroy(p);
    }
    if (old) {
        apr_pool_destroy(old);
    }
}

typedef struct boot_t {
    char persona_id[PERSONA_NAME_MAX + 1];
    apr_interval_time_t took;
} boot_t;

/** With the lock: boots that the model was not told of yet. */
static apr_array_header_t *new_boots(persona_manager_t *m, apr_pool_t *p)
{
    apr_array_header_t *boots = apr_array_make(p, 8, sizeof(boot_t));
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(p, m->stocks); hi; hi = apr_hash_next(hi)) {
        persona_stock_t *stock = apr_hash_this_val(hi);

        if (stock->boot_count - stock->boots_told > PERSONA_BOOTS_KEPT) {
            stock->boots_told = stock->boot_count - PERSONA_BOOTS_KEPT;
        }
        for (; stock->boots_told != stock->boot_count; stock->boots_told++) {
            boot_t *boot = apr_array_push(boots);

            persona_copy(boot->persona_id, stock->persona_id);
            boot->took = stock->boots[stock->boots_told % PERSONA_BOOTS_KEPT];
        }
    }
    return boots;
}

void persona_forecaster_feed(persona_manager_t *m, apr_pool_t *p)
{
    apr_array_header_t *notes, *boots;
    int i;

    if (!m->model) {
        return;
    }
    persona_manager_lock(m);
    notes = apr_array_copy(p, m->notes);
    apr_array_clear(m->notes);
    boots = new_boots(m, p);
    persona_manager_unlock(m);
    pthread_mutex_lock(&m->model_lock);
    for (i = 0; i < boots->nelts; i++) {
        const boot_t *boot = &APR_ARRAY_IDX(boots, i, boot_t);

        persona_forecast_boot(m->model, boot->persona_id, boot->took);
    }
    for (i = 0; i < notes->nelts; i++) {
        const persona_note_t *n = &APR_ARRAY_IDX(notes, i, persona_note_t);

        if (n->ended) {
            persona_forecast_end(m->model, n->persona_id, n->at);
        }
        else {
            persona_forecast_arrival(m->model, n->persona_id, n->user, *n->role ? n->role : NULL, n->at);
        }
    }
    pthread_mutex_unlock(&m->model_lock);
}

/** How many times as much as the buffer's the model's pool has cost in a week. */
static double cost_ratio(const persona_feedback_view_t *view)
{
    double buffer = view->week.pool[PERSONA_POOL_BUFFER].cost;

    return buffer > 0 ? view->week.pool[PERSONA_POOL_MODEL].cost / buffer : 0;
}

/** Keep the scores for the status, and say where the pool leaves the forecast or comes back to it. */
static void note_feedback(persona_manager_t *m, const persona_t *persona, const persona_feedback_view_t *view)
{
    persona_stock_t *stock;
    int turned;

    persona_manager_lock(m);
    stock = persona_stock_of(m, persona->id);
    turned = stock->feedback.fallen != view->fallen;
    stock->feedback = *view;
    persona_manager_unlock(m);
    if (!turned || !m->model_rules) {
        return;
    }
    if (view->fallen) {
        persona_log(PERSONA_LOG_WARNING, 0,
                    "persona %s: in seven days and %.0f claims the forecast cost %.2f times as much as a buffer: its "
                    "pool holds %d until that changes",
                    persona->id, view->week.claims, cost_ratio(view), view->buffer);
        return;
    }
    persona_log(PERSONA_LOG_NOTICE, 0, "persona %s: the forecast costs no more than a buffer now, and rules again",
                persona->id);
}

void persona_forecaster_target(persona_manager_t *m, const persona_t *persona, persona_target_t *target,
                               persona_target_t *model)
{
    apr_time_t now = persona_manager_now(m);
    persona_feedback_view_t view;

    memset(model, 0, sizeof(*model));
    memset(&view, 0, sizeof(view));
    pthread_mutex_lock(&m->model_lock);
    if (m->model) {
        persona_forecast_target(m->model, persona, now, model);
        persona_forecast_feedback(m->model, persona, now, &view);
    }
    if (!m->model_rules) {
        persona_forecast_target(m->pattern, persona, now, target);
    }
    pthread_mutex_unlock(&m->model_lock);
    if (m->model) {
        note_feedback(m, persona, &view);
    }
    if (m->model_rules) {
        *target = *model;
        if (model->fallen) {
            target->ready = model->buffer;
            apr_snprintf(target->reason, sizeof(target->reason),
                         "buffer: the forecast cost %.2f times as much in seven days", cost_ratio(&view));
        }
    }
}

void persona_forecaster_worth(persona_manager_t *m, const persona_t *persona, int n, double *worth)
{
    pthread_mutex_lock(&m->model_lock);
    persona_forecast_worth(m->model ? m->model : m->pattern, persona, n, worth);
    pthread_mutex_unlock(&m->model_lock);
}

apr_status_t persona_forecaster_explain(persona_manager_t *m, const persona_t *persona, apr_time_t at,
                                        persona_explanation_t *explanation, apr_pool_t *p)
{
    apr_status_t status = APR_ENOTIMPL;

    if (m->model) {
        pthread_mutex_lock(&m->model_lock);
        status = persona_forecast_explain(m->model, persona, at, explanation, p);
        pthread_mutex_unlock(&m->model_lock);
    }
    return status;
}

static apr_status_t write_state(const char *path, const char *data, apr_size_t len, apr_pool_t *p)
{
    const char *beside = apr_pstrcat(p, path, ".new", NULL);
    apr_file_t *file;
    apr_status_t status = apr_file_open(&file, beside, APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_TRUNCATE |
                                        APR_FOPEN_BINARY, APR_FPROT_UREAD | APR_FPROT_UWRITE, p);
    apr_status_t closed;

    if (status != APR_SUCCESS) {
        return status;
    }
    status = apr_file_write_full(file, data, len, NULL);
    if (status == APR_SUCCESS) {
        status = apr_file_sync(file);
    }
    closed = apr_file_close(file);
    status = status == APR_SUCCESS ? closed : status;
    if (status == APR_SUCCESS) {
        status = apr_file_rename(beside, path, p);
    }
    if (status != APR_SUCCESS) {
        apr_file_remove(beside, p);
    }
    return status;
}

void persona_forecaster_save(persona_manager_t *m, int now, apr_pool_t *p)
{
    apr_time_t at = persona_manager_now(m);
    apr_status_t status;
    apr_size_t len;
    char *data;

    if (!m->model || (!now && at - m->model_saved < SAVE_EVERY)) {
        return;
    }
    m->model_saved = at;
    pthread_mutex_lock(&m->model_lock);
    persona_forecast_save(m->model, &data, &len, p);
    pthread_mutex_unlock(&m->model_lock);
    if (!len) {
        return;
    }
    status = write_state(state_path(m, p), data, len, p);
    if (status != APR_SUCCESS && !m->model_unsaved) {
        persona_log(PERSONA_LOG_WARNING, status, "what the forecast has learned cannot be kept in %s",
                    state_path(m, p));
    }
    m->model_unsaved = status != APR_SUCCESS;
}

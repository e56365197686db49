/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file trail.c
 * @brief The queue of the history and its writer.
 *
 * One mutex, never held over the database, the disk or the log; whoever has the manager's lock may take it, and the
 * writer never takes the manager's. Queued events are in a ring of fixed length; the batch that the writer took out of
 * it stays its own until it is written, so what was taken is written in order and once. A batch that fails is kept and
 * tried again with pauses of 1, 2, 4 ... 30 s, on a new connection. Where one event of it is refused and others are
 * taken, that one is dropped.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <apr_strings.h>

#include "crew.h"
#include "monotonic.h"
#include "persona/digest.h"
#include "trail.h"

#define BATCH 256
/** Events come in bunches: a little patience makes one transaction of them. */
#define LINGER       apr_time_from_msec(30)
#define PAUSE_MAX    apr_time_from_sec(30)
#define TRIM_EVERY   apr_time_from_sec(600)
#define SILENT_AFTER apr_time_from_sec(10)
#define REMIND_EVERY apr_time_from_sec(60)
/** A file that is damaged again so soon is not worth another one. */
#define ASIDE_EVERY apr_time_from_sec(60)

#define USER_MAX   PERSONA_USER_MAX
#define ROLES_MAX  512
#define REASON_MAX 255
#define WORD_MAX   127
#define TEXTS      10

/** An event with its texts behind it, in one piece of memory. */
typedef persona_event_t queued_t;

struct persona_trail_t {
    persona_trail_conf_t conf; /* constant, as is the next */
    const char *start;         /**< begins the marks of events that are like no other */
    pthread_mutex_t lock;      /* guards all below but what is the writer's */
    pthread_cond_t work, ended;
    queued_t **ring;
    int size, first, count;
    apr_uint64_t sequence;
    int stop, running, suspect;
    int reading;
    apr_int64_t written, lost, told; /**< lost: all; told: of these, to the history */
    apr_int64_t lost_before;         /**< it began to fail */
    int holding;                     /**< events in the writer's hands */
    int up;                          /**< a connection is open */
    int failing;                     /**< the last attempt failed */
    apr_time_t failing_since, busy_since; /**< monotonic; 0: no */
    char problem[256];
    /* what the log was told */
    int said_silent, said_losing;
    apr_time_t reminded;
    apr_int64_t said_lost;
    /* the writer's */
    persona_history_t *history;
    queued_t *batch[BATCH + 1];
    int taken;
    apr_time_t trimmed, set_aside, refused;
    int refusals; /**< of the batch */
    int greeted;
    apr_pool_t *pool;
};

/* ---- events ---- */

/** Bytes of the UTF-8 character at `s`; 0: it is none, or a control character. */
static int character(const unsigned char *s, apr_size_t left)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned code;
    int len, i;

    if (s[0] < 0x80) {
        return s[0] >= 0x20 && s[0] != 0x7f;
    }
    len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || (apr_size_t)len > left) {
        return 0;
    }
    code = s[0] & (0xffU >> (len + 1));
    for (i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (s[i] & 0x3f);
    }
    return code >= least[len] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? len : 0;
}

/** Copy at most `max` bytes, whole characters, '?' for what is none. Returns where the next text may begin. */
static char *copy_text(char *to, const char *from, apr_size_t max)
{
    apr_size_t left = strlen(from);
    const unsigned char *s = (const unsigned char *)from;

    while (left) {
        int len = character(s, left);
        int out = len ? len : 1;

        if ((apr_size_t)out > max) {
            break;
        }
        if (len) {
            memcpy(to, s, (size_t)len);
        }
        else {
            *to = '?';
        }
        to += out;
        s += out;
        left -= (apr_size_t)out;
        max -= (apr_size_t)out;
    }
    *to = '\0';
    return to + 1;
}

/** Where each text of an event is, and how long it may be. */
static void texts_of(persona_event_t *e, const char ***texts, apr_size_t *limits)
{
    const char **all[TEXTS] = {&e->user,     &e->roles,   &e->app,  &e->persona, &e->session,
                               &e->instance, &e->compute, &e->host, &e->reason,  &e->mark};
    static const apr_size_t most[TEXTS] = {USER_MAX, ROLES_MAX, WORD_MAX, WORD_MAX,   WORD_MAX,
                                           WORD_MAX, WORD_MAX,  WORD_MAX, REASON_MAX, WORD_MAX};

    memcpy(texts, all, sizeof(all));
    memcpy(limits, most, sizeof(most));
}

static queued_t *copy_event(const persona_event_t *event)
{
    persona_event_t source = *event;
    const char **from[TEXTS], **to[TEXTS];
    apr_size_t limits[TEXTS], size = sizeof(queued_t);
    queued_t *copy;
    char *end;
    int i;

    texts_of(&source, from, limits);
    for (i = 0; i < TEXTS; i++) {
        if (*from[i]) {
            apr_size_t len = strlen(*from[i]);

            size += (len < limits[i] ? len : limits[i]) + 1;
        }
    }
    copy = calloc(1, size);
    if (!copy) {
        abort();
    }
    *copy = source;
    texts_of(copy, to, limits);
    end = (char *)(copy + 1);
    for (i = 0; i < TEXTS; i++) {
        if (*from[i]) {
            *to[i] = end;
            end = copy_text(end, *from[i], limits[i]);
        }
    }
    return copy;
}

void persona_trail_push(persona_trail_t *t, const persona_event_t *event)
{
    queued_t *copy;

    if (!t) {
        return;
    }
    copy = copy_event(event);
    pthread_mutex_lock(&t->lock);
    if (t->stop || t->count == t->size) {
        t->lost++;
        free(copy);
    }
    else {
        t->ring[(t->first + t->count++) % t->size] = copy;
        pthread_cond_signal(&t->work);
    }
    pthread_mutex_unlock(&t->lock);
}

const char *persona_trail_pseudonym(const char *key, const char *user, apr_pool_t *p)
{
    char mac[PERSONA_HEX256_LEN];

    persona_hmac(key, strlen(key), user, strlen(user), mac);
    return apr_pstrcat(p, "pseudonym-", apr_pstrmemdup(p, mac, 24), NULL);
}

/* ---- the writer ---- */

/** Between these two the database may be silent for as long as it likes. */
static void busy(persona_trail_t *t, int begins)
{
    pthread_mutex_lock(&t->lock);
    t->busy_since = begins ? persona_monotonic_now() : 0;
    pthread_mutex_unlock(&t->lock);
}

static void note_good(persona_trail_t *t, int written)
{
    apr_interval_time_t down = 0;
    apr_int64_t lost;
    int news;

    pthread_mutex_lock(&t->lock);
    news = t->failing || t->said_silent;
    if (t->failing_since) {
        down = persona_monotonic_now() - t->failing_since;
    }
    t->failing = t->said_silent = t->said_losing = 0;
    t->failing_since = 0;
    t->problem[0] = '\0';
    t->written += written;
    t->holding = t->taken;
    lost = t->lost - t->lost_before;
    if (news) {
        t->said_lost = t->lost;
    }
    pthread_mutex_unlock(&t->lock);
    if (news) {
        persona_log(PERSONA_LOG_NOTICE, 0,
                    "the history is written again, after %" APR_INT64_T_FMT " s; %" APR_INT64_T_FMT
                    " events were lost meanwhile",
                    apr_time_sec(down), lost);
    }
}

static void note_bad(persona_trail_t *t, const char *problem)
{
    int news;

    pthread_mutex_lock(&t->lock);
    news = !t->failing;
    t->failing = 1;
    if (news && !t->failing_since) {
        t->failing_since = persona_monotonic_now();
        t->lost_before = t->lost;
    }
    apr_cpystrn(t->problem, problem, sizeof(t->problem));
    pthread_mutex_unlock(&t->lock);
    if (news) {
        persona_log(PERSONA_LOG_ERR, 0,
                    "the history cannot be written: %s; claims go on, and %d events are kept until it can", problem,
                    t->size);
    }
}

static void disconnect(persona_trail_t *t)
{
    persona_history_t *history = t->history;

    t->history = NULL;
    persona_history_close(history);
    pthread_mutex_lock(&t->lock);
    t->up = 0;
    pthread_mutex_unlock(&t->lock);
}

/** The file is damaged, or somebody has met that. 1: there is no such file any more, and a new one may be begun. */
static int make_way(persona_trail_t *t, const char *problem, apr_pool_t *p)
{
    apr_time_t now = persona_monotonic_now();
    const char *aside = NULL;
    apr_status_t status;

    if (t->set_aside && now - t->set_aside < ASIDE_EVERY) {
        return 0;
    }
    t->set_aside = now;
    status = persona_database_set_aside(t->conf.params, &aside, p);
    if (status != APR_SUCCESS) {
        persona_log(PERSONA_LOG_ERR, status, "the history in %s is damaged (%s), and the file cannot be renamed",
                    t->conf.params, problem);
        return 0;
    }
    persona_log(PERSONA_LOG_ERR, 0, "the history in %s is damaged (%s): the file is now %s, and a new history begins",
                t->conf.params, problem, aside);
    return 1;
}

/** Once in a process: where the history is, and whose. */
static void greet(persona_trail_t *t)
{
    persona_event_t start = PERSONA_EVENT_NONE;

    if (t->greeted) {
        return;
    }
    t->greeted = 1;
    start.at = apr_time_now();
    start.reason = "the manager started";
    persona_trail_push(t, &start);
    if (persona_database_is_sqlite(t->conf.driver)) {
        persona_log(PERSONA_LOG_NOTICE, 0, "the history is kept in %s; it is this gateway's only", t->conf.params);
    }
    else {
        persona_log(PERSONA_LOG_NOTICE, 0, "the history is kept in PostgreSQL; all gateways that use it share it");
    }
}

/** 1: a connection is open. */
static int connect_history(persona_trail_t *t, apr_pool_t *p)
{
    persona_result_t res = {0};
    persona_database_e outcome;

    busy(t, 1);
    outcome = persona_history_open(&t->history, t->conf.driver, t->conf.params, t->conf.gateway, &res, t->pool);
    if (outcome == PERSONA_DATABASE_DAMAGED && make_way(t, res.detail, p)) {
        outcome = persona_history_open(&t->history, t->conf.driver, t->conf.params, t->conf.gateway, &res, t->pool);
    }
    if (outcome == PERSONA_DATABASE_OK) {
        outcome = persona_history_touch(t->history, &res, p);
    }
    busy(t, 0);
    if (outcome != PERSONA_DATABASE_OK) {
        note_bad(t, res.detail);
        disconnect(t);
        return 0;
    }
    pthread_mutex_lock(&t->lock);
    t->up = 1;
    pthread_mutex_unlock(&t->lock);
    note_good(t, 0);
    greet(t);
    return 1;
}

/** Somebody has read words of damage: is it so? 1: it was, and a new history may be begun. */
static int look_closer(persona_trail_t *t, apr_pool_t *p)
{
    persona_result_t res = {0};
    persona_database_e outcome = PERSONA_DATABASE_FAILED;

    busy(t, 1);
    if (t->history) {
        outcome = persona_database_examine(persona_history_database(t->history), &res, p);
    }
    busy(t, 0);
    disconnect(t);
    return outcome == PERSONA_DATABASE_DAMAGED && make_way(t, res.detail, p);
}

static void drop(persona_trail_t *t, int which, const char *problem)
{
    apr_time_t now = persona_monotonic_now();

    if (!t->refused || now - t->refused > REMIND_EVERY) {
        persona_log(PERSONA_LOG_WARNING, 0, "the history refuses an event (%s) and takes others: it is dropped (%s)",
                    persona_event_name(t->batch[which]->kind), problem);
        t->refused = now;
    }
    free(t->batch[which]);
    memmove(&t->batch[which], &t->batch[which + 1], sizeof(t->batch[0]) * (size_t)(t->taken - which - 1));
    t->taken--;
    pthread_mutex_lock(&t->lock);
    t->lost++;
    pthread_mutex_unlock(&t->lock);
}

static const persona_event_t *const *batch_of(persona_trail_t *t, int from)
{
    return (const persona_event_t *const *)(apr_uintptr_t)&t->batch[from];
}

/** The whole batch was refused on a connection that still takes rows: find the one that it cannot take. */
static persona_database_e write_singly(persona_trail_t *t, persona_result_t *res, apr_pool_t *p)
{
    int i = 0;

    while (i < t->taken) {
        persona_database_e outcome = persona_history_write(t->history, batch_of(t, i), 1, res, p);
        persona_result_t other = {0};

        if (outcome == PERSONA_DATABASE_OK) {
            i++;
            continue;
        }
        if (outcome != PERSONA_DATABASE_REFUSED ||
            persona_history_touch(t->history, &other, p) != PERSONA_DATABASE_OK) {
            return outcome;
        }
        drop(t, i, res->detail);
    }
    return PERSONA_DATABASE_OK;
}

static void batch_free(persona_trail_t *t)
{
    while (t->taken) {
        free(t->batch[--t->taken]);
    }
}

/** 0: it failed, and is to be tried again after a while. */
static int write_batch(persona_trail_t *t, apr_pool_t *p)
{
    persona_result_t res = {0};
    persona_database_e outcome;
    int written;

    busy(t, 1);
    outcome = persona_history_write(t->history, batch_of(t, 0), t->taken, &res, p);
    if (outcome == PERSONA_DATABASE_REFUSED && t->refusals++) {
        outcome = write_singly(t, &res, p);
    }
    busy(t, 0);
    if (outcome == PERSONA_DATABASE_REFUSED && t->refusals == 1) {
        disconnect(t); /* somebody may have dropped a table, and a new connection makes it */
        return 1;
    }
    if (outcome == PERSONA_DATABASE_DAMAGED && look_closer(t, p)) {
        return 1;
    }
    if (outcome != PERSONA_DATABASE_OK) {
        note_bad(t, res.detail);
        disconnect(t);
        return 0;
    }
    t->refusals = 0;
    written = t->taken;
    batch_free(t);
    note_good(t, written);
    return 1;
}

/** 0: it failed. Little by little: events that came meanwhile go first. */
static int trim(persona_trail_t *t, apr_pool_t *p)
{
    persona_result_t res = {0};
    persona_database_e outcome;
    int more = 0;

    busy(t, 1);
    outcome = persona_history_touch(t->history, &res, p);
    if (outcome == PERSONA_DATABASE_OK && t->conf.keep) {
        outcome = persona_history_trim(t->history, apr_time_now() - t->conf.keep, &more, &res, p);
    }
    busy(t, 0);
    if (outcome == PERSONA_DATABASE_DAMAGED && look_closer(t, p)) {
        return 1;
    }
    if (outcome != PERSONA_DATABASE_OK) {
        note_bad(t, res.detail);
        disconnect(t);
        return 0;
    }
    t->trimmed = more ? t->trimmed : persona_monotonic_now();
    note_good(t, 0);
    return 1;
}

static int trim_due(const persona_trail_t *t)
{
    return !t->trimmed || persona_monotonic_now() - t->trimmed >= TRIM_EVERY;
}

/** What makes an event unlike any other; the name under which a user is written. */
static void finish_event(persona_trail_t *t, queued_t *e, apr_pool_t *p)
{
    persona_event_t whole = *e;

    if (!e->mark) {
        whole.mark = apr_psprintf(p, "%s-%" APR_UINT64_T_FMT, t->start, ++t->sequence);
    }
    if (t->conf.pseudonym_keys[0] && e->user && *e->user && e->kind != PERSONA_EVENT_ADMIN) {
        whole.user = persona_trail_pseudonym(t->conf.pseudonym_keys[0], e->user, p);
    }
    if (whole.mark != e->mark || whole.user != e->user) {
        queued_t *copy = copy_event(&whole);
        int i;

        for (i = 0; i < t->taken; i++) {
            if (t->batch[i] == e) {
                t->batch[i] = copy;
            }
        }
        free(e);
    }
}

/** With the lock: take what is queued, after word of what was lost. */
static void take(persona_trail_t *t)
{
    if (t->lost > t->told) {
        persona_event_t lost = PERSONA_EVENT_NONE;
        char words[80];

        apr_snprintf(words, sizeof(words), "%" APR_INT64_T_FMT " events could not be written", t->lost - t->told);
        lost.kind = PERSONA_EVENT_LOST;
        lost.at = apr_time_now();
        lost.reason = words;
        t->told = t->lost;
        t->batch[t->taken++] = copy_event(&lost);
    }
    while (t->count && t->taken < BATCH) {
        t->batch[t->taken++] = t->ring[t->first];
        t->first = (t->first + 1) % t->size;
        t->count--;
    }
}

/** Wait until there is something to do. 0: nothing is left, and it is time to end. */
static int wait_for_events(persona_trail_t *t, apr_pool_t *p)
{
    struct timespec until;
    int rc = 0, i, taken = t->taken;

    pthread_mutex_lock(&t->lock);
    if (t->up && !taken && !trim_due(t)) {
        until = persona_monotonic_in(TRIM_EVERY);
        while (!t->count && !t->stop && !t->suspect && rc == 0) {
            rc = pthread_cond_timedwait(&t->work, &t->lock, &until);
        }
    }
    if (!taken && t->count && t->count < BATCH && !t->stop) {
        pthread_mutex_unlock(&t->lock);
        apr_sleep(LINGER);
        pthread_mutex_lock(&t->lock);
    }
    if (!taken && t->up) {
        take(t);
        t->holding = t->taken;
    }
    i = t->stop && !t->taken && !t->count;
    pthread_mutex_unlock(&t->lock);
    if (i) {
        return 0;
    }
    for (i = taken; i < t->taken; i++) {
        finish_event(t, t->batch[i], p);
    }
    return 1;
}

/** Until the next attempt, or until it must end: then 0. */
static int wait_out(persona_trail_t *t, apr_interval_time_t pause)
{
    struct timespec until = persona_monotonic_in(pause);
    int rc = 0, stop;

    pthread_mutex_lock(&t->lock);
    while (!t->stop && rc == 0) {
        rc = pthread_cond_timedwait(&t->work, &t->lock, &until);
    }
    stop = t->stop;
    pthread_mutex_unlock(&t->lock);
    return !stop;
}

/** One round. 0: it failed. */
static int round_of(persona_trail_t *t, apr_pool_t *p)
{
    int suspect;

    if (t->history && persona_database_replaced(persona_history_database(t->history))) {
        disconnect(t); /* somebody has removed or restored it */
    }
    pthread_mutex_lock(&t->lock);
    suspect = t->suspect;
    t->suspect = 0;
    pthread_mutex_unlock(&t->lock);
    if (suspect) {
        look_closer(t, p);
    }
    if (!t->history && !connect_history(t, p)) {
        return 0;
    }
    if (t->taken) {
        return write_batch(t, p);
    }
    return trim_due(t) ? trim(t, p) : 1;
}

static void *writer(void *arg)
{
    persona_trail_t *t = arg;
    apr_interval_time_t pause = apr_time_from_sec(1);
    int last = 0; /* it must end, and this is its last attempt */
    apr_pool_t *p;

    apr_pool_create(&p, t->pool);
    while (wait_for_events(t, p)) {
        if (round_of(t, p)) {
            pause = apr_time_from_sec(1);
        }
        else if (last) {
            break;
        }
        else {
            last = !wait_out(t, pause);
            pause = 2 * pause < PAUSE_MAX ? 2 * pause : PAUSE_MAX;
        }
        apr_pool_clear(p);
    }
    disconnect(t);
    pthread_mutex_lock(&t->lock);
    t->lost += t->taken + t->count;
    batch_free(t);
    while (t->count) {
        free(t->ring[t->first]);
        t->first = (t->first + 1) % t->size;
        t->count--;
    }
    apr_pool_destroy(t->pool);
    t->running = 0;
    pthread_cond_broadcast(&t->ended);
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* ---- from outside ---- */

apr_status_t persona_trail_create(persona_trail_t **trail, const persona_trail_conf_t *conf, apr_pool_t *p)
{
    persona_trail_t *t = apr_pcalloc(p, sizeof(*t));
    apr_status_t status;

    t->conf = *conf;
    t->size = conf->queue > 0 ? conf->queue : PERSONA_TRAIL_QUEUE;
    t->ring = apr_pcalloc(p, sizeof(*t->ring) * (apr_size_t)t->size);
    t->start = apr_psprintf(p, "%.12s-%" APR_INT64_T_FMT, conf->gateway, apr_time_now());
    pthread_mutex_init(&t->lock, NULL);
    persona_monotonic_cond(&t->work);
    persona_monotonic_cond(&t->ended);
    t->running = 1;
    /* now, while nobody else is at it: the driver is loaded into memory of the whole process */
    if (persona_database_driver_check(conf->driver, p)) {
        return APR_ENOTIMPL;
    }
    status = apr_pool_create(&t->pool, NULL);
    if (status == APR_SUCCESS) {
        status = persona_thread_start(writer, t);
    }
    *trail = status == APR_SUCCESS ? t : NULL;
    return status;
}

void persona_trail_tend(persona_trail_t *t)
{
    apr_time_t now = persona_monotonic_now();
    int silent, losing;
    apr_int64_t lost;

    if (!t) {
        return;
    }
    pthread_mutex_lock(&t->lock);
    silent = t->busy_since && now - t->busy_since > SILENT_AFTER && !t->said_silent;
    if (silent) {
        t->said_silent = 1;
        if (!t->failing_since) {
            t->failing_since = t->busy_since;
            t->lost_before = t->lost;
        }
    }
    lost = t->lost - t->said_lost;
    losing = lost > 0 && (!t->said_losing || now - t->reminded > REMIND_EVERY);
    if (losing) {
        t->said_losing = 1;
        t->reminded = now;
        t->said_lost = t->lost;
    }
    pthread_mutex_unlock(&t->lock);
    if (silent) {
        persona_log(PERSONA_LOG_ERR, 0, "the database of the history has not answered for %d s; claims go on, and %d "
                    "events are kept until it does", (int)apr_time_sec(SILENT_AFTER), t->size);
    }
    if (losing) {
        persona_log(PERSONA_LOG_WARNING, 0, "%" APR_INT64_T_FMT " events were not kept for the history: its queue is "
                    "full, or it refuses them", lost);
    }
}

json_t *persona_trail_status(persona_trail_t *t)
{
    int silent;
    json_t *json;

    pthread_mutex_lock(&t->lock);
    silent = t->busy_since && persona_monotonic_now() - t->busy_since > SILENT_AFTER;
    json = json_pack("{s:s, s:s, s:s*, s:s, s:i, s:I, s:I}", "database", t->conf.driver, "state",
                     t->failing || silent     ? "down"
                     : t->up || t->written ? "ok"
                                              : "starting",
                     "problem",
                     silent      ? "the database does not answer"
                     : t->failing ? t->problem
                                  : NULL,
                     "scope",
                     persona_database_is_sqlite(t->conf.driver) ? "this gateway's only"
                                                                : "all gateways that use this database",
                     "queued", t->count + t->holding, "written", (json_int_t)t->written, "lost", (json_int_t)t->lost);
    pthread_mutex_unlock(&t->lock);
    return json;
}

static persona_database_e read_rows(persona_trail_t *t, const persona_history_query_t *query, json_t **rows, int *more,
                                    persona_result_t *res, apr_pool_t *p)
{
    persona_history_query_t q = *query;
    persona_history_t *history;
    persona_database_e outcome;
    struct stat st;
    int i;

    for (i = 0; query->users[0] && i < 2 && t->conf.pseudonym_keys[0]; i++) {
        q.users[i] = t->conf.pseudonym_keys[i]
                         ? persona_trail_pseudonym(t->conf.pseudonym_keys[i], query->users[0], p)
                         : NULL;
    }
    if (persona_database_is_sqlite(t->conf.driver) && stat(t->conf.params, &st) != 0) {
        persona_result_set(res, APR_ENOENT, "none", "there is no %s yet", t->conf.params);
        return PERSONA_DATABASE_FAILED;
    }
    outcome = persona_history_open(&history, t->conf.driver, t->conf.params, t->conf.gateway, res, p);
    if (outcome == PERSONA_DATABASE_OK) {
        outcome = persona_history_read(history, &q, rows, more, res, p);
        persona_history_close(history);
    }
    return outcome;
}

apr_status_t persona_trail_read(persona_trail_t *t, const persona_history_query_t *query, json_t **rows, int *more,
                                persona_result_t *res, apr_pool_t *p)
{
    persona_database_e outcome;
    int taken;

    pthread_mutex_lock(&t->lock);
    taken = t->reading;
    t->reading = 1;
    pthread_mutex_unlock(&t->lock);
    if (taken) {
        return APR_EBUSY;
    }
    outcome = read_rows(t, query, rows, more, res, p);
    pthread_mutex_lock(&t->lock);
    t->reading = 0;
    if (outcome == PERSONA_DATABASE_DAMAGED) {
        t->suspect = 1;
        pthread_cond_signal(&t->work);
    }
    pthread_mutex_unlock(&t->lock);
    return outcome == PERSONA_DATABASE_OK ? APR_SUCCESS : APR_EGENERAL;
}

apr_int64_t persona_trail_stop(persona_trail_t *t, apr_interval_time_t grace)
{
    struct timespec until = persona_monotonic_in(grace);
    apr_int64_t left;
    int rc = 0;

    if (!t) {
        return 0;
    }
    pthread_mutex_lock(&t->lock);
    t->stop = 1;
    pthread_cond_broadcast(&t->work);
    left = t->lost;
    while (t->running && rc == 0) {
        rc = pthread_cond_timedwait(&t->ended, &t->lock, &until);
    }
    left = t->running ? t->count + t->holding : t->lost - left;
    pthread_mutex_unlock(&t->lock);
    return left;
}

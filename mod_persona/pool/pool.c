/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file pool.c
 * @brief The claim protocol: tickets and slots of one persona's pool in the shared index.
 *
 * Keys of a persona P in generation G, all in group P: `gen` (G, made by add), `G:head` and `G:tail` (bare counters),
 * `G:s<n>` (slot n), `G:h<n>` (heartbeat of the waiter with ticket n), `plan` (the planner's lease) and `w:<S>` (what
 * session S needs to go on waiting: its ticket and its arrival).
 *
 * Invariants, each kept by the function named:
 *   a ticket is used once ............... take_ticket(): plain incr, never with an initial value
 *   a slot is written once .............. fill_slot(): add only; instance, `skipped` or `left`, whichever is first
 *   counters belong to a generation ..... make_generation(): 128 random bits, counters made before it is visible
 *   an unknown answer is asked again .... persona_pool_claim(): the same instance, also over polls (`pending`)
 *   arrival survives tickets ............ save_wait(): a new ticket keeps the first arrival
 * Everything read here may be old, gone or forged; the fence behind `assign` decides who gets an instance.
 */
#include <string.h>

#include <apr_strings.h>

#include "persona/digest.h"
#include "pool/index.h"

#define SKIPPED          "skipped"
#define LEFT             "left"
#define WAIT_TTL         900
#define HEARTBEAT_TTL    120
#define PLAN_TTL         3
#define PASSED           apr_time_from_sec(2)    /* an empty slot that tail has passed for so long is left */
#define MISSING          apr_time_from_sec(2)    /* a waiter that never had a heartbeat is skipped after it */
#define CLAIM_CALLS      3
#define CLAIM_TIME       apr_time_from_sec(2)
#define CLAIM_SLOTS      128                     /* dead slots one claim passes over before it waits */
#define UNKNOWN_PAUSE    apr_time_from_msec(20)

static const char *pool_key(const persona_index_t *index, const char *persona_id, const char *name,
                            apr_pool_t *p)
{
    return apr_pstrcat(p, "p:", index->ns, ":p:", persona_id, ":", name, NULL);
}

static const char *numbered_key(const persona_index_t *index, const char *persona_id, const char *generation,
                                const char *kind, apr_uint64_t n, apr_pool_t *p)
{
    return pool_key(index, persona_id, apr_psprintf(p, "%s:%s%" APR_UINT64_T_FMT, generation, kind, n), p);
}

static const char *counter_key(const persona_index_t *index, const char *persona_id, const char *generation,
                               const char *kind, apr_pool_t *p)
{
    return pool_key(index, persona_id, apr_pstrcat(p, generation, ":", kind, NULL), p);
}

static apr_status_t read_counter(const persona_index_t *index, const char *persona_id, const char *generation,
                                 const char *kind, apr_uint64_t *value, apr_pool_t *p)
{
    const char *text;
    char *end;
    apr_status_t rv = index->store->get(index->store, persona_id,
                                        counter_key(index, persona_id, generation, kind, p), &text, p);

    if (rv == APR_SUCCESS) {
        *value = (apr_uint64_t)apr_strtoi64(text, &end, 10);
        if (end == text || *value > APR_INT64_MAX) {
            return APR_EINVAL;
        }
    }
    return rv;
}

static apr_status_t read_generation(const persona_index_t *index, const char *persona_id, char generation[33],
                                    apr_pool_t *p)
{
    const char *body;
    apr_status_t rv = persona_index_get(index, persona_id, pool_key(index, persona_id, "gen", p),
                                        PERSONA_NO_GENERATION, &body, p);

    if (rv == APR_SUCCESS && (strlen(body) != 32 || strspn(body, "0123456789abcdef") != 32)) {
        rv = APR_EACCES;
    }
    if (rv == APR_SUCCESS) {
        apr_cpystrn(generation, body, 33);
    }
    return rv;
}

/* ---- slots ---- */

typedef enum { SLOT_EMPTY, SLOT_INSTANCE, SLOT_DEAD, SLOT_UNKNOWN } slot_e;

/** What stands in slot n. A value that is not ours counts as dead: its ticket is given up. */
static slot_e read_slot(const persona_index_t *index, const char *persona_id, const char *generation,
                        apr_uint64_t n, persona_record_t **instance, apr_pool_t *p)
{
    const char *key = numbered_key(index, persona_id, generation, "s", n, p), *text, *body;
    apr_status_t rv = index->store->get(index->store, persona_id, key, &text, p);

    *instance = NULL;
    if (rv == APR_NOTFOUND) {
        return SLOT_EMPTY;
    }
    if (rv != APR_SUCCESS) {
        return SLOT_UNKNOWN;
    }
    body = persona_index_open(index, text, key, generation, p);
    if (body && (!strcmp(body, SKIPPED) || !strcmp(body, LEFT))) {
        return SLOT_DEAD;
    }
    if (body && persona_record_read(index, instance, text, key, generation, p) == APR_SUCCESS &&
        !strcmp((*instance)->persona_id, persona_id)) {
        return SLOT_INSTANCE;
    }
    *instance = NULL;
    persona_log(PERSONA_LOG_WARNING, 0, "slot %" APR_UINT64_T_FMT " of %s holds what this site did not sign", n,
                persona_id);
    return SLOT_DEAD;
}

/** Write slot n, if nobody has. */
static apr_status_t fill_slot(const persona_index_t *index, const char *persona_id, const char *generation,
                              apr_uint64_t n, const char *word, const persona_record_t *instance, apr_pool_t *p)
{
    const char *key = numbered_key(index, persona_id, generation, "s", n, p);
    const char *text = instance ? persona_record_write(index, instance, key, generation, p)
                                : persona_index_seal(index, key, generation, word, p);

    return text ? index->store->add(index->store, persona_id, key, text, 0) : APR_EINVAL;
}

/* ---- waiting ---- */

typedef struct waiting_t {
    apr_time_t passed;          /* since when tail has been past the empty slot; 0: it is not */
    persona_record_t *pending;  /* slot whose assign has an unknown outcome */
} waiting_t;

static const char *wait_key(const persona_index_t *index, const persona_claim_t *claim, apr_pool_t *p)
{
    return pool_key(index, claim->persona_id, apr_pstrcat(p, "w:", claim->session, NULL), p);
}

/** Where this session stood when it was last seen. */
static void load_wait(const persona_index_t *index, persona_claim_t *claim, waiting_t *waiting, apr_pool_t *p)
{
    const char *body, *generation;
    json_int_t ticket, arrived, passed;
    json_t *json, *pending = NULL;

    if (persona_index_get(index, claim->persona_id, wait_key(index, claim, p), PERSONA_NO_GENERATION, &body, p) !=
        APR_SUCCESS) {
        return;
    }
    json = json_loads(body, 0, NULL);
    if (json && json_unpack(json, "{s:s, s:I, s:I, s:I, s?o}", "g", &generation, "t", &ticket, "a", &arrived, "d",
                            &passed, "p", &pending) == 0) {
        apr_cpystrn(claim->generation, generation, sizeof(claim->generation));
        claim->ticket = (apr_uint64_t)ticket;
        if (!claim->arrived || arrived < claim->arrived) {
            claim->arrived = arrived;
        }
        waiting->passed = passed;
        if (json_is_object(pending)) {
            persona_record_from_json(&waiting->pending, pending, p);
        }
    }
    json_decref(json);
}

static void save_wait(const persona_index_t *index, const persona_claim_t *claim, const waiting_t *waiting,
                      apr_pool_t *p)
{
    const char *key = wait_key(index, claim, p);
    json_t *json = json_pack("{s:s, s:I, s:I, s:I, s:o*}", "g", claim->generation, "t", (json_int_t)claim->ticket,
                             "a", (json_int_t)claim->arrived, "d", (json_int_t)waiting->passed, "p",
                             waiting->pending ? persona_record_to_json(waiting->pending) : NULL);
    char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;

    if (body) {
        index->store->set(index->store, claim->persona_id, key,
                          persona_index_seal(index, key, PERSONA_NO_GENERATION, body, p), WAIT_TTL);
    }
    free(body);
    json_decref(json);
}

static void forget_wait(const persona_index_t *index, const persona_claim_t *claim, apr_pool_t *p)
{
    index->store->remove(index->store, claim->persona_id, wait_key(index, claim, p));
}

static void heartbeat(const persona_index_t *index, const persona_claim_t *claim, apr_pool_t *p)
{
    const char *key = numbered_key(index, claim->persona_id, claim->generation, "h", claim->ticket, p);
    const char *body = apr_psprintf(p, "%s %" APR_TIME_T_FMT " %" APR_TIME_T_FMT, claim->session, claim->arrived,
                                    apr_time_now());

    index->store->set(index->store, claim->persona_id, key,
                      persona_index_seal(index, key, claim->generation, body, p), HEARTBEAT_TTL);
}

/** A heartbeat's parts; 0: it is none of ours. */
static int read_heartbeat(const persona_index_t *index, const char *text, const char *key, const char *generation,
                          persona_waiter_t *waiter, apr_pool_t *p)
{
    const char *body = text ? persona_index_open(index, text, key, generation, p) : NULL;
    char *end;

    if (!body || strlen(body) < PERSONA_SESSION_LEN || body[PERSONA_SESSION_LEN - 1] != ' ') {
        return 0;
    }
    waiter->session = apr_pstrndup(p, body, PERSONA_SESSION_LEN - 1);
    waiter->arrived = apr_strtoi64(body + PERSONA_SESSION_LEN, &end, 10);
    waiter->seen = apr_strtoi64(end, &end, 10);
    return 1;
}

/* ---- claiming ---- */

/** A fresh ticket in the generation that is in force now. */
static apr_status_t take_ticket(const persona_index_t *index, persona_claim_t *claim, apr_pool_t *p)
{
    apr_status_t rv;
    int again;

    claim->ticket = 0;
    for (again = 0; again < 2; again++) {
        rv = read_generation(index, claim->persona_id, claim->generation, p);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        rv = index->store->incr(index->store, claim->persona_id,
                                counter_key(index, claim->persona_id, claim->generation, "head", p),
                                &claim->ticket);
        if (rv != APR_NOTFOUND) {
            return rv;
        }
    }
    return rv;
}

/** The slot is empty: wait for it, unless tail has passed it for too long or the generation is over. Returns 0 when
 * the ticket is dead. */
static int stand_in_line(const persona_index_t *index, persona_claim_t *claim, waiting_t *waiting, apr_pool_t *p)
{
    char generation[33];
    apr_uint64_t tail;
    apr_status_t rv;

    rv = read_generation(index, claim->persona_id, generation, p);
    if (rv == APR_NOTFOUND || rv == APR_EACCES || (rv == APR_SUCCESS && strcmp(generation, claim->generation))) {
        return 0;
    }
    rv = read_counter(index, claim->persona_id, claim->generation, "tail", &tail, p);
    if (rv != APR_SUCCESS) {
        return rv != APR_NOTFOUND && rv != APR_EINVAL;
    }
    if (tail < claim->ticket) {
        waiting->passed = 0;
        claim->place = (apr_int64_t)(claim->ticket - tail);
        return 1;
    }
    claim->place = 1;
    if (!waiting->passed) {
        waiting->passed = apr_time_now();
    }
    if (apr_time_now() - waiting->passed < PASSED) {
        return 1;
    }
    rv = fill_slot(index, claim->persona_id, claim->generation, claim->ticket, LEFT, NULL, p);
    /* Lost the add: what won is read at the next look. */
    return rv == APR_EEXIST;
}

static persona_claim_e wait_on(const persona_index_t *index, persona_claim_t *claim, const waiting_t *waiting,
                               apr_pool_t *p)
{
    claim->pending = waiting->pending ? waiting->pending->instance : NULL;
    if (claim->ticket) {
        heartbeat(index, claim, p);
    }
    save_wait(index, claim, waiting, p);
    return PERSONA_CLAIM_WAIT;
}

persona_claim_e persona_pool_claim(persona_index_t *index, persona_claim_t *claim, persona_assign_cb *assign,
                                   void *baton, apr_time_t deadline, persona_record_t **record, apr_pool_t *p)
{
    waiting_t waiting = {0, NULL};
    apr_time_t began = apr_time_now();
    persona_record_t *instance;
    int slots;

    *record = NULL;
    claim->provider_calls = 0;
    claim->place = 0;
    load_wait(index, claim, &waiting, p);
    if (!claim->arrived) {
        claim->arrived = began;
    }
    for (slots = 0; slots < CLAIM_SLOTS && apr_time_now() < deadline;) {
        if (waiting.pending) {
            instance = waiting.pending;
        }
        else {
            if (!claim->ticket) {
                if (take_ticket(index, claim, p) != APR_SUCCESS) {
                    return PERSONA_CLAIM_NO_INDEX;
                }
                waiting.passed = 0;
            }
            switch (read_slot(index, claim->persona_id, claim->generation, claim->ticket, &instance, p)) {
            case SLOT_EMPTY:
                if (stand_in_line(index, claim, &waiting, p)) {
                    return wait_on(index, claim, &waiting, p);
                }
                /* fall through */
            case SLOT_DEAD:
                claim->ticket = 0;
                slots++;
                continue;
            case SLOT_UNKNOWN:
                return PERSONA_CLAIM_NO_INDEX;
            case SLOT_INSTANCE:
                break;
            }
        }
        if (claim->provider_calls >= CLAIM_CALLS || apr_time_now() - began > CLAIM_TIME) {
            return wait_on(index, claim, &waiting, p);
        }
        switch (assign(baton, instance, claim->session, claim->ticket, deadline, record, p)) {
        case PERSONA_ASSIGN_YES:
            forget_wait(index, claim, p);
            return PERSONA_CLAIM_GOT;
        case PERSONA_ASSIGN_SKIP:
            waiting.pending = NULL;
            claim->ticket = 0;
            slots++;
            break;
        case PERSONA_ASSIGN_NO:
            claim->provider_calls++;
            waiting.pending = NULL;
            claim->ticket = 0;
            slots++;
            break;
        case PERSONA_ASSIGN_UNKNOWN:
            /* Only this instance may be asked about, until it says yes or no. */
            waiting.pending = instance;
            if (apr_time_now() + UNKNOWN_PAUSE >= deadline) {
                return wait_on(index, claim, &waiting, p);
            }
            apr_sleep(UNKNOWN_PAUSE);
            break;
        }
    }
    return wait_on(index, claim, &waiting, p);
}

void persona_pool_leave(persona_index_t *index, persona_claim_t *claim, apr_pool_t *p)
{
    waiting_t waiting = {0, NULL};

    load_wait(index, claim, &waiting, p);
    if (claim->ticket && *claim->generation) {
        fill_slot(index, claim->persona_id, claim->generation, claim->ticket, LEFT, NULL, p);
        index->store->remove(index->store, claim->persona_id,
                             numbered_key(index, claim->persona_id, claim->generation, "h", claim->ticket, p));
    }
    forget_wait(index, claim, p);
}

/* ---- planning ---- */

int persona_pool_plan(persona_index_t *index, const char *persona_id, const char *manager, apr_pool_t *p)
{
    const char *key = pool_key(index, persona_id, "plan", p), *body;
    const char *value = persona_index_seal(index, key, PERSONA_NO_GENERATION, manager, p);
    apr_status_t rv = index->store->add(index->store, persona_id, key, value, PLAN_TTL);

    if (rv == APR_EEXIST) {
        rv = persona_index_get(index, persona_id, key, PERSONA_NO_GENERATION, &body, p);
        if (rv == APR_SUCCESS && strcmp(body, manager)) {
            return 0;
        }
        index->store->set(index->store, persona_id, key, value, PLAN_TTL);
    }
    /* Without the index everybody plans: the caps are checked against the provider, not here. */
    return 1;
}

/** The counters of the generation in force. */
static apr_status_t read_queue(const persona_index_t *index, const char *persona_id, persona_queue_t *queue,
                               apr_pool_t *p)
{
    apr_status_t rv = read_generation(index, persona_id, queue->generation, p);

    if (rv == APR_SUCCESS) {
        rv = read_counter(index, persona_id, queue->generation, "head", &queue->head, p);
    }
    if (rv == APR_SUCCESS) {
        rv = read_counter(index, persona_id, queue->generation, "tail", &queue->tail, p);
    }
    return rv;
}

/** A new generation: its counters exist before it can be seen. */
static apr_status_t make_generation(const persona_index_t *index, const char *persona_id, apr_pool_t *p)
{
    const char *generation = persona_random_hex(16, p), *key = pool_key(index, persona_id, "gen", p);
    apr_status_t rv = index->store->add(index->store, persona_id,
                                        counter_key(index, persona_id, generation, "head", p), "0", 0);

    if (rv == APR_SUCCESS) {
        rv = index->store->add(index->store, persona_id, counter_key(index, persona_id, generation, "tail", p), "0",
                               0);
    }
    if (rv == APR_SUCCESS) {
        rv = index->store->add(index->store, persona_id, key,
                               persona_index_seal(index, key, PERSONA_NO_GENERATION, generation, p), 0);
    }
    return rv;
}

apr_status_t persona_pool_queue(persona_index_t *index, const char *persona_id, int create, apr_uint64_t limit,
                                persona_queue_t *queue, int *created, apr_pool_t *p)
{
    apr_status_t rv = read_queue(index, persona_id, queue, p);
    apr_uint64_t distance;

    *created = 0;
    queue->persona_id = persona_id;
    if (rv == APR_SUCCESS) {
        distance = queue->head > queue->tail ? queue->head - queue->tail : queue->tail - queue->head;
        if (distance <= limit || !create) {
            return APR_SUCCESS;
        }
        persona_log(PERSONA_LOG_WARNING, 0, "the counters of %s are %" APR_UINT64_T_FMT " apart: a new generation",
                    persona_id, distance);
    }
    else if (!create || (rv != APR_NOTFOUND && rv != APR_EACCES && rv != APR_EINVAL)) {
        return rv;
    }
    rv = index->store->remove(index->store, persona_id, pool_key(index, persona_id, "gen", p));
    if (rv == APR_SUCCESS || rv == APR_NOTFOUND) {
        rv = make_generation(index, persona_id, p);
    }
    if (rv == APR_SUCCESS) {
        *created = 1;
    }
    else if (rv != APR_EEXIST) { /* another manager made one: it is as good */
        return rv;
    }
    return read_queue(index, persona_id, queue, p);
}

int persona_pool_drawn(const persona_queue_t *queue, apr_uint64_t slot)
{
    return slot <= queue->head;
}

apr_status_t persona_pool_publish(persona_index_t *index, const persona_queue_t *queue,
                                  const persona_record_t *instance, apr_uint64_t *slot, apr_pool_t *p)
{
    const char *key = counter_key(index, instance->persona_id, queue->generation, "tail", p);
    apr_uint64_t n;
    apr_status_t rv;

    do {
        rv = index->store->incr(index->store, instance->persona_id, key, &n);
        if (rv == APR_SUCCESS) {
            rv = fill_slot(index, instance->persona_id, queue->generation, n, NULL, instance, p);
        }
    } while (rv == APR_EEXIST);
    *slot = rv == APR_SUCCESS ? n : 0;
    return rv;
}

/** Skip the waiter of slot tail + 1: the slot number is taken first, so that no instance can get it. */
static apr_status_t skip_front(const persona_index_t *index, persona_queue_t *queue, apr_pool_t *p)
{
    apr_uint64_t n;
    apr_status_t rv = index->store->incr(index->store, queue->persona_id,
                                         counter_key(index, queue->persona_id, queue->generation, "tail", p), &n);

    if (rv == APR_SUCCESS) {
        queue->tail = n;
        rv = fill_slot(index, queue->persona_id, queue->generation, n, SKIPPED, NULL, p);
    }
    return rv == APR_EEXIST ? APR_SUCCESS : rv;
}

apr_status_t persona_pool_waiters(persona_index_t *index, persona_queue_t *queue, const char *persona_id,
                                  apr_interval_time_t age, apr_array_header_t **waiters, apr_pool_t *p)
{
    apr_uint64_t first = queue->tail + 1, n;
    int count, i, front = 1;
    const char **keys, **values;
    apr_time_t now = apr_time_now();
    apr_status_t rv;

    *waiters = apr_array_make(p, 8, sizeof(persona_waiter_t));
    queue->persona_id = persona_id;
    if (queue->head <= queue->tail) {
        return APR_SUCCESS;
    }
    count = queue->head - queue->tail > 4096 ? 4096 : (int)(queue->head - queue->tail);
    keys = apr_palloc(p, sizeof(*keys) * (apr_size_t)count);
    values = apr_pcalloc(p, sizeof(*values) * (apr_size_t)count);
    for (i = 0; i < count; i++) {
        keys[i] = numbered_key(index, persona_id, queue->generation, "h", first + (apr_uint64_t)i, p);
    }
    rv = index->store->get_many(index->store, persona_id, keys, count, values, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (i = 0; i < count; i++) {
        persona_waiter_t waiter = {0};

        n = first + (apr_uint64_t)i;
        waiter.ticket = n;
        if (read_heartbeat(index, values[i], keys[i], queue->generation, &waiter, p) && now - waiter.seen <= age) {
            APR_ARRAY_PUSH(*waiters, persona_waiter_t) = waiter;
            front = 0;
        }
        else if (front && (values[i] || persona_index_missing(index, persona_id, n, now, MISSING))) {
            /* Only the head of the line is skipped: slot numbers are taken in order. */
            rv = skip_front(index, queue, p);
            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
        else {
            front = 0;
        }
    }
    return APR_SUCCESS;
}

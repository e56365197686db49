/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file pool.c
 * @brief The claim: how a session takes a ready instance, or its place in line.
 *
 * THE ORDER THAT KEEPS THE PROMISES. (1) Read the generation, and what the session left behind at its last poll.
 * (2) Take a ticket with a plain incr(). (3) Read the ticket's slot. (4) An instance: ask the fence, through
 * `assign`. Yes: it is the session's, for ever. No: a new ticket. Unknown: the same instance again until yes or
 * no, over as many polls as it takes, never the next one: the unknown one may be ours. (5) Empty: the ticket is
 * the place in line; say so in the store and return.
 *
 * Nothing is locked and nothing is scanned, so the cost depends on neither the number of instances nor that of
 * claimers. A process may die after any step: after (2) the planner publishes the instance of the lost ticket again;
 * after (4) the fence has the session's name and the manager finds it.
 *
 * The store may forget, repeat or invent everything. Forgotten: tickets and places begin anew, with the
 * arrival that the waiter's own entry tells. Repeated: the fence refuses. Invented: the signature fails, and
 * the slot counts as dead. None of that hands out an instance that the fence has not given to this session.
 *
 * Tickets and slots are numbered from 0: head is the number of tickets handed out, tail that of slots.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "index.h"
#include "persona/fault.h"
#include "store.h"

/** A claim asks so many instances, or for so long, before it waits in line. */
#define CALLS_MAX 3
#define CALLS_TIME apr_time_from_sec(2)
/** Tickets of one claim, so that a store full of dead slots cannot hold it. */
#define TICKETS_MAX 256
/** A waiter whose slot is empty though tail has passed it gives it up after this time. */
#define PASSED_TIME apr_time_from_sec(2)
/** Pause between two questions about the same instance. */
#define AGAIN_PAUSE apr_time_from_msec(50)
/** How long the store keeps a waiter that polls no more, in seconds. */
#define WAIT_TTL 600
/** Slots before a waiter's own that are looked at to count its place. */
#define PLACE_SPAN 64

/** One poll of one claim. */
typedef struct poll_t {
    persona_index_t *index;
    persona_claim_t *claim;
    persona_assign_cb *assign;
    void *baton;
    apr_time_t began, deadline;
    apr_pool_t *p;
    const char *group, *generation_key, *wait_key;
    int ticket_held;                /**< claim->ticket is this session's, in claim->generation */
    int stored;                     /**< the store has an entry of this wait */
    apr_time_t passed_at;           /**< when tail was first seen to have passed the ticket; 0: not yet */
    persona_record_t *pending;      /**< the instance whose outcome is not known, or NULL */
} poll_t;

/* ---- what is kept between polls ---- */

static apr_status_t wait_save(poll_t *poll)
{
    persona_claim_t *claim = poll->claim;
    apr_status_t rv = APR_EGENERAL;
    json_t *json = json_pack("{s:s, s:b, s:I, s:I, s:I, s:o*}", "generation", claim->generation,
                             "held", poll->ticket_held, "ticket", (json_int_t)claim->ticket,
                             "arrived", (json_int_t)claim->arrived, "passed", (json_int_t)poll->passed_at,
                             "pending", poll->pending ? persona_record_to_json(poll->pending) : NULL);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    if (text) {
        rv = PERSONA_FAULT_CALL(
            claim_wait, poll->index->store->set(poll->index->store, poll->group, poll->wait_key,
                                                persona_index_sign(poll->index, text, poll->wait_key,
                                                                   PERSONA_NO_GENERATION, poll->p), WAIT_TTL));
    }
    free(text);
    json_decref(json);
    return rv;
}

/** Take up what the last poll left. A ticket of another generation is worth nothing; the arrival is. */
static void wait_load(poll_t *poll, const char *value, const char *generation)
{
    const char *text = value ? persona_index_verify(poll->index, value, poll->wait_key, PERSONA_NO_GENERATION) : NULL;
    persona_claim_t *claim = poll->claim;
    json_int_t ticket, arrived, passed;
    const char *of = NULL;
    int held;
    json_t *json = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL, *pending = NULL;

    if (json && json_unpack(json, "{s:s, s:b, s:I, s:I, s:I, s?o}", "generation", &of, "held", &held,
                            "ticket", &ticket, "arrived", &arrived, "passed", &passed, "pending", &pending) == 0) {
        poll->stored = 1;
        if (arrived > 0 && (claim->arrived == 0 || arrived < claim->arrived)) {
            claim->arrived = arrived;
        }
        if (held && ticket >= 0 && strcmp(of, generation) == 0) {
            poll->ticket_held = 1;
            claim->ticket = (apr_uint64_t)ticket;
            poll->passed_at = passed;
        }
        if (pending && persona_record_from_json(&poll->pending, pending, poll->p) != APR_SUCCESS) {
            poll->pending = NULL;
        }
    }
    apr_cpystrn(claim->generation, generation, sizeof(claim->generation));
    json_decref(json);
}

static void wait_forget(poll_t *poll)
{
    persona_store_t *store = poll->index->store;

    if (poll->stored) {
        store->remove(store, poll->group, poll->wait_key);
    }
}

static void beat(poll_t *poll)
{
    persona_store_t *store = poll->index->store;
    persona_claim_t *claim = poll->claim;
    persona_waiter_t waiter = {claim->ticket, claim->arrived, apr_time_now(), claim->session};
    const char *key = persona_key_beat(poll->index, claim->persona_id, claim->generation, claim->ticket, poll->p);

    (void)PERSONA_FAULT_CALL(
        claim_beat, store->set(store, poll->group, key,
                               persona_beat_write(poll->index, &waiter, key, claim->generation, poll->p), WAIT_TTL));
}

/* ---- tickets ---- */

/** Read the generation again: the one of before may have ended. */
static apr_status_t generation_read(poll_t *poll)
{
    persona_store_t *store = poll->index->store;
    const char *value, *generation;
    apr_status_t rv = store->get(store, poll->group, poll->generation_key, &value, poll->p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    generation = persona_index_generation(poll->index, value, poll->generation_key);
    if (!generation) {
        return APR_NOTFOUND;
    }
    apr_cpystrn(poll->claim->generation, generation, sizeof(poll->claim->generation));
    return APR_SUCCESS;
}

static apr_status_t ticket_take(poll_t *poll)
{
    persona_store_t *store = poll->index->store;
    persona_claim_t *claim = poll->claim;
    apr_uint64_t count;
    apr_status_t rv = PERSONA_FAULT_CALL(
        claim_ticket, store->incr(store, poll->group, persona_key_head(poll->index, claim->persona_id,
                                                                       claim->generation, poll->p), &count));

    if (rv == APR_NOTFOUND) {
        rv = generation_read(poll);
        if (rv == APR_SUCCESS) {
            rv = store->incr(store, poll->group, persona_key_head(poll->index, claim->persona_id, claim->generation,
                                                                  poll->p), &count);
        }
    }
    if (rv == APR_SUCCESS && count > 0) {
        PERSONA_FAULT(claim_ticket_drawn);
        claim->ticket = count - 1;
        poll->ticket_held = 1;
        poll->passed_at = 0;
        return APR_SUCCESS;
    }
    return rv == APR_SUCCESS ? APR_EGENERAL : rv;
}

/* ---- the line ---- */

/** How many stand before this ticket, itself included: dead slots between tail and it do not count. */
static apr_int64_t place_of(poll_t *poll, apr_uint64_t tail)
{
    persona_claim_t *claim = poll->claim;
    persona_store_t *store = poll->index->store;
    const char *keys[PLACE_SPAN], *values[PLACE_SPAN];
    apr_int64_t place;
    int i, span;

    if (claim->ticket < tail) {
        return 1;
    }
    if (claim->ticket - tail >= (apr_uint64_t)APR_INT32_MAX) {
        return APR_INT32_MAX;
    }
    place = (apr_int64_t)(claim->ticket - tail) + 1;
    span = place - 1 < PLACE_SPAN ? (int)place - 1 : PLACE_SPAN;
    for (i = 0; i < span; i++) {
        keys[i] = persona_key_slot(poll->index, claim->persona_id, claim->generation, tail + (apr_uint64_t)i, poll->p);
    }
    if (span > 0 && store->get_many(store, poll->group, keys, span, values, poll->p) == APR_SUCCESS) {
        for (i = 0; i < span; i++) {
            place -= values[i] != NULL;
        }
    }
    return place;
}

/** In line with a ticket: heartbeat, place, and the entry for the next poll. */
static persona_claim_e stand_in_line(poll_t *poll, apr_uint64_t tail)
{
    poll->claim->place = place_of(poll, tail);
    beat(poll);
    wait_save(poll);
    return PERSONA_CLAIM_WAIT;
}

/** Give up a slot that was passed over. APR_EEXIST: something is in it after all. */
static apr_status_t slot_leave(poll_t *poll)
{
    persona_store_t *store = poll->index->store;
    persona_claim_t *claim = poll->claim;
    const char *key = persona_key_slot(poll->index, claim->persona_id, claim->generation, claim->ticket, poll->p);

    return store->add(store, poll->group, key, persona_index_sign(poll->index, PERSONA_SLOT_LEFT, key,
                                                                  claim->generation, poll->p), 0);
}

/** The slot of the ticket, and tail beside it. */
static apr_status_t slot_read(poll_t *poll, persona_slot_e *slot, persona_record_t **instance, apr_uint64_t *tail)
{
    persona_store_t *store = poll->index->store;
    persona_claim_t *claim = poll->claim;
    const char *keys[2], *values[2];
    apr_status_t rv;

    keys[0] = persona_key_slot(poll->index, claim->persona_id, claim->generation, claim->ticket, poll->p);
    keys[1] = persona_key_tail(poll->index, claim->persona_id, claim->generation, poll->p);
    rv = PERSONA_FAULT_CALL(claim_slot, store->get_many(store, poll->group, keys, 2, values, poll->p));
    if (rv != APR_SUCCESS) {
        return rv;
    }
    *slot = persona_index_slot(poll->index, values[0], keys[0], claim->generation, instance, poll->p);
    if (*slot == PERSONA_SLOT_INSTANCE && strcmp((*instance)->persona_id, claim->persona_id) != 0) {
        *slot = PERSONA_SLOT_DEAD;
    }
    if (!values[1]) {
        return *slot == PERSONA_SLOT_INSTANCE ? APR_SUCCESS : APR_NOTFOUND;
    }
    return persona_store_counter(values[1], tail);
}

/* ---- the fence ---- */

/** Ask for one instance until the answer is known or the time is over. */
static persona_assign_e ask(poll_t *poll, persona_record_t *instance, persona_record_t **record)
{
    persona_assign_e outcome;

    poll->claim->provider_calls++;
    for (;;) {
        *record = NULL;
        outcome = poll->assign(poll->baton, instance, poll->claim->session, poll->claim->ticket, poll->deadline,
                               record, poll->p);
        if (outcome != PERSONA_ASSIGN_UNKNOWN || apr_time_now() + AGAIN_PAUSE >= poll->deadline) {
            break;
        }
        apr_sleep(AGAIN_PAUSE);
    }
    if (outcome == PERSONA_ASSIGN_SKIP) {
        poll->claim->provider_calls--;
    }
    return outcome;
}

/** The outcome is not known: only this instance may be asked about, now and at the next polls. */
static persona_claim_e remain_pending(poll_t *poll, persona_record_t *instance)
{
    poll->pending = instance;
    poll->ticket_held = 0;
    poll->claim->pending = instance->instance;
    poll->claim->place = 0;
    wait_save(poll);
    return PERSONA_CLAIM_WAIT;
}

static persona_claim_e got(poll_t *poll)
{
    wait_forget(poll);
    poll->claim->pending = NULL;
    poll->claim->place = 0;
    return PERSONA_CLAIM_GOT;
}

/* ---- the claim ---- */

static int budget_left(const poll_t *poll, int tickets)
{
    apr_time_t now = apr_time_now();

    return tickets < TICKETS_MAX && poll->claim->provider_calls < CALLS_MAX && now - poll->began < CALLS_TIME
           && now < poll->deadline;
}

/** The store failed on the way. A known place stays known; without one, the manager must be asked. */
static persona_claim_e without_index(poll_t *poll)
{
    poll->claim->place = 0;
    return PERSONA_CLAIM_NO_INDEX;
}

/** Tickets, one after the other, until an instance is ours, the slot is empty, or the budget is spent. */
static persona_claim_e go_through_line(poll_t *poll, persona_record_t **record)
{
    int tickets;

    for (tickets = 0;; tickets++) {
        persona_record_t *instance = NULL;
        persona_slot_e slot;
        apr_uint64_t tail = 0;
        int spent = !budget_left(poll, tickets);

        if (!poll->ticket_held && ticket_take(poll) != APR_SUCCESS) {
            return without_index(poll);
        }
        if (slot_read(poll, &slot, &instance, &tail) != APR_SUCCESS) {
            return without_index(poll);
        }
        if (spent) {
            return stand_in_line(poll, tail);
        }
        if (slot == PERSONA_SLOT_INSTANCE) {
            switch (ask(poll, instance, record)) {
            case PERSONA_ASSIGN_YES:
                return got(poll);
            case PERSONA_ASSIGN_UNKNOWN:
                return remain_pending(poll, instance);
            case PERSONA_ASSIGN_NO:
            case PERSONA_ASSIGN_SKIP:
                break;
            }
        }
        else if (slot == PERSONA_SLOT_EMPTY) {
            if (poll->claim->ticket >= tail) {
                return stand_in_line(poll, tail);
            }
            if (poll->passed_at == 0) {
                poll->passed_at = apr_time_now();
            }
            if (apr_time_now() - poll->passed_at < PASSED_TIME) {
                return stand_in_line(poll, tail);
            }
            if (slot_leave(poll) == APR_EEXIST) {
                continue; /* with the same ticket: read what is in it */
            }
        }
        poll->ticket_held = 0;
    }
}

/** The instance of an earlier poll whose outcome was not known. 1: *outcome is the claim's. */
static int settle_pending(poll_t *poll, persona_claim_e *outcome, persona_record_t **record)
{
    switch (ask(poll, poll->pending, record)) {
    case PERSONA_ASSIGN_YES:
        *outcome = got(poll);
        return 1;
    case PERSONA_ASSIGN_NO:
        poll->pending = NULL;
        poll->claim->pending = NULL;
        return 0;
    case PERSONA_ASSIGN_UNKNOWN:
    case PERSONA_ASSIGN_SKIP:
    default:
        *outcome = remain_pending(poll, poll->pending);
        return 1;
    }
}

static void poll_init(poll_t *poll, persona_index_t *index, persona_claim_t *claim, apr_pool_t *p)
{
    memset(poll, 0, sizeof(*poll));
    poll->index = index;
    poll->claim = claim;
    poll->p = p;
    poll->began = apr_time_now();
    poll->group = persona_index_group(index, claim->persona_id, p);
    poll->generation_key = persona_key_generation(index, claim->persona_id, p);
    poll->wait_key = persona_key_wait(index, claim->persona_id, claim->session, p);
    claim->provider_calls = 0;
    claim->place = 0;
    claim->pending = NULL;
}

/** The generation and the entry of the last poll, in one read. */
static apr_status_t poll_load(poll_t *poll)
{
    persona_store_t *store = poll->index->store;
    const char *keys[2] = {poll->generation_key, poll->wait_key}, *values[2], *generation;
    apr_status_t rv = PERSONA_FAULT_CALL(claim_load, store->get_many(store, poll->group, keys, 2, values, poll->p));

    if (rv != APR_SUCCESS) {
        return rv;
    }
    generation = persona_index_generation(poll->index, values[0], keys[0]);
    wait_load(poll, values[1], generation ? generation : "");
    if (poll->claim->arrived == 0) {
        poll->claim->arrived = poll->began;
    }
    return generation ? APR_SUCCESS : APR_NOTFOUND;
}

persona_claim_e persona_pool_claim(persona_index_t *index, persona_claim_t *claim, persona_assign_cb *assign,
                                   void *baton, apr_time_t deadline, persona_record_t **record, apr_pool_t *p)
{
    persona_claim_e outcome = PERSONA_CLAIM_NO_INDEX;
    apr_status_t rv;
    poll_t poll;

    *record = NULL;
    poll_init(&poll, index, claim, p);
    poll.assign = assign;
    poll.baton = baton;
    poll.deadline = deadline;
    rv = poll_load(&poll);
    if (poll.pending && settle_pending(&poll, &outcome, record)) {
        return outcome;
    }
    return rv == APR_SUCCESS ? go_through_line(&poll, record) : without_index(&poll);
}

void persona_pool_leave(persona_index_t *index, persona_claim_t *claim, apr_pool_t *p)
{
    persona_store_t *store = index->store;
    poll_t poll;

    poll_init(&poll, index, claim, p);
    if (poll_load(&poll) == APR_SUCCESS && poll.ticket_held) {
        slot_leave(&poll);
        store->remove(store, poll.group,
                      persona_key_beat(index, claim->persona_id, claim->generation, claim->ticket, p));
    }
    wait_forget(&poll);
}

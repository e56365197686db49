/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file manager_site.h
 * @brief A whole manager in one thread for unit tests: a fake compute, an index in memory, a clock set by hand.
 */
#ifndef PERSONA_MANAGER_SITE_H
#define PERSONA_MANAGER_SITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_compute.h"
#include "manager/assign.h"
#include "manager/boot.h"
#include "manager/ops.h"
#include "manager/reconcile.h"
#include "manager/start.h"
#include "pool/session.h"

/** The pool of the running test. */
extern apr_pool_t *unit_pool;

#define SITE_TEST(f) cmocka_unit_test_setup_teardown(f, site_setup, site_teardown)

#define SECONDS(n) apr_time_from_sec(n)

/** The clock: microseconds; tests move it. */
extern apr_time_t site_now;
extern apr_time_t site_clock(void *baton);

/** What is shared by all managers of a test: directory, index, settings. Made by site_setup(). */
typedef struct test_site_t {
    char dir[64], state_dir[80];
    persona_store_t *store;
    persona_settings_t settings;
    int index_down;          /**< every call of the index fails */
    int index_calls;
} test_site_t;

extern test_site_t site;

int site_setup(void **state);
int site_teardown(void **state);
/** Write DIR/<id>.json with this pool and a note that changes the fingerprint. */
void site_persona(const char *id, int min, int max, const char *os_image);
void site_persona_home(const char *id, int min, int max, int exclusive);
/** A manager; without threads unless `threads`. A second one is a second gateway or a restart. */
persona_manager_t *site_manager(int threads);
/** One reading of every compute and one full tick, and the clock goes on by a second. */
void site_round(persona_manager_t *m);
/** Rounds, in which every booting instance's stream answers, until nothing boots; at most 50. */
void site_settle(persona_manager_t *m);
/** A manager whose persona "one" has so many instances ready, of at most ten. */
persona_manager_t *site_with_pool(int ready);
/** The uuid of the fake's n-th existing instance, in the pool of the test. */
const char *site_uuid(int n);
/** Move the clock, round by round. */
void site_pass(persona_manager_t *m, int seconds);
/** The index forgets everything. */
void site_flush(void);
/** A session id made from a number. */
const char *site_session(int n);
/** The answer to a request as a worker, given as JSON with ' for ". A new reference. */
json_t *site_ask(persona_manager_t *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
json_t *site_ask_control(persona_manager_t *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Its "status", in the pool. */
const char *site_status_of(json_t *answer);
/** assign over IPC; the status word. */
const char *site_assign(persona_manager_t *m, const char *instance, int session);
/** The instance that the session has by `find`, or "none". */
const char *site_found(persona_manager_t *m, int session);

#endif

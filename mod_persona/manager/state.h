/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file state.h
 * @brief What the manager knows: instances, sessions, stocks, computes; and who may touch it when.
 *
 * It is a cache. The truth is what the providers keep beside each instance; a manager that starts with
 * nothing has all of it back after each provider answered once.
 *
 * LOCKING. One mutex, persona_manager_t.lock, guards every table and every field below that is not said
 * to be constant. It is never held over a call to a provider, the index, a hook, a probe, the disk or the
 * log: a thread copies what it needs, lets go, calls, takes the lock again and finds the entry again by
 * its uuid, because it may be gone. Pointers to entries are valid under the lock only.
 *
 * ONE JOB AN INSTANCE. `busy` is set under the lock by whoever gives a job about an instance to a crew,
 * and cleared by that job: between the two nobody else changes the instance at its provider. The
 * one exception is assign, which asks the fence first and so needs nobody's leave.
 */
#ifndef PERSONA_MANAGER_STATE_H
#define PERSONA_MANAGER_STATE_H

#include <pthread.h>
#include <sys/types.h>

#include <apr_hash.h>

#include "crew.h"
#include "persona/catalog.h"
#include "persona/settings.h"
#include "persona_compute.h"
#include "persona_forecast.h"
#include "persona_store.h"
#include "pool/pool.h"

#define PERSONA_REASON_MAX  256
#define PERSONA_BEATS_MAX   32
#define PERSONA_DEMANDS_MAX 256
#define PERSONA_BOOTS_KEPT  32

/** Clocks of several machines may differ by so much. */
#define PERSONA_CLOCK_SKEW apr_time_from_sec(2)
/** Assigned and nobody connected. */
#define PERSONA_ATTACH_TIMEOUT apr_time_from_sec(120)
/** A gateway child that says nothing for so long has no streams any more. */
#define PERSONA_BEAT_TIMEOUT apr_time_from_sec(30)
/** Longest time in which assign answers. */
#define PERSONA_ASSIGN_TIMEOUT apr_time_from_sec(2)
/** Somebody who asked so long ago does not wait any more. */
#define PERSONA_DEMAND_AGE apr_time_from_sec(10)
/** Somebody who asked so recently surely waits still. */
#define PERSONA_DEMAND_FRESH apr_time_from_sec(3)
/** An instance whose slot was passed over goes back to the line after so long. */
#define PERSONA_REPUBLISH_AFTER apr_time_from_sec(2)
#define PERSONA_ENDED_KEPT      apr_time_from_sec(3600)

typedef struct persona_manager_t persona_manager_t;
typedef struct persona_prober_t persona_prober_t;
struct persona_trail_t;

/** How far the retirement of an instance has come; each step is safe to repeat. */
typedef enum {
    PERSONA_RETIRE_NONE,
    PERSONA_RETIRE_FENCE,   /**< take the fence, as the session itself or as retire:<manager> */
    PERSONA_RETIRE_MARK,    /**< write `retiring` at the provider */
    PERSONA_RETIRE_FORGET,  /**< remove the record; streams are told at their next heartbeat */
    PERSONA_RETIRE_RELEASE, /**< the instance writes the home back */
    PERSONA_RETIRE_LEASE,   /**< wait until no record may lead here any more */
    PERSONA_RETIRE_DESTROY, /**< only if the provider still says retiring */
    PERSONA_RETIRE_VERIFY,  /**< the provider says that it is gone */
    PERSONA_RETIRE_UNFENCE
} persona_retire_e;

/** Streams that one gateway child has open to an instance. */
typedef struct persona_beat_t {
    pid_t pid;
    int streams;
    apr_time_t at;
} persona_beat_t;

/** An instance, and the session that holds it. No pointers to borrowed memory: an entry is copied whole. */
typedef struct persona_entry_t {
    char uuid[PERSONA_UUID_LEN];
    char persona_id[PERSONA_NAME_MAX + 1], compute[PERSONA_NAME_MAX + 1];
    char fingerprint[PERSONA_SESSION_LEN];
    char host[128], address[64], hook_address[64];
    int port;
    int running;
    persona_instance_e state;
    apr_time_t created, ready_at;
    apr_time_t begun;   /**< when somebody decided to make it: what a boot takes counts from here */
    int measured;       /**< what its boot took is in its stock */
    apr_time_t read_at; /**< when the provider was last read and had it */
    apr_time_t
        changed; /**< when this manager last changed its state: an older reading is no news */
    apr_time_t adopted; /**< when this manager first saw it; 0: made by this manager */
    apr_time_t seen;    /**< start of the last reading that had it */
    int busy;           /**< a job has it, see above */
    int probing;        /**< the prober has it */
    int outdated;       /**< to be replaced (refresh) though its fingerprint is current */
    int probe_failures; /**< in a row, since it was ready */
    int condemned;      /**< a worker could not reach it: probed though it is assigned */
    apr_time_t probed;
    char token[PERSONA_UUID_LEN]; /**< of the fence at the provider; "": none seen */
    apr_time_t orphan_since;      /**< fenced by a holder that nobody can name, since; 0: no */
    apr_time_t hands_off;         /**< its fence refused us: leave it alone until then */

    /* the line */
    char generation[33]; /**< of the slot it was last published to; "": none */
    apr_uint64_t slot;
    apr_time_t passed; /**< when head was first seen beyond its slot; 0: not yet */

    /* the session; "": none */
    char session[PERSONA_SESSION_LEN], user[PERSONA_USER_MAX + 1], app[PERSONA_NAME_MAX + 1];
    char unsure[PERSONA_SESSION_LEN]; /**< session whose assign got no answer: nobody else is given it meanwhile */
    apr_time_t unsure_at;             /**< when it was last told so */
    int marked;                       /**< the provider's metadata has the session */
    int local;                        /**< assigned, attached or asked for through this manager */
    int merged;                       /**< adopted, and what the index knew of it is in */
    int dirty;                        /**< its record has to be written at once */
    apr_time_t renewed;               /**< when its record was last written */
    int cold;
    apr_time_t assigned_at;
    int home; /**< as in persona_record_t */
    char home_problem[PERSONA_REASON_MAX];
    persona_beat_t beats[PERSONA_BEATS_MAX];
    apr_time_t attached, last_input; /**< last time a stream was open; last touch; 0: never */

    /* what the persona said when it was last known: a session outlives its persona */
    persona_stream_e stream;
    char path[1024];
    int pass_user;
    char hook_path[256]; /**< "": no home */
    int hook_port, home_exclusive;
    int shaped; /**< all above are those of its own fingerprint */
    apr_interval_time_t disconnect_timeout, idle_timeout, max_session;

    /* retirement */
    persona_retire_e retire;
    char retire_owner[80]; /**< as whom the fence is taken; "": it is already held, or cannot be */
    char reason[PERSONA_REASON_MAX];
    int forgotten; /**< the index has no record that leads here, and says that it is over */
    apr_time_t lease_until;
    apr_time_t marked_at; /**< of the mark "retiring" that the lease is waited out for */
    apr_time_t retry_at;
    int retries;
} persona_entry_t;

/** Somebody waits for an instance of a persona, and said so to this manager. */
typedef struct persona_demand_t {
    char session[PERSONA_SESSION_LEN];
    apr_time_t arrived, seen;
} persona_demand_t;

/** A target that took another's place, and why. */
typedef struct persona_decision_t {
    apr_time_t at;
    int ready;
    double expected;
    char reason[128];
} persona_decision_t;
#define PERSONA_DECISIONS_KEPT 64

/** One persona's stock, as long as the manager lives. */
typedef struct persona_stock_t {
    char persona_id[PERSONA_NAME_MAX + 1];
    persona_target_t target;
    persona_target_t model; /**< what the model says, whether it is followed or not; reason "": there is none */
    persona_decision_t decisions[PERSONA_DECISIONS_KEPT]; /**< ring of the last targets that differed */
    unsigned decision_count;
    persona_feedback_view_t feedback; /**< how the model has done; all 0 where there is none */
    int planner; /**< this manager plans for it */
    int waiting; /**< people in line */
    int drained;
    apr_time_t surplus_since; /**< 0: none */
    persona_demand_t demands[PERSONA_DEMANDS_MAX];
    int demand_count;
    apr_interval_time_t boots[PERSONA_BOOTS_KEPT]; /**< ring of the last boot times */
    unsigned boot_count;                           /**< of all boots that succeeded, this manager's and others' */
    unsigned boots_told;                           /**< of these, to the model */
    unsigned claims, cold_claims;
    int sessions, sessions_high; /**< at once: at the last tick, and at most in high_hour */
    apr_int64_t high_hour;       /**< hours since the epoch */
    int failures; /**< boots that failed in a row */
    apr_time_t failed_at; /**< the last of them */
    apr_time_t next_boot;
    char problem[PERSONA_REASON_MAX + 64]; /**< why the last boot failed; "": it did not */
    int no_capacity; /**< the compute's boot slots or a cap are what holds it up */
} persona_stock_t;

/** One PersonaCompute at work. */
typedef struct persona_site_t {
    persona_manager_t *manager; /* constant, as are the next six */
    const persona_compute_conf_t *conf;
    persona_compute_t *compute;
    persona_crew_t *claims, *work;
    persona_crew_t *retires; /**< few: they wait for machines to end, and must not hold up what people wait for */
    int boots_max;
    double limits[PERSONA_LIMITS]; /**< of all its instances together; < 0: none */
    pthread_cond_t wake;
    int woken;
    int observed;          /**< was read at least once */
    apr_time_t read_at;    /**< of the last good reading */
    apr_time_t down_since; /**< 0: it answers */
    apr_time_t retry_at;   /**< while down */
    int failures;          /**< readings that failed in a row */
    int drained;
    char problem[PERSONA_REASON_MAX];
} persona_site_t;

typedef apr_time_t persona_clock_cb(void *baton);

struct persona_manager_t {
    /* constant after start */
    const persona_settings_t *settings;
    apr_pool_t *pool;        /**< memory of the tables: allocate under the lock only */
    const char *id;          /**< survives restarts: names this manager in fences */
    const char *retire_name; /**< "retire:<id>" */
    const char *maker;       /**< this process, see maker.h */
    const char *hook_keys[2], *home_keys[2], *share_keys[2]; /**< [1] NULL: the site has one key */
    persona_store_t *store;
    persona_index_t *index;
    persona_site_t *sites;
    int site_count;
    persona_crew_t *hooks;    /**< calls to instances, which may be hostile and slow */
    persona_prober_t *prober; /**< NULL: nothing is probed (tests) */
    struct persona_trail_t *trail; /**< NULL: no history is written */
    persona_clock_cb *clock;  /**< NULL: the system's */
    void *clock_baton;
    int wake_fd;                  /**< eventfd of the tick; -1: none */
    /* of the ticking thread, but for those who explain: see forecaster.c */
    pthread_mutex_t model_lock;          /**< around each use of pattern and model; never taken under `lock` */
    persona_forecast_t *pattern, *model; /**< model NULL: PersonaForecast off */
    int model_rules;                     /**< its targets are followed; else the pattern's */
    apr_time_t model_saved;
    apr_pool_t *events_pool;   /**< of the site's known dates, which the model borrows; NULL: none yet */
    apr_uint64_t events_stamp; /**< of their file when it was last read; 0: never */
    int model_unsaved; /**< the last attempt to keep its state failed */

    pthread_mutex_t lock;
    pthread_cond_t changed; /**< broadcast: a home came, a compute was read */
    apr_hash_t *entries;    /**< uuid -> persona_entry_t */
    apr_hash_t *sessions;   /**< S -> persona_entry_t that it holds */
    apr_hash_t *users;      /**< user -> person_t: the entries of `sessions` again, see state.c */
    apr_hash_t *unnamed;    /**< uuid -> persona_entry_t that is fenced and may have no session, see below */
    apr_hash_t *assigning;  /**< S -> assign_t under way, see assign.c */
    apr_hash_t *ended;      /**< S -> why it ended */
    apr_hash_t *visitors;   /**< user -> visitor_t, see events.c */
    apr_hash_t *dropped;    /**< uuid -> when it was dropped: a reading begun before that is no news of it */
    apr_hash_t *stocks;     /**< persona_id -> persona_stock_t */
    apr_hash_t *
        strays; /**< name of a fence of no instance that nobody is known to hold -> stray_t, see reconcile.c */
    persona_catalog_t *catalog;
    apr_uint64_t catalog_stamp;
    int reload;              /**< read the catalog at the next tick whatever its stamp */
    unsigned catalogs_read;
    json_t *events_errors;   /**< array of what is wrong with PersonaEventFile; NULL: nothing */
    int drained;
    apr_time_t index_retry; /**< the index failed: leave it alone until then; 0: it answers */
    int index_failed;
    apr_array_header_t *notes; /**< of persona_note_t, for the model at its next tick */
    apr_time_t started;
    apr_time_t ticked;
    apr_time_t homes_checked;
};

/** Somebody came, or a session ended. */
typedef struct persona_note_t {
    char persona_id[PERSONA_NAME_MAX + 1], user[PERSONA_USER_MAX + 1], role[PERSONA_USER_MAX + 1];
    int ended;
    apr_time_t at;
} persona_note_t;

/* ---- state.c; the caller holds the lock unless it says otherwise ---- */

apr_time_t persona_manager_now(const persona_manager_t *m);
void persona_manager_lock(persona_manager_t *m);
void persona_manager_unlock(persona_manager_t *m);
/** A reference to the catalog in force; takes the lock. persona_catalog_release() it. */
persona_catalog_t *persona_manager_catalog(persona_manager_t *m);
/** Let the tick run at once, whoever calls. */
void persona_manager_wake(persona_manager_t *m);
/** What an index call returned: keeps the breaker of the index. Takes the lock. */
apr_status_t persona_manager_index(persona_manager_t *m, apr_status_t status);
/** Whether the index may be asked now. Takes the lock. */
int persona_manager_index_usable(persona_manager_t *m);

persona_entry_t *persona_entry_find(persona_manager_t *m, const char *uuid);
persona_entry_t *persona_entry_make(persona_manager_t *m, const char *uuid);
void persona_entry_drop(persona_manager_t *m, persona_entry_t *e);
/** Whether it was dropped at or after `since`. */
int persona_entry_dropped(persona_manager_t *m, const char *uuid, apr_time_t since);
/** Forget what was dropped long before any reading that still runs. */
void persona_dropped_prune(persona_manager_t *m);
persona_entry_t *persona_entry_of_session(persona_manager_t *m, const char *session);
/** The session that this user has for the app, or NULL. */
persona_entry_t *persona_entry_of_user(persona_manager_t *m, const char *user, const char *app);
/** All entries that hold a session of this user, also those that retire; *count of them, borrowed. */
persona_entry_t *const *persona_entries_of_user(persona_manager_t *m, const char *user, int *count);
/** Its fence is somebody's, and whose cannot be told: persona_entry_unnamed_of() will ask it. */
void persona_entry_unnamed(persona_manager_t *m, persona_entry_t *e);
/** The entry whose fence is this session's though nothing else says so, or NULL. */
persona_entry_t *persona_entry_unnamed_of(persona_manager_t *m, const char *session, apr_pool_t *p);
/** Give the entry the session; the one that had the session before loses it. */
void persona_entry_bind(persona_manager_t *m, persona_entry_t *e, const char *session,
                        const char *user, const char *app);
void persona_entry_unbind(persona_manager_t *m, persona_entry_t *e);
/** Copy what the persona says of its sessions. */
void persona_entry_shape(persona_entry_t *e, const persona_t *persona);
/** A view of the entry, borrowed: valid as long as `e`. */
void persona_entry_record(const persona_entry_t *e, persona_record_t *record);
/** Streams open now, by heartbeats that are young enough. */
int persona_entry_streams(const persona_entry_t *e, apr_time_t now);
/** Fenced by this session, as far as its token tells. */
int persona_entry_held_by(const persona_entry_t *e, const char *session, apr_pool_t *p);

/** Begin to retire it, if that has not begun; the tick goes on with it. */
void persona_entry_retire(persona_manager_t *m, persona_entry_t *e, const char *reason);

persona_site_t *persona_site_find(persona_manager_t *m, const char *compute);
int persona_site_usable(const persona_site_t *site);
/** Let the site be read at once. */
void persona_site_wake(persona_site_t *site);

persona_stock_t *persona_stock_of(persona_manager_t *m, const char *persona_id);
/** Returns when the session first asked: a waiting page asks again and again. */
apr_time_t persona_stock_demand(persona_stock_t *stock, const char *session, apr_time_t arrived,
                                apr_time_t now);
/** The place of a session among those who told this manager that they wait; 0: it did not. */
int persona_stock_place(const persona_stock_t *stock, const char *session, apr_time_t now);
void persona_stock_satisfied(persona_stock_t *stock, const char *session);

void persona_ended_note(persona_manager_t *m, const char *session, const char *reason);
const char *persona_ended_reason(persona_manager_t *m, const char *session);
void persona_ended_prune(persona_manager_t *m);

/** Copy a string that may be NULL. */
#define persona_copy(to, from) apr_cpystrn((to), (from) ? (from) : "", sizeof(to))

/* ---- jobs about one instance: collected under the lock, given to the crews after it ---- */

typedef struct persona_task_t {
    persona_manager_t *manager;
    persona_site_t *site;
    char uuid[PERSONA_UUID_LEN];
    char text[PERSONA_REASON_MAX];
} persona_task_t;

typedef struct persona_tasks_t {
    apr_array_header_t *list;
} persona_tasks_t;

void persona_tasks_init(persona_tasks_t *tasks, apr_pool_t *p);
/** The job gets a persona_task_t that it must free(). `crew` NULL: the site's work crew. */
void persona_tasks_add(persona_tasks_t *tasks, persona_manager_t *m, persona_site_t *site,
                       persona_crew_t *crew, persona_job_fn *run, const char *uuid,
                       const char *text);
/** A job with an argument of its own. */
void persona_tasks_add_arg(persona_tasks_t *tasks, persona_crew_t *crew, persona_job_fn *run,
                           void *arg);
/** Without the lock. */
void persona_tasks_push(persona_tasks_t *tasks);

#endif

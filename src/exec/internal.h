/* What the files of the executor share among themselves. */
#ifndef VARVE_EXEC_INTERNAL_H
#define VARVE_EXEC_INTERNAL_H

#include <assert.h>

#include "exec/clock.h"
#include "exec/latch.h"
#include "exec/overlay.h"
#include "exec/shard.h"
#include "exec/touched.h"

#define WORKERS_MAX 64
#define POOL_THREADS 16
#define BATCH_LIMIT (UINT64_C(4) << 30)
#define ROW_NS 200000       /* a row of writes holds the latch no longer */
#define TOO_LONG_NS 1000000 /* a run on a reactor or under the latch gives up its place */
#define LARGE_ARGUMENTS (256 * 1024)
#define WARM_KEYS 32 /* looked up beside a command that went away */
#define WARMING_MAX 256

/* ---- statistics: one block per thread that runs commands, written by it alone, read by anybody (stats.c) ---- */
struct command_counter {
    struct histogram latency; /* ns */
    uint64_t failed, rejected;
};
#define ERROR_KINDS 64
struct error_counter {
    char code[24];
    uint64_t count;
};
struct exec_stats {
    struct exec_stats *next; /* in the shard's list, for good */
    bool in_use;
    struct command_counter *commands;
    uint64_t hits, misses, errors;
    struct error_counter error[ERROR_KINDS]; /* the last one takes what does not fit */
    _Atomic uint32_t error_kinds;
};
static inline uint64_t stat_get(const uint64_t *at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
static inline void stat_add(uint64_t *at, uint64_t n) { __atomic_store_n(at, *at + n, __ATOMIC_RELAXED); }

/* ---- a run: what a thread needs to run commands, one at a time ---- */
struct commit_hook {
    call_commit_fn *fn;
    void *arg;
};
/* A command that EXEC has run: counted and told when EXEC is. */
struct inner {
    struct multi_command {
        const struct command_entry *entry;
        int argc;
        struct slice *argv; /* one block with the bytes */
    } command;
    uint64_t ns, secret;
    bool is_error;
    char code[24];
};
struct kept {
    void *what; /* NULL: nothing */
    void (*drop)(void *what);
};
/* Lines of the slow log that wait for their place: those of commands served under the latch, which come behind what woke
 * them. In order. */
struct slow_later {
    struct slow_record *first, *last;
};
struct run {
    struct call call; /* first: call_run() */
    struct arena arena;
    struct overlay overlay;
    struct commit_hook *hooks;
    uint32_t hook_count, hook_cap;
    size_t above_table; /* the first records of the overlay, which are not in its private table */
    struct clock_cache clock;
    uint64_t started_ns;
    uint64_t seed;
    void *background_arg;
    enum result failed;        /* a call that returns nothing could not do its work */
    bool too_long;             /* call_too_long() said so */
    bool hit_held;             /* touched a key that a prepared command holds */
    bool saw_counts;           /* the counters, which validation cannot tell apart by key */
    bool slow;                 /* slow mode: waits although it holds the latch */
    bool away;                 /* belongs to a thread of the pool; for good */
    bool bundled;              /* several commands' (bundle.c); for good */
    bool in_exec;              /* EXEC's commands run in it */
    bool exec_failed;          /* EXEC answered an error instead of running them */
    bool must_validate;        /* prepared: even if it wrote nothing */
    bool needs_latch;          /* prepared: only to warm what it needs */
    bool tracked;              /* what it changes is among its effects */
    bool waits_on;             /* call_wait() of one that waits already */
    bool wants_hold;           /* call_may_act() said no */
    bool wants_write;          /* a read that is to run again as a write */
    bool wants_alone;          /* call_alone() did */
    struct kept kept;          /* call_keep(): over reruns */
    uint32_t flags;            /* the command's, or what EXEC's commands make of them (multi.c) */
    struct effects *effects;   /* to be told; NULL: nothing */
    struct waiter *waiter;     /* call_wait(): to be registered with the commit */
    struct waiter *registered; /* it was; a reference */
    struct waiter *serving;    /* whose command runs here again */
    struct slow_later served;  /* to be logged behind this run */
    struct inner *inner;       /* of EXEC, in the arena */
    uint32_t inner_count;
    struct exec_stats *stats;
    struct run *next;          /* in the shard's list of free ones */
    uint64_t ticket;           /* outside of an epoch section: when it began (retire.c); 0: it does not run */
    struct run *newer, *older; /* in the shard's list of those that run */
    struct hold {              /* entries of the touched table that this run holds; sorted */
        uint32_t *at;
        size_t count, cap;
    } hold;
};
static inline struct run *call_run(struct call *c) { return (struct run *)c; }

enum result run_init(struct run *r, struct shard *s) MUST_CHECK;
/* Of the same thread, for bundles: one block of statistics is for both. */
void run_init_bundle(struct run *r, const struct run *first);
void run_fini(struct run *r);
/* One that is free, or a new one; NULL: no memory. */
struct run *run_take(struct shard *s);
void run_give(struct run *r);
/* What it runs, for whom. */
void run_command(struct run *r, struct session *session, const struct command_entry *entry, int argc,
                 const struct slice *argv, struct sink *reply);
/* Empties everything for a run of this command; the caller sets mode, view, snapshot, now and overlay. */
void run_begin(struct run *r, struct session *session, const struct command_entry *entry, int argc,
               const struct slice *argv, struct sink *reply);
/* The view and snapshot of a reader, and the time that fits them. Inside an epoch section. */
void run_snapshot_read(struct run *r, uint64_t mono_ns);
/* Under the latch: S = visible, `now` fixed. Inside an epoch section. */
void run_snapshot_latched(struct run *r, uint64_t mono_ns);
uint64_t run_read_clock(struct run *r, uint64_t snapshot, uint64_t mono_ns);
/* A run outside of an epoch section: what shard_retire() was given meanwhile waits for its end (retire.c). */
void run_enter(struct run *r);
void run_leave(struct run *r);
/* Runs fn; a result that is no answer takes the reply back to `mark`. */
enum result run_handler(struct run *r, command_fn *fn);

/* ---- committing (commit.c); the latch is held ---- */
/* The overlay as one batch. RES_OK and *sequence (visible when nothing was written); RES_WOULD_BLOCK: no log space;
 * RES_INVALID: too large for the log; or the file system's refusal. table: what was written beforehand, or NULL. */
enum result commit_overlay(struct run *r, struct engine_table *table, uint64_t table_number, uint64_t *sequence)
    MUST_CHECK;

/* ---- workers ---- */
#define PREFETCH_KEY_BYTES 112 /* longer keys are not looked ahead for */
enum park_reason { PARK_SPACE = 1, PARK_HELD = 2, PARK_PAUSE = 4 };
struct exec_worker {
    struct latch_waiter waiter; /* first */
    struct shard *shard;
    struct exec_worker_options options;
    int index;
    bool latched;
    bool committed;     /* something in this row */
    bool parked_in_row; /* on the latch */
    bool clock_valid;
    uint64_t clock_ns; /* end of the last command */
    uint64_t row_ns;   /* when the row took the latch */
    struct run run;
    struct run bundle; /* the commands of a batch that is being put together */
    bool bundle_open;  /* there is one */
    uint32_t bundled;  /* commands that have written something to it */
    uint32_t marked_hooks;
    uint64_t bundle_sequence; /* that they will have */
    struct overlay_mark mark;
    struct ahead {
        unsigned count;
        struct engine_key keys[ENGINE_PREFETCH_MAX];
        uint8_t room[ENGINE_PREFETCH_MAX][PREFETCH_KEY_BYTES];
    } ahead; /* keys of commands to come */
    _Alignas(64) _Atomic uint64_t waiting_floor;
    _Atomic unsigned parked; /* enum park_reason */
};
/* Wakes every worker parked for the reason. Any thread. */
void workers_wake(struct shard *s, unsigned reason);

/* ---- several commands as one batch (bundle.c); the latch is held by all but the first ---- */
/* By declaration and arguments, and what others have asked for. */
bool bundle_suits(const struct exec_worker *w, uint32_t flags, int argc, const struct slice *argv);
/* True: the command is to be run in w->bundle. */
bool bundle_join(struct exec_worker *w, struct session *session, const struct command_entry *entry, int argc,
                 const struct slice *argv, struct sink *reply);
/* Inside its epoch section. */
void bundle_snapshot(struct exec_worker *w);
/* After its handler. False: nothing of it is left there, and it goes the ordinary way, behind the bundle's commit. */
bool bundle_keep(struct exec_worker *w, enum result res, uint64_t *floor);
bool bundle_is_full(const struct exec_worker *w);
void bundle_commit_open(struct exec_worker *w);
static inline void bundle_commit(struct exec_worker *w)
{
    if (w->bundle_open)
        bundle_commit_open(w);
}

/* ---- the pool (pool.c, prepared.c) ---- */
enum lane { LANE_SHORT, LANE_LONG };
struct job {
    struct job *next;
    struct session *session; /* NULL: only bring the record of `key` into memory */
    const struct command_entry *entry;
    int argc;
    const struct slice *argv;
    int resp;
    uint32_t flags;
    uint64_t seed;
    struct waiter *waiter; /* serve it; `kept` and without one: serve who was left */
    bool kept;             /* not the pool's to free */
    struct engine_key key; /* its bytes lie behind the job */
};
struct pool {
    struct os_mutex lock;
    struct os_cond work;
    struct {
        struct job *first, *last;
        size_t count, running;
    } lane[2];
    size_t warming; /* jobs for a key alone */
    struct os_thread *threads;
    int thread_count, long_max;
    bool stop;
};
enum result pool_open(struct shard *s, int threads) MUST_CHECK;
void pool_close(struct shard *s);
/* RES_NO_MEMORY, or the job is on its way. The command of this run, dropped. */
enum result pool_submit(struct run *r, enum lane lane) MUST_CHECK;
/* NULL: those who were left. */
void pool_submit_waiter(struct shard *s, struct waiter *w);
/* What is to be run, by whichever way. */
struct task {
    command_fn *fn;
    struct session *session; /* NULL: background */
    const struct command_entry *entry;
    int argc;
    const struct slice *argv;
    struct sink *reply;
    uint64_t seed;
    uint32_t flags;
    struct waiter *serving;
};
void run_begin_task(struct run *r, const struct task *t);
/* Starts bringing a record into memory; nothing happens when memory or places are short. */
void pool_warm(struct shard *s, const struct engine_key *key);
/* Runs a read to its end; the caller may wait. */
enum result away_read(struct run *r, const struct task *t) MUST_CHECK;
/* Runs a write to its commit, however long it takes; the caller may wait. *floor: what the reply waits for, also when it
 * failed. *committed: 0 when nothing was written. */
enum result prepared_run(struct run *r, const struct task *t, uint64_t *floor, uint64_t *committed) MUST_CHECK;

/* ---- after a command ---- */
/* Counts it, and logs it when it was slow. */
void exec_account(struct run *r, uint64_t ns);
void exec_over(struct run *r);               /* of EXEC: accounts for its commands, ends MULTI */
void exec_count(struct run *r, uint64_t ns); /* the former alone; waits for nothing */
/* A run that gave a code instead of an answer. */
void exec_reply_code(struct run *r, enum result code);
/* A CMD_SESSION command, without being admitted. */
void exec_session_command(struct exec_worker *w, struct session *session, const struct command_entry *entry, int argc,
                          const struct slice *argv, struct sink *reply);
/* The reply may be shown at this floor: to its session, to monitors. Of a write on a worker: under the latch. */
void exec_show(struct run *r, uint64_t floor);
uint64_t exec_argument_bytes(int argc, const struct slice *argv);
/* What the run woke is logged behind it; behind the rest of EXEC, when there is one. */
void exec_log_served(struct run *r);
/* Without the latch: */
bool slowlog_wants(const struct shard *s, uint32_t flags, uint64_t ns);
void slowlog_add(struct shard *s, const struct call *c, uint64_t us);
void slowlog_add_later(struct shard *s, struct slow_later *l);
/* With it: */
void slowlog_later(struct slow_later *l, const struct call *c, uint64_t us);
void slowlog_move(struct slow_later *to, struct slow_later *from);

/* ---- effects (effects.c) ---- */
void effects_init(struct shard *s);
void effects_fini(struct shard *s);
void effects_drop(struct run *r);
/* The run counts: under the latch when it is a write. */
void effects_queue(struct run *r, uint64_t floor);
void effects_tell_all(struct shard *s);
enum result effects_track(struct run *r) MUST_CHECK; /* once a run: the keys it changes */

/* ---- MULTI (multi.c) ---- */
enum result multi_queue(struct session *s, const struct command_entry *entry, int argc, const struct slice *argv)
    MUST_CHECK;
uint32_t multi_flags(const struct session *s); /* of what is queued: those by which a command is admitted */
uint32_t multi_way(struct session *s, uint32_t flags);
void multi_over(struct run *r);                    /* EXEC has counted */
struct slow_later *multi_later(struct session *s); /* to be logged when EXEC's rest is over; NULL: there is none */

/* ---- WATCH (watch.c) ---- */
struct watches {
    struct watch **buckets;
    size_t count; /* keys; under the latch */
    _Atomic(struct watch_set *) dead;
};
enum result watches_init(struct shard *s) MUST_CHECK;
void watches_fini(struct shard *s);
void watch_signals(struct shard *s, const struct overlay *o);

/* ---- waiting for keys (wait.c) ---- */
struct waits {
    struct wait_queue **buckets;
    size_t bucket_count, queues;
    uint64_t tickets;
    struct wait_queue *ready_first, *ready_last; /* to be served */
    struct waiter *cold;                         /* for the pool, once the latch is free */
    struct slow_later slow;                      /* for the slow log, then */
    bool more;                                   /* so is the rest of those to be served */
    struct run *run;                             /* in which they are served */
    _Atomic(struct waiter *) dead;
    _Atomic uint64_t blocked;
    struct job rest_job;
    atomic_bool rest_queued;
};
struct wait_left {
    struct waiter *cold;
    struct slow_later slow;
    bool more;
};
enum result waits_init(struct shard *s) MUST_CHECK;
void waits_fini(struct shard *s);
void wait_drop(struct waiter *w); /* one that was not registered */
/* The holder of the latch, at a commit: */
void wait_register(struct run *r, uint64_t sequence);
void wait_stay(struct run *r);
void wait_signals(struct shard *s, const struct overlay *o);
/* ... after it, outside of epoch sections: */
bool wait_serve(struct shard *s); /* true: something may have been committed */
/* ... before and after he lets go: */
struct wait_left wait_take_left(struct shard *s);
void wait_hand_over(struct shard *s, struct wait_left left);
/* Jobs of the pool. */
void wait_serve_cold(struct run *r, struct waiter *w);
void wait_serve_rest(struct shard *s);
struct job *waiter_job(struct waiter *w);

/* A pool thread or the like lets go of the latch. What was served by it is logged behind r; NULL: at once. */
void latch_end(struct shard *s, struct run *r, bool committed);

enum restriction { RESTRICT_AUTH = 1, RESTRICT_PAUSE = 2, RESTRICT_MEMORY = 4, RESTRICT_FROZEN = 8 };

struct slow_log {
    struct os_mutex lock;
    struct slow_record *newest;
    size_t count;
    uint64_t next_id;
};
#define LATENCY_EVENTS 32
struct latency_log {
    struct os_mutex lock;
    struct latency_event *event[LATENCY_EVENTS];
    int count;
};

struct shard {
    struct front *front;
    struct env *env;
    struct latch latch;
    struct exec_clock clock;
    struct touched touched;
    uint64_t dbs_sequence; /* of the last commit that changed the database map; under the latch */
    _Atomic(const struct settings *) settings;
    _Atomic unsigned restricted; /* enum restriction: what makes exec_run look closer */
    _Atomic(shard_prefetch_fn *) prefetch;
    void *store;
    size_t command_count;
    uint64_t batch_limit;
    int max_workers;

    _Atomic int64_t slowlog_us;
    _Atomic uint64_t slowlog_max;
    _Atomic int64_t latency_ms;
    _Atomic int pause; /* enum shard_pause */
    _Atomic uint64_t pause_until_ms;

    atomic_bool hurry; /* the server ends */
    struct shard_hooks hooks;
    bool log_failed;            /* lock: whoever sets the hooks later is told then */
    enum result log_failed_why; /* lock */
    atomic_int monitors;

    _Atomic unsigned events; /* enum event_class: what runs collect */
    unsigned event_classes;  /* under lock: as configured */
    bool event_listeners;    /* under lock: somebody would hear of them */
    struct {
        struct os_mutex lock; /* of telling: one at a time */
        _Atomic(struct effects *) newest;
        atomic_bool tracking; /* commits tell of the keys they change */
    } effects;
    struct watches watches;
    struct waits waits;
    void *pubsub;

    _Atomic(struct exec_worker *) workers[WORKERS_MAX];
    atomic_int workers_high; /* slots at and above it were never used */
    struct os_mutex lock;    /* of workers' slots, the lists below, space and held */
    struct os_cond moved;    /* log space came, keys were let go, the log failed */
    uint64_t space_turns, held_turns;
    struct exec_stats *stats;
    struct run *free_runs;
    struct run *active_runs; /* oldest first */
    struct run *active_last;
    uint64_t tickets;
    struct retired *retired;

    struct pool pool;
    struct slow_log slow;
    struct latency_log latency;
    uint64_t changes; /* keys changed by commits; written under the latch, read through stat_get */
    _Atomic uint64_t warmed_keys, expired, away_reads, away_writes, prepared_retries, held_keys, slow_mode,
        private_tables;
};

/* Whoever has queued effects, or may have, and holds no latch any more. */
static inline void effects_tell(struct shard *s)
{
    if (unlikely(atomic_load_explicit(&s->effects.newest, memory_order_relaxed)))
        effects_tell_all(s);
}
static inline uint64_t shard_mono(const struct shard *s) { return s->env->ops->mono_ns(s->env); }
struct exec_stats *stats_take(struct shard *s); /* NULL: no memory */
void stats_give(struct shard *s, struct exec_stats *st);
void stats_error(struct exec_stats *st, struct slice code);
void stats_free_all(struct shard *s);
void slowlog_init(struct shard *s);
void slowlog_fini(struct shard *s);
void latency_init(struct shard *s);
void latency_fini(struct shard *s);
/* Callbacks of the front (release.c). */
void release_gate(void *arg, uint64_t gate);
void release_space(void *arg);
void release_held(struct shard *s); /* keys that a prepared command held are free */
void release_failure(void *arg, enum result why, const char *sentence);
/* Waits until held keys were let go, or log space came, since `turn` was read; RES_READ_ONLY when the log has failed. */
enum result wait_moved(struct shard *s, const uint64_t *counter, uint64_t turn) MUST_CHECK;
uint64_t moved_turn(struct shard *s, const uint64_t *counter);
void retire_all(struct shard *s); /* at the end */

#endif

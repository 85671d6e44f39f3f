/* The shard: one range of slots with its front, write latch, touched table and pool. An object, never a set of globals:
 * one process will hold several. EXECUTION in docs/ gives the rules by number.
 *
 * A worker is a thread that runs commands and must not sleep: a reactor. It is registered once, owns scratch memory and
 * statistics, and is woken through wake() when something it waits for may have come. */
#ifndef VARVE_EXEC_SHARD_H
#define VARVE_EXEC_SHARD_H

#include "base/histogram.h"
#include "exec/call.h"
#include "front/front.h"

struct shard;
struct exec_worker;

struct shard_options {
    struct front_options front; /* callbacks are the shard's own */
    int pool_threads;           /* 0: 16 */
    int max_workers;            /* 0: 64 */
    size_t command_count;       /* entries have ids below this */
    uint64_t batch_limit;       /* bytes a command may write at most; 0: 4 GiB */
    uint64_t touched_bytes;     /* of the table of touched keys, at most; 0: 8 MiB */
};
enum result shard_open(const struct shard_options *options, struct shard **out, struct errmsg *msg) MUST_CHECK;
/* No command runs any more; waits for the pool; closes the front. */
enum result shard_close(struct shard *s) MUST_CHECK;
/* The server is about to end: what waits for others outside of it gives up (call_hurries). Any thread. */
void shard_hurry(struct shard *s);
struct front *shard_front(struct shard *s);
/* What the store keeps per shard (database map, expiry). Set once after open. */
void shard_set_store(struct shard *s, void *store);
void *shard_store(struct shard *s);
/* What knows how a key of a command lies in the engine, for exec_prefetch: writes the engine's key into room, its hash and
 * the hash by which it is signalled. false: no telling, or no room. Called on any worker, outside of epoch sections; it may
 * be wrong (the database map may change meanwhile): nothing but time depends on it. */
struct shard_key {
    struct engine_key key;
    uint64_t hash;
};
typedef bool shard_prefetch_fn(struct shard *s, uint32_t db, struct slice user, uint8_t *room, size_t len,
                               struct shard_key *out);
void shard_set_prefetch(struct shard *s, shard_prefetch_fn *fn);
/* Read-copy-update: calls that start afterwards see the new snapshot. The old one is freed through shard_retire(). */
void shard_set_settings(struct shard *s, const struct settings *settings);
/* Calls fn(arg), on some thread, when every call that runs now has ended. For what calls borrow for longer than an epoch
 * section. */
void shard_retire(struct shard *s, void (*fn)(void *arg), void *arg);
/* CONFIG SET appendfsync: takes the latch for a moment, spinning. */
void shard_set_fsync(struct shard *s, enum front_fsync mode);

/* Limits the executor itself needs, changed at run time by the server. Microseconds; slowlog < 0: off. */
struct shard_tuning {
    int64_t slowlog_us;
    size_t slowlog_max;
    int64_t latency_ms;            /* latency-monitor-threshold; 0: off */
    const char *password_required; /* non-NULL: sessions must authenticate; only its being set matters here */
    int64_t denyoom_bytes;         /* > 0: memory in use is this far over its budget, CMD_DENYOOM commands get -OOM */
};
void shard_tune(struct shard *s, const struct shard_tuning *t);

/* ---- workers ---- */
struct exec_worker_options {
    const char *name;
    /* Any thread: make the worker look again (latch free, log space, gate passed `waiting_floor`). */
    void (*wake)(void *arg);
    void *arg;
};
struct exec_worker *exec_worker_new(struct shard *s, const struct exec_worker_options *options);
/* No command comes from this worker any more: its place in the queue for the latch goes to the next. By its thread, at its
 * end; it may be long until it is freed, and others are waited for until then. */
void exec_worker_end(struct exec_worker *w);
void exec_worker_free(struct exec_worker *w);
struct shard *exec_worker_shard(struct exec_worker *w);

enum exec_outcome {
    EXEC_DONE,   /* the reply is in the sink; it may leave when the gate has reached session->floor */
    EXEC_PARKED, /* nothing happened (latch, log space or pause): run it again after wake() */
    EXEC_AWAY,   /* on the pool: session->ops->completed() will bring the reply; argv stays valid until then */
};
/* Runs one command of a session on its worker. argv[0] is the name as sent; entry the subcommand's where there is one.
 * Checks authentication and pause; arity and existence are the caller's (cmd/table.h). The worker may hold the write
 * latch afterwards, so that the next commands run in the same row. */
enum exec_outcome exec_run(struct exec_worker *w, struct session *s, const struct command_entry *entry, int argc,
                           const struct slice *argv, struct sink *reply);
/* The worker has no more commands ready: release the latch, get the log on its way. Before every sleep. */
void exec_row_end(struct exec_worker *w);
/* The command will run soon: collects its keys, of which many are looked ahead for together, and returns how many they
 * are. exec_prefetch_end() before the first of those commands runs. */
unsigned exec_prefetch(struct exec_worker *w, struct session *s, const struct command_entry *entry, int argc,
                       const struct slice *argv);
void exec_prefetch_end(struct exec_worker *w);
/* After EXEC_AWAY: commands that follow in the same pipeline. Their keys that are not in memory are fetched by the pool,
 * side by side with the command that is away, so that a cold pipeline keeps the device busy and comes back to a warm one. */
void exec_warm(struct exec_worker *w, struct session *s, const struct command_entry *entry, int argc,
               const struct slice *argv);
/* Something else than commands has taken time since the last one (a system call, a sleep): the next one's is not to count
 * it. exec_row_end() says so too. */
void exec_clock_restart(struct exec_worker *w);
/* The lowest floor among replies this worker holds back; UINT64_MAX: none. wake() comes when the gate passes it. After
 * setting it the caller looks at the gate once more before it sleeps. */
void exec_set_waiting_floor(struct exec_worker *w, uint64_t floor);
uint64_t shard_gate(struct shard *s);
/* Is everything up to this sequence on disk? And: waits until it is, on a thread that may wait. */
bool shard_is_durable(struct shard *s, uint64_t sequence);
enum result shard_make_durable(struct shard *s, uint64_t sequence) MUST_CHECK;
/* true: the log failed; replies above the gate will never leave and their connections are closed. */
bool shard_frozen(struct shard *s);

/* ---- background ---- */
/* Runs fn as a prepared write on the calling thread, which may wait: prepare, latch, validate, commit, again if needed.
 * For expiry and the like. c->session is NULL, the reply is dropped. *sequence: what it committed (0: nothing). */
enum result exec_background(struct shard *s, command_fn *fn, void *arg, uint64_t *sequence) MUST_CHECK;
void *call_background_arg(struct call *c);
/* The process-wide clock of rule 7, in ms. */
uint64_t shard_now_ms(struct shard *s);

/* ---- maintenance, on a thread that may wait, beside all commands; RES_CLOSED once *stop (may be NULL) ---- */
/* What is committed now goes to the engine: it is sealed; and awaited. */
enum result shard_flush(struct shard *s) MUST_CHECK;
/* What is to be done under the latch when nobody else comes: about once a second, by a thread that may wait. */
void shard_keep(struct shard *s);
/* front_checkpoint() of what is committed now. */
enum result shard_checkpoint(struct shard *s, const char *dir, const atomic_bool *stop, uint64_t *sequence,
                             struct errmsg *msg) MUST_CHECK;
/* shard_flush(), then everything is compacted. */
enum result shard_compact(struct shard *s, const atomic_bool *stop) MUST_CHECK;

/* ---- MULTI: of a session, on its worker ---- */
bool session_multi_begin(struct session *s);      /* false: no memory */
void session_multi_end(struct session *s);        /* DISCARD, RESET, the end of the session */
void session_multi_fail(struct session *s);       /* a command was refused before exec_run: EXEC will abort */
int session_multi_count(const struct session *s); /* commands queued; -1: no MULTI */
size_t session_multi_memory(const struct session *s);
bool session_multi_failed(const struct session *s);
/* Each command queued. */
typedef void multi_each_fn(void *arg, const struct command_entry *entry, int argc, const struct slice *argv);
void session_multi_each(const struct session *s, multi_each_fn *each, void *arg);
/* EXEC's handler, when nothing speaks against it: runs the queue. */
enum result call_exec(struct call *c) MUST_CHECK;
/* After EXEC, while session->rest: commands that could not run within it. *reply: EXEC's bytes, or, when this has answered
 * EXEC_AWAY before, those that completed() brought; becomes the whole reply. EXEC_AWAY: completed() will come. */
enum exec_outcome exec_rest(struct exec_worker *w, struct session *s, struct buf *reply);
void session_rest_drop(struct shard *shard, struct session *s); /* the session ends */

/* ---- WATCH ---- */
struct watch_key {
    uint32_t db;
    struct slice key;
    uint64_t hash;
    bool exists, expired; /* alive; there, but its time has passed */
};
/* The session watches these, as they are now. Of a command that is CMD_LATCHED. */
enum result call_watch(struct call *c, const struct watch_key *keys, size_t count) MUST_CHECK;
/* EXEC: each key that is to be looked at. expired: it had, when it was watched, and does not count for that; exists: it is
 * changed if it is there at all. */
typedef enum result watched_fn(struct call *c, void *arg, const struct watch_key *key);
enum result call_watched(struct call *c, watched_fn *each, void *arg) MUST_CHECK;
bool session_watch_broken(const struct session *s); /* certain under the latch; what is broken stays so */
void session_unwatch(struct shard *s, struct session *session);
/* Is the call one of EXEC's commands? */
bool call_in_exec(struct call *c);

/* ---- waiting for keys: call_wait() ---- */
enum wait_end { WAIT_TIMEOUT = 1, WAIT_UNBLOCK, WAIT_UNBLOCK_ERROR, WAIT_CLOSE };
/* After exec_run() said EXEC_AWAY: the session waits for a key; a reference. NULL: it is on the pool. */
struct waiter *exec_take_waiter(struct exec_worker *w);
/* Ends it. True: the session is the caller's again, with a reference (session_ops.unref) and the reply that is owed. False:
 * it is being served; completed() comes, sooner or later. Any thread. */
bool waiter_take(struct waiter *w, enum wait_end why);
/* That reply; on the session's worker. */
void exec_wait_over(struct exec_worker *worker, struct waiter *w, enum wait_end why, struct sink *reply);
uint64_t waiter_deadline_ns(const struct waiter *w); /* of the monotonic clock; UINT64_MAX: never */
void waiter_unref(struct waiter *w);
uint64_t shard_blocked_clients(struct shard *s);

/* ---- events and messages ---- */
/* Classes of events (enum event_class) to be told; 0: none. */
void shard_set_events(struct shard *s, unsigned classes);
/* Is there anybody to hear of them? */
void shard_event_listeners(struct shard *s, bool any);
/* What src/pubsub keeps per shard. Set once, before the first command. */
void shard_set_pubsub(struct shard *s, void *pubsub);
void *shard_pubsub(struct shard *s);

/* ---- CLIENT PAUSE ---- */
enum shard_pause { SHARD_PAUSE_OFF, SHARD_PAUSE_WRITE, SHARD_PAUSE_ALL };
void shard_pause(struct shard *s, enum shard_pause mode, uint64_t until_ms);
enum shard_pause shard_paused(struct shard *s); /* any thread */

/* ---- hooks of the server, set before the first command ---- */
enum { SHARD_TRACKED = 1u << 30, SHARD_TRACKED_ALL = 1u << 29 };
struct shard_effect {
    const char *event; /* NULL: a message of PUBLISH, or, sharded, of SPUBLISH */
    unsigned
        event_class; /* or SHARD_TRACKED: message has the keys that were changed, each as its length (size_t) and its bytes;
                             SHARD_TRACKED_ALL: any may have been */
    uint32_t db;
    bool sharded;
    struct slice key, message; /* key: or the channel */
    uint64_t floor;            /* when it may be shown */
    uint64_t origin;           /* the session it comes from; 0: none */
};
struct shard_hooks {
    /* Tells who listens; one call at a time, in the order in which all are to hear of it. Without the latch. */
    void (*effect)(void *arg, const struct shard_effect *effect);
    /* How many would hear of a message. May be called under the latch. */
    uint64_t (*receivers)(void *arg, bool sharded, struct slice channel);
    /* A command has run (not a dropped run), its arguments still there; on the thread that ran it, which holds the latch
     * (of a write on a worker); only called while shard_monitors > 0. floor: when it may be shown. */
    void (*monitor)(void *arg, struct session *s, const struct slice *argv, int argc, uint64_t floor);
    /* The log failed; once, also if it was before the hooks were set. */
    void (*failure)(void *arg, enum result why, const char *sentence);
    void *arg;
};
void shard_set_hooks(struct shard *s, const struct shard_hooks *hooks);
void shard_monitors_add(struct shard *s, int change);
/* Whether commits tell of each key they change. on: returns the last sequence that may not have been told of. */
uint64_t shard_set_tracking(struct shard *s, bool on);

/* ---- statistics ---- */
struct command_stats {
    uint64_t calls, usec, rejected, failed;
    struct histogram latency; /* ns */
};
/* Sums one command over all workers; out->latency is initialised by the caller and merged into. */
void shard_command_stats(struct shard *s, uint16_t id, struct command_stats *out);
struct shard_stats {
    uint64_t commands, keyspace_hits, keyspace_misses, expired_keys, error_replies;
    uint64_t changes; /* of keys, since the start; shard_reset_stats leaves it */
    uint64_t latch_takes, latch_held_ns, latch_held_max_ns, latch_parks, latch_over_1ms;
    uint64_t away_reads, away_writes, prepared_retries, held_keys, slow_mode, private_tables;
    uint64_t warmed_keys; /* fetched ahead for cold pipelines and for commands of many keys */
    uint64_t pool_queue, pool_running, pool_threads;
};
void shard_stats(struct shard *s, struct shard_stats *out);
void shard_reset_stats(struct shard *s);
/* How long the latch is held is counted by the processor time of its holder from now on, or by the clock again. */
void shard_latch_cpu_clock(struct shard *s, bool on);
void shard_count_expired(struct shard *s, uint64_t n);
void shard_count_rejected(struct exec_worker *w, const struct command_entry *entry);
void shard_count_error(struct exec_worker *w, struct slice error_text); /* errorstat_* by code word */
typedef void shard_error_fn(void *arg, const char *code, uint64_t count);
void shard_each_error(struct shard *s, shard_error_fn *fn, void *arg);

/* ---- slow log (mutex inside; copies) ---- */
struct slowlog_entry {
    uint64_t id, time_s, duration_us;
    int argc;
    struct slice *argv; /* trimmed as Redis does: 32 arguments, 128 bytes */
    char address[64], name[64];
};
typedef void slowlog_fn(void *arg, const struct slowlog_entry *entry);
void shard_slowlog_each(struct shard *s, size_t newest, slowlog_fn *fn, void *arg);
size_t shard_slowlog_len(struct shard *s);
void shard_slowlog_reset(struct shard *s);

/* ---- latency monitor ---- */
void shard_latency_add(struct shard *s, const char *event, uint64_t ms);
struct latency_sample {
    uint32_t time_s, ms;
};
struct latency_series {
    const char *event;
    uint32_t max;
    int count;
    struct latency_sample sample[160]; /* oldest first */
};
typedef void latency_fn(void *arg, const struct latency_series *series);
void shard_latency_each(struct shard *s, latency_fn *fn, void *arg);
int shard_latency_reset(struct shard *s, const char *event); /* NULL: all; returns how many */

#endif

/* One run of a command: what a handler gets, and all it may touch.
 *
 * Reads go: overlay (own writes) -> memtables at the snapshot -> engine. Writes go to the overlay only. On a reactor a
 * read that would wait for the disk answers RES_WOULD_BLOCK, which the handler passes up; the run is dropped and
 * repeated on a pool thread, where the same functions wait. Slices that reads return are valid until the run ends. */
#ifndef VARVE_EXEC_CALL_H
#define VARVE_EXEC_CALL_H

#include "base/arena.h"
#include "engine/engine.h"
#include "exec/command.h"
#include "exec/session.h"
#include "exec/sink.h"

struct shard;
struct overlay;
struct front_view;
struct settings; /* src/conf: the snapshot of all settings this run sees */

enum call_mode {
    CALL_READ = 1,     /* at a snapshot, no latch */
    CALL_LATCHED = 2,  /* holds the write latch: S = visible */
    CALL_PREPARED = 4, /* a write run beforehand, to be validated */
    CALL_MAY_WAIT = 8, /* on a pool thread: reads wait for the disk */
    CALL_SERVED = 16,  /* the rerun of a command that waited (call_wait): a key of another type is as good as none */
};

/* What happened to a key: for WATCH, validation, events, waiters. */
enum signal_kind {
    SIGNAL_WRITE = 1,
    SIGNAL_NEW = 2,
    SIGNAL_DELETED = 4,
    SIGNAL_EXPIRED = 8,
    SIGNAL_UNSEEN = 16,  /* its record was rewritten, the key did not change: for validation alone */
    SIGNAL_FLUSHED = 32, /* a whole database; call_signal_dbs() */
    SIGNAL_SWAPPED = 64, /* the same, with the next signal's */
};

struct call {
    struct shard *shard;
    struct session *session;
    const struct command_entry *entry;
    const struct slice *argv;
    int argc;
    struct sink *reply;
    const struct settings *settings;
    uint64_t now_ms;   /* the one clock of this run */
    uint64_t snapshot; /* S */
    struct front_view *view;
    unsigned mode;
    struct arena *arena;     /* scratch memory of this run */
    struct overlay *overlay; /* NULL: a read */
    uint64_t random_state;   /* seeded per call, the same in every rerun */
    uint64_t bind;           /* the reply waits for this sequence too (0: none) */
    /* what validation of a prepared run needs; kept by the functions below */
    struct {
        uint64_t *keys; /* hashes of the keys looked up */
        size_t count, cap;
        uint64_t first_due; /* earliest expiry among the keys seen alive */
        bool used_dbs;      /* looked at the database map */
    } seen;
    uint64_t keyspace_hits, keyspace_misses; /* added to the statistics when the run counts */
    unsigned events;                         /* enum event_class: what somebody wants to hear of */
    void *store;                             /* the store's own state of this run; NULL when a run starts */
    int error_closed;
    uint64_t secret; /* bit i: argument i is not for logs, bit 63: nor are all from 63 on; see call_hide_arg */
};

/* The slow log shows "(redacted)" for this argument. */
static inline void call_hide_arg(struct call *c, int i) { c->secret |= UINT64_C(1) << (i < 63 ? i : 63); }
static inline struct slice call_arg(const struct call *c, int i) { return c->argv[i]; }

/* Reads one record. RES_OK, RES_NOT_FOUND, RES_WOULD_BLOCK, or an error to pass up. */
enum result call_get(struct call *c, const struct engine_key *key, struct slice *value) MUST_CHECK;
/* [lower, upper) over overlay and snapshot. Bounds are copied. */
enum result call_iter(struct call *c, struct slice lower, struct slice upper, int flags, struct iter **out) MUST_CHECK;

/* Writes into the overlay (key and value bytes are copied unless they lie in c->arena: see _keep). A later write of the
 * same key replaces the earlier. RES_NO_MEMORY, or RES_WOULD_BLOCK when a latched run grew too large for its place. */
enum result call_put(struct call *c, const struct engine_key *key, struct slice value) MUST_CHECK;
/* The same, without copying: both live in c->arena or in argv. */
enum result call_put_keep(struct call *c, const struct engine_key *key, struct slice value) MUST_CHECK;
/* The same for a key that this run has not written and that nobody else knows, as those of a new object's pieces: it is
 * not looked for. Both live in c->arena. */
enum result call_put_new(struct call *c, const struct engine_key *key, struct slice value) MUST_CHECK;
enum result call_delete(struct call *c, const struct engine_key *key) MUST_CHECK;
/* Exact counters: id is the keyspace. */
void call_count(struct call *c, uint32_t keyspace, int64_t keys, int64_t expires);
/* Counters as this run sees them, its own writes included. For a read the reply is bound to what it saw. */
void call_counts(struct call *c, uint32_t keyspace, int64_t *keys, int64_t *expires);
/* The key was changed. hash is store_key.hash; kind may be several, ored. */
enum result call_signal(struct call *c, uint32_t db, struct slice key, uint64_t hash, enum signal_kind kind) MUST_CHECK;
/* A database was emptied (a == b), or two were exchanged: everything that looked at databases is invalid. */
enum result call_signal_dbs(struct call *c, uint32_t a, uint32_t b) MUST_CHECK;
/* What a run wants done in memory when its batch commits, and not when it is dropped: fn is called once, under the latch,
 * with the sequence the batch is about to get, right before it becomes visible. It waits for nothing and cannot fail.
 * arg lives in c->arena (or for ever). In the order of the calls. */
typedef void call_commit_fn(struct call *c, void *arg, uint64_t sequence);
enum result call_on_commit(struct call *c, call_commit_fn *fn, void *arg) MUST_CHECK;
/* Is the batch this command's alone, and not EXEC's or a bundle's? */
bool call_is_batch(struct call *c);
/* Under the latch, or in a prepared run that has its keys for itself (call_alone): the sequence of the last commit that
 * signalled this key, or one that shares its entry. */
uint64_t call_touched(struct call *c, uint64_t hash);
/* A keyspace event of this key: told when the batch is shown, in the order of the calls, and not when the run is dropped.
 * name is a literal: "lpush". Nothing but a test of the class happens while nobody wants it. */
enum event_class {
    EVENT_GENERIC = 1 << 0, /* g */
    EVENT_STRING = 1 << 1,  /* $ */
    EVENT_LIST = 1 << 2,    /* l */
    EVENT_SET = 1 << 3,     /* s */
    EVENT_HASH = 1 << 4,    /* h */
    EVENT_ZSET = 1 << 5,    /* z */
    EVENT_EXPIRED = 1 << 6, /* x */
    EVENT_EVICTED = 1 << 7, /* e */
    EVENT_STREAM = 1 << 8,  /* t */
    EVENT_MISS = 1 << 9,    /* m */
    EVENT_NEW = 1 << 10,    /* n */
};
enum result call_event_add(struct call *c, enum event_class event_class, const char *name, uint32_t db,
                           struct slice key) MUST_CHECK; /* its slow half */
static inline MUST_CHECK enum result call_event(struct call *c, enum event_class event_class, const char *name,
                                                uint32_t db, struct slice key)
{
    return likely(!(c->events & (unsigned)event_class)) ? RES_OK : call_event_add(c, event_class, name, db, key);
}
/* The same for those who cannot pass a failure up: the run fails at its end. */
void call_event_or_fail(struct call *c, enum event_class event_class, const char *name, uint32_t db, struct slice key);
/* A message for a channel (PUBLISH; sharded: SPUBLISH). Within EXEC it is told with the batch, else at once. *receivers:
 * to how many subscriptions it goes. */
enum result call_publish(struct call *c, bool sharded, struct slice channel, struct slice message, uint64_t *receivers)
    MUST_CHECK;
/* A blocking command has found nothing: the run ends without a reply, and the command runs again, CALL_SERVED, when a
 * commit has signalled one of these keys (of which there may be none); when timeout_ms (0: never) has passed it answers a null
 * array, or what its declaration says. Where nobody may wait (MULTI, scripts) it answers at_once at once, or the same. The
 * handler returns what this returns. */
enum wait_reply { WAIT_NULL, WAIT_NULL_ARRAY };
struct wait_key {
    uint32_t db;
    struct slice key;
    uint64_t hash; /* store_key.hash */
};
enum result call_wait(struct call *c, const struct wait_key *keys, size_t count, uint64_t timeout_ms,
                      enum wait_reply at_once) MUST_CHECK;
/* A long reply whose elements are read while the client takes them. The handler asks call_streams() whether a reply of about
 * so many bytes is to be one (RES_WOULD_BLOCK: on the pool it will), says the head, with the number of elements, and ends with
 * call_stream(). In another run, with the same arguments, view and time, open() opens what next() reads on from; next() says
 * some elements, RES_NOT_FOUND: they are all said. There is at least one. Only open() may use session and settings; what it
 * needs of the handler is `from`. The state begins as zeros; close() is called however far open() came. */
struct call_stream {
    size_t size; /* of the state */
    enum result (*open)(struct call *c, void *state, const void *from);
    enum result (*next)(struct call *c, void *state);
    void (*close)(void *state);
};
enum result call_streams(struct call *c, uint64_t bytes, bool *streams) MUST_CHECK;
enum result call_stream(struct call *c, const struct call_stream *what, const void *from) MUST_CHECK;
/* For validation: this key (by hash) was looked up; it was alive and is due at expire_ms (0: never). */
enum result call_saw(struct call *c, uint64_t hash, uint64_t expire_ms) MUST_CHECK;
/* True where a run should give up its place: on a reactor or under the latch after 1 ms of work. Handlers with loops ask
 * every few hundred elements and return RES_WOULD_BLOCK. Never true on the pool. */
bool call_too_long(struct call *c);
/* The same for a run that knows beforehand that it will take long. */
bool call_will_be_long(struct call *c);
/* For commands that act outside of the server (MIGRATE), which a run that is dropped cannot take back. Such a command is
 * CMD_LONG | CMD_NO_MULTI. It looks its keys up and asks whether it may act: from then on nobody writes those keys until
 * it has been committed. False: the handler returns RES_WOULD_BLOCK, and runs again. */
bool call_may_act(struct call *c);
/* For a prepared run about to do what takes long and would serve those as well who come for the same key meanwhile: true
 * when it has the key for itself. False: the handler returns RES_WOULD_BLOCK, and runs again, holding the keys it looked
 * up, or under the latch, after another has let go of them. */
bool call_alone(struct call *c);
/* What it did then: kept for further runs of the same command, which do not act again; dropped when it has been answered. */
void call_keep(struct call *c, void *what, void (*drop)(void *what));
void *call_kept(struct call *c);   /* NULL: it has not acted */
bool call_hurries(struct call *c); /* the server ends: do not wait for others any more */
uint64_t call_random(struct call *c);
/* For a read that has found something to keep (PFCOUNT's count). RES_OK: this run writes; RES_WOULD_BLOCK, to be passed up: it
 * runs again as a write; RES_READ_ONLY: nothing can be written now, it answers without. */
enum result call_wants_write(struct call *c) MUST_CHECK;

#endif

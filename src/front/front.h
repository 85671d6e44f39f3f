/* The front: log, memtables, private tables, sequence numbers, gate and views, over an engine. One front is one shard's
 * data. This is the one header a program outside the server needs (benchmark, offline checker, tests).
 *
 * Commit pipeline. A batch gets the next sequence number, is copied into the log ring, inserted into the memtable and
 * made visible by one store; the log thread (or a committer, see front_kick) writes the ring to the log files.
 *     visible >= written >= durable;   gate = durable ("always") or written ("everysec", "no").
 * Nothing above the gate may be shown to anybody but its own writer. A memtable is handed to the engine only when the
 * gate has passed all it holds, so the engine needs one version per key.
 *
 * Threads. front_reserve, front_commit, front_visible's use as a snapshot: by the holder of the write latch, one at a
 * time (the front does not lock; callers outside the server bring a mutex). Reading: any thread. */
#ifndef VARVE_FRONT_FRONT_H
#define VARVE_FRONT_FRONT_H

#include "engine/engine.h"

enum front_fsync { FRONT_FSYNC_ALWAYS, FRONT_FSYNC_EVERYSEC, FRONT_FSYNC_NO };
enum front_recovery {
    FRONT_RECOVER_STRICT,        /* damage anywhere but a torn tail refuses to start (default) */
    FRONT_RECOVER_POINT_IN_TIME, /* stop at the first damage, keep the prefix */
    FRONT_RECOVER_SALVAGE,       /* skip what is damaged, keep all that can be read */
};

struct front;
struct front_identity;

struct front_options {
    struct env *env;
    const struct engine_ops *engine;
    const char *dir; /* created (0700) when missing */
    /* A directory that is made gets seed and boot epoch from here: for a copy of that one's data. NULL: its own */
    const struct front_identity *like;
    bool create; /* allow an empty directory to become a data directory */
    enum front_fsync fsync;
    enum front_recovery recovery;
    uint64_t memtable_bytes;      /* 0: 64 MiB; a memtable is sealed when it has this much */
    int memtables_max;            /* 0: 3; active and sealed ones; no more: RES_WOULD_BLOCK from front_reserve */
    uint64_t log_segment_bytes;   /* 0: 64 MiB */
    uint64_t log_ring_bytes;      /* 0: 8 MiB; a power of two */
    uint64_t replay_ns;           /* 0: 200 ms; about so long a restart may replay: memtables are sealed earlier */
    uint64_t reserve_bytes;       /* kept on the file system for deletes once it is full; 0: none */
    struct engine_options tuning; /* cache_bytes, block_bytes, table_bytes ...; env, dir, callbacks are filled in */
    /* Called by whichever thread caused it, with no lock held, never inside front_commit. Must be quick: they post
     * messages. May be NULL. */
    void (*on_gate)(void *arg, uint64_t gate); /* the gate moved */
    void (*on_space)(void *arg);               /* front_reserve may succeed again */
    /* the log failed: the gate is frozen for good */
    void (*on_failure)(void *arg, enum result why, const char *sentence);
    void *arg;
};

/* Opens, locks and recovers; logs progress for long replays. On failure *msg says what is wrong, in which file and at
 * which offset, and what to do. */
enum result front_open(const struct front_options *options, struct front **out, struct errmsg *msg) MUST_CHECK;
/* Writes and syncs all that is visible (unless frozen), stops the threads, frees. The memtable need not be flushed. */
enum result front_close(struct front *f) MUST_CHECK;

/* Fixed when the data directory was made, kept in its identity file. */
struct front_identity {
    uint8_t uuid[16];
    uint64_t seed[2]; /* of the key hash: hash_siphash */
    uint32_t format;  /* version of everything on disk */
    char engine[16];
    uint64_t boot_epoch; /* 1 at the first open, one more at each open: the high part of object ids */
};
const struct front_identity *front_identity(const struct front *f);

/* ---- marks ---- */
uint64_t front_visible(const struct front *f);
uint64_t front_written(const struct front *f);
uint64_t front_durable(const struct front *f);
uint64_t front_gate(const struct front *f);
bool front_frozen(const struct front *f); /* the log failed; reads at the gate go on */
/* Takes effect as EXECUTION's rule 1 says: the gate never goes back. Under the latch. */
void front_set_fsync(struct front *f, enum front_fsync mode);

/* ---- writing ---- */
struct batch_record {
    struct engine_key key;
    struct slice value; /* empty for a tombstone */
    uint8_t kind;       /* enum record_kind */
};
/* Counters kept beside the data: id is a keyspace; index 0 keys, 1 keys with expiry. */
struct batch_counter {
    uint32_t id;
    int64_t keys, expires;
};
struct batch {
    const struct batch_record *records; /* at most one record per key, any order */
    size_t count;
    const struct batch_counter *counters;
    size_t counter_count;
    uint64_t now_ms;            /* the time the command was executed at */
    struct engine_table *table; /* a finished private table to attach, or NULL; records apply above it */
    uint64_t table_number;
};
/* Log bytes of a batch before compression: what front_reserve must be told. */
size_t front_batch_bytes(const struct front *f, const struct batch *b);
/* May the batch be committed now? RES_OK; RES_WOULD_BLOCK: no log space or memtable yet, on_space will tell;
 * RES_NO_SPACE: the file system refuses, and this is more than a delete or the reserve is used up; RES_READ_ONLY: frozen; RES_INVALID: larger than any log record may be (write
 * it as a private table). Never waits. */
enum result front_reserve(struct front *f, const struct batch *b) MUST_CHECK;
/* For a batch that is still to be put together: room for at most so many bytes of keys and values, records, and 8 counters,
 * without a private table. True: front_use_room() cannot fail for it under the same hold of the latch, as long as nothing
 * else is committed before. False: front_reserve() of what there is says why. */
bool front_reserve_room(struct front *f, size_t bytes, size_t records) MUST_CHECK;
/* In the place of front_reserve(). */
void front_use_room(struct front *f, const struct batch *b);
/* Cannot fail after front_reserve said yes for this batch under the same hold of the latch. Returns its sequence. */
uint64_t front_commit(struct front *f, const struct batch *b);
#define FRONT_BATCH_MAX (1024 * 1024) /* above this many bytes: a private table */
/* The same for this front: less where the log's files or its ring are smaller than that. */
size_t front_batch_max(const struct front *f);
/* After the latch is released, once per row of commits: gets the ring on its way to the files. Under everysec and no,
 * writes it here if nobody else is at it; under always wakes the log thread if it sleeps. Any thread. */
void front_kick(struct front *f);
/* Waits until sequence <= gate, or RES_READ_ONLY when frozen below it. Never on a reactor. */
enum result front_wait(struct front *f, uint64_t sequence) MUST_CHECK;
/* The same until it is durable, whatever the mode: syncs the log if need be. */
enum result front_sync(struct front *f, uint64_t sequence) MUST_CHECK;
/* Seals the active memtable, so that it is flushed soon. Under the latch. RES_OK; RES_WOULD_BLOCK: on_space will tell. */
enum result front_seal(struct front *f) MUST_CHECK;
/* The same once there are deletes in it that are half a minute old, for what they delete takes disk space until the engine has them.
 * Also one that is too large since front_set_memtable_bytes(). To be called now and then, about once a second, for there
 * may be no other command to do so. Under the latch. */
enum result front_seal_deletes(struct front *f) MUST_CHECK;
/* Under the latch, every second or so. When little has been written for a while, the log becomes small: what lies ready is
 * given back, and what the log alone has goes to the engine. RES_OK, or RES_WOULD_BLOCK: again soon. */
enum result front_rest(struct front *f) MUST_CHECK;
/* Waits until the engine has all that is sealed, private tables too. Any thread that may wait, without the latch. */
enum result front_wait_flushed(struct front *f) MUST_CHECK;
/* The same for a caller that would rather not wait until a full disk has room (RES_NO_SPACE), and that can be told to give
 * up (RES_CLOSED once *stop, which may be NULL). */
enum result front_await_engine(struct front *f, const atomic_bool *stop) MUST_CHECK;
/* Both, for a caller that is the only one to commit (tests, tools): it waits. */
enum result front_flush(struct front *f) MUST_CHECK;

/* ---- reading ---- */
struct front_view;
/* Inside an epoch section; valid until it ends. Load the view first, then choose the snapshot: front_snapshot, or the
 * connection's floor if that is higher (readers); visible (the latch holder, who loads the view anew after each
 * front_reserve: it may have put a new memtable in place, which an older view does not cover). */
struct front_view *front_view(struct front *f);
/* The gate, but not beyond what the view covers: a view may have been loaded just before the memtable was replaced. */
uint64_t front_snapshot(struct front_view *v);
/* The last sequence the view covers: UINT64_MAX while its memtable is the active one. Whoever takes a snapshot at
 * visible without the latch clips it to this, after loading visible. */
uint64_t front_view_last(struct front_view *v);
/* A counted reference, for what lives longer than an epoch section. */
struct front_view *front_view_ref(struct front *f);
/* The same for a view at hand: borrowed in this epoch section, or counted. */
void front_view_hold(struct front_view *v);
void front_view_unref(struct front_view *v);

/* The newest version at or below the snapshot. The value is borrowed until the epoch section ends. RES_NOT_FOUND,
 * RES_WOULD_BLOCK (flags has ENGINE_NOWAIT, which get always needs inside an epoch section), RES_CORRUPT, RES_IO. */
enum result front_get(struct front_view *v, uint64_t snapshot, const struct engine_key *key, int flags,
                      struct slice *value, struct engine_miss *miss) MUST_CHECK;
/* For a thread that may wait, outside of epoch sections, holding the view: copies the value into malloc'd memory. */
enum result front_get_wait(struct front_view *v, uint64_t snapshot, const struct engine_key *key, uint8_t **value,
                           size_t *len) MUST_CHECK;
/* Brings what gets of these keys will touch from memory into the processor's cache, all keys together: much cheaper than
 * letting each get wait for its own misses. Inside an epoch section; never waits for a disk. */
void front_prefetch(struct front_view *v, const struct engine_key *keys, unsigned n);
/* [lower, upper) at a snapshot; tombstones hidden. The iterator holds a reference on the view; works outside of epoch
 * sections. With ITER_NOWAIT it answers RES_WOULD_BLOCK also where ordering recent writes first would take over 1 ms. */
enum result front_iter(struct front_view *v, uint64_t snapshot, struct slice lower, struct slice upper, int flags,
                       struct iter **out) MUST_CHECK;

/* ---- counters ---- */
struct front_counts {
    int64_t keys, expires;
};
/* As of the newest commit; under the latch. */
struct front_counts front_counts_latched(const struct front *f, uint32_t id);
/* As of a snapshot between the gate and visible (any thread, no latch). */
struct front_counts front_counts_at(struct front *f, uint32_t id, uint64_t snapshot);

/* ---- private tables: see engine.h ---- */
enum result front_table_begin(struct front *f, struct engine_table **out) MUST_CHECK;
enum result front_table_add(struct front *f, struct engine_table *t, struct slice key, uint8_t kind, struct slice value)
    MUST_CHECK;
enum result front_table_finish(struct front *f, struct engine_table *t, uint64_t *number) MUST_CHECK;
void front_table_abort(struct front *f, struct engine_table *t);

/* ---- maintenance ---- */
enum result front_compact(struct front *f) MUST_CHECK; /* front_flush, then compact everything */
/* Only the latter, for a caller beside others; RES_CLOSED once *stop (may be NULL). */
enum result front_compact_engine(struct front *f, const atomic_bool *stop) MUST_CHECK;
/* A data directory of its own, of what was committed by the latest front_seal, by hard links where possible: all of it is
 * there, on disk, when this returns RES_OK, and nothing under that name otherwise. `dir` does not exist; dir.tmp is used
 * meanwhile (and removed first). Any thread that may wait, without the latch; nobody waits for it. RES_RETRY: the engine
 * was between a private table and its batch; seal again. RES_NO_SPACE, RES_CLOSED (*stop; may be NULL) and others.
 * *sequence: the last commit in it. */
enum result front_checkpoint(struct front *f, const char *dir, const atomic_bool *stop, uint64_t *sequence,
                             struct errmsg *msg) MUST_CHECK;
/* Removes such a directory, so that a crash meanwhile leaves nothing that looks whole. */
enum result front_checkpoint_remove(struct env *env, const char *dir) MUST_CHECK;
enum result front_check(struct front *f, struct errmsg *msg) MUST_CHECK;
void front_set_cache_bytes(struct front *f, uint64_t bytes);
/* Any thread; of tables that are written from now on. */
void front_set_compression(struct front *f, const struct engine_compression levels[ENGINE_LEVELS]);
/* Any thread. The active memtable is held to less at once, to more from the next one on. */
void front_set_memtable_bytes(struct front *f, uint64_t bytes);
/* Copies all records and counters into an empty front, opened `like` this one, flushes it and waits until all of it is past
 * its gate; nobody may write to either meanwhile. told(arg, records) is called now and then; RES_INTERRUPTED once it answers
 * false. */
enum result front_copy(struct front *from, struct front *to, bool (*told)(void *arg, uint64_t records), void *arg,
                       struct errmsg *msg) MUST_CHECK;

struct front_stats {
    struct engine_stats engine;
    uint64_t visible, written, durable, gate;
    uint64_t memtable_bytes, memtables, memtable_records, memtable_pruned;
    uint64_t memtable_leaving; /* of memtable_bytes: in memtables larger than are made now; they are being flushed */
    uint64_t log_bytes_written, log_writes, log_syncs, log_groups, log_segments, log_bytes_live, log_ring_bytes;
    uint64_t log_sync_ns_total, log_sync_ns_max;
    uint64_t commits, commit_records, reserve_waits, pace_waits;
    uint64_t recovered_commits, recovered_bytes, recovery_ms, torn_bytes;
    uint64_t views;
    int disk_low; /* the file system is full: only deletes */
    int frozen;
    enum result frozen_why;
};
void front_stats(struct front *f, struct front_stats *out);
/* A sentence why the log is frozen, or "". */
const char *front_failure(const struct front *f);

#endif

/* The engine interface: a sorted map on disk, below the front (src/front), which has log, memtables, sequence numbers
 * and snapshots. An engine therefore holds ONE version per key and knows nothing of sequences, commands, settings or
 * sockets: it absorbs sorted runs, keeps views alive, reads, and reclaims.
 *
 * Keys: at most ENGINE_KEY_MAX bytes, compared bytewise; their first byte is a region. Regions never share a table.
 * Values: any size (the store keeps them near 16 KiB or below).
 *
 * Dead ranges. A PUT in REGION_DEAD tells that keys to which nothing leads any more lie in a range: its key is
 * REGION_DEAD followed by the first dead key, its value the end of the range (exclusive). Readers never consult it.
 * Maintenance drops what lies inside, whole tables by their fences where it can, and forgets the record when nothing
 * older lies in the range. Ids are never reused, so nothing newer ever does.
 *
 * Threads: absorb, attach: one thread at a time (the front's flusher). checkpoint, compact: any thread that may wait, beside
 * everything else. view_acquire and everything on a view: any thread. on_change is called by the engine's own threads
 * without locks held. A view pins files and memory until released. get() is called inside an epoch section
 * (base/epoch.h), and what it returns is borrowed until the section ends. */
#ifndef VARVE_ENGINE_ENGINE_H
#define VARVE_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdint.h>

#include "engine/iter.h"
#include "os/env.h"

#define ENGINE_KEY_MAX 480

enum region {
    REGION_ELEMENT = 'E', /* pieces of objects */
    REGION_DEAD = 'G',    /* dead ranges */
    REGION_META = 'M',    /* one record a key */
    REGION_SYSTEM = 'S',  /* database map and the like */
    REGION_EXPIRY = 'X',  /* expiry index */
};

/* In REGION_ELEMENT, where in a key its object's subspace stands, and the subspace whose records are mostly got by key, and
 * seldom in order (formats.md). Only a hint of how keys are used: what is in no such form is as good. */
#define ELEMENT_SUBSPACE_AT 15
#define ELEMENT_MEMBERS 1

/* The hash of an engine key, computed once per command and used by memtables, filters and caches alike. */
uint64_t engine_hash(struct slice key);

struct engine_key {
    struct slice bytes;
    uint64_t hash; /* engine_hash(bytes) */
};

enum engine_get_flags {
    ENGINE_NOWAIT = 1, /* RES_WOULD_BLOCK instead of waiting for the disk; *miss tells what was missing */
    ENGINE_NO_FILL = 2,
};

/* What a get lacked, and afterwards what fill() brought: pass the same miss to the get that is tried again. Zero it
 * first, miss_fini() at the end. Must not outlive the view; fill() may look at the get's key again. */
struct engine_miss {
    void *table;
    uint64_t block;
    void *held[8]; /* blocks brought, pinned until fini, so that a small cache cannot starve the retry */
    unsigned held_count;
};

struct engine_view;
#define ENGINE_PREFETCH_MAX 32
#define ENGINE_LEVELS 8

/* How tables are compressed. */
enum engine_packing { ENGINE_PACK_NONE, ENGINE_PACK_LZ4, ENGINE_PACK_ZSTD };
struct engine_compression {
    uint8_t kind;  /* enum engine_packing */
    uint8_t level; /* of Zstandard: 1 to ENGINE_ZSTD_MOST */
};
#define ENGINE_ZSTD_LEVEL 3 /* its own default */
#define ENGINE_ZSTD_MOST 19

struct engine_options {
    struct env *env;
    const char *dir;           /* exists; the engine's files live here beside the front's */
    uint64_t cache_bytes;      /* budget for blocks, filters, indexes */
    uint32_t block_bytes;      /* 0: 4096 */
    uint64_t table_bytes;      /* 0: 16 MiB; tests make it tiny */
    uint64_t base_level_bytes; /* 0: 4 * table_bytes... the smallest target size of a level */
    int compaction_threads;    /* 0: 1 */
    int max_open_tables;       /* files open at a time; 0: no limit of its own */
    /* Of level 0, of the base level, into which level 0 is merged, and of those below it one by one; all zero: none. */
    struct engine_compression compression[ENGINE_LEVELS];
    bool create; /* make an empty engine when there is none */
    /* the current view has been replaced (compaction); never called inside absorb/attach */
    void (*on_change)(void *arg);
    /* a compaction found the file system full and will be tried again; may be NULL */
    void (*on_full)(void *arg);
    /* a background write failed: engine is read-only */
    void (*on_failure)(void *arg, enum result why, const char *sentence);
    void *arg;
};

/* What is stored in the same atomic step as a run. */
struct engine_boundary {
    uint64_t sequence;  /* all commits up to here are in the engine afterwards */
    struct slice state; /* opaque to the engine: the front's counters, log number, later the applied index */
};

struct engine_level_stats {
    uint64_t files, bytes, records, tombstones;
    uint64_t data_bytes; /* of keys and values, before they are compressed */
};

/* How a checkpoint is made. */
struct engine_checkpoint {
    /* Told the boundary that the directory would have, before anything is made; anything but RES_OK ends it. Quick: the
     * engine takes no new data meanwhile. NULL: any will do. */
    enum result (*accept)(void *arg, const struct engine_boundary *boundary);
    void *arg;
    const atomic_bool *stop; /* once true it ends with RES_CLOSED; NULL: never */
};

struct engine_stats {
    struct engine_level_stats level[ENGINE_LEVELS];
    int levels;
    uint64_t bytes_on_disk, cache_bytes, cache_capacity, index_bytes, filter_bytes, open_tables;
    uint64_t cache_fixed;  /* of cache_bytes: what cannot be evicted */
    uint64_t mapped_bytes; /* in memory, beside the heap and files' pages */
    uint64_t cache_hits, cache_misses, filter_checked, filter_useful, block_reads, block_read_bytes;
    uint64_t flushes, flush_bytes, compactions, compaction_read_bytes, compaction_write_bytes;
    uint64_t compaction_pending_bytes, compactions_running, dead_ranges,
        dropped_dead_records; /* those that were met: most are skipped unread */
    uint64_t views;           /* alive */
};

struct engine;
struct engine_table; /* a private table: written beside the others, not yet visible */

struct engine_ops {
    const char *name;
    bool persistent; /* false: no log either, nothing survives the process */

    /* boundary: out, state is malloc'd for the caller (data NULL when new). */
    enum result (*open)(const struct engine_options *options, struct engine **out, uint64_t *sequence,
                        struct slice *state, struct errmsg *msg);
    void (*close)(struct engine *e); /* waits for background work to stop at a safe point; views must be released */

    /* Writes the run (sorted, tombstones included, one record a key) and installs it with its boundary durably, or
     * changes nothing. With run NULL only the boundary is stored. */
    enum result (*absorb)(struct engine *e, struct iter *run, const struct engine_boundary *boundary);

    /* Private tables. Records are added in key order by one thread, any number of tables at a time, on any thread;
     * finish syncs them. A finished table can be read (table_get, table_iter) and is known by its number, which goes
     * into the log; attach makes it part of the engine as the newest data, durably, with the boundary; when that fails
     * the table and its file are the handle's as before, and it may be tried again. Tables of a process that died
     * unattached are found by number (table_open) during recovery, or removed by table_sweep. */
    enum result (*table_begin)(struct engine *e, struct engine_table **out);
    enum result (*table_add)(struct engine_table *t, struct slice key, uint8_t kind, struct slice value);
    enum result (*table_finish)(struct engine_table *t, uint64_t *number);
    void (*table_abort)(struct engine_table *t); /* before or after finish, when no log names it; removes the file */
    enum result (*table_open)(struct engine *e, uint64_t number, struct engine_table **out);
    enum result (*table_get)(struct engine_table *t, const struct engine_key *key, int flags, uint8_t *kind,
                             struct slice *value, struct engine_miss *miss);
    enum result (*table_iter)(struct engine_table *t, struct slice lower, struct slice upper, int flags,
                              struct iter **out);
    void (*table_release)(struct engine_table *t); /* the front no longer reads it as such; its file stays */
    enum result (*attach)(struct engine *e, struct engine_table *t, const struct engine_boundary *boundary);
    enum result (*table_sweep)(struct engine *e); /* after recovery: removes unattached tables nobody opened */

    /* Views: the current state, unchanged until released. */
    struct engine_view *(*view_acquire)(struct engine *e);
    void (*view_release)(struct engine_view *v);
    /* RES_OK and *value; RES_NOT_FOUND (absent or tombstone; *kind RECORD_DELETE tells a tombstone was seen). */
    enum result (*get)(struct engine_view *v, const struct engine_key *key, int flags, struct slice *value,
                       struct engine_miss *miss);
    /* Waits for the disk and brings what the miss names. Outside of epoch sections; a view that covers it is held. */
    enum result (*fill)(struct engine *e, struct engine_miss *miss);
    void (*miss_fini)(struct engine *e, struct engine_miss *miss);
    /* Brings what gets of these keys (at most ENGINE_PREFETCH_MAX) will touch from memory into the processor's cache,
     * all of them together: step by step, so that the cache misses of one step overlap. Inside an epoch section; never
     * waits for a disk. May be NULL. */
    void (*prefetch)(struct engine_view *v, const struct engine_key *const *keys, unsigned n);
    enum result (*iter_open)(struct engine_view *v, struct slice lower, struct slice upper, int flags,
                             struct iter **out);

    /* Approximate bytes on disk in [lower, upper). */
    uint64_t (*range_bytes)(struct engine_view *v, struct slice lower, struct slice upper);
    /* Background debt as 0 (none) .. 1000 (writers should be at a crawl): the front paces writers by it. */
    unsigned (*debt)(struct engine *e);
    /* Compacts [lower, upper) down to the bottom; waits. Empty bounds: everything. RES_CLOSED once *stop (may be NULL). */
    enum result (*compact)(struct engine *e, struct slice lower, struct slice upper, const atomic_bool *stop);
    /* Makes the directory, with the present state in it, by hard links where possible, durably but for its own name.
     * What is there after a failure is of no use. */
    enum result (*checkpoint)(struct engine *e, const char *dir, const struct engine_checkpoint *how);
    void (*set_cache_bytes)(struct engine *e, uint64_t bytes);
    /* For tables written from now on. NULL: the engine does not compress. Any thread. */
    void (*set_compression)(struct engine *e, const struct engine_compression levels[ENGINE_LEVELS]);
    void (*stats)(struct engine *e, struct engine_stats *out);
    /* Verifies every checksum and the order of keys of all files in use; the first fault is described. */
    enum result (*check)(struct engine *e, struct errmsg *msg);
};

struct engine {
    const struct engine_ops *ops;
};

extern const struct engine_ops engine_btree;  /* src/engine/btree */
extern const struct engine_ops engine_file;   /* src/engine/file */
extern const struct engine_ops engine_lsm;    /* src/engine/lsm */
extern const struct engine_ops engine_memory; /* src/engine/memory */
/* NULL when there is no engine of that name. */
const struct engine_ops *engine_by_name(const char *name);

#endif

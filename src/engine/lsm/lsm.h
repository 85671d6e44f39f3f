/* The LSM engine, as its own files see it.
 *
 * Files: DIR/CURRENT, DIR/MANIFEST-NNNNNN (manifest.h), DIR/sst/NNNNNN.sst (table.h). All numbers come from one counter
 * and are never used twice.
 *
 * How data moves: absorb() writes a sorted run into tables of level 0 (or deeper, where nothing lies in the way);
 * background threads merge tables down (compact.c). Either ends in an edit, which is made durable in the manifest before
 * the version that it leads to is published (lsm_commit_edit). A file is removed when no version and no handle has its
 * table any more, after the edit that dropped it was durable; never because a directory scan found it, but for
 * leftovers of an earlier process (table_sweep).
 *
 * Threads and locks, in the order they are taken:
 *   sync_lock   one sync of the tables' directory at a time; a leaf, held across the sync
 *   edit_lock   one edit at a time, from reading the current version to publishing its successor; held across writes
 *               and syncs of the manifest
 *   lock        everything in struct lsm marked so; held for short computations
 *   cache->lock
 * Readers take none of them: a view is a counted reference on a version. */
#ifndef VARVE_ENGINE_LSM_LSM_H
#define VARVE_ENGINE_LSM_LSM_H

#include "engine/lsm/manifest.h"
#include "engine/lsm/version.h"
#include "os/thread.h"

#define LSM_THREADS_MAX 64

/* A range of keys at which somebody works: a compaction, or an absorb that chose a level below 0. */
struct lsm_claim {
    struct lsm_claim *next;
    struct slice lower, upper; /* both ends belong to it; borrowed */
    int from_level, to_level;
};

struct lsm {
    struct engine engine;
    struct engine_options options;
    struct env *env;
    char *dir, *sst;
    struct cache *cache;
    uint64_t next_number; /* atomic */
    uint64_t swept_below; /* files with such numbers are an earlier process' */

    struct os_mutex sync_lock;
    enum result sync_failed; /* sync_lock */
    struct os_mutex edit_lock;
    struct manifest manifest; /* edit_lock */
    uint64_t sequence;        /* edit_lock: the boundary */
    struct buf state;         /* edit_lock */
    uint64_t *doubtful;       /* edit_lock: tables of edits of which it is not known whether they count */
    size_t doubtful_count, doubtful_cap;

    struct os_mutex lock;
    struct engine_view *current; /* lock, for changing it and for taking a reference */
    struct lsm_claim *claims;    /* lock */
    struct table_owner owner;
    struct table *gone;    /* lock: tables without references, to be closed */
    uint64_t views;        /* atomic: references given out */
    enum result failed;    /* lock; RES_OK, or why nothing is written any more */
    struct os_cond work;   /* there may be something to do, or stopping */
    struct os_cond done;   /* some work has ended */
    bool stopping;         /* lock; atomic for those who only look */
    bool dead_due;         /* lock: dead ranges are to be looked at */
    bool dead_scanning;    /* lock: somebody does */
    uint64_t dead_scan_at; /* lock: mono_ns before which the next look has time */
    uint64_t rest_from;    /* lock: mono_ns from which on it is likely that nothing comes any more */
    uint64_t busy_until;   /* lock: mono_ns until which work that nobody waits for rests */
    uint64_t retry_at;     /* lock: mono_ns before which no job starts, after the disk was full */
    unsigned debt;         /* atomic: as of the current version */
    int running;           /* lock: threads at work */
    struct os_thread threads[LSM_THREADS_MAX];
    int thread_count;
    uint64_t flushed[256];                       /* the flusher's: number of the region's newest table of new records */
    uint64_t run_bytes;                          /* lock: of the runs absorbed lately, about */
    _Atomic uint16_t compression[ENGINE_LEVELS]; /* kind << 8 | level: see struct engine_options */
    bool wanted[256];            /* the flusher's: of this region, blocks of new records are read soon */
    struct engine_stats counted; /* lock: flushes, compactions ... */
};

/* ---- versions ---- */
struct engine_view *lsm_view_acquire(struct lsm *lsm);
void lsm_view_ref(struct engine_view *v);
void lsm_view_release(struct engine_view *v);
/* Makes the edit durable and publishes the version it leads to. Tables it drops (and does not add again) are obsolete
 * afterwards; tables it adds become the version's. On failure nothing has changed; the files of added tables must then
 * be left alone if e->in_doubt. */
enum result lsm_commit_edit(struct lsm *lsm, struct edit *e) MUST_CHECK;
/* A failure of a background write, or one that leaves the manifest in doubt: the engine is read-only from now on. */
void lsm_fail(struct lsm *lsm, enum result why, const char *what);
enum result lsm_failed(struct lsm *lsm);
/* Appends the whole state of a version as fields of a manifest record. */
enum result lsm_encode_state(struct buf *out, const struct engine_view *v, uint64_t next_number, uint64_t sequence,
                             struct slice state) MUST_CHECK;

/* ---- files ---- */
uint64_t lsm_new_number(struct lsm *lsm);
/* malloc'd path of a table, or NULL. */
char *lsm_table_path(const struct lsm *lsm, uint64_t number);
enum result lsm_create_table(struct lsm *lsm, uint64_t number, bool direct, struct env_file **out) MUST_CHECK;
enum result lsm_open_table(struct lsm *lsm, uint64_t number, uint64_t size, struct table **out, struct errmsg *msg)
    MUST_CHECK;
void lsm_remove_table(struct lsm *lsm, uint64_t number);
/* Makes the names of new tables durable. Once that has failed it fails for ever: what was new then may be lost although a
 * later sync succeeds, and several threads have tables on their way. */
enum result lsm_sync_names(struct lsm *lsm) MUST_CHECK;
/* Closes the tables that nobody holds any more, and removes the obsolete ones' files. May wait for the disk. */
void lsm_bury(struct lsm *lsm);

/* ---- writing several tables, one after the other: output.c ---- */
struct output {
    struct lsm *lsm;
    struct table_writer *writer;
    uint64_t number; /* of the writer's table */
    uint64_t boundary;
    struct engine_compression compression;
    bool flush;             /* of new records */
    bool warm;              /* the blocks go to the cache, whatever else it holds */
    struct table_kept kept; /* of the writer's table */
    struct buf last;        /* key of the tables before it */
    struct table **tables;  /* finished */
    size_t count, cap;
    uint64_t bytes;
    int64_t charged, charged_blocks; /* to the cache, for the memory that all this takes */
};
void output_init(struct output *o, struct lsm *lsm, uint64_t boundary, struct engine_compression compression);
/* What is written are new records: looks whether those of the last time are read, which decides what goes to the cache. */
void output_look(struct output *o);
/* Starts a new table at a border of regions; where else to cut is the caller's business. */
enum result output_add(struct output *o, const struct iter *record) MUST_CHECK;
uint64_t output_table_bytes(const struct output *o); /* of the table at work */
enum result output_cut(struct output *o) MUST_CHECK;
/* Ends the last table and makes all names durable. */
enum result output_finish(struct output *o) MUST_CHECK;
/* Lets go of the tables; with `remove` their files go too. */
void output_fini(struct output *o, bool remove);

/* How tables are to be compressed that go to a level, when level 0 is merged into `base`. */
struct engine_compression lsm_compression(const struct lsm *lsm, int level, int base);

/* ---- the interface's functions by file ---- */
enum result lsm_absorb(struct engine *e, struct iter *run, const struct engine_boundary *boundary);
enum result lsm_table_begin(struct engine *e, struct engine_table **out);
enum result lsm_table_add(struct engine_table *t, struct slice key, uint8_t kind, struct slice value);
enum result lsm_table_finish(struct engine_table *t, uint64_t *number);
void lsm_table_abort(struct engine_table *t);
enum result lsm_table_open(struct engine *e, uint64_t number, struct engine_table **out);
enum result lsm_table_get(struct engine_table *t, const struct engine_key *key, int flags, uint8_t *kind,
                          struct slice *value, struct engine_miss *miss);
enum result lsm_table_iter(struct engine_table *t, struct slice lower, struct slice upper, int flags,
                           struct iter **out);
void lsm_table_release(struct engine_table *t);
enum result lsm_attach(struct engine *e, struct engine_table *t, const struct engine_boundary *boundary);
enum result lsm_table_sweep(struct engine *e);
/* worker.c */
enum result lsm_start_threads(struct lsm *lsm) MUST_CHECK;
void lsm_stop_threads(struct lsm *lsm);
/* Under lsm->lock: from now it is waited again until nothing comes. */
void lsm_data_came(struct lsm *lsm);
unsigned lsm_debt(struct engine *e);
/* The debt of a version that is about to be published. */
unsigned lsm_debt_of(const struct lsm *lsm, const struct engine_view *v);
enum result lsm_compact(struct engine *e, struct slice lower, struct slice upper, const atomic_bool *stop);
/* check.c, checkpoint.c */
enum result lsm_check(struct engine *e, struct errmsg *msg);
enum result lsm_checkpoint(struct engine *e, const char *dir, const struct engine_checkpoint *how);

#endif

/* The engine `btree`: LMDB, a B+tree in one file that is mapped into memory, behind the engine interface.
 *
 * Files: DIR/btree/data.mdb and lock.mdb are LMDB's; DIR/btree/NNNNNN.dat and .hint are private tables that are not yet
 * attached (datafile.h). In the tree's one database:
 *
 *     key                     value
 *     a key of the interface  checksum32 of the interface's value u32, salted with hash_content(key); the value
 *     "\0boundary"            checksum32 of the rest u32; format version u32 = 1; sequence u64; next number u64; the
 *                             front's state
 *
 * No key is longer than ENGINE_KEY_MAX = 480 bytes, and LMDB takes 511, so keys are stored as they are and LMDB's order is
 * theirs; the longest keys of clients have been shortened by the store (docs/formats.md).
 *
 * Writing. A run is one write transaction, boundary included; so is a private table. LMDB syncs the data and then writes
 * one of two meta pages, so a crash leaves the state before or the state after.
 *
 * Reading. A view is a handful of LMDB's read transactions of the same state (an LMDB transaction is one thread's at a
 * time: readers share them by a lock each). What a get returns is a copy, so that the map may move.
 *
 * The map. It has MAP_FIRST of address space, which costs nothing, and is doubled when it is full: between two
 * transactions, with the transactions of all views stopped. Those of the current view begin again and find the same
 * state; older views are cut: they answer RES_INTERRUPTED from then on.
 *
 * Long views. LMDB cannot use again what a view older than the newest might still see, so the file grows. A view is cut
 * as well when it is older than five seconds and the file has grown since by more than the half of it, and 16 *
 * table_bytes at least.
 *
 * Waiting. Reading a page that is not in memory waits inside of LMDB. A thread looks every now and then whether all of the
 * file is in memory; unless it was so, a get that may not wait answers RES_WOULD_BLOCK, and fill() does the get and
 * remembers the record for as long as nothing is written, in one of BTREE_ROWS places. While the file is smaller than
 * cache_bytes it is read ahead. (Between two looks the kernel may drop a page: then a reader that must not wait waits
 * once.)
 *
 * The environment (os/env.h) cannot stand between LMDB and its file. Over any environment but the real one the file is
 * opened for reading only, and what is absorbed or attached stays in that environment, as layers over it: that is how
 * kvctl looks at a directory without changing it.
 *
 * Locks, in their order:
 *   write_lock     a write transaction, growing, cutting
 *   lock           the current view, the list of views, counters
 *   reader->lock   an LMDB read transaction; growing and cutting take them all
 *   map_lock       the map itself: whoever asks LMDB for figures looks at its first pages */
#ifndef VARVE_ENGINE_BTREE_BTREE_H
#define VARVE_ENGINE_BTREE_BTREE_H

#include <lmdb.h>

#include "engine/boundary.h"
#include "engine/failure.h"
#include "engine/private.h"

#define BTREE_READERS 8
#define BTREE_VERSION 1
#define BTREE_LAYERS_MAX 256
#define BTREE_ROWS 8192

/* A record that was read by who may wait, for who may not. */
struct btree_row {
    struct epoch_entry retired;
    uint64_t view; /* its number */
    bool found;
    size_t key_len, value_len;
    uint8_t bytes[]; /* key, value */
};
struct btree_reader {
    struct os_mutex lock;
    MDB_txn *txn; /* NULL once the view was cut */
};
struct engine_view {
    struct btree *b;
    struct engine_view *newer, *older; /* b->lock */
    uint64_t refs;                     /* atomic */
    uint64_t number;                   /* of the state that it shows: the same for no other view */
    uint64_t pages, began_ns;          /* of the file when it began; when that was */
    uint32_t kept;                     /* atomic: by so many checkpoints */
    uint32_t generation;               /* reader->lock: raised when the transactions begin again */
    struct btree_reader readers[BTREE_READERS];
    struct engine_table *layers[BTREE_LAYERS_MAX]; /* newest first; only without writing */
    unsigned layer_count;
};
struct btree {
    struct engine engine;
    struct engine_options options;
    char *dir; /* DIR/btree */
    MDB_env *mdb;
    MDB_dbi dbi;
    bool writes;  /* false: see above */
    uint64_t map; /* write_lock: bytes of the map */

    struct os_mutex write_lock;
    struct kept_boundary kept; /* write_lock */
    uint64_t view_number;      /* write_lock: of the newest view */

    struct os_mutex map_lock;
    struct os_mutex lock;
    struct engine_view *current; /* lock */
    struct engine_table *tables; /* lock: all private tables that are open */
    uint64_t views;              /* atomic: references given out */
    struct engine_failure failure;
    uint64_t flushes, flush_bytes, dropped, ranges; /* lock */
    uint64_t resident;                              /* atomic: is all of the file in memory? */
    uint64_t reads, cold;                           /* atomic: of gets */
    uint64_t turn;                                  /* atomic: which reader comes next */
    struct private_tables private_tables;
    struct btree_row **rows; /* atomic: BTREE_ROWS of them */

    struct os_cond wake; /* lock */
    bool stopping;       /* lock; atomic for those who only look */
    bool dead_due;       /* lock: there may be dead ranges */
    bool started;
    struct os_thread thread;
};

/* A test's: the map begins small, and old views are cut without patience. */
static inline bool btree_tiny(const struct btree *b) { return b->options.table_bytes < 32768; }

/* ---- btree.c ---- */
enum result btree_result(int rc);
/* The same for a write: LMDB calls one that came short of space an input/output error. */
enum result btree_write_result(const struct btree *b, int rc);
/* Inside of a write transaction: one record as the file keeps it. Returns LMDB's code. */
int btree_put(struct btree *b, MDB_txn *txn, struct slice key, struct slice value);
int btree_put_boundary(struct btree *b, MDB_txn *txn, uint64_t sequence, struct slice state);
/* The interface's value in LMDB's; false when the checksum does not hold. */
bool btree_value(struct slice key, const MDB_val *stored, struct slice *value);
/* Runs `body` in a write transaction until it has committed, growing the map when it is full, and publishes the new view.
 * Body returns LMDB's code, or -1 and *r. */
typedef int btree_body(struct btree *b, MDB_txn *txn, void *arg, enum result *r);
enum result btree_write(struct btree *b, btree_body *body, void *arg) MUST_CHECK REQUIRES(b->write_lock);
/* LMDB's figures; any thread. */
void btree_figures(struct btree *b, MDB_stat *stat, MDB_envinfo *info);
/* The bounds of a scan as the file has them: the boundary's key is left out. */
struct slice btree_lower(struct slice lower);

/* ---- views.c ---- */
/* The transactions are begun, or stand still until btree_view_start. */
enum result btree_view_new(struct btree *b, struct engine_view **out) MUST_CHECK;
enum result btree_view_start(struct engine_view *v) MUST_CHECK;
void btree_view_publish(struct btree *b, struct engine_view *v);
struct engine_view *btree_view_acquire(struct engine *e);
void btree_view_ref(struct engine_view *v);
void btree_view_unref(struct engine_view *v);
void btree_view_release(struct engine_view *v);
/* Stops all transactions, cuts the older views, gives the map its new size, starts the current view's again. */
enum result btree_grow(struct btree *b) MUST_CHECK REQUIRES(b->write_lock);
/* Cuts views that hold back too much. */
void btree_cut_long(struct btree *b) REQUIRES(b->write_lock);
enum result btree_get(struct engine_view *v, const struct engine_key *key, int flags, struct slice *value,
                      struct engine_miss *miss);
enum result btree_fill(struct engine *e, struct engine_miss *miss);
void btree_miss_fini(struct engine *e, struct engine_miss *miss);
enum result btree_iter(struct engine_view *v, struct slice lower, struct slice upper, int flags, struct iter **out);
/* A layer over what is only read: from a table that was written in this environment. */
enum result btree_add_layer(struct btree *b, struct engine_table *t) MUST_CHECK REQUIRES(b->write_lock);

/* ---- tend.c: the thread that looks after the file ---- */
enum result btree_start(struct btree *b) MUST_CHECK;
void btree_stop(struct btree *b);
void btree_look(struct btree *b); /* is all of it in memory? */
/* Deletes what lies in dead ranges, in steps; all of it, unless the engine stops. */
enum result btree_drop_dead(struct btree *b, const atomic_bool *stop) MUST_CHECK;

/* ---- checkpoint.c ---- */
enum result btree_checkpoint(struct engine *e, const char *dir, const struct engine_checkpoint *how);

#endif

/* The block cache. Blocks hang off the open table they belong to, in an array of atomic pointers, so that a hit is two
 * loads: no hash, no lock, no reference count. The low bit of a pointer is its CLOCK bit, set by a hit. What this file
 * adds is the budget: everything that tables keep in memory is charged, and when the charge passes the capacity a clock
 * hand walks over the slots of all open tables, clears bits, and evicts what it finds cleared.
 *
 * Threads: lookups take no lock. Whoever inserts past the capacity sweeps, one at a time; a second one does not wait for
 * the first but leaves, because the sweeper looks at the charge again before it goes. cache->lock is a leaf: nothing is
 * called under it but epoch_retire(). */
#ifndef VARVE_ENGINE_LSM_CACHE_H
#define VARVE_ENGINE_LSM_CACHE_H

#include "engine/lsm/block.h"
#include "os/thread.h"

#define CACHE_HOT ((uintptr_t)1)
#define CACHE_SHARDS 16

/* Counters of readers, spread over cache lines; a thread keeps to one, so that counting costs no traffic. */
struct cache_counts {
    uint64_t hits, misses, filter_checked, filter_useful, block_reads, block_read_bytes;
    uint64_t unused[2];
};

struct cache {
    uint64_t capacity, used, resident; /* atomic; resident: the part of used that cannot be evicted */
    uint64_t work, work_most;          /* atomic; beside `used`: see cache_charge_work */
    uint64_t open_files, files_max;    /* atomic; files_max 0: no limit */
    struct os_mutex lock;              /* of what follows */
    struct table **tables;
    size_t count, cap, hand_table, hand_file;
    uint32_t hand_slot;
    struct cache_counts counts[CACHE_SHARDS] __attribute__((aligned(64)));
};

struct cache *cache_new(uint64_t capacity);
void cache_free(struct cache *c); /* all tables are gone */
void cache_set_capacity(struct cache *c, uint64_t bytes);

/* A table is opened or goes: its slots come under the hand or leave it, with the blocks in them. */
enum result cache_add_table(struct cache *c, struct table *t) MUST_CHECK;
void cache_remove_table(struct cache *c, struct table *t);
/* Memory beside blocks that cannot be evicted: filters, indexes. */
void cache_charge(struct cache *c, int64_t bytes);
/* Memory of blocks that are being written and will come. */
void cache_charge_blocks(struct cache *c, int64_t bytes);
/* Memory beside blocks that comes and goes, of who writes and merges tables. Where blocks lie in large regions, so much is
 * left free for it as it ever was: evicting gives blocks back, of which no region becomes empty that soon. */
void cache_charge_work(struct cache *c, int64_t bytes);
/* What it takes of the capacity, together with what lies unused between blocks. */
uint64_t cache_work(const struct cache *c);
/* What is left of the capacity, or 0. */
uint64_t cache_room(const struct cache *c);

/* Hangs the block (one reference, taken over) into its slot. Returns the block to use, with a reference for the
 * caller: another one when somebody was faster, the same one unhung when it is too large for the cache. */
struct block *cache_insert(struct cache *c, struct table *t, struct block *b);

/* The counters of this thread; nearly exact. */
struct cache_counts *cache_counts_here(struct cache *c);
static inline void cache_count(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
void cache_counts_sum(const struct cache *c, struct cache_counts *out);

#endif

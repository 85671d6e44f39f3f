/* A memtable: the newest commits, in memory, several versions per key.
 *
 * A hash table leads from a key to its node, and a node to its versions, newest first, each with the sequence number of
 * its commit. Looking up and overwriting, which is what commands do, therefore never pays for order. Nor does a commit:
 * nodes are only chained up as they come, for each of some groups of regions, and put in order when somebody asks, under
 * a mutex that only readers take. An ordered insert costs more than all the rest of a commit, so this is what keeps the
 * write latch's hold short; and of most elements nobody asks before they are flushed. Order is made in two ways:
 *   - a few new nodes go into a skiplist, one for all groups: so a reader that follows each write pays no more than the
 *     writer would have (not those of REGION_META, all of which are walked through rarely, and then by thousands; nor those
 *     of REGION_EXPIRY, which lie far apart in time, and are read by one thread every few milliseconds: merging them costs
 *     about a fifth of looking for the place of each);
 *   - many become a sorted run, and runs are merged like a binary counter.
 *
 * Memory is one mapping, which begins with the hash table's buckets, is handed out from behind them on and never given
 * back before all of it is: a node or version once seen stays where it is for as long as the memtable is referenced. The
 * mapping of a large one asks for huge pages, and a thread in the background touches them before the writer does
 * (memtable_populate). A small one, of a server that has little memory, takes pages as it needs them and gives them back
 * when it is emptied.
 *
 * Threads: one writer at a time (the latch holder); readers without locks, at any time; memtable_reset and
 * memtable_free when nobody else knows the memtable any more. */
#ifndef VARVE_FRONT_MEMTABLE_H
#define VARVE_FRONT_MEMTABLE_H

#include <stdatomic.h>

#include "engine/engine.h"
#include "os/thread.h"

#define MEMTABLE_MAX_HEIGHT 12
#define MEMTABLE_MAX_RUNS 32
#define MEMTABLE_FREE_LISTS 192
#define MEMTABLE_LARGE ((uint64_t)16 << 20)

struct memtable_node;
struct memtable_run;
struct memtable_garbage;
struct memtable_free;

/* Nodes that are put in order together. Members of collections have a chain of their own, apart from other elements: who
 * goes through scores or positions does not wade through what came to the members by their keys. */
enum { CHAIN_META, CHAIN_MEMBER, CHAIN_ELEMENT, CHAIN_EXPIRY, CHAIN_OTHER, CHAINS };

struct memtable_chain {
    /* The writer's. */
    _Atomic(struct memtable_node *) last; /* newest node; each names the one before it */
    _Atomic uint64_t count;

    /* Written under order_lock. */
    _Atomic(struct memtable_node *) ordered_last; /* it and all before it are in the runs or the skiplist */
    uint64_t ordered_count;
    struct memtable_run *runs[MEMTABLE_MAX_RUNS]; /* longest first */
    _Atomic int run_count;
};

struct memtable {
    /* What readers need for a look-up: written when the memtable is made. */
    _Atomic(uintptr_t) *buckets; /* node address, and in its high 16 bits a filter over the chain */
    uint64_t mask;
    struct memtable_node *skip_head;

    /* The writer's. Readers may look at them for statistics. */
    _Atomic uint64_t used; /* bytes of the mapping handed out, buckets included */
    _Atomic uint64_t records, nodes;
    _Atomic uint64_t deletes; /* tombstones and dead ranges among the records: they free space once they are flushed */
    uint64_t random;
    uint64_t first_sequence;                         /* 0: empty */
    uint64_t settled;                                /* see memtable_insert */
    struct memtable_garbage *garbage, *garbage_last; /* memtable_prune.c */
    struct memtable_free *free[MEMTABLE_FREE_LISTS];
    _Atomic uint64_t pruned;

    /* The order, changed under order_lock, which only who reads in order takes. (clang 14 knows no GUARDED_BY on members
     * in C.) */
    struct os_mutex order_lock;
    struct memtable_chain chains[CHAINS];
    _Atomic int height;              /* of the skiplist */
    struct memtable_node *last_skip; /* of the skiplist, inserted last: its right neighbour may be next */
    struct memtable_node *last_before[MEMTABLE_MAX_HEIGHT]; /* and what stood before it */

    uint8_t *memory;
    uint64_t capacity;      /* bytes of the mapping */
    _Atomic uint64_t limit; /* full from here on; the rest is room for the batch that crosses it */
    uint64_t full_at;       /* the limit it was made with */
    bool large;
    _Atomic uint64_t populated; /* pages below this have been touched; by memtable_populate's caller */
    _Atomic uint64_t refs;
};

/* full_at: bytes after which it counts as full; room: bytes that one batch may need beyond that. NULL: no memory. */
struct memtable *memtable_new(uint64_t full_at, uint64_t room);
void memtable_free(struct memtable *m);
/* Empties it for another life. */
void memtable_reset(struct memtable *m);
/* It is full earlier than it was made for. */
void memtable_lower(struct memtable *m, uint64_t full_at);
/* Touches the next pages that are not yet, one huge page of them, of those up to `ahead` bytes beyond what is used. One
 * thread at a time, which may be another than the writer. False: there are none. */
bool memtable_populate(struct memtable *m, uint64_t ahead);

/* An upper bound of the memory that inserting this record takes. */
static inline uint64_t memtable_need(size_t key_len, size_t value_len)
{
    return 32 + 8 * MEMTABLE_MAX_HEIGHT + 24 + 16 + key_len + value_len;
}
static inline uint64_t memtable_used(const struct memtable *m)
{
    return atomic_load_explicit(&m->used, memory_order_relaxed);
}
static inline bool memtable_full(const struct memtable *m)
{
    return memtable_used(m) >= atomic_load_explicit(&m->limit, memory_order_relaxed);
}
static inline bool memtable_fits(const struct memtable *m, uint64_t need)
{
    return m->capacity - memtable_used(m) >= need;
}
/* So much can be inserted without touching a page for the first time. Small memtables, and what a batch needs that is
 * larger, are left to page faults. */
#define MEMTABLE_POPULATED ((uint64_t)2 << 20)
static inline bool memtable_is_populated(const struct memtable *m, uint64_t need)
{
    return !m->large || need > MEMTABLE_POPULATED ||
           memtable_used(m) + need <= atomic_load_explicit(&m->populated, memory_order_relaxed);
}
static inline bool memtable_empty(const struct memtable *m) { return m->first_sequence == 0; }

/* Writer only. The memory must be there (memtable_fits). Sequences never decrease; a key comes at most once in each.
 * m->settled, kept by the caller: no snapshot that is chosen from now on is below it (0: nothing is known). */
void memtable_insert(struct memtable *m, const struct engine_key *key, uint8_t kind, struct slice value,
                     uint64_t sequence);

/* Writer only: gives back, of old versions, a batch that no reader in an epoch section can see any more. held: no
 * snapshot that somebody keeps beyond his section is below it. False: it was the held ones that forbade it. */
bool memtable_prune(struct memtable *m, uint64_t held);
bool memtable_prune_due(const struct memtable *m); /* is there such a batch? */

/* The newest version at or below the snapshot; false when there is none. A tombstone is found, with its kind. */
bool memtable_get(const struct memtable *m, const struct engine_key *key, uint64_t snapshot, uint8_t *kind,
                  struct slice *value);
/* The three steps of a look-up, each of which needs what the one before has brought: the bucket; the first node of its
 * chain, NULL when the bucket's filter denies the key; the node's newest version. */
void memtable_prefetch(const struct memtable *m, uint64_t hash);
const struct memtable_node *memtable_prefetch_node(const struct memtable *m, uint64_t hash);
void memtable_prefetch_version(const struct memtable_node *n);

/* [lower, upper) at a snapshot, tombstones shown; bounds are copied. The memtable must outlive it. With ITER_NOWAIT:
 * RES_WOULD_BLOCK when much is still unordered. */
enum result memtable_iter(struct memtable *m, uint64_t snapshot, struct slice lower, struct slice upper, int flags,
                          struct iter **out) MUST_CHECK;
/* From now on each step forward is counted there: how far a flush is. */
void memtable_iter_count(struct iter *it, _Atomic uint64_t *steps);
/* Puts all that is in it now into one run: before a flush. */
enum result memtable_order(struct memtable *m) MUST_CHECK;

/* ---- between memtable.c and memtable_order.c ---- */

struct memtable_version {
    uint64_t sequence;
    struct memtable_version *older;
    uint32_t len;
    uint8_t kind;
    uint8_t noted; /* that what it hides can go: memtable_prune.c */
    uint8_t data[];
};

struct memtable_node {
    _Atomic(struct memtable_node *) next; /* in the bucket's chain */
    _Atomic(struct memtable_version *) newest;
    struct memtable_node *before; /* the one of its chain inserted before it */
    uint32_t hash;                /* high half */
    uint16_t key_len;
    uint8_t height;     /* of its tower, which lies below it in memory; 0 in REGION_META */
    uint8_t overwrites; /* since old versions were looked for */
    uint8_t key[];
};

static inline _Atomic(struct memtable_node *) *memtable_link(struct memtable_node *n, int level)
{
    return (_Atomic(struct memtable_node *) *)(void *)n - 1 - level;
}
static inline struct slice memtable_node_key(const struct memtable_node *n) { return slice_of(n->key, n->key_len); }
static inline bool memtable_is_member(struct slice key) /* in REGION_ELEMENT */
{
    return key.len > ELEMENT_SUBSPACE_AT && key.data[ELEMENT_SUBSPACE_AT] == ELEMENT_MEMBERS;
}
static inline const struct memtable_version *memtable_version_at(const struct memtable_node *n, uint64_t snapshot)
{
    const struct memtable_version *v = atomic_load_explicit(&n->newest, memory_order_acquire);
    while (v && v->sequence > snapshot)
        v = v->older;
    return v;
}
/* An entry of a sorted run: a node, and eight bytes of its key behind what all keys of the run have in common, so that
 * most comparisons touch no node. */
struct memtable_entry {
    uint64_t prefix;
    struct memtable_node *node;
};
static inline bool memtable_entry_less(const struct memtable_entry *a, const struct memtable_entry *b)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix;
    return slice_cmp(memtable_node_key(a->node), memtable_node_key(b->node)) < 0;
}
/* The first eight bytes behind the first `skip`, as a number that orders like them. */
uint64_t memtable_key_prefix(struct slice key, size_t skip);
/* How many bytes at their beginning the keys share, up to `most`. */
size_t memtable_key_common(struct slice a, struct slice b, size_t most);
/* memtable_sort.c; the entries' prefixes lie behind `skip` bytes that all keys share; `spare` has room for n as well. */
void memtable_sort(struct memtable_entry *e, size_t n, size_t skip, struct memtable_entry *spare);
void memtable_merge_entries(const struct memtable_entry *a, size_t na, const struct memtable_entry *b, size_t nb,
                            struct memtable_entry *out);
/* Puts a node into the skiplist; under order_lock. */
void memtable_skip_insert(struct memtable *m, struct memtable_node *n);
/* First node of the skiplist with key >= target; with `before`, the last node of each level whose key is below it. */
struct memtable_node *memtable_skip_find(struct memtable *m, struct slice target, struct memtable_node **before);
void memtable_runs_free(struct memtable *m);
/* memtable_prune.c: before a version is put above `newest`; memory of an old version for a new one, or NULL; before
 * another life. */
void memtable_prune_note(struct memtable *m, struct memtable_node *n, struct memtable_version *newest);
void *memtable_prune_take(struct memtable *m, size_t len);
void memtable_prune_forget(struct memtable *m);

#endif

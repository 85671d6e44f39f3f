/* Old versions that nobody can see any more are given back while the memtable is in use, so that a counter that is raised
 * a million times takes the room of a few versions.
 *
 * A version hides all older ones from every snapshot at or above its own sequence. Snapshots are chosen at or above the
 * gate of their time, so once the gate has passed a version, what it hides is seen only by those who were there before:
 *   1. readers inside an epoch section, until it ends: a batch of such versions is retired like any object;
 *   2. holders of a view, until they let go of it: the caller says which snapshots may still be held.
 * A batch that is past both is taken apart by the writer: the versions hidden by each of its versions are cut off and their
 * memory is kept by size for versions to come. Batches end in the order they began in, so what is cut off here is in
 * no later batch.
 *
 * memtable_insert() notes a version that hides something when the next one is put above it: the newest of all whose
 * sequence the gate has passed. To look for it costs a walk over the versions above the gate, many when one key takes
 * all the writes, so a node looks every sixteenth time only. */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/epoch.h"
#include "front/memtable.h"

#define BATCH 256
#define BATCH_BYTES ((uint64_t)128 << 10)
#define LOOK_EVERY 16
#define LOOK_FAR 512
#define SMALL_MOST 1024 /* up to here a list for each size */
#define STEPS 8         /* lists for each power of two above */

enum { WAITING, OVER, ABANDONED };
struct memtable_garbage {
    struct epoch_entry retired;
    struct memtable_garbage *next; /* younger */
    _Atomic int state;
    bool closed;
    uint32_t count;
    uint64_t bytes, sequence; /* of the youngest in it: what snapshots must be at */
    struct memtable_version *hides[BATCH];
};

struct memtable_free {
    struct memtable_free *next;
    uint64_t bytes;
};

static uint64_t version_bytes(size_t len) { return (offsetof(struct memtable_version, data) + len + 7) & ~(uint64_t)7; }

/* The list for memory of exactly, or above SMALL_MOST of at least, the size that the list stands for. */
static size_t list_of(uint64_t bytes)
{
    if (bytes <= SMALL_MOST)
        return bytes / 8;
    unsigned log = 63 - (unsigned)__builtin_clzll(bytes);
    size_t list = SMALL_MOST / 8 + 1 + (log - 10) * STEPS + (bytes >> (log - 3) & (STEPS - 1));
    return list < MEMTABLE_FREE_LISTS ? list : MEMTABLE_FREE_LISTS - 1;
}

void *memtable_prune_take(struct memtable *m, size_t len)
{
    uint64_t bytes = version_bytes(len);
    for (size_t list = list_of(bytes), tries = bytes > SMALL_MOST ? 2 : 1; tries && list < MEMTABLE_FREE_LISTS;
         list++, tries--) {
        struct memtable_free *f = m->free[list];
        if (!f || f->bytes < bytes)
            continue;
        m->free[list] = f->next;
        return f;
    }
    return NULL;
}

static void give(struct memtable *m, struct memtable_version *v)
{
    struct memtable_free *f = (struct memtable_free *)(void *)v;
    uint64_t bytes = version_bytes(v->len);
    size_t list = list_of(bytes);
    f->bytes = bytes;
    f->next = m->free[list];
    m->free[list] = f;
}

static void grace_over(struct epoch_entry *entry)
{
    struct memtable_garbage *g =
        (struct memtable_garbage *)(void *)((char *)entry - offsetof(struct memtable_garbage, retired));
    if (atomic_exchange_explicit(&g->state, OVER, memory_order_acq_rel) == ABANDONED)
        free(g);
}

static void close_batch(struct memtable_garbage *g)
{
    g->closed = true;
    epoch_retire(&g->retired, grace_over);
}

static void note(struct memtable *m, struct memtable_version *v)
{
    struct memtable_garbage *g = m->garbage_last;
    if (!g || g->closed) {
        g = malloc(sizeof(*g));
        if (!g)
            return; /* then it stays */
        g->next = NULL;
        atomic_init(&g->state, WAITING);
        g->closed = false;
        g->count = 0;
        g->bytes = g->sequence = 0;
        if (m->garbage_last)
            m->garbage_last->next = g;
        else
            m->garbage = g;
        m->garbage_last = g;
    }
    v->noted = 1;
    g->hides[g->count++] = v;
    g->bytes += version_bytes(v->older->len);
    if (v->sequence > g->sequence)
        g->sequence = v->sequence;
    if (g->count == BATCH || g->bytes >= BATCH_BYTES)
        close_batch(g);
}

void memtable_prune_note(struct memtable *m, struct memtable_node *n, struct memtable_version *newest)
{
    struct memtable_version *v = newest;
    if (v->sequence > m->settled) {
        if (++n->overwrites % LOOK_EVERY)
            return;
        for (int i = 0; i < LOOK_FAR && v && v->sequence > m->settled; i++)
            v = v->older;
    }
    if (v && v->sequence <= m->settled && v->older && !v->noted)
        note(m, v);
}

bool memtable_prune_due(const struct memtable *m)
{
    const struct memtable_garbage *g = m->garbage;
    return g && g->closed && atomic_load_explicit(&g->state, memory_order_acquire) == OVER;
}

bool memtable_prune(struct memtable *m, uint64_t held)
{
    struct memtable_garbage *g = m->garbage;
    if (!memtable_prune_due(m))
        return true;
    if (g->sequence > held)
        return false;
    uint64_t pruned = 0;
    for (uint32_t i = 0; i < g->count; i++) {
        struct memtable_version *hider = g->hides[i], *v = hider->older;
        hider->older = NULL;
        for (struct memtable_version *older; v; v = older) {
            older = v->older;
            give(m, v);
            pruned++;
        }
    }
    atomic_store_explicit(&m->pruned, atomic_load_explicit(&m->pruned, memory_order_relaxed) + pruned,
                          memory_order_relaxed);
    m->garbage = g->next;
    if (!m->garbage)
        m->garbage_last = NULL;
    free(g);
    return true;
}

void memtable_prune_forget(struct memtable *m)
{
    for (struct memtable_garbage *g = m->garbage, *next; g; g = next) {
        next = g->next;
        if (!g->closed || atomic_exchange_explicit(&g->state, ABANDONED, memory_order_acq_rel) == OVER)
            free(g);
    }
    m->garbage = m->garbage_last = NULL;
    memset(m->free, 0, sizeof(m->free));
    m->settled = 0;
}

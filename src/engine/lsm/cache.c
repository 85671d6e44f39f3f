#include "engine/lsm/cache.h"

#include <stdlib.h>

#include "engine/lsm/table.h"

#define WORK_KEPT_FROM ((uint64_t)64 << 20) /* bytes of capacity */
#define GAPS_SHARE 32                       /* of it so much lies unused in the regions of blocks */

struct cache *cache_new(uint64_t capacity)
{
    struct cache *c = aligned_alloc(64, (sizeof *c + 63) / 64 * 64);
    if (!c)
        return NULL;
    memset(c, 0, sizeof *c);
    c->capacity = capacity;
    (void)block_memory_capacity((int64_t)capacity);
    os_mutex_init(&c->lock);
    return c;
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    (void)block_memory_capacity(-(int64_t)c->capacity);
    block_memory_beside(-(int64_t)c->work_most);
    os_mutex_fini(&c->lock);
    free(c->tables);
    free(c);
}

static void charge(struct cache *c, int64_t bytes) { __atomic_fetch_add(&c->used, (uint64_t)bytes, __ATOMIC_RELAXED); }

static size_t block_charge(const struct block *b) { return block_memory(b->image_len); }

uint64_t cache_work(const struct cache *c)
{
    uint64_t capacity = __atomic_load_n(&c->capacity, __ATOMIC_RELAXED);
    if (capacity < WORK_KEPT_FROM)
        return __atomic_load_n(&c->work, __ATOMIC_RELAXED);
    return __atomic_load_n(&c->work_most, __ATOMIC_RELAXED) + capacity / GAPS_SHARE;
}

static uint64_t in_use(const struct cache *c) { return __atomic_load_n(&c->used, __ATOMIC_RELAXED) + cache_work(c); }

static bool over(const struct cache *c) { return in_use(c) > __atomic_load_n(&c->capacity, __ATOMIC_RELAXED); }

uint64_t cache_room(const struct cache *c)
{
    uint64_t capacity = __atomic_load_n(&c->capacity, __ATOMIC_RELAXED), used = in_use(c);
    return used < capacity ? capacity - used : 0;
}

/* Takes the block out of its slot if it is still cold. */
static void evict(struct cache *c, struct table *t, uint32_t i, uintptr_t seen)
{
    if (!__atomic_compare_exchange_n(&t->slots[i], &seen, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return;
    struct block *b = (struct block *)seen;
    charge(c, -(int64_t)block_charge(b));
    block_unref(b);
}

/* One step of the hand. Returns false when there is no table. */
static bool sweep_slot(struct cache *c, size_t *tables_passed) REQUIRES(c->lock)
{
    if (c->count == 0)
        return false;
    if (c->hand_table >= c->count)
        c->hand_table = 0;
    struct table *t = c->tables[c->hand_table];
    if (c->hand_slot >= t->fences.count) {
        c->hand_table++;
        c->hand_slot = 0;
        ++*tables_passed;
        return true;
    }
    uint32_t i = c->hand_slot++;
    uintptr_t p = __atomic_load_n(&t->slots[i], __ATOMIC_RELAXED);
    if (p & CACHE_HOT)
        __atomic_fetch_and(&t->slots[i], ~CACHE_HOT, __ATOMIC_RELAXED);
    else if (p)
        evict(c, t, i, p);
    return true;
}

/* A reader that comes to add one block sweeps a bounded piece; what stays over is swept by the next ones. */
#define SWEEP_STEPS 8192

static void shrink(struct cache *c, bool whole)
{
    while (over(c)) {
        if (!os_mutex_try(&c->lock))
            return;
        /* Three rounds clear every bit and evict every block; more only when all that is left cannot be evicted. */
        size_t passed = 0, most = 3 * c->count + 3, steps = 0;
        bool more = true;
        while (over(c) && more)
            more = sweep_slot(c, &passed) && passed <= most && (whole || ++steps < SWEEP_STEPS);
        os_mutex_unlock(&c->lock);
        if (!more)
            return;
    }
}

void cache_set_capacity(struct cache *c, uint64_t bytes)
{
    uint64_t before = __atomic_exchange_n(&c->capacity, bytes, __ATOMIC_RELAXED);
    if (before == bytes)
        return;
    if (block_memory_capacity((int64_t)(bytes - before))) {
        __atomic_store_n(&c->capacity, 0, __ATOMIC_RELAXED);
        shrink(c, true);
        __atomic_store_n(&c->capacity, bytes, __ATOMIC_RELAXED);
    }
    shrink(c, true);
}

void cache_charge_blocks(struct cache *c, int64_t bytes)
{
    __atomic_fetch_add(&c->resident, (uint64_t)bytes, __ATOMIC_RELAXED);
    charge(c, bytes);
    if (bytes > 0)
        shrink(c, true);
}

void cache_charge(struct cache *c, int64_t bytes)
{
    block_memory_beside(bytes);
    cache_charge_blocks(c, bytes);
}

void cache_charge_work(struct cache *c, int64_t bytes)
{
    uint64_t now = __atomic_add_fetch(&c->work, (uint64_t)bytes, __ATOMIC_RELAXED);
    uint64_t most = __atomic_load_n(&c->work_most, __ATOMIC_RELAXED);
    while (bytes > 0 && now > most)
        if (__atomic_compare_exchange_n(&c->work_most, &most, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            block_memory_beside((int64_t)(now - most));
            break;
        }
    if (bytes > 0)
        shrink(c, true);
}

enum result cache_add_table(struct cache *c, struct table *t)
{
    enum result r = RES_OK;
    os_mutex_lock(&c->lock);
    if (c->count == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 64;
        struct table **tables = realloc(c->tables, cap * sizeof(struct table *));
        if (tables) {
            c->tables = tables;
            c->cap = cap;
        } else {
            r = RES_NO_MEMORY;
        }
    }
    if (r == RES_OK)
        c->tables[c->count++] = t;
    os_mutex_unlock(&c->lock);
    return r;
}

void cache_remove_table(struct cache *c, struct table *t)
{
    os_mutex_lock(&c->lock);
    size_t i = 0;
    while (i < c->count && c->tables[i] != t)
        i++;
    if (i < c->count)
        c->tables[i] = c->tables[--c->count];
    os_mutex_unlock(&c->lock);
    for (uint32_t s = 0; s < t->fences.count; s++) {
        uintptr_t p = __atomic_exchange_n(&t->slots[s], 0, __ATOMIC_ACQ_REL);
        if (!p)
            continue;
        struct block *b = (struct block *)(p & ~CACHE_HOT);
        charge(c, -(int64_t)block_charge(b));
        block_unref(b);
    }
}

struct block *cache_insert(struct cache *c, struct table *t, struct block *b)
{
    size_t bytes = block_charge(b);
    block_share(b); /* in the slot or not: the caller may borrow it for the rest of an epoch section */
    uint64_t capacity = __atomic_load_n(&c->capacity, __ATOMIC_RELAXED);
    if (bytes > capacity / 8 || __atomic_load_n(&c->resident, __ATOMIC_RELAXED) + cache_work(c) + bytes > capacity)
        return b; /* or the hand would go round for nothing */
    for (;;) {
        uintptr_t seen = 0;
        b->refs = 2; /* the slot's and the caller's; not shared yet */
        if (__atomic_compare_exchange_n(&t->slots[b->index], &seen, (uintptr_t)b, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            break;
        struct block *other = (struct block *)(seen & ~CACHE_HOT);
        if (block_ref(other)) {
            block_memory_give(b, b->image_len); /* nobody has seen it */
            return other;
        }
    }
    charge(c, (int64_t)bytes);
    shrink(c, false);
    return b;
}

struct cache_counts *cache_counts_here(struct cache *c)
{
    static uint32_t next;
    static _Thread_local uint32_t mine;
    if (unlikely(mine == 0))
        mine = 1 + __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % CACHE_SHARDS;
    return &c->counts[mine - 1];
}

void cache_counts_sum(const struct cache *c, struct cache_counts *out)
{
    *out = (struct cache_counts){0};
    for (int i = 0; i < CACHE_SHARDS; i++) {
        const struct cache_counts *s = &c->counts[i];
        out->hits += __atomic_load_n(&s->hits, __ATOMIC_RELAXED);
        out->misses += __atomic_load_n(&s->misses, __ATOMIC_RELAXED);
        out->filter_checked += __atomic_load_n(&s->filter_checked, __ATOMIC_RELAXED);
        out->filter_useful += __atomic_load_n(&s->filter_useful, __ATOMIC_RELAXED);
        out->block_reads += __atomic_load_n(&s->block_reads, __ATOMIC_RELAXED);
        out->block_read_bytes += __atomic_load_n(&s->block_read_bytes, __ATOMIC_RELAXED);
    }
}

/* Counters: see counters.h. */
#include "front/counters.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/epoch.h"
#include "base/hash.h"
#include "os/thread.h"

struct counter_slot {
    _Atomic uint64_t name; /* id + 1; 0: free */
    _Atomic int64_t keys, expires;
};

struct counter_table {
    struct epoch_entry entry;
    uint64_t mask;
    uint64_t used; /* slots, the latch holder's */
    struct counter_slot slots[];
};

static struct counter_delta *note(const struct counters *c, uint64_t i) { return &c->ring[i & (c->ring_size - 1)]; }

static struct counter_table *table_new(uint64_t slots)
{
    struct counter_table *t = calloc(1, sizeof(*t) + slots * sizeof(struct counter_slot));
    if (t)
        t->mask = slots - 1;
    return t;
}

static void table_free(struct epoch_entry *entry) { free((void *)entry); }

/* The slot of the id, or the free one where it would go. */
static struct counter_slot *find(struct counter_table *t, uint32_t id)
{
    for (uint64_t i = hash_mix(id);; i++) {
        struct counter_slot *s = &t->slots[i & t->mask];
        uint64_t name = atomic_load_explicit(&s->name, memory_order_acquire);
        if (name == (uint64_t)id + 1 || name == 0)
            return s;
    }
}

/* The sequence lock without fences: what is stored between two versions is released, and acquired by the reader before
 * it looks at the version again (H.-J. Boehm, "Can seqlocks get along with programming language memory models?"). */
static int64_t get(const _Atomic int64_t *v) { return atomic_load_explicit(v, memory_order_acquire); }
static void set(_Atomic int64_t *v, int64_t to) { atomic_store_explicit(v, to, memory_order_release); }

enum result counters_init(struct counters *c, uint64_t ring_size)
{
    memset(c, 0, sizeof(*c));
    c->ring = calloc(ring_size, sizeof(*c->ring));
    c->ring_size = ring_size;
    struct counter_table *t = table_new(64);
    if (!c->ring || !t) {
        free(c->ring);
        free(t);
        c->ring = NULL;
        return RES_NO_MEMORY;
    }
    atomic_init(&c->table, t);
    return RES_OK;
}

void counters_fini(struct counters *c)
{
    free(c->ring);
    free(atomic_load(&c->table));
}

/* A larger table without the ids whose counts are zero: a value that is not found is zero. */
static enum result grow(struct counters *c, uint64_t more)
{
    struct counter_table *old = atomic_load(&c->table);
    uint64_t live = 0;
    for (uint64_t i = 0; i <= old->mask; i++)
        live += get(&old->slots[i].keys) != 0 || get(&old->slots[i].expires) != 0;
    uint64_t slots = 64;
    while (slots < 4 * (live + more))
        slots *= 2;
    struct counter_table *t = table_new(slots);
    if (!t)
        return RES_NO_MEMORY;
    for (uint64_t i = 0; i <= old->mask; i++) {
        const struct counter_slot *from = &old->slots[i];
        if (get(&from->keys) == 0 && get(&from->expires) == 0)
            continue;
        uint64_t name = atomic_load_explicit(&from->name, memory_order_relaxed);
        struct counter_slot *to = find(t, (uint32_t)(name - 1));
        set(&to->keys, get(&from->keys));
        set(&to->expires, get(&from->expires));
        atomic_store_explicit(&to->name, name, memory_order_relaxed);
        t->used++;
    }
    atomic_store_explicit(&c->table, t, memory_order_release);
    epoch_retire(&old->entry, table_free);
    return RES_OK;
}

enum result counters_reserve(struct counters *c, const struct batch *b, uint64_t gate)
{
    if (b->counter_count == 0)
        return RES_OK;
    struct counter_table *t = atomic_load_explicit(&c->table, memory_order_relaxed);
    if (b->counter_count > COUNTERS_BATCH_MAX)
        return RES_INVALID;
    /* A margin of a whole batch: a reader sees by the head alone whether what it reads may be overwritten. */
    uint64_t last = atomic_load_explicit(&c->head, memory_order_relaxed) + b->counter_count - 1 + COUNTERS_BATCH_MAX;
    if (atomic_load_explicit(&note(c, last)->sequence, memory_order_relaxed) > gate)
        return RES_WOULD_BLOCK;
    if (2 * (t->used + b->counter_count) > t->mask + 1) /* as if all were new */
        return grow(c, b->counter_count);
    return RES_OK;
}

static void begin_change(struct counters *c)
{
    atomic_store_explicit(&c->version, atomic_load_explicit(&c->version, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void end_change(struct counters *c)
{
    atomic_store_explicit(&c->version, atomic_load_explicit(&c->version, memory_order_relaxed) + 1,
                          memory_order_release);
}

void counters_apply(struct counters *c, const struct batch_counter *changes, size_t n, uint64_t sequence)
{
    if (n == 0)
        return;
    struct counter_table *t = atomic_load_explicit(&c->table, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&c->head, memory_order_relaxed);
    begin_change(c);
    for (size_t i = 0; i < n; i++) {
        struct counter_delta *d = note(c, head + i);
        atomic_store_explicit(&d->sequence, sequence, memory_order_release);
        atomic_store_explicit(&d->id, changes[i].id, memory_order_release);
        set(&d->keys, changes[i].keys);
        set(&d->expires, changes[i].expires);
        struct counter_slot *s = find(t, changes[i].id);
        set(&s->keys, get(&s->keys) + changes[i].keys);
        set(&s->expires, get(&s->expires) + changes[i].expires);
        if (atomic_load_explicit(&s->name, memory_order_relaxed) == 0) {
            t->used++;
            atomic_store_explicit(&s->name, (uint64_t)changes[i].id + 1, memory_order_release);
        }
    }
    atomic_store_explicit(&c->head, head + n, memory_order_release);
    end_change(c);
}

struct front_counts counters_latched(const struct counters *c, uint32_t id)
{
    const struct counter_slot *s = find(atomic_load_explicit(&c->table, memory_order_relaxed), id);
    return (struct front_counts){get(&s->keys), get(&s->expires)};
}

/* Value and ring head of one moment. */
static struct front_counts read_stable(struct counters *c, uint32_t id, uint64_t *head)
{
    for (;;) {
        uint32_t before = atomic_load_explicit(&c->version, memory_order_acquire);
        struct counter_table *t = atomic_load_explicit(&c->table, memory_order_acquire);
        const struct counter_slot *s = find(t, id);
        struct front_counts v = {get(&s->keys), get(&s->expires)};
        if (atomic_load_explicit(&s->name, memory_order_acquire) != (uint64_t)id + 1)
            v = (struct front_counts){0, 0};
        *head = atomic_load_explicit(&c->head, memory_order_acquire);
        if (!(before & 1) && atomic_load_explicit(&c->version, memory_order_relaxed) == before)
            return v;
        os_pause();
    }
}

struct front_counts counters_at(struct counters *c, uint32_t id, uint64_t snapshot)
{
    for (int attempt = 0;; attempt++) {
        uint64_t head;
        epoch_enter();
        struct front_counts v = read_stable(c, id, &head);
        epoch_leave();
        uint64_t at = head, oldest = head > c->ring_size ? head - c->ring_size : 0;
        for (; at > oldest; at--) {
            const struct counter_delta *d = note(c, at - 1);
            if (atomic_load_explicit(&d->sequence, memory_order_acquire) <= snapshot)
                break;
            if (atomic_load_explicit(&d->id, memory_order_acquire) != id)
                continue;
            v.keys -= get(&d->keys);
            v.expires -= get(&d->expires);
        }
        /* Overwritten while it was read: once more. That the snapshot itself has fallen behind the ring takes a reader
         * that slept for thousands of commits; it gets the oldest value there is. */
        uint64_t now = atomic_load_explicit(&c->head, memory_order_relaxed);
        if (now + COUNTERS_BATCH_MAX - at <= c->ring_size || attempt == 8)
            return v;
    }
}

/* ---- as bytes ---- */

enum { SLOT_BYTES = 20 };

size_t counters_bytes(const struct counters *c)
{
    return 4 + SLOT_BYTES * (atomic_load_explicit(&c->table, memory_order_relaxed)->used + 16);
}

size_t counters_put(const struct counters *c, uint8_t *out)
{
    const struct counter_table *t = atomic_load_explicit(&c->table, memory_order_relaxed);
    uint32_t n = 0;
    for (uint64_t i = 0; i <= t->mask; i++) {
        const struct counter_slot *s = &t->slots[i];
        if (get(&s->keys) == 0 && get(&s->expires) == 0)
            continue;
        uint8_t *p = out + 4 + (size_t)SLOT_BYTES * n++;
        put_le32(p, (uint32_t)(atomic_load_explicit(&s->name, memory_order_relaxed) - 1));
        put_le64(p + 4, (uint64_t)get(&s->keys));
        put_le64(p + 12, (uint64_t)get(&s->expires));
    }
    put_le32(out, n);
    return 4 + (size_t)SLOT_BYTES * n;
}

enum result counters_load(struct counters *c, struct slice bytes)
{
    if (bytes.len < 4 || bytes.len != 4 + (uint64_t)SLOT_BYTES * get_le32(bytes.data))
        return RES_CORRUPT;
    for (uint32_t i = 0; i < get_le32(bytes.data); i++) {
        const uint8_t *p = bytes.data + 4 + (size_t)SLOT_BYTES * i;
        struct batch_counter change = {get_le32(p), (int64_t)get_le64(p + 4), (int64_t)get_le64(p + 12)};
        struct batch b = {.counters = &change, .counter_count = 1};
        enum result res = counters_reserve(c, &b, UINT64_MAX);
        if (res != RES_OK)
            return res;
        counters_apply(c, &change, 1, 0);
    }
    return RES_OK;
}

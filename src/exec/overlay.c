/* Own writes of one run: see overlay.h. */
#include "exec/overlay.h"

#include <assert.h>
#include <stdlib.h>

/* A run that wrote more than this gives its arrays back, so that one big command does not keep memory in every worker. */
#define KEEP_RECORDS 4096

void overlay_init(struct overlay *o) { memset(o, 0, sizeof *o); }

void overlay_fini(struct overlay *o)
{
    free(o->records);
    free(o->slots);
    free(o->counters);
    free(o->signals);
    free(o->old);
    overlay_init(o);
}

void overlay_reset(struct overlay *o)
{
    if (unlikely(o->cap > KEEP_RECORDS || o->signal_cap > KEEP_RECORDS || o->counter_cap > KEEP_RECORDS ||
                 o->old_cap > KEEP_RECORDS)) {
        overlay_fini(o);
        return;
    }
    if (unlikely(o->count > OVERLAY_LINEAR))
        memset(o->slots, 0, o->slot_cap * sizeof *o->slots);
    o->count = o->counter_count = o->signal_count = o->old_count = o->marked = 0;
    o->dbs = false;
    o->bytes = 0;
}

/* Room for one more element in an array of the run; counts stay far below 2^31. */
static enum result grow(void **array, uint32_t *cap, uint32_t count, size_t size)
{
    if (likely(count < *cap))
        return RES_OK;
    uint32_t want = *cap ? *cap * 2 : 16;
    if (want > UINT32_MAX / 4)
        return RES_NO_MEMORY;
    void *p = realloc(*array, want * size);
    if (!p)
        return RES_NO_MEMORY;
    *array = p;
    *cap = want;
    return RES_OK;
}

static bool same_key(const struct batch_record *r, const struct engine_key *key)
{
    return r->key.hash == key->hash && slice_eq(r->key.bytes, key->bytes);
}

struct batch_record *overlay_find_slow(const struct overlay *o, const struct engine_key *key)
{
    if (o->count <= OVERLAY_LINEAR) {
        for (uint32_t i = 0; i < o->count; i++)
            if (same_key(&o->records[i], key))
                return &o->records[i];
        return NULL;
    }
    uint32_t mask = o->slot_cap - 1;
    for (uint32_t at = (uint32_t)key->hash & mask;; at = (at + 1) & mask) {
        if (!o->slots[at])
            return NULL;
        struct batch_record *r = &o->records[o->slots[at] - 1];
        if (same_key(r, key))
            return r;
    }
}

static void slot_put(struct overlay *o, uint32_t index)
{
    uint32_t mask = o->slot_cap - 1;
    uint32_t at = (uint32_t)o->records[index].key.hash & mask;
    while (o->slots[at])
        at = (at + 1) & mask;
    o->slots[at] = index + 1;
}

static void slots_fill(struct overlay *o)
{
    memset(o->slots, 0, o->slot_cap * sizeof *o->slots);
    for (uint32_t i = 0; i < o->count; i++)
        slot_put(o, i);
}

/* The table is at most half full. */
static enum result slots_reserve(struct overlay *o, uint32_t records)
{
    if (records * 2 <= o->slot_cap)
        return RES_OK;
    uint32_t cap = 64;
    while (cap < records * 2)
        cap *= 2;
    uint32_t *p = calloc(cap, sizeof *p);
    if (!p)
        return RES_NO_MEMORY;
    free(o->slots);
    o->slots = p;
    o->slot_cap = cap;
    for (uint32_t i = 0; o->count > OVERLAY_LINEAR && i < o->count; i++)
        slot_put(o, i);
    return RES_OK;
}

enum result overlay_add(struct overlay *o, const struct engine_key *key, struct slice value, uint8_t kind)
{
    enum result r = grow((void **)&o->records, &o->cap, o->count, sizeof *o->records);
    if (r != RES_OK)
        return r;
    if (unlikely(o->count >= OVERLAY_LINEAR) && (r = slots_reserve(o, o->count + 1)) != RES_OK)
        return r;
    o->records[o->count] = (struct batch_record){.key = *key, .value = value, .kind = kind};
    o->bytes += key->bytes.len + value.len;
    o->count++;
    if (unlikely(o->count == OVERLAY_LINEAR + 1))
        slots_fill(o);
    else if (unlikely(o->count > OVERLAY_LINEAR))
        slot_put(o, o->count - 1);
    return RES_OK;
}

/* A record as it was before. */
struct overlay_old {
    uint32_t index;
    uint8_t kind;
    struct slice value;
};

enum result overlay_replace(struct overlay *o, struct batch_record *r, struct slice value, uint8_t kind)
{
    uint32_t index = (uint32_t)(r - o->records);
    if (unlikely(index < o->marked)) {
        enum result res = grow((void **)&o->old, &o->old_cap, o->old_count, sizeof *o->old);
        if (res != RES_OK)
            return res;
        o->old[o->old_count++] = (struct overlay_old){index, r->kind, r->value};
    }
    o->bytes += value.len;
    o->bytes -= r->value.len;
    r->value = value;
    r->kind = kind;
    return RES_OK;
}

void overlay_mark(struct overlay *o, struct overlay_mark *m)
{
    assert(!o->dbs && o->counter_count <= OVERLAY_MARKED_COUNTERS);
    o->marked = o->count;
    o->old_count = 0;
    m->count = o->count;
    m->counter_count = o->counter_count;
    m->signal_count = o->signal_count;
    m->bytes = o->bytes;
    if (o->counter_count)
        memcpy(m->counters, o->counters, o->counter_count * sizeof *m->counters);
}

/* Slots are left in the opposite order of their being taken, so that no other's way leads over them. */
static void slot_leave(struct overlay *o, uint32_t index)
{
    uint32_t mask = o->slot_cap - 1, at = (uint32_t)o->records[index].key.hash & mask;
    while (o->slots[at] != index + 1)
        at = (at + 1) & mask;
    o->slots[at] = 0;
}

void overlay_undo(struct overlay *o, const struct overlay_mark *m)
{
    while (o->count > m->count) {
        if (o->count > OVERLAY_LINEAR)
            slot_leave(o, o->count - 1);
        o->count--;
    }
    while (o->old_count) {
        const struct overlay_old *was = &o->old[--o->old_count];
        o->records[was->index].value = was->value;
        o->records[was->index].kind = was->kind;
    }
    o->signal_count = m->signal_count;
    o->counter_count = m->counter_count;
    if (m->counter_count)
        memcpy(o->counters, m->counters, m->counter_count * sizeof *m->counters);
    o->bytes = m->bytes;
    o->dbs = false;
}

enum result overlay_count(struct overlay *o, uint32_t keyspace, int64_t keys, int64_t expires)
{
    for (uint32_t i = 0; i < o->counter_count; i++)
        if (o->counters[i].id == keyspace) {
            o->counters[i].keys += keys;
            o->counters[i].expires += expires;
            return RES_OK;
        }
    enum result r = grow((void **)&o->counters, &o->counter_cap, o->counter_count, sizeof *o->counters);
    if (r == RES_OK)
        o->counters[o->counter_count++] = (struct batch_counter){.id = keyspace, .keys = keys, .expires = expires};
    return r;
}

enum result overlay_signal(struct overlay *o, const struct overlay_signal *signal)
{
    enum result r = grow((void **)&o->signals, &o->signal_cap, o->signal_count, sizeof *o->signals);
    if (r == RES_OK)
        o->signals[o->signal_count++] = *signal;
    return r;
}

static int compare_iter_records(const void *a, const void *b)
{
    return slice_cmp(((const struct iter_record *)a)->key, ((const struct iter_record *)b)->key);
}

static bool inside(struct slice key, struct slice lower, struct slice upper)
{
    return slice_cmp(key, lower) >= 0 && (upper.len == 0 || slice_cmp(key, upper) < 0);
}

enum result overlay_iter(const struct overlay *o, struct arena *arena, struct slice lower, struct slice upper,
                         struct iter **out)
{
    *out = NULL;
    size_t n = 0;
    for (uint32_t i = 0; i < o->count; i++)
        n += inside(o->records[i].key.bytes, lower, upper);
    struct iter_record *sorted = arena_alloc(arena, (n ? n : 1) * sizeof *sorted);
    if (!sorted)
        return RES_NO_MEMORY;
    n = 0;
    for (uint32_t i = 0; i < o->count; i++) {
        const struct batch_record *r = &o->records[i];
        if (inside(r->key.bytes, lower, upper))
            sorted[n++] = (struct iter_record){.key = r->key.bytes, .value = r->value, .kind = r->kind};
    }
    qsort(sorted, n, sizeof *sorted, compare_iter_records);
    return iter_over_array(sorted, n, lower, upper, out);
}

static bool in_region(const struct batch_record *r, uint8_t region)
{
    return region == 0 || r->key.bytes.data[0] == region;
}

static int compare_split(const void *a, const void *b, void *region)
{
    const struct batch_record *x = a, *y = b;
    int side = in_region(x, *(uint8_t *)region) - in_region(y, *(uint8_t *)region);
    return side ? side : slice_cmp(x->key.bytes, y->key.bytes);
}

uint32_t overlay_split(struct overlay *o, uint8_t region)
{
    qsort_r(o->records, o->count, sizeof *o->records, compare_split, &region);
    uint32_t n = 0;
    while (n < o->count && !in_region(&o->records[n], region))
        n++;
    return n;
}

void overlay_batch(const struct overlay *o, uint64_t now_ms, struct batch *b)
{
    *b = (struct batch){
        .records = o->records,
        .count = o->count,
        .counters = o->counters,
        .counter_count = o->counter_count,
        .now_ms = now_ms,
    };
}

/* Opening tables and reading single records. */
#include "engine/lsm/table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"

/* ---- opening ---- */

struct footer {
    uint64_t filter_at, index_at, properties_at, end;
    uint32_t blocks, tail_sum;
};

static enum result read_all(struct env_file *file, void *to, size_t len, uint64_t offset)
{
    size_t got;
    enum result r = file->ops->pread(file, to, len, offset, 0, &got);
    if (r != RES_OK)
        return r;
    return got == len ? RES_OK : RES_CORRUPT;
}

static enum result read_footer(struct env_file *file, const char *path, uint64_t number, uint64_t size,
                               struct footer *out, struct errmsg *msg)
{
    uint8_t b[TABLE_FOOTER];

    if (size < TABLE_FOOTER)
        return errmsg_set(msg, RES_CORRUPT, "%s: %" PRIu64 " bytes are no table", path, size);
    enum result r = read_all(file, b, sizeof b, size - TABLE_FOOTER);
    if (r != RES_OK)
        return errmsg_set(msg, r, "%s: cannot read the footer: %s", path, result_text(r));
    if (memcmp(b, "VARVESST", 8) != 0)
        return errmsg_set(msg, RES_CORRUPT, "%s: no table footer at offset %" PRIu64, path, size - TABLE_FOOTER);
    if (get_le32(b + 8) < 1 || get_le32(b + 8) > TABLE_VERSION)
        return errmsg_set(msg, RES_UNSUPPORTED,
                          "%s: table format version %" PRIu32 ", this program reads up to version %d", path,
                          get_le32(b + 8), TABLE_VERSION);
    if (!checksum32_holds(get_le32(b + 60), b, 60, table_salt(number, size - TABLE_FOOTER)))
        return errmsg_set(msg, RES_CORRUPT, "%s: checksum of the footer at offset %" PRIu64 " does not hold", path,
                          size - TABLE_FOOTER);
    *out = (struct footer){
        .blocks = get_le32(b + 12),
        .filter_at = get_le64(b + 24),
        .index_at = get_le64(b + 32),
        .properties_at = get_le64(b + 40),
        .tail_sum = get_le32(b + 56),
        .end = size - TABLE_FOOTER,
    };
    if (get_le64(b + 16) != number || get_le64(b + 48) != 0 || out->blocks == 0 || out->filter_at % BLOCK_UNIT ||
        out->filter_at > out->index_at || out->index_at > out->properties_at || out->properties_at > out->end ||
        (out->index_at - out->filter_at) % FILTER_LINE || out->blocks > (out->properties_at - out->index_at) / 2)
        return errmsg_set(msg, RES_CORRUPT, "%s: the footer at offset %" PRIu64 " makes no sense", path, out->end);
    return RES_OK;
}

static bool take_number(struct slice bytes, uint64_t *out) { return take_varint(&bytes, out) && bytes.len == 0; }

static bool parse_properties(struct slice in, struct table_meta *m)
{
    while (in.len) {
        uint64_t tag, len, region;
        struct slice bytes;
        bool good = true;
        if (!take_varint(&in, &tag) || !take_varint(&in, &len) || len > in.len || !take_bytes(&in, (size_t)len, &bytes))
            return false;
        switch (tag) {
        case TABLE_PROP_REGION:
            good = take_number(bytes, &region) && region <= UINT8_MAX;
            m->region = (uint8_t)region;
            break;
        case TABLE_PROP_RECORDS:
            good = take_number(bytes, &m->records);
            break;
        case TABLE_PROP_TOMBSTONES:
            good = take_number(bytes, &m->tombstones);
            break;
        case TABLE_PROP_BOUNDARY:
            good = take_number(bytes, &m->boundary);
            break;
        case TABLE_PROP_KEY_BYTES:
            good = take_number(bytes, &m->key_bytes);
            break;
        case TABLE_PROP_VALUE_BYTES:
            good = take_number(bytes, &m->value_bytes);
            break;
        case TABLE_PROP_PACKING:
            good = take_number(bytes, &m->packing);
            break;
        case TABLE_PROP_FIRST:
            m->first = bytes;
            break;
        case TABLE_PROP_LAST:
            m->last = bytes;
            break;
        case TABLE_PROP_DEAD_END:
            m->dead_end = bytes;
            break;
        default:
            break;
        }
        if (!good)
            return false;
    }
    return m->first.len && m->first.len <= ENGINE_KEY_MAX && m->last.len && m->last.len <= ENGINE_KEY_MAX &&
           slice_cmp(m->first, m->last) <= 0 && m->records && m->tombstones <= m->records &&
           (m->region == 0 || (m->first.data[0] == m->region && m->last.data[0] == m->region));
}

/* Fills t->starts and t->fences from the encoded index. */
static enum result parse_index(struct table *t, struct slice in, uint32_t blocks, uint64_t data_end)
{
    enum result r = RES_CORRUPT;
    struct slice *keys = calloc(blocks, sizeof *keys);
    uint64_t at = 0;

    t->starts = malloc(((size_t)blocks + 1) * sizeof *t->starts);
    if (!keys || !t->starts) {
        r = RES_NO_MEMORY;
        goto out;
    }
    for (uint32_t i = 0; i < blocks; i++) {
        uint64_t units, len;
        t->starts[i] = (uint32_t)at;
        if (!take_varint(&in, &units) || units == 0 || units > data_end / BLOCK_UNIT - at || !take_varint(&in, &len) ||
            len == 0 || len > ENGINE_KEY_MAX || !take_bytes(&in, (size_t)len, &keys[i]) ||
            (i && slice_cmp(keys[i - 1], keys[i]) >= 0))
            goto out;
        at += units;
    }
    t->starts[blocks] = (uint32_t)at;
    if (in.len || at * BLOCK_UNIT != data_end || at > UINT32_MAX || !slice_eq(keys[0], t->meta.first))
        goto out;
    r = fences_init(&t->fences, keys, blocks);
out:
    free(keys);
    return r;
}

static enum result load_tail(struct table *t, struct env_file *file, const char *path, uint64_t size,
                             struct errmsg *msg)
{
    struct footer f = {0};
    enum result r = read_footer(file, path, t->meta.number, size, &f, msg);
    if (r != RES_OK)
        return r;
    size_t tail = (size_t)(f.end - f.filter_at), filter = (size_t)(f.index_at - f.filter_at);
    size_t index_len = (size_t)(f.properties_at - f.index_at), kept = tail - index_len;
    uint8_t *all = malloc(tail + 1);
    t->tail = aligned_alloc(FILTER_LINE, (kept + FILTER_LINE) / FILTER_LINE * FILTER_LINE);
    if (!all || !t->tail) {
        r = errmsg_set(msg, RES_NO_MEMORY, "%s: no memory for an index of %zu bytes", path, tail);
        goto out;
    }
    if ((r = read_all(file, all, tail, f.filter_at)) != RES_OK) {
        r = errmsg_set(msg, r, "%s: cannot read the index at offset %" PRIu64 ": %s", path, f.filter_at,
                       result_text(r));
        goto out;
    }
    if (!checksum32_holds(f.tail_sum, all, tail, table_salt(t->meta.number, f.filter_at))) {
        r = errmsg_set(msg, RES_CORRUPT, "%s: checksum of the index at offset %" PRIu64 " does not hold", path,
                       f.filter_at);
        goto out;
    }
    memcpy(t->tail, all, filter);
    memcpy(t->tail + filter, all + filter + index_len, kept - filter);
    if (!parse_properties(slice_of(t->tail + filter, kept - filter), &t->meta)) {
        r = errmsg_set(msg, RES_CORRUPT, "%s: the properties at offset %" PRIu64 " make no sense", path,
                       f.properties_at);
        goto out;
    }
    if ((r = parse_index(t, slice_of(all + filter, index_len), f.blocks, f.filter_at)) != RES_OK) {
        r = errmsg_set(msg, r, "%s: the index at offset %" PRIu64 ": %s", path, f.index_at, result_text(r));
        goto out;
    }
    if (filter)
        t->filter = (struct filter){t->tail, (uint32_t)(filter / FILTER_LINE)};
    t->resident = sizeof *t + kept + t->fences.memory + (size_t)f.blocks * (sizeof *t->slots + sizeof *t->starts);
out:
    free(all);
    return r;
}

static void table_free(struct table *t)
{
    fences_fini(&t->fences);
    free(t->slots);
    free(t->starts);
    free(t->tail);
    free(t);
}

enum result table_open(struct env_file *file, const char *path, uint64_t number, uint64_t size, struct cache *cache,
                       struct table_owner *owner, struct table **out, struct errmsg *msg)
{
    uint64_t have;
    struct table *t = calloc(1, sizeof *t);
    enum result r = RES_NO_MEMORY;

    *out = NULL;
    if (!t)
        goto fail;
    t->cache = cache;
    t->owner = owner;
    t->refs = 1;
    t->meta.number = number;
    if ((r = file->ops->size(file, &have)) != RES_OK) {
        (void)errmsg_set(msg, r, "%s: cannot tell its size: %s", path, result_text(r));
        goto fail;
    }
    if (size && have != size) {
        r = errmsg_set(msg, RES_CORRUPT, "%s: has %" PRIu64 " bytes instead of %" PRIu64, path, have, size);
        goto fail;
    }
    t->meta.size = have;
    if ((r = load_tail(t, file, path, have, msg)) != RES_OK)
        goto fail;
    t->slots = calloc(t->fences.count, sizeof *t->slots);
    r = t->slots ? cache_add_table(cache, t) : RES_NO_MEMORY;
    if (r != RES_OK)
        goto fail;
    cache_charge(cache, (int64_t)t->resident);
    if ((r = table_file_set(t, file)) != RES_OK) {
        cache_remove_table(cache, t);
        cache_charge(cache, -(int64_t)t->resident);
        file = NULL;
        goto fail;
    }
    *out = t;
    return RES_OK;
fail:
    if (r == RES_NO_MEMORY)
        (void)errmsg_set(msg, r, "%s: no memory to open it", path);
    if (file)
        (void)file->ops->close(file); /* only read */
    if (t)
        table_free(t);
    return r;
}

void table_ref(struct table *t) { __atomic_fetch_add(&t->refs, 1, __ATOMIC_RELAXED); }

void table_unref(struct table *t)
{
    if (t && __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) == 0)
        t->owner->gone(t->owner, t);
}

static void table_retired(struct epoch_entry *e)
{
    table_free((struct table *)((char *)e - offsetof(struct table, retire)));
}

void table_close(struct table *t)
{
    cache_remove_table(t->cache, t);
    cache_charge(t->cache, -(int64_t)t->resident);
    table_file_drop(t);
    epoch_retire(&t->retire, table_retired);
}

/* ---- blocks ---- */

/* A first bad read may be the device's or the kernel's passing mistake: what a second one gives counts. */
enum result table_read_block(struct table *t, uint32_t i, int env_flags, struct block **out)
{
    uint64_t at = table_block_offset(t, i);
    size_t span = table_block_span(t, i), got;
    uint8_t small[8192], *p = span <= sizeof small ? small : malloc(span);
    struct table_file *f = NULL;

    *out = NULL;
    if (!p)
        return RES_NO_MEMORY;
    enum result r = RES_WOULD_BLOCK;
    if (env_flags & ENV_NOWAIT && !block_memory_at_hand((uint32_t)span))
        goto out;
    r = table_file_acquire(t, !(env_flags & ENV_NOWAIT), &f);
    if (r != RES_OK)
        goto out;
    r = RES_CORRUPT;
    for (int attempt = 0; attempt < 2 && (r == RES_CORRUPT || r == RES_IO); attempt++) {
        r = f->file->ops->pread(f->file, p, span, at, env_flags, &got);
        if (r == RES_OK)
            r = got == span ? block_decode(p, span, table_salt(t->meta.number, at), out) : RES_CORRUPT;
    }
    table_file_release(f);
out:
    if (p != small)
        free(p);
    if (r == RES_OK) {
        struct cache_counts *counts = cache_counts_here(t->cache);
        cache_count(&counts->block_reads, 1);
        cache_count(&counts->block_read_bytes, span);
        (*out)->table = t;
        (*out)->index = i;
    } else if (r == RES_CORRUPT || r == RES_IO) {
        log_warning("table %06" PRIu64 ": block at offset %" PRIu64 " (%zu bytes): %s", t->meta.number, at, span,
                    result_text(r));
    }
    return r;
}

static struct block *cached(struct table *t, uint32_t i, bool touch)
{
    uintptr_t p = __atomic_load_n(&t->slots[i], __ATOMIC_ACQUIRE), same = p;
    if (!p)
        return NULL;
    if (touch && !(p & CACHE_HOT)) /* not when the slot has changed; what stands there then was not acquired */
        (void)__atomic_compare_exchange_n(&t->slots[i], &same, p | CACHE_HOT, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED);
    return (struct block *)(p & ~CACHE_HOT);
}

static struct block *held(const struct engine_miss *miss, const struct table *t, uint32_t i)
{
    for (unsigned k = 0; miss && k < miss->held_count; k++) {
        struct block *b = miss->held[k];
        if (b->table == t && b->index == i)
            return b;
    }
    return NULL;
}

enum result table_block(struct table *t, uint32_t i, int flags, struct engine_miss *miss, struct block **out)
{
    struct cache_counts *counts = cache_counts_here(t->cache);

    *out = cached(t, i, true);
    if (likely(*out != NULL)) {
        __builtin_prefetch((*out)->image);
        cache_count(&counts->hits, 1);
        return RES_OK;
    }
    *out = held(miss, t, i);
    if (*out)
        return RES_OK;
    cache_count(&counts->misses, 1);
    enum result r = table_read_block(t, i, flags & ENGINE_NOWAIT ? ENV_NOWAIT : 0, out);
    if (r == RES_OK) {
        if (!(flags & ENGINE_NO_FILL))
            *out = cache_insert(t->cache, t, *out);
        else
            block_share(*out);
        block_unref(*out); /* not freed before our section ends */
    } else if (r == RES_WOULD_BLOCK && miss) {
        miss->table = t;
        miss->block = i;
    }
    return r;
}

struct block *table_block_cached(struct table *t, uint32_t i, bool touch)
{
    epoch_enter();
    struct block *b = cached(t, i, touch);
    bool have = b && block_ref(b);
    epoch_leave();
    return have ? b : NULL;
}

uint32_t table_cached_blocks(const struct table *t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->fences.count; i++)
        n += __atomic_load_n(&t->slots[i], __ATOMIC_RELAXED) != 0;
    return n;
}

#define SAMPLES 128
#define READ_SHARE 8 /* of the blocks */

bool table_is_read(const struct table *t)
{
    uint32_t step = t->fences.count / SAMPLES + 1, looked = 0, read = 0;
    for (uint32_t i = 0; i < t->fences.count; i += step, looked++) {
        uintptr_t p = __atomic_load_n(&t->slots[i], __ATOMIC_RELAXED);
        read += t->kept ? (p & CACHE_HOT) != 0 : p != 0;
    }
    return read * READ_SHARE >= looked;
}

void table_kept_fini(struct table_kept *k)
{
    for (uint32_t i = 0; i < k->count; i++)
        block_unref(k->blocks[i]);
    free(k->blocks);
    *k = (struct table_kept){0};
}

void table_adopt(struct table *t, struct table_kept *k)
{
    assert(k->count <= t->fences.count);
    t->kept = k->count > 0;
    for (uint32_t i = 0; i < k->count; i++) {
        struct block *b = k->blocks[i];
        if (!b)
            continue;
        b->table = t;
        b->index = i;
        epoch_enter();
        b = cache_insert(t->cache, t, b);
        epoch_leave();
        block_unref(b);
    }
    free(k->blocks);
    *k = (struct table_kept){0};
}

enum result table_block_ref(struct table *t, uint32_t i, int iter_flags, struct block **out)
{
    struct cache_counts *counts = cache_counts_here(t->cache);

    *out = table_block_cached(t, i, !(iter_flags & ITER_NO_FILL));
    if (*out) {
        cache_count(&counts->hits, 1);
        return RES_OK;
    }
    cache_count(&counts->misses, 1);
    enum result r = table_read_block(t, i, iter_flags & ITER_NOWAIT ? ENV_NOWAIT : 0, out);
    if (r == RES_OK && !(iter_flags & ITER_NO_FILL)) {
        epoch_enter(); /* the insertion looks at what another thread hung there */
        *out = cache_insert(t->cache, t, *out);
        epoch_leave();
    }
    return r;
}

/* ---- single records ---- */

enum result table_get(struct table *t, const struct engine_key *key, int flags, uint8_t *kind, struct slice *value,
                      struct engine_miss *miss)
{
    struct block *b;
    struct block_record record;

    assert(epoch_depth() > 0);
    if (t->filter.lines) {
        struct cache_counts *counts = cache_counts_here(t->cache);
        cache_count(&counts->filter_checked, 1);
        if (!filter_may_hold(&t->filter, key->hash)) {
            cache_count(&counts->filter_useful, 1);
            return RES_NOT_FOUND;
        }
    }
    int64_t i = fences_find(&t->fences, key->bytes);
    if (i < 0)
        return RES_NOT_FOUND;
    enum result r = table_block(t, (uint32_t)i, flags, miss, &b);
    if (r != RES_OK)
        return r;
    if (block_find(b, key, &record) < 0)
        return RES_NOT_FOUND;
    *kind = record.kind;
    *value = record.value;
    return RES_OK;
}

const uintptr_t *table_prefetch_slot(const struct table *t, const struct engine_key *key)
{
    int64_t i = fences_find(&t->fences, key->bytes);
    if (i < 0)
        return NULL;
    __builtin_prefetch(&t->slots[i]);
    return &t->slots[i];
}

const struct block *table_prefetch_block(const uintptr_t *slot)
{
    const struct block *b = (const struct block *)(__atomic_load_n(slot, __ATOMIC_ACQUIRE) & ~CACHE_HOT);
    if (b)
        __builtin_prefetch(b);
    return b;
}

uint64_t table_range_bytes(const struct table *t, struct slice lower, struct slice upper)
{
    int64_t from = fences_find(&t->fences, lower), to = t->fences.count;
    if (from < 0)
        from = 0;
    if (upper.len)
        to = fences_find_before(&t->fences, upper) + 1;
    return to > from ? (uint64_t)(t->starts[to] - t->starts[from]) * BLOCK_UNIT : 0;
}

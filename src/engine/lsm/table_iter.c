/* An iterator over one table. It holds a reference on the block it stands in, so that it needs no epoch section between
 * moves. Keys are put together in its own memory: the block's prefix once a block, the rest once a record.
 *
 * A long scan past the cache (ITER_NO_FILL: compaction) reads ahead: from the second block in a row on it takes pieces of
 * the file that double up to 256 KiB, and decodes blocks out of them. A piece that does not hold what it should is
 * forgotten, and the block is read by itself, with all the care that a single read takes. */
#include <stdlib.h>

#include "engine/lsm/table.h"

struct table_iter {
    struct iter it;
    struct table *table;
    struct block *block; /* referenced, or NULL */
    uint32_t block_at, record_at;
    int flags;
    uint8_t *ahead; /* blocks ahead_from .. ahead_to, as in the file */
    uint32_t ahead_from, ahead_to;
    size_t ahead_bytes, ahead_most; /* how much to read next */
    struct slice lower, upper;
    uint8_t key[ENGINE_KEY_MAX];
    uint8_t own[]; /* the bounds, when they were copied */
};

#define AHEAD_LEAST ((size_t)16 * 1024)

/* Reads blocks from i on into t->ahead. */
static bool read_ahead(struct table_iter *t, uint32_t i)
{
    uint32_t to = i;
    size_t len = 0, got;

    if (!t->ahead_most)
        t->ahead_most = table_piece(t->table->cache, TABLE_AHEAD_MOST);
    t->ahead_bytes = t->ahead_bytes ? t->ahead_bytes * 2 : AHEAD_LEAST;
    if (t->ahead_bytes > t->ahead_most)
        t->ahead_bytes = t->ahead_most;
    while (to < t->table->fences.count && len + table_block_span(t->table, to) <= t->ahead_bytes)
        len += table_block_span(t->table, to++);
    t->ahead_from = t->ahead_to = 0;
    if (to < i + 2)
        return false;
    if (!t->ahead && !(t->ahead = malloc(t->ahead_most)))
        return false;
    struct table_file *f;
    if (table_file_acquire(t->table, true, &f) != RES_OK)
        return false;
    enum result r = f->file->ops->pread(f->file, t->ahead, len, table_block_offset(t->table, i), 0, &got);
    table_file_release(f);
    if (r != RES_OK || got != len)
        return false;
    t->ahead_from = i;
    t->ahead_to = to;
    struct cache_counts *counts = cache_counts_here(t->table->cache);
    cache_count(&counts->block_reads, to - i);
    cache_count(&counts->block_read_bytes, len);
    return true;
}

static enum result load_block(struct table_iter *t, uint32_t i, bool in_a_row)
{
    bool ahead = i >= t->ahead_from && i < t->ahead_to;
    if (!ahead && in_a_row && (t->flags & ITER_NO_FILL) && (t->block = table_block_cached(t->table, i, false)))
        return RES_OK;
    if (!ahead && in_a_row && (t->flags & (ITER_NO_FILL | ITER_NOWAIT)) == ITER_NO_FILL)
        ahead = read_ahead(t, i);
    if (ahead) {
        uint64_t at = table_block_offset(t->table, i);
        const uint8_t *span = t->ahead + (at - table_block_offset(t->table, t->ahead_from));
        enum result r =
            block_decode(span, table_block_span(t->table, i), table_salt(t->table->meta.number, at), &t->block);
        if (r != RES_CORRUPT)
            return r;
        t->ahead_from = t->ahead_to = 0;
    }
    return table_block_ref(t->table, i, t->flags, &t->block);
}

static enum result enter_block(struct table_iter *t, uint32_t i)
{
    if (t->block && t->block_at == i)
        return RES_OK;
    bool in_a_row = t->block && i == t->block_at + 1;
    block_unref(t->block);
    t->block = NULL;
    enum result r = load_block(t, i, in_a_row);
    if (r != RES_OK)
        return r;
    t->block_at = i;
    memcpy(t->key, t->block->image + t->block->prefix_at, t->block->prefix_len);
    return RES_OK;
}

static enum result stand(struct table_iter *t, uint32_t record)
{
    struct block_record r;
    block_record_at(t->block, record, &r);
    t->record_at = record;
    memcpy(t->key + t->block->prefix_len, r.rest.data, r.rest.len);
    t->it.key = slice_of(t->key, t->block->prefix_len + r.rest.len);
    t->it.value = r.value;
    t->it.kind = r.kind;
    return RES_OK;
}

/* Only a block that may hold the bound is compared record by record; the fence behind it tells for whole blocks. */
static enum result stand_forward(struct table_iter *t, uint32_t record)
{
    (void)stand(t, record);
    if (t->upper.len && slice_cmp(t->it.key, t->upper) >= 0)
        return RES_NOT_FOUND;
    return RES_OK;
}

static enum result stand_backward(struct table_iter *t, uint32_t record)
{
    (void)stand(t, record);
    if (t->lower.len && slice_cmp(t->it.key, t->lower) < 0)
        return RES_NOT_FOUND;
    return RES_OK;
}

static enum result seek_forward(struct table_iter *t, struct slice target)
{
    int64_t i = target.len ? fences_find(&t->table->fences, target) : 0;
    if (i < 0)
        i = 0;
    for (; i < t->table->fences.count; i++) {
        enum result r = enter_block(t, (uint32_t)i);
        if (r != RES_OK)
            return r;
        uint32_t at = target.len ? block_lower_bound(t->block, target) : 0;
        if (at < t->block->count)
            return stand_forward(t, at);
    }
    return RES_NOT_FOUND;
}

static enum result table_iter_seek(struct iter *it, struct slice target)
{
    struct table_iter *t = (struct table_iter *)it;
    if (slice_cmp(target, t->lower) < 0)
        target = t->lower;
    return seek_forward(t, target);
}

static enum result table_iter_seek_last(struct iter *it, struct slice target)
{
    struct table_iter *t = (struct table_iter *)it;
    if (target.len == 0 || (t->upper.len && slice_cmp(target, t->upper) > 0))
        target = t->upper;
    int64_t i = target.len ? fences_find_before(&t->table->fences, target) : (int64_t)t->table->fences.count - 1;
    for (; i >= 0; i--) {
        enum result r = enter_block(t, (uint32_t)i);
        if (r != RES_OK)
            return r;
        uint32_t at = target.len ? block_lower_bound(t->block, target) : t->block->count;
        if (at > 0)
            return stand_backward(t, at - 1);
    }
    return RES_NOT_FOUND;
}

static enum result table_iter_next(struct iter *it)
{
    struct table_iter *t = (struct table_iter *)it;
    if (!t->block)
        return RES_NOT_FOUND;
    if (t->record_at + 1 < t->block->count)
        return stand_forward(t, t->record_at + 1);
    if (t->block_at + 1 == t->table->fences.count)
        return RES_NOT_FOUND;
    enum result r = enter_block(t, t->block_at + 1);
    return r == RES_OK ? stand_forward(t, 0) : r;
}

static enum result table_iter_prev(struct iter *it)
{
    struct table_iter *t = (struct table_iter *)it;
    if (!t->block)
        return RES_NOT_FOUND;
    if (t->record_at > 0)
        return stand_backward(t, t->record_at - 1);
    if (t->block_at == 0)
        return RES_NOT_FOUND;
    enum result r = enter_block(t, t->block_at - 1);
    return r == RES_OK ? stand_backward(t, t->block->count - 1) : r;
}

static void table_iter_close(struct iter *it)
{
    struct table_iter *t = (struct table_iter *)it;
    block_unref(t->block);
    table_unref(t->table);
    free(t->ahead);
    free(t);
}

static const struct iter_ops table_iter_ops = {
    .seek = table_iter_seek,
    .seek_last = table_iter_seek_last,
    .next = table_iter_next,
    .prev = table_iter_prev,
    .close = table_iter_close,
};

enum result table_iter(struct table *t, struct slice lower, struct slice upper, int flags, bool own, struct iter **out)
{
    struct table_iter *i = malloc(sizeof *i + (own ? lower.len + upper.len : 0));
    *out = NULL;
    if (!i)
        return RES_NO_MEMORY;
    *i = (struct table_iter){.it.ops = &table_iter_ops, .table = t, .flags = flags, .lower = lower, .upper = upper};
    if (own) {
        if (lower.len)
            memcpy(i->own, lower.data, lower.len);
        if (upper.len)
            memcpy(i->own + lower.len, upper.data, upper.len);
        i->lower.data = i->own;
        i->upper.data = i->own + lower.len;
    }
    table_ref(t);
    *out = &i->it;
    return RES_OK;
}

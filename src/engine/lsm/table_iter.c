/* An iterator over one table. It holds a reference on the block it stands in, so that it needs no epoch section between
 * moves. Keys are put together in its own memory: the block's prefix once a block, the rest once a record. */
#include <stdlib.h>

#include "engine/lsm/table.h"

struct table_iter {
    struct iter it;
    struct table *table;
    struct block *block; /* referenced, or NULL */
    uint32_t block_at, record_at;
    int flags;
    struct slice lower, upper;
    uint8_t key[ENGINE_KEY_MAX];
    uint8_t own[]; /* the bounds, when they were copied */
};

static enum result enter_block(struct table_iter *t, uint32_t i)
{
    if (t->block && t->block_at == i)
        return RES_OK;
    block_unref(t->block);
    t->block = NULL;
    enum result r = table_block_ref(t->table, i, t->flags, &t->block);
    if (r != RES_OK)
        return r;
    t->block_at = i;
    memcpy(t->key, t->block->image + BLOCK_HEADER, t->block->prefix_len);
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

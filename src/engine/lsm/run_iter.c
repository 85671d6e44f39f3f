/* An iterator over the tables of one run, one after the other; only the table it stands in is open. One table alone
 * needs nothing of this. */
#include <stdlib.h>

#include "engine/lsm/version.h"

struct run_iter {
    struct iter it;
    struct slice lower, upper;
    int flags;
    uint32_t count, at;
    struct iter *inner; /* over tables[at], or NULL */
    struct table *tables[];
};

static enum result enter(struct run_iter *r, uint32_t at)
{
    if (r->inner && r->at == at)
        return RES_OK;
    iter_close(r->inner);
    r->inner = NULL;
    r->at = at;
    return table_iter(r->tables[at], r->lower, r->upper, r->flags, false, &r->inner);
}

static enum result shown(struct run_iter *r, enum result result)
{
    if (result == RES_OK) {
        r->it.key = r->inner->key;
        r->it.value = r->inner->value;
        r->it.kind = r->inner->kind;
    }
    return result;
}

/* The first table whose last key is at or above the target: 0..count. */
static uint32_t first_reaching(const struct run_iter *r, struct slice target)
{
    uint32_t lo = 0, hi = r->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (slice_cmp(r->tables[mid]->meta.last, target) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static enum result run_seek(struct iter *it, struct slice target)
{
    struct run_iter *r = (struct run_iter *)it;
    for (uint32_t at = target.len ? first_reaching(r, target) : 0; at < r->count; at++) {
        enum result result = enter(r, at);
        if (result == RES_OK)
            result = iter_seek(r->inner, target);
        if (result != RES_NOT_FOUND)
            return shown(r, result);
    }
    return RES_NOT_FOUND;
}

static enum result run_seek_last(struct iter *it, struct slice target)
{
    struct run_iter *r = (struct run_iter *)it;
    int64_t at = r->count - 1;
    if (target.len) {
        at = first_reaching(r, target);
        if (at == r->count)
            at--;
    }
    for (; at >= 0; at--) {
        enum result result = enter(r, (uint32_t)at);
        if (result == RES_OK)
            result = iter_seek_last(r->inner, target);
        if (result != RES_NOT_FOUND)
            return shown(r, result);
    }
    return RES_NOT_FOUND;
}

static enum result run_next(struct iter *it)
{
    struct run_iter *r = (struct run_iter *)it;
    if (!r->inner)
        return RES_NOT_FOUND;
    enum result result = iter_next(r->inner);
    while (result == RES_NOT_FOUND && r->at + 1 < r->count) {
        result = enter(r, r->at + 1);
        if (result == RES_OK)
            result = iter_seek(r->inner, slice_of(NULL, 0));
    }
    return shown(r, result);
}

static enum result run_prev(struct iter *it)
{
    struct run_iter *r = (struct run_iter *)it;
    if (!r->inner)
        return RES_NOT_FOUND;
    enum result result = iter_prev(r->inner);
    while (result == RES_NOT_FOUND && r->at > 0) {
        result = enter(r, r->at - 1);
        if (result == RES_OK)
            result = iter_seek_last(r->inner, slice_of(NULL, 0));
    }
    return shown(r, result);
}

static void run_close(struct iter *it)
{
    struct run_iter *r = (struct run_iter *)it;
    iter_close(r->inner);
    for (uint32_t i = 0; i < r->count; i++)
        table_unref(r->tables[i]);
    free(r);
}

static const struct iter_ops run_ops = {
    .seek = run_seek,
    .seek_last = run_seek_last,
    .next = run_next,
    .prev = run_prev,
    .close = run_close,
};

enum result run_iter(struct table *const *tables, uint32_t count, struct slice lower, struct slice upper, int flags,
                     struct iter **out)
{
    if (count == 1)
        return table_iter(tables[0], lower, upper, flags, false, out);
    struct run_iter *r = calloc(1, sizeof *r + count * sizeof(struct table *));
    *out = NULL;
    if (!r)
        return RES_NO_MEMORY;
    r->it.ops = &run_ops;
    r->lower = lower;
    r->upper = upper;
    r->flags = flags;
    r->count = count;
    for (uint32_t i = 0; i < count; i++) {
        r->tables[i] = tables[i];
        table_ref(tables[i]);
    }
    *out = &r->it;
    return RES_OK;
}

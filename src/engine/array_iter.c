/* An iterator over a sorted array of records. The bounds are turned into array positions when it is opened, so that it
 * keeps no slice of the caller's but the array itself. */
#include <stdlib.h>

#include "engine/iter.h"

struct array_iter {
    struct iter it;
    const struct iter_record *records;
    size_t begin, end; /* what the bounds leave */
    size_t at;         /* begin <= at < end while it stands on a record */
};

static size_t lower_bound(const struct iter_record *records, size_t lo, size_t hi, struct slice key)
{
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (slice_cmp(records[mid].key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static enum result stand(struct array_iter *a, size_t at)
{
    a->at = at;
    a->it.key = a->records[at].key;
    a->it.value = a->records[at].value;
    a->it.kind = a->records[at].kind;
    return RES_OK;
}

static enum result array_seek(struct iter *it, struct slice target)
{
    struct array_iter *a = (struct array_iter *)it;
    size_t at = target.len ? lower_bound(a->records, a->begin, a->end, target) : a->begin;
    return at < a->end ? stand(a, at) : RES_NOT_FOUND;
}

static enum result array_seek_last(struct iter *it, struct slice target)
{
    struct array_iter *a = (struct array_iter *)it;
    size_t at = target.len ? lower_bound(a->records, a->begin, a->end, target) : a->end;
    return at > a->begin ? stand(a, at - 1) : RES_NOT_FOUND;
}

static enum result array_next(struct iter *it)
{
    struct array_iter *a = (struct array_iter *)it;
    return a->at + 1 < a->end ? stand(a, a->at + 1) : RES_NOT_FOUND;
}

static enum result array_prev(struct iter *it)
{
    struct array_iter *a = (struct array_iter *)it;
    return a->at > a->begin ? stand(a, a->at - 1) : RES_NOT_FOUND;
}

static void array_close(struct iter *it) { free(it); }

static const struct iter_ops array_ops = {
    .seek = array_seek,
    .seek_last = array_seek_last,
    .next = array_next,
    .prev = array_prev,
    .close = array_close,
};

enum result iter_over_array(const struct iter_record *records, size_t n, struct slice lower, struct slice upper,
                            struct iter **out)
{
    struct array_iter *a = calloc(1, sizeof *a);
    *out = NULL;
    if (!a)
        return RES_NO_MEMORY;
    a->it.ops = &array_ops;
    a->records = records;
    a->begin = lower.len ? lower_bound(records, 0, n, lower) : 0;
    a->end = upper.len ? lower_bound(records, a->begin, n, upper) : n;
    *out = &a->it;
    return RES_OK;
}

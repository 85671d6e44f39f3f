/* Iterators: one interface for memtables, tables, whole engines, overlays and merges of them.
 *
 * An iterator stands on a record or nowhere. Movers return RES_OK when it stands on a record, RES_NOT_FOUND when the
 * range is left (it stands nowhere then), RES_WOULD_BLOCK when it may not wait and memory does not have it (it stands
 * nowhere; the same move may be repeated by a caller who may wait, on an iterator opened without ITER_NOWAIT), or an
 * error. Waiting for the disk and being led over thousands of tombstones are the same to who may not wait. key and value stay valid until the next move or close. Not thread-safe; bounds are fixed when it is opened. */
#ifndef VARVE_ENGINE_ITER_H
#define VARVE_ENGINE_ITER_H

#include "base/result.h"
#include "base/slice.h"

enum record_kind {
    RECORD_PUT = 1,
    RECORD_DELETE = 2, /* a tombstone: hides older records of the same key */
};

enum iter_flags {
    ITER_NOWAIT = 1,     /* never wait for the disk: RES_WOULD_BLOCK instead */
    ITER_TOMBSTONES = 2, /* show tombstones (flush, compaction); without it they are skipped */
    ITER_NO_FILL = 4,    /* do not put blocks into the cache (long scans, compaction) */
};

struct iter;
struct iter_ops {
    enum result (*seek)(struct iter *it, struct slice target);      /* first key >= target; empty target: the first */
    enum result (*seek_last)(struct iter *it, struct slice target); /* last key < target; empty target: the last */
    enum result (*next)(struct iter *it);
    enum result (*prev)(struct iter *it);
    void (*close)(struct iter *it);
};
struct iter {
    const struct iter_ops *ops;
    struct slice key, value; /* valid while it stands on a record */
    uint8_t kind;            /* enum record_kind */
};

static inline enum result iter_seek(struct iter *it, struct slice target) { return it->ops->seek(it, target); }
static inline enum result iter_seek_last(struct iter *it, struct slice target)
{
    return it->ops->seek_last(it, target);
}
static inline enum result iter_next(struct iter *it) { return it->ops->next(it); }
static inline enum result iter_prev(struct iter *it) { return it->ops->prev(it); }
static inline void iter_close(struct iter *it)
{
    if (it)
        it->ops->close(it);
}

/* Merges n iterators, the newest source first: of equal keys only the newest is shown. Takes over the children (closes
 * them with itself, and at once when it fails). flags: ITER_TOMBSTONES as above. engine/merge.c */
enum result iter_merge(struct iter **children, size_t n, int flags, struct iter **out) MUST_CHECK;
/* The same; on_close(arg) runs once when the merge is closed, after its children are, and also when it fails: the place
 * to give back what the children read from. */
enum result iter_merge_with(struct iter **children, size_t n, int flags, void (*on_close)(void *arg), void *arg,
                            struct iter **out) MUST_CHECK;
/* Over a sorted array of records that outlives it (an overlay, a test). engine/array_iter.c */
struct iter_record {
    struct slice key, value;
    uint8_t kind;
};
enum result iter_over_array(const struct iter_record *records, size_t n, struct slice lower, struct slice upper,
                            struct iter **out) MUST_CHECK;

#endif

/* Reading through a key directory: single records and iterators. */
#include <assert.h>
#include <stdlib.h>

#include "engine/datafile.h"

#define AHEAD_LEAST                                                                                                    \
    ((size_t)4096) /* bytes that an iterator reads at once; more while it goes through a file in order */
#define AHEAD_MOST ((size_t)256 * 1024)

struct datafile *datafile_of(const struct datafile_set *set, uint32_t number)
{
    size_t lo = 0, hi = set->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (set->files[mid]->number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < set->count && set->files[lo]->number == number ? set->files[lo] : NULL;
}

/* ---- single records ---- */

static struct datafile_record *held(const struct engine_miss *miss, const struct datafile *d, uint64_t offset)
{
    for (unsigned i = 0; miss && i < miss->held_count; i++) {
        struct datafile_record *r = miss->held[i];
        if (r->file == d && r->offset == offset)
            return r;
    }
    return NULL;
}

enum result datafile_get(const struct keydir_node *root, const struct datafile_set *set, struct slice key, int flags,
                         uint8_t *kind, struct slice *value, struct engine_miss *miss)
{
    struct keydir_place place;
    if (!keydir_find(root, key, &place))
        return RES_NOT_FOUND;
    struct datafile *d = datafile_of(set, place.file);
    if (!d)
        return RES_CORRUPT;
    if (kind)
        *kind = place.kind;
    struct datafile_record *rec = held(miss, d, place.offset);
    if (!rec) {
        enum result r = datafile_read(d, place.offset, datafile_record_size(key.len, &place),
                                      flags & ENGINE_NOWAIT ? ENV_NOWAIT : 0, &rec);
        if (r == RES_WOULD_BLOCK && miss) {
            miss->table = d;
            miss->block = place.offset;
        }
        if (r != RES_OK)
            return r;
        datafile_record_retire(rec); /* not freed before the caller's section ends */
    }
    if (!slice_eq(rec->key, key))
        return RES_CORRUPT;
    *value = rec->value;
    return RES_OK;
}

enum result datafile_fill(struct engine_miss *miss)
{
    const unsigned room = sizeof miss->held / sizeof miss->held[0];
    struct datafile_record *rec;
    enum result r = datafile_read_at(miss->table, miss->block, 0, &rec);
    if (r != RES_OK)
        return r;
    if (miss->held_count == room) {
        datafile_record_retire(miss->held[0]);
        memmove(&miss->held[0], &miss->held[1], (room - 1) * sizeof miss->held[0]);
        miss->held_count--;
    }
    miss->held[miss->held_count++] = rec;
    return RES_OK;
}

void datafile_miss_fini(struct engine_miss *miss)
{
    while (miss->held_count) /* a section may still look at them */
        datafile_record_retire(miss->held[--miss->held_count]);
    *miss = (struct engine_miss){0};
}

/* ---- iterators ---- */

struct record_iter {
    struct iter it;
    struct keydir_cursor cursor;
    const struct datafile_set *set;
    bool nowait;
    void (*on_close)(void *arg);
    void *arg;
    /* a piece of a file */
    struct buf window;
    const struct datafile *file;
    uint64_t offset; /* of its first byte */
    size_t ahead;
    uint8_t bounds[2][ENGINE_KEY_MAX];
    struct slice lower, upper;
};

/* Reads the record into the window, and what lies behind it when the last one read lay just before. */
static enum result read_window(struct record_iter *i, struct datafile *d, uint64_t offset, size_t size)
{
    bool on = i->file == d && offset >= i->offset && offset <= i->offset + i->window.len;
    i->ahead = on && i->ahead < AHEAD_MOST ? i->ahead * 2 : on ? i->ahead : AHEAD_LEAST;
    uint64_t left = d->size - offset;
    size_t want = size > i->ahead ? size : i->ahead, got = 0;
    if (size > left)
        return RES_CORRUPT;
    if (want > left)
        want = (size_t)left;
    buf_clear(&i->window);
    i->file = d;
    i->offset = offset;
    enum result r = buf_reserve(&i->window, want);
    if (r == RES_OK)
        r = d->file->ops->pread(d->file, i->window.data, want, offset, i->nowait ? ENV_NOWAIT : 0, &got);
    if (r == RES_WOULD_BLOCK && want > size) { /* less may be there */
        i->ahead = AHEAD_LEAST;
        r = d->file->ops->pread(d->file, i->window.data, size, offset, ENV_NOWAIT, &got);
    }
    if (r == RES_OK)
        i->window.len = got;
    return r;
}

/* Shows what the cursor stands at. */
static enum result show(struct record_iter *i, bool there)
{
    const struct keydir_place *place = &i->cursor.place;
    struct slice key;
    size_t size, whole;
    if (!there || (i->upper.len && slice_cmp(i->cursor.key, i->upper) >= 0) || slice_cmp(i->cursor.key, i->lower) < 0) {
        i->cursor.node[0] = NULL;
        return RES_NOT_FOUND;
    }
    struct datafile *d = datafile_of(i->set, place->file);
    if (!d)
        return RES_CORRUPT;
    size = datafile_record_size(i->cursor.key.len, place);
    for (int tries = 0; tries < 3; tries++) {
        bool inside = i->file == d && place->offset >= i->offset && place->offset - i->offset + size <= i->window.len;
        const uint8_t *p = inside ? i->window.data + (place->offset - i->offset) : NULL;
        if (inside && datafile_parse(d, place->offset, p, size, &key, &i->it.kind, &i->it.value, &whole) &&
            slice_eq(key, i->cursor.key)) {
            i->it.key = i->cursor.key;
            return RES_OK;
        }
        enum result r = read_window(i, d, place->offset, size);
        if (r == RES_WOULD_BLOCK)
            i->cursor.node[0] = NULL;
        if (r != RES_OK)
            return r;
    }
    struct datafile_record *rec; /* says it in the log */
    enum result r = datafile_read(d, place->offset, size, 0, &rec);
    if (r == RES_OK)
        free(rec);
    return RES_CORRUPT;
}

static struct record_iter *of(struct iter *it) { return (struct record_iter *)it; }

static enum result ri_seek(struct iter *it, struct slice target)
{
    struct record_iter *i = of(it);
    struct slice from = slice_cmp(target, i->lower) > 0 ? target : i->lower;
    return show(i, keydir_seek(&i->cursor, from));
}

static enum result ri_seek_last(struct iter *it, struct slice target)
{
    struct record_iter *i = of(it);
    struct slice below = target;
    if (i->upper.len && (below.len == 0 || slice_cmp(below, i->upper) > 0))
        below = i->upper;
    return show(i, keydir_seek_last(&i->cursor, below));
}

static enum result ri_next(struct iter *it) { return show(of(it), keydir_next(&of(it)->cursor)); }
static enum result ri_prev(struct iter *it) { return show(of(it), keydir_prev(&of(it)->cursor)); }

static void ri_close(struct iter *it)
{
    struct record_iter *i = of(it);
    buf_fini(&i->window);
    if (i->on_close)
        i->on_close(i->arg);
    free(i);
}

static const struct iter_ops record_iter_ops = {ri_seek, ri_seek_last, ri_next, ri_prev, ri_close};

enum result datafile_iter(const struct keydir_node *root, const struct datafile_set *set, struct slice lower,
                          struct slice upper, int flags, void (*on_close)(void *arg), void *arg, struct iter **out)
{
    struct record_iter *i = calloc(1, sizeof *i);
    *out = NULL;
    if (!i || lower.len > ENGINE_KEY_MAX || upper.len > ENGINE_KEY_MAX) {
        if (on_close)
            on_close(arg);
        enum result r = i ? RES_INVALID : RES_NO_MEMORY;
        free(i);
        return r;
    }
    i->it.ops = &record_iter_ops;
    i->set = set;
    i->nowait = flags & ITER_NOWAIT;
    i->on_close = on_close;
    i->arg = arg;
    i->ahead = AHEAD_LEAST;
    if (lower.len)
        memcpy(i->bounds[0], lower.data, lower.len);
    if (upper.len)
        memcpy(i->bounds[1], upper.data, upper.len);
    i->lower = slice_of(i->bounds[0], lower.len);
    i->upper = slice_of(i->bounds[1], upper.len);
    keydir_cursor_init(&i->cursor, root);
    *out = &i->it;
    return RES_OK;
}

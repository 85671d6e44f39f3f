/* Views and reading: see btree.h. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/btree/btree.h"

#define CUT_PATIENCE_NS 5000000000u /* younger snapshots are left alone, however the file grows */

/* ---- views ---- */

enum result btree_view_new(struct btree *b, struct engine_view **out)
{
    struct engine_view *v = calloc(1, sizeof *v);
    *out = NULL;
    if (!v)
        return RES_NO_MEMORY;
    v->b = b;
    v->refs = 1;
    for (int i = 0; i < BTREE_READERS; i++)
        os_mutex_init(&v->readers[i].lock);
    for (int i = 0; i < BTREE_READERS; i++) {
        int rc = mdb_txn_begin(b->mdb, NULL, MDB_RDONLY, &v->readers[i].txn);
        if (rc != MDB_SUCCESS) {
            v->readers[i].txn = NULL;
            btree_view_unref(v);
            return btree_result(rc);
        }
        mdb_txn_reset(v->readers[i].txn);
    }
    *out = v;
    return RES_OK;
}

enum result btree_view_start(struct engine_view *v)
{
    MDB_envinfo info;
    for (int i = 0; i < BTREE_READERS; i++) {
        int rc = mdb_txn_renew(v->readers[i].txn);
        if (rc != MDB_SUCCESS)
            return btree_result(rc);
    }
    (void)mdb_env_info(v->b->mdb, &info);
    v->pages = info.me_last_pgno;
    v->began_ns = env_posix()->ops->mono_ns(env_posix());
    return RES_OK;
}

/* Under write_lock, which view_number belongs to. */
void btree_view_publish(struct btree *b, struct engine_view *v)
{
    v->number = ++b->view_number;
    os_mutex_lock(&b->lock);
    struct engine_view *old = b->current;
    v->older = old;
    if (old)
        old->newer = v;
    b->current = v;
    os_mutex_unlock(&b->lock);
    if (old)
        btree_view_unref(old);
}

void btree_view_ref(struct engine_view *v) { __atomic_fetch_add(&v->refs, 1, __ATOMIC_RELAXED); }

void btree_view_unref(struct engine_view *v)
{
    struct btree *b = v->b;
    os_mutex_lock(&b->lock); /* growing and cutting look at all that are in the list */
    if (__atomic_fetch_sub(&v->refs, 1, __ATOMIC_ACQ_REL) != 1) {
        os_mutex_unlock(&b->lock);
        return;
    }
    if (v->older)
        v->older->newer = v->newer;
    if (v->newer)
        v->newer->older = v->older;
    os_mutex_unlock(&b->lock);
    for (int i = 0; i < BTREE_READERS; i++) {
        if (v->readers[i].txn)
            mdb_txn_abort(v->readers[i].txn);
        os_mutex_fini(&v->readers[i].lock);
    }
    for (unsigned i = 0; i < v->layer_count; i++)
        private_release(v->layers[i]);
    free(v);
}

struct engine_view *btree_view_acquire(struct engine *e)
{
    struct btree *b = (struct btree *)e;
    os_mutex_lock(&b->lock);
    struct engine_view *v = b->current;
    btree_view_ref(v);
    os_mutex_unlock(&b->lock);
    __atomic_fetch_add(&b->views, 1, __ATOMIC_RELAXED);
    return v;
}

void btree_view_release(struct engine_view *v)
{
    struct btree *b = v->b;
    btree_view_unref(v);
    __atomic_fetch_sub(&b->views, 1, __ATOMIC_RELEASE);
}

enum result btree_add_layer(struct btree *b, struct engine_table *t)
{
    struct engine_view *v, *old = b->current;
    if (old->layer_count == BTREE_LAYERS_MAX)
        return RES_TOO_MANY;
    enum result r = btree_view_new(b, &v);
    if (r == RES_OK && (r = btree_view_start(v)) != RES_OK)
        btree_view_unref(v);
    if (r != RES_OK)
        return r;
    v->layers[v->layer_count++] = t;
    for (unsigned i = 0; i < old->layer_count; i++)
        v->layers[v->layer_count++] = old->layers[i];
    for (unsigned i = 0; i < v->layer_count; i++)
        private_ref(v->layers[i]);
    btree_view_publish(b, v);
    return RES_OK;
}

/* ---- stopping transactions ---- */

static void lock_readers(struct engine_view *v) NO_THREAD_SAFETY
{
    for (int i = 0; i < BTREE_READERS; i++)
        os_mutex_lock(&v->readers[i].lock);
}

static void unlock_readers(struct engine_view *v) NO_THREAD_SAFETY
{
    for (int i = 0; i < BTREE_READERS; i++)
        os_mutex_unlock(&v->readers[i].lock);
}

static void cut(struct engine_view *v)
{
    for (int i = 0; i < BTREE_READERS; i++) {
        if (v->readers[i].txn)
            mdb_txn_abort(v->readers[i].txn);
        v->readers[i].txn = NULL;
    }
}

/* All views from the newest on, each with a reference; NULL: no memory. */
static struct engine_view **all_views(struct btree *b, size_t *count)
{
    os_mutex_lock(&b->lock);
    size_t n = 0;
    for (struct engine_view *v = b->current; v; v = v->older)
        n++;
    struct engine_view **views = malloc((n + 1) * sizeof(struct engine_view *));
    *count = 0;
    for (struct engine_view *v = b->current; v && views; v = v->older) {
        btree_view_ref(v);
        views[(*count)++] = v;
    }
    os_mutex_unlock(&b->lock);
    return views;
}

static void let_go(struct engine_view **views, size_t count)
{
    for (size_t i = 0; i < count; i++)
        btree_view_unref(views[i]);
    free(views);
}

enum result btree_grow(struct btree *b)
{
    size_t count;
    struct engine_view **views = all_views(b, &count);
    uint64_t size = b->map * 2;
    if (!views)
        return RES_NO_MEMORY;
    if (size > ((uint64_t)1 << 46)) { /* address space ends */
        let_go(views, count);
        return RES_NO_SPACE;
    }
    log_verbose("%s: the map grows to %" PRIu64 " MiB%s", b->dir, size >> 20,
                count > 1 ? "; views that are not the newest end" : "");
    enum result r = RES_OK;
    for (size_t i = 0; i < count; i++) {
        lock_readers(views[i]);
        if (i > 0)
            cut(views[i]);
        for (int k = 0; i == 0 && k < BTREE_READERS; k++)
            mdb_txn_reset(views[0]->readers[k].txn);
    }
    os_mutex_lock(&b->map_lock);
    int rc = mdb_env_set_mapsize(b->mdb, (size_t)size);
    os_mutex_unlock(&b->map_lock);
    for (int k = 0; rc == MDB_SUCCESS && k < BTREE_READERS; k++) /* nothing was written meanwhile: the same state */
        rc = mdb_txn_renew(views[0]->readers[k].txn);
    views[0]->generation++;
    if (rc == MDB_SUCCESS)
        b->map = size;
    else
        cut(views[0]);
    for (size_t i = count; i-- > 0;)
        unlock_readers(views[i]);
    let_go(views, count);
    if (rc != MDB_SUCCESS) {
        r = btree_result(rc);
        engine_fail(&b->failure, &b->options, r, "giving the map more room", b->dir);
        r = RES_READ_ONLY;
    }
    return r;
}

void btree_cut_long(struct btree *b)
{
    size_t count;
    MDB_envinfo info;
    struct engine_view **views = all_views(b, &count);
    if (!views)
        return;
    (void)mdb_env_info(b->mdb, &info);
    uint64_t now = env_posix()->ops->mono_ns(env_posix());
    uint64_t patience = btree_tiny(b) ? 0 : CUT_PATIENCE_NS;
    for (size_t i = 1; i < count; i++) {
        uint64_t grown = (info.me_last_pgno - views[i]->pages) * 4096, half = views[i]->pages * 4096 / 2;
        if (!views[i]->readers[0].txn || __atomic_load_n(&views[i]->kept, __ATOMIC_RELAXED) || grown < half ||
            grown < 16 * b->options.table_bytes || now - views[i]->began_ns < patience)
            continue;
        lock_readers(views[i]);
        cut(views[i]);
        unlock_readers(views[i]);
        log_warning("%s: a snapshot was held while the file grew by %" PRIu64 " MiB; it was ended", b->dir,
                    grown >> 20);
    }
    let_go(views, count);
}

/* ---- single records ---- */

/* One of the view's transactions, locked: the next that is free. */
static struct btree_reader *reader_lock(struct engine_view *v) NO_THREAD_SAFETY
{
    unsigned first = (unsigned)__atomic_fetch_add(&v->b->turn, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < BTREE_READERS; i++) {
        struct btree_reader *r = &v->readers[(first + i) % BTREE_READERS];
        if (os_mutex_try(&r->lock))
            return r;
    }
    struct btree_reader *r = &v->readers[first % BTREE_READERS];
    os_mutex_lock(&r->lock);
    return r;
}

static void reader_unlock(struct btree_reader *r) NO_THREAD_SAFETY { os_mutex_unlock(&r->lock); }

static enum result read_error(struct btree *b, int rc)
{
    enum result r = btree_result(rc);
    if (r == RES_CORRUPT)
        log_warning("%s/data.mdb is damaged: %s", b->dir, mdb_strerror(rc));
    return r;
}

/* Reads the record into memory of its own; *row also when there is none (found = false). */
static enum result read_row(struct engine_view *v, struct slice key, struct btree_row **out)
{
    struct btree *b = v->b;
    MDB_val k = {key.len, (void *)(uintptr_t)key.data}, stored;
    struct slice value = slice_of(NULL, 0);
    enum result r = RES_OK;
    *out = NULL;
    struct btree_reader *reader = reader_lock(v);
    int rc = reader->txn ? mdb_get(reader->txn, b->dbi, &k, &stored) : MDB_SUCCESS;
    if (!reader->txn)
        r = RES_INTERRUPTED;
    else if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
        r = read_error(b, rc);
    else if (rc == MDB_SUCCESS && !btree_value(key, &stored, &value)) {
        log_warning("%s/data.mdb: a value does not have its checksum", b->dir);
        r = RES_CORRUPT;
    }
    struct btree_row *row = r == RES_OK ? malloc(sizeof *row + key.len + value.len) : NULL;
    if (row) {
        row->view = v->number;
        row->found = rc == MDB_SUCCESS;
        row->key_len = key.len;
        row->value_len = value.len;
        memcpy(row->bytes, key.data, key.len);
        if (value.len)
            memcpy(row->bytes + key.len, value.data, value.len);
    } else if (r == RES_OK) {
        r = RES_NO_MEMORY;
    }
    reader_unlock(reader);
    *out = row;
    return r;
}

static void row_free(struct epoch_entry *e) { free(e); }

static bool row_fits(const struct btree_row *row, const struct engine_view *v, struct slice key)
{
    return row->view == v->number && slice_eq(slice_of(row->bytes, row->key_len), key);
}

static enum result row_show(const struct btree_row *row, struct slice *value)
{
    *value = slice_of(row->bytes + row->key_len, row->value_len);
    return row->found ? RES_OK : RES_NOT_FOUND;
}

static const struct btree_row *row_kept(struct engine_view *v, const struct engine_key *key,
                                        const struct engine_miss *miss)
{
    for (unsigned i = 0; miss && i < miss->held_count; i++) /* a data file's record begins otherwise: see btree_fill */
        if (((uintptr_t)miss->held[i] & 1) &&
            row_fits((struct btree_row *)((uintptr_t)miss->held[i] - 1), v, key->bytes))
            return (struct btree_row *)((uintptr_t)miss->held[i] - 1);
    struct btree_row *row = __atomic_load_n(&v->b->rows[key->hash % BTREE_ROWS], __ATOMIC_ACQUIRE);
    return row && row_fits(row, v, key->bytes) ? row : NULL;
}

/* The layers over the file, newest first. */
static enum result get_above(struct engine_view *v, const struct engine_key *key, int flags, struct slice *value,
                             struct engine_miss *miss, bool *found)
{
    for (unsigned i = 0; i < v->layer_count; i++) {
        uint8_t kind;
        enum result r = private_get(v->layers[i], key, flags, &kind, value, miss);
        if (r == RES_NOT_FOUND)
            continue;
        *found = true;
        return r == RES_OK && kind == RECORD_DELETE ? RES_NOT_FOUND : r;
    }
    *found = false;
    return RES_NOT_FOUND;
}

enum result btree_get(struct engine_view *v, const struct engine_key *key, int flags, struct slice *value,
                      struct engine_miss *miss)
{
    struct btree *b = v->b;
    struct btree_row *row;
    bool found = false;
    assert(epoch_depth() > 0);
    enum result r = v->layer_count ? get_above(v, key, flags, value, miss, &found) : RES_NOT_FOUND;
    if (found)
        return r;
    __atomic_fetch_add(&b->reads, 1, __ATOMIC_RELAXED);
    if ((flags & ENGINE_NOWAIT) && !__atomic_load_n(&b->resident, __ATOMIC_RELAXED)) {
        const struct btree_row *kept = row_kept(v, key, miss);
        if (kept)
            return row_show(kept, value);
        __atomic_fetch_add(&b->cold, 1, __ATOMIC_RELAXED);
        if (miss) {
            miss->table = (void *)((uintptr_t)v + 1);
            miss->block = (uint64_t)(uintptr_t)key;
        }
        return RES_WOULD_BLOCK;
    }
    if ((r = read_row(v, key->bytes, &row)) != RES_OK)
        return r;
    r = row_show(row, value);
    epoch_retire(&row->retired, row_free); /* not before the caller's section ends */
    return r;
}

static void held_free(void *held)
{
    if (!((uintptr_t)held & 1)) {
        datafile_record_retire(held);
        return;
    }
    struct btree_row *row = (struct btree_row *)((uintptr_t)held - 1);
    epoch_retire(&row->retired, row_free);
}

/* What is held for a miss of the tree is marked by the lowest bit, to tell it from records of private tables. */
enum result btree_fill(struct engine *e, struct engine_miss *miss)
{
    struct btree *b = (struct btree *)e;
    const unsigned room = sizeof miss->held / sizeof miss->held[0];
    if (!((uintptr_t)miss->table & 1))
        return datafile_fill(miss);
    struct engine_view *v = (struct engine_view *)((uintptr_t)miss->table - 1);
    const struct engine_key *key = (const struct engine_key *)(uintptr_t)miss->block;
    struct btree_row *row, *copy;
    enum result r = read_row(v, key->bytes, &row);
    if (r != RES_OK)
        return r;
    size_t bytes = sizeof *row + row->key_len + row->value_len;
    if ((copy = malloc(bytes))) {
        memcpy(copy, row, bytes);
        struct btree_row *old = __atomic_exchange_n(&b->rows[key->hash % BTREE_ROWS], copy, __ATOMIC_ACQ_REL);
        if (old)
            epoch_retire(&old->retired, row_free);
    }
    if (miss->held_count == room) {
        held_free(miss->held[0]);
        memmove(&miss->held[0], &miss->held[1], (room - 1) * sizeof miss->held[0]);
        miss->held_count--;
    }
    miss->held[miss->held_count++] = (void *)((uintptr_t)row + 1);
    return RES_OK;
}

void btree_miss_fini(struct engine *e, struct engine_miss *miss)
{
    (void)e;
    while (miss->held_count)
        held_free(miss->held[--miss->held_count]);
    *miss = (struct engine_miss){0};
}

/* ---- iterators: a cursor on one of the view's transactions, used under its lock; records are copied out ---- */

struct btree_iter {
    struct iter it;
    struct engine_view *view;
    struct btree_reader *reader;
    MDB_cursor *cursor; /* NULL until the first seek */
    uint32_t generation;
    bool nowait, stands;
    struct buf value;
    size_t key_len;
    uint8_t key[ENGINE_KEY_MAX], bounds[2][ENGINE_KEY_MAX];
    struct slice lower, upper;
};

static struct btree_iter *of(struct iter *it) { return (struct btree_iter *)it; }

/* Copies what the cursor stands at, if it is within the bounds. Under the reader's lock. */
static enum result show(struct btree_iter *i, int rc, const MDB_val *k, const MDB_val *stored)
{
    struct slice value;
    i->stands = false;
    if (rc != MDB_SUCCESS)
        return rc == MDB_NOTFOUND ? RES_NOT_FOUND : read_error(i->view->b, rc);
    struct slice key = slice_of(k->mv_data, k->mv_size);
    if (slice_cmp(key, i->lower) < 0 || (i->upper.len && slice_cmp(key, i->upper) >= 0))
        return RES_NOT_FOUND;
    if (key.len > ENGINE_KEY_MAX || !btree_value(key, stored, &value)) {
        log_warning("%s/data.mdb: a value does not have its checksum", i->view->b->dir);
        return RES_CORRUPT;
    }
    buf_clear(&i->value);
    enum result r = buf_append(&i->value, value.data, value.len);
    if (r != RES_OK)
        return r;
    memcpy(i->key, key.data, key.len);
    i->key_len = key.len;
    i->it.key = slice_of(i->key, key.len);
    i->it.value = buf_slice(&i->value);
    i->it.kind = RECORD_PUT;
    i->stands = true;
    return RES_OK;
}

/* Gets the cursor ready: the transaction may have begun anew since. Under the reader's lock. */
static int ready(struct btree_iter *i)
{
    int rc = MDB_SUCCESS;
    if (!i->cursor)
        rc = mdb_cursor_open(i->reader->txn, i->view->b->dbi, &i->cursor);
    else if (i->generation != i->view->generation)
        rc = mdb_cursor_renew(i->reader->txn, i->cursor);
    if (rc == MDB_SUCCESS && i->generation != i->view->generation && i->stands) {
        MDB_val k = {i->key_len, i->key}, stored;
        rc = mdb_cursor_get(i->cursor, &k, &stored, MDB_SET);
    }
    i->generation = i->view->generation;
    return rc;
}

enum move { MOVE_SEEK, MOVE_SEEK_LAST, MOVE_NEXT, MOVE_PREV };

static int move(struct btree_iter *i, enum move how, struct slice target, MDB_val *k, MDB_val *stored)
{
    if (how == MOVE_NEXT || how == MOVE_PREV)
        return mdb_cursor_get(i->cursor, k, stored, how == MOVE_NEXT ? MDB_NEXT : MDB_PREV);
    if (how == MOVE_SEEK_LAST && target.len == 0)
        return mdb_cursor_get(i->cursor, k, stored, MDB_LAST);
    *k = (MDB_val){target.len, (void *)(uintptr_t)target.data};
    int rc = mdb_cursor_get(i->cursor, k, stored, MDB_SET_RANGE);
    if (how == MOVE_SEEK)
        return rc;
    return rc == MDB_NOTFOUND  ? mdb_cursor_get(i->cursor, k, stored, MDB_LAST)
           : rc == MDB_SUCCESS ? mdb_cursor_get(i->cursor, k, stored, MDB_PREV)
                               : rc;
}

static enum result go(struct btree_iter *i, enum move how, struct slice target)
{
    MDB_val k, stored;
    enum result r;
    if (i->nowait && !__atomic_load_n(&i->view->b->resident, __ATOMIC_RELAXED)) {
        i->stands = false;
        return RES_WOULD_BLOCK;
    }
    if ((how == MOVE_NEXT || how == MOVE_PREV) && !i->stands)
        return RES_NOT_FOUND;
    os_mutex_lock(&i->reader->lock);
    if (i->reader->txn) {
        int rc = ready(i);
        if (rc == MDB_SUCCESS)
            rc = move(i, how, target, &k, &stored);
        r = show(i, rc, &k, &stored);
    } else {
        i->stands = false;
        r = RES_INTERRUPTED;
    }
    os_mutex_unlock(&i->reader->lock);
    return r;
}

static enum result bi_seek(struct iter *it, struct slice target)
{
    return go(of(it), MOVE_SEEK, slice_cmp(target, of(it)->lower) > 0 ? target : of(it)->lower);
}

static enum result bi_seek_last(struct iter *it, struct slice target)
{
    struct btree_iter *i = of(it);
    if (i->upper.len && (target.len == 0 || slice_cmp(target, i->upper) > 0))
        target = i->upper;
    return go(i, MOVE_SEEK_LAST, target);
}

static enum result bi_next(struct iter *it) { return go(of(it), MOVE_NEXT, slice_of(NULL, 0)); }
static enum result bi_prev(struct iter *it) { return go(of(it), MOVE_PREV, slice_of(NULL, 0)); }

static void bi_close(struct iter *it)
{
    struct btree_iter *i = of(it);
    os_mutex_lock(&i->reader->lock);
    if (i->cursor)
        mdb_cursor_close(i->cursor);
    os_mutex_unlock(&i->reader->lock);
    btree_view_unref(i->view);
    buf_fini(&i->value);
    free(i);
}

static const struct iter_ops btree_iter_ops = {bi_seek, bi_seek_last, bi_next, bi_prev, bi_close};

static enum result iter_below(struct engine_view *v, struct slice lower, struct slice upper, int flags,
                              struct iter **out)
{
    *out = NULL;
    lower = btree_lower(lower);
    if (lower.len > ENGINE_KEY_MAX || upper.len > ENGINE_KEY_MAX)
        return RES_INVALID;
    struct btree_iter *i = calloc(1, sizeof *i);
    if (!i)
        return RES_NO_MEMORY;
    i->it.ops = &btree_iter_ops;
    i->view = v;
    btree_view_ref(v);
    i->reader = &v->readers[__atomic_fetch_add(&v->b->turn, 1, __ATOMIC_RELAXED) % BTREE_READERS];
    i->nowait = flags & ITER_NOWAIT;
    memcpy(i->bounds[0], lower.data, lower.len);
    if (upper.len)
        memcpy(i->bounds[1], upper.data, upper.len);
    i->lower = slice_of(i->bounds[0], lower.len);
    i->upper = slice_of(i->bounds[1], upper.len);
    *out = &i->it;
    return RES_OK;
}

enum result btree_iter(struct engine_view *v, struct slice lower, struct slice upper, int flags, struct iter **out)
{
    struct iter *children[BTREE_LAYERS_MAX + 1];
    size_t n = 0;
    if (v->layer_count == 0)
        return iter_below(v, lower, upper, flags, out);
    enum result r = RES_OK;
    *out = NULL;
    for (unsigned i = 0; r == RES_OK && i < v->layer_count; i++)
        if ((r = private_iter(v->layers[i], lower, upper, flags | ITER_TOMBSTONES, &children[n])) == RES_OK)
            n++;
    if (r == RES_OK && (r = iter_below(v, lower, upper, flags, &children[n])) == RES_OK)
        n++;
    if (r == RES_OK)
        return iter_merge(children, n, flags & ITER_NOWAIT, out);
    while (n)
        iter_close(children[--n]);
    return r;
}

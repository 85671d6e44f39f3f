/* Dead ranges: keys to which nothing leads any more (engine.h). A range's record is REGION_DEAD followed by the first
 * dead key, its value the end. Readers never look at them; here they are merge-joined with tables, noted at the tables
 * they concern, and forgotten when nothing is left in them. */
#include <stdlib.h>

#include "engine/lsm/compact.h"

static const uint8_t dead_region[] = {REGION_DEAD}, after_dead[] = {REGION_DEAD + 1};

static enum result ranges_of(struct engine_view *v, struct iter **out)
{
    return version_iter(v, slice_of(dead_region, 1), slice_of(after_dead, 1), ITER_NO_FILL, out);
}

/* The range a record tells; false for what makes no sense, which is left alone. */
static bool range_of(const struct iter *record, struct slice *start, struct slice *end)
{
    *start = slice_of(record->key.data + 1, record->key.len - 1);
    *end = record->value;
    return start->len && end->len && end->len <= ENGINE_KEY_MAX && start->data[0] != REGION_DEAD &&
           slice_cmp(*start, *end) < 0;
}

bool dead_any(const struct engine_view *v)
{
    for (uint32_t i = 0; i < v->run_count; i++)
        if (run_overlaps(v->runs[i], slice_of(dead_region, 1), slice_of(after_dead, 1)))
            return true;
    return false;
}

/* ---- beside a compaction ---- */

enum result dead_cursor_init(struct dead_cursor *d, struct engine_view *v, struct slice last)
{
    uint8_t bound[ENGINE_KEY_MAX + 2];

    *d = (struct dead_cursor){.at = RES_NOT_FOUND};
    if (!dead_any(v))
        return RES_OK;
    /* Ranges that start behind the last key do not matter. */
    bound[0] = REGION_DEAD;
    memcpy(bound + 1, last.data, last.len);
    bound[last.len + 1] = 0;
    struct slice upper = slice_of(bound, last.len + 2);
    if (upper.len > ENGINE_KEY_MAX)
        upper = slice_of(after_dead, 1);
    enum result r = version_iter(v, slice_of(dead_region, 1), upper, ITER_NO_FILL, &d->ranges);
    if (r != RES_OK)
        return r;
    d->at = iter_seek(d->ranges, slice_of(NULL, 0));
    return d->at == RES_NOT_FOUND ? RES_OK : d->at;
}

void dead_cursor_fini(struct dead_cursor *d)
{
    iter_close(d->ranges);
    d->ranges = NULL;
}

enum result dead_cursor_covers(struct dead_cursor *d, struct slice key, bool *dead)
{
    while (d->at == RES_OK) {
        struct slice start, end;
        if (slice_cmp(slice_of(d->ranges->key.data + 1, d->ranges->key.len - 1), key) > 0)
            break;
        if (range_of(d->ranges, &start, &end) && slice_cmp(end, slice_of(d->end, d->end_len)) > 0) {
            memcpy(d->end, end.data, end.len);
            d->end_len = end.len;
        }
        d->at = iter_next(d->ranges);
    }
    *dead = slice_cmp(key, slice_of(d->end, d->end_len)) < 0 && key.data[0] != REGION_DEAD;
    return d->at == RES_OK || d->at == RES_NOT_FOUND ? RES_OK : d->at;
}

/* ---- what is in a range? ---- */

static enum result table_has(struct table *t, struct slice start, struct slice end, bool *has)
{
    struct iter *it;
    enum result r = table_iter(t, start, end, ITER_NO_FILL | ITER_TOMBSTONES, false, &it);
    if (r != RES_OK)
        return r;
    r = iter_seek(it, slice_of(NULL, 0));
    iter_close(it);
    *has = r == RES_OK;
    return r == RES_NOT_FOUND ? RES_OK : r;
}

enum result dead_range_is_empty(struct engine_view *v, const struct iter *record, bool *empty)
{
    struct slice start, end;

    *empty = false;
    if (!range_of(record, &start, &end))
        return RES_OK;
    for (uint32_t i = 0; i < v->run_count; i++) {
        uint32_t from, to;
        run_overlap(v->runs[i], start, end, &from, &to);
        for (; from < to; from++) {
            bool has;
            enum result r = table_has(v->runs[i]->tables[from], start, end, &has);
            if (r != RES_OK || has)
                return r;
        }
    }
    *empty = true;
    return RES_OK;
}

/* ---- the scan ---- */

static bool stopping(struct lsm *lsm) { return __atomic_load_n(&lsm->stopping, __ATOMIC_RELAXED); }

/* Notes at every table what it holds of one range. */
static enum result note_range(struct engine_view *v, struct slice start, struct slice end)
{
    for (uint32_t i = 0; i < v->run_count; i++) {
        uint32_t from, to;
        run_overlap(v->runs[i], start, end, &from, &to);
        for (; from < to; from++) {
            struct table *t = v->runs[i]->tables[from];
            bool has = true;
            if (slice_cmp(start, t->meta.first) <= 0 && slice_cmp(t->meta.last, end) < 0) {
                __atomic_store_n(&t->dead_whole, true, __ATOMIC_RELAXED);
                continue;
            }
            /* The index knows blocks only; what is noted leads to a rewrite, so it must be true. */
            enum result r = table_has(t, start, end, &has);
            if (r != RES_OK)
                return r;
            if (has)
                __atomic_fetch_add(&t->dead_bytes, table_range_bytes(t, start, end) + 1, __ATOMIC_RELAXED);
        }
    }
    return RES_OK;
}

static enum result note_ranges(struct lsm *lsm, struct engine_view *v, uint64_t *count)
{
    struct iter *it;
    enum result r = ranges_of(v, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK && !stopping(lsm); r = iter_next(it)) {
        struct slice start, end;
        ++*count;
        if (range_of(it, &start, &end) && (r = note_range(v, start, end)) != RES_OK)
            break;
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

/* Notes at a table of the region DEAD how much of it can be forgotten. */
static enum result note_forgettable(struct lsm *lsm, struct engine_view *v, struct table *t)
{
    struct iter *it;
    enum result r = table_iter(t, slice_of(dead_region, 1), slice_of(after_dead, 1), ITER_NO_FILL, true, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK && !stopping(lsm); r = iter_next(it)) {
        bool empty = false;
        if (it->kind == RECORD_PUT && (r = dead_range_is_empty(v, it, &empty)) != RES_OK)
            break;
        if (empty)
            __atomic_fetch_add(&t->dead_bytes, it->key.len + it->value.len, __ATOMIC_RELAXED);
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

enum result dead_scan(struct lsm *lsm)
{
    struct engine_view *v = lsm_view_acquire(lsm);
    uint64_t count = 0;

    for (uint32_t i = 0; i < v->run_count; i++)
        for (uint32_t k = 0; k < v->runs[i]->count; k++)
            __atomic_store_n(&v->runs[i]->tables[k]->dead_bytes, 0, __ATOMIC_RELAXED);
    enum result r = note_ranges(lsm, v, &count);
    for (uint32_t i = 0; r == RES_OK && i < v->run_count; i++) {
        uint32_t from, to;
        run_overlap(v->runs[i], slice_of(dead_region, 1), slice_of(after_dead, 1), &from, &to);
        for (; r == RES_OK && from < to; from++)
            r = note_forgettable(lsm, v, v->runs[i]->tables[from]);
    }
    lsm_view_release(v);
    os_mutex_lock(&lsm->lock);
    lsm->counted.dead_ranges = count;
    os_mutex_unlock(&lsm->lock);
    return r;
}

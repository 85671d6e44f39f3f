#include "engine/lsm/version.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/lsm/lsm.h"

/* ---- edits ---- */

void edit_fini(struct edit *e)
{
    free(e->adds);
    free(e->drops);
    *e = (struct edit){0};
}

static void *grown(void *p, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return p;
    size_t n = *cap ? *cap * 2 : 16;
    void *q = realloc(p, n * size);
    if (q)
        *cap = n;
    return q;
}

enum result edit_add(struct edit *e, struct table *t, int level, uint64_t run)
{
    struct edit_add *adds = grown(e->adds, e->add_count, &e->add_cap, sizeof *adds);
    if (!adds)
        return RES_NO_MEMORY;
    e->adds = adds;
    adds[e->add_count++] = (struct edit_add){t, level, run};
    return RES_OK;
}

enum result edit_drop(struct edit *e, struct table *t, int level)
{
    struct edit_drop *drops = grown(e->drops, e->drop_count, &e->drop_cap, sizeof *drops);
    if (!drops)
        return RES_NO_MEMORY;
    e->drops = drops;
    drops[e->drop_count++] = (struct edit_drop){t, level};
    return RES_OK;
}

/* ---- runs ---- */

static void run_unref(struct run *r)
{
    if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL))
        return;
    for (uint32_t i = 0; i < r->count; i++)
        table_unref(r->tables[i]);
    fences_fini(&r->fences);
    free(r);
}

static int by_first(const void *a, const void *b)
{
    struct table *const *x = a, *const *y = b;
    return slice_cmp((*x)->meta.first, (*y)->meta.first);
}

/* Takes references on the tables; sorts the array. */
static enum result run_new(struct table **tables, uint32_t count, uint64_t id, struct run **out)
{
    struct slice *keys = malloc((count + 1) * sizeof *keys);
    struct run *r = calloc(1, sizeof *r + count * sizeof(struct table *));
    enum result result = RES_NO_MEMORY;

    *out = NULL;
    if (!keys || !r)
        goto fail;
    qsort(tables, count, sizeof *tables, by_first);
    for (uint32_t i = 0; i < count; i++) {
        const struct table_meta *m = &tables[i]->meta;
        result = RES_CORRUPT;
        if (i && slice_cmp(tables[i - 1]->meta.last, m->first) >= 0)
            goto fail;
        keys[i] = m->first;
        r->bytes += m->size;
        r->records += m->records;
        r->tombstones += m->tombstones;
        r->data_bytes += m->key_bytes + m->value_bytes;
    }
    if ((result = fences_init(&r->fences, keys, count)) != RES_OK)
        goto fail;
    for (uint32_t i = 0; i < count; i++) {
        table_ref(tables[i]);
        r->tables[i] = tables[i];
    }
    r->refs = 1;
    r->count = count;
    r->id = id;
    free(keys);
    *out = r;
    return RES_OK;
fail:
    free(keys);
    free(r);
    return result;
}

static bool dropped(const struct edit *e, const struct table *t, int level)
{
    for (size_t i = 0; i < e->drop_count; i++)
        if (e->drops[i].table == t && e->drops[i].level == level)
            return true;
    return false;
}

/* The run of a level after the edit: the old one when nothing changes, NULL when nothing is left. */
static enum result run_edit(const struct run *old, const struct edit *e, int level, uint64_t id, struct run **out)
{
    uint32_t n = 0, most = (old ? old->count : 0) + (uint32_t)e->add_count;
    struct table **tables = malloc((most + 1) * sizeof(struct table *));
    bool changed = false;
    enum result r = RES_OK;

    *out = NULL;
    if (!tables)
        return RES_NO_MEMORY;
    for (uint32_t i = 0; old && i < old->count; i++) {
        if (dropped(e, old->tables[i], level))
            changed = true;
        else
            tables[n++] = old->tables[i];
    }
    for (size_t i = 0; i < e->add_count; i++)
        if (e->adds[i].level == level && (level > 0 || e->adds[i].run == id)) {
            tables[n++] = e->adds[i].table;
            changed = true;
        }
    if (!changed && old) {
        union { /* counts are not content */
            const struct run *in;
            struct run *shared;
        } u = {old};
        __atomic_fetch_add(&u.shared->refs, 1, __ATOMIC_RELAXED);
        *out = u.shared;
    } else if (n) {
        r = run_new(tables, n, id, out);
    }
    free(tables);
    return r;
}

/* ---- versions ---- */

void version_ref(struct engine_view *v) { __atomic_fetch_add(&v->refs, 1, __ATOMIC_RELAXED); }

void version_unref(struct engine_view *v)
{
    if (!v || __atomic_sub_fetch(&v->refs, 1, __ATOMIC_ACQ_REL))
        return;
    for (uint32_t i = 0; i < v->run_count; i++)
        run_unref(v->runs[i]);
    free(v);
}

/* The ids of level 0 after the edit, newest first, some perhaps of runs that become empty. */
static size_t level0_ids(const struct engine_view *old, const struct edit *e, uint64_t *ids)
{
    size_t n = 0;
    for (uint32_t i = 0; old && i < old->level0_count; i++)
        ids[n++] = old->runs[i]->id;
    for (size_t i = 0; i < e->add_count; i++) {
        if (e->adds[i].level != 0)
            continue;
        size_t at = 0;
        while (at < n && ids[at] > e->adds[i].run)
            at++;
        if (at < n && ids[at] == e->adds[i].run)
            continue;
        memmove(ids + at + 1, ids + at, (n - at) * sizeof *ids);
        ids[at] = e->adds[i].run;
        n++;
    }
    return n;
}

static const struct run *run_by_id(const struct engine_view *v, uint64_t id)
{
    for (uint32_t i = 0; v && i < v->level0_count; i++)
        if (v->runs[i]->id == id)
            return v->runs[i];
    return NULL;
}

enum result version_edit(struct lsm *lsm, const struct engine_view *old, const struct edit *e, struct engine_view **out)
{
    size_t most = (old ? old->level0_count : 0) + e->add_count;
    struct engine_view *v = calloc(1, sizeof *v + (most + ENGINE_LEVELS) * sizeof(struct run *));
    uint64_t *ids = malloc((most + 1) * sizeof *ids);
    enum result r;
    struct run *run;

    *out = NULL;
    if (!v || !ids) {
        free(v);
        free(ids);
        return RES_NO_MEMORY;
    }
    v->lsm = lsm;
    v->refs = 1;
    size_t n = level0_ids(old, e, ids);
    for (size_t i = 0; i < n; i++) {
        if ((r = run_edit(run_by_id(old, ids[i]), e, 0, ids[i], &run)) != RES_OK)
            goto fail;
        if (run)
            v->runs[v->run_count++] = run;
    }
    v->level0_count = v->run_count;
    for (int level = 1; level < ENGINE_LEVELS; level++) {
        if ((r = run_edit(old ? old->level[level] : NULL, e, level, 0, &run)) != RES_OK)
            goto fail;
        if (run)
            v->level[level] = v->runs[v->run_count++] = run;
    }
    free(ids);
    *out = v;
    return RES_OK;
fail:
    free(ids);
    version_unref(v);
    return r;
}

void run_overlap(const struct run *r, struct slice lower, struct slice upper, uint32_t *from, uint32_t *to)
{
    *from = *to = 0;
    if (!r)
        return;
    int64_t i = fences_find(&r->fences, lower);
    if (i < 0 || slice_cmp(r->tables[i]->meta.last, lower) < 0)
        i++;
    *from = (uint32_t)i;
    *to = upper.len ? (uint32_t)(fences_find(&r->fences, upper) + 1) : r->count;
    if (*to < *from)
        *to = *from;
}

bool run_overlaps(const struct run *r, struct slice lower, struct slice upper)
{
    uint32_t from, to;
    run_overlap(r, lower, upper, &from, &to);
    return from < to;
}

/* ---- reading ---- */

#define PREFETCH_RUNS 8 /* of the newest: more are not looked ahead into */

enum result version_get(struct engine_view *v, const struct engine_key *key, int flags, struct slice *value,
                        struct engine_miss *miss)
{
    for (uint32_t i = 0; i < v->run_count; i++) {
        const struct run *run = v->runs[i];
        uint8_t kind;
        int64_t at = fences_find(&run->fences, key->bytes);
        if (at < 0)
            continue;
        enum result r = table_get(run->tables[at], key, flags, &kind, value, miss);
        if (r == RES_OK && kind == RECORD_DELETE)
            return RES_NOT_FOUND;
        if (r != RES_NOT_FOUND)
            return r;
    }
    return RES_NOT_FOUND;
}

static void prefetch_filters(struct engine_view *v, uint32_t runs, const struct engine_key *const *keys, unsigned n,
                             const struct table *(*table)[PREFETCH_RUNS])
{
    for (unsigned k = 0; k < n; k++)
        for (uint32_t i = 0; i < runs; i++) {
            int64_t at = fences_find(&v->runs[i]->fences, keys[k]->bytes);
            const struct table *t = at >= 0 ? v->runs[i]->tables[at] : NULL;
            table[k][i] = t && t->filter.lines ? t : NULL;
            if (table[k][i])
                __builtin_prefetch(filter_line(&t->filter, keys[k]->hash));
        }
}

/* Filter lines of all keys; for each the block, by its slot, of the first table whose filter says perhaps; the block's
 * tags; the record. Each step finds in the cache what the one before has fetched. */
void version_prefetch(struct engine_view *v, const struct engine_key *const *keys, unsigned n)
{
    const struct table *table[ENGINE_PREFETCH_MAX][PREFETCH_RUNS];
    const uintptr_t *slot[ENGINE_PREFETCH_MAX];
    const struct block *block[ENGINE_PREFETCH_MAX];
    uint32_t runs = v->run_count < PREFETCH_RUNS ? v->run_count : PREFETCH_RUNS;
    assert(n <= ENGINE_PREFETCH_MAX);
    prefetch_filters(v, runs, keys, n, table);
    for (unsigned k = 0; k < n; k++) {
        slot[k] = NULL;
        for (uint32_t i = 0; i < runs && !slot[k]; i++)
            if (table[k][i] && filter_may_hold(&table[k][i]->filter, keys[k]->hash))
                slot[k] = table_prefetch_slot(table[k][i], keys[k]);
    }
    for (unsigned k = 0; k < n; k++)
        block[k] = slot[k] ? table_prefetch_block(slot[k]) : NULL;
    for (unsigned k = 0; k < n; k++)
        if (block[k])
            block_prefetch_tags(block[k]);
    for (unsigned k = 0; k < n; k++)
        if (block[k])
            block_prefetch_record(block[k], keys[k]);
}

uint64_t version_range_bytes(struct engine_view *v, struct slice lower, struct slice upper)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < v->run_count; i++) {
        uint32_t from, to;
        run_overlap(v->runs[i], lower, upper, &from, &to);
        for (; from < to; from++)
            bytes += table_range_bytes(v->runs[i]->tables[from], lower, upper);
    }
    return bytes;
}

/* What an iterator over a version keeps until it is closed. */
struct anchor {
    struct engine_view *view;
    uint8_t bounds[];
};

static void anchor_close(void *arg)
{
    struct anchor *a = arg;
    lsm_view_release(a->view);
    free(a);
}

enum result version_iter(struct engine_view *v, struct slice lower, struct slice upper, int flags, struct iter **out)
{
    struct anchor *a = malloc(sizeof *a + lower.len + upper.len);
    struct iter **children = malloc((v->run_count + 1) * sizeof(struct iter *));
    size_t n = 0;

    *out = NULL;
    if (!a || !children) {
        free(a);
        free(children);
        return RES_NO_MEMORY;
    }
    if (lower.len)
        memcpy(a->bounds, lower.data, lower.len);
    if (upper.len)
        memcpy(a->bounds + lower.len, upper.data, upper.len);
    lower.data = a->bounds;
    upper.data = a->bounds + lower.len;
    a->view = v;
    lsm_view_ref(v);
    for (uint32_t i = 0; i < v->run_count; i++) {
        uint32_t from, to;
        run_overlap(v->runs[i], lower, upper, &from, &to);
        if (from == to)
            continue;
        enum result r = run_iter(v->runs[i]->tables + from, to - from, lower, upper, flags, &children[n]);
        if (r != RES_OK) {
            while (n)
                iter_close(children[--n]);
            anchor_close(a);
            free(children);
            return r;
        }
        n++;
    }
    enum result r = iter_merge_with(children, n, flags, anchor_close, a, out);
    free(children);
    return r;
}

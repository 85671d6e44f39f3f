/* What comes from the front: sorted runs and private tables. */
#include <assert.h>
#include <stdlib.h>

#include "engine/lsm/compact.h"

/* ---- placing ---- */

static bool claimed(const struct lsm *lsm, const struct table_meta *m)
{
    for (const struct lsm_claim *c = lsm->claims; c; c = c->next)
        if (slice_cmp(c->lower, m->last) <= 0 && slice_cmp(m->first, c->upper) <= 0)
            return true;
    return false;
}

/* The deepest level at which the newest data may lie: nothing of its range lies there or above. Above the base it is
 * level 0, where several runs are merged down at once; and small tables go there to be merged with others, lest the
 * levels fill with crumbs. One that is compressed in another way than the level goes down by a merge. Under lsm->lock. */
static int place(const struct lsm *lsm, const struct table *t)
{
    const struct engine_view *v = lsm->current;
    const struct table_meta *m = &t->meta;
    struct level_plan p;
    int level = 0;

    if (m->size < lsm->options.table_bytes / 4 || claimed(lsm, m))
        return 0;
    for (uint32_t i = 0; i < v->level0_count; i++)
        if (run_overlaps(v->runs[i], m->first, m->last))
            return 0;
    while (level < BOTTOM_LEVEL && !run_overlaps(v->level[level + 1], m->first, m->last))
        level++;
    plan_levels(lsm, v, &p);
    if (level < p.base || lsm_compression(lsm, level, p.base).kind != m->packing)
        return 0;
    return level;
}

static void unclaim(struct lsm *lsm, const struct lsm_claim *claim)
{
    struct lsm_claim **p = &lsm->claims;
    while (*p != claim)
        p = &(*p)->next;
    *p = claim->next;
}

/* Adds the tables, which are the newest data there is, and commits. Ranges placed below level 0 are claimed meanwhile,
 * so that no compaction writes around them. */
static enum result install(struct lsm *lsm, struct table **tables, size_t count, struct edit *e)
{
    struct lsm_claim *claims = calloc(count + 1, sizeof *claims);
    size_t claim_count = 0;
    uint64_t run = lsm_new_number(lsm);
    enum result r = claims ? RES_OK : RES_NO_MEMORY;

    if (r != RES_OK)
        return r;
    os_mutex_lock(&lsm->lock);
    for (size_t i = 0; r == RES_OK && i < count; i++) {
        int level = place(lsm, tables[i]);
        r = edit_add(e, tables[i], level, level == 0 ? run : 0);
        if (r != RES_OK || level == 0)
            continue;
        struct lsm_claim *c = &claims[claim_count++];
        *c = (struct lsm_claim){lsm->claims, tables[i]->meta.first, tables[i]->meta.last, level, level};
        lsm->claims = c;
    }
    os_mutex_unlock(&lsm->lock);
    if (r == RES_OK)
        r = lsm_commit_edit(lsm, e);
    os_mutex_lock(&lsm->lock);
    for (size_t i = 0; i < claim_count; i++)
        unclaim(lsm, &claims[i]);
    for (size_t i = 0; r == RES_OK && i < count; i++)
        if (tables[i]->meta.first.data[0] <= REGION_DEAD && tables[i]->meta.last.data[0] >= REGION_DEAD)
            lsm->dead_due = true;
    lsm_data_came(lsm);
    os_cond_broadcast(&lsm->work);
    os_mutex_unlock(&lsm->lock);
    free(claims);
    return r;
}

/* ---- runs ---- */

static enum result write_run(struct lsm *lsm, struct iter *run, struct output *o)
{
    enum result r = iter_seek(run, slice_of(NULL, 0));
    while (r == RES_OK) {
        if (output_table_bytes(o) >= lsm->options.table_bytes)
            r = output_cut(o);
        if (r == RES_OK)
            r = output_add(o, run);
        if (r == RES_OK)
            r = iter_next(run);
        else
            return r == RES_NOT_FOUND ? RES_CORRUPT : r;
    }
    return r == RES_NOT_FOUND ? output_finish(o) : r;
}

enum result lsm_absorb(struct engine *engine, struct iter *run, const struct engine_boundary *boundary)
{
    struct lsm *lsm = (struct lsm *)engine;
    struct edit e = {.boundary = boundary};
    struct output o;
    enum result r = lsm_failed(lsm);

    if (r != RES_OK)
        return r;
    output_init(&o, lsm, boundary->sequence, lsm_compression(lsm, 0, 1));
    output_look(&o);
    if (run)
        r = write_run(lsm, run, &o);
    if (r == RES_OK)
        r = install(lsm, o.tables, o.count, &e);
    if (r == RES_OK && o.count) {
        os_mutex_lock(&lsm->lock);
        lsm->counted.flushes++;
        lsm->counted.flush_bytes += o.bytes;
        lsm->run_bytes = lsm->run_bytes ? (3 * lsm->run_bytes + o.bytes) / 4 : o.bytes;
        os_mutex_unlock(&lsm->lock);
    }
    output_fini(&o, r != RES_OK && !e.in_doubt);
    edit_fini(&e);
    if (r == RES_IO)
        lsm_fail(lsm, r, "writing a table");
    return r;
}

/* ---- private tables ---- */

struct engine_table {
    struct lsm *lsm;
    uint64_t number;
    struct table_writer *writer; /* until it is finished */
    struct table *table;         /* from then on */
    bool attached, in_doubt;
};

enum result lsm_table_begin(struct engine *engine, struct engine_table **out)
{
    struct lsm *lsm = (struct lsm *)engine;
    struct engine_table *t = calloc(1, sizeof *t);
    enum result r = lsm_failed(lsm);

    *out = NULL;
    if (r == RES_OK && !t)
        r = RES_NO_MEMORY;
    if (r != RES_OK)
        goto fail;
    t->lsm = lsm;
    t->number = lsm_new_number(lsm);
    struct table_writer_options o = {.number = t->number,
                                     .piece = table_piece(lsm->cache, TABLE_WRITE_PIECE),
                                     .block_bytes = lsm->options.block_bytes,
                                     .compression = lsm_compression(lsm, 0, 1)};
    if ((r = lsm_create_table(lsm, t->number, false, &o.file)) != RES_OK)
        goto fail;
    if ((r = table_writer_new(&o, &t->writer)) != RES_OK) {
        lsm_remove_table(lsm, t->number);
        goto fail;
    }
    *out = t;
    return RES_OK;
fail:
    free(t);
    return r;
}

enum result lsm_table_add(struct engine_table *t, struct slice key, uint8_t kind, struct slice value)
{
    return table_writer_add(t->writer, key, kind, value);
}

enum result lsm_table_finish(struct engine_table *t, uint64_t *number)
{
    struct lsm *lsm = t->lsm;
    uint64_t size;

    *number = 0;
    if (table_writer_records(t->writer) == 0)
        return RES_INVALID;
    struct table_writer *w = t->writer;
    t->writer = NULL;
    enum result r = table_writer_finish(w, &size);
    if (r == RES_OK)
        r = lsm_sync_names(lsm);
    if (r == RES_OK)
        r = lsm_open_table(lsm, t->number, size, &t->table, NULL);
    if (r == RES_OK)
        *number = t->number;
    return r;
}

static void handle_free(struct engine_table *t)
{
    table_unref(t->table);
    free(t);
}

void lsm_table_abort(struct engine_table *t)
{
    assert(!t->attached);
    table_writer_abort(t->writer);
    if (t->table && !t->in_doubt)
        __atomic_store_n(&t->table->obsolete, true, __ATOMIC_RELAXED);
    else if (!t->table)
        lsm_remove_table(t->lsm, t->number);
    handle_free(t);
}

/* Is it one of the tables that everybody sees? */
static bool installed(struct lsm *lsm, uint64_t number)
{
    struct engine_view *v = lsm_view_acquire(lsm);
    bool found = false;
    for (uint32_t i = 0; i < v->run_count; i++)
        for (uint32_t k = 0; k < v->runs[i]->count; k++)
            found |= v->runs[i]->tables[k]->meta.number == number;
    lsm_view_release(v);
    return found;
}

/* Where the private table is gone its number may have been given to another, by this process or by an earlier one that got
 * no further: that is not what the log means. Which of them is installed does not tell: a merge's output is not yet, and
 * what was merged is no longer; but only private tables are of no region. */
enum result lsm_table_open(struct engine *engine, uint64_t number, struct engine_table **out)
{
    struct lsm *lsm = (struct lsm *)engine;
    struct engine_table *t = calloc(1, sizeof *t);
    struct errmsg ignored;

    *out = NULL;
    if (!t)
        return RES_NO_MEMORY;
    t->lsm = lsm;
    t->number = number;
    enum result r = installed(lsm, number) ? RES_NOT_FOUND : lsm_open_table(lsm, number, 0, &t->table, &ignored);
    if (r == RES_OK && t->table->meta.region != 0)
        r = RES_NOT_FOUND;
    if (r != RES_OK) {
        table_unref(t->table);
        free(t);
        return r;
    }
    *out = t;
    return RES_OK;
}

enum result lsm_table_get(struct engine_table *t, const struct engine_key *key, int flags, uint8_t *kind,
                          struct slice *value, struct engine_miss *miss)
{
    return table_get(t->table, key, flags, kind, value, miss);
}

enum result lsm_table_iter(struct engine_table *t, struct slice lower, struct slice upper, int flags, struct iter **out)
{
    struct iter *inner;
    enum result r = table_iter(t->table, lower, upper, flags, true, &inner);
    *out = NULL;
    if (r == RES_OK && (flags & ITER_TOMBSTONES))
        *out = inner;
    else if (r == RES_OK)
        r = iter_merge(&inner, 1, flags, out); /* which skips tombstones */
    return r;
}

void lsm_table_release(struct engine_table *t) { handle_free(t); }

enum result lsm_attach(struct engine *engine, struct engine_table *t, const struct engine_boundary *boundary)
{
    struct lsm *lsm = (struct lsm *)engine;
    struct edit e = {.boundary = boundary, .private_table = true};

    assert(t->table && !t->attached);
    enum result r = lsm_failed(lsm);
    if (r == RES_OK)
        r = install(lsm, &t->table, 1, &e);
    t->attached = r == RES_OK;
    t->in_doubt = e.in_doubt;
    edit_fini(&e);
    return r;
}

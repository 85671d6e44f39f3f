/* Writing a sequence of tables: what absorb and compaction have in common. */
#include <stdlib.h>

#include "engine/lsm/lsm.h"

struct engine_compression lsm_compression(const struct lsm *lsm, int level, int base)
{
    int i = level == 0 ? 0 : level <= base ? 1 : level - base + 1;
    uint16_t v = atomic_load_explicit(&lsm->compression[i], memory_order_relaxed);
    return (struct engine_compression){.kind = (uint8_t)(v >> 8), .level = (uint8_t)v};
}

void output_init(struct output *o, struct lsm *lsm, uint64_t boundary, struct engine_compression compression)
{
    *o = (struct output){.lsm = lsm, .boundary = boundary, .compression = compression};
}

/* Memory of writing belongs to the budget: what is collected, index and hashes, blocks that are kept. */
static void charge(struct output *o)
{
    struct cache *c = o->lsm->cache;
    uint64_t table = o->lsm->options.table_bytes, most = __atomic_load_n(&c->capacity, __ATOMIC_RELAXED);
    o->charged = (int64_t)(table_piece(c, TABLE_WRITE_PIECE) + table / 8 +
                           pack_memory(o->compression, o->lsm->options.block_bytes));
    o->charged_blocks = table < most / 4 ? (int64_t)table : 0;
    cache_charge_work(c, o->charged);
    cache_charge_blocks(c, o->charged_blocks);
}

static bool has_room(const struct output *o) { return cache_room(o->lsm->cache) > 2 * o->lsm->options.table_bytes; }

/* New blocks take the place of old ones that hold the same records: whoever reads them should not have to fetch them
 * from the file. That is so where what is merged lies in the cache; and for new records, while there is room, where those
 * of the time before are read, which is looked at when they are flushed (output_look). Elements that are only added
 * would fill the memory for nothing. */
static bool keeps_blocks(const struct output *o, uint8_t region)
{
    if (o->warm)
        return o->lsm->options.table_bytes < __atomic_load_n(&o->lsm->cache->capacity, __ATOMIC_RELAXED) / 4;
    return o->flush && o->lsm->wanted[region] && has_room(o);
}

/* Are the newest tables of the region read? They may have moved on from level 0 as they are, as all do while keys come in
 * order; those that were merged with others say nothing of new records. */
static void look(struct lsm *lsm, const struct engine_view *v, uint8_t region)
{
    for (uint32_t i = 0; i < v->run_count; i++)
        for (uint32_t k = 0; k < v->runs[i]->count; k++) {
            const struct table *t = v->runs[i]->tables[k];
            if (i < v->level0_count ? t->meta.region == region : t->meta.number == lsm->flushed[region]) {
                lsm->wanted[region] = table_is_read(t);
                return;
            }
        }
}

void output_look(struct output *o)
{
    struct engine_view *v = lsm_view_acquire(o->lsm);
    look(o->lsm, v, REGION_META);
    look(o->lsm, v, REGION_ELEMENT);
    look(o->lsm, v, REGION_EXPIRY);
    lsm_view_release(v);
    o->flush = true;
}

static enum result begin(struct output *o, uint8_t region)
{
    struct lsm *lsm = o->lsm;
    if (!o->charged)
        charge(o);
    struct table_writer_options w = {
        .number = lsm_new_number(lsm),
        .boundary = o->boundary,
        .block_bytes = lsm->options.block_bytes,
        .piece = table_piece(lsm->cache, TABLE_WRITE_PIECE),
        .region = region,
        .compression = o->compression,
        .keep = keeps_blocks(o, region) ? &o->kept : NULL,
    };
    w.direct =
        w.keep && has_room(o); /* where blocks are evicted, the page cache holds them for a second time with reason */
    enum result r = lsm_create_table(lsm, w.number, w.direct, &w.file);
    if (r != RES_OK)
        return r;
    r = table_writer_new(&w, &o->writer);
    if (r != RES_OK)
        lsm_remove_table(lsm, w.number);
    else
        o->number = w.number;
    if (o->flush)
        lsm->flushed[region] = w.number;
    return r;
}

enum result output_add(struct output *o, const struct iter *record)
{
    enum result r = RES_OK;
    struct slice last = o->writer ? table_writer_last(o->writer) : buf_slice(&o->last);
    if (slice_cmp(last, record->key) >= 0)
        return RES_CORRUPT; /* a table whose checksums hold is out of order all the same */
    if (o->writer && last.data[0] != record->key.data[0])
        r = output_cut(o);
    if (r == RES_OK && !o->writer)
        r = begin(o, record->key.data[0]);
    return r == RES_OK ? table_writer_add(o->writer, record->key, record->kind, record->value) : r;
}

uint64_t output_table_bytes(const struct output *o) { return o->writer ? table_writer_bytes(o->writer) : 0; }

enum result output_cut(struct output *o)
{
    uint64_t size;

    if (!o->writer)
        return RES_OK;
    struct table_writer *w = o->writer;
    o->last.len = 0;
    enum result r = buf_append(&o->last, table_writer_last(w).data, table_writer_last(w).len);
    if (r != RES_OK)
        return r;
    o->writer = NULL;
    r = table_writer_finish(w, &size);
    if (r == RES_OK && o->count == o->cap) {
        size_t cap = o->cap ? o->cap * 2 : 16;
        struct table **tables = realloc(o->tables, cap * sizeof(struct table *));
        if (tables) {
            o->tables = tables;
            o->cap = cap;
        } else {
            r = RES_NO_MEMORY;
        }
    }
    if (r == RES_OK)
        r = lsm_open_table(o->lsm, o->number, size, &o->tables[o->count], NULL);
    if (r != RES_OK) {
        table_kept_fini(&o->kept);
        lsm_remove_table(o->lsm, o->number);
        return r;
    }
    table_adopt(o->tables[o->count], &o->kept);
    o->count++;
    o->bytes += size;
    return RES_OK;
}

enum result output_finish(struct output *o)
{
    enum result r = output_cut(o);
    if (r == RES_OK && o->count)
        r = lsm_sync_names(o->lsm);
    return r;
}

void output_fini(struct output *o, bool remove)
{
    if (o->writer) {
        table_writer_abort(o->writer);
        lsm_remove_table(o->lsm, o->number);
    }
    table_kept_fini(&o->kept);
    for (size_t i = 0; i < o->count; i++) {
        if (remove)
            __atomic_store_n(&o->tables[i]->obsolete, true, __ATOMIC_RELAXED);
        table_unref(o->tables[i]);
    }
    cache_charge_work(o->lsm->cache, -o->charged);
    cache_charge_blocks(o->lsm->cache, -o->charged_blocks);
    free(o->tables);
    buf_fini(&o->last);
    *o = (struct output){0};
}

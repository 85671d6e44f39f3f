/* Verifies everything: every block of every table, past the cache, and that keys are where order and fences say. */
#include <inttypes.h>

#include "engine/lsm/lsm.h"

struct seen {
    uint64_t records, tombstones;
    uint8_t last[ENGINE_KEY_MAX];
    size_t last_len;
};

static enum result check_record(const struct table *t, uint32_t block, const struct engine_key *key, uint8_t kind,
                                struct seen *s, const char **what)
{
    *what = NULL;
    if (s->records && slice_cmp(slice_of(s->last, s->last_len), key->bytes) >= 0)
        *what = "keys are not in order";
    else if (fences_find(&t->fences, key->bytes) != block)
        *what = "a key is in another block than its index entry says";
    else if (s->records == 0 && !slice_eq(t->meta.first, key->bytes))
        *what = "the first key is not the one in the properties";
    else if (t->meta.region && key->bytes.data[0] != t->meta.region)
        *what = "a key belongs to another region";
    else if (t->filter.lines && !filter_may_hold(&t->filter, key->hash))
        *what = "the filter does not know a key";
    memcpy(s->last, key->bytes.data, key->bytes.len);
    s->last_len = key->bytes.len;
    s->records++;
    s->tombstones += kind == RECORD_DELETE;
    return *what ? RES_CORRUPT : RES_OK;
}

static enum result check_block(struct table *t, uint32_t i, struct seen *s, const char **what)
{
    struct block *b;
    uint8_t key[ENGINE_KEY_MAX];

    *what = "a block cannot be read or its checksum does not hold";
    enum result r = table_read_block(t, i, 0, &b);
    if (r != RES_OK)
        return r;
    memcpy(key, b->image + b->prefix_at, b->prefix_len);
    for (uint32_t k = 0; r == RES_OK && k < b->count; k++) {
        struct block_record record, found;
        block_record_at(b, k, &record);
        memcpy(key + b->prefix_len, record.rest.data, record.rest.len);
        struct slice bytes = slice_of(key, b->prefix_len + record.rest.len);
        struct engine_key ek = {bytes, engine_hash(bytes)};
        r = check_record(t, i, &ek, record.kind, s, what);
        if (r == RES_OK && block_find(b, &ek, &found) != k) {
            *what = "a record has a wrong tag";
            r = RES_CORRUPT;
        }
    }
    block_unref(b);
    return r;
}

static enum result check_table(const struct lsm *lsm, struct table *t, struct errmsg *msg)
{
    struct seen s = {0};
    const char *what;

    for (uint32_t i = 0; i < t->fences.count; i++) {
        enum result r = check_block(t, i, &s, &what);
        if (r != RES_OK)
            return errmsg_set(msg, r, "%s/%06" PRIu64 ".sst: block %" PRIu32 " at offset %" PRIu64 ": %s (%s)",
                              lsm->sst, t->meta.number, i, table_block_offset(t, i), what, result_text(r));
    }
    if (s.records != t->meta.records || s.tombstones != t->meta.tombstones ||
        !slice_eq(t->meta.last, slice_of(s.last, s.last_len)))
        return errmsg_set(msg, RES_CORRUPT, "%s/%06" PRIu64 ".sst: holds other records than its properties say",
                          lsm->sst, t->meta.number);
    return RES_OK;
}

enum result lsm_check(struct engine *e, struct errmsg *msg)
{
    struct lsm *lsm = (struct lsm *)e;
    struct engine_view *v = lsm_view_acquire(lsm);
    enum result r = RES_OK;

    for (uint32_t i = 0; r == RES_OK && i < v->run_count; i++)
        for (uint32_t k = 0; r == RES_OK && k < v->runs[i]->count; k++)
            r = check_table(lsm, v->runs[i]->tables[k], msg);
    lsm_view_release(v);
    return r;
}

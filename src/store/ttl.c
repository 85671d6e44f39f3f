/* The average time to live that INFO shows for each database: sampled once a second by the expiry thread. A small
 * database is averaged exactly; of a larger one some windows of keys are looked at, and the average follows slowly. */
#include <stdlib.h>

#include "store/store_priv.h"

#define TTL_WINDOWS 4
#define TTL_INDEX_ENTRIES 64
#define TTL_SMOOTHING 8 /* a sample moves the average by an eighth of the way */

struct ttl_job {
    uint32_t db;
    /* results of the last run */
    uint64_t sum, count;
    bool exact;
};

static enum result add_ttl(struct call *c, void *arg, const struct store_scan_entry *entry)
{
    struct ttl_job *job = arg;
    if (entry->object.expire_ms >= c->now_ms) {
        job->sum += entry->object.expire_ms - c->now_ms;
        job->count++;
    }
    return RES_OK;
}

/* Where few keys of many expire: the times that stand first in the index. */
static enum result add_from_index(struct call *c, struct ttl_job *job, uint32_t keyspace)
{
    uint8_t lower[REGION_BOUND], upper[REGION_BOUND];
    region_bounds(REGION_EXPIRY, keyspace, lower, upper);
    struct iter *it;
    enum result r = call_iter(c, slice_of(lower, sizeof lower), slice_of(upper, sizeof upper), 0, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK && job->count < TTL_INDEX_ENTRIES; r = iter_next(it)) {
        if (it->key.len < EXPIRY_KEY_HEAD) {
            r = RES_CORRUPT;
            break;
        }
        uint64_t ms = get_be64(it->key.data + REGION_BOUND);
        job->sum += ms > c->now_ms ? ms - c->now_ms : 0;
        job->count++;
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result sample(struct call *c)
{
    struct ttl_job *job = call_background_arg(c);
    uint32_t keyspace;
    int64_t keys, expires;
    job->sum = job->count = 0;
    job->exact = true;
    enum result r = store_keyspace(c, job->db, &keyspace);
    if (r != RES_OK)
        return r;
    call_counts(c, keyspace, &keys, &expires);
    if (expires <= 0)
        return RES_OK;
    r = walk_sample(c, keyspace, keys, TTL_WINDOWS, &job->exact, add_ttl, job);
    if (r == RES_OK && job->count == 0)
        r = add_from_index(c, job, keyspace);
    return r;
}

void ttl_sample(struct store *s, uint32_t db)
{
    struct ttl_job job = {.db = db};
    uint64_t sequence;
    if (exec_background(s->shard, sample, &job, &sequence) != RES_OK)
        return;
    uint64_t old = atomic_load_explicit(&s->avg_ttl[db], memory_order_relaxed);
    uint64_t now = job.count ? job.sum / job.count : 0;
    if (!job.exact && old)
        now = now > old ? old + (now - old) / TTL_SMOOTHING : old - (old - now) / TTL_SMOOTHING;
    atomic_store_explicit(&s->avg_ttl[db], now, memory_order_relaxed);
}

uint64_t store_avg_ttl(struct shard *shard, uint32_t db)
{
    const struct store *s = shard_store(shard);
    return db < s->databases ? atomic_load_explicit(&s->avg_ttl[db], memory_order_relaxed) : 0;
}

enum result ttl_open(struct store *s)
{
    s->avg_ttl = calloc(s->databases, sizeof *s->avg_ttl);
    return s->avg_ttl ? RES_OK : RES_NO_MEMORY;
}

void ttl_close(struct store *s) { free(s->avg_ttl); }

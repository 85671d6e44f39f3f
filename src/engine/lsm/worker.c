/* The background threads: they bury tables, run compactions, and look after dead ranges. */
#include <stdlib.h>

#include "base/heap.h"
#include "base/log.h"
#include "engine/lsm/compact.h"

#define IDLE_NS 1000000000u
#define SCAN_REST 8          /* so many times as long as a look at the dead ranges took, the next one waits */
#define RETRY_NS 1000000000u /* after the disk was full */
#define IDLE_BYTES_PER_SECOND (16 << 20) /* what work that nobody waits for may cost */

/* Debt in runs of level 0 and in bytes above the levels' targets, in units of base_level_bytes. */
#define DEPTH_SOFT 12
#define DEPTH_HARD 36
#define PENDING_SOFT 16
#define PENDING_HARD 64

#define BUSY_NS 1000000000u  /* so long after data came, work that nobody waits for rests */
#define REST_NS 10000000000u /* and so long what is only worth it if no more comes */

static uint64_t now(struct lsm *lsm) { return lsm->env->ops->mono_ns(lsm->env); }

/* What the last idle work has taken of its share stays taken: else a merge of everything followed each flush. */
void lsm_data_came(struct lsm *lsm)
{
    uint64_t busy = now(lsm) + BUSY_NS;
    if (lsm->busy_until < busy)
        lsm->busy_until = busy;
    lsm->rest_from = now(lsm) + REST_NS;
}

/* Has the first input left the version? */
static bool replaced(const struct lsm *lsm, const struct job *j)
{
    for (uint32_t i = 0; i < lsm->current->run_count; i++)
        for (uint32_t k = 0; k < lsm->current->runs[i]->count; k++)
            if (lsm->current->runs[i]->tables[k] == j->inputs[0].table)
                return false;
    return true;
}

/* Runs a claimed job; called with the lock, which is let go meanwhile. */
static enum result run_claimed(struct lsm *lsm, struct job *j) REQUIRES(lsm->lock)
{
    os_mutex_unlock(&lsm->lock);
    enum result r = job_run(lsm, j);
    os_mutex_lock(&lsm->lock);
    job_unclaim(lsm, j);
    bool changed = replaced(lsm, j) || j->kind == JOB_MOVE;
    lsm->dead_due = dead_any(lsm->current);
    if (!lsm->dead_due)
        lsm->counted.dead_ranges = 0;
    if (r == RES_NO_SPACE || r == RES_NO_MEMORY || r == RES_TOO_MANY)
        lsm->retry_at = now(lsm) + RETRY_NS;
    os_cond_broadcast(&lsm->done);
    os_mutex_unlock(&lsm->lock);
    job_free(j);
    if (r == RES_NO_SPACE && lsm->options.on_full)
        lsm->options.on_full(lsm->options.arg);
    if (r == RES_IO || r == RES_CORRUPT)
        lsm_fail(lsm, r, "compaction");
    if (r == RES_OK && changed && lsm->options.on_change)
        lsm->options.on_change(lsm->options.arg);
    lsm_bury(lsm);
    epoch_poll();
    os_mutex_lock(&lsm->lock);
    return r;
}

static void scan_dead(struct lsm *lsm) REQUIRES(lsm->lock)
{
    lsm->dead_due = false;
    lsm->dead_scanning = true;
    uint64_t begin = now(lsm);
    os_mutex_unlock(&lsm->lock);
    enum result r = dead_scan(lsm);
    if (r != RES_OK)
        log_warning("%s: dead ranges cannot be looked at: %s", lsm->dir, result_text(r));
    os_mutex_lock(&lsm->lock);
    lsm->dead_scanning = false;
    lsm->dead_scan_at = now(lsm) + SCAN_REST * (now(lsm) - begin);
    os_cond_broadcast(&lsm->done);
}

/* One piece of work, or false when there is none now; *wait_ns: when to look again. */
static bool work_once(struct lsm *lsm, uint64_t *wait_ns) REQUIRES(lsm->lock)
{
    uint64_t time = now(lsm);

    *wait_ns = IDLE_NS;
    if (lsm->failed != RES_OK)
        return false;
    if (time < lsm->retry_at) {
        *wait_ns = lsm->retry_at - time;
        return false;
    }
    bool idle = time >= lsm->busy_until;
    struct job *j = pick_job(lsm, false);
    if (!j && lsm->dead_due && !lsm->dead_scanning && time >= lsm->dead_scan_at) {
        scan_dead(lsm);
        return true;
    }
    if (!j && idle && (j = pick_job(lsm, true)))
        lsm->busy_until = time + j->bytes * 1000000000 / IDLE_BYTES_PER_SECOND;
    else if (!j && !idle)
        *wait_ns = lsm->busy_until - time;
    if (!j)
        return false;
    (void)run_claimed(lsm, j); /* failures are dealt with there */
    return true;
}

static void work(void *arg)
{
    struct lsm *lsm = arg;

    heap_share();
    os_thread_lower_priority();
    os_mutex_lock(&lsm->lock);
    while (!lsm->stopping) {
        uint64_t wait_ns;
        if (lsm->gone) {
            os_mutex_unlock(&lsm->lock);
            lsm_bury(lsm);
            os_mutex_lock(&lsm->lock);
            continue;
        }
        if (work_once(lsm, &wait_ns))
            continue;
        os_mutex_unlock(&lsm->lock);
        epoch_poll();
        heap_rest();
        block_memory_trim(now(lsm));
        pack_trim();
        os_mutex_lock(&lsm->lock);
        if (!lsm->gone && !lsm->stopping)
            (void)os_cond_wait_for(&lsm->work, &lsm->lock, wait_ns < IDLE_NS ? wait_ns : IDLE_NS);
    }
    os_mutex_unlock(&lsm->lock);
}

enum result lsm_start_threads(struct lsm *lsm)
{
    lsm->dead_due = dead_any(lsm->current);
    lsm->rest_from = now(lsm) + REST_NS;
    for (int i = 0; i < lsm->options.compaction_threads; i++) {
        enum result r = os_thread_start(&lsm->threads[i], "compact", work, lsm);
        if (r != RES_OK) {
            lsm_stop_threads(lsm);
            return r;
        }
        lsm->thread_count++;
    }
    return RES_OK;
}

void lsm_stop_threads(struct lsm *lsm)
{
    os_mutex_lock(&lsm->lock);
    __atomic_store_n(&lsm->stopping, true, __ATOMIC_RELAXED);
    os_cond_broadcast(&lsm->work);
    os_cond_broadcast(&lsm->done);
    os_mutex_unlock(&lsm->lock);
    for (int i = 0; i < lsm->thread_count; i++)
        os_thread_join(&lsm->threads[i]);
    lsm->thread_count = 0;
}

static uint64_t scaled(uint64_t value, uint64_t soft, uint64_t hard)
{
    return value <= soft ? 0 : value >= hard ? 1000 : (value - soft) * 1000 / (hard - soft);
}

unsigned lsm_debt_of(const struct lsm *lsm, const struct engine_view *v)
{
    struct level_plan p;
    uint64_t unit = lsm->options.base_level_bytes;

    plan_levels(lsm, v, &p);
    uint64_t depth = scaled(p.depth, DEPTH_SOFT, DEPTH_HARD);
    uint64_t pending = scaled(p.pending, PENDING_SOFT * unit, PENDING_HARD * unit);
    return (unsigned)(depth > pending ? depth : pending);
}

unsigned lsm_debt(struct engine *e) { return __atomic_load_n(&((struct lsm *)e)->debt, __ATOMIC_RELAXED); }

/* By hand: everything of the range down to the bottom, then what the dead ranges and tombstones at the bottom leave.
 * The caller's thread does the work, beside the background threads. */
enum result lsm_compact(struct engine *e, struct slice lower, struct slice upper, const atomic_bool *stop)
{
    struct lsm *lsm = (struct lsm *)e;
    enum result r = RES_OK;
    int level = 0;
    bool scanned = false;

    os_mutex_lock(&lsm->lock);
    while (r == RES_OK) {
        struct job *j;
        if (lsm->failed != RES_OK || lsm->stopping || (stop && atomic_load(stop))) {
            r = lsm->failed != RES_OK ? lsm->failed : RES_CLOSED;
            break;
        }
        r = pick_range_job(lsm, lower, upper, &level, &j);
        if (r == RES_RETRY || (!j && lsm->dead_scanning)) {
            (void)os_cond_wait_for(&lsm->done, &lsm->lock, IDLE_NS);
            r = RES_OK;
        } else if (j) {
            j->stop = stop;
            r = run_claimed(lsm, j);
        } else if (r == RES_OK && !scanned && dead_any(lsm->current)) {
            scan_dead(lsm);
            scanned = true;
            level = BOTTOM_LEVEL;
        } else {
            break;
        }
    }
    os_mutex_unlock(&lsm->lock);
    lsm_bury(lsm);
    epoch_poll();
    return r;
}

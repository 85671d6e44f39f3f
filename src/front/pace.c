/* Pacing: writers that outrun the flusher or the compaction are slowed before they meet a wall.
 *
 * While a sealed memtable is being written, the keeper computes every millisecond
 *     rate = room left in memtables / time until the flush under way ends
 * from the progress of the flush (records walked of records held) and the speed of earlier ones: so the room is used up
 * just when the flush gives new room back, whatever the two speeds are. The engine's debt bounds the rate further: from
 * the flusher's own speed at no debt to a crawl at 1000.
 *
 * The latch holder takes a batch's bytes from a bucket that fills at that rate and holds two milliseconds of it. The
 * batch that finds it empty is told RES_WOULD_BLOCK, and the keeper's next turn says that there is space. */
#include "front/internal.h"

#define RATE_MIN 2097152.0 /* bytes a second */
#define BURST_NS 2000000.0

static double flush_speed(struct front *f, uint64_t now, double bytes, double *part)
{
    uint64_t started = atomic_load(&f->flush_started_ns), total = atomic_load(&f->flush_total);
    double known = (double)atomic_load(&f->flush_speed), walked = (double)atomic_load(&f->flush_walked);
    *part = 0;
    if (!started || !total || now <= started)
        return known;
    *part = walked < (double)total ? walked / (double)total : 1;
    double speed = *part * bytes / ((double)(now - started) / 1e9);
    return *part > 0.1 || known == 0 ? speed : known;
}

/* The keeper's part. True while writers are, or may soon have to be, held back. */
bool front_pace_update(struct front *f)
{
    uint64_t now = f->o.env->ops->mono_ns(f->o.env);
    unsigned debt = f->ops->debt ? f->ops->debt(f->engine) : 0;
    os_mutex_lock(&f->view_lock);
    double limit = (double)f->o.memtable_bytes, used = (double)memtable_used(f->sources[0]->memtable);
    int sealed = f->memtable_count - 1, free_slots = f->o.memtables_max - f->memtable_count;
    os_mutex_unlock(&f->view_lock);
    double part, rate = 0, speed = flush_speed(f, now, limit, &part);
    if (sealed > 0 && speed > 0 && atomic_load(&f->flush_started_ns)) {
        double room = free_slots * limit + (used < limit ? limit - used : 0);
        rate = room / ((1 - part) * limit / speed + 0.001);
    }
    if (debt > 0 && speed > 0) {
        double most = speed * (debt < 1000 ? 1000 - debt : 1) / 1000;
        rate = rate == 0 || most < rate ? most : rate;
    }
    if (rate > 0 && rate < RATE_MIN)
        rate = RATE_MIN;
    atomic_store_explicit(&f->pace_rate, (uint64_t)rate, memory_order_relaxed);
    return rate > 0;
}

/* The latch holder's part: may this many bytes go now? */
bool front_pace_take(struct front *f, uint64_t bytes, uint64_t rate)
{
    uint64_t now = f->o.env->ops->mono_ns(f->o.env);
    double per_ns = (double)rate / 1e9;
    if (f->pace_at == 0 || now - f->pace_at > 100000000)
        f->pace_tokens = per_ns * BURST_NS; /* pacing has just begun */
    else
        f->pace_tokens += (double)(now - f->pace_at) * per_ns;
    f->pace_at = now;
    if (f->pace_tokens > per_ns * BURST_NS)
        f->pace_tokens = per_ns * BURST_NS;
    if (f->pace_tokens <= 0)
        return false;
    f->pace_tokens -= (double)bytes; /* below zero by at most one batch: the next one waits for it */
    return true;
}

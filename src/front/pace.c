/* Pacing: writers that outrun the flusher or the compaction are slowed before they meet a wall.
 *
 * While a sealed memtable is being written, the keeper computes every millisecond
 *     rate = room left in memtables / time until the flush under way ends
 * so the room is used up just when the flush gives new room back, whatever the two speeds are. A flush syncs the log, puts
 * the memtable in order, walks it, and syncs the table. How long it still takes is told by its walk (records walked of
 * records held, and the time that took) as soon as there is a tenth of it, and before that by how long earlier flushes
 * took; before the first by a guess. Where no time passes between two looks, nothing is paced. The engine's debt bounds the
 * rate further: from the flusher's own speed at no debt to a crawl at 1000.
 *
 * What the latch holder's batches have taken of the memtable comes from a bucket that fills at that rate and holds two
 * milliseconds of it. The batch that finds it empty is told RES_WOULD_BLOCK, and the keeper's next turn says that there is
 * space. */
#include <math.h>

#include "front/internal.h"

#define RATE_MIN 2097152.0 /* bytes a second */
#define SPEED_FIRST 8.0e7  /* bytes a second: of the first flush, at a guess */
#define WALK_SHARE 0.5     /* at least, of what a flush takes */
#define SYNC_SHARE 0.05    /* of the table, behind the walk */
#define SLACK_NS 1000000.0
#define BURST_NS 2000000.0

static uint64_t now_ns(const struct front *f) { return f->o.env->ops->mono_ns(f->o.env); }

/* ---- the flusher's part ---- */

void front_pace_flush_begins(struct front *f, uint64_t records)
{
    uint64_t now = now_ns(f);
    atomic_store(&f->flush_walked, 0);
    atomic_store(&f->walk_started_ns, 0);
    atomic_store(&f->flush_total, records);
    atomic_store(&f->flush_started_ns, now ? now : 1);
}

void front_pace_walk_begins(struct front *f) { atomic_store(&f->walk_started_ns, now_ns(f)); }

void front_pace_flush_ends(struct front *f, uint64_t bytes)
{
    uint64_t ns = now_ns(f) - atomic_load(&f->flush_started_ns);
    atomic_store(&f->flush_started_ns, 0);
    if (bytes < front_memtable_bytes(f) / 4 || ns == 0)
        return;
    uint64_t speed = (uint64_t)((double)bytes * 1e9 / (double)ns), known = atomic_load(&f->flush_speed);
    atomic_store(&f->flush_speed, known ? known / 4 * 3 + speed / 4 : speed);
}

/* ---- the keeper's part ---- */

/* Nanoseconds until the flush under way, of so many bytes, ends; 0: there is none. */
static double flush_left(struct front *f, uint64_t now, double bytes)
{
    uint64_t started = atomic_load(&f->flush_started_ns), walking = atomic_load(&f->walk_started_ns);
    double total = (double)atomic_load(&f->flush_total), walked = (double)atomic_load(&f->flush_walked);
    if (!started || total == 0 || now <= started)
        return 0;
    double speed = (double)atomic_load(&f->flush_speed), whole = bytes * 1e9 / (speed > 0 ? speed : SPEED_FIRST);
    double elapsed = (double)(now - started), least = fmax(whole, elapsed), left;
    if (walking && now > walking && walked > total / 10)
        left = walked < total ? (total - walked) / walked * (double)(now - walking) : 0;
    else
        left = fmax(whole - elapsed, least * WALK_SHARE);
    return left + least * SYNC_SHARE + SLACK_NS;
}

/* True while writers are, or may soon have to be, held back. */
bool front_pace_update(struct front *f)
{
    uint64_t now = now_ns(f);
    unsigned debt = f->ops->debt ? f->ops->debt(f->engine) : 0;
    os_mutex_lock(&f->view_lock);
    double limit = (double)front_memtable_bytes(f), used = (double)memtable_used(f->sources[0]->memtable);
    int sealed = f->memtable_count - 1, free_slots = f->o.memtables_max - f->memtable_count;
    os_mutex_unlock(&f->view_lock);
    double rate = 0, left = sealed > 0 ? flush_left(f, now, limit) : 0;
    if (left > 0)
        rate = (free_slots * limit + (used < limit ? limit - used : 0)) / left * 1e9;
    if (debt > 0) {
        double most = (double)atomic_load(&f->flush_speed) * (debt < 1000 ? 1000 - debt : 1) / 1000;
        rate = most > 0 && (rate == 0 || most < rate) ? most : rate;
    }
    if (rate > 0 && rate < RATE_MIN)
        rate = RATE_MIN;
    atomic_store_explicit(&f->pace_rate, (uint64_t)rate, memory_order_relaxed);
    return rate > 0;
}

/* ---- the latch holder's part ---- */

/* May a batch go now? */
bool front_pace_take(struct front *f, uint64_t rate)
{
    uint64_t now = now_ns(f), used = memtable_used(f->active);
    double per_ns = (double)rate / 1e9;
    if (f->pace_at == 0 || now - f->pace_at > 100000000) {
        f->pace_tokens = per_ns * BURST_NS; /* pacing has just begun */
    } else {
        f->pace_tokens += (double)(now - f->pace_at) * per_ns;
        f->pace_tokens -= (double)(used >= f->pace_used ? used - f->pace_used : 0); /* by the batches since then */
    }
    f->pace_at = now;
    f->pace_used = used;
    if (f->pace_tokens > per_ns * BURST_NS)
        f->pace_tokens = per_ns * BURST_NS;
    if (f->pace_tokens < -per_ns * BURST_NS) /* what was taken before it was paced is not to be paid for */
        f->pace_tokens = -per_ns * BURST_NS;
    return f->pace_tokens > 0;
}

/* Pacing in a simulation: a writer that would fill memtables faster than they are flushed, a flusher of any speed and with any
 * share of its time before, in and behind the walk, the keeper's look every millisecond. What must hold:
 *   1. The writer is never kept waiting for long, in the first flush as little as in later ones.
 *   2. It is given what the flusher can take.
 *   3. A writer slower than the flusher is never held back.
 *   4. Where the clock stands, nobody is paced: nothing would ever let him go. */
#include "front/internal.h"
#include "os/env_memory.h"
#include "tests/lib/tap.h"

#define MB 1e6
#define LIMIT ((uint64_t)64000000)
#define BATCH 1000
#define STEP_NS 20000
#define LOOK_NS 1000000

struct world {
    struct front f;
    struct memtable active;
    struct front_source source;
    struct engine_ops ops;
    double flush_ns, walk_from, walk_to; /* of a whole memtable; shares of the time */
    bool flushing, walking;
    double part; /* of the flush that is done */
    uint64_t written, stalled_since, longest_stall_ns, refused;
};

static uint64_t now_of(const struct world *w) { return w->f.o.env->ops->mono_ns(w->f.o.env); }

static void world_init(struct world *w, double flush_mb_s, double walk_from, double walk_to)
{
    memset(w, 0, sizeof(*w));
    w->f.o.env = env_memory_new(1, ENV_MEMORY_PLAIN);
    w->f.o.memtables_max = 3;
    w->f.ops = &w->ops;
    w->f.memtable_bytes = LIMIT;
    w->f.active = &w->active;
    w->source.memtable = &w->active;
    w->f.sources[0] = &w->source;
    w->f.memtable_count = 1;
    os_mutex_init(&w->f.view_lock);
    w->flush_ns = (double)LIMIT / (flush_mb_s * MB) * 1e9;
    w->walk_from = walk_from;
    w->walk_to = walk_to;
}

static void world_fini(struct world *w)
{
    os_mutex_fini(&w->f.view_lock);
    env_memory_free(w->f.o.env);
}

static void flusher(struct world *w)
{
    if (!w->flushing && w->f.memtable_count > 1) {
        front_pace_flush_begins(&w->f, 1000000);
        w->flushing = true;
        w->walking = false;
        w->part = 0;
    }
    if (!w->flushing)
        return;
    w->part += STEP_NS / w->flush_ns;
    if (w->part >= w->walk_from && !w->walking) {
        front_pace_walk_begins(&w->f);
        w->walking = true;
    }
    double walked = (w->part - w->walk_from) / (w->walk_to - w->walk_from);
    w->f.flush_walked = walked <= 0 ? 0 : walked >= 1 ? 1000000 : (uint64_t)(walked * 1000000);
    if (w->part >= 1) {
        front_pace_flush_ends(&w->f, LIMIT);
        w->flushing = false;
        w->f.memtable_count--;
    }
}

/* One batch, if it may go. */
static bool write_one(struct world *w)
{
    if (w->active.used >= LIMIT) {
        if (w->f.memtable_count == w->f.o.memtables_max)
            return false;
        w->f.memtable_count++;
        w->active.used = 0;
    }
    uint64_t rate = w->f.pace_rate;
    if (rate && !front_pace_take(&w->f, rate)) {
        w->refused++;
        return false;
    }
    w->active.used += BATCH;
    w->written += BATCH;
    return true;
}

/* A writer of at most so many MB/s. Who was refused tries again at the keeper's next look. */
static void run(struct world *w, double seconds, double writer_mb_s)
{
    uint64_t end = now_of(w) + (uint64_t)(seconds * 1e9), look = 0;
    double due = 0;
    bool waits = false;
    while (now_of(w) < end) {
        env_memory_advance(w->f.o.env, STEP_NS);
        uint64_t now = now_of(w);
        flusher(w);
        if (now >= look) {
            (void)front_pace_update(&w->f);
            look = now + LOOK_NS;
            waits = false;
        }
        due += writer_mb_s * MB * STEP_NS / 1e9;
        while (due >= BATCH && !waits) {
            waits = !write_one(w);
            if (waits) {
                w->stalled_since = w->stalled_since ? w->stalled_since : now;
                due = 0;
                break;
            }
            due -= BATCH;
            uint64_t stall = w->stalled_since ? now - w->stalled_since : 0;
            w->stalled_since = 0;
            if (stall > w->longest_stall_ns)
                w->longest_stall_ns = stall;
        }
        if (waits)
            due = 0;
    }
}

static const struct {
    double flush_mb_s, walk_from, walk_to;
} flushers[] = {{40, 0.3, 0.95},  {40, 0.5, 0.9},  {80, 0.3, 0.95}, {80, 0.1, 0.99},
                {130, 0.3, 0.95}, {130, 0.5, 0.9}, {300, 0.3, 0.95}};
#define FLUSHERS (sizeof(flushers) / sizeof(*flushers))

static void writers_are_slowed_before_they_meet_a_wall(void)
{
    for (size_t i = 0; i < FLUSHERS; i++)
        for (double writer = 100; writer <= 400; writer += 100) {
            struct world w;
            world_init(&w, flushers[i].flush_mb_s, flushers[i].walk_from, flushers[i].walk_to);
            run(&w, 12, writer);
            double most = flushers[i].flush_mb_s < writer ? flushers[i].flush_mb_s : writer;
            double got = (double)w.written / MB / 12;
            if (!tap_check(w.longest_stall_ns <= 5000000) || !tap_check(got >= 0.85 * most))
                tap_diag("a writer of %.0f MB/s, flusher of %.0f: got %.1f MB/s, waited %.1f ms at most", writer,
                         flushers[i].flush_mb_s, got, (double)w.longest_stall_ns / 1e6);
            world_fini(&w);
        }
}

static void a_flusher_that_becomes_slow_makes_no_wall(void)
{
    for (size_t i = 0; i < FLUSHERS; i++) {
        struct world w;
        world_init(&w, flushers[i].flush_mb_s, flushers[i].walk_from, flushers[i].walk_to);
        run(&w, 6, 200);
        w.flush_ns *= 2;
        run(&w, 12, 200);
        if (!tap_check(w.longest_stall_ns <= 10000000))
            tap_diag("flusher of %.0f MB/s: waited %.1f ms at most", flushers[i].flush_mb_s,
                     (double)w.longest_stall_ns / 1e6);
        world_fini(&w);
    }
}

static void who_is_slower_than_the_flusher_is_left_alone(void)
{
    for (size_t i = 0; i < FLUSHERS; i++) {
        struct world w;
        double writer = flushers[i].flush_mb_s < 80 ? 30 : 75;
        world_init(&w, flushers[i].flush_mb_s, flushers[i].walk_from, flushers[i].walk_to);
        run(&w, 8, writer);
        tap_eq_u64(w.refused, 0);
        world_fini(&w);
    }
}

static void where_the_clock_stands_nobody_is_paced(void)
{
    struct world w;
    world_init(&w, 100, 0.3, 0.9);
    env_memory_set_clock(w.f.o.env, 1, 5);
    for (int flush = 0; flush < 3; flush++) {
        w.f.memtable_count = 3;
        front_pace_flush_begins(&w.f, 1000);
        tap_check(!front_pace_update(&w.f));
        front_pace_walk_begins(&w.f);
        w.f.flush_walked = 500;
        tap_check(!front_pace_update(&w.f));
        front_pace_flush_ends(&w.f, LIMIT);
        w.f.memtable_count = 1;
        tap_check(!front_pace_update(&w.f));
    }
    world_fini(&w);
}

int main(void)
{
    tap_test(writers_are_slowed_before_they_meet_a_wall);
    tap_test(a_flusher_that_becomes_slow_makes_no_wall);
    tap_test(who_is_slower_than_the_flusher_is_left_alone);
    tap_test(where_the_clock_stands_nobody_is_paced);
    return tap_done();
}

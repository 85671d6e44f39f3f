/* The clock that commands see (EXECUTION, rule 7), in milliseconds since 1970.
 *
 * `latest` is the maximum of the wall clock seen by any thread: a step back of less than a second is held, a larger one
 * is followed and logged. A key is expired when its expiry < now, so readers and writers must agree on who is how late:
 *
 * 1. A write fixes its `now` under the latch and keeps `running` at or below it from before it looks at the clock until
 *    after its batch is visible.
 * 2. A reader takes the clock (and has it published in `latest`) first, then looks at `running`, then at visible, and
 *    uses the minimum of the clock, `running`, and the `now` of every write above its snapshot. So a write it does not
 *    see either has a `now` no earlier than the reader's, or the reader takes the write's: no reader finds a key expired
 *    that an unfinished PERSIST or EXPIRE still found alive.
 * 3. For the third of these, a ring remembers from which sequence on which `now` held: one entry per change, kept while
 *    the gate has not passed it. When it is full, later writes count under the last entry, which is earlier: readers are
 *    then late, never early.
 *
 * Writers hold the latch; readers are any threads. */
#ifndef VARVE_EXEC_CLOCK_H
#define VARVE_EXEC_CLOCK_H

#include <stdatomic.h>

#include "os/env.h"

#define CLOCK_RING 8192
#define CLOCK_HOLD_MS 1000

struct clock_entry {
    _Atomic uint64_t first, now; /* commits from sequence `first` on were executed at `now` */
};

struct exec_clock {
    struct env *env;
    _Alignas(64) _Atomic uint64_t latest;
    _Alignas(64) _Atomic uint64_t running; /* 0: no write runs */
    _Atomic uint64_t head;                 /* entries ever added */
    uint64_t tail;                         /* oldest entry still needed; by the latch holder */
    struct clock_entry *ring;
};

enum result clock_init(struct exec_clock *c, struct env *env) MUST_CHECK;
void clock_fini(struct exec_clock *c);

/* A thread's last look at the wall clock: good for some microseconds. */
struct clock_cache {
    uint64_t real_ms, at_ns;
};
/* mono_ns: a recent reading of the monotonic clock. */
uint64_t clock_now(struct exec_clock *c, struct clock_cache *cache, uint64_t mono_ns);
uint64_t clock_fresh(struct exec_clock *c); /* without a cache */

/* The holder of the latch: before a write runs, and before it is committed with `sequence`, and when it releases. */
uint64_t clock_write_begin(struct exec_clock *c, struct clock_cache *cache, uint64_t mono_ns);
void clock_commit(struct exec_clock *c, uint64_t sequence, uint64_t now_ms, uint64_t gate);
static inline void clock_write_end(struct exec_clock *c)
{
    atomic_store_explicit(&c->running, 0, memory_order_release);
}

/* A reader at a snapshot: `now` came from clock_now() after the snapshot was chosen. Look at running first. */
static inline uint64_t clock_running(const struct exec_clock *c) { return atomic_load(&c->running); }
/* The least `now` of the writes above the snapshot; UINT64_MAX: none known. */
uint64_t clock_above(const struct exec_clock *c, uint64_t snapshot);

#endif

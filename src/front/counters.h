/* Exact counters beside the data (keys, keys with expiry; per keyspace), as of the newest commit and as of any snapshot
 * between the gate and visible.
 *
 * The latch's values live in a small hash table; every change is also noted in a ring of deltas with its sequence. The
 * value at a snapshot is the latch's value minus the deltas above the snapshot: work in proportion to the commits in
 * flight, no second table to follow the gate. A reader gets table value and ring head together under a sequence lock
 * that the one writer never waits for.
 *
 * Threads: reserve, apply, latched, snapshot: the latch holder. counters_at: anybody. */
#ifndef VARVE_FRONT_COUNTERS_H
#define VARVE_FRONT_COUNTERS_H

#include <stdatomic.h>

#include "front/front.h"

#define COUNTERS_RING 65536      /* deltas, a power of two; full of such above the gate: writers wait for it */
#define COUNTERS_RING_SMALL 8192 /* the same where there is little memory */
#define COUNTERS_BATCH_MAX 1024  /* changes in one batch */

struct counter_table;
struct counter_delta {
    _Atomic uint64_t sequence;
    _Atomic uint32_t id;
    _Atomic int64_t keys, expires;
};

struct counters {
    _Atomic(struct counter_table *) table;
    _Atomic uint32_t version; /* odd: a change is under way */
    _Atomic uint64_t head;    /* deltas noted */
    struct counter_delta *ring;
    uint64_t ring_size;
};

enum result counters_init(struct counters *c, uint64_t ring_size) MUST_CHECK;
void counters_fini(struct counters *c);
/* Room for the batch's changes: RES_OK, RES_WOULD_BLOCK (until the gate moves), RES_NO_MEMORY. */
enum result counters_reserve(struct counters *c, const struct batch *b, uint64_t gate) MUST_CHECK;
void counters_apply(struct counters *c, const struct batch_counter *changes, size_t n, uint64_t sequence);
struct front_counts counters_latched(const struct counters *c, uint32_t id);
struct front_counts counters_at(struct counters *c, uint32_t id, uint64_t snapshot);

/* All values that are not zero, as bytes: u32 count; u32 id, u64 keys, u64 keys with expiry each. */
size_t counters_bytes(const struct counters *c); /* an upper bound */
size_t counters_put(const struct counters *c, uint8_t *out);
enum result counters_load(struct counters *c, struct slice bytes) MUST_CHECK;

#endif

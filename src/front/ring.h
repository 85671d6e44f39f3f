/* The log ring: anonymous memory mapped twice, one copy behind the other, so that a run of bytes that wraps around is
 * contiguous for both sides. Positions only grow; a position's place is its remainder. The latch holder appends, the
 * log's writer hands the bytes to the file system from where they lie. */
#ifndef VARVE_FRONT_RING_H
#define VARVE_FRONT_RING_H

#include "base/result.h"
#include "base/slice.h"

struct ring {
    uint8_t *base;
    uint64_t size; /* a power of two, whole pages */
};

/* size is rounded up. */
enum result ring_init(struct ring *r, uint64_t size) MUST_CHECK;
void ring_fini(struct ring *r);
/* All up to `to` has been used, the latest of it from `from` on. What went through the second copy counts as memory of this
 * process once more as long as it stays mapped: much of it is unmapped. */
void ring_used(struct ring *r, uint64_t from, uint64_t to);
static inline uint8_t *ring_at(const struct ring *r, uint64_t position) { return r->base + (position & (r->size - 1)); }

#endif

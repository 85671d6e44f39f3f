/* Which keys were changed when: some 2^20 sequences by key hash (fewer where memory is scarce), for validating prepared commands (EXECUTION, rule 13). Every
 * commit stores its sequence for each key it signalled; a prepared command is valid if none of its keys was touched above
 * its snapshot. Two keys may share an entry: that costs a rerun, never correctness.
 *
 * The top bit of an entry says that the key is held: a prepared command failed three times over it, and until it has
 * committed, writers of the key wait. Everything here is read and changed under the write latch only. */
#ifndef VARVE_EXEC_TOUCHED_H
#define VARVE_EXEC_TOUCHED_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/result.h"
#include "base/slice.h"

#define TOUCHED_BITS 20
#define TOUCHED_BITS_LEAST 14
#define TOUCHED_HELD (UINT64_C(1) << 63)

struct touched {
    uint64_t *sequence;
    uint64_t mask;
    uint64_t held; /* entries with the bit */
};

static inline uint64_t *touched_at(const struct touched *t, uint64_t hash) { return &t->sequence[hash & t->mask]; }
static inline void touched_set(struct touched *t, uint64_t hash, uint64_t sequence)
{
    uint64_t *at = touched_at(t, hash);
    *at = sequence | (*at & TOUCHED_HELD);
}
static inline uint64_t touched_get(const struct touched *t, uint64_t hash)
{
    return *touched_at(t, hash) & ~TOUCHED_HELD;
}
static inline bool touched_is_held(const struct touched *t, uint64_t hash)
{
    return t->held && *touched_at(t, hash) & TOUCHED_HELD;
}
/* Of at most so many bytes; 0: no limit. On huge pages, because commits come to it in no order; written once, so that none
 * takes a page fault. */
static inline enum result touched_init(struct touched *t, uint64_t most)
{
    const size_t huge = (size_t)2 << 20;
    int bits = TOUCHED_BITS;
    while (most && bits > TOUCHED_BITS_LEAST && sizeof(uint64_t) << bits > most)
        bits--;
    size_t bytes = sizeof(uint64_t) << bits;
    t->held = 0;
    t->mask = (UINT64_C(1) << bits) - 1;
    t->sequence = aligned_alloc(bytes < huge ? bytes : huge, bytes);
    if (!t->sequence)
        return RES_NO_MEMORY;
    if (bytes >= huge)
        (void)madvise(t->sequence, bytes, MADV_HUGEPAGE);
    memset(t->sequence, 0, bytes);
    return RES_OK;
}
static inline void touched_fini(struct touched *t) { free(t->sequence); }

#endif

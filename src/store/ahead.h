/* What the next commands will take out of a collection, found by one that has just done so: SPOP's members (draw.c), the
 * elements at an end of a sorted set (zset_ends.c).
 *
 * Finding one element costs an iterator over all there is; finding the next hundred beside it costs little more. What was
 * found is kept in memory, for some objects at once, and is right as long as every commit that touched the object's key has
 * said so: the list carries the sequence of the last one that did, and is void when the key was touched by another. So
 * nothing has to tell that it changed the object; only who kept the list right tells that.
 *
 * Lists are looked at under the latch, by a run whose batch is this one change. What would wait or take long to be listed is
 * listed on the pool, by a run that has the key for itself (call_alone), and installed when its batch commits.
 *
 * Threads: a slot is the latch holder's. A run on the pool copies one under ahead_lock, which the latch holder takes to
 * give the slot another object or another list; should the lock not be free, the slot stays as it is. */
#ifndef VARVE_STORE_AHEAD_H
#define VARVE_STORE_AHEAD_H

#include "store/elements.h"

#define AHEAD_SLOTS 8
#define AHEAD_BYTES ((size_t)64 << 10) /* of a list, at most */

struct ahead {
    uint64_t id;       /* of the object; 0: none */
    uint64_t sequence; /* of the commit since which the list is right */
    uint32_t at, n;    /* the next element of the list; how many there are */
    void *list;        /* of the type's own shape */
    size_t len, cap;   /* its bytes, 0: there is none; what there is room for */
};

/* May this run take from a list, or make one? */
bool ahead_allowed(const struct elements *e);
/* Under the latch: the list of this object, which is right; it may have come to its end. NULL: there is none. */
struct ahead *ahead_find(const struct elements *e);
/* Before a list is made, where *a is what ahead_find() has found. In a prepared run, whoever wants to take from this object
 * waits from now on for the list that is made, and *a becomes a copy of what there is. RES_WOULD_BLOCK: not yet. */
enum result ahead_begin(const struct elements *e, struct ahead **a) MUST_CHECK;
/* When this run's batch commits, the object's list goes on at its element `at` of n. fresh: it is this one, of len bytes in
 * the arena. n may be 0: then there is a list at its end, by which the next run sees what kind of run came before it. */
enum result ahead_commit(struct elements *e, uint32_t at, uint32_t n, const void *fresh, size_t len) MUST_CHECK;

#endif

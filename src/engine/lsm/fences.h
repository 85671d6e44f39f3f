/* Fence keys: n ascending keys in little memory, and the question "which is the last fence at or below this key?". A
 * table keeps one fence a block, a sorted run one a table.
 *
 * What all fences share is kept once; the eight bytes behind it stand as a number in an array of their own, in which the
 * search interpolates (keys carry a hash early on, so guesses are good) and then gallops, so that no distribution of
 * keys makes it worse than a binary search. Whole keys are compared only between fences with equal numbers.
 *
 * Immutable once built; any thread may search. */
#ifndef VARVE_ENGINE_LSM_FENCES_H
#define VARVE_ENGINE_LSM_FENCES_H

#include "base/result.h"
#include "base/slice.h"

struct fences {
    uint32_t count;
    uint32_t prefix_len;
    uint64_t *heads; /* the eight bytes behind the prefix, big-endian, padded with zeros */
    uint32_t *ends;  /* fence i behind the prefix is rest[ends[i-1] .. ends[i]) */
    uint8_t *prefix;
    uint8_t *rest;
    double scale;  /* fences per head unit */
    size_t memory; /* bytes allocated */
};

/* Keys are ascending; n may be 0. Copies them. RES_RANGE when they hold 4 GiB or more. */
enum result fences_init(struct fences *f, const struct slice *keys, uint32_t n) MUST_CHECK;
void fences_fini(struct fences *f);
/* The last i with fence i <= key, or -1. */
int64_t fences_find(const struct fences *f, struct slice key);
/* The last i with fence i < key, or -1. */
int64_t fences_find_before(const struct fences *f, struct slice key);
/* Compares fence i with a key as slice_cmp does. */
int fences_cmp(const struct fences *f, uint32_t i, struct slice key);

#endif

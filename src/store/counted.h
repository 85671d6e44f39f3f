/* A counted tree: how many elements of an ordered subspace lie before a key, and where the n-th one is, in O(log n)
 * (EXECUTION, rule 38). It lies in SUBSPACE_RANKS of the same object:
 *
 *   level u8, boundary                ->  varint count; above level 0 also varint children
 *   255                               ->  the end of what is counted, where that is not all
 *
 * A node counts the elements from its boundary up to the next boundary of its level. The first boundary of each level is
 * empty, and a node has the boundary of its first child. Leaves, level 0, count about COUNTED_LEAF elements of the subspace
 * itself. Boundaries are keys cut to COUNTED_CUT bytes, so that elements with one cut are never parted.
 *
 * How many levels there are, how many nodes the highest has, and whether all elements are counted is the caller's to keep in
 * its metadata: struct counted. A tree is built from the start of the subspace in steps, each a batch of its own, and is right
 * about what it counts from the first step on, as long as every change is told. */
#ifndef VARVE_STORE_COUNTED_H
#define VARVE_STORE_COUNTED_H

#include "store/elements.h"

#ifndef COUNTED_LEAF /* a test makes trees that have levels with few elements */
#define COUNTED_LEAF 512
#define COUNTED_FAN 256
#endif
#define COUNTED_CUT 440
#define COUNTED_LEVELS 6

struct counted {
    uint8_t levels; /* 0: there is no tree */
    bool whole;     /* else only what lies before its end is counted */
    uint64_t top;   /* nodes of the highest level */
    bool changed;   /* one of these has: the metadata is to be written */
};

/* A tree and the subspace that it counts. */
struct counted_tree {
    struct elements *e;
    struct counted *state;
    uint8_t subspace;
};

/* An element with this key was put (1) or deleted (-1). */
enum result counted_change(const struct counted_tree *t, struct slice key, int by) MUST_CHECK;
/* A key at or before `key`, from which to count on, and how many elements lie before it. base has room for COUNTED_CUT. */
enum result counted_before(const struct counted_tree *t, struct slice key, uint64_t *before, uint8_t *base, size_t *len)
    MUST_CHECK;
/* The same for the element of rank `rank`. */
enum result counted_find(const struct counted_tree *t, uint64_t rank, uint64_t *before, uint8_t *base, size_t *len)
    MUST_CHECK;
/* Counts some 20,000 elements more; state->whole when there are no more. */
enum result counted_extend(const struct counted_tree *t) MUST_CHECK;

#endif

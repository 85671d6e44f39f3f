/* How sorted sets lie in records, and what their files share. The shapes are those of elements.h; a member's value is its
 * score, f64, little-endian.
 *
 * Inline, the elements lie in the order of (score, member). In pieces there are two for each:
 *
 *   SUBSPACE_MEMBERS   h40, member            ->  score
 *   SUBSPACE_SCORES    order u64, member      ->  nothing; one byte, 1, where the score is -0
 *
 * order is the score as a big-endian integer of the same order (zset_order_of). Long members are named here as in the
 * member index: by their first ZSET_PREFIX bytes and a hash. So those that agree in score and prefix lie in the order of
 * their hash, together with all else of that prefix; whoever goes through them sorts such a run (zset_cursor.c).
 *
 * A counted tree over the score index may lie in SUBSPACE_RANKS (counted.h). */
#ifndef VARVE_STORE_ZSET_PRIV_H
#define VARVE_STORE_ZSET_PRIV_H

#include "store/store_priv.h"
#include "store/zset.h"

#define ZSET_PREFIX (MEMBER_INLINE + 1 - 16) /* bytes of a long member that its name has */
#define ZSET_KEY_MAX (8 + MEMBER_INLINE + 1) /* bytes of an element in the score index */

/* ---- zset_code.c: bytes ---- */

/* The element in the score index: order and name. Returns its length. */
size_t zset_order_key(const struct zset *z, struct zset_entry e, uint8_t out[ZSET_KEY_MAX], bool *is_long);
/* What a piece of the score index says. *out points into both. */
enum result zset_order_decode(const struct zset *z, struct slice element, struct slice piece, struct zset_entry *out)
    MUST_CHECK;
/* Fills z->entry when it is NULL; inline only. */
enum result zset_load(struct zset *z) MUST_CHECK;

#define ZSET_HINTS_MAX (2 * (1 + ZSET_HINT) + 1 + VARINT_MAX + 1)
/* Returns how many bytes it wrote; 0 when nothing is known. */
size_t zset_hints_encode(const struct zset_hints *h, uint8_t out[ZSET_HINTS_MAX]);
enum result zset_hints_decode(struct slice bytes, struct zset_hints *out) MUST_CHECK;

int zset_entry_cmp(const void *a, const void *b); /* for qsort */

/* ---- lists of the ends (zset_ends.c) ---- */

/* This run puts or removes an element. */
void zset_note_change(struct zset *z, struct zset_entry e);
/* After the last change: if what this run has done leaves the list of an end right, it stays. */
enum result zset_keep_ends(struct zset *z) MUST_CHECK;

/* ---- counting (zset_count.c) ---- */

/* Keeps the counted tree, if there is one, right about an element that comes (1) or goes (-1). */
enum result zset_tree_change(struct zset *z, struct zset_entry e, int by) MUST_CHECK;

#endif

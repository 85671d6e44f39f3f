/* Sorted sets: members with scores, found by member and in the order of (score, member).
 *
 * A command opens the object, changes it, and closes it; what it changed becomes records and one rewriting of the
 * metadata when it is closed. Reading does not need closing. Shapes and bytes are in zset_priv.h and docs/formats.md.
 * Everything here follows the rules of a call: slices live until the run ends, RES_WOULD_BLOCK is passed up. */
#ifndef VARVE_STORE_ZSET_H
#define VARVE_STORE_ZSET_H

#include "store/counted.h"

struct zset_entry {
    double score;
    struct slice member;
};

/* A score as an integer of the same order; -0 counts as 0. Not for NaN. */
static inline uint64_t zset_order_of(double score)
{
    uint64_t bits;
    if (score == 0)
        score = 0;
    memcpy(&bits, &score, sizeof bits);
    return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

/* A point between elements: before (or after) where (score, member) is or would be. */
struct zset_place {
    uint64_t order; /* zset_order_of(score) */
    struct slice member;
    bool after;
};
#define ZSET_START ((struct zset_place){0, {NULL, 0}, false})
#define ZSET_END ((struct zset_place){UINT64_MAX, {NULL, 0}, false})
static inline struct zset_place zset_before_score(double score)
{
    return (struct zset_place){zset_order_of(score), {NULL, 0}, false};
}
static inline struct zset_place zset_after_score(double score)
{
    return (struct zset_place){zset_order_of(score) + 1, {NULL, 0}, false};
}
static inline struct zset_place zset_before(struct zset_entry e)
{
    return (struct zset_place){zset_order_of(e.score), e.member, false};
}
static inline struct zset_place zset_after(struct zset_entry e)
{
    return (struct zset_place){zset_order_of(e.score), e.member, true};
}
int zset_place_cmp(const struct zset_place *a, const struct zset_place *b);

/* Bytes of a key of the score index that bound where elements can be. */
#define ZSET_HINT 32

/* What the metadata of a sorted set in pieces remembers of it. */
struct zset_hints {
    uint8_t low[ZSET_HINT], high[ZSET_HINT]; /* no element lies below, none above: their keys, cut to ZSET_HINT */
    uint8_t low_len, high_len;               /* 0: nothing is known */
    struct counted tree;
};

/* What decides about OBJECT ENCODING: zset-max-listpack-entries and -value. */
struct zset_limits {
    uint64_t entries;
    size_t value;
};

struct zset {
    struct elements e; /* e.count elements */
    struct zset_limits limits;
    struct zset_entry *entry; /* inline: in order; NULL: they have changed since */
    struct zset_hints hints;  /* pieces */
    bool hints_changed;
    bool took_ends, spoils_ends; /* zset_ends.c */
};

/* o comes from store_read or store_write: missing, or a sorted set. It outlives z. */
enum result zset_open(struct zset *z, struct call *c, struct object *o, struct zset_limits limits) MUST_CHECK;

/* ---- by member ---- */

/* A member that was looked for, and where it is. Void after any change. */
struct zset_member {
    struct slice member;
    bool found;
    double score; /* found */
    struct member_place place;
};
enum result zset_find(struct zset *z, struct slice member, struct zset_member *m) MUST_CHECK;

/* The score in an element of the member index or of an inline list. */
enum result zset_score_in(const struct element *element, double *score) MUST_CHECK;

/* ---- changing ---- */

/* Redis chooses the encoding of a new set by what it is told of it, and changes that of an old one (ZADD). */
void zset_expect(struct zset *z, uint64_t elements, size_t member_len);
/* Gives the member that was looked for a score. */
enum result zset_put(struct zset *z, struct zset_member *m, double score) MUST_CHECK;
/* Removes an element that is there; e may be what a cursor shows. */
enum result zset_remove(struct zset *z, struct zset_entry e) MUST_CHECK;
/* The n elements at an end (down: the highest first), for a caller who removes them all and does nothing else to the set;
 * their members live until the run ends. RES_NOT_FOUND: too many for this, or it has other ways: look for them. */
enum result zset_take_ends(struct zset *z, bool down, uint64_t n, struct zset_entry *out) MUST_CHECK;
/* Nothing is left below e (low) or above it: the next search starts there, not in what was removed. */
void zset_remember_end(struct zset *z, struct zset_entry e, bool low);
/* Makes the changes those of the object, which is deleted when it is empty. To be called after the last change; z is
 * not to be used afterwards. The caller tells the events. */
enum result zset_close(struct zset *z) MUST_CHECK;
/* Replaces whatever o (from store_write) is by these elements, whose members are distinct and live as long as the run;
 * there is at least one. Sorts them. order: of their members when they have been sorted; NULL: not known. */
enum result zset_store(struct call *c, struct object *o, struct zset_entry *entries, size_t n,
                       enum object_encoding encoding, const struct member_order *order) MUST_CHECK;
/* What Redis converts a result of n elements to, the longest of which has longest bytes. */
enum object_encoding zset_encoding_for(struct zset_limits limits, uint64_t n, size_t longest);
void zset_sort(struct zset_entry *entries, size_t n);

/* ---- in order ---- */

/* Goes through the elements from a place on, upwards or downwards. Changes made after it was opened are not seen. */
struct zset_cursor {
    struct zset *z;
    bool down;
    struct zset_entry at; /* after zset_next(); its member lives until the next one, or the closing */
    uint64_t steps;
    /* inline: the next entry to show, of `left` */
    const struct zset_entry *next;
    size_t left;
    /* pieces */
    struct iter *it;
    bool standing, shown;   /* it stands on a record; which is `at` */
    bool sure;              /* what comes now is behind `from` */
    struct zset_entry *run; /* long members with one prefix, in order */
    size_t run_count, run_at, run_cap;
    struct zset_place from;
};
enum result zset_seek(struct zset *z, struct zset_cursor *k, const struct zset_place *from, bool down) MUST_CHECK;
/* The first element zset_next() gives is that of rank `rank`, counted from the start, or downwards from the end. */
enum result zset_seek_rank(struct zset *z, struct zset_cursor *k, uint64_t rank, bool down) MUST_CHECK;
/* RES_OK: k->at is an element; RES_NOT_FOUND: there are no more. RES_WOULD_BLOCK also where it takes too long. */
enum result zset_next(struct zset_cursor *k) MUST_CHECK;
void zset_cursor_close(struct zset_cursor *k); /* also one that could not be opened, or is all zeros */
/* Copies the member into the arena. */
enum result zset_keep(struct call *c, struct zset_entry *e) MUST_CHECK;
/* How many elements lie between two places. */
enum result zset_count(struct zset *z, const struct zset_place *from, const struct zset_place *to, uint64_t *n)
    MUST_CHECK;

#endif

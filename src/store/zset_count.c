/* Sorted sets: how many elements lie between two places, and which one has a rank.
 *
 * Without a counted tree elements are counted one by one, from the end that is nearer. */
#include "store/zset_priv.h"

enum result zset_tree_change(struct zset *z, struct zset_entry e, int by)
{
    (void)z;
    (void)e;
    (void)by;
    return RES_OK;
}

static enum result count_one_by_one(struct zset *z, const struct zset_place *from, const struct zset_place *to,
                                    uint64_t *n)
{
    struct zset_cursor k;
    enum result r = zset_seek(z, &k, from, false);
    while (r == RES_OK && (r = zset_next(&k)) == RES_OK) {
        struct zset_place at = zset_before(k.at);
        if (zset_place_cmp(&at, to) >= 0)
            break;
        ++*n;
    }
    zset_cursor_close(&k);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

enum result zset_count(struct zset *z, const struct zset_place *from, const struct zset_place *to, uint64_t *n)
{
    *n = 0;
    if (zset_place_cmp(from, to) >= 0)
        return RES_OK;
    if (zset_place_cmp(from, &ZSET_START) <= 0 && zset_place_cmp(to, &ZSET_END) >= 0) {
        *n = z->e.count;
        return RES_OK;
    }
    return count_one_by_one(z, from, to, n);
}

/* Goes on over n elements. */
static enum result skip(struct zset_cursor *k, uint64_t n)
{
    enum result r = RES_OK;
    while (n-- && r == RES_OK)
        r = zset_next(k);
    return r;
}

/* Turns round at the element of that rank, which was come to from the other end. */
static enum result turn_at(struct zset *z, struct zset_cursor *k, struct zset_entry e, bool down)
{
    struct zset_place turn = down ? zset_after(e) : zset_before(e);
    return zset_seek(z, k, &turn, down);
}

enum result zset_seek_rank(struct zset *z, struct zset_cursor *k, uint64_t rank, bool down)
{
    uint64_t count = z->e.count;
    if (rank >= count)
        return zset_seek(z, k, down ? &ZSET_START : &ZSET_END, down);
    if (!z->e.pieces) {
        enum result r = zset_load(z);
        return r == RES_OK ? turn_at(z, k, z->entry[down ? count - 1 - rank : rank], down) : r;
    }
    if (rank <= count / 2) {
        enum result r = zset_seek(z, k, down ? &ZSET_END : &ZSET_START, down);
        return r == RES_OK ? skip(k, rank) : r;
    }
    struct zset_entry there = {0, {NULL, 0}};
    enum result r = zset_seek(z, k, down ? &ZSET_START : &ZSET_END, !down);
    if (r == RES_OK)
        r = skip(k, count - rank);
    if (r == RES_OK) {
        there = k->at;
        r = zset_keep(z->e.c, &there);
    }
    zset_cursor_close(k);
    if (r != RES_OK)
        return r == RES_NOT_FOUND ? RES_CORRUPT : r; /* fewer than the metadata says */
    return turn_at(z, k, there, down);
}

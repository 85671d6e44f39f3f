/* Sorted sets: how many elements lie between two places, and which one has a rank.
 *
 * Small sets are counted one by one, from the end that is nearer. A command that has come over BUILD_FROM elements so, and
 * may wait, builds a counted tree (counted.h) for those that come after it, in steps of their own batches, which disturb
 * nobody: at most BUILD_STEPS of them, so that its client does not wait long. What is built so far is of use at once, and
 * the next such command goes on. From then on every change of the set keeps the tree; a set whose ranks nobody asks for
 * never has one. */
#include <stdatomic.h>

#include "store/zset_priv.h"

#define BUILD_FROM 4096
#define BUILD_STEPS 32
#define SHALLOW 512 /* ranks that are counted off faster than looked up */

static struct counted_tree tree_of(struct zset *z)
{
    return (struct counted_tree){&z->e, &z->hints.tree, SUBSPACE_SCORES};
}

enum result zset_tree_change(struct zset *z, struct zset_entry e, int by)
{
    if (likely(!z->hints.tree.levels))
        return RES_OK;
    uint8_t key[ZSET_KEY_MAX];
    bool is_long;
    struct counted_tree t = tree_of(z);
    size_t len = zset_order_key(z, e, key, &is_long);
    enum result r = counted_change(&t, slice_of(key, len), by);
    z->hints_changed |= z->hints.tree.changed;
    return r;
}

/* ---- building ---- */

struct building {
    uint32_t db;
    struct slice user;
    bool done;
};

static enum result build_step(struct call *c)
{
    struct building *b = call_background_arg(c);
    struct store_key *key = arena_alloc(c->arena, sizeof *key);
    struct object *o = arena_alloc(c->arena, sizeof *o);
    struct zset *z = arena_alloc(c->arena, sizeof *z);
    uint8_t *hints = arena_alloc(c->arena, ZSET_HINTS_MAX);
    if (!key || !o || !z || !hints)
        return RES_NO_MEMORY;
    b->done = true;
    enum result r = store_key_init(c, b->db, b->user, key);
    if (r == RES_OK)
        r = object_load(c, key, o);
    if (r != RES_OK || !o->exists || o->type != TYPE_ZSET || !o->pieces || o->count < BUILD_FROM)
        return r;
    r = zset_open(z, c, o, (struct zset_limits){0, 0});
    if (r != RES_OK || z->hints.tree.whole)
        return r;
    struct counted_tree t = tree_of(z);
    r = counted_extend(&t);
    if (r != RES_OK)
        return r;
    b->done = z->hints.tree.whole;
    struct meta m;
    meta_from_object(&m, o);
    m.hints = slice_of(hints, zset_hints_encode(&z->hints, hints));
    return object_replace(c, o, &m, OBJECT_KEEP_PIECES | OBJECT_UNSEEN);
}

/* A command has counted many elements one by one. */
static enum result build_tree(struct zset *z)
{
    struct call *c = z->e.c;
    struct store *s = store_of(c);
    struct building b = {.db = z->e.o->key->db, .user = z->e.o->key->user};
    if (c->overlay || z->hints.tree.whole) /* a run that writes has nothing to do with another one */
        return RES_OK;
    if (!(c->mode & CALL_MAY_WAIT))
        return RES_WOULD_BLOCK;
    if (atomic_exchange(&s->counting, true))
        return RES_OK;
    enum result r = RES_OK;
    for (unsigned i = 0; r == RES_OK && !b.done && i < BUILD_STEPS; i++) {
        uint64_t sequence;
        r = exec_background(c->shard, build_step, &b, &sequence);
    }
    atomic_store(&s->counting, false);
    return RES_OK; /* whatever came in between, counting goes on as it was */
}

/* ---- one by one ---- */

static enum result count_one_by_one(struct zset *z, const struct zset_place *from, const struct zset_place *to,
                                    uint64_t *n)
{
    struct zset_cursor k;
    uint64_t here = 0;
    enum result r = zset_seek(z, &k, from, false);
    while (r == RES_OK && (r = zset_next(&k)) == RES_OK) {
        struct zset_place at = zset_before(k.at);
        if (zset_place_cmp(&at, to) >= 0)
            break;
        if (++here == BUILD_FROM)
            r = build_tree(z);
    }
    zset_cursor_close(&k);
    *n += here;
    return r == RES_NOT_FOUND ? RES_OK : r;
}

/* Goes on over n elements. */
static enum result skip(struct zset *z, struct zset_cursor *k, uint64_t n)
{
    enum result r = RES_OK;
    for (uint64_t i = 0; r == RES_OK && i < n; i++) {
        r = zset_next(k);
        if (i == BUILD_FROM && r == RES_OK)
            r = build_tree(z);
    }
    return r;
}

/* ---- by the tree ---- */

static struct zset_place place_of(const uint8_t *key, size_t len)
{
    return len < 8 ? ZSET_START : (struct zset_place){get_be64(key), slice_of(key + 8, len - 8), false};
}

/* How many elements lie before a place. */
static enum result rank_of(struct zset *z, const struct zset_place *place, uint64_t *rank)
{
    uint8_t key[COUNTED_CUT], base[COUNTED_CUT];
    struct counted_tree t = tree_of(z);
    size_t len = place->member.len < COUNTED_CUT - 8 ? place->member.len : COUNTED_CUT - 8, base_len;
    put_be64(key, place->order);
    if (len)
        memcpy(key + 8, place->member.data, len);
    enum result r = counted_before(&t, slice_of(key, 8 + len), rank, base, &base_len);
    if (r != RES_OK)
        return r;
    struct zset_place from = place_of(base, base_len);
    return count_one_by_one(z, &from, place, rank);
}

enum result zset_count(struct zset *z, const struct zset_place *from, const struct zset_place *to, uint64_t *n)
{
    bool from_start = zset_place_cmp(from, &ZSET_START) <= 0, to_end = zset_place_cmp(to, &ZSET_END) >= 0;
    uint64_t before = 0;
    *n = 0;
    if (zset_place_cmp(from, to) >= 0)
        return RES_OK;
    if (from_start && to_end) {
        *n = z->e.count;
        return RES_OK;
    }
    if (!z->hints.tree.levels || (!z->hints.tree.whole && !from_start))
        return count_one_by_one(z, from, to, n);
    enum result r = from_start ? RES_OK : rank_of(z, from, &before);
    *n = z->e.count;
    if (r == RES_OK && !to_end)
        r = rank_of(z, to, n);
    if (r == RES_OK && *n < before)
        return RES_CORRUPT;
    *n -= before;
    return r;
}

/* Turns round at an element that was come to from the other end. */
static enum result turn_at(struct zset *z, struct zset_cursor *k, struct zset_entry e, bool down)
{
    struct zset_place turn = down ? zset_after(e) : zset_before(e);
    return zset_seek(z, k, &turn, down);
}

/* Opens a cursor at the n-th element from `from` on (the first is 1), for going the other way. */
static enum result go_and_turn(struct zset *z, struct zset_cursor *k, const struct zset_place *from, uint64_t n,
                               bool down)
{
    struct zset_entry there = {0, {NULL, 0}};
    enum result r = zset_seek(z, k, from, !down);
    if (r == RES_OK)
        r = skip(z, k, n);
    if (r == RES_OK) {
        there = k->at;
        r = zset_keep(z->e.c, &there);
    }
    zset_cursor_close(k);
    if (r != RES_OK)
        return r == RES_NOT_FOUND ? RES_CORRUPT : r; /* fewer than the metadata says */
    return turn_at(z, k, there, down);
}

static enum result seek_by_tree(struct zset *z, struct zset_cursor *k, uint64_t rank, bool down)
{
    uint8_t base[COUNTED_CUT];
    size_t len;
    uint64_t before, target = down ? z->e.count - 1 - rank : rank;
    struct counted_tree t = tree_of(z);
    enum result r = counted_find(&t, target, &before, base, &len);
    if (r != RES_OK || before > target)
        return r == RES_OK ? RES_CORRUPT : r;
    struct zset_place from = place_of(base, len);
    if (down)
        return go_and_turn(z, k, &from, target - before + 1, true);
    uint8_t *copy = arena_copy(z->e.c->arena, base, len); /* the cursor remembers where it came from */
    if (!copy)
        return RES_NO_MEMORY;
    from = place_of(copy, len);
    r = zset_seek(z, k, &from, false);
    return r == RES_OK ? skip(z, k, target - before) : r;
}

enum result zset_seek_rank(struct zset *z, struct zset_cursor *k, uint64_t rank, bool down)
{
    uint64_t count = z->e.count;
    *k = (struct zset_cursor){.z = z, .down = down}; /* what fails before it comes to the seek leaves one to close */
    if (rank >= count)
        return zset_seek(z, k, down ? &ZSET_START : &ZSET_END, down);
    if (!z->e.pieces) {
        enum result r = zset_load(z);
        return r == RES_OK ? turn_at(z, k, z->entry[down ? count - 1 - rank : rank], down) : r;
    }
    if (rank > SHALLOW && (z->hints.tree.whole || (z->hints.tree.levels && !down)))
        return seek_by_tree(z, k, rank, down);
    if (rank <= count / 2) {
        enum result r = zset_seek(z, k, down ? &ZSET_END : &ZSET_START, down);
        return r == RES_OK ? skip(z, k, rank) : r;
    }
    return go_and_turn(z, k, down ? &ZSET_START : &ZSET_END, count - rank, down);
}

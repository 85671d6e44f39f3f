/* Sorted sets in order: going through them.
 *
 * In pieces the score index is in the order wanted, but for long members of one prefix and score, which lie in the order
 * of their hash (zset_priv.h). Everything that shares that prefix lies together; a cursor that comes to it takes in the
 * whole run and sorts it. Short members, which is to say all, never get there. */
#include <assert.h>
#include <stdlib.h>

#include "store/zset_priv.h"

#define PREFIX (8 + ZSET_PREFIX) /* of an element whose run is to be sorted */

/* ---- inline ---- */

/* How many entries lie before a place. */
static size_t entries_before(const struct zset *z, const struct zset_place *place)
{
    size_t low = 0, high = z->e.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        struct zset_place at = zset_before(z->entry[middle]);
        if (zset_place_cmp(&at, place) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void start_inline(struct zset *z, struct zset_cursor *k, size_t before)
{
    if (k->down) {
        k->left = before;
        k->next = z->entry + before; /* of what follows it, the first */
    } else {
        k->left = z->e.count - before;
        k->next = z->entry + before;
    }
}

/* ---- in pieces ---- */

/* The key of a place, from which on (below which, downwards) its elements are found. Never too tight. */
static size_t place_key(const struct zset_place *place, bool down, uint8_t *out)
{
    put_be64(out, place->order);
    size_t n = place->member.len < ZSET_PREFIX ? place->member.len : ZSET_PREFIX;
    if (n)
        memcpy(out + 8, place->member.data, n);
    n += 8;
    if (!down || n < PREFIX) {
        if (down && place->after)
            out[n++] = 0; /* behind the key itself, before anything longer */
        return n;
    }
    memset(out + n, 0xff, 17); /* behind the run */
    return n + 17;
}

/* The next prefix in order, of the same length or shorter. An order never is all ones, so there is one. */
static size_t prefix_after(const uint8_t *key, size_t len, uint8_t *out)
{
    memcpy(out, key, len);
    while (out[len - 1] == 0xff)
        len--;
    out[len - 1]++;
    return len;
}

static enum result start_pieces(struct zset *z, struct zset_cursor *k)
{
    uint8_t place[ZSET_KEY_MAX + 32], hint[ZSET_HINT];
    struct slice from = slice_of(place, place_key(&k->from, k->down, place)), all = slice_of(NULL, 0);
    const struct zset_hints *h = &z->hints;
    if (k->down && h->high_len) {
        struct slice high = slice_of(hint, prefix_after(h->high, h->high_len, hint));
        if (slice_cmp(high, from) < 0)
            from = high;
    } else if (!k->down && h->low_len && slice_cmp(slice_of(h->low, h->low_len), from) > 0) {
        from = slice_of(h->low, h->low_len);
    }
    enum result r = piece_iter(&z->e, SUBSPACE_SCORES, k->down ? all : from, k->down ? from : all, 0, &k->it);
    if (r != RES_OK)
        return r;
    r = k->down ? iter_seek_last(k->it, all) : iter_seek(k->it, all);
    k->standing = r == RES_OK;
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result step(struct zset_cursor *k)
{
    enum result r = k->down ? iter_prev(k->it) : iter_next(k->it);
    k->standing = r == RES_OK;
    if (++k->steps % 256 == 0 && call_too_long(k->z->e.c))
        return RES_WOULD_BLOCK;
    return r == RES_NOT_FOUND ? RES_OK : r;
}

/* The element under the iterator, borrowed from it. */
static enum result look(struct zset_cursor *k, struct zset_entry *out)
{
    return zset_order_decode(k->z, piece_element(k->it), k->it->value, out);
}

static int cmp_down(const void *a, const void *b) { return -zset_entry_cmp(a, b); }

/* Takes in all that shares the prefix under the iterator, in order. */
static enum result take_run(struct zset_cursor *k)
{
    uint8_t prefix[PREFIX];
    memcpy(prefix, piece_element(k->it).data, PREFIX);
    k->run_count = k->run_at = 0;
    enum result r = RES_OK;
    while (r == RES_OK && k->standing) {
        struct slice element = piece_element(k->it);
        if (element.len < PREFIX || memcmp(element.data, prefix, PREFIX) != 0)
            break;
        if (k->run_count == k->run_cap) {
            size_t cap = k->run_cap ? k->run_cap * 2 : 16;
            struct zset_entry *p = realloc(k->run, cap * sizeof *p);
            if (!p)
                return RES_NO_MEMORY;
            k->run = p;
            k->run_cap = cap;
        }
        struct zset_entry *e = &k->run[k->run_count++];
        r = look(k, e);
        if (r == RES_OK)
            r = zset_keep(k->z->e.c, e);
        if (r == RES_OK)
            r = step(k);
    }
    if (r == RES_OK)
        qsort(k->run, k->run_count, sizeof *k->run, k->down ? cmp_down : zset_entry_cmp);
    return r;
}

static enum result next_piece(struct zset_cursor *k)
{
    enum result r = RES_OK;
    if (k->run_at < k->run_count) {
        k->at = k->run[k->run_at++];
        return RES_OK;
    }
    if (k->shown) {
        k->shown = false;
        r = step(k);
    }
    if (r != RES_OK || !k->standing)
        return r == RES_OK ? RES_NOT_FOUND : r;
    if (unlikely(piece_element(k->it).len >= PREFIX)) {
        r = take_run(k);
        if (r == RES_OK)
            k->at = k->run[k->run_at++];
        return r;
    }
    k->shown = true;
    return look(k, &k->at);
}

/* ---- both ---- */

enum result zset_keep(struct call *c, struct zset_entry *e)
{
    const void *copy = arena_copy(c->arena, e->member.data, e->member.len);
    if (!copy)
        return RES_NO_MEMORY;
    e->member.data = copy;
    return RES_OK;
}

enum result zset_seek(struct zset *z, struct zset_cursor *k, const struct zset_place *from, bool down)
{
    *k = (struct zset_cursor){.z = z, .down = down, .from = *from};
    if (z->e.pieces)
        return start_pieces(z, k);
    enum result r = zset_load(z);
    if (r == RES_OK)
        start_inline(z, k, entries_before(z, from));
    return r;
}

enum result zset_next(struct zset_cursor *k)
{
    if (!k->z->e.pieces) {
        if (!k->left)
            return RES_NOT_FOUND;
        k->left--;
        k->at = k->down ? *--k->next : *k->next++;
        return RES_OK;
    }
    for (;;) {
        enum result r = next_piece(k);
        if (r != RES_OK)
            return r;
        if (likely(k->sure))
            return RES_OK;
        struct zset_place at = zset_before(k->at);
        int c = zset_place_cmp(&at, &k->from);
        k->sure = k->down ? c < 0 : c >= 0; /* the key of a place is not always exact */
        if (k->sure)
            return RES_OK;
    }
}

void zset_cursor_close(struct zset_cursor *k)
{
    iter_close(k->it);
    free(k->run);
    k->it = NULL;
    k->run = NULL;
}

/* Bytes of sorted sets: see zset_priv.h. Decoding is strict, every record has one spelling. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "store/zset_priv.h"

_Static_assert(ZSET_HINTS_MAX <= ELEMENTS_HINTS_MAX, "hints fit");
_Static_assert(ZSET_KEY_MAX <= ELEMENT_MAX, "elements of the score index fit");

int zset_place_cmp(const struct zset_place *a, const struct zset_place *b)
{
    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    int c = slice_cmp(a->member, b->member);
    return c ? c : (int)a->after - (int)b->after;
}

int zset_entry_cmp(const void *a, const void *b)
{
    const struct zset_entry *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return slice_cmp(x->member, y->member);
}

/* What comes from another sorted set is in order already, or in the opposite one, as Redis writes them down. */
static bool in_order(struct zset_entry *entries, size_t n)
{
    bool down = n > 1 && zset_entry_cmp(&entries[1], &entries[0]) < 0;
    for (size_t i = 1; i < n; i++)
        if ((zset_entry_cmp(&entries[i], &entries[i - 1]) < 0) != down)
            return false;
    for (size_t i = 0; down && i < n / 2; i++) {
        struct zset_entry swap = entries[i];
        entries[i] = entries[n - 1 - i];
        entries[n - 1 - i] = swap;
    }
    return true;
}

void zset_sort(struct zset_entry *entries, size_t n)
{
    if (!in_order(entries, n))
        qsort(entries, n, sizeof *entries, zset_entry_cmp);
}

enum object_encoding zset_encoding_for(struct zset_limits limits, uint64_t n, size_t longest)
{
    return n <= limits.entries && longest <= limits.value ? ENCODING_LISTPACK : ENCODING_SKIPLIST;
}

/* ---- the score index ---- */

/* false: not the order of any score. */
static bool score_of(uint64_t order, double *score)
{
    uint64_t bits = order >> 63 ? order & ~(UINT64_C(1) << 63) : ~order;
    memcpy(score, &bits, sizeof bits);
    return !isnan(*score) && zset_order_of(*score) == order; /* -0 has no order of its own */
}

size_t zset_order_key(const struct zset *z, struct zset_entry e, uint8_t out[ZSET_KEY_MAX], bool *is_long)
{
    *is_long = unlikely(e.member.len > MEMBER_INLINE);
    size_t n = e.member.len;
    if (*is_long) {
        uint8_t named[MEMBER_KEY_MAX];
        n = member_key(&z->e, e.member, named, is_long) - 5;
        memcpy(out + 8, named + 5, n);
    } else if (n) {
        memcpy(out + 8, e.member.data, n);
    }
    put_be64(out, zset_order_of(e.score));
    return 8 + n;
}

enum result zset_order_decode(const struct zset *z, struct slice element, struct slice piece, struct zset_entry *out)
{
    struct element in;
    enum result r = piece_read(piece, &in);
    if (r != RES_OK)
        return r;
    if (element.len < 8 || !score_of(get_be64(element.data), &out->score) || in.expire_ms || in.value.len > 1)
        return RES_CORRUPT;
    if (in.value.len && (in.value.data[0] != 1 || out->score != 0))
        return RES_CORRUPT;
    if (in.value.len)
        out->score = -0.0;
    out->member = slice_of(element.data + 8, element.len - 8);
    if (likely(out->member.len <= MEMBER_INLINE))
        return in.key.len == 0 ? RES_OK : RES_CORRUPT;
    uint8_t named[MEMBER_KEY_MAX];
    bool is_long;
    size_t n = member_key(&z->e, in.key, named, &is_long) - 5;
    if (!is_long || !slice_eq(slice_of(named + 5, n), out->member))
        return RES_CORRUPT;
    out->member = in.key;
    return RES_OK;
}

/* ---- inline ---- */

enum result zset_score_in(const struct element *element, double *score)
{
    if (element->value.len != 8 || element->expire_ms)
        return RES_CORRUPT;
    memcpy(score, element->value.data, 8);
    return isnan(*score) ? RES_CORRUPT : RES_OK;
}

enum result zset_load(struct zset *z)
{
    struct inline_place place;
    struct element element;
    if (z->entry)
        return RES_OK;
    struct zset_entry *entry = arena_alloc(z->e.c->arena, (z->e.count + 1) * sizeof *entry);
    if (!entry)
        return RES_NO_MEMORY;
    size_t n = 0;
    enum result r = inline_first(&z->e, &place, &element);
    for (; r == RES_OK; r = inline_next(&z->e, &place, &element), n++) {
        if (n == z->e.count)
            return RES_CORRUPT;
        entry[n].member = element.key;
        if ((r = zset_score_in(&element, &entry[n].score)) != RES_OK)
            return r;
        if (n && zset_entry_cmp(&entry[n - 1], &entry[n]) >= 0)
            return RES_CORRUPT;
    }
    if (r != RES_NOT_FOUND || n != z->e.count)
        return r == RES_NOT_FOUND ? RES_CORRUPT : r;
    z->entry = entry;
    return RES_OK;
}

/* ---- hints ----
 *
 *   u8 length, low · u8 length, high · u8 levels of the tree; if there are any: varint top, u8 whole
 *
 * Nothing known is no bytes at all. */

static uint8_t *put_hint(uint8_t *p, const uint8_t *hint, uint8_t len)
{
    *p++ = len;
    memcpy(p, hint, len);
    return p + len;
}

size_t zset_hints_encode(const struct zset_hints *h, uint8_t out[ZSET_HINTS_MAX])
{
    if (!h->low_len && !h->high_len && !h->tree.levels)
        return 0;
    uint8_t *p = put_hint(put_hint(out, h->low, h->low_len), h->high, h->high_len);
    *p++ = h->tree.levels;
    if (h->tree.levels) {
        p += put_varint(p, h->tree.top);
        *p++ = h->tree.whole;
    }
    return (size_t)(p - out);
}

static bool take_hint(struct slice *in, uint8_t hint[ZSET_HINT], uint8_t *len)
{
    struct slice bytes;
    if (!in->len || in->data[0] > ZSET_HINT)
        return false;
    size_t n = *len = in->data[0];
    in->data++;
    in->len--;
    if (!take_bytes(in, n, &bytes))
        return false;
    if (n)
        memcpy(hint, bytes.data, n);
    return n == 0 || n >= 8; /* an order at least */
}

static bool take_tree(struct slice in, struct zset_hints *h)
{
    if (!in.len)
        return false;
    h->tree.levels = in.data[0];
    in.data++;
    size_t left = in.len -= 1;
    if (!h->tree.levels || h->tree.levels > COUNTED_LEVELS)
        return !h->tree.levels && left == 0;
    if (!take_varint(&in, &h->tree.top) || left - in.len != varint_size(h->tree.top) || !h->tree.top)
        return false;
    if (in.len != 1 || in.data[0] > 1)
        return false;
    h->tree.whole = in.data[0];
    return true;
}

enum result zset_hints_decode(struct slice in, struct zset_hints *out)
{
    *out = (struct zset_hints){.low_len = 0};
    if (in.len == 0)
        return RES_OK;
    if (!take_hint(&in, out->low, &out->low_len) || !take_hint(&in, out->high, &out->high_len) || !take_tree(in, out) ||
        (!out->low_len && !out->high_len && !out->tree.levels))
        return RES_CORRUPT;
    return RES_OK;
}

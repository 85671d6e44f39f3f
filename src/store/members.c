/* Members: a map from byte strings of any length to values, inline or in pieces, and walks over it. elements.h says how
 * they are named and ordered. */
#include <assert.h>

#include "store/elements.h"
#include "store/store_priv.h"

#define H40_BYTES 5
#define LONG_HASH 16
#define LONG_SUFFIX (MEMBER_INLINE + 1) /* no shorter member is as long as that */
#define LONG_PREFIX (LONG_SUFFIX - LONG_HASH)

static void put_h40(uint8_t out[H40_BYTES], uint64_t h40)
{
    uint8_t bytes[8];
    put_be64(bytes, h40 << 24);
    memcpy(out, bytes, H40_BYTES);
}

static uint64_t get_h40(const uint8_t *p)
{
    uint8_t bytes[8] = {0};
    memcpy(bytes, p, H40_BYTES);
    return get_be64(bytes) >> 24;
}

uint64_t member_h40(const struct elements *e, struct slice member)
{
    return hash_siphash(&store_of(e->c)->seed, member.data, member.len) >> 24;
}

size_t member_key(const struct elements *e, struct slice member, uint8_t out[MEMBER_KEY_MAX], bool *is_long)
{
    return member_key_of(e, member, member_h40(e, member), out, is_long);
}

size_t member_key_of(const struct elements *e, struct slice member, uint64_t h40, uint8_t out[MEMBER_KEY_MAX],
                     bool *is_long)
{
    put_h40(out, h40);
    *is_long = member.len > MEMBER_INLINE;
    if (unlikely(*is_long)) {
        memcpy(out + H40_BYTES, member.data, LONG_PREFIX);
        hash_siphash128(&store_of(e->c)->seed, member.data, member.len, out + H40_BYTES + LONG_PREFIX);
        return H40_BYTES + LONG_SUFFIX;
    }
    if (member.len)
        memcpy(out + H40_BYTES, member.data, member.len);
    return H40_BYTES + member.len;
}

/* ---- one member ---- */

static enum result find_in_list(struct elements *e, struct slice member, struct member_place *p)
{
    enum result r = inline_first(e, &p->in_list, &p->element);
    while (r == RES_OK) {
        if (slice_eq(p->element.key, member)) {
            p->found = true;
            return RES_OK;
        }
        r = inline_next(e, &p->in_list, &p->element);
    }
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result place_in_pieces(struct elements *e, struct slice member, struct member_place *p)
{
    uint8_t key[MEMBER_KEY_MAX];
    size_t len = member_key(e, member, key, &p->is_long);
    return piece_key(e, SUBSPACE_MEMBERS, slice_of(key, len), &p->key);
}

enum result member_find(struct elements *e, struct slice member, struct member_place *p)
{
    p->found = false;
    if (!e->pieces)
        return find_in_list(e, member, p);
    enum result r = place_in_pieces(e, member, p);
    if (r == RES_OK)
        r = piece_get(e, &p->key, &p->element);
    if (r == RES_NOT_FOUND)
        return RES_OK;
    if (unlikely(r != RES_OK))
        return r;
    /* another member of the same 128-bit hash: not in this world */
    if (unlikely(p->is_long != (p->element.key.len > 0) || (p->is_long && !slice_eq(p->element.key, member)) ||
                 (!e->kind->has_values && p->element.value.len)))
        return RES_CORRUPT;
    p->element.key = member;
    p->found = true;
    return RES_OK;
}

enum result member_put(struct elements *e, struct member_place *p, const struct element *in)
{
    if (!e->pieces) {
        if (p->found)
            return inline_replace(e, &p->in_list, in);
        p->in_list = inline_end(e);
        return inline_insert(e, &p->in_list, in);
    }
    e->bytes += in->value.len;
    if (p->found) {
        e->bytes -= p->element.value.len;
    } else {
        e->bytes += in->key.len;
        e->count++;
    }
    return piece_put(e, &p->key, in, p->is_long);
}

enum result member_remove(struct elements *e, struct member_place *p)
{
    assert(p->found);
    if (!e->pieces)
        return inline_remove(e, &p->in_list);
    if (unlikely(!e->count ||
                 e->bytes < p->element.key.len + p->element.value.len)) /* the metadata tells another story */
        return RES_CORRUPT;
    e->count--;
    e->bytes -= p->element.key.len + p->element.value.len;
    return piece_delete(e, &p->key);
}

enum result elements_spill_member(struct elements *e, const struct element *in, uint64_t index, uint64_t count)
{
    (void)index;
    (void)count;
    struct member_place p;
    enum result r = place_in_pieces(e, in->key, &p);
    return r == RES_OK ? piece_put(e, &p.key, in, p.is_long) : r;
}

enum result member_add(struct elements *e, const struct element *in)
{
    if (!e->pieces) {
        struct inline_place p = inline_end(e);
        return inline_insert(e, &p, in);
    }
    e->count++;
    e->bytes += in->key.len + in->value.len;
    return elements_spill_member(e, in, 0, 0);
}

enum result member_take(struct elements *e, const struct element *in)
{
    struct member_place p = {.found = true, .element = *in};
    enum result r = e->pieces ? place_in_pieces(e, in->key, &p) : member_find(e, in->key, &p);
    if (r == RES_OK)
        r = p.found ? member_remove(e, &p) : RES_CORRUPT;
    return r;
}

enum result member_has(struct elements *e, struct slice member, bool *has)
{
    struct member_place p;
    enum result r;
    *has = false;
    if (!e->pieces) {
        r = member_find(e, member, &p);
        *has = r == RES_OK && p.found;
        return r;
    }
    uint8_t bytes[ENGINE_KEY_MAX];
    struct slice record;
    element_prefix_put(bytes, e->o->key->keyspace, e->slot, e->id);
    bytes[ELEMENT_KEY_OBJECT] = SUBSPACE_MEMBERS;
    size_t len = member_key(e, member, bytes + ELEMENT_KEY_OBJECT + 1, &p.is_long);
    struct engine_key key = {.bytes = slice_of(bytes, ELEMENT_KEY_OBJECT + 1 + len)};
    key.hash = engine_hash(key.bytes);
    r = call_get(e->c, &key, &record);
    if (r == RES_OK)
        r = piece_read(record, &p.element);
    if (r != RES_OK)
        return r == RES_NOT_FOUND ? RES_OK : r;
    *has = true;
    return p.is_long && !slice_eq(p.element.key, member) ? RES_CORRUPT : RES_OK;
}

/* ---- walks ---- */

enum result member_walk_open(struct member_walk *w, struct elements *e, int iter_flags)
{
    *w = (struct member_walk){.e = e};
    if (!e->pieces)
        return RES_OK;
    return piece_iter(e, SUBSPACE_MEMBERS, slice_of(NULL, 0), slice_of(NULL, 0), iter_flags, &w->it);
}

enum result member_walk_open_range(struct member_walk *w, struct elements *e, uint64_t from, uint64_t to)
{
    uint8_t lower[H40_BYTES], upper[H40_BYTES];
    put_h40(lower, from);
    put_h40(upper, to); /* H40_END is no h40, and means none */
    *w = (struct member_walk){.e = e};
    return piece_iter(e, SUBSPACE_MEMBERS, slice_of(lower, sizeof lower),
                      slice_of(upper, to < H40_END ? sizeof upper : 0), 0, &w->it);
}

void member_walk_close(struct member_walk *w)
{
    iter_close(w->it);
    w->it = NULL;
}

/* The element that the iterator stands on. */
static enum result read_piece(struct member_walk *w)
{
    struct slice key = piece_element(w->it);
    enum result r = piece_read(w->it->value, &w->element);
    if (unlikely(r != RES_OK))
        return r;
    bool is_long = key.len == H40_BYTES + LONG_SUFFIX;
    if (unlikely(key.len < H40_BYTES || key.len > H40_BYTES + LONG_SUFFIX || is_long != (w->element.key.len > 0) ||
                 (!w->e->kind->has_values && w->element.value.len)))
        return RES_CORRUPT;
    w->sort_key = key;
    if (!is_long)
        w->element.key = slice_of(key.data + H40_BYTES, key.len - H40_BYTES);
    return RES_OK;
}

enum result member_walk_seek(struct member_walk *w, uint64_t h40)
{
    w->started = true;
    if (!w->it)
        return inline_first(w->e, &w->place, &w->element);
    uint8_t target[ELEMENT_KEY_OBJECT + 1 + H40_BYTES];
    if (h40 >= H40_END)
        return RES_NOT_FOUND;
    element_prefix_put(target, w->e->o->key->keyspace, w->e->slot, w->e->id);
    target[ELEMENT_KEY_OBJECT] = SUBSPACE_MEMBERS;
    put_h40(target + ELEMENT_KEY_OBJECT + 1, h40);
    enum result r = iter_seek(w->it, h40 ? slice_of(target, sizeof target) : slice_of(NULL, 0));
    return r == RES_OK ? read_piece(w) : r;
}

enum result member_walk_next(struct member_walk *w)
{
    if (!w->started)
        return member_walk_seek(w, 0);
    if (!w->it)
        return inline_next(w->e, &w->place, &w->element);
    enum result r = iter_next(w->it);
    return r == RES_OK ? read_piece(w) : r;
}

uint64_t member_walk_h40(const struct member_walk *w)
{
    return w->it ? get_h40(w->sort_key.data) : member_h40(w->e, w->element.key);
}

enum result member_each(struct elements *e, member_fn *each, void *arg)
{
    struct member_walk w;
    enum result r = member_walk_open(&w, e, 0);
    if (r != RES_OK)
        return r;
    unsigned n = 0;
    while ((r = member_walk_next(&w)) == RES_OK) {
        if ((r = each(e, arg, &w.element)) != RES_OK)
            break;
        if (++n % 128 == 0 && call_too_long(e->c)) {
            r = RES_WOULD_BLOCK;
            break;
        }
    }
    member_walk_close(&w);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

enum result member_scan(struct elements *e, uint64_t *cursor, uint64_t count, member_fn *each, void *arg)
{
    uint64_t from = *cursor, examined = 0, last = UINT64_MAX;
    *cursor = 0;
    if (!e->pieces)
        return member_each(e, each, arg);
    struct member_walk w;
    enum result r = member_walk_open(&w, e, 0);
    if (r != RES_OK)
        return r;
    for (r = member_walk_seek(&w, from); r == RES_OK; r = member_walk_next(&w)) {
        uint64_t h40 = member_walk_h40(&w);
        if (h40 != last && (examined >= count || (examined && examined % 64 == 0 && call_too_long(e->c)))) {
            *cursor = h40;
            break;
        }
        last = h40;
        examined++;
        if ((r = each(e, arg, &w.element)) != RES_OK)
            break;
    }
    member_walk_close(&w);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

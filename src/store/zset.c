/* Sorted sets: opening, finding, changing, closing. See zset.h and zset_priv.h.
 *
 * The elements are a map of members (elements.h). What this file adds is the order: inline, an element is put where it
 * belongs; in pieces, each change goes to the score index as well. */
#include "store/zset.h"

#include <assert.h>
#include <math.h>

#include "store/zset_priv.h"

static struct slice minus_zero_mark(double score)
{
    static const uint8_t mark = 1;
    return slice_of(&mark, score == 0 && signbit(score));
}

static enum result put_order(struct zset *z, struct zset_entry e)
{
    uint8_t element[ZSET_KEY_MAX];
    struct engine_key key;
    bool is_long;
    size_t len = zset_order_key(z, e, element, &is_long);
    struct element piece = {.key = e.member, .value = minus_zero_mark(e.score)};
    enum result r = piece_key(&z->e, SUBSPACE_SCORES, slice_of(element, len), &key);
    return r == RES_OK ? piece_put(&z->e, &key, &piece, is_long) : r;
}

/* The same of a sorted set that has just been made. */
static enum result put_new_order(struct zset *z, struct zset_entry e)
{
    uint8_t element[ZSET_KEY_MAX];
    bool is_long;
    size_t len = zset_order_key(z, e, element, &is_long);
    struct element piece = {.key = e.member, .value = minus_zero_mark(e.score)};
    return piece_put_new(&z->e, SUBSPACE_SCORES, slice_of(element, len), &piece, is_long);
}

static enum result delete_order(struct zset *z, struct zset_entry e)
{
    uint8_t element[ZSET_KEY_MAX];
    struct engine_key key;
    bool is_long;
    size_t len = zset_order_key(z, e, element, &is_long);
    enum result r = piece_key(&z->e, SUBSPACE_SCORES, slice_of(element, len), &key);
    return r == RES_OK ? piece_delete(&z->e, &key) : r;
}

/* One inline element comes to pieces. */
static enum result spill(struct elements *e, const struct element *in, uint64_t index, uint64_t count)
{
    struct zset *z = (struct zset *)(void *)e; /* e is its first member */
    struct zset_entry entry = {.member = in->key};
    enum result r = zset_score_in(in, &entry.score);
    if (r == RES_OK)
        r = elements_spill_member(e, in, index, count);
    return r == RES_OK ? put_order(z, entry) : r;
}

const struct elements_kind elements_of_zset = {.type = TYPE_ZSET, .has_keys = true, .has_values = true, .spill = spill};

enum result zset_open(struct zset *z, struct call *c, struct object *o, struct zset_limits limits)
{
    enum result r = elements_open(&z->e, c, o, &elements_of_zset);
    z->limits = limits;
    z->entry = NULL;
    z->hints_changed = z->took_ends = z->spoils_ends = false;
    z->hints = (struct zset_hints){.low_len = 0};
    if (r == RES_OK && !o->exists)
        z->e.encoding = ENCODING_LISTPACK;
    if (r == RES_OK && z->e.pieces)
        r = zset_hints_decode(slice_of(z->e.hints, z->e.hints_len), &z->hints);
    return r;
}

enum result zset_find(struct zset *z, struct slice member, struct zset_member *m)
{
    enum result r = member_find(&z->e, member, &m->place);
    m->member = member;
    m->found = r == RES_OK && m->place.found;
    return m->found ? zset_score_in(&m->place.element, &m->score) : r;
}

/* ---- bounds of where elements can be ---- */

static struct slice hint_key(struct zset *z, struct zset_entry e, uint8_t key[ZSET_KEY_MAX])
{
    bool is_long;
    size_t len = zset_order_key(z, e, key, &is_long);
    return slice_of(key, len < ZSET_HINT ? len : ZSET_HINT);
}

static void set_hint(struct zset *z, bool low, struct slice key)
{
    memcpy(low ? z->hints.low : z->hints.high, key.data, key.len);
    *(low ? &z->hints.low_len : &z->hints.high_len) = (uint8_t)key.len;
    z->hints_changed = true;
}

static void widen_hints(struct zset *z, struct zset_entry e)
{
    uint8_t bytes[ZSET_KEY_MAX];
    if (likely(!z->hints.low_len && !z->hints.high_len))
        return;
    struct slice key = hint_key(z, e, bytes);
    if (z->hints.low_len && slice_cmp(key, slice_of(z->hints.low, z->hints.low_len)) < 0)
        set_hint(z, true, key);
    if (z->hints.high_len && slice_cmp(key, slice_of(z->hints.high, z->hints.high_len)) > 0)
        set_hint(z, false, key);
}

void zset_remember_end(struct zset *z, struct zset_entry e, bool low)
{
    uint8_t bytes[ZSET_KEY_MAX];
    if (z->e.pieces)
        set_hint(z, low, hint_key(z, e, bytes));
}

/* ---- changing ---- */

void zset_expect(struct zset *z, uint64_t elements, size_t member_len)
{
    bool is_new = !z->e.o->exists;
    if (z->e.encoding == ENCODING_LISTPACK &&
        (elements > z->limits.entries || (is_new && member_len > z->limits.value)))
        z->e.encoding = ENCODING_SKIPLIST;
}

/* Where (score, member) belongs in the list. */
static enum result find_place(struct zset *z, struct zset_entry e, struct inline_place *place)
{
    struct element element;
    enum result r = inline_first(&z->e, place, &element);
    for (; r == RES_OK; r = inline_next(&z->e, place, &element)) {
        struct zset_entry there = {.member = element.key};
        r = zset_score_in(&element, &there.score);
        if (r != RES_OK || zset_entry_cmp(&there, &e) > 0)
            return r;
    }
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result put_inline(struct zset *z, struct zset_member *m, struct zset_entry e, const struct element *in)
{
    struct inline_place place;
    enum result r = RES_OK;
    z->entry = NULL;
    if (m->found)
        r = inline_remove(&z->e, &m->place.in_list);
    if (r == RES_OK)
        r = find_place(z, e, &place);
    return r == RES_OK ? inline_insert(&z->e, &place, in) : r;
}

static enum result put_in_pieces(struct zset *z, struct zset_member *m, struct zset_entry e, const struct element *in)
{
    struct zset_entry was = {m->score, e.member};
    bool moves = !m->found || zset_order_of(m->score) != zset_order_of(e.score), found = m->found;
    enum result r = RES_OK;
    zset_note_change(z, e);
    if (found && moves) {
        zset_note_change(z, was);
        r = delete_order(z, was);
        if (r == RES_OK)
            r = zset_tree_change(z, was, -1);
    }
    if (r == RES_OK)
        r = member_put(&z->e, &m->place, in);
    if (r == RES_OK)
        r = put_order(z, e);
    if (r == RES_OK && moves)
        r = zset_tree_change(z, e, 1);
    widen_hints(z, e);
    return r;
}

enum result zset_put(struct zset *z, struct zset_member *m, double score)
{
    struct zset_entry e = {score, m->member};
    if (z->e.encoding == ENCODING_LISTPACK && !m->found &&
        (z->e.count >= z->limits.entries || m->member.len > z->limits.value))
        z->e.encoding = ENCODING_SKIPLIST;
    if (z->e.encoding == ENCODING_LISTPACK && score == 0)
        e.score = 0; /* a listpack stores integers as such, and knows no -0 */
    uint8_t value[8];
    memcpy(value, &e.score, 8);
    struct element in = {.key = m->member, .value = slice_of(value, 8)};
    return z->e.pieces ? put_in_pieces(z, m, e, &in) : put_inline(z, m, e, &in);
}

static enum result remove_inline(struct zset *z, struct zset_entry e)
{
    struct zset_member m;
    enum result r = zset_find(z, e.member, &m);
    z->entry = NULL;
    if (r != RES_OK || !m.found)
        return r == RES_OK ? RES_CORRUPT : r;
    return inline_remove(&z->e, &m.place.in_list);
}

enum result zset_remove(struct zset *z, struct zset_entry e)
{
    if (!z->e.pieces)
        return remove_inline(z, e);
    uint8_t element[MEMBER_KEY_MAX];
    struct engine_key key;
    bool is_long;
    size_t len = member_key(&z->e, e.member, element, &is_long);
    enum result r = piece_key(&z->e, SUBSPACE_MEMBERS, slice_of(element, len), &key);
    if (r == RES_OK && (z->e.count == 0 || z->e.bytes < e.member.len + 8))
        r = RES_CORRUPT; /* the metadata has less than the pieces */
    if (r == RES_OK)
        r = piece_delete(&z->e, &key);
    if (r == RES_OK)
        r = delete_order(z, e);
    if (r == RES_OK)
        r = zset_tree_change(z, e, -1);
    if (!z->took_ends)
        zset_note_change(z, e);
    z->e.count--;
    z->e.bytes -= e.member.len + 8;
    z->e.touched = true;
    return r;
}

/* ---- closing ---- */

enum result zset_close(struct zset *z)
{
    if (z->hints_changed) {
        uint8_t bytes[ZSET_HINTS_MAX];
        elements_set_hints(&z->e, slice_of(bytes, zset_hints_encode(&z->hints, bytes)));
    }
    enum result r = zset_keep_ends(z);
    return r == RES_OK ? elements_finish(&z->e) : r;
}

#define STORE_ASK 64 /* elements between two questions whether the run takes too long */

static enum result ask(struct zset *z, size_t i)
{
    return i % STORE_ASK == STORE_ASK - 1 && call_too_long(z->e.c) ? RES_WOULD_BLOCK : RES_OK;
}

static bool fit_inline(const struct zset_entry *entries, size_t n)
{
    size_t room = ELEMENTS_INLINE_BYTES;
    if (n > ELEMENTS_INLINE_COUNT)
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t size = 1 + varint_size(entries[i].member.len) + entries[i].member.len + 1 + sizeof entries[i].score;
        if (size > room)
            return false;
        room -= size;
    }
    return true;
}

static enum result store_inline(struct zset *z, const struct zset_entry *entries, size_t n)
{
    enum result r = RES_OK;
    for (size_t i = 0; r == RES_OK && i < n; i++) {
        struct inline_place end = inline_end(&z->e);
        struct element in = {.key = entries[i].member, .value = slice_of(&entries[i].score, sizeof entries[i].score)};
        r = inline_insert(&z->e, &end, &in);
    }
    return r;
}

/* Each index in its own order. */
static enum result store_pieces(struct zset *z, const struct zset_entry *entries, const struct member_order *order)
{
    enum result r = elements_spill(&z->e);
    for (size_t i = 0; r == RES_OK && i < order->count; i++) {
        const struct zset_entry *e = &entries[order->at[i].index];
        struct element in = {.key = e->member, .value = slice_of(&e->score, sizeof e->score)};
        r = member_put_new(&z->e, order->at[i].h40, &in);
        if (r == RES_OK)
            r = ask(z, i);
    }
    for (size_t i = 0; r == RES_OK && i < order->count; i++) {
        r = put_new_order(z, entries[i]);
        if (r == RES_OK)
            r = ask(z, i);
    }
    return r;
}

enum result zset_store(struct call *c, struct object *o, struct zset_entry *entries, size_t n,
                       enum object_encoding encoding, const struct member_order *order)
{
    struct zset z = {.entry = NULL};
    struct member_order own;
    bool twins = false, fit = fit_inline(entries, n);
    enum result r = RES_OK;
    assert(n && (!order || order->count == n));
    zset_sort(entries, n);
    for (size_t i = 0; encoding == ENCODING_LISTPACK && i < n; i++)
        if (entries[i].score == 0)
            entries[i].score = 0; /* see zset_put */
    if (!fit && !order) {
        order = &own;
        r = member_order(c, &(struct member_names){&entries->member, sizeof *entries}, n, &own, &twins);
        if (r != RES_OK)
            return r;
    }
    assert(!twins);
    elements_replace(&z.e, c, o, &elements_of_zset, encoding);
    r = fit ? store_inline(&z, entries, n) : store_pieces(&z, entries, order);
    return r == RES_OK ? elements_finish(&z.e) : r;
}

/* Where the elements of lists in pieces lie: see list.h. */
#include <assert.h>

#include "base/bytes.h"
#include "store/list_priv.h"

#define HEAD 3 /* kind, set */

static unsigned slot_of(uint64_t position) { return (unsigned)(position % LIST_BLOCK); }

static enum result numbered_key(struct list *l, uint8_t subspace, uint64_t number, struct engine_key *key)
{
    uint8_t element[8];
    put_be64(element, number);
    return piece_key(&l->e, subspace, slice_of(element, sizeof element), key);
}

static enum result long_key(struct list *l, uint64_t position, struct engine_key *key)
{
    return numbered_key(l, SUBSPACE_POSITIONS, position, key);
}

static enum result block_key(struct list *l, uint64_t number, struct engine_key *key)
{
    return numbered_key(l, SUBSPACE_BLOCKS, number, key);
}

enum result list_block_decode(struct slice record, struct list_block *b)
{
    if (record.len <= HEAD || record.data[0] != PIECE_BYTES)
        return RES_CORRUPT;
    b->set = get_le16(record.data + 1);
    const uint8_t *p = record.data + HEAD, *end = record.data + record.len;
    for (unsigned left = b->set; left; left &= left - 1) {
        struct slice *s = &b->slot[__builtin_ctz(left)];
        if (p == end || *p > LIST_SHORT || *p >= end - p)
            return RES_CORRUPT;
        *s = slice_of(p + 1, *p);
        p += 1 + *p;
    }
    return p == end && b->set ? RES_OK : RES_CORRUPT;
}

/* No record: no element. */
static enum result read_block(struct list *l, const struct engine_key *key, struct list_block *b)
{
    struct slice record;
    enum result r = call_get(l->e.c, key, &record);
    b->set = 0;
    return r == RES_OK ? list_block_decode(record, b) : r == RES_NOT_FOUND ? RES_OK : r;
}

enum result list_block_get(struct list *l, uint64_t number, struct list_block *b)
{
    struct engine_key key;
    enum result r = block_key(l, number, &key);
    return r == RES_OK ? read_block(l, &key, b) : r;
}

static enum result write_block(struct list *l, const struct engine_key *key, const struct list_block *b)
{
    size_t len = HEAD;
    l->e.touched = true;
    if (!b->set)
        return call_delete(l->e.c, key);
    for (unsigned left = b->set; left; left &= left - 1)
        len += 1 + b->slot[__builtin_ctz(left)].len;
    uint8_t *record = arena_alloc(l->e.c->arena, len), *p = record;
    if (!p)
        return RES_NO_MEMORY;
    *p = PIECE_BYTES;
    put_le16(p + 1, b->set);
    p += HEAD;
    for (unsigned left = b->set; left; left &= left - 1) {
        const struct slice *s = &b->slot[__builtin_ctz(left)];
        *p++ = (uint8_t)s->len;
        if (s->len)
            memcpy(p, s->data, s->len);
        p += s->len;
    }
    return call_put_keep(l->e.c, key, slice_of(record, len));
}

static enum result get_long(struct list *l, uint64_t position, struct slice *value)
{
    struct engine_key key;
    struct slice record;
    enum result r = long_key(l, position, &key);
    if (r == RES_OK)
        r = call_get(l->e.c, &key, &record);
    if (unlikely(r != RES_OK))
        return r == RES_NOT_FOUND ? RES_CORRUPT : r;
    return list_long_value(record, value);
}

static enum result delete_long(struct list *l, uint64_t position)
{
    struct engine_key key;
    enum result r = long_key(l, position, &key);
    return r == RES_OK ? piece_delete(&l->e, &key) : r;
}

enum result list_piece_put(struct list *l, uint64_t position, struct slice value, bool fresh)
{
    struct engine_key key, own;
    struct list_block b;
    uint16_t bit = (uint16_t)(1u << slot_of(position));
    enum result r = block_key(l, position / LIST_BLOCK, &key);
    if (r == RES_OK)
        r = read_block(l, &key, &b);
    if (r != RES_OK)
        return r;
    if (value.len <= LIST_SHORT) {
        if (!(b.set & bit) && !fresh && (r = delete_long(l, position)) != RES_OK)
            return r;
        b.set |= bit;
        b.slot[slot_of(position)] = value;
        return write_block(l, &key, &b);
    }
    if (b.set & bit) {
        b.set &= (uint16_t)~bit;
        if ((r = write_block(l, &key, &b)) != RES_OK)
            return r;
    }
    r = long_key(l, position, &own);
    return r == RES_OK ? piece_put(&l->e, &own, &(struct element){.value = value}, false) : r;
}

/* Blocks are entered at the position next to the end. Those of the first one of a block that an end comes to are all
 * beyond what that end has ever given. */
static enum result enter_block(struct list *l, struct list_filling *f, enum list_end end, uint64_t position)
{
    unsigned first = end == LIST_TAIL ? 0 : LIST_BLOCK - 1;
    enum result r = list_fill_end(l, f);
    if (r == RES_OK)
        r = block_key(l, position / LIST_BLOCK, &f->key);
    f->number = position / LIST_BLOCK;
    f->block.set = 0;
    if (r == RES_OK && slot_of(position) != first)
        r = read_block(l, &f->key, &f->block);
    f->open = r == RES_OK;
    return r;
}

enum result list_fill(struct list *l, struct list_filling *f, enum list_end end, uint64_t position, struct slice value)
{
    uint16_t bit = (uint16_t)(1u << slot_of(position));
    if (unlikely(value.len > LIST_SHORT)) {
        enum result r = list_fill_end(l, f);
        return r == RES_OK ? list_piece_put(l, position, value, true) : r;
    }
    if (!f->open || f->number != position / LIST_BLOCK) {
        enum result r = enter_block(l, f, end, position);
        if (r != RES_OK)
            return r;
    }
    f->block.set |= bit;
    f->block.slot[slot_of(position)] = value;
    return RES_OK;
}

enum result list_fill_end(struct list *l, struct list_filling *f)
{
    if (!f->open)
        return RES_OK;
    f->open = false;
    return write_block(l, &f->key, &f->block);
}

enum result list_piece_get(struct list *l, uint64_t position, struct slice *value)
{
    struct list_block b;
    enum result r = list_block_get(l, position / LIST_BLOCK, &b);
    if (r != RES_OK)
        return r;
    if (!(b.set >> slot_of(position) & 1))
        return get_long(l, position, value);
    *value = b.slot[slot_of(position)];
    return RES_OK;
}

/* Whether an element of the list lies in these positions. */
static bool in_use(const struct list *l, uint64_t first, uint64_t count)
{
    for (size_t i = 0; i < l->segment_count; i++) {
        const struct list_segment *s = &l->segments[i];
        if (s->position <= first + (count - 1) && first <= s->position + (s->count - 1))
            return true;
    }
    return false;
}

enum result list_pieces_clear(struct list *l, uint64_t position, uint64_t count)
{
    enum result r = RES_OK;
    while (r == RES_OK && count) {
        uint64_t number = position / LIST_BLOCK, n = LIST_BLOCK - slot_of(position);
        struct engine_key key;
        struct list_block b;
        if ((r = block_key(l, number, &key)) != RES_OK || (r = read_block(l, &key, &b)) != RES_OK)
            return r;
        for (n = n < count ? n : count; r == RES_OK && n; n--, count--, position++)
            if (!(b.set >> slot_of(position) & 1))
                r = delete_long(l, position);
        if (r == RES_OK && b.set && !in_use(l, number * LIST_BLOCK, LIST_BLOCK))
            r = call_delete(l->e.c, &key);
    }
    return r;
}

/* A block that is not wholly inside of what is named dead may be left without an element. */
static enum result clear_border(struct list *l, uint64_t number)
{
    struct engine_key key;
    if (in_use(l, number * LIST_BLOCK, LIST_BLOCK))
        return RES_OK;
    enum result r = block_key(l, number, &key);
    return r == RES_OK ? call_delete(l->e.c, &key) : r;
}

enum result list_pieces_bury(struct list *l, uint64_t position, uint64_t count)
{
    uint8_t lower[8], upper[8];
    uint64_t end = position + count, first = position / LIST_BLOCK + (slot_of(position) > 0), last = end / LIST_BLOCK;
    put_be64(lower, position);
    put_be64(upper, end);
    enum result r = piece_bury(&l->e, SUBSPACE_POSITIONS, slice_of(lower, 8), slice_of(upper, 8));
    if (r == RES_OK && first < last) {
        put_be64(lower, first);
        put_be64(upper, last);
        r = piece_bury(&l->e, SUBSPACE_BLOCKS, slice_of(lower, 8), slice_of(upper, 8));
    }
    if (r == RES_OK && slot_of(position))
        r = clear_border(l, position / LIST_BLOCK);
    if (r == RES_OK && slot_of(end))
        r = clear_border(l, end / LIST_BLOCK);
    return r;
}

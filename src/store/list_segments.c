/* Positions and segments of lists in pieces: see list.h. */
#include <assert.h>

#include "base/bytes.h"
#include "store/list_priv.h"
#include "store/store_priv.h"

enum hint_flags { HINT_ESTIMATED = 1, HINT_SEVERAL = 2, HINT_TABLE = 4, HINT_ALL = 7 };

#define ENDS_FIRST LIST_INNER_END /* the first position of the region in which the ends grow */

/* ---- bytes ---- */

static uint64_t zigzag(uint64_t n) { return n << 1 ^ (uint64_t)((int64_t)n >> 63); }
static uint64_t unzigzag(uint64_t z) { return z >> 1 ^ -(z & 1); }

static uint8_t *put_position(uint8_t *p, uint64_t position)
{
    return p + put_varint(p, position < LIST_INNER_END ? position << 1 | 1 : zigzag(position - LIST_BASE) << 1);
}

static bool take_number(struct slice *in, uint64_t *out)
{
    size_t before = in->len;
    return take_varint(in, out) && before - in->len == varint_size(*out);
}

static bool take_position(struct slice *in, uint64_t *out)
{
    uint64_t v;
    if (!take_number(in, &v))
        return false;
    *out = v & 1 ? v >> 1 : LIST_BASE + unzigzag(v >> 1);
    return true;
}

/* A segment lies in one region, inside of what has been given out there. */
static bool segment_holds(const struct list *l, const struct list_segment *s)
{
    if (!s->count || s->count > l->e.count || s->position > UINT64_MAX - s->count)
        return false;
    return s->position < LIST_INNER_END ? s->position + s->count <= l->fresh
                                        : s->position > l->head_next && s->position + s->count <= l->tail_next;
}

static enum result grow(struct list *l, size_t more)
{
    size_t want = l->segment_count + more;
    if (want <= l->segment_cap)
        return RES_OK;
    struct list_segment *p = arena_alloc(l->e.c->arena, want * 2 * sizeof *p);
    if (!p)
        return RES_NO_MEMORY;
    memcpy(p, l->segments, l->segment_count * sizeof *p);
    l->segments = p;
    l->segment_cap = want * 2;
    return RES_OK;
}

void list_one_segment(struct list *l, uint64_t position, uint64_t count)
{
    l->segments = l->few;
    l->segment_cap = sizeof l->few / sizeof l->few[0];
    l->segment_count = 1;
    l->few[0] = (struct list_segment){position, count};
}

static enum result table_key(struct list *l, struct engine_key *key)
{
    return piece_key(&l->e, SUBSPACE_RANKS, slice_of(NULL, 0), key);
}

bool list_table_next(const struct list *l, struct slice *in, struct list_segment *s)
{
    return take_position(in, &s->position) && take_number(in, &s->count) && segment_holds(l, s);
}

/* The segments between the first and the last. */
static enum result read_table(struct list *l)
{
    struct engine_key key;
    struct element table;
    enum result r = table_key(l, &key);
    if (r == RES_OK)
        r = piece_get(&l->e, &key, &table);
    if (r != RES_OK)
        return r == RES_NOT_FOUND ? RES_CORRUPT : r;
    struct slice in = table.value;
    struct list_segment last = l->segments[1];
    if (!in.len || table.expire_ms || table.key.len)
        return RES_CORRUPT;
    for (l->segment_count = 1; in.len;) {
        struct list_segment s;
        if (!list_table_next(l, &in, &s))
            return RES_CORRUPT;
        if ((r = grow(l, 2)) != RES_OK)
            return r;
        l->segments[l->segment_count++] = s;
    }
    l->segments[l->segment_count++] = last;
    return RES_OK;
}

enum result list_hints_parse(struct list *l)
{
    struct slice in = slice_of(l->e.hints, l->e.hints_len);
    uint64_t before, after;
    if (!in.len || in.data[0] & ~HINT_ALL)
        return RES_CORRUPT;
    unsigned flags = in.data[0];
    in.data++;
    in.len--;
    list_one_segment(l, 0, l->e.count);
    struct list_segment *first = &l->segments[0], *last = first;
    if (!take_number(&in, &l->fresh) || l->fresh > LIST_INNER_END || !take_position(&in, &first->position) ||
        !take_number(&in, &before) || !take_number(&in, &after))
        return RES_CORRUPT;
    if (flags & HINT_SEVERAL) {
        last = &l->segments[l->segment_count++];
        if (!take_number(&in, &first->count) || !take_position(&in, &last->position) || !take_number(&in, &last->count))
            return RES_CORRUPT;
    }
    l->head_next = first->position - 1 - unzigzag(before);
    l->tail_next = last->position + last->count + unzigzag(after);
    if (in.len || l->head_next < ENDS_FIRST || l->tail_next <= l->head_next || !segment_holds(l, first) ||
        !segment_holds(l, last) || (flags & HINT_TABLE && !(flags & HINT_SEVERAL)))
        return RES_CORRUPT;
    l->estimated = flags & HINT_ESTIMATED;
    l->table_stored = flags & HINT_TABLE;
    return RES_OK;
}

enum result list_hints_read(struct list *l)
{
    enum result r = list_hints_parse(l);
    if (r == RES_OK && l->table_stored)
        r = read_table(l);
    if (r != RES_OK || l->segment_count == 1)
        return r;
    uint64_t sum = 0;
    for (size_t i = 0; i < l->segment_count; i++)
        sum += l->segments[i].count;
    return sum == l->e.count ? RES_OK : RES_CORRUPT;
}

static enum result write_table(struct list *l)
{
    struct engine_key key;
    enum result r = table_key(l, &key);
    if (r != RES_OK)
        return r;
    if (l->segment_count <= 2)
        return l->table_stored ? piece_delete(&l->e, &key) : RES_OK;
    uint8_t *bytes = arena_alloc(l->e.c->arena, (l->segment_count - 2) * 2 * VARINT_MAX), *p = bytes;
    if (!p)
        return RES_NO_MEMORY;
    for (size_t i = 1; i + 1 < l->segment_count; i++) {
        p = put_position(p, l->segments[i].position);
        p += put_varint(p, l->segments[i].count);
    }
    struct element table = {.value = slice_of(bytes, (size_t)(p - bytes))};
    return piece_put(&l->e, &key, &table, false);
}

enum result list_hints_write(struct list *l)
{
    uint8_t hints[ELEMENTS_HINTS_MAX], *p = hints;
    const struct list_segment *first = &l->segments[0], *last = &l->segments[l->segment_count - 1];
    *p++ = (uint8_t)((l->estimated ? HINT_ESTIMATED : 0) | (l->segment_count > 1 ? HINT_SEVERAL : 0) |
                     (l->segment_count > 2 ? HINT_TABLE : 0));
    p += put_varint(p, l->fresh);
    p = put_position(p, first->position);
    p += put_varint(p, zigzag(first->position - 1 - l->head_next));
    p += put_varint(p, zigzag(l->tail_next - (last->position + last->count)));
    if (l->segment_count > 1) {
        p += put_varint(p, first->count);
        p = put_position(p, last->position);
        p += put_varint(p, last->count);
    }
    elements_set_hints(&l->e, slice_of(hints, (size_t)(p - hints)));
    return l->table_changed ? write_table(l) : RES_OK;
}

/* ---- segments ---- */

size_t list_find(const struct list *l, uint64_t index, uint64_t *within)
{
    assert(index < l->e.count);
    size_t s = 0;
    if (index >= l->e.count / 2) { /* from behind */
        uint64_t left = l->e.count - index;
        for (s = l->segment_count - 1; left > l->segments[s].count; s--)
            left -= l->segments[s].count;
        *within = l->segments[s].count - left;
        return s;
    }
    for (; index >= l->segments[s].count; s++)
        index -= l->segments[s].count;
    *within = index;
    return s;
}

/* Whether segment s is one that the table has. */
static void note_change(struct list *l, size_t s)
{
    if (s > 0 && s + 1 < l->segment_count)
        l->table_changed = true;
}

static enum result add_segment(struct list *l, size_t at, uint64_t position, uint64_t count)
{
    enum result r = grow(l, 1);
    if (r != RES_OK)
        return r;
    memmove(l->segments + at + 1, l->segments + at, (l->segment_count - at) * sizeof *l->segments);
    l->segments[at] = (struct list_segment){position, count};
    if (++l->segment_count > 2)
        l->table_changed = true;
    return RES_OK;
}

static void remove_segment(struct list *l, size_t at)
{
    if (l->segment_count > 2)
        l->table_changed = true;
    l->segment_count--;
    memmove(l->segments + at, l->segments + at + 1, (l->segment_count - at) * sizeof *l->segments);
}

enum result list_extend(struct list *l, enum list_end end, uint64_t *position)
{
    struct list_segment *s = &l->segments[end == LIST_HEAD ? 0 : l->segment_count - 1];
    if (end == LIST_HEAD) {
        if (l->head_next == ENDS_FIRST)
            return RES_TOO_MANY;
        *position = l->head_next--;
        if (likely(s->position == *position + 1)) {
            s->position--;
            s->count++;
            return RES_OK;
        }
        return add_segment(l, 0, *position, 1);
    }
    if (l->tail_next == UINT64_MAX)
        return RES_TOO_MANY;
    *position = l->tail_next++;
    if (likely(s->position + s->count == *position)) {
        s->count++;
        return RES_OK;
    }
    return add_segment(l, l->segment_count, *position, 1);
}

/* The records of [position, position + count), which no segment has any more, and where it is long never will have. */
static enum result drop_run(struct list *l, uint64_t position, uint64_t count)
{
    return count <= LIST_TOMBSTONES ? list_pieces_clear(l, position, count) : list_pieces_bury(l, position, count);
}

/* Takes k positions off the segment at an end. again: they may be used again, which keeps stacks dense; true where their
 * records were deleted one by one. */
static void shorten(struct list *l, enum list_end end, uint64_t k, bool again)
{
    size_t at = end == LIST_HEAD ? 0 : l->segment_count - 1;
    struct list_segment *s = &l->segments[at];
    if (end == LIST_HEAD) {
        if (again && l->head_next + 1 == s->position)
            l->head_next += k;
        s->position += k;
    } else if (again && l->tail_next == s->position + s->count) {
        l->tail_next -= k;
    }
    s->count -= k;
    if (!s->count) {
        assert(l->segment_count > 1);
        remove_segment(l, at);
    }
}

enum result list_cut(struct list *l, enum list_end end, uint64_t n)
{
    while (n) {
        const struct list_segment *s = &l->segments[end == LIST_HEAD ? 0 : l->segment_count - 1];
        uint64_t k = n < s->count ? n : s->count, first = end == LIST_HEAD ? s->position : s->position + s->count - k;
        shorten(l, end, k, k <= LIST_TOMBSTONES);
        enum result r = drop_run(l, first, k);
        if (r != RES_OK)
            return r;
        n -= k;
    }
    return RES_OK;
}

enum result list_take(struct list *l, enum list_end end, struct slice *value)
{
    const struct list_segment *s = &l->segments[end == LIST_HEAD ? 0 : l->segment_count - 1];
    uint64_t position = end == LIST_HEAD ? s->position : s->position + s->count - 1;
    enum result r = list_piece_get(l, position, value);
    if (r != RES_OK || l->e.count == 1) /* the object goes as a whole */
        return r;
    shorten(l, end, 1, true);
    if (value->len <= LIST_SHORT && s->count && s->position / LIST_BLOCK <= position / LIST_BLOCK &&
        (s->position + s->count - 1) / LIST_BLOCK >= position / LIST_BLOCK)
        return RES_OK; /* its block is still needed */
    return list_pieces_clear(l, position, 1);
}

enum result list_split_in(struct list *l, uint64_t index, uint64_t *position)
{
    uint64_t within;
    size_t s = list_find(l, index, &within);
    if (l->fresh == LIST_INNER_END)
        return RES_TOO_MANY;
    *position = l->fresh++;
    /* right behind what was inserted last: that grows */
    if (within == 0 && s > 0 && l->segments[s - 1].position < LIST_INNER_END &&
        l->segments[s - 1].position + l->segments[s - 1].count == *position) {
        l->segments[s - 1].count++;
        note_change(l, s - 1);
        return RES_OK;
    }
    if (within > 0) {
        struct list_segment *whole = &l->segments[s];
        uint64_t rest = whole->count - within, rest_position = whole->position + within;
        whole->count = within;
        enum result r = add_segment(l, ++s, rest_position, rest);
        if (r != RES_OK)
            return r;
    }
    return add_segment(l, s, *position, 1);
}

enum result list_split_out(struct list *l, uint64_t index)
{
    uint64_t within;
    size_t at = list_find(l, index, &within);
    struct list_segment *s = &l->segments[at];
    uint64_t position = s->position + within;
    enum result r = RES_OK;
    note_change(l, at);
    if (s->count == 1) {
        remove_segment(l, at);
    } else if (within == 0) {
        s->position++;
        s->count--;
    } else {
        uint64_t rest = s->count - within - 1, rest_position = s->position + within + 1;
        s->count = within;
        if (rest)
            r = add_segment(l, at + 1, rest_position, rest);
    }
    return r == RES_OK ? list_pieces_clear(l, position, 1) : r;
}

/* Copies segments at and at + 1 into one at fresh positions. */
static enum result join_two(struct list *l, size_t at)
{
    struct list_segment a = l->segments[at], b = l->segments[at + 1];
    uint64_t total = a.count + b.count, first = 0;
    if (total > LIST_INNER_END - l->fresh)
        return RES_TOO_MANY;
    for (size_t i = 0; i < at; i++)
        first += l->segments[i].count;
    struct list_cursor w;
    enum result r = list_cursor_open(&w, l, first, total, false);
    if (r != RES_OK)
        return r;
    uint64_t to = l->fresh;
    while ((r = list_cursor_next(&w)) == RES_OK && (r = list_piece_put(l, to, w.value, true)) == RES_OK)
        to++;
    list_cursor_close(&w);
    if (r != RES_NOT_FOUND)
        return r;
    l->segments[at] = (struct list_segment){l->fresh, total};
    l->fresh = to;
    remove_segment(l, at + 1);
    note_change(l, at);
    r = drop_run(l, a.position, a.count);
    return r == RES_OK ? drop_run(l, b.position, b.count) : r;
}

enum result list_join(struct list *l)
{
    while (l->segment_count > LIST_SEGMENTS_MAX) {
        size_t best = 0;
        uint64_t least = UINT64_MAX;
        for (size_t i = 0; i + 1 < l->segment_count; i++)
            if (l->segments[i].count + l->segments[i + 1].count < least) {
                least = l->segments[i].count + l->segments[i + 1].count;
                best = i;
            }
        enum result r = join_two(l, best);
        if (r != RES_OK)
            return r;
    }
    return RES_OK;
}

/* Lists by element numbers, over both shapes: see list.h. Where positions come from is in list_segments.c. */
#include <assert.h>

#include "base/bytes.h"
#include "base/num.h"
#include "store/list_priv.h"

#define CURSOR_GETS 128 /* elements: the records of so few are looked up one by one */
#define CURSOR_ASK 128  /* elements between two questions whether the run takes too long */
#define PUSH_ASK 256    /* the same while pushing */

/* ---- opening, coming to pieces, finishing ---- */

static void start_pieces(struct list *l, uint64_t count)
{
    list_one_segment(l, LIST_BASE, count);
    l->head_next = LIST_BASE - 1;
    l->tail_next = LIST_BASE + count;
    l->fresh = 0;
}

static enum result spill(struct elements *e, const struct element *in, uint64_t index, uint64_t count)
{
    struct list *l = (struct list *)e;
    e->bytes += list_entry_size(in->value) - in->value.len; /* which is what it was counted as */
    if (index == 0)
        start_pieces(l, count);
    return list_piece_put(l, LIST_BASE + index, in->value, true);
}

const struct elements_kind elements_of_list = {.type = TYPE_LIST, .has_values = true, .spill = spill};

static void start(struct list *l)
{
    l->estimated = l->table_stored = l->table_changed = false;
    l->node_size = LIST_NODE_SIZE;
    l->segments = l->few;
    l->segment_count = 0;
    l->segment_cap = sizeof l->few / sizeof l->few[0];
}

enum result list_open(struct list *l, struct call *c, struct object *o)
{
    start(l);
    enum result r = elements_open(&l->e, c, o, &elements_of_list);
    if (r != RES_OK)
        return r;
    if (!o->exists)
        l->e.encoding = ENCODING_LISTPACK;
    if (l->e.pieces)
        return list_hints_read(l);
    return l->e.hints_len ? RES_CORRUPT : RES_OK;
}

void list_replace(struct list *l, struct call *c, struct object *o)
{
    start(l);
    elements_replace(&l->e, c, o, &elements_of_list, ENCODING_LISTPACK);
}

static enum result finish_with(struct list *l, uint64_t expire_ms)
{
    if (l->e.touched && l->e.pieces && l->e.count) {
        enum result r = list_hints_write(l);
        if (r != RES_OK)
            return r;
    }
    return elements_finish_with(&l->e, expire_ms);
}

enum result list_finish(struct list *l) { return finish_with(l, l->e.replaces ? 0 : l->e.o->expire_ms); }

enum result list_copy(struct call *c, struct object *src, struct object *dst)
{
    struct list from, to;
    struct list_cursor w;
    uint64_t expire_ms = src->expire_ms;
    enum result r = list_open(&from, c, src);
    if (r == RES_OK)
        r = list_cursor_open(&w, &from, 0, UINT64_MAX, false);
    if (r != RES_OK)
        return r;
    list_replace(&to, c, dst);
    to.e.encoding = from.e.encoding;
    while ((r = list_cursor_next(&w)) == RES_OK && (r = list_push(&to, LIST_TAIL, w.value)) == RES_OK)
        if (!to.e.pieces && (r = elements_spill(&to.e)) != RES_OK)
            break;
    list_cursor_close(&w);
    return r == RES_NOT_FOUND ? finish_with(&to, expire_ms) : r;
}

/* ---- OBJECT ENCODING ---- */

#define LISTPACK_FRAME 7 /* its head and its end */
#define LISTPACK_SAFE 8192
#define NO_LIMIT UINT64_MAX

uint64_t list_entry_size(struct slice value)
{
    int64_t n;
    if (value.len && value.len <= NUM_I64_MAX && num_parse_i64(value, &n) == RES_OK) {
        if (n >= 0 && n <= 127)
            return 2;
        int64_t size = n >= -4096 && n <= 4095                            ? 2
                       : n >= INT16_MIN && n <= INT16_MAX                 ? 3
                       : n >= -(INT64_C(1) << 23) && n < INT64_C(1) << 23 ? 4
                       : n >= INT32_MIN && n <= INT32_MAX                 ? 5
                                                                          : 9;
        return (uint64_t)size + 1;
    }
    uint64_t size = value.len + (value.len < 64 ? 1 : value.len < 4096 ? 2 : 5);
    return size + (size <= 127 ? 1 : size < 16383 ? 2 : size < 2097151 ? 3 : size < 268435455 ? 4 : 5);
}

/* The limits of a listpack by list-max-listpack-size. */
static void limits(const struct list *l, uint64_t *bytes, uint64_t *count)
{
    static const uint64_t levels[] = {4096, 8192, 16384, 32768, 65536};
    int64_t fill = l->node_size;
    *bytes = *count = NO_LIMIT;
    if (fill >= 0)
        *count = fill ? (uint64_t)fill : 1;
    else
        *bytes = levels[fill < -5 ? 4 : -fill - 1];
}

/* The size of all elements in a listpack. */
static enum result sum_entries(struct list *l, uint64_t *sum)
{
    if (l->e.pieces && !l->estimated) {
        *sum = l->e.bytes;
        return RES_OK;
    }
    struct list_cursor w;
    enum result r = list_cursor_open(&w, l, 0, l->e.count, false);
    if (r != RES_OK)
        return r;
    for (*sum = 0; (r = list_cursor_next(&w)) == RES_OK;)
        *sum += list_entry_size(w.value);
    list_cursor_close(&w);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

enum result list_will_grow(struct list *l, uint64_t count, uint64_t bytes)
{
    if (l->e.encoding != ENCODING_LISTPACK)
        return RES_OK;
    uint64_t max_bytes, max_count, sum;
    limits(l, &max_bytes, &max_count);
    if (max_bytes == NO_LIMIT)
        max_bytes = LISTPACK_SAFE;
    if (count > max_count || l->e.count > max_count - count) {
        l->e.encoding = ENCODING_QUICKLIST;
        return RES_OK;
    }
    /* inline, an entry is at most two bytes larger in a listpack */
    if (!l->e.pieces && LISTPACK_FRAME + l->e.list.len + 2 * l->e.count + bytes <= max_bytes)
        return RES_OK;
    enum result r = sum_entries(l, &sum);
    if (r == RES_OK && LISTPACK_FRAME + sum + bytes > max_bytes)
        l->e.encoding = ENCODING_QUICKLIST;
    return r;
}

enum result list_has_shrunk(struct list *l)
{
    if (likely(l->e.encoding != ENCODING_QUICKLIST || !l->e.count))
        return RES_OK;
    uint64_t max_bytes, max_count, sum;
    limits(l, &max_bytes, &max_count);
    max_bytes /= 2;
    if (l->e.count > max_count / 2 || LISTPACK_FRAME + 2 * l->e.count > max_bytes)
        return RES_OK;
    enum result r = sum_entries(l, &sum);
    if (r != RES_OK)
        return r;
    if (l->e.pieces) {
        l->e.bytes = sum;
        l->estimated = false;
    }
    if (LISTPACK_FRAME + sum <= max_bytes)
        l->e.encoding = ENCODING_LISTPACK;
    return RES_OK;
}

/* ---- the ends ---- */

enum result list_push(struct list *l, enum list_end end, struct slice value)
{
    struct elements *e = &l->e;
    if (!e->pieces) {
        struct element in = {.value = value};
        struct inline_place p = end == LIST_TAIL ? inline_end(e) : (struct inline_place){.at = 0};
        return inline_insert(e, &p, &in);
    }
    uint64_t position;
    enum result r = list_extend(l, end, &position);
    if (r != RES_OK)
        return r;
    e->count++;
    e->bytes += list_entry_size(value);
    if (unlikely(l->segment_count > LIST_SEGMENTS_MAX)) {
        r = list_piece_put(l, position, value, true);
        return r == RES_OK ? list_join(l) : r;
    }
    return list_piece_put(l, position, value, true);
}

static enum result push_in_pieces(struct list *l, enum list_end end, const struct slice *values, size_t n)
{
    struct list_filling f = {.open = false};
    enum result r = RES_OK;
    for (size_t i = 0; r == RES_OK && i < n; i++) {
        uint64_t position;
        if (i % PUSH_ASK == PUSH_ASK - 1 && call_too_long(l->e.c))
            return RES_WOULD_BLOCK;
        if ((r = list_extend(l, end, &position)) != RES_OK ||
            (r = list_fill(l, &f, end, position, values[i])) != RES_OK)
            return r;
        l->e.count++;
        l->e.bytes += list_entry_size(values[i]);
        if (unlikely(l->segment_count > LIST_SEGMENTS_MAX) && (r = list_fill_end(l, &f)) == RES_OK)
            r = list_join(l);
    }
    return r == RES_OK ? list_fill_end(l, &f) : r;
}

static bool fit_inline(const struct list *l, const struct slice *values, size_t n)
{
    if (n > ELEMENTS_INLINE_COUNT - l->e.count)
        return false;
    size_t room = ELEMENTS_INLINE_BYTES - l->e.list.len;
    for (size_t i = 0; i < n; i++) {
        size_t size = 1 + varint_size(values[i].len) + values[i].len;
        if (size > room)
            return false;
        room -= size;
    }
    return true;
}

/* Comes to pieces because many more elements will follow: those that are there are pushed as they will be. */
static enum result unroll(struct list *l)
{
    struct elements *e = &l->e;
    struct slice there[ELEMENTS_INLINE_COUNT];
    struct inline_place p;
    struct element x;
    size_t n = 0;
    enum result r = inline_first(e, &p, &x);
    for (; r == RES_OK; r = inline_next(e, &p, &x))
        there[n++] = x.value;
    if (r != RES_NOT_FOUND)
        return r;
    e->list = slice_of(NULL, 0);
    e->count = 0;
    if ((r = elements_spill(e)) != RES_OK)
        return r;
    start_pieces(l, 0);
    return push_in_pieces(l, LIST_TAIL, there, n);
}

enum result list_push_all(struct list *l, enum list_end end, const struct slice *values, size_t n)
{
    enum result r = RES_OK;
    if (!l->e.pieces && fit_inline(l, values, n)) {
        for (size_t i = 0; r == RES_OK && i < n; i++)
            r = list_push(l, end, values[i]);
        return r;
    }
    if (!l->e.pieces)
        r = unroll(l);
    return r == RES_OK ? push_in_pieces(l, end, values, n) : r;
}

static enum result pop_inline(struct list *l, enum list_end end, struct slice *value)
{
    struct inline_place p;
    struct element out;
    enum result r = inline_at(&l->e, end == LIST_HEAD ? 0 : l->e.count - 1, &p, &out);
    if (r != RES_OK)
        return r == RES_NOT_FOUND ? RES_CORRUPT : r;
    void *copy = arena_copy(l->e.c->arena, out.value.data, out.value.len);
    if (!copy)
        return RES_NO_MEMORY;
    *value = slice_of(copy, out.value.len);
    return inline_remove(&l->e, &p);
}

/* Bytes of n elements that went unread: their share. What remains has 2 bytes an element at least. */
static void take_bytes_off(struct list *l, uint64_t n, uint64_t bytes)
{
    uint64_t left = l->e.count - n;
    if (bytes == LIST_UNKNOWN) {
        l->estimated = true;
        bytes = (uint64_t)((double)l->e.bytes / (double)l->e.count * (double)n);
    }
    l->e.bytes = l->e.bytes >= bytes + 2 * left ? l->e.bytes - bytes : 2 * left;
    l->e.count = left;
}

enum result list_pop(struct list *l, enum list_end end, struct slice *value)
{
    struct elements *e = &l->e;
    assert(e->count);
    if (!e->pieces)
        return pop_inline(l, end, value);
    enum result r = list_take(l, end, value);
    if (r != RES_OK)
        return r;
    e->touched = true;
    take_bytes_off(l, 1, list_entry_size(*value));
    return RES_OK;
}

static enum result drop_inline(struct list *l, enum list_end end, uint64_t n)
{
    struct inline_place p;
    for (; n; n--) {
        enum result r = inline_at(&l->e, end == LIST_HEAD ? 0 : l->e.count - 1, &p, NULL);
        if (r == RES_OK)
            r = inline_remove(&l->e, &p);
        if (r != RES_OK)
            return r == RES_NOT_FOUND ? RES_CORRUPT : r;
    }
    return RES_OK;
}

enum result list_drop(struct list *l, enum list_end end, uint64_t n, uint64_t bytes)
{
    assert(n <= l->e.count);
    l->e.touched = true;
    if (!l->e.pieces)
        return drop_inline(l, end, n);
    if (n == l->e.count) {
        l->e.count = 0;
        return RES_OK;
    }
    enum result r = RES_OK;
    if (bytes == LIST_UNKNOWN && n <= LIST_TOMBSTONES) {
        struct list_cursor w;
        if ((r = list_cursor_open(&w, l, end == LIST_HEAD ? 0 : l->e.count - n, n, false)) != RES_OK)
            return r;
        for (bytes = 0; (r = list_cursor_next(&w)) == RES_OK;)
            bytes += list_entry_size(w.value);
        list_cursor_close(&w);
        if (r != RES_NOT_FOUND)
            return r;
    }
    r = n ? list_cut(l, end, n) : RES_OK;
    if (r == RES_OK)
        take_bytes_off(l, n, bytes);
    return r;
}

/* ---- by number ---- */

enum result list_get(struct list *l, uint64_t index, struct slice *value)
{
    if (l->e.pieces)
        return list_piece_get(l, list_position(l, index), value);
    struct inline_place p;
    struct element out;
    enum result r = inline_at(&l->e, index, &p, &out);
    if (r != RES_OK)
        return r == RES_NOT_FOUND ? RES_CORRUPT : r;
    *value = out.value;
    return RES_OK;
}

enum result list_set(struct list *l, uint64_t index, struct slice value)
{
    struct elements *e = &l->e;
    if (!e->pieces) {
        struct inline_place p;
        struct element in = {.value = value};
        enum result r = inline_at(e, index, &p, NULL);
        if (r != RES_OK)
            return r == RES_NOT_FOUND ? RES_CORRUPT : r;
        return inline_replace(e, &p, &in);
    }
    struct slice old;
    uint64_t position = list_position(l, index);
    enum result r = list_piece_get(l, position, &old);
    if (r != RES_OK)
        return r;
    uint64_t size = list_entry_size(old); /* an estimate may be less */
    e->bytes = (e->bytes > size ? e->bytes - size : 0) + list_entry_size(value);
    return list_piece_put(l, position, value, false);
}

/* Moves the elements before `index` one position towards the head, or those from it on towards the tail, and puts the
 * value into the gap. */
static enum result insert_shifting(struct list *l, uint64_t index, struct slice value)
{
    bool head = index < l->e.count - index;
    uint64_t n = head ? index : l->e.count - index, gap;
    struct list_cursor w;
    enum result r = list_cursor_open(&w, l, head ? 0 : l->e.count - 1, n, !head);
    if (r != RES_OK)
        return r;
    if (n) /* it goes through the segments as they were */
        w.segments = arena_copy(l->e.c->arena, l->segments, l->segment_count * sizeof *l->segments);
    if (n && !w.segments)
        return RES_NO_MEMORY;
    r = list_extend(l, head ? LIST_HEAD : LIST_TAIL, &gap);
    while (r == RES_OK && (r = list_cursor_next(&w)) == RES_OK) {
        r = list_piece_put(l, gap, w.value, false);
        gap = w.position;
    }
    list_cursor_close(&w);
    return r == RES_NOT_FOUND ? list_piece_put(l, gap, value, false) : r;
}

enum result list_insert(struct list *l, uint64_t index, struct slice value)
{
    struct elements *e = &l->e;
    assert(index <= e->count);
    if (!e->pieces) {
        struct inline_place p;
        struct element in = {.value = value};
        enum result r = inline_at(e, index, &p, NULL);
        if (r != RES_OK && r != RES_NOT_FOUND)
            return r;
        return inline_insert(e, &p, &in);
    }
    enum result r;
    uint64_t position;
    if (index <= LIST_SHIFT || e->count - index <= LIST_SHIFT) {
        r = insert_shifting(l, index, value);
    } else {
        r = list_split_in(l, index, &position);
        if (r == RES_OK)
            r = list_piece_put(l, position, value, true);
    }
    if (r != RES_OK)
        return r;
    e->count++;
    e->bytes += list_entry_size(value);
    return list_join(l);
}

/* Positions one after the other. */
struct place {
    size_t segment;
    uint64_t within;
};

static void step(const struct list *l, struct place *p, bool backward)
{
    if (backward && p->within == 0 && p->segment > 0)
        p->within = l->segments[--p->segment].count - 1;
    else if (backward)
        p->within--;
    else if (++p->within == l->segments[p->segment].count)
        *p = (struct place){p->segment + 1, 0};
}

/* Moves what lies between the removed elements and an end towards them, and cuts off what is left there. */
static enum result remove_shifting(struct list *l, const uint64_t *indexes, uint64_t n, bool head)
{
    uint64_t farthest = head ? indexes[n - 1] : indexes[0], met = 0;
    struct list_cursor w;
    struct place to;
    to.segment = list_find(l, farthest, &to.within);
    enum result r = list_cursor_open(&w, l, farthest, UINT64_MAX, head);
    while (r == RES_OK && (r = list_cursor_next(&w)) == RES_OK) {
        if (met < n && w.index == indexes[head ? n - 1 - met : met]) {
            met++;
            continue;
        }
        r = list_piece_put(l, l->segments[to.segment].position + to.within, w.value, false);
        step(l, &to, head);
    }
    list_cursor_close(&w);
    return r == RES_NOT_FOUND ? list_cut(l, head ? LIST_HEAD : LIST_TAIL, n) : r;
}

static enum result remove_inline(struct list *l, const uint64_t *indexes, uint64_t n)
{
    while (n--) {
        struct inline_place p;
        enum result r = inline_at(&l->e, indexes[n], &p, NULL);
        if (r == RES_OK)
            r = inline_remove(&l->e, &p);
        if (r != RES_OK)
            return r == RES_NOT_FOUND ? RES_CORRUPT : r;
    }
    return RES_OK;
}

enum result list_remove(struct list *l, const uint64_t *indexes, uint64_t n, uint64_t bytes)
{
    assert(n && n <= l->e.count);
    if (!l->e.pieces)
        return remove_inline(l, indexes, n);
    l->e.touched = true;
    if (n == l->e.count) {
        l->e.count = 0;
        return RES_OK;
    }
    uint64_t to_head = indexes[n - 1] + 1 - n, to_tail = l->e.count - indexes[0] - n;
    bool head = to_head < to_tail;
    enum result r = RES_OK;
    if ((head ? to_head : to_tail) <= LIST_SHIFT || n > LIST_SEGMENTS_MAX / 4) {
        r = remove_shifting(l, indexes, n, head);
        if (r == RES_OK)
            take_bytes_off(l, n, bytes);
        return r;
    }
    for (uint64_t i = n; r == RES_OK && i-- > 0;) {
        r = list_split_out(l, indexes[i]);
        l->e.count--;
    }
    if (r != RES_OK)
        return r;
    l->e.count += n;
    take_bytes_off(l, n, bytes);
    return list_join(l);
}

/* ---- walking ---- */

static enum result open_inline(struct list_cursor *w)
{
    const struct elements *e = &w->l->e;
    struct slice *values = arena_alloc(e->c->arena, (e->count ? e->count : 1) * sizeof *values);
    if (!values)
        return RES_NO_MEMORY;
    struct inline_place p;
    struct element out;
    uint64_t n = 0;
    enum result r;
    for (r = inline_first(e, &p, &out); r == RES_OK; r = inline_next(e, &p, &out))
        values[n++] = out.value;
    w->inline_values = values;
    return r == RES_NOT_FOUND && n == e->count ? RES_OK : RES_CORRUPT;
}

enum result list_cursor_open(struct list_cursor *w, struct list *l, uint64_t index, uint64_t max, bool backward)
{
    *w = (struct list_cursor){.l = l, .backward = backward, .index = backward ? index + 1 : index - 1};
    if (index >= l->e.count)
        return RES_OK;
    uint64_t there = backward ? index + 1 : l->e.count - index, within;
    w->left = max < there ? max : there;
    if (!l->e.pieces)
        return open_inline(w);
    w->segments = l->segments;
    w->segment = list_find(l, index, &within);
    const struct list_segment *s = &w->segments[w->segment];
    w->next = s->position + within;
    w->in_segment = backward ? within + 1 : s->count - within;
    return RES_OK;
}

void list_cursor_close(struct list_cursor *w)
{
    iter_close(w->blocks.it);
    iter_close(w->longs.it);
    w->blocks.it = w->longs.it = NULL;
}

/* Records named by what is left of the segment, from `number` on. */
static enum result open_stream(struct list_cursor *w, struct list_stream *s, uint64_t number, uint64_t count)
{
    uint8_t lower[8], upper[8];
    put_be64(lower, w->backward ? number - (count - 1) : number);
    put_be64(upper, w->backward ? number + 1 : number + count);
    s->end = false;
    enum result r = piece_iter(&w->l->e, s == &w->blocks ? SUBSPACE_BLOCKS : SUBSPACE_POSITIONS, slice_of(lower, 8),
                               slice_of(upper, 8), 0, &s->it);
    if (r != RES_OK)
        return r;
    return w->backward ? iter_seek_last(s->it, slice_of(NULL, 0)) : iter_seek(s->it, slice_of(NULL, 0));
}

/* Goes on to the record of this number; RES_NOT_FOUND: there is none. */
static enum result stream_to(struct list_cursor *w, struct list_stream *s, uint64_t number, uint64_t count)
{
    enum result r = s->it ? RES_OK : open_stream(w, s, number, count);
    while (r == RES_OK && !s->end) {
        struct slice element = piece_element(s->it);
        if (unlikely(element.len != 8))
            return RES_CORRUPT;
        uint64_t at = get_be64(element.data);
        if (at == number)
            return RES_OK;
        if (w->backward ? at < number : at > number)
            return RES_NOT_FOUND;
        r = w->backward ? iter_prev(s->it) : iter_next(s->it);
    }
    s->end |= r == RES_NOT_FOUND;
    return r == RES_OK ? RES_NOT_FOUND : r;
}

/* The block of w->next. A few are looked up one by one. */
static enum result read_block(struct list_cursor *w)
{
    uint64_t number = w->next / LIST_BLOCK, n = w->left < w->in_segment ? w->left : w->in_segment;
    w->has_block = true;
    w->block_number = number;
    if (!w->blocks.it && n <= CURSOR_GETS)
        return list_block_get(w->l, number, &w->block);
    uint64_t last = w->backward ? w->next - (n - 1) : w->next + (n - 1);
    enum result r =
        stream_to(w, &w->blocks, number, w->backward ? number - last / LIST_BLOCK + 1 : last / LIST_BLOCK - number + 1);
    w->block.set = 0;
    return r == RES_OK ? list_block_decode(w->blocks.it->value, &w->block) : r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result read_long(struct list_cursor *w)
{
    uint64_t n = w->left < w->in_segment ? w->left : w->in_segment;
    if (!w->longs.it && n <= CURSOR_GETS)
        return list_piece_get(w->l, w->next, &w->value);
    enum result r = stream_to(w, &w->longs, w->next, n);
    if (unlikely(r != RES_OK))
        return r == RES_NOT_FOUND ? RES_CORRUPT : r; /* a segment has no holes */
    return list_long_value(w->longs.it->value, &w->value);
}

/* The element at w->next. */
static enum result read_next(struct list_cursor *w)
{
    enum result r = RES_OK;
    if (!w->has_block || w->block_number != w->next / LIST_BLOCK)
        r = read_block(w);
    if (r != RES_OK)
        return r;
    unsigned slot = w->next % LIST_BLOCK;
    if (!(w->block.set >> slot & 1))
        return read_long(w);
    w->value = w->block.slot[slot];
    return RES_OK;
}

enum result list_cursor_next(struct list_cursor *w)
{
    if (!w->left)
        return RES_NOT_FOUND;
    if (unlikely(++w->steps % CURSOR_ASK == 0) && call_too_long(w->l->e.c))
        return RES_WOULD_BLOCK;
    w->index += w->backward ? UINT64_MAX : 1;
    if (w->inline_values) {
        w->left--;
        w->value = w->inline_values[w->index];
        return RES_OK;
    }
    if (!w->in_segment) {
        list_cursor_close(w);
        w->has_block = false;
        const struct list_segment *s = &w->segments[w->backward ? --w->segment : ++w->segment];
        w->in_segment = s->count;
        w->next = w->backward ? s->position + s->count - 1 : s->position;
    }
    enum result r = read_next(w);
    w->position = w->next;
    w->next += w->backward ? UINT64_MAX : 1;
    w->in_segment--;
    w->left--;
    return r;
}

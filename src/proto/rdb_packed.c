/* The four forms in which Redis keeps small collections in one string. Everything is little-endian unless it says so.
 *
 * listpack   bytes u32, entries u16 (65535: unknown), entries, 0xff
 *            entry: head, bytes of a string, size of both (backwards: 7 bits a byte, the last byte first)
 *            head:  0nnnnnnn            a number
 *                   10llllll            a string
 *                   110nnnnn nnnnnnnn   a signed number of 13 bits
 *                   1110llll llllllll   a string
 *                   f0 u32              a string
 *                   f1 f2 f3 f4         a signed number of 2, 3, 4, 8 bytes follows
 * ziplist    bytes u32, place of the last entry u32, entries u16 (65535: unknown), entries, 0xff
 *            entry: size of the entry before (u8, or 0xfe and u32), head, bytes of a string
 *            head:  00llllll, 01llllll llllllll, 80 u32 (big-endian): a string; c0 d0 e0 f0 fe: a signed number of 2, 4, 8,
 *                   3, 1 bytes follows; f1 to fd: a number from 0 to 12
 * intset     bytes of a number u32 (2, 4, 8), numbers u32, signed numbers in ascending order
 * zipmap     entries u8 (254 and more: unknown), then (field, value) ..., 0xff
 *            field: length, bytes; value: length, free u8, bytes, free bytes more that mean nothing
 *            length: u8, or 0xfe and u32 */
#include "proto/rdb_packed.h"

#include "base/bytes.h"
#include "base/num.h"

#define UNKNOWN UINT64_MAX
#define END_MARK 0xff

static enum result as_text(struct arena *arena, int64_t number, struct slice *text)
{
    char *digits = arena_alloc(arena, NUM_I64_MAX);
    if (!digits)
        return RES_NO_MEMORY;
    *text = slice_of(digits, num_format_i64(digits, number));
    return RES_OK;
}

/* A signed number of `len` bytes. */
static int64_t signed_of(const uint8_t *p, size_t len)
{
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++)
        v |= (uint64_t)p[i] << 8 * i;
    unsigned unused = 64 - 8 * (unsigned)len;
    return (int64_t)(v << unused) >> unused;
}

/* ---- opening ---- */

static enum result open_list(struct rdb_packed *p, struct slice blob, size_t head)
{
    if (blob.len < head + 1 || get_le32(blob.data) != blob.len || blob.data[blob.len - 1] != END_MARK)
        return RES_CORRUPT;
    uint16_t count = get_le16(blob.data + head - 2);
    p->count = count == UINT16_MAX ? UNKNOWN : count;
    p->at = head;
    p->tail = p->form == PACKED_ZIPLIST ? get_le32(blob.data + 4) : 0;
    p->last = head; /* of an empty one */
    p->rest = slice_of(blob.data + head, blob.len - head);
    return RES_OK;
}

static enum result open_intset(struct rdb_packed *p, struct slice blob)
{
    if (blob.len < 8)
        return RES_CORRUPT;
    p->previous = get_le32(blob.data);
    p->count = get_le32(blob.data + 4);
    p->rest = slice_of(blob.data + 8, blob.len - 8);
    bool known = p->previous == 2 || p->previous == 4 || p->previous == 8;
    return known && p->rest.len == p->count * p->previous ? RES_OK : RES_CORRUPT;
}

enum result packed_open(struct rdb_packed *p, int form, struct slice blob)
{
    *p = (struct rdb_packed){.form = form};
    if (form == PACKED_LISTPACK)
        return open_list(p, blob, 6);
    if (form == PACKED_ZIPLIST)
        return open_list(p, blob, 10);
    if (form == PACKED_INTSET)
        return open_intset(p, blob);
    if (blob.len < 2)
        return RES_CORRUPT;
    p->count = blob.data[0] < 254 ? (uint64_t)2 * blob.data[0] : UNKNOWN;
    p->rest = slice_of(blob.data + 1, blob.len - 1);
    return RES_OK;
}

/* The end mark, and nothing behind it; as many entries as the head says. */
static enum result at_end(const struct rdb_packed *p)
{
    bool whole = p->rest.len == 1 && (p->count == UNKNOWN || p->count == p->met);
    return whole && (p->form != PACKED_ZIPLIST || p->last == p->tail) ? RES_NOT_FOUND : RES_CORRUPT;
}

/* ---- listpack ---- */

/* The head of an entry: a string of *len bytes, or a number that lies at *number_len bytes; the head's own size. */
struct entry {
    size_t head, string, number; /* bytes; string and number are not both */
    bool is_string;
    int64_t value; /* of a number without bytes */
};

static bool listpack_head(struct slice in, struct entry *e)
{
    static const uint8_t number[] = {2, 3, 4, 8};
    uint8_t a = in.data[0], b = in.len > 1 ? in.data[1] : 0;
    *e = (struct entry){.head = 1};
    if (a < 0x80) {
        e->value = a;
    } else if (a < 0xc0) {
        e->is_string = true;
        e->string = a & 0x3f;
    } else if (a < 0xe0) {
        e->head = 2;
        e->value = (a & 0x1f) << 8 | b;
        if (e->value >= 1 << 12)
            e->value -= 1 << 13;
    } else if (a < 0xf0) {
        e->head = 2;
        e->is_string = true;
        e->string = (size_t)(a & 0x0f) << 8 | b;
    } else if (a == 0xf0 && in.len >= 5) {
        e->head = 5;
        e->is_string = true;
        e->string = get_le32(in.data + 1);
    } else if (a > 0xf0 && a <= 0xf4) {
        e->number = number[a - 0xf1];
    } else {
        return false;
    }
    return in.len >= e->head && in.len - e->head >= e->string + e->number;
}

/* The size of an entry stands behind it. */
static bool size_behind(struct slice *in, size_t size)
{
    size_t n = size <= 127 ? 1 : size < 16383 ? 2 : size < 2097151 ? 3 : size < 268435455 ? 4 : 5;
    if (in->len < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint8_t seven = size >> 7 * (n - 1 - i) & 127;
        if (in->data[i] != (i ? seven | 128 : seven))
            return false;
    }
    in->data += n;
    in->len -= n;
    return true;
}

/* What an entry says; *in moves behind it. */
static enum result entry_text(struct slice *in, const struct entry *e, struct arena *arena, struct slice *text)
{
    const uint8_t *bytes = in->data + e->head;
    in->data += e->head + e->string + e->number;
    in->len -= e->head + e->string + e->number;
    *text = slice_of(bytes, e->string);
    return e->is_string ? RES_OK : as_text(arena, e->number ? signed_of(bytes, e->number) : e->value, text);
}

static enum result listpack_next(struct rdb_packed *p, struct arena *arena, struct slice *text)
{
    struct entry e;
    if (!listpack_head(p->rest, &e))
        return RES_CORRUPT;
    enum result r = entry_text(&p->rest, &e, arena, text);
    return r != RES_OK || size_behind(&p->rest, e.head + e.string + e.number) ? r : RES_CORRUPT;
}

/* ---- ziplist ---- */

static bool ziplist_head(struct slice in, struct entry *e)
{
    if (!in.len)
        return false;
    uint8_t a = in.data[0];
    *e = (struct entry){.head = 1, .is_string = a < 0xc0};
    if (a < 0x40) {
        e->string = a;
    } else if (a < 0x80) {
        e->head = 2;
        e->string = in.len > 1 ? (size_t)(a & 0x3f) << 8 | in.data[1] : 0;
    } else if (a < 0xc0) {
        e->head = 5;
        e->string = in.len >= 5 ? get_be32(in.data + 1) : 0;
    } else if (a > 0xf0 && a <= 0xfd) {
        e->value = a - 0xf1;
    } else {
        e->number = a == 0xc0 ? 2 : a == 0xd0 ? 4 : a == 0xe0 ? 8 : a == 0xf0 ? 3 : a == 0xfe ? 1 : 0;
        if (!e->number)
            return false;
    }
    return in.len >= e->head && in.len - e->head >= e->string + e->number;
}

static enum result ziplist_next(struct rdb_packed *p, struct arena *arena, struct slice *text)
{
    struct slice in = p->rest;
    struct entry e;
    size_t before = in.data[0], head = 1;
    if (before == 0xfe) {
        head = 5;
        before = in.len >= 5 ? get_le32(in.data + 1) : SIZE_MAX;
    }
    if (before != p->previous || in.len < head)
        return RES_CORRUPT;
    in.data += head;
    in.len -= head;
    if (!ziplist_head(in, &e))
        return RES_CORRUPT;
    p->previous = head + e.head + e.string + e.number;
    p->last = p->at;
    p->at += p->previous;
    enum result r = entry_text(&in, &e, arena, text);
    p->rest = in;
    return r;
}

/* ---- intset, zipmap ---- */

static enum result intset_next(struct rdb_packed *p, struct arena *arena, struct slice *text)
{
    if (p->met == p->count)
        return RES_NOT_FOUND;
    int64_t number = signed_of(p->rest.data, p->previous);
    if (p->met && number <= p->last_number)
        return RES_CORRUPT;
    p->last_number = number;
    p->rest.data += p->previous;
    p->rest.len -= p->previous;
    return as_text(arena, number, text);
}

static enum result zipmap_next(struct rdb_packed *p, struct slice *text)
{
    struct slice *in = &p->rest, ignored;
    uint64_t len = in->data[0];
    size_t head = 1, unused = 0;
    if (len == 0xfe) {
        head = 5;
        len = in->len >= 5 ? get_le32(in->data + 1) : UINT64_MAX;
    }
    if (!take_bytes(in, head, &ignored) || (p->value_next && !in->len))
        return RES_CORRUPT;
    if (p->value_next) {
        unused = in->data[0];
        in->data++;
        in->len--;
    }
    p->value_next = !p->value_next;
    return take_bytes(in, len, text) && take_bytes(in, unused, &ignored) ? RES_OK : RES_CORRUPT;
}

enum result packed_next(struct rdb_packed *p, struct arena *arena, struct slice *text)
{
    enum result r;
    if (p->form == PACKED_INTSET) {
        r = intset_next(p, arena, text);
    } else if (!p->rest.len) {
        return RES_CORRUPT;
    } else if (p->rest.data[0] == END_MARK) {
        return at_end(p);
    } else if (p->form == PACKED_LISTPACK) {
        r = listpack_next(p, arena, text);
    } else {
        r = p->form == PACKED_ZIPLIST ? ziplist_next(p, arena, text) : zipmap_next(p, text);
    }
    p->met += r == RES_OK;
    return r;
}

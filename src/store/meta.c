/* Metadata records: see meta.h for the bytes. */
#include "store/meta.h"

#include <assert.h>

#include "base/bytes.h"
#include "store/elements.h"

enum meta_flags {
    META_EXPIRES = 1,
    META_ATTRIBUTES = 2,
    META_PIECES = 4,
    META_LONG_KEY = 8,
    META_HINTS = 16,
    META_FIELDS = 32,
    META_ALL_FLAGS = 63,
};

#define SLOTS 16384

static bool encoding_fits(unsigned type, unsigned encoding)
{
    static const uint16_t allowed[TYPE_COUNT] = {
        [TYPE_STRING] = 1 << ENCODING_RAW | 1 << ENCODING_INT | 1 << ENCODING_EMBSTR,
        [TYPE_LIST] = 1 << ENCODING_LISTPACK | 1 << ENCODING_QUICKLIST,
        [TYPE_SET] = 1 << ENCODING_LISTPACK | 1 << ENCODING_HASHTABLE | 1 << ENCODING_INTSET,
        [TYPE_ZSET] = 1 << ENCODING_LISTPACK | 1 << ENCODING_SKIPLIST,
        [TYPE_HASH] = 1 << ENCODING_LISTPACK | 1 << ENCODING_HASHTABLE,
        [TYPE_STREAM] = 1 << ENCODING_STREAM,
    };
    return type < TYPE_COUNT && encoding < ENCODING_COUNT && allowed[type] >> encoding & 1;
}

/* A varint in its shortest form only: a record has one spelling. */
static bool take_short_varint(struct slice *in, uint64_t *out)
{
    size_t before = in->len;
    return take_varint(in, out) && before - in->len == varint_size(*out);
}

static bool take_time(struct slice *in, uint64_t *out)
{
    struct slice bytes;
    if (!take_bytes(in, 8, &bytes))
        return false;
    *out = get_le64(bytes.data);
    return *out > 0;
}

static bool take_expiry(struct slice *in, unsigned flags, struct meta *out)
{
    uint64_t early;
    if ((flags & META_EXPIRES && !take_time(in, &out->expire_ms)) ||
        (flags & META_FIELDS && (out->type != TYPE_HASH || !take_time(in, &out->fields_ms))) ||
        !take_short_varint(in, &early) || early >= meta_due(out))
        return false;
    out->index_ms = meta_due(out) - early;
    return true;
}

static bool take_counted(struct slice *in, struct slice *out)
{
    uint64_t len;
    return take_short_varint(in, &len) && len <= in->len && take_bytes(in, (size_t)len, out);
}

static bool attributes_hold(struct slice a)
{
    while (a.len) {
        struct slice skipped;
        a.data++;
        a.len--;
        if (!take_counted(&a, &skipped))
            return false;
    }
    return true;
}

/* Whether so many elements are possible: only a stream may have none. */
static bool take_count(struct slice *in, struct meta *out)
{
    return take_short_varint(in, &out->count) && (out->count || out->type == TYPE_STREAM);
}

static bool take_pieces(struct slice *in, struct meta *out)
{
    struct slice bytes;
    if (!take_bytes(in, 10, &bytes) || (out->type != TYPE_STRING && !take_count(in, out)) ||
        !take_short_varint(in, &out->length) || in->len)
        return false;
    out->id = get_le64(bytes.data);
    out->home = get_le16(bytes.data + 8);
    out->pieces = true;
    return out->id && out->home < SLOTS &&
           (out->type != TYPE_STRING || (out->length && out->length <= STORE_STRING_MAX));
}

/* Elements are checked when they are opened; here what their count can be. */
static bool take_inline(struct slice *in, struct meta *out)
{
    if (out->type == TYPE_STRING)
        return in->len <= (out->encoding == ENCODING_INT ? 20 : STORE_INLINE_STRING);
    return take_count(in, out) && out->count <= ELEMENTS_INLINE_COUNT && in->len <= ELEMENTS_INLINE_BYTES &&
           in->len / 2 >= out->count;
}

enum result meta_decode(struct slice in, struct meta *out)
{
    if (unlikely(in.len < META_PLAIN_OVERHEAD || in.data[0] != META_FORMAT))
        return RES_CORRUPT;
    unsigned type = in.data[1] >> 4, encoding = in.data[1] & 15, flags = in.data[2];
    if (unlikely(!encoding_fits(type, encoding) || flags & ~(unsigned)META_ALL_FLAGS))
        return RES_CORRUPT;
    *out = (struct meta){.type = (enum object_type)type, .encoding = (enum object_encoding)encoding};
    in.data += META_PLAIN_OVERHEAD;
    in.len -= META_PLAIN_OVERHEAD;
    if (flags & (META_EXPIRES | META_FIELDS) && !take_expiry(&in, flags, out))
        return RES_CORRUPT;
    if (flags & META_LONG_KEY && (!take_counted(&in, &out->long_key) || out->long_key.len <= STORE_KEY_INLINE))
        return RES_CORRUPT;
    if (flags & META_ATTRIBUTES &&
        (!take_counted(&in, &out->attributes) || !out->attributes.len || !attributes_hold(out->attributes)))
        return RES_CORRUPT;
    if (flags & META_HINTS && (type == TYPE_STRING || !take_counted(&in, &out->hints) || !out->hints.len ||
                               out->hints.len > ELEMENTS_HINTS_MAX))
        return RES_CORRUPT;
    if (flags & META_PIECES)
        return take_pieces(&in, out) ? RES_OK : RES_CORRUPT;
    if (!take_inline(&in, out))
        return RES_CORRUPT;
    out->value = in;
    out->length = in.len;
    return RES_OK;
}

size_t meta_head_size(const struct meta *m)
{
    size_t n = META_PLAIN_OVERHEAD;
    if (m->index_ms)
        n += (m->expire_ms ? 8 : 0) + (m->fields_ms ? 8 : 0) + varint_size(meta_due(m) - m->index_ms);
    if (m->long_key.len)
        n += varint_size(m->long_key.len) + m->long_key.len;
    if (m->attributes.len)
        n += varint_size(m->attributes.len) + m->attributes.len;
    if (m->hints.len)
        n += varint_size(m->hints.len) + m->hints.len;
    if (m->type != TYPE_STRING)
        n += varint_size(m->count);
    if (m->pieces)
        n += 10 + varint_size(m->length);
    return n;
}

static uint8_t *put_counted(uint8_t *p, struct slice s)
{
    p += put_varint(p, s.len);
    memcpy(p, s.data, s.len);
    return p + s.len;
}

uint8_t *meta_encode_head(uint8_t *p, const struct meta *m)
{
    assert(!meta_due(m) == !m->index_ms && m->index_ms <= meta_due(m));
    p[0] = META_FORMAT;
    p[1] = (uint8_t)(m->type << 4 | m->encoding);
    p[2] = (uint8_t)((m->expire_ms ? META_EXPIRES : 0) | (m->attributes.len ? META_ATTRIBUTES : 0) |
                     (m->pieces ? META_PIECES : 0) | (m->long_key.len ? META_LONG_KEY : 0) |
                     (m->hints.len ? META_HINTS : 0) | (m->fields_ms ? META_FIELDS : 0));
    p += META_PLAIN_OVERHEAD;
    if (m->expire_ms) {
        put_le64(p, m->expire_ms);
        p += 8;
    }
    if (m->fields_ms) {
        put_le64(p, m->fields_ms);
        p += 8;
    }
    if (m->index_ms)
        p += put_varint(p, meta_due(m) - m->index_ms);
    if (m->long_key.len)
        p = put_counted(p, m->long_key);
    if (m->attributes.len)
        p = put_counted(p, m->attributes);
    if (m->hints.len)
        p = put_counted(p, m->hints);
    if (m->pieces) {
        put_le64(p, m->id);
        put_le16(p + 8, m->home);
        p += 10;
    }
    if (m->type != TYPE_STRING)
        p += put_varint(p, m->count);
    if (m->pieces)
        p += put_varint(p, m->length);
    return p;
}

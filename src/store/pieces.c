/* Strings, whatever their shape. Up to STORE_INLINE_STRING bytes a value lies in its metadata record; larger ones, and
 * those over STORE_INLINE_TOUCHED that are changed in place, lie in chunks of STORE_CHUNK bytes under an object id:
 *
 *   E key: ... subspace 0, chunk number u32 big-endian  ->  kind u8 (1: bytes), bytes (1 .. STORE_CHUNK)
 *
 * An absent chunk, and what a chunk does not have up to its end, reads as zeros; nothing lies behind the length that the
 * metadata has. So a change in place costs the chunks it touches and, when the string grows, the metadata. */
#include <assert.h>

#include "base/num.h"
#include "store/store_priv.h"

static enum result chunk_key(struct call *c, const struct object *o, uint32_t number, struct engine_key *out)
{
    uint8_t *p = arena_alloc(c->arena, CHUNK_KEY);
    if (unlikely(!p))
        return RES_NO_MEMORY;
    chunk_key_put(p, o->key->keyspace, o->home, o->id, number);
    out->bytes = slice_of(p, CHUNK_KEY);
    out->hash = engine_hash(out->bytes);
    return RES_OK;
}

enum result chunk_bytes(struct slice piece, struct slice *out)
{
    if (piece.len < 2 || piece.len > 1 + STORE_CHUNK || piece.data[0] != PIECE_BYTES)
        return RES_CORRUPT;
    *out = slice_of(piece.data + 1, piece.len - 1);
    return RES_OK;
}

/* The bytes a chunk has; empty when it is absent. */
static enum result chunk_get(struct call *c, const struct object *o, uint32_t number, struct slice *out)
{
    struct engine_key key;
    struct slice piece;
    *out = slice_of(NULL, 0);
    enum result r = chunk_key(c, o, number, &key);
    if (r == RES_OK)
        r = call_get(c, &key, &piece);
    if (r == RES_NOT_FOUND)
        return RES_OK;
    return r == RES_OK ? chunk_bytes(piece, out) : r;
}

/* Writes a chunk that keeps `old` where `bytes`, laid over it at `at`, does not cover it. */
static enum result chunk_put(struct call *c, const struct object *o, uint32_t number, struct slice old, size_t at,
                             struct slice bytes)
{
    size_t end = at + bytes.len > old.len ? at + bytes.len : old.len;
    assert(bytes.len && end <= STORE_CHUNK);
    struct engine_key key;
    enum result r = chunk_key(c, o, number, &key);
    if (r != RES_OK)
        return r;
    uint8_t *p = arena_alloc(c->arena, 1 + end);
    if (!p)
        return RES_NO_MEMORY;
    p[0] = PIECE_BYTES;
    if (old.len)
        memcpy(p + 1, old.data, old.len);
    if (at > old.len)
        memset(p + 1 + old.len, 0, at - old.len);
    memcpy(p + 1 + at, bytes.data, bytes.len);
    return call_put_keep(c, &key, slice_of(p, 1 + end));
}

enum result pieces_write_all(struct call *c, const struct object *o, struct slice value)
{
    for (size_t at = 0; at < value.len; at += STORE_CHUNK) {
        size_t n = value.len - at < STORE_CHUNK ? value.len - at : STORE_CHUNK;
        enum result r =
            chunk_put(c, o, (uint32_t)(at / STORE_CHUNK), slice_of(NULL, 0), 0, slice_of(value.data + at, n));
        if (r != RES_OK)
            return r;
    }
    return RES_OK;
}

enum result pieces_copy(struct call *c, const struct object *src, const struct object *dst)
{
    struct engine_key from, to;
    enum result r = element_key(c, src, 0, slice_of(NULL, 0), &from);
    if (r == RES_OK)
        r = element_key(c, dst, 0, slice_of(NULL, 0), &to);
    if (r != RES_OK)
        return r;
    /* the object's range: its prefix without the subspace, up to the next id's */
    uint8_t upper[ELEMENT_KEY_OBJECT];
    memcpy(upper, from.bytes.data, sizeof upper);
    put_be64(upper + ELEMENT_KEY_OBJECT - 8, src->id + 1);
    struct slice lower = slice_of(from.bytes.data, ELEMENT_KEY_OBJECT);
    struct iter *it;
    r = call_iter(c, lower, slice_of(upper, sizeof upper), 0, &it);
    if (r != RES_OK)
        return r;
    uint64_t n = 0;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        uint8_t bytes[ENGINE_KEY_MAX];
        memcpy(bytes, it->key.data, it->key.len);
        memcpy(bytes, to.bytes.data, ELEMENT_KEY_OBJECT);
        struct engine_key key = {.bytes = slice_of(bytes, it->key.len)};
        key.hash = engine_hash(key.bytes);
        if ((r = call_put(c, &key, it->value)) != RES_OK)
            break;
        if (++n % 64 == 0 && call_too_long(c)) {
            r = RES_WOULD_BLOCK;
            break;
        }
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

/* ---- reading ---- */

/* Fills out with bytes [offset, offset + len) of a string in pieces. */
static enum result gather(struct call *c, const struct object *o, uint64_t offset, size_t len, uint8_t *out)
{
    unsigned n = 0;
    while (len) {
        size_t at = offset % STORE_CHUNK, want = STORE_CHUNK - at < len ? STORE_CHUNK - at : len;
        struct slice chunk;
        enum result r = chunk_get(c, o, (uint32_t)(offset / STORE_CHUNK), &chunk);
        if (r != RES_OK)
            return r;
        size_t have = chunk.len > at ? chunk.len - at : 0;
        if (have > want)
            have = want;
        if (have)
            memcpy(out, chunk.data + at, have);
        memset(out + have, 0, want - have);
        out += want;
        offset += want;
        len -= want;
        if (++n % 64 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return RES_OK;
}

enum result store_string_range(struct call *c, const struct object *o, uint64_t offset, size_t len, struct slice *out)
{
    *out = slice_of(NULL, 0);
    if (offset >= o->length)
        return RES_OK;
    if (len > o->length - offset)
        len = (size_t)(o->length - offset);
    if (!o->pieces) {
        *out = slice_of(o->value.data + offset, len);
        return RES_OK;
    }
    if (offset % STORE_CHUNK + len <= STORE_CHUNK) { /* one chunk that has it all: no copy */
        struct slice chunk;
        enum result r = chunk_get(c, o, (uint32_t)(offset / STORE_CHUNK), &chunk);
        if (r != RES_OK)
            return r;
        if (offset % STORE_CHUNK + len <= chunk.len) {
            *out = slice_of(chunk.data + offset % STORE_CHUNK, len);
            return RES_OK;
        }
    }
    uint8_t *p = arena_alloc(c->arena, len);
    if (!p)
        return RES_NO_MEMORY;
    *out = slice_of(p, len);
    return gather(c, o, offset, len, p);
}

enum result store_string_all(struct call *c, const struct object *o, struct slice *out)
{
    return store_string_range(c, o, 0, (size_t)o->length, out);
}

enum result store_string_reply_range(struct call *c, const struct object *o, uint64_t offset, uint64_t len)
{
    if (offset > o->length)
        offset = o->length;
    if (len > o->length - offset)
        len = o->length - offset;
    if (likely(!o->pieces)) {
        reply_bulk(c->reply, slice_of(o->value.data + offset, (size_t)len));
        return RES_OK;
    }
    if (len > STORE_STREAM && !c->overlay) /* a run that writes may see pieces of its own */
        return string_stream_reply(c, o, offset, len);
    uint8_t *room = c->reply->ops->bulk_room(c->reply, (size_t)len);
    return room ? gather(c, o, offset, (size_t)len, room) : RES_OK; /* a sink without memory remembers that itself */
}

/* ---- writing ---- */

static enum object_encoding encoding_of(struct slice value, int flags)
{
    int64_t ignored;
    if (flags & PUT_RAW || value.len > 44)
        return ENCODING_RAW;
    if (value.len <= NUM_I64_MAX && !(flags & PUT_NOT_INT) && num_parse_i64(value, &ignored) == RES_OK)
        return ENCODING_INT;
    return ENCODING_EMBSTR;
}

/* Gives m fresh pieces, still unwritten. */
static enum result start_pieces(struct call *c, const struct object *o, struct meta *m, struct object *fresh)
{
    m->pieces = true;
    m->home = o->key->slot;
    m->value = slice_of(NULL, 0);
    enum result r = store_new_object_id(store_of(c), &m->id);
    *fresh = (struct object){.key = o->key, .id = m->id, .home = m->home, .pieces = true};
    return r;
}

enum result store_set_string(struct call *c, struct object *o, struct slice value, uint64_t expire_ms, int flags)
{
    struct meta m = {
        .type = TYPE_STRING,
        .encoding = encoding_of(value, flags),
        .expire_ms = flags & PUT_KEEP_TTL ? o->expire_ms : expire_ms,
        .length = value.len,
        .value = value,
    };
    if (flags & PUT_KEEP_ATTRIBUTES)
        m.attributes = o->attributes;
    if (unlikely(value.len > STORE_INLINE_STRING)) {
        if (value.len > STORE_STRING_MAX)
            return RES_RANGE;
        struct object fresh;
        enum result r = start_pieces(c, o, &m, &fresh);
        if (r == RES_OK)
            r = pieces_write_all(c, &fresh, value);
        if (r != RES_OK)
            return r;
    }
    return object_replace(c, o, &m, 0);
}

/* The change of a string that stays inline: the new value is laid out in the arena. */
static enum result write_inline(struct call *c, struct object *o, struct meta *m, uint64_t offset, struct slice bytes)
{
    uint8_t *p = arena_alloc(c->arena, (size_t)m->length);
    if (!p)
        return RES_NO_MEMORY;
    if (o->value.len)
        memcpy(p, o->value.data, o->value.len);
    if (offset > o->value.len)
        memset(p + o->value.len, 0, (size_t)offset - o->value.len);
    if (bytes.len)
        memcpy(p + offset, bytes.data, bytes.len);
    m->value = slice_of(p, (size_t)m->length);
    return object_replace(c, o, m, 0);
}

static enum result write_chunks(struct call *c, const struct object *o, uint64_t old_length, uint64_t offset,
                                struct slice bytes)
{
    unsigned n = 0;
    while (bytes.len) {
        uint32_t number = (uint32_t)(offset / STORE_CHUNK);
        size_t at = offset % STORE_CHUNK, put = STORE_CHUNK - at < bytes.len ? STORE_CHUNK - at : bytes.len;
        struct slice old = slice_of(NULL, 0);
        enum result r = RES_OK;
        if (put < STORE_CHUNK && (uint64_t)number * STORE_CHUNK < old_length)
            r = chunk_get(c, o, number, &old);
        if (r == RES_OK)
            r = chunk_put(c, o, number, old, at, slice_of(bytes.data, put));
        if (r != RES_OK)
            return r;
        offset += put;
        bytes.data += put;
        bytes.len -= put;
        if (++n % 64 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return RES_OK;
}

enum result store_string_write(struct call *c, struct object *o, uint64_t offset, struct slice bytes)
{
    assert(!o->exists || o->type == TYPE_STRING);
    if (!bytes.len && (!o->exists || o->pieces))
        return RES_OK;
    if (!bytes.len) /* nothing but the encoding changes */
        offset = o->length;
    if (offset > STORE_STRING_MAX || offset + bytes.len > STORE_STRING_MAX)
        return RES_RANGE;
    struct meta m;
    meta_from_object(&m, o);
    m.type = TYPE_STRING;
    m.encoding = ENCODING_RAW;
    uint64_t old_length = o->length;
    if (offset + bytes.len > old_length)
        m.length = offset + bytes.len;
    if (!o->pieces && m.length <= STORE_INLINE_TOUCHED)
        return write_inline(c, o, &m, offset, bytes);
    struct object pieces = *o;
    enum result r = RES_OK;
    if (!o->pieces) {
        r = start_pieces(c, o, &m, &pieces);
        if (r == RES_OK)
            r = pieces_write_all(c, &pieces, o->value);
    }
    if (r == RES_OK)
        r = write_chunks(c, &pieces, old_length, offset, bytes);
    if (r != RES_OK)
        return r;
    if (!o->pieces || m.length != old_length)
        return object_replace(c, o, &m, OBJECT_KEEP_PIECES);
    return call_signal(c, o->key->db, o->key->user, o->key->hash, SIGNAL_WRITE);
}

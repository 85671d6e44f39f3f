/* See attributes.h. The version is a chain over the chunks of the value, so that it comes out the same whether the value lies
 * in its record or in pieces. It is no secret and no proof: who can write can also make two values with one version. */
#include "store/attributes.h"

#include <assert.h>

#include "base/bytes.h"
#include "base/hash.h"

struct slice attribute_get(struct slice attributes, enum attribute_type type)
{
    uint64_t len;
    while (attributes.len > 0) {
        uint8_t found = attributes.data[0];
        struct slice value;
        attributes.data++, attributes.len--;
        if (!take_varint(&attributes, &len) || !take_bytes(&attributes, (size_t)len, &value))
            break; /* not in this world: the record has been checked */
        if (found == type)
            return value;
    }
    return slice_of(NULL, 0);
}

struct slice attribute_only(enum attribute_type type, struct slice value, uint8_t *room)
{
    assert(value.len <= ATTRIBUTE_MAX);
    if (value.len == 0)
        return slice_of(NULL, 0);
    room[0] = (uint8_t)type;
    size_t n = 1 + put_varint(room + 1, value.len);
    memcpy(room + n, value.data, value.len);
    return slice_of(room, n + value.len);
}

static uint64_t begin(uint64_t length) { return hash_mix(length + 1); }
static uint64_t add(uint64_t h, struct slice part) { return hash_mix(h ^ hash_content(part.data, part.len)); }
static uint64_t end(uint64_t h, struct slice attributes)
{
    if (attributes.len)
        h = add(h, attributes);
    return h ? h : 1;
}

uint64_t string_version(struct slice value, struct slice attributes)
{
    uint64_t h = begin(value.len);
    for (size_t at = 0; at < value.len; at += STORE_CHUNK) {
        size_t left = value.len - at;
        h = add(h, slice_of(value.data + at, left < STORE_CHUNK ? left : STORE_CHUNK));
    }
    return end(h, attributes);
}

enum result store_string_version(struct call *c, const struct object *o, uint64_t *out)
{
    if (!o->pieces) {
        *out = string_version(o->value, o->attributes);
        return RES_OK;
    }
    uint64_t h = begin(o->length);
    unsigned chunks = 0;
    for (uint64_t at = 0; at < o->length; at += STORE_CHUNK) {
        struct slice part;
        enum result r = store_string_range(c, o, at, STORE_CHUNK, &part);
        if (r != RES_OK)
            return r;
        h = add(h, part);
        if (++chunks % 64 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    *out = end(h, o->attributes);
    return RES_OK;
}

/* The codec of metadata records: the one record each key has. Bytes (little-endian, varints LEB128):
 *
 *   0     format, 1
 *   1     type << 4 | encoding         enum object_type, enum object_encoding
 *   2     flags: 1 expires, 2 attributes, 4 pieces, 8 long key, 16 hints (collections), 32 fields expire (hashes); others are 0
 *   expires:     expiry u64 (ms since 1970, > 0)
 *   fields:      u64, a time (> 0) before which no field of the hash expires
 *   either:      varint: the earlier of the two - time of the key's entry in the expiry index
 *   long key:    varint length (> STORE_KEY_INLINE), the key
 *   attributes:  varint length (> 0), then (type u8, varint length, bytes) ...
 *   hints:       varint length (> 0), what the type of the collection keeps
 *   pieces:      object id u64, home slot u16, [collections: varint count], varint length in bytes; the record ends
 *   else:        [collections: varint count], the value is what remains: the bytes of a string, elements (elements.h)
 *
 * A collection has elements, but a stream, which may have none.
 *
 * Decoding is strict: every record that decodes encodes to the same bytes again. */
#ifndef VARVE_STORE_META_H
#define VARVE_STORE_META_H

#include "store/store.h"

#define META_FORMAT 1
#define META_PLAIN_OVERHEAD 3 /* bytes before the value of a string without expiry */

struct meta {
    enum object_type type;
    enum object_encoding encoding;
    bool pieces;
    uint16_t home;
    uint64_t expire_ms; /* 0: never */
    uint64_t fields_ms; /* before which no field expires; 0: none does */
    uint64_t index_ms;  /* <= meta_due(); 0 exactly when that is */
    uint64_t id, length;
    uint64_t count;          /* of a collection's elements */
    struct slice hints;      /* of a collection; empty: none */
    struct slice long_key;   /* empty: the key is in the engine key */
    struct slice attributes; /* empty: none */
    struct slice value;      /* inline */
};

/* When something of the key is to be looked at: it, or a field of it, may have expired. 0: never. */
static inline uint64_t earlier_ms(uint64_t a, uint64_t b) { return !a || (b && b < a) ? b : a; }
static inline uint64_t meta_due(const struct meta *m) { return earlier_ms(m->expire_ms, m->fields_ms); }
/* Slices of *out point into the record. RES_CORRUPT when it is none. */
enum result meta_decode(struct slice record, struct meta *out) MUST_CHECK;
/* Bytes of everything but the inline value. */
size_t meta_head_size(const struct meta *m);
/* Writes them; returns the end, where the inline value goes. */
uint8_t *meta_encode_head(uint8_t *out, const struct meta *m);

#endif

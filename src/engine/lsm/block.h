/* Blocks: the unit that is read, checked, cached and searched.
 *
 * In the file a block fills a span, a multiple of 16 bytes:
 *
 *     image (as it is, LZ4 or a Zstandard frame)  ·  zeros up to 12 bytes before the end of the span  ·
 *     image length u32  ·  stored length u32, bit 31 set when it is packed, bit 30 as well when by Zstandard  ·
 *     checksum32 of all before it
 *
 * The checksum is salted with table number and offset, so that a block at the wrong place is damage. The image:
 *
 *     0  count u16 (1..65535)
 *     2  prefix length u16
 *     4  image length u32
 *     8  one tag a record: bits 16..23 of the key's hash
 *        zeros up to a multiple of 4
 *        count offsets of the records: u16, or u32 when the image is longer than 65535
 *        prefix: what all keys of the block begin with
 *        count records: varint(length of the key's rest << 1 | is tombstone)  ·  rest of the key  ·  value up to the
 *        start of the next record, or the end
 *
 * What a search looks at stands together in front: in memory it follows the block's own header line.
 * A point read compares tags first (one or two cache lines), so that it touches about one record in 256 in vain; an
 * ordered search is binary over the offsets, no record depends on the one before it. A value longer than a block
 * stands in a block alone, of whatever size it takes. */
#ifndef VARVE_ENGINE_LSM_BLOCK_H
#define VARVE_ENGINE_LSM_BLOCK_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/epoch.h"
#include "engine/lsm/pack.h"

#define BLOCK_HEADER 8
#define BLOCK_TRAILER 12
#define BLOCK_UNIT 16
#define BLOCK_SPAN_MAX ((uint64_t)UINT32_MAX & ~(uint64_t)(BLOCK_UNIT - 1))

static inline uint8_t block_tag(uint64_t hash) { return (uint8_t)(hash >> 16); }

/* ---- a block in memory ---- */

struct table;

/* The first cache line is all a search needs besides tags and offsets, which follow it, and one record. */
struct block {
    uint32_t refs; /* atomic; see block_ref */
    uint16_t count;
    uint16_t prefix_len;
    uint32_t image_len;
    uint32_t offsets_at;
    uint32_t prefix_at;
    uint32_t index;      /* its number in the table */
    struct table *table; /* which it came from; compared, never followed */
    struct epoch_entry retire;
    uint8_t image[]; /* cache line 1 on */
};
_Static_assert(sizeof(struct block) == 64, "the image of a block starts on a cache line");

/* ---- memory: block_memory.c ---- */
/* What a block of this image length takes. */
size_t block_memory(uint32_t image_len);
struct block *block_memory_take(uint32_t image_len); /* uninitialised; NULL: none */
/* It can be taken without asking the system for more, which takes 0.1 ms, or several where a host lends the memory: who
 * must not wait looks first. */
bool block_memory_at_hand(uint32_t image_len);
void block_memory_give(struct block *b, uint32_t image_len);
/* Called now and then, with a monotonic time in ns: what was not needed for some seconds goes back to the system. */
void block_memory_trim(uint64_t now);
/* The capacity of all caches has changed by so many bytes. True: blocks lie differently from now on, and those that are
 * there had better go. */
bool block_memory_capacity(int64_t change);
/* So much of it is taken by other things than blocks. */
void block_memory_beside(int64_t change);
/* Bytes mapped to memory for blocks, beside the heap. */
uint64_t block_memory_resident(void);

/* Takes another reference; false when the last one is gone already (the block was evicted a moment ago). Inside an
 * epoch section, or by who holds a reference. */
bool block_ref(struct block *b);
/* From now on others may look at the block without a reference. By its only owner. */
static inline void block_share(struct block *b) { b->retire.opaque[0] = b; }
/* The memory goes when all epoch sections that may see the block have ended; at once when it was never shared. NULL is
 * allowed. */
void block_unref(struct block *b);

/* A block with one reference of an image that is known to be good. */
enum result block_of_image(const uint8_t *image, uint32_t len, struct block **out) MUST_CHECK;
/* Checks a span and makes a block with one reference out of it. RES_CORRUPT, RES_NO_MEMORY. */
enum result block_decode(const uint8_t *span, size_t len, uint64_t salt, struct block **out) MUST_CHECK;

static inline bool block_is_wide(uint32_t image_len) { return image_len > UINT16_MAX; }

static inline uint32_t block_offset(const struct block *b, uint32_t i)
{
    const uint8_t *p = b->image + b->offsets_at;
    return block_is_wide(b->image_len) ? get_le32(p + 4 * (size_t)i) : get_le16(p + 2 * (size_t)i);
}

struct block_record {
    struct slice rest; /* of the key, behind the block's prefix */
    struct slice value;
    uint8_t kind;
};

/* Record i; block_decode has proved that all of it lies inside. */
static inline void block_record_at(const struct block *b, uint32_t i, struct block_record *out)
{
    const uint8_t *p = b->image + block_offset(b, i);
    const uint8_t *end = b->image + (i + 1 < b->count ? block_offset(b, i + 1) : b->image_len);
    uint32_t head = *p++;
    if (head & 0x80)
        head = (head & 0x7f) | (uint32_t)*p++ << 7;
    out->kind = head & 1 ? RECORD_DELETE : RECORD_PUT;
    out->rest = slice_of(p, head >> 1);
    p += head >> 1;
    out->value = slice_of(p, (size_t)(end - p));
}

/* Two steps of a look-up to come, for many keys at a time: the tags need the block's first line, the record needs them. */
void block_prefetch_tags(const struct block *b);
void block_prefetch_record(const struct block *b, const struct engine_key *key);
/* The record of this key, or -1. */
int64_t block_find(const struct block *b, const struct engine_key *key, struct block_record *out);
/* The first record with key >= target: 0..count. */
uint32_t block_lower_bound(const struct block *b, struct slice target);

/* ---- building ---- */

struct block_pending {
    size_t key_at; /* in bytes; the value follows the key */
    uint32_t key_len, value_len;
    uint8_t kind, tag;
};
struct block_builder {
    struct buf bytes; /* keys and values of the records, one after the other */
    struct block_pending *records;
    size_t count, cap;
    size_t prefix_len; /* shared by all keys so far */
    size_t key_bytes, value_bytes;
    struct buf image; /* of the last block that was finished; empty when that was a giant */
    struct packer packer;
};

void block_builder_init(struct block_builder *b, struct engine_compression how);
void block_builder_fini(struct block_builder *b);
/* Length of the image when this record is added too; not below the true one by more than the alignment of offsets. */
size_t block_builder_size_with(const struct block_builder *b, struct slice key, size_t value_len);
size_t block_builder_size(const struct block_builder *b);
enum result block_builder_add(struct block_builder *b, struct slice key, uint8_t kind, struct slice value,
                              uint64_t hash) MUST_CHECK;
/* Appends the span, at least min_span bytes long, to out, and empties the builder. RES_RANGE when a block is too large. */
enum result block_builder_finish(struct block_builder *b, size_t min_span, uint64_t salt, struct buf *out) MUST_CHECK;

#endif

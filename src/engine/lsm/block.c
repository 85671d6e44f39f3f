#include "engine/lsm/block.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"

#define PACKED 0x80000000u
#define BY_ZSTD 0x40000000u

/* ---- references ---- */

bool block_ref(struct block *b)
{
    uint32_t n = __atomic_load_n(&b->refs, __ATOMIC_RELAXED);
    do {
        if (n == 0)
            return false;
    } while (!__atomic_compare_exchange_n(&b->refs, &n, n + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    return true;
}

static void block_free(struct epoch_entry *e)
{
    struct block *b = (struct block *)(void *)((uint8_t *)e - offsetof(struct block, retire));
    block_memory_give(b, b->image_len);
}

void block_unref(struct block *b)
{
    if (!b || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    if (b->retire.opaque[0])
        epoch_retire(&b->retire, block_free);
    else
        block_memory_give(b, b->image_len); /* what a compaction reads need not wait, and comes quickly */
}

/* ---- decoding ---- */

static void read_head(struct block *b, uint32_t len)
{
    b->image_len = len;
    b->count = get_le16(b->image);
    b->prefix_len = get_le16(b->image + 2);
    b->offsets_at = (BLOCK_HEADER + b->count + 3u) & ~3u;
    b->prefix_at = b->offsets_at + b->count * (block_is_wide(len) ? 4u : 2u);
}

enum result block_of_image(const uint8_t *image, uint32_t len, struct block **out)
{
    struct block *b = *out = block_memory_take(len);
    if (!b)
        return RES_NO_MEMORY;
    *b = (struct block){.refs = 1};
    memcpy(b->image, image, len);
    read_head(b, len);
    return RES_OK;
}

/* Reads the image's head into b, and proves that what block_record_at() will read lies inside. */
static bool image_holds(struct block *b, uint32_t len)
{
    if (len < BLOCK_HEADER || get_le32(b->image + 4) != len)
        return false;
    read_head(b, len);
    uint32_t at = b->prefix_at + b->prefix_len;
    if (b->count == 0 || b->prefix_len > ENGINE_KEY_MAX || at > len)
        return false;
    for (uint32_t i = 0; i < b->count; i++) {
        uint32_t start = block_offset(b, i), end = i + 1u < b->count ? block_offset(b, i + 1) : len;
        if (start != at || end <= start || end > len)
            return false;
        uint32_t head = b->image[start], used = 1;
        if (head & 0x80) {
            if (end - start < 2)
                return false;
            head = (head & 0x7f) | (uint32_t)b->image[start + 1] << 7;
            used = 2;
        }
        uint32_t rest = head >> 1;
        if (rest > end - start - used || b->prefix_len + rest > ENGINE_KEY_MAX || b->prefix_len + rest == 0)
            return false;
        at = end;
    }
    return true;
}

enum result block_decode(const uint8_t *span, size_t len, uint64_t salt, struct block **out)
{
    *out = NULL;
    if (len < BLOCK_HEADER + BLOCK_TRAILER)
        return RES_CORRUPT;
    const uint8_t *trailer = span + len - BLOCK_TRAILER;
    uint32_t image_len = get_le32(trailer), stored = get_le32(trailer + 4);
    enum engine_packing how = ENGINE_PACK_NONE;
    if (stored & PACKED) {
        how = stored & BY_ZSTD ? ENGINE_PACK_ZSTD : ENGINE_PACK_LZ4;
        stored &= ~(PACKED | BY_ZSTD);
    }
    if (!checksum32_holds(get_le32(trailer + 8), span, len - 4, salt))
        return RES_CORRUPT;
    if (stored > len - BLOCK_TRAILER || (how == ENGINE_PACK_NONE && stored != image_len) ||
        image_len / PACK_RATIO_MAX > stored)
        return RES_CORRUPT;
    struct block *b = block_memory_take(image_len);
    if (!b)
        return RES_NO_MEMORY;
    *b = (struct block){.refs = 1};
    enum result r = RES_OK;
    if (how == ENGINE_PACK_NONE)
        memcpy(b->image, span, image_len);
    else
        r = unpack(how, span, stored, b->image, image_len);
    if (r == RES_OK && !image_holds(b, image_len))
        r = RES_CORRUPT;
    if (r == RES_OK)
        *out = b;
    else
        block_memory_give(b, image_len);
    return r;
}

/* ---- searching ---- */

void block_prefetch_tags(const struct block *b)
{
    for (uint32_t at = 0; at < 256; at += 64) /* tags, and some of the offsets behind them */
        __builtin_prefetch(b->image + at);
}

void block_prefetch_record(const struct block *b, const struct engine_key *key)
{
    const uint8_t *tags = b->image + BLOCK_HEADER, *t = memchr(tags, block_tag(key->hash), b->count);
    if (t) {
        const uint8_t *record = b->image + block_offset(b, (uint32_t)(t - tags));
        __builtin_prefetch(record);
        __builtin_prefetch(record + 64);
        __builtin_prefetch(record + 128);
    }
}

int64_t block_find(const struct block *b, const struct engine_key *key, struct block_record *out)
{
    const uint8_t *tags = b->image + BLOCK_HEADER, *end = tags + b->count, *t = tags;
    struct slice k = key->bytes;

    __builtin_prefetch(b->image + b->offsets_at);
    if (k.len < b->prefix_len)
        return -1;
    while ((t = memchr(t, block_tag(key->hash), (size_t)(end - t))) != NULL) {
        uint32_t i = (uint32_t)(t - tags);
        block_record_at(b, i, out);
        if (out->rest.len == k.len - b->prefix_len &&
            memcmp(out->rest.data, k.data + b->prefix_len, out->rest.len) == 0 &&
            memcmp(b->image + b->prefix_at, k.data, b->prefix_len) == 0)
            return i;
        if (++t == end)
            break;
    }
    return -1;
}

uint32_t block_lower_bound(const struct block *b, struct slice target)
{
    size_t n = target.len < b->prefix_len ? target.len : b->prefix_len;
    int c = n ? memcmp(b->image + b->prefix_at, target.data, n) : 0;
    if (c > 0 || (c == 0 && n < b->prefix_len))
        return 0;
    if (c < 0)
        return b->count;
    target.data += n;
    target.len -= n;
    uint32_t lo = 0, hi = b->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        struct block_record r;
        block_record_at(b, mid, &r);
        if (slice_cmp(r.rest, target) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* ---- building ---- */

void block_builder_init(struct block_builder *b, struct engine_compression how)
{
    *b = (struct block_builder){.packer.how = how};
}

void block_builder_fini(struct block_builder *b)
{
    buf_fini(&b->bytes);
    buf_fini(&b->image);
    packer_fini(&b->packer);
    free(b->records);
    *b = (struct block_builder){0};
}

/* Counts two bytes of head a record, and wide offsets only where one record is too large for narrow ones. */
static size_t image_size(size_t count, size_t prefix, size_t key_bytes, size_t value_bytes)
{
    return BLOCK_HEADER + prefix + key_bytes - count * prefix + value_bytes + count * 5 + 3;
}

size_t block_builder_size(const struct block_builder *b)
{
    return image_size(b->count, b->prefix_len, b->key_bytes, b->value_bytes);
}

static size_t shared_with(const struct block_builder *b, struct slice key)
{
    if (b->count == 0)
        return key.len;
    const uint8_t *first = b->bytes.data + b->records[0].key_at;
    size_t n = key.len < b->prefix_len ? key.len : b->prefix_len, i = 0;
    while (i < n && first[i] == key.data[i])
        i++;
    return i;
}

size_t block_builder_size_with(const struct block_builder *b, struct slice key, size_t value_len)
{
    return image_size(b->count + 1, shared_with(b, key), b->key_bytes + key.len, b->value_bytes + value_len);
}

enum result block_builder_add(struct block_builder *b, struct slice key, uint8_t kind, struct slice value,
                              uint64_t hash)
{
    if (b->count == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        struct block_pending *records = realloc(b->records, cap * sizeof *records);
        if (!records)
            return RES_NO_MEMORY;
        b->records = records;
        b->cap = cap;
    }
    enum result r = buf_reserve(&b->bytes, key.len + value.len);
    if (r != RES_OK)
        return r;
    size_t prefix = shared_with(b, key);
    b->records[b->count++] = (struct block_pending){
        .key_at = b->bytes.len,
        .key_len = (uint32_t)key.len,
        .value_len = (uint32_t)value.len,
        .kind = kind,
        .tag = block_tag(hash),
    };
    memcpy(b->bytes.data + b->bytes.len, key.data, key.len);
    if (value.len)
        memcpy(b->bytes.data + b->bytes.len + key.len, value.data, value.len);
    b->bytes.len += key.len + value.len;
    b->key_bytes += key.len;
    b->value_bytes += value.len;
    b->prefix_len = prefix;
    return RES_OK;
}

static size_t head_size(const struct block_builder *b, const struct block_pending *r)
{
    return varint_size((r->key_len - b->prefix_len) << 1);
}

/* Writes the image into memory of at least image_size() + 2 * count bytes; returns its length. */
static size_t write_image(const struct block_builder *b, uint8_t *image)
{
    size_t records = 0, offsets_at = (BLOCK_HEADER + b->count + 3) & ~(size_t)3;
    for (size_t i = 0; i < b->count; i++)
        records += head_size(b, &b->records[i]) + b->records[i].key_len - b->prefix_len + b->records[i].value_len;
    size_t len = offsets_at + 2 * b->count + b->prefix_len + records;
    bool wide = block_is_wide((uint32_t)len);
    len += wide ? 2 * b->count : 0;

    put_le16(image, (uint16_t)b->count);
    put_le16(image + 2, (uint16_t)b->prefix_len);
    memset(image + offsets_at - 4, 0, 4); /* what tags and the length do not write again */
    put_le32(image + 4, (uint32_t)len);
    uint8_t *offset = image + offsets_at, *p = offset + b->count * (wide ? 4 : 2);
    memcpy(p, b->bytes.data + b->records[0].key_at, b->prefix_len);
    p += b->prefix_len;
    for (size_t i = 0; i < b->count; i++) {
        const struct block_pending *r = &b->records[i];
        size_t rest = r->key_len - b->prefix_len;
        image[BLOCK_HEADER + i] = r->tag;
        if (wide)
            put_le32(offset + 4 * i, (uint32_t)(p - image));
        else
            put_le16(offset + 2 * i, (uint16_t)(p - image));
        p += put_varint(p, rest << 1 | (r->kind == RECORD_DELETE));
        memcpy(p, b->bytes.data + r->key_at + b->prefix_len, rest + r->value_len);
        p += rest + r->value_len;
    }
    assert((size_t)(p - image) == len);
    return len;
}

enum result block_builder_finish(struct block_builder *b, size_t min_span, uint64_t salt, struct buf *out)
{
    assert(b->count > 0 && b->count <= UINT16_MAX);
    size_t begin = out->len, most = block_builder_size(b) + 2 * b->count;
    enum engine_packing used;

    if (most + BLOCK_TRAILER + BLOCK_UNIT > INT32_MAX)
        return RES_RANGE;
    b->image.len = 0;
    enum result r = buf_reserve(&b->image, most);
    if (r != RES_OK)
        return r;
    size_t len = b->image.len = write_image(b, b->image.data);
    assert(len <= most);
    if ((r = pack_append(&b->packer, b->image.data, len, out, &used)) != RES_OK)
        return r;
    if (used == ENGINE_PACK_NONE && (r = buf_append(out, b->image.data, len)) != RES_OK)
        return r;
    uint32_t stored = (uint32_t)(out->len - begin);
    if (used != ENGINE_PACK_NONE)
        stored |= used == ENGINE_PACK_ZSTD ? PACKED | BY_ZSTD : PACKED;
    size_t span = out->len - begin + BLOCK_TRAILER;
    if (span < min_span)
        span = min_span;
    span = (span + BLOCK_UNIT - 1) & ~(size_t)(BLOCK_UNIT - 1);
    if ((r = buf_reserve(out, span)) != RES_OK)
        return r;
    uint8_t *s = out->data + begin, *trailer = s + span - BLOCK_TRAILER;
    memset(out->data + out->len, 0, (size_t)(trailer - s) - (out->len - begin));
    put_le32(trailer, (uint32_t)len);
    put_le32(trailer + 4, stored);
    put_le32(trailer + 8, checksum32(s, span - 4, salt));
    out->len = begin + span;
    b->bytes.len = 0;
    b->count = b->key_bytes = b->value_bytes = b->prefix_len = 0;
    if (b->bytes.cap > 1024 * 1024) { /* a giant value went through */
        buf_trim(&b->bytes, 64 * 1024);
        b->image.len = 0;
        buf_trim(&b->image, 64 * 1024);
    }
    return RES_OK;
}

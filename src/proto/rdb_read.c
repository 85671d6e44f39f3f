/* Reading what Redis serialised: see rdb.h. */
#include <math.h>

#include "base/bytes.h"
#include "base/crc64.h"
#include "base/lzf.h"
#include "base/num.h"
#include "proto/rdb_packed.h"

#define FOOTER 10
#define EXPANDED_MAX (UINT64_C(4) << 30)
#define CONTAINER_PLAIN 1
#define CONTAINER_PACKED 2

enum result rdb_payload(struct slice payload, struct slice *value, int *version)
{
    if (payload.len < FOOTER)
        return RES_INVALID;
    const uint8_t *footer = payload.data + payload.len - FOOTER;
    *version = get_le16(footer);
    *value = slice_of(payload.data, payload.len - FOOTER);
    if (*version > RDB_VERSION_FIELDS || crc64(0, payload.data, payload.len - 8) != get_le64(footer + 2))
        return RES_INVALID;
    /* 7.4's version is taken for what only 7.4 has */
    bool fields = value->len && (value->data[0] == 24 || value->data[0] == 25);
    return *version == RDB_VERSION_FIELDS && !fields ? RES_INVALID : RES_OK;
}

/* ---- lengths and strings ---- */

/* *encoding: of a string that is encoded; -1: it is a length. */
static bool take_length(struct slice *in, uint64_t *length, int *encoding)
{
    struct slice part;
    if (!take_bytes(in, 1, &part))
        return false;
    uint8_t a = part.data[0];
    *encoding = -1;
    if (a < 0x40) {
        *length = a;
        return true;
    }
    if (a >= 0xc0) {
        *encoding = a & 0x3f;
        return true;
    }
    if (!take_bytes(in, a < 0x80 ? 1 : a == 0x80 ? 4 : 8, &part) || a > 0x81)
        return false;
    *length = a < 0x80    ? (uint64_t)(a & 0x3f) << 8 | part.data[0]
              : a == 0x80 ? get_be32(part.data)
                          : get_be64(part.data);
    return true;
}

static bool plain_length(struct rdb_reader *r, uint64_t *length)
{
    int encoding;
    return take_length(&r->in, length, &encoding) && encoding < 0;
}

static enum result compressed(struct rdb_reader *r, struct slice *out)
{
    uint64_t packed, len;
    struct slice bytes;
    if (!plain_length(r, &packed) || !plain_length(r, &len) || !take_bytes(&r->in, packed, &bytes) ||
        len > bytes.len * LZF_RATIO_MAX)
        return RES_CORRUPT;
    r->expanded += len;
    if (r->expanded > EXPANDED_MAX)
        return RES_TOO_MANY;
    uint8_t *room = arena_alloc(r->arena, len ? len : 1);
    if (!room)
        return RES_NO_MEMORY;
    *out = slice_of(room, len);
    return lzf_expand(bytes, room, len) ? RES_OK : RES_CORRUPT;
}

static enum result digits(struct rdb_reader *r, size_t len, struct slice *out)
{
    struct slice bytes;
    uint32_t v = 0;
    if (!take_bytes(&r->in, len, &bytes))
        return RES_CORRUPT;
    for (size_t i = 0; i < len; i++)
        v |= (uint32_t)bytes.data[i] << 8 * i;
    unsigned unused = 32 - 8 * (unsigned)len;
    char *text = arena_alloc(r->arena, NUM_I64_MAX);
    if (!text)
        return RES_NO_MEMORY;
    *out = slice_of(text, num_format_i64(text, (int32_t)(v << unused) >> unused));
    return RES_OK;
}

static enum result take_string(struct rdb_reader *r, struct slice *out)
{
    uint64_t length;
    int encoding;
    if (!take_length(&r->in, &length, &encoding))
        return RES_CORRUPT;
    if (encoding < 0)
        return take_bytes(&r->in, length, out) ? RES_OK : RES_CORRUPT;
    if (encoding == 3)
        return compressed(r, out);
    return encoding < 3 ? digits(r, (size_t)1 << encoding, out) : RES_CORRUPT;
}

static enum result take_score(struct rdb_reader *r, double *score)
{
    struct slice bytes;
    if (r->type == 5) {
        if (!take_bytes(&r->in, 8, &bytes))
            return RES_CORRUPT;
        uint64_t bits = get_le64(bytes.data);
        memcpy(score, &bits, 8);
        return isnan(*score) ? RES_CORRUPT : RES_OK;
    }
    if (!take_bytes(&r->in, 1, &bytes))
        return RES_CORRUPT;
    uint8_t len = bytes.data[0];
    if (len >= 254) {
        *score = len == 254 ? INFINITY : -INFINITY;
        return RES_OK;
    }
    if (len == 253 || !take_bytes(&r->in, len, &bytes))
        return RES_CORRUPT;
    return num_parse_double(bytes, score) == RES_OK ? RES_OK : RES_CORRUPT;
}

/* ---- opening ---- */

static const struct type {
    bool known;
    uint8_t kind, shape, form;
} types[] = {
    [0] = {true, RDB_STRING, SHAPE_ONE, 0},
    [1] = {true, RDB_LIST, SHAPE_STRINGS, 0},
    [2] = {true, RDB_SET, SHAPE_STRINGS, 0},
    [3] = {true, RDB_ZSET, SHAPE_STRINGS, 0},
    [4] = {true, RDB_HASH, SHAPE_STRINGS, 0},
    [5] = {true, RDB_ZSET, SHAPE_STRINGS, 0},
    [9] = {true, RDB_HASH, SHAPE_PACKED, PACKED_ZIPMAP},
    [10] = {true, RDB_LIST, SHAPE_PACKED, PACKED_ZIPLIST},
    [11] = {true, RDB_SET, SHAPE_PACKED, PACKED_INTSET},
    [12] = {true, RDB_ZSET, SHAPE_PACKED, PACKED_ZIPLIST},
    [13] = {true, RDB_HASH, SHAPE_PACKED, PACKED_ZIPLIST},
    [14] = {true, RDB_LIST, SHAPE_NODES, PACKED_ZIPLIST},
    [16] = {true, RDB_HASH, SHAPE_PACKED, PACKED_LISTPACK},
    [17] = {true, RDB_ZSET, SHAPE_PACKED, PACKED_LISTPACK},
    [18] = {true, RDB_LIST, SHAPE_NODES, PACKED_LISTPACK},
    [20] = {true, RDB_SET, SHAPE_PACKED, PACKED_LISTPACK},
    [24] = {true, RDB_HASH, SHAPE_STRINGS, 0},
    [25] = {true, RDB_HASH, SHAPE_PACKED, PACKED_LISTPACK},
};

/* Items in an opaque string of so many entries. */
static uint64_t items_of(const struct rdb_reader *r, uint64_t entries)
{
    if (entries == UINT64_MAX)
        return 0;
    return r->kind == RDB_LIST || r->kind == RDB_SET ? entries : entries / (r->type == 25 ? 3 : 2);
}

static enum result open_packed(struct rdb_reader *r)
{
    struct slice blob;
    enum result res = take_string(r, &blob);
    if (res == RES_OK)
        res = packed_open(&r->packed, types[r->type].form, blob);
    r->in_packed = res == RES_OK;
    return res;
}

enum result rdb_open(struct rdb_reader *r, struct slice value, int version, struct arena *arena)
{
    *r = (struct rdb_reader){.in = value, .version = version, .arena = arena};
    struct slice first;
    if (!take_bytes(&r->in, 1, &first))
        return RES_CORRUPT;
    r->type = first.data[0];
    if ((size_t)r->type >= sizeof types / sizeof types[0] || !types[r->type].known)
        return RES_UNSUPPORTED;
    r->kind = types[r->type].kind;
    r->shape = types[r->type].shape;
    if (r->type >= 24) {
        if (!take_bytes(&r->in, 8, &first))
            return RES_CORRUPT;
        r->first_expiry = get_le64(first.data);
    }
    if (r->shape == SHAPE_PACKED) {
        enum result res = open_packed(r);
        r->expected = res == RES_OK ? items_of(r, r->packed.count) : 0;
        return res;
    }
    r->left = 1;
    if (r->shape != SHAPE_ONE && !plain_length(r, &r->left))
        return RES_CORRUPT;
    r->expected = r->shape == SHAPE_STRINGS ? r->left : r->shape == SHAPE_ONE;
    return RES_OK;
}

/* ---- items ---- */

#define EXPIRY_MAX ((UINT64_C(1) << 46) - 2) /* Redis 7.4's */

static enum result next_strings(struct rdb_reader *r, struct rdb_item *item)
{
    if (!r->left)
        return RES_NOT_FOUND;
    r->left--;
    if (r->type == 24) {
        uint64_t after;
        if (!plain_length(r, &after))
            return RES_CORRUPT;
        item->expire_ms = after ? r->first_expiry + after - 1 : 0;
        if (after > EXPIRY_MAX || item->expire_ms > EXPIRY_MAX)
            return RES_CORRUPT;
    }
    enum result res = take_string(r, &item->first);
    if (res == RES_OK && r->kind == RDB_HASH)
        return take_string(r, &item->second);
    return res == RES_OK && r->kind == RDB_ZSET ? take_score(r, &item->score) : res;
}

/* The next entry that belongs to one whose first was there. */
static enum result further(struct rdb_reader *r, struct slice *text)
{
    enum result res = packed_next(&r->packed, r->arena, text);
    return res == RES_NOT_FOUND ? RES_CORRUPT : res;
}

static enum result next_packed(struct rdb_reader *r, struct rdb_item *item)
{
    struct slice text;
    enum result res = packed_next(&r->packed, r->arena, &item->first);
    if (res != RES_OK || r->kind == RDB_LIST || r->kind == RDB_SET)
        return res;
    if ((res = further(r, &text)) != RES_OK)
        return res;
    if (r->kind == RDB_ZSET)
        return num_parse_double(text, &item->score) == RES_OK ? RES_OK : RES_CORRUPT;
    item->second = text;
    if (r->type != 25)
        return RES_OK;
    if ((res = further(r, &text)) != RES_OK)
        return res;
    bool time = num_parse_u64(text, &item->expire_ms) == RES_OK && item->expire_ms <= EXPIRY_MAX;
    return time ? RES_OK : RES_CORRUPT;
}

/* An element that is a node by itself, or a string full of them. */
static enum result open_node(struct rdb_reader *r, struct rdb_item *item)
{
    uint64_t container = CONTAINER_PACKED;
    r->left--;
    if (r->type == 18 && (!plain_length(r, &container) || container < CONTAINER_PLAIN || container > CONTAINER_PACKED))
        return RES_CORRUPT;
    if (container == CONTAINER_PACKED)
        return open_packed(r);
    r->nodes += 2;
    enum result res = take_string(r, &item->first);
    return res == RES_OK && !item->first.len ? RES_CORRUPT : res;
}

static enum result next_in_nodes(struct rdb_reader *r, struct rdb_item *item)
{
    for (;;) {
        if (r->in_packed) {
            bool first = r->packed.met == 0;
            enum result res = next_packed(r, item);
            r->nodes += first && res == RES_OK;
            if (res != RES_NOT_FOUND)
                return res;
            r->in_packed = false;
        }
        if (!r->left)
            return RES_NOT_FOUND;
        enum result res = open_node(r, item);
        if (res != RES_OK || !r->in_packed)
            return res;
    }
}

enum result rdb_next(struct rdb_reader *r, struct rdb_item *item)
{
    *item = (struct rdb_item){.score = 0};
    enum result res = r->shape == SHAPE_PACKED  ? next_packed(r, item)
                      : r->shape == SHAPE_NODES ? next_in_nodes(r, item)
                                                : next_strings(r, item);
    if (res == RES_NOT_FOUND && !r->given)
        return RES_CORRUPT;
    r->given += res == RES_OK;
    return res;
}

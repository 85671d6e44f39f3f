/* Writing what Redis reads: see rdb.h. */
#include "base/bytes.h"
#include "base/crc64.h"
#include "base/lzf.h"
#include "base/num.h"
#include "proto/rdb.h"

#define COMPRESS_FROM 21 /* shorter strings do not get shorter */
#define COMPRESS_TO ((size_t)64 << 20)
#define LENGTH_MAX 9

static size_t put_length(uint8_t *p, uint64_t length)
{
    if (length < 0x40) {
        p[0] = (uint8_t)length;
        return 1;
    }
    if (length < 0x4000) {
        p[0] = (uint8_t)(0x40 | length >> 8);
        p[1] = (uint8_t)length;
        return 2;
    }
    if (length <= UINT32_MAX) {
        p[0] = 0x80;
        put_be32(p + 1, (uint32_t)length);
        return 5;
    }
    p[0] = 0x81;
    put_be64(p + 1, length);
    return 9;
}

/* Digits as an integer; 0: they are none that fits. */
static size_t put_integer(uint8_t *p, struct slice text)
{
    int64_t n;
    if (!text.len || text.len > 11 || num_parse_i64(text, &n) != RES_OK || n < INT32_MIN || n > INT32_MAX)
        return 0;
    unsigned encoding = n >= INT8_MIN && n <= INT8_MAX ? 0 : n >= INT16_MIN && n <= INT16_MAX ? 1 : 2;
    size_t len = (size_t)1 << encoding;
    p[0] = (uint8_t)(0xc0 | encoding);
    for (size_t i = 0; i < len; i++)
        p[1 + i] = (uint8_t)((uint64_t)n >> 8 * i);
    return 1 + len;
}

/* Compressed, where that saves something; *done is false where it does not. */
static enum result put_compressed(struct buf *out, struct slice text, bool *done)
{
    *done = false;
    if (text.len < COMPRESS_FROM || text.len > COMPRESS_TO)
        return RES_OK;
    enum result r = buf_reserve(out, 1 + 2 * LENGTH_MAX + text.len);
    if (r != RES_OK)
        return r;
    /* behind the longest head; the bytes move up when it is known */
    uint8_t head[1 + 2 * LENGTH_MAX], *room = out->data + out->len + sizeof head;
    size_t len = lzf_compress(text, room, text.len - 4);
    if (!len)
        return RES_OK;
    head[0] = 0xc3;
    size_t n = 1 + put_length(head + 1, len);
    n += put_length(head + n, text.len);
    memcpy(out->data + out->len, head, n);
    memmove(out->data + out->len + n, room, len);
    out->len += n + len;
    *done = true;
    return RES_OK;
}

enum result rdb_write_string(struct buf *out, struct slice text)
{
    uint8_t head[LENGTH_MAX];
    bool done;
    size_t n = put_integer(head, text);
    if (n)
        return buf_append(out, head, n);
    enum result r = put_compressed(out, text, &done);
    if (r != RES_OK || done)
        return r;
    r = buf_append(out, head, put_length(head, text.len));
    return r == RES_OK ? buf_append(out, text.data, text.len) : r;
}

enum result rdb_write_head(struct buf *out, enum rdb_kind kind, uint64_t count, uint64_t first_ms)
{
    static const uint8_t types[] = {[RDB_STRING] = 0, [RDB_LIST] = 1, [RDB_SET] = 2, [RDB_ZSET] = 5, [RDB_HASH] = 4};
    uint8_t head[9 + LENGTH_MAX];
    size_t n = 1;
    head[0] = first_ms ? 24 : types[kind];
    if (first_ms) {
        put_le64(head + n, first_ms);
        n += 8;
    }
    if (kind != RDB_STRING)
        n += put_length(head + n, count);
    return buf_append(out, head, n);
}

enum result rdb_write_item(struct buf *out, enum rdb_kind kind, const struct rdb_item *item, uint64_t first_ms)
{
    uint8_t bytes[LENGTH_MAX];
    enum result r = RES_OK;
    if (first_ms)
        r = buf_append(out, bytes, put_length(bytes, item->expire_ms ? item->expire_ms - first_ms + 1 : 0));
    if (r == RES_OK)
        r = rdb_write_string(out, item->first);
    if (r == RES_OK && kind == RDB_HASH)
        r = rdb_write_string(out, item->second);
    if (r != RES_OK || kind != RDB_ZSET)
        return r;
    memcpy(bytes, &item->score, 8);
    return buf_append(out, bytes, 8);
}

enum result rdb_write_end(struct buf *out, size_t start, int version)
{
    uint8_t footer[10];
    put_le16(footer, (uint16_t)version);
    enum result r = buf_append(out, footer, 2);
    put_le64(footer + 2, crc64(0, out->data + start, out->len - start));
    return r == RES_OK ? buf_append(out, footer + 2, 8) : r;
}

/* Arbitrary bytes as a serialised value: whatever they are, reading ends, its slices lie in what it was given or in its
 * arena, and a value that is read comes out the same when it is written and read again. The first byte chooses the version;
 * the checksum is right, or nothing behind it would be reached. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/crc64.h"
#include "base/lzf.h"
#include "proto/rdb.h"

#define ITEMS_MAX 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t sum_of(const struct rdb_item *item, uint64_t sum)
{
    sum = crc64(sum + item->first.len, item->first.data, item->first.len);
    sum = crc64(sum + item->second.len, item->second.data, item->second.len);
    sum = crc64(sum, &item->score, sizeof item->score);
    return crc64(sum, &item->expire_ms, sizeof item->expire_ms);
}

/* Reads all of it. The sum tells what was read. */
static enum result read_all(struct slice value, int version, struct rdb_reader *in, uint64_t *sum, uint64_t *first_ms)
{
    struct arena a;
    struct rdb_item item;
    arena_init(&a, 256);
    *sum = *first_ms = 0;
    enum result r = rdb_open(in, value, version, &a);
    while (r == RES_OK && (r = rdb_next(in, &item)) == RES_OK) {
        assert(in->given <= value.len * LZF_RATIO_MAX && !isnan(item.score));
        *sum = sum_of(&item, *sum);
        if (item.expire_ms && (!*first_ms || item.expire_ms < *first_ms))
            *first_ms = item.expire_ms;
    }
    if (r == RES_NOT_FOUND) {
        assert(in->given && (!in->expected || in->given == in->expected));
        r = RES_OK;
    }
    arena_fini(&a);
    return r;
}

static void write_again(struct slice value, int version, uint64_t count, uint64_t sum, uint64_t first_ms)
{
    struct arena a;
    struct rdb_reader in;
    struct rdb_item item;
    struct buf out = BUF_INIT;
    uint64_t again, again_ms;
    arena_init(&a, 256);
    enum result r = rdb_open(&in, value, version, &a);
    assert(r == RES_OK);
    r = rdb_write_head(&out, in.kind, count, first_ms);
    while (r == RES_OK && (r = rdb_next(&in, &item)) == RES_OK)
        r = rdb_write_item(&out, in.kind, &item, first_ms);
    assert(r == RES_NOT_FOUND);
    version = first_ms ? RDB_VERSION_FIELDS : RDB_VERSION;
    r = rdb_write_end(&out, 0, version);
    assert(r == RES_OK);
    r = rdb_payload(buf_slice(&out), &value, &version);
    assert(r == RES_OK);
    r = read_all(value, version, &in, &again, &again_ms);
    assert(r == RES_OK && again == sum && again_ms == first_ms && in.given == count);
    buf_fini(&out);
    arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rdb_reader in;
    uint64_t sum, first_ms;
    struct slice value;
    struct buf payload = BUF_INIT;
    int version = size ? data[0] % 13 : 0;
    enum result r = buf_append(&payload, data + (size != 0), size - (size != 0));
    if (r == RES_OK)
        r = rdb_write_end(&payload, 0, version);
    assert(r == RES_OK);
    if (rdb_payload(buf_slice(&payload), &value, &version) == RES_OK) {
        assert(value.len == payload.len - 10);
        /* in memory of its own, so that a read behind it is seen */
        uint8_t *copy = malloc(value.len ? value.len : 1);
        assert(copy);
        if (value.len)
            memcpy(copy, value.data, value.len);
        value.data = copy;
        r = read_all(value, version, &in, &sum, &first_ms);
        if (r == RES_OK && in.given <= ITEMS_MAX)
            write_again(value, version, in.given, sum, first_ms);
        assert(r == RES_OK || r == RES_CORRUPT || r == RES_UNSUPPORTED || r == RES_TOO_MANY || r == RES_NO_MEMORY);
        free(copy);
    }
    buf_fini(&payload);
    return 0;
}

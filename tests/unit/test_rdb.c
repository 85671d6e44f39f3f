/* Redis' serialised values: checksum, compression, and what is written is what is read. How Redis' own bytes are read is
 * tried against redis-server (tests/system/test_dump.py), arbitrary bytes by tests/fuzz/fuzz_dump.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc64.h"
#include "base/lzf.h"
#include "proto/rdb.h"

Test(crc64, is_redis_own_and_goes_on_from_any_byte)
{
    static const char text[] = "This is a test of the emergency broadcast system.";
    cr_assert_eq(crc64(0, "123456789", 9), UINT64_C(0xe9c6d914c4b8d9ca));
    uint64_t whole = crc64(0, text, sizeof text - 1);
    for (size_t cut = 0; cut < sizeof text; cut++)
        cr_assert_eq(crc64(crc64(0, text, cut), text + cut, sizeof text - 1 - cut), whole);
}

static uint64_t seed = 3;
static uint64_t draw(uint64_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 24) % below;
}

/* Bytes of which much repeats, near and far. */
static size_t some_text(uint8_t *out, size_t cap)
{
    size_t len = draw(cap + 1);
    unsigned letters = 1 + (unsigned)draw(draw(2) ? 4 : 256);
    for (size_t i = 0; i < len; i++)
        out[i] = i > 9000 && draw(3) ? out[i - 8192] : (uint8_t)draw(letters);
    return len;
}

Test(lzf, what_is_compressed_comes_back)
{
    static uint8_t plain[30000], packed[40000], again[30000];
    int smaller = 0;
    for (int round = 0; round < 400; round++) {
        size_t len = some_text(plain, round % 4 ? 300 : sizeof plain);
        size_t cap = draw(2) && len > 4 ? len - 4 : sizeof packed;
        size_t n = lzf_compress(slice_of(plain, len), packed, cap);
        cr_assert_leq(n, cap);
        if (!n)
            continue;
        smaller += n < len;
        cr_assert(lzf_expand(slice_of(packed, n), again, len));
        cr_assert_arr_eq(again, plain, len);
        if (len)
            cr_assert(!lzf_expand(slice_of(packed, n), again, len - 1));
        cr_assert(!lzf_expand(slice_of(packed, n), again, len + 1 <= sizeof again ? len + 1 : len - 1));
        cr_assert(len <= n * LZF_RATIO_MAX);
    }
    cr_assert_gt(smaller, 100);
}

Test(lzf, what_does_not_shrink_is_left)
{
    uint8_t plain[100], packed[100];
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 37);
    cr_assert_eq(lzf_compress(slice_of(plain, sizeof plain), packed, sizeof plain - 4), 0);
    memset(plain, 'a', sizeof plain);
    cr_assert_lt(lzf_compress(slice_of(plain, sizeof plain), packed, sizeof plain - 4), 10);
}

/* ---- values ---- */

#define ITEMS 300

static struct rdb_item items[ITEMS];

static struct slice random_text(struct arena *a)
{
    static const char *const fixed[] = {"",      "0",      "-1",          "127",         "128",         "-129",
                                        "32768", "-32769", "2147483647",  "-2147483648", "2147483648",  "007",
                                        "+1",    "-0",     "12345678901", " 1",          "99999999999", "1.5"};
    uint8_t *p = arena_alloc(a, 20000);
    if (draw(3) == 0)
        return slice_str(fixed[draw(sizeof fixed / sizeof fixed[0])]);
    return slice_of(p, some_text(p, draw(20) ? 80 : 20000));
}

static void make_items(struct arena *a, enum rdb_kind kind, size_t n, uint64_t first_ms)
{
    static const double scores[] = {0, -1.5, 1e300, INFINITY, -INFINITY, 3e-7};
    for (size_t i = 0; i < n; i++) {
        items[i] = (struct rdb_item){.first = random_text(a)};
        if (kind == RDB_HASH)
            items[i].second = random_text(a);
        if (kind == RDB_ZSET)
            items[i].score = scores[draw(6)];
        if (first_ms)
            items[i].expire_ms = i == 0 ? first_ms : draw(2) ? first_ms + draw(1000000) : 0;
    }
}

static void write_and_read(enum rdb_kind kind, size_t n, uint64_t first_ms)
{
    struct arena a;
    struct buf out = BUF_INIT;
    struct rdb_reader in;
    struct rdb_item item;
    struct slice value;
    int version;
    arena_init(&a, 4096);
    make_items(&a, kind, n, first_ms);
    cr_assert_eq(buf_append(&out, "before", 6), RES_OK);
    cr_assert_eq(rdb_write_head(&out, kind, n, first_ms), RES_OK);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(rdb_write_item(&out, kind, &items[i], first_ms), RES_OK);
    cr_assert_eq(rdb_write_end(&out, 6, first_ms ? RDB_VERSION_FIELDS : RDB_VERSION), RES_OK);
    cr_assert_eq(rdb_payload(slice_of(out.data + 6, out.len - 6), &value, &version), RES_OK);
    cr_assert_eq(version, first_ms ? 12 : 10);
    cr_assert_eq(rdb_open(&in, value, version, &a), RES_OK);
    cr_assert_eq(in.kind, kind);
    cr_assert_eq(in.expected, n);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(rdb_next(&in, &item), RES_OK);
        cr_assert(slice_eq(item.first, items[i].first) && slice_eq(item.second, items[i].second));
        cr_assert(item.score == items[i].score && item.expire_ms == items[i].expire_ms);
    }
    cr_assert_eq(rdb_next(&in, &item), n ? RES_NOT_FOUND : RES_CORRUPT);
    /* any other byte is another checksum */
    size_t at = 6 + draw(out.len - 6);
    out.data[at] ^= (uint8_t)(1 + draw(255));
    cr_assert_eq(rdb_payload(slice_of(out.data + 6, out.len - 6), &value, &version), RES_INVALID);
    buf_fini(&out);
    arena_fini(&a);
}

Test(rdb, what_is_written_is_read)
{
    for (int round = 0; round < 60; round++) {
        write_and_read(RDB_STRING, 1, 0);
        for (enum rdb_kind kind = RDB_LIST; kind <= RDB_HASH; kind++)
            write_and_read(kind, draw(ITEMS), 0);
        write_and_read(RDB_HASH, 1 + draw(ITEMS - 1), UINT64_C(4102444800000));
    }
}

/* The codec of the memcached binary protocol: which frames are taken, refused, passed over, and what an answer looks like. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "proto/memcached.h"

static uint8_t bytes[2048];

/* A frame in `bytes`; returns its length. */
static size_t frame(uint8_t opcode, const char *extras, size_t extras_len, const char *key, const char *value)
{
    size_t k = strlen(key), v = strlen(value);
    memset(bytes, 0, MEMCACHED_HEADER);
    bytes[0] = 0x80;
    bytes[1] = opcode;
    put_be16(bytes + 2, (uint16_t)k);
    bytes[4] = (uint8_t)extras_len;
    put_be32(bytes + 8, (uint32_t)(extras_len + k + v));
    put_be32(bytes + 12, 0xdeadbeef);
    put_be64(bytes + 16, 77);
    memcpy(bytes + 24, extras, extras_len);
    memcpy(bytes + 24 + extras_len, key, k);
    memcpy(bytes + 24 + extras_len + k, value, v);
    return 24 + extras_len + k + v;
}

static enum memcached_status refusal(size_t len)
{
    struct memcached_request q;
    uint64_t used;
    cr_assert_eq(memcached_parse(slice_of(bytes, len), 1000, &q, &used), MEMCACHED_REQUEST);
    cr_assert_eq(used, len);
    return q.refused;
}

Test(memcached_frames, a_whole_frame_comes_apart)
{
    struct memcached_request q;
    struct memcached_head h;
    uint64_t used;
    size_t len = frame(MC_SETQ, "\0\0\0\x2a\0\0\1\0", 8, "key", "value");
    cr_assert_eq(memcached_parse(slice_of(bytes, len + 100), 1000, &q, &used), MEMCACHED_REQUEST);
    cr_expect_eq(used, len);
    cr_expect_eq(q.refused, MC_OK);
    cr_expect_eq(q.loud, MC_SET);
    cr_expect(q.quiet && !q.with_key);
    cr_expect_eq(q.opaque, 0xdeadbeef);
    cr_expect(slice_eq(q.key, SLICE_LIT("key")) && slice_eq(q.value, SLICE_LIT("value")));
    memcached_head_get(q.head, &h);
    cr_expect(h.flags == 42 && h.expiry == 256 && h.cas == 77);
    for (size_t cut = 0; cut < len; cut++)
        cr_expect_eq(memcached_parse(slice_of(bytes, cut), 1000, &q, &used), MEMCACHED_MORE);
}

Test(memcached_frames, numbers_of_counters)
{
    struct memcached_request q;
    struct memcached_head h;
    uint64_t used;
    size_t len = frame(MC_INCREMENT, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\xff\xff\xff\xff", 20, "n", "");
    cr_assert_eq(memcached_parse(slice_of(bytes, len), 1000, &q, &used), MEMCACHED_REQUEST);
    memcached_head_get(q.head, &h);
    cr_expect(h.delta == 1 && h.initial == 2 && h.expiry == MEMCACHED_NO_CREATE);
}

Test(memcached_frames, what_does_not_fit_its_opcode_is_refused)
{
    char long_key[252] = "";
    cr_expect_eq(refusal(frame(MC_GET, "", 0, "k", "")), MC_OK);
    cr_expect_eq(refusal(frame(MC_GET, "", 0, "", "")), MC_INVALID);
    cr_expect_eq(refusal(frame(MC_GET, "", 0, "k", "v")), MC_INVALID);
    cr_expect_eq(refusal(frame(MC_GET, "eeee", 4, "k", "")), MC_INVALID);
    cr_expect_eq(refusal(frame(MC_SET, "", 0, "k", "v")), MC_INVALID);
    cr_expect_eq(refusal(frame(MC_NOOP, "", 0, "k", "")), MC_INVALID);
    cr_expect_eq(refusal(frame(MC_FLUSH, "", 0, "", "")), MC_OK);
    cr_expect_eq(refusal(frame(MC_FLUSH, "\0\0\0\1", 4, "", "")), MC_OK);
    cr_expect_eq(refusal(frame(MC_FLUSH, "\0\0", 2, "", "")), MC_INVALID);
    cr_expect_eq(refusal(frame(0x1b, "", 0, "k", "v")), MC_UNKNOWN_COMMAND);
    cr_expect_eq(refusal(frame(0xff, "", 0, "", "")), MC_UNKNOWN_COMMAND);
    memset(long_key, 'k', 250);
    cr_expect_eq(refusal(frame(MC_GET, "", 0, long_key, "")), MC_OK);
    long_key[250] = 'k';
    cr_expect_eq(refusal(frame(MC_GET, "", 0, long_key, "")), MC_INVALID);
    size_t len = frame(MC_GET, "", 0, "k", "");
    bytes[5] = 1;
    cr_expect_eq(refusal(len), MC_INVALID);
}

Test(memcached_frames, lengths_that_do_not_add_up_and_foreign_bytes)
{
    struct memcached_request q;
    uint64_t used;
    size_t len = frame(MC_GET, "", 0, "k", "");
    put_be16(bytes + 2, 2);
    cr_expect_eq(memcached_parse(slice_of(bytes, len), 1000, &q, &used), MEMCACHED_BROKEN);
    cr_expect_eq(q.refused, MC_INVALID);
    bytes[0] = 0x81;
    cr_expect_eq(memcached_parse(slice_of(bytes, 1), 1000, &q, &used), MEMCACHED_FOREIGN);
    cr_expect_eq(memcached_parse(SLICE_LIT("get k\r\n"), 1000, &q, &used), MEMCACHED_FOREIGN);
}

Test(memcached_frames, a_long_value_is_passed_over)
{
    struct memcached_request q;
    uint64_t used;
    size_t len = frame(MC_SET, "\0\0\0\0\0\0\0\0", 8, "k", "value");
    cr_expect_eq(memcached_parse(slice_of(bytes, len), 4, &q, &used), MEMCACHED_SKIP);
    cr_expect_eq(q.refused, MC_TOO_LARGE);
    cr_expect_eq(used, len);
    cr_expect_eq(memcached_parse(slice_of(bytes, len), 5, &q, &used), MEMCACHED_REQUEST);
    put_be32(bytes + 8, UINT32_MAX);
    cr_expect_eq(memcached_parse(slice_of(bytes, 24), 1000, &q, &used), MEMCACHED_SKIP);
    cr_expect_eq(used, 24 + (uint64_t)UINT32_MAX);
}

Test(memcached_frames, an_answer)
{
    uint8_t out[MEMCACHED_HEADER];
    struct memcached_response r = {.opcode = MC_GETK,
                                   .status = MC_NOT_FOUND,
                                   .key_len = 3,
                                   .extras_len = 4,
                                   .value_len = 5,
                                   .opaque = 0x01020304,
                                   .cas = 0x0102030405060708};
    memcached_response_put(out, &r);
    static const uint8_t want[MEMCACHED_HEADER] = {0x81, 0x0c, 0, 3, 4, 0, 0, 1, 0, 0, 0, 12,
                                                   1,    2,    3, 4, 1, 2, 3, 4, 5, 6, 7, 8};
    cr_expect_arr_eq(out, want, sizeof want);
}

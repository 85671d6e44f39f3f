/* The ground floor: what every other room takes for granted about bytes, buffers, hashes and numbers. */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/histogram.h"
#include "base/result.h"

/* ---- results ------------------------------------------------------------------------------------------------ */

Test(result, every_code_has_a_text)
{
    for (int i = 0; i < RESULT_COUNT; i++)
        cr_assert(strlen(result_text((enum result)i)) > 0);
    cr_assert_str_eq(result_text((enum result)9999), "unknown result");
    cr_assert_str_eq(result_text((enum result) - 1), "unknown result");
}

Test(result, errno_values_that_callers_decide_on_are_told_apart)
{
    cr_assert_eq(result_from_errno(0), RES_OK);
    cr_assert_eq(result_from_errno(ENOENT), RES_NOT_FOUND);
    cr_assert_eq(result_from_errno(EAGAIN), RES_WOULD_BLOCK);
    cr_assert_eq(result_from_errno(ENOSPC), RES_NO_SPACE);
    cr_assert_eq(result_from_errno(EDQUOT), RES_NO_SPACE);
    cr_assert_eq(result_from_errno(EIO), RES_IO);
    cr_assert_eq(result_from_errno(EMFILE), RES_TOO_MANY);
    cr_assert_eq(result_from_errno(12345), RES_IO);
}

Test(result, a_message_is_cut_to_its_buffer_and_may_be_unwanted)
{
    struct errmsg msg;
    char big[2000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    cr_assert_eq(errmsg_set(&msg, RES_CORRUPT, "%s", big), RES_CORRUPT);
    cr_assert_eq(strlen(msg.text), sizeof msg.text - 1);
    cr_assert_eq(errmsg_set(NULL, RES_IO, "nobody asks"), RES_IO);
}

/* ---- slices and bytes --------------------------------------------------------------------------------------- */

Test(slice, order_is_byte_order_with_a_prefix_first)
{
    cr_assert_lt(slice_cmp(SLICE_LIT("ab"), SLICE_LIT("abc")), 0);
    cr_assert_gt(slice_cmp(SLICE_LIT("b"), SLICE_LIT("abc")), 0);
    cr_assert_lt(slice_cmp(SLICE_LIT("a\x7f"), SLICE_LIT("a\x80")), 0, "bytes compare as unsigned");
    cr_assert_eq(slice_cmp(slice_of(NULL, 0), SLICE_LIT("")), 0);
}

Test(slice, comparison_without_case)
{
    cr_assert(slice_eq_nocase(SLICE_LIT("GeT"), "get"));
    cr_assert(slice_eq_nocase(SLICE_LIT(""), ""));
    cr_assert_not(slice_eq_nocase(SLICE_LIT("get"), "gets"));
    cr_assert_not(slice_eq_nocase(SLICE_LIT("gets"), "get"));
    cr_assert_not(slice_eq_nocase(SLICE_LIT("get\0"), "get"), "a NUL is a byte like any other");
    cr_assert_not(slice_eq_nocase(SLICE_LIT("["), "{"), "only letters have a case");
}

Test(bytes, varints_read_back_at_every_length)
{
    for (int shift = 0; shift < 64; shift++)
        for (int d = -1; d <= 1; d++) {
            uint64_t v = ((uint64_t)1 << shift) + (uint64_t)d, out = 0;
            uint8_t b[VARINT_MAX];
            size_t n = put_varint(b, v);
            cr_assert_eq(n, varint_size(v));
            for (size_t cut = 0; cut < n; cut++) {
                struct slice s = slice_of(b, cut);
                cr_assert_not(take_varint(&s, &out), "a cut varint");
                cr_assert_eq(s.len, cut, "an unread slice stays as it is");
            }
            struct slice s = slice_of(b, n);
            cr_assert(take_varint(&s, &out));
            cr_assert_eq(out, v);
            cr_assert_eq(s.len, 0);
        }
}

Test(bytes, a_varint_of_more_than_64_bits_is_refused)
{
    uint8_t too_big[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    uint8_t too_long[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    uint64_t v;
    struct slice s = slice_of(too_big, sizeof too_big);
    cr_assert_not(take_varint(&s, &v));
    s = slice_of(too_long, sizeof too_long);
    cr_assert_not(take_varint(&s, &v));
}

Test(bytes, big_endian_keys_order_like_numbers)
{
    uint8_t a[8], b[8];
    put_be64(a, 255);
    put_be64(b, 256);
    cr_assert_lt(memcmp(a, b, 8), 0);
    cr_assert_eq(get_be64(b), 256);
    cr_assert_eq(b[6], 1);
    put_le32(a, 1);
    cr_assert_eq(a[0], 1);
}

/* ---- buffers ------------------------------------------------------------------------------------------------ */

Test(buf, grows_and_keeps_what_it_holds)
{
    struct buf b = BUF_INIT;
    for (unsigned i = 0; i < 100000; i++) {
        uint8_t v[4];
        put_be32(v, i);
        cr_assert_eq(buf_append(&b, v, 4), RES_OK);
    }
    cr_assert_eq(b.len, 400000);
    for (unsigned i = 0; i < 100000; i++)
        cr_assert_eq(get_be32(b.data + 4 * (size_t)i), i);
    buf_consume(&b, 4 * 99999);
    cr_assert_eq(b.len, 4);
    cr_assert_eq(get_be32(b.data), 99999);
    buf_trim(&b, 100);
    cr_assert_eq(b.cap, 100);
    cr_assert_eq(get_be32(b.data), 99999);
    buf_clear(&b);
    buf_trim(&b, 0);
    cr_assert_null(b.data);
    buf_fini(&b);
}

Test(buf, growth_is_geometric_but_gentle_when_large)
{
    struct buf b = BUF_INIT;
    cr_assert_eq(buf_reserve(&b, 1), RES_OK);
    size_t steps = 0;
    while (b.cap < 64 << 20) {
        size_t before = b.cap;
        b.len = b.cap;
        cr_assert_eq(buf_reserve(&b, 1), RES_OK);
        if (before >= 1 << 20)
            cr_assert_leq(b.cap, before + before / 4);
        steps++;
    }
    cr_assert_lt(steps, 40);
    b.len = 0;
    buf_fini(&b);
}

Test(buf, a_refused_allocation_changes_nothing)
{
    struct buf b = BUF_INIT;
    cr_assert_eq(buf_append(&b, "abc", 3), RES_OK);
    cr_assert_eq(buf_reserve(&b, SIZE_MAX), RES_NO_MEMORY);
    cr_assert_eq(buf_reserve(&b, SIZE_MAX / 2 - 3), RES_NO_MEMORY);
    cr_assert(slice_eq(buf_slice(&b), SLICE_LIT("abc")));
    cr_assert_eq(buf_append(&b, NULL, 0), RES_OK);
    buf_fini(&b);
}

Test(buf, printf_fits_exactly_or_grows)
{
    struct buf b = BUF_INIT;
    for (int i = 0; i < 300; i++) {
        size_t before = b.len;
        cr_assert_eq(buf_printf(&b, "%d,", i), RES_OK);
        cr_assert_gt(b.len, before);
    }
    cr_assert_eq(memcmp(b.data, "0,1,2,", 6), 0);
    cr_assert_eq(memcmp(b.data + b.len - 8, "298,299,", 8), 0);
    buf_fini(&b);
}

/* ---- arena -------------------------------------------------------------------------------------------------- */

Test(arena, blocks_are_aligned_apart_and_writable)
{
    struct arena a;
    arena_init(&a, 100);
    uint8_t *blocks[3000];
    for (size_t i = 0; i < 3000; i++) {
        size_t len = i % 97;
        blocks[i] = arena_alloc(&a, len);
        cr_assert_not_null(blocks[i]);
        cr_assert_eq((uintptr_t)blocks[i] % 8, 0);
        memset(blocks[i], (int)(i & 0xff), len);
    }
    for (size_t i = 0; i < 3000; i++)
        for (size_t k = 0; k < i % 97; k++)
            cr_assert_eq(blocks[i][k], (uint8_t)i);
    cr_assert_gt(a.total, 97 * 1500);
    arena_fini(&a);
    cr_assert_eq(a.total, 0);
}

Test(arena, a_large_request_leaves_the_current_chunk_in_use)
{
    struct arena a;
    arena_init(&a, 4096);
    uint8_t *first = arena_alloc(&a, 8);
    uint8_t *large = arena_alloc(&a, 5 << 20);
    cr_assert_not_null(large);
    memset(large, 1, 5 << 20);
    cr_assert_eq(arena_alloc(&a, 8), first + 8);
    arena_fini(&a);
}

Test(arena, reset_keeps_one_chunk_of_modest_size)
{
    struct arena a;
    arena_init(&a, 1024);
    for (int i = 0; i < 1000; i++)
        cr_assert_not_null(arena_alloc(&a, 1000));
    arena_reset(&a);
    cr_assert_leq(a.total, (64 << 10) + 64);
    cr_assert_gt(a.total, 0);
    size_t kept = a.total;
    cr_assert_not_null(arena_alloc(&a, 100));
    cr_assert_eq(a.total, kept, "the kept chunk is used first");
    arena_fini(&a);
}

Test(arena, impossible_sizes_are_refused_and_zero_is_not_null)
{
    struct arena a;
    arena_init(&a, 0);
    cr_assert_not_null(arena_alloc(&a, 0));
    cr_assert_null(arena_alloc(&a, SIZE_MAX));
    cr_assert_null(arena_alloc(&a, SIZE_MAX - 6));
    cr_assert_null(arena_alloc(&a, SIZE_MAX / 2 + 1));
    cr_assert_eq(memcmp(arena_copy(&a, "abc", 3), "abc", 3), 0);
    arena_fini(&a);
}

/* ---- hashes ------------------------------------------------------------------------------------------------- */

static uint64_t rotl64(uint64_t x, int n) { return x << n | x >> (64 - n); }

/* SipHash-c-d written a second time, byte by byte as the paper says, so that the fast one has something to be measured
 * against; itself measured against the paper's vector for SipHash-2-4. */
static uint64_t reference_siphash(int c, int d, uint64_t k0, uint64_t k1, const uint8_t *in, size_t len)
{
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
                     k1 ^ 0x7465646279746573u};
    for (size_t i = 0; i <= len / 8 + (size_t)d; i++) {
        uint64_t m = 0;
        if (i <= len / 8)
            for (size_t b = 0; b < 8; b++) {
                size_t at = 8 * i + b;
                uint64_t byte = at < len ? in[at] : (b == 7 && i == len / 8) ? len & 0xff : 0;
                m |= byte << (8 * b);
            }
        if (i == len / 8 + 1)
            v[2] ^= 0xff;
        v[3] ^= m;
        for (int r = 0; r < (i <= len / 8 ? c : 1); r++) {
            v[0] += v[1];
            v[1] = rotl64(v[1], 13) ^ v[0];
            v[0] = rotl64(v[0], 32);
            v[2] += v[3];
            v[3] = rotl64(v[3], 16) ^ v[2];
            v[0] += v[3];
            v[3] = rotl64(v[3], 21) ^ v[0];
            v[2] += v[1];
            v[1] = rotl64(v[1], 17) ^ v[2];
            v[2] = rotl64(v[2], 32);
        }
        v[0] ^= m;
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

Test(hash, siphash_agrees_with_the_definition_at_every_length)
{
    uint8_t in[600];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)i;
    struct hash_seed seed = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    cr_assert_eq(reference_siphash(2, 4, seed.k0, seed.k1, in, 15), 0xa129ca6149be45e5u, "the paper's vector");
    /* The first of the vectors for 1-3 that the hash tables of Rust's library are tested with. */
    cr_assert_eq(hash_siphash(&seed, in, 0), 0xabac0158050fc4dcu);
    for (size_t len = 0; len < sizeof in; len++) {
        cr_assert_eq(hash_siphash(&seed, in, len), reference_siphash(1, 3, seed.k0, seed.k1, in, len), "length %zu",
                     len);
        struct hash_seed other = {hash_mix(len), hash_mix(~len)};
        cr_assert_eq(hash_siphash(&other, in, len), reference_siphash(1, 3, other.k0, other.k1, in, len));
    }
}

Test(hash, siphash128_depends_on_every_byte_and_its_halves_differ)
{
    struct hash_seed seed = {1, 2};
    uint8_t in[64] = {0}, a[16], b[16];
    hash_siphash128(&seed, in, sizeof in, a);
    cr_assert_neq(memcmp(a, a + 8, 8), 0);
    for (size_t i = 0; i < sizeof in; i++) {
        in[i] ^= 1;
        hash_siphash128(&seed, in, sizeof in, b);
        cr_assert_neq(memcmp(a, b, 8), 0);
        cr_assert_neq(memcmp(a + 8, b + 8, 8), 0);
        in[i] ^= 1;
    }
    hash_siphash128(&seed, in, 63, b);
    cr_assert_neq(memcmp(a, b, 16), 0);
}

Test(hash, crc16_and_slots_are_those_of_redis_cluster)
{
    cr_assert_eq(crc16("123456789", 9), 0x31c3);
    cr_assert_eq(hash_slot(SLICE_LIT("123456789")), 12739);
    cr_assert_eq(hash_slot(SLICE_LIT("")), 0);
    cr_assert_eq(hash_slot(SLICE_LIT("foo")), 12182);
    cr_assert_eq(hash_slot(SLICE_LIT("bar")), 5061);
    cr_assert_eq(hash_slot(SLICE_LIT("hello")), 866);
}

Test(hash, crc16_agrees_with_long_division_at_every_length)
{
    uint8_t in[100];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)hash_mix(i);
    for (size_t len = 0; len <= sizeof in; len++) {
        unsigned crc = 0;
        for (size_t i = 0; i < len; i++)
            for (int bit = 7; bit >= 0; bit--) {
                unsigned top = (crc >> 15 ^ (unsigned)in[i] >> bit) & 1;
                crc = (crc << 1 & 0xffff) ^ (top ? 0x1021u : 0);
            }
        cr_assert_eq(crc16(in, len), crc);
    }
}

Test(hash, only_a_non_empty_hash_tag_counts)
{
    cr_assert_eq(hash_slot(SLICE_LIT("{user1000}.following")), hash_slot(SLICE_LIT("user1000")));
    cr_assert_eq(hash_slot(SLICE_LIT("{user1000}.followers")), hash_slot(SLICE_LIT("user1000")));
    cr_assert_eq(hash_slot(SLICE_LIT("foo{}{bar}")), crc16("foo{}{bar}", 10) & 16383);
    cr_assert_eq(hash_slot(SLICE_LIT("foo{{bar}}zap")), hash_slot(SLICE_LIT("{bar")));
    cr_assert_eq(hash_slot(SLICE_LIT("foo{bar}{zap}")), hash_slot(SLICE_LIT("bar")));
    cr_assert_eq(hash_slot(SLICE_LIT("foo{bar")), crc16("foo{bar", 7) & 16383);
    cr_assert_eq(hash_slot(SLICE_LIT("foo}bar{")), crc16("foo}bar{", 8) & 16383);
}

Test(hash, checksum_is_xxh3_and_the_salt_can_come_later)
{
    cr_assert_eq(checksum32("", 0, 0), 0x38d394c2u, "XXH3_64 of nothing is 2d06800538d394c2");
    uint32_t plain = checksum32("hello", 5, 0);
    cr_assert_eq(checksum32_bind(plain, 77), checksum32("hello", 5, 77));
    cr_assert_neq(checksum32("hello", 5, 77), checksum32("hello", 5, 78));
}

/* ---- histogram ---------------------------------------------------------------------------------------------- */

Test(histogram, a_quantile_is_off_by_a_sixteenth_at_most)
{
    struct histogram h;
    histogram_init(&h);
    cr_assert_eq(histogram_quantile(&h, 0.5), 0);
    for (uint64_t v = 1; v <= 100000; v++)
        histogram_record(&h, v);
    cr_assert_eq(h.count, 100000);
    cr_assert_eq(h.sum, (uint64_t)100000 * 100001 / 2);
    cr_assert_eq(h.max, 100000);
    for (double q = 0.01; q < 1; q += 0.01) {
        double got = (double)histogram_quantile(&h, q), want = q * 100000;
        cr_assert_geq(got, want - 1);
        cr_assert_leq(got, want * 17 / 16 + 1);
    }
    cr_assert_eq(histogram_quantile(&h, 1), 100000);
    cr_assert_eq(histogram_at_most(&h, UINT64_MAX), 100000);
    cr_assert_eq(histogram_at_most(&h, 0), 0);
    cr_assert_eq(histogram_at_most(&h, 15), 15);
    histogram_fini(&h);
}

Test(histogram, the_ends_of_the_range_are_held)
{
    struct histogram a, b;
    histogram_init(&a);
    histogram_init(&b);
    histogram_record(&a, 0);
    histogram_record(&a, UINT64_MAX);
    cr_assert_eq(histogram_quantile(&a, 0.1), 0);
    cr_assert_eq(histogram_quantile(&a, 1), UINT64_MAX);
    histogram_merge(&b, &a);
    cr_assert_eq(b.count, 2);
    cr_assert_eq(histogram_quantile(&b, 1), UINT64_MAX);
    histogram_reset(&b);
    cr_assert_eq(histogram_quantile(&b, 1), 0);
    histogram_fini(&a);
    histogram_fini(&b);
}

/* The codec of metadata records. What must hold:
 *   - what is encoded decodes to the same, and a plain value costs three bytes;
 *   - any other bytes give RES_CORRUPT: every record that decodes is the one spelling of what it says, so a damaged byte
 *     is either noticed or makes another whole record, and nothing is read outside the record. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "store/elements.h"
#include "store/meta.h"

static uint64_t state = 1;
static uint64_t draw(uint64_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return below ? (state >> 20) % below : 0;
}

/* A copy that ends where the heap block ends, so that a sanitizer sees one byte too many. */
static uint8_t *exact_copy(struct slice s)
{
    uint8_t *p = malloc(s.len ? s.len : 1);
    if (s.len)
        memcpy(p, s.data, s.len);
    return p;
}

static size_t encode(uint8_t *out, const struct meta *m)
{
    uint8_t *end = meta_encode_head(out, m);
    cr_assert_eq((size_t)(end - out), meta_head_size(m));
    if (m->value.len)
        memcpy(end, m->value.data, m->value.len);
    return (size_t)(end - out) + m->value.len;
}

static uint8_t pool[70000];

static struct meta random_meta(void)
{
    static const enum object_encoding string_encodings[] = {ENCODING_RAW, ENCODING_EMBSTR, ENCODING_INT};
    struct meta m = {.type = TYPE_STRING, .encoding = string_encodings[draw(2)]};
    for (size_t i = 0; i < sizeof pool; i++)
        pool[i] = (uint8_t)(i * 31 + state);
    if (draw(2)) {
        m.expire_ms = 1 + draw(UINT64_MAX >> draw(60));
        m.index_ms = m.expire_ms - (draw(2) ? 0 : draw(m.expire_ms < 100000 ? m.expire_ms : 100000));
    }
    if (draw(3) == 0)
        m.long_key = slice_of(pool, STORE_KEY_INLINE + 1 + draw(200));
    static uint8_t attributes[64];
    if (draw(3) == 0) {
        size_t n = draw(40);
        attributes[0] = (uint8_t)draw(256);
        attributes[1] = (uint8_t)n;
        memcpy(attributes + 2, pool, n);
        m.attributes = slice_of(attributes, n + 2);
    }
    if (draw(3) == 0) {
        m.pieces = true;
        m.encoding = ENCODING_RAW;
        m.id = 1 + draw(UINT64_MAX >> draw(60));
        m.home = (uint16_t)draw(16384);
        m.length = 1 + draw(STORE_STRING_MAX);
    } else {
        m.length = draw(draw(2) ? 30 : 300);
        m.value = slice_of(pool + 1000, m.length);
    }
    return m;
}

/* Of a set, a hash, a list ...: inline with a count, or pieces, with hints or without. */
static struct meta random_collection(void)
{
    static const enum object_encoding first[] = {
        [TYPE_LIST] = ENCODING_QUICKLIST, [TYPE_SET] = ENCODING_INTSET,    [TYPE_ZSET] = ENCODING_SKIPLIST,
        [TYPE_HASH] = ENCODING_HASHTABLE, [TYPE_STREAM] = ENCODING_STREAM,
    };
    struct meta m = random_meta();
    m.type = (enum object_type)(TYPE_LIST + draw(TYPE_STREAM - TYPE_LIST + 1));
    m.encoding = first[m.type];
    m.count = (m.type != TYPE_STREAM) + draw(100);
    if (draw(2))
        m.hints = slice_of(pool + 500, 1 + draw(ELEMENTS_HINTS_MAX));
    if (m.type == TYPE_HASH && draw(2)) {
        m.fields_ms = 1 + draw(UINT64_MAX >> draw(60));
        m.index_ms = meta_due(&m) - (draw(2) ? 0 : draw(meta_due(&m) < 100000 ? meta_due(&m) : 100000));
    }
    if (m.pieces) {
        m.count += draw(UINT64_MAX >> (7 + draw(50)));
        m.length = draw(UINT64_MAX >> (7 + draw(50)));
    } else {
        m.length = m.count * 2 + draw(ELEMENTS_INLINE_BYTES - m.count * 2 + 1);
        m.value = slice_of(pool + 1000, m.length);
    }
    return m;
}
static struct meta random_any(void) { return draw(2) ? random_collection() : random_meta(); }

static void check_same(const struct meta *a, const struct meta *b)
{
    cr_assert_eq(a->type, b->type);
    cr_assert_eq(a->encoding, b->encoding);
    cr_assert_eq(a->pieces, b->pieces);
    cr_assert_eq(a->home, b->home);
    cr_assert_eq(a->expire_ms, b->expire_ms);
    cr_assert_eq(a->fields_ms, b->fields_ms);
    cr_assert_eq(a->index_ms, b->index_ms);
    cr_assert_eq(a->id, b->id);
    cr_assert_eq(a->length, b->length);
    cr_assert_eq(a->count, b->count);
    cr_assert(slice_eq(a->hints, b->hints));
    cr_assert(slice_eq(a->long_key, b->long_key));
    cr_assert(slice_eq(a->attributes, b->attributes));
    cr_assert(slice_eq(a->value, b->value));
}

/* Either refused, or the only spelling of what it decodes to. */
static bool refused_or_canonical(struct slice record)
{
    uint8_t *copy = exact_copy(record), again[2048];
    struct meta m;
    enum result r = meta_decode(slice_of(copy, record.len), &m);
    bool decoded = r == RES_OK;
    if (decoded) {
        cr_assert_leq(meta_head_size(&m) + m.value.len, sizeof again);
        size_t n = encode(again, &m);
        cr_assert(slice_eq(slice_of(again, n), record), "a record with two spellings");
    } else {
        cr_assert_eq(r, RES_CORRUPT);
    }
    free(copy);
    return decoded;
}

Test(store_meta, a_plain_value_costs_three_bytes)
{
    struct meta m = {.type = TYPE_STRING, .encoding = ENCODING_EMBSTR, .value = SLICE_LIT("value"), .length = 5};
    cr_assert_eq(meta_head_size(&m), 3);
    uint8_t bytes[16];
    cr_assert_eq(encode(bytes, &m), 8);
    cr_assert_arr_eq(bytes, "\x01\x02\x00value", 8);
}

Test(store_meta, what_is_encoded_decodes_to_the_same)
{
    for (int i = 0; i < 20000; i++) {
        struct meta m = random_any(), back;
        uint8_t bytes[2048];
        size_t n = encode(bytes, &m);
        cr_assert_eq(meta_decode(slice_of(bytes, n), &back), RES_OK);
        check_same(&m, &back);
    }
}

Test(store_meta, every_flipped_byte_is_refused_or_another_whole_record)
{
    unsigned long refused = 0;
    for (int i = 0; i < 300; i++) {
        struct meta m = random_any();
        uint8_t bytes[2048];
        size_t n = encode(bytes, &m), head = meta_head_size(&m);
        for (size_t at = 0; at < head; at++)
            for (unsigned bit = 0; bit < 8; bit++) {
                bytes[at] ^= (uint8_t)(1 << bit);
                refused += !refused_or_canonical(slice_of(bytes, n));
                bytes[at] ^= (uint8_t)(1 << bit);
            }
        for (int k = 0; k < 20; k++) {
            uint8_t old = bytes[draw(head)], *at = &bytes[draw(head)];
            uint8_t was = *at;
            *at = (uint8_t)(old ^ draw(256));
            refused_or_canonical(slice_of(bytes, n));
            *at = was;
        }
    }
    cr_assert_gt(refused, 1000);
}

Test(store_meta, a_cut_head_is_refused)
{
    for (int i = 0; i < 1000; i++) {
        struct meta m = random_any();
        uint8_t bytes[2048];
        size_t n = encode(bytes, &m), head = meta_head_size(&m);
        for (size_t len = 0; len < head; len++)
            cr_assert_not(refused_or_canonical(slice_of(bytes, len)), "cut at %zu of %zu", len, head);
        if (m.pieces)
            cr_assert_not(refused_or_canonical(slice_of(bytes, n + 1)), "a byte behind pieces");
    }
}

Test(store_meta, random_bytes_never_harm)
{
    uint8_t bytes[64];
    for (int i = 0; i < 300000; i++) {
        size_t n = draw(sizeof bytes);
        for (size_t k = 0; k < n; k++)
            bytes[k] = (uint8_t)draw(draw(2) ? 256 : 4);
        if (n > 2 && draw(4)) {
            bytes[0] = 1;
            bytes[1] = (uint8_t)(draw(6) << 4 | draw(9));
            bytes[2] = (uint8_t)draw(64);
        }
        refused_or_canonical(slice_of(bytes, n));
    }
}

Test(store_meta, limits_are_kept)
{
    struct meta m;
    uint8_t *big = calloc(1, STORE_INLINE_STRING + 4);
    big[0] = 1;
    cr_assert_eq(meta_decode(slice_of(big, STORE_INLINE_STRING + 3), &m), RES_OK);
    cr_assert_eq(meta_decode(slice_of(big, STORE_INLINE_STRING + 4), &m), RES_CORRUPT);
    free(big);
    struct {
        const char *bytes;
        size_t len;
        const char *why;
    } bad[] = {
        {"\x02\x00\x00", 3, "another format"},
        {"\x01\x03\x00", 3, "a string that is a listpack"},
        {"\x01\x62\x00", 3, "no such type"},
        {"\x01\x00\x40", 3, "an unknown flag"},
        {"\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", 12, "an expiry of 0"},
        {"\x01\x00\x01\x05\x00\x00\x00\x00\x00\x00\x00\x05", 12, "an index entry at 0"},
        {"\x01\x00\x01\x05\x00\x00\x00\x00\x00\x00\x00\x06", 12, "an index entry below 0"},
        {"\x01\x00\x01\x05\x00\x00\x00\x00\x00\x00\x00\x80\x00", 13, "a varint that is too long"},
        {"\x01\x00\x02\x00", 4, "attributes of no bytes"},
        {"\x01\x00\x02\x02\x07\x05", 6, "an attribute longer than all of them"},
        {"\x01\x00\x08\x01k", 5, "a long key that is short"},
        {"\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05", 14, "object id 0"},
        {"\x01\x00\x04\x01\x00\x00\x00\x00\x00\x00\x00\x00\x40\x05", 14, "home slot 16384"},
        {"\x01\x00\x04\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 14, "no bytes in pieces"},
        {"\x01\x00\x10\x01h", 5, "a string with hints"},
        {"\x01\x26\x20\x05\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01", 15, "a set with fields that expire"},
        {"\x01\x43\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01", 15, "fields that expire at 0"},
        {"\x01\x26\x10\x00\x01\x01\x01", 7, "hints of no bytes"},
        {"\x01\x26\x00\x00", 4, "a set without elements"},
        {"\x01\x26\x00\x02\x01\x01\x01", 7, "two elements in three bytes"},
        {"\x01\x26\x04\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05", 15, "a set of no pieces"},
        {"\x01\x01\x00"
         "123456789012345678901",
         24, "an integer of 21 digits"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(meta_decode(slice_of(bad[i].bytes, bad[i].len), &m), RES_CORRUPT, "%s", bad[i].why);
}

/* Hash functions. SipHash is written after the paper's definition (one compression round a word, three at the end);
 * CRC16 takes eight bytes a step with the tables of M. E. Kounavis and F. L. Berry ("A systematic approach to building
 * high performance software-based CRC generators", 2005). */
#define XXH_INLINE_ALL
#include "base/hash.h"

#include <xxhash.h>

#include "base/bytes.h"
#include "config.h"

static inline uint64_t rotl(uint64_t x, int n) { return x << n | x >> (64 - n); }

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 = rotl(s->v2, 32);
}

static inline struct sip sip_start(const struct hash_seed *seed)
{
    return (struct sip){
        .v0 = seed->k0 ^ 0x736f6d6570736575u,
        .v1 = seed->k1 ^ 0x646f72616e646f6du,
        .v2 = seed->k0 ^ 0x6c7967656e657261u,
        .v3 = seed->k1 ^ 0x7465646279746573u,
    };
}

static inline void sip_word(struct sip *s, uint64_t m)
{
    s->v3 ^= m;
    sip_round(s);
    s->v0 ^= m;
}

/* The last 0 to 7 bytes with the length above them. Two overlapping loads instead of a loop over the bytes. */
static inline uint64_t sip_tail(const uint8_t *p, size_t left, size_t len)
{
    uint64_t m = (uint64_t)len << 56;
    if (left >= 4)
        return m | get_le32(p) | (uint64_t)get_le32(p + left - 4) << (8 * (left - 4));
    if (left == 0)
        return m;
    return m | p[0] | (uint64_t)p[left / 2] << (8 * (left / 2)) | (uint64_t)p[left - 1] << (8 * (left - 1));
}

static inline void sip_body(struct sip *s, const uint8_t *p, size_t len)
{
    if (len == 0) /* an empty slice may have no bytes to point at */
        p = (const uint8_t *)"";
    const uint8_t *words_end = p + (len & ~(size_t)7);
    for (; p != words_end; p += 8)
        sip_word(s, get_le64(p));
    sip_word(s, sip_tail(p, len & 7, len));
}

static inline uint64_t sip_end(struct sip *s)
{
    sip_round(s);
    sip_round(s);
    sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t hash_siphash(const struct hash_seed *seed, const void *data, size_t len)
{
    struct sip s = sip_start(seed);
    sip_body(&s, data, len);
    s.v2 ^= 0xff;
    return sip_end(&s);
}

void hash_siphash128(const struct hash_seed *seed, const void *data, size_t len, uint8_t out[16])
{
    struct sip s = sip_start(seed);
    s.v1 ^= 0xee;
    sip_body(&s, data, len);
    s.v2 ^= 0xee;
    put_le64(out, sip_end(&s));
    s.v1 ^= 0xdd;
    put_le64(out + 8, sip_end(&s));
}

uint32_t checksum32(const void *data, size_t len, uint64_t salt)
{
    return checksum32_bind((uint32_t)XXH3_64bits(data, len), salt);
}

bool checksum32_any;

bool checksum32_holds(uint32_t stored, const void *data, size_t len, uint64_t salt)
{
#ifdef VARVE_FUZZING
    if (checksum32_any)
        return true;
#endif
    return stored == checksum32(data, len, salt);
}

/* crc_table[k][b]: the remainder of byte b followed by k zero bytes. Filled before main. */
static uint16_t crc_table[8][256];

__attribute__((constructor)) static void crc_init(void)
{
    for (unsigned b = 0; b < 256; b++) {
        unsigned crc = b << 8;
        for (int i = 0; i < 8; i++)
            crc = crc << 1 ^ (crc & 0x8000 ? 0x1021 : 0);
        crc_table[0][b] = (uint16_t)crc;
    }
    for (int k = 1; k < 8; k++)
        for (unsigned b = 0; b < 256; b++) {
            uint16_t prev = crc_table[k - 1][b];
            crc_table[k][b] = (uint16_t)(prev << 8 ^ crc_table[0][prev >> 8]);
        }
}

uint16_t crc16(const void *data, size_t len)
{
    const uint8_t *p = data;
    unsigned crc = 0;

    for (; len >= 8; p += 8, len -= 8)
        crc = (unsigned)(crc_table[7][p[0] ^ crc >> 8] ^ crc_table[6][p[1] ^ (crc & 0xff)] ^ crc_table[5][p[2]] ^
                         crc_table[4][p[3]] ^ crc_table[3][p[4]] ^ crc_table[2][p[5]] ^ crc_table[1][p[6]] ^
                         crc_table[0][p[7]]);
    for (; len; p++, len--)
        crc = (crc << 8 & 0xff00) ^ crc_table[0][crc >> 8 ^ *p];
    return (uint16_t)crc;
}

uint16_t hash_slot(struct slice key)
{
    const uint8_t *open = key.len ? memchr(key.data, '{', key.len) : NULL;
    if (open) {
        const uint8_t *tag = open + 1;
        const uint8_t *close = memchr(tag, '}', (size_t)(key.data + key.len - tag));
        if (close && close != tag)
            key = slice_of(tag, (size_t)(close - tag));
    }
    return crc16(key.data, key.len) & 16383;
}

uint64_t hash_content(const void *data, size_t len) { return XXH3_64bits(data, len); }

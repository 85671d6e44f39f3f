/* LZF: see lzf.h. */
#include "base/lzf.h"

#include "base/bytes.h"

#define PLAIN_MAX 32
#define STEP 16
#define DISTANCE_MAX 8192
#define REPEAT_MIN 3
#define REPEAT_MAX 264
#define HASH_BITS_MIN 6
#define HASH_BITS_MAX 13

/* Copies n bytes in steps of 16, up to 15 more than asked for; `from` is at least 16 below `to`, or elsewhere. */
static inline void copy_steps(uint8_t *to, const uint8_t *from, size_t n)
{
    for (size_t i = 0; i < n; i += STEP)
        memcpy(to + i, from + i, STEP);
}

bool lzf_expand(struct slice in, uint8_t *out, size_t len)
{
    const uint8_t *p = in.data, *end = in.data + in.len;
    size_t at = 0;
    while (p < end) {
        size_t control = *p++;
        if (control < PLAIN_MAX) {
            size_t n = control + 1;
            if ((size_t)(end - p) < n || len - at < n)
                return false;
            if (end - p >= PLAIN_MAX && len - at >= PLAIN_MAX)
                memcpy(out + at, p, PLAIN_MAX);
            else
                memcpy(out + at, p, n);
            p += n;
            at += n;
            continue;
        }
        size_t n = control >> 5;
        if (n == 7) {
            if (p == end)
                return false;
            n += *p++;
        }
        if (p == end)
            return false;
        size_t distance = ((control & 31) << 8 | *p++) + 1;
        n += 2;
        if (distance > at || len - at < n)
            return false;
        if (distance >= STEP && len - at >= n + STEP) {
            copy_steps(out + at, out + at - distance, n);
            at += n;
            continue;
        }
        if (distance >= n) {
            memcpy(out + at, out + at - distance, n);
            at += n;
            continue;
        }
        for (; n; n--, at++) /* byte by byte: it overlaps itself */
            out[at] = out[at - distance];
    }
    return at == len;
}

struct output {
    uint8_t *next, *end;
    bool full;
};

static void put_plain(struct output *o, const uint8_t *from, const uint8_t *to)
{
    while (from < to) {
        size_t n = (size_t)(to - from) < PLAIN_MAX ? (size_t)(to - from) : PLAIN_MAX;
        if ((size_t)(o->end - o->next) < n + 1) {
            o->full = true;
            return;
        }
        *o->next++ = (uint8_t)(n - 1);
        memcpy(o->next, from, n);
        o->next += n;
        from += n;
    }
}

static void put_repeat(struct output *o, size_t distance, size_t n)
{
    if (o->end - o->next < 3) {
        o->full = true;
        return;
    }
    distance--;
    n -= 2;
    *o->next++ = (uint8_t)((n < 7 ? n : 7) << 5 | distance >> 8);
    if (n >= 7)
        *o->next++ = (uint8_t)(n - 7);
    *o->next++ = (uint8_t)distance;
}

static uint32_t hash3(const uint8_t *p, unsigned bits)
{
    return ((uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2]) * UINT32_C(2654435761) >> (32 - bits);
}

/* How many bytes, up to most, are the same in both. */
static size_t same_bytes(const uint8_t *a, const uint8_t *b, size_t most)
{
    size_t n = 0;
    for (; most - n >= 8; n += 8) {
        uint64_t differ = get_le64(a + n) ^ get_le64(b + n);
        if (differ)
            return n + (size_t)__builtin_ctzll(differ) / 8;
    }
    while (n < most && a[n] == b[n])
        n++;
    return n;
}

size_t lzf_compress(struct slice in, uint8_t *out, size_t cap)
{
    uint32_t seen[1 << HASH_BITS_MAX]; /* where three bytes of this hash were last: 1 more than the place */
    struct output o = {out, out + cap, false};
    unsigned bits = HASH_BITS_MIN;
    while (bits < HASH_BITS_MAX && (size_t)1 << bits < in.len)
        bits++;
    memset(seen, 0, sizeof *seen << bits);
    const uint8_t *start = in.data, *plain = start;
    size_t at = 0;
    while (in.len - at >= REPEAT_MIN && !o.full && at < UINT32_MAX) {
        uint32_t *slot = &seen[hash3(start + at, bits)];
        size_t before = *slot;
        *slot = (uint32_t)at + 1;
        if (!before-- || at - before > DISTANCE_MAX || memcmp(start + before, start + at, REPEAT_MIN) != 0) {
            at++;
            continue;
        }
        size_t n = same_bytes(start + before, start + at, in.len - at < REPEAT_MAX ? in.len - at : REPEAT_MAX);
        put_plain(&o, plain, start + at);
        put_repeat(&o, at - before, n);
        at += n;
        plain = start + at;
    }
    put_plain(&o, plain, in.data + in.len);
    return o.full ? 0 : (size_t)(o.next - out);
}

/* LZF: see lzf.h. */
#include "base/lzf.h"

#define PLAIN_MAX 32
#define DISTANCE_MAX 8192
#define REPEAT_MIN 3
#define REPEAT_MAX 264
#define HASH_BITS_MIN 6
#define HASH_BITS_MAX 13

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
        for (; n; n--, at++) /* byte by byte: a repetition may overlap itself */
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
        size_t n = REPEAT_MIN, most = in.len - at < REPEAT_MAX ? in.len - at : REPEAT_MAX;
        while (n < most && start[before + n] == start[at + n])
            n++;
        put_plain(&o, plain, start + at);
        put_repeat(&o, at - before, n);
        at += n;
        plain = start + at;
    }
    put_plain(&o, plain, in.data + in.len);
    return o.full ? 0 : (size_t)(o.next - out);
}

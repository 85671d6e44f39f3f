/* HyperLogLog: see hll.h. */
#include "cmd/hll.h"

#include <assert.h>
#include <math.h>

#include "base/bytes.h"

#define INDEX_BITS 14
#define RANK_BITS (64 - INDEX_BITS)
#define ALPHA 0.721347520444481703680 /* 1 / (2 ln 2) */

/* Runs of the sparse form. */
#define ZEROS_MAX 64
#define LONG_ZEROS_MAX 16384
#define VALUE_MAX 32
#define VALUES_MAX 4
enum run_kind { RUN_ZEROS, RUN_LONG_ZEROS, RUN_VALUES };
struct run_of {
    enum run_kind kind;
    unsigned bytes, count;
    uint8_t value;
};

static bool read_run(const uint8_t *p, const uint8_t *end, struct run_of *out)
{
    if (p == end)
        return false;
    if (*p & 0x80) {
        *out = (struct run_of){RUN_VALUES, 1, (*p & 3u) + 1, (uint8_t)((*p >> 2 & 31) + 1)};
    } else if (*p & 0x40) {
        if (end - p < 2)
            return false;
        *out = (struct run_of){RUN_LONG_ZEROS, 2, ((*p & 63u) << 8 | p[1]) + 1, 0};
    } else {
        *out = (struct run_of){RUN_ZEROS, 1, *p + 1u, 0};
    }
    return true;
}

static uint8_t *put_zeros(uint8_t *p, unsigned count)
{
    if (count > ZEROS_MAX)
        *p++ = (uint8_t)(0x40 | (count - 1) >> 8);
    *p++ = (uint8_t)(count - 1);
    return p;
}

static uint8_t *put_values(uint8_t *p, uint8_t value, unsigned count)
{
    *p++ = (uint8_t)(0x80 | (value - 1u) << 2 | (count - 1));
    return p;
}

/* ---- dense registers ---- */

static uint8_t get_register(const uint8_t *registers, unsigned index)
{
    unsigned bit = index * 6, shift = bit % 8;
    const uint8_t *p = registers + bit / 8;
    unsigned window = shift > 2 ? (unsigned)p[0] | (unsigned)p[1] << 8 : p[0];
    return window >> shift & 63;
}

static void set_register(uint8_t *registers, unsigned index, uint8_t value)
{
    unsigned bit = index * 6, shift = bit % 8;
    uint8_t *p = registers + bit / 8;
    p[0] = (uint8_t)((p[0] & ~(63u << shift)) | (unsigned)value << shift);
    if (shift > 2)
        p[1] = (uint8_t)((p[1] & ~(63u >> (8 - shift))) | (unsigned)value >> (8 - shift));
}

/* ---- whole ones ---- */

bool hll_is(struct slice bytes)
{
    return bytes.len >= HLL_HEAD && memcmp(bytes.data, "HYLL", 4) == 0 && bytes.data[4] <= 1 &&
           (bytes.data[4] || bytes.len == HLL_DENSE_SIZE);
}

static enum result reserve(struct hll *h, size_t cap)
{
    if (cap <= h->cap)
        return RES_OK;
    uint8_t *p = arena_alloc(h->arena, cap * 2);
    if (!p)
        return RES_NO_MEMORY;
    if (h->len)
        memcpy(p, h->bytes, h->len);
    h->bytes = p;
    h->cap = cap * 2;
    return RES_OK;
}

enum result hll_new(struct hll *h, struct arena *arena, uint64_t sparse_max)
{
    *h = (struct hll){.arena = arena, .sparse_max = sparse_max};
    enum result r = reserve(h, 64);
    if (r != RES_OK)
        return r;
    memset(h->bytes, 0, HLL_HEAD);
    memcpy(h->bytes, "HYLL\1", 5);
    h->bytes[HLL_HEAD] = 0x40 | (HLL_REGISTERS - 1) >> 8;
    h->bytes[HLL_HEAD + 1] = (HLL_REGISTERS - 1) & 255;
    h->len = HLL_HEAD + 2;
    return RES_OK;
}

enum result hll_copy(struct hll *h, struct arena *arena, struct slice bytes, uint64_t sparse_max)
{
    *h = (struct hll){.arena = arena, .sparse_max = sparse_max};
    enum result r = reserve(h, bytes.len + 64);
    if (r == RES_OK)
        memcpy(h->bytes, bytes.data, bytes.len);
    h->len = bytes.len;
    return r;
}

void hll_forget_count(struct hll *h) { h->bytes[15] |= 0x80; }

void hll_keep_count(struct hll *h, uint64_t count) { put_le64(h->bytes + 8, count); }

bool hll_known_count(struct slice bytes, uint64_t *count)
{
    *count = get_le64(bytes.data + 8);
    return !(*count >> 63);
}

enum result hll_merge(uint8_t registers[HLL_REGISTERS], struct slice bytes)
{
    if (hll_is_dense(bytes)) {
        for (unsigned i = 0; i < HLL_REGISTERS; i++) {
            uint8_t value = get_register(bytes.data + HLL_HEAD, i);
            if (value > registers[i])
                registers[i] = value;
        }
        return RES_OK;
    }
    const uint8_t *p = bytes.data + HLL_HEAD, *end = bytes.data + bytes.len;
    unsigned at = 0;
    for (struct run_of run; p < end; p += run.bytes) {
        if (!read_run(p, end, &run) || run.count > HLL_REGISTERS - at)
            return RES_CORRUPT;
        for (unsigned i = 0; run.value && i < run.count; i++)
            if (run.value > registers[at + i])
                registers[at + i] = run.value;
        at += run.count;
    }
    return at == HLL_REGISTERS ? RES_OK : RES_CORRUPT;
}

enum result hll_to_dense(struct hll *h)
{
    if (h->bytes[4] == 0)
        return RES_OK;
    uint8_t *registers = arena_alloc(h->arena, HLL_REGISTERS), head[HLL_HEAD];
    if (!registers)
        return RES_NO_MEMORY;
    memset(registers, 0, HLL_REGISTERS);
    memcpy(head, h->bytes, HLL_HEAD);
    enum result r = hll_merge(registers, slice_of(h->bytes, h->len));
    if (r == RES_OK)
        r = reserve(h, HLL_DENSE_SIZE);
    if (r != RES_OK)
        return r;
    memset(h->bytes, 0, HLL_DENSE_SIZE);
    memcpy(h->bytes, head, HLL_HEAD);
    h->bytes[4] = 0;
    h->len = HLL_DENSE_SIZE;
    for (unsigned i = 0; i < HLL_REGISTERS; i++)
        set_register(h->bytes + HLL_HEAD, i, registers[i]);
    return RES_OK;
}

/* ---- adding ---- */

static bool raise_dense(struct hll *h, unsigned index, uint8_t value)
{
    if (get_register(h->bytes + HLL_HEAD, index) >= value)
        return false;
    set_register(h->bytes + HLL_HEAD, index, value);
    return true;
}

/* Joins runs of equal values, in the five runs from `at` on: as far as Redis looks. */
static void join_runs(struct hll *h, size_t at)
{
    for (unsigned steps = 5; at < h->len && steps; steps--) {
        struct run_of here, next;
        if (!read_run(h->bytes + at, h->bytes + h->len, &here))
            return;
        if (here.kind == RUN_VALUES && read_run(h->bytes + at + 1, h->bytes + h->len, &next) &&
            next.kind == RUN_VALUES && next.value == here.value && here.count + next.count <= VALUES_MAX) {
            put_values(h->bytes + at, here.value, here.count + next.count);
            memmove(h->bytes + at + 1, h->bytes + at + 2, h->len - at - 2);
            h->len--;
            continue;
        }
        at += here.bytes;
    }
}

/* The run that holds register `index`, which is raised, becomes up to three. */
static size_t split_run(const struct run_of *run, unsigned before, uint8_t value, uint8_t out[5])
{
    uint8_t *p = out;
    unsigned after = run->count - before - 1;
    if (before)
        p = run->value ? put_values(p, run->value, before) : put_zeros(p, before);
    p = put_values(p, value, 1);
    if (after)
        p = run->value ? put_values(p, run->value, after) : put_zeros(p, after);
    return (size_t)(p - out);
}

enum result hll_raise(struct hll *h, unsigned index, uint8_t value, bool *changed)
{
    enum result r = RES_OK;
    bool dense = h->bytes[4] == 0;
    if (!dense && value > VALUE_MAX) {
        r = hll_to_dense(h);
        dense = true;
    }
    if (r == RES_OK)
        r = reserve(h, h->len + 3);
    if (r != RES_OK)
        return r;
    if (dense) {
        *changed |= raise_dense(h, index, value);
        return RES_OK;
    }
    size_t at = HLL_HEAD, previous = HLL_HEAD;
    unsigned first = 0;
    struct run_of run;
    for (;; previous = at, at += run.bytes, first += run.count) {
        if (!read_run(h->bytes + at, h->bytes + h->len, &run))
            return RES_CORRUPT;
        if (index < first + run.count)
            break;
    }
    if (run.value >= value)
        return RES_OK;
    uint8_t split[5];
    size_t len = split_run(&run, index - first, value, split);
    if (len > run.bytes && h->len + len - run.bytes > h->sparse_max) {
        r = hll_to_dense(h);
        *changed |= r == RES_OK && raise_dense(h, index, value);
        return r;
    }
    memmove(h->bytes + at + len, h->bytes + at + run.bytes, h->len - at - run.bytes);
    memcpy(h->bytes + at, split, len);
    h->len = h->len + len - run.bytes;
    join_runs(h, previous);
    *changed = true;
    return RES_OK;
}

static uint64_t murmur64a(struct slice s, uint64_t seed)
{
    const uint64_t m = 0xc6a4a7935bd1e995u;
    uint64_t h = seed ^ s.len * m;
    for (; s.len >= 8; s.data += 8, s.len -= 8) {
        uint64_t k = get_le64(s.data) * m;
        h = (h ^ (k ^ k >> 47) * m) * m;
    }
    if (s.len) {
        uint8_t rest[8] = {0};
        memcpy(rest, s.data, s.len);
        h = (h ^ get_le64(rest)) * m;
    }
    h = (h ^ h >> 47) * m;
    return h ^ h >> 47;
}

enum result hll_add(struct hll *h, struct slice element, bool *changed)
{
    uint64_t hash = murmur64a(element, 0xadc83b19);
    uint64_t rest = hash >> INDEX_BITS | UINT64_C(1) << RANK_BITS;
    return hll_raise(h, hash & (HLL_REGISTERS - 1), (uint8_t)(__builtin_ctzll(rest) + 1), changed);
}

/* ---- the estimate ---- */

static double sigma(double x)
{
    if (x == 1)
        return INFINITY;
    double y = 1, z = x, before;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (z != before);
    return z;
}

static double tau(double x)
{
    if (x == 0 || x == 1)
        return 0;
    double y = 1, z = 1 - x, before;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= pow(1 - x, 2) * y;
    } while (z != before);
    return z / 3;
}

uint64_t hll_count(const uint8_t registers[HLL_REGISTERS])
{
    unsigned histogram[64] = {0};
    const double m = HLL_REGISTERS;
    for (unsigned i = 0; i < HLL_REGISTERS; i++)
        histogram[registers[i] & 63]++;
    double z = m * tau((m - histogram[RANK_BITS + 1]) / m);
    for (int i = RANK_BITS; i >= 1; i--) {
        z += histogram[i];
        z *= 0.5;
    }
    z += m * sigma(histogram[0] / m);
    return (uint64_t)llroundl(ALPHA * m * m / z);
}

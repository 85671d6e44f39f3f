/* Logarithmic buckets: 0..15 have one each; above, 16 for every power of two. */
#include "base/histogram.h"

#include <stdbool.h>
#include <stdlib.h>

#define SUB_BITS 4
#define SUB (1 << SUB_BITS)

#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define STORE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#define ADD(x, v) STORE(x, LOAD(x) + (v)) /* not one atomic step: see the header's contract */

static uint64_t *buckets(const struct histogram *h) { return __atomic_load_n(&h->bucket, __ATOMIC_ACQUIRE); }

static unsigned bucket_of(uint64_t v)
{
    if (v < SUB)
        return (unsigned)v;
    unsigned e = 63 - (unsigned)__builtin_clzll(v);
    unsigned i = (e - SUB_BITS + 1) * SUB + (unsigned)(v >> (e - SUB_BITS) & (SUB - 1));
    return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1;
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_top(unsigned i)
{
    if (i < SUB)
        return i;
    unsigned shift = i / SUB - 1;
    return ((uint64_t)(SUB + i % SUB + 1) << shift) - 1;
}

void histogram_init(struct histogram *h) { *h = (struct histogram){0, 0, 0, NULL}; }

void histogram_fini(struct histogram *h)
{
    free(h->bucket);
    histogram_init(h);
}

static uint64_t *buckets_new(struct histogram *h)
{
    uint64_t *b = calloc(HISTOGRAM_BUCKETS, sizeof *b);
    uint64_t *expected = NULL;
    if (b && !__atomic_compare_exchange_n(&h->bucket, &expected, b, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        free(b);
        b = expected;
    }
    return b;
}

void histogram_record(struct histogram *h, uint64_t value)
{
    uint64_t *b = buckets(h);
    if (!b && !(b = buckets_new(h)))
        return; /* a missing sample is better than a failed command */
    ADD(b[bucket_of(value)], 1);
    ADD(h->count, 1);
    ADD(h->sum, value);
    if (value > LOAD(h->max))
        STORE(h->max, value);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    const uint64_t *src = buckets(from);
    if (!src)
        return;
    uint64_t *dst = buckets(into);
    if (!dst && !(dst = buckets_new(into)))
        return;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        ADD(dst[i], LOAD(src[i]));
    ADD(into->count, LOAD(from->count));
    ADD(into->sum, LOAD(from->sum));
    if (LOAD(from->max) > LOAD(into->max))
        STORE(into->max, LOAD(from->max));
}

void histogram_reset(struct histogram *h)
{
    uint64_t *b = buckets(h);
    for (unsigned i = 0; b && i < HISTOGRAM_BUCKETS; i++)
        STORE(b[i], 0);
    STORE(h->count, 0);
    STORE(h->sum, 0);
    STORE(h->max, 0);
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
    const uint64_t *b = buckets(h);
    if (!b)
        return 0;
    /* The sum of the buckets, not h->count: a writer may be between the two. */
    uint64_t total = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        total += LOAD(b[i]);
    if (!total)
        return 0;
    double want = q * (double)total;
    uint64_t max = LOAD(h->max), seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        seen += LOAD(b[i]);
        if (seen && (double)seen >= want)
            return bucket_top(i) < max ? bucket_top(i) : max;
    }
    return max;
}

uint64_t histogram_at_most(const struct histogram *h, uint64_t limit)
{
    const uint64_t *b = buckets(h);
    uint64_t n = 0;
    for (unsigned i = 0, last = bucket_of(limit); b && i <= last; i++)
        n += LOAD(b[i]);
    return n;
}

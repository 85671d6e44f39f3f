/* What the benchmark programs measure with: a monotonic clock and a latency histogram.
 *
 * The histogram is log-linear, 64 buckets for each power of two, so a quantile is right to 1.6 %; base/histogram.h, made
 * for a server that keeps hundreds of them, is four times coarser. One thread writes one histogram; merge them at the
 * end. A zeroed histogram is empty. */
#ifndef VARVE_TOOLS_BENCH_MEASURE_H
#define VARVE_TOOLS_BENCH_MEASURE_H

#include <stdint.h>
#include <time.h>

#define LATENCY_STEPS 64 /* buckets for each power of two */
#define LATENCY_BUCKETS (LATENCY_STEPS * 44)

struct latency {
    uint64_t bucket[LATENCY_BUCKETS];
    uint64_t count, max;
};

static inline uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void latency_add(struct latency *l, uint64_t ns)
{
    unsigned i = (unsigned)ns;
    if (ns >= LATENCY_STEPS) {
        unsigned exponent = 63 - (unsigned)__builtin_clzll(ns);
        i = (exponent - 5) * LATENCY_STEPS + (unsigned)((ns >> (exponent - 6)) & (LATENCY_STEPS - 1));
    }
    l->bucket[i < LATENCY_BUCKETS ? i : LATENCY_BUCKETS - 1]++;
    l->count++;
    if (ns > l->max)
        l->max = ns;
}

void latency_merge(struct latency *into, const struct latency *from);
/* The value that the share q (0..1) of all values does not exceed, in ns; 0 when empty. */
uint64_t latency_quantile(const struct latency *l, double q);

#endif

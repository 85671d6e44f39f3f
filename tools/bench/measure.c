#include "tools/bench/measure.h"

void latency_merge(struct latency *into, const struct latency *from)
{
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        into->bucket[i] += from->bucket[i];
    into->count += from->count;
    if (from->max > into->max)
        into->max = from->max;
}

static uint64_t bucket_start(unsigned i)
{
    if (i < LATENCY_STEPS)
        return i;
    unsigned exponent = i / LATENCY_STEPS + 5;
    return (uint64_t)(LATENCY_STEPS + i % LATENCY_STEPS) << (exponent - 6);
}

uint64_t latency_quantile(const struct latency *l, double q)
{
    if (l->count == 0)
        return 0;
    uint64_t wanted = (uint64_t)(q * (double)l->count + 0.5), seen = 0;
    if (wanted == 0)
        wanted = 1;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += l->bucket[i];
        if (seen >= wanted)
            return bucket_start(i);
    }
    return l->max;
}

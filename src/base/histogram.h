/* A latency histogram in nanoseconds: logarithmic buckets, 16 per power of two (error at most 1/16), 1 ns to 17 min.
 * record() is for one writer at a time or, with relaxed atomics, for several that may lose no more than a count in a
 * torn race; reading while it is written is allowed. Memory is allocated on the first record. */
#ifndef VARVE_BASE_HISTOGRAM_H
#define VARVE_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS (41 * 16)
struct histogram {
    uint64_t count, sum, max;
    uint64_t *bucket; /* HISTOGRAM_BUCKETS, or NULL before the first record */
};

void histogram_init(struct histogram *h);
void histogram_fini(struct histogram *h);
void histogram_record(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
void histogram_reset(struct histogram *h);
uint64_t histogram_quantile(const struct histogram *h, double q); /* q in 0..1; 0 when empty */
/* Number of values recorded that are <= limit (to bucket precision). */
uint64_t histogram_at_most(const struct histogram *h, uint64_t limit);

#endif

/* Zipf's law with exponent 0.99 (Gray et al., "Quickly generating billion-record synthetic databases", SIGMOD 1994). */
#ifndef VARVE_TOOLS_BENCH_ZIPF_H
#define VARVE_TOOLS_BENCH_ZIPF_H

#include <stdint.h>

struct zipf {
    uint64_t count;
    double zeta, alpha, eta;
};
void zipf_make(struct zipf *z, uint64_t count); /* takes a moment */
/* The rank, 0 the most popular, that a uniform number in [0, 1) stands for. */
uint64_t zipf_rank(const struct zipf *z, double uniform);

#endif

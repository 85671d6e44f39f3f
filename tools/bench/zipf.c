#include "tools/bench/zipf.h"

#include <math.h>

#define EXPONENT 0.99

void zipf_make(struct zipf *z, uint64_t count)
{
    double n = (double)count;
    z->count = count;
    z->zeta = 0;
    for (uint64_t i = 1; i <= count; i++)
        z->zeta += 1 / pow((double)i, EXPONENT);
    double zeta2 = 1 + 1 / pow(2, EXPONENT);
    z->alpha = 1 / (1 - EXPONENT);
    z->eta = (1 - pow(2 / n, 1 - EXPONENT)) / (1 - zeta2 / z->zeta);
}

uint64_t zipf_rank(const struct zipf *z, double uniform)
{
    double share = uniform * z->zeta;
    uint64_t rank;
    if (share < 1)
        rank = 0;
    else if (share < 1 + pow(0.5, EXPONENT))
        rank = 1;
    else
        rank = (uint64_t)((double)z->count * pow(z->eta * uniform - z->eta + 1, z->alpha));
    return rank < z->count ? rank : z->count - 1;
}

/* A blocked Bloom filter: all bits of a key lie in one line of 64 bytes, so that a question costs one cache miss
 * (F. Putze, P. Sanders, J. Singler: "Cache-, Hash- and Space-Efficient Bloom Filters", 2007). At ten bits a key about
 * one question in a hundred about an absent key is answered "perhaps".
 *
 * The high half of the key's hash chooses the line, the low half the bits in it: probe i looks at bit
 * (low * 0x9e3779b9^(i+1)) >> 23. This is part of the table format. */
#ifndef VARVE_ENGINE_LSM_FILTER_H
#define VARVE_ENGINE_LSM_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILTER_LINE 64
#define FILTER_PROBES 6
#define FILTER_BITS_PER_KEY 10

struct filter {
    const uint8_t *lines; /* NULL: no filter, every key may be there */
    uint32_t count;
};

static inline const uint8_t *filter_line(const struct filter *f, uint64_t hash)
{
    return f->lines + (size_t)(((hash >> 32) * f->count) >> 32) * FILTER_LINE;
}

static inline bool filter_may_hold(const struct filter *f, uint64_t hash)
{
    const uint8_t *line = filter_line(f, hash);
    uint32_t h = (uint32_t)hash;
    for (int i = 0; i < FILTER_PROBES; i++) {
        h *= 0x9e3779b9u;
        uint32_t bit = h >> 23;
        if (!(line[bit >> 3] >> (bit & 7) & 1))
            return false;
    }
    return true;
}

/* Lines for n keys. */
static inline uint32_t filter_lines_for(uint64_t n)
{
    uint64_t lines = (n * FILTER_BITS_PER_KEY + FILTER_LINE * 8 - 1) / (FILTER_LINE * 8);
    return lines ? lines > UINT32_MAX ? UINT32_MAX : (uint32_t)lines : 1;
}

/* `lines` is zeroed memory of count lines. */
static inline void filter_add(uint8_t *lines, uint32_t count, uint64_t hash)
{
    uint8_t *line = lines + (size_t)(((hash >> 32) * count) >> 32) * FILTER_LINE;
    uint32_t h = (uint32_t)hash;
    for (int i = 0; i < FILTER_PROBES; i++) {
        h *= 0x9e3779b9u;
        uint32_t bit = h >> 23;
        line[bit >> 3] |= (uint8_t)(1 << (bit & 7));
    }
}

#endif

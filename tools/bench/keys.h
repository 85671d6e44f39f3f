/* Keys, values and orders of enginebench. They depend on nothing but the numbers given, so that every engine and every
 * run sees the same.
 *
 * Key number i is 'M' and 15 decimal digits of 2i; an odd number is a certain miss inside the range of keys. (The first
 * byte is varve's region of metadata records; to the other engines it is a byte like any other.) A value begins with its
 * key's number, which every read verifies, and is half compressible. */
#ifndef VARVE_TOOLS_BENCH_KEYS_H
#define VARVE_TOOLS_BENCH_KEYS_H

#include "tools/bench/backend.h"

void keys_init(uint64_t count, size_t value_bytes);

void key_write(char *key, uint64_t number); /* number: twice the key's, one more for a miss */
void value_write(char *value, uint64_t key, uint64_t *random);

/* A permutation of [0, count) by a keyed Feistel network: each key exactly once in an order without a pattern. */
uint64_t permuted(uint64_t i, uint64_t seed);
/* By Zipf's law (zipf.h); popular keys lie scattered over the range. zipf_init takes a moment and comes first. */
void zipf_init(void);
uint64_t zipf_next(uint64_t *random);

uint64_t bits_mixed(uint64_t x); /* MurmurHash3's finalizer */
/* xorshift64 (Marsaglia, 2003); the state is never 0. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

#endif

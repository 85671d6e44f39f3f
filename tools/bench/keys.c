#include "tools/bench/keys.h"

#include <string.h>

#include "tools/bench/zipf.h"

#define POOL_BYTES ((size_t)8 << 20)
#define POOL_SPARE ((size_t)64 << 10) /* behind the last start of a value: the largest value */
#define TEXT_BYTES 50                 /* random printable text, then the same again: half compressible */

static struct {
    uint64_t count;
    size_t value_bytes;
    unsigned half_bits; /* of the Feistel network's domain */
    char *pool;
    struct zipf zipf;
} keys;

void keys_init(uint64_t count, size_t value_bytes)
{
    if (value_bytes < sizeof(uint64_t) || value_bytes > POOL_SPARE)
        bench_die("value size", "8 to 65536");
    keys.count = count;
    keys.value_bytes = value_bytes;
    unsigned bits = 1;
    while (((uint64_t)1 << bits) < count)
        bits++;
    keys.half_bits = (bits + 1) / 2;
    keys.pool = bench_alloc(POOL_BYTES + POOL_SPARE, 1);
    uint64_t random = 42;
    for (size_t at = 0; at < POOL_BYTES + POOL_SPARE - 128; at += 2 * TEXT_BYTES) {
        for (size_t j = 0; j < TEXT_BYTES; j += 8) {
            uint64_t bytes = random_next(&random);
            for (unsigned b = 0; b < 8; b++)
                keys.pool[at + j + b] = (char)(' ' + (bytes >> (8 * b)) % 95);
        }
        memcpy(keys.pool + at + TEXT_BYTES, keys.pool + at, TEXT_BYTES);
    }
}

void key_write(char *key, uint64_t number)
{
    key[0] = 'M';
    for (unsigned i = BENCH_KEY_BYTES - 1; i >= 1; i--) {
        key[i] = (char)('0' + number % 10);
        number /= 10;
    }
}

void value_write(char *value, uint64_t key, uint64_t *random)
{
    memcpy(value, keys.pool + random_next(random) % POOL_BYTES, keys.value_bytes);
    memcpy(value, &key, sizeof key);
    uint64_t after = *random; /* where the next one begins: the time it takes to come is no engine's */
    const char *next = keys.pool + random_next(&after) % POOL_BYTES;
    __builtin_prefetch(next);
    __builtin_prefetch(next + 64);
}

uint64_t bits_mixed(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

uint64_t permuted(uint64_t i, uint64_t seed)
{
    uint64_t mask = ((uint64_t)1 << keys.half_bits) - 1;
    do { /* the domain is a power of four: walk until the number is a key's */
        uint64_t left = i >> keys.half_bits, right = i & mask;
        for (unsigned round = 0; round < 3; round++) {
            uint64_t mixed = bits_mixed(right * 0x9e3779b97f4a7c15u + seed + round) & mask;
            uint64_t old = left;
            left = right;
            right = old ^ mixed;
        }
        i = left << keys.half_bits | right;
    } while (i >= keys.count);
    return i;
}

void zipf_init(void) { zipf_make(&keys.zipf, keys.count); }

uint64_t zipf_next(uint64_t *random)
{
    return permuted(zipf_rank(&keys.zipf, (double)(random_next(random) >> 11) * 0x1p-53), 99);
}

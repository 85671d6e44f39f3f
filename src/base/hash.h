/* Hashes. Keys of clients are hashed with SipHash-1-3 under a secret seed (an adversary cannot choose colliding keys;
 * J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF", 2012). Checksums of files are XXH3 from libxxhash. */
#ifndef VARVE_BASE_HASH_H
#define VARVE_BASE_HASH_H

#include "base/slice.h"

struct hash_seed {
    uint64_t k0, k1;
};

uint64_t hash_siphash(const struct hash_seed *seed, const void *data, size_t len);
/* Two independent 64-bit SipHashes: the name of a key too long for the engine. */
void hash_siphash128(const struct hash_seed *seed, const void *data, size_t len, uint8_t out[16]);
/* The low 32 bits of XXH3_64, exclusive-or the low 32 bits of hash_mix(salt): the checksum of every file format here.
 * `salt` binds the bytes to their place (file number, offset). The salt comes last, so that the checksum of a record
 * can be taken with salt 0 before its place is known and bound afterwards with checksum32_bind(). */
uint32_t checksum32(const void *data, size_t len, uint64_t salt);
/* Is this the checksum of these bytes? */
bool checksum32_holds(uint32_t stored, const void *data, size_t len, uint64_t salt);
/* In fuzzing builds every checksum holds while this is true, because a fuzzer cannot guess them; in others it says nothing.
 * Set before there are threads. */
extern bool checksum32_any;
/* XXH3_64 of the bytes: for what is compared, not defended. */
uint64_t hash_content(const void *data, size_t len);
/* CRC16/XMODEM of the key's hash tag (the part between the first '{' and the next '}', if not empty), modulo 16384:
 * the Redis Cluster specification's slot. */
uint16_t hash_slot(struct slice key);
uint16_t crc16(const void *data, size_t len);
static inline uint64_t hash_mix(uint64_t x) /* splitmix64's finaliser */
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
static inline uint32_t checksum32_bind(uint32_t unsalted, uint64_t salt) { return unsalted ^ (uint32_t)hash_mix(salt); }

#endif

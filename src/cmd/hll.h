/* HyperLogLog as bytes of a string, in Redis' own representation, so that GET and SET carry it between servers. The estimate
 * is that of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", arXiv:1702.01284.
 *
 *   0    "HYLL"
 *   4    encoding: 0 dense, 1 sparse
 *   5    3 bytes, unused
 *   8    a cardinality u64 that was once computed; its highest bit set: it is not valid
 *   16   dense: 16384 registers of 6 bits, the lowest bits of a byte first
 *        sparse: runs of registers: 00nnnnnn n+1 zeros, 01nnnnnn nnnnnnnn n+1 zeros, 1vvvvvnn n+1 registers of value v+1
 *
 * An element's hash is MurmurHash64A (A. Appleby, public domain): 14 bits choose the register, the position of the lowest bit
 * set in the others is what it holds at least. */
#ifndef VARVE_CMD_HLL_H
#define VARVE_CMD_HLL_H

#include "base/arena.h"
#include "base/result.h"
#include "base/slice.h"

#define HLL_REGISTERS 16384
#define HLL_HEAD 16
#define HLL_DENSE_SIZE (HLL_HEAD + HLL_REGISTERS * 6 / 8)

struct hll {
    uint8_t *bytes;
    size_t len, cap;
    uint64_t sparse_max; /* longer ones become dense */
    struct arena *arena;
};
/* Whether these bytes may be one: their head. */
bool hll_is(struct slice bytes);
static inline bool hll_is_dense(struct slice bytes) { return bytes.data[4] == 0; }
/* An empty one; a copy of one, to be changed. */
enum result hll_new(struct hll *h, struct arena *arena, uint64_t sparse_max) MUST_CHECK;
enum result hll_copy(struct hll *h, struct arena *arena, struct slice bytes, uint64_t sparse_max) MUST_CHECK;
/* RES_CORRUPT: the runs are none. *changed is set when a register grew. */
enum result hll_add(struct hll *h, struct slice element, bool *changed) MUST_CHECK;
enum result hll_raise(struct hll *h, unsigned index, uint8_t value, bool *changed) MUST_CHECK;
enum result hll_to_dense(struct hll *h) MUST_CHECK;
void hll_forget_count(struct hll *h);
void hll_keep_count(struct hll *h, uint64_t count);
/* The count that the head has; false: not valid. */
bool hll_known_count(struct slice bytes, uint64_t *count);
/* Raises registers to those of another; RES_CORRUPT. */
enum result hll_merge(uint8_t registers[HLL_REGISTERS], struct slice bytes) MUST_CHECK;
uint64_t hll_count(const uint8_t registers[HLL_REGISTERS]);

#endif

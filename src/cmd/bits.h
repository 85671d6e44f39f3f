/* What the bit commands share. */
#ifndef VARVE_CMD_BITS_H
#define VARVE_CMD_BITS_H

#include "cmd/support.h"

/* A bit position, below eight times the longest string. With multiplier > 0 also "#n": n times multiplier. False: the
 * error is replied. */
bool arg_bit_offset(struct call *c, int i, unsigned multiplier, uint64_t *out);

#endif

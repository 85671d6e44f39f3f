/* The compression of strings in Redis' snapshots and DUMP payloads, LZF (M. Lehmann's LibLZF defines the format):
 *
 *   000lllll                     l + 1 bytes follow as they are
 *   lllooooo oooooooo            l + 2 bytes (l from 1 to 6) repeat from o + 1 bytes before
 *   111ooooo llllllll oooooooo   l + 9 bytes repeat from o + 1 bytes before
 */
#ifndef VARVE_BASE_LZF_H
#define VARVE_BASE_LZF_H

#include <stdbool.h>

#include "base/slice.h"

/* No input becomes more than this many times longer. */
#define LZF_RATIO_MAX 88

/* Fills out with exactly `len` bytes. False: `in` is damaged, or is as long as something else. */
bool lzf_expand(struct slice in, uint8_t *out, size_t len);
/* Compresses into at most `cap` bytes; 0: that is too few. */
size_t lzf_compress(struct slice in, uint8_t *out, size_t cap);

#endif

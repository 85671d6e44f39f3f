/* Compressing what blocks hold. LZ4 needs no memory of its own. Zstandard's contexts are some hundred kilobytes, so nobody
 * makes one for a block: who writes a table has one for as long as the table takes, and readers take one from a few that lie
 * ready and put it back. Those are given back to the system when nothing has been unpacked for a while (pack_trim). */
#ifndef VARVE_ENGINE_LSM_PACK_H
#define VARVE_ENGINE_LSM_PACK_H

#include "base/buf.h"
#include "engine/engine.h"

/* No image is more than so many times as long as its packed form, by either method: a reader who is told more need not
 * ask for the memory to know that it is wrong. LZ4 cannot do more; what Zstandard shrinks further is left to LZ4. */
#define PACK_RATIO_MAX 256
#define PACK_LENGTH_MAX ((size_t)1 << 30) /* of a packed image, exclusive */

/* What compressing blocks of that size takes beside the output. */
static inline size_t pack_memory(struct engine_compression how, uint32_t block_bytes)
{
    return how.kind == ENGINE_PACK_ZSTD ? ((size_t)128 << 10) + 28 * (size_t)block_bytes : 0;
}

/* A writer's. All zero is a fresh one. */
struct packer {
    struct engine_compression how;
    struct ZSTD_CCtx_s *zstd; /* made for the first block */
};
void packer_fini(struct packer *p);
/* Appends the image in the form asked for when that saves an eighth, and says which that is: ENGINE_PACK_NONE, then nothing
 * was appended. */
enum result pack_append(struct packer *p, const uint8_t *image, size_t len, struct buf *out, enum engine_packing *used)
    MUST_CHECK;

/* Unpacks exactly `len` bytes. RES_CORRUPT, RES_NO_MEMORY. Any thread. */
enum result unpack(enum engine_packing how, const uint8_t *packed, size_t packed_len, uint8_t *image, size_t len)
    MUST_CHECK;
/* By a background thread, now and then: lets go of one context if none was used since the last call. */
void pack_trim(void);

#endif

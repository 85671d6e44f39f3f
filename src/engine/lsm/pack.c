/* See pack.h. */
#include "engine/lsm/pack.h"

#include <lz4.h>
#include <stdatomic.h>
#include <zstd.h>
#include <zstd_errors.h>

/* Blocks are no larger than 64 KiB but for single values, and what a context takes follows from the window. */
#define WINDOW_LOG 16
#define SAVES 8 /* at least so many parts of the whole, or it is not worth unpacking */

/* ---- packing ---- */

void packer_fini(struct packer *p)
{
    ZSTD_freeCCtx(p->zstd);
    *p = (struct packer){0};
}

static enum result make_context(struct packer *p)
{
    p->zstd = ZSTD_createCCtx();
    if (!p->zstd)
        return RES_NO_MEMORY;
    size_t bad = ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, p->how.level);
    if (!ZSTD_isError(bad))
        bad = ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_windowLog, WINDOW_LOG);
    return ZSTD_isError(bad) ? RES_INVALID : RES_OK;
}

/* *n: 0 when it does not fit. */
static enum result by_zstd(struct packer *p, const uint8_t *image, size_t len, uint8_t *to, size_t room, size_t *n)
{
    enum result r = p->zstd ? RES_OK : make_context(p);
    *n = 0;
    if (r != RES_OK)
        return r;
    size_t got = ZSTD_compress2(p->zstd, to, room, image, len);
    if (!ZSTD_isError(got))
        *n = got;
    else if (ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation)
        return RES_NO_MEMORY;
    return RES_OK;
}

static size_t by_lz4(const uint8_t *image, size_t len, uint8_t *to, size_t room)
{
    int n = len <= LZ4_MAX_INPUT_SIZE ? LZ4_compress_default((const char *)image, (char *)to, (int)len, (int)room) : 0;
    return n > 0 ? (size_t)n : 0;
}

enum result pack_append(struct packer *p, const uint8_t *image, size_t len, struct buf *out, enum engine_packing *used)
{
    size_t room = len - len / SAVES, n = 0; /* what would be longer is not wanted */
    *used = ENGINE_PACK_NONE;
    if (p->how.kind == ENGINE_PACK_NONE || room > PACK_LENGTH_MAX - 1)
        return RES_OK;
    enum result r = buf_reserve(out, room);
    if (r != RES_OK)
        return r;
    uint8_t *to = out->data + out->len;
    if (p->how.kind == ENGINE_PACK_ZSTD)
        r = by_zstd(p, image, len, to, room, &n);
    if (r != RES_OK)
        return r;
    *used = ENGINE_PACK_ZSTD;
    if (p->how.kind == ENGINE_PACK_LZ4 || (n && len / PACK_RATIO_MAX > n)) {
        n = by_lz4(image, len, to, room);
        *used = ENGINE_PACK_LZ4;
    }
    if (n == 0)
        *used = ENGINE_PACK_NONE;
    out->len += n;
    return RES_OK;
}

/* ---- unpacking ---- */

#define READY 16

static _Atomic(ZSTD_DCtx *) ready[READY];
static atomic_uint taken, taken_before;

static ZSTD_DCtx *take_context(void)
{
    atomic_fetch_add_explicit(&taken, 1, memory_order_relaxed);
    for (size_t i = 0; i < READY; i++)
        if (atomic_load_explicit(&ready[i], memory_order_relaxed)) {
            ZSTD_DCtx *d = atomic_exchange_explicit(&ready[i], NULL, memory_order_acquire);
            if (d)
                return d;
        }
    return ZSTD_createDCtx();
}

static void put_context(ZSTD_DCtx *d)
{
    for (size_t i = 0; i < READY; i++) {
        ZSTD_DCtx *none = NULL;
        if (atomic_compare_exchange_strong_explicit(&ready[i], &none, d, memory_order_release, memory_order_relaxed))
            return;
    }
    ZSTD_freeDCtx(d);
}

void pack_trim(void)
{
    unsigned now = atomic_load_explicit(&taken, memory_order_relaxed);
    if (atomic_exchange_explicit(&taken_before, now, memory_order_relaxed) != now)
        return;
    for (size_t i = 0; i < READY; i++) {
        ZSTD_DCtx *d = atomic_exchange_explicit(&ready[i], NULL, memory_order_acquire);
        if (d) {
            ZSTD_freeDCtx(d);
            return;
        }
    }
}

enum result unpack(enum engine_packing how, const uint8_t *packed, size_t packed_len, uint8_t *image, size_t len)
{
    if (how == ENGINE_PACK_LZ4) {
        int n = LZ4_decompress_safe((const char *)packed, (char *)image, (int)packed_len, (int)len);
        return n >= 0 && (size_t)n == len ? RES_OK : RES_CORRUPT;
    }
    ZSTD_DCtx *d = take_context();
    if (!d)
        return RES_NO_MEMORY;
    size_t n = ZSTD_decompressDCtx(d, image, len, packed, packed_len);
    put_context(d);
    if (ZSTD_isError(n) && ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation)
        return RES_NO_MEMORY;
    return n == len ? RES_OK : RES_CORRUPT;
}

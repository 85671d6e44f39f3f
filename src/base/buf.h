/* A growable byte buffer owned by its holder. Growth doubles up to 1 MiB, then adds a quarter. Every call that may
 * allocate can fail with RES_NO_MEMORY and then leaves the buffer as it was. Not thread-safe. */
#ifndef VARVE_BASE_BUF_H
#define VARVE_BASE_BUF_H

#include "base/result.h"
#include "base/slice.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

#define BUF_INIT ((struct buf){NULL, 0, 0})

void buf_fini(struct buf *b);                                 /* frees; b is empty afterwards */
enum result buf_grow(struct buf *b, size_t extra) MUST_CHECK; /* the slow path of buf_reserve */
enum result buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;
void buf_consume(struct buf *b, size_t len);                                  /* drops len bytes from the front */
void buf_trim(struct buf *b, size_t keep_cap);                                /* gives memory back above keep_cap */
static inline MUST_CHECK enum result buf_reserve(struct buf *b, size_t extra) /* cap >= len + extra */
{
    return likely(b->cap - b->len >= extra) ? RES_OK : buf_grow(b, extra);
}
static inline MUST_CHECK enum result buf_append(struct buf *b, const void *data, size_t len)
{
    enum result r = buf_reserve(b, len);
    if (unlikely(r != RES_OK))
        return r;
    if (len) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
    return RES_OK;
}
static inline struct slice buf_slice(const struct buf *b) { return slice_of(b->data, b->len); }
static inline void buf_clear(struct buf *b) { b->len = 0; }

#endif

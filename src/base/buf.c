/* The slow paths of the growable buffer. */
#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAP 64
#define MAX_CAP ((size_t)1 << 40)      /* no machine has it: a nonsense size is refused without asking the heap */
#define DOUBLE_UNTIL ((size_t)1 << 20) /* beyond it doubling would waste too much: a quarter more each time */

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = BUF_INIT;
}

enum result buf_grow(struct buf *b, size_t extra)
{
    if (extra > MAX_CAP || b->len > MAX_CAP - extra)
        return RES_NO_MEMORY;
    size_t need = b->len + extra;
    if (need <= b->cap)
        return RES_OK;
    size_t cap = b->cap < FIRST_CAP ? FIRST_CAP : b->cap;
    while (cap < need)
        cap += cap < DOUBLE_UNTIL ? cap : cap / 4;
    uint8_t *data = realloc(b->data, cap);
    if (!data && cap > need) { /* the slack was a luxury */
        cap = need;
        data = realloc(b->data, cap);
    }
    if (!data)
        return RES_NO_MEMORY;
    b->data = data;
    b->cap = cap;
    return RES_OK;
}

enum result buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    size_t room = b->cap - b->len;
    int n = vsnprintf(room ? (char *)b->data + b->len : NULL, room, fmt, args);
    va_end(args);
    assert(n >= 0);
    if ((size_t)n >= room) { /* vsnprintf also wants room for its terminator */
        enum result r = buf_grow(b, (size_t)n + 1);
        if (r != RES_OK)
            return r;
        va_start(args, fmt);
        n = vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, args);
        va_end(args);
        assert(n >= 0);
    }
    b->len += (size_t)n;
    return RES_OK;
}

void buf_consume(struct buf *b, size_t len)
{
    assert(len <= b->len);
    b->len -= len;
    if (b->len && len)
        memmove(b->data, b->data + len, b->len);
}

void buf_trim(struct buf *b, size_t keep_cap)
{
    if (b->cap <= keep_cap)
        return;
    size_t cap = b->len > keep_cap ? b->len : keep_cap;
    if (cap == 0) {
        buf_fini(b);
        return;
    }
    uint8_t *data = realloc(b->data, cap);
    if (data) {
        b->data = data;
        b->cap = cap;
    }
}

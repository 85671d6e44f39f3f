/* The slow paths of the bump allocator. */
#include "base/arena.h"

#include <stdlib.h>

#define MAX_CHUNK ((size_t)1 << 20)
#define MAX_REQUEST ((size_t)1 << 40) /* refused without asking the heap */
#define KEEP_MAX ((size_t)64 << 10)
#define MIN_CHUNK 64

struct arena_chunk {
    struct arena_chunk *older;
    size_t len; /* bytes behind the header */
};

/* An empty arena points here, so that an allocation of 0 bytes is not NULL. */
static uint64_t nothing;

void arena_init(struct arena *a, size_t first_chunk)
{
    a->next = a->end = (uint8_t *)&nothing;
    a->chunks = NULL;
    a->first_chunk = first_chunk < MIN_CHUNK ? MIN_CHUNK : (first_chunk + 7) & ~(size_t)7;
    a->total = 0;
}

void arena_fini(struct arena *a)
{
    struct arena_chunk *c = a->chunks;
    while (c) {
        struct arena_chunk *older = c->older;
        free(c);
        c = older;
    }
    arena_init(a, a->first_chunk);
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *keep = NULL;
    struct arena_chunk *c = a->chunks;
    while (c) {
        struct arena_chunk *older = c->older;
        if (c->len <= KEEP_MAX && (!keep || c->len > keep->len)) {
            free(keep);
            keep = c;
        } else {
            free(c);
        }
        c = older;
    }
    arena_init(a, a->first_chunk);
    if (keep) {
        keep->older = NULL;
        a->chunks = keep;
        a->next = (uint8_t *)(keep + 1);
        a->end = a->next + keep->len;
        a->total = sizeof *keep + keep->len;
    }
}

void *arena_grow(struct arena *a, size_t len)
{
    if (len > MAX_REQUEST)
        return NULL;
    len = (len + 7) & ~(size_t)7;
    size_t size = a->chunks ? a->chunks->len * 2 : a->first_chunk;
    if (size > MAX_CHUNK)
        size = MAX_CHUNK;
    /* A request that would eat most of a chunk gets one of its own, behind the current one: what is left of that stays
     * in use. */
    bool own = a->chunks && len > size / 2;
    if (own || size < len)
        size = len;
    struct arena_chunk *c = malloc(sizeof *c + size);
    if (!c)
        return NULL;
    c->len = size;
    a->total += sizeof *c + size;
    uint8_t *p = (uint8_t *)(c + 1);
    if (own) {
        c->older = a->chunks->older;
        a->chunks->older = c;
        return p;
    }
    c->older = a->chunks;
    a->chunks = c;
    a->next = p + len;
    a->end = p + size;
    return p;
}

void *arena_copy(struct arena *a, const void *data, size_t len)
{
    void *p = arena_alloc(a, len);
    if (p && len)
        memcpy(p, data, len);
    return p;
}

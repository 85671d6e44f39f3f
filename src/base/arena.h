/* A bump allocator: many small allocations, freed at once. Chunks double from `first_chunk` to 1 MiB; a larger request
 * gets a chunk of its own. Blocks are 8-byte aligned. Not thread-safe. */
#ifndef VARVE_BASE_ARENA_H
#define VARVE_BASE_ARENA_H

#include "base/slice.h"

struct arena_chunk;
struct arena {
    uint8_t *next;
    uint8_t *end;
    struct arena_chunk *chunks; /* newest first */
    size_t first_chunk;
    size_t total; /* bytes taken from the heap */
};

void arena_init(struct arena *a, size_t first_chunk);
void arena_fini(struct arena *a);
/* Forgets all allocations but keeps the largest chunk up to 64 KiB for the next round. */
void arena_reset(struct arena *a);
void *arena_grow(struct arena *a, size_t len); /* slow path of arena_alloc */
/* NULL when the heap is exhausted. */
static inline void *arena_alloc(struct arena *a, size_t len)
{
    if ((size_t)(a->end - a->next) < len) /* the rest is a multiple of 8, so that rounding len up still fits */
        return arena_grow(a, len);
    void *p = a->next;
    a->next += (len + 7) & ~(size_t)7;
    return p;
}
void *arena_copy(struct arena *a, const void *data, size_t len);

#endif

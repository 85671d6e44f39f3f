/* Memory for blocks.
 *
 * A cache of blocks turns over all the time: every flush and compaction brings new tables, whose blocks take the place
 * of the old ones'. From a general allocator that costs a page fault for each page again and again, because memory that
 * lies free at the end of its heap is given back; and it scatters the cache over small pages, so that each look into a
 * block pays for a miss of the address translation as well. So blocks up to a few kilobytes come from here:
 *
 *     region   2 MiB, aligned, on a huge page where the system has one; consists of
 *     chunks   256 KiB, each for blocks of one size class (multiples of 128 bytes), or free for any class
 *
 * A chunk whose blocks are all free is free for any class. A region whose chunks are all free stays for a while, because
 * the kernel would have to clear a new one: a compaction needs as much at its end as it gives back a moment later. What
 * lay free all through some seconds goes back to the system; at once what is beyond the caches' capacity. Larger blocks
 * come from malloc, and under AddressSanitizer all do.
 *
 * One lock for all: it is held for some ten instructions, and only by who reads a block from a file or lets one go. It
 * is a leaf, and no test's scheduler changes threads under it. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/lsm/block.h"

#define REGION ((size_t)2 << 20)
#define CHUNK ((size_t)256 << 10)
#define CHUNKS (REGION / CHUNK)
#define STEP 128
#define CLASSES 64 /* up to 8 KiB */
#define HEADER STEP
#define KEPT_SHARE 8 /* of all regions so many may lie free, beyond the capacity */
#define DECAY_NS 10000000000u
#define TRIM_MOST 16 /* regions given back under one hold of the lock */

#if defined(__SANITIZE_ADDRESS__)
#define ALWAYS_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALWAYS_MALLOC 1
#endif
#endif
#ifndef ALWAYS_MALLOC
#define ALWAYS_MALLOC 0
#endif

struct free_block {
    struct free_block *next;
};

struct chunk {                  /* at its start */
    struct chunk *next, **link; /* in the list it is in: of its class when some are free, of free chunks */
    struct free_block *free;
    uint32_t used, fresh, room; /* blocks given out; never given out from here on; blocks in all */
    uint32_t size;
    uint32_t region_used; /* of the first chunk of a region: its chunks that have a class */
};
_Static_assert(sizeof(struct chunk) <= HEADER, "the header of a chunk");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *partial[CLASSES]; /* with something free */
static struct chunk *free_chunks;
static unsigned regions, free_regions;
static unsigned always_free; /* so many regions were free at every moment since decay_from */
static uint64_t decay_from;
static uint64_t capacity;

static void list_add(struct chunk **list, struct chunk *c)
{
    c->next = *list;
    c->link = list;
    if (c->next)
        c->next->link = &c->next;
    *list = c;
}

static void list_remove(struct chunk *c)
{
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
}

static struct chunk *chunk_of(void *p) { return (struct chunk *)((uintptr_t)p & ~(uintptr_t)(CHUNK - 1)); }
static struct chunk *region_of(void *p) { return (struct chunk *)((uintptr_t)p & ~(uintptr_t)(REGION - 1)); }
static struct chunk *region_chunk(struct chunk *region, size_t i)
{
    return (struct chunk *)(void *)((uint8_t *)region + i * CHUNK);
}

static bool add_region(void)
{
    uint8_t *p = mmap(NULL, 2 * REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    size_t before = (REGION - (uintptr_t)p % REGION) % REGION;
    if (before)
        (void)munmap(p, before);
    (void)munmap(p + before + REGION, REGION - before);
    struct chunk *region = (struct chunk *)(void *)(p + before);
    (void)madvise(region, REGION, MADV_HUGEPAGE);
    region->region_used = 0;
    for (size_t i = CHUNKS; i-- > 0;)
        list_add(&free_chunks, region_chunk(region, i));
    regions++;
    free_regions++;
    return true;
}

static void drop_region(struct chunk *region)
{
    for (size_t i = 0; i < CHUNKS; i++)
        list_remove(region_chunk(region, i));
    regions--;
    free_regions--;
    (void)munmap(region, REGION);
}

static struct chunk *new_chunk(size_t class)
{
    if (!free_chunks && !add_region())
        return NULL;
    struct chunk *c = free_chunks, *region = region_of(c);
    list_remove(c);
    if (region->region_used++ == 0 && --free_regions < always_free)
        always_free = free_regions;
    c->free = NULL;
    c->used = c->fresh = 0;
    c->size = (uint32_t)((class + 1) * STEP);
    c->room = (uint32_t)((CHUNK - HEADER) / c->size);
    list_add(&partial[class], c);
    return c;
}

static void *take(size_t class)
{
    struct chunk *c = partial[class] ? partial[class] : new_chunk(class);
    if (!c)
        return NULL;
    void *p = c->free;
    if (p)
        c->free = c->free->next;
    else
        p = (uint8_t *)c + HEADER + (size_t)c->fresh++ * c->size;
    if (++c->used == c->room)
        list_remove(c);
    return p;
}

static void give(void *p)
{
    struct chunk *c = chunk_of(p), *region = region_of(p);
    struct free_block *f = p;
    f->next = c->free;
    c->free = f;
    if (c->used-- == c->room)
        list_add(&partial[c->size / STEP - 1], c);
    if (c->used)
        return;
    list_remove(c);
    list_add(&free_chunks, c);
    if (--region->region_used == 0 && ++free_regions > 1 + regions / KEPT_SHARE && regions * REGION > capacity)
        drop_region(region);
}

static struct chunk *find_free_region(void)
{
    struct chunk *c = free_chunks;
    while (c && region_of(c)->region_used)
        c = c->next;
    return c ? region_of(c) : NULL;
}

void block_memory_trim(uint64_t now)
{
    pthread_mutex_lock(&lock);
    if (now - decay_from >= DECAY_NS) {
        struct chunk *region;
        for (int i = 0; i < TRIM_MOST && always_free && (region = find_free_region()) != NULL; i++, always_free--)
            drop_region(region);
        if (!always_free) {
            always_free = free_regions;
            decay_from = now;
        }
    }
    pthread_mutex_unlock(&lock);
}

void block_memory_capacity(int64_t change)
{
    pthread_mutex_lock(&lock);
    capacity += (uint64_t)change;
    pthread_mutex_unlock(&lock);
}

static bool from_malloc(size_t bytes) { return ALWAYS_MALLOC || bytes > CLASSES * STEP; }

size_t block_memory(uint32_t image_len)
{
    size_t bytes = sizeof(struct block) + image_len;
    return from_malloc(bytes) ? bytes + 16 : (bytes + STEP - 1) / STEP * STEP;
}

struct block *block_memory_take(uint32_t image_len)
{
    size_t bytes = sizeof(struct block) + image_len;
    if (from_malloc(bytes))
        return malloc(bytes);
    pthread_mutex_lock(&lock);
    void *p = take((bytes - 1) / STEP);
    pthread_mutex_unlock(&lock);
    return p;
}

void block_memory_give(struct block *b, uint32_t image_len)
{
    if (from_malloc(sizeof(struct block) + image_len)) {
        free(b);
        return;
    }
    pthread_mutex_lock(&lock);
    give(b);
    pthread_mutex_unlock(&lock);
}

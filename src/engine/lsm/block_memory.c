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
 * While the caches are small, that would leave more than they hold in chunks that few blocks lie in: then chunks have
 * 32 KiB, regions are on small pages, and the pages of free chunks go back to the system one by one. A region keeps what
 * it was made for; both kinds are never used together but for a moment, for the cache is emptied in between.
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
#define CHUNK_SMALL ((size_t)32 << 10)
#define PAGE ((size_t)4096)
#define SMALL_BELOW ((uint64_t)48 << 20) /* bytes of capacity; and to be large again */
#define LARGE_ABOVE ((uint64_t)96 << 20)
#define FREE_KEPT 8 /* small chunks that lie free with their pages */
#define STEP 128
#define CLASSES 64 /* up to 8 KiB */
#define HEADER STEP
#define KEPT_SHARE 32 /* of all regions so many may lie free, beyond the capacity */
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
    uint16_t region_kind; /* and which kind of chunks they are */
    bool bare;            /* free, and all pages but the first are the system's */
};
enum { LARGE, SMALL, KINDS };
_Static_assert(sizeof(struct chunk) <= HEADER, "the header of a chunk");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *partial[KINDS][CLASSES]; /* with something free */
static struct chunk *free_chunks[KINDS], *bare_chunks;
static unsigned regions, free_regions, free_small;
static int kind; /* of regions that are made now */
static uint64_t resident;
static unsigned always_free; /* so many regions were free at every moment since decay_from */
static uint64_t decay_from;
static uint64_t capacity, beside; /* of all caches; and of that, what is no block */

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

static struct chunk *region_of(void *p) { return (struct chunk *)((uintptr_t)p & ~(uintptr_t)(REGION - 1)); }
static size_t chunk_bytes(const struct chunk *region) { return region->region_kind == SMALL ? CHUNK_SMALL : CHUNK; }
static struct chunk *chunk_of(void *p)
{
    return (struct chunk *)((uintptr_t)p & ~(uintptr_t)(chunk_bytes(region_of(p)) - 1));
}
static struct chunk *region_chunk(struct chunk *region, size_t i)
{
    return (struct chunk *)(void *)((uint8_t *)region + i * chunk_bytes(region));
}
static size_t region_chunks(const struct chunk *region) { return REGION / chunk_bytes(region); }

/* Maps a region and touches it, without the lock: a huge page is long in coming. */
static struct chunk *new_region(int its_kind)
{
    uint8_t *p = mmap(NULL, 2 * REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t before = (REGION - (uintptr_t)p % REGION) % REGION;
    if (before)
        (void)munmap(p, before);
    (void)munmap(p + before + REGION, REGION - before);
    struct chunk *region = (struct chunk *)(void *)(p + before);
    (void)madvise(region, REGION, its_kind == SMALL ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    region->region_used = 0;
    region->region_kind = (uint16_t)its_kind;
    for (size_t i = 0; i < region_chunks(region); i++)
        region_chunk(region, i)->bare = its_kind == SMALL;
    return region;
}

static void add_region(struct chunk *region)
{
    bool small = region->region_kind == SMALL;
    for (size_t i = region_chunks(region); i-- > 0;)
        list_add(small ? &bare_chunks : &free_chunks[LARGE], region_chunk(region, i));
    resident += small ? region_chunks(region) * PAGE : REGION;
    regions++;
    free_regions++;
}

static void drop_region(struct chunk *region)
{
    for (size_t i = 0; i < region_chunks(region); i++) {
        struct chunk *c = region_chunk(region, i);
        list_remove(c);
        if (region->region_kind == SMALL) {
            resident -= c->bare ? PAGE : CHUNK_SMALL;
            free_small -= !c->bare;
        }
    }
    if (region->region_kind == LARGE)
        resident -= REGION;
    regions--;
    free_regions--;
    (void)munmap(region, REGION);
}

static bool has_free_chunk(void) { return free_chunks[kind] || (kind == SMALL && bare_chunks); }

static struct chunk *free_chunk(void)
{
    if (!has_free_chunk())
        return NULL;
    struct chunk *c = free_chunks[kind] ? free_chunks[kind] : bare_chunks;
    list_remove(c);
    if (kind == SMALL) {
        if (c->bare)
            resident += CHUNK_SMALL - PAGE;
        else
            free_small--;
        c->bare = false;
    }
    return c;
}

static struct chunk *new_chunk(size_t class)
{
    struct chunk *c = free_chunk();
    if (!c)
        return NULL;
    struct chunk *region = region_of(c);
    if (region->region_used++ == 0 && --free_regions < always_free)
        always_free = free_regions;
    c->free = NULL;
    c->used = c->fresh = 0;
    c->size = (uint32_t)((class + 1) * STEP);
    c->room = (uint32_t)((chunk_bytes(region) - HEADER) / c->size);
    list_add(&partial[kind][class], c);
    return c;
}

/* NULL: there must be another region first. */
static void *take(size_t class)
{
    struct chunk *c = partial[kind][class] ? partial[kind][class] : new_chunk(class);
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
        list_add(&partial[region->region_kind][c->size / STEP - 1], c);
    if (c->used)
        return;
    list_remove(c);
    c->bare = region->region_kind == SMALL && free_small >= FREE_KEPT &&
              madvise((uint8_t *)c + PAGE, CHUNK_SMALL - PAGE, MADV_DONTNEED) == 0;
    list_add(c->bare ? &bare_chunks : &free_chunks[region->region_kind], c);
    if (c->bare)
        resident -= CHUNK_SMALL - PAGE;
    else if (region->region_kind == SMALL)
        free_small++;
    if (--region->region_used)
        return;
    free_regions++;
    if (region->region_kind == SMALL || kind == SMALL ||
        (free_regions > 1 + regions / KEPT_SHARE && regions * REGION + beside > capacity))
        drop_region(region);
}

static struct chunk *find_free_region(void)
{
    struct chunk *c = free_chunks[LARGE];
    while (c && region_of(c)->region_used)
        c = c->next;
    return c ? region_of(c) : NULL;
}

void block_memory_beside(int64_t change)
{
    pthread_mutex_lock(&lock);
    beside += (uint64_t)change;
    pthread_mutex_unlock(&lock);
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

bool block_memory_capacity(int64_t change)
{
    pthread_mutex_lock(&lock);
    int before = kind;
    capacity += (uint64_t)change;
    if (capacity < SMALL_BELOW || capacity > LARGE_ABOVE)
        kind = capacity < SMALL_BELOW ? SMALL : LARGE;
    for (struct chunk *region; kind == SMALL && (region = find_free_region()) != NULL;)
        drop_region(region);
    if (always_free > free_regions)
        always_free = free_regions;
    bool changed = kind != before, lacking = !ALWAYS_MALLOC && change > 0 && !has_free_chunk();
    int its_kind = kind;
    pthread_mutex_unlock(&lock);
    struct chunk *region = lacking ? new_region(its_kind) : NULL; /* the first who must not wait shall find some */
    if (region) {
        pthread_mutex_lock(&lock);
        add_region(region);
        pthread_mutex_unlock(&lock);
    }
    return changed;
}

uint64_t block_memory_resident(void)
{
    pthread_mutex_lock(&lock);
    uint64_t bytes = resident;
    pthread_mutex_unlock(&lock);
    return bytes;
}

static bool from_malloc(size_t bytes) { return ALWAYS_MALLOC || bytes > CLASSES * STEP; }

static size_t class_of(size_t bytes) { return (bytes - 1) / STEP; }

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
    void *p;
    pthread_mutex_lock(&lock);
    while ((p = take(class_of(bytes))) == NULL) {
        int its_kind = kind;
        pthread_mutex_unlock(&lock);
        struct chunk *region = new_region(its_kind);
        if (!region)
            return NULL;
        pthread_mutex_lock(&lock);
        add_region(region);
    }
    pthread_mutex_unlock(&lock);
    return p;
}

bool block_memory_at_hand(uint32_t image_len)
{
    size_t bytes = sizeof(struct block) + image_len;
    if (from_malloc(bytes))
        return true;
    pthread_mutex_lock(&lock);
    bool at_hand = partial[kind][class_of(bytes)] || has_free_chunk();
    pthread_mutex_unlock(&lock);
    return at_hand;
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

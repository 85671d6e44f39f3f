/* The allocator's figures. jemalloc computes them from a snapshot that must be asked for (its "epoch"). */
#include "base/heap.h"

#include "config.h"

#ifdef HAVE_JEMALLOC

#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#define DIRTY_MS 10000       /* jemalloc's own choice */
#define DIRTY_SHARED_MS 1000 /* of the arena that background threads share */

static uint64_t figure(const char *name)
{
    size_t value = 0, len = sizeof value;
    return mallctl(name, &value, &len, NULL, 0) == 0 ? value : 0;
}

void heap_stats(struct heap_stats *out)
{
    uint64_t epoch = 1;
    size_t len = sizeof epoch;
    mallctl("epoch", &epoch, &len, &epoch, len);
    out->allocated = figure("stats.allocated");
    out->active = figure("stats.active");
    out->resident = figure("stats.resident");
}

#define TEXT(x) #x
#define NUMBER(x) TEXT(x)
const char *heap_name(void)
{
    return "jemalloc-" NUMBER(JEMALLOC_VERSION_MAJOR) "." NUMBER(JEMALLOC_VERSION_MINOR) "." NUMBER(
        JEMALLOC_VERSION_BUGFIX);
}

void heap_purge(void)
{
    char name[64];
    snprintf(name, sizeof name, "arena.%d.purge", MALLCTL_ARENAS_ALL);
    mallctl(name, NULL, NULL, NULL, 0);
}

static atomic_bool frugal;
static atomic_uint shared_arena; /* its number + 1; 0: none yet */
static _Thread_local bool shares;

static void set_decay(unsigned arena)
{
    char name[64];
    bool shared = arena + 1 == atomic_load(&shared_arena);
    ssize_t dirty_ms = atomic_load(&frugal) ? 0 : shared ? DIRTY_SHARED_MS : DIRTY_MS, at_once = 0;
    snprintf(name, sizeof name, "arena.%u.dirty_decay_ms", arena);
    mallctl(name, NULL, NULL, &dirty_ms, sizeof dirty_ms);
    snprintf(name, sizeof name, "arena.%u.muzzy_decay_ms", arena);
    mallctl(name, NULL, NULL, &at_once, sizeof at_once);
}

void heap_be_frugal(bool yes)
{
    ssize_t dirty_ms = yes ? 0 : DIRTY_MS, at_once = 0;
    unsigned arenas = 0;
    size_t len = sizeof arenas;
    if (atomic_exchange(&frugal, yes) == yes)
        return;
    mallctl("background_thread", NULL, NULL, &yes, sizeof yes);
    mallctl("arenas.dirty_decay_ms", NULL, NULL, &dirty_ms, sizeof dirty_ms);
    mallctl("arenas.muzzy_decay_ms", NULL, NULL, &at_once, sizeof at_once);
    mallctl("arenas.narenas", &arenas, &len, NULL, 0);
    for (unsigned i = 0; i < arenas; i++)
        set_decay(i);
}

static void make_shared(void)
{
    unsigned arena;
    size_t len = sizeof arena;
    if (mallctl("arenas.create", &arena, &len, NULL, 0) != 0)
        return;
    atomic_store(&shared_arena, arena + 1);
    set_decay(arena);
}

void heap_share(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_shared);
    unsigned arena = atomic_load(&shared_arena) - 1;
    shares = atomic_load(&shared_arena) && mallctl("thread.arena", NULL, NULL, &arena, sizeof arena) == 0;
    bool keeps = !atomic_load(&frugal);
    mallctl("thread.tcache.enabled", NULL, NULL, &keeps, sizeof keeps);
}

void heap_rest(void)
{
    char name[64];
    if (atomic_load_explicit(&frugal, memory_order_relaxed)) {
        mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    } else if (shares) {
        snprintf(name, sizeof name, "arena.%u.decay", atomic_load(&shared_arena) - 1);
        mallctl(name, NULL, NULL, NULL, 0);
    }
}

struct report {
    struct buf *out;
    enum result res;
};

static void add_text(void *arg, const char *text)
{
    struct report *r = arg;
    if (r->res == RES_OK)
        r->res = buf_append(r->out, text, strlen(text));
}

enum result heap_report(struct buf *out)
{
    struct report r = {out, RES_OK};
    malloc_stats_print(add_text, &r, NULL);
    return r.res;
}

#else

#include <malloc.h>

/* A sanitizer's allocator answers zeros. */
void heap_stats(struct heap_stats *out)
{
    struct mallinfo2 info = mallinfo2();
    out->allocated = info.uordblks + info.hblkhd;
    out->active = info.arena + info.hblkhd;
    out->resident = out->active;
}

const char *heap_name(void) { return "libc"; }

void heap_purge(void) { malloc_trim(0); }
void heap_be_frugal(bool yes) { (void)yes; }
void heap_share(void) {}
void heap_rest(void) {}

enum result heap_report(struct buf *out)
{
    (void)out;
    return RES_UNSUPPORTED;
}

#endif

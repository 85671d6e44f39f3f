/* The allocator's figures. jemalloc computes them from a snapshot that must be asked for (its "epoch"). */
#include "base/heap.h"

#include "config.h"

#ifdef HAVE_JEMALLOC

#include <jemalloc/jemalloc.h>
#include <stdio.h>

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

enum result heap_report(struct buf *out)
{
    (void)out;
    return RES_UNSUPPORTED;
}

#endif

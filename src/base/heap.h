/* What the allocator says of itself: jemalloc where the program is linked with it, the C library's otherwise. */
#ifndef VARVE_BASE_HEAP_H
#define VARVE_BASE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct heap_stats {
    uint64_t allocated; /* bytes handed out */
    uint64_t active;    /* in pages that hold any of them */
    uint64_t resident;  /* of the allocator, mapped to memory */
};
void heap_stats(struct heap_stats *out);
const char *heap_name(void); /* "jemalloc-5.3.0", "libc" */
void heap_purge(void);       /* gives back to the system what is free */
/* For a process that has little memory: what is freed goes back to the system at once, not after some seconds. */
void heap_be_frugal(bool yes);
/* The thread is one of those in the background that take megabytes for a piece of work and give them back at its end: they
 * share what they have freed, which else each of them kept for itself, and keep it for a second; or, where memory is scarce
 * already, not at all. */
void heap_share(void);
/* The thread has done a piece of work and may have nothing to do for a while: when memory is scarce, it keeps nothing that
 * it has freed for itself. */
void heap_rest(void);
/* The allocator's own report; RES_UNSUPPORTED when it has none. */
enum result heap_report(struct buf *out) MUST_CHECK;

#endif

/* What the allocator says of itself: jemalloc where the program is linked with it, the C library's otherwise. */
#ifndef VARVE_BASE_HEAP_H
#define VARVE_BASE_HEAP_H

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
/* The allocator's own report; RES_UNSUPPORTED when it has none. */
enum result heap_report(struct buf *out) MUST_CHECK;

#endif

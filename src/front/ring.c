/* The double mapping: see ring.h. */
#include "front/ring.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define UNMAP_FROM 65536

enum result ring_init(struct ring *r, uint64_t size)
{
    uint64_t rounded = 65536;
    while (rounded < size)
        rounded *= 2;
    *r = (struct ring){NULL, rounded};
    int fd = memfd_create("varve-log-ring", MFD_CLOEXEC);
    if (fd < 0)
        return result_from_errno(errno);
    uint8_t *base = MAP_FAILED;
    if (ftruncate(fd, (off_t)rounded) == 0)
        base = mmap(NULL, 2 * rounded, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        int error = errno;
        close(fd);
        return result_from_errno(error);
    }
    for (int i = 0; i < 2; i++) {
        void *half = mmap(base + (uint64_t)i * rounded, rounded, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_FIXED | (i == 0 ? MAP_POPULATE : 0), fd, 0);
        if (half == MAP_FAILED) {
            int error = errno;
            munmap(base, 2 * rounded);
            close(fd);
            return result_from_errno(error);
        }
    }
    close(fd);
    r->base = base;
    return RES_OK;
}

void ring_used(struct ring *r, uint64_t from, uint64_t to)
{
    uint64_t beyond = to & (r->size - 1);
    if (from / r->size != to / r->size && beyond >= UNMAP_FROM)
        (void)madvise(r->base + r->size, r->size, MADV_DONTNEED); /* shared memory: nothing is lost */
}

void ring_fini(struct ring *r)
{
    if (r->base)
        munmap(r->base, 2 * r->size);
    r->base = NULL;
}

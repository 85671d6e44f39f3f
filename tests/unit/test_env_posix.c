/* The real environment when the kernel is difficult: interrupted and short reads and writes are continued, a read that
 * must not wait never turns a partly cached range into an end of file, refusals of RWF_NOWAIT and RWF_DSYNC are handled
 * as the header says. The kernel's part is played by the functions below, which the linker puts in front (--wrap). */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "os/env.h"

ssize_t __real_pread(int fd, void *buf, size_t len, off_t offset);
ssize_t __real_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __real_pwrite(int fd, const void *buf, size_t len, off_t offset);
ssize_t __real_pwritev(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t __real_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
int __real_fdatasync(int fd);
int __real_fstatfs(int fd, struct statfs *fs);
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t offset);
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
int __wrap_fdatasync(int fd);
int __wrap_fstatfs(int fd, struct statfs *fs);
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);

static struct {
    int interrupt;     /* every call fails with EINTR this many times first */
    size_t at_most;    /* bytes a call moves; 0: all */
    int nowait_error;  /* of preadv2 */
    int dsync_error;   /* of pwritev2 */
    int sync_error;    /* of fdatasync */
    int write_nothing; /* writing returns 0 */
    long fs_type;      /* of fstatfs; 0: the real one */
    int mmap_error;    /* of mmap */
    int calls, syncs, maps;
} kernel;

static bool interrupted(void)
{
    kernel.calls++;
    if (kernel.interrupt && kernel.calls % (kernel.interrupt + 1) != 0) {
        errno = EINTR;
        return true;
    }
    return false;
}

ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t offset)
{
    if (interrupted())
        return -1;
    return __real_pread(fd, buf, kernel.at_most && len > kernel.at_most ? kernel.at_most : len, offset);
}

ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (interrupted())
        return -1;
    if (kernel.nowait_error) {
        errno = kernel.nowait_error;
        return -1;
    }
    (void)flags;
    (void)count;
    size_t len = kernel.at_most && iov->iov_len > kernel.at_most ? kernel.at_most : iov->iov_len;
    return __real_pread(fd, iov->iov_base, len, offset);
}

static ssize_t some(int fd, const struct iovec *iov, int count, off_t offset)
{
    if (kernel.write_nothing)
        return 0;
    if (!kernel.at_most)
        return __real_pwritev(fd, iov, count, offset);
    while (count > 1 && iov->iov_len == 0) {
        iov++;
        count--;
    }
    struct iovec part = *iov;
    if (part.iov_len > kernel.at_most)
        part.iov_len = kernel.at_most;
    return __real_pwritev(fd, &part, 1, offset);
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    if (interrupted())
        return -1;
    if (kernel.write_nothing)
        return 0;
    return __real_pwrite(fd, buf, kernel.at_most && len > kernel.at_most ? kernel.at_most : len, offset);
}

ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    return interrupted() ? -1 : some(fd, iov, count, offset);
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (interrupted())
        return -1;
    if (kernel.dsync_error) {
        errno = kernel.dsync_error;
        return -1;
    }
    cr_assert_eq(flags, RWF_DSYNC);
    return some(fd, iov, count, offset);
}

int __wrap_fdatasync(int fd)
{
    kernel.syncs++;
    if (kernel.sync_error) {
        errno = kernel.sync_error;
        return -1;
    }
    return __real_fdatasync(fd);
}

int __wrap_fstatfs(int fd, struct statfs *fs)
{
    int rc = __real_fstatfs(fd, fs);
    if (kernel.fs_type)
        fs->f_type = kernel.fs_type;
    return rc;
}

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    kernel.maps += fd >= 0;
    if (kernel.mmap_error && fd >= 0) {
        errno = kernel.mmap_error;
        return MAP_FAILED;
    }
    return __real_mmap(at, len, prot, flags, fd, offset);
}

static char path[64];

static struct env_file *fresh(void)
{
    struct env_file *f = NULL;
    strcpy(path, "/tmp/varve-test-posix-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_eq(env_posix()->ops->open(env_posix(), path, ENV_READ | ENV_WRITE, &f), RES_OK);
    unlink(path);
    return f;
}

static void gone(struct env_file *f) { cr_assert_eq(f->ops->close(f), RES_OK); }

Test(env_posix, interrupted_and_short_calls_are_continued)
{
    static char data[100000], got[100001];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7 + i / 256);
    for (int how = 0; how < 4; how++) {
        struct env_file *f = fresh();
        struct iovec parts[200];
        size_t n;
        kernel.interrupt = how & 1;
        kernel.at_most = how & 2 ? 333 : 0;
        for (size_t i = 0; i < 200; i++)
            parts[i] = (struct iovec){data + i * 500, 500};
        cr_assert_eq(f->ops->pwritev(f, parts, 200, 0, how & 1 ? ENV_DSYNC : 0), RES_OK);
        cr_assert_eq(f->ops->pread(f, got, sizeof got, 0, 0, &n), RES_OK);
        cr_assert_eq(n, sizeof data);
        cr_assert_eq(memcmp(got, data, n), 0);
        gone(f);
    }
}

Test(env_posix, parts_of_no_bytes_are_passed_over)
{
    char a = 'a', b = 'b', got[3];
    struct iovec parts[] = {{NULL, 0}, {&a, 1}, {NULL, 0}, {NULL, 0}, {&b, 1}, {NULL, 0}};
    size_t n;
    for (size_t at_most = 0; at_most < 2; at_most++) {
        struct env_file *f = fresh();
        kernel.at_most = at_most;
        cr_assert_eq(f->ops->pwritev(f, parts, 6, 0, 0), RES_OK);
        cr_assert_eq(f->ops->pwritev(f, parts, 1, 0, 0), RES_OK);
        cr_assert_eq(f->ops->pread(f, got, 3, 0, 0, &n), RES_OK);
        cr_assert(n == 2 && memcmp(got, "ab", 2) == 0);
        gone(f);
    }
}

Test(env_posix, a_write_that_makes_no_progress_is_an_error_not_a_loop)
{
    struct env_file *f = fresh();
    kernel.write_nothing = 1;
    cr_assert_eq(env_write(f, "x", 1, 0), RES_IO);
    gone(f);
}

Test(env_posix, a_partly_cached_range_is_not_an_end_of_file)
{
    struct env_file *f = fresh();
    char got[20];
    size_t n;
    cr_assert_eq(env_write(f, "0123456789", 10, 0), RES_OK);
    kernel.at_most = 4; /* what the page cache has */
    cr_assert_eq(f->ops->pread(f, got, 8, 0, ENV_NOWAIT, &n), RES_WOULD_BLOCK);
    cr_assert_eq(f->ops->pread(f, got, 20, 0, ENV_NOWAIT, &n), RES_WOULD_BLOCK);
    cr_assert_eq(f->ops->pread(f, got, 8, 7, ENV_NOWAIT, &n), RES_OK);
    cr_assert_eq(n, 3, "this is the end of the file");
    cr_assert_eq(f->ops->pread(f, got, 4, 3, ENV_NOWAIT, &n), RES_OK);
    cr_assert_eq(n, 4);
    kernel.nowait_error = EAGAIN;
    cr_assert_eq(f->ops->pread(f, got, 4, 3, ENV_NOWAIT, &n), RES_WOULD_BLOCK);
    cr_assert_eq(n, 0);
    gone(f);
}

Test(env_posix, a_refused_nowait_is_plain_on_tmpfs_and_would_block_elsewhere)
{
    char got[20];
    size_t n;
    kernel.nowait_error = EOPNOTSUPP;
    for (int tmpfs = 0; tmpfs < 2; tmpfs++) {
        kernel.fs_type = tmpfs ? TMPFS_MAGIC : EXT4_SUPER_MAGIC;
        struct env_file *f = fresh();
        kernel.fs_type = 0; /* asked once, at open */
        cr_assert_eq(env_write(f, "0123456789", 10, 0), RES_OK);
        enum result r = f->ops->pread(f, got, 4, 0, ENV_NOWAIT, &n);
        cr_assert_eq(r, tmpfs ? RES_OK : RES_WOULD_BLOCK);
        cr_assert_eq(n, tmpfs ? 4 : 0);
        gone(f);
    }
}

Test(env_posix, a_refused_dsync_is_a_write_and_a_sync)
{
    struct env_file *f = fresh();
    char c = 'x';
    struct iovec iov = {&c, 1};
    cr_assert_eq(f->ops->pwritev(f, &iov, 1, 0, ENV_DSYNC), RES_OK);
    cr_assert_eq(kernel.syncs, 0);
    kernel.dsync_error = EOPNOTSUPP;
    cr_assert_eq(f->ops->pwritev(f, &iov, 1, 0, ENV_DSYNC), RES_OK);
    cr_assert_eq(kernel.syncs, 1);
    kernel.sync_error = EIO;
    cr_assert_eq(f->ops->pwritev(f, &iov, 1, 0, ENV_DSYNC), RES_IO);
    kernel.dsync_error = ENOSPC;
    cr_assert_eq(f->ops->pwritev(f, &iov, 1, 0, ENV_DSYNC), RES_NO_SPACE);
    gone(f);
}

Test(env_posix, a_failed_sync_is_never_tried_again)
{
    static const int errors[] = {EIO, EINTR, ENOSPC};
    for (size_t i = 0; i < 3; i++) {
        struct env_file *f = fresh();
        kernel.sync_error = errors[i];
        kernel.syncs = 0;
        cr_assert_eq(f->ops->sync(f), errors[i] == ENOSPC ? RES_NO_SPACE : RES_IO);
        cr_assert_eq(kernel.syncs, 1);
        gone(f);
    }
}

/* ---- ENV_CACHED ---- */

#define PAGES 600 /* two windows and some */

/* A file of which every page has been written, on a file system that can be mapped whatever /tmp is. */
static struct env_file *touched(long fs_type)
{
    static uint8_t page[4096];
    memset(&kernel, 0, sizeof kernel);
    kernel.fs_type = fs_type;
    struct env_file *f = fresh();
    for (int i = 0; i < PAGES; i++)
        cr_assert_eq(env_write(f, page, sizeof page, (uint64_t)i * sizeof page), RES_OK);
    kernel.calls = kernel.maps = 0;
    return f;
}

static enum result store(struct env_file *f, const char *a, const char *b, uint64_t offset)
{
    struct iovec iov[2] = {{(void *)(uintptr_t)a, strlen(a)}, {(void *)(uintptr_t)b, strlen(b)}};
    return f->ops->pwritev(f, iov, *b ? 2 : 1, offset, ENV_CACHED);
}

static void has(struct env_file *f, const char *text, uint64_t offset)
{
    char got[64];
    size_t n;
    cr_assert_eq(f->ops->pread(f, got, strlen(text), offset, 0, &n), RES_OK);
    cr_assert_eq(n, strlen(text));
    cr_assert_arr_eq(got, text, n);
}

static int mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    int n = 0;
    while (maps && fgets(line, sizeof line, maps))
        n += strstr(line, path) != NULL;
    if (maps)
        fclose(maps);
    return n;
}

Test(env_posix, what_is_stored_in_cached_pages_is_in_the_file_at_once_and_needs_no_call)
{
    struct env_file *f = touched(EXT4_SUPER_MAGIC);
    cr_assert_eq(store(f, "one", "two", 100), RES_OK);
    cr_assert_eq(store(f, "over the border of a page", "", 4090), RES_OK);
    cr_assert_eq(store(f, "the last byte", "", (1 << 20) - 13), RES_OK);
    cr_assert_eq(kernel.calls, 0);
    cr_assert_eq(kernel.maps, 1);
    cr_assert_eq(store(f, "the next", " window", 1 << 20), RES_OK);
    cr_assert_eq(store(f, "and back", "", 8192), RES_OK);
    cr_assert_eq(kernel.calls, 0);
    cr_assert_eq(kernel.maps, 3);
    cr_assert_eq(mappings(), 1, "it moves, it does not multiply");
    has(f, "onetwo", 100);
    has(f, "over the border of a page", 4090);
    has(f, "the last bytethe next window", (1 << 20) - 13);
    has(f, "and back", 8192);
    cr_assert_eq(f->ops->sync(f), RES_OK);
    f->ops->release(f);
    cr_assert_eq(mappings(), 0);
    cr_assert_eq(store(f, "again", "", 8192), RES_OK);
    has(f, "againack", 8192);
    cr_assert_eq(mappings(), 1);
    gone(f);
    cr_assert_eq(mappings(), 0);
}

Test(env_posix, what_cannot_be_stored_is_written)
{
    struct env_file *f = touched(EXT4_SUPER_MAGIC);
    cr_assert_eq(store(f, "it reaches into the ", "next window", (1 << 20) - 7), RES_OK);
    cr_assert_gt(kernel.calls, 0);
    has(f, "it reaches into the next window", (1 << 20) - 7);
    gone(f);

    f = touched(EXT4_SUPER_MAGIC); /* the kernel has no room for a mapping, and is not asked for each write */
    cr_assert_eq(store(f, "mapped", "", 0), RES_OK);
    kernel.mmap_error = ENOMEM;
    cr_assert_eq(store(f, "here", "", 5000), RES_OK);
    cr_assert_eq(store(f, "there", "", 1 << 20), RES_OK);
    cr_assert_eq(store(f, "and", "there", (1 << 20) + 100), RES_OK);
    cr_assert_eq(kernel.maps, 2);
    cr_assert_eq(mappings(), 0);
    has(f, "mapped", 0);
    has(f, "here", 5000);
    has(f, "there", 1 << 20);
    has(f, "andthere", (1 << 20) + 100);
    gone(f);

    f = touched(
        0x9123683e); /* Btrfs: writing a block again takes a new one, and a store could not be told that there is none */
    cr_assert_eq(store(f, "here", "", 5000), RES_OK);
    cr_assert_eq(kernel.maps, 0);
    cr_assert_eq(kernel.calls, 1);
    has(f, "here", 5000);
    gone(f);
}

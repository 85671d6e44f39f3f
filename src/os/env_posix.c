/* The real environment.
 *
 * Reads that must not wait use preadv2(RWF_NOWAIT), which not every file system knows. tmpfs is memory, so there a
 * plain read is the same; anywhere else a refusal counts as "would block", because guessing would make a reactor wait
 * for a disk. The file system is asked once, at open.
 *
 * Small writes to pages that are in the page cache (ENV_CACHED) are stores into a window of the file that is mapped shared.
 * Such a page cannot be missing in the moment of the store for want of space: it was written before, so its blocks are
 * allocated. That holds where writing a block again needs no new one, which is why the file systems are listed. What
 * remains: memory is so short that the page was evicted in between, and reading it again fails, or somebody has cut the
 * file off. Then the process dies of SIGBUS, as it would of a page of its own program. */
#include "os/env.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

struct posix_file {
    struct env_file base;
    int fd;
    bool in_memory;  /* the file system never waits for a device */
    bool direct;     /* opened with O_DIRECT */
    bool mappable;   /* ENV_CACHED is granted */
    uint8_t *window; /* WINDOW bytes of the file, from window_at on; or NULL */
    uint64_t window_at;
};

static struct posix_file *self(struct env_file *f) { return (struct posix_file *)f; }

static enum result failed(void) { return result_from_errno(errno); }

static enum result whole_pread(int fd, uint8_t *buf, size_t len, uint64_t offset, size_t *got)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(fd, buf + done, len - done, (off_t)(offset + done));
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return failed();
        }
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *got = done;
    return RES_OK;
}

static enum result nowait_pread(struct posix_file *f, uint8_t *buf, size_t len, uint64_t offset, size_t *got)
{
    struct iovec iov = {buf, len};
    ssize_t n;

    do
        n = preadv2(f->fd, &iov, 1, (off_t)offset, RWF_NOWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno != EOPNOTSUPP)
            return failed(); /* EAGAIN is RES_WOULD_BLOCK */
        return f->in_memory ? whole_pread(f->fd, buf, len, offset, got) : RES_WOULD_BLOCK;
    }
    if ((size_t)n < len) { /* the end of the file, or of what the page cache holds? */
        struct stat st;
        if (fstat(f->fd, &st) != 0)
            return failed();
        if (offset + (uint64_t)n < (uint64_t)st.st_size)
            return RES_WOULD_BLOCK;
    }
    *got = (size_t)n;
    return RES_OK;
}

static enum result file_pread(struct env_file *file, void *buf, size_t len, uint64_t offset, int flags, size_t *got)
{
    struct posix_file *f = self(file);

    *got = 0;
    if (offset > INT64_MAX || len > INT64_MAX - offset)
        return RES_INVALID;
    if (flags & ENV_NOWAIT)
        return nowait_pread(f, buf, len, offset, got);
    return whole_pread(f->fd, buf, len, offset, got);
}

/* RWF_DSYNC came with Linux 4.7; where it is refused, write and fdatasync say the same. */
static ssize_t write_some(int fd, const struct iovec *iov, int count, uint64_t offset, int flags)
{
    if (!(flags & ENV_DSYNC) && count == 1) /* a vector has to be fetched and checked by the kernel first */
        return pwrite(fd, iov->iov_base, iov->iov_len, (off_t)offset);
    if (!(flags & ENV_DSYNC))
        return pwritev(fd, iov, count, (off_t)offset);
    ssize_t n = pwritev2(fd, iov, count, (off_t)offset, RWF_DSYNC);
    if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        n = pwritev(fd, iov, count, (off_t)offset);
        if (n >= 0 && fdatasync(fd) != 0)
            return -1;
    }
    return n;
}

/* A file system may take O_DIRECT when the file is opened and refuse the write. True: it is tried again without. */
static bool not_direct(struct posix_file *f)
{
    int how = f->direct ? fcntl(f->fd, F_GETFL) : -1;
    if (how < 0 || fcntl(f->fd, F_SETFL, how & ~O_DIRECT) != 0)
        return false;
    f->direct = false;
    return true;
}

/* ---- ENV_CACHED ---- */

#define WINDOW ((size_t)1 << 20) /* pages that were stored to count as resident until it moves on */

static void close_window(struct posix_file *f)
{
    if (f->window)
        (void)munmap(f->window, WINDOW);
    f->window = NULL;
}

static bool move_window(struct posix_file *f, uint64_t at)
{
    close_window(f);
    void *p = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, (off_t)at);
    f->mappable = p != MAP_FAILED; /* no memory for it, or no permission to read */
    if (!f->mappable)
        return false;
    f->window = p;
    f->window_at = at;
    return true;
}

/* False: nothing has been stored. A range that reaches into another window is left to a plain write. */
static bool store(struct posix_file *f, const struct iovec *iov, int count, uint64_t offset)
{
    uint64_t in = offset % WINDOW, len = 0;
    for (int i = 0; i < count; i++)
        len += iov[i].iov_len;
    if (!f->mappable || len > WINDOW - in)
        return false;
    if ((!f->window || f->window_at != offset - in) && !move_window(f, offset - in))
        return false;
    for (int i = 0; i < count; i++) {
        memcpy(f->window + in, iov[i].iov_base, iov[i].iov_len);
        in += iov[i].iov_len;
    }
    return true;
}

static void file_release(struct env_file *f) { close_window(self(f)); }

#define BATCH 64

static enum result file_pwritev(struct env_file *file, const struct iovec *iov, int count, uint64_t offset, int flags)
{
    struct posix_file *f = self(file);
    struct iovec batch[BATCH];
    size_t skip = 0; /* bytes of iov[0] that are written */
    int n = 0;

    if ((flags & ENV_CACHED) && store(f, iov, count, offset))
        return RES_OK;
    while (count > 0) {
        int take = count;
        const struct iovec *from = iov;
        if (skip || count > IOV_MAX) { /* the caller's vector is his: cut in a copy */
            take = count < BATCH ? count : BATCH;
            for (n = 0; n < take; n++)
                batch[n] = iov[n];
            batch[0].iov_base = (uint8_t *)batch[0].iov_base + skip;
            batch[0].iov_len -= skip;
            from = batch;
        }
        size_t want = 0;
        for (n = 0; n < take; n++)
            want += from[n].iov_len;
        ssize_t wrote = want ? write_some(f->fd, from, take, offset, flags) : 0;
        if (wrote < 0) {
            if (errno == EINTR || (errno == EINVAL && not_direct(f)))
                continue;
            return failed();
        }
        if (wrote == 0 && want)
            return RES_IO;
        offset += (uint64_t)wrote;
        size_t left = (size_t)wrote;
        while (count > 0 && left >= iov->iov_len - skip) {
            left -= iov->iov_len - skip;
            skip = 0;
            iov++;
            count--;
        }
        skip += left;
    }
    return RES_OK;
}

static enum result file_sync(struct env_file *f)
{
    /* Interrupted or failed: final either way. A retry may return 0 with the data gone. */
    return fdatasync(self(f)->fd) == 0 ? RES_OK : errno == EINTR ? RES_IO : failed();
}

static enum result file_size(struct env_file *f, uint64_t *out)
{
    struct stat st;
    if (fstat(self(f)->fd, &st) != 0)
        return failed();
    *out = (uint64_t)st.st_size;
    return RES_OK;
}

static enum result file_truncate(struct env_file *f, uint64_t size)
{
    int rc;
    do
        rc = ftruncate(self(f)->fd, (off_t)size);
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? RES_OK : failed();
}

static enum result file_allocate(struct env_file *f, uint64_t offset, uint64_t len)
{
    int rc;
    do
        rc = fallocate(self(f)->fd, 0, (off_t)offset, (off_t)len);
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? RES_OK : failed();
}

static void file_advise(struct env_file *f, uint64_t offset, uint64_t len, int advice)
{
    (void)posix_fadvise(self(f)->fd, (off_t)offset, (off_t)len, advice);
}

static enum result file_close(struct env_file *file)
{
    struct posix_file *f = self(file);
    close_window(f);
    int rc = close(f->fd);
    int error = errno;
    free(f);
    return rc == 0 || error == EINTR ? RES_OK : result_from_errno(error); /* Linux closes also when interrupted */
}

static const struct env_file_ops file_ops = {
    .pread = file_pread,
    .pwritev = file_pwritev,
    .sync = file_sync,
    .size = file_size,
    .truncate = file_truncate,
    .allocate = file_allocate,
    .release = file_release,
    .advise = file_advise,
    .close = file_close,
};

static int open_retry(const char *path, int flags)
{
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, 0600);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static enum result wrap(int fd, bool direct, struct env_file **out)
{
    struct statfs fs;
    struct posix_file *f = calloc(1, sizeof *f);

    *out = NULL;
    if (!f) {
        close(fd);
        return RES_NO_MEMORY;
    }
    f->base.ops = &file_ops;
    f->fd = fd;
    f->direct = direct;
    bool known = fstatfs(fd, &fs) == 0;
    f->in_memory = known && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
    f->mappable =
        known && !direct && (fs.f_type == TMPFS_MAGIC || fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC);
    *out = &f->base;
    return RES_OK;
}

static enum result posix_open(struct env *env, const char *path, int flags, struct env_file **out)
{
    int how = flags & ENV_WRITE ? O_RDWR : O_RDONLY;

    (void)env;
    *out = NULL;
    if (flags & ENV_CREATE)
        how |= O_CREAT;
    if (flags & ENV_EXCL)
        how |= O_EXCL;
    bool direct = flags & ENV_DIRECT;
    int fd = open_retry(path, direct ? how | O_DIRECT : how);
    if (fd < 0 && errno == EINVAL && direct) {
        direct = false;
        /* Some file systems create the file before they refuse O_DIRECT. */
        fd = open_retry(path, how & ~O_EXCL);
    }
    if (fd < 0)
        return failed();
    if (!(flags & ENV_WRITE)) { /* a directory opens for reading, but is no file */
        struct stat st;
        if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
            close(fd);
            return RES_INVALID;
        }
    }
    return wrap(fd, direct, out);
}

static enum result posix_unlink(struct env *env, const char *path)
{
    (void)env;
    return unlink(path) == 0 ? RES_OK : failed();
}

static enum result posix_rename(struct env *env, const char *from, const char *to)
{
    (void)env;
    return rename(from, to) == 0 ? RES_OK : failed();
}

static enum result posix_link(struct env *env, const char *from, const char *to)
{
    (void)env;
    return link(from, to) == 0 ? RES_OK : failed();
}

static enum result posix_mkdir(struct env *env, const char *path)
{
    (void)env;
    return mkdir(path, 0700) == 0 ? RES_OK : failed();
}

static enum result posix_rmdir(struct env *env, const char *path)
{
    (void)env;
    return rmdir(path) == 0 ? RES_OK : failed();
}

static enum result posix_list(struct env *env, const char *path, env_list_fn *each, void *arg)
{
    (void)env;
    DIR *dir = opendir(path);
    if (!dir)
        return failed();
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(arg, entry->d_name);
    enum result r = errno ? failed() : RES_OK;
    closedir(dir);
    return r;
}

static enum result posix_sync_dir(struct env *env, const char *path)
{
    (void)env;
    int fd = open_retry(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return failed();
    enum result r = fsync(fd) == 0 ? RES_OK : failed();
    close(fd);
    return r;
}

static enum result posix_lock(struct env *env, const char *path, struct env_file **out)
{
    (void)env;
    *out = NULL;
    int fd = open_retry(path, O_RDWR | O_CREAT);
    if (fd < 0)
        return failed();
    int rc;
    do
        rc = flock(fd, LOCK_EX | LOCK_NB);
    while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        enum result r = errno == EWOULDBLOCK ? RES_LOCKED : failed();
        close(fd);
        return r;
    }
    return wrap(fd, false, out);
}

static enum result posix_space(struct env *env, const char *path, uint64_t *free_bytes)
{
    struct statvfs fs;

    (void)env;
    *free_bytes = 0;
    if (statvfs(path, &fs) != 0)
        return failed();
    *free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return RES_OK;
}

static uint64_t posix_real_ms(struct env *env)
{
    struct timespec t;
    (void)env;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t posix_mono_ns(struct env *env)
{
    struct timespec t;
    (void)env;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void posix_random(struct env *env, void *out, size_t len)
{
    uint8_t *p = out;

    (void)env;
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0) {
            assert(errno == EINTR);
            continue;
        }
        p += n;
        len -= (size_t)n;
    }
}

struct env *env_posix(void)
{
    static const struct env_ops ops = {
        .open = posix_open,
        .unlink = posix_unlink,
        .rename = posix_rename,
        .link = posix_link,
        .mkdir = posix_mkdir,
        .rmdir = posix_rmdir,
        .list = posix_list,
        .sync_dir = posix_sync_dir,
        .lock = posix_lock,
        .space = posix_space,
        .real_ms = posix_real_ms,
        .mono_ns = posix_mono_ns,
        .random = posix_random,
    };
    static struct env env = {&ops};
    return &env;
}

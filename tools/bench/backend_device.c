/* No engine: what the disk gives at best to the workloads that wait for it, in the same program and the same run.
 *
 * put, with sync: a record appended to a log that was written with zeros before, one write with RWF_DSYNC for all that
 * wait, the leader of a group being whoever finds nobody writing. get: 4 KiB at a random place of a file as large as the
 * data, past the page cache. The other workloads do not exist here. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tools/bench/backend.h"
#include "tools/bench/keys.h"

#define LOG_BYTES ((uint64_t)64 << 20)
#define PIECE ((size_t)64 << 10) /* the log is written before in such pieces: larger extents made small writes dearer */
#define BLOCK ((size_t)4096)
#define HEADER 24 /* what a log record has besides key and value */

static struct {
    int log, data;
    uint64_t blocks;
    pthread_mutex_t lock;
    pthread_cond_t written;
    char *pending, *writing;
    size_t pending_len, pending_room;
    uint64_t appended, durable; /* groups: a record of group g is durable when durable > g */
    uint64_t offset;
    bool busy;
} device = {.lock = PTHREAD_MUTEX_INITIALIZER, .written = PTHREAD_COND_INITIALIZER};

static void check(bool ok, const char *what)
{
    if (!ok)
        bench_die(what, strerror(errno));
}

/* Makes the file unless it is there, of zeros or of bytes without a pattern; flags: how it is opened then. */
static int file_of(const struct backend_options *o, const char *name, uint64_t bytes, bool zeros, int flags)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", o->dir, name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    check(fd >= 0, path);
    char *piece = bench_alloc(1, PIECE);
    uint64_t random = 1;
    for (size_t i = 0; i < PIECE && !zeros; i += sizeof random) {
        random_next(&random);
        memcpy(piece + i, &random, sizeof random);
    }
    for (uint64_t at = (uint64_t)lseek(fd, 0, SEEK_END); at < bytes; at += PIECE)
        check(pwrite(fd, piece, PIECE, (off_t)at) == (ssize_t)PIECE, path);
    free(piece);
    check(fdatasync(fd) == 0, path);
    close(fd);
    fd = open(path, flags | O_CLOEXEC);
    check(fd >= 0, path);
    return fd;
}

static void device_open(const struct backend_options *o)
{
    device.log = file_of(o, "log", LOG_BYTES, true, O_RDWR);
    device.data = file_of(o, "data", o->data_bytes, false, O_RDONLY | O_DIRECT);
    device.blocks = o->data_bytes / BLOCK + 1;
    device.pending_room = 256 * (o->value_bytes + BENCH_KEY_BYTES + HEADER); /* more than the threads of a workload */
    device.pending = bench_alloc(1, device.pending_room);
    device.writing = bench_alloc(1, device.pending_room);
    if (!o->sync)
        fprintf(stderr, "enginebench: device knows fillsync and reads only\n");
}

static void device_close(void)
{
    close(device.log);
    close(device.data);
    free(device.pending);
    free(device.writing);
}

static void *device_thread_begin(void)
{
    void *block;
    check(posix_memalign(&block, BLOCK, BLOCK) == 0, "memory");
    return block;
}

static void write_group(size_t len)
{
    if (device.offset + len > LOG_BYTES)
        device.offset = 0;
    struct iovec v = {.iov_base = device.writing, .iov_len = len};
    check(pwritev2(device.log, &v, 1, (off_t)device.offset, RWF_DSYNC) == (ssize_t)len, "log write");
    device.offset += len;
}

static void device_put(void *thread, const char *key, const char *value, size_t len)
{
    (void)thread;
    pthread_mutex_lock(&device.lock);
    uint64_t group = device.appended;
    if (device.pending_len + BENCH_KEY_BYTES + len + HEADER > device.pending_room)
        bench_die("device", "too many threads");
    memcpy(device.pending + device.pending_len, key, BENCH_KEY_BYTES);
    memcpy(device.pending + device.pending_len + BENCH_KEY_BYTES, value, len);
    device.pending_len += BENCH_KEY_BYTES + len + HEADER;
    while (device.durable <= group) {
        if (device.busy) {
            pthread_cond_wait(&device.written, &device.lock);
            continue;
        }
        char *swap = device.writing;
        size_t bytes = device.pending_len;
        device.busy = true;
        device.writing = device.pending;
        device.pending = swap;
        device.pending_len = 0;
        device.appended++;
        pthread_mutex_unlock(&device.lock);
        write_group(bytes);
        pthread_mutex_lock(&device.lock);
        device.durable = device.appended;
        device.busy = false;
        pthread_cond_broadcast(&device.written);
    }
    pthread_mutex_unlock(&device.lock);
}

static long device_get(void *thread, const char *key, char *out, size_t room)
{
    uint64_t half[2];
    memcpy(half, key, sizeof half);
    uint64_t block = bits_mixed(half[0] ^ bits_mixed(half[1])) % device.blocks;
    check(pread(device.data, thread, BLOCK, (off_t)(block * BLOCK)) == (ssize_t)BLOCK, "read");
    memcpy(out, thread, room < BLOCK ? room : BLOCK);
    return (long)BLOCK;
}

const struct backend backend_device = {
    .name = "device",
    .unverified = true,
    .open = device_open,
    .close = device_close,
    .thread_begin = device_thread_begin,
    .thread_end = free,
    .put = device_put,
    .get = device_get,
};

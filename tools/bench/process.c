#include "tools/bench/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench/backend.h"

#define CGROUP_ROOT "/sys/fs/cgroup/memory"

struct process_io process_io(void)
{
    struct process_io io = {0};
    FILE *f = fopen("/proc/self/io", "re");
    char line[128];
    if (!f)
        return io;
    while (fgets(line, sizeof line, f)) {
        sscanf(line, "wchar: %" SCNu64, &io.written);
        sscanf(line, "write_bytes: %" SCNu64, &io.device_written);
        sscanf(line, "read_bytes: %" SCNu64, &io.device_read);
    }
    fclose(f);
    return io;
}

double process_cpu(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t len = strlen(text);
    bool ok = write(fd, text, len) == (ssize_t)len;
    int error = errno;
    close(fd);
    errno = error;
    return ok;
}

void process_peak_reset(void)
{
    if (!write_text("/proc/self/clear_refs", "5"))
        fprintf(stderr, "enginebench: the peak of memory is the whole run's (%s)\n", strerror(errno));
}

uint64_t process_peak_megabytes(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    uint64_t kilobytes = 0;
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        sscanf(line, "VmHWM: %" SCNu64, &kilobytes);
    fclose(f);
    return kilobytes / 1024;
}

/* Calls fn for every file below dir; each folder itself comes last, with folder true. */
static void walk(const char *dir, void (*fn)(void *arg, const char *path, const struct stat *st), void *arg)
{
    DIR *d = opendir(dir);
    if (!d)
        return;
    const struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        char path[PATH_MAX];
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name) >= (int)sizeof path || lstat(path, &st))
            continue;
        if (S_ISDIR(st.st_mode))
            walk(path, fn, arg);
        fn(arg, path, &st);
    }
    closedir(d);
}

static void add_size(void *arg, const char *path, const struct stat *st)
{
    (void)path;
    if (!S_ISDIR(st->st_mode))
        *(uint64_t *)arg += (uint64_t)st->st_blocks * 512;
}

uint64_t directory_bytes(const char *dir)
{
    uint64_t total = 0;
    walk(dir, add_size, &total);
    return total;
}

static void drop(void *arg, const char *path, const struct stat *st)
{
    (void)arg;
    int fd = S_ISREG(st->st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    if (!fsync(fd))
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

void directory_drop_cache(const char *dir) { walk(dir, drop, NULL); }

static void delete_one(void *arg, const char *path, const struct stat *st)
{
    (void)arg;
    (void)st;
    if (remove(path))
        bench_die(path, strerror(errno));
}

void directory_remake(const char *dir)
{
    walk(dir, delete_one, NULL);
    if (mkdir(dir, 0700) && errno != EEXIST)
        bench_die(dir, strerror(errno));
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || syncfs(fd)) /* what was there before is not written back during the measurement */
        bench_die(dir, strerror(errno));
    close(fd);
}

static char limit_path[64];

void process_limit_memory(uint64_t bytes)
{
    char file[128], text[32];
    snprintf(limit_path, sizeof limit_path, CGROUP_ROOT "/varve-bench-%d", (int)getpid());
    if (mkdir(limit_path, 0755))
        bench_die("a cgroup of version 1 with a memory limit", strerror(errno));
    snprintf(file, sizeof file, "%s/memory.limit_in_bytes", limit_path);
    snprintf(text, sizeof text, "%" PRIu64, bytes);
    bool ok = write_text(file, text);
    snprintf(file, sizeof file, "%s/cgroup.procs", limit_path);
    snprintf(text, sizeof text, "%d", (int)getpid());
    if (!ok || !write_text(file, text)) {
        int error = errno;
        process_unlimit_memory();
        bench_die("a memory limit", strerror(error));
    }
}

void process_unlimit_memory(void)
{
    char text[32];
    if (!limit_path[0])
        return;
    snprintf(text, sizeof text, "%d", (int)getpid());
    if (!write_text(CGROUP_ROOT "/cgroup.procs", text))
        fprintf(stderr, "enginebench: cannot leave %s: %s\n", limit_path, strerror(errno));
    for (int tries = 0; rmdir(limit_path) && tries < 50; tries++)
        usleep(100000);
    limit_path[0] = 0;
}

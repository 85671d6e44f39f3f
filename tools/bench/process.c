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

static void limit_path(char *path, size_t room, pid_t pid, const char *file)
{
    snprintf(path, room, CGROUP_ROOT "/varve-bench-%d%s", (int)pid, file);
}

void process_limit_memory(uint64_t bytes)
{
    char path[128], text[32];
    limit_path(path, sizeof path, getpid(), "");
    if (mkdir(path, 0755))
        bench_die("a cgroup of version 1 with a memory limit", strerror(errno));
    limit_path(path, sizeof path, getpid(), "/memory.limit_in_bytes");
    snprintf(text, sizeof text, "%" PRIu64, bytes);
    bool ok = write_text(path, text);
    limit_path(path, sizeof path, getpid(), "/cgroup.procs");
    snprintf(text, sizeof text, "%d", (int)getpid());
    if (!ok || !write_text(path, text))
        bench_die("a memory limit", strerror(errno));
}

void process_limit_remove(pid_t ended)
{
    char path[128];
    limit_path(path, sizeof path, ended, "");
    for (int tries = 0; rmdir(path) && errno == EBUSY && tries < 50; tries++)
        usleep(100000);
}

/* From what was said to what holds: values that were left to the server, paths, and settings that depend on each other. */
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/snapshot.h"
#include "front/front.h"

#define MIB ((int64_t)1024 * 1024)
#define MAXMEMORY_MIN (32 * MIB)
#define MEMTABLES_KEPT 1        /* the front makes one more while a reader keeps one that has been flushed, */
#define KEPT_FROM (16 * MIB)    /* which counts when they are as large as that */
#define FIXED_MEMORY (16 * MIB) /* what a server without data takes besides: tables of touched keys, threads, buffers */

/* The first number of a file, or -1 ("max", no such file). */
static int64_t number_in_file(const char *path)
{
    char text[64] = "";
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return -1;
    size_t len = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[len] = 0;
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    return end == text || v > INT64_MAX ? -1 : (int64_t)v;
}

static void lower(int64_t *limit, int64_t value)
{
    if (value > 0 && value < *limit)
        *limit = value;
}

/* Applies the limit of a control group and of all above it: `path` is relative to the mount. */
static void lower_by_groups(int64_t *limit, const char *mount, const char *path, const char *file)
{
    char group[PATH_MAX], name[PATH_MAX + 64];
    snprintf(group, sizeof group, "%s", path);
    for (;;) {
        if (snprintf(name, sizeof name, "%s%s/%s", mount, group, file) < (int)sizeof name)
            lower(limit, number_in_file(name));
        char *slash = strrchr(group, '/');
        if (slash == NULL)
            return;
        *slash = 0;
    }
}

/* Physical memory, or what this process' control group may use (version 2 and 1) where that is less. */
static int64_t memory_available(void)
{
    int64_t limit = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    if (limit <= 0)
        limit = 1024 * MIB;
    FILE *f = fopen("/proc/self/cgroup", "r");
    char line[PATH_MAX + 64];
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL)
            continue;
        *path++ = 0;
        controllers++;
        if (*controllers == 0)
            lower_by_groups(&limit, "/sys/fs/cgroup", path, "memory.max");
        else if (strstr(controllers, "memory") != NULL)
            lower_by_groups(&limit, "/sys/fs/cgroup/memory", path, "memory.limit_in_bytes");
    }
    if (f != NULL)
        fclose(f);
    return limit;
}

static int64_t processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? n : 1;
}

static void settle_memory(struct settings *s, const struct snapshot *running)
{
    if (s->maxmemory == 0) {
        s->maxmemory = memory_available() / 4;
        if (s->maxmemory < MAXMEMORY_MIN)
            s->maxmemory = MAXMEMORY_MIN;
    }
    if (s->memtable_size == 0) {
        int64_t most = s->maxmemory / (s->maxmemory < 64 * MIB ? 32 : 16); /* there, what is fixed takes half of it */
        s->memtable_size = 64 * MIB;
        if (s->memtable_size > most)
            s->memtable_size = most;
        if (s->memtable_size < MIB)
            s->memtable_size = MIB;
    }
    if (running != NULL)
        s->log_buffer_size = running->settled.log_buffer_size;
    else if (s->log_buffer_size == 0)
        for (s->log_buffer_size = 16 * MIB; s->log_buffer_size > s->maxmemory / 32; s->log_buffer_size /= 2)
            ;
    if (running != NULL)
        s->disk_reserve = running->settled.disk_reserve;
    else if (s->disk_reserve == 0)
        s->disk_reserve = s->memtable_size + s->memtable_size / 4 + 4 * MIB;
    if (s->cache_size == 0) {
        int64_t kept = s->memtable_size >= KEPT_FROM ? MEMTABLES_KEPT : 0;
        int64_t rest = s->maxmemory - (s->memtables_max + kept) * s->memtable_size - s->log_buffer_size -
                       s->memtable_size / 4 - FIXED_MEMORY; /* a quarter: what ordering one for its flush takes */
        s->cache_size = rest / 4 * 3;
        if (s->cache_size < MIB)
            s->cache_size = MIB;
    }
}

static enum result settle_dir(struct snapshot *s, struct errmsg *msg)
{
    char here[PATH_MAX];
    const char *dir = s->said.dir;
    if (dir[0] == '/')
        return RES_OK;
    if (getcwd(here, sizeof here) == NULL)
        return errmsg_set(msg, RES_IO, "the working directory cannot be found");
    while (dir[0] == '.' && (dir[1] == '/' || dir[1] == 0))
        dir += dir[1] == '/' ? 2 : 1;
    size_t len = strlen(here) + strlen(dir) + 2;
    char *path = arena_alloc(&s->arena, len);
    if (path == NULL)
        return RES_NO_MEMORY;
    snprintf(path, len, "%s%s%s", here, *dir ? "/" : "", dir);
    s->settled.dir = path;
    return RES_OK;
}

enum result snapshot_settle(struct snapshot *s, const struct snapshot *running, const struct setting **culprit,
                            struct errmsg *msg)
{
    struct settings *t = &s->settled;
    *t = s->said;
    if (running != NULL) {
        t->io_threads = running->settled.io_threads;
    } else if (t->io_threads == 0) {
        t->io_threads = processors();
        if (t->io_threads > 4)
            t->io_threads = 4;
    }
    settle_memory(t, running);
    *culprit = setting_by_id(SETTING_memtable_size);
    if (s->said.memtable_size != 0 && s->said.memtable_size < 4096)
        return errmsg_set(msg, RES_INVALID, "argument must be at least 4096, or 0");
    *culprit = setting_by_id(SETTING_cache_size);
    if (running == NULL && s->said.cache_size > t->maxmemory)
        return errmsg_set(msg, RES_INVALID, "argument must not be above maxmemory, %" PRId64, t->maxmemory);
    *culprit = setting_by_id(SETTING_log_buffer_size);
    if (s->said.log_buffer_size != 0 && s->said.log_buffer_size < 65536)
        return errmsg_set(msg, RES_INVALID, "argument must be at least 65536, or 0");
    if ((t->log_buffer_size & (t->log_buffer_size - 1)) != 0)
        return errmsg_set(msg, RES_INVALID, "argument must be a power of two");
    *culprit = setting_by_id(SETTING_block_size);
    if ((t->block_size & (t->block_size - 1)) != 0)
        return errmsg_set(msg, RES_INVALID, "argument must be a power of two");
    *culprit = setting_by_id(SETTING_appendfsync);
    if (t->engine == SETTING_ENGINE_MEMORY && t->appendfsync == FRONT_FSYNC_ALWAYS) {
        if (s->given[SETTING_appendfsync])
            return errmsg_set(msg, RES_INVALID,
                              "the engine 'memory' cannot make anything durable: 'always' is refused");
        t->appendfsync = FRONT_FSYNC_NO;
    }
    *culprit = setting_by_id(SETTING_dir);
    return settle_dir(s, msg);
}

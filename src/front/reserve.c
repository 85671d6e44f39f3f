/* The reserve of a full disk: a file of zeros that is given up when the file system refuses room for the log, a memtable
 * or a compaction. What it leaves is for deletes, for the flush that takes them to the engine, and for the compaction
 * that makes room by them; all other writes are refused from then on (RES_NO_SPACE). When the file system has room for
 * it again, and half as much besides, the keeper makes it anew, and writes go on by themselves.
 *
 * While it is gone the log is frugal: it is prepared only as far ahead as one large batch needs, and files that could be
 * recycled are removed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "front/internal.h"

#define ZEROS 65536
#define SHARE 16 /* of a small file system */
#define LEAST ((uint64_t)64 << 10)
#define TIGHT ((uint64_t)8 << 20) /* when less is free at the start, it is given up before the log is made */

static bool reserve_path(const struct front *f, char path[512])
{
    int n = snprintf(path, 512, "%s/reserve", f->dir);
    return n > 0 && n < 512;
}

static uint64_t free_space(struct front *f)
{
    uint64_t bytes = 0;
    enum result res = f->o.env->ops->space(f->o.env, f->dir, &bytes);
    return res == RES_OK ? bytes : UINT64_MAX; /* then the attempt will tell */
}

void front_spend_reserve(void *front)
{
    struct front *f = front;
    char path[512];
    if (f->reserve_target == 0 || atomic_exchange(&f->disk_low, true))
        return;
    enum result res = reserve_path(f, path) ? f->o.env->ops->unlink(f->o.env, path) : RES_INVALID;
    if (res != RES_OK && res != RES_NOT_FOUND)
        log_warning("the reserve in %s cannot be given up: %s", f->dir, result_text(res));
    log_warning("the file system of %s is full: writes are refused until there is room, deletes go on", f->dir);
    if (f->wal)
        wal_set_frugal(f->wal, true);
    front_tell_space(f); /* who waits shall hear of it */
    front_wake_keeper(f);
}

/* A compaction that needs more than there is, is tried again and again: writes are refused for it only when there is
 * little room for them as well. */
void front_engine_full(void *front)
{
    struct front *f = front;
    if (free_space(f) < f->reserve_target)
        front_spend_reserve(f);
}

/* How large it shall be: a small file system gives a share. One that is there keeps its size. */
void front_reserve_at_start(struct front *f)
{
    char path[512];
    struct env_file *file = NULL;
    uint64_t room = free_space(f), size = 0;
    if (f->o.reserve_bytes == 0 || !reserve_path(f, path))
        return;
    f->reserve_target = f->o.reserve_bytes;
    if (room / SHARE < f->reserve_target)
        f->reserve_target = room / SHARE > LEAST ? room / SHARE : LEAST;
    if (f->o.env->ops->open(f->o.env, path, ENV_READ, &file) != RES_OK)
        return;
    if (file->ops->size(file, &size) == RES_OK && size >= LEAST && size <= f->o.reserve_bytes)
        f->reserve_target = size;
    (void)file->ops->close(file); /* only read */
    if (room < TIGHT && room < f->reserve_target)
        front_spend_reserve(f);
}

/* By allocation, else by writing. */
static enum result fill(struct env_file *file, uint64_t bytes)
{
    static const uint8_t zeros[ZEROS];
    enum result res = file->ops->allocate(file, 0, bytes);
    for (uint64_t at = 0; res == RES_UNSUPPORTED && at < bytes; at += ZEROS) {
        enum result w = env_write(file, zeros, bytes - at < ZEROS ? (size_t)(bytes - at) : ZEROS, at);
        if (w != RES_OK)
            return w;
        if (at + ZEROS >= bytes)
            return RES_OK;
    }
    return res;
}

static enum result make(struct front *f, const char *path)
{
    struct env_file *file = NULL;
    uint64_t size = 0;
    enum result res = f->o.env->ops->open(f->o.env, path, ENV_READ | ENV_WRITE | ENV_CREATE, &file);
    if (res != RES_OK)
        return res;
    res = file->ops->size(file, &size);
    if (res == RES_OK && size != f->reserve_target) {
        res = file->ops->truncate(file, 0);
        if (res == RES_OK)
            res = fill(file, f->reserve_target);
    }
    enum result closed = file->ops->close(file);
    res = res == RES_OK ? closed : res;
    if (res != RES_OK)
        (void)f->o.env->ops->unlink(f->o.env, path); /* what there is of it, others may need */
    return res;
}

bool front_keep_reserve(struct front *f)
{
    char path[512];
    bool low = atomic_load(&f->disk_low);
    if (f->reserve_target == 0 || (f->reserve_held && !low) || !reserve_path(f, path))
        return false;
    f->reserve_held = false;
    if (low && free_space(f) < f->reserve_target + f->reserve_target / 2)
        return true;
    enum result res = make(f, path);
    if (res != RES_OK) {
        if (!low && res == RES_NO_SPACE)
            front_spend_reserve(f);
        else if (!low)
            log_warning("the reserve in %s cannot be made: %s", f->dir, result_text(res));
        f->reserve_held = res != RES_NO_SPACE; /* what else it may be will not pass */
        return !f->reserve_held;
    }
    f->reserve_held = true;
    if (!low)
        return false;
    if (f->wal)
        wal_set_frugal(f->wal, false);
    atomic_store(&f->disk_low, false);
    log_notice("the file system of %s has room again: writes go on", f->dir);
    front_tell_space(f);
    return false;
}

bool front_batch_shrinks(const struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        uint8_t region = b->records[i].key.bytes.len ? b->records[i].key.bytes.data[0] : 0;
        if (b->records[i].kind != RECORD_DELETE && region != REGION_DEAD && region != REGION_SYSTEM)
            return false;
    }
    return b->table == NULL;
}

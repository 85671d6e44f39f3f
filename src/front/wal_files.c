/* The log's files: made ahead of need, filled with zeros, recycled; see wal.h.
 *
 * Under `always` the preparer writes zeros in pieces of 64 KiB (larger ones leave large folios in the page cache, which
 * make every small write later dearer) and syncs each megabyte before it counts as prepared: then a log write changes
 * neither the file's size nor its extents, and only data has to reach the disk. Otherwise it allocates the space. A
 * recycled file is renamed to its new number, and the directory synced, before a record may go into it: under its old
 * name recovery would take it for one that is no longer needed. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "front/wal.h"

#define ZERO_PIECE 65536
#define SYNC_PIECE ((uint64_t)1 << 20)
#define RETRY_NS 200000000

static const uint8_t zero_piece[ZERO_PIECE];

static struct wal_file *file_new(uint64_t number)
{
    struct wal_file *f = calloc(1, sizeof(*f));
    if (f)
        f->number = number;
    return f;
}

static void file_free(struct wal_file *f)
{
    if (!f)
        return;
    if (f->file && f->file->ops->close(f->file) != RES_OK)
        log_warning("closing log %012" PRIu64 " failed", f->number);
    free(f);
}

/* Zeros up to `until`, synced. */
static enum result extend(struct wal *w, struct wal_file *f, uint64_t until)
{
    uint64_t at = atomic_load(&f->prepared);
    /* Without a sync for each write, space that reads as zeros is as good, and nothing is written twice. */
    if (atomic_load(&w->mode) != FRONT_FSYNC_ALWAYS) {
        enum result res = f->file->ops->allocate(f->file, at, until - at);
        if (res == RES_OK) {
            if (at == 0)
                atomic_store(&f->untouched, true);
            at = until;
        } else if (res != RES_UNSUPPORTED)
            return res;
    }
    if (at < until)
        atomic_store(&f->untouched, false);
    while (at < until) {
        size_t n = until - at < ZERO_PIECE ? (size_t)(until - at) : ZERO_PIECE;
        enum result res = env_write(f->file, zero_piece, n, at);
        if (res != RES_OK)
            return res;
        at += n;
    }
    enum result res = f->file->ops->sync(f->file);
    if (res != RES_OK)
        return res;
    atomic_store_explicit(&f->prepared, until, memory_order_release);
    atomic_fetch_add_explicit(&w->stats.syncs, 1, memory_order_relaxed);
    return RES_OK;
}

static uint64_t next_piece(const struct wal *w, uint64_t prepared)
{
    uint64_t until = prepared + SYNC_PIECE;
    return until < w->o.segment_bytes ? until : w->o.segment_bytes;
}

static enum result create_file(struct wal *w, struct wal_file *f)
{
    char path[512];
    enum result res = wal_path(w, f->number, path);
    if (res == RES_OK)
        res = w->o.env->ops->open(w->o.env, path, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_EXCL, &f->file);
    if (res != RES_OK)
        return res;
    res = extend(w, f, next_piece(w, 0));
    if (res == RES_OK)
        res = w->o.env->ops->sync_dir(w->o.env, w->dir);
    if (res != RES_OK)
        (void)w->o.env->ops->unlink(w->o.env, path);
    return res;
}

void wal_remove_file(struct wal *w, struct wal_file *f)
{
    char path[512];
    if (wal_path(w, f->number, path) != RES_OK || w->o.env->ops->unlink(w->o.env, path) != RES_OK)
        log_warning("cannot remove log %012" PRIu64 ", which is no longer needed", f->number);
    file_free(f);
}

/* Gives a freed file its new number. RES_UNSUPPORTED: of another size, not to be used again. */
static enum result reuse_file(struct wal *w, struct wal_file *f, uint64_t number)
{
    char from[512], to[512];
    uint64_t size = 0;
    enum result res = wal_path(w, f->number, from);
    if (res == RES_OK)
        res = wal_path(w, number, to);
    if (res == RES_OK && !f->file)
        res = w->o.env->ops->open(w->o.env, from, ENV_READ | ENV_WRITE, &f->file);
    if (res == RES_OK)
        res = f->file->ops->size(f->file, &size);
    if (res != RES_OK)
        return res;
    if (size != w->o.segment_bytes)
        return RES_UNSUPPORTED;
    res = w->o.env->ops->rename(w->o.env, from, to);
    if (res != RES_OK)
        return res;
    f->number = number;
    f->begun = f->started = false;
    f->base = 0;
    atomic_store(&f->untouched, false);
    atomic_store(&f->unsynced, false);
    atomic_store(&f->prepared, size);
    return w->o.env->ops->sync_dir(w->o.env, w->dir);
}

static struct wal_file *take_freed(struct wal *w)
{
    os_mutex_lock(&w->files_lock);
    struct wal_file *f = w->freed;
    if (f) {
        w->freed = f->next;
        w->freed_count--;
        f->next = NULL;
    }
    os_mutex_unlock(&w->files_lock);
    return f;
}

void wal_append_file(struct wal *w, struct wal_file *f)
{
    os_mutex_lock(&w->files_lock);
    if (w->newest)
        w->newest->next = f;
    else
        w->oldest = f;
    w->newest = f;
    os_mutex_unlock(&w->files_lock);
    w->files_made++;
}

void wal_count_prepared(struct wal *w)
{
    uint64_t prepared = (w->files_made - 1) * w->o.segment_bytes + atomic_load(&w->newest->prepared);
    atomic_store_explicit(&w->prepared, prepared, memory_order_release);
}

enum result wal_make_file(struct wal *w, struct wal_file **out)
{
    struct wal_file *f;
    enum result res = RES_OK;
    *out = NULL;
    while ((f = take_freed(w)) != NULL) {
        res = reuse_file(w, f, w->next_number);
        if (res == RES_OK)
            break;
        if (res == RES_IO) { /* the directory's sync failed: nobody knows under which name it lies */
            file_free(f);
            return res;
        }
        wal_remove_file(w, f);
    }
    if (!f) {
        f = file_new(w->next_number);
        res = f ? create_file(w, f) : RES_NO_MEMORY;
        if (res != RES_OK) {
            file_free(f);
            return res;
        }
    }
    w->next_number++;
    *out = f;
    return RES_OK;
}

static enum result add_file(struct wal *w)
{
    struct wal_file *f;
    enum result res = wal_make_file(w, &f);
    if (res == RES_OK)
        wal_append_file(w, f);
    return res;
}

/* One step ahead: a megabyte more, or a recycled file. */
static enum result prepare_step(struct wal *w)
{
    enum result res;
    uint64_t prepared = w->newest ? atomic_load(&w->newest->prepared) : w->o.segment_bytes;
    if (prepared < w->o.segment_bytes)
        res = extend(w, w->newest, next_piece(w, prepared));
    else
        res = add_file(w);
    if (res == RES_OK)
        wal_count_prepared(w);
    return res;
}

#define SHARE_AHEAD 4

/* So little is left of the disk that it is left to the tables: what is prepared stays a share of it. */
static bool must_leave_room(const struct wal *w, uint64_t ahead)
{
    uint64_t left;
    return w->o.leave_bytes != 0 && w->o.env->ops->space(w->o.env, w->dir, &left) == RES_OK &&
           (left < w->o.leave_bytes + SYNC_PIECE || left / SHARE_AHEAD < ahead);
}

/* What the log cannot do without: wal_reserve finds a place for another batch as large as the largest so far. */
static uint64_t least_ahead(const struct wal *w)
{
    uint64_t batch = atomic_load(&w->largest) + WAL_BATCH_OVERHEAD + LOG_START_RECORD;
    return (4 + w->ring.size / w->o.segment_bytes) * batch;
}

static bool prepared_enough(const struct wal *w)
{
    uint64_t prepared = atomic_load(&w->prepared), position = atomic_load(&w->position);
    uint64_t ahead = prepared - position;
    uint64_t goal = wal_prepare_goal(w), least = least_ahead(w);
    return ahead >= (goal > least ? goal : least) || (ahead >= least + SYNC_PIECE && must_leave_room(w, ahead));
}

/* How many files are kept for recycling. */
static int kept(const struct wal *w) { return atomic_load(&w->frugal) || atomic_load(&w->resting) ? 0 : WAL_FREE_MAX; }

static void remove_surplus(struct wal *w)
{
    for (;;) {
        os_mutex_lock(&w->files_lock);
        bool surplus = w->freed_count > kept(w);
        os_mutex_unlock(&w->files_lock);
        struct wal_file *f = surplus ? take_freed(w) : NULL;
        if (!f)
            return;
        wal_remove_file(w, f);
    }
}

static void prepare_failed(struct wal *w, enum result why)
{
    if (why == RES_NO_SPACE || why == RES_NO_MEMORY || why == RES_TOO_MANY) {
        if (!atomic_exchange(&w->no_space, true)) {
            log_warning("cannot make room for the log: %s; writes are refused until there is", result_text(why));
            wal_space(w); /* who waits shall hear of it */
        }
        if (why == RES_NO_SPACE && w->o.on_full)
            w->o.on_full(w->o.arg);
        return;
    }
    char sentence[256];
    snprintf(sentence, sizeof(sentence), "preparing a log file in %.150s failed: %s; nothing more is written", w->dir,
             result_text(why));
    wal_fail(w, why, sentence);
}

void wal_prepare_thread(void *arg)
{
    struct wal *w = arg;
    os_mutex_lock(&w->wake_lock);
    while (!w->stop_others) {
        if (wal_failed(w)) {
            os_cond_wait(&w->prepare_wake, &w->wake_lock);
            continue;
        }
        atomic_store(&w->preparer_sleeps, true);
        if (atomic_load(&w->no_space))
            os_cond_wait_for(&w->prepare_wake, &w->wake_lock, RETRY_NS);
        else if (prepared_enough(w))
            os_cond_wait(&w->prepare_wake, &w->wake_lock);
        atomic_store(&w->preparer_sleeps, false);
        if (w->stop_others)
            break;
        os_mutex_unlock(&w->wake_lock);
        enum result res = RES_OK;
        if (!prepared_enough(w))
            res = prepare_step(w);
        if (res != RES_OK) {
            prepare_failed(w, res);
        } else {
            if (atomic_exchange(&w->no_space, false))
                log_notice("there is room for the log again");
            wal_space(w);
        }
        remove_surplus(w);
        wal_take_rest(w);
        os_mutex_lock(&w->wake_lock);
    }
    os_mutex_unlock(&w->wake_lock);
}

/* ---- the first file ---- */

static enum result write_first_start(struct wal *w)
{
    struct wal_file *f = w->newest;
    struct log_start s = w->o.before;
    s.format = LOG_FORMAT_VERSION;
    s.epoch = w->o.epoch;
    s.time_ms = w->o.time_ms;
    memcpy(s.uuid, w->o.uuid, sizeof(s.uuid));
    struct log_header h = {.length = LOG_START_BYTES,
                           .type = LOG_START,
                           .number = f->number,
                           .first = w->o.base,
                           .epoch = (uint32_t)w->o.epoch,
                           .durable = w->o.base};
    log_start_put(w->start_record + LOG_START_HEADER_BYTES, &s);
    log_header_put(w->start_record, LOG_FORMAT_VERSION, &h, 0, w->start_record + LOG_START_HEADER_BYTES);
    w->last_checksum = h.checksum;
    struct iovec iov = {w->start_record, LOG_START_RECORD};
    enum result res = f->file->ops->pwritev(f->file, &iov, 1, 0, ENV_DSYNC);
    if (res != RES_OK)
        return res;
    f->begun = f->started = true;
    f->base = w->o.base;
    w->current = f;
    w->offset = LOG_START_RECORD;
    w->touched = WAL_PAGE;
    atomic_store(&w->position, w->offset);
    return RES_OK;
}

enum result wal_first_file(struct wal *w, struct errmsg *msg)
{
    enum result res = prepare_step(w);
    if (res == RES_OK)
        res = write_first_start(w);
    if (res != RES_OK)
        return errmsg_set(msg, res, "cannot begin a new log in %s: %s", w->dir, result_text(res));
    return RES_OK;
}

void wal_files_free(struct wal *w)
{
    struct wal_file *lists[2] = {w->oldest, w->freed};
    for (int i = 0; i < 2; i++)
        for (struct wal_file *f = lists[i], *next; f; f = next) {
            next = f->next;
            file_free(f);
        }
}

/* ---- what is still needed ---- */

/* Has the file, on the disk too, nothing before it that is needed behind the sequence? A file whose START was written
 * together with its first record may be there only from that record on. */
static bool begins_by(const struct wal_file *f, uint64_t sequence)
{
    return f->begun && (f->base <= sequence || (f->started && f->base == sequence + 1));
}

uint64_t wal_file_for(struct wal *w, uint64_t sequence)
{
    os_mutex_lock(&w->files_lock);
    const struct wal_file *f = w->oldest;
    while (f->next && begins_by(f->next, sequence))
        f = f->next;
    uint64_t number = f->number;
    os_mutex_unlock(&w->files_lock);
    return number;
}

static void free_file(struct wal *w, struct wal_file *f) REQUIRES(w->files_lock)
{
    f->next = w->freed;
    w->freed = f;
    w->freed_count++;
}

void wal_release(struct wal *w, uint64_t number)
{
    os_mutex_lock(&w->files_lock);
    while (w->oldest != w->current && !w->oldest->syncing && w->oldest->number < number) {
        struct wal_file *f = w->oldest;
        w->oldest = f->next;
        free_file(w, f);
    }
    bool surplus = w->freed_count > kept(w);
    os_mutex_unlock(&w->files_lock);
    if (surplus || atomic_load(&w->no_space))
        wal_wake_preparer(w);
}

enum result wal_adopt(struct wal *w, uint64_t number, uint64_t base)
{
    struct wal_file *f = file_new(number);
    if (!f)
        return RES_NO_MEMORY;
    f->base = base;
    f->begun = true;
    os_mutex_lock(&w->files_lock);
    struct wal_file **at = &w->oldest;
    while (*at != w->current)
        at = &(*at)->next;
    f->next = *at;
    *at = f;
    os_mutex_unlock(&w->files_lock);
    return RES_OK;
}

enum result wal_discard(struct wal *w, uint64_t number)
{
    struct wal_file *f = file_new(number);
    if (!f)
        return RES_NO_MEMORY;
    os_mutex_lock(&w->files_lock);
    free_file(w, f);
    os_mutex_unlock(&w->files_lock);
    wal_wake_preparer(w);
    return RES_OK;
}

uint64_t wal_live_bytes(struct wal *w)
{
    uint64_t files = 0;
    os_mutex_lock(&w->files_lock);
    for (const struct wal_file *f = w->oldest; f && f->begun; f = f->next)
        files++;
    os_mutex_unlock(&w->files_lock);
    return files * w->o.segment_bytes;
}

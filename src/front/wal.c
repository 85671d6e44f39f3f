/* Opening and closing the log, and the latch holder's side of it: see wal.h. */
#include "front/wal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FRUGAL 65536
#define PUT_AHEAD 256 /* bytes of the ring that are fetched before the next batch needs them */

enum result wal_path(const struct wal *w, uint64_t number, char path[512])
{
    int n = snprintf(path, 512, "%s/%012" PRIu64 ".log", w->dir, number);
    return n > 0 && n < 512 ? RES_OK : RES_INVALID;
}

uint64_t wal_batch_max(const struct wal *w)
{
    uint64_t max = w->o.segment_bytes - LOG_START_RECORD - LOG_HEADER_BYTES - 8;
    uint64_t ring = w->ring.size - WAL_HEADROOM - WAL_BATCH_OVERHEAD; /* what wal_reserve finds in an empty one */
    if (max > ring)
        max = ring;
    return max < FRONT_BATCH_MAX ? max : FRONT_BATCH_MAX;
}

/* How far the preparer goes ahead of the writer: a full ring must find its place, with the losses at the ends of files. */
uint64_t wal_prepare_goal(const struct wal *w)
{
    uint64_t ring = w->ring.size + w->ring.size / 2;
    if (atomic_load_explicit(&w->frugal, memory_order_relaxed))
        ring = FRUGAL;
    uint64_t since = wal_ahead_after_rest(w);
    uint64_t slack = (3 + ring / w->o.segment_bytes) * (wal_batch_max(w) + WAL_BATCH_OVERHEAD + LOG_START_RECORD);
    return since < ring + slack ? since : ring + slack;
}

enum result wal_start(struct wal *w)
{
    enum result res = os_thread_start(&w->log_thread, "log", wal_log_thread, w);
    if (res == RES_OK) {
        w->threads++;
        res = os_thread_start(&w->prepare_thread, "log-prepare", wal_prepare_thread, w);
    }
    if (res == RES_OK) {
        w->threads++;
        res = os_thread_start(&w->sync_thread, "log-sync", wal_sync_thread, w);
    }
    if (res == RES_OK)
        w->threads++;
    return res;
}

static void stop_threads(struct wal *w)
{
    os_mutex_lock(&w->wake_lock);
    w->stop_log = w->stop_others = true;
    os_cond_broadcast(&w->log_wake);
    os_cond_broadcast(&w->prepare_wake);
    os_cond_broadcast(&w->sync_wake);
    os_mutex_unlock(&w->wake_lock);
    if (w->threads > 0)
        os_thread_join(&w->log_thread);
    if (w->threads > 1)
        os_thread_join(&w->prepare_thread);
    if (w->threads > 2)
        os_thread_join(&w->sync_thread);
    w->threads = 0;
}

void wal_free(struct wal *w)
{
    wal_files_free(w);
    ring_fini(&w->ring);
    os_mutex_fini(&w->files_lock);
    os_mutex_fini(&w->sync_lock);
    os_mutex_fini(&w->wake_lock);
    os_cond_fini(&w->log_wake);
    os_cond_fini(&w->prepare_wake);
    os_cond_fini(&w->sync_wake);
    free(w->dir);
    free(w);
}

enum result wal_open(const struct wal_options *o, struct wal **out, struct errmsg *msg)
{
    *out = NULL;
    struct wal *w = aligned_alloc(64, (sizeof(*w) + 63) & ~(size_t)63);
    if (!w)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the log");
    memset(w, 0, sizeof(*w));
    w->o = *o;
    if (w->o.segment_bytes < 16384)
        w->o.segment_bytes = 16384;
    w->o.segment_bytes = (w->o.segment_bytes + 4095) & ~(uint64_t)4095;
    os_mutex_init(&w->files_lock);
    os_mutex_init(&w->sync_lock);
    os_mutex_init(&w->wake_lock);
    os_cond_init(&w->log_wake);
    os_cond_init(&w->prepare_wake);
    os_cond_init(&w->sync_wake);
    atomic_store(&w->mode, o->mode);
    atomic_store(&w->written, o->base);
    atomic_store(&w->durable, o->base);
    w->put_sequence = o->base;
    w->next_number = o->number;
    enum result res = RES_NO_MEMORY;
    w->dir = strdup(o->dir);
    if (w->dir)
        res = ring_init(&w->ring, o->ring_bytes);
    if (res != RES_OK)
        errmsg_set(msg, res, "no memory for the log ring of %" PRIu64 " bytes: %s", o->ring_bytes, result_text(res));
    else
        res = wal_first_file(w, msg);
    if (res != RES_OK) {
        wal_free(w);
        return res;
    }
    *out = w;
    return RES_OK;
}

/* The last record of a life that ended in order: behind it, whatever does not hold up is damage. */
static enum result write_clean_note(struct wal *w)
{
    uint64_t room = atomic_load(&w->current->prepared) - w->offset;
    if (room < LOG_HEADER_BYTES)
        return RES_OK; /* the next start takes the longer way: no promise is lost */
    uint8_t p[LOG_HEADER_BYTES];
    uint64_t last = atomic_load(&w->written);
    struct log_header h = {
        .type = LOG_NOTE, .flags = LOG_CLEAN, .number = w->current->number, .first = last, .durable = last};
    log_header_put(p, LOG_FORMAT_VERSION, &h, w->offset, "");
    struct iovec iov = {p, sizeof(p)};
    return w->current->file->ops->pwritev(w->current->file, &iov, 1, w->offset, ENV_DSYNC);
}

enum result wal_stop(struct wal *w)
{
    stop_threads(w);
    wal_write_pending(w);
    enum result res = wal_failed(w) ? RES_READ_ONLY : wal_sync_all(w);
    if (res == RES_OK)
        res = write_clean_note(w);
    return res;
}

/* ---- the latch holder ---- */

/* Bytes that may be put from now on; see "Space" in wal.h. The order of the loads matters: position is at least as new
 * as written and tail, so what is pending is never counted too small. */
static uint64_t look_up_budget(struct wal *w)
{
    uint64_t tail = atomic_load_explicit(&w->tail, memory_order_acquire);
    uint64_t written = atomic_load_explicit(&w->written, memory_order_acquire);
    uint64_t position = atomic_load_explicit(&w->position, memory_order_acquire);
    uint64_t prepared = atomic_load_explicit(&w->prepared, memory_order_acquire);
    uint64_t pending = w->put_head - tail + (w->put_sequence - written) * WAL_BATCH_OVERHEAD;
    uint64_t ring = w->ring.size - WAL_HEADROOM - (w->put_head - tail);
    uint64_t losses =
        (2 + (pending + ring) / w->o.segment_bytes) * (w->largest + WAL_BATCH_OVERHEAD + LOG_START_RECORD);
    if (prepared < position + pending + losses)
        return 0;
    uint64_t files = prepared - position - pending - losses;
    return ring < files ? ring : files;
}

enum result wal_reserve(struct wal *w, uint64_t bytes)
{
    uint64_t need = bytes + WAL_BATCH_OVERHEAD;
    if (unlikely(wal_failed(w)))
        return RES_READ_ONLY;
    if (likely(need <= w->budget && bytes <= w->largest))
        return RES_OK;
    if (bytes > wal_batch_max(w))
        return RES_INVALID;
    if (bytes > w->largest)
        w->largest = bytes;
    if (atomic_load_explicit(&w->resting, memory_order_relaxed))
        wal_end_rest(w);
    w->budget = look_up_budget(w);
    if (need <= w->budget)
        return RES_OK;
    if (atomic_load(&w->no_space)) /* but a full ring is no full disk: it drains into what is prepared */
        if (atomic_load(&w->tail) == w->put_head)
            return RES_NO_SPACE;
    atomic_store(&w->space_wanted, true);
    w->budget = look_up_budget(w); /* it may have come before the wish was seen */
    if (need <= w->budget)
        return RES_OK;
    wal_wake_preparer(w); /* which may have thought that smaller batches are all that comes */
    return RES_WOULD_BLOCK;
}

uint8_t *wal_put(struct wal *w, uint64_t bytes)
{
    uint8_t *p = ring_at(&w->ring, w->put_head);
    assert(w->budget >= bytes + WAL_BATCH_OVERHEAD);
    w->budget -= bytes + WAL_BATCH_OVERHEAD;
    w->put_head += bytes;
    return p;
}

void wal_publish(struct wal *w, uint64_t sequence)
{
    assert(sequence == w->put_sequence + 1);
    w->put_sequence = sequence;
    prefetch_for_write(ring_at(&w->ring, w->put_head), PUT_AHEAD);
    atomic_store_explicit(&w->head, w->put_head, memory_order_release);
}

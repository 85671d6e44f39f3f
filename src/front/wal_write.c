/* Writing the log: groups, marks, the turn, syncing, failure; see wal.h. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "front/wal.h"

static const uint8_t zeros[WAL_PAGE];

static void add(_Atomic uint64_t *counter, uint64_t n) { atomic_fetch_add_explicit(counter, n, memory_order_relaxed); }

/* The front hears of it before the log refuses: whoever is refused finds the reason. */
void wal_fail(struct wal *w, enum result why, const char *sentence)
{
    if (atomic_exchange(&w->failing, true))
        return;
    w->o.on_failure(w->o.arg, why, sentence);
    atomic_store_explicit(&w->failed, true, memory_order_release);
}

static void fail_file(struct wal *w, const struct wal_file *f, enum result why, const char *what)
{
    char sentence[256];
    snprintf(sentence, sizeof(sentence), "%s of log %012" PRIu64 " failed: %s; nothing more is written", what,
             f->number, result_text(why));
    wal_fail(w, why, sentence);
}

/* Called after space has come: the fence, and the one that setting the wish is, see to it that either we see the wish
 * or the wisher sees the space. */
void wal_space(struct wal *w)
{
    os_fence();
    if (atomic_load(&w->space_wanted) && atomic_exchange(&w->space_wanted, false) && w->o.on_space)
        w->o.on_space(w->o.arg);
}

void wal_wake_preparer(struct wal *w)
{
    if (!atomic_load(&w->preparer_sleeps))
        return;
    os_mutex_lock(&w->wake_lock);
    os_cond_signal(&w->prepare_wake);
    os_mutex_unlock(&w->wake_lock);
}

static void raise_durable(struct wal *w, uint64_t sequence)
{
    uint64_t now = atomic_load(&w->durable);
    while (now < sequence && !atomic_compare_exchange_weak(&w->durable, &now, sequence))
        ;
}

/* ---- groups ---- */

/* The next file takes over. Its START record is written together with its first group. */
void wal_begin_next_file(struct wal *w)
{
    struct log_start s = {.format = LOG_FORMAT_VERSION,
                          .before_checksum = w->last_checksum,
                          .before = w->current->number,
                          .before_end = w->offset,
                          .epoch = w->o.epoch,
                          .time_ms = w->o.time_ms};
    memcpy(s.uuid, w->o.uuid, sizeof(s.uuid));
    uint64_t base = atomic_load(&w->written);
    w->current->file->ops->release(w->current->file);
    os_mutex_lock(&w->files_lock);
    w->current = w->current->next;
    assert(w->current && !w->current->begun); /* promised by wal_reserve */
    w->current->base = base;
    w->current->begun = true;
    os_mutex_unlock(&w->files_lock);
    struct log_header h = {.length = LOG_START_BYTES,
                           .type = LOG_START,
                           .number = w->current->number,
                           .first = base,
                           .epoch = (uint32_t)w->o.epoch,
                           .durable = atomic_load(&w->durable)};
    log_start_put(w->start_record + LOG_START_HEADER_BYTES, &s);
    log_header_put(w->start_record, LOG_FORMAT_VERSION, &h, 0, w->start_record + LOG_START_HEADER_BYTES);
    w->last_checksum = h.checksum;
    w->offset = 0;
    w->touched = 0;
    w->files_begun++;
}

struct group {
    uint64_t tail, bytes;
    uint32_t batches;
    bool begins; /* the file: a START record goes before it */
};

/* All published batches that fit into the current file, or else into the next one. */
static struct group form_group(struct wal *w, uint64_t head)
{
    struct group g = {.tail = atomic_load(&w->tail)};
    for (;;) {
        uint64_t used = w->offset + (g.begins ? LOG_START_RECORD : 0) + LOG_HEADER_BYTES;
        uint64_t prepared = atomic_load(&w->current->prepared);
        uint64_t room = prepared > used ? prepared - used : 0;
        if (room > WAL_GROUP_MAX)
            room = WAL_GROUP_MAX;
        while (g.tail + g.bytes < head && g.batches < LOG_GROUP_BATCHES) {
            uint64_t batch = log_batch_length(ring_at(&w->ring, g.tail + g.bytes));
            if (g.bytes + batch > room && !(g.batches == 0 && used + batch <= prepared))
                break;
            g.bytes += batch;
            g.batches++;
        }
        if (g.batches > 0)
            return g;
        assert(!g.begins);
        wal_begin_next_file(w);
        g.begins = true;
    }
}

static void note_sync_time(struct wal *w, uint64_t started)
{
    uint64_t ns = w->o.env->ops->mono_ns(w->o.env) - started;
    add(&w->stats.syncs, 1);
    add(&w->stats.sync_ns, ns);
    if (ns > atomic_load_explicit(&w->stats.sync_ns_max, memory_order_relaxed))
        atomic_store_explicit(&w->stats.sync_ns_max, ns, memory_order_relaxed);
}

/* Where the write of a group that ends at `to` ends itself. Zeros fill a page that it is the first to touch, so that neither
 * this write nor the next has to read that page of a recycled file first; of a file that has only been allocated there is
 * nothing to read, and nothing is filled. */
static uint64_t touch(struct wal *w, uint64_t to)
{
    if (to <= w->touched)
        return to;
    w->touched = (to + WAL_PAGE - 1) & ~(uint64_t)(WAL_PAGE - 1);
    if (atomic_load_explicit(&w->current->untouched, memory_order_relaxed))
        return to;
    uint64_t prepared = atomic_load(&w->current->prepared);
    return w->touched < prepared ? w->touched : prepared;
}

/* A group within pages that have been touched may go into the page cache by itself, see ENV_CACHED, as long as nothing has
 * cleaned them: since the last sync there must have been a write, which was a plain one. So a page that the kernel may have
 * given up meanwhile is asked of it by a write, which can fail, and not by a store, which cannot. */
static int write_flags(const struct wal *w, uint64_t to, bool dsync)
{
    if (dsync)
        return ENV_DSYNC;
    return to <= w->touched && atomic_load_explicit(&w->current->unsynced, memory_order_relaxed) ? ENV_CACHED : 0;
}

/* The write itself. */
static enum result write_group(struct wal *w, const struct group *g, bool dsync, uint64_t *end)
{
    uint64_t at = w->offset + (g->begins ? LOG_START_RECORD : 0);
    uint8_t *header = ring_at(&w->ring, g->tail - WAL_HEADROOM), *payload = header + LOG_HEADER_BYTES;
    struct log_header h = {.length = (uint32_t)g->bytes,
                           .type = LOG_GROUP,
                           .number = w->current->number,
                           .first = atomic_load(&w->written) + 1,
                           .batches = g->batches,
                           .durable = atomic_load(&w->durable)};
    log_header_put(header, LOG_FORMAT_VERSION, &h, at, payload);
    w->last_checksum = h.checksum;
    *end = at + log_record_bytes(&h);
    uint64_t written_end = at + LOG_HEADER_BYTES + g->bytes;
    int flags = write_flags(w, written_end, dsync);
    uint64_t padded = touch(w, written_end);
    struct iovec iov[3];
    int n = 0;
    if (g->begins)
        iov[n++] = (struct iovec){w->start_record, LOG_START_RECORD};
    iov[n++] = (struct iovec){header, LOG_HEADER_BYTES + g->bytes};
    if (padded > written_end)
        iov[n++] = (struct iovec){(void *)(uintptr_t)zeros, padded - written_end};
    add(&w->stats.bytes, *end - w->offset); /* without what is only filled */
    add(&w->stats.writes, 1);
    add(&w->stats.groups, 1);
    uint64_t started = dsync ? w->o.env->ops->mono_ns(w->o.env) : 0;
    enum result res = w->current->file->ops->pwritev(w->current->file, iov, n, w->offset, flags);
    if (dsync)
        note_sync_time(w, started);
    return res;
}

#define SYNC_EARLY ((uint64_t)16 << 20) /* under everysec: so much is not left for the end of the second */

static void wake_syncer(struct wal *w)
{
    os_mutex_lock(&w->wake_lock);
    os_cond_signal(&w->sync_wake);
    os_mutex_unlock(&w->wake_lock);
}

/* One group; the caller has the turn and head is beyond tail. */
static void write_one(struct wal *w, uint64_t head)
{
    struct group g = form_group(w, head);
    bool always = atomic_load(&w->mode) == FRONT_FSYNC_ALWAYS;
    uint64_t end = 0, before = atomic_load(&w->written), last = before + g.batches;
    enum result res = write_group(w, &g, always, &end);
    if (res != RES_OK) {
        fail_file(w, w->current, res, "writing");
        return;
    }
    if (!always) /* before the mark moves: a sync that starts from the mark must see the file */
        atomic_store(&w->current->unsynced, true);
    w->unsynced_bytes += end - w->offset;
    w->offset = end;
    atomic_store_explicit(&w->position, w->files_begun * w->o.segment_bytes + end, memory_order_release);
    atomic_store_explicit(&w->written, last, memory_order_release);
    ring_used(&w->ring, g.tail, g.tail + g.bytes);
    atomic_store_explicit(&w->tail, g.tail + g.bytes, memory_order_release);
    if (always) {
        if (atomic_load(&w->durable) >= before)
            raise_durable(w, last);
        else if (wal_sync_all(w) != RES_OK) /* another mode left something: all before must be durable too */
            return;
    }
    if (w->unsynced_bytes >= SYNC_EARLY) {
        w->unsynced_bytes = 0;
        if (atomic_load(&w->mode) == FRONT_FSYNC_EVERYSEC && !atomic_exchange(&w->sync_early, true))
            wake_syncer(w);
    }
    sched_point(SCHED_GATE);
    w->o.on_progress(w->o.arg);
    wal_space(w); /* its fence also orders the marks before the look at the preparer's sleep */
    uint64_t prepared = atomic_load(&w->prepared), position = atomic_load(&w->position);
    if (prepared - position < wal_prepare_goal(w))
        wal_wake_preparer(w);
}

static bool take_turn(struct wal *w) { return !atomic_load(&w->turn) && !atomic_exchange(&w->turn, true); }

/* Writes until nothing is pending; returns at once when somebody else is at it, who then sees ours. */
void wal_write_pending(struct wal *w)
{
    while (atomic_load(&w->head) != atomic_load(&w->tail) && !wal_failed(w)) {
        if (!take_turn(w))
            return;
        uint64_t head;
        while ((head = atomic_load(&w->head)) != atomic_load(&w->tail) && !wal_failed(w))
            write_one(w, head);
        atomic_store(&w->turn, false);
    }
}

void wal_kick(struct wal *w)
{
    os_fence(); /* head is published before we look whether anybody is at it */
    if (atomic_load(&w->mode) != FRONT_FSYNC_ALWAYS) {
        wal_write_pending(w);
        return;
    }
    if (!atomic_load_explicit(&w->log_sleeps, memory_order_relaxed) || !atomic_exchange(&w->log_sleeps, false))
        return;
    os_mutex_lock(&w->wake_lock);
    os_cond_signal(&w->log_wake);
    os_mutex_unlock(&w->wake_lock);
}

static bool log_has_work(struct wal *w)
{
    if (wal_failed(w) || atomic_load(&w->mode) != FRONT_FSYNC_ALWAYS)
        return false;
    return atomic_load(&w->head) != atomic_load(&w->tail) || atomic_load(&w->durable) < atomic_load(&w->written);
}

void wal_log_thread(void *arg)
{
    struct wal *w = arg;
    os_mutex_lock(&w->wake_lock);
    for (;;) {
        while (!w->stop_log && !log_has_work(w)) {
            atomic_store(&w->log_sleeps, true);
            os_fence();
            if (!log_has_work(w))
                os_cond_wait(&w->log_wake, &w->wake_lock);
            atomic_store(&w->log_sleeps, false);
        }
        if (w->stop_log)
            break;
        os_mutex_unlock(&w->wake_lock);
        wal_write_pending(w);
        if (!wal_failed(w) && atomic_load(&w->durable) < atomic_load(&w->written) && wal_sync_all(w) == RES_OK)
            w->o.on_progress(w->o.arg);
        os_mutex_lock(&w->wake_lock);
    }
    os_mutex_unlock(&w->wake_lock);
}

void wal_set_mode(struct wal *w, enum front_fsync mode)
{
    atomic_store(&w->mode, (int)mode);
    os_mutex_lock(&w->wake_lock);
    os_cond_signal(&w->log_wake);
    os_cond_signal(&w->sync_wake);
    os_mutex_unlock(&w->wake_lock);
}

void wal_set_frugal(struct wal *w, bool on)
{
    atomic_store(&w->frugal, on);
    os_mutex_lock(&w->wake_lock);
    os_cond_signal(&w->prepare_wake);
    os_mutex_unlock(&w->wake_lock);
}

/* ---- syncing ---- */

/* The oldest file with something to sync, marked as being synced. */
static struct wal_file *take_unsynced(struct wal *w)
{
    os_mutex_lock(&w->files_lock);
    struct wal_file *f = w->oldest;
    while (f && !atomic_exchange(&f->unsynced, false))
        f = f->next;
    if (f)
        f->syncing = true;
    os_mutex_unlock(&w->files_lock);
    return f;
}

/* Makes everything written by now durable, oldest file first, and moves the mark. */
enum result wal_sync_all(struct wal *w)
{
    enum result res = RES_OK;
    os_mutex_lock(&w->sync_lock);
    uint64_t written = atomic_load_explicit(&w->written, memory_order_acquire);
    struct wal_file *f;
    while (res == RES_OK && (f = take_unsynced(w)) != NULL) {
        uint64_t started = w->o.env->ops->mono_ns(w->o.env);
        res = f->file->ops->sync(f->file);
        note_sync_time(w, started);
        if (res != RES_OK)
            fail_file(w, f, res, "fdatasync");
        os_mutex_lock(&w->files_lock);
        f->syncing = false;
        os_mutex_unlock(&w->files_lock);
    }
    if (res == RES_OK)
        raise_durable(w, written);
    os_mutex_unlock(&w->sync_lock);
    return res;
}

void wal_sync_thread(void *arg)
{
    struct wal *w = arg;
    os_mutex_lock(&w->wake_lock);
    while (!w->stop_others) {
        bool early = atomic_exchange(&w->sync_early, false);
        if (!early && atomic_load(&w->mode) == FRONT_FSYNC_EVERYSEC)
            os_cond_wait_for(&w->sync_wake, &w->wake_lock, 1000000000);
        else if (!early)
            os_cond_wait(&w->sync_wake, &w->wake_lock);
        if (w->stop_others)
            break;
        os_mutex_unlock(&w->wake_lock);
        bool due = !wal_failed(w) && atomic_load(&w->durable) < atomic_load(&w->written);
        if (due && atomic_load(&w->mode) == FRONT_FSYNC_EVERYSEC && wal_sync_all(w) == RES_OK)
            w->o.on_progress(w->o.arg);
        os_mutex_lock(&w->wake_lock);
    }
    os_mutex_unlock(&w->wake_lock);
}

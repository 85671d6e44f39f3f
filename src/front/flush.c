/* The flusher: takes the oldest sealed source to the engine once the gate has passed it.
 *
 * The state stored with each boundary, little-endian:
 *     0  u32  1, version of this state
 *     4  u32  0
 *     8  u64  the boundary's sequence
 *    16  u64  number of the log that holds it: recovery reads from there
 *    24  u64  number of a private table that is in the engine although its batch is above the boundary; 0: none
 *    32  ...  counters as of the boundary (counters.h)
 *
 * Before the engine gets a source the log is durable up to the source's last sequence (under everysec that takes a sync):
 * so recovery always finds the log that the state names, what is missing in it is damage, and a private table is never
 * in the engine without the record of its batch in the log. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/heap.h"
#include "base/log.h"
#include "front/internal.h"

#define RETRY_NS 500000000
#define LOOK_NS 20000000 /* how often front_await_engine looks for a reason to give up */

void front_wake_flusher(struct front *f)
{
    os_mutex_lock(&f->flush_lock);
    os_cond_signal(&f->flush_wake);
    os_mutex_unlock(&f->flush_lock);
}

size_t front_state_put(const struct front *f, uint8_t *out, uint64_t boundary, uint64_t log, uint64_t attached,
                       struct slice counts)
{
    (void)f;
    put_le32(out, 1);
    put_le32(out + 4, 0);
    put_le64(out + 8, boundary);
    put_le64(out + 16, log);
    put_le64(out + 24, attached);
    memcpy(out + FRONT_STATE_HEAD, counts.data, counts.len);
    return FRONT_STATE_HEAD + counts.len;
}

enum result front_forget_logs(struct front *f, uint64_t sequence)
{
    uint8_t *counts = malloc(counters_bytes(&f->counters));
    uint8_t *state = malloc(FRONT_STATE_HEAD + counters_bytes(&f->counters));
    enum result res = counts && state ? RES_OK : RES_NO_MEMORY;
    uint64_t log = 0;
    if (res == RES_OK) {
        size_t n = counters_put(&f->counters, counts);
        log = f->wal->current->number;
        size_t len = front_state_put(f, state, sequence, log, 0, slice_of(counts, n));
        struct engine_boundary boundary = {sequence, slice_of(state, len)};
        res = f->ops->absorb(f->engine, NULL, &boundary);
    }
    free(counts);
    free(state);
    if (res == RES_OK)
        wal_release(f->wal, log);
    return res;
}

static struct front_source *oldest_sealed(struct front *f)
{
    os_mutex_lock(&f->view_lock);
    struct front_source *s = f->source_count > 1 ? f->sources[f->source_count - 1] : NULL;
    os_mutex_unlock(&f->view_lock);
    return s;
}

/* The oldest sealed source if the gate has passed it. */
static struct front_source *next_to_flush(struct front *f)
{
    struct front_source *s = oldest_sealed(f);
    return s && !front_frozen(f) && front_gate(f) >= atomic_load(&s->last) ? s : NULL;
}

/* Sleeps until there may be something to flush. Sealing wakes under flush_lock; the gate's move only when a source waits
 * for it, else every commit of an idle flusher would cost a wake-up. */
static void flusher_sleep(struct front *f, bool failed) REQUIRES(f->flush_lock)
{
    struct front_source *s = oldest_sealed(f);
    atomic_store(&f->flusher_awaits, s ? atomic_load(&s->last) : UINT64_MAX);
    if (failed)
        (void)os_cond_wait_for(&f->flush_wake, &f->flush_lock, RETRY_NS);
    else if (!next_to_flush(f))
        os_cond_wait(&f->flush_wake, &f->flush_lock);
    atomic_store(&f->flusher_awaits, UINT64_MAX);
}

static enum result absorb_memtable(struct front *f, struct front_source *s, const struct engine_boundary *boundary)
{
    struct iter *run = NULL;
    enum result res = RES_OK;
    if (memtable_used(s->memtable) > 0 && atomic_load(&s->memtable->nodes) > 0) {
        res = memtable_order(s->memtable);
        if (res == RES_OK)
            res = memtable_iter(s->memtable, UINT64_MAX, slice_of(NULL, 0), slice_of(NULL, 0), ITER_TOMBSTONES, &run);
        if (res == RES_OK) {
            memtable_iter_count(run, &f->flush_walked);
            front_pace_walk_begins(f);
        }
    }
    if (res == RES_OK)
        res = f->ops->absorb(f->engine, run, boundary);
    iter_close(run);
    return res;
}

static enum result to_engine(struct front *f, struct front_source *s)
{
    uint8_t *state = malloc(FRONT_STATE_HEAD + s->counts_len);
    if (!state)
        return RES_NO_MEMORY;
    bool above = s->table && s->boundary < s->first;
    uint64_t log = f->wal ? wal_file_for(f->wal, s->boundary ? s->boundary - 1 : 0) : 0;
    size_t len = front_state_put(f, state, s->boundary, log, above ? s->number : 0, slice_of(s->counts, s->counts_len));
    s->log = log;
    struct engine_boundary boundary = {s->boundary, slice_of(state, len)};
    enum result res = s->table ? f->ops->attach(f->engine, s->table, &boundary) : absorb_memtable(f, s, &boundary);
    free(state);
    return res;
}

/* The engine has it: out of the list and the view, in one step. */
static void drop_source(struct front *f, struct front_source *s, struct front_view *room)
{
    os_mutex_lock(&f->view_lock);
    assert(f->sources[f->source_count - 1] == s);
    f->source_count--;
    if (s->memtable)
        f->memtable_count--;
    view_publish(f, room);
    atomic_fetch_add(&f->taken, 1);
    os_mutex_unlock(&f->view_lock);
    if (f->wal)
        wal_release(f->wal, s->log);
    source_unref(s);
    os_mutex_lock(&f->flush_lock);
    os_cond_broadcast(&f->flushed_cond);
    os_mutex_unlock(&f->flush_lock);
}

static enum result flush_source(struct front *f, struct front_source *s)
{
    struct front_view *room = malloc(sizeof(*room));
    if (!room)
        return RES_NO_MEMORY;
    uint64_t bytes = s->memtable ? memtable_used(s->memtable) : 0;
    front_pace_flush_begins(f, s->memtable ? atomic_load(&s->memtable->nodes) : 0);
    enum result res = RES_OK;
    if (f->wal && front_durable(f) < atomic_load(&s->last) && wal_sync_all(f->wal) != RES_OK)
        res = RES_READ_ONLY; /* the log's failure has been reported */
    if (res == RES_OK)
        res = to_engine(f, s);
    front_pace_flush_ends(f, res == RES_OK ? bytes : 0);
    if (res == RES_OK)
        drop_source(f, s, room);
    else
        free(room);
    return res;
}

static bool passing(enum result res) { return res == RES_NO_SPACE || res == RES_NO_MEMORY || res == RES_TOO_MANY; }

void front_flush_thread(void *front)
{
    struct front *f = front;
    bool complained = false;
    heap_share();
    os_mutex_lock(&f->flush_lock);
    while (!f->stop) {
        os_mutex_unlock(&f->flush_lock);
        struct front_source *s = next_to_flush(f);
        enum result res = s ? flush_source(f, s) : RES_OK;
        if (res == RES_NO_SPACE && f->reserve_target && !atomic_load(&f->disk_low)) {
            front_spend_reserve(f);
            res = flush_source(f, s);
        }
        if (s && res == RES_OK) {
            atomic_store(&f->flush_refused, false);
            front_tell_space(f);
            front_wake_keeper(f);
            complained = false;
        } else if (res != RES_OK && res != RES_READ_ONLY && !passing(res)) {
            char sentence[256];
            snprintf(sentence, sizeof(sentence), "writing a memtable to %.120s failed: %s; nothing more is written",
                     f->dir ? f->dir : "the engine", result_text(res));
            front_fail(f, res, sentence);
        } else if (res != RES_OK && res != RES_READ_ONLY) {
            if (!complained)
                log_warning("a memtable cannot be written yet: %s; it is tried again", result_text(res));
            complained = true;
            atomic_store(&f->flush_refused, res == RES_NO_SPACE);
            front_tell_space(f); /* who waits shall hear of it */
        }
        epoch_poll();
        heap_rest();
        os_mutex_lock(&f->flush_lock);
        if (f->stop)
            break;
        flusher_sleep(f, res != RES_OK);
    }
    os_mutex_unlock(&f->flush_lock);
}

/* How many sources the engine will have taken when it has all that are sealed now: they go in their order. Boundaries would
 * not tell, for a private table has that of the memtable below it while its batch's records are to come. A table whose
 * commit is not over yet does not count: a kick now would not get it on its way. */
static uint64_t all_sealed(struct front *f)
{
    uint64_t visible = front_visible(f);
    os_mutex_lock(&f->view_lock);
    uint64_t target = atomic_load(&f->taken);
    for (int i = 1; i < f->source_count; i++)
        target += atomic_load(&f->sources[i]->last) <= visible;
    os_mutex_unlock(&f->view_lock);
    return target;
}

enum result front_wait_flushed(struct front *f)
{
    uint64_t target = all_sealed(f);
    front_kick(f);
    os_mutex_lock(&f->flush_lock);
    while (atomic_load(&f->taken) < target && !front_frozen(f))
        os_cond_wait(&f->flushed_cond, &f->flush_lock);
    os_mutex_unlock(&f->flush_lock);
    return atomic_load(&f->taken) >= target ? RES_OK : RES_READ_ONLY;
}

enum result front_await_engine(struct front *f, const atomic_bool *stop)
{
    enum result res = RES_OK;
    uint64_t target = all_sealed(f);
    front_kick(f);
    os_mutex_lock(&f->flush_lock);
    while (res == RES_OK && atomic_load(&f->taken) < target) {
        if (front_frozen(f))
            res = RES_READ_ONLY;
        else if (stop && atomic_load(stop))
            res = RES_CLOSED;
        else if (atomic_load(&f->flush_refused))
            res = RES_NO_SPACE;
        else if (!os_cond_wait_for(&f->flushed_cond, &f->flush_lock, LOOK_NS)) {
            /* What is visible may have come to the log only after the first kick. */
            os_mutex_unlock(&f->flush_lock);
            front_kick(f);
            os_mutex_lock(&f->flush_lock);
        }
    }
    os_mutex_unlock(&f->flush_lock);
    return res;
}

enum result front_flush(struct front *f)
{
    enum result res;
    while ((res = front_seal(f)) == RES_WOULD_BLOCK) {
        front_kick(f);
        os_mutex_lock(&f->flush_lock);
        os_cond_wait_for(&f->flushed_cond, &f->flush_lock, 1000000);
        os_mutex_unlock(&f->flush_lock);
    }
    return res == RES_OK ? front_wait_flushed(f) : res;
}

enum result front_compact_engine(struct front *f, const atomic_bool *stop)
{
    return f->ops->compact(f->engine, slice_of(NULL, 0), slice_of(NULL, 0), stop);
}

enum result front_compact(struct front *f)
{
    enum result res = front_flush(f);
    return res == RES_OK ? front_compact_engine(f, NULL) : res;
}

/* The commit pipeline: reserve, commit, gate, failure; the latch holder's part and the marks that follow it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "front/internal.h"

#define TELL_KEEPER_EVERY ((uint64_t)4 << 20) /* bytes of the active memtable between two looks of the keeper */

/* ---- marks ---- */

uint64_t front_visible(const struct front *f) { return atomic_load_explicit(&f->visible, memory_order_acquire); }
uint64_t front_written(const struct front *f)
{
    return f->wal ? atomic_load_explicit(&f->wal->written, memory_order_acquire) : front_visible(f);
}
uint64_t front_durable(const struct front *f)
{
    return f->wal ? atomic_load_explicit(&f->wal->durable, memory_order_acquire) : front_visible(f);
}
uint64_t front_gate(const struct front *f)
{
    return f->wal ? atomic_load_explicit(&f->gate, memory_order_acquire) : front_visible(f);
}
bool front_frozen(const struct front *f) { return atomic_load_explicit(&f->read_only, memory_order_acquire); }
const char *front_failure(const struct front *f) { return front_frozen(f) ? f->failure : ""; }

static void wake_gate_waiters(struct front *f)
{
    os_fence();
    if (atomic_load_explicit(&f->gate_waiters, memory_order_relaxed) == 0)
        return;
    os_mutex_lock(&f->gate_lock);
    os_cond_broadcast(&f->gate_cond);
    os_mutex_unlock(&f->gate_lock);
}

/* The log's marks moved, or the mode did. The mark is read before the mode: a mark read under an older mode may at most
 * stand for what was there when the mode changed, which is where the gate stood then. */
void front_progress(void *front)
{
    struct front *f = front;
    uint64_t written = front_written(f);
    uint64_t target = atomic_load(&f->wal->mode) == FRONT_FSYNC_ALWAYS ? front_durable(f) : written;
    uint64_t gate = atomic_load(&f->gate);
    while (gate < target && !atomic_compare_exchange_weak(&f->gate, &gate, target))
        ;
    if (gate >= target)
        return;
    sched_point(SCHED_GATE);
    if (f->o.on_gate)
        f->o.on_gate(f->o.arg, target);
    wake_gate_waiters(f);
    if (target >= atomic_load(&f->flusher_awaits))
        front_wake_flusher(f);
    front_tell_space(f); /* a full ring of counter deltas waits for the gate */
}

void front_set_fsync(struct front *f, enum front_fsync mode)
{
    if (!f->wal)
        return;
    wal_set_mode(f->wal, mode);
    front_progress(f);
}

/* The first failure freezes: what is above the gate is never shown. */
void front_fail(void *front, enum result why, const char *sentence)
{
    struct front *f = front;
    os_mutex_lock(&f->gate_lock);
    bool first = !atomic_load(&f->read_only);
    if (first) {
        f->failed_why = why;
        strncpy(f->failure, sentence, sizeof(f->failure) - 1);
        atomic_store(&f->read_only, true);
    }
    os_cond_broadcast(&f->gate_cond);
    os_mutex_unlock(&f->gate_lock);
    if (!first)
        return;
    log_warning("%s", sentence);
    bool opened = atomic_load(&f->opened);
    if (opened && f->wal)
        wal_fail(f->wal, why, sentence);
    os_mutex_lock(&f->flush_lock);
    os_cond_broadcast(&f->flush_wake);
    os_cond_broadcast(&f->flushed_cond);
    os_mutex_unlock(&f->flush_lock);
    if (opened && f->o.on_failure)
        f->o.on_failure(f->o.arg, why, sentence);
    front_tell_space(f); /* who waits for space shall hear that there is none to come */
}

void front_want_space(struct front *f) { atomic_store(&f->space_wanted, true); }

void front_tell_space(struct front *f)
{
    os_fence();
    if (atomic_load(&f->space_wanted) && atomic_exchange(&f->space_wanted, false) && f->o.on_space)
        f->o.on_space(f->o.arg);
}

/* ---- reserve ---- */

/* Room for the counters of the moment at which a source ends. */
enum result front_take_counts(struct front *f, struct front_source *s)
{
    free(s->counts);
    s->counts = malloc(counters_bytes(&f->counters));
    return s->counts ? RES_OK : RES_NO_MEMORY;
}

/* The keeper has to do something first; it tells when it has. */
static enum result ask_keeper(struct front *f)
{
    front_wake_keeper(f);
    return RES_WOULD_BLOCK;
}

/* Puts `s` into the list as the newest but `below`. */
static void insert_source(struct front *f, struct front_source *s, int below) REQUIRES(f->view_lock)
{
    memmove(&f->sources[below + 1], &f->sources[below], sizeof(f->sources[0]) * (size_t)(f->source_count - below));
    f->sources[below] = s;
    f->source_count++;
}

/* A memtable that can be made active at once, and stays ours when it is not. */
static bool take_spare(struct front *f)
{
    if (!f->in_hand)
        f->in_hand = atomic_exchange(&f->spare, NULL);
    if (!f->in_hand)
        atomic_store(&f->spare_wanted, true);
    return f->in_hand != NULL;
}

/* Ends the active memtable with the sequence and makes the one in hand active; returns the ended one. */
static struct front_source *replace_active(struct front *f, uint64_t last) REQUIRES(f->view_lock)
{
    struct front_source *old = f->sources[0], *fresh = f->in_hand;
    old->boundary = last;
    old->counts_len = counters_put(&f->counters, old->counts);
    atomic_store_explicit(&old->last, last, memory_order_release);
    fresh->log_position = f->wal ? atomic_load(&f->wal->position) : 0;
    insert_source(f, fresh, 0);
    f->memtable_count++;
    f->in_hand = NULL;
    f->active = fresh->memtable;
    f->populate_at = TELL_KEEPER_EVERY;
    return old;
}

static bool sources_full(struct front *f)
{
    return f->memtable_count >= f->o.memtables_max || f->source_count + 2 > SOURCES_MAX;
}

/* Until the flusher has made room, which it tells. */
static enum result wait_for_flusher(struct front *f)
{
    return atomic_load(&f->flush_refused) ? RES_NO_SPACE : RES_WOULD_BLOCK;
}

/* Seals the active memtable and makes the spare one active. All that can fail comes first. */
static enum result switch_memtable(struct front *f)
{
    if (!os_mutex_try(&f->view_lock))
        return ask_keeper(f);
    enum result res = sources_full(f) ? wait_for_flusher(f) : RES_OK;
    struct front_view *room = NULL;
    if (res == RES_OK &&
        (!take_spare(f) || front_take_counts(f, f->sources[0]) != RES_OK || (room = malloc(sizeof(*room))) == NULL))
        res = ask_keeper(f);
    if (res != RES_OK) {
        os_mutex_unlock(&f->view_lock);
        return res;
    }
    replace_active(f, front_visible(f));
    view_publish(f, room);
    os_mutex_unlock(&f->view_lock);
    front_wake_flusher(f);
    front_wake_keeper(f);
    return RES_OK;
}

/* What replaying takes: reading and checking bytes, and putting records into a memtable. Measured, generously. */
#define REPLAY_NS_PER_KB 700
#define REPLAY_NS_PER_RECORD 220

static bool log_is_long(const struct front *f)
{
    if (!f->wal || memtable_empty(f->active))
        return false;
    uint64_t bytes = atomic_load_explicit(&f->wal->position, memory_order_relaxed) - f->sources[0]->log_position;
    uint64_t records = atomic_load_explicit(&f->active->records, memory_order_relaxed);
    return bytes > 2 * front_memtable_bytes(f) ||
           bytes / 1024 * REPLAY_NS_PER_KB + records * REPLAY_NS_PER_RECORD > f->replay_most;
}

/* What committing a private table needs, so that it cannot fail then: a source and a view for it, and an empty memtable
 * to lie above it. */
static enum result reserve_table(struct front *f)
{
    if (!os_mutex_try(&f->view_lock))
        return ask_keeper(f);
    bool full = sources_full(f);
    os_mutex_unlock(&f->view_lock);
    if (full)
        return wait_for_flusher(f); /* only the latch holder adds to them */
    if (!take_spare(f))
        return ask_keeper(f);
    if (!f->table_source)
        f->table_source = source_new(f, NULL);
    if (!f->table_view)
        f->table_view = malloc(sizeof(*f->table_view));
    if (!f->table_source || !f->table_view)
        return RES_NO_MEMORY;
    free(f->table_source->counts);
    f->table_source->counts = malloc(counters_bytes(&f->counters));
    return f->table_source->counts && front_take_counts(f, f->sources[0]) == RES_OK ? RES_OK : RES_NO_MEMORY;
}

/* So much of the active memtable, whose pages the keeper has touched: to fault them in may take milliseconds, with the
 * latch held, where the memory has to come from a host. */
static enum result reserve_active(struct front *f, uint64_t need)
{
    if (memtable_full(f->active) || !memtable_fits(f->active, need) || log_is_long(f))
        return switch_memtable(f);
    return likely(memtable_is_populated(f->active, need)) ? RES_OK : ask_keeper(f);
}

static enum result reserve_memory(struct front *f, const struct batch *b)
{
    uint64_t need = 0;
    for (size_t i = 0; i < b->count; i++) {
        memtable_prefetch(f->active, b->records[i].key.hash); /* has come when the batch is inserted */
        need += memtable_need(b->records[i].key.bytes.len, b->records[i].value.len);
    }
    if (need > MEMTABLE_ROOM)
        return RES_INVALID;
    if (b->table)
        return reserve_table(f);
    return reserve_active(f, need);
}

static enum result try_reserve(struct front *f, const struct batch *b)
{
    if (unlikely(atomic_load_explicit(&f->disk_low, memory_order_relaxed)) && !front_batch_shrinks(b))
        return RES_NO_SPACE;
    enum result res = reserve_memory(f, b);
    if (res == RES_OK && f->wal)
        res = wal_reserve(f->wal, f->reserved_bytes);
    if (res == RES_OK)
        res = counters_reserve(&f->counters, b, front_gate(f));
    uint64_t rate = atomic_load_explicit(&f->pace_rate, memory_order_relaxed);
    if (unlikely(rate) && res == RES_OK && !front_pace_take(f, rate)) {
        atomic_fetch_add_explicit(&f->pace_waits, 1, memory_order_relaxed);
        res = RES_WOULD_BLOCK;
    }
    return res;
}

size_t front_batch_bytes(const struct front *f, const struct batch *b) { return log_batch_bytes(b, f->log_time_ms); }

size_t front_batch_max(const struct front *f) { return f->batch_max; }

enum result front_reserve(struct front *f, const struct batch *b)
{
    f->reserved = NULL;
    if (unlikely(front_frozen(f)))
        return RES_READ_ONLY;
    f->reserved_bytes = front_batch_bytes(f, b);
    if (f->reserved_bytes > f->batch_max)
        return RES_INVALID;
    enum result res = try_reserve(f, b);
    if (unlikely(res == RES_WOULD_BLOCK)) { /* wish first, then look again: whatever comes later is told */
        atomic_fetch_add_explicit(&f->reserve_waits, 1, memory_order_relaxed);
        front_want_space(f);
        os_fence();
        res = try_reserve(f, b);
    }
    if (likely(res == RES_OK))
        f->reserved = b;
    return res;
}

#define ROOM_COUNTERS 8

/* As front_reserve does, for the largest that may come. A log that fails meanwhile is found out by the gate, as it is
 * between a reserve and its commit. */
bool front_reserve_room(struct front *f, size_t bytes, size_t records)
{
    const struct batch counted = {.counter_count = ROOM_COUNTERS};
    uint64_t need = bytes + records * memtable_need(0, 0);
    f->reserved = NULL;
    if (unlikely(front_frozen(f) || atomic_load_explicit(&f->disk_low, memory_order_relaxed)) || need > MEMTABLE_ROOM)
        return false;
    if (reserve_active(f, need) != RES_OK)
        return false;
    f->room_bytes = log_batch_most(bytes, records, ROOM_COUNTERS);
    if (f->room_bytes > f->batch_max || (f->wal && wal_reserve(f->wal, f->room_bytes) != RES_OK) ||
        counters_reserve(&f->counters, &counted, front_gate(f)) != RES_OK)
        return false;
    uint64_t rate = atomic_load_explicit(&f->pace_rate, memory_order_relaxed);
    return likely(!rate) || front_pace_take(f, rate);
}

void front_use_room(struct front *f, const struct batch *b)
{
    f->reserved_bytes = front_batch_bytes(f, b);
    assert(f->reserved_bytes <= f->room_bytes && !b->table && b->counter_count <= ROOM_COUNTERS);
    for (size_t i = 0; i < b->count; i++)
        memtable_prefetch(f->active, b->records[i].key.hash);
    f->reserved = b;
}

/* ---- commit ---- */

static inline void add(_Atomic uint64_t *counter, uint64_t n) /* one writer */
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* The private table takes its place between the memtable that was active and a new one, which the batch's records go to,
 * and all of this is one step: a view either covers the batch whole or ends before it. (Were the active memtable kept,
 * being empty, a view from before would show the batch's records without the table.) */
static void attach_table(struct front *f, const struct batch *b, uint64_t sequence)
{
    struct front_source *s = f->table_source, *unused = NULL;
    s->table = b->table;
    s->number = b->table_number;
    s->first = sequence;
    atomic_store(&s->last, sequence);
    s->boundary = b->count ? sequence - 1 : sequence; /* its records come to the engine with the next memtable */
    if (b->count > 0)
        s->counts_len = counters_put(&f->counters, s->counts);
    bool empty = memtable_empty(f->active);
    os_mutex_lock(&f->view_lock);
    struct front_source *old = replace_active(f, sequence - 1);
    if (empty) {
        f->sources[1] = s;
        f->memtable_count--;
        unused = old;
    } else {
        insert_source(f, s, 1);
    }
    view_publish(f, f->table_view);
    os_mutex_unlock(&f->view_lock);
    f->table_view = NULL;
    if (unused)
        source_unref(unused);
    front_wake_flusher(f);
    front_wake_keeper(f);
}

/* After the counters have been changed by the batch. */
static void finish_table(struct front *f, const struct batch *b)
{
    struct front_source *s = f->table_source;
    if (b->count == 0)
        s->counts_len = counters_put(&f->counters, s->counts);
    f->table_source = NULL;
}

#define PRUNE_AGAIN 1000 /* commits; then the keeper has seen to it that old views go */

/* Memory of versions that nobody can see any more. A view that somebody holds for long, or one that has been the newest
 * for long, forbids it: then there shall be a younger one, so that the next ones hold that. */
static void prune(struct front *f, uint64_t sequence)
{
    if (sequence < f->prune_at)
        return;
    if (memtable_prune(f->active, view_held_from(f)))
        return;
    f->prune_at = sequence + PRUNE_AGAIN;
    atomic_store_explicit(&f->view_aged, true, memory_order_relaxed);
    atomic_store_explicit(&f->keeper_wanted, true, memory_order_relaxed);
}

uint64_t front_commit(struct front *f, const struct batch *b)
{
    assert(f->reserved == b);
    uint64_t sequence = atomic_load_explicit(&f->visible, memory_order_relaxed) + 1;
    f->reserved = NULL;
    sched_point(SCHED_COMMIT);
    if (f->wal)
        log_batch_put(wal_put(f->wal, f->reserved_bytes), f->reserved_bytes, b, f->log_time_ms);
    if (unlikely(b->table != NULL))
        attach_table(f, b, sequence);
    f->active->settled = front_gate(f);
    for (size_t i = 0; i < b->count; i++)
        memtable_insert(f->active, &b->records[i].key, b->records[i].kind, b->records[i].value, sequence);
    counters_apply(&f->counters, b->counters, b->counter_count, sequence);
    if (unlikely(b->table != NULL))
        finish_table(f, b);
    if (unlikely(memtable_used(f->active) >= f->populate_at)) {
        f->populate_at = memtable_used(f->active) + TELL_KEEPER_EVERY;
        atomic_store_explicit(&f->keeper_wanted, true, memory_order_relaxed);
    }
    if (unlikely(memtable_prune_due(f->active)))
        prune(f, sequence);
    add(&f->commits, 1);
    add(&f->commit_records, b->count);
    sched_point(SCHED_PUBLISH);
    atomic_store_explicit(&f->visible, sequence, memory_order_release);
    if (f->wal)
        wal_publish(f->wal, sequence);
    return sequence;
}

void front_kick(struct front *f)
{
    if (unlikely(atomic_load_explicit(&f->keeper_wanted, memory_order_relaxed))) {
        atomic_store_explicit(&f->keeper_wanted, false, memory_order_relaxed);
        front_wake_keeper(f);
    }
    if (f->wal) {
        wal_kick(f->wal);
        return;
    }
    uint64_t visible = front_visible(f), told = atomic_load(&f->told);
    while (told < visible && !atomic_compare_exchange_weak(&f->told, &told, visible))
        ;
    if (told >= visible)
        return;
    if (f->o.on_gate)
        f->o.on_gate(f->o.arg, visible);
    wake_gate_waiters(f);
    if (visible >= atomic_load(&f->flusher_awaits))
        front_wake_flusher(f);
}

enum result front_wait(struct front *f, uint64_t sequence)
{
    if (front_gate(f) < sequence)
        front_kick(f);
    atomic_fetch_add(&f->gate_waiters, 1);
    os_mutex_lock(&f->gate_lock);
    while (front_gate(f) < sequence && !front_frozen(f))
        os_cond_wait(&f->gate_cond, &f->gate_lock);
    os_mutex_unlock(&f->gate_lock);
    atomic_fetch_sub(&f->gate_waiters, 1);
    return front_gate(f) >= sequence ? RES_OK : RES_READ_ONLY;
}

enum result front_sync(struct front *f, uint64_t sequence)
{
    enum result r = front_wait(f, sequence);
    if (r != RES_OK || front_durable(f) >= sequence)
        return r;
    r = wal_sync_all(f->wal);
    if (r == RES_OK)
        front_progress(f);
    return r;
}

enum result front_seal_deletes(struct front *f)
{
    if (memtable_full(f->active) && !memtable_empty(f->active))
        return front_seal(f); /* memtables have become smaller, and there may be no commit to see it */
    uint64_t now = f->o.env->ops->mono_ns(f->o.env);
    if (atomic_load_explicit(&f->active->deletes, memory_order_relaxed) == 0 || f->active != f->deletes_in) {
        f->deletes_in = atomic_load_explicit(&f->active->deletes, memory_order_relaxed) ? f->active : NULL;
        f->deletes_since = now;
        return RES_OK;
    }
    return now - f->deletes_since >= SEAL_DELETES_NS ? front_seal(f) : RES_OK;
}

/* Whatever the active memtable holds. */
static enum result seal(struct front *f)
{
    enum result res = switch_memtable(f);
    if (res == RES_WOULD_BLOCK) { /* wish first, then look again: whatever comes later is told */
        front_want_space(f);
        os_fence();
        res = switch_memtable(f);
    }
    return res;
}

enum result front_seal(struct front *f)
{
    if (front_frozen(f))
        return RES_READ_ONLY;
    return memtable_empty(f->active) ? RES_OK : seal(f);
}

#define LITTLE ((uint64_t)256 << 10) /* bytes of log in that time */

/* A log file that is not the current one is needed for what the memtable holds, or only because no boundary was set since
 * the current one was begun: an empty memtable brings one as well. */
enum result front_rest(struct front *f)
{
    if (!f->wal || front_frozen(f))
        return RES_OK;
    uint64_t now = f->o.env->ops->mono_ns(f->o.env), written = atomic_load(&f->wal->stats.bytes);
    if (now - f->rest_looked < FRONT_REST_NS)
        return RES_OK;
    bool little = f->rest_looked && written - f->rest_written < LITTLE;
    f->rest_looked = now;
    f->rest_written = written;
    if (!little)
        return RES_OK;
    wal_rest(f->wal);
    if (wal_is_one_file(f->wal) || atomic_load(&f->source_count) > 1)
        return RES_OK;
    enum result res = seal(f);
    if (res == RES_WOULD_BLOCK)
        f->rest_looked = 0;
    return res;
}

/* ---- counters and private tables ---- */

struct front_counts front_counts_latched(const struct front *f, uint32_t id)
{
    return counters_latched(&f->counters, id);
}
struct front_counts front_counts_at(struct front *f, uint32_t id, uint64_t snapshot)
{
    return counters_at(&f->counters, id, snapshot);
}

enum result front_table_begin(struct front *f, struct engine_table **out)
{
    return f->ops->table_begin(f->engine, out);
}
enum result front_table_add(struct front *f, struct engine_table *t, struct slice key, uint8_t kind, struct slice value)
{
    return f->ops->table_add(t, key, kind, value);
}
enum result front_table_finish(struct front *f, struct engine_table *t, uint64_t *number)
{
    return f->ops->table_finish(t, number);
}
void front_table_abort(struct front *f, struct engine_table *t) { f->ops->table_abort(t); }

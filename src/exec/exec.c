/* Running a command on a worker: the way of every command that a reactor reads off a connection.
 *
 *   restricted? ─► CMD_SESSION: run, no snapshot
 *               ─► read:  epoch { view, S = max(gate, floor), now, handler } ─► done, or away to the pool
 *               ─► write: latch { epoch { view, S = visible, now, handler over the overlay }, commit } ─► done
 *                          └ busy: parked      └ cold or long: away to the pool   └ no log space: parked
 *
 * A worker with several ready writes takes the latch for the first and keeps it for the row (at most ROW_NS); reads in
 * between run while it is held, if they are short. exec_row_end() releases it. Nothing here sleeps.
 *
 * Time: one reading of the monotonic clock ends a command and begins the next one of the row. */
#include "base/epoch.h"
#include "base/hash.h"
#include "exec/internal.h"

/* ---- rows ---- */

static void row_release(struct exec_worker *w, uint64_t now_ns)
{
    struct shard *s = w->shard;
    w->latched = false;
    clock_write_end(&s->clock);
    uint64_t held = latch_release(&s->latch, now_ns);
    if (w->committed) {
        w->committed = false;
        front_kick(s->front);
    }
    int64_t limit = atomic_load_explicit(&s->latency_ms, memory_order_relaxed);
    if (unlikely(limit > 0 && held >= (uint64_t)limit * 1000000))
        shard_latency_add(s, "write-latch", held / 1000000);
}

static bool row_take(struct exec_worker *w)
{
    struct latch *l = &w->shard->latch;
    bool waiting = w->waiter.since_ns != 0;
    bool told = waiting && atomic_load(&w->waiter.told);
    if (w->parked_in_row) {
        if (!latch_try(l, &w->waiter, w->clock_ns))
            return false; /* its connections wait for the same wake() */
    } else if (!latch_spin(l, &w->waiter, w->clock_ns) && !latch_park(l, &w->waiter, w->clock_ns)) {
        w->parked_in_row = true;
        return false;
    }
    /* Connections that parked before would miss the wake() that is now not coming. */
    if (unlikely((waiting || w->parked_in_row) && !told))
        w->options.wake(w->options.arg);
    w->latched = true;
    w->row_ns = w->clock_ns;
    return true;
}

void exec_row_end(struct exec_worker *w)
{
    w->clock_valid = false;
    if (w->latched)
        row_release(w, shard_mono(w->shard));
    else if (unlikely(w->waiter.since_ns) && !w->parked_in_row && atomic_load(&w->waiter.told))
        latch_give_up(&w->shard->latch, &w->waiter); /* it was for connections that are gone */
    w->parked_in_row = false;
}

void exec_clock_restart(struct exec_worker *w) { w->clock_valid = false; }

/* Parks for something that is announced by workers_wake(). The caller looks at its cause once more afterwards; when it
 * has come meanwhile the reason stays set all the same: it belongs to all connections of the worker, another may wait
 * for it, and a wake-up too many does no harm. */
static void park(struct exec_worker *w, enum park_reason reason) { atomic_fetch_or(&w->parked, (unsigned)reason); }

/* ---- after a command ---- */

static bool is_slow(const struct shard *s, uint32_t flags, uint64_t ns)
{
    int64_t limit = atomic_load_explicit(&s->slowlog_us, memory_order_relaxed);
    return limit >= 0 && ns >= (uint64_t)limit * 1000 && !(flags & CMD_SKIP_SLOWLOG);
}

static bool is_latency_event(const struct shard *s, uint64_t ns)
{
    int64_t limit = atomic_load_explicit(&s->latency_ms, memory_order_relaxed);
    return limit > 0 && ns >= (uint64_t)limit * 1000000;
}

/* Without the latch when there is something to log: that takes locks. */
void exec_account(struct run *r, uint64_t ns)
{
    struct call *c = &r->call;
    struct shard *s = c->shard;
    struct exec_stats *st = r->stats;
    struct command_counter *n = &st->commands[c->entry->id];
    histogram_record(&n->latency, ns);
    if (c->keyspace_hits)
        stat_add(&st->hits, c->keyspace_hits);
    if (c->keyspace_misses)
        stat_add(&st->misses, c->keyspace_misses);
    if (unlikely(c->reply->is_error)) {
        stat_add(&n->failed, 1);
        stats_error(st, slice_str(c->reply->error_code));
    }
    uint32_t flags = c->entry->command->flags;
    if (unlikely(is_slow(s, flags, ns)))
        slowlog_add(s, c, ns / 1000);
    if (unlikely(is_latency_event(s, ns)))
        shard_latency_add(s, flags & CMD_FAST ? "fast-command" : "command", ns / 1000000);
}

void exec_show(struct run *r, uint64_t floor)
{
    struct call *c = &r->call;
    struct session *session = c->session;
    if (c->bind > floor)
        floor = c->bind;
    if (floor > session->floor)
        session->floor = floor;
    session->commands++;
    session->last_command = c->entry;
    if (unlikely(atomic_load_explicit(&c->shard->monitors, memory_order_relaxed) > 0) && c->shard->hooks.monitor &&
        !(c->entry->command->flags & (CMD_SKIP_MONITOR | CMD_ADMIN)))
        c->shard->hooks.monitor(c->shard->hooks.arg, session, c->argv, c->argc, floor);
}

static enum exec_outcome finish(struct exec_worker *w, uint64_t floor)
{
    const struct shard *s = w->shard;
    uint64_t end = shard_mono(s), ns = end - w->clock_ns;
    exec_show(&w->run, floor);
    if (w->latched &&
        (end - w->row_ns >= ROW_NS || is_slow(s, w->run.call.entry->command->flags, ns) || is_latency_event(s, ns)))
        row_release(w, end);
    exec_account(&w->run, ns);
    w->clock_ns = end;
    return EXEC_DONE;
}

/* The run gave a code instead of an answer. */
static void reply_code(struct run *r, size_t mark, enum result code)
{
    struct sink *reply = r->call.reply;
    reply->ops->rewind(reply, mark);
    sink_begin(reply);
    reply_result(reply, code);
}

/* ---- away ---- */

static void warm_from(struct exec_worker *w, struct session *session, const struct command_entry *entry, int argc,
                      const struct slice *argv, int skip);

uint64_t exec_argument_bytes(int argc, const struct slice *argv)
{
    uint64_t n = 0;
    for (int i = 0; i < argc; i++)
        n += argv[i].len;
    return n;
}

static enum exec_outcome send_away(struct exec_worker *w, size_t mark, enum lane lane)
{
    struct call *c = &w->run.call;
    struct shard *s = w->shard;
    c->reply->ops->rewind(c->reply, mark);
    if (w->latched) /* the pool's lock is not waited for with it */
        row_release(w, shard_mono(s));
    if (lane == LANE_SHORT) /* the first of its keys is the command's own to fetch */
        warm_from(w, c->session, c->entry, c->argc, c->argv, 1);
    enum result r = pool_submit(s, c->session, c->entry, c->argc, c->argv, w->run.seed, lane);
    if (r != RES_OK) {
        reply_code(&w->run, mark, r);
        return finish(w, 0);
    }
    atomic_fetch_add_explicit(c->entry->command->flags & CMD_WRITE ? &s->away_writes : &s->away_reads, 1,
                              memory_order_relaxed);
    w->clock_valid = false;
    return EXEC_AWAY;
}

/* ---- the three ways ---- */

static enum exec_outcome run_session(struct exec_worker *w)
{
    struct run *r = &w->run;
    size_t mark = r->call.reply->ops->mark(r->call.reply);
    r->started_ns = w->clock_ns;
    r->call.now_ms = clock_now(&w->shard->clock, &r->clock, w->clock_ns);
    enum result res;
    if (r->call.entry->command->flags & CMD_FAST) { /* waits for nothing, and may run inside a row */
        epoch_enter();
        r->call.settings = atomic_load_explicit(&w->shard->settings, memory_order_acquire);
        res = run_handler(r, r->call.entry->command->run);
        epoch_leave();
    } else {
        run_enter(r);
        r->call.settings = atomic_load_explicit(&w->shard->settings, memory_order_acquire);
        res = run_handler(r, r->call.entry->command->run);
        run_leave(r);
    }
    if (res != RES_OK)
        reply_code(r, mark, res);
    return finish(w, 0);
}

static enum exec_outcome run_read(struct exec_worker *w)
{
    struct run *r = &w->run;
    struct call *c = &r->call;
    size_t mark = c->reply->ops->mark(c->reply);
    if (unlikely(c->entry->command->flags & CMD_LONG))
        return send_away(w, mark, LANE_LONG);
    epoch_enter();
    run_snapshot_read(r, w->clock_ns);
    enum result res = run_handler(r, c->entry->command->run);
    epoch_leave();
    if (unlikely(res == RES_WOULD_BLOCK))
        return send_away(w, mark, r->too_long ? LANE_LONG : LANE_SHORT);
    if (unlikely(res != RES_OK))
        reply_code(r, mark, res);
    return finish(w, 0);
}

/* No log space or memtable: everything is dropped until there is. */
static enum exec_outcome park_for_space(struct exec_worker *w, size_t mark)
{
    struct call *c = &w->run.call;
    c->reply->ops->rewind(c->reply, mark);
    uint64_t now = shard_mono(w->shard);
    w->clock_valid = false;
    row_release(w, now);
    return EXEC_PARKED;
}

/* A prepared command holds one of the keys: its end is announced under the latch, which this worker has. */
static enum exec_outcome park_for_held(struct exec_worker *w, size_t mark)
{
    struct call *c = &w->run.call;
    c->reply->ops->rewind(c->reply, mark);
    park(w, PARK_HELD);
    w->clock_valid = false;
    return EXEC_PARKED;
}

static enum exec_outcome run_write(struct exec_worker *w)
{
    struct run *r = &w->run;
    struct call *c = &r->call;
    const struct command *cmd = c->entry->command;
    size_t mark = c->reply->ops->mark(c->reply);
    if (unlikely(cmd->flags & CMD_LONG || exec_argument_bytes(c->argc, c->argv) > LARGE_ARGUMENTS))
        return send_away(w, mark, LANE_LONG);
    if (!w->latched && !row_take(w))
        return EXEC_PARKED;
    epoch_enter();
    run_snapshot_latched(r, w->clock_ns);
    enum result res = run_handler(r, cmd->run);
    uint64_t sequence = c->snapshot;
    if (likely(res == RES_OK)) {
        res = commit_overlay(r, NULL, 0, &sequence);
        if (unlikely(res == RES_WOULD_BLOCK)) {
            park(w, PARK_SPACE);
            res = commit_overlay(r, NULL, 0, &sequence); /* it may have come just before */
            if (res == RES_WOULD_BLOCK) {
                epoch_leave();
                return park_for_space(w, mark);
            }
        }
        w->committed |= sequence != c->snapshot;
        if (unlikely(res == RES_INVALID)) { /* larger than a log record: it becomes a private table */
            r->too_long = true;
            res = RES_WOULD_BLOCK;
        }
    }
    epoch_leave();
    if (unlikely(res == RES_WOULD_BLOCK)) {
        if (r->hit_held)
            return park_for_held(w, mark);
        return send_away(w, mark, r->too_long || r->overlay.bytes > LARGE_ARGUMENTS ? LANE_LONG : LANE_SHORT);
    }
    if (unlikely(res != RES_OK))
        reply_code(r, mark, res);
    return finish(w, sequence);
}

/* ---- what a command must pass before it runs ---- */

static void reject(struct exec_worker *w, const struct command_entry *entry, struct sink *reply, const char *text)
{
    (void)reply_error(reply, "%s", text);
    shard_count_rejected(w, entry);
    stats_error(w->run.stats, slice_str(reply->error_code));
}

static bool paused(struct shard *s, uint32_t flags)
{
    int mode = atomic_load(&s->pause);
    if (mode == SHARD_PAUSE_OFF || (mode == SHARD_PAUSE_WRITE && !(flags & (CMD_WRITE | CMD_MAY_REPLICATE))))
        return false;
    if (s->env->ops->real_ms(s->env) < atomic_load(&s->pause_until_ms))
        return true;
    shard_pause(s, SHARD_PAUSE_OFF, 0);
    return false;
}

/* true: go on; else *outcome says how it ended. */
static bool admit(struct exec_worker *w, struct session *session, const struct command_entry *entry, unsigned what,
                  struct sink *reply, enum exec_outcome *outcome)
{
    struct shard *s = w->shard;
    uint32_t flags = entry->command->flags;
    *outcome = EXEC_DONE;
    if (what & RESTRICT_AUTH && !session->authenticated && !(flags & CMD_NO_AUTH)) {
        reject(w, entry, reply, "NOAUTH Authentication required.");
        return false;
    }
    if (what & RESTRICT_MEMORY && flags & CMD_DENYOOM) {
        reject(w, entry, reply, "OOM command not allowed when used memory > 'maxmemory'.");
        return false;
    }
    if (what & RESTRICT_FROZEN && flags & CMD_WRITE) {
        reply_result(reply, RES_READ_ONLY);
        shard_count_rejected(w, entry);
        stats_error(w->run.stats, slice_str(reply->error_code));
        return false;
    }
    if (what & RESTRICT_PAUSE && paused(s, flags)) {
        park(w, PARK_PAUSE);
        if (paused(s, flags)) {
            *outcome = EXEC_PARKED;
            return false;
        }
    }
    return true;
}

enum exec_outcome exec_run(struct exec_worker *w, struct session *session, const struct command_entry *entry, int argc,
                           const struct slice *argv, struct sink *reply)
{
    uint32_t flags = entry->command->flags;
    sink_begin(reply);
    unsigned restricted = atomic_load_explicit(&w->shard->restricted, memory_order_acquire);
    enum exec_outcome outcome;
    if (unlikely(restricted) && !admit(w, session, entry, restricted, reply, &outcome))
        return outcome;
    if (!w->clock_valid) {
        w->clock_ns = shard_mono(w->shard);
        w->clock_valid = true;
    }
    run_begin(&w->run, session, entry, argc, argv, reply);
    if (entry->command->check) {
        size_t mark = reply->ops->mark(reply);
        enum result res = entry->command->check(&w->run.call);
        if (res != RES_OK)
            reply_code(&w->run, mark, res);
        if (reply->is_error)
            return finish(w, 0);
    }
    if (flags & CMD_WRITE) {
        outcome = run_write(w);
    } else {
        /* Short reads may run inside a row of writes; whatever may take longer lets others write meanwhile. */
        if (unlikely(w->latched && !(flags & CMD_FAST)))
            row_release(w, w->clock_ns);
        outcome = flags & CMD_SESSION ? run_session(w) : run_read(w);
    }
    if (outcome != EXEC_PARKED)
        w->run.seed = hash_mix(w->run.seed + 1);
    return outcome;
}

/* ---- what comes next ---- */

/* The positions of the keys, where the declaration tells them by place alone: first, last (inclusive) and step. */
static bool key_places(const struct command_entry *entry, int argc, int *first, int *last, int *step)
{
    const struct command_keyspec *k = entry->command->keys;
    if (!k || !k->flags || k->begin != KEYS_INDEX || k->find != KEYS_RANGE || k->step < 1)
        return false;
    *first = k->index;
    *last = k->last < 0 ? argc + k->last : k->index + k->last;
    *step = k->step;
    if (*last >= argc)
        *last = argc - 1;
    return *first <= *last;
}

void exec_prefetch_end(struct exec_worker *w)
{
    if (w->ahead.count == 0)
        return;
    epoch_enter();
    front_prefetch(front_view(w->shard->front), w->ahead.keys, w->ahead.count);
    epoch_leave();
    w->ahead.count = 0;
}

static void look_ahead(struct exec_worker *w, shard_prefetch_fn *fn, uint32_t db, struct slice key, bool write)
{
    struct ahead *a = &w->ahead;
    struct shard_key k;
    if (!fn(w->shard, db, key, a->room[a->count], PREFETCH_KEY_BYTES, &k))
        return;
    if (write)
        __builtin_prefetch(touched_at(&w->shard->touched, k.hash), 1);
    a->keys[a->count++] = k.key;
    if (a->count == ENGINE_PREFETCH_MAX)
        exec_prefetch_end(w);
}

unsigned exec_prefetch(struct exec_worker *w, struct session *session, const struct command_entry *entry, int argc,
                       const struct slice *argv)
{
    unsigned n = 0;
    shard_prefetch_fn *fn = atomic_load_explicit(&w->shard->prefetch, memory_order_acquire);
    int first, last, step;
    if (!fn || !key_places(entry, argc, &first, &last, &step))
        return 0;
    if (last > first + step * ENGINE_PREFETCH_MAX) /* more would have left the cache before they are needed */
        last = first + step * ENGINE_PREFETCH_MAX;
    bool write = entry->command->flags & CMD_WRITE;
    for (int i = first; i <= last; i += step, n++)
        look_ahead(w, fn, session->db, argv[i], write);
    return n;
}

static bool is_cold(struct shard *s, const struct engine_key *key)
{
    struct engine_miss miss;
    struct slice value;
    miss.table = NULL;
    miss.block = 0;
    miss.held_count = 0;
    epoch_enter();
    struct front_view *v = front_view(s->front);
    bool cold = front_get(v, front_snapshot(v), key, ENGINE_NOWAIT, &value, &miss) == RES_WOULD_BLOCK;
    epoch_leave();
    return cold;
}

static void warm_from(struct exec_worker *w, struct session *session, const struct command_entry *entry, int argc,
                      const struct slice *argv, int skip)
{
    struct shard *s = w->shard;
    shard_prefetch_fn *fn = atomic_load_explicit(&s->prefetch, memory_order_acquire);
    int first, last, step;
    if (!fn || !key_places(entry, argc, &first, &last, &step))
        return;
    first += skip * step;
    if (first <= last && w->latched)
        row_release(w, shard_mono(s)); /* others may write meanwhile */
    for (int n = 0; n < WARM_KEYS && first <= last; n++, first += step) {
        uint8_t room[PREFETCH_KEY_BYTES];
        struct shard_key k;
        if (fn(s, session->db, argv[first], room, sizeof room, &k) && is_cold(s, &k.key))
            pool_warm(s, &k.key);
    }
}

void exec_warm(struct exec_worker *w, struct session *session, const struct command_entry *entry, int argc,
               const struct slice *argv)
{
    warm_from(w, session, entry, argc, argv, 0);
}

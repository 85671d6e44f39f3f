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
#include <stdio.h>

#include "base/epoch.h"
#include "base/hash.h"
#include "exec/internal.h"

/* ---- rows ---- */

/* Whom the row has woken is logged when this command has been. */
static void row_let_go(struct exec_worker *w, uint64_t now_ns)
{
    struct shard *s = w->shard;
    bundle_commit(w);
    w->latched = false;
    struct wait_left left = wait_take_left(s);
    clock_write_end(&s->clock);
    uint64_t held = latch_release(&s->latch, now_ns);
    if (w->committed) {
        w->committed = false;
        front_kick(s->front);
    }
    effects_tell(s);
    slowlog_move(&w->run.served, &left.slow);
    if (unlikely(left.cold || left.more))
        wait_hand_over(s, left);
    int64_t limit = atomic_load_explicit(&s->latency_ms, memory_order_relaxed);
    if (unlikely(limit > 0 && held >= (uint64_t)limit * 1000000))
        shard_latency_add(s, "write-latch", held / 1000000);
}

static void row_release(struct exec_worker *w, uint64_t now_ns)
{
    row_let_go(w, now_ns);
    if (unlikely(w->run.served.first))
        slowlog_add_later(w->shard, &w->run.served);
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

static bool is_latency_event(const struct shard *s, uint64_t ns)
{
    int64_t limit = atomic_load_explicit(&s->latency_ms, memory_order_relaxed);
    return limit > 0 && ns >= (uint64_t)limit * 1000000;
}

static void count(struct run *r, const struct command_entry *entry, uint64_t ns, bool failed, const char *code)
{
    struct command_counter *n = &r->stats->commands[entry->id];
    histogram_record(&n->latency, ns);
    if (unlikely(failed)) {
        stat_add(&n->failed, 1);
        stats_error(r->stats, slice_str(code));
    }
}

void exec_count(struct run *r, uint64_t ns)
{
    struct call *c = &r->call;
    count(r, c->entry, ns, c->reply->is_error, c->reply->error_code);
    if (c->keyspace_hits)
        stat_add(&r->stats->hits, c->keyspace_hits);
    if (c->keyspace_misses)
        stat_add(&r->stats->misses, c->keyspace_misses);
}

static void log_slow(struct run *r, uint64_t ns)
{
    struct call *c = &r->call;
    struct shard *s = c->shard;
    uint32_t flags = c->entry->command->flags;
    if (unlikely(slowlog_wants(s, flags, ns)))
        slowlog_add(s, c, ns / 1000);
    if (unlikely(is_latency_event(s, ns)))
        shard_latency_add(s,
                          r->serving         ? "command-unblocking"
                          : flags & CMD_FAST ? "fast-command"
                                             : "command",
                          ns / 1000000);
}

/* EXEC's commands, each as if it had come alone. */
static void account_inner(struct run *r)
{
    struct call *c = &r->call;
    const struct command_entry *entry = c->entry;
    const struct slice *argv = c->argv;
    int argc = c->argc;
    for (uint32_t i = 0; i < r->inner_count; i++) {
        const struct inner *in = &r->inner[i];
        c->entry = in->command.entry;
        c->argv = in->command.argv;
        c->argc = in->command.argc;
        c->secret = in->secret;
        count(r, c->entry, in->ns, in->is_error, in->code);
        log_slow(r, in->ns);
    }
    c->entry = entry;
    c->argv = argv;
    c->argc = argc;
    c->secret = 0;
}

/* Without the latch when there is something to log: that takes locks. */
void exec_account(struct run *r, uint64_t ns)
{
    exec_count(r, ns);
    log_slow(r, ns);
}

static void show_monitors(struct run *r, uint64_t floor)
{
    const struct shard_hooks *hooks = &r->call.shard->hooks;
    const struct call *c = &r->call;
    const uint32_t hidden = CMD_SKIP_MONITOR | CMD_ADMIN;
    for (uint32_t i = 0; i < r->inner_count; i++) {
        const struct multi_command *q = &r->inner[i].command;
        if (!(q->entry->command->flags & hidden))
            hooks->monitor(hooks->arg, c->session, q->argv, q->argc, floor);
    }
    if (!(c->entry->command->flags & hidden))
        hooks->monitor(hooks->arg, c->session, c->argv, c->argc, floor);
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
    if (unlikely(atomic_load_explicit(&c->shard->monitors, memory_order_relaxed) > 0) && c->shard->hooks.monitor)
        show_monitors(r, floor);
    if (unlikely(r->effects))
        effects_queue(r, session->floor);
}

void exec_log_served(struct run *r)
{
    struct slow_later *later = multi_later(r->call.session);
    if (later)
        slowlog_move(later, &r->served);
    else
        slowlog_add_later(r->call.shard, &r->served);
}

void exec_over(struct run *r)
{
    account_inner(r);
    if (r->call.session->multi)
        multi_over(r);
}

/* EXEC's commands are accounted and its queue is given up, without the latch: there may be many. */
static void finish_exec(struct exec_worker *w)
{
    if (w->latched)
        row_let_go(w, shard_mono(w->shard));
    exec_over(&w->run);
}

static enum exec_outcome finish(struct exec_worker *w, struct run *r, uint64_t floor)
{
    struct shard *s = w->shard;
    uint64_t end = shard_mono(s), ns = end - w->clock_ns;
    exec_show(r, floor);
    if (w->latched &&
        (end - w->row_ns >= ROW_NS || slowlog_wants(s, r->call.entry->command->flags, ns) || is_latency_event(s, ns)))
        row_let_go(w, end);
    exec_account(r, ns);
    if (unlikely(r->flags & CMD_EXEC))
        finish_exec(w);
    if (unlikely(w->run.served.first)) {
        if (r->flags & CMD_EXEC)
            exec_log_served(r);
        else
            slowlog_add_later(s, &w->run.served);
    }
    if (!w->latched)
        effects_tell(s);
    w->clock_ns = end;
    return EXEC_DONE;
}

void exec_reply_code(struct run *r, enum result code)
{
    struct sink *reply = r->call.reply;
    sink_begin(reply);
    if (!(r->flags & CMD_EXEC)) {
        reply_result(reply, code);
        return;
    }
    char text[256];
    r->exec_failed = true;
    result_sentence(code, text);
    (void)reply_error(reply, "EXECABORT Transaction discarded because of: %s", text);
}

/* The run gave a code instead of an answer. */
static void reply_code(struct run *r, size_t mark, enum result code)
{
    r->call.reply->ops->rewind(r->call.reply, mark);
    exec_reply_code(r, code);
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
    enum result r = pool_submit(&w->run, lane);
    if (r != RES_OK) {
        reply_code(&w->run, mark, r);
        return finish(w, &w->run, 0);
    }
    atomic_fetch_add_explicit(w->run.flags & CMD_WRITE ? &s->away_writes : &s->away_reads, 1, memory_order_relaxed);
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
    return finish(w, &w->run, 0);
}

static enum exec_outcome run_write(struct exec_worker *w);

/* A read that has found something to keep. */
static enum exec_outcome run_again_as_write(struct exec_worker *w, size_t mark)
{
    struct run *r = &w->run;
    struct call *c = &r->call;
    uint32_t flags = r->flags | CMD_WRITE;
    c->reply->ops->rewind(c->reply, mark);
    sink_begin(c->reply);
    run_begin(r, c->session, c->entry, c->argc, c->argv, c->reply);
    r->flags = flags;
    return run_write(w);
}

static enum exec_outcome run_read(struct exec_worker *w)
{
    struct run *r = &w->run;
    struct call *c = &r->call;
    size_t mark = c->reply->ops->mark(c->reply);
    if (unlikely(r->flags & CMD_LONG))
        return send_away(w, mark, LANE_LONG);
    epoch_enter();
    run_snapshot_read(r, w->clock_ns);
    enum result res = run_handler(r, c->entry->command->run);
    epoch_leave();
    if (unlikely(res == RES_WOULD_BLOCK && r->wants_write))
        return run_again_as_write(w, mark);
    if (unlikely(res == RES_WOULD_BLOCK))
        return send_away(w, mark, r->too_long ? LANE_LONG : LANE_SHORT);
    if (unlikely(res != RES_OK))
        reply_code(r, mark, res);
    return finish(w, &w->run, 0);
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
    struct shard *s = w->shard;
    const struct command *cmd = c->entry->command;
    size_t mark = c->reply->ops->mark(c->reply);
    if (unlikely(r->flags & CMD_LONG || exec_argument_bytes(c->argc, c->argv) > LARGE_ARGUMENTS))
        return send_away(w, mark, LANE_LONG);
    if (!w->latched && !row_take(w))
        return EXEC_PARKED;
    bundle_commit(w); /* it comes before this one */
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
    if (unlikely(s->waits.ready_first))
        w->committed |= wait_serve(s);
    if (unlikely(r->registered)) {
        w->clock_valid = false;
        return EXEC_AWAY; /* the session may have been served by now */
    }
    return finish(w, r, sequence);
}

/* A short write, with those before and behind it in one batch. False: it has not run, and is to be run alone. */
static bool run_bundled(struct exec_worker *w, struct session *session, const struct command_entry *entry, int argc,
                        const struct slice *argv, struct sink *reply, enum exec_outcome *outcome)
{
    struct run *r = &w->bundle;
    if (!w->latched && !row_take(w)) {
        *outcome = EXEC_PARKED;
        return true;
    }
    if (!bundle_join(w, session, entry, argc, argv, reply))
        return false;
    size_t mark = reply->ops->mark(reply);
    uint64_t floor;
    epoch_enter();
    bundle_snapshot(w);
    enum result res = run_handler(r, entry->command->run);
    epoch_leave();
    if (unlikely(!bundle_keep(w, res, &floor))) {
        reply->ops->rewind(reply, mark);
        sink_begin(reply);
        return false;
    }
    if (bundle_is_full(w))
        bundle_commit(w);
    *outcome = finish(w, r, floor);
    return true;
}

struct waiter *exec_take_waiter(struct exec_worker *w)
{
    struct waiter *waiter = w->run.registered;
    w->run.registered = NULL;
    return waiter;
}

/* ---- what a command must pass before it runs ---- */

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

/* Why it may not run at all; false: it may. */
static bool refusal(const struct session *session, const struct command_entry *entry, uint32_t flags, unsigned what,
                    char text[512])
{
    const uint32_t own = entry->command->flags;
    const char *why = NULL;
    if (what & RESTRICT_AUTH && !session->authenticated && !(own & CMD_NO_AUTH))
        why = "NOAUTH Authentication required.";
    else if (session->state & SESSION_MULTI && own & CMD_NO_MULTI)
        why = "ERR Command not allowed inside a transaction";
    else if (what & RESTRICT_MEMORY &&
             (flags & CMD_DENYOOM || (session->state & SESSION_MULTI && !(own & CMD_UNQUEUED))))
        why = "OOM command not allowed when used memory > 'maxmemory'.";
    if (why)
        (void)snprintf(text, 512, "%s", why);
    else if (what & RESTRICT_FROZEN && flags & CMD_WRITE)
        result_sentence(RES_READ_ONLY, text);
    else if (session->state & SESSION_SUBSCRIBED && session->resp == 2 && !(own & CMD_SUBSCRIBER))
        (void)snprintf(text, 512,
                       "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
                       "allowed in this context",
                       entry->full_name);
    else
        return false;
    return true;
}

static void refuse(struct exec_worker *w, struct session *session, const struct command_entry *entry,
                   struct sink *reply, const char *text)
{
    if (entry->command->flags & CMD_EXEC && session->multi) {
        session_unwatch(w->shard, session);
        session_multi_end(session);
        (void)reply_error(reply, "EXECABORT Transaction discarded because of: %s", text);
    } else {
        session_multi_fail(session);
        (void)reply_error(reply, "%s", text);
    }
    shard_count_rejected(w, entry);
    stats_error(w->run.stats, slice_str(reply->error_code));
}

/* true: go on; else *outcome says how it ended. */
static bool admit(struct exec_worker *w, struct session *session, const struct command_entry *entry, unsigned what,
                  int argc, const struct slice *argv, struct sink *reply, enum exec_outcome *outcome)
{
    uint32_t flags = entry->command->flags;
    char text[512];
    *outcome = EXEC_DONE;
    if (flags & CMD_EXEC)
        flags |= multi_flags(session);
    if (refusal(session, entry, flags, what, text)) {
        refuse(w, session, entry, reply, text);
        return false;
    }
    if (what & RESTRICT_PAUSE && paused(w->shard, flags)) {
        park(w, PARK_PAUSE);
        if (paused(w->shard, flags)) {
            *outcome = EXEC_PARKED;
            return false;
        }
    }
    if (!(session->state & SESSION_MULTI) || flags & CMD_UNQUEUED)
        return true;
    enum result res = multi_queue(session, entry, argc, argv);
    if (res == RES_OK) {
        reply_status(reply, "QUEUED");
    } else {
        session_multi_fail(session);
        reply_result(reply, res);
    }
    return false;
}

static void clock_start(struct exec_worker *w)
{
    if (!w->clock_valid) {
        w->clock_ns = shard_mono(w->shard);
        w->clock_valid = true;
    }
}

/* What the declaration checks before anything is taken. True: it has replied an error. */
static bool check(struct exec_worker *w, struct sink *reply)
{
    struct call *c = &w->run.call;
    size_t mark = reply->ops->mark(reply);
    enum result res = c->entry->command->check(c);
    if (res != RES_OK)
        reply_code(&w->run, mark, res);
    return reply->is_error;
}

enum exec_outcome exec_run(struct exec_worker *w, struct session *session, const struct command_entry *entry, int argc,
                           const struct slice *argv, struct sink *reply)
{
    uint32_t flags = entry->command->flags;
    sink_begin(reply);
    unsigned restricted = atomic_load_explicit(&w->shard->restricted, memory_order_acquire);
    enum exec_outcome outcome;
    if (unlikely(restricted | session->state) && !admit(w, session, entry, restricted, argc, argv, reply, &outcome))
        return outcome;
    clock_start(w);
    if (unlikely(flags & CMD_EXEC))
        flags = multi_way(session, flags);
    if (entry->command->only_reads && entry->command->only_reads(argc, argv))
        flags &= ~(uint32_t)CMD_WRITE;
    if (!entry->command->check && bundle_suits(w, flags, argc, argv) &&
        run_bundled(w, session, entry, argc, argv, reply, &outcome))
        return outcome;
    if (w->bundle_open &&
        (flags & (CMD_WRITE | CMD_LATCHED | CMD_SESSION) || session->floor > front_visible(w->shard->front)))
        bundle_commit(w); /* the writes that it may ask for are among it */
    run_begin(&w->run, session, entry, argc, argv, reply);
    w->run.flags = flags;
    if (entry->command->check && check(w, reply))
        return finish(w, &w->run, 0);
    if (flags & (CMD_WRITE | CMD_LATCHED)) {
        outcome = run_write(w);
    } else {
        /* Short reads may run inside a row of writes; whatever may take longer lets others write meanwhile. What was
         * published is told in the order in which its client did it all. */
        if (unlikely(w->latched && (flags & (CMD_FAST | CMD_PUBSUB)) != CMD_FAST))
            row_release(w, w->clock_ns);
        outcome = flags & CMD_SESSION ? run_session(w) : run_read(w);
    }
    if (outcome != EXEC_PARKED)
        w->run.seed = hash_mix(w->run.seed + 1);
    return outcome;
}

void exec_session_command(struct exec_worker *w, struct session *session, const struct command_entry *entry, int argc,
                          const struct slice *argv, struct sink *reply)
{
    assert(entry->command->flags & CMD_SESSION);
    if (w->latched)
        row_release(w, shard_mono(w->shard));
    sink_begin(reply);
    w->clock_valid = false;
    clock_start(w);
    run_begin(&w->run, session, entry, argc, argv, reply);
    w->run.flags = entry->command->flags;
    if (entry->command->check && check(w, reply))
        (void)finish(w, &w->run, 0);
    else
        (void)run_session(w);
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

/* Prepared commands: whatever is cold or long (EXECUTION, rules 12 to 15). A read just runs, whole, at a view it holds.
 * A write is run to its end at a snapshot, without the latch, over its overlay; then it takes the latch, is validated,
 * and its batch is committed as it stands.
 *
 * Valid is a run when what it saw is still so: no key it looked up was touched above its snapshot (touched.h), the
 * database map did not change, nothing was committed at all if it looked at counters, and no key it saw alive is due.
 * One that wrote nothing needs no validation: it is a read at its snapshot.
 *
 *   prepare ─► valid ─► commit
 *      ▲         └ not ─► the ordinary way: under the latch, at visible; most of it is warm by now
 *      │                     └ still cold or long
 *      └─────────────────────────┘   after HOLD_AFTER failures its keys are held, after SLOW_AFTER slow mode
 *
 * Holding keys: all at once, under the latch, only when nobody else holds one of them, so that no two commands wait for
 * each other; who meets a key of another lets go of his own before he waits. Writers that meet a held key park.
 * A run that prepares for others, too (call_alone), holds its keys from the start; who comes meanwhile waits for it and
 * then goes the ordinary way.
 * A command that acts outside of the server (call_may_act) runs once to find out its keys, and again when it holds them.
 * Slow mode holds the latch and waits for the disk nevertheless: the last resort for runs that look at other keys each
 * time; counted, and it must stay at zero in practice. */
#include <stdlib.h>

#include "base/epoch.h"
#include "exec/internal.h"

#define HOLD_AFTER 3
#define SLOW_AFTER 8

/* Without the latch: a view to hold, the time that fits the snapshot. */
static void begin_waiting(struct run *r, unsigned mode, uint64_t snapshot)
{
    struct call *c = &r->call;
    uint64_t mono = shard_mono(c->shard);
    c->snapshot = snapshot;
    c->now_ms = run_read_clock(r, snapshot, mono);
    c->mode = mode | CALL_MAY_WAIT;
    r->started_ns = mono;
}

enum result away_read(struct run *r, const struct task *t)
{
    struct call *c = &r->call;
    struct front *f = c->shard->front;
    run_begin_task(r, t);
    c->view = front_view_ref(f);
    sched_point(SCHED_VIEW);
    uint64_t gate = front_snapshot(c->view), floor = t->session ? t->session->floor : 0;
    begin_waiting(r, CALL_READ, gate > floor ? gate : floor);
    enum result res = run_handler(r, t->fn);
    front_view_unref(c->view);
    c->view = NULL;
    return res;
}

/* ---- held keys ---- */

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool hold_has(const struct hold *h, uint32_t at)
{
    return h->count && bsearch(&at, h->at, h->count, sizeof at, compare_u32);
}

static uint32_t entry_of(const struct shard *s, uint64_t hash) { return (uint32_t)(hash & s->touched.mask); }

/* The entries of the keys that the run saw, sorted, each once. */
static enum result hold_list(struct run *r)
{
    struct hold *h = &r->hold;
    size_t n = r->call.seen.count;
    if (n > h->cap) {
        void *p = realloc(h->at, n * sizeof *h->at);
        if (!p)
            return RES_NO_MEMORY;
        h->at = p;
        h->cap = n;
    }
    for (size_t i = 0; i < n; i++)
        h->at[i] = entry_of(r->call.shard, r->call.seen.keys[i]);
    if (n)
        qsort(h->at, n, sizeof *h->at, compare_u32);
    h->count = 0;
    for (size_t i = 0; i < n; i++)
        if (h->count == 0 || h->at[h->count - 1] != h->at[i])
            h->at[h->count++] = h->at[i];
    return RES_OK;
}

static bool hold_try(struct shard *s, const struct hold *h)
{
    for (size_t i = 0; i < h->count; i++)
        if (s->touched.sequence[h->at[i]] & TOUCHED_HELD)
            return false;
    for (size_t i = 0; i < h->count; i++)
        s->touched.sequence[h->at[i]] |= TOUCHED_HELD;
    s->touched.held += h->count;
    return true;
}

/* *waited: somebody else had one of them. */
static enum result hold_take(struct run *r, bool *waited)
{
    struct shard *s = r->call.shard;
    enum result res = hold_list(r);
    *waited = false;
    while (res == RES_OK) {
        uint64_t turn = moved_turn(s, &s->held_turns);
        latch_lock(&s->latch);
        bool ok = hold_try(s, &r->hold);
        latch_release(&s->latch, shard_mono(s));
        if (ok) {
            atomic_fetch_add_explicit(&s->held_keys, r->hold.count, memory_order_relaxed);
            return RES_OK;
        }
        res = wait_moved(s, &s->held_turns, turn);
        *waited = true;
    }
    r->hold.count = 0;
    return res;
}

static void hold_drop(struct run *r)
{
    struct shard *s = r->call.shard;
    if (!r->hold.count)
        return;
    latch_lock(&s->latch);
    for (size_t i = 0; i < r->hold.count; i++)
        s->touched.sequence[r->hold.at[i]] &= ~TOUCHED_HELD;
    s->touched.held -= r->hold.count;
    latch_release(&s->latch, shard_mono(s));
    r->hold.count = 0;
    release_held(s);
}

/* ---- private tables ---- */

/* Regions do not share a table: the one with the most bytes goes into it, the rest stays in the batch if that is small.
 * (The value of a string of many pieces lies in one region, its metadata in another.) */
static uint8_t choose_region(const struct overlay *o, size_t batch_max)
{
    size_t bytes[256] = {0};
    for (uint32_t i = 0; i < o->count; i++)
        bytes[o->records[i].key.bytes.data[0]] += o->records[i].key.bytes.len + o->records[i].value.len + 16;
    unsigned most = 0;
    size_t all = 0;
    for (unsigned i = 0; i < 256; i++) {
        all += bytes[i];
        if (bytes[i] > bytes[most])
            most = i;
    }
    return all - bytes[most] <= batch_max / 2 ? (uint8_t)most : 0;
}

static enum result table_write(struct run *r, struct engine_table **out, uint64_t *number)
{
    struct shard *s = r->call.shard;
    struct overlay *o = &r->overlay;
    struct engine_table *t = NULL;
    *out = NULL;
    r->above_table = overlay_split(o, choose_region(o, front_batch_max(s->front)));
    enum result res = front_table_begin(s->front, &t);
    if (res != RES_OK)
        return res;
    for (uint32_t i = (uint32_t)r->above_table; res == RES_OK && i < o->count; i++)
        res = front_table_add(s->front, t, o->records[i].key.bytes, o->records[i].kind, o->records[i].value);
    if (res == RES_OK)
        res = front_table_finish(s->front, t, number);
    if (res != RES_OK) {
        front_table_abort(s->front, t);
        return res;
    }
    atomic_fetch_add_explicit(&s->private_tables, 1, memory_order_relaxed);
    *out = t;
    return RES_OK;
}

static bool wants_table(const struct run *r)
{
    struct batch b;
    overlay_batch(&r->overlay, r->call.now_ms, &b);
    return r->overlay.bytes > FRONT_BATCH_MAX ||
           front_batch_bytes(r->call.shard->front, &b) > front_batch_max(r->call.shard->front);
}

/* ---- validation and commit ---- */

/* Under the latch. RES_OK, RES_RETRY: not valid, RES_LOCKED: somebody holds one of the keys. */
static enum result validate(struct run *r, uint64_t now_ms)
{
    struct call *c = &r->call;
    struct shard *s = c->shard;
    if (r->flags & CMD_EXEC && session_watch_broken(c->session))
        return RES_RETRY; /* the ordinary way will say so */
    if (c->seen.used_dbs && s->dbs_sequence > c->snapshot)
        return RES_RETRY;
    if (r->saw_counts && front_visible(s->front) > c->snapshot)
        return RES_RETRY;
    if (c->seen.first_due < now_ms)
        return RES_RETRY;
    if (front_visible(s->front) == c->snapshot && !s->touched.held)
        return RES_OK; /* nothing was committed since */
    bool valid = true;
    for (size_t i = 0; i < c->seen.count; i++) {
        uint64_t v = *touched_at(&s->touched, c->seen.keys[i]);
        if (v & TOUCHED_HELD && !hold_has(&r->hold, entry_of(s, c->seen.keys[i])))
            return RES_LOCKED;
        valid &= (v & ~TOUCHED_HELD) <= c->snapshot;
    }
    return valid ? RES_OK : RES_RETRY;
}

void latch_end(struct shard *s, struct run *r, bool committed)
{
    committed |= wait_serve(s);
    struct wait_left left = wait_take_left(s);
    clock_write_end(&s->clock);
    latch_release(&s->latch, shard_mono(s));
    if (committed)
        front_kick(s->front);
    effects_tell(s);
    if (r)
        slowlog_move(&r->served, &left.slow);
    else
        slowlog_add_later(s, &left.slow);
    if (unlikely(left.cold || left.more))
        wait_hand_over(s, left);
}

static enum result commit_prepared(struct run *r, uint64_t *sequence)
{
    struct shard *s = r->call.shard;
    struct engine_table *table = NULL;
    uint64_t number = 0;
    if (wants_table(r)) {
        enum result res = table_write(r, &table, &number);
        if (res != RES_OK)
            return res;
    }
    enum result res;
    for (;;) {
        uint64_t space = moved_turn(s, &s->space_turns), held = moved_turn(s, &s->held_turns);
        latch_lock(&s->latch);
        uint64_t now = clock_write_begin(&s->clock, &r->clock, shard_mono(s));
        res = validate(r, now);
        if (res == RES_OK)
            res = commit_overlay(r, table, number, sequence);
        latch_end(s, r, res == RES_OK);
        if (res == RES_WOULD_BLOCK)
            res = wait_moved(s, &s->space_turns, space);
        else if (res == RES_LOCKED && !r->hold.count)
            res = wait_moved(s, &s->held_turns, held);
        else
            break;
        if (res != RES_OK)
            break;
    }
    if (res != RES_OK && table)
        front_table_abort(s->front, table);
    return res;
}

/* One preparation and its commit. */
static enum result prepare(struct run *r, const struct task *t, uint64_t *floor, uint64_t *committed)
{
    struct call *c = &r->call;
    struct front *f = c->shard->front;
    run_begin_task(r, t);
    c->view = front_view_ref(f);
    sched_point(SCHED_VIEW); /* here the memtable may be replaced */
    uint64_t visible = front_visible(f), covered = front_view_last(c->view);
    begin_waiting(r, CALL_PREPARED, visible < covered ? visible : covered);
    c->overlay = &r->overlay;
    *floor = c->snapshot;
    enum result res = run_handler(r, t->fn);
    if (res == RES_OK && r->needs_latch) {
        res = RES_RETRY;
    } else if (res == RES_OK && (!overlay_empty(&r->overlay) || r->must_validate)) {
        sched_point(SCHED_HANDOFF);
        bool empty = overlay_empty(&r->overlay);
        res = commit_prepared(r, committed);
        if (res == RES_OK)
            *floor = *committed;
        if (empty)
            *committed = 0;
    }
    front_view_unref(c->view);
    c->view = NULL;
    return res;
}

/* The way a reactor would run it, but waiting for the latch, log space and held keys. RES_WOULD_BLOCK: cold or long. */
static enum result ordinary(struct run *r, const struct task *t, uint64_t *floor, uint64_t *committed)
{
    struct call *c = &r->call;
    struct shard *s = c->shard;
    for (;;) {
        uint64_t space = moved_turn(s, &s->space_turns), held = moved_turn(s, &s->held_turns);
        run_begin_task(r, t);
        latch_lock(&s->latch);
        epoch_enter();
        run_snapshot_latched(r, shard_mono(s));
        enum result res = run_handler(r, t->fn), space_res = RES_OK;
        uint64_t sequence = c->snapshot;
        if (res == RES_OK)
            space_res = commit_overlay(r, NULL, 0, &sequence);
        epoch_leave();
        c->view = NULL;
        *floor = sequence;
        *committed = sequence != c->snapshot ? sequence : 0;
        latch_end(s, r, *committed != 0);
        if (res == RES_WOULD_BLOCK && r->hit_held)
            res = wait_moved(s, &s->held_turns, held);
        else if (res == RES_OK && space_res == RES_WOULD_BLOCK)
            res = wait_moved(s, &s->space_turns, space);
        else
            return res != RES_OK ? res : space_res == RES_INVALID ? RES_WOULD_BLOCK : space_res;
        if (res != RES_OK)
            return res;
        t->reply->ops->rewind(t->reply, 0);
    }
}

/* The last resort: under the latch, waiting. */
static enum result slow_mode(struct run *r, const struct task *t, uint64_t *floor, uint64_t *committed)
{
    struct call *c = &r->call;
    struct shard *s = c->shard;
    for (;;) {
        uint64_t space = moved_turn(s, &s->space_turns), held = moved_turn(s, &s->held_turns);
        run_begin_task(r, t);
        latch_lock(&s->latch);
        c->view = front_view_ref(s->front);
        c->snapshot = front_visible(s->front);
        r->started_ns = shard_mono(s);
        c->now_ms = clock_write_begin(&s->clock, &r->clock, r->started_ns);
        c->mode = CALL_LATCHED | CALL_MAY_WAIT;
        c->overlay = &r->overlay;
        r->slow = true;
        uint64_t sequence = c->snapshot, number = 0;
        struct engine_table *table = NULL;
        enum result res = run_handler(r, t->fn), commit_res = RES_OK;
        if (res == RES_OK && !overlay_empty(&r->overlay) && wants_table(r))
            res = table_write(r, &table, &number);
        if (res == RES_OK)
            commit_res = commit_overlay(r, table, number, &sequence);
        *floor = sequence;
        *committed = sequence != c->snapshot ? sequence : 0;
        latch_end(s, r, *committed != 0);
        front_view_unref(c->view);
        c->view = NULL;
        if (table && !*committed)
            front_table_abort(s->front, table);
        if (res == RES_WOULD_BLOCK && r->hit_held)
            res = wait_moved(s, &s->held_turns, held);
        else if (res == RES_OK && commit_res == RES_WOULD_BLOCK)
            res = wait_moved(s, &s->space_turns, space);
        else
            return res != RES_OK ? res : commit_res;
        if (res != RES_OK)
            return res;
        t->reply->ops->rewind(t->reply, 0);
    }
}

enum result prepared_run(struct run *r, const struct task *t, uint64_t *floor, uint64_t *committed)
{
    struct shard *s = r->call.shard;
    enum result res = RES_OK;
    bool waited, gave_way = false;
    *committed = 0;
    for (int failures = 0;;) {
        res = prepare(r, t, floor, committed);
        if (res == RES_WOULD_BLOCK && r->wants_hold && !r->hold.count) {
            t->reply->ops->rewind(t->reply, 0);
            if ((res = hold_take(r, &waited)) != RES_OK)
                break;
            failures = HOLD_AFTER; /* from now on it is never without */
            continue;
        }
        if (res == RES_WOULD_BLOCK && r->wants_alone && !r->hold.count) {
            t->reply->ops->rewind(t->reply, 0);
            if ((res = hold_take(r, &waited)) != RES_OK)
                break;
            if (!waited || gave_way)
                continue;
            gave_way = true;
            hold_drop(r); /* who had it may have done what this one wanted to do */
            if ((res = ordinary(r, t, floor, committed)) != RES_WOULD_BLOCK)
                break;
            t->reply->ops->rewind(t->reply, 0);
            continue;
        }
        if (res != RES_RETRY && res != RES_LOCKED) /* locked: it holds keys and met another's; below it lets go first */
            break;
        failures++;
        atomic_fetch_add_explicit(&s->prepared_retries, 1, memory_order_relaxed);
        t->reply->ops->rewind(t->reply, 0);
        if (failures >= SLOW_AFTER) {
            hold_drop(r);
            atomic_fetch_add_explicit(&s->slow_mode, 1, memory_order_relaxed);
            res = slow_mode(r, t, floor, committed);
            break;
        }
        if (failures >= HOLD_AFTER) {
            hold_drop(r);
            if ((res = hold_take(r, &waited)) != RES_OK)
                break;
            continue;
        }
        res = ordinary(r, t, floor, committed);
        if (res != RES_WOULD_BLOCK)
            break;
        t->reply->ops->rewind(t->reply, 0);
    }
    hold_drop(r);
    if (r->kept.what)
        r->kept.drop(r->kept.what);
    r->kept.what = NULL;
    return res;
}

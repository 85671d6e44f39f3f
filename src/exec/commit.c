/* Committing what a run wrote: one batch, one sequence. The caller holds the latch; nothing here waits.
 *
 * Between front_reserve() and front_commit() nothing can fail any more. Before the batch is visible, the clock's ring
 * learns its time (a reader that sees visible move must find it there) and the run's own effects happen; after it, the
 * keys it signalled are marked as touched, which only holders of the latch look at. */
#include "exec/internal.h"

static enum result reserve(struct run *r, const struct batch *b)
{
    if (r->bundled) {
        front_use_room(r->call.shard->front, b);
        return RES_OK;
    }
    enum result res = front_reserve(r->call.shard->front, b);
    assert(res == RES_OK || res == RES_WOULD_BLOCK || res == RES_NO_SPACE || res == RES_READ_ONLY ||
           res == RES_INVALID || res == RES_NO_MEMORY || res == RES_IO);
    return res;
}

static enum result commit_batch(struct run *r, struct engine_table *table, uint64_t table_number, uint64_t *sequence)
{
    struct call *c = &r->call;
    struct shard *s = c->shard;
    struct overlay *o = &r->overlay;
    assert(latch_held_here());
    *sequence = front_visible(s->front);
    if (overlay_empty(o) && !table) {
        assert(o->counter_count == 0 && !o->dbs); /* without a record there is nothing to count */
        return RES_OK;
    }
    struct batch b;
    /* A prepared command was executed earlier, but batches carry times in the order of their sequences. */
    uint64_t now = atomic_load_explicit(&s->clock.running, memory_order_relaxed);
    overlay_batch(o, now, &b);
    b.table = table;
    b.table_number = table_number;
    if (table)
        b.count = r->above_table;
    enum result res = reserve(r, &b);
    if (res != RES_OK)
        return res;

    uint64_t next = *sequence + 1;
    clock_commit(&s->clock, next, now, front_gate(s->front));
    for (uint32_t i = 0; i < r->hook_count; i++)
        r->hooks[i].fn(c, r->hooks[i].arg, next);
    sched_point(SCHED_COMMIT);
    *sequence = front_commit(s->front, &b);
    assert(*sequence == next);
    uint64_t changes = 0;
    for (uint32_t i = 0; i < o->signal_count; i++) {
        if (unlikely(o->signals[i].kind & (SIGNAL_FLUSHED | SIGNAL_SWAPPED)))
            continue; /* no key */
        touched_set(&s->touched, o->signals[i].hash, next);
        changes += o->signals[i].kind != SIGNAL_UNSEEN;
    }
    stat_add(&s->changes, changes);
    if (unlikely(o->dbs))
        s->dbs_sequence = next;
    if (unlikely(s->watches.count))
        watch_signals(s, o);
    if (unlikely(s->waits.queues))
        wait_signals(s, o);
    return RES_OK;
}

enum result commit_overlay(struct run *r, struct engine_table *table, uint64_t table_number, uint64_t *sequence)
{
    struct shard *s = r->call.shard;
    /* who asks to be told while a bundle is put together is told below */
    bool tracks = unlikely(atomic_load_explicit(&s->effects.tracking, memory_order_relaxed)) && !r->bundled;
    enum result res = tracks ? effects_track(r) : RES_OK;
    if (res == RES_OK)
        res = commit_batch(r, table, table_number, sequence);
    if (res == RES_OK && !tracks && r->overlay.signal_count > 0) {
        atomic_signal_fence(memory_order_seq_cst);                                        /* see shard_set_tracking() */
        if (unlikely(atomic_load_explicit(&s->effects.tracking, memory_order_relaxed))) { /* from this moment on */
            res = effects_track(r);
            assert(res == RES_OK);
        }
    }
    if (res != RES_OK || likely(!r->effects && !r->waiter && !r->waits_on))
        return res;
    if (r->effects)
        effects_queue(r, *sequence);
    if (r->waiter)
        wait_register(r, *sequence);
    else if (r->waits_on)
        wait_stay(r);
    return RES_OK;
}

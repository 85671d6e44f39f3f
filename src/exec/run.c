/* A run: the scratch memory of a thread that runs commands, and the beginning of each run (snapshot, clock, seed).
 * A run can be dropped at any point before its commit and begun again from the start, here or on another thread; all it
 * did so far lies in its overlay, its reply and its arena. */
#include <stdlib.h>

#include "base/hash.h"
#include "exec/internal.h"

static void init(struct run *r, struct shard *s)
{
    memset(r, 0, sizeof *r);
    r->call.shard = s;
    r->call.arena = &r->arena;
    arena_init(&r->arena, 4096);
    overlay_init(&r->overlay);
    s->env->ops->random(s->env, &r->seed, sizeof r->seed);
}

enum result run_init(struct run *r, struct shard *s)
{
    init(r, s);
    r->stats = stats_take(s);
    return r->stats ? RES_OK : RES_NO_MEMORY;
}

void run_init_bundle(struct run *r, const struct run *first)
{
    init(r, first->call.shard);
    r->bundled = true;
    r->stats = first->stats;
}

void run_fini(struct run *r)
{
    if (r->stats && !r->bundled)
        stats_give(r->call.shard, r->stats);
    effects_drop(r);
    wait_drop(r->waiter);
    assert(!r->served.first);
    arena_fini(&r->arena);
    overlay_fini(&r->overlay);
    free(r->hooks);
    free(r->hold.at);
    free(r->call.seen.keys);
}

#define KEEP_SEEN 4096

void run_command(struct run *r, struct session *session, const struct command_entry *entry, int argc,
                 const struct slice *argv, struct sink *reply)
{
    struct call *c = &r->call;
    c->session = session;
    c->entry = entry;
    c->argc = argc;
    c->argv = argv;
    c->reply = reply;
    c->settings = atomic_load_explicit(&c->shard->settings, memory_order_acquire);
    c->random_state = r->seed;
}

void run_begin(struct run *r, struct session *session, const struct command_entry *entry, int argc,
               const struct slice *argv, struct sink *reply)
{
    struct call *c = &r->call;
    arena_reset(&r->arena);
    overlay_reset(&r->overlay);
    r->hook_count = 0;
    r->failed = RES_OK;
    r->too_long = r->hit_held = r->saw_counts = r->slow = false;
    r->in_exec = r->exec_failed = r->must_validate = r->needs_latch = r->waits_on = r->wants_hold = r->tracked = false;
    r->wants_write = r->wants_alone = false;
    r->inner_count = 0;
    r->serving = NULL;
    r->flags = 0;
    if (unlikely(r->effects || r->waiter)) {
        effects_drop(r);
        wait_drop(r->waiter);
        r->waiter = NULL;
    }
    run_command(r, session, entry, argc, argv, reply);
    c->events = atomic_load_explicit(&c->shard->events, memory_order_relaxed);
    c->view = NULL;
    c->overlay = NULL;
    c->mode = 0;
    c->bind = 0;
    c->keyspace_hits = c->keyspace_misses = 0;
    c->store = NULL;
    c->error_closed = 0;
    c->secret = 0;
    c->seen.count = 0;
    c->seen.first_due = UINT64_MAX;
    c->seen.used_dbs = false;
    if (unlikely(c->seen.cap > KEEP_SEEN)) {
        free(c->seen.keys);
        c->seen.keys = NULL;
        c->seen.cap = 0;
    }
}

void run_begin_task(struct run *r, const struct task *t)
{
    r->seed = t->seed;
    run_begin(r, t->session, t->entry, t->argc, t->argv, t->reply);
    r->flags = t->flags;
    r->serving = t->serving;
}

uint64_t run_read_clock(struct run *r, uint64_t snapshot, uint64_t mono_ns)
{
    struct shard *s = r->call.shard;
    uint64_t now = clock_now(&s->clock, &r->clock, mono_ns);
    uint64_t running = clock_running(&s->clock);
    if (running && running < now)
        now = running;
    if (front_visible(s->front) > snapshot) {
        uint64_t above = clock_above(&s->clock, snapshot);
        if (above < now)
            now = above;
    }
    return now;
}

void run_snapshot_read(struct run *r, uint64_t mono_ns)
{
    struct call *c = &r->call;
    struct front *f = c->shard->front;
    c->view = front_view(f);
    sched_point(SCHED_VIEW); /* here the memtable may be replaced */
    uint64_t gate = front_snapshot(c->view), floor = c->session ? c->session->floor : 0;
    c->snapshot = gate > floor ? gate : floor;
    c->now_ms = run_read_clock(r, c->snapshot, mono_ns);
    c->mode = CALL_READ;
    r->started_ns = mono_ns;
}

void run_snapshot_latched(struct run *r, uint64_t mono_ns)
{
    struct call *c = &r->call;
    struct front *f = c->shard->front;
    c->view = front_view(f);
    c->snapshot = front_visible(f);
    c->now_ms = clock_write_begin(&c->shard->clock, &r->clock, mono_ns);
    c->mode = CALL_LATCHED;
    c->overlay = &r->overlay;
    r->started_ns = mono_ns;
}

enum result run_handler(struct run *r, command_fn *fn)
{
    if (unlikely(r->serving))
        r->call.mode |= CALL_SERVED;
    enum result res = fn(&r->call);
    if (res == RES_OK && unlikely(r->failed != RES_OK))
        res = r->failed;
    return res;
}

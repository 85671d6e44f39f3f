/* Bundles: short writes that follow one another in a row of the latch, of whatever sessions, become one batch with one
 * sequence number (EXECUTION, rule 8). What a commit costs beside its records is then paid once, and a record that each of
 * them writes, such as a list's metadata, is written once.
 *
 * They run over one overlay, as the commands of EXEC do, each behind a mark to which it can be undone, and at one time.
 * Log space and memory for the largest bundle are reserved before its first command: the commit cannot be refused,
 * so replies may be given before it, with the sequence that it will have as their floor. Nobody but their own sessions
 * knows of the writes until then, and a session that wants to know ends the bundle (exec.c); so does everything that
 * looks at commits one by one: waiting clients, events, client-side caching. Arguments are gone when the commit comes:
 * what a bundle's overlay keeps of them is copied (call.c). */
#include "base/hash.h"
#include "exec/internal.h"

#define BUNDLE_COMMANDS 64
#define BUNDLE_RECORDS 512
#define BUNDLE_BYTES ((size_t)64 << 10)
/* Left of it before a command that may join; one that needs more is undone and goes alone. */
#define BUNDLE_SPARE_RECORDS (BUNDLE_RECORDS / 2)
#define BUNDLE_SPARE_BYTES (BUNDLE_BYTES / 2)
#define BUNDLE_ARGUMENTS ((size_t)8 << 10)

#define NEVER                                                                                                          \
    (CMD_LONG | CMD_LATCHED | CMD_EXEC | CMD_BLOCKING | CMD_ADMIN | CMD_PUBSUB | CMD_NO_MULTI | CMD_MAY_REPLICATE |    \
     CMD_MOVABLE_KEYS | CMD_SESSION | CMD_UNBUNDLED)

bool bundle_suits(const struct exec_worker *w, uint32_t flags, int argc, const struct slice *argv)
{
    const struct shard *s = w->shard;
    return (flags & (CMD_WRITE | NEVER)) == CMD_WRITE && !atomic_load_explicit(&s->events, memory_order_relaxed) &&
           !atomic_load_explicit(&s->effects.tracking, memory_order_relaxed) &&
           exec_argument_bytes(argc, argv) <= BUNDLE_ARGUMENTS;
}

/* The first command of a bundle: room for all that may follow. */
static bool begin(struct exec_worker *w)
{
    struct run *r = &w->bundle;
    if (!front_reserve_room(w->shard->front, BUNDLE_BYTES, BUNDLE_RECORDS))
        return false; /* an ordinary commit finds out why */
    run_begin(r, NULL, NULL, 0, NULL, NULL);
    w->bundle_open = true;
    return true;
}

bool bundle_join(struct exec_worker *w, struct session *session, const struct command_entry *entry, int argc,
                 const struct slice *argv, struct sink *reply)
{
    struct run *r = &w->bundle;
    struct call *c = &r->call;
    assert(w->latched);
    if (w->shard->waits.queues || (!w->bundle_open && !begin(w)))
        return false;
    run_command(r, session, entry, argc, argv, reply);
    c->bind = c->secret = c->keyspace_hits = c->keyspace_misses = 0;
    c->error_closed = 0;
    r->failed = RES_OK;
    r->too_long = r->hit_held = false;
    r->flags = entry->command->flags;
    overlay_mark(&r->overlay, &w->mark);
    w->marked_hooks = r->hook_count;
    return true;
}

/* All at the time of the first, and nothing becomes visible meanwhile; but the view may be replaced. */
void bundle_snapshot(struct exec_worker *w)
{
    struct run *r = &w->bundle;
    if (!r->call.mode) {
        run_snapshot_latched(r, w->clock_ns);
        return;
    }
    r->call.view = front_view(w->shard->front);
    r->started_ns = w->clock_ns;
}

bool bundle_keep(struct exec_worker *w, enum result res, uint64_t *floor)
{
    struct run *r = &w->bundle;
    const struct overlay *o = &r->overlay;
    r->seed = hash_mix(r->seed + 1);
    if (res == RES_OK && !r->effects && !r->waiter && !r->waits_on && !o->dbs && !r->call.store &&
        o->count <= BUNDLE_RECORDS && o->bytes <= BUNDLE_BYTES && o->counter_count <= OVERLAY_MARKED_COUNTERS) {
        w->bundled += !overlay_empty(o);
        *floor = front_visible(w->shard->front) + !overlay_empty(o);
        w->bundle_sequence = *floor;
        return true;
    }
    effects_drop(r);
    wait_drop(r->waiter);
    r->waiter = NULL;
    r->waits_on = false;
    r->call.store = NULL; /* nobody before has changed it */
    r->hook_count = w->marked_hooks;
    overlay_undo(&r->overlay, &w->mark);
    return false;
}

bool bundle_is_full(const struct exec_worker *w)
{
    const struct overlay *o = &w->bundle.overlay;
    return w->bundled >= BUNDLE_COMMANDS || o->count >= BUNDLE_RECORDS - BUNDLE_SPARE_RECORDS ||
           o->bytes >= BUNDLE_BYTES - BUNDLE_SPARE_BYTES;
}

void bundle_commit_open(struct exec_worker *w)
{
    struct run *r = &w->bundle;
    struct session *session = r->call.session; /* of the last command alone */
    uint64_t sequence = 0;
    w->bundle_open = false;
    if (!w->bundled)
        return;
    w->bundled = 0;
    r->call.session = NULL;
    enum result res = commit_overlay(r, NULL, 0, &sequence);
    assert(res == RES_OK && sequence == w->bundle_sequence);
    (void)res;
    r->call.session = session;
    w->committed = true;
}

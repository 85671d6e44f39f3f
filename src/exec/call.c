/* What a handler may do: reads through overlay and snapshot, writes into the overlay, signals, counters.
 *
 * Two ways of reading. On a reactor and under the latch the whole run lies in one epoch section: values are borrowed
 * from memtable and cache, and what is not in memory answers RES_WOULD_BLOCK. On the pool (CALL_MAY_WAIT) the run holds
 * a reference on its view instead, every read has an epoch section of its own and copies the value into the arena, and
 * what is not in memory is waited for, outside of any section and never under the latch. */
#include "exec/call.h"

#include <stdlib.h>

#include "base/epoch.h"
#include "base/hash.h"
#include "exec/internal.h"

static enum result get_waiting(struct call *c, const struct engine_key *key, struct slice *value)
{
    struct engine_miss miss;
    miss.table = NULL;
    miss.block = 0;
    miss.held_count = 0;
    epoch_enter();
    enum result r = front_get(c->view, c->snapshot, key, ENGINE_NOWAIT, value, &miss);
    if (r == RES_OK) {
        void *copy = arena_copy(c->arena, value->data, value->len);
        if (copy)
            value->data = copy;
        else
            r = RES_NO_MEMORY;
    }
    epoch_leave();
    if (r != RES_WOULD_BLOCK)
        return r;

    assert(!latch_held_here() || call_run(c)->slow);
    uint8_t *data = NULL;
    size_t len = 0;
    r = front_get_wait(c->view, c->snapshot, key, &data, &len);
    if (r != RES_OK)
        return r;
    void *copy = arena_copy(c->arena, data, len);
    free(data);
    *value = slice_of(copy, len);
    return copy ? RES_OK : RES_NO_MEMORY;
}

enum result call_get(struct call *c, const struct engine_key *key, struct slice *value)
{
    if (c->overlay) {
        const struct batch_record *own = overlay_find(c->overlay, key);
        if (own) {
            *value = own->value;
            return own->kind == RECORD_PUT ? RES_OK : RES_NOT_FOUND;
        }
    }
    assert(c->view != NULL); /* a CMD_SESSION command has no snapshot */
    if (c->mode & CALL_MAY_WAIT)
        return get_waiting(c, key, value);
    struct engine_miss miss;
    miss.table = NULL;
    miss.block = 0;
    miss.held_count = 0;
    return front_get(c->view, c->snapshot, key, ENGINE_NOWAIT, value, &miss);
}

enum result call_iter(struct call *c, struct slice lower, struct slice upper, int flags, struct iter **out)
{
    assert(c->view != NULL);
    *out = NULL;
    if (!(c->mode & CALL_MAY_WAIT))
        flags |= ITER_NOWAIT;
    else
        assert(!latch_held_here() || call_run(c)->slow);
    struct iter *base = NULL;
    enum result r = front_iter(c->view, c->snapshot, lower, upper, flags & ~ITER_TOMBSTONES, &base);
    if (r != RES_OK || !c->overlay || overlay_empty(c->overlay)) {
        *out = base;
        return r;
    }
    struct iter *children[2] = {NULL, base};
    r = overlay_iter(c->overlay, c->arena, lower, upper, &children[0]);
    if (r != RES_OK) {
        iter_close(base);
        return r;
    }
    return iter_merge(children, 2, flags, out);
}

/* A run under the latch must stay small: what is larger than a log record is prepared on the pool. */
static enum result check_size(struct call *c)
{
    size_t bytes = c->overlay->bytes;
    if (likely(bytes <= FRONT_BATCH_MAX))
        return RES_OK;
    if (bytes > c->shard->batch_limit)
        return RES_TOO_MANY;
    return c->mode & CALL_LATCHED && !call_run(c)->slow ? RES_WOULD_BLOCK : RES_OK;
}

static enum result put_kept(struct call *c, struct batch_record *old, const struct engine_key *key, struct slice value,
                            uint8_t kind)
{
    enum result r = old ? overlay_replace(c->overlay, old, value, kind) : overlay_add(c->overlay, key, value, kind);
    return r == RES_OK ? check_size(c) : r;
}

static enum result put_copied(struct call *c, const struct engine_key *key, struct slice value, uint8_t kind)
{
    assert(c->overlay != NULL); /* a read writes nothing */
    assert(key->bytes.len > 0 && key->bytes.len <= ENGINE_KEY_MAX);
    struct batch_record *old = overlay_find(c->overlay, key);
    size_t key_len = old ? 0 : key->bytes.len;
    uint8_t *p = arena_alloc(c->arena, key_len + value.len + 1);
    if (!p)
        return RES_NO_MEMORY;
    struct engine_key kept = {slice_of(p, key_len), key->hash};
    if (key_len)
        memcpy(p, key->bytes.data, key_len);
    if (value.len)
        memcpy(p + key_len, value.data, value.len);
    return put_kept(c, old, &kept, slice_of(p + key_len, value.len), kind);
}

enum result call_put(struct call *c, const struct engine_key *key, struct slice value)
{
    return put_copied(c, key, value, RECORD_PUT);
}

/* Whether these bytes go with the command. */
static bool is_argument(const struct call *c, struct slice bytes)
{
    for (int i = 0; i < c->argc; i++)
        if (bytes.data >= c->argv[i].data && bytes.data < c->argv[i].data + c->argv[i].len)
            return true;
    return false;
}

enum result call_put_keep(struct call *c, const struct engine_key *key, struct slice value)
{
    assert(c->overlay != NULL);
    assert(key->bytes.len > 0 && key->bytes.len <= ENGINE_KEY_MAX);
    if (unlikely(call_run(c)->bundled) && (is_argument(c, key->bytes) || is_argument(c, value)))
        return put_copied(c, key, value, RECORD_PUT);
    return put_kept(c, overlay_find(c->overlay, key), key, value, RECORD_PUT);
}

enum result call_put_new(struct call *c, const struct engine_key *key, struct slice value)
{
    assert(c->overlay != NULL);
    return put_kept(c, NULL, key, value, RECORD_PUT);
}

enum result call_delete(struct call *c, const struct engine_key *key)
{
    return put_copied(c, key, slice_of(NULL, 0), RECORD_DELETE);
}

void call_count(struct call *c, uint32_t keyspace, int64_t keys, int64_t expires)
{
    assert(c->overlay != NULL);
    if (overlay_count(c->overlay, keyspace, keys, expires) != RES_OK)
        call_run(c)->failed = RES_NO_MEMORY;
}

void call_counts(struct call *c, uint32_t keyspace, int64_t *keys, int64_t *expires)
{
    struct run *run = call_run(c);
    struct front *f = c->shard->front;
    struct front_counts n;
    if (c->mode & CALL_LATCHED) {
        n = front_counts_latched(f, keyspace);
    } else {
        uint64_t at = c->view ? c->snapshot : front_gate(f);
        n = front_counts_at(f, keyspace, at);
        run->saw_counts = true;
        if (at > c->bind)
            c->bind = at;
    }
    for (uint32_t i = 0; c->overlay && i < c->overlay->counter_count; i++)
        if (c->overlay->counters[i].id == keyspace) {
            n.keys += c->overlay->counters[i].keys;
            n.expires += c->overlay->counters[i].expires;
        }
    *keys = n.keys;
    *expires = n.expires;
}

/* A key that a prepared command holds is not to be touched by other writers: see prepared.c. */
static bool held_by_other(struct call *c, uint64_t hash)
{
    if (likely(!(c->mode & CALL_LATCHED) || !touched_is_held(&c->shard->touched, hash)))
        return false;
    call_run(c)->hit_held = true;
    return true;
}

enum result call_signal(struct call *c, uint32_t db, struct slice key, uint64_t hash, enum signal_kind kind)
{
    assert(c->overlay != NULL);
    if (held_by_other(c, hash))
        return RES_WOULD_BLOCK;
    struct overlay_signal s = {.hash = hash, .key = key, .db = db, .kind = (uint8_t)kind};
    if (call_run(c)->bundled) {
        s.key.data = arena_copy(c->arena, key.data, key.len);
        if (!s.key.data)
            return RES_NO_MEMORY;
    }
    return overlay_signal(c->overlay, &s);
}

enum result call_signal_dbs(struct call *c, uint32_t a, uint32_t b)
{
    assert(c->overlay != NULL);
    struct overlay_signal s = {.db = a, .kind = a == b ? SIGNAL_FLUSHED : SIGNAL_SWAPPED};
    c->overlay->dbs = true;
    enum result r = overlay_signal(c->overlay, &s);
    if (r != RES_OK || a == b)
        return r;
    s.db = b;
    return overlay_signal(c->overlay, &s);
}

bool call_is_batch(struct call *c) { return !call_run(c)->in_exec && !call_run(c)->bundled; }

uint64_t call_touched(struct call *c, uint64_t hash)
{
    assert(c->mode & CALL_LATCHED || call_run(c)->hold.count);
    return touched_get(&c->shard->touched, hash);
}

bool call_in_exec(struct call *c) { return call_run(c)->in_exec; }

enum result call_on_commit(struct call *c, call_commit_fn *fn, void *arg)
{
    struct run *r = call_run(c);
    assert(c->overlay != NULL);
    if (r->hook_count == r->hook_cap) {
        uint32_t cap = r->hook_cap ? r->hook_cap * 2 : 8;
        void *p = realloc(r->hooks, cap * sizeof *r->hooks);
        if (!p)
            return RES_NO_MEMORY;
        r->hooks = p;
        r->hook_cap = cap;
    }
    r->hooks[r->hook_count++] = (struct commit_hook){fn, arg};
    return RES_OK;
}

enum result call_saw(struct call *c, uint64_t hash, uint64_t expire_ms)
{
    if (held_by_other(c, hash))
        return RES_WOULD_BLOCK;
    if (!(c->mode & CALL_PREPARED))
        return RES_OK;
    if (expire_ms && expire_ms < c->seen.first_due)
        c->seen.first_due = expire_ms;
    if (c->seen.count && c->seen.keys[c->seen.count - 1] == hash)
        return RES_OK;
    if (c->seen.count == c->seen.cap) {
        size_t cap = c->seen.cap ? c->seen.cap * 2 : 16;
        void *p = realloc(c->seen.keys, cap * sizeof *c->seen.keys);
        if (!p)
            return RES_NO_MEMORY;
        c->seen.keys = p;
        c->seen.cap = cap;
    }
    c->seen.keys[c->seen.count++] = hash;
    return RES_OK;
}

bool call_too_long(struct call *c)
{
    struct run *r = call_run(c);
    if (c->mode & CALL_MAY_WAIT) { /* blocks of the cache that made way for those it reads must not wait for its end */
        if (!latch_held_here() && epoch_depth() == 0)
            epoch_poll();
        return false;
    }
    if (shard_mono(c->shard) - r->started_ns < TOO_LONG_NS)
        return false;
    r->too_long = true;
    return true;
}

bool call_will_be_long(struct call *c)
{
    if (c->mode & CALL_MAY_WAIT)
        return false;
    call_run(c)->too_long = true;
    return true;
}

bool call_may_act(struct call *c)
{
    struct run *r = call_run(c);
    r->wants_hold = !(c->mode & CALL_PREPARED) || !r->hold.count;
    return !r->wants_hold;
}

bool call_alone(struct call *c)
{
    struct run *r = call_run(c);
    r->wants_alone = c->mode & CALL_PREPARED && !r->hold.count;
    return !r->wants_alone;
}

void call_keep(struct call *c, void *what, void (*drop)(void *what))
{
    struct run *r = call_run(c);
    assert(!r->kept.what);
    r->kept = (struct kept){what, drop};
}

void *call_kept(struct call *c) { return call_run(c)->kept.what; }

enum result call_wants_write(struct call *c)
{
    if (c->overlay)
        return RES_OK;
    if (atomic_load(&c->shard->restricted) & RESTRICT_FROZEN)
        return RES_READ_ONLY;
    call_run(c)->wants_write = true;
    return RES_WOULD_BLOCK;
}

uint64_t call_random(struct call *c)
{
    c->random_state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    return hash_mix(c->random_state);
}

void *call_background_arg(struct call *c) { return call_run(c)->background_arg; }

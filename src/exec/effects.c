/* What a run tells others than its client: keyspace events, messages of PUBLISH within EXEC (EXECUTION, rules 6 and 27).
 *
 * A run collects them in one block of its own, which is dropped with it. When it counts, the block gets the sequence that
 * its reply waits for and goes to the end of one queue: a batch's while the latch is held, so that the queue has the order
 * of the commits. Whoever put something there takes the queue off, once he holds no latch, and hands it to the hook under
 * one lock: so everybody who listens hears the same order, and nobody who commits waits for those who listen. */
#include <stdlib.h>

#include "exec/internal.h"

#define EFFECTS_FIRST 512

struct effects {
    struct effects *next; /* older */
    uint64_t floor, origin;
    size_t len, cap;
    uint8_t bytes[]; /* effect_head and its two texts, padded to 8, again and again */
};
struct effect_head {
    const char *event; /* NULL: a message */
    uint32_t db;
    unsigned event_class; /* of a message: 1 when it is sharded */
    size_t key_len, payload_len;
};

void effects_init(struct shard *s) { os_mutex_init(&s->effects.lock); }

void effects_fini(struct shard *s)
{
    struct effects *e = atomic_load(&s->effects.newest);
    while (e) {
        struct effects *next = e->next;
        free(e);
        e = next;
    }
    os_mutex_fini(&s->effects.lock);
}

void effects_drop(struct run *r)
{
    free(r->effects);
    r->effects = NULL;
}

static enum result add(struct run *r, const struct effect_head *h, const void *key, const void *payload)
{
    size_t need = (sizeof *h + h->key_len + h->payload_len + 7) & ~(size_t)7;
    struct effects *e = r->effects;
    if (!e || e->cap - e->len < need) {
        size_t cap = e ? e->cap * 2 : EFFECTS_FIRST;
        while (cap < (e ? e->len : 0) + need)
            cap *= 2;
        struct effects *p = realloc(e, sizeof *p + cap);
        if (!p)
            return RES_NO_MEMORY;
        if (!e)
            p->len = 0;
        p->cap = cap;
        r->effects = e = p;
    }
    uint8_t *at = e->bytes + e->len;
    memcpy(at, h, sizeof *h);
    at += sizeof *h;
    if (h->key_len)
        memcpy(at, key, h->key_len);
    if (h->payload_len)
        memcpy(at + h->key_len, payload, h->payload_len);
    e->len += need;
    return RES_OK;
}

enum result call_event_add(struct call *c, enum event_class event_class, const char *name, uint32_t db,
                           struct slice key)
{
    struct effect_head h = {.event = name, .db = db, .event_class = (unsigned)event_class, .key_len = key.len};
    return add(call_run(c), &h, key.data, NULL);
}

void call_event_or_fail(struct call *c, enum event_class event_class, const char *name, uint32_t db, struct slice key)
{
    if (call_event(c, event_class, name, db, key) != RES_OK)
        call_run(c)->failed = RES_NO_MEMORY;
}

enum result call_publish(struct call *c, bool sharded, struct slice channel, struct slice message, uint64_t *receivers)
{
    struct shard *s = c->shard;
    *receivers = 0;
    if (!s->hooks.receivers || !(*receivers = s->hooks.receivers(s->hooks.arg, sharded, channel)))
        return RES_OK;
    struct effect_head h = {.event_class = sharded, .key_len = channel.len, .payload_len = message.len};
    return add(call_run(c), &h, channel.data, message.data);
}

void effects_queue(struct run *r, uint64_t floor)
{
    struct shard *s = r->call.shard;
    struct effects *e = r->effects;
    r->effects = NULL;
    e->floor = floor;
    e->origin = r->call.session ? r->call.session->id : 0;
    e->next = atomic_load_explicit(&s->effects.newest, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&s->effects.newest, &e->next, e, memory_order_release,
                                                  memory_order_relaxed))
        ;
}

static void tell(struct shard *s, const struct effects *e)
{
    for (size_t at = 0; at < e->len;) {
        struct effect_head h;
        memcpy(&h, e->bytes + at, sizeof h);
        const uint8_t *key = e->bytes + at + sizeof h;
        struct shard_effect effect = {
            .event = h.event,
            .event_class = h.event_class,
            .db = h.db,
            .sharded = !h.event && h.event_class,
            .key = slice_of(key, h.key_len),
            .message = slice_of(key + h.key_len, h.payload_len),
            .floor = e->floor,
            .origin = e->origin,
        };
        if (s->hooks.effect)
            s->hooks.effect(s->hooks.arg, &effect);
        at += (sizeof h + h.key_len + h.payload_len + 7) & ~(size_t)7;
    }
}

void effects_tell_all(struct shard *s)
{
    assert(!latch_held_here());
    os_mutex_lock(&s->effects.lock);
    struct effects *e = atomic_exchange_explicit(&s->effects.newest, NULL, memory_order_acquire), *oldest = NULL;
    while (e) {
        struct effects *next = e->next;
        e->next = oldest;
        oldest = e;
        e = next;
    }
    while (oldest) {
        struct effects *next = oldest->next;
        tell(s, oldest);
        free(oldest);
        oldest = next;
    }
    os_mutex_unlock(&s->effects.lock);
}

/* ---- tracking ---- */

/* A key that an earlier signal named already; only a short list is searched. */
static bool named_before(const struct overlay *o, uint32_t i)
{
    uint32_t from = i > 32 ? i - 32 : 0;
    for (uint32_t k = from; k < i; k++)
        if (o->signals[k].hash == o->signals[i].hash && slice_eq(o->signals[k].key, o->signals[i].key) &&
            !(o->signals[k].kind & (SIGNAL_UNSEEN | SIGNAL_FLUSHED | SIGNAL_SWAPPED)))
            return true;
    return false;
}

/* One effect for all keys: they belong together, as clients with BCAST hear of them. */
enum result effects_track(struct run *r)
{
    const struct overlay *o = &r->overlay;
    struct buf keys = BUF_INIT;
    enum result res = RES_OK;
    bool all = false;
    if (r->tracked)
        return RES_OK;
    for (uint32_t i = 0; i < o->signal_count && res == RES_OK; i++) {
        const struct overlay_signal *g = &o->signals[i];
        if (g->kind & (SIGNAL_FLUSHED | SIGNAL_SWAPPED)) {
            all = true;
        } else if (g->kind != SIGNAL_UNSEEN && !named_before(o, i)) {
            res = buf_append(&keys, &g->key.len, sizeof g->key.len);
            if (res == RES_OK)
                res = buf_append(&keys, g->key.data, g->key.len);
        }
    }
    if (res == RES_OK && all)
        res = add(r, &(struct effect_head){.event = "invalidate", .event_class = SHARD_TRACKED_ALL}, NULL, NULL);
    else if (res == RES_OK && keys.len > 0)
        res =
            add(r, &(struct effect_head){.event = "invalidate", .event_class = SHARD_TRACKED, .payload_len = keys.len},
                NULL, keys.data);
    buf_fini(&keys);
    r->tracked = res == RES_OK;
    return res;
}

#define IN_FLIGHT 4096

/* A commit looks at `tracking` behind its becoming visible, without a barrier in between: os_fence_all() makes up for it. So
 * one that did not see it set is at or below what is visible here. Where the kernel cannot, a few more are taken for such. */
uint64_t shard_set_tracking(struct shard *s, bool on)
{
    atomic_store(&s->effects.tracking, on);
    uint64_t slack = !on || os_fence_all() ? 0 : IN_FLIGHT;
    return front_visible(s->front) + slack;
}

/* ---- what is wanted ---- */

static void recompute(struct shard *s) REQUIRES(s->lock)
{
    atomic_store(&s->events, s->event_listeners ? s->event_classes : 0);
}

void shard_set_events(struct shard *s, unsigned classes)
{
    os_mutex_lock(&s->lock);
    s->event_classes = classes;
    recompute(s);
    os_mutex_unlock(&s->lock);
}

void shard_event_listeners(struct shard *s, bool any)
{
    os_mutex_lock(&s->lock);
    s->event_listeners = any;
    recompute(s);
    os_mutex_unlock(&s->lock);
}

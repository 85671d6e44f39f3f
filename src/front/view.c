/* Views, and reading through them: see internal.h for sources, front.h for the contract. */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "front/internal.h"

/* ---- sources ---- */

struct front_source *source_new(struct front *f, struct memtable *m)
{
    struct front_source *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    atomic_init(&s->last, UINT64_MAX);
    s->front = f;
    s->memtable = m;
    return s;
}

/* Memtables go to the keeper, who uses them again: giving 64 MiB back is not for a reader's thread. */
void source_unref(struct front_source *s)
{
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct front *f = s->front;
    free(s->counts);
    s->counts = NULL;
    if (s->table) {
        f->ops->table_release(s->table);
        free(s);
        return;
    }
    os_mutex_lock(&f->keep_lock);
    s->next = f->dead;
    f->dead = s;
    atomic_fetch_add(&f->dead_count, 1);
    os_mutex_unlock(&f->keep_lock);
}

/* ---- publishing ---- */

static void view_destroy(struct epoch_entry *entry)
{
    struct front_view *v = (struct front_view *)(void *)((char *)entry - offsetof(struct front_view, retired));
    struct front *f = v->front;
    for (int i = 0; i < v->count; i++)
        source_unref(v->sources[i]);
    f->ops->view_release(v->engine);
    os_mutex_lock(&f->views_lock);
    *v->link = v->younger;
    if (v->younger)
        v->younger->link = v->link;
    else
        f->newest_link = v->link;
    os_mutex_unlock(&f->views_lock);
    free(v);
    atomic_fetch_sub_explicit(&f->views, 1, memory_order_release);
}

void front_view_unref(struct front_view *v)
{
    if (v && atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) == 1)
        epoch_retire(&v->retired, view_destroy);
}

/* Being published is a reference, and it ends a grace period after a newer view was published. So whoever loaded the
 * view in an epoch section may take a reference of his own: the count cannot have reached 0. */
static void view_unpublished(struct epoch_entry *entry)
{
    struct front_view *v = (struct front_view *)(void *)((char *)entry - offsetof(struct front_view, retired));
    if (atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) == 1)
        view_destroy(entry);
}

static void view_unpublish(struct front_view *v)
{
    if (v)
        epoch_retire(&v->retired, view_unpublished);
}

/* Who holds a view beyond his section has a reference besides that of being published. Whoever takes one after this was
 * asked chooses his snapshot later, too, or was in a section then: the caller has waited for those to end. */
uint64_t view_held_from(struct front *f)
{
    if (!os_mutex_try(&f->views_lock))
        return 0;
    const struct front_view *v = f->oldest_view;
    bool held = v && (v->younger || atomic_load_explicit(&v->refs, memory_order_acquire) > 1);
    uint64_t low = held ? v->low : UINT64_MAX;
    os_mutex_unlock(&f->views_lock);
    return low;
}

void view_publish(struct front *f, struct front_view *v)
{
    v->front = f;
    v->low = front_gate(f); /* who loads the view loads the gate after it */
    v->younger = NULL;
    os_mutex_lock(&f->views_lock);
    v->link = f->newest_link;
    *v->link = v;
    f->newest_link = &v->younger;
    os_mutex_unlock(&f->views_lock);
    atomic_init(&v->refs, 1);
    v->count = f->source_count;
    for (int i = 0; i < v->count; i++) {
        v->sources[i] = f->sources[i];
        atomic_fetch_add_explicit(&v->sources[i]->refs, 1, memory_order_relaxed);
    }
    v->engine = f->ops->view_acquire(f->engine);
    atomic_fetch_add_explicit(&f->views, 1, memory_order_relaxed);
    view_unpublish(atomic_exchange_explicit(&f->view, v, memory_order_acq_rel));
    sched_point(SCHED_VIEW);
}

/* At the end: no reader may be left. */
void view_drop_all(struct front *f)
{
    os_mutex_lock(&f->view_lock); /* a compaction may be about to publish one (view_engine_changed) */
    struct front_view *last = atomic_exchange(&f->view, NULL);
    os_mutex_unlock(&f->view_lock);
    view_unpublish(last);
    epoch_drain();
    for (int i = 0; i < f->source_count; i++)
        source_unref(f->sources[i]);
    f->source_count = 0;
}

/* The engine's on_change: a compaction has replaced its view. */
void view_engine_changed(void *front)
{
    struct front *f = front;
    struct front_view *room = malloc(sizeof(*room));
    if (!room)
        return; /* the old view stays right; the next change replaces it */
    os_mutex_lock(&f->view_lock);
    bool open = atomic_load(&f->view) != NULL;
    if (open)
        view_publish(f, room);
    os_mutex_unlock(&f->view_lock);
    if (!open)
        free(room);
}

struct front_view *front_view(struct front *f)
{
    assert(epoch_depth() > 0);
    struct front_view *v = atomic_load_explicit(&f->view, memory_order_acquire);
    sched_point(SCHED_VIEW); /* what follows may find the view outdated */
    return v;
}

void front_view_hold(struct front_view *v) { atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed); }

struct front_view *front_view_ref(struct front *f)
{
    epoch_enter();
    struct front_view *v = front_view(f);
    front_view_hold(v);
    epoch_leave();
    return v;
}

uint64_t front_view_last(struct front_view *v)
{
    return atomic_load_explicit(&v->sources[0]->last, memory_order_acquire);
}

uint64_t front_snapshot(struct front_view *v)
{
    uint64_t gate = front_gate(v->front), last = front_view_last(v);
    return gate < last ? gate : last;
}

/* ---- reading ---- */

enum result front_get(struct front_view *v, uint64_t snapshot, const struct engine_key *key, int flags,
                      struct slice *value, struct engine_miss *miss)
{
    const struct engine_ops *ops = v->front->ops;
    for (int i = 0; i < v->count; i++) {
        struct front_source *s = v->sources[i];
        uint8_t kind = 0;
        if (s->memtable) {
            if (!memtable_get(s->memtable, key, snapshot, &kind, value))
                continue;
        } else {
            if (s->first > snapshot)
                continue;
            enum result res = ops->table_get(s->table, key, flags, &kind, value, miss);
            if (res == RES_NOT_FOUND)
                continue;
            if (res != RES_OK)
                return res;
        }
        return kind == RECORD_DELETE ? RES_NOT_FOUND : RES_OK;
    }
    return ops->get(v->engine, key, flags, value, miss);
}

enum result front_get_wait(struct front_view *v, uint64_t snapshot, const struct engine_key *key, uint8_t **value,
                           size_t *len)
{
    struct engine_miss miss = {0};
    const struct engine_ops *ops = v->front->ops;
    enum result res;
    *value = NULL;
    *len = 0;
    for (;;) {
        struct slice found = {NULL, 0};
        epoch_enter();
        res = front_get(v, snapshot, key, ENGINE_NOWAIT, &found, &miss);
        if (res == RES_OK) {
            *value = malloc(found.len ? found.len : 1);
            if (!*value)
                res = RES_NO_MEMORY;
            else if (found.len)
                memcpy(*value, found.data, found.len);
            *len = found.len;
        }
        epoch_leave();
        if (res != RES_WOULD_BLOCK)
            break;
        res = ops->fill(v->front->engine, &miss);
        if (res != RES_OK)
            break;
    }
    ops->miss_fini(v->front->engine, &miss);
    return res;
}

/* Step by step for all keys: buckets, nodes, versions; the engine for those of which no memtable has a sign. */
static void prefetch_group(struct front_view *v, const struct engine_key *keys, unsigned n)
{
    const struct engine_ops *ops = v->front->ops;
    const struct engine_key *older[ENGINE_PREFETCH_MAX];
    const struct memtable_node *nodes[ENGINE_PREFETCH_MAX];
    unsigned older_count = 0, node_count = 0;
    for (int s = 0; s < v->count; s++)
        for (unsigned i = 0; v->sources[s]->memtable && i < n; i++)
            memtable_prefetch(v->sources[s]->memtable, keys[i].hash);
    for (unsigned i = 0; i < n; i++) {
        const struct memtable_node *node = NULL;
        for (int s = 0; s < v->count && !node; s++)
            if (v->sources[s]->memtable)
                node = memtable_prefetch_node(v->sources[s]->memtable, keys[i].hash);
        if (node)
            nodes[node_count++] = node;
        else
            older[older_count++] = &keys[i];
    }
    if (ops->prefetch && older_count > 0)
        ops->prefetch(v->engine, older, older_count);
    for (unsigned i = 0; i < node_count; i++)
        memtable_prefetch_version(nodes[i]);
}

void front_prefetch(struct front_view *v, const struct engine_key *keys, unsigned n)
{
    for (; n > ENGINE_PREFETCH_MAX; keys += ENGINE_PREFETCH_MAX, n -= ENGINE_PREFETCH_MAX)
        prefetch_group(v, keys, ENGINE_PREFETCH_MAX);
    prefetch_group(v, keys, n);
}

/* An iterator of the merge that keeps its view. */
struct view_iter {
    struct iter it;
    struct iter *inner;
    struct front_view *view;
};

static enum result show(struct view_iter *vi, enum result res)
{
    vi->it.key = vi->inner->key;
    vi->it.value = vi->inner->value;
    vi->it.kind = vi->inner->kind;
    return res;
}

static struct view_iter *vi_of(struct iter *it) { return (struct view_iter *)(void *)it; }

static enum result vi_seek(struct iter *it, struct slice target)
{
    return show(vi_of(it), iter_seek(vi_of(it)->inner, target));
}
static enum result vi_seek_last(struct iter *it, struct slice target)
{
    return show(vi_of(it), iter_seek_last(vi_of(it)->inner, target));
}
static enum result vi_next(struct iter *it) { return show(vi_of(it), iter_next(vi_of(it)->inner)); }
static enum result vi_prev(struct iter *it) { return show(vi_of(it), iter_prev(vi_of(it)->inner)); }
static void vi_close(struct iter *it)
{
    struct view_iter *vi = vi_of(it);
    iter_close(vi->inner);
    front_view_unref(vi->view);
    free(vi);
}
static const struct iter_ops view_iter_ops = {vi_seek, vi_seek_last, vi_next, vi_prev, vi_close};

/* One iterator per source that the snapshot can see, newest first, and the engine's. */
static enum result open_children(struct front_view *v, uint64_t snapshot, struct slice lower, struct slice upper,
                                 int flags, struct iter **children, size_t *n)
{
    const struct engine_ops *ops = v->front->ops;
    enum result res = RES_OK;
    *n = 0;
    for (int i = 0; i < v->count && res == RES_OK; i++) {
        struct front_source *s = v->sources[i];
        if (s->memtable)
            res = memtable_iter(s->memtable, snapshot, lower, upper, flags, &children[*n]);
        else if (s->first > snapshot)
            continue;
        else
            res = ops->table_iter(s->table, lower, upper, flags | ITER_TOMBSTONES, &children[*n]);
        if (res == RES_OK)
            ++*n;
    }
    if (res == RES_OK) {
        res = ops->iter_open(v->engine, lower, upper, flags, &children[*n]);
        if (res == RES_OK)
            ++*n;
    }
    return res;
}

enum result front_iter(struct front_view *v, uint64_t snapshot, struct slice lower, struct slice upper, int flags,
                       struct iter **out)
{
    struct iter *children[SOURCES_MAX + 1];
    size_t n = 0;
    *out = NULL;
    struct view_iter *vi = calloc(1, sizeof(*vi));
    if (!vi)
        return RES_NO_MEMORY;
    enum result res = open_children(v, snapshot, lower, upper, flags, children, &n);
    if (res != RES_OK) {
        while (n > 0)
            iter_close(children[--n]);
        free(vi);
        return res;
    }
    res = iter_merge(children, n, flags & (ITER_TOMBSTONES | ITER_NOWAIT),
                     &vi->inner); /* closes the children when it fails */
    if (res != RES_OK) {
        free(vi);
        return res;
    }
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    vi->view = v;
    vi->it.ops = &view_iter_ops;
    *out = &vi->it;
    return RES_OK;
}

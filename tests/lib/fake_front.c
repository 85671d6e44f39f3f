/* The front of tests: see fake_front.h. Keys are never removed; each has its versions, newest first. The holder of the
 * latch inserts with release stores and publishes `visible` last, as the real one does. */
#include "tests/lib/fake_front.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/epoch.h"
#include "os/thread.h"

struct version {
    struct version *older;
    uint64_t sequence;
    uint8_t kind;
    size_t len;
    uint8_t data[];
};
struct node {
    struct node *next;
    struct engine_key key;
    _Atomic(struct version *) newest;
    atomic_bool cold;
    uint8_t bytes[];
};
struct count_step {
    uint64_t sequence;
    uint32_t id;
    int64_t keys, expires;
};
struct engine_table {
    struct batch_record *records;
    size_t count;
};
#define BUCKETS 4096
struct front {
    struct front_options options;
    _Atomic(struct node *) bucket[BUCKETS];
    _Atomic uint64_t visible, gate;
    atomic_bool gate_held, no_space, frozen;
    atomic_int refusal;
    _Atomic uint64_t waits, kicks, tables, views;
    struct os_mutex gate_lock; /* the gate does not move once it is frozen */
    struct os_mutex lock;      /* of what follows */
    struct count_step *steps;
    size_t step_count, step_cap;
    void (*on_refused)(void *arg); /* set while nothing runs */
    void *on_refused_arg;
    void (*on_wait)(void *arg);
    void *on_wait_arg;
    struct front_identity identity;
};
struct front_view {
    struct front *front;
};

static struct front_view *the_view(struct front *f);

/* ---- life ---- */

enum result front_open(const struct front_options *options, struct front **out, struct errmsg *msg)
{
    (void)msg;
    struct front *f = calloc(1, sizeof *f);
    assert(f != NULL);
    f->options = *options;
    os_mutex_init(&f->lock);
    os_mutex_init(&f->gate_lock);
    *out = f;
    return RES_OK;
}

enum result front_close(struct front *f)
{
    assert(atomic_load(&f->views) == 0 && atomic_load(&f->tables) == 0);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct node *n = atomic_load(&f->bucket[i]), *next; n; n = next) {
            next = n->next;
            for (struct version *v = atomic_load(&n->newest), *older; v; v = older) {
                older = v->older;
                free(v);
            }
            free(n);
        }
    free(f->steps);
    os_mutex_fini(&f->lock);
    os_mutex_fini(&f->gate_lock);
    free(f);
    return RES_OK;
}

const struct front_identity *front_identity(const struct front *f) { return &f->identity; }
uint64_t front_visible(const struct front *f) { return atomic_load_explicit(&f->visible, memory_order_acquire); }
uint64_t front_gate(const struct front *f) { return atomic_load(&f->gate); }
uint64_t front_written(const struct front *f) { return front_gate(f); }
uint64_t front_durable(const struct front *f) { return front_gate(f); }
bool front_frozen(const struct front *f) { return atomic_load(&f->frozen); }
const char *front_failure(const struct front *f) { return front_frozen(f) ? "the test says so" : ""; }

void front_set_fsync(struct front *f, enum front_fsync mode) { f->options.fsync = mode; }

/* ---- control ---- */

static void gate_raise(struct front *f, uint64_t sequence)
{
    os_mutex_lock(&f->gate_lock);
    bool moves = !atomic_load(&f->frozen) && sequence > atomic_load(&f->gate);
    if (moves)
        atomic_store(&f->gate, sequence);
    os_mutex_unlock(&f->gate_lock);
    if (moves && f->options.on_gate)
        f->options.on_gate(f->options.arg, sequence);
}

void fake_gate_hold(struct front *f) { atomic_store(&f->gate_held, true); }

void fake_gate_follow(struct front *f)
{
    atomic_store(&f->gate_held, false);
    gate_raise(f, front_visible(f));
}

void fake_gate_to(struct front *f, uint64_t sequence)
{
    assert(sequence <= front_visible(f));
    gate_raise(f, sequence);
}

void fake_space(struct front *f, bool available)
{
    atomic_store(&f->no_space, !available);
    if (available && f->options.on_space)
        f->options.on_space(f->options.arg);
}

void fake_refuse(struct front *f, enum result refusal) { atomic_store(&f->refusal, (int)refusal); }

void fake_fail(struct front *f)
{
    os_mutex_lock(&f->gate_lock);
    bool first = !atomic_exchange(&f->frozen, true);
    os_mutex_unlock(&f->gate_lock);
    if (first && f->options.on_failure)
        f->options.on_failure(f->options.arg, RES_IO, "the log of the test failed");
}

void fake_chill(struct front *f, unsigned permille)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct node *n = atomic_load(&f->bucket[i]); n; n = n->next)
            atomic_store(&n->cold, n->key.hash % 1000 < permille);
}

uint64_t fake_waits(struct front *f) { return atomic_load(&f->waits); }
uint64_t fake_kicks(struct front *f) { return atomic_load(&f->kicks); }
uint64_t fake_tables(struct front *f) { return atomic_load(&f->tables); }

void fake_on_wait(struct front *f, void (*fn)(void *arg), void *arg)
{
    os_mutex_lock(&f->lock);
    f->on_wait = fn;
    f->on_wait_arg = arg;
    os_mutex_unlock(&f->lock);
}

void fake_on_refused(struct front *f, void (*fn)(void *arg), void *arg)
{
    f->on_refused = fn;
    f->on_refused_arg = arg;
}

/* ---- writing ---- */

static struct node *node_find(const struct front *f, const struct engine_key *key)
{
    for (struct node *n = atomic_load(&f->bucket[key->hash % BUCKETS]); n; n = n->next)
        if (slice_eq(n->key.bytes, key->bytes))
            return n;
    return NULL;
}

static void insert(struct front *f, const struct batch_record *r, uint64_t sequence)
{
    struct node *n = node_find(f, &r->key);
    struct version *v = malloc(sizeof *v + r->value.len);
    assert(v != NULL);
    v->sequence = sequence;
    v->kind = r->kind;
    v->len = r->value.len;
    if (r->value.len)
        memcpy(v->data, r->value.data, r->value.len);
    v->older = n ? atomic_load(&n->newest) : NULL;
    assert(!v->older || v->older->sequence < sequence); /* at most one record a key */
    if (n) {
        atomic_store(&n->newest, v);
        return;
    }
    n = calloc(1, sizeof *n + r->key.bytes.len);
    assert(n != NULL);
    memcpy(n->bytes, r->key.bytes.data, r->key.bytes.len);
    n->key = (struct engine_key){slice_of(n->bytes, r->key.bytes.len), r->key.hash};
    atomic_store(&n->newest, v);
    n->next = atomic_load(&f->bucket[r->key.hash % BUCKETS]);
    atomic_store(&f->bucket[r->key.hash % BUCKETS], n);
}

size_t front_batch_bytes(const struct front *f, const struct batch *b)
{
    (void)f;
    size_t n = 64;
    for (size_t i = 0; i < b->count; i++)
        n += b->records[i].key.bytes.len + b->records[i].value.len + 8;
    return n;
}

size_t front_batch_max(const struct front *f)
{
    (void)f;
    return FRONT_BATCH_MAX;
}

enum result front_reserve(struct front *f, const struct batch *b)
{
    if (atomic_load(&f->frozen))
        return RES_READ_ONLY;
    if (front_batch_bytes(f, b) > FRONT_BATCH_MAX + 65536)
        return RES_INVALID;
    if (atomic_load(&f->refusal))
        return (enum result)atomic_load(&f->refusal);
    if (!atomic_load(&f->no_space))
        return RES_OK;
    sched_point(SCHED_COMMIT);
    if (f->on_refused)
        f->on_refused(f->on_refused_arg);
    return RES_WOULD_BLOCK;
}

bool front_reserve_room(struct front *f, size_t bytes, size_t records)
{
    (void)bytes;
    (void)records;
    return !atomic_load(&f->frozen) && !atomic_load(&f->refusal) && !atomic_load(&f->no_space);
}

void front_use_room(struct front *f, const struct batch *b)
{
    (void)f;
    (void)b;
}

static void count(struct front *f, const struct batch *b, uint64_t sequence)
{
    os_mutex_lock(&f->lock);
    for (size_t i = 0; i < b->counter_count; i++) {
        if (f->step_count == f->step_cap) {
            f->step_cap = f->step_cap ? f->step_cap * 2 : 64;
            f->steps = realloc(f->steps, f->step_cap * sizeof *f->steps);
            assert(f->steps != NULL);
        }
        f->steps[f->step_count++] =
            (struct count_step){sequence, b->counters[i].id, b->counters[i].keys, b->counters[i].expires};
    }
    os_mutex_unlock(&f->lock);
}

uint64_t front_commit(struct front *f, const struct batch *b)
{
    uint64_t sequence = front_visible(f) + 1;
    if (b->table) {
        for (size_t i = 0; i < b->table->count; i++)
            insert(f, &b->table->records[i], sequence);
        front_table_abort(f, b->table);
    }
    for (size_t i = 0; i < b->count; i++)
        insert(f, &b->records[i], sequence);
    count(f, b, sequence);
    sched_point(SCHED_PUBLISH);
    atomic_store_explicit(&f->visible, sequence, memory_order_release);
    return sequence;
}

enum result front_sync(struct front *f, uint64_t sequence)
{
    return front_gate(f) >= sequence ? RES_OK
                                     : RES_READ_ONLY; /* what waits for the disk is tried over the real front */
}

void front_kick(struct front *f)
{
    atomic_fetch_add(&f->kicks, 1);
    if (!atomic_load(&f->gate_held))
        gate_raise(f, front_visible(f));
}

/* ---- reading ---- */

static struct front_view *the_view(struct front *f)
{
    /* One view for ever: nothing is ever merged away. */
    return (struct front_view *)f;
}

struct front_view *front_view(struct front *f)
{
    assert(epoch_depth() > 0);
    sched_point(SCHED_VIEW);
    return the_view(f);
}

struct front_view *front_view_ref(struct front *f)
{
    atomic_fetch_add(&f->views, 1);
    return the_view(f);
}

void front_view_unref(struct front_view *v) { atomic_fetch_sub(&((struct front *)v)->views, 1); }

static const struct version *version_at(const struct node *n, uint64_t snapshot)
{
    const struct version *v = n ? atomic_load(&n->newest) : NULL;
    while (v && v->sequence > snapshot)
        v = v->older;
    return v;
}

uint64_t front_view_last(struct front_view *v)
{
    (void)v;
    return UINT64_MAX;
}

uint64_t front_snapshot(struct front_view *v) { return front_gate((struct front *)v); }

enum result front_get(struct front_view *view, uint64_t snapshot, const struct engine_key *key, int flags,
                      struct slice *value, struct engine_miss *miss)
{
    (void)miss;
    assert(epoch_depth() > 0 && flags & ENGINE_NOWAIT);
    const struct front *f = (const struct front *)view;
    const struct node *n = node_find(f, key);
    if (n && atomic_load(&n->cold))
        return RES_WOULD_BLOCK;
    const struct version *v = version_at(n, snapshot);
    if (!v || v->kind == RECORD_DELETE)
        return RES_NOT_FOUND;
    *value = slice_of(v->data, v->len);
    return RES_OK;
}

enum result front_get_wait(struct front_view *view, uint64_t snapshot, const struct engine_key *key, uint8_t **value,
                           size_t *len)
{
    assert(epoch_depth() == 0);
    struct front *f = (struct front *)view;
    atomic_fetch_add(&f->waits, 1);
    os_mutex_lock(&f->lock);
    void (*fn)(void *) = f->on_wait;
    void *arg = f->on_wait_arg;
    os_mutex_unlock(&f->lock);
    if (fn)
        fn(arg);
    sched_point(SCHED_SLEEP);
    struct node *n = node_find(f, key);
    if (n)
        atomic_store(&n->cold, false);
    const struct version *v = version_at(n, snapshot);
    if (!v || v->kind == RECORD_DELETE)
        return RES_NOT_FOUND;
    *value = malloc(v->len + 1);
    assert(*value != NULL);
    memcpy(*value, v->data, v->len);
    *len = v->len;
    return RES_OK;
}

void front_prefetch(struct front_view *v, const struct engine_key *keys, unsigned n)
{
    (void)v;
    (void)keys;
    (void)n;
}

/* ---- iterating: a sorted copy ---- */

struct fake_iter {
    struct iter it;
    struct iter_record *records;
    size_t count, at; /* at == count: nowhere */
};

static enum result stand(struct fake_iter *i, size_t at)
{
    i->at = at < i->count ? at : i->count;
    if (i->at == i->count)
        return RES_NOT_FOUND;
    i->it.key = i->records[at].key;
    i->it.value = i->records[at].value;
    i->it.kind = i->records[at].kind;
    return RES_OK;
}

static enum result fake_seek(struct iter *it, struct slice target)
{
    struct fake_iter *i = (struct fake_iter *)it;
    size_t at = 0;
    while (at < i->count && slice_cmp(i->records[at].key, target) < 0)
        at++;
    return stand(i, at);
}

static enum result fake_seek_last(struct iter *it, struct slice target)
{
    struct fake_iter *i = (struct fake_iter *)it;
    size_t at = i->count;
    while (at > 0 && target.len && slice_cmp(i->records[at - 1].key, target) >= 0)
        at--;
    return stand(i, at ? at - 1 : i->count);
}

static enum result fake_next(struct iter *it)
{
    struct fake_iter *i = (struct fake_iter *)it;
    return stand(i, i->at + 1);
}

static enum result fake_prev(struct iter *it)
{
    struct fake_iter *i = (struct fake_iter *)it;
    return stand(i, i->at ? i->at - 1 : i->count);
}

static void fake_close(struct iter *it)
{
    struct fake_iter *i = (struct fake_iter *)it;
    free(i->records);
    free(i);
}

static const struct iter_ops fake_iter_ops = {fake_seek, fake_seek_last, fake_next, fake_prev, fake_close};

static int compare_records(const void *a, const void *b)
{
    return slice_cmp(((const struct iter_record *)a)->key, ((const struct iter_record *)b)->key);
}

enum result front_iter(struct front_view *view, uint64_t snapshot, struct slice lower, struct slice upper, int flags,
                       struct iter **out)
{
    (void)flags;
    const struct front *f = (const struct front *)view;
    struct fake_iter *i = calloc(1, sizeof *i);
    assert(i != NULL);
    size_t cap = 0;
    for (size_t b = 0; b < BUCKETS; b++)
        for (const struct node *n = atomic_load(&f->bucket[b]); n; n = n->next) {
            const struct version *v = version_at(n, snapshot);
            if (!v || v->kind == RECORD_DELETE || slice_cmp(n->key.bytes, lower) < 0 ||
                (upper.len && slice_cmp(n->key.bytes, upper) >= 0))
                continue;
            if (i->count == cap) {
                cap = cap ? cap * 2 : 16;
                i->records = realloc(i->records, cap * sizeof *i->records);
                assert(i->records != NULL);
            }
            i->records[i->count++] = (struct iter_record){n->key.bytes, slice_of(v->data, v->len), RECORD_PUT};
        }
    if (i->count)
        qsort(i->records, i->count, sizeof *i->records, compare_records);
    i->at = i->count;
    i->it.ops = &fake_iter_ops;
    *out = &i->it;
    return RES_OK;
}

/* ---- counters ---- */

struct front_counts front_counts_at(struct front *f, uint32_t id, uint64_t snapshot)
{
    struct front_counts n = {0, 0};
    os_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->step_count; i++)
        if (f->steps[i].id == id && f->steps[i].sequence <= snapshot) {
            n.keys += f->steps[i].keys;
            n.expires += f->steps[i].expires;
        }
    os_mutex_unlock(&f->lock);
    return n;
}

struct front_counts front_counts_latched(const struct front *f, uint32_t id)
{
    return front_counts_at((struct front *)(uintptr_t)f, id, UINT64_MAX);
}

/* ---- private tables ---- */

enum result front_table_begin(struct front *f, struct engine_table **out)
{
    atomic_fetch_add(&f->tables, 1);
    *out = calloc(1, sizeof **out);
    assert(*out != NULL);
    return RES_OK;
}

static struct slice copy(struct slice s)
{
    uint8_t *p = malloc(s.len + 1);
    assert(p != NULL);
    if (s.len)
        memcpy(p, s.data, s.len);
    return slice_of(p, s.len);
}

enum result front_table_add(struct front *f, struct engine_table *t, struct slice key, uint8_t kind, struct slice value)
{
    (void)f;
    if (t->count) {
        struct slice last = t->records[t->count - 1].key.bytes;
        if (slice_cmp(last, key) >= 0 || last.data[0] != key.data[0])
            return RES_INVALID;
    }
    t->records = realloc(t->records, (t->count + 1) * sizeof *t->records);
    assert(t->records != NULL);
    t->records[t->count++] = (struct batch_record){{copy(key), engine_hash(key)}, copy(value), kind};
    return RES_OK;
}

enum result front_table_finish(struct front *f, struct engine_table *t, uint64_t *number)
{
    (void)f;
    (void)t;
    *number = 1;
    return RES_OK;
}

void front_table_abort(struct front *f, struct engine_table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free((void *)(uintptr_t)t->records[i].key.bytes.data);
        free((void *)(uintptr_t)t->records[i].value.data);
    }
    free(t->records);
    free(t);
    atomic_fetch_sub(&f->tables, 1);
}

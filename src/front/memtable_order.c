/* The memtable in order: sorted runs and skiplist on demand, and iterators over them.
 *
 * Nodes form chains, newest first, one for each group of regions. Whoever opens an iterator takes order_lock when a chain
 * that its range touches has nodes that are not in order yet, or has runs, and walks it back to the newest node that is.
 * Up to SKIP_TAIL nodes go into the skiplist. More, or those of REGION_META and REGION_EXPIRY, are sorted into a new run, and
 * runs are merged while the last two are of similar length: so there are few, and each node is merged a logarithmic number
 * of times. Keys are unique over runs and skiplist, because a node is. A run never changes; iterators count references, so
 * a merge may drop a run that is being read. Nodes that come into the skiplist later do not concern who reads it already:
 * their versions are younger than his snapshot. Entries and how they are sorted: memtable_sort.c.
 *
 * A caller that may not wait sorts at most NOWAIT_TAIL new nodes of these two, puts no run together from others, and
 * merges at most NOWAIT_MERGE entries; what would be more answers RES_WOULD_BLOCK or leaves one run more.
 *
 * Iterators. An iterator stands on each run and on the skiplist; keys are unique over these sources, so the next record
 * is the least of the sources' current ones. A source keeps its current node; changing direction seeks all sources
 * again. */
#include "front/memtable.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/bytes.h"

#define NOWAIT_TAIL 2000
#define NOWAIT_MERGE 8000
#define SKIP_TAIL 500
#define LOCK_TRIES 200 /* some microseconds */
#define AHEAD 6        /* nodes between two steps of looking ahead */

struct memtable_run {
    _Atomic uint32_t refs;
    size_t count;
    size_t skip; /* bytes at the beginning of all its keys that are the same; the entries' prefixes lie behind them */
    struct memtable_entry entries[];
};

static struct memtable_run *run_new(size_t count)
{
    struct memtable_run *run = malloc(sizeof(*run) + count * sizeof(struct memtable_entry));
    if (!run)
        return NULL;
    atomic_init(&run->refs, 1);
    run->count = count;
    return run;
}

static void run_unref(struct memtable_run *run)
{
    if (atomic_fetch_sub_explicit(&run->refs, 1, memory_order_acq_rel) == 1)
        free(run);
}

void memtable_runs_free(struct memtable *m)
{
    os_mutex_lock(&m->order_lock);
    for (int k = 0; k < CHAINS; k++) {
        struct memtable_chain *c = &m->chains[k];
        for (int i = 0; i < c->run_count; i++)
            run_unref(c->runs[i]);
        c->run_count = 0;
        c->ordered_last = NULL;
        c->ordered_count = 0;
    }
    os_mutex_unlock(&m->order_lock);
}

uint64_t memtable_key_prefix(struct slice key, size_t skip)
{
    uint64_t prefix = 0;
    if (key.len >= skip + 8)
        return get_be64(key.data + skip);
    for (size_t i = skip; i < skip + 8; i++)
        prefix = prefix << 8 | (i < key.len ? key.data[i] : 0);
    return prefix;
}

static int entry_cmp(const struct memtable_entry *e, uint64_t prefix, struct slice key)
{
    if (e->prefix != prefix)
        return e->prefix < prefix ? -1 : 1;
    return slice_cmp(memtable_node_key(e->node), key);
}

size_t memtable_key_common(struct slice a, struct slice b, size_t most)
{
    size_t n = a.len < b.len ? a.len : b.len, i = 0;
    if (n > most)
        n = most;
    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

/* Fills entries [0, room) from their end with the nodes from `last` back to the last ordered one; returns the number of
 * places left. What all keys share is guessed from the two ends, and put right should a key between them not share it. */
static size_t take_tail(const struct memtable_chain *c, struct memtable_node *last, struct memtable_run *run,
                        size_t room)
{
    struct slice key = memtable_node_key(last);
    size_t i = room, guess = last->before ? memtable_key_common(key, memtable_node_key(last->before), key.len) : 1,
           skip = guess;
    const struct memtable_node *stop = atomic_load_explicit(&c->ordered_last, memory_order_relaxed);
    for (struct memtable_node *at = last; at != stop; at = at->before) {
        struct slice k = memtable_node_key(at);
        assert(i > 0);
        skip = memtable_key_common(key, k, skip);
        run->entries[--i] = (struct memtable_entry){memtable_key_prefix(k, skip), at};
    }
    if (skip != guess)
        for (size_t j = i; j < room; j++)
            run->entries[j].prefix = memtable_key_prefix(memtable_node_key(run->entries[j].node), skip);
    run->skip = skip;
    return i;
}

/* Sorts the nodes from `last` back to the last ordered one, at most `room`, into one more run. The chain is walked once,
 * every node being a cache miss. */
static enum result order_as_run(struct memtable_chain *c, struct memtable_node *last, size_t room)
{
    struct memtable_run *run = run_new(room);
    struct memtable_entry *spare = malloc(room * sizeof(*spare));
    if (!run || !spare) {
        free(run);
        free(spare);
        return RES_NO_MEMORY;
    }
    size_t i = take_tail(c, last, run, room), n = room - i;
    memmove(run->entries, run->entries + i, n * sizeof(run->entries[0]));
    run->count = n;
    memtable_sort(run->entries, n, run->skip, spare);
    free(spare);
    c->runs[c->run_count++] = run;
    c->ordered_count += n;
    return RES_OK;
}

/* The same into the skiplist, sorted before, so that each is looked for from where the one before it lies. */
static void order_in_skiplist(struct memtable *m, struct memtable_chain *c, struct memtable_node *last)
    REQUIRES(m->order_lock)
{
    struct memtable_entry room[SKIP_TAIL], spare[SKIP_TAIL], *e = room + SKIP_TAIL;
    const struct memtable_node *stop = atomic_load_explicit(&c->ordered_last, memory_order_relaxed);
    struct slice key = memtable_node_key(last);
    size_t skip = key.len, n = 0;
    for (struct memtable_node *at = last; at != stop; at = at->before, n++) {
        assert(n < SKIP_TAIL);
        (--e)->node = at;
        skip = memtable_key_common(key, memtable_node_key(at), skip);
    }
    for (size_t i = 0; i < n; i++)
        e[i].prefix = memtable_key_prefix(memtable_node_key(e[i].node), skip);
    memtable_sort(e, n, skip, spare);
    c->ordered_count += n;
    for (size_t i = 0; i < n; i++)
        memtable_skip_insert(m, e[i].node);
}

/* Puts the nodes inserted since the last call in order. */
static enum result order_tail(struct memtable *m, struct memtable_chain *c, bool nowait) REQUIRES(m->order_lock)
{
    bool skips = c != &m->chains[CHAIN_META] && c != &m->chains[CHAIN_EXPIRY];
    struct memtable_node *last = atomic_load_explicit(&c->last, memory_order_acquire);
    if (last == atomic_load_explicit(&c->ordered_last, memory_order_relaxed))
        return RES_OK;
    /* The counter is raised after the chain: the chain from `last` is at most one longer than what it says now. */
    size_t room = (size_t)(atomic_load_explicit(&c->count, memory_order_acquire) - c->ordered_count) + 1;
    enum result res = RES_OK;
    if (skips && room <= SKIP_TAIL)
        order_in_skiplist(m, c, last);
    else if (nowait && (skips || room > NOWAIT_TAIL || c->run_count == MEMTABLE_MAX_RUNS))
        res = RES_WOULD_BLOCK;
    else
        res = c->run_count == MEMTABLE_MAX_RUNS ? RES_NO_MEMORY : order_as_run(c, last, room);
    if (res == RES_OK)
        atomic_store_explicit(&c->ordered_last, last, memory_order_release);
    return res;
}

/* Two runs whose prefixes lie at different places in the keys. */
static void merge_unlike(const struct memtable_run *a, const struct memtable_run *b, struct memtable_run *out)
{
    struct slice first = memtable_node_key(a->entries[0].node);
    out->skip =
        memtable_key_common(first, memtable_node_key(b->entries[0].node), a->skip < b->skip ? a->skip : b->skip);
    for (size_t i = 0, j = 0; i + j < a->count + b->count;) {
        struct memtable_node *n = i < a->count ? a->entries[i].node : NULL;
        struct memtable_node *o = j < b->count ? b->entries[j].node : NULL;
        bool second = !n || (o && slice_cmp(memtable_node_key(o), memtable_node_key(n)) < 0);
        struct memtable_entry *e = &out->entries[i + j];
        e->node = second ? o : n;
        e->prefix = memtable_key_prefix(memtable_node_key(e->node), out->skip);
        i += !second;
        j += second;
    }
}

/* Do the keys of both share what the prefixes leave out? */
static bool alike(const struct memtable_run *a, const struct memtable_run *b)
{
    return a->skip == b->skip && memtable_key_common(memtable_node_key(a->entries[0].node),
                                                     memtable_node_key(b->entries[0].node), a->skip) == a->skip;
}

/* Merges the last two runs while they are of similar length, or, with `all`, until one is left. */
static enum result merge_runs(struct memtable_chain *c, bool all, bool nowait)
{
    while (c->run_count > 1) {
        struct memtable_run *a = c->runs[c->run_count - 2], *b = c->runs[c->run_count - 1];
        if (!all && a->count > 2 * b->count && c->run_count < MEMTABLE_MAX_RUNS / 2)
            break;
        if (nowait && a->count + b->count > NOWAIT_MERGE)
            break;
        struct memtable_run *run = run_new(a->count + b->count);
        if (!run)
            return RES_NO_MEMORY;
        if (alike(a, b)) {
            run->skip = a->skip;
            memtable_merge_entries(a->entries, a->count, b->entries, b->count, run->entries);
        } else {
            merge_unlike(a, b, run);
        }
        c->runs[--c->run_count - 1] = run;
        run_unref(a);
        run_unref(b);
    }
    return RES_OK;
}

enum result memtable_order(struct memtable *m)
{
    enum result res = RES_OK;
    os_mutex_lock(&m->order_lock);
    for (int i = 0; i < CHAINS && res == RES_OK; i++) {
        res = merge_runs(&m->chains[i], false, false);
        if (res == RES_OK)
            res = order_tail(m, &m->chains[i], false);
        if (res == RES_OK)
            res = merge_runs(&m->chains[i], true, false);
    }
    os_mutex_unlock(&m->order_lock);
    return res;
}

/* ---- iterator ---- */

struct source {
    struct memtable_run *run; /* NULL: the skiplist */
    size_t pos;               /* in the run; run->count or more: past its end */
    struct memtable_node *at; /* NULL: past its end */
};

enum direction { NOWHERE, FORWARD, BACKWARD };

struct memtable_iter {
    struct iter it;
    struct memtable *m;
    uint64_t snapshot;
    struct slice lower, upper;
    enum direction direction;
    _Atomic uint64_t *steps; /* or NULL */
    int current;             /* source it stands on */
    int count;
    struct source sources[CHAINS * MEMTABLE_MAX_RUNS + 1];
    uint8_t bounds[];
};

static struct memtable_iter *iter_of(struct iter *it) { return (struct memtable_iter *)(void *)it; }

static void run_at(struct source *s, size_t pos)
{
    s->pos = pos;
    s->at = pos < s->run->count ? s->run->entries[pos].node : NULL;
    /* Neighbours in order lie anywhere in memory: first the node, then, when it has come, its version. */
    if (pos + 2 * AHEAD < s->run->count) {
        const char *node = (const char *)s->run->entries[pos + 2 * AHEAD].node;
        __builtin_prefetch(node);
        __builtin_prefetch(node + 64);
        memtable_prefetch_version(s->run->entries[pos + AHEAD].node);
    }
}

/* Index of the first entry with key >= target. */
static size_t run_find(const struct memtable_run *run, struct slice target)
{
    size_t low = 0, high = run->count;
    if (high == 0 || target.len == 0)
        return 0;
    struct slice shared = memtable_node_key(run->entries[0].node);
    shared.len = run->skip;
    struct slice start = target.len < run->skip ? target : slice_of(target.data, run->skip);
    int c = slice_cmp(start, shared);
    if (c != 0)
        return c < 0 ? 0 : high; /* a target that ends within what all share is below them */
    uint64_t prefix = memtable_key_prefix(target, run->skip);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (entry_cmp(&run->entries[middle], prefix, target) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void source_seek(struct memtable_iter *mi, struct source *s, struct slice target)
{
    if (s->run)
        run_at(s, run_find(s->run, target));
    else
        s->at = memtable_skip_find(mi->m, target, NULL);
}

/* The last node below target; an empty target: the last of all. */
static void source_seek_before(struct memtable_iter *mi, struct source *s, struct slice target)
{
    if (s->run) {
        size_t pos = target.len ? run_find(s->run, target) : s->run->count;
        run_at(s, pos == 0 ? s->run->count : pos - 1);
        return;
    }
    struct memtable_node *before[MEMTABLE_MAX_HEIGHT] = {NULL};
    if (target.len) {
        memtable_skip_find(mi->m, target, before);
        s->at = before[0];
    } else {
        struct memtable_node *at = mi->m->skip_head;
        for (int level = atomic_load_explicit(&mi->m->height, memory_order_relaxed) - 1; level >= 0; level--) {
            struct memtable_node *next;
            while ((next = atomic_load_explicit(memtable_link(at, level), memory_order_acquire)) != NULL)
                at = next;
        }
        s->at = at;
    }
    if (s->at == mi->m->skip_head)
        s->at = NULL;
}

static void source_next(struct source *s)
{
    if (s->run)
        run_at(s, s->pos + 1);
    else
        s->at = atomic_load_explicit(memtable_link(s->at, 0), memory_order_acquire);
}

static void source_prev(struct memtable_iter *mi, struct source *s)
{
    if (s->run)
        run_at(s, s->pos == 0 ? s->run->count : s->pos - 1);
    else
        source_seek_before(mi, s, memtable_node_key(s->at));
}

/* The source that stands first in the direction of travel, or -1. */
static int pick(const struct memtable_iter *mi)
{
    int best = -1;
    for (int i = 0; i < mi->count; i++) {
        if (!mi->sources[i].at)
            continue;
        if (best >= 0) {
            int c = slice_cmp(memtable_node_key(mi->sources[i].at), memtable_node_key(mi->sources[best].at));
            if (mi->direction == FORWARD ? c >= 0 : c <= 0)
                continue;
        }
        best = i;
    }
    return best;
}

static enum result stand_nowhere(struct memtable_iter *mi)
{
    mi->direction = NOWHERE;
    mi->it.key = mi->it.value = slice_of(NULL, 0);
    return RES_NOT_FOUND;
}

/* From where the sources are, to the first record that the snapshot sees. */
static enum result settle(struct memtable_iter *mi)
{
    for (;;) {
        int i = pick(mi);
        if (i < 0)
            return stand_nowhere(mi);
        struct memtable_node *n = mi->sources[i].at;
        struct slice key = memtable_node_key(n);
        if (mi->direction == FORWARD ? mi->upper.len && slice_cmp(key, mi->upper) >= 0
                                     : mi->lower.len && slice_cmp(key, mi->lower) < 0)
            return stand_nowhere(mi);
        const struct memtable_version *v = memtable_version_at(n, mi->snapshot);
        if (v) {
            mi->current = i;
            mi->it.key = key;
            mi->it.value = slice_of(v->data, v->len);
            mi->it.kind = v->kind;
            return RES_OK;
        }
        if (mi->direction == FORWARD)
            source_next(&mi->sources[i]);
        else
            source_prev(mi, &mi->sources[i]);
    }
}

static enum result mi_seek(struct iter *it, struct slice target)
{
    struct memtable_iter *mi = iter_of(it);
    if (target.len == 0 || slice_cmp(target, mi->lower) < 0)
        target = mi->lower;
    mi->direction = FORWARD;
    for (int i = 0; i < mi->count; i++)
        source_seek(mi, &mi->sources[i], target);
    return settle(mi);
}

static enum result mi_seek_last(struct iter *it, struct slice target)
{
    struct memtable_iter *mi = iter_of(it);
    if (target.len == 0 || (mi->upper.len && slice_cmp(target, mi->upper) > 0))
        target = mi->upper;
    mi->direction = BACKWARD;
    for (int i = 0; i < mi->count; i++)
        source_seek_before(mi, &mi->sources[i], target);
    return settle(mi);
}

static enum result mi_next(struct iter *it)
{
    struct memtable_iter *mi = iter_of(it);
    if (mi->direction == NOWHERE)
        return RES_NOT_FOUND;
    if (mi->direction == BACKWARD) {
        struct slice key = mi->it.key;
        mi->direction = FORWARD;
        for (int i = 0; i < mi->count; i++)
            source_seek(mi, &mi->sources[i], key);
    }
    source_next(&mi->sources[mi->current]);
    if (mi->steps)
        atomic_fetch_add_explicit(mi->steps, 1, memory_order_relaxed);
    return settle(mi);
}

static enum result mi_prev(struct iter *it)
{
    struct memtable_iter *mi = iter_of(it);
    if (mi->direction == NOWHERE)
        return RES_NOT_FOUND;
    if (mi->direction == FORWARD) {
        struct slice key = mi->it.key;
        mi->direction = BACKWARD;
        for (int i = 0; i < mi->count; i++)
            source_seek_before(mi, &mi->sources[i], key);
    } else {
        source_prev(mi, &mi->sources[mi->current]);
    }
    return settle(mi);
}

static void mi_close(struct iter *it)
{
    struct memtable_iter *mi = iter_of(it);
    for (int i = 0; i < mi->count; i++)
        if (mi->sources[i].run)
            run_unref(mi->sources[i].run);
    free(mi);
}

void memtable_iter_count(struct iter *it, _Atomic uint64_t *steps) { iter_of(it)->steps = steps; }

static const struct iter_ops memtable_iter_ops = {mi_seek, mi_seek_last, mi_next, mi_prev, mi_close};

/* Is all of it in the skiplist? ordered_last is looked at before run_count: who has just put the tail into a run has raised
 * that first, and a chain that has runs keeps one. */
static bool only_skiplist(const struct memtable *m, const struct memtable_chain *c)
{
    if (c == &m->chains[CHAIN_META] || atomic_load_explicit(&c->ordered_last, memory_order_acquire) !=
                                           atomic_load_explicit(&c->last, memory_order_acquire))
        return false;
    sched_point(SCHED_VIEW);
    return atomic_load_explicit(&c->run_count, memory_order_acquire) == 0;
}

static bool lock_order(struct memtable *m, bool nowait) TRY_ACQUIRES(true, m->order_lock)
{
    if (!nowait) {
        os_mutex_lock(&m->order_lock);
        return true;
    }
    for (int tries = 0; tries < LOCK_TRIES; tries++)
        if (os_mutex_try(&m->order_lock))
            return true;
    return false;
}

/* Puts the chain in order, and takes references to its runs. */
static enum result take_chain(struct memtable_iter *mi, struct memtable_chain *c, bool nowait)
{
    struct memtable *m = mi->m;
    if (only_skiplist(m, c))
        return RES_OK;
    if (!lock_order(m, nowait))
        return RES_WOULD_BLOCK;
    enum result res = order_tail(m, c, nowait);
    if (res == RES_OK)
        res = merge_runs(c, false, nowait);
    for (int i = 0; res == RES_OK && i < c->run_count; i++) {
        atomic_fetch_add_explicit(&c->runs[i]->refs, 1, memory_order_relaxed);
        mi->sources[mi->count++] = (struct source){c->runs[i], c->runs[i]->count, NULL};
    }
    os_mutex_unlock(&m->order_lock);
    return res;
}

/* Does [lower, upper) touch the region? */
static bool touches(struct slice lower, struct slice upper, uint8_t region)
{
    if (lower.len && lower.data[0] > region)
        return false;
    return upper.len == 0 || upper.data[0] > region || (upper.data[0] == region && upper.len > 1);
}

/* Which of the two chains of elements does it touch? A range within one object tells. */
static bool touches_elements(struct slice lower, struct slice upper, bool members)
{
    const size_t at = ELEMENT_SUBSPACE_AT;
    if (lower.len < at || upper.len < at || memcmp(lower.data, upper.data, at) != 0)
        return true;
    int from = lower.len > at ? lower.data[at] : 0;
    int to = upper.len > at ? upper.data[at] - (upper.len == at + 1) : -1; /* the last */
    return members ? from <= ELEMENT_MEMBERS && to >= ELEMENT_MEMBERS : from < ELEMENT_MEMBERS || to > ELEMENT_MEMBERS;
}

static enum result take_order(struct memtable_iter *mi, bool nowait)
{
    static const uint8_t region[CHAINS][2] = {
        [CHAIN_META] = {REGION_META, REGION_META},          [CHAIN_MEMBER] = {REGION_ELEMENT, REGION_ELEMENT},
        [CHAIN_ELEMENT] = {REGION_ELEMENT, REGION_ELEMENT}, [CHAIN_EXPIRY] = {REGION_EXPIRY, REGION_EXPIRY},
        [CHAIN_OTHER] = {REGION_DEAD, REGION_SYSTEM},
    };
    enum result res = RES_OK;
    bool skiplist = false;
    for (int i = 0; i < CHAINS && res == RES_OK; i++)
        if ((touches(mi->lower, mi->upper, region[i][0]) || touches(mi->lower, mi->upper, region[i][1])) &&
            ((i != CHAIN_MEMBER && i != CHAIN_ELEMENT) || touches_elements(mi->lower, mi->upper, i == CHAIN_MEMBER))) {
            res = take_chain(mi, &mi->m->chains[i], nowait);
            skiplist = skiplist || i != CHAIN_META;
        }
    if (skiplist)
        mi->sources[mi->count++] = (struct source){NULL, 0, NULL};
    return res;
}

enum result memtable_iter(struct memtable *m, uint64_t snapshot, struct slice lower, struct slice upper, int flags,
                          struct iter **out)
{
    *out = NULL;
    size_t head = offsetof(struct memtable_iter, sources); /* sources are filled as far as they are counted */
    struct memtable_iter *mi = malloc(sizeof(*mi) + lower.len + upper.len);
    if (!mi)
        return RES_NO_MEMORY;
    memset(mi, 0, head);
    mi->it.ops = &memtable_iter_ops;
    mi->m = m;
    mi->snapshot = snapshot;
    if (lower.len)
        memcpy(mi->bounds, lower.data, lower.len);
    if (upper.len)
        memcpy(mi->bounds + lower.len, upper.data, upper.len);
    mi->lower = slice_of(mi->bounds, lower.len);
    mi->upper = slice_of(mi->bounds + lower.len, upper.len);
    enum result res = take_order(mi, flags & ITER_NOWAIT);
    if (res != RES_OK) {
        mi_close(&mi->it);
        return res;
    }
    *out = &mi->it;
    return RES_OK;
}

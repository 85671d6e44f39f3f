/* The memtable in order: sorted runs of REGION_META on demand, and iterators over runs and skiplist.
 *
 * Runs. Nodes of REGION_META form a chain, newest first. Whoever opens an iterator over that region takes order_lock,
 * walks the chain back to the newest node that is in a run already, sorts what it met into a new run, and merges runs
 * while the last two are of similar length: so there are few runs, and each node is merged a logarithmic number of
 * times. Keys are unique over all runs, because a node is. A run never changes; iterators count references, so a merge
 * may drop a run that is being read. Entries and how they are sorted: memtable_sort.c.
 *
 * A caller that may not wait sorts at most NOWAIT_TAIL new nodes and merges at most NOWAIT_MERGE entries; what would
 * be more answers RES_WOULD_BLOCK or leaves one run more.
 *
 * Iterators. An iterator stands on one source (a run or the skiplist) per region group; keys are unique over the
 * sources, so the next record is the least of the sources' current ones. A source keeps its current node; changing
 * direction seeks all sources again. */
#include "front/memtable.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bytes.h"

#define NOWAIT_TAIL 2000
#define NOWAIT_MERGE 8000
#define AHEAD 6 /* nodes between two steps of looking ahead */

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
    for (int i = 0; i < m->run_count; i++)
        run_unref(m->runs[i]);
    m->run_count = 0;
    m->ordered_last = NULL;
    m->ordered_count = 0;
    os_mutex_unlock(&m->order_lock);
}

static uint64_t key_prefix(struct slice key, size_t skip)
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

static size_t common(struct slice a, struct slice b, size_t most)
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
static size_t take_tail(struct memtable *m, struct memtable_node *last, struct memtable_run *run, size_t room)
    REQUIRES(m->order_lock)
{
    struct slice key = memtable_node_key(last);
    size_t i = room, guess = last->before ? common(key, memtable_node_key(last->before), key.len) : 1, skip = guess;
    for (struct memtable_node *at = last; at != m->ordered_last; at = at->before) {
        struct slice k = memtable_node_key(at);
        assert(i > 0);
        skip = common(key, k, skip);
        run->entries[--i] = (struct memtable_entry){key_prefix(k, skip), at};
    }
    if (skip != guess)
        for (size_t j = i; j < room; j++)
            run->entries[j].prefix = key_prefix(memtable_node_key(run->entries[j].node), skip);
    run->skip = skip;
    return i;
}

/* Sorts the nodes inserted since the last call into one more run. */
static enum result order_tail(struct memtable *m, bool nowait) REQUIRES(m->order_lock)
{
    uint64_t count = atomic_load_explicit(&m->meta_count, memory_order_relaxed);
    if (nowait && count > m->ordered_count + NOWAIT_TAIL)
        return RES_WOULD_BLOCK;
    struct memtable_node *last = atomic_load_explicit(&m->meta_last, memory_order_acquire);
    if (last == m->ordered_last)
        return RES_OK;
    /* The counter is raised after the chain: the chain from `last` is at most one longer than what it says now. The
     * chain is walked once, every node being a cache miss. */
    size_t room = (size_t)(atomic_load_explicit(&m->meta_count, memory_order_acquire) - m->ordered_count) + 1;
    if (m->run_count == MEMTABLE_MAX_RUNS)
        return nowait ? RES_WOULD_BLOCK : RES_NO_MEMORY;
    struct memtable_run *run = run_new(room);
    struct memtable_entry *spare = malloc(room * sizeof(*spare));
    if (!run || !spare) {
        free(run);
        free(spare);
        return RES_NO_MEMORY;
    }
    size_t i = take_tail(m, last, run, room), n = room - i;
    memmove(run->entries, run->entries + i, n * sizeof(run->entries[0]));
    run->count = n;
    memtable_sort(run->entries, n, spare);
    free(spare);
    m->runs[m->run_count++] = run;
    m->ordered_last = last;
    m->ordered_count += n;
    return RES_OK;
}

/* Two runs whose prefixes lie at different places in the keys. */
static void merge_unlike(const struct memtable_run *a, const struct memtable_run *b, struct memtable_run *out)
{
    struct slice first = memtable_node_key(a->entries[0].node);
    out->skip = common(first, memtable_node_key(b->entries[0].node), a->skip < b->skip ? a->skip : b->skip);
    for (size_t i = 0, j = 0; i + j < a->count + b->count;) {
        struct memtable_node *n = i < a->count ? a->entries[i].node : NULL;
        struct memtable_node *o = j < b->count ? b->entries[j].node : NULL;
        bool second = !n || (o && slice_cmp(memtable_node_key(o), memtable_node_key(n)) < 0);
        struct memtable_entry *e = &out->entries[i + j];
        e->node = second ? o : n;
        e->prefix = key_prefix(memtable_node_key(e->node), out->skip);
        i += !second;
        j += second;
    }
}

/* Do the keys of both share what the prefixes leave out? */
static bool alike(const struct memtable_run *a, const struct memtable_run *b)
{
    return a->skip == b->skip &&
           common(memtable_node_key(a->entries[0].node), memtable_node_key(b->entries[0].node), a->skip) == a->skip;
}

/* Merges the last two runs while they are of similar length, or, with `all`, until one is left. */
static enum result merge_runs(struct memtable *m, bool all, bool nowait) REQUIRES(m->order_lock)
{
    while (m->run_count > 1) {
        struct memtable_run *a = m->runs[m->run_count - 2], *b = m->runs[m->run_count - 1];
        if (!all && a->count > 2 * b->count && m->run_count < MEMTABLE_MAX_RUNS / 2)
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
        m->runs[--m->run_count - 1] = run;
        run_unref(a);
        run_unref(b);
    }
    return RES_OK;
}

enum result memtable_order(struct memtable *m)
{
    os_mutex_lock(&m->order_lock);
    enum result res = merge_runs(m, false, false);
    if (res == RES_OK)
        res = order_tail(m, false);
    if (res == RES_OK)
        res = merge_runs(m, true, false);
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
    struct source sources[MEMTABLE_MAX_RUNS + 1];
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
    if (target.len == 0 || target.data[0] != REGION_META)
        return target.len && target.data[0] > REGION_META ? run->count : 0;
    size_t low = 0, high = run->count;
    if (high == 0)
        return 0;
    struct slice shared = memtable_node_key(run->entries[0].node);
    shared.len = run->skip;
    struct slice start = target.len < run->skip ? target : slice_of(target.data, run->skip);
    int c = slice_cmp(start, shared);
    if (c != 0)
        return c < 0 ? 0 : high; /* a target that ends within what all share is below them */
    uint64_t prefix = key_prefix(target, run->skip);
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

/* References to the runs that hold all of REGION_META up to now. */
static enum result take_runs(struct memtable_iter *mi, bool nowait)
{
    struct memtable *m = mi->m;
    if (!nowait)
        os_mutex_lock(&m->order_lock);
    else if (!os_mutex_try(&m->order_lock))
        return RES_WOULD_BLOCK;
    enum result res = order_tail(m, nowait);
    if (res == RES_OK)
        res = merge_runs(m, false, nowait);
    for (int i = 0; res == RES_OK && i < m->run_count; i++) {
        atomic_fetch_add_explicit(&m->runs[i]->refs, 1, memory_order_relaxed);
        mi->sources[mi->count++] = (struct source){m->runs[i], m->runs[i]->count, NULL};
    }
    os_mutex_unlock(&m->order_lock);
    return res;
}

/* Does [lower, upper) touch the region's keys / any other region's? */
static bool range_has_meta(struct slice lower, struct slice upper)
{
    if (lower.len && lower.data[0] > REGION_META)
        return false;
    return upper.len == 0 || upper.data[0] > REGION_META || (upper.data[0] == REGION_META && upper.len > 1);
}

static bool range_has_others(struct slice lower, struct slice upper)
{
    if (lower.len == 0 || lower.data[0] != REGION_META || upper.len == 0)
        return true;
    return upper.data[0] != REGION_META && !(upper.data[0] == REGION_META + 1 && upper.len == 1);
}

enum result memtable_iter(struct memtable *m, uint64_t snapshot, struct slice lower, struct slice upper, int flags,
                          struct iter **out)
{
    *out = NULL;
    struct memtable_iter *mi = calloc(1, sizeof(*mi) + lower.len + upper.len);
    if (!mi)
        return RES_NO_MEMORY;
    mi->it.ops = &memtable_iter_ops;
    mi->m = m;
    mi->snapshot = snapshot;
    if (lower.len)
        memcpy(mi->bounds, lower.data, lower.len);
    if (upper.len)
        memcpy(mi->bounds + lower.len, upper.data, upper.len);
    mi->lower = slice_of(mi->bounds, lower.len);
    mi->upper = slice_of(mi->bounds + lower.len, upper.len);
    if (range_has_others(lower, upper))
        mi->sources[mi->count++] = (struct source){NULL, 0, NULL};
    if (range_has_meta(lower, upper)) {
        enum result res = take_runs(mi, flags & ITER_NOWAIT);
        if (res != RES_OK) {
            mi_close(&mi->it);
            return res;
        }
    }
    *out = &mi->it;
    return RES_OK;
}

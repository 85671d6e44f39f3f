/* Keys drawn uniformly: RANDOMKEY, and the samples behind averages.
 *
 * "Seek to a random point, take the next key" prefers keys behind large gaps. Instead: draw a random point, read the
 * window behind it that is expected to hold WINDOW_EXPECTED keys, find k, accept with probability k / WINDOW_MAX, and
 * take one of the k. A key is in the window with the same probability wherever it lies, and is then chosen with
 * k / WINDOW_MAX * 1 / k: the same for all keys, however unevenly they lie, as long as no window holds more than
 * WINDOW_MAX.
 *
 * They do lie unevenly when hash tags put many keys into few slots. Points are therefore drawn on a stretched axis,
 * where each slot is as wide as its estimated share of the keys: any monotonous axis keeps the draw uniform, a wrong
 * estimate only costs tries. The estimate is flat until a window overflows; then one pass counts the slots. */
#include <stdlib.h>

#include "base/epoch.h"
#include "store/store_priv.h"

#define SLOTS 16384
#define SMALL_DATABASE 64 /* up to here all keys are read */
#define WINDOW_EXPECTED 8
#define WINDOW_MAX 32
#define TRIES 256 /* 1 in 4 succeeds; this many in vain mean that most keys have expired */

/* Where each slot starts on the axis, 0 .. 1, for a keyspace that turned out uneven. Replaced as a whole. */
struct axis {
    struct epoch_entry reclaim;
    uint32_t keyspace;
    double start[SLOTS + 1];
};
struct sampler {
    struct axis *_Atomic axis; /* of the keyspace last found uneven; NULL: none */
};

enum result sampler_open(struct store *s)
{
    s->sampler = calloc(1, sizeof *s->sampler);
    return s->sampler ? RES_OK : RES_NO_MEMORY;
}

void sampler_close(struct store *s)
{
    if (!s->sampler)
        return;
    free(atomic_load(&s->sampler->axis));
    free(s->sampler);
}

static double random_unit(struct call *c) { return (double)(call_random(c) >> 11) * 0x1p-53; }

/* The point at u of the axis; monotonous in u. */
static uint64_t point_at(const struct axis *axis, double u)
{
    if (u >= 1)
        return POINT_END;
    if (!axis)
        return (uint64_t)(u * (double)POINT_END);
    unsigned low = 0, high = SLOTS; /* start[low] <= u < start[high] */
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        if (axis->start[middle] <= u)
            low = middle;
        else
            high = middle;
    }
    double inside = (u - axis->start[low]) / (axis->start[high] - axis->start[low]);
    uint64_t h = (uint64_t)(inside * 0x1p32);
    return ((uint64_t)low << 32) + (h < UINT32_MAX ? h : UINT32_MAX);
}

/* ---- an axis for an uneven keyspace ---- */

struct slot_counts {
    uint32_t count[SLOTS];
    uint64_t total;
};

static enum result count_slot(struct call *c, void *arg, const struct store_scan_entry *entry)
{
    (void)c;
    struct slot_counts *counts = arg;
    counts->count[hash_slot(entry->key)]++;
    counts->total++;
    return RES_OK;
}

static void axis_free(struct epoch_entry *entry) { free(entry); }

static enum result axis_build(struct call *c, uint32_t keyspace)
{
    struct slot_counts *counts = calloc(1, sizeof *counts);
    struct axis *axis = malloc(sizeof *axis);
    struct key_walk walk = {.count = UINT64_MAX, .iter_flags = ITER_NO_FILL, .each = count_slot, .arg = counts};
    enum result r = counts && axis ? keys_walk(c, keyspace, 0, POINT_END, &walk) : RES_NO_MEMORY;
    if (r != RES_OK) {
        free(counts);
        free(axis);
        return r;
    }
    /* an eighth of the axis is shared evenly, so that keys which come into empty slots are found too */
    double even = 0.125 / SLOTS, at = 0, total = (double)(counts->total ? counts->total : 1);
    axis->keyspace = keyspace;
    for (unsigned i = 0; i < SLOTS; i++) {
        axis->start[i] = at;
        at += even + 0.875 * counts->count[i] / total;
    }
    axis->start[SLOTS] = at > 1 ? at : 1;
    free(counts);
    struct axis *old = atomic_exchange(&store_of(c)->sampler->axis, axis);
    if (old)
        epoch_retire(&old->reclaim, axis_free);
    return RES_OK;
}

/* ---- one draw ---- */

struct pick {
    uint64_t seen, wanted; /* takes the key number `wanted` */
    struct slice key;
    bool found, reservoir; /* reservoir: keeps each key with probability 1 / seen */
};

static enum result consider(struct call *c, void *arg, const struct store_scan_entry *entry)
{
    struct pick *pick = arg;
    uint64_t number = pick->seen++;
    if (pick->reservoir ? call_random(c) % pick->seen != 0 : number != pick->wanted)
        return RES_OK;
    void *copy = arena_copy(c->arena, entry->key.data, entry->key.len);
    if (!copy)
        return RES_NO_MEMORY;
    pick->key = slice_of(copy, entry->key.len);
    pick->found = true;
    return RES_OK;
}

static enum result pick_of_all(struct call *c, uint32_t keyspace, struct pick *pick)
{
    *pick = (struct pick){.reservoir = true};
    struct key_walk walk = {.count = UINT64_MAX, .each = consider, .arg = pick};
    return keys_walk(c, keyspace, 0, POINT_END, &walk);
}

/* Walks the keys of a random window that is expected to hold `expected` of `keys`. */
static enum result walk_window(struct call *c, uint32_t keyspace, double share, struct key_walk *walk)
{
    double u = random_unit(c);
    epoch_enter();
    const struct axis *axis = atomic_load_explicit(&store_of(c)->sampler->axis, memory_order_acquire);
    if (axis && axis->keyspace != keyspace)
        axis = NULL;
    bool wraps = u + share > 1;
    uint64_t from = point_at(axis, u), to = point_at(axis, wraps ? u + share - 1 : u + share);
    epoch_leave();
    if (!wraps)
        return keys_walk(c, keyspace, from, to, walk);
    enum result r = keys_walk(c, keyspace, from, POINT_END, walk);
    return r == RES_OK ? keys_walk(c, keyspace, 0, to, walk) : r;
}

static enum result pick_by_windows(struct call *c, uint32_t keyspace, double keys, struct pick *pick)
{
    for (unsigned i = 0; i < TRIES; i++) {
        *pick = (struct pick){.wanted = call_random(c) % WINDOW_MAX};
        struct key_walk walk = {.count = 4 * WINDOW_MAX, .each = consider, .arg = pick};
        enum result r = walk_window(c, keyspace, WINDOW_EXPECTED / keys, &walk);
        if (r != RES_OK)
            return r;
        if (pick->seen > WINDOW_MAX)
            r = axis_build(c, keyspace);
        else if (pick->found)
            return RES_OK;
        if (r != RES_OK)
            return r;
        if (call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return pick_of_all(c, keyspace, pick);
}

enum result store_random_key(struct call *c, uint32_t db, struct slice *out, bool *found)
{
    uint32_t keyspace;
    int64_t keys, expires;
    struct pick pick = {.found = false};
    enum result r = store_keyspace(c, db, &keyspace);
    if (r != RES_OK)
        return r;
    call_counts(c, keyspace, &keys, &expires);
    if (keys > SMALL_DATABASE)
        r = pick_by_windows(c, keyspace, (double)keys, &pick);
    else if (keys > 0)
        r = pick_of_all(c, keyspace, &pick);
    *out = pick.key;
    *found = pick.found;
    return r;
}

enum result walk_sample(struct call *c, uint32_t keyspace, int64_t keys, unsigned windows, bool *exact,
                        store_scan_fn *each, void *arg)
{
    struct key_walk walk = {.count = UINT64_MAX, .iter_flags = ITER_NO_FILL, .each = each, .arg = arg};
    *exact = keys <= SMALL_DATABASE;
    if (*exact)
        return keys_walk(c, keyspace, 0, POINT_END, &walk);
    enum result r = RES_OK;
    walk.count = 4 * WINDOW_MAX;
    for (unsigned i = 0; r == RES_OK && i < windows; i++)
        r = walk_window(c, keyspace, WINDOW_EXPECTED / (double)keys, &walk);
    return r;
}

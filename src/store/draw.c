/* Members drawn at random, exactly uniform: SPOP, SRANDMEMBER, HRANDFIELD, ZRANDMEMBER (EXECUTION, rule 37).
 *
 * "Seek to a random point, take the next" prefers members behind large gaps. Instead: draw a point of the h40 axis and a
 * number w below WINDOW_MAX, and take the w-th member of the window behind the point that is expected to hold
 * WINDOW_EXPECTED; when there are not so many, draw again. Every member lies in the window with the same probability and is
 * then the w-th of it with probability 1 / WINDOW_MAX, as long as no window holds more than WINDOW_MAX: h40 is a hash under a
 * secret seed, so 32 where 8 are expected do not happen.
 *
 * Small collections, and counts over a third, are one pass instead.
 *
 * SPOP after SPOP draws ahead (ahead.h), because a draw costs some forty steps of an iterator. The axis is divided into cells
 * of CELL_EXPECTED members, from a random point on, and a list has all members of some cells drawn at random, in random
 * order. A list of n members is kept with probability n / most, else other cells are drawn: so each member comes first with
 * the same probability, as above. Which cells were taken is remembered from list to list: what is left is as dense in the
 * others as it ever was, and what was removed is not passed over again, down to the last member. */
#include <stddef.h>
#include <stdlib.h>

#include "store/elements.h"
#include "store/store_priv.h"

#define FEW 64 /* in pieces: up to here all are read */
#define WINDOW_EXPECTED 8
#define WINDOW_MAX 32
#define TRIES 256 /* one in four succeeds; this many in vain mean that hardly any may be drawn */

static uint64_t below(struct elements *e, uint64_t n) { return call_random(e->c) % n; }

static bool allowed(struct elements *e, member_filter *may, const struct element *x) { return !may || may(e, x); }

static enum result keep_copy(struct elements *e, const struct element *in, struct element *out)
{
    uint8_t *p = arena_alloc(e->c->arena, in->key.len + in->value.len);
    if (!p)
        return RES_NO_MEMORY;
    *out = *in;
    out->key.data = p;
    out->value.data = p + in->key.len;
    if (in->key.len)
        memcpy(p, in->key.data, in->key.len);
    if (in->value.len)
        memcpy(p + in->key.len, in->value.data, in->value.len);
    return RES_OK;
}

/* ---- one ---- */

struct reservoir {
    member_filter *may;
    uint64_t seen;
    struct element kept;
};

static enum result reservoir_take(struct elements *e, void *arg, const struct element *x)
{
    struct reservoir *pool = arg;
    if (!allowed(e, pool->may, x) || below(e, ++pool->seen) != 0)
        return RES_OK;
    return keep_copy(e, x, &pool->kept);
}

static enum result draw_from_all(struct elements *e, member_filter *may, struct element *out)
{
    struct reservoir pool = {.may = may};
    enum result r = member_each(e, reservoir_take, &pool);
    if (r != RES_OK)
        return r;
    *out = pool.kept;
    return pool.seen ? RES_OK : RES_NOT_FOUND;
}

/* The member number `wanted` of those that may be drawn in [from, to); *seen counts those passed over. */
static enum result nth_in_window(struct member_walk *w, member_filter *may, uint64_t from, uint64_t to, uint64_t wanted,
                                 uint64_t *seen)
{
    enum result r = member_walk_seek(w, from);
    for (; r == RES_OK; r = member_walk_next(w)) {
        if (member_walk_h40(w) >= to)
            return RES_NOT_FOUND;
        if (allowed(w->e, may, &w->element) && (*seen)++ == wanted)
            return RES_OK;
    }
    return r;
}

/* Draws one by windows over a walk that is open; RES_NOT_FOUND: give it up. */
static enum result draw_by_window(struct member_walk *w, member_filter *may, struct element *out)
{
    struct elements *e = w->e;
    uint64_t width = (uint64_t)((double)H40_END * WINDOW_EXPECTED / (double)e->count);
    width = width ? width : 1;
    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t from = below(e, H40_END), wanted = below(e, WINDOW_MAX), to = from + width, seen = 0;
        enum result r = nth_in_window(w, may, from, to < H40_END ? to : H40_END, wanted, &seen);
        if (r == RES_NOT_FOUND && to > H40_END)
            r = nth_in_window(w, may, 0, to - H40_END, wanted, &seen);
        if (r == RES_OK)
            return keep_copy(e, &w->element, out);
        if (r != RES_NOT_FOUND)
            return r;
        if (call_too_long(e->c))
            return RES_WOULD_BLOCK;
    }
    return RES_NOT_FOUND;
}

enum result member_random(struct elements *e, member_filter *may, struct element *out)
{
    *out = (struct element){.expire_ms = 0};
    if (!e->count)
        return RES_NOT_FOUND;
    if (!e->pieces && !may) {
        struct inline_place p;
        enum result r = inline_at(e, below(e, e->count), &p, out);
        return r == RES_NOT_FOUND ? RES_CORRUPT : r;
    }
    if (!e->pieces || e->count <= FEW)
        return draw_from_all(e, may, out);
    struct member_walk w;
    enum result r = member_walk_open(&w, e, 0);
    if (r != RES_OK)
        return r;
    r = draw_by_window(&w, may, out);
    member_walk_close(&w);
    return r == RES_NOT_FOUND ? draw_from_all(e, may, out) : r;
}

/* ---- one after the other, to be removed ---- */

#define CELL_EXPECTED 8
#define CELLS_MOST (1 << 20)
#define AHEAD_MOST 400
#define AHEAD_TRIES 64 /* more than half succeed */

/* How many members to expect in a list, and what it never holds, even where removals have left gaps of a cell's size. */
struct draw_size {
    uint32_t expected, most;
};
static const struct draw_size draw_sizes[] = {{64, 128}, {128, 224}, {256, AHEAD_MOST}};
#define SIZE_MOST 2

/* Members drawn ahead, in the order in which they were found; they are given as `order` says. */
struct drawn {
    uint64_t rotation;    /* where cell 0 begins */
    uint32_t cells, free; /* how many there are; how many were not taken */
    uint32_t n;
    uint16_t order[AHEAD_MOST];
    uint32_t ends[AHEAD_MOST]; /* of each in bytes */
    uint32_t cap;              /* of the members' bytes */
    uint8_t bytes[];           /* a bit for each cell: taken; then the members */
};

static size_t bits_len(uint32_t cells) { return (cells + 7) / 8; }
static bool is_taken(const struct drawn *d, uint32_t cell) { return d->bytes[cell / 8] >> cell % 8 & 1; }
static void flip_cell(struct drawn *d, uint32_t cell) { d->bytes[cell / 8] ^= (uint8_t)(1 << cell % 8); }

static struct slice drawn_at(const struct drawn *d, uint32_t i)
{
    uint32_t which = d->order[i], begin = which ? d->ends[which - 1] : 0;
    return slice_of(d->bytes + bits_len(d->cells) + begin, d->ends[which] - begin);
}

static size_t drawn_len(const struct drawn *d)
{
    return offsetof(struct drawn, bytes) + bits_len(d->cells) + (d->n ? d->ends[d->n - 1] : 0);
}

static enum result take_member(struct drawn *d, struct slice key, uint32_t most)
{
    uint32_t at = d->n ? d->ends[d->n - 1] : 0;
    if (d->n == most || key.len > d->cap - at)
        return RES_TOO_MANY;
    if (key.len)
        memcpy(d->bytes + bits_len(d->cells) + at, key.data, key.len);
    d->ends[d->n++] = at + (uint32_t)key.len;
    return RES_OK;
}

/* The walk of a window ends with it: the next member may lie far beyond, behind all that was removed from taken cells. */
static enum result take_window(struct elements *e, uint64_t from, uint64_t to, struct drawn *d, uint32_t most)
{
    struct member_walk w;
    enum result r = member_walk_open_range(&w, e, from, to);
    while (r == RES_OK && (r = member_walk_next(&w)) == RES_OK)
        r = take_member(d, w.element.key, most);
    member_walk_close(&w);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result take_cell(struct elements *e, uint32_t cell, struct drawn *d, uint32_t most)
{
    uint64_t from = d->rotation + cell * H40_END / d->cells, to = d->rotation + (cell + 1) * H40_END / d->cells;
    if (from >= H40_END)
        return take_window(e, from - H40_END, to - H40_END, d, most);
    enum result r = take_window(e, from, to < H40_END ? to : H40_END, d, most);
    return r == RES_OK && to > H40_END ? take_window(e, 0, to - H40_END, d, most) : r;
}

static int compare_cells(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Chooses n of the free cells; they are taken then. In order, because that is how they are read fastest. */
static void choose_cells(struct elements *e, struct drawn *d, uint32_t *chosen, uint32_t n)
{
    uint32_t k = 0;
    if (n == d->free) {
        for (uint32_t cell = 0; cell < d->cells; cell++)
            if (!is_taken(d, cell))
                chosen[k++] = cell;
    } else {
        while (k < n) {
            uint32_t cell = (uint32_t)below(e, d->cells);
            if (is_taken(d, cell))
                continue;
            flip_cell(d, cell);
            chosen[k++] = cell;
        }
        qsort(chosen, n, sizeof *chosen, compare_cells);
    }
    d->free -= n;
}

static void shuffle(struct elements *e, struct drawn *d)
{
    for (uint32_t i = 0; i < d->n; i++) {
        uint32_t j = (uint32_t)below(e, i + 1);
        d->order[i] = d->order[j];
        d->order[j] = (uint16_t)i;
    }
}

/* Fills the list from n cells of those that are free. */
static enum result draw_cells(struct elements *e, const struct draw_size *size, uint32_t n, struct drawn *d)
{
    bool all = n == d->free;
    uint32_t *chosen = arena_alloc(e->c->arena, n * sizeof *chosen);
    if (!chosen)
        return RES_NO_MEMORY;
    for (int tries = 0; tries < AHEAD_TRIES; tries++) {
        choose_cells(e, d, chosen, n);
        enum result r = RES_OK;
        for (uint32_t i = 0; r == RES_OK && i < n; i++)
            r = take_cell(e, chosen[i], d, size->most);
        if (r != RES_OK || all || below(e, size->most) < d->n)
            return r;
        d->n = 0;
        d->free += n;
        for (uint32_t i = 0; i < n; i++)
            flip_cell(d, chosen[i]);
        if (call_too_long(e->c))
            return RES_WOULD_BLOCK;
    }
    return RES_OK;
}

/* A row of pops deserves the more, the longer it is. What goes to the pool has waited for the disk. */
static const struct draw_size *next_size(const struct elements *e, const struct ahead *a)
{
    size_t i = e->c->mode & CALL_LATCHED ? 0 : SIZE_MOST;
    uint64_t length = e->bytes / e->count + 1;
    while (a && i < SIZE_MOST && draw_sizes[i].expected < a->n)
        i++;
    while (i && draw_sizes[i].most * length * 2 > AHEAD_BYTES)
        i--;
    return &draw_sizes[i];
}

/* An empty list, which knows what cells the last one of its row has left. */
static struct drawn *new_list(struct elements *e, const struct drawn *last, uint32_t members)
{
    uint64_t cells = e->count / CELL_EXPECTED + 1;
    size_t cap = (e->bytes / e->count + 1) * members * 2;
    if (cells > CELLS_MOST)
        cells = CELLS_MOST;
    if (last)
        cells = last->cells;
    if (cap > AHEAD_BYTES)
        cap = AHEAD_BYTES;
    struct drawn *d = arena_alloc(e->c->arena, offsetof(struct drawn, bytes) + bits_len((uint32_t)cells) + cap);
    if (!d)
        return NULL;
    d->cells = d->free = (uint32_t)cells;
    d->n = 0;
    d->cap = (uint32_t)cap;
    if (last) {
        d->free = last->free;
        d->rotation = last->rotation;
        memcpy(d->bytes, last->bytes, bits_len(d->cells));
    } else {
        d->rotation = below(e, H40_END);
        memset(d->bytes, 0, bits_len(d->cells));
    }
    return d;
}

/* Leaves nothing drawn where members are long. */
static enum result draw_ahead(struct elements *e, const struct ahead *a, struct drawn **out)
{
    const struct draw_size *size = next_size(e, a);
    const struct drawn *last = a && a->len ? a->list : NULL;
    struct drawn *d = *out = new_list(e, last && last->free ? last : NULL, size->most);
    if (!d)
        return RES_NO_MEMORY;
    uint64_t n = 1 + (uint64_t)d->free * size->expected / e->count;
    if (n >= d->free || e->count <= size->most)
        n = d->free;
    enum result r = draw_cells(e, size, (uint32_t)n, d);
    if (r == RES_TOO_MANY) {
        d->n = 0;
        d->free = 0; /* the next one begins anew */
    }
    shuffle(e, d);
    return r == RES_TOO_MANY ? RES_OK : r;
}

enum result member_random_to_take(struct elements *e, struct element *out)
{
    struct ahead *a = ahead_find(e);
    if (!e->count || !ahead_allowed(e) || (e->c->mode & CALL_LATCHED && !a)) {
        enum result r = member_random(e, NULL, out);
        return r == RES_OK && ahead_allowed(e) ? ahead_commit(e, 0, 0, NULL, 0) : r;
    }
    enum result r = a && a->at < a->n ? RES_OK : ahead_begin(e, &a);
    if (r != RES_OK)
        return r;
    if (a && a->at < a->n) {
        *out = (struct element){.key = drawn_at(a->list, a->at)};
        return ahead_commit(e, a->at + 1, a->n, NULL, 0);
    }
    struct drawn *d;
    if ((r = draw_ahead(e, a, &d)) != RES_OK)
        return r;
    if (d->n)
        *out = (struct element){.key = drawn_at(d, 0)};
    else if ((r = member_random(e, NULL, out)) != RES_OK)
        return r;
    return ahead_commit(e, d->n ? 1 : 0, d->n, d, drawn_len(d));
}

/* ---- several ---- */

struct collector {
    member_filter *may;
    struct element *found;
    uint64_t count, cap;
};

static enum result collect(struct elements *e, void *arg, const struct element *x)
{
    struct collector *all = arg;
    if (!allowed(e, all->may, x))
        return RES_OK;
    if (all->count == all->cap) /* more than the metadata counts */
        return RES_CORRUPT;
    return keep_copy(e, x, &all->found[all->count++]);
}

static enum result collect_all(struct elements *e, member_filter *may, struct collector *all)
{
    *all = (struct collector){.may = may, .cap = e->count};
    if (e->count > SIZE_MAX / 2 / sizeof *all->found)
        return RES_NO_MEMORY;
    all->found = arena_alloc(e->c->arena, (size_t)e->count * sizeof *all->found);
    return all->found ? member_each(e, collect, all) : RES_NO_MEMORY;
}

/* Of those that may be drawn: each subset of `want` as likely as any other (the first steps of a shuffle). */
static enum result shuffle_some(struct elements *e, member_filter *may, uint64_t want, member_fn *each, void *arg)
{
    struct collector all;
    enum result r = collect_all(e, may, &all);
    for (uint64_t i = 0; r == RES_OK && i < want && i < all.count; i++) {
        uint64_t j = i + below(e, all.count - i);
        struct element x = all.found[j];
        all.found[j] = all.found[i];
        r = each(e, arg, &x);
    }
    return r;
}

/* One pass that takes each with the probability it needs (selection sampling, Knuth, volume 2, 3.4.2 S). */
struct selection {
    uint64_t left, want;
    member_fn *each;
    void *arg;
};

static enum result select_some(struct elements *e, void *arg, const struct element *x)
{
    struct selection *s = arg;
    if (!s->left)
        return RES_CORRUPT;
    if (below(e, s->left--) >= s->want)
        return RES_OK;
    s->want--;
    return s->each(e, s->arg, x);
}

/* A set of the members drawn so far. */
struct drawn_set {
    struct slice *slots; /* data NULL: free */
    uint64_t mask;
};

/* False: it is there already. */
static bool drawn_add(const struct elements *e, struct drawn_set *d, struct slice member)
{
    uint64_t i = member_h40(e, member) & d->mask;
    for (; d->slots[i].data; i = (i + 1) & d->mask)
        if (slice_eq(d->slots[i], member))
            return false;
    d->slots[i] = member;
    return true;
}

/* Few of many: draws until there are enough different ones. */
static enum result draw_until(struct elements *e, uint64_t want, member_fn *each, void *arg)
{
    struct drawn_set d = {.mask = 15};
    while (d.mask < want * 2)
        d.mask = d.mask * 2 + 1;
    d.slots = arena_alloc(e->c->arena, (size_t)(d.mask + 1) * sizeof *d.slots);
    if (!d.slots)
        return RES_NO_MEMORY;
    memset(d.slots, 0, (size_t)(d.mask + 1) * sizeof *d.slots);
    struct member_walk w;
    enum result r = member_walk_open(&w, e, 0);
    if (r != RES_OK)
        return r;
    while (r == RES_OK && want) {
        struct element x;
        if ((r = draw_by_window(&w, NULL, &x)) != RES_OK || !drawn_add(e, &d, x.key))
            continue;
        want--;
        r = each(e, arg, &x);
    }
    member_walk_close(&w);
    return r == RES_NOT_FOUND ? RES_CORRUPT : r;
}

enum result member_random_distinct(struct elements *e, member_filter *may, uint64_t want, member_fn *each, void *arg)
{
    if (!want || !e->count)
        return RES_OK;
    if (may)
        return shuffle_some(e, may, want, each, arg);
    if (want >= e->count)
        return member_each(e, each, arg);
    if (!e->pieces || e->count <= FEW || want > e->count / 3) {
        struct selection s = {.left = e->count, .want = want, .each = each, .arg = arg};
        return member_each(e, select_some, &s);
    }
    return draw_until(e, want, each, arg);
}

enum result member_random_repeated(struct elements *e, member_filter *may, uint64_t want, member_fn *each, void *arg)
{
    if (!want || !e->count)
        return RES_OK;
    enum result r;
    struct element x;
    if (!may && e->pieces && e->count > FEW && want <= e->count / 3) {
        struct member_walk w;
        r = member_walk_open(&w, e, 0);
        for (; r == RES_OK && want; want--) {
            r = draw_by_window(&w, NULL, &x);
            if (r == RES_OK)
                r = each(e, arg, &x);
        }
        member_walk_close(&w);
        return r == RES_NOT_FOUND ? RES_CORRUPT : r;
    }
    struct collector all;
    r = collect_all(e, may, &all);
    for (uint64_t i = 0; r == RES_OK && all.count && i < want; i++) {
        r = each(e, arg, &all.found[below(e, all.count)]);
        if (r == RES_OK && i % 1024 == 1023 && call_too_long(e->c))
            r = RES_WOULD_BLOCK;
    }
    return r;
}

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
 * SPOP after SPOP draws ahead, because a draw costs some forty steps of an iterator: AHEAD_WINDOWS windows, of which all
 * members are taken, in random order. A set of n of them is kept with probability n / AHEAD_MAX, else drawn anew: then
 * each member comes first with the same probability, as above. They count as long as nothing but these pops has changed the
 * number of members; each is looked up before it is given. */
#include <assert.h>

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

#define AHEAD_WINDOWS 8
#define AHEAD_MAX DRAWN_MOST /* where 64 are expected */
#define AHEAD_LEAST 512
#define AHEAD_BYTES ((size_t)64 << 10)

static enum result take_window(struct member_walk *w, uint64_t from, uint64_t to, struct drawn_ahead *d)
{
    enum result r = member_walk_seek(w, from);
    for (; r == RES_OK && member_walk_h40(w) < to; r = member_walk_next(w)) {
        struct slice key = w->element.key;
        if (d->n == AHEAD_MAX || d->bytes.len + key.len > AHEAD_BYTES)
            return RES_TOO_MANY;
        if ((r = buf_append(&d->bytes, key.data, key.len)) != RES_OK)
            return r;
        d->ends[d->n++] = (uint32_t)d->bytes.len;
    }
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static void forget_drawn(struct drawn_ahead *d)
{
    d->at = d->n = 0;
    buf_clear(&d->bytes);
}

static enum result take_windows(struct member_walk *w, struct drawn_ahead *d)
{
    struct elements *e = w->e;
    uint64_t width = (uint64_t)((double)H40_END * WINDOW_EXPECTED / (double)e->count);
    enum result r = RES_OK;
    forget_drawn(d);
    for (int i = 0; i < AHEAD_WINDOWS && r == RES_OK; i++) {
        uint64_t from = below(e, H40_END), to = from + width;
        r = take_window(w, from, to < H40_END ? to : H40_END, d);
        if (r == RES_OK && to > H40_END)
            r = take_window(w, 0, to - H40_END, d);
    }
    return r;
}

static struct slice drawn_at(const struct drawn_ahead *d, uint32_t i)
{
    uint32_t begin = i ? d->ends[i - 1] : 0;
    return slice_of(d->bytes.data + begin, d->ends[i] - begin);
}

static void shuffle(struct elements *e, struct drawn_ahead *d)
{
    for (uint32_t i = 0; i < d->n; i++) {
        uint32_t j = (uint32_t)below(e, i + 1);
        d->order[i] = d->order[j];
        d->order[j] = (uint8_t)i;
    }
}

/* Leaves nothing drawn where that is not worth it: long members, a walk that would take long. */
static enum result draw_ahead(struct elements *e, struct drawn_ahead *d)
{
    struct member_walk w;
    enum result r = member_walk_open(&w, e, 0);
    if (r != RES_OK)
        return r;
    for (bool kept = false; r == RES_OK && !kept && !call_too_long(e->c);) {
        r = take_windows(&w, d);
        kept = r == RES_OK && below(e, AHEAD_MAX) < d->n;
        if (kept)
            shuffle(e, d);
        else
            forget_drawn(d);
    }
    member_walk_close(&w);
    return r == RES_TOO_MANY ? RES_OK : r;
}

static enum result next_drawn(struct elements *e, struct drawn_ahead *d, struct element *out)
{
    while (d->at < d->n) {
        struct slice key = drawn_at(d, d->order[d->at++]);
        bool has = false;
        enum result r = member_has(e, key, &has);
        if (r != RES_OK)
            return r;
        if (has)
            return keep_copy(e, &(struct element){.key = key}, out);
    }
    return RES_NOT_FOUND;
}

enum result member_random_to_take(struct elements *e, struct element *out)
{
    struct drawn_ahead *d = &store_of(e->c)->drawn;
    if (!(e->c->mode & CALL_LATCHED) || !e->pieces || e->count < AHEAD_LEAST)
        return member_random(e, NULL, out);
    bool again = d->id == e->id && d->count == e->count;
    enum result r = RES_NOT_FOUND;
    *out = (struct element){.expire_ms = 0};
    if (!again)
        forget_drawn(d);
    else if (d->at == d->n)
        r = draw_ahead(e, d);
    if (again && (r == RES_OK || r == RES_NOT_FOUND))
        r = next_drawn(e, d, out);
    if (r == RES_NOT_FOUND)
        r = member_random(e, NULL, out);
    d->id = e->id;
    d->count = e->count - 1;
    return r;
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
struct drawn {
    struct slice *slots; /* data NULL: free */
    uint64_t mask;
};

/* False: it is there already. */
static bool drawn_add(const struct elements *e, struct drawn *d, struct slice member)
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
    struct drawn d = {.mask = 15};
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

/* The linearizability checker: see linear.h. */
#include "tests/lib/linear.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state {
    uint64_t done; /* bit i: operation i has taken effect */
    int64_t reg[LINEAR_KEYS];
    uint64_t expiring; /* bit i: register i has a time at which it goes */
};

/* What was tried: an open hash table that grows. */
struct seen {
    struct state *slot;
    size_t cap, count;
};

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= UINT64_C(0x7fb5d329728ea185);
    x ^= x >> 27;
    x *= UINT64_C(0x81dadef4bc2dd44d);
    return x ^ (x >> 33);
}

static uint64_t state_hash(const struct state *s)
{
    uint64_t h = mix(mix(s->done + 1) + s->expiring);
    for (int i = 0; i < LINEAR_KEYS; i++)
        h = mix(h ^ (uint64_t)s->reg[i]);
    return h;
}

static void seen_put(struct seen *t, const struct state *s)
{
    size_t at = state_hash(s) & (t->cap - 1);
    while (t->slot[at].done)
        at = (at + 1) & (t->cap - 1);
    t->slot[at] = *s;
}

/* True when it is new. A state with nothing done is never asked for. */
static bool seen_add(struct seen *t, const struct state *s)
{
    if (t->count * 2 >= t->cap) {
        struct seen bigger = {NULL, t->cap ? t->cap * 2 : 1024, t->count};
        bigger.slot = calloc(bigger.cap, sizeof *bigger.slot);
        assert(bigger.slot != NULL);
        for (size_t i = 0; i < t->cap; i++)
            if (t->slot[i].done)
                seen_put(&bigger, &t->slot[i]);
        free(t->slot);
        *t = bigger;
    }
    size_t at = state_hash(s) & (t->cap - 1);
    for (; t->slot[at].done; at = (at + 1) & (t->cap - 1))
        if (memcmp(&t->slot[at], s, sizeof *s) == 0)
            return false;
    t->slot[at] = *s;
    t->count++;
    return true;
}

static bool shows_all(const struct linear_op *o)
{
    return o->kind == LINEAR_MGET || o->kind == LINEAR_LOOK || o->kind == LINEAR_EXEC;
}

/* An expiring register goes at a moment nobody is told: it is taken to be the first at which a result says that it is
 * gone. */
static bool shows_nil(const struct linear_op *o)
{
    switch (o->kind) {
    case LINEAR_GET:
        return o->result[0] == LINEAR_NIL;
    case LINEAR_SETNX:
        return o->result[0] == 1;
    case LINEAR_INCR:
        return o->result[0] == 1;
    case LINEAR_DEL:
    case LINEAR_PERSIST:
        return o->result[0] == 0;
    case LINEAR_CAS:
        return o->result[0] == 1 && o->first == LINEAR_NIL;
    case LINEAR_EXEC:
        return o->first == 1;
    default:
        return false;
    }
}

static void expire(const struct linear_op *o, struct state *s)
{
    for (int i = 0; i < LINEAR_KEYS; i++) {
        bool nil = i == o->key && shows_nil(o);
        if (shows_all(o)) /* of what EXEC itself has written there is always something */
            nil |= o->result[i] == LINEAR_NIL;
        if (nil && s->expiring >> i & 1) {
            s->reg[i] = LINEAR_NIL;
            s->expiring &= ~(UINT64_C(1) << i);
        }
    }
}

/* Takes effect on the registers; false when its result would have been another. Without a reply any result fits. */
static bool apply(const struct linear_op *o, struct state *s)
{
    bool known = o->replied != 0;
    uint64_t bit = UINT64_C(1) << o->key;
    if (known)
        expire(o, s);
    int64_t *r = &s->reg[o->key], old = *r;
    switch (o->kind) {
    case LINEAR_GET:
        return !known || o->result[0] == old;
    case LINEAR_SET:
    case LINEAR_SETEX:
        *r = o->value;
        s->expiring = o->kind == LINEAR_SETEX ? s->expiring | bit : s->expiring & ~bit;
        return true;
    case LINEAR_SETNX:
        if (old == LINEAR_NIL)
            *r = o->value;
        return !known || o->result[0] == (old == LINEAR_NIL);
    case LINEAR_INCR:
        *r = old == LINEAR_NIL ? 1 : old + 1;
        return !known || o->result[0] == *r;
    case LINEAR_DEL:
        *r = LINEAR_NIL;
        s->expiring &= ~bit;
        return !known || o->result[0] == (old != LINEAR_NIL);
    case LINEAR_PERSIST: {
        bool was = s->expiring & bit;
        s->expiring &= ~bit;
        return !known || o->result[0] == was;
    }
    case LINEAR_EXEC:
        *r = old == LINEAR_NIL ? 1 : old + 1;
        s->reg[linear_next(o->key)] = o->value;
        s->expiring &= ~(UINT64_C(1) << linear_next(o->key));
        return !known || (o->first == *r && memcmp(o->result, s->reg, sizeof o->result) == 0);
    case LINEAR_CAS:
        if (known && o->result[0] == 0)
            return true; /* that somebody touched the register is not told by its value */
        if (old != o->first)
            return !known;
        *r = s->reg[linear_next(o->key)] = o->value;
        s->expiring &= ~(bit | UINT64_C(1) << linear_next(o->key));
        return true;
    case LINEAR_MGET:
    case LINEAR_LOOK:
        return !known || memcmp(o->result, s->reg, sizeof o->result) == 0;
    case LINEAR_MSET:
        for (int i = 0; i < LINEAR_KEYS; i++)
            s->reg[i] = o->value;
        s->expiring = 0;
        return true;
    }
    return false;
}

struct search {
    const struct linear_op *ops;
    size_t count;
    uint64_t wanted; /* operations with a reply */
    struct seen seen;
    uint64_t best; /* the most that could be done */
};

/* Has an earlier one of the same client not taken effect yet? */
static bool too_early(const struct search *x, uint64_t done, size_t i)
{
    const struct linear_op *o = &x->ops[i];
    for (size_t k = 0; o->client && k < x->count; k++)
        if (!(done >> k & 1) && x->ops[k].client == o->client && x->ops[k].called < o->called)
            return true;
    return false;
}

static bool go_on(struct search *x, const struct state *s)
{
    if ((s->done & x->wanted) == x->wanted)
        return true;
    uint64_t earliest = UINT64_MAX;
    for (size_t i = 0; i < x->count; i++)
        if (!(s->done >> i & 1) && x->ops[i].replied && x->ops[i].replied < earliest)
            earliest = x->ops[i].replied;
    for (size_t i = 0; i < x->count; i++) {
        if (s->done >> i & 1 || x->ops[i].called > earliest || too_early(x, s->done, i))
            continue;
        struct state next = *s;
        next.done |= UINT64_C(1) << i;
        if (!apply(&x->ops[i], &next) || !seen_add(&x->seen, &next))
            continue;
        if (__builtin_popcountll(next.done & x->wanted) > __builtin_popcountll(x->best & x->wanted))
            x->best = next.done;
        if (go_on(x, &next))
            return true;
    }
    return false;
}

void linear_print(const struct linear_op *o, char *out, size_t room)
{
    static const char *const name[] = {"GET",  "SET",   "SETNX", "INCR", "DEL", "MGET",
                                       "MSET", "SETEX", "EXEC",  "LOOK", "CAS", "PERSIST"};
    int n = snprintf(out, room, "[%llu..%llu] client %d %s %d %lld (%lld) ->", (unsigned long long)o->called,
                     (unsigned long long)o->replied, o->client, name[o->kind], o->key, (long long)o->value,
                     (long long)o->first);
    for (int i = 0; n > 0 && (size_t)n < room && i < (shows_all(o) ? LINEAR_KEYS : 1); i++) {
        if (!o->replied)
            n += snprintf(out + n, room - (size_t)n, " ?");
        else if (o->result[i] == LINEAR_NIL)
            n += snprintf(out + n, room - (size_t)n, " nil");
        else
            n += snprintf(out + n, room - (size_t)n, " %lld", (long long)o->result[i]);
    }
}

static int compare_hints(const void *a, const void *b)
{
    const struct linear_op *x = a, *y = b;
    return x->hint != y->hint ? (x->hint > y->hint) - (x->hint < y->hint)
                              : (x->called > y->called) - (x->called < y->called);
}

bool linear_check(const struct linear_op *given, size_t count, char *why, size_t room)
{
    assert(count <= LINEAR_OPS);
    struct linear_op ops[LINEAR_OPS];
    memcpy(ops, given, count * sizeof *ops);
    qsort(ops, count, sizeof *ops, compare_hints);
    struct search x = {.ops = ops, .count = count};
    struct state start;
    memset(&start, 0, sizeof start);
    for (int i = 0; i < LINEAR_KEYS; i++)
        start.reg[i] = LINEAR_NIL;
    for (size_t i = 0; i < count; i++) {
        assert(!ops[i].replied || ops[i].called < ops[i].replied);
        x.wanted |= (uint64_t)(ops[i].replied != 0) << i;
    }
    bool ok = go_on(&x, &start);
    size_t n = 0;
    if (room)
        why[0] = 0;
    for (size_t i = 0; !ok && i < count && n < room; i++) {
        char text[256];
        linear_print(&ops[i], text, sizeof text);
        n += (size_t)snprintf(why + n, room - n, "%s%s\n", x.best >> i & 1 ? "  " : "! ", text);
    }
    free(x.seen.slot);
    return ok;
}

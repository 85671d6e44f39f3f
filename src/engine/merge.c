/* The merging iterator: a binary heap over its children, the newest source of equal keys on top.
 *
 * 1. Every child in the heap stands on a record beyond (in the direction of movement) what was shown last; children out
 *    of the heap are at their end.
 * 2. The merge stands on the record of heap[0]. Other children may stand on the same key: they are older, and are moved
 *    past it only when the merge moves on. All of them are found at heap[1] or heap[2], which are least in their halves.
 * 3. A move that fails leaves the merge standing nowhere with an empty heap, until the next seek.
 *
 * A child that goes on giving the least key (a run of sequential keys) costs two comparisons a step; one child alone
 * costs none. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include "engine/engine.h"

#define SKIP_MOST 4096 /* tombstones that a caller who may not wait is led over: some 0.3 ms */

struct merge {
    struct iter it;
    struct iter **heap;
    struct iter **children; /* newest first */
    size_t n, live;
    bool forward, show_tombstones;
    unsigned patience; /* so many tombstones may still be skipped; UINT_MAX: any number */
    void (*on_close)(void *arg);
    void *arg;
    uint8_t place[ENGINE_KEY_MAX]; /* a copy of the key to seek to while children move */
};

static size_t rank(const struct merge *m, const struct iter *child)
{
    size_t i = 0;
    while (m->children[i] != child)
        i++;
    return i;
}

/* Does a come before b? Equal keys are rare between sources, so their order is looked up only then. */
static bool before(const struct merge *m, const struct iter *a, const struct iter *b)
{
    int c = slice_cmp(a->key, b->key);
    if (c == 0)
        return rank(m, a) < rank(m, b);
    return m->forward ? c < 0 : c > 0;
}

static void sift_down(struct merge *m, size_t i)
{
    struct iter *moving = m->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= m->live)
            break;
        if (child + 1 < m->live && before(m, m->heap[child + 1], m->heap[child]))
            child++;
        if (!before(m, m->heap[child], moving))
            break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = moving;
}

static enum result fail(struct merge *m, enum result r)
{
    m->live = 0;
    return r;
}

/* Moves heap[i] one record on and puts it where it belongs. */
static enum result step(struct merge *m, size_t i)
{
    enum result r = m->forward ? iter_next(m->heap[i]) : iter_prev(m->heap[i]);
    if (r == RES_NOT_FOUND) {
        m->heap[i] = m->heap[--m->live];
        if (i == m->live)
            return RES_OK;
    } else if (r != RES_OK) {
        return r;
    }
    sift_down(m, i);
    return RES_OK;
}

/* Moves all children past the key of heap[0]. */
static enum result pass(struct merge *m)
{
    for (size_t i = 1; i <= 2; i++)
        while (i < m->live && slice_eq(m->heap[i]->key, m->heap[0]->key)) {
            enum result r = step(m, i);
            if (r != RES_OK)
                return r;
        }
    return step(m, 0);
}

/* Shows heap[0], after skipping what is deleted. */
static enum result settle(struct merge *m)
{
    while (m->live) {
        const struct iter *top = m->heap[0];
        if (top->kind != RECORD_DELETE || m->show_tombstones) {
            m->it.key = top->key;
            m->it.value = top->value;
            m->it.kind = top->kind;
            return RES_OK;
        }
        if (m->patience != UINT_MAX && m->patience-- == 0) {
            m->patience = 0;
            return fail(m, RES_WOULD_BLOCK);
        }
        enum result r = pass(m);
        if (r != RES_OK)
            return fail(m, r);
    }
    return RES_NOT_FOUND;
}

static void heapify(struct merge *m)
{
    for (size_t i = m->live / 2; i-- > 0;)
        sift_down(m, i);
}

/* The target may be a child's own key: it is copied before any child moves. */
static struct slice keep(struct merge *m, struct slice key)
{
    assert(key.len <= sizeof m->place);
    if (key.len)
        memcpy(m->place, key.data, key.len);
    return slice_of(m->place, key.len);
}

static enum result seek_all(struct merge *m, struct slice target, bool forward)
{
    target = keep(m, target);
    m->forward = forward;
    m->live = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct iter *c = m->children[i];
        enum result r = forward ? iter_seek(c, target) : iter_seek_last(c, target);
        if (r == RES_OK)
            m->heap[m->live++] = c;
        else if (r != RES_NOT_FOUND)
            return fail(m, r);
    }
    heapify(m);
    return settle(m);
}

static enum result merge_seek(struct iter *it, struct slice target)
{
    return seek_all((struct merge *)it, target, true);
}

static enum result merge_seek_last(struct iter *it, struct slice target)
{
    return seek_all((struct merge *)it, target, false);
}

/* Puts every child on the other side of the key shown now. The child that shows it only steps; what else stands on
 * the same key is older and is passed. */
static enum result turn(struct merge *m)
{
    struct iter *shown = m->heap[0];
    struct slice key = keep(m, shown->key);
    m->forward = !m->forward;
    m->live = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct iter *c = m->children[i];
        enum result r;
        if (c == shown)
            r = m->forward ? iter_next(c) : iter_prev(c);
        else if (!m->forward)
            r = iter_seek_last(c, key);
        else if ((r = iter_seek(c, key)) == RES_OK && slice_eq(c->key, key))
            r = iter_next(c);
        if (r == RES_OK)
            m->heap[m->live++] = c;
        else if (r != RES_NOT_FOUND)
            return fail(m, r);
    }
    heapify(m);
    return settle(m);
}

static enum result move(struct merge *m, bool forward)
{
    if (m->live == 0)
        return RES_NOT_FOUND;
    if (unlikely(m->forward != forward))
        return turn(m);
    enum result r = pass(m);
    return r == RES_OK ? settle(m) : fail(m, r);
}

static enum result merge_next(struct iter *it) { return move((struct merge *)it, true); }
static enum result merge_prev(struct iter *it) { return move((struct merge *)it, false); }

static void merge_close(struct iter *it)
{
    struct merge *m = (struct merge *)it;
    for (size_t i = 0; i < m->n; i++)
        iter_close(m->children[i]);
    if (m->on_close)
        m->on_close(m->arg);
    free(m);
}

static const struct iter_ops merge_ops = {
    .seek = merge_seek,
    .seek_last = merge_seek_last,
    .next = merge_next,
    .prev = merge_prev,
    .close = merge_close,
};

enum result iter_merge_with(struct iter **children, size_t n, int flags, void (*on_close)(void *arg), void *arg,
                            struct iter **out)
{
    struct merge *m = malloc(sizeof *m + 2 * n * sizeof(struct iter *));
    *out = NULL;
    if (!m) {
        for (size_t i = 0; i < n; i++)
            iter_close(children[i]);
        if (on_close)
            on_close(arg);
        return RES_NO_MEMORY;
    }
    *m = (struct merge){
        .it.ops = &merge_ops,
        .children = (struct iter **)(m + 1),
        .heap = (struct iter **)(m + 1) + n,
        .n = n,
        .forward = true,
        .show_tombstones = flags & ITER_TOMBSTONES,
        .patience = flags & ITER_NOWAIT ? SKIP_MOST : UINT_MAX,
        .on_close = on_close,
        .arg = arg,
    };
    if (n)
        memcpy(m->children, children, n * sizeof(struct iter *));
    *out = &m->it;
    return RES_OK;
}

enum result iter_merge(struct iter **children, size_t n, int flags, struct iter **out)
{
    return iter_merge_with(children, n, flags, NULL, NULL, out);
}

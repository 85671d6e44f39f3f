/* The array iterator and the merging iterator, against a model: an array with the newest record of each key. From every
 * position both ways, all seeks, turns in the middle, tombstones hidden and shown, errors passed on. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "engine/engine.h"

#define KEYS 60
#define SOURCES 7

static uint64_t rng_state;
static uint64_t below(uint64_t n) { return hash_mix(rng_state += 0x9e3779b97f4a7c15u) % n; }

static char names[KEYS][8];
static struct slice key_of(size_t i)
{
    snprintf(names[i], sizeof names[i], "k%03zu", i * 2); /* odd ones are between */
    return slice_str(names[i]);
}

struct world {
    struct iter_record records[SOURCES][KEYS];
    size_t counts[SOURCES];
    uint8_t values[SOURCES];
    struct iter_record newest[KEYS]; /* kind 0: none */
    struct iter_record shown[KEYS];
    size_t shown_count;
};

static void make_world(struct world *w, size_t sources, bool tombstones)
{
    memset(w, 0, sizeof *w);
    for (size_t s = sources; s-- > 0;) { /* newest first: the oldest is written first */
        w->values[s] = (uint8_t)('A' + s);
        unsigned percent = (unsigned)below(100);
        for (size_t i = 0; i < KEYS; i++) {
            if (below(100) >= percent)
                continue;
            struct iter_record r = {key_of(i), slice_of(&w->values[s], 1), below(3) ? RECORD_PUT : RECORD_DELETE};
            w->records[s][w->counts[s]++] = w->newest[i] = r;
        }
    }
    for (size_t i = 0; i < KEYS; i++)
        if (w->newest[i].kind == RECORD_PUT || (w->newest[i].kind && tombstones))
            w->shown[w->shown_count++] = w->newest[i];
}

static struct iter *merged(struct world *w, size_t sources, int flags)
{
    struct iter *children[SOURCES], *out;
    for (size_t s = 0; s < sources; s++)
        cr_assert_eq(iter_over_array(w->records[s], w->counts[s], slice_of(NULL, 0), slice_of(NULL, 0), &children[s]),
                     RES_OK);
    cr_assert_eq(iter_merge(children, sources, flags, &out), RES_OK);
    return out;
}

static void expect(enum result r, const struct iter *it, const struct iter_record *records, size_t n, int64_t at)
{
    if (at < 0 || at >= (int64_t)n) {
        cr_assert_eq(r, RES_NOT_FOUND, "%s", result_text(r));
        return;
    }
    cr_assert_eq(r, RES_OK);
    cr_assert(slice_eq(it->key, records[at].key));
    cr_assert(slice_eq(it->value, records[at].value));
    cr_assert_eq(it->kind, records[at].kind);
}

static int64_t model_seek(const struct iter_record *records, size_t n, struct slice target)
{
    size_t i = 0;
    while (i < n && target.len && slice_cmp(records[i].key, target) < 0)
        i++;
    return (int64_t)i;
}

/* Every seek with a random walk behind it. */
static void walk(struct iter *it, const struct iter_record *records, size_t n)
{
    char target[8];
    for (size_t t = 0; t <= 2 * KEYS + 1; t++) {
        snprintf(target, sizeof target, "k%03zu", t);
        struct slice s = t > 2 * KEYS ? slice_of(NULL, 0) : slice_str(target);
        bool forward = below(2);
        int64_t at = model_seek(records, n, s);
        if (!forward)
            at = s.len ? at - 1 : (int64_t)n - 1;
        expect(forward ? iter_seek(it, s) : iter_seek_last(it, s), it, records, n, at);
        for (int steps = 12; steps && at >= 0 && at < (int64_t)n; steps--) {
            bool next = below(2);
            at += next ? 1 : -1;
            expect(next ? iter_next(it) : iter_prev(it), it, records, n, at);
        }
    }
}

Test(iter, array_goes_both_ways_from_everywhere)
{
    struct world w;
    struct iter *it;
    rng_state = 1;
    for (int round = 0; round < 20; round++) {
        make_world(&w, 1, true);
        cr_assert_eq(iter_over_array(w.records[0], w.counts[0], slice_of(NULL, 0), slice_of(NULL, 0), &it), RES_OK);
        walk(it, w.records[0], w.counts[0]);
        iter_close(it);
    }
}

Test(iter, array_keeps_its_bounds)
{
    struct world w;
    struct iter *it;
    rng_state = 2;
    for (int round = 0; round < 50; round++) {
        make_world(&w, 1, true);
        char lower[8], upper[8];
        size_t lo = below(2 * KEYS), hi = lo + below(2 * KEYS - lo + 1);
        snprintf(lower, sizeof lower, "k%03zu", lo);
        snprintf(upper, sizeof upper, "k%03zu", hi);
        int64_t from = model_seek(w.records[0], w.counts[0], slice_str(lower));
        int64_t to = model_seek(w.records[0], w.counts[0], slice_str(upper));
        cr_assert_eq(iter_over_array(w.records[0], w.counts[0], slice_str(lower), slice_str(upper), &it), RES_OK);
        walk(it, w.records[0] + from, (size_t)(to - from));
        iter_close(it);
    }
}

Test(iter, merge_shows_the_newest_both_ways)
{
    struct world w;
    rng_state = 3;
    for (int round = 0; round < 140; round++) {
        size_t sources = (size_t)round % (SOURCES + 1);
        bool tombstones = below(2);
        make_world(&w, sources, tombstones);
        struct iter *it = merged(&w, sources, tombstones ? ITER_TOMBSTONES : 0);
        walk(it, w.shown, w.shown_count);
        iter_close(it);
    }
}

Test(iter, merge_may_be_given_its_own_key)
{
    struct world w;
    rng_state = 4;
    make_world(&w, SOURCES, true);
    struct iter *it = merged(&w, SOURCES, ITER_TOMBSTONES);
    cr_assert_eq(iter_seek(it, slice_of(NULL, 0)), RES_OK);
    for (size_t i = 0; i + 1 < w.shown_count; i++) {
        expect(iter_seek(it, it->key), it, w.shown, w.shown_count, (int64_t)i);
        expect(iter_next(it), it, w.shown, w.shown_count, (int64_t)i + 1);
    }
    iter_close(it);
}

/* ---- a child that fails ---- */

struct failing {
    struct iter it;
    int moves_left;
    enum result how;
    int *closed;
    char key[16];
    int at;
};

static enum result failing_move(struct iter *it, int step)
{
    struct failing *f = (struct failing *)it;
    if (f->moves_left-- <= 0)
        return f->how;
    f->at += step;
    snprintf(f->key, sizeof f->key, "k%03d", f->at);
    it->key = slice_str(f->key);
    it->kind = RECORD_PUT;
    return RES_OK;
}
static enum result failing_seek(struct iter *it, struct slice target)
{
    (void)target;
    return failing_move(it, 1);
}
static enum result failing_next(struct iter *it) { return failing_move(it, 1); }
static enum result failing_prev(struct iter *it) { return failing_move(it, -1); }
static void failing_close(struct iter *it)
{
    ++*((struct failing *)it)->closed;
    free(it);
}
static const struct iter_ops failing_ops = {failing_seek, failing_seek, failing_next, failing_prev, failing_close};

static struct iter *failing_new(int moves, enum result how, int *closed)
{
    struct failing *f = calloc(1, sizeof *f);
    f->it.ops = &failing_ops;
    f->moves_left = moves;
    f->how = how;
    f->closed = closed;
    f->at = 500;
    return &f->it;
}

Test(iter, merge_passes_errors_on_and_stands_nowhere)
{
    for (int moves = 0; moves < 5; moves++)
        for (int how = 0; how < 2; how++) {
            int closed = 0;
            enum result error = how ? RES_CORRUPT : RES_WOULD_BLOCK;
            struct iter *children[2] = {failing_new(moves, error, &closed), failing_new(1000, RES_IO, &closed)}, *it;
            cr_assert_eq(iter_merge(children, 2, 0, &it), RES_OK);
            enum result r = iter_seek(it, slice_of(NULL, 0));
            for (int i = 0; i < 20 && r == RES_OK; i++)
                r = iter_next(it);
            cr_assert_eq(r, error);
            cr_assert_eq(iter_next(it), RES_NOT_FOUND);
            cr_assert_eq(iter_prev(it), RES_NOT_FOUND);
            iter_close(it);
            cr_assert_eq(closed, 2);
        }
}

static void note_close(void *arg) { ++*(int *)arg; }

Test(iter, merge_closes_its_anchor_after_its_children)
{
    int closed = 0;
    struct iter *child = failing_new(0, RES_NOT_FOUND, &closed), *it;
    cr_assert_eq(iter_merge_with(&child, 1, 0, note_close, &closed, &it), RES_OK);
    cr_assert_eq(iter_seek(it, slice_of(NULL, 0)), RES_NOT_FOUND);
    iter_close(it);
    cr_assert_eq(closed, 2);
    cr_assert_eq(iter_merge_with(NULL, 0, 0, note_close, &closed, &it), RES_OK);
    cr_assert_eq(iter_seek_last(it, slice_of(NULL, 0)), RES_NOT_FOUND);
    iter_close(it);
    cr_assert_eq(closed, 3);
}

Test(iter, engine_hash_is_part_of_the_format)
{
    /* XXH3_64 of nothing and of "varve": a change makes every table unreadable. */
    cr_assert_eq(engine_hash(slice_of(NULL, 0)), 0x2d06800538d394c2u);
    uint64_t h = engine_hash(SLICE_LIT("varve"));
    cr_assert_eq((uint32_t)h, checksum32("varve", 5, 0) ^ checksum32_bind(0, 0));
}

/* Who may not wait is not led over thousands of tombstones, but told so; who may wait finds what lies behind. */
Test(iter, merge_gives_up_among_tombstones_when_it_may_not_wait)
{
    enum { DEAD = 9000 };
    static char text[DEAD + 1][12];
    static struct iter_record records[DEAD + 1];
    for (int i = 0; i <= DEAD; i++) {
        snprintf(text[i], sizeof text[i], "k%06d", i);
        records[i] = (struct iter_record){slice_str(text[i]), slice_of(NULL, 0), i < DEAD ? RECORD_DELETE : RECORD_PUT};
    }
    static const int flags[] = {0, ITER_NOWAIT, ITER_NOWAIT | ITER_TOMBSTONES};
    static const enum result first[] = {RES_OK, RES_WOULD_BLOCK, RES_OK};
    for (int k = 0; k < 3; k++) {
        struct iter *child, *it;
        cr_assert_eq(iter_over_array(records, DEAD + 1, slice_of(NULL, 0), slice_of(NULL, 0), &child), RES_OK);
        cr_assert_eq(iter_merge(&child, 1, flags[k], &it), RES_OK);
        cr_assert_eq(iter_seek(it, slice_of(NULL, 0)), first[k]);
        cr_assert_eq(iter_next(it), k == 2 ? RES_OK : RES_NOT_FOUND);
        if (k == 1) { /* near the end there is little to be led over, and once it is too much for all moves together */
            cr_assert_eq(iter_seek(it, slice_of(text[DEAD], 7)), RES_OK);
            cr_assert_eq(iter_seek(it, slice_of(text[DEAD - 1], 7)), RES_WOULD_BLOCK);
        }
        iter_close(it);
    }
}

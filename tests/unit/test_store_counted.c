/* Counted trees, with leaves of 8 elements and nodes of 4 children, so that few elements make many levels. What must hold,
 * after any row of insertions, deletions and steps of building:
 *   - every node counts what lies in its range, its children are as many as it says, and it begins where the first does;
 *   - the number of elements before any key, and the place of any rank, are those of a sorted array. */
#define COUNTED_LEAF 8
#define COUNTED_FAN 4
#define counted_change small_change
#define counted_before small_before
#define counted_find small_find
#define counted_extend small_extend
#include "store/counted.c"

#include <stdio.h>
#include <stdlib.h>

#include "os/env_memory.h"
#include "store/zset.h"
#include "tests/lib/talk.h"
#include "tests/lib/tap.h"

#define KEYS 700
static struct talk t;
static uint64_t seed = 9;
static uint64_t draw(uint64_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return below ? (seed >> 24) % below : 0;
}

/* Key number i, in order; a third of them are long and share a cut with their neighbours. */
static struct slice key_of(unsigned i)
{
    static uint8_t bytes[KEYS][460];
    uint8_t *p = bytes[i];
    memset(p, 'k', sizeof bytes[i]);
    put_be64(p, i / 3 % 3 ? i : i / 9 * 9);
    put_be64(p + 450, i);
    return slice_of(p, i / 3 % 3 ? 8 + i % 5 : 458);
}

static struct {
    bool there[KEYS];
    struct counted state;
} model;

static uint64_t before(unsigned key)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < key; i++)
        n += model.there[i];
    return n;
}

static uint64_t between(struct slice from, struct slice to)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < KEYS; i++)
        n += model.there[i] && slice_cmp(key_of(i), from) >= 0 && (!to.len || slice_cmp(key_of(i), to) < 0);
    return n;
}

/* ---- the tree against the array ---- */

struct level {
    struct node node[KEYS];
    size_t n;
};

static void read_level(const struct counted_tree *tree, uint8_t level, struct level *out)
{
    struct iter *it;
    out->n = 0;
    tap_require(nodes_from(tree, level, slice_of(NULL, 0), &it) == RES_OK);
    for (enum result r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it))
        tap_require(node_read(it, &out->node[out->n++]) == RES_OK);
    iter_close(it);
}

static void check_shape(const struct counted_tree *tree)
{
    static struct level here, below;
    struct slice end = slice_of(NULL, 0);
    if (!tree->state->whole)
        tap_require(end_get(tree, &end) == RES_OK);
    for (uint8_t l = 0; l < tree->state->levels; l++) {
        read_level(tree, l, &here);
        tap_check(here.n > 0 && here.node[0].len == 0);
        size_t child = 0;
        for (size_t i = 0; i < here.n; i++) {
            struct slice to = i + 1 < here.n ? boundary_of(&here.node[i + 1]) : end;
            uint64_t sum = 0;
            if (!l) {
                tap_eq_u64(here.node[i].count, between(boundary_of(&here.node[i]), to));
                continue;
            }
            tap_check(child < below.n && slice_eq(boundary_of(&below.node[child]), boundary_of(&here.node[i])));
            for (uint64_t n = 0; n < here.node[i].children && child < below.n; n++)
                sum += below.node[child++].count;
            tap_eq_u64(here.node[i].count, sum);
            tap_check(l + 1 == tree->state->levels || here.node[i].children <= COUNTED_FAN);
        }
        tap_check(!l || child == below.n);
        if (l + 1 == tree->state->levels)
            tap_eq_u64(here.n, tree->state->top);
        below = here;
    }
}

static void check_searches(const struct counted_tree *tree)
{
    uint8_t base[COUNTED_CUT];
    size_t len;
    uint64_t n, all = before(KEYS), rank = draw(all + 1);
    unsigned key = (unsigned)draw(KEYS);
    tap_require(counted_before(tree, key_of(key), &n, base, &len) == RES_OK);
    tap_eq_u64(n + between(slice_of(base, len), key_of(key)), before(key));
    tap_require(counted_find(tree, rank, &n, base, &len) == RES_OK);
    tap_check(n <= rank && n == between(slice_of(NULL, 0), slice_of(base, len)) * (len > 0));
}

/* ---- a row of changes, in one run ---- */

static enum result change(struct elements *e, const struct counted_tree *tree, unsigned i)
{
    struct engine_key key;
    struct element in = {.expire_ms = 0};
    enum result r = piece_key(e, SUBSPACE_SCORES, key_of(i), &key);
    if (r == RES_OK)
        r = model.there[i] ? piece_delete(e, &key) : piece_put(e, &key, &in, false);
    model.there[i] = !model.there[i];
    return r == RES_OK ? counted_change(tree, key_of(i), model.there[i] ? 1 : -1) : r;
}

static enum result many_changes(struct call *c)
{
    struct store_key key;
    struct object o;
    struct elements e;
    enum result r = store_key_init(c, 0, SLICE_LIT("counted"), &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r != RES_OK)
        return r;
    elements_replace(&e, c, &o, &elements_of_zset, ENCODING_SKIPLIST);
    r = elements_spill(&e);
    struct counted_tree tree = {&e, &model.state, SUBSPACE_SCORES};
    unsigned most = 0;
    for (unsigned i = 0; r == RES_OK && i < 5000; i++) {
        bool growing = i / 1250 % 2 == 0;
        unsigned k = (unsigned)(draw(3) ? draw(KEYS) : i % KEYS);
        if (model.there[k] != growing || !draw(5))
            r = change(&e, &tree, k);
        if (r == RES_OK && i > 600 && !model.state.whole && !draw(100))
            r = counted_extend(&tree);
        if (r != RES_OK || !model.state.levels)
            continue;
        if (model.state.levels > most)
            most = model.state.levels;
        check_searches(&tree);
        if (!draw(50))
            check_shape(&tree);
    }
    tap_check(most >= 4 && model.state.whole);
    return r;
}

static void trees_count_what_is_there(void)
{
    struct env *env = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    talk_call(&t, many_changes, NULL, RES_OK);
    talk_close(&t);
    env_memory_free(env);
}

int main(void)
{
    tap_test(trees_count_what_is_there);
    return tap_done();
}

/* The memtable against a model: an array of all writes. For any snapshot, a look-up finds the newest version at or
 * below it, and an iterator, forth, back and with changes of direction, shows exactly the keys that have one, in order,
 * in all regions, while the order is built in steps. */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/epoch.h"
#include "front/memtable.h"

#define KEYS 400
#define WRITES 3000

struct write {
    int key;
    uint64_t sequence;
    uint8_t kind;
    char value[24];
};
static struct write writes[WRITES];
static int written;
static char names[KEYS][32];
static size_t name_len[KEYS];
static int by_order[KEYS];
static unsigned long long seed = 1;

static unsigned draw(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static struct slice name(int key) { return slice_of(names[key], name_len[key]); }

static struct engine_key key_of(int key)
{
    uint64_t h = 1469598103934665603u; /* any hash will do: some collide on purpose */
    for (size_t i = 0; i < name_len[key]; i++)
        h = (h ^ (unsigned char)names[key][i]) * 1099511628211u;
    return (struct engine_key){name(key), key % 7 == 0 ? 42 : h};
}

static int cmp_names(const void *a, const void *b) { return slice_cmp(name(*(const int *)a), name(*(const int *)b)); }

static void make_names(void)
{
    static const char regions[] = "EGMMMMSX";
    for (int i = 0; i < KEYS; i++) {
        int n = snprintf(names[i], sizeof names[i], "%c%0*d", regions[i % 8], 1 + (int)draw(14), i);
        if (i % 16 == 2) { /* short keys and zeros: prefixes of one another */
            n = 1 + i / 16 % 12;
            names[i][0] = 'M';
            memset(names[i] + 1, 0, (size_t)n);
            n = n == 12 ? 20 : n;
        }
        name_len[i] = (size_t)n;
        by_order[i] = i;
        for (int j = 0; j < i; j++)
            if (slice_eq(name(i), name(j))) {
                names[i][0] = 'X';
                name_len[i] = (size_t)snprintf(names[i] + 1, 20, "again%d", i) + 1;
            }
    }
    qsort(by_order, KEYS, sizeof(int), cmp_names);
}

static const struct write *model_get(int key, uint64_t snapshot)
{
    for (int i = written - 1; i >= 0; i--)
        if (writes[i].key == key && writes[i].sequence <= snapshot)
            return &writes[i];
    return NULL;
}

static uint64_t settled_behind; /* 0: nothing is settled */

static void put_some(struct memtable *m, int n, uint64_t *sequence)
{
    for (; n > 0; n--) {
        m->settled = settled_behind && *sequence > settled_behind ? *sequence - settled_behind : 0;
        struct write *w = &writes[written++];
        w->key = (int)draw(KEYS);
        w->sequence = ++*sequence;
        w->kind = draw(4) ? RECORD_PUT : RECORD_DELETE;
        snprintf(w->value, sizeof w->value, "v%d", written);
        struct engine_key key = key_of(w->key);
        memtable_insert(m, &key, w->kind, slice_of(w->value, w->kind == RECORD_PUT ? strlen(w->value) : 0),
                        w->sequence);
    }
}

static void check_gets(struct memtable *m, uint64_t snapshot)
{
    for (int k = 0; k < KEYS; k++) {
        struct engine_key key = key_of(k);
        const struct write *want = model_get(k, snapshot);
        uint8_t kind = 0;
        struct slice value;
        cr_assert_eq(memtable_get(m, &key, snapshot, &kind, &value), want != NULL);
        if (want) {
            cr_assert_eq(kind, want->kind);
            cr_assert(slice_eq(value, want->kind == RECORD_PUT ? slice_str(want->value) : slice_of(NULL, 0)));
        }
    }
}

static void expect(struct iter *it, enum result got, int at, const int *visible, int n, uint64_t snapshot)
{
    if (at < 0 || at >= n) {
        cr_assert_eq(got, RES_NOT_FOUND);
        return;
    }
    cr_assert_eq(got, RES_OK);
    cr_assert(slice_eq(it->key, name(visible[at])));
    const struct write *want = model_get(visible[at], snapshot);
    cr_assert_eq(it->kind, want->kind);
    cr_assert(slice_eq(it->value, want->kind == RECORD_PUT ? slice_str(want->value) : slice_of(NULL, 0)));
}

static void check_iter(struct memtable *m, uint64_t snapshot, int low, int high)
{
    int visible[KEYS], n = 0;
    struct slice lower = low < 0 ? slice_of(NULL, 0) : name(by_order[low]);
    struct slice upper = high < 0 ? slice_of(NULL, 0) : name(by_order[high]);
    for (int i = low < 0 ? 0 : low; i < (high < 0 ? KEYS : high); i++)
        if (model_get(by_order[i], snapshot))
            visible[n++] = by_order[i];
    struct iter *it;
    cr_assert_eq(memtable_iter(m, snapshot, lower, upper, 0, &it), RES_OK);
    expect(it, iter_seek(it, slice_of(NULL, 0)), 0, visible, n, snapshot);
    for (int i = 1; i <= n; i++)
        expect(it, iter_next(it), i, visible, n, snapshot);
    expect(it, iter_seek_last(it, slice_of(NULL, 0)), n - 1, visible, n, snapshot);
    for (int i = n - 2; i >= -1; i--)
        expect(it, iter_prev(it), i, visible, n, snapshot);
    for (int round = 0; round < 40; round++) { /* random seeks, then a random walk */
        struct slice target = name(by_order[draw(KEYS)]);
        int at = 0;
        while (at < n && slice_cmp(name(visible[at]), target) < 0)
            at++;
        if (round % 2 == 0) {
            expect(it, iter_seek(it, target), at, visible, n, snapshot);
        } else {
            at--;
            expect(it, iter_seek_last(it, target), at, visible, n, snapshot);
        }
        for (int step = 0; step < 12 && at >= 0 && at < n; step++) {
            bool forward = draw(2);
            at += forward ? 1 : -1;
            expect(it, forward ? iter_next(it) : iter_prev(it), at, visible, n, snapshot);
        }
    }
    iter_close(it);
}

Test(memtable, agrees_with_the_model_at_every_snapshot)
{
    make_names();
    struct memtable *m = memtable_new(1 << 20, 1 << 20);
    for (int life = 0; life < 2; life++) {
        uint64_t sequence = 0;
        written = 0;
        while (written < WRITES) {
            put_some(m, WRITES / 12, &sequence);
            for (int i = 0; i < 3; i++) {
                uint64_t snapshot = i == 0 ? sequence : draw((unsigned)sequence + 1);
                check_gets(m, snapshot);
                check_iter(m, snapshot, -1, -1);
                int a = (int)draw(KEYS), b = (int)draw(KEYS);
                check_iter(m, snapshot, a < b ? a : b, a < b ? b : a);
            }
        }
        cr_assert_eq(memtable_order(m), RES_OK);
        check_iter(m, UINT64_MAX, -1, -1);
        memtable_reset(m);
        cr_assert(memtable_empty(m));
    }
    memtable_free(m);
}

Test(memtable, opening_without_waiting_refuses_a_long_unordered_tail)
{
    struct memtable *m = memtable_new(4 << 20, 1 << 20);
    for (unsigned i = 0; i < 5000; i++) {
        char text[16];
        struct engine_key key = {slice_of(text, (size_t)snprintf(text, sizeof text, "M%08u", i * 7919 % 5003)),
                                 i * 0x9e3779b97f4a7c15u};
        memtable_insert(m, &key, RECORD_PUT, slice_of(NULL, 0), i + 1);
    }
    struct iter *it;
    cr_assert_eq(memtable_iter(m, 5000, slice_of(NULL, 0), slice_of(NULL, 0), ITER_NOWAIT, &it), RES_WOULD_BLOCK);
    cr_assert_eq(memtable_iter(m, 5000, SLICE_LIT("X"), slice_of(NULL, 0), ITER_NOWAIT, &it), RES_OK);
    iter_close(it);
    cr_assert_eq(memtable_iter(m, 5000, slice_of(NULL, 0), slice_of(NULL, 0), 0, &it), RES_OK);
    iter_close(it);
    cr_assert_eq(memtable_iter(m, 5000, slice_of(NULL, 0), slice_of(NULL, 0), ITER_NOWAIT, &it), RES_OK);
    unsigned n = 0;
    for (enum result r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it))
        n++;
    cr_assert_eq(n, 5000);
    iter_close(it);
    memtable_free(m);
}

static uint64_t put_elements(struct memtable *m, unsigned from, unsigned to, int order, uint64_t sequence)
{
    for (unsigned i = from; i < to; i++) {
        unsigned x = order == 0  ? i * 7919 % 100003
                     : order > 0 ? i
                                 : 100000 - i; /* three objects, all long names alike */
        char text[64];
        int n = snprintf(text, sizeof text, "E%c000000000000000000000%06u", "abc"[order == 0 ? i % 3 : 0], x);
        struct engine_key key = {slice_of(text, (size_t)n), i * 0x9e3779b97f4a7c15u};
        memtable_insert(m, &key, RECORD_PUT, slice_of(text, 2), ++sequence);
    }
    return sequence;
}

static size_t walk_elements(struct memtable *m, uint64_t snapshot, int flags)
{
    struct iter *it;
    char last[64] = "";
    size_t n = 0, back = 0;
    cr_assert_eq(memtable_iter(m, snapshot, SLICE_LIT("E"), SLICE_LIT("F"), flags, &it), RES_OK);
    for (enum result r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it), n++) {
        cr_assert(slice_cmp(slice_str(last), it->key) < 0);
        snprintf(last, sizeof last, "%.*s", (int)it->key.len, (const char *)it->key.data);
    }
    for (enum result r = iter_seek_last(it, slice_of(NULL, 0)); r == RES_OK; r = iter_prev(it), back++) {
        cr_assert(back == 0 || slice_cmp(it->key, slice_str(last)) < 0);
        snprintf(last, sizeof last, "%.*s", (int)it->key.len, (const char *)it->key.data);
    }
    cr_assert_eq(n, back);
    iter_close(it);
    return n;
}

Test(memtable, many_new_elements_become_a_run_and_few_go_into_the_skiplist)
{
    for (int order = -1; order <= 1; order++) {
        struct memtable *m = memtable_new(8 << 20, 1 << 20);
        struct iter *it;
        uint64_t sequence = put_elements(m, 0, 5000, order, 0);
        cr_assert_eq(memtable_iter(m, sequence, SLICE_LIT("E"), SLICE_LIT("F"), ITER_NOWAIT, &it), RES_WOULD_BLOCK);
        cr_assert_eq(memtable_iter(m, sequence, SLICE_LIT("X"), slice_of(NULL, 0), ITER_NOWAIT, &it), RES_OK);
        iter_close(it);
        cr_assert_eq(walk_elements(m, sequence, 0), 5000);
        for (unsigned at = 5000; at < 7000; at += 400) {
            sequence = put_elements(m, at, at + 400, order, sequence);
            cr_assert_eq(walk_elements(m, sequence, ITER_NOWAIT), at + 400);
            cr_assert_eq(walk_elements(m, sequence - 399, ITER_NOWAIT), at + 1);
        }
        sequence = put_elements(m, 7000, 9000, order, sequence);
        cr_assert_eq(walk_elements(m, sequence, 0), 9000);
        cr_assert_eq(walk_elements(m, 3000, 0), 3000);
        cr_assert_eq(memtable_order(m), RES_OK);
        cr_assert_eq(walk_elements(m, UINT64_MAX, ITER_NOWAIT), 9000);
        memtable_free(m);
    }
}

static unsigned number_after_x(struct slice key)
{
    char text[16];
    snprintf(text, sizeof text, "%.*s", (int)key.len, (const char *)key.data);
    return (unsigned)atoi(text + 1);
}

/* As the expiry thread does: a look at the first after every few of them. */
Test(memtable, entries_of_the_expiry_index_become_runs_however_few)
{
    struct memtable *m = memtable_new(4 << 20, 1 << 20);
    uint64_t sequence = 0;
    unsigned least = UINT_MAX, entries = 0;
    struct iter *it;
    for (int look = 0; look < 400; look++) {
        for (int i = 0; i < look % 9; i++, entries++) {
            unsigned ms = (entries * 7919 + 50000) % 100003;
            char text[16];
            struct engine_key key = {slice_of(text, (size_t)snprintf(text, sizeof text, "X%06u", ms)),
                                     entries * 0x9e3779b97f4a7c15u};
            memtable_insert(m, &key, RECORD_PUT, slice_of(NULL, 0), ++sequence);
            least = ms < least ? ms : least;
        }
        cr_assert_eq(memtable_iter(m, sequence, SLICE_LIT("X"), SLICE_LIT("Y"), ITER_NOWAIT, &it), RES_OK);
        if (entries) {
            cr_assert_eq(iter_seek(it, slice_of(NULL, 0)), RES_OK);
            cr_assert_eq(number_after_x(it->key), least);
        }
        iter_close(it);
    }
    cr_assert_null(m->last_skip);
    cr_assert_leq(m->chains[CHAIN_EXPIRY].run_count, 16);
    unsigned n = 0, last = 0;
    cr_assert_eq(memtable_iter(m, sequence, SLICE_LIT("X"), SLICE_LIT("Y"), 0, &it), RES_OK);
    for (enum result r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it), n++) {
        unsigned ms = number_after_x(it->key);
        cr_assert(n == 0 || ms > last);
        last = ms;
    }
    iter_close(it);
    cr_assert_eq(n, entries);
    memtable_free(m);
}

/* An element of object 1 or 2: subspace, then a number. */
static struct slice put_part(uint8_t bytes[20], unsigned object, unsigned subspace, unsigned number)
{
    memset(bytes, 0, 20);
    bytes[0] = REGION_ELEMENT;
    bytes[ELEMENT_SUBSPACE_AT - 1] = (uint8_t)object;
    bytes[ELEMENT_SUBSPACE_AT] = (uint8_t)subspace;
    for (unsigned i = 0; i < 4; i++)
        bytes[16 + i] = (uint8_t)(number >> (24 - 8 * i));
    return slice_of(bytes, 20);
}

/* Steps from the first to the last of [lower, upper), and that they are in order. */
static size_t steps_between(struct memtable *m, struct slice lower, struct slice upper)
{
    struct iter *it;
    uint8_t last[20] = {0};
    size_t n = 0;
    enum result r = memtable_iter(m, UINT64_MAX, lower, upper, ITER_NOWAIT, &it);
    if (r != RES_OK)
        return r == RES_WOULD_BLOCK ? SIZE_MAX : 0;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it), n++) {
        cr_assert(it->key.len == 20 && slice_cmp(slice_of(last, 20), it->key) < 0);
        memcpy(last, it->key.data, 20);
    }
    iter_close(it);
    return n;
}

Test(memtable, who_walks_over_other_elements_does_not_put_members_in_order)
{
    enum { PARTS = 4, EACH = 200, ROUNDS = 4 };
    struct memtable *m = memtable_new(4 << 20, 1 << 20);
    uint8_t from[20], to[20];
    uint64_t sequence = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < EACH; i++)
            for (unsigned part = 0; part < PARTS; part++) {
                unsigned number = (i * 7919 + round * 104729) % 1000003;
                if (part != ELEMENT_MEMBERS && part != 2)
                    number = i + round * EACH; /* these come in order */
                struct engine_key key = {put_part(from, 1 + i % 2, part, number), ++sequence * 0x9e3779b97f4a7c15u};
                if (part % 2 || i < 100) /* few of each kind that is looked at in every round */
                    memtable_insert(m, &key, RECORD_PUT, slice_of(NULL, 0), sequence);
            }
        for (unsigned object = 1; object <= 2; object++) {
            cr_assert_eq(steps_between(m, put_part(from, object, 2, 0), slice_of(put_part(to, object, 3, 0).data, 16)),
                         (round + 1) * 50);
            cr_assert_eq(steps_between(m, put_part(from, object, 0, 0), slice_of(put_part(to, object, 1, 0).data, 16)),
                         (round + 1) * 50);
            cr_assert_eq(steps_between(m, put_part(from, object, 3, 50), put_part(to, object, 3, 150)), 50);
        }
    }
    /* the members have not been looked at, and are many now: alone, with their neighbours, with other objects */
    size_t members = ROUNDS * EACH / 2, others = ROUNDS * (50 + 50 + EACH / 2);
    cr_assert_eq(steps_between(m, put_part(from, 1, 1, 0), slice_of(put_part(to, 1, 2, 0).data, 16)), SIZE_MAX);
    cr_assert_eq(steps_between(m, slice_of(put_part(from, 1, 0, 0).data, 15), slice_of(put_part(to, 2, 0, 0).data, 15)),
                 SIZE_MAX);
    cr_assert_eq(memtable_order(m), RES_OK);
    cr_assert_eq(steps_between(m, put_part(from, 1, 1, 0), slice_of(put_part(to, 1, 2, 0).data, 16)), members);
    cr_assert_eq(steps_between(m, slice_of(put_part(from, 1, 0, 0).data, 15), slice_of(put_part(to, 2, 0, 0).data, 15)),
                 members + others);
    cr_assert_eq(steps_between(m, slice_of(put_part(from, 1, 0, 0).data, 15), slice_of(NULL, 0)),
                 2 * (members + others));
    memtable_free(m);
}

Test(memtable, memory_need_is_an_upper_bound)
{
    struct memtable *m = memtable_new(8 << 20, 1 << 20);
    static uint8_t value[5000];
    for (unsigned i = 0; i < 2000; i++) {
        uint8_t bytes[40] = {"EMX"[i % 3]};
        memcpy(bytes + 1, &i, 4);
        struct engine_key key = {slice_of(bytes, 5 + i % 33), i * 0x9e3779b97f4a7c15u};
        size_t len = i % 4 ? i % 90 : i;
        uint64_t before = memtable_used(m);
        memtable_insert(m, &key, RECORD_PUT, slice_of(value, len), i + 1);
        cr_assert_leq(memtable_used(m) - before, memtable_need(key.bytes.len, len));
    }
    memtable_free(m);
}

/* With all below `settled` given back as soon as it can be: every snapshot from there on is as it was. */
Test(memtable, prunes_what_no_snapshot_can_see)
{
    make_names();
    struct memtable *m = memtable_new(1 << 20, 1 << 20);
    settled_behind = 40;
    for (int life = 0; life < 2; life++) {
        uint64_t sequence = 0;
        written = 0;
        while (written < WRITES) {
            put_some(m, 50, &sequence);
            epoch_poll();
            epoch_poll();
            uint64_t oldest = sequence > settled_behind ? sequence - settled_behind : 1;
            cr_assert(memtable_prune(m, oldest));
            for (int i = 0; i < 2; i++) {
                uint64_t snapshot = oldest + draw((unsigned)(sequence - oldest) + 1);
                check_gets(m, snapshot);
                check_iter(m, snapshot, -1, -1);
            }
        }
        cr_assert_gt(m->pruned, WRITES / 4);
        memtable_reset(m); /* with batches that are still waiting */
        m->pruned = 0;
    }
    settled_behind = 0;
    memtable_free(m);
    epoch_drain();
}

Test(memtable, a_hot_key_takes_little_memory)
{
    struct memtable *m = memtable_new(16 << 20, 1 << 20);
    struct engine_key key = {SLICE_LIT("Mcounter"), 99};
    char value[2100] = "";
    uint64_t empty = memtable_used(m);
    cr_assert_geq(empty, (16 << 20) / 160 * sizeof(void *)); /* the buckets belong to its size */
    for (uint64_t i = 1; i <= 200000; i++) {
        m->settled = i < 300 ? 0 : i - 300; /* so many are above the gate */
        memtable_insert(m, &key, RECORD_PUT, slice_of(value, i % 2 ? 20 : i % 1024 == 0 ? 2000 + i % 5 : 30), i);
        if (i % 64 == 0)
            epoch_poll();
        cr_assert(memtable_prune(m, UINT64_MAX));
    }
    cr_assert_lt(memtable_used(m) - empty, 1 << 20);
    memtable_free(m);
    epoch_drain();
}

Test(memtable, a_held_snapshot_forbids_pruning)
{
    struct memtable *m = memtable_new(16 << 20, 1 << 20);
    struct engine_key key = {SLICE_LIT("Mcounter"), 99};
    for (uint64_t i = 1; i <= 2000; i++) {
        m->settled = i - 1;
        memtable_insert(m, &key, RECORD_PUT, slice_of(&i, sizeof i), i);
    }
    epoch_drain();
    cr_assert(memtable_prune_due(m));
    cr_assert_not(memtable_prune(m, 10));
    uint8_t kind;
    struct slice seen;
    for (uint64_t i = 1; i <= 2000; i++) {
        cr_assert(memtable_get(m, &key, i, &kind, &seen));
        cr_assert(memcmp(seen.data, &i, sizeof i) == 0);
    }
    memtable_free(m);
}

Test(memtable, sorts_keys_of_all_shapes)
{
    struct memtable *m = memtable_new(32 << 20, 1 << 20);
    uint64_t sequence = 0;
    size_t expected = 0;
    for (int shape = 0; shape < 10; shape++) {
        static const size_t shared[] = {1, 6, 30, 30, 3, 1, 6, 30, 30, 3};
        for (unsigned i = 0; i < 6000; i++) {
            uint8_t bytes[80] = {shape < 5 ? 'M' : 'E'};
            memset(bytes + 1, 'a' + shape, shared[shape]);
            size_t n = shared[shape] + 1;
            unsigned x = i * 2654435761u;
            if (shape % 5 == 3)
                x &= 0x3ff; /* many alike where they differ first */
            for (int b = 3; b >= 0; b--)
                bytes[n++] = (uint8_t)(shape % 5 == 2 ? '0' + (x >> 8 * b) % 10 : x >> 8 * b);
            n += (size_t)snprintf((char *)bytes + n, 20, "%u", i);
            struct engine_key key = {slice_of(bytes, n), (uint64_t)x << 32 | i * 0x9e3779b9u};
            memtable_insert(m, &key, RECORD_PUT, slice_of(NULL, 0), ++sequence);
            expected++;
        }
        struct iter *it;
        cr_assert_eq(memtable_iter(m, sequence, slice_of(NULL, 0), slice_of(NULL, 0), 0, &it), RES_OK);
        uint8_t last[80];
        size_t last_len = 0, count = 0;
        for (enum result r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
            cr_assert(count == 0 || slice_cmp(slice_of(last, last_len), it->key) < 0);
            memcpy(last, it->key.data, it->key.len);
            last_len = it->key.len;
            count++;
        }
        cr_assert_eq(count, expected);
        iter_close(it);
    }
    memtable_free(m);
}

/* Its pages are touched ahead of the writer, up to and a little beyond its limit, so that every batch but a huge one finds
 * its memory there; once touched they stay so for another life. */
Test(memtable, is_populated_ahead)
{
    enum { AHEAD = 8 << 20 };
    static uint8_t value[1 << 20];
    struct memtable *m = memtable_new(32 << 20, 32 << 20), *small = memtable_new(1 << 20, 1 << 20);
    char text[24];
    uint64_t sequence = 0;
    cr_assert(memtable_is_populated(small, 100) && !memtable_populate(small, AHEAD));
    cr_assert(!memtable_is_populated(m, 100));
    cr_assert(memtable_is_populated(m, (2 << 20) + 1)); /* too large to be waited for */
    while (!memtable_full(m)) {
        bool there = memtable_is_populated(m, sizeof(value));
        int steps = 0; /* of a huge page each */
        while (memtable_populate(m, AHEAD))
            steps++;
        cr_assert(steps <= AHEAD / (2 << 20) + 2 && (steps > 0 || there), "%d", steps);
        cr_assert(memtable_is_populated(m, 2 << 20));
        while (!memtable_full(m) && memtable_is_populated(m, sizeof(value) + 1000)) {
            size_t len = (size_t)snprintf(text, sizeof(text), "M%lu", (unsigned long)++sequence);
            struct engine_key key = {slice_of(text, len), sequence};
            memtable_insert(m, &key, RECORD_PUT, slice_of(value, sizeof(value)), sequence);
        }
    }
    cr_assert_lt(atomic_load(&m->populated), (32 + 6) << 20);
    memtable_reset(m);
    cr_assert(memtable_is_populated(m, 2 << 20) && !memtable_populate(m, AHEAD));
    cr_assert_geq(memtable_used(m), (32 << 20) / 160 * sizeof(void *));
    memtable_free(m);
    memtable_free(small);
}

/* Own writes of one run. What must hold: the last write of a key wins, however many keys there are; the ordered view has
 * each key once, in byte order, cut to its bounds; after a reset nothing is left; a split keeps every record, the region
 * asked for behind the others, both parts sorted. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "exec/overlay.h"

static struct overlay o;
static struct arena arena;

static void setup(void)
{
    overlay_init(&o);
    arena_init(&arena, 4096);
}

static void teardown(void)
{
    overlay_fini(&o);
    arena_fini(&arena);
}

TestSuite(overlay, .init = setup, .fini = teardown);

static struct engine_key key(const char *prefix, int i)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%s%03d", prefix, i);
    struct slice s = slice_of(arena_copy(&arena, text, (size_t)n), (size_t)n);
    return (struct engine_key){s, engine_hash(s)};
}

static void put(struct engine_key k, const char *value, uint8_t kind)
{
    struct batch_record *old = overlay_find(&o, &k);
    if (old)
        cr_assert_eq(overlay_replace(&o, old, slice_str(value), kind), RES_OK);
    else
        cr_assert(overlay_add(&o, &k, slice_str(value), kind) == RES_OK);
}

static void expect(struct engine_key k, const char *value)
{
    struct batch_record *r = overlay_find(&o, &k);
    cr_assert(r != NULL);
    cr_assert(slice_eq(r->value, slice_str(value)), "%.*s", (int)r->value.len, (const char *)r->value.data);
}

Test(overlay, last_write_wins_at_every_size)
{
    static char value[2000][16];
    for (int n = 1; n <= 2000; n = n < 20 ? n + 1 : n * 3) {
        overlay_reset(&o);
        cr_assert(overlay_empty(&o));
        for (int i = 0; i < n; i++)
            put(key("Mkey:", i), "old", RECORD_PUT);
        for (int i = 0; i < n; i++) {
            snprintf(value[i], sizeof value[i], "v%d", i);
            put(key("Mkey:", i), value[i], RECORD_PUT);
        }
        cr_assert(o.count == (uint32_t)n);
        size_t bytes = 0;
        for (int i = 0; i < n; i++) {
            expect(key("Mkey:", i), value[i]);
            bytes += key("Mkey:", i).bytes.len + strlen(value[i]);
        }
        cr_assert(o.bytes == bytes);
        struct engine_key absent = key("Mnone:", n);
        cr_assert(overlay_find(&o, &absent) == NULL);
    }
}

Test(overlay, keys_of_equal_hash_are_apart)
{
    struct engine_key a = {SLICE_LIT("Ma"), 7}, b = {SLICE_LIT("Mb"), 7};
    put(a, "1", RECORD_PUT);
    put(b, "2", RECORD_PUT);
    for (int i = 0; i < 20; i++)
        put(key("Mx", i), "", RECORD_PUT);
    expect(a, "1");
    expect(b, "2");
}

Test(overlay, ordered_view_is_sorted_cut_and_shows_tombstones)
{
    for (int i = 99; i >= 0; i--)
        put(key("M", i), i % 10 ? "v" : "", i % 10 ? RECORD_PUT : RECORD_DELETE);
    struct iter *it;
    cr_assert(overlay_iter(&o, &arena, SLICE_LIT("M010"), SLICE_LIT("M020"), &it) == RES_OK);
    put(key("M", 11), "later", RECORD_PUT); /* not seen by the view */
    int at = 10;
    for (enum result r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it), at++) {
        struct engine_key k = key("M", at);
        cr_assert(slice_eq(it->key, k.bytes));
        cr_assert(it->kind == (at % 10 ? RECORD_PUT : RECORD_DELETE));
        cr_assert(it->value.len == (at % 10 ? 1 : 0));
    }
    cr_assert(at == 20);
    iter_close(it);
    cr_assert(overlay_iter(&o, &arena, SLICE_LIT("N"), slice_of(NULL, 0), &it) == RES_OK);
    cr_assert(iter_seek(it, slice_of(NULL, 0)) == RES_NOT_FOUND);
    iter_close(it);
}

Test(overlay, counters_add_up_by_keyspace)
{
    for (int i = 0; i < 100; i++)
        cr_assert(overlay_count(&o, (uint32_t)(i % 20), 1, i % 2 ? -1 : 2) == RES_OK);
    cr_assert(o.counter_count == 20);
    for (int i = 0; i < 20; i++)
        cr_assert(o.counters[i].keys == 5 && o.counters[i].expires == (i % 2 ? -5 : 10));
    struct batch b;
    overlay_batch(&o, 5, &b);
    cr_assert(b.counter_count == 20 && b.count == 0 && b.now_ms == 5 && b.table == NULL);
}

/* Against a copy of what was there: random puts behind a mark, undone or not. */
Test(overlay, what_comes_behind_a_mark_can_be_undone)
{
    static int now[400], before[400]; /* -1: not there */
    static char value[1000][8];
    uint64_t random = 7;
    for (int i = 0; i < 1000; i++)
        snprintf(value[i], sizeof value[i], "%d", i);
    for (int round = 0; round < 50; round++) {
        overlay_reset(&o);
        memset(now, -1, sizeof now);
        int64_t keys = 0;
        for (int step = 0; step < 60; step++) {
            struct overlay_mark mark;
            overlay_mark(&o, &mark);
            memcpy(before, now, sizeof now);
            int64_t keys_before = keys;
            uint32_t signals = o.signal_count;
            for (int n = (int)(hash_mix(random++) % 12); n > 0; n--) {
                int k = (int)(hash_mix(random++) % (round % 2 ? 12 : 400)), v = (int)(hash_mix(random++) % 1000);
                put(key("Mu", k), value[v], RECORD_PUT);
                now[k] = v;
                keys++;
                cr_assert(overlay_count(&o, 3, 1, 0) == RES_OK);
                cr_assert(overlay_signal(&o, &(struct overlay_signal){.hash = 1}) == RES_OK);
            }
            if (hash_mix(random++) % 2) {
                overlay_undo(&o, &mark);
                memcpy(now, before, sizeof now);
                keys = keys_before;
                cr_assert(o.signal_count == signals);
            }
        }
        size_t bytes = 0, count = 0;
        for (int k = 0; k < 400; k++) {
            struct engine_key name = key("Mu", k);
            if (now[k] < 0) {
                cr_assert(overlay_find(&o, &name) == NULL);
                continue;
            }
            expect(name, value[now[k]]);
            count++;
            bytes += name.bytes.len + strlen(value[now[k]]);
        }
        cr_assert(o.count == count && o.bytes == bytes);
        cr_assert(keys == (o.counter_count ? o.counters[0].keys : 0));
    }
}

Test(overlay, split_brings_a_region_behind_the_others)
{
    for (int i = 0; i < 50; i++)
        put(key(i % 3 ? "E" : "M", i), "v", RECORD_PUT);
    uint32_t above = overlay_split(&o, REGION_ELEMENT);
    cr_assert(above == 17);
    for (uint32_t i = 0; i < o.count; i++) {
        cr_assert(o.records[i].key.bytes.data[0] == (i < above ? 'M' : 'E'));
        cr_assert(i == 0 || i == above || slice_cmp(o.records[i - 1].key.bytes, o.records[i].key.bytes) < 0);
    }
    cr_assert(overlay_split(&o, 0) == 0);
    for (uint32_t i = 1; i < o.count; i++)
        cr_assert(slice_cmp(o.records[i - 1].key.bytes, o.records[i].key.bytes) < 0);
}

Test(overlay, a_large_run_gives_its_memory_back)
{
    for (int i = 0; i < 10000; i++)
        put(key("Mkey:", i), "v", RECORD_PUT);
    overlay_reset(&o);
    cr_assert(o.records == NULL && o.cap == 0 && o.slot_cap == 0);
    put(key("Mkey:", 1), "v", RECORD_PUT);
    expect(key("Mkey:", 1), "v");
}

/* Tables and their parts.
 *
 * 1. Fences and filters: the right answer for every key, whatever the keys' shape.
 * 2. What was written is found, by get and by iterator, both ways, at all sizes of blocks, keys and values, with and
 *    without compression.
 * 3. Damage: with any byte changed or any part missing, opening, getting and iterating give an error or right data. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "engine/lsm/table.h"
#include "os/env_memory.h"

static uint64_t rng_state;
static uint64_t below(uint64_t n) { return hash_mix(rng_state += 0x9e3779b97f4a7c15u) % n; }

/* ---- fences ---- */

static int by_slice(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static size_t random_keys(struct slice *keys, size_t n, int shape)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t *p = malloc(64);
        size_t len = 0;
        switch (shape) {
        case 0: /* uniform */
            put_be64(p, hash_mix(below(UINT64_MAX)));
            len = 8;
            break;
        case 1: /* a long common beginning, sequential */
            len = (size_t)snprintf((char *)p, 64, "Mprefixprefixprefix%06zu", i);
            break;
        case 2: /* few different bytes, all lengths */
            len = 1 + below(12);
            for (size_t k = 0; k < len; k++)
                p[k] = (uint8_t)below(2);
            break;
        default: /* many with equal heads behind the common beginning */
            len = (size_t)snprintf((char *)p, 64, "E%c________________%04zu", (char)('a' + below(3)),
                                   (size_t)below(5000));
        }
        keys[i] = slice_of(p, len);
    }
    qsort(keys, n, sizeof *keys, by_slice);
    size_t out = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || slice_cmp(keys[out - 1], keys[i]) < 0)
            keys[out++] = keys[i];
        else
            free((void *)(uintptr_t)keys[i].data);
    return out;
}

Test(lsm_fences, find_is_right_for_all_shapes)
{
    static struct slice keys[1500], probes[1500];
    rng_state = 5;
    for (int round = 0; round < 120; round++) {
        struct fences f;
        int shape = round % 4;
        size_t n = random_keys(keys, 1 + below(round < 60 ? 20 : 1500), shape);
        cr_assert_eq(fences_init(&f, keys, (uint32_t)n), RES_OK);
        size_t m = random_keys(probes, 300, (shape + round / 40) % 4);
        for (size_t k = 0; k < n + m; k++) {
            struct slice key = k < n ? keys[k] : probes[k - n];
            int64_t at = -1, before = -1;
            for (size_t i = 0; i < n; i++) {
                int c = slice_cmp(keys[i], key);
                at = c <= 0 ? (int64_t)i : at;
                before = c < 0 ? (int64_t)i : before;
            }
            cr_assert_eq(fences_find(&f, key), at);
            cr_assert_eq(fences_find_before(&f, key), before);
            if (at >= 0) {
                int c = fences_cmp(&f, (uint32_t)at, key), want = slice_cmp(keys[at], key);
                cr_assert_eq((c > 0) - (c < 0), (want > 0) - (want < 0));
            }
        }
        fences_fini(&f);
        for (size_t i = 0; i < n; i++)
            free((void *)(uintptr_t)keys[i].data);
        for (size_t i = 0; i < m; i++)
            free((void *)(uintptr_t)probes[i].data);
    }
    struct fences none;
    cr_assert_eq(fences_init(&none, NULL, 0), RES_OK);
    cr_assert_eq(fences_find(&none, SLICE_LIT("a")), -1);
}

Test(lsm_filter, knows_what_it_holds_and_little_else)
{
    enum { N = 20000 };
    uint32_t lines = filter_lines_for(N);
    uint8_t *memory = calloc(lines, FILTER_LINE);
    for (uint64_t i = 0; i < N; i++)
        filter_add(memory, lines, engine_hash(slice_of(&i, 8)));
    struct filter f = {memory, lines};
    size_t wrong = 0;
    for (uint64_t i = 0; i < 2 * N; i++) {
        bool may = filter_may_hold(&f, engine_hash(slice_of(&i, 8)));
        if (i < N)
            cr_assert(may);
        else
            wrong += may;
    }
    cr_assert_lt(wrong, N * 15 / 1000, "%zu false of %d", wrong, N);
    free(memory);
}

/* ---- tables ---- */

struct record {
    struct slice key, value;
    uint8_t kind;
};

struct bench {
    struct env *env;
    struct cache *cache;
    struct table_owner owner;
    struct record *records;
    size_t count;
    uint64_t size;
};

static enum result open_again(struct table_owner *o, uint64_t number, struct env_file **out);

static void gone(struct table_owner *o, struct table *t)
{
    (void)o;
    table_close(t);
}

static enum result open_again(struct table_owner *o, uint64_t number, struct env_file **out)
{
    struct bench *b = (struct bench *)((char *)o - offsetof(struct bench, owner));
    cr_assert_eq(number, 7);
    return b->env->ops->open(b->env, "/7", ENV_READ, out);
}

static void fill_in(struct bench *b, size_t n, size_t key_max, size_t value_max)
{
    static struct slice keys[5000];
    for (size_t i = 0; i < n; i++) {
        uint8_t *p = malloc(ENGINE_KEY_MAX);
        size_t len = 1 + below(key_max);
        p[0] = REGION_META;
        for (size_t k = 1; k < len; k++)
            p[k] = (uint8_t)(below(4) ? 'a' + below(3) : below(256));
        keys[i] = slice_of(p, len);
    }
    qsort(keys, n, sizeof keys[0], by_slice);
    b->records = calloc(n, sizeof *b->records);
    b->count = 0;
    for (size_t i = 0; i < n; i++) {
        if (b->count && slice_eq(keys[i], b->records[b->count - 1].key)) {
            free((void *)(uintptr_t)keys[i].data);
            continue;
        }
        struct record *r = &b->records[b->count++];
        size_t len = below(10) ? below(value_max) : 0;
        uint8_t *v = malloc(len + 1);
        for (size_t k = 0; k < len; k++)
            v[k] = (uint8_t)below(value_max > 1000 ? 3 : 256);
        *r = (struct record){keys[i], slice_of(v, len), below(6) ? RECORD_PUT : RECORD_DELETE};
        if (r->kind == RECORD_DELETE)
            r->value.len = 0;
    }
}

static void write_table(struct bench *b, uint32_t block_bytes, struct engine_compression how)
{
    struct table_writer_options o = {
        .number = 7, .boundary = 99, .block_bytes = block_bytes, .region = REGION_META, .compression = how};
    struct table_writer *w;
    cr_assert_eq(b->env->ops->open(b->env, "/7", ENV_READ | ENV_WRITE | ENV_CREATE, &o.file), RES_OK);
    cr_assert_eq(table_writer_new(&o, &w), RES_OK);
    for (size_t i = 0; i < b->count; i++)
        cr_assert_eq(table_writer_add(w, b->records[i].key, b->records[i].kind, b->records[i].value), RES_OK);
    cr_assert_eq(table_writer_finish(w, &b->size), RES_OK);
}

static void begin(struct bench *b, uint64_t cache_bytes)
{
    *b = (struct bench){
        .env = env_memory_new(1, ENV_MEMORY_PLAIN), .cache = cache_new(cache_bytes), .owner = {gone, open_again}};
}

static void end(struct bench *b)
{
    epoch_drain();
    cr_assert_eq(b->cache->used, 0);
    cr_assert_eq(env_memory_open_files(b->env), 0);
    cache_free(b->cache);
    env_memory_free(b->env);
    for (size_t i = 0; i < b->count; i++) {
        free((void *)(uintptr_t)b->records[i].key.data);
        free((void *)(uintptr_t)b->records[i].value.data);
    }
    free(b->records);
}

static enum result reopen(struct bench *b, struct table **t, struct errmsg *msg)
{
    struct env_file *file;
    cr_assert_eq(b->env->ops->open(b->env, "/7", ENV_READ, &file), RES_OK);
    return table_open(file, "/7", 7, b->size, b->cache, &b->owner, t, msg);
}

static enum result get(struct table *t, struct slice key, uint8_t *kind, struct slice *value)
{
    struct engine_key k = {key, engine_hash(key)};
    return table_get(t, &k, 0, kind, value, NULL);
}

static bool is_record(const struct iter *it, const struct record *r)
{
    return slice_eq(it->key, r->key) && slice_eq(it->value, r->value) && it->kind == r->kind;
}

static void everything_is_found(struct bench *b, struct table *t)
{
    struct slice value, none = slice_of(NULL, 0);
    uint8_t kind;
    struct iter *it;
    epoch_enter();
    for (size_t i = 0; i < b->count; i++) {
        cr_assert_eq(get(t, b->records[i].key, &kind, &value), RES_OK);
        cr_assert_eq(kind, b->records[i].kind);
        cr_assert(slice_eq(value, b->records[i].value));
        uint8_t other[ENGINE_KEY_MAX + 1];
        memcpy(other, b->records[i].key.data, b->records[i].key.len);
        other[b->records[i].key.len] = 0; /* the key right behind it */
        struct slice behind = slice_of(other, b->records[i].key.len + 1);
        if (i + 1 == b->count || !slice_eq(b->records[i + 1].key, behind))
            cr_assert_eq(get(t, behind, &kind, &value), RES_NOT_FOUND);
    }
    cr_assert_eq(get(t, SLICE_LIT("L"), &kind, &value), RES_NOT_FOUND);
    cr_assert_eq(get(t, SLICE_LIT("N"), &kind, &value), RES_NOT_FOUND);
    epoch_leave();
    cr_assert_eq(table_iter(t, none, none, 0, false, &it), RES_OK);
    enum result r = iter_seek(it, none);
    for (size_t i = 0; i < b->count; i++, r = iter_next(it))
        cr_assert(r == RES_OK && is_record(it, &b->records[i]));
    cr_assert_eq(r, RES_NOT_FOUND);
    r = iter_seek_last(it, none);
    for (size_t i = b->count; i-- > 0; r = iter_prev(it))
        cr_assert(r == RES_OK && is_record(it, &b->records[i]));
    cr_assert_eq(r, RES_NOT_FOUND);
    for (size_t i = 0; i < b->count; i++) {
        cr_assert(iter_seek(it, b->records[i].key) == RES_OK && is_record(it, &b->records[i]));
        if (i + 1 < b->count)
            cr_assert(iter_next(it) == RES_OK && is_record(it, &b->records[i + 1]));
        r = iter_seek_last(it, b->records[i].key);
        cr_assert(i ? r == RES_OK && is_record(it, &b->records[i - 1]) : r == RES_NOT_FOUND);
    }
    iter_close(it);
}

static void bounds_are_kept(struct bench *b, struct table *t)
{
    struct slice none = slice_of(NULL, 0);
    for (int round = 0; round < 30; round++) {
        size_t lo = below(b->count), hi = lo + below(b->count - lo);
        struct iter *it;
        cr_assert_eq(table_iter(t, b->records[lo].key, b->records[hi].key, ITER_NO_FILL, true, &it), RES_OK);
        enum result r = iter_seek(it, none);
        for (size_t i = lo; i < hi; i++, r = iter_next(it))
            cr_assert(r == RES_OK && is_record(it, &b->records[i]));
        cr_assert_eq(r, RES_NOT_FOUND);
        r = iter_seek_last(it, none);
        for (size_t i = hi; i-- > lo; r = iter_prev(it))
            cr_assert(r == RES_OK && is_record(it, &b->records[i]));
        cr_assert_eq(r, RES_NOT_FOUND);
        iter_close(it);
    }
}

Test(lsm_table, what_is_written_is_found)
{
    static const uint32_t blocks[] = {64, 256, 4096, 65536};
    static const size_t key_sizes[] = {3, 20, ENGINE_KEY_MAX}, value_sizes[] = {1, 100, 3000, 100000};
    rng_state = 6;
    for (size_t bi = 0; bi < 4; bi++)
        for (size_t ki = 0; ki < 3; ki++)
            for (size_t vi = 0; vi < 4; vi++)
                for (uint8_t kind = 0; kind < 3; kind++) {
                    struct bench b;
                    struct table *t;
                    struct errmsg msg = {""};
                    begin(&b, below(2) ? 1 << 20 : 20000);
                    fill_in(&b, vi == 3 ? 40 : 1 + below(500), key_sizes[ki], value_sizes[vi]);
                    write_table(&b, blocks[bi], (struct engine_compression){kind, 1});
                    cr_assert_eq(reopen(&b, &t, &msg), RES_OK, "%s", msg.text);
                    cr_assert_eq(t->meta.records, b.count);
                    cr_assert_eq(t->meta.boundary, 99);
                    cr_assert_eq(t->meta.packing, kind);
                    cr_assert_eq(t->meta.region, REGION_META);
                    everything_is_found(&b, t);
                    bounds_are_kept(&b, t);
                    table_unref(t);
                    end(&b);
                }
}

Test(lsm_table, blocks_end_where_pages_end)
{
    struct bench b;
    struct table *t;
    size_t crossing = 0;
    begin(&b, 1 << 20);
    b.records = calloc(5000, sizeof *b.records);
    for (; b.count < 5000; b.count++) {
        uint8_t *k = malloc(20), *v = malloc(100);
        memset(v, 'v', 100);
        snprintf((char *)k, 20, "M%015zu", b.count);
        b.records[b.count] = (struct record){slice_of(k, 16), slice_of(v, 100), RECORD_PUT};
    }
    write_table(&b, 4096, (struct engine_compression){0});
    cr_assert_eq(reopen(&b, &t, NULL), RES_OK);
    for (uint32_t i = 0; i < t->fences.count; i++)
        crossing += table_block_offset(t, i) / 4096 != (table_block_offset(t, i + 1) - 1) / 4096;
    cr_assert_eq(crossing, 0, "%zu of %u blocks lie in two pages", crossing, t->fences.count);
    cr_assert_lt(b.size, 5000 * 116 * 104 / 100); /* and the file is not much larger than what is in it */
    table_unref(t);
    end(&b);
}

/* Opens and reads everything; only errors and right data are allowed. Returns whether all went well. */
static bool error_or_right(struct bench *b)
{
    struct table *t;
    struct errmsg msg = {""};
    struct slice value, none = slice_of(NULL, 0);
    uint8_t kind;
    bool all_good = true;
    enum result r = reopen(b, &t, &msg);
    if (r != RES_OK) {
        cr_assert(r == RES_CORRUPT || r == RES_UNSUPPORTED, "%s", result_text(r));
        cr_assert(strstr(msg.text, "/7"), "no file name: %s", msg.text);
        return false;
    }
    epoch_enter();
    for (size_t i = 0; i < b->count; i++) {
        r = get(t, b->records[i].key, &kind, &value);
        cr_assert(r == RES_CORRUPT ||
                  (r == RES_OK && kind == b->records[i].kind && slice_eq(value, b->records[i].value)));
        all_good &= r == RES_OK;
    }
    epoch_leave();
    struct iter *it;
    cr_assert_eq(table_iter(t, none, none, 0, false, &it), RES_OK);
    r = iter_seek(it, none);
    for (size_t i = 0; r == RES_OK; i++, r = iter_next(it))
        cr_assert(i < b->count && is_record(it, &b->records[i]));
    cr_assert(r == RES_NOT_FOUND ? all_good : r == RES_CORRUPT);
    iter_close(it);
    table_unref(t);
    return all_good;
}

/* Returns how many bits were flipped. */
static uint64_t flip_every_bit(size_t records, size_t value_max, uint32_t block, struct engine_compression how)
{
    struct bench b;
    size_t unnoticed = 0;
    uint64_t flips = 0;
    begin(&b, 1 << 20);
    fill_in(&b, records, 20, value_max);
    write_table(&b, block, how);
    for (uint64_t at = 0; at < b.size; at++)
        for (unsigned bit = 0; bit < 8; bit++, flips++) {
            cr_assert_eq(env_memory_flip(b.env, "/7", at, bit), RES_OK);
            unnoticed += error_or_right(&b);
            cr_assert_eq(env_memory_flip(b.env, "/7", at, bit), RES_OK);
        }
    cr_assert_eq(unnoticed, 0);
    cr_assert(error_or_right(&b));
    end(&b);
    return flips;
}

/* 60,000 at least, a million in the long form. */
Test(lsm_table, every_flipped_bit_is_seen)
{
    const char *more = getenv("VARVE_TEST_LONG");
    uint64_t flips = 0, least = more && *more ? 1000000 : 60000;
    rng_state = 8;
    log_set_level(LOG_NOTHING);
    for (int i = 0; flips < least; i++)
        flips += flip_every_bit(20 + below(60), 20 + below(60), i % 2 ? 512 : 256,
                                (struct engine_compression){(uint8_t)(i % 3), 3});
    cr_log_info("%lu bits flipped", (unsigned long)flips);
}

Test(lsm_table, every_truncation_is_seen)
{
    struct bench b;
    uint8_t *whole;
    size_t len;
    rng_state = 9;
    begin(&b, 1 << 20);
    fill_in(&b, 40, 20, 60);
    write_table(&b, 512, (struct engine_compression){ENGINE_PACK_LZ4, 0});
    log_set_level(LOG_NOTHING);
    cr_assert_eq(env_read_file(b.env, "/7", 1 << 20, &whole, &len), RES_OK);
    for (size_t keep = 0; keep < len; keep++) {
        struct env_file *f;
        cr_assert_eq(b.env->ops->open(b.env, "/7", ENV_READ | ENV_WRITE, &f), RES_OK);
        cr_assert_eq(f->ops->truncate(f, keep), RES_OK);
        uint64_t size = b.size;
        b.size = size;
        cr_assert(!error_or_right(&b));
        b.size = 0; /* as for a private table, whose size nobody knows */
        cr_assert(!error_or_right(&b));
        b.size = size;
        cr_assert_eq(f->ops->truncate(f, 0), RES_OK);
        cr_assert_eq(env_write(f, whole, len, 0), RES_OK);
        cr_assert_eq(f->ops->close(f), RES_OK);
    }
    free(whole);
    end(&b);
}

Test(lsm_table, a_block_at_the_wrong_place_is_damage)
{
    struct bench b;
    struct table *t;
    uint8_t *whole;
    size_t len;
    begin(&b, 0);
    b.records = calloc(200, sizeof *b.records);
    for (; b.count < 200; b.count++) {
        uint8_t *k = malloc(8), *v = malloc(40);
        memset(v, 'v', 40);
        snprintf((char *)k, 8, "M%06zu", b.count);
        b.records[b.count] = (struct record){slice_of(k, 7), slice_of(v, 40), RECORD_PUT};
    }
    write_table(&b, 512, (struct engine_compression){0});
    log_set_level(LOG_NOTHING);
    cr_assert_eq(env_read_file(b.env, "/7", 1 << 20, &whole, &len), RES_OK);
    cr_assert_eq(reopen(&b, &t, NULL), RES_OK);
    uint64_t first = table_block_offset(t, 1), second = table_block_offset(t, 2);
    size_t span = table_block_span(t, 1);
    cr_assert_eq(span, table_block_span(t, 2));
    table_unref(t);
    struct env_file *f;
    cr_assert_eq(b.env->ops->open(b.env, "/7", ENV_READ | ENV_WRITE, &f), RES_OK);
    cr_assert_eq(env_write(f, whole + first, span, second), RES_OK); /* a misdirected write */
    cr_assert_eq(f->ops->close(f), RES_OK);
    cr_assert(!error_or_right(&b));
    free(whole);
    end(&b);
}

Test(lsm_table, one_bad_read_is_read_again)
{
    struct bench b;
    struct table *t;
    struct slice value;
    uint8_t kind;
    rng_state = 10;
    begin(&b, 0);
    fill_in(&b, 40, 20, 60);
    write_table(&b, 512, (struct engine_compression){0});
    cr_assert_eq(reopen(&b, &t, NULL), RES_OK);
    struct env_fault once = {.ops = ENV_OP_BIT(ENV_OP_PREAD), .nth = 1, .code = RES_IO};
    env_faults_add(env_memory_faults(b.env), &once);
    epoch_enter();
    cr_assert_eq(get(t, b.records[3].key, &kind, &value), RES_OK);
    epoch_leave();
    cr_assert_eq(env_faults_hits(env_memory_faults(b.env)), 1);
    struct env_fault shortened = {.ops = ENV_OP_BIT(ENV_OP_PREAD), .nth = 1, .code = RES_OK, .partial = 10};
    env_faults_add(env_memory_faults(b.env), &shortened);
    epoch_enter();
    cr_assert_eq(get(t, b.records[3].key, &kind, &value), RES_OK);
    epoch_leave();
    struct env_fault always = {.ops = ENV_OP_BIT(ENV_OP_PREAD), .times = UINT64_MAX, .code = RES_IO};
    env_faults_add(env_memory_faults(b.env), &always);
    epoch_enter();
    cr_assert_eq(get(t, b.records[3].key, &kind, &value), RES_IO);
    epoch_leave();
    table_unref(t);
    end(&b);
}

Test(lsm_table, a_failed_write_is_reported)
{
    rng_state = 11;
    for (uint64_t n = 1;; n++) {
        struct bench b;
        struct table_writer *w = NULL;
        begin(&b, 0);
        fill_in(&b, 200, 20, 300);
        struct table_writer_options o = {.number = 7, .block_bytes = 512};
        cr_assert_eq(b.env->ops->open(b.env, "/7", ENV_READ | ENV_WRITE | ENV_CREATE, &o.file), RES_OK);
        struct env_fault fault = {.ops = ENV_OPS_ALL, .nth = n, .code = RES_NO_SPACE};
        env_faults_add(env_memory_faults(b.env), &fault);
        enum result r = table_writer_new(&o, &w);
        for (size_t i = 0; r == RES_OK && i < b.count; i++)
            r = table_writer_add(w, b.records[i].key, b.records[i].kind, b.records[i].value);
        if (r == RES_OK)
            r = table_writer_finish(w, &b.size);
        else
            table_writer_abort(w);
        bool hit = env_faults_hits(env_memory_faults(b.env)) > 0;
        cr_assert_eq(r, hit ? RES_NO_SPACE : RES_OK);
        end(&b);
        if (!hit)
            break;
        cr_assert_lt(n, 100);
    }
}

Test(lsm_cache, stays_within_its_budget)
{
    struct bench b;
    struct table *t;
    struct slice value;
    uint8_t kind;
    rng_state = 12;
    begin(&b, 0);
    fill_in(&b, 3000, 20, 200);
    write_table(&b, 1024, (struct engine_compression){0});
    cr_assert_eq(reopen(&b, &t, NULL), RES_OK);
    for (uint64_t capacity = 0; capacity < 600000; capacity += 50000) {
        cache_set_capacity(b.cache, capacity);
        epoch_enter();
        for (int i = 0; i < 3000; i++)
            cr_assert_eq(get(t, b.records[below(b.count)].key, &kind, &value), RES_OK);
        epoch_leave();
        uint64_t most = capacity > t->resident ? capacity : t->resident;
        cr_assert_leq(b.cache->used, most);
    }
    struct cache_counts counts;
    cache_counts_sum(b.cache, &counts);
    cr_assert_gt(counts.hits, 1000);
    cr_assert_gt(counts.misses, 1000);
    cache_set_capacity(b.cache, 0);
    cr_assert_eq(b.cache->used, t->resident);
    table_unref(t);
    end(&b);
}

Test(lsm_table, a_closed_file_is_opened_again_by_who_may_wait)
{
    struct bench b;
    struct table *t;
    struct slice value;
    struct engine_miss miss = {0};
    uint8_t kind;
    rng_state = 13;
    begin(&b, 0);
    fill_in(&b, 40, 20, 60);
    write_table(&b, 512, (struct engine_compression){0});
    cr_assert_eq(reopen(&b, &t, NULL), RES_OK);
    table_file_drop(t);
    cr_assert_eq(env_memory_open_files(b.env), 0);
    struct engine_key key = {b.records[5].key, engine_hash(b.records[5].key)};
    epoch_enter();
    cr_assert_eq(table_get(t, &key, ENGINE_NOWAIT, &kind, &value, &miss), RES_WOULD_BLOCK);
    cr_assert_eq(miss.table, t);
    cr_assert_eq(table_get(t, &key, 0, &kind, &value, NULL), RES_OK);
    cr_assert_eq(table_get(t, &key, ENGINE_NOWAIT, &kind, &value, &miss), RES_OK);
    epoch_leave();
    cr_assert_eq(env_memory_open_files(b.env), 1);
    table_unref(t);
    end(&b);
}

/* Blocks of all sizes, taken and given back in any order, while caches become large and small again: none overlaps another,
 * memory is used again, and in the end all of it is the system's. */
Test(lsm_block, memory_is_handed_out_once)
{
    enum { SLOTS = 3000 };
    static struct block *held[SLOTS];
    static uint32_t len[SLOTS];
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 60000; round++) {
        if (round % 10000 == 5000)
            (void)block_memory_capacity(round / 10000 % 2 ? -((int64_t)128 << 20) : (int64_t)128 << 20);
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        size_t i = random % SLOTS;
        if (held[i]) {
            for (uint32_t k = 0; k < len[i]; k += 97)
                cr_assert_eq(held[i]->image[k], (uint8_t)i);
            cr_assert_eq(held[i]->image[len[i] - 1], (uint8_t)i);
            block_memory_give(held[i], len[i]);
            held[i] = NULL;
            continue;
        }
        len[i] = 1 + (uint32_t)((random >> 20) % (round % 50 ? 5000 : 70000));
        held[i] = block_memory_take(len[i]);
        cr_assert_not_null(held[i]);
        memset(held[i]->image, (int)(uint8_t)i, len[i]);
        cr_assert_geq(block_memory(len[i]), sizeof(struct block) + len[i]);
    }
    for (size_t i = 0; i < SLOTS; i++)
        if (held[i])
            block_memory_give(held[i], len[i]);
    cr_expect_eq(block_memory_resident(), 0);
}

static uint64_t address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert(f && fscanf(f, "%lu", &pages) == 1);
    (void)fclose(f);
    return (uint64_t)pages * 4096;
}

/* Who must not wait is told when the next block needs memory of the system: once in a region. */
Test(lsm_block, memory_at_hand)
{
    enum { MANY = 3000, LEN = 4000 };
    static struct block *held[MANY];
    int asked = 0;
    if (block_memory(LEN) == sizeof(struct block) + LEN + 16)
        cr_skip_test("no regions of its own");
    block_memory_capacity((int64_t)1 << 30);
    cr_assert(block_memory_at_hand(LEN));
    for (size_t i = 0; i < MANY; i++) {
        uint64_t before = block_memory_resident();
        bool at_hand = block_memory_at_hand(LEN);
        cr_assert_not_null(held[i] = block_memory_take(LEN));
        cr_assert_eq(at_hand, block_memory_resident() == before);
        asked += !at_hand;
    }
    cr_assert(asked >= MANY * LEN / (2 << 20) - 1 && asked <= MANY * LEN / (2 << 20) + 2, "%d", asked);
    for (size_t i = 0; i < MANY; i++)
        block_memory_give(held[i], LEN);
    block_memory_capacity(-((int64_t)1 << 30));
}

/* What was free for a while goes back to the system; what is taken meanwhile stays. */
Test(lsm_block, memory_that_is_not_needed_goes_back)
{
    enum { MANY = 20000, LEN = 4000 };
    static struct block *held[MANY];
    if (block_memory(LEN) == sizeof(struct block) + LEN + 16) /* by malloc, under AddressSanitizer */
        cr_skip_test("no regions of its own");
    block_memory_capacity((int64_t)1 << 30); /* so that nothing goes back at once */
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < MANY; i++)
            cr_assert_not_null(held[i] = block_memory_take(LEN));
        uint64_t full = address_space(), now = (uint64_t)(round + 1) * 1000000000000;
        for (size_t i = 0; i < MANY; i++)
            if (round || i % 2) /* in the first round every chunk keeps something */
                block_memory_give(held[i], LEN);
        for (int i = 0; i < 20; i++)
            block_memory_trim(now + (uint64_t)i * 11000000000);
        cr_assert(round ? address_space() < full - (uint64_t)MANY * LEN / 2 : address_space() == full,
                  "round %d: %lu of %lu bytes are left", round, (unsigned long)address_space(), (unsigned long)full);
        for (size_t i = 0; i < MANY && !round; i += 2)
            block_memory_give(held[i], LEN);
    }
    block_memory_capacity(-((int64_t)1 << 30));
}

/* Lists in both shapes. What must hold:
 *   - any row of pushes, pops, drops, insertions, removals and replacements anywhere leaves the elements that a plain array
 *     would hold, read forward, backward and by number, over restarts and tables, and COPY and RENAME take all along;
 *   - count and bytes of the metadata are those of the elements; every position of a segment has its record, and every other
 *     record of the object is named dead; no position in use is;
 *   - a list used as a queue or stack stays one segment, and splitting stays within its bounds;
 *   - metadata that decodes has one spelling, and whatever it says, nothing but RES_CORRUPT comes of it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "os/env_memory.h"
#include "store/list_priv.h"
#include "store/store_priv.h"
#include "tests/lib/talk.h"
#include "tests/lib/tap.h"

#define MOST 20000

static struct talk t;
static uint64_t seed = 5;
static uint64_t draw(uint64_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return below ? (seed >> 24) % below : 0;
}

/* ---- the model: an array of numbers, each of which stands for some bytes ---- */

static uint32_t model[MOST];
static uint64_t length;
static uint32_t values;

static struct slice bytes_of(uint32_t v)
{
    static char text[4][6000];
    static int at;
    char *p = text[at = (at + 1) % 4];
    int n = v % 11 == 0 ? snprintf(p, 32, "%u", v) : snprintf(p, 32, "element %u", v);
    size_t len = v % 101 == 0 ? 60 + v % 80 : v % 997 == 0 ? 5000 : (size_t)n;
    if (len > (size_t)n)
        memset(p + n, 'x', len - (size_t)n);
    return v % 499 == 0 ? slice_of(p, 0) : slice_of(p, len);
}

static void model_insert(uint64_t at, uint32_t v)
{
    memmove(model + at + 1, model + at, (length - at) * sizeof *model);
    model[at] = v;
    length++;
}

static void model_remove(uint64_t at, uint64_t n)
{
    memmove(model + at, model + at + n, (length - at - n) * sizeof *model);
    length -= n;
}

/* ---- changes ---- */

struct list_at {
    struct store_key key;
    struct object o;
    struct list list;
};

static enum result open_list(struct call *c, const char *name, struct list_at *x)
{
    enum result r = store_key_init(c, 0, slice_str(name), &x->key);
    if (r == RES_OK)
        r = c->overlay ? store_write(c, &x->key, &x->o) : store_read(c, &x->key, 0, &x->o);
    return r == RES_OK ? list_open(&x->list, c, &x->o) : r;
}

static bool expect(struct slice got, uint32_t v) { return tap_check(slice_eq(got, bytes_of(v))); }

/* What a run does must not depend on how often it runs: draws are made before. */
struct plan {
    int kind;
    enum list_end end;
    uint64_t n, at, indexes[400];
    uint32_t first;
};

/* Every second push is of all elements at once. */
static enum result push(struct list *l, const struct plan *p)
{
    enum result r = RES_OK;
    struct call *c = l->e.c;
    if (p->first % 2 == 0) {
        for (uint64_t i = 0; r == RES_OK && i < p->n; i++)
            r = list_push(l, p->end, bytes_of(p->first + (uint32_t)i));
        return r;
    }
    struct slice *all = arena_alloc(c->arena, (p->n + 1) * sizeof *all);
    for (uint64_t i = 0; all && i < p->n; i++) {
        struct slice one = bytes_of(p->first + (uint32_t)i);
        void *copy = arena_copy(c->arena, one.data, one.len);
        if (!copy)
            return RES_NO_MEMORY;
        all[i] = slice_of(copy, one.len);
    }
    return all ? list_push_all(l, p->end, all, p->n) : RES_NO_MEMORY;
}

static enum result carry_out(struct call *c)
{
    const struct plan *p = call_background_arg(c);
    struct list_at x;
    struct slice value;
    enum result r = open_list(c, "list", &x);
    struct list *l = &x.list;
    if (r == RES_OK && p->kind == 0)
        r = push(l, p);
    for (uint64_t i = 0; r == RES_OK && p->kind == 1 && i < p->n; i++)
        r = list_pop(l, p->end, &value);
    if (r == RES_OK && p->kind == 2)
        r = list_drop(l, p->end, p->n, LIST_UNKNOWN);
    for (uint64_t i = 0; r == RES_OK && p->kind == 3 && i < p->n; i++)
        r = list_insert(l, p->at, bytes_of(p->first + (uint32_t)i));
    if (r == RES_OK && p->kind == 4) {
        uint64_t sum = 0;
        for (uint64_t i = 0; r == RES_OK && i < p->n; i++) {
            r = list_get(l, p->indexes[i], &value);
            sum += r == RES_OK ? list_entry_size(value) : 0;
        }
        r = r == RES_OK ? list_remove(l, p->indexes, p->n, sum) : r;
    }
    if (r == RES_OK && p->kind == 5)
        r = list_set(l, p->at, bytes_of(p->first));
    return r == RES_OK ? list_finish(l) : r;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t some_count(void)
{
    static const uint64_t counts[] = {1, 1, 1, 2, 3, 10, 255, 256, 257, 300, 700};
    return counts[draw(sizeof counts / sizeof counts[0])];
}

static void one_change(uint64_t most)
{
    struct plan p = {.kind = (int)draw(6), .end = draw(2) ? LIST_HEAD : LIST_TAIL, .n = some_count()};
    p.first = values;
    values += (uint32_t)p.n;
    if (length < most / 10 || (p.kind == 0 && length + p.n > most))
        p.kind = length < most / 10 ? 0 : 2;
    if (!length)
        p.kind = 0;
    if (p.kind == 0) {
        for (uint64_t i = 0; i < p.n; i++)
            model_insert(p.end == LIST_HEAD ? 0 : length, p.first + (uint32_t)i);
    } else if (p.kind <= 2) {
        p.n = p.n < length ? p.n : length;
        model_remove(p.end == LIST_HEAD ? 0 : length - p.n, p.n);
    } else if (p.kind == 3) {
        p.n = p.n % 20 + 1;
        p.at = draw(length + 1);
        for (uint64_t i = 0; i < p.n; i++)
            model_insert(p.at, p.first + (uint32_t)i);
    } else if (p.kind == 4) {
        uint64_t want = p.n < length ? p.n : length, from = draw(length), near = draw(2) ? length : want * 3;
        for (uint64_t i = 0; i < want; i++)
            p.indexes[i % 400] = (from + draw(near)) % length;
        want = want < 400 ? want : 400;
        qsort(p.indexes, want, sizeof *p.indexes, compare_numbers);
        p.n = 0;
        for (uint64_t i = 0; i < want; i++)
            if (!p.n || p.indexes[p.n - 1] != p.indexes[i])
                p.indexes[p.n++] = p.indexes[i];
        for (uint64_t i = p.n; i-- > 0;)
            model_remove(p.indexes[i], 1);
    } else {
        p.at = draw(length);
        model[p.at] = p.first;
    }
    talk_call(&t, carry_out, &p, RES_OK);
}

/* ---- checks ---- */

struct seen {
    const char *name;
    uint64_t segments, inline_shape, dense;
};

static void check_reads(struct list *l)
{
    struct list_cursor w;
    uint64_t n = 0, sum = 0;
    tap_eq_u64(list_length(l), length);
    tap_check(list_cursor_open(&w, l, 0, UINT64_MAX, false) == RES_OK);
    for (; list_cursor_next(&w) == RES_OK; n++) {
        if (n >= length || !expect(w.value, model[n]) || !tap_check(w.index == n))
            break;
        sum += list_entry_size(w.value);
    }
    list_cursor_close(&w);
    tap_eq_u64(n, length);
    if (l->e.pieces && !l->estimated)
        tap_eq_u64(l->e.bytes, sum);
    if (!length)
        return;
    uint64_t from = draw(length), most = draw(2) ? UINT64_MAX : draw(20) + 1, at = from;
    tap_check(list_cursor_open(&w, l, from, most, true) == RES_OK);
    for (n = 0; list_cursor_next(&w) == RES_OK; n++, at--)
        if (!expect(w.value, model[at]))
            break;
    list_cursor_close(&w);
    tap_eq_u64(n, most < from + 1 ? most : from + 1);
    for (int i = 0; i < 20; i++) {
        struct slice value;
        at = draw(length);
        tap_check(list_get(l, at, &value) == RES_OK && expect(value, model[at]));
    }
}

static bool in_segments(const struct list *l, uint64_t position)
{
    for (size_t i = 0; i < l->segment_count; i++)
        if (position - l->segments[i].position < l->segments[i].count)
            return true;
    return false;
}

/* Whether a dead range of this object's positions holds the position. */
static enum result is_dead(struct call *c, const uint8_t *prefix, uint64_t position, bool *dead)
{
    uint8_t lower[1 + ELEMENT_KEY_OBJECT + 1] = {'G'}, upper[sizeof lower];
    memcpy(lower + 1, prefix, ELEMENT_KEY_OBJECT + 1);
    memcpy(upper, lower, sizeof lower);
    upper[sizeof upper - 1]++;
    struct iter *it;
    enum result r = call_iter(c, slice_of(lower, sizeof lower), slice_of(upper, sizeof upper), 0, &it);
    if (r != RES_OK)
        return r;
    *dead = false;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        if (it->key.len != sizeof lower + 8 || it->value.len != ELEMENT_KEY_OBJECT + 1 + 8)
            continue;
        uint64_t from = get_be64(it->key.data + sizeof lower), to = get_be64(it->value.data + ELEMENT_KEY_OBJECT + 1);
        *dead |= from <= position && position < to;
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

/* Elements of the list in records of one subspace. What has none is named dead, and only that. */
static enum result count_records(struct call *c, struct list *l, uint8_t subspace, uint64_t *used)
{
    struct iter *it;
    struct list_block b;
    enum result r = piece_iter(&l->e, subspace, slice_of(NULL, 0), slice_of(NULL, 0), 0, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        uint64_t number = get_be64(piece_element(it).data), here = 0, lives = 0;
        bool dead = false;
        if (subspace == SUBSPACE_POSITIONS) {
            r = list_block_get(l, number / LIST_BLOCK, &b);
            here = lives = in_segments(l, number) && !(b.set >> number % LIST_BLOCK & 1);
        } else {
            r = list_block_decode(it->value, &b);
            for (unsigned i = 0; i < LIST_BLOCK; i++) {
                bool lives_there = in_segments(l, number * LIST_BLOCK + i);
                here += lives_there && b.set >> i & 1;
                lives += lives_there;
            }
        }
        if (r != RES_OK)
            break;
        *used += here;
        if ((!lives || draw(50) == 0) && (r = is_dead(c, it->key.data, number, &dead)) != RES_OK)
            break;
        tap_check(lives ? !dead : dead);
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result check_records(struct call *c, struct list *l)
{
    uint64_t used = 0;
    enum result r = count_records(c, l, SUBSPACE_POSITIONS, &used);
    if (r == RES_OK)
        r = count_records(c, l, SUBSPACE_BLOCKS, &used);
    tap_eq_u64(used, list_length(l));
    struct engine_key key;
    struct element table;
    if (r == RES_OK)
        r = piece_key(&l->e, SUBSPACE_RANKS, slice_of(NULL, 0), &key);
    if (r != RES_OK)
        return r;
    r = piece_get(&l->e, &key, &table);
    tap_check(r == (l->segment_count > 2 ? RES_OK : RES_NOT_FOUND));
    return RES_OK;
}

static enum result check_list(struct call *c)
{
    struct seen *s = call_background_arg(c);
    struct list_at x;
    enum result r = open_list(c, s->name, &x);
    if (r != RES_OK)
        return r;
    check_reads(&x.list);
    if (!x.list.e.pieces) {
        s->inline_shape++;
        return RES_OK;
    }
    tap_check(x.list.segment_count <= LIST_SEGMENTS_MAX);
    s->dense += x.list.segment_count == 1;
    if (x.list.segment_count > s->segments)
        s->segments = x.list.segment_count;
    return check_records(c, &x.list);
}

static struct seen random_changes(const struct talk_options *o, uint64_t most, int rounds, int steps)
{
    struct seen s = {.name = "list"};
    length = 0;
    talk_open(&t, o);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < steps; i++)
            one_change(most);
        talk_call(&t, check_list, &s, RES_OK);
        if (length) {
            tap_eq_str(talk(&t, "COPY list copy REPLACE"), ":1\r\n");
            tap_eq_str(talk(&t, "RENAME copy other"), "+OK\r\n");
            s.name = "other";
            talk_call(&t, check_list, &s, RES_OK);
            s.name = "list";
        }
        if (o->engine && o->engine->persistent) {
            if (round % 2)
                tap_check(front_flush(shard_front(t.shard)) == RES_OK);
            talk_close(&t);
            talk_open(&t, o);
            talk_call(&t, check_list, &s, RES_OK);
        }
    }
    talk_close(&t);
    return s;
}

static void small_lists_hold_what_an_array_would(void)
{
    struct env *env = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct seen s = {.name = ""};
    for (int i = 0; i < (tap_long() ? 40 : 6); i++) {
        struct talk_options o = {.env = env, .dir = "small"};
        struct seen one = random_changes(&o, 150 + draw(150), 20, 10);
        s.inline_shape += one.inline_shape;
        s.dense += one.dense;
    }
    tap_diag("%" PRIu64 " times inline, %" PRIu64 " dense", s.inline_shape, s.dense);
    tap_check(s.inline_shape > 0);
    env_memory_free(env);
}

static void large_lists_hold_what_an_array_would(void)
{
    struct env *env = env_memory_new(2, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    struct seen s = random_changes(&o, 12000, tap_long() ? 60 : 12, 100);
    tap_diag("at most %" PRIu64 " segments", s.segments);
    tap_check(s.segments > 10);
    env_memory_free(env);
}

static void they_do_over_tables_and_restarts(void)
{
    struct env *env = env_memory_new(3, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env, .engine = &engine_lsm, .memtable_bytes = 1 << 20};
    (void)random_changes(&o, 9000, tap_long() ? 30 : 5, 60);
    env_memory_free(env);
}

/* ---- shapes ---- */

static enum result look(struct call *c)
{
    struct seen *s = call_background_arg(c);
    struct list_at x;
    enum result r = open_list(c, s->name, &x);
    s->segments = r == RES_OK ? x.list.segment_count : 0;
    s->inline_shape = r == RES_OK && !x.list.e.pieces;
    return r;
}

static uint64_t segments_of(const char *name)
{
    struct seen s = {.name = name};
    talk_call(&t, look, &s, RES_OK);
    return s.segments;
}

static void queues_and_stacks_stay_dense(void)
{
    struct env *env = env_memory_new(4, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    for (int i = 0; i < 3000; i++) {
        (void)talk(&t, "RPUSH queue %d", i);
        (void)talk(&t, "%s stack %d", i % 2 ? "RPUSH" : "LPUSH", i);
        if (i >= 500) {
            char want[32];
            snprintf(want, sizeof want, "$%d\r\n%d\r\n",
                     i - 500 < 10     ? 1
                     : i - 500 < 100  ? 2
                     : i - 500 < 1000 ? 3
                                      : 4,
                     i - 500);
            tap_eq_str(talk(&t, "LPOP queue"), want);
            (void)talk(&t, "%s stack", draw(2) ? "LPOP" : "RPOP");
        }
        if (i % 500 == 499) {
            tap_eq_u64(segments_of("queue"), 1);
            tap_eq_u64(segments_of("stack"), 1);
        }
    }
    tap_eq_u64((uint64_t)talk_int(&t, "LLEN queue"), 500);
    /* a capped list */
    for (int i = 0; i < 1000; i++) {
        (void)talk(&t, "LPUSH capped %d", i);
        (void)talk(&t, "LTRIM capped 0 199");
    }
    tap_eq_u64(segments_of("capped"), 1);
    tap_eq_u64((uint64_t)talk_int(&t, "LLEN capped"), 200);
    talk_close(&t);
    env_memory_free(env);
}

static void insertions_deep_inside_are_joined(void)
{
    struct env *env = env_memory_new(5, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    struct seen s = {.name = "list"};
    talk_open(&t, &o);
    length = 0;
    for (int i = 0; i < 12; i++) {
        struct plan p = {.kind = 0, .end = LIST_TAIL, .n = 700, .first = values};
        for (uint64_t k = 0; k < p.n; k++)
            model_insert(length, values++);
        talk_call(&t, carry_out, &p, RES_OK);
    }
    for (int i = 0; i < (tap_long() ? 3000 : 900); i++) {
        struct plan p = {.kind = 3, .n = 1, .at = 1001 + draw(length - 2002), .first = values};
        model_insert(p.at, values++);
        talk_call(&t, carry_out, &p, RES_OK);
    }
    talk_call(&t, check_list, &s, RES_OK);
    tap_check(s.segments > LIST_SEGMENTS_MAX - 2);
    /* taken off from both ends until nothing is left */
    while (length) {
        struct plan p = {.kind = (int)(1 + draw(2)), .end = draw(2) ? LIST_HEAD : LIST_TAIL, .n = 1 + draw(300)};
        p.n = p.n < length ? p.n : length;
        model_remove(p.end == LIST_HEAD ? 0 : length - p.n, p.n);
        talk_call(&t, carry_out, &p, RES_OK);
        if (draw(4) == 0)
            talk_call(&t, check_list, &s, RES_OK);
    }
    tap_eq_u64((uint64_t)talk_int(&t, "EXISTS list"), 0);
    talk_close(&t);
    env_memory_free(env);
}

/* ---- encodings, as Redis 7.2 names them ---- */

static const char *encoding(const char *name)
{
    static char text[32];
    struct slice b = talk_bulk(slice_str(talk(&t, "OBJECT ENCODING %s", name)));
    snprintf(text, sizeof text, "%.*s", (int)b.len, (const char *)b.data);
    return text;
}

static void object_encoding_is_that_of_redis(void)
{
    struct env *env = env_memory_new(6, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    static char big[8192];
    talk_open(&t, &o);
    memset(big, 'x', sizeof big);
    /* 8192 bytes with head, end and the entry as it is sent: 7 + what is there + the plain bytes */
    struct slice argv[3] = {SLICE_LIT("RPUSH"), SLICE_LIT("a"), slice_of(big, 8185)};
    (void)talk_run(&t, 3, argv);
    tap_eq_str(encoding("a"), "listpack");
    (void)talk(&t, "DEL a");
    argv[2].len = 8186;
    (void)talk_run(&t, 3, argv);
    tap_eq_str(encoding("a"), "quicklist");
    (void)talk(&t, "RPUSH a 1");
    tap_eq_str(encoding("a"), "quicklist");
    (void)talk(&t, "LPOP a");
    tap_eq_str(encoding("a"), "listpack");
    /* numbers are small: 2 bytes each, and 7 */
    for (int i = 0; i < 4092; i++)
        (void)talk(&t, "RPUSH n 1");
    tap_eq_str(encoding("n"), "listpack");
    (void)talk(&t, "RPUSH n 1");
    tap_eq_str(encoding("n"), "listpack");
    (void)talk(&t, "RPUSH n 1");
    tap_eq_str(encoding("n"), "quicklist");
    (void)talk(&t, "LTRIM n 2050 -1"); /* 2044 are left: 4095 bytes */
    tap_eq_str(encoding("n"), "listpack");
    for (int i = 0; i < 2100; i++)
        (void)talk(&t, "RPUSH n 1");
    tap_eq_str(encoding("n"), "quicklist");
    (void)talk(&t, "RPOP n");
    tap_eq_str(encoding("n"), "quicklist");
    talk_close(&t);
    env_memory_free(env);
}

/* ---- damage ---- */

struct damage {
    const char *name;
    uint8_t record[4096];
    size_t len;
    enum result opened;
};

static enum result take_record(struct call *c)
{
    struct damage *d = call_background_arg(c);
    struct store_key key;
    struct slice record;
    enum result r = store_key_init(c, 0, slice_str(d->name), &key);
    if (r == RES_OK)
        r = call_get(c, &key.meta, &record);
    if (r != RES_OK)
        return r;
    d->len = record.len;
    memcpy(d->record, record.data, record.len);
    return RES_OK;
}

/* Opens the list with this record, goes through it, and writes it again unchanged. */
static enum result with_record(struct call *c)
{
    struct damage *d = call_background_arg(c);
    struct list_at x;
    struct list_cursor w;
    struct slice value, record;
    enum result r = store_key_init(c, 0, slice_str(d->name), &x.key);
    if (r == RES_OK)
        r = call_put(c, &x.key.meta, slice_of(d->record, d->len));
    if (r != RES_OK)
        return r;
    d->opened = store_write(c, &x.key, &x.o);
    if (d->opened == RES_OK && (!x.o.exists || x.o.type != TYPE_LIST))
        return RES_INVALID; /* so that nothing is committed */
    if (d->opened == RES_OK)
        d->opened = list_open(&x.list, c, &x.o);
    if (d->opened != RES_OK)
        return RES_INVALID;
    tap_check(list_length(&x.list) > 0);
    tap_check(list_cursor_open(&w, &x.list, 0, 10000, false) == RES_OK);
    while ((r = list_cursor_next(&w)) == RES_OK)
        continue;
    list_cursor_close(&w);
    tap_check(r == RES_NOT_FOUND || r == RES_CORRUPT);
    r = list_get(&x.list, list_length(&x.list) - 1, &value);
    tap_check(r == RES_OK || r == RES_CORRUPT);
    uint8_t before[sizeof d->record];
    memcpy(before, d->record, d->len);
    x.list.e.touched = x.list.table_changed = true;
    x.o.hints.len = 0; /* written whatever it says */
    if (list_finish(&x.list) == RES_OK && call_get(c, &x.key.meta, &record) == RES_OK)
        tap_check(slice_eq(record, slice_of(before, d->len)));
    return RES_INVALID;
}

static void damaged_metadata_is_found_or_has_one_spelling(void)
{
    struct env *env = env_memory_new(7, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    static const char *const names[] = {"inline", "dense", "split"};
    for (int i = 0; i < 20; i++)
        (void)talk(&t, "RPUSH inline element%d", i);
    for (int i = 0; i < 3000; i++)
        (void)talk(&t, "RPUSH dense %d", i);
    (void)talk(&t, "COPY dense split");
    for (int i = 1; i < 6; i++)
        (void)talk(&t, "LINSERT split BEFORE %d x", 1000 + i * 150);
    tap_check(segments_of("split") == 11);
    unsigned refused = 0, accepted = 0;
    for (int k = 0; k < 3; k++) {
        struct damage d = {.name = names[k]}, whole;
        talk_call(&t, take_record, &d, RES_OK);
        whole = d;
        for (int i = 0; i < 3000; i++) {
            d = whole;
            for (uint64_t n = draw(2) ? 1 : draw(4) + 1; n; n--)
                d.record[3 + draw(d.len - 3)] =
                    draw(2) ? (uint8_t)draw(256) : (uint8_t[]){0, 1, 0x7f, 0x80, 0xff}[draw(5)];
            if (draw(10) == 0)
                d.len = draw(d.len);
            talk_call(&t, with_record, &d, RES_INVALID);
            tap_check(d.opened == RES_OK || d.opened == RES_CORRUPT);
            refused += d.opened != RES_OK;
            accepted += d.opened == RES_OK;
        }
    }
    tap_diag("%u refused, %u accepted", refused, accepted);
    tap_check(refused > 1000 && accepted > 100);
    talk_close(&t);
    env_memory_free(env);
}

/* Whatever a block's record says, what is taken from it lies inside, and nothing else is in it. */
static void a_damaged_block_is_found(void)
{
    uint64_t good = 0;
    for (int round = 0; round < 200000; round++) {
        size_t len = draw(40);
        uint8_t *record = malloc(len + 1);
        for (size_t i = 0; i < len; i++)
            record[i] = (uint8_t)(draw(4) ? draw(6) : draw(256));
        if (len)
            record[0] = 1;
        struct list_block b;
        if (list_block_decode(slice_of(record, len), &b) == RES_OK) {
            size_t bytes = 3;
            for (unsigned i = 0; i < LIST_BLOCK; i++)
                if (b.set >> i & 1) {
                    tap_require(b.slot[i].data > record && b.slot[i].data + b.slot[i].len <= record + len);
                    bytes += 1 + b.slot[i].len;
                }
            tap_require(bytes == len);
            good++;
        }
        free(record);
    }
    tap_check(good > 100);
}

int main(void)
{
    tap_test(small_lists_hold_what_an_array_would);
    tap_test(large_lists_hold_what_an_array_would);
    tap_test(they_do_over_tables_and_restarts);
    tap_test(queues_and_stacks_stay_dense);
    tap_test(insertions_deep_inside_are_joined);
    tap_test(object_encoding_is_that_of_redis);
    tap_test(damaged_metadata_is_found_or_has_one_spelling);
    tap_test(a_damaged_block_is_found);
    return tap_done();
}

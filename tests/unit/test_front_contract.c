/* The contract of a front, over each engine: random commits, private tables, flushes and compactions against the model.
 * At any time, the newest state and every state that a reader has pinned (a view and a snapshot) is exactly the model's,
 * by gets, by iterators both ways and by counters; bounded iterators and seeks agree with a sorted list. */
#include <ftw.h>

#include "front/front.h"
#include "front/log_format.h"
#include "os/env_memory.h"
#include "tests/lib/front_model.h"
#include "tests/lib/tap.h"

#define PINS 6

struct pin {
    struct front_view *view;
    uint64_t snapshot, commits;
};

struct run {
    struct env *env;
    struct front *f;
    struct model model;
    struct model_state state;
    struct pin pins[PINS];
    char dir[64]; /* of an engine that goes past the environment: on the disk */
};

static const struct engine_ops *engine;

static void open_front(struct run *r)
{
    struct front_options o = {.env = r->env,
                              .engine = engine,
                              .dir = r->dir[0] ? r->dir : "/data",
                              .create = true,
                              .fsync = FRONT_FSYNC_NO,
                              .memtable_bytes = 9000,
                              .log_segment_bytes = 65536,
                              .log_ring_bytes = 65536,
                              .tuning = {.table_bytes = r->dir[0] ? 1 << 20 : 6000,
                                         .block_bytes = 512,
                                         .base_level_bytes = 20000,
                                         .cache_bytes = 100000}};
    struct errmsg msg;
    enum result res = front_open(&o, &r->f, &msg);
    if (res != RES_OK)
        tap_diag("%s", msg.text);
    tap_require(res == RES_OK);
}

static void check_at(struct run *r, struct front_view *v, uint64_t snapshot, uint64_t commits, bool counters)
{
    char why[200] = "";
    struct model_state s = model_state_at(&r->model, commits);
    if (!tap_check(model_equal(r->f, v, snapshot, &s, why, sizeof(why)) || (!counters && strstr(why, "counts"))))
        tap_diag("%s, after %llu of %zu commits: %s", engine->name, (unsigned long long)commits, r->model.count, why);
}

static void check_now(struct run *r)
{
    struct front_view *v = front_view_ref(r->f);
    check_at(r, v, front_visible(r->f), r->model.count, true);
    for (int ks = 0; ks < 3; ks++) {
        struct front_counts got = front_counts_latched(r->f, (uint32_t)ks), want = model_counts(&r->state, ks);
        tap_check(got.keys == want.keys && got.expires == want.expires);
    }
    front_view_unref(v);
}

/* Takes a pin anew, or checks one that has been held for a while; counters are exact from the gate on only. */
static void use_pin(struct run *r, struct pin *p)
{
    if (p->view) {
        check_at(r, p->view, p->snapshot, p->commits, false);
        if (model_draw(&r->model, 3))
            return;
        front_view_unref(p->view);
    }
    p->view = front_view_ref(r->f);
    p->snapshot = front_visible(r->f);
    p->commits = r->model.count;
}

/* Keys in order, and a walk between random bounds. */
static int by_key(const void *a, const void *b)
{
    uint8_t x[MODEL_KEY_BYTES], y[MODEL_KEY_BYTES];
    return slice_cmp(slice_of(x, model_key(*(const int *)a, x)), slice_of(y, model_key(*(const int *)b, y)));
}

static bool stands_on(const struct iter *it, int key)
{
    uint8_t bytes[MODEL_KEY_BYTES];
    return slice_eq(it->key, slice_of(bytes, model_key(key, bytes)));
}

static void walk(struct run *r)
{
    int order[MODEL_KEYS], in[MODEL_KEYS], n = 0;
    for (int i = 0; i < MODEL_KEYS; i++)
        order[i] = i;
    qsort(order, MODEL_KEYS, sizeof(int), by_key);
    int low = (int)model_draw(&r->model, MODEL_KEYS), high = (int)model_draw(&r->model, MODEL_KEYS);
    if (low > high) {
        int swap = low;
        low = high;
        high = swap;
    }
    uint8_t lower[MODEL_KEY_BYTES], upper[MODEL_KEY_BYTES];
    struct slice from = slice_of(lower, model_key(order[low], lower)),
                 to = slice_of(upper, model_key(order[high], upper));
    for (int i = low; i < high; i++)
        if (r->state.by[order[i]])
            in[n++] = order[i];
    struct front_view *v = front_view_ref(r->f);
    struct iter *it;
    tap_require(front_iter(v, front_visible(r->f), from, to, 0, &it) == RES_OK);
    front_view_unref(v); /* the iterator has its own reference */
    int at = -1;
    for (int step = 0; step < 60; step++) {
        enum result res;
        uint64_t move = at < 0 || at >= n ? model_draw(&r->model, 2) : model_draw(&r->model, 8);
        int key = order[model_draw(&r->model, MODEL_KEYS)];
        uint8_t target[MODEL_KEY_BYTES];
        struct slice t = slice_of(target, model_key(key, target));
        if (move <= 1) {
            at = 0;
            while (at < n && by_key(&in[at], &key) < 0)
                at++;
            at -= move == 1;
            res = move == 0 ? iter_seek(it, t) : iter_seek_last(it, t);
        } else {
            at += move % 2 ? 1 : -1;
            res = move % 2 ? iter_next(it) : iter_prev(it);
        }
        bool there = at >= 0 && at < n;
        if (!tap_check(res == (there ? RES_OK : RES_NOT_FOUND) && (!there || stands_on(it, in[at]))))
            tap_diag("%s: move %llu to %d of %d: %s", engine->name, (unsigned long long)move, at, n, result_text(res));
    }
    iter_close(it);
}

static void step(struct run *r)
{
    uint64_t what = model_draw(&r->model, 300);
    if (what < 3)
        tap_check(front_flush(r->f) == RES_OK);
    else if (what == 3)
        tap_check(front_compact(r->f) == RES_OK);
    else if (what < 20)
        check_now(r);
    else if (what < 40)
        use_pin(r, &r->pins[model_draw(&r->model, PINS)]);
    else if (what < 60)
        walk(r);
    else
        tap_require(model_commit(&r->model, r->f, &r->state, what < 75) == RES_OK);
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *at)
{
    (void)st, (void)what, (void)at;
    return remove(path);
}

static void random_work(const struct engine_ops *ops, uint64_t seed)
{
    bool real = ops == &engine_btree;
    struct run r = {.env = real ? env_posix() : env_memory_new(seed, ENV_MEMORY_PLAIN)};
    engine = ops;
    if (real) {
        const char *above = getenv("TMPDIR");
        snprintf(r.dir, sizeof(r.dir), "%s/varve-XXXXXX", above && strlen(above) < 40 ? above : "/tmp");
        tap_require(mkdtemp(r.dir) != NULL);
    }
    model_init(&r.model, seed, 2500);
    open_front(&r);
    for (int i = 0; i < (tap_long() ? 60000 : 4000); i++) {
        step(&r);
        if (i % 1500 == 1499 && engine->persistent) {
            for (int p = 0; p < PINS; p++)
                front_view_unref(r.pins[p].view);
            memset(r.pins, 0, sizeof(r.pins));
            tap_check(front_close(r.f) == RES_OK);
            open_front(&r);
            check_now(&r);
        }
    }
    check_now(&r);
    for (int p = 0; p < PINS; p++)
        front_view_unref(r.pins[p].view);
    struct errmsg msg;
    tap_check(front_check(r.f, &msg) == RES_OK);
    tap_check(front_close(r.f) == RES_OK);
    model_fini(&r.model);
    if (real) {
        tap_check(nftw(r.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
        return;
    }
    tap_check(env_memory_open_files(r.env) == 0);
    env_memory_free(r.env);
}

static void lsm(void) { random_work(&engine_lsm, 1); }
static void memory(void) { random_work(&engine_memory, 2); }
static void btree(void) { random_work(&engine_btree, 5); }
static void file(void) { random_work(&engine_file, 6); }

/* Whoever may not wait is told so while much is unordered, and not for long. */
static void opening_without_waiting(void)
{
    struct run r = {.env = env_memory_new(3, ENV_MEMORY_PLAIN)};
    engine = &engine_memory;
    struct front_options o = {.env = r.env, .engine = engine, .dir = "/data", .fsync = FRONT_FSYNC_NO};
    tap_require(front_open(&o, &r.f, NULL) == RES_OK);
    for (uint32_t i = 0; i < 6000; i++) {
        char text[16];
        struct engine_key key = {slice_of(text, (size_t)snprintf(text, sizeof(text), "M%06u", i * 7919 % 6007)), 0};
        key.hash = engine_hash(key.bytes);
        struct batch_record record = {key, SLICE_LIT("x"), RECORD_PUT};
        struct batch b = {.records = &record, .count = 1};
        enum result res;
        while ((res = front_reserve(r.f, &b)) == RES_WOULD_BLOCK) /* the keeper has not touched the memory yet */
            model_pause();
        tap_require(res == RES_OK);
        front_commit(r.f, &b);
    }
    struct front_view *v = front_view_ref(r.f);
    struct slice none = {NULL, 0};
    struct iter *it;
    tap_check(front_iter(v, front_snapshot(v), none, none, ITER_NOWAIT, &it) == RES_WOULD_BLOCK);
    tap_check(front_iter(v, front_snapshot(v), none, none, 0, &it) == RES_OK);
    iter_close(it);
    tap_check(front_iter(v, front_snapshot(v), none, none, ITER_NOWAIT, &it) == RES_OK);
    iter_close(it);
    front_view_unref(v);
    tap_check(front_close(r.f) == RES_OK);
    env_memory_free(r.env);
}

static void batches_that_are_refused(void)
{
    struct run r = {.env = env_memory_new(4, ENV_MEMORY_PLAIN)};
    engine = &engine_lsm;
    open_front(&r);
    static uint8_t big[FRONT_BATCH_MAX];
    struct engine_key key = {SLICE_LIT("Mbig"), 0};
    key.hash = engine_hash(key.bytes);
    struct batch_record record = {key, slice_of(big, sizeof(big)), RECORD_PUT};
    struct batch b = {.records = &record, .count = 1};
    tap_check(front_reserve(r.f, &b) == RES_INVALID);
    record.value.len = 60000; /* more than a segment of this test */
    enum result res;
    while ((res = front_reserve(r.f, &b)) == RES_WOULD_BLOCK) /* the log is being prepared */
        model_pause();
    tap_require(front_batch_bytes(r.f, &b) > 60000 && res == RES_OK);
    front_commit(r.f, &b);
    record.value.len = 65400;
    tap_check(front_reserve(r.f, &b) == RES_INVALID);
    tap_check(front_wait(r.f, front_visible(r.f)) == RES_OK);
    tap_check(front_close(r.f) == RES_OK);
    env_memory_free(r.env);
}

/* What the ring can hold, a group's header before it included, it takes, however often it has gone round. */
static void the_largest_batch(void)
{
    struct env *env = env_memory_new(4, ENV_MEMORY_PLAIN);
    struct front_options o = {.env = env,
                              .engine = &engine_lsm,
                              .dir = "/data",
                              .create = true,
                              .fsync = FRONT_FSYNC_NO,
                              .log_segment_bytes = 1 << 20,
                              .log_ring_bytes = 65536};
    struct front *f;
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    static uint8_t big[65536];
    struct engine_key key = {SLICE_LIT("Mbig"), 0};
    key.hash = engine_hash(key.bytes);
    struct batch_record record = {key, slice_of(big, sizeof(big)), RECORD_PUT};
    struct batch b = {.records = &record, .count = 1};
    while (front_batch_bytes(f, &b) > front_batch_max(f))
        record.value.len--;
    tap_require(front_batch_bytes(f, &b) == front_batch_max(f) && front_batch_max(f) > 65000);
    for (int i = 0; i < 20; i++) {
        enum result res;
        for (int turns = 0; (res = front_reserve(f, &b)) == RES_WOULD_BLOCK && turns < 10000; turns++)
            model_pause();
        tap_require(res == RES_OK);
        uint64_t sequence = front_commit(f, &b);
        tap_check(front_wait(f, sequence) == RES_OK);
    }
    record.value.len++;
    tap_check(front_reserve(f, &b) == RES_INVALID);
    tap_check(front_close(f) == RES_OK);
    env_memory_free(env);
}

/* Pages of a log that has only been allocated are not filled: what is written are the records. */
static void a_new_log_is_written_once(void)
{
    struct env *env = env_memory_new(4, ENV_MEMORY_PLAIN);
    struct front_options o = {
        .env = env, .engine = &engine_lsm, .dir = "/data", .create = true, .fsync = FRONT_FSYNC_NO};
    struct front *f;
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    struct engine_key key = {SLICE_LIT("Mkey"), 0};
    key.hash = engine_hash(key.bytes);
    struct batch_record record = {key, SLICE_LIT("value"), RECORD_PUT};
    struct batch b = {.records = &record, .count = 1};
    struct front_stats before, after;
    front_stats(f, &before);
    for (int i = 0; i < 1000; i++) {
        enum result res;
        while ((res = front_reserve(f, &b)) == RES_WOULD_BLOCK)
            model_pause();
        tap_require(res == RES_OK);
        uint64_t sequence = front_commit(f, &b);
        tap_require(front_wait(f, sequence) == RES_OK);
    }
    front_stats(f, &after);
    uint64_t written = after.log_bytes_written - before.log_bytes_written;
    tap_check(after.log_groups - before.log_groups == 1000);
    tap_check(written >= 1000 * (LOG_HEADER_BYTES + front_batch_bytes(f, &b)) &&
              written <= 1000 * (LOG_HEADER_BYTES + front_batch_bytes(f, &b) + 7));
    tap_check(front_close(f) == RES_OK);
    env_memory_free(env);
}

int main(void)
{
    tap_test(lsm);
    tap_test(memory);
    tap_test(btree);
    tap_test(file);
    tap_test(opening_without_waiting);
    tap_test(batches_that_are_refused);
    tap_test(the_largest_batch);
    tap_test(a_new_log_is_written_once);
    return tap_done();
}

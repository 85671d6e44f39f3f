/* The less common calls of a front, and whatever may go wrong in them. What must hold:
 *   1. What was committed by front_reserve_room and front_use_room is there, however full memtables, log and disk get; it is
 *      refused when nothing may be written.
 *   2. front_wait_flushed and front_await_engine wait for all that is sealed, a private table first.
 *   3. front_sync makes durable under every mode.
 *   4. A batch of a private table alone, one of counters alone, and deletes that grow old reach the engine.
 *   5. A copy holds what the original does, of whatever engine; whatever call fails on either side, it is an answer.
 *   6. The reserve of a full disk: whatever call fails at it, writes go on as long as the disk has room.
 *   7. When little is written the log becomes small, whatever it was before; nothing is lost by it, and writes go on.
 *   8. The size of memtables may change at any time, from large ones (MEMTABLE_LARGE) to small ones and back, beside readers
 *      that stay: nothing is lost, and there are never more of them than there may be. */
#include "base/log.h"
#include "front/internal.h"
#include "os/env_memory.h"
#include "tests/lib/front_model.h"
#include "tests/lib/tap.h"

static struct front_options options(struct env *env)
{
    return (struct front_options){.env = env,
                                  .engine = &engine_lsm,
                                  .dir = "/data",
                                  .create = true,
                                  .fsync = FRONT_FSYNC_NO,
                                  .memtable_bytes = 10000,
                                  .log_segment_bytes = 32768,
                                  .log_ring_bytes = 65536,
                                  .tuning = {.table_bytes = 8192, .block_bytes = 1024, .cache_bytes = 1 << 20}};
}

static struct front *open_front(struct env *env)
{
    struct front_options o = options(env);
    struct front *f;
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    return f;
}

static void close_front(struct front *f, struct env *env)
{
    tap_check(front_close(f) == RES_OK);
    tap_check(env_memory_open_files(env) == 0);
    env_memory_free(env);
}

struct one {
    char key[24];
    struct batch_record record;
    struct batch batch;
};

static uint8_t bytes_of_values[FRONT_BATCH_MAX];

static struct batch *put(struct one *o, unsigned i, size_t len)
{
    o->record.key.bytes = slice_of(o->key, (size_t)snprintf(o->key, sizeof(o->key), "M%06u", i));
    o->record.key.hash = engine_hash(o->record.key.bytes);
    o->record.kind = len ? RECORD_PUT : RECORD_DELETE;
    o->record.value = slice_of(bytes_of_values, len);
    o->batch = (struct batch){.records = &o->record, .count = 1, .now_ms = 1};
    return &o->batch;
}

static enum result commit(struct front *f, const struct batch *b)
{
    enum result res;
    while ((res = front_reserve(f, b)) == RES_WOULD_BLOCK) {
        front_kick(f);
        model_pause();
    }
    if (res == RES_OK) {
        (void)front_commit(f, b);
        front_kick(f);
    }
    return res;
}

static size_t length_of(struct front *f, unsigned i)
{
    struct one o;
    uint8_t *value = NULL;
    size_t len = 0;
    struct front_view *v = front_view_ref(f);
    (void)put(&o, i, 1);
    enum result res = front_get_wait(v, front_visible(f), &o.record.key, &value, &len);
    tap_check(res == RES_OK || res == RES_NOT_FOUND);
    front_view_unref(v);
    free(value);
    return res == RES_OK ? len : 0;
}

/* ---- 1 ---- */

static void rooms_take_what_was_asked_for(void)
{
    struct env *env = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct front *f = open_front(env);
    size_t want[200] = {0};
    int taken = 0, refused = 0;
    uint64_t seed = 1;
    for (int i = 0; i < 3000; i++) {
        struct one o;
        seed = hash_mix(seed + 1);
        unsigned key = (unsigned)(seed % 200);
        size_t len = 1 + (seed >> 20) % (i % 50 == 7 ? 20000 : 300);
        const struct batch *b = put(&o, key, len);
        if (front_reserve_room(f, o.record.key.bytes.len + len + (seed >> 50) % 100, 1)) {
            taken++;
            front_use_room(f, b);
            (void)front_commit(f, b);
            if (i % 3)
                front_kick(f);
        } else {
            refused++;
            tap_require(commit(f, b) == RES_OK);
        }
        want[key] = len;
    }
    tap_check(taken > 1000 && refused > 0);
    tap_check(!front_reserve_room(f, FRONT_BATCH_MAX + 1, 1)); /* longer than a record of the log */
    tap_check(!front_reserve_room(f, MEMTABLE_ROOM + 1, 1));   /* than a memtable */
    tap_check(!front_reserve_room(f, 100, (size_t)1 << 20));   /* in records as well */
    for (unsigned i = 0; i < 200; i++)
        tap_eq_u64(length_of(f, i), want[i]);
    struct one o;
    const struct batch *large = put(&o, 1, FRONT_BATCH_MAX - 10);
    tap_check(front_reserve(f, large) == RES_INVALID);
    large = put(&o, 1, 40000); /* than a file of the log */
    tap_check(front_reserve(f, large) == RES_INVALID);
    env_faults_add(
        env_memory_faults(env),
        &(struct env_fault){.ops = ENV_OP_BIT(ENV_OP_PWRITEV), .path = "/wal/", .times = UINT64_MAX, .code = RES_IO});
    (void)commit(f, put(&o, 1, 10));
    while (!front_frozen(f))
        model_pause();
    tap_check(!front_reserve_room(f, 100, 1));
    tap_check(front_seal(f) == RES_READ_ONLY && front_flush(f) == RES_READ_ONLY && front_compact(f) == RES_READ_ONLY);
    struct errmsg msg;
    uint64_t sequence;
    tap_check(front_checkpoint(f, "/copy", NULL, &sequence, &msg) != RES_OK || !front_failure(f)[0]);
    tap_check(front_close(f) == RES_READ_ONLY);
    env_memory_free(env);
}

/* ---- 2 ---- */

static struct batch *with_table(struct front *f, struct one *o, unsigned i, bool records)
{
    struct one inside;
    (void)put(&inside, i + 1000, 30);
    put(o, i, 20);
    tap_require(front_table_begin(f, &o->batch.table) == RES_OK);
    tap_require(front_table_add(f, o->batch.table, inside.record.key.bytes, RECORD_PUT, inside.record.value) == RES_OK);
    tap_require(front_table_finish(f, o->batch.table, &o->batch.table_number) == RES_OK);
    if (!records)
        o->batch.count = 0;
    return &o->batch;
}

static int sources(struct front *f)
{
    os_mutex_lock(&f->view_lock);
    int n = f->source_count;
    os_mutex_unlock(&f->view_lock);
    return n;
}

/* The table's boundary is that of the memtable below it: comparing those, nothing would be left to wait for. */
static void a_private_table_is_waited_for(void)
{
    struct env *env = env_memory_new(2, ENV_MEMORY_PLAIN);
    struct front *f = open_front(env);
    struct one o;
    log_set_level(LOG_NOTHING);
    for (unsigned i = 0; i < 5; i++)
        tap_require(commit(f, put(&o, i, 100)) == RES_OK);
    tap_require(front_flush(f) == RES_OK);
    env_faults_add(env_memory_faults(env), &(struct env_fault){.ops = ENV_OP_BIT(ENV_OP_PWRITEV),
                                                               .path = "/MANIFEST",
                                                               .times = UINT64_MAX,
                                                               .code = RES_NO_SPACE});
    tap_require(commit(f, with_table(f, &o, 7, true)) == RES_OK);
    tap_check(front_await_engine(f, NULL) == RES_NO_SPACE); /* the disk has no room for it, which it says */
    tap_check(sources(f) == 2);
    env_faults_clear(env_memory_faults(env));
    tap_check(front_wait_flushed(f) == RES_OK);
    tap_check(sources(f) == 1);
    tap_check(front_wait_flushed(f) == RES_OK && front_await_engine(f, NULL) == RES_OK); /* nothing is sealed */
    tap_eq_u64(length_of(f, 7), 20);
    tap_eq_u64(length_of(f, 1007), 30);
    log_set_level(LOG_WARNING);
    close_front(f, env);
}

/* ---- 3 ---- */

static void a_sync_makes_durable_whatever_the_mode(void)
{
    for (int mode = FRONT_FSYNC_ALWAYS; mode <= FRONT_FSYNC_NO; mode++) {
        struct env *env = env_memory_new(3, ENV_MEMORY_CRASH);
        struct front *f = open_front(env);
        struct one o;
        front_set_fsync(f, (enum front_fsync)mode);
        for (unsigned i = 0; i < 20; i++) {
            tap_require(commit(f, put(&o, i, 50)) == RES_OK);
            if (i % 5 == 4)
                tap_check(front_sync(f, front_visible(f)) == RES_OK && front_durable(f) == front_visible(f));
        }
        tap_check(front_sync(f, front_visible(f)) == RES_OK); /* again */
        struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, 1);
        struct front *g = open_front(image);
        for (unsigned i = 0; i < 20; i++)
            tap_eq_u64(length_of(g, i), 50);
        close_front(g, image);
        tap_require(commit(f, put(&o, 50, 50)) == RES_OK);
        env_faults_add(env_memory_faults(env),
                       &(struct env_fault){.ops = ENV_OP_BIT(ENV_OP_SYNC) | ENV_OP_BIT(ENV_OP_PWRITEV),
                                           .path = "/wal/",
                                           .times = UINT64_MAX,
                                           .code = RES_IO});
        tap_require(front_frozen(f) || commit(f, put(&o, 51, 50)) != RES_INVALID);
        tap_check(front_sync(f, front_visible(f)) == RES_READ_ONLY);
        tap_check(front_frozen(f) && front_failure(f)[0]);
        tap_check(front_sync(f, front_visible(f)) == RES_READ_ONLY);
        tap_check(front_close(f) == RES_READ_ONLY);
        env_memory_free(env);
    }
}

/* ---- 4 ---- */

static void batches_without_records(void)
{
    struct env *env = env_memory_new(4, ENV_MEMORY_PLAIN);
    struct front *f = open_front(env);
    struct one o;
    for (unsigned i = 0; i < 30; i++) {
        struct batch_counter c = {i % 3, 1, 0};
        struct batch counted = {.counters = &c, .counter_count = 1, .now_ms = 1};
        tap_require(commit(f, with_table(f, &o, i, i % 3 == 0)) == RES_OK);
        tap_require(commit(f, &counted) == RES_OK);
        if (i % 7 == 6)
            tap_require(front_flush(f) == RES_OK);
        if (i == 15) {
            tap_require(front_close(f) == RES_OK);
            f = open_front(env);
        }
    }
    tap_require(front_flush(f) == RES_OK);
    for (unsigned i = 0; i < 30; i++) {
        tap_eq_u64(length_of(f, i), i % 3 == 0 ? 20 : 0);
        tap_eq_u64(length_of(f, i + 1000), 30);
        tap_eq_u64((uint64_t)front_counts_latched(f, i % 3).keys, 10);
    }
    static struct batch_counter many[COUNTERS_BATCH_MAX + 1];
    for (uint32_t i = 0; i <= COUNTERS_BATCH_MAX; i++)
        many[i] = (struct batch_counter){i, i % 2 ? 1 : -1, 0};
    struct batch b = {.counters = many, .counter_count = COUNTERS_BATCH_MAX + 1, .now_ms = 1};
    tap_check(commit(f, &b) == RES_INVALID);
    b.counter_count = COUNTERS_BATCH_MAX;
    tap_check(commit(f, &b) == RES_OK);
    tap_check(front_counts_latched(f, 77).keys == 1);
    close_front(f, env);
}

static void deletes_that_are_old_are_sealed(void)
{
    struct env *env = env_memory_new(5, ENV_MEMORY_PLAIN);
    struct front *f = open_front(env);
    struct one o;
    tap_require(commit(f, put(&o, 1, 10)) == RES_OK);
    tap_check(front_seal_deletes(f) == RES_OK);
    env_memory_advance(env, 2 * SEAL_DELETES_NS);
    tap_check(front_seal_deletes(f) == RES_OK && sources(f) == 1); /* there are none */
    tap_require(commit(f, put(&o, 1, 0)) == RES_OK);
    tap_check(front_seal_deletes(f) == RES_OK);
    env_memory_advance(env, SEAL_DELETES_NS - 1);
    const struct memtable *active = f->active;
    tap_check(front_seal_deletes(f) == RES_OK && f->active == active);
    env_memory_advance(env, 1);
    enum result res;
    while ((res = front_seal_deletes(f)) == RES_WOULD_BLOCK) {
        front_kick(f);
        model_pause();
    }
    tap_check(res == RES_OK && f->active != active);
    tap_check(front_wait_flushed(f) == RES_OK);
    close_front(f, env);
}

static void extreme_options_are_brought_into_bounds(void)
{
    static const int memtables[] = {-3, 1, 2, 1000};
    for (size_t i = 0; i < sizeof(memtables) / sizeof(*memtables); i++) {
        struct env *env = env_memory_new(6, ENV_MEMORY_PLAIN);
        struct front_options o = options(env);
        struct front *f;
        struct one one;
        o.memtable_bytes = i % 2 ? 1 : 0;
        o.memtables_max = memtables[i];
        o.log_segment_bytes = i < 2 ? 1 : 0;
        o.log_ring_bytes = i < 2 ? 1 : 0;
        tap_require(front_open(&o, &f, NULL) == RES_OK);
        for (unsigned k = 0; k < 100; k++)
            tap_require(commit(f, put(&one, k, 200)) == RES_OK);
        for (unsigned k = 0; k < 100; k++)
            tap_eq_u64(length_of(f, k), 200);
        close_front(f, env);
    }
}

/* ---- 5 ---- */

#define KEYSPACES 1500

struct told {
    uint64_t calls, stop_at;
};

static bool told(void *arg, uint64_t records)
{
    struct told *t = arg;
    (void)records;
    return ++t->calls != t->stop_at;
}

static struct front *make_original(struct env *env, unsigned records)
{
    struct front *f = open_front(env);
    struct one o;
    for (unsigned i = 0; i < records; i++)
        tap_require(commit(f, put(&o, i, 1 + i % 90)) == RES_OK);
    for (unsigned i = 0; i < records; i += 5)
        tap_require(commit(f, put(&o, i, 0)) == RES_OK);
    for (uint32_t i = 0; i < KEYSPACES; i++) {
        struct batch_counter c = {i, i + 1, i % 4};
        struct batch b = {.counters = &c, .counter_count = 1, .now_ms = 1};
        tap_require(commit(f, &b) == RES_OK);
    }
    tap_require(front_wait(f, front_visible(f)) == RES_OK);
    return f;
}

static bool is_copy(struct front *f, unsigned records)
{
    bool same = front_gate(f) == front_visible(f);
    for (unsigned i = 0; i < records; i++)
        same &= length_of(f, i) == (i % 5 == 0 ? 0 : 1 + i % 90);
    for (uint32_t i = 0; i < KEYSPACES; i++)
        same &= front_counts_latched(f, i).keys == i + 1 && front_counts_latched(f, i).expires == i % 4;
    return same;
}

static void a_copy_holds_what_the_original_does(void)
{
    static const struct engine_ops *const engines[] = {&engine_lsm, &engine_file};
    struct env *env = env_memory_new(7, ENV_MEMORY_PLAIN);
    struct front *f = make_original(env, 3000);
    struct errmsg msg;
    for (int e = 0; e < 2; e++)
        for (uint64_t stop_at = 0; stop_at < 4; stop_at++) {
            struct env *other = env_memory_new(8, ENV_MEMORY_PLAIN);
            struct front_options o = options(other);
            struct told t = {.stop_at = stop_at};
            struct front *to;
            o.engine = engines[e];
            o.like = front_identity(f);
            o.memtables_max = 2;
            tap_require(front_open(&o, &to, &msg) == RES_OK);
            tap_check(front_identity(to)->boot_epoch == front_identity(f)->boot_epoch);
            tap_check(memcmp(front_identity(to)->seed, front_identity(f)->seed, 16) == 0);
            enum result res = front_copy(f, to, stop_at || e ? told : NULL, &t, &msg);
            tap_check(res == (stop_at ? RES_INTERRUPTED : RES_OK));
            if (res == RES_OK)
                tap_check(is_copy(to, 3000));
            else
                tap_check(strstr(msg.text, "/data"));
            close_front(to, other);
        }
    close_front(f, env);
    env = env_memory_new(9, ENV_MEMORY_PLAIN);
    f = make_original(env, 0); /* no record to be flushed */
    for (int i = 0; i < 50; i++) {
        struct env *other = env_memory_new(10, ENV_MEMORY_PLAIN);
        struct front_options o = options(other);
        struct front *to;
        o.fsync = FRONT_FSYNC_ALWAYS;
        tap_require(front_open(&o, &to, &msg) == RES_OK);
        tap_require(front_copy(f, to, NULL, NULL, &msg) == RES_OK);
        tap_check(is_copy(to, 0));
        close_front(to, other);
    }
    close_front(f, env);
    env = env_memory_new(9, ENV_MEMORY_PLAIN); /* and of nothing */
    f = open_front(env);
    struct env *other = env_memory_new(10, ENV_MEMORY_PLAIN);
    struct front *to = open_front(other);
    tap_check(front_copy(f, to, NULL, NULL, &msg) == RES_OK);
    close_front(to, other);
    close_front(f, env);
}

static void a_copy_that_fails_says_so(void)
{
    static const enum result codes[] = {RES_IO, RES_NO_SPACE};
    struct env *env = env_memory_new(11, ENV_MEMORY_PLAIN);
    struct front *f = make_original(env, 300);
    struct errmsg msg;
    unsigned failed = 0, done = 0;
    log_set_level(LOG_NOTHING);
    tap_require(front_flush(f) == RES_OK);
    front_set_cache_bytes(f, 0);
    for (int side = 0; side < 2; side++)
        for (uint64_t nth = 1; nth < 60; nth += tap_long() ? 1 : 2)
            for (int c = 0; c < 2; c++) {
                struct env *other = env_memory_new(12, ENV_MEMORY_PLAIN);
                struct front *to = open_front(other);
                struct env *at = side ? env : other;
                env_faults_add(env_memory_faults(at), &(struct env_fault){.ops = ENV_OPS_ALL,
                                                                          .nth = nth,
                                                                          .code = codes[c],
                                                                          .times = codes[c] == RES_IO ? UINT64_MAX : 1,
                                                                          .path = side ? ".sst" : NULL});
                enum result res = front_copy(f, to, NULL, NULL, &msg);
                env_faults_clear(env_memory_faults(at));
                failed += res != RES_OK;
                done += res == RES_OK;
                if (res == RES_OK)
                    tap_check(is_copy(to, 300));
                else
                    tap_check(msg.text[0] != 0);
                enum result closed = front_close(to);
                tap_check(closed == RES_OK || closed == RES_READ_ONLY || closed == RES_IO);
                env_memory_free(other);
            }
    log_set_level(LOG_WARNING);
    tap_check(failed > 10 && done > 10);
    tap_check(front_close(f) == RES_OK);
    env_memory_free(env);
}

/* ---- 6 ---- */

static void whatever_fails_at_the_reserve_writes_go_on(void)
{
    static const struct env_fault kinds[] = {
        {.ops = ENV_OPS_ALL, .code = RES_IO, .path = "/reserve"},
        {.ops = ENV_OPS_ALL, .code = RES_IO, .path = "/reserve", .times = UINT64_MAX},
        {.ops = ENV_OP_BIT(ENV_OP_ALLOCATE), .code = RES_UNSUPPORTED, .path = "/reserve", .times = UINT64_MAX},
        {.ops = ENV_OP_BIT(ENV_OP_ALLOCATE) | ENV_OP_BIT(ENV_OP_PWRITEV),
         .code = RES_UNSUPPORTED,
         .path = "/reserve",
         .times = UINT64_MAX},
        {.ops = ENV_OP_BIT(ENV_OP_SPACE), .code = RES_IO, .times = UINT64_MAX},
        {.ops = ENV_OP_BIT(ENV_OP_UNLINK), .code = RES_IO, .path = "/reserve", .times = UINT64_MAX},
    };
    log_set_level(LOG_NOTHING);
    for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
        for (uint64_t nth = 1; nth < (kinds[k].times ? 2 : 8); nth++)
            for (int second = 0; second < 2; second++) { /* one is there from before, too large or too small */
                struct env *env = env_memory_new(13, ENV_MEMORY_PLAIN);
                struct front_options o = options(env);
                struct front *f;
                struct one one;
                o.reserve_bytes = 300000;
                if (second) {
                    struct front_options before = o;
                    before.reserve_bytes = nth % 2 ? 200000 : 500000;
                    tap_require(front_open(&before, &f, NULL) == RES_OK);
                    for (int i = 0; i < 2000 && !env_exists(env, "/data/reserve"); i++)
                        model_pause();
                    tap_require(front_close(f) == RES_OK);
                }
                struct env_fault fault = kinds[k];
                fault.nth = nth;
                env_faults_add(env_memory_faults(env), &fault);
                tap_require(front_open(&o, &f, NULL) == RES_OK);
                for (unsigned i = 0; i < 20; i++)
                    tap_check(commit(f, put(&one, i, 900)) == RES_OK);
                for (int i = 0; i < 40; i++)
                    model_pause();
                env_memory_set_space(env, env_memory_used(env) + 30000);
                enum result res = RES_OK;
                unsigned n = 20;
                for (; n < 600 && res == RES_OK; n++)
                    res = commit(f, put(&one, n, 900));
                tap_check(res == RES_NO_SPACE && !front_frozen(f));
                for (unsigned i = 0; i < 20;
                     i++) { /* what of them fits; where no reserve could be made, perhaps none */
                    res = commit(f, put(&one, i, 0));
                    tap_check(res == RES_OK || res == RES_NO_SPACE);
                }
                env_faults_clear(env_memory_faults(env));
                env_memory_set_space(env, UINT64_MAX);
                for (int i = 0; i < 4000 && (res = commit(f, put(&one, 700, 900))) == RES_NO_SPACE; i++)
                    os_sleep_ns(1000000);
                if (!tap_check(res == RES_OK))
                    tap_diag("kind %zu, call %d: %s", k, (int)nth, result_text(res));
                tap_eq_u64(length_of(f, 700), 900);
                close_front(f, env);
            }
    log_set_level(LOG_WARNING);
}

/* What a checkpoint cannot be, and what fails when one is removed: it is there whole, or not at all. */
static void checkpoints_that_cannot_be(void)
{
    struct env *env = env_memory_new(14, ENV_MEMORY_PLAIN);
    struct front *f = open_front(env);
    struct one o;
    struct errmsg msg = {""};
    uint64_t sequence;
    char path[700];
    log_set_level(LOG_NOTHING);
    tap_require(commit(f, put(&o, 1, 100)) == RES_OK && front_flush(f) == RES_OK);
    memset(path, 'c', sizeof(path));
    path[0] = '/';
    path[650] = 0;
    static const char *const names[] = {"", "/", "/copy/"};
    for (size_t i = 0; i < 3; i++)
        tap_check(front_checkpoint(f, names[i], NULL, &sequence, &msg) == RES_INVALID && msg.text[0]);
    tap_check(front_checkpoint(f, path, NULL, &sequence, &msg) == RES_INVALID);
    tap_check(front_checkpoint_remove(env, "") == RES_INVALID);
    tap_check(front_checkpoint_remove(env, "/none") == RES_OK);
    for (uint64_t nth = 1; nth < 60; nth++) {
        tap_require(front_checkpoint(f, nth % 2 ? "copy" : "/copy", NULL, &sequence, &msg) == RES_OK);
        env_faults_add(
            env_memory_faults(env),
            &(struct env_fault){.ops = ENV_OPS_ALL, .path = nth % 3 ? "copy" : NULL, .nth = nth, .code = RES_IO});
        enum result res = front_checkpoint_remove(env, nth % 2 ? "copy" : "/copy");
        bool hit = env_faults_hits(env_memory_faults(env)) > 0;
        env_faults_clear(env_memory_faults(env));
        tap_check(res == RES_OK || hit);
        tap_check(front_checkpoint_remove(env, nth % 2 ? "copy" : "/copy") == RES_OK);
        tap_check(!env_exists(env, nth % 2 ? "copy" : "/copy"));
        tap_check(env_remove_tree(env, nth % 2 ? "copy.tmp" : "/copy.tmp") == RES_OK);
    }
    for (uint64_t nth = 1; nth < 80; nth++) { /* and the removal of what was half made fails, too */
        env_faults_add(
            env_memory_faults(env),
            &(struct env_fault){.ops = ENV_OPS_WRITE, .path = "copy", .nth = nth, .times = UINT64_MAX, .code = RES_IO});
        enum result res = front_checkpoint(f, "/copy", NULL, &sequence, &msg);
        env_faults_clear(env_memory_faults(env));
        tap_check(res == RES_OK || msg.text[0]);
        tap_check(front_checkpoint_remove(env, "/copy") == RES_OK);
    }
    tap_check(!front_frozen(f));
    close_front(f, env);
    env = env_memory_new(15, ENV_MEMORY_PLAIN);
    struct front_options volatile_options = options(env);
    volatile_options.engine = &engine_memory;
    tap_require(front_open(&volatile_options, &f, NULL) == RES_OK);
    tap_check(front_checkpoint(f, "/copy", NULL, &sequence, &msg) == RES_UNSUPPORTED);
    close_front(f, env);
    log_set_level(LOG_WARNING);
}

/* ---- 7 ---- */

#define REST_SEGMENT 262144
#define REST_LITTLE 24576 /* the START record, some commits, and what lies ready for more */

struct log_files {
    struct env *env;
    uint64_t bytes;
    unsigned count;
};

static void add_log_file(void *arg, const char *name)
{
    struct log_files *l = arg;
    struct env_file *file;
    char path[64];
    uint64_t size = 0;
    snprintf(path, sizeof(path), "/data/wal/%s", name);
    if (l->env->ops->open(l->env, path, ENV_READ, &file) != RES_OK)
        return; /* it has just gone */
    if (file->ops->size(file, &size) == RES_OK)
        l->bytes += size;
    l->count++;
    tap_check(file->ops->close(file) == RES_OK);
}

static struct log_files log_files(struct env *env)
{
    struct log_files l = {.env = env};
    tap_require(env->ops->list(env, "/data/wal", add_log_file, &l) == RES_OK);
    return l;
}

static void all_are_there(struct front *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        tap_eq_u64(length_of(f, i), 400 + i % 50);
}

/* What a crash would leave on the disk now is whole. */
static void check_crash(struct env *env, uint64_t seed, unsigned count)
{
    struct errmsg why = {""};
    struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, seed);
    tap_require(image != NULL);
    struct front_options o = options(image);
    struct front *g;
    o.memtable_bytes = 4 << 20;
    o.log_segment_bytes = REST_SEGMENT;
    if (!tap_check(front_open(&o, &g, &why) == RES_OK)) {
        tap_diag("%s", why.text);
        env_memory_free(image);
        return;
    }
    all_are_there(g, count);
    close_front(g, image);
}

/* Asked to look after itself as a server does; false: the log does not become small. */
static bool comes_to_rest(struct front *f, struct env *env, unsigned count)
{
    for (int i = 0; i < 5000; i++) {
        env_memory_advance(env, FRONT_REST_NS);
        enum result res = front_rest(f);
        tap_require(res == RES_OK || res == RES_WOULD_BLOCK);
        struct log_files l = log_files(env);
        if (l.count == 1 && l.bytes <= REST_LITTLE)
            return true;
        front_kick(f);
        model_pause();
        check_crash(env, (uint64_t)i, count);
    }
    struct log_files l = log_files(env);
    tap_diag("%u log files with %llu bytes", l.count, (unsigned long long)l.bytes);
    return false;
}

static void check_rest(enum front_fsync mode, bool whole_memtables)
{
    struct env *env = env_memory_new(41, ENV_MEMORY_HISTORY);
    struct front_options o = options(env);
    struct front *f;
    struct one one;
    unsigned count = 0;
    o.fsync = mode;
    o.memtable_bytes = whole_memtables ? 60000 : 4 << 20;
    o.log_segment_bytes = REST_SEGMENT;
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    for (int round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 1500; i++, count++)
            tap_require(commit(f, put(&one, count, 400 + count % 50)) == RES_OK);
        tap_require(front_sync(f, front_visible(f)) == RES_OK);
        tap_check(log_files(env).bytes > 2 * REST_SEGMENT);
        if (whole_memtables)
            tap_require(front_flush(f) == RES_OK); /* so that nothing is left in the active one */
        tap_check(comes_to_rest(f, env, count));
        all_are_there(f, count);
        if (round % 2 == 0)
            continue;
        tap_require(front_close(f) == RES_OK);
        tap_require(front_open(&o, &f, NULL) == RES_OK);
        all_are_there(f, count);
    }
    /* A large batch, for which nothing lies ready. */
    tap_check(comes_to_rest(f, env, count));
    tap_check(commit(f, put(&one, count, 50000)) == RES_OK);
    tap_eq_u64(length_of(f, count), 50000);
    close_front(f, env);
}

static void a_log_at_rest_is_small(void)
{
    static const enum front_fsync modes[] = {FRONT_FSYNC_ALWAYS, FRONT_FSYNC_EVERYSEC, FRONT_FSYNC_NO};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        check_rest(modes[i], false);
        check_rest(modes[i], true);
    }
}

/* ---- 8 ---- */

#define SIZED_KEYS 500

static void memtables_change_their_size(void)
{
    static const uint64_t sizes[] = {
        MEMTABLE_LARGE, MEMTABLE_LARGE, 2 << 20, 64 << 10, MEMTABLE_LARGE + (2 << 20), MEMTABLE_LARGE + 65536, 0};
    struct env *env = env_memory_new(12, ENV_MEMORY_PLAIN);
    struct front_options o = options(env);
    struct front *f;
    struct one one;
    struct front_stats stats;
    size_t len[SIZED_KEYS] = {0};
    unsigned n = 0;
    o.memtable_bytes = MEMTABLE_LARGE + (1 << 20);
    o.memtables_max = 2;
    o.log_segment_bytes = 4 << 20;
    o.log_ring_bytes = 1 << 20;
    o.tuning.table_bytes = 1 << 20;
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct front_view *stays = i % 2 ? front_view_ref(f) : NULL;
        front_set_memtable_bytes(f, sizes[i]);
        uint64_t most = 0, bytes = 3 * front_memtable_bytes(f);
        for (uint64_t written = 0; written < bytes; n++) {
            len[n % SIZED_KEYS] = 20000 + n % 999;
            tap_require(commit(f, put(&one, n % SIZED_KEYS, len[n % SIZED_KEYS])) == RES_OK);
            written += len[n % SIZED_KEYS];
            front_stats(f, &stats);
            if (stats.memtables > most)
                most = stats.memtables;
        }
        tap_check(most <= 2);
        if (stays)
            front_view_unref(stays);
    }
    for (unsigned k = 0; k < SIZED_KEYS; k++)
        tap_eq_u64(length_of(f, k), len[k]);
    close_front(f, env);
}

/* More keys at a time than are taken together, of memtables alone. */
static void any_number_of_keys_is_looked_ahead(void)
{
    struct env *env = env_memory_new(13, ENV_MEMORY_PLAIN);
    struct front *f = open_front(env);
    static struct one ones[3 * ENGINE_PREFETCH_MAX];
    struct engine_key keys[3 * ENGINE_PREFETCH_MAX];
    for (unsigned i = 0; i < 3 * ENGINE_PREFETCH_MAX; i++) {
        tap_require(commit(f, put(&ones[i], i, 10 + i)) == RES_OK);
        keys[i] = ones[i].record.key;
    }
    struct front_view *v = front_view_ref(f);
    epoch_enter();
    for (unsigned n = 0; n <= 3 * ENGINE_PREFETCH_MAX; n++)
        front_prefetch(v, keys, n);
    epoch_leave();
    front_view_unref(v);
    for (unsigned i = 0; i < 3 * ENGINE_PREFETCH_MAX; i++)
        tap_eq_u64(length_of(f, i), 10 + i);
    close_front(f, env);
}

int main(void)
{
    tap_test(rooms_take_what_was_asked_for);
    tap_test(a_private_table_is_waited_for);
    tap_test(a_sync_makes_durable_whatever_the_mode);
    tap_test(batches_without_records);
    tap_test(deletes_that_are_old_are_sealed);
    tap_test(extreme_options_are_brought_into_bounds);
    tap_test(a_copy_holds_what_the_original_does);
    tap_test(a_copy_that_fails_says_so);
    tap_test(whatever_fails_at_the_reserve_writes_go_on);
    tap_test(checkpoints_that_cannot_be);
    tap_test(a_log_at_rest_is_small);
    tap_test(memtables_change_their_size);
    tap_test(any_number_of_keys_is_looked_ahead);
    return tap_done();
}

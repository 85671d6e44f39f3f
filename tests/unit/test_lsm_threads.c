/* Readers on several threads beside absorbs, compactions and a cache so small that every block is evicted all the time:
 * each sees values that belong to the key and are no older than what was published before it took its view; nothing is
 * freed under it. For ThreadSanitizer and AddressSanitizer above all. */
#include <unistd.h>

#include "base/epoch.h"
#include "base/hash.h"
#include "engine/engine.h"
#include "os/env_memory.h"
#include "os/thread.h"
#include "tests/lib/tap.h"

#define KEYS 600
#define PARTS 3 /* absorb s writes the keys i with i % PARTS == s % PARTS */
#define READERS 3

static struct env *env;
static struct engine *engine;
static uint64_t published; /* atomic: the last absorb that has returned */
static bool stop;          /* atomic */
static uint64_t gets, scans, changes;

static char names[KEYS][16];
static struct slice key_of(size_t i) { return slice_of(names[i], strlen(names[i])); }

struct value {
    uint32_t key, version;
    uint8_t filler[72];
};

static uint64_t least_version(size_t i, uint64_t at)
{
    while (at && at % PARTS != i % PARTS)
        at--;
    return at;
}

static bool value_fits(struct slice v, size_t i, uint64_t least)
{
    struct value got;
    if (v.len != sizeof got)
        return false;
    memcpy(&got, v.data, sizeof got);
    return got.key == i && got.version >= least && got.version % PARTS == i % PARTS &&
           got.filler[71] == (uint8_t)(got.version * 5);
}

static void get_some(struct engine_view *v, uint64_t at, uint64_t *rng)
{
    for (int n = 0; n < 40; n++) {
        size_t i = hash_mix(++*rng) % KEYS;
        struct engine_key key = {key_of(i), engine_hash(key_of(i))};
        struct engine_miss miss = {0};
        struct slice value = {NULL, 0};
        uint64_t least = least_version(i, at);
        enum result r;
        int tries = 0;
        for (;;) {
            epoch_enter();
            r = engine->ops->get(v, &key, n % 2 ? ENGINE_NOWAIT : 0, &value, &miss);
            if (r != RES_WOULD_BLOCK)
                break;
            epoch_leave();
            tap_check(engine->ops->fill(engine, &miss) == RES_OK && ++tries < 50);
        }
        if (least || r == RES_OK)
            tap_check(r == RES_OK && value_fits(value, i, least));
        engine->ops->miss_fini(engine, &miss);
        epoch_leave();
        __atomic_fetch_add(&gets, 1, __ATOMIC_RELAXED);
    }
}

static void scan_some(struct engine_view *v, uint64_t at, uint64_t *rng)
{
    struct iter *it;
    size_t i = hash_mix(++*rng) % KEYS;
    bool forward = hash_mix(++*rng) % 2;
    tap_require(engine->ops->iter_open(v, slice_of(NULL, 0), slice_of(NULL, 0), 0, &it) == RES_OK);
    enum result r = forward ? iter_seek(it, key_of(i)) : iter_seek_last(it, key_of(i));
    for (int n = 0; n < 50 && r == RES_OK; n++) {
        if (forward ? n > 0 : true)
            i = forward ? i + 1 : i - 1;
        if (at >= PARTS &&
            !tap_check(i < KEYS && slice_eq(it->key, key_of(i)) && value_fits(it->value, i, least_version(i, at))))
            break;
        r = forward ? iter_next(it) : iter_prev(it);
    }
    tap_check(r == RES_OK || r == RES_NOT_FOUND);
    iter_close(it);
    __atomic_fetch_add(&scans, 1, __ATOMIC_RELAXED);
}

static void reader(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg * 1000003;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        uint64_t at = __atomic_load_n(&published, __ATOMIC_ACQUIRE);
        struct engine_view *v = engine->ops->view_acquire(engine);
        get_some(v, at, &rng);
        scan_some(v, at, &rng);
        engine->ops->view_release(v);
        epoch_poll();
    }
}

static void meddler(void *arg)
{
    uint64_t rng = 99;
    struct engine_stats s;
    (void)arg;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        engine->ops->set_cache_bytes(engine, hash_mix(++rng) % 200000);
        engine->ops->stats(engine, &s);
        tap_check(engine->ops->debt(engine) <= 1000);
        struct engine_view *v = engine->ops->view_acquire(engine);
        (void)engine->ops->range_bytes(v, key_of(3), key_of(40));
        engine->ops->view_release(v);
        usleep(2000);
    }
}

static void note_change(void *arg)
{
    (void)arg;
    __atomic_fetch_add(&changes, 1, __ATOMIC_RELAXED);
}

static void absorb(uint64_t s)
{
    static struct iter_record records[KEYS];
    static struct value values[KEYS];
    size_t n = 0;
    for (size_t i = s % PARTS; i < KEYS; i += PARTS) {
        values[i] = (struct value){(uint32_t)i, (uint32_t)s, {0}};
        values[i].filler[71] = (uint8_t)(s * 5);
        records[n++] = (struct iter_record){key_of(i), slice_of(&values[i], sizeof values[i]), RECORD_PUT};
    }
    struct iter *run;
    tap_require(iter_over_array(records, n, slice_of(NULL, 0), slice_of(NULL, 0), &run) == RES_OK);
    struct engine_boundary b = {s, slice_of(NULL, 0)};
    if (s % 7) {
        tap_check(engine->ops->absorb(engine, run, &b) == RES_OK);
    } else { /* as a private table */
        struct engine_table *t;
        uint64_t number;
        tap_require(engine->ops->table_begin(engine, &t) == RES_OK);
        for (size_t i = 0; i < n; i++)
            tap_check(engine->ops->table_add(t, records[i].key, records[i].kind, records[i].value) == RES_OK);
        tap_check(engine->ops->table_finish(t, &number) == RES_OK);
        tap_check(engine->ops->attach(engine, t, &b) == RES_OK);
        engine->ops->table_release(t);
    }
    iter_close(run);
    __atomic_store_n(&published, s, __ATOMIC_RELEASE);
}

static void readers_beside_absorbs_and_compactions(void)
{
    struct os_thread threads[READERS + 1];
    struct slice state;
    uint64_t sequence;
    struct errmsg msg = {""};
    uint64_t steps = tap_long() ? 3000 : 150;

    for (size_t i = 0; i < KEYS; i++)
        snprintf(names[i], sizeof names[i], "%c%05zu", i < KEYS / 2 ? 'E' : 'M', i);
    env = env_memory_new(1, ENV_MEMORY_PLAIN);
    tap_require(env->ops->mkdir(env, "/db") == RES_OK);
    struct engine_options o = {
        .env = env,
        .dir = "/db",
        .cache_bytes = 100000,
        .block_bytes = 512,
        .table_bytes = 8192,
        .base_level_bytes = 16384,
        .compaction_threads = 2,
        .max_open_tables = 4,
        .create = true,
        .on_change = note_change,
    };
    tap_require(engine_lsm.open(&o, &engine, &sequence, &state, &msg) == RES_OK);
    for (uintptr_t i = 0; i < READERS; i++)
        tap_require(os_thread_start(&threads[i], "reader", reader, (void *)(i + 1)) == RES_OK);
    tap_require(os_thread_start(&threads[READERS], "meddler", meddler, NULL) == RES_OK);
    for (uint64_t s = 1; s <= steps; s++) {
        absorb(s);
        while (engine->ops->debt(engine) > 500)
            usleep(1000);
        if (s % 50 == 0)
            tap_check(engine->ops->compact(engine, slice_of(NULL, 0), slice_of(NULL, 0), NULL) == RES_OK);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (size_t i = 0; i <= READERS; i++)
        os_thread_join(&threads[i]);
    struct engine_stats s;
    engine->ops->stats(engine, &s);
    tap_diag("%" PRIu64 " gets, %" PRIu64 " scans, %" PRIu64 " compactions, %" PRIu64 " changes of view",
             __atomic_load_n(&gets, __ATOMIC_RELAXED), __atomic_load_n(&scans, __ATOMIC_RELAXED), s.compactions,
             __atomic_load_n(&changes, __ATOMIC_RELAXED));
    tap_check(s.compactions > 0 && s.views == 0);
    tap_check(engine->ops->check(engine, &msg) == RES_OK);
    engine->ops->close(engine);
    epoch_drain();
    tap_eq_u64(env_memory_open_files(env), 0);
    env_memory_free(env);
}

int main(void)
{
    tap_test(readers_beside_absorbs_and_compactions);
    return tap_done();
}

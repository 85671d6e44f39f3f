/* Varve's own engine, driven as any program drives it: through the front (front/front.h).
 *
 * Commits need one caller at a time, which in the server is the holder of the write latch; here it is a mutex. Who must
 * wait for log space or a memtable does so outside of it, woken by the front. Reads follow the server's way: memory
 * first, inside an epoch section and without waiting; what is cold is read again by a thread that may wait, and the cold
 * keys of one multi-get by several such threads at a time. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/epoch.h"
#include "front/front.h"
#include "tools/bench/backend.h"

#define COLD_READERS 16

struct varve_thread {
    struct batch_record records[BENCH_BATCH_MAX];
};

/* One cold get, done by whoever of the cold readers comes first. */
struct cold_get {
    struct front_view *view;
    uint64_t snapshot;
    const struct engine_key *key;
    uint8_t *value; /* malloc'd */
    size_t len;
    bool found;
    struct cold_group *group;
    struct cold_get *next;
};
struct cold_group {
    unsigned left;
};

static struct {
    struct front *front;
    bool sync;
    uint64_t opened_ms;
    pthread_mutex_t commit;
    pthread_mutex_t space_lock;
    pthread_cond_t space;
    _Atomic uint64_t space_turns; /* grows whenever front_reserve may succeed again */

    pthread_mutex_t cold_lock;
    pthread_cond_t cold_work, cold_done;
    struct cold_get *cold_first;
    bool stopping;
    pthread_t cold_reader[COLD_READERS];
} varve = {.commit = PTHREAD_MUTEX_INITIALIZER,
           .space_lock = PTHREAD_MUTEX_INITIALIZER,
           .space = PTHREAD_COND_INITIALIZER,
           .cold_lock = PTHREAD_MUTEX_INITIALIZER,
           .cold_work = PTHREAD_COND_INITIALIZER,
           .cold_done = PTHREAD_COND_INITIALIZER};

static void check(enum result r, const char *what)
{
    if (r != RES_OK)
        bench_die(what, result_text(r));
}

static void on_space(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&varve.space_lock);
    varve.space_turns++;
    pthread_cond_broadcast(&varve.space);
    pthread_mutex_unlock(&varve.space_lock);
}

static void on_failure(void *arg, enum result why, const char *sentence)
{
    (void)arg;
    bench_die(result_text(why), sentence);
}

/* ---- cold reads ---- */

static void cold_read(struct cold_get *g)
{
    enum result r = front_get_wait(g->view, g->snapshot, g->key, &g->value, &g->len);
    if (r != RES_NOT_FOUND)
        check(r, "varve get");
    g->found = r == RES_OK;
}

static void *cold_reader(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&varve.cold_lock);
    for (;;) {
        struct cold_get *g = varve.cold_first;
        if (g) {
            varve.cold_first = g->next;
            pthread_mutex_unlock(&varve.cold_lock);
            cold_read(g);
            pthread_mutex_lock(&varve.cold_lock);
            if (--g->group->left == 0)
                pthread_cond_broadcast(&varve.cold_done);
        } else if (varve.stopping) {
            break;
        } else {
            pthread_cond_wait(&varve.cold_work, &varve.cold_lock);
        }
    }
    pthread_mutex_unlock(&varve.cold_lock);
    return NULL;
}

static void cold_read_all(struct cold_get *gets, unsigned n)
{
    struct cold_group group = {.left = n};
    if (n == 1) {
        cold_read(&gets[0]);
        return;
    }
    pthread_mutex_lock(&varve.cold_lock);
    for (unsigned i = 0; i < n; i++) {
        gets[i].group = &group;
        gets[i].next = varve.cold_first;
        varve.cold_first = &gets[i];
    }
    pthread_cond_broadcast(&varve.cold_work);
    while (group.left)
        pthread_cond_wait(&varve.cold_done, &varve.cold_lock);
    pthread_mutex_unlock(&varve.cold_lock);
}

/* ---- open and close ---- */

static struct engine_compression compression_named(const char *name)
{
    struct engine_compression c = {.kind = ENGINE_PACK_NONE, .level = ENGINE_ZSTD_LEVEL};
    if (!strcmp(name, "lz4"))
        c.kind = ENGINE_PACK_LZ4;
    else if (!strncmp(name, "zstd", 4))
        c.kind = ENGINE_PACK_ZSTD;
    else if (strcmp(name, "none") != 0)
        bench_die(name, "varve has none, lz4, zstd and zstd:LEVEL");
    if (!strncmp(name, "zstd:", 5))
        c.level = (uint8_t)atoi(name + 5);
    return c;
}

static void open_with(const struct engine_ops *engine, const struct backend_options *o)
{
    struct errmsg why;
    varve.sync = o->sync;
    varve.opened_ms = env_posix()->ops->real_ms(env_posix());
    varve.stopping = false;
    struct front_options f = {.env = env_posix(),
                              .engine = engine,
                              .dir = o->dir,
                              .create = true,
                              .fsync = o->sync ? FRONT_FSYNC_ALWAYS : FRONT_FSYNC_NO,
                              .memtable_bytes = o->memtable_bytes,
                              .tuning = {.cache_bytes = o->cache_bytes, .compaction_threads = o->background},
                              .on_space = on_space,
                              .on_failure = on_failure};
    for (int level = 0; level < ENGINE_LEVELS; level++)
        f.tuning.compression[level] = compression_named(o->compression);
    if (front_open(&f, &varve.front, &why) != RES_OK)
        bench_die("varve open", why.text);
    for (unsigned i = 0; i < COLD_READERS; i++)
        if (pthread_create(&varve.cold_reader[i], NULL, cold_reader, NULL))
            bench_die("threads", "none left");
}

static void varve_open(const struct backend_options *o) { open_with(&engine_lsm, o); }
static void varve_btree_open(const struct backend_options *o) { open_with(&engine_btree, o); }
static void varve_file_open(const struct backend_options *o) { open_with(&engine_file, o); }

static void varve_close(void)
{
    pthread_mutex_lock(&varve.cold_lock);
    varve.stopping = true;
    pthread_cond_broadcast(&varve.cold_work);
    pthread_mutex_unlock(&varve.cold_lock);
    for (unsigned i = 0; i < COLD_READERS; i++)
        pthread_join(varve.cold_reader[i], NULL);
    check(front_close(varve.front), "varve close");
}

static void *varve_thread_begin(void) { return bench_alloc(1, sizeof(struct varve_thread)); }
static void varve_thread_end(void *thread) { free(thread); }

/* ---- writing ---- */

static struct engine_key engine_key_of(const char *key)
{
    struct slice bytes = slice_of(key, BENCH_KEY_BYTES);
    return (struct engine_key){.bytes = bytes, .hash = engine_hash(bytes)};
}

static void commit(const struct batch_record *records, unsigned n)
{
    struct batch b = {.records = records, .count = n, .now_ms = varve.opened_ms};
    uint64_t sequence = 0;
    enum result r;
    do {
        uint64_t turn = atomic_load(&varve.space_turns);
        pthread_mutex_lock(&varve.commit);
        r = front_reserve(varve.front, &b);
        if (r == RES_OK)
            sequence = front_commit(varve.front, &b);
        pthread_mutex_unlock(&varve.commit);
        front_kick(varve.front);
        if (r == RES_WOULD_BLOCK) {
            pthread_mutex_lock(&varve.space_lock);
            while (turn == varve.space_turns)
                pthread_cond_wait(&varve.space, &varve.space_lock);
            pthread_mutex_unlock(&varve.space_lock);
        }
    } while (r == RES_WOULD_BLOCK);
    check(r, "varve commit");
    if (varve.sync)
        check(front_wait(varve.front, sequence), "varve fsync");
}

static void varve_put(void *thread, const char *key, const char *value, size_t len)
{
    (void)thread;
    struct batch_record r = {.key = engine_key_of(key), .value = slice_of(value, len), .kind = RECORD_PUT};
    commit(&r, 1);
}

static void varve_put_batch(void *thread, unsigned n, char (*keys)[BENCH_KEY_BYTES], const char *const *values,
                            size_t len)
{
    struct batch_record *records = ((struct varve_thread *)thread)->records;
    for (unsigned i = 0; i < n; i++)
        records[i] =
            (struct batch_record){.key = engine_key_of(keys[i]), .value = slice_of(values[i], len), .kind = RECORD_PUT};
    commit(records, n);
}

static void varve_del(void *thread, const char *key)
{
    (void)thread;
    struct batch_record r = {.key = engine_key_of(key), .kind = RECORD_DELETE};
    commit(&r, 1);
}

/* ---- reading ---- */

static long copy_out(const void *value, size_t len, char *out, size_t room)
{
    size_t n = len < room ? len : room;
    memcpy(out, value, n);
    return (long)n;
}

static long copy_cold(struct cold_get *g, char *out, size_t room)
{
    long n = g->found ? copy_out(g->value, g->len, out, room) : -1;
    if (g->found)
        free(g->value);
    return n;
}

static long varve_get(void *thread, const char *key, char *out, size_t room)
{
    (void)thread;
    struct engine_key k = engine_key_of(key);
    struct slice value;
    struct cold_get cold = {.key = &k};
    long n = -1;
    epoch_enter();
    struct front_view *v = front_view(varve.front);
    uint64_t snapshot = front_snapshot(v);
    enum result r = front_get(v, snapshot, &k, ENGINE_NOWAIT, &value, NULL);
    if (r == RES_OK)
        n = copy_out(value.data, value.len, out, room);
    else if (r == RES_WOULD_BLOCK)
        cold = (struct cold_get){.view = front_view_ref(varve.front), .snapshot = snapshot, .key = &k};
    else if (r != RES_NOT_FOUND)
        check(r, "varve get");
    epoch_leave();
    epoch_poll();
    if (cold.view) {
        cold_read(&cold);
        front_view_unref(cold.view);
        n = copy_cold(&cold, out, room);
    }
    return n;
}

static unsigned varve_get_batch(void *thread, unsigned n, char (*keys)[BENCH_KEY_BYTES], char *out, size_t room)
{
    (void)thread;
    struct engine_key k[BENCH_BATCH_MAX];
    struct cold_get cold[BENCH_BATCH_MAX];
    struct front_view *held = NULL;
    unsigned found = 0, cold_count = 0;
    epoch_enter();
    struct front_view *v = front_view(varve.front);
    uint64_t snapshot = front_snapshot(v);
    for (unsigned i = 0; i < n; i++)
        k[i] = engine_key_of(keys[i]);
    front_prefetch(v, k, n);
    for (unsigned i = 0; i < n; i++) {
        struct slice value;
        enum result r = front_get(v, snapshot, &k[i], ENGINE_NOWAIT, &value, NULL);
        if (r == RES_OK) {
            copy_out(value.data, value.len, out, room);
            found++;
        } else if (r == RES_WOULD_BLOCK) {
            if (!held)
                held = front_view_ref(varve.front);
            cold[cold_count++] = (struct cold_get){.view = held, .snapshot = snapshot, .key = &k[i]};
        } else if (r != RES_NOT_FOUND) {
            check(r, "varve get");
        }
    }
    epoch_leave();
    epoch_poll();
    if (held) {
        cold_read_all(cold, cold_count);
        for (unsigned i = 0; i < cold_count; i++)
            found += copy_cold(&cold[i], out, room) >= 0;
        front_view_unref(held);
    }
    return found;
}

static unsigned varve_scan(void *thread, const char *key, unsigned n)
{
    (void)thread;
    static volatile uint8_t sink; /* so that looking at the bytes is not optimised away */
    struct iter *it;
    unsigned seen = 0;
    struct front_view *v = front_view_ref(varve.front);
    check(front_iter(v, front_snapshot(v), slice_of(key, BENCH_KEY_BYTES), SLICE_LIT("N"), 0, &it), "varve iterator");
    enum result r = iter_seek(it, slice_of(NULL, 0));
    while (r == RES_OK && seen < n) {
        sink = (uint8_t)(it->key.data[0] + it->value.data[it->value.len - 1]);
        if (++seen < n)
            r = iter_next(it);
    }
    if (r != RES_OK && r != RES_NOT_FOUND)
        check(r, "varve scan");
    iter_close(it);
    front_view_unref(v);
    (void)sink;
    return seen;
}

static void varve_flush(void) { check(front_flush(varve.front), "varve flush"); }

static void varve_tend(void)
{
    pthread_mutex_lock(&varve.commit);
    enum result r = front_seal_deletes(varve.front);
    if (r == RES_OK)
        r = front_rest(varve.front);
    pthread_mutex_unlock(&varve.commit);
    if (r == RES_WOULD_BLOCK)
        front_kick(varve.front);
    else
        check(r, "varve tend");
}

static void varve_describe(void)
{
    struct front_stats s;
    front_stats(varve.front, &s);
    for (int i = 0; i < s.engine.levels; i++)
        fprintf(stderr, "level %d: %lu files, %lu MB\n", i, (unsigned long)s.engine.level[i].files,
                (unsigned long)(s.engine.level[i].bytes / 1000000));
    fprintf(stderr, "%lu flushes, %lu MB; %lu compactions, %lu MB read, %lu MB written; log %lu MB\n",
            (unsigned long)s.engine.flushes, (unsigned long)(s.engine.flush_bytes / 1000000),
            (unsigned long)s.engine.compactions, (unsigned long)(s.engine.compaction_read_bytes / 1000000),
            (unsigned long)(s.engine.compaction_write_bytes / 1000000), (unsigned long)(s.log_bytes_written / 1000000));
    fprintf(stderr, "waits for space %lu, cache %lu of %lu MB, hits %lu, misses %lu\n", (unsigned long)s.reserve_waits,
            (unsigned long)(s.engine.cache_bytes >> 20), (unsigned long)(s.engine.cache_capacity >> 20),
            (unsigned long)s.engine.cache_hits, (unsigned long)s.engine.cache_misses);
}

/* One front over each of its engines. */
#define BACKEND(n, open_it)                                                                                            \
    {                                                                                                                  \
        .name = n, .open = open_it, .close = varve_close, .thread_begin = varve_thread_begin,                          \
        .thread_end = varve_thread_end, .put = varve_put, .put_batch = varve_put_batch, .del = varve_del,              \
        .get = varve_get, .get_batch = varve_get_batch, .scan = varve_scan, .flush = varve_flush, .tend = varve_tend,  \
        .describe = varve_describe,                                                                                    \
    }
const struct backend backend_varve = BACKEND("varve", varve_open);
const struct backend backend_varve_btree = BACKEND("varve-btree", varve_btree_open);
const struct backend backend_varve_file = BACKEND("varve-file", varve_file_open);

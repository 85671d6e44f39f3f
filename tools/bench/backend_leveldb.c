/* Debian's LevelDB (libleveldb-dev) through its C interface. It has no multi-get and no call that flushes. */
#include <leveldb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench/backend.h"

static struct {
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_writeoptions_t *write;
    leveldb_readoptions_t *read;
} level;

static void check(char *error)
{
    if (error)
        bench_die("leveldb", error);
}

static void level_open(const struct backend_options *o)
{
    level.options = leveldb_options_create();
    level.cache = leveldb_cache_create_lru(o->cache_bytes);
    level.filter = leveldb_filterpolicy_create_bloom(10);
    leveldb_options_set_create_if_missing(level.options, 1);
    leveldb_options_set_write_buffer_size(level.options, o->memtable_bytes);
    leveldb_options_set_max_open_files(level.options, 5000);
    leveldb_options_set_cache(level.options, level.cache);
    leveldb_options_set_filter_policy(level.options, level.filter);
    leveldb_options_set_max_file_size(level.options, 32 << 20);
    leveldb_options_set_compression(level.options, strcmp(o->compression, "none") ? leveldb_snappy_compression
                                                                                  : leveldb_no_compression);
    char *error = NULL;
    level.db = leveldb_open(level.options, o->dir, &error);
    check(error);
    level.write = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(level.write, o->sync);
    level.read = leveldb_readoptions_create();
}

static void level_close(void)
{
    leveldb_close(level.db);
    leveldb_writeoptions_destroy(level.write);
    leveldb_readoptions_destroy(level.read);
    leveldb_options_destroy(level.options);
    leveldb_cache_destroy(level.cache);
    leveldb_filterpolicy_destroy(level.filter);
}

static void *level_thread_begin(void) { return leveldb_writebatch_create(); }
static void level_thread_end(void *thread) { leveldb_writebatch_destroy(thread); }

static void level_put(void *thread, const char *key, const char *value, size_t len)
{
    (void)thread;
    char *error = NULL;
    leveldb_put(level.db, level.write, key, BENCH_KEY_BYTES, value, len, &error);
    check(error);
}

static void level_put_batch(void *thread, unsigned n, char (*keys)[BENCH_KEY_BYTES], const char *const *values,
                            size_t len)
{
    char *error = NULL;
    leveldb_writebatch_clear(thread);
    for (unsigned i = 0; i < n; i++)
        leveldb_writebatch_put(thread, keys[i], BENCH_KEY_BYTES, values[i], len);
    leveldb_write(level.db, level.write, thread, &error);
    check(error);
}

static void level_del(void *thread, const char *key)
{
    (void)thread;
    char *error = NULL;
    leveldb_delete(level.db, level.write, key, BENCH_KEY_BYTES, &error);
    check(error);
}

static long level_get(void *thread, const char *key, char *out, size_t room)
{
    (void)thread;
    char *error = NULL;
    size_t len;
    char *value = leveldb_get(level.db, level.read, key, BENCH_KEY_BYTES, &len, &error);
    check(error);
    if (!value)
        return -1;
    if (len > room)
        len = room;
    memcpy(out, value, len);
    leveldb_free(value);
    return (long)len;
}

static unsigned level_scan(void *thread, const char *key, unsigned n)
{
    (void)thread;
    static volatile char sink; /* so that looking at the bytes is not optimised away */
    unsigned seen = 0;
    leveldb_iterator_t *it = leveldb_create_iterator(level.db, level.read);
    for (leveldb_iter_seek(it, key, BENCH_KEY_BYTES); seen < n && leveldb_iter_valid(it); leveldb_iter_next(it)) {
        size_t key_len, value_len;
        const char *k = leveldb_iter_key(it, &key_len), *v = leveldb_iter_value(it, &value_len);
        sink = (char)(k[0] + v[value_len - 1]);
        seen++;
    }
    leveldb_iter_destroy(it);
    (void)sink;
    return seen;
}

static void level_describe(void)
{
    char *text = leveldb_property_value(level.db, "leveldb.stats");
    if (text)
        fprintf(stderr, "%s\n", text);
    leveldb_free(text);
}

const struct backend backend_leveldb = {
    .name = "leveldb",
    .open = level_open,
    .close = level_close,
    .thread_begin = level_thread_begin,
    .thread_end = level_thread_end,
    .put = level_put,
    .put_batch = level_put_batch,
    .del = level_del,
    .get = level_get,
    .scan = level_scan,
    .describe = level_describe,
};

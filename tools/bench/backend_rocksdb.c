/* Debian's RocksDB (librocksdb-dev) through its C interface, tuned as its users tune it for point reads: bloom filters of
 * 10 bits a key, a hash index in the data block, dynamic level sizes, a syncing rate that avoids bursts. */
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench/backend.h"

static struct {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_column_family_handle_t *family; /* batched multi-get wants one */
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
} rocks;

static void check(char *error)
{
    if (error)
        bench_die("rocksdb", error);
}

static int compression_of(const char *name)
{
    if (!strncmp(name, "zstd", 4))
        return rocksdb_zstd_compression;
    if (!strcmp(name, "lz4"))
        return rocksdb_lz4_compression;
    return !strcmp(name, "snappy") ? rocksdb_snappy_compression : rocksdb_no_compression;
}

static rocksdb_block_based_table_options_t *table_options(uint64_t cache_bytes)
{
    rocksdb_block_based_table_options_t *b = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_filter_policy(b, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_format_version(b, 5);
    rocksdb_block_based_options_set_block_cache(b, rocksdb_cache_create_lru(cache_bytes));
    rocksdb_block_based_options_set_data_block_index_type(
        b, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
    rocksdb_block_based_options_set_data_block_hash_ratio(b, 0.75);
    return b;
}

static void rocks_open(const struct backend_options *o)
{
    rocksdb_options_t *r = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(r, 1);
    rocksdb_options_set_write_buffer_size(r, o->memtable_bytes);
    rocksdb_options_set_max_write_buffer_number(r, 2);
    rocksdb_options_set_max_background_jobs(r, o->background);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(r, 1);
    rocksdb_options_set_bytes_per_sync(r, 1 << 20);
    rocksdb_options_set_max_open_files(r, -1);
    rocksdb_options_set_max_file_opening_threads(r, 2);
    rocksdb_options_set_compression(r, compression_of(o->compression));
    rocksdb_options_set_info_log_level(r, 2);
    if (o->direct) {
        rocksdb_options_set_use_direct_reads(r, 1);
        rocksdb_options_set_use_direct_io_for_flush_and_compaction(r, 1);
    }
    rocksdb_options_set_block_based_table_factory(r, table_options(o->cache_bytes));
    char *error = NULL;
    const char *name = "default";
    const rocksdb_options_t *family_options = r;
    rocks.options = r;
    rocks.db = rocksdb_open_column_families(r, o->dir, 1, &name, &family_options, &rocks.family, &error);
    check(error);
    rocks.write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(rocks.write, o->sync);
    rocks.read = rocksdb_readoptions_create();
}

static void rocks_close(void)
{
    rocksdb_column_family_handle_destroy(rocks.family);
    rocksdb_close(rocks.db);
    rocksdb_writeoptions_destroy(rocks.write);
    rocksdb_readoptions_destroy(rocks.read);
    rocksdb_options_destroy(rocks.options);
}

static void *rocks_thread_begin(void) { return rocksdb_writebatch_create(); }
static void rocks_thread_end(void *thread) { rocksdb_writebatch_destroy(thread); }

static void rocks_put(void *thread, const char *key, const char *value, size_t len)
{
    (void)thread;
    char *error = NULL;
    rocksdb_put(rocks.db, rocks.write, key, BENCH_KEY_BYTES, value, len, &error);
    check(error);
}

static void rocks_put_batch(void *thread, unsigned n, char (*keys)[BENCH_KEY_BYTES], const char *const *values,
                            size_t len)
{
    char *error = NULL;
    rocksdb_writebatch_clear(thread);
    for (unsigned i = 0; i < n; i++)
        rocksdb_writebatch_put(thread, keys[i], BENCH_KEY_BYTES, values[i], len);
    rocksdb_write(rocks.db, rocks.write, thread, &error);
    check(error);
}

static void rocks_del(void *thread, const char *key)
{
    (void)thread;
    char *error = NULL;
    rocksdb_delete(rocks.db, rocks.write, key, BENCH_KEY_BYTES, &error);
    check(error);
}

static long copy_out(rocksdb_pinnableslice_t *p, char *out, size_t room)
{
    size_t len;
    const char *value = rocksdb_pinnableslice_value(p, &len);
    if (len > room)
        len = room;
    memcpy(out, value, len);
    rocksdb_pinnableslice_destroy(p);
    return (long)len;
}

static long rocks_get(void *thread, const char *key, char *out, size_t room)
{
    (void)thread;
    char *error = NULL;
    rocksdb_pinnableslice_t *p = rocksdb_get_pinned(rocks.db, rocks.read, key, BENCH_KEY_BYTES, &error);
    check(error);
    return p ? copy_out(p, out, room) : -1;
}

static unsigned rocks_get_batch(void *thread, unsigned n, char (*keys)[BENCH_KEY_BYTES], char *out, size_t room)
{
    (void)thread;
    const char *key[BENCH_BATCH_MAX] = {NULL};
    size_t len[BENCH_BATCH_MAX] = {0};
    rocksdb_pinnableslice_t *value[BENCH_BATCH_MAX] = {NULL};
    char *error[BENCH_BATCH_MAX] = {NULL};
    unsigned found = 0;
    for (unsigned i = 0; i < n; i++) {
        key[i] = keys[i];
        len[i] = BENCH_KEY_BYTES;
    }
    rocksdb_batched_multi_get_cf(rocks.db, rocks.read, rocks.family, n, key, len, value, error, 0);
    for (unsigned i = 0; i < n; i++) {
        check(error[i]);
        if (value[i]) {
            copy_out(value[i], out, room);
            found++;
        }
    }
    return found;
}

static unsigned rocks_scan(void *thread, const char *key, unsigned n)
{
    (void)thread;
    static volatile char sink; /* so that looking at the bytes is not optimised away */
    unsigned seen = 0;
    rocksdb_iterator_t *it = rocksdb_create_iterator(rocks.db, rocks.read);
    for (rocksdb_iter_seek(it, key, BENCH_KEY_BYTES); seen < n && rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *k = rocksdb_iter_key(it, &key_len), *v = rocksdb_iter_value(it, &value_len);
        sink = (char)(k[0] + v[value_len - 1]);
        seen++;
    }
    rocksdb_iter_destroy(it);
    (void)sink;
    return seen;
}

static void rocks_flush(void)
{
    char *error = NULL;
    rocksdb_flushoptions_t *f = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(f, 1);
    rocksdb_flush(rocks.db, f, &error);
    rocksdb_flushoptions_destroy(f);
    check(error);
}

static void rocks_describe(void)
{
    char *text = rocksdb_property_value(rocks.db, "rocksdb.levelstats");
    if (text)
        fprintf(stderr, "%s\n", text);
    rocksdb_free(text);
}

const struct backend backend_rocksdb = {
    .name = "rocksdb",
    .open = rocks_open,
    .close = rocks_close,
    .thread_begin = rocks_thread_begin,
    .thread_end = rocks_thread_end,
    .put = rocks_put,
    .put_batch = rocks_put_batch,
    .del = rocks_del,
    .get = rocks_get,
    .get_batch = rocks_get_batch,
    .scan = rocks_scan,
    .flush = rocks_flush,
    .describe = rocks_describe,
};

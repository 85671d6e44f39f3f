/* What enginebench asks of a storage engine. One const struct for each engine; one of them is used per process.
 *
 * Threads: open, close and flush are called by one thread while no other is in the engine; everything else by any
 * number of threads, each with a handle of its own from thread_begin. An engine that fails ends the process with a
 * sentence (bench_die): a benchmark has nothing to save. */
#ifndef VARVE_TOOLS_BENCH_BACKEND_H
#define VARVE_TOOLS_BENCH_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_KEY_BYTES 16
#define BENCH_BATCH_MAX 32 /* keys of one batch or multi-get */

struct backend_options {
    const char *dir;         /* exists; empty when the workload fills it */
    const char *compression; /* none, lz4, zstd, zstd:LEVEL or snappy */
    uint64_t cache_bytes;    /* for blocks */
    uint64_t memtable_bytes; /* of one memtable */
    uint64_t data_bytes;     /* keys and values that the workloads will write */
    size_t value_bytes;
    int background; /* threads for flush and compaction */
    bool sync;      /* a write returns when it is durable */
    bool direct;    /* O_DIRECT where the engine can */
};

struct backend {
    const char *name;
    bool unverified; /* what get() returns is no value that was put */
    void (*open)(const struct backend_options *o);
    void (*close)(void);
    void *(*thread_begin)(void);
    void (*thread_end)(void *thread);
    void (*put)(void *thread, const char *key, const char *value, size_t len);
    void (*put_batch)(void *thread, unsigned n, char (*keys)[BENCH_KEY_BYTES], const char *const *values, size_t len);
    void (*del)(void *thread, const char *key);
    /* Copies the value: its length, cut to room; -1 when there is none. */
    long (*get)(void *thread, const char *key, char *out, size_t room);
    /* Copies each value to out, one over the other; how many there were. NULL: the engine has no such call. */
    unsigned (*get_batch)(void *thread, unsigned n, char (*keys)[BENCH_KEY_BYTES], char *out, size_t room);
    /* Looks at up to n keys and values from key on; how many there were. */
    unsigned (*scan)(void *thread, const char *key, unsigned n);
    /* Starts what leads to a quiet engine (a memtable flush); NULL: nothing does. */
    void (*flush)(void);
    /* What a server has its engine do every second or so; NULL: nothing. */
    void (*tend)(void);
    /* Prints to stderr how the data lies, one or some lines; may be NULL. */
    void (*describe)(void);
};

extern const struct backend backend_varve; /* over the engine lsm */
extern const struct backend backend_varve_btree;
extern const struct backend backend_varve_file;
extern const struct backend backend_rocksdb;
extern const struct backend backend_leveldb;
extern const struct backend backend_device; /* no engine: what the disk can do at best */

_Noreturn void bench_die(const char *what, const char *why);
void *bench_alloc(size_t count, size_t size); /* zeroed, never NULL */

#endif

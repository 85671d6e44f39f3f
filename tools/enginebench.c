/* enginebench: the same work for several storage engines, in one run.
 *
 *     enginebench --backend=varve,rocksdb --w=fillrandom,settle,readrandom,readzipf,mget32,seek10
 *
 * One process for each engine, in a directory of its own, and the engines take turns workload by workload, so that
 * ratios hold on a machine that is shared. "settle" belongs to the turn before it: what an engine begins when it has come to
 * rest, while others have their turns, is no cost of its fill, and what it has left to do is none of theirs. A workload whose
 * name begins with "fill" begins with an empty directory; those before it must have filled it otherwise. Every read is
 * verified.
 *
 * One line for each workload, columns separated by tabs: engine, compression, keys, value size, workload, threads,
 * ops/s, p50, p99, p99.9 and longest in us, CPU seconds per million operations (background included), seconds, MB
 * passed to write calls, MB to the device, peak of resident MB above what the process had before it opened the engine (the
 * benchmark's own tables), space on disk as a multiple of the data, reads that were wrong, and what only this workload has
 * to say. With several engines a line of ratios follows each workload. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench/backend.h"
#include "tools/bench/keys.h"
#include "tools/bench/measure.h"
#include "tools/bench/process.h"

#define THREADS_MAX 64
#define WORKLOADS_MAX 255 /* in one run */
#define STOP WORKLOADS_MAX
#define ENGINES_MAX 8
#define OUT_BYTES ((size_t)128 << 10)
#define SCAN_ITEMS 11  /* seek and ten more */
#define MIXED_STEPS 60 /* lines of the table of a mixed run */

static const struct backend *const backends[] = {
    &backend_varve,   &backend_varve_btree, &backend_varve_file,
#ifdef HAVE_ROCKSDB
    &backend_rocksdb,
#endif
#ifdef HAVE_LEVELDB
    &backend_leveldb,
#endif
    &backend_device,
};
#define BACKEND_COUNT (sizeof backends / sizeof backends[0])

enum work { FILL_SEQUENTIAL, FILL, FILL_BATCH, READ, READ_ZIPF, READ_MANY, MISS, SCAN, DELETE, MIXED };

static const struct workload {
    const char *name;
    enum work work;
    unsigned threads;
    uint64_t seed;
    bool fills;   /* n operations, else `reads` for each thread */
    bool limited; /* by --secs; else by a minute */
    const char *help;
} workloads[] = {
    {"fillseq", FILL_SEQUENTIAL, 1, 1, true, false, "n puts in key order"},
    {"fillrandom", FILL, 1, 1, true, false, "n puts in random order, each key once"},
    {"fillrandom2", FILL, 2, 1, true, false, "the same from two threads"},
    {"fillbatch32", FILL_BATCH, 1, 1, true, false, "the same, 32 in a batch"},
    {"fillsync", FILL, 1, 1, true, true, "puts that wait for their fsync, for --secs"},
    {"fillsync8", FILL, 8, 1, true, true, "the same from eight threads"},
    {"overwrite", FILL, 1, 77, true, false, "n puts over what is there"},
    {"deleterandom", DELETE, 1, 55, true, false, "n deletes, each key once"},
    {"warm", READ, 1, 4, false, false, "reads to fill caches"},
    {"readrandom", READ, 1, 3, false, false, "gets, uniform"},
    {"readrandom2", READ, 2, 3, false, false, "the same from two threads"},
    {"readrandom16", READ, 16, 3, false, false, "the same from sixteen"},
    {"readzipf", READ_ZIPF, 1, 3, false, false, "gets, zipf 0.99"},
    {"readzipf2", READ_ZIPF, 2, 3, false, false, "the same from two threads"},
    {"mget32", READ_MANY, 1, 3, false, false, "gets of 32 keys at a time, uniform"},
    {"readmissing", MISS, 1, 3, false, false, "gets of keys that are not there"},
    {"seek10", SCAN, 1, 3, false, false, "seek and ten steps, a quarter as many"},
};
#define WORKLOAD_COUNT (sizeof workloads / sizeof workloads[0])
static const char other_workloads[] =
    "  rww            readrandom beside a writer at full speed, for --secs\n"
    "  rww50k         the same beside 50,000 puts a second; any other number will do too\n"
    "  mixed          two threads, half zipf gets and half puts, for --secs; a line for each of 60 steps of time\n"
    "  settle         waits until the engine is quiet: write amplification and CPU of the fill before, background\n"
    "                 included\n"
    "  rest           leaves the engine alone until it neither writes nor gives space back: what the data then takes\n"
    "  drop           closes, takes the files out of the page cache, opens: the next reads are cold\n"
    "  reopen         closes and opens: how long each takes\n";

static struct {
    const char *dir, *compression, *tag, *out, *list, *names;
    uint64_t count, reads, syncs, cache_mb, memtable_mb, limit_mb;
    unsigned value_bytes;
    int background;
    bool direct;
    double seconds;
} opt = {.dir = "/tmp/enginebench",
         .compression = "none",
         .tag = "",
         .list = "fillrandom,settle,readrandom",
         .names = "varve",
         .count = 2000000,
         .reads = 1000000,
         .syncs = 100000,
         .cache_mb = 256,
         .memtable_mb = 64,
         .value_bytes = 100,
         .background = 2,
         .seconds = 8};

static const struct backend *engine; /* of this process */
static char engine_dir[1024];
static bool engine_open;
static uint64_t own_megabytes; /* resident before an engine is open */
/* How the last workload went, for settle() and the ratios. */
static struct {
    struct process_io io;
    double cpu;
    uint64_t start, operations;
} last;
struct outcome {
    double rate, cpu; /* rate 0: the workload has none, or the engine cannot do it */
};

_Noreturn void bench_die(const char *what, const char *why)
{
    fprintf(stderr, "enginebench: %s%s%s: %s\n", engine ? engine->name : "", engine ? ": " : "", what, why);
    exit(2);
}

void *bench_alloc(size_t count, size_t size)
{
    void *p = calloc(count, size);
    if (!p)
        bench_die("memory", strerror(errno));
    return p;
}

/* ---- threads that work ---- */

struct worker {
    pthread_t thread;
    pthread_barrier_t *start;
    enum work work;
    unsigned id;
    uint64_t from, to, seed;
    double seconds, rate; /* 0: no limit */
    atomic_bool *stop;
    struct latency *latency;
    uint64_t done, bad;
    uint64_t step_ns; /* mixed: a latency for each step of time */
    void *handle;
    uint64_t random;
    char key[BENCH_KEY_BYTES], *value, *out;
    char (*keys)[BENCH_KEY_BYTES];
    char *values;
    const char *value_of[BENCH_BATCH_MAX];
};

static void timed_put(struct worker *w, uint64_t key, struct latency *l)
{
    key_write(w->key, 2 * key);
    value_write(w->value, key, &w->random);
    uint64_t begin = clock_ns();
    engine->put(w->handle, w->key, w->value, opt.value_bytes);
    latency_add(l, clock_ns() - begin);
}

static void timed_get(struct worker *w, uint64_t key, struct latency *l)
{
    key_write(w->key, 2 * key);
    uint64_t begin = clock_ns();
    long len = engine->get(w->handle, w->key, w->out, OUT_BYTES);
    latency_add(l, clock_ns() - begin);
    if (!engine->unverified && (len != (long)opt.value_bytes || memcmp(w->out, &key, sizeof key) != 0))
        w->bad++;
}

/* Returns the number of keys written. */
static uint64_t timed_put_batch(struct worker *w, uint64_t i)
{
    unsigned n = 0;
    for (; n < BENCH_BATCH_MAX && i + n < w->to; n++) {
        uint64_t key = permuted((i + n) % opt.count, w->seed);
        char *value = w->values + (size_t)n * opt.value_bytes;
        key_write(w->keys[n], 2 * key);
        value_write(value, key, &w->random);
        w->value_of[n] = value;
    }
    uint64_t begin = clock_ns();
    engine->put_batch(w->handle, n, w->keys, w->value_of, opt.value_bytes);
    latency_add(w->latency, clock_ns() - begin);
    return n;
}

static uint64_t timed_get_batch(struct worker *w)
{
    for (unsigned n = 0; n < BENCH_BATCH_MAX; n++)
        key_write(w->keys[n], 2 * (random_next(&w->random) % opt.count));
    uint64_t begin = clock_ns();
    unsigned found = engine->get_batch(w->handle, BENCH_BATCH_MAX, w->keys, w->out, OUT_BYTES);
    latency_add(w->latency, clock_ns() - begin);
    w->bad += found != BENCH_BATCH_MAX;
    return BENCH_BATCH_MAX;
}

static void timed_miss(struct worker *w)
{
    key_write(w->key, 2 * (random_next(&w->random) % opt.count) + 1);
    uint64_t begin = clock_ns();
    long len = engine->get(w->handle, w->key, w->out, OUT_BYTES);
    latency_add(w->latency, clock_ns() - begin);
    w->bad += len >= 0;
}

static void timed_scan(struct worker *w)
{
    uint64_t key = random_next(&w->random) % opt.count;
    key_write(w->key, 2 * key);
    uint64_t begin = clock_ns();
    unsigned seen = engine->scan(w->handle, w->key, SCAN_ITEMS);
    latency_add(w->latency, clock_ns() - begin);
    w->bad += seen != SCAN_ITEMS && key + SCAN_ITEMS <= opt.count;
}

static void timed_delete(struct worker *w, uint64_t i)
{
    key_write(w->key, 2 * permuted(i, w->seed));
    uint64_t begin = clock_ns();
    engine->del(w->handle, w->key);
    latency_add(w->latency, clock_ns() - begin);
}

static void timed_mixed(struct worker *w, uint64_t elapsed_ns)
{
    uint64_t step = elapsed_ns / w->step_ns;
    struct latency *l = &w->latency[step < MIXED_STEPS ? step : MIXED_STEPS - 1];
    uint64_t key = zipf_next(&w->random);
    if (random_next(&w->random) >> 63)
        timed_get(w, key, l);
    else
        timed_put(w, key, l);
}

/* One step of a workload at i: how many operations it was. */
static uint64_t work_once(struct worker *w, uint64_t i, uint64_t elapsed_ns)
{
    switch (w->work) {
    case FILL_SEQUENTIAL:
        timed_put(w, i, w->latency);
        break;
    case FILL:
        timed_put(w, permuted(i % opt.count, w->seed), w->latency);
        break;
    case FILL_BATCH:
        return timed_put_batch(w, i);
    case READ:
        timed_get(w, random_next(&w->random) % opt.count, w->latency);
        break;
    case READ_ZIPF:
        timed_get(w, zipf_next(&w->random), w->latency);
        break;
    case READ_MANY:
        return timed_get_batch(w);
    case MISS:
        timed_miss(w);
        break;
    case SCAN:
        timed_scan(w);
        break;
    case DELETE:
        timed_delete(w, i);
        break;
    case MIXED:
        timed_mixed(w, elapsed_ns);
        break;
    }
    return 1;
}

/* Until the operation that is due at `rate` a second. */
static void wait_until_due(const struct worker *w, uint64_t start)
{
    uint64_t due = start + (uint64_t)((double)w->done / w->rate * 1e9);
    while (clock_ns() < due && !(w->stop && atomic_load_explicit(w->stop, memory_order_relaxed)))
        usleep(50);
}

static void *worker_run(void *arg)
{
    struct worker *w = arg;
    w->handle = engine->thread_begin();
    w->value = bench_alloc(1, opt.value_bytes + 64);
    w->out = bench_alloc(1, OUT_BYTES);
    w->keys = bench_alloc(BENCH_BATCH_MAX, BENCH_KEY_BYTES);
    w->values = bench_alloc(BENCH_BATCH_MAX, opt.value_bytes);
    w->random = bits_mixed(w->seed * 977 + w->id + 1) | 1;
    pthread_barrier_wait(w->start);
    uint64_t start = clock_ns(), elapsed = 0, checked = 0;
    for (uint64_t i = w->from; i < w->to;) {
        if (w->work == MIXED || w->done >= checked) { /* the clock is not free */
            elapsed = clock_ns() - start;
            checked = w->done + 64;
            if ((w->seconds > 0 && (double)elapsed > w->seconds * 1e9) ||
                (w->stop && atomic_load_explicit(w->stop, memory_order_relaxed)))
                break;
        }
        if (w->rate > 0)
            wait_until_due(w, start);
        uint64_t n = work_once(w, i, elapsed);
        i += n;
        w->done += n;
    }
    engine->thread_end(w->handle);
    free(w->value);
    free(w->out);
    free(w->keys);
    free(w->values);
    return NULL;
}

static void workers_start(struct worker *w, unsigned n, pthread_barrier_t *barrier)
{
    if (pthread_barrier_init(barrier, NULL, n + 1))
        bench_die("threads", strerror(errno));
    process_peak_reset();
    last.io = process_io();
    last.cpu = process_cpu();
    for (unsigned i = 0; i < n; i++) {
        w[i].start = barrier;
        if (pthread_create(&w[i].thread, NULL, worker_run, &w[i]))
            bench_die("threads", strerror(errno));
    }
    pthread_barrier_wait(barrier);
    last.start = clock_ns();
}

/* ---- results ---- */

static void print_line(const char *line)
{
    printf("%s\n", line);
    fflush(stdout);
    if (opt.out) {
        FILE *f = fopen(opt.out, "ae");
        if (!f)
            bench_die(opt.out, strerror(errno));
        fprintf(f, "%s\n", line);
        fclose(f);
    }
}

static double data_bytes(void) { return (double)opt.count * (double)(BENCH_KEY_BYTES + opt.value_bytes); }

/* `last` says when it began; now it ends. */
static struct outcome report(const char *name, unsigned threads, const struct latency *l, uint64_t done, uint64_t bad,
                             double seconds, const char *more)
{
    char line[1024];
    struct process_io io = process_io();
    double cpu = process_cpu() - last.cpu, n = done ? (double)done : 1;
    uint64_t peak = process_peak_megabytes();
    snprintf(line, sizeof line,
             "%s%s%s\t%s\t%lu\t%u\t%s\t%u\t%.0f\t%.2f\t%.2f\t%.2f\t%.0f\t%.3f\t%.3f\t%.0f\t%.0f\t%lu\t%.3f\t%lu\t%s",
             engine->name, *opt.tag ? "/" : "", opt.tag, opt.compression, (unsigned long)opt.count, opt.value_bytes,
             name, threads, (double)done / seconds, (double)latency_quantile(l, 0.5) / 1e3,
             (double)latency_quantile(l, 0.99) / 1e3, (double)latency_quantile(l, 0.999) / 1e3, (double)l->max / 1e3,
             cpu / n * 1e6, seconds, (double)(io.written - last.io.written) / 1e6,
             (double)(io.device_written - last.io.device_written) / 1e6,
             (unsigned long)(peak > own_megabytes ? peak - own_megabytes : 0),
             (double)directory_bytes(engine_dir) / data_bytes(), (unsigned long)bad, more);
    print_line(line);
    return (struct outcome){(double)done / seconds, cpu / n * 1e6};
}

static struct latency latency[THREADS_MAX]; /* of a run */

static struct outcome run_workload(const struct workload *l)
{
    struct worker w[THREADS_MAX] = {0};
    pthread_barrier_t barrier;
    uint64_t total = opt.count, bad = 0;
    if (l->limited)
        total = opt.syncs * l->threads;
    else if (!l->fills)
        total = (l->work == SCAN ? opt.reads / 4 : opt.reads) * (l->threads > 2 ? 1 : l->threads);
    memset(latency, 0, sizeof latency);
    for (unsigned i = 0; i < l->threads; i++)
        w[i] = (struct worker){.work = l->work,
                               .id = i,
                               .from = total * i / l->threads,
                               .to = total * (i + 1) / l->threads,
                               .seed = l->seed,
                               .seconds = l->limited ? opt.seconds
                                          : l->fills ? 0
                                                     : 60,
                               .latency = &latency[i]};
    workers_start(w, l->threads, &barrier);
    for (unsigned i = 0; i < l->threads; i++)
        pthread_join(w[i].thread, NULL);
    double seconds = (double)(clock_ns() - last.start) / 1e9;
    pthread_barrier_destroy(&barrier);
    last.operations = 0;
    for (unsigned i = 0; i < l->threads; i++) {
        last.operations += w[i].done;
        bad += w[i].bad;
        if (i > 0)
            latency_merge(&latency[0], &latency[i]);
    }
    return report(l->name, l->threads, &latency[0], last.operations, bad, seconds, "");
}

/* "rww": at full speed, a rate of 0; "rww50k": of 50,000 puts a second. */
static bool is_beside_writer(const char *name, double *rate)
{
    char *end;
    *rate = 0;
    if (strncmp(name, "rww", 3) || !name[3])
        return !strcmp(name, "rww");
    *rate = 1000 * strtod(name + 3, &end);
    return *rate > 0 && !strcmp(end, "k");
}

/* Reads beside a writer at `rate` a second (0: full speed). */
static struct outcome run_beside_writer(const char *name, double rate)
{
    atomic_bool stop = false;
    pthread_barrier_t barrier;
    char more[200];
    memset(latency, 0, sizeof latency);
    struct worker w[2] = {
        {.work = READ, .to = UINT64_MAX, .seconds = opt.seconds, .seed = 9, .latency = &latency[0]},
        {.work = FILL, .id = 1, .to = UINT64_MAX, .seed = 5, .rate = rate, .stop = &stop, .latency = &latency[1]}};
    workers_start(w, 2, &barrier);
    pthread_join(w[0].thread, NULL);
    atomic_store(&stop, true);
    pthread_join(w[1].thread, NULL);
    double seconds = (double)(clock_ns() - last.start) / 1e9;
    pthread_barrier_destroy(&barrier);
    last.operations = w[1].done;
    snprintf(more, sizeof more, "writer=%.0f/s w_p99=%.1fus w_max=%.0fus", (double)w[1].done / seconds,
             (double)latency_quantile(&latency[1], 0.99) / 1e3, (double)latency[1].max / 1e3);
    return report(name, 2, &latency[0], w[0].done, w[0].bad, seconds, more);
}

/* The table of a mixed run on stderr: does it stay as fast as it began, and how long was anybody kept waiting? */
static void print_steps(struct latency *steps, double step_seconds)
{
    fprintf(stderr, "%s mixed:\n  until s   ops/s    p99 us  p99.9 us  longest us\n", engine->name);
    for (unsigned i = 0; i < MIXED_STEPS; i++) {
        latency_merge(&steps[i], &steps[MIXED_STEPS + i]);
        fprintf(stderr, "%9.1f %8.0f %9.1f %9.1f %11.0f\n", (i + 1) * step_seconds,
                (double)steps[i].count / step_seconds, (double)latency_quantile(&steps[i], 0.99) / 1e3,
                (double)latency_quantile(&steps[i], 0.999) / 1e3, (double)steps[i].max / 1e3);
        if (i > 0)
            latency_merge(&steps[0], &steps[i]);
    }
}

static struct outcome run_mixed(void)
{
    struct latency *steps = bench_alloc((size_t)2 * MIXED_STEPS, sizeof *steps);
    double step_seconds = opt.seconds / MIXED_STEPS;
    struct worker w[2] = {0};
    pthread_barrier_t barrier;
    char more[100];
    for (unsigned i = 0; i < 2; i++)
        w[i] = (struct worker){.work = MIXED,
                               .id = i,
                               .to = UINT64_MAX,
                               .seconds = opt.seconds,
                               .seed = 21,
                               .step_ns = (uint64_t)(step_seconds * 1e9) + 1,
                               .latency = steps + (size_t)i * MIXED_STEPS};
    workers_start(w, 2, &barrier);
    pthread_join(w[0].thread, NULL);
    pthread_join(w[1].thread, NULL);
    double seconds = (double)(clock_ns() - last.start) / 1e9, slowest = 1e18;
    pthread_barrier_destroy(&barrier);
    last.operations = w[0].done + w[1].done;
    for (unsigned i = 0; i < MIXED_STEPS; i++) {
        double rate = (double)(steps[i].count + steps[MIXED_STEPS + i].count) / step_seconds;
        slowest = rate < slowest ? rate : slowest;
    }
    print_steps(steps, step_seconds);
    snprintf(more, sizeof more, "slowest=%.0f/s", slowest);
    struct outcome o = report("mixed", 2, &steps[0], last.operations, w[0].bad + w[1].bad, seconds, more);
    free(steps);
    return o;
}

/* Until neither CPU nor written bytes grew for a second. Its line has what the fill before cost, background included. */
static void run_settle(void)
{
    static const struct latency none;
    uint64_t begin = clock_ns(), busy = begin;
    char more[256];
    if (engine->flush)
        engine->flush();
    double cpu = process_cpu();
    struct process_io io = process_io();
    busy = clock_ns();
    for (unsigned quiet = 0; quiet < 10 && clock_ns() - begin < 200000000000u;) {
        usleep(100000);
        double cpu_now = process_cpu();
        struct process_io io_now = process_io();
        if (cpu_now - cpu < 0.01 && io_now.written - io.written < 65536) {
            quiet++;
        } else {
            quiet = 0;
            busy = clock_ns();
        }
        cpu = cpu_now;
        io = io_now;
    }
    double operations = last.operations ? (double)last.operations : 1;
    double user = operations * (double)(BENCH_KEY_BYTES + opt.value_bytes);
    double seconds = (double)(busy - begin) / 1e9;
    io = process_io();
    snprintf(more, sizeof more, "settle=%.2fs sustained=%.0f/s WA=%.2f WAdev=%.2f cpu/Mop=%.2f", seconds,
             operations / ((double)(busy - last.start) / 1e9), (double)(io.written - last.io.written) / user,
             (double)(io.device_written - last.io.device_written) / user,
             (process_cpu() - last.cpu) / operations * 1e6);
    report("settle", 0, &none, last.operations, 0, seconds + 1e-9, more);
    if (engine->describe)
        engine->describe();
}

#define REST_QUIET 13 /* seconds: longer than anything that an engine waits for before it tidies up */

/* As an idle server would: asked to look after itself each second. */
static void run_rest(void)
{
    static const struct latency none;
    uint64_t begin = clock_ns(), busy = begin;
    struct process_io first = process_io(), io = first;
    uint64_t space = directory_bytes(engine_dir);
    double cpu = process_cpu();
    char more[128];
    while (clock_ns() - busy < REST_QUIET * 1000000000ull && clock_ns() - begin < 300000000000u) {
        usleep(1000000);
        if (engine->tend)
            engine->tend();
        struct process_io now = process_io();
        uint64_t space_now = directory_bytes(engine_dir);
        if (now.written - io.written >= 65536 || space_now != space)
            busy = clock_ns();
        io = now;
        space = space_now;
    }
    snprintf(more, sizeof more, "written=%.0fMB cpu=%.2fs", (double)(io.written - first.written) / 1e6,
             process_cpu() - cpu);
    report("rest", 0, &none, 0, 0, (double)(busy - begin) / 1e9 + 1e-9, more);
    if (engine->describe)
        engine->describe();
}

/* ---- one engine's process ---- */

static void open_engine(bool fresh, bool sync)
{
    if (fresh)
        directory_remake(engine_dir);
    struct backend_options o = {.dir = engine_dir,
                                .compression = opt.compression,
                                .cache_bytes = opt.cache_mb << 20,
                                .memtable_bytes = opt.memtable_mb << 20,
                                .data_bytes = (uint64_t)data_bytes(),
                                .value_bytes = opt.value_bytes,
                                .background = opt.background,
                                .sync = sync,
                                .direct = opt.direct};
    engine->open(&o);
    engine_open = true;
}

static void close_engine(void)
{
    if (engine_open)
        engine->close();
    engine_open = false;
}

static void run_reopen(bool drop)
{
    uint64_t begin = clock_ns();
    close_engine();
    double closed = (double)(clock_ns() - begin) / 1e9;
    if (drop)
        directory_drop_cache(engine_dir);
    begin = clock_ns();
    open_engine(false, false);
    fprintf(stderr, "%s %s: close %.3fs open %.3fs\n", engine->name, drop ? "drop" : "reopen", closed,
            (double)(clock_ns() - begin) / 1e9);
}

static bool engine_can(const struct workload *l)
{
    switch (l->work) {
    case FILL_BATCH:
        return engine->put_batch;
    case READ_MANY:
        return engine->get_batch;
    case SCAN:
        return engine->scan;
    case DELETE:
        return engine->del;
    case FILL_SEQUENTIAL:
    case FILL:
        return !engine->unverified || l->limited;
    case MISS:
    case READ_ZIPF:
        return !engine->unverified;
    case READ:
    case MIXED:
        break;
    }
    return true;
}

static const struct workload *workload_named(const char *name)
{
    for (size_t i = 0; i < WORKLOAD_COUNT; i++)
        if (!strcmp(workloads[i].name, name))
            return &workloads[i];
    return NULL;
}

static struct outcome run_named(const char *name)
{
    struct outcome none = {0, 0};
    const struct workload *l = workload_named(name);
    bool fills = !strncmp(name, "fill", 4);
    double rate;
    if (l && !engine_can(l)) {
        fprintf(stderr, "%s has no %s\n", engine->name, name);
        return none;
    }
    if (fills || !engine_open) {
        close_engine();
        open_engine(fills, fills && strstr(name, "sync") != NULL);
    }
    if (l)
        return run_workload(l);
    if (is_beside_writer(name, &rate))
        return run_beside_writer(name, rate);
    if (!strcmp(name, "mixed"))
        return run_mixed();
    if (!strcmp(name, "settle"))
        run_settle();
    else if (!strcmp(name, "rest"))
        run_rest();
    else
        run_reopen(!strcmp(name, "drop"));
    return none;
}

/* A child: runs the workload that it is told by one byte and answers with its outcome, until it is told to stop. (The end
 * of the pipe would not do: children that were started later hold its other end too.) */
static _Noreturn void serve(const struct backend *which, char **names, int in, int out)
{
    unsigned char number;
    engine = which;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(engine_dir, sizeof engine_dir, "%s/%s", opt.dir, which->name);
    if (opt.limit_mb)
        process_limit_memory(opt.limit_mb << 20);
    keys_init(opt.count, opt.value_bytes);
    zipf_init();
    memset(latency, 0, sizeof latency);
    process_peak_reset();
    own_megabytes = process_peak_megabytes();
    while (read(in, &number, 1) == 1 && number != STOP) {
        struct outcome o = run_named(names[number]);
        if (write(out, &o, sizeof o) != (ssize_t)sizeof o)
            break;
    }
    close_engine();
    exit(0);
}

/* ---- the run ---- */

struct child {
    const struct backend *which;
    pid_t pid;
    int to, from;
};

static void start_child(struct child *c, char **names)
{
    int to[2], from[2];
    if (pipe(to) || pipe(from))
        bench_die("pipe", strerror(errno));
    c->pid = fork();
    if (c->pid < 0)
        bench_die("fork", strerror(errno));
    if (c->pid == 0) {
        close(to[1]);
        close(from[0]);
        serve(c->which, names, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    c->to = to[1];
    c->from = from[0];
}

static bool ask(const struct child *c, unsigned char number, struct outcome *o)
{
    if (write(c->to, &number, 1) == 1 && read(c->from, o, sizeof *o) == (ssize_t)sizeof *o)
        return true;
    fprintf(stderr, "enginebench: %s ended early\n", c->which->name);
    return false;
}

/* Tells all engines to stop, or kills them; true when all ended well. */
static bool stop_children(const struct child *c, unsigned n, bool at_once)
{
    bool good = true;
    for (unsigned i = 0; i < n; i++) {
        unsigned char stop = STOP;
        int status;
        if (at_once || write(c[i].to, &stop, 1) != 1)
            kill(c[i].pid, SIGKILL);
        waitpid(c[i].pid, &status, 0);
        good &= status == 0;
        process_limit_remove(c[i].pid);
    }
    return good;
}

static void print_ratios(const char *name, const struct child *c, const struct outcome *o, unsigned n)
{
    if (n < 2 || o[0].rate == 0)
        return;
    for (unsigned i = 1; i < n; i++)
        if (o[i].rate > 0)
            printf("# %s: %s is %.2f times %s in throughput, %.2f in CPU per operation\n", name, c[0].which->name,
                   o[0].rate / o[i].rate, c[i].which->name, o[0].cpu / o[i].cpu);
    fflush(stdout);
}

/* Splits at commas, in place. */
static unsigned split(char *text, char **parts, unsigned max)
{
    unsigned n = 0;
    char *rest = NULL;
    for (char *p = strtok_r(text, ",", &rest); p; p = strtok_r(NULL, ",", &rest)) {
        if (n == max)
            bench_die("too many names", p);
        parts[n++] = p;
    }
    return n;
}

static void check_names(char **names, unsigned n)
{
    static const char *const others[] = {"mixed", "settle", "rest", "drop", "reopen"};
    for (unsigned i = 0; i < n; i++) {
        double rate;
        bool known = workload_named(names[i]) != NULL || is_beside_writer(names[i], &rate);
        for (size_t j = 0; j < sizeof others / sizeof others[0]; j++)
            known |= !strcmp(names[i], others[j]);
        if (!known)
            bench_die("unknown workload", names[i]);
    }
}

static const struct backend *backend_named(const char *name)
{
    for (size_t i = 0; i < BACKEND_COUNT; i++)
        if (!strcmp(backends[i]->name, name))
            return backends[i];
    bench_die(name, "no such engine in this build (librocksdb-dev and libleveldb-dev bring theirs)");
}

static void print_help(void)
{
    printf("usage: enginebench [--OPTION=VALUE ...]\n"
           "  --backend=LIST  varve (lsm), varve-btree, varve-file, rocksdb, leveldb, device (what the disk can do); "
           "here: ");
    for (size_t i = 0; i < BACKEND_COUNT; i++)
        printf("%s ", backends[i]->name);
    printf("\n"
           "  --w=LIST        workloads, in order\n"
           "  --dir=PATH      a folder for each engine is made here (/tmp/enginebench)\n"
           "  --n=KEYS (2000000)  --vlen=BYTES (100)  --reads=N for each thread (1000000)  --secs=S (8)\n"
           "  --syncn=N       of fillsync, for each thread, if --secs allows (100000)\n"
           "  --cache=MB (256)  --mtable=MB (64)  --bg=THREADS (2)  --comp=none|lz4|zstd[:LEVEL]|snappy  --direct=1\n"
           "  --limit=MB      each engine runs in a cgroup (version 1) with this much memory, page cache included\n"
           "  --tag=TEXT      behind the engine's name   --out=FILE  append the lines to it\n"
           "workloads:\n");
    for (size_t i = 0; i < WORKLOAD_COUNT; i++)
        printf("  %-14s %s\n", workloads[i].name, workloads[i].help);
    fputs(other_workloads, stdout);
}

static uint64_t number_of(const char *name, const char *text)
{
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    if (end == text || *end)
        bench_die(name, "must be a number");
    return v;
}

static void parse_option(char *arg)
{
    char *value = strchr(arg, '=');
    if (strncmp(arg, "--", 2) || !value)
        bench_die(arg, "options are --NAME=VALUE; see --help");
    *value++ = 0;
    const char *name = arg + 2;
    const struct {
        const char *name;
        const char **text;
        uint64_t *number;
    } known[] = {{"dir", &opt.dir, NULL},
                 {"comp", &opt.compression, NULL},
                 {"tag", &opt.tag, NULL},
                 {"out", &opt.out, NULL},
                 {"w", &opt.list, NULL},
                 {"backend", &opt.names, NULL},
                 {"n", NULL, &opt.count},
                 {"reads", NULL, &opt.reads},
                 {"syncn", NULL, &opt.syncs},
                 {"cache", NULL, &opt.cache_mb},
                 {"mtable", NULL, &opt.memtable_mb},
                 {"limit", NULL, &opt.limit_mb}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) != 0)
            continue;
        if (known[i].text)
            *known[i].text = value;
        else
            *known[i].number = number_of(name, value);
        return;
    }
    if (!strcmp(name, "vlen"))
        opt.value_bytes = (unsigned)number_of(name, value);
    else if (!strcmp(name, "bg"))
        opt.background = (int)number_of(name, value);
    else if (!strcmp(name, "direct"))
        opt.direct = number_of(name, value) != 0;
    else if (!strcmp(name, "secs"))
        opt.seconds = strtod(value, NULL);
    else
        bench_die(arg, "no such option; see --help");
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    char *names[WORKLOADS_MAX], *engines[ENGINES_MAX];
    struct child children[ENGINES_MAX];
    struct outcome outcomes[ENGINES_MAX];
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            print_help();
            return 0;
        }
        parse_option(argv[i]);
    }
    if (opt.count < 32 || opt.seconds <= 0)
        bench_die("--n or --secs", "too small");
    unsigned name_count = split(strdup(opt.list), names, WORKLOADS_MAX);
    unsigned count = split(strdup(opt.names), engines, ENGINES_MAX);
    check_names(names, name_count);
    if (mkdir(opt.dir, 0700) && errno != EEXIST)
        bench_die(opt.dir, strerror(errno));
    for (unsigned i = 0; i < count; i++) {
        children[i].which = backend_named(engines[i]);
        start_child(&children[i], names);
    }
    bool going = true;
    for (unsigned w = 0, end; w < name_count && going; w = end) {
        for (end = w + 1; end < name_count && !strcmp(names[end], "settle");)
            end++;
        for (unsigned i = 0; i < count; i++) {
            struct outcome settled;
            for (unsigned k = w; k < end && going; k++)
                going = ask(&children[i], (unsigned char)k, k == w ? &outcomes[i] : &settled);
        }
        if (going)
            print_ratios(names[w], children, outcomes, count);
    }
    return stop_children(children, count, !going) && going ? 0 : 1;
}

/* The executor over the real front and its engines, on a disk in memory, under the deterministic scheduler: the log
 * thread, flushes and compactions are delayed at will, so the gate stands and jumps, views are replaced under readers,
 * keys are cold. What must hold:
 *   - what clients are told is linearizable, with `always` and with `everysec`, over lsm and over memory;
 *   - the same when writing or syncing the log fails at any moment: nothing above the gate is shown;
 *   - after the process was killed at the end (and under `always` after the power failed), the directory opens with all
 *     that was acknowledged: a read of all keys fits behind the history.
 * VARVE_STORM_SEED runs that one alone. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "exec/internal.h"
#include "os/env_memory.h"
#include "os/sched.h"
#include "tests/lib/storm.h"
#include "tests/lib/tap.h"

#define STORMS 2 /* one after the other on the same data */

static struct {
    struct env *env;
    enum front_fsync fsync;
    const struct engine_ops *engine;
    bool fail, ok;
    struct storm storm[STORMS];
    uint64_t seed;
} test;
static struct {
    uint64_t operations, lost, away, flushes, retries, failed;
} total;

static enum result shard_start(struct shard **shard, struct errmsg *msg)
{
    struct shard_options o = {
        .front = {.env = test.env,
                  .engine = test.engine,
                  .dir = "/data",
                  .create = true,
                  .fsync = test.fsync,
                  .memtable_bytes = 1500,
                  .log_segment_bytes = 49152,
                  .log_ring_bytes = 65536,
                  .tuning = {.table_bytes = 8192, .block_bytes = 1024, .base_level_bytes = 32768, .cache_bytes = 4096}},
        .pool_threads = 3,
        .command_count = MINI_COUNT,
        .max_workers = 8,
    };
    return shard_open(&o, shard, msg);
}

static void disturb(struct storm *s, uint64_t r, bool last)
{
    if (r % 4 == 0 || last)
        env_memory_chill(test.env);
    if (r % 2 == 0) { /* a new memtable, and a view that the readers of this moment do not have */
        latch_lock(&s->shard->latch);
        enum result sealed = front_seal(shard_front(s->shard));
        tap_check(sealed == RES_OK || sealed == RES_WOULD_BLOCK || sealed == RES_READ_ONLY);
        latch_release(&s->shard->latch, s->shard->env->ops->mono_ns(s->shard->env));
    }
    if (r % 8 == 1)
        env_memory_set_cold(test.env, (unsigned)(r >> 8) % 1000);
}

/* Under everysec only writes fail: after a failed sync nothing is promised about what had been written. */
static void failure_add(void)
{
    uint32_t sync = test.fsync == FRONT_FSYNC_ALWAYS ? ENV_OP_BIT(ENV_OP_SYNC) : 0;
    env_faults_add(env_memory_faults(test.env),
                   &(struct env_fault){.ops = ENV_OP_BIT(ENV_OP_PWRITEV) | sync,
                                       .path = "wal",
                                       .nth = 1 + test.seed % 40,
                                       .times = UINT64_MAX,
                                       .code = RES_IO,
                                       .partial = test.seed % 3 ? -1 : (int64_t)(test.seed % 97)});
}

static void explain(const struct storm *s)
{
    tap_diag("seed %" PRIu64 "%s%s", test.seed, s->standstill ? ": standstill" : "",
             s->wrong_reply ? ": wrong reply" : "");
    for (const char *p = s->text, *end; *p; p = *end ? end + 1 : end) {
        end = p + strcspn(p, "\n");
        tap_diag("%.*s", (int)(end - p), p);
    }
}

/* ---- before the crash ---- */

static void count(struct shard *shard)
{
    struct shard_stats st;
    struct front_stats front;
    shard_stats(shard, &st);
    front_stats(shard_front(shard), &front);
    total.away += st.away_reads + st.away_writes;
    total.retries += st.prepared_retries;
    total.flushes += front.engine.flushes;
    total.failed += shard_frozen(shard);
}

static void storms(void *arg)
{
    (void)arg;
    struct shard *shard;
    struct errmsg msg;
    enum result r = shard_start(&shard, &msg);
    if (r != RES_OK)
        tap_diag("open: %s", msg.text);
    tap_require(r == RES_OK);
    test.ok = true;
    for (int i = 0; i < STORMS && test.ok; i++) {
        struct storm *s = &test.storm[i];
        memset(s, 0, sizeof *s);
        s->shard = shard;
        s->seed = test.seed * STORMS + (uint64_t)i;
        s->workers = 2 + (int)(test.seed % 3);
        s->clients = 3;
        s->ops = 5;
        s->group = i;
        s->padding = 100;
        s->prepared_permille = test.seed % 2 ? 500 : 100;
        s->disturb = disturb;
        if (i == STORMS - 1 && test.fail)
            failure_add();
        test.ok = storm_run(s);
        if (!test.ok)
            explain(s);
        total.operations += s->count;
        total.lost += s->lost;
    }
    count(shard);
    r = shard_close(shard);
    tap_check(r == RES_OK || test.fail);
}

/* ---- after the crash ---- */

static struct {
    struct os_mutex lock;
    struct os_cond cond;
    bool woken;
} waiter;

static void wake(void *arg)
{
    (void)arg;
    os_mutex_lock(&waiter.lock);
    waiter.woken = true;
    os_cond_signal(&waiter.cond);
    os_mutex_unlock(&waiter.lock);
}

/* The commits of a storm in their order (tests/lib/storm.c: hints are sequences), applied one after the other: what is
 * found must be the state after all that were acknowledged and a prefix of the others. */
static int compare_commits(const void *a, const void *b)
{
    const struct linear_op *x = a, *y = b;
    return (x->hint > y->hint) - (x->hint < y->hint);
}

static void apply(const struct linear_op *o, int64_t reg[LINEAR_KEYS])
{
    switch (o->kind) {
    case LINEAR_SET:
    case LINEAR_SETNX:
        reg[o->key] = o->value;
        break;
    case LINEAR_INCR:
        reg[o->key] = o->result[0];
        break;
    case LINEAR_DEL:
        reg[o->key] = LINEAR_NIL;
        break;
    case LINEAR_MSET:
        for (int i = 0; i < LINEAR_KEYS; i++)
            reg[i] = o->value;
        break;
    default:
        break;
    }
}

static bool fits(struct storm *s, const int64_t found[LINEAR_KEYS])
{
    int64_t reg[LINEAR_KEYS];
    for (int i = 0; i < LINEAR_KEYS; i++)
        reg[i] = LINEAR_NIL;
    qsort(s->history, s->count, sizeof *s->history, compare_commits);
    qsort(s->unknown, s->lost, sizeof *s->unknown, compare_commits);
    for (size_t i = 0; i < s->count; i++)
        if (s->history[i].hint % 2) /* it changed something */
            apply(&s->history[i], reg);
    for (size_t i = 0;; i++) {
        if (memcmp(reg, found, sizeof reg) == 0)
            return true;
        if (i == s->lost)
            break;
        if (s->unknown[i].hint % 2)
            apply(&s->unknown[i], reg);
    }
    snprintf(s->text, sizeof s->text, "found %lld %lld %lld %lld, after all commits %lld %lld %lld %lld",
             (long long)found[0], (long long)found[1], (long long)found[2], (long long)found[3], (long long)reg[0],
             (long long)reg[1], (long long)reg[2], (long long)reg[3]);
    return false;
}

static void look(void *arg)
{
    (void)arg;
    struct shard *shard;
    struct errmsg msg;
    enum result r = shard_start(&shard, &msg);
    if (r != RES_OK)
        tap_diag("seed %" PRIu64 ": after the crash: %s", test.seed, msg.text);
    if (!tap_check(r == RES_OK))
        return;
    struct exec_worker *w = exec_worker_new(shard, &(struct exec_worker_options){.name = "look", .wake = wake});
    struct mini_client c;
    mini_client_init(&c, 1);
    for (int i = 0; i < STORMS; i++) {
        int64_t found[LINEAR_KEYS];
        for (int k = 0; k < LINEAR_KEYS; k++) {
            char key[160];
            storm_key(&test.storm[i], k, key);
            const char *reply = mini_do(w, &c, MINI_GET, key);
            found[k] = strcmp(reply, "$-1\r\n") == 0 ? LINEAR_NIL : strtoll(strchr(reply, '\n') + 1, NULL, 10);
        }
        test.ok = fits(&test.storm[i], found);
        if (!tap_check(test.ok))
            explain(&test.storm[i]);
    }
    mini_client_fini(&c);
    exec_worker_free(w);
    tap_check(shard_close(shard) == RES_OK);
}

static bool scheduled(void (*main)(void *))
{
    struct sched_report report;
    sched_run(test.seed, 0, main, NULL, &report);
    if (report.stuck)
        tap_diag("seed %" PRIu64 ": stuck: %s", test.seed, report.text);
    tap_check(!report.stuck);
    tap_require(!report.stuck); /* its threads are left behind */
    return test.ok;
}

static bool one_seed(uint64_t seed)
{
    test.seed = seed;
    struct env *env = test.env = env_memory_new(seed, ENV_MEMORY_CRASH);
    env_memory_follow(env, sched_now);
    bool ok = scheduled(storms);
    tap_check(ok);
    if (ok && test.engine->persistent) {
        env_faults_clear(env_memory_faults(env));
        env_memory_set_cold(env, 0);
        /* 0: the process was killed; else the power failed, which only `always` promises about. */
        uint64_t how = test.fsync == FRONT_FSYNC_ALWAYS ? seed % 3 : 0;
        test.env = env_memory_crash(env, ENV_MEMORY_NOW, how > 1 ? seed + 2 : how);
        tap_require(test.env != NULL);
        env_memory_follow(test.env, sched_now);
        ok = scheduled(look);
        env_memory_free(test.env);
    }
    env_memory_free(env);
    return ok;
}

static void run_seeds(uint64_t count, const struct engine_ops *engine, enum front_fsync fsync, bool fail)
{
    const char *one = getenv("VARVE_STORM_SEED");
    test.engine = engine;
    test.fsync = fsync;
    test.fail = fail;
    memset(&total, 0, sizeof total);
    if (tap_long())
        count *= 40;
    for (uint64_t seed = one ? strtoull(one, NULL, 10) : 0; seed < (one ? seed + 1 : count); seed++)
        if (!one_seed(seed) || one)
            return;
    tap_diag("%" PRIu64 " operations, %" PRIu64 " lost, %" PRIu64 " away, %" PRIu64 " retries, %" PRIu64
             " flushes, %" PRIu64 " failed logs",
             total.operations, total.lost, total.away, total.retries, total.flushes, total.failed);
    tap_check(total.away > 0);
    tap_check(!fail || (total.failed > 0 && total.lost > 0));
    tap_check(!engine->persistent || total.flushes > 0);
}

static void note_failure(void *arg, enum result why, const char *sentence)
{
    tap_check(why == RES_IO && sentence[0] != 0);
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void break_log(struct shard *shard)
{
    struct front *f = shard_front(shard);
    struct slice key = SLICE_LIT("Mk");
    struct batch_record record = {.key = {key, engine_hash(key)}, .value = SLICE_LIT("v"), .kind = RECORD_PUT};
    struct batch b = {.records = &record, .count = 1, .now_ms = 1};
    env_faults_add(
        env_memory_faults(test.env),
        &(struct env_fault){.ops = ENV_OP_BIT(ENV_OP_PWRITEV), .path = "wal/", .times = UINT64_MAX, .code = RES_IO});
    enum result res;
    latch_lock(&shard->latch);
    while ((res = front_reserve(f, &b)) == RES_WOULD_BLOCK)
        front_kick(f);
    if (res == RES_OK)
        (void)front_commit(f, &b);
    latch_release(&shard->latch, shard->env->ops->mono_ns(shard->env));
    front_kick(f);
    while (!(atomic_load(&shard->restricted) & RESTRICT_FROZEN))
        os_pause();
}

/* The log's threads run, and may fail, before anybody listens. */
static void a_failure_before_the_hooks_is_told(void)
{
    struct shard *shard;
    struct errmsg msg;
    for (int early = 0; early < 2; early++) {
        atomic_int told = 0;
        const struct shard_hooks hooks = {.failure = note_failure, .arg = &told};
        test.env = env_memory_new(9, ENV_MEMORY_PLAIN);
        test.engine = &engine_lsm;
        test.fsync = FRONT_FSYNC_ALWAYS;
        tap_require(shard_start(&shard, &msg) == RES_OK);
        if (early)
            shard_set_hooks(shard, &hooks);
        break_log(shard);
        if (!early)
            shard_set_hooks(shard, &hooks);
        while (atomic_load(&told) == 0)
            os_pause();
        tap_check(shard_close(shard) == RES_READ_ONLY);
        tap_eq_u64((uint64_t)atomic_load(&told), 1);
        env_memory_free(test.env);
    }
}

static void always_over_lsm(void) { run_seeds(100, &engine_lsm, FRONT_FSYNC_ALWAYS, false); }
static void everysec_over_lsm(void) { run_seeds(60, &engine_lsm, FRONT_FSYNC_EVERYSEC, false); }
static void over_memory(void) { run_seeds(60, &engine_memory, FRONT_FSYNC_NO, false); }
static void always_with_a_failing_log(void) { run_seeds(100, &engine_lsm, FRONT_FSYNC_ALWAYS, true); }
static void everysec_with_a_failing_log(void) { run_seeds(60, &engine_lsm, FRONT_FSYNC_EVERYSEC, true); }

int main(void)
{
    log_set_level(LOG_NOTHING);
    os_mutex_init(&waiter.lock);
    os_cond_init(&waiter.cond);
    tap_test(always_over_lsm);
    tap_test(everysec_over_lsm);
    tap_test(over_memory);
    tap_test(always_with_a_failing_log);
    tap_test(everysec_with_a_failing_log);
    tap_test(a_failure_before_the_hooks_is_told);
    return tap_done();
}

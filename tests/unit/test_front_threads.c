/* Readers, a committer and the front's own threads at the same time (meant for ThreadSanitizer as well). What must hold:
 *   1. What a reader sees at its snapshot is exactly the state after some number of commits, counters included, and never
 *      less than what it saw before.
 *   2. The gate never goes back; under `always` it never passes durable; visible >= written >= durable.
 *   3. A view that is kept while memtables come and go still shows its snapshot. */
#include <ftw.h>

#include "front/internal.h"
#include "os/env_memory.h"
#include "os/thread.h"
#include "tests/lib/front_model.h"
#include "tests/lib/tap.h"

#define READERS 2
#define COMMITS_MAX 200000

static struct front *front;
static struct env *in_memory; /* it lies on; or NULL */
static struct model model;
static atomic_bool stop;
static atomic_int always; /* since the last change of mode was complete */
static atomic_ulong reads;

static void look(uint64_t *seen, uint64_t *gate_seen)
{
    struct front_view *v = front_view_ref(front);
    uint64_t snapshot = front_snapshot(v), n = model_marker(v, snapshot);
    char why[200] = "";
    if (tap_check(n != UINT64_MAX && n >= *seen)) {
        struct model_state s = model_state_at(&model, n);
        if (!tap_check(model_equal(front, v, snapshot, &s, why, sizeof(why))))
            tap_diag("snapshot %llu, %llu commits: %s", (unsigned long long)snapshot, (unsigned long long)n, why);
        *seen = n;
        if (n % 5 == 0) { /* keep it for a while */
            for (int i = 0; i < 20; i++)
                model_pause();
            tap_eq_u64(model_marker(v, snapshot), n);
        }
    }
    front_view_unref(v);
    int mode = atomic_load(&always);
    uint64_t gate = front_gate(front), durable = front_durable(front), written = front_written(front);
    tap_check(durable <= written || written <= front_written(front)); /* read in the other order: see below */
    tap_check(front_written(front) >= durable && front_visible(front) >= written);
    tap_check(gate >= *gate_seen);
    if (mode && atomic_load(&always) == mode)
        tap_check(gate <= durable);
    *gate_seen = gate;
    atomic_fetch_add(&reads, 1);
}

static void reader(void *arg)
{
    uint64_t seen = 0, gate = 0;
    (void)arg;
    while (!atomic_load(&stop)) {
        look(&seen, &gate);
        epoch_poll();
    }
}

static void commit_for_a_while(int commits, int flush_every, bool tables)
{
    struct model_state state = {0};
    int mode = 0;
    for (int i = 0; i < commits; i++) {
        tap_require(model_commit(&model, front, &state, tables && i % 50 == 7) == RES_OK);
        if (i % 3 == 0)
            front_kick(front);
        if (in_memory && tables && i / 500 % 2 &&
            i % 20 == 13) { /* while half of them come, the log may think that few do */
            env_memory_advance(in_memory, FRONT_REST_NS);
            tap_require(front_rest(front) != RES_READ_ONLY);
        }
        if (i % 200 == 199) {
            enum front_fsync next = i / 200 % 2 ? FRONT_FSYNC_ALWAYS : FRONT_FSYNC_NO;
            atomic_store(&always, 0);
            front_set_fsync(front, next);
            front_kick(front);
            if (next == FRONT_FSYNC_ALWAYS) {
                while (front_durable(front) < front_gate(front))
                    model_pause();
                atomic_store(&always, ++mode);
            }
        }
        if (i % flush_every == 100)
            tap_check(front_flush(front) == RES_OK);
    }
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *at)
{
    (void)st, (void)what, (void)at;
    return remove(path);
}

static void run_over(const struct engine_ops *engine, enum front_fsync mode, int commits, uint64_t memtable,
                     int flush_every)
{
    bool real = engine == &engine_btree; /* which goes past the environment */
    struct env *env = real ? env_posix() : env_memory_new(9, ENV_MEMORY_PLAIN);
    in_memory = real ? NULL : env;
    char dir[64] = "/data";
    if (real) {
        const char *above = getenv("TMPDIR");
        snprintf(dir, sizeof(dir), "%s/varve-XXXXXX", above && strlen(above) < 40 ? above : "/tmp");
        tap_require(mkdtemp(dir) != NULL);
    }
    struct front_options o = {
        .env = env,
        .engine = engine,
        .dir = dir,
        .create = true,
        .fsync = mode,
        .memtable_bytes = memtable,
        .log_segment_bytes = 65536,
        .log_ring_bytes = 65536,
        .tuning = {.table_bytes = 16384, .block_bytes = 1024, .base_level_bytes = 65536, .cache_bytes = 1 << 20}};
    struct os_thread threads[READERS];
    model_init(&model, 77, 300);
    model.room = COMMITS_MAX;
    model.commits = calloc(model.room, sizeof(*model.commits));
    atomic_store(&stop, false);
    atomic_store(&always, 0);
    atomic_store(&reads, 0);
    tap_require(front_open(&o, &front, NULL) == RES_OK);
    for (int i = 0; i < READERS; i++)
        tap_require(os_thread_start(&threads[i], "reader", reader, NULL) == RES_OK);
    commit_for_a_while(commits, flush_every, memtable < 1 << 20);
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++)
        os_thread_join(&threads[i]);
    tap_check(atomic_load(&reads) > 10);
    uint64_t seen = 0, gate = 0;
    tap_check(front_wait(front, front_visible(front)) == RES_OK);
    struct front_stats stats;
    front_stats(front, &stats);
    tap_check(memtable < 1 << 20 || stats.memtable_pruned > 0);
    look(&seen, &gate);
    tap_eq_u64(seen, model.count);
    tap_check(front_close(front) == RES_OK);
    model_fini(&model);
    if (real) {
        tap_check(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
        return;
    }
    tap_check(env_memory_open_files(env) == 0);
    env_memory_free(env);
}

static void lsm(void) { run_over(&engine_lsm, FRONT_FSYNC_ALWAYS, tap_long() ? 60000 : 1500, 20000, 500); }
static void memory(void) { run_over(&engine_memory, FRONT_FSYNC_NO, tap_long() ? 60000 : 1500, 20000, 500); }
static void btree(void) { run_over(&engine_btree, FRONT_FSYNC_ALWAYS, tap_long() ? 60000 : 1500, 20000, 500); }
static void file(void) { run_over(&engine_file, FRONT_FSYNC_ALWAYS, tap_long() ? 60000 : 1500, 20000, 500); }
/* Memtables so large that old versions are given back and their memory is used again, under the readers' eyes. */
static void pruning(void) { run_over(&engine_lsm, FRONT_FSYNC_NO, tap_long() ? 60000 : 6000, 64 << 20, 100000); }

int main(void)
{
    tap_test(lsm);
    tap_test(memory);
    tap_test(btree);
    tap_test(file);
    tap_test(pruning);
    return tap_done();
}

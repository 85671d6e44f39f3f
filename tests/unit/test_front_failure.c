/* Failing disks under a front. What must hold:
 *   1. Whatever write, sync, rename or other change fails, and however: nothing above the gate is shown or acknowledged,
 *      what is at the gate can still be read, writes are refused from then on, and the next start has all that was
 *      acknowledged, as a prefix of the commits.
 *   2. A full disk refuses the write that has no space, loses nothing, and writes go on by themselves when there is
 *      space again; on_space tells.
 *   3. A failed sync under everysec freezes too.
 *   4. A start that fails, whatever call it is that does, has lost nothing: the next one finds all that was there. */
#include <time.h>

#include "front/front.h"
#include "os/env_memory.h"
#include "tests/lib/front_model.h"
#include "tests/lib/tap.h"

static const struct engine_ops *engine;

struct heard {
    _Atomic uint64_t gate, spaces;
    _Atomic int failures;
    char sentence[512];
};

static void on_gate(void *arg, uint64_t gate) { atomic_store(&((struct heard *)arg)->gate, gate); }
static void on_space(void *arg) { atomic_fetch_add(&((struct heard *)arg)->spaces, 1); }
static void on_failure(void *arg, enum result why, const char *sentence)
{
    struct heard *h = arg;
    (void)why;
    if (atomic_fetch_add(&h->failures, 1) == 0)
        snprintf(h->sentence, sizeof(h->sentence), "%s", sentence);
}

static struct front_options options(struct env *env, enum front_fsync mode, struct heard *h)
{
    return (struct front_options){.env = env,
                                  .engine = engine,
                                  .dir = "/data",
                                  .create = true,
                                  .fsync = mode,
                                  .memtable_bytes = 10000,
                                  .log_segment_bytes = 32768,
                                  .log_ring_bytes = 65536,
                                  .tuning = {.table_bytes = 8192, .block_bytes = 1024, .cache_bytes = 1 << 20},
                                  .on_gate = on_gate,
                                  .on_space = on_space,
                                  .on_failure = on_failure,
                                  .arg = h};
}

static uint64_t commits_at(const struct model *m, uint64_t sequence)
{
    uint64_t n = 0;
    while (n < m->count && m->commits[n].sequence <= sequence)
        n++;
    return n;
}

/* The front at its gate holds exactly the commits up to it. */
static bool right_at_gate(struct front *f, const struct model *m, const char *where)
{
    char why[200] = "";
    struct front_view *v = front_view_ref(f);
    uint64_t snapshot = front_snapshot(v), n = commits_at(m, snapshot);
    struct model_state s = model_state_at(m, n);
    bool ok = model_marker(v, snapshot) == n && model_equal(f, v, snapshot, &s, why, sizeof(why));
    front_view_unref(v);
    if (!tap_check(ok))
        tap_diag("%s: at the gate: %s", where, why);
    return ok;
}

/* Opens what is there, without faults, and compares. */
static void right_after_restart(struct env *env, const struct model *m, uint64_t need, const char *where)
{
    struct heard h = {0};
    struct front_options o = options(env, FRONT_FSYNC_ALWAYS, &h);
    struct front *f;
    struct errmsg msg;
    enum result res = front_open(&o, &f, &msg);
    if (!tap_check(res == RES_OK)) {
        tap_diag("%s: does not open again: %s", where, msg.text);
        return;
    }
    struct front_view *v = front_view_ref(f);
    uint64_t n = model_marker(v, front_snapshot(v));
    char why[200] = "";
    struct model_state s = model_state_at(m, n <= m->count ? n : 0);
    if (!tap_check(n <= m->count && n >= need && model_equal(f, v, front_snapshot(v), &s, why, sizeof(why))))
        tap_diag("%s: restarted with %llu commits, %llu were acknowledged: %s", where, (unsigned long long)n,
                 (unsigned long long)need, why);
    front_view_unref(v);
    tap_check(front_close(f) == RES_OK);
}

/* One run with the fault in place. Returns how often it hit. */
static uint64_t run_with_fault(const struct env_fault *fault, enum front_fsync mode, uint64_t seed, const char *where)
{
    struct env *env = env_memory_new(seed, ENV_MEMORY_CRASH);
    struct heard h = {0};
    struct front_options o = options(env, mode, &h);
    struct front *f = NULL;
    struct model m;
    struct model_state state = {0};
    struct errmsg msg = {""};
    uint64_t acknowledged = 0;
    model_init(&m, seed, 900);
    env_faults_add(env_memory_faults(env), fault);
    enum result res = front_open(&o, &f, &msg);
    if (res == RES_OK) {
        for (int i = 0; i < 110 && res == RES_OK; i++) {
            res = model_commit(&m, f, &state, i % 37 == 5);
            if (res == RES_OK && i % 4 == 3)
                res = front_wait(f, front_visible(f));
            if (res == RES_OK && i % 50 == 49)
                res = front_flush(f);
        }
        if (res == RES_OK)
            res = front_wait(f, front_visible(f));
        if (!tap_check(res == RES_OK || front_frozen(f)))
            tap_diag("%s: %s without being frozen", where, result_text(res));
        if (front_frozen(f)) {
            for (int i = 0; i < 200000 && atomic_load(&h.failures) == 0; i++)
                model_pause(); /* the flag comes before the call, and its thread may wait for a core */
            if (!tap_check(front_failure(f)[0] != 0 && atomic_load(&h.failures) == 1))
                tap_diag("%s: told %d times: %s", where, (int)atomic_load(&h.failures), front_failure(f));
            tap_check(model_commit(&m, f, &state, false) == RES_READ_ONLY);
            tap_check(atomic_load(&h.gate) <= front_gate(f));
            /* What was being written when something else failed may still come to the gate. */
            if (front_wait(f, front_visible(f)) != RES_READ_ONLY)
                tap_check(front_gate(f) == front_visible(f));
        }
        right_at_gate(f, &m, where);
        acknowledged = commits_at(&m, front_gate(f));
        enum result closed = front_close(f);
        tap_check(closed == RES_OK || env_faults_hits(env_memory_faults(env)) > 0);
    } else {
        tap_check(msg.text[0] != 0);
    }
    uint64_t hits = env_faults_hits(env_memory_faults(env));
    tap_check(env_memory_open_files(env) == 0);
    env_faults_clear(env_memory_faults(env));
    /* After a failed sync nobody knows what of the unsynced bytes is there: only `always` promises something. */
    for (uint64_t loss = 0; loss < 3; loss++) {
        struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, loss);
        right_after_restart(
            image, &m,
            (loss == 0 && !(fault->ops & ENV_OP_BIT(ENV_OP_SYNC))) || mode == FRONT_FSYNC_ALWAYS ? acknowledged : 0,
            where);
        env_memory_free(image);
    }
    env_memory_free(env);
    model_fini(&m);
    return hits;
}

static void every_nth(uint32_t ops, const char *path, enum front_fsync mode, const char *what)
{
    uint64_t step = tap_long() ? 1 : 3;
    int without = 0;
    for (uint64_t n = 1; without < 3 && n < 2000; n += step) {
        static const struct env_fault kinds[] = {{.code = RES_IO},
                                                 {.code = RES_IO, .partial = 40},
                                                 {.code = RES_IO, .done = true},
                                                 {.code = RES_IO, .partial = 900}};
        struct env_fault fault = kinds[n % 4];
        char where[120];
        fault.ops = ops;
        fault.path = path;
        fault.nth = n;
        snprintf(where, sizeof(where), "%s, call %llu of %s fails", what, (unsigned long long)n, path ? path : "all");
        without = run_with_fault(&fault, mode, n, where) ? 0 : without + 1;
    }
}

#define LOG_OPS (ENV_OP_BIT(ENV_OP_PWRITEV) | ENV_OP_BIT(ENV_OP_SYNC))

static void log_failure_at_every_write_always(void) { every_nth(LOG_OPS, "wal/", FRONT_FSYNC_ALWAYS, "always"); }
static void log_failure_at_every_write_no(void) { every_nth(ENV_OP_BIT(ENV_OP_PWRITEV), "wal/", FRONT_FSYNC_NO, "no"); }
static void log_failure_at_every_sync_no(void) { every_nth(ENV_OP_BIT(ENV_OP_SYNC), "wal/", FRONT_FSYNC_NO, "no"); }
static void any_failure_anywhere(void) { every_nth(ENV_OPS_WRITE, NULL, FRONT_FSYNC_ALWAYS, "always"); }

/* A directory whose log holds several private tables and memtables that the engine does not have, a table first; and of
 * the LSM engine the manifest has a torn end, so that the first edit of the next start begins a new one. */
static struct env *unflushed(struct model *m, struct model_state *state)
{
    struct env *env = env_memory_new(77, ENV_MEMORY_CRASH), *image;
    struct heard h = {0};
    struct front_options o = options(env, FRONT_FSYNC_ALWAYS, &h);
    struct front *f;
    model_init(m, 77, 300);
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    for (int i = 0; i < 30; i++)
        tap_require(model_commit(m, f, state, false) == RES_OK);
    tap_require(front_flush(f) == RES_OK);
    /* From here on nothing comes to the engine: there is no room for its tables, and the flusher waits for some. */
    env_faults_add(env_memory_faults(env), &(struct env_fault){.ops = ENV_OP_BIT(ENV_OP_PWRITEV),
                                                               .path = engine == &engine_lsm ? "/MANIFEST" : "/FILES",
                                                               .times = UINT64_MAX,
                                                               .code = RES_NO_SPACE,
                                                               .partial = 5});
    for (int i = 0; i < 12; i++)
        tap_require(model_commit(m, f, state, i % 4 == 0) == RES_OK);
    tap_require(front_wait(f, front_visible(f)) == RES_OK);
    while (env_faults_hits(env_memory_faults(env)) == 0)
        model_pause();
    image = env_memory_crash(env, ENV_MEMORY_NOW, 0);
    tap_require(front_close(f) == RES_OK);
    env_memory_free(env);
    return image;
}

static bool start_with_fault(struct env *crashed, const struct model *m, const struct env_fault *fault)
{
    struct env *env = env_memory_crash(crashed, ENV_MEMORY_NOW, 0);
    struct heard h = {0};
    struct front_options o = options(env, FRONT_FSYNC_ALWAYS, &h);
    struct front *f;
    struct errmsg msg;
    char where[80];
    snprintf(where, sizeof(where), "a start whose call %llu fails (%s)", (unsigned long long)fault->nth,
             result_text(fault->code));
    env_faults_add(env_memory_faults(env), fault);
    enum result res = front_open(&o, &f, &msg);
    if (res == RES_OK) {
        if (fault->ops == ENV_OPS_ALL) /* the start is over: what is read now shall be read */
            env_faults_clear(env_memory_faults(env));
        right_at_gate(f, m, where);
        tap_check(front_close(f) == RES_OK || env_faults_hits(env_memory_faults(env)) > 0);
    } else {
        tap_check(msg.text[0] != 0);
    }
    bool hit = env_faults_hits(env_memory_faults(env)) > 0;
    tap_check(env_memory_open_files(env) == 0);
    env_faults_clear(env_memory_faults(env));
    for (uint64_t loss = 0; loss < 3; loss++) {
        struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, loss);
        right_after_restart(image, m, m->count, where);
        env_memory_free(image);
    }
    env_memory_free(env);
    return hit;
}

static void a_failing_start_loses_nothing(void)
{
    static const struct env_fault kinds[] = {{.code = RES_IO},
                                             {.code = RES_NO_SPACE},
                                             {.code = RES_IO, .partial = 40},
                                             {.code = RES_IO, .done = true},
                                             {.code = RES_NO_SPACE, .partial = 7}};
    struct model m;
    struct model_state state = {0};
    struct env *env = unflushed(&m, &state);
    int without = 0;
    for (uint64_t n = 1; without < 3 && n < 2000; n++)
        for (size_t k = tap_long() ? 0 : n % 2; k < sizeof(kinds) / sizeof(*kinds); k += tap_long() ? 1 : 2) {
            struct env_fault fault = kinds[k];
            fault.ops = ENV_OPS_WRITE;
            fault.nth = n;
            without = start_with_fault(env, &m, &fault) ? 0 : without + 1;
        }
    env_memory_free(env);
    model_fini(&m);
}

/* Nor does one that cannot read, list or lock, or that reads less than there is: nothing is taken for a torn tail. */
static void a_start_that_cannot_read_loses_nothing(void)
{
    static const struct env_fault kinds[] = {{.ops = ENV_OPS_ALL, .code = RES_IO},
                                             {.ops = ENV_OPS_ALL, .code = RES_IO, .times = 2},
                                             {.ops = ENV_OPS_ALL, .code = RES_NO_MEMORY},
                                             {.ops = ENV_OP_BIT(ENV_OP_PREAD), .code = RES_OK, .partial = 3}};
    struct model m;
    struct model_state state = {0};
    struct env *env = unflushed(&m, &state);
    for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
        for (uint64_t n = 1, without = 0; without < 3 && n < 2000; n += tap_long() ? 1 : 1 + k) {
            struct env_fault fault = kinds[k];
            fault.nth = n;
            without = start_with_fault(env, &m, &fault) ? 0 : without + 1;
        }
    env_memory_free(env);
    model_fini(&m);
}

static void failed_second_sync_freezes_everysec(void)
{
    struct env *env = env_memory_new(1, ENV_MEMORY_CRASH);
    struct heard h = {0};
    struct front_options o = options(env, FRONT_FSYNC_EVERYSEC, &h);
    struct front *f;
    struct model m;
    struct model_state state = {0};
    model_init(&m, 5, 100);
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    for (int i = 0; i < 10; i++)
        tap_check(model_commit(&m, f, &state, false) == RES_OK);
    tap_check(front_wait(f, front_visible(f)) == RES_OK); /* written is enough */
    env_faults_add(env_memory_faults(env),
                   &(struct env_fault){.ops = ENV_OP_BIT(ENV_OP_SYNC), .path = "wal/", .code = RES_IO});
    for (int i = 0; i < 300 && !front_frozen(f); i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    tap_check(front_frozen(f));
    tap_check(model_commit(&m, f, &state, false) == RES_READ_ONLY);
    right_at_gate(f, &m, "everysec");
    tap_check(front_close(f) == RES_READ_ONLY);
    env_memory_free(env);
    model_fini(&m);
}

/* The disk has `room` bytes more than an empty data directory; later it has enough. */
static bool fill_disk(uint64_t room, enum front_fsync mode)
{
    struct env *env = env_memory_new(room, ENV_MEMORY_CRASH);
    struct heard h = {0};
    struct front_options o = options(env, mode, &h);
    struct front *f;
    struct model m;
    struct model_state state = {0};
    struct errmsg msg;
    char where[80];
    bool refused = false;
    snprintf(where, sizeof(where), "full disk, %llu bytes left", (unsigned long long)room);
    model_init(&m, room, 900);
    tap_require(front_open(&o, &f, &msg) == RES_OK);
    for (int i = 0; i < 3; i++)
        tap_require(model_commit(&m, f, &state, false) == RES_OK);
    env_memory_set_space(env, env_memory_used(env) + room);
    for (int i = 0, refusals = 0; i < 1500 && refusals < 40; i++) {
        enum result res = model_commit(&m, f, &state, i % 40 == 20);
        if (res == RES_NO_SPACE) {
            refused = true;
            if (refusals++ % 10 == 0)
                right_at_gate(f, &m, where);
            model_pause();
        } else if (!tap_check(res == RES_OK)) {
            tap_diag("%s: commit %d: %s: %s", where, i, result_text(res), front_failure(f));
            break;
        }
    }
    tap_check(front_wait(f, front_visible(f)) == RES_OK);
    right_at_gate(f, &m, where);
    struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, 1);
    env_memory_set_space(image, UINT64_MAX);
    right_after_restart(image, &m, mode == FRONT_FSYNC_ALWAYS ? m.count : 0, where);
    env_memory_free(image);
    env_memory_set_space(env, UINT64_MAX);
    uint64_t before = m.count, told = atomic_load(&h.spaces);
    enum result res = RES_NO_SPACE;
    for (int i = 0; i < 300 && res == RES_NO_SPACE; i++) { /* by themselves, within a second or so */
        res = model_commit(&m, f, &state, false);
        if (res == RES_NO_SPACE)
            nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    tap_check(!refused || res == RES_NO_SPACE || atomic_load(&h.spaces) >= told);
    for (int i = 0; i < 60; i++) {
        while ((res = model_commit(&m, f, &state, false)) == RES_NO_SPACE && atomic_load(&h.spaces) < told + 1000)
            nanosleep(&(struct timespec){0, 10000000}, NULL);
        tap_check(res == RES_OK);
    }
    tap_check(m.count >= before + 60);
    while ((res = front_flush(f)) == RES_NO_SPACE) /* as the flusher found it last; it tries again by itself */
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    tap_check(res == RES_OK);
    right_at_gate(f, &m, where);
    tap_check(front_close(f) == RES_OK);
    right_after_restart(env, &m, m.count, where);
    env_memory_free(env);
    model_fini(&m);
    return refused;
}

/* One record of its own, until it is there or refused. */
static enum result put_or_delete(struct front *f, int i, size_t len)
{
    char key[24];
    static char value[1000];
    struct engine_key k = {.bytes = slice_of(key, (size_t)snprintf(key, sizeof(key), "M%06d", i))};
    k.hash = engine_hash(k.bytes);
    struct batch_record r = {.key = k, .value = slice_of(value, len), .kind = len ? RECORD_PUT : RECORD_DELETE};
    struct batch b = {.records = &r, .count = 1, .now_ms = 1};
    enum result res;
    for (int tries = 0; (res = front_reserve(f, &b)) == RES_WOULD_BLOCK && tries < 20000; tries++) {
        front_kick(f);
        nanosleep(&(struct timespec){0, 500000}, NULL);
    }
    if (res == RES_OK) {
        (void)front_commit(f, &b);
        front_kick(f);
    }
    return res;
}

static bool is_there(struct front *f, int i)
{
    char key[24];
    struct engine_key k = {.bytes = slice_of(key, (size_t)snprintf(key, sizeof(key), "M%06d", i))};
    k.hash = engine_hash(k.bytes);
    uint8_t *value;
    size_t len;
    struct front_view *v = front_view_ref(f);
    enum result res = front_get_wait(v, front_visible(f), &k, &value, &len);
    front_view_unref(v);
    free(value);
    tap_check(res == RES_OK || res == RES_NOT_FOUND);
    return res == RES_OK;
}

static bool wait_for_reserve(struct env *env)
{
    for (int i = 0; i < 2000 && !env_exists(env, "/data/reserve"); i++)
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    return env_exists(env, "/data/reserve");
}

/* Writes are refused, every key can be deleted, memtables with the deletes reach the engine, and when there is room
 * again writes go on by themselves. */
static void full_disk_leaves_room_for_deletes(void)
{
    struct env *env = env_memory_new(5, ENV_MEMORY_PLAIN);
    struct heard h = {0};
    struct front_options o = options(env, FRONT_FSYNC_NO, &h);
    o.reserve_bytes = 600000;
    struct front *f;
    struct front_stats stats;
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    tap_require(wait_for_reserve(env));
    env_memory_set_space(env, env_memory_used(env) + 100000);
    int n = 0;
    enum result res;
    while ((res = put_or_delete(f, n, 900)) == RES_OK && n < 3000)
        n++;
    tap_check(res == RES_NO_SPACE && n >= 20);
    for (int i = 0; i < n; i++)
        if (!tap_check(put_or_delete(f, i, 0) == RES_OK)) {
            tap_diag("delete %d of %d: %s", i, n, front_failure(f));
            break;
        }
    tap_check(put_or_delete(f, 5000, 900) == RES_NO_SPACE);
    tap_check(front_flush(f) == RES_OK);
    front_stats(f, &stats);
    tap_check(stats.disk_low && stats.engine.flushes > 0);
    for (int i = 0; i < n; i++)
        tap_check(!is_there(f, i));
    env_memory_set_space(env, UINT64_MAX);
    tap_check(wait_for_reserve(env));
    res = RES_NO_SPACE;
    for (int i = 0; i < 2000 && (res = put_or_delete(f, 7000, 900)) == RES_NO_SPACE; i++)
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    tap_check(res == RES_OK && is_there(f, 7000));
    tap_check(front_close(f) == RES_OK);
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    tap_check(is_there(f, 7000) && !is_there(f, 0));
    tap_check(front_close(f) == RES_OK);
    env_memory_free(env);
}

/* A server that was killed with a full disk starts by the reserve. */
static void full_disk_does_not_forbid_a_start(void)
{
    struct env *env = env_memory_new(6, ENV_MEMORY_PLAIN);
    struct heard h = {0};
    struct front_options o = options(env, FRONT_FSYNC_NO, &h);
    o.reserve_bytes = 600000;
    struct front *f;
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    tap_require(wait_for_reserve(env));
    for (int i = 0; i < 10; i++)
        tap_check(put_or_delete(f, i, 900) == RES_OK);
    tap_check(front_close(f) == RES_OK);
    env_memory_set_space(env, env_memory_used(env) + 1000);
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    tap_check(put_or_delete(f, 10, 900) == RES_NO_SPACE);
    tap_check(put_or_delete(f, 0, 0) == RES_OK);
    tap_check(!is_there(f, 0) && is_there(f, 9));
    tap_check(front_close(f) == RES_OK);
    env_memory_free(env);
}

static void full_disk_refuses_and_heals(void)
{
    int refused = 0;
    for (uint64_t room = 0; room < 150000; room += tap_long() ? 1511 : 11001)
        refused += fill_disk(room, room % 2 ? FRONT_FSYNC_ALWAYS : FRONT_FSYNC_NO);
    tap_check(refused > 0);
}

static void over(const struct engine_ops *e)
{
    engine = e;
    tap_diag("engine %s", e->name);
    tap_test(log_failure_at_every_write_always);
    tap_test(log_failure_at_every_write_no);
    tap_test(log_failure_at_every_sync_no);
    tap_test(any_failure_anywhere);
    tap_test(a_failing_start_loses_nothing);
    tap_test(a_start_that_cannot_read_loses_nothing);
    tap_test(failed_second_sync_freezes_everysec);
    tap_test(full_disk_refuses_and_heals);
    tap_test(full_disk_leaves_room_for_deletes);
    tap_test(full_disk_does_not_forbid_a_start);
}

int main(void)
{
    over(&engine_lsm);
    over(&engine_file);
    return tap_done();
}

/* The front's threads in orders chosen by a seed: a committer, two readers and a thread that changes appendfsync, beside
 * the front's own five, one step at a time. In half of the runs a write or sync of the log or the manifest, or whatever
 * changes the disk, fails at some point, or finds it full for a moment. What must hold in every order:
 *   1. A reader's snapshot is exactly the state after some number of commits, not below the floor it had, and what was
 *      seen once is seen from then on.
 *   2. After a failure nothing above the gate was ever shown or acknowledged, and all that was is found after a restart
 *      (under every mode when only the process died and no sync failed; under `always` whatever is lost).
 *   3. Nobody waits for ever.
 * And some threads that open iterators over one memtable, which put it in order as they come. */
#include "front/front.h"
#include "front/memtable.h"
#include "os/env_memory.h"
#include "os/sched.h"
#include "tests/lib/front_model.h"
#include "tests/lib/tap.h"

#define COMMITS 36

struct run {
    uint64_t seed;
    struct env *env;
    struct front *f;
    struct model model;
    _Atomic bool stop;
    _Atomic uint64_t shown; /* the most commits that any reader saw */
    uint64_t acknowledged;
    bool always_only, failing, restarted;
    bool synced; /* the mode was `always` for a while */
    bool doubt;  /* a write of the log that is its own sync failed: what was not synced before it may be gone, too */
};

/* A full disk passes by itself: the fault is there once. */
static enum result commit(struct run *r, struct model_state *state)
{
    enum result res;
    bool table = sched_choose(9) == 0;
    for (int i = 0; (res = model_commit(&r->model, r->f, state, table)) == RES_NO_SPACE && i < 100000; i++)
        model_pause();
    return res;
}

static enum result flush(struct run *r)
{
    enum result res;
    for (int i = 0; (res = front_flush(r->f)) == RES_NO_SPACE && i < 100000; i++)
        model_pause();
    return res;
}

static void check_view(struct run *r, uint64_t *seen)
{
    struct front_view *v = front_view_ref(r->f);
    uint64_t snapshot = front_snapshot(v), n = model_marker(v, snapshot);
    char why[200] = "";
    if (tap_check(n != UINT64_MAX && n >= *seen && n <= COMMITS)) {
        struct model_state s = model_state_at(&r->model, n);
        if (!tap_check(model_equal(r->f, v, snapshot, &s, why, sizeof(why))))
            tap_diag("seed %llu: snapshot %llu, %llu commits: %s", (unsigned long long)r->seed,
                     (unsigned long long)snapshot, (unsigned long long)n, why);
        /* The snapshot claims no more than the view has. (Only one thread runs at a time: no race with the committer.) */
        tap_check(r->restarted || n >= r->model.count || !r->model.commits[n].sequence ||
                  r->model.commits[n].sequence > snapshot);
        *seen = n;
        uint64_t shown = atomic_load(&r->shown);
        while (shown < n && !atomic_compare_exchange_weak(&r->shown, &shown, n))
            ;
    } else {
        tap_diag("seed %llu: snapshot %llu shows %llu commits after %llu", (unsigned long long)r->seed,
                 (unsigned long long)snapshot, (unsigned long long)n, (unsigned long long)*seen);
    }
    front_view_unref(v);
}

static void reader(void *arg)
{
    struct run *r = arg;
    uint64_t seen = 0;
    while (!atomic_load(&r->stop)) {
        check_view(r, &seen);
        epoch_poll();
        model_pause();
    }
}

static void set_mode(struct run *r, enum front_fsync mode)
{
    r->synced |= mode == FRONT_FSYNC_ALWAYS;
    front_set_fsync(r->f, mode);
}

static void committer(struct run *r)
{
    struct model_state state = {0};
    enum result res = RES_OK;
    for (int i = 0; i < COMMITS && res == RES_OK; i++) {
        res = commit(r, &state);
        if (res != RES_OK)
            break;
        if (sched_choose(2))
            front_kick(r->f);
        if (sched_choose(5) == 0) {
            res = front_wait(r->f, front_visible(r->f));
            if (res == RES_OK)
                r->acknowledged = r->model.count;
        }
        if (!r->always_only && sched_choose(12) == 0)
            set_mode(r, (enum front_fsync)sched_choose(3));
        if (res == RES_OK && sched_choose(20) == 0)
            res = flush(r);
    }
    if (res == RES_OK && front_wait(r->f, front_visible(r->f)) == RES_OK)
        r->acknowledged = r->model.count;
    tap_check(res == RES_OK || (r->failing && front_frozen(r->f)));
}

static struct front_options options(struct run *r)
{
    return (struct front_options){
        .env = r->env,
        .engine = &engine_lsm,
        .dir = "/data",
        .create = true,
        .fsync = r->always_only ? FRONT_FSYNC_ALWAYS : (enum front_fsync)(r->seed % 3),
        .memtable_bytes = 5000,
        .log_segment_bytes = 32768,
        .log_ring_bytes = 65536,
        .tuning = {.table_bytes = 8192, .block_bytes = 1024, .base_level_bytes = 16384, .cache_bytes = 1 << 20}};
}

static void scenario(void *arg)
{
    struct run *r = arg;
    struct os_thread readers[2];
    struct front_options o = options(r);
    struct errmsg msg;
    enum result res = front_open(&o, &r->f, &msg);
    if (res != RES_OK) {
        tap_check(r->failing && msg.text[0]);
        r->f = NULL;
        return;
    }
    for (int i = 0; i < 2; i++)
        tap_require(os_thread_start(&readers[i], "reader", reader, r) == RES_OK);
    committer(r);
    atomic_store(&r->stop, true);
    for (int i = 0; i < 2; i++)
        os_thread_join(&readers[i]);
    uint64_t seen = r->acknowledged;
    check_view(r, &seen);
    r->doubt =
        !r->always_only && (r->synced || o.fsync == FRONT_FSYNC_ALWAYS) && strstr(front_failure(r->f), " of log ");
    res = front_close(r->f);
    tap_check(res == RES_OK || r->failing);
}

static void restart(struct run *r, uint64_t loss, uint64_t need)
{
    struct run again = {.seed = r->seed, .restarted = true, .env = env_memory_crash(r->env, ENV_MEMORY_NOW, loss)};
    struct front_options o = options(&again);
    struct errmsg msg;
    again.model = r->model;
    if (tap_check(front_open(&o, &again.f, &msg) == RES_OK)) {
        uint64_t seen = need;
        check_view(&again, &seen);
        if (!tap_check(front_check(again.f, &msg) == RES_OK))
            tap_diag("seed %llu, loss %llu: %s", (unsigned long long)r->seed, (unsigned long long)loss, msg.text);
        tap_check(front_close(again.f) == RES_OK);
    } else {
        tap_diag("seed %llu, loss %llu: %s", (unsigned long long)r->seed, (unsigned long long)loss, msg.text);
    }
    env_memory_free(again.env);
}

/* What fails, where, and how. */
static struct env_fault choose_fault(const struct run *r)
{
    uint64_t chance = hash_mix(r->seed);
    uint32_t sync = ENV_OP_BIT(ENV_OP_SYNC), write = ENV_OP_BIT(ENV_OP_PWRITEV);
    struct env_fault fault = {.code = RES_IO, .partial = (int64_t)(chance % 5) * 50};
    switch (chance / 8 % 4) {
    case 0:
        fault.path = "wal/";
        fault.ops = write | (r->always_only ? sync : 0);
        fault.nth = 4 + chance / 64 % 60;
        break;
    case 1:
    case 2:
        fault.path = "/MANIFEST";
        fault.ops = write | sync;
        fault.nth = 1 + chance / 64 % 24;
        fault.code = chance / 32 % 2 ? RES_NO_SPACE : RES_IO;
        break;
    default:
        fault.path = "/data";
        fault.ops = ENV_OPS_WRITE & (r->always_only ? ~0u : ~sync);
        fault.nth = 20 + chance / 64 % 200;
    }
    fault.done = fault.code == RES_IO && chance / 4096 % 4 == 0;
    return fault;
}

static void run_seed(uint64_t seed)
{
    struct run r = {.seed = seed, .always_only = seed % 4 == 1, .failing = seed % 2 == 1};
    struct sched_report report;
    r.env = env_memory_new(seed, ENV_MEMORY_CRASH);
    env_memory_follow(r.env, sched_now);
    model_init(&r.model, seed, 500);
    r.model.room = COMMITS + 8;
    r.model.commits = calloc(r.model.room, sizeof(*r.model.commits));
    if (r.failing) {
        struct env_fault fault = choose_fault(&r);
        env_faults_add(env_memory_faults(r.env), &fault);
    }
    sched_run(seed, 3000000, scenario, &r, &report);
    if (report.stuck) {
        tap_diag("seed %llu is stuck after %llu steps: %s", (unsigned long long)seed, (unsigned long long)report.steps,
                 report.text);
        tap_require(!report.stuck);
    }
    env_faults_clear(env_memory_faults(r.env));
    uint64_t shown = atomic_load(&r.shown) > r.acknowledged ? atomic_load(&r.shown) : r.acknowledged;
    restart(&r, 0, r.doubt ? 0 : shown);
    restart(&r, 1, r.always_only ? shown : 0);
    restart(&r, 2, r.always_only ? shown : 0);
    tap_check(env_memory_open_files(r.env) == 0);
    env_memory_free(r.env);
    model_fini(&r.model);
}

static void every_order_is_right(void)
{
    uint64_t first = 1 + 100000 * (uint64_t)tap_run(), count = tap_long() ? 20000 : 300;
    for (uint64_t seed = first; seed < first + count; seed++)
        run_seed(seed);
}

/* ---- iterators that are opened at the same time ---- */

#define OPENERS 3
#define ELEMENTS 700 /* more than go into the skiplist: the first who asks makes a run of them */

struct opened {
    struct memtable *m;
    int counted[OPENERS];
    _Atomic int next;
};

static void insert_elements(struct memtable *m, int from, int count)
{
    for (int i = from; i < from + count; i++) {
        uint8_t name[] = {REGION_ELEMENT, (uint8_t)(i >> 8), (uint8_t)i};
        struct engine_key key = {slice_of(name, sizeof(name)), hash_mix((uint64_t)i)};
        memtable_insert(m, &key, RECORD_PUT, slice_str("v"), 1 + (uint64_t)i);
    }
}

static void open_and_count(void *arg)
{
    struct opened *o = arg;
    int mine = atomic_fetch_add(&o->next, 1), n = 0;
    uint8_t lower[] = {REGION_ELEMENT}, upper[] = {REGION_ELEMENT + 1};
    struct iter *it;
    tap_require(memtable_iter(o->m, UINT64_MAX, slice_of(lower, 1), slice_of(upper, 1), 0, &it) == RES_OK);
    for (enum result res = iter_seek(it, slice_of(lower, 1)); res == RES_OK; res = iter_next(it))
        n++;
    iter_close(it);
    o->counted[mine] = n;
}

/* Elements that nobody has asked for in order yet, or some in the skiplist and more behind them: whoever asks finds all,
 * whatever another who asks is doing to the order just then. */
static void openers(void *arg)
{
    struct opened *o = arg;
    struct os_thread threads[OPENERS];
    int before = sched_choose(2) ? 0 : 1 + (int)sched_choose(100);
    insert_elements(o->m, 0, before);
    if (before) {
        open_and_count(o);
        tap_eq_u64((uint64_t)o->counted[0], (uint64_t)before);
        atomic_store(&o->next, 0);
    }
    insert_elements(o->m, before, ELEMENTS);
    for (int i = 0; i < OPENERS; i++)
        tap_require(os_thread_start(&threads[i], "opener", open_and_count, o) == RES_OK);
    for (int i = 0; i < OPENERS; i++)
        os_thread_join(&threads[i]);
    for (int i = 0; i < OPENERS; i++)
        tap_eq_u64((uint64_t)o->counted[i], (uint64_t)(before + ELEMENTS));
}

static void an_iterator_opened_while_a_run_is_made_misses_none_of_it(void)
{
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct opened o = {.m = memtable_new(1 << 20, 1 << 16)};
        struct sched_report report;
        tap_require(o.m != NULL);
        sched_run(seed, 0, openers, &o, &report);
        if (report.stuck)
            tap_diag("seed %llu is stuck: %s", (unsigned long long)seed, report.text);
        tap_require(!report.stuck);
        memtable_free(o.m);
    }
}

int main(void)
{
    tap_test(an_iterator_opened_while_a_run_is_made_misses_none_of_it);
    tap_test(every_order_is_right);
    return tap_done();
}

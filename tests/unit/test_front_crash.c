/* Crash states of the whole front over each engine that goes through the environment, on the disk that forgets.
 *
 * A random workload runs: commits of several records, private tables, flushes, compactions, changes of appendfsync,
 * orderly closes and openings in between. Afterwards, for moments k of its history and for several ways in which what
 * was not synced may be lost, the disk of that moment is opened again, strictly. What must hold:
 *   1. It opens. A crash is never taken for damage.
 *   2. The state is the one after the first n commits for some n: a prefix of the commit order, batches whole.
 *   3. n is not below what was acknowledged by then: under `always` whatever was lost; if only the process died
 *      (nothing written is lost) under every mode.
 *   4. Counters equal a count.
 *   5. Sequence numbers go on above all that were ever given.
 *   6. The same after a second crash, at any moment of that recovery and of the commits after it. */
#include <sys/prctl.h>

#include "front/internal.h"
#include "os/env_memory.h"
#include "tests/lib/front_model.h"
#include "tests/lib/tap.h"

static const struct engine_ops *engine;
static uint64_t states; /* disks looked at */

struct acknowledged { /* change numbers are taken after the gate was seen: the truth is not later */
    uint64_t strict;  /* commit acknowledged under always */
    uint64_t any;     /* under any mode */
    uint64_t change;
};

struct run {
    struct env *env;
    struct front *f;
    struct model model;
    struct model_state state;
    enum front_fsync mode;
    struct acknowledged *acks;
    size_t ack_count;
    uint64_t strict, any, last_sequence;
    uint64_t weak; /* commits of before the mode became always: the gate may have passed them when they were written */
};

static struct front_options options(struct env *env, enum front_fsync mode)
{
    return (struct front_options){
        .env = env,
        .engine = engine,
        .dir = "/data",
        .create = true,
        .fsync = mode,
        .memtable_bytes = 12000,
        .log_segment_bytes = 49152,
        .log_ring_bytes = 65536,
        .tuning = {.table_bytes = 8192, .block_bytes = 1024, .base_level_bytes = 32768, .cache_bytes = 1 << 20}};
}

static void acknowledge(struct run *r)
{
    uint64_t gate = front_gate(r->f);
    while (r->any < r->model.count && r->model.commits[r->any].sequence <= gate)
        r->any++;
    if (r->mode == FRONT_FSYNC_ALWAYS && r->any > r->strict && r->any > r->weak)
        r->strict = r->any;
    r->acks = realloc(r->acks, (r->ack_count + 1) * sizeof(*r->acks));
    r->acks[r->ack_count++] = (struct acknowledged){r->strict, r->any, env_memory_changes(r->env)};
}

static void reopen(struct run *r)
{
    struct errmsg msg;
    tap_require(front_wait(r->f, front_visible(r->f)) == RES_OK);
    acknowledge(r);
    tap_require(front_close(r->f) == RES_OK);
    struct front_options o = options(r->env, r->mode);
    enum result res = front_open(&o, &r->f, &msg);
    if (res != RES_OK)
        tap_diag("reopen: %s", msg.text);
    tap_require(res == RES_OK);
}

/* A change of mode must not make older acknowledgements stronger: what everysec let pass is strict only when it is
 * durable, which the gate does not tell; but the first commit that always lets pass says it of all before it. */
static void change_mode(struct run *r)
{
    enum front_fsync mode = (enum front_fsync)model_draw(&r->model, 3);
    tap_require(front_wait(r->f, front_visible(r->f)) == RES_OK);
    acknowledge(r);
    front_set_fsync(r->f, mode);
    r->weak = r->model.count;
    if (mode == FRONT_FSYNC_ALWAYS && model_draw(&r->model, 2)) {
        while (front_durable(r->f) < front_visible(r->f))
            model_pause();
        r->weak = 0;
    }
    r->mode = mode;
    acknowledge(r);
}

static void rest(struct run *r)
{
    env_memory_advance(r->env, FRONT_REST_NS);
    tap_require(front_rest(r->f) != RES_READ_ONLY);
    for (uint64_t i = model_draw(&r->model, 20); i > 0; i--)
        model_pause();
}

static void step(struct run *r)
{
    uint64_t what = model_draw(&r->model, 400);
    if (what == 0)
        reopen(r);
    else if (what <= 2)
        tap_require(front_flush(r->f) == RES_OK);
    else if (what == 3)
        tap_require(front_compact(r->f) == RES_OK);
    else if (what <= 6)
        change_mode(r);
    else if (what <= 9) /* at times the log has just been found at rest, at times it gets smaller only later */
        rest(r);
    else {
        tap_require(model_commit(&r->model, r->f, &r->state, what < 20) == RES_OK);
        r->last_sequence = r->model.commits[r->model.count - 1].sequence;
        r->model.commits[r->model.count - 1].mark = env_memory_changes(r->env); /* given by then */
        if (what % 3 == 0)
            front_kick(r->f);
        if (what % 8 == 0)
            tap_require(front_wait(r->f, r->last_sequence) == RES_OK);
        acknowledge(r);
    }
}

static void run_workload(struct run *r, uint64_t seed, int commits)
{
    memset(r, 0, sizeof(*r));
    r->env = env_memory_new(seed, ENV_MEMORY_HISTORY);
    r->mode = (enum front_fsync)(seed % 3);
    model_init(&r->model, seed, 3000);
    struct front_options o = options(r->env, r->mode);
    struct errmsg msg;
    tap_require(front_open(&o, &r->f, &msg) == RES_OK);
    while (r->model.count < (size_t)commits)
        step(r);
    tap_require(front_wait(r->f, front_visible(r->f)) == RES_OK);
    acknowledge(r);
}

static uint64_t required(const struct run *r, uint64_t change, uint64_t loss)
{
    uint64_t n = 0;
    for (size_t i = 0; i < r->ack_count && r->acks[i].change <= change; i++)
        n = loss == 0 ? r->acks[i].any : r->acks[i].strict;
    return n;
}

/* Opens the image and checks it; returns the front for more. */
static struct front *check_image(const struct run *r, struct env *image, uint64_t need, enum front_fsync mode,
                                 const char *where, uint64_t *commits)
{
    struct front_options o = options(image, mode);
    struct errmsg msg;
    struct front *f = NULL;
    char why[200] = "";
    states++;
    enum result res = front_open(&o, &f, &msg);
    if (!tap_check(res == RES_OK)) {
        tap_diag("%s: does not open: %s", where, msg.text);
        return NULL;
    }
    struct front_view *v = front_view_ref(f);
    uint64_t n = model_marker(v, front_snapshot(v));
    *commits = n;
    if (!tap_check(n != UINT64_MAX && n <= r->model.count && n >= need)) {
        tap_diag("%s: holds %llu commits, %llu of %zu must be there", where, (unsigned long long)n,
                 (unsigned long long)need, r->model.count);
    } else {
        struct model_state s = model_state_at(&r->model, n);
        if (!tap_check(model_equal(f, v, front_snapshot(v), &s, why, sizeof(why))))
            tap_diag("%s: after %llu commits: %s", where, (unsigned long long)n, why);
    }
    front_view_unref(v);
    return f;
}

static void check_moment(const struct run *r, uint64_t k, uint64_t loss, uint64_t again)
{
    char where[200], what[120];
    env_memory_describe(r->env, k, what, sizeof(what));
    snprintf(where, sizeof(where), "change %llu (%s), loss %llu", (unsigned long long)k, what,
             (unsigned long long)loss);
    struct env *image = env_memory_crash(r->env, k, loss);
    uint64_t need = required(r, k, loss), n = 0;
    struct front *f = check_image(r, image, need, (enum front_fsync)(k % 3), where, &n);
    if (f) {
        struct run next = {.env = image, .f = f, .model = {.seed = k, .value_max = 400}};
        next.model.commits = malloc(sizeof(*next.model.commits) * (n + 8));
        next.model.room = n + 8;
        next.model.count = n;
        memcpy(next.model.commits, r->model.commits, sizeof(*next.model.commits) * n);
        next.state = model_state_at(&next.model, n);
        uint64_t given = 0;
        for (size_t i = 0; i < r->model.count; i++)
            if (r->model.commits[i].mark <= k)
                given = r->model.commits[i].sequence;
        for (int i = 0; i < 5; i++)
            tap_check(model_commit(&next.model, f, &next.state, i == 3) == RES_OK);
        tap_check(next.model.commits[n].sequence > given);
        front_kick(f);
        tap_check(front_wait(f, front_visible(f)) == RES_OK);
        tap_check(front_close(f) == RES_OK);
        for (; again > 0; again--) {
            uint64_t k2 = 1 + model_draw(&next.model, env_memory_changes(image)), loss2 = model_draw(&next.model, 4),
                     n2;
            struct env *second = env_memory_crash(image, k2, loss2);
            char both[300];
            snprintf(both, sizeof(both), "%s, then change %llu, loss %llu", where, (unsigned long long)k2,
                     (unsigned long long)loss2);
            f = check_image(&next, second, need, FRONT_FSYNC_ALWAYS, both, &n2);
            if (f)
                tap_check(front_close(f) == RES_OK);
            tap_check(env_memory_open_files(second) == 0);
            env_memory_free(second);
        }
        model_fini(&next.model);
    }
    tap_check(env_memory_open_files(image) == 0);
    env_memory_free(image);
}

#if TAP_THREAD_SANITIZER || TAP_COVERAGE /* here only the races are looked for, or the ways that are gone */
#define MOMENTS 6
#define LIVES 12
#define LOSSES 4
#elif TAP_ADDRESS_SANITIZER /* and here what is done to memory */
#define MOMENTS 80
#define LIVES 20
#define LOSSES 4
#else
#define MOMENTS 260
#define LIVES 70
#define LOSSES 6
#endif

static void crash_states(uint64_t seed, int commits, uint64_t moments)
{
    struct run r;
    seed += 3000 * tap_run(); /* of the same mode */
    run_workload(&r, seed, commits);
    uint64_t changes = env_memory_changes(r.env);
    uint64_t every = moments == 0 || changes < moments ? 1 : changes / moments;
    for (uint64_t k = 1 + seed % every; k <= changes; k += every)
        for (uint64_t loss = 0; loss < LOSSES; loss++)
            check_moment(&r, k, loss, moments == 0 ? 2 : loss >= 3);
    tap_check(front_close(r.f) == RES_OK);
    tap_check(env_memory_open_files(r.env) == 0);
    env_memory_free(r.env);
    model_fini(&r.model);
    free(r.acks);
}

static uint64_t moments(void) { return tap_long() ? 0 : MOMENTS; }

static void always_loses_nothing_acknowledged(void) { crash_states(3, 500, moments()); }
static void everysec_keeps_a_prefix(void) { crash_states(1, 500, moments()); }
static void no_fsync_keeps_a_prefix(void) { crash_states(2, 500, moments()); }

static void many_short_lives(void)
{
    for (uint64_t seed = 10; seed < (tap_long() ? 400 : LIVES); seed++)
        crash_states(seed, 40, tap_long() ? 0 : 25);
}

int main(void)
{
    static const struct engine_ops *const engines[] = {&engine_lsm, &engine_file};
    /* Clearing huge pages for tiny memtables would be most of the time of a state. */
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++) {
        engine = engines[i];
        tap_diag("engine %s", engine->name);
        tap_test(always_loses_nothing_acknowledged);
        tap_test(everysec_keeps_a_prefix);
        tap_test(no_fsync_keeps_a_prefix);
        tap_test(many_short_lives);
    }
    tap_diag("%llu crash states", (unsigned long long)states);
    return tap_done();
}

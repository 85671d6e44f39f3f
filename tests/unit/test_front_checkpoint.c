/* Checkpoints of a front over the LSM engine. What must hold:
 *   1. A checkpoint opens as a data directory, strictly, and holds the state after some commit, not below what was
 *      committed when the memtable was sealed for it, whatever is committed, flushed and compacted meanwhile; every checksum
 *      in it holds; it goes its own way afterwards, and so does the directory that it was made of.
 *   2. The power may fail at any moment: under the checkpoint's name there is nothing, or a whole one; a whole one when it
 *      had been said to be made. The same while one is removed.
 *   3. Whatever call fails, and when the disk is full: nothing is under the name unless it was said to be made, the front
 *      goes on, and the next try succeeds.
 *   4. It ends when it is told to. */
#include "front/front.h"
#include "os/env_memory.h"
#include "tests/lib/front_model.h"
#include "tests/lib/tap.h"

#define COPY "/copy"

static struct front_options options(struct env *env, const char *dir)
{
    return (struct front_options){
        .env = env,
        .engine = &engine_lsm,
        .dir = dir,
        .create = strcmp(dir, "/data") == 0,
        .fsync = FRONT_FSYNC_ALWAYS,
        .memtable_bytes = 12000,
        .log_segment_bytes = 49152,
        .log_ring_bytes = 65536,
        .tuning = {.table_bytes = 8192, .block_bytes = 1024, .base_level_bytes = 32768, .cache_bytes = 1 << 20}};
}

struct run {
    struct env *env;
    struct front *f;
    struct model model;
    struct model_state state;
};

static void begin(struct run *r, uint64_t seed, int flags, int commits)
{
    memset(r, 0, sizeof(*r));
    r->env = env_memory_new(seed, flags);
    model_init(&r->model, seed, 2000);
    struct front_options o = options(r->env, "/data");
    tap_require(front_open(&o, &r->f, NULL) == RES_OK);
    for (int i = 0; i < commits; i++)
        tap_require(model_commit(&r->model, r->f, &r->state, i % 9 == 4) == RES_OK);
}

static void finish(struct run *r)
{
    if (r->f)
        tap_check(front_close(r->f) == RES_OK);
    tap_check(env_memory_open_files(r->env) == 0);
    env_memory_free(r->env);
    model_fini(&r->model);
}

static enum result seal(struct front *f)
{
    enum result res;
    while ((res = front_seal(f)) == RES_WOULD_BLOCK) {
        front_kick(f);
        model_pause();
    }
    return res;
}

static enum result checkpoint(struct front *f, const char *dir, uint64_t *sequence, struct errmsg *msg)
{
    enum result res;
    do {
        res = seal(f);
        if (res != RES_OK)
            return errmsg_set(msg, res, "sealing: %s", result_text(res));
        res = front_checkpoint(f, dir, NULL, sequence, msg);
    } while (res == RES_RETRY);
    return res;
}

static bool is_there(struct env *env, const char *dir) { return env_exists(env, dir); }

/* The directory, opened: `least` commits or more, a prefix. Returns how many. */
static uint64_t right(struct env *env, const char *dir, const struct model *m, uint64_t least, const char *where)
{
    struct front_options o = options(env, dir);
    struct front *f;
    struct errmsg msg = {""};
    char why[200] = "";
    if (!tap_check(front_open(&o, &f, &msg) == RES_OK)) {
        tap_diag("%s: %s does not open: %s", where, dir, msg.text);
        return 0;
    }
    struct front_view *v = front_view_ref(f);
    uint64_t n = model_marker(v, front_snapshot(v));
    struct model_state s = model_state_at(m, n <= m->count ? n : 0);
    if (!tap_check(n <= m->count && n >= least && model_equal(f, v, front_snapshot(v), &s, why, sizeof(why))))
        tap_diag("%s: %s holds %llu commits, not at least %llu: %s", where, dir, (unsigned long long)n,
                 (unsigned long long)least, why);
    front_view_unref(v);
    if (!tap_check(front_check(f, &msg) == RES_OK))
        tap_diag("%s: %s: %s", where, dir, msg.text);
    tap_check(front_close(f) == RES_OK);
    return n;
}

/* ---- 1 ---- */

struct beside {
    struct front *f;
    const char *dir;
    uint64_t sequence;
    struct errmsg msg;
    enum result res;
    atomic_bool ended;
};

static void make_beside(void *arg)
{
    struct beside *b = arg;
    b->res = front_checkpoint(b->f, b->dir, NULL, &b->sequence, &b->msg);
    atomic_store(&b->ended, true);
}

static uint64_t sequence_of(const struct model *m, uint64_t n) { return n ? m->commits[n - 1].sequence : 0; }

static void is_a_prefix_beside_writers(void)
{
    struct run r;
    int made = 0;
    begin(&r, 1, ENV_MEMORY_PLAIN, 40);
    for (int i = 0; i < (tap_long() ? 400 : 40); i++) {
        char dir[32];
        snprintf(dir, sizeof(dir), COPY "%d", i);
        struct beside b = {.f = r.f, .dir = dir};
        struct os_thread thread;
        tap_require(seal(r.f) == RES_OK);
        uint64_t sealed = r.model.count;
        tap_require(os_thread_start(&thread, "checkpoint", make_beside, &b) == RES_OK);
        for (int k = 0; k < 40 && (k < 5 || !atomic_load(&b.ended)); k++)
            tap_require(model_commit(&r.model, r.f, &r.state, model_draw(&r.model, 6) == 0) == RES_OK);
        if (i % 8 == 7)
            tap_check(front_compact(r.f) == RES_OK);
        os_thread_join(&thread);
        if (b.res == RES_RETRY)
            continue;
        if (!tap_check(b.res == RES_OK))
            tap_diag("%s", b.msg.text);
        made++;
        for (int k = 0; k < 10; k++)
            tap_require(model_commit(&r.model, r.f, &r.state, false) == RES_OK);
        uint64_t n = right(r.env, dir, &r.model, sealed, "beside writers");
        tap_eq_u64(b.sequence, sequence_of(&r.model, n));
        tap_eq_u64(right(r.env, dir, &r.model, n, "opened again"), n);
        tap_check(front_checkpoint_remove(r.env, dir) == RES_OK);
        tap_check(!is_there(r.env, dir));
    }
    tap_check(made > 5);
    tap_check(front_close(r.f) == RES_OK);
    r.f = NULL;
    right(r.env, "/data", &r.model, r.model.count, "the directory itself");
    finish(&r);
}

/* Both are written on, compacted, and opened again. */
static void goes_its_own_way(void)
{
    struct run r;
    uint64_t sequence;
    struct errmsg msg;
    begin(&r, 2, ENV_MEMORY_PLAIN, 100);
    tap_require(checkpoint(r.f, COPY, &sequence, &msg) == RES_OK);
    tap_eq_u64(sequence, sequence_of(&r.model, r.model.count));
    struct run c = {.env = r.env, .model = r.model, .state = r.state};
    c.model.commits = malloc(sizeof(*c.model.commits) * r.model.room);
    memcpy(c.model.commits, r.model.commits, sizeof(*c.model.commits) * r.model.count);
    c.model.seed = 77;
    struct front_options o = options(c.env, COPY);
    tap_require(front_open(&o, &c.f, &msg) == RES_OK);
    for (int i = 0; i < 120; i++) {
        tap_check(model_commit(&c.model, c.f, &c.state, i % 11 == 3) == RES_OK);
        tap_check(model_commit(&r.model, r.f, &r.state, i % 11 == 5) == RES_OK);
    }
    tap_check(c.model.commits[100].sequence > sequence);
    tap_check(front_compact(c.f) == RES_OK && front_compact(r.f) == RES_OK);
    tap_check(front_close(c.f) == RES_OK && front_close(r.f) == RES_OK);
    r.f = NULL;
    right(r.env, COPY, &c.model, c.model.count, "the copy");
    right(r.env, "/data", &r.model, r.model.count, "the original");
    model_fini(&c.model);
    finish(&r);
}

/* Of a directory in which nothing was ever written, and of one without a log behind its tables. */
static void may_be_empty(void)
{
    struct run r;
    uint64_t sequence;
    struct errmsg msg;
    begin(&r, 3, ENV_MEMORY_PLAIN, 0);
    if (!tap_check(checkpoint(r.f, COPY, &sequence, &msg) == RES_OK))
        tap_diag("%s", msg.text);
    tap_eq_u64(sequence, 0);
    tap_eq_u64(right(r.env, COPY, &r.model, 0, "empty"), 0);
    tap_check(front_checkpoint(r.f, COPY, NULL, &sequence, &msg) != RES_OK); /* it is there */
    tap_eq_u64(right(r.env, COPY, &r.model, 0, "still there"), 0);
    finish(&r);
}

/* ---- 2 ---- */

static void whole_or_nothing_after_a_crash(void)
{
    for (uint64_t seed = 10; seed < (tap_long() ? 60 : 13); seed++) {
        struct run r;
        uint64_t sequence = 0;
        struct errmsg msg;
        begin(&r, seed, ENV_MEMORY_HISTORY, 30 + (int)(seed % 5) * 10);
        uint64_t before = env_memory_changes(r.env);
        tap_require(checkpoint(r.f, COPY, &sequence, &msg) == RES_OK);
        uint64_t made = env_memory_changes(r.env);
        tap_require(model_commit(&r.model, r.f, &r.state, true) == RES_OK);
        tap_check(front_checkpoint_remove(r.env, COPY) == RES_OK);
        uint64_t removing = env_memory_changes(r.env);
        int whole = 0, none = 0;
        for (uint64_t k = before; k <= removing; k++)
            for (uint64_t loss = 0; loss < (tap_long() ? 8 : 4); loss++) {
                struct env *image = env_memory_crash(r.env, k, loss);
                char where[120], what[80];
                env_memory_describe(r.env, k, what, sizeof(what));
                snprintf(where, sizeof(where), "seed %llu, change %llu (%s), loss %llu", (unsigned long long)seed,
                         (unsigned long long)k, what, (unsigned long long)loss);
                if (is_there(image, COPY)) {
                    right(image, COPY, &r.model, r.model.count - 1, where);
                    whole++;
                } else {
                    tap_check(k != made);
                    none++;
                }
                if (k % 5 == 0)
                    right(image, "/data", &r.model, 0, where);
                env_memory_free(image);
            }
        tap_check(whole > 0 && none > 0);
        finish(&r);
    }
}

/* ---- 3 ---- */

static bool with_fault(const struct env_fault *fault)
{
    struct run r;
    uint64_t sequence = 0;
    struct errmsg msg = {""};
    char where[100];
    begin(&r, 5, ENV_MEMORY_CRASH, 60);
    tap_require(front_flush(r.f) == RES_OK && front_compact(r.f) == RES_OK);
    snprintf(where, sizeof(where), "call %llu fails (%s)", (unsigned long long)fault->nth, result_text(fault->code));
    env_faults_add(env_memory_faults(r.env), fault);
    enum result res = checkpoint(r.f, COPY, &sequence, &msg);
    bool hit = env_faults_hits(env_memory_faults(r.env)) > 0;
    env_faults_clear(env_memory_faults(r.env));
    tap_check(res == RES_OK || (hit && msg.text[0] != 0));
    for (uint64_t loss = 0; loss < 3; loss++) {
        struct env *image = env_memory_crash(r.env, ENV_MEMORY_NOW, loss);
        if (res == RES_OK && !is_there(image, COPY))
            tap_check(!"made, and not there");
        if (is_there(image, COPY))
            right(image, COPY, &r.model, r.model.count, where);
        env_memory_free(image);
    }
    if (res != RES_OK)
        tap_check(!is_there(r.env, COPY));
    tap_check(!front_frozen(r.f));
    tap_check(model_commit(&r.model, r.f, &r.state, true) == RES_OK);
    if (!tap_check(checkpoint(r.f, COPY "2", &sequence, &msg) == RES_OK))
        tap_diag("%s, and another one: %s", where, msg.text);
    else
        right(r.env, COPY "2", &r.model, r.model.count, where);
    if (res != RES_OK && tap_check(checkpoint(r.f, COPY, &sequence, &msg) == RES_OK))
        right(r.env, COPY, &r.model, r.model.count, where);
    finish(&r);
    return hit;
}

static void a_failed_call_leaves_nothing_half_made(void)
{
    static const struct env_fault kinds[] = {
        {.code = RES_IO}, {.code = RES_NO_SPACE, .partial = 7}, {.code = RES_IO, .done = true}};
    int without = 0;
    for (uint64_t n = 1; without < 3 && n < 1000; n += tap_long() ? 1 : 2)
        for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
            struct env_fault fault = kinds[k];
            fault.ops = ENV_OPS_WRITE;
            fault.path = COPY;
            fault.nth = n;
            without = with_fault(&fault) ? 0 : without + 1;
        }
}

static void a_full_disk_refuses_it(void)
{
    struct run r;
    uint64_t sequence;
    struct errmsg msg = {""};
    begin(&r, 6, ENV_MEMORY_PLAIN, 80);
    tap_require(front_flush(r.f) == RES_OK);
    env_memory_set_space(r.env, 1);
    enum result res = front_checkpoint(r.f, COPY, NULL, &sequence, &msg);
    if (!tap_check(res == RES_NO_SPACE && strstr(msg.text, COPY)))
        tap_diag("%s: %s", result_text(res), msg.text);
    tap_check(!is_there(r.env, COPY) && !is_there(r.env, COPY ".tmp"));
    env_memory_set_space(r.env, UINT64_MAX);
    tap_check(checkpoint(r.f, COPY, &sequence, &msg) == RES_OK);
    right(r.env, COPY, &r.model, r.model.count, "with space again");
    finish(&r);
}

/* With a memtable that cannot be flushed it does not wait for the disk to have room. */
static void a_full_disk_does_not_hang_it(void)
{
    struct run r;
    uint64_t sequence;
    struct errmsg msg = {""};
    begin(&r, 7, ENV_MEMORY_PLAIN, 20);
    tap_require(front_flush(r.f) == RES_OK);
    tap_require(model_commit(&r.model, r.f, &r.state, false) == RES_OK);
    env_faults_add(env_memory_faults(r.env),
                   &(struct env_fault){
                       .ops = ENV_OP_BIT(ENV_OP_PWRITEV), .path = "/sst/", .times = UINT64_MAX, .code = RES_NO_SPACE});
    tap_check(checkpoint(r.f, COPY, &sequence, &msg) == RES_NO_SPACE);
    tap_check(!is_there(r.env, COPY));
    env_faults_clear(env_memory_faults(r.env));
    enum result res;
    for (int i = 0; (res = checkpoint(r.f, COPY, &sequence, &msg)) == RES_NO_SPACE && i < 100000; i++)
        model_pause();
    tap_check(res == RES_OK);
    right(r.env, COPY, &r.model, r.model.count, "with space again");
    finish(&r);
}

/* ---- 4 ---- */

static void ends_when_told_to(void)
{
    struct run r;
    uint64_t sequence;
    struct errmsg msg = {""};
    atomic_bool stop = true;
    begin(&r, 8, ENV_MEMORY_PLAIN, 50);
    tap_require(seal(r.f) == RES_OK);
    tap_check(front_checkpoint(r.f, COPY, &stop, &sequence, &msg) == RES_CLOSED);
    tap_check(!is_there(r.env, COPY) && !is_there(r.env, COPY ".tmp"));
    tap_require(front_flush(r.f) == RES_OK); /* and then not by the flush that it need not wait for */
    tap_check(front_checkpoint(r.f, COPY, &stop, &sequence, &msg) == RES_CLOSED);
    tap_check(!is_there(r.env, COPY) && !is_there(r.env, COPY ".tmp"));
    tap_check(front_compact_engine(r.f, &stop) == RES_CLOSED);
    atomic_store(&stop, false);
    tap_check(front_compact_engine(r.f, &stop) == RES_OK);
    tap_check(front_checkpoint(r.f, COPY, &stop, &sequence, &msg) == RES_OK);
    right(r.env, COPY, &r.model, r.model.count, "not stopped");
    finish(&r);
}

int main(void)
{
    tap_test(is_a_prefix_beside_writers);
    tap_test(goes_its_own_way);
    tap_test(may_be_empty);
    tap_test(whole_or_nothing_after_a_crash);
    tap_test(a_failed_call_leaves_nothing_half_made);
    tap_test(a_full_disk_refuses_it);
    tap_test(a_full_disk_does_not_hang_it);
    tap_test(ends_when_told_to);
    return tap_done();
}

/* The log under everysec and no, where small groups are stored into the page cache (ENV_CACHED), on a real file system. A
 * child commits, and is killed at a random moment. What must hold: every commit whose mark had moved is there, whole, and
 * so is what comes out as a prefix of the commits, whatever the files were before (new, written with zeros, recycled), in
 * files smaller and larger than what is mapped at a time, and while the mode changes. */
#include <ftw.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "front/front.h"
#include "os/env_memory.h"
#include "tests/lib/front_model.h"
#include "tests/lib/tap.h"

ssize_t __real_pwrite(int fd, const void *data, size_t len, off_t offset);
ssize_t __real_pwritev(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int count, off_t offset);

/* Between child and parent. */
static struct {
    _Atomic uint64_t written; /* commits whose mark has moved */
    _Atomic uint64_t calls;   /* that write */
    _Atomic uint64_t groups, mapped_most;
} * told;

ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t offset)
{
    atomic_fetch_add(&told->calls, 1);
    return __real_pwrite(fd, data, len, offset);
}

ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    atomic_fetch_add(&told->calls, 1);
    return __real_pwritev(fd, iov, count, offset);
}

struct round {
    uint64_t seed, segment;
    uint32_t value_max;
    enum front_fsync first;
    bool changes; /* the mode, meanwhile */
    uint64_t commits;
};

static struct front_options options(struct env *env, const char *dir, const struct round *r)
{
    return (struct front_options){.env = env,
                                  .engine = &engine_lsm,
                                  .dir = dir,
                                  .create = true,
                                  .fsync = r->first,
                                  .memtable_bytes = 1 << 20,
                                  .log_segment_bytes = r->segment,
                                  .log_ring_bytes = 65536,
                                  .tuning = {.cache_bytes = 1 << 20}};
}

/* Bytes of logs that this process has mapped. */
static uint64_t mapped(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[1024];
    uint64_t from, to, sum = 0;
    tap_require(f != NULL);
    while (fgets(line, sizeof(line), f))
        if (strstr(line, "/wal/") && sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2)
            sum += to - from;
    fclose(f);
    return sum;
}

static void note_mapped(void)
{
    uint64_t now = mapped();
    if (now > atomic_load(&told->mapped_most))
        atomic_store(&told->mapped_most, now);
}

/* Commits one by one; never returns. */
static void commit_until_killed(const char *dir, const struct round *r)
{
    static const enum front_fsync modes[] = {FRONT_FSYNC_EVERYSEC, FRONT_FSYNC_NO, FRONT_FSYNC_ALWAYS};
    struct front_options o = options(env_posix(), dir, r);
    struct front *f;
    struct front_stats stats;
    struct model model;
    struct model_state state = {0};
    model_init(&model, r->seed, r->value_max);
    if (front_open(&o, &f, NULL) != RES_OK)
        _exit(1);
    for (uint64_t i = 1; i <= r->commits; i++) {
        if (model_commit(&model, f, &state, false) != RES_OK || front_wait(f, front_visible(f)) != RES_OK)
            _exit(2);
        atomic_store(&told->written, i);
        if (i % 256 != 0)
            continue;
        if (r->changes)
            front_set_fsync(f, modes[i / 256 % 3]);
        note_mapped();
        front_stats(f, &stats);
        atomic_store(&told->groups, stats.log_groups);
        if (i % 1024 == 0 && front_flush(f) != RES_OK) /* so that logs are recycled */
            _exit(3);
    }
    for (;;)
        pause();
}

/* The model after the first `commits` of the child. */
static void make_again(struct model *m, const struct round *r, uint64_t commits)
{
    struct env *env = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct front_options o = options(env, "/data", r);
    struct front *f;
    struct model_state state = {0};
    o.fsync = FRONT_FSYNC_NO;
    model_init(m, r->seed, r->value_max);
    tap_require(front_open(&o, &f, NULL) == RES_OK);
    while (m->count < commits)
        tap_require(model_commit(m, f, &state, false) == RES_OK);
    tap_require(front_close(f) == RES_OK);
    env_memory_free(env);
}

static void check_directory(const char *dir, const struct round *r, uint64_t written)
{
    struct front_options o = options(env_posix(), dir, r);
    struct front *f;
    struct errmsg msg = {""};
    struct model model;
    char why[200] = "";
    if (!tap_check(front_open(&o, &f, &msg) == RES_OK)) {
        tap_diag("%s", msg.text);
        return;
    }
    struct front_view *v = front_view_ref(f);
    uint64_t n = model_marker(v, front_snapshot(v));
    if (!tap_check(n >= written && n <= r->commits))
        tap_diag("%" PRIu64 " commits are there, of %" PRIu64 " written", n, written);
    make_again(&model, r, n);
    struct model_state s = model_state_at(&model, n);
    if (!tap_check(model_equal(f, v, front_snapshot(v), &s, why, sizeof(why))))
        tap_diag("after %" PRIu64 " commits: %s", n, why);
    front_view_unref(v);
    tap_check(front_close(f) == RES_OK);
    tap_eq_u64(mapped(), 0);
    model_fini(&model);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static void kill_at(const struct round *r, uint64_t at)
{
    char dir[] = "/tmp/varve-test-mapped-XXXXXX";
    int status = 0;
    tap_require(mkdtemp(dir) != NULL);
    memset(told, 0, sizeof(*told));
    fflush(stdout);
    pid_t child = fork();
    tap_require(child >= 0);
    if (child == 0)
        commit_until_killed(dir, r);
    while (atomic_load(&told->written) < at && waitpid(child, &status, WNOHANG) == 0)
        model_pause();
    kill(child, SIGKILL);
    tap_check(status == 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    uint64_t written = atomic_load(&told->written);
    tap_check(written >= at && atomic_load(&told->mapped_most) <= 2 << 20);
    if (!r->changes && r->value_max < 100 && atomic_load(&told->mapped_most) > 0)
        tap_check(atomic_load(&told->groups) > 2 * atomic_load(&told->calls)); /* most groups were stored */
    check_directory(dir, r, written);
    tap_check(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

static void kill_often(struct round r)
{
    uint64_t draw = r.seed;
    for (int i = 0; i < (tap_long() ? 40 : 4); i++) {
        draw = hash_mix(draw + 1);
        r.seed = draw;
        kill_at(&r, i == 0 ? r.commits : draw % r.commits);
    }
}

static void files_smaller_than_a_window(void)
{
    kill_often((struct round){1 + tap_run(), 65536, 60, FRONT_FSYNC_EVERYSEC, false, 6000});
}
static void files_larger_than_a_window(void)
{
    kill_often((struct round){2 + tap_run(), (3 << 20) + 4096, 900, FRONT_FSYNC_NO, false, 6000});
}
static void groups_of_more_than_a_page(void)
{
    kill_often((struct round){3 + tap_run(), 1 << 18, 3000, FRONT_FSYNC_EVERYSEC, false, 3000});
}
static void files_written_with_zeros_and_modes_that_change(void)
{
    kill_often((struct round){4 + tap_run(), 1 << 18, 60, FRONT_FSYNC_ALWAYS, true, 4000});
}

int main(void)
{
    log_set_level(LOG_NOTHING);
    told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    tap_require(told != MAP_FAILED);
    tap_test(files_smaller_than_a_window);
    tap_test(files_larger_than_a_window);
    tap_test(groups_of_more_than_a_page);
    tap_test(files_written_with_zeros_and_modes_that_change);
    return tap_done();
}

/* The environment's contract, run over all of them: the real one in a directory of its own, the one in memory, and a
 * wrapper for faults that has none; then what only the wrapper and only the real one do. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/env.h"
#include "os/env_fault.h"
#include "os/env_memory.h"

enum kind { POSIX, MEMORY, FAULT, KINDS };
static const char *const kind_names[] = {"posix", "memory", "fault"};

struct place {
    enum kind kind;
    struct env *env, *inner;
    char dir[64];
    char path[8][128];
    int used;
};

static struct place place_new(enum kind kind)
{
    struct place p = {.kind = kind};
    strcpy(p.dir, "/tmp/varve-test-env-XXXXXX");
    if (kind == POSIX || kind == FAULT) {
        cr_assert_not_null(mkdtemp(p.dir));
        p.env = env_posix();
    } else {
        strcpy(p.dir, "/data");
        p.env = env_memory_new(1, ENV_MEMORY_CRASH);
        cr_assert_eq(p.env->ops->mkdir(p.env, p.dir), RES_OK);
    }
    if (kind == FAULT) {
        p.inner = p.env;
        p.env = env_fault_new(p.inner);
    }
    return p;
}

static void place_free(struct place *p)
{
    if (p->kind == MEMORY) {
        cr_assert_eq(env_memory_open_files(p->env), 0);
        env_memory_free(p->env);
        return;
    }
    if (p->kind == FAULT)
        env_fault_free(p->env);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", p->dir);
    cr_assert_eq(system(command), 0);
}

static const char *at(struct place *p, const char *name)
{
    char *path = p->path[p->used++ % 8];
    snprintf(path, sizeof p->path[0], "%s/%s", p->dir, name);
    return path;
}

static struct env_file *must_open(struct place *p, const char *name, int flags)
{
    struct env_file *f = NULL;
    enum result r = p->env->ops->open(p->env, at(p, name), flags, &f);
    cr_assert_eq(r, RES_OK, "%s: open %s: %s", kind_names[p->kind], name, result_text(r));
    return f;
}

static void must_close(struct env_file *f) { cr_assert_eq(f->ops->close(f), RES_OK); }

static void must_hold(struct env_file *f, uint64_t offset, const char *want)
{
    char got[256];
    size_t n = 0;
    cr_assert_eq(f->ops->pread(f, got, sizeof got, offset, 0, &n), RES_OK);
    cr_assert_eq(n, strlen(want));
    cr_assert_eq(memcmp(got, want, n), 0);
}

#define FOR_EACH_ENV(p)                                                                                                \
    for (int k_ = 0; k_ < KINDS; k_++)                                                                                 \
        for (struct place p = place_new((enum kind)k_), *once_ = &p; once_; place_free(&p), once_ = NULL)

/* ---- the contract ---------------------------------------------------------------------------------------------- */

Test(env, bytes_read_back_where_they_were_written)
{
    FOR_EACH_ENV(p)
    {
        struct env_file *f = must_open(&p, "a", ENV_READ | ENV_WRITE | ENV_CREATE);
        uint64_t size;
        char text[] = "hello world";
        struct iovec parts[] = {{text, 3}, {NULL, 0}, {text + 3, 6}, {text + 9, 2}};
        cr_assert_eq(f->ops->pwritev(f, parts, 4, 0, 0), RES_OK);
        must_hold(f, 0, "hello world");
        must_hold(f, 6, "world");
        must_hold(f, 11, "");
        must_hold(f, 500, "");
        cr_assert_eq(env_write(f, "W", 1, 6), RES_OK);
        cr_assert_eq(f->ops->pwritev(f, parts, 1, 20, ENV_DSYNC), RES_OK);
        cr_assert_eq(f->ops->size(f, &size), RES_OK);
        cr_assert_eq(size, 23);
        char got[23];
        size_t n;
        cr_assert_eq(f->ops->pread(f, got, 23, 0, 0, &n), RES_OK);
        cr_assert_eq(memcmp(got, "hello World\0\0\0\0\0\0\0\0\0hel", 23), 0, "a hole reads as zeros");
        cr_assert_eq(f->ops->truncate(f, 5), RES_OK);
        must_hold(f, 0, "hello");
        cr_assert_eq(f->ops->truncate(f, 7), RES_OK);
        cr_assert_eq(f->ops->size(f, &size), RES_OK);
        cr_assert_eq(size, 7);
        cr_assert_eq(f->ops->sync(f), RES_OK);
        f->ops->advise(f, 0, 0, 4);
        must_close(f);
    }
}

Test(env, many_parts_are_written_as_one)
{
    enum { PARTS = 3000 };
    static uint16_t numbers[PARTS];
    static struct iovec parts[PARTS];
    for (int i = 0; i < PARTS; i++) {
        numbers[i] = (uint16_t)i;
        parts[i] = (struct iovec){&numbers[i], 2};
    }
    FOR_EACH_ENV(p)
    {
        struct env_file *f = must_open(&p, "a", ENV_READ | ENV_WRITE | ENV_CREATE);
        static uint16_t got[PARTS + 1];
        size_t n;
        cr_assert_eq(f->ops->pwritev(f, parts, PARTS, 0, 0), RES_OK);
        cr_assert_eq(f->ops->pread(f, got, sizeof got, 0, 0, &n), RES_OK);
        cr_assert_eq(n, 2 * PARTS);
        cr_assert_eq(memcmp(got, numbers, n), 0);
        must_close(f);
    }
}

Test(env, a_warm_read_without_waiting_is_whole_also_at_the_end)
{
    FOR_EACH_ENV(p)
    {
        struct env_file *f = must_open(&p, "a", ENV_READ | ENV_WRITE | ENV_CREATE);
        char got[100];
        size_t n;
        cr_assert_eq(env_write(f, "0123456789", 10, 0), RES_OK);
        enum result r = f->ops->pread(f, got, 4, 3, ENV_NOWAIT, &n);
        if (r == RES_WOULD_BLOCK) { /* a file system that cannot say */
            must_close(f);
            continue;
        }
        cr_assert_eq(r, RES_OK);
        cr_assert_eq(n, 4);
        cr_assert_eq(memcmp(got, "3456", 4), 0);
        cr_assert_eq(f->ops->pread(f, got, sizeof got, 3, ENV_NOWAIT, &n), RES_OK);
        cr_assert_eq(n, 7);
        cr_assert_eq(f->ops->pread(f, got, sizeof got, 30, ENV_NOWAIT, &n), RES_OK);
        cr_assert_eq(n, 0);
        must_close(f);
    }
}

Test(env, opening_says_what_is_there)
{
    FOR_EACH_ENV(p)
    {
        struct env *e = p.env;
        struct env_file *f;
        cr_assert_eq(e->ops->open(e, at(&p, "a"), ENV_READ, &f), RES_NOT_FOUND);
        cr_assert_null(f);
        cr_assert_eq(e->ops->open(e, at(&p, "no/a"), ENV_WRITE | ENV_CREATE, &f), RES_NOT_FOUND);
        cr_assert_not(env_exists(e, at(&p, "a")));
        must_close(must_open(&p, "a", ENV_WRITE | ENV_CREATE | ENV_EXCL));
        cr_assert_eq(e->ops->open(e, at(&p, "a"), ENV_WRITE | ENV_CREATE | ENV_EXCL, &f), RES_EXISTS);
        must_close(must_open(&p, "a", ENV_WRITE | ENV_CREATE));
        must_close(must_open(&p, "a", ENV_READ | ENV_WRITE | ENV_DIRECT));
        cr_assert(env_exists(e, at(&p, "a")));
        cr_assert_eq(e->ops->open(e, p.dir, ENV_READ, &f), RES_INVALID, "a directory is no file");
        cr_assert_eq(e->ops->open(e, p.dir, ENV_READ | ENV_WRITE, &f), RES_INVALID);
        cr_assert_eq(e->ops->open(e, at(&p, "a/b"), ENV_WRITE | ENV_CREATE, &f), RES_INVALID);
    }
}

/* Aligned writes go past the page cache where the file system can; a write it refuses for its alignment is made all the
 * same. What was written is read. */
Test(env, direct_files_take_any_write)
{
    FOR_EACH_ENV(p)
    {
        uint8_t *page = aligned_alloc(4096, 8192), back[8292];
        size_t got;
        memset(page, 'd', 8192);
        struct env_file *f = must_open(&p, "direct", ENV_READ | ENV_WRITE | ENV_CREATE | ENV_DIRECT);
        struct iovec iov = {page, 8192};
        cr_assert_eq(f->ops->pwritev(f, &iov, 1, 0, ENV_DSYNC), RES_OK);
        iov = (struct iovec){page + 1, 100};
        cr_assert_eq(f->ops->pwritev(f, &iov, 1, 8192, 0), RES_OK);
        cr_assert_eq(f->ops->sync(f), RES_OK);
        must_close(f);
        f = must_open(&p, "direct", ENV_READ);
        cr_assert_eq(f->ops->pread(f, back, sizeof back, 0, 0, &got), RES_OK);
        cr_assert_eq(got, sizeof back);
        for (size_t i = 0; i < sizeof back; i++)
            cr_assert_eq(back[i], 'd');
        must_close(f);
        free(page);
    }
}

static void count_name(void *arg, const char *name)
{
    int *counts = arg;
    counts[name[0] == 'a' ? 0 : name[0] == 'b' ? 1 : name[0] == 'd' ? 2 : 3]++;
}

Test(env, names_come_and_go)
{
    FOR_EACH_ENV(p)
    {
        struct env *e = p.env;
        struct env_file *f = must_open(&p, "a", ENV_READ | ENV_WRITE | ENV_CREATE);
        int counts[4] = {0};
        cr_assert_eq(env_write(f, "one", 3, 0), RES_OK);
        cr_assert_eq(e->ops->mkdir(e, at(&p, "d")), RES_OK);
        cr_assert_eq(e->ops->mkdir(e, at(&p, "d")), RES_EXISTS);
        cr_assert_eq(e->ops->link(e, at(&p, "a"), at(&p, "b")), RES_OK);
        cr_assert_eq(e->ops->link(e, at(&p, "a"), at(&p, "b")), RES_EXISTS);
        cr_assert_eq(e->ops->list(e, p.dir, count_name, counts), RES_OK);
        cr_assert(counts[0] == 1 && counts[1] == 1 && counts[2] == 1 && counts[3] == 0);
        cr_assert_eq(e->ops->rename(e, at(&p, "a"), at(&p, "d/c")), RES_OK);
        cr_assert_eq(e->ops->rename(e, at(&p, "a"), at(&p, "d/c")), RES_NOT_FOUND);
        cr_assert_eq(e->ops->rename(e, at(&p, "b"), at(&p, "d")), RES_INVALID, "no file over a directory");
        cr_assert_eq(e->ops->rmdir(e, at(&p, "d")), RES_EXISTS, "not empty");
        cr_assert_eq(e->ops->unlink(e, at(&p, "d/c")), RES_OK);
        cr_assert_eq(e->ops->unlink(e, at(&p, "d/c")), RES_NOT_FOUND);
        cr_assert_eq(e->ops->rmdir(e, at(&p, "d")), RES_OK);
        cr_assert_eq(e->ops->unlink(e, at(&p, "b")), RES_OK);
        must_hold(f, 0, "one"); /* an open file outlives its names */
        must_close(f);
        memset(counts, 0, sizeof counts);
        cr_assert_eq(e->ops->list(e, p.dir, count_name, counts), RES_OK);
        cr_assert(counts[0] + counts[1] + counts[2] + counts[3] == 0);
        cr_assert_eq(e->ops->list(e, at(&p, "d"), count_name, counts), RES_NOT_FOUND);
        cr_assert_eq(e->ops->sync_dir(e, p.dir), RES_OK);
        cr_assert_eq(e->ops->sync_dir(e, at(&p, "d")), RES_NOT_FOUND);
    }
}

static void put_file(struct place *p, const char *name)
{
    struct env_file *f = must_open(p, name, ENV_READ | ENV_WRITE | ENV_CREATE);
    cr_assert_eq(env_write(f, name, strlen(name), 0), RES_OK);
    must_close(f);
}

Test(env, a_tree_goes_with_all_that_is_in_it)
{
    FOR_EACH_ENV(p)
    {
        struct env *e = p.env;
        int counts[4] = {0};
        cr_assert_eq(env_remove_tree(e, at(&p, "d")), RES_OK, "there is none");
        cr_assert_eq(e->ops->mkdir(e, at(&p, "d")), RES_OK);
        cr_assert_eq(e->ops->mkdir(e, at(&p, "d/e")), RES_OK);
        cr_assert_eq(e->ops->mkdir(e, at(&p, "d/e/f")), RES_OK);
        put_file(&p, "a");
        put_file(&p, "d/a");
        put_file(&p, "d/e/f/a");
        cr_assert_eq(e->ops->link(e, at(&p, "a"), at(&p, "d/e/b")), RES_OK);
        for (int i = 0; i < 100; i++) {
            char name[16];
            snprintf(name, sizeof name, "d/e/%d", i);
            put_file(&p, name);
        }
        cr_assert_eq(env_remove_tree(e, at(&p, "d")), RES_OK);
        cr_assert_eq(e->ops->list(e, at(&p, "d"), count_name, counts), RES_NOT_FOUND);
        struct env_file *f = must_open(&p, "a", ENV_READ);
        must_hold(f, 0, "a"); /* another name of what was in it */
        must_close(f);
        cr_assert_neq(env_remove_tree(e, at(&p, "a")), RES_OK, "no tree");
        cr_assert_eq(e->ops->unlink(e, at(&p, "a")), RES_OK);
    }
}

Test(env, a_lock_keeps_the_second_out_until_it_is_closed)
{
    FOR_EACH_ENV(p)
    {
        struct env *e = p.env;
        struct env_file *f, *g;
        cr_assert_eq(e->ops->lock(e, at(&p, "LOCK"), &f), RES_OK);
        cr_assert_eq(e->ops->lock(e, at(&p, "LOCK"), &g), RES_LOCKED);
        cr_assert_null(g);
        must_close(f);
        cr_assert_eq(e->ops->lock(e, at(&p, "LOCK"), &g), RES_OK);
        must_close(g);
    }
}

Test(env, a_small_file_is_installed_whole)
{
    FOR_EACH_ENV(p)
    {
        struct env *e = p.env;
        uint8_t *data;
        size_t len;
        cr_assert_eq(env_install_file(e, p.dir, "CURRENT", SLICE_LIT("a longer first content")), RES_OK);
        cr_assert_eq(env_install_file(e, p.dir, "CURRENT", SLICE_LIT("second")), RES_OK);
        cr_assert_eq(env_read_file(e, at(&p, "CURRENT"), 100, &data, &len), RES_OK);
        cr_assert_eq(len, 6);
        cr_assert_str_eq((char *)data, "second");
        free(data);
        cr_assert_eq(env_read_file(e, at(&p, "CURRENT"), 5, &data, &len), RES_RANGE);
        cr_assert_null(data);
        cr_assert_eq(env_read_file(e, at(&p, "nothing"), 5, &data, &len), RES_NOT_FOUND);
        cr_assert_not(env_exists(e, at(&p, "CURRENT.tmp")));
    }
}

Test(env, space_is_allocated_ahead)
{
    FOR_EACH_ENV(p)
    {
        struct env_file *f = must_open(&p, "a", ENV_READ | ENV_WRITE | ENV_CREATE);
        uint64_t size, free_bytes;
        enum result r = f->ops->allocate(f, 0, 10000);
        cr_assert(r == RES_OK || r == RES_UNSUPPORTED);
        cr_assert_eq(f->ops->size(f, &size), RES_OK);
        cr_assert_eq(size, r == RES_OK ? 10000 : 0);
        if (r == RES_OK)
            cr_assert_eq(f->ops->allocate(f, 0, 5), RES_OK, "never shrinks");
        cr_assert_eq(p.env->ops->space(p.env, p.dir, &free_bytes), RES_OK);
        cr_assert_gt(free_bytes, 0);
        must_close(f);
    }
}

Test(env, impossible_offsets_are_refused)
{
    FOR_EACH_ENV(p)
    {
        struct env_file *f = must_open(&p, "a", ENV_READ | ENV_WRITE | ENV_CREATE);
        char c;
        size_t n;
        enum result r = env_write(f, "x", 1, UINT64_MAX - 5);
        cr_assert_neq(r, RES_OK);
        r = f->ops->pread(f, &c, 1, UINT64_MAX - 5, 0, &n);
        cr_assert(r == RES_INVALID || (r == RES_OK && n == 0));
        must_close(f);
    }
}

Test(env, clocks_and_random)
{
    FOR_EACH_ENV(p)
    {
        uint8_t a[33] = {0}, b[33] = {0};
        p.env->ops->random(p.env, a, 32);
        p.env->ops->random(p.env, b, 32);
        cr_assert_neq(memcmp(a, b, 32), 0);
        cr_assert_eq(a[32], 0);
        cr_assert_gt(p.env->ops->real_ms(p.env), 1600000000000u);
        uint64_t t = p.env->ops->mono_ns(p.env);
        cr_assert_geq(p.env->ops->mono_ns(p.env), t);
    }
}

/* ---- the real one ------------------------------------------------------------------------------------------------ */

Test(env_posix, files_are_private_to_their_owner)
{
    struct place p = place_new(POSIX);
    must_close(must_open(&p, "a", ENV_WRITE | ENV_CREATE));
    cr_assert_eq(p.env->ops->mkdir(p.env, at(&p, "d")), RES_OK);
    char command[256];
    snprintf(command, sizeof command, "test $(stat -c %%a %s/a) = 600 -a $(stat -c %%a %s/d) = 700", p.dir, p.dir);
    cr_assert_eq(system(command), 0);
    place_free(&p);
}

Test(env_posix, a_lock_ends_with_its_process)
{
    struct place p = place_new(POSIX);
    struct env_file *f;
    int ready[2];
    char c;
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        c = p.env->ops->lock(p.env, at(&p, "LOCK"), &f) == RES_OK ? 'y' : 'n';
        if (write(ready[1], &c, 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    cr_assert_eq(read(ready[0], &c, 1), 1);
    cr_assert_eq(c, 'y');
    cr_assert_eq(p.env->ops->lock(p.env, at(&p, "LOCK"), &f), RES_LOCKED);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    cr_assert_eq(p.env->ops->lock(p.env, at(&p, "LOCK"), &f), RES_OK);
    must_close(f);
    place_free(&p);
}

Test(env_posix, a_full_device_is_no_space)
{
    struct env *e = env_posix();
    struct env_file *f;
    if (e->ops->open(e, "/dev/full", ENV_WRITE, &f) != RES_OK)
        cr_skip_test("no /dev/full");
    cr_assert_eq(env_write(f, "x", 1, 0), RES_NO_SPACE);
    must_close(f);
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

Test(env_fault, the_nth_call_of_a_kind_fails_and_later_ones_work)
{
    struct place p = place_new(FAULT);
    struct env_faults *t = env_fault_table(p.env);
    struct env_file *f = must_open(&p, "a", ENV_READ | ENV_WRITE | ENV_CREATE);
    env_faults_add(t, &(struct env_fault){
                          .ops = ENV_OP_BIT(ENV_OP_PWRITEV), .nth = 3, .times = 2, .code = RES_NO_SPACE, .partial = 2});
    cr_assert_eq(env_write(f, "aaaa", 4, 0), RES_OK);
    cr_assert_eq(env_write(f, "bbbb", 4, 4), RES_OK);
    cr_assert_eq(f->ops->sync(f), RES_OK);
    cr_assert_eq(env_write(f, "cccc", 4, 8), RES_NO_SPACE);
    cr_assert_eq(env_write(f, "dddd", 4, 8), RES_NO_SPACE);
    must_hold(f, 0, "aaaabbbbdd"); /* short, then the error */
    cr_assert_eq(env_write(f, "eeee", 4, 8), RES_OK);
    cr_assert_eq(env_faults_hits(t), 2);
    cr_assert_eq(env_faults_calls(t, ENV_OP_BIT(ENV_OP_PWRITEV)), 5);
    must_close(f);
    place_free(&p);
}

Test(env_fault, paths_limit_a_fault_and_done_means_done)
{
    struct place p = place_new(FAULT);
    struct env_faults *t = env_fault_table(p.env);
    env_faults_add(t, &(struct env_fault){.ops = ENV_OPS_ALL, .path = "bad", .times = UINT64_MAX, .code = RES_IO});
    env_faults_add(
        t, &(struct env_fault){.ops = ENV_OP_BIT(ENV_OP_RENAME), .code = RES_INTERRUPTED, .partial = -1, .done = true});
    struct env_file *f;
    must_close(must_open(&p, "good", ENV_WRITE | ENV_CREATE));
    cr_assert_eq(p.env->ops->open(p.env, at(&p, "bad"), ENV_WRITE | ENV_CREATE, &f), RES_IO);
    cr_assert_eq(p.env->ops->rename(p.env, at(&p, "good"), at(&p, "moved")), RES_INTERRUPTED);
    cr_assert(env_exists(p.env, at(&p, "moved")));
    cr_assert_not(env_exists(p.env, at(&p, "good")));
    env_faults_clear(t);
    must_close(must_open(&p, "bad", ENV_WRITE | ENV_CREATE));
    place_free(&p);
}

/* Installing a file calls the environment a handful of times; whichever fails, the old or the new content is there. */
Test(env_fault, whichever_call_fails_an_installed_file_is_whole)
{
    for (int k = 0; k < KINDS; k++) {
        if (k == POSIX)
            continue;
        int n = 1;
        for (bool hit = true; hit; n++) {
            struct place p = place_new((enum kind)k);
            struct env_faults *t = k == MEMORY ? env_memory_faults(p.env) : env_fault_table(p.env);
            uint8_t *data;
            size_t len;
            cr_assert_eq(env_install_file(p.env, p.dir, "F", SLICE_LIT("old")), RES_OK);
            uint64_t before = env_faults_hits(t);
            env_faults_add(t,
                           &(struct env_fault){.ops = ENV_OPS_ALL, .nth = (uint64_t)n, .code = RES_IO, .partial = 1});
            enum result r = env_install_file(p.env, p.dir, "F", SLICE_LIT("new"));
            hit = env_faults_hits(t) > before;
            cr_assert(hit ? r == RES_IO : r == RES_OK);
            env_faults_clear(t);
            cr_assert_eq(env_read_file(p.env, at(&p, "F"), 100, &data, &len), RES_OK);
            cr_assert(len == 3 && (memcmp(data, "old", 3) == 0 || memcmp(data, "new", 3) == 0));
            free(data);
            place_free(&p);
        }
        cr_assert_gt(n, 6);
    }
}

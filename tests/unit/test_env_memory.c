/* The environment in memory as a witness: what was synced survives every crash, what was not may be lost in part, all
 * images are ones a disk could show, a run can be crashed at any of its moments and again while it recovers. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "os/env_memory.h"

#define IMAGES 400 /* seeds tried where "some image" or "every image" is meant */

static struct env_file *must_open(struct env *e, const char *path)
{
    struct env_file *f = NULL;
    enum result r = e->ops->open(e, path, ENV_READ | ENV_WRITE | ENV_CREATE, &f);
    cr_assert_eq(r, RES_OK, "open %s: %s", path, result_text(r));
    return f;
}

static void must(enum result r) { cr_assert_eq(r, RES_OK, "%s", result_text(r)); }

/* The content as a string; NULL when the file is not there. The caller frees. */
static char *content(struct env *e, const char *path)
{
    uint8_t *data;
    size_t len;
    if (env_read_file(e, path, 1 << 20, &data, &len) != RES_OK)
        return NULL;
    for (size_t i = 0; i < len; i++)
        if (data[i] == 0)
            data[i] = '.';
    return (char *)data;
}

/* A set of the different contents that images show, "-" for no file. */
struct seen {
    char text[64][64];
    int count;
};

static bool has(const struct seen *s, const char *text)
{
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->text[i], text) == 0)
            return true;
    return false;
}

static struct seen images(struct env *e, const char *path)
{
    struct seen s = {.count = 0};
    for (uint64_t seed = 0; seed < IMAGES; seed++) {
        struct env *i = env_memory_crash(e, ENV_MEMORY_NOW, seed);
        char *text = content(i, path);
        if (!has(&s, text ? text : "-") && s.count < 64)
            snprintf(s.text[s.count++], sizeof s.text[0], "%s", text ? text : "-");
        free(text);
        env_memory_free(i);
    }
    return s;
}

static bool shows(struct env *e, uint64_t seed, const char *path, const char *want)
{
    struct env *i = env_memory_crash(e, ENV_MEMORY_NOW, seed);
    char *text = content(i, path);
    bool same = want ? text && strcmp(text, want) == 0 : text == NULL;
    free(text);
    env_memory_free(i);
    return same;
}

Test(env_memory, what_was_synced_survives_and_what_was_not_may_be_torn)
{
    struct env *e = env_memory_new(1, ENV_MEMORY_CRASH);
    struct env_file *f = must_open(e, "log");
    must(env_write(f, "synced", 6, 0));
    must(f->ops->sync(f));
    must(e->ops->sync_dir(e, "/"));
    must(env_write(f, "12345678", 8, 6));
    struct seen s = images(e, "log");
    for (int i = 0; i < s.count; i++)
        cr_assert_eq(strncmp(s.text[i], "synced12345678", strlen(s.text[i])), 0, "a prefix: %s", s.text[i]);
    cr_assert(has(&s, "synced") && has(&s, "synced12345678") && has(&s, "synced123"));
    cr_assert_eq(s.count, 9, "cut at every byte");
    cr_assert(shows(e, 0, "log", "synced12345678"));
    cr_assert(shows(e, 1, "log", "synced"));
    must(f->ops->close(f));
    env_memory_free(e);
}

Test(env_memory, a_name_needs_the_directorys_sync)
{
    struct env *e = env_memory_new(2, ENV_MEMORY_CRASH);
    must(e->ops->mkdir(e, "/d"));
    struct env_file *f = must_open(e, "/d/f");
    must(env_write(f, "x", 1, 0));
    must(f->ops->sync(f));
    must(e->ops->sync_dir(e, "/d"));
    cr_assert(shows(e, 1, "/d/f", NULL), "the directory's own name is not durable");
    must(e->ops->sync_dir(e, "/"));
    struct seen s = images(e, "/d/f");
    cr_assert(s.count == 1 && has(&s, "x"));
    must(f->ops->close(f));
    env_memory_free(e);
}

Test(env_memory, a_rename_is_whole_or_nothing)
{
    struct env *e = env_memory_new(3, ENV_MEMORY_CRASH);
    must(env_install_file(e, "/", "F", SLICE_LIT("old")));
    struct env_file *f = must_open(e, "/T");
    must(env_write(f, "new", 3, 0));
    must(f->ops->sync(f));
    must(e->ops->rename(e, "/T", "/F"));
    for (uint64_t seed = 0; seed < IMAGES; seed++) {
        struct env *i = env_memory_crash(e, ENV_MEMORY_NOW, seed);
        char *at_f = content(i, "/F"), *at_t = content(i, "/T");
        cr_assert_not_null(at_f, "one of both is always there");
        if (strcmp(at_f, "new") == 0)
            cr_assert_null(at_t);
        else
            cr_assert_str_eq(at_f, "old");
        free(at_f);
        free(at_t);
        env_memory_free(i);
    }
    struct seen s = images(e, "/F");
    cr_assert(has(&s, "old") && has(&s, "new"));
    must(e->ops->sync_dir(e, "/"));
    s = images(e, "/F");
    cr_assert(s.count == 1 && has(&s, "new"));
    must(f->ops->close(f));
    env_memory_free(e);
}

Test(env_memory, a_rename_before_the_sync_may_show_an_empty_file)
{
    struct env *e = env_memory_new(4, ENV_MEMORY_CRASH);
    must(env_install_file(e, "/", "F", SLICE_LIT("old")));
    struct env_file *f = must_open(e, "/T");
    must(env_write(f, "new", 3, 0));
    must(e->ops->rename(e, "/T", "/F"));
    struct seen s = images(e, "/F");
    cr_assert(has(&s, "old") && has(&s, "new") && has(&s, ""), "the classic mistake is caught");
    must(f->ops->close(f));
    env_memory_free(e);
}

Test(env_memory, an_unlinked_file_may_come_back_until_the_directory_is_synced)
{
    struct env *e = env_memory_new(5, ENV_MEMORY_CRASH);
    must(env_install_file(e, "/", "F", SLICE_LIT("old")));
    must(e->ops->unlink(e, "/F"));
    struct seen s = images(e, "/F");
    cr_assert(has(&s, "old") && has(&s, "-") && s.count == 2);
    must(e->ops->sync_dir(e, "/"));
    s = images(e, "/F");
    cr_assert(has(&s, "-") && s.count == 1);
    env_memory_free(e);
}

Test(env_memory, files_are_reordered_against_each_other)
{
    struct env *e = env_memory_new(6, ENV_MEMORY_CRASH);
    must(env_install_file(e, "/", "A", SLICE_LIT("")));
    must(env_install_file(e, "/", "B", SLICE_LIT("")));
    struct env_file *a = must_open(e, "A"), *b = must_open(e, "B");
    must(env_write(a, "first", 5, 0));
    must(env_write(b, "second", 6, 0));
    bool only_second = false, only_first = false;
    for (uint64_t seed = 0; seed < IMAGES; seed++) {
        only_second |= shows(e, seed, "A", "") && shows(e, seed, "B", "second");
        only_first |= shows(e, seed, "A", "first") && shows(e, seed, "B", "");
    }
    cr_assert(only_second && only_first);
    must(a->ops->close(a));
    must(b->ops->close(b));
    env_memory_free(e);
}

Test(env_memory, a_durable_write_takes_sizes_along_but_leaves_earlier_writes_open)
{
    struct env *e = env_memory_new(7, ENV_MEMORY_CRASH);
    struct env_file *f = must_open(e, "log");
    must(e->ops->sync_dir(e, "/"));
    must(f->ops->allocate(f, 0, 8));
    must(env_write(f, "aaaa", 4, 0));
    char text[] = "bbbb";
    struct iovec iov = {text, 4};
    must(f->ops->pwritev(f, &iov, 1, 2, ENV_DSYNC));
    struct seen s = images(e, "log");
    for (int i = 0; i < s.count; i++) {
        cr_assert_eq(strlen(s.text[i]), 8);
        cr_assert_eq(memcmp(s.text[i] + 2, "bbbb..", 6), 0, "never undone: %s", s.text[i]);
    }
    cr_assert(has(&s, "..bbbb..") && has(&s, "aabbbb..") && has(&s, "a.bbbb.."));
    must(f->ops->close(f));
    env_memory_free(e);
}

Test(env_memory, a_failed_sync_loses_what_a_later_one_claims_to_have)
{
    struct env *e = env_memory_new(8, ENV_MEMORY_CRASH);
    struct env_file *f = must_open(e, "log");
    must(e->ops->sync_dir(e, "/"));
    bool lost = false;
    for (int round = 0; round < 10; round++) {
        env_faults_add(env_memory_faults(e), &(struct env_fault){.ops = ENV_OP_BIT(ENV_OP_SYNC), .code = RES_IO});
        must(f->ops->truncate(f, 0));
        must(f->ops->sync(f) == RES_IO ? RES_OK : RES_INVALID);
        env_faults_clear(env_memory_faults(e));
        must(f->ops->sync(f));
        must(env_write(f, "data", 4, 0));
        env_faults_add(env_memory_faults(e), &(struct env_fault){.ops = ENV_OP_BIT(ENV_OP_SYNC), .code = RES_IO});
        cr_assert_eq(f->ops->sync(f), RES_IO);
        must(f->ops->sync(f));
        char *now = content(e, "log");
        cr_assert_str_eq(now, "data", "it can still be read");
        free(now);
        lost |= !shows(e, 0, "log", "data");
    }
    cr_assert(lost);
    must(f->ops->close(f));
    env_memory_free(e);
}

/* A tiny log: numbers appended one by one, each durable before the next. */
static void append_numbers(struct env *e, int from, int to)
{
    struct env_file *f = must_open(e, "/log");
    must(e->ops->sync_dir(e, "/"));
    for (int i = from; i < to; i++) {
        char c = (char)('a' + i);
        struct iovec iov = {&c, 1};
        must(f->ops->pwritev(f, &iov, 1, (uint64_t)i, ENV_DSYNC));
    }
    must(f->ops->close(f));
}

Test(env_memory, every_moment_of_a_run_can_be_crashed_and_its_recovery_again)
{
    struct env *e = env_memory_new(9, ENV_MEMORY_HISTORY);
    append_numbers(e, 0, 10);
    uint64_t last = env_memory_changes(e);
    cr_assert_eq(last, 2 + 2 * 10);
    for (uint64_t k = 0; k <= last; k++)
        for (uint64_t seed = 0; seed < 6; seed++) {
            struct env *i = env_memory_crash(e, k, seed);
            char *text = content(i, "/log");
            size_t durable = k < 3 ? 0 : (k - 2) / 2, len = text ? strlen(text) : 0;
            cr_assert(text || k < 2, "at %d", (int)k);
            cr_assert(len == durable || len == durable + 1);
            free(text);

            append_numbers(i, (int)len, 12);
            uint64_t again = env_memory_changes(i);
            for (uint64_t m = 0; m <= again; m++) {
                struct env *j = env_memory_crash(i, m, seed);
                text = content(j, "/log");
                cr_assert(text || k < 2);
                cr_assert(!text || strncmp("abcdefghijkl", text, strlen(text)) == 0);
                cr_assert(!text || strlen(text) >= durable);
                free(text);
                env_memory_free(j);
            }
            env_memory_free(i);
        }
    /* Backwards as well: an earlier moment than the last one asked for. */
    cr_assert_eq(env_memory_changes(e), last);
    struct env *i = env_memory_crash(e, 4, 1);
    char *text = content(i, "/log");
    cr_assert_str_eq(text, "a");
    free(text);
    env_memory_free(i);
    char line[100];
    env_memory_describe(e, 1, line, sizeof line);
    cr_assert_str_eq(line, "1: create /log");
    env_memory_describe(e, 3, line, sizeof line);
    cr_assert_str_eq(line, "3: write file 1 at 0, 1 bytes");
    env_memory_free(e);
}

/* A random workload over a few files and directories: replayed to its end it must give the image of the present, and
 * the image that keeps everything must equal what is there. */
static void random_step(struct env *e, uint64_t r)
{
    static const char *const paths[] = {"/a", "/b", "/d/a", "/d/b", "/d/e/a", "/d"};
    const char *path = paths[r / 16 % 5], *other = paths[r / 80 % 5];
    struct env_file *f;

    switch (r % 16) {
    case 0:
        (void)e->ops->unlink(e, path);
        return;
    case 1:
        (void)e->ops->rename(e, path, other);
        return;
    case 2:
        (void)e->ops->link(e, path, other);
        return;
    case 3:
        (void)e->ops->sync_dir(e, "/");
        return;
    case 4:
        (void)e->ops->sync_dir(e, "/d");
        return;
    case 5:
        (void)e->ops->mkdir(e, r & 16 ? "/d" : "/d/e");
        return;
    case 6:
        (void)e->ops->rmdir(e, r & 16 ? "/d/e" : "/d");
        return;
    default:
        break;
    }
    if (e->ops->open(e, path, ENV_READ | ENV_WRITE | (r & 64 ? ENV_CREATE : 0), &f) != RES_OK)
        return;
    char data[40];
    memset(data, (int)('a' + r / 1024 % 26), sizeof data);
    struct iovec iov = {data, r / 4096 % sizeof data};
    switch (r % 16) {
    case 7:
        (void)f->ops->truncate(f, r / 1024 % 50);
        break;
    case 8:
    case 9:
        (void)f->ops->sync(f);
        break;
    case 10:
        (void)f->ops->pwritev(f, &iov, 1, r / 65536 % 50, ENV_DSYNC);
        break;
    case 11:
        (void)f->ops->allocate(f, r / 1024 % 50, 10);
        break;
    default:
        (void)f->ops->pwritev(f, &iov, 1, r / 65536 % 50, 0);
        break;
    }
    must(f->ops->close(f));
}

static uint64_t digest(struct env *e)
{
    static const char *const paths[] = {"/a", "/b", "/d/a", "/d/b", "/d/e/a"};
    uint64_t h = 0;
    for (int i = 0; i < 5; i++) {
        uint8_t *data = NULL;
        size_t len = 0;
        enum result r = env_read_file(e, paths[i], 1000, &data, &len);
        h = hash_mix(h ^ (uint64_t)r << 40 ^ checksum32(data ? (void *)data : "", len, (uint64_t)i + 1));
        free(data);
    }
    return h;
}

Test(env_memory, a_history_replays_to_the_present)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct env *e = env_memory_new(seed, ENV_MEMORY_HISTORY);
        uint64_t wanted[64], k[64], mixed[64];
        uint64_t state = seed;
        for (int i = 0; i < 64; i++) {
            for (int s = 0; s < 10; s++)
                random_step(e, hash_mix(++state * 0x9e3779b97f4a7c15u));
            k[i] = env_memory_changes(e);
            wanted[i] = digest(e);
            struct env *image = env_memory_crash(e, k[i], 0);
            cr_assert_eq(digest(image), wanted[i], "seed 0 keeps everything");
            env_memory_free(image);
            image = env_memory_crash(e, k[i], 77 + seed);
            mixed[i] = digest(image);
            env_memory_free(image);
        }
        for (int i = 63; i >= 0; i -= 7) {
            struct env *image = env_memory_crash(e, k[i], 0);
            cr_assert_eq(digest(image), wanted[i], "seed %d, change %d", (int)seed, (int)k[i]);
            env_memory_free(image);
            image = env_memory_crash(e, k[i], 77 + seed);
            cr_assert_eq(digest(image), mixed[i], "an image is decided by history, moment and seed");
            env_memory_free(image);
        }
        env_memory_free(e);
    }
}

Test(env_memory, cold_pages_block_until_somebody_waited_for_them)
{
    struct env *e = env_memory_new(10, ENV_MEMORY_PLAIN);
    struct env_file *f = must_open(e, "table");
    static char page[4096];
    size_t got;
    int cold = 0;
    for (uint64_t i = 0; i < 1000; i++)
        must(env_write(f, page, sizeof page, i * 4096));
    env_memory_set_cold(e, 250);
    for (uint64_t i = 0; i < 1000; i++) {
        enum result r = f->ops->pread(f, page, 4096, i * 4096, ENV_NOWAIT, &got);
        cr_assert(r == RES_OK || r == RES_WOULD_BLOCK);
        if (r == RES_OK)
            continue;
        cold++;
        must(f->ops->pread(f, page, 1, i * 4096 + 7, 0, &got));
        must(f->ops->pread(f, page, 4096, i * 4096, ENV_NOWAIT, &got));
    }
    cr_assert(cold > 180 && cold < 320, "%d of 1000", cold);
    env_memory_chill(e);
    int again = 0;
    for (uint64_t i = 0; i < 1000; i++)
        again += f->ops->pread(f, page, 4096, i * 4096, ENV_NOWAIT, &got) == RES_WOULD_BLOCK;
    cr_assert_eq(again, cold);
    must(f->ops->close(f));
    env_memory_free(e);
}

Test(env_memory, a_full_disk_takes_what_fits_and_heals)
{
    struct env *e = env_memory_new(11, ENV_MEMORY_CRASH);
    struct env_file *f = must_open(e, "a"), *g = must_open(e, "b");
    uint64_t free_bytes;
    env_memory_set_space(e, 10);
    must(env_write(f, "12345678", 8, 0));
    cr_assert_eq(env_write(g, "abcd", 4, 0), RES_NO_SPACE);
    char *text = content(e, "b");
    cr_assert_str_eq(text, "ab");
    free(text);
    cr_assert_eq(env_memory_used(e), 10);
    must(env_write(f, "87654321", 8, 0)); /* overwriting needs nothing */
    cr_assert_eq(f->ops->allocate(f, 0, 9), RES_NO_SPACE);
    cr_assert_eq(f->ops->truncate(f, 9), RES_NO_SPACE);
    must(e->ops->space(e, "/", &free_bytes));
    cr_assert_eq(free_bytes, 0);
    must(e->ops->unlink(e, "a"));
    cr_assert_eq(env_write(g, "abcd", 4, 0), RES_NO_SPACE, "an open file keeps its space");
    must(f->ops->close(f));
    must(env_write(g, "abcd", 4, 0));
    env_memory_set_space(e, 20);
    must(env_write(g, "0123456789", 10, 4));
    must(g->ops->close(g));
    env_memory_free(e);
}

Test(env_memory, a_flipped_bit_is_seen_before_and_after_a_crash)
{
    struct env *e = env_memory_new(12, ENV_MEMORY_CRASH);
    must(env_install_file(e, "/", "F", SLICE_LIT("abc")));
    must(env_memory_flip(e, "/F", 1, 0));
    char *text = content(e, "/F");
    cr_assert_str_eq(text, "acc");
    free(text);
    cr_assert(shows(e, 1, "/F", "acc"));
    cr_assert_eq(env_memory_flip(e, "/F", 3, 0), RES_RANGE);
    cr_assert_eq(env_memory_flip(e, "/G", 0, 0), RES_NOT_FOUND);
    env_memory_free(e);
}

Test(env_memory, the_clock_obeys)
{
    struct env *e = env_memory_new(13, ENV_MEMORY_PLAIN);
    cr_assert_eq(e->ops->real_ms(e), e->ops->real_ms(e));
    env_memory_set_clock(e, 5000, 0);
    for (int i = 0; i < 3; i++)
        env_memory_advance(e, 400000);
    cr_assert_eq(e->ops->real_ms(e), 5001, "parts of a millisecond add up");
    cr_assert_eq(e->ops->mono_ns(e), 1200000);
    env_memory_advance(e, 1000000000);
    cr_assert_eq(e->ops->real_ms(e), 6001);
    env_memory_free(e);
}

Test(env_memory, the_same_seed_draws_the_same_numbers)
{
    uint8_t a[20], b[20];
    for (int i = 0; i < 2; i++) {
        struct env *e = env_memory_new(14, ENV_MEMORY_PLAIN);
        e->ops->random(e, i ? b : a, 20);
        env_memory_free(e);
    }
    cr_assert_eq(memcmp(a, b, 20), 0);
}

/* The shadow environment: what is done through it is seen through it, and the environment behind it stays as it was. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/env_memory.h"
#include "os/env_shadow.h"

static struct env *inner, *shadow;

static void put(struct env *env, const char *path, const char *text)
{
    struct env_file *f;
    cr_assert_eq(env->ops->open(env, path, ENV_WRITE | ENV_CREATE, &f), RES_OK);
    cr_assert_eq(env_write(f, text, strlen(text), 0), RES_OK);
    cr_assert_eq(f->ops->sync(f), RES_OK);
    cr_assert_eq(f->ops->close(f), RES_OK);
}

/* What a file holds; "(none)" when it is not there. */
static const char *get(struct env *env, const char *path)
{
    static char text[256];
    uint8_t *data;
    size_t len;
    if (env_read_file(env, path, sizeof text - 1, &data, &len) != RES_OK)
        return "(none)";
    memcpy(text, data, len + 1);
    free(data);
    return text;
}

static void add_name(void *arg, const char *name)
{
    strcat(arg, name);
    strcat(arg, " ");
}

static bool lists(struct env *env, const char *dir, const char *name, int count)
{
    char names[1024] = "";
    cr_assert_eq(env->ops->list(env, dir, add_name, names), RES_OK);
    int n = 0;
    for (const char *p = names; *p; p++)
        n += *p == ' ';
    char word[64];
    snprintf(word, sizeof word, "%s ", name);
    return n == count && strstr(names, word) != NULL;
}

static void set_up(void)
{
    inner = env_memory_new(1, ENV_MEMORY_PLAIN);
    cr_assert_eq(inner->ops->mkdir(inner, "d"), RES_OK);
    put(inner, "d/a", "inner a");
    put(inner, "d/b", "inner b");
    shadow = env_shadow_new(inner);
    cr_assert_not_null(shadow);
}

static void tear_down(void)
{
    cr_expect_str_eq(get(inner, "d/a"), "inner a");
    cr_expect_str_eq(get(inner, "d/b"), "inner b");
    cr_expect(lists(inner, "d", "a", 2));
    env_shadow_free(shadow);
    cr_expect_eq(env_memory_open_files(inner), 0);
    env_memory_free(inner);
}

TestSuite(env_shadow, .init = set_up, .fini = tear_down);

Test(env_shadow, what_is_not_touched_is_read_from_behind)
{
    cr_expect_str_eq(get(shadow, "d/a"), "inner a");
    cr_expect_str_eq(get(shadow, "d/c"), "(none)");
    cr_expect(lists(shadow, "d", "b", 2));
    cr_expect_eq(env_shadow_bytes(shadow), 0);
}

Test(env_shadow, writes_lie_over_what_is_behind)
{
    struct env_file *f, *again;
    cr_assert_eq(shadow->ops->open(shadow, "d/a", ENV_READ | ENV_WRITE, &f), RES_OK);
    cr_expect_eq(env_write(f, "SHADOW", 6, 6), RES_OK);
    cr_expect_str_eq(get(shadow, "d/a"), "inner SHADOW");
    cr_expect_eq(f->ops->truncate(f, 3), RES_OK);
    cr_expect_eq(f->ops->truncate(f, 5), RES_OK);
    cr_assert_eq(shadow->ops->open(shadow, "d/a", ENV_READ, &again), RES_OK);
    char bytes[16];
    size_t got;
    cr_expect_eq(again->ops->pread(again, bytes, sizeof bytes, 0, 0, &got), RES_OK);
    cr_expect_eq(got, 5);
    cr_expect_arr_eq(bytes, "inn\0\0", 5);
    cr_expect_eq(again->ops->close(again), RES_OK);
    cr_expect_eq(f->ops->close(f), RES_OK);
}

Test(env_shadow, a_truncated_file_does_not_show_what_is_behind_again)
{
    struct env_file *f;
    char bytes[16];
    size_t got;
    cr_assert_eq(shadow->ops->open(shadow, "d/a", ENV_READ | ENV_WRITE, &f), RES_OK);
    cr_expect_eq(f->ops->truncate(f, 2), RES_OK);
    cr_expect_eq(f->ops->allocate(f, 0, 7), RES_OK);
    cr_expect_eq(f->ops->pread(f, bytes, sizeof bytes, 0, 0, &got), RES_OK);
    cr_expect_eq(got, 7);
    cr_expect_arr_eq(bytes, "in\0\0\0\0\0", 7);
    cr_expect_eq(f->ops->close(f), RES_OK);
}

Test(env_shadow, large_writes_cross_chunks)
{
    struct env_file *f;
    size_t len = 200000, got;
    uint8_t *bytes = malloc(len), *back = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 31 >> 3);
    cr_assert_eq(shadow->ops->open(shadow, "d/big", ENV_READ | ENV_WRITE | ENV_CREATE, &f), RES_OK);
    cr_expect_eq(env_write(f, bytes, len, 70001), RES_OK);
    cr_expect_eq(f->ops->pread(f, back, len, 70001, 0, &got), RES_OK);
    cr_expect_eq(got, len);
    cr_expect_arr_eq(back, bytes, len);
    cr_expect_eq(f->ops->close(f), RES_OK);
    free(bytes);
    free(back);
}

Test(env_shadow, names_change_in_the_shadow_alone)
{
    cr_expect_eq(shadow->ops->unlink(shadow, "d/b"), RES_OK);
    cr_expect_eq(shadow->ops->unlink(shadow, "d/b"), RES_NOT_FOUND);
    cr_expect_str_eq(get(shadow, "d/b"), "(none)");
    cr_expect_eq(shadow->ops->rename(shadow, "d/a", "d/c"), RES_OK);
    cr_expect_str_eq(get(shadow, "d/c"), "inner a");
    cr_expect_str_eq(get(shadow, "d/a"), "(none)");
    cr_expect(lists(shadow, "d", "c", 1));
    cr_expect_eq(shadow->ops->link(shadow, "d/c", "d/e"), RES_OK);
    cr_expect_eq(shadow->ops->link(shadow, "d/c", "d/e"), RES_EXISTS);
    cr_expect_str_eq(get(shadow, "d/e"), "inner a");
    put(shadow, "d/b", "new b");
    cr_expect_str_eq(get(shadow, "d/b"), "new b");
    cr_expect_eq(shadow->ops->mkdir(shadow, "d"), RES_EXISTS);
    cr_expect_eq(shadow->ops->mkdir(shadow, "d/sub"), RES_OK);
    cr_expect_eq(shadow->ops->mkdir(shadow, "d/sub"), RES_EXISTS);
    put(shadow, "d/sub/x", "x");
    cr_expect(lists(shadow, "d/sub", "x", 1));
    cr_expect(lists(shadow, "d", "sub", 4));
}

Test(env_shadow, an_open_file_outlives_its_name)
{
    struct env_file *f;
    char bytes[16];
    size_t got;
    cr_assert_eq(shadow->ops->open(shadow, "d/a", ENV_READ | ENV_WRITE, &f), RES_OK);
    cr_expect_eq(shadow->ops->unlink(shadow, "d/a"), RES_OK);
    cr_expect_eq(f->ops->pread(f, bytes, sizeof bytes, 0, 0, &got), RES_OK);
    cr_expect_eq(got, 7);
    cr_expect_eq(f->ops->close(f), RES_OK);
}

Test(env_shadow, refusing_ends_growth_and_nothing_else)
{
    struct env_file *f, *none;
    cr_assert_eq(shadow->ops->open(shadow, "d/a", ENV_READ | ENV_WRITE, &f), RES_OK);
    env_shadow_refuse(shadow);
    cr_expect_eq(env_write(f, "INNER", 5, 0), RES_OK);
    cr_expect_eq(env_write(f, "longer", 6, 4), RES_NO_SPACE);
    cr_expect_eq(f->ops->allocate(f, 0, 100), RES_NO_SPACE);
    cr_expect_eq(shadow->ops->open(shadow, "d/new", ENV_WRITE | ENV_CREATE, &none), RES_NO_SPACE);
    cr_expect_str_eq(get(shadow, "d/a"), "INNER a");
    cr_expect_eq(f->ops->close(f), RES_OK);
}

Test(env_shadow, a_lock_of_another_process_is_seen_and_a_missing_one_not_made)
{
    struct env_file *theirs, *ours;
    cr_assert_eq(shadow->ops->lock(shadow, "d/LOCK", &ours), RES_OK);
    cr_expect_eq(ours->ops->close(ours), RES_OK);
    cr_expect_str_eq(get(inner, "d/LOCK"), "(none)");
    cr_assert_eq(inner->ops->lock(inner, "d/b", &theirs), RES_OK);
    cr_expect_eq(shadow->ops->lock(shadow, "d/b", &ours), RES_LOCKED);
    cr_expect_eq(theirs->ops->close(theirs), RES_OK);
    cr_expect_eq(shadow->ops->lock(shadow, "d/b", &ours), RES_OK);
    cr_expect_eq(ours->ops->close(ours), RES_OK);
}

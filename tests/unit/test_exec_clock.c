/* The clock of commands. What must hold: it never goes back by less than a second, and follows a larger step; a reader
 * never uses a time that a running write, or one above its snapshot, has not reached; the ring of times forgets nothing
 * that is still above the gate, and when it is full errs towards the earlier time. */
#include <criterion/criterion.h>

#include "base/log.h"
#include "exec/clock.h"
#include "os/env_memory.h"

static struct env *env;
static struct exec_clock c;
static uint64_t mono;

static void set(uint64_t ms)
{
    mono += 1000000000; /* caches are stale */
    env_memory_set_clock(env, ms, mono);
}

static void setup(void)
{
    log_set_level(LOG_NOTHING);
    env = env_memory_new(1, ENV_MEMORY_PLAIN);
    mono = 1000000000;
    set(100000);
    cr_assert(clock_init(&c, env) == RES_OK);
}

static void teardown(void)
{
    clock_fini(&c);
    env_memory_free(env);
}
TestSuite(clock, .init = setup, .fini = teardown);

Test(clock, small_steps_back_are_held_and_large_ones_followed)
{
    struct clock_cache cache = {0, 0}, other = {0, 0};
    cr_assert(clock_now(&c, &cache, mono) == 100000);
    set(100500);
    cr_assert(clock_now(&c, &cache, mono) == 100500);
    set(99501);
    cr_assert(clock_now(&c, &cache, mono) == 100500);
    cr_assert(clock_now(&c, &other, mono) == 100500);
    cr_assert(clock_fresh(&c) == 100500);
    set(99000);
    cr_assert(clock_now(&c, &cache, mono) == 99000);
    cr_assert(clock_now(&c, &other, mono) == 99000);
    set(99001);
    cr_assert(clock_fresh(&c) == 99001);
}

Test(clock, a_cache_is_used_for_some_microseconds)
{
    struct clock_cache cache = {0, 0};
    cr_assert(clock_now(&c, &cache, mono) == 100000);
    env_memory_set_clock(env, 100001, mono + 15000);
    cr_assert(clock_now(&c, &cache, mono + 15000) == 100000);
    cr_assert(clock_now(&c, &cache, mono + 20000) == 100001);
    cr_assert(clock_fresh(&c) == 100001);
}

Test(clock, a_running_write_bounds_readers)
{
    struct clock_cache writer = {0, 0}, reader = {0, 0};
    cr_assert(clock_running(&c) == 0);
    uint64_t now = clock_write_begin(&c, &writer, mono);
    cr_assert(now == 100000 && clock_running(&c) == 100000);
    set(100010);
    cr_assert(clock_now(&c, &reader, mono) == 100010);
    cr_assert(clock_running(&c) == 100000);
    clock_write_end(&c);
    cr_assert(clock_running(&c) == 0);
    /* The next write is not earlier than what a reader may have used. */
    set(100005);
    cr_assert(clock_write_begin(&c, &writer, mono) == 100010);
    clock_write_end(&c);
}

Test(clock, writes_above_a_snapshot_bound_it)
{
    cr_assert(clock_above(&c, 0) == UINT64_MAX);
    clock_commit(&c, 10, 500, 9);
    clock_commit(&c, 11, 500, 9);
    clock_commit(&c, 12, 510, 9);
    clock_commit(&c, 13, 505, 9); /* after a step back */
    clock_commit(&c, 14, 520, 9);
    cr_assert(clock_above(&c, 9) == 500);
    cr_assert(clock_above(&c, 10) == 500);
    cr_assert(clock_above(&c, 11) == 505);
    cr_assert(clock_above(&c, 12) == 505);
    cr_assert(clock_above(&c, 13) == 520);
}

Test(clock, the_ring_keeps_what_is_above_the_gate)
{
    uint64_t n = 3 * CLOCK_RING;
    for (uint64_t i = 1; i <= n; i++)
        clock_commit(&c, i, 1000 + i, i > 100 ? i - 100 : 0);
    for (uint64_t at = n - 100; at < n; at++)
        cr_assert(clock_above(&c, at) == 1000 + at + 1);
    /* The gate stands: the entries end, and later writes count as earlier. */
    for (uint64_t i = n + 1; i <= 2 * n; i++)
        clock_commit(&c, i, 1000 + i, n);
    cr_assert(clock_above(&c, n) == 1000 + n + 1);
    cr_assert(clock_above(&c, n + 1) == 1000 + n + 2);
    cr_assert(clock_above(&c, 2 * n - 1) <= 1000 + 2 * n);
    cr_assert(clock_above(&c, 2 * n - 1) > 1000 + n);
    /* It moves on: so does the ring. */
    clock_commit(&c, 2 * n + 1, 100000, 2 * n);
    cr_assert(clock_above(&c, 2 * n) == 100000);
}

/* The deterministic scheduler: a race is found within few seeds and found again by its seed, a deadlock is reported,
 * time is virtual, and correct programs are never disturbed into failing. */
#include "base/epoch.h"
#include "os/env_memory.h"
#include "os/sched.h"
#include "os/thread.h"
#include "tests/lib/tap.h"

enum { THREADS = 3 };

/* ---- a lost update -------------------------------------------------------------------------------------------- */

static int counter;

static void racy_thread(void *arg)
{
    (void)arg;
    int seen = counter;
    sched_point(SCHED_COMMIT); /* stands for what lies between reading and writing */
    counter = seen + 1;
}

static void run_three(void (*body)(void *arg), void *arg)
{
    struct os_thread t[THREADS];
    for (int i = 0; i < THREADS; i++)
        tap_require(os_thread_start(&t[i], "worker", body, arg) == RES_OK);
    for (int i = 0; i < THREADS; i++)
        os_thread_join(&t[i]);
}

static void racy_main(void *arg)
{
    counter = 0;
    run_three(racy_thread, arg);
}

static void a_lost_update_is_found_within_few_seeds_and_again_by_its_seed(void)
{
    struct sched_report r;
    int found = 0;

    for (uint64_t seed = 0; seed < 200; seed++) {
        sched_run(seed, 0, racy_main, NULL, &r);
        tap_require(!r.stuck);
        int result = counter;
        struct sched_report again;
        sched_run(seed, 0, racy_main, NULL, &again);
        tap_eq_u64(again.trace, r.trace);
        tap_eq_u64(again.steps, r.steps);
        tap_eq_u64(again.now_ns, r.now_ns);
        tap_check(counter == result);
        found += result != THREADS;
    }
    tap_diag("%d of 200 seeds lose an update", found);
    tap_check(found >= 20);
    tap_check(found < 200); /* and some schedules are harmless */
}

/* ---- the same with a lock -------------------------------------------------------------------------------------- */

static struct os_mutex mutex, other;
static struct os_cond cond;

static void locked_thread(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++) {
        os_mutex_lock(&mutex);
        int seen = counter;
        sched_point(SCHED_COMMIT);
        counter = seen + 1;
        os_mutex_unlock(&mutex);
    }
}

static void locked_main(void *arg)
{
    counter = 0;
    run_three(locked_thread, arg);
}

static void a_lock_excludes_under_every_seed(void)
{
    struct sched_report r;
    os_mutex_init(&mutex);
    for (uint64_t seed = 0; seed < 300; seed++) {
        sched_run(seed, 0, locked_main, NULL, &r);
        tap_check(!r.stuck && counter == 5 * THREADS);
    }
    os_mutex_fini(&mutex);
}

/* ---- waiting ---------------------------------------------------------------------------------------------------- */

static int turn_of;

static void ping_pong(void *arg)
{
    int me = *(int *)arg;
    for (int i = 0; i < 10; i++) {
        os_mutex_lock(&mutex);
        while (turn_of != me)
            os_cond_wait(&cond, &mutex);
        turn_of = !me;
        os_cond_signal(&cond);
        os_mutex_unlock(&mutex);
    }
}

static void ping_pong_main(void *arg)
{
    static int who[2] = {0, 1};
    struct os_thread t[2];
    (void)arg;
    turn_of = 0;
    for (int i = 0; i < 2; i++)
        tap_require(os_thread_start(&t[i], "player", ping_pong, &who[i]) == RES_OK);
    for (int i = 0; i < 2; i++)
        os_thread_join(&t[i]);
}

static void conditions_pass_the_ball_under_every_seed(void)
{
    struct sched_report r;
    os_mutex_init(&mutex);
    os_cond_init(&cond);
    for (uint64_t seed = 0; seed < 200; seed++) {
        sched_run(seed, 0, ping_pong_main, NULL, &r);
        if (!tap_check(!r.stuck)) {
            tap_diag("seed %d: %s", (int)seed, r.text);
            return;
        }
    }
    os_cond_fini(&cond);
    os_mutex_fini(&mutex);
}

static void sleeper(void *arg)
{
    (void)arg;
    uint64_t before = sched_now();
    os_sleep_ns(3600000000000u);
    tap_check(sched_now() - before >= 3600000000000u);
    os_mutex_lock(&mutex);
    before = sched_now();
    while (os_cond_wait_for(&cond, &mutex, 60000000000u)) /* nobody signals: it can only end for no reason */
        before = sched_now();
    tap_check(sched_now() - before >= 60000000000u);
    os_mutex_unlock(&mutex);
}

static void sleeper_main(void *arg) { run_three(sleeper, arg); }

static void hours_pass_in_no_time(void)
{
    struct sched_report r;
    os_mutex_init(&mutex);
    os_cond_init(&cond);
    for (uint64_t seed = 0; seed < 20; seed++) {
        sched_run(seed, 0, sleeper_main, NULL, &r);
        tap_check(!r.stuck && r.now_ns >= 3660000000000u);
    }
    os_cond_fini(&cond);
    os_mutex_fini(&mutex);
}

static atomic_int flag;

static void spinner(void *arg)
{
    (void)arg;
    while (!atomic_load(&flag))
        os_pause();
}

static void raiser(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++)
        sched_point(SCHED_VIEW);
    atomic_store(&flag, 1);
}

static void spin_main(void *arg)
{
    struct os_thread a, b;
    (void)arg;
    atomic_store(&flag, 0);
    tap_require(os_thread_start(&a, "spinner", spinner, NULL) == RES_OK);
    tap_require(os_thread_start(&b, "raiser", raiser, NULL) == RES_OK);
    os_thread_join(&a);
    os_thread_join(&b);
}

static void who_spins_does_not_starve_the_others(void)
{
    struct sched_report r;
    for (uint64_t seed = 0; seed < 200; seed++) {
        sched_run(seed, 100000, spin_main, NULL, &r);
        tap_check(!r.stuck);
    }
}

/* ---- with what stands below and beside -------------------------------------------------------------------------- */

static struct env *env;
static int destroyed;

static void count_destroyed(struct epoch_entry *e)
{
    free(e);
    destroyed++;
}

static void files_and_epochs(void *arg)
{
    struct env_file *f;
    struct epoch_entry *entry = malloc(sizeof *entry);
    uint64_t number = (uint64_t)(uintptr_t)arg;

    tap_require(entry != NULL);
    tap_require(env->ops->open(env, "log", ENV_READ | ENV_WRITE | ENV_CREATE, &f) == RES_OK);
    epoch_enter();
    sched_point(SCHED_VIEW);
    tap_check(env_write(f, &number, sizeof number, number * 8) == RES_OK);
    epoch_leave();
    epoch_retire(entry, count_destroyed);
    epoch_drain();
    tap_check(f->ops->close(f) == RES_OK);
}

static void files_main(void *arg)
{
    struct os_thread t[THREADS];
    (void)arg;
    env_memory_follow(env, sched_now);
    for (uintptr_t i = 0; i < THREADS; i++)
        tap_require(os_thread_start(&t[i], "writer", files_and_epochs, (void *)i) == RES_OK);
    for (int i = 0; i < THREADS; i++)
        os_thread_join(&t[i]);
    uint64_t before = env->ops->mono_ns(env);
    os_sleep_ns(1000000000);
    tap_check(env->ops->mono_ns(env) >= before + 1000000000);
    env_memory_follow(env, NULL);
}

static void files_and_epochs_take_part(void)
{
    struct sched_report r;
    for (uint64_t seed = 0; seed < 100; seed++) {
        env = env_memory_new(seed, ENV_MEMORY_PLAIN);
        destroyed = 0;
        sched_run(seed, 0, files_main, NULL, &r);
        if (!tap_check(!r.stuck)) {
            tap_diag("seed %d: %s", (int)seed, r.text);
            return;
        }
        tap_check(destroyed == THREADS);
        env_memory_free(env);
    }
}

/* ---- a deadlock --------------------------------------------------------------------------------------------------- */

static void one_way(void *arg)
{
    (void)arg;
    os_mutex_lock(&mutex);
    os_mutex_lock(&other);
    os_mutex_unlock(&other);
    os_mutex_unlock(&mutex);
}

static void other_way(void *arg)
{
    (void)arg;
    os_mutex_lock(&other);
    os_mutex_lock(&mutex);
    os_mutex_unlock(&mutex);
    os_mutex_unlock(&other);
}

static void crossed_main(void *arg)
{
    struct os_thread a, b;
    (void)arg;
    tap_require(os_thread_start(&a, "one", one_way, NULL) == RES_OK);
    tap_require(os_thread_start(&b, "other", other_way, NULL) == RES_OK);
    os_thread_join(&a);
    os_thread_join(&b);
}

/* The last test: its threads stay behind. */
static void a_deadlock_is_found_and_named(void)
{
    struct sched_report r;
    os_mutex_init(&mutex);
    os_mutex_init(&other);
    uint64_t seed = 0;
    do
        sched_run(seed, 0, crossed_main, NULL, &r);
    while (!r.stuck && ++seed < 200);
    tap_check(r.stuck);
    tap_check(strstr(r.text, "one (1) waits at SCHED_LOCK") != NULL);
    tap_check(strstr(r.text, "other (2) waits at SCHED_LOCK") != NULL);
    tap_diag("seed %d: %s", (int)seed, r.text);
}

int main(void)
{
    tap_test(a_lost_update_is_found_within_few_seeds_and_again_by_its_seed);
    tap_test(a_lock_excludes_under_every_seed);
    tap_test(conditions_pass_the_ball_under_every_seed);
    tap_test(hours_pass_in_no_time);
    tap_test(who_spins_does_not_starve_the_others);
    tap_test(files_and_epochs_take_part);
    tap_test(a_deadlock_is_found_and_named);
    return tap_done();
}

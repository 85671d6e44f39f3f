/* Threads, locks and conditions over pthreads, and the environment in memory under several threads (for
 * ThreadSanitizer, which cannot run the other tests of it). */
#include <signal.h>
#include <unistd.h>

#include "os/env_memory.h"
#include "os/thread.h"
#include "tests/lib/tap.h"

static struct os_mutex mutex;
static struct os_cond cond;
static uint64_t shared;

static void add(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        if (i % 3 || !os_mutex_try(&mutex))
            os_mutex_lock(&mutex);
        shared += *(uint64_t *)arg;
        os_mutex_unlock(&mutex);
        os_pause();
    }
}

static void a_lock_excludes(void)
{
    static uint64_t amounts[3] = {1, 10, 100};
    struct os_thread t[3];
    os_mutex_init(&mutex);
    shared = 0;
    for (int i = 0; i < 3; i++)
        tap_require(os_thread_start(&t[i], "adder", add, &amounts[i]) == RES_OK);
    for (int i = 0; i < 3; i++)
        os_thread_join(&t[i]);
    tap_eq_u64(shared, 20000 * 111);
    os_mutex_fini(&mutex);
}

static uint64_t clock_ns(void) { return env_posix()->ops->mono_ns(env_posix()); }

static void raise_it(void *arg)
{
    (void)arg;
    os_sleep_ns(10000000);
    os_mutex_lock(&mutex);
    shared = 1;
    os_cond_signal(&cond);
    os_mutex_unlock(&mutex);
}

static void a_condition_wakes_or_times_out(void)
{
    struct os_thread t;
    os_mutex_init(&mutex);
    os_cond_init(&cond);
    shared = 0;
    uint64_t start = clock_ns();
    os_mutex_lock(&mutex);
    while (os_cond_wait_for(&cond, &mutex, 1010000000)) /* more than a second, so that both fields carry */
        ;
    tap_check(clock_ns() - start >= 1010000000);
    tap_require(os_thread_start(&t, "raiser", raise_it, NULL) == RES_OK);
    bool woken = true;
    while (woken && shared == 0)
        woken = os_cond_wait_for(&cond, &mutex, 30000000000);
    tap_check(woken && shared == 1);
    os_mutex_unlock(&mutex);
    os_thread_join(&t);
    os_cond_fini(&cond);
    os_mutex_fini(&mutex);
}

static void look_around(void *arg)
{
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    tap_check(sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGUSR1));
    pthread_getname_np(pthread_self(), arg, 16);
}

static void a_thread_has_its_name_and_no_signals(void)
{
    struct os_thread t;
    char name[16];
    tap_require(os_thread_start(&t, "a-name-that-is-too-long", look_around, name) == RES_OK);
    os_thread_join(&t);
    tap_eq_str(name, "a-name-that-is-");
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    tap_check(!sigismember(&blocked, SIGTERM));
}

static struct env *env;

static void use_files(void *arg)
{
    uint64_t me = *(uint64_t *)arg;
    char path[32];
    struct env_file *f, *own;
    tap_require(env->ops->open(env, "/shared", ENV_READ | ENV_WRITE | ENV_CREATE, &f) == RES_OK);
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "/own-%d-%d", (int)me, i);
        tap_require(env->ops->open(env, path, ENV_READ | ENV_WRITE | ENV_CREATE, &own) == RES_OK);
        struct iovec iov = {&me, 8};
        tap_check(own->ops->pwritev(own, &iov, 1, 0, i % 2 ? ENV_DSYNC : 0) == RES_OK);
        uint64_t read = 0;
        size_t got;
        enum result r = f->ops->pread(f, &read, 8, 0, 0, &got);
        tap_check(r == RES_OK);
        tap_check(own->ops->pread(own, &read, 8, 0, 0, &got) == RES_OK && read == me);
        tap_check(own->ops->sync(own) == RES_OK);
        tap_check(own->ops->close(own) == RES_OK);
        tap_check(env->ops->sync_dir(env, "/") == RES_OK);
        if (i % 3)
            tap_check(env->ops->unlink(env, path) == RES_OK);
        if (i % 50 == 0) {
            struct env *image = env_memory_crash(env, ENV_MEMORY_NOW, (uint64_t)i);
            tap_check(image != NULL);
            env_memory_free(image);
        }
    }
    tap_check(f->ops->close(f) == RES_OK);
}

static void many_threads_use_one_environment(void)
{
    static uint64_t who[4] = {1, 2, 3, 4};
    struct os_thread t[4];
    env = env_memory_new(1, ENV_MEMORY_HISTORY);
    for (int i = 0; i < 4; i++)
        tap_require(os_thread_start(&t[i], "user", use_files, &who[i]) == RES_OK);
    for (int i = 0; i < 4; i++)
        os_thread_join(&t[i]);
    tap_eq_u64(env_memory_open_files(env), 0);
    env_memory_free(env);
}

int main(void)
{
    tap_test(a_lock_excludes);
    tap_test(a_condition_wakes_or_times_out);
    tap_test(a_thread_has_its_name_and_no_signals);
    tap_test(many_threads_use_one_environment);
    return tap_done();
}

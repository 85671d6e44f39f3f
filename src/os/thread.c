/* Threads and locks over pthreads. With a test's scheduler installed nobody really sleeps here: a lock is tried, and a
 * thread that cannot have it tells the scheduler what it waits for. */
#include "os/thread.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/membarrier.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define LOW_PRIORITY 10 /* "nice": a tenth of an equal share of a core */

const struct sched_hooks *sched_hooks;

/* pthread calls here fail only when the caller broke a rule. */
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        int must_rc = (call);                                                                                          \
        assert(must_rc == 0);                                                                                          \
        (void)must_rc;                                                                                                 \
    } while (0)

uint64_t os_thread_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void os_mutex_init(struct os_mutex *m) { MUST(pthread_mutex_init(&m->m, NULL)); }

void os_mutex_fini(struct os_mutex *m) { MUST(pthread_mutex_destroy(&m->m)); }

static void lock_scheduled(struct os_mutex *m) NO_THREAD_SAFETY
{
    while (pthread_mutex_trylock(&m->m) != 0)
        sched_hooks->block(SCHED_LOCK, m, SCHED_FOREVER);
}

void os_mutex_lock(struct os_mutex *m) NO_THREAD_SAFETY
{
    if (unlikely(sched_hooks != NULL)) {
        sched_hooks->point(SCHED_LOCK);
        lock_scheduled(m);
        return;
    }
    MUST(pthread_mutex_lock(&m->m));
}

bool os_mutex_try(struct os_mutex *m) NO_THREAD_SAFETY
{
    sched_point(SCHED_LOCK);
    int rc = pthread_mutex_trylock(&m->m);
    assert(rc == 0 || rc == EBUSY);
    return rc == 0;
}

void os_mutex_unlock(struct os_mutex *m) NO_THREAD_SAFETY
{
    MUST(pthread_mutex_unlock(&m->m));
    if (unlikely(sched_hooks != NULL)) {
        sched_hooks->wake(m, true); /* all: who is first is the scheduler's choice */
        sched_hooks->point(SCHED_LOCK);
    }
}

void os_cond_init(struct os_cond *c)
{
    pthread_condattr_t attr;
    MUST(pthread_condattr_init(&attr));
    MUST(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    MUST(pthread_cond_init(&c->c, &attr));
    MUST(pthread_condattr_destroy(&attr));
}

void os_cond_fini(struct os_cond *c) { MUST(pthread_cond_destroy(&c->c)); }

/* Between the unlock and block() nobody else runs, so no signal can be lost. */
static bool wait_scheduled(struct os_cond *c, struct os_mutex *m, uint64_t timeout_ns) NO_THREAD_SAFETY
{
    MUST(pthread_mutex_unlock(&m->m));
    sched_hooks->wake(m, true);
    bool woken = sched_hooks->block(SCHED_SLEEP, c, timeout_ns);
    lock_scheduled(m);
    return woken;
}

void os_cond_wait(struct os_cond *c, struct os_mutex *m)
{
    if (unlikely(sched_hooks != NULL))
        wait_scheduled(c, m, SCHED_FOREVER);
    else
        MUST(pthread_cond_wait(&c->c, &m->m));
}

bool os_cond_wait_for(struct os_cond *c, struct os_mutex *m, uint64_t timeout_ns)
{
    if (unlikely(sched_hooks != NULL))
        return wait_scheduled(c, m, timeout_ns);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + timeout_ns % 1000000000u;
    uint64_t seconds = timeout_ns / 1000000000u + ns / 1000000000u;
    until.tv_sec += (time_t)seconds;
    until.tv_nsec = (long)(ns % 1000000000u);
    int rc = pthread_cond_timedwait(&c->c, &m->m, &until);
    assert(rc == 0 || rc == ETIMEDOUT);
    return rc == 0;
}

void os_cond_signal(struct os_cond *c)
{
    MUST(pthread_cond_signal(&c->c));
    if (unlikely(sched_hooks != NULL))
        sched_hooks->wake(c, false);
}

void os_cond_broadcast(struct os_cond *c)
{
    MUST(pthread_cond_broadcast(&c->c));
    if (unlikely(sched_hooks != NULL))
        sched_hooks->wake(c, true);
}

struct start {
    void (*run)(void *arg);
    void *arg;
    void *ticket; /* of the scheduler */
    char name[16];
};

static void *thread_main(void *arg)
{
    struct start start = *(struct start *)arg;
    free(arg);
    pthread_setname_np(pthread_self(), start.name);
    if (sched_hooks)
        sched_hooks->started(start.ticket);
    start.run(start.arg);
    if (sched_hooks)
        sched_hooks->ended();
    return NULL;
}

void os_thread_lower_priority(void) { (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), LOW_PRIORITY); }

enum result os_thread_start(struct os_thread *t, const char *name, void (*run)(void *arg), void *arg)
{
    struct start *start = malloc(sizeof *start);
    if (!start)
        return RES_NO_MEMORY;
    start->run = run;
    start->arg = arg;
    strncpy(start->name, name, sizeof start->name - 1);
    start->name[sizeof start->name - 1] = 0;
    t->ticket = start->ticket = sched_hooks ? sched_hooks->spawn(start->name) : NULL;

    /* Signals are the main thread's business. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&t->id, NULL, thread_main, start);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        assert(!sched_hooks); /* a scheduler would wait for it forever */
        free(start);
        return rc == EAGAIN ? RES_TOO_MANY : result_from_errno(rc);
    }
    return RES_OK;
}

void os_thread_join(struct os_thread *t)
{
    if (sched_hooks)
        sched_hooks->join(t->ticket);
    MUST(pthread_join(t->id, NULL));
}

void os_sleep_ns(uint64_t ns)
{
    if (unlikely(sched_hooks != NULL)) {
        sched_hooks->block(SCHED_SLEEP, NULL, ns);
        return;
    }
    struct timespec left = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
}

void os_pause(void)
{
    sched_point(SCHED_SLEEP);
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

bool os_fence_all(void)
{
    os_fence();
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 &&
           syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/* Threads, locks and hand-off points. All blocking between threads goes through here, so that a test can install a
 * scheduler that runs one thread at a time and chooses, from a seed, who goes on at every point. */
#ifndef VARVE_OS_THREAD_H
#define VARVE_OS_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"

#if defined(__clang__)
#define TS_ATTR(x) __attribute__((x))
#else
#define TS_ATTR(x)
#endif
#define CAPABILITY(x) TS_ATTR(capability(x))
#define GUARDED_BY(x) TS_ATTR(guarded_by(x))
#define REQUIRES(...) TS_ATTR(requires_capability(__VA_ARGS__))
#define ACQUIRES(...) TS_ATTR(acquire_capability(__VA_ARGS__))
#define RELEASES(...) TS_ATTR(release_capability(__VA_ARGS__))
#define TRY_ACQUIRES(...) TS_ATTR(try_acquire_capability(__VA_ARGS__))
#define EXCLUDES(...) TS_ATTR(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY TS_ATTR(no_thread_safety_analysis)

struct CAPABILITY("mutex") os_mutex {
    pthread_mutex_t m;
};
struct os_cond { /* waits on CLOCK_MONOTONIC */
    pthread_cond_t c;
};

void os_mutex_init(struct os_mutex *m);
void os_mutex_fini(struct os_mutex *m);
void os_mutex_lock(struct os_mutex *m) ACQUIRES(m);
bool os_mutex_try(struct os_mutex *m) TRY_ACQUIRES(true, m);
void os_mutex_unlock(struct os_mutex *m) RELEASES(m);
void os_cond_init(struct os_cond *c);
void os_cond_fini(struct os_cond *c);
void os_cond_wait(struct os_cond *c, struct os_mutex *m) REQUIRES(m);
/* false when timeout_ns passed first. */
bool os_cond_wait_for(struct os_cond *c, struct os_mutex *m, uint64_t timeout_ns) REQUIRES(m);
void os_cond_signal(struct os_cond *c);
void os_cond_broadcast(struct os_cond *c);

struct os_thread {
    pthread_t id;
    void *ticket; /* of the scheduler, if one is installed */
};
/* Nanoseconds of processor time that the calling thread has had. A system call. */
uint64_t os_thread_cpu_ns(void);
/* What the calling thread does from now on is not urgent: where there are fewer cores than work, others go first. For good. */
void os_thread_lower_priority(void);
/* name: at most 15 characters, shown by `top -H`. */
enum result os_thread_start(struct os_thread *t, const char *name, void (*run)(void *arg), void *arg) MUST_CHECK;
void os_thread_join(struct os_thread *t);
void os_pause(void); /* a spin-wait hint */

/* As if every thread of the process went through os_fence() now: a system call, so that those on the other side need none.
 * False: the kernel cannot. */
bool os_fence_all(void) MUST_CHECK;

/* A full barrier: what was stored before it is seen by whoever loads after its own. ThreadSanitizer knows no fences but
 * understands a read-modify-write. */
#if defined(__SANITIZE_THREAD__)
#define OS_FENCE_BY_WRITE 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OS_FENCE_BY_WRITE 1
#endif
#endif
static inline void os_fence(void)
{
#ifdef OS_FENCE_BY_WRITE
    static uint64_t anything;
    __atomic_fetch_add(&anything, 1, __ATOMIC_SEQ_CST);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}
void os_sleep_ns(uint64_t ns);

/* Points at which a test's scheduler may hand over to another thread. In production one predicted branch. */
#define SCHED_POINTS(X)                                                                                                \
    X(SCHED_LATCH)                                                                                                     \
    X(SCHED_COMMIT)                                                                                                    \
    X(SCHED_PUBLISH)                                                                                                   \
    X(SCHED_GATE)                                                                                                      \
    X(SCHED_HANDOFF)                                                                                                   \
    X(SCHED_VIEW)                                                                                                      \
    X(SCHED_LOCK)                                                                                                      \
    X(SCHED_SLEEP)                                                                                                     \
    X(SCHED_IO)
enum sched_point {
#define SCHED_ENUM(n) n,
    SCHED_POINTS(SCHED_ENUM)
#undef SCHED_ENUM
};
/* Installed by tests only, before any thread starts; os/sched.h has the implementation. Each function is called by the
 * thread concerned. `block` is called instead of sleeping on a lock or condition, which `what` names: it returns true
 * when somebody called `wake` for it (or for no reason), false when timeout_ns of virtual time passed first; either
 * way the caller looks again. Nobody else runs between the caller's last step and block(). Code that sleeps on
 * something of its own (a descriptor, a futex) calls block and wake itself when hooks are there. */
#define SCHED_FOREVER UINT64_MAX
struct sched_hooks {
    void (*point)(enum sched_point where);
    bool (*block)(enum sched_point where, const void *what, uint64_t timeout_ns);
    void (*wake)(const void *what, bool all); /* one of those blocked on `what`, or all */
    void *(*spawn)(const char *name);         /* by the parent, before the thread exists: returns its ticket */
    void (*started)(void *ticket);            /* by the new thread, first thing: returns at its first turn */
    void (*ended)(void);
    void (*join)(void *ticket); /* returns when that thread has ended */
};
extern const struct sched_hooks *sched_hooks; /* NULL in production */
static inline void sched_point(enum sched_point where)
{
    if (unlikely(sched_hooks != NULL))
        sched_hooks->point(where);
}

#endif

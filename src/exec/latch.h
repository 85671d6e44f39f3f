/* The write latch: who may commit (EXECUTION, rules 8 to 10).
 *
 * A worker never sleeps on it: it tries, spins for 2 us, then parks: it is entered as a waiter and told through wake()
 * when the latch has become free. Being told is no grant: anyone may take a free latch, so that it never stands idle
 * while a thread wakes up; only who has waited for 1 ms has a claim, and then nobody else may take it. Whoever was told
 * must try again or give up (latch_give_up), so that the next waiter is told; a thread that may wait uses latch_lock().
 *
 *   waiter:  idle ─park─► queued ─release─► told ─try: taken─► idle
 *                            ▲                │└─ try: busy ─► queued (keeps its place in time)
 *                            └────────────────┘   give up ───► idle
 *
 * Invariants:
 * 1. `held` is 1 exactly while one thread is between taking and releasing.
 * 2. When the latch is free and somebody is queued, somebody is told: release tells after it freed, and who queues looks
 *    again after it queued (both sequentially consistent), so one of the two sees the other.
 * 3. `claim` names a waiter that is told, or queued again after it found the latch busy. It ends when that waiter takes
 *    the latch or gives up.
 * The waiters' list is under `lock`, which is never held while anything is waited for. */
#ifndef VARVE_EXEC_LATCH_H
#define VARVE_EXEC_LATCH_H

#include <stdatomic.h>

#include "os/env.h"
#include "os/thread.h"

#define LATCH_SPIN_NS 2000
#define LATCH_CLAIM_NS 1000000
#define LATCH_LONG_NS 1000000

struct latch_waiter {
    void (*wake)(struct latch_waiter *w); /* called under the latch's list lock: posts, never takes a latch */
    struct latch_waiter *prev, *next;
    uint64_t since_ns; /* when it parked first; 0: it does not wait */
    bool queued;       /* in the list */
    atomic_bool told;  /* woken since it was queued, and has not tried since */
};

struct latch {
    _Alignas(64) _Atomic uint32_t held;
    _Atomic uint32_t queued; /* waiters in the list */
    _Atomic(struct latch_waiter *) claim;
    struct env *env;
    uint64_t taken_ns; /* of the holder */
    /* What is counted below is processor time of the holder's thread instead: what the machine gives to others while the
     * latch is held is not there. It costs two system calls each time. */
    _Atomic bool cpu_clock;
    uint64_t taken_cpu_ns; /* 0: the clock was not on when it was taken */
    /* Counted by the holder, read by anybody. */
    uint64_t takes, held_ns, held_max_ns, over_1ms;
    _Atomic uint64_t parks;
    struct os_mutex lock;
    struct latch_waiter *first, *last; /* under lock; by since_ns */
};

void latch_init(struct latch *l, struct env *env);
void latch_fini(struct latch *l);

/* Never waits. now_ns: the monotonic clock, from which the time held is counted. */
bool latch_try(struct latch *l, struct latch_waiter *w, uint64_t now_ns);
/* Tries for at most LATCH_SPIN_NS. */
bool latch_spin(struct latch *l, struct latch_waiter *w, uint64_t now_ns);
/* After latch_spin() failed: true when it was taken after all, false: wake() will come. */
bool latch_park(struct latch *l, struct latch_waiter *w, uint64_t now_ns);
/* The waiter has nothing to write any more; passes on what it was told. */
void latch_give_up(struct latch *l, struct latch_waiter *w);
/* Waits. For pool threads. */
void latch_lock(struct latch *l);
/* Returns how long it was held. */
uint64_t latch_release(struct latch *l, uint64_t now_ns);

/* True while this thread holds a latch and so must not wait for anything. */
bool latch_held_here(void);

#endif

/* The deterministic scheduler, for tests: threads made with os_thread_start() run strictly one at a time, and a seed
 * decides at every point (a lock, a wait, an operation of the in-memory environment, every sched_point()) who goes on.
 * The same seed gives the same run, so a race that was found once can be looked at again.
 *
 * Time is virtual: it moves a little at every point, and jumps to the next timeout when nobody can run. Waits with a
 * timeout sometimes end by it although others could run, and waits on a condition sometimes end for no reason, as both
 * do on a busy machine.
 *
 * Code under test must wait by os/thread.h only (or by the hooks), take the time from sched_now() (env_memory_follow()),
 * and draw random numbers from a seed. */
#ifndef VARVE_OS_SCHED_H
#define VARVE_OS_SCHED_H

#include "os/thread.h"

struct sched_report {
    bool stuck;      /* deadlock, or no end after max_steps; the threads are left behind, so end the process soon */
    uint64_t steps;  /* points passed */
    uint64_t now_ns; /* virtual time at the end */
    uint64_t trace;  /* a hash of who ran when: equal for equal runs */
    char text[1024]; /* who waits for what when stuck */
};

/* Runs main(arg) on a thread under the scheduler, and all threads it starts, until all have ended. max_steps 0: ten
 * million. One run at a time. */
void sched_run(uint64_t seed, uint64_t max_steps, void (*main)(void *arg), void *arg, struct sched_report *out);
uint64_t sched_now(void); /* virtual nanoseconds, by a thread of the run; 0 elsewhere */
/* For a test's model: a number below n, chosen by the run's seed. */
uint64_t sched_choose(uint64_t n);

#endif

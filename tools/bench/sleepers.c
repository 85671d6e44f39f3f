#include "tools/bench/sleepers.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tools/bench/measure.h"

#define SLEEP_NS 1000000
#define LATE_NS 1000000
#define MOST 64

static struct sleeper {
    int cpu;
    _Atomic uint64_t due, late_until; /* when it should wake; when it last woke late */
} sleepers[MOST];
static int count;

static void *sleep_on(void *arg)
{
    struct sleeper *s = arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(s->cpu, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set); /* else it sleeps wherever it is */
    for (;;) {
        struct timespec ms = {0, SLEEP_NS};
        atomic_store(&s->due, clock_ns() + SLEEP_NS);
        nanosleep(&ms, NULL);
        uint64_t now = clock_ns();
        if (now > atomic_load(&s->due) + LATE_NS)
            atomic_store(&s->late_until, now);
    }
    return NULL;
}

void sleepers_start(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    count = cpus < MOST ? (int)cpus : MOST;
    for (int i = 0; i < count; i++) {
        pthread_t t;
        sleepers[i].cpu = i;
        if (pthread_create(&t, NULL, sleep_on, &sleepers[i]) == 0)
            pthread_detach(t);
    }
}

bool sleepers_late_since(uint64_t ns)
{
    uint64_t now = clock_ns();
    for (int i = 0; i < count; i++) {
        uint64_t due = atomic_load(&sleepers[i].due);
        if (atomic_load(&sleepers[i].late_until) >= ns || (due && now > due + LATE_NS))
            return true;
    }
    return false;
}

#include "tools/bench/sleepers.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/bench/measure.h"

#define SLEEP_NS 1000000
#define LATE_NS 1000000
#define MOST 64
#define MEMORY ((size_t)16 << 20) /* beyond what caches keep of it beside the load */
#define LOOKS 64                  /* at so many pages each time */
#define SLOW_TIMES 4
#define TOGETHER_NS 10000000
#define WARM_UP 200

static struct sleeper {
    int cpu;
    _Atomic uint64_t due, late_until; /* when it should wake; when it last woke late */
} sleepers[MOST];
static int count;
static _Atomic uint64_t last_slow, slow_until;

struct memory {
    uint8_t *bytes;
    uint64_t at, usual_ns, looks;
};

static void take_memory(struct memory *m)
{
    void *p = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return;                                /* then only waking is looked at */
    (void)madvise(p, MEMORY, MADV_NOHUGEPAGE); /* as many translations as there are pages */
    m->bytes = p;
    for (size_t i = 0; i < MEMORY; i += 4096)
        m->bytes[i] = 1;
}

/* Whether it was slow. What is usual moves slowly to where half of all looks lie above it. */
static bool look_at_memory(struct memory *m)
{
    if (!m->bytes)
        return false;
    uint64_t started = clock_ns();
    for (int i = 0; i < LOOKS; i++) {
        m->at = m->at * 6364136223846793005u + 1442695040888963407u;
        ((volatile uint8_t *)m->bytes)[(m->at >> 24) % MEMORY]++;
    }
    uint64_t took = clock_ns() - started, step = m->usual_ns / 64 + 1;
    if (m->looks++ == 0)
        m->usual_ns = took;
    m->usual_ns += took > m->usual_ns ? step : -step;
    return m->looks > WARM_UP && took > SLOW_TIMES * m->usual_ns;
}

static void *sleep_on(void *arg)
{
    struct sleeper *s = arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(s->cpu, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set); /* else it sleeps wherever it is */
    struct memory memory = {.at = (uint64_t)s->cpu};
    take_memory(&memory);
    for (;;) {
        struct timespec ms = {0, SLEEP_NS};
        atomic_store(&s->due, clock_ns() + SLEEP_NS);
        nanosleep(&ms, NULL);
        uint64_t now = clock_ns();
        if (now > atomic_load(&s->due) + LATE_NS)
            atomic_store(&s->late_until, now);
        if (look_at_memory(&memory) && now - atomic_exchange(&last_slow, now) < TOGETHER_NS)
            atomic_store(&slow_until, now);
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

bool sleepers_disturbed_since(uint64_t ns)
{
    uint64_t now = clock_ns();
    if (atomic_load(&slow_until) >= ns)
        return true;
    for (int i = 0; i < count; i++) {
        uint64_t due = atomic_load(&sleepers[i].due);
        if (atomic_load(&sleepers[i].late_until) >= ns || (due && now > due + LATE_NS))
            return true;
    }
    return false;
}

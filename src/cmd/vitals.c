/* Samples of the last 1.6 seconds in a ring, and figures from /proc. */
#include "cmd/vitals.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cmd/host.h"
#include "os/env.h"
#include "os/thread.h"

#define SAMPLES 16

struct sample {
    uint64_t at_ns, commands, input, output;
};

/* Written by the thread that ticks; readers may see a rate that mixes two ticks, and nothing worse. */
static struct sample ring[SAMPLES];
static int next, filled;
static _Atomic uint64_t rate_commands, rate_input, rate_output; /* thousandths a second */
static _Atomic uint64_t peak, startup;

static struct os_mutex latest_lock; /* leaf; of the next one */
static struct vitals_figures latest;

static uint64_t resident_bytes(void)
{
    unsigned long long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void host_numbers(struct host_stats *out)
{
    memset(out, 0, sizeof *out);
    if (host_get() != NULL)
        host_get()->ops->stats(out);
}

/* The parts that change quickly; cheap enough for every tick. */
static void measure(struct shard *s, struct vitals_figures *all)
{
    struct vitals_memory *out = &all->memory;
    const struct front_stats *front = &all->front;
    memset(out, 0, sizeof *out);
    front_stats(shard_front(s), &all->front);
    host_numbers(&all->net);
    heap_stats(&out->heap);
    out->mapped = front->memtable_bytes + front->log_ring_bytes + front->engine.mapped_bytes;
    out->used = out->heap.allocated + out->mapped;
    out->rss = resident_bytes();
    out->system = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t evictable = front->engine.cache_bytes - front->engine.cache_fixed;
    if (evictable < front->engine.mapped_bytes)
        evictable = front->engine.mapped_bytes; /* blocks that have gone a moment ago, too */
    evictable += front->memtable_leaving;
    uint64_t real = out->rss && out->rss < out->used ? out->rss : out->used; /* what was allocated is not all touched */
    out->needed = evictable < real ? real - evictable : 0;
    out->clients = all->net.query_buffers + all->net.output_buffers;
    out->startup = atomic_load_explicit(&startup, memory_order_relaxed);
    out->overhead = out->startup + out->clients + front->engine.index_bytes + front->engine.filter_bytes;
    uint64_t old = atomic_load_explicit(&peak, memory_order_relaxed);
    while (out->used > old &&
           !atomic_compare_exchange_weak_explicit(&peak, &old, out->used, memory_order_relaxed, memory_order_relaxed))
        ;
    out->peak = out->used > old ? out->used : old;
}

void vitals_memory(struct shard *s, struct vitals_memory *out)
{
    struct vitals_figures all;
    measure(s, &all);
    *out = all.memory;
}

uint64_t vitals_over_budget(struct shard *s, uint64_t budget)
{
    struct vitals_figures all;
    measure(s, &all);
    return all.memory.needed > budget ? all.memory.needed - budget : 0;
}

void vitals_start(struct shard *s)
{
    struct vitals_figures all;
    os_mutex_init(&latest_lock);
    measure(s, &all);
    atomic_store_explicit(&startup, all.memory.used, memory_order_relaxed);
    vitals_tick(s);
}

static uint64_t per_second(uint64_t now, uint64_t then, uint64_t ns)
{
    return now <= then || ns == 0 ? 0 : (uint64_t)((double)(now - then) * 1e12 / (double)ns);
}

void vitals_tick(struct shard *s)
{
    struct vitals_figures all;
    struct env *env = env_posix();
    measure(s, &all);
    shard_stats(s, &all.exec);
    os_mutex_lock(&latest_lock);
    latest = all;
    os_mutex_unlock(&latest_lock);
    struct sample now = {env->ops->mono_ns(env), all.exec.commands, all.net.input_bytes, all.net.output_bytes};
    const struct sample *oldest = &ring[filled == SAMPLES ? next : 0];
    if (filled != 0) {
        uint64_t ns = now.at_ns - oldest->at_ns;
        atomic_store_explicit(&rate_commands, per_second(now.commands, oldest->commands, ns), memory_order_relaxed);
        atomic_store_explicit(&rate_input, per_second(now.input, oldest->input, ns), memory_order_relaxed);
        atomic_store_explicit(&rate_output, per_second(now.output, oldest->output, ns), memory_order_relaxed);
    }
    ring[next] = now;
    next = (next + 1) % SAMPLES;
    filled += filled < SAMPLES;
}

void vitals_figures(struct vitals_figures *out)
{
    os_mutex_lock(&latest_lock);
    *out = latest;
    os_mutex_unlock(&latest_lock);
}

void vitals_rates(struct vitals_rates *out)
{
    out->commands = (double)atomic_load_explicit(&rate_commands, memory_order_relaxed) / 1000;
    out->input_bytes = (double)atomic_load_explicit(&rate_input, memory_order_relaxed) / 1000;
    out->output_bytes = (double)atomic_load_explicit(&rate_output, memory_order_relaxed) / 1000;
}

static double seconds(const struct timeval *t) { return (double)t->tv_sec + (double)t->tv_usec / 1e6; }

/* Ticks of the main thread, fields 14 and 15 of its stat file; what stands before the last ')' may hold spaces. */
static void main_thread_cpu(struct vitals_cpu *out)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return;
    size_t len = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[len] = 0;
    const char *end = strrchr(text, ')');
    unsigned long long user, system;
    if (end != NULL && sscanf(end + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu", &user, &system) == 2) {
        double hz = (double)sysconf(_SC_CLK_TCK);
        out->main_user = (double)user / hz;
        out->main_system = (double)system / hz;
    }
}

void vitals_cpu(struct vitals_cpu *out)
{
    struct rusage usage;
    memset(out, 0, sizeof *out);
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        out->user = seconds(&usage.ru_utime);
        out->system = seconds(&usage.ru_stime);
    }
    main_thread_cpu(out);
}

/* The clock of commands: see clock.h. */
#include "exec/clock.h"

#include <stdlib.h>

#include "base/log.h"

/* Shorter than a request is on its way: PTTL of a time that a client has just made from its own clock is never above it. */
#define CACHE_NS 20000

enum result clock_init(struct exec_clock *c, struct env *env)
{
    memset(c, 0, sizeof *c);
    c->env = env;
    c->ring = calloc(CLOCK_RING, sizeof *c->ring);
    if (!c->ring)
        return RES_NO_MEMORY;
    atomic_store(&c->latest, env->ops->real_ms(env));
    return RES_OK;
}

void clock_fini(struct exec_clock *c)
{
    free(c->ring);
    c->ring = NULL;
}

/* `latest` is loaded before the wall clock is read, so a reading below it means that the wall clock went back. */
static uint64_t look(struct exec_clock *c)
{
    uint64_t latest = atomic_load(&c->latest);
    uint64_t real = c->env->ops->real_ms(c->env);
    if (real < latest && latest - real >= CLOCK_HOLD_MS && atomic_compare_exchange_strong(&c->latest, &latest, real))
        log_warning("the system's clock went back by %llu ms; following it", (unsigned long long)(latest - real));
    return real;
}

static inline uint64_t publish(struct exec_clock *c, uint64_t real)
{
    uint64_t latest = atomic_load(&c->latest);
    while (real > latest)
        if (atomic_compare_exchange_weak(&c->latest, &latest, real))
            return real;
    return latest;
}

uint64_t clock_now(struct exec_clock *c, struct clock_cache *cache, uint64_t mono_ns)
{
    if (mono_ns - cache->at_ns >= CACHE_NS) { /* also where it ran backwards */
        cache->real_ms = look(c);
        cache->at_ns = mono_ns;
    }
    return publish(c, cache->real_ms);
}

uint64_t clock_fresh(struct exec_clock *c) { return publish(c, look(c)); }

uint64_t clock_write_begin(struct exec_clock *c, struct clock_cache *cache, uint64_t mono_ns)
{
    /* From here on no reader may take a time that this write has not reached: publish a bound first, then look. When
     * `latest` moved in between, some reader may have used it without seeing the bound: take that one. */
    uint64_t bound = atomic_load(&c->latest);
    for (;;) {
        atomic_store(&c->running, bound);
        uint64_t again = atomic_load(&c->latest);
        if (again == bound)
            break;
        bound = again;
    }
    uint64_t now = clock_now(c, cache, mono_ns);
    atomic_store_explicit(&c->running, now, memory_order_release);
    return now;
}

void clock_commit(struct exec_clock *c, uint64_t sequence, uint64_t now_ms, uint64_t gate)
{
    uint64_t head = atomic_load_explicit(&c->head, memory_order_relaxed);
    if (head) {
        const struct clock_entry *last = &c->ring[(head - 1) % CLOCK_RING];
        if (atomic_load_explicit(&last->now, memory_order_relaxed) == now_ms)
            return;
    }
    if (head - c->tail == CLOCK_RING) {
        /* An entry is not needed any more when the one behind it starts at or below the gate. */
        while (c->tail + 1 < head &&
               atomic_load_explicit(&c->ring[(c->tail + 1) % CLOCK_RING].first, memory_order_relaxed) <= gate)
            c->tail++;
        if (head - c->tail == CLOCK_RING)
            return;
    }
    struct clock_entry *e = &c->ring[head % CLOCK_RING];
    atomic_store_explicit(&e->first, sequence, memory_order_relaxed);
    atomic_store_explicit(&e->now, now_ms, memory_order_relaxed);
    atomic_store_explicit(&c->head, head + 1, memory_order_release);
}

uint64_t clock_above(const struct exec_clock *c, uint64_t snapshot)
{
    uint64_t head = atomic_load_explicit(&c->head, memory_order_acquire), least = UINT64_MAX;
    for (uint64_t i = head; i > 0 && head - i < CLOCK_RING; i--) {
        const struct clock_entry *e = &c->ring[(i - 1) % CLOCK_RING];
        uint64_t now = atomic_load_explicit(&e->now, memory_order_relaxed);
        if (now < least)
            least = now;
        if (atomic_load_explicit(&e->first, memory_order_relaxed) <= snapshot + 1)
            break;
    }
    return least;
}

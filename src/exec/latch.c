/* The write latch: see latch.h. */
#include "exec/latch.h"

#include <assert.h>

static _Thread_local bool held_here;

bool latch_held_here(void) { return held_here; }

void latch_init(struct latch *l, struct env *env)
{
    memset(l, 0, sizeof *l);
    l->env = env;
    os_mutex_init(&l->lock);
}

void latch_fini(struct latch *l)
{
    assert(!atomic_load(&l->held) && !atomic_load(&l->queued));
    os_mutex_fini(&l->lock);
}

/* The list is ordered by the time of first parking; a waiter that was told and came too late goes back to its place. */
static void queue_insert(struct latch *l, struct latch_waiter *w) REQUIRES(l->lock)
{
    struct latch_waiter *after = l->last;
    while (after && after->since_ns > w->since_ns)
        after = after->prev;
    w->prev = after;
    w->next = after ? after->next : l->first;
    if (w->prev)
        w->prev->next = w;
    else
        l->first = w;
    if (w->next)
        w->next->prev = w;
    else
        l->last = w;
    w->queued = true;
    atomic_fetch_add(&l->queued, 1);
}

static void queue_remove(struct latch *l, struct latch_waiter *w) REQUIRES(l->lock)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        l->first = w->next;
    if (w->next)
        w->next->prev = w->prev;
    else
        l->last = w->prev;
    w->prev = w->next = NULL;
    w->queued = false;
    atomic_fetch_sub(&l->queued, 1);
}

/* Tells the first waiter that the latch is free; while somebody has a claim, him, for nobody else can take it. If he is
 * not in the queue, he has been told and will try, or give up. */
static void tell(struct latch *l, uint64_t now_ns)
{
    os_mutex_lock(&l->lock);
    struct latch_waiter *w = atomic_load(&l->claim);
    if (!w)
        w = l->first;
    if (w && w->queued) {
        queue_remove(l, w);
        if (now_ns > w->since_ns && now_ns - w->since_ns >= LATCH_CLAIM_NS && !atomic_load(&l->claim))
            atomic_store(&l->claim, w);
        atomic_store(&w->told, true);
        w->wake(w);
    }
    os_mutex_unlock(&l->lock);
}

/* w took the latch or wants it no more. */
static void forget(struct latch *l, struct latch_waiter *w)
{
    os_mutex_lock(&l->lock);
    if (w->queued)
        queue_remove(l, w);
    atomic_store(&w->told, false);
    if (atomic_load(&l->claim) == w)
        atomic_store(&l->claim, NULL);
    w->since_ns = 0;
    os_mutex_unlock(&l->lock);
}

bool latch_try(struct latch *l, struct latch_waiter *w, uint64_t now_ns)
{
    sched_point(SCHED_LATCH);
    struct latch_waiter *claim = atomic_load_explicit(&l->claim, memory_order_relaxed);
    if (claim && claim != w)
        return false;
    uint32_t free = 0;
    if (atomic_load_explicit(&l->held, memory_order_relaxed) || !atomic_compare_exchange_strong(&l->held, &free, 1))
        return false;
    assert(!held_here); /* one at a time */
    held_here = true;
    l->taken_ns = now_ns;
    l->taken_cpu_ns = unlikely(atomic_load_explicit(&l->cpu_clock, memory_order_relaxed)) ? os_thread_cpu_ns() : 0;
    if (unlikely(w->since_ns))
        forget(l, w);
    return true;
}

bool latch_spin(struct latch *l, struct latch_waiter *w, uint64_t now_ns)
{
    if (latch_try(l, w, now_ns))
        return true;
    for (int round = 0; round < 64; round++) { /* bounded also where a test's clock stands still */
        for (int i = 0; i < 8; i++) {
            os_pause();
            if (!atomic_load_explicit(&l->held, memory_order_relaxed))
                break;
        }
        uint64_t now = l->env->ops->mono_ns(l->env);
        if (latch_try(l, w, now))
            return true;
        if (now - now_ns >= LATCH_SPIN_NS)
            return false;
    }
    return false;
}

bool latch_park(struct latch *l, struct latch_waiter *w, uint64_t now_ns)
{
    os_mutex_lock(&l->lock);
    if (!w->since_ns)
        w->since_ns = now_ns ? now_ns : 1;
    atomic_store(&w->told, false);
    if (!w->queued)
        queue_insert(l, w);
    os_mutex_unlock(&l->lock);
    if (latch_try(l, w, now_ns))
        return true;
    atomic_fetch_add_explicit(&l->parks, 1, memory_order_relaxed);
    return false;
}

void latch_give_up(struct latch *l, struct latch_waiter *w)
{
    if (!w->since_ns)
        return;
    forget(l, w);
    if (!atomic_load(&l->held) && atomic_load(&l->queued))
        tell(l, l->env->ops->mono_ns(l->env));
}

uint64_t latch_release(struct latch *l, uint64_t now_ns)
{
    assert(held_here);
    uint64_t held = now_ns > l->taken_ns ? now_ns - l->taken_ns : 0;
    __atomic_store_n(&l->takes, l->takes + 1, __ATOMIC_RELAXED);
    uint64_t counted = likely(!l->taken_cpu_ns) ? held : os_thread_cpu_ns() - l->taken_cpu_ns;
    __atomic_store_n(&l->held_ns, l->held_ns + counted, __ATOMIC_RELAXED);
    if (counted > l->held_max_ns)
        __atomic_store_n(&l->held_max_ns, counted, __ATOMIC_RELAXED);
    if (counted > LATCH_LONG_NS)
        __atomic_store_n(&l->over_1ms, l->over_1ms + 1, __ATOMIC_RELAXED);
    held_here = false;
    atomic_store(&l->held, 0);
    if (unlikely(atomic_load(&l->queued)))
        tell(l, now_ns);
    sched_point(SCHED_LATCH);
    return held;
}

/* ---- for threads that may wait ---- */

struct sleeper {
    struct latch_waiter waiter;
    struct os_mutex lock;
    struct os_cond cond;
    bool woken;
};

static void sleeper_wake(struct latch_waiter *w)
{
    struct sleeper *s = (struct sleeper *)w;
    os_mutex_lock(&s->lock);
    s->woken = true;
    os_cond_signal(&s->cond);
    os_mutex_unlock(&s->lock);
}

void latch_lock(struct latch *l)
{
    assert(!held_here);
    struct sleeper s = {.waiter = {.wake = sleeper_wake}};
    if (latch_spin(l, &s.waiter, l->env->ops->mono_ns(l->env)))
        return;
    os_mutex_init(&s.lock);
    os_cond_init(&s.cond);
    while (!latch_park(l, &s.waiter, l->env->ops->mono_ns(l->env))) {
        os_mutex_lock(&s.lock);
        while (!s.woken)
            os_cond_wait(&s.cond, &s.lock);
        s.woken = false;
        os_mutex_unlock(&s.lock);
    }
    /* forget() took the list's lock after any wake(), so nobody is inside sleeper_wake() any more. */
    os_cond_fini(&s.cond);
    os_mutex_fini(&s.lock);
}

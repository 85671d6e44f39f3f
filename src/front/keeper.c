/* The keeper: a thread that has memory ready before the latch holder needs it. It makes the spare memtable, touches the
 * pages of the active one ahead of its writer (a huge page faulted in under the latch costs 100 µs), reuses or frees
 * memtables that nobody refers to any more, and runs epoch destructors that are due. */
#include <stdlib.h>

#include "base/heap.h"
#include "base/log.h"
#include "front/internal.h"

#define AHEAD ((uint64_t)8 << 20)
#define POLL_NS 50000000 /* while old views wait for their readers */
#define PACE_NS 1000000  /* while writers are paced */
#define LOW_NS 200000000 /* while the disk is full */
#define RETURN_NS 200000 /* while a memtable is about to come back that a writer waits for */
#define PUT_OFF_MOST 20  /* such turns at most */

void front_wake_keeper(struct front *f)
{
    os_mutex_lock(&f->keep_lock);
    f->keeper_woken = true;
    os_cond_signal(&f->keep_wake);
    os_mutex_unlock(&f->keep_lock);
}

static struct front_source *take_dead(struct front *f)
{
    os_mutex_lock(&f->keep_lock);
    struct front_source *s = f->dead;
    if (s) {
        f->dead = s->next;
        atomic_fetch_sub(&f->dead_count, 1);
    }
    os_mutex_unlock(&f->keep_lock);
    return s;
}

static void let_go(struct front *f, struct memtable *m)
{
    memtable_free(m);
    f->living--;
}

static struct front_source *get_memtable(struct front *f)
{
    struct front_source *dead = take_dead(f);
    struct memtable *m = NULL;
    uint64_t bytes = front_memtable_bytes(f);
    if (dead) {
        m = dead->memtable;
        free(dead);
        if (m->full_at == bytes) {
            memtable_reset(m);
        } else {
            let_go(f, m);
            m = NULL;
        }
    }
    if (!m && (m = memtable_new(bytes, MEMTABLE_ROOM)) != NULL)
        f->living++;
    struct front_source *s = m ? source_new(f, m) : NULL;
    if (!s && m)
        let_go(f, m);
    return s;
}

/* Returns how much of it is used, and how many are active or sealed. */
static uint64_t touch_active(struct front *f, int *count)
{
    os_mutex_lock(&f->view_lock);
    struct front_source *s = f->sources[0];
    *count = f->memtable_count;
    atomic_fetch_add(&s->refs, 1);
    os_mutex_unlock(&f->view_lock);
    while (memtable_populate(s->memtable, AHEAD))
        front_tell_space(f);
    uint64_t used = memtable_used(s->memtable);
    source_unref(s);
    return used;
}

/* Beside as many as there may be, a spare is of no use: a writer has to wait for the flusher, who brings one back. And a
 * large memtable that the flusher is about to give back will do as the next spare, unless the active one is filled
 * before: so much less memory is in use. Somebody may need one at once, though. */
static bool spare_due(struct front *f, uint64_t used, int count)
{
    uint64_t bytes = front_memtable_bytes(f);
    return !atomic_load(&f->spare) && count < f->o.memtables_max &&
           (bytes < MEMTABLE_LARGE || atomic_load(&f->dead_count) > 0 || atomic_load(&f->spare_wanted) ||
            used >= bytes / 4 * 3);
}

/* One has been flushed and readers are about to leave it, most often in less than a millisecond; unless one of them stays. */
static bool comes_back(struct front *f)
{
    return front_memtable_bytes(f) >= MEMTABLE_LARGE && f->living >= f->o.memtables_max &&
           atomic_load(&f->dead_count) == 0 && ++f->put_off <= PUT_OFF_MOST;
}

/* The active memtable's pages come first all along. False: no memory. */
static bool make_spare(struct front *f)
{
    int count;
    atomic_store(&f->spare_wanted, false);
    f->put_off = 0;
    struct front_source *s = get_memtable(f);
    if (!s) {
        log_warning("no memory for another memtable: writes wait");
        return false;
    }
    while (memtable_populate(s->memtable, AHEAD))
        touch_active(f, &count);
    atomic_store(&f->spare, s);
    return true;
}

/* A large one stays ready, without the memory of its order; of small ones none. */
static void tidy_dead(struct front *f)
{
    int kept = front_memtable_bytes(f) >= MEMTABLE_LARGE;
    while (atomic_load(&f->dead_count) > kept) {
        struct front_source *s = take_dead(f);
        if (s) {
            let_go(f, s->memtable);
            free(s);
        }
    }
    os_mutex_lock(&f->keep_lock);
    for (struct front_source *s = f->dead; s; s = s->next)
        memtable_runs_free(s->memtable);
    os_mutex_unlock(&f->keep_lock);
}

/* When to look again for what is left to do; 0: nothing is. */
static uint64_t keep(struct front *f)
{
    int count;
    uint64_t used = touch_active(f, &count), again = 0;
    if (spare_due(f, used, count)) {
        if (comes_back(f))
            again = atomic_load(&f->spare_wanted) ? RETURN_NS : 0;
        else
            again = make_spare(f) ? 0 : POLL_NS;
    }
    tidy_dead(f);
    if (atomic_exchange(&f->view_aged, false))
        view_engine_changed(f);
    epoch_poll();
    return again;
}

void front_keep_thread(void *front)
{
    struct front *f = front;
    heap_share();
    os_mutex_lock(&f->keep_lock);
    while (!f->stop) {
        f->keeper_woken = false;
        os_mutex_unlock(&f->keep_lock);
        uint64_t again = keep(f);
        bool pacing = front_pace_update(f), low = front_keep_reserve(f);
        if (!again) /* behind the rate's change: who waited for it shall not wait until the next turn */
            front_tell_space(f);
        os_mutex_lock(&f->keep_lock);
        if (f->stop || f->keeper_woken)
            continue;
        if (pacing)
            os_cond_wait_for(&f->keep_wake, &f->keep_lock, again && again < PACE_NS ? again : PACE_NS);
        else if (low)
            os_cond_wait_for(&f->keep_wake, &f->keep_lock, LOW_NS);
        else if (again || atomic_load(&f->views) > 1)
            os_cond_wait_for(&f->keep_wake, &f->keep_lock, again ? again : POLL_NS);
        else
            os_cond_wait(&f->keep_wake, &f->keep_lock);
    }
    os_mutex_unlock(&f->keep_lock);
}

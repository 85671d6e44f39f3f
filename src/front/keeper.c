/* The keeper: a thread that has memory ready before the latch holder needs it. It makes the spare memtable, touches the
 * pages of the active one ahead of its writer (a huge page faulted in under the latch costs 100 µs), reuses or frees
 * memtables that nobody refers to any more, and runs epoch destructors that are due. */
#include <stdlib.h>

#include "base/log.h"
#include "front/internal.h"

#define AHEAD ((uint64_t)8 << 20)
#define POLL_NS 50000000 /* while old views wait for their readers */
#define PACE_NS 1000000  /* while writers are paced */
#define LOW_NS 200000000 /* while the disk is full */

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

struct front_source *front_make_spare(struct front *f)
{
    struct front_source *dead = take_dead(f);
    struct memtable *m = NULL;
    if (dead) {
        m = dead->memtable;
        free(dead);
        memtable_reset(m);
    } else {
        m = memtable_new(f->o.memtable_bytes, MEMTABLE_ROOM);
    }
    struct front_source *s = m ? source_new(f, m) : NULL;
    if (!s)
        memtable_free(m);
    return s;
}

static void touch_active(struct front *f)
{
    os_mutex_lock(&f->view_lock);
    struct front_source *s = f->sources[0];
    atomic_fetch_add(&s->refs, 1);
    os_mutex_unlock(&f->view_lock);
    memtable_populate(s->memtable, AHEAD);
    source_unref(s);
}

static void keep(struct front *f)
{
    if (!atomic_load(&f->spare)) {
        struct front_source *s = front_make_spare(f);
        if (s) {
            memtable_populate(s->memtable, AHEAD);
            atomic_store(&f->spare, s);
        } else {
            log_warning("no memory for another memtable: writes wait");
        }
    }
    touch_active(f);
    while (atomic_load(&f->dead_count) > 1) {
        struct front_source *s = take_dead(f);
        if (s) {
            memtable_free(s->memtable);
            free(s);
        }
    }
    if (atomic_exchange(&f->view_aged, false))
        view_engine_changed(f);
    epoch_poll();
    if (atomic_load(&f->spare))
        front_tell_space(f);
}

void front_keep_thread(void *front)
{
    struct front *f = front;
    os_mutex_lock(&f->keep_lock);
    while (!f->stop) {
        f->keeper_woken = false;
        os_mutex_unlock(&f->keep_lock);
        keep(f);
        bool pacing = front_pace_update(f), low = front_keep_reserve(f);
        os_mutex_lock(&f->keep_lock);
        if (f->stop || f->keeper_woken)
            continue;
        if (pacing)
            os_cond_wait_for(&f->keep_wake, &f->keep_lock, PACE_NS);
        else if (low)
            os_cond_wait_for(&f->keep_wake, &f->keep_lock, LOW_NS);
        else if (atomic_load(&f->views) > 1 || !atomic_load(&f->spare))
            os_cond_wait_for(&f->keep_wake, &f->keep_lock, POLL_NS);
        else
            os_cond_wait(&f->keep_wake, &f->keep_lock);
    }
    os_mutex_unlock(&f->keep_lock);
}

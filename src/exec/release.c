/* What the front tells: the gate moved, there is log space again, the log failed.
 *
 * A reactor holds replies back until the gate has passed them. Waking costs a system call, so only who sleeps is woken:
 *
 *   worker:  waiting_floor = lowest floor held back   |   front:  gate = new
 *            (full barrier)                           |           (full barrier)
 *            looks at the gate once more, sleeps      |           waiting_floor <= gate?  take it away, wake
 *
 * One of the two sees the other. Taking it away by exchange means one wake per waiting floor. */
#include "base/epoch.h"
#include "base/log.h"
#include "exec/internal.h"

void exec_set_waiting_floor(struct exec_worker *w, uint64_t floor)
{
    atomic_store(&w->waiting_floor, floor);
    atomic_thread_fence(memory_order_seq_cst);
}

/* A worker that is being freed is unlinked first and then waits for the sections. */
void release_gate(void *arg, uint64_t gate)
{
    struct shard *s = arg;
    atomic_thread_fence(memory_order_seq_cst);
    sched_point(SCHED_GATE);
    epoch_enter();
    for (int i = 0; i < atomic_load(&s->workers_high); i++) {
        struct exec_worker *w = atomic_load(&s->workers[i]);
        if (!w)
            continue;
        uint64_t floor = atomic_load(&w->waiting_floor);
        if (floor <= gate && atomic_compare_exchange_strong(&w->waiting_floor, &floor, UINT64_MAX))
            w->options.wake(w->options.arg);
    }
    epoch_leave();
}

void workers_wake(struct shard *s, unsigned reason)
{
    epoch_enter();
    for (int i = 0; i < atomic_load(&s->workers_high); i++) {
        struct exec_worker *w = atomic_load(&s->workers[i]);
        if (w && atomic_fetch_and(&w->parked, ~reason) & reason)
            w->options.wake(w->options.arg);
    }
    epoch_leave();
}

static void moved(struct shard *s, uint64_t *counter)
{
    os_mutex_lock(&s->lock);
    (*counter)++;
    os_cond_broadcast(&s->moved);
    os_mutex_unlock(&s->lock);
}

void release_space(void *arg)
{
    struct shard *s = arg;
    moved(s, &s->space_turns);
    workers_wake(s, PARK_SPACE);
}

void release_held(struct shard *s)
{
    moved(s, &s->held_turns);
    workers_wake(s, PARK_HELD);
}

void release_failure(void *arg, enum result why, const char *sentence)
{
    struct shard *s = arg;
    log_warning("%s; nothing more is written, and replies that were waiting for it fail", sentence);
    atomic_fetch_or(&s->restricted, RESTRICT_FROZEN);
    os_mutex_lock(&s->lock); /* the log's threads run before anybody has set the hooks */
    struct shard_hooks hooks = s->hooks;
    s->log_failed = true;
    s->log_failed_why = why;
    os_mutex_unlock(&s->lock);
    if (hooks.failure)
        hooks.failure(hooks.arg, why, sentence);
    os_mutex_lock(&s->lock);
    s->space_turns++;
    s->held_turns++;
    os_cond_broadcast(&s->moved);
    os_mutex_unlock(&s->lock);
    epoch_enter();
    for (int i = 0; i < atomic_load(&s->workers_high); i++) {
        struct exec_worker *w = atomic_load(&s->workers[i]);
        if (w) {
            atomic_store(&w->parked, 0);
            atomic_store(&w->waiting_floor, UINT64_MAX);
            w->options.wake(w->options.arg);
        }
    }
    epoch_leave();
}

uint64_t moved_turn(struct shard *s, const uint64_t *counter)
{
    os_mutex_lock(&s->lock);
    uint64_t turn = *counter;
    os_mutex_unlock(&s->lock);
    return turn;
}

enum result wait_moved(struct shard *s, const uint64_t *counter, uint64_t turn)
{
    assert(!latch_held_here());
    os_mutex_lock(&s->lock);
    while (*counter == turn && !(atomic_load(&s->restricted) & RESTRICT_FROZEN))
        os_cond_wait(&s->moved, &s->lock);
    os_mutex_unlock(&s->lock);
    return atomic_load(&s->restricted) & RESTRICT_FROZEN ? RES_READ_ONLY : RES_OK;
}

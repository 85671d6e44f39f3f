/* The deterministic scheduler.
 *
 * 1. Exactly one task has the turn; only it touches the run, under `lock`, which is therefore never contended for long.
 * 2. A task gives the turn away in hand_over() and nowhere else.
 * 3. Every choice draws from run->random, and nothing else does: no address, clock or thread id enters a choice.
 *
 * How a run chooses is itself drawn from the seed: different bugs want different schedules. A random walk that changes
 * at every point finds races of few steps; one that rarely changes reaches deep states; strict priorities with few
 * drops find what needs one thread to be starved at the right moment (S. Burckhardt et al., "A randomized scheduler with
 * probabilistic guarantees of finding bugs", 2010). */
#include "os/sched.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/epoch.h"
#include "base/hash.h"

#define MAX_TASKS 256

enum task_state { TASK_RUNNABLE, TASK_BLOCKED, TASK_ENDED };

struct task {
    struct run *run;
    unsigned index;
    char name[16];
    enum task_state state;
    bool turn;
    pthread_cond_t cond; /* for `turn` */
    /* While blocked: */
    enum sched_point where;
    const void *what;
    uint64_t deadline; /* SCHED_FOREVER: none */
    bool woken;        /* how the block ended */
    uint64_t priority;
};

struct run {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished, stuck;
    struct task *tasks[MAX_TASKS];
    unsigned count;
    uint64_t random, now, steps, max_steps, trace;
    bool priorities; /* the strategy: strict priorities, */
    unsigned stay;   /* or at a point go on unless 1 in `stay` says otherwise */
    uint64_t lowest; /* priority given next to one that drops */
    void (*main)(void *arg);
    void *arg;
};

static _Thread_local struct task *self;
static struct run *the_run;

static const char *const point_names[] = {
#define POINT_NAME(name) #name,
    SCHED_POINTS(POINT_NAME)
#undef POINT_NAME
};

static uint64_t draw(struct run *run, uint64_t n)
{
    run->random += 0x9e3779b97f4a7c15u;
    return hash_mix(run->random) % n;
}

/* ---- choosing ------------------------------------------------------------------------------------------------- */

static void unblock(struct task *t, bool woken)
{
    t->state = TASK_RUNNABLE;
    t->woken = woken;
}

static struct task *earliest(const struct run *run)
{
    struct task *best = NULL;
    for (unsigned i = 0; i < run->count; i++) {
        struct task *t = run->tasks[i];
        if (t->state == TASK_BLOCKED && t->deadline != SCHED_FOREVER && (!best || t->deadline < best->deadline))
            best = t;
    }
    return best;
}

static void time_out(struct run *run, struct task *t)
{
    if (t->deadline > run->now)
        run->now = t->deadline;
    unblock(t, false);
}

/* A slow machine: a timeout passes, or a wait ends for no reason, although others could run. */
static void disturb(struct run *run)
{
    struct task *t;

    if (draw(run, 256) == 0 && (t = earliest(run)) != NULL)
        time_out(run, t);
    if (draw(run, 256) == 0) {
        t = run->tasks[draw(run, run->count)];
        if (t->state == TASK_BLOCKED && t->what)
            unblock(t, true);
    }
    while ((t = earliest(run)) != NULL && t->deadline <= run->now)
        unblock(t, false);
}

static struct task *choose(struct run *run, struct task *current, bool yield)
{
    struct task *can[MAX_TASKS], *best;
    unsigned n = 0;

    disturb(run);
    for (unsigned i = 0; i < run->count; i++)
        if (run->tasks[i]->state == TASK_RUNNABLE)
            can[n++] = run->tasks[i];
    if (n == 0) {
        best = earliest(run);
        if (best)
            time_out(run, best);
        return best;
    }
    if (run->priorities) {
        if (yield || draw(run, 64) == 0)
            current->priority = run->lowest--;
        best = can[0];
        for (unsigned i = 1; i < n; i++)
            if (can[i]->priority > best->priority)
                best = can[i];
        return best;
    }
    if (current->state == TASK_RUNNABLE && !yield && draw(run, run->stay) != 0)
        return current;
    if (yield && n > 1) /* who spins waits for somebody else */
        for (unsigned i = 0; i < n; i++)
            if (can[i] == current) {
                can[i] = can[--n];
                break;
            }
    best = can[draw(run, n)];
    return best;
}

/* ---- handing over --------------------------------------------------------------------------------------------- */

static void finish(struct run *run, bool stuck)
{
    run->stuck = stuck;
    run->finished = true;
    pthread_cond_signal(&run->done);
}

/* Never returns: what a stuck run left behind must not go on. */
static void stay_forever(struct run *run)
{
    for (;;)
        pthread_cond_wait(&self->cond, &run->lock);
}

/* Under the lock. Gives the turn to somebody, perhaps to the caller, and returns when the caller has it again (never to
 * one that has ended). */
static void hand_over(struct run *run, bool yield)
{
    struct task *next;
    bool all_ended = true;

    run->now += 20 + draw(run, 200);
    if (++run->steps > run->max_steps) {
        finish(run, true);
        stay_forever(run);
    }
    next = choose(run, self, yield);
    if (!next) {
        for (unsigned i = 0; i < run->count; i++)
            all_ended &= run->tasks[i]->state == TASK_ENDED;
        finish(run, !all_ended);
        if (self->state != TASK_ENDED)
            stay_forever(run);
        return;
    }
    run->trace = hash_mix(run->trace ^ (run->steps << 8 | next->index));
    if (next == self)
        return;
    self->turn = false;
    next->turn = true;
    pthread_cond_signal(&next->cond);
    while (self->state != TASK_ENDED && !self->turn)
        pthread_cond_wait(&self->cond, &run->lock);
}

/* ---- the hooks ------------------------------------------------------------------------------------------------ */

static void hook_point(enum sched_point where)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->run->lock);
    hand_over(self->run, where == SCHED_SLEEP);
    pthread_mutex_unlock(&self->run->lock);
}

static bool hook_block(enum sched_point where, const void *what, uint64_t timeout_ns)
{
    assert(self); /* only threads of the run may wait while it runs */
    struct run *run = self->run;
    pthread_mutex_lock(&run->lock);
    self->state = TASK_BLOCKED;
    self->where = where;
    self->what = what;
    self->deadline = timeout_ns < SCHED_FOREVER - run->now ? run->now + timeout_ns : SCHED_FOREVER;
    hand_over(run, false);
    bool woken = self->woken;
    pthread_mutex_unlock(&run->lock);
    return woken;
}

static void hook_wake(const void *what, bool all)
{
    struct run *run = the_run;
    struct task *waiting[MAX_TASKS];
    unsigned n = 0;

    pthread_mutex_lock(&run->lock);
    for (unsigned i = 0; i < run->count; i++)
        if (run->tasks[i]->state == TASK_BLOCKED && run->tasks[i]->what == what)
            waiting[n++] = run->tasks[i];
    if (!all && n > 1) {
        waiting[0] = waiting[draw(run, n)];
        n = 1;
    }
    for (unsigned i = 0; i < n; i++)
        unblock(waiting[i], true);
    pthread_mutex_unlock(&run->lock);
}

static struct task *task_new(struct run *run, const char *name)
{
    struct task *t = calloc(1, sizeof *t);
    assert(t && run->count < MAX_TASKS);
    t->run = run;
    t->index = run->count;
    snprintf(t->name, sizeof t->name, "%s", name);
    pthread_cond_init(&t->cond, NULL);
    t->priority = ((uint64_t)1 << 62) + draw(run, (uint64_t)1 << 60);
    run->tasks[run->count++] = t;
    return t;
}

/* The new task is runnable from now on, though its thread may not exist yet: whoever hands over to it waits. */
static void *hook_spawn(const char *name)
{
    struct run *run = the_run;
    assert(self);
    pthread_mutex_lock(&run->lock);
    struct task *t = task_new(run, name);
    pthread_mutex_unlock(&run->lock);
    return t;
}

static void hook_started(void *ticket)
{
    struct task *t = ticket;
    self = t;
    pthread_mutex_lock(&t->run->lock);
    while (!t->turn)
        pthread_cond_wait(&t->cond, &t->run->lock);
    pthread_mutex_unlock(&t->run->lock);
}

static void hook_ended(void)
{
    struct run *run = self->run;
    pthread_mutex_lock(&run->lock);
    self->state = TASK_ENDED;
    for (unsigned i = 0; i < run->count; i++)
        if (run->tasks[i]->state == TASK_BLOCKED && run->tasks[i]->what == self)
            unblock(run->tasks[i], true);
    hand_over(run, false);
    self = NULL;
    pthread_mutex_unlock(&run->lock);
}

static void hook_join(void *ticket)
{
    struct task *t = ticket;
    for (;;) {
        pthread_mutex_lock(&t->run->lock);
        bool ended = t->state == TASK_ENDED;
        pthread_mutex_unlock(&t->run->lock);
        if (ended)
            return;
        hook_block(SCHED_SLEEP, t, SCHED_FOREVER);
    }
}

static void idle(void) { hook_point(SCHED_SLEEP); }

/* ---- a run ---------------------------------------------------------------------------------------------------- */

static void *main_task(void *arg)
{
    struct task *t = arg;
    hook_started(t);
    t->run->main(t->run->arg);
    hook_ended();
    return NULL;
}

static void describe(const struct run *run, char *out, size_t room)
{
    size_t n = 0;
    out[0] = 0;
    if (run->steps > run->max_steps)
        n += (size_t)snprintf(out, room, "no end after %llu steps; ", (unsigned long long)run->max_steps);
    for (unsigned i = 0; i < run->count && n < room; i++) {
        const struct task *t = run->tasks[i];
        if (t->state == TASK_ENDED)
            continue;
        if (t->state == TASK_RUNNABLE)
            n += (size_t)snprintf(out + n, room - n, "%s (%u) can run; ", t->name, t->index);
        else
            n += (size_t)snprintf(out + n, room - n, "%s (%u) waits at %s for %p; ", t->name, t->index,
                                  point_names[t->where], t->what);
    }
}

void sched_run(uint64_t seed, uint64_t max_steps, void (*main)(void *arg), void *arg, struct sched_report *out)
{
    static const struct sched_hooks hooks = {hook_point,   hook_block, hook_wake, hook_spawn,
                                             hook_started, hook_ended, hook_join};
    struct run *run = calloc(1, sizeof *run);
    pthread_t thread;

    assert(run && !sched_hooks);
    pthread_mutex_init(&run->lock, NULL);
    pthread_cond_init(&run->done, NULL);
    run->random = hash_mix(seed + 1);
    run->max_steps = max_steps ? max_steps : 10000000;
    run->main = main;
    run->arg = arg;
    run->lowest = (uint64_t)1 << 61;
    uint64_t strategy = draw(run, 4);
    run->priorities = strategy == 3;
    run->stay = strategy == 0 ? 1 : strategy == 1 ? 6 : 30;
    the_run = run;
    sched_hooks = &hooks;
    epoch_idle = idle;

    struct task *first = task_new(run, "main");
    first->turn = true;
    int rc = pthread_create(&thread, NULL, main_task, first);
    assert(rc == 0);
    (void)rc;
    pthread_mutex_lock(&run->lock);
    while (!run->finished)
        pthread_cond_wait(&run->done, &run->lock);
    *out = (struct sched_report){.stuck = run->stuck, .steps = run->steps, .now_ns = run->now, .trace = run->trace};
    if (run->stuck)
        describe(run, out->text, sizeof out->text);
    pthread_mutex_unlock(&run->lock);

    sched_hooks = NULL;
    epoch_idle = NULL;
    if (run->stuck)
        return; /* its threads are still there */
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < run->count; i++) {
        pthread_cond_destroy(&run->tasks[i]->cond);
        free(run->tasks[i]);
    }
    pthread_cond_destroy(&run->done);
    pthread_mutex_destroy(&run->lock);
    free(run);
    the_run = NULL;
}

uint64_t sched_now(void)
{
    /* Only the turn's holder changes it. */
    return self ? self->run->now : 0;
}

uint64_t sched_choose(uint64_t n)
{
    assert(self && n);
    pthread_mutex_lock(&self->run->lock);
    uint64_t v = draw(self->run, n);
    pthread_mutex_unlock(&self->run->lock);
    return v;
}

/* The shard: opening and closing it, its workers, its limits. See shard.h for what it is. */
#include "exec/shard.h"

#include <stdlib.h>

#include "base/epoch.h"
#include "exec/internal.h"

/* ---- life ---- */

static enum result front_start(struct shard *s, const struct shard_options *options, struct errmsg *msg)
{
    struct front_options f = options->front;
    f.on_gate = release_gate;
    f.on_space = release_space;
    f.on_failure = release_failure;
    f.arg = s;
    return front_open(&f, &s->front, msg);
}

static void shard_free(struct shard *s)
{
    while (s->free_runs) {
        struct run *r = s->free_runs;
        s->free_runs = r->next;
        run_fini(r);
        free(r);
    }
    waits_fini(s);
    watches_fini(s);
    stats_free_all(s);
    effects_fini(s);
    slowlog_fini(s);
    latency_fini(s);
    clock_fini(&s->clock);
    touched_fini(&s->touched);
    latch_fini(&s->latch);
    os_cond_fini(&s->moved);
    os_mutex_fini(&s->lock);
    free(s);
}

static struct shard *shard_new(const struct shard_options *options)
{
    struct shard *s = aligned_alloc(64, (sizeof *s + 63) / 64 * 64);
    if (!s)
        return NULL;
    memset(s, 0, sizeof *s);
    s->env = options->front.env;
    s->command_count = options->command_count;
    s->batch_limit = options->batch_limit ? options->batch_limit : BATCH_LIMIT;
    s->max_workers = options->max_workers ? options->max_workers : WORKERS_MAX;
    assert(s->max_workers <= WORKERS_MAX);
    atomic_store(&s->slowlog_us, -1);
    atomic_store(&s->slowlog_max, 128);
    os_mutex_init(&s->lock);
    os_cond_init(&s->moved);
    latch_init(&s->latch, s->env);
    slowlog_init(s);
    latency_init(s);
    effects_init(s);
    if (watches_init(s) != RES_OK || waits_init(s) != RES_OK || clock_init(&s->clock, s->env) != RES_OK ||
        touched_init(&s->touched, options->touched_bytes) != RES_OK) {
        shard_free(s);
        return NULL;
    }
    return s;
}

enum result shard_open(const struct shard_options *options, struct shard **out, struct errmsg *msg)
{
    *out = NULL;
    struct shard *s = shard_new(options);
    if (!s)
        return errmsg_set(msg, RES_NO_MEMORY, "not enough memory to start");
    enum result res = front_start(s, options, msg);
    if (res != RES_OK) {
        shard_free(s);
        return res;
    }
    res = pool_open(s, options->pool_threads ? options->pool_threads : POOL_THREADS);
    if (res != RES_OK) {
        errmsg_set(msg, res, "cannot start the threads of the pool: %s", result_text(res));
        enum result closed = front_close(s->front);
        (void)closed; /* nothing was written */
        shard_free(s);
        return res;
    }
    *out = s;
    return RES_OK;
}

enum result shard_close(struct shard *s)
{
    if (!s)
        return RES_OK;
    for (int i = 0; i < s->max_workers; i++)
        assert(!atomic_load(&s->workers[i])); /* exec_worker_free() first */
    pool_close(s);
    retire_all(s);
    enum result res = front_close(s->front);
    shard_free(s);
    return res;
}

struct front *shard_front(struct shard *s) { return s->front; }
void shard_set_store(struct shard *s, void *store) { s->store = store; }
void *shard_store(struct shard *s) { return s->store; }
void shard_set_pubsub(struct shard *s, void *pubsub) { s->pubsub = pubsub; }
void *shard_pubsub(struct shard *s) { return s->pubsub; }
uint64_t shard_gate(struct shard *s) { return front_gate(s->front); }
bool shard_is_durable(struct shard *s, uint64_t sequence) { return front_durable(s->front) >= sequence; }
enum result shard_make_durable(struct shard *s, uint64_t sequence) { return front_sync(s->front, sequence); }
void shard_hurry(struct shard *s) { atomic_store(&s->hurry, true); }
bool call_hurries(struct call *c) { return atomic_load(&c->shard->hurry); }
bool shard_frozen(struct shard *s) { return front_frozen(s->front); }

void shard_set_prefetch(struct shard *s, shard_prefetch_fn *fn) { atomic_store(&s->prefetch, fn); }

void shard_set_settings(struct shard *s, const struct settings *settings)
{
    atomic_store_explicit(&s->settings, settings, memory_order_release);
}

void shard_set_hooks(struct shard *s, const struct shard_hooks *hooks)
{
    os_mutex_lock(&s->lock);
    s->hooks = *hooks;
    bool missed = s->log_failed;
    enum result why = s->log_failed_why;
    os_mutex_unlock(&s->lock);
    if (missed && hooks->failure)
        hooks->failure(hooks->arg, why, front_failure(s->front));
}

void shard_monitors_add(struct shard *s, int change) { atomic_fetch_add(&s->monitors, change); }

uint64_t shard_now_ms(struct shard *s) { return clock_fresh(&s->clock); }

/* ---- limits ---- */

static void restrict_set(struct shard *s, unsigned what, bool on)
{
    if (on)
        atomic_fetch_or(&s->restricted, what);
    else
        atomic_fetch_and(&s->restricted, ~what);
}

void shard_tune(struct shard *s, const struct shard_tuning *t)
{
    atomic_store(&s->slowlog_us, t->slowlog_us);
    atomic_store(&s->slowlog_max, t->slowlog_max);
    atomic_store(&s->latency_ms, t->latency_ms);
    restrict_set(s, RESTRICT_AUTH, t->password_required != NULL);
    restrict_set(s, RESTRICT_MEMORY, t->denyoom_bytes > 0);
}

void shard_pause(struct shard *s, enum shard_pause mode, uint64_t until_ms)
{
    if (mode != SHARD_PAUSE_OFF) {
        atomic_store(&s->pause_until_ms, until_ms);
        atomic_store(&s->pause, mode);
        restrict_set(s, RESTRICT_PAUSE, true);
        os_mutex_lock(&s->pool.lock);
        os_cond_broadcast(&s->pool.work); /* the idle threads wait for its end */
        os_mutex_unlock(&s->pool.lock);
        return;
    }
    atomic_store(&s->pause, SHARD_PAUSE_OFF);
    restrict_set(s, RESTRICT_PAUSE, false);
    workers_wake(s, PARK_PAUSE);
    if (atomic_load(&s->waits.blocked))
        pool_submit_waiter(s, NULL);
}

enum shard_pause shard_paused(struct shard *s) { return (enum shard_pause)atomic_load(&s->pause); }

void shard_set_fsync(struct shard *s, enum front_fsync mode)
{
    latch_lock(&s->latch);
    front_set_fsync(s->front, mode);
    latch_release(&s->latch, shard_mono(s));
    front_kick(s->front);
}

/* ---- workers ---- */

static void worker_told(struct latch_waiter *waiter)
{
    struct exec_worker *w = (struct exec_worker *)waiter;
    w->options.wake(w->options.arg);
}

struct exec_worker *exec_worker_new(struct shard *s, const struct exec_worker_options *options)
{
    struct exec_worker *w = aligned_alloc(64, (sizeof *w + 63) / 64 * 64);
    if (!w)
        return NULL;
    memset(w, 0, sizeof *w);
    w->waiter.wake = worker_told;
    w->shard = s;
    w->options = *options;
    w->index = -1;
    atomic_store(&w->waiting_floor, UINT64_MAX);
    if (run_init(&w->run, s) == RES_OK) {
        os_mutex_lock(&s->lock);
        for (int i = 0; i < s->max_workers && w->index < 0; i++)
            if (!atomic_load(&s->workers[i])) {
                w->index = i;
                atomic_store(&s->workers[i], w);
                if (atomic_load(&s->workers_high) <= i)
                    atomic_store(&s->workers_high, i + 1);
            }
        os_mutex_unlock(&s->lock);
    }
    if (w->index < 0) {
        run_fini(&w->run);
        free(w);
        return NULL;
    }
    run_init_bundle(&w->bundle, &w->run);
    return w;
}

static void nothing(struct epoch_entry *entry) { (void)entry; }

/* Until every epoch section of now has ended. */
static void wait_for_sections(void)
{
    struct epoch_entry marker;
    epoch_retire(&marker, nothing);
    epoch_drain();
}

void exec_worker_end(struct exec_worker *w)
{
    exec_row_end(w);
    latch_give_up(&w->shard->latch, &w->waiter);
}

void exec_worker_free(struct exec_worker *w)
{
    if (!w)
        return;
    struct shard *s = w->shard;
    exec_worker_end(w);
    atomic_store(&s->workers[w->index], NULL);
    wait_for_sections(); /* somebody may be about to wake it */
    run_fini(&w->bundle);
    run_fini(&w->run);
    free(w);
}

struct shard *exec_worker_shard(struct exec_worker *w) { return w->shard; }

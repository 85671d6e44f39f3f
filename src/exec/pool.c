/* The pool: threads for commands that left their reactor, because something is cold or because they are long.
 *
 * Two lanes: short (a cold point command: one or a few reads of the disk) and long (by its declaration, by its
 * arguments, or because it took 1 ms). Long ones take at most half of the threads, so that a few of them never keep cold
 * point commands waiting; one thread at least is theirs, so that cold ones do not keep them waiting for ever. One
 * job per connection: the session belongs to the job until completed() gives it back. */
#include <stdio.h>
#include <stdlib.h>

#include "base/epoch.h"
#include "base/hash.h"
#include "base/heap.h"
#include "exec/internal.h"

/* ---- a job ---- */

static void stream_away(struct resp_sink *s, uint64_t len, struct sink_source *source)
{
    struct session *session = s->host;
    if (session->ops->stream(session, s->out->len, len, source) != RES_OK || buf_append(s->out, "\r\n", 2) != RES_OK)
        s->sink.failed = true;
}

static void rewound_away(struct resp_sink *s, size_t mark)
{
    struct session *session = s->host;
    session->ops->rewound(session, mark);
}

static void job_run(struct run *r, struct job *j)
{
    struct shard *s = r->call.shard;
    struct buf bytes = BUF_INIT;
    struct resp_sink sink;
    resp_sink_init(&sink, &bytes, j->resp);
    if (j->session->ops->stream) {
        sink.host = j->session;
        sink.stream = stream_away;
        sink.rewound = rewound_away;
        sink.sink.takes_elements = j->session->ops->takes_elements;
    }
    struct task t = {
        .fn = j->entry->command->run,
        .session = j->session,
        .entry = j->entry,
        .argc = j->argc,
        .argv = j->argv,
        .reply = &sink.sink,
        .seed = j->seed,
        .flags = j->flags,
    };
    struct session *session = j->session;
    const struct session_ops *ops = session->ops; /* once it waits or is completed, it is not ours to look at */
    uint64_t start = shard_mono(s), floor = 0, committed = 0;
    enum result res = RES_OK;
    bool writes = j->flags & (CMD_WRITE | CMD_LATCHED);
    run_enter(r);
    sink_begin(&sink.sink);
    if (!writes) {
        res = away_read(r, &t);
        if (res == RES_WOULD_BLOCK && r->wants_write) {
            sink.sink.ops->rewind(&sink.sink, 0);
            t.flags |= CMD_WRITE;
            writes = true;
        }
    }
    if (writes)
        res = prepared_run(r, &t, &floor, &committed);
    if (r->registered) { /* it waits for a key, and is not ours any more */
        r->registered = NULL;
        slowlog_add_later(s, &r->served);
        run_leave(r);
        buf_fini(&bytes);
        if (ops->unref)
            ops->unref(session);
        return;
    }
    if (res != RES_OK) {
        sink.sink.ops->rewind(&sink.sink, 0);
        exec_reply_code(r, res);
    }
    exec_show(r, floor);
    exec_account(r, shard_mono(s) - start);
    if (r->flags & CMD_EXEC)
        exec_over(r);
    exec_log_served(r);
    effects_tell(s);
    run_leave(r);
    if (sink.sink.failed) {
        if (sink.rewound)
            sink.rewound(&sink, 0);
        buf_fini(&bytes);
        j->session->close_after_reply = true;
    }
    ops->completed(session, &bytes);
    buf_fini(&bytes);
    if (ops->unref)
        ops->unref(session);
}

/* ---- lanes ---- */

static void lane_push(struct pool *p, enum lane lane, struct job *j) REQUIRES(p->lock)
{
    j->next = NULL;
    if (p->lane[lane].last)
        p->lane[lane].last->next = j;
    else
        p->lane[lane].first = j;
    p->lane[lane].last = j;
    p->lane[lane].count++;
}

static struct job *lane_pop(struct pool *p, enum lane lane) REQUIRES(p->lock)
{
    struct job *j = p->lane[lane].first;
    p->lane[lane].first = j->next;
    if (!j->next)
        p->lane[lane].last = NULL;
    p->lane[lane].count--;
    p->lane[lane].running++;
    return j;
}

/* The lane to take a job from, or -1. */
static int lane_pick(const struct pool *p) REQUIRES(p->lock)
{
    bool is_short = p->lane[LANE_SHORT].count > 0;
    bool is_long = p->lane[LANE_LONG].count > 0 && p->lane[LANE_LONG].running < (size_t)p->long_max;
    if (is_long && (!is_short || p->lane[LANE_LONG].running == 0))
        return LANE_LONG;
    return is_short ? LANE_SHORT : -1;
}

/* ---- a key alone ---- */

static void job_warm(struct shard *s, const struct job *j)
{
    struct front_view *v = front_view_ref(s->front);
    uint8_t *data = NULL;
    size_t len = 0;
    /* Whatever comes of it: the command that needs the key finds out for itself. */
    if (front_get_wait(v, front_snapshot(v), &j->key, &data, &len) == RES_OK)
        free(data);
    front_view_unref(v);
}

void pool_warm(struct shard *s, const struct engine_key *key)
{
    struct pool *p = &s->pool;
    struct job *j = malloc(sizeof *j + key->bytes.len);
    if (!j)
        return;
    memset(j, 0, sizeof *j);
    memcpy(j + 1, key->bytes.data, key->bytes.len);
    j->key = (struct engine_key){slice_of(j + 1, key->bytes.len), key->hash};
    os_mutex_lock(&p->lock);
    bool room = p->warming < WARMING_MAX;
    if (room) {
        p->warming++;
        lane_push(p, LANE_SHORT, j);
        os_cond_signal(&p->work);
    }
    os_mutex_unlock(&p->lock);
    if (room)
        atomic_fetch_add_explicit(&s->warmed_keys, 1, memory_order_relaxed);
    else
        free(j);
}

/* CLIENT PAUSE ends by itself: an idle thread looks. */
static void idle(struct shard *s, struct pool *p) REQUIRES(p->lock)
{
    if (atomic_load(&s->pause) == SHARD_PAUSE_OFF) {
        os_cond_wait(&p->work, &p->lock);
        return;
    }
    uint64_t now = s->env->ops->real_ms(s->env), until = atomic_load(&s->pause_until_ms);
    if (now < until) {
        uint64_t ms = until - now < 1000 ? until - now : 1000;
        (void)os_cond_wait_for(&p->work, &p->lock, ms * 1000000);
        return;
    }
    os_mutex_unlock(&p->lock);
    shard_pause(s, SHARD_PAUSE_OFF, 0);
    os_mutex_lock(&p->lock);
}

/* True: it was a key alone. The job may be gone, and on its way again. */
static bool job_do(struct run *r, struct job *j)
{
    struct shard *s = r->call.shard;
    if (j->waiter) {
        wait_serve_cold(r, j->waiter);
        return false;
    }
    if (j->kept) {
        atomic_store(&s->waits.rest_queued, false);
        wait_serve_rest(s);
        return false;
    }
    bool warming = j->session == NULL;
    if (warming)
        job_warm(s, j);
    else
        job_run(r, j);
    free(j);
    return warming;
}

/* Between two jobs that do not follow each other at once. */
static void rest(struct pool *p) REQUIRES(p->lock)
{
    os_mutex_unlock(&p->lock);
    heap_rest();
    os_mutex_lock(&p->lock);
}

static void pool_main(void *arg)
{
    struct run *r = arg;
    struct shard *s = r->call.shard;
    struct pool *p = &s->pool;
    bool rested = true;
    os_mutex_lock(&p->lock);
    for (;;) {
        int lane = lane_pick(p);
        if (lane < 0) {
            if (p->stop)
                break;
            if (!rested) {
                rested = true;
                rest(p);
                continue;
            }
            idle(s, p);
            continue;
        }
        struct job *j = lane_pop(p, (enum lane)lane);
        rested = false;
        os_mutex_unlock(&p->lock);
        bool warming = job_do(r, j);
        epoch_poll();
        os_mutex_lock(&p->lock);
        p->warming -= warming;
        p->lane[lane].running--;
        if (lane == LANE_LONG && p->lane[LANE_LONG].count)
            os_cond_signal(&p->work); /* one was perhaps left because of long_max */
    }
    os_mutex_unlock(&p->lock);
    run_fini(r);
    free(r);
}

static void submit(struct pool *p, struct job *j, enum lane lane)
{
    os_mutex_lock(&p->lock);
    assert(!p->stop);
    lane_push(p, lane, j);
    os_cond_signal(&p->work);
    os_mutex_unlock(&p->lock);
}

enum result pool_submit(struct run *r, enum lane lane)
{
    const struct call *c = &r->call;
    struct session *session = c->session;
    struct job *j = malloc(sizeof *j);
    if (!j)
        return RES_NO_MEMORY;
    *j = (struct job){
        .session = session,
        .entry = c->entry,
        .argc = c->argc,
        .argv = c->argv,
        .resp = session->resp,
        .flags = r->flags,
        .seed = r->seed,
    };
    if (session->ops->ref)
        session->ops->ref(session);
    submit(&c->shard->pool, j, lane);
    return RES_OK;
}

void pool_submit_waiter(struct shard *s, struct waiter *w)
{
    struct job *j = w ? waiter_job(w) : &s->waits.rest_job;
    if (!w && atomic_exchange(&s->waits.rest_queued, true))
        return; /* it is about to look */
    *j = (struct job){.waiter = w, .kept = true};
    submit(&s->pool, j, LANE_SHORT);
}

/* ---- life ---- */

static enum result thread_new(struct shard *s, int i)
{
    struct run *r = malloc(sizeof *r);
    if (!r)
        return RES_NO_MEMORY;
    char name[24];
    snprintf(name, sizeof name, "pool-%d", i);
    enum result res = run_init(r, s);
    r->away = true;
    if (res == RES_OK)
        res = os_thread_start(&s->pool.threads[i], name, pool_main, r);
    if (res != RES_OK) {
        run_fini(r);
        free(r);
    }
    return res;
}

enum result pool_open(struct shard *s, int threads)
{
    struct pool *p = &s->pool;
    os_mutex_init(&p->lock);
    os_cond_init(&p->work);
    p->long_max = threads > 1 ? threads / 2 : 1;
    p->threads = calloc((size_t)threads, sizeof *p->threads);
    enum result res = p->threads ? RES_OK : RES_NO_MEMORY;
    while (res == RES_OK && p->thread_count < threads) {
        res = thread_new(s, p->thread_count);
        p->thread_count += res == RES_OK;
    }
    if (res != RES_OK)
        pool_close(s);
    return res;
}

void pool_close(struct shard *s)
{
    struct pool *p = &s->pool;
    os_mutex_lock(&p->lock);
    p->stop = true;
    os_cond_broadcast(&p->work);
    os_mutex_unlock(&p->lock);
    for (int i = 0; i < p->thread_count; i++)
        os_thread_join(&p->threads[i]);
    free(p->threads);
    os_cond_fini(&p->work);
    os_mutex_fini(&p->lock);
}

/* ---- work of the server's own ---- */

struct run *run_take(struct shard *s)
{
    os_mutex_lock(&s->lock);
    struct run *r = s->free_runs;
    if (r)
        s->free_runs = r->next;
    os_mutex_unlock(&s->lock);
    if (r || !(r = malloc(sizeof *r)))
        return r;
    if (run_init(r, s) == RES_OK)
        return r;
    run_fini(r);
    free(r);
    return NULL;
}

void run_give(struct run *r)
{
    struct shard *s = r->call.shard;
    r->background_arg = NULL;
    os_mutex_lock(&s->lock);
    r->next = s->free_runs;
    s->free_runs = r;
    os_mutex_unlock(&s->lock);
}

enum result exec_background(struct shard *s, command_fn *fn, void *arg, uint64_t *sequence)
{
    *sequence = 0;
    if (atomic_load(&s->restricted) & RESTRICT_FROZEN)
        return RES_READ_ONLY;
    if (atomic_load(&s->pause) != SHARD_PAUSE_OFF)
        return RES_RETRY;
    struct run *r = run_take(s);
    if (!r)
        return RES_NO_MEMORY;
    struct sink drop = {.ops = &sink_drop_ops, .resp = 2};
    struct task t = {.fn = fn, .reply = &drop, .seed = hash_mix(r->seed + 1)};
    uint64_t floor;
    r->background_arg = arg;
    run_enter(r);
    enum result res = prepared_run(r, &t, &floor, sequence);
    slowlog_add_later(s, &r->served);
    run_leave(r);
    run_give(r);
    return res;
}

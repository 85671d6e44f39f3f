/* Commands that wait for a key: BLPOP and its like (EXECUTION, rule 29).
 *
 * A handler that finds nothing calls call_wait(). What it then did is committed as ever, and still under the same latch
 * its session becomes a waiter: it gets a ticket and stands in one queue for each of its keys, so no commit lies between
 * the test and the queue. A commit that signals a key which has a queue puts that queue on the list of those to be served,
 * in the order of the signals; the holder of the latch serves that list before he lets go: waiters by ticket, at most as
 * many as stood there, each run again with CALL_SERVED as a batch of its own. What they change may put more queues on the
 * list (BLMOVE). After SERVE_NS the rest is left to a thread of the pool, and so is a waiter whose data are cold; who
 * stands behind him waits until it is his turn again.
 *
 *   state:   WAITS ──serve──► SERVING ──answered──────────► DONE
 *              │                 └── found nothing ──► WAITS, and then a look at `want`
 *              └── timeout, CLIENT UNBLOCK, close ──► DONE
 *
 * Whoever moves the state from WAITS by compare-and-swap has the session, its arguments and the duty to answer. A timeout
 * that finds SERVING leaves its wish in `want` and tries once more; who goes back to WAITS looks at `want` afterwards: one
 * of the two sees the other. A waiter that others ended stays in its queues until a holder of the latch clears it away.
 *
 * Queues and links are under the latch. */
#include <stdlib.h>

#include "base/epoch.h"
#include "exec/internal.h"

#define SERVE_NS 200000
#define FOREVER_MS (UINT64_C(1000) * 60 * 60 * 24 * 365 * 200)

enum waiter_state { WAITER_WAITS, WAITER_SERVING, WAITER_DONE };

struct wait_link {
    struct waiter *waiter;
    struct wait_queue *queue;
    struct wait_link *prev, *next; /* by ticket */
};
struct wait_queue {
    struct wait_queue *chain; /* of the bucket */
    struct wait_queue *next_ready;
    struct wait_link *first, *last;
    size_t count;
    uint64_t hash;
    uint64_t after; /* only waiters with later tickets are to be served: those before have just found nothing */
    uint32_t db;
    bool ready; /* on the list of those to be served */
    bool busy;  /* being served: stays although it is empty */
    struct slice key;
    uint8_t bytes[];
};
struct waiter {
    atomic_int refs; /* the table's, the session's, a job's */
    _Atomic unsigned state;
    _Atomic unsigned want; /* enum wait_end */
    bool listed;           /* stands in its queues; under the latch */
    struct shard *shard;
    struct session *session;
    const struct command_entry *entry;
    const struct slice *argv;
    int argc, resp;
    uint64_t seed, ticket, deadline_ns;
    uint64_t spent_ns;   /* finding nothing, before it had to wait: the waiting itself is no work */
    struct waiter *next; /* of the dead, or of the cold ones */
    struct job job;      /* for the pool, when it is cold */
    size_t count;
    struct wait_link links[];
};

/* ---- the table of queues ---- */

enum result waits_init(struct shard *s)
{
    struct waits *t = &s->waits;
    t->bucket_count = 256;
    t->buckets = calloc(t->bucket_count, sizeof *t->buckets);
    t->run = calloc(1, sizeof *t->run);
    return t->buckets && t->run ? run_init(t->run, s) : RES_NO_MEMORY;
}

static void clear_dead(struct shard *s);

void waits_fini(struct shard *s)
{
    struct waits *t = &s->waits;
    if (t->buckets)
        clear_dead(s);
    assert(t->queues == 0);
    free(t->buckets);
    if (t->run)
        run_fini(t->run);
    free(t->run);
}

static struct wait_queue *queue_find(const struct waits *t, uint32_t db, struct slice key, uint64_t hash)
{
    struct wait_queue *q = t->buckets[hash & (t->bucket_count - 1)];
    while (q && !(q->hash == hash && q->db == db && slice_eq(q->key, key)))
        q = q->chain;
    return q;
}

static struct wait_queue *queue_new(const struct wait_key *k)
{
    struct wait_queue *q = calloc(1, sizeof *q + k->key.len);
    if (!q)
        return NULL;
    q->db = k->db;
    q->hash = k->hash;
    if (k->key.len)
        memcpy(q->bytes, k->key.data, k->key.len);
    q->key = slice_of(q->bytes, k->key.len);
    return q;
}

static void queue_insert(struct waits *t, struct wait_queue *q)
{
    if (t->queues >= t->bucket_count) { /* grows; when there is no memory the chains do */
        size_t count = t->bucket_count * 4;
        struct wait_queue **buckets = calloc(count, sizeof *buckets);
        for (size_t i = 0; buckets && i < t->bucket_count; i++)
            for (struct wait_queue *c = t->buckets[i], *next; c; c = next) {
                next = c->chain;
                c->chain = buckets[c->hash & (count - 1)];
                buckets[c->hash & (count - 1)] = c;
            }
        if (buckets) {
            free(t->buckets);
            t->buckets = buckets;
            t->bucket_count = count;
        }
    }
    struct wait_queue **at = &t->buckets[q->hash & (t->bucket_count - 1)];
    q->chain = *at;
    *at = q;
    t->queues++;
}

static void queue_remove(struct waits *t, struct wait_queue *q)
{
    struct wait_queue **at = &t->buckets[q->hash & (t->bucket_count - 1)];
    while (*at != q)
        at = &(*at)->chain;
    *at = q->chain;
    t->queues--;
    free(q);
}

/* Nobody waits for this key any more. One on the list is removed when its turn comes. */
static void queue_release(struct waits *t, struct wait_queue *q)
{
    if (q->count == 0 && !q->ready && !q->busy)
        queue_remove(t, q);
}

static void queue_ready(struct waits *t, struct wait_queue *q, uint64_t after)
{
    if (q->ready) {
        q->after = after < q->after ? after : q->after;
        return;
    }
    q->after = after;
    q->ready = true;
    q->next_ready = NULL;
    if (t->ready_last)
        t->ready_last->next_ready = q;
    else
        t->ready_first = q;
    t->ready_last = q;
}

static struct wait_queue *queue_pop_ready(struct waits *t)
{
    struct wait_queue *q = t->ready_first;
    t->ready_first = q->next_ready;
    if (!t->ready_first)
        t->ready_last = NULL;
    q->ready = false;
    return q;
}

static void link_append(struct wait_queue *q, struct wait_link *l)
{
    l->queue = q;
    l->prev = q->last;
    l->next = NULL;
    if (q->last)
        q->last->next = l;
    else
        q->first = l;
    q->last = l;
    q->count++;
}

static void link_remove(struct wait_link *l)
{
    struct wait_queue *q = l->queue;
    if (l->prev)
        l->prev->next = l->next;
    else
        q->first = l->next;
    if (l->next)
        l->next->prev = l->prev;
    else
        q->last = l->prev;
    q->count--;
}

/* ---- waiters ---- */

void waiter_unref(struct waiter *w)
{
    if (w && atomic_fetch_sub(&w->refs, 1) == 1)
        free(w);
}

struct job *waiter_job(struct waiter *w) { return &w->job; }

uint64_t waiter_deadline_ns(const struct waiter *w) { return w->deadline_ns; }

static void unlist(struct shard *s, struct waiter *w)
{
    if (!w->listed)
        return;
    w->listed = false;
    for (size_t i = 0; i < w->count; i++) {
        link_remove(&w->links[i]);
        queue_release(&s->waits, w->links[i].queue);
    }
    waiter_unref(w);
}

/* Those whom a timeout or the like has ended. */
static void clear_dead(struct shard *s)
{
    struct waiter *w = atomic_exchange(&s->waits.dead, NULL);
    while (w) {
        struct waiter *next = w->next;
        unlist(s, w);
        waiter_unref(w); /* the list's own */
        w = next;
    }
}

/* It is DONE, by somebody without the latch. */
static void bury(struct waiter *w)
{
    struct shard *s = w->shard;
    atomic_fetch_sub(&s->waits.blocked, 1);
    atomic_fetch_add(&w->refs, 1);
    w->next = atomic_load(&s->waits.dead);
    while (!atomic_compare_exchange_weak(&s->waits.dead, &w->next, w))
        ;
}

bool waiter_take(struct waiter *w, enum wait_end why)
{
    sched_point(SCHED_HANDOFF);
    unsigned expected = WAITER_WAITS;
    if (!atomic_compare_exchange_strong(&w->state, &expected, WAITER_DONE)) {
        if (why == WAIT_UNBLOCK || why == WAIT_UNBLOCK_ERROR)
            return false; /* whoever is about to get something is not blocked */
        unsigned none = 0;
        atomic_compare_exchange_strong(&w->want, &none, why);
        expected = WAITER_WAITS;
        if (!atomic_compare_exchange_strong(&w->state, &expected, WAITER_DONE))
            return false;
    }
    bury(w);
    return true;
}

static void waiter_reply(const struct waiter *w, enum wait_end why, struct sink *reply)
{
    const struct command *command = w->entry->command;
    if (why == WAIT_UNBLOCK_ERROR)
        (void)reply_error(reply, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
    else if (why == WAIT_CLOSE)
        return;
    else if (command->waited)
        command->waited(w->shard, w->session, reply);
    else
        reply->ops->null_array(reply);
}

void exec_wait_over(struct exec_worker *worker, struct waiter *w, enum wait_end why, struct sink *reply)
{
    sink_begin(reply);
    waiter_reply(w, why, reply);
    struct command_counter *n = &worker->run.stats->commands[w->entry->id];
    histogram_record(&n->latency, w->spent_ns);
    if (unlikely(slowlog_wants(w->shard, w->entry->command->flags, w->spent_ns))) {
        struct call c = {.shard = w->shard, .session = w->session, .entry = w->entry, .argc = w->argc, .argv = w->argv};
        slowlog_add(w->shard, &c, w->spent_ns / 1000);
    }
    if (reply->is_error) {
        stat_add(&n->failed, 1);
        stats_error(worker->run.stats, slice_str(reply->error_code));
    }
}

static struct waiter *waiter_new(struct call *c, const struct wait_key *keys, size_t count)
{
    struct waiter *w = calloc(1, sizeof *w + count * sizeof w->links[0]);
    if (!w)
        return NULL;
    atomic_init(&w->refs, 1);
    w->shard = c->shard;
    w->session = c->session;
    w->entry = c->entry;
    w->argc = c->argc;
    w->argv = c->argv;
    w->resp = c->reply->resp;
    w->seed = call_run(c)->seed;
    /* Its queues, not yet in the table: what is there already takes their place when it registers. */
    for (size_t i = 0; i < count; i++) {
        bool twice = false;
        for (size_t k = 0; k < i; k++)
            twice |= keys[k].db == keys[i].db && slice_eq(keys[k].key, keys[i].key);
        if (twice)
            continue;
        struct wait_link *l = &w->links[w->count];
        l->waiter = w;
        if (!(l->queue = queue_new(&keys[i]))) {
            wait_drop(w);
            return NULL;
        }
        w->count++;
    }
    return w;
}

void wait_drop(struct waiter *w)
{
    for (size_t i = 0; w && i < w->count; i++)
        free(w->links[i].queue);
    free(w);
}

static enum result reply_at_once(struct call *c, enum wait_reply at_once)
{
    if (c->entry->command->waited)
        c->entry->command->waited(c->shard, c->session, c->reply);
    else if (at_once == WAIT_NULL)
        reply_null(c->reply);
    else
        c->reply->ops->null_array(c->reply);
    return RES_OK;
}

enum result call_wait(struct call *c, const struct wait_key *keys, size_t count, uint64_t timeout_ms,
                      enum wait_reply at_once)
{
    struct run *r = call_run(c);
    if (r->in_exec || !c->session || !c->session->ops->blocked)
        return reply_at_once(c, at_once);
    assert(c->overlay != NULL); /* a command that waits is a write: it tests its keys under the latch */
    r->must_validate = true;    /* that there was nothing must still be so when it registers */
    if (r->serving) {
        r->waits_on = true;
        return RES_OK;
    }
    struct waiter *w = waiter_new(c, keys, count);
    if (!w)
        return RES_NO_MEMORY;
    w->deadline_ns = timeout_ms && timeout_ms < FOREVER_MS ? shard_mono(c->shard) + timeout_ms * 1000000 : UINT64_MAX;
    r->waiter = w;
    return RES_OK;
}

/* ---- under the latch: registering, signals ---- */

void wait_register(struct run *r, uint64_t sequence)
{
    struct waiter *w = r->waiter;
    struct shard *s = w->shard;
    struct waits *t = &s->waits;
    r->waiter = NULL;
    clear_dead(s);
    w->spent_ns = shard_mono(s) - r->started_ns;
    w->ticket = ++t->tickets;
    for (size_t i = 0; i < w->count; i++) {
        struct wait_queue *fresh = w->links[i].queue, *q = queue_find(t, fresh->db, fresh->key, fresh->hash);
        if (q)
            free(fresh);
        else
            queue_insert(t, q = fresh);
        link_append(q, &w->links[i]);
    }
    w->listed = true;
    atomic_store(&w->refs, 2); /* the table's and the session's */
    atomic_fetch_add(&t->blocked, 1);
    if (w->session->ops->ref)
        w->session->ops->ref(w->session);
    exec_show(r, sequence); /* the session is not this thread's any more when the latch is free */
    r->registered = w;
    if (r->call.mode & CALL_MAY_WAIT || r->away)
        w->session->ops->blocked(w->session, w);
}

/* Found nothing: stands where it stood. */
static void back_to_waiting(struct waiter *w)
{
    atomic_store(&w->state, WAITER_WAITS);
    sched_point(SCHED_HANDOFF);
    unsigned want = atomic_load(&w->want), expected = WAITER_WAITS;
    if (!want || !atomic_compare_exchange_strong(&w->state, &expected, WAITER_DONE))
        return;
    struct buf out = BUF_INIT;
    struct resp_sink sink;
    resp_sink_init(&sink, &out, w->resp);
    waiter_reply(w, (enum wait_end)want, &sink.sink);
    struct session *session = w->session;
    bury(w);
    session->ops->completed(session, &out);
    buf_fini(&out);
    if (session->ops->unref)
        session->ops->unref(session);
}

void wait_stay(struct run *r)
{
    struct waiter *w = r->serving;
    struct shard *s = w->shard;
    if (r != s->waits.run) /* the pool: who stands behind it was kept waiting */
        for (size_t i = 0; i < w->count; i++)
            queue_ready(&s->waits, w->links[i].queue, w->ticket);
    back_to_waiting(w);
}

void wait_signals(struct shard *s, const struct overlay *o)
{
    struct waits *t = &s->waits;
    for (uint32_t i = 0; i < o->signal_count; i++) {
        const struct overlay_signal *g = &o->signals[i];
        if (g->kind & (SIGNAL_WRITE | SIGNAL_NEW)) {
            struct wait_queue *q = queue_find(t, g->db, g->key, g->hash);
            if (q)
                queue_ready(t, q, 0);
        } else if (g->kind & SIGNAL_SWAPPED) {
            for (size_t b = 0; b < t->bucket_count; b++)
                for (struct wait_queue *q = t->buckets[b]; q; q = q->chain)
                    if (q->db == g->db)
                        queue_ready(t, q, 0);
        }
    }
}

/* ---- serving ---- */

enum served { SERVED_NOT_WAITING, SERVED_NOTHING, SERVED, SERVED_COLD };

/* It has its reply; w is unlisted already. */
static void answered(struct waiter *w, struct buf *out, struct resp_sink *sink, uint64_t floor)
{
    struct session *session = w->session;
    if (floor > session->floor)
        session->floor = floor;
    if (sink->sink.failed)
        session->close_after_reply = true;
    atomic_store(&w->state, WAITER_DONE);
    atomic_fetch_sub(&w->shard->waits.blocked, 1);
    session->ops->completed(session, out);
    if (session->ops->unref)
        session->ops->unref(session);
}

static struct task task_of(struct waiter *w, struct sink *reply)
{
    return (struct task){
        .fn = w->entry->command->run,
        .session = w->session,
        .entry = w->entry,
        .argc = w->argc,
        .argv = w->argv,
        .reply = reply,
        .seed = w->seed,
        .serving = w,
    };
}

static enum served serve_one(struct shard *s, struct waiter *w)
{
    unsigned expected = WAITER_WAITS;
    if (!atomic_compare_exchange_strong(&w->state, &expected, WAITER_SERVING))
        return SERVED_NOT_WAITING;
    sched_point(SCHED_HANDOFF);
    struct run *r = s->waits.run;
    struct buf out = BUF_INIT;
    struct resp_sink sink;
    resp_sink_init(&sink, &out, w->resp);
    struct task t = task_of(w, &sink.sink);
    uint64_t start = shard_mono(s), sequence;
    run_begin_task(r, &t);
    epoch_enter();
    run_snapshot_latched(r, start);
    enum result res = run_handler(r, t.fn);
    bool waits_on = r->waits_on;
    if (res == RES_OK) {
        sequence = r->call.snapshot;
        res = commit_overlay(r, NULL, 0, &sequence);
    }
    epoch_leave();
    if (res == RES_OK && waits_on) { /* commit_overlay() has put it back */
        buf_fini(&out);
        return SERVED_NOTHING;
    }
    if (res == RES_WOULD_BLOCK || res == RES_INVALID) {
        buf_fini(&out);
        w->next = s->waits.cold;
        s->waits.cold = w;
        return SERVED_COLD;
    }
    if (res != RES_OK) {
        sequence = front_visible(s->front);
        sink.sink.ops->rewind(&sink.sink, 0);
        reply_result(&sink.sink, res);
    }
    uint64_t ns = w->spent_ns + shard_mono(s) - start;
    exec_count(r, ns);
    if (unlikely(slowlog_wants(s, w->entry->command->flags, ns)))
        slowlog_later(&s->waits.slow, &r->call, ns / 1000);
    atomic_fetch_add(&w->refs, 1);
    unlist(s, w);
    answered(w, &out, &sink, sequence);
    waiter_unref(w);
    buf_fini(&out);
    return SERVED;
}

/* Serves one queue. False: time is up, it is to go on with it. */
static bool serve_queue(struct shard *s, struct wait_queue *q, uint64_t until_ns)
{
    /* Who found nothing speaks for all behind him that wait for the same type. */
    const char *empty[2] = {NULL, NULL};
    bool in_time = true;
    size_t n = q->count;
    q->busy = true;
    for (struct wait_link *l = q->first, *next; l && n > 0; l = next, n--) {
        next = l->next;
        struct waiter *w = l->waiter;
        const char *group = w->entry->command->group;
        if (w->ticket <= q->after || (empty[0] && strcmp(empty[0], group) == 0) ||
            (empty[1] && strcmp(empty[1], group) == 0))
            continue;
        if (!in_time) {
            queue_ready(&s->waits, q, q->after);
            break;
        }
        enum served how = serve_one(s, w);
        if (how == SERVED_COLD)
            break; /* the pool will put the queue on the list again */
        if (how == SERVED_NOTHING)
            empty[empty[0] != NULL] = group;
        in_time = shard_mono(s) < until_ns;
    }
    q->busy = false;
    queue_release(&s->waits, q);
    return in_time;
}

bool wait_serve(struct shard *s)
{
    struct waits *t = &s->waits;
    assert(latch_held_here());
    if (likely(!t->ready_first))
        return false;
    if (atomic_load(&s->pause) != SHARD_PAUSE_OFF)
        return false; /* shard_pause() sees to it when it ends */
    uint64_t until = shard_mono(s) + SERVE_NS;
    while (t->ready_first)
        if (!serve_queue(s, queue_pop_ready(t), until) && t->ready_first) {
            t->more = true;
            break;
        }
    return true;
}

/* Who holds the latch takes along what he must hand to the pool when he has let go. */
struct wait_left wait_take_left(struct shard *s)
{
    struct wait_left left = {s->waits.cold, {NULL, NULL}, s->waits.more};
    slowlog_move(&left.slow, &s->waits.slow);
    s->waits.cold = NULL;
    s->waits.more = false;
    return left;
}

void wait_hand_over(struct shard *s, struct wait_left left)
{
    while (left.cold) {
        struct waiter *w = left.cold;
        left.cold = w->next;
        pool_submit_waiter(s, w);
    }
    if (left.more)
        pool_submit_waiter(s, NULL);
}

/* On the pool: one waiter, to its end. */
void wait_serve_cold(struct run *r, struct waiter *w)
{
    struct shard *s = w->shard;
    struct buf out = BUF_INIT;
    struct resp_sink sink;
    resp_sink_init(&sink, &out, w->resp);
    struct task t = task_of(w, &sink.sink);
    uint64_t start = shard_mono(s), floor = 0, committed = 0;
    run_enter(r);
    sink_begin(&sink.sink);
    enum result res = prepared_run(r, &t, &floor, &committed);
    run_leave(r);
    if (res == RES_OK && r->waits_on) {
        slowlog_add_later(s, &r->served);
        buf_fini(&out);
        return;
    }
    if (res != RES_OK) {
        sink.sink.ops->rewind(&sink.sink, 0);
        reply_result(&sink.sink, res);
    }
    exec_account(r, w->spent_ns + shard_mono(s) - start);
    slowlog_add_later(s, &r->served);
    latch_lock(&s->latch);
    for (size_t i = 0; i < w->count; i++)
        queue_ready(&s->waits, w->links[i].queue, 0);
    atomic_fetch_add(&w->refs, 1);
    unlist(s, w);
    latch_end(s, NULL, false);
    answered(w, &out, &sink, floor);
    waiter_unref(w);
    buf_fini(&out);
}

/* On the pool: what was left when time was up, or when clients were paused. */
void wait_serve_rest(struct shard *s)
{
    latch_lock(&s->latch);
    latch_end(s, NULL, false); /* which serves */
}

uint64_t shard_blocked_clients(struct shard *s) { return atomic_load(&s->waits.blocked); }

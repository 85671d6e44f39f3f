/* The turn of a loop, in this order:
 *   1. libevent waits for the kernel and calls back: connections with input queue up as ready.
 *   2. messages of other threads.
 *   3. what waited goes on: parked connections after wake(), held replies after the gate.
 *   4. ready connections run, a chunk at a time: each reads, parses and prefetches one batch of requests; then each
 *      executes its batch, so that the writes of all of them are one row under the latch, without a system call in it;
 *      the row ends (latch released, log on its way); then each says what it may.
 *   5. the memory of closed connections is given back.
 *
 * Going to sleep: asleep = 1, then the mailbox, `woken` and the gate are looked at once more, then the loop blocks. Who
 * sends puts its message first and looks at asleep afterwards. Both in sequentially consistent order, so one of the two
 * sees the other; the eventfd is written only when the reactor really sleeps, and by one of them only. It is
 * edge-triggered and never read: every write is a new edge. */
#include "net/reactor.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/epoch.h"
#include "base/heap.h"
#include "base/log.h"
#include "net/client_budget.h"
#include "net/net_internal.h"

#define PATIENCE_MS 60000  /* with a client in the middle of a long reply, or at its end */
#define CHUNK 64           /* connections between two row ends */
#define CHUNK_KEYS 256     /* about how many keys are looked ahead for: the cache must hold what lies behind them */
#define TURN_REQUESTS 1024 /* about how many requests run before the kernel is asked for news */

void *block_get(struct block_pool *p) { return p->count > 0 ? p->free[--p->count] : malloc(p->size); }

void block_put(struct block_pool *p, void *block)
{
    if (p->count < BLOCKS_KEPT)
        p->free[p->count++] = block;
    else
        free(block);
}

uint64_t reactor_clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- being woken ---- */

static void notify(struct reactor *r)
{
    if (atomic_load(&r->asleep) && atomic_exchange(&r->asleep, 0)) {
        uint64_t one = 1;
        ssize_t n = write(r->wake_fd, &one, sizeof one);
        (void)n; /* full: it is being woken already */
    }
}

void reactor_post(struct reactor *r, struct mail *m)
{
    mailbox_put(&r->mailbox, m);
    notify(r);
}

void reactor_wake(void *reactor)
{
    struct reactor *r = reactor;
    atomic_store(&r->woken, true);
    notify(r);
}

static void on_wake(evutil_socket_t fd, short what, void *arg) { (void)fd, (void)what, (void)arg; }

/* True when the loop may block. */
static bool may_sleep(struct reactor *r)
{
    if (!TAILQ_EMPTY(&r->ready))
        return false;
    atomic_store(&r->asleep, 1);
    if (mailbox_empty(&r->mailbox) && !atomic_load(&r->woken) && shard_gate(r->shard) < r->waiting_floor &&
        !(r->waiting_floor != UINT64_MAX && shard_frozen(r->shard)))
        return true;
    atomic_store(&r->asleep, 0);
    return false;
}

static void deliver(struct reactor *r)
{
    struct mail *next;
    for (struct mail *m = mailbox_take(&r->mailbox); m != NULL; m = next) {
        next = m->next;
        m->deliver(r, m);
    }
}

/* ---- lists ---- */

void reactor_make_ready(struct connection *c)
{
    if (c->in_ready || c->in_parked || c->closed)
        return;
    c->in_ready = true;
    TAILQ_INSERT_TAIL(&c->reactor->ready, c, ready);
}

void reactor_park(struct connection *c)
{
    assert(!c->in_ready && !c->in_parked);
    c->in_parked = true;
    TAILQ_INSERT_TAIL(&c->reactor->parked, c, parked);
    stat_add(&c->reactor->stats.parked, 1);
}

static void unpark_all(struct reactor *r)
{
    struct connection *c;
    while ((c = TAILQ_FIRST(&r->parked)) != NULL) {
        TAILQ_REMOVE(&r->parked, c, parked);
        c->in_parked = false;
        reactor_make_ready(c);
    }
    atomic_store_explicit(&r->stats.parked, 0, memory_order_relaxed);
}

static void wait_for(struct reactor *r, uint64_t floor)
{
    if (floor != r->waiting_floor) {
        r->waiting_floor = floor;
        exec_set_waiting_floor(r->worker, floor);
    }
}

void reactor_hold(struct connection *c)
{
    struct reactor *r = c->reactor;
    if (!c->in_held) {
        c->in_held = true;
        TAILQ_INSERT_TAIL(&r->held, c, held);
    }
    uint64_t floor = outbox_waits_for(&c->out);
    if (floor < r->waiting_floor)
        wait_for(r, floor);
}

/* The gate has moved: what it has passed leaves; what can never pass it is cut off. */
static void release_held(struct reactor *r)
{
    if (TAILQ_EMPTY(&r->held)) {
        wait_for(r, UINT64_MAX); /* whoever waited has closed: a floor left behind would keep the loop from sleeping */
        return;
    }
    bool frozen = shard_frozen(r->shard);
    r->gate = shard_gate(r->shard); /* after frozen: it does not move any more then */
    if (r->gate < r->waiting_floor && !frozen)
        return;
    struct connection_list list = TAILQ_HEAD_INITIALIZER(list);
    TAILQ_CONCAT(&list, &r->held, held);
    wait_for(r, UINT64_MAX);
    struct connection *c;
    while ((c = TAILQ_FIRST(&list)) != NULL) {
        TAILQ_REMOVE(&list, c, held);
        c->in_held = false;
        connection_flush(c); /* holds it again when it must wait on */
        if (frozen && c->in_held)
            connection_close(c);
    }
}

/* ---- the loop ---- */

/* Takes some ready connections off the list and lets them read. Returns how many have something to execute. */
static int prepare(struct reactor *r, size_t *queued, struct connection *chunk[CHUNK])
{
    struct connection *c;
    int n = 0, keys = 0;
    while (*queued > 0 && n < CHUNK && keys < CHUNK_KEYS && (c = TAILQ_FIRST(&r->ready)) != NULL) {
        TAILQ_REMOVE(&r->ready, c, ready);
        c->in_ready = false;
        --*queued;
        if (connection_prepare(c)) {
            keys += c->batch->keys;
            chunk[n++] = c; /* a connection closed from here on is only buried at the end of the turn */
        }
    }
    return n;
}

static void run_ready(struct reactor *r)
{
    struct connection *chunk[CHUNK];
    struct connection *c;
    size_t queued = 0;
    TAILQ_FOREACH(c, &r->ready, ready)
    queued++;
    r->executed = 0;
    /* Who waited for the latch may be gone by the time it is told: then the next in the queue is to be. */
    if (queued == 0 && TAILQ_EMPTY(&r->parked))
        exec_row_end(r->worker);
    /* Fewer than were queued may be left: one that reads may have others closed (input_budget.h). */
    while (queued > 0 && !TAILQ_EMPTY(&r->ready) && r->executed < TURN_REQUESTS) {
        int n = prepare(r, &queued, chunk);
        for (int i = 0; i < n; i++)
            connection_run(chunk[i]);
        exec_row_end(r->worker);
        r->gate = shard_gate(r->shard);
        for (int i = 0; i < n; i++)
            connection_flush(chunk[i]);
    }
}

/* One whose command is away stays until that has come back: a reactor that ended before would leave it to nobody. */
static void bury(struct reactor *r)
{
    struct connection *c, *next;
    for (c = TAILQ_FIRST(&r->dead); c != NULL; c = next) {
        next = TAILQ_NEXT(c, all);
        if (c->away)
            continue;
        TAILQ_REMOVE(&r->dead, c, all);
        connection_unref(c);
    }
}

void reactor_take_tuning(struct reactor *r)
{
    struct net *n = r->net;
    unsigned version = atomic_load_explicit(&n->tuning_version, memory_order_acquire);
    if (version == r->tuning_version)
        return;
    os_mutex_lock(&n->tuning_lock);
    r->tuning = n->tuning;
    os_mutex_unlock(&n->tuning_lock);
    r->tuning_version = version;
    clients_count_all(r);
}

/* A client that has been idle or has not taken its replies for too long. */
static bool outstayed(struct reactor *r, struct connection *c, uint64_t now)
{
    const struct output_limit *limit = &r->tuning.output_limit[connection_class(c)];
    if (c->protocol->outstayed != NULL && c->protocol->outstayed(c, now))
        return true;
    if (r->tuning.timeout_s > 0 && !connection_busy(c) && !c->session.monitor && connection_class(c) != OUTPUT_PUBSUB &&
        now > c->session.active_ms + r->tuning.timeout_s * 1000ull) {
        log_verbose("closing idle client %s", c->peer);
        stat_add(&r->stats.timed_out, 1);
        return true;
    }
    if (c->soft_since_ms && now > c->soft_since_ms + (uint64_t)limit->seconds * 1000) {
        log_warning("client %s closed: %zu bytes of replies not taken for %lld s", c->peer, outbox_pending(&c->out),
                    (long long)limit->seconds);
        stat_add(&r->stats.cut_by_output_limit, 1);
        return true;
    }
    /* A long reply in the middle keeps a view of the data as it was, with memory and files that could go otherwise; and
     * who has asked to be closed, or has closed his side, may never come back. */
    uint64_t since = c->wrote_ms > c->session.active_ms ? c->wrote_ms : c->session.active_ms;
    if ((c->out.streams != NULL || (c->closing && !c->away)) && !c->stream_reading && now > since + PATIENCE_MS) {
        log_warning("client %s closed: it has stopped taking its replies", c->peer);
        stat_add(&r->stats.cut_by_output_limit, 1);
        return true;
    }
    return false;
}

static void on_tick(evutil_socket_t fd, short what, void *arg) /* once a second */
{
    (void)fd, (void)what;
    struct reactor *r = arg;
    uint64_t now = reactor_clock_ms(), in_sum = 0, out_sum = 0, in_max = 0, out_max = 0;
    struct connection *c, *next;
    if (r->index == 0)
        memcached_tick(r, now);
    for (c = TAILQ_FIRST(&r->all); c != NULL; c = next) {
        next = TAILQ_NEXT(c, all);
        size_t in = resp_input_memory(&c->in), out = outbox_memory(&c->out);
        in_sum += in, out_sum += out;
        in_max = in > in_max ? in : in_max;
        out_max = out > out_max ? out : out_max;
        client_count(c);
        connection_probe(c, now);
        if (outstayed(r, c, now))
            connection_close(c);
    }
    atomic_store_explicit(&r->stats.query_buffers, in_sum, memory_order_relaxed);
    atomic_store_explicit(&r->stats.output_buffers, out_sum, memory_order_relaxed);
    atomic_store_explicit(&r->stats.largest_query, in_max, memory_order_relaxed);
    atomic_store_explicit(&r->stats.largest_output, out_max, memory_order_relaxed);
    heap_rest();
}

/* Stopping: idle connections go at once, the others when they have nothing more to say, or when patience ends. */
static bool finished(struct reactor *r)
{
    int stop = atomic_load(&r->stop);
    if (stop == 0)
        return false;
    if (r->listeners != NULL)
        listeners_stop(r->listeners);
    if (r->stop_at_ms != 0 && r->now_ms >= r->stop_at_ms)
        stop = 2;
    struct connection *c, *next;
    for (c = TAILQ_FIRST(&r->all); c != NULL; c = next) {
        next = TAILQ_NEXT(c, all);
        c->closing = true;
        if (c->waiter != NULL || !connection_busy(c) || (stop == 2 && !c->away))
            connection_close(c);
    }
    bury(r);
    return TAILQ_EMPTY(&r->all) && (TAILQ_EMPTY(&r->dead) || stop == 2);
}

static void reactor_main(void *arg)
{
    struct reactor *r = arg;
    do {
        bool sleep = may_sleep(r);
        event_base_loop(r->base, sleep ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK);
        if (sleep)
            atomic_store_explicit(&r->asleep, 0, memory_order_relaxed);
        stat_add(&r->stats.wakeups, 1);
        r->now_ms = reactor_clock_ms();
        reactor_take_tuning(r);
        deliver(r);
        if (atomic_load_explicit(&r->woken, memory_order_relaxed)) {
            atomic_store(&r->woken, false);
            unpark_all(r);
        }
        release_held(r);
        run_ready(r);
        clients_within_budget(r);
        bury(r);
        epoch_poll(); /* blocks that made way for others: their memory must not wait for a tick */
    } while (!finished(r));
    deliver(r); /* replies that came for connections already gone */
    exec_worker_end(r->worker);
}

enum result reactor_init(struct reactor *r, struct net *n, int index, struct errmsg *msg)
{
    memset(r, 0, sizeof *r);
    r->net = n;
    r->index = index;
    r->is_http = index >= n->reactor_count;
    if (index == 0)
        r->listeners = &n->listeners;
    else if (index == n->reactor_count)
        r->listeners = &n->http_listeners;
    r->wake_fd = -1;
    r->waiting_floor = UINT64_MAX;
    r->blocks.size = RESP_BLOCK;
    r->batches.size = sizeof(struct request_batch);
    TAILQ_INIT(&r->all);
    TAILQ_INIT(&r->ready);
    TAILQ_INIT(&r->parked);
    TAILQ_INIT(&r->held);
    TAILQ_INIT(&r->dead);
    r->tuning_version = UINT32_MAX;
    /* One thread uses a base, others go through wake_fd: libevent need not lock. */
    struct event_config *config = event_config_new();
    if (config != NULL) {
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
        r->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    r->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (r->base == NULL || r->wake_fd < 0)
        return errmsg_set(msg, RES_TOO_MANY, "cannot make an event loop: %s", strerror(errno));
    event_assign(&r->wake_event, r->base, r->wake_fd, EV_READ | EV_ET | EV_PERSIST, on_wake, r);
    event_assign(&r->tick_event, r->base, -1, EV_PERSIST, on_tick, r);
    struct timeval second = {1, 0};
    if (event_add(&r->wake_event, NULL) != 0 || event_add(&r->tick_event, &second) != 0)
        return errmsg_set(msg, RES_NO_MEMORY, "cannot watch an event");
    return RES_OK;
}

enum result reactor_start(struct reactor *r, struct shard *shard)
{
    char name[16];
    if (r->is_http)
        snprintf(name, sizeof name, "http-%d", r->index - r->net->reactor_count);
    else
        snprintf(name, sizeof name, "reactor-%d", r->index);
    struct exec_worker_options options = {.name = name, .wake = reactor_wake, .arg = r};
    r->shard = shard;
    r->worker = exec_worker_new(shard, &options);
    if (r->worker == NULL)
        return RES_NO_MEMORY;
    r->gate = shard_gate(shard);
    r->now_ms = reactor_clock_ms();
    reactor_take_tuning(r);
    enum result res = os_thread_start(&r->thread, name, reactor_main, r);
    r->thread_started = res == RES_OK;
    return res;
}

_Atomic uint64_t *reactor_clients(struct reactor *r) { return r->is_http ? &r->net->http_clients : &r->net->clients; }

void reactor_fini(struct reactor *r)
{
    if (r->worker != NULL)
        exec_worker_free(r->worker); /* nobody calls reactor_wake() any more */
    if (r->base != NULL) {
        event_del(&r->wake_event);
        event_del(&r->tick_event);
        event_base_free(r->base);
    }
    while (r->blocks.count > 0)
        free(r->blocks.free[--r->blocks.count]);
    while (r->batches.count > 0)
        free(r->batches.free[--r->batches.count]);
    buf_fini(&r->scratch);
}

/* A reactor: one thread, one event loop, the connections that live on it. Nothing here waits but the loop itself. */
#ifndef VARVE_NET_REACTOR_H
#define VARVE_NET_REACTOR_H

#include <event2/event.h>
#include <stdatomic.h>

#include "net/connection.h"
#include "net/http.h"
#include "net/mailbox.h"
#include "net/net.h"
#include "os/thread.h"

#define BLOCKS_KEPT 64 /* query buffers, output buffers and batches kept for the next connection */
struct block_pool {
    size_t size;
    int count;
    void *free[BLOCKS_KEPT];
};
void *block_get(struct block_pool *p); /* NULL: no memory */
void block_put(struct block_pool *p, void *block);

struct reactor_stats { /* written by the reactor, read by any */
    _Atomic uint64_t reads, writes, wakeups, input_bytes, output_bytes;
    _Atomic uint64_t cut_by_output_limit, cut_by_query_limit, timed_out, evicted;
    _Atomic uint64_t parked; /* connections that are, now */
    _Atomic uint64_t query_buffers, output_buffers, largest_query, largest_output;
};
static inline void stat_add(_Atomic uint64_t *stat, uint64_t n) /* one writer: no locked instruction */
{
    atomic_store_explicit(stat, atomic_load_explicit(stat, memory_order_relaxed) + n, memory_order_relaxed);
}

struct reactor {
    struct net *net;
    int index;
    bool is_http;                /* its connections speak HTTP */
    struct listeners *listeners; /* those it accepts for; NULL: none */
    struct os_thread thread;
    bool thread_started;
    struct event_base *base;
    struct exec_worker *worker;
    struct shard *shard;
    struct event wake_event, tick_event;
    int wake_fd;
    atomic_int asleep; /* 1: blocked in the loop, or about to be: a message must write to wake_fd */
    atomic_bool woken; /* the executor wants us to look again */
    atomic_int stop;   /* 1: finish; 2: at once */
    struct mailbox mailbox;
    struct connection_list all, ready, parked, held, dead;
    _Atomic uint64_t connections; /* any thread reads */
    atomic_int monitors;
    _Atomic uint64_t input_held; /* our part of net.input_bytes_held; any thread reads */
    atomic_bool room_asked;      /* room_mail is on its way */
    struct mail room_mail;
    _Atomic uint64_t largest_client; /* what it took when that was last looked at; any thread reads */
    atomic_bool evict_asked;         /* evict_mail is on its way */
    struct mail evict_mail;
    uint64_t gate, waiting_floor;
    uint64_t now_ms; /* wall clock, taken once per turn of the loop */
    uint64_t stop_at_ms;
    unsigned executed;        /* requests in this turn */
    struct net_tuning tuning; /* our copy */
    unsigned tuning_version;
    struct block_pool blocks, batches;
    struct buf scratch; /* of HTTP: a reply between the command and its answer */
    struct reactor_stats stats;
    struct http_counts http;
};

enum result reactor_init(struct reactor *r, struct net *n, int index, struct errmsg *msg) MUST_CHECK;
enum result reactor_start(struct reactor *r, struct shard *shard) MUST_CHECK;
void reactor_fini(struct reactor *r); /* after its thread has ended */
/* Any thread. */
void reactor_post(struct reactor *r, struct mail *m);
void reactor_wake(void *reactor);

/* On the reactor. */
void reactor_make_ready(struct connection *c);
void reactor_park(struct connection *c);
void reactor_hold(struct connection *c); /* its output waits for the gate */
uint64_t reactor_clock_ms(void);
_Atomic uint64_t *reactor_clients(struct reactor *r); /* how many clients the net has that speak its protocol */
void reactor_take_tuning(struct reactor *r);          /* the limits that net_tune() set last; its thread */

#endif

/* What the files of this room share of the net as a whole. */
#ifndef VARVE_NET_INTERNAL_H
#define VARVE_NET_INTERNAL_H

#include "net/listener.h"
#include "net/memcached.h"
#include "net/reactor.h"
#include "net/streamer.h"
#include "net/tracking.h"
#include "pubsub/pubsub.h"

struct lobby;

struct net {
    struct shard *shard;
    struct pubsub *pubsub;
    struct tracking *tracking;
    _Atomic unsigned events;  /* PUBSUB_EVENTS_* */
    struct reactor *reactors; /* those of RESP, then those of HTTP */
    int reactor_count, http_count;
    struct listeners listeners, http_listeners;
    struct lobby *lobby; /* at the start, and at the end */
    struct streamer streamer;
    struct memcached_flush flush;
    _Atomic uint64_t next_id, clients, accepted, rejected;
    _Atomic uint64_t http_clients, http_accepted, http_rejected;
    _Atomic uint64_t output_bytes_held; /* of all connections: compared with tuning.output_budget */
    _Atomic uint64_t client_bytes_held; /* the same, with tuning.client_budget (client_budget.h) */
    _Atomic uint64_t input_bytes_held;  /* the same, with tuning.input_budget (input_budget.h) */
    /* Orders what goes to several reactors: every client sees one order. Leaf lock, held for as long as it takes to put
     * one message into each mailbox. */
    struct os_mutex release_lock;
    struct os_mutex tuning_lock; /* leaf; guards the next two */
    struct net_tuning tuning;
    struct host_stats before_reset;
    atomic_uint tuning_version;
    struct { /* rebind.c: what RESP over TCP listens on */
        struct os_mutex lock;
        char *bind;
        struct listen_row row;
        int backlog;
        bool ended;
    } bound;
};

/* pubsub_post_fn: net/pushes.c. */
void net_post_message(void *arg, int listener, struct pubsub_slot *slot);
struct subscriber *connection_subscriber(struct session *s);
void connection_unsubscribe(struct connection *c); /* it closes */
/* Appends a message that it has not asked for; behind the reply that is away. floor: when it may be shown; bound: what the
 * connection reads from then on is at least as new. */
void connection_tell(struct connection *c, struct slice bytes, uint64_t floor, uint64_t bound);
void connection_say_later(struct connection *c); /* the reply that was away has come */

void net_stop_listening(struct net *n); /* CONFIG SET does not change the sockets any more */

/* Hands an accepted socket to the reactor of its kind with the fewest connections. On the reactor that accepts. */
void net_accepted(struct reactor *by, struct newcomer *who);
/* The same, of a client of HTTP who came before the reactors run. */
void net_let_in(struct net *n, struct newcomer *who);

#endif

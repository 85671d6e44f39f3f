/* Publish and subscribe: who listens to which channel, and how a message comes to all of them.
 *
 * Listeners are threads that have clients (reactors); each client is a subscriber of one of them and touched by its thread
 * alone. The hub knows by name how many subscriptions each listener has, under one lock; the subscriptions themselves
 * hang in lists, one per name and listener, that only this listener walks and changes. A message looks the names up that
 * it concerns, is counted, and is posted once to every listener that has subscriptions to them; each listener then hands
 * it to its own. Posting is done under the lock, so that all listeners see one order. A subscription gets only messages
 * that were published after it was made: both take a ticket from one counter. */
#ifndef VARVE_PUBSUB_PUBSUB_H
#define VARVE_PUBSUB_PUBSUB_H

#include "base/buf.h"
#include "exec/shard.h"

enum pubsub_kind { PUBSUB_CHANNEL, PUBSUB_PATTERN, PUBSUB_SHARD, PUBSUB_KINDS };
enum { PUBSUB_EVENTS_KEYSPACE = 1, PUBSUB_EVENTS_KEYEVENT = 2 };

struct pubsub;
struct pubsub_message;

/* What a listener is posted, in memory of the message: room for the listener's own link first. */
struct pubsub_slot {
    void *room[3];
    struct pubsub_message *message;
};
/* Called under the hub's lock: posts, and waits for nothing. */
typedef void pubsub_post_fn(void *arg, int listener, struct pubsub_slot *slot);

struct pubsub_options {
    int listeners;
    pubsub_post_fn *post;
    void *arg;
};
enum result pubsub_open(const struct pubsub_options *options, struct pubsub **out) MUST_CHECK;
/* Before the first subscriber: this shard's events and messages; it is told whether anybody listens. */
void pubsub_serve(struct pubsub *p, struct shard *shard);
void pubsub_close(struct pubsub *p); /* no subscriber and no slot is left */

/* ---- subscribers: on their listener's thread ---- */

/* A message as one client gets it. */
struct pubsub_push {
    struct slice bytes[2]; /* RESP2, RESP3 */
    uint64_t floor;        /* when it may be shown */
    uint64_t origin;       /* the session that caused it; 0: none */
};
struct subscription;
struct subscriber {
    struct pubsub *hub;
    int listener;
    void (*deliver)(struct subscriber *s, const struct pubsub_push *push);
    /* the hub's own */
    struct subscription *first[PUBSUB_KINDS], *last[PUBSUB_KINDS];
    size_t count[PUBSUB_KINDS];
    struct subscription **buckets; /* by name */
    size_t bucket_count;
};
void subscriber_init(struct subscriber *s, struct pubsub *hub, int listener);
void subscriber_clear(struct subscriber *s); /* unsubscribes from everything */
void subscriber_fini(struct subscriber *s);  /* the same, for good */
static inline size_t subscriber_total(const struct subscriber *s)
{
    return s ? s->count[PUBSUB_CHANNEL] + s->count[PUBSUB_PATTERN] + s->count[PUBSUB_SHARD] : 0;
}
/* RES_EXISTS: it was there. */
enum result subscriber_add(struct subscriber *s, enum pubsub_kind kind, struct slice name) MUST_CHECK;
bool subscriber_remove(struct subscriber *s, enum pubsub_kind kind, struct slice name);
/* The name of the oldest subscription of a kind; it lives until that is removed. False: there is none. */
bool subscriber_first(const struct subscriber *s, enum pubsub_kind kind, struct slice *name);
/* What post() was given. */
void pubsub_deliver(struct pubsub *p, int listener, struct pubsub_slot *slot);

/* ---- any thread ---- */

/* To how many subscriptions a message would go. */
uint64_t pubsub_receivers(struct pubsub *p, bool sharded, struct slice channel);
void pubsub_publish(struct pubsub *p, bool sharded, struct slice channel, struct slice message, uint64_t floor,
                    uint64_t origin);
/* A keyspace event, by PUBSUB_EVENTS_*. */
void pubsub_event(struct pubsub *p, unsigned how, const struct shard_effect *e);
uint64_t pubsub_names(struct pubsub *p, enum pubsub_kind kind);
uint64_t pubsub_clients(struct pubsub *p); /* that have subscriptions */
uint64_t pubsub_subscriptions(struct pubsub *p, enum pubsub_kind kind, struct slice name);
/* Names that match the pattern (data NULL: all), each as its length (8 bytes, of this machine) and its bytes. */
enum result pubsub_list(struct pubsub *p, enum pubsub_kind kind, struct slice pattern, struct buf *out, size_t *count)
    MUST_CHECK;

#endif

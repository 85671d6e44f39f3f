/* What clients are told without having asked: messages of channels they subscribed to, keyspace events among them.
 *
 * src/pubsub posts a message once to each reactor that has subscribers; here it is appended to the output of each of them,
 * with the floor at which it may be shown. A client's own messages follow its reply: when the reply of the command that
 * caused them is still away, they wait for it. */
#include "base/log.h"
#include "net/net_internal.h"

_Static_assert(sizeof(struct mail) <= sizeof(((struct pubsub_slot *)0)->room), "a slot has room for a mail");

static void say(struct connection *c, struct slice bytes, uint64_t floor)
{
    if (buf_append(&c->out.buf, bytes.data, bytes.len) != RES_OK) {
        log_warning("client %s closed: no memory for a message", c->peer);
        connection_close(c);
        return;
    }
    if (floor > c->floor)
        c->floor = floor;
}

static void deliver(struct subscriber *s, const struct pubsub_push *push)
{
    struct connection *c = (struct connection *)((char *)s - offsetof(struct connection, subscriber));
    struct slice bytes = push->bytes[c->said_resp == 3];
    if (c->closed || c->closing)
        return;
    if (bytes.len == 0) {
        log_warning("client %s closed: no memory for a message", c->peer);
        connection_close(c);
    } else if (c->away && push->origin == c->session.id) {
        if (buf_append(&c->later.bytes, bytes.data, bytes.len) != RES_OK)
            connection_close(c);
        else if (push->floor > c->later.floor)
            c->later.floor = push->floor;
    } else {
        say(c, bytes, push->floor);
        connection_flush(c);
    }
}

void connection_tell(struct connection *c, struct slice bytes, uint64_t floor, uint64_t bound)
{
    if (c->away) {
        if (buf_append(&c->later.bytes, bytes.data, bytes.len) != RES_OK)
            connection_close(c);
        if (floor > c->later.floor)
            c->later.floor = floor;
        if (bound > c->later.bound)
            c->later.bound = bound;
        return;
    }
    if (bound > c->session.floor)
        c->session.floor = bound;
    if (bytes.len == 0)
        return;
    say(c, bytes, floor);
    connection_flush(c);
}

void connection_say_later(struct connection *c)
{
    if (c->later.bound > c->session.floor)
        c->session.floor = c->later.bound;
    c->later.bound = 0;
    if (c->later.bytes.len == 0)
        return;
    say(c, buf_slice(&c->later.bytes), c->later.floor);
    buf_fini(&c->later.bytes);
    c->later.floor = 0;
}

static void deliver_message(struct reactor *r, struct mail *m)
{
    pubsub_deliver(r->net->pubsub, r->index, (struct pubsub_slot *)m);
}

void net_post_message(void *arg, int listener, struct pubsub_slot *slot)
{
    struct net *n = arg;
    struct mail *m = (struct mail *)slot;
    m->deliver = deliver_message;
    reactor_post(&n->reactors[listener], m);
}

struct subscriber *connection_subscriber(struct session *s)
{
    struct connection *c = (struct connection *)s;
    if (s->subscriber == NULL) {
        subscriber_init(&c->subscriber, c->reactor->net->pubsub, c->reactor->index);
        c->subscriber.deliver = deliver;
        s->subscriber = &c->subscriber;
    }
    return s->subscriber;
}

void connection_unsubscribe(struct connection *c)
{
    if (c->session.subscriber != NULL)
        subscriber_fini(&c->subscriber);
}

/* ---- from the executor ---- */

void net_effect(void *arg, const struct shard_effect *e)
{
    struct net *n = arg;
    if (e->event_class & (SHARD_TRACKED | SHARD_TRACKED_ALL))
        tracking_effect(n->tracking, e);
    else if (e->event)
        pubsub_event(n->pubsub, atomic_load(&n->events), e);
    else
        pubsub_publish(n->pubsub, e->sharded, e->key, e->message, e->floor, e->origin);
}

uint64_t net_receivers(void *arg, bool sharded, struct slice channel)
{
    struct net *n = arg;
    return pubsub_receivers(n->pubsub, sharded, channel);
}

void net_set_events(struct net *n, struct shard *shard, const char *classes)
{
    static const struct {
        char letter;
        unsigned event_class;
    } letters[] = {{'g', EVENT_GENERIC}, {'$', EVENT_STRING}, {'l', EVENT_LIST},    {'s', EVENT_SET},
                   {'h', EVENT_HASH},    {'z', EVENT_ZSET},   {'x', EVENT_EXPIRED}, {'e', EVENT_EVICTED},
                   {'t', EVENT_STREAM},  {'m', EVENT_MISS},   {'n', EVENT_NEW}};
    unsigned wanted = 0, how = 0;
    for (const char *p = classes; *p; p++) {
        if (*p == 'K')
            how |= PUBSUB_EVENTS_KEYSPACE;
        else if (*p == 'E')
            how |= PUBSUB_EVENTS_KEYEVENT;
        else if (*p == 'A')
            wanted |= ~(unsigned)(EVENT_MISS | EVENT_NEW);
        for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
            if (*p == letters[i].letter)
                wanted |= letters[i].event_class;
    }
    atomic_store(&n->events, how);
    shard_set_events(shard, how ? wanted : 0);
}

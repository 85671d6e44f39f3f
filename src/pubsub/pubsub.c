/* See pubsub.h. */
#include "pubsub/pubsub.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/glob.h"
#include "base/hash.h"
#include "base/log.h"
#include "os/env.h"
#include "os/thread.h"

/* A channel, a pattern or a shard channel that somebody has subscribed to. */
struct at_listener {
    uint64_t count;                    /* under the lock */
    struct subscription *first, *last; /* of the listener's thread */
};
struct name {
    struct name *chain;       /* of the bucket */
    struct name *next, *prev; /* of all of this kind, the oldest first */
    atomic_int refs;          /* the table's and messages' */
    enum pubsub_kind kind;
    uint64_t hash, total;
    struct slice text;
    struct at_listener at[]; /* and the bytes behind */
};
struct subscription {
    struct name *name;
    struct subscriber *subscriber;
    uint64_t ticket;
    struct subscription *prev, *next;   /* of the name at this listener */
    struct subscription *older, *newer; /* of the subscriber's kind */
    struct subscription *chain;         /* of the subscriber's bucket */
};
struct names {
    struct name **buckets;
    size_t bucket_count, count;
    struct name *first, *last;
};
struct pubsub {
    struct pubsub_options options;
    struct shard *shard;
    struct hash_seed seed;
    struct os_mutex lock;
    /* under lock */
    struct names names[PUBSUB_KINDS];
    uint64_t tickets, clients;
};
struct pubsub_message {
    atomic_int refs; /* slots */
    uint64_t ticket, floor, origin;
    bool sharded;
    struct slice channel, payload;
    size_t match_count;
    struct name **matches; /* the channel first, then patterns */
    struct pubsub_slot slots[];
};

/* ---- names ---- */

static void name_unref(struct name *n)
{
    if (atomic_fetch_sub(&n->refs, 1) == 1)
        free(n);
}

static uint64_t hash_of(const struct pubsub *p, struct slice text)
{
    return hash_siphash(&p->seed, text.data, text.len);
}

static struct name *name_find(const struct pubsub *p, enum pubsub_kind kind, struct slice text, uint64_t hash)
{
    const struct names *t = &p->names[kind];
    struct name *n = t->buckets[hash & (t->bucket_count - 1)];
    while (n && !(n->hash == hash && slice_eq(n->text, text)))
        n = n->chain;
    return n;
}

static void grow(struct names *t)
{
    size_t count = t->bucket_count * 2;
    struct name **buckets = calloc(count, sizeof *buckets);
    if (!buckets)
        return; /* longer chains */
    for (struct name *n = t->first; n; n = n->next) {
        n->chain = buckets[n->hash & (count - 1)];
        buckets[n->hash & (count - 1)] = n;
    }
    free(t->buckets);
    t->buckets = buckets;
    t->bucket_count = count;
}

static struct name *name_add(struct pubsub *p, enum pubsub_kind kind, struct slice text, uint64_t hash)
{
    struct names *t = &p->names[kind];
    size_t head = sizeof(struct name) + (size_t)p->options.listeners * sizeof(struct at_listener);
    struct name *n = calloc(1, head + text.len);
    if (!n)
        return NULL;
    if (t->count >= t->bucket_count)
        grow(t);
    uint8_t *bytes = (uint8_t *)n + head;
    if (text.len)
        memcpy(bytes, text.data, text.len);
    n->text = slice_of(bytes, text.len);
    n->kind = kind;
    n->hash = hash;
    atomic_init(&n->refs, 1);
    n->chain = t->buckets[hash & (t->bucket_count - 1)];
    t->buckets[hash & (t->bucket_count - 1)] = n;
    n->prev = t->last;
    if (t->last)
        t->last->next = n;
    else
        t->first = n;
    t->last = n;
    t->count++;
    return n;
}

static void name_remove(struct pubsub *p, struct name *n)
{
    struct names *t = &p->names[n->kind];
    struct name **at = &t->buckets[n->hash & (t->bucket_count - 1)];
    while (*at != n)
        at = &(*at)->chain;
    *at = n->chain;
    if (n->prev)
        n->prev->next = n->next;
    else
        t->first = n->next;
    if (n->next)
        n->next->prev = n->prev;
    else
        t->last = n->prev;
    t->count--;
    name_unref(n);
}

/* ---- life ---- */

enum result pubsub_open(const struct pubsub_options *options, struct pubsub **out)
{
    struct pubsub *p = calloc(1, sizeof *p);
    *out = p;
    if (!p)
        return RES_NO_MEMORY;
    p->options = *options;
    os_mutex_init(&p->lock);
    struct env *env = env_posix();
    env->ops->random(env, &p->seed, sizeof p->seed);
    for (int i = 0; i < PUBSUB_KINDS; i++) {
        struct names *t = &p->names[i];
        t->bucket_count = 64;
        t->buckets = calloc(t->bucket_count, sizeof *t->buckets);
        if (!t->buckets) {
            pubsub_close(p);
            *out = NULL;
            return RES_NO_MEMORY;
        }
    }
    return RES_OK;
}

void pubsub_serve(struct pubsub *p, struct shard *shard)
{
    p->shard = shard;
    shard_set_pubsub(shard, p);
}

void pubsub_close(struct pubsub *p)
{
    if (!p)
        return;
    for (int i = 0; i < PUBSUB_KINDS; i++)
        free(p->names[i].buckets);
    os_mutex_fini(&p->lock);
    free(p);
}

/* ---- subscribers ---- */

void subscriber_init(struct subscriber *s, struct pubsub *hub, int listener)
{
    memset(s, 0, sizeof *s);
    s->hub = hub;
    s->listener = listener;
}

static struct subscription **own_bucket(const struct subscriber *s, uint64_t hash)
{
    return &s->buckets[hash & (s->bucket_count - 1)];
}

static struct subscription *own_find(const struct subscriber *s, enum pubsub_kind kind, struct slice text,
                                     uint64_t hash)
{
    if (!s->bucket_count)
        return NULL;
    struct subscription *u = *own_bucket(s, hash);
    while (u && !(u->name->kind == kind && u->name->hash == hash && slice_eq(u->name->text, text)))
        u = u->chain;
    return u;
}

static enum result own_reserve(struct subscriber *s)
{
    if (subscriber_total(s) < s->bucket_count)
        return RES_OK;
    size_t count = s->bucket_count ? s->bucket_count * 2 : 8;
    struct subscription **buckets = calloc(count, sizeof *buckets);
    if (!buckets)
        return s->bucket_count ? RES_OK : RES_NO_MEMORY;
    free(s->buckets);
    s->buckets = buckets;
    s->bucket_count = count;
    for (int kind = 0; kind < PUBSUB_KINDS; kind++)
        for (struct subscription *u = s->first[kind]; u; u = u->newer) {
            u->chain = *own_bucket(s, u->name->hash);
            *own_bucket(s, u->name->hash) = u;
        }
    return RES_OK;
}

static void own_insert(struct subscriber *s, struct subscription *u)
{
    enum pubsub_kind kind = u->name->kind;
    struct at_listener *at = &u->name->at[s->listener];
    u->prev = at->last;
    if (at->last)
        at->last->next = u;
    else
        at->first = u;
    at->last = u;
    u->older = s->last[kind];
    if (s->last[kind])
        s->last[kind]->newer = u;
    else
        s->first[kind] = u;
    s->last[kind] = u;
    u->chain = *own_bucket(s, u->name->hash);
    *own_bucket(s, u->name->hash) = u;
    s->count[kind]++;
}

enum result subscriber_add(struct subscriber *s, enum pubsub_kind kind, struct slice text)
{
    struct pubsub *p = s->hub;
    uint64_t hash = hash_of(p, text);
    if (own_find(s, kind, text, hash))
        return RES_EXISTS;
    struct subscription *u = calloc(1, sizeof *u);
    if (!u || own_reserve(s) != RES_OK) {
        free(u);
        return RES_NO_MEMORY;
    }
    os_mutex_lock(&p->lock);
    struct name *n = name_find(p, kind, text, hash);
    bool first = false;
    if (n || (n = name_add(p, kind, text, hash))) {
        n->total++;
        n->at[s->listener].count++;
        u->ticket = ++p->tickets;
        if (subscriber_total(s) == 0)
            first = p->clients++ == 0;
    }
    if (first)
        shard_event_listeners(p->shard, true);
    os_mutex_unlock(&p->lock);
    if (!n) {
        free(u);
        return RES_NO_MEMORY;
    }
    u->name = n;
    u->subscriber = s;
    own_insert(s, u);
    return RES_OK;
}

static void own_remove(struct subscriber *s, struct subscription *u)
{
    enum pubsub_kind kind = u->name->kind;
    struct at_listener *at = &u->name->at[s->listener];
    if (u->prev)
        u->prev->next = u->next;
    else
        at->first = u->next;
    if (u->next)
        u->next->prev = u->prev;
    else
        at->last = u->prev;
    if (u->older)
        u->older->newer = u->newer;
    else
        s->first[kind] = u->newer;
    if (u->newer)
        u->newer->older = u->older;
    else
        s->last[kind] = u->older;
    struct subscription **chain = own_bucket(s, u->name->hash);
    while (*chain != u)
        chain = &(*chain)->chain;
    *chain = u->chain;
    s->count[kind]--;
}

bool subscriber_remove(struct subscriber *s, enum pubsub_kind kind, struct slice text)
{
    struct pubsub *p = s->hub;
    struct subscription *u = own_find(s, kind, text, hash_of(p, text));
    if (!u)
        return false;
    struct name *n = u->name;
    own_remove(s, u);
    free(u);
    os_mutex_lock(&p->lock);
    n->at[s->listener].count--;
    if (--n->total == 0)
        name_remove(p, n);
    if (subscriber_total(s) == 0 && --p->clients == 0)
        shard_event_listeners(p->shard, false);
    os_mutex_unlock(&p->lock);
    return true;
}

bool subscriber_first(const struct subscriber *s, enum pubsub_kind kind, struct slice *name)
{
    if (!s || !s->first[kind])
        return false;
    *name = s->first[kind]->name->text;
    return true;
}

void subscriber_clear(struct subscriber *s)
{
    struct slice name;
    for (int kind = 0; kind < PUBSUB_KINDS; kind++)
        while (subscriber_first(s, (enum pubsub_kind)kind, &name))
            (void)subscriber_remove(s, (enum pubsub_kind)kind, name);
}

void subscriber_fini(struct subscriber *s)
{
    subscriber_clear(s);
    free(s->buckets);
    s->buckets = NULL;
    s->bucket_count = 0;
}

/* ---- messages ---- */

/* Calls each name that a message to this channel concerns. Returns the number of subscriptions. */
static uint64_t each_match(struct pubsub *p, bool sharded, struct slice channel,
                           void (*each)(void *arg, struct name *n), void *arg) REQUIRES(p->lock)
{
    uint64_t receivers = 0;
    struct name *n = name_find(p, sharded ? PUBSUB_SHARD : PUBSUB_CHANNEL, channel, hash_of(p, channel));
    if (n) {
        receivers += n->total;
        each(arg, n);
    }
    for (n = sharded ? NULL : p->names[PUBSUB_PATTERN].first; n; n = n->next)
        if (glob_match(n->text, channel, false)) {
            receivers += n->total;
            each(arg, n);
        }
    return receivers;
}

static void count_match(void *arg, struct name *n)
{
    (void)n;
    ++*(size_t *)arg;
}

uint64_t pubsub_receivers(struct pubsub *p, bool sharded, struct slice channel)
{
    size_t names = 0;
    os_mutex_lock(&p->lock);
    uint64_t receivers = p->clients ? each_match(p, sharded, channel, count_match, &names) : 0;
    os_mutex_unlock(&p->lock);
    return receivers;
}

static void take_match(void *arg, struct name *n)
{
    struct pubsub_message *m = arg;
    atomic_fetch_add(&n->refs, 1);
    m->matches[m->match_count++] = n;
}

static struct pubsub_message *message_new(const struct pubsub *p, size_t names, struct slice channel,
                                          struct slice payload)
{
    size_t slots = (size_t)p->options.listeners * sizeof(struct pubsub_slot);
    struct pubsub_message *m = malloc(sizeof *m + slots + names * sizeof m->matches[0] + channel.len + payload.len);
    if (!m)
        return NULL;
    memset(m, 0, sizeof *m + slots);
    m->matches = (struct name **)(void *)((uint8_t *)m->slots + slots);
    uint8_t *bytes = (uint8_t *)(m->matches + names);
    if (channel.len)
        memcpy(bytes, channel.data, channel.len);
    if (payload.len)
        memcpy(bytes + channel.len, payload.data, payload.len);
    m->channel = slice_of(bytes, channel.len);
    m->payload = slice_of(bytes + channel.len, payload.len);
    return m;
}

static void message_unref(struct pubsub_message *m)
{
    if (atomic_fetch_sub(&m->refs, 1) != 1)
        return;
    for (size_t i = 0; i < m->match_count; i++)
        name_unref(m->matches[i]);
    free(m);
}

static void post(struct pubsub *p, struct pubsub_message *m) REQUIRES(p->lock)
{
    atomic_init(&m->refs, 1);
    for (int i = 0; i < p->options.listeners; i++) {
        uint64_t count = 0;
        for (size_t k = 0; k < m->match_count; k++)
            count += m->matches[k]->at[i].count;
        if (count == 0)
            continue;
        m->slots[i].message = m;
        atomic_fetch_add(&m->refs, 1);
        p->options.post(p->options.arg, i, &m->slots[i]);
    }
}

void pubsub_publish(struct pubsub *p, bool sharded, struct slice channel, struct slice message, uint64_t floor,
                    uint64_t origin)
{
    struct pubsub_message *m = NULL;
    size_t names = 0;
    bool lost = false;
    os_mutex_lock(&p->lock);
    if (p->clients && each_match(p, sharded, channel, count_match, &names) > 0) {
        m = message_new(p, names, channel, message);
        lost = m == NULL;
        if (m) {
            m->floor = floor;
            m->origin = origin;
            m->sharded = sharded;
            m->ticket = ++p->tickets;
            (void)each_match(p, sharded, channel, take_match, m);
            post(p, m);
        }
    }
    os_mutex_unlock(&p->lock);
    if (m)
        message_unref(m);
    if (lost)
        log_warning("no memory for a message of %zu bytes; nobody gets it", message.len);
}

/* The message as it goes to one name's subscribers. */
static bool push_format(struct buf *out, int resp, const struct pubsub_message *m, const struct name *n)
{
    struct resp_sink sink;
    resp_sink_init(&sink, out, resp);
    struct sink *s = &sink.sink;
    bool pattern = n->kind == PUBSUB_PATTERN;
    s->ops->push(s, pattern ? 4 : 3);
    reply_bulk_str(s, pattern ? "pmessage" : m->sharded ? "smessage" : "message");
    if (pattern)
        reply_bulk(s, n->text);
    reply_bulk(s, m->channel);
    reply_bulk(s, m->payload);
    return !s->failed;
}

void pubsub_deliver(struct pubsub *p, int listener, struct pubsub_slot *slot)
{
    struct pubsub_message *m = slot->message;
    struct buf resp2 = BUF_INIT, resp3 = BUF_INIT;
    (void)p;
    for (size_t i = 0; i < m->match_count; i++) {
        struct name *n = m->matches[i];
        struct subscription *u = n->at[listener].first, *next;
        if (!u)
            continue;
        buf_clear(&resp2);
        buf_clear(&resp3);
        bool made = push_format(&resp2, 2, m, n) && push_format(&resp3, 3, m, n);
        struct pubsub_push push = {{buf_slice(&resp2), buf_slice(&resp3)}, m->floor, m->origin};
        if (!made)
            push.bytes[0] = push.bytes[1] = slice_of(NULL, 0); /* no memory: the client has missed something */
        for (; u; u = next) {
            next = u->next; /* a client that is closed for what it is told takes its own subscriptions with it */
            if (u->ticket <= m->ticket)
                u->subscriber->deliver(u->subscriber, &push);
        }
    }
    buf_fini(&resp2);
    buf_fini(&resp3);
    message_unref(m);
}

/* ---- keyspace events ---- */

static enum result prefix(struct buf *b, const char *space, uint32_t db)
{
    return buf_printf(b, "__%s@%u__:", space, db);
}

void pubsub_event(struct pubsub *p, unsigned how, const struct shard_effect *e)
{
    struct buf channel = BUF_INIT;
    struct slice event = slice_str(e->event);
    enum result r = RES_OK;
    if (how & PUBSUB_EVENTS_KEYSPACE) {
        r = prefix(&channel, "keyspace", e->db);
        if (r == RES_OK)
            r = buf_append(&channel, e->key.data, e->key.len);
        if (r == RES_OK)
            pubsub_publish(p, false, buf_slice(&channel), event, e->floor, e->origin);
    }
    if (how & PUBSUB_EVENTS_KEYEVENT && r == RES_OK) {
        buf_clear(&channel);
        r = prefix(&channel, "keyevent", e->db);
        if (r == RES_OK)
            r = buf_append(&channel, event.data, event.len);
        if (r == RES_OK)
            pubsub_publish(p, false, buf_slice(&channel), e->key, e->floor, e->origin);
    }
    if (r != RES_OK)
        log_warning("no memory for an event; nobody gets it");
    buf_fini(&channel);
}

/* ---- questions ---- */

uint64_t pubsub_names(struct pubsub *p, enum pubsub_kind kind)
{
    os_mutex_lock(&p->lock);
    uint64_t n = p->names[kind].count;
    os_mutex_unlock(&p->lock);
    return n;
}

uint64_t pubsub_clients(struct pubsub *p)
{
    os_mutex_lock(&p->lock);
    uint64_t n = p->clients;
    os_mutex_unlock(&p->lock);
    return n;
}

uint64_t pubsub_subscriptions(struct pubsub *p, enum pubsub_kind kind, struct slice text)
{
    os_mutex_lock(&p->lock);
    const struct name *n = name_find(p, kind, text, hash_of(p, text));
    uint64_t total = n ? n->total : 0;
    os_mutex_unlock(&p->lock);
    return total;
}

enum result pubsub_list(struct pubsub *p, enum pubsub_kind kind, struct slice pattern, struct buf *out, size_t *count)
{
    enum result r = RES_OK;
    *count = 0;
    os_mutex_lock(&p->lock);
    for (const struct name *n = p->names[kind].first; n && r == RES_OK; n = n->next) {
        if (pattern.data && !glob_match(pattern, n->text, false))
            continue;
        uint64_t len = n->text.len;
        r = buf_append(out, &len, sizeof len);
        if (r == RES_OK)
            r = buf_append(out, n->text.data, n->text.len);
        ++*count;
    }
    os_mutex_unlock(&p->lock);
    return r;
}

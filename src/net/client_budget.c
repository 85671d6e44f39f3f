/* See client_budget.h. */
#include "net/client_budget.h"

#include "base/log.h"
#include "net/net_internal.h"

static void count(struct connection *c, size_t share)
{
    if (share == c->counted_memory)
        return;
    atomic_fetch_add_explicit(&c->reactor->net->client_bytes_held, share - c->counted_memory, memory_order_relaxed);
    c->counted_memory = share;
    if (!c->session.no_evict && share > atomic_load_explicit(&c->reactor->largest_client, memory_order_relaxed))
        atomic_store_explicit(&c->reactor->largest_client, share, memory_order_relaxed);
}

void client_uncount(struct connection *c) { count(c, 0); }

void client_count(struct connection *c)
{
    if (c->closed || (c->reactor->tuning.client_budget == 0 && c->counted_memory == 0))
        return;
    count(c, c->reactor->tuning.client_budget != 0 ? connection_memory(c) : 0);
}

void clients_count_all(struct reactor *r)
{
    struct connection *c;
    TAILQ_FOREACH(c, &r->all, all) { client_count(c); }
}

static bool over_budget(const struct reactor *r)
{
    return r->tuning.client_budget != 0 &&
           atomic_load_explicit(&r->net->client_bytes_held, memory_order_relaxed) > r->tuning.client_budget;
}

/* Who takes most here, of those who may be closed; the figure that others go by is right afterwards. */
static struct connection *largest(struct reactor *r)
{
    struct connection *c, *most = NULL;
    clients_count_all(r);
    TAILQ_FOREACH(c, &r->all, all)
    {
        if (!c->session.no_evict && (most == NULL || c->counted_memory > most->counted_memory))
            most = c;
    }
    atomic_store_explicit(&r->largest_client, most ? most->counted_memory : 0, memory_order_relaxed);
    return most;
}

static struct reactor *with_larger(struct reactor *r)
{
    struct net *n = r->net;
    struct reactor *found = NULL;
    uint64_t most = atomic_load_explicit(&r->largest_client, memory_order_relaxed);
    for (int i = 0; i < n->reactor_count + n->http_count; i++) {
        uint64_t there = atomic_load_explicit(&n->reactors[i].largest_client, memory_order_relaxed);
        if (there > most)
            most = there, found = &n->reactors[i];
    }
    return found;
}

static void asked(struct reactor *r, struct mail *m)
{
    (void)m;
    atomic_store(&r->evict_asked, false);
    clients_within_budget(r);
}

void clients_within_budget(struct reactor *r)
{
    while (over_budget(r)) {
        struct connection *c = largest(r);
        struct reactor *other = with_larger(r);
        if (!over_budget(r))
            return;
        if (other != NULL) {
            if (!atomic_exchange(&other->evict_asked, true)) {
                other->evict_mail.deliver = asked;
                reactor_post(other, &other->evict_mail);
            }
            return;
        }
        if (c == NULL)
            return;
        log_warning("client %s closed: all clients take more than maxmemory-clients, and this one most, %zu bytes",
                    c->peer, c->counted_memory);
        stat_add(&r->stats.evicted, 1);
        connection_close(c);
    }
}

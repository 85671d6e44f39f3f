/* The network as a whole: starting, stopping, tuning, counting. */
#include "net/net.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "net/net_internal.h"

/* ---- new connections ---- */

static void welcome(struct reactor *r, struct mail *m)
{
    struct newcomer *who = (struct newcomer *)m;
    connection_new(r, who);
    free(who);
}

void net_accepted(struct net *n, struct newcomer *who)
{
    struct reactor *to = &n->reactors[0];
    who->id = atomic_fetch_add_explicit(&n->next_id, 1, memory_order_relaxed); /* in the order of arrival */
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < n->reactor_count; i++) {
        uint64_t count = atomic_load_explicit(&n->reactors[i].connections, memory_order_relaxed);
        if (count < least)
            least = count, to = &n->reactors[i];
    }
    struct newcomer *letter = to->index == 0 ? NULL : malloc(sizeof *letter);
    if (letter == NULL)
        to = &n->reactors[0];
    atomic_fetch_add(&to->connections, 1);
    atomic_fetch_add(&n->clients, 1);
    atomic_fetch_add_explicit(&n->accepted, 1, memory_order_relaxed);
    if (letter == NULL) {
        connection_new(to, who);
        return;
    }
    *letter = *who;
    letter->mail.deliver = welcome;
    reactor_post(to, &letter->mail);
}

/* ---- life ---- */

enum result net_open(const struct net_options *options, struct net **out, struct errmsg *msg)
{
    *out = NULL;
    struct net *n = calloc(1, sizeof *n);
    if (n == NULL)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the network");
    n->shard = options->shard;
    os_mutex_init(&n->release_lock);
    os_mutex_init(&n->tuning_lock);
    struct pubsub_options hub = {.listeners = options->reactors, .post = net_post_message, .arg = n};
    if (pubsub_open(&hub, &n->pubsub) != RES_OK) {
        os_mutex_fini(&n->release_lock);
        os_mutex_fini(&n->tuning_lock);
        free(n);
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the network");
    }
    streamer_init(&n->streamer);
    atomic_init(&n->next_id, 1);
    net_tune(n, &options->tuning);
    enum result res = listeners_open(&n->listeners, n, options, msg);
    n->reactors = calloc((size_t)options->reactors, sizeof *n->reactors);
    if (n->reactors == NULL && res == RES_OK)
        res = errmsg_set(msg, RES_NO_MEMORY, "no memory for the network");
    for (int i = 0; i < options->reactors && res == RES_OK; i++) {
        n->reactor_count++;
        res = reactor_init(&n->reactors[i], n, i, msg);
    }
    if (res != RES_OK) {
        net_close(n);
        net_free(n);
        return res;
    }
    *out = n;
    return RES_OK;
}

enum result net_start(struct net *n, struct shard *shard, struct errmsg *msg)
{
    if (shard != NULL)
        n->shard = shard;
    pubsub_serve(n->pubsub, n->shard);
    listeners_start(&n->listeners, n->reactors[0].base);
    for (int i = 0; i < n->reactor_count; i++) {
        enum result res = reactor_start(&n->reactors[i], n->shard);
        if (res != RES_OK)
            return errmsg_set(msg, res, "cannot start reactor %d: %s", i, result_text(res));
    }
    return RES_OK;
}

void net_stop(struct net *n, uint64_t patience_ms)
{
    for (int i = 0; i < n->reactor_count; i++) {
        struct reactor *r = &n->reactors[i];
        r->stop_at_ms = reactor_clock_ms() + patience_ms;
        atomic_store(&r->stop, 1);
        if (r->thread_started)
            reactor_wake(r);
    }
    for (int i = 0; i < n->reactor_count; i++) {
        if (n->reactors[i].thread_started)
            os_thread_join(&n->reactors[i].thread);
        n->reactors[i].thread_started = false;
    }
}

void net_close(struct net *n)
{
    streamer_stop(&n->streamer);
    listeners_close(&n->listeners);
    for (int i = 0; i < n->reactor_count; i++)
        reactor_fini(&n->reactors[i]);
}

void net_free(struct net *n)
{
    for (int i = 0; i < n->reactor_count; i++)
        if (n->reactors[i].wake_fd >= 0)
            close(n->reactors[i].wake_fd);
    free(n->reactors);
    pubsub_close(n->pubsub);
    os_mutex_fini(&n->release_lock);
    os_mutex_fini(&n->tuning_lock);
    free(n);
}

int net_port(const struct net *n) { return n->listeners.port; }

void net_tune(struct net *n, const struct net_tuning *tuning)
{
    os_mutex_lock(&n->tuning_lock);
    n->tuning = *tuning;
    os_mutex_unlock(&n->tuning_lock);
    atomic_fetch_add(&n->tuning_version, 1);
}

/* ---- statistics ---- */

static uint64_t relaxed(_Atomic uint64_t *stat) { return atomic_load_explicit(stat, memory_order_relaxed); }

static void sum_stats(struct net *n, struct host_stats *out)
{
    *out = (struct host_stats){.reactors = n->reactor_count};
    out->connected_clients = relaxed(&n->clients);
    out->total_connections = relaxed(&n->accepted);
    out->rejected_connections = relaxed(&n->rejected);
    os_mutex_lock(&n->tuning_lock);
    out->max_clients = n->tuning.max_clients;
    os_mutex_unlock(&n->tuning_lock);
    out->blocked_clients = n->shard != NULL ? shard_blocked_clients(n->shard) : 0;
    out->pubsub_clients = pubsub_clients(n->pubsub);
    out->pubsub_channels = pubsub_names(n->pubsub, PUBSUB_CHANNEL);
    out->pubsub_patterns = pubsub_names(n->pubsub, PUBSUB_PATTERN);
    out->pubsub_shard_channels = pubsub_names(n->pubsub, PUBSUB_SHARD);
    bool paused = n->shard != NULL && shard_paused(n->shard) != SHARD_PAUSE_OFF; /* NULL: not started yet */
    for (int i = 0; i < n->reactor_count; i++) {
        struct reactor_stats *s = &n->reactors[i].stats;
        out->monitors += (uint64_t)atomic_load(&n->reactors[i].monitors);
        out->blocked_clients += paused ? relaxed(&s->parked) : 0;
        out->reads += relaxed(&s->reads);
        out->writes += relaxed(&s->writes);
        out->wakeups += relaxed(&s->wakeups);
        out->input_bytes += relaxed(&s->input_bytes);
        out->output_bytes += relaxed(&s->output_bytes);
        out->cut_by_output_limit += relaxed(&s->cut_by_output_limit);
        out->cut_by_query_limit += relaxed(&s->cut_by_query_limit);
        out->timed_out += relaxed(&s->timed_out);
        out->query_buffers += relaxed(&s->query_buffers);
        out->output_buffers += relaxed(&s->output_buffers);
        if (relaxed(&s->largest_query) > out->largest_query_buffer)
            out->largest_query_buffer = relaxed(&s->largest_query);
        if (relaxed(&s->largest_output) > out->largest_output_buffer)
            out->largest_output_buffer = relaxed(&s->largest_output);
    }
}

/* A reset remembers the sums instead of touching counts that reactors write. */
void net_reset_stats(struct net *n)
{
    struct host_stats now;
    sum_stats(n, &now);
    os_mutex_lock(&n->tuning_lock);
    n->before_reset = now;
    os_mutex_unlock(&n->tuning_lock);
}

void net_stats(struct net *n, struct host_stats *out)
{
    sum_stats(n, out);
    os_mutex_lock(&n->tuning_lock);
    const struct host_stats *b = &n->before_reset;
    out->total_connections -= b->total_connections;
    out->rejected_connections -= b->rejected_connections;
    out->reads -= b->reads;
    out->writes -= b->writes;
    out->wakeups -= b->wakeups;
    out->input_bytes -= b->input_bytes;
    out->output_bytes -= b->output_bytes;
    out->cut_by_output_limit -= b->cut_by_output_limit;
    out->cut_by_query_limit -= b->cut_by_query_limit;
    out->timed_out -= b->timed_out;
    os_mutex_unlock(&n->tuning_lock);
}

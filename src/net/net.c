/* The network as a whole: starting, stopping, tuning, counting. */
#include "net/net.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/http_kv.h"
#include "cmd/metrics.h"
#include "net/lobby.h"
#include "net/net_internal.h"

/* ---- new connections ---- */

static void welcome(struct reactor *r, struct mail *m)
{
    struct newcomer *who = (struct newcomer *)m;
    connection_new(r, who);
    free(who);
}

/* The reactor of a kind with the fewest connections. */
static struct reactor *least_busy(struct net *n, bool is_http)
{
    struct reactor *first = &n->reactors[is_http ? n->reactor_count : 0], *to = first;
    int count = is_http ? n->http_count : n->reactor_count;
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < count; i++) {
        uint64_t has = atomic_load_explicit(&first[i].connections, memory_order_relaxed);
        if (has < least)
            least = has, to = &first[i];
    }
    return to;
}

static void count_in(struct reactor *to, struct newcomer *who)
{
    struct net *n = to->net;
    who->id = atomic_fetch_add_explicit(&n->next_id, 1, memory_order_relaxed); /* in the order of arrival */
    atomic_fetch_add(&to->connections, 1);
    atomic_fetch_add(reactor_clients(to), 1);
    atomic_fetch_add_explicit(to->is_http ? &n->http_accepted : &n->accepted, 1, memory_order_relaxed);
}

static void send_there(struct reactor *to, struct newcomer *letter, const struct newcomer *who)
{
    *letter = *who;
    letter->mail.deliver = welcome;
    reactor_post(to, &letter->mail);
}

void net_accepted(struct reactor *by, struct newcomer *who)
{
    struct reactor *to = least_busy(by->net, by->is_http);
    struct newcomer *letter = to == by ? NULL : malloc(sizeof *letter);
    if (letter == NULL)
        to = by;
    count_in(to, who);
    if (letter == NULL)
        connection_new(to, who);
    else
        send_there(to, letter, who);
}

void net_let_in(struct net *n, struct newcomer *who)
{
    struct newcomer *letter = malloc(sizeof *letter);
    if (letter == NULL) {
        close(who->fd);
        return;
    }
    struct reactor *to = least_busy(n, true);
    count_in(to, who);
    send_there(to, letter, who);
}

/* ---- life ---- */

static int net_threads(const struct net *n) { return n->reactor_count + n->http_count; }

static enum result open_http(struct net *n, const struct net_options *o, struct errmsg *msg)
{
    struct listeners *l = &n->http_listeners;
    http_kv_init();
    metrics_init();
    enum result res = RES_OK;
    if (*o->http_address) {
        res = listeners_add(l, o->http_address, &protocol_http, o->backlog, msg);
        if (res != RES_OK && !o->http_required) {
            log_warning("%s: no HTTP; say http-addr to choose another address", msg->text);
            res = RES_OK;
        }
    }
    if (res == RES_OK && *o->metrics_address)
        res = listeners_add(l, o->metrics_address, &protocol_metrics, o->backlog, msg);
    return res;
}

enum result net_open(const struct net_options *options, struct net **out, struct errmsg *msg)
{
    *out = NULL;
    struct net *n = calloc(1, sizeof *n);
    if (n == NULL)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the network");
    n->shard = options->shard;
    os_mutex_init(&n->release_lock);
    os_mutex_init(&n->tuning_lock);
    os_mutex_init(&n->bound.lock);
    struct pubsub_options hub = {.listeners = options->reactors, .post = net_post_message, .arg = n};
    if (pubsub_open(&hub, &n->pubsub) != RES_OK) {
        os_mutex_fini(&n->release_lock);
        os_mutex_fini(&n->tuning_lock);
        os_mutex_fini(&n->bound.lock);
        free(n);
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the network");
    }
    streamer_init(&n->streamer);
    if (tracking_open(&n->tracking) != RES_OK) {
        net_free(n);
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the network");
    }
    listeners_init(&n->http_listeners);
    atomic_init(&n->next_id, 1);
    net_tune(n, &options->tuning);
    enum result res = listeners_open(&n->listeners, options, msg);
    listeners_list(&n->listeners, &n->bound.row);
    n->bound.backlog = options->backlog;
    if (res == RES_OK && !(n->bound.bind = strdup(options->bind)))
        res = errmsg_set(msg, RES_NO_MEMORY, "no memory for the network");
    memcached_net_init(n);
    if (res == RES_OK && *options->tcp_address)
        res = listeners_add(&n->listeners, options->tcp_address, &protocol_memcached, options->backlog, msg);
    if (res == RES_OK)
        res = open_http(n, options, msg);
    n->reactor_count = options->reactors;
    n->http_count = n->http_listeners.count > 0 ? options->http_threads : 0;
    n->reactors = calloc((size_t)net_threads(n), sizeof *n->reactors);
    if (n->reactors == NULL) {
        n->reactor_count = n->http_count = 0;
        if (res == RES_OK)
            res = errmsg_set(msg, RES_NO_MEMORY, "no memory for the network");
    }
    for (int i = 0; i < net_threads(n); i++)
        n->reactors[i].wake_fd = -1;
    for (int i = 0; i < net_threads(n) && res == RES_OK; i++)
        res = reactor_init(&n->reactors[i], n, i, msg);
    if (res != RES_OK) {
        net_close(n);
        net_free(n);
        return res;
    }
    n->lobby = lobby_open(n, LOBBY_AT_START);
    *out = n;
    return RES_OK;
}

enum result net_start(struct net *n, struct shard *shard, struct errmsg *msg)
{
    if (shard != NULL)
        n->shard = shard;
    pubsub_serve(n->pubsub, n->shard);
    tracking_serve(n->tracking, n->shard);
    lobby_close(n->lobby, true);
    n->lobby = NULL;
    listeners_start(&n->listeners, &n->reactors[0]);
    if (n->http_count > 0)
        listeners_start(&n->http_listeners, &n->reactors[n->reactor_count]);
    for (int i = 0; i < net_threads(n); i++) {
        enum result res = reactor_start(&n->reactors[i], n->shard);
        if (res != RES_OK)
            return errmsg_set(msg, res, "cannot start reactor %d: %s", i, result_text(res));
    }
    return RES_OK;
}

void net_stop(struct net *n, uint64_t patience_ms)
{
    net_stop_listening(n);
    if (n->lobby == NULL)
        n->lobby = lobby_open(n, LOBBY_AT_END);
    for (int i = 0; i < net_threads(n); i++) {
        struct reactor *r = &n->reactors[i];
        r->stop_at_ms = reactor_clock_ms() + patience_ms;
        atomic_store(&r->stop, 1);
        if (r->thread_started)
            reactor_wake(r);
    }
    for (int i = 0; i < net_threads(n); i++) {
        if (n->reactors[i].thread_started)
            os_thread_join(&n->reactors[i].thread);
        n->reactors[i].thread_started = false;
    }
}

void net_close(struct net *n)
{
    streamer_stop(&n->streamer);
    listeners_close(&n->listeners);
    listeners_close(&n->http_listeners);
    for (int i = 0; i < net_threads(n); i++)
        reactor_fini(&n->reactors[i]);
}

void net_free(struct net *n)
{
    lobby_close(n->lobby, false);
    for (int i = 0; i < net_threads(n); i++)
        if (n->reactors[i].wake_fd >= 0)
            close(n->reactors[i].wake_fd);
    free(n->reactors);
    pubsub_close(n->pubsub);
    tracking_close(n->tracking);
    os_mutex_fini(&n->release_lock);
    os_mutex_fini(&n->tuning_lock);
    os_mutex_fini(&n->bound.lock);
    free(n->bound.bind);
    free(n);
}

int net_port(const struct net *n) { return __atomic_load_n(&n->listeners.port, __ATOMIC_RELAXED); }

void net_tune(struct net *n, const struct net_tuning *tuning)
{
    os_mutex_lock(&n->tuning_lock);
    bool wakes = n->tuning.client_budget != tuning->client_budget; /* who sleeps has clients to count */
    n->tuning = *tuning;
    os_mutex_unlock(&n->tuning_lock);
    atomic_fetch_add(&n->tuning_version, 1);
    for (int i = 0; wakes && i < net_threads(n); i++)
        reactor_wake(&n->reactors[i]);
    tracking_limit(n->tracking, tuning->tracking_keys);
}

/* ---- statistics ---- */

static uint64_t relaxed(const _Atomic uint64_t *stat) { return atomic_load_explicit(stat, memory_order_relaxed); }

static void sum_stats(struct net *n, struct host_stats *out)
{
    *out = (struct host_stats){.reactors = n->reactor_count};
    out->connected_clients = relaxed(&n->clients) + relaxed(&n->http_clients);
    out->total_connections = relaxed(&n->accepted) + relaxed(&n->http_accepted);
    out->rejected_connections = relaxed(&n->rejected) + relaxed(&n->http_rejected);
    out->http_clients = relaxed(&n->http_clients);
    out->http_connections = relaxed(&n->http_accepted);
    out->http_rejected = relaxed(&n->http_rejected);
    os_mutex_lock(&n->tuning_lock);
    out->max_clients = n->tuning.max_clients;
    os_mutex_unlock(&n->tuning_lock);
    out->blocked_clients = n->shard != NULL ? shard_blocked_clients(n->shard) : 0;
    out->pubsub_clients = pubsub_clients(n->pubsub);
    out->pubsub_channels = pubsub_names(n->pubsub, PUBSUB_CHANNEL);
    out->pubsub_patterns = pubsub_names(n->pubsub, PUBSUB_PATTERN);
    out->pubsub_shard_channels = pubsub_names(n->pubsub, PUBSUB_SHARD);
    tracking_stats(n->tracking, out);
    bool paused = n->shard != NULL && shard_paused(n->shard) != SHARD_PAUSE_OFF; /* NULL: not started yet */
    for (int i = 0; i < net_threads(n); i++) {
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
        out->evicted += relaxed(&s->evicted);
        out->query_buffers += relaxed(&s->query_buffers);
        out->output_buffers += relaxed(&s->output_buffers);
        const struct http_counts *h = &n->reactors[i].http;
        for (int class = 1; class < 6; class ++)
            out->http_answers[class] += relaxed(&h->answers[class]);
        out->http_malformed += relaxed(&h->malformed);
        out->http_timed_out += relaxed(&h->timed_out);
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
    out->evicted -= b->evicted;
    os_mutex_unlock(&n->tuning_lock);
}

/* The network: listeners, and reactor threads that serve the connections they accept. What the rest of the program
 * sees of it. docs/network.md tells how a loop of a reactor goes.
 *
 * Threads: net_open, net_start, net_stop, net_close and net_free by the main thread; the others by any. */
#ifndef VARVE_NET_NET_H
#define VARVE_NET_NET_H

#include "cmd/host.h"
#include "conf/settings.h"
#include "exec/shard.h"

struct net;

/* What can change while it runs. */
struct net_tuning {
    uint64_t max_clients;
    uint32_t timeout_s, keepalive_s; /* 0: off */
    bool protected_mode, password_set;
    uint64_t bulk_max;    /* proto-max-bulk-len */
    uint64_t query_limit; /* client-query-buffer-limit */
    uint64_t
        output_budget; /* all unsent replies together; beyond it a client with over 1 MiB of them is not read from */
    uint64_t input_budget;  /* all requests on their way together; 0: none */
    uint64_t client_budget; /* all buffers of all clients together (client_budget.h); 0: none */
    uint64_t tracking_keys; /* tracking-table-max-keys */
    struct output_limit output_limit[OUTPUT_CLASSES];
    struct http_tuning {
        uint64_t body_max;
        uint32_t head_s, body_s, idle_s;
        char password[513]; /* requirepass */
        char hosts[1024];   /* names besides localhost that Host may have while there is no password; "*": any */
    } http;
};
struct net_options {
    struct shard *shard; /* may be set later: net_start */
    int reactors;
    const char *bind;      /* addresses; one that starts with '-' may be missing; "*" all of IPv4, "::*" of IPv6 */
    int port;              /* 0: no TCP */
    const char *unix_path; /* NULL or "": none */
    unsigned unix_mode;    /* 0: as umask leaves it */
    int backlog;
    const char *http_address, *metrics_address; /* "host:port", ":port"; "": none */
    const char *tcp_address;                    /* of the memcached binary protocol, the same form */
    bool http_required;                         /* an address in use is an error, not a warning */
    int http_threads;
    struct net_tuning tuning;
};
/* Binds and listens, so that an address in use is known before any data is read. */
enum result net_open(const struct net_options *options, struct net **out, struct errmsg *msg) MUST_CHECK;
/* Starts to accept and to serve. */
enum result net_start(struct net *n, struct shard *shard, struct errmsg *msg) MUST_CHECK;
/* No more connections and requests; what runs is finished and its replies are sent, for at most `patience_ms`. */
void net_stop(struct net *n, uint64_t patience_ms);
void net_close(struct net *n);
/* After shard_close: until its pool has ended, one of its threads may still be about to wake a reactor. */
void net_free(struct net *n);
int net_port(const struct net *n);

/* Listens on these words and this port instead (CONFIG SET bind, port). Any one thread at a time that may wait. */
enum result net_listen(struct net *n, const char *bind, int port, struct errmsg *msg) MUST_CHECK;
#define BINDS_MAX 16
int net_split_binds(char *words, const char *binds[BINDS_MAX]); /* by single spaces; returns how many */
void net_tune(struct net *n, const struct net_tuning *tuning);
void net_stats(struct net *n, struct host_stats *out);
void net_reset_stats(struct net *n);
/* For shard_hooks: MONITOR's lines. arg: the net. */
void net_monitor(void *arg, struct session *s, const struct slice *argv, int argc, uint64_t floor);
/* For shard_hooks: events and messages. arg: the net. */
void net_effect(void *arg, const struct shard_effect *effect);
uint64_t net_receivers(void *arg, bool sharded, struct slice channel);
/* notify-keyspace-events, as settled. */
void net_set_events(struct net *n, struct shard *shard, const char *classes);
/* For struct host_ops. */
void net_client_unblock(struct call *c, uint64_t id, bool error);
void net_client_list(struct call *c, const struct client_filter *filter);
void net_client_kill(struct call *c, const struct client_filter *filter, bool old_form);
enum result net_client_info(struct call *c, struct buf *out);
void net_client_monitor(struct call *c, bool on);
void net_client_tracking(struct call *c, const struct client_tracking *want);
void net_client_untrack(struct call *c);
void net_client_caching(struct call *c, struct slice yes_or_no);
void net_client_tracking_info(struct call *c, bool redirect_only);

#endif

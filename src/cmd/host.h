/* The host: what commands may ask of the program around them. Commands stand below the network, so the server fills this
 * table with functions of src/net and its own, once, before the first command runs. Without a host (tests, tools) the
 * commands that need one answer an error.
 *
 * All functions are called on the thread that runs the command, of a command declared CMD_SESSION: a reactor. stats and
 * reset_stats may be called by any thread. */
#ifndef VARVE_CMD_HOST_H
#define VARVE_CMD_HOST_H

#include "exec/call.h"

/* The level of Redis whose behaviour clients find here, as HELLO and INFO tell it. */
#define REDIS_LEVEL "7.2.5"

enum client_type { CLIENT_ANY, CLIENT_NORMAL, CLIENT_MASTER, CLIENT_REPLICA, CLIENT_PUBSUB };

/* Which clients: every condition given must hold. */
struct client_filter {
    enum client_type type;
    const uint64_t *ids; /* NULL: any */
    size_t id_count;
    struct slice address, local_address, user; /* "ip:port" or a socket's path and ":0"; data NULL: any */
    bool skip_me;                              /* not the client that asks */
};

/* What CLIENT TRACKING asks for. */
struct client_tracking {
    bool on, bcast, optin, optout, noloop;
    uint64_t redirect; /* 0: none */
    const struct slice *prefixes;
    size_t prefix_count;
};

struct host_stats {
    uint64_t http_clients, http_connections, http_rejected;   /* of those below, HTTP's */
    uint64_t http_answers[6], http_malformed, http_timed_out; /* answers by class of status: [2] are 2xx */
    uint64_t connected_clients, max_clients, monitors, total_connections, rejected_connections;
    uint64_t blocked_clients; /* that wait for keys, or for the end of CLIENT PAUSE */
    uint64_t tracking_clients, tracking_keys, tracking_items, tracking_prefixes;
    uint64_t pubsub_clients, pubsub_channels, pubsub_patterns, pubsub_shard_channels;
    uint64_t cut_by_output_limit, cut_by_query_limit, timed_out, evicted; /* connections closed for that */
    uint64_t input_bytes, output_bytes;                                   /* of the network, since the start */
    uint64_t query_buffers, output_buffers;                               /* bytes held now */
    uint64_t reads, writes, wakeups;                                      /* system calls of the reactors */
    uint64_t largest_query_buffer, largest_output_buffer;                 /* among clients connected now */
    int reactors;
};

enum host_shutdown { SHUTDOWN_NOSAVE = 1, SHUTDOWN_SAVE = 2, SHUTDOWN_NOW = 4, SHUTDOWN_FORCE = 8 };

struct host_ops {
    /* CLIENT LIST: asks all reactors; the reply (one text) follows later, and this client is not served before. */
    void (*client_list)(struct call *c, const struct client_filter *filter);
    /* CLIENT KILL with filters: replies with their number, later. `old_form`: OK, or the error of no such client. */
    void (*client_kill)(struct call *c, const struct client_filter *filter, bool old_form);
    /* CLIENT UNBLOCK: replies with 1 or 0, later. */
    void (*client_unblock)(struct call *c, uint64_t id, bool error);
    /* CLIENT INFO: the line of the client that asks, into out. */
    enum result (*client_info)(struct call *c, struct buf *out);
    /* MONITOR on or off for the session of the call. */
    void (*monitor)(struct call *c, bool on);
    /* CLIENT TRACKING (replies, perhaps later), CACHING, and TRACKINGINFO or GETREDIR. */
    void (*tracking)(struct call *c, const struct client_tracking *want);
    void (*caching)(struct call *c, struct slice yes_or_no);
    void (*untrack)(struct call *c); /* RESET */
    void (*tracking_info)(struct call *c, bool redirect_only);
    void (*stats)(struct host_stats *out);
    /* Zeroes the counts since the start (CONFIG RESETSTAT). */
    void (*reset_stats)(void);
    /* Starts the shutdown, which ends this process; the client gets no reply. False: one is under way already. */
    bool (*shutdown)(unsigned flags);
};

/* What does not change while the process runs. */
struct host {
    const struct host_ops *ops;
    uint64_t started_ms;     /* wall clock */
    char run_id[41];         /* 40 hexadecimal digits, new at each start */
    const char *executable;  /* absolute path */
    const char *config_file; /* absolute path, or "" */
    int port;                /* TCP port listened on; 0: none */
};

void host_set(const struct host *host);
const struct host *host_get(void); /* NULL: there is none */

#endif

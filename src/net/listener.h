/* The sockets that are listened on. Those of a protocol belong to its first reactor, which accepts for all of them. */
#ifndef VARVE_NET_LISTENER_H
#define VARVE_NET_LISTENER_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>

#include "base/result.h"

struct net;
struct net_options;
struct newcomer;
struct protocol;
struct reactor;
struct listeners;
#define LISTENERS_MAX 32
struct listener {
    int fd;    /* -1: a place that is free */
    int place; /* among all */
    bool is_unix;
    const struct protocol *protocol;
    struct listeners *all;
    struct event event;
};
struct listeners {
    struct listener item[LISTENERS_MAX];
    struct reactor *reactor; /* that accepts for all */
    int count;
    int port;     /* of RESP over TCP: rebind.c */
    int spare_fd; /* given up for a moment to refuse a client when descriptors have run out */
    char *unix_path;
    unsigned long long last_complaint_ms;
    bool accepting;
};
enum result listeners_open(struct listeners *l, const struct net_options *o, struct errmsg *msg) MUST_CHECK;
/* One more, on "host:port", ":port" (every interface) or "[::1]:port". */
enum result listeners_add(struct listeners *l, const char *address, const struct protocol *protocol, int backlog,
                          struct errmsg *msg) MUST_CHECK;
void listeners_init(struct listeners *l);
void listeners_start(struct listeners *l, struct reactor *r);
void listeners_stop(struct listeners *l); /* on their reactor: closes them */
void listeners_close(struct listeners *l);
/* The sockets of RESP over TCP, which CONFIG SET exchanges (rebind.c). */
struct listen_row {
    int fd[LISTENERS_MAX];
    int count;
};
void listeners_list(const struct listeners *l, struct listen_row *row);
enum result listen_open(struct listen_row *row, const char *const *binds, int count, int port, int backlog,
                        struct errmsg *msg) MUST_CHECK;
void listen_close(struct listen_row *row);
/* On their reactor: these in place of those they have, which are closed. */
void listeners_exchange(struct listeners *l, struct listen_row *row);
/* The next client who waits there. stranger: he is not on this machine. False: there is none, or errno says why not. */
bool listener_accept(const struct listener *item, struct newcomer *who, bool *stranger);

#endif

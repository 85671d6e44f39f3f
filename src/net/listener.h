/* The sockets that are listened on. They belong to reactor 0, which accepts for all. */
#ifndef VARVE_NET_LISTENER_H
#define VARVE_NET_LISTENER_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>

#include "base/result.h"

struct net;
struct net_options;
#define LISTENERS_MAX 32
struct listener {
    int fd;
    bool is_unix;
    struct net *net;
    struct event event;
};
struct listeners {
    struct listener item[LISTENERS_MAX];
    int count;
    int port;     /* of the first TCP socket */
    int spare_fd; /* given up for a moment to refuse a client when descriptors have run out */
    char *unix_path;
    unsigned long long last_complaint_ms;
    bool accepting;
};
enum result listeners_open(struct listeners *l, struct net *n, const struct net_options *o, struct errmsg *msg)
    MUST_CHECK;
void listeners_start(struct listeners *l, struct event_base *base);
void listeners_stop(struct listeners *l); /* on reactor 0: closes them */
void listeners_close(struct listeners *l);

#endif

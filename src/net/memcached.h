/* The memcached binary protocol on a connection (tcp-addr): requests of proto/memcached.h become commands of the same
 * executor, their replies frames. Its reactors are those of RESP. */
#ifndef VARVE_NET_MEMCACHED_H
#define VARVE_NET_MEMCACHED_H

#include "net/connection.h"

struct net;
struct reactor;

extern const struct protocol protocol_memcached;

/* FLUSH with a delay: one moment for the whole server, the last one asked for. */
struct memcached_flush {
    _Atomic uint64_t at_ms; /* 0: none is to come */
    struct session session; /* that runs it */
    atomic_bool running;
};
/* Once a second, on reactor 0: runs it when its time has come. */
void memcached_tick(struct reactor *r, uint64_t now_ms);
void memcached_net_init(struct net *n); /* after the command table, before threads start */

#endif

/* maxmemory-clients: the common budget of all that is kept for clients, in and out, as CLIENT LIST shows it in tot-mem. When the
 * sum is over it, the client that takes most is closed, then the next, on whichever reactor it is; who has said CLIENT NO-EVICT
 * counts and stays. Every reactor tells what its largest client took when it last looked: the one that finds the sum exceeded looks
 * at its own and closes one, or asks the reactor that has a larger one to do the same. Without a budget nothing is counted. */
#ifndef VARVE_NET_CLIENT_BUDGET_H
#define VARVE_NET_CLIENT_BUDGET_H

#include "net/connection.h"

/* On the connection's reactor: its memory may be another now. */
void client_count(struct connection *c);
void client_uncount(struct connection *c);
/* On a reactor, once a turn; `all` of its clients are counted anew, as after a change of the setting. */
void clients_within_budget(struct reactor *r);
void clients_count_all(struct reactor *r);

#endif

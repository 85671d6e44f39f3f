/* Who comes to the HTTP listeners while nobody serves them: before the reactors run, as long as the log is being replayed, and
 * after they have ended, while the data is closed. One thread answers what a supervisor wants to know then: /healthz with 200,
 * /readyz with 503 and why. Other requests wait, unread, and are served once the reactors run; at the end, when nobody will
 * serve them, they are told so with 503.
 *
 * Threads: both functions by the main thread. */
#ifndef VARVE_NET_LOBBY_H
#define VARVE_NET_LOBBY_H

#include <stdbool.h>

struct lobby;
struct net;

enum lobby_kind { LOBBY_AT_START, LOBBY_AT_END };

/* NULL: nobody listens to HTTP, or nothing could be had for it; then clients find what they would without it. The sockets are
 * duplicated: those of the listeners may be closed meanwhile. */
struct lobby *lobby_open(struct net *n, enum lobby_kind kind);
/* served: the reactors, which do not run yet, get those who wait; else these are closed. NULL: nothing happens. */
void lobby_close(struct lobby *l, bool served);

#endif

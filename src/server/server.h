/* The server as one object: opens everything in order, wires settings to the rooms, closes everything in order. main.c
 * is what surrounds it: arguments and signals. Main thread, but for server_wake(). */
#ifndef VARVE_SERVER_SERVER_H
#define VARVE_SERVER_SERVER_H

#include "base/result.h"

struct server;

/* With the settings loaded and the log configured. Binds, recovers the data, starts to serve. */
enum result server_open(struct server **out, struct errmsg *msg) MUST_CHECK;

enum server_event {
    SERVER_TICK,     /* nothing happened for a moment */
    SERVER_SHUTDOWN, /* SHUTDOWN was called, or a signal came */
    SERVER_FAILED,   /* the log cannot be written and clients rely on it: end with an error */
};
/* Waits for one of them. signal_fd: a signalfd for the signals that end the server. */
enum server_event server_wait(struct server *s, int signal_fd);
/* No more clients and requests; what runs is finished, its replies are sent; then all is written and closed. */
enum result server_close(struct server *s) MUST_CHECK;
/* A sentence about the failure. */
const char *server_failure(struct server *s);

/* What systemd wants to know (sd_notify), if it asked to. */
void server_notify(const char *state);

#endif

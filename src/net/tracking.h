/* Client-side caching, the server's part: CLIENT TRACKING. A client that tracks is told when a key may have changed that it
 * has read (or, with BCAST, any key with one of its prefixes), so that it can forget its copy.
 *
 * What must hold: whoever has got an old value hears of the change behind it, and never before it. A change is looked up
 * once it is visible, which may be long before it is durable and so before others read it. Therefore
 *
 *   1. a key is remembered before the command that reads it takes its snapshot;
 *   2. a remembered key whose last change (by its hash, in a table of fixed size) is not yet below the reader's snapshot is
 *      told about at once: its change was looked up before the key was remembered;
 *   3. who is told of a change reads at or above it from then on (session.floor);
 *   4. what is told while a reply is away follows that reply.
 *
 * A key too much is harmless in all of this, and happens.
 *
 * Threads: a tracker's connection is touched by its reactor; tracking_effect() any thread; the rest by the reactor of the
 * connection, or whoever has its session. One lock guards table, lists and options; it is a leaf but for mailboxes. */
#ifndef VARVE_NET_TRACKING_H
#define VARVE_NET_TRACKING_H

#include "cmd/host.h"
#include "exec/shard.h"

struct connection;
struct net;
struct request;
struct tracker;
struct tracking;

enum result tracking_open(struct tracking **out) MUST_CHECK;
void tracking_close(struct tracking *t); /* after the reactors have ended */
void tracking_serve(struct tracking *t, struct shard *shard);
/* tracking-table-max-keys; 0: any number. Any thread. */
void tracking_limit(struct tracking *t, uint64_t keys);
void tracking_stats(struct tracking *t, struct host_stats *out);
/* A change; of effects that are SHARD_TRACKED or SHARD_TRACKED_ALL. */
void tracking_effect(struct tracking *t, const struct shard_effect *e);

/* What keeps a connection's place, made on demand; NULL: no memory. */
struct tracker *tracker_of(struct connection *c);
struct tracker *tracker_ref(struct tracker *t);
void tracker_unref(struct tracker *t); /* NULL: nothing happens */
/* The connection is about to run this, and has run it. */
void tracking_before(struct connection *c, const struct request *q);
void tracking_after(struct connection *c, const struct request *q);
/* RESET, or the end of the connection. */
void tracking_stop(struct connection *c);
void tracking_gone(struct connection *c);
/* "tRB" of CLIENT LIST, as far as it holds; and where its messages go: -1 it does not track, 0: to itself. */
size_t tracking_flags(const struct connection *c, char out[3], int64_t *redirect);
/* CLIENT TRACKING, carried out; to: who gets the messages (want->redirect), if it is another. Replies. Whoever has the session. */
void tracking_set(struct tracking *t, struct tracker *who, const struct client_tracking *want, struct tracker *to,
                  struct sink *reply);

#endif

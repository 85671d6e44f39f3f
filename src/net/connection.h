/* A client's connection: socket, input, requests on their way, output. It lives on one reactor and is touched by no other
 * thread, but for the marked fields and for its session while a command is away (exec/session.h). Counted: the reactor
 * holds one reference while it is open, each command that is away and each message one more.
 *
 * What a connection does next follows from its state:
 *   batch != NULL      requests parsed and not yet executed; nothing is read meanwhile
 *   away               a command is elsewhere (pool, other reactors); nothing is executed meanwhile
 *   in_parked          its next command must wait (exec/shard.h EXEC_PARKED)
 *   choked             it does not take its replies; nothing is executed until it does
 *   readable           the kernel may have more from it (edge-triggered: we are told once)
 *   waiter != NULL     the command that is away waits for a key (net/blocked.c)
 *   closing            nothing more is read or executed; closed when all is said
 *   closed             the socket is gone; the memory waits for the last reference */
#ifndef VARVE_NET_CONNECTION_H
#define VARVE_NET_CONNECTION_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#include "exec/shard.h"
#include "net/mailbox.h"
#include "net/outbox.h"
#include "proto/resp_parse.h"
#include "pubsub/pubsub.h"

struct reactor;
struct connection;

/* What is spoken on a connection. All but fini() are called on its reactor. */
struct protocol {
    const struct session_ops *session;
    /* Makes a batch of what has come (c->in): true when there is one. */
    bool (*parse)(struct connection *c);
    /* Executes the batch; what stops it is in the state afterwards. No system call: the write latch may be held. */
    void (*execute)(struct connection *c);
    /* A command that was away has ended: its reply is in c->back. Says it and goes on; ends with connection_back(). */
    void (*came_back)(struct connection *c);
    /* Frees what it keeps on a connection that is no more; any thread. */
    void (*fini)(struct connection *c);
    /* Once a second: is the connection's time over, by the protocol's own rules? May be NULL. */
    bool (*outstayed)(struct connection *c, uint64_t now_ms);
    /* Served on while it has not taken its replies, as far as memory goes: a client may send a pipeline of any depth before
     * it reads. Without: each waits until the answers before its own are taken, but for CHOKE_BYTES. */
    bool deep;
    const char *full, *denied; /* said to who cannot be let in: too many clients, protected mode */
};
extern const struct protocol protocol_resp, protocol_http, protocol_metrics;

#define BATCH_REQUESTS 64
#define BATCH_SLICES 256
struct request {
    const struct command_entry *entry; /* NULL: unknown, or the wrong number of arguments */
    struct slice *argv;
    int argc;
};
/* Requests parsed ahead, so that what they need can be fetched before the first of them runs. */
struct request_batch {
    uint16_t next, count;
    uint16_t keys;     /* of theirs that are looked ahead for */
    bool alone;        /* the (only) request's memory is the input's */
    const char *error; /* the client's bytes went wrong behind these requests */
    struct request requests[BATCH_REQUESTS];
    struct slice slices[BATCH_SLICES];
};

struct connection {
    struct session session; /* first: session_ops' functions cast */
    const struct protocol *protocol;
    struct http_state *http;           /* of the HTTP protocol; NULL before its first byte */
    struct memcached_state *memcached; /* of memcached's, the same */
    struct reactor *reactor;
    atomic_int refs; /* any thread */
    int fd;
    uint16_t peer_port;
    bool in_ready, in_parked, in_held;
    bool away, choked, readable, eof, closing, closed, write_waiting, stream_reading, is_unix;
    uint8_t said_resp; /* the session's protocol, also while that belongs to another thread */
    bool unproven;     /* nothing was sent since the last read: see connection_probe() */
    /* It is to be closed, but bytes that it still sends are read and dropped for a moment first: closing over them would
     * reset the connection, and the client might never see the answer that is on its way. */
    bool lingers, shut;
    struct event read_event, write_event;
    TAILQ_ENTRY(connection) all, ready, parked, held;
    struct resp_input in;
    struct request_batch *batch;
    struct outbox out;
    uint64_t floor;        /* what is in the output waits for it: session.floor as it was when the last command ended */
    size_t counted_output; /* our share of net.output_bytes_held */
    size_t counted_input;  /* our share of net.input_bytes_held */
    size_t counted_memory; /* our share of net.client_bytes_held */
    uint64_t wrote_ms;     /* when it last took something, or a stream began */
    uint64_t soft_since_ms; /* when the output went over its soft limit; 0: it is not */
    uint64_t input_bytes, output_bytes;
    char peer[48]; /* address without port */
    struct waiter *waiter;
    struct event wait_event;      /* its time is up */
    struct subscriber subscriber; /* when session.subscriber points here (net/pushes.c) */
    struct {                      /* what it is to be told behind the reply that is away */
        struct buf bytes;
        uint64_t floor, bound;
    } later;
    struct tracker *tracker;  /* client-side caching (net/tracking.h); NULL: none */
    struct mail blocked_mail; /* from a pool thread: it waits for this */
    struct waiter *blocked_by;
    /* of a command that was away */
    struct {
        struct mail mail;
        struct buf reply;
        struct outbox streams; /* of the reply, by place in it; only its streams are used */
    } back;
};
TAILQ_HEAD(connection_list, connection);

/* Who has been accepted. */
struct newcomer {
    struct mail mail;
    const struct protocol *protocol;
    uint64_t id;
    int fd;
    bool is_unix;
    uint16_t port;
    char peer[48];
};
/* Takes over the socket. NULL: no memory, the socket is closed. */
struct connection *connection_new(struct reactor *r, const struct newcomer *who);
/* "1.2.3.4" or "::1"; cap at least 46. */
struct sockaddr_storage;
void address_name(const struct sockaddr_storage *a, char *out, size_t cap, uint16_t *port);
void connection_ref(struct connection *c);
void connection_unref(struct connection *c);
/* Closes the socket now; what was not said is lost. */
void connection_close(struct connection *c);
/* Its turn, first half: reads and parses, unless there is something to execute already. True: there is. */
bool connection_prepare(struct connection *c);
/* Second half: executes one batch. No system call in here: the write latch may be held. */
void connection_run(struct connection *c);
/* What may leave, leaves. */
void connection_flush(struct connection *c);
/* After a command: does the client have so many replies to take that it is not served on? Sets `choked`. */
bool connection_chokes(struct connection *c);
/* A command that was away has its reply in the output: goes on. */
void connection_back(struct connection *c);

/* ---- commands that are away: away.c ---- */

/* A command has just gone away for something cold: what the others of the batch need is fetched beside it. */
void connection_warm(struct connection *c);
/* What every protocol's session_ops say. */
void connection_completed(struct session *s, struct buf *reply);
enum result connection_stream(struct session *s, size_t at, uint64_t len, struct sink_source *source);
void connection_rewound(struct session *s, size_t at);
void connection_session_ref(struct session *s);
void connection_session_unref(struct session *s);
void connection_address(struct session *s, char out[64]);
/* The reply that came back, for a protocol that says it in its own way. False: memory, or it makes no sense. */
bool connection_replay(struct connection *c, struct sink *into);
/* Lets go of it. */
void connection_drop_reply(struct connection *c);
/* Once a second: has a client that asked for nothing gone without our seeing it? */
void connection_probe(struct connection *c, uint64_t now_ms);
/* True while somebody waits for it: requests or replies are on their way. */
bool connection_busy(const struct connection *c);
size_t connection_memory(const struct connection *c);
void connection_name_peer(struct connection *c, char out[64]);
void connection_name_local(const struct connection *c, char out[64]);

/* Which limit of the output counts. */
enum output_class connection_class(const struct connection *c);

/* net/blocked.c: commands that wait for keys. */
void connection_wait(struct connection *c, struct waiter *w); /* takes the reference */
void connection_wait_over(struct connection *c);              /* the reply has come */
/* Ends it; true: the reply (but of WAIT_CLOSE) is said. */
bool connection_end_wait(struct connection *c, enum wait_end why);
void session_blocked(struct session *s, struct waiter *w);

/* net/requests.c: c->back.reply and its streams are the reply of the command that was away. */
void connection_take_back(struct connection *c);
extern const struct session_ops connection_session_ops; /* of RESP */

#endif

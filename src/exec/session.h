/* A session: what the executor knows of a client, whatever its protocol. Owned by its connection, used by one thread at
 * a time (its reactor; while a command is away on the pool, the pool thread). Fields marked "any" may be read by others. */
#ifndef VARVE_EXEC_SESSION_H
#define VARVE_EXEC_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct session;
struct sink_source;
struct waiter;
struct subscriber;
struct multi;
struct multi_rest;
struct watch_set;
struct call;
struct command_entry;

/* What a protocol does for its sessions. */
struct session_ops {
    const char *protocol; /* "resp", "http", "memcached", "internal" */
    /* A command that was away is finished: called on a pool thread; posts to the reactor, which appends `reply` (its
     * bytes are taken over, `reply` left empty) when session->floor allows, and goes on with the connection. */
    void (*completed)(struct session *s, struct buf *reply);
    /* Of a command that is away, before completed(): a long bulk (exec/sink.h) whose bytes belong behind the first `at`
     * bytes of its reply; RES_NO_MEMORY: the source is closed. And: the reply was cut back to `at` bytes. May be NULL:
     * sources are then read whole. */
    enum result (*stream)(struct session *s, size_t at, uint64_t len, struct sink_source *source);
    void (*rewound)(struct session *s, size_t at);
    bool takes_elements;            /* such a source may be SINK_ELEMENTS */
    void (*ref)(struct session *s); /* keeps session and arguments alive while a command is away */
    void (*unref)(struct session *s);
    /* A command that was away waits for a key (call_wait): `w`, a reference of which is the session's now, ends with
     * completed(), or with waiter_take() by whoever the session belongs to. Called on a pool thread that holds the latch:
     * posts. NULL: this session never waits. */
    void (*blocked)(struct session *s, struct waiter *w);
    /* The session as a subscriber, made on demand (src/pubsub); NULL: it cannot be one. */
    struct subscriber *(*subscribe)(struct session *s);
    /* "127.0.0.1:50000", for the slow log; called by the thread that has the session. May be NULL. */
    void (*address)(struct session *s, char out[64]);
};

enum session_reply_mode { SESSION_REPLY_ON, SESSION_REPLY_OFF, SESSION_REPLY_SKIP, SESSION_REPLY_SKIP_NEXT };

/* What makes exec_run look closer. */
enum session_state { SESSION_MULTI = 1, SESSION_SUBSCRIBED = 2 };

struct session {
    const struct session_ops *ops;
    uint64_t id;    /* any; 1, 2, 3 ... */
    uint64_t floor; /* highest sequence it committed or was bound to: its replies wait for it */
    /* The selected database's number; 2 or 3. While a command is away they are its thread's to change (EXEC does), and the
     * reactor reads them for CLIENT LIST and to look ahead. */
    _Atomic uint32_t db;
    _Atomic int resp;
    bool authenticated;
    bool no_touch, no_evict, monitor;
    bool close_after_reply;
    enum session_reply_mode reply_mode;
    unsigned state;                /* enum session_state */
    bool answers_later;            /* the command that ran has asked others; completed() brings its reply */
    struct multi *multi;           /* SESSION_MULTI: what was queued (multi.c) */
    struct multi_rest *rest;       /* what EXEC has left to do: exec_rest() */
    struct watch_set *watched;     /* WATCH (watch.c); NULL: nothing */
    struct subscriber *subscriber; /* SUBSCRIBE and the like (src/pubsub); NULL: never */
    struct buf name, lib_name, lib_version;
    const struct command_entry *last_command;
    uint64_t commands; /* run so far */
    uint64_t created_ms, active_ms;
    void *connection; /* the protocol's own */
};

#endif

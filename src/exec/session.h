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
    void (*ref)(struct session *s); /* keeps session and arguments alive while a command is away */
    void (*unref)(struct session *s);
    /* "127.0.0.1:50000", for the slow log; called by the thread that has the session. May be NULL. */
    void (*address)(struct session *s, char out[64]);
};

enum session_reply_mode { SESSION_REPLY_ON, SESSION_REPLY_OFF, SESSION_REPLY_SKIP, SESSION_REPLY_SKIP_NEXT };

struct session {
    const struct session_ops *ops;
    uint64_t id;    /* any; 1, 2, 3 ... */
    uint64_t floor; /* highest sequence it committed or was bound to: its replies wait for it */
    uint32_t db;    /* selected database number */
    int resp;       /* 2 or 3 */
    bool authenticated;
    bool no_touch, no_evict, monitor;
    bool close_after_reply;
    enum session_reply_mode reply_mode;
    struct buf name, lib_name, lib_version;
    const struct command_entry *last_command;
    uint64_t commands; /* run so far */
    uint64_t created_ms, active_ms;
    void *connection; /* the protocol's own */
};

#endif

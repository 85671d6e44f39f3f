/* A key-value server in miniature, for tests of the executor: a few commands on plain records, clients without sockets,
 * workers that a test moves by hand or a thread runs in a loop.
 *
 * A record's key is 'M' and the user's key; its value is an expiry (8 bytes, big-endian, 0: never) and the bytes. The
 * commands keep the contract that the real store keeps: call_saw for what they look up, call_signal and call_count for
 * what they change, an expired key is deleted by the writer that meets it. */
#ifndef VARVE_TESTS_LIB_MINI_H
#define VARVE_TESTS_LIB_MINI_H

#include "exec/shard.h"
#include "os/thread.h"

enum mini_command {
    MINI_GET,     /* GET key */
    MINI_MGET,    /* MGET key... */
    MINI_SET,     /* SET key value [expire-ms] */
    MINI_SETNX,   /* SETNX key value -> 0, 1 */
    MINI_INCR,    /* INCR key */
    MINI_DEL,     /* DEL key... */
    MINI_MSET,    /* MSET key value ... */
    MINI_PERSIST, /* PERSIST key -> 0, 1 */
    MINI_SIZE,    /* SIZE: the counter */
    MINI_COPYALL, /* COPYALL from to: every key beginning with `from`, under `to`; iterates; CMD_LONG */
    MINI_LIST,    /* LIST prefix: keys, through the iterator */
    MINI_DRAW,    /* DRAW key: stores a random number and replies it */
    MINI_FLUSH,   /* FLUSH: signals the database map */
    MINI_PING,    /* CMD_SESSION, fast */
    MINI_FAIL,    /* FAIL text: an error reply; CMD_SESSION */
    MINI_SPIN,    /* SPIN key ms: works so long by mini_clock, asking call_too_long, then sets the key */
    MINI_PUSH,    /* PUSH key element: elements have MINI_ELEMENT bytes; the value is their row */
    MINI_TAKE,    /* TAKE key timeout-ms: the first element; waits for it */
    MINI_MOVE,    /* MOVE from to timeout-ms: the same, and pushes it */
    MINI_MULTI,   /* CMD_SESSION */
    MINI_EXEC,    /* what was queued */
    MINI_DISCARD, /* CMD_SESSION */
    MINI_WATCH,   /* WATCH key... */
    MINI_COUNT,
};
#define MINI_ELEMENT 4
extern const struct command_entry mini_entry[MINI_COUNT];
/* The same command, declared as long: it goes to the pool at once; a write is prepared, and always too long for the latch. */
const struct command_entry *mini_long(enum mini_command cmd);

extern struct env *mini_clock; /* an env_memory */

/* For shard_set_prefetch(). */
bool mini_key_ahead(struct shard *s, uint32_t db, struct slice user, uint8_t *room, size_t len, struct shard_key *out);

/* ---- clients ---- */
struct mini_client {
    struct session session;
    struct resp_sink sink;
    struct buf out;  /* replies, also those that may not leave yet */
    struct buf away; /* brought by completed() */
    struct os_mutex lock;
    struct os_cond changed;
    bool is_away, is_back;
    void (*on_completed)(struct mini_client *c); /* or NULL; on the pool thread, after is_back */
    void *owner;
    atomic_int refs;
    struct waiter *waiter; /* it waits for a key; under lock */
    uint64_t snapshot;     /* of the last run */
    /* The command being run. */
    const struct command_entry *entry;
    int argc;
    struct slice argv[32];
    uint8_t bytes[1024]; /* of the arguments, unless they are large */
};
void mini_client_init(struct mini_client *c, uint64_t id);
void mini_client_fini(struct mini_client *c);
/* Words apart by one space; copied. */
void mini_prepare(struct mini_client *c, enum mini_command cmd, const char *args);
/* One more argument, borrowed. */
void mini_prepare_arg(struct mini_client *c, struct slice arg);
/* Runs what is prepared. */
enum exec_outcome mini_run(struct exec_worker *w, struct mini_client *c);
/* Takes over the reply of a command that was away, waiting for it if need be. */
void mini_collect(struct mini_client *c);
bool mini_is_back(struct mini_client *c);
/* Of one that is away: it waits for a key. */
bool mini_waits(struct mini_client *c);
/* Ends that; true: the reply is in c->out (none of WAIT_CLOSE). */
bool mini_end_wait(struct exec_worker *w, struct mini_client *c, enum wait_end why);
/* prepare, run, end the row, collect; the reply as text (until the next command of the client). Not for what parks for long. */
const char *mini_do(struct exec_worker *w, struct mini_client *c, enum mini_command cmd, const char *args);
/* The reply so far, and empties it at the next command. */
const char *mini_reply(struct mini_client *c);

/* ---- a worker that counts how often it was woken ---- */
struct mini_worker {
    struct exec_worker *exec;
    atomic_int wakes;
};
void mini_worker_init(struct mini_worker *w, struct shard *s, const char *name);
void mini_worker_fini(struct mini_worker *w);

#endif

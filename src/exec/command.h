/* A command's declaration. Each command has exactly one, beside its handler in src/cmd; the table, COMMAND and its
 * subcommands, and the generated reference are made from it. */
#ifndef VARVE_EXEC_COMMAND_H
#define VARVE_EXEC_COMMAND_H

#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"

struct call;
struct shard;
struct session;
struct sink;
/* Runs the command: writes one reply to c->reply and returns RES_OK; or RES_WOULD_BLOCK from a read (the run is
 * dropped and repeated on a thread that may wait); or another code (the run is dropped, the client gets an error that
 * fits it). May be run several times: touches nothing but its overlay, its reply and its effects. */
typedef enum result command_fn(struct call *c);
/* A key of a request, with the flags (enum keyspec_flags) of what happens to it. */
typedef void command_key_fn(void *arg, struct slice key, uint16_t keyspec_flags);

/* The names COMMAND INFO gives them are in cmd/command_info.c. */
enum command_flags {
    CMD_WRITE = 1 << 0,
    CMD_READONLY = 1 << 1,
    CMD_DENYOOM = 1 << 2,
    CMD_ADMIN = 1 << 3,
    CMD_PUBSUB = 1 << 4,
    CMD_NOSCRIPT = 1 << 5,
    CMD_BLOCKING = 1 << 6,
    CMD_LOADING = 1 << 7,
    CMD_STALE = 1 << 8,
    CMD_SKIP_MONITOR = 1 << 9,
    CMD_SKIP_SLOWLOG = 1 << 10,
    CMD_ASKING = 1 << 11,
    CMD_FAST = 1 << 12,
    CMD_NO_AUTH = 1 << 13,
    CMD_MAY_REPLICATE = 1 << 14,
    CMD_ALLOW_BUSY = 1 << 15,
    CMD_MOVABLE_KEYS = 1 << 16,
    CMD_NO_MULTI = 1 << 17,
    CMD_NO_ASYNC_LOADING = 1 << 18,
    CMD_NO_MANDATORY_KEYS = 1 << 19,
    CMD_PROTECTED = 1 << 20,
    /* ours, not shown */
    CMD_UNBUNDLED = 1 << 23, /* a write that is a batch of its own even in a row (bundle.c) */
    CMD_SESSION = 1 << 24,   /* works on connections or the server, not on data: always on the reactor, no snapshot */
    CMD_LONG = 1 << 25,      /* proportional to the data (KEYS, FLUSHALL SYNC ...): straight to the pool */
    CMD_LATCHED = 1 << 26,   /* runs as a write does, though it writes nothing (WATCH) */
    CMD_EXEC = 1 << 27,      /* runs what MULTI has queued, in the way that those commands need */
    CMD_UNQUEUED = 1 << 28,  /* runs at once after MULTI, too */
    CMD_IN_PLACE = 1 << 29,  /* with CMD_SESSION: can run again, and so within EXEC's run; others follow it (multi.c) */
    CMD_SUBSCRIBER = 1 << 30, /* may be sent in RESP2 by a client that has subscriptions */
};

/* ACL categories that do not follow from flags and group. */
enum command_acl {
    ACL_KEYSPACE = 1 << 0,
    ACL_DANGEROUS = 1 << 1,
    ACL_CONNECTION = 1 << 2,
    ACL_STRING = 1 << 3,
    ACL_BITMAP = 1 << 4,
    ACL_HASH = 1 << 5,
    ACL_LIST = 1 << 6,
    ACL_SET = 1 << 7,
    ACL_SORTEDSET = 1 << 8,
    ACL_HYPERLOGLOG = 1 << 9,
    ACL_GEO = 1 << 10,
    ACL_STREAM = 1 << 11,
    ACL_TRANSACTION = 1 << 12,
    ACL_SCRIPTING = 1 << 13,
    ACL_BLOCKING = 1 << 14,
    ACL_ADMIN = 1 << 15, /* besides what CMD_ADMIN says */
};

/* Redis' key specification flags. */
enum keyspec_flags {
    KEY_RO = 1,
    KEY_RW = 2,
    KEY_OW = 4,
    KEY_RM = 8,
    KEY_ACCESS = 16,
    KEY_UPDATE = 32,
    KEY_INSERT = 64,
    KEY_DELETE = 128,
    KEY_NOT_KEY = 256,
    KEY_INCOMPLETE = 512,
    KEY_VARIABLE = 1024,
};
struct command_keyspec {
    uint16_t flags;
    enum { KEYS_NONE, KEYS_INDEX, KEYS_KEYWORD, KEYS_UNKNOWN_BEGIN } begin;
    int index;           /* KEYS_INDEX: position of the first key */
    const char *keyword; /* KEYS_KEYWORD, searched from startfrom */
    int startfrom;
    enum { KEYS_RANGE, KEYS_KEYNUM, KEYS_UNKNOWN_FIND } find;
    int last, step, limit;                       /* KEYS_RANGE: last relative to the first; -1 the last argument */
    int keynum_index, keynum_first, keynum_step; /* KEYS_KEYNUM */
    const char *notes;
};

enum command_arg_type {
    ARG_STRING,
    ARG_INTEGER,
    ARG_DOUBLE,
    ARG_KEY,
    ARG_PATTERN,
    ARG_UNIX_TIME,
    ARG_PURE_TOKEN,
    ARG_ONEOF,
    ARG_BLOCK,
};
enum command_arg_flags { ARG_OPTIONAL = 1, ARG_MULTIPLE = 2, ARG_MULTIPLE_TOKEN = 4 };
struct command_arg {
    const char *name; /* NULL ends an array of arguments */
    enum command_arg_type type;
    int key_spec;      /* ARG_KEY: index of its key specification */
    const char *token; /* NULL: none */
    const char *since; /* NULL: as the command */
    int flags;
    const struct command_arg *children; /* ARG_ONEOF, ARG_BLOCK */
    const char *display;                /* NULL: the name */
};

struct command_history {
    const char *since, *change; /* since NULL ends an array */
};

struct command {
    const char *name; /* lower case; a subcommand's own word */
    int arity;        /* counts the name (and container); negative: at least */
    uint32_t flags;
    uint32_t acl;
    const char *group; /* Redis' documentation group: "string", "generic" ... */
    const char *since;
    const char *complexity;
    const char *summary;                        /* one sentence of our own */
    const char *deprecated_since, *replaced_by; /* or NULL */
    const struct command_keyspec *keys;         /* flags 0 ends an array; NULL: no keys */
    const struct command_arg *args;             /* or NULL */
    const struct command_history *history;      /* or NULL */
    const char *const *tips;                    /* NULL-terminated, or NULL */
    const struct command *const *subcommands;   /* NULL-terminated, or NULL */
    command_fn *run;                            /* NULL: a container only */
    /* Checks that need no data, done before the latch is taken, may be NULL: an error replied here never touches it. */
    command_fn *check;
    /* Where a key specification says KEY_VARIABLE: the flags a request's keys really have; else NULL. */
    uint16_t (*key_flags)(int argc, const struct slice *argv);
    /* Where key specifications cannot tell a request's keys: calls each for them; false: there are none. Else NULL. */
    bool (*find_keys)(int argc, const struct slice *argv, command_key_fn *each, void *arg);
    /* Of a CMD_WRITE command: this request writes nothing and runs as a read. NULL: never. */
    bool (*only_reads)(int argc, const struct slice *argv);
    /* Of a command that calls call_wait(): its reply when the time is up, on the thread that has the session. NULL: a null
     * array. */
    void (*waited)(struct shard *s, const struct session *session, struct sink *reply);
};

/* A command as the table knows it: numbered, so that statistics are arrays. */
struct command_entry {
    const struct command *command;
    const struct command_entry *parent; /* of a subcommand */
    uint16_t id;                        /* 0 .. command_count()-1, subcommands included */
    char full_name[48];                 /* "config|get" */
};

#endif

/* The server's commands without its sockets, for tests of store and commands: a shard with a store over a real front and
 * engine, one worker, one client that runs real commands by name and reads their replies as RESP. */
#ifndef VARVE_TESTS_LIB_TALK_H
#define VARVE_TESTS_LIB_TALK_H

#include "exec/shard.h"
#include "os/thread.h"

struct talk_options {
    struct env *env;                 /* NULL: env_posix */
    const struct engine_ops *engine; /* NULL: engine_memory */
    const char *dir;                 /* NULL: "talk" */
    uint32_t databases;              /* 0: 16 */
    uint64_t memtable_bytes;         /* 0: the front's default */
    uint64_t log_bytes;              /* of a segment of the log and of its ring; 0: the front's defaults */
};
struct talk {
    struct shard *shard;
    struct exec_worker *worker;
    struct session session;
    struct resp_sink sink;
    struct buf out, away;
    struct os_mutex lock;
    struct os_cond changed;
    bool back;
    atomic_int wakes;
};
/* Ends the program when something fails. */
void talk_open(struct talk *t, const struct talk_options *options);
void talk_close(struct talk *t);

/* Runs a command; its reply as bytes, until the next command. */
struct slice talk_run(struct talk *t, int argc, const struct slice *argv);
/* Words apart by one space. The reply as text. */
const char *talk(struct talk *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same, of commands whose reply is an integer; INT64_MIN for anything else. */
int64_t talk_int(struct talk *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The bytes of a bulk reply; data NULL when the reply is null or something else. */
struct slice talk_bulk(struct slice reply);
/* Splits an array of bulks (no deeper) into at most `max` slices; the number of elements, or -1. */
int talk_array(struct slice reply, struct slice *out, int max);
/* fn with a call of its own, as background work. Ends the program when it fails with anything but `expected`. */
void talk_call(struct talk *t, command_fn *fn, void *arg, enum result expected);
/* Waits until the condition holds, at most 10 s. */
bool talk_wait_for(bool (*holds)(void *arg), void *arg);

#endif

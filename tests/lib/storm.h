/* A storm of commands over one shard, and its verdict: several workers, each with a few clients as a reactor has them,
 * beside a thread that disturbs (moves the gate, makes keys cold, takes log space away). Every operation is stamped when
 * it is sent and when its reply leaves, which is when the gate has passed the session's floor; what comes out must be
 * linearizable (tests/lib/linear.h).
 *
 * A worker behaves as a reactor must: parked commands run again after wake() only, and it sleeps until wake() when it
 * has nothing to do; so a wake-up that is missing shows as a standstill. */
#ifndef VARVE_TESTS_LIB_STORM_H
#define VARVE_TESTS_LIB_STORM_H

#include "tests/lib/linear.h"
#include "tests/lib/mini.h"

struct storm {
    /* Set by the test. */
    struct shard *shard;
    uint64_t seed;
    int workers, clients, ops;      /* clients a worker, operations a client; workers * clients * ops <= LINEAR_OPS */
    int group;                      /* keys of an earlier group of the same shard are left alone */
    int padding;                    /* bytes before each key, at most 120: to fill memtables */
    bool expiring;                  /* keys with a time of a few ms among the others */
    unsigned transactions_permille; /* share of operations that are MULTI and EXEC, some of them after WATCH */
    unsigned prepared_permille;     /* share of the commands that are run as prepared ones whatever they find */
    /* Called again and again by a thread of its own while the workers run, with a random number; last: once more, to
     * leave everything open. May be NULL. */
    void (*disturb)(struct storm *s, uint64_t random, bool last);
    void *arg;
    /* What happened. An operation's hint is odd if it changed something, and in the order of the commits. */
    struct linear_op history[LINEAR_OPS];
    size_t count;
    /* Operations whose reply never left, because the log failed: not in the history, and nobody may have seen them; after
     * a restart they may have happened or not. */
    struct linear_op unknown[LINEAR_OPS];
    size_t lost;
    size_t refused;  /* answered with an error after the log had failed: nowhere */
    bool standstill; /* a worker slept for 20 s */
    bool wrong_reply;
    char text[16384]; /* why it is not linearizable */
    /* Its own. */
    _Atomic uint64_t moment;
    atomic_int running;
    struct os_mutex lock;
};
/* The name of a key. */
void storm_key(const struct storm *s, int key, char out[160]);
/* False: look at standstill, wrong_reply and text. */
bool storm_run(struct storm *s);

#endif

/* Failures on demand: a table that says which call of which kind fails, how often and how. The in-memory environment
 * has one (env_memory_faults()); env_fault_new() puts one in front of any other environment.
 *
 * A test for "whatever fails, nothing is lost" asks for {.ops = ENV_OPS_ALL, .nth = n} for n = 1, 2, ... until a run
 * ends without a hit. */
#ifndef VARVE_OS_ENV_FAULT_H
#define VARVE_OS_ENV_FAULT_H

#include <pthread.h>

#include "os/env.h"

#define ENV_OP_TABLE(X)                                                                                                \
    X(OPEN)                                                                                                            \
    X(UNLINK)                                                                                                          \
    X(RENAME)                                                                                                          \
    X(LINK)                                                                                                            \
    X(MKDIR)                                                                                                           \
    X(RMDIR)                                                                                                           \
    X(LIST)                                                                                                            \
    X(SYNC_DIR)                                                                                                        \
    X(LOCK)                                                                                                            \
    X(SPACE)                                                                                                           \
    X(PREAD)                                                                                                           \
    X(PWRITEV)                                                                                                         \
    X(SYNC)                                                                                                            \
    X(SIZE)                                                                                                            \
    X(TRUNCATE)                                                                                                        \
    X(ALLOCATE)                                                                                                        \
    X(CLOSE)
enum env_op {
#define ENV_OP_ENUM(name) ENV_OP_##name,
    ENV_OP_TABLE(ENV_OP_ENUM)
#undef ENV_OP_ENUM
        ENV_OP_COUNT
};
#define ENV_OP_BIT(op) (1u << (op))
#define ENV_OPS_ALL (ENV_OP_BIT(ENV_OP_COUNT) - 1)
/* What changes a disk. */
#define ENV_OPS_WRITE                                                                                                  \
    (ENV_OPS_ALL & ~(ENV_OP_BIT(ENV_OP_LIST) | ENV_OP_BIT(ENV_OP_SPACE) | ENV_OP_BIT(ENV_OP_PREAD) |                   \
                     ENV_OP_BIT(ENV_OP_SIZE) | ENV_OP_BIT(ENV_OP_LOCK)))

const char *env_op_name(enum env_op op);

struct env_fault {
    uint32_t ops;     /* ENV_OP_BIT()s */
    const char *path; /* a part of the path (copied); NULL: any */
    uint64_t nth;     /* the first matching call that fails, from 1; 0 counts as 1 */
    uint64_t times;   /* how many in a row; 0 counts as 1, UINT64_MAX: from then on all */
    enum result code; /* RES_OK with a `partial`: a read that is short without an error */
    /* Bytes of a read or write that are done before it fails; negative: none. A write with RES_OK and partial lies. */
    int64_t partial;
    bool done; /* the call takes its whole effect and fails all the same */
};

struct env_fault_rule;
struct env_faults {
    pthread_mutex_t lock;
    struct env_fault_rule *rules;
    size_t count;
    uint64_t calls[ENV_OP_COUNT];
    uint64_t hits;
};

void env_faults_init(struct env_faults *t);
void env_faults_fini(struct env_faults *t);
void env_faults_add(struct env_faults *t, const struct env_fault *fault);
void env_faults_clear(struct env_faults *t); /* the rules; the counts stay */
uint64_t env_faults_hits(struct env_faults *t);
uint64_t env_faults_calls(struct env_faults *t, uint32_t ops);
/* For an environment: counts this call and says whether, and how, it fails. The first rule that matches wins. */
bool env_faults_hit(struct env_faults *t, enum env_op op, const char *path, struct env_fault *out);

/* A faulty environment over `inner`, which must outlive it. */
struct env *env_fault_new(struct env *inner);
void env_fault_free(struct env *env); /* all files are closed */
struct env_faults *env_fault_table(struct env *env);

#endif

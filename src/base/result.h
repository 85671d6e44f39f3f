/* Result codes: one table for the whole program.
 *
 * Every function that can fail returns `enum result`, and the compiler insists that it is looked at. "Not found" is
 * an answer, not an error, but shares the type so that one value can be passed up. Where a person must act on a
 * failure, the function's last parameter is a `struct errmsg *` (may be NULL) that receives a whole sentence. */
#ifndef VARVE_BASE_RESULT_H
#define VARVE_BASE_RESULT_H

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define RESULT_TABLE(X)                                                                                                \
    X(RES_OK, "ok")                                                                                                    \
    X(RES_NOT_FOUND, "not found")                                                                                      \
    X(RES_WOULD_BLOCK, "would block") /* run it again on a thread that may wait */                                     \
    X(RES_NO_MEMORY, "out of memory")                                                                                  \
    X(RES_NO_SPACE, "no space left") /* ENOSPC, EDQUOT: heals when space returns */                                    \
    X(RES_IO, "input/output error")  /* final for the file it happened on */                                           \
    X(RES_CORRUPT, "damaged data")   /* checksum or structure does not hold */                                         \
    X(RES_INVALID, "invalid argument")                                                                                 \
    X(RES_RANGE, "out of range")                                                                                       \
    X(RES_EXISTS, "already exists")                                                                                    \
    X(RES_LOCKED, "in use by another process")                                                                         \
    X(RES_READ_ONLY, "read only") /* a failed log write froze the shard */                                             \
    X(RES_UNSUPPORTED, "not supported")                                                                                \
    X(RES_NO_ACCESS, "permission denied")                                                                              \
    X(RES_TOO_MANY, "limit reached") /* descriptors, connections */                                                    \
    X(RES_INTERRUPTED, "interrupted")                                                                                  \
    X(RES_CLOSED, "closed")   /* shutting down */                                                                      \
    X(RES_RETRY, "try again") /* lost a race; nothing was changed */

enum result {
#define RESULT_ENUM(name, text) name,
    RESULT_TABLE(RESULT_ENUM)
#undef RESULT_ENUM
        RESULT_COUNT
};

/* A static string, never NULL. */
const char *result_text(enum result code);
/* The code for an errno value. */
enum result result_from_errno(int error);

struct errmsg {
    char text[512];
};
/* Writes the sentence (cut to the buffer) unless msg is NULL; returns `code`, so that it can be `return errmsg_set(...)`. */
enum result errmsg_set(struct errmsg *msg, enum result code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif

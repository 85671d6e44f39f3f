/* A linearizability checker for a handful of integer registers that are read and written together.
 *
 * A history is a list of operations with the moments of their call and of their reply. It is linearizable if every
 * operation can be given one moment between the two at which it took effect at once, so that in the order of these
 * moments each result is what a single-threaded server would have answered. The search is Wing and Gong's ("Testing and
 * verifying concurrent objects", 1993) with Lowe's memory of what was tried ("Testing for linearizability", 2017): it
 * goes on with any operation that was called before the earliest reply outstanding, and never looks twice at the same
 * set of done operations with the same registers. Histories have at most 64 operations; make many of them. */
#ifndef VARVE_TESTS_LIB_LINEAR_H
#define VARVE_TESTS_LIB_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINEAR_KEYS 4
#define LINEAR_OPS 64
#define LINEAR_NIL INT64_MIN

enum linear_kind {
    LINEAR_GET,   /* result: the value or NIL */
    LINEAR_SET,   /* value */
    LINEAR_SETNX, /* value; result 1: set */
    LINEAR_INCR,  /* result: the new value */
    LINEAR_DEL,   /* result 1: it was there */
    LINEAR_MGET,  /* results: of all registers */
    LINEAR_MSET,  /* value: to all registers */
    LINEAR_SETEX, /* value, and from then on the register may become NIL by itself, once, until it is set again */
    LINEAR_EXEC,  /* a transaction: INCR of the register, first; SET of the next one to value; results: of all, then */
    LINEAR_LOOK,  /* a transaction that reads; results: of all registers */
    LINEAR_CAS, /* WATCH and EXEC; first: what was read. result 1: it still was, the register and the next are value */
    LINEAR_PERSIST, /* result 1: it might have, and will not any more; INCR leaves that as it is */
};
struct linear_op {
    enum linear_kind kind;
    int key; /* of one register */
    int64_t value;
    int64_t first;
    int64_t result[LINEAR_KEYS];
    uint64_t called, replied; /* replied 0: never; it may have taken effect or not */
    uint64_t hint;            /* operations are tried in this order first: only makes the search quick */
    int client; /* its operations take effect in the order of their calls, also where they overlap; 0: nobody's */
};

static inline int linear_next(int key) { return (key + 1) % LINEAR_KEYS; }
/* False: not linearizable; why says with which operations. The registers start as NIL. */
bool linear_check(const struct linear_op *ops, size_t count, char *why, size_t room);
void linear_print(const struct linear_op *op, char *out, size_t room);

#endif

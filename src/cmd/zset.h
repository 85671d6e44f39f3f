/* What commands on sorted sets share: keys, ranges as arguments, replies. */
#ifndef VARVE_CMD_ZSET_H
#define VARVE_CMD_ZSET_H

#include "cmd/support.h"
#include "store/zset.h"

/* A sorted set under a key. Must not move: it points into itself. */
struct zset_key {
    struct store_key key;
    struct object o;
    struct zset z;
};
struct zset_limits zset_limits(const struct call *c);
/* The sorted set at argument i, opened; missing: !k->o.exists. *ready is false when WRONGTYPE has been replied. */
enum result read_zset(struct call *c, int i, struct zset_key *k, bool *ready) MUST_CHECK;
enum result write_zset(struct call *c, int i, struct zset_key *k, bool *ready) MUST_CHECK;
/* Closes it and tells the event, and "del" when it became empty. */
enum result close_zset(struct call *c, struct zset_key *k, const char *event) MUST_CHECK;
/* Makes these elements the value of the key at argument i, or deletes it when there are none. The events are told. */
enum result store_zset(struct call *c, int i, struct zset_entry *entries, size_t n, const char *event) MUST_CHECK;

/* argv[i] as a score or a weight. error NULL: "value is not a valid float". False: it is replied. */
bool arg_double(struct call *c, int i, double *out, const char *error);

/* Elements that are collected because their number comes first in the reply. In the arena. */
struct zset_list {
    struct zset_entry *entry;
    size_t count, cap;
};
/* keep: the member is borrowed and has to be copied. */
enum result zset_list_add(struct call *c, struct zset_list *l, struct zset_entry e, bool keep) MUST_CHECK;

/* Heads of replies with n elements, and elements: with scores a flat array in RESP2, pairs in RESP3. */
void reply_entries(struct call *c, size_t n, bool scores);
void reply_entry(struct call *c, struct zset_entry e, bool scores);
static inline void reply_double(struct call *c, double value) { c->reply->ops->real(c->reply, value); }

/* ---- ranges (zset_range.c) ---- */

enum zset_range_kind { RANGE_RANK, RANGE_SCORE, RANGE_LEX };
struct lex_bound {
    int infinite; /* -1: "-", 1: "+" */
    bool exclusive;
    struct slice text;
};
struct zset_range {
    enum zset_range_kind kind;
    int64_t start, end; /* RANK */
    double min, max;    /* SCORE */
    bool min_exclusive, max_exclusive;
    struct lex_bound lex_min, lex_max; /* LEX */
};
/* argv[min] and argv[max] as the bounds of range->kind; false: the error is replied. */
bool arg_range(struct call *c, int min, int max, struct zset_range *range);
/* The bounds of a RANK as indexes of the first and the number of elements; false: it is empty. */
bool rank_range(const struct zset_range *range, uint64_t count, uint64_t *first, uint64_t *n);
/* Elements of a SCORE or LEX range, from its start or downwards from its end. offset elements are left out, then at most
 * limit (negative: all) are given. */
typedef enum result zset_found_fn(struct call *c, void *arg, struct zset_entry e);
enum result zset_in_range(struct zset *z, const struct zset_range *range, bool down, int64_t offset, int64_t limit,
                          zset_found_fn *each, void *arg) MUST_CHECK;

/* ---- ZADD, of which GEOADD is a form (zset.c) ---- */
enum zadd_flags { ZADD_NX = 1, ZADD_XX = 2, ZADD_GT = 4, ZADD_LT = 8, ZADD_CH = 16, ZADD_INCR = 32 };
/* Scores with their members, which are arguments: first, first + step, ... */
enum result zadd(struct call *c, unsigned flags, const double *scores, size_t n, int first, int step) MUST_CHECK;

#endif

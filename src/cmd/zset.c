/* Sorted sets, one element at a time: ZADD, ZINCRBY, ZREM, ZSCORE, ZMSCORE, ZCARD, ZRANK, ZREVRANK. */
#include "cmd/zset.h"

#include <math.h>

#include "cmd/declare.h"

/* ---- ZADD and ZINCRBY ---- */

struct added {
    uint64_t added, updated, processed;
    double score; /* of the last element */
};

/* One element. *nan: the sum is no number. */
static enum result add_one(struct zset *z, unsigned flags, struct slice member, double score, struct added *a,
                           bool *nan)
{
    struct zset_member m;
    enum result r = zset_find(z, member, &m);
    if (r != RES_OK || (m.found ? flags & ZADD_NX : flags & ZADD_XX))
        return r;
    double old = m.score;
    if (!m.found) {
        a->added++;
        a->processed++;
        a->score = score;
        return zset_put(z, &m, score);
    }
    if (flags & ZADD_INCR)
        score += old;
    *nan = isnan(score);
    if (*nan || (flags & ZADD_LT && score >= old) || (flags & ZADD_GT && score <= old))
        return RES_OK;
    a->processed++;
    a->score = score;
    if (score == old)
        return RES_OK;
    a->updated++;
    return zset_put(z, &m, score);
}

static void reply_added(struct call *c, unsigned flags, const struct added *a)
{
    if (!(flags & ZADD_INCR))
        reply_integer(c->reply, (int64_t)(flags & ZADD_CH ? a->added + a->updated : a->added));
    else if (a->processed)
        reply_double(c, a->score);
    else
        reply_null(c->reply);
}

enum result zadd(struct call *c, unsigned flags, const double *scores, size_t n, int first, int step)
{
    struct zset_key k;
    bool ready, nan = false;
    struct added a = {.added = 0};
    enum result r = write_zset(c, 1, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (k.o.exists || !(flags & ZADD_XX))
        zset_expect(&k.z, n, c->argv[first].len);
    for (size_t i = 0; r == RES_OK && !nan && i < n; i++) {
        r = add_one(&k.z, flags, c->argv[first + (int)i * step], scores[i], &a, &nan);
        if (i % 64 == 63 && r == RES_OK && call_too_long(c))
            r = RES_WOULD_BLOCK;
    }
    if (r != RES_OK)
        return r;
    if (nan)
        return reply_error(c->reply, "ERR resulting score is not a number (NaN)");
    if (a.added || a.updated)
        r = close_zset(c, &k, flags & ZADD_INCR ? "zincr" : "zadd");
    if (r == RES_OK)
        reply_added(c, flags, &a);
    return r;
}

static int zadd_options(struct call *c, unsigned *flags)
{
    static const struct {
        const char *word;
        unsigned flag;
    } options[] = {{"nx", ZADD_NX},     {"xx", ZADD_XX}, {"ch", ZADD_CH},
                   {"incr", ZADD_INCR}, {"gt", ZADD_GT}, {"lt", ZADD_LT}};
    int i = 2;
    for (; i < c->argc; i++) {
        size_t j = 0;
        while (j < 6 && !arg_is(c, i, options[j].word))
            j++;
        if (j == 6)
            break;
        *flags |= options[j].flag;
    }
    return i;
}

static enum result parse_and_add(struct call *c, unsigned flags)
{
    int first = zadd_options(c, &flags), elements = c->argc - first;
    if (elements % 2 || !elements)
        return reply_syntax_error(c->reply);
    if (flags & ZADD_NX && flags & ZADD_XX)
        return reply_error(c->reply, "ERR XX and NX options at the same time are not compatible");
    if ((flags & ZADD_NX && flags & (ZADD_GT | ZADD_LT)) || (flags & ZADD_GT && flags & ZADD_LT))
        return reply_error(c->reply, "ERR GT, LT, and/or NX options at the same time are not compatible");
    if (flags & ZADD_INCR && elements > 2)
        return reply_error(c->reply, "ERR INCR option supports a single increment-element pair");
    size_t n = (size_t)elements / 2;
    double *scores = arena_alloc(c->arena, n * sizeof *scores);
    if (!scores)
        return RES_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        if (!arg_double(c, first + 2 * (int)i, &scores[i], NULL))
            return RES_OK;
    return zadd(c, flags, scores, n, first + 1, 2);
}

static enum result run_zadd(struct call *c) { return parse_and_add(c, 0); }
static enum result run_zincrby(struct call *c) { return parse_and_add(c, ZADD_INCR); }

/* ---- ZREM ---- */

static enum result run_zrem(struct call *c)
{
    struct zset_key k;
    bool ready;
    int64_t removed = 0;
    enum result r = write_zset(c, 1, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    for (int i = 2; r == RES_OK && i < c->argc && k.z.e.count; i++) {
        struct zset_member m;
        r = zset_find(&k.z, c->argv[i], &m);
        if (r == RES_OK && m.found) {
            removed++;
            r = zset_remove(&k.z, (struct zset_entry){m.score, m.member});
        }
        if (i % 64 == 0 && r == RES_OK && call_too_long(c))
            r = RES_WOULD_BLOCK;
    }
    if (r == RES_OK && removed)
        r = close_zset(c, &k, "zrem");
    if (r == RES_OK)
        reply_integer(c->reply, removed);
    return r;
}

/* ---- ZSCORE, ZMSCORE, ZCARD ---- */

static enum result reply_score(struct call *c, struct zset *z, struct slice member)
{
    struct zset_member m;
    enum result r = zset_find(z, member, &m);
    if (r == RES_OK && m.found)
        reply_double(c, m.score);
    else if (r == RES_OK)
        reply_null(c->reply);
    return r;
}

static enum result run_zscore(struct call *c)
{
    struct zset_key k;
    bool ready;
    enum result r = read_zset(c, 1, &k, &ready);
    return r == RES_OK && ready ? reply_score(c, &k.z, c->argv[2]) : r;
}

static enum result run_zmscore(struct call *c)
{
    struct zset_key k;
    bool ready;
    enum result r = read_zset(c, 1, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    reply_array(c->reply, (size_t)c->argc - 2);
    for (int i = 2; r == RES_OK && i < c->argc; i++) {
        r = reply_score(c, &k.z, c->argv[i]);
        if (i % 256 == 0 && r == RES_OK && call_too_long(c))
            r = RES_WOULD_BLOCK;
    }
    return r;
}

static enum result run_zcard(struct call *c)
{
    struct zset_key k;
    bool ready;
    enum result r = read_zset(c, 1, &k, &ready);
    if (r == RES_OK && ready)
        reply_integer(c->reply, (int64_t)k.z.e.count);
    return r;
}

/* ---- ZRANK, ZREVRANK ---- */

static void reply_no_rank(struct call *c, bool with_score)
{
    if (with_score)
        c->reply->ops->null_array(c->reply);
    else
        reply_null(c->reply);
}

static enum result rank(struct call *c, bool down)
{
    struct zset_key k;
    bool ready, with_score = c->argc == 4;
    if (c->argc > 4)
        return reply_error(c->reply, "ERR wrong number of arguments for '%s' command", c->entry->full_name);
    if (with_score && !arg_is(c, 3, "withscore"))
        return reply_syntax_error(c->reply);
    enum result r = read_zset(c, 1, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    struct zset_member m;
    r = zset_find(&k.z, c->argv[2], &m);
    if (r != RES_OK)
        return r;
    if (!m.found) {
        reply_no_rank(c, with_score);
        return RES_OK;
    }
    struct zset_entry e = {m.score, m.member};
    struct zset_place here = down ? zset_after(e) : zset_before(e);
    uint64_t n;
    r = down ? zset_count(&k.z, &here, &ZSET_END, &n) : zset_count(&k.z, &ZSET_START, &here, &n);
    if (r != RES_OK)
        return r;
    if (with_score)
        reply_array(c->reply, 2);
    reply_integer(c->reply, (int64_t)n);
    if (with_score)
        reply_double(c, e.score);
    return RES_OK;
}

static enum result run_zrank(struct call *c) { return rank(c, false); }
static enum result run_zrevrank(struct call *c) { return rank(c, true); }

static const struct command_arg args_condition[] = {ARG_TOKEN("nx", "NX"), ARG_TOKEN("xx", "XX"), ARGS_END};

static const struct command_arg args_comparison[] = {ARG_TOKEN("gt", "GT"), ARG_TOKEN("lt", "LT"), ARGS_END};

static const struct command_arg args_data[] = {ARG("score", ARG_DOUBLE), ARG("member", ARG_STRING), ARGS_END};

const struct command cmd_zadd = {
    .name = "zadd",
    .arity = -4,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "1.2.0",
    .complexity = "O(log(N)) for each member, for N in the set",
    .summary = "Puts members with their scores into a sorted set, which is made when it is missing.",
    .keys = key_update,
    .args =
        (const struct command_arg[]){
            ARG("key", ARG_KEY),
            ARG("condition", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "3.0.2", .children = args_condition),
            ARG("comparison", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "6.2.0", .children = args_comparison),
            ARG_TOKEN("change", "CH", .flags = ARG_OPTIONAL, .since = "3.0.2"),
            ARG_TOKEN("increment", "INCR", .flags = ARG_OPTIONAL, .since = "3.0.2"),
            ARG("data", ARG_BLOCK, .flags = ARG_MULTIPLE, .children = args_data), ARGS_END},
    .history = (const struct command_history[]){SINCE("2.4.0", "Several members."),
                                                SINCE("3.0.2", "Options `XX`, `NX`, `CH` and `INCR`."),
                                                SINCE("6.2.0", "Options `GT` and `LT`."), HISTORY_END},
    .run = run_zadd,
};

const struct command cmd_zincrby = {
    .name = "zincrby",
    .arity = 4,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "1.2.0",
    .complexity = "O(log(N)) for N members",
    .summary = "Adds to the score of a member, which starts from 0 when it is new.",
    .keys = key_change,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("increment", ARG_INTEGER), ARG("member", ARG_STRING),
                                         ARGS_END},
    .run = run_zincrby,
};

const struct command cmd_zrem = {
    .name = "zrem",
    .arity = -3,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "1.2.0",
    .complexity = "O(M*log(N)) for M members named and N in the set",
    .summary = "Takes members out of a sorted set.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_DELETE), KEYS_END},
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY), ARG("member", ARG_STRING, .flags = ARG_MULTIPLE), ARGS_END},
    .history = (const struct command_history[]){SINCE("2.4.0", "Several members."), HISTORY_END},
    .run = run_zrem,
};

const struct command cmd_zscore = {
    .name = "zscore",
    .arity = 3,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "1.2.0",
    .complexity = "O(1)",
    .summary = "Returns the score of a member.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("member", ARG_STRING), ARGS_END},
    .run = run_zscore,
};

const struct command cmd_zmscore = {
    .name = "zmscore",
    .arity = -3,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "6.2.0",
    .complexity = "O(N) for N members named",
    .summary = "Returns the scores of several members.",
    .keys = key_read,
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY), ARG("member", ARG_STRING, .flags = ARG_MULTIPLE), ARGS_END},
    .run = run_zmscore,
};

const struct command cmd_zcard = {
    .name = "zcard",
    .arity = 2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "1.2.0",
    .complexity = "O(1)",
    .summary = "Returns how many members a sorted set has.",
    .keys = key_look,
    .args = args_key,
    .run = run_zcard,
};

const struct command cmd_zrank = {
    .name = "zrank",
    .arity = -3,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "2.0.0",
    .complexity = "O(log(N)) once the set is counted, O(N) before",
    .summary = "Returns the place of a member, counted from the lowest score.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("member", ARG_STRING),
                                         ARG_TOKEN("withscore", "WITHSCORE", .flags = ARG_OPTIONAL), ARGS_END},
    .history = (const struct command_history[]){SINCE("7.2.0", "Option `WITHSCORE`."), HISTORY_END},
    .run = run_zrank,
};

const struct command cmd_zrevrank = {
    .name = "zrevrank",
    .arity = -3,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "2.0.0",
    .complexity = "O(log(N)) once the set is counted, O(N) before",
    .summary = "Returns the place of a member, counted from the highest score.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("member", ARG_STRING),
                                         ARG_TOKEN("withscore", "WITHSCORE", .flags = ARG_OPTIONAL), ARGS_END},
    .history = (const struct command_history[]){SINCE("7.2.0", "Option `WITHSCORE`."), HISTORY_END},
    .run = run_zrevrank,
};

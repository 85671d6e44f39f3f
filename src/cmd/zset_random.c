/* Sorted sets by the hash of their members: ZRANDMEMBER, ZSCAN. */
#include <math.h>
#include <stdio.h>

#include "base/num.h"
#include "cmd/collection.h"
#include "cmd/declare.h"
#include "cmd/zset.h"

/* ---- ZRANDMEMBER ---- */

static enum result reply_drawn(struct elements *e, void *arg, const struct element *element)
{
    const bool *scores = arg;
    struct zset_entry entry = {.member = element->key};
    enum result r = zset_score_in(element, &entry.score);
    if (r == RES_OK)
        reply_entry(e->c, entry, *scores);
    return r;
}

static enum result draw_many(struct call *c, struct zset *z, int64_t count, bool scores)
{
    if (count < 0) {
        reply_entries(c, (size_t)-count, scores);
        return member_random_repeated(&z->e, NULL, (uint64_t)-count, reply_drawn, &scores);
    }
    uint64_t want = (uint64_t)count < z->e.count ? (uint64_t)count : z->e.count;
    reply_entries(c, (size_t)want, scores);
    return member_random_distinct(&z->e, NULL, want, reply_drawn, &scores);
}

static enum result draw_one(struct call *c, struct zset_key *k)
{
    struct element element;
    if (!k->o.exists) {
        reply_null(c->reply);
        return RES_OK;
    }
    enum result r = member_random(&k->z.e, NULL, &element);
    if (r == RES_OK)
        reply_bulk(c->reply, element.key);
    return r == RES_NOT_FOUND ? RES_CORRUPT : r;
}

static enum result run_zrandmember(struct call *c)
{
    struct zset_key k;
    bool ready, scores = c->argc > 3;
    int64_t count = 0;
    if (c->argc > 2 && !arg_i64_within(c, 2, -INT64_MAX, INT64_MAX, &count))
        return RES_OK;
    if (c->argc > 4 || (scores && !arg_is(c, 3, "withscores")))
        return reply_syntax_error(c->reply);
    if (scores && (count < -INT64_MAX / 2 || count > INT64_MAX / 2))
        return reply_error(c->reply, "ERR value is out of range");
    enum result r = read_zset(c, 1, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (c->argc == 2)
        return draw_one(c, &k);
    if (k.o.exists && count)
        return draw_many(c, &k.z, count, scores);
    reply_array(c->reply, 0);
    return RES_OK;
}

/* ---- ZSCAN ---- */

struct scanned {
    struct scan_options options;
    bool digits; /* scores with 17 digits: Redis prints them so from a skiplist, and as ZSCORE does from a listpack */
    struct gathered found;
};

static enum result show(struct elements *e, void *arg, const struct element *element)
{
    struct scanned *s = arg;
    char text[64];
    double score;
    enum result r = zset_score_in(element, &score);
    if (r != RES_OK || !scan_wants(&s->options, element->key))
        return r;
    size_t len = s->digits && !isinf(score) ? (size_t)snprintf(text, sizeof text, "%.17g", score)
                                            : num_format_double(text, score);
    r = gather(e->c, &s->found, element->key);
    return r == RES_OK ? gather(e->c, &s->found, slice_of(text, len)) : r;
}

static enum result run_zscan(struct call *c)
{
    struct scanned s = {.digits = false};
    struct zset_key k;
    uint64_t cursor;
    bool ready;
    gather_init(&s.found);
    if (!scan_cursor(c, c->argv[2], &cursor))
        return RES_OK;
    enum result r = read_zset(c, 1, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (!k.o.exists) { /* options are not looked at then */
        reply_scan(c, 0, &s.found);
        return RES_OK;
    }
    if (!scan_options(c, 3, false, &s.options))
        return RES_OK;
    s.digits = k.o.encoding == ENCODING_SKIPLIST;
    r = member_scan(&k.z.e, &cursor, s.options.count, show, &s);
    if (r == RES_OK)
        reply_scan(c, cursor, &s.found);
    return r;
}

static const struct command_arg args_options[] = {
    ARG("count", ARG_INTEGER), ARG_TOKEN("withscores", "WITHSCORES", .flags = ARG_OPTIONAL), ARGS_END};

const struct command cmd_zrandmember = {
    .name = "zrandmember",
    .arity = -2,
    .flags = CMD_READONLY,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "6.2.0",
    .complexity = "O(N) for N members returned",
    .summary = "Returns members drawn at random.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY),
                                         ARG("options", ARG_BLOCK, .flags = ARG_OPTIONAL, .children = args_options),
                                         ARGS_END},
    .tips = (const char *const[]){"nondeterministic_output", NULL},
    .run = run_zrandmember,
};

const struct command cmd_zscan = {
    .name = "zscan",
    .arity = -3,
    .flags = CMD_READONLY,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "2.8.0",
    .complexity = "O(COUNT) a call, O(N) for all calls until the cursor is 0 again, for N members",
    .summary = "Goes through the members of a sorted set, some at each call.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("cursor", ARG_INTEGER),
                                         ARG("pattern", ARG_PATTERN, .token = "MATCH", .flags = ARG_OPTIONAL),
                                         ARG("count", ARG_INTEGER, .token = "COUNT", .flags = ARG_OPTIONAL), ARGS_END},
    .tips = (const char *const[]){"nondeterministic_output", NULL},
    .run = run_zscan,
};

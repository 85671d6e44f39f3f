/* Elements taken out of sorted sets: ZREMRANGEBYRANK, -BYSCORE, -BYLEX, and the pops, which may wait for something. */
#include <math.h>

#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/zset.h"

/* ---- ZREMRANGEBY... ---- */

static enum result collect(struct call *c, void *arg, struct zset_entry e) { return zset_list_add(c, arg, e, true); }

static enum result collect_ranks(struct zset *z, uint64_t first, uint64_t n, bool down, struct zset_list *l)
{
    struct zset_cursor k;
    enum result r = zset_seek_rank(z, &k, first, down);
    while (n-- && r == RES_OK && (r = zset_next(&k)) == RES_OK)
        r = zset_list_add(z->e.c, l, k.at, true);
    zset_cursor_close(&k);
    return r == RES_NOT_FOUND ? RES_CORRUPT : r;
}

static enum result remove_all(struct zset *z, const struct zset_list *l)
{
    enum result r = RES_OK;
    for (size_t i = 0; r == RES_OK && i < l->count; i++) {
        r = zset_remove(z, l->entry[i]);
        if (i % 64 == 63 && r == RES_OK && call_too_long(z->e.c))
            r = RES_WOULD_BLOCK;
    }
    return r;
}

/* Whether l begins with the first element there is; then nothing is left below its last. */
static enum result is_start(struct zset *z, const struct zset_list *l, bool *yes)
{
    struct zset_cursor k;
    *yes = false;
    enum result r = zset_seek(z, &k, &ZSET_START, false);
    if (r == RES_OK && (r = zset_next(&k)) == RES_OK)
        *yes = slice_eq(k.at.member, l->entry[0].member);
    zset_cursor_close(&k);
    return r;
}

static enum result remove_range(struct call *c, enum zset_range_kind kind, const char *event)
{
    struct zset_range range = {.kind = kind};
    struct zset_list found = {.count = 0};
    struct zset_key k;
    uint64_t first, n;
    bool ready, at_start = false;
    if (!arg_range(c, 2, 3, &range))
        return RES_OK;
    enum result r = write_zset(c, 1, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (kind != RANGE_RANK)
        r = zset_in_range(&k.z, &range, false, 0, -1, collect, &found);
    else if (rank_range(&range, k.z.e.count, &first, &n))
        r = collect_ranks(&k.z, first, n, false, &found);
    if (r == RES_OK && found.count)
        r = is_start(&k.z, &found, &at_start);
    if (r == RES_OK)
        r = remove_all(&k.z, &found);
    if (r == RES_OK && at_start)
        zset_remember_end(&k.z, found.entry[found.count - 1], true);
    if (r == RES_OK && found.count)
        r = close_zset(c, &k, event);
    if (r == RES_OK)
        reply_integer(c->reply, (int64_t)found.count);
    return r;
}

static enum result run_zremrangebyrank(struct call *c) { return remove_range(c, RANGE_RANK, "zremrangebyrank"); }
static enum result run_zremrangebyscore(struct call *c) { return remove_range(c, RANGE_SCORE, "zremrangebyscore"); }
static enum result run_zremrangebylex(struct call *c) { return remove_range(c, RANGE_LEX, "zremrangebylex"); }

/* ---- pops ---- */

/* How the reply looks. */
enum pop_form {
    POP_FLAT,  /* member, score, ... */
    POP_PAIRS, /* [member, score], ... */
    POP_KEY,   /* key, member, score */
    POP_NESTED /* key, [[member, score], ...] */
};

#define FEW 16 /* taken from what was found ahead, if there is such */

static enum result collect_ends(struct zset *z, bool max, uint64_t n, struct zset_list *l)
{
    enum result r = RES_NOT_FOUND;
    if (n <= FEW && (l->entry = arena_alloc(z->e.c->arena, (size_t)n * sizeof *l->entry)) != NULL)
        r = zset_take_ends(z, max, n, l->entry);
    if (r == RES_NOT_FOUND)
        return collect_ranks(z, 0, n, max, l);
    l->count = l->cap = n;
    return r;
}

/* Takes up to count elements off an end; there is at least one. */
static enum result pop(struct call *c, struct zset_key *k, bool max, uint64_t count, enum pop_form form)
{
    struct zset_list found = {.count = 0};
    if (count > k->z.e.count)
        count = k->z.e.count;
    enum result r = collect_ends(&k->z, max, count, &found);
    if (r == RES_OK)
        r = remove_all(&k->z, &found);
    if (r != RES_OK)
        return r;
    zset_remember_end(&k->z, found.entry[count - 1], !max);
    if (form == POP_FLAT)
        reply_array(c->reply, 2 * (size_t)count);
    else if (form == POP_KEY)
        reply_array(c->reply, 1 + 2 * (size_t)count);
    else if (form == POP_NESTED)
        reply_array(c->reply, 2);
    if (form == POP_KEY || form == POP_NESTED)
        reply_bulk(c->reply, k->key.user);
    if (form == POP_PAIRS || form == POP_NESTED)
        reply_array(c->reply, (size_t)count);
    for (size_t i = 0; i < found.count; i++) {
        if (form == POP_PAIRS || form == POP_NESTED)
            reply_array(c->reply, 2);
        reply_bulk(c->reply, found.entry[i].member);
        reply_double(c, found.entry[i].score);
    }
    return close_zset(c, k, max ? "zpopmax" : "zpopmin");
}

static enum result pop_one_key(struct call *c, bool max)
{
    struct zset_key k;
    bool ready;
    int64_t count = 1;
    if (c->argc > 3)
        return reply_syntax_error(c->reply);
    if (c->argc == 3 && !arg_count(c, 2, &count))
        return RES_OK;
    enum result r = write_zset(c, 1, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (k.o.exists && count)
        return pop(c, &k, max, (uint64_t)count, c->reply->resp > 2 && c->argc == 3 ? POP_PAIRS : POP_FLAT);
    reply_array(c->reply, 0);
    return RES_OK;
}

static enum result run_zpopmin(struct call *c) { return pop_one_key(c, false); }
static enum result run_zpopmax(struct call *c) { return pop_one_key(c, true); }

/* Pops from the first of n keys that has something. *done: it is replied, with an error or elements. */
static enum result pop_first(struct call *c, int first, int n, bool max, uint64_t count, enum pop_form form, bool *done)
{
    *done = false;
    for (int i = first; i < first + n; i++) {
        struct store_key key;
        struct object o;
        enum result r = arg_key(c, i, &key);
        if (r == RES_OK)
            r = store_write(c, &key, &o);
        if (r != RES_OK)
            return r;
        if (!o.exists || (o.type != TYPE_ZSET && c->mode & CALL_SERVED))
            continue;
        *done = true;
        struct zset_key k;
        bool ready;
        r = write_zset(c, i, &k, &ready);
        return r == RES_OK && ready ? pop(c, &k, max, count, form) : r;
    }
    return RES_OK;
}

/* MIN or MAX and COUNT behind numkeys, which is argument i, and its keys. False: the error is replied. */
static bool parse_mpop(struct call *c, int i, int *keys, bool *max, uint64_t *count)
{
    static const char *const no_keys = "ERR numkeys should be greater than 0", *const no_count =
                                                                                   "ERR count should be greater than 0";
    int64_t numkeys, number = 1;
    const char *error = NULL;
    if (!arg_i64_or(c, i, &numkeys, no_keys))
        return false;
    int64_t at = numkeys < c->argc ? i + numkeys + 1 : c->argc;
    if (numkeys < 1)
        error = no_keys;
    else if (at >= c->argc || (!arg_is(c, (int)at, "min") && !arg_is(c, (int)at, "max")))
        error = "ERR syntax error";
    else if (c->argc - at == 3 && arg_is(c, (int)at + 1, "count")) {
        if (!arg_i64_or(c, (int)at + 2, &number, no_count))
            return false;
        error = number < 1 ? no_count : NULL;
    } else if (c->argc - at != 1) {
        /* a second COUNT is no option, but a first one is looked at before that is found out */
        error = "ERR syntax error";
        if (c->argc - at > 3 && arg_is(c, (int)at + 1, "count") &&
            (num_parse_i64(c->argv[at + 2], &number) != RES_OK || number < 1))
            error = no_count;
    }
    if (error) {
        (void)reply_error(c->reply, "%s", error);
        return false;
    }
    *keys = (int)numkeys;
    *max = arg_is(c, (int)at, "max");
    *count = (uint64_t)number;
    return true;
}

static enum result run_zmpop(struct call *c)
{
    int keys;
    bool max, done;
    uint64_t count;
    if (!parse_mpop(c, 1, &keys, &max, &count))
        return RES_OK;
    enum result r = pop_first(c, 2, keys, max, count, POP_NESTED, &done);
    if (r == RES_OK && !done)
        c->reply->ops->null_array(c->reply);
    return r;
}

/* ---- pops that wait ---- */

static enum result pop_or_wait(struct call *c, int first, int n, int timeout, bool max, uint64_t count,
                               enum pop_form form)
{
    uint64_t timeout_ms;
    bool done;
    if (!arg_timeout(c, timeout, &timeout_ms))
        return RES_OK;
    enum result r = pop_first(c, first, n, max, count, form, &done);
    if (r != RES_OK || done)
        return r;
    struct wait_key *keys = arena_alloc(c->arena, (size_t)n * sizeof *keys);
    if (!keys)
        return RES_NO_MEMORY;
    for (int i = 0; i < n; i++) {
        struct store_key key;
        r = arg_key(c, first + i, &key);
        if (r != RES_OK)
            return r;
        keys[i] = (struct wait_key){key.db, key.user, key.hash};
    }
    return call_wait(c, keys, (size_t)n, timeout_ms, WAIT_NULL_ARRAY);
}

static enum result run_bzpopmin(struct call *c)
{
    return pop_or_wait(c, 1, c->argc - 2, c->argc - 1, false, 1, POP_KEY);
}
static enum result run_bzpopmax(struct call *c)
{
    return pop_or_wait(c, 1, c->argc - 2, c->argc - 1, true, 1, POP_KEY);
}

static enum result run_bzmpop(struct call *c)
{
    int keys;
    bool max;
    uint64_t count;
    if (!parse_mpop(c, 2, &keys, &max, &count))
        return RES_OK;
    return pop_or_wait(c, 3, keys, 1, max, count, POP_NESTED);
}

const struct command cmd_zremrangebyrank = {
    .name = "zremrangebyrank",
    .arity = 4,
    .flags = CMD_WRITE,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "2.0.0",
    .complexity = "O(log(N)+M) for N members, M of them removed",
    .summary = "Takes the members in a range of places out of a sorted set.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_DELETE), KEYS_END},
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("start", ARG_INTEGER), ARG("stop", ARG_INTEGER),
                                         ARGS_END},
    .run = run_zremrangebyrank,
};

const struct command cmd_zremrangebyscore = {
    .name = "zremrangebyscore",
    .arity = 4,
    .flags = CMD_WRITE,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "1.2.0",
    .complexity = "O(log(N)+M) for N members, M of them removed",
    .summary = "Takes the members in a range of scores out of a sorted set.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_DELETE), KEYS_END},
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("min", ARG_DOUBLE), ARG("max", ARG_DOUBLE), ARGS_END},
    .run = run_zremrangebyscore,
};

const struct command cmd_zremrangebylex = {
    .name = "zremrangebylex",
    .arity = 4,
    .flags = CMD_WRITE,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "2.8.9",
    .complexity = "O(log(N)+M) for N members, M of them removed",
    .summary = "Takes the members in a range of names out of a sorted set whose scores are equal.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_DELETE), KEYS_END},
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("min", ARG_STRING), ARG("max", ARG_STRING), ARGS_END},
    .run = run_zremrangebylex,
};

const struct command cmd_zpopmin = {
    .name = "zpopmin",
    .arity = -2,
    .flags = CMD_WRITE | CMD_FAST | CMD_UNBUNDLED, /* takes from a list: store/ahead.h */
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "5.0.0",
    .complexity = "O(log(N)*M) for N members, M of them taken",
    .summary = "Takes out and returns the members with the lowest scores.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEYS_END},
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY), ARG("count", ARG_INTEGER, .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_zpopmin,
};

const struct command cmd_zpopmax = {
    .name = "zpopmax",
    .arity = -2,
    .flags = CMD_WRITE | CMD_FAST | CMD_UNBUNDLED, /* takes from a list: store/ahead.h */
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "5.0.0",
    .complexity = "O(log(N)*M) for N members, M of them taken",
    .summary = "Takes out and returns the members with the highest scores.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEYS_END},
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY), ARG("count", ARG_INTEGER, .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_zpopmax,
};

static const struct command_arg args_where[] = {ARG_TOKEN("min", "MIN"), ARG_TOKEN("max", "MAX"), ARGS_END};

const struct command cmd_zmpop = {
    .name = "zmpop",
    .arity = -4,
    .flags = CMD_WRITE,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "7.0.0",
    .complexity = "O(K)+O(M*log(N)) for K keys, N members of the set, M of them taken",
    .summary = "Takes members out of the first of several sorted sets that has any.",
    .keys = (const struct command_keyspec[]){{.flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
                                              .begin = KEYS_INDEX,
                                              .index = 1,
                                              .find = KEYS_KEYNUM,
                                              .keynum_index = 0,
                                              .keynum_first = 1,
                                              .keynum_step = 1},
                                             KEYS_END},
    .args = (const struct command_arg[]){ARG("numkeys", ARG_INTEGER), ARG("key", ARG_KEY, .flags = ARG_MULTIPLE),
                                         ARG("where", ARG_ONEOF, .children = args_where),
                                         ARG("count", ARG_INTEGER, .token = "COUNT", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_zmpop,
};

const struct command cmd_bzpopmin = {
    .name = "bzpopmin",
    .arity = -3,
    .flags = CMD_WRITE | CMD_FAST | CMD_BLOCKING,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "5.0.0",
    .complexity = "O(log(N)) for N members",
    .summary = "Takes out and returns the member with the lowest score of the first set that has one, waiting for it "
               "if need be.",
    .keys = (const struct command_keyspec[]){{.flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
                                              .begin = KEYS_INDEX,
                                              .index = 1,
                                              .find = KEYS_RANGE,
                                              .last = -2,
                                              .step = 1},
                                             KEYS_END},
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY, .flags = ARG_MULTIPLE), ARG("timeout", ARG_DOUBLE), ARGS_END},
    .history = (const struct command_history[]){SINCE("6.0.0", "Fractions of a second."), HISTORY_END},
    .run = run_bzpopmin,
};

const struct command cmd_bzpopmax = {
    .name = "bzpopmax",
    .arity = -3,
    .flags = CMD_WRITE | CMD_FAST | CMD_BLOCKING,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "5.0.0",
    .complexity = "O(log(N)) for N members",
    .summary = "Takes out and returns the member with the highest score of the first set that has one, waiting for it "
               "if need be.",
    .keys = (const struct command_keyspec[]){{.flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
                                              .begin = KEYS_INDEX,
                                              .index = 1,
                                              .find = KEYS_RANGE,
                                              .last = -2,
                                              .step = 1},
                                             KEYS_END},
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY, .flags = ARG_MULTIPLE), ARG("timeout", ARG_DOUBLE), ARGS_END},
    .history = (const struct command_history[]){SINCE("6.0.0", "Fractions of a second."), HISTORY_END},
    .run = run_bzpopmax,
};

const struct command cmd_bzmpop = {
    .name = "bzmpop",
    .arity = -5,
    .flags = CMD_WRITE | CMD_BLOCKING,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "7.0.0",
    .complexity = "O(K)+O(M*log(N)) for K keys, N members of the set, M of them taken",
    .summary = "Takes members out of the first of several sorted sets that has any, waiting for it if need be.",
    .keys = (const struct command_keyspec[]){{.flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
                                              .begin = KEYS_INDEX,
                                              .index = 2,
                                              .find = KEYS_KEYNUM,
                                              .keynum_index = 0,
                                              .keynum_first = 1,
                                              .keynum_step = 1},
                                             KEYS_END},
    .args = (const struct command_arg[]){ARG("timeout", ARG_DOUBLE), ARG("numkeys", ARG_INTEGER),
                                         ARG("key", ARG_KEY, .flags = ARG_MULTIPLE),
                                         ARG("where", ARG_ONEOF, .children = args_where),
                                         ARG("count", ARG_INTEGER, .token = "COUNT", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_bzmpop,
};

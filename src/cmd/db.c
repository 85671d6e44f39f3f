/* Databases as wholes: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB. */
#include <limits.h>

#include "cmd/declare.h"
#include "cmd/support.h"

static const char *const tips_all_sum[] = {"request_policy:all_shards", "response_policy:agg_sum", NULL};
static const char *const tips_all_succeed[] = {"request_policy:all_shards", "response_policy:all_succeeded", NULL};

static enum result run_dbsize(struct call *c)
{
    int64_t keys, expires;
    enum result r = store_db_size(c, c->session->db, &keys, &expires);
    if (r == RES_OK)
        reply_integer(c->reply, keys);
    return r;
}

const struct command cmd_dbsize = {
    .name = "dbsize",
    .arity = 1,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "server",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Returns the number of keys in the database.",
    .tips = tips_all_sum,
    .run = run_dbsize,
};

/* ---- FLUSHDB, FLUSHALL. Both forms are the same here: the keys are gone at once, their space later. ---- */

static bool parse_flush(struct call *c)
{
    if (c->argc == 1 || (c->argc == 2 && (arg_is(c, 1, "async") || arg_is(c, 1, "sync"))))
        return true;
    (void)reply_syntax_error(c->reply);
    return false;
}

static enum result run_flushdb(struct call *c)
{
    if (!parse_flush(c))
        return RES_OK;
    enum result r = store_flush_db(c, c->session->db);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

static enum result run_flushall(struct call *c)
{
    if (!parse_flush(c))
        return RES_OK;
    for (uint32_t db = 0; db < store_databases(c->shard); db++) {
        enum result r = store_flush_db(c, db);
        if (r != RES_OK)
            return r;
    }
    reply_ok(c->reply);
    return RES_OK;
}

static const struct command_arg flush_modes[] = {ARG_TOKEN("async", "ASYNC", .since = "4.0.0"),
                                                 ARG_TOKEN("sync", "SYNC", .since = "6.2.0"), ARGS_END};
static const struct command_arg flush_args[] = {
    ARG("flush-type", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = flush_modes),
    ARGS_END,
};
static const struct command_history flush_history[] = {SINCE("4.0.0", "Option `ASYNC`."),
                                                       SINCE("6.2.0", "Option `SYNC`."), HISTORY_END};

const struct command cmd_flushdb = {
    .name = "flushdb",
    .arity = -1,
    .flags = CMD_WRITE,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .group = "server",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Removes all keys of the database.",
    .args = flush_args,
    .history = flush_history,
    .tips = tips_all_succeed,
    .run = run_flushdb,
};

const struct command cmd_flushall = {
    .name = "flushall",
    .arity = -1,
    .flags = CMD_WRITE,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .group = "server",
    .since = "1.0.0",
    .complexity = "O(D) for D databases",
    .summary = "Removes all keys of all databases.",
    .args = flush_args,
    .history = flush_history,
    .tips = tips_all_succeed,
    .run = run_flushall,
};

/* ---- SWAPDB ---- */

static bool arg_db_number(struct call *c, int i, int64_t *out, const char *error)
{
    if (!arg_i64_or(c, i, out, error))
        return false;
    if (*out >= INT_MIN && *out <= INT_MAX)
        return true;
    (void)reply_error(c->reply, "%s", error);
    return false;
}

static enum result run_swapdb(struct call *c)
{
    int64_t a, b;
    if (!arg_db_number(c, 1, &a, "ERR invalid first DB index") ||
        !arg_db_number(c, 2, &b, "ERR invalid second DB index"))
        return RES_OK;
    int64_t databases = store_databases(c->shard);
    if (a < 0 || a >= databases || b < 0 || b >= databases)
        return reply_error(c->reply, "ERR DB index is out of range");
    enum result r = a == b ? RES_OK : store_swap_db(c, (uint32_t)a, (uint32_t)b);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

const struct command cmd_swapdb = {
    .name = "swapdb",
    .arity = 3,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .group = "server",
    .since = "4.0.0",
    .complexity = "O(1)",
    .summary = "Exchanges two databases.",
    .args = (const struct command_arg[]){ARG("index1", ARG_INTEGER), ARG("index2", ARG_INTEGER), ARGS_END},
    .run = run_swapdb,
};

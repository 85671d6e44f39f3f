/* WAIT and WAITAOF. There are no replicas, so none ever acknowledges anything: who wants some waits for as long as he said.
 * The log is what Redis calls its append-only file, and is always there. */
#include "cmd/declare.h"
#include "cmd/support.h"

/* As Redis reads it: milliseconds; 0: for ever. False: the error is replied. */
static bool arg_ms(struct call *c, int i, uint64_t *ms)
{
    int64_t n;
    if (!arg_i64_or(c, i, &n, "ERR timeout is not an integer or out of range"))
        return false;
    if (n < 0)
        (void)reply_error(c->reply, "ERR timeout is negative");
    else if (n > INT64_MAX - (int64_t)c->now_ms)
        (void)reply_error(c->reply, "ERR timeout is out of range");
    else {
        *ms = (uint64_t)n;
        return true;
    }
    return false;
}

/* ---- WAIT ---- */

static void reply_no_replicas(struct shard *s, const struct session *session, struct sink *reply)
{
    (void)s;
    (void)session;
    reply_integer(reply, 0);
}

static enum result run_wait(struct call *c)
{
    int64_t replicas;
    uint64_t ms;
    if (!arg_i64(c, 1, &replicas) || !arg_ms(c, 2, &ms))
        return RES_OK;
    if (replicas > 0)
        return call_wait(c, NULL, 0, ms, WAIT_NULL);
    reply_integer(c->reply, 0);
    return RES_OK;
}

static const char *const tips_of_wait[] = {"request_policy:all_shards", "response_policy:agg_min", NULL};

const struct command cmd_wait = {
    .name = "wait",
    .arity = 3,
    .flags = CMD_LATCHED,
    .acl = ACL_CONNECTION,
    .group = "generic",
    .since = "3.0.0",
    .complexity = "O(1)",
    .summary = "Waits until replicas have the client's writes; there are none, and so until the time is up.",
    .args = (const struct command_arg[]){ARG("numreplicas", ARG_INTEGER), ARG("timeout", ARG_INTEGER), ARGS_END},
    .tips = tips_of_wait,
    .run = run_wait,
    .waited = reply_no_replicas,
};

/* ---- WAITAOF ---- */

static void reply_durable(struct shard *s, const struct session *session, struct sink *reply)
{
    reply_array(reply, 2);
    reply_integer(reply, shard_is_durable(s, session->floor));
    reply_integer(reply, 0);
}

/* The log is synced for this client, rather than letting it wait for the next second. */
static enum result make_durable(struct call *c)
{
    uint64_t floor = c->session->floor;
    if (shard_is_durable(c->shard, floor) || call_in_exec(c))
        return RES_OK;
    return c->mode & CALL_MAY_WAIT ? shard_make_durable(c->shard, floor) : RES_WOULD_BLOCK;
}

static enum result run_waitaof(struct call *c)
{
    int64_t local, replicas;
    uint64_t ms;
    if (!arg_i64_within(c, 1, 0, 1, &local) || !arg_count(c, 2, &replicas) || !arg_ms(c, 3, &ms))
        return RES_OK;
    enum result r = local ? make_durable(c) : RES_OK;
    if (r != RES_OK)
        return r;
    if (replicas)
        return call_wait(c, NULL, 0, ms, WAIT_NULL);
    reply_durable(c->shard, c->session, c->reply);
    return RES_OK;
}

const struct command cmd_waitaof = {
    .name = "waitaof",
    .arity = 4,
    .flags = CMD_NOSCRIPT | CMD_LATCHED,
    .acl = ACL_CONNECTION,
    .group = "generic",
    .since = "7.2.0",
    .complexity = "O(1)",
    .summary = "Waits until the client's writes are on disk here, and at replicas, of which there are none.",
    .args = (const struct command_arg[]){ARG("numlocal", ARG_INTEGER), ARG("numreplicas", ARG_INTEGER),
                                         ARG("timeout", ARG_INTEGER), ARGS_END},
    .tips = tips_of_wait,
    .run = run_waitaof,
    .waited = reply_durable,
};

/* HRANDFIELD. */
#include "cmd/collection.h"
#include "cmd/declare.h"
#include "store/hash.h"

struct shown {
    bool values;
};

static enum result reply_field(struct elements *e, void *arg, const struct element *x)
{
    const struct shown *shown = arg;
    struct sink *reply = e->c->reply;
    if (shown->values && reply->resp == 3)
        reply_array(reply, 2);
    reply_bulk(reply, x->key);
    if (shown->values)
        reply_bulk(reply, x->value);
    return RES_OK;
}

static enum result reply_some(struct call *c, struct collection *x, int64_t count, bool values)
{
    struct shown shown = {values};
    member_filter *may = hash_filter(&x->e);
    uint64_t there, want = count < 0 ? -(uint64_t)count : (uint64_t)count;
    enum result r = hash_count_alive(&x->e, &there);
    if (r != RES_OK)
        return r;
    if (there == 0 || (count >= 0 && want > there))
        want = there;
    reply_array(c->reply, (size_t)want * (values && c->reply->resp == 2 ? 2 : 1));
    if (count < 0)
        return member_random_repeated(&x->e, may, want, reply_field, &shown);
    return member_random_distinct(&x->e, may, want, reply_field, &shown);
}

static enum result run_hrandfield(struct call *c)
{
    int64_t count = 1;
    bool values = c->argc == 4, ready;
    if (c->argc > 2 && !arg_i64_within(c, 2, -INT64_MAX, INT64_MAX, &count))
        return RES_OK;
    if (c->argc > 4 || (values && !arg_is(c, 3, "withvalues")))
        return reply_syntax_error(c->reply);
    if (values && (count < -INT64_MAX / 2 || count > INT64_MAX / 2))
        return reply_error(c->reply, "ERR value is out of range");
    struct collection x;
    enum result r = collection_read(c, c->argv[1], &elements_of_hash, &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (c->argc > 2)
        return reply_some(c, &x, count, values);
    struct element one;
    r = member_random(&x.e, hash_filter(&x.e), &one);
    if (r == RES_OK)
        reply_bulk(c->reply, one.key);
    else if (r == RES_NOT_FOUND)
        reply_null(c->reply);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static const struct command_arg options[] = {ARG("count", ARG_INTEGER),
                                             ARG_TOKEN("withvalues", "WITHVALUES", .flags = ARG_OPTIONAL), ARGS_END};

const struct command cmd_hrandfield = {
    .name = "hrandfield",
    .arity = -2,
    .flags = CMD_READONLY,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "6.2.0",
    .complexity = "O(N) for N fields returned",
    .summary = "Returns fields of a hash, drawn at random.",
    .keys = key_read,
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY),
                                     ARG("options", ARG_BLOCK, .flags = ARG_OPTIONAL, .children = options), ARGS_END},
    .tips = (const char *const[]){"nondeterministic_output", NULL},
    .run = run_hrandfield,
};

/* Strings as numbers: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT. */
#include <math.h>

#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/support.h"

static enum result add(struct call *c, int64_t by)
{
    struct store_key key;
    struct object o;
    bool ready;
    enum result r = write_string(c, 1, &key, &o, &ready);
    if (r != RES_OK || !ready)
        return r;
    int64_t value = 0;
    if (o.exists && (o.pieces || num_parse_i64(o.value, &value) != RES_OK))
        return reply_not_integer(c->reply);
    if (__builtin_add_overflow(value, by, &value))
        return reply_error(c->reply, "ERR increment or decrement would overflow");
    char text[NUM_I64_MAX];
    size_t len = num_format_i64(text, value);
    r = store_set_string(c, &o, slice_of(text, len), 0, PUT_KEEP_TTL | PUT_KEEP_ATTRIBUTES);
    if (r == RES_OK)
        r = key_event(c, EVENT_STRING, "incrby", &key);
    if (r == RES_OK)
        reply_integer(c->reply, value);
    return r;
}

static enum result run_incr(struct call *c) { return add(c, 1); }
static enum result run_decr(struct call *c) { return add(c, -1); }

static enum result run_incrby(struct call *c)
{
    int64_t by;
    return arg_i64(c, 2, &by) ? add(c, by) : RES_OK;
}

static enum result run_decrby(struct call *c)
{
    int64_t by;
    if (!arg_i64(c, 2, &by))
        return RES_OK;
    if (by == INT64_MIN)
        return reply_error(c->reply, "ERR decrement would overflow");
    return add(c, -by);
}

static enum result run_incrbyfloat(struct call *c)
{
    struct store_key key;
    struct object o;
    bool ready;
    enum result r = write_string(c, 1, &key, &o, &ready);
    if (r != RES_OK || !ready)
        return r;
    struct slice old = slice_of(NULL, 0);
    if (o.exists && (r = store_string_range(c, &o, 0, NUM_LD_MAX + 1, &old)) != RES_OK) /* longer is no number */
        return r;
    long double value = 0, by;
    if ((o.exists && num_parse_long_double(old, &value) != RES_OK) || num_parse_long_double(c->argv[2], &by) != RES_OK)
        return reply_error(c->reply, "ERR value is not a valid float");
    value += by;
    if (isnan(value) || isinf(value))
        return reply_error(c->reply, "ERR increment would produce NaN or Infinity");
    char *text = arena_alloc(c->arena, NUM_LD_MAX);
    if (!text)
        return RES_NO_MEMORY;
    struct slice shown = slice_of(text, num_format_long_double(text, value));
    r = store_set_string(c, &o, shown, 0, PUT_KEEP_TTL | PUT_KEEP_ATTRIBUTES | PUT_NOT_INT);
    if (r == RES_OK)
        r = key_event(c, EVENT_STRING, "incrbyfloat", &key);
    if (r == RES_OK)
        reply_bulk(c->reply, shown);
    return r;
}

const struct command cmd_incr = {
    .name = "incr",
    .arity = 2,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Adds one to the integer under a key; a missing key counts as 0.",
    .keys = key_change,
    .args = args_key,
    .run = run_incr,
};

const struct command cmd_decr = {
    .name = "decr",
    .arity = 2,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Takes one off the integer under a key; a missing key counts as 0.",
    .keys = key_change,
    .args = args_key,
    .run = run_decr,
};

const struct command cmd_incrby = {
    .name = "incrby",
    .arity = 3,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Adds an integer to the one under a key; a missing key counts as 0.",
    .keys = key_change,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("increment", ARG_INTEGER), ARGS_END},
    .run = run_incrby,
};

const struct command cmd_decrby = {
    .name = "decrby",
    .arity = 3,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Takes an integer off the one under a key; a missing key counts as 0.",
    .keys = key_change,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("decrement", ARG_INTEGER), ARGS_END},
    .run = run_decrby,
};

const struct command cmd_incrbyfloat = {
    .name = "incrbyfloat",
    .arity = 3,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "2.6.0",
    .complexity = "O(1)",
    .summary = "Adds a floating point number to the one under a key; a missing key counts as 0.",
    .keys = key_change,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("increment", ARG_DOUBLE), ARGS_END},
    .run = run_incrbyfloat,
};

/* When keys expire: EXPIRE and its forms, TTL and its forms, PERSIST. Times are kept in milliseconds since 1970. */
#include "cmd/declare.h"
#include "cmd/support.h"

#include <limits.h>

enum condition { IF_NONE = 1, IF_ANY = 2, IF_LATER = 4, IF_EARLIER = 8 };

/* False: an error is replied. */
static bool parse_conditions(struct call *c, unsigned *out)
{
    static const struct {
        const char *word;
        unsigned condition;
    } words[] = {{"nx", IF_NONE}, {"xx", IF_ANY}, {"gt", IF_LATER}, {"lt", IF_EARLIER}};
    *out = 0;
    for (int i = 3; i < c->argc; i++) {
        unsigned found = 0;
        for (size_t w = 0; w < sizeof words / sizeof words[0]; w++)
            if (arg_is(c, i, words[w].word))
                found = words[w].condition;
        if (!found) {
            (void)reply_error(c->reply, "ERR Unsupported option %.*s",
                              (int)(c->argv[i].len < INT_MAX ? c->argv[i].len : INT_MAX),
                              (const char *)c->argv[i].data);
            return false;
        }
        *out |= found;
    }
    const char *wrong = NULL;
    if (*out & IF_NONE && *out & ~(unsigned)IF_NONE)
        wrong = "ERR NX and XX, GT or LT options at the same time are not compatible";
    else if (*out & IF_LATER && *out & IF_EARLIER)
        wrong = "ERR GT and LT options at the same time are not compatible";
    if (wrong)
        (void)reply_error(c->reply, "%s", wrong);
    return !wrong;
}

/* A key that never expires counts as one that expires at the end of time. */
static bool conditions_hold(unsigned conditions, uint64_t current, int64_t when)
{
    if (conditions & IF_NONE && current)
        return false;
    if (conditions & IF_ANY && !current)
        return false;
    if (conditions & IF_LATER && (!current || when <= (int64_t)current))
        return false;
    return !(conditions & IF_EARLIER && current && when >= (int64_t)current);
}

static enum result expire(struct call *c, enum time_unit unit, bool relative)
{
    unsigned conditions;
    int64_t when;
    if (!parse_conditions(c, &conditions) || !arg_i64(c, 2, &when))
        return RES_OK;
    if ((unit == TIME_SECONDS && __builtin_mul_overflow(when, 1000, &when)) ||
        (relative && __builtin_add_overflow(when, (int64_t)c->now_ms, &when)))
        return reply_invalid_expire(c);
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r != RES_OK)
        return r;
    if (!o.exists || !conditions_hold(conditions, o.expire_ms, when)) {
        reply_integer(c->reply, 0);
        return RES_OK;
    }
    if (when <= (int64_t)c->now_ms)
        r = delete_key(c, &o);
    else if ((r = store_set_expiry(c, &o, (uint64_t)when)) == RES_OK)
        r = key_event(c, EVENT_GENERIC, "expire", &key);
    if (r == RES_OK)
        reply_integer(c->reply, 1);
    return r;
}

static enum result run_expire(struct call *c) { return expire(c, TIME_SECONDS, true); }
static enum result run_pexpire(struct call *c) { return expire(c, TIME_MS, true); }
static enum result run_expireat(struct call *c) { return expire(c, TIME_SECONDS, false); }
static enum result run_pexpireat(struct call *c) { return expire(c, TIME_MS, false); }

static const struct command_arg condition_words[] = {ARG_TOKEN("nx", "NX"), ARG_TOKEN("xx", "XX"),
                                                     ARG_TOKEN("gt", "GT"), ARG_TOKEN("lt", "LT"), ARGS_END};
#define CONDITION ARG("condition", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "7.0.0", .children = condition_words)
static const struct command_history expire_history[] = {SINCE("7.0.0", "Options `NX`, `XX`, `GT` and `LT`."),
                                                        HISTORY_END};

const struct command cmd_expire = {
    .name = "expire",
    .arity = -3,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Lets a key expire a number of seconds from now.",
    .keys = key_update,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("seconds", ARG_INTEGER), CONDITION, ARGS_END},
    .history = expire_history,
    .run = run_expire,
};

const struct command cmd_pexpire = {
    .name = "pexpire",
    .arity = -3,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "2.6.0",
    .complexity = "O(1)",
    .summary = "Lets a key expire a number of milliseconds from now.",
    .keys = key_update,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("milliseconds", ARG_INTEGER), CONDITION, ARGS_END},
    .history = expire_history,
    .run = run_pexpire,
};

const struct command cmd_expireat = {
    .name = "expireat",
    .arity = -3,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "1.2.0",
    .complexity = "O(1)",
    .summary = "Lets a key expire at a Unix time in seconds.",
    .keys = key_update,
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY), ARG("unix-time-seconds", ARG_UNIX_TIME), CONDITION, ARGS_END},
    .history = expire_history,
    .run = run_expireat,
};

const struct command cmd_pexpireat = {
    .name = "pexpireat",
    .arity = -3,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "2.6.0",
    .complexity = "O(1)",
    .summary = "Lets a key expire at a Unix time in milliseconds.",
    .keys = key_update,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("unix-time-milliseconds", ARG_UNIX_TIME), CONDITION,
                                         ARGS_END},
    .history = expire_history,
    .run = run_pexpireat,
};

/* ---- asking ---- */

static enum result reply_expiry(struct call *c, enum time_unit unit, bool relative)
{
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_read(c, &key, LOOKUP_NO_TOUCH, &o);
    if (r != RES_OK)
        return r;
    int64_t value = o.exists ? -1 : -2;
    if (o.exists && o.expire_ms) {
        value = (int64_t)(relative ? o.expire_ms - c->now_ms : o.expire_ms);
        if (unit == TIME_SECONDS)
            value = value / 1000 + (value % 1000 >= 500);
    }
    reply_integer(c->reply, value);
    return RES_OK;
}

static enum result run_ttl(struct call *c) { return reply_expiry(c, TIME_SECONDS, true); }
static enum result run_pttl(struct call *c) { return reply_expiry(c, TIME_MS, true); }
static enum result run_expiretime(struct call *c) { return reply_expiry(c, TIME_SECONDS, false); }
static enum result run_pexpiretime(struct call *c) { return reply_expiry(c, TIME_MS, false); }

static const struct command_history ttl_history[] = {SINCE("2.8.0", "-2 for a key that does not exist."), HISTORY_END};
static const char *const tips_changing[] = {"nondeterministic_output", NULL};

const struct command cmd_ttl = {
    .name = "ttl",
    .arity = 2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Says in how many seconds a key expires: -1 never, -2 it does not exist.",
    .keys = key_read,
    .args = args_key,
    .history = ttl_history,
    .tips = tips_changing,
    .run = run_ttl,
};

const struct command cmd_pttl = {
    .name = "pttl",
    .arity = 2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "2.6.0",
    .complexity = "O(1)",
    .summary = "Says in how many milliseconds a key expires: -1 never, -2 it does not exist.",
    .keys = key_read,
    .args = args_key,
    .history = ttl_history,
    .tips = tips_changing,
    .run = run_pttl,
};

const struct command cmd_expiretime = {
    .name = "expiretime",
    .arity = 2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "7.0.0",
    .complexity = "O(1)",
    .summary = "Says at which Unix time in seconds a key expires: -1 never, -2 it does not exist.",
    .keys = key_read,
    .args = args_key,
    .run = run_expiretime,
};

const struct command cmd_pexpiretime = {
    .name = "pexpiretime",
    .arity = 2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "7.0.0",
    .complexity = "O(1)",
    .summary = "Says at which Unix time in milliseconds a key expires: -1 never, -2 it does not exist.",
    .keys = key_read,
    .args = args_key,
    .run = run_pexpiretime,
};

/* ---- PERSIST ---- */

static enum result run_persist(struct call *c)
{
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    bool had = r == RES_OK && o.exists && o.expire_ms;
    if (had && (r = store_set_expiry(c, &o, 0)) == RES_OK)
        r = key_event(c, EVENT_GENERIC, "persist", &key);
    if (r == RES_OK)
        reply_integer(c->reply, had);
    return r;
}

const struct command cmd_persist = {
    .name = "persist",
    .arity = 2,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "2.2.0",
    .complexity = "O(1)",
    .summary = "Takes the expiry off a key.",
    .keys = key_update,
    .args = args_key,
    .run = run_persist,
};

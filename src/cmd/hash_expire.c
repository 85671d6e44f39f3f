/* Fields that expire: HEXPIRE and its forms, HTTL and its forms, HPERSIST, as Redis 7.4 has them. Each answers an array with a
 * number for each field: -2 where there is none. */
#include "cmd/collection.h"
#include "cmd/declare.h"
#include "store/hash.h"

#define NO_FIELD (-2)
#define NO_TTL (-1)
/* Redis' limit for the time of a field: 2^46 ms, about the year 4200. */
#define FIELD_TIME_MAX ((INT64_C(1) << 46) - 1)

/* FIELDS numfields field ... from argument `at` on. False: an error is replied. */
static bool parse_fields(struct call *c, int at, const char *few)
{
    int64_t count;
    if (!arg_is(c, at, "fields")) {
        (void)reply_error(c->reply, "ERR Mandatory argument FIELDS is missing or not at the right position");
        return false;
    }
    if (at + 1 >= c->argc || !arg_i64_or(c, at + 1, &count, few)) {
        if (at + 1 >= c->argc)
            (void)reply_error(c->reply, "ERR wrong number of arguments for '%s' command", c->entry->full_name);
        return false;
    }
    if (count < 1)
        (void)reply_error(c->reply, "%s", few);
    else if (count != c->argc - at - 2)
        (void)reply_error(c->reply, "ERR The `numfields` parameter must match the number of arguments");
    return count >= 1 && count == c->argc - at - 2;
}

/* ---- HEXPIRE ---- */

enum condition { ALWAYS, IF_NONE, IF_SOME, IF_LATER, IF_EARLIER };

static enum condition parse_condition(const struct call *c, int i)
{
    return arg_is(c, i, "nx")   ? IF_NONE
           : arg_is(c, i, "xx") ? IF_SOME
           : arg_is(c, i, "gt") ? IF_LATER
           : arg_is(c, i, "lt") ? IF_EARLIER
                                : ALWAYS;
}

static bool condition_holds(enum condition condition, uint64_t old_ms, uint64_t new_ms)
{
    switch (condition) {
    case IF_NONE:
        return !old_ms;
    case IF_SOME:
        return old_ms > 0;
    case IF_LATER: /* no expiry is the latest */
        return old_ms && new_ms > old_ms;
    case IF_EARLIER:
        return !old_ms || new_ms < old_ms;
    default:
        return true;
    }
}

static bool parse_time(struct call *c, enum time_unit unit, bool relative, uint64_t *ms)
{
    int64_t t, base = relative ? (int64_t)c->now_ms : 0;
    if (!arg_i64(c, 2, &t))
        return false;
    if (t < 0) {
        (void)reply_error(c->reply, "ERR invalid expire time, must be >= 0");
        return false;
    }
    if (t > (unit == TIME_SECONDS ? FIELD_TIME_MAX / 1000 : FIELD_TIME_MAX) ||
        (unit == TIME_SECONDS ? t * 1000 : t) > FIELD_TIME_MAX - base) {
        (void)reply_invalid_expire(c);
        return false;
    }
    *ms = (uint64_t)((unit == TIME_SECONDS ? t * 1000 : t) + base);
    return true;
}

struct changes {
    unsigned updated, removed;
};

/* What is answered for a field. */
static enum result expire_field(struct elements *e, struct slice name, enum condition condition, uint64_t ms,
                                struct changes *changes, int *answer)
{
    struct field_place p;
    enum result r = hash_find(e, name, &p);
    if (r != RES_OK)
        return r;
    *answer = !p.alive ? NO_FIELD : 0;
    if (!p.alive || !condition_holds(condition, p.member.element.expire_ms, ms))
        return RES_OK;
    if (ms <= e->c->now_ms) {
        *answer = 2;
        changes->removed++;
        return hash_remove(e, &p);
    }
    *answer = 1;
    changes->updated++;
    void *value = arena_copy(e->c->arena, p.member.element.value.data, p.member.element.value.len); /* it may move */
    return value ? hash_put(e, &p, slice_of(value, p.member.element.value.len), ms) : RES_NO_MEMORY;
}

static enum result expire_fields(struct call *c, enum time_unit unit, bool relative)
{
    struct collection x;
    uint64_t ms;
    bool ready;
    struct changes changes = {0, 0};
    enum result r = collection_write(c, c->argv[1], &elements_of_hash, &x, &ready);
    if (r != RES_OK || !ready || !parse_time(c, unit, relative, &ms))
        return r;
    enum condition condition = parse_condition(c, 3);
    int at = condition == ALWAYS ? 3 : 4;
    if (!parse_fields(c, at, "ERR Parameter `numFields` should be greater than 0"))
        return RES_OK;
    reply_array(c->reply, (size_t)(c->argc - at - 2));
    for (int i = at + 2; i < c->argc; i++) {
        int answer = NO_FIELD;
        if (x.o.exists && (r = expire_field(&x.e, c->argv[i], condition, ms, &changes, &answer)) != RES_OK)
            return r;
        reply_integer(c->reply, answer);
        if (i % 128 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return collection_finish(&x, EVENT_HASH, changes.removed ? "hdel" : "hexpire");
}

static enum result run_hexpire(struct call *c) { return expire_fields(c, TIME_SECONDS, true); }
static enum result run_hpexpire(struct call *c) { return expire_fields(c, TIME_MS, true); }
static enum result run_hexpireat(struct call *c) { return expire_fields(c, TIME_SECONDS, false); }
static enum result run_hpexpireat(struct call *c) { return expire_fields(c, TIME_MS, false); }

/* ---- HTTL, HPERSIST ---- */

static const char few_fields[] = "ERR Number of fields must be a positive integer";

static enum result tell_expiry(struct call *c, enum time_unit unit, bool relative)
{
    struct collection x;
    bool ready;
    enum result r = collection_read(c, c->argv[1], &elements_of_hash, &x, &ready);
    if (r != RES_OK || !ready || !parse_fields(c, 2, few_fields))
        return r;
    reply_array(c->reply, (size_t)c->argc - 4);
    for (int i = 4; i < c->argc; i++) {
        struct field_place p;
        if ((r = hash_find(&x.e, c->argv[i], &p)) != RES_OK)
            return r;
        uint64_t ms = hash_expiry_of(&p), base = relative ? c->now_ms : 0;
        if (!ms)
            reply_integer(c->reply, p.alive ? NO_TTL : NO_FIELD);
        else
            reply_integer(c->reply, (int64_t)(unit == TIME_SECONDS ? (ms + 999 - base) / 1000 : ms - base));
    }
    return RES_OK;
}

static enum result run_httl(struct call *c) { return tell_expiry(c, TIME_SECONDS, true); }
static enum result run_hpttl(struct call *c) { return tell_expiry(c, TIME_MS, true); }
static enum result run_hexpiretime(struct call *c) { return tell_expiry(c, TIME_SECONDS, false); }
static enum result run_hpexpiretime(struct call *c) { return tell_expiry(c, TIME_MS, false); }

static enum result persist_field(struct elements *e, struct slice name, int *answer)
{
    struct field_place p;
    enum result r = hash_find(e, name, &p);
    if (r != RES_OK)
        return r;
    *answer = !p.alive ? NO_FIELD : p.member.element.expire_ms ? 1 : NO_TTL;
    if (*answer != 1)
        return RES_OK;
    void *value = arena_copy(e->c->arena, p.member.element.value.data, p.member.element.value.len);
    return value ? hash_put(e, &p, slice_of(value, p.member.element.value.len), 0) : RES_NO_MEMORY;
}

static enum result run_hpersist(struct call *c)
{
    struct collection x;
    bool ready;
    enum result r = collection_write(c, c->argv[1], &elements_of_hash, &x, &ready);
    if (r != RES_OK || !ready || !parse_fields(c, 2, few_fields))
        return r;
    reply_array(c->reply, (size_t)c->argc - 4);
    for (int i = 4; i < c->argc; i++) {
        int answer;
        if ((r = persist_field(&x.e, c->argv[i], &answer)) != RES_OK)
            return r;
        reply_integer(c->reply, answer);
    }
    return collection_finish(&x, EVENT_HASH, "hpersist");
}

/* ---- declarations ---- */

static const struct command_arg condition_args[] = {ARG_TOKEN("nx", "NX"), ARG_TOKEN("xx", "XX"), ARG_TOKEN("gt", "GT"),
                                                    ARG_TOKEN("lt", "LT"), ARGS_END};
static const struct command_arg fields_args[] = {ARG("numfields", ARG_INTEGER),
                                                 ARG("field", ARG_STRING, .flags = ARG_MULTIPLE), ARGS_END};
#define ARG_CONDITION ARG("condition", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = condition_args)
#define ARG_FIELDS ARG("fields", ARG_BLOCK, .token = "FIELDS", .children = fields_args)
static const struct command_arg args_look[] = {ARG("key", ARG_KEY), ARG_FIELDS, ARGS_END};

const struct command cmd_hexpire = {
    .name = "hexpire",
    .arity = -6,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "7.4.0",
    .complexity = "O(N) for N fields",
    .summary = "Lets fields of a hash expire after a number of seconds.",
    .keys = key_update,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("seconds", ARG_INTEGER), ARG_CONDITION, ARG_FIELDS,
                                         ARGS_END},
    .run = run_hexpire,
};

const struct command cmd_hpexpire = {
    .name = "hpexpire",
    .arity = -6,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "7.4.0",
    .complexity = "O(N) for N fields",
    .summary = "Lets fields of a hash expire after a number of milliseconds.",
    .keys = key_update,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("milliseconds", ARG_INTEGER), ARG_CONDITION,
                                         ARG_FIELDS, ARGS_END},
    .run = run_hpexpire,
};

const struct command cmd_hexpireat = {
    .name = "hexpireat",
    .arity = -6,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "7.4.0",
    .complexity = "O(N) for N fields",
    .summary = "Lets fields of a hash expire at a Unix time in seconds.",
    .keys = key_update,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("unix-time-seconds", ARG_UNIX_TIME), ARG_CONDITION,
                                         ARG_FIELDS, ARGS_END},
    .run = run_hexpireat,
};

const struct command cmd_hpexpireat = {
    .name = "hpexpireat",
    .arity = -6,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "7.4.0",
    .complexity = "O(N) for N fields",
    .summary = "Lets fields of a hash expire at a Unix time in milliseconds.",
    .keys = key_update,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("unix-time-milliseconds", ARG_UNIX_TIME),
                                         ARG_CONDITION, ARG_FIELDS, ARGS_END},
    .run = run_hpexpireat,
};

const struct command cmd_httl = {
    .name = "httl",
    .arity = -5,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "7.4.0",
    .complexity = "O(N) for N fields",
    .summary = "Says in how many seconds fields of a hash expire: -1 never, -2 there is none.",
    .keys = key_read,
    .args = args_look,
    .run = run_httl,
};

const struct command cmd_hpttl = {
    .name = "hpttl",
    .arity = -5,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "7.4.0",
    .complexity = "O(N) for N fields",
    .summary = "Says in how many milliseconds fields of a hash expire: -1 never, -2 there is none.",
    .keys = key_read,
    .args = args_look,
    .run = run_hpttl,
};

const struct command cmd_hexpiretime = {
    .name = "hexpiretime",
    .arity = -5,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "7.4.0",
    .complexity = "O(N) for N fields",
    .summary = "Says at which Unix time in seconds fields of a hash expire: -1 never, -2 there is none.",
    .keys = key_read,
    .args = args_look,
    .run = run_hexpiretime,
};

const struct command cmd_hpexpiretime = {
    .name = "hpexpiretime",
    .arity = -5,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "7.4.0",
    .complexity = "O(N) for N fields",
    .summary = "Says at which Unix time in milliseconds fields of a hash expire: -1 never, -2 there is none.",
    .keys = key_read,
    .args = args_look,
    .run = run_hpexpiretime,
};

const struct command cmd_hpersist = {
    .name = "hpersist",
    .arity = -5,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "7.4.0",
    .complexity = "O(N) for N fields",
    .summary = "Takes the expiry off fields of a hash.",
    .keys = key_update,
    .args = args_look,
    .run = run_hpersist,
};

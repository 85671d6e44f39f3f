/* Strings as wholes: SET and its many forms, GET and its forms that also change the key, MGET, MSET, MSETNX.
 *
 * A value that is sent goes once from the request into its record; a value that is read goes once from its record into
 * the reply. */
#include "cmd/declare.h"
#include "cmd/support.h"

/* ---- options of SET and GETEX ---- */

enum option {
    OPT_NX = 1,
    OPT_XX = 2,
    OPT_GET = 4,
    OPT_KEEPTTL = 8,
    OPT_PERSIST = 16,
    OPT_EX = 32,
    OPT_PX = 64,
    OPT_EXAT = 128,
    OPT_PXAT = 256,
};
#define OPT_TIME (OPT_EX | OPT_PX | OPT_EXAT | OPT_PXAT)

struct option_word {
    const char *word;
    unsigned option, excludes;
    bool takes_time;
};
static const struct option_word set_words[] = {
    {"nx", OPT_NX, OPT_XX, false},
    {"xx", OPT_XX, OPT_NX, false},
    {"get", OPT_GET, 0, false},
    {"keepttl", OPT_KEEPTTL, OPT_TIME, false},
    {"ex", OPT_EX, OPT_KEEPTTL | (OPT_TIME & ~OPT_EX), true},
    {"px", OPT_PX, OPT_KEEPTTL | (OPT_TIME & ~OPT_PX), true},
    {"exat", OPT_EXAT, OPT_KEEPTTL | (OPT_TIME & ~OPT_EXAT), true},
    {"pxat", OPT_PXAT, OPT_KEEPTTL | (OPT_TIME & ~OPT_PXAT), true},
    {NULL, 0, 0, false},
};
static const struct option_word getex_words[] = {
    {"persist", OPT_PERSIST, OPT_TIME, false},
    {"ex", OPT_EX, OPT_PERSIST | (OPT_TIME & ~OPT_EX), true},
    {"px", OPT_PX, OPT_PERSIST | (OPT_TIME & ~OPT_PX), true},
    {"exat", OPT_EXAT, OPT_PERSIST | (OPT_TIME & ~OPT_EXAT), true},
    {"pxat", OPT_PXAT, OPT_PERSIST | (OPT_TIME & ~OPT_PXAT), true},
    {NULL, 0, 0, false},
};

struct options {
    unsigned set;
    int time_arg; /* where the time stands; 0: none */
};

/* False: a syntax error is replied. */
static bool parse_options(struct call *c, int from, const struct option_word *words, struct options *out)
{
    *out = (struct options){0};
    for (int i = from; i < c->argc; i++) {
        const struct option_word *w = words;
        while (w->word && !arg_is(c, i, w->word))
            w++;
        if (!w->word || out->set & w->excludes || (w->takes_time && i + 1 == c->argc)) {
            (void)reply_syntax_error(c->reply);
            return false;
        }
        out->set |= w->option;
        if (w->takes_time)
            out->time_arg = ++i;
    }
    return true;
}

static bool option_time(struct call *c, const struct options *o, uint64_t *ms)
{
    *ms = 0;
    if (!o->time_arg)
        return true;
    return arg_expire_time(c, o->time_arg, o->set & (OPT_PX | OPT_PXAT) ? TIME_MS : TIME_SECONDS,
                           (o->set & (OPT_EX | OPT_PX)) != 0, ms);
}

/* ---- SET ---- */

/* The form without options: what most writes are. */
static enum result set_plain(struct call *c)
{
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r == RES_OK)
        r = set_key(c, &o, c->argv[2], 0, 0);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

static enum result run_set(struct call *c)
{
    if (likely(c->argc == 3))
        return set_plain(c);
    struct options opt;
    uint64_t expire_ms;
    if (!parse_options(c, 3, set_words, &opt) || !option_time(c, &opt, &expire_ms))
        return RES_OK;
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r != RES_OK)
        return r;
    if (opt.set & OPT_GET) {
        store_count_lookup(c, &o);
        if (o.exists && o.type != TYPE_STRING)
            return reply_wrong_type(c->reply);
        if (!o.exists)
            reply_null(c->reply);
        else if ((r = store_string_reply(c, &o)) != RES_OK)
            return r;
    }
    if ((opt.set & OPT_NX && o.exists) || (opt.set & OPT_XX && !o.exists)) {
        if (!(opt.set & OPT_GET))
            reply_null(c->reply);
        return RES_OK;
    }
    r = set_key(c, &o, c->argv[2], expire_ms, opt.set & OPT_KEEPTTL ? PUT_KEEP_TTL : 0);
    if (r == RES_OK && !(opt.set & OPT_GET))
        reply_ok(c->reply);
    return r;
}

/* SET without GET only overwrites. */
static uint16_t set_key_flags(int argc, const struct slice *argv)
{
    for (int i = 3; i < argc; i++)
        if (slice_eq_nocase(argv[i], "get"))
            return KEY_RW | KEY_ACCESS | KEY_UPDATE;
    return KEY_OW | KEY_UPDATE;
}

static const struct command_arg set_condition[] = {ARG_TOKEN("nx", "NX"), ARG_TOKEN("xx", "XX"), ARGS_END};
static const struct command_arg set_expiration[] = {
    ARG("seconds", ARG_INTEGER, .token = "EX", .since = "2.6.12"),
    ARG("milliseconds", ARG_INTEGER, .token = "PX", .since = "2.6.12"),
    ARG("unix-time-seconds", ARG_UNIX_TIME, .token = "EXAT", .since = "6.2.0"),
    ARG("unix-time-milliseconds", ARG_UNIX_TIME, .token = "PXAT", .since = "6.2.0"),
    ARG_TOKEN("keepttl", "KEEPTTL", .since = "6.0.0"),
    ARGS_END,
};
const struct command cmd_set = {
    .name = "set",
    .arity = -3,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_STRING,
    .group = "string",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Stores a string under a key, whatever was there before.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE,
                                                    .notes = "RW and ACCESS only with GET"),
                                             KEYS_END},
    .args =
        (const struct command_arg[]){
            ARG("key", ARG_KEY), ARG("value", ARG_STRING),
            ARG("condition", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "2.6.12", .children = set_condition),
            ARG_TOKEN("get", "GET", .flags = ARG_OPTIONAL, .since = "6.2.0"),
            ARG("expiration", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = set_expiration), ARGS_END},
    .history = (const struct command_history[]){SINCE("2.6.12", "Options `EX`, `PX`, `NX` and `XX`."),
                                                SINCE("6.0.0", "Option `KEEPTTL`."),
                                                SINCE("6.2.0", "Options `GET`, `EXAT` and `PXAT`."),
                                                SINCE("7.0.0", "`NX` and `GET` may be given together."), HISTORY_END},
    .run = run_set,
    .key_flags = set_key_flags,
};

static const struct command_arg args_key_value[] = {ARG("key", ARG_KEY), ARG("value", ARG_STRING), ARGS_END};

static enum result run_setnx(struct call *c)
{
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r != RES_OK)
        return r;
    bool set = !o.exists;
    if (set && (r = set_key(c, &o, c->argv[2], 0, 0)) != RES_OK)
        return r;
    reply_integer(c->reply, set);
    return RES_OK;
}

const struct command cmd_setnx = {
    .name = "setnx",
    .arity = 3,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Stores a string under a key that does not exist yet.",
    .deprecated_since = "2.6.12",
    .replaced_by = "`SET` with the `NX` argument",
    .keys = key_insert_new,
    .args = args_key_value,
    .run = run_setnx,
};

static enum result set_with_ttl(struct call *c, enum time_unit unit)
{
    uint64_t expire_ms;
    if (!arg_expire_time(c, 2, unit, true, &expire_ms))
        return RES_OK;
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r == RES_OK)
        r = set_key(c, &o, c->argv[3], expire_ms, 0);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

static enum result run_setex(struct call *c) { return set_with_ttl(c, TIME_SECONDS); }
static enum result run_psetex(struct call *c) { return set_with_ttl(c, TIME_MS); }

const struct command cmd_setex = {
    .name = "setex",
    .arity = 4,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_STRING,
    .group = "string",
    .since = "2.0.0",
    .complexity = "O(1)",
    .summary = "Stores a string together with its time to live in seconds.",
    .deprecated_since = "2.6.12",
    .replaced_by = "`SET` with the `EX` argument",
    .keys = key_overwrite,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("seconds", ARG_INTEGER), ARG("value", ARG_STRING),
                                         ARGS_END},
    .run = run_setex,
};

const struct command cmd_psetex = {
    .name = "psetex",
    .arity = 4,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_STRING,
    .group = "string",
    .since = "2.6.0",
    .complexity = "O(1)",
    .summary = "Stores a string together with its time to live in milliseconds.",
    .deprecated_since = "2.6.12",
    .replaced_by = "`SET` with the `PX` argument",
    .keys = key_overwrite,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("milliseconds", ARG_INTEGER),
                                         ARG("value", ARG_STRING), ARGS_END},
    .run = run_psetex,
};

/* ---- GET ---- */

static enum result run_get(struct call *c)
{
    struct store_key key;
    struct object o;
    bool ready;
    enum result r = find_string(c, 1, &key, &o, &ready);
    return r == RES_OK && ready ? store_string_reply(c, &o) : r;
}

const struct command cmd_get = {
    .name = "get",
    .arity = 2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Returns the string stored under a key.",
    .keys = key_read,
    .args = args_key,
    .run = run_get,
};

static enum result run_getset(struct call *c)
{
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r != RES_OK)
        return r;
    store_count_lookup(c, &o);
    if (o.exists && o.type != TYPE_STRING)
        return reply_wrong_type(c->reply);
    if (!o.exists)
        reply_null(c->reply);
    else if ((r = store_string_reply(c, &o)) != RES_OK)
        return r;
    return set_key(c, &o, c->argv[2], 0, 0);
}

const struct command cmd_getset = {
    .name = "getset",
    .arity = 3,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Stores a string under a key and returns the one that was there.",
    .deprecated_since = "6.2.0",
    .replaced_by = "`SET` with the `!GET` argument",
    .keys = key_change,
    .args = args_key_value,
    .run = run_getset,
};

static enum result run_getdel(struct call *c)
{
    struct store_key key;
    struct object o;
    bool ready;
    enum result r = find_string_to_write(c, 1, &key, &o, &ready);
    if (r != RES_OK || !ready)
        return r;
    r = store_string_reply(c, &o);
    return r == RES_OK ? delete_key(c, &o) : r;
}

const struct command cmd_getdel = {
    .name = "getdel",
    .arity = 2,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "6.2.0",
    .complexity = "O(1)",
    .summary = "Returns the string stored under a key and removes the key.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEYS_END},
    .args = args_key,
    .run = run_getdel,
};

static enum result run_getex(struct call *c)
{
    struct options opt;
    if (!parse_options(c, 2, getex_words, &opt))
        return RES_OK;
    struct store_key key;
    struct object o;
    bool ready;
    uint64_t expire_ms;
    enum result r = find_string_to_write(c, 1, &key, &o, &ready);
    if (r != RES_OK || !ready || !option_time(c, &opt, &expire_ms))
        return r;
    if ((r = store_string_reply(c, &o)) != RES_OK)
        return r;
    if (opt.set & (OPT_EXAT | OPT_PXAT) && expire_ms <= c->now_ms)
        return delete_key(c, &o);
    if (!opt.time_arg && !(opt.set & OPT_PERSIST && o.expire_ms))
        return RES_OK;
    r = store_set_expiry(c, &o, expire_ms);
    return r == RES_OK ? key_event(c, EVENT_GENERIC, opt.time_arg ? "expire" : "persist", &key) : r;
}

static const struct command_arg getex_expiration[] = {
    ARG("seconds", ARG_INTEGER, .token = "EX"),
    ARG("milliseconds", ARG_INTEGER, .token = "PX"),
    ARG("unix-time-seconds", ARG_UNIX_TIME, .token = "EXAT"),
    ARG("unix-time-milliseconds", ARG_UNIX_TIME, .token = "PXAT"),
    ARG_TOKEN("persist", "PERSIST"),
    ARGS_END,
};
const struct command cmd_getex = {
    .name = "getex",
    .arity = -2,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "6.2.0",
    .complexity = "O(1)",
    .summary = "Returns the string stored under a key and changes when the key expires.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE,
                                                    .notes = "RW and UPDATE because the expiry may change"),
                                             KEYS_END},
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY),
                                     ARG("expiration", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = getex_expiration),
                                     ARGS_END},
    .run = run_getex,
};

/* ---- many keys ---- */

static enum result run_mget(struct call *c)
{
    reply_array(c->reply, (size_t)c->argc - 1);
    for (int i = 1; i < c->argc; i++) {
        struct store_key key;
        struct object o;
        enum result r = arg_key(c, i, &key);
        if (r == RES_OK)
            r = store_read(c, &key, 0, &o);
        if (r == RES_OK && o.exists && o.type == TYPE_STRING)
            r = store_string_reply(c, &o);
        else if (r == RES_OK)
            reply_null(c->reply);
        if (r != RES_OK)
            return r;
        if (i % 256 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return RES_OK;
}

const struct command cmd_mget = {
    .name = "mget",
    .arity = -2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "1.0.0",
    .complexity = "O(N) for N keys",
    .summary = "Returns the strings stored under several keys.",
    .keys = (const struct command_keyspec[]){KEYS_FROM(1, 1, KEY_RO | KEY_ACCESS), KEYS_END},
    .args = args_keys,
    .tips = (const char *const[]){"request_policy:multi_shard", NULL},
    .run = run_mget,
};

static bool even_arguments(struct call *c)
{
    if (c->argc % 2 == 1)
        return true;
    (void)reply_error(c->reply, "ERR wrong number of arguments for '%s' command", c->entry->full_name);
    return false;
}

static enum result set_pairs(struct call *c)
{
    for (int i = 1; i < c->argc; i += 2) {
        struct store_key key;
        struct object o;
        enum result r = arg_key(c, i, &key);
        if (r == RES_OK)
            r = store_write(c, &key, &o);
        if (r == RES_OK)
            r = set_key(c, &o, c->argv[i + 1], 0, 0);
        if (r != RES_OK)
            return r;
        if (i % 256 == 255 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return RES_OK;
}

static enum result run_mset(struct call *c)
{
    if (!even_arguments(c))
        return RES_OK;
    enum result r = set_pairs(c);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

static enum result run_msetnx(struct call *c)
{
    if (!even_arguments(c))
        return RES_OK;
    for (int i = 1; i < c->argc; i += 2) {
        struct store_key key;
        struct object o;
        enum result r = arg_key(c, i, &key);
        if (r == RES_OK)
            r = store_write(c, &key, &o);
        if (r != RES_OK)
            return r;
        if (o.exists) {
            reply_integer(c->reply, 0);
            return RES_OK;
        }
        if (i % 256 == 255 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    enum result r = set_pairs(c);
    if (r == RES_OK)
        reply_integer(c->reply, 1);
    return r;
}

static const struct command_arg mset_pair[] = {ARG("key", ARG_KEY), ARG("value", ARG_STRING), ARGS_END};
static const struct command_arg mset_args[] = {
    ARG("data", ARG_BLOCK, .flags = ARG_MULTIPLE, .children = mset_pair),
    ARGS_END,
};

const struct command cmd_mset = {
    .name = "mset",
    .arity = -3,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_STRING,
    .group = "string",
    .since = "1.0.1",
    .complexity = "O(N) for N keys",
    .summary = "Stores strings under several keys at once.",
    .keys = (const struct command_keyspec[]){KEYS_FROM(1, 2, KEY_OW | KEY_UPDATE), KEYS_END},
    .args = mset_args,
    .tips = (const char *const[]){"request_policy:multi_shard", "response_policy:all_succeeded", NULL},
    .run = run_mset,
};

const struct command cmd_msetnx = {
    .name = "msetnx",
    .arity = -3,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_STRING,
    .group = "string",
    .since = "1.0.1",
    .complexity = "O(N) for N keys",
    .summary = "Stores strings under several keys at once, if none of them exists.",
    .keys = (const struct command_keyspec[]){KEYS_FROM(1, 2, KEY_OW | KEY_INSERT), KEYS_END},
    .args = mset_args,
    .run = run_msetnx,
};

/* OBJECT: what is known of a key beside its value. */
#include <limits.h>

#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/help.h"
#include "cmd/support.h"

static const struct command_keyspec key_second[] = {KEY_AT(2, KEY_RO), KEYS_END};
static const char *const tips_changing[] = {"nondeterministic_output", NULL};

/* Missing: replies null and sets *found to false. */
static enum result find(struct call *c, struct store_key *key, struct object *o, bool *found)
{
    *found = false;
    enum result r = arg_key(c, 2, key);
    if (r == RES_OK)
        r = store_read(c, key, LOOKUP_NO_TOUCH | LOOKUP_NO_EVENT, o);
    if (r != RES_OK)
        return r;
    *found = o->exists;
    if (!o->exists)
        reply_null(c->reply);
    return RES_OK;
}

static enum result run_encoding(struct call *c)
{
    struct store_key key;
    struct object o;
    bool found;
    enum result r = find(c, &key, &o, &found);
    if (r == RES_OK && found)
        reply_bulk_str(c->reply, object_encoding_name(o.encoding));
    return r;
}

/* Values are not shared here. Small integers answer as in Redis, where they are: clients test for it. */
static enum result run_refcount(struct call *c)
{
    struct store_key key;
    struct object o;
    bool found;
    int64_t number;
    enum result r = find(c, &key, &o, &found);
    if (r != RES_OK || !found)
        return r;
    bool shared = o.type == TYPE_STRING && o.encoding == ENCODING_INT && num_parse_i64(o.value, &number) == RES_OK &&
                  number >= 0 && number < 10000;
    reply_integer(c->reply, shared ? INT_MAX : 1);
    return RES_OK;
}

static enum result run_idletime(struct call *c)
{
    struct store_key key;
    struct object o;
    bool found;
    enum result r = find(c, &key, &o, &found);
    if (r == RES_OK && found)
        reply_integer(c->reply, (int64_t)store_idle_seconds(c, &key));
    return r;
}

static enum result run_freq(struct call *c)
{
    struct store_key key;
    struct object o;
    bool found;
    enum result r = find(c, &key, &o, &found);
    if (r != RES_OK || !found)
        return r;
    return reply_error(c->reply,
                       "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note "
                       "that when switching between policies at runtime LRU and LFU data will take some "
                       "time to adjust.");
}

static enum result run_help(struct call *c)
{
    static const char *const lines[] = {
        "ENCODING <key>",
        "    The internal representation Redis would use for the value.",
        "FREQ <key>",
        "    How often the key is used, on a logarithmic scale; needs an LFU policy.",
        "IDLETIME <key>",
        "    Seconds since the key was last used; approximate.",
        "REFCOUNT <key>",
        "    The number of references to the value.",
        NULL,
    };
    return reply_help(c, lines);
}

static const struct command sub_encoding = {
    .name = "encoding",
    .arity = 3,
    .flags = CMD_READONLY,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "2.2.3",
    .complexity = "O(1)",
    .summary = "Returns the name of the representation Redis would use for a value.",
    .keys = key_second,
    .args = args_key,
    .tips = tips_changing,
    .run = run_encoding,
};
static const struct command sub_freq = {
    .name = "freq",
    .arity = 3,
    .flags = CMD_READONLY,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "4.0.0",
    .complexity = "O(1)",
    .summary = "Returns how often a key is used, where an LFU policy keeps count.",
    .keys = key_second,
    .args = args_key,
    .tips = tips_changing,
    .run = run_freq,
};
static const struct command sub_help = {
    .name = "help",
    .arity = 2,
    .flags = CMD_LOADING | CMD_STALE | CMD_SESSION,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "6.2.0",
    .complexity = "O(1)",
    .summary = "Says what the subcommands do.",
    .run = run_help,
};
static const struct command sub_idletime = {
    .name = "idletime",
    .arity = 3,
    .flags = CMD_READONLY,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "2.2.3",
    .complexity = "O(1)",
    .summary = "Returns for about how many seconds a key was not used.",
    .keys = key_second,
    .args = args_key,
    .tips = tips_changing,
    .run = run_idletime,
};
static const struct command sub_refcount = {
    .name = "refcount",
    .arity = 3,
    .flags = CMD_READONLY,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "2.2.3",
    .complexity = "O(1)",
    .summary = "Returns the number of references to a value.",
    .keys = key_second,
    .args = args_key,
    .tips = tips_changing,
    .run = run_refcount,
};

const struct command cmd_object = {
    .name = "object",
    .arity = -2,
    .group = "generic",
    .since = "2.2.3",
    .complexity = "As the subcommand.",
    .summary = "Container of commands about keys and their values.",
    .subcommands =
        (const struct command *const[]){&sub_encoding, &sub_freq, &sub_help, &sub_idletime, &sub_refcount, NULL},
};

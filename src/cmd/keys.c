/* Keys as such: whether they are there, what they are, and removing them. */
#include "cmd/declare.h"
#include "cmd/support.h"

static const char *const tips_sum[] = {"request_policy:multi_shard", "response_policy:agg_sum", NULL};

/* ---- DEL, UNLINK: the same here, since removing a key of any size is one record ---- */

static enum result run_del(struct call *c)
{
    int64_t deleted = 0;
    for (int i = 1; i < c->argc; i++) {
        struct store_key key;
        struct object o;
        enum result r = arg_key(c, i, &key);
        if (r == RES_OK)
            r = store_write(c, &key, &o);
        if (r == RES_OK && o.exists) {
            r = delete_key(c, &o);
            deleted++;
        }
        if (r != RES_OK)
            return r;
        if (i % 256 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    reply_integer(c->reply, deleted);
    return RES_OK;
}

static const struct command_keyspec keys_delete[] = {KEYS_FROM(1, 1, KEY_RM | KEY_DELETE), KEYS_END};

const struct command cmd_del = {
    .name = "del",
    .arity = -2,
    .flags = CMD_WRITE,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "1.0.0",
    .complexity = "O(N) for N keys, whatever their size",
    .summary = "Removes keys.",
    .keys = keys_delete,
    .args = args_keys,
    .tips = tips_sum,
    .run = run_del,
};

const struct command cmd_unlink = {
    .name = "unlink",
    .arity = -2,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "4.0.0",
    .complexity = "O(N) for N keys, whatever their size",
    .summary = "Removes keys; their space is reclaimed later, as it is for `DEL`.",
    .keys = keys_delete,
    .args = args_keys,
    .tips = tips_sum,
    .run = run_del,
};

/* ---- EXISTS, TOUCH ---- */

static enum result count_existing(struct call *c, int lookup)
{
    int64_t found = 0;
    for (int i = 1; i < c->argc; i++) {
        struct store_key key;
        struct object o;
        enum result r = arg_key(c, i, &key);
        if (r == RES_OK)
            r = store_read(c, &key, lookup, &o);
        if (r != RES_OK)
            return r;
        found += o.exists;
        if (i % 256 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    reply_integer(c->reply, found);
    return RES_OK;
}

static enum result run_exists(struct call *c) { return count_existing(c, LOOKUP_NO_TOUCH); }
static enum result run_touch(struct call *c) { return count_existing(c, 0); }

static const struct command_keyspec keys_look[] = {KEYS_FROM(1, 1, KEY_RO), KEYS_END};

const struct command cmd_exists = {
    .name = "exists",
    .arity = -2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "1.0.0",
    .complexity = "O(N) for N keys",
    .summary = "Says how many of the keys exist; a key named twice counts twice.",
    .keys = keys_look,
    .args = args_keys,
    .history = (const struct command_history[]){SINCE("3.0.3", "More than one key."), HISTORY_END},
    .tips = tips_sum,
    .run = run_exists,
};

const struct command cmd_touch = {
    .name = "touch",
    .arity = -2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "3.2.1",
    .complexity = "O(N) for N keys",
    .summary = "Says how many of the keys exist and counts as a use of them.",
    .keys = keys_look,
    .args = args_keys,
    .tips = tips_sum,
    .run = run_touch,
};

/* ---- TYPE ---- */

static enum result run_type(struct call *c)
{
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_read(c, &key, LOOKUP_NO_TOUCH, &o);
    if (r == RES_OK)
        reply_status(c->reply, o.exists ? object_type_name(o.type) : "none");
    return r;
}

const struct command cmd_type = {
    .name = "type",
    .arity = 2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Says of which type the value under a key is.",
    .keys = key_look,
    .args = args_key,
    .run = run_type,
};

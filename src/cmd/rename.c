/* Keys that become other keys: RENAME, RENAMENX, COPY, MOVE. Within a database renaming moves metadata only. */
#include <limits.h>

#include "cmd/declare.h"
#include "cmd/support.h"

/* A database number. False: an error is replied. */
static bool arg_db(struct call *c, int i, uint32_t *db)
{
    int64_t n;
    if (!arg_i64(c, i, &n))
        return false;
    if (n < INT_MIN || n > INT_MAX) {
        (void)reply_error(c->reply, "ERR value is out of range, value must between %d and %d", INT_MIN, INT_MAX);
        return false;
    }
    if (n < 0 || n >= store_databases(c->shard)) {
        (void)reply_error(c->reply, "ERR DB index is out of range");
        return false;
    }
    *db = (uint32_t)n;
    return true;
}

static enum result reply_same_object(struct call *c)
{
    return reply_error(c->reply, "ERR source and destination objects are the same");
}

/* A key that is overwritten is deleted first in Redis, and so it is a new one. */
static enum result replace_event(struct call *c, const struct object *dst)
{
    return dst->exists ? key_event(c, EVENT_NEW, "new", dst->key) : RES_OK;
}

static enum result move_object(struct call *c, struct object *src, struct object *dst, const char *from, const char *to)
{
    enum result r = replace_event(c, dst);
    if (r == RES_OK)
        r = store_rename(c, src, dst);
    if (r == RES_OK)
        r = key_event(c, EVENT_GENERIC, from, src->key);
    return r == RES_OK ? key_event(c, EVENT_GENERIC, to, dst->key) : r;
}

/* ---- RENAME, RENAMENX ---- */

static enum result rename_key(struct call *c, bool only_new)
{
    struct store_key from, to;
    struct object src, dst;
    enum result r = arg_key(c, 1, &from);
    if (r == RES_OK)
        r = store_write(c, &from, &src);
    if (r != RES_OK)
        return r;
    if (!src.exists)
        return reply_error(c->reply, "ERR no such key");
    bool done = false;
    if (!slice_eq(c->argv[1], c->argv[2])) {
        if ((r = arg_key(c, 2, &to)) != RES_OK || (r = store_write(c, &to, &dst)) != RES_OK)
            return r;
        done = !only_new || !dst.exists;
        if (done && (r = move_object(c, &src, &dst, "rename_from", "rename_to")) != RES_OK)
            return r;
    }
    if (only_new)
        reply_integer(c->reply, done);
    else
        reply_ok(c->reply);
    return RES_OK;
}

static enum result run_rename(struct call *c) { return rename_key(c, false); }
static enum result run_renamenx(struct call *c) { return rename_key(c, true); }

static const struct command_arg rename_args[] = {ARG("key", ARG_KEY), ARG("newkey", ARG_KEY, .key_spec = 1), ARGS_END};

const struct command cmd_rename = {
    .name = "rename",
    .arity = 3,
    .flags = CMD_WRITE,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Gives a key another name and overwrites what was there.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE),
                                             KEY_AT(2, KEY_OW | KEY_UPDATE), KEYS_END},
    .args = rename_args,
    .run = run_rename,
};

const struct command cmd_renamenx = {
    .name = "renamenx",
    .arity = 3,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Gives a key another name that is not in use.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE),
                                             KEY_AT(2, KEY_OW | KEY_INSERT), KEYS_END},
    .args = rename_args,
    .history = (const struct command_history[]){SINCE("3.2.0", "No error when both names are the same."), HISTORY_END},
    .run = run_renamenx,
};

/* ---- COPY ---- */

/* False: an error is replied. */
static bool parse_copy(struct call *c, uint32_t *db, bool *replace)
{
    *db = c->session->db;
    *replace = false;
    for (int i = 3; i < c->argc; i++) {
        if (arg_is(c, i, "replace")) {
            *replace = true;
        } else if (arg_is(c, i, "db") && i + 1 < c->argc) {
            if (!arg_db(c, ++i, db))
                return false;
        } else {
            (void)reply_syntax_error(c->reply);
            return false;
        }
    }
    return true;
}

static enum result run_copy(struct call *c)
{
    uint32_t db;
    bool replace;
    if (!parse_copy(c, &db, &replace))
        return RES_OK;
    if (db == c->session->db && slice_eq(c->argv[1], c->argv[2]))
        return reply_same_object(c);
    struct store_key from, to;
    struct object src, dst;
    enum result r = arg_key(c, 1, &from);
    if (r == RES_OK)
        r = store_write(c, &from, &src);
    if (r != RES_OK)
        return r;
    store_count_lookup(c, &src);
    bool done = src.exists;
    if (done) {
        if ((r = store_key_init(c, db, c->argv[2], &to)) != RES_OK || (r = store_write(c, &to, &dst)) != RES_OK)
            return r;
        done = replace || !dst.exists;
        if (done && (r = replace_event(c, &dst)) != RES_OK)
            return r;
        if (done &&
            ((r = store_copy(c, &src, &dst)) != RES_OK || (r = key_event(c, EVENT_GENERIC, "copy_to", &to)) != RES_OK))
            return r;
    }
    reply_integer(c->reply, done);
    return RES_OK;
}

const struct command cmd_copy = {
    .name = "copy",
    .arity = -3,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "6.2.0",
    .complexity = "O(N) for a value of N pieces or elements",
    .summary = "Copies the value of a key, with its expiry, to another key.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RO | KEY_ACCESS), KEY_AT(2, KEY_OW | KEY_UPDATE), KEYS_END},
    .args = (const struct command_arg[]){ARG("source", ARG_KEY), ARG("destination", ARG_KEY, .key_spec = 1),
                                         ARG("destination-db", ARG_INTEGER, .token = "DB", .flags = ARG_OPTIONAL),
                                         ARG_TOKEN("replace", "REPLACE", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_copy,
};

/* ---- MOVE ---- */

static enum result run_move(struct call *c)
{
    uint32_t db;
    if (!arg_db(c, 2, &db))
        return RES_OK;
    if (db == c->session->db)
        return reply_same_object(c);
    struct store_key from, to;
    struct object src, dst;
    enum result r = arg_key(c, 1, &from);
    if (r == RES_OK)
        r = store_write(c, &from, &src);
    if (r != RES_OK)
        return r;
    bool done = src.exists;
    if (done) {
        if ((r = store_key_init(c, db, c->argv[1], &to)) != RES_OK || (r = store_write(c, &to, &dst)) != RES_OK)
            return r;
        done = !dst.exists;
        if (done && (r = move_object(c, &src, &dst, "move_from", "move_to")) != RES_OK)
            return r;
    }
    reply_integer(c->reply, done);
    return RES_OK;
}

const struct command cmd_move = {
    .name = "move",
    .arity = 3,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "1.0.0",
    .complexity = "O(N) for a value of N pieces or elements",
    .summary = "Moves a key to another database.",
    .keys = key_change,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("db", ARG_INTEGER), ARGS_END},
    .run = run_move,
};

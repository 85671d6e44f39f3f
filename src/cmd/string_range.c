/* Strings in part: STRLEN, GETRANGE, SETRANGE, APPEND. They cost what they touch, not what the string is long. */
#include "cmd/declare.h"
#include "cmd/support.h"

static enum result run_strlen(struct call *c)
{
    struct store_key key;
    struct object o;
    bool ready;
    enum result r = read_string(c, 1, &key, &o, &ready);
    if (r == RES_OK && ready)
        reply_integer(c->reply, (int64_t)o.length);
    return r;
}

const struct command cmd_strlen = {
    .name = "strlen",
    .arity = 2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "2.2.0",
    .complexity = "O(1)",
    .summary = "Returns the length of a string in bytes.",
    .keys = key_look,
    .args = args_key,
    .run = run_strlen,
};

/* Turns Redis' indexes, which may count from the end, into a run of a string. False: it is empty. */
static bool resolve_range(int64_t start, int64_t end, uint64_t length, uint64_t *offset, uint64_t *len)
{
    int64_t n = (int64_t)length;
    if (start < 0 && end < 0 && start > end)
        return false;
    if (start < 0)
        start = start + n < 0 ? 0 : start + n;
    if (end < 0)
        end = end + n < 0 ? 0 : end + n;
    if (end >= n)
        end = n - 1;
    if (start > end || n == 0)
        return false;
    *offset = (uint64_t)start;
    *len = (uint64_t)(end - start) + 1;
    return true;
}

static enum result run_getrange(struct call *c)
{
    int64_t start, end;
    if (!arg_i64(c, 2, &start) || !arg_i64(c, 3, &end))
        return RES_OK;
    struct store_key key;
    struct object o;
    bool ready;
    enum result r = read_string(c, 1, &key, &o, &ready);
    if (r != RES_OK || !ready)
        return r;
    uint64_t offset, len;
    if (resolve_range(start, end, o.length, &offset, &len))
        return store_string_reply_range(c, &o, offset, len);
    reply_bulk(c->reply, SLICE_LIT(""));
    return RES_OK;
}

static const struct command_arg getrange_args[] = {ARG("key", ARG_KEY), ARG("start", ARG_INTEGER),
                                                   ARG("end", ARG_INTEGER), ARGS_END};

const struct command cmd_getrange = {
    .name = "getrange",
    .arity = 4,
    .flags = CMD_READONLY,
    .acl = ACL_STRING,
    .group = "string",
    .since = "2.4.0",
    .complexity = "O(N) for N bytes returned",
    .summary = "Returns the part of a string between two positions.",
    .keys = key_read,
    .args = getrange_args,
    .run = run_getrange,
};

const struct command cmd_substr = {
    .name = "substr",
    .arity = 4,
    .flags = CMD_READONLY,
    .acl = ACL_STRING,
    .group = "string",
    .since = "1.0.0",
    .complexity = "O(N) for N bytes returned",
    .summary = "The former name of `GETRANGE`.",
    .deprecated_since = "2.0.0",
    .replaced_by = "`GETRANGE`",
    .keys = key_read,
    .args = getrange_args,
    .run = run_getrange,
};

static enum result run_setrange(struct call *c)
{
    int64_t offset;
    struct slice value = c->argv[3];
    if (!arg_i64(c, 2, &offset))
        return RES_OK;
    if (offset < 0)
        return reply_error(c->reply, "ERR offset is out of range");
    struct store_key key;
    struct object o;
    bool ready;
    enum result r = write_string(c, 1, &key, &o, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (value.len) {
        if (string_too_long(c, (uint64_t)offset, value.len))
            return RES_OK;
        r = store_string_write(c, &o, (uint64_t)offset, value);
        if (r == RES_OK)
            r = key_event(c, EVENT_STRING, "setrange", &key);
    }
    if (r == RES_OK)
        reply_integer(c->reply, (int64_t)o.length);
    return r;
}

const struct command cmd_setrange = {
    .name = "setrange",
    .arity = 4,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_STRING,
    .group = "string",
    .since = "2.2.0",
    .complexity = "O(M) for M bytes written, however long the string is",
    .summary = "Overwrites a part of a string, which grows with zero bytes as far as needed.",
    .keys = key_update,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("offset", ARG_INTEGER), ARG("value", ARG_STRING),
                                         ARGS_END},
    .run = run_setrange,
};

static enum result run_append(struct call *c)
{
    struct slice value = c->argv[2];
    struct store_key key;
    struct object o;
    bool ready;
    enum result r = write_string(c, 1, &key, &o, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (!o.exists)
        r = store_set_string(c, &o, value, 0, 0);
    else if (string_too_long(c, o.length, value.len))
        return RES_OK;
    else
        r = store_string_write(c, &o, o.length, value);
    if (r == RES_OK)
        r = key_event(c, EVENT_STRING, "append", &key);
    if (r == RES_OK)
        reply_integer(c->reply, (int64_t)o.length);
    return r;
}

const struct command cmd_append = {
    .name = "append",
    .arity = 3,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .since = "2.0.0",
    .complexity = "O(M) for M bytes appended, however long the string is",
    .summary = "Appends to a string, which is created if it is not there.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_INSERT), KEYS_END},
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("value", ARG_STRING), ARGS_END},
    .run = run_append,
};

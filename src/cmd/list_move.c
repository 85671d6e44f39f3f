/* Lists: elements that go from one list to another, and from the first of several lists to the client. LMOVE, RPOPLPUSH,
 * LMPOP; what their blocking forms (list_wait.c) do once there is something. */
#include "cmd/declare.h"
#include "cmd/lists.h"

bool arg_list_end(struct call *c, int i, enum list_end *end)
{
    bool left = arg_is(c, i, "left");
    if (!left && !arg_is(c, i, "right")) {
        (void)reply_syntax_error(c->reply);
        return false;
    }
    *end = left ? LIST_HEAD : LIST_TAIL;
    return true;
}

static enum result push_moved(struct list *l, enum list_end to, struct slice value)
{
    enum result r = list_will_grow(l, 1, value.len);
    return r == RES_OK ? list_push(l, to, value) : r;
}

/* From one end of a list to the other, or nowhere. */
static enum result rotate(struct call *c, struct list_key *x, enum list_end from, enum list_end to)
{
    struct list *l = &x->list;
    struct slice value;
    enum result r;
    if (list_length(l) == 1) {
        r = list_get(l, 0, &value);
        l->e.touched = true; /* Redis tells everybody, too */
    } else {
        r = list_pop(l, from, &value);
        if (r == RES_OK)
            r = push_moved(l, to, value);
    }
    if (r == RES_OK)
        r = list_has_shrunk(l);
    if (r != RES_OK)
        return r;
    reply_bulk(c->reply, value);
    r = list_finish(l);
    if (r == RES_OK)
        r = call_event(c, EVENT_LIST, list_push_event(to), x->key.db, x->key.user);
    return r == RES_OK ? call_event(c, EVENT_LIST, list_pop_event(from), x->key.db, x->key.user) : r;
}

enum result list_move(struct call *c, struct list_key *x, enum list_end from, enum list_end to)
{
    struct list_key y;
    struct slice value;
    bool ready;
    if (slice_eq(c->argv[1], c->argv[2]))
        return rotate(c, x, from, to);
    enum result r = list_key_write(c, c->argv[2], &y, &ready);
    if (r != RES_OK || !ready)
        return r;
    r = list_pop(&x->list, from, &value);
    if (r == RES_OK)
        r = push_moved(&y.list, to, value);
    if (r == RES_OK)
        r = list_has_shrunk(&x->list);
    if (r != RES_OK)
        return r;
    reply_bulk(c->reply, value);
    r = list_key_finish(&y, list_push_event(to));
    return r == RES_OK ? list_key_finish(x, list_pop_event(from)) : r;
}

static enum result move(struct call *c, enum list_end from, enum list_end to)
{
    struct list_key x;
    bool ready;
    enum result r = list_key_write(c, c->argv[1], &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (!x.o.exists) {
        reply_null(c->reply);
        return RES_OK;
    }
    return list_move(c, &x, from, to);
}

static enum result run_lmove(struct call *c)
{
    enum list_end from, to;
    if (!arg_list_end(c, 3, &from) || !arg_list_end(c, 4, &to))
        return RES_OK;
    return move(c, from, to);
}

static enum result run_rpoplpush(struct call *c) { return move(c, LIST_TAIL, LIST_HEAD); }

const struct command_arg args_list_end[] = {ARG_TOKEN("left", "LEFT"), ARG_TOKEN("right", "RIGHT"), ARGS_END};
const struct command_keyspec keys_list_move[] = {KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE),
                                                 KEY_AT(2, KEY_RW | KEY_INSERT), KEYS_END};

const struct command cmd_lmove = {
    .name = "lmove",
    .arity = 5,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_LIST,
    .group = "list",
    .since = "6.2.0",
    .complexity = "O(1)",
    .summary = "Takes an element off an end of a list, puts it to an end of another one, and returns it.",
    .keys = keys_list_move,
    .args = (const struct command_arg[]){ARG("source", ARG_KEY), ARG("destination", ARG_KEY, .key_spec = 1),
                                         ARG("wherefrom", ARG_ONEOF, .children = args_list_end),
                                         ARG("whereto", ARG_ONEOF, .children = args_list_end), ARGS_END},
    .run = run_lmove,
};
const struct command cmd_rpoplpush = {
    .name = "rpoplpush",
    .arity = 3,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_LIST,
    .group = "list",
    .since = "1.2.0",
    .complexity = "O(1)",
    .summary = "Takes the last element off a list, puts it before the first of another one, and returns it.",
    .deprecated_since = "6.2.0",
    .replaced_by = "`LMOVE` with the `RIGHT` and `LEFT` arguments",
    .keys = keys_list_move,
    .args = (const struct command_arg[]){ARG("source", ARG_KEY), ARG("destination", ARG_KEY, .key_spec = 1), ARGS_END},
    .run = run_rpoplpush,
};

/* ---- LMPOP ---- */

bool arg_mpop(struct call *c, int i, struct mpop_args *out)
{
    int64_t keys;
    if (!arg_i64_or(c, i, &keys, "ERR numkeys should be greater than 0"))
        return false;
    if (keys <= 0) {
        (void)reply_error(c->reply, "ERR numkeys should be greater than 0");
        return false;
    }
    if (keys >= c->argc - i - 1) { /* no room for LEFT or RIGHT */
        (void)reply_syntax_error(c->reply);
        return false;
    }
    *out = (struct mpop_args){.first_key = i + 1, .keys = (int)keys, .count = 1};
    int at = i + 1 + (int)keys;
    if (!arg_list_end(c, at, &out->end))
        return false;
    if (++at == c->argc)
        return true;
    if (c->argc - at < 2 || !arg_is(c, at, "count")) {
        (void)reply_syntax_error(c->reply);
        return false;
    }
    static const char error[] = "ERR count should be greater than 0"; /* said before what is wrong behind it */
    if (!arg_i64_or(c, at + 1, &out->count, error))
        return false;
    if (out->count <= 0) {
        (void)reply_error(c->reply, "%s", error);
        return false;
    }
    if (c->argc - at > 2) {
        (void)reply_syntax_error(c->reply);
        return false;
    }
    return true;
}

enum result list_reply_mpop(struct call *c, struct list_key *x, const struct mpop_args *a)
{
    reply_array(c->reply, 2);
    reply_bulk(c->reply, x->key.user);
    return list_pop_many(c, x, a->end, (uint64_t)a->count);
}

static enum result run_lmpop(struct call *c)
{
    struct mpop_args a;
    if (!arg_mpop(c, 1, &a))
        return RES_OK;
    for (int i = 0; i < a.keys; i++) {
        struct list_key x;
        bool ready;
        enum result r = list_key_write(c, c->argv[a.first_key + i], &x, &ready);
        if (r != RES_OK || !ready)
            return r;
        if (x.o.exists)
            return list_reply_mpop(c, &x, &a);
    }
    c->reply->ops->null_array(c->reply);
    return RES_OK;
}

const struct command cmd_lmpop = {
    .name = "lmpop",
    .arity = -4,
    .flags = CMD_WRITE | CMD_MOVABLE_KEYS,
    .acl = ACL_LIST,
    .group = "list",
    .since = "7.0.0",
    .complexity = "O(N+M) for N keys and M elements returned",
    .summary = "Takes elements off the first of several lists that has some, and returns them.",
    .keys = (const struct command_keyspec[]){{.flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
                                              .begin = KEYS_INDEX,
                                              .index = 1,
                                              .find = KEYS_KEYNUM,
                                              .keynum_index = 0,
                                              .keynum_first = 1,
                                              .keynum_step = 1},
                                             KEYS_END},
    .args = (const struct command_arg[]){ARG("numkeys", ARG_INTEGER), ARG("key", ARG_KEY, .flags = ARG_MULTIPLE),
                                         ARG("where", ARG_ONEOF, .children = args_list_end),
                                         ARG("count", ARG_INTEGER, .token = "COUNT", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_lmpop,
};

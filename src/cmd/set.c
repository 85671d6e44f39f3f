/* Sets: adding, removing, looking, moving, going through. set_random.c draws members, set_algebra.c makes sets of sets. */
#include "cmd/set.h"

#include "cmd/declare.h"

static enum result run_sadd(struct call *c)
{
    struct collection x;
    bool ready;
    int64_t count = 0;
    enum result r = collection_write(c, c->argv[1], &elements_of_set, &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    uint64_t hint = (uint64_t)c->argc - 2;
    if (x.o.exists)
        set_expect(&x.e, hint);
    else
        x.e.encoding = set_first_encoding(c, c->argv[2], hint);
    for (int i = 2; i < c->argc; i++) {
        bool added;
        if ((r = set_add(&x.e, c->argv[i], &added)) != RES_OK)
            return r;
        count += added;
        if (i % 128 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    r = collection_finish(&x, EVENT_SET, "sadd");
    if (r == RES_OK)
        reply_integer(c->reply, count);
    return r;
}

static enum result run_srem(struct call *c)
{
    struct collection x;
    bool ready;
    int64_t count = 0;
    enum result r = collection_write(c, c->argv[1], &elements_of_set, &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    for (int i = 2; i < c->argc && x.e.count; i++) {
        struct member_place p;
        if ((r = member_find(&x.e, c->argv[i], &p)) != RES_OK)
            return r;
        count += p.found;
        if (p.found && (r = member_remove(&x.e, &p)) != RES_OK)
            return r;
        if (i % 128 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    r = collection_finish(&x, EVENT_SET, "srem");
    if (r == RES_OK)
        reply_integer(c->reply, count);
    return r;
}

/* From one set, where it is, to another. */
static enum result move_member(struct call *c, struct collection *from, struct member_place *p, struct collection *to)
{
    bool added;
    enum result r = member_remove(&from->e, p);
    if (r == RES_OK)
        r = collection_finish(from, EVENT_SET, "srem");
    if (r != RES_OK)
        return r;
    if (!to->o.exists)
        to->e.encoding = set_first_encoding(c, c->argv[3], 1);
    if ((r = set_add(&to->e, c->argv[3], &added)) == RES_OK)
        r = collection_finish(to, EVENT_SET, "sadd");
    if (r == RES_OK)
        reply_integer(c->reply, 1);
    return r;
}

static enum result run_smove(struct call *c)
{
    struct collection from, to;
    struct member_place p;
    bool ready, same = slice_eq(c->argv[1], c->argv[2]);
    enum result r = collection_write(c, c->argv[1], &elements_of_set, &from, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (!from.o.exists) {
        reply_integer(c->reply, 0);
        return RES_OK;
    }
    if (!same) {
        r = collection_write(c, c->argv[2], &elements_of_set, &to, &ready);
        if (r != RES_OK || !ready)
            return r;
    }
    if ((r = member_find(&from.e, c->argv[3], &p)) != RES_OK)
        return r;
    if (p.found && !same)
        return move_member(c, &from, &p, &to);
    reply_integer(c->reply, p.found);
    return RES_OK;
}

static const struct command_arg args_members[] = {ARG("key", ARG_KEY), ARG("member", ARG_STRING, .flags = ARG_MULTIPLE),
                                                  ARGS_END};

const struct command cmd_sadd = {
    .name = "sadd",
    .arity = -3,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(N) for N members to be added",
    .summary = "Adds members to a set, which is created when it is missing.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_INSERT), KEYS_END},
    .args = args_members,
    .history = (const struct command_history[]){SINCE("2.4.0", "Several members at once."), HISTORY_END},
    .run = run_sadd,
};

const struct command cmd_srem = {
    .name = "srem",
    .arity = -3,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(N) for N members to be removed",
    .summary = "Removes members of a set, and the set with the last of them.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_DELETE), KEYS_END},
    .args = args_members,
    .history = (const struct command_history[]){SINCE("2.4.0", "Several members at once."), HISTORY_END},
    .run = run_srem,
};

const struct command cmd_smove = {
    .name = "smove",
    .arity = 4,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Moves a member from one set to another.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE),
                                             KEY_AT(2, KEY_RW | KEY_INSERT), KEYS_END},
    .args = (const struct command_arg[]){ARG("source", ARG_KEY), ARG("destination", ARG_KEY, .key_spec = 1),
                                         ARG("member", ARG_STRING), ARGS_END},
    .run = run_smove,
};

/* ---- looking ---- */

static enum result run_sismember(struct call *c)
{
    struct collection x;
    bool ready, has;
    enum result r = collection_read(c, c->argv[1], &elements_of_set, &x, &ready);
    if (r == RES_OK && ready)
        r = member_has(&x.e, c->argv[2], &has);
    if (r == RES_OK && ready)
        reply_integer(c->reply, has);
    return r;
}

static enum result run_smismember(struct call *c)
{
    struct collection x;
    bool ready, has;
    enum result r = collection_read(c, c->argv[1], &elements_of_set, &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    reply_array(c->reply, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        if ((r = member_has(&x.e, c->argv[i], &has)) != RES_OK)
            return r;
        reply_integer(c->reply, has);
        if (i % 128 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return RES_OK;
}

static enum result run_scard(struct call *c)
{
    struct collection x;
    bool ready;
    enum result r = collection_read(c, c->argv[1], &elements_of_set, &x, &ready);
    if (r == RES_OK && ready)
        reply_integer(c->reply, (int64_t)x.e.count);
    return r;
}

struct members_stream {
    struct collection x;
    struct member_walk walk;
    uint64_t left; /* members that the head of the reply has announced */
};

static enum result members_open(struct call *c, void *state, const void *from)
{
    struct members_stream *s = state;
    bool ready;
    (void)from;
    enum result r = collection_read(c, c->argv[1], &elements_of_set, &s->x, &ready);
    if (r == RES_OK)
        r = ready ? member_walk_open(&s->walk, &s->x.e, 0) : RES_CORRUPT;
    s->left = s->x.e.count;
    return r;
}

static enum result members_next(struct call *c, void *state)
{
    struct members_stream *s = state;
    enum result r = member_walk_next(&s->walk);
    if (r == RES_NOT_FOUND && s->left)
        return RES_CORRUPT;
    if (r != RES_OK)
        return r;
    if (!s->left--)
        return RES_CORRUPT;
    reply_bulk(c->reply, s->walk.element.key);
    return RES_OK;
}

static void members_close(void *state) { member_walk_close(&((struct members_stream *)state)->walk); }

static const struct call_stream members_stream = {sizeof(struct members_stream), members_open, members_next,
                                                  members_close};

enum result set_reply(struct elements *e)
{
    struct call *c = e->c;
    bool streams;
    enum result r = call_streams(c, e->bytes, &streams);
    if (r != RES_OK)
        return r;
    c->reply->ops->set(c->reply, (size_t)e->count);
    return streams ? call_stream(c, &members_stream, NULL) : set_reply_members(e);
}

static enum result run_smembers(struct call *c)
{
    struct collection x;
    bool ready;
    enum result r = collection_read(c, c->argv[1], &elements_of_set, &x, &ready);
    return r == RES_OK && ready ? set_reply(&x.e) : r;
}

static enum result show_member(struct call *c, struct gathered *found, const struct element *x)
{
    return gather(c, found, x->key);
}

static enum result run_sscan(struct call *c) { return scan_members(c, &elements_of_set, NULL, show_member); }

const struct command cmd_sismember = {
    .name = "sismember",
    .arity = 3,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Tells whether a set has a member.",
    .keys = key_look,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("member", ARG_STRING), ARGS_END},
    .run = run_sismember,
};

const struct command cmd_smismember = {
    .name = "smismember",
    .arity = -3,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_SET,
    .group = "set",
    .since = "6.2.0",
    .complexity = "O(N) for N members asked for",
    .summary = "Tells for each of several members whether a set has it.",
    .keys = key_read,
    .args = args_members,
    .run = run_smismember,
};

const struct command cmd_scard = {
    .name = "scard",
    .arity = 2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Returns the number of members of a set.",
    .keys = key_look,
    .args = args_key,
    .run = run_scard,
};

const struct command cmd_smembers = {
    .name = "smembers",
    .arity = 2,
    .flags = CMD_READONLY,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(N) for N members",
    .summary = "Returns all members of a set.",
    .keys = key_read,
    .args = args_key,
    .tips = (const char *const[]){"nondeterministic_output_order", NULL},
    .run = run_smembers,
};

const struct command cmd_sscan = {
    .name = "sscan",
    .arity = -3,
    .flags = CMD_READONLY,
    .acl = ACL_SET,
    .group = "set",
    .since = "2.8.0",
    .complexity = "O(COUNT) a call, O(N) for all calls until the cursor is 0 again, for N members",
    .summary = "Goes through the members of a set, some at each call.",
    .keys = key_read,
    .args = args_member_scan,
    .tips = (const char *const[]){"nondeterministic_output", NULL},
    .run = run_sscan,
};

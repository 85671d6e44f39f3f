/* Lists: commands that wait until there is something to pop. BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP.
 *
 * Each tries; where there is nothing it waits (call_wait), and is run again, with CALL_SERVED, when one of its keys was
 * changed. What becomes of it then is Redis 7.2's: a key that now has another type does not end the waiting; but when a
 * later key has elements, an earlier one of another type is the error that it is in a command that does not wait. */
#include "cmd/declare.h"
#include "cmd/lists.h"

/* Opens a key. *found: it has elements. *other: it has another type; in a run that does not wait yet that was replied. */
static enum result try_key(struct call *c, struct slice name, struct list_key *x, bool *found, bool *other)
{
    *found = *other = false;
    enum result r = store_key_init(c, c->session->db, name, &x->key);
    if (r == RES_OK)
        r = store_write(c, &x->key, &x->o);
    if (r != RES_OK || !x->o.exists)
        return r;
    *other = x->o.type != TYPE_LIST;
    if (*other)
        return c->mode & CALL_SERVED ? RES_OK : reply_wrong_type(c->reply);
    *found = true;
    return list_key_open(c, x);
}

static struct wait_key wait_key_of(const struct store_key *key)
{
    return (struct wait_key){.db = key->db, .key = key->user, .hash = key->hash};
}

/* ---- BLPOP, BRPOP, BLMPOP ---- */

/* The first of the keys that has elements; none: waits, and *found is false, as it is when an error was replied. */
static enum result find_or_wait(struct call *c, int first, int keys, uint64_t timeout_ms, struct list_key *x,
                                bool *found)
{
    *found = false;
    struct wait_key *waits = arena_alloc(c->arena, (size_t)keys * sizeof *waits);
    if (!waits)
        return RES_NO_MEMORY;
    bool other_before = false;
    for (int i = 0; i < keys; i++) {
        bool other;
        enum result r = try_key(c, c->argv[first + i], x, found, &other);
        if (r != RES_OK || (other && !(c->mode & CALL_SERVED)))
            return r;
        other_before |= other;
        if (*found && other_before) {
            *found = false;
            return reply_wrong_type(c->reply);
        }
        if (*found)
            return RES_OK;
        waits[i] = wait_key_of(&x->key);
    }
    return call_wait(c, waits, (size_t)keys, timeout_ms, WAIT_NULL_ARRAY);
}

static enum result blocking_pop(struct call *c, enum list_end end)
{
    struct list_key x;
    struct slice value;
    uint64_t timeout_ms;
    bool found;
    if (!arg_timeout(c, c->argc - 1, &timeout_ms))
        return RES_OK;
    enum result r = find_or_wait(c, 1, c->argc - 2, timeout_ms, &x, &found);
    if (r != RES_OK || !found)
        return r;
    r = list_pop(&x.list, end, &value);
    if (r == RES_OK)
        r = list_has_shrunk(&x.list);
    if (r != RES_OK)
        return r;
    reply_array(c->reply, 2);
    reply_bulk(c->reply, x.key.user);
    reply_bulk(c->reply, value);
    return list_key_finish(&x, list_pop_event(end));
}

static enum result run_blpop(struct call *c) { return blocking_pop(c, LIST_HEAD); }
static enum result run_brpop(struct call *c) { return blocking_pop(c, LIST_TAIL); }

static enum result run_blmpop(struct call *c)
{
    struct list_key x;
    struct mpop_args a;
    uint64_t timeout_ms;
    bool found;
    if (!arg_mpop(c, 2, &a) || !arg_timeout(c, 1, &timeout_ms))
        return RES_OK;
    enum result r = find_or_wait(c, a.first_key, a.keys, timeout_ms, &x, &found);
    return r == RES_OK && found ? list_reply_mpop(c, &x, &a) : r;
}

static const struct command_keyspec keys_blocking_pop[] = {{.flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
                                                            .begin = KEYS_INDEX,
                                                            .index = 1,
                                                            .find = KEYS_RANGE,
                                                            .last = -2,
                                                            .step = 1},
                                                           KEYS_END};
static const struct command_arg args_blocking_pop[] = {ARG("key", ARG_KEY, .flags = ARG_MULTIPLE),
                                                       ARG("timeout", ARG_DOUBLE), ARGS_END};
static const struct command_history timeout_history[] = {SINCE("6.0.0", "`timeout` may have a fraction."), HISTORY_END};

const struct command cmd_blpop = {
    .name = "blpop",
    .arity = -3,
    .flags = CMD_WRITE | CMD_BLOCKING,
    .acl = ACL_LIST,
    .group = "list",
    .since = "2.0.0",
    .complexity = "O(N) for N keys",
    .summary = "Takes the first element off the first of several lists that has one, and waits for one if need be.",
    .keys = keys_blocking_pop,
    .args = args_blocking_pop,
    .history = timeout_history,
    .run = run_blpop,
};
const struct command cmd_brpop = {
    .name = "brpop",
    .arity = -3,
    .flags = CMD_WRITE | CMD_BLOCKING,
    .acl = ACL_LIST,
    .group = "list",
    .since = "2.0.0",
    .complexity = "O(N) for N keys",
    .summary = "Takes the last element off the first of several lists that has one, and waits for one if need be.",
    .keys = keys_blocking_pop,
    .args = args_blocking_pop,
    .history = timeout_history,
    .run = run_brpop,
};
const struct command cmd_blmpop = {
    .name = "blmpop",
    .arity = -5,
    .flags = CMD_WRITE | CMD_BLOCKING | CMD_MOVABLE_KEYS,
    .acl = ACL_LIST,
    .group = "list",
    .since = "7.0.0",
    .complexity = "O(N+M) for N keys and M elements returned",
    .summary = "Takes elements off the first of several lists that has some, and waits for some if need be.",
    .keys = (const struct command_keyspec[]){{.flags = KEY_RW | KEY_ACCESS | KEY_DELETE,
                                              .begin = KEYS_INDEX,
                                              .index = 2,
                                              .find = KEYS_KEYNUM,
                                              .keynum_index = 0,
                                              .keynum_first = 1,
                                              .keynum_step = 1},
                                             KEYS_END},
    .args = (const struct command_arg[]){ARG("timeout", ARG_DOUBLE), ARG("numkeys", ARG_INTEGER),
                                         ARG("key", ARG_KEY, .flags = ARG_MULTIPLE),
                                         ARG("where", ARG_ONEOF, .children = args_list_end),
                                         ARG("count", ARG_INTEGER, .token = "COUNT", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_blmpop,
};

/* ---- BLMOVE, BRPOPLPUSH ---- */

static enum result blocking_move(struct call *c, enum list_end from, enum list_end to, uint64_t timeout_ms)
{
    struct list_key x;
    bool found, other;
    enum result r = try_key(c, c->argv[1], &x, &found, &other);
    if (r != RES_OK || (other && !(c->mode & CALL_SERVED)))
        return r;
    if (found)
        return list_move(c, &x, from, to);
    struct wait_key *wait = arena_alloc(c->arena, sizeof *wait);
    if (!wait)
        return RES_NO_MEMORY;
    *wait = wait_key_of(&x.key);
    return call_wait(c, wait, 1, timeout_ms, WAIT_NULL);
}

static enum result run_blmove(struct call *c)
{
    enum list_end from, to;
    uint64_t timeout_ms;
    if (!arg_list_end(c, 3, &from) || !arg_list_end(c, 4, &to) || !arg_timeout(c, 5, &timeout_ms))
        return RES_OK;
    return blocking_move(c, from, to, timeout_ms);
}

static enum result run_brpoplpush(struct call *c)
{
    uint64_t timeout_ms;
    if (!arg_timeout(c, 3, &timeout_ms))
        return RES_OK;
    return blocking_move(c, LIST_TAIL, LIST_HEAD, timeout_ms);
}

const struct command cmd_blmove = {
    .name = "blmove",
    .arity = 6,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_BLOCKING,
    .acl = ACL_LIST,
    .group = "list",
    .since = "6.2.0",
    .complexity = "O(1)",
    .summary = "Moves an element from one list to another as LMOVE does, and waits for one if need be.",
    .keys = keys_list_move,
    .args = (const struct command_arg[]){ARG("source", ARG_KEY), ARG("destination", ARG_KEY, .key_spec = 1),
                                         ARG("wherefrom", ARG_ONEOF, .children = args_list_end),
                                         ARG("whereto", ARG_ONEOF, .children = args_list_end),
                                         ARG("timeout", ARG_DOUBLE), ARGS_END},
    .run = run_blmove,
};
const struct command cmd_brpoplpush = {
    .name = "brpoplpush",
    .arity = 4,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_BLOCKING,
    .acl = ACL_LIST,
    .group = "list",
    .since = "2.2.0",
    .complexity = "O(1)",
    .summary = "Moves an element from one list to another as RPOPLPUSH does, and waits for one if need be.",
    .deprecated_since = "6.2.0",
    .replaced_by = "`BLMOVE` with the `RIGHT` and `LEFT` arguments",
    .keys = keys_list_move,
    .args = (const struct command_arg[]){ARG("source", ARG_KEY), ARG("destination", ARG_KEY, .key_spec = 1),
                                         ARG("timeout", ARG_DOUBLE), ARGS_END},
    .history = timeout_history,
    .run = run_brpoplpush,
};

/* SLOWLOG: the list of commands that took long, which the executor keeps. */
#include "base/num.h"
#include "cmd/help.h"
#include "exec/shard.h"

struct copies {
    struct arena *arena;
    struct slowlog_entry *entries;
    size_t count, cap;
};

/* Entries are lent for the time of this call only, and their number is needed before the first is sent. */
static void copy_entry(void *arg, const struct slowlog_entry *entry)
{
    struct copies *copies = arg;
    if (copies->entries == NULL || copies->count == copies->cap)
        return;
    struct slowlog_entry *to = &copies->entries[copies->count];
    *to = *entry;
    to->argv = arena_alloc(copies->arena, sizeof *to->argv * (size_t)(entry->argc ? entry->argc : 1));
    for (int i = 0; to->argv != NULL && i < entry->argc; i++) {
        struct slice a = entry->argv[i];
        to->argv[i] = slice_of(arena_copy(copies->arena, a.data ? a.data : (const uint8_t *)"", a.len), a.len);
        if (to->argv[i].data == NULL)
            return;
    }
    if (to->argv != NULL)
        copies->count++;
}

static void reply_entry(struct sink *reply, const struct slowlog_entry *e)
{
    reply_array(reply, 6);
    reply_integer(reply, (int64_t)e->id);
    reply_integer(reply, (int64_t)e->time_s);
    reply_integer(reply, (int64_t)e->duration_us);
    reply_array(reply, (size_t)e->argc);
    for (int i = 0; i < e->argc; i++)
        reply_bulk(reply, e->argv[i]);
    reply_bulk_str(reply, e->address);
    reply_bulk_str(reply, e->name);
}

static enum result slowlog_get(struct call *c)
{
    int64_t wanted = 10;
    if (c->argc > 3)
        return reply_bad_subcommand(c);
    if (c->argc == 3 && (num_parse_i64(call_arg(c, 2), &wanted) != RES_OK || wanted < -1))
        return reply_error(c->reply, "ERR count should be greater than or equal to -1");
    size_t len = shard_slowlog_len(c->shard);
    struct copies copies = {.arena = c->arena, .cap = wanted < 0 || (uint64_t)wanted > len ? len : (size_t)wanted};
    if (copies.cap != 0) {
        copies.entries = arena_alloc(c->arena, copies.cap * sizeof *copies.entries);
        if (copies.entries == NULL)
            return RES_NO_MEMORY;
        shard_slowlog_each(c->shard, copies.cap, copy_entry, &copies);
    }
    reply_array(c->reply, copies.count);
    for (size_t i = 0; i < copies.count; i++)
        reply_entry(c->reply, &copies.entries[i]);
    return RES_OK;
}

static enum result slowlog_len(struct call *c)
{
    reply_integer(c->reply, (int64_t)shard_slowlog_len(c->shard));
    return RES_OK;
}

static enum result slowlog_reset(struct call *c)
{
    shard_slowlog_reset(c->shard);
    reply_ok(c->reply);
    return RES_OK;
}

static enum result slowlog_help(struct call *c)
{
    static const char *const lines[] = {
        "GET [<count>]",
        "    The newest <count> entries (default: 10, -1 for all), newest first.",
        "    An entry is: id, time, microseconds, arguments, client address, client name.",
        "LEN",
        "    Number of entries.",
        "RESET",
        "    Remove all entries.",
        NULL,
    };
    return reply_help(c, lines);
}

#define ADMIN_FLAGS (CMD_ADMIN | CMD_LOADING | CMD_STALE | CMD_SESSION)

static const struct command_arg get_args[] = {{.name = "count", .type = ARG_INTEGER, .flags = ARG_OPTIONAL}, {0}};
static const struct command_history get_history[] = {{"4.0.0", "Shows the client's address and name."}, {0}};
static const char *const get_tips[] = {"request_policy:all_nodes", "nondeterministic_output", NULL};
static const char *const len_tips[] = {"request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output",
                                       NULL};
static const char *const reset_tips[] = {"request_policy:all_nodes", "response_policy:all_succeeded", NULL};

static const struct command sub_get = {
    .name = "get",
    .arity = -2,
    .flags = ADMIN_FLAGS,
    .group = "server",
    .since = "2.2.12",
    .complexity = "O(N) where N is the number of entries returned",
    .summary = "Returns the newest entries of the slow log.",
    .args = get_args,
    .history = get_history,
    .tips = get_tips,
    .run = slowlog_get,
};
static const struct command sub_len = {
    .name = "len",
    .arity = 2,
    .flags = ADMIN_FLAGS,
    .group = "server",
    .since = "2.2.12",
    .complexity = "O(1)",
    .summary = "Returns the number of entries in the slow log.",
    .tips = len_tips,
    .run = slowlog_len,
};
static const struct command sub_reset = {
    .name = "reset",
    .arity = 2,
    .flags = ADMIN_FLAGS,
    .group = "server",
    .since = "2.2.12",
    .complexity = "O(N) where N is the number of entries in the slow log",
    .summary = "Removes all entries of the slow log.",
    .tips = reset_tips,
    .run = slowlog_reset,
};
static const struct command sub_help = {
    .name = "help",
    .arity = 2,
    .flags = CMD_LOADING | CMD_STALE | CMD_SESSION,
    .group = "server",
    .since = "6.2.0",
    .complexity = "O(1)",
    .summary = "Lists the subcommands.",
    .run = slowlog_help,
};
static const struct command *const subcommands[] = {&sub_get, &sub_len, &sub_reset, &sub_help, NULL};

const struct command cmd_slowlog = {
    .name = "slowlog",
    .arity = -2,
    .group = "server",
    .since = "2.2.12",
    .complexity = "Depends on subcommand.",
    .summary = "Commands about the slow log.",
    .subcommands = subcommands,
};

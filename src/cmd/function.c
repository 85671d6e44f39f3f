/* FUNCTION: there are no functions yet, so that FLUSH has nothing to remove and LIST nothing to show. The other
 * subcommands come with scripting. */
#include "cmd/declare.h"
#include "cmd/help.h"
#include "exec/call.h"

static enum result function_flush(struct call *c)
{
    if (c->argc == 3 && !slice_eq_nocase(call_arg(c, 2), "sync") && !slice_eq_nocase(call_arg(c, 2), "async"))
        return reply_error(c->reply, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    if (c->argc > 3)
        return reply_bad_subcommand(c);
    reply_ok(c->reply);
    return RES_OK;
}

static enum result function_list(struct call *c)
{
    reply_array(c->reply, 0);
    return RES_OK;
}

static enum result function_help(struct call *c)
{
    static const char *const lines[] = {
        "FLUSH [ASYNC|SYNC]",
        "    Remove all functions: there are none.",
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "    The libraries loaded: always none.",
        NULL,
    };
    return reply_help(c, lines);
}

static const struct command_arg flush_modes[] = {ARG_TOKEN("async", "ASYNC"), ARG_TOKEN("sync", "SYNC"), ARGS_END};
static const struct command_arg flush_args[] = {
    ARG("flush-type", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = flush_modes), ARGS_END};
static const struct command_arg list_args[] = {
    ARG("library-name-pattern", ARG_STRING, .token = "LIBRARYNAME", .flags = ARG_OPTIONAL),
    ARG_TOKEN("withcode", "WITHCODE", .flags = ARG_OPTIONAL), ARGS_END};
static const char *const flush_tips[] = {"request_policy:all_shards", "response_policy:all_succeeded", NULL};
static const char *const list_tips[] = {"nondeterministic_output_order", NULL};

static const struct command sub_flush = {
    .name = "flush",
    .arity = -2,
    .flags = CMD_NOSCRIPT | CMD_WRITE | CMD_SESSION,
    .group = "scripting",
    .since = "7.0.0",
    .complexity = "O(1)",
    .summary = "Removes all functions, of which there are none.",
    .args = flush_args,
    .tips = flush_tips,
    .run = function_flush,
};
static const struct command sub_list = {
    .name = "list",
    .arity = -2,
    .flags = CMD_NOSCRIPT | CMD_SESSION,
    .group = "scripting",
    .since = "7.0.0",
    .complexity = "O(1)",
    .summary = "Returns the loaded libraries: none.",
    .args = list_args,
    .tips = list_tips,
    .run = function_list,
};
static const struct command sub_help = {
    .name = "help",
    .arity = 2,
    .flags = CMD_LOADING | CMD_STALE | CMD_SESSION,
    .group = "scripting",
    .since = "7.0.0",
    .complexity = "O(1)",
    .summary = "Lists the subcommands.",
    .run = function_help,
};
static const struct command *const subcommands[] = {&sub_flush, &sub_list, &sub_help, NULL};

const struct command cmd_function = {
    .name = "function",
    .arity = -2,
    .group = "scripting",
    .since = "7.0.0",
    .complexity = "Depends on subcommand.",
    .summary = "Commands about functions, of which there are none yet.",
    .subcommands = subcommands,
};

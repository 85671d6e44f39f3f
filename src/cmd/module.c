/* MODULE: there are none, and tools that ask which are loaded get an empty list. */
#include "cmd/help.h"

static enum result module_list(struct call *c)
{
    reply_array(c->reply, 0);
    return RES_OK;
}

static enum result module_help(struct call *c)
{
    static const char *const lines[] = {"LIST", "    The modules loaded: always none.", NULL};
    return reply_help(c, lines);
}

static const char *const list_tips[] = {"nondeterministic_output_order", NULL};
static const struct command sub_list = {
    .name = "list",
    .arity = 2,
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_SESSION,
    .group = "server",
    .since = "4.0.0",
    .complexity = "O(1)",
    .summary = "Returns the loaded modules: none.",
    .tips = list_tips,
    .run = module_list,
};
static const struct command sub_help = {
    .name = "help",
    .arity = 2,
    .flags = CMD_LOADING | CMD_STALE | CMD_SESSION,
    .group = "server",
    .since = "5.0.0",
    .complexity = "O(1)",
    .summary = "Lists the subcommands.",
    .run = module_help,
};
static const struct command *const subcommands[] = {&sub_list, &sub_help, NULL};

const struct command cmd_module = {
    .name = "module",
    .arity = -2,
    .group = "server",
    .since = "4.0.0",
    .complexity = "Depends on subcommand.",
    .summary = "Commands about modules, of which this server has none.",
    .subcommands = subcommands,
};

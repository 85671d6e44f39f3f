/* COMMAND: the command table as clients ask for it. Everything said here comes from the declarations. The shapes of the
 * replies are Redis 7.2's, since client libraries read them to find out where a request's keys are. */
#include "base/glob.h"
#include "cmd/acl.h"
#include "cmd/declare.h"
#include "cmd/help.h"
#include "cmd/support.h"
#include "cmd/table.h"

struct flag_name {
    uint32_t flag;
    const char *name;
};

/* A set of status replies. names ends with flag 0. */
static void reply_flags(struct sink *s, uint32_t flags, const struct flag_name *names)
{
    size_t n = 0;
    for (const struct flag_name *f = names; f->flag; f++)
        n += (flags & f->flag) != 0;
    s->ops->set(s, n);
    for (const struct flag_name *f = names; f->flag; f++)
        if (flags & f->flag)
            reply_status(s, f->name);
}

/* Those that Redis shows, in its order. */
static const struct flag_name command_flag_names[] = {
    {CMD_WRITE, "write"},
    {CMD_READONLY, "readonly"},
    {CMD_DENYOOM, "denyoom"},
    {CMD_ADMIN, "admin"},
    {CMD_PUBSUB, "pubsub"},
    {CMD_NOSCRIPT, "noscript"},
    {CMD_BLOCKING, "blocking"},
    {CMD_LOADING, "loading"},
    {CMD_STALE, "stale"},
    {CMD_SKIP_MONITOR, "skip_monitor"},
    {CMD_SKIP_SLOWLOG, "skip_slowlog"},
    {CMD_ASKING, "asking"},
    {CMD_FAST, "fast"},
    {CMD_NO_AUTH, "no_auth"},
    {CMD_NO_MANDATORY_KEYS, "no_mandatory_keys"},
    {CMD_NO_ASYNC_LOADING, "no_async_loading"},
    {CMD_NO_MULTI, "no_multi"},
    {CMD_MOVABLE_KEYS, "movablekeys"},
    {CMD_ALLOW_BUSY, "allow_busy"},
    {0, NULL},
};

static const struct flag_name key_flag_names[] = {
    {KEY_RO, "RO"},
    {KEY_RW, "RW"},
    {KEY_OW, "OW"},
    {KEY_RM, "RM"},
    {KEY_ACCESS, "access"},
    {KEY_UPDATE, "update"},
    {KEY_INSERT, "insert"},
    {KEY_DELETE, "delete"},
    {KEY_NOT_KEY, "not_key"},
    {KEY_INCOMPLETE, "incomplete"},
    {KEY_VARIABLE, "variable_flags"},
    {0, NULL},
};

static const struct flag_name arg_flag_names[] = {
    {ARG_OPTIONAL, "optional"},
    {ARG_MULTIPLE, "multiple"},
    {ARG_MULTIPLE_TOKEN, "multiple_token"},
    {0, NULL},
};

/* ---- COMMAND INFO ---- */

/* The first key, the last and the step, as the protocol had them before key specifications; all 0 when there are none.
 * *partial: they do not tell of all keys. */
static void legacy_range(const struct command *cmd, int out[3], bool *partial)
{
    const struct command_keyspec *k = cmd->keys;
    out[0] = out[1] = out[2] = 0;
    *partial = false;
    for (; k && k->flags; k++) {
        bool plain = k->begin == KEYS_INDEX && k->find == KEYS_RANGE;
        bool first = out[0] == 0, only = k == cmd->keys && !k[1].flags;
        if (k->flags & KEY_INCOMPLETE)
            *partial = true;
        if (!plain || (!only && (k->step != 1 || (!first && out[1] != k->index - 1)))) {
            *partial = true;
            continue;
        }
        if (first)
            out[0] = k->index;
        out[1] = k->last < 0 ? k->last : k->index + k->last;
        out[2] = k->step;
    }
}

static void reply_begin_search(struct sink *s, const struct command_keyspec *k)
{
    reply_bulk_str(s, "begin_search");
    reply_map(s, 2);
    reply_bulk_str(s, "type");
    reply_bulk_str(s, k->begin == KEYS_INDEX ? "index" : k->begin == KEYS_KEYWORD ? "keyword" : "unknown");
    reply_bulk_str(s, "spec");
    if (k->begin == KEYS_INDEX) {
        reply_map(s, 1);
        reply_bulk_str(s, "index");
        reply_integer(s, k->index);
    } else if (k->begin == KEYS_KEYWORD) {
        reply_map(s, 2);
        reply_bulk_str(s, "keyword");
        reply_bulk_str(s, k->keyword);
        reply_bulk_str(s, "startfrom");
        reply_integer(s, k->startfrom);
    } else {
        reply_map(s, 0);
    }
}

static void reply_find_keys(struct sink *s, const struct command_keyspec *k)
{
    reply_bulk_str(s, "find_keys");
    reply_map(s, 2);
    reply_bulk_str(s, "type");
    reply_bulk_str(s, k->find == KEYS_RANGE ? "range" : k->find == KEYS_KEYNUM ? "keynum" : "unknown");
    reply_bulk_str(s, "spec");
    if (k->find == KEYS_RANGE) {
        reply_map(s, 3);
        reply_bulk_str(s, "lastkey");
        reply_integer(s, k->last);
        reply_bulk_str(s, "keystep");
        reply_integer(s, k->step);
        reply_bulk_str(s, "limit");
        reply_integer(s, k->limit);
    } else if (k->find == KEYS_KEYNUM) {
        reply_map(s, 3);
        reply_bulk_str(s, "keynumidx");
        reply_integer(s, k->keynum_index);
        reply_bulk_str(s, "firstkey");
        reply_integer(s, k->keynum_first);
        reply_bulk_str(s, "keystep");
        reply_integer(s, k->keynum_step);
    } else {
        reply_map(s, 0);
    }
}

static void reply_keyspecs(struct sink *s, const struct command *cmd)
{
    size_t n = 0;
    while (cmd->keys && cmd->keys[n].flags)
        n++;
    s->ops->set(s, n);
    for (size_t i = 0; i < n; i++) {
        const struct command_keyspec *k = &cmd->keys[i];
        reply_map(s, k->notes ? 4 : 3);
        if (k->notes) {
            reply_bulk_str(s, "notes");
            reply_bulk_str(s, k->notes);
        }
        reply_bulk_str(s, "flags");
        reply_flags(s, k->flags, key_flag_names);
        reply_begin_search(s, k);
        reply_find_keys(s, k);
    }
}

static void reply_acl(struct sink *s, const struct command *cmd)
{
    uint32_t categories = command_acl_categories(cmd);
    size_t n = (size_t)__builtin_popcount(categories);
    s->ops->set(s, n);
    for (int i = 0; i < ACL_CATEGORY_COUNT; i++)
        if (categories >> i & 1) {
            char name[32] = "@";
            strncat(name, acl_category_name(i), sizeof name - 2);
            reply_status(s, name);
        }
}

static size_t subcommand_count(const struct command *cmd)
{
    size_t n = 0;
    while (cmd->subcommands && cmd->subcommands[n])
        n++;
    return n;
}

static void reply_info(struct sink *s, const struct command_entry *e)
{
    const struct command *cmd = e->command;
    int range[3];
    bool partial;
    legacy_range(cmd, range, &partial);
    reply_array(s, 10);
    reply_bulk_str(s, e->full_name);
    reply_integer(s, cmd->arity);
    reply_flags(s, cmd->flags | (partial ? CMD_MOVABLE_KEYS : 0), command_flag_names);
    for (int i = 0; i < 3; i++)
        reply_integer(s, range[i]);
    reply_acl(s, cmd);
    size_t tips = 0;
    while (cmd->tips && cmd->tips[tips])
        tips++;
    s->ops->set(s, tips);
    for (size_t i = 0; i < tips; i++)
        reply_bulk_str(s, cmd->tips[i]);
    reply_keyspecs(s, cmd);
    size_t subs = subcommand_count(cmd);
    if (!subs)
        s->ops->set(s, 0);
    else
        reply_array(s, subs);
    for (size_t i = 0; i < subs; i++)
        reply_info(s, command_lookup_sub(e, slice_str(cmd->subcommands[i]->name)));
}

/* Calls each for all commands without subcommands. */
static void each_command(struct sink *s, void (*each)(struct sink *, const struct command_entry *))
{
    for (size_t i = 0; i < command_count(); i++) {
        const struct command_entry *e = command_by_id((uint16_t)i);
        if (!e->parent)
            each(s, e);
    }
}

static enum result run_command(struct call *c)
{
    reply_array(c->reply, command_count_names());
    each_command(c->reply, reply_info);
    return RES_OK;
}

static enum result run_info(struct call *c)
{
    if (c->argc == 2)
        return run_command(c);
    reply_array(c->reply, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        const struct command_entry *e = command_lookup_full(c->argv[i]);
        if (e)
            reply_info(c->reply, e);
        else
            reply_null(c->reply);
    }
    return RES_OK;
}

/* ---- COMMAND DOCS ---- */

static void reply_pair(struct sink *s, const char *name, const char *value)
{
    if (!value)
        return;
    reply_bulk_str(s, name);
    reply_bulk_str(s, value);
}

static void reply_args(struct sink *s, const struct command_arg *args)
{
    static const char *const types[] = {"string",    "integer",    "double", "key",  "pattern",
                                        "unix-time", "pure-token", "oneof",  "block"};
    size_t n = 0;
    while (args[n].name)
        n++;
    reply_array(s, n);
    for (const struct command_arg *a = args; a->name; a++) {
        bool group = a->type == ARG_ONEOF || a->type == ARG_BLOCK;
        reply_map(s, 3 + (size_t)(a->type == ARG_KEY) + (a->token != NULL) + (a->since != NULL) + (a->flags != 0));
        reply_pair(s, "name", a->name);
        reply_pair(s, "type", types[a->type]);
        if (!group)
            reply_pair(s, "display_text", a->display ? a->display : a->name);
        if (a->type == ARG_KEY) {
            reply_bulk_str(s, "key_spec_index");
            reply_integer(s, a->key_spec);
        }
        reply_pair(s, "token", a->token);
        reply_pair(s, "since", a->since);
        if (a->flags) {
            reply_bulk_str(s, "flags");
            reply_flags(s, (uint32_t)a->flags, arg_flag_names);
        }
        if (group) {
            reply_bulk_str(s, "arguments");
            reply_args(s, a->children);
        }
    }
}

static void reply_docs(struct sink *s, const struct command_entry *e)
{
    const struct command *cmd = e->command;
    size_t subs = subcommand_count(cmd), history = 0;
    while (cmd->history && cmd->history[history].since)
        history++;
    reply_bulk_str(s, e->full_name);
    reply_map(s, 1 + (size_t)(cmd->summary != NULL) + (cmd->since != NULL) + (cmd->complexity != NULL) +
                     2 * (size_t)(cmd->deprecated_since != NULL) + (cmd->replaced_by != NULL) + (history > 0) +
                     (cmd->args != NULL) + (subs > 0));
    reply_pair(s, "summary", cmd->summary);
    reply_pair(s, "since", cmd->since);
    reply_pair(s, "group", cmd->group);
    reply_pair(s, "complexity", cmd->complexity);
    if (cmd->deprecated_since) {
        reply_bulk_str(s, "doc_flags");
        s->ops->set(s, 1);
        reply_status(s, "deprecated");
    }
    reply_pair(s, "deprecated_since", cmd->deprecated_since);
    reply_pair(s, "replaced_by", cmd->replaced_by);
    if (history) {
        reply_bulk_str(s, "history");
        s->ops->set(s, history);
        for (size_t i = 0; i < history; i++) {
            reply_array(s, 2);
            reply_bulk_str(s, cmd->history[i].since);
            reply_bulk_str(s, cmd->history[i].change);
        }
    }
    if (cmd->args) {
        reply_bulk_str(s, "arguments");
        reply_args(s, cmd->args);
    }
    if (subs) {
        reply_bulk_str(s, "subcommands");
        reply_map(s, subs);
        for (size_t i = 0; i < subs; i++)
            reply_docs(s, command_lookup_sub(e, slice_str(cmd->subcommands[i]->name)));
    }
}

static enum result run_docs(struct call *c)
{
    if (c->argc == 2) {
        reply_map(c->reply, command_count_names());
        each_command(c->reply, reply_docs);
        return RES_OK;
    }
    size_t known = 0;
    for (int i = 2; i < c->argc; i++)
        known += command_lookup_full(c->argv[i]) != NULL;
    reply_map(c->reply, known);
    for (int i = 2; i < c->argc; i++) {
        const struct command_entry *e = command_lookup_full(c->argv[i]);
        if (e)
            reply_docs(c->reply, e);
    }
    return RES_OK;
}

/* ---- COMMAND COUNT, LIST ---- */

static enum result run_count(struct call *c)
{
    reply_integer(c->reply, (int64_t)command_count_names());
    return RES_OK;
}

enum list_filter { LIST_ALL, LIST_ACLCAT, LIST_PATTERN, LIST_MODULE };

static bool listed(const struct command_entry *e, enum list_filter filter, struct slice arg)
{
    switch (filter) {
    case LIST_ALL:
        return true;
    case LIST_ACLCAT: {
        int category = acl_category_by_name(arg);
        return category >= 0 && command_acl_categories(e->command) >> category & 1;
    }
    case LIST_PATTERN:
        return glob_match(arg, slice_str(e->full_name), true);
    default:
        return false; /* there are no modules */
    }
}

static enum result run_list(struct call *c)
{
    enum list_filter filter = LIST_ALL;
    struct slice arg = slice_of(NULL, 0);
    if (c->argc > 2) {
        if (c->argc != 5 || !arg_is(c, 2, "filterby"))
            return reply_syntax_error(c->reply);
        filter = arg_is(c, 3, "module")    ? LIST_MODULE
                 : arg_is(c, 3, "aclcat")  ? LIST_ACLCAT
                 : arg_is(c, 3, "pattern") ? LIST_PATTERN
                                           : LIST_ALL;
        if (filter == LIST_ALL)
            return reply_syntax_error(c->reply);
        arg = c->argv[4];
    }
    size_t n = 0;
    for (size_t i = 0; i < command_count(); i++)
        n += listed(command_by_id((uint16_t)i), filter, arg);
    reply_array(c->reply, n);
    for (size_t i = 0; i < command_count(); i++)
        if (listed(command_by_id((uint16_t)i), filter, arg))
            reply_bulk_str(c->reply, command_by_id((uint16_t)i)->full_name);
    return RES_OK;
}

/* ---- COMMAND GETKEYS, GETKEYSANDFLAGS ---- */

struct key_list {
    struct sink *reply; /* NULL: they are only counted */
    bool with_flags;
    size_t count;
};

static void list_key(void *arg, struct slice key, uint16_t flags)
{
    struct key_list *list = arg;
    if (flags & KEY_NOT_KEY)
        return;
    list->count++;
    if (!list->reply)
        return;
    if (list->with_flags)
        reply_array(list->reply, 2);
    reply_bulk(list->reply, key);
    if (list->with_flags)
        reply_flags(list->reply, flags, key_flag_names);
}

static enum result get_keys(struct call *c, bool with_flags)
{
    int argc = c->argc - 2;
    const struct slice *argv = c->argv + 2;
    const struct command_entry *e = command_lookup(argv[0]);
    if (e && argc > 1 && e->command->subcommands)
        e = command_lookup_sub(e, argv[1]);
    if (!e)
        return reply_error(c->reply, "ERR Invalid command specified");
    if (!e->command->keys)
        return reply_error(c->reply, "ERR The command has no key arguments");
    if (!command_arity_fits(e, argc))
        return reply_error(c->reply, "ERR Invalid number of arguments specified for command");
    struct key_list list = {.with_flags = with_flags};
    bool found = command_keys(e, argc, argv, list_key, &list);
    if (!found && !(e->command->flags & CMD_NO_MANDATORY_KEYS))
        return reply_error(c->reply, "ERR Invalid arguments specified for command");
    reply_array(c->reply, found ? list.count : 0);
    list.reply = c->reply;
    if (found)
        (void)command_keys(e, argc, argv, list_key, &list);
    return RES_OK;
}

static enum result run_getkeys(struct call *c) { return get_keys(c, false); }
static enum result run_getkeysandflags(struct call *c) { return get_keys(c, true); }

static enum result run_help(struct call *c)
{
    static const char *const lines[] = {
        "(no subcommand)",
        "    What is known of all commands.",
        "COUNT",
        "    The number of commands.",
        "DOCS [<command-name> ...]",
        "    The documentation of the commands named, or of all.",
        "GETKEYS <full-command>",
        "    Which of a request's arguments are keys.",
        "GETKEYSANDFLAGS <full-command>",
        "    The same, with what the command does to each of them.",
        "INFO [<command-name> ...]",
        "    What is known of the commands named, or of all.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    The names of the commands.",
        NULL,
    };
    return reply_help(c, lines);
}

/* ---- declarations ---- */

#define ABOUT_COMMANDS .flags = CMD_LOADING | CMD_STALE | CMD_SESSION, .acl = ACL_CONNECTION, .group = "server"
static const char *const tips_unordered[] = {"nondeterministic_output_order", NULL};
static const struct command_arg names_args[] = {
    ARG("command-name", ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE),
    ARGS_END,
};
static const struct command_arg request_args[] = {
    ARG("command", ARG_STRING),
    ARG("arg", ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE),
    ARGS_END,
};
static const struct command_arg filters[] = {
    ARG("module-name", ARG_STRING, .token = "MODULE"),
    ARG("category", ARG_STRING, .token = "ACLCAT"),
    ARG("pattern", ARG_PATTERN, .token = "PATTERN"),
    ARGS_END,
};
static const struct command_arg list_args[] = {
    ARG("filterby", ARG_ONEOF, .token = "FILTERBY", .flags = ARG_OPTIONAL, .children = filters),
    ARGS_END,
};

static const struct command sub_count = {
    .name = "count",
    .arity = 2,
    ABOUT_COMMANDS,
    .since = "2.8.13",
    .complexity = "O(1)",
    .summary = "Returns the number of commands.",
    .run = run_count,
};
static const struct command sub_docs = {
    .name = "docs",
    .arity = -2,
    ABOUT_COMMANDS,
    .since = "7.0.0",
    .complexity = "O(N) for N commands",
    .summary = "Returns the documentation of commands.",
    .args = names_args,
    .tips = tips_unordered,
    .run = run_docs,
};
static const struct command sub_getkeys = {
    .name = "getkeys",
    .arity = -3,
    ABOUT_COMMANDS,
    .since = "2.8.13",
    .complexity = "O(N) for N arguments of the request",
    .summary = "Says which of a request's arguments are keys.",
    .args = request_args,
    .run = run_getkeys,
};
static const struct command sub_getkeysandflags = {
    .name = "getkeysandflags",
    .arity = -3,
    ABOUT_COMMANDS,
    .since = "7.0.0",
    .complexity = "O(N) for N arguments of the request",
    .summary = "Says which of a request's arguments are keys, and what is done to them.",
    .args = request_args,
    .run = run_getkeysandflags,
};
static const struct command sub_help = {
    .name = "help",
    .arity = 2,
    ABOUT_COMMANDS,
    .since = "5.0.0",
    .complexity = "O(1)",
    .summary = "Says what the subcommands do.",
    .run = run_help,
};
static const struct command sub_info = {
    .name = "info",
    .arity = -2,
    ABOUT_COMMANDS,
    .since = "2.8.13",
    .complexity = "O(N) for N commands",
    .summary = "Returns what is known of commands: arity, flags, keys, categories.",
    .args = names_args,
    .history = (const struct command_history[]){SINCE("7.0.0", "Without names: all commands."), HISTORY_END},
    .tips = tips_unordered,
    .run = run_info,
};
static const struct command sub_list = {
    .name = "list",
    .arity = -2,
    ABOUT_COMMANDS,
    .since = "7.0.0",
    .complexity = "O(N) for N commands",
    .summary = "Returns the names of commands.",
    .args = list_args,
    .tips = tips_unordered,
    .run = run_list,
};

const struct command cmd_command = {
    .name = "command",
    .arity = -1,
    ABOUT_COMMANDS,
    .since = "2.8.13",
    .complexity = "O(N) for N commands",
    .summary = "Returns what is known of all commands.",
    .tips = tips_unordered,
    .subcommands = (const struct command *const[]){&sub_count, &sub_docs, &sub_getkeys, &sub_getkeysandflags, &sub_help,
                                                   &sub_info, &sub_list, NULL},
    .run = run_command,
};

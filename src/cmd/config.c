/* CONFIG: the settings of src/conf to clients. GET and RESETSTAT run on the reactor; SET and REWRITE may wait (for hooks
 * that put a setting into effect, for the disk) and go to the pool. */
#include "cmd/help.h"
#include "cmd/host.h"
#include "conf/settings_change.h"
#include "exec/shard.h"

/* ---- GET ---- */

struct found {
    const char **names;
    struct slice *values;
    size_t count, cap;
    struct arena *arena;
};

static enum result found_grow(struct found *f)
{
    size_t cap = f->cap ? f->cap * 2 : 64;
    const char **names = arena_alloc(f->arena, cap * sizeof *names);
    struct slice *values = arena_alloc(f->arena, cap * sizeof *values);
    if (names == NULL || values == NULL)
        return RES_NO_MEMORY;
    if (f->count != 0) {
        memcpy(names, f->names, f->count * sizeof *names);
        memcpy(values, f->values, f->count * sizeof *values);
    }
    f->names = names;
    f->values = values;
    f->cap = cap;
    return RES_OK;
}

/* Patterns overlap; a setting is shown once. */
static enum result found_add(void *arg, const char *name, struct slice value)
{
    struct found *f = arg;
    for (size_t i = 0; i < f->count; i++)
        if (f->names[i] == name)
            return RES_OK;
    if (f->count == f->cap && found_grow(f) != RES_OK)
        return RES_NO_MEMORY;
    void *copy = arena_copy(f->arena, value.data ? value.data : (const uint8_t *)"", value.len);
    if (copy == NULL)
        return RES_NO_MEMORY;
    f->names[f->count] = name;
    f->values[f->count++] = slice_of(copy, value.len);
    return RES_OK;
}

static enum result config_get(struct call *c)
{
    struct found f = {.arena = c->arena};
    const struct settings *s = settings_hold();
    enum result res = RES_OK;
    for (int i = 2; i < c->argc && res == RES_OK; i++)
        res = settings_each(s, call_arg(c, i), found_add, &f);
    settings_release(s);
    if (res != RES_OK)
        return res;
    reply_map(c->reply, f.count);
    for (size_t i = 0; i < f.count; i++) {
        reply_bulk_str(c->reply, f.names[i]);
        reply_bulk(c->reply, f.values[i]);
    }
    return RES_OK;
}

/* ---- SET ---- */

static enum result config_set(struct call *c)
{
    for (int i = 2; i + 1 < c->argc; i += 2)
        if (settings_is_secret(call_arg(c, i)))
            call_hide_arg(c, i + 1);
    struct errmsg why = {""};
    int pairs = (c->argc - 2) / 2, culprit;
    if (c->argc % 2 != 0)
        return reply_syntax_error(c->reply);
    enum result res = settings_change(pairs, c->argv + 2, &culprit, &why);
    if (res == RES_OK) {
        reply_ok(c->reply);
        return RES_OK;
    }
    struct slice name = culprit >= 0 ? call_arg(c, 2 + 2 * culprit) : SLICE_LIT("");
    int len = name.len < 128 ? (int)name.len : 128;
    const char *text = res == RES_EXISTS      ? "duplicate parameter"
                       : res == RES_READ_ONLY ? "can't set immutable config"
                       : why.text[0] != 0     ? why.text
                                              : result_text(res);
    if (res == RES_NOT_FOUND)
        return reply_error(c->reply, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'", len,
                           (const char *)name.data);
    if (culprit < 0)
        return reply_error(c->reply, "ERR CONFIG SET failed - %s", text);
    return reply_error(c->reply, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s", len,
                       (const char *)name.data, text);
}

/* ---- REWRITE, RESETSTAT, HELP ---- */

static enum result config_rewrite(struct call *c)
{
    struct errmsg why = {""};
    enum result res = settings_rewrite(&why);
    if (res == RES_NOT_FOUND)
        return reply_error(c->reply, "ERR The server is running without a config file");
    if (res != RES_OK)
        return reply_error(c->reply, "ERR Rewriting config file: %s", why.text[0] ? why.text : result_text(res));
    reply_ok(c->reply);
    return RES_OK;
}

static enum result config_resetstat(struct call *c)
{
    shard_reset_stats(c->shard);
    if (host_get() != NULL)
        host_get()->ops->reset_stats();
    reply_ok(c->reply);
    return RES_OK;
}

static enum result config_help(struct call *c)
{
    static const char *const lines[] = {
        "GET <pattern> [<pattern> ...]",
        "    Settings whose names match one of the patterns, with their values.",
        "SET <name> <value> [<name> <value> ...]",
        "    Change settings: all of them, or none when one cannot be changed.",
        "RESETSTAT",
        "    Zero the counts that INFO shows.",
        "REWRITE",
        "    Write the present settings into the configuration file.",
        NULL,
    };
    return reply_help(c, lines);
}

/* ---- declarations ---- */

#define ADMIN_FLAGS (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)

static const struct command_arg get_parameter[] = {{.name = "parameter", .type = ARG_STRING}, {0}};
static const struct command_arg get_args[] = {
    {.name = "parameter", .type = ARG_BLOCK, .flags = ARG_MULTIPLE, .children = get_parameter},
    {0}};
static const struct command_arg set_pair[] = {{.name = "parameter", .type = ARG_STRING},
                                              {.name = "value", .type = ARG_STRING},
                                              {0}};
static const struct command_arg set_args[] = {
    {.name = "data", .type = ARG_BLOCK, .flags = ARG_MULTIPLE, .children = set_pair},
    {0}};
static const struct command_history get_history[] = {{"7.0.0", "Takes several patterns in one call."}, {0}};
static const struct command_history set_history[] = {{"7.0.0", "Changes several settings in one call."}, {0}};
static const char *const all_nodes[] = {"request_policy:all_nodes", "response_policy:all_succeeded", NULL};

static const struct command sub_get = {
    .name = "get",
    .arity = -3,
    .flags = ADMIN_FLAGS | CMD_SESSION,
    .group = "server",
    .since = "2.0.0",
    .complexity = "O(N) where N is the number of settings times the number of patterns",
    .summary = "Returns settings and their present values.",
    .args = get_args,
    .history = get_history,
    .run = config_get,
};
static const struct command sub_set = {
    .name = "set",
    .arity = -4,
    .flags = ADMIN_FLAGS | CMD_LONG,
    .group = "server",
    .since = "2.0.0",
    .complexity = "O(N) where N is the number of settings given",
    .summary = "Changes settings while the server runs, all or none.",
    .args = set_args,
    .history = set_history,
    .tips = all_nodes,
    .run = config_set,
};
static const struct command sub_rewrite = {
    .name = "rewrite",
    .arity = 2,
    .flags = ADMIN_FLAGS | CMD_LONG,
    .group = "server",
    .since = "2.8.0",
    .complexity = "O(1)",
    .summary = "Writes the present settings into the configuration file.",
    .tips = all_nodes,
    .run = config_rewrite,
};
static const struct command sub_resetstat = {
    .name = "resetstat",
    .arity = 2,
    .flags = ADMIN_FLAGS | CMD_SESSION,
    .group = "server",
    .since = "2.0.0",
    .complexity = "O(1)",
    .summary = "Zeroes the counts that INFO shows.",
    .tips = all_nodes,
    .run = config_resetstat,
};
static const struct command sub_help = {
    .name = "help",
    .arity = 2,
    .flags = CMD_LOADING | CMD_STALE | CMD_SESSION,
    .group = "server",
    .since = "5.0.0",
    .complexity = "O(1)",
    .summary = "Lists the subcommands.",
    .run = config_help,
};
static const struct command *const subcommands[] = {&sub_get, &sub_set, &sub_rewrite, &sub_resetstat, &sub_help, NULL};

const struct command cmd_config = {
    .name = "config",
    .arity = -2,
    .group = "server",
    .since = "2.0.0",
    .complexity = "Depends on subcommand.",
    .summary = "Commands about the server's settings.",
    .subcommands = subcommands,
};

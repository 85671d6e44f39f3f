/* CLIENT: the clients of the server. What concerns only the connection itself is in connection.c; what concerns others
 * goes through the host (cmd/host.h). */
#include "cmd/declare.h"
#include "cmd/help.h"
#include "cmd/host.h"
#include "cmd/support.h"
#include "conf/settings.h"

extern const struct command cmd_client_id, cmd_client_getname, cmd_client_setname, cmd_client_setinfo,
    cmd_client_no_evict, cmd_client_no_touch, cmd_client_reply;

#define CLIENT_FLAGS (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SESSION)
#define NO_HOST "ERR CLIENT is not available here"

/* ---- filters ---- */

/* False: an error has been replied. */
static bool parse_type(struct call *c, int i, enum client_type *type)
{
    static const struct {
        const char *name;
        enum client_type type;
    } types[] = {{"normal", CLIENT_NORMAL},
                 {"slave", CLIENT_REPLICA},
                 {"replica", CLIENT_REPLICA},
                 {"pubsub", CLIENT_PUBSUB},
                 {"master", CLIENT_MASTER}};
    for (size_t k = 0; k < sizeof types / sizeof *types; k++)
        if (arg_is(c, i, types[k].name)) {
            *type = types[k].type;
            return true;
        }
    reply_error(c->reply, "ERR Unknown client type '%.*s'", (int)c->argv[i].len, (const char *)c->argv[i].data);
    return false;
}

static bool parse_user(struct call *c, int i, struct slice *user)
{
    *user = c->argv[i];
    if (slice_eq(*user, SLICE_LIT("default")))
        return true;
    reply_error(c->reply, "ERR No such user '%.*s'", (int)user->len, (const char *)user->data);
    return false;
}

/* ---- LIST, INFO ---- */

static enum result run_client_list(struct call *c)
{
    const struct host *host = host_get();
    struct client_filter f = {.type = CLIENT_ANY};
    if (c->argc == 4 && arg_is(c, 2, "type")) {
        if (!parse_type(c, 3, &f.type))
            return RES_OK;
    } else if (c->argc > 3 && arg_is(c, 2, "id")) {
        uint64_t *ids = arena_alloc(c->arena, (size_t)(c->argc - 3) * sizeof *ids);
        if (ids == NULL)
            return RES_NO_MEMORY;
        for (int i = 3; i < c->argc; i++) {
            int64_t id;
            if (!arg_i64_or(c, i, &id, "ERR Invalid client ID"))
                return RES_OK;
            if (id < 1)
                return reply_error(c->reply, "ERR Invalid client ID");
            ids[f.id_count++] = (uint64_t)id;
        }
        f.ids = ids;
    } else if (c->argc != 2) {
        return reply_syntax_error(c->reply);
    }
    if (host == NULL)
        return reply_error(c->reply, NO_HOST);
    host->ops->client_list(c, &f);
    return RES_OK;
}

static const struct command_arg args_types[] = {ARG_TOKEN("normal", "NORMAL"), ARG_TOKEN("master", "MASTER"),
                                                ARG_TOKEN("replica", "REPLICA"), ARG_TOKEN("pubsub", "PUBSUB"),
                                                ARGS_END};
static const char *const tips_nondeterministic[] = {"nondeterministic_output", NULL};
static const struct command cmd_client_list = {
    .name = "list",
    .arity = -2,
    .flags = CLIENT_FLAGS | CMD_ADMIN,
    .acl = ACL_CONNECTION | ACL_DANGEROUS,
    .group = "connection",
    .since = "2.4.0",
    .complexity = "O(N) for N connections",
    .summary = "Lists the connections, one a line.",
    .args = (const struct command_arg[]){ARG("client-type", ARG_ONEOF, .token = "TYPE", .since = "5.0.0",
                                             .flags = ARG_OPTIONAL, .children = args_types),
                                         ARG("client-id", ARG_INTEGER, .token = "ID", .since = "6.2.0",
                                             .flags = ARG_OPTIONAL | ARG_MULTIPLE),
                                         ARGS_END},
    .history = (const struct command_history[]){SINCE("2.8.12", "A number of its own for each connection: `id`."),
                                                SINCE("5.0.0", "`TYPE`."), SINCE("6.0.0", "The field `user`."),
                                                SINCE("6.2.0", "`ID`, and the field `laddr`."),
                                                SINCE("7.0.3", "The field `resp`."), HISTORY_END},
    .tips = tips_nondeterministic,
    .run = run_client_list,
};

static enum result run_client_info(struct call *c)
{
    const struct host *host = host_get();
    struct buf line = BUF_INIT;
    if (host == NULL)
        return reply_error(c->reply, NO_HOST);
    c->session->last_command = c->entry;
    enum result r = host->ops->client_info(c, &line);
    if (r == RES_OK)
        c->reply->ops->verbatim(c->reply, "txt", buf_slice(&line));
    buf_fini(&line);
    return r;
}

static const struct command cmd_client_info = {
    .name = "info",
    .arity = 2,
    .flags = CLIENT_FLAGS,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "6.2.0",
    .complexity = "O(1)",
    .summary = "Tells about the connection it comes on.",
    .tips = tips_nondeterministic,
    .run = run_client_info,
};

/* ---- KILL ---- */

/* One option with its value at i. False: an error has been replied. */
static bool kill_option(struct call *c, int i, struct client_filter *f, uint64_t *id)
{
    if (i + 1 >= c->argc) {
        reply_syntax_error(c->reply);
        return false;
    }
    if (arg_is(c, i, "id")) {
        static const char wrong[] = "ERR client-id should be greater than 0";
        int64_t value;
        if (!arg_i64_or(c, i + 1, &value, wrong))
            return false;
        if (value < 1) {
            reply_error(c->reply, "%s", wrong);
            return false;
        }
        *id = (uint64_t)value;
        f->ids = id;
        f->id_count = 1;
        return true;
    }
    if (arg_is(c, i, "type"))
        return parse_type(c, i + 1, &f->type);
    if (arg_is(c, i, "user"))
        return parse_user(c, i + 1, &f->user);
    if (arg_is(c, i, "addr")) {
        f->address = c->argv[i + 1];
    } else if (arg_is(c, i, "laddr")) {
        f->local_address = c->argv[i + 1];
    } else if (arg_is(c, i, "skipme") && (arg_is(c, i + 1, "yes") || arg_is(c, i + 1, "no"))) {
        f->skip_me = arg_is(c, i + 1, "yes");
    } else {
        reply_syntax_error(c->reply);
        return false;
    }
    return true;
}

static enum result run_client_kill(struct call *c)
{
    const struct host *host = host_get();
    struct client_filter f = {.type = CLIENT_ANY, .skip_me = true};
    uint64_t id;
    if (c->argc == 3) {
        f.address = c->argv[2];
        f.skip_me = false;
    } else {
        for (int i = 2; i < c->argc; i += 2)
            if (!kill_option(c, i, &f, &id))
                return RES_OK;
    }
    if (host == NULL)
        return reply_error(c->reply, NO_HOST);
    host->ops->client_kill(c, &f, c->argc == 3);
    return RES_OK;
}

static const struct command_arg args_yes_no[] = {ARG_TOKEN("yes", "YES"), ARG_TOKEN("no", "NO"), ARGS_END};
static const struct command_arg args_kill_new[] = {
    ARG("client-id", ARG_INTEGER, .token = "ID", .since = "2.8.12", .flags = ARG_OPTIONAL),
    ARG("client-type", ARG_ONEOF, .token = "TYPE", .since = "2.8.12", .flags = ARG_OPTIONAL, .children = args_types),
    ARG("username", ARG_STRING, .token = "USER", .flags = ARG_OPTIONAL),
    ARG("addr", ARG_STRING, .token = "ADDR", .display = "ip:port", .flags = ARG_OPTIONAL),
    ARG("laddr", ARG_STRING, .token = "LADDR", .since = "6.2.0", .display = "ip:port", .flags = ARG_OPTIONAL),
    ARG("skipme", ARG_ONEOF, .token = "SKIPME", .flags = ARG_OPTIONAL, .children = args_yes_no),
    ARGS_END,
};
static const struct command_arg args_kill_forms[] = {
    ARG("old-format", ARG_STRING, .display = "ip:port", .flags = 0),
    ARG("new-format", ARG_ONEOF, .flags = ARG_MULTIPLE, .children = args_kill_new),
    ARGS_END,
};
static const struct command cmd_client_kill = {
    .name = "kill",
    .arity = -3,
    .flags = CLIENT_FLAGS | CMD_ADMIN,
    .acl = ACL_CONNECTION | ACL_DANGEROUS,
    .group = "connection",
    .since = "2.4.0",
    .complexity = "O(N) for N connections",
    .summary = "Closes connections.",
    .args = (const struct command_arg[]){ARG("filter", ARG_ONEOF, .children = args_kill_forms), ARGS_END},
    .history = (const struct command_history[]){SINCE("2.8.12", "Filters by name."), SINCE("2.8.12", "`ID`."),
                                                SINCE("3.2.0", "The type `master`."),
                                                SINCE("5.0.0", "The type `slave` is also called `replica`."),
                                                SINCE("6.2.0", "`LADDR`."), HISTORY_END},
    .run = run_client_kill,
};

/* ---- PAUSE, UNPAUSE ---- */

static enum result run_client_pause(struct call *c)
{
    int64_t ms;
    enum shard_pause mode = SHARD_PAUSE_ALL;
    if (c->argc > 4)
        return reply_syntax_error(c->reply);
    if (c->argc == 4) {
        if (arg_is(c, 3, "write"))
            mode = SHARD_PAUSE_WRITE;
        else if (!arg_is(c, 3, "all"))
            return reply_error(c->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
    }
    if (!arg_i64_or(c, 2, &ms, "ERR timeout is not an integer or out of range"))
        return RES_OK;
    if (ms < 0)
        return reply_error(c->reply, "ERR timeout is negative");
    if (ms > INT64_MAX - (int64_t)c->now_ms)
        return reply_error(c->reply, "ERR timeout is out of range");
    shard_pause(c->shard, mode, c->now_ms + (uint64_t)ms);
    reply_ok(c->reply);
    return RES_OK;
}

static const struct command_arg args_pause_modes[] = {ARG_TOKEN("write", "WRITE"), ARG_TOKEN("all", "ALL"), ARGS_END};
static const struct command cmd_client_pause = {
    .name = "pause",
    .arity = -3,
    .flags = CLIENT_FLAGS | CMD_ADMIN,
    .acl = ACL_CONNECTION | ACL_DANGEROUS,
    .group = "connection",
    .since = "3.0.0",
    .complexity = "O(1)",
    .summary = "Makes clients wait.",
    .args =
        (const struct command_arg[]){
            ARG("timeout", ARG_INTEGER),
            ARG("mode", ARG_ONEOF, .since = "6.2.0", .flags = ARG_OPTIONAL, .children = args_pause_modes), ARGS_END},
    .history = (const struct command_history[]){SINCE("6.2.0", "`WRITE`, which lets reads go on."), HISTORY_END},
    .run = run_client_pause,
};

static enum result run_client_unpause(struct call *c)
{
    shard_pause(c->shard, SHARD_PAUSE_OFF, 0);
    reply_ok(c->reply);
    return RES_OK;
}

static const struct command cmd_client_unpause = {
    .name = "unpause",
    .arity = 2,
    .flags = CLIENT_FLAGS | CMD_ADMIN,
    .acl = ACL_CONNECTION | ACL_DANGEROUS,
    .group = "connection",
    .since = "6.2.0",
    .complexity = "O(N) for N waiting clients",
    .summary = "Ends `CLIENT PAUSE`.",
    .run = run_client_unpause,
};

/* ---- client-side caching ---- */

static enum result run_client_tracking(struct call *c)
{
    const struct host *host = host_get();
    struct client_tracking want = {.on = arg_is(c, 2, "on")};
    struct slice *prefixes = arena_alloc(c->arena, (size_t)c->argc * sizeof *prefixes);
    if (prefixes == NULL)
        return RES_NO_MEMORY;
    want.prefixes = prefixes;
    for (int i = 3; i < c->argc; i++) {
        int64_t id;
        if (arg_is(c, i, "redirect") && i + 1 < c->argc) {
            if (want.redirect != 0)
                return reply_error(c->reply, "ERR A client can only redirect to a single other client");
            if (!arg_i64(c, ++i, &id))
                return RES_OK;
            if (id < 1)
                return reply_error(c->reply, "ERR The client ID you want redirect to does not exist");
            want.redirect = (uint64_t)id;
        } else if (arg_is(c, i, "prefix") && i + 1 < c->argc) {
            prefixes[want.prefix_count++] = c->argv[++i];
        } else if (arg_is(c, i, "bcast")) {
            want.bcast = true;
        } else if (arg_is(c, i, "optin")) {
            want.optin = true;
        } else if (arg_is(c, i, "optout")) {
            want.optout = true;
        } else if (arg_is(c, i, "noloop")) {
            want.noloop = true;
        } else {
            return reply_syntax_error(c->reply);
        }
    }
    if (!want.on && !arg_is(c, 2, "off"))
        return reply_syntax_error(c->reply);
    if (want.on && !want.bcast && want.prefix_count > 0)
        return reply_error(c->reply, "ERR PREFIX option requires BCAST mode to be enabled");
    if (want.on && want.bcast && (want.optin || want.optout))
        return reply_error(c->reply, "ERR OPTIN and OPTOUT are not compatible with BCAST");
    if (want.on && want.optin && want.optout)
        return reply_error(c->reply, "ERR You can't specify both OPTIN mode and OPTOUT mode");
    if (host == NULL)
        return reply_error(c->reply, NO_HOST);
    host->ops->tracking(c, &want);
    return RES_OK;
}

static enum result run_client_caching(struct call *c)
{
    const struct host *host = host_get();
    if (host == NULL)
        return reply_error(c->reply, NO_HOST);
    host->ops->caching(c, c->argv[2]);
    return RES_OK;
}

static enum result run_client_getredir(struct call *c)
{
    const struct host *host = host_get();
    if (host == NULL)
        return reply_error(c->reply, NO_HOST);
    host->ops->tracking_info(c, true);
    return RES_OK;
}

static enum result run_client_trackinginfo(struct call *c)
{
    const struct host *host = host_get();
    if (host == NULL)
        return reply_error(c->reply, NO_HOST);
    host->ops->tracking_info(c, false);
    return RES_OK;
}

static const struct command_arg args_on_off[] = {ARG_TOKEN("on", "ON"), ARG_TOKEN("off", "OFF"), ARGS_END};
static const struct command cmd_client_caching = {
    .name = "caching",
    .arity = 3,
    .flags = CLIENT_FLAGS,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "6.0.0",
    .complexity = "O(1)",
    .summary = "Says whether the keys of the next command are tracked.",
    .args = (const struct command_arg[]){ARG("mode", ARG_ONEOF, .children = args_yes_no), ARGS_END},
    .run = run_client_caching,
};
static const struct command cmd_client_getredir = {
    .name = "getredir",
    .arity = 2,
    .flags = CLIENT_FLAGS,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "6.0.0",
    .complexity = "O(1)",
    .summary = "Says which connection gets the invalidation messages of this one.",
    .run = run_client_getredir,
};
static const struct command cmd_client_tracking = {
    .name = "tracking",
    .arity = -3,
    .flags = CLIENT_FLAGS,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "6.0.0",
    .complexity = "O(1)",
    .summary = "Switches server-assisted client-side caching.",
    .args =
        (const struct command_arg[]){
            ARG("status", ARG_ONEOF, .children = args_on_off),
            ARG("client-id", ARG_INTEGER, .token = "REDIRECT", .flags = ARG_OPTIONAL),
            ARG("prefix", ARG_STRING, .token = "PREFIX", .flags = ARG_OPTIONAL | ARG_MULTIPLE | ARG_MULTIPLE_TOKEN),
            ARG_TOKEN("bcast", "BCAST", .flags = ARG_OPTIONAL), ARG_TOKEN("optin", "OPTIN", .flags = ARG_OPTIONAL),
            ARG_TOKEN("optout", "OPTOUT", .flags = ARG_OPTIONAL), ARG_TOKEN("noloop", "NOLOOP", .flags = ARG_OPTIONAL),
            ARGS_END},
    .run = run_client_tracking,
};
static const struct command cmd_client_trackinginfo = {
    .name = "trackinginfo",
    .arity = 2,
    .flags = CLIENT_FLAGS,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "6.2.0",
    .complexity = "O(1)",
    .summary = "Tells about client-side caching of this connection.",
    .run = run_client_trackinginfo,
};

/* ---- UNBLOCK ---- */

static enum result run_client_unblock(struct call *c)
{
    const struct host *host = host_get();
    int64_t id;
    bool error = c->argc == 4 && arg_is(c, 3, "error");
    if (c->argc > 4)
        return reply_bad_subcommand(c);
    if (c->argc == 4 && !error && !arg_is(c, 3, "timeout"))
        return reply_error(c->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    if (!arg_i64(c, 2, &id))
        return RES_OK;
    if (host == NULL)
        return reply_error(c->reply, NO_HOST);
    host->ops->client_unblock(c, (uint64_t)id, error);
    return RES_OK;
}

static const struct command_arg args_unblock_types[] = {ARG_TOKEN("timeout", "TIMEOUT"), ARG_TOKEN("error", "ERROR"),
                                                        ARGS_END};
static const struct command cmd_client_unblock = {
    .name = "unblock",
    .arity = -3,
    .flags = CLIENT_FLAGS | CMD_ADMIN,
    .acl = ACL_CONNECTION | ACL_DANGEROUS,
    .group = "connection",
    .since = "5.0.0",
    .complexity = "O(log N) for N connections",
    .summary = "Ends the waiting of a client that a command blocks.",
    .args =
        (const struct command_arg[]){
            ARG("client-id", ARG_INTEGER),
            ARG("unblock-type", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = args_unblock_types), ARGS_END},
    .run = run_client_unblock,
};

/* ---- HELP ---- */

static enum result run_client_help(struct call *c)
{
    static const char *const lines[] = {
        "CACHING (YES|NO)",
        "    Whether the keys of the next command are tracked (TRACKING with OPTIN or OPTOUT).",
        "GETNAME",
        "    The name of this connection.",
        "GETREDIR",
        "    Which connection gets the invalidation messages of this one.",
        "ID",
        "    The number of this connection.",
        "INFO",
        "    All about this connection, as in a line of LIST.",
        "KILL <ip:port>",
        "    Close the connection that comes from there.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Close the connections for which all of this holds:",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "      It comes from there.",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "      It was accepted there.",
        "    * ID <client-id>",
        "      It has this number.",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      It is of this kind.",
        "    * USER <username>",
        "      It has authenticated as this user.",
        "    * SKIPME (YES|NO)",
        "      It is another connection than this one (default: yes).",
        "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <client-id> [...]]",
        "    Connections, one a line: all, those of a kind, or those of these numbers.",
        "NO-EVICT (ON|OFF)",
        "    Whether this connection is exempt from being closed for want of memory.",
        "NO-TOUCH (ON|OFF)",
        "    Whether commands of this connection leave the last access of keys alone.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Make clients wait for <timeout> milliseconds: all of them, or those that write.",
        "REPLY (ON|OFF|SKIP)",
        "    Whether commands of this connection are replied to.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Tell which library this client uses.",
        "SETNAME <name>",
        "    Give this connection a name.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
        "         [OPTIN] [OPTOUT] [NOLOOP]",
        "    Tell this connection when keys change that it has read, or that begin so.",
        "TRACKINGINFO",
        "    How this connection tracks.",
        "UNBLOCK <client-id> [TIMEOUT|ERROR]",
        "    End the waiting of a client, as if its time were up (default) or with an error.",
        "UNPAUSE",
        "    End PAUSE.",
        NULL,
    };
    return reply_help(c, lines);
}

static const struct command cmd_client_help = {
    .name = "help",
    .arity = 2,
    .flags = CMD_LOADING | CMD_STALE | CMD_SESSION,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "5.0.0",
    .complexity = "O(1)",
    .summary = "Tells about the subcommands.",
    .run = run_client_help,
};

static const struct command *const client_subcommands[] = {
    &cmd_client_caching,
    &cmd_client_getname,
    &cmd_client_getredir,
    &cmd_client_help,
    &cmd_client_id,
    &cmd_client_info,
    &cmd_client_kill,
    &cmd_client_list,
    &cmd_client_no_evict,
    &cmd_client_no_touch,
    &cmd_client_pause,
    &cmd_client_reply,
    &cmd_client_setinfo,
    &cmd_client_setname,
    &cmd_client_tracking,
    &cmd_client_trackinginfo,
    &cmd_client_unblock,
    &cmd_client_unpause,
    NULL,
};
const struct command cmd_client = {
    .name = "client",
    .arity = -2,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "2.4.0",
    .complexity = "Depends on the subcommand.",
    .summary = "Contains the commands about client connections.",
    .subcommands = client_subcommands,
};

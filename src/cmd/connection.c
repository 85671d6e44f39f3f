/* Commands about the connection they come on: who is it, which protocol, which database; and MONITOR. */
#include "cmd/declare.h"
#include "cmd/host.h"
#include "cmd/support.h"
#include "conf/settings.h"
#include "pubsub/pubsub.h"

/* ---- AUTH, HELLO ---- */

static bool log_in(struct call *c, struct slice user, struct slice password)
{
    const char *secret = c->settings->requirepass;
    bool good = user.len == 7 && slice_eq(user, SLICE_LIT("default"));
    if (*secret && !same_secret(password, secret))
        good = false;
    if (!good) {
        reply_error(c->reply, "WRONGPASS invalid username-password pair or user is disabled.");
        return false;
    }
    c->session->authenticated = true;
    return true;
}

static enum result run_auth(struct call *c)
{
    if (c->argc > 3)
        return reply_syntax_error(c->reply);
    if (c->argc == 2 && !*c->settings->requirepass)
        return reply_error(c->reply, "ERR AUTH <password> called without any password configured for the default user. "
                                     "Are you sure your configuration is correct?");
    struct slice user = c->argc == 3 ? c->argv[1] : SLICE_LIT("default");
    if (log_in(c, user, c->argv[c->argc - 1]))
        reply_ok(c->reply);
    return RES_OK;
}

const struct command cmd_auth = {
    .name = "auth",
    .arity = -2,
    .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY | CMD_SKIP_MONITOR |
             CMD_SKIP_SLOWLOG | CMD_SESSION,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "1.0.0",
    .complexity = "O(N) where N is the length of the password",
    .summary = "Shows the server that the client knows the password.",
    .args = (const struct command_arg[]){ARG("username", ARG_STRING, .flags = ARG_OPTIONAL, .since = "6.0.0"),
                                         ARG("password", ARG_STRING), ARGS_END},
    .history =
        (const struct command_history[]){SINCE("6.0.0", "A user name may come before the password."), HISTORY_END},
    .run = run_auth,
};

/* Printable and without spaces, so that a line of CLIENT LIST can be split at them. */
static bool name_is_fit(struct slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] < '!' || name.data[i] > '~')
            return false;
    return true;
}

static enum result set_text(struct buf *out, struct slice value)
{
    struct buf copy = BUF_INIT;
    if (value.len > 0) {
        enum result r = buf_append(&copy, value.data, value.len);
        if (r != RES_OK)
            return r;
    }
    buf_fini(out);
    *out = copy;
    return RES_OK;
}

#define BAD_NAME "ERR Client names cannot contain spaces, newlines or special characters."

static void reply_hello(struct call *c)
{
    struct sink *r = c->reply;
    r->resp = c->session->resp;
    reply_map(r, 7);
    reply_bulk_str(r, "server");
    reply_bulk_str(r, "redis"); /* clients compare it; INFO's server_name says varve */
    reply_bulk_str(r, "version");
    reply_bulk_str(r, REDIS_LEVEL);
    reply_bulk_str(r, "proto");
    reply_integer(r, c->session->resp);
    reply_bulk_str(r, "id");
    reply_integer(r, (int64_t)c->session->id);
    reply_bulk_str(r, "mode");
    reply_bulk_str(r, "standalone");
    reply_bulk_str(r, "role");
    reply_bulk_str(r, "master");
    reply_bulk_str(r, "modules");
    reply_array(r, 0);
}

static enum result run_hello(struct call *c)
{
    int64_t version = c->session->resp;
    int i = 1;
    const struct slice *name = NULL, *user = NULL;
    if (c->argc > 1) {
        if (!arg_i64_or(c, i, &version, "ERR Protocol version is not an integer or out of range"))
            return RES_OK;
        if (version < 2 || version > 3)
            return reply_error(c->reply, "NOPROTO unsupported protocol version");
        i++;
    }
    for (; i < c->argc; i++) {
        int more = c->argc - i - 1;
        if (arg_is(c, i, "auth") && more >= 2) {
            user = &c->argv[i + 1];
            i += 2;
        } else if (arg_is(c, i, "setname") && more >= 1) {
            name = &c->argv[++i];
            if (!name_is_fit(*name))
                return reply_error(c->reply, BAD_NAME);
        } else {
            return reply_error(c->reply, "ERR Syntax error in HELLO option '%.*s'", (int)c->argv[i].len,
                               (const char *)c->argv[i].data);
        }
    }
    if (user != NULL && !log_in(c, user[0], user[1]))
        return RES_OK;
    if (!c->session->authenticated)
        return reply_error(c->reply,
                           "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
                           "<proto> AUTH <user> <pass> option can be used to authenticate the client and select the "
                           "RESP protocol version at the same time");
    if (name != NULL) {
        enum result r = set_text(&c->session->name, *name);
        if (r != RES_OK)
            return r;
    }
    c->session->resp = (int)version;
    reply_hello(c);
    return RES_OK;
}

static const struct command_arg args_hello_auth[] = {ARG("username", ARG_STRING), ARG("password", ARG_STRING),
                                                     ARGS_END};
static const struct command_arg args_hello_all[] = {
    ARG("protover", ARG_INTEGER),
    ARG("auth", ARG_BLOCK, .token = "AUTH", .flags = ARG_OPTIONAL, .children = args_hello_auth),
    ARG("clientname", ARG_STRING, .token = "SETNAME", .flags = ARG_OPTIONAL),
    ARGS_END,
};
const struct command cmd_hello = {
    .name = "hello",
    .arity = -1,
    .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY | CMD_SKIP_MONITOR |
             CMD_SKIP_SLOWLOG | CMD_SESSION | CMD_IN_PLACE,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "6.0.0",
    .complexity = "O(1)",
    .summary = "Agrees on the version of the protocol, and tells about the server.",
    .args = (const struct command_arg[]){ARG("arguments", ARG_BLOCK, .flags = ARG_OPTIONAL, .children = args_hello_all),
                                         ARGS_END},
    .history =
        (const struct command_history[]){SINCE("6.2.0", "The version may be left out, to ask without changing it."),
                                         HISTORY_END},
    .run = run_hello,
};

/* ---- PING, ECHO, QUIT ---- */

static enum result run_ping(struct call *c)
{
    if (c->argc > 2)
        return reply_error(c->reply, "ERR wrong number of arguments for 'ping' command");
    if (c->session->state & SESSION_SUBSCRIBED && c->session->resp == 2) { /* in the form of what it is waiting for */
        reply_array(c->reply, 2);
        reply_bulk_str(c->reply, "pong");
        reply_bulk(c->reply, c->argc == 1 ? SLICE_LIT("") : c->argv[1]);
    } else if (c->argc == 1) {
        reply_status(c->reply, "PONG");
    } else {
        reply_bulk(c->reply, c->argv[1]);
    }
    return RES_OK;
}

static const char *const tips_all_shards_ok[] = {"request_policy:all_shards", "response_policy:all_succeeded", NULL};
const struct command cmd_ping = {
    .name = "ping",
    .arity = -1,
    .flags = CMD_FAST | CMD_SESSION | CMD_IN_PLACE | CMD_SUBSCRIBER,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Answers, to show that the server is there.",
    .args = (const struct command_arg[]){ARG("message", ARG_STRING, .flags = ARG_OPTIONAL), ARGS_END},
    .tips = tips_all_shards_ok,
    .run = run_ping,
};

static enum result run_echo(struct call *c)
{
    reply_bulk(c->reply, c->argv[1]);
    return RES_OK;
}

const struct command cmd_echo = {
    .name = "echo",
    .arity = 2,
    .flags = CMD_LOADING | CMD_STALE | CMD_FAST | CMD_SESSION | CMD_IN_PLACE,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Returns its argument.",
    .args = (const struct command_arg[]){ARG("message", ARG_STRING), ARGS_END},
    .run = run_echo,
};

static enum result run_quit(struct call *c)
{
    c->session->close_after_reply = true;
    reply_ok(c->reply);
    return RES_OK;
}

const struct command cmd_quit = {
    .name = "quit",
    .arity = -1,
    .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY | CMD_SESSION |
             CMD_UNQUEUED | CMD_SUBSCRIBER,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Closes the connection.",
    .deprecated_since = "7.2.0",
    .replaced_by = "just closing the connection",
    .run = run_quit,
};

/* ---- SELECT ---- */

static enum result run_select(struct call *c)
{
    int64_t db;
    if (!arg_i64(c, 1, &db))
        return RES_OK;
    if (db < INT32_MIN || db > INT32_MAX)
        return reply_error(c->reply, "ERR value is out of range, value must between %d and %d", INT32_MIN, INT32_MAX);
    if (db < 0 || db >= c->settings->databases)
        return reply_error(c->reply, "ERR DB index is out of range");
    c->session->db = (uint32_t)db;
    reply_ok(c->reply);
    return RES_OK;
}

const struct command cmd_select = {
    .name = "select",
    .arity = 2,
    .flags = CMD_LOADING | CMD_STALE | CMD_FAST | CMD_SESSION | CMD_IN_PLACE,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Chooses the database that the commands after it work on.",
    .args = (const struct command_arg[]){ARG("index", ARG_INTEGER), ARGS_END},
    .run = run_select,
};

/* ---- MONITOR, RESET ---- */

static enum result run_monitor(struct call *c)
{
    if (c->session->rest != NULL)
        return reply_error(c->reply, "ERR MONITOR isn't allowed for DENY BLOCKING client");
    const struct host *host = host_get();
    if (host == NULL)
        return reply_error(c->reply, "ERR MONITOR is not available here");
    reply_ok(c->reply);
    host->ops->monitor(c, true);
    return RES_OK;
}

const struct command cmd_monitor = {
    .name = "monitor",
    .arity = 1,
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SESSION,
    .group = "server",
    .since = "1.0.0",
    .summary = "Shows every command that the server executes, as it is executed.",
    .run = run_monitor,
};

static enum result run_reset(struct call *c)
{
    struct session *s = c->session;
    const struct host *host = host_get();
    if (s->monitor && host != NULL)
        host->ops->monitor(c, false);
    if (host != NULL)
        host->ops->untrack(c);
    session_multi_end(s);
    session_unwatch(c->shard, s);
    if (s->subscriber != NULL)
        subscriber_clear(s->subscriber);
    s->state = 0;
    s->db = 0;
    s->resp = c->reply->resp = 2;
    s->authenticated = !*c->settings->requirepass;
    s->no_touch = s->no_evict = false;
    s->reply_mode = SESSION_REPLY_ON;
    buf_fini(&s->name);
    reply_status(c->reply, "RESET");
    return RES_OK;
}

const struct command cmd_reset = {
    .name = "reset",
    .arity = 1,
    .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY | CMD_SESSION |
             CMD_UNQUEUED | CMD_SUBSCRIBER,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "6.2.0",
    .complexity = "O(1)",
    .summary = "Puts the connection back into the state of a new one.",
    .run = run_reset,
};

/* ---- CLIENT's subcommands about the connection itself; the others are in client.c ---- */

static enum result run_client_id(struct call *c)
{
    reply_integer(c->reply, (int64_t)c->session->id);
    return RES_OK;
}

#define CLIENT_FLAGS (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SESSION)
const struct command cmd_client_id = {
    .name = "id",
    .arity = 2,
    .flags = CLIENT_FLAGS,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "5.0.0",
    .complexity = "O(1)",
    .summary = "Returns the number of the connection.",
    .run = run_client_id,
};

static enum result run_client_getname(struct call *c)
{
    if (c->session->name.len == 0)
        reply_null(c->reply);
    else
        reply_bulk(c->reply, buf_slice(&c->session->name));
    return RES_OK;
}

const struct command cmd_client_getname = {
    .name = "getname",
    .arity = 2,
    .flags = CLIENT_FLAGS,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "2.6.9",
    .complexity = "O(1)",
    .summary = "Returns the name of the connection.",
    .run = run_client_getname,
};

static enum result run_client_setname(struct call *c)
{
    if (!name_is_fit(c->argv[2]))
        return reply_error(c->reply, BAD_NAME);
    enum result r = set_text(&c->session->name, c->argv[2]);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

static const char *const tips_all_nodes_ok[] = {"request_policy:all_nodes", "response_policy:all_succeeded", NULL};
const struct command cmd_client_setname = {
    .name = "setname",
    .arity = 3,
    .flags = CLIENT_FLAGS,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "2.6.9",
    .complexity = "O(1)",
    .summary = "Gives the connection a name.",
    .args = (const struct command_arg[]){ARG("connection-name", ARG_STRING), ARGS_END},
    .tips = tips_all_nodes_ok,
    .run = run_client_setname,
};

static enum result run_client_setinfo(struct call *c)
{
    struct buf *out;
    if (arg_is(c, 2, "lib-name"))
        out = &c->session->lib_name;
    else if (arg_is(c, 2, "lib-ver"))
        out = &c->session->lib_version;
    else
        return reply_error(c->reply, "ERR Unrecognized option '%.*s'", (int)c->argv[2].len,
                           (const char *)c->argv[2].data);
    if (!name_is_fit(c->argv[3]))
        return reply_error(c->reply, "ERR %.*s cannot contain spaces, newlines or special characters.",
                           (int)c->argv[2].len, (const char *)c->argv[2].data);
    enum result r = set_text(out, c->argv[3]);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

static const struct command_arg args_setinfo_attribute[] = {ARG("libname", ARG_STRING, .token = "LIB-NAME"),
                                                            ARG("libver", ARG_STRING, .token = "LIB-VER"), ARGS_END};
const struct command cmd_client_setinfo = {
    .name = "setinfo",
    .arity = 4,
    .flags = CLIENT_FLAGS,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "7.2.0",
    .complexity = "O(1)",
    .summary = "Tells which client library is at the other end.",
    .args = (const struct command_arg[]){ARG("attr", ARG_ONEOF, .children = args_setinfo_attribute), ARGS_END},
    .tips = tips_all_nodes_ok,
    .run = run_client_setinfo,
};

static const struct command_arg args_on_off_choice[] = {ARG_TOKEN("on", "ON"), ARG_TOKEN("off", "OFF"), ARGS_END};
static const struct command_arg args_enabled[] = {ARG("enabled", ARG_ONEOF, .children = args_on_off_choice), ARGS_END};

static enum result switch_flag(struct call *c, bool *flag)
{
    if (!arg_is(c, 2, "on") && !arg_is(c, 2, "off"))
        return reply_syntax_error(c->reply);
    *flag = arg_is(c, 2, "on");
    reply_ok(c->reply);
    return RES_OK;
}

static enum result run_client_no_evict(struct call *c) { return switch_flag(c, &c->session->no_evict); }

const struct command cmd_client_no_evict = {
    .name = "no-evict",
    .arity = 3,
    .flags = CLIENT_FLAGS | CMD_ADMIN,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "7.0.0",
    .complexity = "O(1)",
    .summary = "Exempts the connection from being closed when client buffers take too much memory.",
    .args = args_enabled,
    .run = run_client_no_evict,
};

static enum result run_client_no_touch(struct call *c) { return switch_flag(c, &c->session->no_touch); }

const struct command cmd_client_no_touch = {
    .name = "no-touch",
    .arity = 3,
    .flags = CLIENT_FLAGS,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "7.2.0",
    .complexity = "O(1)",
    .summary = "Says whether this connection's commands count as uses of the keys.",
    .args = args_enabled,
    .run = run_client_no_touch,
};

static enum result run_client_reply(struct call *c)
{
    struct session *s = c->session;
    if (arg_is(c, 2, "on")) {
        s->reply_mode = SESSION_REPLY_ON;
        reply_ok(c->reply);
    } else if (arg_is(c, 2, "off")) {
        s->reply_mode = SESSION_REPLY_OFF;
    } else if (arg_is(c, 2, "skip")) {
        if (s->reply_mode != SESSION_REPLY_OFF)
            s->reply_mode = SESSION_REPLY_SKIP_NEXT;
    } else {
        return reply_syntax_error(c->reply);
    }
    return RES_OK;
}

static const struct command_arg args_reply_choice[] = {ARG_TOKEN("on", "ON"), ARG_TOKEN("off", "OFF"),
                                                       ARG_TOKEN("skip", "SKIP"), ARGS_END};
const struct command cmd_client_reply = {
    .name = "reply",
    .arity = 3,
    .flags = CLIENT_FLAGS,
    .acl = ACL_CONNECTION,
    .group = "connection",
    .since = "3.2.0",
    .complexity = "O(1)",
    .summary = "Says whether the server replies to commands of this connection.",
    .args = (const struct command_arg[]){ARG("action", ARG_ONEOF, .children = args_reply_choice), ARGS_END},
    .run = run_client_reply,
};

/* Publish and subscribe: the commands. Who listens to what is kept by src/pubsub. */
#include "pubsub/pubsub.h"

#include "cmd/declare.h"
#include "cmd/help.h"
#include "cmd/support.h"

#define SUBSCRIBE_FLAGS (CMD_PUBSUB | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SESSION | CMD_SUBSCRIBER)

/* ---- SUBSCRIBE and its like ---- */

static const char *const verbs[2][PUBSUB_KINDS] = {
    {"unsubscribe", "punsubscribe", "sunsubscribe"},
    {"subscribe", "psubscribe", "ssubscribe"},
};

/* One notice for each name: name data NULL: there was none. */
static void reply_notice(struct call *c, bool on, enum pubsub_kind kind, struct slice name)
{
    const struct subscriber *s = c->session->subscriber;
    struct sink *r = c->reply;
    size_t count = 0;
    if (s)
        count = kind == PUBSUB_SHARD ? s->count[PUBSUB_SHARD] : s->count[PUBSUB_CHANNEL] + s->count[PUBSUB_PATTERN];
    r->ops->push(r, 3);
    reply_bulk_str(r, verbs[on][kind]);
    if (name.data)
        reply_bulk(r, name);
    else
        reply_null(r);
    reply_integer(r, (int64_t)count);
}

static void note_state(struct session *s)
{
    if (subscriber_total(s->subscriber) > 0)
        s->state |= SESSION_SUBSCRIBED;
    else
        s->state &= ~(unsigned)SESSION_SUBSCRIBED;
}

static enum result subscribe(struct call *c, enum pubsub_kind kind)
{
    struct session *session = c->session;
    struct subscriber *s = session->ops->subscribe ? session->ops->subscribe(session) : NULL;
    if (!s)
        return reply_error(c->reply, "ERR this kind of client cannot subscribe");
    for (int i = 1; i < c->argc; i++) {
        enum result r = subscriber_add(s, kind, c->argv[i]);
        if (r == RES_NO_MEMORY)
            return r;
        reply_notice(c, true, kind, c->argv[i].len ? c->argv[i] : SLICE_LIT(""));
    }
    note_state(session);
    return RES_OK;
}

static enum result unsubscribe(struct call *c, enum pubsub_kind kind)
{
    struct subscriber *s = c->session->subscriber;
    struct slice name;
    for (int i = 1; i < c->argc; i++) {
        if (s)
            (void)subscriber_remove(s, kind, c->argv[i]);
        reply_notice(c, false, kind, c->argv[i].len ? c->argv[i] : SLICE_LIT(""));
    }
    if (c->argc == 1 && !subscriber_first(s, kind, &name))
        reply_notice(c, false, kind, slice_of(NULL, 0));
    while (c->argc == 1 && subscriber_first(s, kind, &name)) {
        uint8_t *copy = arena_copy(c->arena, name.data, name.len);
        if (!copy)
            return RES_NO_MEMORY;
        name.data = copy;
        (void)subscriber_remove(s, kind, name);
        reply_notice(c, false, kind, name);
    }
    note_state(c->session);
    return RES_OK;
}

static enum result run_subscribe(struct call *c) { return subscribe(c, PUBSUB_CHANNEL); }
static enum result run_psubscribe(struct call *c) { return subscribe(c, PUBSUB_PATTERN); }
static enum result run_ssubscribe(struct call *c) { return subscribe(c, PUBSUB_SHARD); }
static enum result run_unsubscribe(struct call *c) { return unsubscribe(c, PUBSUB_CHANNEL); }
static enum result run_punsubscribe(struct call *c) { return unsubscribe(c, PUBSUB_PATTERN); }
static enum result run_sunsubscribe(struct call *c) { return unsubscribe(c, PUBSUB_SHARD); }

static const struct command_arg args_channels[] = {ARG("channel", ARG_STRING, .flags = ARG_MULTIPLE), ARGS_END};
static const struct command_arg args_shard_channels[] = {ARG("shardchannel", ARG_STRING, .flags = ARG_MULTIPLE),
                                                         ARGS_END};
static const struct command_arg args_pattern[] = {ARG("pattern", ARG_PATTERN), ARGS_END};
static const struct command_arg args_patterns[] = {
    ARG("pattern", ARG_BLOCK, .flags = ARG_MULTIPLE, .children = args_pattern), ARGS_END};
static const struct command_arg args_some_channels[] = {
    ARG("channel", ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE), ARGS_END};
static const struct command_arg args_some_shard_channels[] = {
    ARG("shardchannel", ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE), ARGS_END};
static const struct command_arg args_some_patterns[] = {
    ARG("pattern", ARG_PATTERN, .flags = ARG_OPTIONAL | ARG_MULTIPLE), ARGS_END};
static const struct command_keyspec shard_channel[] = {KEY_AT(1, KEY_NOT_KEY), KEYS_END};
static const struct command_keyspec shard_channels[] = {KEYS_FROM(1, 1, KEY_NOT_KEY), KEYS_END};

const struct command cmd_subscribe = {
    .name = "subscribe",
    .arity = -2,
    .flags = SUBSCRIBE_FLAGS,
    .group = "pubsub",
    .since = "2.0.0",
    .complexity = "O(N) for N channels",
    .summary = "Lets the client hear of what is published to channels.",
    .args = args_channels,
    .run = run_subscribe,
};

const struct command cmd_psubscribe = {
    .name = "psubscribe",
    .arity = -2,
    .flags = SUBSCRIBE_FLAGS,
    .group = "pubsub",
    .since = "2.0.0",
    .complexity = "O(N) for N patterns",
    .summary = "Lets the client hear of what is published to channels whose names match patterns.",
    .args = args_patterns,
    .run = run_psubscribe,
};

const struct command cmd_ssubscribe = {
    .name = "ssubscribe",
    .arity = -2,
    .flags = SUBSCRIBE_FLAGS,
    .group = "pubsub",
    .since = "7.0.0",
    .complexity = "O(N) for N channels",
    .summary = "Lets the client hear of what is published to shard channels.",
    .keys = shard_channels,
    .args = args_shard_channels,
    .run = run_ssubscribe,
};

const struct command cmd_unsubscribe = {
    .name = "unsubscribe",
    .arity = -1,
    .flags = SUBSCRIBE_FLAGS,
    .group = "pubsub",
    .since = "2.0.0",
    .complexity = "O(N) for N channels",
    .summary = "Ends subscriptions to channels: those named, or all.",
    .args = args_some_channels,
    .run = run_unsubscribe,
};

const struct command cmd_punsubscribe = {
    .name = "punsubscribe",
    .arity = -1,
    .flags = SUBSCRIBE_FLAGS,
    .group = "pubsub",
    .since = "2.0.0",
    .complexity = "O(N) for N patterns",
    .summary = "Ends subscriptions to patterns: those named, or all.",
    .args = args_some_patterns,
    .run = run_punsubscribe,
};

const struct command cmd_sunsubscribe = {
    .name = "sunsubscribe",
    .arity = -1,
    .flags = SUBSCRIBE_FLAGS,
    .group = "pubsub",
    .since = "7.0.0",
    .complexity = "O(N) for N channels",
    .summary = "Ends subscriptions to shard channels: those named, or all.",
    .keys = shard_channels,
    .args = args_some_shard_channels,
    .run = run_sunsubscribe,
};

/* ---- PUBLISH ---- */

static enum result publish(struct call *c, bool sharded)
{
    uint64_t receivers;
    enum result r = call_publish(c, sharded, c->argv[1], c->argv[2], &receivers);
    if (r == RES_OK)
        reply_integer(c->reply, (int64_t)receivers);
    return r;
}

static enum result run_publish(struct call *c) { return publish(c, false); }
static enum result run_spublish(struct call *c) { return publish(c, true); }

const struct command cmd_publish = {
    .name = "publish",
    .arity = 3,
    .flags = CMD_PUBSUB | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_MAY_REPLICATE | CMD_SESSION | CMD_IN_PLACE,
    .group = "pubsub",
    .since = "2.0.0",
    .complexity = "O(N+M) for N subscriptions to the channel and M patterns",
    .summary = "Sends a message to all who have subscribed to a channel; returns how many get it.",
    .args = (const struct command_arg[]){ARG("channel", ARG_STRING), ARG("message", ARG_STRING), ARGS_END},
    .run = run_publish,
};

const struct command cmd_spublish = {
    .name = "spublish",
    .arity = 3,
    .flags = CMD_PUBSUB | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_MAY_REPLICATE | CMD_SESSION | CMD_IN_PLACE,
    .group = "pubsub",
    .since = "7.0.0",
    .complexity = "O(N) for N subscriptions to the channel",
    .summary = "Sends a message to all who have subscribed to a shard channel; returns how many get it.",
    .keys = shard_channel,
    .args = (const struct command_arg[]){ARG("shardchannel", ARG_STRING), ARG("message", ARG_STRING), ARGS_END},
    .run = run_spublish,
};

/* ---- PUBSUB ---- */

static struct pubsub *hub(struct call *c) { return shard_pubsub(c->shard); }

static enum result list_names(struct call *c, enum pubsub_kind kind)
{
    struct buf names = BUF_INIT;
    size_t count = 0;
    if (c->argc > 3)
        return reply_bad_subcommand(c);
    struct slice pattern = c->argc == 3 ? c->argv[2] : slice_of(NULL, 0);
    enum result r = hub(c) ? pubsub_list(hub(c), kind, pattern, &names, &count) : RES_OK;
    if (r == RES_OK) {
        reply_array(c->reply, count);
        for (size_t at = 0; at < names.len;) {
            uint64_t len;
            memcpy(&len, names.data + at, sizeof len);
            at += sizeof len;
            reply_bulk(c->reply, slice_of(names.data + at, (size_t)len));
            at += (size_t)len;
        }
    }
    buf_fini(&names);
    return r;
}

static enum result count_each(struct call *c, enum pubsub_kind kind)
{
    reply_array(c->reply, 2 * ((size_t)c->argc - 2));
    for (int i = 2; i < c->argc; i++) {
        reply_bulk(c->reply, c->argv[i]);
        reply_integer(c->reply, hub(c) ? (int64_t)pubsub_subscriptions(hub(c), kind, c->argv[i]) : 0);
    }
    return RES_OK;
}

static enum result run_channels(struct call *c) { return list_names(c, PUBSUB_CHANNEL); }
static enum result run_shard_channels(struct call *c) { return list_names(c, PUBSUB_SHARD); }
static enum result run_numsub(struct call *c) { return count_each(c, PUBSUB_CHANNEL); }
static enum result run_shard_numsub(struct call *c) { return count_each(c, PUBSUB_SHARD); }

static enum result run_numpat(struct call *c)
{
    reply_integer(c->reply, hub(c) ? (int64_t)pubsub_names(hub(c), PUBSUB_PATTERN) : 0);
    return RES_OK;
}

static enum result run_pubsub_help(struct call *c)
{
    static const char *const lines[] = {
        "CHANNELS [<pattern>]",
        "    Channels that have subscriptions, all or those that match the pattern.",
        "NUMPAT",
        "    The number of patterns that have subscriptions.",
        "NUMSUB [<channel> ...]",
        "    For each channel the number of its subscriptions, without those by pattern.",
        "SHARDCHANNELS [<pattern>]",
        "    Shard channels that have subscriptions, all or those that match the pattern.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    For each shard channel the number of its subscriptions.",
        NULL,
    };
    return reply_help(c, lines);
}

#define QUESTION_FLAGS (CMD_PUBSUB | CMD_LOADING | CMD_STALE | CMD_SESSION)
static const struct command_arg args_some_pattern[] = {ARG("pattern", ARG_PATTERN, .flags = ARG_OPTIONAL), ARGS_END};

static const struct command cmd_pubsub_channels = {
    .name = "channels",
    .arity = -2,
    .flags = QUESTION_FLAGS,
    .group = "pubsub",
    .since = "2.8.0",
    .complexity = "O(N) for N channels",
    .summary = "Lists the channels that have subscriptions.",
    .args = args_some_pattern,
    .run = run_channels,
};

static const struct command cmd_pubsub_help = {
    .name = "help",
    .arity = 2,
    .flags = CMD_LOADING | CMD_STALE | CMD_SESSION,
    .group = "pubsub",
    .since = "6.2.0",
    .complexity = "O(1)",
    .summary = "Tells about the subcommands.",
    .run = run_pubsub_help,
};

static const struct command cmd_pubsub_numpat = {
    .name = "numpat",
    .arity = 2,
    .flags = QUESTION_FLAGS,
    .group = "pubsub",
    .since = "2.8.0",
    .complexity = "O(1)",
    .summary = "Returns how many patterns have subscriptions.",
    .run = run_numpat,
};

static const struct command cmd_pubsub_numsub = {
    .name = "numsub",
    .arity = -2,
    .flags = QUESTION_FLAGS,
    .group = "pubsub",
    .since = "2.8.0",
    .complexity = "O(N) for N channels",
    .summary = "Returns how many subscriptions each of the channels has.",
    .args = args_some_channels,
    .run = run_numsub,
};

static const struct command cmd_pubsub_shardchannels = {
    .name = "shardchannels",
    .arity = -2,
    .flags = QUESTION_FLAGS,
    .group = "pubsub",
    .since = "7.0.0",
    .complexity = "O(N) for N channels",
    .summary = "Lists the shard channels that have subscriptions.",
    .args = args_some_pattern,
    .run = run_shard_channels,
};

static const struct command cmd_pubsub_shardnumsub = {
    .name = "shardnumsub",
    .arity = -2,
    .flags = QUESTION_FLAGS,
    .group = "pubsub",
    .since = "7.0.0",
    .complexity = "O(N) for N channels",
    .summary = "Returns how many subscriptions each of the shard channels has.",
    .args = args_some_shard_channels,
    .run = run_shard_numsub,
};

static const struct command *const pubsub_subcommands[] = {
    &cmd_pubsub_channels,
    &cmd_pubsub_help,
    &cmd_pubsub_numpat,
    &cmd_pubsub_numsub,
    &cmd_pubsub_shardchannels,
    &cmd_pubsub_shardnumsub,
    NULL,
};
const struct command cmd_pubsub = {
    .name = "pubsub",
    .arity = -2,
    .group = "pubsub",
    .since = "2.8.0",
    .complexity = "Depends on the subcommand.",
    .summary = "Contains the commands about channels and their subscriptions.",
    .subcommands = pubsub_subcommands,
};

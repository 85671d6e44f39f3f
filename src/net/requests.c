/* RESP on a connection: requests are parsed into batches, run one after the other, their replies appended to the output.
 *
 * A batch is parsed whole before any of it runs: every request is looked up in the command table and the executor starts
 * to fetch what its keys need, so that the first command already runs over warm memory. A client that has not
 * authenticated gets one request at a time, because the next may be read under other limits. */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "cmd/table.h"
#include "net/net_internal.h"

/* ---- parsing ---- */

static const struct command_entry *find(const struct resp_request *q)
{
    char error[512];
    return command_resolve(q->argc, q->argv, error);
}

static bool parse(struct connection *c)
{
    struct reactor *r = c->reactor;
    if (c->in.pos == c->in.len)
        return false;
    struct request_batch *b = block_get(&r->batches);
    if (b == NULL) {
        connection_close(c);
        return false;
    }
    struct resp_limits limits = {r->tuning.bulk_max, c->session.authenticated};
    int most = c->session.authenticated ? BATCH_REQUESTS : 1;
    struct slice *argv = b->slices, *end = b->slices + BATCH_SLICES;
    enum resp_status status = RESP_REQUEST;
    b->next = b->count = b->keys = 0;
    b->alone = false;
    b->error = NULL;
    while (b->count < most && end - argv >= 8) {
        struct resp_request q;
        status = resp_parse(&c->in, &limits, argv, (int)(end - argv), &q);
        if (status != RESP_REQUEST) {
            if (status == RESP_ERROR)
                b->error = q.error;
            break;
        }
        struct request *out = &b->requests[b->count++];
        *out = (struct request){find(&q), q.argv, q.argc};
        if (out->entry != NULL)
            b->keys += (uint16_t)exec_prefetch(r->worker, &c->session, out->entry, q.argc, q.argv);
        if (q.alone) {
            b->alone = true;
            break;
        }
        argv += q.argc;
    }
    if (status == RESP_NO_MEMORY) {
        log_warning("client %s closed: no memory for its request", c->peer);
        block_put(&r->batches, b);
        connection_close(c);
        return false;
    }
    if (b->count == 0 && b->error == NULL) {
        block_put(&r->batches, b);
        return false;
    }
    c->batch = b;
    return true;
}

static void batch_free(struct connection *c)
{
    if (c->batch != NULL && c->batch->alone)
        resp_request_done(&c->in);
    free(c->batch);
    c->batch = NULL;
}

static void end_batch(struct connection *c)
{
    if (c->batch->alone)
        resp_request_done(&c->in);
    block_put(&c->reactor->batches, c->batch);
    c->batch = NULL;
}

/* ---- replying ---- */

static void take_stream(struct resp_sink *s, uint64_t len, struct sink_source *source)
{
    struct connection *c = s->host;
    c->wrote_ms = c->reactor->now_ms;
    if (outbox_add_stream(&c->out, outbox_end(&c->out), len, source) != RES_OK ||
        buf_append(&c->out.buf, "\r\n", 2) != RES_OK)
        s->sink.failed = true;
}

static void rewound(struct resp_sink *s, size_t mark)
{
    struct connection *c = s->host;
    outbox_cut_streams(&c->out, c->out.base + mark);
}

static void sink_for(struct resp_sink *sink, struct connection *c)
{
    resp_sink_init(sink, &c->out.buf, c->session.resp);
    sink->stream = take_stream;
    sink->sink.takes_elements = true;
    sink->rewound = rewound;
    sink->host = c;
}

/* CLIENT REPLY: what was said since `mark` is taken back unless the client wants it. */
static void mind_reply_mode(struct connection *c, size_t mark)
{
    struct session *s = &c->session;
    c->said_resp = (uint8_t)s->resp;
    if (s->reply_mode == SESSION_REPLY_ON)
        return;
    const uint32_t notices = CMD_PUBSUB | CMD_SUBSCRIBER; /* of SUBSCRIBE and its like: pushes rather than replies */
    if (s->last_command != NULL && (s->last_command->command->flags & notices) == notices)
        return;
    if (s->reply_mode == SESSION_REPLY_SKIP_NEXT) {
        s->reply_mode = SESSION_REPLY_SKIP;
    } else {
        outbox_cut_streams(&c->out, c->out.base + mark);
        c->out.buf.len = mark;
        if (s->reply_mode == SESSION_REPLY_SKIP)
            s->reply_mode = SESSION_REPLY_ON;
    }
}

/* A browser or a tunnel sent us here: what follows are not commands but somebody else's text. */
static bool is_other_protocol(struct slice name)
{
    return (name.len == 4 && slice_eq_nocase(name, "post")) || (name.len == 5 && slice_eq_nocase(name, "host:"));
}

static void reject(struct connection *c, const struct request *q, struct resp_sink *sink)
{
    char text[512];
    if (is_other_protocol(q->argv[0])) {
        static _Atomic uint64_t told_ms; /* an attacker must not fill the disk with it */
        uint64_t now = c->reactor->now_ms, last = atomic_load(&told_ms);
        if (now >= last + 60000 && atomic_compare_exchange_strong(&told_ms, &last, now))
            log_warning("possible SECURITY ATTACK: %s speaks another protocol (POST or Host: received); closed",
                        c->peer);
        connection_close(c);
        return;
    }
    const struct command_entry *entry = command_resolve(q->argc, q->argv, text);
    assert(entry == NULL);
    sink->sink.ops->error(&sink->sink, slice_str(text));
    session_multi_fail(&c->session);
    shard_count_error(c->reactor->worker, slice_str(text));
    entry = command_lookup(q->argv[0]);
    if (entry != NULL)
        shard_count_rejected(c->reactor->worker, entry);
}

/* EXEC has been answered, from `mark` on, but for some of its commands. False: they have asked others, who answer later. */
static bool finish_exec(struct connection *c, size_t mark)
{
    struct buf reply = BUF_INIT;
    if (buf_append(&reply, c->out.buf.data + mark, c->out.buf.len - mark) != RES_OK) {
        c->session.close_after_reply = true;
        session_rest_drop(c->reactor->shard, &c->session);
        return true;
    }
    c->out.buf.len = mark;
    if (exec_rest(c->reactor->worker, &c->session, &reply) == EXEC_AWAY)
        return false;
    if (buf_append(&c->out.buf, reply.data, reply.len) != RES_OK)
        c->session.close_after_reply = true;
    buf_fini(&reply);
    return true;
}

/* Runs one request. False: stop here, the state says why. */
static bool run_one(struct connection *c, const struct request *q, struct resp_sink *sink)
{
    size_t mark = c->out.buf.len;
    struct waiter *waiter;
    c->reactor->executed++;
    if (q->entry == NULL) {
        reject(c, q, sink);
    } else {
        if (unlikely(c->tracker != NULL)) {
            tracking_before(c, q);
            if (c->closed)
                return false;
        }
        sink_begin(&sink->sink);
        switch (exec_run(c->reactor->worker, &c->session, q->entry, q->argc, q->argv, &sink->sink)) {
        case EXEC_DONE:
            if (c->session.floor > c->floor)
                c->floor = c->session.floor;
            break;
        case EXEC_PARKED:
            reactor_park(c);
            return false;
        case EXEC_AWAY:
            c->batch->next++;
            c->away = true;
            if (unlikely(c->tracker != NULL))
                tracking_after(c, q);
            connection_warm(c);
            if ((waiter = exec_take_waiter(c->reactor->worker)) != NULL)
                connection_wait(c, waiter);
            return false;
        }
    }
    if (c->closed)
        return false;
    if (unlikely(c->tracker != NULL))
        tracking_after(c, q);
    c->batch->next++;
    if (c->away) /* other reactors are asked first: net/clients.c */
        return false;
    if (sink->sink.failed) {
        log_warning("client %s closed: no memory for a reply", c->peer);
        connection_close(c);
        return false;
    }
    if (unlikely(c->session.rest != NULL) && !finish_exec(c, mark))
        return false;
    mind_reply_mode(c, mark);
    if (c->session.close_after_reply) {
        c->closing = true;
        return false;
    }
    return true;
}

static void execute(struct connection *c)
{
    struct request_batch *b = c->batch;
    struct resp_sink sink;
    sink_for(&sink, c);
    exec_prefetch_end(c->reactor->worker);
    while (b->next < b->count) {
        if (!run_one(c, &b->requests[b->next], &sink))
            break;
        if (connection_chokes(c))
            break;
    }
    if (c->closed || c->in_parked || c->away)
        return;
    if (b->next == b->count && b->error != NULL && !c->session.close_after_reply) {
        sink.sink.ops->error(&sink.sink, slice_str(b->error));
        log_verbose("client %s closed: %s", c->peer, b->error);
        c->closing = true;
    }
    if (b->next == b->count || c->session.close_after_reply)
        end_batch(c);
}

/* ---- commands that were away ---- */

/* Appends the reply and its streams. */
static bool take_reply(struct connection *c)
{
    size_t mark = c->out.buf.len;
    if (unlikely(c->session.rest != NULL) && exec_rest(c->reactor->worker, &c->session, &c->back.reply) == EXEC_AWAY)
        return true;
    if (mark == 0 && c->out.buf.data == NULL) {
        c->out.buf = c->back.reply;
        c->back.reply = BUF_INIT;
    } else if (buf_append(&c->out.buf, c->back.reply.data, c->back.reply.len) != RES_OK) {
        return false;
    }
    c->wrote_ms = c->reactor->now_ms;
    outbox_move_streams(&c->out, &c->back.streams, c->out.base + mark);
    if (c->session.floor > c->floor)
        c->floor = c->session.floor;
    mind_reply_mode(c, mark);
    return true;
}

void connection_take_back(struct connection *c)
{
    struct request_batch *b = c->batch;
    c->away = false;
    if (!c->closed) {
        if (!take_reply(c))
            connection_close(c);
        else if (c->session.close_after_reply)
            c->closing = true;
    } else {
        session_unwatch(c->reactor->shard, &c->session);
    }
    connection_drop_reply(c);
    if (c->session.rest != NULL && c->session.answers_later) {
        c->away = true; /* CLIENT LIST within EXEC, or the like */
        return;
    }
    c->session.answers_later = false;
    connection_say_later(c);
    if (!c->closed && b != NULL && (c->session.close_after_reply || (b->next == b->count && b->error == NULL)))
        end_batch(c);
    connection_back(c);
}

static void came_back(struct connection *c)
{
    connection_wait_over(c);
    connection_take_back(c);
}

const struct session_ops connection_session_ops = {
    .protocol = "resp",
    .completed = connection_completed,
    .blocked = session_blocked,
    .subscribe = connection_subscriber,
    .stream = connection_stream,
    .rewound = connection_rewound,
    .takes_elements = true,
    .ref = connection_session_ref,
    .unref = connection_session_unref,
    .address = connection_address,
};

const struct protocol protocol_resp = {
    .session = &connection_session_ops,
    .parse = parse,
    .execute = execute,
    .came_back = came_back,
    .deep = true,
    .fini = batch_free,
    .full = "-ERR max number of clients reached\r\n",
    .denied =
        "-DENIED Varve is running in protected mode: no password is set, so only clients of this machine are let in. "
        "To serve others, set a password ('requirepass'), or, if the network itself keeps strangers out, switch "
        "protected mode off ('protected-mode no'), in the configuration or with CONFIG SET from a client on the "
        "server's machine.\r\n",
};

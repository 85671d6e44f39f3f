/* HTTP as the protocol of a connection.
 *
 * Input: the bytes of a request stay where they are (c->in, from c->in.pos on) until it has been answered, so that key,
 * header fields and body are slices of them, also while its command is away. Then the next one is parsed.
 *
 * A request whose bytes cannot be trusted is answered, and the connection *lingers*: what still comes is read and dropped
 * until the client has closed or some seconds have passed. Closing at once would reset the connection, and the answer could
 * be lost with it.
 *
 * Deadlines are absolute: a head must be whole some seconds after its first byte, a body some seconds after its head, more for
 * a longer one; a byte now and then buys no time. */
#include <stdlib.h>

#include "base/log.h"
#include "net/net_internal.h"

#define LINGER_MS 3000
#define SILENCE_MS 60000                /* of a client that does not take its answers */
#define BODY_BYTES_A_SECOND (64 * 1024) /* that a body is given beyond its first seconds */
#define SCRATCH_KEPT (256 * 1024)

/* ---- life ---- */

static struct http_state *state(struct connection *c)
{
    if (c->http == NULL && (c->http = calloc(1, sizeof *c->http)) == NULL)
        connection_close(c);
    return c->http;
}

static void forget_request(struct http_state *s)
{
    http_parser_fini(&s->parser);
    http_parser_init(&s->parser);
    s->began_ms = s->head_ms = 0;
    s->routed = false;
    s->status = 0;
    s->lines_len = 0;
    buf_fini(&s->body);
    if (s->json != NULL)
        json_decref(s->json);
    s->json = NULL;
    s->next = 0;
    free(s->argv);
    s->argv = NULL;
    buf_fini(&s->words);
    buf_fini(&s->out);
}

static void fini(struct connection *c)
{
    if (c->http != NULL) {
        forget_request(c->http);
        free(c->http);
        c->http = NULL;
    }
    free(c->batch);
    c->batch = NULL;
}

/* ---- input ---- */

static void linger(struct connection *c)
{
    c->lingers = true;
    c->in.pos = c->in.len;
    c->http->began_ms = c->reactor->now_ms;
}

static void find_route(struct connection *c)
{
    struct http_state *s = c->http;
    http_message_of(&s->parser, c->in.data + c->in.pos, &s->m);
    http_route(&s->m, &s->route);
    s->routed = true;
}

/* Nothing after this can be understood. */
static bool give_up(struct connection *c, int status, const char *why)
{
    struct http_state *s = c->http;
    if (!s->routed) {
        s->m = (struct http_message){.keep_alive = false};
        s->route.style = STYLE_TEXT;
    }
    linger(c);
    stat_add(&c->reactor->http.malformed, status != 408);
    log_verbose("HTTP client %s refused: %s", c->peer, why);
    http_say_error(c, status, why);
    connection_flush(c);
    return false;
}

/* The head is there, the body is still coming: is it worth waiting for? */
static bool meet_head(struct connection *c)
{
    struct http_state *s = c->http;
    s->head_ms = c->reactor->now_ms;
    find_route(c);
    if (!s->parser.expects_continue)
        return true;
    if (!http_admit(c) || s->route.action == HTTP_REJECT) {
        if (s->status == 0)
            http_refuse(c, s->route.status, s->route.text);
        linger(c);
        http_say(c, s->status, s->type, s->text);
        connection_flush(c);
        return false;
    }
    if (buf_append(&c->out.buf, "HTTP/1.1 100 Continue\r\n\r\n", 25) != RES_OK)
        connection_close(c);
    else
        connection_flush(c);
    return !c->closed;
}

static bool have_request(struct connection *c, size_t used)
{
    struct http_state *s = c->http;
    struct request_batch *b = block_get(&c->reactor->batches);
    if (b == NULL) {
        connection_close(c);
        return false;
    }
    b->next = b->keys = 0;
    b->count = 1;
    b->alone = false;
    b->error = NULL;
    b->requests[0] = (struct request){.entry = NULL, .argv = b->slices};
    c->batch = b;
    s->used = used;
    http_message_of(&s->parser, c->in.data + c->in.pos, &s->m);
    http_begin(c);
    return true;
}

static bool parse(struct connection *c)
{
    if (c->in.pos == c->in.len)
        return false;
    struct http_state *s = state(c);
    if (s == NULL)
        return false;
    if (c->lingers) {
        c->in.pos = c->in.len;
        return false;
    }
    const struct http_tuning *t = &c->reactor->tuning.http;
    size_t len = c->in.len - c->in.pos, used = 0;
    if (s->began_ms == 0)
        s->began_ms = c->reactor->now_ms;
    enum http_outcome o = http_parse(&s->parser, c->in.data + c->in.pos, &len, t->body_max, &used);
    c->in.len = c->in.pos + len;
    switch (o) {
    case HTTP_WHOLE:
        return have_request(c, used);
    case HTTP_REFUSED:
        if (s->parser.status == 413 && !s->routed)
            find_route(c);
        s->m.keep_alive = false;
        return give_up(c, s->parser.status, s->parser.why);
    case HTTP_NO_MEMORY:
        connection_close(c);
        return false;
    case HTTP_MORE:
        if (http_parser_has_head(&s->parser) && s->head_ms == 0)
            (void)meet_head(c);
        return false;
    }
    return false;
}

/* ---- the way of a request ---- */

static void end_request(struct connection *c)
{
    struct http_state *s = c->http;
    c->in.pos += s->used;
    block_put(&c->reactor->batches, c->batch);
    c->batch = NULL;
    if (!s->m.keep_alive || c->session.close_after_reply)
        c->closing = true;
    forget_request(s);
}

static void say_ready_answer(struct connection *c)
{
    struct http_state *s = c->http;
    http_say(c, s->status, s->type, s->text);
    end_request(c);
}

/* A value that is too long for one piece came as a stream where it is wanted whole: the same command once more, on the pool,
 * which may wait for all of it. */
static void want_whole(struct connection *c)
{
    struct http_state *s = c->http;
    struct request *q = &c->batch->requests[0];
    s->whole = *q->entry->command;
    s->whole.flags |= CMD_LONG;
    s->whole_entry = *q->entry;
    s->whole_entry.command = &s->whole;
    q->entry = &s->whole_entry;
}

static bool has_stream(const struct http_sink *reply)
{
    for (size_t i = 0; i < reply->count; i++)
        if (reply->values[i].kind == VALUE_STREAM)
            return true;
    return false;
}

static const struct session_ops piecewise, whole;

enum step { STEP_NEXT, STEP_ANSWERED, STEP_STOP };

/* Takes a reply into the answer. */
static enum step take_reply(struct connection *c, struct http_sink *reply)
{
    if (c->session.floor > c->floor)
        c->floor = c->session.floor;
    if (reply->sink.failed || reply->count == 0) {
        log_warning("HTTP client %s closed: no memory for an answer", c->peer);
        connection_close(c);
        return STEP_STOP;
    }
    if (!http_answer(c, reply))
        return STEP_NEXT;
    if (c->closed)
        return STEP_STOP;
    return STEP_ANSWERED;
}

static enum step run_one(struct connection *c, struct http_sink *reply)
{
    struct reactor *r = c->reactor;
    const struct request *q = &c->batch->requests[0];
    c->session.ops = http_streams(c->http) ? &piecewise : &whole;
    r->executed++;
    switch (exec_run(r->worker, &c->session, q->entry, q->argc, q->argv, &reply->sink)) {
    case EXEC_PARKED:
        reactor_park(c);
        return STEP_STOP;
    case EXEC_AWAY:
        c->away = true;
        return STEP_STOP;
    case EXEC_DONE:
        break;
    }
    if (c->closed || c->away)
        return STEP_STOP;
    if (has_stream(reply) && !http_streams(c->http) && c->http->route.action != HTTP_MULTI_EXEC) {
        want_whole(c);
        return STEP_NEXT;
    }
    return take_reply(c, reply);
}

static void execute(struct connection *c)
{
    struct reactor *r = c->reactor;
    exec_prefetch_end(r->worker);
    if (c->http->status != 0) {
        say_ready_answer(c);
        return;
    }
    enum step step = STEP_NEXT;
    while (step == STEP_NEXT) {
        struct http_sink reply;
        buf_clear(&r->scratch);
        http_sink_init(&reply, &r->scratch);
        step = run_one(c, &reply);
        http_sink_fini(&reply);
    }
    buf_trim(&r->scratch, SCRATCH_KEPT);
    if (step == STEP_ANSWERED)
        end_request(c);
}

/* ---- commands that were away ---- */

static void came_back(struct connection *c)
{
    struct reactor *r = c->reactor;
    if (!c->closed && !c->session.close_after_reply) {
        struct http_sink reply;
        buf_clear(&r->scratch);
        http_sink_init(&reply, &r->scratch);
        if (!connection_replay(c, &reply.sink))
            reply.sink.failed = true;
        if (take_reply(c, &reply) == STEP_ANSWERED)
            end_request(c);
        http_sink_fini(&reply);
        buf_trim(&r->scratch, SCRATCH_KEPT);
    } else if (!c->closed) {
        connection_close(c);
    }
    connection_drop_reply(c);
    connection_back(c);
}

static const struct session_ops piecewise = {
    .protocol = "http",
    .completed = connection_completed,
    .stream = connection_stream,
    .rewound = connection_rewound,
    .ref = connection_session_ref,
    .unref = connection_session_unref,
    .address = connection_address,
};
/* Of a request whose reply is wanted whole: long values are read into it by the pool. */
static const struct session_ops whole = {
    .protocol = "http",
    .completed = connection_completed,
    .ref = connection_session_ref,
    .unref = connection_session_unref,
    .address = connection_address,
};

/* ---- deadlines ---- */

static bool cut_off(struct connection *c, const char *what)
{
    log_verbose("HTTP client %s: %s", c->peer, what);
    stat_add(&c->reactor->http.timed_out, 1);
    c->http->m = (struct http_message){.keep_alive = false};
    (void)give_up(c, 408, what);
    return false;
}

static bool outstayed(struct connection *c, uint64_t now_ms)
{
    const struct http_tuning *t = &c->reactor->tuning.http;
    const struct http_state *s = c->http;
    if (c->lingers)
        return now_ms > s->began_ms + LINGER_MS;
    if (c->batch != NULL || c->away)
        return false;
    if (!outbox_empty(&c->out)) {
        uint64_t since = c->wrote_ms > c->session.active_ms ? c->wrote_ms : c->session.active_ms;
        return c->out.mark_count == 0 && now_ms > since + SILENCE_MS;
    }
    if (s == NULL || s->began_ms == 0)
        return now_ms > c->session.active_ms + t->idle_s * UINT64_C(1000);
    if (s->head_ms == 0)
        return now_ms > s->began_ms + t->head_s * UINT64_C(1000) && cut_off(c, "the head came too slowly");
    uint64_t bytes = s->parser.content_length ? s->parser.content_length : s->parser.body_len;
    uint64_t allowed = (t->body_s + bytes / BODY_BYTES_A_SECOND) * UINT64_C(1000);
    return now_ms > s->head_ms + allowed && cut_off(c, "the body came too slowly");
}

#define SENTENCE(status, text, length)                                                                                 \
    "HTTP/1.1 " status "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " length                        \
    "\r\nConnection: close\r\n\r\n" text

const struct protocol protocol_http = {
    .session = &piecewise,
    .parse = parse,
    .execute = execute,
    .came_back = came_back,
    .fini = fini,
    .outstayed = outstayed,
    .full = SENTENCE("503 Service Unavailable", "too many clients\n", "17"),
    .denied = SENTENCE("403 Forbidden", "protected mode: no password is set\n", "35"),
};
/* The same, but there is nothing to be asked for but the metrics. */
const struct protocol protocol_metrics = {
    .session = &piecewise,
    .parse = parse,
    .execute = execute,
    .came_back = came_back,
    .fini = fini,
    .outstayed = outstayed,
    .full = SENTENCE("503 Service Unavailable", "too many clients\n", "17"),
    .denied = SENTENCE("403 Forbidden", "protected mode: no password is set\n", "35"),
};

/* The memcached binary protocol on a connection: see memcached.h.
 *
 * Whole frames that have come become a batch, as with RESP; each is one command (cmd/memcached.h), or is answered here: what
 * the codec refused, NOOP, VERSION, QUIT, the list of SASL mechanisms. A command replies to a sink that keeps values
 * (http_sink.h); they become one frame, none for a quiet request that did what its sender assumes, or many (STAT).
 *
 * While a password is set, a client that has not given it (SASL PLAIN) may ask for the version and how to give it, and
 * anything else closes it; and its frames are short. A frame that is not whole grows the input, bounded by
 * client-query-buffer-limit; one that is longer than proto-max-bulk-len is answered and passed over. */
#include "net/memcached.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/num.h"
#include "cmd/memcached.h"
#include "cmd/table.h"
#include "config.h"
#include "net/http_sink.h"
#include "net/net_internal.h"
#include "proto/memcached.h"

#define STRANGER_MAX 1024 /* longest value of a client that has not authenticated */
#define SCRATCH_KEPT (64 * 1024)
#define RELATIVE_MAX (60 * 60 * 24 * 30)

struct memcached_state {
    uint64_t skip; /* bytes to pass over: the rest of a frame that is too long */
    bool broken;   /* nothing that still comes can be understood: close when the batch is answered */
    bool done;     /* close now, whatever else is in the batch */
    struct memcached_request q[BATCH_REQUESTS]; /* by place in the batch */
};

/* ---- answers ---- */

static void append(struct connection *c, const void *bytes, size_t len)
{
    if (buf_append(&c->out.buf, bytes, len) != RES_OK) {
        log_warning("client %s closed: no memory for a reply", c->peer);
        connection_close(c);
    }
}

/* Header, extras and key of an answer; the value follows. */
static void put_head(struct connection *c, const struct memcached_request *q, enum memcached_status status,
                     struct slice extras, struct slice key, uint64_t value_len, uint64_t cas)
{
    uint8_t head[MEMCACHED_HEADER];
    struct memcached_response r = {.opcode = q->opcode,
                                   .status = status,
                                   .extras_len = (uint8_t)extras.len,
                                   .key_len = (uint16_t)key.len,
                                   .value_len = value_len,
                                   .opaque = q->opaque,
                                   .cas = cas};
    memcached_response_put(head, &r);
    append(c, head, sizeof head);
    if (!c->closed)
        append(c, extras.data, extras.len);
    if (!c->closed)
        append(c, key.data, key.len);
}

static const struct slice nothing = {NULL, 0};

static void say(struct connection *c, const struct memcached_request *q, enum memcached_status status,
                struct slice value, uint64_t cas)
{
    put_head(c, q, status, nothing, nothing, value.len, cas);
    if (!c->closed)
        append(c, value.data, value.len);
}

static void refuse(struct connection *c, const struct memcached_request *q, enum memcached_status status)
{
    bool reads = q->loud == MC_GET || q->loud == MC_GAT;
    if (status == MC_NOT_FOUND && reads && q->quiet)
        return;
    if (status == MC_NOT_FOUND && reads && q->with_key) { /* which one it was */
        put_head(c, q, status, nothing, q->key, 0, 0);
        return;
    }
    say(c, q, status, slice_str(memcached_status_text(status)), 0);
}

/* The status for an error in Redis' words. */
static enum memcached_status status_of(struct slice text)
{
    static const struct {
        const char *word;
        enum memcached_status status;
    } words[] = {
        {"NOAUTH", MC_AUTH_ERROR}, {"WRONGPASS", MC_AUTH_ERROR},    {"OOM", MC_NO_MEMORY},
        {"MISCONF", MC_TEMPORARY}, {"WRONGTYPE", MC_NOT_SUPPORTED},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t len = strlen(words[i].word);
        if (text.len >= len && memcmp(text.data, words[i].word, len) == 0)
            return words[i].status;
    }
    return MC_INTERNAL;
}

static void say_value(struct connection *c, const struct memcached_request *q, struct http_sink *reply)
{
    struct http_value *v = reply->values;
    uint8_t flags[4];
    put_be32(flags, (uint32_t)v[3].integer);
    bool with_value = reply->count > 4;
    put_head(c, q, MC_OK, slice_of(flags, 4), q->with_key ? q->key : nothing, with_value ? v[4].len : 0,
             (uint64_t)v[2].integer);
    if (c->closed || !with_value)
        return;
    if (v[4].kind != VALUE_STREAM) {
        struct slice text = http_value_text(reply, &v[4]);
        append(c, text.data, text.len);
        return;
    }
    struct sink_source *source = v[4].source;
    v[4].source = NULL;
    c->wrote_ms = c->reactor->now_ms;
    if (outbox_add_stream(&c->out, outbox_end(&c->out), v[4].len, source) != RES_OK)
        connection_close(c);
}

static void say_statistics(struct connection *c, const struct memcached_request *q, const struct http_sink *reply)
{
    for (size_t i = 1; i + 1 < reply->count && !c->closed; i += 2) {
        struct slice value = http_value_text(reply, &reply->values[i + 1]);
        put_head(c, q, MC_OK, nothing, http_value_text(reply, &reply->values[i]), value.len, 0);
        if (!c->closed)
            append(c, value.data, value.len);
    }
    if (!c->closed)
        say(c, q, MC_OK, nothing, 0); /* that was all */
}

/* The answer to a request whose command has replied. */
static void answer(struct connection *c, const struct memcached_request *q, struct http_sink *reply)
{
    const struct http_value *v = reply->values;
    if (v[0].kind == VALUE_ERROR) {
        struct slice text = http_value_text(reply, &v[0]);
        enum memcached_status status = status_of(text);
        say(c, q, status, status == MC_INTERNAL ? text : slice_str(memcached_status_text(status)), 0);
        c->memcached->done = status == MC_AUTH_ERROR && q->loud != MC_SASL_AUTH;
    } else if (v[0].kind == VALUE_INTEGER) {
        refuse(c, q, (enum memcached_status)v[0].integer);
    } else if (v[0].kind == VALUE_STATUS) {
        if (!q->quiet)
            say(c, q, MC_OK, q->loud == MC_SASL_AUTH ? SLICE_LIT("Authenticated") : nothing, 0);
    } else if (q->loud == MC_STAT) {
        say_statistics(c, q, reply);
    } else if (q->loud == MC_GET || q->loud == MC_GAT || q->loud == MC_TOUCH) {
        say_value(c, q, reply);
    } else if (q->quiet) {
        return;
    } else if (q->loud == MC_INCREMENT || q->loud == MC_DECREMENT) {
        uint8_t number[8];
        put_be64(number, (uint64_t)v[3].integer);
        say(c, q, MC_OK, slice_of(number, 8), (uint64_t)v[2].integer);
    } else {
        say(c, q, MC_OK, nothing, (uint64_t)v[2].integer);
    }
}

/* ---- parsing ---- */

/* What a request's command is called with; 0 arguments: it is answered without one. */
static int arguments(const struct memcached_request *q, struct slice *argv)
{
    int argc = 0;
    switch (q->loud) {
    case MC_FLUSH:
        argv[argc++] = SLICE_LIT("FLUSHDB");
        return argc;
    case MC_SASL_AUTH: { /* authorization, NUL, user, NUL, password */
        const uint8_t *end = q->value.data + q->value.len;
        const uint8_t *user = q->value.len ? memchr(q->value.data, 0, q->value.len) : NULL;
        const uint8_t *password = user ? memchr(user + 1, 0, (size_t)(end - user - 1)) : NULL;
        if (!password)
            return 0;
        argv[argc++] = SLICE_LIT("AUTH");
        argv[argc++] = slice_of(user + 1, (size_t)(password - user - 1));
        argv[argc++] = slice_of(password + 1, (size_t)(end - password - 1));
        if (argv[1].len == 0)
            argv[1] = SLICE_LIT("default");
        return argc;
    }
    case MC_STAT:
        argv[argc++] = SLICE_LIT("STAT");
        break;
    default:
        argv[argc++] = slice_str(memcached_entry(q->loud)->full_name);
        argv[argc++] = q->key;
        if (q->loud == MC_SET || q->loud == MC_ADD || q->loud == MC_REPLACE || q->loud == MC_APPEND ||
            q->loud == MC_PREPEND)
            argv[argc++] = q->value;
    }
    argv[argc++] = q->head;
    return argc;
}

/* May this request be run, and by what? entry NULL: it is answered without a command. */
static void prepare(struct connection *c, struct memcached_request *q, struct request *out, struct slice *argv)
{
    *out = (struct request){.argv = argv};
    bool open = q->loud == MC_SASL_AUTH || q->loud == MC_SASL_LIST || q->loud == MC_SASL_STEP || q->loud == MC_VERSION;
    if (!c->session.authenticated && !open)
        q->refused = MC_AUTH_ERROR;
    else if (q->loud == MC_SASL_STEP && q->refused == MC_OK)
        q->refused = MC_AUTH_ERROR; /* PLAIN has no steps */
    else if (q->loud == MC_SASL_AUTH && q->refused == MC_OK && !slice_eq(q->key, SLICE_LIT("PLAIN")))
        q->refused = MC_AUTH_ERROR;
    else if (open && q->loud != MC_VERSION && !c->reactor->tuning.password_set)
        q->refused = MC_UNKNOWN_COMMAND; /* there is nothing to authenticate for */
    else if (q->loud == MC_STAT && q->refused == MC_OK && q->key.len)
        q->refused = MC_NOT_FOUND; /* no groups of statistics but the one without a name */
    if (q->refused != MC_OK || !memcached_entry(q->loud))
        return;
    out->argc = arguments(q, argv);
    if (out->argc == 0)
        q->refused = MC_AUTH_ERROR;
    else
        out->entry = memcached_entry(q->loud);
}

/* Passes over what is left of a frame that was too long. */
static void skip(struct connection *c)
{
    uint64_t have = c->in.len - c->in.pos, n = c->memcached->skip < have ? c->memcached->skip : have;
    c->in.pos += (size_t)n;
    c->memcached->skip -= n;
}

/* One frame into the batch. False: there is no more, for now or for ever. */
static bool take_frame(struct connection *c, struct request_batch *b)
{
    struct memcached_state *s = c->memcached;
    struct memcached_request *q = &s->q[b->count];
    uint64_t used, most = c->session.authenticated ? c->reactor->tuning.bulk_max : STRANGER_MAX;
    if (s->skip)
        skip(c);
    struct slice in = slice_of(c->in.data + c->in.pos, c->in.len - c->in.pos);
    if (s->broken || s->skip || in.len == 0)
        return false;
    switch (memcached_parse(in, most, q, &used)) {
    case MEMCACHED_MORE:
        return false;
    case MEMCACHED_FOREIGN:
        log_verbose("client %s closed: it does not speak the memcached binary protocol", c->peer);
        s->broken = true;
        return false;
    case MEMCACHED_BROKEN:
        s->broken = true;
        used = in.len;
        break;
    case MEMCACHED_SKIP:
        s->skip = used;
        used = 0;
        break;
    case MEMCACHED_REQUEST:
        break;
    }
    c->in.pos += (size_t)used;
    struct request *out = &b->requests[b->count];
    prepare(c, q, out, b->slices + 4 * b->count);
    b->count++;
    if (out->entry != NULL)
        b->keys += (uint16_t)exec_prefetch(c->reactor->worker, &c->session, out->entry, out->argc, out->argv);
    return c->session.authenticated; /* else the next one may be read under other limits */
}
_Static_assert(BATCH_SLICES >= 4 * BATCH_REQUESTS, "a request has at most four arguments");

static bool parse(struct connection *c)
{
    if (c->in.pos == c->in.len)
        return false;
    struct request_batch *b = block_get(&c->reactor->batches);
    if (c->memcached == NULL)
        c->memcached = calloc(1, sizeof *c->memcached);
    if (b == NULL || c->memcached == NULL) {
        free(b);
        log_warning("client %s closed: no memory for its request", c->peer);
        connection_close(c);
        return false;
    }
    b->next = b->count = b->keys = 0;
    b->alone = false;
    b->error = NULL;
    while (b->count < BATCH_REQUESTS && take_frame(c, b))
        ;
    if (b->count > 0) {
        c->batch = b;
        return true;
    }
    block_put(&c->reactor->batches, b);
    if (c->memcached->broken)
        connection_close(c);
    return false;
}

static void end_batch(struct connection *c)
{
    block_put(&c->reactor->batches, c->batch);
    c->batch = NULL;
}

static void fini(struct connection *c) /* any thread, of a connection that is no more */
{
    free(c->batch);
    c->batch = NULL;
    free(c->memcached);
    c->memcached = NULL;
}

/* ---- FLUSH later ---- */

static uint64_t flush_moment(const struct memcached_request *q, uint64_t now_ms)
{
    struct memcached_head h;
    memcached_head_get(q->head, &h);
    uint64_t ms = (uint64_t)h.expiry * 1000;
    if (h.expiry == 0)
        return 0;
    ms += h.expiry <= RELATIVE_MAX ? now_ms : 0;
    return ms > now_ms ? ms : 0;
}

static void flush_completed(struct session *s, struct buf *reply)
{
    struct memcached_flush *f = (struct memcached_flush *)((char *)s - offsetof(struct memcached_flush, session));
    buf_fini(reply);
    atomic_store(&f->running, false);
}
static void flush_ref(struct session *s) { (void)s; }

static const struct session_ops flush_ops = {
    .protocol = "internal",
    .completed = flush_completed,
    .ref = flush_ref,
    .unref = flush_ref,
};

void memcached_net_init(struct net *n)
{
    memcached_commands_init();
    n->flush.session = (struct session){.ops = &flush_ops, .resp = 2, .authenticated = true};
}

void memcached_tick(struct reactor *r, uint64_t now_ms)
{
    struct memcached_flush *f = &r->net->flush;
    uint64_t at = atomic_load_explicit(&f->at_ms, memory_order_relaxed);
    if (at == 0 || now_ms < at || atomic_exchange(&f->running, true))
        return;
    static const struct slice argv[] = {SLICE_LIT("FLUSHDB")};
    struct sink drop = {.ops = &sink_drop_ops, .resp = 2};
    enum exec_outcome outcome = exec_run(r->worker, &f->session, memcached_entry(MC_FLUSH), 1, argv, &drop);
    exec_row_end(r->worker);
    if (outcome != EXEC_PARKED) /* else a second later */
        atomic_compare_exchange_strong(&f->at_ms, &at, 0);
    if (outcome != EXEC_AWAY)
        atomic_store(&f->running, false);
}

/* ---- running ---- */

/* What needs no data. */
static void answer_without(struct connection *c, const struct memcached_request *q)
{
    if (q->refused != MC_OK) {
        refuse(c, q, q->refused);
        c->memcached->done = q->refused == MC_AUTH_ERROR && q->loud != MC_SASL_AUTH && q->loud != MC_SASL_STEP;
        return;
    }
    switch (q->loud) {
    case MC_QUIT:
        c->memcached->done = true;
        if (!q->quiet)
            say(c, q, MC_OK, nothing, 0);
        return;
    case MC_VERSION:
        say(c, q, MC_OK, SLICE_LIT(MEMCACHED_LEVEL "-varve-" PACKAGE_VERSION), 0);
        return;
    case MC_SASL_LIST:
        say(c, q, MC_OK, SLICE_LIT("PLAIN"), 0);
        return;
    default:
        say(c, q, MC_OK, nothing, 0); /* NOOP, and a FLUSH that is for later */
    }
}

/* True: it is put off, and answered. */
static bool put_off(struct connection *c, const struct memcached_request *q)
{
    uint64_t at = flush_moment(q, c->reactor->now_ms);
    atomic_store(&c->reactor->net->flush.at_ms, at); /* the last one asked for, be it at once, counts alone */
    if (at == 0)
        return false;
    if (!q->quiet)
        say(c, q, MC_OK, nothing, 0);
    return true;
}

/* False: the connection cannot go on with its batch. */
static bool take_reply(struct connection *c, const struct memcached_request *q, struct http_sink *reply)
{
    if (c->session.floor > c->floor)
        c->floor = c->session.floor;
    if (reply->sink.failed || reply->count == 0) {
        log_warning("client %s closed: no memory for a reply", c->peer);
        connection_close(c);
        return false;
    }
    answer(c, q, reply);
    return !c->closed;
}

/* Runs one request. False: stop here, the state says why. */
static bool run_one(struct connection *c, struct http_sink *reply)
{
    struct reactor *r = c->reactor;
    struct request_batch *b = c->batch;
    const struct request *q = &b->requests[b->next];
    const struct memcached_request *frame = &c->memcached->q[b->next];
    r->executed++;
    if (q->entry == NULL || (frame->loud == MC_FLUSH && put_off(c, frame))) {
        if (q->entry == NULL)
            answer_without(c, frame);
        b->next++;
        return !c->closed;
    }
    switch (exec_run(r->worker, &c->session, q->entry, q->argc, q->argv, &reply->sink)) {
    case EXEC_PARKED:
        reactor_park(c);
        return false;
    case EXEC_AWAY:
        b->next++;
        c->away = true;
        connection_warm(c);
        return false;
    case EXEC_DONE:
        break;
    }
    if (c->closed)
        return false;
    b->next++;
    return take_reply(c, frame, reply);
}

/* After a batch, or a command that was away: what comes next. */
static void conclude(struct connection *c)
{
    bool all = c->batch->next == c->batch->count;
    if (c->memcached->done || (all && c->memcached->broken))
        c->closing = true;
    if (all || c->closing)
        end_batch(c);
}

static void execute(struct connection *c)
{
    struct reactor *r = c->reactor;
    bool go_on = true;
    exec_prefetch_end(r->worker);
    while (go_on && c->batch->next < c->batch->count) {
        struct http_sink reply;
        buf_clear(&r->scratch);
        http_sink_init(&reply, &r->scratch);
        go_on = run_one(c, &reply) && !c->memcached->done && !connection_chokes(c);
        http_sink_fini(&reply);
    }
    buf_trim(&r->scratch, SCRATCH_KEPT);
    if (!c->closed && !c->in_parked && !c->away)
        conclude(c);
}

/* ---- commands that were away ---- */

static void came_back(struct connection *c)
{
    struct reactor *r = c->reactor;
    if (!c->closed && c->session.close_after_reply) { /* no memory for the reply: exec/pool.c */
        connection_close(c);
    } else if (!c->closed) {
        struct http_sink reply;
        buf_clear(&r->scratch);
        http_sink_init(&reply, &r->scratch);
        if (!connection_replay(c, &reply.sink))
            reply.sink.failed = true;
        if (take_reply(c, &c->memcached->q[c->batch->next - 1], &reply))
            conclude(c);
        http_sink_fini(&reply);
        buf_trim(&r->scratch, SCRATCH_KEPT);
    }
    connection_drop_reply(c);
    connection_back(c);
}

static const struct session_ops memcached_session = {
    .protocol = "memcached",
    .completed = connection_completed,
    .stream = connection_stream,
    .rewound = connection_rewound,
    .ref = connection_session_ref,
    .unref = connection_session_unref,
    .address = connection_address,
};

const struct protocol protocol_memcached = {
    .session = &memcached_session,
    .parse = parse,
    .execute = execute,
    .came_back = came_back,
    .deep = true,
    .fini = fini,
    .full = "", /* there is no frame for it: nothing was asked yet */
    .denied = "",
};

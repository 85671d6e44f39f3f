/* A connection's socket: reading, writing, closing. What the bytes mean is requests.c's business.
 *
 * Events are edge-triggered: the kernel tells once that something is there, `readable` remembers it until a read has
 * brought less than there was room for. So a connection that may not be read from costs no system call to silence it.
 * With EPOLLRDHUP (EV_CLOSED) known, a short read is the last one only if the client has not closed its side. There is one
 * hole: data and a reset that come together are one edge, and libevent tells EPOLLERR as mere readability. A reply would
 * meet the error; a client that is sent none is looked at again a second later (connection_probe). */
#include "net/connection.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "net/client_budget.h"
#include "net/input_budget.h"
#include "net/net_internal.h"

#define READ_LEAST 4096
#define READS_IN_A_ROW 8
#define OUTPUT_SMALL 512
#define CHOKE_BYTES (1024 * 1024)  /* unsent replies a client may always have before it is not served on */
#define CHOKE_STRANGER (64 * 1024) /* the same, and the most, of one that has not authenticated */

/* Of a connection that is not read from. */
static bool client_is_gone(const struct connection *c)
{
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

/* ---- names ---- */

void address_name(const struct sockaddr_storage *a, char *out, size_t cap, uint16_t *port)
{
    *port = 0;
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)a;
        inet_ntop(AF_INET, &in->sin_addr, out, (socklen_t)cap);
        *port = ntohs(in->sin_port);
    } else if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)a;
        inet_ntop(AF_INET6, &in->sin6_addr, out, (socklen_t)cap);
        *port = ntohs(in->sin6_port);
    } else {
        snprintf(out, cap, a->ss_family == AF_UNIX ? "unixsocket" : "?");
    }
}

static void join_name(char *out, size_t cap, const char *address, uint16_t port)
{
    snprintf(out, cap, strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, port);
}

void connection_name_peer(struct connection *c, char out[64])
{
    if (c->is_unix)
        snprintf(out, 64, "%.60s:0", c->reactor->net->listeners.unix_path);
    else
        join_name(out, 64, c->peer, c->peer_port);
}

void connection_name_local(const struct connection *c, char out[64])
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    char address[48];
    uint16_t port;
    if (c->is_unix) {
        snprintf(out, 64, "%.60s:0", c->reactor->net->listeners.unix_path);
    } else if (getsockname(c->fd, (struct sockaddr *)&a, &len) == 0) {
        address_name(&a, address, sizeof address, &port);
        join_name(out, 64, address, port);
    } else {
        snprintf(out, 64, "?:0");
    }
}

/* ---- life ---- */

static void set_socket_options(struct connection *c)
{
    int one = 1, keep = (int)c->reactor->tuning.keepalive_s;
    if (c->is_unix)
        return;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (keep > 0) {
        int interval = keep / 3 > 0 ? keep / 3 : 1, probes = 3;
        setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
        setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, &keep, sizeof keep);
        setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
        setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    }
}

struct connection *connection_new(struct reactor *r, const struct newcomer *who)
{
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL)
        goto fail;
    reactor_take_tuning(r); /* a password set while the accepted one was on its way here counts for it */
    c->reactor = r;
    c->fd = who->fd;
    c->is_unix = who->is_unix;
    c->peer_port = who->port;
    memcpy(c->peer, who->peer, sizeof c->peer);
    atomic_init(&c->refs, 1);
    c->protocol = who->protocol;
    c->session.ops = c->protocol->session;
    c->session.id = who->id;
    c->session.resp = c->said_resp = 2;
    c->session.authenticated = !r->tuning.password_set;
    c->session.created_ms = c->session.active_ms = r->now_ms;
    c->session.connection = c;
    outbox_init(&c->out);
    outbox_init(&c->back.streams);
    set_socket_options(c);
    event_assign(&c->read_event, r->base, c->fd, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, on_readable, c);
    event_assign(&c->write_event, r->base, c->fd, EV_WRITE | EV_ET, on_writable, c);
    if (event_add(&c->read_event, NULL) != 0)
        goto fail;
    TAILQ_INSERT_TAIL(&r->all, c, all);
    return c;
fail:
    log_warning("no memory for a new client");
    free(c);
    close(who->fd);
    atomic_fetch_sub(&r->connections, 1);
    atomic_fetch_sub(reactor_clients(r), 1);
    return NULL;
}

void connection_ref(struct connection *c) { atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed); }

void connection_unref(struct connection *c)
{
    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    assert(c->closed);
    c->protocol->fini(c);
    resp_input_fini(&c->in);
    outbox_fini(&c->out);
    outbox_fini(&c->back.streams);
    buf_fini(&c->session.name);
    buf_fini(&c->session.lib_name);
    buf_fini(&c->session.lib_version);
    buf_fini(&c->back.reply);
    buf_fini(&c->later.bytes);
    session_multi_end(&c->session);
    session_rest_drop(c->reactor->shard, &c->session);
    free(c);
}

void connection_close(struct connection *c)
{
    struct reactor *r = c->reactor;
    if (c->closed)
        return;
    c->closed = true;
    if (c->waiter != NULL)
        (void)connection_end_wait(c, WAIT_CLOSE);
    connection_unsubscribe(c);
    tracking_gone(c);
    if (!c->away) /* else it belongs to another thread: see come_back() */
        session_unwatch(r->shard, &c->session);
    event_del(&c->read_event);
    if (c->write_waiting)
        event_del(&c->write_event);
    close(c->fd);
    c->fd = -1;
    if (c->in_ready)
        TAILQ_REMOVE(&r->ready, c, ready);
    if (c->in_parked) {
        TAILQ_REMOVE(&r->parked, c, parked);
        stat_add(&r->stats.parked, (uint64_t)-1);
    }
    if (c->in_held)
        TAILQ_REMOVE(&r->held, c, held);
    c->in_ready = c->in_parked = c->in_held = false;
    if (c->session.monitor) {
        c->session.monitor = false;
        atomic_fetch_sub(&r->monitors, 1);
        shard_monitors_add(r->shard, -1);
    }
    atomic_fetch_sub_explicit(&r->net->output_bytes_held, c->counted_output, memory_order_relaxed);
    c->counted_output = 0;
    input_uncount(c);
    client_uncount(c);
    TAILQ_REMOVE(&r->all, c, all);
    TAILQ_INSERT_TAIL(&r->dead, c, all);
    atomic_fetch_sub(&r->connections, 1);
    atomic_fetch_sub(reactor_clients(r), 1);
}

bool connection_busy(const struct connection *c) { return c->batch != NULL || c->away || !outbox_empty(&c->out); }

size_t connection_memory(const struct connection *c)
{
    return sizeof *c + resp_input_memory(&c->in) + outbox_memory(&c->out) + (c->batch ? sizeof *c->batch : 0) +
           c->session.name.cap + c->session.lib_name.cap + c->session.lib_version.cap + c->later.bytes.cap +
           (c->away ? 0 : session_multi_memory(&c->session));
}

/* ---- reading ---- */

/* One read. False when the connection is not to be read from any more. */
static bool receive(struct connection *c)
{
    struct reactor *r = c->reactor;
    struct iovec iov[2];
    if (c->in.data == NULL) {
        uint8_t *block = block_get(&r->blocks);
        if (block != NULL)
            resp_input_give(&c->in, block, RESP_BLOCK);
    }
    int parts = resp_input_room(&c->in, READ_LEAST, iov);
    if (parts == 0) {
        log_warning("client %s closed: no memory for what it sends", c->peer);
        connection_close(c);
        return false;
    }
    size_t room = iov[0].iov_len + (parts == 2 ? iov[1].iov_len : 0);
    ssize_t n;
    if (parts == 1) {
        n = recv(c->fd, iov[0].iov_base, iov[0].iov_len, 0);
    } else {
        struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
        n = recvmsg(c->fd, &m, 0);
    }
    stat_add(&r->stats.reads, 1);
    if (n > 0) {
        resp_input_received(&c->in, (size_t)n);
        c->input_bytes += (size_t)n;
        stat_add(&r->stats.input_bytes, (uint64_t)n);
        c->readable = (size_t)n == room || c->eof;
        c->unproven = true;
        c->session.active_ms = r->now_ms;
        size_t memory = resp_input_memory(&c->in);
        bool within = memory <= r->tuning.query_limit;
        if (!within)
            log_warning("client %s closed: client-query-buffer-limit reached", c->peer);
        if (!within || !input_within_budget(c, memory)) {
            stat_add(&r->stats.cut_by_query_limit, 1);
            connection_close(c);
            return false;
        }
        client_count(c);
        return !c->closed;
    }
    c->readable = false;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    /* The client has closed its side, or is gone. What it asked for before is still done, and said if it listens. */
    c->closing = true;
    if (!connection_busy(c))
        connection_close(c);
    return false;
}

static void give_input_back(struct connection *c)
{
    if (c->in.data == NULL || !resp_input_empty(&c->in))
        return;
    size_t cap;
    uint8_t *data = resp_input_take(&c->in, &cap);
    if (cap == RESP_BLOCK)
        block_put(&c->reactor->blocks, data);
    else
        free(data);
}

/* Gets a batch to execute, from what has come or from the socket. */
static bool have_batch(struct connection *c)
{
    if (c->batch != NULL)
        return true;
    if (c->protocol->parse(c))
        return true;
    for (int reads = 0; c->readable && !c->closing && !c->closed && reads < READS_IN_A_ROW; reads++) {
        if (!receive(c))
            return false;
        if (c->protocol->parse(c))
            return true;
    }
    if (c->readable && !c->closing && !c->closed)
        reactor_make_ready(c); /* others first */
    give_input_back(c);
    return false;
}

static bool may_go_on(const struct connection *c)
{
    return !c->closed && !c->away && !c->choked && !c->in_parked && (!c->closing || c->batch != NULL);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct connection *c = arg;
    c->readable = true;
    if (what & EV_CLOSED)
        c->eof = true;
    if (c->waiter != NULL && (c->eof || client_is_gone(c)))
        connection_close(c);
    else if (may_go_on(c))
        reactor_make_ready(c);
}

void connection_probe(struct connection *c, uint64_t now_ms)
{
    if (!c->unproven || !may_go_on(c) || now_ms < c->session.active_ms + 1000)
        return;
    c->unproven = false;
    c->readable = true;
    reactor_make_ready(c);
}

bool connection_prepare(struct connection *c)
{
    if (!may_go_on(c) || !have_batch(c))
        return false;
    if (c->out.buf.data == NULL) {
        /* A long row of replies gets a block of its own, one or two a little memory. */
        bool large = c->batch->count > 4;
        c->out.buf.data = large ? block_get(&c->reactor->blocks) : malloc(OUTPUT_SMALL);
        c->out.buf.cap = c->out.buf.data == NULL ? 0 : large ? RESP_BLOCK : OUTPUT_SMALL;
    }
    return true;
}

void connection_run(struct connection *c)
{
    if (c->closed)
        return;
    c->protocol->execute(c);
    if (c->closed)
        return;
    if (c->batch == NULL && resp_input_empty(&c->in))
        give_input_back(c);
    if (c->counted_input && c->batch == NULL)
        input_count(c, resp_input_memory(&c->in));
    if (may_go_on(c) && (c->batch != NULL || c->readable || !resp_input_empty(&c->in)))
        reactor_make_ready(c);
}

/* ---- writing ---- */

static void give_output_back(struct connection *c)
{
    struct outbox *o = &c->out;
    if (o->buf.data == NULL || o->buf.len != 0)
        return;
    if (o->buf.cap == RESP_BLOCK)
        block_put(&c->reactor->blocks, o->buf.data);
    else
        free(o->buf.data);
    o->buf = BUF_INIT;
    if (o->mark_count == 0 && o->mark_cap > 4) {
        free(o->marks);
        o->marks = NULL;
        o->mark_cap = 0;
    }
}

/* The bytes of all clients together are counted, roughly: a client's share is only touched when it is a long one. */
static void count_output(struct connection *c, size_t pending)
{
    size_t share = pending > CHOKE_BYTES / 16 ? pending : 0;
    if (share != c->counted_output) {
        atomic_fetch_add_explicit(&c->reactor->net->output_bytes_held, share - c->counted_output, memory_order_relaxed);
        c->counted_output = share;
    }
}

/* Is it to take some of its replies before it is served on? all: what all clients have not taken. */
static bool has_enough(const struct connection *c, size_t pending, uint64_t all)
{
    if (c->out.streams != NULL)
        return true;
    if (!c->session.authenticated)
        return pending > CHOKE_STRANGER;
    return pending > CHOKE_BYTES && (!c->protocol->deep || all > c->reactor->tuning.output_budget);
}

enum output_class connection_class(const struct connection *c)
{
    if (c->session.monitor)
        return OUTPUT_REPLICA;
    return subscriber_total(c->session.subscriber) > 0 ? OUTPUT_PUBSUB : OUTPUT_NORMAL;
}

/* Replies that the client does not take: within its limits, and is it served on? False: it was closed. */
static bool keep_limits(struct connection *c)
{
    struct reactor *r = c->reactor;
    size_t pending = outbox_pending(&c->out);
    if (pending == 0 && c->counted_output == 0 && !c->choked)
        return true;
    const struct output_limit *limit = &r->tuning.output_limit[connection_class(c)];
    if (limit->hard && pending > (uint64_t)limit->hard) {
        log_warning("client %s closed: %zu bytes of replies not taken, client-output-buffer-limit", c->peer, pending);
        stat_add(&r->stats.cut_by_output_limit, 1);
        connection_close(c);
        return false;
    }
    if (limit->soft == 0 || pending <= (uint64_t)limit->soft)
        c->soft_since_ms = 0;
    else if (c->soft_since_ms == 0)
        c->soft_since_ms = r->now_ms;
    count_output(c, pending);
    bool was = c->choked;
    uint64_t all = atomic_load_explicit(&r->net->output_bytes_held, memory_order_relaxed);
    c->choked = has_enough(c, pending, all);
    if (was && !c->choked && may_go_on(c))
        reactor_make_ready(c);
    return true;
}

bool connection_chokes(struct connection *c)
{
    size_t pending = outbox_pending(&c->out);
    if (c->out.streams == NULL && pending <= CHOKE_STRANGER)
        return false;
    const struct net *n = c->reactor->net;
    uint64_t all = atomic_load_explicit(&n->output_bytes_held, memory_order_relaxed) - c->counted_output + pending;
    c->choked = has_enough(c, pending, all);
    return c->choked;
}

/* Writes once. False: the connection is closed or must wait for the socket. */
static bool send_some(struct connection *c, uint64_t upto)
{
    struct iovec iov[2];
    int parts = outbox_gather(&c->out, upto, iov);
    if (parts == 0)
        return false;
    size_t want = iov[0].iov_len + (parts == 2 ? iov[1].iov_len : 0);
    ssize_t n;
    if (parts == 1) {
        n = send(c->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
    } else {
        struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
        n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    }
    stat_add(&c->reactor->stats.writes, 1);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        connection_close(c);
        return false;
    }
    if (n > 0) {
        c->unproven = false;
        outbox_written(&c->out, (size_t)n);
        c->output_bytes += (size_t)n;
        c->wrote_ms = c->reactor->now_ms;
        stat_add(&c->reactor->stats.output_bytes, (uint64_t)n);
    }
    if (n >= 0 && (size_t)n == want)
        return true;
    if (event_add(&c->write_event, NULL) != 0) {
        connection_close(c);
        return false;
    }
    c->write_waiting = true;
    return false;
}

static void write_out(struct connection *c, uint64_t upto)
{
    while (!c->write_waiting) {
        struct outbox_stream *stream = outbox_hungry(&c->out, upto);
        if (stream != NULL) {
            if (!c->stream_reading && streamer_read(&c->reactor->net->streamer, c, stream) != RES_OK)
                connection_close(c);
            return;
        }
        if (!send_some(c, upto) || (c->out.streams == NULL && outbox_pending(&c->out) == 0))
            return;
    }
}

void connection_flush(struct connection *c)
{
    if (c->closed)
        return;
    struct outbox *o = &c->out;
    uint64_t upto = outbox_end(o);
    if (!outbox_empty(o)) {
        if (c->floor > c->reactor->gate && outbox_hold(o, c->floor) != RES_OK) {
            connection_close(c);
            return;
        }
        if (o->mark_count > 0) {
            upto = outbox_release(o, c->reactor->gate);
            if (o->mark_count > 0)
                reactor_hold(c);
        }
        write_out(c, upto);
    }
    if (c->closed || !keep_limits(c))
        return;
    if (outbox_empty(o)) {
        give_output_back(c);
        if (c->closing && !connection_busy(c))
            connection_close(c);
        else if (c->lingers && !c->shut && shutdown(c->fd, SHUT_WR) == 0)
            c->shut = true;
    }
    client_count(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct connection *c = arg;
    c->write_waiting = false;
    connection_flush(c);
}

void connection_back(struct connection *c)
{
    c->away = false;
    if (c->closed)
        return;
    connection_flush(c);
    if (may_go_on(c))
        reactor_make_ready(c);
}

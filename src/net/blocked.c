/* A connection whose command waits for a key (exec/shard.h, waiter_take). To the connection it is a command that is away:
 * nothing is read or executed meanwhile, and the reply comes by completed(). What ends the waiting otherwise is here: the
 * time is up (a timer of this reactor's loop), CLIENT UNBLOCK and the close of the connection. */
#include <time.h>

#include "net/net_internal.h"

static uint64_t mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void on_time_up(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    (void)connection_end_wait(arg, WAIT_TIMEOUT);
}

void connection_wait(struct connection *c, struct waiter *w)
{
    uint64_t deadline = waiter_deadline_ns(w);
    c->waiter = w;
    event_assign(&c->wait_event, c->reactor->base, -1, 0, on_time_up, c);
    if (c->eof && !c->closed) { /* it went before it had to wait: nothing will tell us again */
        connection_close(c);
        return;
    }
    if (deadline == UINT64_MAX)
        return;
    uint64_t now = mono_ns(), us = deadline > now ? (deadline - now + 999) / 1000 : 0;
    struct timeval left = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};
    if (event_add(&c->wait_event, &left) != 0)
        connection_close(c); /* no memory: it would wait for ever */
}

void connection_wait_over(struct connection *c)
{
    if (c->waiter == NULL)
        return;
    event_del(&c->wait_event);
    waiter_unref(c->waiter);
    c->waiter = NULL;
}

bool connection_end_wait(struct connection *c, enum wait_end why)
{
    struct waiter *w = c->waiter;
    if (w == NULL || !waiter_take(w, why))
        return false; /* it is being served: what it gets is on its way */
    if (why != WAIT_CLOSE) {
        struct resp_sink sink;
        buf_clear(&c->back.reply);
        resp_sink_init(&sink, &c->back.reply, c->session.resp);
        exec_wait_over(c->reactor->worker, w, why, &sink.sink);
        if (sink.sink.failed)
            c->session.close_after_reply = true;
    }
    connection_wait_over(c);
    if (why == WAIT_CLOSE)
        c->away = false;
    else
        connection_take_back(c);
    connection_unref(c);
    return true;
}

/* From a pool thread: on the reactor. */
static void learn_of_wait(struct reactor *r, struct mail *m)
{
    struct connection *c = (struct connection *)((char *)m - offsetof(struct connection, blocked_mail));
    (void)r;
    connection_wait(c, c->blocked_by);
    if (c->closed && connection_end_wait(c, WAIT_CLOSE))
        session_unwatch(c->reactor->shard, &c->session);
    connection_unref(c);
}

void session_blocked(struct session *s, struct waiter *w)
{
    struct connection *c = (struct connection *)s;
    c->blocked_by = w;
    c->blocked_mail.deliver = learn_of_wait;
    connection_ref(c);
    reactor_post(c->reactor, &c->blocked_mail);
}

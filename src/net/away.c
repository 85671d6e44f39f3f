/* Commands that run on the pool, or wait: how their replies come back to their connections. All protocols share it; what
 * each makes of a reply is its came_back(). */
#include <stddef.h>

#include "exec/resp_replay.h"
#include "net/net_internal.h"

#define WARM_REQUESTS 32

void connection_warm(struct connection *c)
{
    const struct request_batch *b = c->batch;
    for (int i = b->next; i < b->count && i < b->next + WARM_REQUESTS; i++)
        if (b->requests[i].entry != NULL)
            exec_warm(c->reactor->worker, &c->session, b->requests[i].entry, b->requests[i].argc, b->requests[i].argv);
}

static void come_back(struct reactor *r, struct mail *m)
{
    struct connection *c = (struct connection *)((char *)m - offsetof(struct connection, back.mail));
    (void)r;
    c->protocol->came_back(c);
    connection_unref(c);
}

void connection_completed(struct session *s, struct buf *reply)
{
    struct connection *c = (struct connection *)s;
    c->back.reply = *reply;
    *reply = BUF_INIT;
    c->back.mail.deliver = come_back;
    connection_ref(c);
    reactor_post(c->reactor, &c->back.mail);
}

enum result connection_stream(struct session *s, size_t at, uint64_t len, struct sink_source *source)
{
    return outbox_add_stream(&((struct connection *)s)->back.streams, at, len, source);
}

void connection_rewound(struct session *s, size_t at)
{
    outbox_cut_streams(&((struct connection *)s)->back.streams, at);
}

void connection_session_ref(struct session *s) { connection_ref((struct connection *)s); }
void connection_session_unref(struct session *s) { connection_unref((struct connection *)s); }
void connection_address(struct session *s, char out[64]) { connection_name_peer((struct connection *)s, out); }

static struct sink_source *take_source(void *arg, size_t at)
{
    struct connection *c = arg;
    struct outbox_stream *s = c->back.streams.streams;
    if (s == NULL || s->at != at || s->source == NULL)
        return NULL;
    return outbox_take_source(&c->back.streams);
}

bool connection_replay(struct connection *c, struct sink *into)
{
    return resp_replay(buf_slice(&c->back.reply), into, take_source, c);
}

void connection_drop_reply(struct connection *c)
{
    buf_fini(&c->back.reply);
    outbox_cut_streams(&c->back.streams, 0);
}

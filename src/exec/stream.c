/* Long replies of many elements, read while the client takes them (EXECUTION, rule 16).
 *
 * The stream is a source (sink.h) with a run of its own, at the view, snapshot and time of the command that began it: what
 * the head of the reply has announced is there, whatever happens to the key meanwhile. The command opens in it what it will
 * read on from; afterwards threads of the network, one at a time, ask it for some bytes more. It needs neither session nor
 * settings then, so it is none of the runs that shard_retire() waits for: a slow client may take an hour. */
#include <stddef.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/epoch.h"
#include "exec/internal.h"

#define STREAM_FROM (1024 * 1024) /* bytes; shorter replies are made whole */
#define STREAM_ARGUMENTS 65536    /* bytes; they are copied */
#define STREAM_KEEP (1024 * 1024) /* room that a long element may leave behind */
#define POLL_EVERY 256            /* elements */

struct stream {
    struct sink_source source; /* first */
    struct run *run;
    const struct call_stream *what;
    struct resp_sink sink;
    struct buf out; /* said and not yet read */
    bool opened, over;
    _Alignas(max_align_t) uint8_t state[];
};

static enum result fill(struct stream *s, size_t want)
{
    struct call *c = &s->run->call;
    for (unsigned n = 0; !s->over && s->out.len < want; n++) {
        if (n % POLL_EVERY == 0)
            epoch_poll(); /* blocks that made way for those read here */
        enum result r = s->what->next(c, s->state);
        if (r == RES_NOT_FOUND)
            s->over = true;
        else if (r != RES_OK)
            return r;
        if (s->sink.sink.failed)
            return RES_NO_MEMORY;
    }
    return RES_OK;
}

/* The last CRLF of all is never given: it stands behind the source (sink.h). */
static enum result stream_read(struct sink_source *source, uint8_t *buf, size_t cap, size_t *len)
{
    struct stream *s = (struct stream *)source;
    *len = 0;
    enum result r = fill(s, cap + 2);
    if (r != RES_OK)
        return r;
    if (s->out.len < 2)
        return RES_CORRUPT; /* nothing was said where a head has announced something */
    size_t n = s->out.len - 2 < cap ? s->out.len - 2 : cap;
    if (n)
        memcpy(buf, s->out.data, n);
    *len = n;
    buf_consume(&s->out, n);
    buf_trim(&s->out, STREAM_KEEP);
    return RES_OK;
}

static void stream_close(struct sink_source *source)
{
    struct stream *s = (struct stream *)source;
    if (s->opened)
        s->what->close(s->state);
    front_view_unref(s->run->call.view);
    s->run->call.view = NULL;
    run_give(s->run);
    buf_fini(&s->out);
    free(s);
}

/* The run in which the stream reads: as that of the command, which is c's. */
static enum result begin(struct stream *s, const struct call *c)
{
    struct run *r = s->run;
    struct call *own = &r->call;
    run_begin(r, c->session, c->entry, 0, NULL, &s->sink.sink);
    own->view = c->view;
    front_view_hold(c->view);
    own->snapshot = c->snapshot;
    own->now_ms = c->now_ms;
    own->mode = CALL_READ | CALL_MAY_WAIT;
    own->events = 0;
    struct slice *argv = arena_alloc(&r->arena, (size_t)c->argc * sizeof *argv);
    if (!argv)
        return RES_NO_MEMORY;
    for (int i = 0; i < c->argc; i++) {
        argv[i] = slice_of(arena_copy(&r->arena, c->argv[i].data, c->argv[i].len), c->argv[i].len);
        if (!argv[i].data)
            return RES_NO_MEMORY;
    }
    own->argv = argv;
    own->argc = c->argc;
    return RES_OK;
}

enum result call_streams(struct call *c, uint64_t bytes, bool *streams)
{
    *streams = bytes >= STREAM_FROM && c->reply->takes_elements && !c->overlay && !call_run(c)->in_exec &&
               exec_argument_bytes(c->argc, c->argv) <= STREAM_ARGUMENTS;
    return *streams && call_will_be_long(c) ? RES_WOULD_BLOCK : RES_OK;
}

enum result call_stream(struct call *c, const struct call_stream *what, const void *from)
{
    struct stream *s = calloc(1, sizeof *s + what->size);
    if (!s)
        return RES_NO_MEMORY;
    if (!(s->run = run_take(c->shard))) {
        free(s);
        return RES_NO_MEMORY;
    }
    s->source.read = stream_read;
    s->source.close = stream_close;
    s->what = what;
    s->out = BUF_INIT;
    resp_sink_init(&s->sink, &s->out, c->reply->resp);
    enum result r = begin(s, c);
    if (r == RES_OK) {
        s->opened = true;
        r = what->open(&s->run->call, s->state, from);
    }
    if (r != RES_OK) {
        stream_close(&s->source);
        return r;
    }
    s->run->call.session = NULL;
    s->run->call.settings = NULL;
    c->reply->ops->elements(c->reply, &s->source);
    return RES_OK;
}

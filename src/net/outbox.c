/* See outbox.h. */
#include "net/outbox.h"

#include <assert.h>
#include <stdlib.h>

void outbox_init(struct outbox *o)
{
    *o = (struct outbox){.streams = NULL};
    o->streams_tail = &o->streams;
}

struct sink_source *outbox_take_source(struct outbox *o)
{
    struct outbox_stream *s = o->streams;
    struct sink_source *source = s->source;
    o->streams = s->next;
    if (o->streams == NULL)
        o->streams_tail = &o->streams;
    free(s->chunk);
    free(s);
    return source;
}

static void drop_first_stream(struct outbox *o)
{
    struct sink_source *source = outbox_take_source(o);
    source->close(source);
}

void outbox_fini(struct outbox *o)
{
    while (o->streams)
        drop_first_stream(o);
    buf_fini(&o->buf);
    free(o->marks);
    outbox_init(o);
}

size_t outbox_memory(const struct outbox *o)
{
    size_t sum = o->buf.cap + o->mark_cap * sizeof *o->marks;
    for (const struct outbox_stream *s = o->streams; s; s = s->next)
        sum += sizeof *s + s->chunk_len;
    return sum;
}

static enum result more_marks(struct outbox *o)
{
    unsigned cap = o->mark_cap ? o->mark_cap * 2 : 4;
    struct outbox_mark *marks = malloc(cap * sizeof *marks);
    if (marks == NULL)
        return RES_NO_MEMORY;
    for (unsigned i = 0; i < o->mark_count; i++)
        marks[i] = o->marks[(o->mark_head + i) & (o->mark_cap - 1)];
    free(o->marks);
    o->marks = marks;
    o->mark_cap = cap;
    o->mark_head = 0;
    return RES_OK;
}

enum result outbox_hold(struct outbox *o, uint64_t floor)
{
    uint64_t end = outbox_end(o);
    if (o->mark_count > 0) {
        struct outbox_mark *last = &o->marks[(o->mark_head + o->mark_count - 1) & (o->mark_cap - 1)];
        if (last->end == end && last->floor >= floor)
            return RES_OK;
        if (last->floor >= floor) {
            last->end = end;
            return RES_OK;
        }
    }
    if (o->mark_count == o->mark_cap && more_marks(o) != RES_OK)
        return RES_NO_MEMORY;
    o->marks[(o->mark_head + o->mark_count++) & (o->mark_cap - 1)] = (struct outbox_mark){floor, end};
    return RES_OK;
}

uint64_t outbox_release(struct outbox *o, uint64_t gate)
{
    uint64_t upto = o->base + o->sent;
    while (o->mark_count > 0) {
        const struct outbox_mark *m = &o->marks[o->mark_head];
        if (m->floor > gate)
            return upto;
        upto = m->end;
        o->mark_head = (o->mark_head + 1) & (o->mark_cap - 1);
        o->mark_count--;
    }
    return outbox_end(o);
}

enum result outbox_add_stream(struct outbox *o, uint64_t place, uint64_t len, struct sink_source *source)
{
    struct outbox_stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        source->close(source);
        return RES_NO_MEMORY;
    }
    s->at = place;
    s->remaining = len;
    s->source = source;
    *o->streams_tail = s;
    o->streams_tail = &s->next;
    return RES_OK;
}

void outbox_move_streams(struct outbox *o, struct outbox *from, uint64_t place)
{
    if (from->streams == NULL)
        return;
    for (struct outbox_stream *s = from->streams; s; s = s->next)
        s->at += place;
    *o->streams_tail = from->streams;
    o->streams_tail = from->streams_tail;
    from->streams = NULL;
    from->streams_tail = &from->streams;
}

void outbox_cut_streams(struct outbox *o, uint64_t place)
{
    struct outbox_stream **at = &o->streams;
    while (*at != NULL && (*at)->at < place)
        at = &(*at)->next;
    struct outbox_stream *s = *at;
    *at = NULL;
    o->streams_tail = at;
    while (s != NULL) {
        struct outbox_stream *next = s->next;
        s->source->close(s->source);
        free(s->chunk);
        free(s);
        s = next;
    }
}

struct outbox_stream *outbox_hungry(struct outbox *o, uint64_t upto)
{
    struct outbox_stream *s = o->streams;
    if (s == NULL || s->at != o->base + o->sent || s->at > upto)
        return NULL;
    return s->chunk_sent == s->chunk_len && s->remaining > 0 ? s : NULL;
}

void outbox_feed(struct outbox *o, struct outbox_stream *s, uint8_t *chunk, size_t len)
{
    free(s->chunk);
    s->chunk = chunk;
    s->chunk_len = len;
    s->chunk_sent = 0;
    if (len == 0) {
        s->remaining = 0;
        outbox_written(o, 0);
    } else if (s->remaining != SINK_ELEMENTS) {
        s->remaining -= len;
    }
}

int outbox_gather(struct outbox *o, uint64_t upto, struct iovec iov[2])
{
    int n = 0;
    uint64_t at = o->base + o->sent;
    const struct outbox_stream *s = o->streams;
    if (s != NULL && s->at == at && at <= upto) {
        if (s->chunk_sent < s->chunk_len)
            iov[n++] = (struct iovec){s->chunk + s->chunk_sent, s->chunk_len - s->chunk_sent};
        if (s->remaining > 0)
            return n; /* more of it comes first */
        s = s->next;
        /* The one behind it cannot be at the same place: its head and end lie between. */
    }
    if (s != NULL && s->at < upto)
        upto = s->at;
    if (at < upto)
        iov[n++] = (struct iovec){o->buf.data + o->sent, (size_t)(upto - at)};
    return n;
}

void outbox_written(struct outbox *o, size_t n)
{
    struct outbox_stream *s = o->streams;
    if (s != NULL && s->at == o->base + o->sent) {
        size_t part = s->chunk_len - s->chunk_sent;
        part = n < part ? n : part;
        s->chunk_sent += part;
        n -= part;
        if (s->chunk_sent == s->chunk_len && s->remaining == 0)
            drop_first_stream(o);
    }
    o->sent += n;
    assert(o->sent <= o->buf.len);
    if (o->sent == o->buf.len) {
        o->base += o->sent;
        o->sent = o->buf.len = 0;
    } else if (o->sent > 64 * 1024 && o->sent > o->buf.len / 2) {
        o->base += o->sent;
        buf_consume(&o->buf, o->sent);
        o->sent = 0;
    }
}

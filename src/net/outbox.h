/* What a connection has to say to its client and has not said yet.
 *
 * Bytes have a place in the one long stream of everything ever said to this client (`base` is the place of buf.data[0]).
 * Two things are tied to places: marks, which hold bytes back until the gate has reached a sequence, and streams, long
 * bulks whose bytes are not in the buffer but come in between, at their place, from a source. */
#ifndef VARVE_NET_OUTBOX_H
#define VARVE_NET_OUTBOX_H

#include <sys/uio.h>

#include "base/buf.h"
#include "exec/sink.h"

struct outbox_mark {
    uint64_t floor, end; /* bytes before `end` wait for `floor` */
};
struct outbox_stream {
    struct outbox_stream *next;
    uint64_t at;        /* its place: before this byte */
    uint64_t remaining; /* bytes not yet read from the source; SINK_ELEMENTS: until it gives none */
    struct sink_source *source;
    uint8_t *chunk; /* what was read last */
    size_t chunk_len, chunk_sent;
};
struct outbox {
    struct buf buf;
    uint64_t base;
    size_t sent; /* bytes of buf that are out */
    struct outbox_mark *marks;
    unsigned mark_head, mark_count, mark_cap; /* a ring; cap is a power of two */
    struct outbox_stream *streams, **streams_tail;
};

void outbox_init(struct outbox *o);
void outbox_fini(struct outbox *o); /* closes sources */

static inline uint64_t outbox_end(const struct outbox *o) { return o->base + o->buf.len; }
static inline size_t outbox_pending(const struct outbox *o)
{
    return o->buf.len - o->sent + (o->streams ? o->streams->chunk_len - o->streams->chunk_sent : 0);
}
static inline bool outbox_empty(const struct outbox *o) { return o->sent == o->buf.len && o->streams == NULL; }
size_t outbox_memory(const struct outbox *o);

/* All that is in the buffer waits for floor (or more). */
enum result outbox_hold(struct outbox *o, uint64_t floor) MUST_CHECK;
/* Forgets marks the gate has reached, returns the place up to which bytes may leave. */
uint64_t outbox_release(struct outbox *o, uint64_t gate);
/* The floor the next held byte waits for; UINT64_MAX: nothing is held. */
static inline uint64_t outbox_waits_for(const struct outbox *o)
{
    return o->mark_count ? o->marks[o->mark_head].floor : UINT64_MAX;
}
/* A source at a place, behind all others. On RES_NO_MEMORY the source is closed. */
enum result outbox_add_stream(struct outbox *o, uint64_t place, uint64_t len, struct sink_source *source) MUST_CHECK;
/* Takes over the streams of another one, whose place 0 is `place` here. */
void outbox_move_streams(struct outbox *o, struct outbox *from, uint64_t place);
/* The source of the first stream, which is dropped; it becomes the caller's. There must be one. */
struct sink_source *outbox_take_source(struct outbox *o);
/* Closes the sources at or behind a place: what was said there is taken back. */
void outbox_cut_streams(struct outbox *o, uint64_t place);
/* The stream whose turn it is and that needs more from its source; NULL: none. */
struct outbox_stream *outbox_hungry(struct outbox *o, uint64_t upto);
/* len bytes of its source, which become the outbox's; none: those of SINK_ELEMENTS have ended. */
void outbox_feed(struct outbox *o, struct outbox_stream *s, uint8_t *chunk, size_t len);
/* What can be written now, up to a place: at most two parts. Returns how many. */
int outbox_gather(struct outbox *o, uint64_t upto, struct iovec iov[2]);
/* n of these bytes were written. */
void outbox_written(struct outbox *o, size_t n);

#endif

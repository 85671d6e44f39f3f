/* What a connection has to say to its client and has not said yet.
 *
 * Bytes have a place in the one long stream of everything ever said to this client (`base` is the place of buf.data[0]).
 * Two things are tied to places: marks, which hold bytes back until the gate has reached a sequence, and streams, long
 * bulks whose bytes are not in the buffer but come in between, at their place, from a source. */
#ifndef VARVE_NET_OUTPUT_H
#define VARVE_NET_OUTPUT_H

#include <sys/uio.h>

#include "base/buf.h"
#include "exec/sink.h"

struct output_mark {
    uint64_t floor, end; /* bytes before `end` wait for `floor` */
};
struct output_stream {
    struct output_stream *next;
    uint64_t at;        /* its place: before this byte */
    uint64_t remaining; /* bytes not yet read from the source */
    struct sink_source *source;
    uint8_t *chunk; /* what was read last */
    size_t chunk_len, chunk_sent;
};
struct output {
    struct buf buf;
    uint64_t base;
    size_t sent; /* bytes of buf that are out */
    struct output_mark *marks;
    unsigned mark_head, mark_count, mark_cap; /* a ring; cap is a power of two */
    struct output_stream *streams, **streams_tail;
};

void output_init(struct output *o);
void output_fini(struct output *o); /* closes sources */

static inline uint64_t output_end(const struct output *o) { return o->base + o->buf.len; }
static inline size_t output_pending(const struct output *o)
{
    return o->buf.len - o->sent + (o->streams ? o->streams->chunk_len - o->streams->chunk_sent : 0);
}
static inline bool output_empty(const struct output *o) { return o->sent == o->buf.len && o->streams == NULL; }
size_t output_memory(const struct output *o);

/* All that is in the buffer waits for floor (or more). */
enum result output_hold(struct output *o, uint64_t floor) MUST_CHECK;
/* Forgets marks the gate has reached, returns the place up to which bytes may leave. */
uint64_t output_release(struct output *o, uint64_t gate);
/* The floor the next held byte waits for; UINT64_MAX: nothing is held. */
static inline uint64_t output_waits_for(const struct output *o)
{
    return o->mark_count ? o->marks[o->mark_head].floor : UINT64_MAX;
}
/* A source at the end of what is there now. On RES_NO_MEMORY the source is closed. */
enum result output_add_stream(struct output *o, uint64_t len, struct sink_source *source) MUST_CHECK;
/* Closes the sources at or behind a place: what was said there is taken back. */
void output_cut_streams(struct output *o, uint64_t place);
/* The stream whose turn it is and that needs more from its source; NULL: none. */
struct output_stream *output_hungry(struct output *o, uint64_t upto);
/* What can be written now, up to a place: at most two parts. Returns how many. */
int output_gather(struct output *o, uint64_t upto, struct iovec iov[2]);
/* n of these bytes were written. */
void output_written(struct output *o, size_t n);

#endif

/* Threads that read the sources of long replies (exec/sink.h), which may wait for the disk, while reactors may not. They
 * are started with the first such reply. */
#ifndef VARVE_NET_STREAMER_H
#define VARVE_NET_STREAMER_H

#include "net/connection.h"
#include "os/thread.h"

#define STREAM_CHUNK (256 * 1024)
#define STREAM_THREADS 2

struct stream_job;
struct streamer {
    struct os_mutex lock;
    struct os_cond more;
    struct stream_job *first, **last; /* under lock, as is stop */
    bool stop;
    int started;
    struct os_thread threads[STREAM_THREADS];
};
void streamer_init(struct streamer *s);
void streamer_stop(struct streamer *s); /* waits; jobs not begun are dropped */
/* Fills the stream's chunk on a thread and flushes the connection afterwards, on its reactor. Holds a reference. */
enum result streamer_read(struct streamer *s, struct connection *c, struct outbox_stream *stream) MUST_CHECK;

#endif

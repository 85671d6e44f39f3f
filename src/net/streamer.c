/* See streamer.h. A job carries its own memory, so that the connection may close while it runs. */
#include "net/streamer.h"

#include <stdlib.h>

#include "base/log.h"
#include "net/net_internal.h"

struct stream_job {
    struct mail mail;
    struct stream_job *next;
    struct connection *connection; /* counted */
    struct outbox_stream *stream;
    size_t want, got;
    uint8_t *chunk;
    enum result result;
};

void streamer_init(struct streamer *s)
{
    *s = (struct streamer){.started = 0};
    os_mutex_init(&s->lock);
    os_cond_init(&s->more);
    os_mutex_lock(&s->lock);
    s->last = &s->first;
    os_mutex_unlock(&s->lock);
}

/* Back on the reactor. */
static void chunk_read(struct reactor *r, struct mail *m)
{
    struct stream_job *job = (struct stream_job *)m;
    struct connection *c = job->connection;
    (void)r;
    c->stream_reading = false;
    if (!c->closed) {
        struct outbox_stream *s = job->stream;
        if (job->result != RES_OK || (job->got == 0 && s->remaining != SINK_ELEMENTS) || job->got > s->remaining) {
            log_warning("client %s closed: its reply cannot be read further: %s", c->peer, result_text(job->result));
            connection_close(c);
        } else {
            outbox_feed(&c->out, s, job->chunk, job->got);
            job->chunk = NULL;
            connection_flush(c);
        }
    }
    connection_unref(c);
    free(job->chunk);
    free(job);
}

static void streamer_main(void *arg)
{
    struct streamer *s = arg;
    os_mutex_lock(&s->lock);
    for (;;) {
        while (s->first == NULL && !s->stop)
            os_cond_wait(&s->more, &s->lock);
        struct stream_job *job = s->first;
        if (job == NULL)
            break;
        s->first = job->next;
        if (s->first == NULL)
            s->last = &s->first;
        os_mutex_unlock(&s->lock);
        job->result = job->stream->source->read(job->stream->source, job->chunk, job->want, &job->got);
        reactor_post(job->connection->reactor, &job->mail);
        os_mutex_lock(&s->lock);
    }
    os_mutex_unlock(&s->lock);
}

enum result streamer_read(struct streamer *s, struct connection *c, struct outbox_stream *stream)
{
    struct stream_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return RES_NO_MEMORY;
    job->want = stream->remaining < STREAM_CHUNK ? (size_t)stream->remaining : STREAM_CHUNK;
    job->chunk = malloc(job->want);
    if (job->chunk == NULL) {
        free(job);
        return RES_NO_MEMORY;
    }
    job->mail.deliver = chunk_read;
    job->connection = c;
    job->stream = stream;
    os_mutex_lock(&s->lock);
    while (s->started < STREAM_THREADS &&
           os_thread_start(&s->threads[s->started], "stream", streamer_main, s) == RES_OK)
        s->started++;
    bool running = s->started > 0;
    if (running) {
        *s->last = job;
        s->last = &job->next;
        c->stream_reading = true;
        connection_ref(c);
        os_cond_signal(&s->more);
    }
    os_mutex_unlock(&s->lock);
    if (running)
        return RES_OK;
    free(job->chunk);
    free(job);
    return RES_NO_MEMORY;
}

void streamer_stop(struct streamer *s)
{
    os_mutex_lock(&s->lock);
    s->stop = true;
    os_cond_broadcast(&s->more);
    os_mutex_unlock(&s->lock);
    for (int i = 0; i < s->started; i++)
        os_thread_join(&s->threads[i]);
    os_mutex_fini(&s->lock);
    os_cond_fini(&s->more);
}

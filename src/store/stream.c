/* A long string as a reply that is read piece by piece while the client takes it: it holds the view and the snapshot of
 * the run that replied, so the bytes are those of that moment, whatever happens to the key meanwhile. */
#include <stdlib.h>

#include "store/store_priv.h"

struct string_stream {
    struct sink_source source; /* first */
    struct front_view *view;   /* counted */
    uint64_t snapshot, offset, end;
    uint8_t key[CHUNK_KEY]; /* of chunk 0; the number at its end is filled in */
};

/* Reads on: whole chunks but for the first and last bytes. */
static enum result stream_read(struct sink_source *source, uint8_t *buf, size_t cap, size_t *len)
{
    struct string_stream *s = (struct string_stream *)source;
    *len = 0;
    while (*len < cap && s->offset < s->end) {
        size_t at = s->offset % STORE_CHUNK, want = STORE_CHUNK - at;
        if (want > cap - *len)
            want = cap - *len;
        if (want > s->end - s->offset)
            want = (size_t)(s->end - s->offset);
        put_be32(s->key + CHUNK_KEY - 4, (uint32_t)(s->offset / STORE_CHUNK));
        struct engine_key key = {.bytes = slice_of(s->key, sizeof s->key)};
        key.hash = engine_hash(key.bytes);
        uint8_t *piece = NULL;
        size_t piece_len = 0;
        struct slice bytes = slice_of(NULL, 0);
        enum result r = front_get_wait(s->view, s->snapshot, &key, &piece, &piece_len);
        if (r == RES_OK)
            r = chunk_bytes(slice_of(piece, piece_len), &bytes);
        if (r != RES_OK && r != RES_NOT_FOUND) {
            free(piece);
            return r;
        }
        /* an absent chunk, and what a chunk does not have up to its end, is zeros */
        size_t have = bytes.len > at ? bytes.len - at : 0;
        have = have < want ? have : want;
        if (have)
            memcpy(buf + *len, bytes.data + at, have);
        memset(buf + *len + have, 0, want - have);
        free(piece);
        *len += want;
        s->offset += want;
    }
    return RES_OK;
}

static void stream_close(struct sink_source *source)
{
    struct string_stream *s = (struct string_stream *)source;
    front_view_unref(s->view);
    free(s);
}

enum result string_stream_reply(struct call *c, const struct object *o, uint64_t offset, uint64_t len)
{
    struct string_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return RES_NO_MEMORY;
    front_view_hold(c->view);
    s->source.read = stream_read;
    s->source.close = stream_close;
    s->view = c->view;
    s->snapshot = c->snapshot;
    s->offset = offset;
    s->end = offset + len;
    chunk_key_put(s->key, o->key->keyspace, o->home, o->id, 0);
    c->reply->ops->bulk_stream(c->reply, len, &s->source);
    return RES_OK;
}

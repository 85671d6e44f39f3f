/* A long string as a reply that is read piece by piece while the client takes it: it holds the view and the snapshot of
 * the run that replied, so the bytes are those of that moment, whatever happens to the key meanwhile. */
#include <stdlib.h>

#include "store/store_priv.h"

struct string_stream {
    struct sink_source source; /* first */
    struct front_view *view;   /* counted */
    uint64_t snapshot, offset, length;
    uint8_t key[ELEMENT_KEY_OBJECT + 1 + 4]; /* of chunk 0; the number at its end is filled in */
};

/* Reads on: whole chunks but for the first and last bytes. */
static enum result stream_read(struct sink_source *source, uint8_t *buf, size_t cap, size_t *len)
{
    struct string_stream *s = (struct string_stream *)source;
    *len = 0;
    while (*len < cap && s->offset < s->length) {
        size_t at = s->offset % STORE_CHUNK, want = STORE_CHUNK - at;
        if (want > cap - *len)
            want = cap - *len;
        if (want > s->length - s->offset)
            want = (size_t)(s->length - s->offset);
        put_be32(s->key + ELEMENT_KEY_OBJECT + 1, (uint32_t)(s->offset / STORE_CHUNK));
        struct engine_key key = {.bytes = slice_of(s->key, sizeof s->key)};
        key.hash = engine_hash(key.bytes);
        uint8_t *piece = NULL;
        size_t piece_len = 0;
        enum result r = front_get_wait(s->view, s->snapshot, &key, &piece, &piece_len);
        if (r == RES_OK && (piece_len < 2 || piece_len > 1 + STORE_CHUNK || piece[0] != PIECE_BYTES))
            r = RES_CORRUPT;
        if (r != RES_OK && r != RES_NOT_FOUND) {
            free(piece);
            return r;
        }
        /* an absent chunk, and what a chunk does not have up to its end, is zeros */
        size_t have = r == RES_OK && piece_len - 1 > at ? piece_len - 1 - at : 0;
        have = have < want ? have : want;
        if (have)
            memcpy(buf + *len, piece + 1 + at, have);
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

enum result string_stream_reply(struct call *c, const struct object *o)
{
    struct engine_key first;
    static const uint8_t number[4];
    enum result r = element_key(c, o, SUBSPACE_STRING, slice_of(number, sizeof number), &first);
    if (r != RES_OK)
        return r;
    struct string_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return RES_NO_MEMORY;
    front_view_hold(c->view);
    s->source.read = stream_read;
    s->source.close = stream_close;
    s->view = c->view;
    s->snapshot = c->snapshot;
    s->length = o->length;
    memcpy(s->key, first.bytes.data, sizeof s->key);
    c->reply->ops->bulk_stream(c->reply, o->length, &s->source);
    return RES_OK;
}

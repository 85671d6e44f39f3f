/* A reply kept as typed values: what an HTTP answer is made of. Heads stand before their elements. */
#ifndef VARVE_NET_HTTP_SINK_H
#define VARVE_NET_HTTP_SINK_H

#include "base/buf.h"
#include "exec/sink.h"

enum http_value_kind { VALUE_NULL, VALUE_STATUS, VALUE_ERROR, VALUE_INTEGER, VALUE_BULK, VALUE_STREAM, VALUE_ARRAY };
struct http_value {
    enum http_value_kind kind;
    union {
        int64_t integer;
        size_t count; /* VALUE_ARRAY: elements that follow */
        size_t at;    /* text: in bytes */
    };
    uint64_t len;
    struct sink_source *source; /* VALUE_STREAM; whoever takes it puts NULL */
};
struct http_sink {
    struct sink sink;
    struct buf *bytes; /* the caller's; the reply's texts are appended */
    struct http_value *values;
    size_t count, cap;
    struct http_value few[8];
};

void http_sink_init(struct http_sink *s, struct buf *bytes);
void http_sink_fini(struct http_sink *s); /* closes sources that nobody has taken */
static inline struct slice http_value_text(const struct http_sink *s, const struct http_value *v)
{
    return slice_of(s->bytes->data + v->at, (size_t)v->len);
}

#endif

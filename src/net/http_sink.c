/* See http_sink.h. */
#include "net/http_sink.h"

#include <stdlib.h>

#include "base/num.h"

static struct http_sink *self(struct sink *s) { return (struct http_sink *)s; }

static struct http_value *more(struct http_sink *s)
{
    if (s->sink.failed)
        return NULL;
    if (s->count == s->cap) {
        size_t cap = s->cap * 2;
        struct http_value *old = s->values == s->few ? NULL : s->values, *v = realloc(old, cap * sizeof *v);
        if (v == NULL) {
            s->sink.failed = true;
            return NULL;
        }
        if (old == NULL)
            memcpy(v, s->few, sizeof s->few);
        s->values = v;
        s->cap = cap;
    }
    return &s->values[s->count++];
}

static void add_text(struct http_sink *s, enum http_value_kind kind, struct slice text)
{
    struct http_value *v = more(s);
    if (v == NULL)
        return;
    *v = (struct http_value){.kind = kind, .at = s->bytes->len, .len = text.len};
    if (buf_append(s->bytes, text.data, text.len) != RES_OK)
        s->sink.failed = true;
}

static void add_number(struct http_sink *s, enum http_value_kind kind, int64_t number)
{
    struct http_value *v = more(s);
    if (v != NULL)
        *v = (struct http_value){.kind = kind, .integer = number};
}

static void on_status(struct sink *s, struct slice text) { add_text(self(s), VALUE_STATUS, text); }
static void on_error(struct sink *s, struct slice text)
{
    sink_note_error(s, text);
    add_text(self(s), VALUE_ERROR, text);
}
static void on_integer(struct sink *s, int64_t value) { add_number(self(s), VALUE_INTEGER, value); }
static void on_bulk(struct sink *s, struct slice value) { add_text(self(s), VALUE_BULK, value); }

static uint8_t *on_bulk_room(struct sink *sink, size_t len)
{
    struct http_sink *s = self(sink);
    struct http_value *v = more(s);
    if (v == NULL)
        return NULL;
    *v = (struct http_value){.kind = VALUE_BULK, .at = s->bytes->len, .len = len};
    if (buf_reserve(s->bytes, len + 1) != RES_OK) {
        s->sink.failed = true;
        return NULL;
    }
    s->bytes->len += len;
    return s->bytes->data + v->at;
}

static void on_bulk_stream(struct sink *sink, uint64_t len, struct sink_source *source)
{
    struct http_value *v = more(self(sink));
    if (v == NULL)
        source->close(source);
    else
        *v = (struct http_value){.kind = VALUE_STREAM, .len = len, .source = source};
}

static void on_null(struct sink *s) { add_number(self(s), VALUE_NULL, 0); }

static void on_array(struct sink *s, size_t count)
{
    s->nested |= count > 0;
    add_number(self(s), VALUE_ARRAY, (int64_t)count);
}
static void on_map(struct sink *s, size_t pairs) { on_array(s, 2 * pairs); }
static void on_attribute(struct sink *s, size_t pairs) { (void)s, (void)pairs; } /* RESP3 alone has them */

static void on_real(struct sink *s, double value)
{
    char text[NUM_DOUBLE_MAX];
    on_bulk(s, slice_of(text, num_format_double(text, value)));
}
static void on_boolean(struct sink *s, bool value) { on_integer(s, value); }
static void on_verbatim(struct sink *s, const char format[4], struct slice text)
{
    (void)format;
    on_bulk(s, text);
}

static size_t on_mark(struct sink *s) { return self(s)->count; }

static void on_rewind(struct sink *sink, size_t mark)
{
    struct http_sink *s = self(sink);
    for (size_t i = s->count; i-- > mark;) {
        struct http_value *v = &s->values[i];
        if (v->kind == VALUE_STATUS || v->kind == VALUE_ERROR || v->kind == VALUE_BULK)
            s->bytes->len = v->at;
        if (v->kind == VALUE_STREAM && v->source != NULL)
            v->source->close(v->source);
    }
    s->count = mark;
    sink_begin(sink);
}

static const struct sink_ops http_ops = {
    .status = on_status,
    .error = on_error,
    .integer = on_integer,
    .bulk = on_bulk,
    .bulk_room = on_bulk_room,
    .bulk_stream = on_bulk_stream,
    .null = on_null,
    .null_array = on_null,
    .array = on_array,
    .map = on_map,
    .set = on_array,
    .push = on_array,
    .attribute = on_attribute,
    .real = on_real,
    .boolean = on_boolean,
    .big_number = on_bulk,
    .verbatim = on_verbatim,
    .mark = on_mark,
    .rewind = on_rewind,
};

void http_sink_init(struct http_sink *s, struct buf *bytes)
{
    s->sink = (struct sink){.ops = &http_ops, .resp = 2};
    s->bytes = bytes;
    s->values = s->few;
    s->count = 0;
    s->cap = sizeof s->few / sizeof s->few[0];
}

void http_sink_fini(struct http_sink *s)
{
    on_rewind(&s->sink, 0);
    if (s->values != s->few)
        free(s->values);
}

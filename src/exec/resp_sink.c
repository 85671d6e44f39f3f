/* The RESP writer: replies as bytes at the end of a buffer, in RESP2 or RESP3 (the Redis serialization protocol,
 * https://redis.io/docs/reference/protocol-spec/). It runs once per command, so the common replies make one room check
 * and one or two copies.
 *
 * When memory runs out, `failed` is set and everything that follows is dropped: a reply with a hole would let the client
 * take one value for another, so the connection is closed instead. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/num.h"
#include "exec/sink.h"

static struct resp_sink *self(struct sink *s) { return (struct resp_sink *)s; }

static __attribute__((noinline)) uint8_t *room_slow(struct resp_sink *s, size_t n)
{
    if (s->sink.failed)
        return NULL;
    if (buf_reserve(s->out, n) != RES_OK) {
        s->sink.failed = true;
        return NULL;
    }
    return s->out->data + s->out->len;
}

/* Room for n more bytes, not yet counted in len. */
static inline uint8_t *room(struct resp_sink *s, size_t n)
{
    struct buf *b = s->out;
    if (unlikely(s->sink.failed || b->cap - b->len < n))
        return room_slow(s, n);
    return b->data + b->len;
}

static inline void put_raw(struct resp_sink *s, const char *text, size_t len)
{
    uint8_t *p = room(s, len);
    if (p) {
        memcpy(p, text, len);
        s->out->len += len;
    }
}

/* "<sign><number>\r\n"; at most HEAD_MAX bytes. */
#define HEAD_MAX (1 + NUM_I64_MAX + 2)
static inline size_t put_head(uint8_t *p, char sign, uint64_t n)
{
    p[0] = (uint8_t)sign;
    size_t at = 1;
    if (n < 10) {
        p[at++] = (uint8_t)('0' + n);
    } else if (n < 100) {
        p[at++] = (uint8_t)('0' + n / 10);
        p[at++] = (uint8_t)('0' + n % 10);
    } else {
        char digits[NUM_I64_MAX];
        size_t len = num_format_u64(digits, n);
        memcpy(p + at, digits, len);
        at += len;
    }
    p[at] = '\r';
    p[at + 1] = '\n';
    return at + 2;
}

static void head(struct resp_sink *s, char sign, uint64_t n)
{
    uint8_t *p = room(s, HEAD_MAX);
    if (p)
        s->out->len += put_head(p, sign, n);
}

static void line(struct resp_sink *s, char sign, struct slice text)
{
    uint8_t *p = room(s, text.len + 3);
    if (!p)
        return;
    p[0] = (uint8_t)sign;
    if (text.len)
        memcpy(p + 1, text.data, text.len);
    p[text.len + 1] = '\r';
    p[text.len + 2] = '\n';
    s->out->len += text.len + 3;
}

static void resp_status(struct sink *s, struct slice text) { line(self(s), '+', text); }

/* An error text may quote what a client sent, so CR and LF in it must not end the line. */
static void resp_error(struct sink *s, struct slice text)
{
    struct resp_sink *r = self(s);
    sink_note_error(s, text);
    size_t start = r->out->len;
    line(r, '-', text);
    if (s->failed)
        return;
    uint8_t *p = r->out->data + start + 1;
    for (size_t i = 0; i < text.len; i++)
        if (p[i] == '\r' || p[i] == '\n')
            p[i] = ' ';
}

static void resp_integer(struct sink *s, int64_t value)
{
    struct resp_sink *r = self(s);
    uint8_t *p = room(r, HEAD_MAX);
    if (!p)
        return;
    if (value >= 0) {
        r->out->len += put_head(p, ':', (uint64_t)value);
        return;
    }
    p[0] = ':';
    size_t n = num_format_i64((char *)p + 1, value);
    p[n + 1] = '\r';
    p[n + 2] = '\n';
    r->out->len += n + 3;
}

static void resp_bulk(struct sink *s, struct slice value)
{
    struct resp_sink *r = self(s);
    uint8_t *p = room(r, HEAD_MAX + value.len + 2);
    if (!p)
        return;
    size_t n = put_head(p, '$', value.len);
    if (value.len)
        memcpy(p + n, value.data, value.len);
    n += value.len;
    p[n] = '\r';
    p[n + 1] = '\n';
    r->out->len += n + 2;
}

static uint8_t *resp_bulk_room(struct sink *s, size_t len)
{
    struct resp_sink *r = self(s);
    uint8_t *p = room(r, HEAD_MAX + len + 2);
    if (!p)
        return NULL;
    size_t n = put_head(p, '$', len);
    p[n + len] = '\r';
    p[n + len + 1] = '\n';
    r->out->len += n + len + 2;
    return p + n;
}

static void read_whole(struct resp_sink *r, uint64_t len, struct sink_source *src)
{
    while (len && !r->sink.failed) {
        size_t want = len < 65536 ? (size_t)len : 65536, got = 0;
        uint8_t *p = room(r, want + 2);
        if (!p)
            break;
        if (src->read(src, p, want, &got) != RES_OK || got == 0 || got > want) {
            r->sink.failed = true;
            break;
        }
        r->out->len += got;
        len -= got;
    }
    src->close(src);
    put_raw(r, "\r\n", 2);
}

static void resp_bulk_stream(struct sink *s, uint64_t len, struct sink_source *src)
{
    struct resp_sink *r = self(s);
    head(r, '$', len);
    if (s->failed)
        src->close(src);
    else if (r->stream)
        r->stream(r, len, src);
    else
        read_whole(r, len, src);
}

static void resp_elements(struct sink *s, struct sink_source *src)
{
    if (s->failed)
        src->close(src);
    else
        self(s)->stream(self(s), SINK_ELEMENTS, src);
}

static void resp_null(struct sink *s)
{
    if (s->resp == 3)
        put_raw(self(s), "_\r\n", 3);
    else
        put_raw(self(s), "$-1\r\n", 5);
}

static void resp_null_array(struct sink *s)
{
    if (s->resp == 3)
        put_raw(self(s), "_\r\n", 3);
    else
        put_raw(self(s), "*-1\r\n", 5);
}

static void resp_array(struct sink *s, size_t count)
{
    s->nested |= count > 0;
    head(self(s), '*', count);
}

static void resp_map(struct sink *s, size_t pairs)
{
    s->nested |= pairs > 0;
    if (s->resp == 3)
        head(self(s), '%', pairs);
    else
        head(self(s), '*', 2 * (uint64_t)pairs);
}

static void resp_set(struct sink *s, size_t count)
{
    s->nested |= count > 0;
    head(self(s), s->resp == 3 ? '~' : '*', count);
}

static void resp_push(struct sink *s, size_t count)
{
    s->nested |= count > 0;
    head(self(s), s->resp == 3 ? '>' : '*', count);
}

static void resp_attribute(struct sink *s, size_t pairs) { head(self(s), '|', pairs); }

static void resp_real_text(struct sink *s, struct slice decimal)
{
    if (s->resp == 3)
        line(self(s), ',', decimal);
    else
        resp_bulk(s, decimal);
}

static void resp_real(struct sink *s, double value)
{
    char text[NUM_DOUBLE_MAX];
    resp_real_text(s, slice_of(text, num_format_double(text, value)));
}

static void resp_boolean(struct sink *s, bool value)
{
    if (s->resp == 3)
        put_raw(self(s), value ? "#t\r\n" : "#f\r\n", 4);
    else
        put_raw(self(s), value ? ":1\r\n" : ":0\r\n", 4);
}

static void resp_big_number(struct sink *s, struct slice decimal)
{
    if (s->resp == 3)
        line(self(s), '(', decimal);
    else
        resp_bulk(s, decimal);
}

static void resp_verbatim(struct sink *s, const char format[4], struct slice text)
{
    if (s->resp != 3) {
        resp_bulk(s, text);
        return;
    }
    struct resp_sink *r = self(s);
    uint8_t *p = room(r, HEAD_MAX + 4 + text.len + 2);
    if (!p)
        return;
    size_t n = put_head(p, '=', text.len + 4);
    memcpy(p + n, format, 3);
    p[n + 3] = ':';
    n += 4;
    if (text.len)
        memcpy(p + n, text.data, text.len);
    n += text.len;
    p[n] = '\r';
    p[n + 1] = '\n';
    r->out->len += n + 2;
}

static size_t resp_mark(struct sink *s) { return self(s)->out->len; }

/* failed stays: the connection is to be closed even if the repeated reply would fit. */
static void resp_rewind(struct sink *s, size_t mark)
{
    struct resp_sink *r = self(s);
    if (r->rewound)
        r->rewound(r, mark);
    r->out->len = mark;
    sink_begin(s);
}

static const struct sink_ops resp_ops = {
    .status = resp_status,
    .error = resp_error,
    .integer = resp_integer,
    .bulk = resp_bulk,
    .bulk_room = resp_bulk_room,
    .bulk_stream = resp_bulk_stream,
    .elements = resp_elements,
    .null = resp_null,
    .null_array = resp_null_array,
    .array = resp_array,
    .map = resp_map,
    .set = resp_set,
    .push = resp_push,
    .attribute = resp_attribute,
    .real = resp_real,
    .real_text = resp_real_text,
    .boolean = resp_boolean,
    .big_number = resp_big_number,
    .verbatim = resp_verbatim,
    .mark = resp_mark,
    .rewind = resp_rewind,
};

void resp_sink_init(struct resp_sink *s, struct buf *out, int resp)
{
    memset(s, 0, sizeof *s);
    s->sink.ops = &resp_ops;
    s->sink.resp = resp;
    s->out = out;
}

/* Answers as bytes. A status line, Date, what the answer itself adds, the length, the body: one room check and a few copies
 * for the usual answer. */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/num.h"
#include "net/net_internal.h"
#include "proto/json.h"

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {417, "Expectation Failed"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

/* ---- header lines ---- */

void http_line(struct http_state *s, const char *fmt, ...)
{
    va_list ap;
    size_t room = sizeof s->lines - s->lines_len;
    va_start(ap, fmt);
    int n = vsnprintf(s->lines + s->lines_len, room, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n + 2 >= room)
        return;
    s->lines_len += (size_t)n;
    memcpy(s->lines + s->lines_len, "\r\n", 2);
    s->lines_len += 2;
}

/* Made once a second and thread. */
struct slice http_date_line(uint64_t now_ms)
{
    static _Thread_local struct {
        uint64_t second;
        size_t len;
        char text[48];
    } date;
    if (date.second != now_ms / 1000) {
        time_t t = (time_t)(now_ms / 1000);
        struct tm tm;
        gmtime_r(&t, &tm);
        date.second = now_ms / 1000;
        date.len = strftime(date.text, sizeof date.text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    }
    return slice_of(date.text, date.len);
}

static uint8_t *put(uint8_t *p, const void *bytes, size_t len)
{
    memcpy(p, bytes, len);
    return p + len;
}
#define PUT(p, text) put(p, "" text, sizeof(text) - 1)

static uint8_t *put_status(uint8_t *p, int status)
{
    if (status == 200)
        return PUT(p, "HTTP/1.1 200 OK\r\n");
    const char *reason = http_reason(status);
    p = PUT(p, "HTTP/1.1 ");
    *p++ = (uint8_t)('0' + status / 100);
    *p++ = (uint8_t)('0' + status / 10 % 10);
    *p++ = (uint8_t)('0' + status % 10);
    *p++ = ' ';
    p = put(p, reason, strlen(reason));
    return PUT(p, "\r\n");
}

#define HEAD_ROOM 512 /* for all but the lines */

/* Everything up to the body; more: bytes that will follow at once. */
static bool say_head(struct connection *c, int status, const char *type, uint64_t len, size_t more)
{
    struct http_state *s = c->http;
    struct buf *out = &c->out.buf;
    if (buf_reserve(out, HEAD_ROOM + s->lines_len + more) != RES_OK) {
        connection_close(c);
        return false;
    }
    struct slice date = http_date_line(c->reactor->now_ms);
    uint8_t *p = put_status(out->data + out->len, status);
    p = put(p, date.data, date.len);
    if (type != NULL) {
        p = PUT(p, "Content-Type: ");
        p = put(p, type, strlen(type));
        p = PUT(p, "\r\n");
    }
    p = put(p, s->lines, s->lines_len);
    s->lines_len = 0;
    if (status != 204 && status != 304) {
        p = PUT(p, "Content-Length: ");
        p += num_format_u64((char *)p, len);
        p = PUT(p, "\r\n");
    }
    if (c->closing || c->lingers || !s->m.keep_alive)
        p = PUT(p, "Connection: close\r\n");
    else if (s->m.http10)
        p = PUT(p, "Connection: keep-alive\r\n");
    p = PUT(p, "\r\n");
    out->len = (size_t)(p - out->data);
    stat_add(&c->reactor->http.answers[status / 100], 1);
    return true;
}

/* A HEAD is answered without the body it asks about; so are statuses that have none. */
static bool has_body(const struct http_state *s, int status)
{
    return s->m.verb != VERB_HEAD && status != 204 && status != 304;
}

void http_say(struct connection *c, int status, const char *type, struct slice body)
{
    size_t more = has_body(c->http, status) ? body.len : 0;
    if (!say_head(c, status, type, body.len, more))
        return;
    if (more > 0) {
        memcpy(c->out.buf.data + c->out.buf.len, body.data, more);
        c->out.buf.len += more;
    }
}

void http_say_stream(struct connection *c, int status, const char *type, struct sink_source *source, uint64_t len)
{
    if (!say_head(c, status, type, len, 0) || !has_body(c->http, status)) {
        source->close(source);
        return;
    }
    c->wrote_ms = c->reactor->now_ms;
    if (outbox_add_stream(&c->out, outbox_end(&c->out), len, source) != RES_OK)
        connection_close(c);
}

/* ---- errors ---- */

const char *http_error_type(enum http_style style)
{
    return style == STYLE_PROBLEM   ? "application/problem+json"
           : style == STYLE_COMMAND ? "application/json"
                                    : "text/plain; charset=utf-8";
}

enum result http_error_body(struct buf *out, enum http_style style, int status, const char *detail)
{
    enum result r;
    switch (style) {
    case STYLE_PROBLEM:
        r = buf_printf(out, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":", http_reason(status),
                       status);
        break;
    case STYLE_COMMAND:
        r = buf_append(out, "{\"error\":", 9);
        break;
    default:
        return buf_printf(out, "%s\n", detail);
    }
    if (r == RES_OK)
        r = json_put_string(out, slice_str(detail));
    return r == RES_OK ? buf_append(out, "}\n", 2) : r;
}

void http_say_error(struct connection *c, int status, const char *detail)
{
    enum http_style style = c->http->route.style;
    struct buf body = BUF_INIT;
    if (http_error_body(&body, style, status, detail) == RES_OK)
        http_say(c, status, http_error_type(style), buf_slice(&body));
    else
        connection_close(c);
    buf_fini(&body);
}

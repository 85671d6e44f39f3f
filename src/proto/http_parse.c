/* See http_parse.h. The head is read three times, each pass small: lines are found and checked as they come
 * (scan_head), llhttp takes the whole head apart (read_head), and what it found is checked for sense (check_head). */
#include "proto/http_parse.h"

#include <stdlib.h>

#include <llhttp.h>

#define FRAMING_FREE HTTP_HEAD_MAX /* bytes that chunk lines and trailers may take ... */
#define FRAMING_PER_CHUNK 32       /* ... and for each chunk */

/* What a byte may be part of. */
enum { IN_TOKEN = 1, IN_LINE = 2, IN_TARGET = 4, IN_HOST = 8 };
static const uint8_t classes[256] = {
    ['\t'] = IN_LINE,
    [' '] = IN_LINE,
    ['!'] = 7,
    ['"'] = 6,
    ['$'] = 7,
    ['%'] = 15,
    ['&'] = 7,
    ['\''] = 7,
    ['('] = 6,
    [')'] = 6,
    ['*'] = 7,
    ['+'] = 7,
    ['#'] = IN_TOKEN | IN_LINE,
    [','] = 6,
    ['-'] = 15,
    ['.'] = 15,
    ['/'] = 6,
    ['0' ... '9'] = 15,
    [':'] = 14,
    [';'] = 6,
    ['<'] = 6,
    ['='] = 6,
    ['>'] = 6,
    ['?'] = 6,
    ['@'] = 6,
    ['A' ... 'Z'] = 15,
    ['['] = 14,
    ['\\'] = 6,
    [']'] = 14,
    ['^'] = 7,
    ['_'] = 15,
    ['`'] = 7,
    ['a' ... 'z'] = 15,
    ['{'] = 6,
    ['|'] = 7,
    ['}'] = 6,
    ['~'] = 7,
    [0x80 ... 0xff] = IN_LINE,
};

static bool all_of(struct slice s, uint8_t class)
{
    for (size_t i = 0; i < s.len; i++)
        if (!(classes[s.data[i]] & class))
            return false;
    return true;
}

static enum http_outcome refuse(struct http_parser *p, int status, const char *why)
{
    p->status = status;
    p->why = why;
    return HTTP_REFUSED;
}

void http_parser_fini(struct http_parser *p)
{
    free(p->llhttp);
    p->llhttp = NULL;
}

/* ---- lines ---- */

static enum http_outcome check_header_line(struct http_parser *p, struct slice line)
{
    if (line.data[0] == ' ' || line.data[0] == '\t')
        return refuse(p, 400, "folded header line");
    if (++p->lines > HTTP_LINES_MAX)
        return refuse(p, 431, "too many header lines");
    const uint8_t *colon = memchr(line.data, ':', line.len);
    if (colon == NULL || colon == line.data || !all_of(slice_of(line.data, (size_t)(colon - line.data)), IN_TOKEN))
        return refuse(p, 400, "malformed header name");
    return HTTP_MORE;
}

/* A line without its CR LF. HTTP_WHOLE: the empty one that ends the head. */
static enum http_outcome check_line(struct http_parser *p, struct slice line)
{
    bool first = p->start == p->line_at;
    if (line.len == 0) {
        if (!first)
            return HTTP_WHOLE;
        p->start += 2; /* an empty line before a request is passed over */
        return HTTP_MORE;
    }
    if (!all_of(line, IN_LINE))
        return refuse(p, 400, "control character in the head");
    if (!first)
        return check_header_line(p, line);
    return line.len > HTTP_LINE_MAX ? refuse(p, 414, "request line too long") : HTTP_MORE;
}

static enum http_outcome scan_head(struct http_parser *p, const uint8_t *data, size_t len)
{
    size_t end = len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX;
    while (p->scanned < end) {
        const uint8_t *lf = memchr(data + p->scanned, '\n', end - p->scanned);
        if (lf == NULL) {
            p->scanned = (uint32_t)end;
            break;
        }
        size_t at = (size_t)(lf - data);
        if (at == p->line_at || data[at - 1] != '\r')
            return refuse(p, 400, "line without CR");
        enum http_outcome o = check_line(p, slice_of(data + p->line_at, at - 1 - p->line_at));
        p->scanned = p->line_at = (uint32_t)at + 1;
        if (o != HTTP_MORE)
            return o;
    }
    if (p->line_at == p->start && p->scanned - p->line_at > HTTP_LINE_MAX + 1)
        return refuse(p, 414, "request line too long");
    if (p->scanned == HTTP_HEAD_MAX)
        return refuse(p, 431, "head too large");
    return HTTP_MORE;
}

/* ---- llhttp ---- */

/* While llhttp runs. */
struct reading {
    struct http_parser *p;
    uint8_t *data;
    uint64_t body_max;
    int field; /* FIELD_COUNT: one that nobody looks at */
    bool has_head, has_all, refused;
};

static struct http_span span_of(const struct reading *r, const char *at, size_t len)
{
    return (struct http_span){(uint32_t)((const uint8_t *)at - r->data), (uint32_t)len};
}

static int on_url(llhttp_t *l, const char *at, size_t len)
{
    struct reading *r = l->data;
    r->p->target = span_of(r, at, len);
    return 0;
}

static int known_field(struct slice name)
{
    static const char *const names[FIELD_COUNT] = {
        [FIELD_HOST] = "host",
        [FIELD_CONTENT_LENGTH] = "content-length",
        [FIELD_TRANSFER_ENCODING] = "transfer-encoding",
        [FIELD_EXPECT] = "expect",
        [FIELD_AUTHORIZATION] = "authorization",
        [FIELD_CONTENT_TYPE] = "content-type",
        [FIELD_IF_MATCH] = "if-match",
        [FIELD_IF_NONE_MATCH] = "if-none-match",
        [FIELD_ORIGIN] = "origin",
        [FIELD_UPSTASH_ENCODING] = "upstash-encoding",
    };
    static const uint8_t lengths[FIELD_COUNT] = {4, 14, 17, 6, 13, 12, 8, 13, 6, 16};
    for (int i = 0; i < FIELD_COUNT; i++)
        if (lengths[i] == name.len && slice_eq_nocase(name, names[i]))
            return i;
    return FIELD_COUNT;
}

static int on_field(llhttp_t *l, const char *at, size_t len)
{
    struct reading *r = l->data;
    if (r->has_head)
        return 0; /* a trailer */
    r->field = known_field(slice_of(at, len));
    if (r->field == FIELD_COUNT)
        return 0;
    if (r->p->seen & 1u << r->field) {
        refuse(r->p, 400, "a header that may come once came twice");
        r->refused = true;
        return -1;
    }
    r->p->seen |= 1u << r->field;
    return 0;
}

static int on_value(llhttp_t *l, const char *at, size_t len)
{
    struct reading *r = l->data;
    if (r->has_head || r->field == FIELD_COUNT)
        return 0;
    while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t'))
        len--;
    r->p->field[r->field] = span_of(r, at, len);
    return 0;
}

static int on_head(llhttp_t *l)
{
    struct reading *r = l->data;
    r->has_head = true;
    l->upgrade = 0; /* nothing is spoken here but HTTP/1 */
    return 0;
}

static int on_body(llhttp_t *l, const char *at, size_t len)
{
    struct reading *r = l->data;
    struct http_parser *p = r->p;
    if (len > r->body_max - p->body_len) {
        refuse(p, 413, "value too large");
        r->refused = true;
        return -1;
    }
    memmove(r->data + p->head_len + p->body_len, at, len);
    p->body_len += len;
    return 0;
}

static int on_chunk(llhttp_t *l)
{
    const struct reading *r = l->data;
    r->p->framing -= r->p->framing < FRAMING_PER_CHUNK ? r->p->framing : FRAMING_PER_CHUNK;
    return 0;
}

static int on_end(llhttp_t *l)
{
    struct reading *r = l->data;
    r->has_all = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t callbacks = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_chunk_header = on_chunk,
    .on_message_complete = on_end,
};

static enum http_verb verb_of(struct slice name)
{
    static const struct {
        struct slice name;
        enum http_verb verb;
    } verbs[] = {
        {{(const uint8_t *)"GET", 3}, VERB_GET},       {{(const uint8_t *)"PUT", 3}, VERB_PUT},
        {{(const uint8_t *)"POST", 4}, VERB_POST},     {{(const uint8_t *)"HEAD", 4}, VERB_HEAD},
        {{(const uint8_t *)"DELETE", 6}, VERB_DELETE},
    };
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (slice_eq(name, verbs[i].name))
            return verbs[i].verb;
    return VERB_OTHER;
}

static enum http_outcome llhttp_error(struct http_parser *p, const llhttp_t *l)
{
    switch (llhttp_get_errno(l)) {
    case HPE_INVALID_URL:
        return refuse(p, 400, "malformed request target");
    case HPE_INVALID_CHUNK_SIZE:
        return refuse(p, 400, "malformed chunk");
    default:
        return refuse(p, 400, "malformed request");
    }
}

/* "METHOD target HTTP/1.1" with single spaces; *space is the first of them. */
static enum http_outcome check_request_line(struct http_parser *p, const char *line, const char **space)
{
    const char *end = rawmemchr(line, '\r'); /* there is one */
    const char *first = memchr(line, ' ', (size_t)(end - line));
    const char *last = memrchr(line, ' ', (size_t)(end - line));
    if (first == NULL || first == line || last - first < 2 || !all_of(slice_of(line, (size_t)(first - line)), IN_TOKEN))
        return refuse(p, 400, "malformed request line");
    if (!all_of(slice_of(first + 1, (size_t)(last - first) - 1), IN_TARGET))
        return refuse(p, 400, "malformed request target");
    const char *version = last + 1;
    if (end - version != 8 || memcmp(version, "HTTP/", 5) != 0 || version[5] < '0' || version[5] > '9' ||
        version[6] != '.' || version[7] < '0' || version[7] > '9')
        return refuse(p, 400, "malformed request line");
    if (version[5] != '1' || version[7] > '1')
        return refuse(p, 505, "HTTP version not supported");
    *space = first;
    return HTTP_WHOLE;
}

/* The whole head, which lies at data + start. A method that llhttp does not know is not for it to refuse: it is shown a
 * GET instead. */
static enum http_outcome read_head(struct http_parser *p, uint8_t *data, llhttp_t *l)
{
    struct reading r = {.p = p, .data = data, .field = FIELD_COUNT};
    const char *at = (const char *)data + p->start, *end = (const char *)data + p->head_len;
    const char *space;
    if (check_request_line(p, at, &space) != HTTP_WHOLE)
        return HTTP_REFUSED;
    p->verb = verb_of(slice_of(at, (size_t)(space - at)));
    llhttp_init(l, HTTP_REQUEST, &callbacks);
    l->data = &r;
    llhttp_errno_t e = HPE_OK;
    if (p->verb == VERB_OTHER) {
        e = llhttp_execute(l, "GET", 3);
        at = space;
    }
    if (e == HPE_OK)
        e = llhttp_execute(l, at, (size_t)(end - at));
    l->data = NULL;
    if (r.refused)
        return HTTP_REFUSED;
    if (!r.has_head || (e != HPE_OK && e != HPE_PAUSED))
        return llhttp_error(p, l);
    p->http10 = llhttp_get_http_minor(l) == 0;
    p->keep_alive = llhttp_should_keep_alive(l) != 0;
    return HTTP_WHOLE;
}

/* ---- sense ---- */

static bool has(const struct http_parser *p, enum http_field f) { return (p->seen & 1u << f) != 0; }
static struct slice field(const struct http_parser *p, const uint8_t *data, enum http_field f)
{
    return slice_of(data + p->field[f].at, p->field[f].len);
}

static bool plain_number(struct slice s, uint64_t *out)
{
    *out = 0;
    if (s.len == 0 || s.len > 18)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        *out = *out * 10 + (s.data[i] - '0');
    }
    return true;
}

static enum http_outcome check_body_headers(struct http_parser *p, const uint8_t *data, uint64_t body_max)
{
    bool sized = has(p, FIELD_CONTENT_LENGTH), coded = has(p, FIELD_TRANSFER_ENCODING);
    if (sized && !plain_number(field(p, data, FIELD_CONTENT_LENGTH), &p->content_length))
        return refuse(p, 400, "malformed Content-Length");
    if (sized && coded)
        return refuse(p, 400, "both Content-Length and Transfer-Encoding");
    if (coded && (p->http10 || !slice_eq_nocase(field(p, data, FIELD_TRANSFER_ENCODING), "chunked")))
        return refuse(p, 400, "unknown Transfer-Encoding");
    if (p->content_length > body_max)
        return refuse(p, 413, "value too large");
    return HTTP_WHOLE;
}

static enum http_outcome check_head(struct http_parser *p, const uint8_t *data, uint64_t body_max)
{
    struct slice host = field(p, data, FIELD_HOST);
    if (!has(p, FIELD_HOST) && !p->http10)
        return refuse(p, 400, "no Host");
    if (has(p, FIELD_HOST) && (host.len == 0 || !all_of(host, IN_HOST)))
        return refuse(p, 400, "malformed Host");
    if (has(p, FIELD_EXPECT) && !p->http10) {
        if (!slice_eq_nocase(field(p, data, FIELD_EXPECT), "100-continue"))
            return refuse(p, 417, "unknown expectation");
        p->expects_continue = true;
    }
    return check_body_headers(p, data, body_max);
}

/* ---- bodies ---- */

static enum http_outcome begin_body(struct http_parser *p, const llhttp_t *l)
{
    if (!has(p, FIELD_TRANSFER_ENCODING)) {
        p->state = HTTP_IN_BODY;
        return HTTP_MORE;
    }
    p->state = HTTP_IN_CHUNKS;
    llhttp_t *kept = malloc(sizeof *kept);
    if (kept == NULL)
        return HTTP_NO_MEMORY;
    *kept = *l;
    p->llhttp = kept;
    return HTTP_MORE;
}

/* Everything behind the decoded bytes goes through llhttp, and away. */
static enum http_outcome read_chunks(struct http_parser *p, uint8_t *data, size_t *len, uint64_t body_max, size_t *used)
{
    llhttp_t *l = p->llhttp;
    struct reading r = {.p = p, .data = data, .body_max = body_max, .field = FIELD_COUNT, .has_head = true};
    size_t from = p->head_len + p->body_len, had = p->body_len;
    if (from == *len)
        return HTTP_MORE;
    l->data = &r;
    llhttp_errno_t e = llhttp_execute(l, (const char *)data + from, *len - from);
    l->data = NULL;
    if (r.refused)
        return HTTP_REFUSED;
    if (r.has_all) {
        *used = (size_t)((const uint8_t *)llhttp_get_error_pos(l) - data);
        p->state = HTTP_DONE;
        return HTTP_WHOLE;
    }
    if (e != HPE_OK)
        return llhttp_error(p, l);
    p->framing += *len - from - (p->body_len - had);
    if (p->framing > FRAMING_FREE)
        return refuse(p, 431, "too much around the chunks");
    *len = p->head_len + p->body_len;
    return HTTP_MORE;
}

enum http_outcome http_parse(struct http_parser *p, uint8_t *data, size_t *len, uint64_t body_max, size_t *used)
{
    if (p->state == HTTP_IN_HEAD) {
        llhttp_t l;
        enum http_outcome o = scan_head(p, data, *len);
        if (o != HTTP_WHOLE)
            return o;
        p->head_len = p->scanned;
        o = read_head(p, data, &l);
        if (o == HTTP_WHOLE)
            o = check_head(p, data, body_max);
        if (o == HTTP_WHOLE)
            o = begin_body(p, &l);
        if (o != HTTP_MORE)
            return o;
    }
    if (p->state == HTTP_IN_CHUNKS)
        return read_chunks(p, data, len, body_max, used);
    if (*len - p->head_len < p->content_length)
        return HTTP_MORE;
    p->body_len = (size_t)p->content_length;
    *used = p->head_len + p->body_len;
    p->state = HTTP_DONE;
    return HTTP_WHOLE;
}

uint64_t http_parser_missing(const struct http_parser *p, size_t len)
{
    return p->state == HTTP_IN_BODY ? p->head_len + p->content_length - len : 0;
}

/* ---- what was found ---- */

/* "http://host/path" is as good as "/path" with that host. */
static void split_target(struct http_message *m)
{
    struct slice t = m->target;
    if (t.len > 7 && slice_eq_nocase(slice_of(t.data, 7), "http://")) {
        size_t n = 7;
        while (n < t.len && t.data[n] != '/' && t.data[n] != '?')
            n++;
        m->field[FIELD_HOST] = slice_of(t.data + 7, n - 7);
        t = slice_of(t.data + n, t.len - n);
        if (t.len == 0 || t.data[0] == '?')
            m->path = SLICE_LIT("/");
    }
    const uint8_t *mark = t.len ? memchr(t.data, '?', t.len) : NULL;
    size_t path = mark ? (size_t)(mark - t.data) : t.len;
    if (m->path.len == 0)
        m->path = slice_of(t.data, path);
    m->query = mark ? slice_of(mark + 1, t.len - path - 1) : slice_of(NULL, 0);
}

void http_message_of(const struct http_parser *p, const uint8_t *data, struct http_message *out)
{
    *out = (struct http_message){.verb = p->verb, .http10 = p->http10, .keep_alive = p->keep_alive};
    out->target = slice_of(data + p->target.at, p->target.len);
    for (int i = 0; i < FIELD_COUNT; i++)
        if (p->seen & 1u << i)
            out->field[i] = field(p, data, (enum http_field)i);
    split_target(out);
    out->body = slice_of(data + p->head_len, p->body_len);
}

static int hex(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

bool http_percent_decode(struct slice in, uint8_t *out, size_t *len)
{
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.data[i];
        if (c == '%') {
            if (in.len - i < 3 || hex(in.data[i + 1]) < 0 || hex(in.data[i + 2]) < 0)
                return false;
            c = (uint8_t)(hex(in.data[i + 1]) << 4 | hex(in.data[i + 2]));
            i += 2;
        }
        out[n++] = c;
    }
    *len = n;
    return true;
}

bool http_query_value(struct slice query, const char *name, struct slice *out)
{
    size_t name_len = strlen(name);
    while (query.len > 0) {
        const uint8_t *end = memchr(query.data, '&', query.len);
        size_t len = end ? (size_t)(end - query.data) : query.len;
        if (len > name_len && query.data[name_len] == '=' && memcmp(query.data, name, name_len) == 0) {
            *out = slice_of(query.data + name_len + 1, len - name_len - 1);
            return true;
        }
        query.data += len + (end != NULL);
        query.len -= len + (end != NULL);
    }
    return false;
}

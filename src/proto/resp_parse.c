/* Two ways through the bytes, one grammar.
 *
 * The short way (parse_whole) takes a request that lies whole in the buffer, in one pass without state: nearly all of
 * them. It answers "not mine" at the first thing out of the ordinary: bytes missing, more arguments than there is room
 * for, an odd number. The long way (parse_step) then starts from the beginning of the same request, keeps its state in a
 * resp_partial across reads, and is the only one that knows about errors.
 *
 * Offsets in a resp_partial count from the beginning of the request (in->pos, which stays there until the request is
 * whole), because the buffer moves when it grows. */
#include "proto/resp_parse.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define UNAUTHENTICATED_ARGUMENTS 10
#define UNAUTHENTICATED_BULK 16384
/* Memory for a big argument grows with what has come of it: a length that was only announced would count as memory in
 * use, and stop everybody's writes. */
#define BIG_FIRST (256 * 1024)

struct argument {
    size_t offset, len; /* of the bytes in the buffer */
    uint8_t *own;       /* or memory of their own */
};
struct resp_partial {
    size_t at;         /* scanned so far */
    size_t line;       /* of an unfinished line: no end before at + line */
    int64_t remaining; /* arguments to come; 0: the first line is not whole yet */
    int64_t bulk;      /* length of the argument being received; -1: its header is not whole yet */
    uint8_t *big;      /* its own memory, when it is big ... */
    size_t big_cap;    /* ... how long that is so far ... */
    size_t big_fill;   /* ... and how much of it has come */
    struct argument *args;
    struct slice *argv; /* the finished request */
    size_t argc, cap;
    bool inline_form;
    bool finished;
    char error[128];
};

static void partial_free(struct resp_partial *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->argc && p->args != NULL; i++)
        free(p->args[i].own);
    free(p->big);
    free(p->args);
    free(p->argv);
    free(p);
}

void resp_input_fini(struct resp_input *in)
{
    partial_free(in->partial);
    free(in->data);
    resp_input_init(in);
}

void resp_request_done(struct resp_input *in)
{
    assert(in->partial == NULL || in->partial->finished);
    partial_free(in->partial);
    in->partial = NULL;
}

/* ---- the short way ---- */

/* A number of at most six digits without a leading zero, followed by \r and one more byte. Returns what is behind them,
 * or NULL. */
static inline const uint8_t *short_number(const uint8_t *p, const uint8_t *end, uint32_t *out)
{
    if (end - p < 3)
        return NULL;
    uint32_t v = (uint32_t)*p - '0';
    if (v > 9 || (v == 0 && p[1] != '\r'))
        return NULL;
    const uint8_t *stop = end - p > 8 ? p + 6 : end - 2;
    for (p++; p <= stop; p++) {
        uint32_t digit = (uint32_t)*p - '0';
        if (digit > 9) {
            if (*p != '\r')
                return NULL;
            *out = v;
            return p + 2;
        }
        v = v * 10 + digit;
    }
    return NULL;
}

static int parse_whole(struct resp_input *in, const struct resp_limits *limits, struct slice *argv, int room)
{
    const uint8_t *p = in->data + in->pos, *end = in->data + in->len;
    uint32_t count, len;
    if (*p != '*' || (p = short_number(p + 1, end, &count)) == NULL || count == 0 || count > (uint32_t)room)
        return 0;
    if (!limits->authenticated && count > UNAUTHENTICATED_ARGUMENTS)
        return 0;
    uint64_t bulk_max = limits->bulk_max;
    if (!limits->authenticated && bulk_max > UNAUTHENTICATED_BULK)
        bulk_max = UNAUTHENTICATED_BULK;
    for (uint32_t i = 0; i < count; i++) {
        if (p >= end || *p != '$' || (p = short_number(p + 1, end, &len)) == NULL)
            return 0;
        if ((size_t)(end - p) < (size_t)len + 2 || len > bulk_max)
            return 0;
        argv[i] = slice_of(p, len);
        p += len + 2;
    }
    in->pos = (size_t)(p - in->data);
    return (int)count;
}

/* ---- the long way ---- */

static enum resp_status fail(struct resp_partial *p, struct resp_request *out, const char *what)
{
    snprintf(p->error, sizeof p->error, "ERR Protocol error: %s", what);
    out->error = p->error;
    return RESP_ERROR;
}

/* A decimal number as strict as Redis': no plus, no leading zeros, no spaces. */
static bool strict_number(const uint8_t *p, size_t len, int64_t *out)
{
    bool negative = len > 0 && *p == '-';
    p += negative, len -= negative;
    if (len == 0 || len > 19 || (*p == '0' && (len > 1 || negative)))
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(p[i] - '0'); /* 19 digits fit */
    }
    if (v > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* Finds the end of a header line. RESP_REQUEST: *line is it, without sign and end, and p->at is behind it. */
static enum resp_status header_line(struct resp_input *in, struct resp_partial *p, struct slice *line)
{
    const uint8_t *begin = in->data + in->pos + p->at;
    size_t have = in->len - in->pos - p->at;
    const uint8_t *cr = have > p->line ? memchr(begin + p->line, '\r', have - p->line) : NULL;
    if (cr == NULL || (size_t)(cr - begin) + 2 > have) {
        p->line = cr ? (size_t)(cr - begin) : have;
        return cr == NULL && have > RESP_LINE_MAX ? RESP_ERROR : RESP_MORE;
    }
    *line = slice_of(begin + 1, cr > begin ? (size_t)(cr - begin) - 1 : 0);
    p->line = 0;
    p->at += (size_t)(cr - begin) + 2;
    return RESP_REQUEST;
}

static enum resp_status array_head(struct resp_input *in, struct resp_partial *p, const struct resp_limits *limits,
                                   struct resp_request *out)
{
    struct slice line;
    int64_t count;
    enum resp_status status = header_line(in, p, &line);
    if (status == RESP_ERROR)
        return fail(p, out, "too big mbulk count string");
    if (status != RESP_REQUEST)
        return status;
    if (!strict_number(line.data, line.len, &count) || count > INT_MAX)
        return fail(p, out, "invalid multibulk length");
    if (count > UNAUTHENTICATED_ARGUMENTS && !limits->authenticated)
        return fail(p, out, "unauthenticated multibulk length");
    p->remaining = count > 0 ? count : 0;
    p->bulk = -1;
    p->finished = count <= 0;
    return RESP_REQUEST;
}

static enum resp_status bulk_head(struct resp_input *in, struct resp_partial *p, const struct resp_limits *limits,
                                  struct resp_request *out)
{
    struct slice line;
    int64_t len;
    enum resp_status status = header_line(in, p, &line);
    if (status == RESP_ERROR)
        return fail(p, out, "too big bulk count string");
    if (status != RESP_REQUEST)
        return status;
    uint8_t sign = *(line.data - 1);
    if (sign != '$') {
        char what[32];
        snprintf(what, sizeof what, "expected '$', got '%c'", sign);
        return fail(p, out, what);
    }
    if (!strict_number(line.data, line.len, &len) || len < 0 || (uint64_t)len > limits->bulk_max)
        return fail(p, out, "invalid bulk length");
    if (len > UNAUTHENTICATED_BULK && !limits->authenticated)
        return fail(p, out, "unauthenticated bulk length");
    p->bulk = len;
    return RESP_REQUEST;
}

static bool add_argument(struct resp_partial *p, size_t offset, size_t len, uint8_t *own)
{
    if (p->argc == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 8;
        struct argument *args = realloc(p->args, cap * sizeof *args);
        if (args == NULL)
            return false;
        p->args = args;
        p->cap = cap;
    }
    p->args[p->argc++] = (struct argument){offset, len, own};
    return true;
}

/* The bytes of an argument whose header is known. */
static enum resp_status bulk_body(struct resp_input *in, struct resp_partial *p)
{
    size_t have = in->len - in->pos - p->at;
    size_t len = (size_t)p->bulk;
    if (p->big == NULL && have < len + 2) {
        if (len <= RESP_BIG_ARGUMENT)
            return RESP_MORE;
        /* What has come of it moves to its place and leaves the buffer, in which the bytes behind it will follow. */
        p->big_cap = len < BIG_FIRST ? len : BIG_FIRST;
        if (p->big_cap < have)
            p->big_cap = have < len ? have : len;
        p->big = malloc(p->big_cap);
        if (p->big == NULL)
            return RESP_NO_MEMORY;
        p->big_fill = have < len ? have : len;
        uint8_t *begin = in->data + in->pos + p->at;
        memcpy(p->big, begin, p->big_fill);
        memmove(begin, begin + p->big_fill, have - p->big_fill);
        in->len -= p->big_fill;
        have -= p->big_fill;
    }
    if (p->big != NULL) {
        if (p->big_fill < len || have < 2)
            return RESP_MORE;
        if (!add_argument(p, 0, len, p->big))
            return RESP_NO_MEMORY;
        p->big = NULL;
        p->at += 2;
    } else {
        if (!add_argument(p, p->at, len, NULL))
            return RESP_NO_MEMORY;
        p->at += len + 2;
    }
    p->bulk = -1;
    p->finished = --p->remaining == 0;
    return RESP_REQUEST;
}

/* ---- inline requests ---- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint8_t unescape(uint8_t c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Unquotes one word of [*at, end) in place, to out <= *at: a word is never longer than its source. False: a quote that
 * does not close, or is not followed by a space. */
static bool inline_word(const uint8_t **at, const uint8_t *end, uint8_t *out, size_t *len)
{
    const uint8_t *p = *at;
    uint8_t *w = out;
    uint8_t quote = 0;
    for (; p < end; p++) {
        if (quote == 0) {
            if (is_space(*p))
                break;
            if (*p == '"' || *p == '\'')
                quote = *p;
            else
                *w++ = *p;
        } else if (*p == quote) {
            if (p + 1 < end && !is_space(p[1]))
                return false;
            quote = 0;
        } else if (quote == '"' && *p == '\\' && end - p > 3 && p[1] == 'x' && hex_digit(p[2]) >= 0 &&
                   hex_digit(p[3]) >= 0) {
            *w++ = (uint8_t)(hex_digit(p[2]) * 16 + hex_digit(p[3]));
            p += 3;
        } else if (quote == '"' && *p == '\\' && end - p > 1) {
            *w++ = unescape(*++p);
        } else if (quote == '\'' && *p == '\\' && end - p > 1 && p[1] == '\'') {
            *w++ = *++p;
        } else {
            *w++ = *p;
        }
    }
    *at = p;
    *len = (size_t)(w - out);
    return quote == 0;
}

static enum resp_status inline_request(struct resp_input *in, struct resp_partial *p, struct resp_request *out)
{
    uint8_t *begin = in->data + in->pos;
    size_t have = in->len - in->pos;
    const uint8_t *lf = have > p->line ? memchr(begin + p->line, '\n', have - p->line) : NULL;
    if (lf == NULL) {
        p->line = have;
        return have > RESP_LINE_MAX ? fail(p, out, "too big inline request") : RESP_MORE;
    }
    const uint8_t *end = lf > begin && lf[-1] == '\r' ? lf - 1 : lf;
    /* As for a C string, a NUL ends the line for the words in it. */
    const uint8_t *nul = memchr(begin, 0, (size_t)(end - begin));
    if (nul != NULL)
        end = nul;
    p->at = (size_t)(lf - begin) + 1;
    for (const uint8_t *c = begin;;) {
        while (c < end && is_space(*c))
            c++;
        if (c >= end)
            break;
        size_t offset = (size_t)(c - begin), len;
        if (!inline_word(&c, end, begin + offset, &len))
            return fail(p, out, "unbalanced quotes in request");
        if (!add_argument(p, offset, len, NULL))
            return RESP_NO_MEMORY;
    }
    p->finished = true;
    return RESP_REQUEST;
}

/* ---- both ---- */

/* One step of the long way. RESP_REQUEST: something was done, p->finished tells whether it was the last. */
static enum resp_status parse_step(struct resp_input *in, struct resp_partial *p, const struct resp_limits *limits,
                                   struct resp_request *out)
{
    if (p->inline_form)
        return inline_request(in, p, out);
    if (p->remaining == 0)
        return array_head(in, p, limits, out);
    return p->bulk < 0 ? bulk_head(in, p, limits, out) : bulk_body(in, p);
}

static enum resp_status parse_long(struct resp_input *in, const struct resp_limits *limits, struct resp_request *out)
{
    struct resp_partial *p = in->partial;
    if (p == NULL) {
        p = in->partial = calloc(1, sizeof *p);
        if (p == NULL)
            return RESP_NO_MEMORY;
        p->inline_form = in->data[in->pos] != '*';
    }
    while (!p->finished) {
        enum resp_status status = parse_step(in, p, limits, out);
        if (status != RESP_REQUEST)
            return status;
    }
    if (p->argc > 0) {
        p->argv = malloc(p->argc * sizeof *p->argv);
        if (p->argv == NULL)
            return RESP_NO_MEMORY;
    }
    const uint8_t *begin = in->data + in->pos;
    for (size_t i = 0; i < p->argc; i++)
        p->argv[i] = slice_of(p->args[i].own ? p->args[i].own : begin + p->args[i].offset, p->args[i].len);
    in->pos += p->at;
    *out = (struct resp_request){.argv = p->argv, .argc = (int)p->argc, .alone = true};
    return RESP_REQUEST;
}

enum resp_status resp_parse(struct resp_input *in, const struct resp_limits *limits, struct slice *argv, int room,
                            struct resp_request *out)
{
    assert(in->partial == NULL || !in->partial->finished);
    for (;;) {
        if (in->partial == NULL) {
            if (in->pos == in->len)
                return RESP_MORE;
            int argc = parse_whole(in, limits, argv, room);
            if (argc > 0) {
                *out = (struct resp_request){.argv = argv, .argc = argc};
                return RESP_REQUEST;
            }
        }
        enum resp_status status = parse_long(in, limits, out);
        if (status != RESP_REQUEST || out->argc > 0)
            return status;
        resp_request_done(in);
    }
}

/* ---- room ---- */

static bool grow_big(struct resp_partial *p)
{
    size_t len = (size_t)p->bulk, cap = p->big_cap > len / 2 ? len : 2 * p->big_cap;
    uint8_t *big = realloc(p->big, cap);
    if (big == NULL)
        return false;
    p->big = big;
    p->big_cap = cap;
    return true;
}

int resp_input_room(struct resp_input *in, size_t want, struct iovec iov[2])
{
    struct resp_partial *p = in->partial;
    assert(p == NULL || !p->finished);
    if (in->pos > 0) {
        memmove(in->data, in->data + in->pos, in->len - in->pos);
        in->len -= in->pos;
        in->pos = 0;
    }
    int n = 0;
    if (p != NULL && p->big != NULL && p->big_fill < (size_t)p->bulk) {
        if (p->big_fill == p->big_cap && !grow_big(p))
            return 0;
        iov[n++] = (struct iovec){p->big + p->big_fill, p->big_cap - p->big_fill};
        if (p->big_cap < (size_t)p->bulk)
            return n;
        want = RESP_BLOCK / 4; /* a little for what comes behind it */
    } else if (p != NULL && p->bulk >= 0 && p->big == NULL && (size_t)p->bulk + 2 > in->len - p->at) {
        size_t missing = (size_t)p->bulk + 2 - (in->len - p->at);
        want = missing > want ? missing : want;
    }
    if (in->cap - in->len < want) {
        /* A long request of many short arguments: doubling keeps the copying linear. */
        size_t cap = in->len + want > 2 * in->cap ? in->len + want : 2 * in->cap;
        if (in->data == NULL && cap < RESP_BLOCK)
            cap = RESP_BLOCK;
        uint8_t *data = realloc(in->data, cap);
        if (data == NULL)
            return 0;
        in->data = data;
        in->cap = cap;
    }
    iov[n++] = (struct iovec){in->data + in->len, in->cap - in->len};
    return n;
}

void resp_input_received(struct resp_input *in, size_t n)
{
    struct resp_partial *p = in->partial;
    if (p != NULL && p->big != NULL && p->big_fill < (size_t)p->bulk) {
        size_t part = p->big_cap - p->big_fill;
        part = n < part ? n : part;
        p->big_fill += part;
        n -= part;
    }
    assert(n <= in->cap - in->len);
    in->len += n;
}

size_t resp_input_memory(const struct resp_input *in)
{
    size_t sum = in->cap;
    const struct resp_partial *p = in->partial;
    if (p != NULL) {
        sum += sizeof *p + p->cap * sizeof *p->args;
        for (size_t i = 0; i < p->argc; i++)
            sum += p->args[i].own ? p->args[i].len : 0;
        sum += p->big ? p->big_cap : 0;
    }
    return sum;
}

uint8_t *resp_input_take(struct resp_input *in, size_t *cap)
{
    assert(resp_input_empty(in));
    uint8_t *data = in->data;
    *cap = in->cap;
    resp_input_init(in);
    return data;
}

void resp_input_give(struct resp_input *in, uint8_t *data, size_t cap)
{
    assert(in->data == NULL);
    in->data = data;
    in->cap = cap;
}

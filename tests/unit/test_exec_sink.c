/* The RESP writer. What must hold: the exact bytes of each type in RESP2 and RESP3 (the protocol specification's
 * examples where it has one); no error text can end its line; a rewind leaves nothing; a reply's error is told from an
 * error inside an array. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "exec/sink.h"

static struct buf out;
static struct resp_sink r;
static struct sink *s = &r.sink;

static void start(int resp)
{
    buf_fini(&out);
    resp_sink_init(&r, &out, resp);
}

static void end(void) { buf_fini(&out); }
TestSuite(sink, .fini = end);

#define EXPECT(text) cr_assert(slice_eq(buf_slice(&out), SLICE_LIT(text)), "%.*s", (int)out.len, (const char *)out.data)

Test(sink, resp2)
{
    start(2);
    reply_ok(s);
    reply_integer(s, 0);
    reply_integer(s, 1000);
    reply_integer(s, -1);
    reply_integer(s, INT64_MIN);
    reply_integer(s, INT64_MAX);
    reply_bulk_str(s, "hello");
    reply_bulk_str(s, "");
    reply_bulk(s, SLICE_LIT("a\r\n\0b"));
    reply_null(s);
    s->ops->null_array(s);
    EXPECT("+OK\r\n:0\r\n:1000\r\n:-1\r\n:-9223372036854775808\r\n:9223372036854775807\r\n$5\r\nhello\r\n$0\r\n\r\n"
           "$5\r\na\r\n\0b\r\n$-1\r\n*-1\r\n");
    start(2);
    reply_array(s, 2);
    reply_map(s, 2);
    s->ops->set(s, 7);
    s->ops->push(s, 100);
    s->ops->real(s, 1.5);
    s->ops->boolean(s, true);
    s->ops->boolean(s, false);
    s->ops->big_number(s, SLICE_LIT("123"));
    s->ops->verbatim(s, "txt", SLICE_LIT("Some string"));
    EXPECT("*2\r\n*4\r\n*7\r\n*100\r\n$3\r\n1.5\r\n:1\r\n:0\r\n$3\r\n123\r\n$11\r\nSome string\r\n");
}

Test(sink, resp3)
{
    start(3);
    reply_null(s);
    s->ops->null_array(s);
    reply_map(s, 2);
    s->ops->set(s, 7);
    s->ops->push(s, 12);
    s->ops->real(s, 1.5);
    s->ops->real(s, INFINITY);
    s->ops->boolean(s, true);
    s->ops->boolean(s, false);
    s->ops->big_number(s, SLICE_LIT("123"));
    s->ops->verbatim(s, "txt", SLICE_LIT("Some string"));
    EXPECT("_\r\n_\r\n%2\r\n~7\r\n>12\r\n,1.5\r\n,inf\r\n#t\r\n#f\r\n(123\r\n=15\r\ntxt:Some string\r\n");
}

Test(sink, heads_of_every_length)
{
    static uint8_t big[12345];
    memset(big, 'x', sizeof big);
    size_t lens[] = {0, 1, 9, 10, 99, 100, 101, 999, 1000, 9999, 10000, 12345};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        start(2);
        reply_bulk(s, slice_of(big, lens[i]));
        char head[32];
        int n = snprintf(head, sizeof head, "$%zu\r\n", lens[i]);
        cr_assert(out.len == (size_t)n + lens[i] + 2 && memcmp(out.data, head, (size_t)n) == 0);
        cr_assert(memcmp(out.data + out.len - 2, "\r\n", 2) == 0);
        struct buf whole = out;
        out = BUF_INIT;
        start(2);
        uint8_t *room = s->ops->bulk_room(s, lens[i]);
        memset(room, 'x', lens[i]);
        cr_assert(slice_eq(buf_slice(&whole), buf_slice(&out)));
        buf_fini(&whole);
    }
}

Test(sink, error_text_cannot_end_its_line)
{
    start(2);
    cr_assert(reply_error(s, "ERR unknown command '%s'", "a\r\n+OK\r\n") == RES_OK);
    EXPECT("-ERR unknown command 'a  +OK  '\r\n");
    cr_assert(s->is_error);
    cr_assert_str_eq(s->error_code, "ERR");
    start(2);
    char text[2000];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = 0;
    (void)reply_error(s, "%s", text);
    cr_assert(out.data[0] == '-' && memcmp(out.data + out.len - 2, "\r\n", 2) == 0);
    cr_assert(strlen(s->error_code) == sizeof s->error_code - 1);
}

Test(sink, errors_inside_an_array_are_elements)
{
    start(2);
    sink_begin(s);
    reply_array(s, 1);
    (void)reply_wrong_type(s);
    cr_assert(!s->is_error);
    sink_begin(s);
    (void)reply_wrong_type(s);
    cr_assert(s->is_error);
    cr_assert_str_eq(s->error_code, "WRONGTYPE");
    sink_begin(s);
    reply_ok(s);
    cr_assert(!s->is_error);
    sink_begin(s);
    reply_array(s, 0);
    (void)reply_syntax_error(s);
    cr_assert(s->is_error);
}

Test(sink, rewind_leaves_nothing)
{
    start(2);
    reply_ok(s);
    size_t mark = s->ops->mark(s);
    reply_array(s, 3);
    (void)reply_syntax_error(s);
    s->ops->rewind(s, mark);
    cr_assert(!s->is_error && !s->nested);
    reply_integer(s, 1);
    EXPECT("+OK\r\n:1\r\n");
}

struct source {
    struct sink_source src;
    uint64_t left, fail_at;
    int closed;
};
static enum result source_read(struct sink_source *src, uint8_t *to, size_t cap, size_t *len)
{
    struct source *x = (struct source *)src;
    size_t n = cap < 1000 ? cap : 1000;
    if (n > x->left)
        n = (size_t)x->left;
    if (x->fail_at && x->left <= x->fail_at)
        return RES_IO;
    memset(to, 'z', n);
    x->left -= n;
    *len = n;
    return RES_OK;
}
static void source_close(struct sink_source *src) { ((struct source *)src)->closed++; }

Test(sink, a_stream_without_host_is_read_whole)
{
    start(2);
    struct source x = {{source_read, source_close}, 200000, 0, 0};
    s->ops->bulk_stream(s, 200000, &x.src);
    cr_assert(x.closed == 1 && !s->failed);
    cr_assert(out.len == 9 + 200000 + 2 && memcmp(out.data, "$200000\r\nz", 10) == 0);
    start(2);
    struct source y = {{source_read, source_close}, 200000, 100000, 0};
    s->ops->bulk_stream(s, 200000, &y.src);
    cr_assert(y.closed == 1 && s->failed);
    size_t len = out.len;
    reply_ok(s);
    cr_assert(out.len == len); /* what follows is dropped */
}

Test(sink, the_drop_sink_swallows_everything)
{
    struct sink d = {.ops = &sink_drop_ops, .resp = 2};
    sink_begin(&d);
    reply_ok(&d);
    reply_array(&d, 2);
    reply_bulk_str(&d, "x");
    uint8_t *room = d.ops->bulk_room(&d, 100000);
    memset(room, 1, 100000);
    struct source x = {{source_read, source_close}, 10, 0, 0};
    d.ops->bulk_stream(&d, 10, &x.src);
    cr_assert(x.closed == 1);
    sink_begin(&d);
    (void)reply_error(&d, "OOM no");
    cr_assert(d.is_error);
    cr_assert_str_eq(d.error_code, "OOM");
}

/* HTTP requests: what the parser makes of bytes, however they are cut; percent-encoding, queries, JSON text, base64. What is
 * refused is in tests/system/test_http_malformed.py as well, over a socket. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/http_parse.h"
#include "proto/json.h"

struct fed {
    enum http_outcome outcome;
    struct http_parser p;
    struct http_message m;
    uint8_t *data;
    size_t used, len;
};

/* Feeds bytes in pieces of `step`, as a connection does: the buffer moves whenever it grows. */
static struct fed feed(const char *bytes, size_t len, size_t step, uint64_t body_max)
{
    struct fed r = {.outcome = HTTP_MORE};
    http_parser_init(&r.p);
    for (size_t at = 0; at < len && r.outcome == HTTP_MORE; at += step) {
        size_t n = len - at < step ? len - at : step;
        uint8_t *more = malloc(r.len + n);
        cr_assert_not_null(more);
        if (r.len)
            memcpy(more, r.data, r.len);
        memcpy(more + r.len, bytes + at, n);
        free(r.data);
        r.data = more;
        r.len += n;
        r.outcome = http_parse(&r.p, r.data, &r.len, body_max, &r.used);
    }
    if (r.outcome == HTTP_WHOLE)
        http_message_of(&r.p, r.data, &r.m);
    http_parser_fini(&r.p);
    return r;
}

static bool is(struct slice s, const char *text) { return slice_eq(s, slice_str(text)); }

#define HOST "Host: h\r\n"
static void each_cut(const char *bytes, void (*check)(struct fed *))
{
    size_t len = strlen(bytes);
    for (size_t step = 1; step <= len; step++) {
        struct fed r = feed(bytes, len, step, 1000);
        check(&r);
        free(r.data);
    }
}

static void a_get(struct fed *r)
{
    cr_assert_eq(r->outcome, HTTP_WHOLE);
    cr_assert_eq(r->m.verb, VERB_GET);
    cr_assert(is(r->m.path, "/kv/a%20b") && is(r->m.query, "x=1&y"));
    cr_assert(is(r->m.field[FIELD_HOST], "h:80"));
    cr_assert(is(r->m.field[FIELD_IF_MATCH], "\"a\", \"b\""));
    cr_assert_null(r->m.field[FIELD_ORIGIN].data);
    cr_assert(r->m.keep_alive && !r->m.http10);
    cr_assert_eq(r->m.body.len, 0);
}
Test(http_parse, a_request_is_taken_apart)
{
    each_cut("GET /kv/a%20b?x=1&y HTTP/1.1\r\nhOST:h:80\r\nIf-Match: \t\"a\", \"b\" \t\r\nX: y\r\n\r\n", a_get);
}

static void a_put(struct fed *r)
{
    cr_assert_eq(r->outcome, HTTP_WHOLE);
    cr_assert_eq(r->m.verb, VERB_PUT);
    cr_assert(is(r->m.body, "hello"));
    cr_assert_geq(r->len, r->used);
}
Test(http_parse, a_body_of_known_length)
{
    each_cut("PUT /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhelloGET /b", a_put);
}

Test(http_parse, a_chunked_body_is_one_slice)
{
    each_cut("PUT /a HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"
             "2\r\nhe\r\n003;x=\"y z\"\r\nllo\r\n0\r\nTrailer: x\r\n\r\nGET /b",
             a_put);
}

Test(http_parse, what_follows_a_request_is_left)
{
    const char *two =
        "PUT /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /b HTTP/1.1\r\n";
    struct fed r = feed(two, strlen(two), 1000, 1000);
    cr_assert_eq(r.outcome, HTTP_WHOLE);
    cr_assert(is(slice_of(r.data + r.used, r.len - r.used), "GET /b HTTP/1.1\r\n"));
    free(r.data);
}

Test(http_parse, keep_alive_and_versions)
{
    static const struct {
        const char *head;
        bool keep, http10;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", true, false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", true, false},
        {"GET / HTTP/1.0\r\n\r\n", false, true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, true},
        {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fed r = feed(cases[i].head, strlen(cases[i].head), 1000, 0);
        cr_assert_eq(r.outcome, HTTP_WHOLE, "%s", cases[i].head);
        cr_assert_eq(r.m.keep_alive, cases[i].keep, "%s", cases[i].head);
        cr_assert_eq(r.m.http10, cases[i].http10, "%s", cases[i].head);
        free(r.data);
    }
}

Test(http_parse, any_method_is_a_method)
{
    static const char *const names[] = {"OPTIONS", "PATCH", "BREW", "M-SEARCH", "get", "GETX", "X"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char head[100];
        int len = snprintf(head, sizeof head, "%s /a HTTP/1.1\r\n" HOST "\r\n", names[i]);
        struct fed r = feed(head, (size_t)len, 1000, 0);
        cr_assert_eq(r.outcome, HTTP_WHOLE, "%s", names[i]);
        cr_assert_eq(r.m.verb, VERB_OTHER);
        cr_assert(is(r.m.path, "/a"));
        free(r.data);
    }
}

Test(http_parse, an_absolute_target_names_the_host)
{
    const char *head = "GET http://example.org:1?q HTTP/1.1\r\n" HOST "\r\n";
    struct fed r = feed(head, strlen(head), 1000, 0);
    cr_assert_eq(r.outcome, HTTP_WHOLE);
    cr_assert(is(r.m.path, "/") && is(r.m.query, "q") && is(r.m.field[FIELD_HOST], "example.org:1"));
    free(r.data);
}

Test(http_parse, refusals_come_with_their_status)
{
    static const struct {
        int status;
        const char *bytes;
    } cases[] = {
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1\r\n" HOST HOST "\r\n"},
        {400, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"},
        {400, "PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n"},
        {400, "PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"},
        {413, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n"},
        {417, "PUT / HTTP/1.1\r\n" HOST "Expect: x\r\n\r\n"},
        {505, "GET / HTTP/3.0\r\n" HOST "\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t step = 1; step < 40; step += 6) {
            struct fed r = feed(cases[i].bytes, strlen(cases[i].bytes), step, 1000);
            cr_assert_eq(r.outcome, HTTP_REFUSED, "%s", cases[i].bytes);
            cr_assert_eq(r.p.status, cases[i].status, "%s", cases[i].bytes);
            cr_assert_not_null(r.p.why);
            free(r.data);
        }
}

Test(http_parse, limits_are_exact)
{
    char *head = malloc(40000);
    for (int more = 0; more < 2; more++) { /* the request line */
        int len = sprintf(head, "GET /%0*d HTTP/1.1\r\n" HOST "\r\n", HTTP_LINE_MAX - 14 + more, 0);
        struct fed r = feed(head, (size_t)len, 100, 0);
        cr_assert_eq(r.outcome, more ? HTTP_REFUSED : HTTP_WHOLE);
        free(r.data);
    }
    for (int more = 0; more < 2; more++) { /* all of the head */
        int fixed = (int)strlen("GET / HTTP/1.1\r\n" HOST "X: \r\n\r\n");
        int len = sprintf(head, "GET / HTTP/1.1\r\n" HOST "X: %0*d\r\n\r\n", HTTP_HEAD_MAX - fixed + more, 0);
        cr_assert_eq(len, HTTP_HEAD_MAX + more);
        struct fed r = feed(head, (size_t)len, 100, 0);
        cr_assert_eq(r.outcome, more ? HTTP_REFUSED : HTTP_WHOLE);
        free(r.data);
    }
    free(head);
}

Test(http_parse, percent_and_query)
{
    uint8_t out[64];
    size_t len;
    struct slice v;
    cr_assert(http_percent_decode(SLICE_LIT("a%00%fF%2f+"), out, &len));
    cr_assert(slice_eq(slice_of(out, len), SLICE_LIT("a\0\xff/+")));
    cr_assert(!http_percent_decode(SLICE_LIT("%"), out, &len));
    cr_assert(!http_percent_decode(SLICE_LIT("%1"), out, &len));
    cr_assert(!http_percent_decode(SLICE_LIT("%1g"), out, &len));
    cr_assert(http_query_value(SLICE_LIT("a=1&bb=2&b=3&b=4"), "b", &v) && is(v, "3"));
    cr_assert(http_query_value(SLICE_LIT("&&a="), "a", &v) && v.len == 0);
    cr_assert(!http_query_value(SLICE_LIT("ab&a"), "a", &v));
    cr_assert(!http_query_value(SLICE_LIT(""), "a", &v));
}

static bool json_is(struct slice text, const char *want)
{
    struct buf b = BUF_INIT;
    cr_assert_eq(json_put_string(&b, text), RES_OK);
    bool same = slice_eq(buf_slice(&b), slice_str(want));
    buf_fini(&b);
    return same;
}

Test(json, strings_are_valid_json_whatever_they_hold)
{
    cr_assert(json_is(SLICE_LIT("plain"), "\"plain\""));
    cr_assert(json_is(SLICE_LIT(""), "\"\""));
    cr_assert(json_is(SLICE_LIT("\"\\\b\f\n\r\t\x01\x1f\x7f/"), "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f/\""));
    cr_assert(json_is(SLICE_LIT("\0"), "\"\\u0000\""));
    cr_assert(json_is(SLICE_LIT("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""));
#define BAD "\xef\xbf\xbd"
    cr_assert(json_is(SLICE_LIT("\xff"
                                "a"),
                      "\"" BAD "a\""));
    cr_assert(json_is(SLICE_LIT("\xc3"), "\"" BAD "\""));
    cr_assert(json_is(SLICE_LIT("\xe2\x82"), "\"" BAD BAD "\""));
    cr_assert(json_is(SLICE_LIT("\xc0\x80"), "\"" BAD BAD "\""));
    cr_assert(json_is(SLICE_LIT("\xed\xa0\x80"), "\"" BAD BAD BAD "\""));
    cr_assert(json_is(SLICE_LIT("\xf4\x90\x80\x80"), "\"" BAD BAD BAD BAD "\""));
}

Test(json, base64_both_ways)
{
    static const char *const pairs[][2] = {{"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
                                           {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"\xff\xfe", "//4="}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct buf b = BUF_INIT;
        uint8_t out[16];
        size_t len;
        cr_assert_eq(base64_put(&b, slice_str(pairs[i][0])), RES_OK);
        cr_assert(is(buf_slice(&b), pairs[i][1]));
        cr_assert(base64_decode(buf_slice(&b), out, &len) && is(slice_of(out, len), pairs[i][0]));
        buf_fini(&b);
    }
    uint8_t out[16];
    size_t len;
    cr_assert(!base64_decode(SLICE_LIT("Zm9v Zg"), out, &len));
    cr_assert(!base64_decode(SLICE_LIT("Z"), out, &len));
    cr_assert(!base64_decode(SLICE_LIT("Z\0=="), out, &len));
}

/* What must hold for the request parser:
 * - a pipeline gives the same requests however it is cut: at every position, in two pieces or byte by byte;
 * - nothing is copied while requests arrive whole, and a long argument is received in memory that grows with it;
 * - every malformed input gives Redis' error text, and none that is well-formed is refused;
 * - what a client announces costs no memory before it has come. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "proto/resp_parse.h"

static const struct resp_limits open_limits = {512u << 20, true};
static const struct resp_limits closed_limits = {512u << 20, false};

static void put(struct resp_input *in, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0) {
        struct iovec iov[2];
        int n = resp_input_room(in, 1, iov);
        cr_assert_gt(n, 0);
        size_t done = 0;
        for (int i = 0; i < n && len > done; i++) {
            size_t part = iov[i].iov_len < len - done ? iov[i].iov_len : len - done;
            memcpy(iov[i].iov_base, p + done, part);
            done += part;
        }
        resp_input_received(in, done);
        p += done, len -= done;
    }
}

/* Takes all requests there are and writes them to a canonical text; an error ends it. */
static bool drain(struct resp_input *in, const struct resp_limits *limits, struct buf *text)
{
    struct slice argv[4];
    struct resp_request r;
    for (;;) {
        enum resp_status status = resp_parse(in, limits, argv, 4, &r);
        if (status == RESP_MORE)
            return true;
        cr_assert_neq(status, RESP_NO_MEMORY);
        if (status == RESP_ERROR) {
            cr_assert_eq(buf_printf(text, "!%s\n", r.error), RES_OK);
            return false;
        }
        cr_assert_gt(r.argc, 0);
        for (int i = 0; i < r.argc; i++) {
            cr_assert_eq(buf_printf(text, "%zu:", r.argv[i].len), RES_OK);
            cr_assert_eq(buf_append(text, r.argv[i].data, r.argv[i].len), RES_OK);
            cr_assert_eq(buf_append(text, " ", 1), RES_OK);
        }
        cr_assert_eq(buf_append(text, "\n", 1), RES_OK);
        if (r.alone)
            resp_request_done(in);
    }
}

static void expect_limits(const void *data, size_t len, const struct resp_limits *limits, const char *want)
{
    struct resp_input in;
    struct buf text = BUF_INIT;
    resp_input_init(&in);
    put(&in, data, len);
    drain(&in, limits, &text);
    cr_assert_eq(buf_append(&text, "", 1), RES_OK);
    cr_assert_str_eq((char *)text.data, want, "for %.60s: got %s", (const char *)data, (char *)text.data);
    buf_fini(&text);
    resp_input_fini(&in);
}
#define EXPECT(lit, want) expect_limits(lit, sizeof(lit) - 1, &open_limits, want)

static void cut_everywhere(const uint8_t *data, size_t len, size_t step)
{
    struct buf want = BUF_INIT;
    struct resp_input in;
    resp_input_init(&in);
    put(&in, data, len);
    drain(&in, &open_limits, &want);
    resp_input_fini(&in);
    for (size_t cut = 0; cut <= len; cut += step) {
        struct buf got = BUF_INIT;
        resp_input_init(&in);
        put(&in, data, cut);
        if (drain(&in, &open_limits, &got)) {
            put(&in, data + cut, len - cut);
            drain(&in, &open_limits, &got);
        }
        cr_assert(slice_eq(buf_slice(&want), buf_slice(&got)), "cut at %zu of %zu", cut, len);
        buf_fini(&got);
        resp_input_fini(&in);
    }
    struct buf got = BUF_INIT;
    resp_input_init(&in);
    for (size_t i = 0; i < len; i++) {
        put(&in, data + i, 1);
        if (!drain(&in, &open_limits, &got))
            break;
    }
    cr_assert(slice_eq(buf_slice(&want), buf_slice(&got)), "byte by byte");
    buf_fini(&got);
    buf_fini(&want);
    resp_input_fini(&in);
}

Test(resp_parse, a_pipeline_is_the_same_at_every_split_position)
{
    static const char pipeline[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n"
                                   "*0\r\n*-1\r\n\r\n  \r\n"
                                   "PING\r\n"
                                   "set \"a\\x41\\n\" 'it\\'s' \"\"\n"
                                   "*1\r\n$0\r\n\r\n"
                                   "*6\r\n$4\r\nMSET\r\n$1\r\na\r\n$3\r\n\r\n\0\r\n$1\r\nb\r\n$2\r\n$9\r\n$1\r\nc\r\n"
                                   "*2\r\n$3\r\nGET\r\n$12\r\nabcdefghijkl\r\n";
    cut_everywhere((const uint8_t *)pipeline, sizeof pipeline - 1, 1);
    /* an error in the middle, after good requests */
    static const char broken[] = "PING\r\n*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n+5\r\n*1\r\n$4\r\nPING\r\n";
    cut_everywhere((const uint8_t *)broken, sizeof broken - 1, 1);
}

Test(resp_parse, long_arguments_are_the_same_at_every_split_position)
{
    struct buf b = BUF_INIT;
    size_t sizes[] = {RESP_BLOCK, RESP_BIG_ARGUMENT, RESP_BIG_ARGUMENT + 1, 100000};
    cr_assert_eq(buf_printf(&b, "*5\r\n$4\r\nMSET\r\n"), RES_OK);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(buf_printf(&b, "$%zu\r\n", sizes[i]), RES_OK);
        cr_assert_eq(buf_reserve(&b, sizes[i] + 2), RES_OK);
        for (size_t k = 0; k < sizes[i]; k++)
            b.data[b.len++] = (uint8_t)(k * 7 + sizes[i]);
        cr_assert_eq(buf_printf(&b, "\r\n"), RES_OK);
    }
    cr_assert_eq(buf_printf(&b, "*1\r\n$4\r\nPING\r\n"), RES_OK);
    cut_everywhere(b.data, b.len, 997);
    buf_fini(&b);
}

Test(resp_parse, errors_have_redis_texts)
{
    EXPECT("*x\r\n", "!ERR Protocol error: invalid multibulk length\n");
    EXPECT("*\r\n", "!ERR Protocol error: invalid multibulk length\n");
    EXPECT("*03\r\n", "!ERR Protocol error: invalid multibulk length\n");
    EXPECT("*+3\r\n", "!ERR Protocol error: invalid multibulk length\n");
    EXPECT("* 3\r\n", "!ERR Protocol error: invalid multibulk length\n");
    EXPECT("*-0\r\n", "!ERR Protocol error: invalid multibulk length\n");
    EXPECT("*2147483648\r\n", "!ERR Protocol error: invalid multibulk length\n");
    EXPECT("*4294967297\r\n", "!ERR Protocol error: invalid multibulk length\n");
    EXPECT("*9223372036854775807\r\n", "!ERR Protocol error: invalid multibulk length\n");
    EXPECT("*9223372036854775808\r\n", "!ERR Protocol error: invalid multibulk length\n");
    EXPECT("*99999999999999999999\r\n", "!ERR Protocol error: invalid multibulk length\n");
    EXPECT("*2147483647\r\n", "");
    EXPECT("*-9223372036854775808\r\nPING\r\n", "4:PING \n");
    EXPECT("*1\r\n$-5\r\n", "!ERR Protocol error: invalid bulk length\n");
    EXPECT("*1\r\n$-1\r\n", "!ERR Protocol error: invalid bulk length\n");
    EXPECT("*1\r\n$x\r\n", "!ERR Protocol error: invalid bulk length\n");
    EXPECT("*1\r\n$04\r\nPING\r\n", "!ERR Protocol error: invalid bulk length\n");
    EXPECT("*1\r\n$536870913\r\n", "!ERR Protocol error: invalid bulk length\n");
    EXPECT("*1\r\n$4294967296\r\n", "!ERR Protocol error: invalid bulk length\n");
    EXPECT("*1\r\n$9223372036854775807\r\n", "!ERR Protocol error: invalid bulk length\n");
    EXPECT("*1\r\n+5\r\n", "!ERR Protocol error: expected '$', got '+'\n");
    EXPECT("*2\r\n$1\r\na\r\nx\r\n", "!ERR Protocol error: expected '$', got 'x'\n");
    EXPECT("SET \"a\r\n", "!ERR Protocol error: unbalanced quotes in request\n");
    EXPECT("SET 'a'b\r\n", "!ERR Protocol error: unbalanced quotes in request\n");
    EXPECT("SET \"a\"b\r\n", "!ERR Protocol error: unbalanced quotes in request\n");
}

Test(resp_parse, unauthenticated_clients_get_little)
{
    expect_limits("*11\r\n", 5, &closed_limits, "!ERR Protocol error: unauthenticated multibulk length\n");
    expect_limits("*1000000\r\n", 10, &closed_limits, "!ERR Protocol error: unauthenticated multibulk length\n");
    expect_limits("*2\r\n$16385\r\n", 12, &closed_limits, "!ERR Protocol error: unauthenticated bulk length\n");
    expect_limits("*2\r\n$16384\r\n", 12, &closed_limits, "");
    expect_limits("*10\r\n$1\r\na\r\n", 12, &closed_limits, "");
}

Test(resp_parse, lines_without_an_end_are_cut_at_64_kib)
{
    static char line[RESP_LINE_MAX + 2];
    static const struct {
        char start;
        const char *error;
    } cases[] = {{'x', "!ERR Protocol error: too big inline request\n"},
                 {0, "!ERR Protocol error: too big inline request\n"},
                 {'*', "!ERR Protocol error: too big mbulk count string\n"}};
    for (int i = 0; i < 3; i++) {
        memset(line, 'A', sizeof line);
        line[0] = cases[i].start;
        expect_limits(line, RESP_LINE_MAX, &open_limits, "");
        expect_limits(line, RESP_LINE_MAX + 1, &open_limits, cases[i].error);
    }
    memcpy(line, "*1\r\n$", 5);
    expect_limits(line, RESP_LINE_MAX + 2, &open_limits, "");
    static char longer[RESP_LINE_MAX + 10];
    memset(longer, '1', sizeof longer);
    memcpy(longer, "*1\r\n$", 5);
    expect_limits(longer, sizeof longer, &open_limits, "!ERR Protocol error: too big bulk count string\n");
}

Test(resp_parse, inline_words_are_unquoted_as_redis_does)
{
    EXPECT("a  b\tc\r\n", "1:a 1:b 1:c \n");
    EXPECT("  a\n", "1:a \n");
    EXPECT("\"\\x41\\t\\\\\\\"\\q\"\r\n", "5:A\t\\\"q \n");
    EXPECT("\"\\x4\"\r\n", "2:x4 \n");
    EXPECT("'\\x41\\'\\n'\r\n", "7:\\x41'\\n \n");
    EXPECT("ab\"cd\"\r\n", "4:abcd \n");
    EXPECT("'' \"\"\r\n", "0: 0: \n");
    EXPECT("GET a\0b\r\n", "3:GET 1:a \n");
    EXPECT("a\rb\r\n", "1:a 1:b \n");
}

Test(resp_parse, whole_requests_are_not_copied)
{
    struct resp_input in;
    struct slice argv[4];
    struct resp_request r;
    resp_input_init(&in);
    put(&in, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 20);
    cr_assert_eq(resp_parse(&in, &open_limits, argv, 4, &r), RESP_REQUEST);
    cr_assert_not(r.alone);
    cr_assert_eq(r.argv, argv);
    cr_assert_eq(r.argv[1].data, in.data + 17);
    cr_assert(resp_input_empty(&in));
    size_t cap;
    uint8_t *block = resp_input_take(&in, &cap);
    cr_assert_not_null(block);
    cr_assert_eq(resp_input_memory(&in), 0);
    resp_input_give(&in, block, cap);
    resp_input_fini(&in);
}

Test(resp_parse, the_memory_of_a_long_argument_grows_with_it)
{
    struct resp_input in;
    struct slice argv[4];
    struct resp_request r;
    resp_input_init(&in);
    put(&in, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nab", 34);
    cr_assert_eq(resp_parse(&in, &open_limits, argv, 4, &r), RESP_MORE);
    cr_assert_lt(resp_input_memory(&in), 300 * 1024, "an announcement costs little");
    size_t size = 5000001, got = 2;
    uint8_t *value = malloc(size);
    for (size_t i = 0; i < size; i++)
        value[i] = (uint8_t)(i * i >> 7);
    resp_input_fini(&in);
    put(&in, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000001\r\n", 30);
    put(&in, value, got);
    while (got < size) {
        cr_assert_eq(resp_parse(&in, &open_limits, argv, 4, &r), RESP_MORE);
        cr_assert_lt(resp_input_memory(&in), 2 * got + 300 * 1024, "%zu bytes have come", got);
        size_t part = size - got < 70001 ? size - got : 70001;
        put(&in, value + got, part);
        got += part;
    }
    put(&in, "\r\n*1\r\n$4\r\nPING\r\n", 16);
    cr_assert_eq(resp_parse(&in, &open_limits, argv, 4, &r), RESP_REQUEST);
    cr_assert_eq(r.argc, 3);
    cr_assert_eq(r.argv[2].len, size);
    cr_assert_eq(memcmp(r.argv[2].data, value, size), 0);
    resp_request_done(&in);
    cr_assert_eq(resp_parse(&in, &open_limits, argv, 4, &r), RESP_REQUEST);
    cr_assert_eq(r.argc, 1);
    free(value);
    resp_input_fini(&in);
}

Test(resp_parse, many_arguments_in_small_pieces_stay_linear)
{
    struct resp_input in;
    struct slice argv[4];
    struct resp_request r;
    resp_input_init(&in);
    put(&in, "*300000\r\n", 9);
    for (int i = 0; i < 300000; i++) {
        cr_assert_eq(resp_parse(&in, &open_limits, argv, 4, &r), RESP_MORE);
        put(&in, "$1\r\nx\r\n", 7);
    }
    cr_assert_eq(resp_parse(&in, &open_limits, argv, 4, &r), RESP_REQUEST);
    cr_assert_eq(r.argc, 300000);
    cr_assert(r.alone);
    resp_request_done(&in);
    resp_input_fini(&in);
}

/* Which HTTP request is what, and replies kept as values. */
#include <criterion/criterion.h>

#include "exec/resp_replay.h"
#include "net/http_route.h"
#include "net/http_sink.h"

static struct http_route route(enum http_verb verb, const char *path)
{
    struct http_message m = {.verb = verb, .path = slice_str(path)};
    struct http_route r;
    http_route(&m, &r);
    return r;
}

Test(http_route, every_row_of_the_dialects)
{
    static const struct {
        enum http_verb verb;
        const char *path;
        enum http_action action;
        const char *key;
    } rows[] = {
        {VERB_PUT, "/kv/a", HTTP_KV_PUT, "a"},
        {VERB_GET, "/kv/a/b", HTTP_KV_GET, "a/b"},
        {VERB_DELETE, "/kv/kv", HTTP_KV_DELETE, "kv"},
        {VERB_DELETE, "/clear", HTTP_CLEAR, ""},
        {VERB_POST, "/set/a", HTTP_STORE_SET, "a"},
        {VERB_GET, "/get/a", HTTP_STORE_GET, "a"},
        {VERB_HEAD, "/get/a", HTTP_STORE_GET, "a"},
        {VERB_DELETE, "/delete/a", HTTP_STORE_DELETE, "a"},
        {VERB_PUT, "/a", HTTP_ITEM_PUT, "a"},
        {VERB_GET, "/kvx", HTTP_ITEM_GET, "kvx"},
        {VERB_HEAD, "/a", HTTP_ITEM_GET, "a"},
        {VERB_DELETE, "/%6bv", HTTP_ITEM_DELETE, "%6bv"},
        {VERB_GET, "/v1/kv/a%2Fb", HTTP_V1_GET, "a%2Fb"},
        {VERB_HEAD, "/v1/kv/a", HTTP_V1_GET, "a"},
        {VERB_PUT, "/v1/kv/a", HTTP_V1_PUT, "a"},
        {VERB_DELETE, "/v1/kv/a", HTTP_V1_DELETE, "a"},
        {VERB_GET, "/v1/kv", HTTP_V1_LIST, ""},
        {VERB_POST, "/", HTTP_COMMAND, ""},
        {VERB_POST, "/pipeline", HTTP_PIPELINE, ""},
        {VERB_POST, "/multi-exec", HTTP_MULTI_EXEC, ""},
        {VERB_GET, "/metrics", HTTP_METRICS, ""},
        {VERB_HEAD, "/healthz", HTTP_HEALTH, ""},
        {VERB_GET, "/readyz", HTTP_READY, ""},
        {VERB_GET, "/openapi.json", HTTP_OPENAPI, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_route r = route(rows[i].verb, rows[i].path);
        cr_assert_eq(r.action, rows[i].action, "%s", rows[i].path);
        cr_assert(slice_eq(r.key, slice_str(rows[i].key)), "%s", rows[i].path);
    }
}

Test(http_route, refusals)
{
    static const struct {
        enum http_verb verb;
        const char *path;
        int status;
        const char *allow;
        enum http_style style;
    } rows[] = {
        {VERB_GET, "/kv/", 400, NULL, STYLE_TEXT},
        {VERB_GET, "/kv", 400, NULL, STYLE_TEXT},
        {VERB_POST, "/kv", 405, "GET, PUT, DELETE", STYLE_TEXT},
        {VERB_HEAD, "/kv/a", 405, "GET, PUT, DELETE", STYLE_TEXT},
        {VERB_OTHER, "/clear", 405, "DELETE", STYLE_TEXT},
        {VERB_GET, "/set/a", 405, "POST", STYLE_TEXT},
        {VERB_GET, "/get/", 400, NULL, STYLE_TEXT},
        {VERB_GET, "/get/a/b", 404, NULL, STYLE_TEXT},
        {VERB_GET, "/get", 404, NULL, STYLE_TEXT},
        {VERB_GET, "/console", 404, NULL, STYLE_TEXT},
        {VERB_GET, "/cluster/x", 404, NULL, STYLE_TEXT},
        {VERB_GET, "/a/b", 404, NULL, STYLE_TEXT},
        {VERB_GET, "/a/", 404, NULL, STYLE_TEXT},
        {VERB_POST, "/a", 405, "GET, HEAD, PUT, DELETE", STYLE_TEXT},
        {VERB_GET, "*", 404, NULL, STYLE_TEXT},
        {VERB_GET, "/v1", 404, NULL, STYLE_TEXT},
        {VERB_GET, "/v1/", 404, NULL, STYLE_PROBLEM},
        {VERB_GET, "/v1/kv/", 400, NULL, STYLE_PROBLEM},
        {VERB_POST, "/v1/kv/a", 405, "GET, HEAD, PUT, DELETE", STYLE_PROBLEM},
        {VERB_PUT, "/v1/kv", 405, "GET, HEAD", STYLE_PROBLEM},
        {VERB_GET, "/", 405, "POST", STYLE_COMMAND},
        {VERB_GET, "/pipeline", 405, "POST", STYLE_COMMAND},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_route r = route(rows[i].verb, rows[i].path);
        cr_assert_eq(r.action, HTTP_REJECT, "%s", rows[i].path);
        cr_assert_eq(r.status, rows[i].status, "%s: %d", rows[i].path, r.status);
        cr_assert_eq(r.style, rows[i].style, "%s", rows[i].path);
        if (rows[i].allow)
            cr_assert_str_eq(r.allow, rows[i].allow);
        else
            cr_assert_null(r.allow);
    }
}

/* ---- replies ---- */

Test(http_sink, values_come_as_they_were_said_and_can_be_taken_back)
{
    struct buf bytes = BUF_INIT;
    struct http_sink s;
    http_sink_init(&s, &bytes);
    size_t mark = s.sink.ops->mark(&s.sink);
    reply_bulk_str(&s.sink, "dropped");
    s.sink.ops->rewind(&s.sink, mark);
    reply_array(&s.sink, 20);
    for (int i = 0; i < 20; i++)
        reply_integer(&s.sink, i);
    reply_bulk_str(&s.sink, "text");
    memcpy(s.sink.ops->bulk_room(&s.sink, 4), "room", 4);
    reply_null(&s.sink);
    (void)reply_error(&s.sink, "WRONGTYPE no");
    cr_assert_eq(s.count, 25);
    cr_assert_eq(s.values[0].count, 20);
    cr_assert_eq(s.values[20].integer, 19);
    cr_assert(slice_eq(http_value_text(&s, &s.values[21]), SLICE_LIT("text")));
    cr_assert(slice_eq(http_value_text(&s, &s.values[22]), SLICE_LIT("room")));
    cr_assert_eq(s.values[23].kind, VALUE_NULL);
    cr_assert_eq(s.values[24].kind, VALUE_ERROR);
    http_sink_fini(&s);
    buf_fini(&bytes);
}

static int closed;
static void close_source(struct sink_source *s)
{
    (void)s;
    closed++;
}
static struct sink_source source = {.close = close_source};
static struct sink_source *hole(void *arg, size_t at)
{
    *(size_t *)arg = at;
    return at == 9 ? &source : NULL;
}

Test(http_sink, a_reply_in_bytes_is_the_same_reply)
{
    struct buf bytes = BUF_INIT, out = BUF_INIT;
    struct http_sink s;
    struct resp_sink direct;
    resp_sink_init(&direct, &out, 2);
    const struct sink_ops *ops = direct.sink.ops;
    ops->array(&direct.sink, 9);
    ops->status(&direct.sink, SLICE_LIT("OK"));
    ops->integer(&direct.sink, INT64_MIN);
    ops->bulk(&direct.sink, SLICE_LIT("a\r\nb"));
    ops->bulk(&direct.sink, SLICE_LIT(""));
    ops->null(&direct.sink);
    ops->null_array(&direct.sink);
    ops->map(&direct.sink, 0);
    ops->error(&direct.sink, SLICE_LIT("ERR no"));
    ops->real(&direct.sink, 1.5);
    http_sink_init(&s, &bytes);
    cr_assert(resp_replay(buf_slice(&out), &s.sink, NULL, NULL));
    cr_assert_eq(s.count, 10);
    cr_assert_eq(s.values[2].integer, INT64_MIN);
    cr_assert(slice_eq(http_value_text(&s, &s.values[3]), SLICE_LIT("a\r\nb")));
    cr_assert_eq(s.values[7].kind, VALUE_ARRAY);
    cr_assert(slice_eq(http_value_text(&s, &s.values[9]), SLICE_LIT("1.5")));
    http_sink_fini(&s);
    for (size_t len = 0; len < out.len; len++) { /* cut anywhere it is none, or a shorter one */
        http_sink_init(&s, &bytes);
        bool whole = resp_replay(slice_of(out.data, len), &s.sink, NULL, NULL);
        cr_assert(!whole || s.count < 10);
        http_sink_fini(&s);
    }
    buf_fini(&out);
    size_t at = 0;
    http_sink_init(&s, &bytes);
    cr_assert(resp_replay(SLICE_LIT("*1\r\n$99\r\n\r\n"), &s.sink, hole, &at));
    cr_assert_eq(s.values[1].kind, VALUE_STREAM);
    cr_assert_eq(s.values[1].len, 99);
    http_sink_fini(&s);
    cr_assert_eq(closed, 1);
    buf_fini(&bytes);
}

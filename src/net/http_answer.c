/* Replies in the words of the dialect that was asked. Every text here is part of a contract: docs/http.md. */
#include <ctype.h>

#include "cmd/http_kv.h"
#include "net/net_internal.h"
#include "proto/json.h"

#define TYPE_BYTES "application/octet-stream"
#define TYPE_JSON "application/json"
#define TEXT_NO_KEY "key not found"

static const struct slice nothing = {NULL, 0};

bool http_streams(const struct http_state *s)
{
    return s->route.action == HTTP_KV_GET || s->route.action == HTTP_V1_GET;
}

/* ---- errors ---- */

static bool begins(struct slice text, const char *with)
{
    size_t len = strlen(with);
    return text.len >= len && memcmp(text.data, with, len) == 0;
}

/* An error of a command in a dialect that has no words for it. */
static void say_command_error(struct connection *c, const struct sink *sink, struct slice text)
{
    const char *code = sink->error_code;
    char copy[256];
    if (strcmp(code, "WRONGTYPE") == 0) {
        http_say_error(c, 409, "key holds another type");
    } else if (strcmp(code, "NOAUTH") == 0) {
        http_say_error(c, 401, "authentication required");
    } else if (begins(text, "ERR invalid expire time")) {
        http_say_error(c, 400, c->http->route.style == STYLE_TEXT ? "invalid body" : "ttl out of range");
    } else {
        bool ours = strcmp(code, "ERR") == 0;
        size_t skip = ours ? 4 : 0, len = text.len - skip < sizeof copy ? text.len - skip : sizeof copy - 1;
        memcpy(copy, text.data + skip, len);
        copy[len] = 0;
        for (size_t i = 0; i < len; i++)
            if (iscntrl((unsigned char)copy[i]))
                copy[i] = ' ';
        http_say_error(c, ours ? 500 : 503, copy);
    }
}

/* ---- values as they are ---- */

static void say_value(struct connection *c, struct http_sink *reply, struct http_value *v, const char *type)
{
    http_line(c->http, "X-Content-Type-Options: nosniff");
    if (v->kind == VALUE_STREAM) {
        struct sink_source *source = v->source;
        v->source = NULL;
        http_say_stream(c, 200, type, source, v->len);
    } else {
        http_say(c, 200, type, http_value_text(reply, v));
    }
}

/* ---- JSON ---- */

static void say_json(struct connection *c, enum result r, struct buf *body)
{
    if (r == RES_OK)
        http_say(c, 200, TYPE_JSON, buf_slice(body));
    else
        connection_close(c);
    buf_fini(body);
}

static void say_store_value(struct connection *c, struct http_sink *reply)
{
    struct buf out = BUF_INIT;
    enum result r = buf_append(&out, "{\"value\":", 9);
    if (r == RES_OK)
        r = json_put_string(&out, http_value_text(reply, &reply->values[0]));
    if (r == RES_OK)
        r = buf_append(&out, "}\n", 2);
    say_json(c, r, &out);
}

/* values: array, ms left or -1, version, content type, value. Seconds are rounded as TTL rounds them. */
static void say_item(struct connection *c, struct http_sink *reply)
{
    struct buf out = BUF_INIT;
    int64_t ms = reply->values[1].integer;
    enum result r = buf_append(&out, "{\"key\":", 7);
    if (r == RES_OK)
        r = json_put_string(&out, c->batch->requests[0].argv[1]);
    if (r == RES_OK)
        r = buf_append(&out, ",\"value\":", 9);
    if (r == RES_OK)
        r = json_put_string(&out, http_value_text(reply, &reply->values[4]));
    if (r == RES_OK && ms >= 0)
        r = buf_printf(&out, ",\"ttl\":%lld", (long long)(ms + 500) / 1000);
    if (r == RES_OK)
        r = buf_append(&out, "}", 1);
    say_json(c, r, &out);
}

/* ---- /v1/kv ---- */

static void etag_line(struct http_state *s, int64_t version)
{
    http_line(s, "ETag: \"%016llx\"", (unsigned long long)version);
}

static bool is_star(struct slice field) { return field.len == 1 && field.data[0] == '*'; }

static void say_v1_value(struct connection *c, struct http_sink *reply)
{
    struct http_state *s = c->http;
    struct slice match = s->m.field[FIELD_IF_MATCH], none = s->m.field[FIELD_IF_NONE_MATCH];
    uint64_t version = (uint64_t)reply->values[2].integer;
    int64_t ms = reply->values[1].integer;
    if (match.len > 0 && !is_star(match) && !http_etag_listed(match, version, false)) {
        http_say_error(c, 412, "the value is another one");
        return;
    }
    etag_line(s, (int64_t)version);
    if (ms >= 0)
        http_line(s, "Varve-Ttl-Ms: %lld", (long long)ms);
    if (none.len > 0 && (is_star(none) || http_etag_listed(none, version, true))) {
        http_say(c, 304, NULL, nothing);
        return;
    }
    /* What a page of this origin could do, a page that somebody stored must not. */
    http_line(s, "Content-Security-Policy: sandbox");
    struct slice type = http_value_text(reply, &reply->values[3]);
    char text[256];
    memcpy(text, type.data, type.len < 255 ? type.len : 255);
    text[type.len < 255 ? type.len : 255] = 0;
    say_value(c, reply, &reply->values[4], type.len ? text : TYPE_BYTES);
}

static void say_v1_written(struct connection *c, const struct http_sink *reply)
{
    if (reply->values[0].kind == VALUE_NULL) {
        http_say_error(c, 412, "the condition does not hold");
        return;
    }
    etag_line(c->http, reply->values[2].integer);
    http_say(c, reply->values[1].integer ? 201 : 204, NULL, nothing);
}

static void say_v1_removed(struct connection *c, const struct http_sink *reply)
{
    if (reply->values[0].kind == VALUE_NULL)
        http_say_error(c, 412, "the condition does not hold");
    else if (reply->values[0].integer == 0)
        http_say_error(c, 404, TEXT_NO_KEY);
    else
        http_say(c, 204, NULL, nothing);
}

static enum result put_path(struct buf *out, struct slice key)
{
    enum result r = buf_append(out, "\"/v1/kv/", 8);
    for (size_t i = 0; i < key.len && r == RES_OK; i++) {
        uint8_t b = key.data[i];
        bool plain = (b < 0x80 && isalnum(b)) || b == '-' || b == '_' || b == '.' || b == '~';
        r = plain ? buf_append(out, &b, 1) : buf_printf(out, "%%%02X", b);
    }
    return r == RES_OK ? buf_append(out, "\"", 1) : r;
}

/* values: array of 2, cursor, array of n, keys */
static void say_v1_list(struct connection *c, const struct http_sink *reply)
{
    struct buf out = BUF_INIT;
    struct slice cursor = http_value_text(reply, &reply->values[1]);
    enum result r = buf_append(&out, "{\"keys\":[", 9);
    for (size_t i = 3; i < reply->count && r == RES_OK; i++) {
        struct slice key = http_value_text(reply, &reply->values[i]);
        r = buf_printf(&out, "%s{\"key\":", i > 3 ? "," : "");
        if (r == RES_OK)
            r = json_put_string(&out, key);
        if (r == RES_OK)
            r = buf_append(&out, ",\"path\":", 8);
        if (r == RES_OK)
            r = put_path(&out, key);
        if (r == RES_OK)
            r = buf_append(&out, "}", 1);
    }
    if (r == RES_OK)
        r = buf_append(&out, "]", 1);
    if (r == RES_OK && !slice_eq(cursor, SLICE_LIT("0")))
        r = buf_printf(&out, ",\"cursor\":\"%.*s\"", (int)cursor.len, (const char *)cursor.data);
    if (r == RES_OK)
        r = buf_append(&out, "}\n", 2);
    say_json(c, r, &out);
}

/* ---- all of them ---- */

static void say_reply(struct connection *c, struct http_sink *reply)
{
    switch (c->http->route.action) {
    case HTTP_KV_GET:
        say_value(c, reply, &reply->values[0], TYPE_BYTES);
        return;
    case HTTP_METRICS:
        http_say(c, 200, "text/plain; version=0.0.4; charset=utf-8", http_value_text(reply, &reply->values[0]));
        return;
    case HTTP_STORE_GET:
        say_store_value(c, reply);
        return;
    case HTTP_ITEM_GET:
        say_item(c, reply);
        return;
    case HTTP_STORE_SET:
        http_say(c, 201, NULL, nothing);
        return;
    case HTTP_STORE_DELETE:
        http_say(c, 204, NULL, nothing);
        return;
    case HTTP_V1_GET:
        say_v1_value(c, reply);
        return;
    case HTTP_V1_PUT:
        say_v1_written(c, reply);
        return;
    case HTTP_V1_DELETE:
        say_v1_removed(c, reply);
        return;
    case HTTP_V1_LIST:
        say_v1_list(c, reply);
        return;
    default:
        http_say(c, 200, NULL, nothing);
    }
}

bool http_answer(struct connection *c, struct http_sink *reply)
{
    enum http_action action = c->http->route.action;
    if (action == HTTP_COMMAND || action == HTTP_PIPELINE || action == HTTP_MULTI_EXEC)
        return http_answer_command(c, reply);
    bool reads = action == HTTP_KV_GET || action == HTTP_STORE_GET || action == HTTP_ITEM_GET || action == HTTP_V1_GET;
    if (reply->values[0].kind == VALUE_ERROR)
        say_command_error(c, &reply->sink, http_value_text(reply, &reply->values[0]));
    else if (reads && reply->values[0].kind == VALUE_NULL)
        http_say_error(c, 404, TEXT_NO_KEY);
    else
        say_reply(c, reply);
    return true;
}

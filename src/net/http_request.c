/* A request becomes a command, or is refused.
 *
 * Who may ask: with a password set, who gives it (Bearer or Basic); without one, whoever reaches the listener, but not a
 * browser that was talked into it by another site's page. Such a page can send requests without being asked only in two
 * ways: from its own origin, which the browser tells (Origin), or by making its own name point here, which Host shows. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "base/num.h"
#include "cmd/http_kv.h"
#include "cmd/support.h"
#include "cmd/table.h"
#include "net/net_internal.h"
#include "proto/json.h"
#include "store/attributes.h"

#define TEXT_BODY "invalid body"
#define TEXT_CHARACTERS "key contains invalid characters"

/* ---- refusing ---- */

void http_refuse(struct connection *c, int status, const char *text)
{
    struct http_state *s = c->http;
    buf_clear(&s->body);
    if (http_error_body(&s->body, s->route.style, status, text) != RES_OK)
        buf_clear(&s->body);
    s->status = status;
    s->type = http_error_type(s->route.style);
    s->text = buf_slice(&s->body);
}

/* ---- who may ask ---- */

static bool knows_password(const struct connection *c)
{
    const char *password = c->reactor->tuning.http.password;
    struct slice given = c->http->m.field[FIELD_AUTHORIZATION];
    uint8_t pair[768];
    size_t len;
    if (given.len > 7 && slice_eq_nocase(slice_of(given.data, 7), "bearer "))
        return same_secret(slice_of(given.data + 7, given.len - 7), password);
    if (given.len <= 6 || given.len > sizeof pair || !slice_eq_nocase(slice_of(given.data, 6), "basic ") ||
        !base64_decode(slice_of(given.data + 6, given.len - 6), pair, &len))
        return false;
    const uint8_t *colon = memchr(pair, ':', len);
    if (colon == NULL)
        return false;
    struct slice user = slice_of(pair, (size_t)(colon - pair));
    bool good = same_secret(slice_of(colon + 1, len - user.len - 1), password);
    return good && (user.len == 0 || slice_eq(user, SLICE_LIT("default")));
}

static bool listed(const char *words, struct slice name)
{
    for (const char *at = words; *at != 0;) {
        size_t len = strcspn(at, " ");
        if ((len == 1 && *at == '*') || (len == name.len && strncasecmp(at, (const char *)name.data, len) == 0))
            return true;
        at += len + (at[len] == ' ');
    }
    return false;
}

/* An address as it stands, this machine's own name for itself, or a name that the settings allow: no page of another site can
 * have been loaded from there. */
static bool host_allowed(const struct connection *c)
{
    struct slice host = c->http->m.field[FIELD_HOST];
    char text[256];
    struct in6_addr address;
    if (host.data == NULL)
        return true; /* HTTP/1.0: no browser */
    if (host.len > 0 && host.data[0] == '[') {
        const uint8_t *end = memchr(host.data, ']', host.len);
        host = slice_of(host.data + 1, end ? (size_t)(end - host.data) - 1 : 0);
    } else {
        const uint8_t *colon = memchr(host.data, ':', host.len);
        host.len = colon ? (size_t)(colon - host.data) : host.len;
    }
    if (host.len >= sizeof text)
        return false;
    memcpy(text, host.data, host.len);
    text[host.len] = 0;
    return slice_eq_nocase(host, "localhost") || inet_pton(AF_INET, text, &address) == 1 ||
           inet_pton(AF_INET6, text, &address) == 1 || listed(c->reactor->tuning.http.hosts, host);
}

/* A request that changes something, sent by a page: is it a page of this very server? */
static bool origin_allowed(const struct http_message *m)
{
    struct slice origin = m->field[FIELD_ORIGIN], host = m->field[FIELD_HOST];
    if (origin.data == NULL || m->verb == VERB_GET || m->verb == VERB_HEAD)
        return true;
    size_t scheme = origin.len > 8 && memcmp(origin.data, "https://", 8) == 0  ? 8
                    : origin.len > 7 && memcmp(origin.data, "http://", 7) == 0 ? 7
                                                                               : 0;
    return scheme > 0 && slice_eq(slice_of(origin.data + scheme, origin.len - scheme), host);
}

bool http_admit(struct connection *c)
{
    struct http_state *s = c->http;
    bool password_set = c->reactor->tuning.password_set;
    c->session.authenticated = !password_set || knows_password(c);
    if (!c->session.authenticated && s->route.action != HTTP_HEALTH) {
        http_line(s, "WWW-Authenticate: Bearer");
        http_line(s, "WWW-Authenticate: Basic realm=\"varve\"");
        if (s->route.style == STYLE_COMMAND)
            http_refuse(c, 401, "NOAUTH Authentication required.");
        else
            http_refuse(c, 401, "authentication required");
        return false;
    }
    if (!password_set && !host_allowed(c)) {
        http_refuse(c, 403, "host not allowed");
        return false;
    }
    if (!origin_allowed(&s->m)) {
        http_refuse(c, 403, "requests of other origins are refused");
        return false;
    }
    return true;
}

/* ---- commands ---- */

void http_argument(struct connection *c, int i, struct slice value) { c->batch->requests[0].argv[i] = value; }

void http_use_command(struct connection *c, const struct command_entry *entry, int argc)
{
    struct request *q = &c->batch->requests[0];
    q->entry = entry;
    q->argc = argc;
    c->batch->keys += (uint16_t)exec_prefetch(c->reactor->worker, &c->session, entry, argc, q->argv);
}

/* The word a command is called by, as argument 0. */
static void use(struct connection *c, const char *name, int argc)
{
    http_argument(c, 0, slice_str(name));
    http_use_command(c, command_lookup(slice_str(name)), argc);
}

static void use_own(struct connection *c, enum http_kv which, const char *name, int argc)
{
    http_argument(c, 0, slice_str(name));
    http_use_command(c, http_kv_entry(which), argc);
}

/* Decodes where it lies; the bytes are this request's own. */
static bool decode(struct connection *c, struct slice in, struct slice *out)
{
    uint8_t *room = c->in.data + (in.data - c->in.data);
    if (in.len == 0) {
        *out = slice_of(NULL, 0);
        return true;
    }
    out->data = room;
    return http_percent_decode(in, room, &out->len);
}

/* Argument 1. false: refused. */
static bool key_argument(struct connection *c)
{
    struct slice key;
    if (!decode(c, c->http->route.key, &key)) {
        http_refuse(c, 400, TEXT_CHARACTERS);
        return false;
    }
    http_argument(c, 1, key);
    return true;
}

/* ---- /kv/{key} ---- */

static bool plain_key(struct slice key)
{
    for (size_t i = 0; i < key.len; i++) {
        uint8_t b = key.data[i];
        bool alnum = (b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z');
        if (!alnum && b != ':' && b != '_' && b != '.' && b != '-')
            return false;
    }
    return true;
}

static void begin_kv(struct connection *c)
{
    struct http_state *s = c->http;
    if (!key_argument(c))
        return;
    if (!plain_key(c->batch->requests[0].argv[1])) {
        http_refuse(c, 400, TEXT_CHARACTERS);
        return;
    }
    if (s->route.action == HTTP_KV_GET) {
        use(c, "get", 2);
    } else if (s->route.action == HTTP_KV_DELETE) {
        use(c, "del", 2);
    } else if (s->m.body.len == 0) {
        http_refuse(c, 400, "value cannot be empty");
    } else {
        http_argument(c, 2, s->m.body);
        use(c, "set", 3);
    }
}

/* ---- JSON: /set/{key}, /{key} ---- */

/* A tree takes many times the memory of its text, most of all when it is made of nothing: "[[],[],[]...". */
#define JSON_VALUES_MAX 1000000

json_t *http_json_body(struct slice body)
{
    size_t values = 1;
    for (size_t i = 0; i < body.len; i++)
        values += body.data[i] == ',' || body.data[i] == '[' || body.data[i] == '{';
    if (values > JSON_VALUES_MAX || body.len == 0)
        return NULL;
    return json_loadb((const char *)body.data, body.len, JSON_ALLOW_NUL, NULL);
}

static void begin_json_write(struct connection *c, bool with_ttl)
{
    struct http_state *s = c->http;
    if (!key_argument(c))
        return;
    s->json = http_json_body(s->m.body);
    const json_t *value = json_object_get(s->json, "value"), *ttl = json_object_get(s->json, "ttl");
    bool timed = with_ttl && ttl != NULL && !json_is_null(ttl);
    if (!json_is_string(value) || (timed && (!json_is_integer(ttl) || json_integer_value(ttl) < 1))) {
        http_refuse(c, 400, TEXT_BODY);
        return;
    }
    http_argument(c, 2, slice_of(json_string_value(value), json_string_length(value)));
    if (timed) {
        http_argument(c, 3, SLICE_LIT("EX"));
        http_argument(c, 4, slice_of(s->number[0], num_format_i64(s->number[0], json_integer_value(ttl))));
    }
    use(c, "set", timed ? 5 : 3);
}

static void begin_keyed(struct connection *c, const char *name)
{
    if (key_argument(c))
        use(c, name, 2);
}

static void begin_item_get(struct connection *c)
{
    if (key_argument(c))
        use_own(c, HTTP_KV_READ, "get", 2);
}

/* ---- /v1/kv ---- */

/* ?ttl=SECONDS or ?ttl_ms=: argument 3, in milliseconds. */
static bool ttl_argument(struct connection *c)
{
    struct http_state *s = c->http;
    struct slice text = SLICE_LIT("0"), other;
    uint64_t n = 0;
    bool in_ms = http_query_value(s->m.query, "ttl_ms", &text), in_s = http_query_value(s->m.query, "ttl", &other);
    if (in_s)
        text = other;
    if ((in_ms && in_s) || num_parse_u64(text, &n) != RES_OK || ((in_ms || in_s) && n == 0) || n > INT64_MAX / 1000) {
        http_refuse(c, 400, "ttl and ttl_ms are positive integers, and one of them is given at most");
        return false;
    }
    http_argument(c, 3, slice_of(s->number[0], num_format_u64(s->number[0], in_s ? n * 1000 : n)));
    return true;
}

static void begin_v1_put(struct connection *c)
{
    struct http_state *s = c->http;
    if (!key_argument(c) || !ttl_argument(c))
        return;
    if (s->m.field[FIELD_CONTENT_TYPE].len > ATTRIBUTE_MAX) {
        http_refuse(c, 400, "Content-Type is longer than 255 bytes");
        return;
    }
    http_argument(c, 2, s->m.body);
    http_argument(c, 4, s->m.field[FIELD_CONTENT_TYPE]);
    http_argument(c, 5, s->m.field[FIELD_IF_MATCH]);
    http_argument(c, 6, s->m.field[FIELD_IF_NONE_MATCH]);
    use_own(c, HTTP_KV_WRITE, "set", 7);
}

static void begin_v1_delete(struct connection *c)
{
    struct http_state *s = c->http;
    if (!key_argument(c))
        return;
    http_argument(c, 2, s->m.field[FIELD_IF_MATCH]);
    http_argument(c, 3, s->m.field[FIELD_IF_NONE_MATCH]);
    use_own(c, HTTP_KV_REMOVE, "del", 4);
}

static void begin_v1_get(struct connection *c)
{
    if (!key_argument(c))
        return;
    http_argument(c, 2, SLICE_LIT("version"));
    use_own(c, HTTP_KV_READ, "get", 3);
}

/* A value of the query, decoded; '+' is a space there. */
static bool query_value(struct connection *c, const char *name, struct slice *out, bool *good)
{
    if (!http_query_value(c->http->m.query, name, out))
        return false;
    uint8_t *room = c->in.data + (out->data - c->in.data);
    for (size_t i = 0; i < out->len; i++)
        if (room[i] == '+')
            room[i] = ' ';
    *good = decode(c, *out, out);
    return true;
}

/* The prefix as a pattern of SCAN, into s->words. */
static enum result pattern(struct http_state *s, struct slice prefix)
{
    enum result r = RES_OK;
    for (size_t i = 0; i < prefix.len && r == RES_OK; i++) {
        if (memchr("*?[]\\^-", prefix.data[i], 7) != NULL)
            r = buf_append(&s->words, "\\", 1);
        if (r == RES_OK)
            r = buf_append(&s->words, prefix.data + i, 1);
    }
    return r == RES_OK ? buf_append(&s->words, "*", 1) : r;
}

static void begin_v1_list(struct connection *c)
{
    struct http_state *s = c->http;
    struct slice prefix = SLICE_LIT(""), cursor = SLICE_LIT("0"), limit = SLICE_LIT("100");
    bool good[3] = {true, true, true};
    uint64_t position, count;
    query_value(c, "prefix", &prefix, &good[0]);
    query_value(c, "cursor", &cursor, &good[1]);
    query_value(c, "limit", &limit, &good[2]);
    if (!good[0] || !good[1] || !good[2] || num_parse_u64(cursor, &position) != RES_OK) {
        http_refuse(c, 400, "malformed prefix, cursor or limit");
        return;
    }
    if (num_parse_u64(limit, &count) != RES_OK || count < 1 || count > 10000) {
        http_refuse(c, 400, "limit is an integer from 1 to 10000");
        return;
    }
    if (pattern(s, prefix) != RES_OK) {
        http_refuse(c, 503, "out of memory");
        return;
    }
    http_argument(c, 1, cursor);
    http_argument(c, 2, SLICE_LIT("MATCH"));
    http_argument(c, 3, buf_slice(&s->words));
    http_argument(c, 4, SLICE_LIT("COUNT"));
    http_argument(c, 5, limit);
    http_argument(c, 6, SLICE_LIT("TYPE"));
    http_argument(c, 7, SLICE_LIT("string"));
    use(c, "scan", 8);
}

/* ---- all of them ---- */

static void begin_action(struct connection *c)
{
    struct http_state *s = c->http;
    switch (s->route.action) {
    case HTTP_KV_GET:
    case HTTP_KV_PUT:
    case HTTP_KV_DELETE:
        begin_kv(c);
        return;
    case HTTP_CLEAR:
        use(c, "flushdb", 1);
        return;
    case HTTP_STORE_GET:
        begin_keyed(c, "get");
        return;
    case HTTP_STORE_DELETE:
    case HTTP_ITEM_DELETE:
        begin_keyed(c, "del");
        return;
    case HTTP_STORE_SET:
    case HTTP_ITEM_PUT:
        begin_json_write(c, s->route.action == HTTP_ITEM_PUT);
        return;
    case HTTP_ITEM_GET:
        begin_item_get(c);
        return;
    case HTTP_V1_GET:
        begin_v1_get(c);
        return;
    case HTTP_V1_PUT:
        begin_v1_put(c);
        return;
    case HTTP_V1_DELETE:
        begin_v1_delete(c);
        return;
    case HTTP_V1_LIST:
        begin_v1_list(c);
        return;
    case HTTP_COMMAND:
    case HTTP_PIPELINE:
    case HTTP_MULTI_EXEC:
        http_begin_commands(c);
        return;
    default:
        http_begin_operation(c);
    }
}

void http_begin(struct connection *c)
{
    struct http_state *s = c->http;
    http_route(&s->m, &s->route);
    if (c->protocol == &protocol_metrics && s->route.action != HTTP_METRICS && s->route.action != HTTP_HEALTH)
        s->route = (struct http_route){.action = HTTP_REJECT, .status = 404, .text = "not found"};
    if (!http_admit(c))
        return;
    if (s->route.action == HTTP_REJECT) {
        if (s->route.allow != NULL)
            http_line(s, "Allow: %s", s->route.allow);
        http_refuse(c, s->route.status, s->route.text);
        return;
    }
    begin_action(c);
}

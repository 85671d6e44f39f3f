/* The data types: see types.h.
 *
 *     {"key":"k","type":"string","value":"v"}
 *     {"key":"k","type":"hash","expires_at_ms":1790000000000,"value":[["field","value"],...]}
 *     list, set: "value":["element",...]        zset: "value":[["member","score"],...]
 *
 * "expires_at_ms" is milliseconds since 1970 and missing for keys that never expire. Strings that are not UTF-8 are
 * {"base64":"..."}. As RESP, a string is one SET, anything else a DEL and commands of at most CHUNK elements: so whoever
 * runs a key's commands once more from their beginning has the same key afterwards. Elements stay strings all the way, as
 * the server writes them, scores included: the shortest text that reads back equal. */
#include "tools/kvctl/types.h"

#include <inttypes.h>
#include <string.h>

#include "base/num.h"

#define CHUNK 512 /* elements a command */

struct data_type {
    const char *name;
    const char *read;  /* command that answers with the whole: its words, KEY for the key */
    const char *write; /* command that stores elements behind the key */
    int arity;         /* strings an element has; 0: the value is one string */
    bool swapped;      /* they are written the other way round than they are read (ZADD) */
};

static const struct data_type types[] = {
    {"string", "GET KEY", "SET", 0, false},    {"list", "LRANGE KEY 0 -1", "RPUSH", 1, false},
    {"set", "SMEMBERS KEY", "SADD", 1, false}, {"zset", "ZRANGE KEY 0 -1 WITHSCORES", "ZADD", 2, true},
    {"hash", "HGETALL KEY", "HSET", 2, false},
};

const struct data_type *data_type_find(struct slice name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (slice_eq(slice_str(types[i].name), name))
            return &types[i];
    return NULL;
}

const char *data_type_name(const struct data_type *t) { return t->name; }

int data_type_ask(const struct data_type *t, redisContext *c, struct slice key)
{
    const char *words[8], *at = t->read;
    size_t lens[8];
    int n = 0;
    for (; *at; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");
        bool is_key = len == 3 && strncmp(at, "KEY", 3) == 0;
        words[n] = is_key ? (const char *)key.data : at;
        lens[n++] = is_key ? key.len : len;
        at += len;
    }
    return redisAppendCommandArgv(c, n, words, lens);
}

/* ---- RESP ---- */

static enum result put_head(struct buf *out, size_t words) { return buf_printf(out, "*%zu\r\n", words); }

static enum result put_word(struct buf *out, struct slice word)
{
    enum result r = buf_printf(out, "$%zu\r\n", word.len);
    if (r == RES_OK)
        r = buf_append(out, word.data, word.len);
    return r == RES_OK ? buf_append(out, "\r\n", 2) : r;
}

static enum result put_words(struct buf *out, size_t n, const struct slice *words)
{
    enum result r = put_head(out, n);
    for (size_t i = 0; r == RES_OK && i < n; i++)
        r = put_word(out, words[i]);
    return r;
}

/* The elements of a value, wherever they come from: strings one after the other. */
struct elements {
    size_t count; /* strings */
    const struct slice *item;
};

static enum result put_string(struct buf *out, struct slice key, uint64_t expire_ms, struct slice value)
{
    char ms[NUM_I64_MAX];
    struct slice words[5] = {SLICE_LIT("SET"), key, value};
    size_t n = 3;
    if (expire_ms) {
        words[n++] = SLICE_LIT("PXAT");
        words[n++] = slice_of(ms, num_format_u64(ms, expire_ms));
    }
    return put_words(out, n, words);
}

static enum result put_chunk(struct buf *out, const struct data_type *t, struct slice key, struct elements e)
{
    enum result r = put_head(out, 2 + e.count);
    if (r == RES_OK)
        r = put_word(out, slice_str(t->write));
    if (r == RES_OK)
        r = put_word(out, key);
    for (size_t i = 0; r == RES_OK && i < e.count; i++)
        r = put_word(out, e.item[t->swapped ? i ^ 1 : i]);
    return r;
}

/* DEL, chunks, PEXPIREAT. */
static enum result put_collection(struct buf *out, const struct data_type *t, struct slice key, uint64_t expire_ms,
                                  struct elements e, unsigned *commands)
{
    enum result r = put_words(out, 2, (struct slice[]){SLICE_LIT("DEL"), key});
    *commands = 1;
    size_t step = CHUNK * (size_t)t->arity;
    for (size_t at = 0; r == RES_OK && at < e.count; at += step, ++*commands) {
        size_t n = e.count - at < step ? e.count - at : step;
        r = put_chunk(out, t, key, (struct elements){n, e.item + at});
    }
    if (r == RES_OK && expire_ms) {
        char ms[NUM_I64_MAX];
        r = put_words(out, 3,
                      (struct slice[]){SLICE_LIT("PEXPIREAT"), key, slice_of(ms, num_format_u64(ms, expire_ms))});
        ++*commands;
    }
    return r;
}

/* ---- a reply of the server ---- */

static enum result look_at(const struct data_type *t, const redisReply *r)
{
    if (t->arity == 0)
        return r->type == REDIS_REPLY_STRING ? RES_OK : r->type == REDIS_REPLY_NIL ? RES_NOT_FOUND : RES_INVALID;
    if (r->type != REDIS_REPLY_ARRAY || r->elements % (size_t)t->arity)
        return RES_INVALID;
    for (size_t i = 0; i < r->elements; i++)
        if (r->element[i]->type != REDIS_REPLY_STRING)
            return RES_INVALID;
    return r->elements ? RES_OK : RES_NOT_FOUND;
}

static enum result elements_of(const redisReply *r, struct buf *room, struct elements *out)
{
    enum result res = buf_reserve(room, r->elements * sizeof(struct slice));
    if (res != RES_OK)
        return res;
    struct slice *item = (struct slice *)(void *)room->data;
    for (size_t i = 0; i < r->elements; i++)
        item[i] = reply_slice(r->element[i]);
    *out = (struct elements){r->elements, item};
    return RES_OK;
}

enum result data_type_to_resp(const struct data_type *t, struct buf *out, struct slice key, uint64_t expire_ms,
                              const redisReply *value)
{
    struct buf room = BUF_INIT;
    struct elements e;
    unsigned commands;
    enum result r = look_at(t, value);
    if (r != RES_OK)
        return r;
    if (t->arity == 0)
        return put_string(out, key, expire_ms, reply_slice(value));
    r = elements_of(value, &room, &e);
    if (r == RES_OK)
        r = put_collection(out, t, key, expire_ms, e, &commands);
    buf_fini(&room);
    return r;
}

/* ["a","b"], or [["a","1"],["b","2"]] */
static enum result put_json_elements(struct buf *out, const struct data_type *t, const redisReply *value)
{
    size_t arity = (size_t)t->arity;
    enum result r = buf_append(out, "[", 1);
    for (size_t i = 0; r == RES_OK && i < value->elements; i++) {
        if (i)
            r = buf_append(out, ",", 1);
        if (r == RES_OK && arity > 1 && i % arity == 0)
            r = buf_append(out, "[", 1);
        if (r == RES_OK)
            r = json_put_string(out, reply_slice(value->element[i]));
        if (r == RES_OK && arity > 1 && i % arity == arity - 1)
            r = buf_append(out, "]", 1);
    }
    return r == RES_OK ? buf_append(out, "]", 1) : r;
}

enum result data_type_to_json(const struct data_type *t, struct buf *out, struct slice key, uint64_t expire_ms,
                              const redisReply *value)
{
    enum result r = look_at(t, value);
    if (r == RES_OK)
        r = buf_printf(out, "{\"key\":");
    if (r == RES_OK)
        r = json_put_string(out, key);
    if (r == RES_OK)
        r = buf_printf(out, ",\"type\":\"%s\"", t->name);
    if (r == RES_OK && expire_ms)
        r = buf_printf(out, ",\"expires_at_ms\":%" PRIu64, expire_ms);
    if (r == RES_OK)
        r = buf_printf(out, ",\"value\":");
    if (r == RES_OK)
        r = t->arity == 0 ? json_put_string(out, reply_slice(value)) : put_json_elements(out, t, value);
    return r == RES_OK ? buf_append(out, "}\n", 2) : r;
}

/* ---- a line of JSON ---- */

struct line {
    const struct data_type *type;
    struct buf key, bytes, ends; /* bytes: all strings of the value; ends: where each one ends (size_t) */
    bool has_key, has_value, has_expiry;
    int64_t expire_ms;
};

static bool take_element(struct json *j, struct line *l)
{
    if (!json_bytes(j, &l->bytes))
        return false;
    if (buf_append(&l->ends, &l->bytes.len, sizeof l->bytes.len) == RES_OK)
        return true;
    j->error = "out of memory";
    return false;
}

static bool take_tuple(struct json *j, struct line *l)
{
    if (l->type->arity == 1)
        return take_element(j, l);
    if (!json_expect(j, '['))
        return false;
    for (int i = 0; i < l->type->arity; i++)
        if ((i && !json_expect(j, ',')) || !take_element(j, l))
            return false;
    return json_expect(j, ']');
}

static bool take_value(struct json *j, struct line *l)
{
    if (!l->type) {
        j->error = "\"type\" must stand before \"value\"";
        return false;
    }
    l->has_value = true;
    if (l->type->arity == 0)
        return take_element(j, l);
    if (!json_expect(j, '['))
        return false;
    do {
        if (!take_tuple(j, l))
            return false;
    } while (json_take(j, ','));
    return json_expect(j, ']');
}

static bool take_member(struct json *j, struct line *l, struct buf *word)
{
    word->len = 0;
    if (!json_bytes(j, word) || !json_expect(j, ':'))
        return false;
    struct slice name = buf_slice(word);
    if (slice_eq(name, SLICE_LIT("key")) && !l->has_key)
        return l->has_key = true, json_bytes(j, &l->key);
    if (slice_eq(name, SLICE_LIT("value")) && !l->has_value)
        return take_value(j, l);
    if (slice_eq(name, SLICE_LIT("expires_at_ms")) && !l->has_expiry) {
        l->has_expiry = true;
        if (json_integer(j, &l->expire_ms) && l->expire_ms > 0)
            return true;
        j->error = "\"expires_at_ms\" is not a time above 0";
        return false;
    }
    if (slice_eq(name, SLICE_LIT("type")) && !l->type) {
        word->len = 0;
        if (!json_bytes(j, word))
            return false;
        l->type = data_type_find(buf_slice(word));
        if (!l->type)
            j->error = "a \"type\" that this program does not know";
        return l->type != NULL;
    }
    j->error = "a member that is none of key, type, expires_at_ms, value, or stands there twice";
    return false;
}

static bool take_line(struct json *j, struct line *l)
{
    struct buf word = BUF_INIT;
    bool good = json_expect(j, '{');
    while (good) {
        good = take_member(j, l, &word);
        if (!good || !json_take(j, ','))
            break;
    }
    good = good && json_expect(j, '}') && json_end(j);
    if (good && (!l->has_key || !l->has_value)) {
        j->error = "\"key\" or \"value\" is missing";
        good = false;
    }
    buf_fini(&word);
    return good;
}

static enum result put_line(struct line *l, struct buf *out, unsigned *commands)
{
    struct slice key = buf_slice(&l->key);
    size_t n = l->ends.len / sizeof(size_t), from = 0;
    const size_t *ends = (const size_t *)(const void *)l->ends.data;
    struct buf room = BUF_INIT;
    enum result r = buf_reserve(&room, n * sizeof(struct slice));
    struct slice *item = (struct slice *)(void *)room.data;
    for (size_t i = 0; r == RES_OK && i < n; from = ends[i], i++)
        item[i] = slice_of(l->bytes.data ? l->bytes.data + from : NULL, ends[i] - from);
    *commands = 1;
    if (r == RES_OK && l->type->arity == 0)
        r = put_string(out, key, (uint64_t)l->expire_ms, item[0]);
    else if (r == RES_OK)
        r = put_collection(out, l->type, key, (uint64_t)l->expire_ms, (struct elements){n, item}, commands);
    buf_fini(&room);
    return r;
}

enum result data_type_from_json(struct slice text, struct buf *out, unsigned *commands, const char **error)
{
    struct json j;
    struct line l = {0};
    json_init(&j, text);
    enum result r = take_line(&j, &l) ? RES_OK : RES_INVALID;
    *error = j.error;
    if (r == RES_OK)
        r = put_line(&l, out, commands);
    buf_fini(&l.key);
    buf_fini(&l.bytes);
    buf_fini(&l.ends);
    return r;
}

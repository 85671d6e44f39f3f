/* The data types: see types.h.
 *
 *     {"key":"k","type":"string","value":"v"}
 *     {"key":"k","type":"hash","expires_at_ms":1790000000000,"value":[["field","value"],["field","value",1780000000000],...]}
 *     list, set: "value":["element",...]        zset: "value":[["member","score"],...]
 *     {"key":"k","type":"list","append":true,"value":["more",...]}
 *
 * "expires_at_ms" is milliseconds since 1970 and missing for keys that never expire; a field of a hash that expires has such a
 * time behind its value. Strings that are not UTF-8 are {"base64":"..."}. As RESP, a string is one SET, anything else a DEL
 * and commands of at most CHUNK elements: so whoever runs a key's commands once more from their beginning has the same key
 * afterwards. Elements stay strings all the way, as the server writes them, scores included: the shortest text that reads
 * back equal. A large collection is several lines one behind the other, of which all but the first append. */
#include "tools/kvctl/types.h"

#include <inttypes.h>
#include <string.h>

#include "base/num.h"

#define CHUNK 512 /* elements a command */
#define TEXT(n) TEXT_OF(n)
#define TEXT_OF(n) #n

static const struct data_type types[] = {
    {.name = "string", .read = "GET KEY", .write = "SET"},
    {.name = "list",
     .read = "LRANGE KEY 0 -1",
     .count = "LLEN KEY",
     .part = "LRANGE KEY FROM TO",
     .write = "RPUSH",
     .arity = 1,
     .places = true},
    {.name = "set",
     .read = "SMEMBERS KEY",
     .count = "SCARD KEY",
     .part = "SSCAN KEY FROM COUNT " TEXT(DATA_PART),
     .write = "SADD",
     .arity = 1},
    {.name = "zset",
     .read = "ZRANGE KEY 0 -1 WITHSCORES",
     .count = "ZCARD KEY",
     .part = "ZSCAN KEY FROM COUNT " TEXT(DATA_PART),
     .write = "ZADD",
     .arity = 2,
     .swapped = true},
    {.name = "hash",
     .read = "HGETALL KEY",
     .count = "HLEN KEY",
     .part = "HSCAN KEY FROM COUNT " TEXT(DATA_PART),
     .write = "HSET",
     .arity = 2,
     .expires = true},
};

const struct data_type *data_type_find(struct slice name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (slice_eq(slice_str(types[i].name), name))
            return &types[i];
    return NULL;
}

int data_type_ask(const char *command, redisContext *c, struct slice key, const char *from, const char *to)
{
    const char *words[8], *at = command;
    size_t lens[8];
    int n = 0;
    for (; *at; at += strspn(at, " "), n++) {
        size_t len = strcspn(at, " ");
        struct slice word = slice_of(at, len);
        if (slice_eq(word, SLICE_LIT("KEY")))
            word = key;
        else if (slice_eq(word, SLICE_LIT("FROM")))
            word = slice_str(from);
        else if (slice_eq(word, SLICE_LIT("TO")))
            word = slice_str(to);
        words[n] = (const char *)word.data;
        lens[n] = word.len;
        at += len;
    }
    return redisAppendCommandArgv(c, n, words, lens);
}

enum result data_items(const struct data_type *t, const redisReply *reply, struct buf *room, size_t *count)
{
    const redisReply *const *from = (const redisReply *const *)reply->element;
    *count = 1;
    if (t->arity == 0) {
        if (reply->type != REDIS_REPLY_STRING)
            return reply->type == REDIS_REPLY_NIL ? RES_NOT_FOUND : RES_INVALID;
        from = &reply;
    } else {
        *count = reply->elements;
        if (reply->type != REDIS_REPLY_ARRAY || *count % (size_t)t->arity)
            return RES_INVALID;
        if (*count == 0)
            return RES_NOT_FOUND;
    }
    enum result r = buf_reserve(room, *count * sizeof(struct slice));
    struct slice *item = (struct slice *)(void *)room->data;
    for (size_t i = 0; r == RES_OK && i < *count; i++) {
        if (from[i]->type != REDIS_REPLY_STRING)
            return RES_INVALID;
        item[i] = reply_slice(from[i]);
    }
    return r;
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

static enum result put_number(struct buf *out, uint64_t n)
{
    char text[NUM_I64_MAX];
    return put_word(out, slice_of(text, num_format_u64(text, n)));
}

static enum result put_words(struct buf *out, size_t n, const struct slice *words)
{
    enum result r = put_head(out, n);
    for (size_t i = 0; r == RES_OK && i < n; i++)
        r = put_word(out, words[i]);
    return r;
}

static enum result put_string(struct buf *out, const struct data_value *v)
{
    char ms[NUM_I64_MAX];
    struct slice words[5] = {SLICE_LIT("SET"), v->key, v->item[0]};
    size_t n = 3;
    if (v->expire_ms) {
        words[n++] = SLICE_LIT("PXAT");
        words[n++] = slice_of(ms, num_format_u64(ms, v->expire_ms));
    }
    return put_words(out, n, words);
}

/* The elements from the one with this number on. */
static enum result put_chunk(struct buf *out, const struct data_value *v, size_t from, size_t elements)
{
    size_t arity = (size_t)v->type->arity;
    enum result r = put_head(out, 2 + elements * arity);
    if (r == RES_OK)
        r = put_word(out, slice_str(v->type->write));
    if (r == RES_OK)
        r = put_word(out, v->key);
    for (size_t i = from * arity; r == RES_OK && i < (from + elements) * arity; i++)
        r = put_word(out, v->item[v->type->swapped ? i ^ 1 : i]);
    return r;
}

/* HPEXPIREAT KEY MS FIELDS N FIELD..., for fields side by side of one time. */
static enum result put_expiry(struct buf *out, const struct data_value *v, size_t from, size_t elements)
{
    enum result r = put_head(out, 5 + elements);
    if (r == RES_OK)
        r = put_word(out, SLICE_LIT("HPEXPIREAT"));
    if (r == RES_OK)
        r = put_word(out, v->key);
    if (r == RES_OK)
        r = put_number(out, v->item_expires[from]);
    if (r == RES_OK)
        r = put_word(out, SLICE_LIT("FIELDS"));
    if (r == RES_OK)
        r = put_number(out, elements);
    for (size_t i = from; r == RES_OK && i < from + elements; i++)
        r = put_word(out, v->item[i * (size_t)v->type->arity]);
    return r;
}

static enum result put_expiries(struct buf *out, const struct data_value *v, size_t elements, unsigned *commands)
{
    enum result r = RES_OK;
    for (size_t i = 0, n; r == RES_OK && i < elements; i += n) {
        for (n = 1; i + n < elements && n < CHUNK && v->item_expires[i + n] == v->item_expires[i]; n++)
            ;
        if (v->item_expires[i]) {
            r = put_expiry(out, v, i, n);
            ++*commands;
        }
    }
    return r;
}

enum result data_to_resp(const struct data_value *v, struct buf *out, unsigned *commands)
{
    *commands = 1;
    if (v->type->arity == 0)
        return put_string(out, v);
    size_t elements = v->count / (size_t)v->type->arity;
    enum result r = v->append ? RES_OK : put_words(out, 2, (struct slice[]){SLICE_LIT("DEL"), v->key});
    *commands = !v->append;
    for (size_t at = 0; r == RES_OK && at < elements; at += CHUNK, ++*commands)
        r = put_chunk(out, v, at, elements - at < CHUNK ? elements - at : CHUNK);
    if (r == RES_OK && v->item_expires)
        r = put_expiries(out, v, elements, commands);
    if (r == RES_OK && v->expire_ms) {
        char ms[NUM_I64_MAX];
        struct slice at = slice_of(ms, num_format_u64(ms, v->expire_ms));
        r = put_words(out, 3, (struct slice[]){SLICE_LIT("PEXPIREAT"), v->key, at});
        ++*commands;
    }
    return r;
}

/* ---- JSON ---- */

/* "a", or ["a","1"], or ["a","1",1790000000000] */
static enum result put_element(struct buf *out, const struct data_value *v, size_t n)
{
    size_t arity = (size_t)v->type->arity;
    enum result r = arity > 1 ? buf_append(out, "[", 1) : RES_OK;
    for (size_t i = 0; r == RES_OK && i < arity; i++) {
        if (i)
            r = buf_append(out, ",", 1);
        if (r == RES_OK)
            r = json_put_string(out, v->item[n * arity + i]);
    }
    if (r == RES_OK && v->item_expires && v->item_expires[n])
        r = buf_printf(out, ",%" PRIu64, v->item_expires[n]);
    return r == RES_OK && arity > 1 ? buf_append(out, "]", 1) : r;
}

static enum result put_elements(struct buf *out, const struct data_value *v)
{
    enum result r = buf_append(out, "[", 1);
    for (size_t i = 0; r == RES_OK && i < v->count / (size_t)v->type->arity; i++) {
        if (i)
            r = buf_append(out, ",", 1);
        if (r == RES_OK)
            r = put_element(out, v, i);
    }
    return r == RES_OK ? buf_append(out, "]", 1) : r;
}

enum result data_to_json(const struct data_value *v, struct buf *out)
{
    enum result r = buf_printf(out, "{\"key\":");
    if (r == RES_OK)
        r = json_put_string(out, v->key);
    if (r == RES_OK)
        r = buf_printf(out, ",\"type\":\"%s\"", v->type->name);
    if (r == RES_OK && v->append)
        r = buf_printf(out, ",\"append\":true");
    if (r == RES_OK && v->expire_ms)
        r = buf_printf(out, ",\"expires_at_ms\":%" PRIu64, v->expire_ms);
    if (r == RES_OK)
        r = buf_printf(out, ",\"value\":");
    if (r == RES_OK)
        r = v->type->arity == 0 ? json_put_string(out, v->item[0]) : put_elements(out, v);
    return r == RES_OK ? buf_append(out, "}\n", 2) : r;
}

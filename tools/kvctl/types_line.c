/* A line of JSON as export writes it, read back: see types.c. */
#include <string.h>

#include "tools/kvctl/types.h"

struct line {
    const struct data_type *type;
    struct buf key, bytes, ends; /* bytes: all strings of the value; ends: where each one ends (size_t) */
    struct buf expires;          /* for each element up to the last that expires: u64 */
    bool has_key, has_value, has_expiry, append;
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

static bool is_time(struct json *j, int64_t *ms)
{
    if (json_integer(j, ms) && *ms > 0)
        return true;
    j->error = "a time that is not above 0";
    return false;
}

/* Behind the strings of the element that was taken last. */
static bool take_element_expiry(struct json *j, struct line *l)
{
    size_t strings = l->ends.len / sizeof(size_t), elements = strings / (size_t)l->type->arity;
    size_t had = l->expires.len, need = elements * sizeof(uint64_t);
    int64_t ms;
    if (!is_time(j, &ms))
        return false;
    if (buf_reserve(&l->expires, need - had) != RES_OK) {
        j->error = "out of memory";
        return false;
    }
    memset(l->expires.data + had, 0, need - had);
    ((uint64_t *)(void *)l->expires.data)[elements - 1] = (uint64_t)ms;
    l->expires.len = need;
    return true;
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
    if (l->type->expires && json_take(j, ',') && !take_element_expiry(j, l))
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
        if (is_time(j, &l->expire_ms))
            return true;
        j->error = "\"expires_at_ms\" is not a time above 0";
        return false;
    }
    if (slice_eq(name, SLICE_LIT("append")) && !l->append)
        return l->append = true, json_word(j, "true");
    if (slice_eq(name, SLICE_LIT("type")) && !l->type) {
        word->len = 0;
        if (!json_bytes(j, word))
            return false;
        l->type = data_type_find(buf_slice(word));
        if (!l->type)
            j->error = "a \"type\" that this program does not know";
        return l->type != NULL;
    }
    j->error = "a member that is none of key, type, append, expires_at_ms, value, or stands there twice";
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
    if (good && l->append && l->type->arity == 0) {
        j->error = "a string cannot be appended to";
        good = false;
    }
    buf_fini(&word);
    return good;
}

static enum result put_line(struct line *l, struct buf *out, unsigned *commands)
{
    size_t n = l->ends.len / sizeof(size_t), from = 0;
    const size_t *ends = (const size_t *)(const void *)l->ends.data;
    struct buf room = BUF_INIT;
    enum result r = buf_reserve(&room, n * sizeof(struct slice));
    struct slice *item = (struct slice *)(void *)room.data;
    for (size_t i = 0; r == RES_OK && i < n; from = ends[i], i++)
        item[i] = slice_of(l->bytes.data ? l->bytes.data + from : NULL, ends[i] - from);
    if (r == RES_OK && l->expires.len) { /* and of those behind the last */
        size_t need = n / (size_t)l->type->arity * sizeof(uint64_t), had = l->expires.len;
        if ((r = buf_reserve(&l->expires, need - had)) == RES_OK)
            memset(l->expires.data + had, 0, need - had);
    }
    struct data_value v = {
        .type = l->type,
        .key = buf_slice(&l->key),
        .expire_ms = (uint64_t)l->expire_ms,
        .append = l->append,
        .count = n,
        .item = item,
        .item_expires = l->expires.len ? (const uint64_t *)(const void *)l->expires.data : NULL,
    };
    if (r == RES_OK)
        r = data_to_resp(&v, out, commands);
    buf_fini(&room);
    return r;
}

enum result data_from_json(struct slice text, struct buf *out, unsigned *commands, bool *append, const char **error)
{
    struct json j;
    struct line l = {0};
    json_init(&j, text);
    enum result r = take_line(&j, &l) ? RES_OK : RES_INVALID;
    *error = j.error;
    *append = l.append;
    if (r == RES_OK)
        r = put_line(&l, out, commands);
    buf_fini(&l.key);
    buf_fini(&l.bytes);
    buf_fini(&l.ends);
    buf_fini(&l.expires);
    return r;
}

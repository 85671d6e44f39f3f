/* HTTP requests: the bytes are parsed whole, and again cut at places the input chooses; both must agree, and every slice of a
 * request lies within its bytes (each is read; AddressSanitizer watches the buffer, which is made anew for each piece). */
#include <assert.h>
#include <stdlib.h>

#include "proto/http_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BODY_MAX 512

struct outcome {
    uint64_t sum;
    unsigned requests;
    int status; /* of a refusal */
};

static void add(struct outcome *o, struct slice s)
{
    o->sum = o->sum * 31 + s.len + 1;
    for (size_t i = 0; i < s.len; i++)
        o->sum = o->sum * 31 + s.data[i];
}

static void take(struct outcome *o, const struct http_parser *p, const uint8_t *data)
{
    struct http_message m;
    http_message_of(p, data, &m);
    assert(m.body.len <= BODY_MAX && m.target.len > 0 && m.path.len > 0);
    assert(m.http10 || m.field[FIELD_HOST].data != NULL);
    o->requests++;
    o->sum = o->sum * 31 + (uint64_t)m.verb * 4 + m.keep_alive * 2u + m.http10;
    add(o, m.target);
    add(o, m.path);
    add(o, m.query);
    for (int i = 0; i < FIELD_COUNT; i++)
        add(o, m.field[i]);
    add(o, m.body);
    uint8_t *room = malloc(m.path.len + 1);
    size_t len;
    assert(room != NULL);
    if (http_percent_decode(m.path, room, &len))
        add(o, slice_of(room, len));
    free(room);
}

/* seed 0: all at once. */
static struct outcome run(const uint8_t *data, size_t size, uint32_t seed)
{
    struct outcome o = {0};
    struct http_parser p;
    uint8_t *buf = NULL;
    size_t len = 0;
    http_parser_init(&p);
    for (size_t at = 0; at < size && o.status == 0;) {
        seed = seed ? seed * 1664525u + 1013904223u : 0;
        size_t part = seed == 0 ? size : 1 + (seed >> 16) % 40;
        part = part < size - at ? part : size - at;
        uint8_t *grown = malloc(len + part);
        assert(grown != NULL);
        if (len)
            memcpy(grown, buf, len);
        memcpy(grown + len, data + at, part);
        free(buf);
        buf = grown;
        len += part;
        at += part;
        for (;;) {
            size_t used = 0, left = len;
            enum http_outcome out = len ? http_parse(&p, buf, &left, BODY_MAX, &used) : HTTP_MORE;
            assert(left <= len);
            len = left;
            if (out == HTTP_REFUSED)
                o.status = p.status;
            if (out != HTTP_WHOLE)
                break;
            assert(used <= len);
            take(&o, &p, buf);
            http_parser_fini(&p);
            http_parser_init(&p);
            memmove(buf, buf + used, len - used);
            len -= used;
        }
    }
    http_parser_fini(&p);
    free(buf);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096) /* which limit of a longer one is met first may depend on the cuts */
        return 0;
    struct outcome once = run(data + 1, size - 1, 0), cut = run(data + 1, size - 1, 1u + data[0]);
    assert(once.sum == cut.sum && once.requests == cut.requests);
    assert((once.status != 0) == (cut.status != 0));
    return 0;
}

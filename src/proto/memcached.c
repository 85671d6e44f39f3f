/* The memcached binary protocol's frames: see memcached.h. */
#include "proto/memcached.h"

#include "base/bytes.h"

#define MAGIC_REQUEST 0x80
#define MAGIC_RESPONSE 0x81

enum need { NONE, OPTIONAL, REQUIRED };
/* What a request of an opcode must look like. */
struct shape {
    bool known;
    uint8_t loud;
    bool quiet, with_key;
    uint8_t extras;       /* their length */
    bool extras_optional; /* or none at all */
    enum need key, value;
};

#define READS(op, is_quiet, key_too)                                                                                   \
    {                                                                                                                  \
        true, op, is_quiet, key_too, 0, false, REQUIRED, NONE                                                          \
    }
#define STORES(op, is_quiet)                                                                                           \
    {                                                                                                                  \
        true, op, is_quiet, false, 8, false, REQUIRED, OPTIONAL                                                        \
    }
#define PLAIN(op, is_quiet, extras, key, value)                                                                        \
    {                                                                                                                  \
        true, op, is_quiet, false, extras, false, key, value                                                           \
    }

static const struct shape shapes[256] = {
    [MC_GET] = READS(MC_GET, false, false),
    [MC_GETQ] = READS(MC_GET, true, false),
    [MC_GETK] = READS(MC_GET, false, true),
    [MC_GETKQ] = READS(MC_GET, true, true),
    [MC_SET] = STORES(MC_SET, false),
    [MC_SETQ] = STORES(MC_SET, true),
    [MC_ADD] = STORES(MC_ADD, false),
    [MC_ADDQ] = STORES(MC_ADD, true),
    [MC_REPLACE] = STORES(MC_REPLACE, false),
    [MC_REPLACEQ] = STORES(MC_REPLACE, true),
    [MC_DELETE] = PLAIN(MC_DELETE, false, 0, REQUIRED, NONE),
    [MC_DELETEQ] = PLAIN(MC_DELETE, true, 0, REQUIRED, NONE),
    [MC_INCREMENT] = PLAIN(MC_INCREMENT, false, 20, REQUIRED, NONE),
    [MC_INCREMENTQ] = PLAIN(MC_INCREMENT, true, 20, REQUIRED, NONE),
    [MC_DECREMENT] = PLAIN(MC_DECREMENT, false, 20, REQUIRED, NONE),
    [MC_DECREMENTQ] = PLAIN(MC_DECREMENT, true, 20, REQUIRED, NONE),
    [MC_QUIT] = PLAIN(MC_QUIT, false, 0, NONE, NONE),
    [MC_QUITQ] = PLAIN(MC_QUIT, true, 0, NONE, NONE),
    [MC_FLUSH] = {true, MC_FLUSH, false, false, 4, true, NONE, NONE},
    [MC_FLUSHQ] = {true, MC_FLUSH, true, false, 4, true, NONE, NONE},
    [MC_NOOP] = PLAIN(MC_NOOP, false, 0, NONE, NONE),
    [MC_VERSION] = PLAIN(MC_VERSION, false, 0, NONE, NONE),
    [MC_APPEND] = PLAIN(MC_APPEND, false, 0, REQUIRED, OPTIONAL),
    [MC_APPENDQ] = PLAIN(MC_APPEND, true, 0, REQUIRED, OPTIONAL),
    [MC_PREPEND] = PLAIN(MC_PREPEND, false, 0, REQUIRED, OPTIONAL),
    [MC_PREPENDQ] = PLAIN(MC_PREPEND, true, 0, REQUIRED, OPTIONAL),
    [MC_STAT] = PLAIN(MC_STAT, false, 0, OPTIONAL, NONE),
    [MC_TOUCH] = PLAIN(MC_TOUCH, false, 4, REQUIRED, NONE),
    [MC_GAT] = {true, MC_GAT, false, false, 4, false, REQUIRED, NONE},
    [MC_GATQ] = {true, MC_GAT, true, false, 4, false, REQUIRED, NONE},
    [MC_GATK] = {true, MC_GAT, false, true, 4, false, REQUIRED, NONE},
    [MC_GATKQ] = {true, MC_GAT, true, true, 4, false, REQUIRED, NONE},
    [MC_SASL_LIST] = PLAIN(MC_SASL_LIST, false, 0, NONE, NONE),
    [MC_SASL_AUTH] = PLAIN(MC_SASL_AUTH, false, 0, REQUIRED, OPTIONAL),
    [MC_SASL_STEP] = PLAIN(MC_SASL_STEP, false, 0, REQUIRED, OPTIONAL),
};

const char *memcached_status_text(enum memcached_status status)
{
    switch (status) {
    case MC_OK:
        return "";
    case MC_NOT_FOUND:
        return "Not found";
    case MC_EXISTS:
        return "Data exists for key.";
    case MC_TOO_LARGE:
        return "Too large.";
    case MC_INVALID:
        return "Invalid arguments";
    case MC_NOT_STORED:
        return "Not stored.";
    case MC_NOT_A_NUMBER:
        return "Non-numeric server-side value for incr or decr";
    case MC_AUTH_ERROR:
        return "Auth failure.";
    case MC_UNKNOWN_COMMAND:
        return "Unknown command";
    case MC_NO_MEMORY:
        return "Out of memory";
    case MC_NOT_SUPPORTED:
        return "Not supported";
    case MC_BUSY:
        return "Busy";
    case MC_TEMPORARY:
        return "Temporary failure";
    case MC_INTERNAL:
        break;
    }
    return "Internal error";
}

static bool fits(enum need need, size_t len) { return need == OPTIONAL || (need == REQUIRED) == (len > 0); }

static enum memcached_status look_at(const struct shape *s, const struct memcached_request *q, uint8_t data_type)
{
    if (!s->known)
        return MC_UNKNOWN_COMMAND;
    bool extras = q->extras.len == s->extras || (s->extras_optional && q->extras.len == 0);
    if (!extras || data_type != 0 || q->key.len > MEMCACHED_KEY_MAX || !fits(s->key, q->key.len) ||
        !fits(s->value, q->value.len))
        return MC_INVALID;
    return MC_OK;
}

enum memcached_parse memcached_parse(struct slice in, uint64_t body_max, struct memcached_request *out, uint64_t *used)
{
    *used = 0;
    if (in.len > 0 && in.data[0] != MAGIC_REQUEST)
        return MEMCACHED_FOREIGN;
    if (in.len < MEMCACHED_HEADER)
        return MEMCACHED_MORE;
    const uint8_t *p = in.data;
    const struct shape *s = &shapes[p[1]];
    uint32_t key = get_be16(p + 2), extras = p[4], body = get_be32(p + 8);
    *out = (struct memcached_request){.opcode = p[1],
                                      .loud = s->known ? s->loud : p[1],
                                      .quiet = s->quiet,
                                      .with_key = s->with_key,
                                      .opaque = get_be32(p + 12),
                                      .cas = get_be64(p + 16)};
    if (key + extras > body) {
        out->refused = MC_INVALID;
        return MEMCACHED_BROKEN;
    }
    if (body - key - extras > body_max) {
        out->refused = s->known ? MC_TOO_LARGE : MC_UNKNOWN_COMMAND;
        *used = MEMCACHED_HEADER + (uint64_t)body;
        return MEMCACHED_SKIP;
    }
    if (in.len - MEMCACHED_HEADER < body)
        return MEMCACHED_MORE;
    p += MEMCACHED_HEADER;
    out->extras = slice_of(p, extras);
    out->key = slice_of(p + extras, key);
    out->value = slice_of(p + extras + key, body - key - extras);
    out->head = slice_of(in.data, MEMCACHED_HEADER + extras);
    out->refused = look_at(s, out, in.data[5]);
    *used = MEMCACHED_HEADER + (uint64_t)body;
    return MEMCACHED_REQUEST;
}

void memcached_head_get(struct slice head, struct memcached_head *out)
{
    *out = (struct memcached_head){.cas = get_be64(head.data + 16)};
    const uint8_t *extras = head.data + MEMCACHED_HEADER;
    size_t len = head.len - MEMCACHED_HEADER;
    if (len == 4) {
        out->expiry = get_be32(extras);
    } else if (len == 8) {
        out->flags = get_be32(extras);
        out->expiry = get_be32(extras + 4);
    } else if (len == 20) {
        out->delta = get_be64(extras);
        out->initial = get_be64(extras + 8);
        out->expiry = get_be32(extras + 16);
    }
}

void memcached_response_put(uint8_t p[MEMCACHED_HEADER], const struct memcached_response *r)
{
    p[0] = MAGIC_RESPONSE;
    p[1] = r->opcode;
    put_be16(p + 2, r->key_len);
    p[4] = r->extras_len;
    p[5] = 0;
    put_be16(p + 6, (uint16_t)r->status);
    put_be32(p + 8, (uint32_t)(r->extras_len + r->key_len + r->value_len));
    put_be32(p + 12, r->opaque);
    put_be64(p + 16, r->cas);
}

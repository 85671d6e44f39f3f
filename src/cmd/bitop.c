/* BITOP: strings combined bit by bit; shorter ones count as filled up with zeros. */
#include "cmd/bits.h"
#include "cmd/declare.h"

enum bit_operation { BIT_AND, BIT_OR, BIT_XOR, BIT_NOT, BIT_OPERATIONS };

static void combine(enum bit_operation op, uint8_t *into, const uint8_t *from, size_t len)
{
    switch (op) {
    case BIT_AND:
        for (size_t i = 0; i < len; i++)
            into[i] &= from[i];
        break;
    case BIT_OR:
        for (size_t i = 0; i < len; i++)
            into[i] |= from[i];
        break;
    default:
        for (size_t i = 0; i < len; i++)
            into[i] ^= from[i];
    }
}

/* Bytes [at, at + len) of the result. */
static enum result one_part(struct call *c, enum bit_operation op, const struct object *sources, size_t n, uint64_t at,
                            uint8_t *out, size_t len)
{
    memset(out, 0, len);
    for (size_t s = 0; s < n; s++) {
        struct slice bytes = slice_of(NULL, 0);
        enum result r = sources[s].exists ? store_string_range(c, &sources[s], at, len, &bytes) : RES_OK;
        if (r != RES_OK)
            return r;
        if (s == 0 && bytes.len)
            memcpy(out, bytes.data, bytes.len);
        else if (s > 0)
            combine(op, out, bytes.data, bytes.len);
        if (op == BIT_AND)
            memset(out + bytes.len, 0, len - bytes.len);
    }
    for (size_t i = 0; op == BIT_NOT && i < len; i++)
        out[i] = (uint8_t)~out[i];
    return RES_OK;
}

/* The sources, all strings or missing; *length is the longest. *ready is false when WRONGTYPE has been replied. */
static enum result load_sources(struct call *c, struct object *out, struct store_key *keys, uint64_t *length,
                                bool *ready)
{
    *length = 0;
    for (int i = 3; i < c->argc; i++) {
        struct object *o = &out[i - 3];
        enum result r = read_string(c, i, &keys[i - 3], o, ready);
        if (r != RES_OK || !*ready)
            return r;
        if (o->length > *length)
            *length = o->length;
    }
    return RES_OK;
}

static enum result store_result(struct call *c, struct slice value)
{
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, 2, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r != RES_OK)
        return r;
    if (value.len)
        return set_key(c, &o, value, 0, PUT_RAW);
    return o.exists ? delete_key(c, &o) : RES_OK;
}

static enum result run_bitop(struct call *c)
{
    static const char *const names[BIT_OPERATIONS] = {"and", "or", "xor", "not"};
    enum bit_operation op = BIT_AND;
    while (op < BIT_OPERATIONS && !arg_is(c, 1, names[op]))
        op++;
    if (op == BIT_OPERATIONS)
        return reply_syntax_error(c->reply);
    if (op == BIT_NOT && c->argc != 4)
        return reply_error(c->reply, "ERR BITOP NOT must be called with a single source key.");
    size_t n = (size_t)c->argc - 3;
    struct object *sources = arena_alloc(c->arena, n * sizeof *sources);
    struct store_key *keys = arena_alloc(c->arena, n * sizeof *keys);
    if (!sources || !keys)
        return RES_NO_MEMORY;
    uint64_t length;
    bool ready;
    enum result r = load_sources(c, sources, keys, &length, &ready);
    if (r != RES_OK || !ready)
        return r;
    uint8_t *result = arena_alloc(c->arena, (size_t)length + 1);
    if (!result)
        return RES_NO_MEMORY;
    for (uint64_t at = 0; at < length; at += STORE_CHUNK) {
        size_t len = length - at < STORE_CHUNK ? (size_t)(length - at) : STORE_CHUNK;
        if ((r = one_part(c, op, sources, n, at, result + at, len)) != RES_OK)
            return r;
        if (at / STORE_CHUNK % 16 == 15 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    r = store_result(c, slice_of(result, (size_t)length));
    if (r == RES_OK)
        reply_integer(c->reply, (int64_t)length);
    return r;
}

static const struct command_arg operations[] = {ARG_TOKEN("and", "AND"), ARG_TOKEN("or", "OR"), ARG_TOKEN("xor", "XOR"),
                                                ARG_TOKEN("not", "NOT"), ARGS_END};

const struct command cmd_bitop = {
    .name = "bitop",
    .arity = -4,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_BITMAP,
    .group = "bitmap",
    .since = "2.6.0",
    .complexity = "O(N) for N bytes read",
    .summary = "Combines strings bit by bit and stores the result.",
    .keys = (const struct command_keyspec[]){KEY_AT(2, KEY_OW | KEY_UPDATE), KEYS_FROM(3, 1, KEY_RO | KEY_ACCESS),
                                             KEYS_END},
    .args = (const struct command_arg[]){ARG("operation", ARG_ONEOF, .children = operations), ARG("destkey", ARG_KEY),
                                         ARG("key", ARG_KEY, .key_spec = 1, .flags = ARG_MULTIPLE), ARGS_END},
    .run = run_bitop,
};

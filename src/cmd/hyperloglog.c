/* PFADD, PFCOUNT, PFMERGE: HyperLogLogs are strings (hll.h). PFCOUNT of one key keeps the count in the value, and
 * so is a write when it was not valid (call_wants_write); else a read. */
#include "cmd/declare.h"
#include "cmd/hll.h"
#include "cmd/support.h"
#include "conf/settings.h"

static enum result reply_damaged(struct call *c)
{
    return reply_error(c->reply, "INVALIDOBJ Corrupted HLL object detected");
}

/* The bytes of an object that is there. *ready is false when an error has been replied. */
static enum result hll_bytes(struct call *c, const struct object *o, struct slice *bytes, bool *ready)
{
    *ready = false;
    if (o->type != TYPE_STRING)
        return reply_wrong_type(c->reply);
    *bytes = slice_of(NULL, 0);
    enum result r = o->length <= STORE_STRING_MAX ? store_string_all(c, o, bytes) : RES_CORRUPT;
    if (r != RES_OK)
        return r;
    *ready = hll_is(*bytes);
    return *ready ? RES_OK : reply_error(c->reply, "WRONGTYPE Key is not a valid HyperLogLog string value.");
}

static enum result keep(struct call *c, struct object *o, const struct hll *h)
{
    enum result r = store_set_string(c, o, slice_of(h->bytes, h->len), 0, PUT_KEEP_TTL | PUT_KEEP_ATTRIBUTES | PUT_RAW);
    return r == RES_OK ? call_event(c, EVENT_STRING, "pfadd", o->key->db, o->key->user) : r;
}

/* What is under the key, to be changed; an empty one when it is missing. */
static enum result open_hll(struct call *c, const struct object *o, struct hll *h, bool *ready)
{
    struct slice bytes;
    uint64_t most = (uint64_t)c->settings->hll_sparse_max_bytes;
    *ready = true;
    if (!o->exists)
        return hll_new(h, c->arena, most);
    enum result r = hll_bytes(c, o, &bytes, ready);
    return r == RES_OK && *ready ? hll_copy(h, c->arena, bytes, most) : r;
}

static enum result run_pfadd(struct call *c)
{
    struct store_key key;
    struct object o;
    struct hll h;
    bool ready;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r == RES_OK)
        r = open_hll(c, &o, &h, &ready);
    if (r != RES_OK || !ready)
        return r;
    bool changed = !o.exists;
    for (int i = 2; i < c->argc; i++) {
        if ((r = hll_add(&h, c->argv[i], &changed)) == RES_CORRUPT)
            return reply_damaged(c);
        if (r != RES_OK)
            return r;
        if (i % 256 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    if (changed) {
        hll_forget_count(&h);
        r = keep(c, &o, &h);
    }
    if (r == RES_OK)
        reply_integer(c->reply, changed);
    return r;
}

/* Merges the keys of the arguments from 1 on. */
static enum result merge_all(struct call *c, uint8_t **registers, bool *any_dense, bool *ready)
{
    *registers = arena_alloc(c->arena, HLL_REGISTERS);
    if (!*registers)
        return RES_NO_MEMORY;
    memset(*registers, 0, HLL_REGISTERS);
    *ready = true;
    *any_dense = false;
    for (int i = 1; i < c->argc; i++) {
        struct store_key *key = arena_alloc(c->arena, sizeof *key);
        struct object o;
        struct slice bytes;
        enum result r = key ? arg_key(c, i, key) : RES_NO_MEMORY;
        if (r == RES_OK)
            r = store_read(c, key, 0, &o);
        if (r != RES_OK)
            return r;
        if (!o.exists)
            continue;
        r = hll_bytes(c, &o, &bytes, ready);
        if (r != RES_OK || !*ready)
            return r;
        *any_dense |= hll_is_dense(bytes);
        if (hll_merge(*registers, bytes) != RES_OK) {
            *ready = false;
            return reply_damaged(c);
        }
        if (i % 16 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return RES_OK;
}

static enum result keep_count(struct call *c, struct object *o, struct slice bytes, uint64_t count)
{
    struct hll h;
    enum result r = hll_copy(&h, c->arena, bytes, (uint64_t)c->settings->hll_sparse_max_bytes);
    if (r != RES_OK)
        return r;
    hll_keep_count(&h, count);
    return store_set_string(c, o, slice_of(h.bytes, h.len), 0, PUT_KEEP_TTL | PUT_KEEP_ATTRIBUTES | PUT_RAW);
}

static enum result count_one(struct call *c)
{
    struct store_key key;
    struct object o;
    struct slice bytes;
    uint64_t count = 0;
    bool ready = true;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = c->overlay ? store_write(c, &key, &o) : store_read(c, &key, 0, &o);
    if (r == RES_OK && c->overlay)
        store_count_lookup(c, &o);
    if (r == RES_OK && o.exists)
        r = hll_bytes(c, &o, &bytes, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (o.exists && !hll_known_count(bytes, &count)) {
        uint8_t registers[HLL_REGISTERS] = {0};
        enum result writes = call_wants_write(c); /* before the work is done, which then is done once */
        if (writes == RES_WOULD_BLOCK)
            return writes;
        if (hll_merge(registers, bytes) != RES_OK)
            return reply_damaged(c);
        count = hll_count(registers);
        if (writes == RES_OK && (r = keep_count(c, &o, bytes, count)) != RES_OK)
            return r;
    }
    reply_integer(c->reply, (int64_t)count);
    return RES_OK;
}

static enum result run_pfcount(struct call *c)
{
    uint8_t *registers;
    bool any_dense, ready;
    if (c->argc == 2)
        return count_one(c);
    enum result r = merge_all(c, &registers, &any_dense, &ready);
    if (r == RES_OK && ready)
        reply_integer(c->reply, (int64_t)hll_count(registers));
    return r;
}

static enum result run_pfmerge(struct call *c)
{
    struct store_key key;
    struct object o;
    struct hll h;
    uint8_t *registers;
    bool any_dense, ready, changed = false;
    enum result r = merge_all(c, &registers, &any_dense, &ready);
    if (r != RES_OK || !ready)
        return r;
    r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r == RES_OK)
        r = open_hll(c, &o, &h, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (any_dense)
        r = hll_to_dense(&h);
    for (unsigned i = 0; r == RES_OK && i < HLL_REGISTERS; i++)
        if (registers[i])
            r = hll_raise(&h, i, registers[i], &changed);
    if (r == RES_CORRUPT)
        return reply_damaged(c);
    hll_forget_count(&h);
    if (r == RES_OK)
        r = keep(c, &o, &h);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

const struct command cmd_pfadd = {
    .name = "pfadd",
    .arity = -2,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_HYPERLOGLOG,
    .group = "hyperloglog",
    .since = "2.8.9",
    .complexity = "O(N) for N elements",
    .summary = "Adds elements to a HyperLogLog, which is created when it is missing.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_INSERT), KEYS_END},
    .args = (const struct command_arg[]){ARG("key", ARG_KEY),
                                         ARG("element", ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE), ARGS_END},
    .run = run_pfadd,
};

const struct command cmd_pfcount = {
    .name = "pfcount",
    .arity = -2,
    .flags = CMD_READONLY | CMD_MAY_REPLICATE,
    .acl = ACL_HYPERLOGLOG,
    .group = "hyperloglog",
    .since = "2.8.9",
    .complexity = "O(N) for N keys",
    .summary = "Estimates how many different elements HyperLogLogs have seen together.",
    .keys =
        (const struct command_keyspec[]){KEYS_FROM(1, 1, KEY_RW | KEY_ACCESS,
                                                   .notes = "RW because it may change the internal representation of "
                                                            "the key, and propagate to replicas"),
                                         KEYS_END},
    .args = args_keys,
    .run = run_pfcount,
};

const struct command cmd_pfmerge = {
    .name = "pfmerge",
    .arity = -2,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_HYPERLOGLOG,
    .group = "hyperloglog",
    .since = "2.8.9",
    .complexity = "O(N) for N keys",
    .summary = "Merges HyperLogLogs into one.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_INSERT),
                                             KEYS_FROM(2, 1, KEY_RO | KEY_ACCESS), KEYS_END},
    .args = (const struct command_arg[]){ARG("destkey", ARG_KEY),
                                         ARG("sourcekey", ARG_KEY, .key_spec = 1, .flags = ARG_OPTIONAL | ARG_MULTIPLE),
                                         ARGS_END},
    .run = run_pfmerge,
};

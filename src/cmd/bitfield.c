/* BITFIELD and BITFIELD_RO: integers of 1 to 64 bits at any bit position of a string, the highest bit first.
 *
 * All operations of a command work on one string. Where it is short they work on a copy that is written once at the end;
 * where it lies in pieces each operation reads and writes the few bytes it concerns. */
#include "base/num.h"
#include "cmd/bits.h"
#include "cmd/declare.h"

enum overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };
enum operation { FIELD_GET, FIELD_SET, FIELD_INCRBY };

struct field_op {
    enum operation op;
    enum overflow overflow;
    bool is_signed;
    unsigned bits;
    uint64_t offset; /* of its first bit */
    int64_t operand;
};
struct field_ops {
    struct field_op *op;
    size_t count;
    bool writes;
    uint64_t highest; /* the last bit that is written */
};

/* ---- arguments ---- */

static bool parse_type(struct call *c, int i, struct field_op *op)
{
    struct slice text = c->argv[i];
    int64_t bits;
    if (text.len > 1 && (text.data[0] == 'i' || text.data[0] == 'u') &&
        num_parse_i64(slice_of(text.data + 1, text.len - 1), &bits) == RES_OK && bits >= 1 &&
        bits <= (text.data[0] == 'i' ? 64 : 63)) {
        op->is_signed = text.data[0] == 'i';
        op->bits = (unsigned)bits;
        return true;
    }
    (void)reply_error(c->reply, "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported "
                                "but i64 is.");
    return false;
}

static bool parse_overflow(struct call *c, int i, enum overflow *out)
{
    static const char *const words[] = {"wrap", "sat", "fail"};
    for (unsigned w = 0; w < 3; w++)
        if (arg_is(c, i, words[w])) {
            *out = (enum overflow)w;
            return true;
        }
    (void)reply_error(c->reply, "ERR Invalid OVERFLOW type specified");
    return false;
}

/* False: an error is replied. */
static bool parse_ops(struct call *c, struct field_ops *ops)
{
    enum overflow overflow = OVERFLOW_WRAP;
    for (int i = 2; i < c->argc;) {
        int more = c->argc - i - 1;
        struct field_op *op = &ops->op[ops->count];
        *op = (struct field_op){.overflow = overflow};
        if (more >= 1 && arg_is(c, i, "overflow")) {
            if (!parse_overflow(c, i + 1, &overflow))
                return false;
            i += 2;
            continue;
        }
        if (more >= 2 && arg_is(c, i, "get"))
            op->op = FIELD_GET;
        else if (more >= 3 && arg_is(c, i, "set"))
            op->op = FIELD_SET;
        else if (more >= 3 && arg_is(c, i, "incrby"))
            op->op = FIELD_INCRBY;
        else {
            (void)reply_syntax_error(c->reply);
            return false;
        }
        if (!parse_type(c, i + 1, op) || !arg_bit_offset(c, i + 2, op->bits, &op->offset))
            return false;
        if (op->op != FIELD_GET) {
            ops->writes = true;
            if (op->offset + op->bits - 1 > ops->highest)
                ops->highest = op->offset + op->bits - 1;
            if (!arg_i64(c, i + 3, &op->operand))
                return false;
        }
        ops->count++;
        i += op->op == FIELD_GET ? 3 : 4;
    }
    return true;
}

/* ---- the string under work ---- */

struct field_target {
    struct object *o;
    uint8_t *copy; /* of a short string; NULL: read and write through o */
    uint64_t length;
    bool dirty;
};

/* The bytes at, at + 1 ... as far as the string has them, the rest zeros. */
static enum result load_bytes(struct call *c, const struct field_target *t, uint64_t at, uint8_t out[9])
{
    struct slice bytes = slice_of(NULL, 0);
    enum result r = RES_OK;
    memset(out, 0, 9);
    if (t->copy && at < t->length)
        bytes = slice_of(t->copy + at, (size_t)(t->length - at < 9 ? t->length - at : 9));
    else if (!t->copy && t->o->exists)
        r = store_string_range(c, t->o, at, 9, &bytes);
    if (r == RES_OK && bytes.len)
        memcpy(out, bytes.data, bytes.len);
    return r;
}

static enum result save_bytes(struct call *c, struct field_target *t, uint64_t at, struct slice bytes)
{
    t->dirty = true;
    if (!t->copy)
        return store_string_write(c, t->o, at, bytes);
    memcpy(t->copy + at, bytes.data, bytes.len);
    return RES_OK;
}

/* Makes room up to the last bit that will be written. */
static enum result prepare(struct call *c, struct field_target *t, uint64_t highest)
{
    struct object *o = t->o;
    uint64_t need = highest / 8 + 1;
    t->length = o->length > need ? o->length : need;
    t->dirty = need > o->length || !o->exists;
    if (!o->pieces && t->length <= STORE_INLINE_TOUCHED) {
        t->copy = arena_alloc(c->arena, (size_t)t->length);
        if (!t->copy)
            return RES_NO_MEMORY;
        memset(t->copy, 0, (size_t)t->length);
        if (o->value.len)
            memcpy(t->copy, o->value.data, o->value.len);
        return RES_OK;
    }
    uint8_t zero = 0;
    return need > o->length ? store_string_write(c, o, need - 1, slice_of(&zero, 1)) : RES_OK;
}

static uint64_t get_bits(const uint8_t *bytes, unsigned first, unsigned bits)
{
    uint64_t v = 0;
    for (unsigned i = first; i < first + bits; i++)
        v = v << 1 | (bytes[i / 8] >> (7 - i % 8) & 1);
    return v;
}

static void set_bits(uint8_t *bytes, unsigned first, unsigned bits, uint64_t v)
{
    for (unsigned i = 0; i < bits; i++) {
        unsigned at = first + i, bit = (unsigned)(v >> (bits - 1 - i) & 1), shift = 7 - at % 8;
        bytes[at / 8] = (uint8_t)((bytes[at / 8] & ~(1u << shift)) | bit << shift);
    }
}

static int64_t sign_extend(uint64_t v, unsigned bits)
{
    return bits < 64 && v >> (bits - 1) & 1 ? (int64_t)(v | UINT64_MAX << bits) : (int64_t)v;
}

/* ---- arithmetic ---- */

__extension__ typedef __int128 int128; /* wide enough for any sum; ISO C has no name for it */

/* Brings a sum into the field's range as the overflow rule says. False: the rule is FAIL and it does not fit. */
static bool fit(const struct field_op *op, int128 sum, uint64_t *out)
{
    int128 one = 1, max = (one << (op->is_signed ? op->bits - 1 : op->bits)) - 1, min = op->is_signed ? -max - 1 : 0;
    if (sum < min || sum > max) {
        if (op->overflow == OVERFLOW_FAIL)
            return false;
        /* Redis computes max - value in 64 bits: there a SET next to -2^63 is above everything. */
        bool wraps = op->op == FIELD_SET && max - sum > INT64_MAX && op->bits < 64;
        if (op->overflow == OVERFLOW_SAT)
            sum = sum < min && !wraps ? min : max;
    }
    *out = (uint64_t)sum & (op->bits < 64 ? (UINT64_C(1) << op->bits) - 1 : UINT64_MAX);
    return true;
}

static enum result apply(struct call *c, struct field_target *t, const struct field_op *op)
{
    uint8_t bytes[9];
    uint64_t at = op->offset / 8;
    unsigned first = (unsigned)(op->offset % 8);
    enum result r = load_bytes(c, t, at, bytes);
    if (r != RES_OK)
        return r;
    uint64_t old_bits = get_bits(bytes, first, op->bits), new_bits;
    int64_t old = op->is_signed ? sign_extend(old_bits, op->bits) : (int64_t)old_bits;
    if (op->op == FIELD_GET) {
        reply_integer(c->reply, old);
        return RES_OK;
    }
    int128 sum = op->op == FIELD_INCRBY ? (int128)old + op->operand
                 : op->is_signed        ? (int128)op->operand
                                        : (int128)(uint64_t)op->operand;
    if (!fit(op, sum, &new_bits)) {
        reply_null(c->reply);
        return RES_OK;
    }
    int64_t now = op->is_signed ? sign_extend(new_bits, op->bits) : (int64_t)new_bits;
    reply_integer(c->reply, op->op == FIELD_SET ? old : now);
    if (new_bits == old_bits)
        return RES_OK;
    set_bits(bytes, first, op->bits, new_bits);
    return save_bytes(c, t, at, slice_of(bytes, (first + op->bits + 7) / 8));
}

static enum result bitfield(struct call *c, bool read_only)
{
    struct field_ops ops = {.op = arena_alloc(c->arena, ((size_t)c->argc / 3 + 2) * sizeof *ops.op)};
    if (!ops.op)
        return RES_NO_MEMORY;
    if (!parse_ops(c, &ops))
        return RES_OK;
    if (ops.writes && read_only)
        return reply_error(c->reply, "ERR BITFIELD_RO only supports the GET subcommand");
    if (ops.writes && string_too_long(c, ops.highest / 8, 1))
        return RES_OK;
    struct store_key key;
    struct object o;
    bool ready;
    enum result r = ops.writes ? write_string(c, 1, &key, &o, &ready) : read_string(c, 1, &key, &o, &ready);
    if (r != RES_OK || !ready)
        return r;
    struct field_target t = {.o = &o};
    if (ops.writes)
        r = prepare(c, &t, ops.highest);
    reply_array(c->reply, ops.count);
    for (size_t i = 0; r == RES_OK && i < ops.count; i++)
        r = apply(c, &t, &ops.op[i]);
    if (r == RES_OK && t.copy && t.dirty)
        r = store_string_write(c, &o, 0, slice_of(t.copy, (size_t)t.length));
    else if (r == RES_OK && ops.writes && !t.dirty && o.exists && o.encoding != ENCODING_RAW)
        r = store_string_write(c, &o, 0, slice_of(NULL, 0)); /* as in Redis, where asking to write makes it raw */
    if (r == RES_OK && ops.writes && t.dirty)
        r = key_event(c, EVENT_STRING, "setbit", &key);
    return r;
}

static enum result run_bitfield(struct call *c) { return bitfield(c, false); }
static enum result run_bitfield_ro(struct call *c) { return bitfield(c, true); }

/* Only GET in it: the key is only read. */
static uint16_t bitfield_key_flags(int argc, const struct slice *argv)
{
    for (int i = 2; i < argc; i++)
        if (slice_eq_nocase(argv[i], "set") || slice_eq_nocase(argv[i], "incrby"))
            return KEY_RW | KEY_ACCESS | KEY_UPDATE;
    return KEY_RO | KEY_ACCESS;
}

/* ---- declarations ---- */

static const struct command_arg get_args[] = {ARG("encoding", ARG_STRING), ARG("offset", ARG_INTEGER), ARGS_END};
static const struct command_arg set_args[] = {ARG("encoding", ARG_STRING), ARG("offset", ARG_INTEGER),
                                              ARG("value", ARG_INTEGER), ARGS_END};
static const struct command_arg incrby_args[] = {ARG("encoding", ARG_STRING), ARG("offset", ARG_INTEGER),
                                                 ARG("increment", ARG_INTEGER), ARGS_END};
static const struct command_arg overflow_words[] = {ARG_TOKEN("wrap", "WRAP"), ARG_TOKEN("sat", "SAT"),
                                                    ARG_TOKEN("fail", "FAIL"), ARGS_END};
static const struct command_arg write_operations[] = {
    ARG("set-block", ARG_BLOCK, .token = "SET", .children = set_args),
    ARG("incrby-block", ARG_BLOCK, .token = "INCRBY", .children = incrby_args),
    ARGS_END,
};
static const struct command_arg write_args[] = {
    ARG("overflow-block", ARG_ONEOF, .token = "OVERFLOW", .flags = ARG_OPTIONAL, .children = overflow_words),
    ARG("write-operation", ARG_ONEOF, .children = write_operations),
    ARGS_END,
};
static const struct command_arg operations[] = {
    ARG("get-block", ARG_BLOCK, .token = "GET", .children = get_args),
    ARG("write", ARG_BLOCK, .children = write_args),
    ARGS_END,
};

const struct command cmd_bitfield = {
    .name = "bitfield",
    .arity = -2,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_BITMAP,
    .group = "bitmap",
    .since = "3.2.0",
    .complexity = "O(1) for each operation",
    .summary = "Reads, sets and adds to integers of any width inside a string.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE,
                                                    .notes = "read only when there are no operations but GET"),
                                             KEYS_END},
    .args =
        (const struct command_arg[]){
            ARG("key", ARG_KEY),
            ARG("operation", ARG_ONEOF, .flags = ARG_OPTIONAL | ARG_MULTIPLE, .children = operations), ARGS_END},
    .run = run_bitfield,
    .key_flags = bitfield_key_flags,
};

const struct command cmd_bitfield_ro = {
    .name = "bitfield_ro",
    .arity = -2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_BITMAP,
    .group = "bitmap",
    .since = "6.0.0",
    .complexity = "O(1) for each operation",
    .summary = "Reads integers of any width inside a string.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY),
                                         ARG("get-block", ARG_BLOCK, .token = "GET",
                                             .flags = ARG_OPTIONAL | ARG_MULTIPLE | ARG_MULTIPLE_TOKEN,
                                             .children = get_args),
                                         ARGS_END},
    .run = run_bitfield_ro,
};

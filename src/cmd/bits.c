/* Strings as arrays of bits, the highest bit of the first byte first: SETBIT, GETBIT, BITCOUNT, BITPOS. They go through a
 * string in chunks, so that their memory does not grow with it. */
#include "cmd/bits.h"

#include "base/num.h"
#include "cmd/declare.h"

bool arg_bit_offset(struct call *c, int i, unsigned multiplier, uint64_t *out)
{
    struct slice text = c->argv[i];
    int64_t n;
    bool times = multiplier && text.len && text.data[0] == '#';
    if (times) {
        text.data++;
        text.len--;
    }
    if (num_parse_i64(text, &n) == RES_OK && !(times && __builtin_mul_overflow(n, (int64_t)multiplier, &n)) && n >= 0 &&
        (uint64_t)n >> 3 < string_limit(c)) {
        *out = (uint64_t)n;
        return true;
    }
    (void)reply_error(c->reply, "ERR bit offset is not an integer or out of range");
    return false;
}

/* One byte of a string; what it does not have is 0. */
static enum result get_byte(struct call *c, const struct object *o, uint64_t at, uint8_t *out)
{
    struct slice byte;
    enum result r = store_string_range(c, o, at, 1, &byte);
    if (r == RES_OK)
        *out = byte.len ? byte.data[0] : 0;
    return r;
}

/* ---- SETBIT, GETBIT ---- */

static enum result run_setbit(struct call *c)
{
    static const char *const wrong_bit = "ERR bit is not an integer or out of range";
    uint64_t offset;
    int64_t on;
    if (!arg_bit_offset(c, 2, 0, &offset) || !arg_i64_or(c, 3, &on, wrong_bit))
        return RES_OK;
    if (on != 0 && on != 1)
        return reply_error(c->reply, "%s", wrong_bit);
    struct store_key key;
    struct object o;
    bool ready;
    uint8_t old = 0;
    enum result r = write_string(c, 1, &key, &o, &ready);
    if (r == RES_OK && ready)
        r = get_byte(c, &o, offset / 8, &old);
    if (r != RES_OK || !ready)
        return r;
    uint8_t mask = (uint8_t)(128 >> offset % 8), new = on ? old | mask : old &(uint8_t)~mask;
    bool changes = new != old || offset / 8 >= o.length;
    if (changes || o.encoding != ENCODING_RAW)
        r = store_string_write(c, &o, offset / 8, slice_of(&new, 1));
    if (r == RES_OK && changes)
        r = key_event(c, EVENT_STRING, "setbit", &key);
    if (r == RES_OK)
        reply_integer(c->reply, (old & mask) != 0);
    return r;
}

const struct command cmd_setbit = {
    .name = "setbit",
    .arity = 4,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_BITMAP,
    .group = "bitmap",
    .since = "2.2.0",
    .complexity = "O(1)",
    .summary = "Sets or clears a bit of a string, which grows as far as needed, and returns what it was.",
    .keys = key_change,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("offset", ARG_INTEGER), ARG("value", ARG_INTEGER),
                                         ARGS_END},
    .run = run_setbit,
};

static enum result run_getbit(struct call *c)
{
    uint64_t offset;
    if (!arg_bit_offset(c, 2, 0, &offset))
        return RES_OK;
    struct store_key key;
    struct object o;
    bool ready;
    uint8_t byte = 0;
    enum result r = read_string(c, 1, &key, &o, &ready);
    if (r == RES_OK && ready)
        r = get_byte(c, &o, offset / 8, &byte);
    if (r == RES_OK && ready)
        reply_integer(c->reply, byte >> (7 - offset % 8) & 1);
    return r;
}

const struct command cmd_getbit = {
    .name = "getbit",
    .arity = 3,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_BITMAP,
    .group = "bitmap",
    .since = "2.2.0",
    .complexity = "O(1)",
    .summary = "Returns a bit of a string.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("offset", ARG_INTEGER), ARGS_END},
    .run = run_getbit,
};

/* ---- runs of bits ---- */

/* Bits first .. last; empty when first > last. */
struct bit_range {
    int64_t first, last;
};

/* Turns indexes, which may count from the end, into bits of a string. in_bits: they count bits, else bytes. */
static struct bit_range resolve(int64_t start, int64_t end, bool in_bits, uint64_t length)
{
    int64_t n = (int64_t)length * (in_bits ? 8 : 1);
    if (start < 0)
        start = start + n < 0 ? 0 : start + n;
    if (end < 0)
        end = end + n < 0 ? 0 : end + n;
    if (end >= n)
        end = n - 1;
    if (start > end)
        return (struct bit_range){0, -1};
    return in_bits ? (struct bit_range){start, end} : (struct bit_range){start * 8, end * 8 + 7};
}

/* False: an error is replied. */
static bool arg_unit(struct call *c, int i, bool *in_bits)
{
    *in_bits = arg_is(c, i, "bit");
    if (*in_bits || arg_is(c, i, "byte"))
        return true;
    (void)reply_syntax_error(c->reply);
    return false;
}

/* Hands the bytes that hold the range to each(), with the bits outside the range set to `outside`. Stops when each()
 * returns true. */
typedef bool bits_fn(void *arg, uint64_t first_byte, struct slice bytes);
static enum result each_bytes(struct call *c, const struct object *o, struct bit_range range, bool outside,
                              bits_fn *each, void *arg)
{
    uint64_t at = (uint64_t)range.first / 8, last = (uint64_t)range.last / 8;
    uint8_t head = (uint8_t)(0xff >> range.first % 8), tail = (uint8_t)(0xff << (7 - range.last % 8));
    unsigned n = 0;
    while (at <= last) {
        bool edge = (at == (uint64_t)range.first / 8 && head != 0xff) || (at == last && tail != 0xff);
        uint64_t len = edge ? 1 : STORE_CHUNK - at % STORE_CHUNK;
        if (!edge && len > last + (tail == 0xff) - at)
            len = last + (tail == 0xff) - at;
        struct slice bytes;
        enum result r = store_string_range(c, o, at, (size_t)len, &bytes);
        if (r != RES_OK)
            return r;
        uint8_t byte;
        if (edge) {
            uint8_t inside = (uint8_t)((at == (uint64_t)range.first / 8 ? head : 0xff) & (at == last ? tail : 0xff));
            byte = (uint8_t)((bytes.data[0] & inside) | (outside ? (uint8_t)~inside : 0));
            bytes = slice_of(&byte, 1);
        }
        if (each(arg, at, bytes))
            return RES_OK;
        at += len;
        if (++n % 64 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return RES_OK;
}

/* ---- BITCOUNT ---- */

static bool count_ones(void *arg, uint64_t first_byte, struct slice bytes)
{
    (void)first_byte;
    uint64_t *count = arg, word;
    for (; bytes.len >= 8; bytes.data += 8, bytes.len -= 8) {
        memcpy(&word, bytes.data, 8);
        *count += (uint64_t)__builtin_popcountll(word);
    }
    for (size_t i = 0; i < bytes.len; i++)
        *count += (uint64_t)__builtin_popcount(bytes.data[i]);
    return false;
}

static enum result run_bitcount(struct call *c)
{
    struct store_key key;
    struct object o;
    bool ready, in_bits = false;
    enum result r = read_string(c, 1, &key, &o, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (!o.exists) {
        reply_integer(c->reply, 0);
        return RES_OK;
    }
    int64_t start = 0, end = -1;
    if (c->argc == 3 || c->argc > 5)
        return reply_syntax_error(c->reply);
    if (c->argc > 3) {
        if (!arg_i64(c, 2, &start) || !arg_i64(c, 3, &end))
            return RES_OK;
        if (start < 0 && end < 0 && start > end) { /* before the unit is looked at, as Redis does */
            reply_integer(c->reply, 0);
            return RES_OK;
        }
        if (c->argc == 5 && !arg_unit(c, 4, &in_bits))
            return RES_OK;
    }
    struct bit_range range = resolve(start, end, in_bits, o.length);
    uint64_t count = 0;
    if (range.first <= range.last)
        r = each_bytes(c, &o, range, false, count_ones, &count);
    if (r == RES_OK)
        reply_integer(c->reply, (int64_t)count);
    return r;
}

static const struct command_arg unit_words[] = {ARG_TOKEN("byte", "BYTE"), ARG_TOKEN("bit", "BIT"), ARGS_END};
#define UNIT ARG("unit", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "7.0.0", .children = unit_words)
static const struct command_history unit_history[] = {SINCE("7.0.0", "Option `BYTE|BIT`."), HISTORY_END};
static const struct command_arg bitcount_range[] = {ARG("start", ARG_INTEGER), ARG("end", ARG_INTEGER), UNIT, ARGS_END};

const struct command cmd_bitcount = {
    .name = "bitcount",
    .arity = -2,
    .flags = CMD_READONLY,
    .acl = ACL_BITMAP,
    .group = "bitmap",
    .since = "2.6.0",
    .complexity = "O(N) for N bytes looked at",
    .summary = "Counts the bits that are set in a string or a part of it.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY),
                                         ARG("range", ARG_BLOCK, .flags = ARG_OPTIONAL, .children = bitcount_range),
                                         ARGS_END},
    .history = unit_history,
    .run = run_bitcount,
};

/* ---- BITPOS ---- */

struct bit_search {
    bool bit, found;
    uint64_t position;
};

static bool search(void *arg, uint64_t first_byte, struct slice bytes)
{
    struct bit_search *s = arg;
    uint8_t dull = s->bit ? 0 : 0xff; /* a byte without what is looked for */
    size_t i = 0;
    uint64_t dull_word = s->bit ? 0 : UINT64_MAX, word = dull_word;
    for (; bytes.len - i >= 8; i += 8) {
        memcpy(&word, bytes.data + i, 8);
        if (word != dull_word)
            break;
    }
    while (i < bytes.len && bytes.data[i] == dull)
        i++;
    if (i == bytes.len)
        return false;
    uint32_t value = s->bit ? bytes.data[i] : (uint8_t)~bytes.data[i];
    s->position = (first_byte + i) * 8 + (unsigned)(__builtin_clz(value) - 24);
    s->found = true;
    return true;
}

static enum result run_bitpos(struct call *c)
{
    int64_t bit, start = 0, end = -1;
    bool in_bits = false, end_given = c->argc > 4, ready;
    if (!arg_i64(c, 2, &bit))
        return RES_OK;
    if (bit != 0 && bit != 1)
        return reply_error(c->reply, "ERR The bit argument must be 1 or 0.");
    struct store_key key;
    struct object o;
    enum result r = read_string(c, 1, &key, &o, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (!o.exists) { /* as if there were zeros without end */
        reply_integer(c->reply, bit ? -1 : 0);
        return RES_OK;
    }
    if (c->argc > 6)
        return reply_syntax_error(c->reply);
    if ((c->argc > 3 && !arg_i64(c, 3, &start)) || (c->argc == 6 && !arg_unit(c, 5, &in_bits)) ||
        (end_given && !arg_i64(c, 4, &end)))
        return RES_OK;
    struct bit_range range = resolve(start, end, in_bits, o.length);
    struct bit_search s = {.bit = bit == 1};
    if (range.first <= range.last)
        r = each_bytes(c, &o, range, !s.bit, search, &s);
    if (r != RES_OK)
        return r;
    /* Without an end the string is followed by zeros. */
    int64_t position = s.found ? (int64_t)s.position : -1;
    if (!s.found && !s.bit && !end_given && range.first <= range.last)
        position = (int64_t)o.length * 8;
    reply_integer(c->reply, position);
    return RES_OK;
}

static const struct command_arg bitpos_end[] = {ARG("end", ARG_INTEGER), UNIT, ARGS_END};
static const struct command_arg bitpos_range[] = {
    ARG("start", ARG_INTEGER),
    ARG("end-unit-block", ARG_BLOCK, .flags = ARG_OPTIONAL, .children = bitpos_end),
    ARGS_END,
};

const struct command cmd_bitpos = {
    .name = "bitpos",
    .arity = -3,
    .flags = CMD_READONLY,
    .acl = ACL_BITMAP,
    .group = "bitmap",
    .since = "2.8.7",
    .complexity = "O(N) for N bytes looked at",
    .summary = "Finds the first bit that is set, or clear, in a string or a part of it.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("bit", ARG_INTEGER),
                                         ARG("range", ARG_BLOCK, .flags = ARG_OPTIONAL, .children = bitpos_range),
                                         ARGS_END},
    .history = unit_history,
    .run = run_bitpos,
};

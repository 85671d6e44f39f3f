/* LCS: the longest common subsequence of two strings, by the textbook table of lengths (Cormen et al., "Introduction to
 * Algorithms", 15.4): cell (i, j) is the length for the first i bytes of one and the first j of the other. The walk back
 * through the table prefers the second string where both ways are equally long, as clients of Redis see it. */
#include <stdlib.h>

#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/support.h"

struct lcs {
    struct slice a, b;
    uint32_t *table; /* (a.len + 1) rows of (b.len + 1) */
};
struct match { /* first and last positions */
    uint32_t a_from, a_to, b_from, b_to;
};
struct lcs_options {
    bool len, idx, with_match_len;
    int64_t min_match_len;
};

static uint32_t *cell(const struct lcs *l, size_t i, size_t j) { return &l->table[i * (l->b.len + 1) + j]; }

static enum result fill(struct call *c, const struct lcs *l)
{
    memset(cell(l, 0, 0), 0, (l->b.len + 1) * sizeof *l->table);
    for (size_t i = 1; i <= l->a.len; i++) {
        *cell(l, i, 0) = 0;
        for (size_t j = 1; j <= l->b.len; j++) {
            uint32_t up = *cell(l, i - 1, j), left = *cell(l, i, j - 1);
            *cell(l, i, j) = l->a.data[i - 1] == l->b.data[j - 1] ? *cell(l, i - 1, j - 1) + 1 : up > left ? up : left;
        }
        if (i % 16 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return RES_OK;
}

/* Walks back: writes the common bytes to text (may be NULL), calls each for every run of matches, last run first. */
typedef void lcs_run_fn(void *arg, const struct match *m);
static void walk_back(const struct lcs *l, uint8_t *text, lcs_run_fn *each, void *arg)
{
    size_t i = l->a.len, j = l->b.len, at = *cell(l, i, j);
    struct match m = {0, 0, 0, 0};
    bool open = false;
    while (i && j) {
        if (l->a.data[i - 1] != l->b.data[j - 1]) {
            if (open)
                each(arg, &m);
            open = false;
            if (*cell(l, i - 1, j) > *cell(l, i, j - 1))
                i--;
            else
                j--;
            continue;
        }
        i--;
        j--;
        if (text)
            text[--at] = l->a.data[i];
        if (!open)
            m.a_to = (uint32_t)i, m.b_to = (uint32_t)j;
        m.a_from = (uint32_t)i;
        m.b_from = (uint32_t)j;
        open = true;
    }
    if (open)
        each(arg, &m);
}

struct ranges {
    struct sink *reply; /* NULL: only counted */
    const struct lcs_options *options;
    size_t count;
};

static void add_range(void *arg, const struct match *m)
{
    struct ranges *ranges = arg;
    int64_t len = (int64_t)m->a_to - m->a_from + 1;
    if (len < ranges->options->min_match_len)
        return;
    ranges->count++;
    struct sink *s = ranges->reply;
    if (!s)
        return;
    reply_array(s, ranges->options->with_match_len ? 3 : 2);
    reply_array(s, 2);
    reply_integer(s, m->a_from);
    reply_integer(s, m->a_to);
    reply_array(s, 2);
    reply_integer(s, m->b_from);
    reply_integer(s, m->b_to);
    if (ranges->options->with_match_len)
        reply_integer(s, len);
}

static void ignore_range(void *arg, const struct match *m)
{
    (void)arg;
    (void)m;
}

static enum result reply_lcs(struct call *c, const struct lcs *l, const struct lcs_options *o)
{
    uint32_t length = *cell(l, l->a.len, l->b.len);
    if (o->idx) {
        struct ranges ranges = {NULL, o, 0};
        walk_back(l, NULL, add_range, &ranges);
        reply_map(c->reply, 2);
        reply_bulk_str(c->reply, "matches");
        reply_array(c->reply, ranges.count);
        ranges.reply = c->reply;
        walk_back(l, NULL, add_range, &ranges);
        reply_bulk_str(c->reply, "len");
        reply_integer(c->reply, length);
    } else if (o->len) {
        reply_integer(c->reply, length);
    } else {
        uint8_t *text = arena_alloc(c->arena, length + 1);
        if (!text)
            return RES_NO_MEMORY;
        walk_back(l, text, ignore_range, NULL);
        reply_bulk(c->reply, slice_of(text, length));
    }
    return RES_OK;
}

/* False: an error is replied. */
static bool parse(struct call *c, struct lcs_options *o)
{
    *o = (struct lcs_options){.len = false};
    for (int i = 3; i < c->argc; i++) {
        if (arg_is(c, i, "idx")) {
            o->idx = true;
        } else if (arg_is(c, i, "len")) {
            o->len = true;
        } else if (arg_is(c, i, "withmatchlen")) {
            o->with_match_len = true;
        } else if (arg_is(c, i, "minmatchlen") && i + 1 < c->argc) {
            if (!arg_i64(c, ++i, &o->min_match_len))
                return false;
        } else {
            (void)reply_syntax_error(c->reply);
            return false;
        }
    }
    if (!o->len || !o->idx)
        return true;
    (void)reply_error(c->reply, "ERR If you want both the length and indexes, please just use IDX.");
    return false;
}

static enum result load(struct call *c, int i, struct slice *out, bool *is_string)
{
    struct store_key key;
    struct object o;
    *out = slice_of(NULL, 0);
    enum result r = arg_key(c, i, &key);
    if (r == RES_OK)
        r = store_read(c, &key, 0, &o);
    *is_string = r == RES_OK && (!o.exists || o.type == TYPE_STRING);
    return r == RES_OK && *is_string && o.exists ? store_string_all(c, &o, out) : r;
}

static enum result run_lcs(struct call *c)
{
    struct lcs l;
    struct lcs_options o;
    bool a_string, b_string;
    enum result r = load(c, 1, &l.a, &a_string);
    if (r == RES_OK)
        r = load(c, 2, &l.b, &b_string);
    if (r != RES_OK)
        return r;
    if (!a_string || !b_string)
        return reply_error(c->reply, "ERR The specified keys must contain string values");
    if (!parse(c, &o))
        return RES_OK;
    if ((uint64_t)(l.a.len + 1) * (l.b.len + 1) > string_limit(c) / sizeof *l.table)
        return reply_error(c->reply, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
    l.table = malloc((l.a.len + 1) * (l.b.len + 1) * sizeof *l.table);
    if (!l.table)
        return reply_error(c->reply, "ERR Insufficient memory, failed allocating transient memory for LCS");
    r = fill(c, &l);
    if (r == RES_OK)
        r = reply_lcs(c, &l, &o);
    free(l.table);
    return r;
}

const struct command cmd_lcs = {
    .name = "lcs",
    .arity = -3,
    .flags = CMD_READONLY,
    .acl = ACL_STRING,
    .group = "string",
    .since = "7.0.0",
    .complexity = "O(N*M) for strings of N and M bytes",
    .summary = "Finds the longest subsequence that two strings have in common.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RO | KEY_ACCESS, .last = 1), KEYS_END},
    .args =
        (const struct command_arg[]){ARG("key1", ARG_KEY), ARG("key2", ARG_KEY),
                                     ARG_TOKEN("len", "LEN", .flags = ARG_OPTIONAL),
                                     ARG_TOKEN("idx", "IDX", .flags = ARG_OPTIONAL),
                                     ARG("min-match-len", ARG_INTEGER, .token = "MINMATCHLEN", .flags = ARG_OPTIONAL),
                                     ARG_TOKEN("withmatchlen", "WITHMATCHLEN", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_lcs,
};

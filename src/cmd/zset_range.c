/* Ranges of sorted sets: ZRANGE and its older forms, ZRANGESTORE, ZCOUNT, ZLEXCOUNT.
 *
 * A range by members only makes sense where all scores are equal. Where they are not, Redis says that the result is
 * unspecified; for what it calls a listpack it follows from a search element by element, which is done here, too. */
#include <math.h>
#include <stdlib.h>

#include "cmd/declare.h"
#include "cmd/zset.h"

/* ---- bounds as arguments ---- */

#define BOUND_MAX 5120

/* As strtod reads it, up to the end or a zero byte: clients may write " 1" or nothing at all for 0. */
static bool score_bound(struct slice text, double *value, bool *exclusive)
{
    char copy[BOUND_MAX], *end;
    *exclusive = text.len && text.data[0] == '(';
    size_t skip = *exclusive, len = text.len - skip;
    const uint8_t *zero = len ? memchr(text.data + skip, 0, len) : NULL;
    if (zero)
        len = (size_t)(zero - text.data) - skip;
    if (len >= sizeof copy)
        return false;
    if (len)
        memcpy(copy, text.data + skip, len);
    copy[len] = 0;
    *value = strtod(copy, &end);
    return *end == 0 && !isnan(*value);
}

static bool lex_bound(struct slice text, struct lex_bound *out)
{
    uint8_t first = text.len ? text.data[0] : 0;
    *out = (struct lex_bound){.exclusive = first != '['};
    if (first == '(' || first == '[') {
        out->text = slice_of(text.data + 1, text.len - 1);
        return true;
    }
    out->infinite = first == '-' ? -1 : 1;
    return (first == '-' || first == '+') && (text.len == 1 || text.data[1] == 0);
}

bool arg_range(struct call *c, int min, int max, struct zset_range *range)
{
    const char *error = NULL;
    if (range->kind == RANGE_RANK)
        return arg_i64(c, min, &range->start) && arg_i64(c, max, &range->end);
    if (range->kind == RANGE_SCORE) {
        if (!score_bound(c->argv[min], &range->min, &range->min_exclusive) ||
            !score_bound(c->argv[max], &range->max, &range->max_exclusive))
            error = "ERR min or max is not a float";
    } else if (!lex_bound(c->argv[min], &range->lex_min) || !lex_bound(c->argv[max], &range->lex_max)) {
        error = "ERR min or max not valid string range item";
    }
    if (error)
        (void)reply_error(c->reply, "%s", error);
    return !error;
}

bool rank_range(const struct zset_range *range, uint64_t count, uint64_t *first, uint64_t *n)
{
    int64_t total = (int64_t)count, start = range->start, end = range->end;
    if (start < 0)
        start = start + total < 0 ? 0 : start + total;
    if (end < 0)
        end += total;
    if (start > end || start >= total)
        return false;
    if (end >= total)
        end = total - 1;
    *first = (uint64_t)start;
    *n = (uint64_t)(end - start + 1);
    return true;
}

/* ---- elements of a range ---- */

static int lex_cmp(struct slice member, const struct lex_bound *bound)
{
    return bound->infinite ? -bound->infinite : slice_cmp(member, bound->text);
}
static bool above_min(const struct zset_range *range, struct slice member)
{
    int c = lex_cmp(member, &range->lex_min);
    return range->lex_min.exclusive ? c > 0 : c >= 0;
}
static bool below_max(const struct zset_range *range, struct slice member)
{
    int c = lex_cmp(member, &range->lex_max);
    return range->lex_max.exclusive ? c < 0 : c <= 0;
}

static bool lex_range_empty(const struct zset_range *range)
{
    const struct lex_bound *a = &range->lex_min, *b = &range->lex_max;
    int c = a->infinite || b->infinite ? a->infinite - b->infinite : slice_cmp(a->text, b->text);
    return c > 0 || (c == 0 && (a->exclusive || b->exclusive));
}

/* Whether e is within the end that a walk comes to. */
static bool before_end(const struct zset_range *range, bool down, struct zset_entry e)
{
    if (range->kind == RANGE_LEX)
        return down ? above_min(range, e.member) : below_max(range, e.member);
    if (down)
        return range->min_exclusive ? e.score > range->min : e.score >= range->min;
    return range->max_exclusive ? e.score < range->max : e.score <= range->max;
}

static enum result end_element(struct zset *z, bool down, struct zset_entry *e)
{
    struct zset_cursor k;
    enum result r = zset_seek(z, &k, down ? &ZSET_END : &ZSET_START, down);
    if (r == RES_OK)
        r = zset_next(&k);
    if (r == RES_OK) {
        *e = k.at;
        r = zset_keep(z->e.c, e);
    }
    zset_cursor_close(&k);
    return r;
}

static enum result start_of_scores(struct zset *z, const struct zset_range *range, bool down, struct zset_cursor *k)
{
    struct zset_place from;
    if (down)
        from = range->max_exclusive ? zset_before_score(range->max) : zset_after_score(range->max);
    else
        from = range->min_exclusive ? zset_after_score(range->min) : zset_before_score(range->min);
    return zset_seek(z, k, &from, down);
}

/* Members in a row of equal scores. The first element of the range is under the cursor afterwards: *first. */
static enum result start_of_members(struct zset *z, const struct zset_range *range, bool down, struct zset_cursor *k)
{
    struct zset_entry low, high;
    enum result r = end_element(z, false, &low);
    if (r == RES_OK)
        r = end_element(z, true, &high);
    if (r != RES_OK)
        return r;
    if (!above_min(range, high.member) || !below_max(range, low.member))
        return RES_NOT_FOUND;
    const struct lex_bound *bound = down ? &range->lex_max : &range->lex_min;
    struct zset_place from = down ? ZSET_END : ZSET_START;
    if (z->e.encoding == ENCODING_SKIPLIST && !bound->infinite)
        from = (struct zset_place){zset_order_of(down ? high.score : low.score), bound->text,
                                   down ? !bound->exclusive : bound->exclusive};
    return zset_seek(z, k, &from, down);
}

/* Goes to the first element of the range. */
static enum result first_in_range(struct zset *z, const struct zset_range *range, bool down, struct zset_cursor *k)
{
    enum result r;
    if (range->kind == RANGE_LEX)
        r = lex_range_empty(range) ? RES_NOT_FOUND : start_of_members(z, range, down, k);
    else
        r = range->min > range->max ? RES_NOT_FOUND : start_of_scores(z, range, down, k);
    if (r == RES_OK)
        r = zset_next(k);
    while (r == RES_OK && range->kind == RANGE_LEX &&
           !(down ? below_max(range, k->at.member) : above_min(range, k->at.member)))
        r = zset_next(k);
    return r == RES_OK && !before_end(range, down, k->at) ? RES_NOT_FOUND : r;
}

enum result zset_in_range(struct zset *z, const struct zset_range *range, bool down, int64_t offset, int64_t limit,
                          zset_found_fn *each, void *arg)
{
    struct zset_cursor k = {.z = z};
    if (offset < 0 || !z->e.count)
        return RES_OK;
    enum result r = first_in_range(z, range, down, &k);
    while (r == RES_OK && offset-- > 0)
        r = zset_next(&k);
    while (r == RES_OK && limit-- && before_end(range, down, k.at)) {
        r = each(z->e.c, arg, k.at);
        if (r == RES_OK)
            r = zset_next(&k);
    }
    zset_cursor_close(&k);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

/* ---- ZRANGE and its forms ---- */

enum direction { UP, DOWN, EITHER };
struct request {
    struct zset_range range;
    bool any_kind; /* BYSCORE and BYLEX are options */
    enum direction direction;
    bool scores;
    int64_t offset, limit;
};

/* What stands behind key, min and max. False: the error is replied. */
static bool range_options(struct call *c, int i, bool store, struct request *q)
{
    for (; i < c->argc; i++) {
        if (!store && arg_is(c, i, "withscores")) {
            q->scores = true;
        } else if (arg_is(c, i, "limit") && c->argc - i > 2) {
            if (!arg_i64(c, i + 1, &q->offset) || !arg_i64(c, i + 2, &q->limit))
                return false;
            i += 2;
        } else if (q->direction == EITHER && arg_is(c, i, "rev")) {
            q->direction = DOWN;
        } else if (q->any_kind && arg_is(c, i, "bylex")) {
            q->range.kind = RANGE_LEX;
            q->any_kind = false;
        } else if (q->any_kind && arg_is(c, i, "byscore")) {
            q->range.kind = RANGE_SCORE;
            q->any_kind = false;
        } else {
            (void)reply_syntax_error(c->reply);
            return false;
        }
    }
    const char *error = NULL;
    if (q->limit != -1 && q->range.kind == RANGE_RANK)
        error = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
    else if (q->scores && q->range.kind == RANGE_LEX)
        error = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
    if (error)
        (void)reply_error(c->reply, "%s", error);
    return !error;
}

/* The words behind the key, which is argument i. */
static bool parse_request(struct call *c, int i, bool store, struct request *q)
{
    q->limit = -1;
    if (!range_options(c, i + 3, store, q))
        return false;
    bool swapped = q->direction == DOWN && q->range.kind != RANGE_RANK; /* max stands first then */
    return arg_range(c, i + 1 + swapped, i + 2 - swapped, &q->range);
}

static enum result collect(struct call *c, void *arg, struct zset_entry e) { return zset_list_add(c, arg, e, true); }

static enum result collect_ranks(struct zset *z, const struct request *q, struct zset_list *l)
{
    uint64_t first, n;
    struct zset_cursor k;
    if (!rank_range(&q->range, z->e.count, &first, &n))
        return RES_OK;
    enum result r = zset_seek_rank(z, &k, first, q->direction == DOWN);
    while (n-- && r == RES_OK && (r = zset_next(&k)) == RES_OK)
        r = zset_list_add(z->e.c, l, k.at, true);
    zset_cursor_close(&k);
    return r == RES_NOT_FOUND ? RES_CORRUPT : r;
}

/* A long reply: n elements, read while the client takes them. By ranks from `first` on; else the range's, where its elements
 * have been counted before. */
struct part {
    const struct request *q;
    uint64_t first, n;
};
struct part_stream {
    struct zset_key key;
    struct zset_cursor cursor;
    bool down, scores, standing; /* the cursor stands on an element that was not said */
    uint64_t left;
};

static enum result part_open(struct call *c, void *state, const void *from)
{
    struct part_stream *s = state;
    const struct part *part = from;
    const struct request *q = part->q;
    bool ready;
    s->down = q->direction == DOWN;
    s->scores = q->scores;
    s->left = part->n;
    enum result r = read_zset(c, 1, &s->key, &ready);
    if (r != RES_OK || !ready)
        return r != RES_OK ? r : RES_CORRUPT;
    s->cursor.z = &s->key.z;
    if (q->range.kind == RANGE_RANK)
        return zset_seek_rank(&s->key.z, &s->cursor, part->first, s->down);
    r = first_in_range(&s->key.z, &q->range, s->down, &s->cursor);
    for (int64_t i = 0; r == RES_OK && i < q->offset; i++)
        r = zset_next(&s->cursor);
    s->standing = r == RES_OK;
    return r == RES_NOT_FOUND ? RES_CORRUPT : r;
}

static enum result part_next(struct call *c, void *state)
{
    struct part_stream *s = state;
    if (!s->left)
        return RES_NOT_FOUND;
    enum result r = s->standing ? RES_OK : zset_next(&s->cursor);
    s->standing = false;
    if (r != RES_OK)
        return r == RES_NOT_FOUND ? RES_CORRUPT : r;
    s->left--;
    reply_entry(c, s->cursor.at, s->scores);
    return RES_OK;
}

static void part_close(void *state) { zset_cursor_close(&((struct part_stream *)state)->cursor); }

static const struct call_stream part_stream = {sizeof(struct part_stream), part_open, part_next, part_close};

static uint64_t part_bytes(const struct zset *z, uint64_t n) { return z->e.bytes / z->e.count * n; }

static enum result reply_ranks(struct zset *z, const struct request *q)
{
    struct call *c = z->e.c;
    struct part part = {.q = q};
    bool streams;
    struct zset_cursor k;
    if (!rank_range(&q->range, z->e.count, &part.first, &part.n)) {
        reply_array(c->reply, 0);
        return RES_OK;
    }
    uint64_t n = part.n, first = part.first;
    enum result r = call_streams(c, part_bytes(z, n), &streams);
    if (r != RES_OK)
        return r;
    if (streams) {
        reply_entries(c, (size_t)n, q->scores);
        return call_stream(c, &part_stream, &part);
    }
    r = zset_seek_rank(z, &k, first, q->direction == DOWN);
    reply_entries(c, (size_t)n, q->scores);
    while (n-- && r == RES_OK && (r = zset_next(&k)) == RES_OK)
        reply_entry(c, k.at, q->scores);
    zset_cursor_close(&k);
    return r == RES_NOT_FOUND ? RES_CORRUPT : r;
}

/* Elements of a SCORE or LEX range: kept, until there are so many that the reply is to be a stream; then only counted. */
struct found {
    struct zset *z;
    struct zset_list list;
    uint64_t n;
    bool streams;
};

static enum result find(struct call *c, void *arg, struct zset_entry e)
{
    struct found *f = arg;
    f->n++;
    if (f->streams)
        return RES_OK;
    if (f->n % 4096 == 0) {
        enum result r = call_streams(c, part_bytes(f->z, f->n), &f->streams);
        if (r != RES_OK || f->streams)
            return r;
    }
    return zset_list_add(c, &f->list, e, true);
}

static enum result range(struct call *c, struct request q)
{
    struct zset_key k;
    struct found found = {.z = &k.z};
    bool ready;
    if (!parse_request(c, 1, false, &q))
        return RES_OK;
    enum result r = read_zset(c, 1, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (q.range.kind == RANGE_RANK)
        return reply_ranks(&k.z, &q);
    r = zset_in_range(&k.z, &q.range, q.direction == DOWN, q.offset, q.limit, find, &found);
    if (r != RES_OK)
        return r;
    reply_entries(c, found.n, q.scores);
    if (found.streams)
        return call_stream(c, &part_stream, &(struct part){.q = &q, .n = found.n});
    for (size_t i = 0; i < found.list.count; i++)
        reply_entry(c, found.list.entry[i], q.scores);
    return RES_OK;
}

static enum result run_zrange(struct call *c)
{
    return range(c, (struct request){.any_kind = true, .direction = EITHER});
}
static enum result run_zrevrange(struct call *c) { return range(c, (struct request){.direction = DOWN}); }
static enum result run_zrangebyscore(struct call *c) { return range(c, (struct request){.range.kind = RANGE_SCORE}); }
static enum result run_zrevrangebyscore(struct call *c)
{
    return range(c, (struct request){.range.kind = RANGE_SCORE, .direction = DOWN});
}
static enum result run_zrangebylex(struct call *c) { return range(c, (struct request){.range.kind = RANGE_LEX}); }
static enum result run_zrevrangebylex(struct call *c)
{
    return range(c, (struct request){.range.kind = RANGE_LEX, .direction = DOWN});
}

static enum result run_zrangestore(struct call *c)
{
    struct request q = {.any_kind = true, .direction = EITHER};
    struct zset_key k;
    struct zset_list found = {.count = 0};
    bool ready;
    if (!parse_request(c, 2, true, &q))
        return RES_OK;
    enum result r = read_zset(c, 2, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (q.range.kind == RANGE_RANK)
        r = collect_ranks(&k.z, &q, &found);
    else
        r = zset_in_range(&k.z, &q.range, q.direction == DOWN, q.offset, q.limit, collect, &found);
    if (r == RES_OK)
        r = store_zset(c, 1, found.entry, found.count, "zrangestore");
    if (r == RES_OK)
        reply_integer(c->reply, (int64_t)found.count);
    return r;
}

/* ---- ZCOUNT, ZLEXCOUNT ---- */

static enum result count_one(struct call *c, void *arg, struct zset_entry e)
{
    (void)c;
    (void)e;
    ++*(uint64_t *)arg;
    return RES_OK;
}

/* Where all scores are equal a range of members is one of places. */
static enum result count_members(struct zset *z, const struct zset_range *range, uint64_t *n)
{
    struct zset_entry low, high;
    enum result r = end_element(z, false, &low);
    if (r == RES_OK)
        r = end_element(z, true, &high);
    if (r != RES_OK)
        return r;
    if (z->e.encoding == ENCODING_LISTPACK || low.score != high.score)
        return zset_in_range(z, range, false, 0, -1, count_one, n);
    const struct lex_bound *min = &range->lex_min, *max = &range->lex_max;
    if (lex_range_empty(range))
        return RES_OK;
    struct zset_place from = {zset_order_of(low.score), min->text, min->exclusive};
    struct zset_place to = {zset_order_of(low.score), max->text, !max->exclusive};
    return zset_count(z, min->infinite ? &ZSET_START : &from, max->infinite ? &ZSET_END : &to, n);
}

static enum result count(struct call *c, enum zset_range_kind kind)
{
    struct zset_range range = {.kind = kind};
    struct zset_key k;
    bool ready;
    uint64_t n = 0;
    if (!arg_range(c, 2, 3, &range))
        return RES_OK;
    enum result r = read_zset(c, 1, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (kind == RANGE_LEX) {
        r = k.z.e.count ? count_members(&k.z, &range, &n) : RES_OK;
    } else {
        struct zset_place from = range.min_exclusive ? zset_after_score(range.min) : zset_before_score(range.min);
        struct zset_place to = range.max_exclusive ? zset_before_score(range.max) : zset_after_score(range.max);
        r = zset_count(&k.z, &from, &to, &n);
    }
    if (r == RES_OK)
        reply_integer(c->reply, (int64_t)n);
    return r;
}

static enum result run_zcount(struct call *c) { return count(c, RANGE_SCORE); }
static enum result run_zlexcount(struct call *c) { return count(c, RANGE_LEX); }

static const struct command_arg args_sortby[] = {ARG_TOKEN("byscore", "BYSCORE"), ARG_TOKEN("bylex", "BYLEX"),
                                                 ARGS_END};

static const struct command_arg args_limit[] = {ARG("offset", ARG_INTEGER), ARG("count", ARG_INTEGER), ARGS_END};

const struct command cmd_zrange = {
    .name = "zrange",
    .arity = -4,
    .flags = CMD_READONLY,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "1.2.0",
    .complexity = "O(log(N)+M) for N members, M of them returned",
    .summary = "Returns the members in a range of places, scores or names.",
    .keys = key_read,
    .args =
        (const struct command_arg[]){
            ARG("key", ARG_KEY), ARG("start", ARG_STRING), ARG("stop", ARG_STRING),
            ARG("sortby", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "6.2.0", .children = args_sortby),
            ARG_TOKEN("rev", "REV", .flags = ARG_OPTIONAL, .since = "6.2.0"),
            ARG("limit", ARG_BLOCK, .token = "LIMIT", .flags = ARG_OPTIONAL, .since = "6.2.0", .children = args_limit),
            ARG_TOKEN("withscores", "WITHSCORES", .flags = ARG_OPTIONAL), ARGS_END},
    .history =
        (const struct command_history[]){SINCE("6.2.0", "Options `REV`, `BYSCORE`, `BYLEX` and `LIMIT`."), HISTORY_END},
    .run = run_zrange,
};

const struct command cmd_zrangestore = {
    .name = "zrangestore",
    .arity = -5,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "6.2.0",
    .complexity = "O(log(N)+M) for N members, M of them stored",
    .summary = "Stores the members in a range of a sorted set under another key.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_OW | KEY_UPDATE), KEY_AT(2, KEY_RO | KEY_ACCESS), KEYS_END},
    .args =
        (const struct command_arg[]){
            ARG("dst", ARG_KEY), ARG("src", ARG_KEY, .key_spec = 1), ARG("min", ARG_STRING), ARG("max", ARG_STRING),
            ARG("sortby", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = args_sortby),
            ARG_TOKEN("rev", "REV", .flags = ARG_OPTIONAL),
            ARG("limit", ARG_BLOCK, .token = "LIMIT", .flags = ARG_OPTIONAL, .children = args_limit), ARGS_END},
    .run = run_zrangestore,
};

const struct command cmd_zrevrange = {
    .name = "zrevrange",
    .arity = -4,
    .flags = CMD_READONLY,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "1.2.0",
    .complexity = "O(log(N)+M) for N members, M of them returned",
    .summary = "Returns the members in a range of places, from the highest score on.",
    .deprecated_since = "6.2.0",
    .replaced_by = "`ZRANGE` with the `REV` argument",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("start", ARG_INTEGER), ARG("stop", ARG_INTEGER),
                                         ARG_TOKEN("withscores", "WITHSCORES", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_zrevrange,
};

const struct command cmd_zrangebyscore = {
    .name = "zrangebyscore",
    .arity = -4,
    .flags = CMD_READONLY,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "1.0.5",
    .complexity = "O(log(N)+M) for N members, M of them returned or left out by LIMIT",
    .summary = "Returns the members in a range of scores.",
    .deprecated_since = "6.2.0",
    .replaced_by = "`ZRANGE` with the `BYSCORE` argument",
    .keys = key_read,
    .args =
        (const struct command_arg[]){
            ARG("key", ARG_KEY), ARG("min", ARG_DOUBLE), ARG("max", ARG_DOUBLE),
            ARG_TOKEN("withscores", "WITHSCORES", .flags = ARG_OPTIONAL, .since = "2.0.0"),
            ARG("limit", ARG_BLOCK, .token = "LIMIT", .flags = ARG_OPTIONAL, .children = args_limit), ARGS_END},
    .history = (const struct command_history[]){SINCE("2.0.0", "Option `WITHSCORES`."), HISTORY_END},
    .run = run_zrangebyscore,
};

const struct command cmd_zrevrangebyscore = {
    .name = "zrevrangebyscore",
    .arity = -4,
    .flags = CMD_READONLY,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "2.2.0",
    .complexity = "O(log(N)+M) for N members, M of them returned or left out by LIMIT",
    .summary = "Returns the members in a range of scores, from the highest on.",
    .deprecated_since = "6.2.0",
    .replaced_by = "`ZRANGE` with the `REV` and `BYSCORE` arguments",
    .keys = key_read,
    .args =
        (const struct command_arg[]){
            ARG("key", ARG_KEY), ARG("max", ARG_DOUBLE), ARG("min", ARG_DOUBLE),
            ARG_TOKEN("withscores", "WITHSCORES", .flags = ARG_OPTIONAL),
            ARG("limit", ARG_BLOCK, .token = "LIMIT", .flags = ARG_OPTIONAL, .children = args_limit), ARGS_END},
    .history = (const struct command_history[]){SINCE("2.1.6", "Bounds that are left out."), HISTORY_END},
    .run = run_zrevrangebyscore,
};

const struct command cmd_zrangebylex = {
    .name = "zrangebylex",
    .arity = -4,
    .flags = CMD_READONLY,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "2.8.9",
    .complexity = "O(log(N)+M) for N members, M of them returned or left out by LIMIT",
    .summary = "Returns the members in a range of names, where all scores are equal.",
    .deprecated_since = "6.2.0",
    .replaced_by = "`ZRANGE` with the `BYLEX` argument",
    .keys = key_read,
    .args =
        (const struct command_arg[]){
            ARG("key", ARG_KEY), ARG("min", ARG_STRING), ARG("max", ARG_STRING),
            ARG("limit", ARG_BLOCK, .token = "LIMIT", .flags = ARG_OPTIONAL, .children = args_limit), ARGS_END},
    .run = run_zrangebylex,
};

const struct command cmd_zrevrangebylex = {
    .name = "zrevrangebylex",
    .arity = -4,
    .flags = CMD_READONLY,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "2.8.9",
    .complexity = "O(log(N)+M) for N members, M of them returned or left out by LIMIT",
    .summary = "Returns the members in a range of names from the last on, where all scores are equal.",
    .deprecated_since = "6.2.0",
    .replaced_by = "`ZRANGE` with the `REV` and `BYLEX` arguments",
    .keys = key_read,
    .args =
        (const struct command_arg[]){
            ARG("key", ARG_KEY), ARG("max", ARG_STRING), ARG("min", ARG_STRING),
            ARG("limit", ARG_BLOCK, .token = "LIMIT", .flags = ARG_OPTIONAL, .children = args_limit), ARGS_END},
    .run = run_zrevrangebylex,
};

const struct command cmd_zcount = {
    .name = "zcount",
    .arity = 4,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "2.0.0",
    .complexity = "O(log(N)) once the set is counted, O(M) before, for M in the range",
    .summary = "Counts the members in a range of scores.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("min", ARG_DOUBLE), ARG("max", ARG_DOUBLE), ARGS_END},
    .run = run_zcount,
};

const struct command cmd_zlexcount = {
    .name = "zlexcount",
    .arity = 4,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "2.8.9",
    .complexity = "O(log(N)) once the set is counted, O(M) before, for M in the range",
    .summary = "Counts the members in a range of names, where all scores are equal.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("min", ARG_STRING), ARG("max", ARG_STRING), ARGS_END},
    .run = run_zlexcount,
};

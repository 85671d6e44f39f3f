/* SORT and SORT_RO.
 *
 * Elements become rows, each with what it is sorted by; the rows in order become the reply, or a list. Memory is taken for
 * the rows that are wanted: with LIMIT the first ones alone are kept (sort_rows.h), and without an order (BY nosort)
 * elements go from where they lie to where they are wanted. What patterns lead to is read one key at a time, through memory
 * that each look-up uses anew. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/lists.h"
#include "cmd/sort_rows.h"
#include "cmd/zset.h"
#include "store/hash.h"

#define SORTED_AT_ONCE 4096 /* rows; more are sorted where a run may take its time */
#define EXACT_DIGITS 15     /* whole numbers of so many are doubles */
#define ASK_EVERY 64        /* rows between two questions whether the run takes too long */

/* A pattern of BY or GET: "*" stands for the element, "->" leads to a field. */
struct pattern {
    bool self; /* "#": the element itself */
    bool star; /* without a star there is nothing to be found */
    bool has_field;
    struct slice before, after, field;
};

struct sort {
    struct call *c;
    bool read_only;
    /* the request */
    bool descending, alpha, unordered, has_by;
    struct pattern by;
    int64_t offset, limit;
    int gets;        /* how many GET, */
    int destination; /* and the argument of STORE; 0: none */
    /* the elements */
    enum object_type type;
    uint64_t first, count; /* which rows are wanted, in their order */
    bool conversion_failed;
    uint64_t rows; /* gone through */
    struct sort_rows sorted;
    /* where they go */
    struct list_builder *out; /* STORE; else they are replied */
    struct arena scratch;     /* of a look-up */
};

/* ---- the request ---- */

static struct pattern pattern_of(struct slice text)
{
    struct pattern p = {.self = text.len == 1 && text.data[0] == '#'};
    const uint8_t *star = text.len ? memchr(text.data, '*', text.len) : NULL;
    if (p.self || !star)
        return p;
    p.star = true;
    p.before = slice_of(text.data, (size_t)(star - text.data));
    p.after = slice_of(star + 1, text.len - p.before.len - 1);
    const uint8_t *arrow = p.after.len > 2 ? memmem(p.after.data, p.after.len, "->", 2) : NULL;
    if (arrow && arrow + 2 < text.data + text.len) {
        p.has_field = true;
        p.field = slice_of(arrow + 2, (size_t)(text.data + text.len - arrow) - 2);
        p.after.len = (size_t)(arrow - p.after.data);
    }
    return p;
}

/* False: an error is replied. */
static bool parse_option(struct sort *s, int *i)
{
    struct call *c = s->c;
    int more = c->argc - *i - 1;
    if (arg_is(c, *i, "asc")) {
        s->descending = false;
    } else if (arg_is(c, *i, "desc")) {
        s->descending = true;
    } else if (arg_is(c, *i, "alpha")) {
        s->alpha = true;
    } else if (arg_is(c, *i, "limit") && more >= 2) {
        if (!arg_i64(c, *i + 1, &s->offset) || !arg_i64(c, *i + 2, &s->limit))
            return false;
        *i += 2;
    } else if (arg_is(c, *i, "store") && more >= 1 && !s->read_only) {
        s->destination = ++*i;
    } else if (arg_is(c, *i, "by") && more >= 1) {
        s->by = pattern_of(c->argv[++*i]);
        s->has_by = true;
        s->unordered |= !s->by.star;
    } else if (arg_is(c, *i, "get") && more >= 1) {
        s->gets++;
        ++*i;
    } else {
        (void)reply_syntax_error(c->reply);
        return false;
    }
    return true;
}

static bool parse(struct sort *s)
{
    for (int i = 2; i < s->c->argc; i++)
        if (!parse_option(s, &i))
            return false;
    return true;
}

/* The patterns of GET, one after the other: the next one's argument behind i, or 0. */
static int next_get(const struct call *c, int i)
{
    for (i = i ? i + 1 : 2; i < c->argc; i++) {
        if (arg_is(c, i, "get"))
            return i + 1;
        i += arg_is(c, i, "limit") ? 2 : arg_is(c, i, "by") || arg_is(c, i, "store");
    }
    return 0;
}

/* ---- what patterns lead to ---- */

static enum result look_up_in(struct call *c, const struct pattern *p, struct slice text, struct slice *value,
                              bool *found)
{
    struct store_key key;
    struct object o;
    struct elements e;
    struct field_place field;
    size_t len = p->before.len + text.len + p->after.len;
    uint8_t *name = arena_alloc(c->arena, len);
    if (!name)
        return RES_NO_MEMORY;
    const struct slice parts[] = {p->before, text, p->after};
    for (size_t i = 0, at = 0; i < 3; at += parts[i++].len)
        if (parts[i].len)
            memcpy(name + at, parts[i].data, parts[i].len);
    enum result r = store_key_init(c, c->session->db, slice_of(name, len), &key);
    if (r == RES_OK)
        r = store_read(c, &key, 0, &o);
    if (r != RES_OK || !o.exists || o.type != (p->has_field ? TYPE_HASH : TYPE_STRING))
        return r;
    if (!p->has_field) {
        *found = true;
        return store_string_all(c, &o, value);
    }
    r = elements_open(&e, c, &o, &elements_of_hash);
    if (r == RES_OK)
        r = hash_find(&e, p->field, &field);
    *found = r == RES_OK && field.alive;
    if (*found)
        *value = field.member.element.value;
    return r;
}

/* *value lives until the next look-up. */
static enum result look_up(struct sort *s, const struct pattern *p, struct slice text, struct slice *value, bool *found)
{
    *found = p->self;
    *value = text;
    if (p->self || !p->star)
        return RES_OK;
    struct call *c = s->c;
    struct arena *arena = c->arena;
    arena_reset(&s->scratch);
    c->arena = &s->scratch;
    enum result r = look_up_in(c, p, text, value, found);
    c->arena = arena;
    return r;
}

/* ---- where rows go ---- */

static enum result put(struct sort *s, bool found, struct slice value)
{
    if (s->out)
        return list_build_add(s->out, found ? value : slice_of("", 0));
    if (found)
        reply_bulk(s->c->reply, value);
    else
        reply_null(s->c->reply);
    return RES_OK;
}

/* A row that is wanted. */
static enum result put_row(struct sort *s, struct slice text)
{
    if (++s->rows % ASK_EVERY == 0 && call_too_long(s->c))
        return RES_WOULD_BLOCK;
    if (!s->gets)
        return put(s, true, text);
    enum result r = RES_OK;
    for (int i = 0; r == RES_OK && (i = next_get(s->c, i));) {
        struct pattern p = pattern_of(s->c->argv[i]);
        struct slice value;
        bool found;
        r = look_up(s, &p, text, &value, &found);
        if (r == RES_OK)
            r = put(s, found, value);
    }
    return r;
}

/* ---- rows ---- */

/* As strtod reads a number, the whole of it. */
static enum result score_of(struct sort *s, struct slice text, double *score)
{
    char small[64], *copy = small, *end;
    int64_t whole;
    if (text.len <= EXACT_DIGITS && num_parse_i64(text, &whole) == RES_OK) { /* the same, in less time */
        *score = (double)whole;
        return RES_OK;
    }
    if (text.len >= sizeof small && !(copy = malloc(text.len + 1)))
        return RES_NO_MEMORY;
    if (text.len)
        memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    errno = 0;
    *score = strtod(copy, &end);
    if (*end != 0 || errno == ERANGE || isnan(*score)) {
        s->conversion_failed = true; /* the reply is going to be an error */
        *score = 0;
    }
    if (copy != small)
        free(copy);
    return RES_OK;
}

static enum result add_row(struct sort *s, struct slice text)
{
    struct sort_row row = {.text = text};
    struct slice value = text;
    bool found = true;
    if (++s->rows % ASK_EVERY == 0 && call_too_long(s->c))
        return RES_WOULD_BLOCK;
    enum result r = s->has_by ? look_up(s, &s->by, text, &value, &found) : RES_OK;
    if (r == RES_OK && !s->alpha && found)
        r = score_of(s, value, &row.score);
    if (r != RES_OK)
        return r;
    if (s->alpha && s->has_by && found)
        row.by = value.len ? value : slice_of("", 0);
    return sort_rows_add(&s->sorted, row);
}

static enum result add_member(struct elements *e, void *arg, const struct element *x)
{
    (void)e;
    return add_row(arg, x->key);
}

static enum result put_member(struct elements *e, void *arg, const struct element *x)
{
    struct sort *s = arg;
    (void)e;
    uint64_t n = s->sorted.met++;
    return n >= s->first && n - s->first < s->count ? put_row(s, x->key) : RES_OK;
}

/* ---- going through elements ---- */

static enum result each_of_list(struct sort *s, struct list_key *x)
{
    struct list_cursor w;
    uint64_t n = list_length(&x->list), from = 0, count = n;
    bool backward = s->unordered && s->descending;
    if (s->unordered) {
        if (!s->count)
            return RES_OK;
        from = backward ? n - 1 - s->first : s->first;
        count = s->count;
    }
    enum result r = list_cursor_open(&w, &x->list, from, count, backward);
    if (r != RES_OK)
        return r;
    while ((r = list_cursor_next(&w)) == RES_OK &&
           (r = s->unordered ? put_row(s, w.value) : add_row(s, w.value)) == RES_OK)
        ;
    list_cursor_close(&w);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result range_of_zset(struct sort *s, struct zset *z)
{
    struct zset_cursor k = {.it = NULL};
    uint64_t left = s->count;
    enum result r = left ? zset_seek_rank(z, &k, s->first, s->descending) : RES_OK;
    for (; r == RES_OK && left; left--)
        if ((r = zset_next(&k)) == RES_OK)
            r = put_row(s, k.at.member);
    zset_cursor_close(&k);
    return r == RES_NOT_FOUND ? RES_CORRUPT : r;
}

static enum result each_element(struct sort *s, struct object *o)
{
    struct elements e;
    struct list_key l = {.o = *o};
    struct zset z;
    enum result r;
    if (!o->exists)
        return RES_OK;
    if (o->type == TYPE_LIST) {
        r = list_key_open(s->c, &l);
        return r == RES_OK ? each_of_list(s, &l) : r;
    }
    if (o->type == TYPE_ZSET && s->unordered) {
        r = zset_open(&z, s->c, o, zset_limits(s->c));
        return r == RES_OK ? range_of_zset(s, &z) : r;
    }
    r = elements_open(&e, s->c, o, members_kind_of(o->type));
    return r == RES_OK ? member_each(&e, s->unordered ? put_member : add_member, s) : r;
}

/* Which of n rows are wanted. */
static void choose_rows(struct sort *s, uint64_t n)
{
    uint64_t offset = s->offset > 0 ? (uint64_t)s->offset : 0;
    uint64_t limit = s->limit >= 0 ? (uint64_t)s->limit : n;
    s->first = offset < n ? offset : n;
    s->count = limit < n - s->first ? limit : n - s->first;
}

/* ---- the command ---- */

static enum result put_sorted(struct sort *s)
{
    enum result r = RES_OK;
    if (call_too_long(s->c))
        return RES_WOULD_BLOCK;
    if (s->sorted.count < s->first + s->count)
        return RES_CORRUPT; /* the metadata counts others */
    r = sort_rows_finish(&s->sorted);
    for (uint64_t i = 0; r == RES_OK && i < s->count; i++)
        r = put_row(s, sort_rows_text(&s->sorted, (size_t)(s->first + i)));
    return r;
}

/* What is wanted, without an order. */
static enum result put_unordered(struct sort *s, struct object *o)
{
    enum result r = each_element(s, o);
    return r == RES_OK && s->rows != s->count ? RES_CORRUPT : r;
}

static uint64_t values_out(const struct sort *s) { return s->count * (uint64_t)(s->gets ? s->gets : 1); }

static enum result sort_and_reply(struct sort *s, struct object *o)
{
    enum result r = s->unordered ? RES_OK : each_element(s, o);
    if (r != RES_OK)
        return r;
    if (s->conversion_failed)
        return reply_error(s->c->reply, "ERR One or more scores can't be converted into double");
    reply_array(s->c->reply, (size_t)values_out(s));
    return s->unordered ? put_unordered(s, o) : put_sorted(s);
}

static enum result store_list(struct sort *s, struct object *source, struct store_key *key, struct object *o)
{
    struct list_builder out;
    bool existed = o->exists;
    list_build(&out, s->c, o);
    s->out = &out;
    enum result r = s->unordered ? put_unordered(s, source) : put_sorted(s);
    if (r == RES_OK)
        r = list_build_finish(&out);
    if (r != RES_OK)
        return r;
    if (o->exists)
        return key_event(s->c, EVENT_LIST, "sortstore", key);
    return existed ? key_event(s->c, EVENT_GENERIC, "del", key) : RES_OK;
}

static enum result sort_and_store(struct sort *s, struct object *source)
{
    struct call *c = s->c;
    struct store_key key;
    struct object o;
    enum result r = s->unordered ? RES_OK : each_element(s, source);
    if (r != RES_OK)
        return r;
    if (s->conversion_failed)
        return reply_error(c->reply, "ERR One or more scores can't be converted into double");
    r = arg_key(c, s->destination, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r == RES_OK)
        r = store_list(s, source, &key, &o);
    if (r == RES_OK)
        reply_integer(c->reply, (int64_t)values_out(s));
    return r;
}

/* What the type and the number of elements make of the request. */
static enum result prepare(struct sort *s, const struct object *o)
{
    uint64_t n = o->exists ? o->count : 0;
    if (s->unordered && o->exists && o->type == TYPE_SET) {
        if (s->destination) { /* a list is to have some order that is always the same */
            s->unordered = s->has_by = false;
            s->alpha = true;
        } else if (o->encoding == ENCODING_INTSET && o->pieces) { /* as SMEMBERS shows it */
            s->unordered = s->has_by = s->alpha = s->descending = false;
        }
    }
    choose_rows(s, n);
    s->sorted.most = s->first + s->count < n / 4 ? (size_t)(s->first + s->count) : SIZE_MAX;
    s->sorted.alpha = s->alpha;
    s->sorted.by = s->has_by;
    s->sorted.descending = s->descending;
    return !s->unordered && n > SORTED_AT_ONCE && call_will_be_long(s->c) ? RES_WOULD_BLOCK : RES_OK;
}

static enum result sort_key(struct sort *s)
{
    struct call *c = s->c;
    struct store_key key;
    struct object o;
    if (!parse(s))
        return RES_OK;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_read(c, &key, 0, &o);
    if (r != RES_OK)
        return r;
    if (o.exists && o.type != TYPE_SET && o.type != TYPE_LIST && o.type != TYPE_ZSET)
        return reply_wrong_type(c->reply);
    r = prepare(s, &o);
    if (r == RES_OK)
        r = s->destination ? sort_and_store(s, &o) : sort_and_reply(s, &o);
    return r;
}

static enum result run(struct call *c, bool read_only)
{
    struct sort s = {.c = c, .read_only = read_only, .limit = -1};
    sort_rows_init(&s.sorted, SIZE_MAX);
    arena_init(&s.scratch, 1024);
    enum result r = sort_key(&s);
    sort_rows_fini(&s.sorted);
    arena_fini(&s.scratch);
    return r;
}

static enum result run_sort(struct call *c) { return run(c, false); }
static enum result run_sort_ro(struct call *c) { return run(c, true); }

/* Without STORE nothing is written. */
static bool sort_only_reads(int argc, const struct slice *argv)
{
    for (int i = 2; i < argc; i++)
        if (slice_eq_nocase(argv[i], "store"))
            return false;
    return true;
}

static bool sort_keys(int argc, const struct slice *argv, command_key_fn *each, void *arg)
{
    int destination = 0;
    for (int i = 2; i < argc; i++) {
        if (slice_eq_nocase(argv[i], "store") && i + 1 < argc)
            destination = i + 1;
        else if (slice_eq_nocase(argv[i], "limit"))
            i += 2;
        else if (slice_eq_nocase(argv[i], "by") || slice_eq_nocase(argv[i], "get"))
            i++;
    }
    each(arg, argv[1], KEY_RO | KEY_ACCESS);
    if (destination)
        each(arg, argv[destination], KEY_OW | KEY_UPDATE);
    return true;
}

static bool sort_ro_keys(int argc, const struct slice *argv, command_key_fn *each, void *arg)
{
    (void)argc;
    each(arg, argv[1], KEY_RO | KEY_ACCESS);
    return true;
}

#define KEY_NOWHERE(fl, why)                                                                                           \
    {                                                                                                                  \
        .flags = fl, .begin = KEYS_UNKNOWN_BEGIN, .find = KEYS_UNKNOWN_FIND, .notes = why                              \
    }
#define KEYS_OF_SORT                                                                                                   \
    KEY_AT(1, KEY_RO | KEY_ACCESS), KEY_NOWHERE(KEY_RO | KEY_ACCESS, "BY and GET: their keys come of the elements.")

static const struct command_arg limit_args[] = {ARG("offset", ARG_INTEGER), ARG("count", ARG_INTEGER), ARGS_END};
static const struct command_arg order_args[] = {ARG_TOKEN("asc", "ASC"), ARG_TOKEN("desc", "DESC"), ARGS_END};
#define ARGS_OF_SORT                                                                                                   \
    ARG("key", ARG_KEY),                                                                                               \
        ARG("by-pattern", ARG_PATTERN, .token = "BY", .key_spec = 1, .flags = ARG_OPTIONAL, .display = "pattern"),     \
        ARG("limit", ARG_BLOCK, .token = "LIMIT", .flags = ARG_OPTIONAL, .children = limit_args),                      \
        ARG("get-pattern", ARG_PATTERN, .token = "GET", .key_spec = 1,                                                 \
            .flags = ARG_OPTIONAL | ARG_MULTIPLE | ARG_MULTIPLE_TOKEN, .display = "pattern"),                          \
        ARG("order", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = order_args),                                        \
        ARG_TOKEN("sorting", "ALPHA", .flags = ARG_OPTIONAL)

const struct command cmd_sort = {
    .name = "sort",
    .arity = -2,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLE_KEYS,
    .acl = ACL_SET | ACL_SORTEDSET | ACL_LIST | ACL_DANGEROUS,
    .group = "generic",
    .since = "1.0.0",
    .complexity = "O(N*log(M)) for N elements of which M are wanted; O(M) without an order",
    .summary = "Returns the elements of a list, a set or a sorted set in order, or stores them as a list.",
    .keys = (const struct command_keyspec[]){KEYS_OF_SORT,
                                             KEY_NOWHERE(KEY_OW | KEY_UPDATE, "STORE may stand anywhere."), KEYS_END},
    .args =
        (const struct command_arg[]){
            ARGS_OF_SORT, ARG("destination", ARG_KEY, .token = "STORE", .key_spec = 2, .flags = ARG_OPTIONAL),
            ARGS_END},
    .run = run_sort,
    .find_keys = sort_keys,
    .only_reads = sort_only_reads,
};

const struct command cmd_sort_ro = {
    .name = "sort_ro",
    .arity = -2,
    .flags = CMD_READONLY | CMD_MOVABLE_KEYS,
    .acl = ACL_SET | ACL_SORTEDSET | ACL_LIST | ACL_DANGEROUS,
    .group = "generic",
    .since = "7.0.0",
    .complexity = "As SORT.",
    .summary = "Returns the elements of a list, a set or a sorted set in order.",
    .keys = (const struct command_keyspec[]){KEYS_OF_SORT, KEYS_END},
    .args = (const struct command_arg[]){ARGS_OF_SORT, ARGS_END},
    .run = run_sort_ro,
    .find_keys = sort_ro_keys,
};

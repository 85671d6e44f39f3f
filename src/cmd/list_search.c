/* Lists: what looks for an element by its bytes. LPOS, LINSERT, LREM. */
#include <inttypes.h>

#include "cmd/declare.h"
#include "cmd/lists.h"

/* Numbers that are gathered, in c->arena. */
struct numbers {
    uint64_t *at;
    uint64_t count, cap;
};

static enum result gather_number(struct call *c, struct numbers *n, uint64_t number)
{
    if (n->count == n->cap) {
        uint64_t cap = n->cap ? n->cap * 2 : 64;
        uint64_t *p = arena_alloc(c->arena, cap * sizeof *p);
        if (!p)
            return RES_NO_MEMORY;
        if (n->count)
            memcpy(p, n->at, n->count * sizeof *p);
        n->at = p;
        n->cap = cap;
    }
    n->at[n->count++] = number;
    return RES_OK;
}

/* ---- LPOS ---- */

struct lpos_args {
    bool backward, counted;
    int64_t rank, count, max; /* count, max 0: all */
};

/* False: an error is replied. */
static bool lpos_args(struct call *c, struct lpos_args *a)
{
    *a = (struct lpos_args){.rank = 1};
    for (int i = 3; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        if (more && arg_is(c, i, "rank")) {
            if (!arg_i64_within(c, ++i, -INT64_MAX, INT64_MAX, &a->rank))
                return false;
            if (a->rank == 0) {
                (void)reply_error(c->reply, "ERR RANK can't be zero: use 1 to start from the first match, 2 from the "
                                            "second ... or use negative to start from the end of the list");
                return false;
            }
        } else if (more && (arg_is(c, i, "count") || arg_is(c, i, "maxlen"))) {
            bool count = arg_is(c, i, "count");
            int64_t *out = count ? &a->count : &a->max;
            const char *error = count ? "ERR COUNT can't be negative" : "ERR MAXLEN can't be negative";
            if (!arg_i64_or(c, ++i, out, error))
                return false;
            if (*out < 0) {
                (void)reply_error(c->reply, "%s", error);
                return false;
            }
            a->counted |= count;
        } else {
            (void)reply_syntax_error(c->reply);
            return false;
        }
    }
    a->backward = a->rank < 0;
    if (a->backward)
        a->rank = -a->rank;
    return true;
}

static enum result lpos_matches(struct call *c, struct list *l, const struct lpos_args *a, struct numbers *found)
{
    struct list_cursor w;
    uint64_t max = a->max ? (uint64_t)a->max : UINT64_MAX, want = a->counted ? (uint64_t)a->count : 1;
    int64_t seen = 0;
    enum result r = list_cursor_open(&w, l, a->backward ? list_length(l) - 1 : 0, max, a->backward);
    if (r != RES_OK)
        return r;
    while ((r = list_cursor_next(&w)) == RES_OK) {
        if (!slice_eq(w.value, c->argv[2]) || ++seen < a->rank)
            continue;
        if ((r = gather_number(c, found, w.index)) != RES_OK || found->count == want)
            break;
    }
    list_cursor_close(&w);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result run_lpos(struct call *c)
{
    struct list_key x;
    struct lpos_args a;
    struct numbers found = {.count = 0};
    bool ready;
    if (!lpos_args(c, &a))
        return RES_OK;
    enum result r = list_key_read(c, c->argv[1], &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (x.o.exists && (r = lpos_matches(c, &x.list, &a, &found)) != RES_OK)
        return r;
    if (a.counted)
        reply_array(c->reply, found.count);
    else if (!found.count)
        reply_null(c->reply);
    for (uint64_t i = 0; i < found.count; i++)
        reply_integer(c->reply, (int64_t)found.at[i]);
    return RES_OK;
}

const struct command cmd_lpos = {
    .name = "lpos",
    .arity = -3,
    .flags = CMD_READONLY,
    .acl = ACL_LIST,
    .group = "list",
    .since = "6.0.6",
    .complexity = "O(N) for N elements looked at",
    .summary = "Returns the indexes of elements that equal a value.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("element", ARG_STRING),
                                         ARG("rank", ARG_INTEGER, .token = "RANK", .flags = ARG_OPTIONAL),
                                         ARG("num-matches", ARG_INTEGER, .token = "COUNT", .flags = ARG_OPTIONAL),
                                         ARG("len", ARG_INTEGER, .token = "MAXLEN", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_lpos,
};

/* ---- LINSERT ---- */

/* The index of the first element that equals the value; RES_NOT_FOUND. */
static enum result find_first(struct list *l, struct slice value, uint64_t *index)
{
    struct list_cursor w;
    enum result r = list_cursor_open(&w, l, 0, UINT64_MAX, false);
    if (r != RES_OK)
        return r;
    while ((r = list_cursor_next(&w)) == RES_OK && !slice_eq(w.value, value))
        continue;
    *index = w.index;
    list_cursor_close(&w);
    return r;
}

static enum result run_linsert(struct call *c)
{
    struct list_key x;
    bool ready, after = arg_is(c, 2, "after");
    uint64_t at;
    if (!after && !arg_is(c, 2, "before"))
        return reply_syntax_error(c->reply);
    enum result r = list_key_write(c, c->argv[1], &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    r = x.o.exists ? find_first(&x.list, c->argv[3], &at) : RES_NOT_FOUND;
    if (r == RES_NOT_FOUND) {
        reply_integer(c->reply, x.o.exists ? -1 : 0);
        return RES_OK;
    }
    if (r == RES_OK)
        r = list_will_grow(&x.list, 1, c->argv[4].len);
    if (r == RES_OK)
        r = list_insert(&x.list, after ? at + 1 : at, c->argv[4]);
    if (r != RES_OK)
        return r;
    reply_integer(c->reply, (int64_t)list_length(&x.list));
    return list_key_finish(&x, "linsert");
}

const struct command cmd_linsert = {
    .name = "linsert",
    .arity = 5,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_LIST,
    .group = "list",
    .since = "2.2.0",
    .complexity = "O(N) for N elements up to the one that is looked for",
    .summary = "Puts an element before or behind the first one that equals a value.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_INSERT), KEYS_END},
    .args = (const struct command_arg[]){ARG("key", ARG_KEY),
                                         ARG("where", ARG_ONEOF,
                                             .children =
                                                 (const struct command_arg[]){ARG_TOKEN("before", "BEFORE"),
                                                                              ARG_TOKEN("after", "AFTER"), ARGS_END}),
                                         ARG("pivot", ARG_STRING), ARG("element", ARG_STRING), ARGS_END},
    .run = run_linsert,
};

/* ---- LREM ---- */

/* The indexes to be removed, ascending. */
static enum result lrem_matches(struct call *c, struct list *l, int64_t count, struct numbers *found)
{
    bool backward = count < 0;
    uint64_t max = backward ? -(uint64_t)count : (uint64_t)count;
    struct list_cursor w;
    enum result r = list_cursor_open(&w, l, backward ? list_length(l) - 1 : 0, UINT64_MAX, backward);
    if (r != RES_OK)
        return r;
    while ((r = list_cursor_next(&w)) == RES_OK) {
        if (!slice_eq(w.value, c->argv[3]))
            continue;
        if ((r = gather_number(c, found, w.index)) != RES_OK || found->count == max)
            break;
    }
    list_cursor_close(&w);
    for (uint64_t i = 0; backward && i < found->count / 2; i++) {
        uint64_t other = found->at[found->count - 1 - i];
        found->at[found->count - 1 - i] = found->at[i];
        found->at[i] = other;
    }
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result run_lrem(struct call *c)
{
    struct list_key x;
    struct numbers found = {.count = 0};
    bool ready;
    int64_t count;
    if (!arg_i64(c, 2, &count))
        return RES_OK;
    enum result r = list_key_write(c, c->argv[1], &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (x.o.exists)
        r = lrem_matches(c, &x.list, count, &found);
    if (r == RES_OK && found.count)
        r = list_remove(&x.list, found.at, found.count, found.count * list_entry_size(c->argv[3]));
    if (r == RES_OK && found.count)
        r = list_has_shrunk(&x.list);
    if (r != RES_OK)
        return r;
    reply_integer(c->reply, (int64_t)found.count);
    return found.count ? list_key_finish(&x, "lrem") : RES_OK;
}

const struct command cmd_lrem = {
    .name = "lrem",
    .arity = 4,
    .flags = CMD_WRITE,
    .acl = ACL_LIST,
    .group = "list",
    .since = "1.0.0",
    .complexity = "O(N+M) for N elements looked at and M moved, which is less",
    .summary = "Removes elements that equal a value.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_DELETE), KEYS_END},
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("count", ARG_INTEGER), ARG("element", ARG_STRING),
                                         ARGS_END},
    .run = run_lrem,
};

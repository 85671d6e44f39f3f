/* SINTER, SUNION, SDIFF and their STORE and CARD forms.
 *
 * An intersection goes through the smallest set and asks the others, a difference goes through the first and asks the others:
 * all sets are in the same order on disk (elements.h), so what is asked for lies close together. A union merges the sets in
 * that order, those that are inline sorted first, so that no table of what has been seen is needed. */
#include <stdlib.h>

#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/set.h"

/* The sets of a request; missing keys are empty ones. */
struct operands {
    struct collection *sets;
    size_t count;
    struct collection **order; /* how they are gone through */
};

/* What happens to a member of the result. */
typedef enum result result_fn(struct call *c, void *arg, struct slice member);

static enum result open_operands(struct call *c, int from, size_t count, struct operands *out, bool *ready)
{
    *ready = true;
    out->count = count;
    out->sets = arena_alloc(c->arena, count * sizeof *out->sets);
    out->order = arena_alloc(c->arena, count * sizeof *out->order);
    if (!out->sets || !out->order)
        return RES_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        out->order[i] = &out->sets[i];
        enum result r = collection_read(c, c->argv[from + (int)i], &elements_of_set, &out->sets[i], ready);
        if (r != RES_OK || !*ready)
            return r;
        if (i % 128 == 127 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return RES_OK;
}

/* ---- intersection and difference ---- */

static int by_size(const void *a, const void *b)
{
    uint64_t x = (*(struct collection *const *)a)->e.count, y = (*(struct collection *const *)b)->e.count;
    return (x > y) - (x < y);
}

static int by_size_down(const void *a, const void *b) { return by_size(b, a); }

/* Whether all of, or any of, the sets behind the first in order have the member. */
static enum result others_have(const struct operands *in, struct slice member, bool all, bool *answer)
{
    *answer = all;
    for (size_t i = 1; i < in->count && *answer == all; i++) {
        enum result r = member_has(&in->order[i]->e, member, answer);
        if (r != RES_OK)
            return r;
    }
    return RES_OK;
}

/* Members of the first set that the others all have (inter) or that none of them has. */
static enum result sift(struct call *c, const struct operands *in, bool inter, result_fn *result, void *arg)
{
    struct member_walk w;
    enum result r = member_walk_open(&w, &in->order[0]->e, 0);
    if (r != RES_OK)
        return r;
    unsigned n = 0;
    while ((r = member_walk_next(&w)) == RES_OK) {
        bool have;
        if ((r = others_have(in, w.element.key, inter, &have)) != RES_OK)
            break;
        if (have == inter && (r = result(c, arg, w.element.key)) != RES_OK)
            break;
        if (++n % 64 == 0 && call_too_long(c)) {
            r = RES_WOULD_BLOCK;
            break;
        }
    }
    member_walk_close(&w);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result intersect(struct call *c, struct operands *in, result_fn *result, void *arg)
{
    qsort(in->order, in->count, sizeof *in->order, by_size);
    return in->order[0]->e.count ? sift(c, in, true, result, arg) : RES_OK;
}

static enum result subtract(struct call *c, struct operands *in, result_fn *result, void *arg)
{
    for (size_t i = 1; i < in->count; i++)
        if (slice_eq(in->sets[i].key.user, in->sets[0].key.user))
            return RES_OK;
    qsort(in->order + 1, in->count - 1, sizeof *in->order, by_size_down);
    return sift(c, in, false, result, arg);
}

/* ---- union ---- */

struct named {
    struct slice sort_key, member;
};
/* A set in the order of sort keys. */
struct source {
    struct member_walk walk; /* pieces */
    struct named *list;      /* inline: sorted */
    size_t at, count;
    bool pieces, ended;
    struct named here;
};

static int by_sort_key(const void *a, const void *b)
{
    return slice_cmp(((const struct named *)a)->sort_key, ((const struct named *)b)->sort_key);
}

static enum result sort_list(struct elements *e, struct source *s)
{
    struct inline_place p;
    struct element x;
    s->list = arena_alloc(e->c->arena, (size_t)e->count * sizeof *s->list);
    if (!s->list)
        return RES_NO_MEMORY;
    enum result r = inline_first(e, &p, &x);
    for (; r == RES_OK; r = inline_next(e, &p, &x)) {
        uint8_t bytes[MEMBER_KEY_MAX];
        bool is_long;
        size_t len = member_key(e, x.key, bytes, &is_long);
        void *copy = arena_copy(e->c->arena, bytes, len);
        if (!copy)
            return RES_NO_MEMORY;
        s->list[s->count++] = (struct named){slice_of(copy, len), x.key};
    }
    qsort(s->list, s->count, sizeof *s->list, by_sort_key);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result source_next(struct source *s)
{
    if (!s->pieces) {
        s->ended = s->at == s->count;
        if (!s->ended)
            s->here = s->list[s->at++];
        return RES_OK;
    }
    enum result r = member_walk_next(&s->walk);
    s->ended = r == RES_NOT_FOUND;
    s->here = (struct named){s->walk.sort_key, s->walk.element.key};
    return s->ended ? RES_OK : r;
}

static enum result source_open(struct elements *e, struct source *s)
{
    *s = (struct source){.pieces = e->pieces};
    enum result r = e->pieces ? member_walk_open(&s->walk, e, 0) : sort_list(e, s);
    return r == RES_OK ? source_next(s) : r;
}

/* The source that comes first; NULL: all have ended. */
static struct source *least(struct source *s, size_t count)
{
    struct source *first = NULL;
    for (size_t i = 0; i < count; i++)
        if (!s[i].ended && (!first || slice_cmp(s[i].here.sort_key, first->here.sort_key) < 0))
            first = &s[i];
    return first;
}

static enum result merge(struct call *c, struct source *s, size_t count, result_fn *result, void *arg)
{
    struct source *first;
    uint8_t bytes[MEMBER_KEY_MAX];
    for (unsigned n = 0; (first = least(s, count)) != NULL; n++) {
        enum result r = result(c, arg, first->here.member);
        size_t len = first->here.sort_key.len;
        memcpy(bytes, first->here.sort_key.data, len);
        for (size_t i = 0; r == RES_OK && i < count; i++)
            if (!s[i].ended && slice_eq(s[i].here.sort_key, slice_of(bytes, len)))
                r = source_next(&s[i]);
        if (r != RES_OK)
            return r;
        if (n % 64 == 63 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return RES_OK;
}

static enum result unite(struct call *c, struct operands *in, result_fn *result, void *arg)
{
    struct source *sources = arena_alloc(c->arena, in->count * sizeof *sources);
    if (!sources)
        return RES_NO_MEMORY;
    size_t opened = 0;
    enum result r = RES_OK;
    for (; r == RES_OK && opened < in->count; opened++)
        r = source_open(&in->sets[opened].e, &sources[opened]);
    if (r == RES_OK)
        r = merge(c, sources, in->count, result, arg);
    for (size_t i = 0; i < opened; i++)
        if (sources[i].pieces)
            member_walk_close(&sources[i].walk);
    return r;
}

typedef enum result algebra_fn(struct call *c, struct operands *in, result_fn *result, void *arg);

/* ---- as a reply ---- */

static enum result gather_member(struct call *c, void *arg, struct slice member) { return gather(c, arg, member); }

static enum result reply_algebra(struct call *c, algebra_fn *algebra)
{
    struct operands in;
    struct gathered found;
    bool ready;
    gather_init(&found);
    enum result r = open_operands(c, 1, (size_t)c->argc - 1, &in, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (in.count == 1) {
        c->reply->ops->set(c->reply, (size_t)in.sets[0].e.count);
        return set_reply_members(&in.sets[0].e);
    }
    if ((r = algebra(c, &in, gather_member, &found)) != RES_OK)
        return r;
    c->reply->ops->set(c->reply, found.count);
    reply_gathered(c, &found);
    return RES_OK;
}

static enum result run_sinter(struct call *c) { return reply_algebra(c, intersect); }
static enum result run_sunion(struct call *c) { return reply_algebra(c, unite); }
static enum result run_sdiff(struct call *c) { return reply_algebra(c, subtract); }

/* ---- stored ---- */

struct stored {
    struct elements *e;
    bool only_integers;
};

static enum result store_member(struct call *c, void *arg, struct slice member)
{
    struct stored *to = arg;
    int64_t ignored;
    (void)c;
    if (to->only_integers && (member.len > NUM_I64_MAX || num_parse_i64(member, &ignored) != RES_OK))
        to->only_integers = false;
    return set_add_new(to->e, member);
}

/* What Redis starts an intersection as. */
static enum object_encoding smallest_is(const struct operands *in)
{
    const struct collection *least = &in->sets[0];
    for (size_t i = 1; i < in->count; i++)
        if (in->sets[i].e.count < least->e.count)
            least = &in->sets[i];
    return least->o.exists && least->e.encoding == ENCODING_INTSET ? ENCODING_INTSET : ENCODING_LISTPACK;
}

static enum result store_algebra(struct call *c, algebra_fn *algebra, const char *event)
{
    struct operands in;
    struct collection to;
    bool ready, inter = algebra == intersect;
    enum result r = open_operands(c, 2, (size_t)c->argc - 2, &in, &ready);
    if (r != RES_OK || !ready)
        return r;
    r = arg_key(c, 1, &to.key);
    if (r == RES_OK)
        r = store_write(c, &to.key, &to.o);
    if (r != RES_OK)
        return r;
    elements_replace(&to.e, c, &to.o, &elements_of_set, inter ? smallest_is(&in) : ENCODING_INTSET);
    struct stored stored = {.e = &to.e, .only_integers = true};
    r = algebra(c, &in, store_member, &stored);
    if (r == RES_OK && inter && to.e.count && stored.only_integers)
        r = set_becomes_intset(&to.e);
    if (r == RES_OK)
        r = collection_store(&to, EVENT_SET, event);
    if (r == RES_OK)
        reply_integer(c->reply, (int64_t)to.e.count);
    return r;
}

static enum result run_sinterstore(struct call *c) { return store_algebra(c, intersect, "sinterstore"); }
static enum result run_sunionstore(struct call *c) { return store_algebra(c, unite, "sunionstore"); }
static enum result run_sdiffstore(struct call *c) { return store_algebra(c, subtract, "sdiffstore"); }

/* ---- SINTERCARD ---- */

struct counter {
    uint64_t count, limit;
};

static enum result count_member(struct call *c, void *arg, struct slice member)
{
    struct counter *n = arg;
    (void)c;
    (void)member;
    n->count++;
    return n->limit && n->count == n->limit ? RES_NOT_FOUND : RES_OK; /* ends the walk */
}

static enum result run_sintercard(struct call *c)
{
    static const char few[] = "ERR numkeys should be greater than 0", negative[] = "ERR LIMIT can't be negative";
    int64_t keys, limit = 0;
    if (!arg_i64_or(c, 1, &keys, few))
        return RES_OK;
    if (keys < 1)
        return reply_error(c->reply, few);
    if (keys > c->argc - 2)
        return reply_error(c->reply, "ERR Number of keys can't be greater than number of args");
    for (int i = 2 + (int)keys; i < c->argc; i += 2) {
        if (!arg_is(c, i, "limit") || i + 1 == c->argc)
            return reply_syntax_error(c->reply);
        if (!arg_i64_or(c, i + 1, &limit, negative))
            return RES_OK;
        if (limit < 0)
            return reply_error(c->reply, negative);
    }
    struct operands in;
    bool ready;
    struct counter n = {.limit = (uint64_t)limit};
    enum result r = open_operands(c, 2, (size_t)keys, &in, &ready);
    if (r == RES_OK && ready)
        r = intersect(c, &in, count_member, &n);
    if (r == RES_OK && ready)
        reply_integer(c->reply, (int64_t)n.count);
    return r;
}

/* ---- declarations ---- */

static const struct command_keyspec keys_all[] = {KEYS_FROM(1, 1, KEY_RO | KEY_ACCESS), KEYS_END};
static const struct command_keyspec keys_stored[] = {KEY_AT(1, KEY_OW | KEY_UPDATE),
                                                     KEYS_FROM(2, 1, KEY_RO | KEY_ACCESS), KEYS_END};
static const struct command_arg args_stored[] = {ARG("destination", ARG_KEY),
                                                 ARG("key", ARG_KEY, .key_spec = 1, .flags = ARG_MULTIPLE), ARGS_END};
static const char *const tips_unordered[] = {"nondeterministic_output_order", NULL};

const struct command cmd_sinter = {
    .name = "sinter",
    .arity = -2,
    .flags = CMD_READONLY,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(N*M) at most, for N members of the smallest of M sets",
    .summary = "Returns the members that all of several sets have.",
    .keys = keys_all,
    .args = args_keys,
    .tips = tips_unordered,
    .run = run_sinter,
};

const struct command cmd_sunion = {
    .name = "sunion",
    .arity = -2,
    .flags = CMD_READONLY,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(N) for N members in all sets together",
    .summary = "Returns the members that any of several sets has.",
    .keys = keys_all,
    .args = args_keys,
    .tips = tips_unordered,
    .run = run_sunion,
};

const struct command cmd_sdiff = {
    .name = "sdiff",
    .arity = -2,
    .flags = CMD_READONLY,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(N*M) at most, for N members of the first of M sets",
    .summary = "Returns the members of a set that none of several others has.",
    .keys = keys_all,
    .args = args_keys,
    .tips = tips_unordered,
    .run = run_sdiff,
};

const struct command cmd_sinterstore = {
    .name = "sinterstore",
    .arity = -3,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(N*M) at most, for N members of the smallest of M sets",
    .summary = "Stores the members that all of several sets have as a set.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_UPDATE), KEYS_FROM(2, 1, KEY_RO | KEY_ACCESS),
                                             KEYS_END},
    .args = args_stored,
    .run = run_sinterstore,
};

const struct command cmd_sunionstore = {
    .name = "sunionstore",
    .arity = -3,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(N) for N members in all sets together",
    .summary = "Stores the members that any of several sets has as a set.",
    .keys = keys_stored,
    .args = args_stored,
    .run = run_sunionstore,
};

const struct command cmd_sdiffstore = {
    .name = "sdiffstore",
    .arity = -3,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(N*M) at most, for N members of the first of M sets",
    .summary = "Stores the members of a set that none of several others has as a set.",
    .keys = keys_stored,
    .args = args_stored,
    .run = run_sdiffstore,
};

const struct command cmd_sintercard = {
    .name = "sintercard",
    .arity = -3,
    .flags = CMD_READONLY | CMD_MOVABLE_KEYS,
    .acl = ACL_SET,
    .group = "set",
    .since = "7.0.0",
    .complexity = "O(N*M) at most, for N members of the smallest of M sets",
    .summary = "Counts the members that all of several sets have.",
    .keys = (const struct command_keyspec[]){{.flags = KEY_RO | KEY_ACCESS,
                                              .begin = KEYS_INDEX,
                                              .index = 1,
                                              .find = KEYS_KEYNUM,
                                              .keynum_first = 1,
                                              .keynum_step = 1},
                                             KEYS_END},
    .args = (const struct command_arg[]){ARG("numkeys", ARG_INTEGER), ARG("key", ARG_KEY, .flags = ARG_MULTIPLE),
                                         ARG("limit", ARG_INTEGER, .token = "LIMIT", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_sintercard,
};

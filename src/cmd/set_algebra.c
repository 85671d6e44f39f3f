/* SINTER, SUNION, SDIFF and their STORE and CARD forms.
 *
 * A cursor gives the members of the result one after the other, in memory that does not grow with them. All sets are in the
 * same order on disk (elements.h). A union merges them in that order, those that are inline sorted first; an intersection
 * goes through the smallest set, a difference through the first, and looks into the others: it moves along with them, or,
 * where they are far larger, asks them.
 *
 * A reply begins with the number of its members. They are kept until there are so many that the reply is to be a stream
 * (EXECUTION, rule 16); from then on they are counted, and found a second time while the client takes them. */
#include <stdlib.h>

#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/set.h"

#define MOVES_FROM 4096 /* members; a set of fewer is done where questions are cheap (call.c) */
#define ASK_COST 4      /* else to ask a set for a member is like moving over so many of its members */

enum operation { UNION, INTER, DIFF };

struct named {
    struct slice sort_key, member;
};
/* A set in the order of sort keys. */
struct source {
    struct member_walk walk; /* pieces */
    struct named *list;      /* inline: sorted */
    size_t at, count;
    bool pieces, ended;
    uint64_t turn; /* of a union: when it was among the least */
    struct named here;
};

/* The sets of a request, of which missing keys are empty ones, and what is found in them. */
struct algebra {
    enum operation operation;
    size_t count;
    struct collection *sets;
    struct collection **order; /* how they are gone through */
    bool nothing;              /* will be found, which is plain from the start */
    bool asks;                 /* the others for each member; else it moves along with them */
    struct member_walk walk;   /* of the first in order; not of a union */
    struct source *sources;    /* NULL: it asks */
    size_t from, opened;       /* those of order[from] to before order[opened] are open */
    uint64_t turn, steps;
    struct arena scratch; /* for questions */
};

static enum result open_sets(struct call *c, int from, size_t count, enum operation operation, struct algebra *out,
                             bool *ready)
{
    *ready = true;
    *out = (struct algebra){.operation = operation, .count = count};
    arena_init(&out->scratch, 1024);
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

/* ---- a set in order ---- */

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

/* ---- the cursor ---- */

static int by_size(const void *a, const void *b)
{
    uint64_t x = (*(struct collection *const *)a)->e.count, y = (*(struct collection *const *)b)->e.count;
    return (x > y) - (x < y);
}

static int by_size_down(const void *a, const void *b) { return by_size(b, a); }

static void put_in_order(struct algebra *a)
{
    if (a->operation == INTER)
        qsort(a->order, a->count, sizeof *a->order, by_size);
    else if (a->operation == DIFF)
        qsort(a->order + 1, a->count - 1, sizeof *a->order, by_size_down);
    a->nothing = a->operation != UNION && !a->order[0]->e.count;
    for (size_t i = 1; a->operation == DIFF && i < a->count; i++)
        a->nothing |= slice_eq(a->sets[i].key.user, a->sets[0].key.user);
}

static bool better_asks(const struct algebra *a)
{
    uint64_t others = 0, first = a->order[0]->e.count;
    if (first < MOVES_FROM || !a->order[0]->e.pieces) /* what is inline has an order of its own */
        return true;
    for (size_t i = 1; i < a->count; i++)
        others += a->order[i]->e.count;
    return others / ASK_COST > first;
}

static enum result algebra_begin(struct call *c, struct algebra *a)
{
    enum result r = RES_OK;
    put_in_order(a);
    if (a->nothing)
        return RES_OK;
    if (a->operation != UNION) {
        a->from = a->opened = 1;
        a->asks = better_asks(a);
        r = member_walk_open(&a->walk, &a->order[0]->e, 0);
    }
    if (r != RES_OK || a->asks)
        return r;
    a->sources = arena_alloc(c->arena, a->count * sizeof *a->sources);
    if (!a->sources)
        return RES_NO_MEMORY;
    for (; r == RES_OK && a->opened < a->count; a->opened++)
        r = source_open(&a->order[a->opened]->e, &a->sources[a->opened]);
    return r;
}

static void algebra_end(struct algebra *a)
{
    member_walk_close(&a->walk);
    for (size_t i = a->from; i < a->opened; i++)
        if (a->sources && a->sources[i].pieces)
            member_walk_close(&a->sources[i].walk);
    arena_fini(&a->scratch);
}

static bool takes_too_long(struct call *c, struct algebra *a) { return ++a->steps % 64 == 0 && call_too_long(c); }

/* The least member of all; those that had the last one move on first. */
static enum result next_of_all(struct call *c, struct algebra *a, struct slice *member)
{
    const struct source *first = NULL;
    uint64_t last = a->turn++;
    if (takes_too_long(c, a))
        return RES_WOULD_BLOCK;
    for (size_t i = 0; i < a->count; i++) {
        struct source *s = &a->sources[i];
        enum result r = last && s->turn == last ? source_next(s) : RES_OK;
        if (r != RES_OK)
            return r;
        int order = s->ended ? 1 : first ? slice_cmp(s->here.sort_key, first->here.sort_key) : -1;
        if (order < 0) {
            first = s;
            a->turn++;
        }
        if (order <= 0)
            s->turn = a->turn;
    }
    if (!first)
        return RES_NOT_FOUND;
    *member = first->here.member;
    return RES_OK;
}

static enum result ask(struct call *c, struct algebra *a, size_t i, bool *has)
{
    struct arena *arena = c->arena;
    if (a->steps % 64 == 0)
        arena_reset(&a->scratch);
    c->arena = &a->scratch;
    enum result r = member_has(&a->order[i]->e, a->walk.element.key, has);
    c->arena = arena;
    return r;
}

static enum result move_along(struct algebra *a, size_t i, bool *has)
{
    struct source *s = &a->sources[i];
    int order = 1;
    while (!s->ended && (order = slice_cmp(s->here.sort_key, a->walk.sort_key)) < 0) {
        enum result r = source_next(s);
        if (r != RES_OK)
            return r;
    }
    *has = !s->ended && order == 0;
    return RES_OK;
}

/* The next member of the first set that the others all have (INTER), or that none of them has. */
static enum result next_of_first(struct call *c, struct algebra *a, struct slice *member)
{
    bool all = a->operation == INTER;
    for (bool have = !all; have != all;) {
        if (takes_too_long(c, a))
            return RES_WOULD_BLOCK;
        enum result r = member_walk_next(&a->walk);
        have = all;
        for (size_t i = 1; r == RES_OK && i < a->count && have == all; i++)
            r = a->asks ? ask(c, a, i, &have) : move_along(a, i, &have);
        if (r != RES_OK)
            return r;
    }
    *member = a->walk.element.key;
    return RES_OK;
}

/* RES_NOT_FOUND: that was all. The member lives until the next one is asked for. */
static enum result algebra_next(struct call *c, struct algebra *a, struct slice *member)
{
    if (a->nothing)
        return RES_NOT_FOUND;
    return a->operation == UNION ? next_of_all(c, a, member) : next_of_first(c, a, member);
}

/* ---- as a reply ---- */

/* What the head of a reply needs: all members, or their number where there are many. */
struct found {
    struct gathered members;
    uint64_t count, bytes;
    bool streams;
};

static enum result find_all(struct call *c, struct algebra *a, struct found *f)
{
    struct slice member;
    enum result r = algebra_begin(c, a);
    while (r == RES_OK && (r = algebra_next(c, a, &member)) == RES_OK) {
        f->bytes += member.len;
        if (++f->count % 1024 == 0 && !f->streams)
            r = call_streams(c, f->bytes, &f->streams);
        if (r == RES_OK && !f->streams)
            r = gather(c, &f->members, member);
    }
    return r == RES_NOT_FOUND ? RES_OK : r;
}

struct algebra_stream {
    struct algebra a;
    uint64_t left; /* members that the head of the reply has announced */
};

static enum result stream_open(struct call *c, void *state, const void *from)
{
    struct algebra_stream *s = state;
    const struct algebra_stream *wanted = from;
    bool ready;
    s->left = wanted->left;
    enum result r = open_sets(c, 1, (size_t)c->argc - 1, wanted->a.operation, &s->a, &ready);
    if (r == RES_OK)
        r = ready ? algebra_begin(c, &s->a) : RES_CORRUPT;
    return r;
}

static enum result stream_next(struct call *c, void *state)
{
    struct algebra_stream *s = state;
    struct slice member;
    enum result r = algebra_next(c, &s->a, &member);
    if (r == RES_NOT_FOUND && s->left)
        return RES_CORRUPT;
    if (r != RES_OK)
        return r;
    if (!s->left--)
        return RES_CORRUPT;
    reply_bulk(c->reply, member);
    return RES_OK;
}

static void stream_close(void *state) { algebra_end(&((struct algebra_stream *)state)->a); }

static const struct call_stream algebra_stream = {sizeof(struct algebra_stream), stream_open, stream_next,
                                                  stream_close};

static enum result reply_found(struct call *c, struct algebra *a)
{
    if (a->count == 1)
        return set_reply(&a->sets[0].e);
    struct found f = {.count = 0};
    gather_init(&f.members);
    enum result r = find_all(c, a, &f);
    if (r != RES_OK)
        return r;
    c->reply->ops->set(c->reply, (size_t)f.count);
    if (f.streams)
        return call_stream(c, &algebra_stream, &(struct algebra_stream){.a.operation = a->operation, .left = f.count});
    reply_gathered(c, &f.members);
    return RES_OK;
}

static enum result reply_algebra(struct call *c, enum operation operation)
{
    struct algebra a;
    bool ready;
    enum result r = open_sets(c, 1, (size_t)c->argc - 1, operation, &a, &ready);
    if (r == RES_OK && ready)
        r = reply_found(c, &a);
    algebra_end(&a);
    return r;
}

static enum result run_sinter(struct call *c) { return reply_algebra(c, INTER); }
static enum result run_sunion(struct call *c) { return reply_algebra(c, UNION); }
static enum result run_sdiff(struct call *c) { return reply_algebra(c, DIFF); }

/* ---- stored ---- */

/* What Redis starts an intersection as. */
static enum object_encoding smallest_is(const struct algebra *a)
{
    const struct collection *least = &a->sets[0];
    for (size_t i = 1; i < a->count; i++)
        if (a->sets[i].e.count < least->e.count)
            least = &a->sets[i];
    return least->o.exists && least->e.encoding == ENCODING_INTSET ? ENCODING_INTSET : ENCODING_LISTPACK;
}

static enum result store_members(struct call *c, struct algebra *a, struct elements *to)
{
    bool only_integers = true;
    int64_t ignored;
    struct slice member;
    enum result r = algebra_begin(c, a);
    while (r == RES_OK && (r = algebra_next(c, a, &member)) == RES_OK) {
        if (only_integers && (member.len > NUM_I64_MAX || num_parse_i64(member, &ignored) != RES_OK))
            only_integers = false;
        r = set_add_new(to, member);
    }
    if (r == RES_NOT_FOUND)
        r = a->operation == INTER && to->count && only_integers ? set_becomes_intset(to) : RES_OK;
    return r;
}

static enum result store_found(struct call *c, struct algebra *a, const char *event)
{
    struct collection to;
    enum result r = arg_key(c, 1, &to.key);
    if (r == RES_OK)
        r = store_write(c, &to.key, &to.o);
    if (r != RES_OK)
        return r;
    elements_replace(&to.e, c, &to.o, &elements_of_set, a->operation == INTER ? smallest_is(a) : ENCODING_INTSET);
    r = store_members(c, a, &to.e);
    if (r == RES_OK)
        r = collection_store(&to, EVENT_SET, event);
    if (r == RES_OK)
        reply_integer(c->reply, (int64_t)to.e.count);
    return r;
}

static enum result store_algebra(struct call *c, enum operation operation, const char *event)
{
    struct algebra a;
    bool ready;
    enum result r = open_sets(c, 2, (size_t)c->argc - 2, operation, &a, &ready);
    if (r == RES_OK && ready)
        r = store_found(c, &a, event);
    algebra_end(&a);
    return r;
}

static enum result run_sinterstore(struct call *c) { return store_algebra(c, INTER, "sinterstore"); }
static enum result run_sunionstore(struct call *c) { return store_algebra(c, UNION, "sunionstore"); }
static enum result run_sdiffstore(struct call *c) { return store_algebra(c, DIFF, "sdiffstore"); }

/* ---- SINTERCARD ---- */

static enum result count_found(struct call *c, struct algebra *a, uint64_t limit)
{
    struct slice member;
    uint64_t n = 0;
    enum result r = algebra_begin(c, a);
    while (r == RES_OK && (!limit || n < limit) && (r = algebra_next(c, a, &member)) == RES_OK)
        n++;
    if (r != RES_OK && r != RES_NOT_FOUND)
        return r;
    reply_integer(c->reply, (int64_t)n);
    return RES_OK;
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
    struct algebra a;
    bool ready;
    enum result r = open_sets(c, 2, (size_t)keys, INTER, &a, &ready);
    if (r == RES_OK && ready)
        r = count_found(c, &a, (uint64_t)limit);
    algebra_end(&a);
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

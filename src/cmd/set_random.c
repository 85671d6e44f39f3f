/* SPOP and SRANDMEMBER. */
#include "cmd/declare.h"
#include "cmd/set.h"

static enum result reply_key(struct elements *e, void *arg, const struct element *x)
{
    (void)arg;
    reply_bulk(e->c->reply, x->key);
    return RES_OK;
}

/* ---- SRANDMEMBER ---- */

static enum result reply_some(struct call *c, struct collection *x, int64_t count)
{
    uint64_t want = count < 0 ? -(uint64_t)count : (uint64_t)count;
    if (!x->e.count || (count >= 0 && want > x->e.count))
        want = x->e.count;
    reply_array(c->reply, (size_t)want);
    if (count < 0)
        return member_random_repeated(&x->e, NULL, want, reply_key, NULL);
    return want == x->e.count ? set_reply_members(&x->e) : member_random_distinct(&x->e, NULL, want, reply_key, NULL);
}

static enum result run_srandmember(struct call *c)
{
    struct collection x;
    int64_t count = 1;
    bool ready;
    if (c->argc > 3)
        return reply_syntax_error(c->reply);
    if (c->argc == 3 && !arg_i64_within(c, 2, -INT64_MAX, INT64_MAX, &count))
        return RES_OK;
    enum result r = collection_read(c, c->argv[1], &elements_of_set, &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (c->argc == 3)
        return reply_some(c, &x, count);
    struct element one;
    r = member_random(&x.e, NULL, &one);
    if (r == RES_OK)
        reply_bulk(c->reply, one.key);
    else if (r == RES_NOT_FOUND)
        reply_null(c->reply);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

const struct command cmd_srandmember = {
    .name = "srandmember",
    .arity = -2,
    .flags = CMD_READONLY,
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(N) for N members returned",
    .summary = "Returns members of a set, drawn at random.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY),
                                         ARG("count", ARG_INTEGER, .flags = ARG_OPTIONAL, .since = "2.6.0"), ARGS_END},
    .history = (const struct command_history[]){SINCE("2.6.0", "The argument `count`."), HISTORY_END},
    .tips = (const char *const[]){"nondeterministic_output", NULL},
    .run = run_srandmember,
};

/* ---- SPOP ---- */

struct popped {
    struct popped *next;
    struct element element;
};
struct pop {
    struct popped *first;
};

/* Replies with a member and remembers it: it is removed when the walk has ended. */
static enum result pop_member(struct elements *e, void *arg, const struct element *x)
{
    struct pop *pop = arg;
    struct popped *one = arena_alloc(e->c->arena, sizeof *one);
    void *copy = arena_copy(e->c->arena, x->key.data, x->key.len);
    if (!one || !copy)
        return RES_NO_MEMORY;
    *one = (struct popped){.next = pop->first, .element = {.key = slice_of(copy, x->key.len)}};
    pop->first = one;
    reply_bulk(e->c->reply, x->key);
    return RES_OK;
}

static enum result pop_some(struct call *c, struct collection *x, uint64_t want)
{
    struct pop pop = {NULL};
    if (want >= x->e.count) { /* the whole set: O(1) to drop */
        c->reply->ops->set(c->reply, (size_t)x->e.count);
        enum result r = set_reply_members(&x->e);
        x->e.count = 0;
        x->e.touched = true;
        return r == RES_OK ? collection_finish(x, EVENT_SET, "spop") : r;
    }
    c->reply->ops->set(c->reply, (size_t)want);
    enum result r = member_random_distinct(&x->e, NULL, want, pop_member, &pop);
    unsigned n = 0;
    for (const struct popped *one = pop.first; r == RES_OK && one; one = one->next) {
        r = member_take(&x->e, &one->element);
        if (r == RES_OK && ++n % 128 == 0 && call_too_long(c))
            r = RES_WOULD_BLOCK;
    }
    return r == RES_OK ? collection_finish(x, EVENT_SET, "spop") : r;
}

static enum result run_spop(struct call *c)
{
    struct collection x;
    int64_t count = 1;
    bool ready, several = c->argc == 3;
    if (c->argc > 3)
        return reply_syntax_error(c->reply);
    if (several && !arg_count(c, 2, &count))
        return RES_OK;
    enum result r = collection_write(c, c->argv[1], &elements_of_set, &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (several && (!x.o.exists || !count)) {
        c->reply->ops->set(c->reply, 0);
        return RES_OK;
    }
    if (several)
        return pop_some(c, &x, (uint64_t)count);
    struct element one;
    r = member_random_to_take(&x.e, &one);
    if (r == RES_NOT_FOUND) {
        reply_null(c->reply);
        return RES_OK;
    }
    if (r != RES_OK)
        return r;
    reply_bulk(c->reply, one.key);
    r = member_take(&x.e, &one);
    return r == RES_OK ? collection_finish(&x, EVENT_SET, "spop") : r;
}

const struct command cmd_spop = {
    .name = "spop",
    .arity = -2,
    .flags = CMD_WRITE | CMD_FAST | CMD_UNBUNDLED, /* takes from a list: store/ahead.h */
    .acl = ACL_SET,
    .group = "set",
    .since = "1.0.0",
    .complexity = "O(N) for N members returned",
    .summary = "Removes members of a set, drawn at random, and returns them.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEYS_END},
    .args = (const struct command_arg[]){ARG("key", ARG_KEY),
                                         ARG("count", ARG_INTEGER, .flags = ARG_OPTIONAL, .since = "3.2.0"), ARGS_END},
    .history = (const struct command_history[]){SINCE("3.2.0", "The argument `count`."), HISTORY_END},
    .tips = (const char *const[]){"nondeterministic_output", NULL},
    .run = run_spop,
};

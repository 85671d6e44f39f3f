/* Several sorted sets (or sets, whose members have the score 1) made one: ZUNION, ZINTER, ZDIFF, what stores them, and
 * ZINTERCARD.
 *
 * The result is collected in memory and sorted; a store writes it in one batch. Scores are summed in the order of the
 * inputs' sizes, as Redis does it: the last digit of a sum of floating point numbers depends on that. */
#include <math.h>
#include <stdlib.h>

#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/zset.h"
#include "engine/engine.h"

enum operation { UNION, INTER, DIFF };
enum aggregate { SUM, MIN, MAX };

struct source {
    struct store_key key;
    struct object o;
    struct zset z; /* of a set only z.e is open */
    uint64_t count;
    double weight;
};

struct request {
    enum operation operation;
    bool store, cardinality; /* which form of command it is */
    int first;               /* argument of the first key */
    size_t n;
    struct source *sources;
    struct source **order; /* as they are gone through */
    enum aggregate aggregate;
    bool scores;
    uint64_t limit; /* ZINTERCARD; 0: none */
    struct zset_list found;
};

/* ---- arguments ---- */

static enum result open_source(struct call *c, int i, struct source *s, bool *ready)
{
    enum result r = arg_key(c, i, &s->key);
    s->weight = 1;
    if (r == RES_OK)
        r = store_read(c, &s->key, 0, &s->o);
    if (r != RES_OK)
        return r;
    *ready = !s->o.exists || s->o.type == TYPE_ZSET || s->o.type == TYPE_SET;
    if (!*ready)
        return reply_wrong_type(c->reply);
    if (s->o.exists && s->o.type == TYPE_SET)
        r = elements_open(&s->z.e, c, &s->o, &elements_of_set);
    else
        r = zset_open(&s->z, c, &s->o, zset_limits(c));
    s->count = s->o.exists ? s->z.e.count : 0;
    return r;
}

/* numkeys and keys, numkeys being argument i. *ready: false when an error is replied. */
static enum result open_sources(struct call *c, int i, struct request *q, bool *ready)
{
    int64_t n;
    *ready = false;
    if (!arg_i64(c, i, &n))
        return RES_OK;
    if (n < 1)
        return reply_error(c->reply, "ERR at least 1 input key is needed for '%s' command", c->entry->full_name);
    if (n > c->argc - (i + 1))
        return reply_syntax_error(c->reply);
    q->first = i + 1;
    q->n = (size_t)n;
    q->sources = arena_alloc(c->arena, q->n * sizeof *q->sources);
    q->order = arena_alloc(c->arena, q->n * sizeof(struct source *));
    if (!q->sources || !q->order)
        return RES_NO_MEMORY;
    enum result r = RES_OK;
    *ready = true;
    for (size_t j = 0; j < q->n && r == RES_OK && *ready; j++) {
        q->order[j] = &q->sources[j];
        r = open_source(c, q->first + (int)j, &q->sources[j], ready);
    }
    return r;
}

static bool parse_weights(struct call *c, int i, struct request *q)
{
    for (size_t j = 0; j < q->n; j++)
        if (!arg_double(c, i + (int)j, &q->sources[j].weight, "weight value is not a float"))
            return false;
    return true;
}

static bool parse_aggregate(struct call *c, int i, struct request *q)
{
    if (arg_is(c, i, "sum"))
        q->aggregate = SUM;
    else if (arg_is(c, i, "min"))
        q->aggregate = MIN;
    else if (arg_is(c, i, "max"))
        q->aggregate = MAX;
    else
        return reply_syntax_error(c->reply), false;
    return true;
}

static bool parse_limit(struct call *c, int i, struct request *q)
{
    int64_t limit;
    if (num_parse_i64(c->argv[i], &limit) != RES_OK || limit < 0)
        return (void)reply_error(c->reply, "ERR LIMIT can't be negative"), false;
    q->limit = (uint64_t)limit;
    return true;
}

/* What stands behind the keys. False: an error is replied. */
static bool parse_options(struct call *c, struct request *q)
{
    bool aggregates = q->operation != DIFF && !q->cardinality;
    int i = q->first + (int)q->n;
    while (i < c->argc) {
        int left = c->argc - i;
        if (aggregates && (size_t)left > q->n && arg_is(c, i, "weights")) {
            if (!parse_weights(c, i + 1, q))
                return false;
            i += 1 + (int)q->n;
        } else if (aggregates && left >= 2 && arg_is(c, i, "aggregate")) {
            if (!parse_aggregate(c, i + 1, q))
                return false;
            i += 2;
        } else if (!q->store && !q->cardinality && arg_is(c, i, "withscores")) {
            q->scores = true;
            i++;
        } else if (q->cardinality && left >= 2 && arg_is(c, i, "limit")) {
            if (!parse_limit(c, i + 1, q))
                return false;
            i += 2;
        } else {
            return reply_syntax_error(c->reply), false;
        }
    }
    return true;
}

/* ---- elements of a source ---- */

static enum result score_of(const struct source *s, const struct element *element, double *score)
{
    *score = 1;
    return s->o.type == TYPE_SET ? RES_OK : zset_score_in(element, score);
}

static enum result find_in(struct source *s, struct slice member, bool *found, double *score)
{
    struct member_place place;
    *found = false;
    if (!s->count)
        return RES_OK;
    enum result r = member_find(&s->z.e, member, &place);
    *found = r == RES_OK && place.found;
    return *found ? score_of(s, &place.element, score) : r;
}

static double weighted(const struct source *s, double score)
{
    double v = s->weight * score;
    return isnan(v) ? 0 : v;
}

static double aggregate(enum aggregate how, double a, double b)
{
    if (how == MIN)
        return b < a ? b : a;
    if (how == MAX)
        return b > a ? b : a;
    double sum = a + b;
    return isnan(sum) ? 0 : sum; /* of the two infinities */
}

/* ---- a table of members: indexes into the list of results ---- */

struct table {
    struct zset_list *list;
    uint32_t *slot; /* index + 1; 0: free */
    size_t mask;
};

static uint64_t hash_of(struct slice member) { return engine_hash(member); }

/* The slot of a member, or the free one where it belongs. */
static uint32_t *slot_of(const struct table *t, struct slice member)
{
    size_t at = hash_of(member) & t->mask;
    while (t->slot[at] && !slice_eq(t->list->entry[t->slot[at] - 1].member, member))
        at = (at + 1) & t->mask;
    return &t->slot[at];
}

static enum result table_init(struct call *c, struct table *t, struct zset_list *list, uint64_t members)
{
    size_t slots = 64;
    while (slots < members * 2)
        slots *= 2;
    if (members > UINT32_MAX / 2)
        return RES_TOO_MANY;
    t->list = list;
    t->mask = slots - 1;
    t->slot = arena_alloc(c->arena, slots * sizeof *t->slot);
    if (!t->slot)
        return RES_NO_MEMORY;
    memset(t->slot, 0, slots * sizeof *t->slot);
    return RES_OK;
}

/* ---- the operations ---- */

/* Goes through the elements of s: each(q, arg, member, score) */
typedef enum result source_fn(struct call *c, struct request *q, void *arg, struct slice member, double score);
static enum result each_of(struct call *c, struct request *q, struct source *s, source_fn *each, void *arg)
{
    struct member_walk w;
    if (!s->count)
        return RES_OK;
    enum result r = member_walk_open(&w, &s->z.e, 0);
    for (uint64_t n = 1; r == RES_OK && (r = member_walk_next(&w)) == RES_OK; n++) {
        double score;
        r = score_of(s, &w.element, &score);
        if (r == RES_OK)
            r = each(c, q, arg, w.element.key, score);
        if (n % 128 == 0 && r == RES_OK && call_too_long(c))
            r = RES_WOULD_BLOCK;
    }
    member_walk_close(&w);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

struct joining {
    struct table table;
    struct source *source;
};

static enum result join(struct call *c, struct request *q, void *arg, struct slice member, double score)
{
    struct joining *j = arg;
    uint32_t *slot = slot_of(&j->table, member);
    score = weighted(j->source, score);
    if (*slot) {
        struct zset_entry *e = &q->found.entry[*slot - 1];
        e->score = aggregate(q->aggregate, e->score, score);
        return RES_OK;
    }
    enum result r = zset_list_add(c, &q->found, (struct zset_entry){score, member}, true);
    *slot = (uint32_t)q->found.count;
    return r;
}

static enum result unite(struct call *c, struct request *q)
{
    struct joining j;
    uint64_t members = 0;
    for (size_t i = 0; i < q->n; i++)
        members += q->sources[i].count;
    enum result r = table_init(c, &j.table, &q->found, members);
    for (size_t i = 0; r == RES_OK && i < q->n; i++) {
        j.source = q->order[i];
        r = each_of(c, q, j.source, join, &j);
    }
    return r;
}

static enum result intersect_one(struct call *c, struct request *q, void *arg, struct slice member, double score)
{
    (void)arg;
    double sum = weighted(q->order[0], score);
    for (size_t i = 1; i < q->n; i++) {
        bool found;
        double other;
        enum result r = find_in(q->order[i], member, &found, &other);
        if (r != RES_OK || !found)
            return r;
        sum = aggregate(q->aggregate, sum, other * q->order[i]->weight);
    }
    if (!q->cardinality)
        return zset_list_add(c, &q->found, (struct zset_entry){sum, member}, true);
    return ++q->found.count == q->limit ? RES_NOT_FOUND : RES_OK; /* ends the walk */
}

static enum result intersect(struct call *c, struct request *q)
{
    return each_of(c, q, q->order[0], intersect_one, NULL);
}

static enum result take_first(struct call *c, struct request *q, void *arg, struct slice member, double score)
{
    enum result r = zset_list_add(c, &q->found, (struct zset_entry){score, member}, true);
    if (arg)
        *slot_of(arg, member) = (uint32_t)q->found.count;
    return r;
}

static enum result strike(struct call *c, struct request *q, void *arg, struct slice member, double score)
{
    (void)c;
    (void)score;
    uint32_t *slot = slot_of(arg, member);
    if (*slot)
        q->found.entry[*slot - 1].score = NAN; /* is taken out at the end */
    return RES_OK;
}

static enum result keep_if_alone(struct call *c, struct request *q, void *arg, struct slice member, double score)
{
    (void)arg;
    for (size_t i = 1; i < q->n; i++) {
        bool found;
        double other;
        enum result r = find_in(&q->sources[i], member, &found, &other);
        if (r != RES_OK || found)
            return r;
    }
    return zset_list_add(c, &q->found, (struct zset_entry){score, member}, true);
}

/* Either looks for each element of the first set in all others, or goes through all. */
static enum result subtract(struct call *c, struct request *q)
{
    struct table table;
    uint64_t all = 0, lookups = q->sources[0].count * q->n;
    for (size_t i = 0; i < q->n; i++)
        all += q->sources[i].count;
    if (lookups / 2 <= all)
        return each_of(c, q, &q->sources[0], keep_if_alone, NULL);
    enum result r = table_init(c, &table, &q->found, q->sources[0].count);
    if (r == RES_OK)
        r = each_of(c, q, &q->sources[0], take_first, &table);
    for (size_t i = 1; r == RES_OK && i < q->n; i++)
        r = each_of(c, q, &q->sources[i], strike, &table);
    size_t kept = 0;
    for (size_t i = 0; i < q->found.count; i++)
        if (!isnan(q->found.entry[i].score))
            q->found.entry[kept++] = q->found.entry[i];
    q->found.count = kept;
    return r;
}

/* From the smallest to the largest; equal ones keep their order. */
static void sort_sources(struct request *q)
{
    for (size_t i = 1; i < q->n; i++) {
        struct source *s = q->order[i];
        size_t j = i;
        for (; j && q->order[j - 1]->count > s->count; j--)
            q->order[j] = q->order[j - 1];
        q->order[j] = s;
    }
}

static enum result combine(struct call *c, struct request *q)
{
    if (q->operation == DIFF)
        return subtract(c, q);
    sort_sources(q);
    return q->operation == UNION ? unite(c, q) : intersect(c, q);
}

static void reply_found(struct call *c, struct request *q)
{
    zset_sort(q->found.entry, q->found.count);
    reply_entries(c, q->found.count, q->scores);
    for (size_t i = 0; i < q->found.count; i++)
        reply_entry(c, q->found.entry[i], q->scores);
}

/* event: NULL where nothing is stored. */
static enum result run_request(struct call *c, struct request q, const char *event)
{
    bool ready;
    q.store = event;
    enum result r = open_sources(c, event ? 2 : 1, &q, &ready);
    if (r != RES_OK || !ready || !parse_options(c, &q))
        return r;
    r = combine(c, &q);
    if (r == RES_OK && event)
        r = store_zset(c, 1, q.found.entry, q.found.count, event);
    if (r != RES_OK)
        return r;
    if (q.store || q.cardinality)
        reply_integer(c->reply, (int64_t)q.found.count);
    else
        reply_found(c, &q);
    return RES_OK;
}

static enum result run_zunion(struct call *c) { return run_request(c, (struct request){.operation = UNION}, NULL); }
static enum result run_zinter(struct call *c) { return run_request(c, (struct request){.operation = INTER}, NULL); }
static enum result run_zdiff(struct call *c) { return run_request(c, (struct request){.operation = DIFF}, NULL); }
static enum result run_zintercard(struct call *c)
{
    return run_request(c, (struct request){.operation = INTER, .cardinality = true}, NULL);
}
static enum result run_zunionstore(struct call *c)
{
    return run_request(c, (struct request){.operation = UNION}, "zunionstore");
}
static enum result run_zinterstore(struct call *c)
{
    return run_request(c, (struct request){.operation = INTER}, "zinterstore");
}
static enum result run_zdiffstore(struct call *c)
{
    return run_request(c, (struct request){.operation = DIFF}, "zdiffstore");
}

static const struct command_arg args_aggregate[] = {ARG_TOKEN("sum", "SUM"), ARG_TOKEN("min", "MIN"),
                                                    ARG_TOKEN("max", "MAX"), ARGS_END};

const struct command cmd_zunion = {
    .name = "zunion",
    .arity = -3,
    .flags = CMD_READONLY,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "6.2.0",
    .complexity = "O(N)+O(M*log(M)) for N members of all sets, M of them returned",
    .summary = "Returns the members that any of several sets has, scores combined.",
    .keys = (const struct command_keyspec[]){{.flags = KEY_RO | KEY_ACCESS,
                                              .begin = KEYS_INDEX,
                                              .index = 1,
                                              .find = KEYS_KEYNUM,
                                              .keynum_index = 0,
                                              .keynum_first = 1,
                                              .keynum_step = 1},
                                             KEYS_END},
    .args =
        (const struct command_arg[]){
            ARG("numkeys", ARG_INTEGER), ARG("key", ARG_KEY, .flags = ARG_MULTIPLE),
            ARG("weight", ARG_INTEGER, .token = "WEIGHTS", .flags = ARG_OPTIONAL | ARG_MULTIPLE),
            ARG("aggregate", ARG_ONEOF, .token = "AGGREGATE", .flags = ARG_OPTIONAL, .children = args_aggregate),
            ARG_TOKEN("withscores", "WITHSCORES", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_zunion,
};

const struct command cmd_zinter = {
    .name = "zinter",
    .arity = -3,
    .flags = CMD_READONLY,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "6.2.0",
    .complexity = "O(N*K)+O(M*log(M)) for N members of the smallest of K sets, M of them returned",
    .summary = "Returns the members that all of several sets have, scores combined.",
    .keys = (const struct command_keyspec[]){{.flags = KEY_RO | KEY_ACCESS,
                                              .begin = KEYS_INDEX,
                                              .index = 1,
                                              .find = KEYS_KEYNUM,
                                              .keynum_index = 0,
                                              .keynum_first = 1,
                                              .keynum_step = 1},
                                             KEYS_END},
    .args =
        (const struct command_arg[]){
            ARG("numkeys", ARG_INTEGER), ARG("key", ARG_KEY, .flags = ARG_MULTIPLE),
            ARG("weight", ARG_INTEGER, .token = "WEIGHTS", .flags = ARG_OPTIONAL | ARG_MULTIPLE),
            ARG("aggregate", ARG_ONEOF, .token = "AGGREGATE", .flags = ARG_OPTIONAL, .children = args_aggregate),
            ARG_TOKEN("withscores", "WITHSCORES", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_zinter,
};

const struct command cmd_zdiff = {
    .name = "zdiff",
    .arity = -3,
    .flags = CMD_READONLY,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "6.2.0",
    .complexity = "O(L+(N-K)*log(N)) for L members of all sets, N of the first, K returned",
    .summary = "Returns the members of the first set that no other has.",
    .keys = (const struct command_keyspec[]){{.flags = KEY_RO | KEY_ACCESS,
                                              .begin = KEYS_INDEX,
                                              .index = 1,
                                              .find = KEYS_KEYNUM,
                                              .keynum_index = 0,
                                              .keynum_first = 1,
                                              .keynum_step = 1},
                                             KEYS_END},
    .args = (const struct command_arg[]){ARG("numkeys", ARG_INTEGER), ARG("key", ARG_KEY, .flags = ARG_MULTIPLE),
                                         ARG_TOKEN("withscores", "WITHSCORES", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_zdiff,
};

const struct command cmd_zintercard = {
    .name = "zintercard",
    .arity = -3,
    .flags = CMD_READONLY,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "7.0.0",
    .complexity = "O(N*K) for N members of the smallest of K sets",
    .summary = "Counts the members that all of several sets have, up to a limit.",
    .keys = (const struct command_keyspec[]){{.flags = KEY_RO | KEY_ACCESS,
                                              .begin = KEYS_INDEX,
                                              .index = 1,
                                              .find = KEYS_KEYNUM,
                                              .keynum_index = 0,
                                              .keynum_first = 1,
                                              .keynum_step = 1},
                                             KEYS_END},
    .args = (const struct command_arg[]){ARG("numkeys", ARG_INTEGER), ARG("key", ARG_KEY, .flags = ARG_MULTIPLE),
                                         ARG("limit", ARG_INTEGER, .token = "LIMIT", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_zintercard,
};

const struct command cmd_zunionstore = {
    .name = "zunionstore",
    .arity = -4,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "2.0.0",
    .complexity = "O(N)+O(M*log(M)) for N members of all sets, M of them stored",
    .summary = "Stores the members that any of several sets has, scores combined.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_OW | KEY_UPDATE),
                                             {.flags = KEY_RO | KEY_ACCESS,
                                              .begin = KEYS_INDEX,
                                              .index = 2,
                                              .find = KEYS_KEYNUM,
                                              .keynum_index = 0,
                                              .keynum_first = 1,
                                              .keynum_step = 1},
                                             KEYS_END},
    .args =
        (const struct command_arg[]){
            ARG("destination", ARG_KEY), ARG("numkeys", ARG_INTEGER),
            ARG("key", ARG_KEY, .key_spec = 1, .flags = ARG_MULTIPLE),
            ARG("weight", ARG_INTEGER, .token = "WEIGHTS", .flags = ARG_OPTIONAL | ARG_MULTIPLE),
            ARG("aggregate", ARG_ONEOF, .token = "AGGREGATE", .flags = ARG_OPTIONAL, .children = args_aggregate),
            ARGS_END},
    .run = run_zunionstore,
};

const struct command cmd_zinterstore = {
    .name = "zinterstore",
    .arity = -4,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "2.0.0",
    .complexity = "O(N*K)+O(M*log(M)) for N members of the smallest of K sets, M of them stored",
    .summary = "Stores the members that all of several sets have, scores combined.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_OW | KEY_UPDATE),
                                             {.flags = KEY_RO | KEY_ACCESS,
                                              .begin = KEYS_INDEX,
                                              .index = 2,
                                              .find = KEYS_KEYNUM,
                                              .keynum_index = 0,
                                              .keynum_first = 1,
                                              .keynum_step = 1},
                                             KEYS_END},
    .args =
        (const struct command_arg[]){
            ARG("destination", ARG_KEY), ARG("numkeys", ARG_INTEGER),
            ARG("key", ARG_KEY, .key_spec = 1, .flags = ARG_MULTIPLE),
            ARG("weight", ARG_INTEGER, .token = "WEIGHTS", .flags = ARG_OPTIONAL | ARG_MULTIPLE),
            ARG("aggregate", ARG_ONEOF, .token = "AGGREGATE", .flags = ARG_OPTIONAL, .children = args_aggregate),
            ARGS_END},
    .run = run_zinterstore,
};

const struct command cmd_zdiffstore = {
    .name = "zdiffstore",
    .arity = -4,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_SORTEDSET,
    .group = "sorted-set",
    .since = "6.2.0",
    .complexity = "O(L+(N-K)*log(N)) for L members of all sets, N of the first, K stored",
    .summary = "Stores the members of the first set that no other has.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_OW | KEY_UPDATE),
                                             {.flags = KEY_RO | KEY_ACCESS,
                                              .begin = KEYS_INDEX,
                                              .index = 2,
                                              .find = KEYS_KEYNUM,
                                              .keynum_index = 0,
                                              .keynum_first = 1,
                                              .keynum_step = 1},
                                             KEYS_END},
    .args = (const struct command_arg[]){ARG("destination", ARG_KEY), ARG("numkeys", ARG_INTEGER),
                                         ARG("key", ARG_KEY, .key_spec = 1, .flags = ARG_MULTIPLE), ARGS_END},
    .run = run_zdiffstore,
};

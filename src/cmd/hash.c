/* Hashes: HSET and its forms, reading, counting, numbers in fields. Random fields are in hash_random.c. */
#include <math.h>

#include "base/num.h"
#include "cmd/collection.h"
#include "cmd/declare.h"
#include "conf/settings.h"
#include "store/hash.h"

/* ---- setting fields ---- */

static void becomes_hashtable(struct elements *e) { e->encoding = ENCODING_HASHTABLE; }

/* What Redis decides before it sets fields: whether so many, or ones so long, would still be a listpack. */
static void look_at_arguments(struct call *c, struct elements *e, int from, int to)
{
    if (!e->o->exists)
        e->encoding = ENCODING_LISTPACK;
    if (e->encoding != ENCODING_LISTPACK)
        return;
    if ((to - from + 1) / 2 > c->settings->hash_max_listpack_entries)
        becomes_hashtable(e);
    for (int i = from; i <= to; i++)
        if (c->argv[i].len > (uint64_t)c->settings->hash_max_listpack_value)
            becomes_hashtable(e);
}

/* Puts the value where hash_find has looked for the field; the field does not expire any more. */
static enum result set_field(struct elements *e, struct field_place *p, struct slice value)
{
    const struct settings *s = e->c->settings;
    if (e->encoding == ENCODING_LISTPACK &&
        (p->name.len > (uint64_t)s->hash_max_listpack_value || value.len > (uint64_t)s->hash_max_listpack_value))
        becomes_hashtable(e);
    enum result r = hash_put(e, p, value, 0);
    if (e->encoding == ENCODING_LISTPACK && e->count > (uint64_t)s->hash_max_listpack_entries)
        becomes_hashtable(e);
    return r;
}

/* Sets all fields of the request; *created is how many were not there. *ready as usual. */
static enum result set_all(struct call *c, int64_t *created, bool *ready)
{
    struct collection x;
    *ready = false;
    *created = 0;
    if (c->argc % 2)
        return reply_error(c->reply, "ERR wrong number of arguments for '%s' command", c->entry->full_name);
    enum result r = collection_write(c, c->argv[1], &elements_of_hash, &x, ready);
    if (r != RES_OK || !*ready)
        return r;
    look_at_arguments(c, &x.e, 2, c->argc - 1);
    for (int i = 2; i < c->argc; i += 2) {
        struct field_place p;
        if ((r = hash_find(&x.e, c->argv[i], &p)) != RES_OK || (r = set_field(&x.e, &p, c->argv[i + 1])) != RES_OK)
            return r;
        *created += !p.alive;
        if (i % 256 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return collection_finish(&x, EVENT_HASH, "hset");
}

static enum result run_hset(struct call *c)
{
    int64_t created;
    bool ready;
    enum result r = set_all(c, &created, &ready);
    if (r == RES_OK && ready)
        reply_integer(c->reply, created);
    return r;
}

static enum result run_hmset(struct call *c)
{
    int64_t created;
    bool ready;
    enum result r = set_all(c, &created, &ready);
    if (r == RES_OK && ready)
        reply_ok(c->reply);
    return r;
}

static enum result run_hsetnx(struct call *c)
{
    struct collection x;
    struct field_place p;
    bool ready;
    enum result r = collection_write(c, c->argv[1], &elements_of_hash, &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if ((r = hash_find(&x.e, c->argv[2], &p)) != RES_OK)
        return r;
    if (!p.alive) {
        look_at_arguments(c, &x.e, 2, 3);
        if ((r = set_field(&x.e, &p, c->argv[3])) != RES_OK ||
            (r = collection_finish(&x, EVENT_HASH, "hset")) != RES_OK)
            return r;
    }
    reply_integer(c->reply, !p.alive);
    return RES_OK;
}

static const struct command_arg field_and_value[] = {ARG("field", ARG_STRING), ARG("value", ARG_STRING), ARGS_END};
static const struct command_arg args_pairs[] = {
    ARG("key", ARG_KEY), ARG("data", ARG_BLOCK, .flags = ARG_MULTIPLE, .children = field_and_value), ARGS_END};
static const struct command_arg args_key_field[] = {ARG("key", ARG_KEY), ARG("field", ARG_STRING), ARGS_END};
static const struct command_arg args_key_fields[] = {ARG("key", ARG_KEY),
                                                     ARG("field", ARG_STRING, .flags = ARG_MULTIPLE), ARGS_END};

const struct command cmd_hset = {
    .name = "hset",
    .arity = -4,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.0.0",
    .complexity = "O(N) for N fields set",
    .summary = "Sets fields of a hash, which is created when it is missing.",
    .keys = key_update,
    .args = args_pairs,
    .history = (const struct command_history[]){SINCE("4.0.0", "Several fields at once."), HISTORY_END},
    .run = run_hset,
};

const struct command cmd_hmset = {
    .name = "hmset",
    .arity = -4,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.0.0",
    .complexity = "O(N) for N fields set",
    .summary = "Sets fields of a hash.",
    .deprecated_since = "4.0.0",
    .replaced_by = "`HSET` with multiple field-value pairs",
    .keys = key_update,
    .args = args_pairs,
    .run = run_hmset,
};

const struct command cmd_hsetnx = {
    .name = "hsetnx",
    .arity = 4,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.0.0",
    .complexity = "O(1)",
    .summary = "Sets a field of a hash that is not there yet.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_INSERT), KEYS_END},
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY), ARG("field", ARG_STRING), ARG("value", ARG_STRING), ARGS_END},
    .run = run_hsetnx,
};

/* ---- reading fields ---- */

/* The hash of argument 1 and its field of argument 2. */
static enum result read_field(struct call *c, struct collection *x, struct field_place *p, bool *ready)
{
    enum result r = collection_read(c, c->argv[1], &elements_of_hash, x, ready);
    return r == RES_OK && *ready ? hash_find(&x->e, c->argv[2], p) : r;
}

static enum result run_hget(struct call *c)
{
    struct collection x;
    struct field_place p;
    bool ready;
    enum result r = read_field(c, &x, &p, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (p.alive)
        reply_bulk(c->reply, p.member.element.value);
    else
        reply_null(c->reply);
    return RES_OK;
}

static enum result run_hexists(struct call *c)
{
    struct collection x;
    struct field_place p;
    bool ready;
    enum result r = read_field(c, &x, &p, &ready);
    if (r == RES_OK && ready)
        reply_integer(c->reply, p.alive);
    return r;
}

static enum result run_hstrlen(struct call *c)
{
    struct collection x;
    struct field_place p;
    bool ready;
    enum result r = read_field(c, &x, &p, &ready);
    if (r == RES_OK && ready)
        reply_integer(c->reply, p.alive ? (int64_t)p.member.element.value.len : 0);
    return r;
}

static enum result run_hmget(struct call *c)
{
    struct collection x;
    bool ready;
    enum result r = collection_read(c, c->argv[1], &elements_of_hash, &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    reply_array(c->reply, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        struct field_place p;
        if ((r = hash_find(&x.e, c->argv[i], &p)) != RES_OK)
            return r;
        if (p.alive)
            reply_bulk(c->reply, p.member.element.value);
        else
            reply_null(c->reply);
        if (i % 128 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    return RES_OK;
}

static enum result run_hlen(struct call *c)
{
    struct collection x;
    bool ready;
    enum result r = collection_read(c, c->argv[1], &elements_of_hash, &x, &ready);
    if (r == RES_OK && ready)
        reply_integer(c->reply, (int64_t)x.e.count);
    return r;
}

/* ---- all fields ---- */

enum parts { FIELDS = 1, VALUES = 2 };
struct whole {
    enum parts parts;
    uint64_t left; /* elements that the head of the reply has announced */
};

static enum result reply_parts(struct elements *e, void *arg, const struct element *x)
{
    struct whole *w = arg;
    if (!hash_field_alive(e, x))
        return RES_OK;
    if (!w->left--)
        return RES_CORRUPT;
    if (w->parts & FIELDS)
        reply_bulk(e->c->reply, x->key);
    if (w->parts & VALUES)
        reply_bulk(e->c->reply, x->value);
    return RES_OK;
}

struct fields_stream {
    struct collection x;
    struct member_walk walk;
    struct whole whole;
};

static enum result fields_open(struct call *c, void *state, const void *from)
{
    struct fields_stream *s = state;
    bool ready;
    s->whole = *(const struct whole *)from;
    enum result r = collection_read(c, c->argv[1], &elements_of_hash, &s->x, &ready);
    if (r == RES_OK)
        r = ready ? member_walk_open(&s->walk, &s->x.e, 0) : RES_CORRUPT;
    return r;
}

static enum result fields_next(struct call *c, void *state)
{
    (void)c;
    struct fields_stream *s = state;
    enum result r = member_walk_next(&s->walk);
    if (r == RES_NOT_FOUND && s->whole.left)
        return RES_CORRUPT;
    return r == RES_OK ? reply_parts(&s->x.e, &s->whole, &s->walk.element) : r;
}

static void fields_close(void *state) { member_walk_close(&((struct fields_stream *)state)->walk); }

static const struct call_stream fields_stream = {sizeof(struct fields_stream), fields_open, fields_next, fields_close};

static enum result reply_whole(struct call *c, enum parts parts)
{
    struct collection x;
    bool ready, streams;
    struct whole w = {.parts = parts};
    enum result r = collection_read(c, c->argv[1], &elements_of_hash, &x, &ready);
    if (r == RES_OK && ready)
        r = call_streams(c, x.e.bytes, &streams);
    if (r == RES_OK && ready)
        r = hash_count_alive(&x.e, &w.left);
    if (r != RES_OK || !ready)
        return r;
    if (parts == (FIELDS | VALUES))
        reply_map(c->reply, (size_t)w.left);
    else
        reply_array(c->reply, (size_t)w.left);
    if (streams && w.left)
        return call_stream(c, &fields_stream, &w);
    r = member_each(&x.e, reply_parts, &w);
    return r == RES_OK && w.left ? RES_CORRUPT : r; /* the metadata counts others */
}

static enum result run_hgetall(struct call *c) { return reply_whole(c, FIELDS | VALUES); }
static enum result run_hkeys(struct call *c) { return reply_whole(c, FIELDS); }
static enum result run_hvals(struct call *c) { return reply_whole(c, VALUES); }

static enum result show_field(struct call *c, struct gathered *found, const struct element *x)
{
    enum result r = gather(c, found, x->key);
    return r == RES_OK ? gather(c, found, x->value) : r;
}

static enum result run_hscan(struct call *c)
{
    return scan_members(c, &elements_of_hash, hash_field_alive, show_field);
}

static const char *const tips_unordered[] = {"nondeterministic_output_order", NULL};
static const char *const tips_changing[] = {"nondeterministic_output", NULL};

const struct command cmd_hget = {
    .name = "hget",
    .arity = 3,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.0.0",
    .complexity = "O(1)",
    .summary = "Returns the value of a field of a hash.",
    .keys = key_read,
    .args = args_key_field,
    .run = run_hget,
};

const struct command cmd_hexists = {
    .name = "hexists",
    .arity = 3,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.0.0",
    .complexity = "O(1)",
    .summary = "Tells whether a hash has a field.",
    .keys = key_look,
    .args = args_key_field,
    .run = run_hexists,
};

const struct command cmd_hstrlen = {
    .name = "hstrlen",
    .arity = 3,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "3.2.0",
    .complexity = "O(1)",
    .summary = "Returns the length of a field's value.",
    .keys = key_look,
    .args = args_key_field,
    .run = run_hstrlen,
};

const struct command cmd_hmget = {
    .name = "hmget",
    .arity = -3,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.0.0",
    .complexity = "O(N) for N fields asked for",
    .summary = "Returns the values of fields of a hash.",
    .keys = key_read,
    .args = args_key_fields,
    .run = run_hmget,
};

const struct command cmd_hlen = {
    .name = "hlen",
    .arity = 2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.0.0",
    .complexity = "O(1)",
    .summary = "Returns the number of fields of a hash.",
    .keys = key_look,
    .args = args_key,
    .run = run_hlen,
};

const struct command cmd_hgetall = {
    .name = "hgetall",
    .arity = 2,
    .flags = CMD_READONLY,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.0.0",
    .complexity = "O(N) for N fields of the hash",
    .summary = "Returns all fields of a hash with their values.",
    .keys = key_read,
    .args = args_key,
    .tips = tips_unordered,
    .run = run_hgetall,
};

const struct command cmd_hkeys = {
    .name = "hkeys",
    .arity = 2,
    .flags = CMD_READONLY,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.0.0",
    .complexity = "O(N) for N fields of the hash",
    .summary = "Returns all fields of a hash.",
    .keys = key_read,
    .args = args_key,
    .tips = tips_unordered,
    .run = run_hkeys,
};

const struct command cmd_hvals = {
    .name = "hvals",
    .arity = 2,
    .flags = CMD_READONLY,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.0.0",
    .complexity = "O(N) for N fields of the hash",
    .summary = "Returns all values of a hash.",
    .keys = key_read,
    .args = args_key,
    .tips = tips_unordered,
    .run = run_hvals,
};

const struct command cmd_hscan = {
    .name = "hscan",
    .arity = -3,
    .flags = CMD_READONLY,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.8.0",
    .complexity = "O(COUNT) a call, O(N) for all calls until the cursor is 0 again, for N fields",
    .summary = "Goes through the fields of a hash, some at each call.",
    .keys = key_read,
    .args = args_member_scan,
    .tips = tips_changing,
    .run = run_hscan,
};

/* ---- removing ---- */

static enum result run_hdel(struct call *c)
{
    struct collection x;
    bool ready;
    int64_t removed = 0;
    enum result r = collection_write(c, c->argv[1], &elements_of_hash, &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    for (int i = 2; i < c->argc && x.e.count; i++) {
        struct field_place p;
        if ((r = hash_find(&x.e, c->argv[i], &p)) != RES_OK)
            return r;
        removed += p.member.found; /* one that is due counts, as in Redis */
        if (p.member.found && (r = hash_remove(&x.e, &p)) != RES_OK)
            return r;
        if (i % 128 == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
    }
    r = collection_finish(&x, EVENT_HASH, "hdel");
    if (r == RES_OK)
        reply_integer(c->reply, removed);
    return r;
}

const struct command cmd_hdel = {
    .name = "hdel",
    .arity = -3,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.0.0",
    .complexity = "O(N) for N fields to be removed",
    .summary = "Removes fields of a hash, and the hash with the last of them.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RW | KEY_DELETE), KEYS_END},
    .args = args_key_fields,
    .history = (const struct command_history[]){SINCE("2.4.0", "Several fields at once."), HISTORY_END},
    .run = run_hdel,
};

/* ---- numbers ---- */

/* The new value of a field is a number that is shown so. */
static enum result finish_number(struct call *c, struct collection *x, struct field_place *p, struct slice text,
                                 const char *event)
{
    if (!x->o.exists)
        x->e.encoding = ENCODING_LISTPACK;
    enum result r = hash_put(&x->e, p, text, hash_expiry_of(p));
    if (x->e.encoding == ENCODING_LISTPACK && (p->name.len > (uint64_t)c->settings->hash_max_listpack_value ||
                                               text.len > (uint64_t)c->settings->hash_max_listpack_value ||
                                               x->e.count > (uint64_t)c->settings->hash_max_listpack_entries))
        becomes_hashtable(&x->e);
    return r == RES_OK ? collection_finish(x, EVENT_HASH, event) : r;
}

static enum result run_hincrby(struct call *c)
{
    struct collection x;
    struct field_place p;
    int64_t by, value = 0;
    bool ready;
    if (!arg_i64(c, 3, &by))
        return RES_OK;
    enum result r = collection_write(c, c->argv[1], &elements_of_hash, &x, &ready);
    if (r == RES_OK && ready)
        r = hash_find(&x.e, c->argv[2], &p);
    if (r != RES_OK || !ready)
        return r;
    if (p.alive && num_parse_i64(p.member.element.value, &value) != RES_OK)
        return reply_error(c->reply, "ERR hash value is not an integer");
    if (__builtin_add_overflow(value, by, &value))
        return reply_error(c->reply, "ERR increment or decrement would overflow");
    char *text = arena_alloc(c->arena, NUM_I64_MAX);
    if (!text)
        return RES_NO_MEMORY;
    r = finish_number(c, &x, &p, slice_of(text, num_format_i64(text, value)), "hincrby");
    if (r == RES_OK)
        reply_integer(c->reply, value);
    return r;
}

static enum result run_hincrbyfloat(struct call *c)
{
    struct collection x;
    struct field_place p;
    long double by, value = 0;
    bool ready;
    if (num_parse_long_double(c->argv[3], &by) != RES_OK)
        return reply_error(c->reply, "ERR value is not a valid float");
    if (isnan(by) || isinf(by))
        return reply_error(c->reply, "ERR value is NaN or Infinity");
    enum result r = collection_write(c, c->argv[1], &elements_of_hash, &x, &ready);
    if (r == RES_OK && ready)
        r = hash_find(&x.e, c->argv[2], &p);
    if (r != RES_OK || !ready)
        return r;
    if (p.alive && num_parse_long_double(p.member.element.value, &value) != RES_OK)
        return reply_error(c->reply, "ERR hash value is not a float");
    value += by;
    if (isnan(value) || isinf(value))
        return reply_error(c->reply, "ERR increment would produce NaN or Infinity");
    char *text = arena_alloc(c->arena, NUM_LD_MAX);
    if (!text)
        return RES_NO_MEMORY;
    struct slice shown = slice_of(text, num_format_long_double(text, value));
    r = finish_number(c, &x, &p, shown, "hincrbyfloat");
    if (r == RES_OK)
        reply_bulk(c->reply, shown);
    return r;
}

const struct command cmd_hincrby = {
    .name = "hincrby",
    .arity = 4,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.0.0",
    .complexity = "O(1)",
    .summary = "Adds an integer to the one in a field; a missing field counts as 0.",
    .keys = key_change,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("field", ARG_STRING), ARG("increment", ARG_INTEGER),
                                         ARGS_END},
    .run = run_hincrby,
};

const struct command cmd_hincrbyfloat = {
    .name = "hincrbyfloat",
    .arity = 4,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_HASH,
    .group = "hash",
    .since = "2.6.0",
    .complexity = "O(1)",
    .summary = "Adds a floating point number to the one in a field; a missing field counts as 0.",
    .keys = key_change,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("field", ARG_STRING), ARG("increment", ARG_DOUBLE),
                                         ARGS_END},
    .run = run_hincrbyfloat,
};

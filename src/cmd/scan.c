/* Going through keys: KEYS, SCAN, RANDOMKEY. */
#include <errno.h>
#include <stdlib.h>

#include "base/glob.h"
#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/support.h"

/* Keys that are to be replied, collected first because the reply begins with their number. */
struct found_key {
    struct found_key *next;
    struct slice key;
};
struct collector {
    struct slice pattern;
    bool all;              /* the pattern is "*" */
    bool typed;            /* only keys of `type` */
    enum object_type type; /* TYPE_COUNT: of no type there is */
    size_t count;
    struct found_key *first, **last;
};

static enum result collect(struct call *c, void *arg, const struct store_scan_entry *entry)
{
    struct collector *found = arg;
    if (found->typed && entry->object.type != found->type)
        return RES_OK;
    if (!found->all && !glob_match(found->pattern, entry->key, false))
        return RES_OK;
    struct found_key *k = arena_alloc(c->arena, sizeof *k);
    void *copy = arena_copy(c->arena, entry->key.data, entry->key.len);
    if (!k || !copy)
        return RES_NO_MEMORY;
    *k = (struct found_key){NULL, slice_of(copy, entry->key.len)};
    *found->last = k;
    found->last = &k->next;
    found->count++;
    return RES_OK;
}

static void reply_found(struct call *c, const struct collector *found)
{
    reply_array(c->reply, found->count);
    for (const struct found_key *k = found->first; k; k = k->next)
        reply_bulk(c->reply, k->key);
}

static bool matches_all(struct slice pattern) { return pattern.len == 1 && pattern.data[0] == '*'; }

/* ---- KEYS ---- */

/* A pattern without wildcards is a key. */
static enum result one_key(struct call *c, struct slice name, struct collector *found)
{
    struct store_key key;
    struct object o;
    enum result r = store_key_init(c, c->session->db, name, &key);
    if (r == RES_OK)
        r = store_read(c, &key, LOOKUP_NO_TOUCH | LOOKUP_NO_STATS | LOOKUP_NO_EVENT, &o);
    if (r != RES_OK || !o.exists)
        return r;
    struct store_scan_entry entry = {.key = name, .object = o};
    return collect(c, found, &entry);
}

static enum result run_keys(struct call *c)
{
    struct slice pattern = c->argv[1];
    struct collector found = {.pattern = pattern, .all = matches_all(pattern)};
    found.last = &found.first;
    bool exact;
    uint8_t *literal = arena_alloc(c->arena, pattern.len + 1);
    if (!literal)
        return RES_NO_MEMORY;
    size_t len = glob_prefix(pattern, literal, &exact);
    enum result r =
        exact ? one_key(c, slice_of(literal, len), &found) : store_each_key(c, c->session->db, collect, &found);
    if (r == RES_OK)
        reply_found(c, &found);
    return r;
}

const struct command cmd_keys = {
    .name = "keys",
    .arity = 2,
    .flags = CMD_READONLY | CMD_LONG,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .group = "generic",
    .since = "1.0.0",
    .complexity = "O(N) for N keys in the database; other clients are served meanwhile",
    .summary = "Returns all keys that match a pattern.",
    .args = (const struct command_arg[]){ARG("pattern", ARG_PATTERN), ARGS_END},
    .tips = (const char *const[]){"request_policy:all_shards", "nondeterministic_output_order", NULL},
    .run = run_keys,
};

/* ---- SCAN ---- */

/* As strtoul reads a number, since that is what clients are used to. False: an error is replied. */
static bool parse_cursor(struct call *c, struct slice text, uint64_t *out)
{
    char copy[64], *end;
    errno = 0;
    if (text.len < sizeof copy && !memchr(text.len ? text.data : (const uint8_t *)"", 0, text.len)) {
        memcpy(copy, text.len ? (const void *)text.data : "", text.len);
        copy[text.len] = 0;
        unsigned long long value = strtoull(copy, &end, 10);
        bool space = copy[0] == ' ' || (copy[0] >= '\t' && copy[0] <= '\r');
        if (!space && *end == 0 && errno != ERANGE) {
            *out = value;
            return true;
        }
    }
    (void)reply_error(c->reply, "ERR invalid cursor");
    return false;
}

static enum object_type type_named(struct slice name)
{
    for (enum object_type t = 0; t < TYPE_COUNT; t++)
        if (slice_eq_nocase(name, object_type_name(t)))
            return t;
    return TYPE_COUNT;
}

/* False: an error is replied. */
static bool parse_scan(struct call *c, struct collector *found, int64_t *count)
{
    *count = 10;
    for (int i = 2; i < c->argc; i += 2) {
        bool more = i + 1 < c->argc;
        if (more && arg_is(c, i, "count")) {
            if (!arg_i64(c, i + 1, count))
                return false;
            if (*count < 1) {
                (void)reply_syntax_error(c->reply);
                return false;
            }
        } else if (more && arg_is(c, i, "match")) {
            found->pattern = c->argv[i + 1];
            found->all = matches_all(found->pattern);
        } else if (more && arg_is(c, i, "type")) {
            found->typed = true;
            found->type = type_named(c->argv[i + 1]);
        } else {
            (void)reply_syntax_error(c->reply);
            return false;
        }
    }
    return true;
}

static enum result run_scan(struct call *c)
{
    uint64_t cursor;
    int64_t count;
    struct collector found = {.all = true};
    found.last = &found.first;
    if (!parse_cursor(c, c->argv[1], &cursor) || !parse_scan(c, &found, &count))
        return RES_OK;
    enum result r = store_scan(c, c->session->db, &cursor, (uint64_t)count, collect, &found);
    if (r != RES_OK)
        return r;
    char text[NUM_I64_MAX];
    reply_array(c->reply, 2);
    reply_bulk(c->reply, slice_of(text, num_format_u64(text, cursor)));
    reply_found(c, &found);
    return RES_OK;
}

const struct command cmd_scan = {
    .name = "scan",
    .arity = -2,
    .flags = CMD_READONLY,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "2.8.0",
    .complexity = "O(COUNT) a call, O(N) for all calls until the cursor is 0 again, for N keys",
    .summary = "Goes through the keys of the database, some at each call.",
    .args =
        (const struct command_arg[]){
            ARG("cursor", ARG_INTEGER), ARG("pattern", ARG_PATTERN, .token = "MATCH", .flags = ARG_OPTIONAL),
            ARG("count", ARG_INTEGER, .token = "COUNT", .flags = ARG_OPTIONAL),
            ARG("type", ARG_STRING, .token = "TYPE", .flags = ARG_OPTIONAL, .since = "6.0.0"), ARGS_END},
    .history = (const struct command_history[]){SINCE("6.0.0", "Option `TYPE`."), HISTORY_END},
    .tips = (const char *const[]){"nondeterministic_output", "request_policy:special", "response_policy:special", NULL},
    .run = run_scan,
};

/* ---- RANDOMKEY ---- */

static enum result run_randomkey(struct call *c)
{
    struct slice key;
    bool found;
    enum result r = store_random_key(c, c->session->db, &key, &found);
    if (r != RES_OK)
        return r;
    if (found)
        reply_bulk(c->reply, key);
    else
        reply_null(c->reply);
    return RES_OK;
}

const struct command cmd_randomkey = {
    .name = "randomkey",
    .arity = 1,
    .flags = CMD_READONLY,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Returns a key of the database, each with the same probability.",
    .tips =
        (const char *const[]){"request_policy:all_shards", "response_policy:special", "nondeterministic_output", NULL},
    .run = run_randomkey,
};

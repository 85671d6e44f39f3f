/* Going through keys: KEYS, SCAN, RANDOMKEY. */
#include "base/glob.h"
#include "cmd/collection.h"
#include "cmd/declare.h"

/* Keys that are to be replied, collected first because the reply begins with their number. */
struct collector {
    struct scan_options wanted;
    struct gathered found;
};

static enum result collect(struct call *c, void *arg, const struct store_scan_entry *entry)
{
    struct collector *keys = arg;
    if (keys->wanted.typed && entry->object.type != keys->wanted.type)
        return RES_OK;
    return scan_wants(&keys->wanted, entry->key) ? gather(c, &keys->found, entry->key) : RES_OK;
}

/* ---- KEYS ---- */

/* A pattern without wildcards is a key. */
static enum result one_key(struct call *c, struct slice name, struct collector *keys)
{
    struct store_key key;
    struct object o;
    enum result r = store_key_init(c, c->session->db, name, &key);
    if (r == RES_OK)
        r = store_read(c, &key, LOOKUP_NO_TOUCH | LOOKUP_NO_STATS | LOOKUP_NO_EVENT, &o);
    if (r != RES_OK || !o.exists)
        return r;
    struct store_scan_entry entry = {.key = name, .object = o};
    return collect(c, keys, &entry);
}

/* Kept, until there are so many that the reply is to be a stream; then only counted. */
struct listing {
    struct collector keys;
    uint64_t count, bytes;
    bool streams;
};

static enum result list_key(struct call *c, void *arg, const struct store_scan_entry *entry)
{
    struct listing *l = arg;
    if (!scan_wants(&l->keys.wanted, entry->key))
        return RES_OK;
    l->count++;
    l->bytes += entry->key.len;
    if (!l->streams && l->count % 4096 == 0) {
        enum result r = call_streams(c, l->bytes, &l->streams);
        if (r != RES_OK)
            return r;
    }
    return l->streams ? RES_OK : gather(c, &l->keys.found, entry->key);
}

#define KEYS_STEP 256
struct keys_stream {
    struct scan_options wanted;
    uint32_t keyspace;
    uint64_t cursor, left;
    bool over;
};

static enum result keys_open(struct call *c, void *state, const void *from)
{
    struct keys_stream *s = state;
    const struct listing *l = from;
    s->wanted = l->keys.wanted;
    s->wanted.pattern = c->argv[1];
    s->left = l->count;
    return store_scan_begin(c, c->session->db, &s->keyspace);
}

static enum result say_key(struct call *c, void *arg, const struct store_scan_entry *entry)
{
    struct keys_stream *s = arg;
    if (!scan_wants(&s->wanted, entry->key))
        return RES_OK;
    if (!s->left--)
        return RES_CORRUPT;
    reply_bulk(c->reply, entry->key);
    return RES_OK;
}

static enum result keys_next(struct call *c, void *state)
{
    struct keys_stream *s = state;
    if (s->over)
        return s->left ? RES_CORRUPT : RES_NOT_FOUND;
    enum result r = store_scan_step(c, s->keyspace, &s->cursor, KEYS_STEP, say_key, s);
    s->over = s->cursor == 0;
    return r;
}

static void keys_close(void *state) { (void)state; }

static const struct call_stream keys_stream = {sizeof(struct keys_stream), keys_open, keys_next, keys_close};

static enum result run_keys(struct call *c)
{
    struct slice pattern = c->argv[1];
    struct listing l = {.keys.wanted = {.pattern = pattern, .all = slice_eq(pattern, SLICE_LIT("*"))}};
    struct collector *keys = &l.keys;
    bool exact;
    gather_init(&keys->found);
    uint8_t *literal = arena_alloc(c->arena, pattern.len + 1);
    if (!literal)
        return RES_NO_MEMORY;
    size_t len = glob_prefix(pattern, literal, &exact);
    enum result r = exact ? one_key(c, slice_of(literal, len), keys) : store_each_key(c, c->session->db, list_key, &l);
    if (r != RES_OK)
        return r;
    reply_array(c->reply, l.streams ? l.count : keys->found.count);
    if (l.streams)
        return call_stream(c, &keys_stream, &l);
    reply_gathered(c, &keys->found);
    return RES_OK;
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

static enum result run_scan(struct call *c)
{
    uint64_t cursor;
    struct collector keys;
    gather_init(&keys.found);
    if (!scan_cursor(c, c->argv[1], &cursor) || !scan_options(c, 2, true, &keys.wanted))
        return RES_OK;
    enum result r = store_scan(c, c->session->db, &cursor, keys.wanted.count, collect, &keys);
    if (r == RES_OK)
        reply_scan(c, cursor, &keys.found);
    return r;
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

/* RESTORE: a value from Redis' serialised form (proto/rdb.h).
 *
 * The bytes may come from anybody. They are read wholly, and looked at, before anything is written, since until then
 * the answer may be an error; what has been read is then stored at once. */
#include "cmd/declare.h"
#include "cmd/lists.h"
#include "cmd/set.h"
#include "cmd/zset.h"
#include "conf/settings.h"
#include "proto/rdb.h"
#include "store/hash.h"
#include "store/list.h"

#define ASK_EVERY 64 /* items between two questions whether the run takes too long */
/* More than these are not stored in the time that a run has on a reactor. */
#define LONG_ITEMS 5000
#define LONG_BYTES ((size_t)192 << 10)

struct restore {
    struct slice value;
    int version;
    bool replace, absolute;
    int64_t ttl, idle; /* idle: -1: not given */
};

/* ---- reading the bytes ---- */

/* What a value consists of: strings (of which there is one) and lists are slices, sorted sets are entries, sets and
 * hashes are elements. */
struct items {
    struct rdb_reader in;
    size_t count, cap, size; /* bytes of one */
    union {
        void *any;
        struct slice *text;
        struct zset_entry *entry;
        struct element *element;
    } at;
    size_t longest;            /* sorted sets: bytes of a member */
    struct member_order order; /* what has members */
};

#define EXPECTED_MOST 65536 /* items for which room is made because the head tells of so many */

static size_t size_of_item(enum rdb_kind kind)
{
    return kind == RDB_STRING || kind == RDB_LIST ? sizeof(struct slice)
           : kind == RDB_ZSET                     ? sizeof(struct zset_entry)
                                                  : sizeof(struct element);
}

static enum result make_room(struct call *c, struct items *all)
{
    uint64_t expected = all->in.expected < EXPECTED_MOST ? all->in.expected : EXPECTED_MOST;
    size_t cap = all->cap ? all->cap * 2 : expected > 16 ? (size_t)expected : 16;
    void *p = arena_alloc(c->arena, cap * all->size);
    if (!p)
        return RES_NO_MEMORY;
    if (all->count)
        memcpy(p, all->at.any, all->count * all->size);
    all->at.any = p;
    all->cap = cap;
    return RES_OK;
}

static enum result keep(struct call *c, struct items *all, const struct rdb_item *item)
{
    if (all->in.kind == RDB_STRING && item->first.len > STORE_STRING_MAX)
        return RES_CORRUPT;
    if (all->count == all->cap) {
        enum result r = make_room(c, all);
        if (r != RES_OK)
            return r;
    }
    size_t i = all->count++;
    if (all->in.kind == RDB_STRING || all->in.kind == RDB_LIST) {
        all->at.text[i] = item->first;
    } else if (all->in.kind == RDB_ZSET) {
        all->at.entry[i] = (struct zset_entry){item->score, item->first};
        all->longest = item->first.len > all->longest ? item->first.len : all->longest;
    } else {
        all->at.element[i] = (struct element){item->first, item->second, item->expire_ms};
    }
    return RES_OK;
}

static enum result order_members(struct call *c, struct items *all)
{
    struct member_names names = {all->at.any, all->size}; /* of elements: their key comes first */
    bool twins;
    if (all->in.kind == RDB_ZSET) {
        zset_sort(all->at.entry, all->count);
        names.first = &all->at.entry->member;
    }
    enum result r = member_order(c, &names, all->count, &all->order, &twins);
    return r == RES_OK && twins ? RES_CORRUPT : r;
}

/* RES_CORRUPT: they are no value. */
static enum result read_items(struct call *c, const struct restore *s, struct items *all)
{
    struct rdb_item item;
    *all = (struct items){.count = 0};
    enum result r = rdb_open(&all->in, s->value, s->version, c->arena);
    if (r != RES_OK)
        return r == RES_UNSUPPORTED ? RES_CORRUPT : r;
    all->size = size_of_item(all->in.kind);
    if ((all->in.expected > LONG_ITEMS || s->value.len > LONG_BYTES) && call_will_be_long(c))
        return RES_WOULD_BLOCK;
    while ((r = rdb_next(&all->in, &item)) == RES_OK) {
        if (all->in.given % ASK_EVERY == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
        if ((r = keep(c, all, &item)) != RES_OK)
            return r;
    }
    if (r != RES_NOT_FOUND)
        return r;
    return all->in.kind == RDB_STRING || all->in.kind == RDB_LIST ? RES_OK : order_members(c, all);
}

/* ---- storing ---- */

static enum result restore_string(struct call *c, struct items *all, struct object *o, uint64_t expire_ms)
{
    return store_set_string(c, o, all->at.text[0], expire_ms, 0);
}

static enum result restore_list(struct call *c, struct items *all, struct object *o, uint64_t expire_ms)
{
    struct list_builder b;
    enum result r = RES_OK;
    list_build(&b, c, o);
    if (all->in.shape != SHAPE_STRINGS) /* in Redis' own nodes; else to be divided into such */
        r = list_push_all(&b.list, LIST_TAIL, all->at.text, all->count);
    for (size_t i = 0; r == RES_OK && all->in.shape == SHAPE_STRINGS && i < all->count; i++) {
        r = list_build_add(&b, all->at.text[i]);
        if (i % ASK_EVERY == ASK_EVERY - 1 && r == RES_OK && call_too_long(c))
            r = RES_WOULD_BLOCK;
    }
    if (r != RES_OK)
        return r;
    if (all->in.nodes > 1)
        b.list.e.encoding = ENCODING_QUICKLIST;
    r = list_build_finish(&b);
    return r == RES_OK && expire_ms ? store_set_expiry(c, o, expire_ms) : r;
}

/* What was packed together by Redis stays a listpack if it has no more elements than one may have. */
static bool is_packed(const struct rdb_reader *in)
{
    return in->shape == SHAPE_PACKED && in->packed.form != PACKED_ZIPMAP;
}

static enum object_encoding set_encoding(const struct call *c, const struct rdb_reader *in)
{
    const struct settings *s = c->settings;
    if (in->shape == SHAPE_STRINGS)
        return in->expected <= (uint64_t)s->set_max_intset_entries ? ENCODING_INTSET : ENCODING_HASHTABLE;
    if (in->packed.form == PACKED_INTSET)
        return ENCODING_INTSET;
    return in->expected <= (uint64_t)s->set_max_listpack_entries ? ENCODING_LISTPACK : ENCODING_HASHTABLE;
}

static enum result restore_set(struct call *c, struct items *all, struct object *o, uint64_t expire_ms)
{
    struct elements e;
    elements_replace(&e, c, o, &elements_of_set, set_encoding(c, &all->in));
    enum result r = set_fill(&e, all->at.element, &all->order);
    if (r != RES_OK)
        return r;
    if (is_packed(&all->in) && all->in.packed.form == PACKED_LISTPACK)
        e.encoding = set_encoding(c, &all->in);
    return elements_finish_with(&e, expire_ms);
}

/* Fields that have expired are not stored. */
static enum result leave_expired(struct call *c, struct items *all)
{
    size_t n = 0;
    for (size_t i = 0; i < all->count; i++) {
        const struct element *x = &all->at.element[i];
        if (!x->expire_ms || x->expire_ms >= c->now_ms)
            all->at.element[n++] = *x;
    }
    if (n == all->count)
        return RES_OK;
    all->count = n;
    return order_members(c, all);
}

static enum object_encoding hash_encoding(const struct call *c, const struct items *all)
{
    size_t longest = 0;
    for (size_t i = 0; i < all->count && !is_packed(&all->in); i++) {
        const struct element *x = &all->at.element[i];
        size_t len = x->key.len > x->value.len ? x->key.len : x->value.len;
        longest = len > longest ? len : longest;
    }
    bool small = all->count <= (uint64_t)c->settings->hash_max_listpack_entries &&
                 longest <= (uint64_t)c->settings->hash_max_listpack_value;
    return small ? ENCODING_LISTPACK : ENCODING_HASHTABLE;
}

static enum result restore_hash(struct call *c, struct items *all, struct object *o, uint64_t expire_ms)
{
    struct elements e;
    enum result r = leave_expired(c, all);
    if (r != RES_OK)
        return r;
    elements_replace(&e, c, o, &elements_of_hash, hash_encoding(c, all));
    r = hash_fill(&e, all->at.element, &all->order);
    return r == RES_OK ? elements_finish_with(&e, expire_ms) : r;
}

static enum result restore_zset(struct call *c, struct items *all, struct object *o, uint64_t expire_ms)
{
    enum object_encoding encoding =
        zset_encoding_for(zset_limits(c), all->count, is_packed(&all->in) ? 0 : all->longest);
    enum result r = zset_store(c, o, all->at.entry, all->count, encoding, &all->order);
    return r == RES_OK && expire_ms ? store_set_expiry(c, o, expire_ms) : r;
}

static enum result restore_value(struct call *c, struct items *all, struct object *o, uint64_t expire_ms)
{
    static enum result (*const by_kind[])(struct call *, struct items *, struct object *, uint64_t) = {
        [RDB_STRING] = restore_string, [RDB_LIST] = restore_list, [RDB_SET] = restore_set,
        [RDB_ZSET] = restore_zset,     [RDB_HASH] = restore_hash,
    };
    return by_kind[all->in.kind](c, all, o, expire_ms);
}

/* ---- the command ---- */

/* False: an error is replied. */
static bool parse_option(struct call *c, int *i, struct restore *s, int64_t *freq)
{
    bool more = *i + 1 < c->argc;
    if (arg_is(c, *i, "replace")) {
        s->replace = true;
    } else if (arg_is(c, *i, "absttl")) {
        s->absolute = true;
    } else if (arg_is(c, *i, "idletime") && more && *freq < 0) {
        if (!arg_i64(c, ++*i, &s->idle))
            return false;
        if (s->idle < 0)
            (void)reply_error(c->reply, "ERR Invalid IDLETIME value, must be >= 0");
        return s->idle >= 0;
    } else if (arg_is(c, *i, "freq") && more && s->idle < 0) {
        if (!arg_i64(c, ++*i, freq))
            return false;
        if (*freq < 0 || *freq > 255)
            (void)reply_error(c->reply, "ERR Invalid FREQ value, must be >= 0 and <= 255");
        return *freq >= 0 && *freq <= 255;
    } else {
        (void)reply_syntax_error(c->reply);
        return false;
    }
    return true;
}

static bool parse(struct call *c, struct restore *s)
{
    int64_t freq = -1;
    *s = (struct restore){.idle = -1};
    for (int i = 4; i < c->argc; i++)
        if (!parse_option(c, &i, s, &freq))
            return false;
    return true;
}

/* Time to live and payload. False: an error is replied. */
static bool parse_rest(struct call *c, struct restore *s)
{
    if (!arg_i64(c, 2, &s->ttl))
        return false;
    if (s->ttl < 0)
        (void)reply_error(c->reply, "ERR Invalid TTL value, must be >= 0");
    else if (rdb_payload(c->argv[3], &s->value, &s->version) != RES_OK)
        (void)reply_error(c->reply, "ERR DUMP payload version or checksum are wrong");
    else
        return true;
    return false;
}

static uint64_t expiry_of(const struct call *c, const struct restore *s)
{
    uint64_t ms = (uint64_t)s->ttl;
    if (ms && !s->absolute)
        ms += c->now_ms;
    return ms <= INT64_MAX ? ms : INT64_MAX;
}

static enum result put_in_place(struct call *c, const struct restore *s, struct items *all, struct object *o)
{
    uint64_t expire_ms = expiry_of(c, s);
    bool existed = o->exists;
    enum result r = RES_OK;
    if (expire_ms && expire_ms <= c->now_ms)
        return existed ? delete_key(c, o) : RES_OK;
    r = restore_value(c, all, o, expire_ms);
    if (r != RES_OK || !o->exists) /* all of its fields have expired */
        return r == RES_OK && existed ? key_event(c, EVENT_GENERIC, "del", o->key) : r;
    if (existed) /* Redis deletes it first */
        r = key_event(c, EVENT_NEW, "new", o->key);
    if (r == RES_OK && s->idle > 0)
        r = store_set_idle(c, o->key, (uint64_t)s->idle);
    return r == RES_OK ? key_event(c, EVENT_GENERIC, "restore", o->key) : r;
}

static enum result run_restore(struct call *c)
{
    struct restore s;
    struct items all;
    struct store_key key;
    struct object o;
    if (!parse(c, &s))
        return RES_OK;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r != RES_OK)
        return r;
    if (o.exists && !s.replace)
        return reply_error(c->reply, "BUSYKEY Target key name already exists.");
    if (!parse_rest(c, &s))
        return RES_OK;
    r = read_items(c, &s, &all);
    if (r == RES_CORRUPT)
        return reply_error(c->reply, "ERR Bad data format");
    if (r == RES_OK)
        r = put_in_place(c, &s, &all, &o);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

static const struct command_arg restore_args[] = {
    ARG("key", ARG_KEY),
    ARG("ttl", ARG_INTEGER),
    ARG("serialized-value", ARG_STRING),
    ARG_TOKEN("replace", "REPLACE", .since = "3.0.0", .flags = ARG_OPTIONAL),
    ARG_TOKEN("absttl", "ABSTTL", .since = "5.0.0", .flags = ARG_OPTIONAL),
    ARG("seconds", ARG_INTEGER, .token = "IDLETIME", .since = "5.0.0", .flags = ARG_OPTIONAL),
    ARG("frequency", ARG_INTEGER, .token = "FREQ", .since = "5.0.0", .flags = ARG_OPTIONAL),
    ARGS_END,
};
static const struct command_history restore_history[] = {SINCE("3.0.0", "`REPLACE`."), SINCE("5.0.0", "`ABSTTL`."),
                                                         SINCE("5.0.0", "`IDLETIME` and `FREQ`."), HISTORY_END};

const struct command cmd_restore = {
    .name = "restore",
    .arity = -4,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .group = "generic",
    .since = "2.6.0",
    .complexity = "O(N) for a value of N bytes or elements, O(N*log(N)) for a sorted set",
    .summary = "Makes a key of what DUMP has returned, here or in Redis.",
    .keys = key_overwrite,
    .args = restore_args,
    .history = restore_history,
    .run = run_restore,
};

const struct command cmd_restore_asking = {
    .name = "restore-asking",
    .arity = -4,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_ASKING,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .group = "server",
    .since = "3.0.0",
    .complexity = "As RESTORE.",
    .summary = "RESTORE, as members of a cluster send it to each other.",
    .keys = key_overwrite,
    .args = restore_args,
    .history = restore_history,
    .run = run_restore,
};

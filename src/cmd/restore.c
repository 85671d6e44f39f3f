/* RESTORE: a value from Redis' serialised form (proto/rdb.h).
 *
 * The bytes may come from anybody. They are read twice: once to see that they are whole and that no member is there twice,
 * when nothing has been written yet and the answer may be an error, and once to store them. */
#include <stdlib.h>

#include "base/hash.h"
#include "cmd/declare.h"
#include "cmd/lists.h"
#include "cmd/set.h"
#include "cmd/zset.h"
#include "conf/settings.h"
#include "proto/rdb.h"
#include "store/hash.h"
#include "store/list.h"

#define ASK_EVERY 64 /* items between two questions whether the run takes too long */

struct restore {
    struct slice value;
    int version;
    bool replace, absolute;
    int64_t ttl, idle; /* idle: -1: not given */
};

/* ---- looking at the bytes ---- */

#define NAME_BYTES 16 /* of a member, by which it is told apart */

static int compare_names(const void *a, const void *b) { return memcmp(a, b, NAME_BYTES); }

static enum result note_name(struct buf *names, struct slice member)
{
    static const struct hash_seed seed = {UINT64_C(0x6d656d6265727320), UINT64_C(0x746f6c6420617061)};
    uint8_t name[NAME_BYTES];
    hash_siphash128(&seed, member.data, member.len, name);
    return buf_append(names, name, NAME_BYTES);
}

static bool has_twins(struct buf *names)
{
    size_t n = names->len / NAME_BYTES;
    if (n > 1)
        qsort(names->data, n, NAME_BYTES, compare_names);
    for (size_t i = 1; i < n; i++)
        if (compare_names(names->data + (i - 1) * NAME_BYTES, names->data + i * NAME_BYTES) == 0)
            return true;
    return false;
}

static enum result look_at_items(struct call *c, struct rdb_reader *in, struct buf *names)
{
    struct rdb_item item;
    enum result r;
    while ((r = rdb_next(in, &item)) == RES_OK) {
        if (in->given % ASK_EVERY == 0 && call_too_long(c))
            return RES_WOULD_BLOCK;
        if (in->kind == RDB_STRING && item.first.len > STORE_STRING_MAX)
            return RES_CORRUPT;
        if (in->kind != RDB_STRING && in->kind != RDB_LIST && (r = note_name(names, item.first)) != RES_OK)
            return r;
    }
    return r == RES_NOT_FOUND ? RES_OK : r;
}

/* RES_CORRUPT: they are no value. */
static enum result look_through(struct call *c, const struct restore *s)
{
    struct rdb_reader in;
    struct buf names = BUF_INIT;
    struct arena scratch;
    arena_init(&scratch, 4096);
    enum result r = rdb_open(&in, s->value, s->version, &scratch);
    if (r == RES_UNSUPPORTED)
        r = RES_CORRUPT;
    if (r == RES_OK)
        r = look_at_items(c, &in, &names);
    if (r == RES_OK && has_twins(&names))
        r = RES_CORRUPT;
    buf_fini(&names);
    arena_fini(&scratch);
    return r;
}

/* ---- storing ---- */

/* The next item to store; as rdb_next. */
static enum result next(struct call *c, struct rdb_reader *in, struct rdb_item *item)
{
    enum result r = rdb_next(in, item);
    return r == RES_OK && in->given % ASK_EVERY == 0 && call_too_long(c) ? RES_WOULD_BLOCK : r;
}

static enum result restore_string(struct call *c, struct rdb_reader *in, struct object *o, uint64_t expire_ms)
{
    struct rdb_item item;
    enum result r = rdb_next(in, &item);
    return r == RES_OK ? store_set_string(c, o, item.first, expire_ms, 0) : r;
}

static enum result restore_list(struct call *c, struct rdb_reader *in, struct object *o, uint64_t expire_ms)
{
    struct list l;
    struct rdb_item item;
    enum result r;
    list_build(&l, c, o);
    while ((r = next(c, in, &item)) == RES_OK) {
        /* in Redis' own nodes, or to be divided into such */
        r = in->shape == SHAPE_STRINGS ? list_build_add(&l, item.first) : list_push(&l, LIST_TAIL, item.first);
        if (r != RES_OK)
            return r;
    }
    if (r != RES_NOT_FOUND)
        return r;
    if (in->nodes > 1)
        l.e.encoding = ENCODING_QUICKLIST;
    r = list_build_finish(&l);
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

static enum result spill_many(struct elements *e, const struct rdb_reader *in)
{
    return in->expected > ELEMENTS_INLINE_COUNT ? elements_spill(e) : RES_OK;
}

static enum result restore_set(struct call *c, struct rdb_reader *in, struct object *o, uint64_t expire_ms)
{
    struct elements e;
    struct rdb_item item;
    elements_replace(&e, c, o, &elements_of_set, set_encoding(c, in));
    enum result r = spill_many(&e, in);
    while (r == RES_OK && (r = next(c, in, &item)) == RES_OK)
        r = set_add_new(&e, item.first);
    if (r != RES_NOT_FOUND)
        return r;
    if (is_packed(in) && in->packed.form == PACKED_LISTPACK)
        e.encoding = set_encoding(c, in);
    return elements_finish_with(&e, expire_ms);
}

static enum result restore_field(struct elements *e, const struct rdb_reader *in, const struct rdb_item *item)
{
    struct field_place p;
    uint64_t longest = (uint64_t)e->c->settings->hash_max_listpack_value;
    if (item->expire_ms && item->expire_ms < e->c->now_ms)
        return RES_OK;
    if (!is_packed(in) && (item->first.len > longest || item->second.len > longest))
        e->encoding = ENCODING_HASHTABLE;
    enum result r = hash_find(e, item->first, &p);
    return r == RES_OK ? hash_put(e, &p, item->second, item->expire_ms) : r;
}

static enum result restore_hash(struct call *c, struct rdb_reader *in, struct object *o, uint64_t expire_ms)
{
    struct elements e;
    struct rdb_item item;
    elements_replace(&e, c, o, &elements_of_hash, ENCODING_LISTPACK);
    enum result r = spill_many(&e, in);
    while (r == RES_OK && (r = next(c, in, &item)) == RES_OK)
        r = restore_field(&e, in, &item);
    if (r != RES_NOT_FOUND)
        return r;
    if (e.count > (uint64_t)c->settings->hash_max_listpack_entries)
        e.encoding = ENCODING_HASHTABLE;
    return elements_finish_with(&e, expire_ms);
}

static enum result restore_zset(struct call *c, struct rdb_reader *in, struct object *o, uint64_t expire_ms)
{
    struct zset_list all = {.count = 0};
    struct rdb_item item;
    size_t longest = 0;
    enum result r;
    while ((r = next(c, in, &item)) == RES_OK) {
        if (item.first.len > longest)
            longest = item.first.len;
        if ((r = zset_list_add(c, &all, (struct zset_entry){item.score, item.first}, false)) != RES_OK)
            return r;
    }
    if (r != RES_NOT_FOUND)
        return r;
    r = zset_store(c, o, all.entry, all.count,
                   zset_encoding_for(zset_limits(c), all.count, is_packed(in) ? 0 : longest));
    return r == RES_OK && expire_ms ? store_set_expiry(c, o, expire_ms) : r;
}

static enum result restore_value(struct call *c, const struct restore *s, struct object *o, uint64_t expire_ms)
{
    static enum result (*const by_kind[])(struct call *, struct rdb_reader *, struct object *, uint64_t) = {
        [RDB_STRING] = restore_string, [RDB_LIST] = restore_list, [RDB_SET] = restore_set,
        [RDB_ZSET] = restore_zset,     [RDB_HASH] = restore_hash,
    };
    struct rdb_reader in;
    enum result r = rdb_open(&in, s->value, s->version, c->arena);
    return r == RES_OK ? by_kind[in.kind](c, &in, o, expire_ms) : r;
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

static enum result put_in_place(struct call *c, const struct restore *s, struct object *o)
{
    uint64_t expire_ms = expiry_of(c, s);
    bool existed = o->exists;
    enum result r = RES_OK;
    if (expire_ms && expire_ms <= c->now_ms)
        return existed ? delete_key(c, o) : RES_OK;
    r = restore_value(c, s, o, expire_ms);
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
    r = look_through(c, &s);
    if (r == RES_CORRUPT)
        return reply_error(c->reply, "ERR Bad data format");
    if (r == RES_OK)
        r = put_in_place(c, &s, &o);
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

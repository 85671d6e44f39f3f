/* DUMP: a value in Redis' serialised form (proto/rdb.h). */
#include "cmd/dump.h"

#include "cmd/declare.h"
#include "proto/rdb.h"
#include "store/hash.h"
#include "store/list.h"
#include "store/zset.h"

struct dump {
    struct buf *out;
    enum rdb_kind kind;
    uint64_t first_ms; /* of a hash's fields, the first to expire */
    uint64_t left;     /* items that the head has announced */
};

static enum result put(struct dump *d, const struct rdb_item *item)
{
    if (!d->left--)
        return RES_CORRUPT;
    return rdb_write_item(d->out, d->kind, item, d->first_ms);
}

static enum result begin(struct dump *d, enum rdb_kind kind, uint64_t count)
{
    d->kind = kind;
    d->left = count;
    return rdb_write_head(d->out, kind, count, d->first_ms);
}

static enum result dump_string(struct call *c, const struct object *o, struct dump *d)
{
    struct rdb_item item = {.score = 0};
    enum result r = begin(d, RDB_STRING, 1);
    if (r == RES_OK)
        r = store_string_all(c, o, &item.first);
    return r == RES_OK ? put(d, &item) : r;
}

static enum result dump_list(struct call *c, struct object *o, struct dump *d)
{
    struct list l;
    struct list_cursor w;
    enum result r = list_open(&l, c, o);
    if (r == RES_OK)
        r = begin(d, RDB_LIST, list_length(&l));
    if (r == RES_OK)
        r = list_cursor_open(&w, &l, 0, UINT64_MAX, false);
    if (r != RES_OK)
        return r;
    while ((r = list_cursor_next(&w)) == RES_OK && (r = put(d, &(struct rdb_item){.first = w.value})) == RES_OK)
        ;
    list_cursor_close(&w);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result put_member(struct elements *e, void *arg, const struct element *x)
{
    struct dump *d = arg;
    if (d->kind == RDB_HASH && !hash_field_alive(e, x))
        return RES_OK;
    return put(d, &(struct rdb_item){.first = x->key, .second = x->value, .expire_ms = x->expire_ms});
}

static enum result dump_set(struct call *c, struct object *o, struct dump *d)
{
    struct elements e;
    enum result r = elements_open(&e, c, o, &elements_of_set);
    if (r == RES_OK)
        r = begin(d, RDB_SET, e.count);
    return r == RES_OK ? member_each(&e, put_member, d) : r;
}

struct fields {
    uint64_t alive, first_ms;
};

static enum result look_at_field(struct elements *e, void *arg, const struct element *x)
{
    struct fields *f = arg;
    if (!hash_field_alive(e, x))
        return RES_OK;
    f->alive++;
    if (x->expire_ms && (!f->first_ms || x->expire_ms < f->first_ms))
        f->first_ms = x->expire_ms;
    return RES_OK;
}

static enum result dump_hash(struct call *c, struct object *o, struct dump *d)
{
    struct elements e;
    struct fields f = {0, 0};
    enum result r = elements_open(&e, c, o, &elements_of_hash);
    f.alive = e.count;
    if (r == RES_OK && e.fields_ms) {
        f.alive = 0;
        r = member_each(&e, look_at_field, &f);
    }
    d->first_ms = f.first_ms;
    if (r == RES_OK)
        r = begin(d, RDB_HASH, f.alive);
    return r == RES_OK ? member_each(&e, put_member, d) : r;
}

/* From the highest score downwards: that is how Redis builds its list without searching. */
static enum result dump_zset(struct call *c, struct object *o, struct dump *d)
{
    struct zset z;
    struct zset_cursor k = {.it = NULL};
    enum result r = zset_open(&z, c, o, (struct zset_limits){0, 0});
    if (r == RES_OK)
        r = begin(d, RDB_ZSET, z.e.count);
    if (r == RES_OK)
        r = zset_seek(&z, &k, &ZSET_END, true);
    while (r == RES_OK && (r = zset_next(&k)) == RES_OK)
        r = put(d, &(struct rdb_item){.first = k.at.member, .score = k.at.score});
    zset_cursor_close(&k);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

enum result dump_object(struct call *c, struct object *o, struct buf *out)
{
    static enum result (*const by_type[TYPE_COUNT])(struct call *, struct object *, struct dump *) = {
        [TYPE_LIST] = dump_list, [TYPE_SET] = dump_set, [TYPE_ZSET] = dump_zset, [TYPE_HASH] = dump_hash};
    struct dump d = {.out = out};
    size_t start = out->len;
    enum result r = RES_UNSUPPORTED;
    if (o->type == TYPE_STRING)
        r = dump_string(c, o, &d);
    else if (by_type[o->type])
        r = by_type[o->type](c, o, &d);
    if (r == RES_OK && d.left)
        r = RES_CORRUPT; /* the metadata counts others */
    return r == RES_OK ? rdb_write_end(out, start, d.first_ms ? RDB_VERSION_FIELDS : RDB_VERSION) : r;
}

static enum result run_dump(struct call *c)
{
    struct store_key key;
    struct object o;
    struct buf out = BUF_INIT;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_read(c, &key, 0, &o);
    if (r != RES_OK)
        return r;
    if (!o.exists) {
        reply_null(c->reply);
        return RES_OK;
    }
    r = dump_object(c, &o, &out);
    if (r == RES_OK)
        reply_bulk(c->reply, buf_slice(&out));
    buf_fini(&out);
    return r;
}

static const char *const tips_changing[] = {"nondeterministic_output", NULL};

const struct command cmd_dump = {
    .name = "dump",
    .arity = 2,
    .flags = CMD_READONLY,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .since = "2.6.0",
    .complexity = "O(N) for a value of N bytes or elements",
    .summary = "Returns a value in a form that RESTORE takes, here or in Redis.",
    .keys = key_read,
    .args = args_key,
    .tips = tips_changing,
    .run = run_dump,
};

/* What commands on sorted sets share: see zset.h. */
#include "base/num.h"
#include "cmd/zset.h"
#include "conf/settings.h"

struct zset_limits zset_limits(const struct call *c)
{
    if (!c->settings)
        return (struct zset_limits){128, 64};
    return (struct zset_limits){(uint64_t)c->settings->zset_max_listpack_entries,
                                (size_t)c->settings->zset_max_listpack_value};
}

static enum result opened(struct call *c, struct zset_key *k, bool *ready)
{
    *ready = !k->o.exists || k->o.type == TYPE_ZSET;
    return *ready ? zset_open(&k->z, c, &k->o, zset_limits(c)) : reply_wrong_type(c->reply);
}

enum result read_zset(struct call *c, int i, struct zset_key *k, bool *ready)
{
    *ready = false;
    enum result r = arg_key(c, i, &k->key);
    if (r == RES_OK)
        r = store_read(c, &k->key, 0, &k->o);
    return r == RES_OK ? opened(c, k, ready) : r;
}

enum result write_zset(struct call *c, int i, struct zset_key *k, bool *ready)
{
    *ready = false;
    enum result r = arg_key(c, i, &k->key);
    if (r == RES_OK)
        r = store_write(c, &k->key, &k->o);
    return r == RES_OK ? opened(c, k, ready) : r;
}

static enum result tell(struct call *c, enum event_class event_class, const char *name, const struct store_key *key)
{
    return call_event(c, event_class, name, key->db, key->user);
}

enum result close_zset(struct call *c, struct zset_key *k, const char *event)
{
    bool existed = k->o.exists;
    enum result r = zset_close(&k->z);
    if (r == RES_OK)
        r = tell(c, EVENT_ZSET, event, &k->key);
    if (r == RES_OK && existed && !k->o.exists)
        r = tell(c, EVENT_GENERIC, "del", &k->key);
    return r;
}

enum result store_zset(struct call *c, int i, struct zset_entry *entries, size_t n, const char *event)
{
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, i, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r != RES_OK || (!n && !o.exists))
        return r;
    if (!n) {
        r = store_delete(c, &o, SIGNAL_DELETED);
        return r == RES_OK ? tell(c, EVENT_GENERIC, "del", &key) : r;
    }
    size_t longest = 0;
    for (size_t j = 0; j < n; j++)
        if (entries[j].member.len > longest)
            longest = entries[j].member.len;
    r = zset_store(c, &o, entries, n, zset_encoding_for(zset_limits(c), n, longest), NULL);
    return r == RES_OK ? tell(c, EVENT_ZSET, event, &key) : r;
}

bool arg_double(struct call *c, int i, double *out, const char *error)
{
    if (likely(num_parse_double(c->argv[i], out) == RES_OK))
        return true;
    (void)reply_error(c->reply, "ERR %s", error ? error : "value is not a valid float");
    return false;
}

enum result zset_list_add(struct call *c, struct zset_list *l, struct zset_entry e, bool keep)
{
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        struct zset_entry *p = arena_alloc(c->arena, cap * sizeof *p);
        if (!p)
            return RES_NO_MEMORY;
        if (l->count)
            memcpy(p, l->entry, l->count * sizeof *p);
        l->entry = p;
        l->cap = cap;
    }
    enum result r = keep ? zset_keep(c, &e) : RES_OK;
    l->entry[l->count++] = e;
    return r;
}

void reply_entries(struct call *c, size_t n, bool scores)
{
    reply_array(c->reply, scores && c->reply->resp == 2 ? 2 * n : n);
}

void reply_entry(struct call *c, struct zset_entry e, bool scores)
{
    if (scores && c->reply->resp > 2)
        reply_array(c->reply, 2);
    reply_bulk(c->reply, e.member);
    if (scores)
        reply_double(c, e.score);
}

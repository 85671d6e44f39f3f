/* Objects: reading a key's metadata, replacing it, deleting it.
 *
 * Whatever changes an object goes through object_replace or store_delete, so that the four things that hang on the
 * metadata record are kept in one place: the pieces it names, its entry in the expiry index, the counters, the signal. */
#include <assert.h>

#include "store/list.h"
#include "store/store_priv.h"

const char *object_type_name(enum object_type type)
{
    static const char *const names[TYPE_COUNT] = {"string", "list", "set", "zset", "hash", "stream"};
    assert(type < TYPE_COUNT);
    return names[type];
}

const char *object_encoding_name(enum object_encoding encoding)
{
    static const char *const names[ENCODING_COUNT] = {"raw",       "int",    "embstr",   "listpack", "quicklist",
                                                      "hashtable", "intset", "skiplist", "stream"};
    assert(encoding < ENCODING_COUNT);
    return names[encoding];
}

void object_from_meta(struct object *o, struct store_key *key, const struct meta *m)
{
    *o = (struct object){
        .key = key,
        .exists = true,
        .pieces = m->pieces,
        .type = m->type,
        .encoding = m->encoding,
        .expire_ms = m->expire_ms,
        .fields_ms = m->fields_ms,
        .index_ms = m->index_ms,
        .attributes = m->attributes,
        .value = m->value,
        .length = m->length,
        .count = m->count,
        .hints = m->hints,
        .id = m->id,
        .home = m->home,
    };
}

void meta_from_object(struct meta *m, const struct object *o)
{
    *m = (struct meta){
        .type = o->type,
        .encoding = o->encoding,
        .pieces = o->pieces,
        .home = o->home,
        .expire_ms = o->expire_ms,
        .fields_ms = o->fields_ms,
        .index_ms = o->index_ms,
        .id = o->id,
        .length = o->length,
        .count = o->count,
        .hints = o->hints,
        .attributes = o->attributes,
        .value = o->value,
    };
}

enum result object_load(struct call *c, struct store_key *key, struct object *out)
{
    struct slice record, user;
    struct meta m;
    enum result r = call_get(c, &key->meta, &record);
    if (r == RES_OK)
        r = meta_decode(record, &m);
    else if (r == RES_NOT_FOUND) {
        *out = (struct object){.key = key};
        return object_saw(c, key, 0);
    }
    if (unlikely(r != RES_OK))
        return r;
    if (unlikely(m.long_key.len || key->user.len > STORE_KEY_INLINE)) {
        r = user_key_of(store_of(c), key->meta.bytes, &m, &user);
        if (r != RES_OK)
            return r;
        if (!slice_eq(user, key->user)) /* two keys of one 128-bit hash: not in this world */
            return RES_CORRUPT;
    }
    object_from_meta(out, key, &m);
    return object_saw(c, key, is_expired(c, m.expire_ms) ? 0 : m.expire_ms); /* what is dead stays so */
}

enum result store_read(struct call *c, struct store_key *key, int flags, struct object *out)
{
    enum result r = object_load(c, key, out);
    if (unlikely(r != RES_OK))
        return r;
    if (out->exists && is_expired(c, out->expire_ms)) {
        *out = (struct object){.key = key};
        if ((r = expiry_met_due_key(c, key)) != RES_OK)
            return r;
    }
    if (!(flags & LOOKUP_NO_STATS)) {
        c->keyspace_hits += out->exists;
        c->keyspace_misses += !out->exists;
    }
    if (unlikely(c->events & EVENT_MISS) && !out->exists && !(flags & LOOKUP_NO_EVENT) &&
        (r = call_event(c, EVENT_MISS, "keymiss", key->db, key->user)) != RES_OK)
        return r;
    if (!(flags & LOOKUP_NO_TOUCH))
        recency_touch(c, key);
    return RES_OK;
}

enum result store_peek(struct call *c, struct store_key *key, bool *alive, bool *expired)
{
    struct object o;
    enum result r = object_load(c, key, &o);
    if (r != RES_OK)
        return r;
    *expired = o.exists && is_expired(c, o.expire_ms);
    *alive = o.exists && !*expired;
    return RES_OK;
}

static void count_expired(struct call *c, void *arg, uint64_t sequence)
{
    (void)arg;
    (void)sequence;
    shard_count_expired(c->shard, 1);
}

enum result store_write(struct call *c, struct store_key *key, struct object *out)
{
    enum result r = object_load(c, key, out);
    if (unlikely(r != RES_OK))
        return r;
    recency_touch(c, key);
    if (likely(!out->exists || !is_expired(c, out->expire_ms)))
        return RES_OK;
    return store_delete(c, out, SIGNAL_EXPIRED);
}

enum result store_delete(struct call *c, struct object *o, enum signal_kind kind)
{
    assert(o->exists);
    struct store_key *key = o->key;
    uint64_t index_ms = o->index_ms;
    enum result r = call_delete(c, &key->meta);
    if (r == RES_OK && o->pieces)
        r = bury_object(c, key->keyspace, o->home, o->id);
    if (r == RES_OK)
        r = expiry_reindex(c, key, 0, &index_ms);
    if (r == RES_OK)
        r = call_signal(c, key->db, key->user, key->hash, kind);
    if (r == RES_OK && kind & SIGNAL_EXPIRED) {
        r = call_on_commit(c, count_expired, NULL);
        if (r == RES_OK)
            r = call_event(c, EVENT_EXPIRED, "expired", key->db, key->user);
    }
    if (r != RES_OK)
        return r;
    call_count(c, key->keyspace, -1, o->expire_ms ? -1 : 0);
    *o = (struct object){.key = key};
    return RES_OK;
}

enum result object_replace(struct call *c, struct object *o, struct meta *m, int flags)
{
    struct store_key *key = o->key;
    bool existed = o->exists, had_expiry = o->expire_ms > 0;
    enum result r = RES_OK;
    if (unlikely(o->pieces && !(flags & OBJECT_KEEP_PIECES)))
        r = bury_object(c, key->keyspace, o->home, o->id);
    m->index_ms = o->index_ms;
    if (r == RES_OK && unlikely(meta_due(m) || m->index_ms))
        r = expiry_reindex(c, key, meta_due(m), &m->index_ms);
    if (unlikely(r != RES_OK))
        return r;
    m->long_key = key->user.len > STORE_KEY_INLINE ? key->user : slice_of(NULL, 0);
    size_t head = meta_head_size(m);
    uint8_t *record = arena_alloc(c->arena, head + m->value.len);
    if (unlikely(!record))
        return RES_NO_MEMORY;
    uint8_t *value = meta_encode_head(record, m);
    assert(value == record + head);
    if (m->value.len)
        memcpy(value, m->value.data, m->value.len);
    m->value.data = value;
    r = call_put_keep(c, &key->meta, slice_of(record, head + m->value.len));
    if (r == RES_OK)
        r = call_signal(c, key->db, key->user, key->hash,
                        flags & OBJECT_UNSEEN ? SIGNAL_UNSEEN
                        : existed             ? SIGNAL_WRITE
                                              : SIGNAL_WRITE | SIGNAL_NEW);
    if (r == RES_OK && !existed)
        r = call_event(c, EVENT_NEW, "new", key->db, key->user);
    if (unlikely(r != RES_OK))
        return r;
    if (!existed || had_expiry != (m->expire_ms > 0))
        call_count(c, key->keyspace, existed ? 0 : 1, (m->expire_ms > 0) - (int)had_expiry);
    object_from_meta(o, key, m);
    return RES_OK;
}

enum result store_set_expiry(struct call *c, struct object *o, uint64_t expire_ms)
{
    assert(o->exists);
    struct meta m;
    meta_from_object(&m, o);
    m.expire_ms = expire_ms;
    return object_replace(c, o, &m, OBJECT_KEEP_PIECES);
}

enum result store_rename(struct call *c, struct object *src, struct object *dst)
{
    assert(src->exists && src->key != dst->key);
    if (src->key->keyspace != dst->key->keyspace) {
        enum result r = store_copy(c, src, dst);
        return r == RES_OK ? store_delete(c, src, SIGNAL_DELETED) : r;
    }
    struct meta m;
    meta_from_object(&m, src);
    src->pieces = false; /* they are the new key's now: deleting the old one must not bury them */
    enum result r = object_replace(c, dst, &m, 0);
    return r == RES_OK ? store_delete(c, src, SIGNAL_DELETED) : r;
}

enum result store_copy(struct call *c, struct object *src, struct object *dst)
{
    assert(src->exists && src->key != dst->key);
    struct meta m;
    meta_from_object(&m, src);
    if (src->pieces && src->type == TYPE_LIST)
        return list_copy(c, src, dst);
    if (src->pieces) {
        enum result r = store_new_object_id(store_of(c), &m.id);
        if (r != RES_OK)
            return r;
        m.home = dst->key->slot;
        struct object fresh = {.key = dst->key, .id = m.id, .home = m.home};
        if ((r = pieces_copy(c, src, &fresh)) != RES_OK)
            return r;
    }
    return object_replace(c, dst, &m, 0);
}

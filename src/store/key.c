/* Keys of records: how a user's key, an object's piece and a dead range are named for the engine.
 *
 * slot is the cluster's hash slot, h32 the upper half of a SipHash under the data directory's seed. Keys of a slot lie
 * together, within it in the order of h32: that is what SCAN's cursor counts on. */
#include <assert.h>

#include "store/store_priv.h"

_Static_assert(ELEMENT_KEY_OBJECT == ELEMENT_SUBSPACE_AT && SUBSPACE_MEMBERS == ELEMENT_MEMBERS, "as engine.h says");

#define LONG_KEY_HASH 16
#define LONG_KEY_SUFFIX (STORE_KEY_INLINE + 1) /* one more than an inline key can have, so that the two never meet */
#define LONG_KEY_PREFIX (LONG_KEY_SUFFIX - LONG_KEY_HASH)

/* Object ids: boot epoch in the upper 20 bits, a counter below. A million starts; a million objects a second for half
 * a year between two starts. */
#define OBJECT_COUNTER_BITS 44

_Static_assert(EXPIRY_KEY_HEAD + LONG_KEY_SUFFIX <= ENGINE_KEY_MAX, "the longest key is one of the expiry index");

static void long_key_suffix(const struct store *s, struct slice user, uint8_t *out)
{
    memcpy(out, user.data, LONG_KEY_PREFIX);
    hash_siphash128(&s->seed, user.data, user.len, out + LONG_KEY_PREFIX);
}

static void meta_key_put(uint8_t *p, uint32_t keyspace, uint16_t slot, uint32_t h32)
{
    p[0] = REGION_META;
    put_be32(p + 1, keyspace);
    put_be16(p + META_KEY_SLOT, slot);
    put_be32(p + META_KEY_SLOT + 2, h32);
}

enum result store_key_init(struct call *c, uint32_t db, struct slice user, struct store_key *out)
{
    const struct store *s = store_of(c);
    if (unlikely(user.len > STORE_KEY_MAX))
        return RES_RANGE;
    enum result r = store_keyspace(c, db, &out->keyspace);
    if (unlikely(r != RES_OK))
        return r;
    uint64_t hash = hash_siphash(&s->seed, user.data, user.len);
    out->user = user;
    out->db = db;
    out->slot = hash_slot(user);
    out->h32 = (uint32_t)(hash >> 32);
    out->hash = hash ^ db * 0x9e3779b97f4a7c15u;
    bool is_long = user.len > STORE_KEY_INLINE;
    size_t len = META_KEY_HEAD + (is_long ? LONG_KEY_SUFFIX : user.len);
    uint8_t *p = arena_alloc(c->arena, len);
    if (unlikely(!p))
        return RES_NO_MEMORY;
    meta_key_put(p, out->keyspace, out->slot, out->h32);
    if (unlikely(is_long))
        long_key_suffix(s, user, p + META_KEY_HEAD);
    else if (user.len)
        memcpy(p + META_KEY_HEAD, user.data, user.len);
    out->meta.bytes = slice_of(p, len);
    out->meta.hash = engine_hash(out->meta.bytes);
    return RES_OK;
}

/* As store_key_init, for a key that is only looked ahead for. */
bool store_key_ahead(struct shard *shard, uint32_t db, struct slice user, uint8_t *room, size_t len,
                     struct shard_key *out)
{
    struct store *s = shard_store(shard);
    uint32_t keyspace;
    if (!s || META_KEY_HEAD + user.len > len || user.len > STORE_KEY_INLINE || !store_keyspace_now(s, db, &keyspace))
        return false;
    uint64_t hash = hash_siphash(&s->seed, user.data, user.len);
    meta_key_put(room, keyspace, hash_slot(user), (uint32_t)(hash >> 32));
    if (user.len)
        memcpy(room + META_KEY_HEAD, user.data, user.len);
    out->hash = hash ^ db * 0x9e3779b97f4a7c15u;
    out->key.bytes = slice_of(room, META_KEY_HEAD + user.len);
    out->key.hash = engine_hash(out->key.bytes);
    __builtin_prefetch(&s->last_use[out->hash % RECENCY_CELLS]);
    return true;
}

enum result user_key_of(const struct store *s, struct slice key, const struct meta *m, struct slice *user)
{
    if (key.len < META_KEY_HEAD || key.len > META_KEY_HEAD + LONG_KEY_SUFFIX)
        return RES_CORRUPT;
    struct slice suffix = slice_of(key.data + META_KEY_HEAD, key.len - META_KEY_HEAD);
    bool is_long = suffix.len == LONG_KEY_SUFFIX;
    if (is_long != (m->long_key.len > 0))
        return RES_CORRUPT;
    *user = suffix;
    if (is_long) {
        uint8_t expected[LONG_KEY_SUFFIX];
        long_key_suffix(s, m->long_key, expected);
        if (memcmp(expected, suffix.data, sizeof expected) != 0)
            return RES_CORRUPT;
        *user = m->long_key;
    }
    return RES_OK;
}

enum result store_new_object_id(struct store *s, uint64_t *id)
{
    uint64_t n = atomic_fetch_add_explicit(&s->objects, 1, memory_order_relaxed) + 1;
    if (n >> OBJECT_COUNTER_BITS || s->object_epoch >> (64 - OBJECT_COUNTER_BITS))
        return RES_TOO_MANY;
    *id = s->object_epoch << OBJECT_COUNTER_BITS | n;
    return RES_OK;
}

void region_bounds(enum region region, uint32_t keyspace, uint8_t lower[REGION_BOUND], uint8_t upper[REGION_BOUND])
{
    lower[0] = upper[0] = (uint8_t)region;
    put_be32(lower + 1, keyspace);
    put_be32(upper + 1, keyspace + 1);
}

void element_prefix_put(uint8_t out[ELEMENT_KEY_OBJECT], uint32_t keyspace, uint16_t home, uint64_t id)
{
    out[0] = REGION_ELEMENT;
    put_be32(out + 1, keyspace);
    put_be16(out + 5, home);
    put_be64(out + 7, id);
}

enum result element_key(struct call *c, const struct object *o, uint8_t subspace, struct slice element,
                        struct engine_key *out)
{
    size_t len = ELEMENT_KEY_OBJECT + 1 + element.len;
    assert(len <= ENGINE_KEY_MAX);
    uint8_t *p = arena_alloc(c->arena, len);
    if (unlikely(!p))
        return RES_NO_MEMORY;
    element_prefix_put(p, o->key->keyspace, o->home, o->id);
    p[ELEMENT_KEY_OBJECT] = subspace;
    if (element.len)
        memcpy(p + ELEMENT_KEY_OBJECT + 1, element.data, element.len);
    out->bytes = slice_of(p, len);
    out->hash = engine_hash(out->bytes);
    return RES_OK;
}

void chunk_key_put(uint8_t out[CHUNK_KEY], uint32_t keyspace, uint16_t home, uint64_t id, uint32_t number)
{
    element_prefix_put(out, keyspace, home, id);
    out[ELEMENT_KEY_OBJECT] = SUBSPACE_STRING;
    put_be32(out + ELEMENT_KEY_OBJECT + 1, number);
}

enum result bury_range(struct call *c, struct slice start, struct slice end)
{
    uint8_t bytes[ENGINE_KEY_MAX];
    assert(start.len + 1 <= sizeof bytes);
    bytes[0] = REGION_DEAD;
    memcpy(bytes + 1, start.data, start.len);
    struct engine_key key = {.bytes = slice_of(bytes, start.len + 1)};
    key.hash = engine_hash(key.bytes);
    return call_put(c, &key, end);
}

enum result bury_object(struct call *c, uint32_t keyspace, uint16_t home, uint64_t id)
{
    uint8_t start[ELEMENT_KEY_OBJECT], end[ELEMENT_KEY_OBJECT];
    element_prefix_put(start, keyspace, home, id);
    element_prefix_put(end, keyspace, home, id + 1);
    return bury_range(c, slice_of(start, sizeof start), slice_of(end, sizeof end));
}

/* Databases: which keyspace a database number means, and the commands that change it.
 *
 * A number maps to a keyspace id that is never reused. Emptying a database gives it a new id and names the old one's
 * keys dead; swapping exchanges two ids: both cost the same for any number of keys. The map is one system record
 *
 *   'S' "databases" -> format u8 (1), varint next id, varint count, count varints: the ids by number
 *
 * versioned by sequence like any record. Since every command needs it, its newest versions are kept in memory too. */
#include <assert.h>
#include <stdlib.h>

#include "store/store_priv.h"

#define MAP_FORMAT 1
#define MAP_MAX_DATABASES 1000000
#define FIRST_KEYSPACE 1

static struct engine_key map_key(void)
{
    static const uint8_t name[] = {REGION_SYSTEM, 'd', 'a', 't', 'a', 'b', 'a', 's', 'e', 's'};
    struct engine_key key = {.bytes = slice_of(name, sizeof name)};
    key.hash = engine_hash(key.bytes);
    return key;
}

static struct db_map *map_alloc(struct call *c, uint32_t count)
{
    struct db_map *m = arena_alloc(c->arena, sizeof *m + count * sizeof m->keyspace[0]);
    if (m)
        m->count = count;
    return m;
}

static enum result map_decode(struct call *c, struct slice in, struct db_map **out)
{
    uint64_t next, count, id;
    if (in.len < 1 || in.data[0] != MAP_FORMAT)
        return RES_CORRUPT;
    in.data++;
    in.len--;
    if (!take_varint(&in, &next) || next > UINT32_MAX || !take_varint(&in, &count) || count > MAP_MAX_DATABASES)
        return RES_CORRUPT;
    struct db_map *m = map_alloc(c, (uint32_t)count);
    if (!m)
        return RES_NO_MEMORY;
    m->next = (uint32_t)next;
    for (uint32_t i = 0; i < count; i++) {
        if (!take_varint(&in, &id) || id < FIRST_KEYSPACE || id >= next)
            return RES_CORRUPT;
        m->keyspace[i] = (uint32_t)id;
    }
    *out = m;
    return in.len ? RES_CORRUPT : RES_OK;
}

/* The map as this run sees it, in c->arena: for those who change it, and for old snapshots. */
static enum result map_read(struct call *c, struct db_map **out)
{
    struct engine_key key = map_key();
    struct slice value;
    enum result r = call_get(c, &key, &value);
    if (r == RES_NOT_FOUND)
        return RES_CORRUPT; /* written when the store was first opened */
    return r == RES_OK ? map_decode(c, value, out) : r;
}

/* ---- the copy in memory ---- */

static void ring_publish(struct store *s, const struct db_map *m, uint64_t since)
{
    struct db_map_ring *ring = &s->maps;
    uint32_t at = (atomic_load_explicit(&ring->newest, memory_order_relaxed) + 1) % DB_MAP_VERSIONS;
    struct db_map_slot *slot = &ring->slot[at];
    uint32_t version = atomic_load_explicit(&slot->version, memory_order_relaxed);
    atomic_store_explicit(&slot->version, version + 1, memory_order_relaxed);
    /* release on each store: who sees one of them sees the odd version */
    atomic_store_explicit(&slot->since, since, memory_order_release);
    for (uint32_t i = 0; i < s->databases; i++)
        atomic_store_explicit(&slot->keyspace[i], m->keyspace[i], memory_order_release);
    atomic_store_explicit(&slot->version, version + 2, memory_order_release);
    atomic_store_explicit(&ring->newest, at, memory_order_release);
}

static bool ring_lookup(struct store *s, uint32_t db, uint64_t snapshot, uint32_t *keyspace)
{
    struct db_map_ring *ring = &s->maps;
    uint32_t newest = atomic_load_explicit(&ring->newest, memory_order_acquire);
    for (uint32_t i = 0; i < DB_MAP_VERSIONS; i++) {
        struct db_map_slot *slot = &ring->slot[(newest + DB_MAP_VERSIONS - i) % DB_MAP_VERSIONS];
        uint32_t version = atomic_load_explicit(&slot->version, memory_order_acquire);
        uint64_t since = atomic_load_explicit(&slot->since, memory_order_acquire);
        *keyspace = atomic_load_explicit(&slot->keyspace[db], memory_order_acquire);
        if (version & 1 || version == 0 || version != atomic_load_explicit(&slot->version, memory_order_relaxed))
            return false; /* overwritten meanwhile, or never written: nothing older follows */
        if (since <= snapshot)
            return true;
    }
    return false;
}

bool store_keyspace_now(struct store *s, uint32_t db, uint32_t *keyspace)
{
    return db < s->databases && ring_lookup(s, db, UINT64_MAX, keyspace);
}

enum result store_keyspace(struct call *c, uint32_t db, uint32_t *keyspace)
{
    struct store *s = store_of(c);
    if (unlikely(db >= s->databases))
        return RES_RANGE;
    c->seen.used_dbs = true;
    if (unlikely(c->store)) { /* this run has changed the map */
        *keyspace = ((struct db_map *)c->store)->keyspace[db];
        return RES_OK;
    }
    if (likely(ring_lookup(s, db, c->snapshot, keyspace)))
        return RES_OK;
    struct db_map *m;
    enum result r = map_read(c, &m);
    if (r == RES_OK)
        *keyspace = m->keyspace[db];
    return r;
}

uint32_t store_databases(struct shard *shard) { return ((struct store *)shard_store(shard))->databases; }

/* ---- changing it ---- */

static void publish_at_commit(struct call *c, void *arg, uint64_t sequence)
{
    ring_publish(store_of(c), arg, sequence);
}

static enum result map_write(struct call *c, struct db_map *m)
{
    uint8_t *p = arena_alloc(c->arena, 1 + VARINT_MAX * (2 + (size_t)m->count)), *end = p;
    if (!p)
        return RES_NO_MEMORY;
    *end++ = MAP_FORMAT;
    end += put_varint(end, m->next);
    end += put_varint(end, m->count);
    for (uint32_t i = 0; i < m->count; i++)
        end += put_varint(end, m->keyspace[i]);
    struct engine_key key = map_key();
    enum result r = call_put(c, &key, slice_of(p, (size_t)(end - p)));
    if (r != RES_OK)
        return r;
    if (!c->store && (r = call_on_commit(c, publish_at_commit, m)) != RES_OK)
        return r;
    c->store = m; /* later changes of this run are made in the same map, published once */
    return RES_OK;
}

static enum result map_for_change(struct call *c, struct db_map **out)
{
    c->seen.used_dbs = true;
    if (c->store) {
        *out = c->store;
        return RES_OK;
    }
    return map_read(c, out);
}

enum result store_flush_db(struct call *c, uint32_t db)
{
    struct db_map *m;
    if (db >= store_of(c)->databases)
        return RES_RANGE;
    enum result r = map_for_change(c, &m);
    if (r != RES_OK)
        return r;
    if (m->next == UINT32_MAX)
        return RES_TOO_MANY;
    uint32_t old = m->keyspace[db];
    int64_t keys, expires;
    call_counts(c, old, &keys, &expires);
    if (c->mode & CALL_LATCHED && keys == 0) /* certain under the latch: there is nothing to empty */
        return RES_OK;
    m->keyspace[db] = m->next++;
    static const enum region regions[] = {REGION_META, REGION_ELEMENT, REGION_EXPIRY};
    for (size_t i = 0; i < sizeof regions / sizeof regions[0]; i++) {
        uint8_t lower[REGION_BOUND], upper[REGION_BOUND];
        region_bounds(regions[i], old, lower, upper);
        r = bury_range(c, slice_of(lower, sizeof lower), slice_of(upper, sizeof upper));
        if (r != RES_OK)
            return r;
    }
    call_count(c, old, -keys, -expires);
    if ((r = call_signal_dbs(c, db, db)) != RES_OK || (r = expiry_database_changed(c, db)) != RES_OK)
        return r;
    return map_write(c, m);
}

enum result store_swap_db(struct call *c, uint32_t a, uint32_t b)
{
    struct db_map *m;
    struct store *s = store_of(c);
    if (a >= s->databases || b >= s->databases)
        return RES_RANGE;
    if (a == b)
        return RES_OK;
    enum result r = map_for_change(c, &m);
    if (r != RES_OK)
        return r;
    uint32_t keyspace = m->keyspace[a];
    m->keyspace[a] = m->keyspace[b];
    m->keyspace[b] = keyspace;
    if ((r = call_signal_dbs(c, a, b)) != RES_OK || (r = expiry_database_changed(c, a)) != RES_OK ||
        (r = expiry_database_changed(c, b)) != RES_OK)
        return r;
    return map_write(c, m);
}

enum result store_db_size(struct call *c, uint32_t db, int64_t *keys, int64_t *expires)
{
    uint32_t keyspace;
    enum result r = store_keyspace(c, db, &keyspace);
    if (r == RES_OK)
        call_counts(c, keyspace, keys, expires);
    return r;
}

/* ---- opening ---- */

/* Makes the first map, or a wider one when the setting has grown. Publishes it, also when nothing was written. */
static enum result load_map(struct call *c)
{
    struct store *s = call_background_arg(c);
    struct engine_key key = map_key();
    struct slice value;
    struct db_map *old = NULL;
    enum result r = call_get(c, &key, &value);
    if (r == RES_OK)
        r = map_decode(c, value, &old);
    else if (r == RES_NOT_FOUND)
        r = RES_OK;
    if (r != RES_OK)
        return r;
    uint32_t had = old ? old->count : 0;
    struct db_map *m = map_alloc(c, had > s->databases ? had : s->databases);
    if (!m)
        return RES_NO_MEMORY;
    m->next = old ? old->next : FIRST_KEYSPACE;
    for (uint32_t i = 0; i < m->count; i++)
        m->keyspace[i] = i < had ? old->keyspace[i] : m->next++;
    ring_publish(s, m, 0);
    return had == m->count ? RES_OK : map_write(c, m);
}

enum result db_maps_open(struct store *s, struct errmsg *msg)
{
    for (int i = 0; i < DB_MAP_VERSIONS; i++) {
        s->maps.slot[i].keyspace = calloc(s->databases, sizeof *s->maps.slot[i].keyspace);
        if (!s->maps.slot[i].keyspace)
            return errmsg_set(msg, RES_NO_MEMORY, "no memory for %u databases", s->databases);
    }
    uint64_t sequence;
    enum result r = exec_background(s->shard, load_map, s, &sequence);
    if (r == RES_CORRUPT)
        return errmsg_set(msg, r, "the record of the database map is damaged");
    return r == RES_OK ? r : errmsg_set(msg, r, "the database map cannot be read: %s", result_text(r));
}

void db_maps_close(struct store *s)
{
    for (int i = 0; i < DB_MAP_VERSIONS; i++)
        free(s->maps.slot[i].keyspace);
}

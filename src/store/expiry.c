/* The expiry index: one X record for each key that expires, or has fields that do, at or before the earliest of their times.
 *
 *   'X' keyspace(4) time-ms(8) slot(2) h32(4) key (as in the metadata key)  ->  nothing
 *
 * It may be early, never late. A key whose expiry moves to a later time keeps its entry; the metadata remembers where it
 * is, so refreshing a TTL writes metadata only. When the entry comes due, the expiry thread looks at the metadata and
 * deletes the key or what is due of its fields, moves the entry, or drops it. */
#include "store/expiry_priv.h"
#include "store/store_priv.h"

enum result expiry_key(struct call *c, const struct store_key *key, uint64_t ms, struct engine_key *out)
{
    struct slice m = key->meta.bytes;
    size_t suffix = m.len - META_KEY_SLOT, len = EXPIRY_KEY_HEAD - 6 + suffix;
    uint8_t *p = arena_alloc(c->arena, len);
    if (!p)
        return RES_NO_MEMORY;
    p[0] = REGION_EXPIRY;
    memcpy(p + 1, m.data + 1, 4);
    put_be64(p + 5, ms);
    memcpy(p + 13, m.data + META_KEY_SLOT, suffix);
    out->bytes = slice_of(p, len);
    out->hash = engine_hash(out->bytes);
    return RES_OK;
}

static void announce(struct call *c, void *arg, uint64_t sequence)
{
    const struct expiry_note *note = arg;
    expiry_announce(store_of(c)->expiry, note, sequence);
}

enum result expiry_reindex(struct call *c, const struct store_key *key, uint64_t due_ms, uint64_t *index_ms)
{
    struct engine_key entry;
    enum result r;
    if (*index_ms && due_ms && *index_ms <= due_ms)
        return RES_OK;
    if (*index_ms) {
        if ((r = expiry_key(c, key, *index_ms, &entry)) != RES_OK || (r = call_delete(c, &entry)) != RES_OK)
            return r;
        *index_ms = 0;
    }
    if (!due_ms)
        return RES_OK;
    if ((r = expiry_key(c, key, due_ms, &entry)) != RES_OK)
        return r;
    if ((r = call_put_keep(c, &entry, slice_of(NULL, 0))) != RES_OK)
        return r;
    *index_ms = due_ms;
    struct expiry_note *note = arena_alloc(c->arena, sizeof *note);
    if (!note)
        return RES_NO_MEMORY;
    *note = (struct expiry_note){.db = key->db, .ms = due_ms};
    return call_on_commit(c, announce, note);
}

/* The entry has come due and the key has not: the entry goes to the key's own time. No client can tell, but who read the
 * metadata meanwhile must read it again. */
enum result expiry_move_entry(struct call *c, struct object *o)
{
    struct engine_key entry;
    enum result r = expiry_key(c, o->key, o->index_ms, &entry);
    if (r == RES_OK)
        r = call_delete(c, &entry);
    if (r != RES_OK)
        return r;
    struct meta m;
    meta_from_object(&m, o);
    o->index_ms = 0;
    return object_replace(c, o, &m, OBJECT_KEEP_PIECES | OBJECT_UNSEEN);
}

/* The keyspace behind a database number changes with this batch: look at its index from the start. */
enum result expiry_database_changed(struct call *c, uint32_t db)
{
    struct expiry_note *note = arena_alloc(c->arena, sizeof *note);
    if (!note)
        return RES_NO_MEMORY;
    *note = (struct expiry_note){.db = db, .ms = 0};
    return call_on_commit(c, announce, note);
}

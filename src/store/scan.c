/* Walking the keys of a database in the order of slot, h32: the order that SCAN's cursor counts in.
 *
 * A cursor is slot << 32 | h32, the first point not yet examined; it says all there is to know, so the server remembers
 * nothing and a cursor stays good for ever, over flushes, compactions and restarts. A call examines whole runs of equal
 * points: a key that is there from the first call to the last is returned, whatever comes and goes beside it. */
#include "store/store_priv.h"

static uint64_t point_of(struct slice engine_key)
{
    return (uint64_t)get_be16(engine_key.data + META_KEY_SLOT) << 32 | get_be32(engine_key.data + META_KEY_SLOT + 2);
}

static void point_bound(uint32_t keyspace, uint64_t point, uint8_t out[META_KEY_HEAD])
{
    if (point >= POINT_END) {
        uint8_t ignored[REGION_BOUND];
        region_bounds(REGION_META, keyspace, ignored, out);
        memset(out + REGION_BOUND, 0, META_KEY_HEAD - REGION_BOUND);
        return;
    }
    out[0] = REGION_META;
    put_be32(out + 1, keyspace);
    put_be16(out + META_KEY_SLOT, (uint16_t)(point >> 32));
    put_be32(out + META_KEY_SLOT + 2, (uint32_t)point);
}

/* The key and object of a metadata record; *alive is false when it has expired. */
static enum result entry_of(struct call *c, const struct iter *it, struct store_scan_entry *out, bool *alive)
{
    struct meta m;
    if (it->key.len < META_KEY_HEAD)
        return RES_CORRUPT;
    enum result r = meta_decode(it->value, &m);
    if (r == RES_OK)
        r = user_key_of(store_of(c), it->key, &m, &out->key);
    if (r != RES_OK)
        return r;
    object_from_meta(&out->object, NULL, &m);
    *alive = !is_expired(c, m.expire_ms);
    return RES_OK;
}

enum result keys_walk(struct call *c, uint32_t keyspace, uint64_t from, uint64_t to, struct key_walk *walk)
{
    uint8_t lower[META_KEY_HEAD], upper[META_KEY_HEAD];
    point_bound(keyspace, from, lower);
    point_bound(keyspace, to, upper);
    struct iter *it;
    enum result r = call_iter(c, slice_of(lower, sizeof lower), slice_of(upper, sizeof upper), walk->iter_flags, &it);
    if (r != RES_OK)
        return r;
    uint64_t examined = 0, last = UINT64_MAX;
    walk->next = to;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        struct store_scan_entry entry;
        bool alive;
        if ((r = entry_of(c, it, &entry, &alive)) != RES_OK)
            break;
        uint64_t point = point_of(it->key);
        bool new_run = point != last;
        if (new_run &&
            (examined >= walk->count || (examined && examined % 64 == 0 && walk->may_stop && call_too_long(c)))) {
            walk->next = point;
            break;
        }
        last = point;
        examined++;
        if (alive && (r = walk->each(c, walk->arg, &entry)) != RES_OK)
            break;
        if (!walk->may_stop && examined % 256 == 0 && call_too_long(c)) {
            r = RES_WOULD_BLOCK;
            break;
        }
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

enum result store_scan_begin(struct call *c, uint32_t db, uint32_t *keyspace)
{
    return store_keyspace(c, db, keyspace);
}

enum result store_scan_step(struct call *c, uint32_t keyspace, uint64_t *cursor, uint64_t count, store_scan_fn *each,
                            void *arg)
{
    if (*cursor >= POINT_END) {
        *cursor = 0;
        return RES_OK;
    }
    struct key_walk walk = {.count = count ? count : 1, .may_stop = true, .each = each, .arg = arg};
    enum result r = keys_walk(c, keyspace, *cursor, POINT_END, &walk);
    if (r == RES_OK)
        *cursor = walk.next >= POINT_END ? 0 : walk.next;
    return r;
}

enum result store_scan(struct call *c, uint32_t db, uint64_t *cursor, uint64_t count, store_scan_fn *each, void *arg)
{
    uint32_t keyspace;
    enum result r = store_scan_begin(c, db, &keyspace);
    return r == RES_OK ? store_scan_step(c, keyspace, cursor, count, each, arg) : r;
}

enum result store_each_key(struct call *c, uint32_t db, store_scan_fn *each, void *arg)
{
    uint32_t keyspace;
    enum result r = store_keyspace(c, db, &keyspace);
    if (r != RES_OK)
        return r;
    struct key_walk walk = {.count = UINT64_MAX, .iter_flags = ITER_NO_FILL, .each = each, .arg = arg};
    return keys_walk(c, keyspace, 0, POINT_END, &walk);
}

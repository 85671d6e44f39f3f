/* The audit: every record of a data directory, and whether the store could have written them all (docs/formats.md, "Keys
 * and records"). What it looks for, by number, as its sentences tell:
 *
 *  1. S: the database map is there and can be read.
 *  2. M: a record decodes; slot, hash and key in its name are those of the key it holds.
 *  3. M -> X: a key that expires has an entry in the expiry index, at the time its record tells.
 *  4. X -> M: an entry has a key that tells of it.
 *  5. E -> M: pieces belong to an object that some key names.
 *  6. A hash, set or sorted set in pieces has as many members as its record says; members and scores of a sorted set tell
 *     of each other; a list has an element at every position of its segments (audit_collections.c).
 *  7. Counters are what counting gives.
 *
 * Records of keyspaces that no database means any more, and pieces in dead ranges, are on their way out and not looked at.
 * Memory: 56 bytes for each object in pieces, the names of collections among them, and the dead ranges. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/epoch.h"
#include "tools/kvctl/audit.h"
#include "tools/kvctl/interrupt.h"

void problem(struct auditor *a, const struct audit_fix *fix, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    a->out->problems++;
    a->problem(a->arg, text, fix);
}

/* Makes room for one more element. */
static bool grow(void **array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return true;
    size_t more = *room ? 2 * *room : 64;
    void *bytes = realloc(*array, more * size);
    if (!bytes)
        return false;
    *array = bytes;
    *room = more;
    return true;
}

const char *shown(struct slice key, char out[256])
{
    size_t n = 0;
    for (size_t i = 0; i < key.len && n < 240; i++) {
        uint8_t c = key.data[i];
        if (c > 32 && c < 127 && c != '\\')
            out[n++] = (char)c;
        else
            n += (size_t)snprintf(out + n, 5, "\\x%02x", c);
    }
    strcpy(out + n, n >= 240 ? "..." : "");
    return out;
}

/* ---- walking ---- */

typedef enum result record_fn(struct auditor *a, struct slice key, struct slice value);

static enum result each_record(struct auditor *a, enum region region, record_fn *fn)
{
    uint8_t lower[1] = {(uint8_t)region}, upper[1] = {(uint8_t)(region + 1)};
    struct iter *it;
    enum result r = front_iter(a->view, a->snapshot, slice_of(lower, 1), slice_of(upper, 1), ITER_NO_FILL, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        a->out->records++;
        if (interrupted()) {
            r = RES_INTERRUPTED;
            break;
        }
        if ((r = fn(a, it->key, it->value)) != RES_OK)
            break;
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

enum result read_record(struct auditor *a, struct slice key, uint8_t **value, size_t *len)
{
    struct engine_key k = {key, engine_hash(key)};
    return front_get_wait(a->view, a->snapshot, &k, value, len);
}

/* ---- 1. databases ---- */

static bool decode_map(struct auditor *a, struct slice in)
{
    uint64_t next, count, id;
    if (in.len < 1 || in.data[0] != 1)
        return false;
    in.data++, in.len--;
    if (!take_varint(&in, &next) || !take_varint(&in, &count) || count > 1000000)
        return false;
    a->keyspaces = calloc((size_t)count + 1, sizeof *a->keyspaces);
    if (!a->keyspaces)
        return false;
    for (; a->keyspace_count < count; a->keyspace_count++) {
        if (!take_varint(&in, &id) || id < 1 || id >= next)
            return false;
        a->keyspaces[a->keyspace_count] = (uint32_t)id;
    }
    return in.len == 0;
}

static enum result look_at_databases(struct auditor *a)
{
    uint8_t *value;
    size_t len;
    enum result r = read_record(a, SLICE_LIT("Sdatabases"), &value, &len);
    if (r == RES_NOT_FOUND) {
        if (front_visible(a->front) > 0) /* else it was never opened by a server */
            problem(a, NULL, "the database map is missing");
        return RES_OK;
    }
    if (r != RES_OK)
        return r;
    if (!decode_map(a, slice_of(value, len)))
        problem(a, NULL, "the database map cannot be read");
    free(value);
    return RES_OK;
}

static bool is_live(const struct auditor *a, uint32_t keyspace)
{
    for (size_t i = 0; i < a->keyspace_count; i++)
        if (a->keyspaces[i] == keyspace)
            return true;
    return false;
}

static struct audit_counter *counter_of(struct auditor *a, uint32_t keyspace)
{
    struct audit *o = a->out;
    for (size_t i = 0; i < o->counter_count; i++)
        if (o->counters[i].keyspace == keyspace)
            return &o->counters[i];
    void *array = o->counters;
    if (!grow(&array, o->counter_count, &o->counter_room, sizeof *o->counters))
        return NULL;
    o->counters = array;
    o->counters[o->counter_count] = (struct audit_counter){.keyspace = keyspace};
    return &o->counters[o->counter_count++];
}

/* ---- dead ranges ---- */

static enum result note_dead(struct auditor *a, struct slice key, struct slice value)
{
    void *array = a->ranges;
    if (key.len < 2 || slice_cmp(slice_of(key.data + 1, key.len - 1), value) >= 0) {
        char text[256];
        struct audit_fix fix = {RECORD_DELETE, key, {NULL, 0}};
        problem(a, &fix, "the dead range %s ends before it begins", shown(key, text));
        return RES_OK;
    }
    if (!grow(&array, a->range_count, &a->range_room, sizeof *a->ranges))
        return RES_NO_MEMORY;
    a->ranges = array;
    struct range *d = &a->ranges[a->range_count];
    *d = (struct range){.start = malloc(key.len - 1 + value.len), .start_len = key.len - 1, .end_len = value.len};
    if (!d->start)
        return RES_NO_MEMORY;
    d->end = d->start + d->start_len;
    memcpy(d->start, key.data + 1, d->start_len);
    memcpy(d->end, value.data, value.len);
    d->furthest = a->range_count;
    if (a->range_count) { /* they come in the order of their starts */
        const struct range *f = &a->ranges[d[-1].furthest];
        if (slice_cmp(slice_of(f->end, f->end_len), value) > 0)
            d->furthest = d[-1].furthest;
    }
    a->range_count++;
    a->out->dead++;
    return RES_OK;
}

static bool is_dead(const struct auditor *a, struct slice key)
{
    size_t low = 0, high = a->range_count;
    while (low < high) { /* ranges that start at or before the key */
        size_t mid = (low + high) / 2;
        if (slice_cmp(slice_of(a->ranges[mid].start, a->ranges[mid].start_len), key) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        return false;
    const struct range *f = &a->ranges[a->ranges[low - 1].furthest];
    return slice_cmp(key, slice_of(f->end, f->end_len)) < 0;
}

/* ---- 2, 3. metadata ---- */

static size_t expiry_name(struct slice meta_key, uint64_t ms, uint8_t out[ENGINE_KEY_MAX])
{
    size_t suffix = meta_key.len - META_KEY_SLOT;
    out[0] = REGION_EXPIRY;
    memcpy(out + 1, meta_key.data + 1, 4);
    put_be64(out + 5, ms);
    memcpy(out + 13, meta_key.data + META_KEY_SLOT, suffix);
    return 13 + suffix;
}

static enum result look_for_expiry(struct auditor *a, struct slice key, struct slice user, uint64_t ms)
{
    uint8_t name[ENGINE_KEY_MAX], *value;
    size_t len, name_len = expiry_name(key, ms, name);
    enum result r = read_record(a, slice_of(name, name_len), &value, &len);
    if (r == RES_OK)
        free(value);
    if (r != RES_NOT_FOUND)
        return r;
    char text[256];
    struct audit_fix fix = {RECORD_PUT, slice_of(name, name_len), {NULL, 0}};
    problem(a, &fix, "key %s expires and is not in the expiry index", shown(user, text));
    return RES_OK;
}

static bool has_members(enum object_type type) { return type == TYPE_HASH || type == TYPE_SET || type == TYPE_ZSET; }
static bool is_verified(enum object_type type) { return has_members(type) || type == TYPE_LIST; }

static enum result note_object(struct auditor *a, struct slice key, const struct meta *m)
{
    void *array = a->objects;
    if (!grow(&array, a->object_count, &a->object_room, sizeof *a->objects))
        return RES_NO_MEMORY;
    a->objects = array;
    struct object_name *o = &a->objects[a->object_count];
    *o = (struct object_name){
        .id = m->id, .count = m->count, .keyspace = get_be32(key.data + 1), .home = m->home, .type = (uint8_t)m->type};
    if (is_verified(m->type)) {
        o->key_len = (uint16_t)key.len;
        o->key = malloc(key.len);
        if (!o->key)
            return RES_NO_MEMORY;
        memcpy(o->key, key.data, key.len);
    }
    a->object_count++;
    return RES_OK;
}

static enum result look_at_meta(struct auditor *a, struct slice key, struct slice value)
{
    char text[256];
    struct meta m;
    struct slice user;
    struct audit_fix drop = {RECORD_DELETE, key, {NULL, 0}};
    if (key.len < META_KEY_HEAD) {
        problem(a, &drop, "the metadata record %s has a name that is too short", shown(key, text));
        return RES_OK;
    }
    uint32_t keyspace = get_be32(key.data + 1);
    if (!is_live(a, keyspace))
        return RES_OK;
    if (meta_decode(value, &m) != RES_OK || user_key_of(&a->store, key, &m, &user) != RES_OK) {
        problem(a, &drop, "the metadata record %s cannot be read", shown(key, text));
        return RES_OK;
    }
    uint32_t h32 = (uint32_t)(hash_siphash(&a->store.seed, user.data, user.len) >> 32);
    if (get_be16(key.data + META_KEY_SLOT) != hash_slot(user) || get_be32(key.data + META_KEY_SLOT + 2) != h32) {
        problem(a, &drop, "key %s lies where no command finds it", shown(user, text));
        return RES_OK;
    }
    struct audit_counter *n = counter_of(a, keyspace);
    if (!n)
        return RES_NO_MEMORY;
    n->keys++;
    n->expires += m.expire_ms > 0;
    a->out->keys++;
    a->out->expires += m.expire_ms > 0;
    enum result r = m.pieces ? note_object(a, key, &m) : RES_OK;
    return r == RES_OK && m.expire_ms ? look_for_expiry(a, key, user, m.index_ms) : r;
}

/* ---- 4. expiry index ---- */

static enum result look_at_expiry(struct auditor *a, struct slice key, struct slice value)
{
    char text[256];
    uint8_t name[ENGINE_KEY_MAX], *record = NULL;
    size_t len;
    struct meta m;
    struct audit_fix drop = {RECORD_DELETE, key, {NULL, 0}};
    if (key.len < EXPIRY_KEY_HEAD || value.len) {
        problem(a, &drop, "the expiry entry %s cannot be read", shown(key, text));
        return RES_OK;
    }
    if (!is_live(a, get_be32(key.data + 1)))
        return RES_OK;
    name[0] = REGION_META;
    memcpy(name + 1, key.data + 1, 4);
    memcpy(name + META_KEY_SLOT, key.data + 13, key.len - 13);
    enum result r = read_record(a, slice_of(name, META_KEY_SLOT + key.len - 13), &record, &len);
    if (r != RES_OK && r != RES_NOT_FOUND)
        return r;
    if (r == RES_NOT_FOUND || meta_decode(slice_of(record, len), &m) != RES_OK || m.index_ms != get_be64(key.data + 5))
        problem(a, &drop, "the expiry index has an entry for %s that its key does not know",
                shown(slice_of(key.data + EXPIRY_KEY_HEAD, key.len - EXPIRY_KEY_HEAD), text));
    free(record);
    return RES_OK;
}

/* ---- 5. pieces ---- */

static int by_name(const void *x, const void *y)
{
    const struct object_name *a = x, *b = y;
    if (a->keyspace != b->keyspace)
        return a->keyspace < b->keyspace ? -1 : 1;
    if (a->home != b->home)
        return a->home < b->home ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static enum result look_at_element(struct auditor *a, struct slice key, struct slice value)
{
    char text[256];
    struct audit_fix drop = {RECORD_DELETE, key, {NULL, 0}};
    a->out->elements++;
    if (key.len < ELEMENT_KEY_OBJECT + 1) {
        problem(a, &drop, "the piece %s has a name that is too short", shown(key, text));
        return RES_OK;
    }
    struct object_name name = {
        .id = get_be64(key.data + 7), .keyspace = get_be32(key.data + 1), .home = get_be16(key.data + 5)};
    if (!is_live(a, name.keyspace) || is_dead(a, key))
        return RES_OK;
    struct object_name *o = a->object_count ? bsearch(&name, a->objects, a->object_count, sizeof name, by_name) : NULL;
    if (!o)
        problem(a, &drop, "piece %s belongs to no key", shown(key, text));
    else if (o->type == TYPE_STRING && (key.len != CHUNK_KEY || value.len < 2 || value.len > 1 + STORE_CHUNK))
        problem(a, NULL, "piece %s of a string cannot be read", shown(key, text));
    if (o) {
        o->members += key.data[ELEMENT_KEY_OBJECT] == SUBSPACE_MEMBERS;
        o->scores += key.data[ELEMENT_KEY_OBJECT] == SUBSPACE_SCORES;
        o->counted |= key.data[ELEMENT_KEY_OBJECT] == SUBSPACE_RANKS;
    }
    return RES_OK;
}

/* ---- 6. members ---- */

/* The record with the count that is right; nothing is left: no record. */
static enum result recount(struct auditor *a, const struct object_name *o)
{
    char text[256];
    struct meta m;
    size_t len;
    uint8_t *record, *fixed = NULL;
    struct slice key = slice_of(o->key, o->key_len);
    enum result r = read_record(a, key, &record, &len);
    if (r != RES_OK)
        return r;
    struct audit_fix fix = {RECORD_DELETE, key, {NULL, 0}};
    if (meta_decode(slice_of(record, len), &m) == RES_OK && o->members) {
        m.count = o->members;
        if (m.type == TYPE_ZSET)
            m.hints = slice_of(NULL, 0); /* its counted tree is gone: see audit_zset */
        fixed = malloc(meta_head_size(&m));
        if (fixed)
            fix = (struct audit_fix){RECORD_PUT, key, slice_of(fixed, (size_t)(meta_encode_head(fixed, &m) - fixed))};
    }
    problem(a, &fix, "the collection %s has %" PRIu64 " members; its record says %" PRIu64, shown(key, text),
            o->members, o->count);
    free(fixed);
    free(record);
    return RES_OK;
}

static enum result look_at_members(struct auditor *a)
{
    enum result r = RES_OK;
    for (size_t i = 0; i < a->object_count && r == RES_OK; i++) {
        const struct object_name *o = &a->objects[i];
        if (o->type == TYPE_LIST)
            r = audit_list(a, o);
        bool good = o->scores == o->members && o->members == o->count;
        if (o->type == TYPE_ZSET && good)
            r = audit_counts(a, o, &good);
        if (r == RES_OK && o->type == TYPE_ZSET && !good)
            r = audit_zset(a, o);
        if (r == RES_OK && has_members(o->type) && o->members != o->count)
            r = recount(a, o);
    }
    return r;
}

/* ---- 7. counters ---- */

static enum result look_at_counters(struct auditor *a)
{
    for (size_t i = 0; i < a->keyspace_count; i++) {
        struct audit_counter *n = counter_of(a, a->keyspaces[i]);
        if (!n)
            return RES_NO_MEMORY;
        struct front_counts c = front_counts_at(a->front, n->keyspace, a->snapshot);
        n->keys_off = c.keys - n->keys;
        n->expires_off = c.expires - n->expires;
        if (n->keys_off || n->expires_off)
            problem(a, NULL,
                    "keyspace %" PRIu32 " has %" PRId64 " keys, %" PRId64 " with expiry; its counters say %" PRId64
                    " and %" PRId64,
                    n->keyspace, n->keys, n->expires, c.keys, c.expires);
    }
    return RES_OK;
}

static enum result all_of_it(struct auditor *a, const char **what)
{
    enum result r;
    *what = "the database map";
    if ((r = look_at_databases(a)) != RES_OK)
        return r;
    *what = "the dead ranges";
    if ((r = each_record(a, REGION_DEAD, note_dead)) != RES_OK)
        return r;
    *what = "the keys";
    if ((r = each_record(a, REGION_META, look_at_meta)) != RES_OK)
        return r;
    if (a->object_count)
        qsort(a->objects, a->object_count, sizeof *a->objects, by_name);
    *what = "the expiry index";
    if ((r = each_record(a, REGION_EXPIRY, look_at_expiry)) != RES_OK)
        return r;
    *what = "the pieces of long values";
    if ((r = each_record(a, REGION_ELEMENT, look_at_element)) != RES_OK)
        return r;
    *what = "the members of collections";
    if ((r = look_at_members(a)) != RES_OK)
        return r;
    *what = "the counters";
    return look_at_counters(a);
}

enum result audit_run(struct front *f, audit_fn *fn, void *arg, struct audit *out, struct errmsg *msg)
{
    const struct front_identity *id = front_identity(f);
    struct auditor *a = calloc(1, sizeof *a);
    const char *what;
    *out = (struct audit){0};
    if (!a)
        return errmsg_set(msg, RES_NO_MEMORY, "out of memory");
    a->front = f;
    a->problem = fn;
    a->arg = arg;
    a->out = out;
    a->store.seed = (struct hash_seed){id->seed[0], id->seed[1]};
    a->view = front_view_ref(f);
    a->snapshot = front_snapshot(a->view);
    enum result r = all_of_it(a, &what);
    if (r != RES_OK)
        (void)errmsg_set(msg, r, "%s cannot be read to the end: %s", what, result_text(r));
    front_view_unref(a->view);
    for (size_t i = 0; i < a->range_count; i++)
        free(a->ranges[i].start);
    free(a->ranges);
    for (size_t i = 0; i < a->object_count; i++)
        free(a->objects[i].key);
    free(a->objects);
    free(a->keyspaces);
    free(a);
    return r;
}

void audit_fini(struct audit *a)
{
    free(a->counters);
    *a = (struct audit){0};
}

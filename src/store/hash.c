/* Hashes: see hash.h. */
#include "store/hash.h"

#include "store/store_priv.h"

static enum result spill_field(struct elements *e, const struct element *in, uint64_t index, uint64_t count);

const struct elements_kind elements_of_hash = {
    .type = TYPE_HASH,
    .has_keys = true,
    .has_values = true,
    .spill = spill_field,
};

/* ---- expiring fields in the order of their times ---- */

#define EXPIRY_ELEMENT (8 + MEMBER_KEY_MAX)
_Static_assert(EXPIRY_ELEMENT <= ELEMENT_MAX, "a time fits before a member");

static enum result expiry_entry(struct elements *e, struct slice field, uint64_t ms, struct engine_key *out)
{
    uint8_t bytes[EXPIRY_ELEMENT];
    bool is_long;
    put_be64(bytes, ms);
    size_t len = 8 + member_key(e, field, bytes + 8, &is_long);
    return piece_key(e, SUBSPACE_EXPIRY, slice_of(bytes, len), out);
}

/* A field's expiry changes from one time to another; 0: none. */
static enum result reindex(struct elements *e, struct slice field, uint64_t old_ms, uint64_t new_ms)
{
    struct engine_key key;
    struct element nothing = {.expire_ms = 0};
    enum result r = RES_OK;
    if (new_ms)
        e->fields_ms = earlier_ms(e->fields_ms, new_ms);
    if (!e->pieces || old_ms == new_ms)
        return RES_OK;
    if (old_ms && (r = expiry_entry(e, field, old_ms, &key)) == RES_OK)
        r = piece_delete(e, &key);
    if (r == RES_OK && new_ms && (r = expiry_entry(e, field, new_ms, &key)) == RES_OK)
        r = piece_put(e, &key, &nothing, false);
    return r;
}

static enum result spill_field(struct elements *e, const struct element *in, uint64_t index, uint64_t count)
{
    enum result r = elements_spill_member(e, in, index, count);
    return r == RES_OK && in->expire_ms ? reindex(e, in->key, 0, in->expire_ms) : r;
}

/* ---- fields ---- */

bool hash_field_alive(struct elements *e, const struct element *x) { return !is_expired(e->c, x->expire_ms); }

enum result hash_find(struct elements *e, struct slice field, struct field_place *p)
{
    p->name = field;
    enum result r = member_find(e, field, &p->member);
    p->alive = r == RES_OK && p->member.found && hash_field_alive(e, &p->member.element);
    /* a prepared run that saw it alive is not valid any more when it is due */
    return p->alive && p->member.element.expire_ms ? object_saw(e->c, e->o->key, p->member.element.expire_ms) : r;
}

enum result hash_put(struct elements *e, struct field_place *p, struct slice value, uint64_t expire_ms)
{
    struct element in = {.key = p->name, .value = value, .expire_ms = expire_ms};
    bool was_pieces = e->pieces;
    uint64_t old_ms = p->member.found ? p->member.element.expire_ms : 0;
    enum result r = member_put(e, &p->member, &in);
    if (r == RES_OK && (old_ms || expire_ms) && was_pieces == e->pieces) /* else spilling has done it */
        r = reindex(e, p->name, old_ms, expire_ms);
    return r;
}

enum result hash_fill(struct elements *e, const struct element *in, const struct member_order *order)
{
    enum result r = members_fill(e, in, order);
    for (size_t i = 0; r == RES_OK && i < order->count; i++)
        if (in[i].expire_ms)
            r = reindex(e, in[i].key, 0, in[i].expire_ms);
    return r;
}

enum result hash_remove(struct elements *e, struct field_place *p)
{
    uint64_t old_ms = p->member.element.expire_ms;
    enum result r = member_remove(e, &p->member);
    return r == RES_OK && old_ms ? reindex(e, p->name, old_ms, 0) : r;
}

member_filter *hash_filter(const struct elements *e)
{
    return is_expired(e->c, e->fields_ms) ? hash_field_alive : NULL;
}

static enum result count_alive(struct elements *e, void *arg, const struct element *x)
{
    uint64_t *count = arg;
    *count += hash_field_alive(e, x);
    return RES_OK;
}

enum result hash_count_alive(struct elements *e, uint64_t *count)
{
    *count = e->count;
    if (!hash_filter(e))
        return RES_OK;
    *count = 0;
    return member_each(e, count_alive, count);
}

/* ---- removing what is due ---- */

static enum result expire_inline(struct elements *e)
{
    struct inline_place p;
    struct element x;
    e->fields_ms = 0;
    enum result r = inline_first(e, &p, &x);
    while (r == RES_OK) {
        if (hash_field_alive(e, &x)) {
            e->fields_ms = earlier_ms(e->fields_ms, x.expire_ms);
            r = inline_next(e, &p, &x);
            continue;
        }
        if ((r = inline_remove(e, &p)) == RES_OK)
            r = p.at == p.end ? RES_NOT_FOUND : inline_at(e, p.index, &p, &x);
    }
    return r == RES_NOT_FOUND ? RES_OK : r;
}

/* The field of an entry in the order of times; its short name is enough to find it. */
static enum result expire_one(struct elements *e, struct slice entry)
{
    struct member_place p = {.found = true};
    struct engine_key index;
    if (entry.len < 8 + 5)
        return RES_CORRUPT;
    enum result r = piece_key(e, SUBSPACE_MEMBERS, slice_of(entry.data + 8, entry.len - 8), &p.key);
    if (r == RES_OK)
        r = piece_get(e, &p.key, &p.element);
    if (r != RES_OK || p.element.expire_ms != get_be64(entry.data))
        return r == RES_OK || r == RES_NOT_FOUND ? RES_CORRUPT : r;
    if (!p.element.key.len)
        p.element.key = slice_of(entry.data + 13, entry.len - 13);
    r = member_remove(e, &p);
    if (r == RES_OK)
        r = piece_key(e, SUBSPACE_EXPIRY, entry, &index);
    return r == RES_OK ? piece_delete(e, &index) : r;
}

static enum result expire_pieces(struct elements *e)
{
    struct iter *it;
    enum result r = piece_iter(e, SUBSPACE_EXPIRY, slice_of(NULL, 0), slice_of(NULL, 0), 0, &it);
    if (r != RES_OK)
        return r;
    e->fields_ms = 0;
    unsigned n = 0;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        struct slice entry = piece_element(it);
        if (entry.len < 8) {
            r = RES_CORRUPT;
            break;
        }
        uint64_t ms = get_be64(entry.data);
        if (!is_expired(e->c, ms) || n++ == HASH_EXPIRE_MOST) {
            e->fields_ms = ms;
            break;
        }
        if ((r = expire_one(e, entry)) != RES_OK)
            break;
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

enum result hash_expire_fields(struct call *c, struct object *o)
{
    struct elements e;
    struct store_key *key = o->key;
    enum result r = elements_open(&e, c, o, &elements_of_hash);
    if (r != RES_OK)
        return r;
    r = e.pieces ? expire_pieces(&e) : expire_inline(&e);
    if (r != RES_OK)
        return r;
    if (!e.touched) { /* nothing was due: no client can tell */
        o->fields_ms = e.fields_ms;
        return expiry_move_entry(c, o);
    }
    struct engine_key entry; /* goes, so that finishing makes one at the new time */
    if ((r = expiry_key(c, key, o->index_ms, &entry)) == RES_OK)
        r = call_delete(c, &entry);
    o->index_ms = 0;
    if (r == RES_OK)
        r = elements_finish(&e);
    if (r == RES_OK)
        r = call_event(c, EVENT_HASH, "hexpired", key->db, key->user);
    if (r == RES_OK && !o->exists)
        r = call_event(c, EVENT_GENERIC, "del", key->db, key->user);
    return r;
}

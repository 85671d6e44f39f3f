/* Collections: opening, the inline shape, coming to pieces, finishing. elements.h has the shapes and their bytes, members.c
 * the map of members, draw.c random ones. */
#include "store/elements.h"

#include <assert.h>

#include "base/bytes.h"
#include "store/store_priv.h"

#define KIND_EXPIRES 4
#define KIND_LONG_KEY 2

_Static_assert(ELEMENT_KEY_OBJECT + 1 + ELEMENT_MAX == ENGINE_KEY_MAX, "an element fills up the engine's key");
_Static_assert(MEMBER_KEY_MAX + 8 <= ELEMENT_MAX, "a score fits before a member");

const struct elements_kind elements_of_set = {.type = TYPE_SET, .has_keys = true};

const struct elements_kind *members_kind_of(enum object_type type)
{
    return type == TYPE_SET    ? &elements_of_set
           : type == TYPE_HASH ? &elements_of_hash
           : type == TYPE_ZSET ? &elements_of_zset
                               : NULL;
}

/* ---- bytes of an inline element ---- */

static inline bool take_length(struct slice *in, uint64_t *out)
{
    if (likely(in->len && in->data[0] < 0x80)) {
        *out = in->data[0];
        in->data++;
        in->len--;
        return true;
    }
    size_t before = in->len;
    return take_varint(in, out) && before - in->len == varint_size(*out);
}

static inline bool take_counted(struct slice *in, struct slice *out)
{
    uint64_t len;
    return take_length(in, &len) && len <= in->len && take_bytes(in, (size_t)len, out);
}

static bool take_expiry(struct slice *in, struct element *out)
{
    struct slice bytes;
    if (!take_bytes(in, 8, &bytes))
        return false;
    out->expire_ms = get_le64(bytes.data);
    return out->expire_ms > 0;
}

/* Takes one element off the front. */
static bool take_element(const struct elements_kind *kind, struct slice *in, struct element *out)
{
    *out = (struct element){.expire_ms = 0};
    if (!in->len || (in->data[0] & ~KIND_EXPIRES) != PIECE_BYTES)
        return false;
    bool expires = in->data[0] & KIND_EXPIRES;
    in->data++;
    in->len--;
    return (!expires || take_expiry(in, out)) && (!kind->has_keys || take_counted(in, &out->key)) &&
           (!kind->has_values || take_counted(in, &out->value));
}

static size_t element_size(const struct elements_kind *kind, const struct element *in)
{
    size_t n = in->expire_ms ? 9 : 1;
    if (kind->has_keys)
        n += varint_size(in->key.len) + in->key.len;
    if (kind->has_values)
        n += varint_size(in->value.len) + in->value.len;
    return n;
}

static uint8_t *put_counted(uint8_t *p, struct slice s)
{
    p += put_varint(p, s.len);
    if (s.len)
        memcpy(p, s.data, s.len);
    return p + s.len;
}

static void put_element(const struct elements_kind *kind, uint8_t *p, const struct element *in)
{
    *p++ = in->expire_ms ? PIECE_BYTES | KIND_EXPIRES : PIECE_BYTES;
    if (in->expire_ms) {
        put_le64(p, in->expire_ms);
        p += 8;
    }
    if (kind->has_keys)
        p = put_counted(p, in->key);
    if (kind->has_values)
        put_counted(p, in->value);
}

/* ---- opening ---- */

/* The list is `count` elements and nothing else. */
static enum result check_list(const struct elements *e)
{
    struct slice rest = e->list;
    struct element ignored;
    for (uint64_t i = 0; i < e->count; i++)
        if (unlikely(!take_element(e->kind, &rest, &ignored)))
            return RES_CORRUPT;
    return rest.len ? RES_CORRUPT : RES_OK;
}

static void start(struct elements *e, struct call *c, struct object *o, const struct elements_kind *kind)
{
    e->c = c;
    e->o = o;
    e->kind = kind;
    e->pieces = e->replaces = e->touched = false;
    e->count = e->bytes = e->id = 0;
    e->slot = 0;
    e->list = slice_of(NULL, 0);
    e->own = NULL;
    e->hints_len = 0;
    e->fields_ms = 0;
}

enum result elements_open(struct elements *e, struct call *c, struct object *o, const struct elements_kind *kind)
{
    start(e, c, o, kind);
    if (!o->exists)
        return RES_OK;
    assert(o->type == kind->type && o->hints.len <= ELEMENTS_HINTS_MAX);
    e->encoding = o->encoding;
    e->count = o->count;
    e->fields_ms = o->fields_ms;
    e->hints_len = (uint8_t)o->hints.len;
    if (o->hints.len)
        memcpy(e->hints, o->hints.data, o->hints.len);
    e->pieces = o->pieces;
    if (e->pieces) {
        e->bytes = o->length;
        e->id = o->id;
        e->slot = o->home;
        return RES_OK;
    }
    e->list = o->value;
    return check_list(e);
}

void elements_replace(struct elements *e, struct call *c, struct object *o, const struct elements_kind *kind,
                      enum object_encoding encoding)
{
    start(e, c, o, kind);
    e->encoding = encoding;
    e->replaces = e->touched = true;
}

/* ---- inline ---- */

/* The element at p->at; its end is found. */
static enum result read_at(const struct elements *e, struct inline_place *p, struct element *out)
{
    struct slice rest = slice_of(e->list.data + p->at, e->list.len - p->at);
    struct element ignored;
    p->end = p->at;
    if (!rest.len)
        return RES_NOT_FOUND;
    if (!take_element(e->kind, &rest, out ? out : &ignored))
        return RES_CORRUPT;
    p->end = e->list.len - rest.len;
    return RES_OK;
}

enum result inline_first(const struct elements *e, struct inline_place *p, struct element *out)
{
    assert(!e->pieces);
    *p = (struct inline_place){.at = 0};
    return read_at(e, p, out);
}

enum result inline_next(const struct elements *e, struct inline_place *p, struct element *out)
{
    if (p->at == p->end) /* behind the last */
        return RES_NOT_FOUND;
    p->at = p->end;
    p->index++;
    return read_at(e, p, out);
}

enum result inline_at(const struct elements *e, uint64_t index, struct inline_place *p, struct element *out)
{
    enum result r = inline_first(e, p, out);
    while (r == RES_OK && p->index < index)
        r = inline_next(e, p, out);
    return r;
}

static enum result own_list(struct elements *e)
{
    if (e->own)
        return RES_OK;
    e->own = arena_alloc(e->c->arena, ELEMENTS_INLINE_BYTES);
    if (!e->own)
        return RES_NO_MEMORY;
    if (e->list.len)
        memcpy(e->own, e->list.data, e->list.len);
    e->list.data = e->own;
    return RES_OK;
}

static enum result spill_one(struct elements *e, const struct element *in, uint64_t *index)
{
    e->bytes += in->key.len + in->value.len;
    return (e->kind->spill ? e->kind->spill : elements_spill_member)(e, in, (*index)++, e->count);
}

/* Writes all elements as pieces of a fresh object, with `in` (if any) in place of the bytes [at, end) of the list. */
static enum result spill_changed(struct elements *e, size_t at, size_t end, const struct element *in, uint64_t count)
{
    struct slice list = e->list;
    enum result r = store_new_object_id(store_of(e->c), &e->id);
    if (r != RES_OK)
        return r;
    e->slot = e->o->key->slot;
    e->pieces = e->touched = true;
    e->count = count;
    e->bytes = 0;
    uint64_t index = 0;
    struct slice rest = list;
    for (;;) {
        size_t here = list.len - rest.len;
        if (here == at && in) {
            if ((r = spill_one(e, in, &index)) != RES_OK)
                return r;
            in = NULL;
        }
        if (here == at && end > at) {
            rest = slice_of(list.data + end, list.len - end);
            continue;
        }
        struct element next;
        if (!rest.len)
            break;
        if (!take_element(e->kind, &rest, &next))
            return RES_CORRUPT;
        if ((r = spill_one(e, &next, &index)) != RES_OK)
            return r;
    }
    e->list = slice_of(NULL, 0);
    e->own = NULL;
    return RES_OK;
}

enum result elements_spill(struct elements *e)
{
    return e->pieces ? RES_OK : spill_changed(e, e->list.len, e->list.len, NULL, e->count);
}

/* Puts `in` in place of the bytes [p->at, p->end); p is then where it stands. */
static enum result splice(struct elements *e, struct inline_place *p, const struct element *in, uint64_t count)
{
    uint8_t bytes[ELEMENTS_INLINE_BYTES];
    size_t size = element_size(e->kind, in), old = p->end - p->at, len = e->list.len - old;
    if (count > ELEMENTS_INLINE_COUNT || size > ELEMENTS_INLINE_BYTES - len)
        return spill_changed(e, p->at, p->end, in, count);
    put_element(e->kind, bytes, in); /* it may lie in the list that is about to move */
    enum result r = own_list(e);
    if (r != RES_OK)
        return r;
    memmove(e->own + p->at + size, e->own + p->end, e->list.len - p->end);
    memcpy(e->own + p->at, bytes, size);
    e->list.len = len + size;
    e->count = count;
    e->touched = true;
    p->end = p->at + size;
    return RES_OK;
}

bool elements_fit(const struct elements *e, const struct element *in, size_t n)
{
    if (e->pieces || n > ELEMENTS_INLINE_COUNT - e->count)
        return false;
    size_t room = ELEMENTS_INLINE_BYTES - e->list.len;
    for (size_t i = 0; i < n; i++) {
        size_t size = element_size(e->kind, &in[i]);
        if (size > room)
            return false;
        room -= size;
    }
    return true;
}

enum result inline_insert(struct elements *e, struct inline_place *p, const struct element *in)
{
    assert(!e->pieces);
    p->end = p->at;
    return splice(e, p, in, e->count + 1);
}

enum result inline_replace(struct elements *e, struct inline_place *p, const struct element *in)
{
    assert(!e->pieces && p->end > p->at);
    return splice(e, p, in, e->count);
}

enum result inline_remove(struct elements *e, struct inline_place *p)
{
    assert(!e->pieces && p->end > p->at && e->count);
    enum result r = own_list(e);
    if (r != RES_OK)
        return r;
    memmove(e->own + p->at, e->own + p->end, e->list.len - p->end);
    e->list.len -= p->end - p->at;
    e->count--;
    e->touched = true;
    r = read_at(e, p, NULL);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

/* ---- pieces ---- */

void piece_key_write(uint8_t *p, const struct elements *e, uint8_t subspace, struct slice element)
{
    element_prefix_put(p, e->o->key->keyspace, e->slot, e->id);
    p[ELEMENT_KEY_OBJECT] = subspace;
    if (element.len)
        memcpy(p + ELEMENT_KEY_OBJECT + 1, element.data, element.len);
}

enum result piece_key(struct elements *e, uint8_t subspace, struct slice element, struct engine_key *out)
{
    size_t len = ELEMENT_KEY_OBJECT + 1 + element.len;
    assert(e->pieces && len <= ENGINE_KEY_MAX);
    uint8_t *p = arena_alloc(e->c->arena, len);
    if (unlikely(!p))
        return RES_NO_MEMORY;
    piece_key_write(p, e, subspace, element);
    out->bytes = slice_of(p, len);
    out->hash = engine_hash(out->bytes);
    return RES_OK;
}

enum result piece_read(struct slice in, struct element *out)
{
    *out = (struct element){.expire_ms = 0};
    if (!in.len || (in.data[0] & ~(KIND_EXPIRES | KIND_LONG_KEY)) != PIECE_BYTES)
        return RES_CORRUPT;
    uint8_t kind = in.data[0];
    in.data++;
    in.len--;
    if (kind & KIND_LONG_KEY && (!take_counted(&in, &out->key) || out->key.len <= MEMBER_INLINE))
        return RES_CORRUPT;
    if (kind & KIND_EXPIRES && !take_expiry(&in, out))
        return RES_CORRUPT;
    out->value = in;
    return RES_OK;
}

enum result piece_get(struct elements *e, const struct engine_key *key, struct element *out)
{
    struct slice record;
    enum result r = call_get(e->c, key, &record);
    return r == RES_OK ? piece_read(record, out) : r;
}

size_t piece_size(const struct element *in, bool long_key)
{
    return (in->expire_ms ? 9 : 1) + (long_key ? varint_size(in->key.len) + in->key.len : 0) + in->value.len;
}

void piece_write(uint8_t *p, const struct element *in, bool long_key)
{
    *p++ = (uint8_t)(PIECE_BYTES | (long_key ? KIND_LONG_KEY : 0) | (in->expire_ms ? KIND_EXPIRES : 0));
    if (long_key)
        p = put_counted(p, in->key);
    if (in->expire_ms) {
        put_le64(p, in->expire_ms);
        p += 8;
    }
    if (in->value.len)
        memcpy(p, in->value.data, in->value.len);
}

enum result piece_put(struct elements *e, const struct engine_key *key, const struct element *in, bool long_key)
{
    size_t len = piece_size(in, long_key);
    uint8_t *record = arena_alloc(e->c->arena, len);
    if (unlikely(!record))
        return RES_NO_MEMORY;
    piece_write(record, in, long_key);
    e->touched = true;
    return call_put_keep(e->c, key, slice_of(record, len));
}

enum result piece_delete(struct elements *e, const struct engine_key *key)
{
    e->touched = true;
    return call_delete(e->c, key);
}

/* The bounds of a range in a subspace as engine keys, for the caller's bytes. */
static void range_bounds(const struct elements *e, uint8_t subspace, struct slice lower, struct slice upper,
                         uint8_t low[ENGINE_KEY_MAX], uint8_t high[ENGINE_KEY_MAX], struct slice *from,
                         struct slice *to)
{
    assert(e->pieces && lower.len <= ELEMENT_MAX && upper.len <= ELEMENT_MAX);
    element_prefix_put(low, e->o->key->keyspace, e->slot, e->id);
    memcpy(high, low, ELEMENT_KEY_OBJECT);
    low[ELEMENT_KEY_OBJECT] = subspace;
    high[ELEMENT_KEY_OBJECT] = upper.len ? subspace : (uint8_t)(subspace + 1);
    if (lower.len)
        memcpy(low + ELEMENT_KEY_OBJECT + 1, lower.data, lower.len);
    if (upper.len)
        memcpy(high + ELEMENT_KEY_OBJECT + 1, upper.data, upper.len);
    *from = slice_of(low, ELEMENT_KEY_OBJECT + 1 + lower.len);
    *to = slice_of(high, ELEMENT_KEY_OBJECT + 1 + upper.len);
}

enum result piece_iter(struct elements *e, uint8_t subspace, struct slice lower, struct slice upper, int flags,
                       struct iter **out)
{
    uint8_t low[ENGINE_KEY_MAX], high[ENGINE_KEY_MAX];
    struct slice from, to;
    range_bounds(e, subspace, lower, upper, low, high, &from, &to);
    return call_iter(e->c, from, to, flags, out);
}

struct slice piece_element(const struct iter *it)
{
    assert(it->key.len > ELEMENT_KEY_OBJECT);
    return slice_of(it->key.data + ELEMENT_KEY_OBJECT + 1, it->key.len - ELEMENT_KEY_OBJECT - 1);
}

enum result piece_bury(struct elements *e, uint8_t subspace, struct slice lower, struct slice upper)
{
    uint8_t low[ENGINE_KEY_MAX], high[ENGINE_KEY_MAX];
    struct slice from, to;
    range_bounds(e, subspace, lower, upper, low, high, &from, &to);
    e->touched = true;
    return bury_range(e->c, from, to);
}

/* ---- finishing ---- */

/* Nothing is left. */
static enum result finish_empty(struct elements *e)
{
    struct object *o = e->o;
    enum result r = RES_OK;
    if (e->pieces && !(o->pieces && o->id == e->id)) /* written by this run, for nothing */
        r = bury_object(e->c, o->key->keyspace, e->slot, e->id);
    return r == RES_OK && o->exists ? store_delete(e->c, o, SIGNAL_DELETED) : r;
}

static bool metadata_stays(const struct elements *e, uint64_t expire_ms)
{
    const struct object *o = e->o;
    return o->exists && o->pieces && e->pieces && o->id == e->id && o->count == e->count && o->length == e->bytes &&
           o->encoding == e->encoding && o->expire_ms == expire_ms && o->fields_ms == e->fields_ms &&
           slice_eq(o->hints, slice_of(e->hints, e->hints_len));
}

enum result elements_finish_with(struct elements *e, uint64_t expire_ms)
{
    struct object *o = e->o;
    struct call *c = e->c;
    if (!e->touched)
        return RES_OK;
    if (!e->count && !e->kind->may_be_empty)
        return finish_empty(e);
    if (metadata_stays(e, expire_ms))
        return call_signal(c, o->key->db, o->key->user, o->key->hash, SIGNAL_WRITE);
    struct meta m = {
        .type = e->kind->type,
        .encoding = e->encoding,
        .pieces = e->pieces,
        .home = e->slot,
        .expire_ms = expire_ms,
        .fields_ms = e->fields_ms,
        .id = e->id,
        .length = e->pieces ? e->bytes : e->list.len,
        .count = e->count,
        .value = e->list,
    };
    if (!e->replaces)
        m.attributes = o->attributes;
    if (e->hints_len) {
        void *hints = arena_copy(c->arena, e->hints, e->hints_len);
        if (!hints)
            return RES_NO_MEMORY;
        m.hints = slice_of(hints, e->hints_len);
    }
    return object_replace(c, o, &m, o->pieces && e->pieces && o->id == e->id ? OBJECT_KEEP_PIECES : 0);
}

enum result elements_finish(struct elements *e) { return elements_finish_with(e, e->replaces ? 0 : e->o->expire_ms); }

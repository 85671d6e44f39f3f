/* The audit of single collections in pieces: see audit.h. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "store/counted.h"
#include "store/list_priv.h"
#include "store/zset.h"
#include "tools/kvctl/audit.h"

typedef enum result piece_fn(struct auditor *a, const struct object_name *o, struct slice key, struct slice value,
                             void *arg);

/* All pieces of a subspace. */
static enum result each_piece(struct auditor *a, const struct object_name *o, uint8_t subspace, piece_fn *fn, void *arg)
{
    uint8_t from[ELEMENT_KEY_OBJECT + 1], to[ELEMENT_KEY_OBJECT + 1];
    struct iter *it;
    element_prefix_put(from, o->keyspace, o->home, o->id);
    memcpy(to, from, ELEMENT_KEY_OBJECT);
    from[ELEMENT_KEY_OBJECT] = subspace;
    to[ELEMENT_KEY_OBJECT] = (uint8_t)(subspace + 1);
    enum result r =
        front_iter(a->view, a->snapshot, slice_of(from, sizeof from), slice_of(to, sizeof to), ITER_NO_FILL, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it))
        if ((r = fn(a, o, it->key, it->value, arg)) != RES_OK)
            break;
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static size_t piece_name(const struct object_name *o, uint8_t subspace, uint8_t out[ENGINE_KEY_MAX])
{
    element_prefix_put(out, o->keyspace, o->home, o->id);
    out[ELEMENT_KEY_OBJECT] = subspace;
    return ELEMENT_KEY_OBJECT + 1;
}

/* ---- lists ---- */

static void missing(struct auditor *a, const struct object_name *o, uint64_t position)
{
    static const uint8_t empty[] = {PIECE_BYTES};
    char text[256];
    uint8_t name[ENGINE_KEY_MAX];
    size_t len = piece_name(o, SUBSPACE_POSITIONS, name);
    put_be64(name + len, position);
    struct audit_fix fix = {RECORD_PUT, slice_of(name, len + 8), slice_of(empty, 1)};
    problem(a, &fix, "the list %s lacks the element at position %" PRIu64 ": an empty one stands for it",
            shown(slice_of(o->key, o->key_len), text), position);
}

/* The record with this number in a subspace; RES_NOT_FOUND. */
static enum result read_numbered(struct auditor *a, const struct object_name *o, uint8_t subspace, uint64_t number,
                                 uint8_t **record, size_t *len)
{
    uint8_t name[ENGINE_KEY_MAX];
    size_t name_len = piece_name(o, subspace, name);
    put_be64(name + name_len, number);
    *record = NULL;
    return read_record(a, slice_of(name, name_len + 8), record, len);
}

/* *set: which positions of the block are in its record. */
static enum result look_at_block(struct auditor *a, const struct object_name *o, uint64_t number, unsigned *set)
{
    struct list_block block = {.set = 0};
    uint8_t *record;
    size_t len;
    *set = 0;
    enum result r = read_numbered(a, o, SUBSPACE_BLOCKS, number, &record, &len);
    if (r == RES_OK && list_block_decode(slice_of(record, len), &block) == RES_OK) {
        *set = block.set;
    } else if (r == RES_OK) {
        char text[256];
        uint8_t name[ENGINE_KEY_MAX];
        size_t name_len = piece_name(o, SUBSPACE_BLOCKS, name);
        put_be64(name + name_len, number);
        struct audit_fix drop = {RECORD_DELETE, slice_of(name, name_len + 8), {NULL, 0}};
        problem(a, &drop, "a block of the list %s cannot be read", shown(slice_of(o->key, o->key_len), text));
    }
    free(record);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

/* An element that its block does not have. */
static enum result look_at_position(struct auditor *a, const struct object_name *o, uint64_t position)
{
    uint8_t *record;
    size_t len;
    struct slice element;
    enum result r = read_numbered(a, o, SUBSPACE_POSITIONS, position, &record, &len);
    if (r == RES_NOT_FOUND || (r == RES_OK && list_long_value(slice_of(record, len), &element) != RES_OK))
        missing(a, o, position);
    free(record);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result look_at_segment(struct auditor *a, const struct object_name *o, const struct list_segment *s)
{
    enum result r = RES_OK;
    unsigned set = 0;
    for (uint64_t at = s->position; r == RES_OK && at < s->position + s->count; at++) {
        if (at == s->position || at % LIST_BLOCK == 0)
            r = look_at_block(a, o, at / LIST_BLOCK, &set);
        if (r == RES_OK && !(set >> at % LIST_BLOCK & 1))
            r = look_at_position(a, o, at);
    }
    return r;
}

/* The segments between the first and the last; *sum: of what they have. RES_CORRUPT: they cannot be told. */
static enum result look_at_table(struct auditor *a, const struct object_name *o, const struct list *l, bool look,
                                 uint64_t *sum)
{
    uint8_t name[ENGINE_KEY_MAX], *record;
    size_t len = piece_name(o, SUBSPACE_RANKS, name);
    struct slice in;
    struct list_segment s;
    enum result r = read_record(a, slice_of(name, len), &record, &len);
    if (r != RES_OK)
        return r == RES_NOT_FOUND ? RES_CORRUPT : r;
    r = list_long_value(slice_of(record, len), &in);
    while (r == RES_OK && in.len) {
        r = list_table_next(l, &in, &s) ? RES_OK : RES_CORRUPT;
        if (r == RES_OK)
            *sum += s.count;
        if (r == RES_OK && look)
            r = look_at_segment(a, o, &s);
    }
    free(record);
    return r;
}

enum result audit_list(struct auditor *a, const struct object_name *o)
{
    char text[256];
    struct slice key = slice_of(o->key, o->key_len);
    struct meta m;
    struct list l = {.e.count = o->count};
    uint8_t *record;
    size_t len;
    uint64_t sum = 0;
    enum result r = read_record(a, key, &record, &len);
    if (r != RES_OK)
        return r;
    r = meta_decode(slice_of(record, len), &m);
    if (r == RES_OK) {
        l.e.hints_len = (uint8_t)m.hints.len;
        if (m.hints.len)
            memcpy(l.e.hints, m.hints.data, m.hints.len);
        r = m.hints.len <= sizeof l.e.hints ? list_hints_parse(&l) : RES_CORRUPT;
    }
    free(record);
    if (r == RES_OK && l.table_stored)
        r = look_at_table(a, o, &l, false, &sum);
    for (size_t i = 0; r == RES_OK && i < l.segment_count; i++)
        sum += l.segments[i].count;
    if (r == RES_OK && sum != o->count)
        r = RES_CORRUPT;
    if (r == RES_CORRUPT) {
        struct audit_fix drop = {RECORD_DELETE, key, {NULL, 0}};
        problem(a, &drop, "the list %s does not tell where its elements are", shown(key, text));
        return RES_OK;
    }
    for (size_t i = 0; r == RES_OK && i < l.segment_count; i++)
        r = look_at_segment(a, o, &l.segments[i]);
    return r == RES_OK && l.table_stored ? look_at_table(a, o, &l, true, &sum) : r;
}

/* ---- sorted sets ---- */

#define H40 5 /* before the member in its name */

/* The score that a member's record tells. */
static bool score_in(struct slice value, double *score)
{
    struct element e;
    if (piece_read(value, &e) != RES_OK || e.value.len != sizeof *score)
        return false;
    memcpy(score, e.value.data, sizeof *score);
    return !isnan(*score);
}

static enum result look_at_member(struct auditor *a, const struct object_name *o, struct slice key, struct slice value,
                                  void *arg)
{
    char text[256];
    uint8_t name[ENGINE_KEY_MAX], *record, *fixed;
    double score;
    size_t len = piece_name(o, SUBSPACE_SCORES, name), record_len, head = ELEMENT_KEY_OBJECT + 1 + H40;
    (void)arg;
    if (key.len < head || key.len - head > ENGINE_KEY_MAX - len - 8 || !score_in(value, &score)) {
        struct audit_fix drop = {RECORD_DELETE, key, {NULL, 0}};
        problem(a, &drop, "a member of the sorted set %s cannot be read", shown(slice_of(o->key, o->key_len), text));
        return RES_OK;
    }
    put_be64(name + len, zset_order_of(score));
    memcpy(name + len + 8, key.data + head, key.len - head);
    len += 8 + key.len - head;
    enum result r = read_record(a, slice_of(name, len), &record, &record_len);
    if (r == RES_OK)
        free(record);
    if (r != RES_NOT_FOUND)
        return r;
    bool minus = score == 0 && signbit(score);
    size_t shared = value.len - sizeof score; /* the kind, and a long member whole */
    if (!(fixed = malloc(shared + 1)))
        return RES_NO_MEMORY;
    memcpy(fixed, value.data, shared);
    fixed[shared] = 1;
    struct audit_fix fix = {RECORD_PUT, slice_of(name, len), slice_of(fixed, shared + minus)};
    problem(a, &fix, "a member of the sorted set %s is not where its score is",
            shown(slice_of(o->key, o->key_len), text));
    free(fixed);
    return RES_OK;
}

static enum result look_at_score(struct auditor *a, const struct object_name *o, struct slice key, struct slice value,
                                 void *arg)
{
    char text[256];
    uint8_t name[ENGINE_KEY_MAX], *record = NULL;
    struct element e;
    double score;
    size_t len = piece_name(o, SUBSPACE_MEMBERS, name), record_len, head = ELEMENT_KEY_OBJECT + 1 + 8;
    struct audit_fix drop = {RECORD_DELETE, key, {NULL, 0}};
    enum result r = RES_NOT_FOUND;
    (void)arg;
    if (key.len >= head && key.len - head <= ENGINE_KEY_MAX - len - H40 && piece_read(value, &e) == RES_OK) {
        struct slice member = e.key.len ? e.key : slice_of(key.data + head, key.len - head);
        uint8_t hash[8];
        put_be64(hash, hash_siphash(&a->store.seed, member.data, member.len));
        memcpy(name + len, hash, H40);
        memcpy(name + len + H40, key.data + head, key.len - head);
        r = read_record(a, slice_of(name, len + H40 + key.len - head), &record, &record_len);
    }
    if (r != RES_OK && r != RES_NOT_FOUND)
        return r;
    if (r == RES_NOT_FOUND || !score_in(slice_of(record, record_len), &score) ||
        zset_order_of(score) != get_be64(key.data + ELEMENT_KEY_OBJECT + 1))
        problem(a, &drop, "the sorted set %s has a score whose member does not know it",
                shown(slice_of(o->key, o->key_len), text));
    free(record);
    return RES_OK;
}

#define LEVEL_END 255 /* store/counted.c: up to where a tree counts that is not whole */

struct level_sums {
    uint64_t sum[COUNTED_LEVELS];
    unsigned levels; /* with records */
    bool building, bad;
};

static enum result add_count(struct auditor *a, const struct object_name *o, struct slice key, struct slice value,
                             void *arg)
{
    struct level_sums *s = arg;
    struct slice in;
    uint64_t n;
    uint8_t level = key.len > ELEMENT_KEY_OBJECT + 1 ? key.data[ELEMENT_KEY_OBJECT + 1] : LEVEL_END - 1;
    (void)a, (void)o;
    s->building |= level == LEVEL_END;
    if (level == LEVEL_END)
        return RES_OK;
    if (level >= COUNTED_LEVELS || list_long_value(value, &in) != RES_OK || !take_varint(&in, &n)) {
        s->bad = true;
        return RES_OK;
    }
    s->sum[level] += n;
    s->levels = level + 1u;
    return RES_OK;
}

/* As its record has it: zset_priv.h. */
static unsigned levels_in(struct slice hints)
{
    for (int bound = 0; bound < 2 && hints.len; bound++) {
        size_t len = 1 + (size_t)hints.data[0];
        hints = len <= hints.len ? slice_of(hints.data + len, hints.len - len) : slice_of(NULL, 0);
    }
    return hints.len ? hints.data[0] : 0;
}

enum result audit_counts(struct auditor *a, const struct object_name *o, bool *good)
{
    struct level_sums s = {.levels = 0};
    struct meta m;
    uint8_t *record;
    size_t len;
    enum result r = read_record(a, slice_of(o->key, o->key_len), &record, &len);
    if (r != RES_OK)
        return r;
    unsigned levels = meta_decode(slice_of(record, len), &m) == RES_OK ? levels_in(m.hints) : 0;
    free(record);
    if (levels == 0 && !o->counted)
        return RES_OK;
    r = each_piece(a, o, SUBSPACE_RANKS, add_count, &s);
    *good = !s.bad && s.levels == levels;
    for (unsigned i = 0; i < s.levels; i++)
        *good &= s.sum[i] == s.sum[0] && (s.building ? s.sum[i] <= o->count : s.sum[i] == o->count);
    return r;
}

static enum result drop_count(struct auditor *a, const struct object_name *o, struct slice key, struct slice value,
                              void *arg)
{
    char text[256];
    struct audit_fix drop = {RECORD_DELETE, key, {NULL, 0}};
    (void)value, (void)arg;
    problem(a, &drop, "the sorted set %s is counted anew when somebody asks",
            shown(slice_of(o->key, o->key_len), text));
    return RES_OK;
}

/* Without a tree the record must not tell of one. */
static enum result drop_hints(struct auditor *a, const struct object_name *o)
{
    char text[256];
    struct meta m;
    uint8_t *record, *fixed = NULL;
    size_t len;
    struct slice key = slice_of(o->key, o->key_len);
    enum result r = read_record(a, key, &record, &len);
    if (r != RES_OK)
        return r;
    if (meta_decode(slice_of(record, len), &m) == RES_OK && m.hints.len) {
        m.hints = slice_of(NULL, 0);
        if (!(fixed = malloc(meta_head_size(&m))))
            r = RES_NO_MEMORY;
    }
    if (fixed) {
        struct audit_fix fix = {RECORD_PUT, key, slice_of(fixed, (size_t)(meta_encode_head(fixed, &m) - fixed))};
        problem(a, &fix, "the sorted set %s forgets where it begins and ends", shown(key, text));
    }
    free(fixed);
    free(record);
    return r;
}

enum result audit_zset(struct auditor *a, const struct object_name *o)
{
    enum result r = each_piece(a, o, SUBSPACE_MEMBERS, look_at_member, NULL);
    if (r == RES_OK)
        r = each_piece(a, o, SUBSPACE_SCORES, look_at_score, NULL);
    if (r == RES_OK)
        r = each_piece(a, o, SUBSPACE_RANKS, drop_count, NULL);
    return r == RES_OK && o->members == o->count ? drop_hints(a, o) : r; /* else recount does it */
}

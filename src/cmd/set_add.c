/* Adding to sets: see set.h. */
#include <assert.h>
#include <stdlib.h>

#include "base/num.h"
#include "cmd/set.h"
#include "conf/settings.h"

/* An intset has no more, whatever the setting says. */
#define INTSET_MOST (1 << 30)

static bool is_integer(struct slice member, int64_t *out)
{
    return member.len <= NUM_I64_MAX && num_parse_i64(member, out) == RES_OK;
}

static uint64_t intset_limit(const struct call *c)
{
    uint64_t limit = (uint64_t)c->settings->set_max_intset_entries;
    return limit < INTSET_MOST ? limit : INTSET_MOST;
}

enum object_encoding set_first_encoding(const struct call *c, struct slice first, uint64_t hint)
{
    int64_t ignored;
    if (is_integer(first, &ignored) && hint <= (uint64_t)c->settings->set_max_intset_entries)
        return ENCODING_INTSET;
    return hint <= (uint64_t)c->settings->set_max_listpack_entries ? ENCODING_LISTPACK : ENCODING_HASHTABLE;
}

void set_expect(struct elements *e, uint64_t hint)
{
    const struct settings *s = e->c->settings;
    if ((e->encoding == ENCODING_LISTPACK && hint > (uint64_t)s->set_max_listpack_entries) ||
        (e->encoding == ENCODING_INTSET && hint > (uint64_t)s->set_max_intset_entries))
        e->encoding = ENCODING_HASHTABLE;
}

/* ---- intsets that are inline: sorted ---- */

/* Where a number is or belongs. */
static enum result find_sorted(struct elements *e, int64_t value, struct inline_place *p, bool *found)
{
    struct element x;
    *found = false;
    enum result r = inline_first(e, p, &x);
    for (; r == RES_OK; r = inline_next(e, p, &x)) {
        int64_t here;
        if (!is_integer(x.key, &here))
            return RES_CORRUPT;
        *found = here == value;
        if (here >= value)
            return RES_OK;
    }
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result add_sorted(struct elements *e, struct slice member, int64_t value, bool *added)
{
    struct inline_place p;
    bool found;
    struct element in = {.key = member};
    enum result r = find_sorted(e, value, &p, &found);
    if (r == RES_OK && !found)
        r = inline_insert(e, &p, &in);
    *added = r == RES_OK && !found;
    return r;
}

/* ---- adding ---- */

static enum result note_longest(struct elements *e, void *arg, const struct element *x)
{
    size_t *longest = arg;
    (void)e;
    if (x->key.len > *longest)
        *longest = x->key.len;
    return RES_OK;
}

/* The first member that is no integer comes to an intset. */
static enum result leave_intset(struct elements *e, struct slice member)
{
    const struct settings *s = e->c->settings;
    uint64_t limit = (uint64_t)s->set_max_listpack_value;
    size_t longest = 0;
    if (limit < NUM_I64_MAX) {
        enum result r = member_each(e, note_longest, &longest);
        if (r != RES_OK)
            return r;
    }
    bool fits = e->count < (uint64_t)s->set_max_listpack_entries && member.len <= limit && longest <= limit;
    e->encoding = fits ? ENCODING_LISTPACK : ENCODING_HASHTABLE;
    return RES_OK;
}

/* A member that is not there is about to be added to a set that is no intset. */
static void grow_listpack(struct elements *e, struct slice member)
{
    const struct settings *s = e->c->settings;
    if (e->encoding == ENCODING_LISTPACK &&
        (e->count >= (uint64_t)s->set_max_listpack_entries || member.len > (uint64_t)s->set_max_listpack_value))
        e->encoding = ENCODING_HASHTABLE;
}

static void grown_intset(struct elements *e)
{
    if (e->encoding == ENCODING_INTSET && e->count > intset_limit(e->c))
        e->encoding = ENCODING_HASHTABLE;
}

enum result set_add(struct elements *e, struct slice member, bool *added)
{
    int64_t value;
    enum result r = RES_OK;
    struct element in = {.key = member};
    *added = false;
    if (e->encoding == ENCODING_INTSET) {
        if (!is_integer(member, &value)) {
            r = leave_intset(e, member);
        } else if (!e->pieces) {
            r = add_sorted(e, member, value, added);
            grown_intset(e);
            return r;
        }
    }
    struct member_place p;
    if (r == RES_OK)
        r = member_find(e, member, &p);
    if (r != RES_OK || p.found)
        return r;
    grow_listpack(e, member);
    r = member_put(e, &p, &in);
    *added = r == RES_OK;
    grown_intset(e);
    return r;
}

enum result set_add_new(struct elements *e, struct slice member)
{
    int64_t value;
    bool added;
    enum result r = RES_OK;
    struct element in = {.key = member};
    if (e->encoding == ENCODING_INTSET) {
        if (!is_integer(member, &value)) {
            r = leave_intset(e, member);
        } else if (!e->pieces) {
            r = add_sorted(e, member, value, &added);
            grown_intset(e);
            return r;
        }
    }
    grow_listpack(e, member);
    if (r == RES_OK)
        r = member_add(e, &in);
    grown_intset(e);
    return r;
}

/* What adding one by one would come to; each step is one of those above. */
static enum object_encoding grown_encoding(const struct call *c, enum object_encoding encoding,
                                           const struct element *in, size_t n)
{
    const struct settings *s = c->settings;
    const uint64_t entries = (uint64_t)s->set_max_listpack_entries, limit = (uint64_t)s->set_max_listpack_value;
    size_t longest = 0; /* of those before */
    for (size_t i = 0; i < n && encoding != ENCODING_HASHTABLE; i++) {
        int64_t ignored;
        size_t len = in[i].key.len;
        if (encoding == ENCODING_INTSET && !is_integer(in[i].key, &ignored))
            encoding = len <= limit && longest <= limit ? ENCODING_LISTPACK : ENCODING_HASHTABLE;
        if (encoding == ENCODING_LISTPACK && (i >= entries || len > limit))
            encoding = ENCODING_HASHTABLE;
        if (encoding == ENCODING_INTSET && i + 1 > intset_limit(c))
            encoding = ENCODING_HASHTABLE;
        longest = len > longest ? len : longest;
    }
    return encoding;
}

enum result set_fill(struct elements *e, const struct element *in, const struct member_order *order)
{
    enum result r = RES_OK;
    if (!elements_fit(e, in, order->count)) {
        e->encoding = grown_encoding(e->c, e->encoding, in, order->count);
        return members_fill(e, in, order);
    }
    for (size_t i = 0; r == RES_OK && i < order->count; i++) /* an intset is in its own order */
        r = set_add_new(e, in[i].key);
    return r;
}

/* ---- intsets as a whole ---- */

struct numbered {
    int64_t value;
    struct slice text;
};
struct numbers {
    struct numbered *at;
    uint64_t count, cap;
};

static enum result note_number(struct elements *e, void *arg, const struct element *x)
{
    struct numbers *all = arg;
    void *copy = arena_copy(e->c->arena, x->key.data, x->key.len);
    if (!copy)
        return RES_NO_MEMORY;
    if (all->count == all->cap)
        return RES_CORRUPT;
    struct numbered *n = &all->at[all->count++];
    n->text = slice_of(copy, x->key.len);
    return is_integer(n->text, &n->value) ? RES_OK : RES_CORRUPT;
}

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = ((const struct numbered *)a)->value, y = ((const struct numbered *)b)->value;
    return (x > y) - (x < y);
}

static enum result sorted_numbers(struct elements *e, struct numbers *all)
{
    *all = (struct numbers){.cap = e->count};
    all->at = arena_alloc(e->c->arena, (size_t)e->count * sizeof *all->at);
    enum result r = all->at ? member_each(e, note_number, all) : RES_NO_MEMORY;
    if (r == RES_OK)
        qsort(all->at, (size_t)all->count, sizeof *all->at, compare_numbers);
    return r;
}

enum result set_becomes_intset(struct elements *e)
{
    if (e->encoding == ENCODING_INTSET || e->count > intset_limit(e->c))
        return RES_OK;
    e->encoding = ENCODING_INTSET;
    if (e->pieces)
        return RES_OK;
    struct numbers all;
    struct inline_place p;
    enum result r = sorted_numbers(e, &all);
    while (r == RES_OK && (r = inline_first(e, &p, NULL)) == RES_OK)
        r = inline_remove(e, &p);
    if (r != RES_NOT_FOUND)
        return r;
    r = RES_OK;
    for (uint64_t i = 0; r == RES_OK && i < all.count; i++)
        r = member_add(e, &(struct element){.key = all.at[i].text});
    return r;
}

static enum result reply_member(struct elements *e, void *arg, const struct element *x)
{
    uint64_t *left = arg;
    if (!*left)
        return RES_CORRUPT;
    --*left;
    reply_bulk(e->c->reply, x->key);
    return RES_OK;
}

enum result set_reply_members(struct elements *e)
{
    uint64_t left = e->count;
    if (e->encoding != ENCODING_INTSET || !e->pieces) {
        enum result r = member_each(e, reply_member, &left);
        return r == RES_OK && left ? RES_CORRUPT : r;
    }
    struct numbers all;
    enum result r = sorted_numbers(e, &all);
    for (uint64_t i = 0; r == RES_OK && i < all.count; i++)
        reply_bulk(e->c->reply, all.at[i].text);
    return r == RES_OK && all.count != left ? RES_CORRUPT : r;
}

/* Sorted sets: the elements at an end, for the pops.
 *
 * To look for the first element is to open an iterator, and to pass over what was removed since. So pops in a row take from
 * a list (ahead.h) of the elements that lie at that end; the longer the row, the longer the next list. What is put or
 * removed beyond the last of a list leaves it right, and it is told so: a queue, whose elements come at one end and go at
 * the other, is a row of pops. */
#include <stddef.h>

#include "store/zset_priv.h"

#define LIST_MOST 128

struct ends {
    bool down;
    double score[LIST_MOST];
    uint32_t ends[LIST_MOST]; /* of the member in bytes */
    uint32_t n;
    uint8_t bytes[];
};

static struct zset_entry entry_at(const struct ends *l, uint32_t i)
{
    uint32_t begin = i ? l->ends[i - 1] : 0;
    return (struct zset_entry){l->score[i], slice_of(l->bytes + begin, l->ends[i] - begin)};
}

static size_t ends_len(const struct ends *l) { return offsetof(struct ends, bytes) + (l->n ? l->ends[l->n - 1] : 0); }

/* Lists elements from the end, `want` or as many as there is room for. */
static enum result list_ends(struct zset *z, bool down, uint32_t want, struct ends **out)
{
    struct zset_cursor k;
    size_t cap = want * (z->e.bytes / z->e.count + 1) * 2;
    cap = cap < AHEAD_BYTES ? cap : AHEAD_BYTES;
    struct ends *l = *out = arena_alloc(z->e.c->arena, offsetof(struct ends, bytes) + cap);
    if (!l)
        return RES_NO_MEMORY;
    l->n = 0;
    l->down = down;
    enum result r = zset_seek(z, &k, down ? &ZSET_END : &ZSET_START, down);
    for (size_t at = 0; r == RES_OK && l->n < want && (r = zset_next(&k)) == RES_OK;) {
        struct slice member = k.at.member;
        if (member.len > cap - at)
            break;
        if (member.len)
            memcpy(l->bytes + at, member.data, member.len);
        l->score[l->n] = k.at.score;
        l->ends[l->n++] = (uint32_t)(at += member.len);
    }
    zset_cursor_close(&k);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static void take(struct zset *z, const struct ends *l, uint32_t from, uint64_t n, struct zset_entry *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = entry_at(l, from + i);
    z->took_ends = true;
}

enum result zset_take_ends(struct zset *z, bool down, uint64_t n, struct zset_entry *out)
{
    struct elements *e = &z->e;
    struct ahead *a = ahead_find(e);
    if (n == 0 || n > LIST_MOST || n > e->count || !ahead_allowed(e))
        return RES_NOT_FOUND;
    const struct ends *had = a && a->n ? a->list : NULL;
    bool goes_on = had && had->down == down;
    if (goes_on && a->n - a->at >= n) {
        take(z, had, a->at, n, out);
        return ahead_commit(e, a->at + (uint32_t)n, a->n, NULL, 0);
    }
    uint32_t want = !(e->c->mode & CALL_LATCHED) ? LIST_MOST : goes_on ? a->n * 2 : 1;
    if (want < n)
        want = (uint32_t)n;
    if (want > LIST_MOST)
        want = LIST_MOST;
    struct ends *l;
    enum result r = ahead_begin(e, &a);
    if (r == RES_OK)
        r = list_ends(z, down, want, &l);
    if (r != RES_OK || l->n < n)
        return r == RES_OK ? RES_NOT_FOUND : r;
    take(z, l, 0, n, out);
    return ahead_commit(e, (uint32_t)n, l->n, l, ends_len(l));
}

void zset_note_change(struct zset *z, struct zset_entry e)
{
    struct ahead *a = z->spoils_ends ? NULL : ahead_find(&z->e);
    if (!a || a->at == a->n)
        return;
    struct zset_place at = zset_before(e), last = zset_before(entry_at(a->list, a->n - 1));
    int c = zset_place_cmp(&at, &last);
    z->spoils_ends = ((const struct ends *)a->list)->down ? c >= 0 : c <= 0;
}

enum result zset_keep_ends(struct zset *z)
{
    struct ahead *a = z->took_ends || z->spoils_ends || !z->e.touched ? NULL : ahead_find(&z->e);
    return a ? ahead_commit(&z->e, a->at, a->n, NULL, 0) : RES_OK;
}
